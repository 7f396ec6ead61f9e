// SPDX-License-Identifier: BSD-3-Clause
//
// The daemon's figures as text for people.
#pragma once

#include <string>
#include <string_view>

namespace dp {

/// Reasons with their counts and what they mean, and the sum. `all`: with those that are 0.
/// `json` is the data of request `drops`. Throws std::runtime_error if it is something else.
[[nodiscard]] std::string show_drops(std::string_view json, bool all);

/// What became of a port. `json` is the data of request `port`.
[[nodiscard]] std::string show_port(std::string_view json);

/// A line for each address. `json` is the data of request `address`. Throws std::runtime_error if
/// it is something else.
[[nodiscard]] std::string show_addresses(std::string_view json);

/// Settings as sysctl(8) prints them: `net.netfilter.name = value`. `json` is the data of request
/// `sysctl`. Throws std::runtime_error if it is something else.
[[nodiscard]] std::string show_sysctls(std::string_view json);

/// Any JSON object: a line for each value, a table for each list of objects. `json` is the data of
/// request `stats`. Throws std::runtime_error if it is no object.
[[nodiscard]] std::string show_stats(std::string_view json);

}  // namespace dp
