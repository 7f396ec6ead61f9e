// SPDX-License-Identifier: BSD-3-Clause
//
// What a replay prints: events as they happen, the table and the totals at its end.
#pragma once

#include "ct/conntrack.hpp"
#include "dataplane/control/render.hpp"
#include "dataplane/control/story.hpp"
#include "dataplane/stats.hpp"

#include <cstdint>
#include <string>

namespace dp::replay {

/// Prints to standard output what `sluicectl` would, and its summaries to standard error.
class Printer {
public:
    explicit Printer(const RenderOptions& options) : options_{options} {}

    void event(const ct::Event& event);
    /// In words with an empty line behind it, or as an object with -o json.
    void story(const Story& story) const;
    /// Ends the events.
    void events_end();
    /// The table as it stands at `now`.
    void table(const ct::Conntrack& conntrack, ct::Nanos now);
    /// A line a number: totals, then every drop reason, then the table's counters.
    void stats(const Totals& totals, const ct::Conntrack& conntrack);
    /// Throws std::runtime_error if anything could not be written.
    void close();

private:
    RenderOptions options_;
    std::string text_;  ///< what is printed next; kept for its memory
    std::uint64_t events_ = 0;
};

}  // namespace dp::replay
