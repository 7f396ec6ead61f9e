// SPDX-License-Identifier: BSD-3-Clause
//
// Adaptive time-outs, reservations, limits on sources, and what a worker knows of the table's fill.
#include "tests/ct/tables.hpp"

#include <stdexcept>

namespace ct::test {
namespace {

constexpr std::uint32_t kListed = 0xcb007100;  // 203.0.113.0/24
constexpr std::uint32_t kOther = 0xc0a80000;   // 192.168.0.0/16

Prefix slash24(std::uint32_t net) {
    return {.addr = v4(net), .length = 24, .family = Family::Ipv4};
}

void fill(Table& t, std::uint32_t count, std::uint32_t client = kClient) {
    for (std::uint32_t n = 0; n < count; ++n) ASSERT_EQ(t.open(flow(n, client)), Drop::None);
}

// ---- Fill.

TEST(Fill, IsExactInASmallTable) {
    Table t{sized(1000, Overflow::Drop)};
    EXPECT_EQ(t.ct.fill_permille(0, t.now), 0U);
    fill(t, 250);
    EXPECT_EQ(t.ct.fill_permille(0, t.now), 250U);
}

TEST(Fill, OfALargeTableIsAtMostAMillisecondOld) {
    Table t{sized(100'000, Overflow::Drop)};
    EXPECT_EQ(t.ct.fill_permille(0, t.now), 0U);
    fill(t, 10'000);
    EXPECT_EQ(t.ct.fill_permille(0, t.now + 1'000'000), 100U);
}

// ---- Adaptive time-outs.

Settings adaptive(std::uint32_t start, std::uint32_t end) {
    Settings s = sized(100, Overflow::Drop);
    s.room.adaptive = {start, end};
    return s;
}

TEST(Adaptive, ScalesNewEntriesLinearlyBetweenStartAndEnd) {
    Table t{adaptive(50, 100)};
    fill(t, 50);
    EXPECT_EQ(t.timeout_s(flow(49)), 120U);
    for (std::uint32_t n = 50; n < 76; ++n) ASSERT_EQ(t.open(flow(n)), Drop::None);

    EXPECT_EQ(t.timeout_s(flow(50)), 120U) << "at the start";
    EXPECT_EQ(t.timeout_s(flow(60)), 96U) << "60 in use: (100 - 60) / 50 of it";
    EXPECT_EQ(t.timeout_s(flow(75)), 60U) << "75 in use: half of it";
}

TEST(Adaptive, ScalesWhatAPacketRefreshes) {
    Table t{adaptive(50, 100)};
    t.establish(flow(1000));
    ASSERT_EQ(t.timeout_s(flow(1000)), 432'000U);
    fill(t, 74);
    t.now += kSecond;  // a deadline is moved four times a second at most
    t.ct.expire(0, t.now);

    ASSERT_EQ(t.send(ack(flow(1000))), Drop::None);
    EXPECT_EQ(t.timeout_s(flow(1000)), 216'000U);
    ASSERT_EQ(t.send(fin(flow(1000))), Drop::None);
    EXPECT_EQ(t.timeout_s(flow(1000)), 60U) << "half of FIN_WAIT's 120";
}

TEST(Adaptive, LeavesDeadlinesThatNoPacketRefreshes) {
    Table t{adaptive(10, 100)};
    ASSERT_EQ(t.open(flow(0)), Drop::None);
    for (std::uint32_t n = 1; n < 100; ++n) ASSERT_EQ(t.open(flow(n)), Drop::None);
    t.ct.expire(0, t.now);

    EXPECT_EQ(t.timeout_s(flow(0)), 120U);
}

TEST(Adaptive, NeverGoesBelowASecondAndComesBackAsTheTableEmpties) {
    Table t{adaptive(10, 50)};
    for (std::uint32_t n = 0; n < 60; ++n) ASSERT_EQ(t.open(flow(n)), Drop::None);
    EXPECT_EQ(t.timeout_s(flow(59)), 1U);

    t.now += 121 * kSecond;
    for (int turn = 0; turn < 30; ++turn) t.ct.expire(0, t.now += kSecond / 10);
    ASSERT_EQ(t.ct.count(), 0U);
    ASSERT_EQ(t.open(flow(1000)), Drop::None);
    EXPECT_EQ(t.timeout_s(flow(1000)), 120U);
}

TEST(Adaptive, WantsAnEndAboveItsStart) {
    EXPECT_THROW((Conntrack{adaptive(50, 50), 1, 1}), std::invalid_argument);
}

// ---- Reservations.

Settings reserving(Overflow policy, std::vector<Reservation> reserve) {
    Settings s = sized(100, policy);
    s.room.reserve = std::move(reserve);
    return s;
}

TEST(Reserve, KeepsTheLastPartForSourcesOfThePrefix) {
    Table t{reserving(Overflow::Drop, {{slash24(kListed), 10}})};
    fill(t, 90, kOther);

    EXPECT_EQ(t.open(flow(500, kOther)), Drop::CtReserved);
    for (std::uint32_t n = 0; n < 10; ++n) EXPECT_EQ(t.open(flow(n, kListed + n)), Drop::None);
    EXPECT_EQ(t.open(flow(11, kListed)), Drop::CtTableFull);
    EXPECT_EQ(t.open(flow(500, kOther)), Drop::CtTableFull);
    EXPECT_EQ(t.ct.check_invariants(), "");
}

TEST(Reserve, CountsWhatItsSourcesHaveAlready) {
    Table t{reserving(Overflow::Drop, {{slash24(kListed), 10}})};
    fill(t, 10, kListed);
    fill(t, 90, kOther);

    EXPECT_EQ(t.ct.count(), 100U);
    EXPECT_EQ(t.ct.check_invariants(), "");
}

TEST(Reserve, GivesBackWhatEnds) {
    Table t{reserving(Overflow::Drop, {{slash24(kListed), 10}})};
    fill(t, 10, kListed);
    ASSERT_TRUE(t.ct.erase(t.ct.find(flow(3, kListed), t.now)->handle, t.now));
    fill(t, 90, kOther);

    EXPECT_EQ(t.open(flow(500, kOther)), Drop::CtReserved);
    EXPECT_EQ(t.open(flow(500, kListed)), Drop::None);
}

TEST(Reserve, IsNotTakenByAnotherReservation) {
    Table t{reserving(Overflow::Drop, {{slash24(kListed), 10}, {slash24(kListed + 256), 20}})};
    fill(t, 80, kListed);

    EXPECT_EQ(t.open(flow(500, kListed)), Drop::CtReserved);
    fill(t, 20, kListed + 256);
    EXPECT_EQ(t.open(flow(500, kListed + 256)), Drop::CtTableFull);
}

TEST(Reserve, OthersDisplaceOnlyOneAnother) {
    for (const Overflow policy : {Overflow::EmbryonicOldest, Overflow::ClosingFirst}) {
        Table t{reserving(policy, {{slash24(kListed), 10}})};
        fill(t, 5, kListed);
        fill(t, 2000, kOther);
        for (std::uint32_t n = 0; n < 5; ++n) EXPECT_TRUE(t.has(flow(n, kListed))) << n;
        EXPECT_EQ(t.ct.count(), 95U);

        for (std::uint32_t n = 5; n < 10; ++n) EXPECT_EQ(t.open(flow(n, kListed)), Drop::None);
        for (std::uint32_t n = 0; n < 2000; ++n)
            EXPECT_EQ(t.open(flow(3000 + n, kOther)), Drop::None);
        for (std::uint32_t n = 0; n < 10; ++n) EXPECT_TRUE(t.has(flow(n, kListed))) << n;
        EXPECT_EQ(t.ct.check_invariants(), "");
    }
}

TEST(Reserve, RefusesWhereOnlyReservedEntriesCouldGiveWay) {
    for (const Overflow policy :
         {Overflow::EmbryonicOldest, Overflow::ClosingFirst, Overflow::Linux}) {
        Table t{reserving(policy, {{slash24(kListed), 40}})};
        for (std::uint32_t n = 0; n < 60; ++n) t.establish(flow(n, kOther));
        fill(t, 40, kListed);

        for (int tries = 0; tries < 20; ++tries)
            EXPECT_NE(t.open(flow(500, kOther)), Drop::None) << static_cast<int>(policy);
        EXPECT_EQ(t.ct.counters().early_drop, 0U);
    }
}

TEST(Reserve, SparesOfLinuxVictimsWhatIsReserved) {
    Table t{reserving(Overflow::Linux, {{slash24(kListed), 50}})};
    fill(t, 50, kListed);
    for (std::uint32_t n = 0; n < 2000; ++n) static_cast<void>(t.open(flow(n, kOther)));

    for (std::uint32_t n = 0; n < 50; ++n) EXPECT_TRUE(t.has(flow(n, kListed))) << n;
    EXPECT_GT(t.ct.counters().early_drop, 1000U);
}

TEST(Reserve, OfALargeTableIsKeptToWithinWhatWorkersOpenBetweenTwoCounts) {
    constexpr std::uint32_t kMax = 8192;
    constexpr std::uint32_t kReserved = 1024;
    Settings s = sized(kMax, Overflow::Drop);
    s.room.reserve = {{slash24(kListed), kReserved}};
    Table t{s};
    std::uint32_t taken = 0;
    for (std::uint32_t n = 0; n < kMax; ++n) taken += t.open(flow(n, kOther)) == Drop::None ? 1 : 0;

    EXPECT_GE(taken, kMax - kReserved);
    EXPECT_LE(taken, kMax - kReserved + 32);
}

TEST(Reserve, RefusesToReserveMoreThanThereIs) {
    EXPECT_THROW((Conntrack{reserving(Overflow::Drop, {{slash24(kListed), 101}}), 1, 1}),
                 std::invalid_argument);
}

// ---- Limits on sources.

Settings limiting(const PerSource& limits) {
    Settings s = sized(10'000, Overflow::EmbryonicOldest);
    s.room.per_source = limits;
    return s;
}

TEST(PerSource, HasEachSourceKeepToItsEntries) {
    Table t{limiting({.max_entries = 5})};
    fill(t, 5);

    EXPECT_EQ(t.open(flow(100)), Drop::CtSourceEntries);
    EXPECT_EQ(t.open(flow(100, kClient + 1)), Drop::None) << "another source";
    EXPECT_EQ(t.send(syn_ack(flow(0))), Drop::None) << "a connection that it has";
    EXPECT_EQ(t.ct.counters().limited, 1U);
    EXPECT_EQ(t.ct.counters().drop, 0U);

    ASSERT_TRUE(t.ct.erase(t.ct.find(flow(2), t.now)->handle, t.now));
    EXPECT_EQ(t.open(flow(100)), Drop::None);
    EXPECT_EQ(t.open(flow(101)), Drop::CtSourceEntries);
    EXPECT_EQ(t.ct.check_invariants(), "");
}

TEST(PerSource, LetsGoOfWhatExpiredAndOfWhatWasAbandoned) {
    Table t{limiting({.max_entries = 5})};
    fill(t, 4);
    Packet p = syn(flow(50));
    t.ct.lookup(0, {&p, 1}, t.now);
    ASSERT_EQ(t.ct.open(0, p, t.now), Conntrack::Opening::Opened);
    t.ct.abandon(0, p, t.now);
    EXPECT_EQ(t.open(flow(51)), Drop::None);
    EXPECT_EQ(t.open(flow(52)), Drop::CtSourceEntries);

    t.now += 200 * kSecond;
    for (int turn = 0; turn < 40; ++turn) t.ct.expire(0, t.now += kSecond / 10);
    ASSERT_EQ(t.ct.count(), 0U);
    fill(t, 5);
    EXPECT_EQ(t.ct.check_invariants(), "");
}

TEST(PerSource, TakesPrefixesForOneSource) {
    Table t{limiting({.max_entries = 2, .ipv4_prefix = 24, .ipv6_prefix = 64})};
    EXPECT_EQ(t.open(flow(1, 0xc0000201)), Drop::None);
    EXPECT_EQ(t.open(flow(2, 0xc00002fe)), Drop::None);
    EXPECT_EQ(t.open(flow(3, 0xc0000277)), Drop::CtSourceEntries);
    EXPECT_EQ(t.open(flow(3, 0xc0000377)), Drop::None);

    const auto from6 = [](std::uint64_t subnet, std::uint64_t host) {
        Tuple six = flow(4);
        six.family = Family::Ipv6;
        six.src = v6(host);
        six.src.bytes[7] = static_cast<std::uint8_t>(subnet);
        six.dst = v6(2);
        return six;
    };
    EXPECT_EQ(t.open(from6(1, 1)), Drop::None);
    EXPECT_EQ(t.open(from6(1, 0xffff'ffff'ffff)), Drop::None);
    EXPECT_EQ(t.open(from6(1, 77)), Drop::CtSourceEntries);
    EXPECT_EQ(t.open(from6(2, 77)), Drop::None);
    ASSERT_EQ(t.ct.flush(t.now), 6U);
    EXPECT_EQ(t.ct.check_invariants(), "");
}

TEST(PerSource, LimitsTheRateAtWhichASourceOpens) {
    Table t{limiting({.new_per_second = 10, .burst = 3})};
    fill(t, 3);

    EXPECT_EQ(t.open(flow(100)), Drop::CtSourceRate);
    EXPECT_EQ(t.open(flow(100, kClient + 1)), Drop::None);
    t.now += kSecond / 10 + 1000;
    EXPECT_EQ(t.open(flow(100)), Drop::None);
    EXPECT_EQ(t.open(flow(101)), Drop::CtSourceRate);
    t.now += 100 * kSecond;
    for (std::uint32_t n = 200; n < 203; ++n) EXPECT_EQ(t.open(flow(n)), Drop::None);
    EXPECT_EQ(t.open(flow(203)), Drop::CtSourceRate) << "a burst is no larger for having waited";
    EXPECT_EQ(t.ct.counters().limited, 3U);
}

TEST(PerSource, KeepsAFloodFromOneSourceFromEvictingOthers) {
    Settings s = sized(1000, Overflow::EmbryonicOldest);
    s.room.per_source.max_entries = 100;
    Table t{s};
    fill(t, 50, kClient);
    for (std::uint32_t n = 0; n < 5000; ++n) static_cast<void>(t.open(flow(n, kOther)));

    for (std::uint32_t n = 0; n < 50; ++n) EXPECT_TRUE(t.has(flow(n, kClient)));
    EXPECT_EQ(t.ct.count(), 150U);
}

TEST(PerSource, RefusesLimitsOutOfBounds) {
    for (const PerSource& wrong : {PerSource{.new_per_second = kMaxSourceRate + 1},
                                   PerSource{.new_per_second = 1, .burst = 2 * kMaxBurstSeconds},
                                   PerSource{.max_entries = 1, .ipv4_prefix = 33},
                                   PerSource{.max_entries = 1, .ipv6_prefix = 129}})
        EXPECT_THROW((Conntrack{limiting(wrong), 1, 1}), std::invalid_argument);
}

}  // namespace
}  // namespace ct::test
