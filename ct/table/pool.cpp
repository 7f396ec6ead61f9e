// SPDX-License-Identifier: BSD-3-Clause
#include "ct/table/pool.hpp"

#include <algorithm>

namespace ct {

namespace {

// Caches may hold back this share of the pool at most; below, there are none.
constexpr std::uint32_t kCacheShare = 16;

std::size_t bytes_for(std::uint32_t entries, std::size_t line) {
    return entries * line;
}

}  // namespace

Pool::Pool(std::uint32_t capacity, std::uint32_t workers, Pages largest)
    : capacity_{capacity},
      batch_{capacity / kCacheShare >= workers * 2 * kBatch ? kBatch : 0},
      entries_{bytes_for(capacity + workers, sizeof(Entry)), Region::Touch::Now, largest},
      addrs6_{bytes_for(capacity + workers, sizeof(Addrs6)), Region::Touch::Lazily,
              std::max(largest, Pages::Transparent)},
      caches_(workers),
      free_(capacity) {
    // Popped from the back: low indices first, so that a table with few entries touches few pages.
    for (std::uint32_t i = 0; i < capacity; ++i) free_[i] = capacity - 1 - i;
    free_count_.store(capacity, std::memory_order_relaxed);
}

void Pool::lock() noexcept {
    while (locked_.exchange(true, std::memory_order_acquire))
        while (locked_.load(std::memory_order_relaxed)) spin_pause();
}

void Pool::refill(Cache& c) noexcept {
    if (free_count_.load(std::memory_order_relaxed) == 0) return;
    lock();
    const std::uint32_t free = free_count_.load(std::memory_order_relaxed);
    const std::uint32_t n = std::min(free, kBatch);
    const std::uint32_t count = c.count.load(std::memory_order_relaxed);
    // Below those that it has: what will be taken next is on its way from memory already. In the
    // order in which the stack would hand them out.
    std::copy_backward(c.entries.begin(), c.entries.begin() + count, c.entries.begin() + count + n);
    for (std::uint32_t i = 0; i < n; ++i) c.entries[i] = free_[free - n + i];
    c.count.store(count + n, std::memory_order_relaxed);
    free_count_.store(free - n, std::memory_order_relaxed);
    unlock();
}

void Pool::spill(Cache& c) noexcept {
    lock();
    std::uint32_t free = free_count_.load(std::memory_order_relaxed);
    // The oldest go: the newest are still in the core's caches.
    for (std::uint32_t i = 0; i < kBatch; ++i) free_[free++] = c.entries[i];
    std::copy(c.entries.begin() + kBatch, c.entries.end(), c.entries.begin());
    c.count.store(kBatch, std::memory_order_relaxed);
    free_count_.store(free, std::memory_order_relaxed);
    unlock();
}

void Pool::give_back(std::uint32_t w) noexcept {
    Cache& c = caches_[w];
    const std::uint32_t count = c.count.load(std::memory_order_relaxed);
    if (count == 0) return;
    lock();
    const std::uint32_t free = free_count_.load(std::memory_order_relaxed);
    std::copy_n(c.entries.begin(), count, free_.begin() + free);
    c.count.store(0, std::memory_order_relaxed);
    free_count_.store(free + count, std::memory_order_relaxed);
    unlock();
}

std::uint32_t Pool::take_scarce(Cache& c) noexcept {
    if (batch_ != 0) {
        refill(c);
        const std::uint32_t count = c.count.load(std::memory_order_relaxed);
        if (count == 0) return kNone;
        c.count.store(count - 1, std::memory_order_relaxed);
        return c.entries[count - 1];
    }
    lock();
    const std::uint32_t free = free_count_.load(std::memory_order_relaxed);
    const std::uint32_t taken = free == 0 ? kNone : free_[free - 1];
    if (free != 0) free_count_.store(free - 1, std::memory_order_relaxed);
    unlock();
    return taken;
}

void Pool::give_to_stack(Cache& c, std::uint32_t i) noexcept {
    if (batch_ != 0) {
        spill(c);
        const std::uint32_t count = c.count.load(std::memory_order_relaxed);
        c.entries[count] = i;
        c.count.store(count + 1, std::memory_order_relaxed);
        return;
    }
    lock();
    const std::uint32_t free = free_count_.load(std::memory_order_relaxed);
    free_[free] = i;
    free_count_.store(free + 1, std::memory_order_relaxed);
    unlock();
}

std::uint32_t Pool::in_use() const noexcept {
    std::uint32_t free = free_count_.load(std::memory_order_relaxed);
    for (const Cache& c : caches_) free += c.count.load(std::memory_order_relaxed);
    return capacity_ - std::min(free, capacity_);
}

}  // namespace ct
