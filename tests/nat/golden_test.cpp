// SPDX-License-Identifier: BSD-3-Clause
//
// What a Linux kernel made of the packets under tests/golden, byte by byte.
//
// First the rewriting alone: the mapping of each packet is taken from the table that the kernel
// showed after it, so cases with random ports count too. Then the whole box, where the mapping is
// no matter of chance.
#include "ct/conn/status.hpp"
#include "tests/nat/nat_box.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <array>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace {

using test::Bytes;

struct Step {
    int n = 0;
    ct::PortId in_port = 0;
    Bytes packet;                                   ///< from the IP header on
    std::vector<std::pair<ct::PortId, Bytes>> out;  ///< what the kernel emitted
    std::vector<std::string> entries;               ///< `conntrack -L` after it
};

ct::PortId port_of(const std::string& iface) {
    return iface == "tun0" ? test::kLan : test::kWan;
}

std::vector<Step> steps_of(const std::string& name) {
    std::ifstream in{std::string{SLUICE_SOURCE_DIR "/tests/golden/"} + name + "/steps.jsonl"};
    std::vector<Step> out;
    for (std::string line; std::getline(in, line);) {
        const auto json = nlohmann::json::parse(line);
        Step s;
        s.n = json["n"];
        s.in_port = port_of(json["iface"]);
        s.packet = test::from_hex(json["hex"].get<std::string>());
        for (const auto& e : json["emitted"])
            s.out.emplace_back(port_of(e["iface"]), test::from_hex(e["hex"].get<std::string>()));
        for (const auto& e : json["entries"]) s.entries.push_back(e);
        out.push_back(std::move(s));
    }
    return out;
}

/// The two tuples in a line of `conntrack -L -o extended`.
std::pair<ct::Tuple, ct::Tuple> tuples_in(const std::string& line) {
    std::istringstream words{line};
    std::string family;
    std::string word;
    int proto = 0;
    words >> family >> word >> word >> proto;
    std::array<std::multimap<std::string, std::string>, 2> sides;
    int side = -1;
    while (words >> word) {
        const std::size_t equals = word.find('=');
        if (equals == std::string::npos) continue;
        const std::string key = word.substr(0, equals);
        if (key == "src") ++side;
        if (side >= 0) sides[static_cast<std::size_t>(side)].emplace(key, word.substr(equals + 1));
    }
    std::array<ct::Tuple, 2> out;
    for (std::size_t i = 0; i < 2; ++i) {
        const auto text = [&](const char* key) { return sides[i].find(key)->second; };
        const auto number = [&](const char* key) {
            return static_cast<std::uint16_t>(std::stoul(text(key)));
        };
        ct::Tuple& t = out[i];
        t.family = family == "ipv4" ? ct::Family::Ipv4 : ct::Family::Ipv6;
        t.proto = static_cast<std::uint8_t>(proto);
        t.src = test::addr(text("src"));
        t.dst = test::addr(text("dst"));
        if (ct::is_icmp(t.proto)) {
            t.sport = ct::Be16::from_host(number("id"));
            t.dport = ct::icmp_type_code(static_cast<std::uint8_t>(number("type")),
                                         static_cast<std::uint8_t>(number("code")));
        } else if (nat::has_ports(t.proto)) {
            t.sport = ct::Be16::from_host(number("sport"));
            t.dport = ct::Be16::from_host(number("dport"));
        }
    }
    return {out[0], out[1]};
}

/// Gives `p` the connection among `entries` that it belongs to. False if there is none.
bool attach(ct::Packet& p, const std::vector<std::string>& entries) {
    const ct::Tuple key = p.icmp_error ? ct::reply_of(p.inner) : p.tuple;
    for (const std::string& line : entries) {
        const auto [original, reply] = tuples_in(line);
        if (key != original && key != reply) continue;
        p.dir = key == original ? ct::Dir::Original : ct::Dir::Reply;
        p.conn = {0, 1};
        p.original = original;
        p.reply = reply;
        p.status = reply == ct::reply_of(original) ? 0 : ct::status::kNatMask;
        return true;
    }
    return false;
}

