// SPDX-License-Identifier: BSD-3-Clause
#include "ct/conntrack.hpp"

#include "ct/base/check.hpp"
#include "ct/conntrack_impl.hpp"
#include "ct/proto/tcp_window.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace ct {

namespace {

/// How often a bucket whose chain is full may be relieved of its oldest embryonic entry, and how
/// often a clash is looked at again, before a newcomer is refused.
constexpr int kConfirmTries = 8;

/// The tuple under which the connection of an ICMP error is known: the answer to the packet inside.
Tuple sought_by_error(const Packet& p) noexcept {
    Tuple t = reply_of(p.inner);
    t.zone = p.tuple.zone;
    return t;
}

std::uint32_t ip_bytes(const Packet& p) noexcept {
    return p.end - p.l3_offset;
}

void account(SideLines& side, const Packet& p) noexcept {
    side.packets[index_of(p.dir)] += 1;
    side.bytes[index_of(p.dir)] += ip_bytes(p);
}

/// A deadline is moved only when it changes by this much: a flow's packets then mostly leave the
/// entry's first line unwritten and shared. A quarter of a second.
constexpr std::int32_t kRefreshTicks = kTicksPerSecond / 4;

/// True if packets of this direction do not refresh the time-out. Under the side lock.
bool stays_still(const SideLines& side, Dir dir) noexcept {
    return (side.still >> index_of(dir) & 1) != 0;
}

bool worth_storing(Meta m, Ticks deadline) noexcept {
    const std::int32_t change = ticks_between(m.deadline(), deadline);
    return change >= kRefreshTicks || change < 0;
}

}  // namespace

bool Conntrack::Impl::same_addrs6(std::uint32_t i, const Tuple& t, Dir dir) const noexcept {
    std::array<std::uint64_t, 4> want;
    std::memcpy(want.data(), &t, sizeof want);  // source and destination
    const std::size_t from = dir == Dir::Original ? 0 : 4;
    for (std::size_t w = 0; w < want.size(); ++w)
        if (pool.addrs6(i).words[from + w].load(std::memory_order_acquire) != want[w]) return false;
    return true;
}

[[gnu::always_inline]] inline bool Conntrack::Impl::match(std::uint32_t i, const Tuple& t,
                                                          TupleKey k, Dir& dir) const noexcept {
    const HotLine& h = pool.hot(i);
    // Which direction it is nobody can predict, so it must not be a branch.
    const std::uint64_t original = (h.original_addrs.load(std::memory_order_acquire) ^ k.addrs) |
                                   (h.original_rest.load(std::memory_order_acquire) ^ k.rest);
    const std::uint64_t reply = (h.reply_addrs.load(std::memory_order_acquire) ^ k.addrs) |
                                (h.reply_rest.load(std::memory_order_acquire) ^ k.rest);
    if (std::min(original, reply) != 0) return false;
    dir = static_cast<Dir>(original != 0);
    if (t.family != Family::Ipv6) [[likely]]
        return true;
    if (same_addrs6(i, t, dir)) return true;
    dir = Dir::Reply;
    return reply == 0 && same_addrs6(i, t, dir);
}

[[gnu::always_inline]] inline bool Conntrack::Impl::examine(std::uint32_t i, const Tuple& t,
                                                            TupleKey k, Ticks now,
                                                            Match& out) const noexcept {
    const HotLine& h = pool.hot(i);
    const Meta m{h.meta.load(std::memory_order_acquire)};
    if (m.life() != life::kLinked || m.expired(now)) return false;
    if (!match(i, t, k, out.dir)) return false;
    out.fixed_bits = h.fixed.load(std::memory_order_acquire);
    out.mark = h.mark.load(std::memory_order_acquire);
    // What was read in between is of this life only if it still goes on.
    if (!m.same_life(Meta{h.meta.load(std::memory_order_acquire)})) return false;
    out.conn = {i, m.generation()};
    out.status = status_of(m, out.fixed_bits);
    return true;
}

bool Conntrack::Impl::find(const Tuple& t, std::uint64_t h, Ticks now, Match& out,
                           std::uint64_t& restarts) const noexcept {
    const TupleKey k = TupleKey::of(t);
    return index.find(index.bucket_of(h), index.tag_of(h), restarts,
                      [&](Ref r) { return examine(r.index(), t, k, now, out); });
}

