// SPDX-License-Identifier: BSD-3-Clause
//
// The tracker's own index with one of its ideas left out. What it finds is an entry of a line with
// both keys, as the tracker's first line is; nothing is tracked, so that the difference is the
// index's alone.
#pragma once

#include "bench/harness/slices.hpp"
#include "bench/load/flows.hpp"
#include "ct/table/hash.hpp"
#include "ct/table/index.hpp"
#include "ct/table/memory.hpp"

#include <array>
#include <cstdint>
#include <string>

namespace bench {

/// How tuples are hashed.
enum class HashKind : std::uint8_t {
    Aes,    ///< ct::hash(): keyed, not linear
    Crc32,  ///< two steps of CRC-32C over the canonical tuple: fast, and collisions can be computed
    Sip,    ///< SipHash-2-4 of the canonical tuple: keyed, not linear, and no AES unit needed
};

/// Endpoints in order, so that both directions have the same; then CRC-32C of the two halves, each
/// way round with another start, for 64 bits. IPv4.
[[nodiscard]] std::uint64_t crc32_of(const ct::Tuple& t) noexcept;

/// SipHash-2-4 (Aumasson and Bernstein, 2012) of 16 bytes, the first of them the lowest of `low`.
[[nodiscard]] std::uint64_t siphash(const ct::HashKey& key, std::uint64_t low,
                                    std::uint64_t high) noexcept;
/// siphash() of the endpoints in order, so that both directions have the same. IPv4.
[[nodiscard]] std::uint64_t siphash_of(const ct::HashKey& key, const ct::Tuple& t) noexcept;

/// How a burst is looked up.
enum class LookupKind : std::uint8_t {
    Full,        ///< tags, and both lines prefetched some packets ahead
    NoPrefetch,  ///< tags, one packet after the other
    BucketOnly,  ///< tags, the bucket prefetched and the entry not
    NoTags,      ///< as Full, but each filled slot's entry is looked at
};

class IndexVariants {
public:
    /// An index of `flows` flows, hashed in one of the ways.
    IndexVariants(std::uint32_t flows, HashKind kind);

    /// Lookups of flows and directions at random. Counts in `missed` what was not found, and in
    /// `examined` the entries that were looked at.
    [[nodiscard]] Contestant contestant(std::string name, LookupKind kind);

    [[nodiscard]] std::uint64_t missed() const noexcept { return missed_; }
    /// Entries looked at for a packet found by the contestant of this kind.
    [[nodiscard]] double examined_each(LookupKind kind) const noexcept;

private:
    /// The keys of an entry.
    struct alignas(ct::kCacheLine) Entry {
        std::uint64_t addrs[2];  ///< by direction
        std::uint32_t ports[2];
    };
    struct Wanted {
        std::uint64_t addrs;
        std::uint32_t ports;
        std::uint32_t bucket;
        std::uint16_t tag;
    };
    struct Tally {
        std::uint64_t packets = 0;
        std::uint64_t examined = 0;
    };

    [[nodiscard]] std::uint64_t hash_of(const ct::Tuple& t) const noexcept;
    [[nodiscard]] Wanted wanted(const ct::Tuple& t) const noexcept;
    [[nodiscard]] bool verify(const Wanted& w, bool tags, Tally& tally) const noexcept;
    void prefetch_entry(const Wanted& w, bool tags) const noexcept;
    void burst(LookupKind kind, Tally& tally) noexcept;

    HashKind hash_kind_;
    ct::HashKey key_;
    ct::Index index_;
    ct::Region entries_;
    Draw draw_;
    std::uint64_t missed_ = 0;
    std::array<Tally, 4> tallies_{};  ///< by LookupKind
};

}  // namespace bench
