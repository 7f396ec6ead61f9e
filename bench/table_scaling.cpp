// SPDX-License-Identifier: BSD-3-Clause
//
// Two workers on one table against one. The unit is time on the wall over packets of both: perfect
// scaling halves it. What the memory itself gives two cores stands beside it, and the figure is the
// ratio of the two speed-ups.
#include "bench/load/pair.hpp"

#include <fmt/format.h>

#include <array>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

using namespace bench;
using Graph = RoofShape::Graph;

/// Threads that compute and share nothing, not even memory, with as many instructions under way at
/// a time as a core can hold: what they gain tells whether the CPUs were there for both, or were
/// lent to somebody else, or to each other, in the meantime.
Team arithmetic_team(std::uint32_t workers) {
    Team team{
        .name = fmt::format("arithmetic alone, {} worker{}", workers, workers == 1 ? "" : "s"),
        .steps = {},
        .prepare = {},
        .done = {}};
    for (std::uint32_t w = 0; w < workers; ++w)
        team.steps.emplace_back([lanes = std::array<std::uint64_t, 8>{w}]() mutable {
            constexpr unsigned kRounds = 4;  // as long as a packet takes
            for (std::uint32_t n = 0; n < Pair::kStep * kRounds; ++n)
                for (std::uint64_t& lane : lanes) lane = mix(lane + n);
            // Never so often; but then the loop has to be run.
            std::uint64_t sum = 0;
            for (const std::uint64_t lane : lanes) sum += lane;
            return std::uint64_t{Pair::kStep} + (sum == 1 ? 1 : 0);
        });
    return team;
}

/// Measures teams of which the first is one worker and the last two are rooflines, of one worker
/// and of two, with arithmetic beside them; tells how the speed-ups compare.
void measure_scaling(Program& program, const CaseInfo& info, std::vector<Team> teams,
                     const std::string& roof_id) {
    const std::size_t one_roof = teams.size() - 2;
    const std::size_t one_arithmetic = teams.size();
    for (const std::uint32_t workers : {1U, kPair}) teams.push_back(arithmetic_team(workers));
    const auto slices = run_team_slices(teams, program.options());
    std::vector<double> median;
    for (const auto& s : slices) median.push_back(summarize(s).median);
    const double roof_speedup = median[one_roof] / median[one_roof + 1];
    const auto alone = [&](std::size_t c) {
        if (c >= one_arithmetic) return one_arithmetic;
        return c >= one_roof ? one_roof : std::size_t{0};
    };
    std::vector<Result> rows;
    for (std::size_t c = 0; c < teams.size(); ++c) {
        Result r{.info = info, .contestant = teams[c].name, .value = summarize(slices[c])};
        const std::size_t workers = teams[c].steps.size();
        r.info.params["workers"] = workers;
        if (c < one_roof) {
            r.roof_ns = median[workers == 1 ? one_roof : one_roof + 1];
            r.roof_id = roof_id;
        }
        if (workers > 1) {
            const double speedup = median[alone(c)] / median[c];
            r.info.params["speedup"] = speedup;
            r.info.params["speedup_over_roof"] = speedup / roof_speedup;
            program.note(
                fmt::format("{}: {}: {:.2f} times one worker, {:.2f} of the roofline's "
                            "{:.2f}",
                            info.id, teams[c].name, speedup, speedup / roof_speedup, roof_speedup));
        }
        rows.push_back(std::move(r));
    }
    program.add(std::move(rows));
}

