// SPDX-License-Identifier: BSD-3-Clause
//
// Endpoint-independent mappings as packets meet them (RFC 4787, RFC 5382, RFC 5508, RFC 7857).
#include "nat/setup.hpp"
#include "nat/timers.hpp"
#include "tests/nat/nat_box.hpp"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <utility>
#include <vector>

namespace {

using ct::Drop;
using ct::kNanosPerSecond;
using nat::Filtering;
using nat::Rule;
using test::addr;
using test::kLan;
using test::kWan;
using test::NatBox;
using test::Outcome;
using test::PacketBuilder;

using Endpoint = std::pair<ct::Addr, std::uint16_t>;
Endpoint endpoint(std::string_view ip, std::uint16_t port) {
    return {addr(ip), port};
}

constexpr const char* kExternal = "203.0.113.5";
constexpr const char* kServer = "198.51.100.7";
constexpr const char* kOther = "198.51.100.8";

PacketBuilder udp(const std::string& src, std::uint16_t sport, const std::string& dst,
                  std::uint16_t dport) {
    return PacketBuilder{}.ipv4(src, dst).udp(sport, dport).payload("x");
}
PacketBuilder syn(const std::string& src, std::uint16_t sport, const std::string& dst,
                  std::uint16_t dport) {
    return PacketBuilder{}.ipv4(src, dst).tcp(sport, dport);
}

Rule independent(Filtering filtering = Filtering::EndpointIndependent,
                 nat::Target to = test::target(kExternal)) {
    Rule r = test::snat(to);
    r.behaviour.mapping = nat::Mapping::EndpointIndependent;
    r.behaviour.filtering = filtering;
    return r;
}

/// Ends every connection, as time does.
void wait_until_all_expired(NatBox& box) {
    box.now += 1'000'000 * kNanosPerSecond;
    (void)box.table().expire_among(0, 0, box.table().indices(), box.now);
}

/// Ends every connection that this source opened.
void erase_those_from(NatBox& box, std::string_view source) {
    for (std::uint32_t i = 0; i < box.table().indices(); ++i) {
        ct::Snapshot s;
        if (!box.table().snapshot(i, box.now, s) || s.original.src != addr(source)) continue;
        EXPECT_TRUE(box.table().erase(s.handle, box.now));
    }
}

/// Ports taken of an address, for UDP.
std::uint32_t taken(const NatBox& box, std::string_view ip = kExternal,
                    std::uint8_t proto = ct::ipproto::kUdp) {
    const nat::Ports& ports = const_cast<NatBox&>(box).setup().ports();
    return ports.usage(ports.space_of(ct::Family::Ipv4, addr(ip), proto)).taken;
}

// ---- Mapping.

// RFC 4787 REQ-1, RFC 5382 REQ-1: the mapping does not depend on the destination.
TEST(IndependentMapping, SourceKeepsItsExternalPortTowardsEveryDestination) {
    for (const bool tcp : {false, true}) {
        Rule rule = independent();
        rule.target.random = true;
        NatBox box{{rule}};
        const auto send = [&](const char* to, std::uint16_t port) {
            return box.send(tcp ? syn("10.0.0.7", 4000, to, port) : udp("10.0.0.7", 4000, to, port),
                            kLan);
        };

        const Outcome first = send(kServer, 53);
        const Outcome second = send(kOther, 123);

        EXPECT_EQ(first.source().first, addr(kExternal));
        EXPECT_EQ(first.source(), second.source());
        EXPECT_EQ(box.setup().mappings()->count(), 1U);
        EXPECT_EQ(taken(box, kExternal, tcp ? ct::ipproto::kTcp : ct::ipproto::kUdp), 1U);
    }
}

// RFC 5508 REQ-1: the same of the identifier of ICMP queries.
TEST(IndependentMapping, PingKeepsItsIdentifierTowardsEveryDestination) {
    Rule rule = independent();
    rule.target.random = true;
    NatBox box{{rule}};

    const auto one = box.send(PacketBuilder{}.ipv4("10.0.0.7", kServer).echo(77, 1), kLan);
    const auto two = box.send(PacketBuilder{}.ipv4("10.0.0.7", kOther).echo(77, 1), kLan);

    ASSERT_EQ(two.drop(), Drop::None);
    EXPECT_EQ(one.wire.sport, two.wire.sport);
    EXPECT_EQ(one.wire.src, addr(kExternal));
}

// RFC 4787 REQ-3: no port is overloaded, whoever the remote endpoints are.
TEST(IndependentMapping, TwoSourcesNeverShareAPort) {
    NatBox box{{independent()}};
    std::set<std::uint16_t> given;
    for (unsigned n = 1; n <= 200; ++n) {
        const Outcome o = box.send(
            udp("10.0.0." + std::to_string(n), 4000, "198.51.100." + std::to_string(n), 53), kLan);
        EXPECT_TRUE(given.insert(o.source().second).second) << "given twice";
    }
    EXPECT_TRUE(given.contains(4000)) << "the first keeps its own";
    EXPECT_EQ(taken(box), 200U);
}

// RFC 4787 REQ-3a and REQ-4.
TEST(IndependentMapping, PortsKeepTheirClassAndWhereAskedTheirParity) {
    Rule rule = independent();
    rule.behaviour.parity = true;
    NatBox box{{rule}};
    for (const std::uint16_t port : std::initializer_list<std::uint16_t>{100, 901, 4000, 4001})
        for (unsigned n = 1; n <= 20; ++n) {
            const auto o = box.send(udp("10.0.0." + std::to_string(n), port, kServer, 53), kLan);
            EXPECT_TRUE(nat::port_class(ct::ipproto::kUdp, port).contains(o.source().second));
            EXPECT_EQ(o.source().second % 2, port % 2);
        }
}

// RFC 4787 REQ-4, of ordinary mappings.
TEST(DependentMapping, PortsKeepTheirParityWhereAsked) {
    Rule rule = test::snat(test::target(kExternal, {5001, 5100}));
    rule.behaviour.parity = true;
    NatBox box{{rule}};
    for (unsigned n = 1; n <= 50; ++n) {
        const auto o = box.send(udp("10.0.0." + std::to_string(n), 4000, kServer, 53), kLan);
        ASSERT_EQ(o.drop(), Drop::None);
        EXPECT_EQ(o.source().second % 2, 0);
    }
    EXPECT_EQ(box.send(udp("10.0.1.1", 4000, kServer, 53), kLan).drop(), Drop::NatNoPort);
    EXPECT_EQ(box.send(udp("10.0.1.1", 4001, kServer, 53), kLan).drop(), Drop::None);
}

// RFC 4787 REQ-2, RFC 6888 REQ-2: an inside address has one external address.
TEST(IndependentMapping, PoolingIsPairedUnlessArbitrary) {
    for (const nat::Pooling pooling : {nat::Pooling::Linux, nat::Pooling::Paired}) {
        Rule rule =
            independent(Filtering::EndpointIndependent, test::target("203.0.113.16-203.0.113.31"));
        rule.behaviour.pooling = pooling;
        NatBox box{{rule}};
        std::set<std::array<std::uint8_t, 16>> of_one;
        std::set<std::array<std::uint8_t, 16>> of_all;
        for (std::uint16_t n = 1; n <= 100; ++n) {
            of_one.insert(box.send(udp("10.0.0.7", n, kServer, n), kLan).source().first.bytes);
            of_all.insert(box.send(udp("10.0.1." + std::to_string(n), 4000, kServer, 53), kLan)
                              .source()
                              .first.bytes);
        }
        EXPECT_EQ(of_one.size(), 1U);
        EXPECT_GT(of_all.size(), 8U);
    }
}

TEST(IndependentMapping, PairedPoolingRefusesWhereArbitraryFindsThePortOfAnotherAddress) {
    for (const nat::Mapping mapping :
         {nat::Mapping::EndpointIndependent, nat::Mapping::EndpointDependent})
        for (const nat::Pooling pooling : {nat::Pooling::Paired, nat::Pooling::Arbitrary}) {
            Rule rule = test::snat(test::target("203.0.113.16-203.0.113.19", {5000, 5009}));
            rule.behaviour.mapping = mapping;
            rule.behaviour.pooling = pooling;
            NatBox box{{rule}};
            unsigned opened = 0;
            for (std::uint16_t n = 1; n <= 41; ++n)
                opened += static_cast<unsigned>(
                    box.send(udp("10.0.0.7", n, kServer, 53), kLan).drop() == Drop::None);

            EXPECT_EQ(opened, pooling == nat::Pooling::Paired ? 10U : 40U);
        }
}

TEST(IndependentMapping, UsesEveryPortOfTheRangeAndThenRefuses) {
    Rule rule = independent(Filtering::EndpointIndependent, test::target(kExternal, {5000, 5999}));
    NatBox box{{rule}};
    for (unsigned n = 0; n < 1000; ++n)
        ASSERT_EQ(box.send(udp("10.0.0." + std::to_string(n % 200),
                               static_cast<std::uint16_t>(1000 + n), kServer, 53),
                           kLan)
                      .drop(),
                  Drop::None);

    EXPECT_EQ(box.send(udp("10.0.1.1", 4000, kOther, 53), kLan).drop(), Drop::NatNoPort);
    EXPECT_EQ(box.table().count(), 1000U) << "a refused packet leaves no entry";
    EXPECT_EQ(box.setup().mappings()->records(), 1000U);
}

// RFC 5508 REQ-8, RFC 6888 REQ-11: there is a reason of its own for which the sender is told.
TEST(IndependentMapping, ExhaustionIsToldWhereTheRuleSaysSo) {
    for (const nat::Mapping mapping :
         {nat::Mapping::EndpointIndependent, nat::Mapping::EndpointDependent}) {
        Rule rule = test::snat(test::target(kExternal, {5000, 5000}));
        rule.behaviour.mapping = mapping;
        rule.behaviour.exhausted = nat::NoPort::Icmp;
        NatBox box{{rule}};
        (void)box.send(udp("10.0.0.1", 4000, kServer, 53), kLan);

        EXPECT_EQ(box.send(udp("10.0.0.2", 4000, kServer, 53), kLan).drop(), Drop::NatPortReject);
    }
}

TEST(IndependentMapping, EndsWithItsLastConnectionHoweverThatEnds) {
    NatBox box{{independent(Filtering::AddressDependent)}};
    (void)box.send(udp("10.0.0.7", 4000, kServer, 53), kLan);
    (void)box.send(udp("10.0.0.7", 4000, kOther, 53), kLan);
    const auto entry = [&](const char* dst) {
        for (std::uint32_t i = 0; i < box.table().indices(); ++i) {
            ct::Snapshot s;
            if (box.table().snapshot(i, box.now, s) && s.original.dst == addr(dst)) return s.handle;
        }
        return ct::ConnHandle{};
    };

    EXPECT_TRUE(box.table().erase(entry(kServer), box.now));
    EXPECT_EQ(box.setup().mappings()->count(), 1U);
    EXPECT_TRUE(box.table().erase(entry(kOther), box.now));
    EXPECT_EQ(box.setup().mappings()->records(), 0U);
    EXPECT_EQ(taken(box), 0U);

    (void)box.send(udp("10.0.0.7", 4000, kServer, 53), kLan);
    wait_until_all_expired(box);
    EXPECT_EQ(box.setup().mappings()->records(), 0U);
    (void)box.send(udp("10.0.0.7", 4000, kServer, 53), kLan);
    EXPECT_EQ(box.table().flush(box.now), 1U);
    EXPECT_EQ(box.setup().mappings()->records(), 0U);
    EXPECT_EQ(taken(box), 0U);
}

// Under a flood the victim's port passes to the newcomer.
TEST(IndependentMapping, EvictedConnectionsGiveTheirPortsBack) {
    constexpr std::uint32_t kMax = 64;
    NatBox box{{independent(Filtering::EndpointIndependent, test::target(kExternal, {5000, 5063}))},
               kMax};
    for (unsigned n = 0; n < 1000; ++n)
        ASSERT_EQ(box.send(syn("10.0." + std::to_string(n / 250) + "." + std::to_string(n % 250),
                               4000, kServer, 80),
                           kLan)
                      .drop(),
                  Drop::None)
            << n;

    EXPECT_EQ(box.table().counters().early_drop, 1000 - kMax);
    EXPECT_EQ(box.setup().mappings()->count(), kMax);
    EXPECT_EQ(taken(box, kExternal, ct::ipproto::kTcp), kMax);
}

TEST(IndependentMapping, PacketsThatAreDroppedOnTheWayLeaveNone) {
    Rule drop = test::rule(nat::Chain::Filter, nat::Action::Drop);
    drop.match.in_port = kWan;
    NatBox box{{independent(), drop}};
    const auto out = box.send(udp("10.0.0.7", 4000, kServer, 53), kLan);

    const auto in = box.send(udp(kOther, 1, kExternal, out.source().second), kWan);

    EXPECT_EQ(in.drop(), Drop::RuleDrop);
    EXPECT_EQ(box.setup()
                  .mappings()
                  ->find({addr(kExternal), out.wire.sport, 0, ct::ipproto::kUdp, ct::Family::Ipv4})
                  ->users,
              1U);
}

// RFC 6888 REQ-8.
TEST(IndependentMapping, PortsRestAfterwardsWhereAsked) {
    Rule rule = independent(Filtering::EndpointIndependent, test::target(kExternal, {5000, 5000}));
    rule.behaviour.quarantine_s = 120;
    NatBox box{{rule}};
    ASSERT_EQ(box.send(udp("10.0.0.1", 4000, kServer, 53), kLan).drop(), Drop::None);
    wait_until_all_expired(box);

    EXPECT_EQ(box.send(udp("10.0.0.2", 4000, kServer, 53), kLan).drop(), Drop::NatNoPort);
    box.now += 119 * kNanosPerSecond;
    EXPECT_EQ(box.send(udp("10.0.0.2", 4000, kServer, 53), kLan).drop(), Drop::NatNoPort);
    box.now += 61 * kNanosPerSecond;
    EXPECT_EQ(box.send(udp("10.0.0.2", 4000, kServer, 53), kLan).drop(), Drop::None);
}

// ---- Filtering.

// RFC 4787 REQ-8, RFC 5382 REQ-3: everybody.
TEST(Filtering, EndpointIndependentLetsEverybodyIn) {
    for (const bool tcp : {false, true}) {
        NatBox box{{independent(Filtering::EndpointIndependent)}};
        const auto make = tcp ? syn : udp;
        const auto out = box.send(make("10.0.0.7", 4000, kServer, 53), kLan);
        const std::uint16_t port = out.source().second;

        const auto in = box.send(make(kOther, 999, kExternal, port), kWan);

        ASSERT_EQ(in.drop(), Drop::None);
        EXPECT_EQ(in.destination(), endpoint("10.0.0.7", 4000));
        EXPECT_EQ(in.source(), endpoint(kOther, 999));
        EXPECT_EQ(in.packet.out_port, kLan);
        if (tcp) continue;
        // The answer uses the mapping, and so does the connection from inside.
        const auto answer = box.send(udp("10.0.0.7", 4000, kOther, 999), kLan);
        EXPECT_EQ(answer.source(), endpoint(kExternal, port));
        EXPECT_EQ(answer.packet.dir, ct::Dir::Reply);
        EXPECT_EQ(box.table().count(), 2U);
    }
}

// RFC 5382 REQ-2: a connection may be opened from both sides at once.
TEST(Filtering, SimultaneousOpenPassesUnderEveryFiltering) {
    for (const Filtering f : {Filtering::EndpointIndependent, Filtering::AddressDependent,
                              Filtering::AddressAndPortDependent}) {
        NatBox box{{independent(f)}};
        const auto out = box.send(syn("10.0.0.7", 4000, kServer, 53), kLan);

        const auto in = box.send(syn(kServer, 53, kExternal, out.source().second), kWan);

        EXPECT_EQ(in.drop(), Drop::None);
        EXPECT_EQ(in.destination(), endpoint("10.0.0.7", 4000));
        EXPECT_EQ(box.table().count(), 1U);
    }
}

TEST(Filtering, AddressDependentLetsInWhomTheInsideTalksTo) {
    NatBox box{{independent(Filtering::AddressDependent)}};
    const std::uint16_t port = box.send(udp("10.0.0.7", 4000, kServer, 53), kLan).source().second;

    EXPECT_EQ(box.send(udp(kServer, 999, kExternal, port), kWan).destination(),
              endpoint("10.0.0.7", 4000));
    EXPECT_EQ(box.send(udp(kOther, 53, kExternal, port), kWan).drop(), Drop::NatFiltered);
    wait_until_all_expired(box);
    EXPECT_EQ(box.setup().mappings()->records(), 0U);
}

TEST(Filtering, AddressAndPortDependentLetsOnlyAnswersIn) {
    NatBox box{{independent(Filtering::AddressAndPortDependent)}};
    const std::uint16_t port = box.send(udp("10.0.0.7", 4000, kServer, 53), kLan).source().second;

    EXPECT_EQ(box.send(udp(kServer, 53, kExternal, port), kWan).destination(),
              endpoint("10.0.0.7", 4000));
    EXPECT_EQ(box.send(udp(kServer, 54, kExternal, port), kWan).drop(), Drop::NatFiltered);
    EXPECT_EQ(box.table().count(), 1U);
}

TEST(Filtering, WithoutAMappingNobodyComesIn) {
    Rule rule = independent();
    rule.match.src = test::prefix("10.0.0.0/8");
    NatBox box{{rule}};
    (void)box.send(udp("10.0.0.7", 4000, kServer, 53), kLan);

    EXPECT_EQ(box.send(udp(kOther, 999, kExternal, 4001), kWan).drop(), Drop::NatFiltered);
    EXPECT_EQ(box.send(PacketBuilder{}.ipv4(kOther, kExternal).echo(4000, 1), kWan).drop(),
              Drop::NatFiltered)
        << "nobody opens a connection to an identifier";
    EXPECT_EQ(box.table().count(), 1U);
}

// RFC 4787 REQ-1, RFC 5382 REQ-4: an entry of Sluice's own, which each further packet would keep
// alive, would have the tuple that the host inside needs.
TEST(Filtering, WhoCallsBeforeThereIsAMappingDoesNotPreventIt) {
    for (const bool tcp : {false, true}) {
        Rule rule = test::masquerade();
        rule.behaviour.mapping = nat::Mapping::EndpointIndependent;
        NatBox box{{rule}};
        const auto make = tcp ? syn : udp;
        constexpr const char* kWanAddress = "203.0.113.1";
        for (int n = 0; n < 3; ++n, box.now += kNanosPerSecond)
            EXPECT_EQ(box.send(make(kOther, 51820, kWanAddress, 6000), kWan).drop(),
                      Drop::NatFiltered);
        EXPECT_EQ(box.table().count(), 0U);

        const auto out = box.send(make("10.0.0.7", 6000, kOther, 51820), kLan);

        ASSERT_EQ(out.drop(), Drop::None);
        EXPECT_EQ(out.source(), endpoint(kWanAddress, 6000));
        EXPECT_EQ(box.send(make(kOther, 51820, kWanAddress, 6000), kWan).destination(),
                  endpoint("10.0.0.7", 6000));
    }
}

TEST(Filtering, SluiceItselfIsPingedAllTheSameAndServesWhereNoMappingsAre) {
    Rule rule = test::masquerade();
    rule.behaviour.mapping = nat::Mapping::EndpointIndependent;
    NatBox box{{rule}};
    const auto ping = PacketBuilder{}.ipv4(kOther, "203.0.113.1").echo(77, 1);

    EXPECT_EQ(box.send(ping, kWan).drop(), Drop::None);
    EXPECT_EQ(box.send(udp("10.0.0.7", 6000, "192.168.1.1", 53), kLan).drop(), Drop::None);
    EXPECT_EQ(box.send(udp("10.0.0.7", 6000, "203.0.113.1", 53), kLan).drop(), Drop::NatFiltered);
    EXPECT_EQ(box.table().count(), 2U);
}

TEST(Filtering, AConnectionFromOutsideKeepsTheMapping) {
    NatBox box{{independent()}};
    const std::uint16_t port = box.send(udp("10.0.0.7", 4000, kServer, 53), kLan).source().second;
    (void)box.send(udp(kOther, 999, kExternal, port), kWan);
    erase_those_from(box, "10.0.0.7");

    EXPECT_EQ(box.setup().mappings()->count(), 1U);
    EXPECT_EQ(box.send(udp("10.0.0.7", 4000, "198.51.100.9", 1), kLan).source(),
              endpoint(kExternal, port));
}

// ---- Hairpin: RFC 4787 REQ-9, RFC 5382 REQ-8.

TEST(Hairpin, TwoInsideHostsMeetByTheirExternalEndpoints) {
    for (const Filtering f : {Filtering::EndpointIndependent, Filtering::AddressDependent,
                              Filtering::AddressAndPortDependent}) {
        NatBox box{{independent(f)}};
        const auto a = box.send(udp("10.0.0.1", 4001, kServer, 53), kLan).source();
        const auto b = box.send(udp("10.0.0.2", 4002, kServer, 53), kLan).source();

        const auto there = box.send(udp("10.0.0.1", 4001, kExternal, b.second), kLan);
        ASSERT_EQ(there.drop(), Drop::None);
        EXPECT_EQ(there.destination(), endpoint("10.0.0.2", 4002));
        EXPECT_EQ(there.source(), a) << "REQ-9a: with the external source";
        EXPECT_EQ(there.packet.out_port, kLan);

        const auto back = box.send(udp("10.0.0.2", 4002, kExternal, a.second), kLan);
        EXPECT_EQ(back.destination(), endpoint("10.0.0.1", 4001));
        EXPECT_EQ(back.source(), b);
        EXPECT_EQ(back.packet.dir, ct::Dir::Reply);

        wait_until_all_expired(box);
        EXPECT_EQ(box.setup().mappings()->records(), 0U);
        EXPECT_EQ(taken(box), 0U);
    }
}

// The rule that a hairpin meets holds for its second choice, too.
TEST(Hairpin, WhoLosesHisPortGetsAnotherOfTheRulesRange) {
    Rule server = independent();
    server.match.src = test::prefix("10.0.0.2");
    const Rule clients = test::snat(test::target(kExternal, {5000, 5009}));
    NatBox box{{server, clients}};
    (void)box.send(udp("10.0.0.2", 4002, kServer, 53), kLan);
    const auto call = [&](const char* from) {
        return box.send(udp(from, 5005, kExternal, 4002), kLan).source();
    };

    EXPECT_EQ(call("10.0.0.1"), endpoint(kExternal, 5005));
    const Endpoint second = call("10.0.0.3");

    EXPECT_EQ(second.first, addr(kExternal));
    EXPECT_NE(second.second, 5005);
    EXPECT_TRUE(5000 <= second.second && second.second <= 5009) << second.second;
}

TEST(Hairpin, AHostReachesItselfAndOneWithoutAMappingGetsOne) {
    NatBox box{{independent(Filtering::AddressAndPortDependent)}};
    const auto a = box.send(udp("10.0.0.1", 4001, kServer, 53), kLan).source();

    const auto self = box.send(udp("10.0.0.1", 4009, kExternal, a.second), kLan);
    ASSERT_EQ(self.drop(), Drop::None);
    EXPECT_EQ(self.destination(), endpoint("10.0.0.1", 4001));
    EXPECT_EQ(self.source(), endpoint(kExternal, 4009));
    const auto later = box.send(udp("10.0.0.1", 4009, kServer, 53), kLan);
    EXPECT_EQ(later.source(), self.source()) << "the same mapping outside";
}

// The outside is where the mapping's packets go: whoever comes from there keeps his source.
TEST(Hairpin, SomebodyOutsideIsNotTranslated) {
    NatBox box{{independent()}};
    const auto a = box.send(udp("10.0.0.1", 4001, kServer, 53), kLan).source();

    EXPECT_EQ(box.send(udp(kOther, 999, kExternal, a.second), kWan).source(),
              endpoint(kOther, 999));
}

// ---- Beside ordinary mappings.

// Invariant I4: a port of an endpoint-independent mapping is nobody else's.
TEST(IndependentMapping, OrdinaryMappingsKeepOffItsPortAndItOffTheirs) {
    Rule other = test::snat(test::target(kExternal, {5000, 5001}));
    other.match.src = test::prefix("10.9.0.0/16");
    Rule own = independent(Filtering::EndpointIndependent, test::target(kExternal, {5000, 5001}));
    NatBox box{{other, own}};
    const auto mapped = box.send(udp("10.0.0.1", 5000, kServer, 53), kLan).source();
    ASSERT_EQ(mapped.second, 5000);

    // Ordinary ones share the other port, whoever they talk to.
    EXPECT_EQ(box.send(udp("10.9.0.1", 5000, kOther, 53), kLan).source().second, 5001);
    EXPECT_EQ(box.send(udp("10.9.0.2", 5000, kServer, 53), kLan).source().second, 5001);
    EXPECT_EQ(box.send(udp("10.9.0.3", 5000, kServer, 53), kLan).drop(), Drop::NatNoPort);
    EXPECT_EQ(box.send(udp("10.0.0.2", 5001, "198.51.100.9", 53), kLan).drop(), Drop::NatNoPort);
    EXPECT_EQ(taken(box), 2U);

    wait_until_all_expired(box);
    EXPECT_EQ(taken(box), 0U);
    EXPECT_EQ(box.send(udp("10.9.0.4", 5000, kOther, 53), kLan).source().second, 5000);
}

TEST(IndependentMapping, MasqueradeHasIt) {
    Rule rule = test::masquerade();
    rule.behaviour.mapping = nat::Mapping::EndpointIndependent;
    rule.behaviour.filtering = Filtering::EndpointIndependent;
    NatBox box{{rule}};
    const auto out = box.send(udp("10.0.0.7", 4000, kServer, 53), kLan);
    EXPECT_EQ(out.source(), endpoint("203.0.113.1", 4000));

    EXPECT_EQ(box.send(udp(kOther, 999, "203.0.113.1", 4000), kWan).destination(),
              endpoint("10.0.0.7", 4000));
    EXPECT_EQ(box.table().flush_port(kWan, box.now), 2U) << "its address went away, for both";
}

TEST(IndependentMapping, Ipv6HasIt) {
    NatBox box{{independent(Filtering::EndpointIndependent, test::target("2001:db8:2::5"))}};
    const auto v6 = [](const char* src, std::uint16_t sport, const char* dst, std::uint16_t dport) {
        return PacketBuilder{}.ipv6(src, dst).udp(sport, dport).payload("x");
    };
    const auto out = box.send(v6("fd00:1::7", 4000, "2001:db8:9::1", 53), kLan);
    EXPECT_EQ(out.source(), endpoint("2001:db8:2::5", 4000));

    EXPECT_EQ(box.send(v6("2001:db8:9::2", 9, "2001:db8:2::5", 4000), kWan).destination(),
              endpoint("fd00:1::7", 4000));
    wait_until_all_expired(box);
    EXPECT_EQ(box.setup().mappings()->records(), 0U);
}

TEST(IndependentMapping, OfProtocolsWithoutPortsIsTheAddressAlone) {
    NatBox box{{independent()}};

    const auto out = box.send(PacketBuilder{}.ipv4("10.0.0.7", kServer).l4(50, {1, 2, 3, 4}), kLan);

    EXPECT_EQ(out.drop(), Drop::None);
    EXPECT_EQ(out.wire.src, addr(kExternal));
}

// ---- Timers.

std::uint32_t seconds_left(NatBox& box, ct::Dir dir = ct::Dir::Original) {
    for (std::uint32_t i = 0; i < box.table().indices(); ++i) {
        ct::Snapshot s;
        if (box.table().snapshot(i, box.now, s)) return s.timeout_s;
    }
    ADD_FAILURE() << "no entry " << static_cast<int>(dir);
    return 0;
}

// RFC 4787 REQ-6: outbound packets refresh; inbound ones do unless told not to.
TEST(Refresh, IsByTheDirectionsThatTheRuleNames) {
    struct Case {
        nat::Refresh refresh;
        bool by_outbound;
        bool by_inbound;
    };
    for (const Case& c :
         {Case{nat::Refresh::Both, true, true}, Case{nat::Refresh::Outbound, true, false},
          Case{nat::Refresh::Inbound, false, true}})
        for (const bool opened_outside : {false, true}) {
            Rule rule = independent();
            rule.behaviour.refresh = c.refresh;
            NatBox box{{rule}};
            const std::uint16_t port =
                box.send(udp("10.0.0.7", 4000, kServer, 53), kLan).source().second;
            const char* remote = opened_outside ? kOther : kServer;
            if (opened_outside) {
                (void)box.send(udp(kOther, 53, kExternal, port), kWan);
                erase_those_from(box, "10.0.0.7");
            }
            const auto refreshed_by = [&](bool outbound) {
                box.now += 5 * kNanosPerSecond;
                const std::uint32_t before = seconds_left(box);
                (void)(outbound ? box.send(udp("10.0.0.7", 4000, remote, 53), kLan)
                                : box.send(udp(remote, 53, kExternal, port), kWan));
                return seconds_left(box) > before;
            };
            EXPECT_EQ(refreshed_by(true), c.by_outbound) << opened_outside;
            EXPECT_EQ(refreshed_by(false), c.by_inbound) << opened_outside;
        }
}

// RFC 4787 REQ-5, RFC 5382 REQ-5, RFC 5508 REQ-2.
TEST(RfcTimers, AreNoShorterThanTheRfcsAskFor) {
    ct::Timeouts base;
    base.tcp[ct::index_of(ct::TcpState::TimeWait)] = 500;

    const ct::Timeouts t = nat::rfc_timeouts(base);

    EXPECT_EQ(t.udp, 300U);
    EXPECT_EQ(t.udp_stream, 300U);
    EXPECT_EQ(t.tcp[ct::index_of(ct::TcpState::Established)], 7440U);
    EXPECT_EQ(t.tcp[ct::index_of(ct::TcpState::SynSent)], 240U);
    EXPECT_EQ(t.tcp[ct::index_of(ct::TcpState::Close)], 240U);
    EXPECT_EQ(t.tcp[ct::index_of(ct::TcpState::TimeWait)], 500U) << "longer stays";
    EXPECT_EQ(t.icmp, 60U);
    EXPECT_EQ(t.generic, base.generic);
}

// RFC 7857 2.2: the RST is passed on, and the mapping stays until nothing has come for four
// minutes.
TEST(RfcTimers, AMappingOutlivesAReset) {
    Rule rule = independent();
    rule.behaviour.variant = ct::variant::of_policy(1);
    NatBox box{{rule}, 4096, nat::Action::Accept, {.policies = {nat::rfc_timeouts({})}}};
    const auto tcp = [](const char* src, std::uint16_t sport, const char* dst,
                        std::uint16_t dport) {
        return PacketBuilder{}.ipv4(src, dst).tcp(sport, dport).window(1000);
    };
    const auto out =
        box.send(tcp("10.0.0.7", 4000, kServer, 80).flags("S").seq(1000), kLan).source();

    const auto reset =
        box.send(tcp(kServer, 80, kExternal, out.second).flags("RA").seq(0).ack(1001), kWan);

    EXPECT_EQ(reset.drop(), Drop::None);
    EXPECT_EQ(reset.destination(), endpoint("10.0.0.7", 4000));
    box.now += 239 * kNanosPerSecond;
    (void)box.table().expire_among(0, 0, box.table().indices(), box.now);
    EXPECT_EQ(taken(box, kExternal, ct::ipproto::kTcp), 1U);
    box.now += 2 * kNanosPerSecond;
    (void)box.table().expire_among(0, 0, box.table().indices(), box.now);
    EXPECT_EQ(taken(box, kExternal, ct::ipproto::kTcp), 0U);
}

TEST(RfcTimers, HoldForTheRulesConnections) {
    Rule rule = independent();
    rule.behaviour.variant = ct::variant::of_policy(1);
    rule.match.src = test::prefix("10.0.0.0/24");
    Rule plain = test::snat(test::target(kExternal));
    NatBox box{{rule, plain}, 4096, nat::Action::Accept, {.policies = {nat::rfc_timeouts({})}}};

    (void)box.send(udp("10.0.0.7", 4000, kServer, 53), kLan);
    EXPECT_EQ(seconds_left(box), 300U);
    (void)box.table().flush(box.now);
    (void)box.send(udp("10.0.1.7", 4000, kServer, 53), kLan);
    EXPECT_EQ(seconds_left(box), 30U);
}

}  // namespace
