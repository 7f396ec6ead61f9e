// SPDX-License-Identifier: BSD-3-Clause
//
// [[nptv6]]: what it compiles to, and what is wrong with it, word for word.
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

}  // namespace
}  // namespace dp::test
