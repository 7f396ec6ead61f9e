// SPDX-License-Identifier: BSD-3-Clause
//
// The kinds of mapping beside plain ones: prefix to prefix, shifted ports, static pairs, both ends
// at once, hairpins, and connections that follow another. Errors of ICMP come back through each.
#include "nat/setup.hpp"
#include "tests/nat/nat_box.hpp"

#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <array>
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
using test::prefix;
using test::snat;
using test::target;

constexpr const char* kRemote = "198.51.100.7";

using Endpoint = std::pair<ct::Addr, std::uint16_t>;
Endpoint endpoint(std::string_view ip, std::uint16_t port) {
    return {addr(ip), port};
}

std::string text(const ct::Addr& a, ct::Family family) {
    std::array<char, INET6_ADDRSTRLEN> out{};
    const int kind = family == ct::Family::Ipv6 ? AF_INET6 : AF_INET;
    return inet_ntop(kind, a.bytes.data(), out.data(), out.size());
}

PacketBuilder between(const std::string& src, const std::string& dst) {
    PacketBuilder b;
    src.find(':') == std::string::npos ? b.ipv4(src, dst) : b.ipv6(src, dst);
    return b;
}
PacketBuilder udp(const std::string& src, std::uint16_t sport, const std::string& dst,
                  std::uint16_t dport) {
    return between(src, dst).udp(sport, dport).payload("x");
}

/// All addresses of a prefix of IPv4 with length 24, or of IPv6 with length 64.
nat::Target prefix_target(const std::string& network) {
    nat::Target t = target(network);
    const std::size_t from = t.family == ct::Family::Ipv4 ? 3 : 8;
    const std::size_t to = t.family == ct::Family::Ipv4 ? 4 : 16;
    for (std::size_t i = from; i < to; ++i) t.last_addr.bytes[i] = 0xff;
    t.netmap = true;
    return t;
}

Rule netmap_out(const std::string& inside, const std::string& outside) {
    Rule r = snat(prefix_target(outside));
    r.match.src = prefix(inside);
    return r;
}
Rule netmap_in(const std::string& outside, const std::string& inside) {
    Rule r = dnat(outside, -1, {}, prefix_target(inside));
    return r;
}

// ---- Netmap.

TEST(Netmap, ASourceKeepsItsHostBitsAndItsPort) {
    NatBox box{
        {netmap_out("10.0.1.0/24", "203.0.113.0"), netmap_out("fd00:0:0:1::/64", "2001:db8:7::")}};
    for (const unsigned n : {0U, 1U, 77U, 255U}) {
        const std::string host = "10.0.1." + std::to_string(n);
        const Outcome out = box.send(udp(host, 4000, kRemote, 53), kLan);
        const std::string mapped = "203.0.113." + std::to_string(n);
        ASSERT_EQ(out.drop(), ct::Drop::None);
        EXPECT_EQ(out.source(), endpoint(mapped, 4000));
        const Outcome back = box.send(udp(kRemote, 53, mapped, 4000), kWan);
        EXPECT_EQ(back.destination(), endpoint(host, 4000));
    }

    const Outcome six = box.send(udp("fd00::1:abcd:0:0:9", 4000, "2001:db8:9::1", 53), kLan);
    EXPECT_EQ(six.source(), endpoint("2001:db8:7:0:abcd::9", 4000));
}

TEST(Netmap, ADestinationKeepsItsHostBits) {
    NatBox box{
        {netmap_in("203.0.113.0/24", "192.168.5.0"), netmap_in("2001:db8:7::/64", "fd00:5::")}};

    const Outcome in = box.send(udp(kRemote, 4000, "203.0.113.77", 53), kWan);
    const Outcome back = box.send(udp("192.168.5.77", 53, kRemote, 4000), kLan);
    const Outcome six = box.send(udp("2001:db8:9::1", 4000, "2001:db8:7::77", 53), kWan);

    EXPECT_EQ(in.destination(), endpoint("192.168.5.77", 53));
    EXPECT_EQ(back.source(), endpoint("203.0.113.77", 53));
    EXPECT_EQ(six.destination(), endpoint("fd00:5::77", 53));
}

