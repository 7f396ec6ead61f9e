// SPDX-License-Identifier: BSD-3-Clause
//
// Workers that choose mappings at the same time. Meant for ThreadSanitizer as much as for what it
// asserts: invariant I4, no two mappings share (external address, port, protocol, remote).
#include "nat/invariants.hpp"
#include "tests/nat/nat_box.hpp"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace {

using test::addr;
using test::PacketBuilder;

constexpr ct::WorkerId kWorkers = 4;
constexpr std::uint16_t kPorts = 64;

/// What a worker of the pipeline does with the first packet of a connection. Returns the external
/// port, or 0 if the connection was refused.
std::uint16_t open_connection(ct::WorkerId w, ct::Conntrack& table, nat::Setup& setup,
                              const std::string& src, const std::string& dst, ct::Nanos now) {
    test::OwnedPacket o =
        test::receive(PacketBuilder{}.ipv4(src, dst).udp(4000, 53).payload("x"), test::kLan);
    ct::Packet& p = o.packet;
    EXPECT_EQ(ct::parse(p, {}), ct::Drop::None);
    table.lookup(w, {&p, 1}, now);
    EXPECT_EQ(table.open(w, p, now), ct::Conntrack::Opening::Opened);
    p.out_port = test::kWan;
    bool chosen = setup.source(w, p, now) == ct::Drop::None;
    for (int tries = 0; chosen && tries < kPorts; ++tries) {
        const ct::Conntrack::Confirmation c = table.confirm(w, p, now);
        if (c == ct::Conntrack::Confirmation::Linked) return p.reply.dport.host();
        EXPECT_EQ(c, ct::Conntrack::Confirmation::ReplyTaken);
        chosen = setup.next_mapping(w, p, now) == ct::Drop::None;
    }
    table.abandon(w, p, now);
    return 0;
}

TEST(NatThreads, WorkersNeverGiveOneMappingTwiceAndUseAllThereAre) {
    constexpr unsigned kRounds = 20;
    const nat::RuleSet rules{{test::snat(test::target("203.0.113.5", {5000, 5000 + kPorts - 1}))},
                             kWorkers};
    ct::Settings settings;
    settings.max = 4096;
    settings.embryonic_percent = 100;
    ct::Conntrack table{settings, kWorkers, 1};
    nat::Setup setup{rules, table, test::port_addresses(), 1};
    ct::Nanos now = 1'000 * ct::kNanosPerSecond;

    for (unsigned round = 1; round <= kRounds; ++round) {
        const std::string remote = "198.51.100." + std::to_string(round);
        std::vector<std::atomic<int>> given(kPorts);
        std::atomic<unsigned> refused{0};
        std::atomic<unsigned> ready{0};
        std::vector<std::jthread> workers;
        for (ct::WorkerId w = 0; w < kWorkers; ++w)
            workers.emplace_back([&, w] {
                ++ready;
                while (ready < kWorkers) std::this_thread::yield();
                for (unsigned n = 0; n < kPorts; ++n) {
                    const std::string src =
                        "10." + std::to_string(w) + "." + std::to_string(n) + ".1";
                    const std::uint16_t port = open_connection(w, table, setup, src, remote, now);
                    if (port == 0)
                        ++refused;
                    else
                        ++given[port - 5000U];
                }
            });
        workers.clear();

        for (unsigned i = 0; i < kPorts; ++i) EXPECT_EQ(given[i], 1) << "port " << 5000 + i;
        EXPECT_EQ(refused, (kWorkers - 1) * kPorts);
        now += ct::kNanosPerSecond;
    }
    EXPECT_EQ(table.count(), kRounds * kPorts);
    EXPECT_EQ(table.check_invariants(), "");
    const nat::Hits hits = rules.hits(0);
    EXPECT_EQ(hits.packets, kRounds * kWorkers * kPorts);
}

// The hints are written and read by all at once; a torn one must still be a valid mapping.
TEST(NatThreads, HintsAreSharedWithoutHarm) {
    nat::Rule rule = test::snat(test::target("203.0.113.16-203.0.113.31", {5000, 5999}));
    const nat::RuleSet rules{{rule}, kWorkers};
    ct::Settings settings;
    settings.max = 16'384;
    settings.embryonic_percent = 100;
    ct::Conntrack table{settings, kWorkers, 1};
    nat::Setup setup{rules, table, test::port_addresses(), 1};
    const ct::Nanos now = 1'000 * ct::kNanosPerSecond;

    std::vector<std::jthread> workers;
    std::atomic<unsigned> opened{0};
    for (ct::WorkerId w = 0; w < kWorkers; ++w)
        workers.emplace_back([&, w] {
            for (unsigned n = 0; n < 1000; ++n) {
                // Eight sources for all workers, each towards destinations of its own worker.
                const std::string dst =
                    "198.51." + std::to_string(100 + w) + "." + std::to_string(1 + n / 8);
                const std::string src = "10.0.0." + std::to_string(1 + n % 8);
                const std::uint16_t port = open_connection(w, table, setup, src, dst, now);
                EXPECT_GE(port, 5000);
                EXPECT_LE(port, 5999);
                ++opened;
            }
        });
    workers.clear();

    EXPECT_EQ(opened, kWorkers * 1000);
    EXPECT_EQ(table.count(), kWorkers * 1000);
    EXPECT_EQ(table.check_invariants(), "");
}

