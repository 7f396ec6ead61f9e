// SPDX-License-Identifier: BSD-3-Clause
//
// Window arithmetic of the TCP tracker (the essay is in tcp.cpp), and what almost every segment is:
// data or an acknowledgement of an established connection, in window. Inline, because that one case
// is most of what a gateway does (bench/table_hits).
#pragma once

#include "ct/proto/tcp.hpp"
#include "ct/proto/tcp_states.hpp"

#include <algorithm>
#include <cstdint>

namespace ct::proto::tcp {

inline constexpr std::uint32_t kMinAckWindow = 66'000;  ///< bytes; semantics.md 2.2

/// Sequence comparison modulo 2^32, RFC 9293 3.4.
[[nodiscard]] constexpr bool before(std::uint32_t a, std::uint32_t b) noexcept {
    return static_cast<std::int32_t>(a - b) < 0;
}
[[nodiscard]] constexpr bool after(std::uint32_t a, std::uint32_t b) noexcept {
    return before(b, a);
}

/// The right edge of the segment's last SACK block, or its acknowledgement if that is higher or
/// there is none (RFC 2018 3).
[[nodiscard]] std::uint32_t highest_sack(const Packet& p) noexcept;

/// Inequalities I to IV.
struct Fitting {
    bool not_ahead = false;
    bool not_stale = false;
    bool ack_seen = false;
    bool ack_recent = false;

