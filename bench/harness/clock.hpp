// SPDX-License-Identifier: BSD-3-Clause
//
// The time stamp counter as a clock. One read costs some ten nanoseconds, so steps that are timed
// with it take a hundred microseconds or more.
#pragma once

#include <cstdint>
#include <x86intrin.h>

namespace bench {

/// Ticks of the time stamp counter; constant rate, the same on every core.
[[nodiscard]] inline std::uint64_t tsc() noexcept {
    return __rdtsc();
}

/// Nanoseconds a tick, calibrated once against the monotonic clock. Any thread.
[[nodiscard]] double ns_per_tick();

/// Clock rate of the core this runs on, in GHz, by the time of a chain of dependent additions.
[[nodiscard]] double core_ghz();

/// Binds the calling thread to CPU `core`. Throws std::system_error.
void pin_to(unsigned core);

}  // namespace bench
