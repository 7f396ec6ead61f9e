// SPDX-License-Identifier: BSD-3-Clause
//
// Packets as parse() leaves them, without bytes behind them but for a bare header: enough for the
// tracker, and cheap enough to make millions.
#pragma once

#include "ct/conntrack.hpp"

#include <array>
#include <cstdint>

namespace ct::test {

/// 192.0.2.0/24 and the like: an IPv4 address from a host-order number.
inline Addr v4(std::uint32_t host) {
    return Addr::v4(Be32::from_host(host));
}

inline Addr v6(std::uint64_t low) {
    Addr a;
    a.bytes = {0x20, 0x01, 0x0d, 0xb8};
    for (std::size_t i = 0; i < 8; ++i) a.bytes[15 - i] = static_cast<std::uint8_t>(low >> (8 * i));
    return a;
}

inline constexpr std::uint32_t kClient = 0xc6336401;  // 198.51.100.1
inline constexpr std::uint32_t kServer = 0xc0000201;  // 192.0.2.1

inline Tuple tuple4(std::uint8_t proto, std::uint32_t src, std::uint16_t sport, std::uint32_t dst,
                    std::uint16_t dport) {
    Tuple t;
    t.family = Family::Ipv4;
    t.proto = proto;
    t.src = v4(src);
    t.dst = v4(dst);
    t.sport = Be16::from_host(sport);
    t.dport = Be16::from_host(dport);
    return t;
}

/// A header that every packet shares: nobody writes it, and no option is in it.
inline std::array<std::uint8_t, 128>& bare_bytes() {
    static std::array<std::uint8_t, 128> bytes{};
    return bytes;
}

inline Packet packet(const Tuple& t) {
    Packet p;
    p.data = bare_bytes().data();
    p.length = 54;
    p.owner = p.data;
    p.tuple = t;
    p.l3_offset = 14;
    p.l4_offset = 34;
    p.payload_offset = t.proto == ipproto::kTcp ? 54 : 42;
    p.end = p.payload_offset;
    p.length = p.end;
    return p;
}

inline Packet tcp(const Tuple& t, std::uint8_t flags, std::uint32_t seq = 0,
                  std::uint32_t ack = 0) {
    Packet p = packet(t);
    p.tcp_flags = flags;
    p.tcp_seq = seq;
    p.tcp_ack = ack;
    p.tcp_window = 64240;
    return p;
}

inline Packet syn(const Tuple& t) {
    return tcp(t, tcpflag::kSyn, 1000);
}
inline Packet syn_ack(const Tuple& original) {
    return tcp(reply_of(original), tcpflag::kSyn | tcpflag::kAck, 5000, 1001);
}
inline Packet ack(const Tuple& original) {
    return tcp(original, tcpflag::kAck, 1001, 5001);
}

/// Takes one packet through the tracker as the pipeline does without rules and NAT. True if it may
/// go on.
inline bool track(Conntrack& ct, WorkerId w, Packet& p, Nanos now) {
    const std::span<Packet> one{&p, 1};
    ct.lookup(w, one, now);
    ct.update(w, one, now);
    if (!p.alive()) return false;
    if (p.conn.valid() || p.state != CtState::None) return true;
    if (ct.open(w, p, now) != Conntrack::Opening::Opened) return p.alive();
    switch (ct.confirm(w, p, now)) {
        case Conntrack::Confirmation::ReplyTaken:
            ct.abandon(w, p, now);
            p.drop = Drop::CtClash;
            return false;
        case Conntrack::Confirmation::Refused:
            return false;
        default:
            return true;
    }
}

}  // namespace ct::test
