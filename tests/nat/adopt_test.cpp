// SPDX-License-Identifier: BSD-3-Clause
//
// Connections that control makes (sluicectl -I and -R): they hold their mappings as those that
// packets opened do, or are refused.
#include "nat/invariants.hpp"
#include "nat/timers.hpp"
#include "tests/nat/nat_box.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

using ct::Drop;
using ct::Injected;
using ct::kNanosPerSecond;
using nat::Filtering;
using nat::Rule;
using test::addr;
using test::kLan;
using test::kWan;
using test::NatBox;
using test::PacketBuilder;

constexpr const char* kServer = "198.51.100.7";
constexpr const char* kOther = "198.51.100.8";
constexpr const char* kExternal = "203.0.113.5";

PacketBuilder udp(const std::string& src, std::uint16_t sport, const std::string& dst = kServer,
                  std::uint16_t dport = 53) {
    return PacketBuilder{}.ipv4(src, dst).udp(sport, dport).payload("x");
}

Rule independent(Filtering filtering = Filtering::EndpointIndependent,
                 nat::PortRange ports = {5000, 5009}) {
    Rule r = test::snat(test::target(kExternal, ports));
    r.behaviour.mapping = nat::Mapping::EndpointIndependent;
    r.behaviour.filtering = filtering;
    return r;
}

/// A UDP connection from inside, whose source is called `port` of `external` outside.
ct::Injection mapped(const std::string& src, std::uint16_t sport, std::uint16_t port,
                     const char* external = kExternal, const char* dst = kServer) {
    ct::Injection i;
    i.original.family = ct::Family::Ipv4;
    i.original.proto = ct::ipproto::kUdp;
    i.original.src = addr(src);
    i.original.dst = addr(dst);
    i.original.sport = ct::Be16::from_host(sport);
    i.original.dport = ct::Be16::from_host(53);
    i.reply = ct::reply_of(i.original);
    i.reply.dst = addr(external);
    i.reply.dport = ct::Be16::from_host(port);
    i.timeout_s = 100;
    i.in_port = kLan;
    i.out_port = kWan;
    return i;
}

/// A UDP connection that `remote` opened to `port` of the external address, which is `inside`'s.
ct::Injection called(const char* remote, std::uint16_t port, const std::string& inside,
                     std::uint16_t inside_port) {
    ct::Injection i;
    i.original.family = ct::Family::Ipv4;
    i.original.proto = ct::ipproto::kUdp;
    i.original.src = addr(remote);
    i.original.dst = addr(kExternal);
    i.original.sport = ct::Be16::from_host(9000);
    i.original.dport = ct::Be16::from_host(port);
    i.reply = ct::reply_of(i.original);
    i.reply.src = addr(inside);
    i.reply.sport = ct::Be16::from_host(inside_port);
    i.timeout_s = 100;
    i.in_port = kWan;
    i.out_port = kLan;
    return i;
}

/// A UDP connection from inside, port 5004 outside, to port 5003 of the external address, which is
/// another's inside.
ct::Injection hairpin() {
    ct::Injection i = called("10.0.0.8", 5003, "10.0.0.7", 4000);
    i.reply.dst = addr(kExternal);
    i.reply.dport = ct::Be16::from_host(5004);
    i.in_port = i.out_port = kLan;
    return i;
}

Injected inject(NatBox& box, const ct::Injection& i) {
    return box.table().insert(i, box.now);
}

std::uint64_t records(NatBox& box) {
    return box.setup().mappings()->records();
}

void expect_sound(NatBox& box) {
    EXPECT_EQ(box.table().check_invariants(), "");
    EXPECT_EQ(nat::check_mappings(box.table(), box.setup(), box.now), "");
}

std::pair<ct::Addr, std::uint16_t> external(std::uint16_t port) {
    return {addr(kExternal), port};
}

// ---- Endpoint-independent mappings.

TEST(Adopted, AnEntryHoldsTheMappingThatItsSourceUsesFromThenOn) {
    NatBox box{{independent()}};
    ASSERT_EQ(inject(box, mapped("10.0.0.7", 4000, 5003)), Injected::Done);
    expect_sound(box);

    EXPECT_EQ(box.send(udp("10.0.0.7", 4000, kOther), kLan).source(), external(5003));
    EXPECT_EQ(box.send(udp("10.0.0.8", 5003), kLan).source() == external(5003), false);
    const auto in =
        box.send(PacketBuilder{}.ipv4(kOther, kExternal).udp(99, 5003).payload("y"), kWan);
    EXPECT_EQ(in.destination(), (std::pair{addr("10.0.0.7"), std::uint16_t{4000}}));
    expect_sound(box);

    box.table().flush(box.now);
    EXPECT_EQ(records(box), 0U);
    expect_sound(box);
}

