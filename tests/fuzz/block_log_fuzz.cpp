// SPDX-License-Identifier: BSD-3-Clause
//
// Any file may be given to sluicectl nat-who. A line is no record, or it is one that says the same
// in either form; and what the records come to holds together.
#include "dataplane/control/block_history.hpp"

#include <cstdint>
#include <cstdlib>
#include <sstream>
#include <string>

namespace {

/// For properties that hold in release builds, too.
void require(bool holds) {
    if (!holds) std::abort();
}

void check_line(const std::string& line) {
    const auto first = dp::parse_block_record(line);
    if (!first) return;
    // A time has microseconds, and a name what JSON can hold: after that nothing is lost any more.
    const std::string json = dp::to_json(*first);
    const auto again = dp::parse_block_record(json);
    require(again.has_value());
    require(dp::to_json(*again) == json);
    const auto by_syslog = dp::parse_block_record(dp::to_syslog(*again, {}));
    require(by_syslog.has_value());
    require(by_syslog->time == again->time && by_syslog->inside == again->inside &&
            by_syslog->outside == again->outside && by_syslog->ports == again->ports);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string text{reinterpret_cast<const char*>(data), size};
    std::istringstream lines{text};
    for (std::string line; std::getline(lines, line);) check_line(line);

    dp::BlockHistory history{[](const dp::BlockRecord&) { return true; }};
    std::istringstream in{text};
    history.read(in, "fuzz");
    for (const dp::BlockTenure& t : history.tenures()) {
        require(t.since || t.until);
        require(!t.since || !t.until || *t.since <= *t.until);
        require(t.block.ports.first <= t.block.ports.last);
    }
    return 0;
}
