// SPDX-License-Identifier: BSD-3-Clause
//
// Honest clients in a flood, in virtual time: who opens a connection keeps it only if its last
// handshake packet comes before its entry is evicted. With room for U embryonic entries and F
// newcomers a second, an entry lives for the horizon T = U / F.
#pragma once

#include "bench/load/tracker.hpp"

#include <cstdint>
#include <deque>

namespace bench {

/// A run.
struct LegitSetup {
    ct::Overflow policy = ct::Overflow::EmbryonicOldest;
    std::uint32_t embryonic = 65'536;    ///< U
    std::uint32_t established = 16'384;  ///< flows that send all the while
    double flood_per_s = 1e6;
    double legit_per_s = 20e3;
    double round_trip_over_horizon = 0.5;
    double horizons = 4;  ///< how long handshakes are begun, after one that fills the table
};

/// What became of it.
struct LegitResult {
    std::uint64_t begun = 0;      ///< handshakes
    std::uint64_t succeeded = 0;  ///< whose connection was established in the table
    std::uint64_t established_packets = 0;
    std::uint64_t established_failed = 0;  ///< of them, those that were not ESTABLISHED
    std::uint32_t established_lost = 0;    ///< flows that are not there at the end
    std::uint64_t assured_evicted = 0;
    std::uint64_t flood = 0;  ///< SYNs
    std::uint64_t packets = 0;
    double horizon_s = 0;
};

/// Runs it: the same for the same setup. One worker.
[[nodiscard]] LegitResult run_legit(const LegitSetup& setup);

/// Share of entries that outlive `x` horizons if each eviction takes the oldest of `candidates`
/// chosen at random, as entries meet in buckets: that fewer than `candidates` events of a Poisson
/// process happen in the time in which `candidates` * x are expected. 1: a random one; without
/// limit: the oldest of all, for whom everything up to 1 is 1.
[[nodiscard]] double survival(double x, unsigned candidates);

}  // namespace bench
