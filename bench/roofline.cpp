// SPDX-License-Identifier: BSD-3-Clause
//
// What this machine's memory allows, without any table: latency, random lines, and the shapes of
// bench/roofline/roof.hpp at the footprint of tables of several sizes.
#include "bench/load/packets.hpp"
#include "bench/load/table_roof.hpp"

#include <fmt/format.h>

#include <array>
#include <utility>
#include <vector>

namespace {

using namespace bench;

constexpr std::uint32_t kStep = 2048;
constexpr std::uint32_t kSideLines = 2;

/// Latency and throughput of single lines; together they say how many the core has under way.
void memory_itself(Program& program, std::uint32_t mebibytes) {
    const std::size_t bytes = std::size_t{mebibytes} << 20;
    const std::string id = fmt::format("memory/{}MiB", mebibytes);
    if (!program.wants(id, 2 * bytes)) return;
    const ct::Region lines{bytes, ct::Region::Touch::Now};
    const ct::Region links{bytes, ct::Region::Touch::Now};
    Chase chase{links};
    std::uint64_t counter = 0;
    std::uint64_t sum = 0;
    const std::array contestants{
        Contestant{"L: one line after the other", [&] { return chase.step(kStep); }, {}},
        Contestant{
            "R: independent lines", [&] { return random_reads(lines, kStep, counter, sum); }, {}}};
    const auto slices = run_slices(contestants, program.options());
    const double latency = summarize(slices[0]).median;
    const double each = summarize(slices[1]).median;
    const CaseInfo info{.id = id,
                        .group = "memory",
                        .title = fmt::format("random lines of {} MiB", mebibytes),
                        .params = {{"bytes", bytes}, {"lines_in_flight", latency / each}}};
    program.add({Result{.info = info,
                        .contestant = contestants[0].name,
                        .unit = "ns/line",
                        .value = summarize(slices[0])},
                 Result{.info = info,
                        .contestant = contestants[1].name,
                        .unit = "ns/line",
                        .value = summarize(slices[1])}});
    program.note(fmt::format("{} MiB: {:.1f} lines under way at a time, {:.1f} M lines a second",
                             mebibytes, latency / each, 1e3 / each));
    program.gate(sum == 0, "fresh memory reads as zero");
}

struct NamedShape {
    RoofShape shape;
    const char* what;
};
constexpr std::array kShapes{NamedShape{{RoofShape::Graph::Established, 1, 1}, "hit, not counted"},
                             NamedShape{{RoofShape::Graph::Established, 1, kSideLines}, "hit"},
                             NamedShape{{RoofShape::Graph::Insert, 1, kSideLines}, "insert"},
                             NamedShape{{RoofShape::Graph::Insert, 2, kSideLines}, "insert, NAT"},
                             NamedShape{{RoofShape::Graph::Evict, 1, kSideLines}, "evict"},
                             NamedShape{{RoofShape::Graph::Evict, 2, kSideLines}, "evict, NAT"}};

CaseInfo shape_info(const std::string& id, std::uint32_t entries, std::uint32_t burst) {
    return {.id = id,
            .group = "roofline",
            .title = fmt::format("{} entries, bursts of {}", entries, burst),
            .params = {{"entries", entries}, {"burst", burst}}};
}

/// Every shape in the schedule that suits it.
void shapes(Program& program, std::uint32_t entries, std::uint32_t burst) {
    const std::string id = fmt::format("shapes/{}/burst{}", entries, burst);
    if (!program.wants(id, table_and_roof_bytes(entries))) return;
    const auto memory = std::make_shared<RoofMemory>(entries / 2, entries, kSideLines);
    std::vector<Contestant> contestants;
    for (const NamedShape& s : kShapes) {
        RoofContestant roof =
            make_roof(program, memory, s.shape, Draw::uniform(entries, 3), burst, kStep);
        roof.contestant.name = fmt::format("{} {}, {}", roof.id, s.what, roof.schedule.name());
        contestants.push_back(std::move(roof.contestant));
    }
    program.measure(shape_info(id, entries, burst), contestants);
}

/// What the schedule makes: two shapes in all of them.
void schedules(Program& program, std::uint32_t entries) {
    const std::string id = fmt::format("schedules/{}", entries);
    if (!program.wants(id, table_and_roof_bytes(entries))) return;
    const auto memory = std::make_shared<RoofMemory>(entries / 2, entries, kSideLines);
    std::vector<Contestant> contestants;
    for (const NamedShape& s : {kShapes[1], kShapes[4]})
        for (const RoofSchedule& schedule : kRoofSchedules) {
            const auto roof = std::make_shared<Roof>(memory, s.shape, Draw::uniform(entries, 3),
                                                     kBurst, schedule);
            contestants.push_back({fmt::format("{} {}, {}", s.shape.id(), s.what, schedule.name()),
                                   [roof] { return roof->step(kStep); },
                                   {}});
        }
    program.measure(shape_info(id, entries, kBurst), contestants);
}

void body(Program& program) {
    const Options& o = program.options();
    for (const std::uint32_t mebibytes : {64U, 512U, 2048U})
        if (mebibytes <= o.pick(64U, 512U, 2048U)) memory_itself(program, mebibytes);
    const std::vector<std::uint32_t> sizes = o.pick<std::vector<std::uint32_t>>(
        {1U << 16}, {1U << 18, 1U << 20}, {1U << 16, 1U << 18, 1U << 20, 1U << 23});
    for (const std::uint32_t entries : sizes) shapes(program, entries, kBurst);
    schedules(program, o.pick(1U << 16, 1U << 20, 1U << 20));
    if (o.effort != Effort::Normal) return;
    for (const std::uint32_t burst : {1U, 8U, 64U}) shapes(program, 1U << 20, burst);
}

}  // namespace

int main(int argc, char** argv) {
    Program program{"roofline", "What the memory of this machine allows.", argc, argv};
    return program.run(body);
}
