// SPDX-License-Identifier: BSD-3-Clause
//
// ICMP errors between IPv6 and IPv4 (RFC 7915 4.2, 4.3, 5.2, 5.3). The new message is put together
// beside the old one, as the packet inside changes its size too, and copied over it.
#include "ct/wire/checksum.hpp"
#include "ct/wire/headers.hpp"
#include "nat/family.hpp"
#include "nat/family_parts.hpp"
#include "nat/pref64.hpp"
#include "nat/transport.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <span>

namespace nat {
namespace {

using ct::Be16;
using ct::Be32;
using ct::Dir;
using ct::Drop;
using ct::Family;
using ct::Packet;
using ct::Tuple;

constexpr std::size_t kLargestError6 = 1280;  // RFC 4443 2.4 (c)
constexpr std::uint32_t kIpv6Mtu = 1280;      // RFC 8200 5
constexpr std::uint32_t kLeastIpv4Mtu = 68;   // RFC 791 3.1
/// How much larger an IPv6 header is.
constexpr std::uint32_t kHeaderDifference = sizeof(ct::Ipv6Header) - sizeof(ct::Ipv4Header);

/// What an error means in the other family: the first eight bytes of its message.
struct Meaning {
    std::uint8_t type;
    std::uint8_t code;
    std::uint32_t word = 0;  ///< the four bytes behind the checksum, host order
};

[[nodiscard]] std::uint32_t word_of(const ct::IcmpHeader& icmp) noexcept {
    return std::uint32_t{icmp.id.host()} << 16U | icmp.sequence.host();
}
[[nodiscard]] ct::IcmpHeader header_of(const Meaning& m) noexcept {
    return {.type = m.type,
            .code = m.code,
            .checksum = {},
            .id = Be16::from_host(static_cast<std::uint16_t>(m.word >> 16U)),
            .sequence = Be16::from_host(static_cast<std::uint16_t>(m.word))};
}

// ---- Pointers into the header (RFC 7915 figures 3 and 6).

/// From the byte of the IPv4 header where something is wrong to that of the IPv6 header.
[[nodiscard]] std::optional<std::uint32_t> pointer_in_ipv6(std::uint32_t at) noexcept {
    switch (at) {
        case 0:  // version
        case 1:  // type of service, traffic class
            return at;
        case 2:  // total length, payload length
        case 3:
            return 4;
        case 8:  // time to live, hop limit
            return 7;
        case 9:  // protocol, next header
            return 6;
        default:
            if (at >= 12 && at < 16) return 8;   // source
            if (at >= 16 && at < 20) return 24;  // destination
            return std::nullopt;
    }
}
[[nodiscard]] std::optional<std::uint32_t> pointer_in_ipv4(std::uint32_t at) noexcept {
    switch (at) {
        case 0:
        case 1:
            return at;
        case 4:
        case 5:
            return 2;
        case 6:
            return 9;
        case 7:
            return 8;
        default:
            if (at >= 8 && at < 24) return 12;
            if (at >= 24 && at < 40) return 16;
            return std::nullopt;
    }
}

// ---- Types and codes.

/// For routers that do not say what fits (RFC 1191 7.1): the next of the sizes that links have.
[[nodiscard]] std::uint32_t plateau_below(std::uint32_t size) noexcept {
    for (const std::uint32_t p :
         {65'535U, 32'000U, 17'914U, 8'166U, 4'352U, 2'002U, 1'492U, 1'006U, 508U, 296U})
        if (p < size) return p;
    return kLeastIpv4Mtu;
}

[[nodiscard]] std::optional<Meaning> unreachable_in_ipv6(std::uint8_t code) noexcept {
    constexpr std::uint32_t kNextHeader = 6;
    switch (code) {
        case 0:   // net
        case 1:   // host
        case 5:   // source route failed
        case 6:   // net unknown
        case 7:   // host unknown
        case 8:   // source host isolated
        case 11:  // net, for the type of service
        case 12:  // host, for the type of service
            return Meaning{ct::icmpv6::kUnreachable, 0};
        case 2:  // protocol
            return Meaning{ct::icmpv6::kParameterProblem, 1, kNextHeader};
        case 3:  // port
            return Meaning{ct::icmpv6::kUnreachable, 4};
        case 9:   // net prohibited
        case 10:  // host prohibited
        case 13:  // communication prohibited
        case 15:  // precedence cutoff
            return Meaning{ct::icmpv6::kUnreachable, 1};
        default:
            return std::nullopt;
    }
}

[[nodiscard]] std::optional<Meaning> in_ipv6(const ct::IcmpHeader& icmp,
                                             std::uint32_t mtu) noexcept {
    constexpr std::uint8_t kFragmentationNeeded = 4;
    constexpr std::uint8_t kBadLength = 2;
    switch (icmp.type) {
        case ct::icmp::kUnreachable:
            if (icmp.code == kFragmentationNeeded)
                return Meaning{ct::icmpv6::kPacketTooBig, 0, mtu};
            return unreachable_in_ipv6(icmp.code);
        case ct::icmp::kTimeExceeded:
            return Meaning{ct::icmpv6::kTimeExceeded, icmp.code};
        case ct::icmp::kParameterProblem: {
            if (icmp.code != 0 && icmp.code != kBadLength) return std::nullopt;
            const auto pointer = pointer_in_ipv6(word_of(icmp) >> 24U);
            if (!pointer) return std::nullopt;
            return Meaning{ct::icmpv6::kParameterProblem, 0, *pointer};
        }
        default:  // source quench, redirect
            return std::nullopt;
    }
}

[[nodiscard]] std::optional<Meaning> in_ipv4(const ct::IcmpHeader& icmp,
                                             std::uint32_t mtu) noexcept {
    switch (icmp.type) {
        case ct::icmpv6::kUnreachable: {
            // No route, prohibited, beyond the source's scope, address, port.
            static constexpr std::array<std::uint8_t, 5> kCodes{1, 10, 1, 1, 3};
            if (icmp.code >= kCodes.size()) return std::nullopt;
            return Meaning{ct::icmp::kUnreachable, kCodes[icmp.code]};
        }
        case ct::icmpv6::kPacketTooBig:
            return Meaning{ct::icmp::kUnreachable, 4, mtu};
        case ct::icmpv6::kTimeExceeded:
            return Meaning{ct::icmp::kTimeExceeded, icmp.code};
        case ct::icmpv6::kParameterProblem: {
            if (icmp.code == 1) return Meaning{ct::icmp::kUnreachable, 2};
            const auto pointer = pointer_in_ipv4(word_of(icmp));
            if (icmp.code != 0 || !pointer) return std::nullopt;
            return Meaning{ct::icmp::kParameterProblem, 0, *pointer << 24U};
        }
        default:
            return std::nullopt;
    }
}

/// Where the packet inside ends: in front of RFC 4884's extensions, if there are any.
[[nodiscard]] std::size_t quoted_end(const Packet& p, const ct::IcmpHeader& icmp) noexcept {
    const bool six = p.tuple.family == Family::Ipv6;
    const bool may_have =
        six ? icmp.type == ct::icmpv6::kUnreachable || icmp.type == ct::icmpv6::kTimeExceeded
            : icmp.type == ct::icmp::kUnreachable || icmp.type == ct::icmp::kTimeExceeded ||
                  icmp.type == ct::icmp::kParameterProblem;
    const std::uint16_t id = icmp.id.host();
    const std::size_t length = six ? (id >> 8U) * std::size_t{8} : (id & 0xffU) * std::size_t{4};
    if (!may_have || length == 0) return p.end;
    // What the tuple was read from is there, whatever the length says.
    constexpr std::size_t kLeast = 8;
    const std::size_t least = std::min<std::size_t>(p.inner_l4_offset + kLeast, p.end);
    return std::clamp<std::size_t>(p.inner_l3_offset + length, least, p.end);
}

/// The message's sum is not right: by how much, to be handed on, so that the receiver notices.
[[nodiscard]] ct::PartialSum fault_of(const Packet& p) noexcept {
    const std::span<const std::uint8_t> message{p.data + p.l4_offset, p.end - p.l4_offset};
    ct::PartialSum sum = ct::sum_bytes(message);
    if (p.tuple.family == Family::Ipv6)
        sum = ct::add_sums(
            sum, ct::pseudo_sum(p.tuple.src, p.tuple.dst, Family::Ipv6, ct::ipproto::kIcmpv6,
                                static_cast<std::uint32_t>(message.size())));
    return ct::sum_is_valid(sum) ? 0 : ct::fold(sum);
}

/// The transport header of the packet inside, which is at `l4`, becomes what its sender had sent.
/// `length` is that of its whole ICMP message, 0 if that is not known.
void carry_quoted(std::span<std::uint8_t> l4, const Tuple& from, const Tuple& to,
                  std::uint32_t length) noexcept {
    constexpr std::size_t kPorts = sizeof(ct::Ports);
    const bool icmp = ct::is_icmp(to.proto);
    if (l4.size() < (icmp ? sizeof(ct::IcmpHeader) : kPorts)) return;
    ct::ChecksumDelta delta = set_ports(l4.data(), to);
    const auto addresses = [](const Tuple& t) {
        return ct::pseudo_sum(t.src, t.dst, t.family, 0, 0);
    };
    if (icmp) {
        replace(l4.data(), to.dport, delta);  // type and code
        const bool to_six = to.family == Family::Ipv6;
        const Tuple& six = to_six ? to : from;
        const ct::PartialSum pseudo =
            ct::pseudo_sum(six.src, six.dst, Family::Ipv6, ct::ipproto::kIcmpv6, length);
        delta.exchange(to_six ? 0 : pseudo, to_six ? pseudo : 0);
    } else {
        delta.exchange(addresses(from), addresses(to));
    }
    const std::optional<std::size_t> at = checksum_offset(to.proto);
    if (!at || *at + sizeof(Be16) > l4.size()) return;
    const auto old = ct::load<Be16>(l4.data() + *at);
    ct::store(l4.data() + *at, updated(to.proto, old, delta));
}

/// The new packet beside the old one.
struct Draft {
    std::array<std::uint8_t, 2048> bytes;
    std::size_t size = 0;

