// SPDX-License-Identifier: BSD-3-Clause
//
// A table full of assured connections and the packets that hit them.
#pragma once

#include "bench/load/table_roof.hpp"
#include "bench/load/tracker.hpp"

#include <memory>
#include <string>

namespace bench {

class Established {
public:
    /// Packets of a step.
    static constexpr std::uint32_t kStep = 1024;

    struct Setup {
        FlowKind kind;
        bool acct = true;
        std::uint32_t max = 0;   ///< entries of the table; 0: as many as flows
        std::uint8_t snat = 0;   ///< external addresses; 0: no NAT
        bool originals = false;  ///< packets of the original direction only
    };

    /// Makes a table and establishes `flows` flows in it. Throws std::bad_alloc.
    Established(std::uint32_t flows, Draw draw, Setup setup);

    /// Packets through the tracker, as `draw` has them, in bursts of `burst`.
    [[nodiscard]] Contestant contestant(std::string name, std::uint32_t burst = kBurst,
                                        bool sweeping = true);
    /// The same packets made, and no more: what to subtract.
    [[nodiscard]] Contestant filling();
    /// One burst through the tracker.
    void run_burst(std::uint32_t burst) noexcept;

    /// Gates: every packet was ESTABLISHED, every flow is still there, assured, under both tuples;
    /// nothing was evicted or refused; the entries' counters add up to the packets sent.
    void check(Program& program, const std::string& id);

    [[nodiscard]] ct::Conntrack& table() noexcept { return table_; }
    [[nodiscard]] Tracker& tracker() noexcept { return tracker_; }
    /// Lines of an entry that a hit touches, beside the first.
    [[nodiscard]] std::uint32_t side_lines() const;

private:
    void fill(std::span<ct::Packet> burst, PacketMaker& maker, Draw& draw) const noexcept;

    std::uint32_t flows_;
    Setup setup_;
    ct::Conntrack table_;
    std::unique_ptr<Snat> snat_;
    Tracker tracker_;
    Draw draw_;
    PacketMaker filling_maker_;
    Draw filling_draw_;
    std::uint64_t sent_ = 0;        ///< packets, the setup's included
    std::uint64_t unexpected_ = 0;  ///< packets that were not ESTABLISHED
    std::uint64_t filled_ = 0;
};

}  // namespace bench
