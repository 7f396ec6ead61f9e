// SPDX-License-Identifier: BSD-3-Clause
//
// `sluicectl nat-who` and `sluicectl nat-where`: who had an external endpoint at a time, and what
// external ports a subscriber has. Without the daemon: shares of deterministic NAT by arithmetic
// from the configuration (RFC 7422), blocks of ports from their log.
#pragma once

#include "dataplane/control/block_history.hpp"
#include "dataplane/control/config.hpp"
#include "dataplane/control/notation.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dp {

/// What the command line asks for.
struct NatQuery {
    bool who = false;  ///< nat-who; else nat-where
    bool help = false;
    bool json = false;
    Address address;         ///< nat-who: the external one; nat-where: the subscriber's
    std::uint16_t port = 0;  ///< of nat-who
    std::optional<std::uint8_t> protocol;
    TimeSpan time;
    std::string config;             ///< empty: none
    std::vector<std::string> logs;  ///< empty: the configuration's
};

/// True if the words after the program's name are for parse_nat_query().
[[nodiscard]] bool is_nat_query(int argc, char** argv);

/// Reads the command line; `now` is the time that `now` means. Throws BadParameter.
[[nodiscard]] NatQuery parse_nat_query(int argc, char** argv, WallNanos now);

/// A subscriber's share or block, as an answer.
struct NatAnswer {
    bool share = false;  ///< deterministic: for ever. Else a block
    ct::Prefix inside;
    std::uint16_t zone = 0;
    Address outside;
    nat::PortRange ports;
    std::string rule;
    std::optional<WallNanos> since;  ///< of a block; none: from before the log
    std::optional<WallNanos> until;  ///< of a block; none: as far as is known
    bool restarted = false;          ///< `until` is when Sluice was started again
    std::string where;               ///< FILE:LINE
};

/// The shares that the query asks for.
[[nodiscard]] std::vector<NatAnswer> ask_config(const NatQuery& query, const Config& config);

/// True if the log's record is about what the query asks for.
[[nodiscard]] bool is_wanted(const NatQuery& query, const BlockRecord& record);

/// The blocks that the query asks for, at its time.
[[nodiscard]] std::vector<NatAnswer> ask_log(const NatQuery& query, const BlockHistory& history);

/// The answers for people, a line each, or as one JSON object and a newline.
[[nodiscard]] std::string show(const NatQuery& query, const std::vector<NatAnswer>& answers);

/// Does what `query` asks for, and returns the exit code: 1 if nothing was found. Throws
/// ConfigError or std::runtime_error.
[[nodiscard]] int run_nat_query(const NatQuery& query);

}  // namespace dp
