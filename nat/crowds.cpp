// SPDX-License-Identifier: BSD-3-Clause
#include "nat/crowds.hpp"

namespace nat {

Crowds::Crowds()
    : ports_{std::size_t{kSets} * kWays * sizeof(PortBits), ct::Region::Touch::Lazily,
             ct::Pages::Normal} {}

Crowds::Crowd Crowds::find(std::uint64_t key) const noexcept {
    static_assert(kSets == 1U << 7U);
    const auto set = static_cast<std::uint32_t>(key >> 57);
    for (std::uint32_t way = 0; way < kWays; ++way)
        if (sets_[set].keys[way].load(std::memory_order_acquire) == key)
            return {key, ports_.as<PortBits>() + set * kWays + way, set * kWays + way};
    return {};
}

Crowds::Crowd Crowds::open(std::uint64_t key, ct::Nanos now) noexcept {
    const auto now_s = static_cast<std::uint32_t>(now / ct::kNanosPerSecond);
    const auto set = static_cast<std::uint32_t>(key >> 57);
    Set& s = sets_[set];
    if (const Crowd found = find(key); found.ports != nullptr) {
        std::atomic<std::uint32_t>& searched = s.searched_s[found.at % kWays];
        if (searched.load(std::memory_order_relaxed) != now_s)
            searched.store(now_s, std::memory_order_relaxed);
        return found;
    }
    std::uint32_t way = 0;
    for (std::uint32_t w = 0; w < kWays; ++w) {
        const std::uint64_t held = s.keys[w].load(std::memory_order_relaxed);
        if (held == kChanging) return {};
        const auto age_of = [&](std::uint32_t each) {
            return now_s - s.searched_s[each].load(std::memory_order_relaxed);
        };
        if (held == kNone ||
            (s.keys[way].load(std::memory_order_relaxed) != kNone && age_of(w) > age_of(way)))
            way = w;
        if (held == kNone) break;
    }
    std::uint64_t held = s.keys[way].load(std::memory_order_relaxed);
    if (held == kChanging || !s.keys[way].compare_exchange_strong(held, kChanging)) return {};
    PortBits& ports = ports_.as<PortBits>()[set * kWays + way];
    ports.clear();
    s.searched_s[way].store(now_s, std::memory_order_relaxed);
    s.keys[way].store(key);
    // Somebody else may have opened it in another way at the same moment: then it is his, or, if
    // he sees this one, nobody's until somebody opens it again.
    for (std::uint32_t w = 0; w < kWays; ++w)
        if (w != way && s.keys[w].load() == key) {
            s.keys[way].store(kNone);
            return {};
        }
    return {key, &ports, set * kWays + way};
}

}  // namespace nat
