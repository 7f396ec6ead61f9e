// SPDX-License-Identifier: BSD-3-Clause
//
// Each overflow policy, and each exception to it: what a full table lets in, and what it refuses
// and why.
#include "tests/ct/tables.hpp"

namespace ct::test {
namespace {

constexpr Overflow kEvicting[] = {Overflow::EmbryonicOldest, Overflow::ClosingFirst,
                                  Overflow::Linux};

// What the rules drop between open() and confirm() must not cost anybody his place.
TEST(Room, IsMadeOnlyForWhatTheRulesLetPass) {
    for (const Overflow policy : {Overflow::EmbryonicOldest, Overflow::ClosingFirst}) {
        Table t{sized(10, policy)};
        for (std::uint32_t n = 0; n < 10; ++n) ASSERT_EQ(t.open(flow(n)), Drop::None);

        for (std::uint32_t n = 100; n < 200; ++n) {
            Packet p = syn(flow(n));
            t.ct.lookup(0, {&p, 1}, t.now);
            ASSERT_EQ(t.ct.open(0, p, t.now), Conntrack::Opening::Opened);
            EXPECT_EQ(t.ct.count(), 10U) << "not one of those that count";
            t.ct.abandon(0, p, t.now);
        }

        for (std::uint32_t n = 0; n < 10; ++n) EXPECT_TRUE(t.has(flow(n))) << n;
        EXPECT_EQ(t.ct.counters().early_drop, 0U);
        EXPECT_EQ(t.open(flow(100)), Drop::None);
        EXPECT_FALSE(t.has(flow(0)));
        EXPECT_EQ(t.ct.check_invariants(), "");
    }
}

// A mapping that turns out to be taken is chosen again: by the same entry, with the room that it
// has already.
TEST(Room, IsMadeOnceForAConnectionThatLooksForItsMapping) {
    Table t{sized(10, Overflow::EmbryonicOldest)};
    for (std::uint32_t n = 0; n < 9; ++n) ASSERT_EQ(t.open(flow(n)), Drop::None);
    ASSERT_EQ(t.open_mapped(flow(9), 5000), Drop::None);
    Packet p = syn(flow(10));
    t.ct.lookup(0, {&p, 1}, t.now);
    ASSERT_EQ(t.ct.open(0, p, t.now), Conntrack::Opening::Opened);
    p.reply.dst = v4(kExternal);
    p.reply.dport = Be16::from_host(5000);

    ASSERT_EQ(t.ct.confirm(0, p, t.now), Conntrack::Confirmation::ReplyTaken);
    ASSERT_EQ(t.ct.confirm(0, p, t.now), Conntrack::Confirmation::ReplyTaken);
    EXPECT_EQ(t.ct.counters().early_drop, 1U);
    p.reply.dport = Be16::from_host(5001);
    ASSERT_EQ(t.ct.confirm(0, p, t.now), Conntrack::Confirmation::Linked);

    EXPECT_EQ(t.ct.counters().early_drop, 1U);
    EXPECT_EQ(t.ct.count(), 10U);
    EXPECT_EQ(t.ct.check_invariants(), "");
}

TEST(ClosingFirst, TakesWhatHasBeenClosingLongest) {
    Table t{sized(10, Overflow::ClosingFirst)};
    for (std::uint32_t n = 0; n < 6; ++n) t.establish(flow(n));
    for (std::uint32_t n = 6; n < 10; ++n) ASSERT_EQ(t.open(flow(n)), Drop::None);
    for (const std::uint32_t n : {4U, 1U}) ASSERT_EQ(t.send(fin(flow(n))), Drop::None);

    EXPECT_EQ(t.open(flow(100)), Drop::None);
    EXPECT_FALSE(t.has(flow(4)));
    EXPECT_TRUE(t.has(flow(1)));
    EXPECT_EQ(t.open(flow(101)), Drop::None);
    EXPECT_FALSE(t.has(flow(1)));

    EXPECT_EQ(t.ct.counters().assured_evicted, 2U);
    EXPECT_EQ(t.ct.check_invariants(), "");
}

TEST(ClosingFirst, ThenTakesTheOldestEmbryonicAndNeverAnEstablishedOne) {
    Table t{sized(10, Overflow::ClosingFirst)};
    for (std::uint32_t n = 0; n < 8; ++n) t.establish(flow(n));
    ASSERT_EQ(t.open(flow(8)), Drop::None);
    ASSERT_EQ(t.open(flow(9)), Drop::None);
    ASSERT_EQ(t.send(fin(flow(0))), Drop::None);

    for (std::uint32_t n = 100; n < 120; ++n) EXPECT_EQ(t.open(flow(n)), Drop::None);

    EXPECT_FALSE(t.has(flow(0)));
    for (std::uint32_t n = 1; n < 8; ++n) EXPECT_TRUE(t.has(flow(n))) << n;
    for (std::uint32_t n = 117; n < 120; ++n) EXPECT_TRUE(t.has(flow(n))) << n;
    EXPECT_EQ(t.ct.counters().assured_evicted, 1U);
    EXPECT_EQ(t.ct.check_invariants(), "");
}

TEST(ClosingFirst, RefusesWhereEverythingIsEstablished) {
    Table t{sized(10, Overflow::ClosingFirst)};
    for (std::uint32_t n = 0; n < 10; ++n) t.establish(flow(n));

    EXPECT_EQ(t.open(flow(100)), Drop::CtTableFull);
    EXPECT_EQ(t.ct.count(), 10U);
}

// A client that reopens a tuple in TIME_WAIT has a new connection: the record of the old one that
// was closing must not be taken for it.
TEST(ClosingFirst, SparesAConnectionThatWasReopened) {
    Table t{sized(3, Overflow::ClosingFirst)};
    t.establish(flow(0));
    ASSERT_EQ(t.send(fin(flow(0))), Drop::None);
    ASSERT_EQ(t.send(tcp(reply_of(flow(0)), tcpflag::kFin | tcpflag::kAck, 5001, 1002)),
              Drop::None);
    ASSERT_EQ(t.send(tcp(flow(0), tcpflag::kAck, 1002, 5002)), Drop::None);
    t.now += kSecond;
    ASSERT_EQ(t.send(tcp(flow(0), tcpflag::kSyn, 900'000)), Drop::None);
    ASSERT_EQ(t.send(tcp(reply_of(flow(0)), tcpflag::kSyn | tcpflag::kAck, 7000, 900'001)),
              Drop::None);
    ASSERT_EQ(t.send(tcp(flow(0), tcpflag::kAck, 900'001, 7001)), Drop::None);
    ASSERT_EQ(t.ct.find(flow(0), t.now)->state, static_cast<std::uint8_t>(TcpState::Established));
    t.establish(flow(1));
    t.establish(flow(2));

    EXPECT_EQ(t.open(flow(100)), Drop::CtTableFull);
    EXPECT_TRUE(t.has(flow(0)));
}

TEST(ClosingFirst, FindsWhatIsClosingOnAnotherWorker) {
    Table t{sized(4, Overflow::ClosingFirst), 2};
    for (std::uint32_t n = 0; n < 4; ++n) t.establish(flow(n), 0);
    ASSERT_EQ(t.send(fin(flow(2)), 0), Drop::None);

    EXPECT_EQ(t.open(flow(100), 1), Drop::None);
    EXPECT_FALSE(t.has(flow(2)));
}

// The ring of closing entries holds a record a connection that closes; when it is crowded, stale
// records make room.
TEST(ClosingFirst, OutlastsAnyNumberOfConnectionsThatCloseByThemselves) {
    Table t{sized(64, Overflow::ClosingFirst)};
    for (std::uint32_t n = 0; n < 2000; ++n) {
        t.establish(flow(n));
        ASSERT_EQ(t.send(fin(flow(n))), Drop::None);
        t.now += 10 * kSecond;
        t.ct.expire(0, t.now);
    }
    for (std::uint32_t n = 3000; n < 3052; ++n) t.establish(flow(n));
    t.now += kSecond;
    ASSERT_EQ(t.send(fin(flow(3000))), Drop::None);
    for (std::uint32_t n = 5000; n < 5064; ++n) EXPECT_EQ(t.open(flow(n)), Drop::None);

    EXPECT_FALSE(t.has(flow(3000)));
    EXPECT_TRUE(t.has(flow(3001)));
    EXPECT_EQ(t.ct.check_invariants(), "");
}

TEST(Drop_, KeepsEveryEntryAndDropsTheNewcomer) {
    Table t{sized(5, Overflow::Drop)};
    for (std::uint32_t n = 0; n < 5; ++n) ASSERT_EQ(t.open(flow(n)), Drop::None);

    EXPECT_EQ(t.open(flow(100)), Drop::CtTableFull);
    for (std::uint32_t n = 0; n < 5; ++n) EXPECT_TRUE(t.has(flow(n)));
    EXPECT_EQ(t.ct.counters().drop, 1U);
    EXPECT_EQ(t.ct.counters().table_full_log, 1U);
}

TEST(Untracked, LetsTheNewcomerGoOnWithoutAConnection) {
    Table t{sized(5, Overflow::Untracked)};
    for (std::uint32_t n = 0; n < 5; ++n) ASSERT_EQ(t.open(flow(n)), Drop::None);
    Packet p = syn(flow(100));
    t.ct.lookup(0, {&p, 1}, t.now);

    EXPECT_EQ(t.ct.open(0, p, t.now), Conntrack::Opening::Untracked);

    EXPECT_TRUE(p.alive());
    EXPECT_EQ(p.state, CtState::Untracked);
    EXPECT_TRUE(p.no_room);
    EXPECT_FALSE(p.conn.valid());
    EXPECT_FALSE(t.has(flow(100)));
    EXPECT_EQ(t.ct.counters().untracked, 1U);
    EXPECT_EQ(t.ct.counters().drop, 0U);
    EXPECT_EQ(t.ct.counters().table_full_log, 0U);
    EXPECT_EQ(t.send(ack(flow(0))), Drop::None) << "the others are tracked as before";
}

TEST(Untracked, DoesNotApplyToWhatMayOpenNothing) {
    Table t{sized(1, Overflow::Untracked)};
    ASSERT_EQ(t.open(flow(0)), Drop::None);
    Packet p = syn_ack(flow(100));
    t.ct.lookup(0, {&p, 1}, t.now);

    EXPECT_EQ(t.ct.open(0, p, t.now), Conntrack::Opening::Invalid);
    EXPECT_FALSE(p.no_room);
}

TEST(Reject, SaysThatTheSenderIsToBeTold) {
    Table t{sized(5, Overflow::Reject)};
    for (std::uint32_t n = 0; n < 5; ++n) ASSERT_EQ(t.open(flow(n)), Drop::None);
    Packet p = syn(flow(100));
    t.ct.lookup(0, {&p, 1}, t.now);

    EXPECT_EQ(t.ct.open(0, p, t.now), Conntrack::Opening::Rejected);

    EXPECT_EQ(p.drop, Drop::CtTableReject);
    EXPECT_EQ(t.ct.counters().drop, 1U);
    EXPECT_EQ(t.ct.count(), 5U);
}

TEST(MinLife, RefusesTheNewcomerWhileEveryVictimIsYounger) {
    for (const Overflow policy : kEvicting) {
        Settings s = sized(100, policy);
        s.room.min_life = 10;
        Table t{s};
        for (std::uint32_t n = 0; n < 100; ++n) ASSERT_EQ(t.open(flow(n)), Drop::None);

        t.now = kStart + 10 * kSecond - kNanosPerTick;
        EXPECT_EQ(t.open(flow(1000)), Drop::CtMinLife);
        EXPECT_EQ(t.ct.count(), 100U);

        t.now = kStart + 10 * kSecond;
        EXPECT_EQ(t.open(flow(1000)), Drop::None);
        EXPECT_TRUE(t.has(flow(1000)));
        EXPECT_GE(t.ct.counters().early_drop, 1U);
        EXPECT_EQ(t.ct.check_invariants(), "");
    }
}

TEST(MinLife, LooksForAnOldEnoughVictimOnOtherWorkers) {
    Settings s = sized(10, Overflow::EmbryonicOldest);
    s.room.min_life = 5;
    Table t{s, 2};
    for (std::uint32_t n = 0; n < 9; ++n) ASSERT_EQ(t.open(flow(n), 1), Drop::None);
    t.now += 5 * kSecond;
    ASSERT_EQ(t.open(flow(9), 0), Drop::None);

    EXPECT_EQ(t.open(flow(100), 0), Drop::None);
    EXPECT_TRUE(t.has(flow(9)));
    EXPECT_FALSE(t.has(flow(0)));
}

TEST(MinLife, DoesNotProtectWhatIsClosing) {
    Settings s = sized(3, Overflow::ClosingFirst);
    s.room.min_life = 100;
    Table t{s};
    for (std::uint32_t n = 0; n < 3; ++n) t.establish(flow(n));
    ASSERT_EQ(t.send(fin(flow(1))), Drop::None);

    EXPECT_EQ(t.open(flow(100)), Drop::None);
    EXPECT_FALSE(t.has(flow(1)));
    EXPECT_EQ(t.open(flow(101)), Drop::CtMinLife);
}

// RFC 6888 REQ-11 (B).
TEST(NeverDeleteMappings, RefusesTheNewcomerWhereOnlyMappingsCouldGiveWay) {
    for (const Overflow policy : kEvicting) {
        Settings s = sized(50, policy);
        s.room.never_delete_mappings = true;
        Table t{s};
        for (std::uint16_t n = 0; n < 50; ++n)
            ASSERT_EQ(t.open_mapped(flow(n), static_cast<std::uint16_t>(2000 + n)), Drop::None);

        for (std::uint32_t n = 100; n < 150; ++n)
            EXPECT_EQ(t.open(flow(n)), Drop::CtMappingKept) << static_cast<int>(policy);
        for (std::uint32_t n = 0; n < 50; ++n) EXPECT_TRUE(t.has(flow(n)));
        EXPECT_EQ(t.ct.counters().early_drop, 0U);
    }
}

TEST(NeverDeleteMappings, LetsEntriesWithoutOneGiveWay) {
    Settings s = sized(10, Overflow::EmbryonicOldest);
    s.room.never_delete_mappings = true;
    Table t{s};
    for (std::uint16_t n = 0; n < 8; ++n)
        ASSERT_EQ(t.open_mapped(flow(n), static_cast<std::uint16_t>(2000 + n)), Drop::None);
    ASSERT_EQ(t.open(flow(8)), Drop::None);
    ASSERT_EQ(t.open(flow(9)), Drop::None);

    for (std::uint32_t n = 100; n < 200; ++n) EXPECT_EQ(t.open(flow(n)), Drop::None);

    for (std::uint32_t n = 0; n < 8; ++n) EXPECT_TRUE(t.has(flow(n))) << n;
    EXPECT_EQ(t.ct.counters().early_drop, 100U);
    EXPECT_EQ(t.ct.check_invariants(), "");
}

Settings closing_first_but_never_mappings(std::uint32_t max) {
    Settings s = sized(max, Overflow::ClosingFirst);
    s.room.never_delete_mappings = true;
    return s;
}

TEST(NeverDeleteMappings, CoversWhatIsClosing) {
    Table t{closing_first_but_never_mappings(2)};
    t.establish_mapped(flow(0), 2000);
    t.establish(flow(1));

    EXPECT_EQ(t.open(flow(100)), Drop::CtTableFull) << "established ones never give way";
    ASSERT_EQ(t.send(fin(flow(0))), Drop::None);
    EXPECT_EQ(t.open(flow(100)), Drop::CtMappingKept);
    EXPECT_TRUE(t.has(flow(0)));
    ASSERT_EQ(t.send(fin(flow(1))), Drop::None);
    EXPECT_EQ(t.open(flow(100)), Drop::None) << "in the place of one without a mapping";
    EXPECT_FALSE(t.has(flow(1)));
    EXPECT_TRUE(t.has(flow(0)));
    EXPECT_EQ(t.ct.check_invariants(), "");
}

// The reason follows from a count, which each way of beginning and ceasing to close must change.
TEST(NeverDeleteMappings, IsNoReasonOnceNothingThatIsKeptIsClosing) {
    Table t{closing_first_but_never_mappings(3), 2};
    t.establish_mapped(flow(0), 2000);
    t.establish(flow(1));
    t.establish(flow(2));
    ASSERT_EQ(t.send(fin(flow(0))), Drop::None);
    ASSERT_EQ(t.send(tcp(flow(0), tcpflag::kRst, 1002)), Drop::None);
    ASSERT_EQ(t.open(flow(100), 1), Drop::CtMappingKept) << "seen by another worker";

    t.now += 11 * kSecond;
    t.ct.expire(1, t.now);
    t.establish(flow(3));
    EXPECT_EQ(t.open(flow(100)), Drop::CtTableFull) << "it has expired";

    // A RST before any answer ends a connection at once, by way of CLOSE.
    ASSERT_TRUE(t.ct.erase(t.ct.find(flow(3), t.now)->handle, t.now));
    ASSERT_EQ(t.open_mapped(flow(4), 2004), Drop::None);
    ASSERT_EQ(t.send(tcp(flow(4), tcpflag::kRst, 1001)), Drop::None);
    ASSERT_FALSE(t.has(flow(4)));
    t.establish(flow(5));
    EXPECT_EQ(t.open(flow(100)), Drop::CtTableFull);
    EXPECT_EQ(t.ct.check_invariants(), "");
}

TEST(NeverDeleteMappings, CoversWhatControlSaysIsClosing) {
    Table t{closing_first_but_never_mappings(2)};
    t.establish(flow(1));
    Injection e;
    e.original = flow(0);
    e.reply = reply_of(e.original);
    e.reply.dst = v4(kExternal);
    e.timeout_s = 100;
    e.status = status::kSeenReply | status::kAssured;
    e.state = static_cast<std::uint8_t>(TcpState::TimeWait);
    ASSERT_EQ(t.ct.insert(e, t.now), Injected::Done);
    EXPECT_EQ(t.open(flow(100)), Drop::CtMappingKept);

    Change c;
    c.state = static_cast<std::uint8_t>(TcpState::Established);
    const ConnHandle h = t.ct.find(flow(0), t.now)->handle;
    ASSERT_EQ(t.ct.change(h, c, t.now), Changed::Done);
    EXPECT_EQ(t.open(flow(100)), Drop::CtTableFull);
    c.state = static_cast<std::uint8_t>(TcpState::LastAck);
    ASSERT_EQ(t.ct.change(h, c, t.now), Changed::Done);
    EXPECT_EQ(t.open(flow(100)), Drop::CtMappingKept);
    EXPECT_EQ(t.ct.check_invariants(), "");
    ASSERT_TRUE(t.ct.erase(h, t.now));
    EXPECT_EQ(t.ct.check_invariants(), "");
}

}  // namespace
}  // namespace ct::test