    [[nodiscard]] bool all() const noexcept {
        return not_ahead && not_stale && ack_seen && ack_recent;
    }
};

/// What the judgement needs of a segment, taken out of the packet once.
struct SegmentNumbers {
    std::uint32_t seq;
    std::uint32_t end;  ///< sequence number after the segment
    std::uint32_t ack;  ///< as judged; meaningless without the flag
    std::uint32_t sack;
    std::uint16_t window;  ///< as on the wire
    std::uint8_t flags;    ///< tcpflag bits
    Dir dir;
};

/// Whether a segment is in window.
[[nodiscard, gnu::always_inline]] inline Fitting fit(const SegmentNumbers& n,
                                                     const TcpWindow& sender,
                                                     const TcpWindow& receiver) noexcept {
    const std::uint32_t ack_window = std::max(sender.max_window, kMinAckWindow);
    return {
        .not_ahead = !after(n.seq, sender.max_end),
        .not_stale = receiver.max_window == 0 || !before(n.end, sender.end - receiver.max_window),
        .ack_seen = !after(n.sack, receiver.end),
        .ack_recent = !before(n.sack, receiver.end - ack_window)};
}

/// What a segment that fits teaches about both sides.
[[gnu::always_inline]] inline void learn(const SegmentNumbers& n, TcpWindow& sender,
                                         TcpWindow& receiver) noexcept {
    const bool syn = (n.flags & tcpflag::kSyn) != 0;
    const std::uint32_t window = std::uint32_t{n.window} << (syn ? 0 : sender.scale);

    // What was SACKed lies in the window too. Edges that run once round the circle add nothing.
    const std::uint32_t sacked = after(n.sack, n.ack) ? n.sack - n.ack : 0;
    sender.max_window = std::max(sender.max_window, window + sacked);
    std::uint8_t flags = sender.flags;
    if (after(n.end, sender.end)) {
        sender.end = n.end;
        flags |= flag::kUnacknowledged;
    }
    if ((n.flags & tcpflag::kAck) != 0) {
        if ((flags & flag::kMaxAckSet) == 0 || after(n.ack, sender.max_ack)) sender.max_ack = n.ack;
        flags |= flag::kMaxAckSet;
    }
    sender.flags = flags;
    if (receiver.max_window != 0 && after(n.end, sender.max_end))
        receiver.max_window += n.end - sender.max_end;
    if (!before(n.sack + window, receiver.max_end))  // one more is room for the probe, 3.8.6.1
        receiver.max_end = n.sack + window + (window == 0 ? 1 : 0);
    if (n.ack == receiver.end) receiver.flags &= static_cast<std::uint8_t>(~flag::kUnacknowledged);
}

/// Counts how often the same ACK came in a row. `ack` is what the header says.
[[gnu::always_inline]] inline void count_retransmission(const SegmentNumbers& n, std::uint32_t ack,
                                                        TcpLast& last) noexcept {
    const auto dir = static_cast<std::uint8_t>(n.dir);
    // One test: that a part of it is the same is as likely as not.
    const std::uint32_t other = (last.seq ^ n.seq) | (last.ack ^ ack) | (last.end ^ n.end) |
                                static_cast<std::uint32_t>(last.window ^ n.window) |
                                static_cast<std::uint32_t>(last.dir ^ dir);
    if (other == 0) [[unlikely]] {
        if (last.retransmissions < 255) ++last.retransmissions;
        return;
    }
    last.dir = dir;
    last.seq = n.seq;
    last.ack = ack;
    last.end = n.end;
    last.window = n.window;
    last.retransmissions = 0;
}

/// The time-out that the state, and what is outstanding, call for (semantics.md 2.2). `flags` are
/// those of both windows.
[[nodiscard, gnu::always_inline]] inline Timeout timeout_for(TcpState state, Segment segment,
                                                             const TcpLast& last, unsigned flags,
                                                             const Settings& s) noexcept {
    const Timeouts& all = s.timeouts;
    const std::uint32_t usual = all.tcp[index_of(state)];
    if (last.retransmissions >= s.tcp_max_retrans && usual > all.tcp_max_retrans)
        return {all.tcp_max_retrans, TimeoutName::TcpMaxRetrans};
    if (segment == Segment::Rst)
        return {all.tcp[index_of(TcpState::Close)], timeout_name(TcpState::Close)};
    if ((flags & flag::kUnacknowledged) != 0 && usual > all.tcp_unacknowledged)
        return {all.tcp_unacknowledged, TimeoutName::TcpUnacknowledged};
    if (last.window == 0 && usual > all.tcp_max_retrans)
        return {all.tcp_max_retrans, TimeoutName::TcpMaxRetrans};
    return {usual, timeout_name(state)};
}

/// A segment of a connection that is established and has been answered. True if it neither opens
/// nor closes anything and is in window: `side` has learned from it and the time-out is in
/// `timeout_s`; the connection is assured from now on. False: nothing has been touched, update()
/// is to judge. Both agree on what this one takes.
[[nodiscard, gnu::always_inline]] inline bool update_data(const Packet& p, SideLines& side,
                                                          const Settings& s,
                                                          std::uint32_t& timeout_s) noexcept {
    if (classify(p.tcp_flags) != Segment::Ack || p.fragment != Fragment::Whole) return false;
    TcpWindow& sender = side.window[index_of(p.dir)];
    TcpWindow& receiver = side.window[index_of(opposite(p.dir))];
    const std::uint32_t ack = p.tcp_ack;
    const SegmentNumbers n{
        .seq = p.tcp_seq,
        .end = p.tcp_seq + (p.end - p.payload_offset),
        .ack = ack,
        .sack = (receiver.flags & flag::kSackPermitted) != 0 ? highest_sack(p) : ack,
        .window = p.tcp_window,
        .flags = tcpflag::kAck,
        .dir = p.dir};
    if (sender.max_window == 0 || side.window[0].adjust != 0) return false;
    if (!fit(n, sender, receiver).all()) return false;

    learn(n, sender, receiver);
    TcpLast& last = side.last;
    count_retransmission(n, ack, last);
    last.segment = static_cast<std::uint8_t>(Segment::Ack);
    last.dir = static_cast<std::uint8_t>(n.dir);
    timeout_s = timeout_for(TcpState::Established, Segment::Ack, last,
                            unsigned{sender.flags} | receiver.flags, s)
                    .seconds;
    return true;
}

/// What inequalities I to IV were asked about, for whoever wants to see it.
struct WindowCheck {
    bool made = false;  ///< the judgement came as far as that
    SegmentNumbers segment{};
    TcpWindow sender;    ///< as it stood when the segment was compared with it
    TcpWindow receiver;  ///< likewise
    Fitting fitting;
};

/// update() with its reasons and what it compared.
[[nodiscard]] Verdict explain(const Packet& p, const View& view, const Settings& s,
                              WindowCheck& seen) noexcept;

}  // namespace ct::proto::tcp
