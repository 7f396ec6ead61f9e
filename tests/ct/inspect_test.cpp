// SPDX-License-Identifier: BSD-3-Clause
//
// What explanations are told of the table: the truth, and nothing changes by asking.
#include "ct/inspect.hpp"

#include "tests/ct/tables.hpp"

#include <gtest/gtest.h>

namespace ct::test {
namespace {

TEST(Inspect, ShowsWhatTheTrackerRemembers) {
    Table t{sized(64, Overflow::EmbryonicOldest)};
    t.establish(flow(1));
    t.now += 3 * kSecond;

    const auto h = t.ct.holder_of(flow(1), t.now);
    ASSERT_TRUE(h.has_value());
    Inspection seen;
    ASSERT_TRUE(t.ct.inspect(*h, t.now, seen));

    EXPECT_EQ(seen.conn.original, flow(1));
    EXPECT_EQ(seen.conn.state, index_of(TcpState::Established));
    EXPECT_EQ(seen.age, 3 * kSecond);
    EXPECT_EQ(seen.window[0].end, 1001U);
    EXPECT_EQ(seen.window[1].end, 5001U);
    EXPECT_EQ(seen.window[1].max_ack, 1001U);
    EXPECT_EQ(seen.last.segment, static_cast<std::uint8_t>(proto::Segment::Ack));
}

TEST(Inspect, KnowsNothingOfAnEntryThatHasEnded) {
    Table t{sized(64, Overflow::EmbryonicOldest)};
    t.open(flow(1));
    const auto h = t.ct.holder_of(flow(1), t.now);
    ASSERT_TRUE(h.has_value());
    EXPECT_TRUE(t.ct.erase(*h, t.now));

    Inspection seen;
    EXPECT_FALSE(t.ct.inspect(*h, t.now, seen));
    EXPECT_FALSE(t.ct.holder_of(flow(1), t.now).has_value());
}

TEST(Inspect, JudgesAPacketAsTheTrackerWillAndLeavesTheEntryAlone) {
    Table t{sized(64, Overflow::EmbryonicOldest)};
    t.establish(flow(1));
    const auto h = t.ct.holder_of(flow(1), t.now);
    ASSERT_TRUE(h.has_value());
    Inspection before;
    ASSERT_TRUE(t.ct.inspect(*h, t.now, before));
    Packet far = tcp(flow(1), tcpflag::kAck, 9'000'000, 5001);

    const Judgement j = t.ct.judge(before, far);

    EXPECT_EQ(j.verdict.outcome, proto::Outcome::Invalid);
    EXPECT_EQ(j.verdict.why, proto::Why::AheadOfWindow);
    EXPECT_TRUE(j.window.made);
    EXPECT_EQ(j.window.sender.max_end, before.window[0].max_end);
    Inspection after;
    ASSERT_TRUE(t.ct.inspect(*h, t.now, after));
    EXPECT_EQ(after.window[0].end, before.window[0].end);
    EXPECT_EQ(after.conn.timeout_s, before.conn.timeout_s);
}

TEST(Inspect, FindsTheSettingsOfAPolicy) {
    Features features;
    features.policies.emplace_back();
    features.policies[0].udp = 7;
    Conntrack ct{sized(64, Overflow::EmbryonicOldest), 1, 1, features};
    Packet p = packet(tuple4(ipproto::kUdp, kClient, 1, kServer, 53));
    p.track.variant = variant::of_policy(1);

    const Judgement opening = ct.judge_opening(p);
    ASSERT_TRUE(track(ct, 0, p, kStart));
    const auto h = ct.holder_of(p.tuple, kStart);
    ASSERT_TRUE(h.has_value());
    Inspection seen;
    ASSERT_TRUE(ct.inspect(*h, kStart, seen));

    EXPECT_TRUE(opening.own_timeouts);
    EXPECT_EQ(opening.verdict.timeout_s, 7U);
    EXPECT_EQ(seen.variant, variant::of_policy(1));
    EXPECT_EQ(ct.judge(seen, p).verdict.timeout_s, 7U);
}

/// What the next newcomer finds, and that it is right: None if it finds room.
Prospect foretold(Table& t, const Tuple& newcomer) {
    const Prospect p = t.ct.prospect(newcomer, t.now);
    const Drop became = t.open(newcomer);
    EXPECT_EQ(p.refusal, became) << name_of(p.refusal) << " foretold, " << name_of(became);
    return p;
}

TEST(Prospect, RoomThatIsFree) {
    Table t{sized(4, Overflow::Drop)};
    t.open(flow(1));

    const Prospect p = foretold(t, flow(2));

    EXPECT_EQ(p.room, Prospect::Room::Free);
    EXPECT_EQ(p.in_use, 1U);
    EXPECT_EQ(p.max, 4U);
    EXPECT_EQ(p.embryonic, 1U);
}

TEST(Prospect, SomebodysWhoHasToGo) {
    Table t{sized(4, Overflow::EmbryonicOldest)};
    for (std::uint32_t n = 1; n <= 4; ++n) t.open(flow(n));

    EXPECT_EQ(foretold(t, flow(5)).room, Prospect::Room::Evicted);
    EXPECT_FALSE(t.has(flow(1)));
}

TEST(Prospect, NoRoomAmongTheAssured) {
    Table t{sized(4, Overflow::EmbryonicOldest)};
    for (std::uint32_t n = 1; n <= 4; ++n) t.establish(flow(n));

    EXPECT_EQ(foretold(t, flow(5)).refusal, Drop::CtTableFull);
}

TEST(Prospect, RefusalsByPolicy) {
    for (const auto& [policy, why] : {std::pair{Overflow::Drop, Drop::CtTableFull},
                                      std::pair{Overflow::Reject, Drop::CtTableReject}}) {
        Table t{sized(2, policy)};
        t.open(flow(1));
        t.open(flow(2));
        EXPECT_EQ(foretold(t, flow(3)).refusal, why);
    }
}

TEST(Prospect, LimitsOfASource) {
    Settings s = sized(64, Overflow::EmbryonicOldest);
    s.room.per_source.max_entries = 2;
    Table t{s};
    t.open(flow(1));
    t.open(flow(2));

    const Prospect p = foretold(t, flow(3));

    EXPECT_EQ(p.refusal, Drop::CtSourceEntries);
    EXPECT_EQ(p.source_entries, 2U);
    EXPECT_EQ(p.source_limit, 2U);
}

TEST(Prospect, WhatIsReservedForOthers) {
    Settings s = sized(4, Overflow::Drop);
    s.room.reserve.push_back(
        {.prefix = {.addr = v4(0x0a000000), .length = 8, .family = Family::Ipv4}, .entries = 2});
    Table t{s};
    t.open(flow(1));
    t.open(flow(2));

    EXPECT_EQ(foretold(t, flow(3)).refusal, Drop::CtReserved);
    const Prospect p = foretold(t, flow(4, 0x0a000001));
    EXPECT_EQ(p.room, Prospect::Room::Free);
    EXPECT_EQ(p.reserved, 2U);
}

TEST(Prospect, WhoIsClosingGoesFirst) {
    Table t{sized(3, Overflow::ClosingFirst)};
    t.establish(flow(1));
    t.establish(flow(2));
    t.open(flow(3));
    ASSERT_EQ(t.send(fin(flow(2))), Drop::None);

    EXPECT_TRUE(foretold(t, flow(4)).closing_goes);
    EXPECT_FALSE(t.has(flow(2)));
    EXPECT_FALSE(foretold(t, flow(5)).closing_goes) << "one that is not assured is left";
    EXPECT_TRUE(t.has(flow(1)));
}

// Beyond their budget, those that are not assured make room even where somebody is closing.
TEST(Prospect, WhoIsOverTheBudgetGoesBeforeWhoIsClosing) {
    Settings s = sized(4, Overflow::ClosingFirst);
    s.embryonic_percent = 50;
    Table t{s};
    t.establish(flow(1));
    t.establish(flow(2));
    t.open(flow(3));
    t.open(flow(4));
    ASSERT_EQ(t.send(fin(flow(2))), Drop::None);

    EXPECT_FALSE(foretold(t, flow(5)).closing_goes);
    EXPECT_FALSE(t.has(flow(3)));
    EXPECT_TRUE(t.has(flow(2)));
}

TEST(Prospect, WhoIsClosingBecauseControlSaysSo) {
    Table t{sized(2, Overflow::ClosingFirst)};
    Injection e{.original = flow(1), .reply = reply_of(flow(1)), .timeout_s = 100};
    e.state = index_of(TcpState::TimeWait);
    e.status = status::kSeenReply | status::kAssured;
    ASSERT_EQ(t.ct.insert(e, t.now), Injected::Done);
    t.establish(flow(2));

    EXPECT_TRUE(foretold(t, flow(3)).closing_goes);
    EXPECT_FALSE(t.has(flow(1)));
    t.establish(flow(3));
    Change closes;
    closes.state = index_of(TcpState::CloseWait);
    ASSERT_EQ(t.ct.change(t.ct.find(flow(2), t.now)->handle, closes, t.now), Changed::Done);
    EXPECT_TRUE(foretold(t, flow(4)).closing_goes);
    EXPECT_FALSE(t.has(flow(2)));
}

TEST(Prospect, WhomNobodyMayReplace) {
    for (const Overflow policy : {Overflow::EmbryonicOldest, Overflow::ClosingFirst}) {
        Settings s = sized(3, policy);
        s.room.never_delete_mappings = true;
        s.room.min_life = 10;
        Table t{s};
        for (std::uint16_t n = 1; n <= 3; ++n)
            t.open_mapped(flow(n), static_cast<std::uint16_t>(2000 + n));
        EXPECT_EQ(foretold(t, flow(4)).refusal, Drop::CtMappingKept);

        t.ct.flush(t.now);
        for (std::uint32_t n = 1; n <= 3; ++n) t.open(flow(n));
        EXPECT_EQ(foretold(t, flow(4)).refusal, Drop::CtMinLife);
        t.now += 11 * kSecond;
        EXPECT_EQ(foretold(t, flow(4)).room, Prospect::Room::Evicted);
    }
}

TEST(Prospect, AReservationsEntriesGoForNobodyElse) {
    Settings s = sized(3, Overflow::EmbryonicOldest);
    s.room.reserve.push_back(
        {.prefix = {.addr = v4(0x0a000000), .length = 8, .family = Family::Ipv4}, .entries = 3});
    Table t{s};
    for (std::uint32_t n = 1; n <= 3; ++n) t.open(flow(n, 0x0a000001));

    EXPECT_EQ(foretold(t, flow(4)).refusal, Drop::CtReserved);
    EXPECT_EQ(foretold(t, flow(4, 0x0a000001)).room, Prospect::Room::Evicted);
}

}  // namespace
}  // namespace ct::test
