// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <atomic>
#include <memory>

namespace ct {

/// A value that control replaces as a whole while workers read it. Each read is one load, which on
/// x86-64 is a plain mov. Whoever replaces the value gets the old one, and may destroy it only once
/// every worker has let go of what it had read: workers read at their every use and keep nothing
/// beyond a turn.
template <class T>
class Published {
public:
    explicit Published(std::unique_ptr<const T> first) noexcept : now_{first.release()} {}
    ~Published() { delete now_.load(std::memory_order_relaxed); }
    Published(const Published&) = delete;
    Published& operator=(const Published&) = delete;

    [[nodiscard]] const T& get() const noexcept { return *now_.load(std::memory_order_acquire); }
    /// One thread at a time.
    [[nodiscard]] std::unique_ptr<const T> replace(std::unique_ptr<const T> next) noexcept {
        return std::unique_ptr<const T>{now_.exchange(next.release(), std::memory_order_acq_rel)};
    }

private:
    std::atomic<const T*> now_;
};

}  // namespace ct
