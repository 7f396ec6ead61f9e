// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "ct/base/time.hpp"

#include <chrono>

namespace dp {

/// The daemon's time: nanoseconds since 1970, of the wall clock when it was made and running evenly
/// from there, whatever becomes of the wall clock. Time-outs need the evenness; the time stamps of
/// `conntrack -E -o timestamp` need the epoch.
class Clock {
public:
    Clock() noexcept
        : offset_{nanos(std::chrono::system_clock::now()) -
                  nanos(std::chrono::steady_clock::now())} {}

    [[nodiscard]] ct::Nanos now() const noexcept {
        return nanos(std::chrono::steady_clock::now()) + offset_;
    }

private:
    template <class TimePoint>
    [[nodiscard]] static ct::Nanos nanos(TimePoint t) noexcept {
        return static_cast<ct::Nanos>(
            std::chrono::duration_cast<std::chrono::nanoseconds>(t.time_since_epoch()).count());
    }

    ct::Nanos offset_;  ///< unsigned, and meant to wrap if the wall clock is wrong
};

}  // namespace dp
