// SPDX-License-Identifier: BSD-3-Clause
//
// What a run of sluice-flood came to: while it runs, as a live view or plain lines; at its end, as
// a summary for a person and as JSON for a script.
#pragma once

#include "ct/conntrack.hpp"
#include "dataplane/flood/generator.hpp"
#include "dataplane/stats.hpp"

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace dp::flood {

/// Sums over all generators.
struct GeneratorTotals {
    std::uint64_t flood_sent = 0;
    std::uint64_t flood_passed = 0;
    std::uint64_t established_sent = 0;
    std::uint64_t established_passed = 0;
    std::uint64_t legit_attempts = 0;
    std::uint64_t legit_established = 0;
    std::uint64_t legit_completed = 0;
};

/// Their sum over generators.
[[nodiscard]] GeneratorTotals totals_of(std::span<const std::unique_ptr<Generator>> generators);

/// One moment of a run.
struct Sample {
    double seconds = 0;  ///< since the flood began
    Totals packets;
    GeneratorTotals generators;
    ct::Counters conntrack;
    std::uint32_t table_entries = 0;
};

struct Result {
    Sample begin;                ///< when the flood began: everything is set up
    Sample end;                  ///< when it ended
    std::vector<double> mpps;    ///< received between one sample and the next
    Totals total;                ///< everything, set-up and drain included, at rest
    GeneratorTotals generators;  ///< likewise
    std::uint32_t table_max = 0;
    std::uint32_t table_peak = 0;  ///< most entries in any sample
    std::uint64_t established_before = 0;
    std::uint64_t established_lost = 0;  ///< of those, no longer the same connection at the end
    std::uint32_t workers = 0;
    double worker_busy = 0;  ///< share of the run's turns that had a packet
    std::uint64_t rss_bytes = 0;
    std::uint64_t table_bytes = 0;
    std::string pages;  ///< of the table
    std::string policy;
    std::string cpu;
    std::string mode;  ///< "in-process" or the devices
    /// The dataplane ran in this process: its books and its table are known.
    bool in_process = false;
    bool buffers_returned = false;  ///< every mbuf is back in its pool (invariant I7)
};

/// Millions of packets a second received between two samples.
[[nodiscard]] double mpps(const Sample& before, const Sample& now);

/// One line, or on a terminal a few that overwrite the last ones.
class LiveView {
public:
    /// `terminal`: standard output is one that can be drawn on.
    explicit LiveView(bool terminal) noexcept : terminal_{terminal} {}
    /// Shows what happened between two samples.
    void show(const Sample& before, const Sample& now, std::uint32_t table_max);

private:
    bool terminal_;
    bool drawn_ = false;
};

/// The summary, several lines.
[[nodiscard]] std::string summary(const Result& r);
/// True if packets in are packets out plus drops, where that is known, and every buffer is back.
[[nodiscard]] bool sound(const Result& r);
/// The JSON document of `--json`; the names are a contract (see sluice-flood(1)).
[[nodiscard]] std::string json(const Result& r);

/// Resident memory of this process in bytes, huge pages included, from /proc/self/smaps_rollup.
[[nodiscard]] std::uint64_t resident_bytes();
/// The processor's name from /proc/cpuinfo.
[[nodiscard]] std::string cpu_name();

}  // namespace dp::flood