/// The IP packet after one hop.
Bytes hopped(Bytes packet) {
    if (packet[0] >> 4U == 6) {
        --packet[7];
        return packet;
    }
    auto ip = ct::load<ct::Ipv4Header>(packet.data());
    --ip.ttl;
    ip.checksum = {};
    ct::store(packet.data(), ip);
    ip.checksum = ct::internet_checksum(std::span{packet}.first(ip.header_bytes()));
    ct::store(packet.data(), ip);
    return packet;
}

Bytes ip_of(const ct::Packet& p) {
    return {p.data + p.l3_offset, p.data + p.end};
}

/// Replays the first `most` steps of a case with the kernel's own mappings.
int replay_rewriting(const std::string& name, int most = 1'000) {
    int compared = 0;
    for (const Step& s : steps_of(name)) {
        if (s.n > most) break;
        if (s.out.size() != 1 || s.out[0].first == s.in_port) continue;
        test::OwnedPacket o = test::receive(test::with_ethernet(s.packet), s.in_port);
        if (ct::parse(o.packet, {}) != ct::Drop::None || !attach(o.packet, s.entries)) continue;
        nat::rewrite({&o.packet, 1});
        EXPECT_EQ(o.packet.drop, ct::Drop::None) << name << " step " << s.n;
        EXPECT_EQ(hopped(ip_of(o.packet)), s.out[0].second) << name << " step " << s.n;
        ++compared;
    }
    return compared;
}

TEST(GoldenRewrite, EveryPacketLeavesAsFromTheKernel) {
    EXPECT_EQ(replay_rewriting("snat-masquerade"), 11);
    EXPECT_EQ(replay_rewriting("dnat-port-forward"), 7);
    EXPECT_EQ(replay_rewriting("snat-addr-range-lowport"), 15);
    EXPECT_EQ(replay_rewriting("snat-range-exhausted"), 5);
    EXPECT_EQ(replay_rewriting("ftp-active-masquerade", 6), 6);  // then the payload changes
    EXPECT_GT(replay_rewriting("tftp"), 2);
    EXPECT_EQ(replay_rewriting("pptp-gre", 5), 5);  // then the helper changes call ids
}

/// Replays a case through a box. Every step whose kernel forwarded one packet must leave likewise.
void replay(const std::string& name, std::vector<nat::Rule> rules, int most, int least) {
    test::NatBox box{std::move(rules)};
    int compared = 0;
    for (const Step& s : steps_of(name)) {
        if (s.n > most) break;
        const test::Outcome got = box.send(test::with_ethernet(s.packet), s.in_port);
        box.now += 30'000'000;
        if (s.out.size() != 1) continue;
        EXPECT_EQ(got.drop(), ct::Drop::None) << name << " step " << s.n;
        EXPECT_EQ(got.packet.out_port, s.out[0].first) << name << " step " << s.n;
        EXPECT_EQ(ip_of(got.packet), s.out[0].second) << name << " step " << s.n;
        ++compared;
    }
    EXPECT_GE(compared, least) << name;
}

TEST(GoldenBox, MasqueradesAsTheKernelDoes) {
    replay("snat-masquerade", {test::masquerade()}, 100, 11);
    replay("ftp-active-masquerade", {test::masquerade()}, 6, 6);
}

TEST(GoldenBox, ForwardsPortsAsTheKernelDoes) {
    replay(
        "dnat-port-forward",
        {test::dnat("203.0.113.1", ct::ipproto::kTcp, {8080, 8080},
                    test::target("192.168.1.10", {80, 80})),
         test::dnat("203.0.113.1", ct::ipproto::kUdp, {5353, 5353}, test::target("192.168.1.11"))},
        100, 7);
}

