// SPDX-License-Identifier: BSD-3-Clause
//
// The JSON form of an entry; its keys are documented at append_line().
#include "dataplane/control/render_parts.hpp"

namespace dp {

namespace {

/// No string that an entry shows needs escaping: they are names and addresses.
void member(EntryText& out, std::string_view name, std::string_view value) noexcept {
    out.put('"');
    out.put(name);
    out.put("\":\"");
    out.put(value);
    out.put("\",");
}

void member(EntryText& out, std::string_view name, std::uint64_t value) noexcept {
    out.put('"');
    out.put(name);
    out.put("\":");
    out.number(value);
    out.put(',');
}

/// Ends an object or array whose last member left a comma.
void close(EntryText& out, char bracket) noexcept {
    if (out.view().back() == ',') out.drop_last();
    out.put(bracket);
    out.put(',');
}

void direction(EntryText& out, const Shown& s, ct::Dir dir) noexcept {
    const ct::Tuple& t = dir == ct::Dir::Original ? s.conn.original : s.conn.reply;
    out.put(dir == ct::Dir::Original ? "\"original\":{" : "\"reply\":{");
    member(out, "src", address_text(t.family, t.src).view());
    member(out, "dst", address_text(t.family, t.dst).view());
    switch (port_kind(t.proto)) {
        case PortKind::Ports:
            member(out, "sport", t.sport.host());
            member(out, "dport", t.dport.host());
            break;
        case PortKind::Icmp:
            member(out, "icmp_type", ct::icmp_type(t.dport));
            member(out, "icmp_code", ct::icmp_code(t.dport));
            member(out, "icmp_id", t.sport.host());
            break;
        case PortKind::Keys:
            member(out, "srckey", t.sport.host());
            member(out, "dstkey", t.dport.host());
            break;
        case PortKind::None:
            break;
    }
    if (s.own_zone(t) != 0) member(out, "zone", t.zone);
    if (s.counters()) {
        member(out, "packets", s.conn.packets[ct::index_of(dir)]);
        member(out, "bytes", s.conn.bytes[ct::index_of(dir)]);
    }
    close(out, '}');
}

void event(EntryText& out, const Shown& s) noexcept {
    switch (s.event->type) {
        case ct::EventType::New:
            member(out, "type", "new");
            break;
        case ct::EventType::Update:
            member(out, "type", "update");
            break;
        case ct::EventType::Destroy:
            member(out, "type", "destroy");
            break;
    }
    member(out, "seq", s.event->number);
    const auto us = static_cast<std::uint64_t>(s.wall_ns(s.event->when)) / 1000;
    out.put("\"time\":");
    out.number(us / 1'000'000);
    out.put('.');
    for (std::uint64_t digit = 100'000; digit > 1 && us % 1'000'000 < digit; digit /= 10)
        out.put('0');
    out.number(us % 1'000'000);
    out.put(',');
}

}  // namespace

void render_json(EntryText& out, const Shown& s) noexcept {
    out.put('{');
    if (!s.listed()) event(out, s);
    if (s.synced) member(out, "type", "sync");
    member(out, "family", family_name(s.conn.original.family));
    member(out, "proto", listed_protocol_name(s.protocol()));
    member(out, "protonum", s.protocol());
    if (s.timeout()) member(out, "timeout", s.conn.timeout_s);
    if (!s.state().empty()) member(out, "state", s.state());
    direction(out, s, ct::Dir::Original);
    direction(out, s, ct::Dir::Reply);
    out.put("\"status\":[");
    for (const StatusName& name : kStatusNames) {
        if (!s.has(name.bit)) continue;
        out.put('"');
        out.put(name.name);
        out.put("\",");
    }
    close(out, ']');
    member(out, "mark", s.conn.mark);
    if (s.shared_zone() != 0) member(out, "zone", s.shared_zone());
    if (s.times()) {
        member(out, "start", static_cast<std::uint64_t>(s.start_ns()));
        if (s.conn.stop != 0) member(out, "stop", static_cast<std::uint64_t>(s.end_ns()));
    }
    if (s.conn.helper != 0) member(out, "helper", ct::helper_name(s.conn.helper));
    if (s.conn.has_labels()) {
        out.put("\"labels\":[");
        for (std::uint64_t i = 0; i < 128; ++i) {
            if ((s.conn.labels[i / 64] >> i % 64 & 1) == 0) continue;
            out.number(i);
            out.put(',');
        }
        close(out, ']');
    }
    member(out, "id", s.conn.id);
    if (!s.listed() && s.event->by != 0) member(out, "by", s.event->by);
    close(out, '}');
    out.drop_last();  // close() leaves a comma for the next member
}

}  // namespace dp