TEST(Netmap, WorksForProtocolsWithoutPorts) {
    NatBox box{{netmap_out("10.0.1.0/24", "203.0.113.0")}};

    const Outcome echo = box.send(between("10.0.1.9", kRemote).echo(7).payload("ping"), kLan);
    const Outcome tunnel = box.send(between("10.0.1.9", kRemote).gre(0x0800).payload("x"), kLan);

    EXPECT_EQ(echo.wire.src, addr("203.0.113.9"));
    EXPECT_EQ(echo.wire.sport.host(), 7);
    EXPECT_EQ(tunnel.wire.src, addr("203.0.113.9"));
}

// A /23 mapped into a /24 by hand (the configuration refuses it): whoever comes second gets another
// port, as in Linux, and never the other's tuple.
TEST(Netmap, TwoHostsWithTheSameHostBitsGetDifferentPorts) {
    NatBox box{{netmap_out("10.0.0.0/16", "203.0.113.0")}};

    const Outcome first = box.send(udp("10.0.1.9", 4000, kRemote, 53), kLan);
    const Outcome second = box.send(udp("10.0.2.9", 4000, kRemote, 53), kLan);

    EXPECT_EQ(first.source(), endpoint("203.0.113.9", 4000));
    EXPECT_EQ(second.source().first, addr("203.0.113.9"));
    EXPECT_NE(second.source().second, 4000);
}

// ---- Shifted ports (iptables' --to-destination A:FIRST-LAST/BASE).

TEST(ShiftedPorts, EachPortOfOneRangeHasItsOwnInTheOther) {
    Rule r =
        dnat("203.0.113.1", ct::ipproto::kUdp, {5000, 5099}, target("192.168.1.10", {6000, 6099}));
    r.target.port_base = 5000;
    NatBox box{{r}};

    for (const std::uint16_t n : {std::uint16_t{0}, std::uint16_t{1}, std::uint16_t{99}}) {
        const auto outside = static_cast<std::uint16_t>(5000 + n);
        const Outcome in = box.send(udp(kRemote, 4000, "203.0.113.1", outside), kWan);
        EXPECT_EQ(in.destination(), endpoint("192.168.1.10", static_cast<std::uint16_t>(6000 + n)));
        const Outcome back = box.send(
            udp("192.168.1.10", static_cast<std::uint16_t>(6000 + n), kRemote, 4000), kLan);
        EXPECT_EQ(back.source(), endpoint("203.0.113.1", outside));
    }
}

TEST(ShiftedPorts, OverlappingRangesShiftAllTheSame) {
    Rule r =
        dnat("203.0.113.1", ct::ipproto::kTcp, {5000, 5009}, target("192.168.1.10", {5005, 5014}));
    r.target.port_base = 5000;
    NatBox box{{r}};

    const Outcome in = box.send(between(kRemote, "203.0.113.1").tcp(4000, 5006), kWan);

    EXPECT_EQ(in.destination().second, 5011) << "5006 lies in the target's range, but is not kept";
}

TEST(ShiftedPorts, AShorterRangeIsRoundOverAndATakenPortIsPassedOver) {
    Rule r =
        dnat("203.0.113.1", ct::ipproto::kUdp, {5000, 5099}, target("192.168.1.10", {6000, 6009}));
    r.target.port_base = 5000;
    NatBox box{{r}};

    EXPECT_EQ(box.send(udp(kRemote, 4000, "203.0.113.1", 5003), kWan).destination().second, 6003);
    EXPECT_EQ(box.send(udp(kRemote, 4001, "203.0.113.1", 5013), kWan).destination().second, 6003);
    EXPECT_EQ(box.send(udp(kRemote, 4000, "203.0.113.1", 5013), kWan).destination().second, 6004);
    EXPECT_EQ(box.send(udp(kRemote, 4000, "203.0.113.1", 5019), kWan).destination().second, 6009);
    EXPECT_EQ(box.send(udp(kRemote, 4000, "203.0.113.1", 5029), kWan).destination().second, 6000);
}

TEST(ShiftedPorts, ASourceIsShiftedLikewiseAndRefusedWhenNoneIsLeft) {
    Rule r = snat(target("203.0.113.5", {6000, 6001}));
    r.match.proto = ct::ipproto::kUdp;
    r.target.port_base = 4000;
    NatBox box{{r}};

    EXPECT_EQ(box.send(udp("10.0.0.1", 4001, kRemote, 53), kLan).source().second, 6001);
    EXPECT_EQ(box.send(udp("10.0.0.2", 4001, kRemote, 53), kLan).source().second, 6000);
    EXPECT_EQ(box.send(udp("10.0.0.3", 4001, kRemote, 53), kLan).drop(), ct::Drop::NatNoPort);
}

