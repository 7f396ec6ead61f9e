// SPDX-License-Identifier: BSD-3-Clause
#include "ct/table/hash.hpp"
#include "ct/table/index.hpp"
#include "ct/table/pool.hpp"
#include "ct/table/young.hpp"
#include "tests/ct/packets.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <vector>

namespace ct::test {
namespace {

TEST(Hash, IsTheSameForATupleAndItsAnswer) {
    const HashKey key = HashKey::from_seed(7);
    for (std::uint32_t i = 0; i < 1000; ++i) {
        Tuple t4 =
            tuple4(ipproto::kTcp, kClient + i * 7919, static_cast<std::uint16_t>(i), kServer, 80);
        t4.zone = static_cast<std::uint16_t>(i % 3);
        Tuple t6 = t4;
        t6.family = Family::Ipv6;
        t6.src = v6(i);
        t6.dst = v6(std::uint64_t{i} * i);
        Tuple echo = tuple4(ipproto::kIcmp, kClient, 77, kServer, 0);
        echo.dport = icmp_type_code(8, 0);

        EXPECT_EQ(hash(key, t4), hash(key, reply_of(t4)));
        EXPECT_EQ(hash(key, t6), hash(key, reply_of(t6)));
        EXPECT_EQ(hash(key, echo), hash(key, reply_of(echo)));
    }
}

TEST(Hash, OfAKeyIsThatOfItsTuple) {
    const HashKey key = HashKey::from_seed(7);
    for (const std::uint8_t proto : {ipproto::kTcp, ipproto::kIcmp, ipproto::kGre}) {
        Tuple t = tuple4(proto, kClient, 0xfffe, kServer, 0x108);
        t.zone = 0xfffd;
        Tuple reply = reply_of(t);
        reply.dst = v4(kServer + 1);

        EXPECT_EQ(hash_ipv4(key, TupleKey::of(t)), hash(key, t));
        EXPECT_EQ(reply_key_ipv4(t, reply.dst.as_v4()), TupleKey::of(reply));
        EXPECT_EQ(hash_ipv4(key, TupleKey::of(reply)), hash(key, reply));
    }
}

TEST(Hash, DependsOnEveryFieldAndOnTheKey) {
    const Tuple t = tuple4(ipproto::kTcp, kClient, 1000, kServer, 80);
    std::vector<Tuple> others(6, t);
    others[0].src = v4(kClient + 1);
    others[1].dst = v4(kServer + 1);
    others[2].sport = Be16::from_host(1001);
    others[3].dport = Be16::from_host(81);
    others[4].zone = 1;
    others[5].proto = ipproto::kUdp;
    const HashKey key = HashKey::from_seed(7);

    for (const Tuple& other : others) EXPECT_NE(hash(key, t), hash(key, other));
    EXPECT_NE(hash(key, t), hash(HashKey::from_seed(8), t));
}

// A bucket's load must be Poisson's, or the overflow that it is sized for does not suffice:
// chi-square over 1024 buckets of the top bits, for tuples that differ in few bits.
TEST(Hash, SpreadsNeighbouringTuplesEvenly) {
    const HashKey key = HashKey::from_seed(99);
    constexpr std::size_t kBuckets = 1024;
    constexpr std::uint32_t kTuples = 65'536;
    std::vector<double> load(kBuckets);
    for (std::uint32_t i = 0; i < kTuples; ++i) {
        const Tuple t = tuple4(ipproto::kTcp, kClient, static_cast<std::uint16_t>(i), kServer, 80);
        load[hash(key, t) >> 54] += 1;
    }

    const double mean = double{kTuples} / kBuckets;
    double chi = 0;
    for (const double l : load) chi += (l - mean) * (l - mean) / mean;

    // 1023 degrees of freedom: mean 1023, deviation 45; five deviations either way.
    EXPECT_NEAR(chi, 1023, 5 * 45.2);
}

TEST(Pool, HandsOutEachEntryOnceAndTakesItBack) {
    Pool pool{10'000, 2, Pages::Normal};
    std::set<std::uint32_t> seen;
    for (std::uint32_t i = pool.take(0); i != Pool::kNone; i = pool.take(0)) seen.insert(i);

    EXPECT_EQ(seen.size(), 10'000U);
    EXPECT_EQ(pool.in_use(), 10'000U);
    EXPECT_EQ(pool.take(1), Pool::kNone);
    for (const std::uint32_t i : seen) pool.give(1, i);
    EXPECT_EQ(pool.in_use(), 0U);
}

TEST(Pool, OfASmallTableStrandsNothingInCaches) {
    Pool pool{7, 4, Pages::Normal};
    for (int i = 0; i < 7; ++i)
        EXPECT_NE(pool.take(static_cast<std::uint32_t>(i) % 4), Pool::kNone);
    EXPECT_EQ(pool.take(3), Pool::kNone);
    pool.give(0, 3);
    EXPECT_EQ(pool.take(3), 3U);
}

TEST(Pool, GivesBackWhatACacheHolds) {
    Pool pool{10'000, 2, Pages::Normal};
    pool.give(1, pool.take(1));
    std::uint32_t taken = 0;
    while (pool.take(0) != Pool::kNone) ++taken;
    ASSERT_EQ(taken, 10'000 - Pool::kBatch);

    pool.give_back(1);

    EXPECT_EQ(pool.in_use(), taken);
    while (pool.take(0) != Pool::kNone) ++taken;
    EXPECT_EQ(taken, 10'000U);
}

std::size_t found(const Index& index, std::uint32_t b, std::uint16_t tag) {
    std::size_t n = 0;
    std::uint64_t restarts = 0;
    index.find(b, tag, restarts, [&](Ref) {
        ++n;
        return false;
    });
    return n;
}

TEST(Index, FindsWhatWasStoredUntilItIsRemoved) {
    Index index{10, Pages::Normal};
    index.lock(5);
    Index::store(index.reserve(5), 42, Ref::make(1234, 3), 0);
    index.unlock(5);

    EXPECT_EQ(found(index, 5, 42), 1U);
    EXPECT_EQ(found(index, 5, 43), 0U);
    EXPECT_EQ(found(index, 6, 42), 0U);
    index.lock(5);
    EXPECT_FALSE(index.remove(5, 42, Ref::make(1234, 2)));
    EXPECT_TRUE(index.remove(5, 42, Ref::make(1234, 3)));
    index.unlock(5);
    EXPECT_EQ(found(index, 5, 42), 0U);
}

TEST(Index, ChainsOverflowBucketsToItsLimitAndGivesThemBack) {
    Index index{10, Pages::Normal};
    constexpr std::uint32_t kMost = Bucket::kSlots * (Index::kMaxChain + 1);
    index.lock(9);
    for (std::uint32_t i = 0; i < kMost; ++i) {
        const Slot s = index.reserve(9);
        ASSERT_TRUE(s.valid());
        Index::store(s, static_cast<std::uint16_t>(i + 1), Ref::make(i, 0), 0);
    }
    EXPECT_FALSE(index.reserve(9).valid());
    index.unlock(9);
    for (std::uint32_t i = 0; i < kMost; ++i)
        EXPECT_EQ(found(index, 9, static_cast<std::uint16_t>(i + 1)), 1U);
    EXPECT_EQ(index.overflow_in_use(), Index::kMaxChain);

    index.lock(9);
    for (std::uint32_t i = 0; i < kMost; ++i)
        EXPECT_TRUE(index.remove(9, static_cast<std::uint16_t>(i + 1), Ref::make(i, 0)));
    index.unlock(9);
    EXPECT_EQ(index.overflow_in_use(), 0U);
}

// Or a bucket that was full once would have a chain until the last of its entries has ended.
TEST(Index, FillsAHoleFromTheEndOfTheChain) {
    Index index{10, Pages::Normal};
    constexpr std::uint32_t kInChain = 4;
    constexpr std::uint32_t kAll = Bucket::kSlots + kInChain;
    const auto tag = [](std::uint32_t i) { return static_cast<std::uint16_t>(i + 1); };
    index.lock(9);
    for (std::uint32_t i = 0; i < kAll; ++i)
        Index::store(index.reserve(9), tag(i), Ref::make(i, 0), static_cast<std::uint8_t>(i));
    for (std::uint32_t i = 1; i < kAll; i += 2)
        ASSERT_TRUE(index.set_assured(9, tag(i), Ref::make(i, 0)));
    ASSERT_EQ(index.overflow_in_use(), 1U);
    for (std::uint32_t i = 0; i < kInChain; ++i) {
        EXPECT_TRUE(index.remove(9, tag(i), Ref::make(i, 0)));
        EXPECT_EQ(index.overflow_in_use(), i + 1 < kInChain ? 1U : 0U);
    }
    index.unlock(9);

    std::uint32_t seen = 0;
    index.visit(9, [&](std::uint16_t t, Ref r, bool assured, std::uint8_t age) {
        ++seen;
        EXPECT_GE(r.index(), kInChain);
        EXPECT_EQ(t, tag(r.index()));
        EXPECT_EQ(assured, r.index() % 2 == 1) << r.index();
        EXPECT_EQ(age, r.index());
    });
    EXPECT_EQ(seen, Bucket::kSlots);
}

TEST(Index, ReservesTwoSlotsOfOneBucketForOneEntry) {
    Index index{10, Pages::Normal};
    index.lock_pair(3, 3);
    const Slot first = index.reserve(3);
    const Slot second = index.reserve(3, first);
    index.unlock_pair(3, 3);

    EXPECT_TRUE(first.bucket != second.bucket || first.number != second.number);
}

TEST(Index, RemembersWhichSlotIsAssured) {
    Index index{10, Pages::Normal};
    index.lock(0);
    Index::store(index.reserve(0), 7, Ref::make(1, 1), 0);
    Index::store(index.reserve(0), 7, Ref::make(2, 1), 0);
    EXPECT_TRUE(index.set_assured(0, 7, Ref::make(2, 1)));
    EXPECT_FALSE(index.set_assured(0, 7, Ref::make(3, 1)));
    index.unlock(0);

    index.visit(0, [](std::uint16_t, Ref r, bool assured, std::uint8_t) {
        EXPECT_EQ(assured, r.index() == 2);
    });
}

TEST(Index, TagContinuesTheBucketNumberInTheHash) {
    const Index index{12, Pages::Normal};
    const std::uint64_t h = 0xabcd'ef12'3456'789a;
    EXPECT_EQ(index.bucket_of(h), 0xabcU);
    EXPECT_EQ(index.tag_of(h), 0xdef1U);
}

TEST(YoungRing, GivesTheOldestFirstAndRefusesWhenFull) {
    YoungRing ring{4};
    for (std::uint32_t i = 0; i < 4; ++i)
        EXPECT_TRUE(
            ring.push({.index = i, .original_bucket = 7, .reply_bucket = 8, .generation = 9}));
    EXPECT_FALSE(ring.push({.index = 4}));

    std::array<YoungRecord, 3> out;
    EXPECT_EQ(ring.pop(out), 3U);
    EXPECT_EQ(out[0].conn(), (ConnHandle{0, 9}));
    EXPECT_EQ(out[2].conn(), (ConnHandle{2, 9}));
    EXPECT_EQ(out[2].original_bucket, 7U);
    EXPECT_EQ(out[2].reply_bucket, 8U);
    EXPECT_TRUE(ring.push({.index = 5}));
    EXPECT_EQ(ring.size(), 2U);
}

TEST(YoungRing, DropsWhatStoodInItBefore) {
    YoungRing ring{4};
    std::array<YoungRecord, 4> out;
    for (std::uint32_t i = 0; i < 3; ++i) ring.push({.index = i});
    ASSERT_EQ(ring.pop({out.data(), 2}), 2U);
    ring.push({.index = 3});
    ring.push({.index = 4});
    const std::size_t end = ring.end();
    ring.push({.index = 5});

    ring.drop_before(end);
    ring.drop_before(end);

    EXPECT_EQ(ring.size(), 1U);
    for (std::uint32_t i = 6; i < 9; ++i) EXPECT_TRUE(ring.push({.index = i}));
    ASSERT_EQ(ring.pop(out), 4U);
    for (std::uint32_t i = 0; i < 4; ++i) EXPECT_EQ(out[i].index, 5 + i);
}

}  // namespace
}  // namespace ct::test
