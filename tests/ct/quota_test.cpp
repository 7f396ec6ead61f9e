// SPDX-License-Identifier: BSD-3-Clause
//
// The bounds that ct/quota.hpp promises.
#include "ct/quota.hpp"

#include "tests/ct/packets.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <thread>
#include <vector>

namespace ct::test {
namespace {

constexpr std::uint32_t kTable = 65'536;
constexpr Nanos kStart = 1000 * kNanosPerSecond;

HashKey key() {
    return HashKey::from_seed(1);
}

std::uint64_t source(const SourceQuota& q, std::uint32_t address) {
    return q.key_of(Family::Ipv4, v4(address), 0);
}

TEST(SourceQuota, TellsSourcesApartByPrefixFamilyAndZone) {
    const SourceQuota q{{.max_entries = 1, .ipv4_prefix = 24}, kTable, key()};

    EXPECT_EQ(source(q, 0xc0000201), source(q, 0xc00002ff));
    EXPECT_NE(source(q, 0xc0000201), source(q, 0xc0000301));
    EXPECT_NE(source(q, 0xc0000201), q.key_of(Family::Ipv4, v4(0xc0000201), 7));
    EXPECT_NE(source(q, 0), q.key_of(Family::Ipv6, v4(0), 0));
}

TEST(SourceQuota, ForeseesWhatItWillSayAndTakesNothing) {
    SourceQuota q{{.max_entries = 2, .new_per_second = 1, .burst = 2}, kTable, key()};
    const std::uint64_t s = source(q, 1);

    for (int n = 0; n < 10; ++n) EXPECT_EQ(q.foresee(s, kStart), Drop::None);
    EXPECT_EQ(q.admit(s, kStart), Drop::None);
    EXPECT_EQ(q.foresee(s, kStart), Drop::None);
    EXPECT_EQ(q.admit(s, kStart), Drop::None);
    EXPECT_EQ(q.foresee(s, kStart), Drop::CtSourceRate);
    EXPECT_EQ(q.admit(s, kStart), Drop::CtSourceRate);
    EXPECT_EQ(q.foresee(s, kStart + kNanosPerSecond), Drop::None);

    q.opened(s);
    q.opened(s);
    EXPECT_EQ(q.foresee(s, kStart + 10 * kNanosPerSecond), Drop::CtSourceEntries);
}

TEST(SourceQuota, NeverCountsLessThanASourceHas) {
    SourceQuota q{{.max_entries = 100}, kTable, key()};
    std::mt19937 rng{1};
    std::vector<std::uint32_t> has(3000);
    for (std::uint32_t n = 0; n < kTable; ++n) {
        const std::uint32_t s = static_cast<std::uint32_t>(rng() % has.size());
        q.opened(source(q, s));
        ++has[s];
    }
    for (std::uint32_t s = 0; s < has.size(); ++s) ASSERT_GE(q.entries(source(q, s)), has[s]);
    EXPECT_TRUE(q.accounts_for(kTable));
}

// A full table of sources with one entry each.
TEST(SourceQuota, CountsLittleMoreThanASourceHas) {
    SourceQuota q{{.max_entries = 100}, kTable, key()};
    for (std::uint32_t s = 0; s < kTable; ++s) q.opened(source(q, s));
    std::uint64_t sum = 0;
    std::uint32_t most = 0;
    for (std::uint32_t s = kTable; s < 2 * kTable; ++s) {  // who has nothing
        sum += q.entries(source(q, s));
        most = std::max(most, q.entries(source(q, s)));
    }
    EXPECT_LT(static_cast<double>(sum) / kTable, 2.5);
    EXPECT_LE(most, 12U);

    for (std::uint32_t s = 0; s < kTable; ++s) q.ended(source(q, s));
    for (std::uint32_t s = 0; s < kTable; ++s) ASSERT_EQ(q.entries(source(q, s)), 0U);
}

// 650 sources at a limit of 100 fill the table: (650 / 16384)^4 is 2.5e-6.
TEST(SourceQuota, DoesNotRefuseOthersForSourcesAtTheirLimit) {
    SourceQuota q{{.max_entries = 100}, kTable, key()};
    for (std::uint32_t s = 0; s < 650; ++s)
        for (int n = 0; n < 100; ++n) q.opened(source(q, s));
    std::uint32_t refused = 0;
    for (std::uint32_t s = 1000; s < 101'000; ++s)
        refused += q.admit(source(q, s), kStart) == Drop::None ? 0 : 1;
    EXPECT_LE(refused, 5U);
    for (std::uint32_t s = 0; s < 650; ++s)
        ASSERT_EQ(q.admit(source(q, s), kStart), Drop::CtSourceEntries);
}

TEST(SourceQuota, GrantsEachSourceItsRateAndItsBurst) {
    SourceQuota q{{.new_per_second = 50, .burst = 20}, kTable, key()};
    const std::uint64_t s = source(q, 1);
    std::uint32_t granted = 0;
    for (std::uint32_t ms = 0; ms < 10'000; ++ms)
        granted += q.admit(s, kStart + ms * 1'000'000ULL) == Drop::None ? 1 : 0;
    EXPECT_GE(granted, 20U + 498U);
    EXPECT_LE(granted, 20U + 500U);
}

TEST(SourceQuota, WithoutABurstGrantsASecondsWorthAtOnce) {
    SourceQuota q{{.new_per_second = 7}, kTable, key()};
    for (int n = 0; n < 7; ++n) EXPECT_EQ(q.admit(source(q, 1), kStart), Drop::None);
    EXPECT_EQ(q.admit(source(q, 1), kStart), Drop::CtSourceRate);
}

// A flood from as many sources as it has packets: nobody who keeps to the rate is refused, and who
// does not is not forgotten.
TEST(SourceQuota, KeepsRatesApartDuringAFloodFromRandomSources) {
    SourceQuota q{{.new_per_second = 10, .burst = 5}, kTable, key()};
    std::mt19937 rng{7};
    std::uint32_t heavy = 0;
    std::uint32_t modest_refused = 0;
    constexpr std::uint32_t kSeconds = 10;
    constexpr std::uint32_t kFloodPerMs = 100;
    for (std::uint32_t ms = 0; ms < kSeconds * 1000; ++ms) {
        const Nanos now = kStart + ms * 1'000'000ULL;
        for (std::uint32_t n = 0; n < kFloodPerMs; ++n)
            static_cast<void>(q.admit(source(q, static_cast<std::uint32_t>(rng())), now));
        heavy += q.admit(source(q, 1), now) == Drop::None ? 1 : 0;
        if (ms % 200 == 0) modest_refused += q.admit(source(q, 2), now) == Drop::None ? 0 : 1;
    }
    EXPECT_EQ(modest_refused, 0U);
    EXPECT_GE(heavy, 10 * kSeconds);
    EXPECT_LE(heavy, 10 * kSeconds + 5 + 10) << "forgotten twice at the most";
}

TEST(SourceQuota, RatesGoOnWhereItsClockWraps) {
    constexpr Nanos kWrap = Nanos{1} << 46;  // 2^40 units of 64 ns
    for (const Nanos at : {kWrap, 5 * kWrap}) {
        SourceQuota q{{.new_per_second = 100, .burst = 2}, kTable, key()};
        const std::uint64_t s = source(q, 3);
        std::uint32_t granted = 0;
        for (std::uint32_t ms = 0; ms < 2000; ++ms)
            granted += q.admit(s, at - kNanosPerSecond + ms * 1'000'000ULL) == Drop::None ? 1 : 0;
        EXPECT_GE(granted, 199U);
        EXPECT_LE(granted, 202U);
        // Who comes back after almost a whole round is not taken for one who is far in debt.
        EXPECT_EQ(q.admit(s, at + kWrap - 10 * kNanosPerSecond), Drop::None);
    }
}

// At most one for each other worker too many, and nothing lost.
TEST(SourceQuota, HoldsAcrossThreads) {
    constexpr std::uint32_t kThreads = 4;
    constexpr std::uint32_t kLimit = 50;
    SourceQuota q{{.max_entries = kLimit, .new_per_second = kMaxSourceRate}, 1024, key()};
    std::atomic<std::uint32_t> most{0};
    std::vector<std::thread> threads;
    std::atomic<std::int32_t> live{0};
    for (std::uint32_t t = 0; t < kThreads; ++t)
        threads.emplace_back([&, t] {
            const std::uint64_t s = source(q, 1);
            std::mt19937 rng{t};
            std::uint32_t mine = 0;
            for (int n = 0; n < 20'000; ++n) {
                if (rng() % 2 == 0 && q.admit(s, kStart + static_cast<Nanos>(n)) == Drop::None) {
                    q.opened(s);
                    ++mine;
                    const auto now = static_cast<std::uint32_t>(live.fetch_add(1) + 1);
                    std::uint32_t seen = most.load();
                    while (seen < now && !most.compare_exchange_weak(seen, now)) {
                    }
                } else if (mine > 0) {
                    live.fetch_sub(1);
                    q.ended(s);
                    --mine;
                }
            }
            for (; mine > 0; --mine) {
                live.fetch_sub(1);
                q.ended(s);
            }
        });
    for (std::thread& t : threads) t.join();

    EXPECT_LE(most.load(), kLimit + kThreads - 1);
    EXPECT_TRUE(q.accounts_for(0));
}

}  // namespace
}  // namespace ct::test
