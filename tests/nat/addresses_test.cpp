// SPDX-License-Identifier: BSD-3-Clause
//
// The addresses of a port change while connections are masqueraded by them.
#include "nat/invariants.hpp"
#include "nat/setup.hpp"
#include "tests/nat/nat_box.hpp"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace {

using ct::Drop;
using test::addr;
using test::kLan;
using test::kWan;
using test::NatBox;
using test::Outcome;
using test::PacketBuilder;

constexpr const char* kOld = "203.0.113.1";  // the WAN port's at first (nat_box.hpp)
constexpr const char* kNew = "203.0.113.2";
constexpr const char* kServer = "198.51.100.7";

PacketBuilder udp(const std::string& src, std::uint16_t sport, const std::string& dst,
                  std::uint16_t dport) {
    return PacketBuilder{}.ipv4(src, dst).udp(sport, dport).payload("x");
}

nat::Rule independent() {
    nat::Rule r = test::masquerade();
    r.behaviour.mapping = nat::Mapping::EndpointIndependent;
    r.behaviour.filtering = nat::Filtering::EndpointIndependent;
    return r;
}

/// The ports' addresses, with another one of IPv4 for the WAN port; empty: none.
std::vector<nat::PortAddresses> wan_has(std::string_view ipv4) {
    std::vector<nat::PortAddresses> out = test::port_addresses();
    out[kWan].ipv4.reset();
    if (!ipv4.empty()) out[kWan].ipv4 = addr(ipv4);
    return out;
}

/// Gives the WAN port another address, and ends what is masqueraded by `old`; returns how many.
std::uint32_t readdress(NatBox& box, std::string_view old, std::string_view ipv4) {
    static_cast<void>(box.setup().set_addresses(wan_has(ipv4), box.now));
    return box.table().flush_port(
        kWan, box.now, [&](const ct::Tuple& original, const ct::Tuple& reply) {
            return box.setup().rests_on(original, reply, ct::Family::Ipv4, addr(old));
        });
}

/// UDP ports taken of an address that has spaces, or has had.
std::uint32_t taken(NatBox& box, std::string_view ip) {
    const nat::Ports& ports = box.setup().ports();
    const auto space = ports.last_space_of(ct::Family::Ipv4, addr(ip), ct::ipproto::kUdp);
    return space == nat::Ports::kNoSpace ? 0 : ports.usage(space).taken;
}

TEST(Addresses, NewConnectionsAreMasqueradedByTheNewOneAndTheOthersEnd) {
    for (const bool endpoint_independent : {false, true}) {
        NatBox box{{endpoint_independent ? independent() : test::masquerade()}};
        EXPECT_EQ(box.send(udp("10.0.0.7", 4000, kServer, 53), kLan).source().first, addr(kOld));

        EXPECT_EQ(readdress(box, kOld, kNew), 1U);

        EXPECT_EQ(box.table().count(), 0U);
        const Outcome again = box.send(udp("10.0.0.7", 4000, kServer, 53), kLan);
        EXPECT_EQ(again.source(), std::pair(addr(kNew), std::uint16_t{4000}));
        EXPECT_EQ(taken(box, kOld), 0U);
        EXPECT_EQ(taken(box, kNew), endpoint_independent ? 1U : 0U);
        EXPECT_EQ(nat::check_mappings(box.table(), box.setup(), box.now), "");
    }
}

TEST(Addresses, WithoutAnyNewConnectionsAreDroppedWithTheirReason) {
    NatBox box{{independent()}};
    EXPECT_EQ(box.send(udp("10.0.0.7", 4000, kServer, 53), kLan).drop(), Drop::None);

    EXPECT_EQ(readdress(box, kOld, ""), 1U);

    EXPECT_EQ(box.send(udp("10.0.0.7", 4000, kServer, 53), kLan).drop(), Drop::NatNoAddress);
    EXPECT_EQ(readdress(box, kOld, kOld), 0U);
    EXPECT_EQ(box.send(udp("10.0.0.7", 4000, kServer, 53), kLan).source().first, addr(kOld));
}

