// SPDX-License-Identifier: BSD-3-Clause
//
// NAT64 (RFC 6146): connections from IPv6 to IPv4, from the rule to the table and back.
#include "nat/check.hpp"
#include "nat/pref64.hpp"
#include "tests/nat/nat_box.hpp"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace {

using ct::Drop;
using test::addr;
using test::Bytes;
using test::kLan;
using test::kWan;
using test::NatBox;
using test::PacketBuilder;

constexpr std::string_view kClient = "fd00:1::10";
constexpr std::string_view kPool = "203.0.113.5";
constexpr std::string_view kServer4 = "198.51.100.7";
constexpr std::string_view kServer6 = "2001:db8:64::198.51.100.7";

/// nat64 behind 2001:db8:64::/96 to `to`; to the port's own address if that is empty.
nat::Rule nat64(std::string_view to = kPool, nat::PortRange ports = {}) {
    nat::Rule r = test::rule(nat::Chain::Nat, nat::Action::Nat64);
    r.match.dst = test::prefix("2001:db8:64::/96");
    if (!to.empty()) r.target = test::target(to, ports);
    return r;
}

PacketBuilder six(std::string_view src, std::string_view dst, std::uint8_t ttl = 64) {
    PacketBuilder b;
    b.ipv6(src, dst).ttl(ttl);
    return b;
}
PacketBuilder four(std::string_view src, std::string_view dst, std::uint8_t ttl = 64) {
    PacketBuilder b;
    b.ipv4(src, dst).ttl(ttl);
    return b;
}

TEST(Nat64, ATcpConnectionLivesOnBothSides) {
    NatBox box{{nat64()}};

    const auto syn = box.send(six(kClient, kServer6).tcp(40000, 80).flags("S").seq(99), kLan);
    const auto answer = box.send(
        four(kServer4, kPool).dont_fragment().tcp(80, 40000).flags("SA").seq(500).ack(100), kWan);
    const auto ack =
        box.send(six(kClient, kServer6).tcp(40000, 80).flags("A").seq(100).ack(501), kLan);

    EXPECT_EQ(syn.frame, four(kPool, kServer4, 63).id(1).tcp(40000, 80).flags("S").seq(99).build());
    EXPECT_EQ(answer.frame,
              six(kServer6, kClient, 63).tcp(80, 40000).flags("SA").seq(500).ack(100).build());
    EXPECT_EQ(ack.packet.state, ct::CtState::Established);
    const auto entry = box.table().find(syn.packet.original, box.now);
    ASSERT_TRUE(entry);
    EXPECT_EQ(entry->original, syn.packet.original);
    EXPECT_EQ(entry->original.family, ct::Family::Ipv6);
    EXPECT_EQ(entry->reply.family, ct::Family::Ipv4);
    EXPECT_EQ(entry->reply.src, addr(kServer4));
    EXPECT_EQ(entry->reply.dst, addr(kPool));
    EXPECT_EQ(entry->original.src, addr(kClient));
    EXPECT_EQ(entry->status & ct::status::kNatMask, ct::status::kNatMask);
    EXPECT_NE(entry->status & ct::status::kAssured, 0);
    EXPECT_EQ(box.table().find(entry->reply, box.now)->handle.index, entry->handle.index);
    EXPECT_EQ(box.table().check_invariants(), "");
}

TEST(Nat64, EchoCrosses) {
    NatBox box{{nat64()}};

    const auto ping = box.send(six(kClient, kServer6).icmp(128, 0, 700, 1).payload("x"), kLan);
    const auto pong = box.send(four(kServer4, kPool).icmp(0, 0, 700, 1).payload("x"), kWan);

    EXPECT_EQ(ping.frame, four(kPool, kServer4, 63).icmp(8, 0, 700, 1).payload("x").build());
    EXPECT_EQ(pong.frame, six(kServer6, kClient, 63).icmp(129, 0, 700, 1).payload("x").build());
    EXPECT_EQ(pong.packet.state, ct::CtState::Established);
}

