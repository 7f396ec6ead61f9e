// SPDX-License-Identifier: BSD-3-Clause
//
// Malformed packets, a row each: what is wrong with it, which reason it gets, and whether it is
// dropped for that or only INVALID.
#include "ct/wire/parse.hpp"
#include "tests/support/packet_builder.hpp"
#include "tests/support/packet_invariants.hpp"

#include <gtest/gtest.h>

#include <set>
#include <vector>

namespace {

using ct::Drop;
using test::Bytes;
using test::from_hex;
using test::PacketBuilder;

struct Malformed {
    const char* what;
    Drop reason;
    Bytes frame;
};

PacketBuilder four() {
    return PacketBuilder{}.ipv4("192.0.2.1", "198.51.100.1");
}
PacketBuilder six() {
    return PacketBuilder{}.ipv6("2001:db8::1", "2001:db8::2");
}
PacketBuilder four_from(const char* src) {
    return PacketBuilder{}.ipv4(src, "198.51.100.1");
}
PacketBuilder six_from(const char* src) {
    return PacketBuilder{}.ipv6(src, "2001:db8::2");
}

Bytes patched(Bytes frame, std::size_t at, std::uint8_t value) {
    frame.at(at) = value;
    return frame;
}

/// An ICMP error from a router about `inner`.
Bytes error_about(const Bytes& inner, std::uint8_t type = 3) {
    return PacketBuilder{}.ipv4("203.0.113.9", "192.0.2.1").icmp_error(type, 1, inner).build();
}
Bytes error6_about(const Bytes& inner) {
    return PacketBuilder{}.ipv6("2001:db8:9::9", "2001:db8::1").icmp_error(1, 0, inner).build();
}
Bytes cut(Bytes bytes, std::size_t size) {
    bytes.resize(size);
    return bytes;
}

std::vector<Malformed> link_layer() {
    const Bytes arp = PacketBuilder{}.arp(1, "192.0.2.1", "192.0.2.2").build();
    return {
        {"no byte at all", Drop::Truncated, {}},
        {"13 bytes", Drop::Truncated, Bytes(13)},
        {"a tag cut in two", Drop::Truncated, cut(four().vlan(7).udp(1, 2).build(), 16)},
        {"a length, not a type (802.3)", Drop::BadEtherType,
         PacketBuilder{}.ethertype(60).l3(Bytes(60)).build()},
        {"MPLS", Drop::BadEtherType, PacketBuilder{}.ethertype(0x8847).l3(Bytes(60)).build()},
        {"three tags", Drop::BadEtherType, four().vlan(1).vlan(2).vlan(3).udp(1, 2).build()},
        {"IPv6 under IPv4's type", Drop::BadIpHeader, six().ethertype(0x0800).udp(1, 2).build()},
        {"IPv4 under IPv6's type", Drop::BadIpHeader,
         four().ethertype(0x86dd).udp(1, 2).payload_bytes(40).build()},
        {"ARP cut short", Drop::Truncated, cut(arp, 41)},
        {"ARP for IEEE 802", Drop::BadArp, patched(arp, 15, 6)},
        {"ARP for another protocol", Drop::BadArp, patched(arp, 16, 0x86)},
        {"ARP with long hardware addresses", Drop::BadArp, patched(arp, 18, 8)},
        {"ARP with short protocol addresses", Drop::BadArp, patched(arp, 19, 3)},
        {"RARP's operation", Drop::BadArp, patched(arp, 21, 3)},
        {"ARP from a multicast MAC", Drop::BadArp, patched(arp, 22, 1)},
        {"ARP from a multicast address", Drop::BadArp,
         PacketBuilder{}.arp(2, "224.0.0.1", "192.0.2.2").build()},
        {"ARP from loopback", Drop::BadArp,
         PacketBuilder{}.arp(2, "127.0.0.1", "192.0.2.2").build()},
    };
}

std::vector<Malformed> network_layer() {
    PacketBuilder nine = six();
    for (int i = 0; i < 9; ++i) nine.destination();
    return {
        {"half an IPv4 header", Drop::Truncated, cut(four().udp(1, 2).build(), 24)},
        {"half an IPv6 header", Drop::Truncated, cut(six().udp(1, 2).build(), 34)},
        {"version 5", Drop::BadIpHeader, four().with_ip_version(5).udp(1, 2).build()},
        {"version 4 in IPv6", Drop::BadIpHeader, six().with_ip_version(4).udp(1, 2).build()},
        {"header of 16 bytes", Drop::BadIpHeader, four().with_ihl(4).udp(1, 2).build()},
        {"options past the packet", Drop::BadIpLength, four().with_ihl(15).udp(1, 2).build()},
        {"total length past the frame", Drop::BadIpLength,
         four().with_ip_length(29).udp(1, 2).build()},
        {"total length inside the header", Drop::BadIpLength,
         four().with_ip_length(19).udp(1, 2).build()},
        {"total length zero", Drop::BadIpLength, four().with_ip_length(0).udp(1, 2).build()},
        {"payload length past the frame", Drop::BadIpLength,
         six().with_ip_length(9).udp(1, 2).build()},
        {"header checksum", Drop::BadIpChecksum, four().with_ip_checksum(0x1234).udp(1, 2).build()},
        {"from multicast", Drop::BadIpAddress, four_from("224.0.0.1").udp(1, 2).build()},
        {"from the end of multicast", Drop::BadIpAddress,
         four_from("239.255.255.255").udp(1, 2).build()},
        {"from broadcast", Drop::BadIpAddress, four_from("255.255.255.255").udp(1, 2).build()},
        {"from loopback", Drop::BadIpAddress, four_from("127.1.2.3").udp(1, 2).build()},
        {"to loopback", Drop::BadIpAddress,
         PacketBuilder{}.ipv4("192.0.2.1", "127.0.0.1").udp(1, 2).build()},
        {"to nobody", Drop::BadIpAddress,
         PacketBuilder{}.ipv4("192.0.2.1", "0.0.0.0").udp(1, 2).build()},
        {"to itself", Drop::BadIpAddress, four_from("198.51.100.1").tcp(80, 80).build()},
        {"from IPv6 multicast", Drop::BadIpAddress, six_from("ff02::1").udp(1, 2).build()},
        {"from IPv6 loopback", Drop::BadIpAddress, six_from("::1").udp(1, 2).build()},
        {"to IPv6 loopback", Drop::BadIpAddress,
         PacketBuilder{}.ipv6("2001:db8::1", "::1").udp(1, 2).build()},
        {"to IPv6 nobody", Drop::BadIpAddress,
         PacketBuilder{}.ipv6("2001:db8::1", "::").udp(1, 2).build()},
        {"IPv6 to itself", Drop::BadIpAddress, six_from("2001:db8::2").udp(1, 2).build()},
        {"hop-by-hop not first", Drop::BadExtension,
         six().destination().hop_by_hop().udp(1, 2).build()},
        {"two fragment headers", Drop::BadExtension,
         six().fragment(0, false).fragment(0, false).udp(1, 2).build()},
        {"nine extension headers", Drop::BadExtension, nine.udp(1, 2).build()},
        {"type 0 routing", Drop::BadExtension, six().routing(0, 1).udp(1, 2).build()},
        {"an extension past the packet", Drop::Truncated,
         patched(six().destination().udp(1, 2).build(), 55, 9)},
        {"one byte of an extension", Drop::Truncated,
         six().with_ip_length(1).destination().udp(1, 2).build()},
        {"half a routing header", Drop::Truncated,
         six().with_ip_length(3).routing(2, 0).udp(1, 2).build()},
        {"half a fragment header", Drop::Truncated,
         six().with_ip_length(7).fragment(8, false).udp(1, 2).build()},
        {"a jumbogram", Drop::Truncated, six().with_ip_length(0).hop_by_hop().udp(1, 2).build()},
    };
}

std::vector<Malformed> tcp_udp() {
    return {
        {"half a TCP header", Drop::Truncated, four().l4(6, Bytes(19, 0x50)).build()},
        {"TCP data offset 3", Drop::BadTcpHeader, four().tcp(1, 2).with_data_offset(3).build()},
        {"TCP options past the packet", Drop::BadTcpHeader,
         four().tcp(1, 2).with_data_offset(6).build()},
        {"TCP checksum", Drop::BadTcpChecksum, four().tcp(1, 2).with_l4_checksum(0x1234).build()},
        {"TCP checksum over IPv6", Drop::BadTcpChecksum,
         six().tcp(1, 2).with_l4_checksum(0x1234).build()},
        {"no TCP flags", Drop::BadTcpFlags, four().tcp(1, 2).flags("").build()},
        {"SYN and FIN", Drop::BadTcpFlags, four().tcp(1, 2).flags("SF").build()},
        {"FIN alone", Drop::BadTcpFlags, four().tcp(1, 2).flags("F").build()},
        {"a Christmas tree", Drop::BadTcpFlags, four().tcp(1, 2).flags("FPU").build()},
        {"half a UDP header", Drop::Truncated, four().l4(17, Bytes(4)).build()},
        {"UDP length past the packet", Drop::BadUdpLength,
         four().udp(1, 2).with_udp_length(9).build()},
        {"UDP length inside the padding", Drop::BadUdpLength,
         four().udp(1, 2).with_udp_length(9).pad_to(60).build()},
        {"UDP length 7", Drop::BadUdpLength, four().udp(1, 2).with_udp_length(7).build()},
        {"UDP length 0", Drop::BadUdpLength, six().udp(1, 2).with_udp_length(0).build()},
        {"UDP checksum", Drop::BadUdpChecksum, four().udp(1, 2).with_l4_checksum(0x1234).build()},
        {"half a UDP-Lite header", Drop::Truncated, four().l4(136, Bytes(7)).build()},
        {"UDP-Lite coverage 7", Drop::BadUdpliteHeader, four().udplite(1, 2, 7).build()},
        {"UDP-Lite coverage past the packet", Drop::BadUdpliteHeader,
         four().udplite(1, 2, 9).build()},
        {"UDP-Lite checksum", Drop::BadUdpliteChecksum,
         four().udplite(1, 2).with_l4_checksum(0x1234).build()},
        {"UDP-Lite without checksum", Drop::BadUdpliteChecksum,
         four().udplite(1, 2).with_l4_checksum(0).build()},
    };
}

std::vector<Malformed> other_transports() {
    return {
        {"half an SCTP header", Drop::Truncated, four().l4(132, Bytes(11)).build()},
        {"SCTP without a chunk", Drop::BadSctpHeader, four().l4(132, Bytes(12)).build()},
        {"half an SCTP chunk head", Drop::BadSctpHeader, four().l4(132, Bytes(14)).build()},
        {"SCTP chunk of length 0", Drop::BadSctpHeader, four().l4(132, Bytes(16)).build()},
        {"SCTP checksum", Drop::BadSctpChecksum, four().sctp(1, 2).with_sctp_checksum(7).build()},
        {"PPTP that is not PPP", Drop::BadGreHeader,
         four().l4(47, from_hex("2001080000000007")).build()},
    };
}

std::vector<Malformed> icmp() {
    const Bytes lost = four().udp(1, 2).build_ip();
    const Bytes lost6 = six().udp(1, 2).build_ip();
    const Bytes neighbour =
        PacketBuilder{}.ipv6("fe80::1", "fe80::2").ttl(254).icmp(135, 0).payload_bytes(16).build();
    return {
        {"half an ICMP header", Drop::Truncated, four().l4(1, Bytes(7)).build()},
        {"half an ICMPv6 header", Drop::Truncated, six().l4(58, Bytes(4)).build()},
        {"ICMP checksum", Drop::BadIcmpChecksum, four().echo(1).with_l4_checksum(0x1234).build()},
        {"ICMPv6 checksum", Drop::BadIcmpChecksum, six().echo(1).with_l4_checksum(0x1234).build()},
        {"ICMP type 19", Drop::BadIcmpHeader, four().icmp(19, 0).build()},
        {"ICMP type 255", Drop::BadIcmpHeader, four().icmp(255, 0).build()},
        {"ICMP over IPv6", Drop::BadIcmpHeader, six().l4(1, Bytes(8)).build()},
        {"ICMPv6 over IPv4", Drop::BadIcmpHeader, four().l4(58, Bytes(8)).build()},
        {"a neighbour from afar", Drop::BadNeighbour, neighbour},
        {"a neighbour in fragments", Drop::BadNeighbour,
         PacketBuilder{}
             .ipv6("fe80::1", "fe80::2")
             .ttl(255)
             .fragment(0, true)
             .icmp(135, 0)
             .payload_bytes(16)
             .build()},
        {"an error about nothing", Drop::BadIcmpHeader, error_about({})},
        {"an error about half a header", Drop::BadIcmpHeader, error_about(cut(lost, 19))},
        {"an error with 3 bytes of transport", Drop::BadIcmpHeader, error_about(cut(lost, 23))},
        {"an error about version 5", Drop::BadIcmpHeader, error_about(patched(lost, 0, 0x55))},
        {"an error about a short header", Drop::BadIcmpHeader, error_about(patched(lost, 0, 0x44))},
        {"an error about options that are missing", Drop::BadIcmpHeader,
         error_about(patched(lost, 0, 0x4f))},
        {"an error about IPv6", Drop::BadIcmpHeader, error_about(lost6)},
        {"an error about a later fragment", Drop::BadIcmpHeader,
         error_about(four().fragment(16, false).l4(17, Bytes(16)).build_ip())},
        {"an error about an error", Drop::BadIcmpHeader,
         error_about(four().icmp_error(3, 1, lost).build_ip())},
        {"an error about a redirect", Drop::BadIcmpHeader,
         error_about(four().icmp_error(5, 1, lost).build_ip(), 11)},
        {"an error about half an echo", Drop::BadIcmpHeader,
         error_about(cut(four().echo(1).build_ip(), 27))},
        {"an error about ICMPv6 over IPv4", Drop::BadIcmpHeader,
         error_about(four().l4(58, Bytes(8)).build_ip())},
        {"an IPv6 error about half a header", Drop::BadIcmpHeader, error6_about(cut(lost6, 39))},
        {"an IPv6 error with 3 bytes of transport", Drop::BadIcmpHeader,
         error6_about(cut(lost6, 43))},
        {"an IPv6 error about an error", Drop::BadIcmpHeader,
         error6_about(six().icmp_error(1, 0, lost6).build_ip())},
        {"an IPv6 error about a later fragment", Drop::BadIcmpHeader,
         error6_about(six().fragment(8, false).l4(17, Bytes(16)).build_ip())},
        {"an IPv6 error about a cut extension", Drop::BadIcmpHeader,
         error6_about(cut(six().destination().udp(1, 2).build_ip(), 46))},
    };
}

std::vector<Malformed> fragments() {
    return {
        {"a first fragment with half a UDP header", Drop::BadFragment,
         four().fragment(0, true).l4(17, {}).build()},
        {"a first fragment of 12 bytes", Drop::BadFragment,
         four().fragment(0, true).l4(17, Bytes(12, 8)).build()},
        {"a later fragment of 12 bytes with more to come", Drop::BadFragment,
         four().fragment(16, true).l4(17, Bytes(12, 8)).build()},
        {"a tiny first fragment of TCP", Drop::BadFragment,
         four().fragment(0, true).l4(6, Bytes(16, 0x50)).build()},
        {"a first fragment without all TCP options", Drop::BadFragment,
         four().fragment(0, true).tcp(1, 2).with_data_offset(8).payload("four").build()},
        {"a second fragment inside the TCP header", Drop::BadFragment,
         four().fragment(8, false).l4(6, Bytes(16)).build()},
        {"an empty last fragment", Drop::BadFragment,
         four().fragment(1480, false).l4(17, {}).build()},
        {"past 65535 bytes", Drop::BadFragment,
         four().fragment(65'528, false).l4(17, Bytes(8)).build()},
        {"past 65535 bytes by the header", Drop::BadFragment,
         four().fragment(65'512, false).l4(17, Bytes(8)).build()},
        {"past 65535 bytes in IPv6", Drop::BadFragment,
         six().fragment(65'528, false).l4(17, Bytes(8)).build()},
        {"an IPv6 fragment of 12 bytes with more to come", Drop::BadFragment,
         six().fragment(16, true).l4(17, Bytes(12)).build()},
        {"an empty IPv6 fragment", Drop::BadFragment, six().fragment(16, false).l4(17, {}).build()},
        {"an IPv6 header chain cut in two", Drop::BadFragment,
         patched(six().fragment(0, true).destination().l4(17, {}).build(), 63, 9)},
        {"an IPv6 fragment without its UDP header", Drop::BadFragment,
         six().fragment(0, true).destination().l4(17, {}).build()},
    };
}

class DropReason : public testing::TestWithParam<Malformed> {};

TEST_P(DropReason, IsTheOneForWhatIsWrong) {
    auto owned = test::receive(GetParam().frame);

    const Drop reason = ct::parse(owned.packet, {});

    EXPECT_EQ(ct::name_of(reason), ct::name_of(GetParam().reason)) << GetParam().what;
    EXPECT_TRUE(owned.packet.drop == reason || owned.packet.fault == reason);
}

class Forwardable : public DropReason {};

TEST_P(Forwardable, IsInvalidAndKeepsItsAddresses) {
    auto owned = test::receive(GetParam().frame);

    static_cast<void>(ct::parse(owned.packet, {}));

    const ct::Packet& p = owned.packet;
    const bool may_be_forwarded = GetParam().reason != Drop::BadNeighbour;
    EXPECT_EQ(p.drop == Drop::None, may_be_forwarded) << GetParam().what;
    EXPECT_EQ(p.fault != Drop::None, may_be_forwarded) << GetParam().what;
    EXPECT_EQ(p.state == ct::CtState::Invalid, may_be_forwarded) << GetParam().what;
    EXPECT_EQ(test::fault_in(p), "") << GetParam().what;
    EXPECT_NE(p.tuple.src, ct::Addr{}) << GetParam().what;
}

class Impassable : public DropReason {};

TEST_P(Impassable, IsDroppedWithoutAWordOfItsState) {
    auto owned = test::receive(GetParam().frame);

    static_cast<void>(ct::parse(owned.packet, {}));

    EXPECT_EQ(owned.packet.drop, GetParam().reason) << GetParam().what;
    EXPECT_EQ(owned.packet.fault, Drop::None) << GetParam().what;
    EXPECT_EQ(owned.packet.state, ct::CtState::None) << GetParam().what;
}

INSTANTIATE_TEST_SUITE_P(TcpUdp, Forwardable, testing::ValuesIn(tcp_udp()));
INSTANTIATE_TEST_SUITE_P(Other, Forwardable, testing::ValuesIn(other_transports()));
INSTANTIATE_TEST_SUITE_P(Icmp, Forwardable, testing::ValuesIn(icmp()));
INSTANTIATE_TEST_SUITE_P(Link, Impassable, testing::ValuesIn(link_layer()));
INSTANTIATE_TEST_SUITE_P(Network, Impassable, testing::ValuesIn(network_layer()));
INSTANTIATE_TEST_SUITE_P(Fragment, Impassable, testing::ValuesIn(fragments()));
INSTANTIATE_TEST_SUITE_P(Link, DropReason, testing::ValuesIn(link_layer()));
INSTANTIATE_TEST_SUITE_P(Network, DropReason, testing::ValuesIn(network_layer()));
INSTANTIATE_TEST_SUITE_P(TcpUdp, DropReason, testing::ValuesIn(tcp_udp()));
INSTANTIATE_TEST_SUITE_P(Other, DropReason, testing::ValuesIn(other_transports()));
INSTANTIATE_TEST_SUITE_P(Icmp, DropReason, testing::ValuesIn(icmp()));
INSTANTIATE_TEST_SUITE_P(Fragment, DropReason, testing::ValuesIn(fragments()));

TEST(DropReasons, OfTheWireAreAllReached) {
    std::set<Drop> reached;
    for (const auto& table :
         {link_layer(), network_layer(), tcp_udp(), other_transports(), icmp(), fragments()})
        for (const Malformed& m : table) reached.insert(m.reason);

    // MultiSegment is the receiver's to give, and what follows BadFragment is the fragment table's.
    for (std::size_t i = 1; i < ct::index_of(Drop::MultiSegment); ++i)
        EXPECT_TRUE(reached.contains(static_cast<Drop>(i))) << ct::kDrops[i].name;
    EXPECT_TRUE(reached.contains(Drop::BadFragment));
}

}  // namespace