[[gnu::always_inline]] inline bool Conntrack::Impl::adopt(Worker& w, Packet& p,
                                                          const Match& m) const noexcept {
    p.mirrored = (m.fixed_bits & fixed::kMirror) != 0 && !p.icmp_error;
    if (!p.mirrored) {
        const auto same_life = [&] {
            const Meta x{pool.hot(m.conn.index).meta.load(std::memory_order_acquire)};
            return x.life() == life::kLinked && x.generation() == m.conn.generation;
        };
        if (!same_life()) return false;
        read_tuples(m.conn.index, p.original, p.reply);
        if (!same_life()) return false;
    }
    p.conn = m.conn;
    p.dir = m.dir;
    p.status = m.status;
    p.mark = m.mark;
    if (!p.icmp_error) [[likely]]
        return true;
    // The error concerns the sender of the packet inside; addressed to anybody else it is forged
    // (semantics.md 2.8).
    const bool addressed_well = p.tuple.dst == p.inner.src;
    p.state = addressed_well ? CtState::Related : CtState::Invalid;
    if (addressed_well) return true;
    w.counters.error.add();
    p.conn = {};
    return true;
}

bool Conntrack::Impl::lookup_one(Worker& w, Packet& p, Ticks now) noexcept {
    Match m;
    std::uint64_t restarts = 0;
    const Tuple t = p.icmp_error ? sought_by_error(p) : p.tuple;
    const bool found = find(t, p.hash, now, m, restarts) && adopt(w, p, m);
    if (restarts != 0) w.counters.search_restart.add(restarts);
    return found;
}

void Conntrack::Impl::prefetch_entry(std::uint32_t i) const noexcept {
    prefetch_write(&pool.hot(i));
    prefetch_write(&pool.side(i));
    if (keeps_books()) prefetch_write(pool.side(i).books());
}

[[gnu::always_inline]] inline void Conntrack::Impl::prefetch_side(const Packet& p) const noexcept {
    const SideLines& side = pool.side(p.conn.index);
    if (proto::needs_side(p.tuple.proto) || settings.acct) prefetch_write(&side);
    if (settings.acct) prefetch_write(side.books());
}

void Conntrack::lookup(WorkerId w, std::span<Packet> packets, Nanos now) noexcept {
    for (; packets.size() > Impl::kMaxBurst; packets = packets.subspan(Impl::kMaxBurst))
        impl_->lookup_burst(w, packets.first(Impl::kMaxBurst), now);
    impl_->lookup_burst(w, packets, now);
}

/// A packet whose transport header is not sound belongs to no connection; but if it claims to be of
/// one that is translated, it must not leave as it is, so its status is noted.
[[gnu::cold]] void Conntrack::Impl::judge_faulty(Worker& me, Packet& p, Ticks ticks) noexcept {
    (is_icmp(p.tuple.proto) ? me.counters.error : me.counters.invalid).add();
    note_invalid(me, p, 0);
    Match m;
    std::uint64_t restarts = 0;
    if (find(p.tuple, hash(key, p.tuple), ticks, m, restarts)) p.status = m.status;
    if (restarts != 0) me.counters.search_restart.add(restarts);
}

/// One loop in which three steps run at a distance: while a packet is hashed, the bucket of the one
/// kAhead before it has come and tells the entry to load, and the entry of the one kAhead before
/// that has come and can be examined. So each load has the time of some packets to arrive, and no
/// more are under way than a core has line fill buffers for (16 to 24).
void Conntrack::Impl::lookup_burst(WorkerId w, std::span<Packet> packets, Nanos now) noexcept {
    constexpr std::uint32_t kAhead = 8;
    Worker& me = *workers[w];
    const Ticks ticks = to_ticks(now);
    struct Sought {
        Packet* packet;
        const Bucket* bucket;
        std::uint32_t candidate;  ///< entry
    };
    std::array<Sought, kMaxBurst> wanted;
    std::uint32_t n = 0;

    for (Packet& p : packets) {
        if (p.never_tracked && p.state == CtState::None) p.state = CtState::Untracked;
        if (!p.alive() || p.tuple.family == Family::None || p.conn.valid()) continue;
        if (p.state != CtState::None) {
            if (p.state == CtState::Invalid) judge_faulty(me, p, ticks);
            continue;
        }
        wanted[n++].packet = &p;
    }
    for (std::uint32_t k = 0; k < n + 2 * kAhead; ++k) {
        // Each is asked for twice: a core drops a hint now and then (5 of 66 ns, bench/table_hits).
        if (const std::uint32_t again = k - kAhead / 2; again < n)
            prefetch_write(wanted[again].bucket);
        if (const std::uint32_t again = k - kAhead - kAhead / 2; again < n)
            prefetch(&pool.hot(wanted[again].candidate));
        if (k < n) wanted[k].bucket = seek_bucket(*wanted[k].packet);
        if (const std::uint32_t second = k - kAhead; second < n)
            wanted[second].candidate = seek_entry(*wanted[second].bucket, *wanted[second].packet);
        if (const std::uint32_t third = k - 2 * kAhead; third < n && !wanted[third].packet->absent)
            seek_connection(me, *wanted[third].packet, wanted[third].candidate, ticks);
    }
}

