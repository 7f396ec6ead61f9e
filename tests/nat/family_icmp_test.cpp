// SPDX-License-Identifier: BSD-3-Clause
//
// ICMP errors between IPv6 and IPv4 (RFC 7915 4.2, 4.3, 5.2, 5.3), compared byte by byte with what
// the builder makes of the error that they should be.
#include "tests/nat/crossing.hpp"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <utility>
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
constexpr const char* kRouter4 = "198.51.100.9";
constexpr const char* kRouter4Seen = "64:ff9b::198.51.100.9";
constexpr const char* kRouter6 = "2001:db8:9::1";

/// Type, code and the four bytes behind the checksum of an error.
struct Error {
    std::uint8_t type;
    std::uint8_t code;
    std::uint32_t word = 0;
};

PacketBuilder& put(PacketBuilder& b, const Error& e, const Bytes& inner) {
    return b
        .icmp(e.type, e.code, static_cast<std::uint16_t>(e.word >> 16U),
              static_cast<std::uint16_t>(e.word))
        .payload({reinterpret_cast<const char*>(inner.data()), inner.size()});
}

class FamilyErrors : public testing::Test {
protected:
    Bytes translated(const PacketBuilder& b, std::uint8_t proto, Dir dir, Drop drop = Drop::None) {
        RoomyPacket o{b.build()};
        EXPECT_EQ(ct::parse(o.packet, options), Drop::None);
        EXPECT_TRUE(o.packet.icmp_error);
        flow.attach(o.packet, proto, dir);
        o.packet.in_port = dir == Dir::Original ? 0 : 1;
        o.packet.out_port = dir == Dir::Original ? 1 : 0;
        nat::FamilyTranslator translator{{}, mtus, 1};
        translator.translate(0, {&o.packet, 1});
        EXPECT_EQ(o.packet.drop, drop);
        if (o.packet.alive()) {
            ct::Packet again;
            again.data = o.packet.data;
            again.length = o.packet.length;
            EXPECT_EQ(ct::parse(again, options), Drop::None);
            EXPECT_TRUE(again.icmp_error);
            EXPECT_EQ(again.inner_l3_offset, o.packet.inner_l3_offset);
            EXPECT_EQ(again.inner_l4_offset, o.packet.inner_l4_offset);
            EXPECT_EQ(again.end, o.packet.end);
        }
        return o.bytes();
    }
    /// An error of a router of the server's side about `lost`, as it arrives here.
    PacketBuilder from_four(const Error& e, const Bytes& lost) const {
        PacketBuilder b;
        b.ipv4(kRouter4, flow.pool4).ttl(60);
        return put(b, e, lost);
    }
    /// The same as the client gets it.
    PacketBuilder at_six(const Error& e, const Bytes& lost) const {
        PacketBuilder b;
        b.ipv6(kRouter4Seen, flow.client6).ttl(60);
        return put(b, e, lost);
    }
    /// An error of a router of the client's side.
    PacketBuilder from_six(const Error& e, const Bytes& lost) const {
        PacketBuilder b;
        b.ipv6(kRouter6, flow.server6).ttl(60);
        return put(b, e, lost);
    }
    /// The same as the server gets it: the client's router is as hidden as the client (RFC 5508
    /// REQ-5).
    PacketBuilder at_four(const Error& e, const Bytes& lost) const {
        PacketBuilder b;
        b.ipv4(flow.pool4, flow.server4).ttl(60).id(1);
        return put(b, e, lost);
    }
    /// A packet of the original direction as either side knows it.
    Bytes lost_four() const {
        return flow.four(Dir::Original).ttl(3).udp(50000, 80).payload("query").build_ip();
    }
    Bytes lost_six() const {
        return flow.six(Dir::Original).ttl(3).udp(40000, 80).payload("query").build_ip();
    }
    /// One of the reply direction. The id that IPv4 had is not known.
    Bytes answer_six() const {
        return flow.six(Dir::Reply).ttl(3).udp(80, 40000).payload("answer").build_ip();
    }
    Bytes answer_four() const {
        return flow.four(Dir::Reply).ttl(3).id(0).udp(80, 50000).payload("answer").build_ip();
    }

