// SPDX-License-Identifier: BSD-3-Clause
//
// Where room comes from: the pool, the expired, and, by policy, somebody's place (eviction.cpp).
#include "ct/base/check.hpp"
#include "ct/conntrack_impl.hpp"

#include <algorithm>
#include <limits>

namespace ct {

namespace {

constexpr std::uint32_t kSweepPerTurn = 512;
constexpr std::uint32_t kSweepInNeed = 256;
constexpr int kRoomTries = 8;  ///< times that room is made once more because others took it

/// A whole sweep takes a second a million entries, at least one: 64 B an entry then is 64 MB/s.
constexpr Nanos sweep_period(std::uint32_t entries) {
    const Nanos scaled = kNanosPerSecond * entries >> 20;
    return scaled > kNanosPerSecond ? scaled : kNanosPerSecond;
}

}  // namespace

bool Conntrack::Impl::claim(ConnHandle h, bool assured_too) noexcept {
    Atomic<std::uint64_t>& meta = pool.hot(h.index).meta;
    std::uint64_t word = meta.load(std::memory_order_acquire);
    for (;;) {
        Meta m{word};
        if (!m.is_linked_as(h.generation)) return false;
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
    if (!m.nat_clash())
        unlink(hot.original_bucket.load(std::memory_order_acquire),
               hot.original_tag.load(std::memory_order_acquire));
    if ((hot.fixed.load(std::memory_order_acquire) & fixed::kMirror) == 0)
        unlink(hot.reply_bucket.load(std::memory_order_acquire),
               hot.reply_tag.load(std::memory_order_acquire));

    if constexpr (kChecks >= 1) {
        check(m.life() == life::kDying && m.generation() == h.generation,
              "I1: who ends it has claimed it");
        check(why != End::Evicted || !m.assured() ||
                  (settings.overflow == Overflow::ClosingFirst &&
                   proto::is_closing(protocol_of(hot), m.state())),
              "I5: an assured entry is not evicted, unless it is closing and the policy says so");
    }
    if (listening()) emit(w, EventType::Destroy, cause::kDestroy, h, now);
    if (!m.assured()) count_out(me);
    if (spares_some) [[unlikely]]
        count_kept(me, hot.fixed.load(std::memory_order_acquire), protocol_of(hot), m, Meta{});
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
    if (keeps_accounts) [[unlikely]]
        book_out(me, h.index);
    if (const std::uint8_t lease = hot.lease.load(std::memory_order_acquire); wants_back(lease))
        give_back(w, h.index, lease, now);
    if (adjustments.in_use() != 0) [[unlikely]]
        release_shift(h);
    const Meta freed = Meta::free(static_cast<std::uint16_t>(h.generation + 1));
    hot.meta.store(freed.word(), std::memory_order_release);
    pool.give(w, h.index);
}

void Conntrack::Impl::give_back(WorkerId w, std::uint32_t i, std::uint8_t lease,
                                Nanos now) const noexcept {
    EntryCopy e;
    if (!read(i, e, [](Meta) { return true; })) return;
    release.call(release.self, w, lease, e.original, e.reply, now);
}

bool Conntrack::Impl::end(WorkerId w, ConnHandle h, End why, bool assured_too, Nanos now) noexcept {
    if (!claim(h, assured_too)) return false;
    finish(w, h, why, now);
    return true;
}

bool Conntrack::Impl::make_room(WorkerId w, std::uint64_t h, Newcomer& who, Nanos now) noexcept {
    switch (settings.overflow) {
        case Overflow::EmbryonicOldest:
            return evict_embryonic(w, who, now);
        case Overflow::ClosingFirst:
            return evict_closing(w, who, now) || evict_embryonic(w, who, now);
        case Overflow::Linux:
            return evict_as_linux(w, h, who, now);
        case Overflow::Drop:
        case Overflow::Untracked:
        case Overflow::Reject:
            break;
    }
    return false;
}

void Conntrack::Impl::load_entries(WorkerId w, Family family) noexcept {
    if (pool.cached(w) % kEntriesAtOnce != 0) return;
    std::array<std::uint32_t, kEntriesAtOnce> next;
    for (std::uint32_t k = 0; k < kEntriesAtOnce; ++k) {
        next[k] = pool.peek(w, kEntriesAhead + k);
        if (next[k] == Pool::kNone) return;
    }
    for (const std::uint32_t i : next) prefetch_write(&pool.hot(i));
    for (const std::uint32_t i : next) {
        prefetch_entry(i);
        if (family == Family::Ipv6) prefetch_write(&pool.addrs6(i));
    }
}

std::uint32_t Conntrack::Impl::allocate(WorkerId w, Packet& p, Nanos now) noexcept {
    if (has_exceptions) [[unlikely]] {
        const std::uint32_t i = allocate_scarce(w, p, now);
        if (i != Pool::kNone) load_entries(w, p.tuple.family);
        return i;
    }
    if (oldest_goes()) {
        Worker& me = *workers[w];
        recount_if_due(me);
        if (me.over_budget) evict_oldest(w, now);
    }
    const std::uint32_t i = take(w);
    if (i == Pool::kNone) [[unlikely]]
        return allocate_scarce(w, p, now);
    load_entries(w, p.tuple.family);
    return i;
}

bool Conntrack::Impl::allocate_for_spare(WorkerId w, Packet& p, Nanos now) noexcept {
    const std::uint32_t i = allocate(w, p, now);
    if (i == Pool::kNone) [[unlikely]]
        return false;
    workers[w]->spare = i;
    return true;
}

std::uint32_t Conntrack::Impl::allocate_scarce(WorkerId w, Packet& p, Nanos now) noexcept {
    Worker& me = *workers[w];
    Newcomer who;
    std::uint32_t i = Pool::kNone;
    bool may_take = true;
    if (has_exceptions) {
        p.drop = introduce(p, who, now);
        if (!p.alive()) return Pool::kNone;
        recount_if_due(me);
        may_take = may_take_free(me, who);
        const bool relieved = oldest_goes() && me.over_budget && evict_embryonic(w, who, now);
        if (relieved || may_take) i = take(w);
    }
    if (i == Pool::kNone) {
        const bool kept_free = !may_take && me.in_use < settings.max;
        who.refusal = kept_free ? Drop::CtReserved : Drop::CtTableFull;
        bool made = make_room(w, p.hash, who, now);
        if (!made) {
            // What has expired must not count against the limit.
            sweep(w, kSweepInNeed, now);
            recount(me);
            may_take = may_take_free(me, who);
        }
        if (may_take || made) i = take(w);
        // In a small table another worker may be faster to take what this one has freed.
        for (int tries = 0; i == Pool::kNone && made && tries < kRoomTries; ++tries) {
            made = make_room(w, p.hash, who, now);
            if (made) i = take(w);
        }
    }
    if (i == Pool::kNone) {
        const bool kept = who.refusal == Drop::CtTableFull && kept_any(me);
        p.drop = kept ? Drop::CtMappingKept : who.refusal;
    } else if (keeps_accounts) {
        book_in(me, who);
    }
    return i;
}

Conntrack::Opening Conntrack::Impl::turn_away(Worker& me, Packet& p) noexcept {
    if (p.drop == Drop::CtSourceEntries || p.drop == Drop::CtSourceRate) {
        me.counters.limited.add();
        return Opening::Refused;
    }
    if (settings.overflow == Overflow::Untracked) {
        me.counters.untracked.add();
        p.drop = Drop::None;
        p.state = CtState::Untracked;
        p.no_room = true;
        return Opening::Untracked;
    }
    me.counters.drop.add();
    me.counters.table_full_log.add();
    if (settings.overflow != Overflow::Reject) return Opening::Refused;
    if (p.drop == Drop::CtTableFull) p.drop = Drop::CtTableReject;
    return Opening::Rejected;
}

// By the deadlines, entry after entry as they stand in memory, and not by the ages in the index. A
// deadline moves with each packet; an age remains that of the insertion, and comes round every 64
// s: an old one does not say that its entry has expired, nor a young one that it has not. Whoever
// went by the index would look at most entries all the same, and find each of them somewhere else.
void Conntrack::Impl::sweep(WorkerId w, std::uint32_t n, Nanos now) noexcept {
    Worker& me = *workers[w];
    const Ticks ticks = to_ticks(now);
    const std::uint32_t indices = pool.indices();
    for (std::uint32_t k = 0; k < std::min(n, indices); ++k) {
        const std::uint32_t i = me.sweep_at;
        me.sweep_at = i + 1 == indices ? 0 : i + 1;
        Atomic<std::uint64_t>& meta = pool.hot(i).meta;
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
    const std::uint32_t indices = d.pool.indices();
    if (me.sweep_time == 0) {  // the first turn: spread the workers over the table
        me.sweep_time = now;
        me.sweep_at =
            static_cast<std::uint32_t>(std::uint64_t{indices} * w / d.worker_count) % indices;
    }
    d.trim_young(w);
    d.recount_if_old(me, now);
    const Nanos elapsed = now - me.sweep_time;
    const Nanos period = sweep_period(indices) * d.worker_count;
    const Nanos due = std::min<Nanos>(elapsed, period) * indices / period;
    if (due == 0) return;
    me.sweep_time = now;
    d.sweep(w, static_cast<std::uint32_t>(std::min<Nanos>(due, kSweepPerTurn)), now);
}

Nanos Conntrack::expire_among(WorkerId w, std::uint32_t first, std::uint32_t count,
                              Nanos now) noexcept {
    Impl& d = *impl_;
    const Ticks ticks = to_ticks(now);
    const std::uint32_t indices = d.pool.indices();
    const std::uint32_t stop = first + std::min(count, indices - std::min(indices, first));
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