    [[nodiscard]] std::uint8_t* end() noexcept { return bytes.data() + size; }
    template <ct::WireFormat T>
    void append(const T& header) noexcept {
        ct::store(end(), header);
        size += sizeof header;
    }
    /// As much of `more` as there is room for below `limit` bytes.
    [[nodiscard]] std::span<std::uint8_t> append(std::span<const std::uint8_t> more,
                                                 std::size_t limit) noexcept {
        const std::size_t count = std::min(more.size(), limit - size);
        std::memcpy(end(), more.data(), count);
        const std::span<std::uint8_t> out{end(), count};
        size += count;
        return out;
    }
};

/// Puts the draft, whose message begins `l4` bytes behind its beginning and the packet inside at
/// `inner_l3` and `inner_l4`, into the place of p.
void take_over(Packet& p, const Draft& draft, std::size_t l4, std::size_t inner_l3,
               std::size_t inner_l4, std::uint16_t ethertype) noexcept {
    const auto l3 = static_cast<std::ptrdiff_t>(p.end) - static_cast<std::ptrdiff_t>(draft.size);
    if (!family::begin_at(p, l3, ethertype)) {
        p.drop = Drop::NatUntranslatable;
        return;
    }
    std::memcpy(p.data + p.l3_offset, draft.bytes.data(), draft.size);
    const auto place = [&p](std::size_t at) {
        return static_cast<std::uint16_t>(p.l3_offset + at);
    };
    p.l4_offset = place(l4);
    p.payload_offset = place(l4 + sizeof(ct::IcmpHeader));
    p.inner_l3_offset = place(inner_l3);
    p.inner_l4_offset = place(inner_l4);
}

/// The tuple of the packet inside once it has been translated.
[[nodiscard]] const Tuple& quoted_after(const Packet& p) noexcept {
    return p.dir == Dir::Original ? p.reply : p.original;
}

}  // namespace

void FamilyTranslator::error_to_ipv6(Packet& p) const noexcept {
    const std::uint8_t* const ip = p.data + p.l3_offset;
    const std::uint8_t* const inner_ip = p.data + p.inner_l3_offset;
    const auto four = ct::load<ct::Ipv4Header>(ip);
    const auto inner = ct::load<ct::Ipv4Header>(inner_ip);
    const auto icmp = ct::load<ct::IcmpHeader>(p.data + p.l4_offset);
    const Tuple& quoted = quoted_after(p);
    // The far side's address as either family knows it: it tells the connection's prefix.
    const bool opened_by_six = p.original.family == Family::Ipv6;
    const Tuple& six_tuple = opened_by_six ? p.original : p.reply;
    const Tuple& four_tuple = opened_by_six ? p.reply : p.original;
    const auto prefix = prefix_between(six_tuple.dst, four_tuple.src);

    const std::uint32_t told =
        icmp.sequence.host() != 0 ? icmp.sequence.host() : plateau_below(inner.total_length.host());
    const std::uint32_t mtu = std::min(
        {told + kHeaderDifference, mtu_of(p.out_port), mtu_of(p.in_port) + kHeaderDifference});
    const auto meaning = in_ipv6(icmp, std::max(mtu, kIpv6Mtu));
    if (!meaning || !prefix || p.fragment != ct::Fragment::Whole || family::is_source_routed(ip)) {
        p.drop = Drop::NatUntranslatable;
        return;
    }

    Draft draft;
    constexpr std::size_t kL4 = sizeof(ct::Ipv6Header);
    draft.size = kL4;
    draft.append(header_of(*meaning));
    const std::size_t inner_l3 = draft.size;
    const bool fragment = inner.more_fragments();
    const std::size_t inner_head = std::size_t{p.inner_l4_offset} - p.inner_l3_offset;
    const std::size_t total = inner.total_length.host();
    const std::size_t length = total > inner_head ? total - inner_head : 0;
    ct::Ipv6Header inner_six =
        family::header_of(inner, length + (fragment ? sizeof(ct::Ipv6Fragment) : 0));
    inner_six.next_header = fragment ? ct::ipext::kFragment : quoted.proto;
    inner_six.src = quoted.src.bytes;
    inner_six.dst = quoted.dst.bytes;
    draft.append(inner_six);
    if (fragment) draft.append(family::fragment_of(inner, quoted.proto));
    const std::size_t inner_l4 = draft.size;
    const auto rest = draft.append(
        {p.data + p.inner_l4_offset, quoted_end(p, icmp) - p.inner_l4_offset}, kLargestError6);
    carry_quoted(rest, p.inner, quoted, fragment ? 0 : static_cast<std::uint32_t>(length));

    ct::Ipv6Header six = family::header_of(four, draft.size - kL4);
    six.next_header = ct::ipproto::kIcmpv6;
    const ct::Addr src = embed(*prefix, p.tuple.src);
    six.src = src.bytes;
    six.dst = quoted.src.bytes;
    ct::store(draft.bytes.data(), six);
    const std::span<const std::uint8_t> message{draft.bytes.data() + kL4, draft.size - kL4};
    const ct::PartialSum sum = ct::add_sums(
        ct::sum_bytes(message), ct::pseudo_sum(src, quoted.src, Family::Ipv6, ct::ipproto::kIcmpv6,
                                               static_cast<std::uint32_t>(message.size())));
    const Be16 right = ct::finish(sum);
    const Be16 checksum = Be16::from_raw(ct::fold(right.raw() + fault_of(p)));
    ct::store(draft.bytes.data() + kL4 + offsetof(ct::IcmpHeader, checksum), checksum);
    take_over(p, draft, kL4, inner_l3, inner_l4, ct::ethertype::kIpv6);
}

void FamilyTranslator::error_to_ipv4(ct::WorkerId w, Packet& p) noexcept {
    const std::uint8_t* const ip = p.data + p.l3_offset;
    const std::uint8_t* const inner_ip = p.data + p.inner_l3_offset;
    const auto six = ct::load<ct::Ipv6Header>(ip);
    const auto inner = ct::load<ct::Ipv6Header>(inner_ip);
    const auto icmp = ct::load<ct::IcmpHeader>(p.data + p.l4_offset);
    const Tuple& quoted = quoted_after(p);
    const std::size_t inner_head = std::size_t{p.inner_l4_offset} - p.inner_l3_offset;
    const auto outside = family::walk(ip, std::size_t{p.l4_offset} - p.l3_offset, false);
    const auto inside = family::walk(inner_ip, inner_head, false);

    const std::uint32_t told = word_of(icmp);
    const auto less = [](std::uint32_t mtu) {
        return mtu > kHeaderDifference ? mtu - kHeaderDifference : 0;
    };
    const std::uint32_t mtu =
        std::min({less(told), mtu_of(p.out_port), less(mtu_of(p.in_port)), std::uint32_t{0xffff}});
    const auto meaning = in_ipv4(icmp, std::max(mtu, kLeastIpv4Mtu));
    if (!meaning || p.fragment != ct::Fragment::Whole || outside.untranslatable ||
        inside.untranslatable) {
        p.drop = Drop::NatUntranslatable;
        return;
    }

    Draft draft;
    constexpr std::size_t kL4 = sizeof(ct::Ipv4Header);
    draft.size = kL4;
    draft.append(header_of(*meaning));
    const std::size_t inner_l3 = draft.size;
    const std::size_t size = sizeof inner + inner.payload_length.host();
    const std::size_t length = size > inner_head ? size - inner_head : 0;
    ct::Ipv6Fragment fragment{};
    if (inside.fragment != 0) fragment = ct::load<ct::Ipv6Fragment>(inner_ip + inside.fragment);
    ct::Ipv4Header inner_four =
        family::header_of(inner, inside.fragment != 0 ? &fragment : nullptr,
                          std::min<std::size_t>(sizeof(ct::Ipv4Header) + length, 0xffff));
    inner_four.protocol = quoted.proto;
    inner_four.src = quoted.src.as_v4();
    inner_four.dst = quoted.dst.as_v4();
    family::put(draft.end(), inner_four);
    draft.size += sizeof inner_four;
    const std::size_t inner_l4 = draft.size;
    const auto rest = draft.append(
        {p.data + p.inner_l4_offset, quoted_end(p, icmp) - p.inner_l4_offset}, draft.bytes.size());
    const bool in_one_piece = !fragment.more_fragments();
    carry_quoted(rest, p.inner, quoted, in_one_piece ? static_cast<std::uint32_t>(length) : 0);

    // Whoever made the error, it comes from the address that the connection has outside (RFC 6146
    // 3.5, RFC 5508 REQ-5): its own has no counterpart.
    ct::Ipv4Header four = family::header_of(six, nullptr, draft.size);
    four.id = Be16::from_host(next_id(w));
    four.protocol = ct::ipproto::kIcmp;
    four.src = quoted.dst.as_v4();
    four.dst = quoted.src.as_v4();
    family::put(draft.bytes.data(), four);
    const std::span<const std::uint8_t> message{draft.bytes.data() + kL4, draft.size - kL4};
    const Be16 right = ct::internet_checksum(message);
    const Be16 checksum = Be16::from_raw(ct::fold(right.raw() + fault_of(p)));
    ct::store(draft.bytes.data() + kL4 + offsetof(ct::IcmpHeader, checksum), checksum);
    take_over(p, draft, kL4, inner_l3, inner_l4, ct::ethertype::kIpv4);
}

}  // namespace nat
