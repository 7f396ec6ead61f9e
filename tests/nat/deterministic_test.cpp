// SPDX-License-Identifier: BSD-3-Clause
//
// RFC 7422: the arithmetic of deterministic NAT, both ways.
#include "nat/deterministic.hpp"

#include "tests/nat/nat_box.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <stdexcept>

namespace {

using nat::AddressRange;
using nat::Deterministic;
using nat::DeterministicPlan;
using nat::PortRange;
using test::addr;
using test::prefix;

AddressRange range(std::string_view first, std::string_view last) {
    const bool six = first.find(':') != std::string_view::npos;
    return {six ? ct::Family::Ipv6 : ct::Family::Ipv4, addr(first), addr(last)};
}

DeterministicPlan plan(std::string_view inside, std::string_view first, std::string_view last) {
    DeterministicPlan p;
    p.inside = prefix(inside);
    p.outside = range(first, last);
    return p;
}

TEST(AddressRange, CountsAndNumbersItsAddresses) {
    const AddressRange r = range("192.0.2.250", "192.0.3.5");

    EXPECT_EQ(r.count(), 12U);
    EXPECT_EQ(r.at(0), addr("192.0.2.250"));
    EXPECT_EQ(r.at(6), addr("192.0.3.0"));
    EXPECT_EQ(r.index_of(ct::Family::Ipv4, addr("192.0.3.5")), 11U);
    EXPECT_FALSE(r.index_of(ct::Family::Ipv4, addr("192.0.3.6")));
    EXPECT_FALSE(r.index_of(ct::Family::Ipv4, addr("192.0.2.249")));
    EXPECT_FALSE(r.index_of(ct::Family::Ipv6, addr("192.0.3.5")));
}

TEST(AddressRange, CountsIpv6WithinOneSubnet) {
    EXPECT_EQ(range("2001:db8::ff00", "2001:db8::1:00ff").count(), 512U);
    EXPECT_EQ(range("2001:db8::ff00", "2001:db8::1:00ff").at(256), addr("2001:db8::1:0"));
    EXPECT_EQ(range("2001:db8::", "2001:db8:0:1::").count(), 0U);
    EXPECT_EQ(range("192.0.2.2", "192.0.2.1").count(), 0U);
}

// RFC 7422 2.2 "sequential", with an example small enough to be worked out by hand: 16 subscribers
// on 4 addresses are 4 on each, with 64512 / 4 ports.
TEST(Deterministic, GivesSharesInOrder) {
    const Deterministic d{plan("100.64.0.0/28", "192.0.2.1", "192.0.2.4")};

    EXPECT_EQ(d.subscribers(), 16U);
    EXPECT_EQ(d.ratio(), 4U);
    EXPECT_EQ(d.ports_each(), 16'128U);
    EXPECT_EQ(d.share_of(ct::Family::Ipv4, addr("100.64.0.0")),
              (nat::Share{0, {1024, 1024 + 16'127}}));
    EXPECT_EQ(d.share_of(ct::Family::Ipv4, addr("100.64.0.6")),
              (nat::Share{1, {1024 + 2 * 16'128, 1024 + 3 * 16'128 - 1}}));
    EXPECT_EQ(d.share_of(ct::Family::Ipv4, addr("100.64.0.15")),
              (nat::Share{3, {1024 + 3 * 16'128, 65535}}));
    EXPECT_FALSE(d.share_of(ct::Family::Ipv4, addr("100.64.0.16")));
}

TEST(Deterministic, EveryEndpointOfAShareLeadsBackToItsSubscriber) {
    DeterministicPlan p = plan("100.64.0.0/22", "192.0.2.1", "192.0.2.7");
    p.reserve = 4096;
    const Deterministic d{p};

    std::set<std::pair<std::uint32_t, std::uint16_t>> first_ports;
    for (std::uint32_t n = 0; n < 1024; ++n) {
        const ct::Addr inside = ct::Addr::v4(ct::Be32::from_host((100U << 24U | 64U << 16U) + n));
        const auto share = d.share_of(ct::Family::Ipv4, inside);
        ASSERT_TRUE(share);
        EXPECT_EQ(share->ports.count(), d.ports_each());
        EXPECT_TRUE(first_ports.insert({share->address, share->ports.first}).second);
        for (const std::uint16_t port : {share->ports.first, share->ports.last}) {
            const auto who = d.subscriber_at(ct::Family::Ipv4, p.outside.at(share->address), port);
            ASSERT_TRUE(who);
            EXPECT_EQ(who->addr, inside);
            EXPECT_EQ(who->length, 32);
        }
    }
}

// RFC 7422 2.1: well-known ports are nobody's, and neither is the reserve for overflow.
TEST(Deterministic, LeavesWellKnownPortsAndTheReserveOut) {
    DeterministicPlan p = plan("100.64.0.0/28", "192.0.2.1", "192.0.2.4");
    p.reserve = 8192;
    const Deterministic d{p};
    const ct::Addr outside = addr("192.0.2.1");

    ASSERT_TRUE(d.overflow());
    EXPECT_GE(d.overflow()->count(), 8192U);
    EXPECT_EQ(d.overflow()->last, 65535);
    EXPECT_FALSE(d.subscriber_at(ct::Family::Ipv4, outside, 1023));
    EXPECT_TRUE(d.subscriber_at(ct::Family::Ipv4, outside, 1024));
    EXPECT_TRUE(d.subscriber_at(ct::Family::Ipv4, outside,
                                static_cast<std::uint16_t>(d.overflow()->first - 1)));
    EXPECT_FALSE(d.subscriber_at(ct::Family::Ipv4, outside, d.overflow()->first));
    EXPECT_FALSE(d.subscriber_at(ct::Family::Ipv4, addr("192.0.2.5"), 2000));
}

// With a set size, an address that is added behind the others moves nobody.
TEST(Deterministic, SharesOfASetSizeStayWhenAnAddressIsAdded) {
    DeterministicPlan p = plan("100.64.0.0/25", "192.0.2.1", "192.0.2.2");
    p.ports_each = 1000;
    const Deterministic two{p};
    p.outside = range("192.0.2.1", "192.0.2.9");
    const Deterministic nine{p};

    EXPECT_EQ(two.ratio(), 64U);
    for (const std::string_view inside :
         {"100.64.0.1", "100.64.0.63", "100.64.0.64", "100.64.0.127"})
        EXPECT_EQ(two.share_of(ct::Family::Ipv4, addr(inside)),
                  nine.share_of(ct::Family::Ipv4, addr(inside)));
}

TEST(Deterministic, ASubscriberOfIpv6IsAPrefix) {
    DeterministicPlan p = plan("2001:db8:40::/56", "2001:db8:2::1", "2001:db8:2::4");
    p.subscriber_length = 64;
    const Deterministic d{p};

    EXPECT_EQ(d.subscribers(), 256U);
    const auto a = d.share_of(ct::Family::Ipv6, addr("2001:db8:40:7::1"));
    const auto b = d.share_of(ct::Family::Ipv6, addr("2001:db8:40:7:ffff::9"));
    ASSERT_TRUE(a);
    EXPECT_EQ(a, b);
    EXPECT_NE(a, d.share_of(ct::Family::Ipv6, addr("2001:db8:40:8::1")));
    EXPECT_EQ(d.subscriber_at(ct::Family::Ipv6, p.outside.at(a->address), a->ports.first),
              prefix("2001:db8:40:7::/64"));
}

TEST(Deterministic, MoreAddressesThanSubscribersGiveEachOneOfHisOwn) {
    const Deterministic d{plan("100.64.0.0/31", "192.0.2.1", "192.0.2.9")};

    EXPECT_EQ(d.ratio(), 1U);
    EXPECT_EQ(d.share_of(ct::Family::Ipv4, addr("100.64.0.1")), (nat::Share{1, {1024, 65535}}));
    EXPECT_FALSE(d.overflow());
    EXPECT_FALSE(d.subscriber_at(ct::Family::Ipv4, addr("192.0.2.3"), 2000));
}

TEST(Deterministic, RefusesWhatGivesNobodyEnough) {
    DeterministicPlan crowded = plan("10.0.0.0/16", "192.0.2.1", "192.0.2.4");
    EXPECT_THAT(Deterministic::fault(crowded), testing::HasSubstr("16384 subscribers share"));
    EXPECT_THROW(Deterministic{crowded}, std::invalid_argument);

    DeterministicPlan too_many = plan("10.0.0.0/8", "192.0.2.1", "192.0.2.4");
    EXPECT_THAT(Deterministic::fault(too_many), testing::HasSubstr("2^24 subscribers"));

    DeterministicPlan large_shares = plan("100.64.0.0/24", "192.0.2.1", "192.0.2.2");
    large_shares.ports_each = 1024;
    EXPECT_THAT(Deterministic::fault(large_shares), testing::HasSubstr("126 of 256 subscribers"));

    DeterministicPlan all_reserved = plan("100.64.0.0/24", "192.0.2.1", "192.0.2.2");
    all_reserved.reserve = 64'512;
    EXPECT_EQ(Deterministic::fault(all_reserved), "the reserve leaves no ports");
    EXPECT_EQ(Deterministic::fault(plan("100.64.0.0/24", "192.0.2.2", "192.0.2.1")),
              "it has no external addresses");
}

}  // namespace
