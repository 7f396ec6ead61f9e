// SPDX-License-Identifier: BSD-3-Clause
#include "nat/check.hpp"

#include "tests/nat/nat_box.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace {

using ct::CtState;
using nat::Action;
using nat::Chain;
using nat::Match;
using nat::Rule;
using test::prefix;
using test::rule;

using Change = std::function<void(Match&)>;

Rule filter(
    Action action, const Change& change = [](Match&) {}) {
    Rule r = rule(Chain::Filter, action);
    change(r.match);
    return r;
}

std::uint8_t states(std::initializer_list<CtState> list) {
    unsigned out = 0;
    for (const CtState s : list) out |= 1U << unsigned(s);
    return static_cast<std::uint8_t>(out);
}

/// By which earlier rule the last of `rules` is covered; none if it is not.
std::optional<std::size_t> coverer_of_last(const std::vector<Rule>& rules) {
    for (const nat::DeadRule& d : nat::dead_rules(rules))
        if (d.index == rules.size() - 1) return d.by;
    return std::nullopt;
}

struct CoverCase {
    const char* name;
    Change wide;
    Change narrow;
};

// Each `wide` admits all that `narrow` does, and not the other way round.
const CoverCase kCovers[] = {
    {"any", [](Match&) {}, [](Match& m) { m.proto = 6; }},
    {"in port", [](Match&) {}, [](Match& m) { m.in_port = 1; }},
    {"out port", [](Match&) {}, [](Match& m) { m.out_port = 1; }},
    {"prefix", [](Match& m) { m.src = prefix("10.0.0.0/8"); },
     [](Match& m) { m.src = prefix("10.1.0.0/16"); }},
    {"prefix of all", [](Match& m) { m.dst = prefix("0.0.0.0/0"); },
     [](Match& m) { m.dst = prefix("10.1.0.0/16"); }},
    {"prefix and family", [](Match& m) { m.family = ct::Family::Ipv6; },
     [](Match& m) { m.src = prefix("2001:db8::/32"); }},
    {"excluded prefix",
     [](Match& m) {
         m.src = prefix("10.1.0.0/16");
         m.not_src = true;
     },
     [](Match& m) {
         m.src = prefix("10.0.0.0/8");
         m.not_src = true;
     }},
    {"fuller table", [](Match& m) { m.table_above = 50; }, [](Match& m) { m.table_above = 51; }},
    {"disjoint from the excluded",
     [](Match& m) {
         m.dst = prefix("10.0.0.0/8");
         m.not_dst = true;
     },
     [](Match& m) { m.dst = prefix("192.0.2.0/24"); }},
    {"ports",
     [](Match& m) {
         m.dport = {80, 90};
     },
     [](Match& m) {
         m.dport = {81, 89};
     }},
    {"source ports",
     [](Match& m) {
         m.sport = {1024, 65535};
     },
     [](Match& m) {
         m.sport = {2000, 2000};
     }},
    {"states",
     [](Match& m) {
         m.states = states({CtState::New, CtState::Related});
     },
     [](Match& m) { m.states = states({CtState::New}); }},
    {"a state or a translation",
     [](Match& m) {
         m.states = states({CtState::New});
         m.state_nat = ct::status::kNatMask;
     },
     [](Match& m) {
         m.states = states({CtState::New});
         m.state_nat = ct::status::kDstNat;
     }},
    {"neither a state nor a translation",
     [](Match& m) {
         m.state_nat = ct::status::kDstNat;
         m.not_states = true;
     },
     [](Match& m) {
         m.states = states({CtState::Invalid});
         m.state_nat = ct::status::kDstNat;
         m.not_states = true;
     }},
    {"status", [](Match& m) { m.status_any = 3; }, [](Match& m) { m.status_any = 1; }},
    {"no status", [](Match& m) { m.status_none = 4; }, [](Match& m) { m.status_none = 12; }},
    {"excluded port", [](Match& m) { m.not_in_port = 1; }, [](Match& m) { m.in_port = 2; }},
    {"excluded outer port", [](Match&) {}, [](Match& m) { m.not_out_port = 1; }},
    {"excluded protocol", [](Match& m) { m.not_proto = 17; }, [](Match& m) { m.proto = 6; }},
    {"excluded mark", [](Match&) {}, [](Match& m) { m.not_mark_mask = 1; }},
    {"zone", [](Match&) {}, [](Match& m) { m.zone = 1; }},
    {"mark",
     [](Match& m) {
         m.mark = 0x10;
         m.mark_mask = 0xf0;
     },
     [](Match& m) {
         m.mark = 0x12;
         m.mark_mask = 0xff;
     }},
};

