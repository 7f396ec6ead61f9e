// SPDX-License-Identifier: BSD-3-Clause
//
// Subscribers as packets meet them: which external endpoint a connection gets, what it is refused
// for, and that all is given back however connections end.
#include "tests/nat/nat_box.hpp"

#include <gtest/gtest.h>

#include <initializer_list>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace {

using ct::Drop;
using ct::kNanosPerSecond;
using test::addr;
using test::kLan;
using test::kWan;
using test::NatBox;
using test::Outcome;
using test::PacketBuilder;

constexpr const char* kServer = "198.51.100.7";
constexpr const char* kOther = "198.51.100.8";
constexpr const char* kExternal = "203.0.113.5";

PacketBuilder udp(const std::string& src, std::uint16_t sport, const std::string& dst = kServer,
                  std::uint16_t dport = 53) {
    return PacketBuilder{}.ipv4(src, dst).udp(sport, dport).payload("x");
}

/// Two addresses with 64 ports each, in blocks of 16, two for a subscriber.
nat::CarrierSettings blocks() {
    nat::CarrierSettings s;
    s.name = "subscribers";
    s.outside = {ct::Family::Ipv4, addr(kExternal), addr("203.0.113.6")};
    s.ports = {2000, 2063};
    s.blocks = nat::BlockSettings{.size = 16, .most = 2, .idle_s = 60};
    return s;
}

nat::Rule rule() {
    nat::Rule r = test::snat(test::target("203.0.113.5-203.0.113.6", {2000, 2063}));
    r.carrier = 0;
    return r;
}

/// A box with one carrier rule.
class Box : public NatBox {
public:
    explicit Box(const nat::CarrierSettings& s = blocks(), const nat::Rule& r = rule())
        : NatBox{{r}, 4096, nat::Action::Accept, {}, {s}} {}

    [[nodiscard]] nat::Carrier& carrier() { return carriers().at(0); }
    /// Connections and ports that the carrier's books show.
    [[nodiscard]] std::pair<std::uint32_t, std::uint32_t> booked() {
        std::pair<std::uint32_t, std::uint32_t> out{0, 0};
        carrier().for_each([&](const nat::Carrier::Holding& h) {
            out.first += h.connections;
            for (const std::uint32_t ports : h.ports) out.second += ports;
        });
        EXPECT_EQ(carrier().check(), "");
        return out;
    }
    void expire() {
        now += 1'000'000 * kNanosPerSecond;
        (void)table().expire_among(0, 0, table().indices(), now);
    }
};

using Booked = std::pair<std::uint32_t, std::uint32_t>;

TEST(CarrierSetup, ASubscribersConnectionsComeFromHisBlock) {
    Box box;
    std::set<std::uint16_t> ports;

    for (std::uint16_t i = 0; i < 16; ++i) {
        const Outcome out = box.send(udp("10.0.0.7", static_cast<std::uint16_t>(4000 + i)), kLan);
        ASSERT_EQ(out.drop(), Drop::None);
        ports.insert(out.source().second);
    }

    EXPECT_EQ(ports.size(), 16U);
    EXPECT_EQ(*ports.rbegin() - *ports.begin(), 15);
    nat::BlockEvent e;
    ASSERT_TRUE(box.block_log().pop(e));
    EXPECT_EQ(e.ports, (nat::PortRange{*ports.begin(), *ports.rbegin()}));
    EXPECT_FALSE(box.block_log().pop(e));
    EXPECT_EQ(box.booked(), (Booked{16, 16}));
}

TEST(CarrierSetup, AnswersFindTheSubscriber) {
    Box box;
    const Outcome out = box.send(udp("10.0.0.7", 4000), kLan);
    const auto [external, port] = out.source();

    const Outcome back =
        box.send(PacketBuilder{}
                     .ipv4(kServer, external == addr(kExternal) ? kExternal : "203.0.113.6")
                     .udp(53, port)
                     .payload("y"),
                 kWan);

    ASSERT_EQ(back.drop(), Drop::None);
    EXPECT_EQ(back.destination(), (std::pair{addr("10.0.0.7"), std::uint16_t{4000}}));
}

