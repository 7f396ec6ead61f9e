// SPDX-License-Identifier: BSD-3-Clause
//
// More threads than cores do to one small table what workers and control do at their worst: both
// directions of the same flows on different threads, NATed and not, floods that evict, time-outs,
// dumps, deletions. Afterwards the invariants hold and the books balance. Run under ThreadSanitizer
// as well.
#include "ct/conntrack.hpp"
#include "ct/table/index.hpp"
#include "tests/ct/packets.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <barrier>
#include <cstddef>
#include <cstdlib>
#include <map>
#include <random>
#include <thread>
#include <utility>
#include <vector>

namespace ct::test {
namespace {

constexpr WorkerId kWorkers = 4;
constexpr std::uint32_t kExternal = 0xcb007101;  // 203.0.113.1

std::uint32_t rounds() {
    const char* set = std::getenv("SLUICE_STRESS_ROUNDS");
    return set == nullptr ? 30'000 : static_cast<std::uint32_t>(std::strtoul(set, nullptr, 10));
}

struct Storm {
    Conntrack ct;
    std::atomic<std::uint64_t> packets{0};
    std::atomic<std::uint64_t> now{1000 * kNanosPerSecond};

    explicit Storm(const Settings& s) : ct{s, kWorkers, 1} {}

    /// SNAT of odd client ports, to few external ports, so that mappings clash.
    void confirm(WorkerId w, Packet& p, Nanos t, std::mt19937& rng) {
        const bool nated = (p.tuple.sport.host() & 1) != 0;
        if (nated) p.reply.dst = v4(kExternal);
        for (int tries = 0; tries < 20; ++tries) {
            if (nated)
                p.reply.dport = Be16::from_host(static_cast<std::uint16_t>(1024 + rng() % 64));
            const auto c = ct.confirm(w, p, t);
            if (c != Conntrack::Confirmation::ReplyTaken) return;
        }
        ct.abandon(w, p, t);
    }

    void burst(WorkerId w, std::mt19937& rng) {
        const Nanos t = now.fetch_add(kNanosPerTick / 8, std::memory_order_relaxed);
        std::vector<Packet> b;
        for (int i = 0; i < 16; ++i) {
            const auto port = static_cast<std::uint16_t>(rng() % 600);
            const std::uint8_t proto = rng() % 2 == 0 ? ipproto::kTcp : ipproto::kUdp;
            const Tuple t4 = tuple4(proto, kClient, port, kServer, 80);
            switch (rng() % 6) {
                case 0:
                    b.push_back(tcp(t4, tcpflag::kSyn, 1000));
                    break;
                case 1:
                    b.push_back(tcp(reply_of(t4), tcpflag::kSyn | tcpflag::kAck, 5000, 1001));
                    break;
                case 2:
                    b.push_back(tcp(t4, tcpflag::kAck, 1001, 5001));
                    break;
                case 3: {  // the answer to some mapping
                    Tuple mapped = tuple4(proto, kServer, 80, kExternal,
                                          static_cast<std::uint16_t>(1024 + rng() % 64));
                    b.push_back(tcp(mapped, tcpflag::kAck, 5001, 1001));
                    break;
                }
                case 4:
                    b.push_back(tcp(t4, tcpflag::kFin | tcpflag::kAck, 1001, 5001));
                    break;
                default:
                    b.push_back(
                        tcp(t4, rng() % 8 == 0 ? tcpflag::kRst : tcpflag::kAck, 1001, 5001));
            }
        }
        ct.lookup(w, b, t);
        ct.update(w, b, t);
        for (Packet& p : b) {
            if (!p.alive() || p.conn.valid() || p.state != CtState::None) continue;
            if (ct.open(w, p, t) == Conntrack::Opening::Opened) confirm(w, p, t, rng);
        }
        ct.expire(w, t);
        packets.fetch_add(b.size(), std::memory_order_relaxed);
    }

