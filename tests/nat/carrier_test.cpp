// SPDX-License-Identifier: BSD-3-Clause
//
// What a subscriber gets of the external addresses, and what he is refused (RFC 6888).
#include "nat/carrier.hpp"

#include "tests/nat/nat_box.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

namespace {

using ct::Drop;
using nat::BlockEvent;
using nat::Carrier;
using nat::CarrierSettings;
using test::addr;

constexpr ct::Nanos kSecond = ct::kNanosPerSecond;
constexpr std::uint8_t kTcp = ct::ipproto::kTcp;
constexpr std::uint8_t kUdp = ct::ipproto::kUdp;

/// 100.64.0.0/10 by 192.0.2.1 and 192.0.2.2, blocks of 16 ports out of 64 for each address.
CarrierSettings small_blocks() {
    CarrierSettings s;
    s.name = "subscribers";
    s.outside = {ct::Family::Ipv4, addr("192.0.2.1"), addr("192.0.2.2")};
    s.ports = {2000, 2063};
    s.blocks = nat::BlockSettings{.size = 16, .most = 2, .idle_s = 120};
    return s;
}

ct::Tuple from(std::string_view source, std::uint8_t proto = kUdp, std::uint16_t port = 4000) {
    ct::Tuple t;
    t.family = source.find(':') != std::string_view::npos ? ct::Family::Ipv6 : ct::Family::Ipv4;
    t.src = addr(source);
    t.sport = ct::Be16::from_host(port);
    t.proto = proto;
    return t;
}

/// A carrier with one worker, and the bookkeeping that Setup does.
class Box {
public:
    explicit Box(const CarrierSettings& s, std::size_t log_records = 64)
        : log{1, log_records}, carrier{s, 7, &log, 1} {}

    struct Connection {
        ct::Tuple original;
        ct::Tuple reply;
        Drop drop = Drop::None;
        std::uint16_t port = 0;
    };

    /// Opens a connection on any free port, with another block where it needs one.
    Connection open(std::string_view source, std::uint8_t proto = kUdp) {
        Connection c;
        c.original = from(source, proto);
        Carrier::Grant grant;
        c.drop = carrier.admit(0, c.original, now, grant);
        for (std::size_t i = 0; c.drop == Drop::None; ++i) {
            if (i == grant.count) c.drop = carrier.extend(0, grant, now);
            if (c.drop != Drop::None) break;
            const auto port = find_free(grant.ranges[i], proto);
            if (!port) continue;
            const auto taken =
                carrier.take(grant, grant.ranges[i], proto, *port, Carrier::Use::Alone);
            if (taken == Carrier::Taken::PortLimit) c.drop = Drop::NatPortLimit;
            if (taken != Carrier::Taken::Done) break;
            c.port = *port;
            c.reply = ct::reply_of(c.original);
            c.reply.dst = carrier.address_of(grant.ranges[i]);
            (ct::is_icmp(proto) ? c.reply.sport : c.reply.dport) = ct::Be16::from_host(*port);
            break;
        }
        return c;
    }
    [[nodiscard]] std::optional<std::uint16_t> find_free(const Carrier::Grant::Range& range,
                                                         std::uint8_t proto) const {
        for (std::uint32_t port = range.ports.first; port <= range.ports.last; ++port)
            if (carrier.uses(range, proto, static_cast<std::uint16_t>(port)) == 0)
                return static_cast<std::uint16_t>(port);
        return std::nullopt;
    }
    void close(const Connection& c) { carrier.release(c.original, c.reply, now); }
    std::vector<BlockEvent> events() {
        std::vector<BlockEvent> out;
        for (BlockEvent e; log.pop(e);) out.push_back(e);
        return out;
    }

