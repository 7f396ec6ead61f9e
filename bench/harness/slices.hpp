// SPDX-License-Identifier: BSD-3-Clause
//
// Alternating slices of time: A B C, B C A, C A B, ... in one process, so that whatever the machine
// does meanwhile (another tenant, a change of clock rate) meets all contestants alike, and the
// ratio of two medians means something even where the medians themselves do not.
#pragma once

#include "bench/harness/options.hpp"

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace bench {

/// Who is measured.
struct Contestant {
    std::string name;
    /// Timed: a piece of work of some hundred microseconds. Returns how many packets it was.
    std::function<std::uint64_t()> step;
    /// Not timed, before each step; for what must be put back once in a while. May be empty.
    std::function<void()> prepare;
};

/// Who is measured with several threads at once.
struct Team {
    std::string name;
    /// As Contestant::step, for each thread; each runs pinned to a CPU of its own.
    std::vector<std::function<std::uint64_t()>> steps;
    /// Not timed, before each slice, with no thread under way. May be empty.
    std::function<void()> prepare;
    /// Ends a slice before its time when it says true (a table that would be full). May be empty.
    std::function<bool()> done;
};

/// Nanoseconds a packet, by contestant and slice. The first slice of each is not counted.
[[nodiscard]] std::vector<std::vector<double>> run_slices(std::span<const Contestant> contestants,
                                                          const Options& o);

/// The same for teams: time on the wall over packets of all threads together.
[[nodiscard]] std::vector<std::vector<double>> run_team_slices(std::span<const Team> teams,
                                                               const Options& o);

}  // namespace bench
