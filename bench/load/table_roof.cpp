// SPDX-License-Identifier: BSD-3-Clause
#include "bench/load/table_roof.hpp"

#include "bench/harness/clock.hpp"

#include <algorithm>
#include <array>
#include <bit>

namespace bench {

namespace {

/// As the table chooses it: half a bucket an entry, 1024 at least.
std::uint32_t buckets_for(std::uint32_t max) {
    return std::max(1024U, std::bit_ceil(std::max(max, 2U)) / 2);
}

}  // namespace

std::uint32_t side_lines_of(const ct::Conntrack& table) {
    // A tiny table's memory is rounded up to a page of 2 MiB: no conclusion from that.
    constexpr std::uint32_t kTiny = 65'536;
    constexpr std::uint32_t kUsual = 2;
    if (table.capacity() < kTiny) return kUsual;
    // Overflow buckets are some bytes an entry, less than a line.
    const std::size_t index_bytes = std::size_t{buckets_for(table.capacity())} * ct::kCacheLine;
    const std::size_t pool_bytes = table.memory().total_bytes - index_bytes;
    const std::size_t lines = pool_bytes / ct::kCacheLine / table.capacity();
    return static_cast<std::uint32_t>(std::clamp<std::size_t>(lines, 2, 4) - 1);
}

std::shared_ptr<RoofMemory> memory_like(const ct::Conntrack& table) {
    return std::make_shared<RoofMemory>(buckets_for(table.capacity()), table.capacity(),
                                        side_lines_of(table));
}

std::size_t table_and_roof_bytes(std::uint32_t max) {
    // Twice 32 bytes of index and up to four lines; rings, lists and orders beside.
    return std::size_t{max} * (2 * (32 + 4 * ct::kCacheLine) + 96) + (std::size_t{256} << 20);
}

RoofContestant make_roof(const Program& program, std::shared_ptr<RoofMemory> memory,
                         RoofShape shape, const Draw& draw, std::uint32_t burst,
                         std::uint32_t packets) {
    const std::array<std::shared_ptr<Roof>, 2> both{
        std::make_shared<Roof>(memory, shape, draw, burst, Roof::Schedule::Grouped),
        std::make_shared<Roof>(memory, shape, draw, burst, Roof::Schedule::Ahead)};
    std::array<double, 2> best{};
    const double budget_ticks = program.options().slice_s() / 8 * 1e9 / ns_per_tick();
    for (int round = 0; round < 4; ++round)
        for (std::size_t k = 0; k < both.size(); ++k) {
            std::uint64_t done = 0;
            const std::uint64_t begin = tsc();
            while (static_cast<double>(tsc() - begin) < budget_ticks)
                done += both[k]->step(packets);
            best[k] =
                std::max(best[k], static_cast<double>(done) / static_cast<double>(tsc() - begin));
        }
    const std::shared_ptr<Roof> faster = best[0] >= best[1] ? both[0] : both[1];
    return {.contestant = {.name = "roofline " + shape.id(),
                           .step = [faster, packets] { return faster->step(packets); },
                           .prepare = {}},
            .id = shape.id()};
}

}  // namespace bench
