// SPDX-License-Identifier: BSD-3-Clause
//
// Tables large enough for workers to have caches of free entries, filled, emptied and filled again:
// below the limit nobody is refused, whatever was there before.
#include "tests/ct/tables.hpp"

namespace ct::test {
namespace {

constexpr std::uint32_t kEntries = 8192;
static_assert(kEntries / 16 >= 2 * 2 * 64, "the pool of two users has caches");

/// Opens connections `first` to `first + count - 1`, with a turn's expire() after so many.
void open_many(Table& t, std::uint32_t first, std::uint32_t count, std::uint32_t turn = 32) {
    for (std::uint32_t n = first; n < first + count; ++n) {
        ASSERT_EQ(t.open(flow(n)), Drop::None) << "connection " << n;
        if (n % turn == turn - 1) t.ct.expire(0, t.now);
    }
}

// A mapped connection takes two slots, and an overflow bucket stays for as long as one of its
// entries does: there must be as many as a table full of them needs when it has turned over.
TEST(Turnover, OfMappedConnectionsNeverFindsAChainFull) {
    Table t{sized(kEntries, Overflow::EmbryonicOldest)};

    for (std::uint32_t n = 0; n < 6 * kEntries; ++n)
        ASSERT_EQ(t.open_mapped(flow(n), static_cast<std::uint16_t>(n)), Drop::None) << n;

    EXPECT_EQ(t.ct.count(), kEntries);
    EXPECT_EQ(t.ct.counters().early_drop, 5U * kEntries);
    EXPECT_EQ(t.ct.counters().chaintoolong, 0U);
    EXPECT_EQ(t.ct.counters().insert_failed, 0U);
    EXPECT_EQ(t.ct.check_invariants(), "");
}

TEST(Turnover, AfterAFlushEveryEntryIsFreeForWorkers) {
    Table t{sized(kEntries, Overflow::Drop)};
    open_many(t, 0, kEntries);
    ASSERT_EQ(t.ct.flush(t.now), kEntries);

    open_many(t, kEntries, kEntries);

    EXPECT_EQ(t.ct.count(), kEntries);
    EXPECT_EQ(t.ct.counters().drop, 0U);
}

TEST(Turnover, AfterErasingOneByOneEveryEntryIsFreeForWorkers) {
    Table t{sized(kEntries, Overflow::Drop)};
    open_many(t, 0, kEntries);
    for (std::uint32_t n = 0; n < 200; ++n)
        ASSERT_TRUE(t.ct.erase(t.ct.find(flow(n), t.now)->handle, t.now));

    open_many(t, kEntries, 200);

    EXPECT_EQ(t.ct.count(), kEntries);
}

TEST(Turnover, AnInsertionByControlTakesOneEntryFromWorkers) {
    Table t{sized(kEntries, Overflow::Drop)};
    Injection e;
    e.original = tuple4(ipproto::kUdp, kClient, 1, kServer, 53);
    e.reply = reply_of(e.original);
    e.timeout_s = 100;
    ASSERT_EQ(t.ct.insert(e, t.now), Injected::Done);

    open_many(t, 0, kEntries - 1);

    EXPECT_EQ(t.ct.count(), kEntries);
}

// The records of what was flushed must not stand between an eviction and its victim, even if no
// turn has ended since.
TEST(Turnover, AfterAFlushTheTableFillsAndEvictsAsIfNew) {
    Table t{sized(kEntries, Overflow::EmbryonicOldest)};
    open_many(t, 0, kEntries);
    t.ct.flush(t.now);

    open_many(t, kEntries, 2 * kEntries, 3 * kEntries);

    EXPECT_EQ(t.ct.counters().early_drop, kEntries);
    EXPECT_FALSE(t.has(flow(2 * kEntries - 1)));
    EXPECT_TRUE(t.has(flow(2 * kEntries)));
    EXPECT_EQ(t.ct.check_invariants(), "");
}

// The same where all have expired: the turns of one fill, of bursts as large as there are, see to
// the stale records.
TEST(Turnover, AfterAMassExpiryTheTableFillsAndEvictsAsIfNew) {
    Table t{sized(kEntries, Overflow::EmbryonicOldest)};
    open_many(t, 0, kEntries);
    t.now += 1000 * kSecond;
    while (t.ct.count() != 0) {
        t.now += kSecond;
        t.ct.expire(0, t.now);
    }

    open_many(t, kEntries, 2 * kEntries, 64);

    EXPECT_EQ(t.ct.counters().early_drop, kEntries);
    EXPECT_EQ(t.ct.counters().drop, 0U);
    EXPECT_EQ(t.ct.check_invariants(), "");
}

// A worker that evicts, or that ends a turn, leaves the other victims of a small table where others
// find them.
TEST(Turnover, InASmallTableVictimsAreThereForEveryWorker) {
    Table t{sized(8, Overflow::EmbryonicOldest), 3};
    for (std::uint32_t n = 0; n < 8; ++n) ASSERT_EQ(t.open(flow(n), 0), Drop::None);
    ASSERT_EQ(t.open(flow(8), 1), Drop::None);
    for (WorkerId w = 0; w < 3; ++w) t.ct.expire(w, t.now);

    for (std::uint32_t n = 9; n < 15; ++n) EXPECT_EQ(t.open(flow(n), 2), Drop::None) << n;

    EXPECT_EQ(t.ct.count(), 8U);
    EXPECT_EQ(t.ct.counters().early_drop, 7U);
}

}  // namespace
}  // namespace ct::test