// ---- Static: what the configuration makes of action "static" (dataplane/control).

/// The pair of rules of a static mapping of one address.
std::vector<Rule> static_pair(const std::string& inside, const std::string& outside) {
    Rule out = snat(target(outside));
    out.match.src = prefix(inside);
    out.target.netmap = true;
    Rule in = dnat(outside, -1, {}, target(inside));
    in.target.netmap = true;
    in.hairpin = true;
    return {in, out};
}

TEST(Static, MapsBothWaysWhoeverOpens) {
    NatBox box{static_pair("10.0.0.5", "203.0.113.5")};

    const Outcome out = box.send(udp("10.0.0.5", 4000, kRemote, 53), kLan);
    const Outcome in = box.send(udp(kRemote, 5000, "203.0.113.5", 80), kWan);
    const Outcome other = box.send(udp("10.0.0.6", 4000, kRemote, 53), kLan);

    EXPECT_EQ(out.source(), endpoint("203.0.113.5", 4000));
    EXPECT_EQ(in.destination(), endpoint("10.0.0.5", 80));
    EXPECT_EQ(in.source(), endpoint(kRemote, 5000));
    EXPECT_EQ(other.source(), endpoint("10.0.0.6", 4000));
}

TEST(Static, MapsProtocolsWithoutPortsBothWays) {
    NatBox box{static_pair("10.0.0.5", "203.0.113.5")};

    const Outcome out = box.send(between("10.0.0.5", kRemote).gre(0x0800).payload("x"), kLan);
    const Outcome echo = box.send(between(kRemote, "203.0.113.5").echo(7).payload("x"), kWan);
    const Outcome answer = box.send(between("10.0.0.5", kRemote).echo_reply(7).payload("x"), kLan);

    EXPECT_EQ(out.wire.src, addr("203.0.113.5"));
    EXPECT_EQ(echo.wire.dst, addr("10.0.0.5"));
    EXPECT_EQ(answer.wire.src, addr("203.0.113.5"));
}

// RFC 4787 REQ-9: two hosts with static mappings meet by their outside addresses.
TEST(Static, HostsInsideReachEachOtherByTheirOutsideAddresses) {
    std::vector<Rule> rules = static_pair("192.168.0.5", "203.0.113.5");
    for (const Rule& r : static_pair("192.168.0.6", "203.0.113.6")) rules.push_back(r);
    NatBox box{rules};

    const Outcome there = box.send(udp("192.168.0.5", 4000, "203.0.113.6", 80), kLan);
    const Outcome back = box.send(udp("192.168.0.6", 80, "203.0.113.5", 4000), kLan);

    EXPECT_EQ(there.packet.out_port, kLan);
    EXPECT_EQ(there.source(), endpoint("203.0.113.5", 4000));
    EXPECT_EQ(there.destination(), endpoint("192.168.0.6", 80));
    EXPECT_EQ(back.source(), endpoint("203.0.113.6", 80));
    EXPECT_EQ(back.destination(), endpoint("192.168.0.5", 4000));
}

// RFC 5508 REQ-7, RFC 7857 12: hairpins of queries are for addresses that are mapped one to one.
TEST(Static, HostsInsidePingEachOtherByTheirOutsideAddresses) {
    std::vector<Rule> rules = static_pair("192.168.0.5", "203.0.113.5");
    for (const Rule& r : static_pair("192.168.0.6", "203.0.113.6")) rules.push_back(r);
    NatBox box{rules};

    const Outcome there =
        box.send(between("192.168.0.5", "203.0.113.6").echo(7).payload("ping"), kLan);
    const Outcome back =
        box.send(between("192.168.0.6", "203.0.113.5").echo_reply(7).payload("ping"), kLan);

    EXPECT_EQ(there.wire.src, addr("203.0.113.5"));
    EXPECT_EQ(there.wire.dst, addr("192.168.0.6"));
    EXPECT_EQ(back.wire.src, addr("203.0.113.6"));
    EXPECT_EQ(back.wire.dst, addr("192.168.0.5"));
}

// ---- Both ends.

