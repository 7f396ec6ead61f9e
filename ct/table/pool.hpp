// SPDX-License-Identifier: BSD-3-Clause
//
// The entries and who may use them. The memory is type-stable: an entry's lines are never unmapped,
// so a stale reference reads an entry of another life, never something else.
//
// Free entries stand in a stack of all and in a cache a worker. A worker takes from and gives to
// its own cache; a batch moves between it and the stack when it runs dry or over, so that the
// stack's lock is taken once a batch. Of a small pool, where caches would strand a good part of it,
// everything stays in the stack: then `max` is exact to the entry.
//
// Each worker has an entry more, which counts nowhere: the one that its next connection is written
// to before it is known whether there will be a connection. When there is, the worker takes a free
// entry, in the place of which that one is used.
#pragma once

#include "ct/base/atomic.hpp"
#include "ct/base/check.hpp"
#include "ct/base/handle.hpp"
#include "ct/conn/entry.hpp"
#include "ct/table/memory.hpp"

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

namespace ct {

class Pool {
public:
    static constexpr std::uint32_t kNone = ConnHandle::kNone;
    static constexpr std::uint32_t kBatch = 64;  ///< entries moved at once
    /// As long as the stack has any, a cache knows at least so many of the entries to come.
    static constexpr std::uint32_t kAhead = 8;

    /// `capacity` entries for `workers` users. Throws std::bad_alloc.
    Pool(std::uint32_t capacity, std::uint32_t workers, Pages largest);

    [[nodiscard]] std::uint32_t capacity() const noexcept { return capacity_; }
    /// Indices are 0 .. indices() - 1; of those, capacity() are in use or free.
    [[nodiscard]] std::uint32_t indices() const noexcept {
        return capacity_ + static_cast<std::uint32_t>(caches_.size());
    }
    /// The entry that worker `w` has beyond the capacity, at first.
    [[nodiscard]] std::uint32_t spare(std::uint32_t w) const noexcept { return capacity_ + w; }
    [[nodiscard]] HotLine& hot(std::uint32_t i) const noexcept {
        return entries_.as<Entry>()[i].hot;
    }
    [[nodiscard]] SideLines& side(std::uint32_t i) const noexcept {
        return entries_.as<Entry>()[i].side;
    }
    [[nodiscard]] Addrs6& addrs6(std::uint32_t i) const noexcept { return addrs6_.as<Addrs6>()[i]; }

    /// A free entry for worker `w`, or kNone if there is none left outside other workers' caches.
    [[nodiscard]] std::uint32_t take(std::uint32_t w) noexcept {
        Cache& c = caches_[w];
        const std::uint32_t count = c.count.load(std::memory_order_relaxed);
        if (count <= kAhead) [[unlikely]]
            return take_scarce(c);
        c.count.store(count - 1, std::memory_order_relaxed);
        return c.entries[count - 1];
    }
    /// How many `w` has in its cache.
    [[nodiscard]] std::uint32_t cached(std::uint32_t w) const noexcept {
        return caches_[w].count.load(std::memory_order_relaxed);
    }
    /// The entry that the (n+1)-th take() from now will return if nothing else happens, or kNone if
    /// the cache does not reach that far: what to prefetch.
    [[nodiscard]] std::uint32_t peek(std::uint32_t w, std::uint32_t n) const noexcept {
        const Cache& c = caches_[w];
        const std::uint32_t count = c.count.load(std::memory_order_relaxed);
        return n < count ? c.entries[count - 1 - n] : kNone;
    }
    /// Gives entry `i` back. Its generation has gone up before.
    void give(std::uint32_t w, std::uint32_t i) noexcept {
        if constexpr (kChecks >= 1)
            check(Meta{hot(i).meta.load(std::memory_order_relaxed)}.life() == life::kFree,
                  "I1: what is given back is free");
        Cache& c = caches_[w];
        const std::uint32_t count = c.count.load(std::memory_order_relaxed);
        if (batch_ == 0 || count == c.entries.size()) [[unlikely]]
            return give_to_stack(c, i);
        c.entries[count] = i;
        c.count.store(count + 1, std::memory_order_relaxed);
    }

    /// Gives what `w` has in its cache back to all; for who does not take and give all the time.
    void give_back(std::uint32_t w) noexcept;

    /// Entries not free. Exact at rest; any thread.
    [[nodiscard]] std::uint32_t in_use() const noexcept;
    [[nodiscard]] Pages pages() const noexcept { return entries_.pages(); }
    [[nodiscard]] std::size_t bytes() const noexcept {
        return entries_.size() + std::size_t{capacity_} * sizeof(std::uint32_t);
    }
    /// What IPv6 takes beside it, if every entry is of IPv6: its memory is taken as they come.
    [[nodiscard]] std::size_t ipv6_bytes() const noexcept { return addrs6_.size(); }

private:
    /// A worker's own free entries; written by it alone, `count` read by in_use().
    struct alignas(kCacheLine) Cache {
        Atomic<std::uint32_t> count{0};
        std::array<std::uint32_t, 2 * kBatch> entries{};
    };

    void lock() noexcept;
    void unlock() noexcept { locked_.store(false, std::memory_order_release); }
    [[nodiscard]] std::uint32_t take_scarce(Cache& c) noexcept;
    void give_to_stack(Cache& c, std::uint32_t i) noexcept;
    void refill(Cache& c) noexcept;
    void spill(Cache& c) noexcept;

    std::uint32_t capacity_;
    std::uint32_t batch_;  ///< kBatch, or 0: no caches
    Region entries_;
    Region addrs6_;
    std::vector<Cache> caches_;

    alignas(kCacheLine) Atomic<bool> locked_{false};
    Atomic<std::uint32_t> free_count_{0};  ///< under the lock; read by anyone
    std::vector<std::uint32_t> free_;      ///< under the lock; the first free_count_ are free
};

}  // namespace ct
