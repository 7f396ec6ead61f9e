// SPDX-License-Identifier: BSD-3-Clause
#include "ct/wire/network.hpp"

#include "ct/wire/headers.hpp"

namespace ct {
namespace {

inline constexpr std::uint32_t kMaxIpBytes = 65'535;  // RFC 791 3.1, RFC 8200 4.5

/// Passes over an extension header whose length field counts units of `unit` bytes beyond `fixed`.
[[nodiscard]] Drop skip_extension(Reader& in, std::uint8_t& next, std::size_t unit,
                                  std::size_t fixed) noexcept {
    Ipv6Extension extension;
    if (!in.peek(extension)) return Drop::Truncated;
    next = extension.next_header;
    return in.skip(extension.length * unit + fixed) ? Drop::None : Drop::Truncated;
}

/// A type 0 header with hops left could bounce a packet between two hosts 80 times over; RFC 5095
/// forbids it. Other types pass.
[[nodiscard]] Drop skip_routing(Reader& in, std::uint8_t& next, IpInfo& info) noexcept {
    Ipv6Routing routing;
    if (!in.peek(routing)) return Drop::Truncated;
    if (routing.segments_left != 0) {
        if (routing.type == 0) return Drop::BadExtension;
        info.final_destination_unknown = true;
    }
    return skip_extension(in, next, 8, 8);
}

[[nodiscard]] Drop take_fragment(Reader& in, std::uint8_t& next, IpInfo& info) noexcept {
    Ipv6Fragment fragment;
    if (!in.take(fragment)) return Drop::Truncated;
    next = fragment.next_header;
    info.fragment_offset = fragment.fragment_offset();
    info.more_fragments = fragment.more_fragments();
    info.fragment_id = fragment.id.raw();
    info.part_begin = static_cast<std::uint32_t>(in.offset());
    return Drop::None;
}

/// Walks the extension headers from `next` on; leaves the first protocol that is none of them in
/// it.
[[nodiscard]] Drop walk_extensions(Reader& in, std::uint8_t& next, IpInfo& info) noexcept {
    bool fragment_seen = false;
    for (std::size_t count = 0; count <= kMaxExtensions; ++count) {
        Drop drop = Drop::None;
        switch (next) {
            case ipext::kHopByHop:
                if (count != 0) return Drop::BadExtension;  // RFC 8200 4.1: only the first
                drop = skip_extension(in, next, 8, 8);
                break;
            case ipext::kDestination:
                drop = skip_extension(in, next, 8, 8);
                break;
            case ipext::kRouting:
                drop = skip_routing(in, next, info);
                break;
            case ipext::kAuthentication:
                drop = skip_extension(in, next, 4, 8);
                break;
            case ipext::kFragment:
                if (fragment_seen) return Drop::BadExtension;
                fragment_seen = true;
                drop = take_fragment(in, next, info);
                // Behind a later fragment's header lie bytes from the middle of the packet.
                if (info.fragment_offset != 0) return drop;
                break;
            default:
                return Drop::None;
        }
        if (drop != Drop::None) return drop;
    }
    return Drop::BadExtension;
}

[[nodiscard]] bool ipv6_addresses_are_sound(const Tuple& tuple) noexcept {
    static constexpr Addr kUnspecified{};
    static constexpr Addr kLoopback{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};
    const bool multicast = tuple.src.bytes[0] == 0xff;
    const bool loopback = tuple.src == kLoopback || tuple.dst == kLoopback;
    return !multicast && !loopback && !(tuple.dst == kUnspecified) && !(tuple.src == tuple.dst);
}

}  // namespace

Drop read_ipv4(Reader& in, Extent extent, Tuple& tuple, IpInfo& info) noexcept {
    const std::size_t available = in.left();
    Ipv4Header ip;
    if (!in.take(ip)) return Drop::Truncated;
    if (ip.version() != 4 || ip.header_bytes() < sizeof ip) return Drop::BadIpHeader;
    tuple.family = Family::Ipv4;
    tuple.proto = ip.protocol;
    tuple.src = Addr::v4(ip.src);
    tuple.dst = Addr::v4(ip.dst);
    info.fragment_offset = ip.fragment_offset();
    info.more_fragments = ip.more_fragments();
    info.fragment_id = ip.id.raw();
    info.hop_limit = ip.ttl;
    if (extent == Extent::Whole) {
        const std::size_t total = ip.total_length.host();
        if (total > available || total < ip.header_bytes()) return Drop::BadIpLength;
        in.limit(total - sizeof ip);
    }
    if (!in.skip(ip.header_bytes() - sizeof ip)) return Drop::Truncated;
    info.part_begin = static_cast<std::uint32_t>(in.offset());
    return Drop::None;
}

Drop read_ipv6(Reader& in, Extent extent, Tuple& tuple, IpInfo& info) noexcept {
    Ipv6Header ip;
    if (!in.take(ip)) return Drop::Truncated;
    if (ip.version() != 6) return Drop::BadIpHeader;
    tuple.family = Family::Ipv6;
    tuple.src.bytes = ip.src;
    tuple.dst.bytes = ip.dst;
    info.hop_limit = ip.hop_limit;
    if (extent == Extent::Whole) {
        const std::size_t payload = ip.payload_length.host();
        if (payload > in.left()) return Drop::BadIpLength;
        in.limit(payload);
    }
    tuple.proto = ip.next_header;
    return walk_extensions(in, tuple.proto, info);
}

Drop check_addresses(const Tuple& tuple) noexcept {
    const bool sound = tuple.family == Family::Ipv4
                           ? ipv4_addresses_are_sound(tuple.src.as_v4(), tuple.dst.as_v4())
                           : ipv6_addresses_are_sound(tuple);
    return sound ? Drop::None : Drop::BadIpAddress;
}

Drop check_fragment(const Tuple& tuple, const IpInfo& info, std::size_t ip_begin,
                    std::size_t end) noexcept {
    const std::size_t part = end - info.part_begin;
    if (part == 0) return Drop::BadFragment;
    if (info.more_fragments && part % 8 != 0) return Drop::BadFragment;
    // The header counts in IPv4's limit (RFC 791 3.1) and not in IPv6's (RFC 8200 4.5).
    const std::size_t header = tuple.family == Family::Ipv4 ? info.part_begin - ip_begin : 0;
    if (header + info.fragment_offset + part > kMaxIpBytes) return Drop::BadFragment;
    const bool inside_tcp = tuple.proto == ipproto::kTcp && info.fragment_offset != 0 &&
                            info.fragment_offset < sizeof(TcpHeader);
    return inside_tcp ? Drop::BadFragment : Drop::None;
}

}  // namespace ct
