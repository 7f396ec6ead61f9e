// SPDX-License-Identifier: BSD-3-Clause
//
// A connection between an IPv6 client and an IPv4 server, and packets of it before and after their
// translation, as the builder makes them.
#pragma once

#include "ct/conn/status.hpp"
#include "ct/wire/parse.hpp"
#include "nat/family.hpp"
#include "nat/pref64.hpp"
#include "tests/support/packet_builder.hpp"

#include <memory>
#include <string>
#include <string_view>

namespace test {

/// A packet in a buffer of exactly `headroom` and its own bytes, so that the AddressSanitizer sees
/// whatever leaves it at either end.
struct RoomyPacket {
    std::unique_ptr<std::uint8_t[]> buffer;
    ct::Packet packet;

    explicit RoomyPacket(const Bytes& frame, std::size_t headroom = 128)
        : buffer{std::make_unique<std::uint8_t[]>(headroom + frame.size())} {
        std::copy(frame.begin(), frame.end(), buffer.get() + headroom);
        packet.begin(buffer.get() + headroom, static_cast<std::uint32_t>(frame.size()), 0,
                     buffer.get());
        packet.headroom = static_cast<std::uint16_t>(headroom);
    }
    [[nodiscard]] Bytes bytes() const { return {packet.data, packet.data + packet.length}; }
};

/// client6:40000 > pref64::server4:80, which leaves as pool4:50000 > server4:80.
struct Crossing {
    std::string client6 = "2001:db8:1::10";
    std::string server4 = "192.0.2.33";
    std::string pool4 = "203.0.113.5";
    std::string server6 = "64:ff9b::192.0.2.33";
    std::uint16_t client_port = 40000;
    std::uint16_t pool_port = 50000;
    std::uint16_t server_port = 80;

    /// A builder of the packet's IP header as the client's side has it, and as the server's has.
    [[nodiscard]] PacketBuilder six(ct::Dir dir) const {
        PacketBuilder b;
        dir == ct::Dir::Original ? b.ipv6(client6, server6) : b.ipv6(server6, client6);
        return b;
    }
    [[nodiscard]] PacketBuilder four(ct::Dir dir) const {
        PacketBuilder b;
        dir == ct::Dir::Original ? b.ipv4(pool4, server4) : b.ipv4(server4, pool4);
        return b;
    }
    /// The ports of a packet on either side, in its direction.
    struct Ports {
        std::uint16_t from, to;
    };
    [[nodiscard]] Ports six_ports(ct::Dir dir) const {
        return dir == ct::Dir::Original ? Ports{client_port, server_port}
                                        : Ports{server_port, client_port};
    }
    [[nodiscard]] Ports four_ports(ct::Dir dir) const {
        return dir == ct::Dir::Original ? Ports{pool_port, server_port}
                                        : Ports{server_port, pool_port};
    }
    /// Gives `p` the connection of protocol `proto`, as lookup() would.
    void attach(ct::Packet& p, std::uint8_t proto, ct::Dir dir) const {
        const bool icmp = ct::is_icmp(proto);
        ct::Tuple& o = p.original;
        o.family = ct::Family::Ipv6;
        o.src = addr(client6);
        o.dst = addr(server6);
        o.proto = icmp ? ct::ipproto::kIcmpv6 : proto;
        o.sport = ct::Be16::from_host(client_port);
        o.dport = icmp ? ct::icmp_type_code(128, 0) : ct::Be16::from_host(server_port);
        ct::Tuple& r = p.reply;
        r.family = ct::Family::Ipv4;
        r.src = addr(server4);
        r.dst = addr(pool4);
        r.proto = icmp ? ct::ipproto::kIcmp : proto;
        r.sport = ct::Be16::from_host(icmp ? pool_port : server_port);
        r.dport = icmp ? ct::icmp_type_code(0, 0) : ct::Be16::from_host(pool_port);
        p.conn = {0, 1};
        p.mirrored = false;
        p.dir = dir;
        p.status = ct::status::kNatMask;
    }
};

}  // namespace test
