// SPDX-License-Identifier: BSD-3-Clause
//
// SYN floods: into a table that is not full, and into a full one, where the oldest embryonic entry
// goes; the latter over twenty turnovers and more, as a series.
#include "bench/harness/clock.hpp"
#include "bench/load/flood.hpp"

#include <fmt/format.h>

#include <array>
#include <vector>

namespace {

using namespace bench;
using Graph = RoofShape::Graph;

nlohmann::ordered_json params(std::uint32_t max, ct::Conntrack& table) {
    return {{"max", max},
            {"burst", kBurst},
            {"family", "ipv4"},
            {"proto", "tcp"},
            {"acct", true},
            {"overflow", name_of(table.settings().overflow)},
            {"pages", table.memory().pages}};
}

void inserts(Program& program, std::uint32_t max, Order order) {
    const std::string id =
        fmt::format("insert/{}/{}", max, order == Order::Aged ? "aged" : "fresh");
    if (!program.wants(id, table_and_roof_bytes(max))) return;
    InsertFlood flood{max, {.order = order, .kind = {}}};
    const RoofContestant roof =
        make_roof(program, memory_like(flood.table()),
                  {.graph = Graph::Insert, .side_lines = side_lines_of(flood.table())},
                  Draw::uniform(max, 1), kBurst);
    const std::array contestants{flood.contestant("sluice"), flood_filling(), roof.contestant};
    program.measure(
        {.id = id,
         .group = "insert",
         .title = fmt::format("SYN flood into a table of {}, 0 to 90 % full, entries {}", max,
                              order == Order::Aged ? "at random in memory" : "side by side"),
         .params = params(max, flood.table())},
        contestants, {.roof = 2, .roof_id = roof.id, .overhead = 1, .net_of_overhead = {0}});
    flood.check(program, id);
}

void full(Program& program, std::uint32_t max, Order order, unsigned assured_percent) {
    const std::string id =
        fmt::format("full/{}/{}", max,
                    assured_percent != 0   ? fmt::format("assured{}", assured_percent)
                    : order == Order::Aged ? "aged"
                                           : "fresh");
    if (!program.wants(id, table_and_roof_bytes(max))) return;
    const auto assured = static_cast<std::uint32_t>(std::uint64_t{max} * assured_percent / 100);
    FullFlood flood{max, {.order = order, .kind = {}, .assured = assured}};
    const RoofContestant roof =
        make_roof(program, memory_like(flood.table()),
                  {.graph = Graph::Evict, .side_lines = side_lines_of(flood.table())},
                  Draw::uniform(max, 1), kBurst);
    const std::array contestants{flood.contestant("sluice"), flood_filling(), roof.contestant};
    auto p = params(max, flood.table());
    p["assured"] = assured;
    program.measure(
        {.id = id,
         .group = "full",
         .title = fmt::format("SYN flood on a full table of {}, {} assured, entries {}", max,
                              assured, order == Order::Aged ? "at random" : "side by side"),
         .params = p},
        contestants, {.roof = 2, .roof_id = roof.id, .overhead = 1, .net_of_overhead = {0}});
    flood.check(program, id);
}

/// Fills tables and tells the cost for each hundredth: does a table grow slow as it fills?
void fill_series(Program& program, std::uint32_t max) {
    const std::string id = fmt::format("fill/{}", max);
    if (!program.wants(id, table_and_roof_bytes(max))) return;
    const Options& o = program.options();
    constexpr std::uint32_t kParts = 100;
    // All but what the caches of free entries may hold back.
    const std::uint32_t part = (max - 128) / kParts;
    std::vector<std::vector<double>> ns(kParts);
    ct::Conntrack table{table_settings(max), 1, kHashSeed};
    Tracker tracker{table, 0};
    Ageing ageing{table};
    std::uint32_t next = 0;
    const unsigned rounds = o.pick(1U, 3U, 7U);
    for (unsigned round = 0; round <= rounds; ++round) {  // the first ages the table
        for (std::uint32_t k = 0; k < kParts; ++k) {
            const std::uint64_t begin = tsc();
            tracker.open(next, part);
            const double took = static_cast<double>(tsc() - begin) * ns_per_tick();
            next += part;
            if (round != 0) ns[k].push_back(took / part);
        }
        program.gate(table.count() == kParts * part && table.counters().drop == 0,
                     fmt::format("{}: {} entries for {} flows", id, table.count(), kParts * part));
        ageing.clear(tracker.now);
    }
    Series out{.id = id,
               .title = fmt::format("SYN flood into an empty table of {}", max),
               .contestant = "sluice",
               .xlabel = "fill, %",
               .ylabel = "ns/packet",
               .x = {},
               .y = {}};
    for (std::uint32_t k = 0; k < kParts; ++k) {
        out.x.push_back(k + 1);
        out.y.push_back(summarize(ns[k]).median);
    }
    program.add({Result{.info = {.id = id + "/first10",
                                 .group = "fill",
                                 .title = "the first tenth",
                                 .params = params(max, table)},
                        .contestant = "sluice",
                        .value = summarize({out.y.begin(), out.y.begin() + 10})},
                 Result{.info = {.id = id + "/last10",
                                 .group = "fill",
                                 .title = "the last tenth",
                                 .params = params(max, table)},
                        .contestant = "sluice",
                        .value = summarize({out.y.end() - 10, out.y.end()})}});
    program.add(std::move(out));
}

/// A flood on a full table that goes on and on: cost over turnovers, beside the roofline's, a tenth
/// of a turnover each by turns.
void turnovers(Program& program, std::uint32_t max) {
    const std::string id = fmt::format("turnover/{}", max);
    if (!program.wants(id, table_and_roof_bytes(max))) return;
    const unsigned count = program.options().pick(2U, 20U, 40U);
    FullFlood flood{max, {.kind = {}}};
    const RoofContestant roof =
        make_roof(program, memory_like(flood.table()),
                  {.graph = Graph::Evict, .side_lines = side_lines_of(flood.table())},
                  Draw::uniform(max, 1), kBurst);
    constexpr std::uint32_t kParts = 10;
    constexpr std::uint32_t kBursts = kBurst;
    const std::uint32_t part = max / kParts / kBursts * kBursts;
    Series table{.id = id,
                 .title = fmt::format("SYN flood on a full table of {}", max),
                 .contestant = "sluice",
                 .xlabel = "turnovers of the table",
                 .ylabel = "ns/packet",
                 .x = {},
                 .y = {}};
    Series roof_series = table;
    roof_series.contestant = roof.contestant.name;
    const auto timed = [](auto&& work) {
        const std::uint64_t begin = tsc();
        const std::uint64_t packets = work();
        return static_cast<double>(tsc() - begin) * ns_per_tick() / static_cast<double>(packets);
    };
    for (std::uint32_t k = 0; k < count * kParts; ++k) {
        const double x = static_cast<double>(k) / kParts;
        table.x.push_back(x);
        table.y.push_back(timed([&] { return flood.step(part); }));
        roof_series.x.push_back(x);
        roof_series.y.push_back(timed([&] {
            std::uint64_t done = 0;
            while (done < part) done += roof.contestant.step();
            return done;
        }));
    }
    const Line line = fit_line(table.x, table.y);
    const double percent = line.mean == 0 ? 0 : 100 / line.mean;
    CaseInfo info{.id = id,
                  .group = "turnover",
                  .title = fmt::format("SYN flood on a full table of {}, {} turnovers", max, count),
                  .params = params(max, flood.table())};
    info.params["turnovers"] = count;
    info.params["slope_percent_per_turnover"] = line.slope * percent;
    info.params["slope_error_percent_per_turnover"] = line.slope_error * percent;
    info.params["slope_within_noise"] = line.level();
    program.note(fmt::format("{}: slope {:+.3f} % a turnover, standard error {:.3f} %: {}", id,
                             line.slope * percent, line.slope_error * percent,
                             line.level() ? "level within noise" : "not level"));
    program.add(
        {Result{.info = info,
                .contestant = "sluice",
                .value = summarize(table.y),
                .roof_ns = summarize(roof_series.y).median,
                .roof_id = roof.id},
         Result{
             .info = info, .contestant = roof.contestant.name, .value = summarize(roof_series.y)}});
    program.add(std::move(table));
    program.add(std::move(roof_series));
    flood.check(program, id);
}

void body(Program& program) {
    const Options& o = program.options();
    const std::vector<std::uint32_t> sizes = o.pick<std::vector<std::uint32_t>>(
        {8192}, {1U << 18, 1U << 20}, {1U << 18, 1U << 20, 1U << 23});
    // What an insert costs without memory's part in it: 4 MiB, which the last-level cache holds.
    if (!o.once()) inserts(program, 1U << 14, Order::Aged);
    for (const std::uint32_t max : sizes) inserts(program, max, Order::Aged);
    for (const std::uint32_t max : sizes) full(program, max, Order::Aged, 0);
    for (const std::uint32_t max : sizes) {
        if (!o.once() && max != 1U << 20) continue;
        inserts(program, max, Order::Fresh);
        full(program, max, Order::Fresh, 0);
        full(program, max, Order::Aged, 50);
    }
    for (const std::uint32_t max : sizes)
        if (max <= 1U << 20) fill_series(program, max);
    for (const std::uint32_t max : sizes)
        if (max <= (o.effort == Effort::Quick ? 1U << 18 : 1U << 20)) turnovers(program, max);
}

}  // namespace

int main(int argc, char** argv) {
    Program program{"table_floods", "SYN floods into tables, full and not.", argc, argv};
    return program.run(body);
}
