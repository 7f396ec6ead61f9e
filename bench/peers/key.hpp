// SPDX-License-Identifier: BSD-3-Clause
//
// What the peers store: the same 16 bytes of key for each direction, and an object as large as an
// entry of the tracker.
#pragma once

#include "bench/load/flows.hpp"
#include "ct/base/cache.hpp"

#include <cstdint>
#include <cstring>
#include <nmmintrin.h>

namespace bench {

/// One direction of an IPv4 flow. No padding: tables compare and hash it as bytes.
struct PeerKey {
    std::uint32_t src;
    std::uint32_t dst;
    std::uint16_t sport;
    std::uint16_t dport;
    std::uint16_t zone;
    std::uint16_t proto;

    friend bool operator==(const PeerKey&, const PeerKey&) noexcept = default;
};
static_assert(sizeof(PeerKey) == 16);

/// The key of flow `n` in one direction.
[[nodiscard]] inline PeerKey peer_key(std::uint32_t n, bool reply) noexcept {
    const auto [src, sport, dst, dport] = FlowNumbers{n}.ends(reply);
    return {src, dst, sport, dport, 0, ct::ipproto::kTcp};
}

/// Two steps of CRC-32C, as rte_hash_crc() makes of such a key: fast, and no secret.
[[nodiscard]] inline std::uint64_t crc_of(const PeerKey& k) noexcept {
    std::uint64_t words[2];
    std::memcpy(words, &k, sizeof words);
    return _mm_crc32_u64(_mm_crc32_u64(0, words[0]), words[1]);
}

/// The first line of what a flow owns. Behind it lies as much as an entry of the tracker has.
struct PeerEntry {
    PeerKey original;
    PeerKey reply;
    std::uint64_t packets[2];
    std::uint64_t last_seen;
};
static_assert(sizeof(PeerEntry) <= ct::kCacheLine);

/// What a packet does to its flow's object: the least that a tracker can do.
inline void touch(PeerEntry& e, bool reply, std::uint64_t now) noexcept {
    e.packets[static_cast<std::size_t>(reply)] += 1;
    e.last_seen = now;
}

/// Fills the object of a new flow.
inline void begin_entry(PeerEntry& e, std::uint32_t n, std::uint64_t now) noexcept {
    e.original = peer_key(n, false);
    e.reply = peer_key(n, true);
    e.packets[0] = 1;
    e.packets[1] = 0;
    e.last_seen = now;
}

}  // namespace bench
