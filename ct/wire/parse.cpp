// SPDX-License-Identifier: BSD-3-Clause
#include "ct/wire/parse.hpp"

#include "ct/wire/checksum.hpp"
#include "ct/wire/headers.hpp"
#include "ct/wire/network.hpp"
#include "ct/wire/reader.hpp"
#include "ct/wire/transport.hpp"

#include <cassert>
#include <cstddef>

namespace ct {
namespace {

inline constexpr std::size_t kMaxTags =
    2;  // IEEE 802.1ad: one of the provider, one of the customer

/// Makes `p` as if it had never been parsed, but for the zone.
void reset(Packet& p) noexcept {
    const std::uint16_t zone = p.tuple.zone;
    p.tuple = {};
    p.tuple.zone = zone;
    p.l3_offset = 0;
    p.l4_offset = 0;
    p.end = 0;
    p.ethertype = 0;
    p.payload_offset = 0;
    p.inner_l3_offset = 0;
    p.inner_l4_offset = 0;
    p.fragment = Fragment::Whole;
    p.tcp_flags = 0;
    p.message_type = 0;
    p.message_code = 0;
    p.tcp_window = 0;
    p.tcp_seq = 0;
    p.tcp_ack = 0;
    if (p.icmp_error) p.inner = {};
    p.icmp_error = false;
    p.never_tracked = false;
    p.fault = Drop::None;
}

[[nodiscard]] constexpr bool is_tag(std::uint16_t type) noexcept {
    return type == ethertype::kVlan || type == ethertype::kQinq;
}

/// The Ethernet header and up to two tags; leaves the cursor at the network header.
[[nodiscard]] Drop parse_link(Packet& p, Reader& in) noexcept {
    EthernetHeader ethernet;
    if (!in.take(ethernet)) return Drop::Truncated;
    std::uint16_t type = ethernet.type.host();
    for (std::size_t tags = 0; is_tag(type); ++tags) {
        if (tags == kMaxTags) return Drop::BadEtherType;
        VlanTag tag;
        if (!in.take(tag)) return Drop::Truncated;
        type = tag.type.host();
    }
    p.ethertype = type;
    p.l3_offset = static_cast<std::uint16_t>(in.offset());
    return Drop::None;
}

/// True if a station may call this address its own (RFC 1812 3.3.2 for the MAC).
[[nodiscard]] bool sender_is_station(const ArpHeader& arp) noexcept {
    const bool group_mac = (arp.sender_mac[0] & 1U) != 0;
    const std::uint8_t first = arp.sender_ip[0];
    return !group_mac && first != 127 && first < 224;
}

[[nodiscard]] Drop parse_arp(Packet& p, Reader& in) noexcept {
    ArpHeader arp;
    if (!in.take(arp)) return Drop::Truncated;
    const bool ethernet_ipv4 = arp.hardware.host() == ArpHeader::kEthernet &&
                               arp.protocol.host() == ethertype::kIpv4 && arp.hardware_size == 6 &&
                               arp.protocol_size == 4;
    const std::uint16_t operation = arp.operation.host();
    const bool known = operation == ArpHeader::kRequest || operation == ArpHeader::kReply;
    if (!ethernet_ipv4 || !known || !sender_is_station(arp)) return Drop::BadArp;
    p.l4_offset = static_cast<std::uint16_t>(in.offset());
    p.payload_offset = p.l4_offset;
    p.end = static_cast<std::uint32_t>(in.offset());
    return Drop::None;
}

/// The IPv4 header's own checksum (RFC 1812 5.2.2: a router checks it).
[[nodiscard]] Drop check_header_sum(const Packet& p) noexcept {
    if (p.ip_check == HwCheck::Good) return Drop::None;
    if (p.ip_check == HwCheck::Bad) return Drop::BadIpChecksum;
    const auto header = p.bytes().subspan(p.l3_offset, std::size_t{p.l4_offset} - p.l3_offset);
    return sum_is_valid(sum_bytes(header)) ? Drop::None : Drop::BadIpChecksum;
}

/// Whether the transport checksum can be known and has to be. A fragment has only a part of what it
/// covers, so not even the port's opinion counts.
[[nodiscard]] Check how_to_check(const Packet& p, const IpInfo& ip,
                                 const ParseOptions& options) noexcept {
    if (!options.checksum || p.fragment != Fragment::Whole || ip.final_destination_unknown)
        return Check::Skip;
    switch (p.l4_check) {
        case HwCheck::Good:
            return Check::Skip;
        case HwCheck::Bad:
            return Check::Bad;
        default:
            return Check::Verify;
    }
}

/// True if a router may forward a packet although this is wrong with its transport header: the
/// receiver will see to it, and Linux calls it INVALID. Neighbour discovery from afar is forged.
[[nodiscard]] constexpr bool may_be_forwarded(Drop wrong) noexcept {
    return wrong != Drop::None && wrong != Drop::BadNeighbour;
}

[[nodiscard]] Drop parse_ip(Packet& p, Reader& in, const ParseOptions& options) noexcept {
    const bool four = p.ethertype == ethertype::kIpv4;
    IpInfo ip;
    const Drop drop = four ? read_ipv4(in, Extent::Whole, p.tuple, ip)
                           : read_ipv6(in, Extent::Whole, p.tuple, ip);
    p.fragment = ip.fragment();
    if (drop != Drop::None) {
        // RFC 7112 5: a first fragment holds every header, or it is there to deceive.
        const bool cut_headers = drop == Drop::Truncated && p.fragment == Fragment::First;
        return cut_headers ? Drop::BadFragment : drop;
    }
    p.l4_offset = static_cast<std::uint16_t>(in.offset());
    p.end = static_cast<std::uint32_t>(in.offset() + in.left());
    if (four) {
        if (const Drop d = check_header_sum(p); d != Drop::None) return d;
    }
    if (const Drop d = check_addresses(p.tuple); d != Drop::None) return d;
    if (p.fragment != Fragment::Whole) {
        const Drop d = check_fragment(p.tuple, ip, p.l3_offset, p.end);
        if (d != Drop::None) return d;
    }
    p.payload_offset = p.l4_offset;
    if (p.fragment == Fragment::Later) return Drop::None;
    const Drop wrong = parse_transport(p, in, ip, how_to_check(p, ip, options));
    if (p.fragment != Fragment::Whole || !may_be_forwarded(wrong)) return wrong;
    p.fault = wrong;
    p.state = CtState::Invalid;
    return Drop::None;
}

/// What most packets are: TCP in one IPv4 packet without options, in an Ethernet frame without
/// tags. True if it is that and there is nothing wrong with it: then p is as parse_frame() would
/// make it. False: nothing is said about it, and p is untouched but for its offsets.
[[nodiscard]] bool parse_plain_tcp(Packet& p, const ParseOptions& options) noexcept {
    constexpr std::size_t kIp = sizeof(EthernetHeader);
    constexpr std::size_t kTcp = kIp + sizeof(Ipv4Header);
    if (p.length < kTcp + sizeof(TcpHeader)) return false;
    const std::uint8_t* const at = p.data;
    const auto ip = load<Ipv4Header>(at + kIp);
    const auto tcp = load<TcpHeader>(at + kTcp);
    constexpr Be16 kFragmented =
        Be16::from_host(Ipv4Header::kMoreFragments | Ipv4Header::kOffsetMask);
    const bool plain =
        load<Be16>(at + offsetof(EthernetHeader, type)) == Be16::from_host(ethertype::kIpv4) &&
        ip.version_ihl == 0x45 && ip.protocol == ipproto::kTcp &&
        (ip.flags_offset.raw() & kFragmented.raw()) == 0;
    const std::size_t total = ip.total_length.host();
    const std::size_t headers = sizeof ip + tcp.header_bytes();
    if (!plain || total > p.length - kIp || tcp.header_bytes() < sizeof tcp || headers > total ||
        !tcp_flags_are_legal(tcp.flags) || !ipv4_addresses_are_sound(ip.src, ip.dst))
        return false;

    p.ethertype = ethertype::kIpv4;
    p.l3_offset = kIp;
    p.l4_offset = kTcp;
    p.payload_offset = static_cast<std::uint16_t>(kIp + headers);
    p.end = static_cast<std::uint32_t>(kIp + total);
    p.fragment = Fragment::Whole;
    p.tuple.src = Addr::v4(ip.src);
    p.tuple.dst = Addr::v4(ip.dst);
    p.tuple.sport = tcp.sport;
    p.tuple.dport = tcp.dport;
    p.tuple.proto = ipproto::kTcp;
    p.tuple.family = Family::Ipv4;
    if (check_header_sum(p) != Drop::None) return false;
    switch (how_to_check(p, IpInfo{}, options)) {
        case Check::Skip:
            break;
        case Check::Bad:
            return false;
        case Check::Verify: {
            const std::span<const std::uint8_t> segment{at + kTcp, total - sizeof ip};
            const PartialSum pseudo =
                pseudo_sum(p.tuple.src, p.tuple.dst, Family::Ipv4, ipproto::kTcp,
                           static_cast<std::uint32_t>(segment.size()));
            if (!sum_is_valid(add_sums(pseudo, sum_bytes(segment)))) return false;
        }
    }
    p.tcp_flags = tcp.flags;
    p.tcp_window = tcp.window.host();
    p.tcp_seq = tcp.seq.host();
    p.tcp_ack = tcp.ack.host();
    p.inner_l3_offset = 0;
    p.inner_l4_offset = 0;
    p.message_type = 0;
    p.message_code = 0;
    p.icmp_error = false;
    p.never_tracked = false;
    p.fault = Drop::None;
    return true;
}

[[nodiscard]] Drop parse_frame(Packet& p, const ParseOptions& options) noexcept {
    Reader in{p.bytes()};
    if (const Drop d = parse_link(p, in); d != Drop::None) return d;
    switch (p.ethertype) {
        case ethertype::kIpv4:
        case ethertype::kIpv6:
            return parse_ip(p, in, options);
        case ethertype::kArp:
            return parse_arp(p, in);
        default:
            return Drop::BadEtherType;
    }
}

}  // namespace

Drop parse(Packet& p, const ParseOptions& options) noexcept {
    if (parse_plain_tcp(p, options)) {
        p.drop = Drop::None;
    } else {
        reset(p);
        p.drop = parse_frame(p, options);
    }
    assert(p.fault == Drop::None || p.drop == Drop::None);
    assert(p.drop != Drop::None || (p.l3_offset < p.l4_offset && p.l4_offset <= p.payload_offset &&
                                    p.payload_offset <= p.end && p.end <= p.length));
    return p.drop != Drop::None ? p.drop : p.fault;
}

void parse(std::span<Packet> packets, const ParseOptions& options) noexcept {
    for (Packet& p : packets)
        if (p.drop == Drop::None) static_cast<void>(parse(p, options));
}

}  // namespace ct
