// SPDX-License-Identifier: BSD-3-Clause
#include "ct/conntrack.hpp"

#include "ct/base/check.hpp"
#include "ct/conntrack_impl.hpp"

#include <algorithm>
#include <cstring>

namespace ct {

namespace {

constexpr std::uint32_t kKeyKindMask = 0x01ff'ffff;  // zone, protocol, kIpv6

/// How often a bucket whose chain is full may be relieved of its oldest embryonic entry, and how
/// often a clash is looked at again, before a newcomer is refused.
constexpr int kConfirmTries = 8;

std::uint8_t age_of(Ticks t) noexcept {
    return static_cast<std::uint8_t>(t / (kTicksPerSecond / 4));
}

bool expired(const Meta& m, Ticks now) noexcept {
    return ticks_between(now, m.deadline) <= 0;
}

/// The tuple under which p's connection is known: for an ICMP error, the answer to the packet
/// inside.
[[gnu::always_inline]] inline Tuple sought(const Packet& p) noexcept {
    if (!p.icmp_error) [[likely]]
        return p.tuple;
    Tuple t = reply_of(p.inner);
    t.zone = p.tuple.zone;
    return t;
}

std::uint32_t ip_bytes(const Packet& p) noexcept {
    return p.end - p.l3_offset;
}

}  // namespace

Key Conntrack::Impl::key_of(const Tuple& t) noexcept {
    Key k;
    if (t.family == Family::Ipv6) {
        std::memcpy(&k.addrs6[0], t.src.bytes.data(), 16);
        std::memcpy(&k.addrs6[2], t.dst.bytes.data(), 16);
    } else {
        k.addrs = t.src.as_v4().raw() | std::uint64_t{t.dst.as_v4().raw()} << 32;
    }
    k.ports = t.sport.raw() | std::uint32_t{t.dport.raw()} << 16;
    k.kind = t.zone | std::uint32_t{t.proto} << 16 |
             (t.family == Family::Ipv6 ? std::uint32_t{fixed::kIpv6} << 24 : 0);
    return k;
}

std::optional<Dir> Conntrack::Impl::match(std::uint32_t i, const Key& k) const noexcept {
    const HotLine& h = pool.hot(i);
    if ((h.kind.load(std::memory_order_acquire) & kKeyKindMask) != k.kind) return {};
    const bool original = h.original_ports.load(std::memory_order_acquire) == k.ports;
    const bool reply = h.reply_ports.load(std::memory_order_acquire) == k.ports;
    if ((k.kind >> 24 & fixed::kIpv6) == 0) {
        if (original && h.original_addrs.load(std::memory_order_acquire) == k.addrs)
            return Dir::Original;
        if (reply && h.reply_addrs.load(std::memory_order_acquire) == k.addrs) return Dir::Reply;
        return {};
    }
    const Addrs6& a = pool.addrs6(i);
    const auto same = [&](std::size_t from) {
        for (std::size_t w = 0; w < 4; ++w)
            if (a.words[from + w].load(std::memory_order_acquire) != k.addrs6[w]) return false;
        return true;
    };
    if (original && same(0)) return Dir::Original;
    if (reply && same(4)) return Dir::Reply;
    return {};
}

bool Conntrack::Impl::lock_side(std::uint32_t i, std::uint16_t generation) const noexcept {
    std::atomic<std::uint32_t>& lock = pool.side(i).lock;
    for (;;) {
        std::uint32_t free = std::uint32_t{generation} << 1;
        if (lock.compare_exchange_weak(free, free | 1, std::memory_order_acquire,
                                       std::memory_order_relaxed))
            return true;
        if (free >> 1 != generation) return false;
        spin_pause();
    }
}

void Conntrack::Impl::unlock_side(std::uint32_t i) const noexcept {
    std::atomic<std::uint32_t>& lock = pool.side(i).lock;
    lock.store(lock.load(std::memory_order_relaxed) & ~1U, std::memory_order_release);
}

ConnHandle Conntrack::Impl::find(const Tuple& t, std::uint64_t h, Ticks now, EntryCopy& out,
                                 Dir& dir, std::uint64_t& restarts) const noexcept {
    const Key k = key_of(t);
    ConnHandle found;
    index.find(index.bucket_of(h), index.tag_of(h), restarts, [&](Ref r) {
        const auto linked = [&](const Meta& m) {
            return m.life == life::kLinked && r.may_be(m.generation) && !expired(m, now);
        };
        const std::optional<Dir> d = match(r.index(), k);
        if (!d || !read(r.index(), out, linked)) return false;
        // The match was of some life of the entry, the copy is of one: compare once more.
        dir = *d;
        if ((*d == Dir::Original ? out.original : out.reply) != t) return false;
        found = {r.index(), out.meta.generation};
        return true;
    });
    return found;
}

void Conntrack::Impl::adopt(Packet& p, ConnHandle h, std::uint16_t status, Dir dir) noexcept {
    p.conn = h;
    p.dir = dir;
    p.status = status;
    if (!p.icmp_error) return;
    // The error concerns the sender of the packet inside; addressed to anybody else it is forged
    // (semantics.md 2.8).
    const bool addressed_well = p.tuple.dst == p.inner.src;
    p.state = addressed_well ? CtState::Related : CtState::Invalid;
    if (!addressed_well) p.conn = {};
}

bool Conntrack::Impl::lookup_one(Worker& w, Packet& p, Ticks now) noexcept {
    const Tuple t = sought(p);
    const Key k = key_of(t);
    const std::uint32_t bucket = index.bucket_of(p.hash);
    const std::uint16_t tag = index.tag_of(p.hash);
    std::uint64_t restarts = 0;
    bool found = false;
    index.find(bucket, tag, restarts, [&](Ref r) {
        const std::uint32_t i = r.index();
        const HotLine& h = pool.hot(i);
        const Meta m = Meta::unpack(h.meta.load(std::memory_order_acquire));
        if (m.life != life::kLinked || !r.may_be(m.generation)) return false;
        const std::optional<Dir> dir = match(i, k);
        if (!dir || expired(m, now)) return false;

        const auto bits = static_cast<std::uint8_t>(h.kind.load(std::memory_order_acquire) >> 24);
        if ((bits & fixed::kMirror) != 0) {
            // The packet's own tuple says both: no need to read the entry's keys again.
            const std::uint32_t mark = h.mark.load(std::memory_order_acquire);
            const Meta after = Meta::unpack(h.meta.load(std::memory_order_acquire));
            if (after.generation != m.generation || after.life != life::kLinked) return false;
            p.mark = mark;
            (*dir == Dir::Original ? p.original : p.reply) = t;
            (*dir == Dir::Original ? p.reply : p.original) = reply_of(t);
        } else {
            EntryCopy e;
            const auto same_life = [&](const Meta& x) {
                return x.life == life::kLinked && x.generation == m.generation;
            };
            if (!read(i, e, same_life)) return false;
            p.original = e.original;
            p.reply = e.reply;
            p.mark = e.mark;
        }
        adopt(p, {i, m.generation}, status_of(m, bits), *dir);
        found = true;
        return true;
    });
    if (restarts != 0) w.counters.search_restart.add(restarts);
    return found;
}

void Conntrack::lookup(WorkerId w, std::span<Packet> packets, Nanos now) noexcept {
    Impl& d = *impl_;
    Impl::Worker& me = *d.workers[w];
    const Ticks ticks = to_ticks(now);
    const auto wants = [](const Packet& p) {
        return p.alive() && p.tuple.family != Family::None && p.state != CtState::Untracked &&
               !p.conn.valid();
    };

    // Each sweep issues the loads that the next one needs.
    std::uint32_t wanted = 0;
    for (Packet& p : packets) {
        if (p.never_tracked && p.state == CtState::None) p.state = CtState::Untracked;
        if (!wants(p)) continue;
        p.hash = hash(d.key, sought(p));
        prefetch(&d.index.bucket(d.index.bucket_of(p.hash)));
        ++wanted;
    }
    if (!d.pool.ready(w, wanted) || me.over_budget) d.stash_victims(me, me.young);

    std::uint32_t misses = 0;
    for (const Packet& p : packets) {
        if (!wants(p)) continue;
        const std::uint32_t b = d.index.bucket_of(p.hash);
        const bool candidate = d.index.scan(d.index.bucket(b), d.index.tag_of(p.hash), [&](Ref r) {
            prefetch(&d.pool.hot(r.index()));
            if (p.tuple.family == Family::Ipv6) prefetch(&d.pool.addrs6(r.index()));
            if (proto::needs_side(p.tuple.proto) || d.settings.acct) {
                prefetch_write(&d.pool.side(r.index()));
                prefetch_write(&d.pool.side(r.index()).reply_packets);
            }
            return true;
        });
        if (candidate) continue;
        const std::uint32_t next = d.pool.peek(w, misses++);
        if (next == Pool::kNone) continue;
        prefetch_write(&d.pool.hot(next));
        prefetch_write(&d.pool.side(next));
        prefetch_write(&d.pool.side(next).reply_packets);
    }
    for (Packet& p : packets)
        if (wants(p)) d.lookup_one(me, p, ticks);
}

void Conntrack::Impl::promote(const EntryCopy& e, ConnHandle h) noexcept {
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
    if ((e.fixed_bits & fixed::kMirror) == 0)
        mark_slot(hot.reply_bucket.load(std::memory_order_acquire),
                  hot.reply_tag.load(std::memory_order_acquire));
}

void Conntrack::Impl::cut_deadline(ConnHandle h, Ticks limit) noexcept {
    std::atomic<std::uint64_t>& meta = pool.hot(h.index).meta;
    std::uint64_t word = meta.load(std::memory_order_acquire);
    for (;;) {
        Meta m = Meta::unpack(word);
        if (m.generation != h.generation || m.life != life::kLinked || m.fixed_timeout) return;
        if (ticks_between(limit, m.deadline) <= 0) return;
        m.deadline = limit;
        if (meta.compare_exchange_weak(word, m.pack(), std::memory_order_acq_rel,
                                       std::memory_order_acquire))
            return;
    }
}

void Conntrack::Impl::update_one(WorkerId w, Packet& p, Nanos now) noexcept {
    Worker& me = *workers[w];
    const Ticks ticks = to_ticks(now);
    const ConnHandle h = p.conn;
    HotLine& hot = pool.hot(h.index);
    const bool has_side = proto::needs_side(p.tuple.proto) || settings.acct;
    if (has_side && !lock_side(h.index, h.generation)) {
        p.conn = {};
        return;
    }
    std::uint64_t word = hot.meta.load(std::memory_order_acquire);
    Meta m = Meta::unpack(word);
    const auto is_life = [&](const Meta& x) {
        return x.generation == h.generation && x.life == life::kLinked;
    };
    const auto leave = [&] {
        if (has_side) unlock_side(h.index);
    };
    if (!is_life(m)) {
        leave();
        p.conn = {};
        return;
    }

    SideLines& side = pool.side(h.index);
    const Ticks born = hot.born.load(std::memory_order_acquire);
    const std::int32_t left = ticks_between(ticks, m.deadline);
    proto::View view;
    view.state = m.state;
    view.had_reply = m.seen_reply;
    view.assured = m.assured;
    view.nat_clash = m.nat_clash;
    view.remaining_s = left > 0 ? static_cast<std::uint32_t>(left) / kTicksPerSecond : 0;
    view.age = static_cast<Nanos>(ticks - born) * kNanosPerTick;
    view.side = has_side ? &side : nullptr;
    const proto::Verdict v = proto::update(p, view, settings);

    if (v.outcome == proto::Outcome::Invalid) {
        leave();
        if (v.cut) cut_deadline(h, ticks + v.timeout_s * kTicksPerSecond);
        me.counters.invalid.add();
        p.state = CtState::Invalid;
        p.conn = {};
        return;
    }
    if (v.outcome == proto::Outcome::Reopen) {
        leave();
        end(w, h, End::Deleted, true, now);
        p.conn = {};
        return;
    }
    const bool accepted = v.outcome == proto::Outcome::Accept;
    const bool killed = v.outcome == proto::Outcome::Kill;
    // As in Linux, a packet that does not refresh the time-out is not counted either.
    const bool refreshes = v.refresh || p.fragment == Fragment::Later;
    if (settings.acct && ((accepted && refreshes) || killed)) {
        const bool original = p.dir == Dir::Original;
        (original ? side.original_packets : side.reply_packets) += 1;
        (original ? side.original_bytes : side.reply_bytes) += ip_bytes(p);
    }

    const bool was_replied = m.seen_reply;
    const bool was_assured = m.assured;
    Meta next;
    for (;;) {
        next = m;
        if (p.dir == Dir::Reply && !killed) next.seen_reply = true;
        if (killed) {
            next.state = v.state;
        } else if (accepted) {
            next.state = v.state;
            next.assured = m.assured || v.assured;
            const Ticks deadline = ticks + v.timeout_s * kTicksPerSecond;
            const std::int32_t change = ticks_between(m.deadline, deadline);
            const bool worth = change >= kRefreshTicks || change < 0 || next.state != m.state;
            if (v.refresh && !m.fixed_timeout && worth) next.deadline = deadline;
        } else if (v.cut) {
            const Ticks limit = ticks + v.timeout_s * kTicksPerSecond;
            if (ticks_between(limit, m.deadline) > 0) next.deadline = limit;
        }
        if (next == m) break;
        if (hot.meta.compare_exchange_weak(word, next.pack(), std::memory_order_acq_rel,
                                           std::memory_order_acquire))
            break;
        m = Meta::unpack(word);
        if (!is_life(m)) {  // ended by another thread: the packet must open anew
            leave();
            p.conn = {};
            return;
        }
    }
    leave();

    // What a packet is called depends on what was known before it, as in Linux.
    p.state = p.dir == Dir::Reply || was_replied    ? CtState::Established
              : (p.status & status::kExpected) != 0 ? CtState::Related
                                                    : CtState::New;
    const auto fixed_bits =
        static_cast<std::uint8_t>(hot.kind.load(std::memory_order_acquire) >> 24);
    p.status = status_of(next, fixed_bits);

    if (next.assured && !was_assured) {
        EntryCopy e;
        e.fixed_bits = fixed_bits;
        promote(e, h);
        me.embryonic.store(me.embryonic.load(std::memory_order_relaxed) - 1,
                           std::memory_order_relaxed);
    }
    const bool reply_is_news = next.seen_reply && !was_replied;
    const bool news =
        reply_is_news || (next.assured && !was_assured) || (accepted && v.state_changed);
    if (news && listening())
        emit(w, EventType::Update, h.index, now, v.state_changed ? Tells::State : Tells::Rest);
    if (killed) end(w, h, End::Deleted, true, now);
}

void Conntrack::update(WorkerId w, std::span<Packet> packets, Nanos now) noexcept {
    Impl& d = *impl_;
    Impl::Worker& me = *d.workers[w];
    // The victims' entries are on their way since lookup(); their buckets are known from them.
    d.load_victim_buckets(me);
    for (Packet& p : packets)
        if (p.alive() && p.conn.valid() && !p.icmp_error) d.update_one(w, p, now);
}

void Conntrack::Impl::store_reply(std::uint32_t i, const Packet& p) noexcept {
    HotLine& h = pool.hot(i);
    const Key k = key_of(p.reply);
    h.reply_ports.store(k.ports, std::memory_order_release);
    h.reply_addrs.store(k.addrs, std::memory_order_release);
    if (p.reply.family == Family::Ipv6)
        for (std::size_t w = 0; w < 4; ++w)
            pool.addrs6(i).words[4 + w].store(k.addrs6[w], std::memory_order_release);
}

void Conntrack::Impl::write_entry(std::uint32_t i, const Packet& p, const proto::Verdict& v,
                                  Nanos now, const SideLines& side) noexcept {
    HotLine& h = pool.hot(i);
    Meta m;
    m.generation = Meta::unpack(h.meta.load(std::memory_order_relaxed)).generation;
    m.life = life::kUnconfirmed;
    m.state = v.state;
    m.deadline = to_ticks(now) + v.timeout_s * kTicksPerSecond;

    const Key k = key_of(p.original);
    h.kind.store(k.kind, std::memory_order_release);
    h.original_ports.store(k.ports, std::memory_order_release);
    h.original_addrs.store(k.addrs, std::memory_order_release);
    if (p.original.family == Family::Ipv6)
        for (std::size_t w = 0; w < 4; ++w)
            pool.addrs6(i).words[w].store(k.addrs6[w], std::memory_order_release);
    h.mark.store(0, std::memory_order_release);
    h.born.store(to_ticks(now), std::memory_order_release);
    h.meta.store(m.pack(), std::memory_order_release);

    if (!proto::needs_side(p.tuple.proto) && !settings.acct && !settings.timestamp) return;
    SideLines& s = pool.side(i);
    // Somebody who still updates the entry's former life may hold the lock for a moment.
    for (;;) {
        std::uint32_t was = s.lock.load(std::memory_order_relaxed) & ~1U;
        if (s.lock.compare_exchange_weak(was, std::uint32_t{m.generation} << 1 | 1,
                                         std::memory_order_acquire, std::memory_order_relaxed))
            break;
        spin_pause();
    }
    if (p.tuple.proto == ipproto::kSctp) {
        s.original_peer = side.original_peer;
        s.reply_peer = side.reply_peer;
    } else {
        s.original_window = side.original_window;
        s.reply_window = side.reply_window;
    }
    s.last = side.last;
    s.original_packets = 1;
    s.original_bytes = ip_bytes(p);
    s.reply_packets = 0;
    s.reply_bytes = 0;
    s.start_ns = now;
    s.labels = {};
    unlock_side(i);
}

Conntrack::Opening Conntrack::open(WorkerId w, Packet& p, Nanos now) noexcept {
    Impl& d = *impl_;
    Impl::Worker& me = *d.workers[w];
    const auto invalid = [&] {
        me.counters.invalid.add();
        p.state = CtState::Invalid;
        p.conn = {};
        return Opening::Invalid;
    };
    // The burst may hold an earlier packet of the same new flow, or another worker was faster.
    if (d.lookup_one(me, p, to_ticks(now))) {
        if (!p.icmp_error) d.update_one(w, p, now);
        if (p.conn.valid()) return Opening::Found;
        if (p.state == CtState::Invalid) return Opening::Invalid;
    }
    if (p.icmp_error || p.fragment == Fragment::Later) return invalid();

    SideLines side;
    const proto::Verdict v = proto::open(p, side, d.settings);
    if (v.outcome != proto::Outcome::Accept) return invalid();
    const std::uint32_t i = d.allocate(w, p, now);
    if (i == Pool::kNone) return Opening::Refused;

    p.original = p.tuple;
    p.reply = reply_of(p.tuple);
    p.dir = Dir::Original;
    p.state = CtState::New;
    p.status = 0;
    p.mark = 0;
    p.opened = true;
    d.write_entry(i, p, v, now, side);
    p.conn = {i, Meta::unpack(d.pool.hot(i).meta.load(std::memory_order_relaxed)).generation};
    return Opening::Opened;
}

Holder Conntrack::Impl::holder(std::uint32_t bucket, std::uint16_t tag, const Tuple& t, Ticks now,
                               std::uint32_t self) const noexcept {
    const Key k = key_of(t);
    Holder found;
    index.scan(index.bucket(bucket), tag, [&](Ref r) {
        if (r.index() == self) return false;
        const Meta m = Meta::unpack(pool.hot(r.index()).meta.load(std::memory_order_acquire));
        if (m.life != life::kLinked || !r.may_be(m.generation) || !match(r.index(), k))
            return false;
        found = {{r.index(), m.generation}, expired(m, now)};
        return true;
    });
    return found;
}

Conntrack::Confirmation Conntrack::confirm(WorkerId w, Packet& p, Nanos now) noexcept {
    Impl& d = *impl_;
    Impl::Worker& me = *d.workers[w];
    const Ticks ticks = to_ticks(now);
    const std::uint32_t i = p.conn.index;
    HotLine& h = d.pool.hot(i);
    const bool mirror = p.reply == reply_of(p.original);
    const std::uint64_t reply_hash = mirror ? p.hash : hash(d.key, p.reply);
    const std::uint32_t b1 = d.index.bucket_of(p.hash);
    const std::uint32_t b2 = d.index.bucket_of(reply_hash);
    const std::uint16_t t1 = d.index.tag_of(p.hash);
    const std::uint16_t t2 = d.index.tag_of(reply_hash);

    d.store_reply(i, p);
    std::uint8_t bits = mirror ? fixed::kMirror : std::uint8_t{0};
    const Tuple unchanged = reply_of(p.original);
    if (p.reply.dst != unchanged.dst || p.reply.dport != unchanged.dport) bits |= fixed::kSrcNat;
    if (p.reply.src != unchanged.src || p.reply.sport != unchanged.sport) bits |= fixed::kDstNat;
    const std::uint32_t kind = h.kind.load(std::memory_order_relaxed) & kKeyKindMask;
    h.kind.store(kind | std::uint32_t{bits} << 24, std::memory_order_release);
    h.original_bucket.store(b1, std::memory_order_release);
    h.reply_bucket.store(b2, std::memory_order_release);
    h.original_tag.store(t1, std::memory_order_release);
    h.reply_tag.store(t2, std::memory_order_release);
    h.mark.store(p.mark, std::memory_order_release);
    h.out_port.store(p.masqueraded ? p.out_port : kNoPort, std::memory_order_release);

    for (int tries = 0; tries < kConfirmTries; ++tries) {
        d.index.lock_pair(b1, b2);
        Holder holder = d.holder(b1, t1, p.original, ticks, i);
        const bool lost = holder.live();
        if (!holder.conn.valid()) holder = d.holder(b2, t2, p.reply, ticks, i);
        const bool taken = !lost && holder.live();
        Slot s1;
        Slot s2;
        if (!holder.conn.valid()) {
            s1 = d.index.reserve(b1);
            if (!mirror && s1.valid()) s2 = d.index.reserve(b2, s1);
        }
        const bool room = s1.valid() && (mirror || s2.valid());
        if (room) {
            Meta m = Meta::unpack(h.meta.load(std::memory_order_relaxed));
            m.life = life::kLinked;
            h.meta.store(m.pack(), std::memory_order_release);
            const Ref ref = Ref::make(i, m.generation);
            Index::store(s1, t1, ref, age_of(ticks));
            if (!mirror) Index::store(s2, t2, ref, age_of(ticks));
            p.status = status_of(m, bits);
            if constexpr (kChecks >= 2) {
                const ConnHandle under_original =
                    d.holder(b1, t1, p.original, ticks, Pool::kNone).conn;
                const ConnHandle under_reply = d.holder(b2, t2, p.reply, ticks, Pool::kNone).conn;
                // Another thread may have claimed it already; then it waits for these locks.
                const Meta after = Meta::unpack(h.meta.load(std::memory_order_acquire));
                check(after.life == life::kDying ||
                          (under_original == p.conn && under_reply == p.conn),
                      "I3: both tuples of a linked entry are its own");
            }
        }
        d.index.unlock_pair(b1, b2);

        if (room) {
            me.counters.opened.add();
            me.embryonic.store(me.embryonic.load(std::memory_order_relaxed) + 1,
                               std::memory_order_relaxed);
            d.push_young(me, p.conn, ticks);
            if (d.listening()) d.emit(w, EventType::New, i, now);
            return Confirmation::Linked;
        }
        if (taken) return Confirmation::ReplyTaken;
        if (holder.expired) {
            d.end(w, holder.conn, End::Expired, true, now);
            continue;
        }
        if (lost) {
            Packet other = p;
            other.conn = {};
            if (!d.lookup_one(me, other, ticks)) continue;  // gone again
            other.opened = false;
            d.update_one(w, other, now);
            if (!other.conn.valid()) continue;
            abandon(w, p);
            p = other;
            me.counters.clash_resolve.add();
            return Confirmation::Joined;
        }
        me.counters.chaintoolong.add();
        if (!d.evict_in_bucket(w, s1.valid() ? b2 : b1, now)) break;
    }
    abandon(w, p);
    me.counters.insert_failed.add();
    p.drop = Drop::CtBucketFull;
    return Confirmation::Refused;
}

void Conntrack::abandon(WorkerId w, Packet& p) noexcept {
    if (!p.conn.valid() || !p.opened) return;
    Impl& d = *impl_;
    HotLine& h = d.pool.hot(p.conn.index);
    Meta m = Meta::unpack(h.meta.load(std::memory_order_relaxed));
    if (m.generation != p.conn.generation || m.life != life::kUnconfirmed) return;
    Meta freed;
    freed.generation = static_cast<std::uint16_t>(m.generation + 1);
    h.meta.store(freed.pack(), std::memory_order_release);
    d.pool.give(w, p.conn.index);
    p.conn = {};
}

bool Conntrack::tuple_taken(WorkerId w, const Tuple& reply, ConnHandle except, Nanos now) noexcept {
    Impl& d = *impl_;
    const std::uint64_t h = hash(d.key, reply);
    const Ticks ticks = to_ticks(now);
    const Key k = Impl::key_of(reply);
    std::uint64_t restarts = 0;
    const bool taken = d.index.find(d.index.bucket_of(h), d.index.tag_of(h), restarts, [&](Ref r) {
        if (r.index() == except.index) return false;
        const Meta m = Meta::unpack(d.pool.hot(r.index()).meta.load(std::memory_order_acquire));
        return m.life == life::kLinked && r.may_be(m.generation) && !expired(m, ticks) &&
               d.match(r.index(), k).has_value();
    });
    if (taken) d.workers[w]->counters.found.add();
    return taken;
}

void Conntrack::set_mark(Packet& p, std::uint32_t mark) noexcept {
    p.mark = mark;
    if (!p.conn.valid()) return;
    HotLine& h = impl_->pool.hot(p.conn.index);
    const Meta m = Meta::unpack(h.meta.load(std::memory_order_acquire));
    if (m.generation == p.conn.generation) h.mark.store(mark, std::memory_order_release);
}

}  // namespace ct
