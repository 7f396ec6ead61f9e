// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "ct/base/cache.hpp"

#include <atomic>
#include <bit>
#include <cstddef>
#include <vector>

namespace ct {

/// A bounded queue with one producer and one consumer, of which neither waits for the other.
template <class T>
class Ring {
public:
    /// Holds `capacity` elements, rounded up to a power of two.
    explicit Ring(std::size_t capacity) : slots_(std::bit_ceil(capacity)) {}

    /// Producer. False if the ring is full.
    bool push(const T& value) noexcept {
        const std::size_t tail = tail_.load(std::memory_order_relaxed);
        if (tail - head_.load(std::memory_order_acquire) == slots_.size()) return false;
        slots_[tail & (slots_.size() - 1)] = value;
        tail_.store(tail + 1, std::memory_order_release);
        return true;
    }
    /// Consumer. False if the ring is empty.
    bool pop(T& out) noexcept {
        const std::size_t head = head_.load(std::memory_order_relaxed);
        if (head == tail_.load(std::memory_order_acquire)) return false;
        out = slots_[head & (slots_.size() - 1)];
        head_.store(head + 1, std::memory_order_release);
        return true;
    }

private:
    std::vector<T> slots_;
    alignas(kCacheLine) std::atomic<std::size_t> head_{0};  ///< next to pop; consumer writes
    alignas(kCacheLine) std::atomic<std::size_t> tail_{0};  ///< next to push; producer writes
};

}  // namespace ct
