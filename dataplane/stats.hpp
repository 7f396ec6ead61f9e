// SPDX-License-Identifier: BSD-3-Clause
//
// What each worker counts. A counter has one writer, its worker, and any number of readers, so an
// increment is a plain load, add and store of a line that no other core writes.
#pragma once

#include "ct/base/cache.hpp"
#include "ct/base/drop.hpp"

#include <array>
#include <atomic>
#include <cstdint>

namespace dp {

/// A count with one writing thread; any thread may read it.
class Counter {
public:
    void add(std::uint64_t n) noexcept {
        value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
    }
    [[nodiscard]] std::uint64_t get() const noexcept {
        return value_.load(std::memory_order_relaxed);
    }

private:
    std::atomic<std::uint64_t> value_{0};
};

/// Counts the turns that a worker has ended: whoever sees one counted knows that the worker has let
/// go of whatever it read in it.
class TurnCounter {
public:
    void add() noexcept {
        value_.store(value_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
    }
    [[nodiscard]] std::uint64_t get() const noexcept {
        return value_.load(std::memory_order_acquire);
    }

private:
    std::atomic<std::uint64_t> value_{0};
};

/// Totals, of one worker or of all. At rest, rx_packets + local_made == tx_packets + dropped() +
/// held() (invariant I6): every packet that came in or was made here has left, has been dropped
/// for one reason, or waits for a neighbour's MAC or a first fragment.
struct Totals {
    std::uint64_t rx_packets = 0;
    std::uint64_t rx_bytes = 0;  ///< of frames, without CRC
    std::uint64_t tx_packets = 0;
    std::uint64_t tx_bytes = 0;
    std::uint64_t local_made = 0;  ///< made by Sluice: ARP, ND, ICMP, RST, further fragments
    std::uint64_t held_taken = 0;  ///< put aside, to wait
    std::uint64_t held_given = 0;  ///< no longer waiting: sent or dropped
    std::uint64_t turns = 0;       ///< of the worker's loop
    std::uint64_t busy_turns = 0;  ///< turns that had a packet
    std::array<std::uint64_t, ct::kDropCount> drops{};

    [[nodiscard]] std::uint64_t dropped() const noexcept;
    /// Waiting now. Wraps, if read while workers run, when a packet ends its wait in between.
    [[nodiscard]] std::uint64_t held() const noexcept { return held_taken - held_given; }
    /// True if I6 holds.
    [[nodiscard]] bool balanced() const noexcept;
    Totals& operator+=(const Totals& o) noexcept;
};

/// One worker's counters; aligned, so that no two workers write one line.
struct alignas(ct::kCacheLine) WorkerCounters {
    Counter rx_packets;
    Counter rx_bytes;
    Counter tx_packets;
    Counter tx_bytes;
    Counter local_made;
    Counter held_taken;
    Counter held_given;
    TurnCounter turns;
    Counter busy_turns;
    std::array<Counter, ct::kDropCount> drops;

    void drop(ct::Drop reason) noexcept { drops[ct::index_of(reason)].add(1); }
    [[nodiscard]] Totals totals() const noexcept;
};

/// Packets of one port; filled by each worker for itself and summed by readers.
struct PortTotals {
    std::uint64_t rx_packets = 0;
    std::uint64_t rx_bytes = 0;
    std::uint64_t tx_packets = 0;
    std::uint64_t tx_bytes = 0;
    std::uint64_t tx_full = 0;  ///< frames dropped because the transmit queue was full

    PortTotals& operator+=(const PortTotals& o) noexcept;
};

}  // namespace dp
