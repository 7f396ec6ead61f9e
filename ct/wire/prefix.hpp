// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "ct/wire/tuple.hpp"

#include <cstdint>

namespace ct {

/// A set of addresses with a common prefix. Family None contains every address.
struct Prefix {
    Addr addr;
    std::uint8_t length = 0;  ///< bits
    Family family = Family::None;

    /// True if `a`, an address of family `f`, lies in the prefix.
    [[nodiscard]] bool contains(Family f, const Addr& a) const noexcept;
    friend bool operator==(const Prefix&, const Prefix&) noexcept = default;
};

/// The first `length` bits of `a`, the others zero.
[[nodiscard]] Addr first_bits(const Addr& a, std::uint8_t length) noexcept;

}  // namespace ct
