// SPDX-License-Identifier: BSD-3-Clause
//
// The slowest bursts, not the average: of hits, of a flood on a full table, and while a million
// entries expire at once. A burst of 32 packets is timed as a whole; beside it stand bursts of
// plain arithmetic that take as long, which show what the machine itself interrupts.
#include "bench/load/established.hpp"
#include "bench/load/flood.hpp"
#include "bench/load/histogram.hpp"

#include <fmt/format.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace {

using namespace bench;

constexpr std::array<std::pair<const char*, double>, 4> kQuantiles{
    {{"p50", 0.5}, {"p99", 0.99}, {"p99.9", 0.999}, {"worst", 1.0}}};

/// Arithmetic for about as long as a burst takes.
void idle_burst(std::uint64_t& x) noexcept {
    for (int i = 0; i < 5000; ++i) asm volatile("imul $3, %0, %0" : "+r"(x));
}

/// Times bursts of each contestant by turns, and tells quantiles over slices.
void measure_bursts(Program& program, const CaseInfo& info,
                    const std::vector<std::pair<std::string, std::function<void()>>>& contestants) {
    const Options& o = program.options();
    const std::size_t bursts = o.pick<std::size_t>(500, 5000, 20'000);
    std::vector<std::vector<std::vector<double>>> found(
        contestants.size(), std::vector<std::vector<double>>(kQuantiles.size()));
    Times times{bursts};
    for (unsigned s = 0; s <= o.slices(); ++s)
        for (std::size_t c = 0; c < contestants.size(); ++c) {
            times.clear();
            for (std::size_t b = 0; b < bursts; ++b) times.time(contestants[c].second);
            if (s == 0 && !o.once()) continue;  // warm-up
            for (std::size_t q = 0; q < kQuantiles.size(); ++q)
                found[c][q].push_back(times.quantile_ns(kQuantiles[q].second));
        }
    std::vector<Result> rows;
    for (std::size_t c = 0; c < contestants.size(); ++c)
        for (std::size_t q = 0; q < kQuantiles.size(); ++q)
            rows.push_back(
                {.info = info,
                 .contestant = fmt::format("{}, {}", contestants[c].first, kQuantiles[q].first),
                 .unit = "ns/burst",
                 .value = summarize(found[c][q])});
    program.add(std::move(rows));
}

void bursts(Program& program, std::uint32_t size) {
    const std::string id = fmt::format("bursts/{}", size);
    if (!program.wants(id, 2 * table_and_roof_bytes(size))) return;
    Established hits{size, Draw::uniform(size, 5), {.kind = {}}};
    FullFlood flood{size, {.kind = {}}};
    std::uint64_t x = 1;
    measure_bursts(program,
                   {.id = id,
                    .group = "latency",
                    .title = fmt::format("single bursts of 32, tables of {}", size),
                    .params = {{"max", size},
                               {"burst", kBurst},
                               {"overflow", name_of(flood.table().settings().overflow)}}},
                   {{"hits", [&] { hits.run_burst(kBurst); }},
                    {"flood on full", [&] { flood.step(kBurst); }},
                    {"arithmetic", [&] { idle_burst(x); }}});
    hits.check(program, id);
    flood.check(program, id);
}

/// `dying` embryonic entries time out in the same instant, while `living` flows go on sending.
void mass_expiry(Program& program, std::uint32_t dying) {
    const std::string id = fmt::format("expiry/{}", dying);
    const std::uint32_t living = dying / 10;
    if (!program.wants(id, table_and_roof_bytes(dying + living))) return;
    Established e{living, Draw::uniform(living, 5), {.kind = {}, .max = dying + living}};
    Tracker& tracker = e.tracker();
    const auto hits = [&] { e.run_burst(kBurst); };
    const std::size_t calm_bursts = program.options().pick<std::size_t>(200, 20'000, 60'000);
    Times calm{calm_bursts};
    constexpr std::uint32_t kDyingFrom = 2'000'000'000;
    tracker.open(kDyingFrom, dying);
    for (std::size_t b = 0; b < calm_bursts; ++b) calm.time(hits);

    const std::uint64_t expired_before = e.table().counters().expired;
    const std::uint64_t opened = e.table().counters().opened;
    tracker.now += 121 * ct::kNanosPerSecond;  // SYN_SENT lasts for 120 s
    // Two sweeps over the table are enough; a sweep takes a second a million entries, or one.
    const std::uint64_t limit = 3 * ct::kNanosPerSecond *
                                std::max<std::uint64_t>(1, (dying + living) >> 20) /
                                (kNanosPerPacket * kBurst);
    Times busy{static_cast<std::size_t>(limit)};
    Series left{.id = id,
                .title = fmt::format("{} entries time out at once", dying),
                .contestant = "sluice",
                .xlabel = "virtual time, s",
                .ylabel = "entries in the table",
                .x = {},
                .y = {}};
    const ct::Nanos start = tracker.now;
    for (std::uint64_t b = 0; b < limit && e.table().count() > living; ++b) {
        busy.time(hits);
        if (b % 4096 != 0) continue;
        left.x.push_back(static_cast<double>(tracker.now - start) / 1e9);
        left.y.push_back(e.table().count());
    }
    program.gate(
        e.table().count() == living && e.table().counters().expired - expired_before == dying,
        fmt::format("{}: {} entries left for {} flows, {} of {} expired", id, e.table().count(),
                    living, e.table().counters().expired - expired_before, dying));
    program.gate(opened == std::uint64_t{living} + dying, fmt::format("{}: {} opened", id, opened));
    const CaseInfo info{
        .id = id,
        .group = "latency",
        .title = fmt::format("{} entries time out at once; bursts of {} others", dying, living),
        .params = {{"dying", dying}, {"living", living}, {"burst", kBurst}}};
    std::vector<Result> rows;
    for (const auto& [name, q] : kQuantiles) {
        const auto row = [&](const char* when, Times& t) {
            rows.push_back({.info = info,
                            .contestant = fmt::format("{}, {}", when, name),
                            .unit = "ns/burst",
                            .value = summarize({t.quantile_ns(q)})});
        };
        row("before", calm);
        row("while they go", busy);
    }
    program.add(std::move(rows));
    program.add(std::move(left));
}

void body(Program& program) {
    const Options& o = program.options();
    bursts(program, o.pick<std::uint32_t>(8192, 1U << 20, 1U << 20));
    mass_expiry(program, o.pick<std::uint32_t>(8192, 1'000'000, 1'000'000));
}

}  // namespace

int main(int argc, char** argv) {
    Program program{"table_latency", "The slowest bursts.", argc, argv};
    return program.run(body);
}
