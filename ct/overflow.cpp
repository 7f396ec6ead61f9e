// SPDX-License-Identifier: BSD-3-Clause
//
// Where room comes from: the pool, the expired, and, by policy, somebody's place.
#include "ct/base/check.hpp"
#include "ct/conntrack_impl.hpp"

#include <algorithm>
#include <limits>

namespace ct {

namespace {

// Stale records that one eviction may step over. Each was left by one promotion or one end and is
// stepped over once, and trim_young() has mostly done so before.
constexpr int kEvictTries = 1024;
constexpr unsigned kLinuxRange = 8;  // NF_CT_EVICTION_RANGE, semantics.md 2.4
constexpr std::uint32_t kSweepPerTurn = 512;
constexpr std::uint32_t kSweepInNeed = 256;
constexpr std::uint32_t kExactBelow =
    4096;  // tables whose embryonic budget is counted at each open
constexpr std::uint32_t kRecountEvery = 32;

/// A whole sweep takes a second a million entries, at least one: 64 B an entry then is 64 MB/s.
constexpr Nanos sweep_period(std::uint32_t capacity) {
    const Nanos scaled = kNanosPerSecond * capacity >> 20;
    return scaled > kNanosPerSecond ? scaled : kNanosPerSecond;
}

}  // namespace

bool Conntrack::Impl::claim(ConnHandle h, bool assured_too) noexcept {
    std::atomic<std::uint64_t>& meta = pool.hot(h.index).meta;
    std::uint64_t word = meta.load(std::memory_order_acquire);
    for (;;) {
        Meta m{word};
        if (m.generation() != h.generation || m.life() != life::kLinked) return false;
        if (m.assured() && !assured_too) return false;
        m.set_life(life::kDying);
        // Sequentially consistent for lock_side().
        if (meta.compare_exchange_weak(word, m.word(), std::memory_order_seq_cst,
                                       std::memory_order_acquire))
            return true;
    }
}

void Conntrack::Impl::finish(WorkerId w, ConnHandle h, End why, Nanos now) noexcept {
    Worker& me = *workers[w];
    HotLine& hot = pool.hot(h.index);
    const Meta m{hot.meta.load(std::memory_order_acquire)};
    const Ref ref = Ref::make(h.index, h.generation);
    const auto unlink = [&](std::uint32_t bucket, std::uint16_t tag) {
        index.lock(bucket);
        const bool was_there = index.remove(bucket, tag, ref);
        index.unlock(bucket);
        if constexpr (kChecks >= 1) check(was_there, "I2: a linked entry is in its buckets");
    };
    // One bucket after the other: a lookup that still finds the entry sees that it is dying.
    unlink(hot.original_bucket.load(std::memory_order_acquire),
           hot.original_tag.load(std::memory_order_acquire));
    if ((hot.fixed.load(std::memory_order_acquire) & fixed::kMirror) == 0)
        unlink(hot.reply_bucket.load(std::memory_order_acquire),
               hot.reply_tag.load(std::memory_order_acquire));

    if constexpr (kChecks >= 1) {
        check(m.life() == life::kDying && m.generation() == h.generation,
              "I1: who ends it has claimed it");
        check(why != End::Evicted || !m.assured(), "I5: an assured entry is not evicted");
    }
    if (listening()) emit(w, EventType::Destroy, cause::kDestroy, h.index, now);
    if (!m.assured())
        me.embryonic.store(me.embryonic.load(std::memory_order_relaxed) - 1,
                           std::memory_order_relaxed);
    switch (why) {
        case End::Expired:
            me.counters.expired.add();
            break;
        case End::Deleted:
            me.counters.deleted.add();
            break;
        case End::Evicted:
            me.counters.early_drop.add();
            if (m.assured()) me.counters.assured_evicted.add();
            break;
    }
    const Meta freed = Meta::free(static_cast<std::uint16_t>(h.generation + 1));
    hot.meta.store(freed.word(), std::memory_order_release);
    pool.give(w, h.index);
}

bool Conntrack::Impl::end(WorkerId w, ConnHandle h, End why, bool assured_too, Nanos now) noexcept {
    if (!claim(h, assured_too)) return false;
    finish(w, h, why, now);
    return true;
}

// Promoted and ended entries leave stale records, which only go when they come to the head. If a
// long-lived entry keeps them from it until they fill most of the room that is theirs, each push
// turns a few of the oldest over: stale ones go, live ones start again at the end.
void Conntrack::Impl::turn_over(YoungRing& ring, Ticks now) noexcept {
    std::array<YoungRecord, 4> oldest;
    const std::size_t n = ring.pop(oldest);
    for (std::size_t k = 0; k < n; ++k) {
        const Meta m{pool.hot(oldest[k].index).meta.load(std::memory_order_acquire)};
        const bool live = m.generation() == oldest[k].generation && m.life() == life::kLinked &&
                          !m.assured() && !m.expired(now);
        if (live) ring.push(oldest[k]);
    }
}

bool Conntrack::Impl::stash_victims(Worker& me, YoungRing& from) noexcept {
    if (from.size() == 0) return false;
    std::array<YoungRecord, kVictims / 2> oldest;
    const std::uint32_t room = kVictims - (me.victim_end - me.victim_next);
    const std::size_t n = from.pop({oldest.data(), std::min<std::size_t>(oldest.size(), room)});
    for (std::size_t k = 0; k < n; ++k) me.victims[me.victim_end++ % kVictims] = oldest[k];
    return n != 0;
}

void Conntrack::Impl::load_victim(Worker& me) noexcept {
    if (me.victim_end - me.victim_next <= kVictimsAhead) stash_victims(me, me.young);
    if (me.victim_end - me.victim_next <= kVictimsAhead) return;
    const YoungRecord& r = me.victims[(me.victim_next + kVictimsAhead) % kVictims];
    prefetch_write(&index.bucket(r.original_bucket));
    if (r.reply_bucket != r.original_bucket) prefetch_write(&index.bucket(r.reply_bucket));
    prefetch_entry(r.index);
}

void Conntrack::Impl::trim_young(WorkerId w) noexcept {
    Worker& me = *workers[w];
    for (; me.victim_next != me.victim_end; ++me.victim_next) {
        const ConnHandle h = me.victims[me.victim_next % kVictims].conn();
        const Meta m{pool.hot(h.index).meta.load(std::memory_order_acquire)};
        if (m.generation() == h.generation && m.life() == life::kLinked && !m.assured()) return;
    }
    static_cast<void>(stash_victims(me, me.young));
}

bool Conntrack::Impl::evict_oldest(WorkerId w, Nanos now) noexcept {
    Worker& me = *workers[w];
    const auto any_victim = [&] {
        if (me.victim_next != me.victim_end || stash_victims(me, me.young)) return true;
        // In want: whoever has candidates can spare some.
        for (WorkerId other = 0; other <= worker_count; ++other)
            if (other != w && stash_victims(me, workers[other]->young)) return true;
        return false;
    };
    for (int tries = 0; tries < kEvictTries && any_victim(); ++tries) {
        const ConnHandle victim = me.victims[me.victim_next++ % kVictims].conn();
        load_victim(me);
        if (end(w, victim, End::Evicted, false, now)) return true;
    }
    return false;
}

bool Conntrack::Impl::evict_in_bucket(WorkerId w, std::uint32_t bucket, Nanos now) noexcept {
    const auto age_now = static_cast<std::uint8_t>(to_ticks(now) / (kTicksPerSecond / 4));
    ConnHandle oldest;
    int oldest_age = -1;
    index.visit(bucket, [&](std::uint16_t, Ref r, bool assured, std::uint8_t born) {
        const int age = static_cast<std::uint8_t>(age_now - born);
        if (assured || age <= oldest_age) return;
        const Meta m{pool.hot(r.index()).meta.load(std::memory_order_acquire)};
        if (m.life() != life::kLinked || !r.may_be(m.generation()) || m.assured()) return;
        oldest = {r.index(), m.generation()};
        oldest_age = age;
    });
    return oldest.valid() && end(w, oldest, End::Evicted, false, now);
}

// Linux looks at eight buckets from the newcomer's on, and takes every entry that is not assured
// from the first bucket that has one. There an entry stands in two of B buckets; here one that is
// not NATed stands in one slot. Over B/2 buckets the density, and so the chance of a victim and the
// number of victims, is the same (semantics.md 2.4). Such a bucket is a range of the hash, and the
// tag continues the bucket's number: which slots lie in it is seen without touching an entry.
bool Conntrack::Impl::evict_as_linux(WorkerId w, std::uint64_t h, Nanos now) noexcept {
    const std::uint32_t wanted = settings.buckets != 0 ? settings.buckets : settings.max;
    const unsigned physical = index.log2_buckets();
    const unsigned linux_bits = std::bit_width(wanted - 1);
    const unsigned bits = std::min(std::max(2U, linux_bits) - 1, physical + 16);
    const std::uint64_t mask = (std::uint64_t{1} << bits) - 1;

    for (unsigned k = 0; k < kLinuxRange; ++k) {
        const std::uint64_t virtual_bucket = ((h >> (64 - bits)) + k) & mask;
        const bool finer = bits >= physical;  // several virtual buckets in a physical one
        const std::uint64_t first =
            finer ? virtual_bucket >> (bits - physical) : virtual_bucket << (physical - bits);
        const std::uint64_t count = finer ? 1 : std::uint64_t{1} << (physical - bits);
        bool any = false;
        for (std::uint64_t b = first; b < first + count; ++b) {
            std::array<ConnHandle, Bucket::kSlots*(Index::kMaxChain + 1)> victims;
            std::size_t n = 0;
            index.visit(static_cast<std::uint32_t>(b),
                        [&](std::uint16_t tag, Ref r, bool assured, std::uint8_t) {
                            const std::uint64_t leading = b << 16 | tag;
                            if (finer && leading >> (physical + 16 - bits) != virtual_bucket)
                                return;
                            if (assured || n == victims.size()) return;
                            const Meta m{pool.hot(r.index()).meta.load(std::memory_order_acquire)};
                            if (r.may_be(m.generation()))
                                victims[n++] = {r.index(), m.generation()};
                        });
            for (std::size_t v = 0; v < n; ++v) any |= end(w, victims[v], End::Evicted, false, now);
        }
        if (any) return true;
    }
    return false;
}

bool Conntrack::Impl::over_embryonic_budget(Worker& w) noexcept {
    if (settings.max >= kExactBelow && w.opens_until_recount > 0) {
        --w.opens_until_recount;
        return w.over_budget;
    }
    w.opens_until_recount = kRecountEvery;
    std::int64_t sum = 0;
    for (const auto& each : workers) sum += each->embryonic.load(std::memory_order_relaxed);
    const auto budget = std::int64_t{settings.max.get()} * settings.embryonic_percent / 100;
    w.over_budget = sum >= std::max<std::int64_t>(budget, 1);
    return w.over_budget;
}

std::uint32_t Conntrack::Impl::allocate(WorkerId w, Packet& p, Nanos now) noexcept {
    Worker& me = *workers[w];
    const bool oldest_goes = settings.overflow == Overflow::EmbryonicOldest;
    if (oldest_goes && over_embryonic_budget(me)) evict_oldest(w, now);
    // Exact as long as workers do not allocate at the same moment; `max` is usually the capacity.
    const auto take = [&] {
        const std::uint32_t max = settings.max;
        return max < pool.capacity() && pool.in_use() >= max ? Pool::kNone : pool.take(w);
    };
    std::uint32_t i = take();
    if (i != Pool::kNone) {
        if (const std::uint32_t next = pool.peek(w, kEntriesAhead); next != Pool::kNone) {
            prefetch_entry(next);
            if (p.tuple.family == Family::Ipv6) prefetch_write(&pool.addrs6(next));
        }
        return i;
    }

    const bool evicted =
        oldest_goes ? evict_oldest(w, now)
                    : settings.overflow == Overflow::Linux && evict_as_linux(w, p.hash, now);
    // What has expired must not count against the limit.
    if (!evicted) sweep(w, kSweepInNeed, now);
    i = take();
    if (i == Pool::kNone) {
        me.counters.drop.add();
        me.counters.table_full_log.add();
        p.drop = Drop::CtTableFull;
    }
    return i;
}

void Conntrack::Impl::sweep(WorkerId w, std::uint32_t n, Nanos now) noexcept {
    Worker& me = *workers[w];
    const Ticks ticks = to_ticks(now);
    const std::uint32_t capacity = pool.capacity();
    for (std::uint32_t k = 0; k < std::min(n, capacity); ++k) {
        const std::uint32_t i = me.sweep_at;
        me.sweep_at = i + 1 == capacity ? 0 : i + 1;
        std::atomic<std::uint64_t>& meta = pool.hot(i).meta;
        std::uint64_t word = meta.load(std::memory_order_acquire);
        Meta m{word};
        if (m.life() != life::kLinked || ticks_between(ticks, m.deadline()) > 0) continue;
        m.set_life(life::kDying);
        // Only if nobody refreshed it in between.
        if (meta.compare_exchange_strong(word, m.word(), std::memory_order_seq_cst,
                                         std::memory_order_acquire))
            finish(w, {i, m.generation()}, End::Expired, now);
    }
}

void Conntrack::expire(WorkerId w, Nanos now) noexcept {
    Impl& d = *impl_;
    Impl::Worker& me = *d.workers[w];
    const std::uint32_t capacity = d.pool.capacity();
    if (me.sweep_time == 0) {  // the first turn: spread the workers over the table
        me.sweep_time = now;
        me.sweep_at =
            static_cast<std::uint32_t>(std::uint64_t{capacity} * w / d.worker_count) % capacity;
    }
    d.trim_young(w);
    const Nanos elapsed = now - me.sweep_time;
    const Nanos period = sweep_period(capacity) * d.worker_count;
    const Nanos due = std::min<Nanos>(elapsed, period) * capacity / period;
    if (due == 0) return;
    me.sweep_time = now;
    d.sweep(w, static_cast<std::uint32_t>(std::min<Nanos>(due, kSweepPerTurn)), now);
}

Nanos Conntrack::expire_among(WorkerId w, std::uint32_t first, std::uint32_t count,
                              Nanos now) noexcept {
    Impl& d = *impl_;
    const Ticks ticks = to_ticks(now);
    const std::uint32_t capacity = d.pool.capacity();
    const std::uint32_t stop = first + std::min(count, capacity - std::min(capacity, first));
    std::int32_t soonest = std::numeric_limits<std::int32_t>::max();
    for (std::uint32_t i = first; i < stop; ++i) {
        const Meta m{d.pool.hot(i).meta.load(std::memory_order_acquire)};
        if (m.life() != life::kLinked) continue;
        const std::int32_t left = ticks_between(ticks, m.deadline());
        if (left > 0)
            soonest = std::min(soonest, left);
        else
            d.end(w, {i, m.generation()}, End::Expired, true, now);
    }
    if (soonest == std::numeric_limits<std::int32_t>::max())
        return std::numeric_limits<Nanos>::max();
    return (now / kNanosPerTick + static_cast<Nanos>(soonest)) * kNanosPerTick;
}

}  // namespace ct
