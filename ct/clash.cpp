// SPDX-License-Identifier: BSD-3-Clause
//
// Two workers have the first two packets of one flow, and each has made an entry: confirm() of the
// slower finds that the faster has the original tuple (semantics.md 2.6).
//
//   both have the same two tuples   the slower joins: its entry is given up, its packet belongs to
//                                   the other one
//   NAT has chosen differently      of UDP, UDP-Lite and GRE the slower's entry is linked too, but
//                                   under its reply tuple only and for a second, as NAT_CLASH: the
//                                   answer to this very packet finds its way, and every later
//                                   packet belongs to the faster
//   the same, of any other protocol the slower joins, and takes the faster's translation
//
// Linux drops the packet in the last case, because it has translated it by then. Here nothing is
// translated before it is confirmed. Nothing is lost either if the slower has no translation while
// the faster has one: it joins.
#include "ct/conntrack_impl.hpp"

namespace ct {

namespace {

/// How long an entry lives that is found under its reply tuple only.
constexpr Ticks kClashLife = kTicksPerSecond;

/// True for the protocols of which Linux lets both entries live.
constexpr bool lets_both_live(std::uint8_t proto) noexcept {
    return proto == ipproto::kUdp || proto == ipproto::kUdplite || proto == ipproto::kGre;
}

}  // namespace

std::optional<Conntrack::Confirmation> Conntrack::Impl::resolve_clash(WorkerId w, Packet& p,
                                                                      const Places& at,
                                                                      ConnHandle winner,
                                                                      Nanos now) noexcept {
    EntryCopy e;
    const auto is_winner = [&](Meta m) { return m.is_linked_as(winner.generation); };
    if (!read(winner.index, e, is_winner)) return std::nullopt;
    const bool same = (e.original == p.original && e.reply == p.reply) ||
                      (e.original == p.reply && e.reply == p.original);
    const bool translated = p.reply != reply_of(p.original);
    if (!same && translated && lets_both_live(p.tuple.proto)) return link_reply(w, p, at, now);
    if (join(w, p, now)) return Confirmation::Joined;
    return std::nullopt;
}

/// Puts p's entry into the place of its reply tuple alone.
std::optional<Conntrack::Confirmation> Conntrack::Impl::link_reply(WorkerId w, Packet& p,
                                                                   const Places& at,
                                                                   Nanos now) noexcept {
    Worker& me = *workers[w];
    const Ticks ticks = to_ticks(now);
    index.lock(at.b2);
    Holder other;
    if (find_holder(at.b2, at.t2, p.reply, ticks, p.conn.index, other)) {
        index.unlock(at.b2);
        if (!other.expired) return Confirmation::ReplyTaken;
        end(w, other.conn, End::Expired, true, now);
        return std::nullopt;
    }
    const Slot slot = index.reserve(at.b2);
    if (!slot.valid()) {
        index.unlock(at.b2);
        me.counters.chaintoolong.add();
        static_cast<void>(evict_in_bucket(w, at.b2, now));
        return std::nullopt;
    }
    HotLine& h = pool.hot(p.conn.index);
    Meta m{h.meta.load(std::memory_order_relaxed)};
    m.set_life(life::kLinked);
    m.set_nat_clash();
    m.set_fixed_timeout();
    m.set_deadline(ticks + kClashLife);
    h.meta.store(m.word(), std::memory_order_release);
    Index::store(slot, at.t2, Ref::make(p.conn.index, m.generation()), age_of(ticks));
    tell_linked(w, p, cause::kNew, now);
    index.unlock(at.b2);

    p.status = status_of(m, h.fixed.load(std::memory_order_relaxed));
    me.counters.clash_resolve.add();
    // Nobody's victim: its second is over before its turn would come.
    count_in(me);
    return Confirmation::Linked;
}

/// Gives p's own entry up for the one that was first with its tuple. False, with nothing changed,
/// if that one has gone again.
bool Conntrack::Impl::join(WorkerId w, Packet& p, Nanos now) noexcept {
    Worker& me = *workers[w];
    Packet other = p;
    other.conn = {};
    other.opened = false;
    other.lease = 0;
    if (!lookup_one(me, other, to_ticks(now))) return false;
    update_one(w, other, now);
    if (!other.conn.valid()) return false;
    abandon(w, p, now);
    p = other;
    me.counters.clash_resolve.add();
    return true;
}

}  // namespace ct
