// SPDX-License-Identifier: BSD-3-Clause
#include "nat/ports.hpp"

#include "ct/wire/headers.hpp"

#include <algorithm>
#include <bit>
#include <stdexcept>
#include <utility>

namespace nat {

std::unique_ptr<Ports::Layout> Ports::layout_of(std::vector<AddressRange> ranges) {
    std::sort(ranges.begin(), ranges.end(), [](const AddressRange& a, const AddressRange& b) {
        return a.family != b.family ? a.family < b.family
                                    : Wide::of(a.first, a.family) < Wide::of(b.first, b.family);
    });
    auto out = std::make_unique<Layout>();
    std::uint64_t base = 0;
    for (const AddressRange& r : ranges) {
        Wide first = Wide::of(r.first, r.family);
        const Wide last = Wide::of(r.last, r.family);
        if (!out->ranges.empty() && out->ranges.back().family == r.family) {
            const Wide after = out->ranges.back().first + Wide{0, out->ranges.back().addresses};
            if (last < after) continue;
            first = std::max(first, after);
        }
        const Wide span = last - first;
        const std::uint64_t left = kMaxAddresses - base;
        if (left == 0) break;
        const std::uint64_t count = span.high != 0 || span.low >= left ? left : span.low + 1;
        out->ranges.push_back({r.family, first, count, base});
        base += count;
    }
    out->live = out->ranges.size();
    return out;
}

std::uint64_t Ports::addresses_of(const Layout& layout) noexcept {
    std::uint64_t sum = 0;
    for (const Range& r : layout.ranges) sum += r.addresses;
    return sum;
}

Ports::Ports(std::vector<AddressRange> ranges, std::uint32_t quarantine_s, std::uint32_t spare)
    : layout_{layout_of(std::move(ranges))},
      room_{addresses_of(layout_.get()) + spare},
      any_{room_ != 0},
      period_{quarantine_s * ct::kNanosPerSecond / 2} {
    if (!any_) return;
    // Not on large pages: a space is two small ones, and a few ports should not cost 2 MiB.
    bits_ =
        ct::Region{room_ * kClasses * sizeof(Bits), ct::Region::Touch::Lazily, ct::Pages::Normal};
    if (period_ == 0) return;
    resting_ = ct::Region{room_ * kClasses * sizeof(Resting), ct::Region::Touch::Lazily,
                          ct::Pages::Normal};
    owners_ =
        ct::Region{room_ * kClasses * sizeof(Owners), ct::Region::Touch::Lazily, ct::Pages::Normal};
}

std::unique_ptr<const Ports::Layout> Ports::change(const std::vector<AddressRange>& ranges,
                                                   ct::Nanos now) {
    const auto wanted = [&](const Range& r) {
        return std::any_of(ranges.begin(), ranges.end(), [&](const AddressRange& w) {
            return w.family == r.family && !(r.first < Wide::of(w.first, w.family)) &&
                   !(Wide::of(w.last, w.family) < r.first);
        });
    };
    std::vector<Range> known = layout_.get().ranges;
    const auto gone = std::stable_partition(
        known.begin(), known.end(), [&](const Range& r) { return r.addresses > 1 || wanted(r); });
    auto next = std::make_unique<Layout>();
    next->ranges.assign(known.begin(), gone);
    known.erase(known.begin(), gone);
    std::uint64_t used = addresses_of(layout_.get());
    for (const AddressRange& w : ranges) {
        const Wide first = Wide::of(w.first, w.family);
        next->live = next->ranges.size();
        if (w.first != w.last || find(*next, next->live, w.family, first) != nullptr) continue;
        if (used < room_) {
            next->ranges.push_back({w.family, first, 1, used++});
            continue;
        }
        const auto free = std::find_if(known.begin(), known.end(),
                                       [&](const Range& r) { return all_free(r, now); });
        if (free == known.end())
            throw std::length_error{
                "ports of too many addresses that have gone are still held or rest"};
        next->ranges.push_back({w.family, first, 1, free->base});
        known.erase(free);
    }
    next->live = next->ranges.size();
    next->ranges.insert(next->ranges.end(), known.begin(), known.end());
    return layout_.replace(std::move(next));
}

/// True if nobody holds a port of the one address of `range`, and none rests.
bool Ports::all_free(const Range& range, ct::Nanos now) noexcept {
    for (unsigned c = 0; c < kClasses; ++c) {
        const auto space = static_cast<Space>(range.base * kClasses + c);
        if (!was_used(space)) continue;
        enter_period(space, now);
        if (usage(space).taken != 0) return false;
    }
    return true;
}

std::uint8_t Ports::proto_of(unsigned klass, ct::Family family) noexcept {
    constexpr std::array<std::uint8_t, kClasses> kProtos{ct::ipproto::kTcp, ct::ipproto::kUdp,
                                                         ct::ipproto::kIcmp, ct::ipproto::kUdplite,
                                                         ct::ipproto::kSctp};
    const bool six = family == ct::Family::Ipv6 && kProtos[klass] == ct::ipproto::kIcmp;
    return six ? ct::ipproto::kIcmpv6 : kProtos[klass];
}

const Ports::Range* Ports::find(const Layout& layout, std::size_t ranges, ct::Family family,
                                Wide addr) noexcept {
    for (std::size_t i = 0; i < ranges; ++i) {
        const Range& r = layout.ranges[i];
        if (r.family != family || addr < r.first) continue;
        const Wide offset = addr - r.first;
        if (offset.high == 0 && offset.low < r.addresses) return &r;
    }
    return nullptr;
}

Ports::Space Ports::space_in(const Range* range, ct::Family family, Wide addr,
                             std::uint8_t proto) noexcept {
    if (range == nullptr) return kNoSpace;
    const std::uint64_t at = (range->base + (addr - range->first).low) * kClasses;
    for (unsigned c = 0; c < kClasses; ++c)
        if (proto_of(c, family) == proto) return static_cast<Space>(at + c);
    return kNoSpace;
}

Ports::Space Ports::space_of(ct::Family family, const ct::Addr& addr,
                             std::uint8_t proto) const noexcept {
    const Wide wide = Wide::of(addr, family);
    const Layout& layout = layout_.get();
    return space_in(find(layout, layout.live, family, wide), family, wide, proto);
}

Ports::Space Ports::last_space_of(ct::Family family, const ct::Addr& addr,
                                  std::uint8_t proto) const noexcept {
    const Wide wide = Wide::of(addr, family);
    const Layout& layout = layout_.get();
    return space_in(find(layout, layout.ranges.size(), family, wide), family, wide, proto);
}

std::uint64_t Ports::addresses_from(ct::Family family, const ct::Addr& first) const noexcept {
    const Layout& layout = layout_.get();
    Wide at = Wide::of(first, family);
    std::uint64_t count = 0;
    // Ranges that overlapped are neighbours now.
    while (const Range* r = find(layout, layout.live, family, at)) {
        const std::uint64_t here = r->addresses - (at - r->first).low;
        count += here;
        at = at + Wide{0, here};
    }
    return count;
}

bool Ports::is_taken(Space space, std::uint16_t port) const noexcept {
    return bits(space).ports.has(port);
}

void Ports::note_use(Bits& b) noexcept {
    if (b.used.load(std::memory_order_relaxed) == 0) b.used.store(1, std::memory_order_relaxed);
}

bool Ports::claim(Space space, std::uint16_t port, ct::Nanos now) noexcept {
    enter_period(space, now);
    Bits& b = bits(space);
    if (!b.ports.claim(port)) return false;
    note_use(b);
    return true;
}

std::optional<std::uint16_t> Ports::claim_any(ct::WorkerId w, Space space, const Wanted& wanted,
                                              std::uint64_t random, ct::Nanos now) noexcept {
    enter_period(space, now);
    Bits& b = bits(space);
    note_use(b);
    return b.ports.claim_any(w, wanted, random);
}

void Ports::give_back(Space space, std::uint16_t port, After after, ct::Nanos now,
                      std::uint32_t owner) noexcept {
    if (after == After::AtOnce || period_ == 0) {
        bits(space).ports.free(port);
        return;
    }
    enter_period(space, now);
    const std::uint64_t bit = std::uint64_t{1} << port % 64;
    owners(space)[port].store(owner, std::memory_order_relaxed);
    resting(space).bits[now / period_ % kPeriods][port / 64U].fetch_or(bit);
}

bool Ports::claim_back(Space space, std::uint16_t port, std::uint32_t owner,
                       ct::Nanos now) noexcept {
    if (period_ == 0) return false;
    enter_period(space, now);
    const std::uint64_t bit = std::uint64_t{1} << port % 64;
    for (auto& period : resting(space).bits) {
        std::atomic<std::uint64_t>& word = period[port / 64U];
        if ((word.load(std::memory_order_acquire) & bit) == 0) continue;
        if (owners(space)[port].load(std::memory_order_relaxed) != owner) return false;
        // Whoever clears it has the port, or frees it: its time may be up just now.
        return (word.fetch_and(~bit) & bit) != 0;
    }
    return false;
}

void Ports::enter_period(Space space, ct::Nanos now) noexcept {
    if (period_ == 0) return;
    Bits& b = bits(space);
    const std::uint64_t period = now / period_;
    std::uint64_t entered = b.period.load(std::memory_order_acquire);
    if (entered >= period + 1) return;
    if (!b.period.compare_exchange_strong(entered, period + 1, std::memory_order_acq_rel)) return;
    // What came to rest in period q is freed on entering q + 3. Nothing rests in a new space.
    if (entered == 0) return;
    const std::uint64_t passed = std::min<std::uint64_t>(period + 1 - entered, kPeriods);
    for (std::uint64_t k = 0; k < passed; ++k) {
        auto& rested = resting(space).bits[(period - k + 1) % kPeriods];
        for (unsigned word = 0; word < PortBits::kWords; ++word) {
            if (rested[word].load(std::memory_order_relaxed) == 0) continue;
            b.ports.free(word, rested[word].exchange(0));
        }
    }
}

Ports::Usage Ports::usage(Space space) const noexcept {
    Usage u;
    u.taken = bits(space).ports.count();
    if (period_ == 0) return u;
    for (const auto& period : resting(space).bits)
        for (const auto& word : period)
            u.resting +=
                static_cast<std::uint32_t>(std::popcount(word.load(std::memory_order_relaxed)));
    return u;
}

unsigned Ports::leased_blocks(Space space) const noexcept {
    return bits(space).ports.leased_blocks();
}

}  // namespace nat