    ct::Nanos now = 1'000 * kSecond;
    nat::BlockLog log;
    Carrier carrier;
};

// RFC 6888 REQ-14: a record for a block, none for what happens inside.
TEST(Carrier, ASubscribersFirstConnectionGetsHimABlock) {
    Box box{small_blocks()};

    const auto first = box.open("100.64.0.7");
    const auto second = box.open("100.64.0.7");

    ASSERT_EQ(first.drop, Drop::None);
    ASSERT_EQ(second.drop, Drop::None);
    EXPECT_EQ(first.reply.dst, second.reply.dst);
    EXPECT_NE(first.port, second.port);
    const auto events = box.events();
    ASSERT_EQ(events.size(), 1U);
    EXPECT_EQ(events[0].kind, BlockEvent::Kind::Assigned);
    EXPECT_EQ(events[0].inside, test::prefix("100.64.0.7"));
    EXPECT_EQ(events[0].outside, first.reply.dst);
    EXPECT_EQ(events[0].carrier, 7);
    EXPECT_EQ(events[0].when, box.now);
    EXPECT_EQ(events[0].ports.count(), 16U);
    EXPECT_TRUE(events[0].ports.contains(first.port));
    EXPECT_TRUE(events[0].ports.contains(second.port));
    EXPECT_EQ(box.carrier.check(), "");
}

TEST(Carrier, GivesEveryPortOfEveryBlockAndThenSaysWhy) {
    Box box{small_blocks()};
    std::set<std::pair<ct::Addr, std::uint16_t>,
             bool (*)(const std::pair<ct::Addr, std::uint16_t>&,
                      const std::pair<ct::Addr, std::uint16_t>&)>
        seen{[](const auto& a, const auto& b) {
            return std::pair{a.first.bytes, a.second} < std::pair{b.first.bytes, b.second};
        }};

    for (int i = 0; i < 32; ++i) {
        const auto c = box.open("100.64.0.7");
        ASSERT_EQ(c.drop, Drop::None) << i;
        EXPECT_TRUE(seen.insert({c.reply.dst, c.port}).second);
    }

    EXPECT_EQ(box.open("100.64.0.7").drop, Drop::NatBlockLimit);
    EXPECT_EQ(box.events().size(), 2U);
    EXPECT_EQ(box.carrier.check(), "");
}

TEST(Carrier, ABlockServesEveryProtocolWithAllItsPorts) {
    Box box{small_blocks()};

    for (const std::uint8_t proto : {kTcp, kUdp, ct::ipproto::kIcmp, ct::ipproto::kSctp})
        for (int i = 0; i < 16; ++i) ASSERT_EQ(box.open("100.64.0.7", proto).drop, Drop::None);

    EXPECT_EQ(box.events().size(), 1U);
    EXPECT_EQ(box.carrier.check(), "");
}

// RFC 6888 REQ-2: one external address for a subscriber; with `paired` off, another where that one
// has no block left (RFC 7857 5).
TEST(Carrier, ASubscribersBlocksAreOfOneAddress) {
    CarrierSettings s = small_blocks();
    s.blocks->most = 5;
    for (const bool paired : {true, false}) {
        s.paired = paired;
        Box box{s};
        ct::Addr first;
        int given = 0;
        Drop last = Drop::None;
        bool moved = false;
        for (; last == Drop::None && given < 200; ++given) {
            const auto c = box.open("100.64.0.7");
            last = c.drop;
            if (given == 0) first = c.reply.dst;
            moved = moved || (c.drop == Drop::None && c.reply.dst != first);
        }

        EXPECT_EQ(moved, !paired);
        EXPECT_EQ(given - 1, paired ? 64 : 80);
        EXPECT_EQ(last, paired ? Drop::NatNoBlock : Drop::NatBlockLimit);
        EXPECT_EQ(box.carrier.check(), "");
    }
}

TEST(Carrier, ANewSubscriberGoesWhereThereIsABlockLeft) {
    Box box{small_blocks()};

    for (int i = 0; i < 8; ++i)
        ASSERT_EQ(box.open("100.64.0." + std::to_string(i)).drop, Drop::None);

    EXPECT_EQ(box.open("100.64.0.8").drop, Drop::NatNoBlock);
    EXPECT_EQ(box.carrier.totals().blocks_in_use, 8U);
    EXPECT_EQ(box.carrier.totals().subscribers, 8U);
    EXPECT_EQ(box.carrier.check(), "");
}

// RFC 6888 REQ-8: nobody else gets a port until so long after its last use.
TEST(Carrier, ABlockComesBackWhenItHasBeenIdle) {
    Box box{small_blocks()};
    const auto c = box.open("100.64.0.7");
    box.now += 500 * kSecond;
    box.carrier.expire_all(0, box.now);
    EXPECT_EQ(box.carrier.totals().blocks_in_use, 1U);

    box.close(c);
    box.now += 119 * kSecond;
    box.carrier.expire_all(0, box.now);
    EXPECT_EQ(box.carrier.totals().blocks_in_use, 1U);
    box.now += kSecond;
    box.carrier.expire_all(0, box.now);

    EXPECT_EQ(box.carrier.totals().blocks_in_use, 0U);
    EXPECT_EQ(box.carrier.totals().subscribers, 0U);
    const auto events = box.events();
    ASSERT_EQ(events.size(), 2U);
    EXPECT_EQ(events[1].kind, BlockEvent::Kind::Released);
    EXPECT_EQ(events[1].ports, events[0].ports);
    EXPECT_EQ(events[1].when, box.now);
    EXPECT_EQ(box.carrier.check(), "");
}

TEST(Carrier, SweepsASliceATurnAndAllWithinAnEighthOfTheIdleTime) {
    CarrierSettings s = small_blocks();
    s.outside.last = addr("192.0.2.128");
    Box box{s, 2048};
    std::vector<Box::Connection> open;
    for (int i = 0; i < 500; ++i)
        open.push_back(
            box.open("100.64." + std::to_string(i / 250) + "." + std::to_string(i % 250)));
    box.carrier.expire(0, box.now);
    for (const auto& c : open) box.close(c);
    box.now += 120 * kSecond;

    for (int turn = 0; turn < 16'000; ++turn) box.carrier.expire(0, box.now += kSecond / 1000);

    EXPECT_EQ(box.carrier.totals().blocks_in_use, 0U);
    EXPECT_EQ(box.carrier.totals().subscribers, 0U);
    EXPECT_EQ(box.events().size(), 1000U);
}

// Nothing that is not on record is given out, and nothing comes back unrecorded.
TEST(Carrier, WithoutRoomInTheLogNoBlockChangesHands) {
    Box box{small_blocks(), 2};
    const auto a = box.open("100.64.0.1");
    ASSERT_EQ(box.open("100.64.0.2").drop, Drop::None);

    EXPECT_EQ(box.open("100.64.0.3").drop, Drop::NatBlockLog);
    EXPECT_EQ(box.carrier.totals().subscribers, 2U);
    box.close(a);
    box.now += 200 * kSecond;
    box.carrier.expire_all(0, box.now);
    EXPECT_EQ(box.carrier.totals().blocks_in_use, 2U);
    EXPECT_EQ(box.log.full(), 2U);

    EXPECT_EQ(box.events().size(), 2U);
    EXPECT_EQ(box.open("100.64.0.3").drop, Drop::None);
    box.carrier.expire_all(0, box.now);
    EXPECT_EQ(box.events().size(), 2U);
    EXPECT_EQ(box.carrier.totals().blocks_in_use, 2U);
    EXPECT_EQ(box.carrier.check(), "");
}

// RFC 6888 REQ-4 and 4 B: ports of each protocol.
TEST(Carrier, LimitsThePortsOfEachProtocol) {
    CarrierSettings s = small_blocks();
    s.limits.ports = 3;
    Box box{s};
    std::vector<Box::Connection> open;
    for (int i = 0; i < 3; ++i) open.push_back(box.open("100.64.0.7", kTcp));

    EXPECT_EQ(box.open("100.64.0.7", kTcp).drop, Drop::NatPortLimit);
    EXPECT_EQ(box.open("100.64.0.7", kUdp).drop, Drop::None);
    EXPECT_EQ(box.open("100.64.0.8", kTcp).drop, Drop::None);
    box.close(open[1]);
    EXPECT_EQ(box.open("100.64.0.7", kTcp).drop, Drop::None);
    EXPECT_EQ(box.carrier.check(), "");
}

TEST(Carrier, APortThatIsSharedCountsOnce) {
    CarrierSettings s = small_blocks();
    s.limits.ports = 1;
    Box box{s};
    const auto c = box.open("100.64.0.7", kTcp);
    Carrier::Grant grant;
    ASSERT_EQ(box.carrier.admit(0, c.original, box.now, grant), Drop::None);

    using enum Carrier::Taken;
    EXPECT_EQ(box.carrier.take(grant, grant.ranges[0], kTcp, c.port, Carrier::Use::Alone), Used);
    EXPECT_EQ(box.carrier.take(grant, grant.ranges[0], kTcp, c.port, Carrier::Use::Shared), Done);
    EXPECT_EQ(box.carrier.uses(grant.ranges[0], kTcp, c.port), 2U);
    EXPECT_EQ(box.carrier.check(), "");
    box.close(c);
    EXPECT_EQ(box.open("100.64.0.7", kTcp).drop, Drop::NatPortLimit);
    box.close(c);
    EXPECT_EQ(box.open("100.64.0.7", kTcp).drop, Drop::None);
    EXPECT_EQ(box.carrier.check(), "");
}

TEST(Carrier, LimitsConnections) {
    CarrierSettings s = small_blocks();
    s.limits.connections = 2;
    Box box{s};
    const auto a = box.open("100.64.0.7", kTcp);
    ASSERT_EQ(box.open("100.64.0.7", kUdp).drop, Drop::None);

    EXPECT_EQ(box.open("100.64.0.7").drop, Drop::NatConnectionLimit);
    EXPECT_EQ(box.open("100.64.0.8").drop, Drop::None);
    box.close(a);
    EXPECT_EQ(box.open("100.64.0.7").drop, Drop::None);
}

// RFC 6888 REQ-4 C.
TEST(Carrier, LimitsHowFastConnectionsAreOpened) {
    CarrierSettings s = small_blocks();
    s.limits.new_per_second = 2;
    s.limits.burst = 3;
    Box box{s};

    for (int i = 0; i < 3; ++i) EXPECT_EQ(box.open("100.64.0.7").drop, Drop::None) << i;
    EXPECT_EQ(box.open("100.64.0.7").drop, Drop::NatRateLimit);
    EXPECT_EQ(box.open("100.64.0.8").drop, Drop::None);
    box.now += kSecond / 2;
    EXPECT_EQ(box.open("100.64.0.7").drop, Drop::None);
    EXPECT_EQ(box.open("100.64.0.7").drop, Drop::NatRateLimit);
}

TEST(Carrier, OneConnectionAtOnceIsABurst) {
    CarrierSettings s = small_blocks();
    s.limits.new_per_second = 1;
    Box box{s};

    EXPECT_EQ(box.open("100.64.0.7").drop, Drop::None);
    EXPECT_EQ(box.open("100.64.0.7").drop, Drop::NatRateLimit);
    box.now += kSecond;
    EXPECT_EQ(box.open("100.64.0.7").drop, Drop::None);
}

TEST(Carrier, AnIpv6SubscriberIsAPrefix) {
    CarrierSettings s = small_blocks();
    s.ipv6_prefix = 56;
    Box box{s};

    const auto a = box.open("2001:db8:0:1100::1");
    const auto b = box.open("2001:db8:0:11ff::2");
    const auto c = box.open("2001:db8:0:1200::1");

    ASSERT_EQ(a.drop, Drop::None);
    EXPECT_EQ(a.reply.dst, b.reply.dst);
    EXPECT_EQ(c.drop, Drop::None);
    const auto events = box.events();
    ASSERT_EQ(events.size(), 2U);
    EXPECT_EQ(events[0].inside, test::prefix("2001:db8:0:1100::/56"));
    EXPECT_EQ(box.carrier.totals().subscribers, 2U);
}

TEST(Carrier, SourcesOfTwoZonesAreTwoSubscribers) {
    Box box{small_blocks()};
    ct::Tuple other = from("100.64.0.7");
    other.zone = 5;
    Carrier::Grant grant;

    ASSERT_EQ(box.open("100.64.0.7").drop, Drop::None);
    ASSERT_EQ(box.carrier.admit(0, other, box.now, grant), Drop::None);

    const auto events = box.events();
    ASSERT_EQ(events.size(), 2U);
    EXPECT_EQ(events[0].zone, 0);
    EXPECT_EQ(events[1].zone, 5);
    EXPECT_FALSE(events[0].outside == events[1].outside && events[0].ports == events[1].ports);
}

CarrierSettings deterministic() {
    CarrierSettings s = small_blocks();
    s.ports = {1024, 1024 + 8 * 32 - 1};
    s.blocks->size = 8;
    nat::DeterministicPlan plan;
    plan.inside = test::prefix("100.64.0.0/28");
    plan.outside = s.outside;
    plan.ports = s.ports;
    plan.reserve = 64;
    s.deterministic = plan;
    return s;
}

// RFC 7422: the share without a record; the overflow with one.
TEST(Carrier, ADeterministicShareIsUsedUpBeforeABlockIsAssigned) {
    Box box{deterministic()};
    const nat::Deterministic arithmetic{*deterministic().deterministic};
    const auto share = *arithmetic.share_of(ct::Family::Ipv4, addr("100.64.0.9"));

    for (std::uint32_t i = 0; i < share.ports.count(); ++i) {
        const auto c = box.open("100.64.0.9");
        ASSERT_EQ(c.drop, Drop::None) << i;
        EXPECT_EQ(c.reply.dst, addr("192.0.2.2"));
        EXPECT_TRUE(share.ports.contains(c.port));
    }
    EXPECT_EQ(box.events().size(), 0U);
    const auto over = box.open("100.64.0.9");
    ASSERT_EQ(over.drop, Drop::None);
    EXPECT_TRUE(arithmetic.overflow()->contains(over.port));
    EXPECT_EQ(over.reply.dst, addr("192.0.2.2"));
    EXPECT_EQ(box.events().size(), 1U);
    EXPECT_EQ(box.carrier.check(), "");
}

TEST(Carrier, WithoutBlocksAShareIsAllThereIs) {
    CarrierSettings s = deterministic();
    s.blocks.reset();
    Box box{s};
    int given = 0;
    Drop last = Drop::None;

    for (; last == Drop::None && given < 1000; ++given) last = box.open("100.64.0.0").drop;

    EXPECT_EQ(given - 1, 24);
    EXPECT_EQ(last, Drop::NatBlockLimit);
    EXPECT_EQ(box.events().size(), 0U);
}

TEST(Carrier, LimitsAloneLeaveThePortsToTheRule) {
    CarrierSettings s = small_blocks();
    s.blocks.reset();
    s.limits.connections = 1;
    Box box{s};
    Carrier::Grant grant;
    ASSERT_EQ(box.carrier.admit(0, from("100.64.0.7"), box.now, grant), Drop::None);
    EXPECT_EQ(grant.count, 0U);
    ASSERT_EQ(box.carrier.take(grant, {}, kUdp, 0, Carrier::Use::Alone), Carrier::Taken::Done);

    EXPECT_EQ(box.carrier.admit(0, from("100.64.0.7"), box.now, grant), Drop::NatConnectionLimit);
    ct::Tuple reply = ct::reply_of(from("100.64.0.7"));
    reply.dst = addr("192.0.2.1");
    box.carrier.release(from("100.64.0.7"), reply, box.now);
    EXPECT_EQ(box.carrier.admit(0, from("100.64.0.7"), box.now, grant), Drop::None);
}

TEST(Carrier, AtTheEndEveryBlockIsToldOf) {
    Box box{small_blocks()};
    for (int i = 0; i < 5; ++i)
        ASSERT_EQ(box.open("100.64.0." + std::to_string(i)).drop, Drop::None);
    std::vector<BlockEvent> told;

    box.carrier.end(box.now, [&](const BlockEvent& e) { told.push_back(e); });

    EXPECT_EQ(told.size(), 5U);
    for (const BlockEvent& e : told) EXPECT_EQ(e.kind, BlockEvent::Kind::Released);
    EXPECT_EQ(box.carrier.totals().blocks_in_use, 0U);
}

TEST(Carrier, ListsWhoHasWhat) {
    Box box{small_blocks()};
    const auto c = box.open("100.64.0.7", kTcp);
    std::vector<Carrier::Holding> all;

    box.carrier.for_each([&](const Carrier::Holding& h) { all.push_back(h); });

    ASSERT_EQ(all.size(), 1U);
    EXPECT_EQ(all[0].subscriber, test::prefix("100.64.0.7"));
    EXPECT_EQ(all[0].outside, c.reply.dst);
    EXPECT_EQ(all[0].connections, 1U);
    EXPECT_EQ(all[0].ports[0], 1U);
    ASSERT_EQ(all[0].range_count, 1U);
    EXPECT_TRUE(all[0].ranges[0].contains(c.port));
}

// RFC 6056, RFC 6888 REQ-15.
TEST(Carrier, BlocksAreGivenOutInNoOrder) {
    CarrierSettings s = small_blocks();
    s.outside.last = s.outside.first;
    s.ports = {1024, 65535};
    Box box{s};
    std::vector<std::uint16_t> firsts;
    for (int i = 0; i < 32; ++i)
        ASSERT_EQ(box.open("100.64.0." + std::to_string(i)).drop, Drop::None);
    for (const BlockEvent& e : box.events()) firsts.push_back(e.ports.first);

    int ascending = 0;
    for (std::size_t i = 1; i < firsts.size(); ++i) ascending += firsts[i] > firsts[i - 1] ? 1 : 0;
    EXPECT_GT(ascending, 5);
    EXPECT_LT(ascending, 26);
}

TEST(Carrier, RefusesSettingsThatGiveNothing) {
    CarrierSettings s = small_blocks();
    s.blocks->size = 65;
    EXPECT_EQ(Carrier::fault(s), "a block has 65 ports, and an address has 64 for blocks");
    s = small_blocks();
    s.blocks->most = 16;
    EXPECT_EQ(Carrier::fault(s), "a subscriber has 1 to 15 blocks");
    s = small_blocks();
    s.blocks.reset();
    s.limits.ports = 5;
    EXPECT_EQ(Carrier::fault(s), "a limit of ports needs blocks or shares");
    s = small_blocks();
    s.outside.last = addr("192.0.1.1");
    EXPECT_THAT(Carrier::fault(s), testing::HasSubstr("no external addresses"));
    EXPECT_THROW((Carrier{s, 0, nullptr, 1}), std::invalid_argument);
    s = deterministic();
    s.deterministic->reserve = 0;
    EXPECT_EQ(Carrier::fault(s), "the shares leave no ports for blocks");
}

}  // namespace
