// SPDX-License-Identifier: BSD-3-Clause
//
// An entry of the table: one connection, both directions.
//
// Layout. Three cache lines side by side, and a fourth for IPv6 in an array of its own:
//
//   HotLine   64 B   what a lookup needs: the word `meta`, both keys, the mark, and what it takes
//                    to unlink the entry
//   SideLines 128 B  two lines: what the trackers know of both directions' windows, and the books
//                    (counters, labels), which are touched only where somebody asked for them
//   Addrs6    64 B   the four IPv6 addresses; touched by IPv6 entries only, so that IPv6 costs one
//                    line more, known at the same time, and IPv4 nothing. A NAT64 entry, whose
//                    tuples are of both families, uses the half that is its IPv6 tuple's
//
// Both windows stand in one line because a segment changes both: it moves its sender's edge and
// acknowledges the receiver's. In lines of their own they would cost every segment a line more, and
// save none where two cores serve the two directions. The three lines are neighbours so that a
// packet touches one page: where the host of a virtual machine has small pages, an address
// translation costs as much as a line (bench/table_variants, pages/*).
//
// Synchronisation. `meta` is the entry's truth: generation, deadline, protocol state and the status
// bits that change. It changes by compare-and-swap only, so whoever changes it has seen the
// generation that he meant. The side lines are under SideLines::lock; who takes it for a life that
// is over finds that out once he has it (Impl::lock_side). The key fields are written only
// while the entry is in nobody's hands (after the generation went up, before it is linked) and read
// with acquire loads between two loads of `meta`: if the generation is the same in both, what was
// read in between belongs to that life. On x86-64 every one of those loads is a plain mov.
#pragma once

#include "ct/base/atomic.hpp"
#include "ct/base/cache.hpp"
#include "ct/base/time.hpp"
#include "ct/conn/status.hpp"
#include "ct/wire/tuple.hpp"

#include <array>
#include <cstdint>

namespace ct {

/// Where an entry is in its life; invariant I1 of the architecture. Bit 1 is set where it is
/// confirmed.
namespace life {
inline constexpr std::uint8_t kFree = 0;         ///< in a free list
inline constexpr std::uint8_t kUnconfirmed = 1;  ///< being made by one worker; in no bucket
inline constexpr std::uint8_t kLinked = 2;       ///< found by lookups
inline constexpr std::uint8_t kDying = 3;        ///< one thread is unlinking it
}  // namespace life

/// The word `HotLine::meta`:
///
///   0-15 generation | 16-47 deadline | 48-51 state | 52-53 life | 54 seen_reply | 55 assured
///   62 nat_clash | 63 fixed_timeout
///
/// The flags stand where two shifts make ct::status bits of them.
class Meta {
public:
    constexpr Meta() noexcept = default;
    explicit constexpr Meta(std::uint64_t word) noexcept : word_{word} {}
    /// A free entry of this generation.
    [[nodiscard]] static constexpr Meta free(std::uint16_t generation) noexcept {
        return Meta{generation};
    }
    /// A linked TCP connection that is established, replied to and assured.
    [[nodiscard]] static constexpr Meta established(std::uint16_t generation) noexcept {
        Meta m = free(generation);
        m.set_life(life::kLinked);
        m.set_state(static_cast<std::uint8_t>(TcpState::Established));
        m.word_ |= kSeenReply | kAssured;
        return m;
    }
    [[nodiscard]] constexpr std::uint64_t word() const noexcept { return word_; }