TEST(CarrierSetup, AnotherBlockIsAssignedWhenTheFirstIsUsedUpAndThenNoMore) {
    Box box;

    for (std::uint16_t i = 0; i < 32; ++i)
        ASSERT_EQ(box.send(udp("10.0.0.7", static_cast<std::uint16_t>(4000 + i)), kLan).drop(),
                  Drop::None)
            << i;

    EXPECT_EQ(box.send(udp("10.0.0.7", 5000), kLan).drop(), Drop::NatBlockLimit);
    EXPECT_EQ(box.send(udp("10.0.0.8", 5000), kLan).drop(), Drop::None);
    EXPECT_EQ(box.booked(), (Booked{33, 33}));
}

// RFC 7857 3: the same external port towards another remote endpoint, where no other is left.
TEST(CarrierSetup, APortIsSharedTowardsAnotherRemoteOnlyWhenNoneIsLeft) {
    Box box;
    std::set<std::pair<ct::Addr, std::uint16_t>,
             bool (*)(const std::pair<ct::Addr, std::uint16_t>&,
                      const std::pair<ct::Addr, std::uint16_t>&)>
        seen{[](const auto& a, const auto& b) {
            return std::pair{a.first.bytes, a.second} < std::pair{b.first.bytes, b.second};
        }};
    for (std::uint16_t i = 0; i < 32; ++i)
        seen.insert(box.send(udp("10.0.0.7", static_cast<std::uint16_t>(4000 + i)), kLan).source());
    EXPECT_EQ(seen.size(), 32U);

    for (std::uint16_t i = 0; i < 32; ++i) {
        const Outcome out =
            box.send(udp("10.0.0.7", static_cast<std::uint16_t>(6000 + i), kOther), kLan);
        ASSERT_EQ(out.drop(), Drop::None) << i;
        EXPECT_TRUE(seen.contains(out.source()));
    }

    EXPECT_EQ(box.send(udp("10.0.0.7", 7000, kOther), kLan).drop(), Drop::NatBlockLimit);
    EXPECT_EQ(box.booked(), (Booked{64, 32}));
}

TEST(CarrierSetup, ASourceEndpointKeepsItsPortTowardsAnotherDestination) {
    Box box;

    const auto first = box.send(udp("10.0.0.7", 4000), kLan).source();
    const auto second = box.send(udp("10.0.0.7", 4000, kOther), kLan).source();

    EXPECT_EQ(first, second);
    EXPECT_EQ(box.booked(), (Booked{2, 1}));
}

TEST(CarrierSetup, APortOfTheBlockIsKeptAsItIs) {
    Box box;
    ASSERT_EQ(box.send(udp("10.0.0.7", 4000), kLan).drop(), Drop::None);
    nat::BlockEvent e;
    ASSERT_TRUE(box.block_log().pop(e));
    const auto used = box.send(udp("10.0.0.7", 4000), kLan).source().second;
    const std::uint16_t wanted = used == e.ports.first ? e.ports.last : e.ports.first;

    EXPECT_EQ(box.send(udp("10.0.0.7", wanted), kLan).source().second, wanted);
}

TEST(CarrierSetup, EverythingIsGivenBackHoweverConnectionsEnd) {
    Box box;
    for (std::uint16_t i = 0; i < 20; ++i)
        ASSERT_EQ(box.send(udp("10.0.0.7", static_cast<std::uint16_t>(4000 + i)), kLan).drop(),
                  Drop::None);
    EXPECT_EQ(box.booked(), (Booked{20, 20}));

    ct::Snapshot s;
    ASSERT_TRUE(box.table().snapshot(0, box.now, s) || box.table().snapshot(1, box.now, s) ||
                box.table().snapshot(2, box.now, s));
    EXPECT_TRUE(box.table().erase(s.handle, box.now));
    EXPECT_EQ(box.booked(), (Booked{19, 19}));
    box.expire();
    EXPECT_EQ(box.booked(), (Booked{0, 0}));
    for (std::uint16_t i = 0; i < 5; ++i)
        ASSERT_EQ(box.send(udp("10.0.0.7", static_cast<std::uint16_t>(4000 + i)), kLan).drop(),
                  Drop::None);
    box.table().flush(box.now);
    EXPECT_EQ(box.booked(), (Booked{0, 0}));

    box.now += 61 * kNanosPerSecond;
    box.carriers().expire_all(0, box.now);
    EXPECT_EQ(box.carrier().totals().blocks_in_use, 0U);
    EXPECT_EQ(box.carrier().totals().subscribers, 0U);
}

