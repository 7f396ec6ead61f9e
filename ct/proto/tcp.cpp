// SPDX-License-Identifier: BSD-3-Clause
//
// TCP, judged from the middle of the path.
//
// A segment is judged in this order, and each step is a function below:
//
//   1. states     its class and the state give the next state (tcp_states.hpp), or Ignore, or
//   Invalid
//   2. stray SYN  a SYN or SYN+ACK that does not fit may be the truth and the entry the lie: one
//                 endpoint has crashed and come back on the same ports. Such a SYN is let through
//                 and noted in TcpLast; if its SYN+ACK acknowledges what was noted, the entry
//                 follows the endpoints. Nothing else may move an entry on a stranger's word
//   3. reset      a RST has to be credible, or anyone who knows a tuple could cut a connection
//                 (RFC 5961 3); one that is in window but not exact passes, since the receiver will
//                 challenge it, and only the time-out comes down
//   4. window     four inequalities (below) say whether the segment could come from the endpoint
//   5. memory     what the segment says about windows, retransmissions and unacknowledged data, on
//                 which the time-out depends
//
// Windows. For each sender S with its receiver R the tracker knows what it has seen: S.end, the end
// of S's data; S.max_end, the right edge that R has offered to S; S.max_window, the largest window
// that S itself offered; S.max_ack, the largest acknowledgement that S sent. A segment [seq, end)
// with acknowledgement `sack` (the right edge of its last SACK block, if it has any) is in window
// if
//
//   I    seq  <= S.max_end                  not past what R can take
//   II   end  >= S.end - R.max_window       not so old that R cannot be waiting for it
//   III  sack <= R.end                      acknowledges nothing that R has not sent
//   IV   sack >= R.end - max(S.max_window, 66000)   acknowledges nothing from long ago
//
// I and III keep blind data and blind acknowledgements out: Invalid. II and IV are broken by honest
// duplicates as well: the packet passes but proves nothing, so it refreshes nothing: Ignore. The
// tracker may have missed packets of a path that it shares with others, so a segment that breaks I
// by less than a window passes in the same way. The method is G. van Rooij's, "Real Stateful TCP
// Packet Filtering in IP Filter" (2001).
#include "ct/proto/tcp.hpp"

#include "ct/proto/tcp_window.hpp"
#include "ct/wire/tcp_options.hpp"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <span>

namespace ct::proto::tcp {
namespace {

using namespace flag;

constexpr std::uint8_t kMaxScale = 14;           ///< RFC 7323 2.3
constexpr std::uint32_t kCutFloorSeconds = 120;  ///< shorter deadlines are not cut (2.2)

/// The segment under judgement and whom it concerns.
struct Track {
    const Packet& p;
    TcpWindow& sender;
    TcpWindow& receiver;
    TcpLast& last;
    TcpState state;  ///< as it stands in the entry
    Segment segment;
    std::uint32_t end;       ///< sequence number after the segment
    Why why = Why::Belongs;  ///< what there is to say of it so far
    SeqAdjust* adjust = nullptr;

