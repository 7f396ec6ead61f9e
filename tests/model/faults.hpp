// SPDX-License-Identifier: BSD-3-Clause
//
// The switch of the faults that prepare.py plants into its copies.
#pragma once

namespace model::faults {

/// What the faults do, from number 1 on. Made by prepare.py.
extern const char* const kNames[];
extern const unsigned kCount;

/// The fault that is on, by its number; 0: none.
inline unsigned active = 0;
[[nodiscard]] inline bool on(unsigned number) noexcept {
    return active == number;
}

}  // namespace model::faults