TEST(Adopted, TheMappingGoesWithItsLastConnectionHoweverThatEnds) {
    NatBox box{{independent()}};
    ASSERT_EQ(inject(box, mapped("10.0.0.7", 4000, 5003)), Injected::Done);
    ASSERT_EQ(inject(box, mapped("10.0.0.7", 4000, 5003, kExternal, kOther)), Injected::Done);
    EXPECT_EQ(box.setup().mappings()->count(), 1U);

    const auto first = box.table().find(mapped("10.0.0.7", 4000, 5003).original, box.now);
    ASSERT_TRUE(first && box.table().erase(first->handle, box.now));
    EXPECT_EQ(box.setup().mappings()->count(), 1U);
    expect_sound(box);

    box.now += 101 * kNanosPerSecond;
    (void)box.table().expire_among(0, 0, box.table().indices(), box.now);
    EXPECT_EQ(records(box), 0U);
    expect_sound(box);
}

TEST(Adopted, APortThatAnotherHasIsRefusedAndNothingIsChanged) {
    NatBox box{{independent()}};
    const std::uint16_t port = box.send(udp("10.0.0.8", 5003), kLan).source().second;
    ASSERT_EQ(port, 5003);
    const std::uint64_t before = records(box);

    EXPECT_EQ(inject(box, mapped("10.0.0.7", 4000, port, kExternal, kOther)), Injected::PortTaken);

    EXPECT_EQ(records(box), before);
    EXPECT_EQ(box.table().count(), 1U);
    expect_sound(box);
}

TEST(Adopted, ASourceHasOneMappingOnly) {
    NatBox box{{independent()}};
    const std::uint16_t port = box.send(udp("10.0.0.7", 4000), kLan).source().second;
    const auto another = static_cast<std::uint16_t>(port == 5000 ? 5001 : 5000);

    EXPECT_EQ(inject(box, mapped("10.0.0.7", 4000, another, kExternal, kOther)),
              Injected::PortTaken);
    EXPECT_EQ(inject(box, mapped("10.0.0.7", 4000, port, kExternal, kOther)), Injected::Done);

    EXPECT_EQ(box.setup().mappings()->count(), 1U);
    expect_sound(box);
}

// RFC 6888 REQ-8: packets for who had it must not reach another.
TEST(Adopted, APortThatRestsIsRefusedToAnother) {
    Rule rule = independent();
    rule.behaviour.quarantine_s = 120;
    NatBox box{{rule}};
    ASSERT_EQ(inject(box, mapped("10.0.0.7", 4000, 5003)), Injected::Done);
    box.table().flush(box.now);

    EXPECT_EQ(inject(box, mapped("10.0.0.8", 4000, 5003)), Injected::PortTaken);
    EXPECT_EQ(inject(box, mapped("10.0.0.7", 4001, 5003)), Injected::PortTaken);
    EXPECT_EQ(inject(box, mapped("10.0.0.8", 4000, 5004)), Injected::Done);
}

// `-R` after `-F`: the mapping is put back as it was, as if it had never ended.
TEST(Adopted, APortThatRestsIsHadByWhoHadItBefore) {
    Rule rule = independent();
    rule.behaviour.quarantine_s = 120;
    NatBox box{{rule}};
    ASSERT_EQ(inject(box, mapped("10.0.0.7", 4000, 5003)), Injected::Done);
    for (int round = 0; round < 3; ++round) {
        box.table().flush(box.now);
        box.now += 50 * kNanosPerSecond;

        ASSERT_EQ(inject(box, mapped("10.0.0.7", 4000, 5003)), Injected::Done) << round;
        EXPECT_EQ(inject(box, mapped("10.0.0.7", 4000, 5003, kExternal, kOther)), Injected::Done);

        EXPECT_EQ(box.send(udp("10.0.0.7", 4000, "198.51.100.9"), kLan).source(), external(5003));
        expect_sound(box);
    }
    // What was had back does not come free when its first rest would have ended.
    box.now += 1000 * kNanosPerSecond;
    ASSERT_EQ(inject(box, mapped("10.0.0.7", 4000, 5003, kExternal, "198.51.100.10")),
              Injected::Done);
    EXPECT_EQ(inject(box, mapped("10.0.0.8", 4000, 5003)), Injected::PortTaken);
    box.table().flush(box.now);
    EXPECT_EQ(inject(box, mapped("10.0.0.8", 4000, 5003)), Injected::PortTaken) << "it rests again";
    box.now += 181 * kNanosPerSecond;
    EXPECT_EQ(inject(box, mapped("10.0.0.8", 4000, 5003)), Injected::Done);
    expect_sound(box);
}

