// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cstddef>

namespace ct {

inline constexpr std::size_t kCacheLine = 64;  // bytes

// In assembler, because g++ 12 takes a function that does nothing but __builtin_prefetch() for one
// without effect, and leaves calls to it out.

/// Starts the load of the line that holds `p`, to be read. Never faults.
[[gnu::always_inline]] inline void prefetch(const void* p) noexcept {
    asm volatile("prefetcht0 %0" : : "m"(*static_cast<const char*>(p)));
}

/// Starts the load of the line that holds `p`, to be written. Never faults.
[[gnu::always_inline]] inline void prefetch_write(const void* p) noexcept {
    asm volatile("prefetchw %0" : : "m"(*static_cast<const char*>(p)));
}

}  // namespace ct