    /// What an operator may do while packets pass: make entries, change them, change settings.
    void meddle(std::mt19937& random, Nanos t) {
        const auto rng = [&random] { return static_cast<std::uint32_t>(random()); };
        Injection e;
        e.original = tuple4(ipproto::kUdp, kClient, static_cast<std::uint16_t>(rng() % 64), kServer,
                            static_cast<std::uint16_t>(80 + rng() % 2));
        e.reply = reply_of(e.original);
        e.timeout_s = 1 + rng() % 3;
        if (rng() % 2 == 0) e.status = status::kSeenReply | status::kAssured;
        if (ct.insert(e, t) == Injected::Exists) {
            Change c;
            c.mark = rng();
            c.mark_mask = 0xff;
            c.timeout_s = 2;
            c.status = status::kAssured;
            if (const auto found = ct.find(e.original, t))
                static_cast<void>(ct.change(found->handle, c, t));
        }
        ct.change_settings([&](Settings& s) {
            s.acct = rng() % 2 == 0;
            s.timestamp = rng() % 2 == 0;
            s.max = 200 + rng() % 57;
            s.timeouts.udp = 1 + rng() % 3;
            s.tcp_loose = rng() % 2 == 0;
            s.log_invalid = rng() % 2 == 0 ? std::uint8_t{255} : std::uint8_t{0};
        });
        InvalidNote note;
        for (WorkerId w = 0; w < kWorkers; ++w)
            while (ct.next_invalid(w, note)) EXPECT_NE(note.tuple.family, Family::None);
        Snapshot s;
        static_cast<void>(ct.snapshot_and_zero(rng() % ct.indices(), t, s));
        static_cast<void>(ct.snapshot_in(Stage::Unconfirmed, rng() % ct.indices(), t, s));
    }

