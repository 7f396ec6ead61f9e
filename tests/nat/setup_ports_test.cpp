// SPDX-License-Identifier: BSD-3-Clause
//
// Which port a new connection gets, to the last one, with the real table behind it.
#include "nat/setup.hpp"
#include "tests/nat/setup_packets.hpp"

#include <gtest/gtest.h>

#include <optional>
#include <set>
#include <string>
#include <vector>

namespace {

using nat::PortRange;
using nat::Rule;
using test::addr;
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

// ---- Ports.

// RFC 4787 REQ-3a: the port stays in the class of the original.
TEST(PortClass, KeepsLowPortsLowAndHighPortsHigh) {
    const PortRange low{1, 511};
    const PortRange middle{600, 1023};
    const PortRange high{1024, 65535};
    for (const std::uint16_t port : std::initializer_list<std::uint16_t>{0, 1, 500, 511})
        EXPECT_EQ(nat::port_class(ct::ipproto::kUdp, port), low) << port;
    for (const std::uint16_t port : std::initializer_list<std::uint16_t>{512, 600, 1023})
        EXPECT_EQ(nat::port_class(ct::ipproto::kTcp, port), middle) << port;
    for (const std::uint16_t port : std::initializer_list<std::uint16_t>{1024, 40000, 65535})
        EXPECT_EQ(nat::port_class(ct::ipproto::kSctp, port), high) << port;
    EXPECT_EQ(nat::port_class(ct::ipproto::kIcmp, 7), (PortRange{0, 65535}));
    EXPECT_EQ(nat::port_class(ct::ipproto::kIcmpv6, 7), (PortRange{0, 65535}));
}

TEST(NatSetup, KeepsThePortWhereItIsFree) {
    NatBox box{{masquerade()}};

    EXPECT_EQ(box.send(udp("10.0.0.1", 4000), kLan).source(), endpoint("203.0.113.1", 4000));
    EXPECT_EQ(box.send(udp("10.0.0.1", 500), kLan).source(), endpoint("203.0.113.1", 500));
}

TEST(NatSetup, GivesAnotherPortOfTheClassWhereItIsTaken) {
    for (const std::uint16_t port :
         std::initializer_list<std::uint16_t>{53, 500, 900, 1024, 40000}) {
        NatBox box{{masquerade()}};
        std::set<std::uint16_t> given;
        for (unsigned n = 1; n <= 50; ++n) {
            const Outcome o = box.send(udp(host(n), port), kLan);
            ASSERT_EQ(o.drop(), ct::Drop::None);
            EXPECT_TRUE(given.insert(o.source().second).second) << "given twice";
            EXPECT_TRUE(nat::port_class(ct::ipproto::kUdp, port).contains(o.source().second));
        }
        EXPECT_TRUE(given.contains(port));
    }
}

TEST(NatSetup, ProtocolsAndRemotesShareAPort) {
    NatBox box{{masquerade()}};
    (void)box.send(udp("10.0.0.1", 4000), kLan);

    const auto other_port = box.send(udp("10.0.0.2", 4000, kRemote, 54), kLan);
    const auto other_host = box.send(udp("10.0.0.3", 4000, "198.51.100.8"), kLan);
    const auto other_protocol =
        box.send(PacketBuilder{}.ipv4("10.0.0.4", kRemote).tcp(4000, 53), kLan);

    EXPECT_EQ(other_port.source().second, 4000);
    EXPECT_EQ(other_host.source().second, 4000);
    EXPECT_EQ(other_protocol.source().second, 4000);
}

TEST(NatSetup, AnExplicitRangeIsUsedToItsLastPortAndNotBeyond) {
    for (const std::uint16_t count :
         std::initializer_list<std::uint16_t>{1, 2, 127, 128, 129, 300}) {
        const PortRange range{5000, static_cast<std::uint16_t>(5000 + count - 1)};
        NatBox box{{snat(target("203.0.113.5", range))}};
        std::set<std::uint16_t> given;
        for (unsigned n = 1; n <= count; ++n) {
            const Outcome o = box.send(udp(host(n), 4000), kLan);
            ASSERT_EQ(o.drop(), ct::Drop::None) << n << " of " << count;
            EXPECT_TRUE(range.contains(o.source().second));
            given.insert(o.source().second);
        }

        EXPECT_EQ(given.size(), count);
        EXPECT_EQ(box.send(udp(host(count + 1U), 4000), kLan).drop(), ct::Drop::NatNoPort);
        EXPECT_EQ(box.table().count(), count) << "a refused packet leaves no entry";
        EXPECT_EQ(box.send(udp(host(count + 1U), 4000, "198.51.100.8"), kLan).drop(),
                  ct::Drop::None);
    }
}

TEST(NatSetup, AnExplicitRangeKeepsAPortThatLiesInIt) {
    NatBox box{{masquerade({5000, 5999})}};

    EXPECT_EQ(box.send(udp("10.0.0.1", 5500), kLan).source().second, 5500);
    const std::uint16_t moved = box.send(udp("10.0.0.1", 4000), kLan).source().second;
    EXPECT_TRUE((PortRange{5000, 5999}.contains(moved)));
}

// RFC 6888 REQ-13. Linux gives up after 248 probes; a port that is free must be found.
TEST(NatSetup, OneAddressServesEveryPortTowardsOneRemote) {
    constexpr unsigned kPorts = 65536 - 1024;
    NatBox box{{masquerade()}, 70'000};
    std::vector<bool> given(65536, false);
    for (unsigned n = 1; n <= kPorts; ++n) {
        const Outcome o = box.send(udp(host(n), 40000), kLan);
        ASSERT_EQ(o.drop(), ct::Drop::None) << n;
        const std::uint16_t port = o.source().second;
        ASSERT_GE(port, 1024);
        ASSERT_FALSE(given[port]) << "port " << port << " given twice";
        given[port] = true;
    }

    EXPECT_EQ(box.send(udp(host(kPorts + 1), 40000), kLan).drop(), ct::Drop::NatNoPort);
}

/// How often the table was asked in vain for a free tuple.
std::uint64_t probes(NatBox& box) {
    return box.table().counters(0).found;
}

/// Puts a connection on every port of a range of 203.0.113.5 towards `remote` into the table.
void fill(NatBox& box, const std::string& remote, PortRange range) {
    test::OwnedPacket o = test::receive(udp("10.0.0.1", 1, remote));
    ASSERT_EQ(ct::parse(o.packet, {}), ct::Drop::None);
    for (unsigned port = range.first; port <= range.last; ++port) {
        ct::Packet p = o.packet;
        p.tuple.src = addr("192.168.200.1");
        p.tuple.sport = ct::Be16::from_host(static_cast<std::uint16_t>(port));
        box.table().lookup(0, {&p, 1}, box.now);
        ASSERT_EQ(box.table().open(0, p, box.now), ct::Conntrack::Opening::Opened);
        p.reply.dst = addr("203.0.113.5");
        ASSERT_EQ(box.table().confirm(0, p, box.now), ct::Conntrack::Confirmation::Linked);
    }
}

TEST(NatSetup, AnExhaustedRangeIsNotWalkedAgainForAWhile) {
    constexpr std::uint16_t kCount = 1000;
    NatBox box{{snat(target("203.0.113.5", {5000, 5000 + kCount - 1}))}};
    for (unsigned n = 1; n <= kCount; ++n) (void)box.send(udp(host(n), 4000), kLan);
    const auto cost = [&](unsigned newcomer, const char* remote) {
        const std::uint64_t before = probes(box);
        EXPECT_EQ(box.send(udp(host(newcomer), 4000, remote), kLan).drop(),
                  remote == std::string{kRemote} ? ct::Drop::NatNoPort : ct::Drop::None);
        return probes(box) - before;
    };

    EXPECT_LE(cost(5001, kRemote), kCount + nat::Setup::kOthers);
    EXPECT_LE(cost(5002, kRemote), nat::Setup::kGlanceProbes);
    EXPECT_EQ(cost(5003, "198.51.100.8"), 0U) << "another remote is not concerned";
    box.now += kCount * nat::Setup::kHoldPerProbe;
    EXPECT_GT(cost(5004, kRemote), kCount / 2U) << "what is not reclaimed yet may have expired";
}

TEST(NatSetup, TheHoldIsLongEnoughForTheAllowanceToGrowByAWalk) {
    constexpr std::uint16_t kCount = 60'000;
    constexpr unsigned kTries = 2 * nat::Setup::kMaxAllowance / kCount;
    NatBox box{{snat(target("203.0.113.5", {5000, 5000 + kCount - 1}))}, kCount + 10};
    fill(box, kRemote, {5000, 5000 + kCount - 1});

    const std::uint64_t before = probes(box);
    for (unsigned n = 0; n < kTries; ++n) {
        EXPECT_EQ(box.send(udp(host(99'999), 4000), kLan).drop(), ct::Drop::NatNoPort);
        box.now += kCount * nat::Setup::kHoldPerProbe;
    }

    EXPECT_GE(probes(box) - before, kTries * std::uint64_t{kCount}) << "a whole walk each time";
    EXPECT_LE(probes(box) - before, kTries * std::uint64_t{kCount + nat::Setup::kOthers});
}

// An attacker may exhaust the range towards any number of remotes.
TEST(NatSetup, WalksWithinAnInstantAreBoundedByTheAllowance) {
    constexpr std::uint16_t kCount = 60'000;
    constexpr unsigned kRemotes = nat::Setup::kMaxAllowance / kCount + 2;
    const auto remote = [](unsigned n) { return "198.51.100." + std::to_string(n); };
    NatBox box{{snat(target("203.0.113.5", {5000, 5000 + kCount - 1}))}, kRemotes * kCount + 10};
    for (unsigned n = 0; n < kRemotes; ++n) fill(box, remote(n), {5000, 5000 + kCount - 1});

    const std::uint64_t before = probes(box);
    for (unsigned n = 0; n < kRemotes; ++n)
        EXPECT_EQ(box.send(udp(host(99'999), 4000, remote(n)), kLan).drop(), ct::Drop::NatNoPort);

    EXPECT_LE(probes(box) - before,
              nat::Setup::kMaxAllowance +
                  kRemotes * std::uint64_t{nat::Setup::kQuickProbes + nat::Setup::kOthers});
}

TEST(NatSetup, APortThatBecameFreeIsGivenAgain) {
    constexpr std::uint16_t kCount = 300;
    NatBox box{{snat(target("203.0.113.5", {5000, 5000 + kCount - 1}))}};
    std::vector<Outcome> all;
    for (unsigned n = 1; n <= kCount; ++n) all.push_back(box.send(udp(host(n), 4000), kLan));
    ASSERT_EQ(box.send(udp(host(999), 4000), kLan).drop(), ct::Drop::NatNoPort);

    ASSERT_TRUE(box.table().erase(all[77].packet.conn, box.now));
    box.now += kCount * nat::Setup::kHoldPerProbe;
    const Outcome o = box.send(udp(host(999), 4000), kLan);

    EXPECT_EQ(o.source().second, all[77].source().second);
}

// RFC 6056, RFC 6888 REQ-15.
TEST(NatSetup, RandomIgnoresThatThePortIsFree) {
    Rule r = masquerade();
    r.target.random = true;
    NatBox box{{r}};
    std::set<std::uint16_t> given;
    for (unsigned n = 1; n <= 20; ++n)
        given.insert(box.send(udp("10.0.0.1", 40000, "198.51.100." + std::to_string(n)), kLan)
                         .source()
                         .second);
    EXPECT_GT(given.size(), 15U);
}

// ---- Steering.

/// Answers go to the worker that the external port modulo 4 names; of the LAN, nothing is known.
class ByPort : public nat::Steering {
public:
    std::optional<ct::WorkerId> receiver(ct::PortId port,
                                         const ct::Tuple& t) const noexcept override {
        if (port != kWan) return {};
        return t.dport.host() % 4U;
    }
    bool depends_on_ports(ct::PortId port, const ct::Tuple&) const noexcept override {
        return port == kWan;
    }
};

TEST(NatSetup, AnswersComeToTheWorkerThatOpenedTheConnection) {
    Rule random = snat(target("203.0.113.5", {5000, 5099}));
    random.target.random = true;
    const ByPort by_port;
    NatBox box{{random}};
    box.setup().steer_by(&by_port);

    std::set<std::uint16_t> ports;
    for (std::uint16_t n = 0; n < 12; ++n) {
        const Outcome out = box.send(udp("10.0.0.1", static_cast<std::uint16_t>(4001 + n)), kLan);
        ASSERT_EQ(out.drop(), ct::Drop::None);
        ports.insert(out.source().second);
    }
    EXPECT_EQ(ports.size(), 12U);
    for (const std::uint16_t port : ports) EXPECT_EQ(port % 4, 0) << "worker 0's";

    // A connection comes before its place.
    for (std::uint16_t n = 12; n < 100; ++n) {
        const Outcome out = box.send(udp("10.0.0.1", static_cast<std::uint16_t>(4001 + n)), kLan);
        ASSERT_EQ(out.drop(), ct::Drop::None) << n;
    }
    EXPECT_EQ(box.send(udp("10.0.0.1", 4999), kLan).drop(), ct::Drop::NatNoPort);
}

TEST(NatSetup, APortThatIsKeptIsNotSteered) {
    const ByPort by_port;
    NatBox box{{masquerade()}};
    box.setup().steer_by(&by_port);
    EXPECT_EQ(box.send(udp("10.0.0.1", 4001), kLan).source().second, 4001);
    EXPECT_EQ(box.send(udp("10.0.0.2", 4001), kLan).source().second % 4, 0)
        << "it has to be chosen";
}

// ---- Near exhaustion.

// Once a search has met with a crowd, it costs the same at 999 ports in a thousand as at half: the
// table is asked for the ports that are free.
TEST(NatSetup, NearExhaustionPortsThatAreTakenAreNotAskedForAgain) {
    constexpr std::uint32_t kPorts = 2000;
    constexpr std::uint32_t kFree = 2;
    NatBox box{{snat(target("203.0.113.5", {5000, 5000 + kPorts - 1}))}, kPorts - kFree};
    auto open = [&, n = 0U]() mutable {
        return box.send(PacketBuilder{}.ipv4(host(++n), kRemote).tcp(4000, 80), kLan).drop();
    };
    for (unsigned n = 0; n < 3 * kPorts; ++n) ASSERT_EQ(open(), ct::Drop::None) << n;

    const std::uint64_t found_before = box.table().counters().found;
    for (unsigned n = 0; n < 1000; ++n)
        ASSERT_EQ(open(), ct::Drop::None) << "of " << kFree << " free";

    EXPECT_LT(box.table().counters().found - found_before, 3000U) << "probes that failed";
    EXPECT_EQ(box.table().check_invariants(), "");
}

// A crowd is not wrong for longer than it takes to ask: here its ports are also held by connections
// that other rules, or none, have made.
TEST(NatSetup, ACrowdLosesNoPort) {
    constexpr std::uint32_t kPorts = 64;
    Rule rule = snat(target("203.0.113.5", {5000, 5000 + kPorts - 1}));
    rule.match.src = test::prefix("10.0.0.0/8");
    NatBox box{{rule}, 4096};
    // Half of the ports are used by somebody to whom Sluice gave nothing: the remote endpoint calls
    // the external address itself, and that is forwarded as it is.
    for (std::uint16_t n = 0; n < kPorts; n += 2)
        ASSERT_EQ(
            box.send(udp(kRemote, 53, "203.0.113.5", static_cast<std::uint16_t>(5000 + n)), kLan)
                .drop(),
            ct::Drop::None);
    const std::uint32_t before = box.table().count();
    for (unsigned round = 0; round < 20; ++round) {
        unsigned opened = 0;
        for (unsigned n = 0; n < kPorts; ++n)
            opened += static_cast<unsigned>(
                box.send(udp(host(100 * round + n), 4000), kLan).drop() == ct::Drop::None);
        EXPECT_EQ(opened, kPorts - before) << "in round " << round;
        for (std::uint32_t i = 0; i < box.table().indices(); ++i) {
            ct::Snapshot s;
            if (box.table().snapshot(i, box.now, s) && s.original.src != addr(kRemote))
                (void)box.table().erase(s.handle, box.now);
        }
        box.now += ct::kNanosPerSecond;
    }
}

// ---- Another worker was faster.

TEST(NatSetup, AMappingThatWasTakenMeanwhileIsReplacedByAnother) {
    NatBox box{{masquerade()}};
    Outcome rival;
    box.before_confirm = [&](ct::Packet&) { rival = box.send(udp("10.0.0.2", 4000), kLan); };

    const Outcome late = box.send(udp("10.0.0.1", 4000), kLan);

    ASSERT_EQ(rival.source(), endpoint("203.0.113.1", 4000));
    ASSERT_EQ(late.drop(), ct::Drop::None);
    EXPECT_EQ(late.source().first, addr("203.0.113.1"));
    EXPECT_NE(late.source().second, 4000);
    EXPECT_EQ(box.table().count(), 2U);
}

TEST(NatSetup, TheLastPortTakenMeanwhileIsARefusal) {
    NatBox box{{snat(target("203.0.113.5", {5000, 5000}))}};
    box.before_confirm = [&](ct::Packet&) { (void)box.send(udp("10.0.0.2", 4000), kLan); };

    EXPECT_EQ(box.send(udp("10.0.0.1", 4000), kLan).drop(), ct::Drop::NatNoPort);
    EXPECT_EQ(box.table().count(), 1U);
}

// The port was found by a search, and it was the last of its address.
TEST(NatSetup, WhatWasTakenMeanwhileIsReplacedByThePortOfAnotherAddressUnlessPaired) {
    for (const nat::Pooling pooling : {nat::Pooling::Arbitrary, nat::Pooling::Paired}) {
        Rule r = snat(target("203.0.113.16-203.0.113.17", {5000, 5000}));
        r.behaviour.pooling = pooling;
        NatBox box{{r}};
        ct::Addr first;
        box.before_confirm = [&](ct::Packet& p) {
            first = p.reply.dst;
            ct::Injection rival{.original = p.original, .reply = p.reply, .timeout_s = 100};
            rival.original.src = addr("10.0.0.2");
            ASSERT_EQ(box.table().insert(rival, box.now), ct::Injected::Done);
        };

        const Outcome late = box.send(udp("10.0.0.1", 4000), kLan);

        if (pooling == nat::Pooling::Paired) {
            EXPECT_EQ(late.drop(), ct::Drop::NatNoPort);
            continue;
        }
        ASSERT_EQ(late.drop(), ct::Drop::None);
        EXPECT_NE(late.source().first, first);
        EXPECT_EQ(late.source().second, 5000);
    }
}

}  // namespace
