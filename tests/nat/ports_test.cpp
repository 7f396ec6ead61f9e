// SPDX-License-Identifier: BSD-3-Clause
//
// Ports that are in use: each once, all of them, and none lost.
#include "nat/ports.hpp"

#include "tests/nat/nat_box.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <random>
#include <set>
#include <thread>
#include <vector>

namespace {

using ct::kNanosPerSecond;
using nat::AddressRange;
using nat::PortRange;
using nat::Ports;
using test::addr;

constexpr std::uint8_t kUdp = ct::ipproto::kUdp;
constexpr ct::Nanos kNow = 1'000 * kNanosPerSecond;
constexpr PortRange kHigh{1024, 65535};

AddressRange range(std::string_view first, std::string_view last) {
    const bool six = first.find(':') != std::string_view::npos;
    return {six ? ct::Family::Ipv6 : ct::Family::Ipv4, addr(first), addr(last)};
}

/// Ports of one address, and random numbers that are the same in every run.
struct OneAddress {
    explicit OneAddress(std::uint32_t quarantine_s = 0)
        : ports{{range("192.0.2.1", "192.0.2.1")}, quarantine_s},
          space{ports.space_of(ct::Family::Ipv4, addr("192.0.2.1"), kUdp)} {}

    std::optional<std::uint16_t> any(nat::Wanted wanted = {kHigh}, ct::WorkerId w = 0) {
        return ports.claim_any(w, space, wanted, random(), now);
    }
    void free(std::uint16_t port, Ports::After after = Ports::After::AtOnce) {
        ports.give_back(space, port, after, now);
    }

