// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/control/render.hpp"

#include "dataplane/control/render_parts.hpp"

#include <ctime>

namespace dp {

namespace {

void append_endpoints(EntryText& out, const ct::Tuple& t) noexcept {
    out.put("src=");
    out.put(address_text(t.family, t.src).view());
    out.put(" dst=");
    out.put(address_text(t.family, t.dst).view());
    out.put(' ');
    switch (port_kind(t.proto)) {
        case PortKind::Ports:
            out.put("sport=");
            out.number(t.sport.host());
            out.put(" dport=");
            out.number(t.dport.host());
            out.put(' ');
            break;
        case PortKind::Icmp:
            out.put("type=");
            out.number(ct::icmp_type(t.dport));
            out.put(" code=");
            out.number(ct::icmp_code(t.dport));
            out.put(" id=");
            out.number(t.sport.host());
            out.put(' ');
            break;
        case PortKind::Keys:
            out.put("srckey=0x");
            out.hex(t.sport.host());
            out.put(" dstkey=0x");
            out.hex(t.dport.host());
            out.put(' ');
            break;
        case PortKind::None:
            break;
    }
}

void append_field(EntryText& out, std::string_view name, std::uint64_t value) noexcept {
    out.put(name);
    out.number(value);
    out.put(' ');
}

void append_direction(EntryText& out, const Shown& s, ct::Dir dir) noexcept {
    const bool original = dir == ct::Dir::Original;
    const ct::Tuple& t = original ? s.conn.original : s.conn.reply;
    append_endpoints(out, t);
    if (const std::uint16_t zone = s.own_zone(t); zone != 0)
        append_field(out, original ? "zone-orig=" : "zone-reply=", zone);
    if (s.counters()) {
        append_field(out, "packets=", s.conn.packets[ct::index_of(dir)]);
        append_field(out, "bytes=", s.conn.bytes[ct::index_of(dir)]);
    }
}

/// `[start=Fri Nov 20 23:15:14 2026] `: asctime(3)'s form, local time.
void append_clock_time(EntryText& out, std::string_view name, std::int64_t ns) noexcept {
    const std::time_t seconds = ns / std::int64_t{ct::kNanosPerSecond};
    std::tm parts{};
    char text[64] = "";
    if (localtime_r(&seconds, &parts) == nullptr) return;
    const std::size_t n = std::strftime(text, sizeof text, "%a %b %e %H:%M:%S %Y", &parts);
    out.put(name);
    out.put({text, n});
    out.put("] ");
}

void append_times(EntryText& out, const Shown& s) noexcept {
    append_field(out, "delta-time=", s.age_s());
    if (!s.options.ktimestamp) return;
    append_clock_time(out, "[start=", s.start_ns());
    if (s.conn.stop != 0) append_clock_time(out, "[stop=", s.end_ns());
}

void append_head(EntryText& out, const Shown& s) noexcept {
    if (s.options.extended) {
        out.padded(family_name(s.conn.original.family), 8);
        out.put(' ');
        out.number(static_cast<std::uint64_t>(s.conn.original.family));
        out.put(' ');
    }
    out.padded(listed_protocol_name(s.protocol()), 8);
    out.put(' ');
    out.number(s.protocol());
    out.put(' ');
    if (s.timeout()) {
        out.number(s.conn.timeout_s);
        out.put(' ');
    }
    if (const std::string_view state = s.state(); !state.empty()) {
        out.put(state);
        out.put(' ');
    }
}

/// Labels that have no name are left out; with none left, the key stands alone.
void append_labels(EntryText& out, const Shown& s) noexcept {
    out.put("labels");
    char separator = '=';
    for_each_label(s, [&](std::string_view name) {
        out.put(separator);
        out.put(name);
        separator = ',';
    });
    out.put(' ');
}

/// The line without what an event puts in front, and without its newline.
void render_line(EntryText& out, const Shown& s) noexcept {
    append_head(out, s);
    append_direction(out, s, ct::Dir::Original);
    if (!s.has(ct::status::kSeenReply)) out.put("[UNREPLIED] ");
    append_direction(out, s, ct::Dir::Reply);
    if (s.has(ct::status::kHwOffload))
        out.put("[HW_OFFLOAD] ");
    else if (s.has(ct::status::kOffload))
        out.put("[OFFLOAD] ");
    else if (s.has(ct::status::kAssured))
        out.put("[ASSURED] ");
    if (s.mark()) append_field(out, "mark=", s.conn.mark);
    if (s.shared_zone() != 0) append_field(out, "zone=", s.shared_zone());
    if (s.times()) append_times(out, s);
    if (s.helper()) {
        out.put("helper=");
        out.put(ct::helper_name(s.conn.helper));
        out.put(' ');
    }
    if (s.listed()) append_field(out, "use=", s.options.use);
    if (s.options.id) append_field(out, "id=", s.conn.id);
    if (s.options.labels && s.labels()) append_labels(out, s);
    out.trim();
}

/// `[seconds.microseconds]` and a tab, and the right-aligned name of the event.
void append_event_head(EntryText& out, const Shown& s) noexcept {
    if (s.options.timestamp) {
        const auto ns = static_cast<std::uint64_t>(s.wall_ns(s.event->when));
        const std::uint64_t us = ns / 1000 % 1'000'000;
        out.put('[');
        out.number(ns / ct::kNanosPerSecond);
        out.put('.');
        for (std::uint64_t digit = 100'000; digit > 1 && us < digit; digit /= 10) out.put('0');
        out.number(us);
        out.put("]\t");
    }
    switch (s.event->type) {
        case ct::EventType::New:
            out.put("    [NEW] ");
            break;
        case ct::EventType::Update:
            out.put(" [UPDATE] ");
            break;
        case ct::EventType::Destroy:
            out.put("[DESTROY] ");
            break;
    }
}

void append(std::string& out, const Shown& s) {
    EntryText text;
    switch (s.options.format) {
        case Format::Line:
            if (!s.listed()) append_event_head(text, s);
            if (s.synced) text.put("   [SYNC] ");
            render_line(text, s);
            append_origin(text, s);
            break;
        case Format::Xml:
            render_xml(text, s);
            append_origin(text, s);
            break;
        case Format::Save:
            render_save(text, s);
            append_origin(text, s);
            break;
        case Format::Json:
            render_json(text, s);
            break;
    }
    text.put('\n');
    out.append(text.view());
}

void append_cpu(EntryText& out, std::uint32_t cpu) noexcept {
    Text<20> number;
    number.number(cpu);
    out.put("cpu=");
    out.padded(number.view(), 4);
    out.put('\t');
}

}  // namespace

void append_origin(EntryText& out, const Shown& s) noexcept {
    if (s.event == nullptr || s.event->by == 0) return;
    out.put(" [USERSPACE] portid=");
    out.number(s.event->by);
}

void append_sync(std::string& out, const ct::Snapshot& conn, const RenderOptions& options) {
    append(out, {conn, options, nullptr, true});
}

void append_line(std::string& out, const ct::Snapshot& conn, const RenderOptions& options) {
    append(out, {conn, options});
}

void append_event(std::string& out, const ct::Event& event, const RenderOptions& options) {
    append(out, {event.conn, options, &event});
}

void append_counters(std::string& out, std::uint32_t cpu, const ct::Counters& c) {
    EntryText text;
    append_cpu(text, cpu);
    append_field(text, "found=", c.found);
    append_field(text, "invalid=", c.invalid);
    append_field(text, "insert=", c.insert);
    append_field(text, "insert_failed=", c.insert_failed);
    append_field(text, "drop=", c.drop);
    append_field(text, "early_drop=", c.early_drop);
    append_field(text, "error=", c.error);
    append_field(text, "search_restart=", c.search_restart);
    append_field(text, "clash_resolve=", c.clash_resolve);
    append_field(text, "chaintoolong=", c.chaintoolong);
    text.put('\n');
    out.append(text.view());
}

void append_expect_counters(std::string& out, std::uint32_t cpu) {
    EntryText text;
    append_cpu(text, cpu);
    text.put("expect_new=0 expect_create=0 expect_delete=0 \n");
    out.append(text.view());
}

}  // namespace dp
