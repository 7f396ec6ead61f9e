// SPDX-License-Identifier: BSD-3-Clause
//
// A bucket whose chain is full: who gives way, who is refused, and that a refusal leaves nothing
// behind. Only who knows the hash key can bring it about, as these tests do.
#include "ct/table/hash.hpp"
#include "ct/table/index.hpp"
#include "tests/ct/tables.hpp"

#include <atomic>
#include <stdexcept>
#include <vector>

namespace ct::test {
namespace {

constexpr std::size_t kChain = std::size_t{Bucket::kSlots} * (Index::kMaxChain + 1);  // entries

constexpr Overflow kEvery[] = {Overflow::EmbryonicOldest, Overflow::ClosingFirst,
                               Overflow::Linux,           Overflow::Drop,
                               Overflow::Untracked,       Overflow::Reject};

/// True if `t` stands in the bucket that these tests fill. A bucket's number is the leading bits of
/// the hash: with twelve of them in common, tuples share it in any table of up to 4096 buckets.
bool in_bucket(const Tuple& t) {
    static const HashKey key = HashKey::from_seed(kSeed);
    return hash(key, t) >> 52 == 0x5a5;
}

/// The first `count` flows of that bucket.
std::vector<Tuple> of_one_bucket(std::size_t count) {
    std::vector<Tuple> found;
    for (std::uint32_t n = 0; found.size() < count; ++n)
        if (in_bucket(flow(n))) found.push_back(flow(n));
    return found;
}

/// A connection from elsewhere whose answers, once it is mapped, come to that bucket.
Tuple answered_in_bucket(std::uint16_t& port) {
    const Tuple t = flow(1);
    Tuple answer = reply_of(t);
    answer.dst = v4(kExternal);
    for (port = 1024;; ++port) {
        answer.dport = Be16::from_host(port);
        if (in_bucket(answer)) return t;
        if (port == 65'535) throw std::logic_error{"no port does"};
    }
}

/// A table in which what a source has is booked, and what NAT gave is counted when it comes back.
struct Booking : Table {
    explicit Booking(Overflow policy) : Table{booked(policy)} {
        ct.set_release({.call = [](void* self, WorkerId, std::uint8_t, const Tuple&, const Tuple&,
                                   Nanos) noexcept { ++static_cast<Booking*>(self)->came_back; },
                        .self = this,
                        .wanted = &wanted});
    }
    static Settings booked(Overflow policy) {
        Settings s = sized(1000, policy);
        s.room.per_source.max_entries = 500;
        s.room.reserve = {{{.addr = v4(kClient), .length = 32, .family = Family::Ipv4}, 100}};
        return s;
    }

    int came_back = 0;
    std::atomic<std::uint8_t> wanted{0xff};
};

TEST(FullBucket, RefusesANewcomerWhereAllAreAssuredAndKeepsNothingOfIt) {
    constexpr unsigned kTries = 100;
    for (const Overflow policy : kEvery) {
        SCOPED_TRACE(static_cast<int>(policy));
        Booking t{policy};
        const std::vector<Tuple> flows = of_one_bucket(kChain + 1);
        for (std::size_t n = 0; n < kChain; ++n) t.establish(flows[n]);
        ASSERT_EQ(t.ct.counters().chaintoolong, 0U);

        for (unsigned n = 0; n < kTries; ++n) {
            Packet p = syn(flows[kChain]);
            t.ct.lookup(0, {&p, 1}, t.now);
            ASSERT_EQ(t.ct.open(0, p, t.now), Conntrack::Opening::Opened);
            p.lease = 1;
            ASSERT_EQ(t.ct.confirm(0, p, t.now), Conntrack::Confirmation::Refused);
            EXPECT_EQ(p.drop, Drop::CtBucketFull);
            EXPECT_FALSE(p.conn.valid());
        }

        const Counters c = t.ct.counters();
        EXPECT_EQ(c.chaintoolong, kTries);
        EXPECT_EQ(c.insert_failed, kTries);
        EXPECT_EQ(c.drop, 0U) << "which counts, as in Linux, what a full table refuses";
        EXPECT_EQ(c.opened, kChain);
        EXPECT_EQ(c.early_drop, 0U);
        EXPECT_EQ(t.came_back, static_cast<int>(kTries));
        EXPECT_EQ(t.ct.count(), kChain);
        for (std::size_t n = 0; n < kChain; ++n) EXPECT_TRUE(t.has(flows[n])) << n;
        EXPECT_FALSE(t.has(flows[kChain]));
        EXPECT_EQ(t.ct.check_invariants(), "");
    }
}

TEST(FullBucket, IsNoFullTable) {
    Table t{sized(1000, Overflow::EmbryonicOldest)};
    const std::vector<Tuple> flows = of_one_bucket(kChain + 2);
    for (std::size_t n = 0; n < kChain; ++n) t.establish(flows[n]);
    ASSERT_EQ(t.open(flows[kChain]), Drop::CtBucketFull);

    EXPECT_EQ(t.open(flow(0)), Drop::None) << "of another bucket";
    EXPECT_EQ(t.send(ack(flows[0])), Drop::None) << "of one that is there";
    ASSERT_TRUE(t.ct.erase(t.ct.find(flows[17], t.now)->handle, t.now));
    EXPECT_EQ(t.open(flows[kChain]), Drop::None) << "in the place of one that ended";
    t.establish(flows[kChain]);
    EXPECT_EQ(t.open(flows[kChain + 1]), Drop::CtBucketFull);
    EXPECT_EQ(t.ct.check_invariants(), "");
}

TEST(FullBucket, LosesItsOldestThatIsNotAssured) {
    for (const Overflow policy : {Overflow::EmbryonicOldest, Overflow::ClosingFirst}) {
        Table t{sized(1000, policy)};
        const std::vector<Tuple> flows = of_one_bucket(kChain + 2);
        const Tuple& oldest = flows[20];
        const Tuple& younger = flows[3];
        ASSERT_EQ(t.open(oldest), Drop::None);
        t.now += kSecond;
        ASSERT_EQ(t.open(younger), Drop::None);
        for (std::size_t n = 0; n < kChain; ++n)
            if (flows[n] != oldest && flows[n] != younger) t.establish(flows[n]);

        t.now += kSecond;
        EXPECT_EQ(t.open(flows[kChain]), Drop::None);
        EXPECT_FALSE(t.has(oldest));
        EXPECT_TRUE(t.has(younger));
        EXPECT_EQ(t.open(flows[kChain + 1]), Drop::None);
        EXPECT_FALSE(t.has(younger));

        EXPECT_EQ(t.ct.counters().early_drop, 2U);
        EXPECT_EQ(t.ct.counters().insert_failed, 0U);
        EXPECT_EQ(t.ct.counters().assured_evicted, 0U);
        EXPECT_EQ(t.ct.check_invariants(), "");
    }
}

TEST(FullBucket, LosesNobodyWhereThePolicyTakesNoOldest) {
    for (const Overflow policy :
         {Overflow::Linux, Overflow::Drop, Overflow::Untracked, Overflow::Reject}) {
        Table t{sized(1000, policy)};
        const std::vector<Tuple> flows = of_one_bucket(kChain + 1);
        for (std::size_t n = 0; n < kChain; ++n) ASSERT_EQ(t.open(flows[n]), Drop::None);

        EXPECT_EQ(t.open(flows[kChain]), Drop::CtBucketFull) << static_cast<int>(policy);
        EXPECT_EQ(t.ct.count(), kChain);
        EXPECT_EQ(t.ct.check_invariants(), "");
    }
}

// The place under the original tuple is reserved before it is seen that there is none for the
// reply.
TEST(FullBucket, OfTheReplyTupleRefusesAMappedNewcomerAltogether) {
    Booking t{Overflow::EmbryonicOldest};
    std::uint16_t port = 0;
    const Tuple newcomer = answered_in_bucket(port);
    ASSERT_FALSE(in_bucket(newcomer));
    const std::vector<Tuple> flows = of_one_bucket(kChain);
    for (const Tuple& each : flows) t.establish(each);

    Packet p = syn(newcomer);
    t.ct.lookup(0, {&p, 1}, t.now);
    ASSERT_EQ(t.ct.open(0, p, t.now), Conntrack::Opening::Opened);
    p.reply.dst = v4(kExternal);
    p.reply.dport = Be16::from_host(port);
    p.lease = 1;
    EXPECT_EQ(t.ct.confirm(0, p, t.now), Conntrack::Confirmation::Refused);

    EXPECT_EQ(p.drop, Drop::CtBucketFull);
    EXPECT_EQ(t.came_back, 1);
    EXPECT_FALSE(t.has(newcomer));
    EXPECT_EQ(t.ct.count(), kChain);
    EXPECT_EQ(t.ct.check_invariants(), "");
    EXPECT_EQ(t.open(newcomer), Drop::None) << "without a mapping it needs no place there";
}

// RFC 6888 REQ-11 (B).
TEST(FullBucket, KeepsMappingsThatAreNeverDeleted) {
    Settings s = sized(1000, Overflow::EmbryonicOldest);
    s.room.never_delete_mappings = true;
    Table t{s};
    const std::vector<Tuple> flows = of_one_bucket(kChain + 1);
    ASSERT_EQ(t.open_mapped(flows[0], 5000), Drop::None);
    for (std::size_t n = 1; n < kChain; ++n) t.establish(flows[n]);

    EXPECT_EQ(t.open(flows[kChain]), Drop::CtBucketFull);
    EXPECT_TRUE(t.has(flows[0]));
    EXPECT_EQ(t.ct.counters().early_drop, 0U);
    EXPECT_EQ(t.ct.check_invariants(), "");
}

}  // namespace
}  // namespace ct::test
