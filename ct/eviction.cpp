// SPDX-License-Identifier: BSD-3-Clause
//
// Who has to go: the oldest that is not assured, what has been closing longest, or whom Linux would
// take; and who is spared.
#include "ct/conntrack_impl.hpp"

#include <algorithm>
#include <array>
#include <bit>

namespace ct {

namespace {

// Stale records that one eviction may step over. Each was left by one promotion or one end and is
// stepped over once, and trim_young() has mostly done so before.
constexpr int kEvictTries = 1024;
// Stale records that a turn drops: more than the records that a turn adds, or those of a mass
// expiry would still be there when the table is full again.
constexpr int kStaleATurn = 128;
constexpr int kStaleTogether = 32;
constexpr unsigned kLinuxRange = 8;  // NF_CT_EVICTION_RANGE, semantics.md 2.4
constexpr int kSparedTries = 16;     // reserved victims that one eviction may step over
constexpr int kElsewhereTries = 16;  // records of another worker that one eviction may look at

}  // namespace

bool Conntrack::Impl::is_candidate(const YoungRecord& r, Prey kind) const noexcept {
    const HotLine& hot = pool.hot(r.index);
    const Meta m{hot.meta.load(std::memory_order_acquire)};
    if (!m.is_linked_as(r.generation)) return false;
    return kind == Prey::Embryonic ? !m.assured() : proto::is_closing(protocol_of(hot), m.state());
}

// Promoted and ended entries leave stale records, which only go when they come to the head. If a
// long-lived entry keeps them from it until they fill most of the room that is theirs, each push
// turns a few of the oldest over: stale ones go, live ones start again at the end.
void Conntrack::Impl::turn_over(YoungRing& ring, Prey kind, Ticks now) noexcept {
    std::array<YoungRecord, 4> oldest;
    const std::size_t n = ring.pop(oldest);
    for (std::size_t k = 0; k < n; ++k) {
        const Meta m{pool.hot(oldest[k].index).meta.load(std::memory_order_acquire)};
        if (!m.expired(now) && is_candidate(oldest[k], kind)) ring.push(oldest[k]);
    }
}

void Conntrack::Impl::note_closing(Worker& me, ConnHandle h, Meta before, Meta after,
                                   Ticks now) noexcept {
    if (settings.overflow != Overflow::ClosingFirst) return;
    const HotLine& hot = pool.hot(h.index);
    const std::uint8_t protocol = protocol_of(hot);
    if (proto::is_closing(protocol, before.state()) || !proto::is_closing(protocol, after.state()))
        return;
    if (is_kept(hot.fixed.load(std::memory_order_acquire))) return;
    if (me.closing.crowded()) [[unlikely]]
        turn_over(me.closing, Prey::Closing, now);
    // As in the other ring, what finds no room only cannot be evicted.
    me.closing.push({.index = h.index,
                     .original_bucket = hot.original_bucket.load(std::memory_order_acquire),
                     .reply_bucket = hot.reply_bucket.load(std::memory_order_acquire),
                     .generation = h.generation});
}

void Conntrack::Impl::count_kept(Worker& me, std::uint8_t fixed_bits, std::uint8_t protocol,
                                 Meta before, Meta after) const noexcept {
    if (!is_kept(fixed_bits)) return;
    const int more = int{proto::is_closing(protocol, after.state())} -
                     int{proto::is_closing(protocol, before.state())};
    if (more == 0) return;
    me.closing_kept.store(me.closing_kept.load(std::memory_order_relaxed) + more,
                          std::memory_order_relaxed);
}

// Those that are kept stand in no ring, so that an eviction never meets them.
bool Conntrack::Impl::kept_any(const Worker& me) const noexcept {
    if (!room.never_delete_mappings || !oldest_goes()) return false;
    return me.embryonic_sum > 0 || (settings.overflow == Overflow::ClosingFirst && me.kept_sum > 0);
}

bool Conntrack::Impl::stash_victims(Worker& me, YoungRing& from) noexcept {
    if (from.size() == 0) return false;
    std::array<YoungRecord, kVictims / 2> oldest;
    const std::uint32_t space = kVictims - (me.victim_end - me.victim_next);
    const std::size_t n = from.pop({oldest.data(), std::min<std::size_t>(victims_at_once, space)});
    for (std::size_t k = 0; k < n; ++k) me.victims[me.victim_end++ % kVictims] = oldest[k];
    return n != 0;
}

void Conntrack::Impl::load_victim(Worker& me) noexcept {
    if (static_cast<std::int32_t>(me.victim_loaded - me.victim_next) < 0)
        me.victim_loaded = me.victim_next;  // some were passed over
    if (me.victim_loaded - me.victim_next > kVictimsAhead) return;
    if (me.victim_end - me.victim_loaded < kVictimsAtOnce && victims_at_once > 1)
        stash_victims(me, me.young);
    if (me.victim_end - me.victim_loaded < kVictimsAtOnce) return;
    const auto each = [&](const auto& load) {
        for (std::uint32_t k = 0; k < kVictimsAtOnce; ++k)
            load(me.victims[(me.victim_loaded + k) % kVictims]);
    };
    each([&](const YoungRecord& r) {
        prefetch_write(&index.bucket(r.original_bucket));
        prefetch_write(&pool.hot(r.index));
    });
    each([&](const YoungRecord& r) {
        if (r.reply_bucket != r.original_bucket) prefetch_write(&index.bucket(r.reply_bucket));
        prefetch_entry(r.index);
        // The newcomer's will stand there too: under a flood, both are of one family.
        if (r.ipv6) prefetch_write(&pool.addrs6(r.index));
    });
    me.victim_loaded += kVictimsAtOnce;
}

void Conntrack::Impl::trim_young(WorkerId w) noexcept {
    Worker& me = *workers[w];
    for (; me.victim_next != me.victim_end; ++me.victim_next)
        if (is_candidate(me.victims[me.victim_next % kVictims], Prey::Embryonic)) return;
    YoungRecord oldest;
    const auto is_stale = [this](const YoungRecord& r) {
        return !is_candidate(r, Prey::Embryonic);
    };
    const auto drop_one = [&] { return me.young.size() != 0 && me.young.pop_if(oldest, is_stale); };
    if (!drop_one()) return;
    // Stale records come in crowds. Their entries lie anywhere: they are loaded together.
    std::array<YoungRecord, kStaleTogether> next;
    for (int done = 0; done < kStaleATurn; done += kStaleTogether) {
        const std::size_t n = me.young.peek(next);
        for (std::size_t k = 0; k < n; ++k) prefetch(&pool.hot(next[k].index));
        for (std::size_t k = 0; k < n; ++k)
            if (!drop_one()) return;
        if (n < next.size()) return;
    }
}

Conntrack::Impl::Judgement Conntrack::Impl::judge(const Reservations* kept, ConnHandle victim,
                                                  Newcomer& who, Nanos now) const noexcept {
    const HotLine& hot = pool.hot(victim.index);
    const Meta m{hot.meta.load(std::memory_order_acquire)};
    if (!m.is_linked_as(victim.generation)) return Judgement::Gone;
    if (is_kept(hot.fixed.load(std::memory_order_acquire))) {
        who.refusal = Drop::CtMappingKept;
        return Judgement::Mapped;
    }
    const Ticks born = hot.born.load(std::memory_order_acquire);
    const std::int32_t age = ticks_between(born, to_ticks(now));  // below 0: `now` is a while ago
    if (!m.assured() && age < std::int32_t(room.min_life * kTicksPerSecond)) {
        who.refusal = Drop::CtMinLife;
        return Judgement::Young;
    }
    if (kept != nullptr) {
        const Tuple source = source_of(victim.index);
        const int r = reservation_of(source.family, source.src);
        if (r != Newcomer::kNoReservation && r != who.reservation &&
            kept->in_use[static_cast<std::size_t>(r)] <=
                room.reserve[static_cast<std::size_t>(r)].entries) {
            who.refusal = Drop::CtReserved;
            return Judgement::Spared;
        }
    }
    return Judgement::Yes;
}

bool Conntrack::Impl::fetch_victims(WorkerId w) noexcept {
    Worker& me = *workers[w];
    if (stash_victims(me, me.young)) return true;
    // In want: whoever has candidates can spare some.
    for (WorkerId other = 0; other <= worker_count; ++other)
        if (other != w && stash_victims(me, workers[other]->young)) return true;
    return false;
}

bool Conntrack::Impl::evict_oldest(WorkerId w, Nanos now) noexcept {
    Worker& me = *workers[w];
    for (int tries = 0; tries < kEvictTries && any_victim(w); ++tries) {
        const ConnHandle victim = me.victims[me.victim_next++ % kVictims].conn();
        load_victim(me);
        if (end(w, victim, End::Evicted, false, now)) return true;
    }
    return false;
}

bool Conntrack::Impl::evict_oldest_but_spared(WorkerId w, Newcomer& who, Nanos now) noexcept {
    Worker& me = *workers[w];
    int spared = 0;
    for (int tries = 0; tries < kEvictTries && any_victim(w); ++tries) {
        const YoungRecord oldest = me.victims[me.victim_next % kVictims];
        const Judgement j = judge(me, oldest.conn(), who, now);
        // Whatever stands behind it is younger still.
        if (j == Judgement::Young) return evict_elsewhere(w, who, now);
        ++me.victim_next;
        load_victim(me);
        if (j == Judgement::Spared) {
            me.young.push(oldest);
            if (++spared == kSparedTries) return false;
        }
        if (j == Judgement::Yes && end(w, oldest.conn(), End::Evicted, false, now)) return true;
    }
    return false;
}

/// The worker's own oldest are too young: another's may not be.
bool Conntrack::Impl::evict_elsewhere(WorkerId w, Newcomer& who, Nanos now) noexcept {
    const Worker& me = *workers[w];
    for (WorkerId other = 0; other <= worker_count; ++other) {
        if (other == w) continue;
        for (int tries = 0; tries < kElsewhereTries; ++tries) {
            YoungRecord oldest;
            Judgement j = Judgement::Gone;
            const auto wanted = [&](const YoungRecord& r) {
                j = judge(me, r.conn(), who, now);
                return j != Judgement::Young && j != Judgement::Spared;
            };
            if (!workers[other]->young.pop_if(oldest, wanted)) break;
            if (j == Judgement::Yes && end(w, oldest.conn(), End::Evicted, false, now)) return true;
        }
    }
    return false;
}

bool Conntrack::Impl::claim_closing(ConnHandle h) noexcept {
    HotLine& hot = pool.hot(h.index);
    std::uint64_t word = hot.meta.load(std::memory_order_acquire);
    for (;;) {
        Meta m{word};
        if (!m.is_linked_as(h.generation)) return false;
        if (!proto::is_closing(protocol_of(hot), m.state())) return false;
        m.set_life(life::kDying);
        if (hot.meta.compare_exchange_weak(word, m.word(), std::memory_order_seq_cst,
                                           std::memory_order_acquire))
            return true;
    }
}

// Entries that are closing stand in rings of their own, in the order in which they began to. Like
// a young entry's, a record is not taken out when its entry ends: it is found stale, once.
bool Conntrack::Impl::evict_closing(WorkerId w, Newcomer& who, Nanos now) noexcept {
    Worker& me = *workers[w];
    YoungRecord oldest;
    const auto next_candidate = [&] {
        if (me.closing.pop({&oldest, 1}) != 0) return true;
        for (WorkerId other = 0; other <= worker_count; ++other)
            if (other != w && workers[other]->closing.pop({&oldest, 1}) != 0) return true;
        return false;
    };
    int spared = 0;
    for (int tries = 0; tries < kEvictTries && next_candidate(); ++tries) {
        if (!is_candidate(oldest, Prey::Closing)) continue;
        if (spares_some) [[unlikely]] {
            const Judgement j = judge(me, oldest.conn(), who, now);
            if (j == Judgement::Young || j == Judgement::Spared) {
                me.closing.push(oldest);
                if (++spared == kSparedTries) return false;
            }
            if (j != Judgement::Yes) continue;
        }
        if (!claim_closing(oldest.conn())) continue;
        finish(w, oldest.conn(), End::Evicted, now);
        return true;
    }
    return false;
}

bool Conntrack::Impl::evict_in_bucket(WorkerId w, std::uint32_t bucket, Nanos now) noexcept {
    if (!oldest_goes()) return false;
    const auto age_now = static_cast<std::uint8_t>(to_ticks(now) / (kTicksPerSecond / 4));
    Newcomer who;
    ConnHandle oldest;
    int oldest_age = -1;
    index.visit(bucket, [&](std::uint16_t, Ref r, bool assured, std::uint8_t born) {
        const int age = static_cast<std::uint8_t>(age_now - born);
        if (assured || age <= oldest_age) return;
        const Meta m{pool.hot(r.index()).meta.load(std::memory_order_acquire)};
        if (m.life() != life::kLinked || !r.may_be(m.generation()) || m.assured()) return;
        const ConnHandle victim{r.index(), m.generation()};
        if (spares_some && judge(*workers[w], victim, who, now) != Judgement::Yes) return;
        oldest = victim;
        oldest_age = age;
    });
    return oldest.valid() && end(w, oldest, End::Evicted, false, now);
}

// Linux looks at eight buckets from the newcomer's on, and takes every entry that is not assured
// from the first bucket that has one. There an entry stands in two of B buckets; here one that is
// not NATed stands in one slot. Over B/2 buckets the density, and so the chance of a victim and the
// number of victims, is the same (semantics.md 2.4). Such a bucket is a range of the hash, and the
// tag continues the bucket's number: which slots lie in it is seen without touching an entry.
bool Conntrack::Impl::evict_as_linux(WorkerId w, std::uint64_t h, Newcomer& who,
                                     Nanos now) noexcept {
    const std::uint32_t wanted = settings.buckets != 0 ? settings.buckets : settings.max;
    const unsigned physical = std::min(index.log2_buckets(), Ref::kIndexBits);
    const unsigned linux_bits = std::bit_width(wanted - 1);
    const unsigned bits = std::min(std::max(2U, linux_bits) - 1, physical + 16);
    const std::uint64_t mask = (std::uint64_t{1} << bits) - 1;

    for (unsigned k = 0; k < kLinuxRange; ++k) {
        const std::uint64_t virtual_bucket = ((h >> (64 - bits)) + k) & mask;
        const bool finer = bits >= physical;  // several virtual buckets in a physical one
        const unsigned finer_by = bits - std::min(bits, physical);
        const unsigned coarser_by = physical - std::min(bits, physical);
        const std::uint64_t first = virtual_bucket >> finer_by << coarser_by;
        const std::uint64_t count = std::uint64_t{1} << coarser_by;
        bool any = false;
        for (std::uint64_t b = first; b < first + count; ++b) {
            std::array<ConnHandle, Bucket::kSlots*(Index::kMaxChain + 1)> victims;
            std::size_t n = 0;
            index.visit(static_cast<std::uint32_t>(b), [&](std::uint16_t tag, Ref r, bool assured,
                                                           std::uint8_t) {
                const std::uint64_t leading = b << 16 | tag;
                if (finer && leading >> (physical + 16 - bits) != virtual_bucket) return;
                if (assured || n == victims.size()) return;
                const Meta m{pool.hot(r.index()).meta.load(std::memory_order_acquire)};
                const ConnHandle victim{r.index(), m.generation()};
                if (!r.may_be(m.generation())) return;
                if (spares_some && judge(*workers[w], victim, who, now) != Judgement::Yes) return;
                victims[n++] = victim;
            });
            for (std::size_t v = 0; v < n; ++v) any |= end(w, victims[v], End::Evicted, false, now);
        }
        if (any) return true;
    }
    return false;
}

}  // namespace ct