/// Hashes the tuple and starts to load its bucket.
[[gnu::always_inline]] inline const Bucket* Conntrack::Impl::seek_bucket(Packet& p) noexcept {
    p.hash = p.icmp_error ? hash(key, sought_by_error(p)) : hash(key, p.tuple);
    const Bucket* b = &index.bucket(index.bucket_of(p.hash));
    prefetch_write(b);
    return b;
}

/// The first entry of bucket `b` that may hold p's tuple, and starts to load it; any, if the bucket
/// tells none.
[[gnu::always_inline]] inline std::uint32_t Conntrack::Impl::seek_entry(const Bucket& b,
                                                                        Packet& p) const noexcept {
    p.absent_seq = b.seq.load(std::memory_order_acquire);
    const unsigned hits = b.match(index.tag_of(p.hash));
    p.absent = hits == 0 && (p.absent_seq & 1) == 0 && b.next() == 0;
    if (hits == 0) return 0;
    const std::uint32_t i = b.ref(static_cast<unsigned>(std::countr_zero(hits))).index();
    prefetch(&pool.hot(i));
    if (p.tuple.family == Family::Ipv6) prefetch(&pool.addrs6(i));
    return i;
}

/// Gives p its connection, if it has one, and starts to load what update() writes.
[[gnu::always_inline]] inline void Conntrack::Impl::seek_connection(Worker& me, Packet& p,
                                                                    std::uint32_t candidate,
                                                                    Ticks ticks) noexcept {
    Match m;
    const bool found = !p.icmp_error &&
                       examine(candidate, p.tuple, TupleKey::of(p.tuple), ticks, m) &&
                       adopt(me, p, m);
    if (!found && !lookup_one(me, p, ticks)) return;
    if (p.conn.valid()) prefetch_side(p);
}

void Conntrack::Impl::promote(ConnHandle h, std::uint8_t fixed_bits) noexcept {
    const HotLine& hot = pool.hot(h.index);
    const Ref ref = Ref::make(h.index, h.generation);
    const auto mark_slot = [&](std::uint32_t bucket, std::uint16_t tag) {
        index.lock(bucket);
        index.set_assured(bucket, tag, ref);
        index.unlock(bucket);
    };
    // If the entry ended meanwhile, the slot no longer holds `ref` and nothing is marked.
    mark_slot(hot.original_bucket.load(std::memory_order_acquire),
              hot.original_tag.load(std::memory_order_acquire));
    if ((fixed_bits & fixed::kMirror) == 0)
        mark_slot(hot.reply_bucket.load(std::memory_order_acquire),
                  hot.reply_tag.load(std::memory_order_acquire));
}

void Conntrack::Impl::cut_deadline(ConnHandle h, Ticks limit) noexcept {
    Atomic<std::uint64_t>& meta = pool.hot(h.index).meta;
    std::uint64_t word = meta.load(std::memory_order_acquire);
    for (;;) {
        Meta m{word};
        if (m.generation() != h.generation || m.life() != life::kLinked || m.fixed_timeout())
            return;
        if (ticks_between(limit, m.deadline()) <= 0) return;
        m.set_deadline(limit);
        if (meta.compare_exchange_weak(word, m.word(), std::memory_order_acq_rel,
                                       std::memory_order_acquire))
            return;
    }
}

