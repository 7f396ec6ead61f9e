// SPDX-License-Identifier: BSD-3-Clause
//
// NAT64 with endpoint-independent mappings (RFC 6146): the binding information base, who outside
// may open a session by it, and hosts of IPv6 that meet by their IPv4 endpoints.
#include "nat/invariants.hpp"
#include "nat/pref64.hpp"
#include "nat/timers.hpp"
#include "tests/nat/nat_box.hpp"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

using ct::Drop;
using nat::Filtering;
using test::addr;
using test::kLan;
using test::kWan;
using test::NatBox;
using test::Outcome;
using test::PacketBuilder;

constexpr std::string_view kOne = "fd00:1::10";
constexpr std::string_view kTwo = "fd00:1::20";
constexpr std::string_view kPool = "203.0.113.5";
constexpr std::string_view kPool6 = "2001:db8:64::203.0.113.5";
constexpr std::string_view kServer = "198.51.100.7";
constexpr std::string_view kServer6 = "2001:db8:64::198.51.100.7";
constexpr std::string_view kOther = "198.51.100.8";
constexpr std::string_view kOther6 = "2001:db8:64::198.51.100.8";
constexpr std::array kFilterings{Filtering::EndpointIndependent, Filtering::AddressDependent,
                                 Filtering::AddressAndPortDependent};

