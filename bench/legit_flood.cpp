// SPDX-License-Identifier: BSD-3-Clause
//
// Who gets through a flood: the share of honest handshakes that succeed, over their round trip in
// units of the horizon, by policy, beside what theory says; while established flows send and must
// not lose a packet. In virtual time, and so the same on every machine: what counts is the ratio of
// round trip, flood and room, not the speed of the table.
#include "bench/harness/program.hpp"
#include "bench/load/legit.hpp"

#include <fmt/format.h>

#include <array>
#include <utility>
#include <vector>

namespace {

using namespace bench;

struct Policy {
    const char* name;
    ct::Overflow policy;
};
constexpr std::array kPolicies{Policy{"embryonic-oldest", ct::Overflow::EmbryonicOldest},
                               Policy{"linux", ct::Overflow::Linux}};
/// Oldest of all: survival of the horizon is certain, and of more impossible.
double oldest_of_all(double x) {
    return x < 1 ? 1 : 0;
}

void by_round_trip(Program& program, const Policy& policy, const LegitSetup& base,
                   const std::vector<double>& round_trips) {
    const bool fifo = policy.policy == ct::Overflow::EmbryonicOldest;
    Series measured{.id = "legit/round-trip",
                    .title = "handshakes that succeed in a flood",
                    .contestant = fmt::format("sluice, {}", policy.name),
                    .xlabel = "round trip over horizon",
                    .ylabel = "success, %",
                    .x = {},
                    .y = {}};
    std::vector<Result> rows;
    for (const double x : round_trips) {
        const std::string id = fmt::format("legit/{}/{:.2f}", policy.name, x);
        if (!program.wants(id)) continue;
        LegitSetup setup = base;
        setup.policy = policy.policy;
        setup.round_trip_over_horizon = x;
        const LegitResult r = run_legit(setup);
        const double percent =
            r.begun == 0 ? 0
                         : 100.0 * static_cast<double>(r.succeeded) / static_cast<double>(r.begun);
        measured.x.push_back(x);
        measured.y.push_back(percent);
        const double theory = 100 * (fifo ? oldest_of_all(x) : survival(x, 1));
        rows.push_back({.info = {.id = id,
                                 .group = "legit",
                                 .title = fmt::format("policy {}, round trip of {:.2f} horizons",
                                                      policy.name, x),
                                 .params = {{"round_trip_over_horizon", x},
                                            {"horizon_s", r.horizon_s},
                                            {"flood_per_s", setup.flood_per_s},
                                            {"legit_per_s", setup.legit_per_s},
                                            {"embryonic", setup.embryonic},
                                            {"established", setup.established},
                                            {"handshakes", r.begun},
                                            {"theory_percent", theory},
                                            {"established_packets", r.established_packets},
                                            {"established_lost", r.established_lost}}},
                        .contestant = measured.contestant,
                        .unit = "%",
                        .value = summarize({percent})});
        program.gate(r.established_lost == 0 && r.established_failed == 0 && r.assured_evicted == 0,
                     fmt::format("{}: {} established flows lost, {} of {} packets failed, {} "
                                 "assured evicted",
                                 id, r.established_lost, r.established_failed,
                                 r.established_packets, r.assured_evicted));
        // Away from the edge the oldest-first policy leaves nothing to chance: a quarter of the
        // horizon covers the burst in which a victim goes and the victims known ahead.
        if (fifo && x <= 0.75)
            program.gate(r.succeeded == r.begun,
                         fmt::format("{}: {} of {} handshakes", id, r.succeeded, r.begun));
        if (fifo && x >= 1.25)
            program.gate(r.succeeded == 0,
                         fmt::format("{}: {} handshakes outlived their horizon", id, r.succeeded));
    }
    if (rows.empty()) return;
    program.add(std::move(rows));
    program.add(std::move(measured));
}

void theory(Program& program) {
    for (const auto& [candidates, name] :
         {std::pair{1U, "theory: a random one goes"}, std::pair{8U, "theory: the oldest of 8 goes"},
          std::pair{0U, "theory: the oldest of all goes"}}) {
        Series s{.id = "legit/round-trip",
                 .title = "handshakes that succeed in a flood",
                 .contestant = name,
                 .xlabel = "round trip over horizon",
                 .ylabel = "success, %",
                 .x = {},
                 .y = {}};
        for (int k = 0; k <= 60; ++k) {
            const double x = k / 40.0;
            s.x.push_back(x);
            s.y.push_back(100 * (candidates == 0 ? oldest_of_all(x) : survival(x, candidates)));
        }
        program.add(std::move(s));
    }
}

void body(Program& program) {
    const Options& o = program.options();
    LegitSetup base;
    base.embryonic = o.pick(8192U, 65'536U, 262'144U);
    base.established = o.pick(2048U, 16'384U, 100'000U);
    base.flood_per_s = o.pick(1e6, 1e6, 5e6);
    base.legit_per_s = base.flood_per_s / 50;
    base.horizons = o.pick(2.0, 2.0, 4.0);
    const std::vector<double> round_trips = o.pick<std::vector<double>>(
        {0.25, 0.75, 1.5}, {0.1, 0.25, 0.5, 0.75, 0.9, 1.1, 1.25, 1.5},
        {0.05, 0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.85, 0.9, 0.95, 1.0, 1.05, 1.1, 1.25, 1.5});
    for (const Policy& p : kPolicies) by_round_trip(program, p, base, round_trips);
    if (!o.list) theory(program);
}

}  // namespace

int main(int argc, char** argv) {
    Program program{"legit_flood", "Honest handshakes in a flood.", argc, argv};
    return program.run(body);
}
