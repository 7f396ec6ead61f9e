// SPDX-License-Identifier: BSD-3-Clause
#include "bench/load/established.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace bench {

namespace {

ct::Settings settings_of(std::uint32_t flows, const Established::Setup& setup) {
    ct::Settings s = table_settings(std::max(setup.max, flows));
    s.acct = setup.acct;
    return s;
}

}  // namespace

Established::Established(std::uint32_t flows, Draw draw, Setup setup)
    : flows_{flows},
      setup_{setup},
      table_{settings_of(flows, setup), 1, kHashSeed},
      snat_{setup.snat == 0 ? nullptr : std::make_unique<Snat>(table_, setup.snat)},
      tracker_{table_, 0, setup.kind, snat_.get()},
      draw_{draw},
      filling_maker_{setup.kind, setup.snat == 0 ? Frames::No : Frames::Yes},
      filling_draw_{std::move(draw)} {
    tracker_.establish(0, flows);
    sent_ = 3 * std::uint64_t{flows};
}

void Established::fill(std::span<ct::Packet> burst, PacketMaker& maker, Draw& draw) const noexcept {
    const unsigned replies = setup_.originals ? 0 : 1;
    for (ct::Packet& p : burst) {
        const Draw::Pick pick = draw.next();
        // No `&&`: it would branch on a bit that is drawn at random.
        maker.data(p, pick.flow, (static_cast<unsigned>(pick.reply) & replies) != 0);
    }
}

void Established::run_burst(std::uint32_t burst_size) noexcept {
    std::array<ct::Packet, kMaxBurst> packets;
    const std::span<ct::Packet> burst{packets.data(), burst_size};
    fill(burst, tracker_.maker, draw_);
    tracker_.run(burst);
    for (const ct::Packet& p : burst)
        unexpected_ += static_cast<std::uint64_t>(p.state != ct::CtState::Established);
    sent_ += burst_size;
}

Contestant Established::contestant(std::string name, std::uint32_t burst, bool sweeping) {
    const auto step = [this, burst, sweeping] {
        tracker_.sweeping = sweeping;
        for (std::uint32_t done = 0; done < kStep; done += burst) run_burst(burst);
        return std::uint64_t{kStep};
    };
    return {.name = std::move(name), .step = step, .prepare = {}};
}

Contestant Established::filling() {
    const auto step = [this] {
        std::array<ct::Packet, kBurst> packets;
        for (std::uint32_t done = 0; done < kStep; done += kBurst) {
            fill(packets, filling_maker_, filling_draw_);
            // As the tracker's functions are: something that may read and change every packet.
            asm volatile("" : : "r"(packets.data()) : "memory");
            for (const ct::Packet& p : packets)
                filled_ += static_cast<std::uint64_t>(p.state != ct::CtState::Established);
        }
        return std::uint64_t{kStep};
    };
    return {.name = "making the packets", .step = step, .prepare = {}};
}

void Established::check(Program& program, const std::string& id) {
    const ct::Counters c = table_.counters();
    program.gate(unexpected_ == 0,
                 fmt::format("{}: {} packets were not ESTABLISHED", id, unexpected_));
    program.gate(c.assured_evicted == 0 && c.early_drop == 0 && c.drop == 0 && c.invalid == 0,
                 fmt::format("{}: {} assured evicted, {} evicted, {} refused, {} invalid", id,
                             c.assured_evicted, c.early_drop, c.drop, c.invalid));
    program.gate(c.opened == flows_,
                 fmt::format("{}: {} opened for {} flows", id, c.opened, flows_));
    const std::uint32_t stride = std::max(1U, flows_ / 100'000);
    const bool mapped = setup_.snat != 0;
    program.gate_empty(mapped
                           ? bad_mappings(table_, tracker_.now)
                           : missing_flows(table_, setup_.kind, flows_, true, tracker_.now, stride),
                       id);
    if (setup_.acct) {
        const std::uint64_t counted = counted_packets(table_, tracker_.now);
        program.gate(counted == sent_,
                     fmt::format("{}: {} packets sent, {} counted", id, sent_, counted));
    }
    if (program.options().once()) program.gate_empty(table_.check_invariants(), id);
}

std::uint32_t Established::side_lines() const {
    return side_lines_of(table_);
}

}  // namespace bench
