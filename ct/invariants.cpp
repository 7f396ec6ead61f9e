// SPDX-License-Identifier: BSD-3-Clause
//
// The invariants of the architecture, checked over a whole table at rest.
#include "ct/conntrack_impl.hpp"

#include <algorithm>
#include <unordered_map>

namespace ct {

std::string Conntrack::check_invariants() const {
    const Impl& d = *impl_;
    const auto at = [](std::uint32_t i) { return " (entry " + std::to_string(i) + ")"; };
    std::uint32_t linked = 0;
    std::uint64_t slots_due = 0;
    std::int64_t embryonic = 0;
    std::int64_t closing_kept = 0;
    std::array<std::int64_t, kMaxReservations> reserved{};
    std::unordered_map<std::uint64_t, std::vector<Tuple>> seen;
    const auto unique = [&](const Tuple& t) {
        std::vector<Tuple>& same_hash = seen[hash(d.key, t)];
        const bool fresh = std::find(same_hash.begin(), same_hash.end(), t) == same_hash.end();
        same_hash.push_back(t);
        return fresh;
    };
    const auto slots_of = [&](std::uint32_t i, const Meta& m, std::uint32_t bucket) {
        unsigned n = 0;
        d.index.visit(bucket, [&](std::uint16_t, Ref r, bool, std::uint8_t) {
            if (r == Ref::make(i, m.generation())) ++n;
        });
        return n;
    };

    for (std::uint32_t i = 0; i < d.pool.indices(); ++i) {
        EntryCopy e;
        if (!d.read(i, e, [](const Meta& m) { return m.life() != life::kFree; })) continue;
        if (e.meta.life() != life::kLinked) return "I1: neither free nor linked at rest" + at(i);
        ++linked;
        if (!e.meta.assured()) ++embryonic;
        if (d.is_kept(e.fixed_bits) && proto::is_closing(e.original.proto, e.meta.state()))
            ++closing_kept;
        if (const int r = d.reservation_of(e.original.family, e.original.src); r >= 0)
            ++reserved[static_cast<std::size_t>(r)];
        const bool mirror = (e.fixed_bits & fixed::kMirror) != 0;
        const HotLine& h = d.pool.hot(i);
        const std::uint32_t b1 = h.original_bucket.load();
        const std::uint32_t b2 = h.reply_bucket.load();
        // An entry that lost a clash stands under its reply tuple only.
        const bool clash = e.meta.nat_clash();
        slots_due += mirror || clash ? 1 : 2;
        const unsigned expected = !mirror && !clash && b1 == b2 ? 2 : 1;
        if (!clash && slots_of(i, e.meta, b1) != expected)
            return "I2: not one slot under the original tuple" + at(i);
        if (!mirror && slots_of(i, e.meta, b2) != expected)
            return "I2: not one slot under the reply tuple" + at(i);
        if (mirror != (e.reply == reply_of(e.original)))
            return "I2: mirror bit contradicts the tuples" + at(i);
        // What a host sends to itself without ports has one tuple for both directions.
        if ((!clash && !unique(e.original)) || (e.reply != e.original && !unique(e.reply)))
            return "I3: a tuple is held twice" + at(i);
    }
    std::uint64_t slots = 0;
    std::uint64_t misjudged = 0;
    for (std::uint32_t b = 0; b < 1U << d.index.log2_buckets(); ++b)
        d.index.visit(b, [&](std::uint16_t, Ref r, bool assured, std::uint8_t) {
            ++slots;
            misjudged += assured != Meta{d.pool.hot(r.index()).meta.load()}.assured() ? 1 : 0;
        });
    if (misjudged != 0)
        return "I5: " + std::to_string(misjudged) + " slots contradict their entry's being assured";
    if (slots != slots_due)
        return "I1: " + std::to_string(slots) + " slots for " + std::to_string(slots_due) + " due";
    if (linked != d.pool.in_use())
        return "I8: " + std::to_string(linked) + " linked, " + std::to_string(d.pool.in_use()) +
               " in use";
    std::int64_t counted = 0;
    std::int64_t kept = 0;
    for (const auto& w : d.workers) {
        counted += w->embryonic.load();
        kept += w->closing_kept.load();
    }
    if (counted != embryonic)
        return "I8: embryonic count " + std::to_string(counted) + ", are " +
               std::to_string(embryonic);
    if (kept != closing_kept)
        return "I8: " + std::to_string(kept) + " counted as closing and kept, are " +
               std::to_string(closing_kept);
    if (counters().assured_evicted != 0 && settings().overflow != Overflow::ClosingFirst)
        return "I5: an assured entry was evicted";
    for (std::size_t k = 0; k < d.room.reserve.size(); ++k) {
        std::int64_t booked = 0;
        for (const auto& w : d.workers) booked += w->reserved->own[k].load();
        if (booked != reserved[k])
            return "I8: " + std::to_string(booked) + " booked under reservation " +
                   std::to_string(k) + ", are " + std::to_string(reserved[k]);
    }
    if (d.quota != nullptr && !d.quota->accounts_for(linked))
        return "I8: what is booked to sources is not what is linked";
    return {};
}

}  // namespace ct
