// SPDX-License-Identifier: BSD-3-Clause
#include "nat/pref64.hpp"

#include "tests/support/packet_builder.hpp"

#include <gtest/gtest.h>

#include <random>
#include <string_view>
#include <vector>

namespace {

using test::addr;

ct::Prefix prefix(std::string_view text, std::uint8_t bits) {
    return {addr(text), bits, ct::Family::Ipv6};
}

struct Example {
    ct::Prefix prefix;
    std::string_view six;
};

// RFC 6052 2.4: 192.0.2.33 behind a prefix of each length, and behind the well-known one.
std::vector<Example> examples() {
    return {{prefix("2001:db8::", 32), "2001:db8:c000:221::"},
            {prefix("2001:db8:100::", 40), "2001:db8:1c0:2:21::"},
            {prefix("2001:db8:122::", 48), "2001:db8:122:c000:2:2100::"},
            {prefix("2001:db8:122:300::", 56), "2001:db8:122:3c0:0:221::"},
            {prefix("2001:db8:122:344::", 64), "2001:db8:122:344:c0:2:2100::"},
            {prefix("2001:db8:122:344::", 96), "2001:db8:122:344::192.0.2.33"},
            {nat::kWellKnownPrefix, "64:ff9b::192.0.2.33"}};
}

TEST(Pref64, EmbedsAndExtractsTheExamplesOfTheRfc) {
    for (const Example& e : examples()) {
        EXPECT_EQ(nat::embed(e.prefix, addr("192.0.2.33")), addr(e.six)) << e.six;
        EXPECT_EQ(nat::extract(e.prefix, addr(e.six)), addr("192.0.2.33")) << e.six;
        EXPECT_EQ(nat::prefix_between(addr(e.six), addr("192.0.2.33")), e.prefix) << e.six;
    }
}

// RFC 6052 2.2: bits 64 to 71 are zero; what stands in the suffix is kept for later.
TEST(Pref64, WantsTheReservedByteZeroAndIgnoresTheSuffix) {
    EXPECT_EQ(nat::extract(prefix("2001:db8::", 32), addr("2001:db8:c000:221:100::")),
              std::nullopt);
    EXPECT_EQ(nat::extract(prefix("2001:db8::", 32), addr("2001:db8:c000:221:1::1")),
              addr("192.0.2.33"));
    EXPECT_EQ(nat::extract(prefix("2001:db8::", 32), addr("2001:db9:c000:221::")), std::nullopt);
}

TEST(Pref64, KnowsTheLengthsOfTheRfc) {
    std::vector<unsigned> lengths;
    for (unsigned bits = 0; bits <= 128; ++bits)
        if (nat::is_pref64_length(bits)) lengths.push_back(bits);

    EXPECT_EQ(lengths, (std::vector<unsigned>{32, 40, 48, 56, 64, 96}));
}

TEST(Pref64, EveryAddressComesBack) {
    std::mt19937 random{6052};
    for (int i = 0; i < 10'000; ++i) {
        const ct::Addr four =
            ct::Addr::v4(ct::Be32::from_host(static_cast<std::uint32_t>(random())));
        for (const Example& e : examples())
            ASSERT_EQ(nat::extract(e.prefix, nat::embed(e.prefix, four)), four);
    }
}

TEST(Pref64, NoPrefixFitsAForeignAddress) {
    EXPECT_EQ(nat::prefix_between(addr("2001:db8::1"), addr("192.0.2.33")), std::nullopt);
}

// RFC 6052 3.1, RFC 5735 3
TEST(Pref64, TellsAddressesOfTheInternet) {
    for (const auto* text :
         {"10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "127.0.0.1", "169.254.1.1",
          "0.1.2.3", "192.0.2.33", "198.51.100.1", "203.0.113.9", "198.18.0.1", "198.19.255.255",
          "224.0.0.1", "255.255.255.255", "192.0.0.1"})
        EXPECT_FALSE(nat::is_global_ipv4(addr(text))) << text;
    for (const auto* text : {"1.0.0.1", "9.255.255.255", "11.0.0.0", "172.15.0.1", "172.32.0.1",
                             "192.0.1.1", "192.167.1.1", "198.17.0.1", "198.20.0.1", "223.255.0.1"})
        EXPECT_TRUE(nat::is_global_ipv4(addr(text))) << text;
}

TEST(Pref64, TellsAddressesOfOneHost) {
    for (const auto* text : {"0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255"})
        EXPECT_FALSE(nat::is_host_ipv4(addr(text))) << text;
    EXPECT_TRUE(nat::is_host_ipv4(addr("10.0.0.1")));
}

}  // namespace
