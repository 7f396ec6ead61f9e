// SPDX-License-Identifier: BSD-3-Clause
//
// The flood and the dataplane in one process, on two net_null ports: what the driver hands out is
// stamped by a receive callback, what the dataplane sends is read by a transmit callback. In
// between runs what the daemon runs.
#pragma once

#include "dataplane/flood/options.hpp"
#include "dataplane/flood/report.hpp"

#include <stop_token>

namespace dp::flood {

/// Runs it. Ends early, with the books in order, when `stop` is requested. Throws ConfigError,
/// std::runtime_error, std::bad_alloc.
[[nodiscard]] Result run_in_process(const Options& options, std::stop_token stop);

}  // namespace dp::flood
