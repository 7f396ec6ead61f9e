// SPDX-License-Identifier: BSD-3-Clause
//
// The roofline that belongs to a table, as a contestant.
//
// Which lines the tracker touches, and so what the shapes stand for:
//   hit     the bucket (read); the entry's first line (read; written once in a quarter of a second,
//           which is left out); its line of windows, and with accounting its books (written)
//   insert  the bucket, and with NAT that of the reply tuple (locked, so written); the lines of a
//           free entry (written); the ring of young entries and the cache of free ones are
//           sequential and left out
//   evict   as insert, where the entry is the victim's; and the victim's bucket or two (written),
//           which the ring names
// An entry is three lines side by side; the third, its books, is touched only where packets are
// counted. IPv6 addresses are a line more, in an array of their own.
#pragma once

#include "bench/harness/program.hpp"
#include "bench/roofline/roof.hpp"
#include "ct/conntrack.hpp"

#include <memory>
#include <string>

namespace bench {

/// Lines of an entry that a packet of TCP touches in `table`, beside the first.
[[nodiscard]] std::uint32_t side_lines_of(const ct::Conntrack& table);

/// Memory like that of `table`: as many buckets and entries, as many bytes an entry.
[[nodiscard]] std::shared_ptr<RoofMemory> memory_like(const ct::Conntrack& table);

/// Bytes that such memory will take, for a table of `max` entries: to ask whether they are there.
[[nodiscard]] std::size_t table_and_roof_bytes(std::uint32_t max);

/// A roofline ready to be run against others.
struct RoofContestant {
    Contestant contestant;
    std::string id;
    RoofSchedule schedule;  ///< the fastest
};

/// Tries all schedules for a moment and takes the fastest. `packets`: of a step.
[[nodiscard]] RoofContestant make_roof(const Program& program, std::shared_ptr<RoofMemory> memory,
                                       RoofShape shape, const Draw& draw, std::uint32_t burst,
                                       std::uint32_t packets = 1024);

}  // namespace bench
