// SPDX-License-Identifier: BSD-3-Clause
#include "ct/events.hpp"

#include <bit>

namespace ct {

EventRing::EventRing(std::size_t capacity) : slots_(std::bit_ceil(capacity)) {}

bool EventRing::push(const Event& e) noexcept {
    const std::size_t tail = tail_.load(std::memory_order_relaxed);
    if (tail - head_.load(std::memory_order_acquire) == slots_.size()) {
        lost_.store(lost_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
        return false;
    }
    slots_[tail & (slots_.size() - 1)] = e;
    tail_.store(tail + 1, std::memory_order_release);
    return true;
}

bool EventRing::pop(Event& out) noexcept {
    const std::size_t head = head_.load(std::memory_order_relaxed);
    if (head == tail_.load(std::memory_order_acquire)) return false;
    out = slots_[head & (slots_.size() - 1)];
    head_.store(head + 1, std::memory_order_release);
    return true;
}

}  // namespace ct
