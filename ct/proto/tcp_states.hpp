// SPDX-License-Identifier: BSD-3-Clause
//
// The TCP states as a middlebox sees them (semantics.md 2.1).
//
// A tracker is not an endpoint: it sees a segment before the receiver does, does not know whether
// it will arrive, and must let two honest endpoints find each other again after any loss. Hence the
// table differs from RFC 9293 figure 5 in three ways. A state names what the tracker has seen of
// both sides, not where one side is. Segments that may be honest although they do not fit (a SYN to
// a connection that one side has forgotten) are let through without an effect: Ignore. And
// everything else is Invalid, which is a finding, not a drop.
#pragma once

#include "ct/conn/settings.hpp"
#include "ct/wire/packet.hpp"

#include <array>
#include <cstddef>
#include <cstdint>

namespace ct::proto {

/// What a segment is to the state machine.
enum class Segment : std::uint8_t {
    Syn,
    SynAck,
    Fin,
    Ack,
    Rst,
    None,  ///< a combination of flags that no stack sends; no state admits it
};
inline constexpr std::size_t kSegments = 6;

[[nodiscard]] constexpr std::size_t index_of(Segment s) noexcept {
    return static_cast<std::size_t>(s);
}

/// In the table, beside the states: the packet passes and changes nothing.
inline constexpr TcpState kTcpIgnore{14};
/// In the table, beside the states: the packet is INVALID.
inline constexpr TcpState kTcpInvalid{15};

namespace tcp_table {

/// Segments by their SYN, FIN, RST, ACK and URG bits. ECE, CWR and PSH say nothing about state
/// (RFC 3168 6.1.1, RFC 9293 3.9.1) and are masked out; what is not listed is Segment::None.
inline constexpr auto kSegmentOf = [] {
    using namespace tcpflag;
    std::array<Segment, 64> of{};
    of.fill(Segment::None);
    for (const unsigned psh : {0U, unsigned{kPsh}}) {
        of[psh | kSyn] = Segment::Syn;
        of[psh | kSyn | kUrg] = Segment::Syn;
        of[psh | kSyn | kAck] = Segment::SynAck;
        of[psh | kFin | kAck] = Segment::Fin;
        of[psh | kFin | kAck | kUrg] = Segment::Fin;
        of[psh | kAck] = Segment::Ack;
        of[psh | kAck | kUrg] = Segment::Ack;
        of[psh | kRst] = Segment::Rst;
        of[psh | kRst | kAck] = Segment::Rst;
    }
    return of;
}();

/// Who sends the segment of a transition.
enum class Sender : std::uint8_t { Original, Reply, Either };

/// A set of states, one bit each.
template <class... States>
[[nodiscard]] consteval unsigned in(States... states) {
    return ((1U << index_of(states)) | ...);
}

/// A segment from `sender`, seen in any of the states `from`, leads to `to`.
struct Transition {
    unsigned from;
    Sender sender;
    Segment segment;
    TcpState to;
};

// clang-format off
inline constexpr auto kTransitions = [] {
    using enum TcpState;
    using enum Sender;
    constexpr auto kSyn = Segment::Syn, kSynAck = Segment::SynAck, kFin = Segment::Fin,
                   kAck = Segment::Ack, kRst = Segment::Rst;
    return std::array{
        // The three-way handshake, RFC 9293 3.5 figure 6.
        Transition{in(None),                            Original, kSyn,    SynSent},
        Transition{in(SynSent),                         Original, kSyn,    SynSent},      // retransmission
        Transition{in(SynSent),                         Reply,    kSynAck, SynRecv},
        Transition{in(SynRecv),                         Original, kAck,    Established},
        Transition{in(SynRecv),                         Reply,    kAck,    SynRecv},      // overtakes the client's
        // Simultaneous open, figure 7. The ACK that ends it may also be the reply's (tcp.cpp).
        Transition{in(SynSent),                         Reply,    kSyn,    SynSent2},
        Transition{in(SynSent2),                        Original, kSyn,    SynSent2},
        Transition{in(SynSent2),                        Reply,    kSyn,    SynSent2},
        Transition{in(SynSent2),                        Either,   kSynAck, SynRecv},
        Transition{in(SynRecv),                         Original, kSynAck, SynRecv},
        // Data, and a connection that was there before the tracker (if tcp_loose).
        Transition{in(Established),                     Either,   kAck,    Established},
        Transition{in(None),                            Original, kAck,    Established},
        // Closing, RFC 9293 3.6. Which side began is not in the state: it goes by what was seen.
        Transition{in(SynRecv, Established),            Either,   kFin,    FinWait},
        Transition{in(FinWait, CloseWait),              Either,   kAck,    CloseWait},
        Transition{in(FinWait, CloseWait, LastAck),     Either,   kFin,    LastAck},
        Transition{in(LastAck),                         Either,   kAck,    TimeWait},
        Transition{in(TimeWait),                        Either,   kFin,    TimeWait},     // retransmission
        Transition{in(TimeWait),                        Either,   kAck,    TimeWait},
        Transition{in(Close),                           Either,   kFin,    Close},
        Transition{in(Close),                           Either,   kAck,    Close},
        // A reset ends everything, once tcp.cpp has found it credible.
        Transition{in(SynSent, SynRecv, Established, FinWait, CloseWait, LastAck, TimeWait, Close, SynSent2),
                                                        Either,   kRst,    Close},
        // A tuple that is used again, RFC 9293 3.6.1 (tcp.cpp has the conditions).
        Transition{in(TimeWait, Close),                 Original, kSyn,    SynSent},
        Transition{in(TimeWait),                        Reply,    kSyn,    SynSent},
        // Passes, because an endpoint may know better than the tracker which connection this is.
        Transition{in(SynRecv, Established, FinWait, CloseWait, LastAck),
                                                        Original, kSyn,    kTcpIgnore},
        Transition{in(SynRecv, Established, FinWait, CloseWait, LastAck, TimeWait, Close),
                                                        Reply,    kSynAck, kTcpIgnore},
        Transition{in(SynSent, SynSent2),               Reply,    kAck,    kTcpIgnore},   // half-open peer, 3.5.1
    };
}();
// clang-format on

/// kTransitions as a dense table; what it does not list is kTcpInvalid. Rows have sixteen cells, so
/// that any four-bit state is in bounds.
inline constexpr auto kNext = [] {
    std::array<std::array<std::array<TcpState, 16>, kSegments>, 2> next{};
    for (auto& by_segment : next)
        for (auto& by_state : by_segment) by_state.fill(kTcpInvalid);
    for (const Transition& t : kTransitions) {
        for (std::size_t dir = 0; dir < 2; ++dir) {
            if (t.sender != Sender::Either && static_cast<std::size_t>(t.sender) != dir) continue;
            for (std::size_t from = 0; from < kTcpStates; ++from) {
                if ((t.from >> from & 1) == 0) continue;
                TcpState& cell = next[dir][index_of(t.segment)][from];
                if (cell != kTcpInvalid) throw "two transitions for one case";  // compile error
                cell = t.to;
            }
        }
    }
    return next;
}();

}  // namespace tcp_table

/// The class of a segment with these flags (all eight bits of the header's flags byte).
[[nodiscard]] constexpr Segment classify(std::uint8_t flags) noexcept {
    return tcp_table::kSegmentOf[flags & 0x3f];
}

/// The state after `segment` in `state`, or kTcpIgnore or kTcpInvalid.
[[nodiscard]] constexpr TcpState next_state(TcpState state, Dir dir, Segment segment) noexcept {
    return tcp_table::kNext[index_of(dir)][index_of(segment)][index_of(state) & 0xf];
}

static_assert(next_state(TcpState::None, Dir::Original, Segment::Syn) == TcpState::SynSent);
static_assert(next_state(TcpState::None, Dir::Reply, Segment::Syn) == kTcpInvalid);
static_assert(next_state(TcpState::SynSent, Dir::Original, Segment::SynAck) == kTcpInvalid);
static_assert(next_state(TcpState::SynSent, Dir::Reply, Segment::SynAck) == TcpState::SynRecv);
static_assert(next_state(TcpState::SynRecv, Dir::Original, Segment::Ack) == TcpState::Established);
static_assert(next_state(TcpState::Established, Dir::Original, Segment::Syn) == kTcpIgnore);
static_assert(next_state(TcpState::LastAck, Dir::Reply, Segment::Ack) == TcpState::TimeWait);
static_assert(next_state(TcpState::Established, Dir::Reply, Segment::None) == kTcpInvalid);
static_assert(classify(tcpflag::kSyn | tcpflag::kFin) == Segment::None);
static_assert(classify(tcpflag::kPsh | tcpflag::kAck | 0xc0) == Segment::Ack);

}  // namespace ct::proto
