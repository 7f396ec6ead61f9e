// SPDX-License-Identifier: BSD-3-Clause
//
// Setup between the families (NAT64, RFC 6146): how a connection gets from IPv6 to IPv4, how one of
// IPv4 comes in by a mapping, and how two hosts of IPv6 meet by their external endpoints.
//
//   out      client6 > pref64::server4        the reply tuple is server4 > external4
//   in       peer4 > external4                the reply tuple is client6 > pref64::peer4
//   hairpin  one6 > pref64::external4 of two  the reply tuple is two6 > pref64::external4 of one
//
// The first two have a tuple of each family, and every packet crosses(). In the third the mappings'
// endpoints are IPv4 and the tuples are not, so external_endpoint() looks behind the prefix.
#include "ct/wire/headers.hpp"
#include "nat/pref64.hpp"
#include "nat/setup.hpp"
#include "nat/setup_parts.hpp"

namespace nat {
namespace {

/// The number that the protocol of an IPv6 packet has in IPv4.
[[nodiscard]] std::uint8_t in_ipv4(std::uint8_t proto) noexcept {
    return proto == ct::ipproto::kIcmpv6 ? ct::ipproto::kIcmp : proto;
}

}  // namespace

std::vector<Prefix> Setup::prefixes_of(const RuleSet& rules) {
    std::vector<Prefix> out;
    for (const Rule& rule : rules.rules())
        if (rule.action == Action::Nat64 && rule.behaviour.endpoint_independent())
            out.push_back(rule.match.dst);
    return out;
}

Endpoint Setup::external_endpoint(const ct::Tuple& t) const noexcept {
    const Endpoint e{t.dst, ct::is_icmp(t.proto) ? t.sport : t.dport, 0, t.proto, t.family};
    if (t.family != ct::Family::Ipv6 || prefixes_.empty()) return e;
    if (pools_.last_space_of(t.family, t.dst, t.proto) != Ports::kNoSpace) return e;
    for (const Prefix& prefix : prefixes_) {
        const std::optional<ct::Addr> four = extract(prefix, t.dst);
        if (!four) continue;
        const Endpoint known{*four, e.port, 0, in_ipv4(t.proto), ct::Family::Ipv4};
        const Ports::Space space = pools_.last_space_of(known.family, known.addr, known.proto);
        // One prefix may lie within another: what is behind the right one is in use.
        if (space != Ports::kNoSpace && pools_.is_taken(space, known.port.host())) return known;
    }
    return e;
}

/// The way over to IPv4 by a nat64 rule: all of p.reply but the source's mapping.
ct::Drop Setup::cross(ct::WorkerId w, ct::Packet& p, const Rule& rule, ct::Nanos now) noexcept {
    const ct::Tuple& original = p.original;
    const bool echo = original.proto == ct::ipproto::kIcmpv6 &&
                      ct::icmp_type(original.dport) == ct::icmpv6::kEcho;
    const std::optional<ct::Addr> four = extract(rule.match.dst, original.dst);
    if (!four || !may_cross(rule, *four) || (!echo && !has_ports(original.proto)))
        return ct::Drop::NatUntranslatable;
    const bool of_pool =
        pools_.space_of(ct::Family::Ipv4, *four, in_ipv4(original.proto)) != Ports::kNoSpace;
    if (of_pool && rule.behaviour.endpoint_independent()) return meet(w, p, *four, now);
    ct::Tuple& reply = p.reply;
    reply.family = ct::Family::Ipv4;
    reply.src = *four;
    reply.dst = {};  // source() knows
    if (echo) {
        reply.proto = ct::ipproto::kIcmp;
        reply.dport = ct::icmp_type_code(ct::icmp::kEchoReply, 0);
    }
    return ct::Drop::None;
}

/// The way to a neighbour by his external address `four` (RFC 6146 3.8). Whatever his mapping's
/// filtering, he is let in, as in every hairpin (setup.hpp). An echo request has one identifier for
/// both: what it is called outside is its sender's alone, so it can lead to nobody else.
ct::Drop Setup::meet(ct::WorkerId w, ct::Packet& p, const ct::Addr& four, ct::Nanos now) noexcept {
    const ct::Tuple& o = p.original;
    if (!has_ports(o.proto)) return ct::Drop::NatUntranslatable;
    const std::optional<Mappings::Mapping> m =
        mappings_->find({four, o.dport, 0, o.proto, ct::Family::Ipv4});
    if (!m || !mappings_->join(*m)) return ct::Drop::NatUntranslatable;
    lead_to(*m, p);
    p.mapping_port = m->out_port;
    track_as(w, p, rules_.rules()[m->rule].behaviour, ct::Dir::Reply, now);
    return ct::Drop::None;
}

/// Gives p, which has joined the mapping, its inside endpoint as its destination. Who comes from
/// IPv4 to IPv6 has his own address behind the prefix of the mapping's rule.
void Setup::lead_to(const Mappings::Mapping& m, ct::Packet& p) const noexcept {
    p.lease |= lease::kDestination;
    if (uses_own_address(rules_.rules()[m.rule])) p.masquerade_port = m.out_port;
    ct::Tuple& reply = p.reply;
    reply.family = m.inside.family;
    reply.src = m.inside.addr;
    reply.sport = m.inside.port;
    reply.zone = m.inside.zone;
    if (reply.family == p.original.family) return;
    if (ct::is_icmp(reply.proto)) {
        reply.proto = ct::ipproto::kIcmpv6;
        reply.dport = ct::icmp_type_code(ct::icmpv6::kEchoReply, 0);
    }
    reply.dst = reply.family == ct::Family::Ipv6
                    ? embed(rules_.rules()[m.rule].match.dst, p.original.src)
                    : ct::Addr{};  // of IPv4, source() knows
}

}  // namespace nat
