// SPDX-License-Identifier: BSD-3-Clause
//
// IPv4 and IPv6 headers up to the transport header. The packet on the wire and the packet quoted
// inside an ICMP error go through the same code; they differ only in what may be missing at the
// end.
#pragma once

#include "ct/base/drop.hpp"
#include "ct/wire/packet.hpp"
#include "ct/wire/reader.hpp"
#include "ct/wire/tuple.hpp"

#include <cstddef>
#include <cstdint>

namespace ct {

/// Most extension headers of a packet. RFC 8200 4.1 names seven, with the second destination
/// header.
inline constexpr std::size_t kMaxExtensions = 8;

enum class Extent : std::uint8_t {
    Whole,   ///< a packet: as many bytes as its length says are there, or it is malformed
    Quoted,  ///< inside an ICMP error: cut off anywhere, its length tells nothing
};

/// What the IP header and, in IPv6, its extension headers say beside the addresses.
struct IpInfo {
    std::uint32_t fragment_offset = 0;  ///< in bytes
    std::uint32_t fragment_id = 0;      ///< of a fragment; as it stands on the wire, any order
    /// Where the part that this fragment carries begins, from the reader's beginning: behind the
    /// IPv4 header or the IPv6 fragment header. Meaningful for fragments only.
    std::uint32_t part_begin = 0;
    std::uint8_t hop_limit = 0;  ///< or TTL
    bool more_fragments = false;
    /// A routing header names further hops, so the transport checksum was computed with another
    /// destination than the header's (RFC 8200 8.1).
    bool final_destination_unknown = false;

    [[nodiscard]] Fragment fragment() const noexcept {
        if (fragment_offset != 0) return Fragment::Later;
        return more_fragments ? Fragment::First : Fragment::Whole;
    }
};

/// Reads the IP header at the cursor, options and extension headers too, and leaves the cursor at
/// the transport header (at the first byte behind the fragment header if it is a later fragment).
/// Sets family, proto, src and dst of `tuple`; clears nothing else. With Extent::Whole the reader
/// ends where the IP packet ends from then on. The fields of `info` are right as far as the headers
/// were read, even if the result is a drop reason. The IPv4 header checksum is not looked at.
[[nodiscard]] Drop read_ipv4(Reader& in, Extent extent, Tuple& tuple, IpInfo& info) noexcept;
[[nodiscard]] Drop read_ipv6(Reader& in, Extent extent, Tuple& tuple, IpInfo& info) noexcept;

/// What check_addresses() asks of IPv4.
[[nodiscard]] inline bool ipv4_addresses_are_sound(Be32 from, Be32 to) noexcept {
    const std::uint32_t src = from.host();
    const std::uint32_t dst = to.host();
    const bool multicast = src >> 28U == 0xe;
    const bool loopback = src >> 24U == 127 || dst >> 24U == 127;
    return !multicast && !loopback && src != 0xffff'ffff && dst != 0 && src != dst;
}

/// None, or BadIpAddress if no packet on a wire may have these addresses (RFC 1122 3.2.1.3,
/// RFC 4291 2.5.2, 2.5.3 and 2.7): a source that is multicast, broadcast or loopback; a destination
/// that is loopback or unspecified; a source that is its own destination (a "land" packet).
[[nodiscard]] Drop check_addresses(const Tuple& tuple) noexcept;

/// None, or BadFragment if no sender makes such a fragment: with an empty part; reaching past 65535
/// bytes; with a part that is no multiple of eight bytes though more follow; or behind the first
/// but inside its TCP header (RFC 1858 3.2). `ip_begin` and `end` are the offsets of the IP
/// packet's first byte and of the one past its last, counted as info.part_begin is.
[[nodiscard]] Drop check_fragment(const Tuple& tuple, const IpInfo& info, std::size_t ip_begin,
                                  std::size_t end) noexcept;

}  // namespace ct