/// Data and acknowledgements of established TCP connections, which most packets are: what
/// update_one() comes to for them, and no more. False: nothing has been touched.
[[gnu::always_inline]] inline bool Conntrack::Impl::update_data(const Worker& me, Packet& p,
                                                                Ticks ticks) noexcept {
    if (p.tuple.proto != ipproto::kTcp) return false;
    const ConnHandle h = p.conn;
    HotLine& hot = pool.hot(h.index);
    SideLines& side = pool.side(h.index);
    const Meta wanted = Meta::established(h.generation);
    if (!Meta{hot.meta.load(std::memory_order_acquire)}.same_course(wanted)) return false;
    take_side(h.index);
    Meta m{hot.meta.load(std::memory_order_seq_cst)};
    std::uint32_t timeout_s = 0;
    const std::uint8_t fixed_bits = hot.fixed.load(std::memory_order_acquire);
    if (!m.same_course(wanted) ||
        !proto::tcp::update_data(p, side, settings_of(fixed_bits, side), timeout_s)) {
        unlock_side(h.index);
        return false;
    }
    if ((fixed_bits & fixed::kCounts) != 0) account(side, p);
    Ticks deadline = ticks + timeout_s * kTicksPerSecond;
    if ((fixed_bits & fixed::kVariant) != 0 && stays_still(side, p.dir)) [[unlikely]]
        deadline = m.deadline();
    else if (worth_storing(m, deadline))
        deadline = ticks + lifetime(me, timeout_s);
    while (worth_storing(m, deadline)) {
        std::uint64_t word = m.word();
        m.set_deadline(deadline);
        if (hot.meta.compare_exchange_weak(word, m.word(), std::memory_order_acq_rel,
                                           std::memory_order_acquire))
            break;
        m = Meta{word};
        if (m.same_course(wanted)) continue;
        unlock_side(h.index);
        p.conn = {};  // ended by another thread: the packet must open anew
        return true;
    }
    unlock_side(h.index);
    p.state = CtState::Established;
    p.status |= status::kSeenReply | status::kAssured;
    return true;
}

/// What the trackers are told of an entry. `side` is null unless the caller holds its lock.
[[gnu::always_inline]] inline proto::View Conntrack::Impl::view_of(const HotLine& hot, Meta m,
                                                                   Ticks ticks,
                                                                   SideLines* side) noexcept {
    const std::int32_t left = ticks_between(ticks, m.deadline());
    return {.state = m.state(),
            .had_reply = m.seen_reply(),
            .assured = m.assured(),
            .nat_clash = m.nat_clash(),
            .remaining_s = left > 0 ? static_cast<std::uint32_t>(left) / kTicksPerSecond : 0,
            .age = Nanos{ticks - hot.born.load(std::memory_order_acquire)} * kNanosPerTick,
            .side = side};
}

/// What becomes of a linked entry's word `x` when a tracker has said `v` about packet `p`, and
/// `deadline` is when that would let it expire, unless it stays `still`.
[[gnu::always_inline]] inline Meta after_packet(Meta x, const Packet& p, const proto::Verdict& v,
                                                Ticks deadline, bool still) noexcept {
    const bool accepted = v.outcome == proto::Outcome::Accept;
    const bool killed = v.outcome == proto::Outcome::Kill;
    Meta next = x;
    if (p.dir == Dir::Reply && !killed && v.outcome != proto::Outcome::Invalid)
        next.set_seen_reply();
    if (killed || accepted || v.state_changed) next.set_state(v.state);
    if (v.assured && (accepted || v.state_changed)) next.set_assured();
    if (accepted) {
        const bool worth = worth_storing(x, deadline) || v.state != x.state();
        if (v.refresh && !still && !x.fixed_timeout() && worth) next.set_deadline(deadline);
    } else if (v.cut && ticks_between(deadline, x.deadline()) > 0) {
        next.set_deadline(deadline);
    }
    return next;
}

/// What a packet is called depends on what was known before it, as in Linux.
[[gnu::always_inline]] inline CtState state_of(const Packet& p, Meta before) noexcept {
    if (p.dir == Dir::Reply || before.seen_reply()) return CtState::Established;
    return (p.status & status::kExpected) != 0 ? CtState::Related : CtState::New;
}

/// What the event of an update is told for.
[[gnu::always_inline]] inline std::uint16_t causes_of(const proto::Verdict& v, Meta before,
                                                      Meta after) noexcept {
    const bool killed = v.outcome == proto::Outcome::Kill;
    const int causes = (after.seen_reply() && !before.seen_reply() ? cause::kReply : 0) |
                       (after.assured() && !before.assured() ? cause::kAssured : 0) |
                       (!killed && v.state_changed ? cause::kProtoinfo : 0);
    return static_cast<std::uint16_t>(causes);
}

