// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cstdint>

namespace ct {

/// Nanoseconds since an epoch that the caller chose: a monotonic clock in the daemon, the
/// capture's own time in a replay. ct/ and nat/ never read a clock; `now` is an argument.
using Nanos = std::uint64_t;

/// Time in units of 1/64 s, modulo 2^32 (776 days): what an entry stores. A whole number of ticks
/// makes a second, so a time-out of 120 s reads 120 in the tick that set it and 119 in the next.
using Ticks = std::uint32_t;

inline constexpr Nanos kNanosPerSecond = 1'000'000'000;
inline constexpr Ticks kTicksPerSecond = 64;
inline constexpr Nanos kNanosPerTick = kNanosPerSecond / kTicksPerSecond;

/// The longest time-out that Ticks can tell from the past (half of its range), in seconds.
inline constexpr std::uint32_t kMaxTimeoutSeconds = (1U << 31) / kTicksPerSecond - 1;

[[nodiscard]] constexpr Ticks to_ticks(Nanos t) noexcept {
    return static_cast<Ticks>(t / kNanosPerTick);
}

/// Ticks from `from` to `to`, negative if `to` lies before; the two are less than 388 days apart.
[[nodiscard]] constexpr std::int32_t ticks_between(Ticks from, Ticks to) noexcept {
    return static_cast<std::int32_t>(to - from);
}

}  // namespace ct
