// SPDX-License-Identifier: BSD-3-Clause
//
// What NAT gave a connection comes back once, however the connection ends or comes to nothing; and
// what NAT says of a connection that is being made holds for it.
#include "tests/ct/tables.hpp"

#include <vector>

namespace ct {
namespace {

using namespace ct::test;

struct Back {
    WorkerId worker;
    std::uint8_t lease;
    Tuple original;
    Tuple reply;
};

struct Leasing : Table {
    explicit Leasing(const Settings& s) : Table{s} {
        ct.set_release(
            {.call =
                 [](void* self, WorkerId w, std::uint8_t lease, const Tuple& original,
                    const Tuple& reply, Nanos) noexcept {
                     static_cast<Leasing*>(self)->back.push_back({w, lease, original, reply});
                 },
             .lend = [](void* self, WorkerId, Packet& p,
                        Nanos) noexcept { return static_cast<Leasing*>(self)->lend(p); },
             .self = this,
             .wanted = &wanted});
    }
    /// Gives what control makes a lease of 6, unless it is to be refused.
    Injected lend(Packet& p) {
        p.lease = 6;
        p.masquerade_port = p.out_port;
        return answer;
    }
    /// Opens a connection that was given `lease`, with another source outside.
    Packet open_leased(const Tuple& t, std::uint8_t lease) {
        Packet p = syn(t);
        ct.lookup(0, {&p, 1}, now);
        EXPECT_EQ(ct.open(0, p, now), Conntrack::Opening::Opened);
        p.lease = lease;
        p.reply.dst = t.family == Family::Ipv6 ? v6(99) : v4(kExternal);
        return p;
    }
    void link(Packet p) { EXPECT_EQ(ct.confirm(0, p, now), Conntrack::Confirmation::Linked); }

