// SPDX-License-Identifier: BSD-3-Clause
//
// Who gets room: how full the table is, what is reserved in it, and what a source may have.
//
// How full it is, is a sum over the workers' caches of free entries. Each worker makes it for
// itself now and then, and goes by its own copy in between: so no packet reads what others write.
// Up to kRecountEvery connections of each worker are therefore not known to the others, and limits
// are kept to within as many.
//
// Adaptive time-outs. Above `start` a worker scales the time-outs that it sets, those of new
// entries and those that a packet refreshes, by (end - entries) / (end - start). The result is a
// second at least, so that an answer still finds its connection. Deadlines that no packet
// refreshes stay as they are. Not scaled: a deadline that is fixed (FIXED_TIMEOUT), one that a
// FIN or RST out of the window cuts, those of fragments, and what control sets.
//
// Reservations. A newcomer whose source has a reservation that is not used up takes any free
// entry. Everybody else must leave as many free as are reserved and not in use. Once they cannot,
// they have to displace somebody, as the policy has it, and never an entry that is within another
// source's reservation: so what is reserved is in use by whom it is for, or free. The source is
// that of the packet which opens the connection.
#include "ct/conntrack_impl.hpp"

#include <algorithm>
#include <cstring>

namespace ct {

void Conntrack::Impl::recount_if_due(Worker& me) noexcept {
    if (pool.capacity() >= kExactBelow && me.opens_until_recount > 0)
        --me.opens_until_recount;
    else
        recount(me);
}

void Conntrack::Impl::recount_if_old(Worker& me, Nanos now) noexcept {
    if (now - me.recounted < kRecountPeriod && pool.capacity() >= kExactBelow) return;
    me.recounted = now;
    recount(me);
}

void Conntrack::Impl::recount(Worker& me) noexcept {
    const std::uint64_t max = settings.max;
    me.opens_until_recount = kRecountEvery;
    me.in_use = pool.in_use();
    me.fill_permille = static_cast<std::uint32_t>(std::uint64_t{me.in_use} * 1000 / max);

    std::int64_t embryonic = 0;
    std::int64_t kept = 0;
    for (const auto& each : workers) {
        embryonic += each->embryonic.load(std::memory_order_relaxed);
        kept += each->closing_kept.load(std::memory_order_relaxed);
    }
    me.embryonic_sum = embryonic;
    me.kept_sum = kept;
    const auto budget = static_cast<std::int64_t>(max * settings.embryonic_percent / 100);
    me.over_budget = embryonic >= std::max<std::int64_t>(budget, 1);

    if (room.adaptive.on()) {
        const std::uint64_t start = max * room.adaptive.start_percent / 100;
        const std::uint64_t end = std::max(max * room.adaptive.end_percent / 100, start + 1);
        const std::uint64_t at = std::clamp<std::uint64_t>(me.in_use, start, end);
        me.time_scale = static_cast<std::uint32_t>((end - at) * kFullTime / (end - start));
    }
    if (me.reserved == nullptr) return;
    Reservations& r = *me.reserved;
    r.unclaimed = 0;
    for (std::size_t k = 0; k < room.reserve.size(); ++k) {
        r.in_use[k] = 0;
        for (const auto& each : workers)
            r.in_use[k] += each->reserved->own[k].load(std::memory_order_relaxed);
        r.unclaimed += std::max<std::int64_t>(room.reserve[k].entries - r.in_use[k], 0);
    }
}

Ticks Conntrack::Impl::scaled_lifetime(const Worker& me, std::uint32_t timeout_s) const noexcept {
    const std::uint64_t ticks = std::uint64_t{timeout_s} * kTicksPerSecond * me.time_scale;
    const auto rounded = static_cast<Ticks>((ticks + kFullTime / 2) / kFullTime);
    return std::max(rounded, kTicksPerSecond);
}

void Conntrack::Impl::shorten(const Worker& me, std::uint32_t i, Ticks now) noexcept {
    Atomic<std::uint64_t>& meta = pool.hot(i).meta;
    Meta m{meta.load(std::memory_order_relaxed)};
    m.set_deadline(now + scaled_lifetime(me, (m.deadline() - now) / kTicksPerSecond));
    meta.store(m.word(), std::memory_order_release);
}

int Conntrack::Impl::reservation_of(Family family, const Addr& source) const noexcept {
    const auto found =
        std::find_if(room.reserve.begin(), room.reserve.end(),
                     [&](const Reservation& r) { return r.prefix.contains(family, source); });
    return found == room.reserve.end() ? Newcomer::kNoReservation
                                       : static_cast<int>(found - room.reserve.begin());
}

Tuple Conntrack::Impl::source_of(std::uint32_t i) const noexcept {
    const HotLine& hot = pool.hot(i);
    Tuple t = TupleKey{hot.original_addrs.load(std::memory_order_acquire),
                       hot.original_rest.load(std::memory_order_acquire)}
                  .tuple();
    if (t.family != Family::Ipv6) return t;
    const std::array<std::uint64_t, 2> words{
        pool.addrs6(i).words[0].load(std::memory_order_acquire),
        pool.addrs6(i).words[1].load(std::memory_order_acquire)};
    std::memcpy(t.src.bytes.data(), words.data(), sizeof words);
    return t;
}

bool Conntrack::Impl::may_take_free(const Worker& me, const Newcomer& who) const noexcept {
    if (me.reserved == nullptr) return true;
    const Reservations& r = *me.reserved;
    if (who.reservation != Newcomer::kNoReservation) {
        const auto k = static_cast<std::size_t>(who.reservation);
        if (r.in_use[k] < room.reserve[k].entries) return true;
    }
    return me.in_use + r.unclaimed < settings.max;
}

Drop Conntrack::Impl::introduce(const Packet& p, Newcomer& who, Nanos now) noexcept {
    const Tuple& t = p.tuple;
    if (!room.reserve.empty()) who.reservation = reservation_of(t.family, t.src);
    if (quota == nullptr) return Drop::None;
    who.source = quota->key_of(t.family, t.src, t.zone);
    quota->prefetch(who.source);
    return quota->admit(who.source, now);
}

void Conntrack::Impl::book_in(Worker& me, const Newcomer& who) noexcept {
    if (quota != nullptr) quota->opened(who.source);
    if (who.reservation == Newcomer::kNoReservation) return;
    std::atomic<std::int64_t>& own = me.reserved->own[static_cast<std::size_t>(who.reservation)];
    own.store(own.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

void Conntrack::Impl::book_out(Worker& me, std::uint32_t i) noexcept {
    const Tuple t = source_of(i);
    if (quota != nullptr) quota->ended(quota->key_of(t.family, t.src, t.zone));
    if (me.reserved == nullptr) return;
    const int r = reservation_of(t.family, t.src);
    if (r == Newcomer::kNoReservation) return;
    std::atomic<std::int64_t>& own = me.reserved->own[static_cast<std::size_t>(r)];
    own.store(own.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
}

std::uint32_t Conntrack::fill_permille(WorkerId w, Nanos now) noexcept {
    Impl::Worker& me = *impl_->workers[w];
    impl_->recount_if_old(me, now);
    return me.fill_permille;
}

}  // namespace ct
