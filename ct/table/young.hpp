// SPDX-License-Identifier: BSD-3-Clause
//
// Who goes first: the entries that a worker made and that are not assured yet, oldest first. A ring
// of records, eight bytes each, appended when an entry is confirmed. A record is not taken out when
// its entry is promoted or ends; it is found stale, by generation and status, when its turn comes.
// So the victim of an eviction is known before the packet that needs its place arrives, at O(1).
//
// The owner pushes. Whoever pops, the owner or a worker in want that steals, holds `popping_`.
#pragma once

#include "ct/base/cache.hpp"
#include "ct/base/handle.hpp"

#include <atomic>
#include <cstdint>
#include <span>
#include <vector>

namespace ct {

class YoungRing {
public:
    /// Room for `capacity` records.
    explicit YoungRing(std::size_t capacity) : records_(capacity) {}

    /// Owner. False if the ring is full.
    bool push(ConnHandle h) noexcept {
        const std::size_t tail = tail_.load(std::memory_order_relaxed);
        if (tail - head_.load(std::memory_order_acquire) == records_.size()) return false;
        records_[tail % records_.size()] = h.index | std::uint64_t{h.generation} << 32;
        tail_.store(tail + 1, std::memory_order_release);
        return true;
    }

    /// Any worker. Takes up to out.size() of the oldest records; 0 if there are none or somebody
    /// else is popping.
    std::size_t pop(std::span<ConnHandle> out) noexcept {
        if (popping_.exchange(true, std::memory_order_acquire)) return 0;
        const std::size_t head = head_.load(std::memory_order_relaxed);
        const std::size_t tail = tail_.load(std::memory_order_acquire);
        std::size_t n = tail - head;
        if (n > out.size()) n = out.size();
        for (std::size_t i = 0; i < n; ++i) {
            const std::uint64_t r = records_[(head + i) % records_.size()];
            out[i] = {static_cast<std::uint32_t>(r), static_cast<std::uint16_t>(r >> 32)};
        }
        head_.store(head + n, std::memory_order_release);
        popping_.store(false, std::memory_order_release);
        return n;
    }

    /// Records in the ring, stale ones included. Any thread.
    [[nodiscard]] std::size_t size() const noexcept {
        return tail_.load(std::memory_order_relaxed) - head_.load(std::memory_order_relaxed);
    }
    [[nodiscard]] std::size_t capacity() const noexcept { return records_.size(); }

private:
    std::vector<std::uint64_t>
        records_;  ///< slot: owner between head and tail - capacity, else popper
    alignas(kCacheLine) std::atomic<std::size_t> tail_{0};  ///< owner writes
    alignas(kCacheLine) std::atomic<std::size_t> head_{0};  ///< under popping_
    std::atomic<bool> popping_{false};
};

}  // namespace ct
