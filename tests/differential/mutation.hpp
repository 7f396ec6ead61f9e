// SPDX-License-Identifier: BSD-3-Clause
//
// The switch of the faults that mutate.py plants into a copy of the tracker.
#pragma once

#include <cstddef>

namespace mutation {

/// What the faults do, from number 1 on. Made by mutate.py.
extern const char* const kFaults[];
extern const std::size_t kFaultCount;

/// The fault that is on, by its number in mutate.py; 0: none.
inline int active = 0;
[[nodiscard]] inline bool on(int number) noexcept {
    return active == number;
}

}  // namespace mutation
