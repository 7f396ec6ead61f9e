// SPDX-License-Identifier: BSD-3-Clause
//
// Settings that change what the tracker tells and for how long it remembers; and what of an entry
// is to be seen before and after its time in the table.
#include "tests/ct/packets.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <optional>
#include <thread>
#include <vector>

namespace ct::test {
namespace {

constexpr Nanos kStart = 1000 * kNanosPerSecond;

Settings settings(std::uint32_t max) {
    Settings s;
    s.max = max;
    s.embryonic_percent = 100;
    return s;
}

Tuple flow(std::uint16_t port, std::uint8_t proto = ipproto::kUdp) {
    return tuple4(proto, kClient, port, kServer, 53);
}

/// The causes of what worker 0 and control have told, in their order.
std::vector<std::uint16_t> causes(Conntrack& ct) {
    std::vector<std::uint16_t> out;
    for (const WorkerId w : {WorkerId{0}, ct.workers()})
        for (Event e; ct.next_event(w, e);) out.push_back(e.causes);
    return out;
}

/// The life of a connection: a query, its answer, its end.
void live(Conntrack& ct, std::uint16_t port) {
    Packet query = packet(flow(port));
    Packet answer = packet(reply_of(flow(port)));
    ASSERT_TRUE(track(ct, 0, query, kStart));
    ASSERT_TRUE(track(ct, 0, answer, kStart));
    ASSERT_TRUE(ct.erase(query.conn, kStart));
}

const std::vector<std::uint16_t> kWholeLife{cause::kNew, cause::kReply, cause::kDestroy};

// nf_conntrack_events: 0 off, 1 on, 2 while somebody listens.
TEST(EventsSetting, ZeroTellsNothingWhoeverListens) {
    Settings s = settings(100);
    s.events = std::uint8_t{0};
    Conntrack ct{s, 1, 1};
    ct.add_listener();

    live(ct, 1);

    EXPECT_TRUE(causes(ct).empty());
    EXPECT_EQ(ct.lost_events(), 0U);
}

TEST(EventsSetting, OneTellsThoughNobodyListens) {
    Settings s = settings(100);
    s.events = std::uint8_t{1};
    Conntrack ct{s, 1, 1};

    live(ct, 1);

    EXPECT_EQ(causes(ct), kWholeLife);
}

TEST(EventsSetting, TwoTellsWhileSomebodyListens) {
    Conntrack ct{settings(100), 1, 1};
    ASSERT_EQ(ct.settings().events, 2);

    live(ct, 1);
    EXPECT_TRUE(causes(ct).empty());
    ct.add_listener();
    live(ct, 2);
    EXPECT_EQ(causes(ct), kWholeLife);
}

TEST(EventsSetting, AppliesFromItsChangeOn) {
    Settings s = settings(100);
    s.events = std::uint8_t{0};
    Conntrack ct{s, 1, 1};
    Packet query = packet(flow(1));
    ASSERT_TRUE(track(ct, 0, query, kStart));

    ct.change_settings([](Settings& live) { live.events = std::uint8_t{1}; });
    Packet answer = packet(reply_of(flow(1)));
    ASSERT_TRUE(track(ct, 0, answer, kStart));

    EXPECT_EQ(causes(ct), std::vector<std::uint16_t>{cause::kReply});
}

// As Linux 6.18 has it with nf_conntrack_udp_timeout = 0: each of a flow's packets is a NEW one.
TEST(Timeout, OfZeroHasEveryPacketOpenAConnection) {
    Settings s = settings(4);
    s.timeouts.udp = 0U;
    s.timeouts.udp_stream = 0U;
    Conntrack ct{s, 1, 1};
    for (int i = 0; i < 20; ++i) {
        Packet query = packet(flow(1));
        ASSERT_TRUE(track(ct, 0, query, kStart)) << "what has expired is no obstacle";
        EXPECT_EQ(query.state, CtState::New);
        EXPECT_FALSE(ct.find(flow(1), kStart));
        Packet answer = packet(reply_of(flow(1)));
        ASSERT_TRUE(track(ct, 0, answer, kStart));
        EXPECT_EQ(answer.state, CtState::New);
        EXPECT_EQ(answer.dir, Dir::Original);
    }
    EXPECT_EQ(ct.counters().opened, 40U);
    EXPECT_EQ(ct.check_invariants(), "");
}

// semantics.md 2.4: the maximum holds for what is not in the table yet as well.
TEST(Unconfirmed, CountAgainstTheMaximum) {
    Settings s = settings(1);
    s.overflow = Overflow::Drop;
    Conntrack ct{s, 2, 1};
    Packet first = packet(flow(1));
    Packet second = packet(flow(2));
    for (Packet* p : {&first, &second}) ct.lookup(0, {p, 1}, kStart);

    ASSERT_EQ(ct.open(0, first, kStart), Conntrack::Opening::Opened);
    EXPECT_EQ(ct.open(1, second, kStart), Conntrack::Opening::Refused);
    EXPECT_EQ(second.drop, Drop::CtTableFull);

    ct.abandon(0, first, kStart);
    Packet third = packet(flow(3));
    ct.lookup(1, {&third, 1}, kStart);
    EXPECT_EQ(ct.open(1, third, kStart), Conntrack::Opening::Opened);
    ct.abandon(1, third, kStart);
}

/// Looks at the table `dying` while an entry ends.
struct Watcher {
    explicit Watcher(Conntrack& table) : ct{table} {
        ct.set_release({.call = [](void* self, WorkerId, std::uint8_t, const Tuple&, const Tuple&,
                                   Nanos now) noexcept { static_cast<Watcher*>(self)->look(now); },
                        .self = this,
                        .wanted = &wanted});
    }
    void look(Nanos now) noexcept {
        for (std::uint32_t i = 0; i < ct.indices(); ++i) {
            Snapshot s;
            if (ct.snapshot_in(Stage::Dying, i, now, s)) dying.push_back(s.original);
            linked += ct.snapshot_in(Stage::Linked, i, now, s) ? 1 : 0;
        }
    }

