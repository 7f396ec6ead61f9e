// SPDX-License-Identifier: BSD-3-Clause
#include "nat/rewrite.hpp"

#include "ct/conn/status.hpp"
#include "ct/wire/checksum.hpp"
#include "ct/wire/headers.hpp"
#include "nat/family.hpp"
#include "nat/transport.hpp"

#include <cstddef>
#include <optional>
#include <type_traits>

namespace nat {
namespace {

using ct::Be16;
using ct::ChecksumDelta;
using ct::Dir;
using ct::Packet;
using ct::Tuple;

/// What the transport checksum has to change by: the addresses belong to it only where it covers a
/// pseudo-header, and ICMP's does not (RFC 792).
[[nodiscard]] ChecksumDelta transport_delta(std::uint8_t proto, const ChecksumDelta& addresses,
                                            const ChecksumDelta& ports) noexcept {
    ChecksumDelta delta = ports;
    if (proto != ct::ipproto::kIcmp) delta.add(addresses);
    return delta;
}

/// Writes the addresses of `to` into the IP header at `l3`, with IPv4's own checksum updated.
/// Returns the change of the addresses; `covering`, the change of everything, is added to.
ChecksumDelta set_addresses(std::uint8_t* l3, const Tuple& to, ChecksumDelta& covering) noexcept {
    ChecksumDelta addresses;
    const auto set = [](std::uint8_t* at, const auto& fresh) noexcept {
        const auto old = ct::load<std::remove_cvref_t<decltype(fresh)>>(at);
        ct::store(at, fresh);
        return old;
    };
    if (to.family == ct::Family::Ipv4) {
        const ct::Be32 src = to.src.as_v4();
        const ct::Be32 dst = to.dst.as_v4();
        addresses.replace(set(l3 + offsetof(ct::Ipv4Header, src), src), src);
        addresses.replace(set(l3 + offsetof(ct::Ipv4Header, dst), dst), dst);
        std::uint8_t* at = l3 + offsetof(ct::Ipv4Header, checksum);
        const auto old = ct::load<Be16>(at);
        const Be16 fresh = addresses.apply(old);
        covering.replace(old, fresh);
        ct::store(at, fresh);
    } else {
        addresses.replace(set(l3 + offsetof(ct::Ipv6Header, src), to.src), to.src, to.family);
        addresses.replace(set(l3 + offsetof(ct::Ipv6Header, dst), to.dst), to.dst, to.family);
    }
    covering.add(addresses);
    return addresses;
}

/// Any packet but an ICMP error: leaves with the tuple of an answer to the opposite direction.
void rewrite_packet(Packet& p) noexcept {
    const Tuple to = ct::reply_of(p.dir == Dir::Original ? p.reply : p.original);
    ChecksumDelta all;
    const ChecksumDelta addresses = set_addresses(p.data + p.l3_offset, to, all);
    if (p.fragment == ct::Fragment::Later) return;
    if (to.proto == ct::ipproto::kSctp) return set_sctp_ports(p, to);

    std::uint8_t* l4 = p.data + p.l4_offset;
    const ChecksumDelta ports = set_ports(l4, to);
    // DCCP is tracked by its addresses alone, so its header may be shorter than it should be.
    const std::optional<std::size_t> at = checksum_offset(to.proto);
    if (!at || p.l4_offset + *at + sizeof(Be16) > p.end) return;
    const auto old = ct::load<Be16>(l4 + *at);
    ct::store(l4 + *at, updated(to.proto, old, transport_delta(to.proto, addresses, ports)));
}

/// rewrite_packet() for what most packets are: TCP and UDP over IPv4. False: p is none of these.
[[gnu::always_inline]] inline bool rewrite_common(Packet& p) noexcept {
    const bool tcp = p.tuple.proto == ct::ipproto::kTcp;
    if (!tcp && p.tuple.proto != ct::ipproto::kUdp) return false;
    if (p.tuple.family != ct::Family::Ipv4 || p.fragment == ct::Fragment::Later) return false;
    const std::size_t at =
        tcp ? offsetof(ct::TcpHeader, checksum) : offsetof(ct::UdpHeader, checksum);
    if (p.l4_offset + at + sizeof(Be16) > p.end) return false;

    const Tuple& answered = p.dir == Dir::Original ? p.reply : p.original;
    ChecksumDelta delta;
    const auto set = [&delta](std::uint8_t* field, ct::Be32 fresh) noexcept {
        delta.replace(ct::load<ct::Be32>(field), fresh);
        ct::store(field, fresh);
    };
    std::uint8_t* l3 = p.data + p.l3_offset;
    set(l3 + offsetof(ct::Ipv4Header, src), answered.dst.as_v4());
    set(l3 + offsetof(ct::Ipv4Header, dst), answered.src.as_v4());
    std::uint8_t* header_sum = l3 + offsetof(ct::Ipv4Header, checksum);
    ct::store(header_sum, delta.apply(ct::load<Be16>(header_sum)));

    std::uint8_t* l4 = p.data + p.l4_offset;
    set(l4, ct::Be32::from_raw(std::uint32_t{answered.dport.raw()} |
                               std::uint32_t{answered.sport.raw()} << 16));
    const auto sum = ct::load<Be16>(l4 + at);
    ct::store(l4 + at, tcp ? delta.apply(sum) : delta.apply_udp(sum));
    return true;
}

/// The packet inside an ICMP error becomes what its sender had sent. Returns the change of all its
/// bytes, which the error's own checksum covers. The transport checksum is updated where it is
/// among the bytes quoted; TCP's usually is not, as eight bytes are all that RFC 792 promises.
ChecksumDelta rewrite_quoted(Packet& p) noexcept {
    const Tuple& to = p.dir == Dir::Original ? p.reply : p.original;
    ChecksumDelta all;
    const ChecksumDelta addresses = set_addresses(p.data + p.inner_l3_offset, to, all);
    std::uint8_t* l4 = p.data + p.inner_l4_offset;
    const ChecksumDelta ports = set_ports(l4, to);
    all.add(ports);
    const std::optional<std::size_t> at = checksum_offset(to.proto);
    if (!at || p.inner_l4_offset + *at + sizeof(Be16) > p.end) return all;
    const auto old = ct::load<Be16>(l4 + *at);
    replace(l4 + *at, updated(to.proto, old, transport_delta(to.proto, addresses, ports)), all);
    return all;
}

/// An ICMP error. Its destination is the endpoint that it is for. Its source may be any router on
/// the way; where the source's side is translated, be it by its port alone, the router hides behind
/// the same address (RFC 5508 REQ-5), as in Linux; else it is shown as it is, as traceroute
/// expects.
void rewrite_error(Packet& p) noexcept {
    // It names a router for a destination that the receiver has never heard of, or not by that
    // name.
    if (p.tuple.proto == ct::ipproto::kIcmp && p.message_type == ct::icmp::kRedirect) {
        p.drop = ct::Drop::NatRedirect;
        return;
    }
    const bool original = p.dir == Dir::Original;
    const Tuple& own = original ? p.original : p.reply;
    const Tuple& other = original ? p.reply : p.original;
    Tuple to = p.tuple;
    if ((p.status & (original ? ct::status::kSrcNat : ct::status::kDstNat)) != 0)
        to.src = other.dst;
    if (other.src != own.dst) to.dst = other.src;

    ChecksumDelta all;
    const ChecksumDelta addresses = set_addresses(p.data + p.l3_offset, to, all);
    std::uint8_t* l4 = p.data + p.l4_offset;
    const ChecksumDelta delta = transport_delta(to.proto, addresses, rewrite_quoted(p));
    std::uint8_t* checksum = l4 + offsetof(ct::IcmpHeader, checksum);
    ct::store(checksum, delta.apply(ct::load<Be16>(checksum)));
}

}  // namespace

bool rewrite(std::span<Packet> packets) noexcept {
    bool crossing = false;
    for (Packet& p : packets) {
        if (!p.alive() || !p.conn.valid() || (p.status & ct::status::kNatMask) == 0) continue;
        if (crosses(p))
            crossing = true;
        else if (p.icmp_error)
            rewrite_error(p);
        else if (!rewrite_common(p))
            rewrite_packet(p);
    }
    return crossing;
}

}  // namespace nat
