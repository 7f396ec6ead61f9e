// SPDX-License-Identifier: BSD-3-Clause
#include "nat/family.hpp"

#include "ct/wire/checksum.hpp"
#include "ct/wire/headers.hpp"
#include "nat/family_parts.hpp"
#include "nat/transport.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace nat {

using ct::Be16;
using ct::Be32;
using ct::Drop;
using ct::Family;
using ct::Fragment;
using ct::Packet;
using ct::Tuple;

namespace family {

Extensions walk(const std::uint8_t* ip, std::size_t l4, bool fragmented) noexcept {
    Extensions out;
    std::uint8_t next = ip[offsetof(ct::Ipv6Header, next_header)];
    for (std::size_t at = sizeof(ct::Ipv6Header); at < l4;) {
        const auto head = ct::load<ct::Ipv6Extension>(ip + at);
        // Where its fragments are put together again, what is left out here would be missing.
        if (fragmented && out.fragment != 0) out.untranslatable = true;
        std::size_t size = std::size_t{head.length} * 8 + 8;
        if (next == ct::ipext::kFragment) {
            out.fragment = at;
            size = sizeof(ct::Ipv6Fragment);
        } else if (next == ct::ipext::kAuthentication) {
            out.untranslatable = true;
            size = std::size_t{head.length} * 4 + 8;
        } else if (next == ct::ipext::kRouting &&
                   ct::load<ct::Ipv6Routing>(ip + at).segments_left != 0) {
            out.untranslatable = true;
        }
        next = head.next_header;
        at += size;
    }
    return out;
}

bool is_source_routed(const std::uint8_t* ip) noexcept {
    static constexpr std::uint8_t kEndOfList = 0;
    static constexpr std::uint8_t kNoOperation = 1;
    static constexpr std::uint8_t kLoose = 131;
    static constexpr std::uint8_t kStrict = 137;
    const std::size_t end = ct::load<ct::Ipv4Header>(ip).header_bytes();
    for (std::size_t at = sizeof(ct::Ipv4Header); at < end && ip[at] != kEndOfList;) {
        if (ip[at] == kNoOperation) {
            ++at;
            continue;
        }
        if (at + 3 > end) return false;
        const std::size_t size = ip[at + 1];
        if (size < 2) return false;
        const bool route = size > 2 && (ip[at] == kLoose || ip[at] == kStrict);
        if (route && ip[at + 2] <= size) return true;  // RFC 791 3.1: the pointer counts from one
        at += size;
    }
    return false;
}

ct::Ipv4Header header_of(const ct::Ipv6Header& six, const ct::Ipv6Fragment* fragment,
                         std::size_t total) noexcept {
    ct::Ipv4Header four{};
    four.version_ihl = 0x45;
    four.tos = static_cast<std::uint8_t>(six.version_class_flow.host() >> 20U);
    four.total_length = Be16::from_host(static_cast<std::uint16_t>(total));
    four.ttl = six.hop_limit;
    unsigned flags = 0;
    if (fragment != nullptr) {
        flags = fragment->fragment_offset() / 8;
        if (fragment->more_fragments()) flags |= ct::Ipv4Header::kMoreFragments;
        four.id = Be16::from_host(static_cast<std::uint16_t>(fragment->id.host()));
    } else if (total > kSmallIpv4) {
        flags = ct::Ipv4Header::kDontFragment;
    }
    four.flags_offset = Be16::from_host(static_cast<std::uint16_t>(flags));
    return four;
}

ct::Ipv6Header header_of(const ct::Ipv4Header& four, std::size_t payload) noexcept {
    ct::Ipv6Header six{};
    six.version_class_flow = Be32::from_host(0x6000'0000U | std::uint32_t{four.tos} << 20U);
    six.payload_length = Be16::from_host(static_cast<std::uint16_t>(payload));
    six.hop_limit = four.ttl;
    return six;
}

ct::Ipv6Fragment fragment_of(const ct::Ipv4Header& four, std::uint8_t proto) noexcept {
    const std::uint32_t flags = four.fragment_offset() | (four.more_fragments() ? 1U : 0U);
    return {.next_header = proto,
            .reserved = 0,
            .offset_flags = Be16::from_host(static_cast<std::uint16_t>(flags)),
            .id = Be32::from_host(four.id.host())};
}

void put(std::uint8_t* at, ct::Ipv4Header ip) noexcept {
    ip.checksum = {};
    ct::store(at, ip);
    ip.checksum = ct::internet_checksum({at, ip.header_bytes()});
    ct::store(at, ip);
}

bool begin_at(Packet& p, std::ptrdiff_t l3, std::uint16_t ethertype) noexcept {
    constexpr std::size_t kMacs = offsetof(ct::EthernetHeader, type);
    constexpr auto kEthernet = static_cast<std::ptrdiff_t>(sizeof(ct::EthernetHeader));
    const std::ptrdiff_t shift = l3 - kEthernet;
    if (shift < -std::ptrdiff_t{p.headroom}) return false;
    std::memmove(p.data + shift, p.data, kMacs);
    ct::store(p.data + shift + kMacs, Be16::from_host(ethertype));
    const auto moved = [shift](auto& offset) {
        using Offset = std::remove_reference_t<decltype(offset)>;
        offset = static_cast<Offset>(static_cast<std::ptrdiff_t>(offset) - shift);
    };
    p.data += shift;
    p.headroom = static_cast<std::uint16_t>(p.headroom + shift);
    moved(p.l4_offset);
    moved(p.payload_offset);
    moved(p.end);
    p.l3_offset = kEthernet;
    p.length = p.end;
    p.ethertype = ethertype;
    return true;
}

}  // namespace family

namespace {

using family::begin_at;

/// The tuple of the packet once it has been translated.
[[nodiscard]] Tuple tuple_after(const Packet& p) noexcept {
    return ct::reply_of(p.dir == ct::Dir::Original ? p.reply : p.original);
}

[[nodiscard]] ct::PartialSum addresses_of(const Tuple& t) noexcept {
    return ct::pseudo_sum(t.src, t.dst, t.family, 0, 0);
}

/// An echo request or reply, which is whole: its type, and the pseudo-header that only ICMPv6 has.
void carry_echo(Packet& p, const Tuple& to) noexcept {
    std::uint8_t* const l4 = p.data + p.l4_offset;
    const std::uint32_t length = p.end - p.l4_offset;
    ct::ChecksumDelta delta = set_ports(l4, to);
    replace(l4, to.dport, delta);  // type and code
    const Tuple& six = to.family == Family::Ipv6 ? to : p.tuple;
    const ct::PartialSum pseudo =
        ct::pseudo_sum(six.src, six.dst, Family::Ipv6, ct::ipproto::kIcmpv6, length);
    if (to.family == Family::Ipv6)
        delta.exchange(0, pseudo);
    else
        delta.exchange(pseudo, 0);
    std::uint8_t* const checksum = l4 + offsetof(ct::IcmpHeader, checksum);
    ct::store(checksum, delta.apply(ct::load<Be16>(checksum)));
}

/// A UDP packet without checksum, that is to have one.
void give_checksum(Packet& p, const Tuple& to, ZeroChecksum policy) noexcept {
    if (policy == ZeroChecksum::Drop || p.fragment != Fragment::Whole) {
        p.drop = Drop::NatZeroChecksum;
        return;
    }
    std::uint8_t* const l4 = p.data + p.l4_offset;
    static_cast<void>(set_ports(l4, to));
    const std::size_t length = ct::load<ct::UdpHeader>(l4).length.host();
    const Be16 checksum = ct::transport_checksum(to.src, to.dst, to.family, to.proto, {l4, length});
    ct::store(l4 + offsetof(ct::UdpHeader, checksum), checksum);
}

/// The transport header, before the IP header is replaced.
void carry_transport(Packet& p, const Tuple& to, ZeroChecksum policy) noexcept {
    if (p.fragment == Fragment::Later) {
        // The first one has been dropped: nobody could put the datagram together.
        if (p.without_checksum && to.family == Family::Ipv6) p.drop = Drop::NatZeroChecksum;
        return;
    }
    if (to.proto == ct::ipproto::kSctp) return set_sctp_ports(p, to);
    if (ct::is_icmp(to.proto)) return carry_echo(p, to);
    std::uint8_t* const l4 = p.data + p.l4_offset;
    const std::optional<std::size_t> at = checksum_offset(to.proto);
    if (!at || p.l4_offset + *at + sizeof(Be16) > p.end) return;
    const auto old = ct::load<Be16>(l4 + *at);
    if (to.proto == ct::ipproto::kUdp && to.family == Family::Ipv6 && old.raw() == 0)
        return give_checksum(p, to, policy);
    ct::ChecksumDelta delta = set_ports(l4, to);
    delta.exchange(addresses_of(p.tuple), addresses_of(to));
    ct::store(l4 + *at, updated(to.proto, old, delta));
}

/// What a packet takes for an IPv6 header.
struct Head6 {
    std::size_t size = sizeof(ct::Ipv6Header);
    bool has_fragment = false;
};
[[nodiscard]] Head6 head_of(const ct::Ipv4Header& four, std::size_t payload,
                            std::size_t lowest_mtu) noexcept {
    const bool fragmented = four.more_fragments() || four.fragment_offset() != 0;
    const bool may_split = (four.flags_offset.host() & ct::Ipv4Header::kDontFragment) == 0;
    Head6 out;
    out.has_fragment = fragmented || (may_split && out.size + payload > lowest_mtu);
    if (out.has_fragment) out.size += sizeof(ct::Ipv6Fragment);
    return out;
}

}  // namespace

Fit fit_of(const Packet& p, std::uint32_t mtu) noexcept {
    constexpr std::uint32_t kFour = sizeof(ct::Ipv4Header);
    constexpr std::uint32_t kSix = sizeof(ct::Ipv6Header);
    constexpr std::uint32_t kFragmentHeader = sizeof(ct::Ipv6Fragment);
    constexpr std::uint32_t kIpv6Mtu = 1280;  // RFC 8200 5
    const std::uint8_t* const ip = p.data + p.l3_offset;
    const std::uint32_t payload = p.end - p.l4_offset;
    Fit out;
    if (p.tuple.family == Family::Ipv6) {
        const auto extensions = family::walk(ip, std::size_t{p.l4_offset} - p.l3_offset, false);
        out.size = kFour + payload;
        out.may_be_split = extensions.fragment != 0 || out.size <= family::kSmallIpv4;
        out.sender_mtu = std::max(mtu + (kSix - kFour), kIpv6Mtu);
        return out;
    }
    const auto four = ct::load<ct::Ipv4Header>(ip);
    const bool fragmented = p.fragment != Fragment::Whole;
    const std::uint32_t more = kSix - kFour + (fragmented ? kFragmentHeader : 0);
    out.size = kSix + payload + (fragmented ? kFragmentHeader : 0);
    // An error grows inside as well, but is cut off where it has to be.
    if (p.icmp_error) out.size = std::min(out.size, kIpv6Mtu);
    out.may_be_split =
        p.icmp_error || (four.flags_offset.host() & ct::Ipv4Header::kDontFragment) == 0;
    out.sender_mtu = mtu > more ? mtu - more : 0;
    return out;
}

Tuple ipv6_side(const Packet& p) noexcept {
    const bool original = p.dir == ct::Dir::Original;
    if (p.original.family == Family::Ipv6) return original ? p.original : ct::reply_of(p.original);
    return original ? ct::reply_of(p.reply) : p.reply;
}

FamilyTranslator::FamilyTranslator(const FamilySettings& settings, std::vector<std::uint16_t> mtus,
                                   ct::WorkerId workers)
    : settings_{settings},
      mtus_{std::move(mtus)},
      worker_count_{workers},
      workers_{std::make_unique<Worker[]>(workers)} {}

void FamilyTranslator::translate(ct::WorkerId w, std::span<Packet> packets) noexcept {
    for (Packet& p : packets) {
        p.split_above = 0;
        if (!p.alive() || !crosses(p)) continue;
        const bool six = p.tuple.family == Family::Ipv6;
        if (p.icmp_error)
            six ? error_to_ipv4(w, p) : error_to_ipv6(p);
        else
            six ? to_ipv4(w, p) : to_ipv6(p);
    }
}

/// Different for the packets of all workers until 65,536 have been sent (RFC 6864 4.3).
std::uint16_t FamilyTranslator::next_id(ct::WorkerId w) noexcept {
    return static_cast<std::uint16_t>(++workers_[w].packets * worker_count_ + w);
}

std::uint32_t FamilyTranslator::mtu_of(ct::PortId port) const noexcept {
    return port < mtus_.size() ? mtus_[port] : std::uint32_t{0xffff};
}

void FamilyTranslator::to_ipv4(ct::WorkerId w, Packet& p) noexcept {
    const Tuple to = tuple_after(p);
    const std::uint8_t* const ip = p.data + p.l3_offset;
    const auto six = ct::load<ct::Ipv6Header>(ip);
    const bool fragmented = p.fragment != Fragment::Whole;
    const auto extensions = family::walk(ip, std::size_t{p.l4_offset} - p.l3_offset, fragmented);
    const std::size_t total = sizeof(ct::Ipv4Header) + p.end - p.l4_offset;
    if (extensions.untranslatable || (fragmented && ct::is_icmp(to.proto))) {
        p.drop = Drop::NatUntranslatable;
        return;
    }
    ct::Ipv6Fragment fragment{};
    if (extensions.fragment != 0) fragment = ct::load<ct::Ipv6Fragment>(ip + extensions.fragment);
    // IPv4's limit counts the header, IPv6's does not (RFC 791 3.1, RFC 8200 4.5).
    if (fragment.fragment_offset() + total > 0xffff) {
        p.drop = Drop::NatUntranslatable;
        return;
    }
    ct::Ipv4Header four =
        family::header_of(six, extensions.fragment != 0 ? &fragment : nullptr, total);
    if (extensions.fragment == 0) four.id = Be16::from_host(next_id(w));
    four.protocol = to.proto;
    four.src = to.src.as_v4();
    four.dst = to.dst.as_v4();
    carry_transport(p, to, settings_.zero_checksum);
    if (!p.alive()) return;
    const std::ptrdiff_t l3 = std::ptrdiff_t{p.l4_offset} - std::ptrdiff_t{sizeof four};
    if (!begin_at(p, l3, ct::ethertype::kIpv4)) {
        p.drop = Drop::NatUntranslatable;
        return;
    }
    family::put(p.data + p.l3_offset, four);
}

void FamilyTranslator::to_ipv6(Packet& p) const noexcept {
    const Tuple to = tuple_after(p);
    const std::uint8_t* const ip = p.data + p.l3_offset;
    const auto four = ct::load<ct::Ipv4Header>(ip);
    const std::size_t payload = p.end - p.l4_offset;
    const Head6 head = head_of(four, payload, settings_.lowest_ipv6_mtu);
    const bool fragmented = p.fragment != Fragment::Whole;
    if (family::is_source_routed(ip) || (fragmented && ct::is_icmp(to.proto))) {
        p.drop = Drop::NatUntranslatable;
        return;
    }
    ct::Ipv6Header six = family::header_of(four, head.size - sizeof six + payload);
    six.src = to.src.bytes;
    six.dst = to.dst.bytes;
    six.next_header = head.has_fragment ? ct::ipext::kFragment : to.proto;
    carry_transport(p, to, settings_.zero_checksum);
    if (!p.alive()) return;
    const std::ptrdiff_t l3 = std::ptrdiff_t{p.l4_offset} - static_cast<std::ptrdiff_t>(head.size);
    if (!begin_at(p, l3, ct::ethertype::kIpv6)) {
        p.drop = Drop::NatUntranslatable;
        return;
    }
    ct::store(p.data + p.l3_offset, six);
    if (!head.has_fragment) return;
    ct::store(p.data + p.l3_offset + sizeof six, family::fragment_of(four, to.proto));
    const bool may_split = (four.flags_offset.host() & ct::Ipv4Header::kDontFragment) == 0;
    if (may_split && head.size + payload > settings_.lowest_ipv6_mtu)
        p.split_above = settings_.lowest_ipv6_mtu;
}

}  // namespace nat
