// SPDX-License-Identifier: BSD-3-Clause
//
// A SYN flood, each packet of a flow of its own: into a table that is not full, and into one that
// is, where each newcomer takes the place of the oldest embryonic entry.
#pragma once

#include "bench/load/table_roof.hpp"
#include "bench/load/tracker.hpp"

#include <cstdint>
#include <string>

namespace bench {

/// Where the entries that are taken one after the other lie in memory.
enum class Order : std::uint8_t {
    Fresh,  ///< side by side, as in a table that was never full
    Aged,   ///< at random, as in one that has been in use
};

/// Inserts: cleared, without being timed, whenever nine tenths are full.
class InsertFlood {
public:
    static constexpr std::uint32_t kStep = 1024;

    InsertFlood(std::uint32_t max, Order order, FlowKind kind = {}, std::uint32_t burst = kBurst,
                bool acct = true);

    [[nodiscard]] Contestant contestant(std::string name);
    /// Gates: every packet opened a flow, none was refused; the last flows are found.
    void check(Program& program, const std::string& id);

    [[nodiscard]] ct::Conntrack& table() noexcept { return table_; }

private:
    void clear();

    Order order_;
    std::uint32_t burst_;
    ct::Conntrack table_;
    Tracker tracker_;
    Ageing ageing_;
    std::uint32_t next_ = 0;    ///< flow
    std::uint32_t inside_ = 0;  ///< flows in the table
    std::uint64_t wrong_ = 0;   ///< entries that were not there when the table was cleared
};

/// Inserts into a full table.
class FullFlood {
public:
    static constexpr std::uint32_t kStep = 1024;

    struct Setup {
        Order order = Order::Aged;
        std::uint32_t assured = 0;  ///< entries of the table that are assured flows
        FlowKind kind;
        std::uint32_t burst = kBurst;
    };

    /// Fills a table of `max` entries.
    FullFlood(std::uint32_t max, Setup setup);

    /// Floods it with `packets` SYNs, a whole number of bursts. Returns how many.
    std::uint64_t step(std::uint32_t packets) noexcept;
    [[nodiscard]] Contestant contestant(std::string name);
    /// Gates: the table is full, each newcomer evicted just one, none was refused, no assured entry
    /// was lost, and what is left are the newest.
    void check(Program& program, const std::string& id);

    [[nodiscard]] ct::Conntrack& table() noexcept { return table_; }
    [[nodiscard]] Tracker& tracker() noexcept { return tracker_; }

private:
    Setup setup_;
    ct::Conntrack table_;
    Tracker tracker_;
    std::uint32_t next_ = 0;  ///< flow
    ct::Counters before_;     ///< when the table was full
};

/// Cost of making a flood's packets.
[[nodiscard]] Contestant flood_filling(FlowKind kind, std::uint32_t burst = kBurst);

}  // namespace bench
