// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/cli/entry.hpp"

#include "dataplane/cli/arguments.hpp"
#include "dataplane/control/names.hpp"

#include <algorithm>

namespace dp {

namespace {

/// The mirror image, changed by -r, -q and the reply's ports, and by -g and -n.
ct::Tuple reply_tuple(const Filter& f, const ct::Tuple& original) {
    const auto has_address = [](const std::optional<NatMatch>& m) {
        return m && m->family != ct::Family::None;
    };
    const bool src_nat = has_address(f.src_nat);
    const bool dst_nat = has_address(f.dst_nat);
    ct::Tuple reply = ct::reply_of(original);
    if (f.reply_src.has_value() != f.reply_dst.has_value() && !src_nat && !dst_nat)
        throw Unserved{"Operation failed: invalid parameters"};
    if (f.reply_src) reply.src = f.reply_src->addr;
    if (f.reply_dst) reply.dst = f.reply_dst->addr;
    const bool named = f.reply_src || f.reply_dst || src_nat || dst_nat;
    // DCCP is tracked by its addresses alone.
    const PortKind kind =
        reply.proto == ct::ipproto::kDccp ? PortKind::None : port_kind(reply.proto);
    const bool ports = kind == PortKind::Ports || kind == PortKind::Keys;
    if (named && f.reply_sport && f.reply_dport && ports) {
        reply.sport = ct::Be16::from_host(*f.reply_sport);
        reply.dport = ct::Be16::from_host(*f.reply_dport);
    }
    // A port to translate to is that of a protocol that has some, or the id of an ICMP query.
    if (src_nat) {
        reply.dst = f.src_nat->addr;
        const auto port = ct::Be16::from_host(f.src_nat->port.value_or(0));
        if (f.src_nat->port && kind == PortKind::Ports) reply.dport = port;
        if (f.src_nat->port && kind == PortKind::Icmp) reply.sport = port;
    }
    if (dst_nat) {
        reply.src = f.dst_nat->addr;
        if (f.dst_nat->port && kind == PortKind::Ports)
            reply.sport = ct::Be16::from_host(*f.dst_nat->port);
    }
    return reply;
}

}  // namespace

ct::Injection entry_of(const Filter& f, const std::array<std::optional<std::uint32_t>, 2>& vtags) {
    ct::Injection e;
    const std::uint8_t protocol = f.protocol.value_or(0);
    e.vtags = {vtags[0].value_or(0), vtags[1].value_or(0)};
    const int zones = (f.zone ? 1 : 0) + (f.orig_zone ? 1 : 0) + (f.reply_zone ? 1 : 0);
    if (zones > 1) throw Unserved{"Operation failed: invalid parameters"};

    if (f.orig_src && f.orig_dst) {
        e.original = tuple_of(f);
    } else {  // the reply says all
        Filter mirrored;
        mirrored.protocol = f.protocol;
        mirrored.orig_src = f.reply_dst;
        mirrored.orig_dst = f.reply_src;
        mirrored.orig_sport = f.reply_dport;
        mirrored.orig_dport = f.reply_sport;
        mirrored.icmp_type = f.icmp_type;
        mirrored.icmp_code = f.icmp_code;
        mirrored.icmp_id = f.icmp_id;
        e.original = tuple_of(mirrored);
    }
    e.original.zone = f.zone.value_or(f.orig_zone.value_or(0));
    e.reply = reply_tuple(f, e.original);
    e.reply.zone = f.zone.value_or(f.reply_zone.value_or(0));
    e.timeout_s = std::min(f.timeout_s.value_or(0), ct::kMaxTimeoutSeconds);
    // What Linux has ceased to track of DCCP is none of an entry's.
    e.state = protocol == ct::ipproto::kDccp ? std::uint8_t{0} : f.state.value_or(0);
    e.mark = f.mark;
    return e;
}

}  // namespace dp
