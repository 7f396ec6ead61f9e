// SPDX-License-Identifier: BSD-3-Clause
//
// Numbers as operators write them: durations and counts with units.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace dp {

/// Seconds of a duration: `120`, `120s`, `2m`, `12h`, `5d`, `1w`, or several in falling order
/// (`1h30m`). Nothing if it is none, or does not fit.
[[nodiscard]] std::optional<std::uint64_t> parse_duration(std::string_view text);

/// A count or a size in bytes: `262144`, `256Ki`, `1Mi`, `2Gi` (powers of 1024), `300k`, `2M`, `1G`
/// (powers of 1000). Nothing if it is none, or does not fit.
[[nodiscard]] std::optional<std::uint64_t> parse_count(std::string_view text);

/// A percentage, a whole number: `80%`. Nothing if it is none.
[[nodiscard]] std::optional<std::uint64_t> parse_percent(std::string_view text);

/// An unsigned number, decimal or with `0x` hexadecimal, and nothing else around it.
[[nodiscard]] std::optional<std::uint64_t> parse_number(std::string_view text);

}  // namespace dp
