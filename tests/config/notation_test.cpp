// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/control/notation.hpp"

#include "tests/config/support.hpp"

#include <gtest/gtest.h>

#include <array>
#include <random>

namespace dp::test {
namespace {

using namespace std::string_view_literals;

TEST(AddressText, IsReadInBothFamilies) {
    EXPECT_EQ(parse_address("192.0.2.1")->family, ct::Family::Ipv4);
    EXPECT_EQ(parse_address("192.0.2.1")->addr.as_v4().host(), 0xc000'0201U);
    EXPECT_EQ(parse_address("2001:db8::1")->family, ct::Family::Ipv6);
    EXPECT_EQ(parse_address("2001:db8::1")->addr.bytes[15], 1);
}

TEST(AddressText, IsNothingElse) {
    for (const auto text :
         {""sv, "192.0.2"sv, "192.0.2.256"sv, "192.0.2.1/24"sv, "::1::"sv, "[::1]"sv,
          "fe80::1%eth0"sv, "192.0.2.1\0x"sv, "localhost"sv, " 192.0.2.1"sv})
        EXPECT_FALSE(parse_address(text)) << text;
}

TEST(PrefixText, KeepsHostBits) {
    const auto p = parse_prefix("192.0.2.1/24");

    ASSERT_TRUE(p);
    EXPECT_EQ(to_string(*p), "192.0.2.1/24");
    EXPECT_EQ(to_string(masked(*p)), "192.0.2.0/24");
}

TEST(PrefixText, OfOneAddressIsItsWholeLength) {
    EXPECT_EQ(prefix("192.0.2.1").length, 32);
    EXPECT_EQ(prefix("2001:db8::1").length, 128);
}

TEST(PrefixText, IsNothingElse) {
    for (const char* text :
         {"", "/24", "192.0.2.0/", "192.0.2.0/33", "2001:db8::/129", "192.0.2.0/x", "192.0.2.0/-1",
          "192.0.2.0/0x8", "192.0.2.0/24/1", "any"})
        EXPECT_FALSE(parse_prefix(text)) << text;
}

TEST(PrefixText, SurvivesARoundTrip) {
    constexpr unsigned kSeed = 7;
    std::mt19937 random{kSeed};
    for (int i = 0; i < 2000; ++i) {
        nat::Prefix p;
        p.family = i % 2 == 0 ? ct::Family::Ipv4 : ct::Family::Ipv6;
        const std::size_t size = address_bits(p.family) / 8U;
        for (std::size_t b = 0; b < size; ++b)
            p.addr.bytes[b] = random() % 3 == 0 ? 0 : static_cast<std::uint8_t>(random());
        p.length = static_cast<std::uint8_t>(random() % (address_bits(p.family) + 1U));

        EXPECT_EQ(parse_prefix(to_string(p)), p) << to_string(p) << " seed " << kSeed;
        EXPECT_EQ(parse_prefix(to_string(masked(p))), masked(p)) << to_string(p);
    }
}

TEST(Masking, ClearsEveryBitBehindTheLength) {
    EXPECT_EQ(to_string(masked(prefix("255.255.255.255/0"))), "0.0.0.0/0");
    EXPECT_EQ(to_string(masked(prefix("255.255.255.255/1"))), "128.0.0.0/1");
    EXPECT_EQ(to_string(masked(prefix("255.255.255.255/9"))), "255.128.0.0/9");
    EXPECT_EQ(to_string(masked(prefix("255.255.255.255/32"))), "255.255.255.255/32");
    EXPECT_EQ(to_string(masked(prefix("2001:db8:ffff::1/47"))), "2001:db8:fffe::/47");
}

TEST(Overlap, IsThatTheShorterHoldsTheLonger) {
    EXPECT_TRUE(overlap(prefix("10.0.0.0/8"), prefix("10.1.0.0/16")));
    EXPECT_TRUE(overlap(prefix("10.1.0.0/16"), prefix("10.0.0.0/8")));
    EXPECT_FALSE(overlap(prefix("10.0.0.0/16"), prefix("10.1.0.0/16")));
    EXPECT_FALSE(overlap(prefix("0.0.0.0/0"), prefix("::/0")));
}

TEST(SpecialAddress, IsWhatNoStationMayBeCalled) {
    for (const char* text : {"0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "255.255.255.255",
                             "::", "::1", "ff02::1"})
        EXPECT_TRUE(is_special(*parse_address(text))) << text;
    for (const char* text : {"192.0.2.1", "10.0.0.1", "2001:db8::", "fe80::1", "::2"})
        EXPECT_FALSE(is_special(*parse_address(text))) << text;
}

TEST(LinkLocal, IsTheFirstTenBits) {
    EXPECT_TRUE(is_link_local(*parse_address("fe80::1")));
    EXPECT_TRUE(is_link_local(*parse_address("febf::1")));
    EXPECT_FALSE(is_link_local(*parse_address("fec0::1")));
    EXPECT_FALSE(is_link_local(*parse_address("254.128.0.1")));
}

TEST(MacText, SurvivesARoundTrip) {
    const auto mac = parse_mac("02:aB:00:1f:ff:09");

    ASSERT_TRUE(mac);
    EXPECT_EQ(to_string(*mac), "02:ab:00:1f:ff:09");
    EXPECT_EQ(parse_mac(to_string(*mac)), mac);
}

TEST(MacText, IsNothingElse) {
    for (const char* text : {"", "02:00:00:00:00", "02-00-00-00-00-01", "02:00:00:00:00:0g",
                             "02:00:00:00:00:01:", "0200.0000.0001  "})
        EXPECT_FALSE(parse_mac(text)) << text;
}

TEST(PortText, IsOnePortOrARange) {
    EXPECT_EQ(parse_ports("80"), (nat::PortRange{80, 80}));
    EXPECT_EQ(parse_ports("8000-8080"), (nat::PortRange{8000, 8080}));
    EXPECT_EQ(parse_ports("0-65535"), (nat::PortRange{0, 65'535}));
    EXPECT_EQ(parse_ports("9000-80"), (nat::PortRange{9000, 80}));  // judged by the caller
}

TEST(PortText, IsNothingElse) {
    for (const char* text :
         {"", "-", "80-", "-80", "65536", "80-90-100", "http", "0x50", "80:90", "80 "})
        EXPECT_FALSE(parse_ports(text)) << text;
}

struct TargetCase {
    const char* text;
    const char* first;
    const char* last;
    nat::PortRange ports;
};

TEST(TargetText, HasAddressesAndPortsInConventionalNotation) {
    const nat::PortRange any{};
    const std::array<TargetCase, 12> cases{{
        {"192.0.2.1", "192.0.2.1", "192.0.2.1", any},
        {"192.0.2.1:80", "192.0.2.1", "192.0.2.1", {80, 80}},
        {"192.0.2.1:1024-65535", "192.0.2.1", "192.0.2.1", {1024, 65'535}},
        {"192.0.2.1-192.0.2.9", "192.0.2.1", "192.0.2.9", any},
        {"192.0.2.1-192.0.2.9:1024-65535", "192.0.2.1", "192.0.2.9", {1024, 65'535}},
        {"192.0.2.16/28", "192.0.2.16", "192.0.2.31", any},
        {"192.0.2.16/28:5000-6000", "192.0.2.16", "192.0.2.31", {5000, 6000}},
        {"2001:db8::1", "2001:db8::1", "2001:db8::1", any},
        {"[2001:db8::1]:80", "2001:db8::1", "2001:db8::1", {80, 80}},
        {"2001:db8::1-2001:db8::9", "2001:db8::1", "2001:db8::9", any},
        {"[2001:db8::1]-[2001:db8::9]:1-9", "2001:db8::1", "2001:db8::9", {1, 9}},
        {"2001:db8::/126", "2001:db8::", "2001:db8::3", any},
    }};
    for (const TargetCase& c : cases) {
        const auto target = parse_target(c.text);

        ASSERT_TRUE(target) << c.text;
        EXPECT_EQ(target->family, parse_address(c.first)->family) << c.text;
        EXPECT_EQ(target->first_addr, addr(c.first)) << c.text;
        EXPECT_EQ(target->last_addr, addr(c.last)) << c.text;
        EXPECT_EQ(target->ports, c.ports) << c.text;
    }
}

TEST(TargetText, IsNothingElse) {
    for (const char* text :
         {"", ":80", "192.0.2.1:", "192.0.2.1:x", "192.0.2.1-", "192.0.2.1-2001:db8::1",
          "[192.0.2.1]:80", "[2001:db8::1", "[2001:db8::1]80", "192.0.2.1/24", "192.0.2.0/33",
          "192.0.2.0/", "192.0.2.1:80:90"})
        EXPECT_FALSE(parse_target(text)) << text;
}

TEST(MarkText, IsAValueAndAMask) {
    EXPECT_EQ(parse_mark("0x1/0xff")->value, 1U);
    EXPECT_EQ(parse_mark("0x1/0xff")->mask, 0xffU);
    EXPECT_EQ(parse_mark("7")->mask, 0xffff'ffffU);
    for (const char* text : {"", "/", "1/", "x", "0x100000000", "1/0x100000000", "1/2/3"})
        EXPECT_FALSE(parse_mark(text)) << text;
}

TEST(ProtocolText, IsANameOrANumber) {
    EXPECT_EQ(parse_protocol("tcp"), 6);
    EXPECT_EQ(parse_protocol("ipv6-icmp"), 58);
    EXPECT_EQ(parse_protocol("0"), 0);
    EXPECT_EQ(parse_protocol("255"), 255);
    EXPECT_FALSE(parse_protocol("256"));
    EXPECT_FALSE(parse_protocol("TCPP"));
    EXPECT_EQ(protocol_name(58), "icmpv6");
    EXPECT_EQ(protocol_name(200), "200");
}

TEST(PciText, GetsItsDomain) {
    EXPECT_EQ(parse_pci("01:00.0"), "0000:01:00.0");
    EXPECT_EQ(parse_pci("0000:AF:1f.7"), "0000:af:1f.7");
    for (const char* text :
         {"", "01:00", "0000:01:00.8", "0000:01:20.0", "00:01:00.0", "0000-01-00.0", "net_tap0"})
        EXPECT_FALSE(parse_pci(text)) << text;
}

TEST(Nearest, IsTheWordThatASlipMakesOfAnother) {
    const std::array words{"workers"sv, "burst"sv, "mode"sv, "lan"sv};

    EXPECT_EQ(nearest("wrokers", words), "workers");
    EXPECT_EQ(nearest("worker", words), "workers");
    EXPECT_EQ(nearest("Mode", words), "mode");
    EXPECT_EQ(nearest("lam", words), "lan");
    EXPECT_EQ(nearest("metrics", words), "");
    EXPECT_EQ(nearest("", words), "");
    EXPECT_EQ(nearest(std::string(100'000, 'x'), words), "");
}

TEST(Quoting, MakesTextSafeForOneLine) {
    EXPECT_EQ(in_quotes("lan"), "'lan'");
    EXPECT_EQ(in_quotes("a\nb\x7f"), "'a?b?'");
    EXPECT_EQ(in_quotes(std::string(61, 'x')), "'" + std::string(60, 'x') + "...'");
    EXPECT_EQ(in_quotes(std::string(59, 'x') + "\xc3\xa4"), "'" + std::string(59, 'x') + "...'");
}

}  // namespace
}  // namespace dp::test
