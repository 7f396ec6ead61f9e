// SPDX-License-Identifier: BSD-3-Clause
//
// What the files of the family translator share: family.cpp (packets) and family_icmp.cpp (errors).
#pragma once

#include "ct/wire/headers.hpp"
#include "ct/wire/packet.hpp"

#include <cstddef>
#include <cstdint>

namespace nat::family {

/// IPv4 packets of up to this size may be fragmented once they were IPv6 (RFC 7915 5.1): it is what
/// becomes of the 1280 bytes that every IPv6 link takes.
inline constexpr std::size_t kSmallIpv4 = 1260;

/// What the extension headers of an IPv6 packet come to.
struct Extensions {
    std::size_t fragment = 0;  ///< where the fragment header is, from the IPv6 header; 0: none
    /// Something that has no counterpart: a route that is not at its end, an authentication header,
    /// or headers inside the fragmented part.
    bool untranslatable = false;
};

/// Walks the extension headers between the IPv6 header at `ip` and the transport header `l4` bytes
/// behind its beginning, which parse() has walked before. `fragmented`: it is a fragment.
[[nodiscard]] Extensions walk(const std::uint8_t* ip, std::size_t l4, bool fragmented) noexcept;

/// True if the options of the IPv4 header at `ip` hold a source route that is not at its end
/// (RFC 7915 4.1).
[[nodiscard]] bool is_source_routed(const std::uint8_t* ip) noexcept;

/// `six` as an IPv4 header of a packet of `total` bytes, but for addresses, id and checksum.
/// `fragment`: its fragment header, or null.
[[nodiscard]] ct::Ipv4Header header_of(const ct::Ipv6Header& six, const ct::Ipv6Fragment* fragment,
                                       std::size_t total) noexcept;
/// `four` as an IPv6 header with `payload` bytes behind it, but for addresses and next header.
[[nodiscard]] ct::Ipv6Header header_of(const ct::Ipv4Header& four, std::size_t payload) noexcept;
/// The fragment header that says what `four` does.
[[nodiscard]] ct::Ipv6Fragment fragment_of(const ct::Ipv4Header& four, std::uint8_t proto) noexcept;

/// Writes an IPv4 header with its checksum.
void put(std::uint8_t* at, ct::Ipv4Header ip) noexcept;

/// Makes p's IP packet begin `l3` bytes behind p.data, which may be before it, with an Ethernet
/// header of p's MACs in front. What stands between is overwritten; p's offsets follow. False, with
/// nothing changed, if the buffer has no room there.
[[nodiscard]] bool begin_at(ct::Packet& p, std::ptrdiff_t l3, std::uint16_t ethertype) noexcept;

}  // namespace nat::family
