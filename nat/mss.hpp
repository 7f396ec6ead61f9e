// SPDX-License-Identifier: BSD-3-Clause
//
// Clamps the maximum segment size that a SYN announces, so that no segment meets a link that is too
// narrow for it: for tunnels and DSL, where "packet too big" does not find its way back.
#pragma once

#include "ct/wire/packet.hpp"

#include <cstdint>
#include <span>

namespace nat {

/// What a port allows.
struct MssLimit {
    std::uint16_t mtu = 0;    ///< of the port, in bytes of the IP packet
    std::uint16_t fixed = 0;  ///< most that segments through the port may have; 0: as the MTU says
    bool clamp = false;       ///< segments through this port are limited at all
};

/// A port, and the family that a connection's packets have on its link.
struct MssLink {
    const MssLimit& limit;
    ct::Family family;
};

/// The most that a segment between two ports may have, or 0 if neither clamps: the least of what
/// those that clamp say, be it a number, or what fits both links. A connection that changes its
/// family on the way (NAT64) has the larger headers on one of them only, so it may be that the
/// wider link has the less room.
[[nodiscard]] std::uint16_t mss_between(const MssLink& in, const MssLink& out) noexcept;

/// Lowers the MSS option of every living SYN and SYN+ACK to what its two ports allow, checksum
/// included; never raises it. `limits` by PortId. A SYN without the option promises 536 bytes (1220
/// with IPv6, RFC 9293 3.7.1) and stays as it is. A packet that crosses() is looked at before or
/// after it was translated, with the same result.
void clamp_mss(std::span<ct::Packet> packets, std::span<const MssLimit> limits) noexcept;

}  // namespace nat
