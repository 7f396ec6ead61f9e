// SPDX-License-Identifier: BSD-3-Clause
//
// Points in time as people and logs write them, in UTC.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace dp {

/// Nanoseconds since 1970-01-01T00:00:00Z.
using WallNanos = std::int64_t;

/// A point in time, or all of a second where the text says no more.
struct TimeSpan {
    WallNanos first = 0;
    WallNanos last = 0;

    friend bool operator==(const TimeSpan&, const TimeSpan&) noexcept = default;
};

/// `2026-11-26T14:20:01.123456Z` (RFC 3339 5.6), to the microsecond. Years 1970 to 2261.
[[nodiscard]] std::string timestamp(WallNanos t);

/// Reads RFC 3339 with or without a fraction, with `Z` or an offset; `@SECONDS` since 1970; or
/// `now`, which is `now`. Nothing if it is none of these, or lies outside of 1970 to 2261.
[[nodiscard]] std::optional<TimeSpan> parse_time(std::string_view text, WallNanos now);

}  // namespace dp
