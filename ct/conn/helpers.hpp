// SPDX-License-Identifier: BSD-3-Clause
//
// The application helpers that a rule can name for a connection. What is here are the names that
// conntrack(8) shows (semantics.md 2.9) and their numbers in an entry.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace ct {

/// Names by number; number 0 is no helper.
inline constexpr std::array<std::string_view, 13> kHelperNames{
    "",     "ftp",    "tftp", "sip", "snmp",  "netbios-ns", "irc",
    "pptp", "amanda", "sane", "RAS", "Q.931", "H.245"};

/// The number of the helper called `name`; 0 if there is none.
[[nodiscard]] constexpr std::uint8_t find_helper(std::string_view name) noexcept {
    for (std::size_t i = 1; i < kHelperNames.size(); ++i)
        if (kHelperNames[i] == name) return static_cast<std::uint8_t>(i);
    return 0;
}

/// The name of helper `number`; empty if there is none.
[[nodiscard]] constexpr std::string_view helper_name(std::uint8_t number) noexcept {
    return number < kHelperNames.size() ? kHelperNames[number] : std::string_view{};
}

}  // namespace ct
