// SPDX-License-Identifier: BSD-3-Clause
//
// The kernel's record against Sluice's, and the differences that are meant to be.
#pragma once

#include "tests/differential/trace.hpp"

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace differential {

/// The first thing in which two records differ.
struct Divergence {
    std::size_t step = 0;  ///< index of the step after which it showed; past the end: at the end
    std::string what;      ///< "ctstate", "verdict", "entry", "state", ...
    std::string kernel;
    std::string sluice;
};

[[nodiscard]] std::optional<Divergence> compare(const Profile& profile,
                                                const std::vector<Step>& steps,
                                                const Record& kernel, const Record& sluice);

/// The same of the steps alone, for a record that has no more.
[[nodiscard]] std::optional<Divergence> compare_steps(const Profile& profile,
                                                      const std::vector<Step>& steps,
                                                      const Record& kernel, const Record& sluice);

/// "tcp 6 119 SYN_SENT 192.0.2.10:40000 > ... unreplied packets 1/0 bytes 60/0"
[[nodiscard]] std::string to_text(const Entry& e);
/// "out NEW original"
[[nodiscard]] std::string to_text(const Observation& o);

}  // namespace differential
