// SPDX-License-Identifier: BSD-3-Clause
#include "bench/load/table_roof.hpp"

#include "bench/harness/clock.hpp"
#include "ct/conn/entry.hpp"

#include <algorithm>
#include <bit>
#include <vector>

namespace bench {

namespace {

/// Lines of an entry beside its first (ct/conn/entry.hpp).
constexpr std::uint32_t kSideLines = sizeof(ct::SideLines) / ct::kCacheLine;

/// As the table chooses it: half a bucket an entry, 1024 at least.
std::uint32_t buckets_for(std::uint32_t max) {
    return std::max(1024U, std::bit_ceil(std::max(max, 2U)) / 2);
}

}  // namespace

std::uint32_t side_lines_of(const ct::Conntrack& table) {
    return table.settings().acct ? kSideLines : 1;
}

std::shared_ptr<RoofMemory> memory_like(const ct::Conntrack& table) {
    return std::make_shared<RoofMemory>(buckets_for(table.capacity()), table.capacity(),
                                        kSideLines);
}

std::size_t table_and_roof_bytes(std::uint32_t max) {
    // Twice 32 bytes of index and up to four lines; rings, lists and orders beside.
    return std::size_t{max} * (2 * (32 + 4 * ct::kCacheLine) + 96) + (std::size_t{256} << 20);
}

RoofContestant make_roof(const Program& program, std::shared_ptr<RoofMemory> memory,
                         RoofShape shape, const Draw& draw, std::uint32_t burst,
                         std::uint32_t packets) {
    std::vector<std::shared_ptr<Roof>> all;
    for (const RoofSchedule& schedule : kRoofSchedules)
        all.push_back(std::make_shared<Roof>(memory, shape, draw, burst, schedule));
    std::vector<double> best(all.size());
    const double budget_ticks = program.options().slice_s() / 8 * 1e9 / ns_per_tick();
    for (int round = 0; round < 4; ++round)
        for (std::size_t k = 0; k < all.size(); ++k) {
            std::uint64_t done = 0;
            const std::uint64_t begin = tsc();
            while (static_cast<double>(tsc() - begin) < budget_ticks) done += all[k]->step(packets);
            best[k] =
                std::max(best[k], static_cast<double>(done) / static_cast<double>(tsc() - begin));
        }
    const auto at =
        static_cast<std::size_t>(std::max_element(best.begin(), best.end()) - best.begin());
    return {.contestant = {.name = "roofline " + shape.id(),
                           .step = [fastest = all[at], packets] { return fastest->step(packets); },
                           .prepare = {}},
            .id = shape.id(),
            .schedule = kRoofSchedules[at]};
}

}  // namespace bench