TEST(TwiceNat, BothEndsAreTranslatedAndBack) {
    for (const bool six : {false, true}) {
        const std::string lan = six ? "fd00:1::9" : "192.168.1.9";
        const std::string server = six ? "fd00:2::7" : "10.7.0.7";
        const std::string remote = six ? "2001:db8:9::1" : kRemote;
        const std::string own = six ? "2001:db8:2::1" : "203.0.113.1";
        Rule out = snat(target(lan));
        out.match.out_port = kLan;
        out.match.src = prefix(remote);
        NatBox box{{dnat(own, ct::ipproto::kTcp, {80, 80}, target(server, {8080, 8080})), out}};

        const Outcome there = box.send(between(remote, own).tcp(4000, 80), kWan);
        const Outcome back =
            box.send(between(server, lan).tcp(8080, 4000).flags("SA").ack(1001), kLan);

        EXPECT_EQ(there.source(), endpoint(lan, 4000));
        EXPECT_EQ(there.destination(), endpoint(server, 8080));
        EXPECT_EQ(there.packet.status & ct::status::kNatMask, ct::status::kNatMask);
        EXPECT_EQ(back.source(), endpoint(own, 80));
        EXPECT_EQ(back.destination(), endpoint(remote, 4000));
    }
}

// ---- Hairpins. RFC 4787 REQ-9, RFC 5382 REQ-8.

Rule web_server(bool hairpin) {
    Rule r = dnat("203.0.113.1", ct::ipproto::kTcp, {8080, 8080}, target("192.168.1.10", {80, 80}));
    r.hairpin = hairpin;
    return r;
}

TEST(Hairpin, AClientInsideReachesAServerInsideByItsOutsideEndpoint) {
    NatBox box{{web_server(true), masquerade()}};

    const Outcome there = box.send(between("192.168.1.20", "203.0.113.1").tcp(4000, 8080), kLan);
    const Outcome back =
        box.send(between("192.168.1.10", "203.0.113.1").tcp(80, 4000).flags("SA").ack(1001), kLan);

    EXPECT_EQ(there.packet.out_port, kLan);
    EXPECT_EQ(there.source(), endpoint("203.0.113.1", 4000)) << "REQ-9a: the external endpoint";
    EXPECT_EQ(there.destination(), endpoint("192.168.1.10", 80));
    EXPECT_EQ(back.source(), endpoint("203.0.113.1", 8080));
    EXPECT_EQ(back.destination(), endpoint("192.168.1.20", 4000));
    EXPECT_EQ(back.packet.state, ct::CtState::Established);
}

TEST(Hairpin, TheWorldOutsideSeesNoDifference) {
    NatBox with{{web_server(true), masquerade()}};
    NatBox without{{web_server(false), masquerade()}};
    const PacketBuilder syn = between(kRemote, "203.0.113.1").tcp(4000, 8080);

    EXPECT_EQ(with.send(syn, kWan).frame, without.send(syn, kWan).frame);
    EXPECT_EQ(with.send(syn, kWan).source(), endpoint(kRemote, 4000));
}

TEST(Hairpin, WithoutTheSettingTheClientTalksToSluiceItself) {
    NatBox box{{web_server(false), masquerade()}};

    const Outcome o = box.send(between("192.168.1.20", "203.0.113.1").tcp(4000, 8080), kLan);

    EXPECT_EQ(o.destination(), endpoint("203.0.113.1", 8080));
    EXPECT_EQ(o.packet.out_port, ct::kNoPort);
}

TEST(Hairpin, WithoutARuleForTheSourceItGetsTheAddressItCalled) {
    NatBox box{{web_server(true)}};

    const Outcome there = box.send(between("192.168.1.20", "203.0.113.1").tcp(4000, 8080), kLan);

    EXPECT_EQ(there.source(), endpoint("203.0.113.1", 4000));
}

TEST(Hairpin, ManyClientsWithOnePortGetPortsOfTheirOwn) {
    NatBox box{{web_server(true), masquerade()}};
    std::set<std::uint16_t> ports;
    for (unsigned n = 20; n < 120; ++n) {
        const Outcome o = box.send(
            between("192.168.1." + std::to_string(n), "203.0.113.1").tcp(4000, 8080), kLan);
        ASSERT_EQ(o.drop(), ct::Drop::None);
        EXPECT_EQ(o.source().first, addr("203.0.113.1"));
        ports.insert(o.source().second);
    }

    EXPECT_EQ(ports.size(), 100U);
}

