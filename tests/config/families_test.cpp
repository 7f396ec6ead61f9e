// SPDX-License-Identifier: BSD-3-Clause
//
// [[nptv6]], [nat64] and rules of action nat64: what they compile to, and what is wrong with them,
// word for word.
#include "nat/pref64.hpp"
#include "tests/config/support.hpp"

#include <gtest/gtest.h>

namespace dp::test {
namespace {

/// The mistakes of an [[nptv6]] behind two ports.
std::vector<ConfigProblem> of_nptv6(const std::string& keys) {
    return mistakes(kTwoPorts + "[[nptv6]]\n" + keys);
}
const std::string kPair =
    "internal = \"fd01:203:405::/48\"\nexternal = \"2001:db8:1::/48\"\nport = \"wan\"\n";

TEST(Nptv6, HasTwoPrefixesAndThePortThatFacesOutside) {
    const Config c = with_ports("[[nptv6]]\n" + kPair);

    ASSERT_EQ(c.nptv6.size(), 1U);
    EXPECT_EQ(c.nptv6[0].internal, prefix("fd01:203:405::/48"));
    EXPECT_EQ(c.nptv6[0].external, prefix("2001:db8:1::/48"));
    EXPECT_EQ(c.nptv6[0].port, 1);
    EXPECT_NE(describe(c).find(
                  "nptv6: fd01:203:405::/48 inside is 2001:db8:1::/48 outside by port wan\n"),
              std::string::npos);
}

TEST(Nptv6, MayMapOneInsideBySeveralPorts) {
    EXPECT_EQ(with_ports("[[nptv6]]\n" + kPair +
                         "[[nptv6]]\ninternal = \"fd01:203:405::/48\"\n"
                         "external = \"2001:db8:5::/48\"\nport = \"lan\"\n")
                  .nptv6.size(),
              2U);
}

struct Mistake {
    std::string title;
    std::string keys;
    int line;  ///< counted from [[nptv6]], which is 0
    const char* problem;
    const char* remedy;
};

void PrintTo(const Mistake& m, std::ostream* out) {
    *out << m.title;
}

std::string title_of(const testing::TestParamInfo<Mistake>& info) {
    return info.param.title;
}

class Nptv6Mistakes : public testing::TestWithParam<Mistake> {};

TEST_P(Nptv6Mistakes, AreReportedWithLineAndRemedy) {
    const Mistake& m = GetParam();

    const auto found = of_nptv6(m.keys);

    ASSERT_EQ(found.size(), 1U) << (found.size() > 1 ? found[1].problem : "");
    EXPECT_EQ(found[0].line, line_with(kTwoPorts + "[[nptv6]]", "[[nptv6]]") + m.line);
    EXPECT_EQ(found[0].problem, m.problem);
    EXPECT_EQ(found[0].remedy, m.remedy);
}

INSTANTIATE_TEST_SUITE_P(
    All, Nptv6Mistakes,
    testing::Values(
        Mistake{"NoPort", "internal = \"fd00:1::/48\"\nexternal = \"2001:db8:1::/48\"\n", 0,
                "[[nptv6]] has no 'port'", "name the port that faces outside"},
        Mistake{"NoInternal", "external = \"2001:db8:1::/48\"\nport = \"wan\"\n", 0,
                "[[nptv6]] has no 'internal'", "write a prefix, like \"2001:db8:1::/48\""},
        Mistake{"Ipv4",
                "internal = \"10.0.0.0/8\"\nexternal = \"2001:db8:1::/48\"\nport = \"wan\"\n", 1,
                "'internal' is 10.0.0.0/8, which is not IPv6",
                "write a prefix like \"2001:db8:1::/48\""},
        Mistake{"LinkLocal",
                "internal = \"fe80::/48\"\nexternal = \"2001:db8:1::/48\"\nport = \"wan\"\n", 1,
                "'internal' is fe80::/48, whose addresses are not of hosts alone",
                "write a prefix like \"fd00:1::/48\" or \"2001:db8:1::/48\""},
        Mistake{"TooLong",
                "internal = \"fd00:1::/80\"\nexternal = \"2001:db8:1::/64\"\nport = \"wan\"\n", 1,
                "'internal' has 80 bits, which leaves no word of the address to keep checksums "
                "right",
                "write a prefix of at most 64 bits (RFC 6296 3.5)"},
        Mistake{"HostBits",
                "internal = \"fd00:1::1/48\"\nexternal = \"2001:db8:1::/48\"\nport = \"wan\"\n", 1,
                "prefix 'fd00:1::1/48' has bits set behind its length",
                "write \"fd00:1::/48\" for the subnet, or \"fd00:1::1\" for the one address"},
        Mistake{"TwoLengths",
                "internal = \"fd00:1::/48\"\nexternal = \"2001:db8:1::/56\"\nport = \"wan\"\n", 1,
                "the prefixes have 48 and 56 bits",
                "write internal = \"fd00:1::/56\": only as many addresses can be mapped"},
        Mistake{"Same",
                "internal = \"2001:db8:1::/48\"\nexternal = \"2001:db8:1::/48\"\nport = \"wan\"\n",
                2, "'internal' and 'external' are the same prefix",
                "leave this section out, or write another 'external'"},
        Mistake{"SameOutsideTwice",
                kPair + "[[nptv6]]\ninternal = \"fd09::/48\"\nexternal = "
                        "\"2001:db8:1::/48\"\nport = \"wan\"\n",
                6, "2001:db8:1::/48 overlaps 'external' of the [[nptv6]] on line 3",
                "an outside address can stand for one inside address only"},
        Mistake{"SameInsideTwice",
                kPair + "[[nptv6]]\ninternal = \"fd01:203:405::/48\"\nexternal "
                        "= \"2001:db8:2::/48\"\nport = \"wan\"\n",
                5,
                "fd01:203:405::/48 overlaps 'internal' of the [[nptv6]] on line 3 for the same "
                "port",
                "by one port an inside address can leave as one outside address only"},
        Mistake{"UnknownKey", kPair + "outside = 1\n", 4, "unknown key 'outside' in [[nptv6]]",
                "known are external, internal, port"}),
    title_of);

TEST(Nptv6, HasABound) {
    std::string text = kTwoPorts;
    for (int i = 0; i < 65; ++i)
        text += "[[nptv6]]\ninternal = \"fd00:" + std::to_string(i + 1000) +
                "::/48\"\nexternal = \"2001:" + std::to_string(i + 1000) +
                ":1::/48\"\nport = \"wan\"\n";

    const auto found = mistakes(text);

    ASSERT_EQ(found.size(), 1U);
    EXPECT_EQ(found[0].problem, "there are more than 64 [[nptv6]]");
}

// ---- NAT64.

const std::string kNat64 = "chain = \"nat\"\naction = \"nat64\"\n";

TEST(Nat64, ARuleHasAPrefixAndAPool) {
    const nat::Rule r = rule(kNat64 +
                             "prefix = \"2001:db8:64::/96\"\nsrc = \"fd00:1::/64\"\n"
                             "to = \"203.0.113.64-203.0.113.71:1024-65535\"\n");

    EXPECT_EQ(r.action, nat::Action::Nat64);
    EXPECT_EQ(r.match.dst, prefix("2001:db8:64::/96"));
    EXPECT_EQ(r.match.src, prefix("fd00:1::/64"));
    EXPECT_EQ(r.target.family, ct::Family::Ipv4);
    EXPECT_EQ(r.target.first_addr, addr("203.0.113.64"));
    EXPECT_EQ(r.target.last_addr, addr("203.0.113.71"));
    EXPECT_EQ(r.target.ports, (nat::PortRange{1024, 65535}));
    EXPECT_FALSE(r.global_only);
}

TEST(Nat64, MayDoWithoutAPool) {
    const nat::Rule r = rule(kNat64 + "prefix = \"64:ff9b::/96\"\n");

    EXPECT_EQ(r.target.family, ct::Family::None);
    EXPECT_TRUE(r.global_only);
}

// RFC 6146 3.1, 1.2.3: bindings are endpoint-independent; who is strict lets in by address.
TEST(Nat64, MapsAsItsRfcWantsUnlessTheRuleSaysOtherwise) {
    const auto behaviour = [](const std::string& keys) {
        return rule(kNat64 + "prefix = \"64:ff9b::/96\"\n" + keys).behaviour;
    };
    const nat::Behaviour rfc = behaviour("");
    const nat::Behaviour open = behaviour("filtering = \"endpoint-independent\"\n");
    const nat::Behaviour closed = behaviour("filtering = \"address-and-port-dependent\"\n");

    EXPECT_EQ(rfc.mapping, nat::Mapping::EndpointIndependent);
    EXPECT_EQ(rfc.filtering, nat::Filtering::AddressDependent);
    EXPECT_EQ(rfc.quarantine_s, 0U);
    EXPECT_EQ(open.mapping, nat::Mapping::EndpointIndependent);
    EXPECT_EQ(open.filtering, nat::Filtering::EndpointIndependent);
    EXPECT_EQ(closed.filtering, nat::Filtering::AddressAndPortDependent);
    EXPECT_EQ(behaviour("mapping = \"endpoint-dependent\"\n"), nat::Behaviour{});
    EXPECT_EQ(behaviour("timers = \"rfc\"\n").quarantine_s, 120U);
}

TEST(Nat64, HasSettings) {
    const Config c = with_ports(
        "[nat64]\nzero_udp_checksum = \"drop\"\nlowest_ipv6_mtu = 1480\n"
        "well_known_prefix = \"any\"\n[[rule]]\n" +
        kNat64 + "prefix = \"64:ff9b::/96\"\n");

    EXPECT_EQ(c.nat64.zero_checksum, nat::ZeroChecksum::Drop);
    EXPECT_EQ(c.nat64.lowest_ipv6_mtu, 1480);
    EXPECT_FALSE(c.rules.at(0).global_only);
    EXPECT_EQ(with_ports("").nat64.zero_checksum, nat::ZeroChecksum::Compute);
    EXPECT_EQ(with_ports("").nat64.lowest_ipv6_mtu, 1280);
}

class Nat64Mistakes : public testing::TestWithParam<Mistake> {};

TEST_P(Nat64Mistakes, AreReportedWithLineAndRemedy) {
    const Mistake& m = GetParam();
    const std::string text = kTwoPorts + "[[rule]]\n" + m.keys;

    const auto found = mistakes(text);

    ASSERT_EQ(found.size(), 1U) << (found.size() > 1 ? found[1].problem : "");
    EXPECT_EQ(found[0].line, line_with(text, "[[rule]]") + m.line);
    EXPECT_EQ(found[0].problem, m.problem);
    EXPECT_EQ(found[0].remedy, m.remedy);
}

constexpr const char* kWritePrefix =
    "write the prefix behind which IPv4 addresses stand, like prefix = \"64:ff9b::/96\"";

INSTANTIATE_TEST_SUITE_P(
    All, Nat64Mistakes,
    testing::Values(
        Mistake{"NoPrefix", kNat64, 0, "action \"nat64\" has no 'prefix'", kWritePrefix},
        Mistake{"Ipv4Prefix", kNat64 + "prefix = \"10.0.0.0/8\"\n", 3,
                "'prefix' is 10.0.0.0/8, which is not IPv6", kWritePrefix},
        Mistake{"OddLength", kNat64 + "prefix = \"2001:db8::/80\"\n", 3, "'prefix' has 80 bits",
                "write one of 32, 40, 48, 56, 64 or 96 bits (RFC 6052 2.2)"},
        Mistake{"ReservedBits", kNat64 + "prefix = \"2001:db8:0:0:100::/96\"\n", 3,
                "bits 64 to 71 of 2001:db8:0:0:100::/96 are not zero",
                "choose a prefix in which they are (RFC 6052 2.2)"},
        Mistake{"Dst", kNat64 + "prefix = \"64:ff9b::/96\"\ndst = \"2001:db8::/32\"\n", 4,
                "action \"nat64\" takes its destinations from 'prefix'",
                "leave 'dst' out; a rule before this one may accept what is to stay IPv6"},
        Mistake{"ToIpv6", kNat64 + "prefix = \"64:ff9b::/96\"\nto = \"2001:db8::1\"\n", 4,
                "action \"nat64\" translates to IPv4, and 'to' is IPv6",
                "write IPv4 addresses, or leave 'to' out for that of the port"},
        Mistake{"Ipv4Source", kNat64 + "prefix = \"64:ff9b::/96\"\nsrc = \"10.0.0.0/8\"\n", 3,
                "this rule can never match: 'src' is IPv4, but 'prefix' is IPv6",
                "write a rule for each family"},
        Mistake{"Protocol", kNat64 + "prefix = \"64:ff9b::/96\"\nproto = \"gre\"\n", 4,
                "action \"nat64\" does not translate protocol gre",
                "name some of tcp, udp, udplite, sctp and icmpv6"},
        Mistake{"Out", kNat64 + "prefix = \"64:ff9b::/96\"\nout = \"wan\"\n", 4,
                "this rule can never match: a destination is translated before routing, where no "
                "packet has an 'out'",
                "match by 'in' or 'dst'"},
        Mistake{"PrefixOfAnotherAction",
                "chain = \"nat\"\naction = \"masquerade\"\nprefix = \"64:ff9b::/96\"\n", 3,
                "only action \"nat64\" takes a 'prefix'", "match destinations by 'dst'"}),
    title_of);

TEST(Nat64, NeedsARouter) {
    const auto found = mistakes(
        "[dataplane]\nmode = \"wire\"\n[[port]]\nname = \"a\"\ndevice = "
        "\"net_null0\"\npeer = \"b\"\n[[port]]\nname = \"b\"\ndevice = \"net_null1\"\npeer = "
        "\"a\"\n"
        "[[rule]]\n" +
        kNat64 + "prefix = \"64:ff9b::/96\"\nto = \"203.0.113.1\"\n");

    ASSERT_FALSE(found.empty());
    EXPECT_EQ(found.back().problem,
              "action \"nat64\" needs routes of both families, and mode \"wire\" has none");
}

TEST(Nat64, NeedsAPortWithIpv4) {
    const auto found = mistakes(
        "[[port]]\nname = \"a\"\ndevice = \"net_null0\"\naddresses = [\"2001:db8::1/64\"]\n"
        "[[rule]]\n" +
        kNat64 + "prefix = \"64:ff9b::/96\"\n");

    ASSERT_EQ(found.size(), 1U);
    EXPECT_EQ(found[0].problem, "action \"nat64\" needs a port with an IPv4 address to leave by");
}

}  // namespace
}  // namespace dp::test
