// SPDX-License-Identifier: BSD-3-Clause
#include "bench/harness/slices.hpp"

#include "bench/harness/clock.hpp"

#include <atomic>
#include <barrier>
#include <numeric>
#include <thread>

namespace bench {

namespace {

double ns_a_packet(std::uint64_t ticks, std::uint64_t packets) {
    return packets == 0 ? 0
                        : static_cast<double>(ticks) * ns_per_tick() / static_cast<double>(packets);
}

std::uint64_t slice_ticks(const Options& o) {
    return static_cast<std::uint64_t>(o.slice_s() * 1e9 / ns_per_tick());
}

double one_slice(const Contestant& c, std::uint64_t length) {
    std::uint64_t ticks = 0;
    std::uint64_t packets = 0;
    while (ticks < length) {
        if (c.prepare) c.prepare();
        const std::uint64_t begin = tsc();
        packets += c.step();
        ticks += tsc() - begin;
    }
    return ns_a_packet(ticks, packets);
}

double one_team_slice(const Team& team, std::uint64_t length, unsigned first_core) {
    if (team.prepare) team.prepare();
    const std::size_t threads = team.steps.size();
    std::barrier start{static_cast<std::ptrdiff_t>(threads)};
    std::atomic<bool> stop{false};
    std::vector<std::uint64_t> begin(threads);
    std::vector<std::uint64_t> end(threads);
    std::vector<std::uint64_t> packets(threads);
    const auto work = [&](std::size_t t) {
        pin_to((first_core + static_cast<unsigned>(t)) % std::thread::hardware_concurrency());
        start.arrive_and_wait();
        begin[t] = tsc();
        std::uint64_t now = begin[t];
        while (now - begin[t] < length && !stop.load(std::memory_order_relaxed)) {
            packets[t] += team.steps[t]();
            now = tsc();
            if (team.done && team.done()) stop.store(true, std::memory_order_relaxed);
        }
        end[t] = now;
    };
    std::vector<std::jthread> others;
    for (std::size_t t = 1; t < threads; ++t) others.emplace_back(work, t);
    work(0);
    others.clear();
    const std::uint64_t from = *std::min_element(begin.begin(), begin.end());
    const std::uint64_t to = *std::max_element(end.begin(), end.end());
    return ns_a_packet(to - from, std::accumulate(packets.begin(), packets.end(), 0ULL));
}

/// Slice by slice, each time starting with the next one in turn.
template <class One>
std::vector<std::vector<double>> alternate(std::size_t contestants, unsigned slices, One&& one) {
    std::vector<std::vector<double>> out(contestants);
    for (std::size_t c = 0; c < contestants; ++c) static_cast<void>(one(c));  // warm up
    for (unsigned s = 0; s < slices; ++s)
        for (std::size_t k = 0; k < contestants; ++k) {
            const std::size_t c = (k + s) % contestants;
            out[c].push_back(one(c));
        }
    return out;
}

}  // namespace

std::vector<std::vector<double>> run_slices(std::span<const Contestant> contestants,
                                            const Options& o) {
    return alternate(contestants.size(), o.slices(),
                     [&](std::size_t c) { return one_slice(contestants[c], slice_ticks(o)); });
}

std::vector<std::vector<double>> run_team_slices(std::span<const Team> teams, const Options& o) {
    return alternate(teams.size(), o.slices(), [&](std::size_t c) {
        return one_team_slice(teams[c], slice_ticks(o), o.core);
    });
}

}  // namespace bench
