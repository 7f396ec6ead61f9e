// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <string>

namespace model {

/// Explores programs of a few accesses whose outcomes are known, under both memory models, and two
/// that go wrong. Empty if the explorer finds exactly the outcomes that there are, else what it got
/// wrong.
[[nodiscard]] std::string litmus_tests();

}  // namespace model
