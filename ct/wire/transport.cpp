// SPDX-License-Identifier: BSD-3-Clause
#include "ct/wire/transport.hpp"

#include "ct/wire/checksum.hpp"
#include "ct/wire/headers.hpp"

#include <cstddef>
#include <span>

namespace ct {
namespace {

/// What every protocol's function gets: the packet, the cursor at its transport header, and what
/// the IP layer said.
struct Segment {
    Packet& p;
    Reader in;
    const IpInfo& ip;
    Check check;

    [[nodiscard]] bool whole() const noexcept { return p.fragment == Fragment::Whole; }
    /// `reason`, unless this is a first fragment, whose sender cut it so short that the header does
    /// not fit: no honest stack does (RFC 1858 3, RFC 7112).
    [[nodiscard]] Drop short_by(Drop reason) const noexcept {
        return whole() ? reason : Drop::BadFragment;
    }
    void set_ports(Be16 sport, Be16 dport) const noexcept {
        p.tuple.sport = sport;
        p.tuple.dport = dport;
    }
    void set_payload() const noexcept {
        p.payload_offset = static_cast<std::uint16_t>(in.offset());
    }
};

/// True if the checksum over pseudo-header and `covered` is right or is not to be looked at.
/// `length` is what the pseudo-header says.
[[nodiscard]] bool checksum_holds(const Segment& s, std::span<const std::uint8_t> covered,
                                  std::size_t length) noexcept {
    if (s.check != Check::Verify) return s.check == Check::Skip;
    const Tuple& t = s.p.tuple;
    const PartialSum pseudo =
        pseudo_sum(t.src, t.dst, t.family, t.proto, static_cast<std::uint32_t>(length));
    return sum_is_valid(add_sums(pseudo, sum_bytes(covered)));
}

// ---- TCP.

[[nodiscard]] Drop parse_tcp(Segment s) noexcept {
    const std::span<const std::uint8_t> segment = s.in.rest();
    TcpHeader tcp;
    if (!s.in.take(tcp)) return s.short_by(Drop::Truncated);
    s.set_ports(tcp.sport, tcp.dport);
    if (tcp.header_bytes() < sizeof tcp) return Drop::BadTcpHeader;
    if (!s.in.skip(tcp.header_bytes() - sizeof tcp)) return s.short_by(Drop::BadTcpHeader);
    if (!checksum_holds(s, segment, segment.size())) return Drop::BadTcpChecksum;
    if (!tcp_flags_are_legal(tcp.flags)) return Drop::BadTcpFlags;
    s.set_payload();
    s.p.tcp_flags = tcp.flags;
    s.p.tcp_window = tcp.window.host();
    s.p.tcp_seq = tcp.seq.host();
    s.p.tcp_ack = tcp.ack.host();
    return Drop::None;
}

// ---- UDP and UDP-Lite.

[[nodiscard]] Drop parse_udp(Segment s) noexcept {
    const std::span<const std::uint8_t> rest = s.in.rest();
    UdpHeader udp;
    if (!s.in.take(udp)) return s.short_by(Drop::Truncated);
    s.set_ports(udp.sport, udp.dport);
    const std::size_t length = udp.length.host();
    if (length < sizeof udp) return Drop::BadUdpLength;
    // What lies behind the UDP length belongs to nobody, and no checksum covers it.
    if (s.whole() && length > rest.size()) return Drop::BadUdpLength;
    // Zero: the sender computed none (RFC 768), which RFC 6935 allows to tunnels over IPv6, too.
    const bool checked = udp.checksum.raw() != 0 && s.check != Check::Skip;
    if (checked && !checksum_holds(s, rest.first(length), length)) return Drop::BadUdpChecksum;
    s.set_payload();
    return Drop::None;
}

/// RFC 3828 3.1. The pseudo-header has UDP-Lite's own protocol number and the length of the whole
/// datagram. (Linux's conntrack sums with UDP's number and calls correct packets INVALID; that is
/// not imitated.)
[[nodiscard]] Drop parse_udplite(Segment s) noexcept {
    const std::span<const std::uint8_t> datagram = s.in.rest();
    UdpliteHeader lite;
    if (!s.in.take(lite)) return s.short_by(Drop::Truncated);
    s.set_ports(lite.sport, lite.dport);
    const std::size_t coverage = lite.coverage.host();
    if (coverage != 0 && coverage < sizeof lite) return Drop::BadUdpliteHeader;
    if (s.whole() && coverage > datagram.size()) return Drop::BadUdpliteHeader;
    if (lite.checksum.raw() == 0) return Drop::BadUdpliteChecksum;
    if (s.check != Check::Skip) {
        const auto covered = coverage == 0 ? datagram : datagram.first(coverage);
        if (!checksum_holds(s, covered, datagram.size())) return Drop::BadUdpliteChecksum;
    }
    s.set_payload();
    return Drop::None;
}

// ---- SCTP.

/// True if every chunk has a length, so that who walks them comes to an end (RFC 9260 3.2). The
/// last may reach past the packet, as the first of a packet in fragments does: what it says of the
/// association stands in front. At most one turn for every four bytes.
[[nodiscard]] bool chunks_are_sound(Reader chunks) noexcept {
    SctpChunk chunk;
    while (chunks.peek(chunk)) {
        const std::size_t length = chunk.length.host();
        if (length == 0) return false;
        if (!chunks.skip((length + 3) / 4 * 4)) return true;
    }
    return true;
}

[[nodiscard]] Drop parse_sctp(Segment s) noexcept {
    const std::span<const std::uint8_t> packet = s.in.rest();
    SctpHeader sctp;
    if (!s.in.take(sctp)) return s.short_by(Drop::Truncated);
    s.set_ports(sctp.sport, sctp.dport);
    SctpChunk first;
    if (!s.in.peek(first)) return s.short_by(Drop::BadSctpHeader);
    if (!chunks_are_sound(s.in)) return s.short_by(Drop::BadSctpHeader);
    if (s.check == Check::Bad) return Drop::BadSctpChecksum;
    if (s.check == Check::Verify && sctp_checksum(packet) != sctp.checksum)
        return Drop::BadSctpChecksum;
    s.set_payload();
    return Drop::None;
}

// ---- GRE.

/// A plain tunnel is named by its addresses alone, whatever its key and however short its header,
/// as in Linux. PPTP (version 1, RFC 2637 4.1) is named by the call id, which tells the receiver
/// the call; the sender's own is known to a helper only. What is too short to have one counts as
/// plain. False for what is of version 1 and not PPTP.
[[nodiscard]] bool read_gre(Reader& in, Tuple& tuple) noexcept {
    GreHeader gre;
    if (!in.take(gre) || (gre.flags.host() & GreHeader::kVersionMask) != 1) return true;
    PptpKey key;
    if (!in.take(key)) return true;
    if (gre.protocol.host() != GreHeader::kPpp) return false;
    tuple.dport = key.call_id;
    return true;
}

[[nodiscard]] Drop parse_gre(Segment s) noexcept {
    s.set_payload();
    return read_gre(s.in, s.p.tuple) ? Drop::None : s.short_by(Drop::BadGreHeader);
}

// ---- ICMP and ICMPv6.

/// Of ICMPv6 every message whose type has no high-order bit, be it known or not (RFC 4443 2.1).
[[nodiscard]] constexpr bool is_icmp_error(std::uint8_t proto, std::uint8_t type) noexcept {
    if (proto == ipproto::kIcmpv6) return type < icmpv6::kFirstInformational;
    return type == icmp::kUnreachable || type == icmp::kSourceQuench || type == icmp::kRedirect ||
           type == icmp::kTimeExceeded || type == icmp::kParameterProblem;
}

/// Identifier, type and code as the tuple holds them; a message that is no query has no identifier.
void set_icmp_tuple(Tuple& tuple, const IcmpHeader& icmp) noexcept {
    if (icmp_counterpart(tuple.proto, icmp.type) >= 0) tuple.sport = icmp.id;
    tuple.dport = icmp_type_code(icmp.type, icmp.code);
}

/// The ports of the packet inside an ICMP error. RFC 792 promises 8 bytes behind its IP header, so
/// nothing of it can be verified; Linux is content with the ports (tests/golden/tcp-icmp-related
/// step 8), and so are we. False if what makes the tuple is missing.
[[nodiscard]] bool read_quoted_transport(Reader& in, Tuple& tuple) noexcept {
    switch (tuple.proto) {
        case ipproto::kTcp:
        case ipproto::kUdp:
        case ipproto::kUdplite:
        case ipproto::kSctp: {
            Ports ports;
            if (!in.take(ports)) return false;
            tuple.sport = ports.sport;
            tuple.dport = ports.dport;
            return true;
        }
        case ipproto::kIcmp:
        case ipproto::kIcmpv6: {
            IcmpHeader icmp;
            const bool own_family =
                (tuple.proto == ipproto::kIcmp) == (tuple.family == Family::Ipv4);
            if (!own_family || !in.take(icmp)) return false;
            // RFC 1122 3.2.2: there is no error about an error.
            if (is_icmp_error(tuple.proto, icmp.type)) return false;
            set_icmp_tuple(tuple, icmp);
            return true;
        }
        case ipproto::kGre:
            return read_gre(in, tuple);
        default:
            return true;
    }
}

/// The packet that an ICMP error is about; `s.in` is at its IP header. Whatever is wrong with it,
/// the error is good for nothing: there is no connection that it could belong to.
[[nodiscard]] Drop parse_quoted(Segment s) noexcept {
    Packet& p = s.p;
    Tuple inner;
    inner.zone = p.tuple.zone;
    IpInfo ip;
    const std::size_t l3 = s.in.offset();
    const Drop drop = p.tuple.family == Family::Ipv4 ? read_ipv4(s.in, Extent::Quoted, inner, ip)
                                                     : read_ipv6(s.in, Extent::Quoted, inner, ip);
    if (drop != Drop::None || ip.fragment_offset != 0) return Drop::BadIcmpHeader;
    const std::size_t l4 = s.in.offset();
    if (!read_quoted_transport(s.in, inner)) return Drop::BadIcmpHeader;
    p.inner = inner;
    p.inner_l3_offset = static_cast<std::uint16_t>(l3);
    p.inner_l4_offset = static_cast<std::uint16_t>(l4);
    p.icmp_error = true;
    return Drop::None;
}

[[nodiscard]] constexpr bool is_neighbour_discovery(std::uint8_t type) noexcept {
    return type >= icmpv6::kRouterSolicitation && type <= icmpv6::kRedirect;
}
[[nodiscard]] constexpr bool is_multicast_listener(std::uint8_t type) noexcept {
    return (type >= icmpv6::kMldQuery && type <= icmpv6::kMldDone) || type == icmpv6::kMldv2Report;
}

/// Neighbour discovery comes from the link itself and in one piece (RFC 4861 7.1, RFC 6980 5).
/// Linux leaves all of it untracked but the redirect, which is no query and so INVALID.
[[nodiscard]] Drop check_icmpv6(const Segment& s, std::uint8_t type) noexcept {
    const bool discovery = is_neighbour_discovery(type);
    s.p.never_tracked = (discovery && type != icmpv6::kRedirect) || is_multicast_listener(type);
    if (!discovery) return Drop::None;
    return s.ip.hop_limit == 255 && s.whole() ? Drop::None : Drop::BadNeighbour;
}

[[nodiscard]] Drop parse_icmp(Segment s) noexcept {
    Packet& p = s.p;
    const bool six = p.tuple.proto == ipproto::kIcmpv6;
    if (six != (p.tuple.family == Family::Ipv6)) return Drop::BadIcmpHeader;
    const std::span<const std::uint8_t> message = s.in.rest();
    IcmpHeader icmp;
    if (!s.in.take(icmp)) return s.short_by(Drop::Truncated);
    const bool sound = six || s.check != Check::Verify
                           ? checksum_holds(s, message, message.size())
                           : sum_is_valid(sum_bytes(message));  // RFC 792: no pseudo-header
    if (!sound) return Drop::BadIcmpChecksum;
    p.message_type = icmp.type;
    p.message_code = icmp.code;
    set_icmp_tuple(p.tuple, icmp);
    s.set_payload();
    if (is_icmp_error(p.tuple.proto, icmp.type)) return parse_quoted(s);
    if (six) return check_icmpv6(s, icmp.type);
    return icmp.type > icmp::kHighestType ? Drop::BadIcmpHeader : Drop::None;
}

}  // namespace

Drop parse_transport(Packet& p, Reader in, const IpInfo& ip, Check check) noexcept {
    Segment s{p, in, ip, check};
    switch (p.tuple.proto) {
        case ipproto::kTcp:
            return parse_tcp(s);
        case ipproto::kUdp:
            return parse_udp(s);
        case ipproto::kUdplite:
            return parse_udplite(s);
        case ipproto::kIcmp:
        case ipproto::kIcmpv6:
            return parse_icmp(s);
        case ipproto::kSctp:
            return parse_sctp(s);
        case ipproto::kGre:
            return parse_gre(s);
        default:
            s.set_payload();
            return Drop::None;
    }
}

}  // namespace ct
