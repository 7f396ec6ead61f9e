// SPDX-License-Identifier: BSD-3-Clause
//
// NPTv6 (RFC 6296). The builder computes every checksum anew, so that a translated frame which is
// equal to the frame built of the translated addresses proves the mapping checksum-neutral.
#include "nat/nptv6.hpp"

#include "ct/wire/parse.hpp"
#include "tests/support/packet_builder.hpp"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace {

using test::addr;
using test::Bytes;
using test::PacketBuilder;

constexpr ct::PortId kLan = 0;
constexpr ct::PortId kWan = 1;
constexpr ct::PortId kOther = 2;

nat::PrefixPair pair(std::string_view internal, std::string_view external, std::uint8_t length,
                     ct::PortId port = kWan) {
    return {{addr(internal), length, ct::Family::Ipv6},
            {addr(external), length, ct::Family::Ipv6},
            port,
            0};
}
/// That of RFC 6296 3.6.
nat::PrefixPair example() {
    return pair("fd01:203:405::", "2001:db8:1::", 48);
}

/// `text` mapped, or "none".
std::string text_of(const ct::Addr& a) {
    char buffer[INET6_ADDRSTRLEN];
    return inet_ntop(AF_INET6, a.bytes.data(), buffer, sizeof buffer);
}
std::string outside(const nat::PrefixPair& p, std::string_view text) {
    ct::Addr a = addr(text);
    return nat::PrefixMapping{p}.to_external(a) ? text_of(a) : "none";
}
std::string inside(const nat::PrefixPair& p, std::string_view text) {
    ct::Addr a = addr(text);
    return nat::PrefixMapping{p}.to_internal(a) ? text_of(a) : "none";
}

// RFC 6296 3.6: the adjustment is 0xd54f, and subnet 1 becomes 0xd550.
TEST(PrefixMapping, MapsTheExampleOfTheRfc) {
    EXPECT_EQ(outside(example(), "fd01:203:405:1::1234"), "2001:db8:1:d550::1234");
    EXPECT_EQ(inside(example(), "2001:db8:1:d550::1234"), "fd01:203:405:1::1234");
}

// RFC 6296 3.4
TEST(PrefixMapping, AdjustsTheSubnetBehindAShortPrefix) {
    EXPECT_EQ(outside(example(), "fd01:203:405::1"), "2001:db8:1:d54f::1");
    EXPECT_EQ(outside(example(), "fd01:203:405:fffe::1"), "2001:db8:1:d54e::1");
    // 0x2ab0 + 0xd54f is 0xffff, which is written as zero.
    EXPECT_EQ(outside(example(), "fd01:203:405:2ab0::1"), "2001:db8:1::1");
    EXPECT_EQ(inside(example(), "2001:db8:1::1"), "fd01:203:405:2ab0::1");
    const auto short_pair = pair("fd00::", "2001::", 16);
    EXPECT_EQ(outside(short_pair, "fd00:1:2:3:4:5:6:7"), "2001:1:2:dd02:4:5:6:7");
}

// RFC 6296 3.4: subnet 0xffff has no counterpart.
TEST(PrefixMapping, RefusesTheSubnetOfAllOnes) {
    EXPECT_EQ(outside(example(), "fd01:203:405:ffff::1"), "none");
    EXPECT_EQ(inside(example(), "2001:db8:1:ffff::1"), "none");
}

// RFC 6296 3.5: the first word of the interface identifier that is not 0xffff.
TEST(PrefixMapping, AdjustsTheInterfaceIdentifierBehindALongPrefix) {
    const auto p = pair("fd00:1::", "2001:db8:2::", 64);  // difference 0xfd01 - 0x2dbb = 0xcf46

    EXPECT_EQ(outside(p, "fd00:1::1:2:3:4"), "2001:db8:2:0:cf47:2:3:4");
    EXPECT_EQ(outside(p, "fd00:1::ffff:2:3:4"), "2001:db8:2:0:ffff:cf48:3:4");
    EXPECT_EQ(outside(p, "fd00:1::ffff:ffff:3:4"), "2001:db8:2:0:ffff:ffff:cf49:4");
    EXPECT_EQ(outside(p, "fd00:1::ffff:ffff:ffff:4"), "2001:db8:2:0:ffff:ffff:ffff:cf4a");
    EXPECT_EQ(outside(p, "fd00:1::ffff:ffff:ffff:ffff"), "none");
    EXPECT_EQ(inside(p, "2001:db8:2:0:ffff:cf48:3:4"), "fd00:1::ffff:2:3:4");
}

