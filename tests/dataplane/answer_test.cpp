// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/answer.hpp"

#include "ct/wire/parse.hpp"
#include "tests/support/packet_builder.hpp"

#include <gtest/gtest.h>

namespace {

using dp::answer::Complaint;
using test::addr;
using test::Bytes;
using test::PacketBuilder;

/// A frame and what parse() says of it; checksums are verified.
struct Parsed {
    explicit Parsed(Bytes frame) : bytes{std::move(frame)} {
        packet.data = bytes.data();
        packet.length = static_cast<std::uint32_t>(bytes.size());
        packet.in_port = 0;
        static_cast<void>(ct::parse(packet, {}));
    }
    Parsed(const Parsed&) = delete;
    Parsed& operator=(const Parsed&) = delete;

    Bytes bytes;
    ct::Packet packet;
};

/// Runs `make(out)` on a buffer of its own and returns what it wrote.
template <class Make>
[[nodiscard]] Bytes made(Make make) {
    Bytes out(2048, 0xee);
    out.resize(make(std::span<std::uint8_t>{out}));
    return out;
}

[[nodiscard]] PacketBuilder syn() {
    return PacketBuilder{}.ipv4("203.0.113.5", "192.0.2.1").tcp(40000, 80).flags("S").seq(1000);
}

// RFC 9293 3.10.7.1: no ACK: sequence 0, acknowledges the segment.
TEST(Answer, ResetOfASegmentWithoutAckAcknowledgesIt) {
    const Parsed segment{syn().payload("abc").build()};

    const Parsed reset{made([&](auto out) { return dp::answer::tcp_reset(out, segment.packet); })};

    ASSERT_EQ(reset.packet.drop, ct::Drop::None);
    EXPECT_EQ(reset.packet.tuple, ct::reply_of(segment.packet.tuple));
    EXPECT_EQ(reset.packet.tcp_flags, ct::tcpflag::kRst | ct::tcpflag::kAck);
    EXPECT_EQ(reset.packet.tcp_seq, 0U);
    EXPECT_EQ(reset.packet.tcp_ack, 1000U + 3 + 1);
}

// The other half: with ACK, the reset has the sequence that the segment expects.
TEST(Answer, ResetOfASegmentWithAckTakesItsAcknowledgementAsSequence) {
    const Parsed segment{
        PacketBuilder{}.ipv6("2001:db8::5", "2001:db8::1").tcp(1, 2).flags("A").ack(777).build()};

    const Parsed reset{made([&](auto out) { return dp::answer::tcp_reset(out, segment.packet); })};

    ASSERT_EQ(reset.packet.drop, ct::Drop::None);
    EXPECT_EQ(reset.packet.tcp_flags, ct::tcpflag::kRst);
    EXPECT_EQ(reset.packet.tcp_seq, 777U);
}

// RFC 9293 3.5.2 says what is to be reset; options are no part of it.
TEST(Answer, ResetIsSentWhateverTheOptionsOfTheSegment) {
    const Parsed segment{syn().tcp_options({1, 8, 99, 0}).build()};
    ASSERT_EQ(segment.packet.drop, ct::Drop::None);

    const Parsed reset{made([&](auto out) { return dp::answer::tcp_reset(out, segment.packet); })};

    EXPECT_EQ(reset.packet.tuple, ct::reply_of(segment.packet.tuple));
    EXPECT_EQ(reset.packet.tcp_ack, 1000U + 1);
}

TEST(Answer, ResetIsNeverAnsweredByAReset) {
    const Parsed segment{syn().flags("R").build()};

    EXPECT_EQ(made([&](auto out) { return dp::answer::tcp_reset(out, segment.packet); }).size(),
              0U);
}

TEST(Answer, EchoReplyReturnsTheData) {
    for (const bool six : {false, true}) {
        PacketBuilder b;
        six ? b.ipv6("2001:db8::5", "2001:db8::1") : b.ipv4("203.0.113.5", "192.0.2.1");
        const Parsed request{b.echo(77, 3).payload_bytes(99).build()};
        const ct::Addr self = request.packet.tuple.dst;

        const Parsed reply{
            made([&](auto out) { return dp::answer::echo_reply(out, request.packet, self, 9); })};

        ASSERT_EQ(reply.packet.drop, ct::Drop::None) << "checksums included";
        EXPECT_EQ(reply.packet.tuple, ct::reply_of(request.packet.tuple));
        EXPECT_TRUE(
            std::equal(reply.bytes.end() - 99, reply.bytes.end(), request.bytes.end() - 99));
    }
}

TEST(Answer, EchoReplyThatDoesNotFitIsNotMade) {
    const Parsed request{
        PacketBuilder{}.ipv4("203.0.113.5", "192.0.2.1").echo(1).payload_bytes(100).build()};
    Bytes small(100);

    EXPECT_EQ(dp::answer::echo_reply(small, request.packet, addr("192.0.2.1"), 1), 0U);
}

// RFC 1812 4.3.2.3: as much of the packet as fits into 576 bytes. RFC 4443 2.4 (c): 1280.
TEST(Answer, ErrorQuotesAsMuchAsItMay) {
    const Parsed big{
        PacketBuilder{}.ipv4("203.0.113.5", "192.0.2.1").udp(1, 2).payload_bytes(1200).build()};
    const Parsed big6{
        PacketBuilder{}.ipv6("2001:db8::5", "2001:db8::1").udp(1, 2).payload_bytes(1400).build()};

    const auto error = made([&](auto out) {
        return dp::answer::icmp_error(out, big.packet, Complaint::NoRoute, 0, addr("192.0.2.1"), 1);
    });
    const auto error6 = made([&](auto out) {
        return dp::answer::icmp_error(out, big6.packet, Complaint::NoRoute, 0, addr("2001:db8::1"),
                                      1);
    });

    EXPECT_EQ(error.size(), 14U + 576);
    EXPECT_EQ(error6.size(), 14U + 1280);
    EXPECT_LE(error6.size(), dp::answer::kMaxFrame);
    EXPECT_EQ(Parsed{error}.packet.drop, ct::Drop::None);
    EXPECT_EQ(Parsed{error6}.packet.drop, ct::Drop::None);
}

TEST(Answer, ErrorIsRelatedToThePacketItQuotes) {
    const Parsed lost{syn().build()};

    const Parsed error{made([&](auto out) {
        return dp::answer::icmp_error(out, lost.packet, Complaint::PortUnreachable, 0,
                                      addr("192.0.2.1"), 1);
    })};

    EXPECT_TRUE(error.packet.icmp_error);
    EXPECT_EQ(error.packet.inner, lost.packet.tuple);
    EXPECT_EQ(error.packet.tuple.dst, lost.packet.tuple.src);
}

struct Kind {
    Complaint why;
    int type4, code4, type6, code6;
};

TEST(Answer, ComplaintsHaveTheTypesOfTheirFamily) {
    const Parsed p4{syn().build()};
    const Parsed p6{PacketBuilder{}.ipv6("2001:db8::5", "2001:db8::1").tcp(1, 2).build()};
    for (const Kind& k :
         {Kind{Complaint::NoRoute, 3, 0, 1, 0}, Kind{Complaint::HostUnreachable, 3, 1, 1, 3},
          Kind{Complaint::ProtocolUnreachable, 3, 2, 4, 1},
          Kind{Complaint::PortUnreachable, 3, 3, 1, 4}, Kind{Complaint::TooBig, 3, 4, 2, 0},
          Kind{Complaint::TimeExceeded, 11, 0, 3, 0}, Kind{Complaint::Prohibited, 3, 13, 1, 1}}) {
        const auto e4 = made([&](auto out) {
            return dp::answer::icmp_error(out, p4.packet, k.why, 1400, addr("192.0.2.1"), 1);
        });
        const auto e6 = made([&](auto out) {
            return dp::answer::icmp_error(out, p6.packet, k.why, 1400, addr("2001:db8::1"), 1);
        });
        EXPECT_EQ(e4[34], k.type4);
        EXPECT_EQ(e4[35], k.code4);
        EXPECT_EQ(e6[54], k.type6);
        EXPECT_EQ(e6[55], k.code6);
    }
}

// RFC 1191 4: the low 16 bits of the second word; RFC 4443 3.2: all 32.
TEST(Answer, TooBigNamesTheMtu) {
    const Parsed p4{syn().build()};
    const Parsed p6{PacketBuilder{}.ipv6("2001:db8::5", "2001:db8::1").tcp(1, 2).build()};

    const auto e4 = made([&](auto out) {
        return dp::answer::icmp_error(out, p4.packet, Complaint::TooBig, 1400, addr("192.0.2.1"),
                                      1);
    });
    const auto e6 = made([&](auto out) {
        return dp::answer::icmp_error(out, p6.packet, Complaint::TooBig, 1400, addr("2001:db8::1"),
                                      1);
    });

    EXPECT_EQ((Bytes{e4.begin() + 38, e4.begin() + 42}), (Bytes{0, 0, 0x05, 0x78}));
    EXPECT_EQ((Bytes{e6.begin() + 58, e6.begin() + 62}), (Bytes{0, 0, 0x05, 0x78}));
}

// RFC 1812 4.3.2.7 and RFC 4443 2.4 (e).
TEST(Answer, NoErrorAboutErrorsFragmentsOrGroups) {
    const auto allowed = [](const PacketBuilder& b) {
        return dp::answer::may_complain_about(Parsed{b.build()}.packet);
    };
    const Bytes inner = syn().build_ip();

    EXPECT_TRUE(allowed(syn()));
    EXPECT_TRUE(allowed(PacketBuilder{}.ipv4("203.0.113.5", "192.0.2.1").echo(1)));
    EXPECT_FALSE(allowed(PacketBuilder{}.ipv4("203.0.113.5", "192.0.2.1").icmp_error(3, 1, inner)));
    EXPECT_FALSE(allowed(PacketBuilder{}.ipv4("203.0.113.5", "224.0.0.9").udp(1, 2)));
    EXPECT_FALSE(allowed(PacketBuilder{}.ipv4("203.0.113.5", "255.255.255.255").udp(1, 2)));
    EXPECT_FALSE(allowed(PacketBuilder{}.ipv4("0.0.0.0", "192.0.2.1").udp(1, 2)));
    EXPECT_FALSE(allowed(syn().eth("02:00:00:00:00:01", "ff:ff:ff:ff:ff:ff")));
    EXPECT_FALSE(allowed(
        PacketBuilder{}.ipv4("203.0.113.5", "192.0.2.1").fragment(1480, false).l4(17, Bytes(40))));
    EXPECT_FALSE(allowed(PacketBuilder{}.ipv6("::", "ff02::1:ff00:1").icmp(128, 0)));
}

TEST(Answer, ArpRequestAsksForTheTarget) {
    const Parsed request{made([](auto out) {
        return dp::answer::arp_request(out, {test::mac("02:00:00:00:00:01"), addr("192.0.2.1")},
                                       addr("192.0.2.7"), test::mac("ff:ff:ff:ff:ff:ff"));
    })};

    ASSERT_EQ(request.packet.drop, ct::Drop::None);
    const auto arp = ct::load<ct::ArpHeader>(request.bytes.data() + 14);
    EXPECT_EQ(arp.operation.host(), ct::ArpHeader::kRequest);
    EXPECT_EQ(arp.target_ip, (std::array<std::uint8_t, 4>{192, 0, 2, 7}));
    EXPECT_EQ(arp.sender_ip, (std::array<std::uint8_t, 4>{192, 0, 2, 1}));
    EXPECT_EQ(request.bytes[0], 0xff);
}

// RFC 4861 7.2.2 and RFC 2464 7: to the solicited-node group of the target.
TEST(Answer, SolicitationGoesToTheGroupOfItsTarget) {
    const Parsed s{made([](auto out) {
        return dp::answer::neighbour_solicitation(
            out, {test::mac("02:00:00:00:00:01"), addr("2001:db8::1")},
            addr("2001:db8::a:b0c0:d0e0"), nullptr);
    })};

    ASSERT_EQ(s.packet.drop, ct::Drop::None);
    EXPECT_EQ(s.packet.tuple.dst, addr("ff02::1:ffc0:d0e0"));
    EXPECT_EQ((Bytes{s.bytes.begin(), s.bytes.begin() + 6}),
              (Bytes{0x33, 0x33, 0xff, 0xc0, 0xd0, 0xe0}));
    const auto nd = dp::answer::read_nd(s.packet);
    ASSERT_TRUE(nd.has_value());
    EXPECT_EQ(nd->target, addr("2001:db8::a:b0c0:d0e0"));
    EXPECT_EQ(nd->mac, test::mac("02:00:00:00:00:01"));
}

TEST(Answer, AdvertisementIsSolicitedUnlessTheAskerHasNoAddress) {
    const dp::answer::Endpoint self{test::mac("02:00:00:00:00:01"), addr("2001:db8::1")};
    const Parsed solicited{made([&](auto out) {
        return dp::answer::neighbour_advertisement(
            out, self, {test::mac("02:00:00:00:00:09"), addr("2001:db8::9")});
    })};
    const Parsed detection{made([&](auto out) {
        return dp::answer::neighbour_advertisement(out, self,
                                                   {test::mac("02:00:00:00:00:09"), ct::Addr{}});
    })};

    EXPECT_TRUE(dp::answer::read_nd(solicited.packet)->solicited);
    EXPECT_EQ(solicited.packet.tuple.dst, addr("2001:db8::9"));
    EXPECT_FALSE(dp::answer::read_nd(detection.packet)->solicited);
    EXPECT_EQ(detection.packet.tuple.dst, addr("ff02::1"));
}

// RFC 4861 7.1.1: hop limit 255, code 0, a target that is no group, options of some length.
TEST(Answer, MalformedNeighbourDiscoveryIsDiscarded) {
    const ct::Addr own = addr("2001:db8::1");
    const Bytes target(own.bytes.begin(), own.bytes.end());
    const auto message = [](std::uint8_t ttl, std::uint8_t code, Bytes rest) {
        // The four reserved bytes are the builder's id and sequence.
        return PacketBuilder{}
            .ipv6("2001:db8::9", "2001:db8::1")
            .ttl(ttl)
            .icmp_error(135, code, std::move(rest));
    };
    const auto readable = [](const PacketBuilder& b) {
        const Parsed p{b.build()};
        return p.packet.alive() && dp::answer::read_nd(p.packet).has_value();
    };
    Bytes zero_option = target;
    zero_option.insert(zero_option.end(), {1, 0, 1, 2, 3, 4, 5, 6});
    Bytes group = target;
    group[0] = 0xff;

    EXPECT_TRUE(readable(message(255, 0, target)));
    EXPECT_FALSE(readable(message(254, 0, target))) << "came through a router";
    EXPECT_FALSE(readable(message(255, 1, target)));
    EXPECT_FALSE(readable(message(255, 0, zero_option)));
    EXPECT_FALSE(readable(message(255, 0, group)));
    EXPECT_FALSE(readable(message(255, 0, Bytes(target.begin(), target.end() - 1))));
}

}  // namespace
