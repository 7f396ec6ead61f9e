// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "dataplane/control/protocol.hpp"

#include <array>
#include <cstdint>
#include <optional>

namespace dp {

/// The entry that -I and -A make, out of the options that are filters elsewhere: its tuples, zones,
/// time-out, state and mark. `vtags` are those of --orig-vtag and --reply-vtag. What is missing or
/// does not go together is thrown, as BadParameter or Unserved, in conntrack(8)'s words.
[[nodiscard]] ct::Injection entry_of(const Filter& f,
                                     const std::array<std::optional<std::uint32_t>, 2>& vtags);

}  // namespace dp