TEST(CarrierSetup, AConnectionThatARuleDropsTakesNothing) {
    nat::Rule drop = test::rule(nat::Chain::Filter, nat::Action::Drop);
    NatBox box{{rule(), drop}, 4096, nat::Action::Accept, {}, {blocks()}};

    EXPECT_EQ(box.send(udp("10.0.0.7", 4000), kLan).drop(), Drop::RuleDrop);

    EXPECT_EQ(box.carriers().at(0).totals().subscribers, 0U);
}

// Somebody outside of the carrier's books holds the tuple: a connection that the server opened to
// the external address itself.
TEST(CarrierSetup, ATupleThatTheTableHoldsIsPassedOver) {
    nat::CarrierSettings s = blocks();
    s.outside.last = s.outside.first;
    s.ports = {2000, 2015};
    Box box{s};
    for (std::uint16_t port = 2000; port < 2015; ++port) {
        ct::Injection i;
        i.original.family = ct::Family::Ipv4;
        i.original.proto = ct::ipproto::kUdp;
        i.original.src = addr(kServer);
        i.original.dst = addr(kExternal);
        i.original.sport = ct::Be16::from_host(53);
        i.original.dport = ct::Be16::from_host(port);
        i.reply = ct::reply_of(i.original);
        i.timeout_s = 100;
        ASSERT_EQ(box.table().insert(i, box.now), ct::Injected::Done);
    }

    const Outcome out = box.send(udp("10.0.0.7", 4000), kLan);

    ASSERT_EQ(out.drop(), Drop::None);
    EXPECT_EQ(out.source().second, 2015);
    EXPECT_EQ(box.booked(), (Booked{1, 1}));
    // The others were never the subscriber's, and their end takes nothing from him.
    box.table().flush(box.now);
    EXPECT_EQ(box.booked(), (Booked{0, 0}));
}

TEST(CarrierSetup, IcmpIdentifiersAreOfTheBlockToo) {
    Box box;

    const Outcome out = box.send(PacketBuilder{}.ipv4("10.0.0.7", kServer).echo(77), kLan);

    ASSERT_EQ(out.drop(), Drop::None);
    EXPECT_GE(out.wire.sport.host(), 2000);
    EXPECT_LE(out.wire.sport.host(), 2063);
    EXPECT_EQ(box.booked(), (Booked{1, 1}));
    box.expire();
    EXPECT_EQ(box.booked(), (Booked{0, 0}));
}

TEST(CarrierSetup, LimitsHaveReasonsOfTheirOwn) {
    nat::CarrierSettings s = blocks();
    s.limits.connections = 3;
    {
        Box box{s};
        for (std::uint16_t i = 0; i < 3; ++i)
            ASSERT_EQ(box.send(udp("10.0.0.7", static_cast<std::uint16_t>(4000 + i)), kLan).drop(),
                      Drop::None);
        EXPECT_EQ(box.send(udp("10.0.0.7", 5000), kLan).drop(), Drop::NatConnectionLimit);
    }
    s.limits = {.ports = 2};
    {
        Box box{s};
        for (std::uint16_t i = 0; i < 2; ++i)
            ASSERT_EQ(box.send(udp("10.0.0.7", static_cast<std::uint16_t>(4000 + i)), kLan).drop(),
                      Drop::None);
        EXPECT_EQ(box.send(udp("10.0.0.7", 5000), kLan).drop(), Drop::NatPortLimit);
        EXPECT_EQ(box.send(udp("10.0.0.7", 5000, kOther), kLan).drop(), Drop::None);
        EXPECT_EQ(box.booked(), (Booked{3, 2}));
    }
    s.limits = {.new_per_second = 1};
    {
        Box box{s};
        EXPECT_EQ(box.send(udp("10.0.0.7", 4000), kLan).drop(), Drop::None);
        EXPECT_EQ(box.send(udp("10.0.0.7", 4001), kLan).drop(), Drop::NatRateLimit);
        EXPECT_EQ(box.send(udp("10.0.0.7", 4000), kLan).drop(), Drop::None);
    }
}

