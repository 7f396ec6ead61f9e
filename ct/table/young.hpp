// SPDX-License-Identifier: BSD-3-Clause
//
// Who goes first: the entries that a worker made and that are not assured yet, oldest first. A ring
// of records, sixteen bytes each, appended when an entry is confirmed. A record is not taken out
// when its entry is promoted or ends; it is found stale, by generation and status, when its turn
// comes. So the victim of an eviction is known before the packet that needs its place arrives, at
// O(1), and with it every line that the eviction will write: the record names the buckets too.
//
// The owner pushes. Whoever pops, the owner or a worker in want that steals, holds `popping_`; no
// other lock is taken under it.
#pragma once

#include "ct/base/atomic.hpp"
#include "ct/base/cache.hpp"
#include "ct/base/handle.hpp"
#include "ct/table/memory.hpp"

#include <cstdint>
#include <span>

namespace ct {

/// An embryonic entry and where it stands in the index.
struct YoungRecord {
    std::uint32_t index = ConnHandle::kNone;
    std::uint32_t original_bucket = 0;
    std::uint32_t reply_bucket = 0;
    std::uint16_t generation = 0;
    bool ipv6 = false;  ///< it has a line of addresses too

    [[nodiscard]] ConnHandle conn() const noexcept { return {index, generation}; }
};
static_assert(sizeof(YoungRecord) == 16);

class YoungRing {
public:
    /// Room for `capacity` records. Throws std::bad_alloc.
    explicit YoungRing(std::size_t capacity)
        : capacity_{capacity},
          crowd_{capacity / 8 * 7},
          memory_{capacity * sizeof(YoungRecord), Region::Touch::Lazily},
          records_{memory_.as<YoungRecord>()} {}

    /// Owner. False if the ring is full.
    bool push(const YoungRecord& r) noexcept {
        const std::size_t tail = tail_.load(std::memory_order_relaxed);
        if (tail - head_.load(std::memory_order_acquire) == capacity_) return false;
        records_[tail_slot_] = r;
        tail_slot_ = after(tail_slot_);
        tail_.store(tail + 1, std::memory_order_release);
        return true;
    }

    /// Any worker. Takes up to out.size() of the oldest records; 0 if there are none.
    std::size_t pop(std::span<YoungRecord> out) noexcept {
        const std::size_t seen = head_.load(std::memory_order_relaxed);
        if (tail_.load(std::memory_order_relaxed) == seen) return 0;
        lock();
        const std::size_t head = head_.load(std::memory_order_relaxed);
        const std::size_t tail = tail_.load(std::memory_order_acquire);
        std::size_t n = tail - head;
        if (n > out.size()) n = out.size();
        for (std::size_t i = 0; i < n; ++i) {
            out[i] = records_[head_slot_];
            head_slot_ = after(head_slot_);
        }
        head_.store(head + n, std::memory_order_release);
        unlock();
        return n;
    }

    /// Any worker. Takes the oldest record if `wanted` says so of it; false also if there is none.
    template <class Wanted>
    bool pop_if(YoungRecord& out, Wanted&& wanted) noexcept {
        lock();
        const std::size_t head = head_.load(std::memory_order_relaxed);
        bool taken = head != tail_.load(std::memory_order_acquire);
        if (taken) {
            out = records_[head_slot_];
            taken = wanted(out);
        }
        if (taken) {
            head_slot_ = after(head_slot_);
            head_.store(head + 1, std::memory_order_release);
        }
        unlock();
        return taken;
    }

    /// Owner. Copies up to out.size() of the oldest records, which others may take meanwhile.
    std::size_t peek(std::span<YoungRecord> out) noexcept {
        lock();
        const std::size_t head = head_.load(std::memory_order_relaxed);
        const std::size_t n = std::min(tail_.load(std::memory_order_relaxed) - head, out.size());
        for (std::size_t i = 0, slot = head_slot_; i < n; ++i, slot = after(slot))
            out[i] = records_[slot];
        unlock();
        return n;
    }

    /// Where the next record will stand. Any thread.
    [[nodiscard]] std::size_t end() const noexcept { return tail_.load(std::memory_order_acquire); }
    /// Drops what stood in the ring when `end` was its end(). Any thread.
    void drop_before(std::size_t end) noexcept {
        lock();
        const std::size_t head = head_.load(std::memory_order_relaxed);
        if (head < end) {
            head_slot_ += end - head;  // at most once round
            if (head_slot_ >= capacity_) head_slot_ -= capacity_;
            head_.store(end, std::memory_order_release);
        }
        unlock();
    }

    /// Records in the ring, stale ones included. Any thread.
    [[nodiscard]] std::size_t size() const noexcept {
        return tail_.load(std::memory_order_relaxed) - head_.load(std::memory_order_relaxed);
    }
    /// True if it is so full that whoever pushes should see to the stale ones first.
    [[nodiscard]] bool crowded() const noexcept { return size() > crowd_; }
    [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }
    [[nodiscard]] std::size_t bytes() const noexcept { return memory_.size(); }

private:
    // Held for as long as it takes to copy a handful of records. Whoever pops waits for it: to give
    // up would be to refuse a newcomer while there are victims.
    void lock() noexcept {
        while (popping_.exchange(true, std::memory_order_acquire)) spin_pause();
    }
    void unlock() noexcept { popping_.store(false, std::memory_order_release); }
    /// The slot behind `slot`; the two counts run on for ever, the slots run round.
    [[nodiscard]] std::size_t after(std::size_t slot) const noexcept {
        return slot + 1 == capacity_ ? 0 : slot + 1;
    }

    const std::size_t capacity_;
    const std::size_t crowd_;  ///< records
    const Region memory_;
    YoungRecord* const records_;  ///< slot: owner between head and tail - capacity, else popper
    alignas(kCacheLine) Atomic<std::size_t> tail_{0};  ///< owner writes
    std::size_t tail_slot_ = 0;                        ///< owner's own
    alignas(kCacheLine) Atomic<std::size_t> head_{0};  ///< under popping_
    std::size_t head_slot_ = 0;                        ///< under popping_
    Atomic<bool> popping_{false};
};

}  // namespace ct
