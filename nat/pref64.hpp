// SPDX-License-Identifier: BSD-3-Clause
//
// IPv4 addresses inside of IPv6 addresses (RFC 6052). Behind a prefix of 32, 40, 48, 56, 64 or 96
// bits stand the 32 bits of the IPv4 address, but for bits 64 to 71, which are zero, and then
// zeros:
//
//   /32   prefix 32 | v4 32 | u | suffix 56         /56   prefix 56 | v4 8 | u | v4 24 | suffix 32
//   /40   prefix 40 | v4 24 | u | v4 8 | suffix 48  /64   prefix 64 | u | v4 32 | suffix 24
//   /48   prefix 48 | v4 16 | u | v4 16 | suffix 40 /96   prefix 96 | v4 32
#pragma once

#include "ct/wire/prefix.hpp"
#include "ct/wire/tuple.hpp"
#include "nat/rule.hpp"

#include <cstdint>
#include <optional>

namespace nat {

/// 64:ff9b::/96 (RFC 6052 2.1).
inline constexpr ct::Prefix kWellKnownPrefix{{{0x00, 0x64, 0xff, 0x9b}}, 96, ct::Family::Ipv6};

/// True if IPv4 addresses can stand behind a prefix of so many bits (RFC 6052 2.2).
[[nodiscard]] constexpr bool is_pref64_length(unsigned bits) noexcept {
    return bits == 96 || (bits >= 32 && bits <= 64 && bits % 8 == 0);
}

/// The IPv6 address by which `prefix`, of one of those lengths, knows the IPv4 address `four`.
[[nodiscard]] ct::Addr embed(const ct::Prefix& prefix, const ct::Addr& four) noexcept;

/// The IPv4 address inside of `six`; none if that does not lie in `prefix`, or has bits 64 to 71
/// set. What stands in the suffix does not matter.
[[nodiscard]] std::optional<ct::Addr> extract(const ct::Prefix& prefix,
                                              const ct::Addr& six) noexcept;

/// The prefix by which `six` holds `four`: the longest that fits. None if there is none. That one
/// fits by chance takes four bytes of the prefix or suffix which are those of the address.
[[nodiscard]] std::optional<ct::Prefix> prefix_between(const ct::Addr& six,
                                                       const ct::Addr& four) noexcept;

/// True if the IPv4 address is one that hosts of the Internet can have: none of RFC 1918, nor of
/// those that RFC 5735 3 keeps for special uses. Others must not be behind kWellKnownPrefix
/// (RFC 6052 3.1).
[[nodiscard]] bool is_global_ipv4(const ct::Addr& four) noexcept;

/// True if the IPv4 address can be that of one host: not multicast, loopback, reserved or of
/// 0.0.0.0/8.
[[nodiscard]] constexpr bool is_host_ipv4(const ct::Addr& four) noexcept {
    return four.bytes[0] != 0 && four.bytes[0] != 127 && four.bytes[0] < 224;
}

/// True if packets between `rule`'s hosts and the IPv4 address may be translated.
[[nodiscard]] inline bool may_cross(const Rule& rule, const ct::Addr& four) noexcept {
    return is_host_ipv4(four) && (!rule.global_only || is_global_ipv4(four));
}

}  // namespace nat
