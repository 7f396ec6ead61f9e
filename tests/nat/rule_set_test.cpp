// SPDX-License-Identifier: BSD-3-Clause
#include "nat/rule_set.hpp"

#include "ct/conn/status.hpp"
#include "tests/nat/rule_packets.hpp"

#include <gtest/gtest.h>

#include <array>
#include <stdexcept>
#include <tuple>
#include <vector>

namespace {

using ct::CtState;
using ct::Dir;
using nat::Action;
using nat::Chain;
using nat::FilterVerdict;
using nat::InvalidPolicy;
using nat::RawVerdict;
using nat::Rule;
using nat::RuleSet;
using nat::ZonePolicy;
using nat::ZoneScope;
using test::bit;
using test::packet;
using test::rule;
using test::source_translated;

TEST(RuleSet, TheFirstRuleThatMatchesWins) {
    Rule accept = rule(Chain::Filter, Action::Accept);
    accept.match.dport = {80, 80};
    const RuleSet rules{{accept, rule(Chain::Filter, Action::Drop)}, 1};
    ct::Packet web = packet();
    ct::Packet other = packet();
    other.tuple.dport = ct::Be16::from_host(81);

    EXPECT_EQ(rules.filter(0, web).action, Action::Accept);
    EXPECT_EQ(rules.filter(0, other).action, Action::Drop);
}

TEST(RuleSet, ThePolicyDecidesWhereNoRuleDoes) {
    for (const Action policy : {Action::Accept, Action::Drop, Action::Reject}) {
        const RuleSet rules{{}, 1, policy};
        ct::Packet p = packet();

        EXPECT_EQ(rules.filter(0, p).action, policy);
        EXPECT_EQ(rules.policy_hits().packets, 1U);
    }
    EXPECT_THROW(RuleSet({}, 1, Action::Snat), std::invalid_argument);
}

TEST(RuleSet, MarkGoesOnWithTheNextRuleWhichSeesIt) {
    Rule mark = rule(Chain::Filter, Action::Mark);
    mark.value = 5;
    Rule marked = rule(Chain::Filter, Action::Reject);
    marked.match.mark = 5;
    marked.match.mark_mask = 0xffff'ffff;
    const RuleSet rules{{mark, marked}, 1};
    ct::Packet p = packet();

    const nat::FilterVerdict v = rules.filter(0, p);

    EXPECT_EQ(v.action, Action::Reject);
    EXPECT_TRUE(v.marked);
    EXPECT_EQ(p.mark, 5U);
}

TEST(RuleSet, ARuleMayAskHowFullTheTableIs) {
    Rule drop = rule(Chain::Filter, Action::Drop);
    drop.match.table_above = 80;
    Rule notrack = rule(Chain::Raw, Action::Notrack);
    notrack.match.table_above = 90;
    const RuleSet rules{{drop, notrack}, 2};
    ct::Packet p = packet();

    EXPECT_TRUE(rules.asks_how_full());
    EXPECT_FALSE(RuleSet({}, 1).asks_how_full());
    for (const auto& [permille, dropped, untracked] : {std::tuple{0U, false, false},
                                                       {800U, false, false},
                                                       {801U, true, false},
                                                       {900U, true, false},
                                                       {901U, true, true},
                                                       {1000U, true, true},
                                                       {500U, false, false}}) {
        rules.note_fill(0, permille);
        EXPECT_EQ(rules.filter(0, p).action == Action::Drop, dropped) << permille;
        EXPECT_EQ(rules.raw(0, p).notrack, untracked) << permille;
        EXPECT_EQ(rules.filter(1, p).action, Action::Accept) << "another worker knows nothing";
    }
}

TEST(RuleSet, AMappingMayNotDependOnTheTable) {
    Rule r = test::masquerade();
    r.match.table_above = 50;
    EXPECT_THROW(RuleSet({r}, 1), std::invalid_argument);
    Rule never = rule(Chain::Filter, Action::Drop);
    never.match.table_above = 100;
    EXPECT_THROW(RuleSet({never}, 1), std::invalid_argument);
}

// Established packets are not shown to a chain that would accept them all; a condition on the table
// may refuse some.
TEST(RuleSet, ARuleThatAsksHowFullTheTableIsKeepsEstablishedPacketsInTheChain) {
    Rule drop = rule(Chain::Filter, Action::Drop);
    drop.match.table_above = 80;

    EXPECT_FALSE(RuleSet({drop}, 1).filter_skips_established());
}

TEST(RuleSet, RawRulesGiveZoneOrNotrackOrDrop) {
    Rule zone = rule(Chain::Raw, Action::Zone);
    zone.value = 9;
    zone.match.in_port = 0;
    Rule notrack = rule(Chain::Raw, Action::Notrack);
    notrack.match.in_port = 1;
    Rule drop = rule(Chain::Raw, Action::Drop);
    drop.match.in_port = 2;
    Rule accept = rule(Chain::Raw, Action::Accept);
    accept.match.in_port = 3;
    const RuleSet rules{{zone, notrack, drop, accept, rule(Chain::Raw, Action::Drop)}, 1};
    ct::Packet p = packet();
    p.state = CtState::None;

    EXPECT_EQ(rules.raw(0, p).zone, 9);
    p.in_port = 1;
    EXPECT_TRUE(rules.raw(0, p).notrack);
    p.in_port = 2;
    EXPECT_EQ(rules.raw(0, p).drop, ct::Drop::RuleDrop);
    p.in_port = 3;
    EXPECT_EQ(rules.raw(0, p).drop, ct::Drop::None);
    p.in_port = 4;
    EXPECT_EQ(rules.raw(0, p).drop, ct::Drop::RuleDrop);
    EXPECT_TRUE(rules.has_raw());
    EXPECT_FALSE(RuleSet({}, 1).has_raw());
    EXPECT_FALSE(RuleSet({}, 1).raw(0, p).notrack);
}

// CONNMARK --save-mark and --restore-mark, with masks.
TEST(RuleSet, CopiesMarksBetweenPacketAndConnection) {
    Rule set = rule(Chain::Filter, Action::PacketMark);
    set.value = 0x1234;
    set.mask = 0x0fff;
    Rule save = rule(Chain::Filter, Action::SaveMark);
    save.mask = 0xff;
    Rule seen = rule(Chain::Filter, Action::Reject);
    seen.match.conn.packet_mark = 0x234;
    seen.match.conn.packet_mark_mask = 0xfff;
    const RuleSet rules{{set, save, seen}, 1};
    ct::Packet p = packet();
    p.packet_mark = 0xf000;
    p.mark = 0xab00;

    const FilterVerdict v = rules.filter(0, p);

    EXPECT_EQ(v.action, Action::Reject);
    EXPECT_TRUE(v.marked);
    EXPECT_EQ(p.packet_mark, 0xf234U);
    EXPECT_EQ(p.mark, 0xab34U);

    const RuleSet restore{{rule(Chain::Filter, Action::RestoreMark)}, 1};
    EXPECT_FALSE(restore.filter(0, p).marked);
    EXPECT_EQ(p.packet_mark, 0xab34U);
}

TEST(RuleSet, LabelsAreAskedForAfterARuleHasSetThem) {
    Rule set = rule(Chain::Filter, Action::Label);
    set.value = 127;
    Rule has = rule(Chain::Filter, Action::Drop);
    has.match.conn.label = 127;
    const RuleSet rules{{set, has}, 1};
    ct::Packet p = source_translated(ct::Dir::Original);
    ct::ConnFacts facts;

    const FilterVerdict v = rules.filter(0, p, &facts);

    EXPECT_EQ(v.action, Action::Drop);
    EXPECT_EQ(v.labels[1], std::uint64_t{1} << 63);
}

// iptables' CT target.
TEST(RuleSet, TrackRulesSayHowAConnectionIsToBeTracked) {
    Rule track = rule(Chain::Raw, Action::Track);
    track.value = 5;
    track.scope = ZoneScope::Original;
    track.track.variant = ct::variant::of_policy(1);
    track.track.helper = 1;
    track.track.event_mask = 4;
    track.match.in_port = 0;
    Rule reply = rule(Chain::Raw, Action::Zone);
    reply.value = 6;
    reply.scope = ZoneScope::Reply;
    const RuleSet rules{{track, reply}, 1};
    ct::Packet p = packet();
    p.in_port = 0;

    RawVerdict v = rules.raw(0, p);
    EXPECT_EQ(v.zone, 5);
    EXPECT_TRUE(v.track.split_zone);
    EXPECT_EQ(v.track.reply_zone, 0);
    EXPECT_EQ(v.track.variant, ct::variant::of_policy(1));
    EXPECT_EQ(v.track.helper, 1);
    EXPECT_EQ(v.track.event_mask, 4);

    p.in_port = 1;
    v = rules.raw(0, p);
    EXPECT_EQ(v.zone, 0);
    EXPECT_TRUE(v.track.split_zone);
    EXPECT_EQ(v.track.reply_zone, 6);
    EXPECT_EQ(v.track.event_mask, 0xffff);
}

TEST(RuleSet, ZonesHaveAPolicyForInvalidPackets) {
    Rule five = rule(Chain::Raw, Action::Zone);
    five.value = 5;
    const std::array<ZonePolicy, 2> zones{{{5, InvalidPolicy::Liberal}, {0, InvalidPolicy::Drop}}};
    const RuleSet rules{{five}, 1, Action::Accept, zones};
    ct::Packet p = packet();

    EXPECT_EQ(rules.raw(0, p).track.variant, ct::variant::kLiberal);
    EXPECT_EQ(rules.invalid_policy(5), InvalidPolicy::Liberal);
    EXPECT_EQ(rules.invalid_policy(0), InvalidPolicy::Drop);
    EXPECT_EQ(rules.invalid_policy(65535), InvalidPolicy::Pass);
    EXPECT_EQ(RuleSet({five}, 1).raw(0, p).track.variant, 0);
    EXPECT_TRUE(RuleSet({}, 1, Action::Accept, zones).has_raw());
}

TEST(RuleSet, CountsHitsOfEachWorkerAndSumsThem) {
    std::vector<Rule> many(9, rule(Chain::Filter, Action::Mark));
    many.push_back(rule(Chain::Filter, Action::Accept));
    const RuleSet rules{many, 3, Action::Drop};
    for (const ct::WorkerId w : {0U, 1U, 2U, 2U}) {
        ct::Packet p = packet();
        (void)rules.filter(w, p);
    }

    for (std::size_t i = 0; i < many.size(); ++i) {
        EXPECT_EQ(rules.hits(i).packets, 4U) << i;
        EXPECT_EQ(rules.hits(i).bytes, 400U) << i;
    }
    EXPECT_EQ(rules.policy_hits().packets, 0U);
}

TEST(RuleSet, RefusesARuleWhoseActionDoesNotBelongToItsChain) {
    struct Case {
        Chain chain;
        Action action;
    };
    for (const Case c : {Case{Chain::Raw, Action::Snat}, Case{Chain::Filter, Action::Notrack},
                         Case{Chain::Nat, Action::Drop}, Case{Chain::Nat, Action::Mark},
                         Case{Chain::Raw, Action::Reject}, Case{Chain::Filter, Action::Dnat}})
        EXPECT_THROW(RuleSet({rule(c.chain, c.action)}, 1), std::invalid_argument);
}

TEST(RuleSet, NamesTheLineOfARuleThatItRefuses) {
    Rule r = rule(Chain::Nat, Action::Snat);
    r.line = 42;
    r.name = "to-the-world";
    try {
        const RuleSet rules{{r}, 1};
        FAIL();
    } catch (const std::invalid_argument& e) {
        EXPECT_STREQ(e.what(), "line 42: rule 'to-the-world': it has no address to translate to");
    }
}

// ---- The shortcut for established packets.

TEST(RuleSet, EstablishedPacketsSkipTheFilterOnlyIfAllAreAccepted) {
    const auto with_states = [](Action a, std::uint8_t states) {
        Rule r = rule(Chain::Filter, a);
        r.match.states = states;
        return r;
    };
    const std::uint8_t established = bit(CtState::Established) | bit(CtState::Related);
    Rule web = with_states(Action::Accept, established);
    web.match.dport = {80, 80};
    Rule never = rule(Chain::Filter, Action::Drop);
    never.match.not_src = true;
    Rule others = with_states(Action::Drop, established);
    others.match.state_nat = ct::status::kDstNat;
    others.match.not_states = true;
    Rule translated = with_states(Action::Drop, bit(CtState::Invalid));
    translated.match.state_nat = ct::status::kDstNat;
    struct Case {
        const char* name;
        std::vector<Rule> rules;
        Action policy;
        bool skips;
    };
    const Case cases[] = {
        {"nothing", {}, Action::Accept, true},
        {"nothing but a policy", {}, Action::Drop, false},
        {"established first", {with_states(Action::Accept, established)}, Action::Drop, true},
        {"everything first", {rule(Chain::Filter, Action::Accept)}, Action::Drop, true},
        {"after one that cannot match",
         {with_states(Action::Drop, bit(CtState::Invalid)), never,
          with_states(Action::Accept, established)},
         Action::Drop,
         true},
        {"only new ones dropped",
         {with_states(Action::Drop, bit(CtState::New))},
         Action::Accept,
         true},
        {"no established dropped, though translations are asked for",
         {others},
         Action::Accept,
         true},
        {"established dropped if translated", {translated}, Action::Accept, false},
        {"established dropped", {with_states(Action::Drop, established)}, Action::Accept, false},
        {"some accepted", {web}, Action::Drop, false},
        {"some accepted and counted",
         {web, rule(Chain::Filter, Action::Accept)},
         Action::Accept,
         false},
        {"marked first", {rule(Chain::Filter, Action::Mark)}, Action::Accept, false},
    };
    for (const Case& c : cases)
        EXPECT_EQ(RuleSet(c.rules, 1, c.policy).filter_skips_established(), c.skips) << c.name;
}

TEST(RuleSet, SkippedPacketsCountForTheRuleThatWouldHaveAcceptedThem) {
    Rule drop = rule(Chain::Filter, Action::Drop);
    drop.match.states = bit(CtState::Invalid);
    Rule accept = rule(Chain::Filter, Action::Accept);
    accept.match.states = bit(CtState::Established);
    const RuleSet rules{{drop, accept}, 2, Action::Drop};
    const RuleSet open{{}, 2};

    rules.count_skipped(1, 3, 300);
    open.count_skipped(0, 2, 200);

    EXPECT_EQ(rules.hits(1).packets, 3U);
    EXPECT_EQ(rules.hits(1).bytes, 300U);
    EXPECT_EQ(rules.hits(0).packets, 0U);
    EXPECT_EQ(open.policy_hits().packets, 2U);
}

}  // namespace
