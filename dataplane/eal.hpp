// SPDX-License-Identifier: BSD-3-Clause
//
// DPDK's environment: which arguments EAL gets, and its start and end. What huge pages there are is
// looked at first, because EAL ends the process's hopes rather than falling back by itself.
#pragma once

#include "dataplane/control/config.hpp"
#include "dataplane/placement.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace dp {

/// Free huge pages of this machine, all NUMA nodes together.
struct HugePageStock {
    std::uint64_t free_2m = 0;  ///< pages
    std::uint64_t free_1g = 0;  ///< pages

    [[nodiscard]] static HugePageStock here();
};

/// What EAL will be started with.
struct EalPlan {
    std::vector<std::string> arguments;  ///< without the program's name
    bool huge_pages = false;
    std::vector<std::string> notes;  ///< what was chosen, and what was fallen back to; for the log
};

/// Plans for `config` with packet memory of `bytes`. `extra` comes last, as it stands. Throws
/// std::runtime_error if the configuration demands huge pages that are not there.
[[nodiscard]] EalPlan plan_eal(const Config& config, const Placement& placement,
                               const HugePageStock& stock, std::size_t bytes,
                               const std::vector<std::string>& extra = {});

/// EAL, from rte_eal_init() to rte_eal_cleanup(). One in a process, ever (EAL's limit). The calling
/// thread becomes its main lcore and is bound to the control CPUs.
class Eal {
public:
    /// Throws std::runtime_error. DPDK's own messages go to standard error.
    Eal(const std::string& program, const EalPlan& plan);
    ~Eal();
    Eal(const Eal&) = delete;
    Eal& operator=(const Eal&) = delete;

    /// What became of the packet memory's pages; for the log.
    [[nodiscard]] const std::vector<std::string>& notes() const noexcept { return notes_; }

private:
    std::vector<std::string> notes_;
};

}  // namespace dp
