// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <atomic>
#include <type_traits>

namespace ct {

/// A value that control may change while workers read it. Each read is one relaxed load, which on
/// x86-64 is a plain mov; values that belong together are not read together, so nothing may rely on
/// two of them having changed at once.
template <class T>
    requires std::is_trivially_copyable_v<T>
class Live {
public:
    constexpr Live() noexcept = default;
    constexpr Live(T value) noexcept : value_{value} {}  // NOLINT(google-explicit-constructor)
    Live(const Live& o) noexcept : value_{o.get()} {}
    Live& operator=(const Live& o) noexcept {
        value_.store(o.get(), std::memory_order_relaxed);
        return *this;
    }
    Live& operator=(T value) noexcept {
        value_.store(value, std::memory_order_relaxed);
        return *this;
    }
    ~Live() = default;

    [[nodiscard]] T get() const noexcept { return value_.load(std::memory_order_relaxed); }
    operator T() const noexcept { return get(); }  // NOLINT(google-explicit-constructor)

private:
    std::atomic<T> value_{};
};

}  // namespace ct
