// SPDX-License-Identifier: BSD-3-Clause
//
// conntrack(8)'s `-o save`: the options that would make the entry again.
#include "dataplane/control/render_parts.hpp"

namespace dp {

namespace {

void option(EntryText& out, std::string_view name, std::uint64_t value) noexcept {
    out.put(name);
    out.put(' ');
    out.number(value);
    out.put(' ');
}

void option(EntryText& out, std::string_view name, std::string_view value) noexcept {
    out.put(name);
    out.put(' ');
    out.put(value);
    out.put(' ');
}

/// The bits that can be given on a command line.
void status(EntryText& out, const Shown& s) noexcept {
    constexpr std::uint16_t kSettable = ct::status::kExpected | ct::status::kSeenReply |
                                        ct::status::kAssured | ct::status::kFixedTimeout;
    out.put("-u ");
    bool first = true;
    for (const StatusName& name : kStatusNames) {
        if ((name.bit & kSettable & s.conn.status) == 0) continue;
        if (!first) out.put(',');
        out.put(name.name);
        first = false;
    }
    out.put(first ? "UNSET " : " ");
}

void endpoints(EntryText& out, const Shown& s) noexcept {
    const ct::Tuple& o = s.conn.original;
    const ct::Tuple& r = s.conn.reply;
    option(out, "-s", address_text(o.family, o.src).view());
    option(out, "-d", address_text(o.family, o.dst).view());
    option(out, r.src == o.dst ? "-r" : "-g", address_text(r.family, r.src).view());
    option(out, r.dst == o.src ? "-q" : "-n", address_text(r.family, r.dst).view());
}

void ports(EntryText& out, const Shown& s) noexcept {
    const ct::Tuple& o = s.conn.original;
    const ct::Tuple& r = s.conn.reply;
    switch (port_kind(o.proto)) {
        case PortKind::Ports:
            if (o.proto == ct::ipproto::kDccp && o.sport.host() == 0) break;
            option(out, "--sport", o.sport.host());
            option(out, "--dport", o.dport.host());
            option(out, "--reply-port-src", r.sport.host());
            option(out, "--reply-port-dst", r.dport.host());
            break;
        case PortKind::Keys:
            option(out, "--srckey", o.sport.host());
            option(out, "--dstkey", o.dport.host());
            option(out, "--reply-key-src", r.sport.host());
            option(out, "--reply-key-dst", r.dport.host());
            break;
        case PortKind::Icmp: {
            const bool v6 = o.proto == ct::ipproto::kIcmpv6;
            option(out, v6 ? "--icmpv6-type" : "--icmp-type", ct::icmp_type(o.dport));
            option(out, v6 ? "--icmpv6-code" : "--icmp-code", ct::icmp_code(o.dport));
            option(out, v6 ? "--icmpv6-id" : "--icmp-id", o.sport.host());
            break;
        }
        case PortKind::None:
            break;
    }
}

}  // namespace

void render_save(EntryText& out, const Shown& s) noexcept {
    const bool updated = !s.listed() && s.event->type == ct::EventType::Update;
    out.put('-');
    out.put(s.destroyed() ? 'D' : updated ? 'U' : s.options.save_verb);
    out.put(' ');
    if (s.timeout()) option(out, "-t", s.conn.timeout_s);
    status(out, s);
    if (s.shared_zone() != 0) option(out, "-w", s.shared_zone());
    if (s.own_zone(s.conn.original) != 0) option(out, "--orig-zone", s.conn.original.zone);
    if (s.own_zone(s.conn.reply) != 0) option(out, "--reply-zone", s.conn.reply.zone);
    endpoints(out, s);
    const std::string_view name = listed_protocol_name(s.protocol());
    if (name == "unknown")
        option(out, "-p", s.protocol());
    else
        option(out, "-p", name);
    ports(out, s);
    if (!s.state().empty()) option(out, "--state", s.state());
    if (s.protocol() == ct::ipproto::kSctp && !s.state().empty()) {
        option(out, "--orig-vtag", s.conn.vtags[ct::index_of(ct::Dir::Original)]);
        option(out, "--reply-vtag", s.conn.vtags[ct::index_of(ct::Dir::Reply)]);
    }
    out.trim();
}

}  // namespace dp