// RFC 6296 3.7, which says "all zeros" where it speaks of all ones, as an erratum says.
TEST(PrefixMapping, AnIdentifierOfAllOnesHasNoCounterpartAndOneOfZerosHas) {
    const auto p = pair("fd00:1::", "2001:db8:2::", 64);

    EXPECT_EQ(outside(p, "fd00:1::ffff:ffff:ffff:ffff"), "none");
    EXPECT_EQ(inside(p, "2001:db8:2:0:ffff:ffff:ffff:ffff"), "none");
    EXPECT_EQ(outside(p, "fd00:1::"), "2001:db8:2:0:cf46::");
    EXPECT_EQ(inside(p, "2001:db8:2:0:cf46::"), "fd00:1::");
}

TEST(PrefixMapping, KeepsTheBitsBehindAPrefixThatEndsInsideAByte) {
    const auto p = pair("fd00:1:2:30::", "2001:db8:3:8::", 61);

    const std::string out = outside(p, "fd00:1:2:35:1:2:3:4");

    EXPECT_TRUE(out.starts_with("2001:db8:3:d:")) << out;
    EXPECT_EQ(inside(p, out), "fd00:1:2:35:1:2:3:4");
}

// RFC 6296 2.6: the sum of an address stays, and each address comes back.
TEST(PrefixMapping, IsNeutralToChecksumsAndReversible) {
    std::mt19937_64 random{6296};
    for (int i = 0; i < 20'000; ++i) {
        const auto length = static_cast<std::uint8_t>(1 + random() % 64);
        const auto draw = [&] {
            ct::Addr a;
            for (auto& byte : a.bytes) byte = random() % 8 == 0 ? 0xff : std::uint8_t(random());
            return a;
        };
        const nat::PrefixPair p{{ct::first_bits(draw(), length), length, ct::Family::Ipv6},
                                {ct::first_bits(draw(), length), length, ct::Family::Ipv6},
                                kWan,
                                0};
        const nat::PrefixMapping mapping{p};
        ct::Addr host = draw();
        const ct::Addr prefix = p.internal.addr;
        for (std::size_t bit = 0; bit < length; ++bit) {
            const auto mask = std::uint8_t(0x80U >> bit % 8);
            host.bytes[bit / 8] =
                std::uint8_t((host.bytes[bit / 8] & ~mask) | (prefix.bytes[bit / 8] & mask));
        }
        ct::Addr out = host;
        if (!mapping.to_external(out)) continue;

        ASSERT_TRUE(mapping.is_external(out));
        // Zero and 0xffff are one number in one's complement.
        ASSERT_EQ(ct::fold(ct::sum_bytes(out.bytes)) % 0xffff,
                  ct::fold(ct::sum_bytes(host.bytes)) % 0xffff);
        ASSERT_TRUE(mapping.to_internal(out));
        // Where the prefix reaches into the word that is adjusted, nothing may be lost either.
        ASSERT_EQ(text_of(out), text_of(host)) << int{length};
    }
}

// ---- Packets.

class Border : public testing::Test {
protected:
    /// A frame that comes in by `in` and goes out by `out`; as it is in between, and as it leaves.
    struct Journey {
        ct::Packet packet;
        Bytes within;
        Bytes after;
        ct::Tuple tuple;  ///< as the lookup would see it
        ct::Tuple inner;
    };
    Journey travel(const Bytes& frame, ct::PortId in, ct::PortId out) const {
        Journey j;
        test::OwnedPacket o = test::receive(frame, in);
        ct::Packet& p = o.packet;
        p.owner = o.bytes.get();
        EXPECT_EQ(ct::parse(p, {}), ct::Drop::None);
        translator.inward({&p, 1});
        j.within = {p.data, p.data + p.length};
        j.tuple = p.tuple;
        j.inner = p.inner;
        p.out_port = out;
        translator.outward({&p, 1});
        j.after = {p.data, p.data + p.length};
        j.packet = p;
        return j;
    }
    Journey travel(const PacketBuilder& b, ct::PortId in, ct::PortId out) const {
        return travel(b.build(), in, out);
    }

    static constexpr std::string_view kInside = "fd01:203:405:1::1234";
    static constexpr std::string_view kInsideSeen = "2001:db8:1:d550::1234";
    static constexpr std::string_view kInside2 = "fd01:203:405:2::9";
    static constexpr std::string_view kInside2Seen = "2001:db8:1:d551::9";
    static constexpr std::string_view kServer = "2001:db8:7::7";
    nat::PrefixTranslator translator{std::vector{example()},
                                     {addr("2001:db8:1::1"), addr("fd01:203:405::1")}};
};

PacketBuilder packet(std::string_view src, std::string_view dst) {
    PacketBuilder b;
    b.ipv6(src, dst);
    return b;
}