// RFC 6888 REQ-11: who cannot be mapped may be told by ICMP, whatever the reason.
TEST(CarrierSetup, TheSenderIsToldWhereTheRuleSaysSo) {
    nat::CarrierSettings s = blocks();
    s.limits.connections = 1;
    nat::Rule r = rule();
    for (const auto exhausted : {nat::NoPort::Drop, nat::NoPort::Icmp}) {
        r.behaviour.exhausted = exhausted;
        Box box{s, r};
        const Outcome first = box.send(udp("10.0.0.7", 4000), kLan);
        const Outcome second = box.send(udp("10.0.0.7", 4001), kLan);

        EXPECT_FALSE(first.packet.tell_sender);
        EXPECT_EQ(second.drop(), Drop::NatConnectionLimit);
        EXPECT_EQ(second.packet.tell_sender, exhausted == nat::NoPort::Icmp);
    }
}

// The refusal may come late: somebody takes the tuple of the last port between choice and
// confirmation.
TEST(CarrierSetup, TheSenderIsToldEvenIfTheLastPortIsLostAtTheEnd) {
    nat::CarrierSettings s = blocks();
    s.outside.last = addr(kExternal);
    s.blocks->most = 1;
    for (const auto exhausted : {nat::NoPort::Drop, nat::NoPort::Icmp}) {
        nat::Rule r = test::snat(test::target(kExternal, {2000, 2063}));
        r.carrier = 0;
        r.behaviour.exhausted = exhausted;
        const nat::Rule server =
            test::dnat(kExternal, ct::ipproto::kUdp, {}, test::target("10.0.0.99"));
        NatBox box{{r, server}, 4096, nat::Action::Accept, {}, {s}};
        for (std::uint16_t n = 0; n < 15; ++n)
            ASSERT_EQ(box.send(udp("10.0.0.7", static_cast<std::uint16_t>(4000 + n)), kLan).drop(),
                      Drop::None);
        box.before_confirm = [&](ct::Packet& p) {
            (void)box.send(udp(kServer, 53, kExternal, p.reply.dport.host()), kWan);
        };

        const Outcome last = box.send(udp("10.0.0.7", 4015), kLan);

        EXPECT_EQ(last.drop(), Drop::NatBlockLimit);
        EXPECT_EQ(last.packet.tell_sender, exhausted == nat::NoPort::Icmp);
    }
}

TEST(CarrierSetup, LimitsAloneCountConnectionsOfAnOrdinaryRule) {
    nat::CarrierSettings s = blocks();
    s.blocks.reset();
    s.limits.connections = 2;
    Box box{s};

    EXPECT_EQ(box.send(udp("10.0.0.7", 4000), kLan).drop(), Drop::None);
    EXPECT_EQ(box.send(udp("10.0.0.7", 4001), kLan).drop(), Drop::None);
    EXPECT_EQ(box.send(udp("10.0.0.7", 4002), kLan).drop(), Drop::NatConnectionLimit);
    EXPECT_EQ(box.booked(), (Booked{2, 0}));
    box.expire();
    EXPECT_EQ(box.booked(), (Booked{0, 0}));
    EXPECT_EQ(box.send(udp("10.0.0.7", 4002), kLan).drop(), Drop::None);
}

TEST(CarrierSetup, ADeterministicShareIsWhatTheArithmeticSays) {
    nat::CarrierSettings s = blocks();
    s.blocks.reset();
    nat::DeterministicPlan plan;
    plan.inside = test::prefix("10.0.0.0/29");
    plan.outside = s.outside;
    plan.ports = s.ports;
    s.deterministic = plan;
    const nat::Deterministic arithmetic{plan};
    Box box{s};

    for (const char* source : {"10.0.0.0", "10.0.0.3", "10.0.0.7"}) {
        const auto share = *arithmetic.share_of(ct::Family::Ipv4, addr(source));
        for (std::uint32_t i = 0; i < share.ports.count(); ++i) {
            const auto [address, port] =
                box.send(udp(source, static_cast<std::uint16_t>(4000 + i)), kLan).source();
            EXPECT_EQ(address, s.outside.at(share.address));
            EXPECT_TRUE(share.ports.contains(port));
        }
        EXPECT_EQ(box.send(udp(source, 6000), kLan).drop(), Drop::NatBlockLimit);
    }
    nat::BlockEvent e;
    EXPECT_FALSE(box.block_log().pop(e));
}

