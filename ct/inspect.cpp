// SPDX-License-Identifier: BSD-3-Clause
//
// The trackers judge a copy of what an entry remembers by the very functions that judge the entry
// itself (ct/proto), so that an explanation cannot say anything else than what was decided.
#include "ct/inspect.hpp"

#include "ct/conntrack_impl.hpp"

#include <algorithm>
#include <limits>

namespace ct {

bool Conntrack::inspect(ConnHandle h, Nanos now, Inspection& out) const noexcept {
    const Impl& d = *impl_;
    EntryCopy e;
    const auto same_life = [&](Meta m) { return m.is_linked_as(h.generation); };
    if (!d.read(h.index, e, same_life)) return false;
    const Ticks ticks = to_ticks(now);
    out = Inspection{};
    if (!d.fill_snapshot(h.index, e, ticks, out.conn)) return false;
    out.age = Nanos{ticks - e.born} * kNanosPerTick;
    const HotLine& hot = d.pool.hot(h.index);
    out.out_port = hot.out_port.load(std::memory_order_acquire);
    if (!same_life(Meta{hot.meta.load(std::memory_order_acquire)})) return false;

    const std::uint8_t protocol = e.original.proto;
    const bool varies = (e.fixed_bits & fixed::kVariant) != 0;
    if (!varies && !proto::needs_side(protocol)) return true;
    if (!d.lock_side(h)) return false;
    const SideLines& side = d.pool.side(h.index);
    if (varies) out.variant = side.variant;
    if (protocol == ipproto::kTcp) {
        out.last = side.last;
        out.window = side.window;
        if (side.window[0].adjust != 0) out.adjust = d.adjustments.at(side.window[0].adjust);
    }
    if (protocol == ipproto::kSctp) out.peer = side.peer;
    d.unlock_side(h.index);
    return true;
}

std::optional<ConnHandle> Conntrack::holder_of(const Tuple& t, Nanos now) const noexcept {
    const Impl& d = *impl_;
    Match m;
    std::uint64_t restarts = 0;
    if (!d.find(t, hash(d.key, t), to_ticks(now), m, restarts)) return {};
    return m.conn;
}

Judgement Conntrack::judge(const Inspection& before, const Packet& p) const noexcept {
    SideLines side;
    if (p.tuple.proto == ipproto::kSctp)
        side.peer = before.peer;
    else
        side.window = before.window;
    side.last = before.last;
    SeqAdjust adjust = before.adjust;
    const proto::View view{.state = before.conn.state,
                           .had_reply = (before.conn.status & status::kSeenReply) != 0,
                           .assured = (before.conn.status & status::kAssured) != 0,
                           .nat_clash = (before.conn.status & status::kNatClash) != 0,
                           .remaining_s = before.conn.timeout_s,
                           .age = before.age,
                           .side = &side,
                           .adjust = before.window[0].adjust != 0 ? &adjust : nullptr};
    const Settings& settings = impl_->settings_of(before.variant);
    Judgement out;
    out.own_timeouts = variant::policy_of(before.variant) != 0;
    out.verdict = proto::explain(p, view, settings, out.window);
    return out;
}

Judgement Conntrack::judge_opening(const Packet& p) const noexcept {
    SideLines scratch;
    Judgement out;
    out.own_timeouts = variant::policy_of(p.track.variant) != 0;
    out.verdict = proto::open(p, scratch, impl_->settings_of(p.track.variant));
    return out;
}

std::optional<Conntrack::Impl::Prey> Conntrack::Impl::foresee_victim(const Reservations* kept,
                                                                     bool closing_too,
                                                                     Newcomer& who,
                                                                     Nanos now) const noexcept {
    bool embryonic = false;
    bool any_mapped = false;
    for (std::uint32_t i = 0; i < pool.indices(); ++i) {
        const HotLine& hot = pool.hot(i);
        const Meta m{hot.meta.load(std::memory_order_acquire)};
        if (m.life() != life::kLinked || m.nat_clash()) continue;
        const bool closes = closing_too && proto::is_closing(protocol_of(hot), m.state());
        if (m.assured() && !closes) continue;
        Newcomer told = who;
        const Judgement j = judge(kept, {i, m.generation()}, told, now);
        if (j == Judgement::Yes && closes) return Prey::Closing;
        if (j == Judgement::Yes && !closing_too) return Prey::Embryonic;
        embryonic |= j == Judgement::Yes;
        any_mapped |= j == Judgement::Mapped;
        // Whoever meets one that is too young looks no further.
        if (j == Judgement::Young || (j == Judgement::Spared && who.refusal == Drop::CtTableFull))
            who.refusal = told.refusal;
    }
    if (embryonic) return Prey::Embryonic;
    if (any_mapped && who.refusal == Drop::CtTableFull) who.refusal = Drop::CtMappingKept;
    return {};
}

Prospect Conntrack::prospect(const Tuple& t, Nanos now) const noexcept {
    const Impl& d = *impl_;
    Prospect out;
    out.overflow = d.settings.overflow;
    out.in_use = d.pool.in_use();
    out.max = d.settings.max;
    std::int64_t embryonic = 0;
    for (const auto& w : d.workers) embryonic += w->embryonic.load(std::memory_order_relaxed);
    out.embryonic = static_cast<std::uint32_t>(std::max<std::int64_t>(embryonic, 0));
    const std::uint64_t budget = std::uint64_t{out.max} * d.settings.embryonic_percent / 100;
    out.embryonic_budget = static_cast<std::uint32_t>(std::max<std::uint64_t>(budget, 1));

    const auto refuse = [&out](Drop why) {
        out.room = Prospect::Room::Refused;
        out.refusal = why;
        return out;
    };
    if (d.quota != nullptr) {
        const std::uint64_t source = d.quota->key_of(t.family, t.src, t.zone);
        out.source_limit = d.room.per_source.max_entries;
        if (out.source_limit != 0) out.source_entries = d.quota->entries(source);
        if (const Drop why = d.quota->foresee(source, now); why != Drop::None) return refuse(why);
    }
    // What is reserved and not in use, its own source's left out.
    std::int64_t unclaimed = 0;
    const int own = d.reservation_of(t.family, t.src);
    Reservations kept;
    for (std::size_t k = 0; k < d.room.reserve.size(); ++k) {
        std::int64_t used = 0;
        for (const auto& w : d.workers) used += w->reserved->own[k].load(std::memory_order_relaxed);
        kept.in_use[k] = used;
        const std::int64_t left = std::max<std::int64_t>(d.room.reserve[k].entries - used, 0);
        if (static_cast<int>(k) == own) {
            out.reserved = d.room.reserve[k].entries;
            if (left > 0) unclaimed = std::numeric_limits<std::int64_t>::min() / 2;
        }
        unclaimed += left;
    }
    const std::int64_t taken = std::int64_t{out.in_use} + std::max<std::int64_t>(unclaimed, 0);
    const bool full = out.in_use >= out.max;
    const bool short_of_room = full || taken >= std::int64_t{out.max};
    const bool over_budget = d.oldest_goes() && out.embryonic >= out.embryonic_budget;
    if (!short_of_room && !over_budget) return out;
    Newcomer who;
    who.reservation = own;
    if (!full) who.refusal = Drop::CtReserved;
    if (d.oldest_goes()) {
        const Reservations* const reserved = d.room.reserve.empty() ? nullptr : &kept;
        std::optional<Impl::Prey> victim;
        // Where too many are not assured, the oldest of them goes first, whatever is closing.
        Newcomer as_first = who;
        if (over_budget) victim = d.foresee_victim(reserved, false, as_first, now);
        if (!victim && short_of_room)
            victim =
                d.foresee_victim(reserved, d.settings.overflow == Overflow::ClosingFirst, who, now);
        if (victim) out.room = Prospect::Room::Evicted;
        out.closing_goes = victim == Impl::Prey::Closing;
        if (victim || !short_of_room) return out;
    }
    if (d.settings.overflow == Overflow::Linux) {
        out.room = Prospect::Room::Evicted;
        return out;
    }
    const bool reject = d.settings.overflow == Overflow::Reject && who.refusal == Drop::CtTableFull;
    return refuse(reject ? Drop::CtTableReject : who.refusal);
}

}  // namespace ct
