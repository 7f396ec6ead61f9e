// SPDX-License-Identifier: BSD-3-Clause
//
// What the model has in the place of ct/base/check.hpp: the cheap checks are on, and one that fails
// ends the schedule, not the program.
#pragma once

#include "tests/model/steps.hpp"

namespace ct {

inline constexpr int kChecks = 1;

inline void check(bool holds, const char* what) noexcept {
    if (!holds) model::fail(what);
}

}  // namespace ct