TEST(Addresses, WhoIsNotMasqueradedStays) {
    nat::Rule snat = test::snat(test::target(kOld));
    snat.match.src = test::prefix("10.0.0.0/8");
    NatBox box{{snat, test::masquerade()}};
    EXPECT_EQ(box.send(udp("10.0.0.7", 4000, kServer, 53), kLan).source().first, addr(kOld));
    EXPECT_EQ(box.send(udp("192.168.1.7", 4001, kServer, 53), kLan).source().first, addr(kOld));

    EXPECT_EQ(readdress(box, kOld, kNew), 1U);

    EXPECT_EQ(box.table().count(), 1U) << "snat's";
}

// Whoever came in by a mapping, from outside or from inside, used the address as well.
TEST(Addresses, ConnectionsToAMappingEndWithItsAddress) {
    NatBox box{{independent()}};
    EXPECT_EQ(box.send(udp("10.0.0.7", 4000, kServer, 53), kLan).drop(), Drop::None);
    const Outcome called = box.send(udp("198.51.100.99", 7, kOld, 4000), kWan);
    EXPECT_EQ(called.destination(), std::pair(addr("10.0.0.7"), std::uint16_t{4000}));
    const Outcome hairpin = box.send(udp("10.0.0.8", 5000, kOld, 4000), kLan);
    EXPECT_EQ(hairpin.destination(), std::pair(addr("10.0.0.7"), std::uint16_t{4000}));
    EXPECT_EQ(box.table().count(), 3U);

    EXPECT_EQ(readdress(box, kOld, kNew), 3U);

    EXPECT_EQ(taken(box, kOld), 0U);
    EXPECT_EQ(box.setup().mappings()->count(), 0U);
    EXPECT_NE(box.send(udp("198.51.100.99", 7, kOld, 4000), kWan).destination().first,
              addr("10.0.0.7"));
}

// RFC 6888 REQ-8: what rests goes on resting while the address is away.
TEST(Addresses, PortsRestAcrossAnAbsence) {
    nat::Rule rule = independent();
    rule.behaviour.quarantine_s = 120;
    rule.target.ports = {4000, 4000};
    NatBox box{{rule}};
    EXPECT_EQ(box.send(udp("10.0.0.7", 4000, kServer, 53), kLan).drop(), Drop::None);

    EXPECT_EQ(readdress(box, kOld, kNew), 1U);
    EXPECT_EQ(readdress(box, kNew, kOld), 0U);

    EXPECT_EQ(box.send(udp("10.0.0.8", 4000, kServer, 53), kLan).drop(), Drop::NatNoPort);
    box.now += 400 * ct::kNanosPerSecond;
    EXPECT_EQ(box.send(udp("10.0.0.8", 4000, kServer, 53), kLan).drop(), Drop::None);
}

// One address after another: spaces serve again once nobody holds a port of them.
TEST(Addresses, MayComeAndGoForEver) {
    NatBox box{{independent()}};
    std::string old = kOld;
    for (unsigned n = 0; n < 3 * nat::Setup::kSpareAddresses; ++n) {
        const std::string next = "192.0.2." + std::to_string(1 + n);
        EXPECT_EQ(readdress(box, old, next), n == 0 ? 0U : 1U);
        const Outcome o = box.send(udp("10.0.0.7", 4000, kServer, 53), kLan);
        ASSERT_EQ(o.source(), std::pair(addr(next), std::uint16_t{4000})) << n;
        old = next;
    }
    EXPECT_EQ(nat::check_mappings(box.table(), box.setup(), box.now), "");
}

TEST(Addresses, MoreThanThereAreSpacesForAreRefusedAndNothingChanges) {
    nat::Rule rule = independent();
    rule.behaviour.quarantine_s = 3600;
    NatBox box{{rule}};
    std::string old = kOld;
    EXPECT_EQ(box.send(udp("10.0.0.7", 4000, kServer, 53), kLan).drop(), Drop::None);
    unsigned n = 0;
    const auto use_next = [&] {
        const std::string next = "192.0.2." + std::to_string(1 + n);
        (void)readdress(box, old, next);
        EXPECT_EQ(box.send(udp("10.0.0.7", 4000, kServer, 53), kLan).source().first, addr(next));
        old = next;
        ++n;
    };
    while (n < nat::Setup::kSpareAddresses) use_next();

    EXPECT_THROW((void)box.setup().set_addresses(wan_has("192.0.2.250"), box.now),
                 std::length_error);

    EXPECT_EQ(box.send(udp("10.0.0.9", 4000, kServer, 53), kLan).source().first, addr(old));
    box.now += 6000 * ct::kNanosPerSecond;
    use_next();
}

