// SPDX-License-Identifier: BSD-3-Clause
//
// Headers as they stand on the wire. A packet may lie at any address (a VLAN tag moves everything
// behind it by four bytes), so nobody points one of these at packet bytes: they are copied out with
// Reader::take() or load() and copied back with store(). The compiler turns either into plain
// moves.
#pragma once

#include "ct/base/byteorder.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace ct {

/// What may be copied between a packet and a variable byte by byte.
template <class T>
concept WireFormat = std::is_trivially_copyable_v<T> && std::is_standard_layout_v<T>;

/// Copies a T out of packet bytes; the caller knows that sizeof(T) bytes are there.
template <WireFormat T>
[[nodiscard]] inline T load(const std::uint8_t* at) noexcept {
    T out;
    std::memcpy(&out, at, sizeof out);
    return out;
}

/// Copies a T into packet bytes; the caller knows that sizeof(T) bytes are there.
template <WireFormat T>
inline void store(std::uint8_t* at, const T& value) noexcept {
    std::memcpy(at, &value, sizeof value);
}

/// EtherTypes (IANA ieee-802-numbers).
namespace ethertype {
inline constexpr std::uint16_t kIpv4 = 0x0800;
inline constexpr std::uint16_t kArp = 0x0806;
inline constexpr std::uint16_t kVlan = 0x8100;  ///< IEEE 802.1Q customer tag
inline constexpr std::uint16_t kIpv6 = 0x86dd;
inline constexpr std::uint16_t kQinq = 0x88a8;  ///< IEEE 802.1ad service tag
}  // namespace ethertype

/// IPv6 extension header numbers (RFC 8200 4.1, RFC 4302) and those that parse() only names.
namespace ipext {
inline constexpr std::uint8_t kHopByHop = 0;
inline constexpr std::uint8_t kRouting = 43;
inline constexpr std::uint8_t kFragment = 44;
inline constexpr std::uint8_t kAuthentication = 51;
inline constexpr std::uint8_t kNoNextHeader = 59;
inline constexpr std::uint8_t kDestination = 60;
}  // namespace ipext

using MacAddr = std::array<std::uint8_t, 6>;
using Ipv6Bytes = std::array<std::uint8_t, 16>;

struct EthernetHeader {
    MacAddr dst;
    MacAddr src;
    Be16 type;
};
static_assert(sizeof(EthernetHeader) == 14 && WireFormat<EthernetHeader>);

/// What follows a tag's own EtherType (IEEE 802.1Q 9.6).
struct VlanTag {
    Be16 control;  ///< priority 3 bits, drop eligible 1, VLAN id 12
    Be16 type;     ///< EtherType of what follows

    [[nodiscard]] constexpr std::uint16_t id() const noexcept { return control.host() & 0x0fff; }
};
static_assert(sizeof(VlanTag) == 4 && WireFormat<VlanTag>);

/// ARP for Ethernet and IPv4 (RFC 826).
struct ArpHeader {
    static constexpr std::uint16_t kEthernet = 1;
    static constexpr std::uint16_t kRequest = 1;
    static constexpr std::uint16_t kReply = 2;

    Be16 hardware;
    Be16 protocol;
    std::uint8_t hardware_size;
    std::uint8_t protocol_size;
    Be16 operation;
    MacAddr sender_mac;
    std::array<std::uint8_t, 4> sender_ip;
    MacAddr target_mac;
    std::array<std::uint8_t, 4> target_ip;
};
static_assert(sizeof(ArpHeader) == 28 && WireFormat<ArpHeader>);

/// RFC 791 3.1.
struct Ipv4Header {
    static constexpr std::uint16_t kReserved = 0x8000;
    static constexpr std::uint16_t kDontFragment = 0x4000;
    static constexpr std::uint16_t kMoreFragments = 0x2000;
    static constexpr std::uint16_t kOffsetMask = 0x1fff;  ///< in units of 8 bytes

