// SPDX-License-Identifier: BSD-3-Clause
//
// lock_model: the table's lock protocol in every order there is. See README.md.
#include "tests/model/explorer.hpp"
#include "tests/model/faults.hpp"
#include "tests/model/litmus.hpp"
#include "tests/model/scenario.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <array>
#include <cstdio>
#include <exception>
#include <fnmatch.h>
#include <string>
#include <vector>

namespace {

using namespace model;

constexpr std::uint64_t kStates = 50'000'000;
constexpr std::size_t kTraceLines = 400;

struct Options {
    std::string only = "*";
    bool list = false;
    bool all = false;
    bool tso = false;
    bool faults = false;
    unsigned fault = 0;
    std::uint64_t states = kStates;
    bool trace = false;
};

void show(const Scenario& s, const Report& r, const Options& o) {
    fmt::print(
        "{:22} {:>9} states {:>10} steps {:>6} ends {:>8.1e} schedules, longest {:>4}, "
        "{:.1f} s{}\n",
        s.name, r.states, r.steps, r.ends, static_cast<double>(r.schedules), r.longest, r.seconds,
        r.exhausted         ? ""
        : r.failure.empty() ? ": CUT OFF, not exhaustive"
                            : ": FAILED");
    if (!r.failure.empty()) {
        fmt::print("  {}: {}\n", s.about, r.failure);
        const std::size_t from =
            o.trace || r.trace.size() < kTraceLines ? 0 : r.trace.size() - kTraceLines;
        for (std::size_t i = from; i < r.trace.size(); ++i) fmt::print("    {}\n", r.trace[i]);
    }
    std::fflush(stdout);
}

std::vector<Scenario> chosen(const Options& o) {
    const Size most = o.all ? Size::Large : o.tso ? Size::Small : Size::Medium;
    std::vector<Scenario> out;
    for (Scenario& s : scenarios())
        if (fnmatch(o.only.c_str(), s.name.c_str(), 0) == 0 && (s.size <= most || o.only == s.name))
            out.push_back(std::move(s));
    return out;
}

/// Every scenario must be exhausted without a failure.
bool explore_all(const Options& o) {
    bool good = true;
    std::uint64_t states = 0;
    std::uint64_t steps = 0;
    double seconds = 0;
    for (const Scenario& s : chosen(o)) {
        const Report r = explore(s, o.tso ? Memory::TotalStoreOrder : Memory::Sequential, o.states);
        show(s, r, o);
        good = good && r.exhausted;
        states += r.states;
        steps += r.steps;
        seconds += r.seconds;
    }
    fmt::print("{}: {} states, {} steps, {:.1f} s, {}\n", good ? "passed" : "FAILED", states, steps,
               seconds, o.tso ? "total store order" : "sequential consistency");
    return good;
}

/// Each fault must fail some scenario.
bool find_faults(const Options& o) {
    bool good = true;
    const std::vector<Scenario> all = chosen(o);
    for (unsigned fault = 1; fault <= faults::kCount; ++fault) {
        faults::active = fault;
        std::string found;
        for (const Scenario& s : all) {
            const Report r = explore(s, Memory::Sequential, o.states);
            if (r.failure.empty()) continue;
            found = fmt::format("{} after {} states: {}", s.name, r.states,
                                r.failure.substr(0, r.failure.find('\n')));
            break;
        }
        faults::active = 0;
        good = good && !found.empty();
        if (found.empty())
            fmt::print("FAIL  not found: {}\n", faults::kNames[fault - 1]);
        else
            fmt::print("found {}: {}\n", faults::kNames[fault - 1], found);
        std::fflush(stdout);
    }
    return good;
}

int run(const Options& o) {
    if (o.list) {
        constexpr std::array kSizes{"", " (--tso: with --all)", " (with --all)"};
        for (const Scenario& s : scenarios())
            fmt::print("{:22} {}{}\n", s.name, s.about, kSizes[static_cast<std::size_t>(s.size)]);
        for (unsigned f = 1; f <= faults::kCount; ++f)
            fmt::print("fault {:2}  {}\n", f, faults::kNames[f - 1]);
        return 0;
    }
    if (const std::string wrong = litmus_tests(); !wrong.empty()) {
        fmt::print("the explorer itself is wrong:\n{}", wrong);
        return 2;
    }
    if (o.faults) return find_faults(o) ? 0 : 1;
    faults::active = o.fault;
    return explore_all(o) ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
    Options o;
    CLI::App app{"Runs the table's lock protocol in every order of its accesses that there is."};
    app.add_option("--only", o.only, "scenarios whose name matches this pattern");
    app.add_flag("--list", o.list, "the scenarios and the planted faults");
    app.add_flag("--all", o.all, "also the scenarios that take minutes, or hours");
    app.add_flag("--tso", o.tso, "with store buffers, as x86-64 has them");
    app.add_flag("--faults", o.faults, "plants each fault in turn; each must be found");
    app.add_option("--fault", o.fault, "with this fault, by its number in --list")
        ->check(CLI::Range(1U, faults::kCount));
    app.add_option("--states", o.states, "gives up on a scenario after so many states")
        ->capture_default_str();
    app.add_flag("--trace", o.trace, "all of a failing schedule, not its end alone");
    CLI11_PARSE(app, argc, argv);
    try {
        return run(o);
    } catch (const std::exception& e) {
        fmt::print(stderr, "lock_model: {}\n", e.what());
        return 2;
    }
}
