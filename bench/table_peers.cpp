// SPDX-License-Identifier: BSD-3-Clause
//
// The tracker beside flow tables made of what else there is, in the same process and the same
// slices: DPDK's rte_hash with objects of a mempool, oneTBB's concurrent map, and the standard
// library's with locks. They hold both tuples of each flow and an object as large as the tracker's
// entry; a hit counts a packet in its first line. They track no state and check no window: where
// the tracker is as fast, its tracking is free.
#include "bench/load/established.hpp"
#include "bench/load/flood.hpp"
#include "bench/load/pair.hpp"
#include "bench/peers/eal.hpp"
#include "bench/peers/map_table.hpp"
#include "bench/peers/rte_table.hpp"

#include <fmt/format.h>

#include <atomic>
#include <memory>
#include <vector>

namespace {

using namespace bench;
using Graph = RoofShape::Graph;

constexpr std::uint32_t kStep = 1024;

/// A table for each of `Cores` threads, which share `flows` evenly: flow `n` is thread n % Cores'
/// own, both directions of it, as if the network card dealt them out so. No lock, nothing shared.
template <std::uint32_t Cores>
class PerCore {
public:
    static constexpr RteTable::Kind kKind = RteTable::Kind::PerCore;

    PerCore(std::uint32_t flows, std::size_t object_bytes, int socket) {
        for (auto& table : tables_)
            table = std::make_unique<RteTable>(kKind, flows / Cores, object_bytes, socket);
    }
    /// The one table of one thread.
    [[nodiscard]] RteTable& only() noexcept requires(Cores == 1) { return *tables_[0]; }
    bool insert(std::uint32_t n, std::uint64_t now) noexcept {
        return tables_[n % Cores]->insert(n, now);
    }
    void clear() {
        for (auto& table : tables_) table->clear();
    }
    [[nodiscard]] std::uint32_t keys() const {
        std::uint32_t n = 0;
        for (const auto& table : tables_) n += table->keys();
        return n;
    }
    [[nodiscard]] std::uint32_t flows() const noexcept { return Cores * tables_[0]->flows(); }

private:
    std::array<std::unique_ptr<RteTable>, Cores> tables_;
};

/// The peers' tables of a case; one of a kind, each with room for `flows`.
template <std::uint32_t Cores = 1>
struct Peers {
    Peers(std::uint32_t flows, std::size_t object_bytes, int socket)
        : lock_free{RteTable::Kind::LockFree, flows, object_bytes, socket},
          extendable{RteTable::Kind::Extendable, flows, object_bytes, socket},
          per_core{flows, object_bytes, socket},
          tbb{flows, object_bytes},
          sharded{flows, object_bytes} {}

    /// Calls `visit(table, name)` for each.
    template <class Visit>
    void each(Visit&& visit) {
        visit(lock_free, RteTable::name_of(RteTable::Kind::LockFree));
        visit(extendable, RteTable::name_of(RteTable::Kind::Extendable));
        if constexpr (Cores == 1)
            visit(per_core.only(), RteTable::name_of(RteTable::Kind::PerCore));
        else
            visit(per_core, RteTable::name_of(RteTable::Kind::PerCore));
        visit(tbb, TbbMap::kName);
        visit(sharded, ShardedMap::kName);
    }

