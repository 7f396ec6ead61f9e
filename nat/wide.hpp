// SPDX-License-Identifier: BSD-3-Clause
//
// Addresses of either family as integers, for ranges of them.
#pragma once

#include "ct/wire/headers.hpp"
#include "ct/wire/tuple.hpp"

#include <cstdint>

namespace nat {

/// An address as an integer of 128 bits.
struct Wide {
    std::uint64_t high = 0;
    std::uint64_t low = 0;

    [[nodiscard]] static Wide of(const ct::Addr& a, ct::Family family) noexcept {
        if (family == ct::Family::Ipv4) return {0, a.as_v4().host()};
        return {ct::load<ct::Be64>(a.bytes.data()).host(),
                ct::load<ct::Be64>(a.bytes.data() + 8).host()};
    }
    [[nodiscard]] ct::Addr addr(ct::Family family) const noexcept {
        if (family == ct::Family::Ipv4)
            return ct::Addr::v4(ct::Be32::from_host(static_cast<std::uint32_t>(low)));
        ct::Addr out;
        ct::store(out.bytes.data(), ct::Be64::from_host(high));
        ct::store(out.bytes.data() + 8, ct::Be64::from_host(low));
        return out;
    }
    friend constexpr Wide operator+(Wide a, Wide b) noexcept {
        const std::uint64_t low = a.low + b.low;
        return {a.high + b.high + (low < a.low ? 1U : 0U), low};
    }
    friend constexpr Wide operator-(Wide a, Wide b) noexcept {
        return {a.high - b.high - (a.low < b.low ? 1U : 0U), a.low - b.low};
    }
    friend constexpr bool operator==(Wide, Wide) noexcept = default;
    friend constexpr bool operator<(Wide a, Wide b) noexcept {
        return a.high != b.high ? a.high < b.high : a.low < b.low;
    }
};

/// Spreads every bit of `x` over the result (the finalizer of Steele, Lea and Flood's SplitMix).
[[nodiscard]] constexpr std::uint64_t scramble(std::uint64_t x) noexcept {
    x = (x ^ (x >> 30)) * 0xbf58'476d'1ce4'e5b9U;
    x = (x ^ (x >> 27)) * 0x94d0'49bb'1331'11ebU;
    return x ^ (x >> 31);
}

}  // namespace nat
