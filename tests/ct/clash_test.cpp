// SPDX-License-Identifier: BSD-3-Clause
//
// Two workers, one new flow (semantics.md 2.6). They take turns here; stress_test.cpp lets them
// race.
#include "tests/ct/tables.hpp"

#include <vector>

namespace ct::test {
namespace {

/// Two workers who have each opened an entry for the same tuple and not confirmed it.
struct Clash {
    Conntrack ct{sized(64, Overflow::EmbryonicOldest), 2, 1};
    Nanos now = kStart;
    Packet first;
    Packet second;

    explicit Clash(const Tuple& t) : first{packet(t)}, second{packet(t)} {
        open(0, first);
        open(1, second);
    }
    void open(WorkerId w, Packet& p) {
        p.tcp_flags = tcpflag::kSyn;
        ct.lookup(w, {&p, 1}, now);
        EXPECT_EQ(ct.open(w, p, now), Conntrack::Opening::Opened);
    }
    static void map(Packet& p, std::uint16_t port) {
        p.reply.dst = v4(kExternal);
        p.reply.dport = Be16::from_host(port);
    }
    Packet send(const Tuple& t) {
        Packet p = packet(t);
        EXPECT_TRUE(track(ct, 0, p, now));
        return p;
    }
};

Tuple query(std::uint8_t proto = ipproto::kUdp) {
    return tuple4(proto, kClient, 5353, kServer, 53);
}

TEST(Clash, TheSlowerJoinsIfBothHaveTheSameTuples) {
    Clash c{query()};

    ASSERT_EQ(c.ct.confirm(0, c.first, c.now), Conntrack::Confirmation::Linked);
    ASSERT_EQ(c.ct.confirm(1, c.second, c.now), Conntrack::Confirmation::Joined);

    EXPECT_EQ(c.second.conn, c.first.conn);
    EXPECT_EQ(c.ct.count(), 1U);
    EXPECT_EQ(c.ct.counters().clash_resolve, 1U);
    EXPECT_EQ(c.ct.check_invariants(), "");
}

// The answer to each of the two packets finds its way; later packets are the faster entry's.
TEST(Clash, TheSlowerIsFoundByItsAnswerOnlyIfNatChoseOtherwise) {
    Clash c{query()};
    Clash::map(c.first, 4000);
    Clash::map(c.second, 4001);
    ASSERT_EQ(c.ct.confirm(0, c.first, c.now), Conntrack::Confirmation::Linked);

    ASSERT_EQ(c.ct.confirm(1, c.second, c.now), Conntrack::Confirmation::Linked);

    EXPECT_EQ(c.second.status & (status::kNatClash | status::kFixedTimeout | status::kConfirmed),
              status::kNatClash | status::kFixedTimeout | status::kConfirmed);
    EXPECT_EQ(c.ct.find(c.second.reply, c.now)->timeout_s, 1U);
    EXPECT_EQ(c.ct.count(), 2U);
    EXPECT_EQ(c.ct.counters().clash_resolve, 1U);
    EXPECT_EQ(c.ct.counters().insert_failed, 0U);
    EXPECT_EQ(c.ct.check_invariants(), "");
    EXPECT_EQ(c.send(c.second.reply).conn, c.second.conn);
    EXPECT_EQ(c.send(c.first.reply).conn, c.first.conn);
    EXPECT_EQ(c.send(query()).conn, c.first.conn);
}

TEST(Clash, TheSlowerLivesASecondAndNothingProlongsThat) {
    Clash c{query()};
    Clash::map(c.first, 4000);
    Clash::map(c.second, 4001);
    ASSERT_EQ(c.ct.confirm(0, c.first, c.now), Conntrack::Confirmation::Linked);
    ASSERT_EQ(c.ct.confirm(1, c.second, c.now), Conntrack::Confirmation::Linked);

    c.now += kSecond / 2;
    Packet answer = c.send(c.second.reply);
    EXPECT_EQ(answer.status & status::kAssured, 0);
    c.now += kSecond / 2 + kNanosPerTick;

    EXPECT_FALSE(c.ct.find(c.second.reply, c.now));
    EXPECT_TRUE(c.ct.find(c.first.reply, c.now));
    static_cast<void>(c.ct.expire_among(0, 0, c.ct.indices(), c.now));
    EXPECT_EQ(c.ct.count(), 1U);
    EXPECT_EQ(c.ct.check_invariants(), "");
}

TEST(Clash, BothEndsAreReported) {
    Clash c{query()};
    c.ct.add_listener();
    Clash::map(c.first, 4000);
    Clash::map(c.second, 4001);
    ASSERT_EQ(c.ct.confirm(0, c.first, c.now), Conntrack::Confirmation::Linked);
    ASSERT_EQ(c.ct.confirm(1, c.second, c.now), Conntrack::Confirmation::Linked);

    c.ct.flush(c.now);

    std::vector<EventType> types;
    Event e;
    for (WorkerId w = 0; w <= 2; ++w)
        while (c.ct.next_event(w, e)) types.push_back(e.type);
    EXPECT_EQ(types, (std::vector{EventType::New, EventType::New, EventType::Destroy,
                                  EventType::Destroy}));
    EXPECT_EQ(c.ct.count(), 0U);
    EXPECT_EQ(c.ct.check_invariants(), "");
}

// A third port that the slower finds taken is another clash, of mappings: it chooses again.
TEST(Clash, ATakenReplyIsNotTakenTwice) {
    Clash c{query()};
    Clash::map(c.first, 4000);
    Clash::map(c.second, 4001);
    ASSERT_EQ(c.ct.confirm(0, c.first, c.now), Conntrack::Confirmation::Linked);
    Packet other = packet(tuple4(ipproto::kUdp, kClient + 1, 5353, kServer, 53));
    c.open(0, other);
    Clash::map(other, 4001);
    ASSERT_EQ(c.ct.confirm(0, other, c.now), Conntrack::Confirmation::Linked);

    EXPECT_EQ(c.ct.confirm(1, c.second, c.now), Conntrack::Confirmation::ReplyTaken);
    Clash::map(c.second, 4002);
    EXPECT_EQ(c.ct.confirm(1, c.second, c.now), Conntrack::Confirmation::Linked);

    EXPECT_EQ(c.ct.count(), 3U);
    EXPECT_EQ(c.ct.check_invariants(), "");
}

// Nothing of it has left yet, so it takes the translation of the faster.
TEST(Clash, TheSlowerTcpPacketJoinsWhateverNatChose) {
    Clash c{query(ipproto::kTcp)};
    Clash::map(c.first, 4000);
    Clash::map(c.second, 4001);
    ASSERT_EQ(c.ct.confirm(0, c.first, c.now), Conntrack::Confirmation::Linked);

    ASSERT_EQ(c.ct.confirm(1, c.second, c.now), Conntrack::Confirmation::Joined);

    EXPECT_EQ(c.second.conn, c.first.conn);
    EXPECT_EQ(c.second.reply, c.first.reply);
    EXPECT_EQ(c.ct.count(), 1U);
    EXPECT_EQ(c.ct.check_invariants(), "");
}

TEST(Clash, TheSlowerJoinsIfItAloneHasNoTranslation) {
    Clash c{query()};
    Clash::map(c.first, 4000);
    ASSERT_EQ(c.ct.confirm(0, c.first, c.now), Conntrack::Confirmation::Linked);

    ASSERT_EQ(c.ct.confirm(1, c.second, c.now), Conntrack::Confirmation::Joined);

    EXPECT_EQ(c.second.reply, c.first.reply);
    EXPECT_EQ(c.ct.count(), 1U);
    EXPECT_EQ(c.ct.check_invariants(), "");
}

}  // namespace
}  // namespace ct::test
