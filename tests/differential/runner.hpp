// SPDX-License-Identifier: BSD-3-Clause
//
// Runs seeds through the kernel, many at a time: those that need real time to pass wait for it
// together.
#pragma once

#include "tests/differential/kernel.hpp"
#include "tests/differential/trace.hpp"

#include <cstddef>
#include <memory>
#include <vector>

namespace differential {

/// Kernels of one profile, each for one seed at a time.
class Runner {
public:
    /// Makes `count` kernels. The calling thread ends in the last one's namespace.
    Runner(const Profile& profile, std::size_t count);

    [[nodiscard]] std::size_t count() const noexcept { return kernels_.size(); }

    /// Runs as many sequences of steps as there are kernels, at most. Throws std::runtime_error if
    /// the machine is so busy that a sequence cannot be run without disturbance.
    [[nodiscard]] std::vector<Record> run(const std::vector<const std::vector<Step>*>& all);

private:
    struct Progress;

    std::vector<std::unique_ptr<Kernel>> kernels_;
};

}  // namespace differential
