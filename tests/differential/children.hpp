// SPDX-License-Identifier: BSD-3-Clause
//
// Work in child processes, one a profile of sysctls: EAL starts once in a process, and a Sluice has
// one configuration for life.
#pragma once

#include <fmt/format.h>

#include <array>
#include <cstddef>
#include <cstdio>
#include <stdexcept>
#include <sys/wait.h>
#include <type_traits>
#include <unistd.h>
#include <vector>

namespace differential {

/// Runs `job(index)` for each index below `count` in a process of its own, all at the same time.
/// Returns what the jobs returned, in any order. Throws std::runtime_error if one of them threw,
/// after it has been told on standard error, or ended otherwise.
template <class Job>
[[nodiscard]] auto in_children(std::size_t count, Job job) {
    using Result = std::invoke_result_t<Job, std::size_t>;
    static_assert(std::is_trivially_copyable_v<Result>, "it goes through a pipe");
    std::array<int, 2> ends{};
    if (pipe(ends.data()) != 0) throw std::runtime_error("no pipe");
    for (std::size_t i = 0; i < count; ++i) {
        std::fflush(stdout);
        if (fork() != 0) continue;
        int code = 1;
        try {
            const Result result = job(i);
            std::fflush(stdout);
            if (write(ends[1], &result, sizeof result) == sizeof result) code = 0;
        } catch (const std::exception& e) {
            fmt::print(stderr, "differential: {}\n", e.what());
        }
        _exit(code);
    }
    close(ends[1]);
    std::vector<Result> all;
    Result one;
    while (read(ends[0], &one, sizeof one) == sizeof one) all.push_back(one);
    close(ends[0]);
    for (std::size_t i = 0; i < count; ++i) static_cast<void>(wait(nullptr));
    if (all.size() != count) throw std::runtime_error("a part of the work has failed; see above");
    return all;
}

}  // namespace differential