/// The packet belongs to no connection, whatever its tuple says; `state` is that of the connection
/// which it claims.
void Conntrack::Impl::disown(Worker& me, Packet& p, std::uint8_t state) const noexcept {
    me.counters.invalid.add();
    note_invalid(me, p, state);
    p.state = CtState::Invalid;
    p.conn = {};
}

void Conntrack::Impl::update_one(WorkerId w, Packet& p, Nanos now) noexcept {
    Worker& me = *workers[w];
    const Ticks ticks = to_ticks(now);
    const ConnHandle h = p.conn;
    HotLine& hot = pool.hot(h.index);
    SideLines& side = pool.side(h.index);
    const std::uint8_t fixed_bits = hot.fixed.load(std::memory_order_acquire);
    const bool counts = (fixed_bits & fixed::kCounts) != 0;
    const bool has_side =
        proto::needs_side(p.tuple.proto) || (fixed_bits & (fixed::kCounts | fixed::kVariant)) != 0;
    if (has_side && !lock_side(h)) {
        p.conn = {};
        return;
    }
    Meta m{hot.meta.load(std::memory_order_acquire)};
    const auto is_life = [&](Meta x) {
        return x.generation() == h.generation && x.life() == life::kLinked;
    };
    const auto leave = [&] {
        if (has_side) unlock_side(h.index);
    };
    const auto lost = [&] {  // ended by another thread: the packet must open anew
        leave();
        p.conn = {};
    };
    if (!is_life(m)) [[unlikely]]
        return lost();

    proto::View view = view_of(hot, m, ticks, has_side ? &side : nullptr);
    const bool adjusted = p.tuple.proto == ipproto::kTcp && side.window[0].adjust != 0;
    if (adjusted) view.adjust = &adjustments.at(side.window[0].adjust);
    const proto::Verdict v = proto::update(p, view, settings_of(fixed_bits, side));
    const bool invalid = v.outcome == proto::Outcome::Invalid;
    if (invalid && !v.state_changed) {
        leave();
        if (v.cut) cut_deadline(h, ticks + v.timeout_s * kTicksPerSecond);
        disown(me, p, m.state());
        return;
    }
    if (v.outcome == proto::Outcome::Reopen) {
        leave();
        end(w, h, End::Deleted, true, now);
        p.conn = {};
        return;
    }
    const bool killed = v.outcome == proto::Outcome::Kill;
    // A change of state has its own time-out whoever causes it.
    const bool still =
        (fixed_bits & fixed::kVariant) != 0 && stays_still(side, p.dir) && !v.state_changed;
    // As in Linux, a packet that does not refresh the time-out is not counted either.
    const bool refreshes = v.refresh || p.fragment == Fragment::Later;
    if (counts && ((v.outcome == proto::Outcome::Accept && refreshes) || killed)) account(side, p);

    const Ticks deadline =
        ticks + (v.cut ? v.timeout_s * kTicksPerSecond : lifetime(me, v.timeout_s));
    Meta next = after_packet(m, p, v, deadline, still);
    while (next != m) {
        std::uint64_t word = m.word();
        if (hot.meta.compare_exchange_weak(word, next.word(), std::memory_order_acq_rel,
                                           std::memory_order_acquire))
            break;
        m = Meta{word};
        if (!is_life(m)) return lost();
        next = after_packet(m, p, v, deadline, still);
    }
    leave();

    p.state = state_of(p, m);
    p.status = status_of(next, fixed_bits);
    if (adjusted) p.status |= status::kSeqAdjust;
    if (next.state() != m.state() && !killed) note_closing(me, h, m, next, ticks);
    if (next.assured() && !m.assured()) {
        promote(h, fixed_bits);
        count_out(me);
    }
    const std::uint16_t causes = causes_of(v, m, next);
    if (causes != 0 && listening()) emit(w, EventType::Update, causes, h, now);
    if (killed) end(w, h, End::Deleted, true, now);
    if (invalid) disown(me, p, m.state());
}

void Conntrack::update(WorkerId w, std::span<Packet> packets, Nanos now) noexcept {
    Impl& d = *impl_;
    const Impl::Worker& me = *d.workers[w];
    const Ticks ticks = to_ticks(now);
    for (std::size_t k = 0; k < packets.size(); ++k) {
        Packet& p = packets[k];
        if (!p.alive() || !p.conn.valid() || p.icmp_error) continue;
        if (!d.update_data(me, p, ticks)) d.update_one(w, p, now);
    }
}

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