TEST(Hairpin, AMappingThatWasTakenMeanwhileIsReplacedByAnotherOfTheSameRule) {
    NatBox box{{web_server(true), masquerade({5000, 5999})}};
    Outcome rival;
    box.before_confirm = [&](ct::Packet& p) {
        // A stranger takes exactly the reply tuple that was chosen.
        test::OwnedPacket o = test::receive(between("192.168.1.99", "198.51.100.99").tcp(1, 1));
        ASSERT_EQ(ct::parse(o.packet, {}), ct::Drop::None);
        box.table().lookup(1, {&o.packet, 1}, box.now);
        ASSERT_EQ(box.table().open(1, o.packet, box.now), ct::Conntrack::Opening::Opened);
        o.packet.reply = p.reply;
        ASSERT_EQ(box.table().confirm(1, o.packet, box.now), ct::Conntrack::Confirmation::Linked);
        rival.wire = p.reply;
    };

    const Outcome there = box.send(between("192.168.1.20", "203.0.113.1").tcp(4000, 8080), kLan);

    ASSERT_EQ(there.drop(), ct::Drop::None);
    EXPECT_EQ(there.source().first, addr("203.0.113.1"));
    EXPECT_NE(there.source().second, rival.wire.dport.host());
    EXPECT_TRUE((PortRange{5000, 5999}.contains(there.source().second)));
}

// ---- ICMP errors in both directions through every mode: RFC 5508 REQ-4, REQ-5, REQ-7.

/// The IP packet of a frame.
test::Bytes ip_of(const test::Bytes& frame) {
    return {frame.begin() + 14, frame.end()};
}

/// A packet to be sent, and the port that it comes in by.
struct Sent {
    PacketBuilder packet;
    ct::PortId in_port;
};

struct Mode {
    const char* name;
    std::vector<Rule> rules;
    Sent first;
};

void PrintTo(const Mode& m, std::ostream* out) {
    *out << m.name;
}

std::vector<Mode> modes() {
    const auto of_udp = [](const char* src, const char* dst, std::uint16_t dport = 53) {
        return udp(src, 4000, dst, dport);
    };
    Rule shifted =
        dnat("203.0.113.1", ct::ipproto::kUdp, {5000, 5099}, target("192.168.1.10", {6000, 6099}));
    shifted.target.port_base = 5000;
    Rule lan_side = snat(target("192.168.1.9"));
    lan_side.match.out_port = kLan;
    Rule hairpin =
        dnat("203.0.113.1", ct::ipproto::kUdp, {8080, 8080}, target("192.168.1.10", {80, 80}));
    hairpin.hairpin = true;
    return {
        {"Masquerade", {masquerade()}, {of_udp("10.0.0.1", kRemote), kLan}},
        {"MasqueradeOfIpv6", {masquerade()}, {of_udp("fd00:1::7", "2001:db8:9::1"), kLan}},
        {"MovedPort", {masquerade({6000, 6009})}, {of_udp("10.0.0.1", kRemote), kLan}},
        {"IcmpQuery", {masquerade()}, {between("10.0.0.1", kRemote).echo(7).payload("x"), kLan}},
        {"Dnat",
         {dnat("203.0.113.1", ct::ipproto::kUdp, {53, 53}, target("192.168.1.10", {5353, 5353}))},
         {of_udp(kRemote, "203.0.113.1"), kWan}},
        {"ShiftedPorts", {shifted}, {of_udp(kRemote, "203.0.113.1", 5007), kWan}},
        {"NetmapOut",
         {netmap_out("10.0.1.0/24", "203.0.113.0")},
         {of_udp("10.0.1.77", kRemote), kLan}},
        {"NetmapInOfIpv6",
         {netmap_in("2001:db8:7::/64", "fd00:5::")},
         {of_udp("2001:db8:9::1", "2001:db8:7::77"), kWan}},
        {"StaticOut", static_pair("10.0.0.5", "203.0.113.5"), {of_udp("10.0.0.5", kRemote), kLan}},
        {"StaticIn",
         static_pair("10.0.0.5", "203.0.113.5"),
         {of_udp(kRemote, "203.0.113.5"), kWan}},
        {"TwiceNat",
         {dnat("203.0.113.1", ct::ipproto::kUdp, {53, 53}, target("192.168.1.10")), lan_side},
         {of_udp(kRemote, "203.0.113.1"), kWan}},
        {"Hairpin", {hairpin, masquerade()}, {of_udp("192.168.1.20", "203.0.113.1", 8080), kLan}},
    };
}

