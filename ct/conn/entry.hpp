// SPDX-License-Identifier: BSD-3-Clause
//
// An entry of the table: one connection, both directions.
//
// Layout. Three cache lines, in two arrays that share an index, and a fourth for IPv6:
//
//   HotLine   64 B   what a lookup needs: the word `meta`, both keys, zone, protocol, mark
//   SideLines 128 B  two lines: window tracking and counters, one line a direction, so that two
//                    cores that serve the two directions do not write the same line to account
//   Addrs6    64 B   the four IPv6 addresses; touched by IPv6 entries only, so that IPv6 costs one
//                    line more, known at the same time, and IPv4 nothing
//
// Synchronisation. `meta` is the entry's truth: generation, deadline, protocol state and the status
// bits that change. It changes by compare-and-swap only, so whoever changes it has seen the
// generation that he meant. The side lines are under SideLines::lock, a word that carries the
// generation too: who locks it for a life that is over is told so. The key fields are written only
// while the entry is in nobody's hands (after the generation went up, before it is linked) and read
// with acquire loads between two loads of `meta`: if the generation is the same in both, what was
// read in between belongs to that life. On x86-64 every one of those loads is a plain mov.
#pragma once

#include "ct/base/cache.hpp"
#include "ct/base/time.hpp"
#include "ct/conn/status.hpp"
#include "ct/wire/tuple.hpp"

#include <array>
#include <atomic>
#include <cstdint>

namespace ct {

/// The fields of `HotLine::meta`, unpacked.
struct Meta {
    std::uint16_t generation = 0;
    Ticks deadline = 0;      ///< when the entry expires
    std::uint8_t state = 0;  ///< TcpState, SctpState, or 0; 4 bits
    std::uint8_t life = 0;   ///< Life; 2 bits
    bool seen_reply = false;
    bool assured = false;
    bool fixed_timeout = false;  ///< the deadline is not refreshed
    bool nat_clash = false;      ///< never becomes assured (semantics.md 2.5)

