// SPDX-License-Identifier: BSD-3-Clause
//
// The log of port blocks, a line a record: who had which external address and ports, from when to
// when, and never where he went (RFC 6888 REQ-12, REQ-14). Two forms, which say the same:
//
//   {"time":"2026-11-26T14:20:01.123456Z","seq":17,"event":"assigned","rule":"subscribers",
//    "inside":"100.64.0.7","outside":"192.0.2.1","ports":"1024-1535"}             (on one line)
//
//   <134>1 2026-11-26T14:20:01.123456Z gw sluice 4711 nat-block [meta sequenceId="17"] assigned
//   inside=100.64.0.7 outside=192.0.2.1 ports=1024-1535 rule="subscribers"       (RFC 5424)
//
// `seq` counts the records of one run from 1, so that a gap shows what a collector has lost. A
// record `started`, without the rest, begins a run: every block that was assigned before it and
// not released has ended. `zone` stands where the subscriber's is not 0.
#pragma once

#include "ct/wire/prefix.hpp"
#include "dataplane/control/timestamp.hpp"
#include "nat/rule.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace dp {

struct BlockRecord {
    enum class Kind : std::uint8_t { Started, Assigned, Released };

    WallNanos time = 0;
    std::uint64_t number = 0;  ///< `seq`
    Kind kind = Kind::Started;
    std::string rule;
    ct::Prefix inside;  ///< an address, or a prefix of IPv6
    std::uint16_t zone = 0;
    ct::Family outside_family = ct::Family::None;
    ct::Addr outside;
    nat::PortRange ports;

    friend bool operator==(const BlockRecord&, const BlockRecord&) = default;
};

/// What stands in the header of RFC 5424 beside the record.
struct SyslogOrigin {
    unsigned facility = 16;  ///< local0
    std::string host = "-";
    std::uint32_t process = 0;
};

/// The record as a line of JSON, without a newline.
[[nodiscard]] std::string to_json(const BlockRecord& record);

/// The record as a message of RFC 5424, without a newline. Its sequenceId stays within 2^31 - 1 and
/// goes on with 1 (RFC 5424 7.3.1).
[[nodiscard]] std::string to_syslog(const BlockRecord& record, const SyslogOrigin& origin);

/// Reads a line of either form; of the second, what a collector may leave out (`<134>`) may be
/// missing. Nothing if it is no such record, whole and consistent.
[[nodiscard]] std::optional<BlockRecord> parse_block_record(std::string_view line);

}  // namespace dp