nat::Rule independent_rule() {
    nat::Rule r = rule();
    r.behaviour.mapping = nat::Mapping::EndpointIndependent;
    r.behaviour.filtering = nat::Filtering::EndpointIndependent;
    return r;
}

// RFC 6888 REQ-1 and RFC 4787 REQ-1 within a subscriber's block.
TEST(CarrierSetup, AnEndpointIndependentMappingHasItsPortAloneAndCountsOnce) {
    Box box{blocks(), independent_rule()};

    const auto first = box.send(udp("10.0.0.7", 4000), kLan).source();
    const auto second = box.send(udp("10.0.0.7", 4000, kOther), kLan).source();
    const auto third = box.send(udp("10.0.0.7", 4001), kLan).source();

    EXPECT_EQ(first, second);
    EXPECT_NE(first, third);
    EXPECT_EQ(box.booked(), (Booked{2, 2}));
    const Outcome in = box.send(
        PacketBuilder{}
            .ipv4("198.51.100.99", first.first == addr(kExternal) ? kExternal : "203.0.113.6")
            .udp(7, first.second)
            .payload("hello"),
        kWan);
    ASSERT_EQ(in.drop(), Drop::None);
    EXPECT_EQ(in.destination(), (std::pair{addr("10.0.0.7"), std::uint16_t{4000}}));
    EXPECT_EQ(box.booked(), (Booked{2, 2}));
    box.expire();
    EXPECT_EQ(box.booked(), (Booked{0, 0}));
}

TEST(CarrierSetup, MappingsUseUpBlocksAndAreRefusedForTheSameReasons) {
    Box box{blocks(), independent_rule()};

    for (std::uint16_t i = 0; i < 32; ++i)
        ASSERT_EQ(box.send(udp("10.0.0.7", static_cast<std::uint16_t>(4000 + i)), kLan).drop(),
                  Drop::None)
            << i;

    EXPECT_EQ(box.send(udp("10.0.0.7", 5000, kOther), kLan).drop(), Drop::NatBlockLimit);
    EXPECT_EQ(box.send(udp("10.0.0.7", 4000, kOther), kLan).drop(), Drop::None);
    EXPECT_EQ(box.booked(), (Booked{32, 32}));
    box.table().flush(box.now);
    EXPECT_EQ(box.booked(), (Booked{0, 0}));
}

TEST(CarrierSetup, ParityIsKeptWithinTheBlocks) {
    nat::Rule r = rule();
    r.behaviour.parity = true;
    Box box{blocks(), r};

    for (std::uint16_t i = 0; i < 16; ++i) {
        const auto port = static_cast<std::uint16_t>(4000 + 2 * i);
        const Outcome out = box.send(udp("10.0.0.7", port), kLan);
        ASSERT_EQ(out.drop(), Drop::None) << i;
        EXPECT_EQ(out.source().second % 2, 0);
    }
    EXPECT_EQ(box.send(udp("10.0.0.7", 5000), kLan).drop(), Drop::NatBlockLimit);
    EXPECT_EQ(box.send(udp("10.0.0.7", 5001), kLan).drop(), Drop::None);
}

// ---- Limits of masquerade.

nat::CarrierSettings masquerading(std::uint32_t connections, const char* inside) {
    nat::CarrierSettings s;
    s.own_address = true;
    s.inside = {test::prefix(inside)};
    s.limits.connections = connections;
    return s;
}

nat::Rule masquerade_from(const char* inside, std::uint16_t carrier, bool independent) {
    nat::Rule r = test::masquerade();
    r.match.src = test::prefix(inside);
    r.carrier = carrier;
    if (independent) r.behaviour.mapping = nat::Mapping::EndpointIndependent;
    return r;
}

