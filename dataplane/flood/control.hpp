// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "dataplane/control/server.hpp"
#include "dataplane/dataplane.hpp"

#include <string>
#include <thread>

namespace dp::flood {

/// The control socket of a dataplane in this process, for sluicectl: served by a thread of its own,
/// on the CPUs of the thread that made it, from construction to destruction.
class Control {
public:
    /// Throws std::runtime_error if nobody can listen at `path`. `dataplane` outlives this.
    Control(const std::string& path, Dataplane& dataplane);

private:
    Server server_;
    std::jthread thread_;
};

}  // namespace dp::flood
