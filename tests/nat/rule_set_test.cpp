// SPDX-License-Identifier: BSD-3-Clause
#include "nat/rule_set.hpp"

#include "ct/conn/status.hpp"
#include "tests/nat/nat_box.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

namespace {

using ct::CtState;
using ct::Dir;
using ct::Family;
using nat::Action;
using nat::Chain;
using nat::ConnMatch;
using nat::FilterVerdict;
using nat::InvalidPolicy;
using nat::Match;
using nat::Prefix;
using nat::RawVerdict;
using nat::Rule;
using nat::RuleSet;
using nat::ZonePolicy;
using nat::ZoneScope;
using test::prefix;
using test::rule;

constexpr std::uint8_t bit(CtState s) {
    return static_cast<std::uint8_t>(1U << unsigned(s));
}

/// An IPv4 TCP packet from 192.0.2.1:1000 to 198.51.100.7:80, in by 0 and out by 1, NEW, with no
/// connection.
ct::Packet packet() {
    ct::Packet p;
    p.tuple.family = Family::Ipv4;
    p.tuple.proto = ct::ipproto::kTcp;
    p.tuple.src = test::addr("192.0.2.1");
    p.tuple.dst = test::addr("198.51.100.7");
    p.tuple.sport = ct::Be16::from_host(1000);
    p.tuple.dport = ct::Be16::from_host(80);
    p.in_port = 0;
    p.out_port = 1;
    p.state = CtState::New;
    p.l3_offset = 14;
    p.end = 114;
    return p;
}

TEST(Prefix, ContainsWhatSharesItsBits) {
    struct Case {
        const char* prefix;
        const char* addr;
        bool inside;
    };
    const Case cases[] = {
        {"192.0.2.0/24", "192.0.2.0", true},         {"192.0.2.0/24", "192.0.2.255", true},
        {"192.0.2.0/24", "192.0.3.0", false},        {"192.0.2.128/25", "192.0.2.127", false},
        {"192.0.2.128/25", "192.0.2.128", true},     {"192.0.2.1", "192.0.2.1", true},
        {"192.0.2.1", "192.0.2.0", false},           {"0.0.0.0/0", "203.0.113.9", true},
        {"192.0.2.0/31", "192.0.2.1", true},         {"192.0.2.0/31", "192.0.2.2", false},
        {"2001:db8::/32", "2001:db8:ffff::1", true}, {"2001:db8::/32", "2001:db9::1", false},
        {"2001:db8::/33", "2001:db8:8000::", false}, {"2001:db8::1", "2001:db8::1", true},
        {"2001:db8::1", "2001:db8::2", false},       {"::/0", "2001:db8::2", true},
        {"0.0.0.0/0", "2001:db8::2", false},         {"::/0", "192.0.2.1", false},
    };
    for (const Case& c : cases) {
        const std::string text = c.addr;
        const Family f = text.find(':') == std::string::npos ? Family::Ipv4 : Family::Ipv6;
        EXPECT_EQ(prefix(c.prefix).contains(f, test::addr(c.addr)), c.inside)
            << c.prefix << " " << c.addr;
    }
    EXPECT_TRUE(nat::Prefix{}.contains(Family::Ipv6, test::addr("2001:db8::1")));
}

/// One condition, a packet that meets it, and one that does not.
struct MatchCase {
    const char* name;
    std::function<void(Match&)> ask;
    std::function<void(ct::Packet&)> meet;
    std::function<void(ct::Packet&)> miss;
};

void none(ct::Packet&) {}

std::vector<MatchCase> match_cases() {
    const auto src = [](const char* a) {
        return [a](ct::Packet& p) { p.tuple.src = test::addr(a); };
    };
    const auto dst = [](const char* a) {
        return [a](ct::Packet& p) { p.tuple.dst = test::addr(a); };
    };
    const auto sport = [](std::uint16_t n) {
        return [n](ct::Packet& p) { p.tuple.sport = ct::Be16::from_host(n); };
    };
    const auto dport = [](std::uint16_t n) {
        return [n](ct::Packet& p) { p.tuple.dport = ct::Be16::from_host(n); };
    };
    const auto ipv6 = [](ct::Packet& p) {
        p.tuple.family = Family::Ipv6;
        p.tuple.src = test::addr("2001:db8::1");
        p.tuple.dst = test::addr("2001:db8::2");
    };
    const auto icmp = [](ct::Packet& p) { p.tuple.proto = ct::ipproto::kIcmp; };
    return {
        {"in port", [](Match& m) { m.in_port = 0; }, none, [](auto& p) { p.in_port = 1; }},
        {"out port", [](Match& m) { m.out_port = 1; }, none, [](auto& p) { p.out_port = 0; }},
        {"out port, to Sluice itself", [](Match& m) { m.out_port = 1; }, none,
         [](auto& p) { p.out_port = ct::kNoPort; }},
        {"family", [](Match& m) { m.family = Family::Ipv6; }, ipv6, none},
        {"protocol", [](Match& m) { m.proto = 6; }, none, icmp},
        {"protocol 0", [](Match& m) { m.proto = 0; }, [](auto& p) { p.tuple.proto = 0; }, none},
        {"source", [](Match& m) { m.src = prefix("192.0.2.0/24"); }, src("192.0.2.255"),
         src("192.0.3.0")},
        {"source, odd length", [](Match& m) { m.src = prefix("192.0.2.160/27"); },
         src("192.0.2.191"), src("192.0.2.192")},
        {"source, any IPv4", [](Match& m) { m.src = prefix("0.0.0.0/0"); }, none, ipv6},
        {"source, host", [](Match& m) { m.src = prefix("192.0.2.1"); }, none, src("192.0.2.3")},
        {"source, IPv6", [](Match& m) { m.src = prefix("2001:db8::/127"); }, ipv6, none},
        {"source, IPv6, last bit", [](Match& m) { m.src = prefix("2001:db8::1"); }, ipv6,
         [ipv6](auto& p) {
             ipv6(p);
             p.tuple.src = test::addr("2001:db8::3");
         }},
        {"not source",
         [](Match& m) {
             m.src = prefix("10.0.0.0/8");
             m.not_src = true;
         },
         none, src("10.255.255.255")},
        {"not source asks for the family",
         [](Match& m) {
             m.src = prefix("10.0.0.0/8");
             m.not_src = true;
         },
         none, ipv6},
        {"destination", [](Match& m) { m.dst = prefix("198.51.100.0/24"); }, none,
         dst("192.0.2.9")},
        {"not destination",
         [](Match& m) {
             m.dst = prefix("203.0.113.0/24");
             m.not_dst = true;
         },
         none, dst("203.0.113.1")},
        {"source port, first",
         [](Match& m) {
             m.sport = {1000, 2000};
         },
         sport(1000), sport(999)},
        {"source port, last",
         [](Match& m) {
             m.sport = {1000, 2000};
         },
         sport(2000), sport(2001)},
        {"destination port",
         [](Match& m) {
             m.dport = {80, 80};
         },
         none, dport(81)},
        {"a port needs a protocol with ports",
         [](Match& m) {
             m.dport = {0, 100};
         },
         none, icmp},
        {"state", [](Match& m) { m.states = bit(CtState::New) | bit(CtState::Related); },
         [](auto& p) { p.state = CtState::Related; }, [](auto& p) { p.state = CtState::Invalid; }},
        {"state untracked", [](Match& m) { m.states = bit(CtState::Untracked); },
         [](auto& p) { p.state = CtState::Untracked; }, none},
        {"a state, or a translation",
         [](Match& m) {
             m.states = bit(CtState::Established);
             m.state_nat = ct::status::kDstNat;
         },
         [](auto& p) { p.status = ct::status::kDstNat; },
         [](auto& p) { p.status = ct::status::kSrcNat; }},
        {"a state, or a translation, the state",
         [](Match& m) {
             m.states = bit(CtState::Established);
             m.state_nat = ct::status::kDstNat;
         },
         [](auto& p) { p.state = CtState::Established; }, none},
        {"a translation, of a connection only", [](Match& m) { m.state_nat = ct::status::kSrcNat; },
         [](auto& p) { p.status = ct::status::kSrcNat; },
         [](auto& p) {
             p.status = ct::status::kSrcNat;
             p.state = CtState::Invalid;
         }},
        {"neither a state nor a translation",
         [](Match& m) {
             m.states = bit(CtState::Established);
             m.state_nat = ct::status::kDstNat;
             m.not_states = true;
         },
         none, [](auto& p) { p.status = ct::status::kDstNat; }},
        {"no translation, which an INVALID packet has not",
         [](Match& m) {
             m.state_nat = ct::status::kDstNat;
             m.not_states = true;
         },
         [](auto& p) {
             p.status = ct::status::kDstNat;
             p.state = CtState::Invalid;
         },
         [](auto& p) { p.status = ct::status::kNatMask; }},
        {"status, any of two",
         [](Match& m) { m.status_any = ct::status::kAssured | ct::status::kSeenReply; },
         [](auto& p) { p.status = ct::status::kAssured | 1; },
         [](auto& p) { p.status = ct::status::kConfirmed; }},
        {"status, of a connection only", [](Match& m) { m.status_any = ct::status::kSrcNat; },
         [](auto& p) { p.status = ct::status::kSrcNat; },
         [](auto& p) {
             p.status = ct::status::kSrcNat;
             p.state = CtState::Invalid;
         }},
        {"not that status", [](Match& m) { m.status_none = ct::status::kAssured; },
         [](auto& p) { p.status = ct::status::kSeenReply; },
         [](auto& p) { p.status = ct::status::kSeenReply | ct::status::kAssured; }},
        {"not that status, of a connection only",
         [](Match& m) { m.status_none = ct::status::kAssured; }, none,
         [](auto& p) { p.state = CtState::Untracked; }},
        {"not that port", [](Match& m) { m.not_in_port = 3; }, none,
         [](auto& p) { p.in_port = 3; }},
        {"not out by that port", [](Match& m) { m.not_out_port = 0; }, none,
         [](auto& p) { p.out_port = 0; }},
        {"not out by that port, to Sluice itself", [](Match& m) { m.not_out_port = 0; }, none,
         [](auto& p) { p.out_port = ct::kNoPort; }},
        {"not that protocol", [](Match& m) { m.not_proto = ct::ipproto::kIcmp; }, none, icmp},
        {"not that mark",
         [](Match& m) {
             m.not_mark = 0x12;
             m.not_mark_mask = 0xff;
         },
         [](auto& p) { p.mark = 0x1213; }, [](auto& p) { p.mark = 0x1312; }},
        {"not that mark, of a connection only", [](Match& m) { m.not_mark_mask = 0xff; },
         [](auto& p) { p.mark = 1; },
         [](auto& p) {
             p.mark = 1;
             p.state = CtState::Invalid;
         }},
        {"mark 0, of a connection only", [](Match& m) { m.mark_mask = 0xff; }, none,
         [](auto& p) { p.state = CtState::Untracked; }},
        {"not that packet mark",
         [](Match& m) {
             m.conn.packet_mark_mask = 0xff;
             m.conn.not_packet_mark = true;
         },
         [](auto& p) {
             p.packet_mark = 1;
             p.state = CtState::Untracked;
         },
         none},
        {"zone", [](Match& m) { m.zone = 7; }, [](auto& p) { p.tuple.zone = 7; }, none},
        {"zone 0", [](Match& m) { m.zone = 0; }, none, [](auto& p) { p.tuple.zone = 1; }},
        {"mark",
         [](Match& m) {
             m.mark = 0x12;
             m.mark_mask = 0xff;
         },
         [](auto& p) { p.mark = 0x3412; }, [](auto& p) { p.mark = 0x1234; }},
        {"mark 0", [](Match& m) { m.mark_mask = 0xff; }, [](auto& p) { p.mark = 0x100; },
         [](auto& p) { p.mark = 1; }},
    };
}

TEST(RuleSet, EachConditionIsMetByWhatItNamesAndByNothingElse) {
    for (const MatchCase& c : match_cases()) {
        Rule r = rule(Chain::Filter, Action::Drop);
        c.ask(r.match);
        const RuleSet rules{{r}, 1};
        ct::Packet meets = packet();
        ct::Packet misses = packet();
        c.meet(meets);
        c.miss(misses);

        EXPECT_EQ(rules.filter(0, meets).action, Action::Drop) << c.name;
        EXPECT_EQ(rules.filter(0, misses).action, Action::Accept) << c.name;
    }
}

TEST(RuleSet, ARuleWithSeveralConditionsAsksForAllOfThem) {
    const std::vector<MatchCase> all = match_cases();
    const auto& src = all[6];
    const auto& dport = all[18];
    ASSERT_STREQ(src.name, "source");
    ASSERT_STREQ(dport.name, "destination port");
    Rule r = rule(Chain::Filter, Action::Drop);
    src.ask(r.match);
    dport.ask(r.match);
    const RuleSet rules{{r}, 1};
    ct::Packet both = packet();
    ct::Packet only_source = packet();
    dport.miss(only_source);
    ct::Packet only_port = packet();
    src.miss(only_port);

    EXPECT_EQ(rules.filter(0, both).action, Action::Drop);
    EXPECT_EQ(rules.filter(0, only_source).action, Action::Accept);
    EXPECT_EQ(rules.filter(0, only_port).action, Action::Accept);
}

TEST(RuleSet, AContradictionMatchesNothing) {
    Rule families = rule(Chain::Filter, Action::Drop);
    families.match.src = prefix("0.0.0.0/0");
    families.match.dst = prefix("::/0");
    Rule nobody = rule(Chain::Filter, Action::Drop);
    nobody.match.not_src = true;
    const RuleSet rules{{families, nobody}, 1};
    ct::Packet p = packet();

    EXPECT_EQ(rules.filter(0, p).action, Action::Accept);
}

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

/// A packet of a connection whose source is translated: its tuples differ.
ct::Packet source_translated(ct::Dir dir) {
    ct::Packet p = packet();
    p.conn = {1, 1};
    p.dir = dir;
    p.original = p.tuple;
    p.reply = ct::reply_of(p.tuple);
    p.reply.dst = test::addr("203.0.113.5");
    p.reply.dport = ct::Be16::from_host(5555);
    if (dir == ct::Dir::Reply) p.tuple = p.reply;
    return p;
}

/// Excludes what `m` asks of the tuples.
void invert(ConnMatch& m) {
    m.not_orig_src = m.orig_src.family != Family::None;
    m.not_orig_dst = m.orig_dst.family != Family::None;
    m.not_reply_src = m.reply_src.family != Family::None;
    m.not_reply_dst = m.reply_dst.family != Family::None;
    m.not_orig_sport = !m.orig_sport.any();
    m.not_orig_dport = !m.orig_dport.any();
    m.not_reply_sport = !m.reply_sport.any();
    m.not_reply_dport = !m.reply_dport.any();
    m.not_proto = m.proto >= 0;
}

// iptables' ctorigsrc and the like ask for the connection's tuples, whatever way the packet goes.
TEST(RuleSet, AsksForTheConnectionsTuplesInBothDirections) {
    const ct::Packet sample = packet();
    struct Case {
        const char* name;
        void (*ask)(ConnMatch& m, const ct::Packet& p);
        bool wrong;  ///< does not match
    };
    const auto host = [](const ct::Addr& a) { return Prefix{a, 32, ct::Family::Ipv4}; };
    static const auto to_prefix = host;
    const std::vector<Case> cases{
        {"ctorigsrc",
         [](ConnMatch& m, const ct::Packet& p) { m.orig_src = to_prefix(p.original.src); }, false},
        {"ctorigdst",
         [](ConnMatch& m, const ct::Packet& p) { m.orig_dst = to_prefix(p.original.dst); }, false},
        {"ctreplsrc",
         [](ConnMatch& m, const ct::Packet& p) { m.reply_src = to_prefix(p.reply.src); }, false},
        {"ctrepldst",
         [](ConnMatch& m, const ct::Packet& p) { m.reply_dst = to_prefix(p.reply.dst); }, false},
        {"ctproto", [](ConnMatch& m, const ct::Packet& p) { m.proto = p.original.proto; }, false},
        {"ctproto of another", [](ConnMatch& m, const ct::Packet&) { m.proto = 89; }, true},
        {"ctrepldst of another",
         [](ConnMatch& m, const ct::Packet& p) { m.reply_dst = to_prefix(p.original.src); }, true},
        {"ctrepldstport",
         [](ConnMatch& m, const ct::Packet&) {
             m.reply_dport = {5555, 5555};
         },
         false},
        {"ctrepldstport of another",
         [](ConnMatch& m, const ct::Packet&) {
             m.reply_dport = {5556, 6000};
         },
         true},
        {"ctorigdstport",
         [](ConnMatch& m, const ct::Packet& p) {
             m.orig_dport = {p.original.dport.host(), p.original.dport.host()};
         },
         false},
    };
    for (const Case& c : cases)
        for (const ct::Dir dir : {ct::Dir::Original, ct::Dir::Reply}) {
            ct::Packet p = source_translated(dir);
            Rule r = rule(Chain::Filter, Action::Drop);
            c.ask(r.match.conn, p);
            const RuleSet rules{{r}, 1};
            EXPECT_EQ(rules.filter(0, p).action == Action::Drop, !c.wrong) << c.name;

            invert(r.match.conn);
            ct::Packet again = source_translated(dir);
            EXPECT_EQ(RuleSet({r}, 1).filter(0, again).action == Action::Drop, c.wrong)
                << "not " << c.name;
        }
    Rule r = rule(Chain::Filter, Action::Drop);
    r.match.conn.orig_src = host(sample.tuple.src);
    r.match.conn.not_orig_src = true;
    ct::Packet without = packet();
    without.conn = {};
    EXPECT_EQ(RuleSet({r}, 1).filter(0, without).action, Action::Accept) << "no connection";
}

TEST(RuleSet, AConnectionWithoutNatNeedsNoTuplesToBeAskedForThem) {
    Rule r = rule(Chain::Filter, Action::Drop);
    r.match.conn.reply_dst = {packet().tuple.src, 32, ct::Family::Ipv4};
    r.match.conn.dir = 1;
    const RuleSet rules{{r}, 1};
    ct::Packet p = packet();
    p.conn = {1, 1};
    p.mirrored = true;
    p.tuple = ct::reply_of(p.tuple);
    p.dir = ct::Dir::Reply;

    EXPECT_EQ(rules.filter(0, p).action, Action::Drop);
    p.dir = ct::Dir::Original;
    EXPECT_EQ(rules.filter(0, p).action, Action::Accept) << "ctdir";
}

TEST(RuleSet, AsksForWhatOnlyTheEntryKnows) {
    Rule label = rule(Chain::Filter, Action::Drop);
    label.match.conn.label = 65;
    Rule expires = rule(Chain::Filter, Action::Reject);
    expires.match.conn.expires_first = 10;
    expires.match.conn.expires_last = 20;
    const RuleSet rules{{label, expires}, 1};
    EXPECT_TRUE(rules.wants_facts());
    EXPECT_FALSE(RuleSet({rule(Chain::Filter, Action::Drop)}, 1).wants_facts());
    ct::Packet p = source_translated(ct::Dir::Original);
    const auto action = [&](ct::ConnFacts facts) { return rules.filter(0, p, &facts).action; };

    EXPECT_EQ(action({.labels = {0, 2}, .expires_s = 0, .helper = 0}), Action::Drop);
    EXPECT_EQ(action({.labels = {2, 1}, .expires_s = 10, .helper = 0}), Action::Reject);
    EXPECT_EQ(action({.labels = {}, .expires_s = 20, .helper = 0}), Action::Reject);
    EXPECT_EQ(action({.labels = {}, .expires_s = 21, .helper = 0}), Action::Accept);
    EXPECT_EQ(rules.filter(0, p).action, Action::Accept) << "nothing is known";
}

TEST(RuleSet, ExcludesWhatOnlyTheEntryKnows) {
    Rule label = rule(Chain::Filter, Action::Drop);
    label.match.conn.label = 65;
    label.match.conn.not_label = true;
    Rule expires = rule(Chain::Filter, Action::Drop);
    expires.match.conn.expires_first = 10;
    expires.match.conn.expires_last = 20;
    expires.match.conn.not_expires = true;
    Rule helper = rule(Chain::Filter, Action::Drop);
    helper.match.conn.helper = 2;
    helper.match.conn.not_helper = true;
    ct::Packet p = source_translated(ct::Dir::Original);
    const auto drops = [&](const Rule& r, ct::ConnFacts facts) {
        return RuleSet({r}, 1).filter(0, p, &facts).action == Action::Drop;
    };

    EXPECT_FALSE(drops(label, {.labels = {0, 2}, .expires_s = 0, .helper = 0}));
    EXPECT_TRUE(drops(label, {.labels = {2, 1}, .expires_s = 0, .helper = 0}));
    EXPECT_FALSE(drops(expires, {.labels = {}, .expires_s = 20, .helper = 0}));
    EXPECT_TRUE(drops(expires, {.labels = {}, .expires_s = 21, .helper = 0}));
    EXPECT_FALSE(drops(helper, {.labels = {}, .expires_s = 0, .helper = 2}));
    EXPECT_TRUE(drops(helper, {.labels = {}, .expires_s = 0, .helper = 1}));
    for (const Rule& r : {label, expires, helper})
        EXPECT_EQ(RuleSet({r}, 1).filter(0, p).action, Action::Accept) << "nothing is known";
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

// ---- What the chains see of a connection with NAT: filter stands between DNAT and SNAT.

/// 192.168.1.10:40000 > 203.0.113.1:8080, in truth 10.0.0.5:80, which sees 10.0.0.1:5000.
ct::Packet translated(Dir dir) {
    ct::Packet p = packet();
    p.conn = {0, 1};
    p.original = p.tuple;
    p.original.src = test::addr("192.168.1.10");
    p.original.dst = test::addr("203.0.113.1");
    p.original.sport = ct::Be16::from_host(40000);
    p.original.dport = ct::Be16::from_host(8080);
    p.reply = ct::reply_of(p.original);
    p.reply.src = test::addr("10.0.0.5");
    p.reply.dst = test::addr("10.0.0.1");
    p.reply.sport = ct::Be16::from_host(80);
    p.reply.dport = ct::Be16::from_host(5000);
    p.dir = dir;
    p.tuple = dir == Dir::Original ? p.original : p.reply;
    p.status = ct::status::kNatMask;
    p.state = CtState::Established;
    return p;
}

TEST(ForwardView, ShowsTheTrueEndpointsInBothDirections) {
    const nat::PacketView original = nat::forward_view(translated(Dir::Original));
    const nat::PacketView reply = nat::forward_view(translated(Dir::Reply));

    EXPECT_EQ(original.src, test::addr("192.168.1.10"));
    EXPECT_EQ(original.sport, 40000);
    EXPECT_EQ(original.dst, test::addr("10.0.0.5"));
    EXPECT_EQ(original.dport, 80);
    EXPECT_EQ(reply.src, original.dst);
    EXPECT_EQ(reply.sport, original.dport);
    EXPECT_EQ(reply.dst, original.src);
    EXPECT_EQ(reply.dport, original.sport);
}

TEST(ForwardView, ShowsAnErrorsSenderAsItIs) {
    ct::Packet p = translated(Dir::Reply);
    p.icmp_error = true;
    p.tuple.proto = ct::ipproto::kIcmp;
    p.tuple.src = test::addr("10.0.0.254");

    const nat::PacketView v = nat::forward_view(p);

    EXPECT_EQ(v.src, test::addr("10.0.0.254"));
    EXPECT_EQ(v.dst, test::addr("192.168.1.10"));
    EXPECT_EQ(v.proto, ct::ipproto::kIcmp);
    EXPECT_EQ(v.sport, 0);
}

TEST(ForwardView, ShowsWhatIsOnTheWireWithoutAConnection) {
    const nat::PacketView v = nat::forward_view(packet());

    EXPECT_EQ(v.src, test::addr("192.0.2.1"));
    EXPECT_EQ(v.dport, 80);
}

TEST(ForwardView, ShowsAnIcmpQueryWithoutPorts) {
    ct::Packet p = translated(Dir::Original);
    p.tuple.proto = p.original.proto = p.reply.proto = ct::ipproto::kIcmp;

    EXPECT_EQ(nat::forward_view(p).dport, 0);
}

// iptables -m conntrack --ctstate DNAT matches the first packet too.
TEST(ForwardView, ShowsTheTranslationThatTheFirstPacketWasGiven) {
    ct::Packet p = translated(Dir::Original);
    p.opened = true;
    p.status = 0;
    p.reply = ct::reply_of(p.original);
    EXPECT_EQ(nat::forward_view(p).status, 0);

    p.reply.sport = ct::Be16::from_host(80);
    EXPECT_EQ(nat::forward_view(p).status, ct::status::kDstNat);

    p.reply = ct::reply_of(p.original);
    p.reply.dport = ct::Be16::from_host(80);
    EXPECT_EQ(nat::forward_view(p).status, ct::status::kSrcNat);
}

// ---- NAT rules.

TEST(RuleSet, AcceptInTheNatChainExemptsFromBothKinds) {
    Rule exempt = rule(Chain::Nat, Action::Accept);
    exempt.match.src = prefix("192.0.2.0/24");
    const RuleSet rules{{exempt, test::masquerade(),
                         test::dnat("198.51.100.7", 6, {80, 80}, test::target("10.0.0.1"))},
                        1};
    ct::Packet inside = packet();
    inside.in_port = 1;
    ct::Packet outside = inside;
    outside.tuple.src = test::addr("203.0.113.200");

    EXPECT_EQ(rules.match_snat(0, inside), nullptr);
    EXPECT_EQ(rules.match_dnat(0, inside), nullptr);
    EXPECT_EQ(rules.match_snat(0, outside), &rules.rules()[1]);
    EXPECT_EQ(rules.match_dnat(0, outside), &rules.rules()[2]);
    EXPECT_EQ(rules.hits(0).packets, 2U);
}

TEST(RuleSet, ATargetOfTheOtherFamilyDoesNotMatch) {
    Rule six = test::snat(test::target("2001:db8::1"));
    Rule four = test::snat(test::target("203.0.113.1"));
    const RuleSet rules{{six, four}, 1};

    EXPECT_EQ(rules.match_snat(0, packet()), &rules.rules()[1]);
}

TEST(RuleSet, PeekingCountsNothing) {
    const RuleSet rules{{test::masquerade()}, 1};

    EXPECT_EQ(rules.peek_snat(packet()), &rules.rules()[0]);
    EXPECT_EQ(rules.hits(0).packets, 0U);
}

// ---- INVALID packets must not show inner addresses (kubernetes#74839).

ct::Packet invalid_packet(const char* src, std::uint16_t sport, ct::PortId in, ct::PortId out) {
    ct::Packet p = packet();
    p.state = CtState::Invalid;
    p.tuple.src = test::addr(src);
    p.tuple.sport = ct::Be16::from_host(sport);
    p.in_port = in;
    p.out_port = out;
    return p;
}

TEST(RuleSet, AnInvalidPacketThatWouldBeTranslatedMustNotLeave) {
    Rule exempt = rule(Chain::Nat, Action::Accept);
    exempt.match.src = prefix("192.168.9.0/24");
    Rule new_ones = test::masquerade();
    new_ones.match.states = bit(CtState::New);
    const RuleSet rules{{exempt, new_ones}, 1};

    EXPECT_TRUE(rules.must_not_leave(invalid_packet("192.168.1.10", 1, 0, 1)));
    EXPECT_FALSE(rules.must_not_leave(invalid_packet("192.168.9.10", 1, 0, 1)));  // exempt
    EXPECT_FALSE(rules.must_not_leave(invalid_packet("198.51.100.7", 1, 1, 0)));  // comes in
    EXPECT_FALSE(rules.must_not_leave(invalid_packet("192.168.1.10", 1, 0, ct::kNoPort)));
    ct::Packet valid = invalid_packet("192.168.1.10", 1, 0, 1);
    valid.state = CtState::Established;
    EXPECT_FALSE(rules.must_not_leave(valid));
    valid.state = CtState::Untracked;
    EXPECT_FALSE(rules.must_not_leave(valid));
}

// Policy untracked lets a packet go on without a connection: the same holds for it, and before
// routing for what comes in.
TEST(RuleSet, APacketUntrackedForWantOfRoomMustNotLeaveUntranslated) {
    const RuleSet rules{{test::masquerade(), test::dnat("203.0.113.1", 6, {8080, 8080},
                                                        test::target("192.168.1.10", {80, 80}))},
                        1};
    ct::Packet out = invalid_packet("192.168.1.10", 1, 0, 1);
    out.state = CtState::Untracked;
    EXPECT_FALSE(rules.must_not_leave(out)) << "untracked by a rule";
    out.no_room = true;
    EXPECT_TRUE(rules.must_not_leave(out));
    out.out_port = 2;
    EXPECT_FALSE(rules.must_not_leave(out));

    ct::Packet in = packet();
    in.in_port = 1;
    in.state = CtState::Untracked;
    in.tuple.dst = test::addr("203.0.113.1");
    in.tuple.dport = ct::Be16::from_host(8080);
    EXPECT_EQ(rules.peek_dnat(in), &rules.rules()[1]);
    in.tuple.dport = ct::Be16::from_host(8081);
    EXPECT_EQ(rules.peek_dnat(in), nullptr);
    EXPECT_EQ(rules.hits(0).packets + rules.hits(1).packets, 0U);
}

TEST(RuleSet, AnInvalidAnswerOfAForwardedServiceMustNotLeave) {
    const RuleSet rules{{test::dnat("203.0.113.1", 6, {8080, 8080},
                                    test::target("192.168.1.10-192.168.1.12", {80, 80}))},
                        1};

    EXPECT_TRUE(rules.must_not_leave(invalid_packet("192.168.1.10", 80, 0, 1)));
    EXPECT_TRUE(rules.must_not_leave(invalid_packet("192.168.1.12", 80, 0, 1)));
    EXPECT_FALSE(rules.must_not_leave(invalid_packet("192.168.1.13", 80, 0, 1)));
    EXPECT_FALSE(rules.must_not_leave(invalid_packet("192.168.1.10", 81, 0, 1)));
    EXPECT_FALSE(rules.must_not_leave(invalid_packet("192.168.1.10", 80, 0, 2)));
}

TEST(RuleSet, AnInvalidPacketOfATranslatedConnectionMustNotLeave) {
    ct::Packet p = invalid_packet("192.168.1.10", 80, 0, 1);
    p.status = ct::status::kSrcNat;

    EXPECT_TRUE(RuleSet({}, 1).must_not_leave(p));
}

TEST(RuleSet, PeeksAtItsChainsWithoutCounting) {
    Rule skip = rule(Chain::Raw, Action::Notrack);
    skip.match.dport = {53, 53};
    skip.match.proto = ct::ipproto::kUdp;
    Rule mark = rule(Chain::Filter, Action::Mark);
    mark.value = 7;
    Rule web = rule(Chain::Filter, Action::Reject);
    web.match.mark = 7;
    web.match.mark_mask = 0xff;
    const RuleSet rules{{skip, mark, web}, 1};
    ct::Packet p = packet();
    ct::ConnFacts facts;
    std::vector<std::size_t> raw_hits;
    std::vector<std::size_t> hits;

    EXPECT_FALSE(rules.peek_raw(p, raw_hits).notrack);
    EXPECT_EQ(rules.peek_filter(p, facts, 0, hits).action, Action::Reject);

    EXPECT_TRUE(raw_hits.empty());
    EXPECT_EQ(hits, (std::vector<std::size_t>{1, 2}));
    for (std::size_t i = 0; i <= rules.rules().size(); ++i) EXPECT_EQ(rules.hits(i).packets, 0U);
    ct::Packet counted = packet();
    EXPECT_EQ(rules.filter(0, counted, &facts).action, Action::Reject) << "the same, and counted";
    EXPECT_EQ(rules.hits(2).packets, 1U);
}

}  // namespace