TEST(Adopted, AConnectionFromOutsideHoldsTheMappingThatItCameInBy) {
    NatBox box{{independent()}};
    ASSERT_EQ(inject(box, called(kServer, 5003, "10.0.0.7", 4000)), Injected::Done);
    expect_sound(box);

    EXPECT_EQ(box.send(udp("10.0.0.7", 4000, kOther), kLan).source(), external(5003));
    EXPECT_EQ(inject(box, called(kOther, 5003, "10.0.0.8", 4000)), Injected::PortTaken);

    expect_sound(box);
    box.table().flush(box.now);
    EXPECT_EQ(records(box), 0U);
}

TEST(Adopted, WhoTheInsideTalksToMayCallUnderAddressDependentFiltering) {
    NatBox box{{independent(Filtering::AddressDependent)}};
    ASSERT_EQ(inject(box, mapped("10.0.0.7", 4000, 5003)), Injected::Done);
    ASSERT_EQ(inject(box, called(kOther, 5003, "10.0.0.7", 4000)), Injected::Done);
    const auto call = [&](const char* from) {
        return box.send(PacketBuilder{}.ipv4(from, kExternal).udp(77, 5003).payload("y"), kWan)
            .drop();
    };

    EXPECT_EQ(call(kServer), Drop::None);
    EXPECT_EQ(call(kOther), Drop::None);
    EXPECT_EQ(call("198.51.100.9"), Drop::NatFiltered);

    expect_sound(box);
    box.table().flush(box.now);
    EXPECT_EQ(records(box), 0U);
}

// Two hosts inside that talk by an external endpoint: each has a mapping (RFC 4787 REQ-9).
TEST(Adopted, AHairpinHoldsBothMappings) {
    NatBox box{{independent()}};
    const ct::Injection i = hairpin();

    ASSERT_EQ(inject(box, i), Injected::Done);

    EXPECT_EQ(box.setup().mappings()->count(), 2U);
    expect_sound(box);
    EXPECT_EQ(box.send(udp("10.0.0.7", 4000), kLan).source(), external(5003));
    EXPECT_EQ(box.send(udp("10.0.0.8", 9000), kLan).source(), external(5004));
    box.table().flush(box.now);
    EXPECT_EQ(records(box), 0U);
}

// A hairpin's own ports are both inside: where no rule tells, the route to the address does.
TEST(Adopted, AHairpinThatComesFirstLeavesByTheRouteToItsExternalAddress) {
    Rule anywhere = independent();
    anywhere.match.out_port = ct::kNoPort;
    NatBox box{{anywhere}};
    box.setup().ask({.port_towards =
                         [](const void*, ct::Family, const ct::Addr& to) noexcept {
                             return to == addr(kExternal) ? kWan : kLan;
                         },
                     .self = nullptr});
    const ct::Injection i = hairpin();

    ASSERT_EQ(inject(box, i), Injected::Done);

    EXPECT_EQ(box.setup().mappings()->count(), 2U);
    EXPECT_EQ(box.send(udp("10.0.0.7", 4000), kLan).source(), external(5003));
    EXPECT_EQ(box.send(udp("10.0.0.8", 9000), kLan).source(), external(5004));
    const auto in =
        box.send(PacketBuilder{}.ipv4(kOther, kExternal).udp(99, 5003).payload("y"), kWan);
    EXPECT_EQ(in.destination(), (std::pair{addr("10.0.0.7"), std::uint16_t{4000}}));
    expect_sound(box);
    box.table().flush(box.now);
    EXPECT_EQ(records(box), 0U);
}

TEST(Adopted, WhereNobodyKnowsThePortTheRuleTellsOrNobody) {
    ct::Injection i = mapped("10.0.0.7", 4000, 5003);
    i.in_port = i.out_port = ct::kNoPort;
    {
        NatBox box{{independent()}};
        EXPECT_EQ(inject(box, i), Injected::Done);
        EXPECT_EQ(box.send(udp("10.0.0.7", 4000, kOther), kLan).source(), external(5003));
    }
    Rule anywhere = independent();
    anywhere.match.out_port = ct::kNoPort;
    NatBox box{{anywhere}};
    EXPECT_EQ(inject(box, i), Injected::NoWay);
    EXPECT_EQ(box.table().count(), 0U);
    EXPECT_EQ(records(box), 0U);
}

// ---- Ordinary mappings beside them.

TEST(Adopted, AnOrdinaryMappingKeepsItsPortFromBecomingAnothers) {
    Rule other = test::snat(test::target(kExternal, {5000, 5001}));
    other.match.src = test::prefix("10.9.0.0/16");
    NatBox box{{other, independent(Filtering::EndpointIndependent, {5000, 5001})}};
    ASSERT_EQ(inject(box, mapped("10.9.0.1", 4000, 5000)), Injected::Done);
    expect_sound(box);

    EXPECT_EQ(box.send(udp("10.0.0.7", 5000, kOther), kLan).source(), external(5001));
    EXPECT_EQ(box.send(udp("10.0.0.8", 5000, kOther), kLan).drop(), Drop::NatNoPort);
    EXPECT_EQ(inject(box, mapped("10.9.0.2", 4000, 5001)), Injected::PortTaken);

    expect_sound(box);
    box.table().flush(box.now);
    EXPECT_EQ(records(box), 0U);
    expect_sound(box);
}

