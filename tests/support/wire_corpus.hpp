// SPDX-License-Identifier: BSD-3-Clause
//
// One valid frame of every kind that parse() knows. The truncation test cuts them, the mutation
// test breaks them, and the fuzzers start from them.
#pragma once

#include "tests/support/packet_builder.hpp"

#include <string>
#include <vector>

namespace test {

struct NamedFrame {
    std::string name;  ///< fit for a file name
    Bytes bytes;
};

namespace detail {

inline PacketBuilder four() {
    return PacketBuilder{}.ipv4("192.0.2.1", "198.51.100.1");
}
inline PacketBuilder six() {
    return PacketBuilder{}.ipv6("2001:db8::1", "2001:db8:1::1");
}
/// What comes back from a host on the way, or from the destination.
inline PacketBuilder four_back() {
    return PacketBuilder{}.ipv4("203.0.113.9", "192.0.2.1");
}
inline PacketBuilder six_back() {
    return PacketBuilder{}.ipv6("2001:db8:9::9", "2001:db8::1");
}
inline Bytes cut(Bytes bytes, std::size_t size) {
    bytes.resize(std::min(bytes.size(), size));
    return bytes;
}
inline const Bytes kMssAndScale{2, 4, 5, 0xb4, 4, 2, 1, 3, 3, 7};

inline void add_transports(std::vector<NamedFrame>& out, const std::string& family,
                           const PacketBuilder& ip) {
    const auto add = [&](const std::string& name, PacketBuilder b) {
        out.push_back({family + "_" + name, b.build()});
    };
    const auto of = [&] { return PacketBuilder{ip}; };
    add("tcp_syn", of().tcp(40000, 80).flags("S").tcp_options(kMssAndScale));
    add("tcp_synack", of().tcp(80, 40000).flags("SA").ack(1001).tcp_options(kMssAndScale));
    add("tcp_data", of().tcp(40000, 80).flags("PA").ack(1).payload("GET / HTTP/1.0\r\n\r\n"));
    add("tcp_fin", of().tcp(40000, 80).flags("FA").ack(1));
    add("tcp_rst", of().tcp(40000, 80).flags("R"));
    add("tcp_padded", of().tcp(40000, 80).flags("A").pad_to(90));
    add("udp", of().udp(50000, 53).payload("question"));
    add("udp_odd", of().udp(50000, 53).payload("odd"));
    add("udp_empty", of().udp(50000, 53));
    add("udplite_all", of().udplite(50000, 9999).payload("covered"));
    add("udplite_head", of().udplite(50000, 9999, 8).payload("not covered"));
    add("sctp_data", of().sctp(40000, 5000).payload("chunk"));
    add("sctp_init", of().sctp(40000, 5000, 0).chunk(1, Bytes(16, 1)));
    add("sctp_two_chunks", of().sctp(40000, 5000).chunk(10, Bytes(5, 2)).chunk(0, Bytes(13, 3), 3));
    add("gre", of().gre(0x0800).payload("inside"));
    add("gre_key", of().gre(0x0800, 1234).payload("inside"));
    add("gre_pptp", of().pptp(7, 4).payload("ppp!"));
    add("dccp", of().l4(ct::ipproto::kDccp, Bytes(16, 1)));
    add("esp", of().l4(50, Bytes(32, 7)));
    add("ospf", of().l4(89, Bytes(24, 2)));
    add("empty_253", of().l4(253, {}));
    add("echo", of().echo(0x1234).payload("ping"));
    add("echo_reply", of().echo_reply(0x1234).payload("ping"));
    add("vlan", PacketBuilder{ip}.vlan(7).udp(1, 2).payload("x"));
    add("qinq", PacketBuilder{ip}.qinq(100).vlan(7).tcp(1, 2).flags("A"));
}

inline void add_ipv4(std::vector<NamedFrame>& out) {
    const auto add = [&](const std::string& name, PacketBuilder b) {
        out.push_back({"ipv4_" + name, b.build()});
    };
    const Bytes lost_tcp = four().tcp(40000, 80).payload("lost").build_ip();
    const Bytes lost_udp = four().ip_options({0x94, 4, 0, 0}).udp(50000, 53).build_ip();
    const Bytes lost_echo = four().echo(77).payload("lost").build_ip();
    add("options", four().ip_options({0x94, 4, 0, 0, 1, 1}).udp(1, 2).payload("alert"));
    add("udp_no_checksum", four().udp(1, 2).payload("none").with_l4_checksum(0));
    add("timestamp", four().icmp(13, 0, 9, 1).payload("------------"));
    add("router_advertisement", PacketBuilder{}.ipv4("192.0.2.1", "224.0.0.1").icmp(9, 0));
    add("igmp", PacketBuilder{}.ipv4("192.0.2.1", "224.0.0.22").l4(2, Bytes(8, 0)));
    add("unreachable_udp", four_back().icmp_error(3, 1, lost_udp));
    add("unreachable_cut", four_back().icmp_error(3, 3, cut(lost_tcp, 28)));
    add("too_big", four_back().icmp_error(3, 4, lost_tcp));
    add("source_quench", four_back().icmp_error(4, 0, lost_tcp));
    add("redirect", four_back().icmp_error(5, 1, lost_udp));
    add("exceeded_echo", four_back().icmp_error(11, 0, lost_echo));
    add("parameter_gre", four_back().icmp_error(12, 0, four().pptp(7).build_ip()));
    add("exceeded_253", four_back().icmp_error(11, 0, four().l4(253, {}).build_ip()));
    add("fragment_first", four().fragment(0, true).l4(17, Bytes(16, 0x08)));
    add("fragment_middle", four().fragment(16, true).l4(17, Bytes(24, 5)));
    add("fragment_last", four().fragment(40, false).l4(17, Bytes(3, 5)));
    out.push_back({"arp_request", PacketBuilder{}.arp(1, "192.0.2.1", "192.0.2.2").build()});
    out.push_back(
        {"arp_reply_padded", PacketBuilder{}.arp(2, "192.0.2.1", "192.0.2.2").pad_to(60).build()});
}

inline void add_ipv6(std::vector<NamedFrame>& out) {
    const auto add = [&](const std::string& name, PacketBuilder b) {
        out.push_back({"ipv6_" + name, b.build()});
    };
    const Bytes lost_tcp = six().tcp(40000, 80).payload("lost").build_ip();
    const Bytes lost_udp = six().destination().udp(50000, 53).build_ip();
    const Bytes lost_echo = six().echo(77).build_ip();
    const auto link = [] { return PacketBuilder{}.ipv6("fe80::1", "ff02::1").ttl(255); };
    add("hop_by_hop", six().hop_by_hop().udp(1, 2).payload("x"));
    add("extensions", six().hop_by_hop().destination().routing(2, 0).destination().tcp(1, 2));
    add("routing_on", six().routing(4, 1).udp(1, 2).with_l4_checksum(0x1111));
    add("authentication", six().authentication().tcp(1, 2));
    add("no_next_header", six().l4(59, {}));
    add("atomic_fragment", six().fragment(0, false).udp(1, 2).payload("x"));
    add("fragment_first", six().fragment(0, true).l4(17, Bytes(16, 0x08)));
    add("fragment_first_options", six().fragment(0, true).destination().l4(17, Bytes(16, 0x08)));
    add("fragment_later", six().fragment(16, false).l4(17, Bytes(5, 5)));
    add("unreachable_udp", six_back().icmp_error(1, 4, lost_udp));
    add("too_big", six_back().icmp_error(2, 0, lost_tcp));
    add("exceeded_echo", six_back().icmp_error(3, 0, lost_echo));
    add("parameter_cut", six_back().icmp_error(4, 1, cut(lost_tcp, 48)));
    add("unreachable_fragment",
        six_back().icmp_error(1, 0, six().fragment(0, true).udp(1, 2).payload("x").build_ip()));
    add("router_solicitation", link().icmp(133, 0));
    add("neighbour_solicitation", link().icmp(135, 0).payload_bytes(16));
    add("neighbour_advertisement", link().icmp(136, 0).payload_bytes(24));
    add("mld_query", link().ttl(1).hop_by_hop().icmp(130, 0).payload_bytes(16));
    add("mldv2_report", link().ttl(1).hop_by_hop().icmp(143, 0).payload_bytes(20));
    add("node_information", six().icmp(139, 0, 5, 6).payload_bytes(8));
}

}  // namespace detail

/// The corpus, in a fixed order; names are unique.
[[nodiscard]] inline std::vector<NamedFrame> wire_corpus() {
    std::vector<NamedFrame> out;
    detail::add_transports(out, "ipv4", detail::four());
    detail::add_transports(out, "ipv6", detail::six());
    detail::add_ipv4(out);
    detail::add_ipv6(out);
    return out;
}

}  // namespace test
