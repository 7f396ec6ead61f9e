// SPDX-License-Identifier: BSD-3-Clause
#include "bench/harness/results.hpp"

#include "bench/harness/machine.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <fstream>
#include <stdexcept>
#include <system_error>

namespace bench {

namespace {

bool has_rate(const Result& r) {
    return r.unit == "ns/packet" && r.value.median > 0;
}

/// Millions of packets a second.
double mpps(const Result& r) {
    return 1000 / r.value.median;
}

nlohmann::ordered_json to_json(const Result& r) {
    nlohmann::ordered_json out{
        {"id", r.info.id},          {"group", r.info.group},      {"title", r.info.title},
        {"params", r.info.params},  {"contestant", r.contestant}, {"unit", r.unit},
        {"median", r.value.median}, {"q1", r.value.q1},           {"q3", r.value.q3},
        {"min", r.value.min},       {"max", r.value.max},         {"slices", r.value.slices}};
    if (has_rate(r)) out["mpps"] = mpps(r);
    if (r.roof_ns > 0) {
        out["roof_ns"] = r.roof_ns;
        out["roof_id"] = r.roof_id;
    }
    return out;
}

nlohmann::ordered_json to_json(const Series& s) {
    return {{"id", s.id}, {"title", s.title},   {"contestant", s.contestant}, {"x", s.x},
            {"y", s.y},   {"xlabel", s.xlabel}, {"ylabel", s.ylabel}};
}

}  // namespace

void print_cases(const Results& r, std::size_t from) {
    for (std::size_t i = from; i < r.cases.size(); ++i) {
        const Result& c = r.cases[i];
        if (i == from || c.info.id != r.cases[i - 1].info.id)
            fmt::print("\n{}: {}\n", c.info.id, c.info.title);
        const std::string roof = c.roof_ns > 0 && c.value.median > 0
                                     ? fmt::format("  {:4.2f} of {} {:.1f}",
                                                   c.roof_ns / c.value.median, c.roof_id, c.roof_ns)
                                     : "";
        const std::string rate = has_rate(c) ? fmt::format("{:7.2f} Mpps", mpps(c)) : "";
        fmt::print("  {:34} {:9.2f} {:11}{:13} [{:.2f} .. {:.2f}, {:.2f} .. {:.2f}] x{}{}\n",
                   c.contestant, c.value.median, c.unit, rate, c.value.q1, c.value.q3, c.value.min,
                   c.value.max, c.value.slices, roof);
    }
    std::fflush(stdout);
}

void write_json(const Results& r, const Options& o) {
    if (o.json.empty()) return;
    nlohmann::ordered_json out{{"program", r.program}, {"machine", machine_facts(o)}};
    out["effort"] = o.pick("once", "quick", "normal");
    out["cases"] = nlohmann::ordered_json::array();
    for (const Result& c : r.cases) out["cases"].push_back(to_json(c));
    out["series"] = nlohmann::ordered_json::array();
    for (const Series& s : r.series) out["series"].push_back(to_json(s));
    out["notes"] = r.notes;
    out["failed"] = r.failed;
    std::ofstream file{o.json};
    file << out.dump(1) << '\n';
    if (!file.flush())
        throw std::runtime_error{
            fmt::format("cannot write {}: {}", o.json, std::generic_category().message(errno))};
}

}  // namespace bench
