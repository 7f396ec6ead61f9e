// SPDX-License-Identifier: BSD-3-Clause
//
// What [conntrack] says of scarce room: every key, its defaults, and what is wrong with it.
#include "tests/config/support.hpp"

#include <gtest/gtest.h>

namespace dp::test {
namespace {

ct::Settings conntrack(const std::string& keys) {
    return with_ports("[conntrack]\nmax = 1000\n" + keys).conntrack;
}

/// The one thing that is wrong with `keys`.
ConfigProblem mistake(const std::string& keys) {
    const auto all = mistakes(kTwoPorts + "[conntrack]\nmax = 1000\n" + keys);
    EXPECT_EQ(all.size(), 1U) << keys;
    return all.empty() ? ConfigProblem{} : all.front();
}

TEST(Overflow, IsOffUnlessAskedFor) {
    const ct::Settings s = with_ports("").conntrack;

    EXPECT_EQ(s.overflow, ct::Overflow::EmbryonicOldest);
    EXPECT_FALSE(s.room.never_delete_mappings);
    EXPECT_EQ(s.room.min_life, 0U);
    EXPECT_FALSE(s.room.adaptive.on());
    EXPECT_TRUE(s.room.reserve.empty());
    EXPECT_FALSE(s.room.per_source.on());
}

TEST(Overflow, TakesEveryPolicy) {
    using enum ct::Overflow;
    for (const auto& [name, policy] : {std::pair{"embryonic-oldest", EmbryonicOldest},
                                       {"linux", Linux},
                                       {"closing-first", ClosingFirst},
                                       {"drop", Drop},
                                       {"untracked", Untracked},
                                       {"reject", Reject}}) {
        const Config c = with_ports(std::string{"[conntrack]\noverflow = \""} + name + "\"\n");
        EXPECT_EQ(c.conntrack.overflow, policy);
        EXPECT_NE(describe(c).find(std::string{"overflow "} + name), std::string::npos);
    }
}

TEST(Overflow, TakesTheExceptionsToThePolicy) {
    const ct::Settings s = conntrack("never_delete_mappings = true\nmin_life = \"2m\"\n");

    EXPECT_TRUE(s.room.never_delete_mappings);
    EXPECT_EQ(s.room.min_life, 120U);
}

TEST(Overflow, AdaptiveHasTheDefaultsOfPf) {
    const ct::Settings both = conntrack("adaptive = { start = \"50%\", end = \"90%\" }\n");
    EXPECT_EQ(both.room.adaptive.start_percent, 50U);
    EXPECT_EQ(both.room.adaptive.end_percent, 90U);
    const ct::Settings neither = conntrack("adaptive = {}\n");
    EXPECT_EQ(neither.room.adaptive.start_percent, 60U);
    EXPECT_EQ(neither.room.adaptive.end_percent, 120U);
}

TEST(Overflow, ReservesNumbersAndShares) {
    const ct::Settings s = conntrack(R"(
reserve = [{ prefix = "192.0.2.0/24", entries = "5%" },
           { prefix = "2001:db8::/32", entries = 70 }]
)");

    ASSERT_EQ(s.room.reserve.size(), 2U);
    EXPECT_EQ(s.room.reserve[0].prefix, prefix("192.0.2.0/24"));
    EXPECT_EQ(s.room.reserve[0].entries, 50U);
    EXPECT_EQ(s.room.reserve[1].prefix, prefix("2001:db8::/32"));
    EXPECT_EQ(s.room.reserve[1].entries, 70U);
}

TEST(Overflow, LimitsSources) {
    const ct::PerSource q = conntrack(R"(
[conntrack.per_source]
max_entries = "2%"
new_per_second = 50
burst = 200
ipv4_prefix = 24
ipv6_prefix = 56
)")
                                .room.per_source;

    EXPECT_EQ(q.max_entries, 20U);
    EXPECT_EQ(q.new_per_second, 50U);
    EXPECT_EQ(q.burst, 200U);
    EXPECT_EQ(q.ipv4_prefix, 24);
    EXPECT_EQ(q.ipv6_prefix, 56);
    EXPECT_EQ(conntrack("per_source = { max_entries = 7 }\n").room.per_source.ipv4_prefix, 32);
    EXPECT_EQ(conntrack("per_source = { max_entries = 7 }\n").room.per_source.ipv6_prefix, 64);
}

// It is the default; a file may say so.
TEST(Overflow, LimitsNoSourceWhereItSaysOff) {
    EXPECT_FALSE(conntrack("per_source = \"off\"\n").room.per_source.on());
}

TEST(Overflow, IsTold) {
    const std::string told = describe(with_ports(R"([conntrack]
max = 1000
never_delete_mappings = true
min_life = 5
adaptive = {}
reserve = [{ prefix = "192.0.2.0/24", entries = "5%" }]
per_source = { max_entries = 9, new_per_second = 4 }
)"));

    EXPECT_NE(told.find("overflow embryonic-oldest, embryonic up to 75 %, mappings are never "
                        "deleted, min life 5 s, time-outs shrink from 60 % to 120 %, 50 reserved "
                        "for 192.0.2.0/24, each /32 or IPv6 /64 up to 9 entries opens up to 4 a "
                        "second and 4 at once\n"),
              std::string::npos)
        << told;
}

TEST(Overflow, MistakesAreToldWithTheirRemedy) {
    struct Case {
        const char* keys;
        const char* problem;
        const char* remedy;
    };
    const Case cases[] = {
        {"overflow = \"closing\"\n", "'overflow' is 'closing'", ""},
        {"min_life = \"2h\"\n", "'min_life' is '2h', which is out of bounds", ""},
        {"adaptive = { start = \"90%\", end = \"80%\" }\n",
         "time-outs shrink from 90% to 80%, which is no way down",
         "write an 'end' above the 'start'"},
        {"adaptive = { start = \"130%\" }\n", "'start' is '130%', which is no percentage that fits",
         "write one from \"0%\" to \"99%\""},
        {"adaptive = { end = 90 }\n", "'end' is '90', which is no percentage that fits",
         "write one from \"1%\" to \"1000%\""},
        {"adaptive = { from = \"1%\" }\n", "unknown key 'from' in [conntrack.adaptive]", ""},
        {"reserve = [{ prefix = \"192.0.2.0/24\" }]\n", "a reservation has no 'entries'",
         "say how many, like entries = \"5%\""},
        {"reserve = [{ entries = 5 }]\n", "a reservation has no 'prefix'",
         "say for whom, like prefix = \"192.0.2.0/24\""},
        {"reserve = [{ prefix = \"192.0.2.0/24\", entries = 2000 }]\n",
         "'entries' is '2000', which is no share of 1000 entries",
         "write a number from 1 to 1000, or a percentage like \"5%\""},
        {"reserve = [{ prefix = \"192.0.2.0/24\", entries = 600 }, "
         "{ prefix = \"192.0.3.0/24\", entries = 600 }]\n",
         "1200 of 1000 entries are reserved", "reserve less, or write a larger 'max'"},
        {"reserve = [{ prefix = \"192.0.2.0/24\", entries = 1 }, "
         "{ prefix = \"192.0.2.128/25\", entries = 1 }]\n",
         "192.0.2.128/25 overlaps 192.0.2.0/24, which has a reservation", "leave one out"},
        {"reserve = [{ prefix = \"192.0.2.1/24\", entries = 1 }]\n",
         "prefix '192.0.2.1/24' has bits set behind its length", ""},
        {"per_source = \"on\"\n", "'per_source' is 'on'",
         "write a table, [conntrack.per_source], or \"off\""},
        {"per_source = \"\"\n", "'per_source' is ''",
         "write a table, [conntrack.per_source], or \"off\""},
        {"per_source = false\n", "'per_source' is a boolean",
         "write a table, [conntrack.per_source], or \"off\""},
        {"per_source = 400\n", "'per_source' is an integer",
         "write a table, [conntrack.per_source], or \"off\""},
        {"per_source = [{ max_entries = 5 }]\n", "'per_source' is an array",
         "write a table, [conntrack.per_source], or \"off\""},
        {"per_source = { max_entries = \"off\" }\n",
         "'max_entries' is 'off', which is no share of 1000 entries", ""},
        {"per_source = {}\n", "[conntrack.per_source] limits nothing",
         "write 'max_entries', 'new_per_second' or both, or per_source = \"off\""},
        {"per_source = { max_entries = 5, burst = 5 }\n", "'burst' stands without 'new_per_second'",
         "say at which rate, like new_per_second = 100"},
        {"per_source = { new_per_second = 1, burst = 3601 }\n",
         "a burst of 3601 takes over an hour to earn", "write 3600 at most"},
        {"per_source = { new_per_second = 100001 }\n",
         "'new_per_second' is 100001, which is out of bounds", ""},
        {"per_source = { max_entries = 1, ipv4_prefix = 33 }\n",
         "'ipv4_prefix' is 33, which is out of bounds", ""},
    };
    for (const Case& c : cases) {
        const ConfigProblem p = mistake(c.keys);
        EXPECT_EQ(p.problem, c.problem);
        if (*c.remedy != '\0') {
            EXPECT_EQ(p.remedy, c.remedy);
        }
        EXPECT_GT(p.line, 0);
    }
}

TEST(Overflow, AtMostSixteenReservations) {
    std::string keys = "reserve = [";
    for (int n = 0; n < 17; ++n)
        keys += "{ prefix = \"192.0.2." + std::to_string(n) + "\", entries = 1 },";
    EXPECT_EQ(mistake(keys + "]\n").problem, "there are 17 reservations");
}

TEST(TableAbove, IsAConditionOfRawAndFilterRules) {
    EXPECT_EQ(
        rule("chain = \"filter\"\naction = \"drop\"\ntable_above = \"80%\"\n").match.table_above,
        80);
    EXPECT_EQ(
        rule("chain = \"raw\"\naction = \"notrack\"\ntable_above = \"95%\"\n").match.table_above,
        95);
    const auto nat = mistakes(kTwoPorts +
                              "[[rule]]\nchain = \"nat\"\nout = \"wan\"\naction = "
                              "\"masquerade\"\ntable_above = \"80%\"\n");
    ASSERT_EQ(nat.size(), 1U);
    EXPECT_EQ(nat[0].problem, "a connection's mapping must not depend on how full the table is");
    const auto full = mistakes(kTwoPorts +
                               "[[rule]]\nchain = \"filter\"\naction = \"drop\"\n"
                               "table_above = \"100%\"\n");
    ASSERT_EQ(full.size(), 1U);
    EXPECT_EQ(full[0].remedy, "write one from \"1%\" to \"99%\"");
}

TEST(TableAbove, ShadowsOnlyRulesThatAskForMore) {
    const std::string above = "[[rule]]\nchain = \"filter\"\naction = \"drop\"\ntable_above = ";
    EXPECT_TRUE(mistakes(kTwoPorts + above + "\"90%\"\n" + above + "\"80%\"\n").empty());
    EXPECT_EQ(mistakes(kTwoPorts + above + "\"80%\"\n" + above + "\"90%\"\n").size(), 1U);
    EXPECT_TRUE(
        mistakes(kTwoPorts + above + "\"80%\"\n[[rule]]\nchain = \"filter\"\naction = \"accept\"\n")
            .empty());
}

}  // namespace
}  // namespace dp::test
