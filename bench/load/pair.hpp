// SPDX-License-Identifier: BSD-3-Clause
//
// Two workers on one table.
#pragma once

#include "bench/load/table_roof.hpp"
#include "bench/load/tracker.hpp"

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace bench {

inline constexpr std::uint32_t kPair = 2;  // workers

/// The flow of a pair that is worker `w`'s: `n`, or its neighbour. Which of the two it is goes by
/// the pair, or a worker's flows would all lie in every second place.
[[nodiscard]] constexpr std::uint32_t own_of_pair(std::uint32_t n, std::uint32_t w) noexcept {
    const std::uint32_t pair = n / kPair;
    return pair * kPair + ((static_cast<std::uint32_t>(mix(pair)) ^ w) & 1);
}

/// Counts of one worker, on a line of its own.
struct alignas(ct::kCacheLine) WorkerTally {
    std::uint32_t next = 0;        ///< flow, by its number among this worker's
    std::uint64_t sent = 0;        ///< packets
    std::uint64_t unexpected = 0;  ///< packets that were not what they should be
};

/// A table for two workers, each with its Tracker.
class Pair {
public:
    /// Packets of a step.
    static constexpr std::uint32_t kStep = 1024;

    explicit Pair(const ct::Settings& settings);

    [[nodiscard]] ct::Conntrack& table() noexcept { return table_; }
    [[nodiscard]] Tracker& tracker(std::uint32_t w) noexcept { return *trackers_[w]; }
    [[nodiscard]] WorkerTally& tally(std::uint32_t w) noexcept { return tallies_[w]; }
    /// Sets all clocks to the latest.
    void same_time() noexcept;

    /// Hits on established flows 0 .. flows - 1 by the first `workers`. Of `split_percent` of the
    /// flows, each worker sees one direction; the others belong to one worker, both directions.
    [[nodiscard]] Team hits(std::string name, std::uint32_t workers, std::uint32_t flows,
                            unsigned split_percent);
    /// Whether newcomers need room in the table, so that a slice ends when nine tenths are full and
    /// the next one starts with an empty table; or make room, the oldest going.
    enum class Room : std::uint8_t { Needed, Made };
    /// SYNs of ever new flows, worker w's being w, w + 2, w + 4, ...
    [[nodiscard]] Team flood(std::string name, std::uint32_t workers, Room room);

private:
    void clear();

    ct::Conntrack table_;
    std::vector<std::unique_ptr<Tracker>> trackers_;
    std::array<WorkerTally, kPair> tallies_;
    Ageing ageing_;
    std::atomic<std::uint32_t> inside_{0};  ///< flows in the table, where room is needed
};

/// The roofline of `workers` threads on one memory. The entries to be inserted into are dealt out
/// between them.
[[nodiscard]] Team roof_team(const std::shared_ptr<RoofMemory>& memory, RoofShape shape,
                             RoofSchedule schedule, std::uint32_t workers);

}  // namespace bench
