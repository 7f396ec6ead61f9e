// SPDX-License-Identifier: BSD-3-Clause
//
// Checks of the architecture's invariants where they could be broken, on the packet path. Compiled
// in by the build option `checks`: `cheap` (1) costs a comparison, `full` (2) looks things up
// again. Off, they cost nothing. They are about our own code, never about input.
#pragma once

#include <cstdio>
#include <cstdlib>

#ifndef SLUICE_CHECKS
#define SLUICE_CHECKS 0
#endif

namespace ct {

inline constexpr int kChecks = SLUICE_CHECKS;

/// Ends the program if an invariant does not hold; `what` names it. Any thread.
inline void check(bool holds, const char* what) noexcept {
    if (holds) return;
    std::fprintf(stderr, "sluice: invariant broken: %s\n", what);
    std::abort();
}

}  // namespace ct