TEST(Adopted, AMasqueradedEntryEndsWithItsPortsAddress) {
    NatBox box{{test::masquerade()}};
    ASSERT_EQ(inject(box, mapped("10.0.0.7", 4000, 4000, "203.0.113.1")), Injected::Done);
    ct::Injection unknown = mapped("10.0.0.8", 4000, 4001, "203.0.113.1");
    unknown.in_port = unknown.out_port = ct::kNoPort;
    ASSERT_EQ(inject(box, unknown), Injected::Done);

    EXPECT_EQ(box.table().flush_port(kWan, box.now), 1U) << "the other's port was not known";
}

TEST(Adopted, AnEntryIsTrackedAsItsRuleSays) {
    Rule rule = independent();
    rule.behaviour.variant = ct::variant::of_policy(1);
    NatBox box{{rule}, 4096, nat::Action::Accept, {.policies = {nat::rfc_timeouts({})}}};
    ASSERT_EQ(inject(box, mapped("10.0.0.7", 4000, 5003)), Injected::Done);
    const auto left = [&] {
        return box.table().find(mapped("10.0.0.7", 4000, 5003).original, box.now)->timeout_s;
    };
    EXPECT_EQ(left(), 100U) << "the first time-out is what control says";

    ASSERT_EQ(box.send(udp("10.0.0.7", 4000), kLan).drop(), Drop::None);

    EXPECT_EQ(left(), 300U);
}

// ---- Subscribers.

/// Two addresses with 64 ports each, in blocks of 16, two for a subscriber.
nat::CarrierSettings blocks() {
    nat::CarrierSettings s;
    s.name = "subscribers";
    s.outside = {ct::Family::Ipv4, addr(kExternal), addr("203.0.113.6")};
    s.ports = {2000, 2063};
    s.blocks = nat::BlockSettings{.size = 16, .most = 2, .idle_s = 60};
    return s;
}

Rule carrier_rule() {
    Rule r = test::snat(test::target("203.0.113.5-203.0.113.6", {2000, 2063}));
    r.carrier = 0;
    return r;
}

class Box : public NatBox {
public:
    explicit Box(const nat::CarrierSettings& s = blocks(), const Rule& r = carrier_rule())
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
};

using Booked = std::pair<std::uint32_t, std::uint32_t>;

TEST(AdoptedBySubscriber, GetsHimTheBlockThatHisPortIsIn) {
    Box box;
    ASSERT_EQ(inject(box, mapped("10.0.0.7", 4000, 2020, "203.0.113.6")), Injected::Done);

    EXPECT_EQ(box.booked(), (Booked{1, 1}));
    nat::BlockEvent e;
    ASSERT_TRUE(box.block_log().pop(e));
    EXPECT_EQ(e.kind, nat::BlockEvent::Kind::Assigned);
    EXPECT_EQ(e.outside, addr("203.0.113.6"));
    EXPECT_EQ(e.ports, (nat::PortRange{2016, 2031}));
    // What he opens next is in the same block.
    const auto next = box.send(udp("10.0.0.7", 4001), kLan).source();
    EXPECT_EQ(next.first, addr("203.0.113.6"));
    EXPECT_TRUE((nat::PortRange{2016, 2031}.contains(next.second)));
    EXPECT_NE(next.second, 2020);

    box.table().flush(box.now);
    EXPECT_EQ(box.booked(), (Booked{0, 0}));
    box.now += 61 * kNanosPerSecond;
    box.carriers().expire_all(0, box.now);
    EXPECT_EQ(box.carrier().totals().blocks_in_use, 0U);
    EXPECT_EQ(box.carrier().totals().subscribers, 0U);
}

TEST(AdoptedBySubscriber, IsRefusedWhatIsNotHis) {
    Box box;
    ASSERT_EQ(inject(box, mapped("10.0.0.7", 4000, 2020)), Injected::Done);

    EXPECT_EQ(inject(box, mapped("10.0.0.8", 4000, 2021)), Injected::PortTaken) << "whose block";
    EXPECT_EQ(inject(box, mapped("10.0.0.7", 4001, 2021, "203.0.113.6")), Injected::PortTaken)
        << "he has another address";
    EXPECT_EQ(inject(box, mapped("10.0.0.8", 4000, 2040)), Injected::Done);

    EXPECT_EQ(box.booked(), (Booked{2, 2}));
    EXPECT_EQ(box.carrier().totals().subscribers, 2U);
    EXPECT_EQ(box.table().count(), 2U);
}

