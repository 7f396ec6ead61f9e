// SPDX-License-Identifier: BSD-3-Clause
//
// What the model has in the place of ct/base/atomic.hpp: an atomic at each access of which the
// explorer (tests/model/explorer.hpp) may let another thread run.
#pragma once

#include "tests/model/steps.hpp"

#include <atomic>
#include <bit>
#include <cstdint>
#include <type_traits>

namespace ct {

template <class T>
    requires std::is_integral_v<T>
class Atomic {
public:
    constexpr Atomic() noexcept = default;
    constexpr Atomic(T value) noexcept : value_{value} {}  // NOLINT(google-explicit-constructor)
    Atomic(const Atomic&) = delete;
    Atomic& operator=(const Atomic&) = delete;

    T load(std::memory_order order = std::memory_order_seq_cst) const noexcept {
        static_cast<void>(order);  // weaker loads are x86-64's loads as well
        return static_cast<T>(model::load(&value_, sizeof(T)));
    }
    void store(T value, std::memory_order order = std::memory_order_seq_cst) noexcept {
        if (order == std::memory_order_seq_cst)
            exchange(value);
        else
            model::store(&value_, sizeof(T), value);
    }
    T exchange(T value, std::memory_order = std::memory_order_seq_cst) noexcept {
        return static_cast<T>(model::exchange(&value_, sizeof(T), value));
    }
    bool compare_exchange_strong(T& expected, T desired,
                                 std::memory_order = std::memory_order_seq_cst,
                                 std::memory_order = std::memory_order_seq_cst) noexcept {
        std::uint64_t seen = expected;
        const bool done = model::compare_exchange(&value_, sizeof(T), seen, desired);
        expected = static_cast<T>(seen);
        return done;
    }
    bool compare_exchange_weak(T& expected, T desired,
                               std::memory_order = std::memory_order_seq_cst,
                               std::memory_order = std::memory_order_seq_cst) noexcept {
        return compare_exchange_strong(expected, desired);  // x86-64 has no other
    }

private:
    T value_{};
};

inline void spin_pause() noexcept {
    model::pause();
}

}  // namespace ct