    Conntrack& ct;
    std::vector<Tuple> dying;
    int linked = 0;
    std::atomic<std::uint8_t> wanted{0xff};
};

TEST(Stages, ShowWhatIsLeavingTheTableJustNow) {
    Conntrack ct{settings(10), 1, 1};
    Watcher watcher{ct};
    Packet p = packet(flow(1));
    ct.lookup(0, {&p, 1}, kStart);
    ASSERT_EQ(ct.open(0, p, kStart), Conntrack::Opening::Opened);
    p.lease = 1;  // somebody who is told of its end
    p.reply.dst = v4(kClient + 1);
    ASSERT_EQ(ct.confirm(0, p, kStart), Conntrack::Confirmation::Linked);
    const ConnHandle h = p.conn;

    ASSERT_TRUE(ct.erase(h, kStart));

    EXPECT_EQ(watcher.dying, std::vector<Tuple>{flow(1)});
    EXPECT_EQ(watcher.linked, 0);
    Snapshot s;
    EXPECT_FALSE(ct.snapshot_in(Stage::Dying, h.index, kStart, s)) << "it has ended";
}

// semantics.md 2.12: a lookup that a writer came between looks again.
TEST(Counters, SearchRestartRisesWhereAWriterIsInTheWay) {
    Conntrack ct{settings(64), 2, 1};
    std::atomic<bool> done{false};
    std::thread writer{[&] {
        while (!done.load(std::memory_order_relaxed)) {
            Packet p = packet(flow(1));
            if (track(ct, 0, p, kStart)) static_cast<void>(ct.erase(p.conn, kStart));
        }
    }};
    // Threads meet within microseconds; on one core only where one is interrupted.
    constexpr int kMost = 200'000'000;
    int lookups = 0;
    for (; lookups < kMost && ct.counters().search_restart == 0; ++lookups) {
        Packet p = packet(flow(1));
        ct.lookup(1, {&p, 1}, kStart);
    }
    done = true;
    writer.join();

    EXPECT_GT(ct.counters().search_restart, 0U) << lookups << " lookups";
    EXPECT_EQ(ct.check_invariants(), "");
}

}  // namespace
}  // namespace ct::test