// RFC 4787 REQ-3: two clients with one port towards one server are told apart.
TEST(Nat64, AnotherClientWithTheSamePortGetsAnother) {
    NatBox box{{nat64()}};

    const auto first = box.send(six("fd00:1::10", kServer6).udp(4000, 53), kLan);
    const auto second = box.send(six("fd00:1::11", kServer6).udp(4000, 53), kLan);

    EXPECT_EQ(first.source(), (std::pair{addr(kPool), std::uint16_t{4000}}));
    EXPECT_EQ(second.source().first, addr(kPool));
    EXPECT_NE(second.source().second, 4000);
    EXPECT_GE(second.source().second, 1024);
}

TEST(Nat64, APoolServesEachClientWithOneAddress) {
    NatBox box{{nat64("203.0.113.8-203.0.113.15")}};
    std::set<std::string> used;
    for (int client = 1; client <= 60; ++client) {
        const std::string src = "fd00:1::" + std::to_string(client);
        std::set<std::string> of_client;
        for (const auto* dst : {"2001:db8:64::198.51.100.1", "2001:db8:64::198.51.100.2"}) {
            const auto out = box.send(six(src, dst).udp(4000, 53), kLan);
            ASSERT_EQ(out.drop(), Drop::None);
            const ct::Addr a = out.source().first;
            EXPECT_GE(a.bytes[3], 8);
            EXPECT_LE(a.bytes[3], 15);
            of_client.insert(std::to_string(a.bytes[3]));
        }
        EXPECT_EQ(of_client.size(), 1U);  // RFC 4787 REQ-2
        used.merge(of_client);
    }
    EXPECT_EQ(used.size(), 8U);
}

TEST(Nat64, PortsAndIdentifiersAreOfTheRangeGiven) {
    NatBox box{{nat64(kPool, {5000, 5001})}};

    const auto udp = box.send(six(kClient, kServer6).udp(4000, 53), kLan);
    const auto ping = box.send(six(kClient, kServer6).icmp(128, 0, 1, 1), kLan);
    (void)box.send(six(kClient, kServer6).udp(4001, 53), kLan);
    const auto too_many = box.send(six(kClient, kServer6).udp(4002, 53), kLan);

    EXPECT_GE(udp.source().second, 5000);
    EXPECT_LE(udp.source().second, 5001);
    EXPECT_GE(ping.wire.sport.host(), 5000);
    EXPECT_LE(ping.wire.sport.host(), 5001);
    EXPECT_EQ(too_many.drop(), Drop::NatNoPort);
}

TEST(Nat64, WithoutAPoolThePortsOwnAddressIsTaken) {
    NatBox box{{nat64("")}};

    const auto out = box.send(six(kClient, kServer6).udp(4000, 53), kLan);

    EXPECT_EQ(out.source().first, addr("203.0.113.1"));
    EXPECT_EQ(out.packet.masquerade_port, test::kWan);
}

TEST(Nat64, WhatIsNotOfThePrefixStaysIpv6) {
    nat::Rule exempt = test::rule(nat::Chain::Nat, nat::Action::Accept);
    exempt.match.dst = test::prefix("2001:db8:64::198.51.100.9");
    NatBox box{{exempt, nat64()}};
    for (const auto* dst : {"2001:db8:65::1", "2001:db8:64::198.51.100.9"}) {
        const auto out = box.send(six(kClient, dst).udp(4000, 53), kLan);

        EXPECT_EQ(out.frame, six(kClient, dst, 63).udp(4000, 53).build());
    }
}

