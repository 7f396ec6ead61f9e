// SPDX-License-Identifier: BSD-3-Clause
//
// What a translation changes in transport headers, whatever it does to the header before them.
#pragma once

#include "ct/wire/checksum.hpp"
#include "ct/wire/headers.hpp"
#include "ct/wire/packet.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>

namespace nat {

/// Where a transport header has its checksum, in bytes; none: it has none that can be updated.
[[nodiscard]] constexpr std::optional<std::size_t> checksum_offset(std::uint8_t proto) noexcept {
    switch (proto) {
        case ct::ipproto::kTcp:
            return offsetof(ct::TcpHeader, checksum);
        case ct::ipproto::kUdp:
            return offsetof(ct::UdpHeader, checksum);
        case ct::ipproto::kUdplite:
            return offsetof(ct::UdpliteHeader, checksum);
        case ct::ipproto::kDccp:
            return 6;  // RFC 4340 5.1
        case ct::ipproto::kIcmp:
        case ct::ipproto::kIcmpv6:
            return offsetof(ct::IcmpHeader, checksum);
        default:
            return std::nullopt;
    }
}

/// The checksum `old` of protocol `proto` after the change.
[[nodiscard]] ct::Be16 updated(std::uint8_t proto, ct::Be16 old,
                               const ct::ChecksumDelta& delta) noexcept;

/// Replaces a field of the packet and gathers the change.
void replace(std::uint8_t* at, ct::Be16 to, ct::ChecksumDelta& delta) noexcept;

/// Writes the ports of `to`, or its ICMP identifier, into the transport header at `l4`, of which
/// eight bytes are there. Returns the change.
[[nodiscard]] ct::ChecksumDelta set_ports(std::uint8_t* l4, const ct::Tuple& to) noexcept;

/// The same for p, which is SCTP. The CRC changes by the difference of the right ones before and
/// after, so that a wrong one stays wrong. Nothing to do if the ports stay: the CRC does not cover
/// the addresses. Sets p.drop (NatFragment) where it cannot be made right.
void set_sctp_ports(ct::Packet& p, const ct::Tuple& to) noexcept;

}  // namespace nat
