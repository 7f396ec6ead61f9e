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
//   INSn       bucket w, another w if NATed; n lines of a free entry w, whose number was known
//   EVIn       a victim's number from a ring; its lines w, which the newcomer takes over; the first
//              of them says which bucket is the victim's: w; the newcomer's bucket w
//
// Every shape is run in two ways and the faster counts: in groups (all first lines of a burst, all
// second lines, ...), and with the first stage of the next burst issued before the last one of
// this.
#pragma once

#include "bench/load/flows.hpp"
#include "ct/table/memory.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace bench {

/// The lines of memory of a table, as many and in as many arrays.
struct RoofMemory {
    /// `buckets`: a power of two. Each of `entries` entries has a line in an array of its own,
    /// which is read first, and `side_lines` more, side by side, in another.
    RoofMemory(std::uint32_t buckets, std::uint32_t entries, std::uint32_t side_lines);

    ct::Region index;
    ct::Region hot;
    ct::Region side;
    std::uint32_t buckets;
    std::uint32_t entries;
    std::uint32_t side_lines;
    /// Entries in the order in which they are taken; shared by the workers, each in a part of it.
    std::vector<std::uint32_t> order;
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

/// One thread's accesses. Several may share a RoofMemory.
class Roof {
public:
    enum class Schedule : std::uint8_t { Grouped, Ahead };

    /// `draw` says which flows an Established roof looks up. `part` of `parts`: which of the
    /// entries are this thread's to insert into.
    Roof(std::shared_ptr<RoofMemory> memory, RoofShape shape, Draw draw, std::uint32_t burst,
         Schedule schedule, std::uint32_t part = 0, std::uint32_t parts = 1);

    /// `packets` packets, a whole number of bursts. Returns how many.
    std::uint64_t step(std::uint32_t packets) noexcept;

    [[nodiscard]] const RoofShape& shape() const noexcept { return shape_; }
    /// Something that depends on all that was read.
    [[nodiscard]] std::uint64_t checksum() const noexcept { return sum_; }

private:
    struct Group;

    void begin_established(Group& g) noexcept;
    void middle_established(Group& g) const noexcept;
    void end_established(const Group& g) noexcept;
    void begin_insert(Group& g) noexcept;
    void end_insert(const Group& g) noexcept;
    void begin_evict(Group& g) noexcept;
    void middle_evict(Group& g) const noexcept;
    void end_evict(const Group& g) noexcept;
    void write_side(std::uint32_t entry) noexcept;
    template <class Begin, class Middle, class End>
    void schedule(std::uint32_t bursts, Begin begin, Middle middle, End end) noexcept;

    [[nodiscard]] std::uint64_t* bucket(std::uint64_t random) const noexcept;
    [[nodiscard]] std::uint64_t* hot(std::uint32_t entry) const noexcept;
    [[nodiscard]] std::uint64_t* side(std::uint32_t entry) const noexcept;

    std::shared_ptr<RoofMemory> memory_;
    RoofShape shape_;
    Draw draw_;
    std::uint32_t burst_;
    Schedule schedule_;
    unsigned shift_;           ///< of a random word, to a bucket's number
    std::uint32_t first_ = 0;  ///< this thread's part of the order of entries
    std::uint32_t last_ = 0;
    std::uint32_t at_ = 0;
    std::uint64_t counter_ = 0;
    std::uint64_t sum_ = 0;
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
