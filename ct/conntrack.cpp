// SPDX-License-Identifier: BSD-3-Clause
#include "ct/conntrack.hpp"

#include "ct/base/check.hpp"
#include "ct/conntrack_impl.hpp"
#include "ct/proto/tcp_window.hpp"

namespace ct {

namespace {

/// How often a bucket whose chain is full may be relieved of its oldest embryonic entry, and how
/// often a clash is looked at again, before a newcomer is refused.
constexpr int kConfirmTries = 8;

}  // namespace

std::uint8_t Conntrack::Impl::first_bits(const Packet& p) const noexcept {
    int bits = keeps_books() || p.track.any() ? fixed::kBooks : 0;
    if ((p.track.variant | p.track.still) != 0) bits |= fixed::kVariant;
    if (p.track.event_mask != 0xffff) bits |= fixed::kMasked;
    if (settings.acct) bits |= fixed::kCounts;
    return static_cast<std::uint8_t>(bits);
}

void Conntrack::Impl::write_entry(std::uint32_t i, Packet& p, Nanos now,
                                  const proto::Verdict* given) noexcept {
    HotLine& h = pool.hot(i);
    SideLines& s = pool.side(i);
    const std::uint16_t generation = Meta{h.meta.load(std::memory_order_relaxed)}.generation();
    // acct may be switched on between this and keeps_books(): what counts has books.
    std::uint8_t bits = first_bits(p);
    if ((bits & fixed::kCounts) != 0) bits |= fixed::kBooks;
    const bool books = (bits & fixed::kBooks) != 0;
    // Somebody who still looks at the entry's former life may hold the lock for a moment: see
    // lock_side().
    while (s.lock.load(std::memory_order_seq_cst) != 0) spin_pause();
    const proto::Verdict v =
        given != nullptr ? *given : proto::open(p, s, settings_of(p.track.variant));
    if (books) {
        s.packets[0] = 1;
        s.packets[1] = 0;
        s.bytes[0] = ip_bytes(p);
        s.bytes[1] = 0;
        s.start_ns = now;
        s.labels[0] = 0;
        s.labels[1] = 0;
        s.event_mask = p.track.event_mask;
        s.variant = p.track.variant;
        s.still = p.track.still;
        s.helper = p.track.helper;
        s.timestamp = settings.timestamp;
    }
    const Ticks ticks = to_ticks(now);
    store_tuple(i, p.tuple, Dir::Original);
    h.fixed.store(bits, std::memory_order_release);
    h.mark.store(0, std::memory_order_release);
    h.born.store(ticks, std::memory_order_release);
    Meta m = Meta::free(generation);
    m.set_life(life::kUnconfirmed);
    m.set_state(v.state);
    m.set_deadline(ticks + v.timeout_s * kTicksPerSecond);
    h.meta.store(m.word(), std::memory_order_release);
    p.conn = {i, generation};
}

void Conntrack::retrack(WorkerId w, Packet& p, Nanos now) noexcept {
    Impl& d = *impl_;
    if (!p.conn.valid() || !p.opened) return;
    const HotLine& h = d.pool.hot(p.conn.index);
    const SideLines& s = d.pool.side(p.conn.index);
    const bool had_books = (h.fixed.load(std::memory_order_relaxed) & fixed::kBooks) != 0;
    const auto labels = had_books ? s.labels : std::array<std::uint64_t, 2>{};
    d.write_entry(p.conn.index, p, now);
    if (had_books) d.pool.side(p.conn.index).labels = labels;
    const Impl::Worker& me = *d.workers[w];
    if (me.time_scale != Impl::kFullTime) [[unlikely]]
        d.shorten(me, p.conn.index, to_ticks(now));
}

bool Conntrack::make_room(WorkerId w, Packet& p, Nanos now) noexcept {
    Impl& d = *impl_;
    const Impl::Worker& me = *d.workers[w];
    if (!p.conn.valid() || p.conn.index != me.spare) return false;
    const std::uint64_t evicted = me.counters.early_drop.get();
    return d.allocate_for_spare(w, p, now) && me.counters.early_drop.get() != evicted;
}

void Conntrack::set_release(Release release) noexcept {
    impl_->release = release;
}

Conntrack::Opening Conntrack::open(WorkerId w, Packet& p, Nanos now) noexcept {
    Impl& d = *impl_;
    Impl::Worker& me = *d.workers[w];
    const auto invalid = [&] {
        // A later fragment is not judged: it has the fate of the first, which has left nothing.
        if (p.fragment != Fragment::Later) {
            (p.icmp_error ? me.counters.error : me.counters.invalid).add();
            d.note_invalid(me, p, 0);
        }
        p.state = CtState::Invalid;
        p.conn = {};
        return Opening::Invalid;
    };
    const std::uint16_t zone = p.tuple.zone;
    const std::uint64_t hash_in_zone = p.hash;
    // The burst may hold an earlier packet of the same new flow, or another worker was faster.
    if ((!d.still_absent(p) && d.lookup_one(me, p, to_ticks(now))) ||
        d.lookup_as_reply(me, p, to_ticks(now))) {
        if (!p.icmp_error) d.update_one(w, p, now);
        if (p.conn.valid()) return Opening::Found;
        if (p.state == CtState::Invalid) return Opening::Invalid;
        // What was found has ended: the packet opens anew, in the zone of its own direction.
        p.tuple.zone = zone;
        p.hash = hash_in_zone;
    }
    if (p.icmp_error || p.fragment == Fragment::Later ||
        !proto::admits(p, d.settings_of(p.track.variant)))
        return invalid();
    std::uint32_t i = me.spare;
    if constexpr (kChecks >= 1)
        check(Meta{d.pool.hot(i).meta.load(std::memory_order_relaxed)}.life() == life::kFree,
              "a worker opens one connection at a time");
    if (!d.oldest_goes()) {
        i = d.allocate(w, p, now);
        if (i == Pool::kNone) [[unlikely]]
            return d.turn_away(me, p);
    }

    p.original = p.tuple;
    p.reply = reply_of(p.tuple);
    if (p.track.split_zone) p.reply.zone = p.track.reply_zone;
    p.mirrored = false;
    p.dir = Dir::Original;
    p.state = CtState::New;
    p.status = 0;
    p.mark = 0;
    p.opened = true;
    d.write_entry(i, p, now);
    if (me.time_scale != Impl::kFullTime) [[unlikely]]
        d.shorten(me, i, to_ticks(now));
    return Opening::Opened;
}

bool Conntrack::Impl::find_holder(std::uint32_t bucket, std::uint16_t tag, const Tuple& t,
                                  Ticks now, std::uint32_t self, Holder& found) const noexcept {
    const TupleKey k = TupleKey::of(t);
    return index.scan(index.bucket(bucket), tag, [&](Ref r) {
        if (r.index() == self) return false;
        const Meta m{pool.hot(r.index()).meta.load(std::memory_order_acquire)};
        Dir dir;
        if (m.life() != life::kLinked || !r.may_be(m.generation()) || !match(r.index(), t, k, dir))
            return false;
        found = {{r.index(), m.generation()}, m.expired(now)};
        return true;
    });
}

/// Writes what is known only now: the reply tuple and where the entry will stand.
[[gnu::always_inline]] inline void Conntrack::Impl::complete_entry(const Packet& p,
                                                                   const Places& at,
                                                                   std::uint8_t bits) noexcept {
    HotLine& h = pool.hot(p.conn.index);
    store_tuple(p.conn.index, p.reply, Dir::Reply);
    const std::uint8_t first = h.fixed.load(std::memory_order_relaxed) & fixed::kFirst;
    h.fixed.store(static_cast<std::uint8_t>(first | bits), std::memory_order_release);
    h.original_bucket.store(at.b1, std::memory_order_release);
    h.reply_bucket.store(at.b2, std::memory_order_release);
    h.original_tag.store(at.t1, std::memory_order_release);
    h.reply_tag.store(at.t2, std::memory_order_release);
    h.mark.store(p.mark, std::memory_order_release);
    h.out_port.store(p.masquerade_port, std::memory_order_release);
    h.lease.store(p.lease, std::memory_order_release);
}

/// count_in() of one that may be evicted.
[[gnu::always_inline]] inline void Conntrack::Impl::enlist(Worker& me, const Packet& p,
                                                           const Places& at, Ticks ticks) noexcept {
    count_in(me);
    if (me.young.crowded()) [[unlikely]]
        turn_over(me.young, Prey::Embryonic, ticks);
    // A full ring only means that this entry cannot be evicted; it still expires.
    me.young.push({.index = p.conn.index,
                   .original_bucket = at.b1,
                   .reply_bucket = at.b2,
                   .generation = p.conn.generation,
                   .ipv6 = p.original.family == Family::Ipv6});
}

/// enlist(), unless it has a mapping and those are nobody's victims.
[[gnu::always_inline]] inline void Conntrack::Impl::enlist_unless_kept(Worker& me, const Packet& p,
                                                                       const Places& at,
                                                                       std::uint8_t fixed_bits,
                                                                       Ticks ticks) noexcept {
    if (is_kept(fixed_bits)) [[unlikely]]
        count_in(me);
    else
        enlist(me, p, at, ticks);
}

/// With both buckets of a newly linked entry locked.
inline void Conntrack::Impl::check_linked(const Packet& p, const Places& at,
                                          Ticks ticks) const noexcept {
    Holder under_original;
    Holder under_reply;
    const bool both = find_holder(at.b1, at.t1, p.original, ticks, Pool::kNone, under_original) &&
                      find_holder(at.b2, at.t2, p.reply, ticks, Pool::kNone, under_reply);
    // Another thread may have claimed it already; then it waits for these locks.
    const Meta after{pool.hot(p.conn.index).meta.load(std::memory_order_acquire)};
    check(after.life() == life::kDying ||
              (both && under_original.conn == p.conn && under_reply.conn == p.conn &&
               hash(key, p.reply) == reply_hash(p)),
          "I3: both tuples of a linked entry are its own");
}

[[gnu::always_inline]] inline std::uint64_t Conntrack::Impl::reply_hash(
    const Packet& p) const noexcept {
    // A key alone does not tell two IPv6 tuples apart.
    const bool known = p.reply.family == Family::Ipv4 && TupleKey::of(p.reply) == p.expected_reply;
    return known ? p.expected_hash : hash(key, p.reply);
}

/// What link() comes to for nearly all: nothing in the original tuple's bucket has changed since
/// lookup() found that nobody has that tuple (its lock is had only in that case), there is room,
/// and nobody has the reply tuple; where that is the mirror image, it is known already. False:
/// nothing has been done that link() would not do again.
template <bool kMirror>
[[gnu::always_inline]] inline bool Conntrack::Impl::link_absent(WorkerId w, Packet& p,
                                                                Nanos now) noexcept {
    const Ticks ticks = to_ticks(now);
    const Places at = places_of(p.hash, kMirror ? p.hash : reply_hash(p));
    const std::uint8_t bits = kMirror ? fixed::kMirror : nat_bits(p.original, p.reply);
    complete_entry(p, at, bits);
    const bool locked = kMirror ? index.try_lock(at.b1, p.absent_seq)
                                : index.try_lock_pair(at.b1, p.absent_seq, at.b2);
    if (!locked) return false;
    const auto unlock = [&] {
        if constexpr (kMirror)
            index.unlock(at.b1);
        else
            index.unlock_pair(at.b1, at.b2);
    };
    const bool taken = !kMirror && index.may_hold(at.b2, at.t2);
    const Slot s1 = taken ? Slot{} : index.reserve(at.b1);
    const Slot s2 = kMirror || !s1.valid() ? s1 : index.reserve(at.b2, s1);
    if (!s2.valid()) {
        unlock();
        return false;
    }
    HotLine& h = pool.hot(p.conn.index);
    Meta m{h.meta.load(std::memory_order_relaxed)};
    m.set_life(life::kLinked);
    h.meta.store(m.word(), std::memory_order_release);
    const Ref ref = Ref::make(p.conn.index, m.generation());
    Index::store(s1, at.t1, ref, age_of(ticks));
    if constexpr (!kMirror) Index::store(s2, at.t2, ref, age_of(ticks));
    tell_linked(w, p, cause::kNew, now);
    if constexpr (kChecks >= 2) check_linked(p, at, ticks);
    unlock();
    p.status = status_of(m, bits);
    enlist_unless_kept(*workers[w], p, at, bits, ticks);
    return true;
}

Conntrack::Confirmation Conntrack::confirm(WorkerId w, Packet& p, Nanos now) noexcept {
    Impl& d = *impl_;
    Impl::Worker& me = *d.workers[w];
    if (p.conn.index == me.spare && !d.allocate_for_spare(w, p, now)) [[unlikely]] {
        d.abandon(w, p, now);
        static_cast<void>(d.turn_away(me, p));
        // The policy may have been changed since open(), to one that would have spoken then.
        if (p.alive()) p.drop = Drop::CtTableFull;
        return Confirmation::Refused;
    }
    const Tuple& o = p.original;
    const Tuple& r = p.reply;
    bool mirror = r.src == o.dst && r.dst == o.src && r.zone == o.zone;
    if (mirror) [[likely]]
        mirror = is_icmp(o.proto) ? r == reply_of(o) : r.sport == o.dport && r.dport == o.sport;
    if (p.absent) [[likely]] {
        const bool linked =
            mirror ? d.link_absent<true>(w, p, now) : d.link_absent<false>(w, p, now);
        if (linked) [[likely]]
            return Confirmation::Linked;
    }
    return d.link(w, p, now);
}

/// confirm() in full.
Conntrack::Confirmation Conntrack::Impl::link(WorkerId w, Packet& p, Nanos now) noexcept {
    Worker& me = *workers[w];
    const Ticks ticks = to_ticks(now);
    const bool mirror = p.reply == reply_of(p.original);
    const Places at = places_of(p.hash, mirror ? p.hash : reply_hash(p));
    const std::uint8_t bits = mirror ? fixed::kMirror : nat_bits(p.original, p.reply);
    complete_entry(p, at, bits);

    for (int tries = 0; tries < kConfirmTries; ++tries) {
        const Attempt attempt = try_link(w, p, at, mirror, cause::kNew, now);
        switch (attempt.outcome) {
            case Attempt::Outcome::Linked:
                enlist_unless_kept(me, p, at, bits, ticks);
                return Confirmation::Linked;
            case Attempt::Outcome::ReplyTaken:
                me.counters.found.add();
                return Confirmation::ReplyTaken;
            case Attempt::Outcome::Expired:
                end(w, attempt.holder, End::Expired, true, now);
                break;
            case Attempt::Outcome::Lost:
                if (const auto done = resolve_clash(w, p, at, attempt.holder, now)) return *done;
                break;  // gone again
            case Attempt::Outcome::Full:
                me.counters.chaintoolong.add();
                if (!evict_in_bucket(w, attempt.full_bucket, now)) tries = kConfirmTries;
                break;
        }
    }
    abandon(w, p, now);
    me.counters.insert_failed.add();
    p.drop = Drop::CtBucketFull;
    return Confirmation::Refused;
}

/// One attempt to put p's entry into both of its places.
Attempt Conntrack::Impl::try_link(WorkerId w, Packet& p, const Places& at, bool mirror,
                                  std::uint16_t causes, Nanos now) noexcept {
    using enum Attempt::Outcome;
    const Ticks ticks = to_ticks(now);
    const std::uint32_t i = p.conn.index;
    index.lock_pair(at.b1, at.b2);
    const auto leave = [&](Attempt a) {
        index.unlock_pair(at.b1, at.b2);
        return a;
    };
    Holder other;
    if (find_holder(at.b1, at.t1, p.original, ticks, i, other))
        return leave({other.expired ? Expired : Lost, other.conn});
    if (find_holder(at.b2, at.t2, p.reply, ticks, i, other))
        return leave({other.expired ? Expired : ReplyTaken, other.conn});
    const Slot s1 = index.reserve(at.b1);
    if (!s1.valid()) return leave({Full, {}, at.b1});
    const Slot s2 = mirror ? Slot{} : index.reserve(at.b2, s1);
    if (!mirror && !s2.valid()) return leave({Full, {}, at.b2});

    HotLine& h = pool.hot(i);
    Meta m{h.meta.load(std::memory_order_relaxed)};
    m.set_life(life::kLinked);
    h.meta.store(m.word(), std::memory_order_release);
    const Ref ref = Ref::make(i, m.generation());
    Index::store(s1, at.t1, ref, age_of(ticks));
    if (!mirror) Index::store(s2, at.t2, ref, age_of(ticks));
    tell_linked(w, p, causes, now);
    p.status = status_of(m, h.fixed.load(std::memory_order_relaxed));
    if constexpr (kChecks >= 2) check_linked(p, at, ticks);
    return leave({Linked, p.conn});
}

void Conntrack::abandon(WorkerId w, Packet& p, Nanos now) noexcept {
    impl_->abandon(w, p, now);
}

void Conntrack::Impl::abandon(WorkerId w, Packet& p, Nanos now) noexcept {
    if (wants_back(p.lease)) release.call(release.self, w, p.lease, p.original, p.reply, now);
    p.lease = 0;
    if (!p.conn.valid() || !p.opened) return;
    HotLine& h = pool.hot(p.conn.index);
    const Meta m{h.meta.load(std::memory_order_relaxed)};
    if (m.generation() != p.conn.generation || m.life() != life::kUnconfirmed) return;
    const bool is_spare = p.conn.index == workers[w]->spare;
    if (keeps_accounts && !is_spare) book_out(*workers[w], p.conn.index);
    const Meta freed = Meta::free(static_cast<std::uint16_t>(m.generation() + 1));
    h.meta.store(freed.word(), std::memory_order_release);
    if (!is_spare) pool.give(w, p.conn.index);
    p.conn = {};
}

bool Conntrack::tuple_taken(WorkerId w, const Tuple& reply, ConnHandle except, Nanos now) noexcept {
    return lease_on(w, reply, except, now).has_value();
}

void Conntrack::expect_replies(std::span<Packet* const> packets) const noexcept {
    const Impl& d = *impl_;
    for (Packet* p : packets) {
        const std::uint64_t h = hash_ipv4(d.key, p->expected_reply);
        p->expected_hash = h;
        prefetch_write(&d.index.bucket(d.index.bucket_of(h)));
    }
}

void Conntrack::load_reply(const Tuple& reply) const noexcept {
    const Impl& d = *impl_;
    prefetch_write(&d.index.bucket(d.index.bucket_of(hash(d.key, reply))));
}

std::optional<std::uint8_t> Conntrack::lease_on(WorkerId w, const Tuple& reply, ConnHandle except,
                                                Nanos now) noexcept {
    Impl& d = *impl_;
    const std::uint64_t h = hash(d.key, reply);
    const Ticks ticks = to_ticks(now);
    const TupleKey k = TupleKey::of(reply);
    std::uint64_t restarts = 0;
    std::uint8_t lease = 0;
    const bool taken = d.index.find(d.index.bucket_of(h), d.index.tag_of(h), restarts, [&](Ref r) {
        if (r.index() == except.index) return false;
        Match m;
        if (!d.examine(r.index(), reply, k, ticks, m)) return false;
        const HotLine& hot = d.pool.hot(r.index());
        lease = hot.lease.load(std::memory_order_acquire);
        // Of the life that has the tuple, or else nobody has it any more.
        return Meta{hot.meta.load(std::memory_order_acquire)}.generation() == m.conn.generation;
    });
    if (!taken) return std::nullopt;
    d.workers[w]->counters.found.add();
    return lease;
}

bool Conntrack::end_closed(WorkerId w, const Tuple& reply, std::uint32_t seq_end,
                           Nanos now) noexcept {
    Impl& d = *impl_;
    Match m;
    std::uint64_t restarts = 0;
    if (d.room.never_delete_mappings || reply.proto != ipproto::kTcp ||
        !d.find(reply, hash(d.key, reply), to_ticks(now), m, restarts) || m.dir != Dir::Reply ||
        (m.status & status::kSrcNat) == 0 || !d.lock_side(m.conn))
        return false;
    const Meta meta{d.pool.hot(m.conn.index).meta.load(std::memory_order_acquire)};
    const auto state = static_cast<TcpState>(meta.state());
    const std::uint32_t sent = d.pool.side(m.conn.index).window[index_of(Dir::Original)].end;
    const bool goes = (state == TcpState::TimeWait || state == TcpState::Close) &&
                      !meta.fixed_timeout() && proto::tcp::after(seq_end, sent) &&
                      d.claim(m.conn, true);
    d.unlock_side(m.conn.index);
    if (goes) d.finish(w, m.conn, End::Deleted, now);
    return goes;
}

void Conntrack::set_mark(WorkerId w, Packet& p, std::uint32_t mark, Nanos now) noexcept {
    p.mark = mark;
    if (!p.conn.valid()) return;
    Impl& d = *impl_;
    HotLine& h = d.pool.hot(p.conn.index);
    const Meta m{h.meta.load(std::memory_order_acquire)};
    if (m.generation() != p.conn.generation) return;
    // The lock keeps the entry from being filled for another life, to which the mark would fall.
    if (h.mark.load(std::memory_order_acquire) == mark || !d.lock_life(p.conn)) return;
    const std::uint32_t was = h.mark.exchange(mark, std::memory_order_acq_rel);
    d.unlock_side(p.conn.index);
    if (was != mark && m.life() == life::kLinked && d.listening())
        d.emit(w, EventType::Update, cause::kMark, p.conn, now);
}

}  // namespace ct
