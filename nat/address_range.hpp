// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "ct/wire/tuple.hpp"

#include <cstdint>
#include <optional>

namespace nat {

/// Addresses of one family from `first` to `last`, both included, numbered from 0. Of IPv6, both
/// must agree in their first 64 bits for the numbers to mean anything.
struct AddressRange {
    ct::Family family = ct::Family::None;
    ct::Addr first;
    ct::Addr last;

    /// How many there are; 0 if the range is empty, or larger than 2^32 - 1.
    [[nodiscard]] std::uint32_t count() const noexcept;
    /// Number `n`, which is less than count().
    [[nodiscard]] ct::Addr at(std::uint32_t n) const noexcept;
    /// The number of `a`; none if it is not in the range.
    [[nodiscard]] std::optional<std::uint32_t> index_of(ct::Family f,
                                                        const ct::Addr& a) const noexcept;
    [[nodiscard]] bool overlaps(const AddressRange& o) const noexcept;
    friend bool operator==(const AddressRange&, const AddressRange&) noexcept = default;
};

}  // namespace nat
