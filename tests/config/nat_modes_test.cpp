// SPDX-License-Identifier: BSD-3-Clause
//
// Modes of nat rules beside the plain ones: netmap, shifted ports, hairpin, static. What they come
// to, and every mistake in them, word for word; `#!` marks the line that must be named.
#include "tests/config/support.hpp"

#include <gtest/gtest.h>

namespace dp::test {
namespace {

using nat::Action;

const std::string kSnat = "[[rule]]\nchain = \"nat\"\naction = \"snat\"\n";
const std::string kDnat = "[[rule]]\nchain = \"nat\"\naction = \"dnat\"\n";
const std::string kStatic = "[[rule]]\nchain = \"nat\"\naction = \"static\"\n";

TEST(NatModes, NetmapHasAllAddressesOfAPrefix) {
    const Config c = with_ports(kSnat +
                                "src = \"10.0.0.0/24\"\nto = \"192.0.2.0/24\"\nnetmap = "
                                "true\n");

    const nat::Target& t = c.rules.at(0).target;
    EXPECT_TRUE(t.netmap);
    EXPECT_EQ(t.first_addr, addr("192.0.2.0"));
    EXPECT_EQ(t.last_addr, addr("192.0.2.255"));
}

TEST(NatModes, BothOfLinuxsNamesForRandomMeanTheSame) {
    for (const char* key : {"random", "random_fully"}) {
        const Config c = with_ports(kSnat + "to = \"192.0.2.1\"\n" + key + " = true\n");
        EXPECT_TRUE(c.rules.at(0).target.random) << key;
    }
}

TEST(NatModes, ShiftedPortsAndHairpinsStandInTheRule) {
    const Config c = with_ports(kDnat +
                                "proto = \"udp\"\nin = \"wan\"\ndst = \"203.0.113.1\"\ndport = "
                                "\"5000-5099\"\nto = \"10.0.0.5:6000-6099\"\nport_base = "
                                "5000\nhairpin = true\n");

    EXPECT_EQ(c.rules.at(0).target.port_base, 5000);
    EXPECT_EQ(c.rules.at(0).target.ports, (nat::PortRange{6000, 6099}));
    EXPECT_TRUE(c.rules.at(0).hairpin);
}

TEST(NatModes, AStaticAddressIsTwoRules) {
    const Config c = with_ports(
        kStatic + "name = \"mail\"\nsrc = \"10.0.0.5\"\nto = \"192.0.2.5\"\nout = \"wan\"\n");

    ASSERT_EQ(c.rules.size(), 2U);
    const nat::Rule& in = c.rules[0];
    const nat::Rule& out = c.rules[1];
    EXPECT_EQ(in.action, Action::Dnat);
    EXPECT_EQ(in.match.in_port, 1);
    EXPECT_EQ(in.match.out_port, ct::kNoPort);
    EXPECT_EQ(in.match.dst, prefix("192.0.2.5"));
    EXPECT_EQ(in.match.src.family, ct::Family::None);
    EXPECT_EQ(in.target.first_addr, addr("10.0.0.5"));
    EXPECT_TRUE(in.target.ports.any());
    EXPECT_TRUE(in.hairpin);
    EXPECT_EQ(out.action, Action::Snat);
    EXPECT_EQ(out.match.out_port, 1);
    EXPECT_EQ(out.match.src, prefix("10.0.0.5"));
    EXPECT_EQ(out.target.first_addr, addr("192.0.2.5"));
    EXPECT_FALSE(out.hairpin);
    for (const nat::Rule& r : c.rules) {
        EXPECT_EQ(r.name, "mail");
        EXPECT_TRUE(r.target.netmap);
    }
}

TEST(NatModes, AStaticRangeOfPortsIsShiftedBothWays) {
    const Config c = with_ports(kStatic +
                                "src = \"2001:db8:1::/64\"\nto = \"2001:db8:2::/64\"\nproto = "
                                "[\"tcp\", \"udp\"]\nsport = \"80-89\"\nports = \"8080-8089\"\n");

    ASSERT_EQ(c.rules.size(), 4U);
    EXPECT_EQ(c.rules[0].match.dport, (nat::PortRange{8080, 8089}));
    EXPECT_EQ(c.rules[0].match.sport, nat::PortRange{});
    EXPECT_EQ(c.rules[0].target.ports, (nat::PortRange{80, 89}));
    EXPECT_EQ(c.rules[0].target.port_base, 8080);
    EXPECT_EQ(c.rules[1].match.sport, (nat::PortRange{80, 89}));
    EXPECT_EQ(c.rules[1].target.ports, (nat::PortRange{8080, 8089}));
    EXPECT_EQ(c.rules[1].target.port_base, 80);
    EXPECT_EQ(c.rules[1].target.last_addr, addr("2001:db8:2::ffff:ffff:ffff:ffff"));
    EXPECT_NE(c.rules[1].match.proto, c.rules[3].match.proto);
}

TEST(Mss, IsANumberOrWhatFits) {
    const Config c = parse(
        "port = [ { name = \"a\", device = \"net_null0\", mtu = 1400, mss = \"auto\" },\n"
        "{ name = \"b\", device = \"net_null1\", mss = 1200 },\n"
        "{ name = \"c\", device = \"net_null2\" } ]\n");

    const auto limits = mss_limits(c);
    ASSERT_EQ(limits.size(), 3U);
    EXPECT_TRUE(limits[0].clamp);
    EXPECT_EQ(limits[0].fixed, 0);
    EXPECT_EQ(limits[0].mtu, 1400);
    EXPECT_TRUE(limits[1].clamp);
    EXPECT_EQ(limits[1].fixed, 1200);
    EXPECT_FALSE(limits[2].clamp);
    EXPECT_TRUE(mss_limits(with_ports("")).empty()) << "no port says anything";
}

struct Mistake {
    const char* title;
    std::string text;
    const char* problem;
    const char* remedy;
};

void PrintTo(const Mistake& m, std::ostream* out) {
    *out << m.title;
}

class NatModeMistakes : public testing::TestWithParam<Mistake> {};

TEST_P(NatModeMistakes, AreReportedWithLineAndRemedy) {
    const Mistake& m = GetParam();
    const std::string text = kTwoPorts + m.text;

    const auto found = mistakes(text);

    ASSERT_EQ(found.size(), 1U) << text << (found.size() > 1 ? found[1].problem : "");
    EXPECT_EQ(found[0].line, line_with(text, "#!"));
    EXPECT_EQ(found[0].problem, m.problem);
    EXPECT_EQ(found[0].remedy, m.remedy);
}

const std::vector<Mistake>& all_mistakes() {
    static const std::vector<Mistake> kAll{
        {"NetmapToARange",
         kSnat + "src = \"10.0.0.0/24\"\nto = \"192.0.2.1-192.0.2.9\"  #!\nnetmap = true\n",
         "'netmap' maps to a prefix, and 'to' is none", "write one like \"192.0.2.0/24\""},
        {"NetmapOfMore",
         kSnat + "src = \"10.0.0.0/16\"\nto = \"192.0.2.0/24\"\nnetmap = true  #!\n",
         "'netmap' to a prefix of length 24 stands without such a 'src'",
         "write 'src' with a prefix as long or longer, so that no two addresses become one"},
        {"NetmapOfAnything", kDnat + "to = \"192.0.2.0/24\"\nnetmap = true  #!\n",
         "'netmap' to a prefix of length 24 stands without such a 'dst'",
         "write 'dst' with a prefix as long or longer, so that no two addresses become one"},
        {"NetmapOfMasquerade",
         "[[rule]]\nchain = \"nat\"\naction = \"masquerade\"\nnetmap = true  #!\n",
         "action \"masquerade\" takes no 'netmap'", "leave it out; it belongs to snat and dnat"},
        {"BaseWithoutPorts", kDnat + "proto = \"udp\"\nto = \"192.0.2.1\"\nport_base = 5  #!\n",
         "'port_base' stands without ports to translate to",
         "write the range as 'ports', or behind 'to'"},
        {"BaseAndRandom",
         kDnat + "proto = \"udp\"\nto = \"192.0.2.1:5-9\"\nport_base = 5  #!\nrandom = true\n",
         "ports are shifted by 'port_base' and random at once", "leave one of the two out"},
        {"BaseZero", kDnat + "proto = \"udp\"\nto = \"192.0.2.1:5-9\"\nport_base = 0  #!\n",
         "'port_base' is 0, which is out of bounds", "write a number from 1 to 65535"},
        {"HairpinOfSnat", kSnat + "to = \"192.0.2.1\"\nhairpin = true  #!\n",
         "action \"snat\" takes no 'hairpin'", "leave it out; it belongs to dnat"},
        {"HairpinForAnything", kDnat + "in = \"wan\"\nto = \"10.0.0.5\"\nhairpin = true  #!\n",
         "'hairpin' stands without the address that it is for",
         "write the outside address as 'dst'"},
        {"StaticInFilter",
         "[[rule]]\nchain = \"filter\"\naction = \"static\"  #!\nsrc = \"10.0.0.5\"\nto = "
         "\"192.0.2.5\"\n",
         "action \"static\" belongs to chain \"nat\"", "write chain = \"nat\""},
        {"StaticOfNobody", kStatic + "src = \"!10.0.0.5\"  #!\nto = \"192.0.2.5\"\n",
         "action \"static\" has no one inside address or prefix",
         "write it, like src = \"10.0.0.5\" or src = \"10.0.0.0/24\""},
        {"StaticOfTwo", kStatic + "src = [\"10.0.0.5\", \"10.0.0.6\"]  #!\nto = \"192.0.2.5\"\n",
         "action \"static\" maps one prefix", "write a rule for each of them"},
        {"StaticToNowhere",
         "[[rule]]\nchain = \"nat\"\naction = \"static\"  #!\nsrc = \"10.0.0.5\"\n",
         "action \"static\" has no 'to'",
         "say to which address or prefix, like to = \"192.0.2.5\""},
        {"StaticToARange", kStatic + "src = \"10.0.0.0/24\"\nto = \"192.0.2.5-192.0.2.9\"  #!\n",
         "'to' is a range, but not a prefix", "write a prefix as long as that of 'src'"},
        {"StaticToAnotherLength", kStatic + "src = \"10.0.0.0/24\"\nto = \"192.0.2.0/25\"  #!\n",
         "'to' has a prefix of length 25, 'src' one of length 24",
         "write prefixes of the same length: each address has its own"},
        {"StaticToAnotherFamily", kStatic + "src = \"10.0.0.5\"\nto = \"2001:db8::5\"  #!\n",
         "this rule can never match: 'src' is IPv4, but 'to' is IPv6",
         "write a rule for each family"},
        {"StaticWithDport",
         kStatic + "src = \"10.0.0.5\"\nto = \"192.0.2.5\"\nproto = \"tcp\"\ndport = 80  #!\n",
         "action \"static\" takes no 'dport'",
         "leave it out: 'src' and 'sport' are inside, 'to', 'ports' and 'out' outside"},
        {"StaticPortsOutsideOnly",
         kStatic + "src = \"10.0.0.5\"\nto = \"192.0.2.5\"\nproto = \"tcp\"\nports = 80  #!\n",
         "ports outside stand without the ports inside",
         "write those of the inside address as 'sport'"},
        {"StaticPortsInsideOnly",
         kStatic + "src = \"10.0.0.5\"\nto = \"192.0.2.5\"\nproto = \"tcp\"\nsport = 80  #!\n",
         "ports inside stand without the ports outside",
         "write those of the outside address as 'ports'"},
        {"StaticPortsOfAnotherSize",
         kStatic + "src = \"10.0.0.5\"\nto = \"192.0.2.5\"\nproto = \"tcp\"\nsport = "
                   "\"80-81\"\nports = 80  #!\n",
         "2 ports inside stand for 1 outside", "write two ranges of the same size"},
        {"StaticPortZero",
         kStatic + "src = \"10.0.0.5\"\nto = \"192.0.2.5\"\nproto = \"tcp\"\nsport = "
                   "\"0-1\"  #!\nports = \"80-81\"\n",
         "port 0 cannot be translated to", "begin with port 1 or above"},
    };
    return kAll;
}

INSTANTIATE_TEST_SUITE_P(All, NatModeMistakes, testing::ValuesIn(all_mistakes()),
                         [](const auto& mistake) { return std::string{mistake.param.title}; });

}  // namespace
}  // namespace dp::test
