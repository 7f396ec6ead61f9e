// SPDX-License-Identifier: BSD-3-Clause
//
// Translation between IPv6 and IPv4 (RFC 7915). The builder computes every length and checksum
// anew, so each test compares the translated frame, byte by byte, with the frame that the builder
// makes of what it should be.
#include "nat/family.hpp"

#include "tests/nat/crossing.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <random>
#include <vector>

namespace {

using ct::Dir;
using ct::Drop;
using test::Bytes;
using test::Crossing;
using test::PacketBuilder;
using test::RoomyPacket;

constexpr std::uint8_t kTcp = ct::ipproto::kTcp;
constexpr std::uint8_t kUdp = ct::ipproto::kUdp;
constexpr std::uint8_t kIcmp = ct::ipproto::kIcmp;

class Families : public testing::Test {
protected:
    /// The frame after it has been translated as a packet of the connection.
    Bytes translated(const Bytes& frame, std::uint8_t proto, Dir dir, Drop drop = Drop::None,
                     std::size_t headroom = 128) {
        RoomyPacket o{frame, headroom};
        last = o.packet;
        EXPECT_EQ(ct::parse(o.packet, options), Drop::None);
        flow.attach(o.packet, proto, dir);
        o.packet.without_checksum = without_checksum;
        o.packet.in_port = 0;
        o.packet.out_port = 1;
        nat::FamilyTranslator translator{settings, {1500, 1500}, 1};
        translator.translate(0, {&o.packet, 1});
        last = o.packet;
        EXPECT_EQ(o.packet.drop, drop);
        if (o.packet.alive()) {
            // What it says of itself is what a parser finds.
            ct::Packet again;
            again.data = o.packet.data;
            again.length = o.packet.length;
            EXPECT_EQ(ct::parse(again, options), Drop::None);
            EXPECT_EQ(again.l3_offset, o.packet.l3_offset);
            EXPECT_EQ(again.l4_offset, o.packet.l4_offset);
            EXPECT_EQ(again.end, o.packet.end);
            EXPECT_EQ(again.ethertype, o.packet.ethertype);
            EXPECT_EQ(again.inner_l3_offset, o.packet.inner_l3_offset);
            EXPECT_EQ(again.inner_l4_offset, o.packet.inner_l4_offset);
        }
        return o.bytes();
    }
    Bytes translated(const PacketBuilder& b, std::uint8_t proto, Dir dir, Drop drop = Drop::None) {
        return translated(b.build(), proto, dir, drop);
    }

