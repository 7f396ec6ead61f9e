// SPDX-License-Identifier: BSD-3-Clause
#include "bench/harness/clock.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <pthread.h>
#include <sched.h>
#include <system_error>

namespace bench {

namespace {

using Steady = std::chrono::steady_clock;

double calibrate() {
    // The longer of the two ends' uncertainties is below a microsecond: 50 ms give five digits.
    const auto begin = Steady::now();
    const std::uint64_t first = tsc();
    while (Steady::now() - begin < std::chrono::milliseconds{50}) continue;
    const std::uint64_t last = tsc();
    const std::chrono::duration<double, std::nano> elapsed = Steady::now() - begin;
    return elapsed.count() / static_cast<double>(last - first);
}

}  // namespace

double ns_per_tick() {
    static const double value = calibrate();
    return value;
}

double core_ghz() {
    constexpr std::uint64_t kRounds = 200'000;
    constexpr std::uint64_t kAddsARound = 16;  // of one cycle each, each needing the one before
    double best = 0;
    for (int tries = 0; tries < 5; ++tries) {
        std::uint64_t x = 0;
        const std::uint64_t begin = tsc();
        for (std::uint64_t i = 0; i < kRounds; ++i)
            asm volatile(
                "add $3, %0\n add $5, %0\n add $3, %0\n add $5, %0\n"
                "add $3, %0\n add $5, %0\n add $3, %0\n add $5, %0\n"
                "add $3, %0\n add $5, %0\n add $3, %0\n add $5, %0\n"
                "add $3, %0\n add $5, %0\n add $3, %0\n add $5, %0\n"
                : "+r"(x));
        const double ns = static_cast<double>(tsc() - begin) * ns_per_tick();
        best = std::max(best, static_cast<double>(kRounds * kAddsARound) / ns);
    }
    return best;
}

void pin_to(unsigned core) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(core, &set);
    if (const int e = pthread_setaffinity_np(pthread_self(), sizeof set, &set); e != 0)
        throw std::system_error{
            e, std::generic_category(),
            fmt::format("cannot run on CPU {}: choose another with --core", core)};
}

}  // namespace bench
