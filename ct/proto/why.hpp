// SPDX-License-Identifier: BSD-3-Clause
//
// Why a tracker judged a packet as it did, and which setting its time-out came from. The trackers
// say so themselves with each verdict, as a number; here are the words for it.
#pragma once

#include "ct/conn/settings.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace ct::proto {

/// The reason for a tracker's verdict. The order is that of kWhys and may change; names may not.
enum class Why : std::uint8_t {
    Belongs,
    Opens,
    LaterFragment,
    NoQuery,
    // TCP
    CannotBegin,
    NotLoose,
    PickedUp,
    NoTransition,
    StateIgnores,
    CannotReopen,
    Reopens,
    Resynchronises,
    SimultaneousOpen,
    SynRepeated,
    AnswersStraySyn,
    RstForged,
    RstChallenged,
    RstUnquestioned,
    RstUnanswered,
    RstUndone,
    AheadOfWindow,
    Overshoots,
    OldData,
    AckOfUnsent,
    OldAck,
    Liberal,
    // SCTP
    SctpMisplaced,
    SctpCannotBegin,
    SctpTag,
    SctpRefused,
    SctpQuiet,
};

struct WhyInfo {
    Why id;
    std::string_view name;  ///< for programs; frozen once released
    std::string_view help;  ///< a clause about the packet, in the operator's words
};

// clang-format off
inline constexpr std::array kWhys{
    WhyInfo{Why::Belongs,          "belongs",             "it fits the connection"},
    WhyInfo{Why::Opens,            "opens",               "a connection may begin with it"},
    WhyInfo{Why::LaterFragment,    "later_fragment",      "a later fragment has no transport header to judge: it keeps its connection alive and no more"},
    WhyInfo{Why::NoQuery,          "no_query",            "of ICMP only queries open a connection"},
    WhyInfo{Why::CannotBegin,      "cannot_begin",        "a connection does not begin with such a segment"},
    WhyInfo{Why::NotLoose,         "not_loose",           "it is no SYN, and nf_conntrack_tcp_loose is off"},
    WhyInfo{Why::PickedUp,         "picked_up",           "no SYN was seen, but nf_conntrack_tcp_loose lets an ACK open a connection, whose windows are not judged"},
    WhyInfo{Why::NoTransition,     "no_transition",       "the state admits no such segment from this side"},
    WhyInfo{Why::StateIgnores,     "state_ignores",       "the state has no use for it, but an endpoint may know better: it passes and changes nothing"},
    WhyInfo{Why::CannotReopen,     "cannot_reopen",       "a SYN on a tuple whose connection was not seen to end: it passes, and its answer will tell"},
    WhyInfo{Why::Reopens,          "reopens",             "the connection is over, and this SYN begins a new one on its tuple"},
    WhyInfo{Why::Resynchronises,   "resynchronises",      "it answers a SYN that was let through: the entry follows the endpoints into their new connection"},
    WhyInfo{Why::SimultaneousOpen, "simultaneous_open",   "both sides have sent a SYN, which opens one connection (RFC 9293 3.5 figure 7)"},
    WhyInfo{Why::SynRepeated,      "syn_repeated",        "a SYN that nobody has answered yet does not keep its entry alive"},
    WhyInfo{Why::AnswersStraySyn,  "answers_stray_syn",   "a challenge ACK to a stray SYN (RFC 5961 4) must not pass for the ACK of the last FIN"},
    WhyInfo{Why::RstForged,        "rst_forged",          "a RST whose sequence number lies below what the other side has acknowledged"},
    WhyInfo{Why::RstChallenged,    "rst_challenged",      "a RST in window but not exact will be challenged (RFC 5961 3.2): the state stays, the time-out comes down"},
    WhyInfo{Why::RstUnquestioned,  "rst_unquestioned",    "no window is asked about a RST that answers what was let through, or comes while closing"},
    WhyInfo{Why::RstUnanswered,    "rst_unanswered",      "a RST before any reply: nothing was established, so the entry ends at once"},
    WhyInfo{Why::RstUndone,        "rst_undone",          "its sender is said to have sent a RST, but goes on: that was forged, and the connection goes on too (RFC 7857 2.2)"},
    WhyInfo{Why::AheadOfWindow,    "ahead_of_window",     "it begins past what the other side can take"},
    WhyInfo{Why::Overshoots,       "overshoots",          "it begins past the window by less than a window, as after packets that took another way: it passes and refreshes nothing"},
    WhyInfo{Why::OldData,          "old_data",            "it ends before anything that the other side can be waiting for: it passes and refreshes nothing"},
    WhyInfo{Why::AckOfUnsent,      "ack_of_unsent",       "it acknowledges what the other side has not sent"},
    WhyInfo{Why::OldAck,           "old_ack",             "it acknowledges what was acknowledged long ago: it passes and refreshes nothing"},
    WhyInfo{Why::Liberal,          "liberal",             "it is out of its window, which is not held against it (be_liberal, or a connection picked up)"},
    WhyInfo{Why::SctpMisplaced,    "sctp_misplaced",      "it has no chunk, or one is cut or out of place (RFC 9260 5.1, 6.10)"},
    WhyInfo{Why::SctpCannotBegin,  "sctp_cannot_begin",   "an association does not begin with such a chunk (RFC 9260 8.4)"},
    WhyInfo{Why::SctpTag,          "sctp_tag",            "its verification tag, or the tag that it announces, is not the association's (RFC 9260 8.5)"},
    WhyInfo{Why::SctpRefused,      "sctp_refused",        "the state refuses one of its chunks"},
    WhyInfo{Why::SctpQuiet,        "sctp_quiet",          "an INIT that is repeated, or a heartbeat with a tag of its own: it passes and refreshes nothing"},
};
// clang-format on

/// True if every row of kWhys stands at the index of its id.
consteval bool whys_indexed_by_id() {
    for (std::size_t i = 0; i < kWhys.size(); ++i)
        if (static_cast<std::size_t>(kWhys[i].id) != i) return false;
    return true;
}
static_assert(whys_indexed_by_id(), "kWhys[why] must describe why");

[[nodiscard]] constexpr const WhyInfo& info_of(Why why) noexcept {
    return kWhys[static_cast<std::size_t>(why)];
}

/// A setting of Timeouts.
enum class TimeoutName : std::uint8_t {
    None,
    TcpMaxRetrans,
    TcpUnacknowledged,
    Udp,
    UdpStream,
    Icmp,
    Icmpv6,
    Gre,
    GreStream,
    Generic,
    FirstTcp,                          ///< that of TcpState 0; the others follow
    FirstSctp = FirstTcp + kTcpStates  ///< that of SctpState 0; the others follow
};
[[nodiscard]] constexpr TimeoutName timeout_name(TcpState s) noexcept {
    return TimeoutName(static_cast<std::size_t>(TimeoutName::FirstTcp) + index_of(s));
}
[[nodiscard]] constexpr TimeoutName timeout_name(SctpState s) noexcept {
    return TimeoutName(static_cast<std::size_t>(TimeoutName::FirstSctp) + index_of(s));
}

/// A time-out and where it came from.
struct Timeout {
    std::uint32_t seconds = 0;
    TimeoutName name = TimeoutName::None;
};

/// As sysctl(8) has it, but for `net.netfilter.`; empty for None and the states called None.
[[nodiscard]] std::string_view sysctl_of(TimeoutName name) noexcept;

}  // namespace ct::proto
