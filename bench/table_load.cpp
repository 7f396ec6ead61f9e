// SPDX-License-Identifier: BSD-3-Clause
//
// The surface over load and hit ratio: a table that is 25 to 100 % full, packets of which 100 to
// 0 % hit it and the rest open flows. What they open is removed again, without being timed, before
// the load has moved by more than a hundredth; at 100 % the oldest embryonic entry goes instead.
#include "bench/load/flood.hpp"

#include <fmt/format.h>

#include <memory>
#include <utility>
#include <vector>

namespace {

using namespace bench;

constexpr std::uint32_t kStep = 1024;
/// Flows that are opened in between are far from those that are established.
constexpr std::uint32_t kNewFrom = 2'000'000'000;

/// A table with a load of established flows.
class LoadedTable {
public:
    LoadedTable(std::uint32_t max, unsigned load_percent)
        : spare_{std::max(max / 100, 2 * kStep)},
          flows_{std::min(static_cast<std::uint32_t>(std::uint64_t{max} * load_percent / 100),
                          max - spare_)},
          full_{load_percent == 100},
          table_{settings(max), 1, kHashSeed},
          tracker_{table_, 0},
          draw_{Draw::uniform(flows_, 5)} {
        tracker_.establish(0, flows_);
        if (full_) {
            tracker_.open(next_, spare_ + kStep);
            next_ += spare_ + kStep;
        }
    }

    [[nodiscard]] Contestant contestant(unsigned hit_percent) {
        const auto step = [this, hit_percent] {
            std::array<ct::Packet, kBurst> burst;
            for (std::uint32_t done = 0; done < kStep; done += kBurst) {
                for (ct::Packet& p : burst) {
                    const Draw::Pick pick = draw_.next();
                    if (below(mix(++coin_), 100) < hit_percent) {
                        tracker_.maker.data(p, pick.flow, pick.reply);
                        ++expected_hits_;
                    } else {
                        tracker_.maker.open(p, next_++);
                        ++inside_;
                    }
                }
                tracker_.run(burst);
                for (const ct::Packet& p : burst)
                    hits_ += static_cast<std::uint64_t>(p.state == ct::CtState::Established);
            }
            return std::uint64_t{kStep};
        };
        return {.name = fmt::format("sluice, {} % hits", hit_percent),
                .step = step,
                .prepare = [this] { make_room(); }};
    }

    void check(Program& program, const std::string& id) {
        const ct::Counters c = table_.counters();
        program.gate(hits_ == expected_hits_,
                     fmt::format("{}: {} hits of {}", id, hits_, expected_hits_));
        program.gate(
            c.assured_evicted == 0 && c.drop == 0,
            fmt::format("{}: {} assured evicted, {} refused", id, c.assured_evicted, c.drop));
        program.gate(
            c.opened == flows_ + (next_ - kNewFrom),
            fmt::format("{}: {} opened, {} flows", id, c.opened, flows_ + (next_ - kNewFrom)));
    }

private:
    static ct::Settings settings(std::uint32_t max) { return table_settings(max); }

    /// Ends the flows that were opened, if they have become too many.
    void make_room() {
        if (full_ || inside_ + kStep <= spare_) return;
        for (std::uint32_t n = next_ - inside_; n != next_; ++n)
            if (const auto s = table_.find(flow(n), tracker_.now))
                table_.erase(s->handle, tracker_.now);
        inside_ = 0;
    }

    std::uint32_t spare_;
    std::uint32_t flows_;
    bool full_;
    ct::Conntrack table_;
    Tracker tracker_;
    Draw draw_;
    std::uint64_t coin_ = 0;
    std::uint32_t next_ = kNewFrom;
    std::uint32_t inside_ = 0;
    std::uint64_t hits_ = 0;
    std::uint64_t expected_hits_ = 0;
};

void surface(Program& program, std::uint32_t max, unsigned load_percent) {
    const std::string id = fmt::format("load/{}/{}", max, load_percent);
    if (!program.wants(id, table_and_roof_bytes(max))) return;
    LoadedTable table{max, load_percent};
    std::vector<Contestant> all;
    for (const unsigned hits : {100U, 99U, 90U, 50U, 0U}) all.push_back(table.contestant(hits));
    program.measure({.id = id,
                     .group = "load",
                     .title = fmt::format("a table of {} that is {} % full", max, load_percent),
                     .params = {{"max", max},
                                {"load_percent", load_percent},
                                {"burst", kBurst},
                                {"overflow", name_of(table_settings(max).overflow)}}},
                    all);
    table.check(program, id);
}

void body(Program& program) {
    const Options& o = program.options();
    const auto max = o.pick<std::uint32_t>(1U << 15, 1U << 18, 1U << 20);
    for (const unsigned load : {25U, 50U, 75U, 90U, 100U}) surface(program, max, load);
}

}  // namespace

int main(int argc, char** argv) {
    Program program{"table_load", "The cost over load and hit ratio.", argc, argv};
    return program.run(body);
}