TEST_F(Border, EveryProtocolLeavesWithItsChecksumRight) {
    const std::vector<std::function<void(PacketBuilder&)>> kinds{
        [](PacketBuilder& b) { b.tcp(40000, 80).payload("odd"); },
        [](PacketBuilder& b) { b.udp(40000, 53).payload("query"); },
        [](PacketBuilder& b) { b.udplite(40000, 53, 8).payload("query"); },
        [](PacketBuilder& b) { b.icmp(128, 0, 7, 1).payload("ping"); },
        [](PacketBuilder& b) { b.sctp(40000, 80).payload("data"); },
        [](PacketBuilder& b) { b.hop_by_hop().destination().tcp(40000, 80); },
        [](PacketBuilder& b) { b.fragment(0, true).udp(1, 2).payload("0123456789abcdef"); },
        [](PacketBuilder& b) { b.fragment(1024, false).l4(17, Bytes(16, 7)); },
        [](PacketBuilder& b) { b.l4(50, Bytes(32, 5)); },  // ESP: nothing inside is to be touched
    };
    for (std::size_t i = 0; i < kinds.size(); ++i) {
        auto from_inside = packet(kInside, kServer);
        auto seen_outside = packet(kInsideSeen, kServer);
        auto answer = packet(kServer, kInsideSeen);
        auto answer_inside = packet(kServer, kInside);
        for (auto* b : {&from_inside, &seen_outside, &answer, &answer_inside}) kinds[i](*b);

        const Journey out = travel(from_inside, kLan, kWan);
        const Journey in = travel(answer, kWan, kLan);

        EXPECT_EQ(out.after, seen_outside.build()) << i;
        EXPECT_EQ(out.within, from_inside.build()) << i;
        EXPECT_EQ(in.after, answer_inside.build()) << i;
        EXPECT_EQ(in.tuple.dst, addr(kInside)) << i;
    }
}

TEST_F(Border, WhatDoesNotCrossItStays) {
    for (const auto& [src, dst, in, out] :
         std::vector<std::tuple<std::string_view, std::string_view, ct::PortId, ct::PortId>>{
             {kInside, kServer, kLan, kOther},        // leaves by another port
             {kServer, kInsideSeen, kOther, kWan},    // comes neither from outside nor inside
             {kServer, "2001:db8:7::8", kWan, kLan},  // of other prefixes
             {kServer, "2001:db8:1::1", kWan, kLan},  // to Sluice's own address
             {"fe80::1", "ff02::1", kWan, kLan}}) {
        const Bytes frame = packet(src, dst).udp(1, 2).build();

        EXPECT_EQ(travel(frame, in, out).after, frame) << src << " > " << dst;
    }
}

TEST_F(Border, NeighbourDiscoveryStays) {
    Bytes target(16);
    const Bytes frame =
        packet(kServer, kInsideSeen).ttl(255).icmp(135, 0).payload_bytes(16).build();

    EXPECT_EQ(travel(frame, kWan, kLan).after, frame);
}

TEST_F(Border, Ipv4AndWhatWaitsForItsFirstFragmentStay) {
    const Bytes four = PacketBuilder{}.ipv4("192.0.2.1", "198.51.100.1").udp(1, 2).build();
    test::OwnedPacket held = test::receive(packet(kServer, kInsideSeen).udp(1, 2), kWan);
    ASSERT_EQ(ct::parse(held.packet, {}),
              ct::Drop::None);  // without an owner: it is somebody else's

    translator.inward({&held.packet, 1});

    EXPECT_EQ(travel(four, kLan, kWan).after, four);
    EXPECT_EQ(held.packet.tuple.dst, addr(kInsideSeen));
}

// An error from outside about a packet that left with an outside source.
TEST_F(Border, AnErrorFromOutsideQuotesWhatTheHostSent) {
    const auto lost = packet(kInside, kServer).udp(40000, 53).payload("query");
    const auto lost_seen = packet(kInsideSeen, kServer).udp(40000, 53).payload("query");
    const auto error = packet("2001:db8:9::1", kInsideSeen).icmp_error(3, 0, lost_seen.build_ip());
    const auto error_inside = packet("2001:db8:9::1", kInside).icmp_error(3, 0, lost.build_ip());

    const Journey j = travel(error, kWan, kLan);

    EXPECT_EQ(j.after, error_inside.build());
    EXPECT_EQ(j.inner.src, addr(kInside));
}

// An error from a router inside, whose own address may or may not be of the prefix.
TEST_F(Border, AnErrorFromInsideHidesTheInside) {
    const auto lost = packet(kServer, kInside).tcp(80, 40000);
    const auto lost_seen = packet(kServer, kInsideSeen).tcp(80, 40000);
    for (const auto& [router, router_seen] :
         std::vector<std::pair<std::string_view, std::string_view>>{
             {kInside2, kInside2Seen}, {"2001:db8:5::1", "2001:db8:5::1"}}) {
        const auto error = packet(router, kServer).icmp_error(1, 3, lost.build_ip());
        const auto error_seen = packet(router_seen, kServer).icmp_error(1, 3, lost_seen.build_ip());

        EXPECT_EQ(travel(error, kLan, kWan).after, error_seen.build());
    }
}