TEST(GoldenBox, ForwardsWithoutNatAsTheKernelDoes) {
    replay("icmp-error-udp", {}, 100, 6);
    replay("icmp-error-udp",
           {test::dnat("203.0.113.1", ct::ipproto::kTcp, {1, 1}, test::target("192.168.1.10"))},
           100, 6);
}

// The kernel's own RST leaves with the address and port that the client knows.
TEST(GoldenBox, AnAnswerToARedirectedPacketComesFromWhereItWasSentTo) {
    nat::Rule redirect = test::rule(nat::Chain::Nat, nat::Action::Redirect);
    redirect.match.in_port = test::kLan;
    redirect.match.proto = ct::ipproto::kTcp;
    redirect.match.dport = {80, 80};
    redirect.target.ports = {3128, 3128};
    test::NatBox box{{redirect}};
    const Step syn = steps_of("redirect-local").at(0);

    const test::Outcome in = box.send(test::with_ethernet(syn.packet), test::kLan);
    ASSERT_EQ(in.drop(), ct::Drop::None);
    EXPECT_EQ(in.packet.out_port, ct::kNoPort);
    EXPECT_EQ(in.destination(), std::pair(test::addr("192.168.1.1"), std::uint16_t{3128}));
    const test::Outcome rst = box.send(test::PacketBuilder{}
                                           .ipv4("192.168.1.1", "192.168.1.10")
                                           .id(0)
                                           .dont_fragment()
                                           .tcp(3128, 40000)
                                           .flags("RA")
                                           .seq(0)
                                           .ack(1001)
                                           .window(0),
                                       ct::kLocalPort);

    ASSERT_EQ(rst.drop(), ct::Drop::None);
    EXPECT_EQ(rst.packet.out_port, test::kLan);
    EXPECT_EQ(ip_of(rst.packet), syn.out.at(0).second);
}

// Which address and which port are the kernel's hash and chance; which ones can be, is not.
TEST(GoldenBox, PicksFromAnAddressRangeWithinTheClassOfThePort) {
    test::NatBox box{{test::snat(test::target("203.0.113.5-203.0.113.8"))}};
    const auto order = [](const ct::Addr& a) { return a.as_v4().host(); };
    std::set<std::tuple<std::uint32_t, std::uint16_t, std::uint16_t>> taken;
    for (const Step& s : steps_of("snat-addr-range-lowport")) {
        const test::Outcome got = box.send(test::with_ethernet(s.packet), s.in_port);
        ASSERT_EQ(got.drop(), ct::Drop::None) << s.n;
        const auto [addr, port] = got.source();
        const std::uint16_t original = got.packet.original.sport.host();
        EXPECT_GE(order(addr), order(test::addr("203.0.113.5")));
        EXPECT_LE(order(addr), order(test::addr("203.0.113.8")));
        EXPECT_TRUE(nat::port_class(ct::ipproto::kUdp, original).contains(port)) << s.n;
        // The port is kept unless the address has given it away to the same remote.
        const std::uint16_t remote = got.packet.original.dport.host();
        EXPECT_EQ(port == original, !taken.contains({order(addr), original, remote})) << s.n;
        EXPECT_TRUE(taken.insert({order(addr), port, remote}).second) << s.n;
    }
}

TEST(GoldenBox, AnExhaustedRangeRefusesOnlyTheRemoteThatHasAllOfIt) {
    nat::Rule rule = test::snat(test::target("203.0.113.5", {5000, 5001}));
    rule.match.proto = ct::ipproto::kUdp;
    test::NatBox box{{rule}};

    for (const Step& s : steps_of("snat-range-exhausted")) {
        if (s.n > 5) break;
        const test::Outcome got = box.send(test::with_ethernet(s.packet), s.in_port);
        EXPECT_EQ(got.drop(), s.out.empty() ? ct::Drop::NatNoPort : ct::Drop::None) << s.n;
    }
    EXPECT_EQ(box.table().count(), 3U);
}

}  // namespace
