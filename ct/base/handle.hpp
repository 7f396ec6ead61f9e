// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cstdint>

namespace ct {

/// Names one life of one entry of the pool. The memory of an entry is never unmapped and is used
/// again at once, so whoever holds a handle checks the generation whenever it matters.
struct ConnHandle {
    static constexpr std::uint32_t kNone = 0xffff'ffff;

    std::uint32_t index = kNone;
    std::uint16_t generation = 0;

    [[nodiscard]] constexpr bool valid() const noexcept { return index != kNone; }
    friend constexpr bool operator==(ConnHandle, ConnHandle) noexcept = default;
};

}  // namespace ct
