// SPDX-License-Identifier: BSD-3-Clause
//
// conntrack(8)'s `-o xml`. What looks odd is so in the original, and scripts read it: ICMP has an
// empty <layer4>, and the states of SCTP are shown by the names that TCP has for their numbers.
#include "dataplane/control/render_parts.hpp"

#include <ctime>

namespace dp {

namespace {

void element(EntryText& out, std::string_view name, std::string_view value) noexcept {
    out.put('<');
    out.put(name);
    out.put('>');
    out.put(value);
    out.put("</");
    out.put(name);
    out.put('>');
}

void element(EntryText& out, std::string_view name, std::uint64_t value) noexcept {
    Text<20> digits;
    digits.number(value);
    element(out, name, digits.view());
}

void key_element(EntryText& out, std::string_view name, std::uint16_t key) noexcept {
    Text<20> digits;
    digits.put("0x");
    digits.hex(key);
    element(out, name, digits.view());
}

void layers(EntryText& out, const ct::Tuple& t) noexcept {
    out.put("<layer3 protonum=\"");
    out.number(static_cast<std::uint64_t>(t.family));
    out.put("\" protoname=\"");
    out.put(family_name(t.family));
    out.put("\">");
    element(out, "src", address_text(t.family, t.src).view());
    element(out, "dst", address_text(t.family, t.dst).view());
    out.put("</layer3><layer4 protonum=\"");
    out.number(t.proto);
    out.put("\" protoname=\"");
    out.put(listed_protocol_name(t.proto));
    out.put("\">");
    if (port_kind(t.proto) == PortKind::Ports) {
        element(out, "sport", t.sport.host());
        element(out, "dport", t.dport.host());
    } else if (port_kind(t.proto) == PortKind::Keys) {
        key_element(out, "srckey", t.sport.host());
        key_element(out, "dstkey", t.dport.host());
    }
    out.put("</layer4>");
}

void direction(EntryText& out, const Shown& s, ct::Dir dir) noexcept {
    const bool original = dir == ct::Dir::Original;
    const ct::Tuple& t = original ? s.conn.original : s.conn.reply;
    out.put(original ? "<meta direction=\"original\">" : "<meta direction=\"reply\">");
    layers(out, t);
    if (const std::uint16_t zone = s.own_zone(t); zone != 0) element(out, "zone", zone);
    if (s.counters()) {
        out.put("<counters>");
        element(out, "packets", s.conn.packets[ct::index_of(dir)]);
        element(out, "bytes", s.conn.bytes[ct::index_of(dir)]);
        out.put("</counters>");
    }
    out.put("</meta>");
}

/// Age and, if asked for, the times themselves. Unlike the line, the age of a connection that has
/// ended is the whole seconds of the difference, not the difference of whole seconds.
void times(EntryText& out, const Shown& s) noexcept {
    if (s.options.ktimestamp) {
        out.put("<timestamp>");
        element(out, "start", static_cast<std::uint64_t>(s.start_ns()));
        if (s.conn.stop != 0) element(out, "stop", static_cast<std::uint64_t>(s.end_ns()));
        out.put("</timestamp>");
    }
    std::uint64_t age = s.age_s();
    if (s.conn.stop != 0)
        age = s.conn.stop > s.conn.start ? (s.conn.stop - s.conn.start) / ct::kNanosPerSecond : 0;
    element(out, "deltatime", age);
}

void independent(EntryText& out, const Shown& s) noexcept {
    out.put("<meta direction=\"independent\">");
    if (!s.state().empty())
        element(out, "state", ct::proto::state_name(ct::ipproto::kTcp, s.conn.state));
    if (s.timeout()) element(out, "timeout", s.conn.timeout_s);
    if (s.mark()) element(out, "mark", s.conn.mark);
    if (s.options.labels && s.labels()) {
        out.put("<labels>");
        for_each_label(s, [&](std::string_view name) { element(out, "label", name); });
        out.put("</labels>");
    }
    if (s.shared_zone() != 0) element(out, "zone", s.shared_zone());
    if (s.listed()) element(out, "use", s.options.use);
    element(out, "id", s.conn.id);
    if (s.has(ct::status::kAssured)) out.put("<assured/>");
    if (!s.has(ct::status::kSeenReply)) out.put("<unreplied/>");
    if (s.times()) times(out, s);
    out.put("</meta>");
}

/// When an event happened, in local time: minutes and seconds have two digits, and the day of the
/// week counts from 1 for Sunday.
void when(EntryText& out, const Shown& s) noexcept {
    const std::time_t seconds = s.wall_ns(s.event->when) / std::int64_t{ct::kNanosPerSecond};
    std::tm t{};
    if (localtime_r(&seconds, &t) == nullptr) return;
    const auto put = [&](std::string_view name, int value) {
        element(out, name, static_cast<std::uint64_t>(value));
    };
    const auto put_two = [&](std::string_view name, int value) {
        const char digits[] = {static_cast<char>('0' + value / 10),
                               static_cast<char>('0' + value % 10)};
        element(out, name, std::string_view{digits, sizeof digits});
    };
    out.put("<when>");
    put("hour", t.tm_hour);
    put_two("min", t.tm_min);
    put_two("sec", t.tm_sec);
    put("wday", t.tm_wday + 1);
    put("day", t.tm_mday);
    put("month", t.tm_mon + 1);
    put("year", t.tm_year + 1900);
    out.put("</when>");
}

}  // namespace

void render_xml(EntryText& out, const Shown& s) noexcept {
    out.put("<flow");
    if (!s.listed()) {
        switch (s.event->type) {
            case ct::EventType::New:
                out.put(" type=\"new\"");
                break;
            case ct::EventType::Update:
                out.put(" type=\"update\"");
                break;
            case ct::EventType::Destroy:
                out.put(" type=\"destroy\"");
                break;
        }
    }
    if (s.synced) out.put(" type=\"sync\"");
    out.put('>');
    direction(out, s, ct::Dir::Original);
    direction(out, s, ct::Dir::Reply);
    independent(out, s);
    if (s.helper()) element(out, "helper", ct::helper_name(s.conn.helper));
    if (!s.listed() && s.options.timestamp) when(out, s);
    out.put("</flow>");
}

}  // namespace dp