    std::uint8_t version_ihl;
    std::uint8_t tos;
    Be16 total_length;  ///< bytes, header included
    Be16 id;
    Be16 flags_offset;
    std::uint8_t ttl;
    std::uint8_t protocol;
    Be16 checksum;
    Be32 src;
    Be32 dst;

    [[nodiscard]] constexpr unsigned version() const noexcept { return version_ihl >> 4U; }
    [[nodiscard]] constexpr std::size_t header_bytes() const noexcept {
        return std::size_t{version_ihl & 0x0fU} * 4;
    }
    /// Where this fragment stands in its packet, in bytes.
    [[nodiscard]] constexpr std::uint32_t fragment_offset() const noexcept {
        return (flags_offset.host() & std::uint32_t{kOffsetMask}) * 8;
    }
    [[nodiscard]] constexpr bool more_fragments() const noexcept {
        return (flags_offset.host() & kMoreFragments) != 0;
    }
};
static_assert(sizeof(Ipv4Header) == 20 && WireFormat<Ipv4Header>);

/// RFC 8200 3.
struct Ipv6Header {
    Be32 version_class_flow;
    Be16 payload_length;  ///< bytes behind this header, extension headers included
    std::uint8_t next_header;
    std::uint8_t hop_limit;
    Ipv6Bytes src;
    Ipv6Bytes dst;

    [[nodiscard]] constexpr unsigned version() const noexcept {
        return version_class_flow.host() >> 28U;
    }
};
static_assert(sizeof(Ipv6Header) == 40 && WireFormat<Ipv6Header>);

/// The head that hop-by-hop, routing, destination and authentication headers share (RFC 6564).
struct Ipv6Extension {
    std::uint8_t next_header;
    std::uint8_t length;  ///< 8-byte units beyond the first; in authentication 4-byte units less 2
};
static_assert(sizeof(Ipv6Extension) == 2 && WireFormat<Ipv6Extension>);

/// RFC 8200 4.4.
struct Ipv6Routing {
    std::uint8_t next_header;
    std::uint8_t length;
    std::uint8_t type;
    std::uint8_t segments_left;
};
static_assert(sizeof(Ipv6Routing) == 4 && WireFormat<Ipv6Routing>);

/// RFC 8200 4.5.
struct Ipv6Fragment {
    std::uint8_t next_header;
    std::uint8_t reserved;
    Be16 offset_flags;
    Be32 id;

    /// Where this fragment stands in the fragmentable part, in bytes.
    [[nodiscard]] constexpr std::uint32_t fragment_offset() const noexcept {
        return offset_flags.host() & 0xfff8U;
    }
    [[nodiscard]] constexpr bool more_fragments() const noexcept {
        return (offset_flags.host() & 1U) != 0;
    }
};
static_assert(sizeof(Ipv6Fragment) == 8 && WireFormat<Ipv6Fragment>);

/// What TCP, UDP, UDP-Lite and SCTP begin with.
struct Ports {
    Be16 sport;
    Be16 dport;
};
static_assert(sizeof(Ports) == 4 && WireFormat<Ports>);

/// RFC 9293 3.1.
struct TcpHeader {
    Be16 sport;
    Be16 dport;
    Be32 seq;
    Be32 ack;
    std::uint8_t offset_reserved;
    std::uint8_t flags;
    Be16 window;
    Be16 checksum;
    Be16 urgent;

    [[nodiscard]] constexpr std::size_t header_bytes() const noexcept {
        return std::size_t{offset_reserved} / 16 * 4;
    }
};
static_assert(sizeof(TcpHeader) == 20 && WireFormat<TcpHeader>);

/// RFC 768.
struct UdpHeader {
    Be16 sport;
    Be16 dport;
    Be16 length;  ///< bytes, this header included
    Be16 checksum;
};
static_assert(sizeof(UdpHeader) == 8 && WireFormat<UdpHeader>);

