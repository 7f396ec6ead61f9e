// SPDX-License-Identifier: BSD-3-Clause
#include "nat/mss.hpp"

#include "ct/wire/parse.hpp"
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

TEST(Mss, IsTheLeastOfWhatThePortsSay) {
    const MssLimit tunnel{.mtu = 1400, .clamp = true};
    const MssLimit fixed{.mtu = 1500, .fixed = 1300, .clamp = true};
    const MssLimit narrow{.mtu = 1280};

    EXPECT_EQ(nat::mss_between(kLan, kLan, ct::Family::Ipv4), 0) << "nobody clamps";
    EXPECT_EQ(nat::mss_between(kLan, tunnel, ct::Family::Ipv4), 1360);
    EXPECT_EQ(nat::mss_between(tunnel, kLan, ct::Family::Ipv4), 1360) << "both directions";
    EXPECT_EQ(nat::mss_between(kLan, tunnel, ct::Family::Ipv6), 1340);
    EXPECT_EQ(nat::mss_between(kLan, fixed, ct::Family::Ipv4), 1300);
    EXPECT_EQ(nat::mss_between(tunnel, fixed, ct::Family::Ipv4), 1300);
    EXPECT_EQ(nat::mss_between(narrow, tunnel, ct::Family::Ipv4), 1240) << "the narrower link";
    EXPECT_EQ(nat::mss_between({.mtu = 30}, {.mtu = 30, .clamp = true}, ct::Family::Ipv4), 1);
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
