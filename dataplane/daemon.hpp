// SPDX-License-Identifier: BSD-3-Clause
//
// The daemon: the dataplane, the control socket and the log, from start to a clean end.
//
// Threads: one for each worker; the main one serves the control socket; one more waits for SIGINT
// and SIGTERM and, between them, looks ten times a second for what has to be logged.
#pragma once

#include "dataplane/control/config.hpp"

#include <string>
#include <vector>

namespace dp {

/// Runs `config` until SIGINT or SIGTERM. `eal_arguments` are added to EAL's. Returns the exit
/// code: 0, or 1 if packets or buffers were lost on the way. Throws std::runtime_error if it cannot
/// start; nothing runs then.
[[nodiscard]] int run_daemon(const Config& config, const std::string& program,
                             const std::vector<std::string>& eal_arguments);

}  // namespace dp
