// SPDX-License-Identifier: BSD-3-Clause
#include "nat/mss.hpp"

#include "ct/wire/parse.hpp"
#include "tests/nat/crossing.hpp"
#include "tests/support/packet_builder.hpp"

#include <gtest/gtest.h>

#include <array>

namespace {

using nat::MssLimit;
using test::Bytes;
using test::PacketBuilder;

constexpr MssLimit kLan{.mtu = 1500};

/// The frame after clamping, on its way from port 0 to port 1.
Bytes clamped(const PacketBuilder& b, const MssLimit& in, const MssLimit& out, ct::PortId from = 0,
              ct::PortId to = 1) {
    test::OwnedPacket o = test::receive(b.build(), from);
    EXPECT_EQ(ct::parse(o.packet, {}), ct::Drop::None);
    o.packet.out_port = to;
    const std::array limits{in, out};
    nat::clamp_mss({&o.packet, 1}, limits);
    return {o.packet.data, o.packet.data + o.packet.length};
}

PacketBuilder syn(const Bytes& options, bool six = false) {
    PacketBuilder b;
    six ? b.ipv6("2001:db8::1", "2001:db8::2") : b.ipv4("192.0.2.1", "198.51.100.2");
    return b.tcp(4000, 80).flags("S").tcp_options(options);
}

Bytes mss(std::uint16_t value) {
    return {2, 4, static_cast<std::uint8_t>(value >> 8), static_cast<std::uint8_t>(value)};
}

constexpr ct::Family k4 = ct::Family::Ipv4;
constexpr ct::Family k6 = ct::Family::Ipv6;

/// Where both links have the same family.
std::uint16_t between(const MssLimit& in, const MssLimit& out, ct::Family family) {
    return nat::mss_between({in, family}, {out, family});
}

TEST(Mss, IsTheLeastOfWhatThePortsSay) {
    const MssLimit tunnel{.mtu = 1400, .clamp = true};
    const MssLimit fixed{.mtu = 1500, .fixed = 1300, .clamp = true};
    const MssLimit narrow{.mtu = 1280};

    EXPECT_EQ(between(kLan, kLan, k4), 0) << "nobody clamps";
    EXPECT_EQ(between(kLan, tunnel, k4), 1360);
    EXPECT_EQ(between(tunnel, kLan, k4), 1360) << "both directions";
    EXPECT_EQ(between(kLan, tunnel, k6), 1340);
    EXPECT_EQ(between(kLan, fixed, k4), 1300);
    EXPECT_EQ(between(tunnel, fixed, k4), 1300);
    EXPECT_EQ(between(narrow, tunnel, k4), 1240) << "the narrower link";
    EXPECT_EQ(between({.mtu = 30}, {.mtu = 30, .clamp = true}, k4), 1);
}

// RFC 7915 changes the headers by 20 bytes, so each link counts those of its own family.
TEST(Mss, OfAConnectionBetweenTheFamiliesFitsTheLinkOfEach) {
    const MssLimit clamps{.mtu = 1500, .clamp = true};
    const MssLimit tunnel{.mtu = 1490, .clamp = true};
    const MssLimit fixed{.mtu = 1500, .fixed = 1450, .clamp = true};

    EXPECT_EQ(nat::mss_between({kLan, k6}, {clamps, k4}), 1440);
    EXPECT_EQ(nat::mss_between({clamps, k4}, {kLan, k6}), 1440);
    EXPECT_EQ(nat::mss_between({kLan, k6}, {tunnel, k4}), 1440) << "IPv6 has less room at 1500";
    EXPECT_EQ(nat::mss_between({kLan, k4}, {tunnel, k6}), 1430);
    EXPECT_EQ(nat::mss_between({kLan, k6}, {fixed, k4}), 1450) << "who names a number means it";
    EXPECT_EQ(nat::mss_between({tunnel, k6}, {fixed, k4}), 1430);
}

TEST(Mss, OfASynIsLoweredAndItsChecksumFollows) {
    const MssLimit tunnel{.mtu = 1400, .clamp = true};
    for (const bool six : {false, true}) {
        const std::uint16_t most = six ? 1340 : 1360;
        EXPECT_EQ(clamped(syn(mss(1460), six), kLan, tunnel), syn(mss(most), six).build());
        EXPECT_EQ(clamped(syn(mss(1460), six).flags("SA").ack(1), tunnel, kLan),
                  syn(mss(most), six).flags("SA").ack(1).build());
    }
}

// The option may stand anywhere: an odd distance swaps its bytes in the checksum.
TEST(Mss, IsFoundAtOddPlacesAndBehindOtherOptions) {
    const MssLimit tunnel{.mtu = 1400, .clamp = true};
    const auto at = [](const Bytes& before, std::uint16_t value, const Bytes& after) {
        Bytes all = before;
        const Bytes option = mss(value);
        all.insert(all.end(), option.begin(), option.end());
        all.insert(all.end(), after.begin(), after.end());
        return all;
    };

    EXPECT_EQ(clamped(syn(at({1}, 1460, {1, 1, 0})), kLan, tunnel),
              syn(at({1}, 1360, {1, 1, 0})).build());
    EXPECT_EQ(clamped(syn(at({4, 2, 3, 3, 7}, 0xff01, {1, 1, 0})), kLan, tunnel),
              syn(at({4, 2, 3, 3, 7}, 1360, {1, 1, 0})).build());
}

/// A SYN+ACK of the connection, and a SYN, on either side of NAT64, with that MSS.
PacketBuilder segment(PacketBuilder b, test::Crossing::Ports ports, const char* flags,
                      std::uint16_t value) {
    return b.tcp(ports.from, ports.to)
        .flags(flags)
        .ack(flags[1] != 0 ? 1 : 0)
        .tcp_options(mss(value));
}

// The server's SYN+ACK, which becomes IPv6, says what the client may send, in IPv6; the client's
// SYN, which becomes IPv4, what the server may, whose segments become IPv6 as well.
TEST(Mss, IsThatOfTheIpv6PathInBothDirectionsOfNat64) {
    const test::Crossing c;
    const MssLimit clamps{.mtu = 1500, .clamp = true};
    for (const ct::Dir dir : {ct::Dir::Original, ct::Dir::Reply}) {
        const bool six = dir == ct::Dir::Original;
        const char* flags = six ? "S" : "SA";
        const auto in = [&](std::uint16_t value) {
            return six ? segment(c.six(dir), c.six_ports(dir), flags, value)
                       : segment(c.four(dir).dont_fragment(), c.four_ports(dir), flags, value);
        };
        const auto out = [&](std::uint16_t value) {
            return six ? segment(c.four(dir).id(1), c.four_ports(dir), flags, value)
                       : segment(c.six(dir), c.six_ports(dir), flags, value);
        };
        for (const bool translated_first : {false, true}) {
            test::RoomyPacket o{in(1460).build()};
            ASSERT_EQ(ct::parse(o.packet, {}), ct::Drop::None);
            c.attach(o.packet, ct::ipproto::kTcp, dir);
            o.packet.in_port = six ? 0 : 1;
            o.packet.out_port = six ? 1 : 0;
            nat::FamilyTranslator families{{}, {1500, 1500}, 1};
            const std::array limits{kLan, clamps};

            if (translated_first) families.translate(0, {&o.packet, 1});
            nat::clamp_mss({&o.packet, 1}, limits);
            if (!translated_first) families.translate(0, {&o.packet, 1});

            EXPECT_EQ(o.bytes(), out(1440).build()) << flags << translated_first;
        }
    }
}

TEST(Mss, StaysWhereThereIsNothingToLower) {
    const MssLimit tunnel{.mtu = 1400, .clamp = true};
    const PacketBuilder low = syn(mss(1200));
    const PacketBuilder exact = syn(mss(1360));
    const PacketBuilder without = syn({});
    const PacketBuilder malformed = syn({2, 3, 5, 0});  // three bytes: no MSS option
    const PacketBuilder lying = syn({2, 40, 5, 0xb4});
    const PacketBuilder data = syn(mss(1460)).flags("PA").payload("x");
    for (const PacketBuilder& b : {low, exact, without, malformed, lying, data})
        EXPECT_EQ(clamped(b, kLan, tunnel), b.build());
    const PacketBuilder high = syn(mss(1460));
    EXPECT_EQ(clamped(high, kLan, kLan), high.build()) << "no port clamps";
    EXPECT_EQ(clamped(high, tunnel, tunnel, ct::kLocalPort, 1), high.build());
    EXPECT_EQ(clamped(high, tunnel, tunnel, 0, ct::kNoPort), high.build());
}

TEST(Mss, OfADroppedPacketIsNobodysConcern) {
    const PacketBuilder b = syn(mss(1460));
    test::OwnedPacket o = test::receive(b.build(), 0);
    ASSERT_EQ(ct::parse(o.packet, {}), ct::Drop::None);
    o.packet.out_port = 1;
    o.packet.drop = ct::Drop::RuleDrop;
    const std::array limits{kLan, MssLimit{.mtu = 1400, .clamp = true}};

    nat::clamp_mss({&o.packet, 1}, limits);

    EXPECT_EQ(Bytes(o.packet.data, o.packet.data + o.packet.length), b.build());
}

}  // namespace