TEST(CarrierMasquerade, LimitsConnectionsBySourceWhateverTheAddress) {
    for (const bool independent : {false, true}) {
        NatBox box{{masquerade_from("10.0.0.0/16", 0, independent),
                    masquerade_from("10.1.0.0/16", 1, independent)},
                   4096,
                   nat::Action::Accept,
                   {},
                   {masquerading(2, "10.0.0.0/16"), masquerading(3, "10.1.0.0/16")}};
        const auto open = [&](const char* src, std::uint16_t port) {
            return box.send(udp(src, port), kLan).drop();
        };
        for (const std::uint16_t port : std::initializer_list<std::uint16_t>{1000, 2000})
            EXPECT_EQ(open("10.0.0.7", port), Drop::None);
        EXPECT_EQ(open("10.0.0.7", 3000), Drop::NatConnectionLimit);
        EXPECT_EQ(open("10.0.0.8", 3000), Drop::None) << "another subscriber";
        for (const std::uint16_t port : std::initializer_list<std::uint16_t>{1000, 2000, 3000})
            EXPECT_EQ(open("10.1.0.7", port), Drop::None);
        EXPECT_EQ(open("10.1.0.7", 4000), Drop::NatConnectionLimit) << "another rule";

        // The address of the port changes, and what stood on the old one ends: all comes back.
        std::vector<nat::PortAddresses> ports = test::port_addresses();
        ports[kWan].ipv4 = addr("203.0.113.9");
        static_cast<void>(box.setup().set_addresses(ports, box.now));
        EXPECT_EQ(box.table().flush_port(kWan, box.now), 6U);

        for (const std::uint16_t port : std::initializer_list<std::uint16_t>{1000, 2000})
            EXPECT_EQ(open("10.0.0.7", port), Drop::None);
        EXPECT_EQ(open("10.0.0.7", 3000), Drop::NatConnectionLimit);
        EXPECT_EQ(box.carriers().at(0).check(), "");
        EXPECT_EQ(box.carriers().at(1).totals().subscribers, 1U);
    }
}

TEST(CarrierMasquerade, LimitsHowFastConnectionsAreOpened) {
    nat::CarrierSettings s = masquerading(0, "0.0.0.0/0");
    s.limits.new_per_second = 2;
    NatBox box{{masquerade_from("0.0.0.0/0", 0, false)}, 4096, nat::Action::Accept, {}, {s}};
    const auto open = [&](std::uint16_t port) {
        return box.send(udp("10.0.0.7", port), kLan).drop();
    };

    EXPECT_EQ(open(1000), Drop::None);
    EXPECT_EQ(open(1001), Drop::None);
    EXPECT_EQ(open(1002), Drop::NatRateLimit);
    box.now += kNanosPerSecond;
    EXPECT_EQ(open(1002), Drop::None);
}

// snat and masquerade on the same address: each connection counts with its own rule's.
TEST(CarrierMasquerade, IsNotMistakenForSnatToTheSameAddress) {
    nat::CarrierSettings own;
    own.outside = {ct::Family::Ipv4, addr("203.0.113.1"), addr("203.0.113.1")};
    own.limits.connections = 1;
    nat::Rule to_own = test::snat(test::target("203.0.113.1"));
    to_own.match.proto = ct::ipproto::kTcp;
    to_own.carrier = 1;
    NatBox box{{to_own, masquerade_from("10.0.0.0/8", 0, false)},
               4096,
               nat::Action::Accept,
               {},
               {masquerading(1, "10.0.0.0/8"), own}};
    EXPECT_EQ(box.send(udp("10.0.0.7", 1000), kLan).drop(), Drop::None);
    EXPECT_EQ(box.send(PacketBuilder{}.ipv4("10.0.0.7", kServer).tcp(1000, 80), kLan).drop(),
              Drop::None);
    EXPECT_EQ(box.send(udp("10.0.0.7", 1001), kLan).drop(), Drop::NatConnectionLimit);
    EXPECT_EQ(box.send(PacketBuilder{}.ipv4("10.0.0.7", kServer).tcp(1001, 80), kLan).drop(),
              Drop::NatConnectionLimit);

    EXPECT_EQ(box.table().flush(box.now), 2U);

    EXPECT_EQ(box.send(udp("10.0.0.7", 1001), kLan).drop(), Drop::None);
    EXPECT_EQ(box.send(PacketBuilder{}.ipv4("10.0.0.7", kServer).tcp(1001, 80), kLan).drop(),
              Drop::None);
}

}  // namespace
