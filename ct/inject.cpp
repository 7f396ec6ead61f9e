// SPDX-License-Identifier: BSD-3-Clause
//
// Entries made and changed from outside: what conntrack -I, -U and -R ask for, and labels.
//
// An entry that control makes takes the way of any other: it is allocated under the same policy,
// filled while nobody sees it, and published under both of its tuples or not at all. If it is
// translated, it gets a lease on its mapping as a packet's would, or is refused: no later
// connection may be given what it has. It has no window: TCP takes up the sequence numbers of the
// first packet of each side (proto/tcp.cpp).
#include "ct/conntrack_impl.hpp"

namespace ct {

namespace {

/// True if the two tuples can be those of one connection.
bool belong_together(const Tuple& original, const Tuple& reply) noexcept {
    if (original.family == Family::None || reply.family == Family::None) return false;
    // Between the families (NAT64) ICMP goes by two numbers.
    const bool crosses = original.family != reply.family;
    const bool both_icmp = is_icmp(original.proto) && is_icmp(reply.proto);
    if (original.proto != reply.proto && !(crosses && both_icmp)) return false;
    if (crosses && both_icmp &&
        (icmp_of(original.family) != original.proto || icmp_of(reply.family) != reply.proto))
        return false;
    // A zone of one direction only leaves the other in zone 0.
    const bool zones = original.zone == reply.zone || original.zone == 0 || reply.zone == 0;
    // What is no query has no answer by which the entry could be found.
    return zones && (!is_icmp(original.proto) ||
                     icmp_counterpart(original.proto, icmp_type(original.dport)) >= 0);
}

std::uint8_t state_of(const Tuple& t, std::uint8_t wanted) noexcept {
    return proto::needs_side(t.proto) ? wanted : std::uint8_t{0};
}

Meta with_status(Meta m, std::uint16_t status) noexcept {
    if ((status & status::kSeenReply) != 0) m.set_seen_reply();
    if ((status & status::kAssured) != 0) m.set_assured();
    if ((status & status::kFixedTimeout) != 0) m.set_fixed_timeout();
    return m;
}

}  // namespace

Injected Conntrack::Impl::link_injected(Packet& p, std::uint16_t status, Nanos now) noexcept {
    constexpr int kTries = 8;  // expired holders of its tuples to be ended
    Worker& me = *workers[worker_count];
    HotLine& h = pool.hot(p.conn.index);
    const Ticks ticks = to_ticks(now);
    const bool mirror = p.reply == reply_of(p.original);
    const Places at = places_of(p.hash, mirror ? p.hash : hash(key, p.reply));

    store_tuple(p.conn.index, p.reply, Dir::Reply);
    const std::uint8_t first = h.fixed.load(std::memory_order_relaxed) & fixed::kFirst;
    const std::uint8_t bits = mirror ? fixed::kMirror : nat_bits(p.original, p.reply);
    h.fixed.store(first | bits, std::memory_order_release);
    h.original_bucket.store(at.b1, std::memory_order_release);
    h.reply_bucket.store(at.b2, std::memory_order_release);
    h.original_tag.store(at.t1, std::memory_order_release);
    h.reply_tag.store(at.t2, std::memory_order_release);
    h.mark.store(p.mark, std::memory_order_release);
    h.out_port.store(p.masquerade_port, std::memory_order_release);
    h.lease.store(p.lease, std::memory_order_release);
    const Meta m = with_status(Meta{h.meta.load(std::memory_order_relaxed)}, status);
    h.meta.store(m.word(), std::memory_order_release);

    for (int tries = 0; tries < kTries; ++tries) {
        const Attempt attempt =
            try_link(worker_count, p, at, mirror, cause::kNew | cause::kFromOutside, now);
        switch (attempt.outcome) {
            case Attempt::Outcome::Linked:
                count_kept(me, bits, p.original.proto, Meta{}, m);
                note_closing(me, p.conn, Meta{}, m, ticks);
                if (m.assured()) {
                    promote(p.conn, bits);
                    return Injected::Done;
                }
                me.embryonic.store(me.embryonic.load(std::memory_order_relaxed) + 1,
                                   std::memory_order_relaxed);
                if (is_kept(bits)) return Injected::Done;
                if (me.young.crowded()) turn_over(me.young, Prey::Embryonic, ticks);
                me.young.push({.index = p.conn.index,
                               .original_bucket = at.b1,
                               .reply_bucket = at.b2,
                               .generation = p.conn.generation,
                               .ipv6 = p.original.family == Family::Ipv6});
                return Injected::Done;
            case Attempt::Outcome::Lost:
            case Attempt::Outcome::ReplyTaken:
                return Injected::Exists;
            case Attempt::Outcome::Expired:
                end(worker_count, attempt.holder, End::Expired, true, now);
                break;
            case Attempt::Outcome::Full:
                me.counters.chaintoolong.add();
                return Injected::NoRoom;
        }
    }
    return Injected::NoRoom;
}

void Conntrack::Impl::write_injected(std::uint32_t i, Packet& p, const Injection& e,
                                     Nanos now) noexcept {
    proto::Verdict v;
    v.state = state_of(e.original, e.state);
    v.timeout_s = e.timeout_s;
    write_entry(i, p, now, &v);
    if (!lock_side(p.conn, life::kUnconfirmed)) return;
    SideLines& s = pool.side(i);
    s.packets = s.bytes = {};  // no packet has passed yet
    s.last = {};
    if (p.original.proto == ipproto::kSctp)
        s.peer = {SctpPeer{e.vtags[0], 0}, SctpPeer{e.vtags[1], 0}};
    else
        s.window = {};
    unlock_side(i);
}

Injected Conntrack::insert(const Injection& e, Nanos now, std::uint32_t by) {
    Impl& d = *impl_;
    if (!belong_together(e.original, e.reply) || e.timeout_s > kMaxTimeoutSeconds)
        return Injected::Invalid;
    const std::lock_guard guard{d.control_mutex};
    const WorkerId w = d.worker_count;
    Impl::Worker& me = *d.workers[w];
    me.by = by;
    // Before room is made for it: what is there already costs nobody his place.
    if (find(e.original, now) || find(e.reply, now)) return Injected::Exists;

    Packet p;
    p.tuple = p.original = e.original;
    p.reply = e.reply;
    p.hash = hash(d.key, p.original);
    p.in_port = e.in_port;
    p.out_port = e.out_port;
    p.state = CtState::New;
    p.mark = e.mark;
    p.track.split_zone = e.original.zone != e.reply.zone;
    p.track.reply_zone = e.reply.zone;
    const std::uint32_t i = d.allocate(w, p, now);
    if (i == Pool::kNone) return Injected::NoRoom;
    d.write_injected(i, p, e, now);
    p.opened = true;
    Injected result =
        d.release.lend != nullptr ? d.release.lend(d.release.self, w, p, now) : Injected::Done;
    if (p.track.any()) d.write_injected(i, p, e, now);  // as the rule of its mapping has it
    if (result == Injected::Done) result = d.link_injected(p, e.status, now);
    if (result != Injected::Done) d.abandon(w, p, now);
    d.pool.give_back(w);
    if (result != Injected::Done) {
        if (result == Injected::NoRoom) me.counters.insert_failed.add();
        return result;
    }
    me.counters.insert.add();
    return Injected::Done;
}

bool Conntrack::Impl::change_labels(ConnHandle h, const std::array<std::uint64_t, 2>& value,
                                    const std::array<std::uint64_t, 2>& mask,
                                    bool& changed) noexcept {
    const std::uint8_t bits = pool.hot(h.index).fixed.load(std::memory_order_acquire);
    if ((bits & fixed::kBooks) == 0 || !lock_life(h)) return false;
    std::array<std::uint64_t, 2>& labels = pool.side(h.index).labels;
    for (std::size_t k = 0; k < labels.size(); ++k) {
        const std::uint64_t next = (labels[k] & ~mask[k]) | (value[k] & mask[k]);
        changed = changed || next != labels[k];
        labels[k] = next;
    }
    unlock_side(h.index);
    return true;
}

Changed Conntrack::change(ConnHandle h, const Change& c, Nanos now, std::uint32_t by) {
    Impl& d = *impl_;
    const std::lock_guard guard{d.control_mutex};
    const WorkerId w = d.worker_count;
    Impl::Worker& me = *d.workers[w];
    me.by = by;
    HotLine& hot = d.pool.hot(h.index);
    std::uint64_t word = hot.meta.load(std::memory_order_acquire);
    const auto is_life = [&h](Meta m) { return m.is_linked_as(h.generation); };
    if (!is_life(Meta{word})) return Changed::Gone;
    const std::uint8_t fixed_bits = hot.fixed.load(std::memory_order_acquire);
    const TupleKey tuple_key{0, hot.original_rest.load(std::memory_order_acquire)};
    const bool has_states = proto::needs_side(tuple_key.tuple().proto);
    // Labels first, as they alone can be refused once the rest has been looked at.
    if (c.timeout_s && Meta{word}.fixed_timeout()) return Changed::FixedTimeout;
    bool label_changed = false;
    if ((c.label_mask[0] | c.label_mask[1]) != 0 &&
        !d.change_labels(h, c.labels, c.label_mask, label_changed))
        return Changed::NoLabels;

    Meta next;
    bool was_assured = false;
    do {
        const Meta m{word};
        if (!is_life(m)) return Changed::Gone;
        was_assured = m.assured();
        next = with_status(m, c.status);
        if (c.timeout_s) next.set_deadline(to_ticks(now) + *c.timeout_s * kTicksPerSecond);
        if (c.state && has_states) next.set_state(*c.state);
    } while (!hot.meta.compare_exchange_weak(word, next.word(), std::memory_order_acq_rel,
                                             std::memory_order_acquire));
    d.count_kept(me, fixed_bits, tuple_key.tuple().proto, Meta{word}, next);
    d.note_closing(me, h, Meta{word}, next, to_ticks(now));
    if (next.assured() && !was_assured) {
        d.promote(h, fixed_bits);
        Impl::count_out(me);
    }
    // The lock keeps the entry from being filled for another life, to which the mark would fall.
    if (c.mark_mask != 0 && d.lock_life(h)) {
        std::uint32_t mark = hot.mark.load(std::memory_order_acquire);
        while (!hot.mark.compare_exchange_weak(mark, (mark & ~c.mark_mask) | (c.mark & c.mark_mask),
                                               std::memory_order_acq_rel))
            continue;
        d.unlock_side(h.index);
    }
    if (d.listening()) d.emit(w, EventType::Update, cause::kFromOutside, h, now);
    return Changed::Done;
}

void Conntrack::set_labels(WorkerId w, const Packet& p, const std::array<std::uint64_t, 2>& labels,
                           Nanos now) noexcept {
    Impl& d = *impl_;
    if (!p.conn.valid()) return;
    const Meta m{d.pool.hot(p.conn.index).meta.load(std::memory_order_acquire)};
    bool changed = false;
    if (!d.change_labels(p.conn, labels, labels, changed)) return;
    if (changed && m.life() == life::kLinked && d.listening())
        d.emit(w, EventType::Update, cause::kLabel, p.conn, now);
}

ConnFacts Conntrack::facts(const Packet& p, Nanos now) const noexcept {
    ConnFacts out;
    EntryCopy e;
    const auto same_life = [&](Meta m) { return m.generation() == p.conn.generation; };
    if (!p.conn.valid() || !impl_->read(p.conn.index, e, same_life)) return out;
    Snapshot s;
    if (!impl_->fill_snapshot(p.conn.index, e, to_ticks(now), s)) return out;
    out.labels = s.labels;
    out.expires_s = s.timeout_s;
    out.helper = s.helper;
    return out;
}

}  // namespace ct
