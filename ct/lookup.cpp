// SPDX-License-Identifier: BSD-3-Clause
//
// Which connection a packet belongs to: a burst at a time, without a lock.
#include "ct/conntrack.hpp"
#include "ct/conntrack_impl.hpp"

#include <array>
#include <bit>
#include <cstring>
#include <utility>

namespace ct {

namespace {

/// The tuple under which the connection of an ICMP error is known: the answer to the packet inside.
Tuple sought_by_error(const Packet& p) noexcept {
    Tuple t = reply_of(p.inner);
    t.zone = p.tuple.zone;
    return t;
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
            return x.is_linked_as(m.conn.generation);
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
    // An entry may have moved to a slot that was looked at before: see table/index.hpp.
    p.absent = hits == 0 && (p.absent_seq & 1) == 0 && b.next() == 0 &&
               b.seq.load(std::memory_order_acquire) == p.absent_seq;
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

void Conntrack::lookup(WorkerId w, std::span<Packet> packets, Nanos now) noexcept {
    for (; packets.size() > Impl::kMaxBurst; packets = packets.subspan(Impl::kMaxBurst))
        impl_->lookup_burst(w, packets.first(Impl::kMaxBurst), now);
    impl_->lookup_burst(w, packets, now);
}

}  // namespace ct
