// SPDX-License-Identifier: BSD-3-Clause
//
// Carrier-grade NAT in the configuration: what a rule's tables come to, and [nat_log].
#include "tests/config/support.hpp"

#include <gtest/gtest.h>

namespace dp::test {
namespace {

/// A rule of action snat towards eight addresses, with `keys`.
std::string snat(const std::string& keys) {
    return "[[rule]]\nname = \"subscribers\"\nchain = \"nat\"\naction = \"snat\"\nout = \"wan\"\n"
           "src = \"100.64.0.0/22\"\nto = \"192.0.2.0-192.0.2.7\"\n" +
           keys;
}

std::string masquerade(const std::string& keys) {
    return "[[rule]]\nchain = \"nat\"\naction = \"masquerade\"\nout = \"wan\"\n" + keys;
}

TEST(CarrierConfig, ARuleWithoutTablesKnowsNoSubscribers) {
    const Config c = with_ports(snat(""));

    EXPECT_TRUE(c.carriers.empty());
    EXPECT_EQ(c.rules.at(0).carrier, nat::kNoCarrier);
}

TEST(CarrierConfig, BlocksHaveDefaults) {
    const Config c = with_ports(snat("blocks = {}\n"));

    ASSERT_EQ(c.carriers.size(), 1U);
    const nat::CarrierSettings& s = c.carriers[0];
    EXPECT_EQ(c.rules.at(0).carrier, 0);
    EXPECT_EQ(s.name, "subscribers");
    EXPECT_EQ(s.line, c.rules[0].line);
    EXPECT_EQ(s.outside.count(), 8U);
    EXPECT_EQ(s.ports, (nat::PortRange{1024, 65535}));
    EXPECT_EQ(s.blocks, (nat::BlockSettings{512, 4, 120}));
    EXPECT_EQ(s.ipv6_prefix, 64);
    EXPECT_FALSE(s.deterministic);
    EXPECT_EQ(s.limits, nat::SubscriberLimits{});
}

TEST(CarrierConfig, SaysEverythingAtOnce) {
    const Config c = with_ports(
        snat("proto = [\"tcp\", \"udp\"]\nports = \"2048-65535\"\nsubscriber_prefix = 56\n"
             "[rule.deterministic]\nports_each = 256\nreserve = 8192\n"
             "[rule.blocks]\nsize = 128\nmax = 2\nidle = \"5m\"\n"
             "[rule.limits]\nports = 384\nconnections = 2000\nnew_per_second = 50\nburst = 200\n"));

    ASSERT_EQ(c.rules.size(), 2U);
    EXPECT_EQ(c.rules[0].carrier, 0);
    EXPECT_EQ(c.rules[1].carrier, 0);
    ASSERT_EQ(c.carriers.size(), 1U);
    const nat::CarrierSettings& s = c.carriers[0];
    EXPECT_EQ(s.ports, (nat::PortRange{2048, 65535}));
    EXPECT_EQ(s.ipv6_prefix, 56);
    ASSERT_TRUE(s.deterministic);
    EXPECT_EQ(s.deterministic->inside, prefix("100.64.0.0/22"));
    EXPECT_EQ(s.deterministic->ports_each, 256U);
    EXPECT_EQ(s.deterministic->reserve, 8192U);
    EXPECT_EQ(s.blocks, (nat::BlockSettings{128, 2, 300}));
    EXPECT_EQ(s.limits, (nat::SubscriberLimits{384, 2000, 50, 200}));
}

TEST(CarrierConfig, LimitsStandAlone) {
    const Config c = with_ports(snat("limits = { connections = 100 }\n"));

    ASSERT_EQ(c.carriers.size(), 1U);
    EXPECT_FALSE(c.carriers[0].blocks);
    EXPECT_EQ(c.carriers[0].limits.connections, 100U);
}

TEST(CarrierConfig, MasqueradeTakesLimitsOfWhatNeedsNoAddress) {
    const Config c = with_ports(
        masquerade("name = \"home\"\nsrc = [\"10.0.0.0/8\", \"fd00::/8\"]\nsubscriber_prefix = 60\n"
                   "limits = { connections = 100, new_per_second = 20, burst = 50 }\n"));

    ASSERT_EQ(c.carriers.size(), 1U);
    EXPECT_TRUE(c.carriers[0].own_address);
    EXPECT_EQ(c.carriers[0].inside.size(), 2U);
    EXPECT_EQ(c.carriers[0].ipv6_prefix, 60);
    EXPECT_EQ(c.carriers[0].limits.connections, 100U);
    for (const nat::Rule& rule : c.rules) EXPECT_EQ(rule.carrier, 0);
    EXPECT_NE(describe(c).find("carrier NAT, rule 'home': the addresses of its port; at most 100 "
                               "connections; at most 20 new a second, 50 at once\n"),
              std::string::npos)
        << describe(c);
}

// One LAN, two uplinks: what a subscriber may have holds for both.
TEST(CarrierConfig, EqualLimitsOfTheSameSourcesHoldTogether) {
    const std::string limits = "src = \"10.0.0.0/8\"\nlimits = { connections = 100 }\n";
    const Config c = with_ports(masquerade("proto = \"tcp\"\n" + limits) +
                                masquerade("proto = \"udp\"\n" + limits) +
                                masquerade("src = \"192.168.0.0/16\"\n"
                                           "limits = { connections = 7 }\n"));

    ASSERT_EQ(c.rules.size(), 3U);
    EXPECT_EQ(c.carriers.size(), 2U);
    EXPECT_EQ(c.rules[0].carrier, c.rules[1].carrier);
    EXPECT_NE(c.rules[0].carrier, c.rules[2].carrier);
}

TEST(CarrierConfig, CheckShowsWhatItComesTo) {
    const std::string text =
        describe(with_ports(snat("deterministic = { reserve = 4096 }\nblocks = { size = 256 }\n"
                                 "limits = { ports = 600 }\n")));

    EXPECT_NE(text.find("carrier NAT, rule 'subscribers': 8 addresses 192.0.2.0-192.0.2.7, ports "
                        "1024-65535; 1024 subscribers of 100.64.0.0/22, 128 on each address, 472 "
                        "ports each; 128 blocks of 256 ports, at most 4 each, back after 120 s; at "
                        "most 600 ports of each protocol\n"),
              std::string::npos)
        << text;
    EXPECT_NE(text.find("there is no [nat_log]\n"), std::string::npos) << text;
}

TEST(CarrierConfig, TheLogHasDestinations) {
    const Config c = with_ports(
        "[nat_log]\nfile = \"/var/log/sluice/blocks.log\"\nformat = \"syslog\"\n"
        "syslog = \"udp:192.0.2.9:5514\"\nfacility = \"local3\"\non_failure = \"continue\"\n"
        "queue = \"64Ki\"\n");

    EXPECT_EQ(c.nat_log.file, "/var/log/sluice/blocks.log");
    EXPECT_EQ(c.nat_log.format, BlockLogFormat::Syslog);
    EXPECT_EQ(c.nat_log.syslog, "udp:192.0.2.9:5514");
    EXPECT_EQ(c.nat_log.facility, 19U);
    EXPECT_TRUE(c.nat_log.keep_going);
    EXPECT_EQ(c.nat_log.queue, 65'536U);
    EXPECT_TRUE(c.nat_log.on());
    EXPECT_FALSE(with_ports("").nat_log.on());
}

/// Subscribers are given the WAN port's own address.
const std::string kBlocksOfThePort =
    "[[rule]]\nchain = \"nat\"\naction = \"snat\"\nout = \"wan\"\nsrc = \"10.0.0.0/8\"\n"
    "to = \"203.0.113.1\"\nblocks = {}\n";
const std::string kZoneOfThePort =
    "[[rule]]\nchain = \"raw\"\nin = \"lan\"\naction = \"zone\"\nvalue = 1\n";

// Masquerade by another port, or for another family, takes other addresses.
TEST(CarrierConfig, APortsOwnAddressMayBeGivenByOneRule) {
    const Config c = with_ports(
        kBlocksOfThePort + "[[rule]]\nchain = \"nat\"\naction = \"masquerade\"\nout = \"lan\"\n" +
        "[[rule]]\nchain = \"nat\"\naction = \"masquerade\"\nout = \"wan\"\nfamily = \"ipv6\"\n");

    EXPECT_EQ(c.carriers.size(), 1U);
}

TEST(CarrierConfig, SharesBelongToOneZone) {
    EXPECT_EQ(with_ports(kZoneOfThePort + snat("zone = 1\ndeterministic = {}\n")).carriers.size(),
              1U);
    EXPECT_EQ(with_ports(kZoneOfThePort + snat("blocks = {}\n")).carriers.size(), 1U)
        << "blocks are given to an address in its zone";
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

class CarrierMistakes : public testing::TestWithParam<Mistake> {};

TEST_P(CarrierMistakes, AreReportedWithLineAndRemedy) {
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
        {"BlocksOfMasquerade",
         "[[rule]]\nchain = \"nat\"\naction = \"masquerade\"\nout = \"wan\"\nblocks = {}  #!\n",
         "'blocks' needs addresses that stay, and those of a port may change",
         "write action = \"snat\" with 'to', or [rule.limits] alone"},
        {"SharesOfMasquerade",
         "[[rule]]\nchain = \"nat\"\naction = \"masquerade\"\nout = \"wan\"\n"
         "deterministic = {}  #!\nlimits = { connections = 5 }\n",
         "'deterministic' needs addresses that stay, and those of a port may change",
         "write action = \"snat\" with 'to', or [rule.limits] alone"},
        {"PortsOfMasquerade", masquerade("limits = { ports = 5 }  #!\n"),
         "ports are counted only where they are given to subscribers",
         "limit 'connections', or write action = \"snat\" with 'to' and [rule.blocks]"},
        {"TwoLimitsOfASource",
         masquerade("limits = { connections = 5 }\nsrc = \"10.0.0.0/8\"\n") +
             masquerade("src = [\"10.9.0.0/16\", \"fd00::/8\"]\nproto = \"udp\"\n"
                        "limits = { connections = 6 }  #!\n"),
         "the rule on line 3 limits some of the same sources otherwise",
         "give each rule a 'src' of its own, or both the same 'src' and limits, which then hold "
         "for both together"},
        {"BlocksOfDnat",
         "[[rule]]\nchain = \"nat\"\naction = \"dnat\"\nin = \"wan\"\nto = \"192.168.1.5\"\n"
         "blocks = {}  #!\n",
         "only action \"snat\" takes 'blocks'",
         "leave it out, or write action = \"snat\" with 'to'"},
        {"LimitsOfDnat",
         "[[rule]]\nchain = \"nat\"\naction = \"dnat\"\nin = \"wan\"\nto = \"192.168.1.5\"\n"
         "limits = { connections = 5 }  #!\n",
         "only actions \"snat\" and \"masquerade\" take 'limits'",
         "leave it out, or write action = \"snat\" with 'to'"},
        {"UnknownKeyOfBlocks", snat("[rule.blocks]\nsise = 64  #!\n"),
         "unknown key 'sise' in [rule.blocks]", "did you mean 'size'?"},
        {"BlocksAsValue", snat("blocks = 512  #!\n"), "'blocks' is an integer",
         "write a table, [rule.blocks], once"},
        {"BlockTooLarge", snat("ports = \"1024-2047\"\nblocks = { size = 2048 }  #!\n"),
         "a block has 2048 ports, and an address has 1024 for blocks",
         "write smaller blocks, more ports in 'to', or a larger 'reserve'"},
        {"TooManyBlocks", snat("[rule.blocks]\nmax = 16  #!\n"),
         "'max' is 16, which is out of bounds", "write a number from 1 to 15"},
        {"TooManySubscribers", snat("deterministic = { ports_each = 2048 }  #!\n"),
         "8 external addresses have shares of 2048 ports for 248 of 1024 subscribers",
         "give more addresses in 'to', fewer subscribers in 'src', or smaller shares"},
        {"DeterministicForAnybody",
         "[[rule]]\nchain = \"nat\"\naction = \"snat\"\nout = \"wan\"\nto = \"192.0.2.1\"\n"
         "deterministic = {}  #!\n",
         "deterministic NAT numbers the subscribers of one prefix, and 'src' is not one prefix",
         "write one, like src = \"100.64.0.0/22\", and a rule for each"},
        {"ReserveForNothing", snat("[rule.deterministic]\nreserve = 1000  #!\n"),
         "the reserve is for blocks, and there are none",
         "write a table [rule.blocks], or leave 'reserve' out"},
        {"LimitsOfNothing", snat("limits = {}  #!\n"), "'limits' limits nothing",
         "write 'ports', 'connections' or 'new_per_second'"},
        {"PortsOfNobody", snat("limits = { ports = 5 }  #!\n"),
         "ports are counted only where they are given to subscribers",
         "write [rule.blocks] or [rule.deterministic], or limit 'connections'"},
        {"BurstAlone", snat("limits = { connections = 5, burst = 5 }  #!\n"),
         "'burst' stands without 'new_per_second'", "say at which rate, like new_per_second = 100"},
        {"PrefixAlone", snat("subscriber_prefix = 56  #!\n"),
         "'subscriber_prefix' stands without subscribers",
         "write [rule.blocks], [rule.deterministic] or [rule.limits], too"},
        {"BlocksOfStatic",
         "[[rule]]\nchain = \"nat\"\naction = \"static\"  #!\nsrc = \"10.0.0.5\"\n"
         "to = \"192.0.2.5\"\nout = \"wan\"\nblocks = {}\n",
         "action \"static\" gives each address one of its own",
         "write action = \"snat\" to share addresses among subscribers"},
        {"BlocksOfAPortBase", snat("ports = \"2000-4000\"\nport_base = 100  #!\nblocks = {}\n"),
         "'port_base' and what subscribers are given contradict",
         "leave 'port_base' out, or do without subscribers"},
        {"TooManyAddresses",
         "[[rule]]\nchain = \"nat\"\naction = \"snat\"\nout = \"wan\"\nto = \"10.0.0.0/8\"  #!\n"
         "blocks = {}\n",
         "there are more external addresses than subscribers can be given",
         "write 16384 at most in one rule"},
        {"SharedAddresses",
         snat("blocks = {}\n") +
             "[[rule]]\nchain = \"nat\"\naction = \"snat\"\nout = \"wan\"\nsrc = \"10.0.0.0/8\"\n"
             "to = \"192.0.2.7\"  #!\n",
         "the rule on line 3 gives subscribers addresses of 192.0.2.0-192.0.2.7, too",
         "who had an external port could not be told: give each rule addresses of its own"},
        {"AddressesOfNat64",
         snat("blocks = {}\n") +
             "[[rule]]\nchain = \"nat\"\naction = \"nat64\"\nprefix = \"64:ff9b::/96\"\n"
             "to = \"192.0.2.7\"  #!\n",
         "the rule on line 3 gives subscribers addresses of 192.0.2.0-192.0.2.7, too",
         "who had an external port could not be told: give each rule addresses of its own"},
        {"AddressOfMasquerade",
         kBlocksOfThePort +
             "[[rule]]\nchain = \"nat\"\naction = \"masquerade\"  #!\nout = \"wan\"\n"
             "src = \"172.16.0.0/12\"\n",
         "203.0.113.1 of port 'wan' is an address that the rule on line 3 gives subscribers",
         "who had an external port could not be told: give subscribers addresses that no port has"},
        {"AddressOfMasqueradeByAnyPort",
         kBlocksOfThePort + "[[rule]]\nchain = \"nat\"\naction = \"masquerade\"  #!\n",
         "203.0.113.1 of port 'wan' is an address that the rule on line 3 gives subscribers",
         "who had an external port could not be told: give subscribers addresses that no port has"},
        {"AddressOfNat64ByItsPort",
         kBlocksOfThePort +
             "[[rule]]\nchain = \"nat\"\naction = \"nat64\"  #!\nprefix = \"64:ff9b::/96\"\n",
         "203.0.113.1 of port 'wan' is an address that the rule on line 3 gives subscribers",
         "who had an external port could not be told: give subscribers addresses that no port has"},
        {"SharesInZones", kZoneOfThePort + snat("deterministic = {}  #!\n"),
         "the raw rules make zones, and one address in two of them would have one share",
         "say whose subscribers these are, like zone = 1, and write a rule with addresses of its "
         "own for each other zone"},
        {"LogOfNothing", "[nat_log]  #!\n", "[nat_log] has neither 'file' nor 'syslog'",
         "say where records are to go"},
        {"LogByTcp", "[nat_log]\nsyslog = \"tcp:192.0.2.9\"  #!\n",
         "'tcp:192.0.2.9' is no collector",
         "write \"udp:ADDRESS\", \"udp:ADDRESS:PORT\" or \"unix:PATH\""},
        {"FormatOfNoFile", "[nat_log]\nsyslog = \"unix:/dev/log\"\nformat = \"json\"  #!\n",
         "'format' is the file's, and there is none", "leave it out: collectors get RFC 5424"},
        {"EmptyFile", "[nat_log]\nfile = \"\"  #!\n", "'file' is empty",
         "write a path, or leave it out"},
    };
    return kAll;
}

std::string title_of(const testing::TestParamInfo<Mistake>& info) {
    return info.param.title;
}

INSTANTIATE_TEST_SUITE_P(All, CarrierMistakes, testing::ValuesIn(all_mistakes()), title_of);

}  // namespace
}  // namespace dp::test