    std::vector<Back> back;
    Injected answer = Injected::Done;
    std::atomic<std::uint8_t> wanted{0xff};
};

Tuple six(std::uint16_t sport) {
    Tuple t = flow(sport);
    t.family = Family::Ipv6;
    t.src = v6(1);
    t.dst = v6(2);
    return t;
}

TEST(Lease, ComesBackWithItsTuplesWhenTheConnectionEnds) {
    for (const Tuple& t : {flow(1), six(1)}) {
        Leasing table{sized(100, Overflow::Drop)};
        const Packet p = table.open_leased(t, 5);
        table.link(p);
        EXPECT_TRUE(table.back.empty());

        table.now += 1000 * kSecond;
        (void)table.ct.expire_among(0, 0, table.ct.indices(), table.now);

        ASSERT_EQ(table.back.size(), 1U);
        EXPECT_EQ(table.back[0].worker, 0U);
        EXPECT_EQ(table.back[0].lease, 5);
        EXPECT_EQ(table.back[0].original, t);
        EXPECT_EQ(table.back[0].reply, p.reply);
    }
}

TEST(Lease, ComesBackFromEveryEnd) {
    Leasing table{sized(8, Overflow::EmbryonicOldest)};
    for (std::uint16_t n = 0; n < 8; ++n) table.link(table.open_leased(flow(n), 1));
    table.link(table.open_leased(flow(8), 1));
    EXPECT_EQ(table.back.size(), 1U) << "evicted";

    const auto found = table.ct.find(flow(3), table.now);
    ASSERT_TRUE(found);
    EXPECT_TRUE(table.ct.erase(found->handle, table.now));
    EXPECT_EQ(table.back.size(), 2U) << "erased";
    EXPECT_EQ(table.back[1].worker, table.ct.workers()) << "by control";

    Tuple answer = reply_of(flow(4));
    answer.dst = v4(kExternal);
    EXPECT_EQ(table.send(tcp(answer, tcpflag::kRst | tcpflag::kAck, 0, 1001)), Drop::None);
    EXPECT_EQ(table.ct.flush(table.now), 6U) << "but for the one that was reset";
    EXPECT_EQ(table.back.size(), 9U);
}

TEST(Lease, ComesBackFromAConnectionThatCameToNothing) {
    Leasing table{sized(8, Overflow::Drop)};
    Packet p = table.open_leased(flow(1), 2);
    table.ct.abandon(0, p, table.now);
    ASSERT_EQ(table.back.size(), 1U);
    EXPECT_EQ(table.back[0].lease, 2);
    EXPECT_EQ(p.lease, 0);
    table.ct.abandon(0, p, table.now);
    EXPECT_EQ(table.back.size(), 1U) << "once";

    // Another worker was first with the same tuple.
    Packet late = table.open_leased(flow(2), 4);
    table.link(table.open_leased(flow(2), 8));
    EXPECT_EQ(table.ct.confirm(0, late, table.now), Conntrack::Confirmation::Joined);
    ASSERT_EQ(table.back.size(), 2U);
    EXPECT_EQ(table.back[1].lease, 4);
    EXPECT_EQ(late.lease, 0);
}

TEST(Lease, ThatNobodyWantsBackIsNotToldOf) {
    Leasing table{sized(8, Overflow::Drop)};
    table.link(table.open_leased(flow(1), 1));
    table.link(table.open_leased(flow(2), 2));
    table.wanted = 2;

    EXPECT_EQ(table.ct.flush(table.now), 2U);

    ASSERT_EQ(table.back.size(), 1U);
    EXPECT_EQ(table.back[0].lease, 2);
}

TEST(Lease, IsSeenByWhoFindsTheTupleTaken) {
    Leasing table{sized(8, Overflow::Drop)};
    const Packet p = table.open_leased(flow(1), 3);
    EXPECT_FALSE(table.ct.lease_on(0, p.reply, {}, table.now));
    table.link(p);

    EXPECT_EQ(table.ct.lease_on(0, p.reply, {}, table.now), std::uint8_t{3});
    EXPECT_FALSE(table.ct.lease_on(0, p.reply, p.conn, table.now)) << "but for its own";
}

TEST(Lease, OfNobodyCostsNothing) {
    Leasing table{sized(8, Overflow::Drop)};
    EXPECT_EQ(table.open(flow(1)), Drop::None);
    EXPECT_EQ(table.ct.flush(table.now), 1U);

    EXPECT_TRUE(table.back.empty());
}

TEST(Retrack, GivesAConnectionThatIsBeingMadeOtherSettings) {
    Timeouts longer;
    longer.tcp[index_of(TcpState::SynSent)] = 500;
    Conntrack ct{sized(8, Overflow::Drop), 1, 1, {.policies = {longer}, .labels = true}};
    Packet p = syn(flow(1));
    ct.lookup(0, {&p, 1}, kStart);
    ASSERT_EQ(ct.open(0, p, kStart), Conntrack::Opening::Opened);
    ct.set_labels(0, p, {2, 0}, kStart);

    p.track.variant = variant::of_policy(1);
    ct.retrack(0, p, kStart);

    ASSERT_EQ(ct.confirm(0, p, kStart), Conntrack::Confirmation::Linked);
    const auto found = ct.find(flow(1), kStart);
    ASSERT_TRUE(found);
    EXPECT_EQ(found->timeout_s, 500U);
    EXPECT_EQ(found->labels[0], 2U) << "what the rules gave it stays";
}

// RFC 4787 REQ-6 lets the direction of what refreshes a mapping be chosen.
TEST(Still, PacketsOfThatDirectionDoNotRefresh) {
    for (const Dir still : {Dir::Original, Dir::Reply}) {
        Conntrack ct{sized(8, Overflow::Drop), 1, 1};
        Nanos now = kStart;
        Packet p = syn(flow(1));
        p.track.still = static_cast<std::uint8_t>(1U << index_of(still));
        ASSERT_TRUE(track(ct, 0, p, now));
        for (Packet next : {syn_ack(flow(1)), ack(flow(1))}) ASSERT_TRUE(track(ct, 0, next, now));
        const auto left = [&] { return ct.find(flow(1), now)->timeout_s; };
        EXPECT_EQ(left(), 432'000U) << "a new state has its time-out whoever brings it about";

        const auto refreshed_by = [&](Packet q) {
            now += 100 * kSecond;
            EXPECT_TRUE(track(ct, 0, q, now));
            EXPECT_EQ(q.state, CtState::Established);
            return left() == 432'000U;
        };
        EXPECT_EQ(refreshed_by(ack(flow(1))), still != Dir::Original);
        EXPECT_EQ(refreshed_by(tcp(reply_of(flow(1)), tcpflag::kAck, 5001, 1001)),
                  still != Dir::Reply);
    }
}

Injection injection(std::uint16_t sport) {
    Injection i;
    i.original = flow(sport);
    i.reply = reply_of(i.original);
    i.reply.dst = v4(kExternal);
    i.timeout_s = 100;
    i.out_port = 3;
    return i;
}

TEST(Lease, OfAnEntryThatControlMakesIsAskedForAndComesBack) {
    Leasing table{sized(8, Overflow::Drop)};
    ASSERT_EQ(table.ct.insert(injection(1), table.now), Injected::Done);
    EXPECT_TRUE(table.back.empty());

    EXPECT_EQ(table.ct.flush_port(3, table.now), 1U) << "masqueraded, as NAT says";

    ASSERT_EQ(table.back.size(), 1U);
    EXPECT_EQ(table.back[0].lease, 6);
    EXPECT_EQ(table.back[0].original, injection(1).original);
    EXPECT_EQ(table.back[0].reply, injection(1).reply);
}

TEST(Lease, OfWhatIsRefusedComesBackAtOnceAndLeavesNoEntry) {
    Leasing table{sized(8, Overflow::Drop)};
    for (const Injected why : {Injected::PortTaken, Injected::Limited, Injected::NoWay}) {
        table.answer = why;
        table.back.clear();

        EXPECT_EQ(table.ct.insert(injection(1), table.now), why);

        EXPECT_EQ(table.back.size(), 1U);
        EXPECT_EQ(table.ct.count(), 0U);
        EXPECT_EQ(table.ct.counters().insert_failed, 0U);
    }
    EXPECT_EQ(table.ct.check_invariants(), "");
}

}  // namespace
}  // namespace ct
