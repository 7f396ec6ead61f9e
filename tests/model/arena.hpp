// SPDX-License-Identifier: BSD-3-Clause
//
// Where everything that explored threads share lives, so that a state of it is one copy.
#pragma once

#include <cstddef>
#include <span>

namespace model {

/// While one is alive, all memory that is asked for comes from the arena; nothing is taken back.
class UseArena {
public:
    UseArena() noexcept;
    ~UseArena();
    UseArena(const UseArena&) = delete;
    UseArena& operator=(const UseArena&) = delete;
};

/// Makes the arena empty, and zero.
void clear_arena() noexcept;
/// What of it is in use.
[[nodiscard]] std::span<std::byte> arena() noexcept;

/// The `n`-th ct::Region that was made in the arena since it was cleared.
[[nodiscard]] std::span<const std::byte> region(std::size_t n) noexcept;

}  // namespace model
