// SPDX-License-Identifier: BSD-3-Clause
#include "ct/conntrack.hpp"

#include "tests/ct/packets.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace ct::test {
namespace {

constexpr Nanos kStart = 1000 * kNanosPerSecond;
constexpr Nanos kSecond = kNanosPerSecond;

Settings settings(std::uint32_t max, Overflow policy = Overflow::EmbryonicOldest) {
    Settings s;
    s.max = max;
    s.overflow = policy;
    s.embryonic_percent = 100;
    return s;
}

Tuple flow(std::uint16_t sport, std::uint8_t proto = ipproto::kTcp) {
    return tuple4(proto, kClient, sport, kServer, 80);
}

void establish(Conntrack& ct, const Tuple& t, Nanos now) {
    Packet a = syn(t);
    Packet b = syn_ack(t);
    Packet c = ack(t);
    ASSERT_TRUE(track(ct, 0, a, now));
    ASSERT_TRUE(track(ct, 0, b, now));
    ASSERT_TRUE(track(ct, 0, c, now));
    ASSERT_TRUE(ct.find(t, now)->status & status::kAssured);
}

std::vector<Snapshot> dump(const Conntrack& ct, Nanos now) {
    std::vector<Snapshot> all;
    Snapshot s;
    for (std::uint32_t i = 0; i < ct.indices(); ++i)
        if (ct.snapshot(i, now, s)) all.push_back(s);
    return all;
}

// An identifier that SNAT has changed is the source's, as a port would be (RFC 5508 3.1).
TEST(Conntrack, AChangedIcmpIdentifierIsSourceNat) {
    Conntrack ct{settings(64), 1, 1};
    Tuple echo = tuple4(ipproto::kIcmp, kClient, 7, kServer, 0);
    echo.dport = icmp_type_code(8, 0);
    Packet p = packet(echo);
    const std::span<Packet> one{&p, 1};
    ct.lookup(0, one, kStart);
    ct.update(0, one, kStart);
    ASSERT_EQ(ct.open(0, p, kStart), Conntrack::Opening::Opened);
    p.reply.sport = Be16::from_host(9);

    ASSERT_EQ(ct.confirm(0, p, kStart), Conntrack::Confirmation::Linked);

    EXPECT_EQ(p.status & status::kNatMask, status::kSrcNat);
}

TEST(Conntrack, HandshakeGoesFromNewToAssured) {
    Conntrack ct{settings(100), 1, 1};
    Packet a = syn(flow(1));
    Packet b = syn_ack(flow(1));
    Packet c = ack(flow(1));

    ASSERT_TRUE(track(ct, 0, a, kStart));
    EXPECT_EQ(a.state, CtState::New);
    EXPECT_EQ(ct.find(flow(1), kStart)->timeout_s, 120U);
    EXPECT_EQ(ct.find(flow(1), kStart + 1)->timeout_s, 120U);
    EXPECT_EQ(ct.find(flow(1), kStart + kNanosPerTick)->timeout_s, 119U);

    ASSERT_TRUE(track(ct, 0, b, kStart));
    EXPECT_EQ(b.state, CtState::Established);
    EXPECT_EQ(b.dir, Dir::Reply);
    EXPECT_EQ(ct.find(flow(1), kStart)->timeout_s, 60U);

    ASSERT_TRUE(track(ct, 0, c, kStart));
    EXPECT_EQ(c.state, CtState::Established);
    const Snapshot s = *ct.find(flow(1), kStart);
    EXPECT_EQ(s.timeout_s, 432'000U);
    EXPECT_EQ(s.state, static_cast<std::uint8_t>(TcpState::Established));
    EXPECT_TRUE(s.status & status::kAssured);
    EXPECT_EQ(ct.count(), 1U);
    EXPECT_EQ(ct.check_invariants(), "");
}

TEST(Conntrack, IsFoundUnderBothTuplesAndInItsZoneOnly) {
    Conntrack ct{settings(100), 1, 1};
    Tuple t = flow(5, ipproto::kUdp);
    t.zone = 3;
    Packet p = packet(t);
    ASSERT_TRUE(track(ct, 0, p, kStart));

    EXPECT_TRUE(ct.find(t, kStart));
    EXPECT_TRUE(ct.find(reply_of(t), kStart));
    Tuple elsewhere = t;
    elsewhere.zone = 0;
    EXPECT_FALSE(ct.find(elsewhere, kStart));
}

TEST(Conntrack, TracksIpv6AndIcmpQueries) {
    Conntrack ct{settings(100), 1, 1};
    Tuple t = flow(5, ipproto::kUdp);
    t.family = Family::Ipv6;
    t.src = v6(1);
    t.dst = v6(2);
    Packet p = packet(t);
    Packet r = packet(reply_of(t));
    ASSERT_TRUE(track(ct, 0, p, kStart));
    ASSERT_TRUE(track(ct, 0, r, kStart));
    EXPECT_EQ(r.state, CtState::Established);

    Tuple echo = tuple4(ipproto::kIcmp, kClient, 77, kServer, 0);
    echo.dport = icmp_type_code(8, 0);
    Packet request = packet(echo);
    request.message_type = 8;
    Packet answer = packet(reply_of(echo));
    ASSERT_TRUE(track(ct, 0, request, kStart));
    ASSERT_TRUE(track(ct, 0, answer, kStart));
    EXPECT_EQ(answer.state, CtState::Established);
    EXPECT_EQ(ct.count(), 2U);
    EXPECT_EQ(ct.check_invariants(), "");
}

TEST(Conntrack, SecondPacketOfABurstFindsWhatTheFirstOpened) {
    Conntrack ct{settings(100), 1, 1};
    std::vector<Packet> burst{packet(flow(9, ipproto::kUdp)), packet(flow(9, ipproto::kUdp))};
    ct.lookup(0, burst, kStart);
    ct.update(0, burst, kStart);

    ASSERT_EQ(ct.open(0, burst[0], kStart), Conntrack::Opening::Opened);
    ASSERT_EQ(ct.confirm(0, burst[0], kStart), Conntrack::Confirmation::Linked);
    EXPECT_EQ(ct.open(0, burst[1], kStart), Conntrack::Opening::Found);
    EXPECT_EQ(burst[1].conn, burst[0].conn);
    EXPECT_EQ(ct.count(), 1U);
}

TEST(Conntrack, AbandonedEntryLeavesNoTrace) {
    Conntrack ct{settings(100), 1, 1};
    Packet p = syn(flow(1));
    ct.lookup(0, {&p, 1}, kStart);
    ASSERT_EQ(ct.open(0, p, kStart), Conntrack::Opening::Opened);
    EXPECT_FALSE(ct.find(flow(1), kStart));

    ct.abandon(0, p, kStart);

    EXPECT_EQ(ct.count(), 0U);
    EXPECT_EQ(ct.check_invariants(), "");
}

TEST(Conntrack, ExpiredEntryIsAMissAtOnceAndIsReclaimed) {
    Conntrack ct{settings(100), 1, 1};
    ct.add_listener();
    Packet p = packet(flow(1, ipproto::kUdp));
    ASSERT_TRUE(track(ct, 0, p, kStart));
    ct.expire(0, kStart);
    const Nanos later = kStart + 31 * kSecond;

    EXPECT_FALSE(ct.find(flow(1, ipproto::kUdp), later));
    EXPECT_TRUE(dump(ct, later).empty());
    ct.expire(0, later);
    EXPECT_EQ(ct.count(), 0U);
    EXPECT_EQ(ct.counters().expired, 1U);
    Event e;
    ASSERT_TRUE(ct.next_event(0, e));
    EXPECT_EQ(e.type, EventType::New);
    ASSERT_TRUE(ct.next_event(0, e));
    EXPECT_EQ(e.type, EventType::Destroy);
    EXPECT_EQ(e.conn.original, flow(1, ipproto::kUdp));
}

TEST(Conntrack, NatedReplyIsFoundAndTakenOnce) {
    Conntrack ct{settings(100), 1, 1};
    const auto open_to = [&](const Tuple& t, std::uint16_t external_port) {
        Packet p = packet(t);
        ct.lookup(0, {&p, 1}, kStart);
        EXPECT_EQ(ct.open(0, p, kStart), Conntrack::Opening::Opened);
        p.reply.dst = v4(0xcb007101);
        p.reply.dport = Be16::from_host(external_port);
        return std::pair{p, ct.confirm(0, p, kStart)};
    };
    const Tuple a = flow(1, ipproto::kUdp);
    const Tuple b = flow(2, ipproto::kUdp);

    auto [pa, ca] = open_to(a, 4000);
    auto [pb, cb] = open_to(b, 4000);

    EXPECT_EQ(ca, Conntrack::Confirmation::Linked);
    EXPECT_TRUE(pa.status & status::kSrcNat);
    EXPECT_FALSE(pa.status & status::kDstNat);
    EXPECT_EQ(cb, Conntrack::Confirmation::ReplyTaken);
    EXPECT_TRUE(ct.tuple_taken(0, pa.reply, pb.conn, kStart));
    pb.reply.dport = Be16::from_host(4001);
    EXPECT_EQ(ct.confirm(0, pb, kStart), Conntrack::Confirmation::Linked);

    Packet answer = packet(pb.reply);
    ct.lookup(0, {&answer, 1}, kStart);
    EXPECT_EQ(answer.conn, pb.conn);
    EXPECT_EQ(answer.dir, Dir::Reply);
    EXPECT_EQ(answer.original, b);
    EXPECT_EQ(ct.check_invariants(), "");
}

TEST(Conntrack, IcmpErrorIsRelatedIfItIsAddressedToTheSenderInside) {
    Conntrack ct{settings(100), 1, 1};
    Packet p = packet(flow(1, ipproto::kUdp));
    ASSERT_TRUE(track(ct, 0, p, kStart));
    const auto error_to = [&](std::uint32_t dst) {
        Packet e = packet(tuple4(ipproto::kIcmp, 0xcb007105, 0, dst, 0));
        e.icmp_error = true;
        e.inner = flow(1, ipproto::kUdp);
        track(ct, 0, e, kStart);
        return e;
    };

    const Packet good = error_to(kClient);
    const Packet forged = error_to(kClient + 9);

    EXPECT_EQ(good.state, CtState::Related);
    EXPECT_EQ(good.dir, Dir::Reply);
    EXPECT_EQ(forged.state, CtState::Invalid);
    EXPECT_FALSE(forged.conn.valid());
}

TEST(Conntrack, DropPolicyRefusesTheNewcomerAndKeepsEveryEntry) {
    Conntrack ct{settings(7, Overflow::Drop), 1, 1};
    for (std::uint16_t i = 0; i < 10; ++i) {
        Packet p = syn(flow(i));
        EXPECT_EQ(track(ct, 0, p, kStart), i < 7);
        EXPECT_EQ(p.drop, i < 7 ? Drop::None : Drop::CtTableFull);
    }

    for (std::uint16_t i = 0; i < 10; ++i) EXPECT_EQ(ct.find(flow(i), kStart).has_value(), i < 7);
    EXPECT_EQ(ct.counters().drop, 3U);
    EXPECT_EQ(ct.check_invariants(), "");
}

// semantics.md 2.4: with max far below the number of buckets, victims are rare (4 in 10,000 for 7
// entries in 262144 buckets), so drops are what is seen.
TEST(Conntrack, LinuxPolicyFindsNoVictimInASparseTable) {
    Settings s = settings(7, Overflow::Linux);
    s.buckets = 262'144;
    Conntrack ct{s, 1, 1};
    for (std::uint16_t i = 0; i < 10; ++i) {
        Packet p = syn(flow(static_cast<std::uint16_t>(10'000 + i)));
        track(ct, 0, p, kStart);
    }

    EXPECT_EQ(ct.count(), 7U);
    EXPECT_EQ(ct.counters().drop, 3U);
    EXPECT_EQ(ct.counters().early_drop, 0U);
}

// semantics.md 2.4: at max = buckets and nothing assured a victim is nearly always found, and the
// first bucket that has one loses all of them.
TEST(Conntrack, LinuxPolicyChurnsAFullTableOfEmbryonicEntries) {
    constexpr std::uint32_t kMax = 8192;
    Conntrack ct{settings(kMax, Overflow::Linux), 1, 1};
    constexpr std::uint32_t kFlows = 4 * kMax;
    for (std::uint32_t i = 0; i < kFlows; ++i) {
        Packet p = syn(tuple4(ipproto::kTcp, kClient + i / 60'000,
                              static_cast<std::uint16_t>(i % 60'000), kServer, 80));
        track(ct, 0, p, kStart);
    }

    const Counters c = ct.counters();
    EXPECT_LT(c.drop, kFlows / 1000);
    EXPECT_EQ(c.opened, c.early_drop + ct.count());
    // Density two a bucket: a bucket with victims has 2 / (1 - e^-2) = 2.3 of them on average, so
    // evictions come in groups and the table stays a little below its maximum.
    EXPECT_GT(ct.count(), kMax * 98 / 100);
    EXPECT_EQ(ct.check_invariants(), "");
}

TEST(Conntrack, LinuxPolicySparesAssuredEntries) {
    Conntrack ct{settings(2000, Overflow::Linux), 1, 1};
    for (std::uint16_t i = 0; i < 2000; ++i) establish(ct, flow(i), kStart);
    Packet p = syn(flow(5000));

    EXPECT_FALSE(track(ct, 0, p, kStart));
    EXPECT_EQ(p.drop, Drop::CtTableFull);
    EXPECT_EQ(ct.counters().early_drop, 0U);
}

TEST(Conntrack, OldestEmbryonicGoesFirstAndAssuredNever) {
    Conntrack ct{settings(100), 1, 1};
    for (std::uint16_t i = 0; i < 50; ++i) establish(ct, flow(i), kStart);
    for (std::uint16_t i = 50; i < 100; ++i) {
        Packet p = syn(flow(i));
        ASSERT_TRUE(track(ct, 0, p, kStart));
    }
    for (std::uint16_t i = 100; i < 130; ++i) {
        Packet p = syn(flow(i));
        ASSERT_TRUE(track(ct, 0, p, kStart));
    }

    for (std::uint16_t i = 0; i < 130; ++i)
        EXPECT_EQ(ct.find(flow(i), kStart).has_value(), i < 50 || i >= 80) << i;
    EXPECT_EQ(ct.counters().early_drop, 30U);
    EXPECT_EQ(ct.counters().assured_evicted, 0U);
    EXPECT_EQ(ct.check_invariants(), "");
}

// Each connection that is promoted leaves a stale record before the first that can be evicted.
TEST(Conntrack, VictimIsFoundBehindAnyNumberOfPromotedConnections) {
    constexpr std::uint16_t kAssured = 5000;
    Conntrack ct{settings(kAssured + 100), 1, 1};
    for (std::uint16_t i = 0; i < kAssured; ++i) establish(ct, flow(i), kStart);
    for (int turn = 0; turn < kAssured / 16; ++turn)
        ct.expire(0, kStart);  // as a worker's loop does
    for (std::uint16_t i = kAssured; i < kAssured + 200; ++i) {
        Packet p = syn(flow(i));
        EXPECT_TRUE(track(ct, 0, p, kStart)) << i;
    }
    EXPECT_EQ(ct.counters().drop, 0U);
}

TEST(Conntrack, EmbryonicEntriesKeepToTheirBudget) {
    Settings s = settings(100);
    s.embryonic_percent = 75;
    Conntrack ct{s, 1, 1};
    for (std::uint16_t i = 0; i < 500; ++i) {
        Packet p = syn(flow(i));
        ASSERT_TRUE(track(ct, 0, p, kStart));
    }

    EXPECT_EQ(ct.count(), 75U);
    for (std::uint16_t i = 1000; i < 1025; ++i) establish(ct, flow(i), kStart);
    EXPECT_EQ(ct.check_invariants(), "");
    // The first of them had to take the place of an embryonic one; each promotion then made room
    // for the next.
    EXPECT_EQ(ct.count(), 99U);
}

TEST(Conntrack, TableFullOfAssuredEntriesRefuses) {
    Conntrack ct{settings(100), 1, 1};
    for (std::uint16_t i = 0; i < 100; ++i) establish(ct, flow(i), kStart);
    Packet p = syn(flow(500));

    EXPECT_FALSE(track(ct, 0, p, kStart));
    EXPECT_EQ(p.drop, Drop::CtTableFull);
    EXPECT_EQ(ct.count(), 100U);
}

// An expired entry must not count against the limit.
TEST(Conntrack, ExpiredEntriesMakeRoomAtOnceUnderEveryPolicy) {
    for (const Overflow policy : {Overflow::EmbryonicOldest, Overflow::Linux, Overflow::Drop}) {
        Conntrack ct{settings(100, policy), 1, 1};
        for (std::uint16_t i = 0; i < 100; ++i) {
            Packet p = packet(flow(i, ipproto::kUdp));
            ASSERT_TRUE(track(ct, 0, p, kStart));
        }
        Packet p = packet(flow(500, ipproto::kUdp));
        EXPECT_TRUE(track(ct, 0, p, kStart + 40 * kSecond));
    }
}

TEST(Conntrack, CountsPacketsAndBytesOfEachDirectionWhenAsked) {
    Settings s = settings(100);
    s.acct = true;
    Conntrack ct{s, 1, 1};
    establish(ct, flow(1), kStart);

    const Snapshot snap = *ct.find(flow(1), kStart);
    EXPECT_TRUE(snap.has_counters);
    EXPECT_EQ(snap.packets[0], 2U);
    EXPECT_EQ(snap.bytes[0], 80U);
    EXPECT_EQ(snap.packets[1], 1U);
    EXPECT_EQ(snap.bytes[1], 40U);
}

TEST(Conntrack, EraseAndFlushEndEntriesOnce) {
    Conntrack ct{settings(100), 1, 1};
    establish(ct, flow(1), kStart);
    establish(ct, flow(2), kStart);
    const ConnHandle h = ct.find(flow(1), kStart)->handle;

    EXPECT_TRUE(ct.erase(h, kStart));
    EXPECT_FALSE(ct.erase(h, kStart));
    EXPECT_EQ(ct.flush(kStart), 1U);
    EXPECT_EQ(ct.count(), 0U);
    EXPECT_EQ(ct.check_invariants(), "");
}

TEST(Conntrack, PacketOfAnEntryThatEndedMeanwhileOpensAnew) {
    Conntrack ct{settings(100), 1, 1};
    Packet first = packet(flow(1, ipproto::kUdp));
    ASSERT_TRUE(track(ct, 0, first, kStart));
    Packet p = packet(flow(1, ipproto::kUdp));
    ct.lookup(0, {&p, 1}, kStart);
    ASSERT_TRUE(p.conn.valid());
    ASSERT_EQ(ct.flush(kStart), 1U);

    ct.update(0, {&p, 1}, kStart);

    EXPECT_FALSE(p.conn.valid());
    EXPECT_EQ(ct.open(0, p, kStart), Conntrack::Opening::Opened);
}

TEST(Conntrack, EventsAreRecordedOnlyWhileSomebodyListensAndOverrunsAreCounted) {
    Conntrack ct{settings(20'000), 1, 1};
    Packet quiet = packet(flow(1, ipproto::kUdp));
    ASSERT_TRUE(track(ct, 0, quiet, kStart));
    Event e;
    EXPECT_FALSE(ct.next_event(0, e));

    ct.add_listener();
    for (std::uint16_t i = 0; i < 10'000; ++i) {
        Packet p = packet(flow(static_cast<std::uint16_t>(i + 2), ipproto::kUdp));
        ASSERT_TRUE(track(ct, 0, p, kStart));
    }
    std::uint64_t got = 0;
    while (ct.next_event(0, e)) ++got;
    EXPECT_GT(ct.lost_events(), 0U);
    EXPECT_EQ(got + ct.lost_events(), 10'000U);
}

// Linux tells both at once, when the packet leaves; the last of the two has everything.
TEST(Conntrack, ARulesMarkIsAnUpdateOfItsOwn) {
    Conntrack ct{settings(64), 1, 1};
    ct.add_listener();
    Packet query = packet(flow(1, ipproto::kUdp));
    Packet answer = packet(reply_of(flow(1, ipproto::kUdp)));
    ASSERT_TRUE(track(ct, 0, query, kStart));
    ASSERT_TRUE(track(ct, 0, answer, kStart));

    ct.set_mark(0, answer, 7, kStart);

    std::vector<std::pair<std::uint16_t, std::uint32_t>> told;
    Event e;
    while (ct.next_event(0, e)) told.emplace_back(e.causes, e.conn.mark);
    EXPECT_EQ(told, (std::vector<std::pair<std::uint16_t, std::uint32_t>>{
                        {cause::kNew, 0}, {cause::kReply, 0}, {cause::kMark, 7}}));
}

TEST(Conntrack, RejectsSettingsThatCannotWork) {
    EXPECT_THROW((Conntrack{settings(0), 1, 1}), std::invalid_argument);
    EXPECT_THROW((Conntrack{settings(10), 0, 1}), std::invalid_argument);
    EXPECT_THROW((Conntrack{settings(10), kMaxWorkers, 1}), std::invalid_argument);
}

}  // namespace
}  // namespace ct::test
