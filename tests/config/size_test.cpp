// SPDX-License-Identifier: BSD-3-Clause
//
// Files that are long, deep or wrong from end to end: what reading them costs grows with their
// size, and no faster. Where it did not, the tests here would run for minutes, or out of stack.
#include "tests/config/support.hpp"

#include <gtest/gtest.h>

#include <string>

namespace dp::test {
namespace {

/// `count` addresses from 10.0.0.0 on, in quotes, with commas between them.
std::string addresses(unsigned count) {
    std::string out;
    for (unsigned i = 0; i < count; ++i)
        out += (i == 0 ? "\"10." : ", \"10.") + std::to_string(i >> 16) + "." +
               std::to_string(i >> 8 & 255) + "." + std::to_string(i & 255) + "\"";
    return out;
}

std::string ports(unsigned count) {
    std::string out;
    for (unsigned i = 0; i < count; ++i) out += (i == 0 ? "" : ",") + std::to_string(i & 0xffff);
    return out;
}

/// A key of `parts` parts.
std::string deep_key(std::size_t parts) {
    std::string out = "a";
    for (std::size_t i = 1; i < parts; ++i) out += ".a";
    return out;
}

std::string filter_rule(const std::string& keys) {
    return kTwoPorts + "[[rule]]\nchain = \"filter\"\naction = \"drop\"\n" + keys;
}

TEST(FileSize, AThousandMistakesAreEnough) {
    std::string text = kTwoPorts;
    for (int i = 0; i < 5000; ++i) text += "qq" + std::to_string(i) + "zz = 1\n";
    try {
        (void)parse(text);
        FAIL() << "no error";
    } catch (const ConfigError& error) {
        EXPECT_EQ(error.problems().size(), 1000U);
        EXPECT_NE(std::string_view{error.what()}.find("at least 980 more mistakes"),
                  std::string_view::npos);
    }
}

TEST(FileSize, AListOfAHundredThousandPrefixesIsTooLong) {
    const auto found = mistakes(filter_rule("src = [" + addresses(100'000) + "]\n"));

    ASSERT_EQ(found.size(), 1U);
    EXPECT_EQ(found[0].problem, "the lists of this rule make 100000 combinations");
}

TEST(FileSize, AListOfAllPortsIsTooLong) {
    const auto found = mistakes(filter_rule("proto = \"udp\"\ndport = [" + ports(65'536) + "]\n"));

    ASSERT_EQ(found.size(), 1U);
    EXPECT_EQ(found[0].problem, "the lists of this rule make 65536 combinations");
}

// 2^16 to the fourth is 0 in 64 bits.
TEST(FileSize, ListsThatMultiplyToMoreThanCanBeCountedAreTooLong) {
    const auto found = mistakes(
        filter_rule("proto = \"udp\"\nsport = [" + ports(65'536) + "]\ndport = [" + ports(65'536) +
                    "]\nsrc = [" + addresses(65'536) + "]\ndst = [" + addresses(65'536) + "]\n"));

    ASSERT_EQ(found.size(), 1U);
    EXPECT_EQ(found[0].problem, "the lists of this rule make 18446744073709551615 combinations");
}

TEST(FileSize, ARouteIsFoundTwiceAmongManyThousand) {
    std::string text = kTwoPorts;
    for (unsigned i = 0; i < 50'000; ++i)
        text += "[[route]]\nto = \"10." + std::to_string(i >> 16) + "." +
                std::to_string(i >> 8 & 255) + "." + std::to_string(i & 255) +
                "\"\nvia = \"192.168.1.2\"\n";
    EXPECT_EQ(parse(text).routes.size(), 50'000U);
    const int first = line_with(text, "10.0.0.0");

    const auto found = mistakes(text + "[[route]]\nto = \"10.0.0.0\"\nvia = \"192.168.1.3\"\n");

    ASSERT_EQ(found.size(), 1U);
    EXPECT_EQ(found[0].problem,
              "route to 10.0.0.0/32 is already defined on line " + std::to_string(first - 1));
}

TEST(FileSize, ANeighbourIsFoundTwiceAmongManyThousand) {
    std::string text =
        "[[port]]\nname = \"lan\"\ndevice = \"net_null0\"\naddresses = [\"10.255.0.1/8\"]\n";
    for (unsigned i = 1; i <= 30'000; ++i)
        text += "[[neighbour]]\naddress = \"10.0." + std::to_string(i >> 8) + "." +
                std::to_string(i & 255) + "\"\nmac = \"02:00:00:00:00:01\"\nport = \"lan\"\n";
    EXPECT_EQ(parse(text).neighbours.size(), 30'000U);

    const auto found = mistakes(text +
                                "[[neighbour]]\naddress = \"10.0.0.1\"\n"
                                "mac = \"02:00:00:00:00:02\"\nport = \"lan\"\n");

    ASSERT_EQ(found.size(), 1U);
    EXPECT_EQ(found[0].problem, "neighbour 10.0.0.1 is already defined on line 5");
}

TEST(FileSize, APortHasTwoHundredAndFiftySixAddressesAtMost) {
    const auto with = [](unsigned count) {
        std::string list;
        for (unsigned i = 1; i <= count; ++i)
            list += "\"10." + std::to_string(i >> 8) + "." + std::to_string(i & 255) + ".1/24\",";
        return "[[port]]\nname = \"a\"\ndevice = \"net_null0\"\naddresses = [" + list + "]\n";
    };
    EXPECT_EQ(parse(with(256)).ports[0].addresses.size(), 256U);

    const auto found = mistakes(with(257));

    ASSERT_EQ(found.size(), 1U);
    EXPECT_EQ(found[0].line, 4);
    EXPECT_EQ(found[0].problem, "a port has 257 addresses");
    EXPECT_EQ(found[0].remedy, "give it 256 at most");
}

TEST(FileSize, AKeyOfAHundredThousandPartsIsRefused) {
    for (const std::string& text :
         {"\n" + deep_key(100'000) + " = 1\n", "\n[" + deep_key(100'000) + "]\n",
          "\nx = [{ " + deep_key(100'000) + " = 1 }]\n",
          "\n\"a\" . 'a'. " + deep_key(100'000) + " = 1\n",
          "x = \"\"\"'\n'\"\"\"\"\"\n" + deep_key(17) + " = 1\n"}) {
        const auto found = mistakes(text);

        ASSERT_EQ(found.size(), 1U) << text.substr(0, 40);
        EXPECT_EQ(found[0].line, 1 + (text[0] == 'x') + 1) << text.substr(0, 40);
        EXPECT_EQ(found[0].problem, "a key has more than 16 parts");
    }
}

TEST(FileSize, DotsInTextAreNoKeys) {
    const std::string dots = deep_key(100);
    for (const std::string& text :
         {"# " + dots + "\n", "eal = \"" + dots + "\"\n", "eal = '" + dots + "'\n",
          "eal = \"\\\"" + dots + "\"\n", "eal = \"\"\"\n" + dots + "\\\n" + dots + "\"\"\"\"\n",
          "eal = '''\n" + dots + "'''''\n", "eal = [\"a.b\", \"" + dots + "\"] # '\n",
          "eal = \"\" # " + dots + "\n"})
        EXPECT_EQ(parse(kTwoPorts + "[dataplane]\n" + text).ports.size(), 2U) << text;
}

TEST(FileSize, TablesInTablesAreBounded) {
    std::string open;
    std::string close;
    for (int i = 0; i < 100'000; ++i) {
        open += "{ " + deep_key(16) + " = ";
        close += "}";
    }

    const auto found = mistakes("x = " + open + "1" + close + "\n");

    ASSERT_EQ(found.size(), 1U);
    EXPECT_TRUE(found[0].problem.starts_with("no valid TOML: ")) << found[0].problem;
}

TEST(Zones, OneWithoutAProperNumberIsNotZoneZero) {
    const auto found = mistakes(kTwoPorts + "[[zone]]\nid = 0\n[[zone]]\nid = 70000\n");

    ASSERT_EQ(found.size(), 1U);
    EXPECT_EQ(found[0].problem, "'id' is 70000, which is out of bounds");
}

}  // namespace
}  // namespace dp::test