    [[nodiscard]] static constexpr Meta unpack(std::uint64_t w) noexcept {
        Meta m;
        m.generation = static_cast<std::uint16_t>(w);
        m.deadline = static_cast<Ticks>(w >> 16);
        m.state = static_cast<std::uint8_t>(w >> 48 & 0xf);
        m.life = static_cast<std::uint8_t>(w >> 52 & 0x3);
        m.seen_reply = (w >> 54 & 1) != 0;
        m.assured = (w >> 55 & 1) != 0;
        m.fixed_timeout = (w >> 56 & 1) != 0;
        m.nat_clash = (w >> 57 & 1) != 0;
        return m;
    }
    [[nodiscard]] constexpr std::uint64_t pack() const noexcept {
        return std::uint64_t{generation} | std::uint64_t{deadline} << 16 |
               std::uint64_t{state} << 48 | std::uint64_t{life} << 52 |
               std::uint64_t{seen_reply} << 54 | std::uint64_t{assured} << 55 |
               std::uint64_t{fixed_timeout} << 56 | std::uint64_t{nat_clash} << 57;
    }
    friend constexpr bool operator==(const Meta&, const Meta&) noexcept = default;
};

/// Where an entry is in its life; invariant I1 of the architecture.
namespace life {
inline constexpr std::uint8_t kFree = 0;         ///< in a free list
inline constexpr std::uint8_t kUnconfirmed = 1;  ///< being made by one worker; in no bucket
inline constexpr std::uint8_t kLinked = 2;       ///< found by lookups
inline constexpr std::uint8_t kDying = 3;        ///< one thread is unlinking it
}  // namespace life

/// Bits of HotLine::fixed: what is set when the entry is made and does not change in its life.
namespace fixed {
inline constexpr std::uint8_t kIpv6 = 1U << 0;
inline constexpr std::uint8_t kMirror = 1U
                                        << 1;  ///< the reply tuple is the original's mirror image
inline constexpr std::uint8_t kExpected = 1U << 2;
inline constexpr std::uint8_t kSrcNat = 1U << 3;
inline constexpr std::uint8_t kDstNat = 1U << 4;
inline constexpr std::uint8_t kZoneOriginalOnly = 1U << 5;
inline constexpr std::uint8_t kZoneReplyOnly = 1U << 6;
}  // namespace fixed

/// What a lookup reads. Written by the worker that makes the entry; `meta` and `mark` by anyone.
struct alignas(kCacheLine) HotLine {
    std::atomic<std::uint64_t> meta{0};
    std::atomic<std::uint64_t> original_addrs{0};  ///< IPv4 source, destination << 32; as stored
    std::atomic<std::uint64_t> reply_addrs{0};
    std::atomic<std::uint32_t> original_ports{0};  ///< source, destination << 16; as stored
    std::atomic<std::uint32_t> reply_ports{0};
    std::atomic<std::uint32_t> kind{0};             ///< zone 16, proto 8, fixed 8 bits
    std::atomic<std::uint32_t> original_bucket{0};  ///< where the slot of the original tuple is
    std::atomic<std::uint32_t> reply_bucket{0};     ///< the same of the reply tuple, unless kMirror
    std::atomic<std::uint32_t> mark{0};
    std::atomic<std::uint32_t> out_port{0};  ///< port it left by (masquerade)
    std::atomic<std::uint16_t> original_tag{0};
    std::atomic<std::uint16_t> reply_tag{0};
    std::atomic<std::uint32_t> born{0};  ///< Ticks when it was made
};
static_assert(sizeof(HotLine) == kCacheLine);

/// IPv6 addresses of an entry, as stored: original source and destination, reply source and
/// destination, two words each.
struct alignas(kCacheLine) Addrs6 {
    std::array<std::atomic<std::uint64_t>, 8> words{};
};
static_assert(sizeof(Addrs6) == kCacheLine);

/// What TCP window tracking knows of one direction's sender (semantics.md 2.2). Sequence numbers in
/// host order.
struct TcpWindow {
    std::uint32_t end = 0;         ///< highest sequence number sent, plus one
    std::uint32_t max_end = 0;     ///< highest that the receiver has allowed
    std::uint32_t max_window = 0;  ///< largest window that this side offered, scaled
    std::uint32_t max_ack = 0;     ///< highest acknowledgement that this side sent
    std::uint8_t scale = 0;        ///< window scale of RFC 7323, at most 14
    std::uint8_t flags = 0;        ///< proto/tcp.hpp
};

/// The last packet that TCP tracking looked at, of either direction.
struct TcpLast {
    std::uint32_t seq = 0;
    std::uint32_t ack = 0;
    std::uint32_t end = 0;
    std::uint16_t window = 0;
    std::uint8_t segment = 0;  ///< class of its flags
    std::uint8_t dir = 0;
    std::uint8_t retransmissions = 0;
    std::uint8_t scale = 0;
    std::uint8_t flags = 0;
};

/// What SCTP tracking knows of one direction's packets; in the place of its TcpWindow. Verification
/// tags in host order, 0: not known. Without initialisers, because a union may have one member with
/// a constructor: sctp::open() sets it.
struct SctpPeer {
    std::uint32_t tag;      ///< what its packets must carry
    std::uint32_t pending;  ///< what they will carry if the handshake under way completes
};

/// Counters and windows; everything but `lock` is under it.
struct alignas(2 * kCacheLine) SideLines {
    // Line of the original direction.
    std::uint64_t original_packets = 0;
    std::uint64_t original_bytes = 0;
    union {
        TcpWindow original_window{};
        SctpPeer original_peer;
    };
    TcpLast last;
    /// Generation of the life that it serves, shifted left by one; bit 0: locked.
    std::atomic<std::uint32_t> lock{0};
    // Line of the reply direction.
    alignas(kCacheLine) std::uint64_t reply_packets = 0;
    std::uint64_t reply_bytes = 0;
    union {
        TcpWindow reply_window{};
        SctpPeer reply_peer;
    };
    std::uint64_t start_ns = 0;  ///< when the entry was made, in the pipeline's time
    std::array<std::uint64_t, 2> labels{};
};
static_assert(sizeof(SideLines) == 2 * kCacheLine);

}  // namespace ct
