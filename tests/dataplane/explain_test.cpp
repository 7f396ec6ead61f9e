// SPDX-License-Identifier: BSD-3-Clause
//
// What `sluicectl explain` is told: the stages of a flow's next packets. That it comes to what
// really happens to packets is tests/e2e's to show.
#include "dataplane/explain.hpp"

#include "dataplane/control/flow_notation.hpp"
#include "eal.hpp"
#include "tests/ct/packets.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace {

using ct::Drop;
using dp::Step;
using dp::Story;

constexpr ct::Nanos kNow = 1000 * ct::kNanosPerSecond;

constexpr const char* kNetwork = R"(
[[port]]
name = "lan"
device = "net_null0"
addresses = ["192.0.2.1/24"]

[[port]]
name = "wan"
device = "net_null1"
addresses = ["198.51.100.1/24"]

[[route]]
to = "203.0.113.0/24"
via = "198.51.100.254"

[[neighbour]]
address = "198.51.100.254"
mac = "02:bb:00:00:00:fe"
port = "wan"
)";

constexpr const char* kRules = R"(
[filter]
policy = "drop"

[[rule]]
name = "web"
chain = "filter"
action = "accept"
proto = "tcp"
dport = 80
in = "lan"

[[rule]]
name = "out"
chain = "nat"
action = "masquerade"
out = "wan"

[[rule]]
name = "server"
chain = "nat"
action = "dnat"
proto = "tcp"
dst = "198.51.100.1"
dport = 8080
to = "192.0.2.7:80"
)";

/// A daemon's tables without its workers.
class Explain : public testing::Test {
protected:
    void set_up(const std::string& text) {
        nat_.reset();
        config_ = dp::parse_config(text, "test.toml");
        table_ = std::make_unique<ct::Conntrack>(config_.conntrack, 1, 1, features_of(config_));
        rules_ =
            std::make_unique<nat::RuleSet>(config_.rules, 1, config_.filter_policy, config_.zones);
        forward_ = std::make_unique<dp::Forward>(
            config_, std::vector<dp::PortLink>(config_.ports.size()),
            std::vector<rte_mempool*>{pool_.get()}, std::span{counters_});
        nat_ = std::make_unique<nat::Setup>(*rules_, *table_, dp::AddressBook{config_}.for_nat());
    }
    Story explain(const char* flow, const char* in = "") {
        const dp::Outlook at{config_, *table_, *rules_, *forward_, *nat_};
        return explain_flow(at, whole_tuple(dp::parse_flow_pattern(flow)), config_.find_port(in),
                            kNow);
    }
    void open(const char* flow) {
        ct::Packet p = ct::test::syn(whole_tuple(dp::parse_flow_pattern(flow)));
        ASSERT_TRUE(ct::test::track(*table_, 0, p, kNow));
    }

    test::Pool pool_;
    std::vector<dp::WorkerCounters> counters_ = std::vector<dp::WorkerCounters>(1);
    dp::Config config_;
    std::unique_ptr<ct::Conntrack> table_;
    std::unique_ptr<nat::RuleSet> rules_;
    std::unique_ptr<dp::Forward> forward_;
    std::unique_ptr<nat::Setup> nat_;
};

/// The step of that stage, the `skip`th if there are more.
const Step& step(const Story& story, std::string_view stage, int skip = 0) {
    for (const Step& s : story.steps)
        if (s.stage == stage && skip-- == 0) return s;
    throw std::runtime_error{"no stage " + std::string{stage} + " in\n" + to_text(story)};
}

TEST_F(Explain, AFirstPacketThatMayPass) {
    set_up(std::string{kNetwork} + kRules);

    const Story s = explain("tcp 192.0.2.9:4000 > 203.0.113.5:80");

    EXPECT_EQ(s.head.at("exists"), false);
    EXPECT_EQ(s.head.at("verdict"), "accept") << to_text(s);
    EXPECT_EQ(step(s, "in").facts.at("port"), "lan");
    EXPECT_EQ(step(s, "track").facts.at("state").at("after"), "SYN_SENT");
    EXPECT_EQ(step(s, "route").facts.at("gateway"), "198.51.100.254");
    EXPECT_EQ(step(s, "filter").facts.at("rules").at(0).at("name"), "web");
    EXPECT_EQ(step(s, "snat").facts.at("rule").at("name"), "out");
    EXPECT_EQ(step(s, "snat").facts.at("target").at("first"), "198.51.100.1");
    EXPECT_EQ(step(s, "snat").facts.at("port_free"), true);
    EXPECT_EQ(step(s, "room").result, "free");
    EXPECT_EQ(step(s, "neighbour").facts.at("mac"), "02:bb:00:00:00:fe");
}