    [[nodiscard]] constexpr std::uint16_t generation() const noexcept {
        return static_cast<std::uint16_t>(word_);
    }
    /// When the entry expires.
    [[nodiscard]] constexpr Ticks deadline() const noexcept {
        return static_cast<Ticks>(word_ >> kDeadlineShift);
    }
    /// TcpState, SctpState, or 0.
    [[nodiscard]] constexpr std::uint8_t state() const noexcept {
        return static_cast<std::uint8_t>(word_ >> kStateShift & 0xf);
    }
    [[nodiscard]] constexpr std::uint8_t life() const noexcept {
        return static_cast<std::uint8_t>(word_ >> kLifeShift & 0x3);
    }
    /// True of a linked entry, and of this one, not another that has had its place since.
    [[nodiscard]] constexpr bool is_linked_as(std::uint16_t its_generation) const noexcept {
        return generation() == its_generation && life() == life::kLinked;
    }
    [[nodiscard]] constexpr bool seen_reply() const noexcept { return (word_ & kSeenReply) != 0; }
    [[nodiscard]] constexpr bool assured() const noexcept { return (word_ & kAssured) != 0; }
    /// The deadline is not refreshed.
    [[nodiscard]] constexpr bool fixed_timeout() const noexcept {
        return (word_ & kFixedTimeout) != 0;
    }
    /// Found under its reply tuple only, as another entry has its original one (ct/clash.cpp);
    /// never becomes assured (semantics.md 2.5).
    [[nodiscard]] constexpr bool nat_clash() const noexcept { return (word_ & kNatClash) != 0; }