    Ports ports;
    Ports::Space space;
    std::mt19937_64 random{1};
    ct::Nanos now = kNow;
};

TEST(Ports, HaveASpaceForEachAddressAndProtocolOfTheirRanges) {
    const Ports ports{{range("192.0.2.4", "192.0.2.6"), range("192.0.2.1", "192.0.2.5"),
                       range("2001:db8::", "2001:db8::ff")}};
    std::set<Ports::Space> spaces;
    for (unsigned n = 1; n <= 6; ++n)
        for (const std::uint8_t proto : {ct::ipproto::kTcp, kUdp, ct::ipproto::kSctp,
                                         ct::ipproto::kUdplite, ct::ipproto::kIcmp}) {
            const auto space =
                ports.space_of(ct::Family::Ipv4, addr("192.0.2." + std::to_string(n)), proto);
            EXPECT_NE(space, Ports::kNoSpace);
            EXPECT_TRUE(spaces.insert(space).second);
        }
    EXPECT_NE(ports.space_of(ct::Family::Ipv6, addr("2001:db8::ff"), ct::ipproto::kIcmpv6),
              Ports::kNoSpace);

    EXPECT_EQ(ports.space_of(ct::Family::Ipv4, addr("192.0.2.7"), kUdp), Ports::kNoSpace);
    EXPECT_EQ(ports.space_of(ct::Family::Ipv4, addr("192.0.2.1"), ct::ipproto::kGre),
              Ports::kNoSpace);
    EXPECT_EQ(ports.space_of(ct::Family::Ipv6, addr("2001:db8::100"), kUdp), Ports::kNoSpace);
    EXPECT_EQ(ports.addresses_from(ct::Family::Ipv4, addr("192.0.2.2")), 5U);
}

// RFC 6888 REQ-3: the size of a pool is not limited; what is not used costs nothing.
TEST(Ports, OfALargePoolUseWhatIsTouched) {
    Ports ports{{range("10.0.0.0", "10.15.255.255"), range("2001:db8::", "2001:db8:ff::")}};

    const auto last = ports.space_of(ct::Family::Ipv4, addr("10.15.255.255"), kUdp);
    ASSERT_NE(last, Ports::kNoSpace);
    EXPECT_TRUE(ports.claim(last, 4000, kNow));
    EXPECT_EQ(ports.usage(last).taken, 1U);
    EXPECT_EQ(ports.addresses_from(ct::Family::Ipv4, addr("10.0.0.0")), Ports::kMaxAddresses);
    EXPECT_EQ(ports.space_of(ct::Family::Ipv6, addr("2001:db8::"), kUdp), Ports::kNoSpace)
        << "beyond the addresses that can have spaces";
}

TEST(Ports, AreGivenOnceAndToTheLastOne) {
    for (const PortRange wanted : {kHigh, PortRange{1, 511}, PortRange{600, 1023},
                                   PortRange{5000, 5000}, PortRange{5000, 6023}}) {
        OneAddress a;
        std::set<std::uint16_t> given;
        for (std::uint32_t n = 0; n < wanted.count(); ++n) {
            const auto port = a.any({wanted});
            ASSERT_TRUE(port) << n << " of " << wanted.count();
            ASSERT_TRUE(wanted.contains(*port));
            ASSERT_TRUE(given.insert(*port).second) << "given twice";
            EXPECT_FALSE(a.ports.claim(a.space, *port, a.now));
        }
        EXPECT_EQ(a.any({wanted}), std::nullopt);
        EXPECT_EQ(a.ports.usage(a.space).taken, wanted.count());

        a.free(*given.begin());
        EXPECT_EQ(a.any({wanted}), *given.begin());
    }
}

// RFC 4787 REQ-4.
TEST(Ports, KeepTheirParityWhereThatIsWanted) {
    for (const int parity : {0, 1}) {
        OneAddress a;
        for (unsigned n = 0; n < 500; ++n) {
            const auto port = a.any({{1001, 2000}, parity});
            ASSERT_TRUE(port);
            EXPECT_EQ(*port % 2, parity);
        }
        EXPECT_EQ(a.any({{1001, 2000}, parity}), std::nullopt);
        EXPECT_NE(a.any({{1001, 2000}}), std::nullopt) << "the others are left";
    }
}

// RFC 6056 3.1: the next port is one of thousands, and not the neighbour of the last.
TEST(Ports, AreHardToGuess) {
    OneAddress a;
    std::set<unsigned> blocks;
    unsigned neighbours = 0;
    int last = 0;
    for (unsigned n = 0; n < 2000; ++n) {
        const auto port = a.any();
        ASSERT_TRUE(port);
        neighbours += static_cast<unsigned>(std::abs(*port - last) <= 8);
        last = *port;
        blocks.insert(*port / nat::PortBits::kBlockPorts);
    }
    EXPECT_GE(blocks.size(), nat::PortBits::kLeases);
    EXPECT_LT(neighbours, 100U);
}

TEST(Ports, WorkersTakeOutOfBlocksOfTheirOwnAndTheLastOnesOutOfAnybodys) {
    OneAddress a;
    std::array<std::set<unsigned>, 2> blocks;
    for (unsigned n = 0; n < 2000; ++n)
        for (const ct::WorkerId w : {0U, 1U}) {
            const auto port = a.any({kHigh}, w);
            ASSERT_TRUE(port);
            blocks[w].insert(*port / nat::PortBits::kBlockPorts);
        }
    for (const unsigned b : blocks[0]) EXPECT_FALSE(blocks[1].contains(b)) << b;

    std::uint32_t more = 0;
    while (a.any({kHigh}, 0)) ++more;
    EXPECT_EQ(more + 4000, kHigh.count()) << "one worker gets what the other has leased";
}

TEST(Ports, ABlockGoesBackWithItsLastPort) {
    OneAddress a;
    std::vector<std::uint16_t> taken;
    for (unsigned n = 0; n < 3000; ++n) taken.push_back(a.any().value());
    EXPECT_GT(a.ports.leased_blocks(a.space), 0U);

    for (const std::uint16_t port : taken) a.free(port);

    EXPECT_EQ(a.ports.leased_blocks(a.space), 0U);
    EXPECT_EQ(a.ports.usage(a.space).taken, 0U);
}

// RFC 6888 REQ-8: 120 s until a port is used again.
TEST(Ports, RestForTheirQuarantine) {
    OneAddress a{120};
    ASSERT_TRUE(a.ports.claim(a.space, 4000, a.now));
    for (unsigned start_s = 0; start_s < 60; start_s += 7) {
        a.free(4000, Ports::After::Rest);
        const ct::Nanos freed = a.now;
        EXPECT_EQ(a.ports.usage(a.space).resting, 1U);
        while (!a.ports.claim(a.space, 4000, a.now)) {
            ASSERT_LE(a.now - freed, 180 * kNanosPerSecond);
            a.now += kNanosPerSecond;
        }
        EXPECT_GE(a.now - freed, 120 * kNanosPerSecond);
        EXPECT_EQ(a.ports.usage(a.space).resting, 0U);
        a.now += 7 * kNanosPerSecond;
    }
}

// RFC 6888 REQ-8 is about others: a mapping that is put back may have its port.
TEST(Ports, ThatRestAreHadBackByTheirOwner) {
    OneAddress a{120};
    const auto rest = [&](std::uint32_t owner) {
        a.ports.give_back(a.space, 4000, Ports::After::Rest, a.now, owner);
    };
    ASSERT_TRUE(a.ports.claim(a.space, 4000, a.now));
    EXPECT_FALSE(a.ports.claim_back(a.space, 4000, 7, a.now)) << "it does not rest";
    rest(7);

    EXPECT_FALSE(a.ports.claim_back(a.space, 4000, 8, a.now));
    EXPECT_TRUE(a.ports.claim_back(a.space, 4000, 7, a.now));
    EXPECT_FALSE(a.ports.claim_back(a.space, 4000, 7, a.now)) << "once";
    EXPECT_EQ(a.ports.usage(a.space).resting, 0U);
    EXPECT_EQ(a.ports.usage(a.space).taken, 1U);

    a.now += 10'000 * kNanosPerSecond;
    EXPECT_FALSE(a.ports.claim(a.space, 4000, a.now)) << "its rest is forgotten";
    rest(9);
    a.now += 200 * kNanosPerSecond;
    EXPECT_FALSE(a.ports.claim_back(a.space, 4000, 9, a.now)) << "it is free";
    EXPECT_TRUE(a.ports.claim(a.space, 4000, a.now));
}

TEST(Ports, ThatRestedWhileNobodyCameAreFree) {
    OneAddress a{120};
    for (unsigned n = 0; n < 100; ++n) a.free(a.any().value(), Ports::After::Rest);
    EXPECT_EQ(a.ports.usage(a.space).taken, 100U);

    a.now += 100'000 * kNanosPerSecond;
    a.free(a.any().value(), Ports::After::Rest);

    EXPECT_EQ(a.ports.usage(a.space).taken, 1U);
    EXPECT_EQ(a.ports.usage(a.space).resting, 1U);
}

// At 99.9 % occupancy four workers take and give back: no port is had by two, there is one for
// everybody, and in the end none is lost. Under ThreadSanitizer too.
TEST(PortsThreads, NearExhaustionNoPortIsGivenTwiceAndNoneIsLost) {
    constexpr unsigned kWorkers = 4;
    constexpr PortRange kRange = kHigh;
    constexpr unsigned kSpare = 64;
    constexpr unsigned kRounds = 30'000;
    OneAddress a;
    std::vector<std::atomic<int>> holders(65536);
    std::atomic<unsigned> twice{0};
    std::atomic<unsigned> refused{0};
    std::vector<std::uint16_t> kept;
    for (std::uint32_t n = 0; n < kRange.count() - kSpare; ++n)
        kept.push_back(a.any({kRange}).value());
    std::vector<std::jthread> workers;
    for (ct::WorkerId w = 0; w < kWorkers; ++w)
        workers.emplace_back([&, w] {
            std::mt19937_64 random{w};
            std::array<std::uint16_t, 2> hand{};
            for (unsigned n = 0; n < kRounds; ++n) {
                for (std::uint16_t& port : hand) {
                    const auto got = a.ports.claim_any(w, a.space, {kRange}, random(), kNow);
                    port = got.value_or(0);
                    if (!got) ++refused;
                    if (got && holders[port].fetch_add(1) != 0) ++twice;
                }
                for (const std::uint16_t port : hand) {
                    if (port == 0) continue;
                    --holders[port];
                    a.ports.give_back(a.space, port, Ports::After::AtOnce, kNow);
                }
            }
        });
    workers.clear();

    EXPECT_EQ(twice, 0U);
    EXPECT_EQ(refused, 0U) << "there was a port for everybody at every moment";
    EXPECT_EQ(a.ports.usage(a.space).taken, kept.size());
    for (const std::uint16_t port : kept) a.free(port);
    EXPECT_EQ(a.ports.usage(a.space).taken, 0U);
    EXPECT_EQ(a.ports.leased_blocks(a.space), 0U);
}

}  // namespace
