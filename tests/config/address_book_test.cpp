// SPDX-License-Identifier: BSD-3-Clause
//
// Addresses of ports that change at run time: what can be said then is what a file could say.
#include "dataplane/control/address_book.hpp"

#include "dataplane/control/filter.hpp"
#include "support.hpp"

#include <gtest/gtest.h>

namespace {

using ct::Family;
using dp::AddressBook;
using dp::BadParameter;
using dp::test::addr;
using dp::test::prefix;

constexpr ct::PortId kLan = 0;
constexpr ct::PortId kWan = 1;

const dp::Config& two_ports() {
    static const dp::Config config = dp::test::with_ports(
        "[[route]]\nto = \"0.0.0.0/0\"\nvia = \"203.0.113.254\"\n"
        "[[route]]\nto = \"198.51.100.0/24\"\nvia = \"203.0.113.253\"\n"
        "[[neighbour]]\naddress = \"203.0.113.9\"\nmac = \"02:00:00:00:00:09\"\nport = \"wan\"\n");
    return config;
}

/// What is wrong with giving `port` this address; empty if nothing.
std::string refusal(ct::PortId port, const char* address) {
    try {
        (void)AddressBook{two_ports()}.with(two_ports(), port, prefix(address));
    } catch (const BadParameter& e) {
        return e.what();
    }
    return {};
}

TEST(AddressBook, BeginsAsTheConfigurationAndGrowsAtTheEnd) {
    const AddressBook before{two_ports()};
    const AddressBook after = before.with(two_ports(), kWan, prefix("203.0.113.2/24"))
                                  .with(two_ports(), kWan, prefix("192.0.2.1/28"));

    EXPECT_EQ(before.of(kWan).size(), 2U);
    ASSERT_EQ(after.of(kWan).size(), 4U);
    EXPECT_EQ(after.primary(kWan, Family::Ipv4)->prefix, prefix("203.0.113.1/24"));
    EXPECT_TRUE(after.is_own(kWan, Family::Ipv4, addr("192.0.2.1")));
    EXPECT_FALSE(after.is_own(kLan, Family::Ipv4, addr("192.0.2.1")));
    EXPECT_EQ(after.all(Family::Ipv4).size(), 4U);
    EXPECT_EQ(after.source_for(kWan, Family::Ipv4, addr("192.0.2.7")), addr("192.0.2.1"));
    EXPECT_EQ(after.source_for(kWan, Family::Ipv4, addr("100.64.0.1")), addr("203.0.113.1"));
}

// Who had an external port could not be told.
TEST(AddressBook, WhatSubscribersAreGivenIsNoAddressToMasqueradeWith) {
    const dp::Config config = dp::test::with_ports(
        "[[rule]]\nchain = \"nat\"\naction = \"snat\"\nout = \"wan\"\nsrc = \"10.0.0.0/8\"\n"
        "to = \"192.0.2.0-192.0.2.7\"\nblocks = {}\n"
        "[[rule]]\nchain = \"nat\"\naction = \"masquerade\"\nout = \"wan\"\n");
    const AddressBook book{config};

    EXPECT_NO_THROW((void)book.with(config, kLan, prefix("192.0.2.1/29")));
    EXPECT_NO_THROW((void)book.with(config, kWan, prefix("192.0.2.9/29")));
    try {
        (void)book.with(config, kWan, prefix("192.0.2.1/29"));
        ADD_FAILURE();
    } catch (const BadParameter& e) {
        EXPECT_STREQ(e.what(),
                     "192.0.2.1 is an address that the rule on line 3 gives subscribers, and the "
                     "one on line 10 would give others");
    }
}

TEST(AddressBook, TheNextOneIsPrimaryWhenTheFirstHasGone) {
    const AddressBook two =
        AddressBook{two_ports()}.with(two_ports(), kWan, prefix("203.0.113.2/24"));

    const AddressBook one = two.without(two_ports(), kWan, prefix("203.0.113.1/24"));
    EXPECT_EQ(one.for_nat()[kWan].ipv4, addr("203.0.113.2"));
    EXPECT_EQ(one.for_nat()[kWan].ipv6, addr("2001:db8:2::1"));

    const AddressBook none = one.without(two_ports(), kWan, prefix("203.0.113.2/24"));
    EXPECT_FALSE(none.for_nat()[kWan].ipv4);
    EXPECT_EQ(none.primary(kWan, Family::Ipv4), nullptr);
    EXPECT_EQ(none.source_for(kWan, Family::Ipv4, addr("203.0.113.7")), addr("192.168.1.1"))
        << "another port's";
}

TEST(AddressBook, RefusesWhatAConfigurationCouldNotSay) {
    EXPECT_EQ(refusal(kWan, "203.0.113.2/24"), "");
    EXPECT_EQ(refusal(kWan, "fe80::1/64"), "");
    EXPECT_EQ(refusal(kWan, "203.0.113.0/24"),
              "203.0.113.0/24 is the address of the subnet itself");
    EXPECT_EQ(refusal(kWan, "224.0.0.1/24"), "224.0.0.1/24 is not an address of one station");
    EXPECT_EQ(refusal(kWan, "203.0.113.1/25"), "port 'wan' has 203.0.113.1 already");
    EXPECT_EQ(refusal(kWan, "192.168.1.9/32"),
              "192.168.1.9/32 overlaps 192.168.1.1/24 of port 'lan'");
    EXPECT_EQ(refusal(kWan, "203.0.113.254/24"),
              "203.0.113.254 is the gateway of the route to 0.0.0.0/0");
    EXPECT_EQ(refusal(kWan, "198.51.100.1/24"),
              "198.51.100.0/24 is what a [[route]] of the configuration leads to");
    EXPECT_EQ(refusal(kWan, "203.0.113.9/24"), "203.0.113.9 is the address of a [[neighbour]]");
}

TEST(AddressBook, TakesAwayOnlyWhatIsThere) {
    const AddressBook book{two_ports()};
    for (const char* wrong : {"203.0.113.1/25", "203.0.113.2/24", "192.168.1.1/24"}) {
        try {
            (void)book.without(two_ports(), kWan, prefix(wrong));
            ADD_FAILURE() << wrong;
        } catch (const BadParameter& e) {
            EXPECT_EQ(std::string{e.what()}, std::string{"port 'wan' does not have "} + wrong +
                                                 "; it has 203.0.113.1/24, 2001:db8:2::1/64");
        }
    }
}

TEST(AddressBook, IsAsTightAsAFile) {
    AddressBook full{two_ports()};
    for (unsigned n = 2; n < 256; ++n)
        full = full.with(two_ports(), kWan, prefix("10.0.0." + std::to_string(n - 1) + "/20"));
    EXPECT_EQ(full.of(kWan).size(), 256U);
    EXPECT_THROW((void)full.with(two_ports(), kWan, prefix("10.0.1.1/20")), BadParameter);

    const dp::Config wire = dp::test::parse(
        "[dataplane]\nmode = \"wire\"\n"
        "[[port]]\nname = \"a\"\ndevice = \"net_null0\"\npeer = \"b\"\n"
        "[[port]]\nname = \"b\"\ndevice = \"net_null1\"\npeer = \"a\"\n");
    EXPECT_THROW((void)AddressBook{wire}.with(wire, 0, prefix("192.0.2.1/24")), BadParameter);
}

}  // namespace
