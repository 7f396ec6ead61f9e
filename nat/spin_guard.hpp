// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "ct/base/cache.hpp"

#include <atomic>
#include <cstdint>

namespace nat {

/// Holds a lock of one word, 0 while it is free. For sections of some tens of instructions: who
/// waits spins.
class SpinGuard {
public:
    explicit SpinGuard(std::atomic<std::uint32_t>& lock) noexcept : lock_{lock} {
        while (lock_.exchange(1, std::memory_order_acquire) != 0)
            while (lock_.load(std::memory_order_relaxed) != 0) ct::spin_pause();
    }
    ~SpinGuard() { lock_.store(0, std::memory_order_release); }
    SpinGuard(const SpinGuard&) = delete;
    SpinGuard& operator=(const SpinGuard&) = delete;

private:
    std::atomic<std::uint32_t>& lock_;
};

}  // namespace nat
