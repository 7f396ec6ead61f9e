// SPDX-License-Identifier: BSD-3-Clause
//
// Connections to render and to filter.
#pragma once

#include "ct/events.hpp"
#include "dataplane/control/notation.hpp"

namespace dp::test {

inline ct::Snapshot between(std::uint8_t protocol, std::uint16_t sport, std::uint16_t dport) {
    ct::Snapshot conn;
    ct::Tuple& t = conn.original;
    t.family = ct::Family::Ipv4;
    t.proto = protocol;
    t.src = parse_address("192.168.1.10")->addr;
    t.dst = parse_address("203.0.113.10")->addr;
    t.sport = ct::Be16::from_host(sport);
    t.dport = ct::Be16::from_host(dport);
    conn.reply = ct::reply_of(t);
    return conn;
}

inline ct::Snapshot tcp_established() {
    ct::Snapshot conn = between(ct::ipproto::kTcp, 1111, 80);
    conn.status = ct::status::kSeenReply | ct::status::kAssured;
    conn.state = static_cast<std::uint8_t>(ct::TcpState::Established);
    conn.timeout_s = 300;
    return conn;
}

inline ct::Snapshot udp_unreplied() {
    ct::Snapshot conn = between(ct::ipproto::kUdp, 1111, 53);
    conn.timeout_s = 30;
    return conn;
}

inline ct::Snapshot icmp_echo() {
    ct::Snapshot conn = between(ct::ipproto::kIcmp, 9, 0);
    conn.original.dport = ct::icmp_type_code(8, 0);
    conn.reply = ct::reply_of(conn.original);
    conn.status = ct::status::kSeenReply;
    conn.timeout_s = 30;
    return conn;
}

}  // namespace dp::test
