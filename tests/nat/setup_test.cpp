// SPDX-License-Identifier: BSD-3-Clause
//
// Which mapping a new connection gets, with the real table behind it.
#include "nat/setup.hpp"

#include "tests/nat/nat_box.hpp"

#include <gtest/gtest.h>

#include <array>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace {

using nat::Action;
using nat::Chain;
using nat::PortRange;
using nat::Rule;
using test::addr;
using test::dnat;
using test::kLan;
using test::kWan;
using test::masquerade;
using test::NatBox;
using test::Outcome;
using test::PacketBuilder;
using test::rule;
using test::snat;
using test::target;

constexpr const char* kRemote = "198.51.100.7";

using Endpoint = std::pair<ct::Addr, std::uint16_t>;
Endpoint endpoint(std::string_view ip, std::uint16_t port) {
    return {addr(ip), port};
}

PacketBuilder udp(const std::string& src, std::uint16_t sport, const std::string& dst = kRemote,
                  std::uint16_t dport = 53) {
    PacketBuilder b;
    if (src.find(':') == std::string::npos)
        b.ipv4(src, dst);
    else
        b.ipv6(src, dst);
    return b.udp(sport, dport).payload("x");
}

/// The n-th host of 10.0.0.0/8.
std::string host(unsigned n) {
    return "10." + std::to_string(n >> 16) + "." + std::to_string(n >> 8 & 255) + "." +
           std::to_string(n & 255);
}

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

// ---- A source's other mappings.

// RFC 4787 REQ-1, as far as Linux goes: the port that a clash has forced on a source holds towards
// other destinations.
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
