// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cstddef>

namespace ct {

inline constexpr std::size_t kCacheLine = 64;  // bytes

/// Starts the load of the line that holds `p`, to be read. Never faults.
inline void prefetch(const void* p) noexcept {
    __builtin_prefetch(p, 0, 3);
}

/// Starts the load of the line that holds `p`, to be written.
inline void prefetch_write(const void* p) noexcept {
    __builtin_prefetch(p, 1, 3);
}

/// Tells the core that this is a spin loop.
inline void spin_pause() noexcept {
    __builtin_ia32_pause();
}

}  // namespace ct
