// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "dataplane/control/config.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace dp {

/// Sets spdlog's default logger up: `TIME LEVEL sluice: message` on standard error, or appended to
/// the file that `config` names. Throws std::runtime_error if that cannot be opened.
void start_log(const LogConfig& config);

/// While it lives, DPDK's messages go to the log at level debug: drivers complain about a good deal
/// that is no trouble. The last ones are kept, for when something fails. One at a time.
class DpdkLog {
public:
    DpdkLog();
    ~DpdkLog();
    DpdkLog(const DpdkLog&) = delete;
    DpdkLog& operator=(const DpdkLog&) = delete;

    /// The last messages, oldest first. Any thread.
    [[nodiscard]] std::vector<std::string> tail() const;
    /// Takes a message. Any thread.
    void add(std::string_view message);

private:
    static constexpr std::size_t kKept = 12;

    mutable std::mutex mutex_;
    std::deque<std::string> tail_;  ///< under mutex_
    std::FILE* stream_ = nullptr;
};

/// Lets at most `burst` messages out at once and one more each `period`; what Linux calls
/// net_ratelimit, with its default of 10 in 5 seconds. Time is the caller's.
class LogLimit {
public:
    explicit LogLimit(std::uint32_t burst = 10, std::uint64_t period_ns = 500'000'000) noexcept
        : burst_{burst}, period_ns_{period_ns}, tokens_{burst} {}

    /// How many of `wanted` messages may be logged now.
    [[nodiscard]] std::uint64_t admit(std::uint64_t wanted, std::uint64_t now_ns) noexcept {
        if (const std::uint64_t fresh = (now_ns - since_ns_) / period_ns_; fresh > 0) {
            tokens_ = std::min<std::uint64_t>(burst_, tokens_ + fresh);
            since_ns_ += fresh * period_ns_;
        }
        const std::uint64_t admitted = std::min(wanted, tokens_);
        tokens_ -= admitted;
        return admitted;
    }

private:
    std::uint64_t burst_;
    std::uint64_t period_ns_;
    std::uint64_t tokens_;
    std::uint64_t since_ns_ = 0;
};

}  // namespace dp
