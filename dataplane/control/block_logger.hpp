// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "ct/base/time.hpp"
#include "dataplane/control/block_writer.hpp"
#include "nat/block_log.hpp"

#include <cstdint>
#include <functional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace dp {

/// Carries the records of port blocks from the workers' rings to their destinations, in a thread of
/// its own: from the first record, that a run begins, to the last block that is taken back at its
/// end.
class BlockLogger {
public:
    struct Hooks {
        /// The workers' time.
        std::function<ct::Nanos()> now;
        /// Wall clock minus the workers' time, in nanoseconds.
        std::function<std::int64_t()> wall_offset_ns;
        /// Takes a line for the daemon's log.
        std::function<void(std::string_view)> notify;
    };

    /// Starts the thread. `config` and `log` outlive this.
    BlockLogger(const Config& config, nat::BlockLog& log, Hooks hooks);
    /// As finish() with nothing to be added.
    ~BlockLogger();
    BlockLogger(const BlockLogger&) = delete;
    BlockLogger& operator=(const BlockLogger&) = delete;

    /// Ends the thread after the workers have: writes what is in the rings and then `last`. What no
    /// destination has taken within `patience` is lost, and the daemon's log says so.
    void finish(std::span<const nat::BlockEvent> last,
                std::chrono::milliseconds patience = std::chrono::seconds{5});

    /// A JSON object: what became of the records, by destination. Any thread.
    [[nodiscard]] std::string json() const;

private:
    void run(const std::stop_token& stop);
    void take_records();
    void add(const nat::BlockEvent& event);
    [[nodiscard]] WallNanos wall(ct::Nanos t) const;

    const Config& config_;
    nat::BlockLog& log_;
    Hooks hooks_;
    BlockWriter writer_;  ///< the thread's, until it has ended
    std::vector<nat::BlockEvent> batch_;
    std::jthread thread_;
};

}  // namespace dp