TEST(AdoptedBySubscriber, CountsAgainstHisLimits) {
    nat::CarrierSettings s = blocks();
    s.limits.connections = 2;
    {
        Box box{s};
        ASSERT_EQ(inject(box, mapped("10.0.0.7", 4000, 2000)), Injected::Done);
        ASSERT_EQ(inject(box, mapped("10.0.0.7", 4001, 2001)), Injected::Done);
        EXPECT_EQ(inject(box, mapped("10.0.0.7", 4002, 2002)), Injected::Limited);
        EXPECT_EQ(box.send(udp("10.0.0.7", 5000), kLan).drop(), Drop::NatConnectionLimit);
        EXPECT_EQ(box.booked(), (Booked{2, 2}));
    }
    s.limits = {.ports = 1};
    {
        Box box{s};
        ASSERT_EQ(inject(box, mapped("10.0.0.7", 4000, 2000)), Injected::Done);
        EXPECT_EQ(inject(box, mapped("10.0.0.7", 4001, 2016)), Injected::Limited);
        EXPECT_EQ(inject(box, mapped("10.0.0.7", 4000, 2000, kExternal, kOther)), Injected::Done)
            << "the port that he has already";
        EXPECT_EQ(box.carrier().totals().blocks_in_use, 1U) << "who is refused gets no block";
        EXPECT_EQ(box.booked(), (Booked{2, 1}));
    }
    s.limits = {};
    Box box{s};
    ASSERT_EQ(inject(box, mapped("10.0.0.7", 4000, 2000)), Injected::Done);
    ASSERT_EQ(inject(box, mapped("10.0.0.7", 4001, 2016)), Injected::Done);
    EXPECT_EQ(inject(box, mapped("10.0.0.7", 4002, 2032)), Injected::Limited) << "a third block";
}

TEST(AdoptedBySubscriber, LimitsAloneCountIt) {
    nat::CarrierSettings s = blocks();
    s.blocks.reset();
    s.limits.connections = 1;
    Box box{s};
    ASSERT_EQ(inject(box, mapped("10.0.0.7", 4000, 2000)), Injected::Done);

    EXPECT_EQ(inject(box, mapped("10.0.0.7", 4001, 2001)), Injected::Limited);
    EXPECT_EQ(box.send(udp("10.0.0.7", 5000), kLan).drop(), Drop::NatConnectionLimit);
    box.table().flush(box.now);
    EXPECT_EQ(box.booked(), (Booked{0, 0}));
    EXPECT_EQ(box.send(udp("10.0.0.7", 5000), kLan).drop(), Drop::None);
}

TEST(AdoptedBySubscriber, ADeterministicShareIsItsOwnersAlone) {
    nat::CarrierSettings s = blocks();
    nat::DeterministicPlan plan;
    plan.inside = test::prefix("10.0.0.0/30");
    plan.outside = s.outside;
    plan.ports = s.ports;
    plan.reserve = 32;
    s.deterministic = plan;
    const auto share = *nat::Deterministic{plan}.share_of(ct::Family::Ipv4, addr("10.0.0.1"));
    const std::string at = share.address == 0 ? kExternal : "203.0.113.6";
    Box box{s};

    EXPECT_EQ(inject(box, mapped("10.0.0.1", 4000, share.ports.first, at.c_str())), Injected::Done);
    EXPECT_EQ(inject(box, mapped("10.0.0.0", 4000, share.ports.last, at.c_str())),
              Injected::PortTaken);
    EXPECT_EQ(inject(box, mapped("10.0.0.1", 4001, 2063, at.c_str())), Injected::Done)
        << "a block of the reserve";
    EXPECT_EQ(inject(box, mapped("10.9.9.9", 4001, share.ports.last, at.c_str())),
              Injected::PortTaken)
        << "no subscriber";

    EXPECT_EQ(box.booked(), (Booked{2, 2}));
    EXPECT_EQ(box.carrier().totals().blocks_in_use, 1U);
}

TEST(AdoptedBySubscriber, AProtocolWithoutPortsHasHisAddress) {
    Box box;
    ct::Injection i = mapped("10.0.0.7", 0, 0, "203.0.113.6");
    i.original.proto = i.reply.proto = 50;
    i.original.dport = i.reply.sport = {};
    ASSERT_EQ(inject(box, i), Injected::Done);

    EXPECT_EQ(box.booked(), (Booked{1, 0}));
    EXPECT_EQ(box.send(udp("10.0.0.7", 4000), kLan).source().first, addr("203.0.113.6"));
    i.original.dst = i.reply.src = addr(kOther);
    i.reply.dst = addr(kExternal);
    EXPECT_EQ(inject(box, i), Injected::PortTaken) << "it is not his address";
}

