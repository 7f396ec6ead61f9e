// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/replay/printer.hpp"

#include "dataplane/control/protocol.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <stdexcept>

namespace dp::replay {
namespace {

void print(std::string_view text) {
    std::fwrite(text.data(), 1, text.size(), stdout);
}

/// conntrack(8)'s summary with this program's name.
void summarize(std::uint64_t n, std::string_view what) {
    std::fflush(stdout);
    fmt::print(stderr, "sluice-replay v{} (sluice): {} flow {} have been shown.\n", version(), n,
               what);
}

}  // namespace

void Printer::event(const ct::Event& event) {
    text_.clear();
    if (events_++ == 0 && options_.format == Format::Xml) text_ = kXmlHead;
    append_event(text_, event, options_);
    print(text_);
}

void Printer::story(const Story& story) const {
    print((options_.format == Format::Json ? to_json(story) : to_text(story)) + "\n");
}

void Printer::events_end() {
    if (events_ > 0 && options_.format == Format::Xml) print(kXmlTail);
    summarize(events_, "events");
}

void Printer::table(const ct::Conntrack& conntrack, ct::Nanos now) {
    RenderOptions options = options_;
    options.now = now;
    std::uint64_t shown = 0;
    for (std::uint32_t i = 0; i < conntrack.indices(); ++i) {
        ct::Snapshot entry;
        if (!conntrack.snapshot(i, now, entry)) continue;
        text_.clear();
        if (shown++ == 0 && options.format == Format::Xml) text_ = kXmlHead;
        append_line(text_, entry, options);
        print(text_);
    }
    if (shown > 0 && options.format == Format::Xml) print(kXmlTail);
    summarize(shown, "entries");
}

void Printer::stats(const Totals& t, const ct::Conntrack& conntrack) {
    const auto row = [](std::string_view name, std::uint64_t n, std::string_view help) {
        print(fmt::format("{:<24}{:>12}  {}\n", name, n, help));
    };
    row("in", t.rx_packets, "packets received");
    row("made", t.local_made, "packets that Sluice made itself");
    row("out", t.tx_packets, "packets sent");
    row("dropped", t.dropped(), "packets dropped, for these reasons:");
    for (const ct::DropInfo& d : ct::kDrops)
        if (d.id != ct::Drop::None) row(d.name, t.drops[ct::index_of(d.id)], d.help);
    const ct::Counters c = conntrack.counters();
    row("opened", c.opened, "connections that entered the table");
    row("expired", c.expired, "connections that ended by time-out");
    row("evicted", c.early_drop, "connections that ended to make room");
    row("deleted", c.deleted, "connections that ended by RST or reopening");
    row("invalid", c.invalid, "packets that fit no connection");
    row("found", c.found, "tuples that translation found taken");
    row("insert_failed", c.insert_failed, "connections that did not enter the table");
    row("drop", c.drop, "packets refused for want of room");
    row("error", c.error, "ICMP errors that concern no connection");
    row("clash_resolve", c.clash_resolve, "packets that joined the entry which won a race");
}

void Printer::close() {
    if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0)
        throw std::runtime_error(
            fmt::format("standard output: cannot be written: {}", std::strerror(errno)));
}

}  // namespace dp::replay
