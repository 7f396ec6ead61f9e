// SPDX-License-Identifier: BSD-3-Clause
#include "nat/pref64.hpp"

#include <algorithm>
#include <array>
#include <cstddef>

namespace nat {
namespace {

using ct::Addr;
using ct::Be32;

/// The lengths of prefixes (RFC 6052 2.2), the longest first.
constexpr std::array<std::uint8_t, 6> kLengths{96, 64, 56, 48, 40, 32};
/// The byte of bits 64 to 71.
constexpr std::size_t kReserved = 8;

/// Where the bytes of the IPv4 address stand behind a prefix of `bits` bits.
[[nodiscard]] std::array<std::size_t, 4> places(unsigned bits) noexcept {
    std::array<std::size_t, 4> out{};
    std::size_t at = bits / 8;
    for (std::size_t& place : out) {
        if (at == kReserved) ++at;
        place = at++;
    }
    return out;
}

struct Range4 {
    std::uint32_t first;
    std::uint32_t bits;
};
/// What is not of the Internet at large.
constexpr std::array<Range4, 13> kSpecial{{
    {0x0000'0000, 8},   // this network
    {0x0a00'0000, 8},   // RFC 1918
    {0x7f00'0000, 8},   // loopback
    {0xa9fe'0000, 16},  // link local
    {0xac10'0000, 12},  // RFC 1918
    {0xc000'0000, 24},  // protocol assignments
    {0xc000'0200, 24},  // documentation
    {0xc0a8'0000, 16},  // RFC 1918
    {0xc612'0000, 15},  // benchmarks
    {0xc633'6400, 24},  // documentation
    {0xcb00'7100, 24},  // documentation
    {0xe000'0000, 4},   // multicast
    {0xf000'0000, 4},   // reserved, and the limited broadcast
}};

}  // namespace

Addr embed(const ct::Prefix& prefix, const Addr& four) noexcept {
    Addr out = ct::first_bits(prefix.addr, prefix.length);
    const auto at = places(prefix.length);
    for (std::size_t i = 0; i < at.size(); ++i) out.bytes[at[i]] = four.bytes[i];
    return out;
}

std::optional<Addr> extract(const ct::Prefix& prefix, const Addr& six) noexcept {
    if (!prefix.contains(ct::Family::Ipv6, six) || six.bytes[kReserved] != 0) return std::nullopt;
    Addr out;
    const auto at = places(prefix.length);
    for (std::size_t i = 0; i < at.size(); ++i) out.bytes[i] = six.bytes[at[i]];
    return out;
}

std::optional<ct::Prefix> prefix_between(const Addr& six, const Addr& four) noexcept {
    for (const std::uint8_t bits : kLengths) {
        const ct::Prefix prefix{ct::first_bits(six, bits), bits, ct::Family::Ipv6};
        if (extract(prefix, six) == four) return prefix;
    }
    return std::nullopt;
}

bool is_global_ipv4(const Addr& four) noexcept {
    const std::uint32_t a = four.as_v4().host();
    return std::none_of(kSpecial.begin(), kSpecial.end(),
                        [a](const Range4& r) { return (a ^ r.first) >> (32U - r.bits) == 0; });
}

}  // namespace nat
