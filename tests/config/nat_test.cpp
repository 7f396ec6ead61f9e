// SPDX-License-Identifier: BSD-3-Clause
//
// What a rule says of how its mappings behave: every key, its defaults, and what is wrong with it.
#include "nat/timers.hpp"
#include "tests/config/support.hpp"

#include <gtest/gtest.h>

namespace dp::test {
namespace {

constexpr const char* kSnat =
    "chain = \"nat\"\nout = \"wan\"\naction = \"snat\"\nto = \"203.0.113.5\"\n";

nat::Behaviour behaviour(const std::string& keys) {
    return rule(kSnat + keys).behaviour;
}

/// The one thing that is wrong with a rule, and the line of the key after the first four lines.
ConfigProblem mistake(const std::string& keys, const std::string& base = kSnat) {
    const auto all = mistakes(kTwoPorts + "[[rule]]\n" + base + keys);
    EXPECT_EQ(all.size(), 1U) << keys;
    return all.empty() ? ConfigProblem{} : all.front();
}

TEST(Behaviour, IsLinuxsUnlessAskedFor) {
    EXPECT_EQ(behaviour(""), nat::Behaviour{});
    EXPECT_EQ(behaviour("mapping = \"endpoint-dependent\"\n"
                        "filtering = \"address-and-port-dependent\"\nrefresh = \"both\"\n"
                        "timers = \"linux\"\nexhausted = \"drop\"\nparity = false\n"),
              nat::Behaviour{});
}

TEST(Behaviour, TakesEveryWord) {
    const std::string independent = "mapping = \"endpoint-independent\"\n";
    EXPECT_EQ(behaviour(independent).mapping, nat::Mapping::EndpointIndependent);
    EXPECT_EQ(behaviour(independent + "filtering = \"address-dependent\"\n").filtering,
              nat::Filtering::AddressDependent);
    EXPECT_EQ(behaviour(independent + "filtering = \"endpoint-independent\"\n").filtering,
              nat::Filtering::EndpointIndependent);
    EXPECT_EQ(behaviour("pooling = \"paired\"\n").pooling, nat::Pooling::Paired);
    EXPECT_EQ(behaviour("pooling = \"arbitrary\"\n").pooling, nat::Pooling::Arbitrary);
    EXPECT_EQ(behaviour("refresh = \"outbound\"\n").refresh, nat::Refresh::Outbound);
    EXPECT_EQ(behaviour("refresh = \"inbound\"\n").refresh, nat::Refresh::Inbound);
    EXPECT_EQ(behaviour("exhausted = \"icmp\"\n").exhausted, nat::NoPort::Icmp);
    EXPECT_TRUE(behaviour("parity = true\n").parity);
    EXPECT_EQ(behaviour(independent + "quarantine = \"5m\"\n").quarantine_s, 300U);
}

TEST(Behaviour, RfcTimersAreAPolicyBehindThoseThatHaveNames) {
    const Config c = with_ports("[[timeout_policy]]\nname = \"short\"\nudp = 5\n[[rule]]\n" +
                                std::string{kSnat} + "timers = \"rfc\"\n");
    const ct::Features features = features_of(c);

    ASSERT_EQ(c.rules.size(), 1U);
    EXPECT_EQ(c.rules[0].behaviour.variant, ct::variant::of_policy(2));
    ASSERT_EQ(features.policies.size(), 2U);
    EXPECT_EQ(features.policies[0].udp, 5U);
    EXPECT_EQ(features.policies[1].udp, 300U);
    EXPECT_EQ(features_of(with_ports("[[rule]]\n" + std::string{kSnat})).policies.size(), 0U);
}

TEST(Behaviour, RfcTimersLeaveRoomForSixtyTwoPolicies) {
    std::string policies;
    for (int k = 0; k < 62; ++k)
        policies += "[[timeout_policy]]\nname = \"" + std::to_string(k) + "\"\nudp = 5\n";
    const Config c =
        with_ports(policies + "[[rule]]\n" + std::string{kSnat} + "timers = \"rfc\"\n");

    EXPECT_EQ(c.rules.at(0).behaviour.variant, ct::variant::of_policy(63));
    EXPECT_EQ(ct::variant::policy_of(c.rules[0].behaviour.variant), 63U);
    const ct::Conntrack table{c.conntrack, 1, 1, features_of(c)};
    EXPECT_EQ(table.count(), 0U);
}

// RFC 6888 REQ-8 belongs to the profile, where ports are somebody's alone.
TEST(Behaviour, RfcTimersLetPortsRestUnlessToldOtherwise) {
    const std::string rfc = "timers = \"rfc\"\n";
    const std::string independent = "mapping = \"endpoint-independent\"\n";
    EXPECT_EQ(behaviour(rfc).quarantine_s, 0U);
    EXPECT_EQ(behaviour(rfc + independent).quarantine_s, 120U);
    EXPECT_EQ(behaviour(rfc + independent + "quarantine = 0\n").quarantine_s, 0U);
}

TEST(Behaviour, OfAnEndpointDependentMappingHasNoFilteringAndNoQuarantine) {
    EXPECT_EQ(
        mistake("filtering = \"endpoint-independent\"\n"),
        (ConfigProblem{8, "nobody outside can open a connection to an endpoint-dependent mapping",
                       "write mapping = \"endpoint-independent\", or leave 'filtering' out"}));
    EXPECT_EQ(mistake("quarantine = 10\n"),
              (ConfigProblem{
                  8,
                  "the ports of endpoint-dependent mappings are used by several connections at a "
                  "time and do not rest",
                  "write mapping = \"endpoint-independent\", or leave 'quarantine' out"}));
}

TEST(Behaviour, BelongsToSourceTranslation) {
    const std::string dnat =
        "chain = \"nat\"\nin = \"wan\"\naction = \"dnat\"\nto = \"10.0.0.1\"\n";
    for (const std::string key :
         {"mapping = \"endpoint-dependent\"\n", "filtering = \"address-and-port-dependent\"\n",
          "pooling = \"paired\"\n", "parity = false\n", "refresh = \"both\"\n",
          "timers = \"rfc\"\n", "exhausted = \"icmp\"\n", "quarantine = 0\n"}) {
        const ConfigProblem wrong = mistake(key, dnat);
        EXPECT_EQ(wrong.line, 8) << key;
        EXPECT_EQ(wrong.problem, "this action takes no '" + key.substr(0, key.find(' ')) + "'");
        EXPECT_EQ(wrong.remedy, "leave it out; it belongs to snat, masquerade and nat64");
    }
}

TEST(Behaviour, WordsThatDoNotExistAreReported) {
    const ConfigProblem wrong = mistake("mapping = \"endpoint-independant\"\n");
    EXPECT_EQ(wrong.line, 8);
    EXPECT_NE(wrong.remedy.find("endpoint-independent"), std::string::npos) << wrong.remedy;
    EXPECT_EQ(mistake("timers = \"bsd\"\n").line, 8);
    EXPECT_EQ(mistake("mapping = \"endpoint-independent\"\nquarantine = \"2h\"\n").line, 9);
}

TEST(Behaviour, OnePlaceCannotBePersistentAndArbitrary) {
    EXPECT_EQ(mistake("mapping = \"endpoint-independent\"\npersistent = true\n"
                      "pooling = \"arbitrary\"\n")
                  .problem,
              "pooling is \"arbitrary\" and persistent is true");
}

}  // namespace
}  // namespace dp::test
