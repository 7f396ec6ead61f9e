// SPDX-License-Identifier: BSD-3-Clause
//
// Configurations as text: two ports to build on, and mistakes marked where they stand.
#pragma once

#include "dataplane/control/config.hpp"
#include "dataplane/control/notation.hpp"

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

namespace dp::test {

/// A machine on which every table fits.
inline constexpr Machine kLargeMachine{1ULL << 44};

/// Two ports of a router, `lan` and `wan`, on one line each.
inline const std::string kTwoPorts =
    "port = [ { name = \"lan\", device = \"net_null0\", addresses = [\"192.168.1.1/24\", "
    "\"fd00:1::1/64\"] },\n"
    "{ name = \"wan\", device = \"net_null1\", addresses = [\"203.0.113.1/24\", "
    "\"2001:db8:2::1/64\"] } ]\n";

inline Config parse(std::string_view text, const Machine& machine = kLargeMachine) {
    return parse_config(text, "test.toml", machine);
}

/// The configuration of two ports with `text` after it.
inline Config with_ports(const std::string& text) {
    return parse(kTwoPorts + text);
}

/// The one rule that `keys`, lines of a [[rule]], compile to.
inline nat::Rule rule(const std::string& keys) {
    const Config config = with_ports("[[rule]]\n" + keys);
    return config.rules.size() == 1 ? config.rules.front() : nat::Rule{};
}

/// What is wrong with `text`; empty if nothing.
inline std::vector<ConfigProblem> mistakes(std::string_view text,
                                           const Machine& machine = kLargeMachine) {
    try {
        (void)parse(text, machine);
    } catch (const ConfigError& error) {
        return error.problems();
    }
    return {};
}

/// The number of the first line of `text` that holds `mark`; 0 if none does.
inline int line_with(std::string_view text, std::string_view mark) {
    const auto at = text.find(mark);
    if (at == std::string_view::npos) return 0;
    return 1 +
           static_cast<int>(std::count(text.begin(), text.begin() + static_cast<long>(at), '\n'));
}

inline nat::Prefix prefix(std::string_view text) {
    return parse_prefix(text).value();
}
inline ct::Addr addr(std::string_view text) {
    return parse_address(text).value().addr;
}

}  // namespace dp::test