    [[nodiscard]] bool has(std::uint8_t flag) const noexcept { return (p.tcp_flags & flag) != 0; }
    [[nodiscard]] bool last_was(Segment s, Dir d) const noexcept {
        return last.segment == index_of(s) && last.dir == index_of(d);
    }
};

/// RFC 9293 3.4: SYN and FIN take a number each.
std::uint32_t end_of(const Packet& p) noexcept {
    assert(p.payload_offset <= p.end);
    const std::uint32_t syn = (p.tcp_flags & tcpflag::kSyn) != 0 ? 1 : 0;
    const std::uint32_t fin = (p.tcp_flags & tcpflag::kFin) != 0 ? 1 : 0;
    return p.tcp_seq + (p.end - p.payload_offset) + syn + fin;
}

struct SynOptions {
    std::uint8_t scale = 0;
    std::uint8_t flags = 0;  ///< kScaled, kSackPermitted
};

SynOptions syn_options(const Packet& p) noexcept {
    SynOptions found;
    for_each_tcp_option(tcp_options(p), [&](const TcpOption& option) {
        if (option.kind == tcpoption::kWindowScale && option.body.size() == 1) {
            found.scale = std::min(option.body[0], kMaxScale);
            found.flags |= kScaled;
        } else if (option.kind == tcpoption::kSackPermitted && option.body.empty()) {
            found.flags |= kSackPermitted;
        }
    });
    return found;
}

std::uint32_t load_be32(const std::uint8_t* at) noexcept {
    std::uint32_t raw;
    std::memcpy(&raw, at, sizeof raw);
    return Be32::from_raw(raw).host();
}

/// Remembers a segment that passed without effect (semantics.md 2.1 rules 3 and 4).
void annotate(const Track& t) noexcept {
    TcpLast& last = t.last;
    last.segment = static_cast<std::uint8_t>(t.segment);
    last.dir = static_cast<std::uint8_t>(t.p.dir);
    last.seq = t.p.tcp_seq;
    last.end = t.end;
    last.window = t.p.tcp_window;
    // The server knows another connection; the client will reset it by this number (RFC
    // 9293 3.5.1).
    const bool half_open = t.state == TcpState::SynSent && t.segment == Segment::Ack;
    if (half_open && t.p.dir == Dir::Reply) last.ack = t.p.tcp_ack;
    if (t.segment != Segment::Syn || t.p.dir != Dir::Original) return;
    const SynOptions options = syn_options(t.p);
    last.scale = options.scale;
    last.flags = options.flags;
    // The server answers with a challenge ACK (RFC 5961 4), which must not pass for the ACK of the
    // last FIN.
    if (t.state == TcpState::LastAck) last.flags |= kChallengeAck;
}

/// True if this SYN+ACK answers a SYN that was let through: the entry was out of step with both
/// endpoints, who are opening a new connection.
bool answers_stray_syn(const Track& t) noexcept {
    return t.segment == Segment::SynAck && t.last_was(Segment::Syn, opposite(t.p.dir)) &&
           t.p.tcp_ack == t.last.end;
}

/// Puts the entry where it would be had it opened with the SYN that was let through.
void resynchronise(const Track& t) noexcept {
    const std::uint16_t of_receiver = t.receiver.adjust;
    const std::uint16_t of_sender = t.sender.adjust;
    t.last.flags &= static_cast<std::uint8_t>(~kChallengeAck);
    t.receiver = TcpWindow{.end = t.last.end,
                           .max_end = t.last.end,
                           .max_window = std::max<std::uint32_t>(t.last.window, 1),
                           .scale = t.last.scale,
                           .flags = t.last.flags,
                           .adjust = of_receiver};
    t.sender = TcpWindow{.flags = static_cast<std::uint8_t>(t.sender.flags & kLiberal),
                         .adjust = of_sender};
    if (t.adjust != nullptr) *t.adjust = {};  // the old numbers mean nothing to the new connection
}

/// RFC 9293 3.6.1: a tuple may be used again if its connection ended in a way that was seen.
bool may_reopen(const Track& t) noexcept {
    return ((t.sender.flags | t.receiver.flags) & kCloseInit) != 0 ||
           t.last_was(Segment::Rst, t.p.dir);
}

enum class Reset : std::uint8_t {
    Credible,      ///< as far as the sequence number goes; the window decides
    Unquestioned,  ///< it answers what was let through: no window knows about that
    Challenged,    ///< in window but not exact: the receiver will ask (RFC 5961 3.2)
    Forged,
};

Reset judge_reset(const Track& t, const View& view, const Settings& s) noexcept {
    // While closing, the tuple may have been used again unseen: nothing to compare with.
    if (is_closing(ipproto::kTcp, view.state)) return Reset::Unquestioned;
    const bool established = t.state == TcpState::Established && view.assured;
    const std::uint32_t seq = t.p.tcp_seq;
    const bool after_syn = t.last.segment == index_of(Segment::Syn);
    if ((t.receiver.flags & kMaxAckSet) != 0 && !after_syn) {
        if (seq == 0 && !established) return Reset::Credible;
        if (before(seq, t.receiver.max_ack) && !s.tcp_ignore_invalid_rst) return Reset::Forged;
        // A RST right behind its sender's own data is as good as an exact one.
        const bool train = t.last_was(Segment::Ack, t.p.dir) && seq == t.last.end;
        const bool exact = !established || seq == t.receiver.max_ack || train;
        return exact ? Reset::Credible : Reset::Challenged;
    }
    const bool after_ack = t.last.segment == index_of(Segment::Ack);
    if (t.state == TcpState::SynSent && after_ack && seq == t.last.ack) return Reset::Unquestioned;
    const bool answers = (view.had_reply && t.last_was(Segment::Syn, opposite(t.p.dir))) ||
                         (!view.assured && after_ack);
    return answers && t.p.tcp_ack == t.last.end ? Reset::Unquestioned : Reset::Credible;
}

/// RFC 7857 2.2: whoever sent a RST has no connection any more, and sends nothing but RSTs. If
/// something else comes from there, the RST was somebody else's who guessed its number. (RFC 6146
/// 3.5.2.2 believes any packet of either side; but what the other side has sent before it learned
/// of the RST is no sign of life.)
bool goes_on_after_reset(const Track& t, const Settings& s) noexcept {
    const bool alive = t.segment == Segment::Ack || t.segment == Segment::Fin;
    return alive && t.state == TcpState::Close && (t.sender.flags & kReset) != 0 &&
           s.timeouts.tcp_rst_waits;
}

enum class Fit : std::uint8_t { Inside, Tolerated, Outside };

/// What a SYN says about its sender. The scale counts only if both sides sent one (RFC 7323 2.2),
/// which the reply's SYN decides.
[[gnu::always_inline]] inline void begin_sender(Track& t) noexcept {
    TcpWindow& w = t.sender;
    w.end = w.max_end = t.end;
    w.max_window = std::max<std::uint32_t>(t.p.tcp_window, 1);
    if (!tcp_options(t.p).empty()) {  // a SYN without any says nothing new, as in Linux
        const SynOptions options = syn_options(t.p);
        w.scale = options.scale;
        w.flags = static_cast<std::uint8_t>((w.flags & kLiberal) | options.flags);
    }
    const bool both = (w.flags & t.receiver.flags & kScaled) != 0;
    if (t.p.dir == Dir::Reply && !both) w.scale = t.receiver.scale = 0;
}

/// The first segment seen of a sender is no SYN: believe it.
void adopt_sender(Track& t, std::uint32_t sack) noexcept {
    TcpWindow& w = t.sender;
    w.end = t.end;
    w.max_window = std::max<std::uint32_t>(std::uint32_t{t.p.tcp_window} << w.scale, 1);
    w.max_end = t.end + w.max_window;
    if (t.receiver.max_window == 0) {
        t.receiver.end = t.receiver.max_end = sack;
    } else if (sack == t.receiver.end + 1) {
        ++t.receiver.end;  // answers a keep-alive, whose number is one too low
    }
}

/// A SYN with a later number in the same direction starts the handshake anew (rule 9).
bool restarts(const Track& t) noexcept {
    const bool opening = t.state == TcpState::SynSent || t.state == TcpState::SynRecv;
    return opening && t.has(tcpflag::kSyn) && after(t.end, t.sender.end);
}

/// The edge that the segment's acknowledgements reach.
std::uint32_t sack_of(const Track& t) noexcept {
    return (t.receiver.flags & kSackPermitted) != 0 ? highest_sack(t.p) : t.p.tcp_ack;
}

/// A number of the receiver's that the segment names, as the receiver itself knows it.
std::uint32_t in_own_numbers(const Track& t, std::uint32_t named) noexcept {
    return t.adjust == nullptr ? named : t.adjust->of(opposite(t.p.dir)).own(named);
}

/// Who does not want to know why: nothing of it is computed.
struct NoNotes {
    void say(Track&, Why) const noexcept {}
    void say(Verdict&, Why) const noexcept {}
    void say(Verdict&, const Track&) const noexcept {}
    void say(Verdict&, TimeoutName) const noexcept {}
    void compared(const SegmentNumbers&, const Track&, const Fitting&) const noexcept {}
};
struct Notes {
    WindowCheck& seen;

