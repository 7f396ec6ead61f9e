// SPDX-License-Identifier: BSD-3-Clause
//
// Newcomers in the tracker's own index, with and without loads ahead of their use: a bucket each to
// be locked and filled, the three lines of an entry to be written; and where the table is full, the
// oldest one's bucket to be locked and cleared first, whose entry the newcomer gets. Nothing is
// tracked, so that the difference is that of the loads alone.
#pragma once

#include "bench/harness/slices.hpp"
#include "bench/load/packets.hpp"
#include "ct/table/hash.hpp"
#include "ct/table/index.hpp"
#include "ct/table/memory.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace bench {

/// What is loaded some newcomers ahead.
enum class Ahead : std::uint8_t {
    Nothing,
    Buckets,  ///< the newcomer's, and the victim's
    All,      ///< these, and the lines of the entry
};

class IndexWrites {
public:
    /// An index and entries for `max` flows, none of which is there. Throws std::bad_alloc.
    explicit IndexWrites(std::uint32_t max);

    /// Newcomers into an index with room; it is emptied, without being timed, at nine tenths.
    [[nodiscard]] Contestant inserts(std::string name, Ahead ahead);
    /// Newcomers into a full one, each in the place of the oldest. Fills it at its first step.
    [[nodiscard]] Contestant evictions(std::string name, Ahead ahead);

    /// Newcomers that found no room, and victims that were not there.
    [[nodiscard]] std::uint64_t failed() const noexcept { return failed_; }
    /// Flows that should be there and are not found. Slow.
    [[nodiscard]] std::uint32_t missing() const;

private:
    static constexpr std::size_t kLines = 3;  // of an entry, as the tracker's
    static constexpr std::size_t kEntryBytes = kLines * ct::kCacheLine;

    /// Where a flow is: what the tracker's rings of young entries know.
    struct Record {
        std::uint32_t bucket = 0;
        std::uint32_t entry = 0;
        std::uint16_t tag = 0;
    };
    using Burst = std::array<Record, kBurst>;

    [[nodiscard]] std::byte* entry(std::uint32_t i) const noexcept {
        return entries_.as<std::byte>() + i * kEntryBytes;
    }
    [[nodiscard]] Record& record(std::uint32_t n) noexcept { return ring_[n % ring_.size()]; }
    [[nodiscard]] Record find_place(std::uint32_t n) const noexcept;
    void load_entry(std::uint32_t i) const noexcept;
    void burst(Ahead ahead, bool evict) noexcept;
    void insert(const Record& r) noexcept;
    void remove(const Record& r) noexcept;
    void fill() noexcept;
    void clear() noexcept;

    std::uint32_t max_;
    ct::HashKey key_;
    ct::Index index_;
    ct::Region entries_;
    std::vector<std::uint32_t> free_;  ///< entries, in the order in which they are taken
    std::vector<Record> ring_;         ///< of those that are there, at n modulo its size
    std::uint32_t next_ = 0;           ///< flow
    std::uint32_t inside_ = 0;         ///< flows that are there: the last ones
    std::uint64_t failed_ = 0;
};

}  // namespace bench
