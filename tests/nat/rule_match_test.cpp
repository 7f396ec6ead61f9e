// SPDX-License-Identifier: BSD-3-Clause
//
// What each condition of a rule is met by.
#include "ct/conn/status.hpp"
#include "nat/rule_set.hpp"
#include "tests/nat/rule_packets.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

namespace {

using ct::CtState;
using ct::Dir;
using ct::Family;
using nat::Action;
using nat::Chain;
using nat::ConnMatch;
using nat::Match;
using nat::Prefix;
using nat::Rule;
using nat::RuleSet;
using test::bit;
using test::packet;
using test::prefix;
using test::rule;
using test::source_translated;

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

}  // namespace