/// RFC 3828 3.1.
struct UdpliteHeader {
    Be16 sport;
    Be16 dport;
    Be16 coverage;  ///< bytes the checksum covers, this header included; 0: all
    Be16 checksum;
};
static_assert(sizeof(UdpliteHeader) == 8 && WireFormat<UdpliteHeader>);

/// ICMP and ICMPv6 (RFC 792, RFC 4443 2.1). `id` and `sequence` are those of a query; other
/// messages put something else in their place.
struct IcmpHeader {
    std::uint8_t type;
    std::uint8_t code;
    Be16 checksum;
    Be16 id;
    Be16 sequence;
};
static_assert(sizeof(IcmpHeader) == 8 && WireFormat<IcmpHeader>);

/// ICMP types (RFC 792, RFC 1256, RFC 950) by which parse() or forwarding tells messages apart.
namespace icmp {
inline constexpr std::uint8_t kEchoReply = 0;
inline constexpr std::uint8_t kUnreachable = 3;
inline constexpr std::uint8_t kSourceQuench = 4;
inline constexpr std::uint8_t kRedirect = 5;
inline constexpr std::uint8_t kEcho = 8;
inline constexpr std::uint8_t kTimeExceeded = 11;
inline constexpr std::uint8_t kParameterProblem = 12;
inline constexpr std::uint8_t kHighestType = 18;  ///< above it Linux sees no ICMP at all
}  // namespace icmp

/// ICMPv6 types (RFC 4443, RFC 4861, RFC 2710, RFC 3810).
namespace icmpv6 {
inline constexpr std::uint8_t kUnreachable = 1;
inline constexpr std::uint8_t kPacketTooBig = 2;
inline constexpr std::uint8_t kTimeExceeded = 3;
inline constexpr std::uint8_t kParameterProblem = 4;
inline constexpr std::uint8_t kFirstInformational = 128;  ///< below it every type is an error
inline constexpr std::uint8_t kEcho = 128;
inline constexpr std::uint8_t kEchoReply = 129;
inline constexpr std::uint8_t kMldQuery = 130;
inline constexpr std::uint8_t kMldReport = 131;
inline constexpr std::uint8_t kMldDone = 132;
inline constexpr std::uint8_t kRouterSolicitation = 133;
inline constexpr std::uint8_t kRouterAdvertisement = 134;
inline constexpr std::uint8_t kNeighbourSolicitation = 135;
inline constexpr std::uint8_t kNeighbourAdvertisement = 136;
inline constexpr std::uint8_t kRedirect = 137;
inline constexpr std::uint8_t kMldv2Report = 143;
}  // namespace icmpv6

/// RFC 9260 3.1. The checksum is a CRC32c whose bytes stand in the opposite order to every other
/// field (appendix A), so it is a plain integer here, read on a little-endian host as it stands.
struct SctpHeader {
    Be16 sport;
    Be16 dport;
    Be32 tag;
    std::uint32_t checksum;
};
static_assert(sizeof(SctpHeader) == 12 && WireFormat<SctpHeader>);

/// RFC 9260 3.2.
struct SctpChunk {
    std::uint8_t type;
    std::uint8_t flags;
    Be16 length;  ///< bytes, this head included, padding not
};
static_assert(sizeof(SctpChunk) == 4 && WireFormat<SctpChunk>);

/// RFC 2784 2, with RFC 2890's key bit.
struct GreHeader {
    static constexpr std::uint16_t kKey = 0x2000;
    static constexpr std::uint16_t kVersionMask = 0x0007;
    static constexpr std::uint16_t kPpp = 0x880b;  ///< the one protocol of version 1

    Be16 flags;
    Be16 protocol;
};
static_assert(sizeof(GreHeader) == 4 && WireFormat<GreHeader>);

/// What stands for the key in GRE version 1 (RFC 2637 4.1).
struct PptpKey {
    Be16 payload_length;
    Be16 call_id;  ///< the peer's
};
static_assert(sizeof(PptpKey) == 4 && WireFormat<PptpKey>);

}  // namespace ct