    Crossing flow;
    nat::FamilySettings settings;
    ct::ParseOptions options;
    bool without_checksum = false;  ///< of a later fragment's datagram, as its first one said
    ct::Packet last;
};

/// Puts the transport of a kind on a header, with these ports.
using Transport = std::function<void(PacketBuilder&, Crossing::Ports, bool six, Dir)>;

struct Kind {
    std::uint8_t proto;
    Transport put;
};
std::vector<Kind> kinds() {
    return {
        {kTcp, [](PacketBuilder& b, Crossing::Ports p, bool,
                  Dir) { b.tcp(p.from, p.to).payload("odd"); }},
        {kUdp, [](PacketBuilder& b, Crossing::Ports p, bool,
                  Dir) { b.udp(p.from, p.to).payload("query"); }},
        {ct::ipproto::kUdplite, [](PacketBuilder& b, Crossing::Ports p, bool,
                                   Dir) { b.udplite(p.from, p.to, 8).payload("q"); }},
        {ct::ipproto::kSctp, [](PacketBuilder& b, Crossing::Ports p, bool,
                                Dir) { b.sctp(p.from, p.to).payload("data"); }},
        {kIcmp,
         [](PacketBuilder& b, Crossing::Ports p, bool six, Dir dir) {
             const bool asks = dir == Dir::Original;
             const std::uint8_t type = six ? (asks ? 128 : 129) : (asks ? 8 : 0);
             b.icmp(type, 0, asks ? p.from : p.to, 7).payload("ping!");
         }},
    };
}

TEST_F(Families, EveryProtocolCrossesInBothDirections) {
    for (const auto& [prefix, server6] :
         std::vector<std::pair<int, std::string>>{{96, "64:ff9b::192.0.2.33"},
                                                  {96, "2001:db8:122:344::192.0.2.33"},
                                                  {64, "2001:db8:122:344:c0:2:2100::"},
                                                  {56, "2001:db8:122:3c0:0:221::"},
                                                  {48, "2001:db8:122:c000:2:2100::"},
                                                  {40, "2001:db8:1c0:2:21::"},
                                                  {32, "2001:db8:c000:221::"}}) {
        flow.server6 = server6;
        for (const Kind& kind : kinds())
            for (const Dir dir : {Dir::Original, Dir::Reply}) {
                PacketBuilder six = flow.six(dir).ttl(61).tos(0xb8);
                PacketBuilder four = flow.four(dir).ttl(61).tos(0xb8).id(1);
                kind.put(six, flow.six_ports(dir), true, dir);
                kind.put(four, flow.four_ports(dir), false, dir);
                const bool to_four = dir == Dir::Original;

                const Bytes out = translated(to_four ? six : four, kind.proto, dir);

                EXPECT_EQ(out, (to_four ? four : six).build())
                    << int{kind.proto} << " /" << prefix << (to_four ? " to IPv4" : " to IPv6");
            }
    }
}

TEST_F(Families, VlanTagsAndPaddingGo) {
    const auto six = flow.six(Dir::Original).vlan(5).tcp(40000, 80).pad_to(100);
    const auto four = flow.four(Dir::Reply).qinq(7).vlan(8).tcp(80, 50000).pad_to(90);

    EXPECT_EQ(translated(six, kTcp, Dir::Original),
              flow.four(Dir::Original).tcp(50000, 80).build());
    EXPECT_EQ(translated(four, kTcp, Dir::Reply), flow.six(Dir::Reply).tcp(80, 40000).build());
}

// RFC 7915 5.1: up to 1260 bytes an IPv4 packet may be fragmented, and has an id of its own.
TEST_F(Families, OnlySmallPacketsMayBeFragmentedAsIpv4) {
    const std::size_t largest = 1260 - 20 - 8;
    for (const std::size_t size : {largest, largest + 1}) {
        const auto six = flow.six(Dir::Original).udp(40000, 80).payload_bytes(size);
        auto four = flow.four(Dir::Original).udp(50000, 80).payload_bytes(size).id(1);
        if (size > largest) four.dont_fragment();

        EXPECT_EQ(translated(six, kUdp, Dir::Original), four.build());
    }
}

TEST_F(Families, IdsOfSmallPacketsDiffer) {
    nat::FamilyTranslator translator{settings, {1500, 1500}, 3};
    std::vector<std::uint16_t> ids;
    for (int i = 0; i < 100; ++i)
        for (ct::WorkerId w = 0; w < 3; ++w) {
            RoomyPacket o{flow.six(Dir::Original).udp(40000, 80).build()};
            ASSERT_EQ(ct::parse(o.packet, {}), Drop::None);
            flow.attach(o.packet, kUdp, Dir::Original);
            translator.translate(w, {&o.packet, 1});
            ids.push_back(ct::load<ct::Ipv4Header>(o.packet.data + 14).id.host());
        }
    std::sort(ids.begin(), ids.end());

    EXPECT_EQ(std::unique(ids.begin(), ids.end()), ids.end());
}

// RFC 7915 5.1
TEST_F(Families, ExtensionHeadersGo) {
    const auto six =
        flow.six(Dir::Original).hop_by_hop().routing(2, 0).destination().tcp(40000, 80);

    EXPECT_EQ(translated(six, kTcp, Dir::Original),
              flow.four(Dir::Original).tcp(50000, 80).build());
}

TEST_F(Families, WhatCannotBeRightWithoutItsExtensionHeadersEndsHere) {
    const auto routed = flow.six(Dir::Original).routing(2, 1).tcp(40000, 80).build();
    const auto signed_ = flow.six(Dir::Original).authentication().tcp(40000, 80).build();
    const auto inside_part = flow.six(Dir::Original)
                                 .fragment(0, true)
                                 .destination()
                                 .udp(40000, 80)
                                 .payload_bytes(16)
                                 .build();

    for (const Bytes& frame : {routed, signed_, inside_part})
        EXPECT_EQ(translated(frame, frame == inside_part ? kUdp : kTcp, Dir::Original,
                             Drop::NatUntranslatable),
                  frame);
}

// RFC 7915 4.1
TEST_F(Families, OptionsGoButAnOpenSourceRouteEndsThePacket) {
    const Bytes record_route{7, 7, 4, 0, 0, 0, 0};
    const Bytes done{131, 7, 8, 192, 0, 2, 1};
    const Bytes open{131, 7, 4, 192, 0, 2, 1};
    const Bytes open_strict{1, 137, 7, 4, 192, 0, 2, 1};
    const Bytes want = flow.six(Dir::Reply).tcp(80, 40000).build();
    const auto with = [&](const Bytes& o) {
        return flow.four(Dir::Reply).ip_options(o).tcp(80, 50000);
    };

    EXPECT_EQ(translated(with(record_route), kTcp, Dir::Reply), want);
    EXPECT_EQ(translated(with(done), kTcp, Dir::Reply), want);
    translated(with(open), kTcp, Dir::Reply, Drop::NatUntranslatable);
    translated(with(open_strict), kTcp, Dir::Reply, Drop::NatUntranslatable);
    translated(with({131}), kTcp, Dir::Reply);  // malformed: whatever it was, it goes
    translated(with({130, 0, 9, 9}), kTcp, Dir::Reply);
}

// ---- Fragments.

TEST_F(Families, FragmentsOfIpv6BecomeFragmentsOfIpv4) {
    const auto first = [](PacketBuilder b, std::uint16_t from) {
        return b.fragment(0, true).udp(from, 80).payload_bytes(40).with_udp_length(2000);
    };
    const Bytes tail(24, 9);
    // The checksum covers all of the packet; here it only has to move by the difference.
    RoomyPacket whole{flow.six(Dir::Original).udp(40000, 80).payload_bytes(40).build()};

    const Bytes out =
        translated(first(flow.six(Dir::Original).id(0x12345678), 40000), kUdp, Dir::Original);
    EXPECT_EQ(ct::load<ct::Ipv4Header>(out.data() + 14).id.host(), 0x5678);
    EXPECT_EQ(ct::load<ct::Ipv4Header>(out.data() + 14).flags_offset.host(),
              ct::Ipv4Header::kMoreFragments);
    EXPECT_EQ(out, first(flow.four(Dir::Original).id(0x5678), 50000).build());
    EXPECT_EQ(translated(flow.six(Dir::Original).id(0x12345678).fragment(48, false).l4(kUdp, tail),
                         kUdp, Dir::Original),
              flow.four(Dir::Original).id(0x5678).fragment(48, false).l4(kUdp, tail).build());
}

// RFC 7915 5.1.1: a fragment that is all of its packet is none any more, and keeps its id.
TEST_F(Families, AnAtomicFragmentBecomesAWholePacket) {
    const auto six = flow.six(Dir::Original)
                         .id(0xabcd1234)
                         .fragment(0, false)
                         .tcp(40000, 80)
                         .payload_bytes(1300);

    EXPECT_EQ(translated(six, kTcp, Dir::Original),
              flow.four(Dir::Original).id(0x1234).tcp(50000, 80).payload_bytes(1300).build());
}

TEST_F(Families, FragmentsOfIpv4GetAFragmentHeader) {
    const Bytes tail(24, 9);

    EXPECT_EQ(
        translated(
            flow.four(Dir::Reply).id(0x5678).fragment(0, true).tcp(80, 50000).payload_bytes(20),
            kTcp, Dir::Reply),
        flow.six(Dir::Reply).id(0x5678).fragment(0, true).tcp(80, 40000).payload_bytes(20).build());
    EXPECT_EQ(last.split_above, 0);
    EXPECT_EQ(translated(flow.four(Dir::Reply).id(0x5678).fragment(40, false).l4(kTcp, tail), kTcp,
                         Dir::Reply),
              flow.six(Dir::Reply).id(0x5678).fragment(40, false).l4(kTcp, tail).build());
}

// RFC 7915 4: what may be fragmented is made to fit; what must not be is left to hear of the MTU.
TEST_F(Families, LargePacketsThatMayBeSplitAreMarkedForIt) {
    const std::size_t fits = 1280 - 40 - 8;
    const auto four = [&](std::size_t size) {
        return flow.four(Dir::Reply).id(77).udp(80, 50000).payload_bytes(size);
    };
    const auto six = [&](std::size_t size) {
        return flow.six(Dir::Reply).id(77).udp(80, 40000).payload_bytes(size);
    };

    EXPECT_EQ(translated(four(fits), kUdp, Dir::Reply), six(fits).build());
    EXPECT_EQ(last.split_above, 0);
    EXPECT_EQ(translated(four(fits + 1), kUdp, Dir::Reply), flow.six(Dir::Reply)
                                                                .id(77)
                                                                .fragment(0, false)
                                                                .udp(80, 40000)
                                                                .payload_bytes(fits + 1)
                                                                .build());
    EXPECT_EQ(last.split_above, 1280);
    EXPECT_EQ(translated(four(fits + 1).dont_fragment(), kUdp, Dir::Reply), six(fits + 1).build());
    EXPECT_EQ(last.split_above, 0);
    settings.lowest_ipv6_mtu = 1400;
    EXPECT_EQ(translated(four(fits + 1), kUdp, Dir::Reply), six(fits + 1).build());
}

// RFC 7915 1.2: their checksum would have to cover the length of all of them.
TEST_F(Families, FragmentsOfEchoEndHere) {
    translated(flow.six(Dir::Original).fragment(0, true).icmp(128, 0, 40000, 1).payload_bytes(16),
               kIcmp, Dir::Original, Drop::NatUntranslatable);
    translated(flow.four(Dir::Reply).fragment(0, true).icmp(0, 0, 50000, 1).payload_bytes(16),
               kIcmp, Dir::Reply, Drop::NatUntranslatable);
    translated(flow.four(Dir::Reply).fragment(16, false).l4(kIcmp, Bytes(8)), kIcmp, Dir::Reply,
               Drop::NatUntranslatable);
}

TEST_F(Families, FragmentsOfSctpEndWhereTheirPortChanges) {
    translated(flow.six(Dir::Original).fragment(0, true).sctp(40000, 80).payload_bytes(20),
               ct::ipproto::kSctp, Dir::Original, Drop::NatFragment);
}

// ---- Checksums.

TEST_F(Families, UdpWithoutChecksumGetsOneOverIpv6) {
    const auto four = flow.four(Dir::Reply).udp(80, 50000).payload("answer").with_l4_checksum(0);

    EXPECT_EQ(translated(four, kUdp, Dir::Reply),
              flow.six(Dir::Reply).udp(80, 40000).payload("answer").build());
}

TEST_F(Families, UdpWithoutChecksumIsDroppedIfTheSettingsSaySo) {
    settings.zero_checksum = nat::ZeroChecksum::Drop;

    translated(flow.four(Dir::Reply).udp(80, 50000).payload("answer").with_l4_checksum(0), kUdp,
               Dir::Reply, Drop::NatZeroChecksum);
}

TEST_F(Families, FragmentsOfUdpWithoutChecksumAreDropped) {
    translated(flow.four(Dir::Reply)
                   .fragment(0, true)
                   .udp(80, 50000)
                   .payload_bytes(16)
                   .with_l4_checksum(0),
               kUdp, Dir::Reply, Drop::NatZeroChecksum);
    const Bytes tail(24, 9);
    without_checksum = true;
    translated(flow.four(Dir::Reply).fragment(24, false).l4(kUdp, tail), kUdp, Dir::Reply,
               Drop::NatZeroChecksum);
    without_checksum = false;
    translated(flow.four(Dir::Reply).fragment(24, false).l4(kUdp, tail), kUdp, Dir::Reply);
    without_checksum = true;
    translated(flow.six(Dir::Original).fragment(24, false).l4(kUdp, tail), kUdp, Dir::Original);
}

TEST_F(Families, UdpWithoutChecksumStaysSoOverIpv4) {
    EXPECT_EQ(
        translated(flow.six(Dir::Original).udp(40000, 80).with_l4_checksum(0), kUdp, Dir::Original),
        flow.four(Dir::Original).udp(50000, 80).with_l4_checksum(0).build());
}

// RFC 3022 4.1: the receiver is to notice.
TEST_F(Families, AWrongChecksumStaysWrong) {
    options.checksum = false;
    for (const Kind& kind : kinds())
        for (const Dir dir : {Dir::Original, Dir::Reply}) {
            PacketBuilder six = flow.six(dir);
            PacketBuilder four = flow.four(dir);
            kind.put(six, flow.six_ports(dir), true, dir);
            kind.put(four, flow.four_ports(dir), false, dir);
            Bytes frame = (dir == Dir::Original ? six : four).build();
            frame.back() ^= 0x10;                                                   // payload
            if (kind.proto == ct::ipproto::kUdplite) frame[frame.size() - 3] ^= 1;  // covered
            const Bytes out = translated(frame, kind.proto, dir);

            test::OwnedPacket o = test::receive(out);
            EXPECT_NE(ct::parse(o.packet, {}), Drop::None) << int{kind.proto};
        }
}

TEST_F(Families, ABufferWithoutRoomLosesItsPacketAndNothingElse) {
    const Bytes frame = flow.four(Dir::Reply).tcp(80, 50000).build();

    EXPECT_EQ(translated(frame, kTcp, Dir::Reply, Drop::None, 20).size(), frame.size() + 20);
    translated(frame, kTcp, Dir::Reply, Drop::NatUntranslatable, 19);
}

TEST_F(Families, PacketsOfOneFamilyAreLeftAlone) {
    const Bytes frame = flow.six(Dir::Original).tcp(40000, 80).build();
    RoomyPacket o{frame};
    ASSERT_EQ(ct::parse(o.packet, {}), Drop::None);
    nat::FamilyTranslator translator{settings, {1500, 1500}, 1};

    translator.translate(0, {&o.packet, 1});  // no connection
    o.packet.conn = {0, 1};
    o.packet.original = o.packet.tuple;
    o.packet.reply = ct::reply_of(o.packet.tuple);
    translator.translate(0, {&o.packet, 1});

    EXPECT_FALSE(nat::crosses(o.packet));
    EXPECT_EQ(o.bytes(), frame);
}

// ---- How a packet fits into a link on the other side.

nat::Fit fit(const PacketBuilder& b, const Crossing& flow, Dir dir, std::uint32_t mtu) {
    RoomyPacket o{b.build()};
    EXPECT_EQ(ct::parse(o.packet, {}), Drop::None);
    flow.attach(o.packet, kUdp, dir);
    return nat::fit_of(o.packet, mtu);
}

TEST_F(Families, KnowsTheSizeOnTheOtherSideAndWhatTheSenderMaySend) {
    const auto six = flow.six(Dir::Original).udp(1, 2).payload_bytes(1400);
    const nat::Fit to_four = fit(six, flow, Dir::Original, 1400);
    EXPECT_EQ(to_four.size, 1428U);
    EXPECT_FALSE(to_four.may_be_split);
    EXPECT_EQ(to_four.sender_mtu, 1420U);
    EXPECT_EQ(fit(six, flow, Dir::Original, 1000).sender_mtu, 1280U);  // RFC 8200 5
    EXPECT_TRUE(fit(flow.six(Dir::Original).udp(1, 2).payload_bytes(1232), flow, Dir::Original, 900)
                    .may_be_split);

    const auto four = flow.four(Dir::Reply).udp(1, 2).payload_bytes(1400);
    EXPECT_TRUE(fit(four, flow, Dir::Reply, 1400).may_be_split);
    auto whole = four;
    const nat::Fit to_six = fit(whole.dont_fragment(), flow, Dir::Reply, 1400);
    EXPECT_EQ(to_six.size, 1448U);
    EXPECT_FALSE(to_six.may_be_split);
    EXPECT_EQ(to_six.sender_mtu, 1380U);
}

TEST_F(Families, RulesSeeTheIpv6Side) {
    RoomyPacket out{flow.six(Dir::Original).tcp(40000, 80).build()};
    RoomyPacket in{flow.four(Dir::Reply).tcp(80, 50000).build()};
    for (auto* o : {&out, &in}) ASSERT_EQ(ct::parse(o->packet, {}), Drop::None);
    const ct::Tuple six = out.packet.tuple;
    flow.attach(out.packet, kTcp, Dir::Original);
    flow.attach(in.packet, kTcp, Dir::Reply);

    EXPECT_EQ(nat::ipv6_side(out.packet), six);
    EXPECT_EQ(nat::ipv6_side(in.packet), ct::reply_of(six));
    EXPECT_EQ(nat::family_after(out.packet), ct::Family::Ipv4);
    EXPECT_EQ(nat::family_after(in.packet), ct::Family::Ipv6);
}

}  // namespace