    Crossing flow;
    ct::ParseOptions options;
    std::vector<std::uint16_t> mtus{9000, 9000};
};

// RFC 7915 4.2
TEST_F(FamilyErrors, EveryErrorOfIpv4BecomesTheOneThatMeansTheSame) {
    std::vector<std::pair<Error, std::optional<Error>>> table{
        {{3, 0}, Error{1, 0}},   {{3, 1}, Error{1, 0}},   {{3, 2}, Error{4, 1, 6}},
        {{3, 3}, Error{1, 4}},   {{3, 5}, Error{1, 0}},   {{3, 6}, Error{1, 0}},
        {{3, 7}, Error{1, 0}},   {{3, 8}, Error{1, 0}},   {{3, 9}, Error{1, 1}},
        {{3, 10}, Error{1, 1}},  {{3, 11}, Error{1, 0}},  {{3, 12}, Error{1, 0}},
        {{3, 13}, Error{1, 1}},  {{3, 14}, std::nullopt}, {{3, 15}, Error{1, 1}},
        {{3, 16}, std::nullopt}, {{11, 0}, Error{3, 0}},  {{11, 1}, Error{3, 1}},
        {{4, 0}, std::nullopt},  {{5, 1}, std::nullopt},  {{12, 1}, std::nullopt},
    };
    // Figure 3: where something is wrong with the header.
    for (const auto& [at, six] : std::vector<std::pair<std::uint32_t, int>>{{0, 0},
                                                                            {1, 1},
                                                                            {2, 4},
                                                                            {3, 4},
                                                                            {4, -1},
                                                                            {5, -1},
                                                                            {6, -1},
                                                                            {7, -1},
                                                                            {8, 7},
                                                                            {9, 6},
                                                                            {10, -1},
                                                                            {11, -1},
                                                                            {12, 8},
                                                                            {15, 8},
                                                                            {16, 24},
                                                                            {19, 24},
                                                                            {20, -1}}) {
        std::optional<Error> want;
        if (six >= 0) want = Error{4, 0, static_cast<std::uint32_t>(six)};
        table.push_back({{12, 0, at << 24U}, want});
        table.push_back({{12, 2, at << 24U}, want});
    }
    for (const auto& [four, six] : table) {
        const auto error = from_four(four, lost_four());
        const Bytes out =
            translated(error, kUdp, Dir::Reply, six ? Drop::None : Drop::NatUntranslatable);

        if (six) {
            EXPECT_EQ(out, at_six(*six, lost_six()).build())
                << int{four.type} << '/' << int{four.code} << ' ' << (four.word >> 24U);
        }
    }
}

// RFC 7915 5.2
TEST_F(FamilyErrors, EveryErrorOfIpv6BecomesTheOneThatMeansTheSame) {
    std::vector<std::pair<Error, std::optional<Error>>> table{
        {{1, 0}, Error{3, 1}},  {{1, 1}, Error{3, 10}},   {{1, 2}, Error{3, 1}},
        {{1, 3}, Error{3, 1}},  {{1, 4}, Error{3, 3}},    {{1, 5}, std::nullopt},
        {{3, 0}, Error{11, 0}}, {{3, 1}, Error{11, 1}},   {{4, 1, 6}, Error{3, 2}},
        {{4, 2}, std::nullopt}, {{100, 0}, std::nullopt},
    };
    // Figure 6.
    for (const auto& [at, four] : std::vector<std::pair<std::uint32_t, int>>{{0, 0},
                                                                             {1, 1},
                                                                             {2, -1},
                                                                             {3, -1},
                                                                             {4, 2},
                                                                             {5, 2},
                                                                             {6, 9},
                                                                             {7, 8},
                                                                             {8, 12},
                                                                             {23, 12},
                                                                             {24, 16},
                                                                             {39, 16},
                                                                             {40, -1}}) {
        std::optional<Error> want;
        if (four >= 0) want = Error{12, 0, static_cast<std::uint32_t>(four) << 24U};
        table.push_back({{4, 0, at}, want});
    }
    for (const auto& [six, four] : table) {
        const auto error = from_six(six, answer_six());
        const Bytes out =
            translated(error, kUdp, Dir::Original, four ? Drop::None : Drop::NatUntranslatable);

        if (four) {
            EXPECT_EQ(out, at_four(*four, answer_four()).build())
                << int{six.type} << '/' << int{six.code} << ' ' << six.word;
        }
    }
}