    void say(Track& t, Why why) const noexcept { t.why = why; }
    void say(Verdict& v, Why why) const noexcept { v.why = why; }
    void say(Verdict& v, const Track& t) const noexcept { v.why = t.why; }
    void say(Verdict& v, TimeoutName name) const noexcept { v.timeout = name; }
    void compared(const SegmentNumbers& n, const Track& t, const Fitting& fitting) const noexcept {
        seen = {.made = true,
                .segment = n,
                .sender = t.sender,
                .receiver = t.receiver,
                .fitting = fitting};
    }
};

/// Which inequality a segment breaks that is not tolerated, or passes without effect.
Why why_unfit(const Fitting& f) noexcept {
    if (!f.not_ahead) return Why::AheadOfWindow;
    if (!f.ack_seen) return Why::AckOfUnsent;
    return f.not_stale ? Why::OldAck : Why::OldData;
}

/// The window's say; what a segment that fits teaches is learned. First comes what a SYN, a RST or
/// the first segment of a sender has of its own.
template <class Noting>
Fit fit_window(Track& t, const Noting& notes) noexcept {
    TcpWindow& sender = t.sender;
    const bool syn = t.has(tcpflag::kSyn);
    std::uint32_t seq = t.p.tcp_seq;
    // The tracker counts in each sender's own numbers, whatever its peer has been shown.
    std::uint32_t ack = in_own_numbers(t, t.p.tcp_ack);
    std::uint32_t sack = in_own_numbers(t, sack_of(t));

    if (syn && (sender.max_window == 0 || restarts(t))) {
        begin_sender(t);
        if (!t.has(tcpflag::kAck) && t.p.dir == Dir::Reply)
            return Fit::Inside;  // simultaneous open
    } else if (sender.max_window == 0) {
        adopt_sender(t, sack);
    }
    // No acknowledgement, or the zero that some stacks put into a RST: nothing to check.
    if (!t.has(tcpflag::kAck) || (t.segment == Segment::Rst && ack == 0))
        ack = sack = t.receiver.end;
    // A RST that answers a SYN has no number of its own (RFC 9293 3.5.2).
    if (t.segment == Segment::Rst && seq == 0 && t.state == TcpState::SynSent)
        seq = t.end = sender.end;

    const SegmentNumbers n{.seq = seq,
                           .end = t.end,
                           .ack = ack,
                           .sack = sack,
                           .window = t.p.tcp_window,
                           .flags = t.p.tcp_flags,
                           .dir = t.p.dir};
    const Fitting fitting = fit(n, sender, t.receiver);
    notes.compared(n, t, fitting);
    if (fitting.all()) {
        learn(n, sender, t.receiver);
        if (t.segment == Segment::Ack) count_retransmission(n, t.p.tcp_ack, t.last);
        return Fit::Inside;
    }
    notes.say(t, why_unfit(fitting));
    if (fitting.not_ahead) return fitting.ack_seen ? Fit::Tolerated : Fit::Outside;
    const std::uint32_t overshoot = t.end - sender.max_end;
    if (overshoot >= t.receiver.max_window ||
        !(fitting.not_stale && fitting.ack_seen && fitting.ack_recent))
        return Fit::Outside;
    sender.end = t.end;
    sender.flags |= kUnacknowledged;
    notes.say(t, Why::Overshoots);
    return Fit::Tolerated;
}

template <class Noting>
Verdict invalid(Why why, const Noting& notes) noexcept {
    Verdict v{.outcome = Outcome::Invalid, .refresh = false};
    notes.say(v, why);
    return v;
}

template <class Noting>
Verdict ignore(const View& view, Why why, const Noting& notes) noexcept {
    Verdict v{
        .outcome = Outcome::Ignore, .state = view.state, .assured = view.assured, .refresh = false};
    notes.say(v, why);
    return v;
}

/// The shorter of the verdict's time-out and the one for what nobody has acknowledged.
template <class Noting>
void limit_unacknowledged(Verdict& v, const Settings& s, const Noting& notes) noexcept {
    const std::uint32_t most = s.timeouts.tcp_unacknowledged;
    if (v.timeout_s > most) notes.say(v, TimeoutName::TcpUnacknowledged);
    v.timeout_s = std::min(v.timeout_s, most);
}

/// The verdict's time-out.
template <class Noting>
void set_timeout(Verdict& v, TcpState state, const Track& t, const Settings& s,
                 const Noting& notes) noexcept {
    const unsigned flags = unsigned{t.sender.flags} | t.receiver.flags;
    const Timeout timeout = timeout_for(state, t.segment, t.last, flags, s);
    v.timeout_s = timeout.seconds;
    notes.say(v, timeout.name);
}

/// A segment out of window. If both sides of an assured connection send FIN or RST that do not fit,
/// the tracker has lost the thread and the connection is probably over: its deadline comes down.
template <class Noting>
Verdict outside(const Track& t, const View& view, const Settings& s, const Noting& notes) noexcept {
    Verdict v = invalid(t.why, notes);
    const auto ends = [](std::uint8_t segment) {
        return segment == index_of(Segment::Fin) || segment == index_of(Segment::Rst);
    };
    if (!view.assured || !ends(static_cast<std::uint8_t>(t.segment))) return v;
    if (ends(t.last.segment) && t.last.dir != index_of(t.p.dir)) {
        v.cut = view.remaining_s >= kCutFloorSeconds;
        v.timeout_s = s.timeouts.tcp_unacknowledged;
        notes.say(v, TimeoutName::TcpUnacknowledged);
        return v;
    }
    t.last.segment = static_cast<std::uint8_t>(t.segment);
    t.last.dir = static_cast<std::uint8_t>(t.p.dir);
    return v;
}

/// The verdict on a segment that belongs, which takes the connection from `from` to `to`.
template <class Noting>
Verdict inside(Track& t, const View& view, TcpState from, TcpState to, const Settings& s,
               const Noting& notes) noexcept {
    TcpLast& last = t.last;
    last.segment = static_cast<std::uint8_t>(t.segment);
    last.dir = static_cast<std::uint8_t>(t.p.dir);
    if (to != from && to == TcpState::FinWait) t.sender.flags |= kCloseInit;
    if (t.segment == Segment::Rst && to == TcpState::Close) t.sender.flags |= kReset;
    if (from == TcpState::Close && to != from)
        for (TcpWindow* w : {&t.sender, &t.receiver})
            w->flags &= static_cast<std::uint8_t>(~kReset);

    Verdict v;
    v.state = static_cast<std::uint8_t>(to);
    v.state_changed = to != from;
    v.assured = view.assured;
    notes.say(v, t);
    set_timeout(v, to, t, s, notes);
    if (!view.had_reply) {
        // A RST to a SYN, or of a client that gave up: nothing was ever established (rule 8).
        if (t.segment == Segment::Rst && !s.timeouts.tcp_rst_waits) {
            v.outcome = Outcome::Kill;
            notes.say(v, Why::RstUnanswered);
        }
        if (to == TcpState::Established)  // picked up, and one side only seen
            limit_unacknowledged(v, s, notes);
    } else if (to == TcpState::Established &&
               (from == TcpState::SynRecv || from == TcpState::Established)) {
        v.assured = true;
    }
    // A client that keeps knocking on a door that nobody answers does not keep its entry alive
    // (rule 9).
    v.refresh = view.had_reply || t.segment != Segment::Syn || from != TcpState::SynSent;
    if (!v.refresh && to == from) notes.say(v, Why::SynRepeated);
    return v;
}

/// A later fragment has no header to judge: it keeps its connection alive and no more.
template <class Noting>
Verdict later_fragment(const View& view, const Settings& s, const Noting& notes) noexcept {
    const TcpState state{view.state};
    Verdict v;
    v.state = view.state;
    v.assured = view.assured;
    v.refresh = state == TcpState::Established;
    notes.say(v, Why::LaterFragment);
    const unsigned flags = unsigned{view.side->window[0].flags} | view.side->window[1].flags;
    const Timeout timeout = timeout_for(state, Segment::Ack, view.side->last, flags, s);
    v.timeout_s = timeout.seconds;
    notes.say(v, timeout.name);
    if (!view.had_reply) limit_unacknowledged(v, s, notes);
    return v;
}

}  // namespace

/// Almost every segment has no options or a timestamp alone, which is answered without walking the
/// list.
std::uint32_t highest_sack(const Packet& p) noexcept {
    constexpr std::uint32_t kTimestampAlone = 0x0101080a;  // RFC 7323 appendix A
    const auto options = tcp_options(p);
    std::uint32_t highest = p.tcp_ack;
    if (options.empty()) return highest;
    if (options.size() == 12 && load_be32(options.data()) == kTimestampAlone) return highest;
    for_each_tcp_option(options, [&](const TcpOption& option) {
        std::span<const std::uint8_t> blocks = option.body;
        if (option.kind != tcpoption::kSack || blocks.size() % 8 != 0) return;
        for (; !blocks.empty(); blocks = blocks.subspan(8)) {
            const std::uint32_t right = load_be32(&blocks[4]);
            if (after(right, highest)) highest = right;
        }
    });
    return highest;
}

bool admits(const Packet& p, const Settings& s) noexcept {
    const Segment segment = classify(p.tcp_flags);
    return next_state(TcpState::None, Dir::Original, segment) != kTcpInvalid &&
           (segment == Segment::Syn || s.tcp_loose);
}

Verdict open(const Packet& p, SideLines& side, const Settings& s) noexcept {
    const Segment segment = classify(p.tcp_flags);
    const TcpState state = next_state(TcpState::None, Dir::Original, segment);
    const auto refused = [](Why why) {
        return Verdict{.outcome = Outcome::Invalid, .refresh = false, .why = why};
    };
    if (state == kTcpInvalid) return refused(Why::CannotBegin);

    const SynOptions options = segment == Segment::Syn ? syn_options(p) : SynOptions{};
    const std::uint32_t end = end_of(p);
    TcpWindow& w = side.window[0];
    w.end = end;
    w.max_end = end;
    w.max_window = std::max<std::uint32_t>(p.tcp_window, 1);
    w.max_ack = 0;
    w.scale = options.scale;
    w.flags = options.flags;
    w.adjust = 0;
    side.window[1] = TcpWindow{};
    side.last = TcpLast{};
    side.last.segment = static_cast<std::uint8_t>(segment);
    Verdict v{.state = static_cast<std::uint8_t>(state),
              .state_changed = true,
              .why = Why::Opens,
              .timeout = timeout_name(state),
              .timeout_s = s.timeouts.tcp[index_of(state)]};
    if (segment == Segment::Syn) return v;

    // The handshake was before our time: neither scale nor SACK-permitted is known, so windows
    // cannot be judged and what SACK says is believed.
    if (!s.tcp_loose) return refused(Why::NotLoose);
    w.max_end += w.max_window;
    w.flags = side.window[1].flags = kSackPermitted | kLiberal;
    Track t{.p = p,
            .sender = w,
            .receiver = side.window[1],
            .last = side.last,
            .state = TcpState::None,
            .segment = segment,
            .end = w.end};
    static_cast<void>(fit_window(t, NoNotes{}));
    WindowCheck unseen;
    v.why = Why::PickedUp;
    limit_unacknowledged(v, s, Notes{unseen});
    return v;
}

namespace {

/// update(), with notes of why or without.
template <class Noting>
Verdict judge(const Packet& p, const View& view, const Settings& s, const Noting& notes) noexcept {
    assert(view.side != nullptr);
    if (p.fragment == Fragment::Later) return later_fragment(view, s, notes);

    SideLines& side = *view.side;
    Track t{.p = p,
            .sender = side.window[index_of(p.dir)],
            .receiver = side.window[index_of(opposite(p.dir))],
            .last = side.last,
            .state = TcpState{view.state},
            .segment = classify(p.tcp_flags),
            .end = end_of(p),
            .adjust = view.adjust};
    TcpState from = t.state;
    TcpState to = next_state(from, p.dir, t.segment);
    if (to == kTcpInvalid) return invalid(Why::NoTransition, notes);

    if (to == TcpState::SynSent && from != TcpState::SynSent) {
        if (may_reopen(t)) {
            Verdict v{.outcome = Outcome::Reopen};
            notes.say(v, Why::Reopens);
            return v;
        }
        to = kTcpIgnore;
        notes.say(t, Why::CannotReopen);
    }
    if (to == kTcpIgnore) {
        if (!answers_stray_syn(t)) {
            annotate(t);
            return ignore(view, t.why == Why::Belongs ? Why::StateIgnores : t.why, notes);
        }
        resynchronise(t);
        notes.say(t, Why::Resynchronises);
        from = TcpState::SynSent;
        to = TcpState::SynRecv;
    }
    bool check_window = true;
    if (t.segment == Segment::Rst) {
        const Reset reset = judge_reset(t, view, s);
        if (reset == Reset::Forged) return invalid(Why::RstForged, notes);
        if (reset == Reset::Challenged) {
            to = from;
            notes.say(t, Why::RstChallenged);
        }
        check_window = reset != Reset::Unquestioned;
        if (!check_window) notes.say(t, Why::RstUnquestioned);
    } else if (to == TcpState::TimeWait && from == TcpState::LastAck &&
               t.last_was(Segment::Syn, opposite(p.dir)) && (t.last.flags & kChallengeAck) != 0) {
        t.last.flags &= static_cast<std::uint8_t>(~kChallengeAck);
        return ignore(view, Why::AnswersStraySyn, notes);
    } else if (goes_on_after_reset(t, s)) {
        // As if its RST had not been: the window still has to agree.
        to = next_state(TcpState::Established, p.dir, t.segment);
        notes.say(t, Why::RstUndone);
    } else if (to == TcpState::SynSent2) {
        t.last.flags |= kSimultaneousOpen;
        notes.say(t, Why::SimultaneousOpen);
    } else if (to == TcpState::SynRecv && t.segment == Segment::Ack &&
               (t.last.flags & kSimultaneousOpen) != 0) {
        to = TcpState::Established;  // either side's ACK ends a simultaneous open
        notes.say(t, Why::SimultaneousOpen);
    }

    if (check_window) {
        const bool liberal = s.tcp_be_liberal || (t.sender.flags & kLiberal) != 0 ||
                             (s.tcp_liberal >> index_of(p.dir) & 1U) != 0;
        const Fit fit = fit_window(t, notes);
        if (fit != Fit::Inside && !liberal)
            return fit == Fit::Tolerated ? ignore(view, t.why, notes) : outside(t, view, s, notes);
        if (fit != Fit::Inside) notes.say(t, Why::Liberal);
        // How long a fragmented segment is, its first fragment does not tell; without that, no
        // acknowledgement of it can be judged.
        if (p.fragment == Fragment::First) {
            t.sender.flags |= kLiberal;
            t.receiver.flags |= kLiberal;
        }
    }
    return inside(t, view, from, to, s, notes);
}

}  // namespace

Verdict update(const Packet& p, const View& view, const Settings& s) noexcept {
    return judge(p, view, s, NoNotes{});
}

Verdict explain(const Packet& p, const View& view, const Settings& s, WindowCheck& seen) noexcept {
    return judge(p, view, s, Notes{seen});
}

}  // namespace ct::proto::tcp
