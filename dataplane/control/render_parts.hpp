// SPDX-License-Identifier: BSD-3-Clause
//
// What the formats of render.hpp share.
#pragma once

#include "ct/conn/helpers.hpp"
#include "ct/proto/proto.hpp"
#include "dataplane/control/names.hpp"
#include "dataplane/control/render.hpp"
#include "dataplane/control/text.hpp"

#include <cstdint>
#include <string_view>

namespace dp {

using EntryText = Text<kMaxEntryBytes>;

/// One entry to be shown: in a listing, or with the event that befell it.
struct Shown {
    const ct::Snapshot& conn;
    const RenderOptions& options;
    const ct::Event* event = nullptr;  ///< null in a listing
    bool synced = false;               ///< listed again after a gap

    [[nodiscard]] bool listed() const noexcept { return event == nullptr; }
    [[nodiscard]] bool destroyed() const noexcept {
        return event != nullptr && event->type == ct::EventType::Destroy;
    }
    /// Of the events, only the last tells counters and times, as the kernel's do.
    [[nodiscard]] bool counters() const noexcept {
        return conn.has_counters && (listed() || destroyed());
    }
    [[nodiscard]] bool times() const noexcept {
        return conn.has_timestamp && (listed() || destroyed());
    }
    [[nodiscard]] bool timeout() const noexcept { return !destroyed() || conn.timeout_s != 0; }
    [[nodiscard]] bool mark() const noexcept {
        return listed() || conn.mark != 0 || (!destroyed() && caused_by(ct::cause::kMark));
    }
    /// The last event does not tell these.
    [[nodiscard]] bool helper() const noexcept { return conn.helper != 0 && !destroyed(); }
    /// Of the events, the first tells labels, and those that change them.
    [[nodiscard]] bool labels() const noexcept {
        const bool told = listed() || event->type == ct::EventType::New ||
                          (!destroyed() && caused_by(ct::cause::kLabel));
        return conn.has_labels() && told;
    }
    [[nodiscard]] bool caused_by(std::uint16_t cause) const noexcept {
        return event != nullptr && (event->causes & cause) != 0;
    }
    [[nodiscard]] bool has(std::uint16_t status) const noexcept {
        return (conn.status & status) != 0;
    }
    [[nodiscard]] std::uint8_t protocol() const noexcept { return conn.original.proto; }
    /// The state's name; empty if the protocol has none, or an event does not tell it.
    [[nodiscard]] std::string_view state() const noexcept {
        if (!listed() && conn.state == 0) return {};
        return ct::proto::state_name(protocol(), conn.state);
    }
    /// The zone, if both directions share one that is not 0.
    [[nodiscard]] std::uint16_t shared_zone() const noexcept {
        return conn.original.zone == conn.reply.zone ? conn.original.zone : std::uint16_t{0};
    }
    /// The zone that direction `t` alone is in, else 0.
    [[nodiscard]] std::uint16_t own_zone(const ct::Tuple& t) const noexcept {
        return shared_zone() == 0 ? t.zone : std::uint16_t{0};
    }
    /// A time of the tracker's as nanoseconds of the wall clock since 1970.
    [[nodiscard]] std::int64_t wall_ns(ct::Nanos t) const noexcept {
        return static_cast<std::int64_t>(t) + options.wall_offset_ns;
    }
    [[nodiscard]] std::int64_t start_ns() const noexcept { return wall_ns(conn.start); }
    /// When it ended, or now if it lives.
    [[nodiscard]] std::int64_t end_ns() const noexcept {
        return wall_ns(conn.stop != 0 ? conn.stop : options.now);
    }
    /// How long it has lived, as the difference of two readings of a clock that shows whole
    /// seconds: what the line says.
    [[nodiscard]] std::uint64_t age_s() const noexcept {
        constexpr std::int64_t kSecond = ct::kNanosPerSecond;
        const std::int64_t age = end_ns() / kSecond - start_ns() / kSecond;
        return age > 0 ? static_cast<std::uint64_t>(age) : 0;
    }
};

/// Calls `f` with the name of each label of the entry, or its number as text, in ascending order.
template <class F>
void for_each_label(const Shown& s, F f) {
    for (std::size_t i = 0; i < 128; ++i) {
        if ((s.conn.labels[i / 64] >> i % 64 & 1) == 0) continue;
        if (s.options.label_names) {
            if (!(*s.options.label_names)[i].empty())
                f(std::string_view{(*s.options.label_names)[i]});
            continue;
        }
        Text<4> digits;
        digits.number(i);
        f(digits.view());
    }
}

/// ` [USERSPACE] portid=N` of an event that a process asked for.
void append_origin(EntryText& out, const Shown& shown) noexcept;

void render_xml(EntryText& out, const Shown& shown) noexcept;
void render_save(EntryText& out, const Shown& shown) noexcept;
void render_json(EntryText& out, const Shown& shown) noexcept;

}  // namespace dp