// RFC 7915 4.2: what fits there, and into the links here; never less than every IPv6 link takes.
TEST_F(FamilyErrors, MtusOfIpv4AreLargerByTheHeader) {
    const auto told = [&](std::uint32_t mtu, std::uint32_t becomes) {
        EXPECT_EQ(translated(from_four({3, 4, mtu}, lost_four()), kUdp, Dir::Reply),
                  at_six({2, 0, becomes}, lost_six()).build())
            << mtu;
    };
    told(1400, 1420);
    told(576, 1280);
    mtus = {1300, 9000};  // the client's link
    told(1400, 1300);
    mtus = {9000, 1350};  // the server's
    told(1400, 1370);
}

// RFC 7915 4.2, RFC 1191 7.1: a router that does not say what fits.
TEST_F(FamilyErrors, AnMtuThatIsNotToldIsThePlateauBelow) {
    const auto lost = [&](bool six) {
        auto b = six ? flow.six(Dir::Original).udp(40000, 80)
                     : flow.four(Dir::Original).dont_fragment().udp(50000, 80);
        return b.payload_bytes(1900).build_ip();
    };
    Bytes four = lost(false);
    Bytes six = lost(true);
    four.resize(60);  // as much as routers quote
    six.resize(80);

    EXPECT_EQ(translated(from_four({3, 4, 0}, four), kUdp, Dir::Reply),
              at_six({2, 0, 1512}, six).build());  // 1492 and the difference
}