// RFC 6146 3.5: TCP, UDP and ICMP; here SCTP and UDP-Lite too.
TEST(Nat64, WhatIsNotTranslatedIsDroppedAndLeavesNoEntry) {
    NatBox box{{nat64()}};
    for (const auto& b :
         {six(kClient, kServer6).l4(50, Bytes(16)), six(kClient, kServer6).l4(47, Bytes(4)),
          six(kClient, kServer6).icmp(139, 0, 1, 1),
          six(kClient, "2001:db8:64::224.0.0.1").udp(1, 2),
          six(kClient, "2001:db8:64::127.0.0.1").udp(1, 2),
          six(kClient, "2001:db8:64::").udp(1, 2)})
        EXPECT_EQ(box.send(b, kLan).drop(), Drop::NatUntranslatable);
    EXPECT_EQ(box.table().count(), 0U);
}

// RFC 6052 3.1
TEST(Nat64, TheWellKnownPrefixMayBeKeptForTheInternet) {
    nat::Rule rule = nat64();
    rule.match.dst = nat::kWellKnownPrefix;
    rule.global_only = true;
    NatBox box{{rule}};

    EXPECT_EQ(box.send(six(kClient, "64:ff9b::10.0.0.1").udp(1, 2), kLan).drop(),
              Drop::NatUntranslatable);
    EXPECT_EQ(box.send(six(kClient, "64:ff9b::9.9.9.9").udp(1, 2), kLan).drop(), Drop::None);
}

TEST(Nat64, WhatIsForSluiceItselfIsNotTranslated) {
    NatBox box{{nat64()}};

    EXPECT_EQ(box.send(six(kClient, "2001:db8:64::203.0.113.1").udp(1, 2), kLan).drop(),
              Drop::NatUntranslatable);
}

// What fits no connection must not leave as it is.
TEST(Nat64, AnInvalidPacketDoesNotLeave) {
    NatBox box{{nat64()}};

    const auto out = box.send(six(kClient, kServer6).tcp(40000, 80).flags("SA"), kLan);

    EXPECT_EQ(out.packet.state, ct::CtState::Invalid);
    EXPECT_EQ(out.drop(), Drop::NatInvalid);
}

TEST(Nat64, ErrorsAreRelatedAndCrossInBothDirections) {
    NatBox box{{nat64()}};
    const auto query = six(kClient, kServer6).udp(4000, 53).payload("query");
    const auto answer = four(kServer4, kPool).udp(53, 4000).payload("answer");
    const auto sent = box.send(query, kLan);
    (void)box.send(answer, kWan);

    PacketBuilder unreachable;
    unreachable.ipv4("192.0.2.200", kPool)
        .icmp_error(3, 3, Bytes(sent.frame.begin() + 14, sent.frame.end()));
    const auto in = box.send(unreachable, kWan);
    PacketBuilder refused;
    refused.ipv6(kClient, kServer6)
        .icmp_error(1, 4, six(kServer6, kClient, 63).udp(53, 4000).payload("answer").build_ip());
    const auto out = box.send(refused, kLan);

    EXPECT_EQ(in.packet.state, ct::CtState::Related);
    EXPECT_EQ(in.wire.src, addr("2001:db8:64::192.0.2.200"));
    EXPECT_EQ(in.wire.dst, addr(kClient));
    PacketBuilder expected;
    expected.ipv6("2001:db8:64::192.0.2.200", kClient)
        .ttl(63)
        .icmp_error(1, 4, six(kClient, kServer6, 63).udp(4000, 53).payload("query").build_ip());
    EXPECT_EQ(in.frame, expected.build());
    EXPECT_EQ(out.packet.state, ct::CtState::Related);
    EXPECT_EQ(out.wire.src, addr(kPool));
    EXPECT_EQ(out.wire.dst, addr(kServer4));
}