TEST(DeadRules, AWideRuleHidesANarrowOneAndNotTheOtherWayRound) {
    for (const CoverCase& c : kCovers) {
        const Rule wide = filter(Action::Accept, c.wide);
        const Rule narrow = filter(Action::Drop, c.narrow);

        EXPECT_EQ(coverer_of_last({wide, narrow}), 0U) << c.name;
        EXPECT_EQ(coverer_of_last({narrow, wide}), std::nullopt) << c.name;
        EXPECT_EQ(coverer_of_last({wide, wide}), 0U) << c.name;
    }
}

TEST(DeadRules, UnrelatedConditionsDoNotHideOneAnother) {
    // A protocol lies outside of another, and a state within one or a translation.
    const auto related = [](const CoverCase& a, const CoverCase& b) {
        const std::string both = std::string{a.name} + ", " + b.name;
        return std::string{a.name} == b.name || both == "any, excluded protocol" ||
               both == "excluded protocol, any" || both == "a state or a translation, states";
    };
    for (const CoverCase& a : kCovers)
        for (const CoverCase& b : kCovers) {
            if (related(a, b)) continue;
            const Rule one = filter(Action::Accept, a.narrow);
            const Rule two = filter(Action::Drop, b.narrow);
            // Two prefixes may lie in one another, and nothing else may.
            const bool both_addresses = one.match.src.family != ct::Family::None ||
                                        one.match.dst.family != ct::Family::None;
            if (both_addresses) continue;
            EXPECT_EQ(coverer_of_last({one, two}), std::nullopt) << a.name << ", " << b.name;
        }
}

TEST(DeadRules, AnExcludedPrefixHidesOnlyWhatLiesWhollyOutsideOfIt) {
    const Rule all_but = filter(Action::Accept, [](Match& m) {
        m.src = prefix("10.0.0.0/8");
        m.not_src = true;
    });
    for (const char* overlapping : {"10.1.0.0/16", "10.0.0.0/8", "0.0.0.0/1"}) {
        const Rule r =
            filter(Action::Drop, [overlapping](Match& m) { m.src = prefix(overlapping); });
        EXPECT_EQ(coverer_of_last({all_but, r}), std::nullopt) << overlapping;
    }
}

TEST(DeadRules, NamesTheFirstRuleThatCovers) {
    const std::vector<Rule> rules{filter(Action::Accept, [](Match& m) { m.proto = 17; }),
                                  filter(Action::Accept, [](Match& m) { m.proto = 6; }),
                                  filter(Action::Accept), filter(Action::Drop, [](Match& m) {
                                      m.proto = 6;
                                      m.dport = {22, 22};
                                  })};

    EXPECT_EQ(coverer_of_last(rules), 1U);
}

TEST(DeadRules, MarkHidesNothingAsItGoesOn) {
    EXPECT_EQ(coverer_of_last({filter(Action::Mark), filter(Action::Drop)}), std::nullopt);
}

TEST(DeadRules, ARuleOnAMarkHidesNothingBehindARuleThatSetsOne) {
    const Change marked = [](Match& m) {
        m.mark = 1;
        m.mark_mask = 1;
    };

    EXPECT_EQ(coverer_of_last({filter(Action::Accept, marked), filter(Action::Drop, marked)}), 0U);
    EXPECT_EQ(coverer_of_last({filter(Action::Accept, marked), filter(Action::Mark),
                               filter(Action::Drop, marked)}),
              std::nullopt);
}

TEST(DeadRules, ChainsDoNotHideOneAnother) {
    EXPECT_EQ(coverer_of_last({rule(Chain::Raw, Action::Accept), filter(Action::Drop)}),
              std::nullopt);
}

TEST(DeadRules, SourceAndDestinationRulesDoNotHideOneAnother) {
    Rule snat = test::snat(test::target("203.0.113.1"));
    snat.match = {};
    Rule dnat = test::dnat("198.51.100.7", 6, {80, 80}, test::target("10.0.0.1"));
    const Rule exempt = rule(Chain::Nat, Action::Accept);

    EXPECT_EQ(coverer_of_last({snat, dnat}), std::nullopt);
    EXPECT_EQ(coverer_of_last({snat, exempt}), std::nullopt);  // it may still exempt from DNAT
    EXPECT_EQ(coverer_of_last({exempt, dnat}), 0U);
    EXPECT_EQ(coverer_of_last({exempt, snat}), 0U);
    EXPECT_EQ(coverer_of_last({snat, test::masquerade()}), std::nullopt);  // IPv6 comes through
    EXPECT_EQ(coverer_of_last({test::masquerade(), test::masquerade()}), 0U);
}