    void control(std::atomic<bool>& stop) {
        std::mt19937 rng{77};
        ct.add_listener();
        while (!stop.load()) {
            const Nanos t = now.load(std::memory_order_relaxed);
            Snapshot s;
            for (std::uint32_t i = 0; i < ct.indices(); ++i) {
                if (!ct.snapshot(i, t, s)) continue;
                // What a dump shows is one connection, not halves of two.
                EXPECT_EQ(s.original.proto, s.reply.proto);
                EXPECT_EQ(s.original.dst, s.reply.src);
                EXPECT_TRUE(s.reply.dst == s.original.src || s.reply.dst == v4(kExternal));
                if (rng() % 64 == 0) ct.erase(s.handle, t);
            }
            meddle(rng, t);
            Event e;
            for (WorkerId w = 0; w <= kWorkers; ++w)
                while (ct.next_event(w, e)) EXPECT_EQ(e.conn.original.proto, e.conn.reply.proto);
            std::this_thread::yield();
        }
        ct.remove_listener();
    }
};

Settings under(Overflow policy) {
    Settings s;
    s.overflow = policy;
    return s;
}

/// Every setting that has a say in who gets room.
Settings with_everything(Overflow policy) {
    Settings s = under(policy);
    s.room.never_delete_mappings = true;
    s.room.min_life = 1;
    s.room.adaptive = {.start_percent = 20, .end_percent = 110};
    s.room.reserve = {{{.addr = v4(kClient), .length = 32, .family = Family::Ipv4}, 20},
                      {{.addr = v4(kServer), .length = 24, .family = Family::Ipv4}, 10}};
    s.room.per_source = {.max_entries = 200, .new_per_second = 20'000};
    return s;
}

void storm(Settings s, std::uint32_t max = 256) {
    s.max = max;
    s.acct = true;
    s.timeouts.udp = 2;
    s.timeouts.tcp[index_of(TcpState::Close)] = 1;
    Storm storm{s};
    std::atomic<bool> stop{false};
    std::thread control{[&] { storm.control(stop); }};
    std::vector<std::thread> workers;
    for (WorkerId w = 0; w < kWorkers; ++w)
        workers.emplace_back([&, w] {
            std::mt19937 rng{w + 1};
            for (std::uint32_t r = 0; r < rounds() / 16; ++r) storm.burst(w, rng);
        });
    for (std::thread& t : workers) t.join();
    stop = true;
    control.join();

    EXPECT_EQ(storm.ct.check_invariants(), "");
    const Counters c = storm.ct.counters();
    EXPECT_EQ(c.opened + c.insert, c.expired + c.deleted + c.early_drop + storm.ct.count());
    EXPECT_GT(c.opened, 100U);
    storm.ct.flush(storm.now);
    EXPECT_EQ(storm.ct.count(), 0U);
    EXPECT_EQ(storm.ct.check_invariants(), "");
}

class StressUnder : public testing::TestWithParam<Overflow> {};

TEST_P(StressUnder, BooksBalanceAndInvariantsHold) {
    storm(under(GetParam()));
}
TEST_P(StressUnder, BooksBalanceAndInvariantsHoldWithEveryLimitAndReservation) {
    storm(with_everything(GetParam()));
}

INSTANTIATE_TEST_SUITE_P(EachPolicy, StressUnder,
                         testing::Values(Overflow::EmbryonicOldest, Overflow::Linux,
                                         Overflow::ClosingFirst, Overflow::Drop,
                                         Overflow::Untracked, Overflow::Reject));

// Tables of 4096 entries and more give workers caches of free entries and count now and then only.
TEST(Stress, BooksBalanceInALargeTableWithEveryLimitAndReservation) {
    Settings s = with_everything(Overflow::ClosingFirst);
    s.room.min_life = 0;
    s.room.never_delete_mappings = false;
    storm(s, 8192);
}

// Two threads see the first packet of the same flows at the same moment: one entry each, both
// packets belong to it.
TEST(Stress, FirstPacketsOfOneFlowOnTwoThreadsMakeOneEntry) {
    Settings s;
    s.max = 100'000;
    Conntrack ct{s, 2, 1};
    constexpr std::uint32_t kFlows = 20'000;
    std::atomic<std::uint32_t> at{0};
    const auto run = [&](WorkerId w) {
        for (std::uint32_t i = 0; i < kFlows; ++i) {
            // In step, so that the two are really at the same flow.
            at.fetch_add(1);
            while (at.load() < 2 * i + 2) std::this_thread::yield();
            Packet p = packet(tuple4(ipproto::kUdp, kClient + i / 60'000,
                                     static_cast<std::uint16_t>(i), kServer, 53));
            EXPECT_TRUE(track(ct, w, p, 1000 * kNanosPerSecond));
            EXPECT_TRUE(p.conn.valid());
        }
    };
    std::thread other{[&] { run(1); }};
    run(0);
    other.join();

    EXPECT_EQ(ct.count(), kFlows);
    EXPECT_EQ(ct.check_invariants(), "");
}

// The same where NAT gives each thread a port of its own: every answer finds its way, and what lost
// is gone after its second.
TEST(Stress, FirstPacketsOfOneFlowOnTwoThreadsWithTwoMappingsBothGetTheirAnswers) {
    Settings s;
    s.max = 100'000;
    Conntrack ct{s, 2, 1};
    constexpr std::uint32_t kFlows = 20'000;
    constexpr Nanos kNow = 1000 * kNanosPerSecond;
    std::atomic<std::uint32_t> at{0};
    const auto run = [&](WorkerId w) {
        for (std::uint32_t i = 0; i < kFlows; ++i) {
            at.fetch_add(1);
            while (at.load() < 2 * i + 2) std::this_thread::yield();
            Packet p =
                packet(tuple4(ipproto::kUdp, kClient, static_cast<std::uint16_t>(i), kServer, 53));
            ct.lookup(w, {&p, 1}, kNow);
            ct.update(w, {&p, 1}, kNow);
            if (p.conn.valid() || ct.open(w, p, kNow) == Conntrack::Opening::Found) continue;
            p.reply.dst = v4(kExternal);
            p.reply.dport = Be16::from_host(static_cast<std::uint16_t>(2 * i + w));
            EXPECT_EQ(ct.confirm(w, p, kNow), Conntrack::Confirmation::Linked);
            Packet answer = packet(p.reply);
            EXPECT_TRUE(track(ct, w, answer, kNow));
            EXPECT_EQ(answer.conn, p.conn);
            EXPECT_EQ(answer.dir, Dir::Reply);
        }
    };
    std::thread other{[&] { run(1); }};
    run(0);
    other.join();

    EXPECT_EQ(ct.check_invariants(), "");
    EXPECT_EQ(ct.count(), kFlows + ct.counters().clash_resolve);
    static_cast<void>(ct.expire_among(0, 0, ct.indices(), kNow + kNanosPerSecond + kNanosPerTick));
    EXPECT_EQ(ct.count(), kFlows);
    EXPECT_EQ(ct.check_invariants(), "");
}

/// What was told of each life of an entry.
class Lives {
public:
    void hear(const Event& e) {
        EXPECT_EQ(e.conn.reply, reply_of(e.conn.original)) << "halves of two connections";
        EXPECT_TRUE(e.conn.has_counters);
        Life& life = lives_[{e.conn.handle.index, e.conn.handle.generation}];
        if (life.heard++ == 0) life.original = e.conn.original;
        EXPECT_EQ(e.conn.original, life.original) << "another connection's event";
        if (e.type == EventType::New) ++life.begun;
        if (e.type == EventType::Destroy) ++life.ended;
    }
    void expect_each_told_whole(std::uint64_t lives) const {
        EXPECT_EQ(lives_.size(), lives);
        for (const auto& [handle, life] : lives_) {
            EXPECT_EQ(life.begun, 1U) << handle.first << '/' << handle.second;
            EXPECT_EQ(life.ended, 1U) << handle.first << '/' << handle.second;
        }
    }

private:
    struct Life {
        Tuple original;
        unsigned heard = 0;
        unsigned begun = 0;
        unsigned ended = 0;
    };
    std::map<std::pair<std::uint32_t, std::uint16_t>, Life> lives_;
};

// A table so small that an entry has often ended, and begun its next life, before the worker that
// opened or changed it comes to tell of that.
TEST(Stress, EveryLifeIsToldOfOnceFromItsStartToItsEnd) {
    constexpr Nanos kNow = 1000 * kNanosPerSecond;
    constexpr std::uint32_t kPacketsAtOnce = 500;  // make fewer events than a ring has room for
    // All workers' together are fewer than an entry's generations.
    const std::uint32_t packets = std::min(rounds(), 65'000U / kWorkers);
    Settings s;
    s.max = 8;
    s.acct = true;
    s.events = 1;
    Conntrack ct{s, kWorkers, 1};
    Lives lives;
    const auto hear_all = [&]() noexcept {
        Event e;
        for (WorkerId w = 0; w <= kWorkers; ++w)
            while (ct.next_event(w, e)) lives.hear(e);
    };
    std::barrier in_step{std::ptrdiff_t{kWorkers}, hear_all};
    const auto work = [&](WorkerId w) {
        std::mt19937 rng{w + 1};
        for (std::uint32_t r = 0; r < packets; ++r) {
            const Tuple t = tuple4(ipproto::kTcp, kClient, static_cast<std::uint16_t>(rng() % 16),
                                   kServer, static_cast<std::uint16_t>(80 + rng() % 2));
            Packet p = rng() % 2 == 0 ? tcp(t, tcpflag::kSyn, 1000)
                                      : tcp(reply_of(t), tcpflag::kSyn | tcpflag::kAck, 5000, 1001);
            static_cast<void>(track(ct, w, p, kNow));
            if (p.conn.valid()) ct.set_mark(w, p, r, kNow);
            if (rng() % 8 == 0 && p.conn.valid()) ct.erase(p.conn, kNow);
            if (r % kPacketsAtOnce == 0) in_step.arrive_and_wait();
        }
        in_step.arrive_and_drop();
    };
    std::vector<std::thread> workers;
    for (WorkerId w = 0; w < kWorkers; ++w) workers.emplace_back(work, w);
    for (std::thread& t : workers) t.join();
    ct.flush(kNow);
    hear_all();

    EXPECT_EQ(ct.lost_events(), 0U);
    EXPECT_GT(ct.counters().early_drop, 100U);
    lives.expect_each_told_whole(ct.counters().opened);
    EXPECT_EQ(ct.check_invariants(), "");
}

// What stands in a bucket moves while others end; who looks for it always finds it.
TEST(Stress, AnEntryThatStaysIsFoundWhileItsChainGrowsAndShrinks) {
    constexpr std::uint32_t kBucket = 3;
    constexpr std::uint32_t kStay = 6;
    constexpr std::uint32_t kAll = 34;
    const auto tag = [](std::uint32_t i) { return static_cast<std::uint16_t>(i + 1); };
    Index index{10, Pages::Normal};
    std::atomic<bool> done{false};
    std::atomic<std::uint64_t> lost{0};
    const auto change = [&](std::uint32_t i, bool in) {
        index.lock(kBucket);
        const bool changed =
            in ? index.reserve(kBucket).valid() : index.remove(kBucket, tag(i), Ref::make(i, 0));
        if (in && changed) Index::store(index.reserve(kBucket), tag(i), Ref::make(i, 0), 0);
        index.unlock(kBucket);
        return changed;
    };
    std::mt19937 rng{11};
    std::array<bool, kAll> inside{};
    // Those that stay come last, to where the chain ends.
    for (std::uint32_t i = kAll; i-- > 0;) inside[i] = change(i, true);

    std::vector<std::thread> readers;
    for (unsigned r = 0; r < 3; ++r)
        readers.emplace_back([&] {
            std::uint64_t restarts = 0;
            while (!done.load(std::memory_order_relaxed))
                for (std::uint32_t i = 0; i < kStay; ++i)
                    if (!index.find(kBucket, tag(i), restarts,
                                    [i](Ref at) { return at.index() == i; }))
                        lost.fetch_add(1, std::memory_order_relaxed);
        });
    for (std::uint32_t n = 0; n < 30 * rounds(); ++n) {
        const auto i = static_cast<std::uint32_t>(kStay + rng() % (kAll - kStay));
        if (change(i, !inside[i])) inside[i] = !inside[i];
    }
    done = true;
    for (std::thread& t : readers) t.join();

    EXPECT_EQ(lost.load(), 0U);
    for (std::uint32_t i = kStay; i < kAll; ++i) EXPECT_TRUE(!inside[i] || change(i, false)) << i;
    EXPECT_EQ(index.overflow_in_use(), 0U);
}

}  // namespace
}  // namespace ct::test