    RteTable lock_free;
    RteTable extendable;
    PerCore<Cores> per_core;
    MapTable<TbbMap> tbb;
    MapTable<ShardedMap> sharded;
};

/// What is known of a contestant's work once it is over; shared with its steps.
struct Tally {
    std::uint32_t next = 0;    ///< flow
    std::uint32_t inside = 0;  ///< flows in the table
    std::uint64_t failed = 0;
};

/// Of rte_hash and mempool, for three tables. A flow has its object with header and trailer, and
/// 2.5 keys, each with 32 bytes in the key store and a share of buckets, of the ring of free places
/// and of the queue of places to be reclaimed, all of them rounded up to powers of two.
std::size_t memory_needed(std::uint32_t flows, std::size_t object_bytes) {
    return 3 * flows * (object_bytes + 128 + 512) + (std::size_t{256} << 20);
}

template <class Table>
void fill_table(Program& program, Table& table, const char* name, std::uint32_t flows) {
    std::uint32_t failed = 0;
    for (std::uint32_t n = 0; n < flows; ++n)
        failed += static_cast<std::uint32_t>(!table.insert(n, n));
    program.gate(
        failed == 0 && table.keys() == 2 * flows,
        fmt::format("{} has {} keys for {} flows; {} failed", name, table.keys(), flows, failed));
}

enum class Lookup : std::uint8_t { Bulk, Single };

template <Lookup kind, class Table>
Contestant hit_contestant(Table& table, std::string name, Draw draw, std::shared_ptr<Tally> tally) {
    const auto step = [&table, draw = std::move(draw), tally]() mutable {
        std::array<PeerKey, kBurst> keys;
        for (std::uint32_t done = 0; done < kStep; done += kBurst) {
            std::uint64_t replies = 0;
            for (std::size_t i = 0; i < kBurst; ++i) {
                const Draw::Pick pick = draw.next();
                keys[i] = peer_key(pick.flow, pick.reply);
                replies |= std::uint64_t{pick.reply} << i;
            }
            std::uint32_t found = 0;
            if constexpr (kind == Lookup::Bulk)
                found = table.hit_bulk(keys, replies, ++tally->next);
            else
                found = table.hit_single(keys, replies, ++tally->next);
            tally->failed += kBurst - found;
            table.quiescent();
        }
        return std::uint64_t{kStep};
    };
    return {.name = std::move(name), .step = step, .prepare = {}};
}

void hits(Program& program, int socket, std::uint32_t flows) {
    const std::string id = fmt::format("peers/hit/{}", flows);
    if (!program.wants(id, 4 * table_and_roof_bytes(flows))) return;
    const Draw draw = Draw::uniform(flows, 5);
    Established sluice{flows, draw, {}};
    const RoofContestant roof =
        make_roof(program, memory_like(sluice.table()),
                  {.graph = Graph::Established, .side_lines = sluice.side_lines()}, draw, kBurst);
    Peers<> peers{flows, ct::kCacheLine * (1 + sluice.side_lines()), socket};
    const auto tally = std::make_shared<Tally>();
    std::vector<Contestant> all{sluice.contestant("sluice"), sluice.filling(), roof.contestant};
    peers.each([&](auto& table, const char* name) {
        fill_table(program, table, name, flows);
        using Table = std::remove_reference_t<decltype(table)>;
        if constexpr (std::is_same_v<Table, RteTable>)
            all.push_back(
                hit_contestant<Lookup::Bulk>(table, fmt::format("{}, bulk", name), draw, tally));
        all.push_back(
            hit_contestant<Lookup::Single>(table, fmt::format("{}, single", name), draw, tally));
    });
    program.measure({.id = id,
                     .group = "peers",
                     .title = fmt::format("hits, {} flows, both directions at random", flows),
                     .params = {{"flows", flows}, {"burst", kBurst}, {"workers", 1}}},
                    all, {.roof = 2, .roof_id = roof.id, .overhead = 1, .net_of_overhead = {0}});
    sluice.check(program, id);
    program.gate(tally->failed == 0, fmt::format("{}: peers missed {} keys", id, tally->failed));
}

nlohmann::ordered_json params(std::uint32_t max, const ct::Conntrack& sluice,
                              std::uint32_t workers) {
    return {{"max", max},
            {"burst", kBurst},
            {"workers", workers},
            {"overflow", name_of(sluice.settings().overflow)}};
}

template <class Table>
Contestant insert_contestant(Table& table, const char* name, std::shared_ptr<Tally> tally) {
    const auto prepare = [&table, tally] {
        if (std::uint64_t{tally->inside} + kStep <= std::uint64_t{table.flows()} * 9 / 10) return;
        tally->failed += static_cast<std::uint64_t>(table.keys() != 2 * tally->inside);
        table.clear();
        tally->inside = 0;
    };
    const auto step = [&table, tally] {
        for (std::uint32_t i = 0; i < kStep; ++i) {
            tally->failed += static_cast<std::uint64_t>(!table.insert(tally->next, tally->next));
            ++tally->next;
        }
        tally->inside += kStep;
        return std::uint64_t{kStep};
    };
    return {.name = name, .step = step, .prepare = prepare};
}

void inserts(Program& program, int socket, std::uint32_t max) {
    const std::string id = fmt::format("peers/insert/{}", max);
    if (!program.wants(id, 4 * table_and_roof_bytes(max))) return;
    InsertFlood sluice{max, {.kind = {}}};
    const std::uint32_t side_lines = side_lines_of(sluice.table());
    const RoofContestant roof = make_roof(program, memory_like(sluice.table()),
                                          {.graph = Graph::Insert, .side_lines = side_lines},
                                          Draw::uniform(max, 1), kBurst);
    Peers<> peers{max, ct::kCacheLine * (1 + side_lines), socket};
    std::vector<Contestant> all{sluice.contestant("sluice"), flood_filling(), roof.contestant};
    std::vector<std::shared_ptr<Tally>> tallies;
    peers.each([&](auto& table, const char* name) {
        // Once full and empty again: whatever it allocates for good is there.
        fill_table(program, table, name, max);
        table.clear();
        tallies.push_back(std::make_shared<Tally>());
        all.push_back(insert_contestant(table, name, tallies.back()));
    });
    program.measure({.id = id,
                     .group = "peers",
                     .title = fmt::format("inserts, 0 to 90 % of {} flows, both tuples", max),
                     .params = params(max, sluice.table(), 1)},
                    all, {.roof = 2, .roof_id = roof.id, .overhead = 1, .net_of_overhead = {0}});
    sluice.check(program, id);
    for (std::size_t k = 0; k < tallies.size(); ++k)
        program.gate(tallies[k]->failed == 0, fmt::format("{}: {} failed {} times", id,
                                                          all[3 + k].name, tallies[k]->failed));
}

template <class Table>
Contestant full_contestant(Table& table, const char* name, std::shared_ptr<Tally> tally) {
    const auto step = [&table, tally] {
        for (std::uint32_t done = 0; done < kStep; done += kBurst) {
            for (std::uint32_t i = 0; i < kBurst; ++i) {
                tally->failed +=
                    static_cast<std::uint64_t>(!table.replace_oldest(tally->next, tally->next));
                ++tally->next;
            }
            table.quiescent();
        }
        return std::uint64_t{kStep};
    };
    return {.name = name, .step = step, .prepare = {}};
}

void full(Program& program, int socket, std::uint32_t max) {
    const std::string id = fmt::format("peers/full/{}", max);
    if (!program.wants(id, 4 * table_and_roof_bytes(max))) return;
    FullFlood sluice{max, {.kind = {}}};
    const std::uint32_t side_lines = side_lines_of(sluice.table());
    const RoofContestant roof =
        make_roof(program, memory_like(sluice.table()),
                  {.graph = Graph::Evict, .side_lines = side_lines}, Draw::uniform(max, 1), kBurst);
    Peers<> peers{max, ct::kCacheLine * (1 + side_lines), socket};
    std::vector<Contestant> all{sluice.contestant("sluice"), flood_filling(), roof.contestant};
    std::vector<std::shared_ptr<Tally>> tallies;
    peers.each([&](auto& table, const char* name) {
        fill_table(program, table, name, max);
        tallies.push_back(std::make_shared<Tally>(Tally{.next = max}));
        all.push_back(full_contestant(table, name, tallies.back()));
    });
    program.measure(
        {.id = id,
         .group = "peers",
         .title = fmt::format("{} flows at most: the oldest goes, a new one comes", max),
         .params = params(max, sluice.table(), 1)},
        all, {.roof = 2, .roof_id = roof.id, .overhead = 1, .net_of_overhead = {0}});
    sluice.check(program, id);
    std::size_t k = 0;
    peers.each([&](auto& table, const char* name) {
        program.gate(tallies[k]->failed == 0 && table.keys() == 2 * max,
                     fmt::format("{}: {} failed {} times and has {} keys", id, name,
                                 tallies[k]->failed, table.keys()));
        ++k;
    });
}

/// Two threads that insert until nine tenths are full, or until one has inserted half of what there
/// is room for: where each has a table of its own, that one is full then. Worker t has the flows t,
/// t + 2, t + 4, ...
struct PairTally {
    /// Of one thread, on a line of its own.
    struct alignas(ct::kCacheLine) Worker {
        std::uint32_t made = 0;
        std::uint64_t failed = 0;
        std::atomic<std::uint32_t> inside{0};  ///< flows in the table
    };
    std::array<Worker, kPair> workers{};