TEST(AdoptedBySubscriber, AnEndpointIndependentMappingCountsOnce) {
    Rule rule = carrier_rule();
    rule.behaviour.mapping = nat::Mapping::EndpointIndependent;
    rule.behaviour.filtering = Filtering::EndpointIndependent;
    Box box{blocks(), rule};
    ASSERT_EQ(inject(box, mapped("10.0.0.7", 4000, 2000)), Injected::Done);
    ASSERT_EQ(inject(box, mapped("10.0.0.7", 4000, 2000, kExternal, kOther)), Injected::Done);

    EXPECT_EQ(box.booked(), (Booked{1, 1}));
    const char* third = "198.51.100.9";
    EXPECT_EQ(inject(box, mapped("10.0.0.7", 4001, 2000, kExternal, third)), Injected::PortTaken);
    EXPECT_EQ(inject(box, mapped("10.0.0.8", 4001, 2001, kExternal, third)), Injected::PortTaken);
    expect_sound(box);
    box.table().flush(box.now);
    EXPECT_EQ(box.booked(), (Booked{0, 0}));
    EXPECT_EQ(records(box), 0U);
}

// ---- A whole table, put back.

struct World {
    std::vector<Rule> rules;
    std::vector<nat::CarrierSettings> carriers;
};

/// One world for each kind of mapping.
std::vector<World> worlds() {
    std::vector<World> out;
    Rule other = test::snat(test::target(kExternal, {5000, 5999}));
    other.match.src = test::prefix("10.0.0.0/28");
    for (const Filtering filtering : {Filtering::EndpointIndependent, Filtering::AddressDependent})
        out.push_back({{other, independent(filtering, {5000, 5999})}, {}});
    out.push_back({{test::masquerade()}, {}});
    nat::CarrierSettings s = blocks();
    s.ports = {2000, 5999};
    s.blocks->size = 64;
    Rule carrier = carrier_rule();
    carrier.target.ports = s.ports;
    out.push_back({{carrier}, {s}});
    carrier.behaviour.mapping = nat::Mapping::EndpointIndependent;
    carrier.behaviour.filtering = Filtering::AddressDependent;
    out.push_back({{carrier}, {s}});
    s.blocks.reset();
    s.limits.connections = 500;
    out.push_back({{carrier}, {s}});
    return out;
}

/// Some traffic of all kinds: from inside, by others from outside, and between neighbours.
void use(NatBox& box) {
    std::mt19937 random{7};
    std::vector<std::pair<ct::Addr, std::uint16_t>> seen;
    for (unsigned i = 0; i < 400; ++i) {
        const std::string src = "10.0.0." + std::to_string(1 + random() % 40);
        const std::string dst = "198.51.100." + std::to_string(1 + random() % 5);
        const auto sport = static_cast<std::uint16_t>(4000 + random() % 20);
        const auto out = random() % 8 == 0
                             ? box.send(PacketBuilder{}.ipv4(src, dst).echo(sport), kLan)
                             : box.send(udp(src, sport, dst), kLan);
        if (out.drop() == Drop::None && out.wire.proto == ct::ipproto::kUdp)
            seen.push_back(out.source());
        if (seen.empty()) continue;
        const auto [address, port] = seen[random() % seen.size()];
        const std::string to =
            std::to_string(address.bytes[0]) + "." + std::to_string(address.bytes[1]) + "." +
            std::to_string(address.bytes[2]) + "." + std::to_string(address.bytes[3]);
        // A neighbour, or one outside whom it may or may not know.
        if (random() % 4 == 0)
            (void)box.send(udp(random() % 2 == 0 ? src : dst, 6000, to, port),
                           random() % 2 == 0 ? kLan : kWan);
    }
}

/// Makes every connection of `before` anew in `after`, in the order in which a listing has them.
void put_back(NatBox& before, NatBox& after) {
    const auto port_towards = [](const ct::Addr& a) {
        return a.bytes[0] == 10 || a.bytes[0] == 0xfd ? kLan : kWan;
    };
    for (std::uint32_t i = 0; i < before.table().indices(); ++i) {
        ct::Snapshot s;
        if (!before.table().snapshot(i, before.now, s)) continue;
        ct::Injection saved;
        saved.original = s.original;
        saved.reply = s.reply;
        saved.timeout_s = s.timeout_s;
        saved.in_port = port_towards(s.original.src);
        saved.out_port = port_towards(s.reply.src);
        EXPECT_EQ(inject(after, saved), Injected::Done);
    }
}

