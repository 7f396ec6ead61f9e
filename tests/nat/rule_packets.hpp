// SPDX-License-Identifier: BSD-3-Clause
//
// What the tests of the rules match.
#pragma once

#include "ct/wire/packet.hpp"
#include "tests/nat/nat_box.hpp"

#include <cstdint>

namespace test {

/// The bit of a state in Match::states.
[[nodiscard]] constexpr std::uint8_t bit(ct::CtState s) noexcept {
    return static_cast<std::uint8_t>(1U << unsigned(s));
}

/// An IPv4 TCP packet from 192.0.2.1:1000 to 198.51.100.7:80, in by 0 and out by 1, NEW, with no
/// connection.
[[nodiscard]] inline ct::Packet packet() {
    ct::Packet p;
    p.tuple.family = ct::Family::Ipv4;
    p.tuple.proto = ct::ipproto::kTcp;
    p.tuple.src = test::addr("192.0.2.1");
    p.tuple.dst = test::addr("198.51.100.7");
    p.tuple.sport = ct::Be16::from_host(1000);
    p.tuple.dport = ct::Be16::from_host(80);
    p.in_port = 0;
    p.out_port = 1;
    p.state = ct::CtState::New;
    p.l3_offset = 14;
    p.end = 114;
    return p;
}

/// A packet of a connection whose source is translated: its tuples differ.
[[nodiscard]] inline ct::Packet source_translated(ct::Dir dir) {
    ct::Packet p = packet();
    p.conn = {1, 1};
    p.dir = dir;
    p.original = p.tuple;
    p.reply = ct::reply_of(p.tuple);
    p.reply.dst = test::addr("203.0.113.5");
    p.reply.dport = ct::Be16::from_host(5555);
    if (dir == ct::Dir::Reply) p.tuple = p.reply;
    return p;
}

}  // namespace test
