// SPDX-License-Identifier: BSD-3-Clause
//
// Reads what conntrack(8) printed back into what it printed it from, so that a golden line can be
// rendered again and compared byte for byte. For tests only: it trusts its input.
#pragma once

#include "ct/events.hpp"
#include "dataplane/control/render.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dp::test {

/// A golden line, and what to render to get it back.
struct GoldenLine {
    std::string text;  ///< as it stands, but for what Sluice has nothing of: helper, process
    ct::Event event;
    bool is_event = false;
    RenderOptions options;
};

/// A line of -L, -L -o extended,id, -E or -E -o timestamp,id,extended. Nothing for summaries,
/// expectations and empty lines.
[[nodiscard]] std::optional<GoldenLine> parse_golden_line(std::string_view line);

/// A `<flow>` line of -L -o xml.
[[nodiscard]] std::optional<GoldenLine> parse_golden_flow(std::string_view line);

/// The files called `name` in every case under tests/golden, its runs with accounting included.
[[nodiscard]] std::vector<std::string> golden_files(std::string_view name);
[[nodiscard]] std::vector<std::string> lines_of(const std::string& path);

}  // namespace dp::test