TEST(Adopted, AWholeTableIsPutBackWithAllThatItHeld) {
    for (const World& world : worlds()) {
        NatBox before{world.rules, 4096, nat::Action::Accept, {}, world.carriers};
        use(before);
        ASSERT_GT(before.table().count(), 300U);
        NatBox after{world.rules, 4096, nat::Action::Accept, {}, world.carriers};

        put_back(before, after);

        EXPECT_EQ(after.table().count(), before.table().count());
        expect_sound(after);
        if (before.setup().mappings() != nullptr) {
            EXPECT_EQ(after.setup().mappings()->count(), before.setup().mappings()->count());
            EXPECT_EQ(records(after), records(before));
        }
        if (!world.carriers.empty()) {
            std::array<std::uint64_t, 4> connections{};
            std::size_t which = 0;
            for (NatBox* box : {&before, &after}) {
                nat::Carrier& carrier = box->carriers().at(0);
                EXPECT_EQ(carrier.check(), "");
                carrier.for_each([&](const nat::Carrier::Holding& h) {
                    connections[which] += h.connections;
                    connections[which + 1] += h.ports[0] + h.ports[1] + h.ports[2] + h.ports[3];
                });
                which += 2;
            }
            EXPECT_EQ(connections[0], connections[2]);
            EXPECT_EQ(connections[1], connections[3]);
            EXPECT_EQ(after.carriers().at(0).totals().blocks_in_use,
                      before.carriers().at(0).totals().blocks_in_use);
        }
        // Life goes on.
        use(after);
        expect_sound(after);
        after.table().flush(after.now);
        if (after.setup().mappings() != nullptr) {
            EXPECT_EQ(records(after), 0U);
        }
        expect_sound(after);
    }
}

// RFC 6146: bindings, calls from IPv4, and hairpins whose two ends are both IPv6.
TEST(Adopted, ConnectionsBetweenTheFamiliesArePutBackToo) {
    const auto six = [](const std::string& src, std::uint16_t sport, const std::string& dst,
                        std::uint16_t dport) {
        return PacketBuilder{}.ipv6(src, "2001:db8:64::" + dst).udp(sport, dport).payload("x");
    };
    for (const Filtering filtering :
         {Filtering::EndpointIndependent, Filtering::AddressDependent}) {
        Rule rule = test::rule(nat::Chain::Nat, nat::Action::Nat64);
        rule.match.dst = test::prefix("2001:db8:64::/96");
        rule.target = test::target(kExternal);
        rule.behaviour.mapping = nat::Mapping::EndpointIndependent;
        rule.behaviour.filtering = filtering;
        NatBox before{{rule}};
        ASSERT_EQ(before.send(six("fd00:1::7", 4000, kServer, 53), kLan).drop(), Drop::None);
        ASSERT_EQ(before.send(six("fd00:1::8", 4001, kServer, 53), kLan).drop(), Drop::None);
        ASSERT_EQ(
            before.send(PacketBuilder{}.ipv4(kServer, kExternal).udp(99, 4000).payload("y"), kWan)
                .drop(),
            Drop::None);
        ASSERT_EQ(before.send(six("fd00:1::8", 4001, kExternal, 4000), kLan).drop(), Drop::None);
        ASSERT_EQ(before.table().count(), 4U);
        NatBox after{{rule}};

        put_back(before, after);

        EXPECT_EQ(after.table().count(), 4U);
        EXPECT_EQ(after.setup().mappings()->count(), 2U);
        EXPECT_EQ(records(after), records(before));
        expect_sound(after);
        EXPECT_EQ(after.send(six("fd00:1::7", 4000, kOther, 53), kLan).source(), external(4000));
        after.table().flush(after.now);
        EXPECT_EQ(records(after), 0U);
        expect_sound(after);
    }
}

// The order of a listing is any: a hairpin may come before the mappings that it goes by.
TEST(Adopted, AHairpinBetweenTheFamiliesMakesItsMappings) {
    Rule rule = test::rule(nat::Chain::Nat, nat::Action::Nat64);
    rule.match.dst = test::prefix("2001:db8:64::/96");
    rule.target = test::target(kExternal);
    rule.behaviour.mapping = nat::Mapping::EndpointIndependent;
    NatBox box{{rule}};
    ct::Injection i;
    i.original.family = ct::Family::Ipv6;
    i.original.proto = ct::ipproto::kUdp;
    i.original.src = addr("fd00:1::8");
    i.original.dst = addr("2001:db8:64::203.0.113.5");
    i.original.sport = ct::Be16::from_host(4001);
    i.original.dport = ct::Be16::from_host(5000);
    i.reply = ct::reply_of(i.original);
    i.reply.src = addr("fd00:1::7");
    i.reply.sport = ct::Be16::from_host(4000);
    i.reply.dst = addr("2001:db8:64::203.0.113.5");
    i.reply.dport = ct::Be16::from_host(5001);
    i.timeout_s = 100;
    i.in_port = i.out_port = kLan;

    rule.match.out_port = kWan;
    NatBox with_port{{rule}};
    for (NatBox* each : {&with_port}) {
        ASSERT_EQ(inject(*each, i), Injected::Done);
        EXPECT_EQ(each->setup().mappings()->count(), 2U);
        expect_sound(*each);
        each->table().flush(each->now);
        EXPECT_EQ(records(*each), 0U);
    }
    EXPECT_EQ(inject(box, i), Injected::NoWay) << "no rule tells where IPv4 is";
}

