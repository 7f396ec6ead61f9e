// SPDX-License-Identifier: BSD-3-Clause
//
// Dispatch by protocol, and the trackers that are a rule or two: UDP and UDP-Lite, ICMP and ICMPv6,
// GRE, and everything that Sluice knows by its number only.
#include "ct/proto/proto.hpp"

#include "ct/proto/sctp.hpp"
#include "ct/proto/tcp_window.hpp"

#include <array>

namespace ct::proto {
namespace {

/// A datagram counts as a stream's if both sides still talk after this time (semantics.md 2.5).
constexpr Nanos kUdpStreamAge = 2 * kNanosPerSecond;

constexpr Verdict kInvalid{.outcome = Outcome::Invalid, .refresh = false, .why = Why::NoQuery};

Verdict accept(const View& view, std::uint32_t timeout_s) noexcept {
    return {.assured = view.assured, .timeout_s = timeout_s};
}

bool is_udp_stream(const View& view) noexcept {
    return view.had_reply && view.age > kUdpStreamAge;
}

Verdict update_udp(const View& view, const Timeouts& t) noexcept {
    const bool stream = is_udp_stream(view);
    Verdict v = accept(view, stream ? t.udp_stream : t.udp);
    v.assured = view.assured || (stream && !view.nat_clash);
    return v;
}

/// Linux asks no age of UDP-Lite.
Verdict update_udplite(const View& view, const Timeouts& t) noexcept {
    Verdict v = accept(view, view.had_reply ? t.udp_stream : t.udp);
    v.assured = view.assured || (view.had_reply && !view.nat_clash);
    return v;
}

Verdict update_gre(const View& view, const Timeouts& t) noexcept {
    Verdict v = accept(view, view.had_reply ? t.gre_stream : t.gre);
    v.assured = view.assured || (view.had_reply && !view.nat_clash);
    return v;
}

/// True for the ICMP and ICMPv6 types that ask for an answer; nothing else opens a connection
/// (RFC 792, RFC 950, RFC 4443 4, RFC 4620).
constexpr bool is_query(std::uint8_t protocol, std::uint8_t type) noexcept {
    if (protocol == ipproto::kIcmp) return type == 8 || type == 13 || type == 15 || type == 17;
    return type == 128 || type == 139;
}

/// The time-out of a protocol whose connections have one only, or its first.
std::uint32_t first_timeout(std::uint8_t protocol, const Timeouts& t) noexcept {
    switch (protocol) {
        case ipproto::kUdp:
        case ipproto::kUdplite:
            return t.udp;
        case ipproto::kIcmp:
            return t.icmp;
        case ipproto::kIcmpv6:
            return t.icmpv6;
        case ipproto::kGre:
            return t.gre;
        default:
            return t.generic;
    }
}

/// The setting that first_timeout() takes.
TimeoutName first_timeout_name(std::uint8_t protocol) noexcept {
    switch (protocol) {
        case ipproto::kUdp:
        case ipproto::kUdplite:
            return TimeoutName::Udp;
        case ipproto::kIcmp:
            return TimeoutName::Icmp;
        case ipproto::kIcmpv6:
            return TimeoutName::Icmpv6;
        case ipproto::kGre:
            return TimeoutName::Gre;
        default:
            return TimeoutName::Generic;
    }
}

/// The setting whose time-out update() gives the connection.
TimeoutName timeout_name_of(std::uint8_t protocol, const View& view) noexcept {
    if (protocol == ipproto::kUdp && is_udp_stream(view)) return TimeoutName::UdpStream;
    if (protocol == ipproto::kUdplite && view.had_reply) return TimeoutName::UdpStream;
    if (protocol == ipproto::kGre && view.had_reply) return TimeoutName::GreStream;
    return first_timeout_name(protocol);
}

constexpr std::array<const char*, kTcpStates> kTcpNames{
    "NONE",       "SYN_SENT", "SYN_RECV",  "ESTABLISHED", "FIN_WAIT",
    "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT", "CLOSE",       "SYN_SENT2"};

constexpr std::array<const char*, kSctpStates> kSctpNames{
    "NONE",          "CLOSED",        "COOKIE_WAIT",       "COOKIE_ECHOED", "ESTABLISHED",
    "SHUTDOWN_SENT", "SHUTDOWN_RECD", "SHUTDOWN_ACK_SENT", "HEARTBEAT_SENT"};

}  // namespace

bool admits(const Packet& p, const Settings& s) noexcept {
    const std::uint8_t protocol = p.tuple.proto;
    switch (protocol) {
        case ipproto::kTcp:
            return tcp::admits(p, s);
        case ipproto::kSctp: {
            SideLines scratch;
            return sctp::open(p, scratch, s).outcome == Outcome::Accept;
        }
        case ipproto::kIcmp:
        case ipproto::kIcmpv6:
            return is_query(protocol, icmp_type(p.tuple.dport));
        default:
            return true;
    }
}

Verdict open(const Packet& p, SideLines& side, const Settings& s) noexcept {
    const std::uint8_t protocol = p.tuple.proto;
    switch (protocol) {
        case ipproto::kTcp:
            return tcp::open(p, side, s);
        case ipproto::kSctp:
            return sctp::open(p, side, s);
        default:
            return admits(p, s) ? Verdict{.why = Why::Opens,
                                          .timeout = first_timeout_name(protocol),
                                          .timeout_s = first_timeout(protocol, s.timeouts)}
                                : kInvalid;
    }
}

Verdict update(const Packet& p, const View& view, const Settings& s) noexcept {
    switch (p.tuple.proto) {
        case ipproto::kTcp:
            return tcp::update(p, view, s);
        case ipproto::kSctp:
            return sctp::update(p, view, s);
        case ipproto::kUdp:
            return update_udp(view, s.timeouts);
        case ipproto::kUdplite:
            return update_udplite(view, s.timeouts);
        case ipproto::kGre:
            return update_gre(view, s.timeouts);
        default:
            return accept(view, first_timeout(p.tuple.proto, s.timeouts));
    }
}

Verdict explain(const Packet& p, const View& view, const Settings& s,
                tcp::WindowCheck& seen) noexcept {
    const std::uint8_t protocol = p.tuple.proto;
    if (protocol == ipproto::kTcp) return tcp::explain(p, view, s, seen);
    Verdict v = update(p, view, s);
    if (protocol != ipproto::kSctp) v.timeout = timeout_name_of(protocol, view);
    return v;
}

const char* state_name(std::uint8_t protocol, std::uint8_t state) noexcept {
    if (protocol == ipproto::kTcp && state < kTcpStates) return kTcpNames[state];
    if (protocol == ipproto::kSctp && state < kSctpStates) return kSctpNames[state];
    return "";
}

bool is_closing(std::uint8_t protocol, std::uint8_t state) noexcept {
    if (protocol == ipproto::kTcp) {
        switch (TcpState{state}) {
            case TcpState::FinWait:
            case TcpState::CloseWait:
            case TcpState::LastAck:
            case TcpState::TimeWait:
            case TcpState::Close:
                return true;
            default:
                return false;
        }
    }
    if (protocol == ipproto::kSctp) {
        switch (SctpState{state}) {
            case SctpState::ShutdownSent:
            case SctpState::ShutdownRecd:
            case SctpState::ShutdownAckSent:
                return true;
            default:
                return false;
        }
    }
    return false;
}

}  // namespace ct::proto