// RFC 6296 4.3, RFC 4787 REQ-9
TEST_F(Border, TurnsRoundWhatGoesToItsOwnOutside) {
    const Journey there = travel(packet(kInside, kInside2Seen).tcp(40000, 80), kLan, kLan);
    const Journey back = travel(packet(kInside2, kInsideSeen).tcp(80, 40000), kLan, kLan);

    EXPECT_EQ(there.after, packet(kInsideSeen, kInside2).tcp(40000, 80).build());
    EXPECT_EQ(back.after, packet(kInside2Seen, kInside).tcp(80, 40000).build());
    // In between they are the two directions of one connection.
    EXPECT_EQ(back.tuple, ct::reply_of(there.tuple));
}

TEST_F(Border, TurnsRoundErrorsToo) {
    const auto lost_at_2 = packet(kInsideSeen, kInside2).udp(40000, 53);
    const auto lost_at_1 = packet(kInside, kInside2Seen).udp(40000, 53);
    const auto error = packet(kInside2, kInsideSeen).icmp_error(1, 4, lost_at_2.build_ip());
    const auto error_seen = packet(kInside2Seen, kInside).icmp_error(1, 4, lost_at_1.build_ip());

    const Journey j = travel(error, kLan, kLan);

    EXPECT_EQ(j.after, error_seen.build());
    EXPECT_EQ(j.inner, [&] {
        test::OwnedPacket o = test::receive(packet(kInside, kInside2).udp(40000, 53));
        (void)ct::parse(o.packet, {});
        return o.packet.tuple;
    }());
}

// Sluice itself tells an inside host that a packet which had left already found nobody.
TEST_F(Border, SluicesOwnErrorsComeHome) {
    const auto lost = packet(kInside, kServer).udp(40000, 53);
    const auto lost_seen = packet(kInsideSeen, kServer).udp(40000, 53);
    const auto error = packet("2001:db8:1::1", kInsideSeen).icmp_error(1, 3, lost_seen.build_ip());
    const auto error_inside = packet("2001:db8:1::1", kInside).icmp_error(1, 3, lost.build_ip());

    const Journey j = travel(error, ct::kLocalPort, kLan);

    EXPECT_EQ(j.after, error_inside.build());
    EXPECT_EQ(j.packet.turned_round, 0);
}

TEST_F(Border, WhatHasNoCounterpartIsDropped) {
    const auto out = packet("fd01:203:405:ffff::1", kServer).udp(1, 2);
    const auto in = packet(kServer, "2001:db8:1:ffff::1").udp(1, 2);
    // It would leave as Sluice's own 2001:db8:1::1.
    const auto as_sluice = packet("fd01:203:405:2ab0::1", kServer).udp(1, 2);

    for (const auto& [b, from, to] : {std::tuple{out, kLan, kWan}, std::tuple{in, kWan, kLan},
                                      std::tuple{as_sluice, kLan, kWan}}) {
        const Journey j = travel(b, from, to);
        EXPECT_EQ(j.packet.drop, ct::Drop::NptUnmappable);
        EXPECT_EQ(j.after, b.build());
    }
}

TEST(PrefixTranslator, APortMayHaveSeveralPairsAndAPrefixSeveralPorts) {
    const nat::PrefixTranslator translator{
        std::vector{pair("fd00:1::", "2001:db8:1::", 48), pair("fd00:2::", "2001:db8:2::", 48),
                    pair("fd00:1::", "2001:db8:3::", 48, kOther)},
        {}};
    const auto leaves = [&](std::string_view src, ct::PortId out) {
        test::OwnedPacket o = test::receive(packet(src, "2001:db8:7::7").udp(1, 2), kLan);
        o.packet.owner = o.bytes.get();
        EXPECT_EQ(ct::parse(o.packet, {}), ct::Drop::None);
        translator.inward({&o.packet, 1});
        o.packet.out_port = out;
        translator.outward({&o.packet, 1});
        test::OwnedPacket again = test::receive({o.packet.data, o.packet.length});
        EXPECT_EQ(ct::parse(again.packet, {}), ct::Drop::None);
        return ct::first_bits(again.packet.tuple.src, 48);
    };

    EXPECT_EQ(leaves("fd00:1::5", kWan), addr("2001:db8:1::"));
    EXPECT_EQ(leaves("fd00:2::5", kWan), addr("2001:db8:2::"));
    EXPECT_EQ(leaves("fd00:1::5", kOther), addr("2001:db8:3::"));
    EXPECT_EQ(leaves("fd00:2::5", kOther), addr("fd00:2::"));
}

}  // namespace
