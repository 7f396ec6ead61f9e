// SPDX-License-Identifier: BSD-3-Clause
#include "bench/load/flood.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <utility>

namespace bench {

namespace {

/// Flows whose numbers no flood reaches: those that are established beforehand.
constexpr std::uint32_t kAssuredFrom = 3'000'000'000;

ct::Settings insert_settings(std::uint32_t max, const FloodSetup& setup) {
    ct::Settings s = table_settings(max);
    s.acct = setup.acct;
    s.room = setup.room;
    return s;
}

ct::Settings full_settings(std::uint32_t max, const FloodSetup& setup) {
    ct::Settings s = table_settings(max);
    s.acct = setup.acct;
    s.room = setup.room;
    s.embryonic_percent =
        static_cast<std::uint32_t>(100 - std::uint64_t{100} * setup.assured / std::max(max, 1U));
    return s;
}

/// Free entries that may lie in the caches of others than the worker (Pool::kBatch, twice).
constexpr std::uint32_t kSpare = 128;

/// One in this many flows is looked at by the gates.
std::uint32_t stride_for(std::uint32_t flows) {
    return std::max(1U, flows / 50'000);
}

/// SYNs of the flows that come `first`-th to `first + count - 1`-th, in bursts.
void send(Tracker& tracker, FlowOrder order, std::uint32_t first, std::uint32_t count,
          std::uint32_t burst_size = kBurst) noexcept {
    std::array<ct::Packet, kMaxBurst> packets;
    for (std::uint32_t done = 0; done < count;) {
        const std::uint32_t n = std::min(burst_size, count - done);
        for (std::uint32_t i = 0; i < n; ++i)
            tracker.maker.open(packets[i], order(first + done + i));
        tracker.run({packets.data(), n});
        done += n;
    }
}

std::uint32_t reserved(const ct::Room& room) {
    std::uint32_t sum = 0;
    for (const ct::Reservation& r : room.reserve) sum += r.entries;
    return sum;
}

}  // namespace

InsertFlood::InsertFlood(std::uint32_t max, const FloodSetup& setup)
    : setup_{setup},
      table_{insert_settings(max, setup), 1, kHashSeed},
      snat_{setup.snat == 0 ? nullptr : std::make_unique<Snat>(table_, setup.snat)},
      tracker_{table_, 0, setup.kind, snat_.get()},
      ageing_{table_} {
    tracker_.nanos_per_packet = setup.nanos_per_packet;
    if (setup.order == Order::Fresh) return;
    open(max - reserved(setup.room));
    clear();
}

void InsertFlood::open(std::uint32_t count) noexcept {
    send(tracker_, setup_.flow_order, next_, count);
    next_ += count;
    inside_ += count;
}

void InsertFlood::clear() {
    wrong_ += static_cast<std::uint64_t>(table_.count() != inside_);
    if (setup_.order == Order::Aged)
        ageing_.clear(tracker_.now);
    else
        table_.flush(tracker_.now);
    wrong_ += table_.count();
    inside_ = 0;
}

Contestant InsertFlood::contestant(std::string name, std::uint32_t burst_size) {
    const auto prepare = [this] {
        if (std::uint64_t{inside_} + kStep > std::uint64_t{table_.capacity()} * 9 / 10) clear();
    };
    const auto step = [this, burst_size] {
        send(tracker_, setup_.flow_order, next_, kStep, burst_size);
        next_ += kStep;
        inside_ += kStep;
        return std::uint64_t{kStep};
    };
    return {.name = std::move(name), .step = step, .prepare = prepare};
}

void InsertFlood::check(Program& program, const std::string& id) {
    const ct::Counters c = table_.counters();
    program.gate(wrong_ == 0 && table_.count() == inside_,
                 fmt::format("{}: {} entries for {} flows, {} missed before", id, table_.count(),
                             inside_, wrong_));
    program.gate(c.opened == next_ && c.drop == 0 && c.insert_failed == 0 && c.early_drop == 0,
                 fmt::format("{}: {} SYNs, {} opened, {} refused, {} failed, {} evicted", id, next_,
                             c.opened, c.drop, c.insert_failed, c.early_drop));
    std::uint32_t missing = 0;
    for (std::uint32_t n = next_ - inside_; n != next_;
         n += std::min(stride_for(inside_), next_ - n))
        missing += static_cast<std::uint32_t>(
            !table_.find(flow(setup_.flow_order(n), setup_.kind), tracker_.now).has_value());
    program.gate(missing == 0, fmt::format("{}: {} flows are not found", id, missing));
    if (program.options().once()) program.gate_empty(table_.check_invariants(), id);
}

FullFlood::FullFlood(std::uint32_t max, const FloodSetup& setup)
    : setup_{setup},
      table_{full_settings(max, setup), 1, kHashSeed},
      snat_{setup.snat == 0 ? nullptr : std::make_unique<Snat>(table_, setup.snat)},
      tracker_{table_, 0, setup.kind, snat_.get()} {
    tracker_.nanos_per_packet = setup.nanos_per_packet;
    if (setup.order == Order::Aged) {
        Ageing ageing{table_};
        // Assured, so that the budget of embryonic entries does not matter.
        if (setup.assured != 0) {
            tracker_.establish(next_, max);
            next_ += max;
        } else {
            open(max - reserved(setup.room));
        }
        ageing.clear(tracker_.now);
        // A worker counts embryonic entries once in 32 openings: let it see that there are none.
        open(2 * kBurst);
        ageing.clear(tracker_.now);
    }
    tracker_.establish(kAssuredFrom, setup.assured);
    open(max - setup.assured - reserved(setup.room));
    // Some turns more, so that the next victims are known as they are in the midst of a flood.
    open(4 * kStep);
    before_ = table_.counters();
}

void FullFlood::open(std::uint32_t count) noexcept {
    send(tracker_, setup_.flow_order, next_, count);
    next_ += count;
}

std::uint64_t FullFlood::step(std::uint32_t packets, std::uint32_t burst_size) noexcept {
    send(tracker_, setup_.flow_order, next_, packets, burst_size);
    next_ += packets;
    return packets;
}

Contestant FullFlood::contestant(std::string name, std::uint32_t burst) {
    return {.name = std::move(name),
            .step = [this, burst] { return step(kStep, burst); },
            .prepare = {}};
}

void FullFlood::check(Program& program, const std::string& id) {
    const ct::Counters c = table_.counters();
    const std::uint64_t opened = c.opened - before_.opened;
    const std::uint64_t evicted = c.early_drop - before_.early_drop;
    const std::uint64_t refused = c.drop - before_.drop;
    const std::uint32_t max = table_.capacity() - reserved(setup_.room);
    program.gate(table_.count() + kSpare >= max,
                 fmt::format("{}: {} entries in a full table of {}", id, table_.count(), max));
    program.gate(
        evicted + kSpare >= opened && evicted <= opened + kSpare && refused == 0,
        fmt::format("{}: {} newcomers evicted {}, {} were refused", id, opened, evicted, refused));
    program.gate(c.assured_evicted == 0,
                 fmt::format("{}: {} assured entries evicted", id, c.assured_evicted));
    const auto missing = [&](std::uint32_t from, std::uint32_t count, FlowOrder order) {
        std::uint32_t n = 0;
        for (std::uint32_t k = 0; k < count; k += stride_for(count))
            n += static_cast<std::uint32_t>(
                !table_.find(flow(order(from + k), setup_.kind), tracker_.now).has_value());
        return n;
    };
    const std::uint32_t embryonic = max - setup_.assured;
    const std::uint32_t newest = embryonic - std::min(embryonic, embryonic / 16 + kSpare);
    // A bucket whose chain is at its limit loses its own oldest, which may be young.
    const std::uint64_t crowded = c.chaintoolong - before_.chaintoolong;
    const std::uint32_t early = missing(next_ - newest, newest, setup_.flow_order);
    program.gate(early <= crowded,
                 fmt::format("{}: {} of the newest {} were evicted before their time, {} of them "
                             "for want of room in their bucket",
                             id, early, newest, crowded));
    if (crowded != 0)
        program.note(fmt::format("{}: {} of {} newcomers found the chain of their bucket full", id,
                                 crowded, opened));
    program.gate(missing(kAssuredFrom, setup_.assured, {}) == 0,
                 fmt::format("{}: an assured flow is not found", id));
    if (setup_.snat != 0) program.gate_empty(bad_mappings(table_, tracker_.now), id);
    if (program.options().once()) program.gate_empty(table_.check_invariants(), id);
}

Contestant flood_filling(FlowKind kind, Frames frames) {
    struct State {
        State(FlowKind k, Frames f) : maker{k, f} {}
        PacketMaker maker;
        std::uint32_t next = 0;
    };
    const auto state = std::make_shared<State>(kind, frames);
    constexpr std::uint32_t kStep = 1024;
    const auto step = [state] {
        std::array<ct::Packet, kBurst> packets;
        for (std::uint32_t done = 0; done < kStep; done += kBurst) {
            for (ct::Packet& p : packets) state->maker.open(p, state->next++);
            // As the tracker's functions are: something that may read and change every packet.
            asm volatile("" : : "r"(packets.data()) : "memory");
        }
        return std::uint64_t{kStep};
    };
    return {.name = "making the packets", .step = step, .prepare = {}};
}

}  // namespace bench