class ErrorsThrough : public testing::TestWithParam<Mode> {};

/// Answers the packet that left as `wire`.
PacketBuilder answer_to(const ct::Tuple& wire) {
    PacketBuilder b = between(text(wire.dst, wire.family), text(wire.src, wire.family));
    if (ct::is_icmp(wire.proto)) return b.echo_reply(wire.sport.host()).payload("x");
    return b.udp(wire.dport.host(), wire.sport.host()).payload("y");
}

/// The error that the receiver of `lost` sends back, and what it must become: about `sent`, as the
/// sender knows it.
void expect_error_comes_back(NatBox& box, const Outcome& lost, const test::Bytes& sent,
                             ct::PortId in_port) {
    const ct::Tuple& wire = lost.wire;
    const bool six = wire.family == ct::Family::Ipv6;
    const Outcome error = box.send(between(text(wire.dst, wire.family), text(wire.src, wire.family))
                                       .icmp_error(six ? 1 : 3, six ? 4 : 3, ip_of(lost.frame)),
                                   in_port);

    ASSERT_EQ(error.drop(), ct::Drop::None);
    EXPECT_EQ(error.packet.state, ct::CtState::Related);
    test::OwnedPacket original = test::receive(sent);
    ASSERT_EQ(ct::parse(original.packet, {}), ct::Drop::None);
    test::OwnedPacket arrived = test::receive(error.frame);
    ASSERT_EQ(ct::parse(arrived.packet, {}), ct::Drop::None) << "its checksums are right";
    const ct::Tuple& inner = arrived.packet.inner;
    EXPECT_EQ(inner.src, original.packet.tuple.src);
    EXPECT_EQ(inner.dst, original.packet.tuple.dst);
    EXPECT_EQ(inner.sport, original.packet.tuple.sport);
    EXPECT_EQ(inner.dport, original.packet.tuple.dport);
    EXPECT_EQ(arrived.packet.tuple.dst, original.packet.tuple.src) << "it reaches the sender";
    EXPECT_EQ(arrived.packet.tuple.src, original.packet.tuple.dst) << "from whom it called";
}

TEST_P(ErrorsThrough, AboutTheFirstPacketAndAboutTheAnswer) {
    const Mode& mode = GetParam();
    NatBox box{mode.rules};
    const test::Bytes first = mode.first.packet.build();
    const Outcome there = box.send(first, mode.first.in_port);
    ASSERT_EQ(there.drop(), ct::Drop::None);

    expect_error_comes_back(box, there, first, there.packet.out_port);

    const test::Bytes answer = answer_to(there.wire).build();
    const Outcome back = box.send(answer, there.packet.out_port);
    ASSERT_EQ(back.drop(), ct::Drop::None);
    EXPECT_EQ(back.packet.state, ct::CtState::Established);
    expect_error_comes_back(box, back, answer, mode.first.in_port);
    EXPECT_EQ(box.table().count(), 1U) << "RFC 5508 REQ-6, RFC 4787 REQ-12: nothing has ended";
}

// RFC 5508 REQ-4b, REQ-5: about nothing that is known.
TEST_P(ErrorsThrough, AboutNoConnectionIsInvalid) {
    const Mode& mode = GetParam();
    NatBox known{mode.rules};
    const Outcome there = known.send(mode.first.packet, mode.first.in_port);
    NatBox box{mode.rules};
    const bool six = there.wire.family == ct::Family::Ipv6;

    const Outcome error = box.send(
        between(text(there.wire.dst, there.wire.family), text(there.wire.src, there.wire.family))
            .icmp_error(six ? 1 : 3, six ? 4 : 3, ip_of(there.frame)),
        there.packet.out_port);

    EXPECT_EQ(error.packet.state, ct::CtState::Invalid);
    EXPECT_EQ(box.table().count(), 0U);
}

INSTANTIATE_TEST_SUITE_P(EveryMode, ErrorsThrough, testing::ValuesIn(modes()),
                         [](const auto& mode) { return mode.param.name; });

// ---- Expected connections: Linux's nat-follow-master.

