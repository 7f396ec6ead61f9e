// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/neighbour.hpp"

#include "tests/support/packet_builder.hpp"

#include <gtest/gtest.h>
#include <rte_mbuf.h>

#include <thread>

namespace {

using dp::NeighbourNews;
using dp::NeighbourState;
using dp::NeighbourTable;
using Waiting = NeighbourTable::Waiting;
using What = dp::NeighbourDuty::What;

constexpr ct::Nanos kSecond = ct::kNanosPerSecond;
constexpr dp::MacAddress kMac{2, 0, 0, 0, 0, 7};
constexpr dp::MacAddress kOtherMac{2, 0, 0, 0, 0, 8};

[[nodiscard]] dp::NeighbourKey key(std::uint8_t host, ct::PortId port = 1) {
    dp::NeighbourKey k{
        .address = test::addr("192.0.2.0"), .port = port, .family = ct::Family::Ipv4};
    k.address.bytes[3] = host;
    return k;
}

[[nodiscard]] std::uint64_t word(const dp::MacAddress& mac) {
    std::uint64_t out = 0;
    std::memcpy(&out, mac.data(), mac.size());
    return out;
}

[[nodiscard]] std::vector<dp::NeighbourDuty> duties(NeighbourTable& table, ct::Nanos now) {
    std::vector<dp::NeighbourDuty> out;
    while (!table.sweep(now, 16, out)) {
    }
    return out;
}

[[nodiscard]] NeighbourState state(const NeighbourTable& table) {
    const auto all = table.list();
    return all.size() == 1 ? all.front().state : NeighbourState::Free;
}

TEST(Neighbour, IsAskedForByTheFirstPacketThatWaits) {
    NeighbourTable table{64, 8, 8};
    rte_mbuf first{};
    rte_mbuf second{};

    EXPECT_FALSE(table.find(key(7)).has_value());
    EXPECT_EQ(table.wait(key(7), &first, 0), Waiting::Ask);
    EXPECT_EQ(table.wait(key(7), &second, 0), Waiting::Queued);
}

TEST(Neighbour, AnswerReleasesWhoWaitsInTheOrderOfArrival) {
    NeighbourTable table{64, 8, 8};
    rte_mbuf first{};
    rte_mbuf second{};
    static_cast<void>(table.wait(key(7), &first, 0));
    static_cast<void>(table.wait(key(7), &second, 0));

    const dp::WaitingList list = table.learn(key(7), kMac, NeighbourNews::Answer, kSecond);

    EXPECT_EQ(list.count, 2U);
    EXPECT_EQ(list.first, &first);
    EXPECT_EQ(first.next, &second);
    EXPECT_EQ(second.next, nullptr);
    EXPECT_EQ(table.find(key(7)), word(kMac));
    EXPECT_EQ(table.wait(key(7), &first, kSecond), Waiting::Known);
}

TEST(Neighbour, SameAddressOnAnotherPortIsAnotherNeighbour) {
    NeighbourTable table{64, 8, 8};
    static_cast<void>(table.learn(key(7, 1), kMac, NeighbourNews::Mention, 0));

    EXPECT_TRUE(table.find(key(7, 1)).has_value());
    EXPECT_FALSE(table.find(key(7, 2)).has_value());
}

// RFC 4861 10: MAX_MULTICAST_SOLICIT 3, RETRANS_TIMER 1 s.
TEST(Neighbour, IsAskedThreeTimesASecondApartAndThenGivenUp) {
    NeighbourTable table{64, 8, 8};
    rte_mbuf m{};
    ASSERT_EQ(table.wait(key(7), &m, 0), Waiting::Ask);

    EXPECT_TRUE(duties(table, kSecond - 1).empty());
    for (const ct::Nanos now : {kSecond, 2 * kSecond}) {
        const auto due = duties(table, now);
        ASSERT_EQ(due.size(), 1U);
        EXPECT_EQ(due[0].what, What::Ask);
        EXPECT_EQ(due[0].key, key(7));
    }
    const auto end = duties(table, 3 * kSecond);
    ASSERT_EQ(end.size(), 1U);
    EXPECT_EQ(end[0].what, What::GiveUp);
    EXPECT_EQ(end[0].waiting.first, &m);
    EXPECT_TRUE(table.list().empty());
    EXPECT_EQ(table.wait(key(7), &m, 4 * kSecond), Waiting::Ask);
}

TEST(Neighbour, GoesStaleAfterThirtySecondsAndIsVerifiedWhenUsed) {
    NeighbourTable table{64, 8, 8};
    rte_mbuf m{};
    static_cast<void>(table.wait(key(7), &m, 0));
    static_cast<void>(table.learn(key(7), kMac, NeighbourNews::Answer, 0));
    EXPECT_EQ(state(table), NeighbourState::Reachable);

    EXPECT_TRUE(duties(table, 30 * kSecond).empty());
    EXPECT_EQ(state(table), NeighbourState::Stale);
    EXPECT_TRUE(duties(table, 31 * kSecond).empty()) << "nobody has used it";
    EXPECT_EQ(table.find(key(7)), word(kMac));
    const auto due = duties(table, 32 * kSecond);

    ASSERT_EQ(due.size(), 1U);
    EXPECT_EQ(due[0].what, What::Verify);
    EXPECT_EQ(due[0].mac, kMac);
    static_cast<void>(table.learn(key(7), kMac, NeighbourNews::Answer, 32 * kSecond));
    EXPECT_EQ(state(table), NeighbourState::Reachable);
}

TEST(Neighbour, IsForgottenIfItDoesNotConfirmItself) {
    NeighbourTable table{64, 8, 8};
    static_cast<void>(table.learn(key(7), kMac, NeighbourNews::Mention, 0));
    static_cast<void>(table.find(key(7)));

    for (const ct::Nanos now : {kSecond, 2 * kSecond, 3 * kSecond})
        EXPECT_EQ(duties(table, now).size(), 1U);
    EXPECT_TRUE(duties(table, 4 * kSecond).empty());

    EXPECT_FALSE(table.find(key(7)).has_value());
}

TEST(Neighbour, IsForgottenWhenNobodyNeedsIt) {
    NeighbourTable table{64, 8, 8};
    static_cast<void>(table.learn(key(7), kMac, NeighbourNews::Mention, 0));

    static_cast<void>(duties(table, NeighbourTable::kStaleTime - 1));
    EXPECT_EQ(table.list().size(), 1U);
    static_cast<void>(duties(table, NeighbourTable::kStaleTime));
    EXPECT_TRUE(table.list().empty());
}

TEST(Neighbour, GossipChangesOnlyWhatIsKnown) {
    NeighbourTable table{64, 8, 8};

    static_cast<void>(table.learn(key(7), kMac, NeighbourNews::Gossip, 0));
    EXPECT_TRUE(table.list().empty());

    static_cast<void>(table.learn(key(7), kMac, NeighbourNews::Mention, 0));
    static_cast<void>(table.learn(key(7), kOtherMac, NeighbourNews::Gossip, 0));
    EXPECT_EQ(table.find(key(7)), word(kOtherMac));
}

TEST(Neighbour, StaticOneIsNeitherChangedNorForgotten) {
    NeighbourTable table{64, 8, 8};
    table.add_static(key(7), kMac);

    static_cast<void>(table.learn(key(7), kOtherMac, NeighbourNews::Answer, 0));
    static_cast<void>(duties(table, 10'000 * kSecond));

    EXPECT_EQ(table.find(key(7)), word(kMac));
}

TEST(Neighbour, QueueIsBoundedForOneAndForAll) {
    NeighbourTable table{64, 2, 3};
    std::array<rte_mbuf, 8> m{};

    EXPECT_EQ(table.wait(key(1), &m[0], 0), Waiting::Ask);
    EXPECT_EQ(table.wait(key(1), &m[1], 0), Waiting::Queued);
    EXPECT_EQ(table.wait(key(1), &m[2], 0), Waiting::Full) << "two for one neighbour";
    EXPECT_EQ(table.wait(key(2), &m[3], 0), Waiting::Ask);
    EXPECT_EQ(table.wait(key(3), &m[4], 0), Waiting::Full) << "three in all";

    EXPECT_EQ(table.take_all().count, 3U);
    EXPECT_EQ(table.wait(key(3), &m[4], 0), Waiting::Ask);
}

TEST(Neighbour, FullSetGivesUpItsOldestStaleOneOnly) {
    NeighbourTable table{8, 8, 64};  // a single set
    std::array<rte_mbuf, 16> m{};
    for (std::uint8_t i = 0; i < 7; ++i) ASSERT_EQ(table.wait(key(i), &m[i], 0), Waiting::Ask);
    static_cast<void>(table.learn(key(100), kMac, NeighbourNews::Mention, 0));

    EXPECT_EQ(table.wait(key(101), &m[8], 0), Waiting::Ask);
    EXPECT_FALSE(table.find(key(100)).has_value());
    EXPECT_EQ(table.wait(key(102), &m[9], 0), Waiting::Full);
    EXPECT_THROW(table.add_static(key(103), kMac), std::runtime_error);
}

// Readers see either MAC or none, never a mixture, while a writer changes the slot.
TEST(Neighbour, ReadersNeverSeeHalfAChange) {
    NeighbourTable table{8, 8, 8};
    static_cast<void>(table.learn(key(7), kMac, NeighbourNews::Mention, 0));
    std::atomic<bool> stop{false};
    std::atomic<int> wrong{0};
    std::thread reader{[&] {
        while (!stop.load()) {
            const auto mac = table.find(key(7));
            if (mac.has_value() && *mac != word(kMac) && *mac != word(kOtherMac)) ++wrong;
        }
    }};

    for (int i = 0; i < 20'000; ++i) {
        static_cast<void>(
            table.learn(key(7), i % 2 == 0 ? kOtherMac : kMac, NeighbourNews::Answer, 0));
        // Eight others drive it out of its set, and it comes back.
        if (i % 64 == 0) {
            static_cast<void>(duties(table, NeighbourTable::kReachableTime));
            for (std::uint8_t other = 20; other < 30; ++other)
                static_cast<void>(
                    table.learn(key(other), {4, 4, 4, 4, 4, 4}, NeighbourNews::Mention, 0));
            static_cast<void>(table.learn(key(7), kMac, NeighbourNews::Mention, 0));
        }
    }
    stop.store(true);
    reader.join();

    EXPECT_EQ(wrong.load(), 0);
}

}  // namespace
