// SPDX-License-Identifier: BSD-3-Clause
//
// Writes the log of port blocks: to a file, to a syslog collector by UDP or a UNIX socket
// (RFC 5424, RFC 5426), or to both.
//
// Records are taken out of the workers' rings in batches, and another batch only when every
// destination has the whole of the last one. So a destination that takes nothing, a full disk or a
// collector that is gone, makes the rings fill, and then no block changes hands any more
// (nat/block_log.hpp): what has been given out is on record, or on its way there. With `continue`
// a destination's records are thrown away while it fails, and counted.
//
// A file is opened again where another stands in its place, or none (logrotate(8)). A line that was
// cut off by a full disk is gone on with. What a UDP collector loses nobody hears of; that there is
// none is heard after the record that found out, which is therefore sent once more.
#pragma once

#include "dataplane/control/block_record.hpp"
#include "dataplane/control/config.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dp {

/// Where syslog messages go.
struct SyslogTarget {
    bool udp = false;
    ct::Family family = ct::Family::None;  ///< of udp
    ct::Addr address;
    std::uint16_t port = 514;  ///< RFC 5426 3.3
    std::string path;          ///< of a UNIX socket
};

/// Reads `udp:ADDRESS`, `udp:ADDRESS:PORT` (an IPv6 address with a port in brackets) or
/// `unix:PATH`. Nothing if it is none of these.
[[nodiscard]] std::optional<SyslogTarget> parse_syslog_target(std::string_view text);

/// What came of a destination's records.
struct DestinationTotals {
    std::string name;
    std::uint64_t written = 0;   ///< records
    std::uint64_t failures = 0;  ///< attempts that failed
    std::uint64_t lost = 0;      ///< records thrown away
    std::string error;           ///< of the last attempt; empty: it succeeded
};

class BlockWriter {
public:
    using Clock = std::chrono::steady_clock;

    /// Opens nothing yet. `notify` takes a line for the daemon's log when a destination begins to
    /// fail, and when it works again.
    BlockWriter(const BlockLogConfig& config, std::function<void(std::string_view)> notify);
    ~BlockWriter();
    BlockWriter(const BlockWriter&) = delete;
    BlockWriter& operator=(const BlockWriter&) = delete;

    /// True if every destination has all that was added.
    [[nodiscard]] bool ready() const noexcept { return batch_.empty(); }
    /// Takes a record to be written, and numbers it.
    void add(BlockRecord record);
    /// Writes what can be written now, without waiting for anybody.
    void turn(Clock::time_point now);
    /// Gives up what is left unwritten, and counts it as lost.
    void give_up();

    /// As of the last turn. Any thread.
    [[nodiscard]] std::vector<DestinationTotals> totals() const;

private:
    struct Output;

    void write_batch(Output& out, Clock::time_point now);
    void tell(Output& out, const std::string& error);

    std::vector<std::unique_ptr<Output>> outputs_;
    std::vector<BlockRecord> batch_;
    std::uint64_t number_ = 0;  ///< of the last record
    std::function<void(std::string_view)> notify_;
    bool keep_going_;
    mutable std::mutex mutex_;
    std::vector<DestinationTotals> totals_;  ///< under mutex_
};

}  // namespace dp
