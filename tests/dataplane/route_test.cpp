// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/route.hpp"

#include "topology.hpp"

#include <gtest/gtest.h>

namespace {

using dp::HopKind;
using test::addr;

class Routes : public testing::Test {
protected:
    [[nodiscard]] dp::NextHop to(const std::string& destination) {
        if (!table_) table_.emplace(config_, dp::AddressBook{config_});
        const auto family =
            destination.find(':') == std::string::npos ? ct::Family::Ipv4 : ct::Family::Ipv6;
        return table_->hop(table_->lookup(family, addr(destination)));
    }

    dp::Config config_ = test::two_ports();
    std::optional<dp::RouteTable> table_;
};

TEST_F(Routes, AHostOfASubnetIsANeighbourOnItsPort) {
    EXPECT_EQ(to("192.0.2.7").kind, HopKind::Link);
    EXPECT_EQ(to("192.0.2.7").port, test::kLan);
    EXPECT_EQ(to("2001:db8:2::7").kind, HopKind::Link);
    EXPECT_EQ(to("2001:db8:2::7").port, test::kWan);
}

TEST_F(Routes, WhatNoSubnetHoldsGoesByTheDefaultGateway) {
    const dp::NextHop hop = to("203.0.113.5");

    EXPECT_EQ(hop.kind, HopKind::Gateway);
    EXPECT_EQ(hop.port, test::kWan);
    EXPECT_EQ(hop.gateway, addr("198.51.100.254"));
}

TEST_F(Routes, WithoutADefaultTheRestIsUnreachable) {
    EXPECT_EQ(to("2001:db8:9::1").kind, HopKind::Unreachable);
}

TEST_F(Routes, TheLongestPrefixWins) {
    config_.routes.push_back(
        {.to = test::prefix("203.0.113.0/24"), .via = addr("192.0.2.2"), .port = test::kLan});
    config_.routes.push_back(
        {.to = test::prefix("203.0.113.64/28"), .via = addr("192.0.2.3"), .port = test::kLan});

    EXPECT_EQ(to("203.0.113.63").gateway, addr("192.0.2.2"));
    EXPECT_EQ(to("203.0.113.64").gateway, addr("192.0.2.3"));
    EXPECT_EQ(to("203.0.113.79").gateway, addr("192.0.2.3"));
    EXPECT_EQ(to("203.0.113.80").gateway, addr("192.0.2.2"));
    EXPECT_EQ(to("203.0.114.0").gateway, addr("198.51.100.254"));
}

TEST_F(Routes, ABlackholeEndsWhatNoLongerPrefixLeadsElsewhere) {
    config_.routes.push_back({.to = test::prefix("203.0.113.0/24"), .via = std::nullopt});
    config_.routes.push_back({.to = test::prefix("2001:db8:9::/48"), .via = std::nullopt});
    config_.routes.push_back(
        {.to = test::prefix("203.0.113.64/28"), .via = addr("192.0.2.3"), .port = test::kLan});

    EXPECT_EQ(to("203.0.113.63").kind, HopKind::Blackhole);
    EXPECT_EQ(to("203.0.113.64").kind, HopKind::Gateway);
    EXPECT_EQ(to("2001:db8:9::1").kind, HopKind::Blackhole);
    EXPECT_EQ(to("203.0.114.0").kind, HopKind::Gateway);
}

TEST_F(Routes, AHostRouteOfEitherFamilyIsFound) {
    config_.routes.push_back(
        {.to = test::prefix("203.0.113.9/32"), .via = std::nullopt, .port = test::kLan});
    config_.routes.push_back({.to = test::prefix("2001:db8:3::9/128"),
                              .via = addr("2001:db8:1::2"),
                              .port = test::kLan});

    EXPECT_EQ(to("203.0.113.9").kind, HopKind::Link);
    EXPECT_EQ(to("203.0.113.9").port, test::kLan);
    EXPECT_EQ(to("2001:db8:3::9").gateway, addr("2001:db8:1::2"));
    EXPECT_EQ(to("2001:db8:3::8").kind, HopKind::Unreachable);
}

TEST_F(Routes, OwnAddressesAreLocalWhateverTheRoutesSay) {
    config_.routes.push_back(
        {.to = test::prefix("192.0.2.1/32"), .via = addr("198.51.100.2"), .port = test::kWan});

    for (const char* own :
         {"192.0.2.1", "198.51.100.1", "2001:db8:1::1", "2001:db8:2::1", "fe80::1"})
        EXPECT_EQ(to(own).kind, HopKind::Local) << own;
}

TEST_F(Routes, BroadcastsAndGroupsOfTheLinkAreTakenInAndOthersDiscarded) {
    for (const char* group : {"192.0.2.255", "255.255.255.255", "224.0.0.251", "ff02::1:ff00:1"})
        EXPECT_EQ(to(group).kind, HopKind::Group) << group;
    for (const char* foreign : {"239.1.2.3", "0.1.2.3", "241.0.0.1", "ff0e::1", "fe80::7"})
        EXPECT_EQ(to(foreign).kind, HopKind::Discard) << foreign;
}

// RFC 3021: a /31 has no broadcast address.
TEST_F(Routes, APointToPointSubnetHasNoBroadcast) {
    config_.ports[test::kLan].addresses = {{test::prefix("192.0.2.1/31")}};

    EXPECT_EQ(to("192.0.2.0").kind, HopKind::Link);
    EXPECT_EQ(to("192.0.2.1").kind, HopKind::Local);
}

TEST_F(Routes, AFamilyThatNoPortSpeaksIsUnreachable) {
    for (auto& port : config_.ports)
        std::erase_if(port.addresses, [](const dp::InterfaceAddress& a) {
            return a.prefix.family == ct::Family::Ipv6;
        });

    EXPECT_EQ(to("ff02::1").kind, HopKind::Unreachable);
    EXPECT_EQ(to("192.0.2.9").kind, HopKind::Link);
}

TEST_F(Routes, OnLinkNamesThePort) {
    const dp::RouteTable table{config_, dp::AddressBook{config_}};

    for (const ct::PortId port : {test::kLan, test::kWan})
        for (const ct::Family family : {ct::Family::Ipv4, ct::Family::Ipv6}) {
            const dp::NextHop& hop = table.hop(table.on_link(family, port));
            EXPECT_EQ(hop.kind, HopKind::Link);
            EXPECT_EQ(hop.port, port);
            EXPECT_EQ(hop.family, family);
        }
}

// A packet may be routed by one table and sent by the next.
TEST_F(Routes, HopsHaveTheSameNumbersWhateverTheAddresses) {
    const dp::AddressBook two{config_};
    const dp::AddressBook three = two.with(config_, test::kWan, test::prefix("203.0.113.1/24"));
    const dp::RouteTable before{config_, two};
    const dp::RouteTable after{config_, three};

    for (const char* to : {"192.0.2.7", "198.51.100.1", "198.51.100.9", "198.51.100.255",
                           "192.0.2.1", "224.0.0.1", "239.1.1.1", "100.64.0.1"})
        EXPECT_EQ(before.lookup(ct::Family::Ipv4, addr(to)),
                  after.lookup(ct::Family::Ipv4, addr(to)))
            << to;
    const std::uint32_t gained = after.lookup(ct::Family::Ipv4, addr("203.0.113.7"));
    EXPECT_EQ(before.hop(gained), after.hop(gained));
    EXPECT_EQ(after.hop(gained).kind, HopKind::Link);
    EXPECT_EQ(after.hop(after.lookup(ct::Family::Ipv4, addr("203.0.113.1"))).kind, HopKind::Local);
    EXPECT_EQ(before.hop(before.lookup(ct::Family::Ipv4, addr("203.0.113.1"))).kind,
              HopKind::Gateway);
}

}  // namespace