    [[nodiscard]] std::uint32_t inside() const {
        return workers[0].inside.load(std::memory_order_relaxed) +
               workers[1].inside.load(std::memory_order_relaxed);
    }
    [[nodiscard]] std::uint64_t failed() const { return workers[0].failed + workers[1].failed; }
    /// True where a table of `max` must not take more.
    [[nodiscard]] bool full(std::uint32_t max) const {
        const auto own = [&](const Worker& w) {
            return w.inside.load(std::memory_order_relaxed) + kStep > max / kPair;
        };
        return std::uint64_t{inside()} + kPair * kStep > std::uint64_t{max} * 9 / 10 ||
               own(workers[0]) || own(workers[1]);
    }
};

template <class Table>
Team insert_team(Table& table, const char* name, std::shared_ptr<PairTally> tally) {
    Team team{.name = name, .steps = {}, .prepare = {}, .done = {}};
    for (std::uint32_t t = 0; t < kPair; ++t)
        team.steps.emplace_back([&table, tally, t] {
            thread_local const EalThread registered;
            PairTally::Worker& mine = tally->workers[t];
            for (std::uint32_t i = 0; i < kStep; ++i, ++mine.made)
                mine.failed +=
                    static_cast<std::uint64_t>(!table.insert(mine.made * kPair + t, mine.made));
            mine.inside.fetch_add(kStep, std::memory_order_relaxed);
            return std::uint64_t{kStep};
        });
    team.done = [&table, tally] { return tally->full(table.flows()); };
    team.prepare = [&table, tally] {
        tally->workers[0].failed += static_cast<std::uint64_t>(table.keys() != 2 * tally->inside());
        table.clear();
        for (PairTally::Worker& w : tally->workers) w.inside.store(0, std::memory_order_relaxed);
    };
    return team;
}

void inserts_by_two(Program& program, int socket, std::uint32_t max) {
    const std::string id = fmt::format("peers/insert2/{}", max);
    if (!program.wants(id, 4 * table_and_roof_bytes(max))) return;
    Pair sluice{table_settings(max)};
    ct::Conntrack& table = sluice.table();
    constexpr std::uint32_t kBefore = 2'000'000'000;  // flows that fill the table once
    sluice.tracker(0).open(kBefore, max);
    Ageing{table}.clear(sluice.tracker(0).now);
    const std::uint64_t opened_before = table.counters().opened;

    const std::uint32_t side_lines = side_lines_of(table);
    const RoofShape shape{.graph = Graph::Insert, .side_lines = side_lines};
    Peers<kPair> peers{max, ct::kCacheLine * (1 + side_lines), socket};
    std::vector<std::shared_ptr<PairTally>> tallies;
    const auto memory = memory_like(table);
    const RoofSchedule schedule =
        make_roof(program, memory, shape, Draw::uniform(max, 1), kBurst).schedule;
    std::vector<Team> all{sluice.flood("sluice", kPair, Pair::Room::Needed),
                          roof_team(memory, shape, schedule, kPair)};
    peers.each([&](auto& peer, const char* name) {
        fill_table(program, peer, name, max);
        peer.clear();
        tallies.push_back(std::make_shared<PairTally>());
        all.push_back(insert_team(peer, name, tallies.back()));
    });
    program.measure_teams(
        {.id = id,
         .group = "peers",
         .title = fmt::format("inserts by two workers at once, 0 to 90 % of {} flows", max),
         .params = params(max, table, kPair)},
        all, {.roof = 1, .roof_id = shape.id()});
    for (const auto& tally : tallies)
        program.gate(tally->failed() == 0,
                     fmt::format("{}: {} inserts failed", id, tally->failed()));
    const std::uint64_t sent = sluice.tally(0).sent + sluice.tally(1).sent;
    program.gate(
        table.counters().opened - opened_before == sent &&
            sluice.tally(0).unexpected + sluice.tally(1).unexpected == 0,
        fmt::format("{}: {} SYNs, {} opened", id, sent, table.counters().opened - opened_before));
}

void body(Program& program) {
    const Options& o = program.options();
    const std::vector<std::uint32_t> sizes =
        o.pick<std::vector<std::uint32_t>>({8192}, {1U << 20}, {1U << 18, 1U << 20});
    // The largest object that memory_like() knows of.
    const std::size_t bytes = memory_needed(o.list ? 1024 : sizes.back(), 4 * ct::kCacheLine);
    const Eal eal{o.core, bytes};
    for (const std::uint32_t max : sizes) {
        hits(program, eal.socket(), max);
        inserts(program, eal.socket(), max);
        full(program, eal.socket(), max);
        inserts_by_two(program, eal.socket(), max);
    }
}

}  // namespace

int main(int argc, char** argv) {
    use_large_heap_pages(argv);
    Program program{"table_peers", "The tracker beside rte_hash, oneTBB and std::unordered_map.",
                    argc, argv};
    return program.run(body);
}
