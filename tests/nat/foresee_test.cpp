// SPDX-License-Identifier: BSD-3-Clause
//
// What is worked out ahead of its packet, on a guess, changes nothing of what the packet gets.
#include "tests/nat/nat_box.hpp"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace {

using nat::PortRange;
using nat::Rule;
using test::addr;
using test::kLan;
using test::kWan;
using test::masquerade;
using test::NatBox;
using test::Outcome;
using test::PacketBuilder;
using test::snat;
using test::target;

PacketBuilder udp(const std::string& src, std::uint16_t sport, const std::string& dst,
                  std::uint16_t dport) {
    return PacketBuilder{}.ipv4(src, dst).udp(sport, dport).payload("x");
}

Rule of_proto(Rule r, int proto) {
    r.match.proto = proto;
    return r;
}
Rule random(Rule r) {
    r.target.random = true;
    return r;
}
Rule persistent(Rule r) {
    r.target.persistent = true;
    return r;
}
Rule from(Rule r, std::string_view prefix) {
    r.match.src = test::prefix(prefix);
    return r;
}
Rule hairpin(Rule r) {
    r.hairpin = true;
    return r;
}
Rule exempt() {
    Rule r;
    r.chain = nat::Chain::Nat;
    r.action = nat::Action::Accept;
    return r;
}
Rule independent(Rule r) {
    r.behaviour.mapping = nat::Mapping::EndpointIndependent;
    return r;
}
Rule outbound_refresh(Rule r) {
    r.behaviour.refresh = nat::Refresh::Outbound;
    return r;
}

struct Case {
    const char* name;
    std::vector<Rule> rules;
};

class Foreseen : public testing::TestWithParam<Case> {};

// Few hosts, ports and remotes, so that ports are taken, hints are met and rules take turns.
TEST_P(Foreseen, GetsTheMappingThatItWouldHaveGot) {
    NatBox with{GetParam().rules};
    NatBox without{GetParam().rules};
    without.foresees = false;
    std::mt19937 random{7};
    const auto below = [&random](unsigned n) { return random() % n; };

    for (int n = 0; n < 3000; ++n) {
        const std::string src = "10.0." + std::to_string(below(2)) + '.' + std::to_string(below(8));
        const std::string dst = "198.51.100." + std::to_string(1 + below(4));
        const auto sport = static_cast<std::uint16_t>(4000 + below(6));
        PacketBuilder b = udp(src, sport, dst, 53);
        if (below(3) == 0) b = PacketBuilder{}.ipv4(src, dst).tcp(sport, 80).flags("S");
        if (below(5) == 0) b = PacketBuilder{}.ipv4(src, dst).icmp(8, 0, sport, 1);
        const ct::PortId in_port = below(20) == 0 ? kWan : kLan;
        const Outcome a = with.send(b, in_port);
        const Outcome e = without.send(b, in_port);

        ASSERT_EQ(a.drop(), e.drop()) << n;
        ASSERT_EQ(a.frame, e.frame) << n;
        ASSERT_EQ(a.packet.masquerade_port, e.packet.masquerade_port) << n;
        ASSERT_EQ(a.packet.lease, e.packet.lease) << n;
        with.now = without.now += ct::kNanosPerSecond / 20;
    }
    for (std::size_t i = 0; i < GetParam().rules.size(); ++i)
        EXPECT_EQ(with.rules().hits(i).packets, without.rules().hits(i).packets) << i;
    EXPECT_TRUE(with.table().check_invariants().empty());
}

INSTANTIATE_TEST_SUITE_P(
    Rules, Foreseen,
    testing::Values(
        Case{"OneAddress", {snat(target("203.0.113.9"))}},
        Case{"FourAddresses", {snat(target("203.0.113.8-203.0.113.11"))}},
        Case{"FourPersistent", {persistent(snat(target("203.0.113.8-203.0.113.11")))}},
        Case{"FewPorts", {snat(target("203.0.113.8-203.0.113.11", PortRange{4002, 4040}))}},
        Case{"Random", {random(snat(target("203.0.113.8-203.0.113.11")))}},
        Case{"Masquerade", {masquerade()}},
        Case{"ByProtocol",
             {of_proto(snat(target("203.0.113.8-203.0.113.9")), ct::ipproto::kTcp), masquerade()}},
        Case{"BySource",
             {from(snat(target("203.0.113.8-203.0.113.9")), "10.0.1.0/24"), masquerade()}},
        Case{"Exempt", {from(exempt(), "10.0.1.0/24"), masquerade()}},
        Case{"Hairpin",
             {hairpin(test::dnat("198.51.100.2", ct::ipproto::kUdp, {53, 53}, target("10.0.0.3"))),
              masquerade()}},
        Case{"OwnSources", {snat(target("10.0.0.0-10.0.0.5"))}},
        Case{"OutboundRefresh", {outbound_refresh(snat(target("203.0.113.8-203.0.113.9")))}},
        Case{"Independent",
             {of_proto(independent(snat(target("203.0.113.8-203.0.113.9"))), ct::ipproto::kTcp),
              snat(target("203.0.113.8-203.0.113.9"))}}),
    [](const auto& test) { return test.param.name; });

TEST(Foresee, MeetsAnAddressThatWasReplacedMeanwhile) {
    NatBox box{{masquerade()}};
    ASSERT_EQ(box.send(udp("10.0.0.1", 4000, "198.51.100.1", 53), kLan).source().first,
              addr("203.0.113.1"));
    nat::Setup::Retired retired;
    box.before_decision = [&] {
        auto addresses = test::port_addresses();
        addresses[kWan].ipv4 = addr("203.0.113.77");
        retired = box.setup().set_addresses(addresses, box.now);
    };

    EXPECT_EQ(box.send(udp("10.0.0.2", 4000, "198.51.100.1", 53), kLan).source().first,
              addr("203.0.113.77"));
    EXPECT_EQ(box.send(udp("10.0.0.3", 4000, "198.51.100.1", 53), kLan).source().first,
              addr("203.0.113.77"));
    EXPECT_TRUE(box.table().check_invariants().empty());
}

// Whoever has no address to hide behind any more must not leave by the one that was guessed.
TEST(Foresee, MeetsAnAddressThatIsGone) {
    NatBox box{{masquerade()}};
    ASSERT_EQ(box.send(udp("10.0.0.1", 4000, "198.51.100.1", 53), kLan).drop(), ct::Drop::None);
    nat::Setup::Retired retired;
    box.before_decision = [&] {
        auto addresses = test::port_addresses();
        addresses[kWan].ipv4.reset();
        retired = box.setup().set_addresses(addresses, box.now);
    };

    EXPECT_EQ(box.send(udp("10.0.0.2", 4000, "198.51.100.1", 53), kLan).drop(),
              ct::Drop::NatNoAddress);
    EXPECT_EQ(box.table().count(), 1U);
}

}  // namespace