/// A packet whose zone counts in one direction only may be the answer to one of another zone.
bool Conntrack::Impl::lookup_as_reply(Worker& w, Packet& p, Ticks now) noexcept {
    if (!p.track.split_zone || p.track.reply_zone == p.tuple.zone) return false;
    const std::uint16_t zone = std::exchange(p.tuple.zone, p.track.reply_zone);
    const std::uint64_t former_hash = p.hash;
    p.hash = hash(key, p.icmp_error ? sought_by_error(p) : p.tuple);
    if (lookup_one(w, p, now)) {
        if (p.dir == Dir::Reply) return true;
        p.conn = {};
    }
    p.tuple.zone = zone;
    p.hash = former_hash;
    return false;
}

void Conntrack::Impl::note_invalid(Worker& w, const Packet& p, std::uint8_t state) const noexcept {
    const std::uint8_t wanted = settings.log_invalid;
    if (wanted == 0 || (wanted != 255 && wanted != p.tuple.proto)) return;
    w.invalid.push({p.tuple, p.in_port, p.tcp_flags, state});  // what finds no room is not logged
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

/// What link() comes to for a connection without NAT, if nothing in its bucket has changed since
/// lookup() found that nobody has the tuple: the lock is had only in that case. False: nothing has
/// been done that link() would not do again.
[[gnu::always_inline]] inline bool Conntrack::Impl::link_absent(WorkerId w, Packet& p,
                                                                Nanos now) noexcept {
    const Ticks ticks = to_ticks(now);
    const Places at = places_of(p.hash, p.hash);
    complete_entry(p, at, fixed::kMirror);
    if (!index.try_lock(at.b1, p.absent_seq)) return false;
    const Slot slot = index.reserve(at.b1);
    if (!slot.valid()) {
        index.unlock(at.b1);
        return false;
    }
    HotLine& h = pool.hot(p.conn.index);
    Meta m{h.meta.load(std::memory_order_relaxed)};
    m.set_life(life::kLinked);
    h.meta.store(m.word(), std::memory_order_release);
    Index::store(slot, at.t1, Ref::make(p.conn.index, m.generation()), age_of(ticks));
    tell_linked(w, p, cause::kNew, now);
    index.unlock(at.b1);
    p.status = m.status();
    enlist(*workers[w], p, at, ticks);
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
    // The mirror image, but for ICMP, whose types change too.
    const bool mirror = r.src == o.dst && r.dst == o.src && r.sport == o.dport &&
                        r.dport == o.sport && r.zone == o.zone;
    if (mirror && p.absent && d.link_absent(w, p, now)) [[likely]]
        return Confirmation::Linked;
    return d.link(w, p, now);
}

/// confirm() in full.
Conntrack::Confirmation Conntrack::Impl::link(WorkerId w, Packet& p, Nanos now) noexcept {
    Worker& me = *workers[w];
    const Ticks ticks = to_ticks(now);
    const bool mirror = p.reply == reply_of(p.original);
    const Places at = places_of(p.hash, mirror ? p.hash : hash(key, p.reply));
    const std::uint8_t bits = mirror ? fixed::kMirror : nat_bits(p.original, p.reply);
    complete_entry(p, at, bits);

    for (int tries = 0; tries < kConfirmTries; ++tries) {
        const Attempt attempt = try_link(w, p, at, mirror, cause::kNew, now);
        switch (attempt.outcome) {
            case Attempt::Outcome::Linked:
                if (room.never_delete_mappings && (bits & fixed::kMapped) != 0)
                    count_in(me);  // nobody's victim
                else
                    enlist(me, p, at, ticks);
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
    if constexpr (kChecks >= 2) {
        Holder under_original;
        Holder under_reply;
        const bool both =
            find_holder(at.b1, at.t1, p.original, ticks, Pool::kNone, under_original) &&
            find_holder(at.b2, at.t2, p.reply, ticks, Pool::kNone, under_reply);
        // Another thread may have claimed it already; then it waits for these locks.
        const Meta after{h.meta.load(std::memory_order_acquire)};
        check(after.life() == life::kDying ||
                  (both && under_original.conn == p.conn && under_reply.conn == p.conn),
              "I3: both tuples of a linked entry are its own");
    }
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

void Conntrack::expect_reply(const Tuple& reply) const noexcept {
    prefetch_write(&impl_->index.bucket(impl_->index.bucket_of(hash(impl_->key, reply))));
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
