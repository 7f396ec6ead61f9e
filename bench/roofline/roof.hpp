// SPDX-License-Identifier: BSD-3-Clause
//
// What the memory of this machine allows: the accesses of a case and nothing else. Same lines, same
// dependencies between them, same footprint, same kind of pages, same size of burst, prefetched a
// stage ahead like the tracker's; but no key is compared, no state is kept. A tracker that reached
// its roof would do all of its work in the shadow of its memory accesses.
//
// Shapes. An access is to a cache line at random; "w": read, modified and written.
//
//   R          independent lines
//   L          each line's address stands in the line before: latency
//   ESTn       bucket -> its content says which entry -> n - 1 lines of it, all but the first w
//   INSn       bucket w, another w if NATed; the lines of a free entry w, whose number was known
//   EVIn       a ring names the victim's entry and its bucket or two; the entry's lines w, which
//   the
//              newcomer takes over; the victim's buckets w; the newcomer's w
//
// An entry's lines are neighbours. Every shape can be run in several schedules, and the fastest
// counts: which that is depends on how many loads the core can have under way, and on what it does
// with a prefetch too many (Zen 4 drops it).
#pragma once

#include "bench/load/flows.hpp"
#include "ct/table/memory.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace bench {

/// The lines of memory of a table, as many and in as many arrays.
struct RoofMemory {
    /// `buckets`: a power of two. Each of `entries` entries has a first line and `side_lines` more
    /// beside it.
    RoofMemory(std::uint32_t buckets, std::uint32_t entries, std::uint32_t side_lines);

    ct::Region index;
    ct::Region pool;
    std::uint32_t buckets;
    std::uint32_t entries;
    std::uint32_t side_lines;
    /// Entries in the order in which they are taken, and what was last put in their place; shared
    /// by the workers, each in a part of it.
    struct Record {
        std::uint64_t random;  ///< the flow's, which says where its buckets are
        std::uint32_t entry;
    };
    std::vector<Record> ring;
};

/// What a case does to the memory, a packet.
struct RoofShape {
    enum class Graph : std::uint8_t { Established, Insert, Evict };
    Graph graph = Graph::Established;
    std::uint32_t index_lines = 1;  ///< buckets of the packet's tuples: 2 with NAT
    std::uint32_t side_lines = 2;   ///< lines of the entry beside the first one

    /// "EST4": lines in all.
    [[nodiscard]] std::string id() const;
};

/// The order of a burst's accesses. All first steps of a burst, then all second steps, then all
/// third ones; or the first steps of the next burst before the third ones of this; or, `distance`
/// packets apart, a step of each kind by turns, so that fewer loads are under way at once.
struct RoofSchedule {
    enum class Kind : std::uint8_t { Grouped, Ahead, Rolling };
    Kind kind = Kind::Grouped;
    std::uint32_t distance = 0;

    [[nodiscard]] std::string name() const;
};

/// Those that are tried.
inline constexpr std::array kRoofSchedules{
    RoofSchedule{RoofSchedule::Kind::Grouped, 0}, RoofSchedule{RoofSchedule::Kind::Ahead, 0},
    RoofSchedule{RoofSchedule::Kind::Rolling, 3}, RoofSchedule{RoofSchedule::Kind::Rolling, 5},
    RoofSchedule{RoofSchedule::Kind::Rolling, 8}, RoofSchedule{RoofSchedule::Kind::Rolling, 12}};

/// One thread's accesses. Several may share a RoofMemory: then their plain writes to buckets race,
/// and an increment may be lost, which nobody looks at. A locked instruction would be a lower roof.
class Roof {
public:
    /// `draw` says which flows an Established roof looks up. `part` of `parts`: which of the
    /// entries are this thread's to insert into.
    Roof(std::shared_ptr<RoofMemory> memory, RoofShape shape, Draw draw, std::uint32_t burst,
         RoofSchedule schedule, std::uint32_t part = 0, std::uint32_t parts = 1);

    /// `packets` packets, a whole number of bursts. Returns how many.
    std::uint64_t step(std::uint32_t packets) noexcept;

    /// Something that depends on all that was read.
    [[nodiscard]] std::uint64_t checksum() const noexcept { return sum_; }

private:
    /// A packet on its way: the addresses that it needs, as far as they are known.
    struct Flight {
        std::uint64_t random;
        std::uint64_t victim;
        std::uint64_t* entry;
    };
    /// As many as are on their way at most; a power of two.
    static constexpr std::uint32_t kFlights = 128;

    template <class Begin, class Middle, class End>
    void run(std::uint32_t packets, Begin begin, Middle middle, End end) noexcept;
    void begin_established(Flight& f) noexcept;
    void middle_established(Flight& f) const noexcept;
    void end_established(const Flight& f) noexcept;
    void begin_insert(Flight& f) noexcept;
    void end_insert(const Flight& f) noexcept;

    [[nodiscard]] std::uint64_t* bucket(std::uint64_t random) const noexcept;
    [[nodiscard]] std::uint64_t* entry(std::uint32_t number) const noexcept;
    template <class Visit>
    void each_bucket(std::uint64_t random, Visit&& visit) const noexcept;

    std::shared_ptr<RoofMemory> memory_;
    RoofShape shape_;
    Draw draw_;
    std::uint32_t burst_;
    RoofSchedule schedule_;
    unsigned shift_;           ///< of a random word, to a bucket's number
    std::uint32_t first_ = 0;  ///< this thread's part of the ring
    std::uint32_t last_ = 0;
    std::uint32_t at_ = 0;
    std::uint64_t counter_ = 0;
    std::uint64_t sum_ = 0;
    std::array<Flight, kFlights> flights_{};
};

/// Independent reads of lines of `region`, `packets` of them. Returns how many.
std::uint64_t random_reads(const ct::Region& region, std::uint32_t packets, std::uint64_t& counter,
                           std::uint64_t& sum) noexcept;

/// A chain through all lines of a region, in random order.
class Chase {
public:
    explicit Chase(const ct::Region& region);
    /// Follows it for `steps` lines. Returns how many.
    std::uint64_t step(std::uint32_t steps) noexcept;

private:
    const std::uint64_t* at_;
};

}  // namespace bench
