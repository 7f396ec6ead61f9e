// SPDX-License-Identifier: BSD-3-Clause
//
// The frame of a benchmark program: flags, choice of cases, measurement, gates, output.
#pragma once

#include "bench/harness/options.hpp"
#include "bench/harness/results.hpp"
#include "bench/harness/slices.hpp"

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bench {

/// What a contestant is to the others of its case.
struct Roles {
    std::size_t none = static_cast<std::size_t>(-1);
    std::size_t roof = none;      ///< the roofline, which the others are set against
    std::string roof_id;          ///< its shape
    std::size_t overhead = none;  ///< the cost of making the packets
    /// Whose overhead it is: a row "NAME net" is given, slice by slice less the overhead.
    std::vector<std::size_t> net_of_overhead{};
};

class Program {
public:
    /// Reads the flags, pins the thread, chooses pages. `about` is one sentence for --help.
    Program(std::string name, const std::string& about, int argc, char** argv);

    [[nodiscard]] const Options& options() const noexcept { return options_; }

    /// True if the case is to be measured. With --list, names it and says no.
    [[nodiscard]] bool wants(const std::string& id);
    /// The same for a case that needs `bytes` of memory, which is left out with a note where they
    /// are not to be had.
    [[nodiscard]] bool wants(const std::string& id, std::size_t bytes);

    /// Measures a case in alternating slices and keeps and prints the results.
    void measure(const CaseInfo& info, std::span<const Contestant> contestants,
                 const Roles& roles = {});
    /// The same with several threads a contestant.
    void measure_teams(const CaseInfo& info, std::span<const Team> teams, const Roles& roles = {});
    /// Keeps and prints a result that was found in another way.
    void add(std::vector<Result> results);
    void add(Series s);
    void note(std::string text);

    /// A correctness gate: a benchmark of a table that does not do its work is worthless. Returns
    /// `holds`.
    bool gate(bool holds, std::string_view what);
    /// The same with the reason, empty if it holds.
    bool gate_empty(const std::string& reason, std::string_view what);

    /// Runs `body`, then finish(). What it throws ends the program with its message.
    int run(const std::function<void(Program&)>& body);

private:
    void say_where() const;
    int finish();
    void keep(const CaseInfo& info, const std::vector<std::string>& names,
              const std::vector<std::vector<double>>& slices, const Roles& roles);

    Options options_;
    Results results_;
};

}  // namespace bench
