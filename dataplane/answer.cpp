// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/answer.hpp"

#include "ct/wire/checksum.hpp"
#include "ct/wire/headers.hpp"
#include "ct/wire/reader.hpp"

#include <algorithm>
#include <cstring>

namespace dp::answer {
namespace {

using ct::Be16;
using ct::Be32;
using ct::Family;

inline constexpr std::size_t kEthernet = sizeof(ct::EthernetHeader);
inline constexpr MacAddress kBroadcast{0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
inline constexpr std::uint8_t kNdHopLimit = 255;        // RFC 4861 7.1
inline constexpr std::size_t kMaxIcmpError = 576;       // RFC 1812 4.3.2.3: bytes of the datagram
inline constexpr std::size_t kMaxIcmpv6Error = 1280;    // RFC 4443 2.4 (c)
inline constexpr std::uint8_t kSourceLinkLayer = 1;     // RFC 4861 4.6.1
inline constexpr std::uint8_t kTargetLinkLayer = 2;     // RFC 4861 4.6.1
inline constexpr std::uint32_t kRouterFlag = 1U << 31;  // RFC 4861 4.4
inline constexpr std::uint32_t kSolicitedFlag = 1U << 30;
inline constexpr std::uint32_t kOverrideFlag = 1U << 29;

/// Neighbour solicitation and advertisement with one link-layer address option.
struct NdPacket {
    std::uint8_t type;
    std::uint8_t code;
    Be16 checksum;
    Be32 flags;
    ct::Ipv6Bytes target;
    std::uint8_t option;
    std::uint8_t option_length;  ///< in units of 8 bytes
    MacAddress mac;
};
static_assert(sizeof(NdPacket) == 32 && ct::WireFormat<NdPacket>);

void put_ethernet(std::span<std::uint8_t> out, const MacAddress& dst, const MacAddress& src,
                  std::uint16_t type) noexcept {
    ct::store(out.data(), ct::EthernetHeader{dst, src, Be16::from_host(type)});
}

/// What an IP header of Sluice's own says.
struct IpSpec {
    Family family = Family::None;
    ct::Addr src;
    ct::Addr dst;
    std::uint8_t proto = 0;
    std::uint8_t ttl = kTtl;
    std::uint8_t tos = 0;
    std::uint16_t id = 0;        ///< IPv4
    bool dont_fragment = false;  ///< IPv4
};

[[nodiscard]] constexpr std::size_t ip_bytes(Family family) noexcept {
    return family == Family::Ipv4 ? sizeof(ct::Ipv4Header) : sizeof(ct::Ipv6Header);
}

/// Writes Ethernet and IP headers for a transport part of `size` bytes.
void put_ip(std::span<std::uint8_t> out, const IpSpec& spec, std::size_t size) noexcept {
    std::uint8_t* at = out.data() + kEthernet;
    if (spec.family == Family::Ipv4) {
        put_ethernet(out, {}, {}, ct::ethertype::kIpv4);
        ct::Ipv4Header ip{};
        ip.version_ihl = 0x45;
        ip.tos = spec.tos;
        ip.total_length = Be16::from_host(static_cast<std::uint16_t>(sizeof ip + size));
        ip.id = Be16::from_host(spec.id);
        if (spec.dont_fragment) ip.flags_offset = Be16::from_host(ct::Ipv4Header::kDontFragment);
        ip.ttl = spec.ttl;
        ip.protocol = spec.proto;
        ip.src = spec.src.as_v4();
        ip.dst = spec.dst.as_v4();
        ct::store(at, ip);
        ip.checksum = ct::internet_checksum({at, sizeof ip});
        ct::store(at, ip);
        return;
    }
    put_ethernet(out, {}, {}, ct::ethertype::kIpv6);
    ct::Ipv6Header ip{};
    ip.version_class_flow = Be32::from_host(6U << 28U | std::uint32_t{spec.tos} << 20U);
    ip.payload_length = Be16::from_host(static_cast<std::uint16_t>(size));
    ip.next_header = spec.proto;
    ip.hop_limit = spec.ttl;
    ip.src = spec.src.bytes;
    ip.dst = spec.dst.bytes;
    ct::store(at, ip);
}

/// Completes the ICMP checksum of a whole frame that put_ip() began; ICMPv6 has a pseudo-header.
void finish_icmp(std::span<std::uint8_t> frame, const IpSpec& spec) noexcept {
    const auto message = frame.subspan(kEthernet + ip_bytes(spec.family));
    auto head = ct::load<ct::IcmpHeader>(message.data());
    head.checksum = {};
    ct::store(message.data(), head);
    head.checksum =
        spec.family == Family::Ipv4
            ? ct::internet_checksum(message)
            : ct::transport_checksum(spec.src, spec.dst, spec.family, spec.proto, message);
    ct::store(message.data(), head);
}

[[nodiscard]] std::size_t put_arp(std::span<std::uint8_t> out, std::uint16_t operation,
                                  const Endpoint& self, const Endpoint& target,
                                  const MacAddress& to) noexcept {
    if (out.size() < kEthernet + sizeof(ct::ArpHeader)) return 0;
    put_ethernet(out, to, self.mac, ct::ethertype::kArp);
    ct::ArpHeader arp{};
    arp.hardware = Be16::from_host(ct::ArpHeader::kEthernet);
    arp.protocol = Be16::from_host(ct::ethertype::kIpv4);
    arp.hardware_size = 6;
    arp.protocol_size = 4;
    arp.operation = Be16::from_host(operation);
    arp.sender_mac = self.mac;
    arp.target_mac = target.mac;
    std::copy_n(self.address.bytes.begin(), 4, arp.sender_ip.begin());
    std::copy_n(target.address.bytes.begin(), 4, arp.target_ip.begin());
    ct::store(out.data() + kEthernet, arp);
    return kEthernet + sizeof arp;
}

/// The group that `target` listens to for its own sake (RFC 4291 2.7.1), and its MAC (RFC 2464 7).
[[nodiscard]] ct::Addr solicited_node(const ct::Addr& target) noexcept {
    ct::Addr group{{0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff}};
    std::copy_n(target.bytes.begin() + 13, 3, group.bytes.begin() + 13);
    return group;
}
[[nodiscard]] MacAddress group_mac(const ct::Addr& group) noexcept {
    return {0x33, 0x33, group.bytes[12], group.bytes[13], group.bytes[14], group.bytes[15]};
}

[[nodiscard]] std::size_t put_nd(std::span<std::uint8_t> out, const NdPacket& nd,
                                 const Endpoint& self, const Endpoint& to) noexcept {
    const std::size_t size = kEthernet + sizeof(ct::Ipv6Header) + sizeof nd;
    if (out.size() < size) return 0;
    const IpSpec spec{.family = Family::Ipv6,
                      .src = self.address,
                      .dst = to.address,
                      .proto = ct::ipproto::kIcmpv6,
                      .ttl = kNdHopLimit};
    put_ip(out, spec, sizeof nd);
    put_ethernet(out, to.mac, self.mac, ct::ethertype::kIpv6);
    ct::store(out.data() + kEthernet + sizeof(ct::Ipv6Header), nd);
    finish_icmp(out.first(size), spec);
    return size;
}

/// The first link-layer address among the options of an ND message. False if an option is
/// malformed (RFC 4861 7.1: length zero).
[[nodiscard]] bool read_options(ct::Reader in, std::uint8_t wanted,
                                std::optional<MacAddress>& mac) noexcept {
    struct Option {
        std::uint8_t type;
        std::uint8_t length;
        MacAddress mac;
    };
    static_assert(sizeof(Option) == 8);
    while (in.left() > 0) {
        Option option;
        if (!in.peek(option) || option.length == 0) return false;
        if (!in.skip(std::size_t{option.length} * 8)) return false;
        if (option.type == wanted && !mac.has_value()) mac = option.mac;
    }
    return true;
}

struct TypeCode {
    std::uint8_t type;
    std::uint8_t code;
};

[[nodiscard]] TypeCode type_of(Complaint why, Family family) noexcept {
    const bool four = family == Family::Ipv4;
    switch (why) {
        case Complaint::NoRoute:
            return four ? TypeCode{3, 0} : TypeCode{1, 0};
        case Complaint::HostUnreachable:
            return four ? TypeCode{3, 1} : TypeCode{1, 3};
        case Complaint::ProtocolUnreachable:
            return four ? TypeCode{3, 2} : TypeCode{4, 1};
        case Complaint::PortUnreachable:
            return four ? TypeCode{3, 3} : TypeCode{1, 4};
        case Complaint::TooBig:
            return four ? TypeCode{3, 4} : TypeCode{2, 0};
        case Complaint::TimeExceeded:
            return four ? TypeCode{11, 0} : TypeCode{3, 0};
        case Complaint::Prohibited:
            return four ? TypeCode{3, 13} : TypeCode{1, 1};
    }
    return {3, 1};
}

/// The second word of an error: an MTU (RFC 1191 4, RFC 4443 3.2), the place of the unknown next
/// header (RFC 4443 3.4), or zero.
[[nodiscard]] std::uint32_t second_word(Complaint why, const ct::Packet& p,
                                        std::uint32_t mtu) noexcept {
    if (why == Complaint::TooBig) return mtu;
    static constexpr std::uint32_t kNextHeaderOffset = 6;  // RFC 8200 3; extensions are not walked
    const bool pointer = why == Complaint::ProtocolUnreachable && p.tuple.family == Family::Ipv6;
    return pointer ? kNextHeaderOffset : 0;
}

[[nodiscard]] bool is_icmp_error_type(const ct::Packet& p) noexcept {
    if (p.tuple.proto == ct::ipproto::kIcmpv6)
        return p.message_type < ct::icmpv6::kFirstInformational ||
               p.message_type == ct::icmpv6::kRedirect;
    if (p.tuple.proto != ct::ipproto::kIcmp) return false;
    return p.message_type == ct::icmp::kUnreachable || p.message_type == ct::icmp::kSourceQuench ||
           p.message_type == ct::icmp::kRedirect || p.message_type == ct::icmp::kTimeExceeded ||
           p.message_type == ct::icmp::kParameterProblem;
}

}  // namespace

std::size_t arp_request(std::span<std::uint8_t> out, const Endpoint& self, const ct::Addr& target,
                        const MacAddress& to) noexcept {
    return put_arp(out, ct::ArpHeader::kRequest, self, {.mac = {}, .address = target}, to);
}

std::size_t arp_reply(std::span<std::uint8_t> out, const Endpoint& self,
                      const Endpoint& to) noexcept {
    return put_arp(out, ct::ArpHeader::kReply, self, to, to.mac);
}

std::size_t neighbour_solicitation(std::span<std::uint8_t> out, const Endpoint& self,
                                   const ct::Addr& target, const MacAddress* known) noexcept {
    const NdPacket nd{.type = ct::icmpv6::kNeighbourSolicitation,
                      .code = 0,
                      .checksum = {},
                      .flags = {},
                      .target = target.bytes,
                      .option = kSourceLinkLayer,
                      .option_length = 1,
                      .mac = self.mac};
    if (known != nullptr) return put_nd(out, nd, self, {*known, target});
    const ct::Addr group = solicited_node(target);
    return put_nd(out, nd, self, {group_mac(group), group});
}

std::size_t neighbour_advertisement(std::span<std::uint8_t> out, const Endpoint& self,
                                    const Endpoint& to) noexcept {
    static constexpr ct::Addr kAllNodes{{0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};
    const bool nameless = to.address == ct::Addr{};
    const std::uint32_t solicited = nameless ? 0 : kSolicitedFlag;
    const NdPacket nd{.type = ct::icmpv6::kNeighbourAdvertisement,
                      .code = 0,
                      .checksum = {},
                      .flags = Be32::from_host(kRouterFlag | kOverrideFlag | solicited),
                      .target = self.address.bytes,
                      .option = kTargetLinkLayer,
                      .option_length = 1,
                      .mac = self.mac};
    return put_nd(out, nd, self, nameless ? Endpoint{group_mac(kAllNodes), kAllNodes} : to);
}

std::optional<NdMessage> read_nd(const ct::Packet& p) noexcept {
    struct Head {
        std::uint8_t type;
        std::uint8_t code;
        Be16 checksum;
        Be32 flags;
        ct::Ipv6Bytes target;
    };
    static_assert(sizeof(Head) == 24);
    const auto ip = ct::load<ct::Ipv6Header>(p.data + p.l3_offset);
    ct::Reader in{p.bytes().subspan(p.l4_offset, p.end - p.l4_offset)};
    Head head;
    if (ip.hop_limit != kNdHopLimit || !in.take(head) || head.code != 0) return std::nullopt;
    NdMessage out{.target = {head.target}, .mac = {}, .solicited = false};
    if (out.target.bytes[0] == 0xff) return std::nullopt;
    const bool asks = head.type == ct::icmpv6::kNeighbourSolicitation;
    if (!read_options(in, asks ? kSourceLinkLayer : kTargetLinkLayer, out.mac)) return std::nullopt;
    out.solicited = !asks && (head.flags.host() & kSolicitedFlag) != 0;
    const bool to_group = p.tuple.dst.bytes[0] == 0xff;
    if (!asks && out.solicited && to_group) return std::nullopt;
    if (asks && p.tuple.src == ct::Addr{}) {
        const bool detection = !out.mac.has_value() && p.tuple.dst == solicited_node(out.target);
        if (!detection) return std::nullopt;
    }
    return out;
}

std::size_t echo_reply(std::span<std::uint8_t> out, const ct::Packet& p, const ct::Addr& self,
                       std::uint16_t ip_id) noexcept {
    const std::size_t size = p.end - p.l4_offset;
    const std::size_t head = kEthernet + ip_bytes(p.tuple.family);
    if (out.size() < head + size) return 0;
    const bool four = p.tuple.family == Family::Ipv4;
    // RFC 1122 3.2.2.6: a reply has the request's type of service.
    const std::uint8_t tos = four ? p.data[p.l3_offset + 1] : std::uint8_t{0};
    const IpSpec spec{.family = p.tuple.family,
                      .src = self,
                      .dst = p.tuple.src,
                      .proto = p.tuple.proto,
                      .tos = tos,
                      .id = ip_id};
    put_ip(out, spec, size);
    std::memcpy(out.data() + head, p.data + p.l4_offset, size);
    out[head] = four ? ct::icmp::kEchoReply : ct::icmpv6::kEchoReply;
    finish_icmp(out.first(head + size), spec);
    return head + size;
}

bool may_complain_about(const ct::Packet& p) noexcept {
    if (p.tuple.family == Family::None || p.fragment == ct::Fragment::Later) return false;
    if (is_icmp_error_type(p) || p.fault != ct::Drop::None) return false;
    const bool group_frame = (p.data[0] & 1U) != 0;
    const std::uint8_t src = p.tuple.src.bytes[0];
    const std::uint8_t dst = p.tuple.dst.bytes[0];
    if (p.tuple.family == Family::Ipv6)
        return !group_frame && dst != 0xff && p.tuple.src != ct::Addr{};
    return !group_frame && src != 0 && src != 127 && src < 224 && dst < 224;
}

std::size_t icmp_error(std::span<std::uint8_t> out, const ct::Packet& p, Complaint why,
                       std::uint32_t mtu, const ct::Addr& self, std::uint16_t ip_id) noexcept {
    const bool four = p.tuple.family == Family::Ipv4;
    const std::size_t head = ip_bytes(p.tuple.family) + sizeof(ct::IcmpHeader);
    const std::size_t room = (four ? kMaxIcmpError : kMaxIcmpv6Error) - head;
    const std::size_t quoted = std::min<std::size_t>(p.end - p.l3_offset, room);
    const std::size_t size = kEthernet + head + quoted;
    if (out.size() < size) return 0;
    const IpSpec spec{.family = p.tuple.family,
                      .src = self,
                      .dst = p.tuple.src,
                      .proto = four ? ct::ipproto::kIcmp : ct::ipproto::kIcmpv6,
                      .tos = four ? std::uint8_t{0xc0} : std::uint8_t{0},  // RFC 1812 4.3.2.5
                      .id = ip_id};
    put_ip(out, spec, sizeof(ct::IcmpHeader) + quoted);
    const TypeCode kind = type_of(why, p.tuple.family);
    const std::uint32_t word = second_word(why, p, mtu);
    const ct::IcmpHeader icmp{.type = kind.type,
                              .code = kind.code,
                              .checksum = {},
                              .id = Be16::from_host(static_cast<std::uint16_t>(word >> 16U)),
                              .sequence = Be16::from_host(static_cast<std::uint16_t>(word))};
    ct::store(out.data() + kEthernet + ip_bytes(p.tuple.family), icmp);
    std::memcpy(out.data() + kEthernet + head, p.data + p.l3_offset, quoted);
    finish_icmp(out.first(size), spec);
    return size;
}

std::size_t tcp_reset(std::span<std::uint8_t> out, const ct::Packet& p) noexcept {
    const std::size_t head = kEthernet + ip_bytes(p.tuple.family);
    const std::size_t size = head + sizeof(ct::TcpHeader);
    if ((p.tcp_flags & ct::tcpflag::kRst) != 0 || out.size() < size) return 0;
    const IpSpec spec{.family = p.tuple.family,
                      .src = p.tuple.dst,
                      .dst = p.tuple.src,
                      .proto = ct::ipproto::kTcp,
                      .dont_fragment = true};  // so that it needs no id (RFC 6864 4.1)
    put_ip(out, spec, sizeof(ct::TcpHeader));
    ct::TcpHeader tcp{};
    tcp.sport = p.tuple.dport;
    tcp.dport = p.tuple.sport;
    tcp.offset_reserved = sizeof(ct::TcpHeader) / 4 << 4U;
    tcp.flags = ct::tcpflag::kRst;
    if ((p.tcp_flags & ct::tcpflag::kAck) != 0) {
        tcp.seq = Be32::from_host(p.tcp_ack);
    } else {
        // SEG.LEN counts SYN and FIN (RFC 9293 3.4).
        const std::uint32_t syn = (p.tcp_flags & ct::tcpflag::kSyn) != 0 ? 1 : 0;
        const std::uint32_t fin = (p.tcp_flags & ct::tcpflag::kFin) != 0 ? 1 : 0;
        tcp.ack = Be32::from_host(p.tcp_seq + (p.end - p.payload_offset) + syn + fin);
        tcp.flags = static_cast<std::uint8_t>(tcp.flags | ct::tcpflag::kAck);
    }
    ct::store(out.data() + head, tcp);
    tcp.checksum = ct::transport_checksum(spec.src, spec.dst, spec.family, spec.proto,
                                          out.subspan(head, sizeof tcp));
    ct::store(out.data() + head, tcp);
    return size;
}

}  // namespace dp::answer
