// SPDX-License-Identifier: BSD-3-Clause
#include "bench/load/pair.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace bench {

Pair::Pair(const ct::Settings& settings) : table_{settings, kPair, kHashSeed}, ageing_{table_} {
    for (ct::WorkerId w = 0; w < kPair; ++w)
        trackers_.push_back(std::make_unique<Tracker>(table_, w));
}

void Pair::same_time() noexcept {
    ct::Nanos latest = 0;
    for (const auto& t : trackers_) latest = std::max(latest, t->now);
    for (const auto& t : trackers_) t->now = latest;
}

Team Pair::hits(std::string name, std::uint32_t workers, std::uint32_t flows,
                unsigned split_percent) {
    Team team{.name = std::move(name), .steps = {}, .prepare = [this] { same_time(); }, .done = {}};
    for (std::uint32_t w = 0; w < workers; ++w)
        team.steps.emplace_back(
            [this, w, workers, split_percent, draw = Draw::uniform(flows, 5 + w)]() mutable {
                std::array<ct::Packet, kBurst> burst;
                Tracker& tracker = *trackers_[w];
                WorkerTally& tally = tallies_[w];
                for (std::uint32_t done = 0; done < kStep; done += kBurst) {
                    for (ct::Packet& p : burst) {
                        const Draw::Pick pick = draw.next();
                        const bool split = below(mix(pick.flow), 100) < split_percent;
                        // Without a branch: half of them would be foretold wrongly at 50 %.
                        const std::uint32_t shared = 0U - std::uint32_t{split};
                        const std::uint32_t own = own_of_pair(pick.flow, w) & ~shared;
                        const std::uint32_t flow = own | (pick.flow & shared);
                        const bool reply = (pick.reply & !split) | ((w != 0) & split);
                        if (workers == kPair)
                            tracker.maker.data(p, flow, reply);
                        else
                            tracker.maker.data(p, pick.flow, pick.reply);
                    }
                    tracker.run(burst);
                    for (const ct::Packet& p : burst)
                        tally.unexpected +=
                            static_cast<std::uint64_t>(p.state != ct::CtState::Established);
                }
                tally.sent += kStep;
                return std::uint64_t{kStep};
            });
    return team;
}

Team Pair::flood(std::string name, std::uint32_t workers, Room room) {
    Team team{.name = std::move(name), .steps = {}, .prepare = {}, .done = {}};
    for (std::uint32_t w = 0; w < workers; ++w)
        team.steps.emplace_back([this, w, room] {
            std::array<ct::Packet, kBurst> burst;
            Tracker& tracker = *trackers_[w];
            WorkerTally& tally = tallies_[w];
            for (std::uint32_t done = 0; done < kStep; done += kBurst) {
                for (ct::Packet& p : burst) tracker.maker.open(p, tally.next++ * kPair + w);
                tracker.run(burst);
                for (const ct::Packet& p : burst)
                    tally.unexpected += static_cast<std::uint64_t>(!p.opened || !p.alive());
            }
            tally.sent += kStep;
            if (room == Room::Needed) inside_.fetch_add(kStep, std::memory_order_relaxed);
            return std::uint64_t{kStep};
        });
    if (room == Room::Made) {
        team.prepare = [this] { same_time(); };
        return team;
    }
    team.prepare = [this] { clear(); };
    team.done = [this] {
        return std::uint64_t{inside_.load(std::memory_order_relaxed)} + kPair * kStep >
               std::uint64_t{table_.capacity()} * 9 / 10;
    };
    return team;
}

void Pair::clear() {
    same_time();
    const std::uint32_t inside = inside_.load(std::memory_order_relaxed);
    tallies_[0].unexpected += static_cast<std::uint64_t>(table_.count() != inside);
    ageing_.clear(trackers_[0]->now);
    inside_.store(0, std::memory_order_relaxed);
}

Team roof_team(const std::shared_ptr<RoofMemory>& memory, RoofShape shape, RoofSchedule schedule,
               std::uint32_t workers) {
    Team team{.name = fmt::format("roofline {}, {} worker{}", shape.id(), workers,
                                  workers == 1 ? "" : "s"),
              .steps = {},
              .prepare = {},
              .done = {}};
    for (std::uint32_t w = 0; w < workers; ++w) {
        const auto roof = std::make_shared<Roof>(
            memory, shape, Draw::uniform(memory->entries, w + 1), kBurst, schedule, w, workers);
        team.steps.emplace_back([roof] { return roof->step(Pair::kStep); });
    }
    return team;
}

}  // namespace bench