TEST(DeadRules, ARuleThatContradictsItselfHidesNothing) {
    const Rule impossible = filter(Action::Accept, [](Match& m) { m.not_src = true; });

    EXPECT_EQ(coverer_of_last({impossible, filter(Action::Drop)}), std::nullopt);
}

struct Contradiction {
    const char* why;
    Chain chain;
    Action action;
    Change change;
};

TEST(DeadRules, SaysWhyARuleContradictsItself) {
    const Contradiction cases[] = {
        {"it asks for IPv4 and IPv6 at once", Chain::Filter, Action::Drop,
         [](Match& m) {
             m.src = prefix("192.0.2.0/24");
             m.dst = prefix("2001:db8::/32");
         }},
        {"it asks for IPv4 and IPv6 at once", Chain::Filter, Action::Drop,
         [](Match& m) {
             m.family = ct::Family::Ipv6;
             m.dst = prefix("192.0.2.0/24");
         }},
        {"its target is of another family than its match", Chain::Nat, Action::Snat,
         [](Match& m) { m.dst = prefix("2001:db8::/32"); }},
        {"it excludes every address", Chain::Filter, Action::Drop,
         [](Match& m) { m.not_dst = true; }},
        {"it excludes every source", Chain::Filter, Action::Drop,
         [](Match& m) {
             m.src = prefix("0.0.0.0/0");
             m.not_src = true;
         }},
        {"its range of destination ports is empty", Chain::Filter, Action::Drop,
         [](Match& m) {
             m.dport = {90, 80};
         }},
        {"it asks for ports of a protocol that has none", Chain::Filter, Action::Drop,
         [](Match& m) {
             m.proto = 1;
             m.dport = {80, 80};
         }},
        {"its mark has bits outside of its mask", Chain::Filter, Action::Drop,
         [](Match& m) {
             m.mark = 3;
             m.mark_mask = 1;
         }},
        {"there is no such zone", Chain::Filter, Action::Drop, [](Match& m) { m.zone = 65536; }},
        {"there is no such IP protocol", Chain::Filter, Action::Drop,
         [](Match& m) { m.proto = 256; }},
        {"the raw chain is asked before routing", Chain::Raw, Action::Notrack,
         [](Match& m) { m.out_port = 1; }},
        {"the raw chain is asked before the packet has a connection", Chain::Raw, Action::Notrack,
         [](Match& m) { m.states = 2; }},
        {"the nat chain sees only the first packet of a connection", Chain::Nat, Action::Masquerade,
         [](Match& m) { m.states = states({CtState::Established}); }},
        {"the destination is translated before routing", Chain::Nat, Action::Redirect,
         [](Match& m) { m.out_port = 1; }},
    };
    for (const Contradiction& c : cases) {
        Rule r = rule(c.chain, c.action);
        if (c.action == Action::Snat) r.target = test::target("203.0.113.1");
        c.change(r.match);

        const std::vector<nat::DeadRule> dead = nat::dead_rules(std::vector{r});

        ASSERT_EQ(dead.size(), 1U) << c.why;
        EXPECT_EQ(dead[0].why, c.why);
        EXPECT_EQ(dead[0].by, std::nullopt);
    }
}

TEST(DeadRules, AWorkingConfigurationHasNone) {
    const std::vector<Rule> rules{
        rule(Chain::Raw, Action::Notrack,
             [] {
                 Match m;
                 m.src = prefix("192.0.2.0/24");
                 return m;
             }()),
        filter(Action::Accept, [](Match& m) { m.states = states({CtState::Established}); }),
        filter(Action::Drop, [](Match& m) { m.states = states({CtState::Invalid}); }),
        filter(Action::Accept, [](Match& m) { m.in_port = 0; }),
        filter(Action::Reject),
        test::masquerade(),
        test::dnat("203.0.113.1", 6, {80, 80}, test::target("10.0.0.1")),
        test::dnat("203.0.113.1", 6, {443, 443}, test::target("10.0.0.1")),
    };

    EXPECT_TRUE(nat::dead_rules(rules).empty());
}