/// Opens `p` by hand and gives it the mapping that follows `master`.
ct::Drop follow(NatBox& box, ct::Packet& p, const nat::Master& master) {
    EXPECT_EQ(ct::parse(p, {}), ct::Drop::None);
    box.table().lookup(0, {&p, 1}, box.now);
    EXPECT_EQ(box.table().open(0, p, box.now), ct::Conntrack::Opening::Opened);
    const ct::Drop drop = box.setup().follow(0, p, master, box.now);
    if (drop == ct::Drop::None) {
        EXPECT_EQ(box.table().confirm(0, p, box.now), ct::Conntrack::Confirmation::Linked);
    }
    return drop;
}

nat::Master master_of(const Outcome& o, ct::Dir dir, std::uint16_t port) {
    return {o.packet.original, o.packet.reply, dir, ct::Be16::from_host(port)};
}

// As FTP's PORT: the client behind a masquerade announces where the server is to connect to.
TEST(FollowMaster, AServerThatCallsBackReachesTheClientBehindTheMasquerade) {
    NatBox box{{masquerade()}};
    const Outcome control = box.send(between("10.0.0.1", kRemote).tcp(4000, 21), kLan);
    test::OwnedPacket data = test::receive(between(kRemote, "203.0.113.1").tcp(20, 3333), kWan);

    ASSERT_EQ(follow(box, data.packet, master_of(control, ct::Dir::Original, 2222)),
              ct::Drop::None);

    EXPECT_EQ(data.packet.reply.src, addr("10.0.0.1"));
    EXPECT_EQ(data.packet.reply.sport.host(), 2222);
    EXPECT_EQ(data.packet.reply.dst, addr(kRemote));
    const Outcome answer =
        box.send(between("10.0.0.1", kRemote).tcp(2222, 20).flags("SA").seq(1).ack(1001), kLan);
    EXPECT_EQ(answer.source(), endpoint("203.0.113.1", 3333));
}

// As FTP's 227: the server behind dnat announces where the client is to connect to.
TEST(FollowMaster, AClientReachesTheServerBehindDnatWhereItListens) {
    NatBox box{{dnat("203.0.113.1", ct::ipproto::kTcp, {21, 21}, target("192.168.1.10"))}};
    const Outcome control = box.send(between(kRemote, "203.0.113.1").tcp(4000, 21), kWan);
    test::OwnedPacket data = test::receive(between(kRemote, "203.0.113.1").tcp(4001, 3333), kWan);

    ASSERT_EQ(follow(box, data.packet, master_of(control, ct::Dir::Reply, 2222)), ct::Drop::None);

    EXPECT_EQ(data.packet.reply.src, addr("192.168.1.10"));
    EXPECT_EQ(data.packet.reply.sport.host(), 2222);
    EXPECT_EQ(data.packet.reply.dst, addr(kRemote));
    EXPECT_EQ(data.packet.reply.dport.host(), 4001);
}

// The same port of the same caller, twice: the second keeps its address and gets another port.
TEST(FollowMaster, ATakenTupleMovesTheCallersPort) {
    NatBox box{{masquerade()}};
    const Outcome control = box.send(between("10.0.0.1", kRemote).tcp(4000, 21), kLan);
    test::OwnedPacket one = test::receive(between(kRemote, "203.0.113.1").tcp(20, 3333), kWan);
    test::OwnedPacket two = test::receive(between(kRemote, "203.0.113.1").tcp(20, 3334), kWan);
    const nat::Master master = master_of(control, ct::Dir::Original, 2222);
    ASSERT_EQ(follow(box, one.packet, master), ct::Drop::None);

    ASSERT_EQ(follow(box, two.packet, master), ct::Drop::None);

    EXPECT_EQ(two.packet.reply.dst, addr(kRemote));
    EXPECT_NE(two.packet.reply.dport.host(), 20);
    EXPECT_TRUE(nat::port_class(ct::ipproto::kTcp, 20).contains(two.packet.reply.dport.host()));
}

TEST(FollowMaster, WithoutPortsATakenTupleIsARefusal) {
    NatBox box{{masquerade()}};
    const Outcome control = box.send(between("10.0.0.1", kRemote).tcp(4000, 1723), kLan);
    const nat::Master master = master_of(control, ct::Dir::Original, 0);
    (void)box.send(between("10.0.0.1", kRemote).gre(0x0800).payload("x"), kLan);
    test::OwnedPacket tunnel =
        test::receive(between(kRemote, "203.0.113.9").gre(0x0800).payload("x"), kWan);

    EXPECT_EQ(follow(box, tunnel.packet, master), ct::Drop::NatNoPort);
    box.table().abandon(0, tunnel.packet, box.now);
}

}  // namespace
