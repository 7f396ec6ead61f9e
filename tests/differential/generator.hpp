// SPDX-License-Identifier: BSD-3-Clause
//
// From a seed to a sequence of steps; the same everywhere and always.
#pragma once

#include "tests/differential/trace.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace differential {

/// What a seed may be about.
struct Menu {
    /// Packets of a seed; fragments count singly, and what belongs together is not torn apart.
    std::size_t packets = 200;
    /// Only flows of this kind, as in kKinds; empty: all.
    std::string only;
    /// Several clients have the same ports and talk to the same of one server.
    bool crowded = false;
    bool wan_opens = true;  ///< see Script
};

/// `menu` as a profile asks for it.
[[nodiscard]] Menu menu_for(const Profile& profile, Menu menu);

/// Kinds of flows.
inline constexpr const char* kKinds[] = {"tcp",  "udp", "udplite", "icmp",     "icmp-error",
                                         "sctp", "gre", "generic", "fragments"};

[[nodiscard]] std::vector<Step> generate(std::uint64_t seed, const Menu& menu);

}  // namespace differential