TEST_F(Explain, AFirstPacketThatARuleDrops) {
    set_up(std::string{kNetwork} + kRules);

    const Story by_port = explain("tcp 192.0.2.9:4000 > 203.0.113.5:22");
    const Story from_outside = explain("tcp 203.0.113.5:4000 > 192.0.2.9:80", "wan");

    for (const Story* s : {&by_port, &from_outside}) {
        EXPECT_EQ(s->head.at("verdict"), "drop");
        EXPECT_EQ(s->head.at("reason"), "rule_drop");
        EXPECT_EQ(step(*s, "filter").facts.at("rules").back().at("policy"), "drop");
    }
}

TEST_F(Explain, ATranslatedDestination) {
    set_up(std::string{kNetwork} + kRules);

    const Story s = explain("tcp 203.0.113.5:4000 > 198.51.100.1:8080", "wan");

    EXPECT_EQ(step(s, "dnat").facts.at("destination").at("address"), "192.0.2.7");
    EXPECT_EQ(step(s, "dnat").facts.at("destination").at("port"), 80);
    EXPECT_EQ(step(s, "route").facts.at("out"), "lan");
}

TEST_F(Explain, WhoCallsAPortThatNoMappingHas) {
    constexpr const char* kIndependent = R"(
[[rule]]
chain = "nat"
action = "masquerade"
out = "wan"
mapping = "endpoint-independent"
)";
    set_up(std::string{kNetwork} + kIndependent);

    const Story s = explain("udp 203.0.113.5:4000 > 198.51.100.1:6000", "wan");

    EXPECT_EQ(s.head.at("reason"), "nat_filtered");
    EXPECT_EQ(step(s, "nat").result, "drop");
    EXPECT_EQ(explain("icmp 203.0.113.5 > 198.51.100.1", "wan").head.at("verdict"), "accept");
}

TEST_F(Explain, AMappingThatIsForEverybody) {
    const auto with_mapping = [this](const char* filtering) {
        set_up(std::string{kNetwork} +
               "[[rule]]\nname = \"out\"\nchain = \"nat\"\naction = \"masquerade\"\n"
               "out = \"wan\"\nmapping = \"endpoint-independent\"\nfiltering = \"" +
               filtering + "\"\n");
        const auto tuple = [](const char* flow) {
            return whole_tuple(dp::parse_flow_pattern(flow));
        };
        ASSERT_EQ(table_->insert({.original = tuple("udp 192.0.2.9:4000 > 203.0.113.5:53"),
                                  .reply = tuple("udp 203.0.113.5:53 > 198.51.100.1:6000"),
                                  .timeout_s = 100},
                                 kNow),
                  ct::Injected::Done);
    };
    constexpr const char* kStranger = "udp 203.0.113.6:4000 > 198.51.100.1:6000";

    with_mapping("endpoint-independent");
    const Story in = explain(kStranger, "wan");
    EXPECT_EQ(in.head.at("verdict"), "accept") << to_text(in);
    EXPECT_EQ(step(in, "dnat").facts.at("rule").at("name"), "out");
    EXPECT_EQ(step(in, "dnat").facts.at("destination").at("address"), "192.0.2.9");
    EXPECT_EQ(step(in, "dnat").facts.at("destination").at("port"), 4000);
    EXPECT_EQ(step(in, "route").facts.at("out"), "lan");

    const Story again = explain("udp 192.0.2.9:4000 > 203.0.113.6:53");
    EXPECT_EQ(step(again, "snat").facts.at("mapping").at("port"), 6000) << to_text(again);
    const Story other = explain("udp 192.0.2.9:4001 > 203.0.113.6:53");
    EXPECT_EQ(step(other, "snat").facts.count("mapping"), 0U) << to_text(other);

    const Story without_ports = explain("esp 192.0.2.9 > 203.0.113.6");
    EXPECT_EQ(step(without_ports, "snat").details.size(), 0U) << "it has no endpoint to be mapped";

    with_mapping("address-and-port-dependent");
    const Story refused = explain(kStranger, "wan");
    EXPECT_EQ(refused.head.at("reason"), "nat_filtered");
    EXPECT_EQ(step(refused, "dnat").result, "drop") << to_text(refused);
    const Story hairpin = explain("udp 192.0.2.8:4000 > 198.51.100.1:6000", "lan");
    EXPECT_EQ(hairpin.head.at("verdict"), "accept") << to_text(hairpin);
    EXPECT_EQ(step(hairpin, "dnat").facts.at("destination").at("address"), "192.0.2.9");
    EXPECT_EQ(step(hairpin, "snat").facts.at("target").at("first"), "198.51.100.1");
}

TEST_F(Explain, WhatATrackRuleSays) {
    set_up(std::string{kNetwork} +
           "[[rule]]\nchain = \"raw\"\naction = \"track\"\nliberal = \"reply\"\n");

    const Story s = explain("tcp 192.0.2.9:4000 > 203.0.113.5:80");

    ASSERT_EQ(step(s, "raw").details.size(), 1U) << to_text(s);
    EXPECT_NE(step(s, "raw").details[0].find("reply direction"), std::string::npos);
}

