// SPDX-License-Identifier: BSD-3-Clause
//
// The packets that Sluice makes itself, as bytes: ARP and neighbour discovery, echo replies, ICMP
// errors, TCP resets. Pure functions from a parsed packet to a frame; whether to send it, and where
// to, is forwarding's business.
//
// Each function writes a frame from its Ethernet header on and returns its size in bytes, or 0 if
// `out` is too small or the answer must not be given. IP packets leave the MACs zero, for the next
// hop's; their checksums are complete.
#pragma once

#include "ct/wire/packet.hpp"
#include "dataplane/control/config.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace dp::answer {

/// Bytes that hold any frame made here but an echo reply, which is as long as its request: an
/// ICMPv6 error of the minimum MTU (RFC 4443 2.4 (c)).
inline constexpr std::size_t kMaxFrame = 14 + 1280;

/// Time to live of what Sluice sends (RFC 1700's default; Linux's too).
inline constexpr std::uint8_t kTtl = 64;

/// An end of an answer.
struct Endpoint {
    MacAddress mac{};
    ct::Addr address;
};

// ---- Ethernet neighbours.

/// "Who has `target`?" from `self`, to `to` (broadcast, or a neighbour's MAC to verify it; RFC 826,
/// RFC 1122 2.3.2.1).
[[nodiscard]] std::size_t arp_request(std::span<std::uint8_t> out, const Endpoint& self,
                                      const ct::Addr& target, const MacAddress& to) noexcept;
/// "`self` is at its MAC", told to `to`.
[[nodiscard]] std::size_t arp_reply(std::span<std::uint8_t> out, const Endpoint& self,
                                    const Endpoint& to) noexcept;
/// Neighbour solicitation (RFC 4861 4.3) for `target`; to its solicited-node group if `known` is
/// null, else to that MAC.
[[nodiscard]] std::size_t neighbour_solicitation(std::span<std::uint8_t> out, const Endpoint& self,
                                                 const ct::Addr& target,
                                                 const MacAddress* known) noexcept;
/// Neighbour advertisement (RFC 4861 4.4) that `self` is at its MAC, to `to`, or to all nodes if
/// that one has no address yet (RFC 4861 7.2.4).
[[nodiscard]] std::size_t neighbour_advertisement(std::span<std::uint8_t> out, const Endpoint& self,
                                                  const Endpoint& to) noexcept;

/// What a neighbour solicitation or advertisement says.
struct NdMessage {
    ct::Addr target;
    std::optional<MacAddress> mac;  ///< of the source (solicitation) or target (advertisement)
    bool solicited = false;         ///< the advertisement answers a solicitation
};
/// Reads p, an ICMPv6 message of type 135 or 136. Empty if it must be discarded (RFC 4861 7.1).
[[nodiscard]] std::optional<NdMessage> read_nd(const ct::Packet& p) noexcept;

// ---- IP.

/// The reply to p, an echo request of either family, from `self` (RFC 1122 3.2.2.6, RFC 4443 4.2).
[[nodiscard]] std::size_t echo_reply(std::span<std::uint8_t> out, const ct::Packet& p,
                                     const ct::Addr& self, std::uint16_t ip_id) noexcept;

/// Why an ICMP error is sent; type and code of the family follow from it.
enum class Complaint : std::uint8_t {
    NoRoute,              ///< 3/0; 1/0
    HostUnreachable,      ///< 3/1; 1/3
    ProtocolUnreachable,  ///< 3/2; 4/1
    PortUnreachable,      ///< 3/3; 1/4
    TooBig,               ///< 3/4 with the MTU (RFC 1191 4); 2/0
    TimeExceeded,         ///< 11/0; 3/0
    Prohibited,           ///< by administration: 3/13 (RFC 1812 5.2.7.1); 1/1
};

/// True if an error about p may be sent at all (RFC 1812 4.3.2.7, RFC 4443 2.4 (e)): p is no error
/// itself, no later fragment, not malformed, for one station, and from one.
[[nodiscard]] bool may_complain_about(const ct::Packet& p) noexcept;

/// The error `why` about p, from `self` to p's source. `mtu` is that of TooBig, in bytes.
[[nodiscard]] std::size_t icmp_error(std::span<std::uint8_t> out, const ct::Packet& p,
                                     Complaint why, std::uint32_t mtu, const ct::Addr& self,
                                     std::uint16_t ip_id) noexcept;

/// The reset that a closed port answers p, a TCP segment, with (RFC 9293 3.10.7.1); 0 if p is a
/// reset itself.
[[nodiscard]] std::size_t tcp_reset(std::span<std::uint8_t> out, const ct::Packet& p) noexcept;

}  // namespace dp::answer
