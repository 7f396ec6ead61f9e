// SPDX-License-Identifier: BSD-3-Clause
//
// The slowest bursts, not the average: of hits, of a flood on a full table, and while a million
// entries expire at once. A burst of 32 packets is timed as a whole; beside it stand bursts of
// plain arithmetic that take as long, which show what the machine itself interrupts.
#include "bench/load/established.hpp"
#include "bench/load/flood.hpp"
#include "bench/load/histogram.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
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

/// `dying` embryonic entries time out in the same instant, while `living` flows go on sending;
/// again and again in one table.
class MassExpiry {
public:
    MassExpiry(std::uint32_t dying, std::size_t calm_bursts)
        : dying_{dying},
          living_{dying / 10},
          flows_{living_, Draw::uniform(living_, 5), {.kind = {}, .max = dying_ + living_}},
          calm_bursts_{calm_bursts},
          calm_{calm_bursts},
          busy_{limit()} {}

    /// One more time. `left`: where the entries in the table are noted, over virtual time, or null.
    void run(Program& program, const std::string& id, Series* left) {
        ct::Conntrack& table = flows_.table();
        Tracker& tracker = flows_.tracker();
        const auto hits = [&] { flows_.run_burst(kBurst); };
        const ct::Counters before = table.counters();
        tracker.open(next_, dying_);
        next_ += dying_;
        calm_.clear();
        busy_.clear();
        for (std::size_t b = 0; b < calm_bursts_; ++b) calm_.time(hits);

        tracker.now += 121 * ct::kNanosPerSecond;  // SYN_SENT lasts for 120 s
        const ct::Nanos start = tracker.now;
        for (std::uint64_t b = 0; b < limit() && table.count() > living_; ++b) {
            busy_.time(hits);
            if (b % 4096 != 0 || left == nullptr) continue;
            left->x.push_back(static_cast<double>(tracker.now - start) / 1e9);
            left->y.push_back(table.count());
        }
        const ct::Counters after = table.counters();
        program.gate(table.count() == living_ && after.expired - before.expired == dying_,
                     fmt::format("{}: {} entries left for {} flows, {} of {} expired", id,
                                 table.count(), living_, after.expired - before.expired, dying_));
        program.gate(after.opened - before.opened == dying_,
                     fmt::format("{}: {} opened", id, after.opened - before.opened));
        for (std::size_t q = 0; q < kQuantiles.size(); ++q) {
            calm_ns_[q].push_back(calm_.quantile_ns(kQuantiles[q].second));
            busy_ns_[q].push_back(busy_.quantile_ns(kQuantiles[q].second));
        }
    }

    [[nodiscard]] std::vector<Result> results(const CaseInfo& info) const {
        std::vector<Result> rows;
        for (std::size_t q = 0; q < kQuantiles.size(); ++q) {
            const auto row = [&](const char* when, const std::vector<double>& ns) {
                rows.push_back({.info = info,
                                .contestant = fmt::format("{}, {}", when, kQuantiles[q].first),
                                .unit = "ns/burst",
                                .value = summarize(ns)});
            };
            row("before", calm_ns_[q]);
            row("while they go", busy_ns_[q]);
        }
        return rows;
    }
    [[nodiscard]] std::uint32_t living() const noexcept { return living_; }

private:
    using Samples = std::array<std::vector<double>, kQuantiles.size()>;

    /// Bursts for which two sweeps over the table are enough; a sweep takes a second a million
    /// entries, or one.
    [[nodiscard]] std::uint64_t limit() const noexcept {
        return 3 * ct::kNanosPerSecond *
               std::max<std::uint64_t>(1, (std::uint64_t{dying_} + living_) >> 20) /
               (kNanosPerPacket * kBurst);
    }

    std::uint32_t dying_;
    std::uint32_t living_;
    Established flows_;
    std::size_t calm_bursts_;
    Times calm_;
    Times busy_;
    std::uint32_t next_ = 2'000'000'000;  ///< flow
    Samples calm_ns_;                     ///< by quantile, a value each time
    Samples busy_ns_;
};

void mass_expiry(Program& program, std::uint32_t dying) {
    const std::string id = fmt::format("expiry/{}", dying);
    if (!program.wants(id, table_and_roof_bytes(dying + dying / 10))) return;
    const Options& o = program.options();
    MassExpiry expiry{dying, o.pick<std::size_t>(200, 20'000, 60'000)};
    Series left{.id = id,
                .title = fmt::format("{} entries time out at once", dying),
                .contestant = "sluice",
                .xlabel = "virtual time, s",
                .ylabel = "entries in the table",
                .x = {},
                .y = {}};
    const unsigned times = o.pick(1U, 3U, 5U);
    for (unsigned k = 0; k < times; ++k) expiry.run(program, id, k == 0 ? &left : nullptr);
    program.add(expiry.results(
        {.id = id,
         .group = "latency",
         .title = fmt::format("{} entries time out at once; bursts of {} others", dying,
                              expiry.living()),
         .params = {{"dying", dying}, {"living", expiry.living()}, {"burst", kBurst}}}));
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