TEST_F(Explain, WhatGoesNowhereAndWhatIsSluicesOwn) {
    set_up(std::string{kNetwork} + "[[route]]\nto = \"10.1.0.0/16\"\nblackhole = true\n");

    EXPECT_EQ(explain("udp 192.0.2.9:4000 > 10.0.0.1:53").head.at("reason"), "no_route");
    EXPECT_EQ(explain("udp 192.0.2.9:4000 > 10.1.0.1:53").head.at("reason"), "no_route");
    EXPECT_EQ(step(explain("icmp 192.0.2.9 > 192.0.2.1"), "route").result, "local");
}

TEST_F(Explain, ANeighbourThatNobodyHasAskedFor) {
    set_up(kNetwork);

    EXPECT_EQ(step(explain("udp 192.0.2.9:4000 > 198.51.100.77:53"), "neighbour").result,
              "unknown");
}

TEST_F(Explain, WhatOpensNothing) {
    set_up(kNetwork);

    const Story s = explain("icmp 192.0.2.9 > 203.0.113.5 type 0");

    EXPECT_EQ(step(s, "track").result, "invalid");
    EXPECT_EQ(step(s, "track").facts.at("why"), "no_query");
}

TEST_F(Explain, AFullTable) {
    set_up("[conntrack]\nmax = 2\noverflow = \"drop\"\n" + std::string{kNetwork});
    open("tcp 192.0.2.9:1 > 203.0.113.5:80");
    open("tcp 192.0.2.9:2 > 203.0.113.5:80");

    const Story s = explain("tcp 192.0.2.9:3 > 203.0.113.5:80");

    EXPECT_EQ(s.head.at("reason"), "ct_table_full");
    EXPECT_EQ(step(s, "room").facts.at("entries"), 2);
    EXPECT_EQ(step(s, "room").facts.at("overflow"), "drop");
}

TEST_F(Explain, AConnectionWithWhatItsNextPacketsMeet) {
    set_up(std::string{kNetwork} + kRules);
    open("tcp 192.0.2.9:4000 > 203.0.113.5:80");

    const Story s = explain("tcp 192.0.2.9:4000 > 203.0.113.5:80");

    EXPECT_EQ(s.head.at("exists"), true);
    EXPECT_EQ(step(s, "lookup").facts.at("entry").at("state"), "SYN_SENT");
    EXPECT_EQ(step(s, "lookup").facts.at("windows").at("original").at("end"), 1001);
    EXPECT_EQ(step(s, "next", 0).result, "original");
    EXPECT_EQ(step(s, "next", 1).result, "reply");
    EXPECT_EQ(step(s, "track", 1).facts.at("why"), "state_ignores") << "an ACK before the SYN+ACK";
    // The answer is shown by either of its tuples.
    EXPECT_EQ(explain("tcp 203.0.113.5:80 > 192.0.2.9:4000").head.at("exists"), true);
}

TEST_F(Explain, ChangesNothing) {
    set_up(std::string{kNetwork} + kRules);
    open("tcp 192.0.2.9:4000 > 203.0.113.5:80");
    const auto before = table_->counters();

    for (int i = 0; i < 3; ++i) {
        static_cast<void>(explain("tcp 192.0.2.9:4000 > 203.0.113.5:80"));
        static_cast<void>(explain("tcp 192.0.2.9:4001 > 203.0.113.5:80"));
    }

    EXPECT_EQ(table_->count(), 1U);
    EXPECT_EQ(table_->counters().found, before.found);
    for (std::size_t i = 0; i <= rules_->rules().size(); ++i)
        EXPECT_EQ(rules_->hits(i).packets, 0U) << i;
    EXPECT_EQ(forward_->neighbours().list().size(), 1U);
}

// What goes to IPv4 is told in the addresses of either side.
TEST_F(Explain, AFirstPacketThatChangesItsFamily) {
    set_up(R"(
[[port]]
name = "lan"
device = "net_null0"
addresses = ["2001:db8:1::1/64"]

[[port]]
name = "wan"
device = "net_null1"
addresses = ["198.51.100.1/24"]

[[route]]
to = "0.0.0.0/0"
via = "198.51.100.254"

[[rule]]
name = "over"
chain = "nat"
action = "nat64"
prefix = "2001:db8:64::/96"
to = "198.51.100.9"
)");

    const Story s = explain("udp [2001:db8:1::9]:4000 > [2001:db8:64::cb00:7105]:53");
    const Story none = explain("udp [2001:db8:1::9]:4000 > [2001:db8:64::7f00:1]:53");

    EXPECT_EQ(s.head.at("verdict"), "accept") << to_text(s);
    EXPECT_EQ(step(s, "dnat").facts.at("destination").at("address"), "203.0.113.5");
    EXPECT_EQ(step(s, "route").facts.at("gateway"), "198.51.100.254");
    EXPECT_EQ(step(s, "snat").facts.at("target").at("first"), "198.51.100.9");
    EXPECT_EQ(step(s, "neighbour").facts.at("address"), "198.51.100.254");
    EXPECT_EQ(none.head.at("verdict"), "drop") << to_text(none);
    EXPECT_EQ(none.head.at("reason"), "nat_untranslatable");
}

}  // namespace
