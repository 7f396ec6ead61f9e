// SPDX-License-Identifier: BSD-3-Clause
#include "nat/usage.hpp"

#include "tests/nat/nat_box.hpp"

#include <gtest/gtest.h>

#include <initializer_list>
#include <string>
#include <vector>

namespace {

using test::addr;
using test::kLan;
using test::NatBox;
using test::PacketBuilder;

// RFC 6888 REQ-10: what an operator asks first.
TEST(NatUsage, TellsTheFullestAddressesAndTheGreatestUsers) {
    NatBox box{{test::snat(test::target("203.0.113.5"))}};
    const auto send = [&](const std::string& src, std::uint16_t port, const char* dst) {
        (void)box.send(PacketBuilder{}.ipv4(src, dst).udp(port, 53).payload("x"), kLan);
    };
    for (std::uint16_t n = 0; n < 5; ++n)
        send("10.0.0.1", static_cast<std::uint16_t>(2000 + n), "198.51.100.7");
    send("10.0.0.1", 2000, "198.51.100.8");
    send("10.0.0.2", 3000, "198.51.100.7");
    (void)box.send(PacketBuilder{}.ipv4("10.0.0.3", "198.51.100.7").echo(77), kLan);
    (void)box.send(PacketBuilder{}.ipv4("198.51.100.7", "203.0.113.1").udp(9, 9).payload("x"),
                   test::kWan);

    const nat::Usage usage = nat::usage_of(box.table(), box.setup(), box.now, 2);

    EXPECT_EQ(usage.connections, 8U);
    ASSERT_EQ(usage.addresses.size(), 2U);
    EXPECT_EQ(usage.addresses[0].addr, addr("203.0.113.5"));
    EXPECT_EQ(usage.addresses[0].proto, ct::ipproto::kUdp);
    EXPECT_EQ(usage.addresses[0].ports, 6U);
    EXPECT_EQ(usage.addresses[0].connections, 7U);
    EXPECT_EQ(usage.addresses[1].proto, ct::ipproto::kIcmp);
    EXPECT_EQ(usage.addresses[1].ports, 1U);
    ASSERT_EQ(usage.sources.size(), 2U) << "no more than asked for";
    EXPECT_EQ(usage.sources[0].addr, addr("10.0.0.1"));
    EXPECT_EQ(usage.sources[0].ports, 5U);
    EXPECT_EQ(usage.sources[0].connections, 6U);
}

/// What is used of the one address and protocol that is.
nat::AddressUsage used(NatBox& box) {
    const nat::Usage usage = nat::usage_of(box.table(), box.setup(), box.now, 10);
    EXPECT_EQ(usage.addresses.size(), 1U);
    return usage.addresses.empty() ? nat::AddressUsage{} : usage.addresses[0];
}

// The gauge is of what the rules may give away, be it ten ports or every identifier.
TEST(NatUsage, IsMeasuredByThePortsThatTheRulesGiveAway) {
    NatBox box{{test::masquerade({5000, 5009})}};
    const auto udp = [&](std::uint16_t port) {
        (void)box.send(PacketBuilder{}.ipv4("10.0.0.1", "198.51.100.7").udp(port, 53), kLan);
    };
    for (std::uint16_t n = 0; n < 5; ++n) udp(static_cast<std::uint16_t>(2000 + n));
    EXPECT_EQ(used(box).available, 10U);
    EXPECT_DOUBLE_EQ(used(box).percent(), 50);

    for (std::uint16_t n = 5; n < 12; ++n) udp(static_cast<std::uint16_t>(2000 + n));
    EXPECT_EQ(used(box).ports, 10U);
    EXPECT_DOUBLE_EQ(used(box).percent(), 100);
}

TEST(NatUsage, OfIdentifiersIsOfAllThatThereAre) {
    NatBox box{{test::masquerade()}};
    for (const std::uint16_t id : std::initializer_list<std::uint16_t>{0, 1, 700, 65535})
        (void)box.send(PacketBuilder{}.ipv4("10.0.0.1", "198.51.100.7").echo(id), kLan);

    EXPECT_EQ(used(box).available, 65'536U);
    EXPECT_EQ(used(box).in_use, 4U);
}

// Few connections have low source ports, and these keep to low ports: they are not what is short.
TEST(NatUsage, OfPortsBelow1024IsCountedAndNotMeasured) {
    NatBox box{{test::masquerade()}};
    for (const std::uint16_t port : std::initializer_list<std::uint16_t>{123, 700, 4000})
        (void)box.send(PacketBuilder{}.ipv4("10.0.0.1", "198.51.100.7").udp(port, 53), kLan);

    EXPECT_EQ(used(box).ports, 3U);
    EXPECT_EQ(used(box).available, 64'512U);
    EXPECT_EQ(used(box).in_use, 1U);
}

TEST(NatUsage, RoomIsWhatAllRulesOfAnAddressAndAProtocolHaveTogether) {
    const auto rule = [](nat::PortRange ports, int proto, const char* to = "203.0.113.5") {
        nat::Rule r = test::snat(test::target(to, ports));
        r.match.proto = proto;
        return r;
    };
    NatBox box{{rule({5000, 5009}, ct::ipproto::kUdp), rule({5005, 5019}, ct::ipproto::kUdp),
                rule({5020, 5029}, -1), rule({7000, 7009}, ct::ipproto::kTcp),
                rule({9000, 9009}, -1, "203.0.113.6")}};
    const auto room = [&](std::uint8_t proto) {
        return box.setup().room_at(ct::Family::Ipv4, addr("203.0.113.5"), proto);
    };

    EXPECT_EQ(room(ct::ipproto::kUdp), (std::vector<nat::PortRange>{{5000, 5029}}));
    EXPECT_EQ(room(ct::ipproto::kTcp), (std::vector<nat::PortRange>{{5020, 5029}, {7000, 7009}}));
    EXPECT_TRUE(box.setup().room_at(ct::Family::Ipv4, addr("203.0.113.7"), 17).empty());
}

TEST(NatUsage, OfATableWithoutTranslationIsEmpty) {
    NatBox box{{}};
    (void)box.send(PacketBuilder{}.ipv4("10.0.0.1", "198.51.100.7").udp(1, 2).payload("x"), kLan);

    const nat::Usage usage = nat::usage_of(box.table(), box.setup(), box.now, 10);

    EXPECT_EQ(usage.connections, 0U);
    EXPECT_TRUE(usage.addresses.empty());
    EXPECT_TRUE(usage.sources.empty());
}

// Of a hairpin through NAT64 the pool's address counts, not its form behind the prefix; of a caller
// from IPv4, nothing does.
TEST(NatUsage, KnowsThePoolOfNat64) {
    nat::Rule rule = test::rule(nat::Chain::Nat, nat::Action::Nat64);
    rule.match.dst = test::prefix("2001:db8:64::/96");
    rule.target = test::target("203.0.113.5");
    rule.behaviour.mapping = nat::Mapping::EndpointIndependent;
    rule.behaviour.filtering = nat::Filtering::EndpointIndependent;
    NatBox box{{rule}};
    const auto six = [&](const char* src, std::uint16_t sport, const char* dst,
                         std::uint16_t dport) {
        const auto o = box.send(PacketBuilder{}.ipv6(src, dst).udp(sport, dport), kLan);
        ASSERT_EQ(o.drop(), ct::Drop::None);
    };
    six("fd00:1::11", 4001, "2001:db8:64::198.51.100.7", 53);
    six("fd00:1::12", 4002, "2001:db8:64::198.51.100.7", 53);
    six("fd00:1::11", 4001, "2001:db8:64::203.0.113.5", 4002);
    const auto call =
        box.send(PacketBuilder{}.ipv4("198.51.100.8", "203.0.113.5").udp(9, 4001), test::kWan);
    ASSERT_EQ(call.packet.out_port, kLan);

    const nat::Usage usage = nat::usage_of(box.table(), box.setup(), box.now, 10);

    EXPECT_EQ(usage.connections, 3U);
    ASSERT_EQ(usage.addresses.size(), 1U);
    EXPECT_EQ(usage.addresses[0].addr, addr("203.0.113.5"));
    EXPECT_EQ(usage.addresses[0].ports, 2U);
    EXPECT_EQ(usage.addresses[0].connections, 3U);
    EXPECT_EQ(usage.sources.size(), 2U);
}

}  // namespace