TEST_F(FamilyErrors, MtusOfIpv6AreSmallerByTheHeader) {
    const auto told = [&](std::uint32_t mtu, std::uint32_t becomes) {
        EXPECT_EQ(translated(from_six({2, 0, mtu}, answer_six()), kUdp, Dir::Original),
                  at_four({3, 4, becomes}, answer_four()).build())
            << mtu;
    };
    told(1400, 1380);
    told(1280, 1260);
    told(10, 68);
    told(0xffff'ffff, 8980);
    mtus = {9000, 1300};
    told(1400, 1300);
    mtus = {1350, 9000};
    told(1400, 1330);
}

TEST_F(FamilyErrors, ThePacketInsideMayBeOfAnyProtocol) {
    const auto kinds = std::vector<std::pair<std::uint8_t, int>>{
        {kTcp, 0}, {kUdp, 1}, {ct::ipproto::kUdplite, 2}, {ct::ipproto::kSctp, 3}, {kIcmp, 4}};
    for (const auto& [proto, kind] : kinds) {
        const auto lost = [&](PacketBuilder b, std::uint16_t from, bool six) {
            if (kind == 0) b.tcp(from, 80).payload("odd");
            if (kind == 1) b.udp(from, 80).payload("odd");
            if (kind == 2) b.udplite(from, 80).payload("odd");
            if (kind == 3) b.sctp(from, 80);
            if (kind == 4) b.icmp(six ? 128 : 8, 0, from, 9).payload("odd");
            return b.build_ip();
        };
        Bytes four = lost(flow.four(Dir::Original), 50000, false);
        Bytes six = lost(flow.six(Dir::Original), 40000, true);
        if (kind == 3) {  // quoted without what the CRC covers, it keeps the CRC that it had
            four.resize(28);
            six.resize(48);
        }

        EXPECT_EQ(translated(from_four({11, 0}, four), proto, Dir::Reply),
                  at_six({3, 0}, six).build())
            << int{proto};
    }
}

// RFC 792: eight bytes are all that must be there.
TEST_F(FamilyErrors, ThePacketInsideMayBeCutOffBehindItsPorts) {
    for (const std::size_t bytes : {4U, 7U, 8U, 13U}) {
        Bytes four = flow.four(Dir::Original).tcp(50000, 80).build_ip();
        Bytes six = flow.six(Dir::Original).tcp(40000, 80).build_ip();
        four.resize(20 + bytes);
        six.resize(40 + bytes);

        EXPECT_EQ(translated(from_four({3, 1}, four), kTcp, Dir::Reply),
                  at_six({1, 0}, six).build())
            << bytes;
    }
}

TEST_F(FamilyErrors, ThePacketInsideMayBeAFirstFragment) {
    const auto part = [](PacketBuilder b, std::uint16_t from, std::uint16_t to) {
        return b.id(0x4321).fragment(0, true).udp(from, to).payload_bytes(24).build_ip();
    };

    EXPECT_EQ(
        translated(from_four({11, 1}, part(flow.four(Dir::Original), 50000, 80)), kUdp, Dir::Reply),
        at_six({3, 1}, part(flow.six(Dir::Original), 40000, 80)).build());
    EXPECT_EQ(
        translated(from_six({3, 1}, part(flow.six(Dir::Reply), 80, 40000)), kUdp, Dir::Original),
        at_four({11, 1}, part(flow.four(Dir::Reply), 80, 50000)).build());
}

// RFC 4443 2.4 (c)
TEST_F(FamilyErrors, AnErrorOfIpv6HasAtMost1280Bytes) {
    const Bytes four = flow.four(Dir::Original).udp(50000, 80).payload_bytes(1400).build_ip();
    Bytes six = flow.six(Dir::Original).udp(40000, 80).payload_bytes(1400).build_ip();
    six.resize(1280 - 48);

    const Bytes out = translated(from_four({3, 3}, four), kUdp, Dir::Reply);

    EXPECT_EQ(out.size(), 14U + 1280);
    EXPECT_EQ(out, at_six({1, 4}, six).build());
}

// RFC 4884: the length of the packet inside, and what stands behind it.
TEST_F(FamilyErrors, ExtensionsOfAnErrorGo) {
    Bytes four = lost_four();
    const std::size_t size = four.size();
    four.resize(128);
    Bytes padded_six = lost_six();
    padded_six.resize(padded_six.size() + 128 - size);
    four.insert(four.end(), {0x20, 0, 0xde, 0xfb, 0, 8, 1, 1, 0, 1, 2, 3});  // an MPLS label
    Bytes six = answer_six();
    const std::size_t size6 = six.size();
    six.resize(128);
    Bytes padded_four = answer_four();
    padded_four.resize(padded_four.size() + 128 - size6);
    six.insert(six.end(), {0x20, 0, 0xde, 0xfb, 0, 8, 1, 1, 0, 1, 2, 3});

    EXPECT_EQ(translated(from_four({11, 0, 32U << 16U}, four), kUdp, Dir::Reply),
              at_six({3, 0}, padded_six).build());
    EXPECT_EQ(translated(from_six({3, 0, 16U << 24U}, six), kUdp, Dir::Original),
              at_four({11, 0}, padded_four).build());
}

TEST_F(FamilyErrors, AWrongChecksumStaysWrong) {
    options.checksum = false;
    const auto four = from_four({3, 1}, lost_four()).with_l4_checksum(0x1234);
    const auto six = from_six({1, 3}, answer_six()).with_l4_checksum(0x1234);
    for (const Bytes& out :
         {translated(four, kUdp, Dir::Reply), translated(six, kUdp, Dir::Original)}) {
        test::OwnedPacket o = test::receive(out);
        EXPECT_EQ(ct::parse(o.packet, {}), Drop::BadIcmpChecksum);
    }
}

// The router's own address is known behind the prefix that the client has used.
TEST_F(FamilyErrors, TheSenderIsKnownBehindTheConnectionsPrefix) {
    flow.server6 = "2001:db8:122:3c0:0:221::";  // 2001:db8:122:300::/56
    PacketBuilder want;
    want.ipv6("2001:db8:122:3c6:33:6409::", flow.client6).ttl(60);

    EXPECT_EQ(translated(from_four({3, 1}, lost_four()), kUdp, Dir::Reply),
              put(want, {1, 0}, lost_six()).build());
}

}  // namespace