    constexpr void set_deadline(Ticks t) noexcept {
        word_ = (word_ & ~(std::uint64_t{0xffff'ffff} << kDeadlineShift)) | std::uint64_t{t}
                                                                                << kDeadlineShift;
    }
    constexpr void set_state(std::uint8_t s) noexcept {
        word_ = (word_ & ~(std::uint64_t{0xf} << kStateShift)) | std::uint64_t{s & 0xfU}
                                                                     << kStateShift;
    }
    constexpr void set_life(std::uint8_t l) noexcept {
        word_ = (word_ & ~(std::uint64_t{0x3} << kLifeShift)) | std::uint64_t{l & 0x3U}
                                                                    << kLifeShift;
    }
    constexpr void set_seen_reply() noexcept { word_ |= kSeenReply; }
    constexpr void set_assured() noexcept { word_ |= kAssured; }
    constexpr void set_fixed_timeout() noexcept { word_ |= kFixedTimeout; }
    constexpr void set_nat_clash() noexcept { word_ |= kNatClash; }

    /// True if both are of one life, and at the same point of it.
    [[nodiscard]] constexpr bool same_life(Meta o) const noexcept {
        return ((word_ ^ o.word_) & (0xffff | std::uint64_t{0x3} << kLifeShift)) == 0;
    }
    /// True if both agree in everything but the deadline.
    [[nodiscard]] constexpr bool same_course(Meta o) const noexcept {
        return ((word_ ^ o.word_) & ~(std::uint64_t{0xffff'ffff} << kDeadlineShift)) == 0;
    }
    [[nodiscard]] constexpr bool expired(Ticks now) const noexcept {
        return ticks_between(now, deadline()) <= 0;
    }
    /// The ct::status bits that stand in this word.
    [[nodiscard]] constexpr std::uint16_t status() const noexcept {
        constexpr std::uint64_t kReplied =
            status::kSeenReply | status::kAssured | status::kFixedTimeout;
        constexpr std::uint64_t kLinkedOrDying = status::kConfirmed | status::kNatClash;
        const std::uint64_t bits = (word_ >> 53 & kReplied) | (word_ >> 50 & kLinkedOrDying);
        return static_cast<std::uint16_t>(bits | (life() == life::kDying ? status::kDying : 0U));
    }
    friend constexpr bool operator==(Meta, Meta) noexcept = default;

private:
    static constexpr unsigned kDeadlineShift = 16;
    static constexpr unsigned kStateShift = 48;
    static constexpr unsigned kLifeShift = 52;
    static constexpr std::uint64_t kSeenReply = std::uint64_t{1} << 54;
    static constexpr std::uint64_t kAssured = std::uint64_t{1} << 55;
    static constexpr std::uint64_t kNatClash = std::uint64_t{1} << 62;
    static constexpr std::uint64_t kFixedTimeout = std::uint64_t{1} << 63;

    std::uint64_t word_ = 0;
};

/// Bits of HotLine::fixed: what is set when the entry is made and does not change in its life.
/// Those that ct::status has too stand where it has them.
namespace fixed {
inline constexpr std::uint8_t kExpected = status::kExpected;
inline constexpr std::uint8_t kMirror = 1U << 1;  ///< the reply is the original's mirror image
inline constexpr std::uint8_t kBooks = 1U << 2;   ///< the second of the side lines is in use
/// SideLines::variant or still is not 0: the settings are not those of most connections.
inline constexpr std::uint8_t kVariant = 1U << 3;
inline constexpr std::uint8_t kSrcNat = status::kSrcNat;
inline constexpr std::uint8_t kDstNat = status::kDstNat;
inline constexpr std::uint8_t kMapped = kSrcNat | kDstNat;  ///< one of them: it has a mapping
inline constexpr std::uint8_t kMasked = 1U << 6;  ///< SideLines::event_mask excludes some events
inline constexpr std::uint8_t kCounts = 1U << 7;  ///< packets and bytes are counted
/// What is known when the entry is made; the rest follows from its tuples when it is linked.
inline constexpr std::uint8_t kFirst = kBooks | kVariant | kMasked | kCounts;
inline constexpr std::uint8_t kStatusMask = kExpected | kSrcNat | kDstNat;
}  // namespace fixed

/// What a lookup reads. Written by the worker that makes the entry; `meta` and `mark` by anyone.
/// The keys are as TupleKey (ct/wire/tuple.hpp) has them.
struct alignas(kCacheLine) HotLine {
    Atomic<std::uint64_t> meta{0};
    Atomic<std::uint64_t> original_addrs{0};
    Atomic<std::uint64_t> original_rest{0};
    Atomic<std::uint64_t> reply_addrs{0};
    Atomic<std::uint64_t> reply_rest{0};
    Atomic<std::uint32_t> original_bucket{0};  ///< where the slot of the original tuple is
    Atomic<std::uint32_t> reply_bucket{0};     ///< the same of the reply tuple, unless kMirror
    Atomic<std::uint16_t> original_tag{0};
    Atomic<std::uint16_t> reply_tag{0};
    Atomic<std::uint32_t> mark{0};
    Atomic<std::uint32_t> born{0};      ///< Ticks when it was made
    Atomic<std::uint16_t> out_port{0};  ///< port whose address it has (masquerade)
    Atomic<std::uint8_t> fixed{0};
    Atomic<std::uint8_t> lease{0};  ///< Packet::lease of the packet that opened it
};
static_assert(sizeof(HotLine) == kCacheLine);

/// IPv6 addresses of an entry, as stored: original source and destination, reply source and
/// destination, two words each.
struct alignas(kCacheLine) Addrs6 {
    std::array<Atomic<std::uint64_t>, 8> words{};
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
    /// Of the original direction's: index of both sides' SeqAdjust, 0 if there is none.
    std::uint16_t adjust = 0;
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
    std::uint32_t tag;    ///< what its packets must carry
    std::uint32_t flags;  ///< proto/sctp.cpp
};

/// Windows and books; everything but `lock` is under it.
struct alignas(kCacheLine) SideLines {
    // The trackers' line.
    Atomic<std::uint32_t> lock{0};  ///< 1: locked
    TcpLast last;
    union {
        std::array<TcpWindow, 2> window{};  ///< by Dir
        std::array<SctpPeer, 2> peer;
    };
    // The books, where fixed::kBooks says so.
    alignas(kCacheLine) std::array<std::uint64_t, 2> packets{};  ///< by Dir
    std::array<std::uint64_t, 2> bytes{};
    std::uint64_t start_ns = 0;  ///< when the entry was made, in the pipeline's time
    std::array<std::uint64_t, 2> labels{};
    std::uint16_t event_mask = 0xffff;  ///< causes (ct/events.hpp) of which events are made
    std::uint8_t variant = 0;           ///< TrackOptions::variant
    std::uint8_t helper = 0;            ///< number of the helper's name (conn/helpers.hpp); 0: none
    std::uint8_t still = 0;             ///< TrackOptions::still
    bool timestamp = false;             ///< start_ns is to be shown

    [[nodiscard]] const std::uint64_t* books() const noexcept { return packets.data(); }
};
static_assert(sizeof(SideLines) == 2 * kCacheLine);

/// One element of the pool.
struct Entry {
    HotLine hot;
    SideLines side;
};
static_assert(sizeof(Entry) == 3 * kCacheLine);

}  // namespace ct