void check_hits(Program& program, const std::string& id, Pair& pair, std::uint32_t flows) {
    const ct::Counters c = pair.table().counters();
    const std::uint64_t unexpected = pair.tally(0).unexpected + pair.tally(1).unexpected;
    const std::uint64_t sent = 3 * std::uint64_t{flows} + pair.tally(0).sent + pair.tally(1).sent;
    pair.same_time();
    const ct::Nanos now = pair.tracker(0).now;
    program.gate(unexpected == 0, fmt::format("{}: {} packets not ESTABLISHED", id, unexpected));
    program.gate(
        c.assured_evicted == 0 && c.early_drop == 0 && c.drop == 0 && c.invalid == 0,
        fmt::format("{}: {} evicted, {} refused, {} invalid", id, c.early_drop, c.drop, c.invalid));
    program.gate_empty(
        missing_flows(pair.table(), {}, flows, true, now, std::max(1U, flows / 100'000)), id);
    const std::uint64_t counted = counted_packets(pair.table(), now);
    program.gate(counted == sent, fmt::format("{}: {} sent, {} counted", id, sent, counted));
    if (program.options().once()) program.gate_empty(pair.table().check_invariants(), id);
}

void hits(Program& program, std::uint32_t flows) {
    const std::string id = fmt::format("workers/hit/{}", flows);
    if (!program.wants(id, table_and_roof_bytes(flows))) return;
    Pair pair{table_settings(flows)};
    pair.tracker(0).establish(0, flows);
    pair.same_time();
    const auto memory = memory_like(pair.table());
    const RoofShape shape{.graph = Graph::Established, .side_lines = memory->side_lines};
    std::vector<Team> teams;
    teams.push_back(pair.hits("sluice, 1 worker", 1, flows, 0));
    for (const unsigned split : {0U, 50U, 100U})
        teams.push_back(pair.hits(fmt::format("sluice, 2 workers, {} % of flows on both", split),
                                  kPair, flows, split));
    const RoofSchedule schedule =
        make_roof(program, memory, shape, Draw::uniform(flows, 1), kBurst).schedule;
    teams.push_back(roof_team(memory, shape, schedule, 1));
    teams.push_back(roof_team(memory, shape, schedule, kPair));
    measure_scaling(program,
                    {.id = id,
                     .group = "workers",
                     .title = fmt::format("hits, {} flows; the directions of a share of them on "
                                          "different cores",
                                          flows),
                     .params = {{"flows", flows}, {"burst", kBurst}}},
                    teams, shape.id());
    check_hits(program, id, pair, flows);
}

/// All packets are of one flow.
void elephant(Program& program) {
    const std::string id = "workers/elephant";
    if (!program.wants(id)) return;
    Pair pair{table_settings(4096)};
    pair.tracker(0).establish(0, 1);
    pair.same_time();
    const std::vector<Team> teams{pair.hits("sluice, 1 worker", 1, 1, 0),
                                  pair.hits("sluice, 2 workers, a direction each", kPair, 1, 100)};
    program.measure_teams({.id = id,
                           .group = "workers",
                           .title = "all packets are of one flow",
                           .params = {{"flows", 1}, {"burst", kBurst}}},
                          teams);
    check_hits(program, id, pair, 1);
}

void floods(Program& program, std::uint32_t max, Pair::Room room) {
    const bool full = room == Pair::Room::Made;
    const std::string id = fmt::format("workers/{}/{}", full ? "full" : "insert", max);
    if (!program.wants(id, table_and_roof_bytes(max))) return;
    Pair pair{table_settings(max)};
    constexpr std::uint32_t kBefore = 2'000'000'000;  // flows that fill the table
    pair.tracker(0).open(kBefore, max);
    Ageing{pair.table()}.clear(pair.tracker(0).now);
    if (full) {
        pair.tracker(0).open(kBefore, max / 2);
        pair.tracker(1).open(kBefore + max / 2, max - max / 2);
        // Records of what was cleared are stepped over before the first victim is found.
        for (ct::WorkerId w = 0; w < kPair; ++w)
            pair.tracker(w).open(kBefore + max * (1 + w), 64 * kBurst);
    }
    const ct::Counters before = pair.table().counters();
    const auto memory = memory_like(pair.table());
    const RoofShape shape{.graph = full ? Graph::Evict : Graph::Insert,
                          .side_lines = memory->side_lines};
    const RoofSchedule schedule =
        make_roof(program, memory, shape, Draw::uniform(max, 1), kBurst).schedule;
    const std::vector<Team> teams{
        pair.flood("sluice, 1 worker", 1, room), pair.flood("sluice, 2 workers", kPair, room),
        roof_team(memory, shape, schedule, 1), roof_team(memory, shape, schedule, kPair)};
    measure_scaling(program,
                    {.id = id,
                     .group = "workers",
                     .title = full ? fmt::format("SYN flood on a full table of {}", max)
                                   : fmt::format("SYN flood into a table of {}, 0 to 90 %", max),
                     .params = {{"max", max},
                                {"burst", kBurst},
                                {"overflow", name_of(pair.table().settings().overflow)}}},
                    teams, shape.id());
    const ct::Counters c = pair.table().counters();
    const std::uint64_t sent = pair.tally(0).sent + pair.tally(1).sent;
    const std::uint64_t unexpected = pair.tally(0).unexpected + pair.tally(1).unexpected;
    program.gate(unexpected == 0 && c.opened - before.opened == sent && c.drop == before.drop,
                 fmt::format("{}: {} sent, {} opened, {} refused, {} not as expected", id, sent,
                             c.opened - before.opened, c.drop - before.drop, unexpected));
    program.gate(c.assured_evicted == 0, fmt::format("{}: {} assured", id, c.assured_evicted));
    constexpr std::uint64_t kSpare = 3 * 128;  // free entries in the caches of three
    program.gate(
        !full || c.early_drop - before.early_drop + kSpare >= sent,
        fmt::format("{}: {} newcomers evicted {}", id, sent, c.early_drop - before.early_drop));
    if (program.options().once()) program.gate_empty(pair.table().check_invariants(), id);
}

void body(Program& program) {
    if (std::thread::hardware_concurrency() < kPair)
        program.note("one CPU only: the two workers share it, and nothing can scale");
    const Options& o = program.options();
    hits(program, o.pick<std::uint32_t>(4096, 1'000'000, 1'000'000));
    floods(program, o.pick<std::uint32_t>(1U << 15, 1U << 20, 1U << 20), Pair::Room::Needed);
    floods(program, o.pick<std::uint32_t>(1U << 15, 1U << 20, 1U << 20), Pair::Room::Made);
    elephant(program);
}

}  // namespace

int main(int argc, char** argv) {
    Program program{"table_scaling", "Two workers on one table.", argc, argv};
    return program.run(body);
}