/// Takes a packet through the stages. Returns what its connection's reply tuple is, or nothing.
std::optional<ct::Tuple> send(ct::WorkerId w, ct::Conntrack& table, nat::Setup& setup,
                              const PacketBuilder& builder, ct::PortId in, ct::PortId out,
                              ct::Nanos now) {
    test::OwnedPacket o = test::receive(builder, in);
    ct::Packet& p = o.packet;
    EXPECT_EQ(ct::parse(p, {}), ct::Drop::None);
    table.lookup(w, {&p, 1}, now);
    table.update(w, {&p, 1}, now);
    if (!p.conn.valid() && table.open(w, p, now) == ct::Conntrack::Opening::Opened) {
        p.drop = setup.destination(w, p, now);
        p.out_port = out;
        if (p.alive()) p.drop = setup.source(w, p, now);
        const bool linked =
            p.alive() && table.confirm(w, p, now) != ct::Conntrack::Confirmation::ReplyTaken;
        if (!linked) table.abandon(w, p, now);
    }
    if (!p.alive() || !p.conn.valid()) return std::nullopt;
    return p.reply;
}

/// Runs `first` and `second` at the same moment, as workers 0 and 1.
template <class First, class Second>
void at_once(First&& first, Second&& second) {
    std::atomic<unsigned> ready{0};
    const auto meet = [&ready] {
        ++ready;
        while (ready < 2) std::this_thread::yield();
    };
    std::jthread other{[&] {
        meet();
        second();
    }};
    meet();
    first();
}

struct Independent {
    Independent()
        : rules{{rule()}, 2},
          table{settings(), 2, 1},
          setup{rules, table, test::port_addresses(), 1} {}

    static nat::Rule rule() {
        nat::Rule r = test::snat(test::target("203.0.113.5"));
        r.behaviour.mapping = nat::Mapping::EndpointIndependent;
        r.behaviour.filtering = nat::Filtering::EndpointIndependent;
        return r;
    }
    static ct::Settings settings() {
        ct::Settings s;
        s.max = 8192;
        s.embryonic_percent = 100;
        return s;
    }

    nat::RuleSet rules;
    ct::Conntrack table;
    nat::Setup setup;
    ct::Nanos now = 1'000 * ct::kNanosPerSecond;
};

PacketBuilder udp(const std::string& src, std::uint16_t sport, const std::string& dst,
                  std::uint16_t dport) {
    return PacketBuilder{}.ipv4(src, dst).udp(sport, dport).payload("x");
}

constexpr std::uint16_t kRounds = 500;

TEST(NatThreads, TwoFirstPacketsOfOneFlowGetOneConnectionAndOneMapping) {
    Independent box;
    for (std::uint16_t n = 1; n <= kRounds; ++n) {
        const auto packet = [&](ct::WorkerId w) {
            return send(w, box.table, box.setup, udp("10.0.0.1", n, "198.51.100.7", 53), test::kLan,
                        test::kWan, box.now);
        };
        std::array<std::optional<ct::Tuple>, 2> got;
        at_once([&] { got[0] = packet(0); }, [&] { got[1] = packet(1); });
        ASSERT_TRUE(got[0] && got[1]);
        EXPECT_EQ(*got[0], *got[1]);
    }
    EXPECT_EQ(box.table.count(), kRounds);
    EXPECT_EQ(box.table.check_invariants(), "");
    EXPECT_EQ(nat::check_mappings(box.table, box.setup, box.now), "");
}

// Two destinations, so two connections: but the source is one.
TEST(NatThreads, TwoFirstPacketsOfOneSourceGetOneMapping) {
    Independent box;
    for (std::uint16_t n = 1; n <= kRounds; ++n) {
        std::array<std::optional<ct::Tuple>, 2> got;
        const auto packet = [&](ct::WorkerId w, const char* dst) {
            got[w] = send(w, box.table, box.setup, udp("10.0.0.1", n, dst, 53), test::kLan,
                          test::kWan, box.now);
        };
        at_once([&] { packet(0, "198.51.100.7"); }, [&] { packet(1, "198.51.100.8"); });
        ASSERT_TRUE(got[0] && got[1]);
        EXPECT_EQ(got[0]->dst, got[1]->dst);
        EXPECT_EQ(got[0]->dport, got[1]->dport);
    }
    EXPECT_EQ(box.setup.mappings()->count(), kRounds);
    EXPECT_EQ(nat::check_mappings(box.table, box.setup, box.now), "");
}

// A flow that is opened from both sides at once: the answer to the one is the other.
TEST(NatThreads, BothDirectionsOfAFlowOnTwoWorkersAreOneConnection) {
    Independent box;
    for (std::uint16_t n = 1; n <= kRounds; ++n) {
        const auto mapped = send(0, box.table, box.setup, udp("10.0.0.1", n, "198.51.100.9", 1),
                                 test::kLan, test::kWan, box.now);
        ASSERT_TRUE(mapped);
        const std::uint16_t external = mapped->dport.host();
        std::array<bool, 2> passed{};
        at_once(
            [&] {
                passed[0] = send(0, box.table, box.setup, udp("10.0.0.1", n, "198.51.100.7", 53),
                                 test::kLan, test::kWan, box.now)
                                .has_value();
            },
            [&] {
                passed[1] =
                    send(1, box.table, box.setup, udp("198.51.100.7", 53, "203.0.113.5", external),
                         test::kWan, test::kLan, box.now)
                        .has_value();
            });
        EXPECT_TRUE(passed[0] && passed[1]);
    }
    EXPECT_EQ(box.table.count(), 2 * kRounds);
    EXPECT_EQ(box.table.check_invariants(), "");
    EXPECT_EQ(nat::check_mappings(box.table, box.setup, box.now), "");
}

}  // namespace
