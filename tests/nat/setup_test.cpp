// SPDX-License-Identifier: BSD-3-Clause
//
// Which mapping a new connection gets, with the real table behind it.
#include "nat/setup.hpp"

#include "tests/nat/setup_packets.hpp"

#include <gtest/gtest.h>

#include <array>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

namespace {

using nat::Action;
using nat::Chain;
using nat::Rule;
using test::addr;
using test::dnat;
using test::endpoint;
using test::host;
using test::kLan;
using test::kRemote;
using test::kWan;
using test::masquerade;
using test::NatBox;
using test::Outcome;
using test::PacketBuilder;
using test::rule;
using test::snat;
using test::target;
using test::udp;

// ---- A source's other mappings.

// RFC 4787 REQ-1, as far as Linux goes: the port that a clash has forced on a source holds towards
// other destinations.
TEST(NatSetup, ASourceKeepsItsMappedPortTowardsOtherDestinations) {
    NatBox box{{masquerade()}};
    (void)box.send(udp("10.0.0.1", 4000), kLan);
    const std::uint16_t moved = box.send(udp("10.0.0.2", 4000), kLan).source().second;
    ASSERT_NE(moved, 4000);

    EXPECT_EQ(box.send(udp("10.0.0.2", 4000, "203.0.113.99"), kLan).source().second, moved);
    EXPECT_EQ(box.send(udp("10.0.0.2", 4000, kRemote, 99), kLan).source().second, moved);
    EXPECT_EQ(box.send(udp("10.0.0.3", 4000, "203.0.113.99"), kLan).source().second, 4000)
        << "another source is not concerned";
}

// Linux asks whether a mapping of the source lives, and would go back to its own port.
TEST(NatSetup, ASourceIsGivenItsLastMappedPortAgainWhenTheMappingHasEnded) {
    NatBox box{{masquerade()}};
    const Outcome first = box.send(udp("10.0.0.1", 4000), kLan);
    const Outcome second = box.send(udp("10.0.0.2", 4000), kLan);
    const std::uint16_t moved = second.source().second;
    ASSERT_NE(moved, 4000);

    ASSERT_TRUE(box.table().erase(first.packet.conn, box.now));
    ASSERT_TRUE(box.table().erase(second.packet.conn, box.now));

    EXPECT_EQ(box.send(udp("10.0.0.2", 4000), kLan).source().second, moved);
    EXPECT_EQ(box.send(udp("10.0.0.3", 4000), kLan).source().second, 4000);
}

TEST(NatSetup, AMappingThatIsTakenTowardsTheNewDestinationIsNotReused) {
    NatBox box{{masquerade()}};
    (void)box.send(udp("10.0.0.1", 4000), kLan);
    const std::uint16_t moved = box.send(udp("10.0.0.2", 4000), kLan).source().second;
    (void)box.send(udp("10.0.0.3", moved, "203.0.113.99"), kLan);

    EXPECT_EQ(box.send(udp("10.0.0.2", 4000, "203.0.113.99"), kLan).source().second, 4000);
}

TEST(NatSetup, AMappingOfAnotherRuleIsNotReused) {
    Rule first = snat(target("203.0.113.5", {5000, 5009}));
    first.match.dst = test::prefix("198.51.100.0/24");
    Rule second = snat(target("203.0.113.6"));
    NatBox box{{first, second}};

    const Outcome a = box.send(udp("10.0.0.2", 4000), kLan);
    const Outcome b = box.send(udp("10.0.0.2", 4000, "203.0.113.99"), kLan);

    EXPECT_EQ(a.source().first, addr("203.0.113.5"));
    EXPECT_EQ(b.source(), endpoint("203.0.113.6", 4000));
}

TEST(NatSetup, AnAddressInTheTargetStaysAsItIs) {
    NatBox box{{snat(target("203.0.113.1-203.0.113.9"))}};

    const Outcome o = box.send(udp("203.0.113.4", 4000), ct::kLocalPort);

    EXPECT_EQ(o.source(), endpoint("203.0.113.4", 4000));
    EXPECT_EQ(o.packet.status & ct::status::kNatMask, 0);
}

// ---- Addresses.

TEST(NatSetup, MasqueradeTakesTheAddressOfThePortOfEitherFamily) {
    NatBox box{{masquerade()}};

    const Outcome v4 = box.send(udp("10.0.0.1", 4000), kLan);
    const Outcome v6 = box.send(udp("fd00:1::5", 4000, "2001:db8:9::1"), kLan);

    EXPECT_EQ(v4.source(), endpoint("203.0.113.1", 4000));
    EXPECT_EQ(v6.source(), endpoint("2001:db8:2::1", 4000));
    EXPECT_EQ(v4.packet.masquerade_port, test::kWan);
    EXPECT_EQ(v6.packet.status & ct::status::kNatMask, ct::status::kSrcNat);
}

TEST(NatSetup, MasqueradeRefusesWhereThePortHasNoAddressOfTheFamily) {
    const nat::RuleSet rules{{masquerade()}, 1};
    ct::Settings settings;
    settings.max = 64;
    ct::Conntrack table{settings, 1, 1};
    nat::Setup setup{rules, table, {{}, {addr("203.0.113.1"), {}}}, 1};
    test::OwnedPacket o = test::receive(udp("fd00:1::5", 4000, "2001:db8:9::1"));
    ct::Packet& p = o.packet;
    ASSERT_EQ(ct::parse(p, {}), ct::Drop::None);
    ASSERT_EQ(table.open(0, p, 1), ct::Conntrack::Opening::Opened);
    p.out_port = kWan;

    EXPECT_EQ(setup.source(0, p, 1), ct::Drop::NatNoAddress);
    p.out_port = 7;  // a port that the list does not have
    EXPECT_EQ(nat::Setup(nat::RuleSet{{}, 1}, table, {}, 1).source(0, p, 1), ct::Drop::None);
    table.abandon(0, p, 1);
}

TEST(PortAddresses, PreferAGlobalIpv6Address) {
    const std::vector<nat::Prefix> both{
        test::prefix("fe80::1/64"), test::prefix("192.0.2.1/24"), test::prefix("2001:db8::1/64"),
        test::prefix("2001:db8::2/64"), test::prefix("192.0.2.2/24")};
    const std::vector<nat::Prefix> local{test::prefix("fe80::1/64"), test::prefix("fe80::2/64")};

    EXPECT_EQ(nat::PortAddresses::primary_of(both).ipv4, addr("192.0.2.1"));
    EXPECT_EQ(nat::PortAddresses::primary_of(both).ipv6, addr("2001:db8::1"));
    EXPECT_EQ(nat::PortAddresses::primary_of(local).ipv6, addr("fe80::1"));
    EXPECT_EQ(nat::PortAddresses::primary_of(local).ipv4, std::nullopt);
}

// RFC 4787 REQ-2: paired pooling.
TEST(NatSetup, PersistentTiesASourceToOneAddress) {
    Rule r = snat(target("203.0.113.16-203.0.113.31"));
    r.target.persistent = true;
    NatBox box{{r}};
    std::set<std::array<std::uint8_t, 16>> of_one;
    std::set<std::array<std::uint8_t, 16>> of_all;
    for (unsigned n = 1; n <= 100; ++n) {
        const std::string remote = "198.51.100." + std::to_string(n);
        of_one.insert(box.send(udp("10.0.0.1", static_cast<std::uint16_t>(3000 + n), remote), kLan)
                          .source()
                          .first.bytes);
        of_all.insert(box.send(udp(host(1000 + n), 4000, remote), kLan).source().first.bytes);
    }

    EXPECT_EQ(of_one.size(), 1U);
    EXPECT_GE(of_all.size(), 14U);
}

TEST(NatSetup, ADestinationMayHaveItsOwnAddressUnlessPersistent) {
    NatBox box{{snat(target("203.0.113.16-203.0.113.31"))}};
    std::set<std::array<std::uint8_t, 16>> seen;
    for (unsigned n = 1; n <= 250; ++n)
        seen.insert(box.send(udp("10.0.0.1", static_cast<std::uint16_t>(3000 + n),
                                 "198.51.100." + std::to_string(n)),
                             kLan)
                        .source()
                        .first.bytes);

    EXPECT_EQ(seen.size(), 16U);
    EXPECT_EQ(*seen.begin(), addr("203.0.113.16").bytes);
    EXPECT_EQ(*seen.rbegin(), addr("203.0.113.31").bytes);
}

TEST(NatSetup, OneSourceEndpointKeepsItsAddressTowardsOtherDestinations) {
    NatBox box{{snat(target("203.0.113.16-203.0.113.31"))}};
    std::set<std::array<std::uint8_t, 16>> seen;
    for (unsigned n = 1; n <= 50; ++n)
        seen.insert(box.send(udp("10.0.0.1", 4000, "198.51.100." + std::to_string(n)), kLan)
                        .source()
                        .first.bytes);

    EXPECT_EQ(seen.size(), 1U);
}

TEST(NatSetup, AnIpv6RangeMayCrossAnyBoundary) {
    struct Case {
        const char* range;
        std::size_t least;
        std::size_t most;
    };
    for (const Case& c : {Case{"2001:db8:f::ffff:ffff:ffff:fff8-2001:db8:f:1::7", 15, 16},
                          Case{"2001:db8:f::1-2001:db8:f::2", 2, 2},
                          Case{"2001:db8:f::-2001:db8:f:ffff:ffff:ffff:ffff:ffff", 195, 200},
                          Case{"2001:db8:f::5-2001:db8:f:2::4", 195, 200}}) {
        NatBox box{{snat(target(c.range))}};
        const nat::Target t = target(c.range);
        std::set<std::array<std::uint8_t, 16>> seen;
        for (unsigned n = 1; n <= 200; ++n) {
            const auto a = box.send(udp("fd00::" + std::to_string(n), 4000, "2001:db8:9::1"), kLan)
                               .source()
                               .first;
            EXPECT_LE(t.first_addr.bytes, a.bytes) << c.range;
            EXPECT_LE(a.bytes, t.last_addr.bytes) << c.range;
            seen.insert(a.bytes);
        }
        EXPECT_GE(seen.size(), c.least) << c.range;
        EXPECT_LE(seen.size(), c.most) << c.range;
    }
}

// ---- ICMP and protocols without ports.

TEST(NatSetup, TwoHostsWithOneIcmpIdGetTheirOwnAnswers) {
    for (const bool six : {false, true}) {
        NatBox box{{masquerade()}};
        const std::string remote = six ? "2001:db8:9::1" : kRemote;
        const auto echo = [&](const std::string& from) {
            PacketBuilder b;
            six ? b.ipv6(from, remote) : b.ipv4(from, remote);
            return b.echo(77).payload("ping");
        };
        const std::string hosts[] = {six ? "fd00::1" : "10.0.0.1", six ? "fd00::2" : "10.0.0.2"};
        for (const std::string& from : hosts) {
            const Outcome out = box.send(echo(from), kLan);
            ASSERT_EQ(out.drop(), ct::Drop::None);
            EXPECT_EQ(out.wire.sport.host() == 77, from == hosts[0]);
            EXPECT_EQ(out.packet.status & ct::status::kSrcNat, ct::status::kSrcNat);
            PacketBuilder b;
            const std::string own = six ? "2001:db8:2::1" : "203.0.113.1";
            six ? b.ipv6(remote, own) : b.ipv4(remote, own);
            const Outcome back =
                box.send(b.echo_reply(out.wire.sport.host()).payload("ping"), kWan);

            ASSERT_EQ(back.drop(), ct::Drop::None);
            EXPECT_EQ(back.wire.dst, addr(from));
            EXPECT_EQ(back.wire.sport.host(), 77);
        }
    }
}

// RFC 4620: what it calls a nonce stands where an echo has its identifier, and is kept as that.
TEST(NatSetup, NodeInformationFindsBackToWhoAskedForIt) {
    NatBox box{{masquerade()}};
    for (const std::string from : {"fd00::1", "fd00::2"}) {
        PacketBuilder query;
        query.ipv6(from, "2001:db8:9::1").icmp(139, 0, 77, 1).payload("name?");
        const Outcome out = box.send(query, kLan);
        ASSERT_EQ(out.drop(), ct::Drop::None);
        EXPECT_EQ(out.wire.sport.host() == 77, from == "fd00::1");

        PacketBuilder answer;
        answer.ipv6("2001:db8:9::1", "2001:db8:2::1").icmp(140, 0, out.wire.sport.host(), 1);
        const Outcome back = box.send(answer.payload("name"), kWan);

        ASSERT_EQ(back.drop(), ct::Drop::None);
        EXPECT_EQ(back.wire.dst, addr(from));
        EXPECT_EQ(back.wire.sport.host(), 77);
    }
}

TEST(NatSetup, AProtocolWithoutPortsHasOneMappingForEachRemote) {
    NatBox box{{masquerade()}};
    const auto tunnel = [](const char* from, const char* to) {
        return PacketBuilder{}.ipv4(from, to).gre(0x0800).payload("x");
    };

    EXPECT_EQ(box.send(tunnel("10.0.0.1", kRemote), kLan).drop(), ct::Drop::None);
    EXPECT_EQ(box.send(tunnel("10.0.0.2", kRemote), kLan).drop(), ct::Drop::NatNoPort);
    EXPECT_EQ(box.send(tunnel("10.0.0.2", "198.51.100.8"), kLan).drop(), ct::Drop::None);
}

// ---- Destinations.

TEST(NatSetup, DnatKeepsThePortUnlessTheTargetNamesOne) {
    NatBox box{{dnat("203.0.113.1", 17, {53, 53}, target("192.168.1.10")),
                dnat("203.0.113.1", 17, {54, 54}, target("192.168.1.10", {5353, 5353}))}};

    EXPECT_EQ(box.send(udp(kRemote, 4000, "203.0.113.1", 53), kWan).destination(),
              endpoint("192.168.1.10", 53));
    EXPECT_EQ(box.send(udp(kRemote, 4000, "203.0.113.1", 54), kWan).destination(),
              endpoint("192.168.1.10", 5353));
}

TEST(NatSetup, DnatToARangeOfPortsKeepsAPortInsideAndElseBegins) {
    NatBox box{{dnat("203.0.113.1", 17, {}, target("192.168.1.10", {5000, 5009}))}};

    EXPECT_EQ(box.send(udp(kRemote, 4000, "203.0.113.1", 5007), kWan).destination().second, 5007);
    EXPECT_EQ(box.send(udp(kRemote, 4001, "203.0.113.1", 53), kWan).destination().second, 5000);
    EXPECT_EQ(box.send(udp(kRemote, 4002, "203.0.113.1", 53), kWan).destination().second, 5000);
    // The same client port again, to what is another service from outside: the next port.
    EXPECT_EQ(box.send(udp(kRemote, 4001, "203.0.113.1", 54), kWan).destination().second, 5001);
}

TEST(NatSetup, RandomDnatSpreadsOverTheRangeOfPorts) {
    Rule r = dnat("203.0.113.1", 17, {}, target("192.168.1.10", {5000, 5009}));
    r.target.random = true;
    NatBox box{{r}};
    std::set<std::uint16_t> seen;
    for (std::uint16_t n = 0; n < 100; ++n)
        seen.insert(box.send(udp(kRemote, std::uint16_t(4000 + n), "203.0.113.1"), kWan)
                        .destination()
                        .second);

    EXPECT_EQ(seen.size(), 10U);
    EXPECT_EQ(*seen.begin(), 5000);
}

TEST(NatSetup, DnatToARangeOfAddressesSpreadsTheClients) {
    NatBox box{{dnat("203.0.113.1", 17, {}, target("192.168.1.10-192.168.1.13"))}};
    std::map<std::array<std::uint8_t, 16>, int> seen;
    for (unsigned n = 1; n <= 200; ++n)
        ++seen[box.send(udp("198.51.100." + std::to_string(n), 4000, "203.0.113.1"), kWan)
                   .destination()
                   .first.bytes];

    ASSERT_EQ(seen.size(), 4U);
    for (const auto& [a, n] : seen) EXPECT_GT(n, 20);
}

// Two services of one server, seen by one client port: the client's port must change, or the
// server's answers could not be told apart.
TEST(NatSetup, ADestinationClashMovesTheClientsPort) {
    NatBox box{{dnat("203.0.113.1", 17, {80, 81}, target("192.168.1.10", {8080, 8080}))}};
    const Outcome first = box.send(udp(kRemote, 4000, "203.0.113.1", 80), kWan);
    const Outcome second = box.send(udp(kRemote, 4000, "203.0.113.1", 81), kWan);

    ASSERT_EQ(second.drop(), ct::Drop::None);
    EXPECT_EQ(first.source(), endpoint(kRemote, 4000));
    EXPECT_EQ(second.source().first, addr(kRemote));
    EXPECT_NE(second.source().second, 4000);
    EXPECT_EQ(second.destination(), first.destination());
    const Outcome back = box.send(udp("192.168.1.10", 8080, kRemote, second.source().second), kLan);
    EXPECT_EQ(back.source(), endpoint("203.0.113.1", 81));
    EXPECT_EQ(back.destination(), endpoint(kRemote, 4000));
}

TEST(NatSetup, HairpinTranslatesBothEnds) {
    Rule in = dnat("203.0.113.1", 17, {80, 80}, target("192.168.1.10", {8080, 8080}));
    in.match.in_port = ct::kNoPort;
    Rule out = snat(target("203.0.113.1"));
    out.match.out_port = kLan;
    out.match.src = test::prefix("192.168.1.0/24");
    NatBox box{{in, out}};

    const Outcome there = box.send(udp("192.168.1.20", 4000, "203.0.113.1", 80), kLan);
    const Outcome back = box.send(udp("192.168.1.10", 8080, "203.0.113.1", 4000), kLan);

    EXPECT_EQ(there.source(), endpoint("203.0.113.1", 4000));
    EXPECT_EQ(there.destination(), endpoint("192.168.1.10", 8080));
    EXPECT_EQ(there.packet.status & ct::status::kNatMask, ct::status::kNatMask);
    EXPECT_EQ(back.source(), endpoint("203.0.113.1", 80));
    EXPECT_EQ(back.destination(), endpoint("192.168.1.20", 4000));
}

TEST(NatSetup, WhatSluiceSendsIsNotRedirected) {
    NatBox box{{rule(Chain::Nat, Action::Redirect)}};

    EXPECT_EQ(box.send(udp("203.0.113.1", 4000), ct::kLocalPort).destination().first,
              addr(kRemote));
}

// ---- Connections that no rule matches.

TEST(NatSetup, AConnectionWithoutARuleGivesWayToAMappingThatHasItsTuple) {
    Rule r = masquerade();
    r.match.src = test::prefix("10.0.0.0/8");
    NatBox box{{r}};
    (void)box.send(udp("10.0.0.1", 4000), kLan);

    const Outcome own = box.send(udp("203.0.113.1", 4000), ct::kLocalPort);

    ASSERT_EQ(own.drop(), ct::Drop::None);
    EXPECT_EQ(own.source().first, addr("203.0.113.1"));
    EXPECT_NE(own.source().second, 4000);
    EXPECT_GE(own.source().second, 1024);
}

TEST(NatSetup, WithoutRulesThereIsNoOtherMapping) {
    NatBox box{{}};
    ct::Packet p;
    p.original.proto = p.reply.proto = ct::ipproto::kUdp;

    EXPECT_EQ(box.setup().next_mapping(0, p, box.now), ct::Drop::CtClash);
}

// ---- INVALID packets (semantics of Linux: rules decide; they pass untranslated. Not here.)

TEST(NatSetup, AnInvalidPacketOfAMasqueradedConnectionStaysInside) {
    NatBox box{{masquerade()}};
    const auto tcp = [](const char* src, std::uint16_t sport, const char* dst,
                        std::uint16_t dport) {
        return PacketBuilder{}.ipv4(src, dst).tcp(sport, dport);
    };
    ASSERT_EQ(box.send(tcp("10.0.0.1", 4000, kRemote, 80), kLan).drop(), ct::Drop::None);
    ASSERT_EQ(box.send(tcp(kRemote, 80, "203.0.113.1", 4000).flags("SA").seq(5000).ack(1001), kWan)
                  .drop(),
              ct::Drop::None);
    ASSERT_EQ(
        box.send(tcp("10.0.0.1", 4000, kRemote, 80).flags("A").seq(1001).ack(5001), kLan).drop(),
        ct::Drop::None);

    const Outcome of_connection =
        box.send(tcp("10.0.0.1", 4000, kRemote, 80).flags("SA").seq(1000).ack(1), kLan);
    const Outcome of_none = box.send(tcp("10.0.0.2", 4000, kRemote, 80).flags("R").seq(1000), kLan);

    EXPECT_EQ(of_connection.packet.state, ct::CtState::Invalid);
    EXPECT_EQ(of_connection.drop(), ct::Drop::NatInvalid);
    EXPECT_EQ(of_none.packet.state, ct::CtState::Invalid);
    EXPECT_EQ(of_none.drop(), ct::Drop::NatInvalid);
}

// Nothing is known of what is malformed but what it claims; that is enough to hold it back.
TEST(NatSetup, AMalformedPacketThatWouldBeTranslatedStaysInside) {
    NatBox box{{masquerade()}};
    const PacketBuilder from_inside = PacketBuilder{}.ipv4("10.0.0.1", kRemote);

    for (PacketBuilder p : {PacketBuilder{from_inside}.udp(4000, 53).with_l4_checksum(0x1234),
                            PacketBuilder{from_inside}.tcp(4000, 80).flags("SF"),
                            PacketBuilder{from_inside}.l4(17, test::Bytes(3)),
                            PacketBuilder{from_inside}.icmp(19, 0)}) {
        const Outcome o = box.send(p, kLan);

        EXPECT_EQ(o.packet.state, ct::CtState::Invalid);
        EXPECT_EQ(o.drop(), ct::Drop::NatInvalid);
    }
    EXPECT_EQ(box.table().count(), 0U);
    EXPECT_EQ(box.table().counters().invalid, 3U);
    EXPECT_EQ(box.table().counters().error, 1U);
}

// A rule may ask for ports that the packet does not have; the connection tells, whatever the rules.
TEST(NatSetup, AMalformedAnswerOfATranslatedConnectionStaysInside) {
    NatBox box{{test::dnat("203.0.113.1", 17, {5353, 5353}, test::target("10.0.0.2"))}};
    ASSERT_EQ(box.send(udp(kRemote, 4000, "203.0.113.1", 5353), kWan).drop(), ct::Drop::None);

    const Outcome wrong = box.send(
        PacketBuilder{}.ipv4("10.0.0.2", kRemote).udp(5353, 4000).with_l4_checksum(0x1234), kLan);
    const Outcome cut =
        box.send(PacketBuilder{}.ipv4("10.0.0.2", kRemote).l4(17, test::Bytes(3)), kLan);

    EXPECT_EQ(wrong.drop(), ct::Drop::NatInvalid);
    EXPECT_EQ(cut.drop(), ct::Drop::NatInvalid);
}

TEST(NatSetup, AnInvalidPacketThatNoRuleWouldTranslateIsLeftToTheFilter) {
    Rule r = masquerade();
    r.match.src = test::prefix("192.168.0.0/16");
    NatBox box{{r}};

    const Outcome o =
        box.send(PacketBuilder{}.ipv4("10.0.0.2", kRemote).tcp(4000, 80).flags("R"), kLan);

    EXPECT_EQ(o.packet.state, ct::CtState::Invalid);
    EXPECT_EQ(o.drop(), ct::Drop::None);
}

TEST(NatSetup, AnUntrackedPacketPassesAsItIs) {
    NatBox box{{masquerade(), rule(Chain::Raw, Action::Notrack)}};

    EXPECT_EQ(box.send(udp("10.0.0.1", 4000), kLan).source(), endpoint("10.0.0.1", 4000));
    EXPECT_EQ(box.table().count(), 0U);
}

// ---- Everything at once: invariant I4.

TEST(NatSetup, NoTwoConnectionsEverShareAMappingAndAnswersFindTheirWay) {
    Rule narrow = snat(target("203.0.113.16-203.0.113.17", {5000, 5019}));
    narrow.match.proto = ct::ipproto::kUdp;
    Rule own = masquerade();
    own.match.src = test::prefix("10.0.0.0/8");
    NatBox box{{dnat("203.0.113.1", -1, {}, target("192.168.1.10-192.168.1.11")), narrow, own},
               20'000};
    std::mt19937_64 random{4711};
    int refused = 0;
    for (int i = 0; i < 3000; ++i) {
        const bool tcp = random() % 2 == 0;
        const std::string src = host(1 + unsigned(random() % 20));
        const std::string dst = "198.51.100." + std::to_string(1 + random() % 3);
        const auto sport = static_cast<std::uint16_t>(4000 + random() % 10);
        const auto dport = static_cast<std::uint16_t>(80 + random() % 2);
        PacketBuilder b;
        b.ipv4(src, dst);
        tcp ? b.tcp(sport, dport) : b.udp(sport, dport);
        const Outcome out = box.send(b, kLan);
        if (out.drop() == ct::Drop::NatNoPort) {
            ++refused;
            continue;
        }
        ASSERT_EQ(out.drop(), ct::Drop::None) << i;

        PacketBuilder answer;
        answer.ipv4(dst, "203.0.113." + std::to_string(out.wire.src.bytes[3]));
        const std::uint16_t port = out.source().second;
        tcp ? answer.tcp(dport, port).flags("SA").ack(1001) : answer.udp(dport, port);
        const Outcome back = box.send(answer, kWan);
        ASSERT_EQ(back.drop(), ct::Drop::None) << i;
        ASSERT_EQ(back.destination(), endpoint(src, sport)) << i;
        ASSERT_EQ(back.source(), endpoint(dst, dport)) << i;
    }
    EXPECT_GT(refused, 0) << "the UDP range should have run out";
    EXPECT_EQ(box.table().check_invariants(), "");
}

// ---- Packets to external addresses that are nobody's.

// The router outside sends them here, so it would get them back until their TTL ends.
TEST(NatSetup, WhatIsSentToAPoolAndIsNobodysDoesNotGoBack) {
    Rule inside = snat(target("203.0.113.5-203.0.113.6"));
    inside.match.src = test::prefix("10.0.0.0/8");
    NatBox box{{inside}};
    const auto stray = [&](const char* to) {
        return box.send(PacketBuilder{}.ipv4("198.51.100.7", to).udp(53, 5000).payload("x"), kWan)
            .drop();
    };

    EXPECT_EQ(stray("203.0.113.5"), ct::Drop::NatFiltered);
    EXPECT_EQ(stray("203.0.113.6"), ct::Drop::NatFiltered);
    EXPECT_EQ(box.send(PacketBuilder{}.ipv4("198.51.100.7", "203.0.113.5").echo(9), kWan).drop(),
              ct::Drop::NatFiltered);
    EXPECT_EQ(
        box.send(PacketBuilder{}.ipv4("198.51.100.7", "203.0.113.5").tcp(1, 2).flags("R"), kWan)
            .drop(),
        ct::Drop::NatFiltered)
        << "INVALID, so without a connection";
    EXPECT_EQ(box.table().count(), 0U);
    EXPECT_EQ(stray("203.0.113.7"), ct::Drop::None) << "no rule's address: as routes have it";
}

TEST(NatSetup, WhatIsSentToAPoolByItsOwnersGoesThrough) {
    NatBox box{{snat(target("203.0.113.5")),
                dnat("203.0.113.5", ct::ipproto::kTcp, {80, 80}, target("10.0.0.2"))}};
    const auto out =
        box.send(PacketBuilder{}.ipv4("10.0.0.1", "198.51.100.7").udp(4000, 53).payload("x"), kLan);
    ASSERT_EQ(out.source().first, addr("203.0.113.5"));

    const auto answer = box.send(
        PacketBuilder{}.ipv4("198.51.100.7", "203.0.113.5").udp(53, 4000).payload("x"), kWan);
    const auto call =
        box.send(PacketBuilder{}.ipv4("198.51.100.7", "203.0.113.5").tcp(999, 80), kWan);

    EXPECT_EQ(answer.destination().first, addr("10.0.0.1"));
    EXPECT_EQ(call.destination().first, addr("10.0.0.2"));
}

}  // namespace
