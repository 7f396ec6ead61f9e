// SPDX-License-Identifier: BSD-3-Clause
//
// The invariants of the architecture, checked over a whole table at rest.
#include "ct/conntrack_impl.hpp"

#include <algorithm>
#include <array>
#include <string>
#include <unordered_map>
#include <vector>

namespace ct {

namespace {

/// What a walk over the entries adds up to.
struct Census {
    std::uint32_t linked = 0;
    std::uint64_t slots_due = 0;
    std::int64_t embryonic = 0;
    std::int64_t closing_kept = 0;
    std::array<std::int64_t, kMaxReservations> reserved{};
};

std::string at(std::uint32_t i) {
    return " (entry " + std::to_string(i) + ")";
}

}  // namespace

/// One object's checks, in order. Each returns what is wrong, or nothing.
class Conntrack::Invariants {
public:
    explicit Invariants(const Conntrack& table) : table_{table}, d_{*table.impl_} {}

    [[nodiscard]] std::string entries();
    [[nodiscard]] std::string slots() const;
    [[nodiscard]] std::string counts() const;

private:
    [[nodiscard]] std::string places(std::uint32_t i, const EntryCopy& e);
    [[nodiscard]] bool unique(const Tuple& t);

    const Conntrack& table_;
    const Impl& d_;
    Census census_;
    std::unordered_map<std::uint64_t, std::vector<Tuple>> seen_;
};

bool Conntrack::Invariants::unique(const Tuple& t) {
    std::vector<Tuple>& same_hash = seen_[hash(d_.key, t)];
    const bool fresh = std::find(same_hash.begin(), same_hash.end(), t) == same_hash.end();
    same_hash.push_back(t);
    return fresh;
}

/// Where a linked entry stands.
std::string Conntrack::Invariants::places(std::uint32_t i, const EntryCopy& e) {
    const auto slots_in = [&](std::uint32_t bucket) {
        unsigned n = 0;
        d_.index.visit(bucket, [&](std::uint16_t, Ref r, bool, std::uint8_t) {
            if (r == Ref::make(i, e.meta.generation())) ++n;
        });
        return n;
    };
    const bool mirror = (e.fixed_bits & fixed::kMirror) != 0;
    const HotLine& h = d_.pool.hot(i);
    const std::uint32_t b1 = h.original_bucket.load();
    const std::uint32_t b2 = h.reply_bucket.load();
    // An entry that lost a clash stands under its reply tuple only.
    const bool clash = e.meta.nat_clash();
    census_.slots_due += mirror || clash ? 1 : 2;
    const unsigned expected = !mirror && !clash && b1 == b2 ? 2 : 1;
    if (!clash && slots_in(b1) != expected)
        return "I2: not one slot under the original tuple" + at(i);
    if (!mirror && slots_in(b2) != expected)
        return "I2: not one slot under the reply tuple" + at(i);
    if (mirror != (e.reply == reply_of(e.original)))
        return "I2: mirror bit contradicts the tuples" + at(i);
    // What a host sends to itself without ports has one tuple for both directions.
    if ((!clash && !unique(e.original)) || (e.reply != e.original && !unique(e.reply)))
        return "I3: a tuple is held twice" + at(i);
    return {};
}

std::string Conntrack::Invariants::entries() {
    for (std::uint32_t i = 0; i < d_.pool.indices(); ++i) {
        EntryCopy e;
        if (!d_.read(i, e, [](const Meta& m) { return m.life() != life::kFree; })) continue;
        if (e.meta.life() != life::kLinked) return "I1: neither free nor linked at rest" + at(i);
        ++census_.linked;
        if (!e.meta.assured()) ++census_.embryonic;
        if (d_.is_kept(e.fixed_bits) && proto::is_closing(e.original.proto, e.meta.state()))
            ++census_.closing_kept;
        if (const int r = d_.reservation_of(e.original.family, e.original.src); r >= 0)
            ++census_.reserved[static_cast<std::size_t>(r)];
        if (std::string wrong = places(i, e); !wrong.empty()) return wrong;
    }
    return {};
}

std::string Conntrack::Invariants::slots() const {
    std::uint64_t slots = 0;
    std::uint64_t misjudged = 0;
    for (std::uint32_t b = 0; b < 1U << d_.index.log2_buckets(); ++b)
        d_.index.visit(b, [&](std::uint16_t, Ref r, bool assured, std::uint8_t) {
            ++slots;
            misjudged += assured != Meta{d_.pool.hot(r.index()).meta.load()}.assured() ? 1 : 0;
        });
    if (misjudged != 0)
        return "I5: " + std::to_string(misjudged) + " slots contradict their entry's being assured";
    if (slots != census_.slots_due)
        return "I1: " + std::to_string(slots) + " slots for " + std::to_string(census_.slots_due) +
               " due";
    return {};
}

std::string Conntrack::Invariants::counts() const {
    if (census_.linked != d_.pool.in_use())
        return "I8: " + std::to_string(census_.linked) + " linked, " +
               std::to_string(d_.pool.in_use()) + " in use";
    std::int64_t counted = 0;
    std::int64_t kept = 0;
    for (const auto& w : d_.workers) {
        counted += w->embryonic.load();
        kept += w->closing_kept.load();
    }
    if (counted != census_.embryonic)
        return "I8: embryonic count " + std::to_string(counted) + ", are " +
               std::to_string(census_.embryonic);
    if (kept != census_.closing_kept)
        return "I8: " + std::to_string(kept) + " counted as closing and kept, are " +
               std::to_string(census_.closing_kept);
    if (table_.counters().assured_evicted != 0 &&
        table_.settings().overflow != Overflow::ClosingFirst)
        return "I5: an assured entry was evicted";
    for (std::size_t k = 0; k < d_.room.reserve.size(); ++k) {
        std::int64_t booked = 0;
        for (const auto& w : d_.workers) booked += w->reserved->own[k].load();
        if (booked != census_.reserved[k])
            return "I8: " + std::to_string(booked) + " booked under reservation " +
                   std::to_string(k) + ", are " + std::to_string(census_.reserved[k]);
    }
    if (d_.quota != nullptr && !d_.quota->accounts_for(census_.linked))
        return "I8: what is booked to sources is not what is linked";
    return {};
}

std::string Conntrack::check_invariants() const {
    Invariants check{*this};
    std::string wrong = check.entries();
    if (wrong.empty()) wrong = check.slots();
    if (wrong.empty()) wrong = check.counts();
    return wrong;
}

}  // namespace ct