// What a rule asks of the connection counts as a whole: equal demands cover one another, and a rule
// in between that marks or labels makes them say nothing.
TEST(DeadRules, CompareWhatIsAskedOfTheConnection) {
    Rule first;
    first.action = Action::Drop;
    first.match.conn.label = 3;
    Rule second = first;
    Rule other = first;
    other.match.conn.label = 4;
    Rule set;
    set.action = Action::Label;
    set.value = 3;

    EXPECT_EQ(dead_rules(std::vector<Rule>{first, second}).size(), 1U);
    EXPECT_TRUE(dead_rules(std::vector<Rule>{first, other}).empty());
    EXPECT_TRUE(dead_rules(std::vector<Rule>{first, set, second}).empty());
}

TEST(DeadRules, SeeWhatTheConnectionCannotBeAsked) {
    Rule raw;
    raw.chain = Chain::Raw;
    raw.action = Action::Drop;
    raw.match.conn.dir = 1;
    Rule nat;
    nat.chain = Chain::Nat;
    nat.match.conn.label = 3;
    Rule expiry;
    expiry.match.conn.expires_first = 2;
    expiry.match.conn.expires_last = 1;
    Rule no_expiry;
    no_expiry.match.conn.not_expires = true;
    Rule no_address;
    no_address.match.conn.orig_src = prefix("0.0.0.0/0");
    no_address.match.conn.not_orig_src = true;
    Rule no_port;
    no_port.match.conn.not_reply_dport = true;
    Rule no_mark;
    no_mark.match.conn.not_packet_mark = true;
    Rule no_state;
    no_state.match.states = nat::kAllStates;
    no_state.match.state_nat = ct::status::kDstNat;
    no_state.match.not_states = true;
    Rule without;
    without.match.states = states({CtState::Invalid, CtState::Untracked});
    without.match.mark_mask = 1;
    for (const Rule& r :
         {raw, nat, expiry, no_expiry, no_address, no_port, no_mark, no_state, without})
        EXPECT_EQ(dead_rules(std::vector<Rule>{r}).size(), 1U);
    raw.match.conn = {};
    raw.match.conn.packet_mark_mask = 1;
    EXPECT_TRUE(dead_rules(std::vector<Rule>{raw}).empty()) << "packets have marks from the start";
}

TEST(Malformed, SaysWhatIsWrongWithARulesForm) {
    struct Case {
        const char* why;
        std::function<void(Rule&)> change;
    };
    const Case cases[] = {
        {"", [](Rule&) {}},
        {"the action has no meaning in this chain", [](Rule& r) { r.chain = Chain::Filter; }},
        {"a prefix is longer than its address",
         [](Rule& r) {
             r.match.src = prefix("192.0.2.0/24");
             r.match.src.length = 33;
         }},
        {"its range of addresses is empty",
         [](Rule& r) { r.target = test::target("203.0.113.9-203.0.113.8"); }},
        {"its range of ports is empty",
         [](Rule& r) {
             r.target.ports = {2, 1};
         }},
        {"port 0 cannot be translated to",
         [](Rule& r) {
             r.target.ports = {0, 1};
         }},
        {"the action takes no address", [](Rule& r) { r.action = Action::Masquerade; }},
        {"it has no address to translate to", [](Rule& r) { r.target = {}; }},
        {"",
         [](Rule& r) {
             r.target = test::target("203.0.113.0-203.0.113.63");
             r.target.netmap = true;
         }},
        {"its addresses are no prefix",
         [](Rule& r) {
             r.target = test::target("203.0.113.1-203.0.113.64");
             r.target.netmap = true;
         }},
        {"only snat and dnat map prefixes",
         [](Rule& r) {
             r.action = Action::Masquerade;
             r.target = {};
             r.target.netmap = true;
         }},
        {"it has no ports to shift to", [](Rule& r) { r.target.port_base = 5; }},
        {"its ports are shifted and random at once",
         [](Rule& r) {
             r.target.ports = {5, 9};
             r.target.port_base = 5;
             r.target.random = true;
         }},
        {"only dnat can be a hairpin", [](Rule& r) { r.hairpin = true; }},
        {"a hairpin needs the destination that it stands for",
         [](Rule& r) {
             r.action = Action::Dnat;
             r.hairpin = true;
         }},
        {"there is no such zone",
         [](Rule& r) {
             r = rule(Chain::Raw, Action::Zone);
             r.value = 65536;
         }},
    };
    for (const Case& c : cases) {
        Rule r = test::snat(test::target("203.0.113.1"));
        c.change(r);
        EXPECT_EQ(nat::malformed(r), c.why);
    }
}

}  // namespace
