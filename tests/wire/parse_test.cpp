// SPDX-License-Identifier: BSD-3-Clause
#include "ct/wire/parse.hpp"

#include "tests/support/packet_builder.hpp"
#include "tests/support/packet_invariants.hpp"
#include "tests/support/wire_corpus.hpp"

#include <gtest/gtest.h>

#include <array>
#include <set>

namespace {

using ct::Drop;
using ct::Fragment;
using ct::HwCheck;
using ct::Packet;
using test::addr;
using test::Bytes;
using test::OwnedPacket;
using test::PacketBuilder;
using test::receive;

PacketBuilder four() {
    return PacketBuilder{}.ipv4("192.0.2.1", "198.51.100.1");
}
PacketBuilder six() {
    return PacketBuilder{}.ipv6("2001:db8::1", "2001:db8::2");
}

OwnedPacket parsed(const PacketBuilder& builder, const ct::ParseOptions& options = {}) {
    OwnedPacket out = receive(builder);
    static_cast<void>(ct::parse(out.packet, options));
    return out;
}

// ---- Everything valid passes.

TEST(Parse, AcceptsEveryFrameOfTheCorpus) {
    std::set<std::string> names;
    for (const auto& [name, bytes] : test::wire_corpus()) {
        OwnedPacket owned = receive(bytes);

        EXPECT_EQ(ct::parse(owned.packet, {}), Drop::None)
            << name << ": " << ct::name_of(owned.packet.drop);
        EXPECT_EQ(test::fault_in(owned.packet), "") << name;
        EXPECT_TRUE(names.insert(name).second) << name << " stands twice";
    }
    EXPECT_GT(names.size(), 80U);
}

TEST(Parse, LeavesTheSameResultWhenCalledTwice) {
    for (const auto& [name, bytes] : test::wire_corpus()) {
        OwnedPacket owned = receive(bytes);
        ASSERT_EQ(ct::parse(owned.packet, {}), Drop::None) << name;
        const Packet once = owned.packet;

        ASSERT_EQ(ct::parse(owned.packet, {}), Drop::None) << name;

        EXPECT_EQ(owned.packet.tuple, once.tuple) << name;
        EXPECT_EQ(owned.packet.inner, once.inner) << name;
        EXPECT_EQ(owned.packet.end, once.end) << name;
        EXPECT_EQ(owned.packet.payload_offset, once.payload_offset) << name;
    }
}

TEST(Parse, ForgetsWhatTheBufferHeldBefore) {
    OwnedPacket error = parsed(PacketBuilder{}
                                   .ipv4("203.0.113.9", "192.0.2.1")
                                   .icmp_error(3, 1, four().udp(1, 2).build_ip()));
    OwnedPacket tcp = parsed(four().tcp(40000, 80));
    ASSERT_TRUE(error.packet.icmp_error);

    error.packet.data = tcp.packet.data;
    error.packet.length = tcp.packet.length;
    ASSERT_EQ(ct::parse(error.packet, {}), Drop::None);

    EXPECT_FALSE(error.packet.icmp_error);
    EXPECT_EQ(error.packet.inner_l3_offset, 0);
    EXPECT_EQ(error.packet.tuple, tcp.packet.tuple);
}

TEST(Parse, KeepsTheZone) {
    OwnedPacket owned = receive(four().udp(1, 2));
    owned.packet.tuple.zone = 7;

    ASSERT_EQ(ct::parse(owned.packet, {}), Drop::None);

    EXPECT_EQ(owned.packet.tuple.zone, 7);
}

TEST(Parse, OfABurstSkipsWhatItsReceiverDropped) {
    const Bytes frame = four().udp(1, 2).build();
    std::vector<OwnedPacket> owned;
    std::vector<Packet> packets;
    for (int i = 0; i < 20; ++i) {
        owned.push_back(receive(frame));
        packets.push_back(owned.back().packet);
    }
    packets[3].drop = Drop::MultiSegment;

    ct::parse(packets, {});

    for (std::size_t i = 0; i < packets.size(); ++i) {
        EXPECT_EQ(packets[i].drop, i == 3 ? Drop::MultiSegment : Drop::None);
        EXPECT_EQ(packets[i].tuple.dport.host(), i == 3 ? 0 : 2);
    }
}

TEST(Parse, OfAnEmptyBurstDoesNothing) {
    ct::parse(std::span<Packet>{}, {});
}

// ---- Link layer.

TEST(ParseLink, FindsIpBehindNoOneAndTwoTags) {
    const auto plain = parsed(four().udp(1, 2));
    const auto tagged = parsed(four().vlan(7).udp(1, 2));
    const auto stacked = parsed(four().qinq(100).vlan(7).udp(1, 2));
    const auto twice = parsed(four().vlan(100).vlan(7).udp(1, 2));

    EXPECT_EQ(plain.packet.l3_offset, 14);
    EXPECT_EQ(tagged.packet.l3_offset, 18);
    EXPECT_EQ(stacked.packet.l3_offset, 22);
    EXPECT_EQ(twice.packet.l3_offset, 22);
    for (const Packet& p : {plain.packet, tagged.packet, stacked.packet, twice.packet}) {
        EXPECT_EQ(p.ethertype, 0x0800);
        EXPECT_EQ(p.tuple.dport.host(), 2);
    }
}

TEST(ParseLink, EndsThePacketBeforeTheLinkPadding) {
    const auto owned = parsed(four().udp(1, 2).payload("x").pad_to(60));

    EXPECT_EQ(owned.packet.length, 60U);
    EXPECT_EQ(owned.packet.end, 14U + 20 + 8 + 1);
}

// RFC 826.
TEST(ParseArp, SetsOffsetsAndNoTuple) {
    const auto owned = parsed(PacketBuilder{}.arp(1, "192.0.2.1", "192.0.2.2").pad_to(60));

    EXPECT_EQ(owned.packet.drop, Drop::None);
    EXPECT_EQ(owned.packet.ethertype, 0x0806);
    EXPECT_EQ(owned.packet.l3_offset, 14);
    EXPECT_EQ(owned.packet.end, 42U);
    EXPECT_EQ(owned.packet.tuple, ct::Tuple{});
}

// ---- Network layer.

TEST(ParseIpv4, ReadsAddressesPastOptions) {
    const auto owned = parsed(four().ip_options({7, 7, 4, 0, 0, 0, 0}).udp(1, 2).payload("abc"));
    const Packet& p = owned.packet;

    EXPECT_EQ(p.tuple.src, addr("192.0.2.1"));
    EXPECT_EQ(p.tuple.dst, addr("198.51.100.1"));
    EXPECT_EQ(p.tuple.family, ct::Family::Ipv4);
    EXPECT_EQ(p.tuple.proto, 17);
    EXPECT_EQ(p.l4_offset, 14 + 28);
    EXPECT_EQ(p.payload_offset, 14 + 28 + 8);
    EXPECT_EQ(p.end, 14U + 28 + 8 + 3);
}

TEST(ParseIpv6, ReadsAddressesPastEveryExtension) {
    const auto owned =
        parsed(six().hop_by_hop().destination().routing(2, 0).authentication().tcp(40000, 443));
    const Packet& p = owned.packet;

    EXPECT_EQ(p.tuple.src, addr("2001:db8::1"));
    EXPECT_EQ(p.tuple.dst, addr("2001:db8::2"));
    EXPECT_EQ(p.tuple.family, ct::Family::Ipv6);
    EXPECT_EQ(p.tuple.proto, 6);
    EXPECT_EQ(p.tuple.dport.host(), 443);
    EXPECT_EQ(p.l4_offset, 14 + 40 + 8 + 8 + 24 + 24);
}

// RFC 8200 8.1: with hops left the pseudo-header has another destination.
TEST(ParseIpv6, LeavesAChecksumAloneThatARoutingHeaderHides) {
    EXPECT_EQ(parsed(six().routing(4, 1).udp(1, 2).with_l4_checksum(0xbad)).packet.fault,
              Drop::None);
    EXPECT_EQ(parsed(six().routing(4, 0).udp(1, 2).with_l4_checksum(0xbad)).packet.fault,
              Drop::BadUdpChecksum);
}

// RFC 8200 4.7.
TEST(ParseIpv6, TreatsNoNextHeaderAsAProtocol) {
    const auto owned = parsed(six().l4(59, {}));

    EXPECT_EQ(owned.packet.drop, Drop::None);
    EXPECT_EQ(owned.packet.tuple.proto, 59);
}

// ---- Transport.

TEST(ParseTcp, ReadsWhatTheTrackerNeeds) {
    const auto owned = parsed(four()
                                  .tcp(40000, 80)
                                  .flags("PAE")
                                  .seq(0x01020304)
                                  .ack(0xf1f2f3f4)
                                  .window(512)
                                  .tcp_options({1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2})
                                  .payload("data"));
    const Packet& p = owned.packet;

    EXPECT_EQ(p.tuple.sport.host(), 40000);
    EXPECT_EQ(p.tuple.dport.host(), 80);
    EXPECT_EQ(p.tcp_flags, test::tcp_flags("PAE"));
    EXPECT_EQ(p.tcp_seq, 0x01020304U);
    EXPECT_EQ(p.tcp_ack, 0xf1f2f3f4U);
    EXPECT_EQ(p.tcp_window, 512);
    EXPECT_EQ(p.payload_offset, p.l4_offset + 32);
    EXPECT_EQ(p.end, p.payload_offset + 4U);
}

// semantics.md 2.1: the legal sets, and nothing else of the 256.
TEST(ParseTcp, AcceptsExactlyTheLegalFlagSets) {
    const std::set<std::uint8_t> legal{
        test::tcp_flags("S"),   test::tcp_flags("SU"), test::tcp_flags("SA"),
        test::tcp_flags("R"),   test::tcp_flags("RA"), test::tcp_flags("FA"),
        test::tcp_flags("FAU"), test::tcp_flags("A"),  test::tcp_flags("AU")};
    for (unsigned flags = 0; flags < 256; ++flags) {
        Bytes segment(20);
        segment[12] = 0x50;
        segment[13] = static_cast<std::uint8_t>(flags);
        auto owned = receive(four().l4(6, segment));
        owned.packet.l4_check = HwCheck::Good;

        const auto judged = static_cast<std::uint8_t>(flags & ~unsigned{test::tcp_flags("PEC")});
        EXPECT_EQ(ct::parse(owned.packet, {}) == Drop::None, legal.contains(judged)) << flags;
    }
}

// semantics.md and tests/golden: Linux tracks port 0 like any other.
TEST(ParsePorts, ZeroIsAPort) {
    EXPECT_EQ(parsed(four().tcp(0, 80)).packet.drop, Drop::None);
    EXPECT_EQ(parsed(four().udp(1, 0)).packet.drop, Drop::None);
}

TEST(ParseUdp, AcceptsAnAbsentChecksumOverIpv4) {
    EXPECT_EQ(parsed(four().udp(1, 2).with_l4_checksum(0)).packet.drop, Drop::None);
}

TEST(ParseUdp, AcceptsBytesBehindItsLengthAndDoesNotSumThem) {
    Bytes datagram = test::from_hex(
        "0001000200090000"
        "41");
    const ct::Be16 sum = ct::transport_checksum(addr("192.0.2.1"), addr("198.51.100.1"),
                                                ct::Family::Ipv4, 17, datagram);
    ct::store(datagram.data() + 6, sum);
    datagram.insert(datagram.end(), {0xde, 0xad});

    EXPECT_EQ(parsed(four().l4(17, datagram)).packet.drop, Drop::None);
}

// RFC 3828 3.1: what lies outside the coverage may be damaged.
TEST(ParseUdplite, SumsTheCoveredPartOnly) {
    Bytes frame = four().udplite(1, 2, 9).payload("abc").build();
    frame[frame.size() - 1] ^= 0xffU;
    OwnedPacket uncovered = receive(frame);
    frame[frame.size() - 3] ^= 0xffU;
    OwnedPacket covered = receive(frame);

    EXPECT_EQ(ct::parse(uncovered.packet, {}), Drop::None);
    EXPECT_EQ(ct::parse(covered.packet, {}), Drop::BadUdpliteChecksum);
}

TEST(ParseSctp, AcceptsALastChunkWithoutPadding) {
    Bytes packet = test::from_hex(
        "9c40138800000001"
        "00000000"
        "0a000005"
        "ff");
    ct::store(packet.data() + 8, ct::sctp_checksum(packet));

    const auto owned = parsed(four().l4(132, packet));

    EXPECT_EQ(owned.packet.drop, Drop::None);
    EXPECT_EQ(owned.packet.tuple.sport.host(), 40000);
    EXPECT_EQ(owned.packet.tuple.dport.host(), 5000);
    EXPECT_EQ(owned.packet.payload_offset, owned.packet.l4_offset + 12);
}

TEST(ParseGre, NamesAPlainTunnelByItsAddressesAlone) {
    const auto plain = parsed(four().gre(0x0800).payload("x"));
    const auto keyed = parsed(four().gre(0x0800, 0xdeadbeef).payload("x"));

    EXPECT_EQ(plain.packet.tuple, keyed.packet.tuple);
    EXPECT_EQ(plain.packet.tuple.sport.raw(), 0);
    EXPECT_EQ(plain.packet.tuple.dport.raw(), 0);
}

// Linux tracks what it cannot read of GRE by its addresses, as any other protocol
// (tests/differential).
TEST(ParseGre, TakesWhatIsTooShortOrOfAnotherVersionForAPlainTunnel) {
    const Bytes odd[] = {{},
                         Bytes(3),
                         test::from_hex("00020800"),
                         test::from_hex("20000800000000"),
                         test::from_hex("2001880b0000")};
    for (const Bytes& header : odd) {
        const auto owned = parsed(four().l4(47, header));

        EXPECT_EQ(owned.packet.drop, Drop::None) << header.size();
        EXPECT_EQ(owned.packet.tuple.dport.raw(), 0) << header.size();
        EXPECT_EQ(owned.packet.payload_offset, owned.packet.l4_offset);
    }
}

// tests/golden/gre step 7: srckey=0x0 dstkey=0x7.
TEST(ParseGre, NamesAPptpCallByTheReceiversCallId) {
    const auto owned = parsed(four().pptp(7, 4).payload("ppp!"));
    const auto without_key_bit = parsed(four().l4(47, test::from_hex("1001880b00000007")));

    EXPECT_EQ(owned.packet.tuple.sport.raw(), 0);
    EXPECT_EQ(owned.packet.tuple.dport.host(), 7);
    EXPECT_EQ(owned.packet.payload_offset, owned.packet.l4_offset);
    EXPECT_EQ(without_key_bit.packet.tuple.dport.host(), 7);
}

// RFC 6935: a tunnel over IPv6 may send UDP without a checksum; Linux tracks it.
TEST(ParseUdp, MayComeWithoutAChecksumInBothFamilies) {
    EXPECT_EQ(parsed(four().udp(1, 2).with_l4_checksum(0)).packet.drop, Drop::None);
    EXPECT_EQ(parsed(six().udp(1, 2).with_l4_checksum(0)).packet.drop, Drop::None);
}

// tests/golden/unknown-protocols step 9: sport=0 dport=0.
TEST(ParseDccp, HasNoPorts) {
    EXPECT_EQ(parsed(four().l4(33, Bytes(3))).packet.drop, Drop::None);
    const auto owned = parsed(four().l4(33, Bytes(16, 1)));

    EXPECT_EQ(owned.packet.drop, Drop::None);
    EXPECT_EQ(owned.packet.tuple.sport.raw(), 0);
    EXPECT_EQ(owned.packet.tuple.dport.raw(), 0);
}

TEST(ParseGeneric, NeedsNoByteOfTransport) {
    for (const std::uint8_t proto : std::to_array<std::uint8_t>({2, 4, 50, 51, 89, 112, 253})) {
        const auto owned = parsed(four().l4(proto, {}));
        EXPECT_EQ(owned.packet.drop, Drop::None) << int{proto};
        EXPECT_EQ(owned.packet.tuple.proto, proto);
        EXPECT_EQ(owned.packet.payload_offset, owned.packet.l4_offset);
    }
}

// ---- ICMP.

TEST(ParseIcmp, PutsIdentifierTypeAndCodeIntoTheTuple) {
    const auto owned = parsed(four().echo(0x1234).payload("ping"));
    const Packet& p = owned.packet;

    EXPECT_EQ(p.tuple.sport.host(), 0x1234);
    EXPECT_EQ(ct::icmp_type(p.tuple.dport), 8);
    EXPECT_EQ(ct::icmp_code(p.tuple.dport), 0);
    EXPECT_EQ(p.message_type, 8);
    EXPECT_EQ(p.payload_offset, p.l4_offset + 8);
    EXPECT_FALSE(p.icmp_error);
}

TEST(ParseIcmp, AnswerIsTheReplyOfItsQuery) {
    const auto query = parsed(four().echo(9));
    const auto answer = parsed(PacketBuilder{}.ipv4("198.51.100.1", "192.0.2.1").echo_reply(9));
    const auto query6 = parsed(six().echo(9));
    const auto answer6 = parsed(PacketBuilder{}.ipv6("2001:db8::2", "2001:db8::1").echo_reply(9));

    EXPECT_EQ(ct::reply_of(query.packet.tuple), answer.packet.tuple);
    EXPECT_EQ(ct::reply_of(query6.packet.tuple), answer6.packet.tuple);
}

TEST(ParseIcmp, GivesNoIdentifierToWhatIsNoQuery) {
    const auto owned = parsed(PacketBuilder{}.ipv4("192.0.2.1", "224.0.0.1").icmp(9, 0, 0x0102));

    EXPECT_EQ(owned.packet.drop, Drop::None);
    EXPECT_EQ(owned.packet.tuple.sport.raw(), 0);
}

TEST(ParseIcmpError, FindsThePacketInside) {
    const auto inside = parsed(four().ip_options({1, 1, 1, 1}).tcp(40000, 80));
    for (const std::uint8_t type : std::to_array<std::uint8_t>({3, 4, 5, 11, 12})) {
        const auto owned = parsed(
            PacketBuilder{}
                .ipv4("203.0.113.9", "192.0.2.1")
                .icmp_error(type, 1, four().ip_options({1, 1, 1, 1}).tcp(40000, 80).build_ip()));
        const Packet& p = owned.packet;

        ASSERT_TRUE(p.icmp_error) << int{type};
        EXPECT_EQ(p.inner, inside.packet.tuple);
        EXPECT_EQ(p.inner_l3_offset, 14 + 20 + 8);
        EXPECT_EQ(p.inner_l4_offset, 14 + 20 + 8 + 24);
    }
}

TEST(ParseIcmpError, FindsAnIpv6PacketBehindItsExtensions) {
    const auto owned = parsed(PacketBuilder{}
                                  .ipv6("2001:db8:9::9", "2001:db8::1")
                                  .icmp_error(3, 0, six().destination().udp(50000, 53).build_ip()));
    const Packet& p = owned.packet;

    ASSERT_TRUE(p.icmp_error);
    EXPECT_EQ(p.inner.proto, 17);
    EXPECT_EQ(p.inner.sport.host(), 50000);
    EXPECT_EQ(p.inner_l4_offset, p.inner_l3_offset + 48);
}

TEST(ParseIcmpError, FindsAQueryByItsIdentifier) {
    const auto owned = parsed(PacketBuilder{}
                                  .ipv4("203.0.113.9", "192.0.2.1")
                                  .icmp_error(11, 0, four().echo(77).build_ip()));

    EXPECT_EQ(owned.packet.inner.sport.host(), 77);
    EXPECT_EQ(ct::icmp_type(owned.packet.inner.dport), 8);
}

// RFC 792 promises 64 bits behind the header; tests/golden/tcp-icmp-related step 8 has the ports
// only. The length inside tells of the whole packet all the same.
TEST(ParseIcmpError, IsContentWithThePorts) {
    Bytes lost = four().tcp(40000, 80).payload_bytes(1000).build_ip();
    lost.resize(24);
    const auto owned =
        parsed(PacketBuilder{}.ipv4("203.0.113.9", "192.0.2.1").icmp_error(3, 4, lost));

    EXPECT_TRUE(owned.packet.icmp_error);
    EXPECT_EQ(owned.packet.inner.dport.host(), 80);
}

TEST(ParseIcmpError, CarriesTheZoneInside) {
    auto owned = receive(PacketBuilder{}
                             .ipv4("203.0.113.9", "192.0.2.1")
                             .icmp_error(3, 1, four().udp(1, 2).build_ip()));
    owned.packet.tuple.zone = 5;

    ASSERT_EQ(ct::parse(owned.packet, {}), Drop::None);

    EXPECT_EQ(owned.packet.inner.zone, 5);
}

// semantics.md 2.8.
TEST(ParseIcmpv6, NeighbourDiscoveryAndListenersAreNeverTracked) {
    for (unsigned type = 0; type < 256; ++type) {
        const auto owned = parsed(PacketBuilder{}
                                      .ipv6("fe80::1", "ff02::1")
                                      .ttl(255)
                                      .icmp(static_cast<std::uint8_t>(type), 0)
                                      .payload_bytes(24));
        // A redirect (137) is tracked, and as no query INVALID, in Linux (tests/differential).
        const bool expected = (type >= 130 && type <= 136) || type == 143;
        EXPECT_EQ(owned.packet.never_tracked, expected) << type;
    }
}

// tests/golden/icmpv6-echo-ndp step 8: type 200 is INVALID, which is conntrack's to say.
TEST(ParseIcmpv6, LeavesUnknownTypesToConntrack) {
    const auto owned = parsed(six().icmp(200, 0));

    EXPECT_EQ(owned.packet.drop, Drop::None);
    EXPECT_FALSE(owned.packet.icmp_error);
}

// ---- Fragments.

TEST(ParseFragment, TellsFirstFromLaterFromWhole) {
    const auto first = parsed(four().fragment(0, true).l4(17, Bytes(16, 8)));
    const auto later = parsed(four().fragment(16, true).l4(17, Bytes(16, 8)));
    const auto last = parsed(four().fragment(16, false).l4(17, Bytes(3, 8)));
    const auto whole = parsed(four().dont_fragment().udp(1, 2));

    EXPECT_EQ(first.packet.fragment, Fragment::First);
    EXPECT_EQ(first.packet.tuple.sport.host(), 0x0808);
    EXPECT_EQ(later.packet.fragment, Fragment::Later);
    EXPECT_EQ(later.packet.tuple.sport.raw(), 0);
    EXPECT_EQ(later.packet.payload_offset, later.packet.l4_offset);
    EXPECT_EQ(last.packet.fragment, Fragment::Later);
    EXPECT_EQ(whole.packet.fragment, Fragment::Whole);
}

TEST(ParseFragment, OfIpv6StandsBehindItsFragmentHeader) {
    const auto later = parsed(six().destination().fragment(16, false).l4(17, Bytes(5, 5)));
    const auto first = parsed(six().fragment(0, true).destination().l4(17, Bytes(16, 8)));

    EXPECT_EQ(later.packet.fragment, Fragment::Later);
    EXPECT_EQ(later.packet.l4_offset, 14 + 40 + 8 + 8);
    EXPECT_EQ(first.packet.fragment, Fragment::First);
    EXPECT_EQ(first.packet.l4_offset, 14 + 40 + 8 + 8);
    EXPECT_EQ(first.packet.tuple.sport.host(), 0x0808);
}

// RFC 6946: a fragment header alone does not make a fragment.
TEST(ParseFragment, AnAtomicFragmentIsWhole) {
    const auto owned = parsed(six().fragment(0, false).udp(1, 2).payload("x"));

    EXPECT_EQ(owned.packet.fragment, Fragment::Whole);
    EXPECT_EQ(owned.packet.tuple.dport.host(), 2);
}

TEST(ParseFragment, IsNotSummedAsNobodyHasAllOfIt) {
    auto owned = receive(four().fragment(0, true).l4(6, test::from_hex("9c400050"
                                                                       "00000001"
                                                                       "00000000"
                                                                       "5002faf0"
                                                                       "dead0000"
                                                                       "00000000")));
    owned.packet.l4_check = HwCheck::Bad;

    EXPECT_EQ(ct::parse(owned.packet, {}), Drop::None);
}

// ---- Whose word counts for checksums.

TEST(ParseChecksums, TrustThePortWhereItHasLooked) {
    auto good = receive(four().tcp(1, 2).with_l4_checksum(0xbad).with_ip_checksum(0xbad));
    good.packet.ip_check = HwCheck::Good;
    good.packet.l4_check = HwCheck::Good;
    auto bad_ip = receive(four().tcp(1, 2));
    bad_ip.packet.ip_check = HwCheck::Bad;
    auto bad_l4 = receive(four().tcp(1, 2));
    bad_l4.packet.l4_check = HwCheck::Bad;

    EXPECT_EQ(ct::parse(good.packet, {}), Drop::None);
    EXPECT_EQ(ct::parse(bad_ip.packet, {}), Drop::BadIpChecksum);
    EXPECT_EQ(ct::parse(bad_l4.packet, {}), Drop::BadTcpChecksum);
}

// nf_conntrack_checksum=0.
TEST(ParseChecksums, AreLeftAloneWhereTheSettingSaysSoButForTheIpHeader) {
    const ct::ParseOptions off{.checksum = false};

    EXPECT_EQ(parsed(four().tcp(1, 2).with_l4_checksum(1), off).packet.fault, Drop::None);
    EXPECT_EQ(parsed(four().udp(1, 2).with_l4_checksum(1), off).packet.fault, Drop::None);
    EXPECT_EQ(parsed(four().udplite(1, 2).with_l4_checksum(1), off).packet.fault, Drop::None);
    // UDP-Lite may not do without one (RFC 3828 3.1), whether it is looked at or not; as in Linux.
    EXPECT_EQ(parsed(four().udplite(1, 2).with_l4_checksum(0), off).packet.fault,
              Drop::BadUdpliteChecksum);
    EXPECT_EQ(parsed(four().echo(1).with_l4_checksum(1), off).packet.fault, Drop::None);
    EXPECT_EQ(parsed(four().sctp(1, 2).with_sctp_checksum(1), off).packet.fault, Drop::None);
    EXPECT_EQ(parsed(four().tcp(1, 2).with_ip_checksum(1), off).packet.drop, Drop::BadIpChecksum);
}

}  // namespace
