// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "ct/base/atomic.hpp"

#include <atomic>

namespace dp {

/// A lock for sections of some tens of instructions between threads that each have a core of their
/// own. Meets BasicLockable, for std::lock_guard.
class SpinLock {
public:
    void lock() noexcept {
        while (flag_.test_and_set(std::memory_order_acquire)) {
            while (flag_.test(std::memory_order_relaxed)) ct::spin_pause();
        }
    }
    void unlock() noexcept { flag_.clear(std::memory_order_release); }

private:
    std::atomic_flag flag_;
};

}  // namespace dp
