// SPDX-License-Identifier: BSD-3-Clause
//
// Limits on what one source may take of the table: how many entries, and how many new ones a
// second. A source is an address or a prefix, in its zone. Memory is fixed, nothing is allocated,
// nothing is locked, and nothing is written but when a connection opens or ends: five bytes or so
// for each entry of the table, whatever the number of sources.
//
// Entries: a count-min sketch. Each source has one cell in each of kRows rows, chosen by a keyed
// hash; a connection adds one to all of them when it is linked and takes it off when it ends. What
// a source has is the least of its cells: never less than the truth, and more only where others
// share all of its cells. So
//   - a source is never let past its limit by a collision; one that has fewer may be refused;
//   - a row is as wide as a quarter of the table has entries, so a cell holds four of others' on
//     average at most: a full table of sources with one entry each makes a source look larger by
//     one or two;
//   - sources that are at the limit themselves, H of them, have a given source refused with
//     probability (H / width)^4 at most: 3e-6 for 2,600 that fill a table of 262,144.
//
// Rate: a token bucket each for those sources that press hardest. A source takes one of eight
// slots of a line; if all are taken, the one that is the least in debt is forgotten. So
//   - a flood from random sources displaces one another's slots, not those of a source that keeps
//     opening, and no source pays for what others do: two share a slot only if they agree in the
//     line and in 23 further bits of a keyed hash (one pair in 8 million of those in one line);
//   - a source that was forgotten begins with a full bucket: this errs towards letting through.
//
// A slot is one word: tag in the upper 24 bits, and in the lower 40 the time at which the bucket
// will be full again, in units of 64 ns, modulo 19 hours. A time further ahead than a whole bucket
// takes to fill is from before the last wrap, and long past.
//
// Threads. Any worker calls anything; cells and slots are atomic words. Between admit() and
// opened() another worker may do the same for the same source: the limit is exceeded by one for
// each other worker at most. Of two workers that add a source at the same moment one may be
// overlooked, and a slot that others change three times meanwhile lets through; both cost a token.
#pragma once

#include "ct/base/drop.hpp"
#include "ct/base/time.hpp"
#include "ct/conn/settings.hpp"
#include "ct/table/hash.hpp"
#include "ct/table/memory.hpp"

#include <array>
#include <atomic>
#include <cstdint>

namespace ct {

class SourceQuota {
public:
    static constexpr unsigned kRows = 4;
    static constexpr unsigned kSlots = 8;  ///< of a line of token buckets

    /// `entries`: how many the table holds. Throws std::bad_alloc.
    SourceQuota(const PerSource& limits, std::uint32_t entries, const HashKey& key);

    /// Names the source that `source` belongs to.
    [[nodiscard]] std::uint64_t key_of(Family family, const Addr& source,
                                       std::uint16_t zone) const noexcept;

    /// Starts to load what the others will touch.
    void prefetch(std::uint64_t source) const noexcept;

    /// Whether a source may open a connection now: None, and a token is taken; or CtSourceEntries
    /// or CtSourceRate, and nothing has changed.
    [[nodiscard]] Drop admit(std::uint64_t source, Nanos now) noexcept;

    /// What admit() would say, without taking a token.
    [[nodiscard]] Drop foresee(std::uint64_t source, Nanos now) const noexcept;

    /// A connection of the source was linked.
    void opened(std::uint64_t source) noexcept;
    /// A connection of the source has ended.
    void ended(std::uint64_t source) noexcept;

    /// Entries that the source has as far as is known; not less than it has.
    [[nodiscard]] std::uint32_t entries(std::uint64_t source) const noexcept;

    /// True if every row accounts for `entries` entries. Nothing is under way. For checks; slow.
    [[nodiscard]] bool accounts_for(std::uint64_t entries) const noexcept;

    [[nodiscard]] std::size_t bytes() const noexcept { return cells_.size() + slots_.size(); }

private:
    using Cell = std::atomic<std::uint32_t>;
    using Slot = std::atomic<std::uint64_t>;

    [[nodiscard]] Cell& cell(std::uint64_t source, unsigned row) const noexcept;
    [[nodiscard]] Slot* line(std::uint64_t source) const noexcept;
    [[nodiscard]] std::uint64_t debt(std::uint64_t slot, std::uint64_t now) const noexcept;
    [[nodiscard]] bool take_token(std::uint64_t source, Nanos now) noexcept;

    const PerSource limits_;
    const HashKey key_;
    const unsigned log2_width_;  ///< of a row, in cells
    const unsigned log2_lines_;
    const std::uint64_t interval_;  ///< units between tokens
    const std::uint64_t depth_;     ///< units in which a whole bucket fills, less one token
    Region cells_;
    Region slots_;
};

}  // namespace ct
