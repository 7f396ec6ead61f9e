// SPDX-License-Identifier: BSD-3-Clause
#include "bench/harness/program.hpp"

#include "bench/harness/clock.hpp"
#include "bench/harness/machine.hpp"

#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fnmatch.h>
#include <utility>

namespace bench {

Program::Program(std::string name, const std::string& about, int argc, char** argv)
    : options_{parse_options(about, argc, argv)} {
    results_.program = std::move(name);
    if (options_.list) return;
    try {
        pin_to(options_.core);
        choose_pages(options_.pages);
        say_where();
    } catch (const std::exception& e) {
        fmt::print(stderr, "{}: {}\n", results_.program, e.what());
        std::exit(2);
    }
}

void Program::say_where() const {
    const nlohmann::ordered_json facts = machine_facts(options_);
    fmt::print("{}: {}, {:.2f} GHz (TSC {:.2f} GHz), CPU {}, {}\n{} {}, pages {}, commit {}\n",
               results_.program, facts.at("cpu").get<std::string>(),
               facts.at("core_ghz").get<double>(), facts.at("tsc_ghz").get<double>(), options_.core,
               facts.at("kernel").get<std::string>(), facts.at("compiler").get<std::string>(),
               facts.at("flags").get<std::string>(), name_of(options_.pages),
               facts.at("commit").get<std::string>());
    if (facts.at("assertions").get<bool>())
        fmt::print("warning: assertions are on; these are no figures to quote\n");
}

bool Program::wants(const std::string& id) {
    if (fnmatch(options_.only.c_str(), id.c_str(), 0) != 0) return false;
    if (options_.list) fmt::print("{}\n", id);
    return !options_.list;
}

bool Program::wants(const std::string& id, std::size_t bytes) {
    if (!wants(id)) return false;
    const std::size_t have = available_memory_bytes();
    if (bytes < have) return true;
    note(fmt::format("{} left out: it needs {} MiB of memory and {} are available", id, bytes >> 20,
                     have >> 20));
    return false;
}

void Program::keep(const CaseInfo& info, const std::vector<std::string>& names,
                   const std::vector<std::vector<double>>& slices, const Roles& roles) {
    const double roof = roles.roof < slices.size() ? summarize(slices[roles.roof]).median : 0;
    std::vector<Result> out;
    const auto row = [&](const std::string& name, const std::vector<double>& values, bool is_roof) {
        Result r{.info = info, .contestant = name, .value = summarize(values)};
        if (!is_roof) r.roof_ns = roof;
        if (!is_roof) r.roof_id = roles.roof_id;
        out.push_back(std::move(r));
    };
    for (std::size_t c = 0; c < slices.size(); ++c) {
        const bool of_tracker = c != roles.roof && c != roles.overhead;
        row(names[c], slices[c], !of_tracker);
    }
    for (const std::size_t c : roles.net_of_overhead) {
        std::vector<double> net = slices[c];
        for (std::size_t s = 0; s < net.size(); ++s) net[s] -= slices[roles.overhead][s];
        row(names[c] + " net", net, false);
    }
    add(std::move(out));
}

void Program::measure(const CaseInfo& info, std::span<const Contestant> contestants,
                      const Roles& roles) {
    std::vector<std::string> names;
    for (const Contestant& c : contestants) names.push_back(c.name);
    keep(info, names, run_slices(contestants, options_), roles);
}

void Program::measure_teams(const CaseInfo& info, std::span<const Team> teams, const Roles& roles) {
    std::vector<std::string> names;
    for (const Team& t : teams) names.push_back(t.name);
    keep(info, names, run_team_slices(teams, options_), roles);
    pin_to(options_.core);
}

void Program::add(std::vector<Result> results) {
    const std::size_t from = results_.cases.size();
    for (Result& r : results) results_.cases.push_back(std::move(r));
    print_cases(results_, from);
}

void Program::add(Series s) {
    results_.series.push_back(std::move(s));
}

void Program::note(std::string text) {
    fmt::print("note: {}\n", text);
    results_.notes.push_back(std::move(text));
}

bool Program::gate(bool holds, std::string_view what) {
    if (holds) return true;
    fmt::print(stderr, "{}: GATE FAILED: {}\n", results_.program, what);
    results_.failed.emplace_back(what);
    return false;
}

bool Program::gate_empty(const std::string& reason, std::string_view what) {
    return gate(reason.empty(), fmt::format("{}: {}", what, reason));
}

int Program::run(const std::function<void(Program&)>& body) {
    try {
        body(*this);
        return finish();
    } catch (const std::exception& e) {
        fmt::print(stderr, "{}: {}\n", results_.program, e.what());
        return 2;
    }
}

int Program::finish() {
    if (options_.list) return 0;
    write_json(results_, options_);
    for (const std::string& what : results_.failed)
        fmt::print(stderr, "{}: gate failed: {}\n", results_.program, what);
    return results_.failed.empty() ? 0 : 1;
}

}  // namespace bench
