// SPDX-License-Identifier: BSD-3-Clause
//
// Which CPU does what. A worker polls, so it should have a core to itself, near the memory that its
// ports write to; control work should not disturb it. With `workers = "auto"` this chooses as
// somebody would who knows the machine: the first core is left to control (the kernel's own work
// tends to be there too), every other physical core on the ports' NUMA node gets a worker, and
// hyperthreads stay idle, as two polling threads on one core only take from each other.
#pragma once

#include "dataplane/control/config.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace dp {

/// One logical CPU that this process may use.
struct Cpu {
    std::uint32_t id = 0;    ///< the kernel's number
    std::uint32_t core = 0;  ///< physical core; siblings share it
    int node = 0;            ///< NUMA node
};

/// What there is to choose from.
struct Topology {
    std::vector<Cpu> cpus;  ///< by id

    /// This machine, as far as the process's affinity allows. Throws std::runtime_error.
    [[nodiscard]] static Topology here();
};

/// NUMA node of a PCI device, or -1 if it is unknown or there is but one.
[[nodiscard]] int node_of_pci(const std::string& address);

/// The choice.
struct Placement {
    std::vector<std::uint32_t> control;  ///< CPUs for control work
    std::vector<std::uint32_t> workers;  ///< a CPU for each worker
    /// A worker shares its CPU, with control or another worker: it must let go when it has no work.
    bool crowded = false;
    int node = -1;                   ///< where tables and buffers belong; -1: no matter
    std::vector<std::string> notes;  ///< what was chosen and why; for the log
};

/// Chooses for `config` on `topology`; `port_nodes` are the ports' NUMA nodes, -1 where unknown.
/// Throws std::runtime_error if the configuration names a CPU that may not be used.
[[nodiscard]] Placement place(const DataplaneConfig& config, const Topology& topology,
                              const std::vector<int>& port_nodes);

}  // namespace dp
