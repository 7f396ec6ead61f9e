// SPDX-License-Identifier: BSD-3-Clause
//
// An attacker who aims all flows at one bucket. With the hash key known, and so with the tuples
// computed; and with the same tuples under another key, which is what not to know it means.
#include "bench/load/histogram.hpp"
#include "bench/load/table_roof.hpp"
#include "bench/load/tracker.hpp"
#include "ct/table/hash.hpp"

#include <fmt/format.h>

#include <array>
#include <memory>
#include <vector>

namespace {

using namespace bench;

constexpr std::uint32_t kMax = 2048;          // entries, in 1024 buckets
constexpr unsigned kLog2Buckets = 10;         // the fewest that a table has
constexpr std::uint64_t kOtherSeed = 0x5eed;  // of the key that the attacker does not know
/// Entries that may hang on one bucket: eight, and four overflow buckets of eight.
constexpr std::uint32_t kChain = 40;

/// Numbers of flows whose original tuples meet in bucket 0 under kHashSeed.
std::vector<std::uint32_t> colliding(std::size_t count) {
    const ct::HashKey key = ct::HashKey::from_seed(kHashSeed);
    std::vector<std::uint32_t> out;
    for (std::uint32_t n = 0; out.size() < count; ++n)
        if (ct::hash(key, flow(n)) >> (64 - kLog2Buckets) == 0) out.push_back(n);
    return out;
}

/// A table under attack by SYNs of the flows given, over and over: more of them than it holds, so
/// that each is new when it comes again.
class Attack {
public:
    static constexpr std::uint32_t kStep = 1024;
    static constexpr std::uint32_t kBystanders = 16;

    Attack(const std::vector<std::uint32_t>& flows, std::uint64_t seed)
        : flows_{flows}, table_{table_settings(kMax), 1, seed}, tracker_{table_, 0} {
        // The first are honest: established, and in the bucket under attack.
        for (std::uint32_t k = 0; k < kBystanders; ++k) tracker_.establish(flows_[k], 1);
    }

    void burst() noexcept {
        std::array<ct::Packet, kBurst> packets;
        for (ct::Packet& p : packets) {
            tracker_.maker.open(p, flows_[kBystanders + next_]);
            if (++next_ == flows_.size() - kBystanders) next_ = 0;
        }
        tracker_.run(packets);
        for (const ct::Packet& p : packets) refused_ += static_cast<std::uint64_t>(!p.alive());
    }

    [[nodiscard]] Contestant contestant(const char* name) {
        return {.name = name,
                .step =
                    [this] {
                        for (std::uint32_t k = 0; k < kStep; k += kBurst) burst();
                        return std::uint64_t{kStep};
                    },
                .prepare = {}};
    }

    void check(Program& program, const std::string& id) {
        std::uint32_t lost = 0;
        for (std::uint32_t k = 0; k < kBystanders; ++k)
            lost +=
                static_cast<std::uint32_t>(!table_.find(flow(flows_[k]), tracker_.now).has_value());
        program.gate(lost == 0 && table_.counters().assured_evicted == 0,
                     fmt::format("{}: {} of {} established flows lost", id, lost, kBystanders));
        program.gate(refused_ == 0, fmt::format("{}: {} SYNs refused", id, refused_));
    }
    [[nodiscard]] std::uint32_t count() const { return table_.count(); }

private:
    const std::vector<std::uint32_t>& flows_;
    ct::Conntrack table_;
    Tracker tracker_;
    std::size_t next_ = 0;
    std::uint64_t refused_ = 0;
};

void body(Program& program) {
    const std::string id = "collisions/one bucket";
    if (!program.wants(id)) return;
    const std::vector<std::uint32_t> flows = colliding(2 * kMax);
    Attack known{flows, kHashSeed};
    Attack unknown{flows, kOtherSeed};
    const CaseInfo info{.id = id,
                        .group = "collisions",
                        .title = "SYN flood of tuples that meet in one bucket",
                        .params = {{"max", kMax}, {"tuples", flows.size()}}};
    const std::array all{known.contestant("sluice, key known to the attacker"),
                         unknown.contestant("sluice, key unknown")};
    program.measure(info, all);
    program.note(fmt::format("{}: {} entries where the key was known, {} where not", id,
                             known.count(), unknown.count()));
    program.gate(known.count() <= kChain,
                 fmt::format("{}: {} entries on one bucket", id, known.count()));
    program.gate(unknown.count() + 128 >= kMax,
                 fmt::format("{}: {} entries in a full table", id, unknown.count()));
    known.check(program, id + ", key known");
    unknown.check(program, id + ", key unknown");

    const std::size_t bursts = program.options().pick<std::size_t>(500, 20'000, 200'000);
    std::vector<Result> rows;
    for (const auto& [attack, name] : {std::pair{&known, "sluice, key known, worst burst"},
                                       std::pair{&unknown, "sluice, key unknown, worst burst"}}) {
        Times times{bursts};
        for (std::size_t b = 0; b < bursts; ++b) times.time([&] { attack->burst(); });
        rows.push_back({.info = info,
                        .contestant = fmt::format("{}, p99.9", name),
                        .unit = "ns/burst",
                        .value = summarize({times.quantile_ns(0.999)})});
    }
    program.add(std::move(rows));
}

}  // namespace

int main(int argc, char** argv) {
    Program program{"table_collisions", "All flows on one bucket.", argc, argv};
    return program.run(body);
}
