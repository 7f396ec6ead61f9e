// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "bench/harness/clock.hpp"

#include <algorithm>
#include <cstdint>
#include <vector>

namespace bench {

/// The times of many short pieces of work. Memory for them is taken beforehand.
class Times {
public:
    explicit Times(std::size_t most) { ticks_.reserve(most); }

    /// Times `work`. What comes after the last of those that were planned is not kept.
    template <class Work>
    void time(Work&& work) {
        const std::uint64_t begin = tsc();
        work();
        const std::uint64_t took = tsc() - begin;
        if (ticks_.size() < ticks_.capacity())
            ticks_.push_back(static_cast<std::uint32_t>(std::min<std::uint64_t>(took, ~0U)));
    }
    /// The time that a share of `q` took at most, in nanoseconds. Reorders; not empty.
    [[nodiscard]] double quantile_ns(double q) {
        const auto at =
            static_cast<std::ptrdiff_t>(q * static_cast<double>(ticks_.size() - 1) + 0.5);
        std::nth_element(ticks_.begin(), ticks_.begin() + at, ticks_.end());
        return ticks_[static_cast<std::size_t>(at)] * ns_per_tick();
    }
    [[nodiscard]] std::size_t size() const noexcept { return ticks_.size(); }
    void clear() noexcept { ticks_.clear(); }

private:
    std::vector<std::uint32_t> ticks_;
};

}  // namespace bench
