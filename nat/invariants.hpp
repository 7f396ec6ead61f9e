// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "ct/conntrack.hpp"
#include "nat/setup.hpp"

#include <string>

namespace nat {

/// Checks what must hold of endpoint-independent mappings at rest (no call under way, nothing
/// expired that is not reclaimed), invariant I4 among it:
///   - no two mappings have one external endpoint, and none has one that others share;
///   - the ports taken, less those that rest, are those of mappings and shares;
///   - a mapping has as many users as there are connections in the table that use it, and a port no
///     more that share it than are on it.
/// Empty if it holds, else what is wrong. Slow.
[[nodiscard]] std::string check_mappings(const ct::Conntrack& table, const Setup& setup,
                                         ct::Nanos now);

}  // namespace nat
