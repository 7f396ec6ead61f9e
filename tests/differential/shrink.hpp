// SPDX-License-Identifier: BSD-3-Clause
//
// From a sequence of steps that diverges to a short one that diverges in the same way.
#pragma once

#include "tests/differential/compare.hpp"
#include "tests/differential/runner.hpp"
#include "tests/differential/sluice.hpp"

#include <vector>

namespace differential {

struct Shrunk {
    std::vector<Step> steps;
    Record kernel;
    Record sluice;
    Divergence divergence;
};

/// `found` is what compare() says of `steps`. Takes away whatever can be taken, many attempts at a
/// time, for a bounded number of rounds.
[[nodiscard]] Shrunk shrink(const Profile& profile, Shrunk found, Runner& runner, Sluice& sluice);

}  // namespace differential