// ---- Beside workers that open connections.

/// Opens what `t` names as a worker does.
bool open_as(ct::WorkerId w, ct::Conntrack& table, nat::Setup& setup, const ct::Tuple& t,
             ct::Nanos now) {
    std::array<std::uint8_t, 64> bytes{};
    ct::Packet p;
    p.begin(bytes.data(), bytes.size(), kLan, bytes.data());
    p.tuple = t;
    p.l3_offset = 14;
    p.l4_offset = 34;
    p.payload_offset = 42;
    p.end = 42;
    table.lookup(w, {&p, 1}, now);
    if (p.conn.valid() || table.open(w, p, now) != ct::Conntrack::Opening::Opened) return false;
    p.out_port = kWan;
    p.drop = setup.source(w, p, now);
    for (int tries = 0; p.alive() && tries < 8; ++tries) {
        const auto c = table.confirm(w, p, now);
        if (c != ct::Conntrack::Confirmation::ReplyTaken)
            return c == ct::Conntrack::Confirmation::Linked;
        p.drop = setup.next_mapping(w, p, now);
    }
    table.abandon(w, p, now);
    return false;
}

// Control makes and deletes entries on the very ports that workers give away.
TEST(AdoptedThreads, NoMappingIsGivenTwiceAndNothingIsLeftOver) {
    constexpr ct::WorkerId kWorkers = 2;
    constexpr unsigned kRounds = 3000;
    for (World& world : worlds()) {
        for (Rule& r : world.rules) {
            r.target.ports =
                r.action == nat::Action::Masquerade ? nat::PortRange{5000, 5063} : r.target.ports;
            if (r.carrier == nat::kNoCarrier && r.action == nat::Action::Snat)
                r.target.ports = {5000, 5063};
        }
        const nat::RuleSet rules{world.rules, kWorkers};
        ct::Settings settings;
        settings.max = 48;
        settings.embryonic_percent = 100;
        ct::Conntrack table{settings, kWorkers, 1};
        nat::BlockLog log{kWorkers + 1, 4096};
        nat::Carriers carriers{world.carriers, &log, 1};
        nat::Setup setup{rules, table, test::port_addresses(), 1, &carriers};
        const ct::Nanos now = 1'000 * kNanosPerSecond;
        std::atomic<bool> done{false};
        std::atomic<unsigned> opened{0};

        std::vector<std::jthread> workers;
        for (ct::WorkerId w = 0; w < kWorkers; ++w)
            workers.emplace_back([&, w] {
                std::mt19937 random{w};
                while (!done) {
                    const ct::Injection i =
                        mapped("10.0.0." + std::to_string(1 + random() % 30),
                               static_cast<std::uint16_t>(4000 + random() % 4), 0, kExternal,
                               random() % 2 == 0 ? kServer : kOther);
                    if (open_as(w, table, setup, i.original, now)) ++opened;
                }
            });
        std::mt19937 random{99};
        unsigned made = 0;
        unsigned refused = 0;
        for (unsigned n = 0; n < kRounds || (opened < 1000 && n < 100 * kRounds); ++n) {
            const std::uint16_t first = world.carriers.empty() ? 5000 : 2000;
            ct::Injection i =
                mapped("10.0.0." + std::to_string(1 + random() % 30),
                       static_cast<std::uint16_t>(4000 + random() % 4),
                       static_cast<std::uint16_t>(first + random() % 64),
                       world.rules[0].action == nat::Action::Masquerade ? "203.0.113.1" : kExternal,
                       random() % 2 == 0 ? kServer : kOther);
            const Injected result = table.insert(i, now);
            made += result == Injected::Done ? 1 : 0;
            refused += result == Injected::PortTaken ? 1 : 0;
            if (random() % 2 != 0) continue;
            if (const auto found = table.find(i.original, now)) table.erase(found->handle, now);
        }
        done = true;
        workers.clear();

        EXPECT_GT(made, 0U);
        EXPECT_GT(refused + 1, world.rules[0].action == nat::Action::Masquerade ? 0U : 1U);
        EXPECT_GT(opened, 100U);
        EXPECT_EQ(table.check_invariants(), "");
        EXPECT_EQ(nat::check_mappings(table, setup, now), "");
        if (!world.carriers.empty()) {
            EXPECT_EQ(carriers.at(0).check(), "");
        }
        table.flush(now);
        EXPECT_EQ(nat::check_mappings(table, setup, now), "");
        if (setup.mappings() != nullptr) {
            EXPECT_EQ(setup.mappings()->records(), 0U);
        }
        if (world.carriers.empty()) continue;
        carriers.at(0).for_each(
            [](const nat::Carrier::Holding& h) { EXPECT_EQ(h.connections, 0U); });
    }
}

}  // namespace
