// SPDX-License-Identifier: BSD-3-Clause
//
// A SYN flood, each packet of a flow of its own: into a table that is not full, and into one that
// is, where each newcomer takes the place of the oldest embryonic entry.
#pragma once

#include "bench/load/table_roof.hpp"
#include "bench/load/tracker.hpp"

#include <cstdint>
#include <memory>
#include <string>

namespace bench {

/// Where the entries that are taken one after the other lie in memory.
enum class Order : std::uint8_t {
    Fresh,  ///< side by side, as in a table that was never full
    Aged,   ///< at random, as in one that has been in use
};

/// Which flow comes n-th: the next of the same client's, until its ports are used up; or one from
/// each of 2^log2_sources clients in turn.
struct FlowOrder {
    std::uint32_t log2_sources = 0;

    /// Without a branch: it stands in the loop that is measured.
    [[nodiscard]] constexpr std::uint32_t operator()(std::uint32_t n) const noexcept {
        const std::uint32_t source = n & ((1U << log2_sources) - 1);
        return source * FlowNumbers::kPorts + (n >> log2_sources);
    }
};

/// What a flood is like.
struct FloodSetup {
    Order order = Order::Aged;
    FlowKind kind;
    std::uint32_t assured = 0;  ///< entries of a full table that are assured flows
    std::uint8_t snat = 0;      ///< external addresses; 0: no NAT
    bool acct = true;
    ct::Room room{};         ///< limits, reservations and the like
    FlowOrder flow_order{};  ///< with assured flows: from one client after the other
    ct::Nanos nanos_per_packet = kNanosPerPacket;  ///< of virtual time
};

/// Inserts: cleared, without being timed, whenever nine tenths are full.
class InsertFlood {
public:
    static constexpr std::uint32_t kStep = 1024;

    InsertFlood(std::uint32_t max, const FloodSetup& setup);

    [[nodiscard]] Contestant contestant(std::string name, std::uint32_t burst = kBurst);
    /// Gates: every packet opened a flow, none was refused; the last flows are found.
    void check(Program& program, const std::string& id);

    [[nodiscard]] ct::Conntrack& table() noexcept { return table_; }

private:
    void clear();
    void open(std::uint32_t count) noexcept;

    FloodSetup setup_;
    ct::Conntrack table_;
    std::unique_ptr<Snat> snat_;
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

    /// Fills a table of `max` entries.
    FullFlood(std::uint32_t max, const FloodSetup& setup);

    /// Floods it with `packets` SYNs, a whole number of bursts. Returns how many.
    std::uint64_t step(std::uint32_t packets, std::uint32_t burst = kBurst) noexcept;
    [[nodiscard]] Contestant contestant(std::string name, std::uint32_t burst = kBurst);
    /// Gates: the table is full, each newcomer evicted just one, none was refused, no assured entry
    /// was lost, and what is left are the newest.
    void check(Program& program, const std::string& id);

    [[nodiscard]] ct::Conntrack& table() noexcept { return table_; }
    [[nodiscard]] Tracker& tracker() noexcept { return tracker_; }

private:
    void open(std::uint32_t count) noexcept;

    FloodSetup setup_;
    ct::Conntrack table_;
    std::unique_ptr<Snat> snat_;
    Tracker tracker_;
    std::uint32_t next_ = 0;  ///< flow
    ct::Counters before_;     ///< when the table was full
};

/// Cost of making a flood's packets.
[[nodiscard]] Contestant flood_filling(FlowKind kind = {}, Frames frames = Frames::No);

}  // namespace bench