nat::Rule nat64(Filtering filtering = Filtering::EndpointIndependent,
                nat::Target to = test::target(kPool)) {
    nat::Rule r = test::rule(nat::Chain::Nat, nat::Action::Nat64);
    r.match.dst = test::prefix("2001:db8:64::/96");
    r.target = to;
    r.behaviour.mapping = nat::Mapping::EndpointIndependent;
    r.behaviour.filtering = filtering;
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
std::pair<ct::Addr, std::uint16_t> endpoint(std::string_view ip, std::uint16_t port) {
    return {addr(ip), port};
}

std::uint64_t records(NatBox& box) {
    return box.setup().mappings()->records();
}
std::uint32_t taken(NatBox& box, std::uint8_t proto = ct::ipproto::kUdp) {
    const nat::Ports& ports = box.setup().ports();
    return ports.usage(ports.space_of(ct::Family::Ipv4, addr(kPool), proto)).taken;
}
/// Nothing is left of any mapping once every connection has ended, and all was right until then.
void expect_all_given_back(NatBox& box) {
    EXPECT_EQ(nat::check_mappings(box.table(), box.setup(), box.now), "");
    EXPECT_EQ(box.table().check_invariants(), "");
    box.now += 1'000'000 * ct::kNanosPerSecond;
    (void)box.table().expire_among(0, 0, box.table().indices(), box.now);
    EXPECT_EQ(box.table().count(), 0U);
    EXPECT_EQ(records(box), 0U);
    EXPECT_EQ(taken(box), 0U);
    EXPECT_EQ(taken(box, ct::ipproto::kTcp), 0U);
}

// ---- Bindings.

// RFC 6146 3.1, 3.5.1 to 3.5.3: one IPv4 endpoint for an IPv6 endpoint, whoever it talks to.
TEST(Nat64Binding, DoesNotDependOnTheDestination) {
    using Make = void (*)(PacketBuilder&, std::uint16_t);
    const std::vector<std::pair<std::uint8_t, Make>> kinds{
        {ct::ipproto::kUdp, [](PacketBuilder& b, std::uint16_t to) { b.udp(4000, to); }},
        {ct::ipproto::kTcp, [](PacketBuilder& b, std::uint16_t to) { b.tcp(4000, to).flags("S"); }},
        {ct::ipproto::kIcmp, [](PacketBuilder& b, std::uint16_t to) { b.icmp(128, 0, 4000, to); }}};
    for (const auto& [proto, make] : kinds) {
        nat::Rule rule = nat64();
        rule.target.random = true;
        NatBox box{{rule}};
        PacketBuilder to_server = six(kOne, kServer6);
        PacketBuilder to_other = six(kOne, kOther6);
        make(to_server, 53);
        make(to_other, 123);

        const Outcome first = box.send(to_server, kLan);
        const Outcome second = box.send(to_other, kLan);

        ASSERT_EQ(second.drop(), Drop::None);
        EXPECT_EQ(first.source(), second.source());
        EXPECT_EQ(first.wire.src, addr(kPool));
        EXPECT_EQ(first.wire.dst, addr(kServer));
        EXPECT_EQ(second.wire.dst, addr(kOther));
        EXPECT_EQ(box.setup().mappings()->count(), 1U);
        EXPECT_EQ(taken(box, proto), 1U);
        expect_all_given_back(box);
    }
}

// RFC 4787 REQ-3, REQ-3a: a port is one endpoint's alone, whatever the remotes are.
TEST(Nat64Binding, HasItsPortAlone) {
    NatBox box{{nat64()}};
    std::set<std::uint16_t> given;
    for (unsigned n = 1; n <= 200; ++n) {
        const auto to = "2001:db8:64::198.51.100." + std::to_string(n);
        const Outcome o = box.send(six("fd00:1::" + std::to_string(n), to).udp(4000, 53), kLan);
        EXPECT_TRUE(given.insert(o.source().second).second) << "given twice";
        EXPECT_GE(o.source().second, 1024);
    }
    EXPECT_TRUE(given.contains(4000)) << "the first keeps its own";
    EXPECT_EQ(taken(box), 200U);
    expect_all_given_back(box);
}

// RFC 6146 3.5.1.1: all of a host's bindings have one address, and ports of the class of its own.
TEST(Nat64Binding, IsOfTheAddressThatItsHostHas) {
    NatBox box{{nat64(Filtering::EndpointIndependent, test::target("203.0.113.16-203.0.113.31"))}};
    std::set<std::array<std::uint8_t, 16>> of_all;
    for (unsigned host = 1; host <= 40; ++host) {
        std::set<std::array<std::uint8_t, 16>> of_one;
        for (const std::uint16_t port : std::initializer_list<std::uint16_t>{100, 900, 4000}) {
            const auto o =
                box.send(six("fd00:1::" + std::to_string(host), kServer6).udp(port, 53), kLan);
            ASSERT_EQ(o.drop(), Drop::None);
            EXPECT_TRUE(nat::port_class(ct::ipproto::kUdp, port).contains(o.source().second));
            of_one.insert(o.source().first.bytes);
        }
        EXPECT_EQ(of_one.size(), 1U);
        of_all.merge(of_one);
    }
    EXPECT_GT(of_all.size(), 8U);
}

// RFC 6146 4: UDP 5 minutes, TCP 4 minutes until it is established and 2 h 4 min then, ICMP 60 s.
TEST(Nat64Binding, LivesAsLongAsTheRfcWantsWhereTheRuleSaysSo) {
    nat::Rule rule = nat64();
    rule.behaviour.variant = ct::variant::of_policy(1);
    NatBox box{{rule}, 4096, nat::Action::Accept, {.policies = {nat::rfc_timeouts({})}}};
    const auto seconds = [&](const Outcome& o) {
        const auto entry = box.table().find(o.packet.original, box.now);
        return entry ? entry->timeout_s : 0;
    };

    const auto udp = box.send(six(kOne, kServer6).udp(4000, 53), kLan);
    const auto ping = box.send(six(kOne, kServer6).icmp(128, 0, 700, 1), kLan);
    const auto tcp = box.send(six(kOne, kServer6).tcp(4000, 80).flags("S").seq(99), kLan);

    EXPECT_EQ(seconds(udp), 300U);
    EXPECT_EQ(seconds(ping), 60U);
    EXPECT_EQ(seconds(tcp), 240U);
    (void)box.send(four(kServer, kPool).tcp(80, 4000).flags("SA").seq(500).ack(100), kWan);
    (void)box.send(six(kOne, kServer6).tcp(4000, 80).flags("A").seq(100).ack(501), kLan);
    EXPECT_EQ(seconds(tcp), 7440U);
}

TEST(Nat64Binding, IsOfThePortsOwnAddressWithoutAPool) {
    NatBox box{{nat64(Filtering::EndpointIndependent, {})}};

    const auto out = box.send(six(kOne, kServer6).udp(4000, 53), kLan);
    const auto in = box.send(four(kOther, "203.0.113.1").udp(9, out.source().second), kWan);

    EXPECT_EQ(out.source().first, addr("203.0.113.1"));
    EXPECT_EQ(out.packet.masquerade_port, test::kWan);
    EXPECT_EQ(in.destination(), endpoint(kOne, 4000));
}

TEST(Nat64Binding, EndsWithTheLastPort) {
    NatBox box{{nat64(Filtering::EndpointIndependent, test::target(kPool, {5000, 5001}))}};
    for (std::uint16_t n = 0; n < 2; ++n)
        ASSERT_EQ(box.send(six(kOne, kServer6).udp(n, 53), kLan).drop(), Drop::None);

    EXPECT_EQ(box.send(six(kOne, kOther6).udp(3, 53), kLan).drop(), Drop::NatNoPort);
    EXPECT_EQ(records(box), 2U) << "who was refused holds nothing";
    expect_all_given_back(box);
}

// The same inside endpoint may have an external one of either family at a time.
TEST(Nat64Binding, StandsBesideAMappingOfIpv6) {
    nat::Rule nat66 = test::snat(test::target("2001:db8:2::5"));
    nat66.behaviour.mapping = nat::Mapping::EndpointIndependent;
    NatBox box{{nat64(), nat66}};

    const auto over = box.send(six(kOne, kServer6).udp(4000, 53), kLan);
    const auto same = box.send(six(kOne, "2001:db8:99::1").udp(4000, 53), kLan);
    const auto over_again = box.send(six(kOne, kOther6).udp(4000, 53), kLan);

    EXPECT_EQ(over.source(), endpoint(kPool, 4000));
    EXPECT_EQ(same.source(), endpoint("2001:db8:2::5", 4000));
    EXPECT_EQ(over_again.source(), over.source());
    EXPECT_EQ(box.setup().mappings()->count(), 2U);
    expect_all_given_back(box);
}

// ---- Sessions from IPv4.

// RFC 6146 3.5.1, 3.5.4: the packet becomes IPv6, its source an address behind the prefix.
TEST(Nat64FromOutside, ReachesTheHostAndItsAnswersComeBack) {
    NatBox box{{nat64()}};
    const std::uint16_t port = box.send(six(kOne, kServer6).udp(4000, 53), kLan).source().second;

    const auto in =
        box.send(four(kOther, kPool).dont_fragment().udp(999, port).payload("call"), kWan);
    const auto answer = box.send(six(kOne, kOther6).udp(4000, 999).payload("yes"), kLan);
    const auto again =
        box.send(four(kOther, kPool).dont_fragment().udp(999, port).payload("more"), kWan);

    EXPECT_EQ(in.frame, six(kOther6, kOne, 63).udp(999, 4000).payload("call").build());
    EXPECT_EQ(in.packet.out_port, kLan);
    EXPECT_EQ(answer.frame, four(kPool, kOther, 63).id(2).udp(port, 999).payload("yes").build());
    EXPECT_EQ(answer.packet.dir, ct::Dir::Reply);
    EXPECT_EQ(again.frame, six(kOther6, kOne, 63).udp(999, 4000).payload("more").build());
    EXPECT_EQ(again.packet.state, ct::CtState::Established);
    EXPECT_EQ(box.table().count(), 2U);
    EXPECT_EQ(box.setup().mappings()->count(), 1U);
    expect_all_given_back(box);
}

TEST(Nat64FromOutside, OpensTcpTo) {
    NatBox box{{nat64()}};
    const std::uint16_t port =
        box.send(six(kOne, kServer6).tcp(4000, 80).flags("S"), kLan).source().second;

    const auto syn =
        box.send(four(kOther, kPool).dont_fragment().tcp(999, port).flags("S").seq(99), kWan);
    const auto answer =
        box.send(six(kOne, kOther6).tcp(4000, 999).flags("SA").seq(500).ack(100), kLan);
    const auto ack = box.send(
        four(kOther, kPool).dont_fragment().tcp(999, port).flags("A").seq(100).ack(501), kWan);

    EXPECT_EQ(syn.frame, six(kOther6, kOne, 63).tcp(999, 4000).flags("S").seq(99).build());
    EXPECT_EQ(answer.frame,
              four(kPool, kOther, 63).id(2).tcp(port, 999).flags("SA").seq(500).ack(100).build());
    EXPECT_EQ(ack.packet.state, ct::CtState::Established);
    const auto entry = box.table().find(syn.packet.original, box.now);
    ASSERT_TRUE(entry);
    EXPECT_EQ(entry->original.family, ct::Family::Ipv4);
    EXPECT_EQ(entry->reply.family, ct::Family::Ipv6);
    EXPECT_NE(entry->status & ct::status::kAssured, 0);
    EXPECT_NE(entry->status & ct::status::kDstNat, 0);
    expect_all_given_back(box);
}

// RFC 6146 1.2.3, 3.5.1 and RFC 4787 REQ-8.
TEST(Nat64FromOutside, IsLetInAsTheFilteringSays) {
    for (const Filtering f : kFilterings) {
        NatBox box{{nat64(f)}};
        const std::uint16_t port =
            box.send(six(kOne, kServer6).udp(4000, 53), kLan).source().second;
        const bool same_address = f != Filtering::AddressAndPortDependent;
        const bool others = f == Filtering::EndpointIndependent;

        EXPECT_EQ(box.send(four(kServer, kPool).udp(53, port), kWan).drop(), Drop::None);
        EXPECT_EQ(box.send(four(kServer, kPool).udp(54, port), kWan).drop(),
                  same_address ? Drop::None : Drop::NatFiltered);
        EXPECT_EQ(box.send(four(kOther, kPool).udp(53, port), kWan).drop(),
                  others ? Drop::None : Drop::NatFiltered);
        EXPECT_EQ(box.table().count(), 1U + (same_address ? 1 : 0) + (others ? 1 : 0));
        expect_all_given_back(box);
    }
}

// RFC 6146 3.5.3: an identifier is to echo what a port is to UDP.
TEST(Nat64FromOutside, EchoFindsTheHostThatHasItsIdentifier) {
    for (const Filtering f : kFilterings) {
        nat::Rule rule = nat64(f);
        rule.target.random = true;
        NatBox box{{rule}};
        const std::uint16_t id =
            box.send(six(kOne, kServer6).icmp(128, 0, 700, 1), kLan).source().second;
        const auto ping = [&](std::string_view from, std::uint16_t with) {
            return box.send(four(from, kPool).dont_fragment().icmp(8, 0, with, 9).payload("ping"),
                            kWan);
        };
        const bool same_address = f != Filtering::AddressAndPortDependent;
        const bool others = f == Filtering::EndpointIndependent;

        const auto in = ping(kServer, id);
        EXPECT_EQ(in.drop(), same_address ? Drop::None : Drop::NatFiltered);
        if (same_address) {
            EXPECT_EQ(in.frame,
                      six(kServer6, kOne, 63).icmp(128, 0, 700, 9).payload("ping").build());
            EXPECT_EQ(in.packet.out_port, kLan);
            const auto answer =
                box.send(six(kOne, kServer6).icmp(129, 0, 700, 9).payload("ping"), kLan);
            EXPECT_EQ(answer.packet.dir, ct::Dir::Reply);
            EXPECT_EQ(answer.wire.src, addr(kPool));
            EXPECT_EQ(answer.wire.sport.host(), id);
            EXPECT_EQ(answer.packet.state, ct::CtState::Established);
        }
        EXPECT_EQ(ping(kOther, id).drop(), others ? Drop::None : Drop::NatFiltered);
        const auto nobodys = ping(kOther, static_cast<std::uint16_t>(id + 1));
        EXPECT_EQ(nobodys.drop(), Drop::NatFiltered) << "and the address is nobody's";
        EXPECT_EQ(box.setup().mappings()->count(), 1U);
        expect_all_given_back(box);
    }
}

// RFC 6146 3.5.2.2.
TEST(Nat64FromOutside, WithoutABindingEndsHere) {
    NatBox box{{nat64()}};
    (void)box.send(six(kOne, kServer6).udp(4000, 53), kLan);

    const auto other_port = box.send(four(kOther, kPool).udp(53, 4001), kWan);
    const auto other_proto = box.send(four(kOther, kPool).tcp(53, 4000).flags("S"), kWan);

    EXPECT_EQ(other_port.drop(), Drop::NatFiltered);
    EXPECT_EQ(other_proto.drop(), Drop::NatFiltered);
    EXPECT_EQ(box.table().count(), 1U);
}

// RFC 6052 3.1: nobody of a private address is shown behind the well-known prefix.
TEST(Nat64FromOutside, HasAnAddressThatThePrefixMayCarry) {
    nat::Rule rule = nat64();
    rule.match.dst = nat::kWellKnownPrefix;
    rule.global_only = true;
    NatBox box{{rule}};
    const std::uint16_t port =
        box.send(six(kOne, "64:ff9b::9.9.9.9").udp(4000, 53), kLan).source().second;

    EXPECT_EQ(box.send(four("172.16.0.1", kPool).udp(53, port), kWan).drop(),
              Drop::NatUntranslatable);
    EXPECT_EQ(box.send(four("8.8.8.8", kPool).udp(53, port), kWan).source(),
              endpoint("64:ff9b::8.8.8.8", 53));
    EXPECT_EQ(box.table().count(), 2U);
    expect_all_given_back(box);
}

TEST(Nat64FromOutside, IsShownToTheFilterInIpv6AndAsDnat) {
    nat::Rule out = test::rule(nat::Chain::Filter, nat::Action::Accept);
    out.match.in_port = kLan;
    nat::Rule in = test::rule(nat::Chain::Filter, nat::Action::Accept);
    in.match.in_port = kWan;
    in.match.src = test::prefix(kOther6);
    in.match.dst = test::prefix(kOne);
    in.match.proto = ct::ipproto::kUdp;
    in.match.dport = {4000, 4000};
    in.match.status_any = ct::status::kDstNat;
    NatBox box{{nat64(), out, in}, 4096, nat::Action::Drop};
    const std::uint16_t port = box.send(six(kOne, kServer6).udp(4000, 53), kLan).source().second;

    EXPECT_EQ(box.send(four(kOther, kPool).udp(999, port), kWan).drop(), Drop::None);
    EXPECT_EQ(box.send(four("198.51.100.9", kPool).udp(999, port), kWan).drop(), Drop::RuleDrop);
    EXPECT_EQ(box.rules().hits(2).packets, 1U);
    expect_all_given_back(box);
}

// RFC 6146 3.5, RFC 7915 4.2, 5.2: errors about sessions that IPv4 opened, in both directions.
TEST(Nat64FromOutside, ErrorsAboutItCross) {
    NatBox box{{nat64()}};
    const std::uint16_t port = box.send(six(kOne, kServer6).udp(4000, 53), kLan).source().second;
    const auto call = four(kOther, kPool).udp(999, port).payload("call");
    (void)box.send(call, kWan);
    const auto answer = box.send(six(kOne, kOther6).udp(4000, 999).payload("yes"), kLan);

    PacketBuilder closed;
    closed.ipv6(kOne, kOther6)
        .icmp_error(1, 4, six(kOther6, kOne, 63).udp(999, 4000).payload("call").build_ip());
    const auto out = box.send(closed, kLan);
    PacketBuilder lost;
    lost.ipv4("192.0.2.200", kPool)
        .icmp_error(3, 1, test::Bytes(answer.frame.begin() + 14, answer.frame.end()));
    const auto in = box.send(lost, kWan);

    EXPECT_EQ(out.packet.state, ct::CtState::Related);
    PacketBuilder closed_outside;
    closed_outside.ipv4(kPool, kOther)
        .ttl(63)
        .id(3)
        .icmp_error(3, 3, four(kOther, kPool, 63).id(0).udp(999, port).payload("call").build_ip());
    EXPECT_EQ(out.frame, closed_outside.build());
    EXPECT_EQ(in.packet.state, ct::CtState::Related);
    PacketBuilder lost_inside;
    lost_inside.ipv6("2001:db8:64::192.0.2.200", kOne)
        .ttl(63)
        .icmp_error(1, 0, six(kOne, kOther6, 63).udp(4000, 999).payload("yes").build_ip());
    EXPECT_EQ(in.frame, lost_inside.build());
}

// ---- Hairpin: RFC 6146 3.8.

TEST(Nat64Hairpin, TwoHostsMeetByTheirExternalEndpoints) {
    for (const Filtering f : kFilterings)
        for (const bool tcp : {false, true}) {
            NatBox box{{nat64(f)}};
            const auto put = [&](PacketBuilder b, std::uint16_t from, std::uint16_t to,
                                 const char* flags) {
                return tcp ? b.tcp(from, to).flags(flags).payload("x")
                           : b.udp(from, to).payload("x");
            };
            const auto one = box.send(put(six(kOne, kServer6), 4001, 53, "S"), kLan).source();
            const auto two = box.send(put(six(kTwo, kServer6), 4002, 53, "S"), kLan).source();
            ASSERT_EQ(one.first, addr(kPool));

            const auto there = box.send(put(six(kOne, kPool6), 4001, two.second, "S"), kLan);
            const auto back = box.send(put(six(kTwo, kPool6), 4002, one.second, "SA"), kLan);

            EXPECT_EQ(there.frame, put(six(kPool6, kTwo, 63), one.second, 4002, "S").build());
            EXPECT_EQ(there.packet.out_port, kLan);
            EXPECT_EQ(back.frame, put(six(kPool6, kOne, 63), two.second, 4001, "SA").build());
            EXPECT_EQ(back.packet.dir, ct::Dir::Reply);
            EXPECT_EQ(box.setup().mappings()->count(), 2U);
            expect_all_given_back(box);
        }
}

TEST(Nat64Hairpin, AHostReachesItselfAndOneWithoutABindingGetsOne) {
    NatBox box{{nat64(Filtering::AddressDependent)}};
    const auto one = box.send(six(kOne, kServer6).udp(4001, 53), kLan).source();

    const auto self = box.send(six(kOne, kPool6).udp(4009, one.second), kLan);
    const auto later = box.send(six(kOne, kOther6).udp(4009, 53), kLan);

    EXPECT_EQ(self.destination(), endpoint(kOne, 4001));
    EXPECT_EQ(self.source(), endpoint(kPool6, 4009));
    EXPECT_EQ(later.source(), endpoint(kPool, 4009)) << "the same binding outside";
    expect_all_given_back(box);
}

TEST(Nat64Hairpin, KeepsBothBindings) {
    NatBox box{{nat64()}};
    const auto one = box.send(six(kOne, kServer6).udp(4001, 53), kLan);
    const auto two = box.send(six(kTwo, kServer6).udp(4002, 53), kLan);
    ASSERT_EQ(box.send(six(kOne, kPool6).udp(4001, two.source().second), kLan).drop(), Drop::None);
    for (const Outcome* o : {&one, &two}) {
        const auto entry = box.table().find(o->packet.original, box.now);
        ASSERT_TRUE(entry);
        ASSERT_TRUE(box.table().erase(entry->handle, box.now));
    }

    EXPECT_EQ(box.table().count(), 1U);
    EXPECT_EQ(box.setup().mappings()->count(), 2U);
    EXPECT_EQ(box.send(four(kOther, kPool).udp(9, two.source().second), kWan).destination(),
              endpoint(kTwo, 4002));
    expect_all_given_back(box);
}

TEST(Nat64Hairpin, ToAnAddressOfThePoolWithoutABindingEndsHere) {
    NatBox box{{nat64()}};
    (void)box.send(six(kTwo, kServer6).udp(4002, 53), kLan);
    (void)box.send(six(kTwo, kServer6).icmp(128, 0, 700, 1), kLan);

    EXPECT_EQ(box.send(six(kOne, kPool6).udp(4001, 4003), kLan).drop(), Drop::NatUntranslatable);
    EXPECT_EQ(box.send(six(kOne, kPool6).tcp(4001, 4002).flags("S"), kLan).drop(),
              Drop::NatUntranslatable);
    EXPECT_EQ(box.send(six(kOne, kPool6).icmp(128, 0, 700, 1), kLan).drop(),
              Drop::NatUntranslatable);
    EXPECT_EQ(box.table().count(), 2U);
    EXPECT_EQ(records(box), 2U);
}

// RFC 5508 REQ-7: who meets by external endpoints hears of errors from them.
TEST(Nat64Hairpin, ErrorsShowWhatTheirReceiverSent) {
    NatBox box{{nat64()}};
    const auto one = box.send(six(kOne, kServer6).udp(4001, 53), kLan).source();
    const auto two = box.send(six(kTwo, kServer6).udp(4002, 53), kLan).source();
    const auto there = box.send(six(kOne, kPool6).udp(4001, two.second).payload("x"), kLan);

    PacketBuilder closed;
    closed.ipv6(kTwo, kPool6)
        .icmp_error(1, 4, test::Bytes(there.frame.begin() + 14, there.frame.end()));
    const auto error = box.send(closed, kLan);

    PacketBuilder expected;
    expected.ipv6(kPool6, kOne)
        .ttl(63)
        .icmp_error(1, 4, six(kOne, kPool6, 63).udp(4001, two.second).payload("x").build_ip());
    EXPECT_EQ(error.frame, expected.build());
    EXPECT_EQ(error.packet.state, ct::CtState::Related);
    EXPECT_EQ(one.second, 4001);
}

// RFC 6052 2.2: behind prefixes of every length, and where one lies within another.
TEST(Nat64Hairpin, WorksBehindEveryPrefix) {
    for (const std::uint8_t bits : std::initializer_list<std::uint8_t>{32, 40, 48, 56, 64, 96}) {
        nat::Rule wide = nat64();
        wide.match.dst = test::prefix("2001:db8::/32");
        nat::Rule rule = nat64();
        rule.match.dst = {ct::first_bits(addr("2001:db8:64:6400:64::"), bits), bits,
                          ct::Family::Ipv6};
        NatBox box{{rule, wide}};
        const auto behind = [&](std::string_view ip) {
            return nat::embed(rule.match.dst, addr(ip));
        };
        const auto send = [&](std::string_view from, std::uint16_t sport, std::string_view to,
                              std::uint16_t dport) {
            PacketBuilder b = six(from, "2001:db8::1").udp(sport, dport);
            test::Bytes frame = b.build();
            const ct::Addr dst = behind(to);
            // The builder takes text; the checksum follows the address.
            ct::ChecksumDelta delta;
            delta.replace(addr("2001:db8::1"), dst, ct::Family::Ipv6);
            std::copy(dst.bytes.begin(), dst.bytes.end(), frame.begin() + 14 + 24);
            std::uint8_t* checksum = frame.data() + 14 + 40 + 6;
            ct::store(checksum, delta.apply_udp(ct::load<ct::Be16>(checksum)));
            return box.send(frame, kLan);
        };
        const auto one = send(kOne, 4001, kServer, 53);
        const auto two = send(kTwo, 4002, kServer, 53);
        ASSERT_EQ(one.source(), endpoint(kPool, 4001)) << int{bits};
        ASSERT_EQ(two.source(), endpoint(kPool, 4002)) << int{bits};

        const auto there = send(kOne, 4001, kPool, 4002);

        EXPECT_EQ(there.destination(), endpoint(kTwo, 4002)) << int{bits};
        EXPECT_EQ(there.source(), (std::pair{behind(kPool), std::uint16_t{4001}})) << int{bits};
        expect_all_given_back(box);
    }
}

// ---- Beside NAT of IPv4.

// A host of IPv4 inside is called by its external endpoint like any other; to a host behind NAT64
// it is outside.
TEST(Nat64Hairpin, HostsOfBothFamiliesMeet) {
    nat::Rule nat44 = test::snat(test::target("203.0.113.6"));
    nat44.match.src = test::prefix("10.0.0.0/8");
    nat44.behaviour.mapping = nat::Mapping::EndpointIndependent;
    NatBox box{{nat64(), nat44}};
    const auto old = box.send(four("10.0.0.7", kServer).udp(4004, 53), kLan).source();
    const auto one = box.send(six(kOne, kServer6).udp(4006, 53), kLan).source();
    ASSERT_EQ(old, endpoint("203.0.113.6", 4004));

    const auto to_old = box.send(six(kOne, "2001:db8:64::203.0.113.6").udp(4006, 4004), kLan);
    const auto answer = box.send(four("10.0.0.7", kPool).udp(4004, one.second), kLan);
    const auto to_new = box.send(four("10.0.0.8", kPool).udp(4005, one.second), kLan);

    EXPECT_EQ(to_old.destination(), endpoint("10.0.0.7", 4004));
    EXPECT_EQ(to_old.source(), one);
    EXPECT_EQ(answer.packet.dir, ct::Dir::Reply);
    EXPECT_EQ(answer.destination(), endpoint(kOne, 4006));
    EXPECT_EQ(answer.source(), endpoint("2001:db8:64::203.0.113.6", 4004));
    EXPECT_EQ(to_new.destination(), endpoint(kOne, 4006));
    EXPECT_EQ(to_new.source(), endpoint("2001:db8:64::10.0.0.8", 4005));
    expect_all_given_back(box);
}

// Ordinary mappings to the same address keep off the ports of bindings.
TEST(Nat64Binding, KeepsOffThePortsOfOrdinaryMappings) {
    nat::Rule snat = test::snat(test::target(kPool, {5000, 5003}));
    NatBox box{{nat64(Filtering::EndpointIndependent, test::target(kPool, {5000, 5003})), snat}};
    std::set<std::uint16_t> given;
    for (std::uint16_t n = 0; n < 2; ++n) {
        given.insert(box.send(six(kOne, kServer6).udp(n, 53), kLan).source().second);
        given.insert(
            box.send(four("10.0.0.7", kServer).udp(static_cast<std::uint16_t>(n + 9), 53), kLan)
                .source()
                .second);
    }

    EXPECT_EQ(given, (std::set<std::uint16_t>{5000, 5001, 5002, 5003}));
    expect_all_given_back(box);
}

}  // namespace
