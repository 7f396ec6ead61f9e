// SPDX-License-Identifier: BSD-3-Clause
//
// Any file may be given to sluicectl -R. It is refused with a line, or it is a list of requests
// that reach the daemon as they are and do to a table what they say, whatever that is, without
// harm.
#include "ct/conntrack.hpp"
#include "dataplane/cli/arguments.hpp"

#include <cstdint>
#include <cstdlib>
#include <sstream>

namespace {

constexpr ct::Nanos kNow = 1000 * ct::kNanosPerSecond;

/// For properties that hold in release builds, too.
void require(bool holds) {
    if (!holds) std::abort();
}

void apply(ct::Conntrack& table, const dp::Request& r) {
    switch (r.command) {
        case dp::Command::Create: {
            const bool made = table.insert(r.entry, kNow) == ct::Injected::Done;
            require(!made || r.entry.timeout_s == 0 || table.find(r.entry.original, kNow));
            return;
        }
        case dp::Command::Update:
        case dp::Command::Delete:
            for (std::uint32_t i = 0; i < table.indices(); ++i) {
                ct::Snapshot conn;
                if (!table.snapshot(i, kNow, conn) || !r.filter.matches(conn)) continue;
                if (r.command == dp::Command::Delete)
                    table.erase(conn.handle, kNow);
                else
                    static_cast<void>(table.change(conn.handle, r.change, kNow));
            }
            return;
        case dp::Command::Flush:
            table.flush(kNow);
            return;
        default:
            require(false);  // nothing else may stand in such a file
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::istringstream in{std::string{reinterpret_cast<const char*>(data), size}};
    std::vector<std::string> warnings;
    std::vector<dp::LoadLine> lines;
    try {
        lines = dp::parse_load(in, "save", warnings);
    } catch (const dp::BadParameter& e) {
        require(std::string_view{e.what()}.starts_with("save:"));
        return 0;
    }
    ct::Settings settings;
    settings.max = 16;
    settings.overflow = ct::Overflow::Drop;
    static ct::Conntrack table{settings, 1, 1};  // its memory is taken once
    table.flush(kNow);
    for (const dp::LoadLine& line : lines) {
        const std::string sent = dp::to_line(line.request);
        const dp::Request again = dp::parse_request(sent);
        require(dp::to_line(again) == sent);
        apply(table, again);
    }
    require(table.check_invariants().empty());
    return 0;
}