TEST(Nat64, FilterRulesSeeTheIpv6SideInBothDirections) {
    nat::Rule to_server = test::rule(nat::Chain::Filter, nat::Action::Accept);
    to_server.match.src = test::prefix(kClient);
    to_server.match.dst = test::prefix(kServer6);
    to_server.match.proto = ct::ipproto::kUdp;
    to_server.match.dport = {53, 53};
    nat::Rule to_client = test::rule(nat::Chain::Filter, nat::Action::Accept);
    to_client.match.src = test::prefix(kServer6);
    to_client.match.dst = test::prefix(kClient);
    to_client.match.sport = {53, 53};
    to_client.match.proto = ct::ipproto::kUdp;
    nat::Rule router = test::rule(nat::Chain::Filter, nat::Action::Accept);
    router.match.src = test::prefix("2001:db8:64::192.0.2.200");
    router.match.proto = ct::ipproto::kIcmpv6;
    NatBox box{{nat64(), to_server, to_client, router}, 4096, nat::Action::Drop};

    const auto sent = box.send(six(kClient, kServer6).udp(4000, 53), kLan);
    PacketBuilder error;
    error.ipv4("192.0.2.200", kPool)
        .icmp_error(11, 0, Bytes(sent.frame.begin() + 14, sent.frame.end()));

    EXPECT_EQ(sent.drop(), Drop::None);
    EXPECT_EQ(box.send(four(kServer4, kPool).udp(53, 4000), kWan).drop(), Drop::None);
    EXPECT_EQ(box.send(error, kWan).drop(), Drop::None);
    EXPECT_EQ(box.rules().hits(1).packets, 1U);
    EXPECT_EQ(box.rules().hits(2).packets, 1U);
    EXPECT_EQ(box.rules().hits(3).packets, 1U);
    EXPECT_EQ(box.send(six(kClient, kServer6).udp(4000, 54), kLan).drop(), Drop::RuleDrop);
}

TEST(Nat64, AnotherMappingIsTakenWhereAWorkerWasFaster) {
    NatBox box{{nat64()}};
    box.before_confirm = [&](ct::Packet& p) {
        ct::Injection other;
        other.original = p.original;
        other.original.src = addr("fd00:1::99");
        other.reply = p.reply;
        other.timeout_s = 100;
        ASSERT_EQ(box.table().insert(other, box.now), ct::Injected::Done);
    };

    const auto out = box.send(six(kClient, kServer6).udp(4000, 53), kLan);

    EXPECT_EQ(out.drop(), Drop::None);
    EXPECT_NE(out.source().second, 4000);
}

TEST(Nat64, ARestoredConnectionGoesOn) {
    NatBox box{{nat64()}};
    const auto sent = box.send(six(kClient, kServer6).udp(4000, 53), kLan);
    const ct::Injection saved{.original = sent.packet.original,
                              .reply = sent.packet.reply,
                              .timeout_s = 100,
                              .status = ct::status::kSeenReply};
    box.table().flush(box.now);
    ASSERT_EQ(box.table().count(), 0U);
    ASSERT_EQ(box.table().insert(saved, box.now), ct::Injected::Done);

    const auto answer = box.send(four(kServer4, kPool).udp(53, 4000).payload("a"), kWan);

    EXPECT_EQ(answer.frame, six(kServer6, kClient, 63).udp(53, 4000).payload("a").build());
    ct::Injection odd = saved;
    odd.original.proto = ct::ipproto::kIcmp;
    odd.reply.proto = ct::ipproto::kIcmp;
    odd.original.dport = odd.reply.dport = ct::icmp_type_code(8, 0);
    EXPECT_EQ(box.table().insert(odd, box.now), ct::Injected::Invalid);
}

TEST(Nat64, RulesWithoutAPrefixAreRefused) {
    for (const auto* prefix : {"2001:db8:64::/95", "10.0.0.0/8"}) {
        nat::Rule rule = nat64();
        rule.match.dst = test::prefix(prefix);
        EXPECT_NE(nat::malformed(rule), "") << prefix;
    }
    nat::Rule to_six = nat64("2001:db8::1");
    EXPECT_EQ(nat::malformed(to_six), "it translates to IPv4 addresses");
    EXPECT_EQ(nat::malformed(nat64()), "");
    EXPECT_TRUE(nat::dead_rules(std::vector{nat64()}).empty());
}

}  // namespace