// A worker's turn, as the dataplane counts them.
struct Turns {
    std::atomic<std::uint64_t> ended{0};
    void await(const std::atomic<bool>& stop) const {
        const std::uint64_t before = ended.load(std::memory_order_acquire);
        while (!stop && ended.load(std::memory_order_acquire) < before + 2)
            std::this_thread::yield();
    }
};

// Meant for ThreadSanitizer: addresses change under traffic on two workers, copies are freed once
// both have begun another turn, and in the end no port is lost and nothing stands on an old one.
TEST(AddressesThreads, ChangeUnderTraffic) {
    constexpr ct::WorkerId kWorkers = 2;
    constexpr unsigned kChanges = 60;
    nat::Rule dependent = test::masquerade();
    dependent.match.src = test::prefix("10.1.0.0/16");
    const nat::RuleSet rules{{dependent, independent()}, kWorkers};
    ct::Settings settings;
    settings.max = 4096;
    settings.embryonic_percent = 100;
    ct::Conntrack table{settings, kWorkers, 1};
    nat::Setup setup{rules, table, wan_has(kOld), 1};
    std::atomic<ct::Nanos> now{1'000 * ct::kNanosPerSecond};
    std::atomic<bool> stop{false};
    std::array<Turns, kWorkers> turns;
    std::atomic<unsigned> opened{0};
    std::atomic<unsigned> refused{0};

    std::vector<std::jthread> workers;
    for (ct::WorkerId w = 0; w < kWorkers; ++w)
        workers.emplace_back([&, w] {
            for (unsigned n = 0; !stop; ++n) {
                const std::string src = "10." + std::to_string(n % 2) + "." + std::to_string(w) +
                                        "." + std::to_string(1 + n / 2 % 200);
                const ct::Nanos at = now;
                test::OwnedPacket o =
                    test::receive(udp(src, static_cast<std::uint16_t>(1024 + n % 3000), kServer,
                                      static_cast<std::uint16_t>(1 + n % 7)),
                                  kLan);
                ct::Packet& p = o.packet;
                EXPECT_EQ(ct::parse(p, {}), Drop::None);
                table.lookup(w, {&p, 1}, at);
                table.update(w, {&p, 1}, at);
                if (!p.conn.valid() && table.open(w, p, at) == ct::Conntrack::Opening::Opened) {
                    p.out_port = kWan;
                    p.drop = setup.source(w, p, at);
                    const bool linked =
                        p.alive() && table.confirm(w, p, at) == ct::Conntrack::Confirmation::Linked;
                    if (!linked) table.abandon(w, p, at);
                    ++(linked ? opened : refused);
                }
                table.expire(w, at);
                turns[w].ended.store(n + 1, std::memory_order_release);
            }
        });

    const char* const addresses[] = {kOld, kNew, ""};
    for (unsigned change = 1; change <= kChanges; ++change) {
        const std::string_view old = addresses[(change - 1) % 3];
        {
            const auto retired = setup.set_addresses(wan_has(addresses[change % 3]), now);
            for (const Turns& t : turns) t.await(stop);
        }
        if (old.empty()) continue;
        (void)table.flush_port(kWan, now, [&](const ct::Tuple& original, const ct::Tuple& reply) {
            return setup.rests_on(original, reply, ct::Family::Ipv4, addr(old));
        });
        for (std::uint32_t i = 0; i < table.indices(); ++i) {
            ct::Snapshot s;
            if (!table.snapshot(i, now, s)) continue;
            EXPECT_NE(s.reply.dst, addr(old));
        }
        now += 10 * ct::kNanosPerSecond;
    }
    stop = true;
    workers.clear();

    EXPECT_GT(opened, kChanges);
    EXPECT_GT(refused, 0U) << "while there was no address";
    EXPECT_EQ(table.check_invariants(), "");
    (void)table.flush(now);
    now += 1'000'000 * ct::kNanosPerSecond;
    (void)table.expire_among(0, 0, table.indices(), now);
    EXPECT_EQ(nat::check_mappings(table, setup, now), "");
    setup.ports().visit_used(
        [&](ct::Family, const ct::Addr&, std::uint8_t, nat::Ports::Space space) {
            EXPECT_EQ(setup.ports().usage(space).taken, 0U);
        });
}

}  // namespace
