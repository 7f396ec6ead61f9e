// SPDX-License-Identifier: BSD-3-Clause
//
// Setup for connections that control makes: injected ones (sluicectl -I) and those of a table that
// is put back after a restart (-R). Their mappings are given, not chosen. What a packet's
// connection would hold, they hold as well: the endpoint-independent mapping, which the first of
// them makes anew, the share of its port, the subscriber's booking and his block. What cannot be
// had, because it is another's or beyond a limit, is refused, and nothing is changed. A port that
// rests (RFC 6888 REQ-8) is had by the endpoint that had it before, and by nobody else.
//
// Which rule a mapping belongs to is not on record. It is the one that a packet would have met, if
// that maps to there; else the first that has the external endpoint to itself, so that an entry
// made under other rules is at least in nobody's way.
#include "nat/family.hpp"
#include "nat/pref64.hpp"
#include "nat/setup.hpp"
#include "nat/setup_parts.hpp"

#include <utility>

namespace nat {
namespace {

[[nodiscard]] bool is_translated(const ct::Packet& p, PortField field) noexcept {
    if (crosses(p) || p.reply.dst != p.original.src) return true;
    return field != nullptr && p.reply.*field != p.original.sport;
}

/// p as it was before any translation.
[[nodiscard]] ct::Packet untranslated(const ct::Packet& p) noexcept {
    ct::Packet out = p;
    out.reply = ct::reply_of(p.original);
    return out;
}

/// The packet by which the other side would have opened a connection: p's answer.
[[nodiscard]] ct::Packet turned_about(const ct::Packet& p) noexcept {
    ct::Packet out = p;
    out.tuple = out.original = p.reply;
    out.reply = ct::reply_of(out.original);
    out.in_port = p.out_port;
    out.out_port = p.in_port;
    return out;
}

/// The endpoint that `t` is addressed to; of an answer to an ICMP query, its identifier.
[[nodiscard]] Endpoint destination_of(const ct::Tuple& t) noexcept {
    return {t.dst, ct::is_icmp(t.proto) ? t.sport : t.dport, 0, t.proto, t.family};
}

[[nodiscard]] ct::Injected refusal_of(ct::Drop drop) noexcept {
    if (drop == ct::Drop::None) return ct::Injected::Done;
    return drop == ct::Drop::NatNoPort ? ct::Injected::PortTaken : ct::Injected::Limited;
}

}  // namespace

ct::Injected Setup::adopt(ct::WorkerId w, ct::Packet& p, ct::Nanos now) noexcept {
    const ct::Injected in = adopt_destination(w, p, now);
    return in == ct::Injected::Done ? adopt_source(w, p, now) : in;
}

/// A connection that came in by a mapping holds that.
ct::Injected Setup::adopt_destination(ct::WorkerId w, ct::Packet& p, ct::Nanos now) noexcept {
    const ct::Tuple& o = p.original;
    const bool over = crosses(p);
    const bool changed =
        over ? o.family == ct::Family::Ipv4 : p.reply.src != o.dst || p.reply.sport != o.dport;
    const bool echo = over && o.proto == ct::ipproto::kIcmp;
    if (!pools_.any() || (!has_ports(o.proto) && !echo) || !changed) return ct::Injected::Done;
    const Endpoint external = meant_by(o);
    if (pools_.space_of(external.family, external.addr, external.proto) == Ports::kNoSpace)
        return ct::Injected::Done;
    const Rule* const dnat = rules_.peek_dnat(untranslated(p));
    if (dnat != nullptr && dnat->action != Action::Nat64) return ct::Injected::Done;
    const Endpoint inside = source_of(p.reply);
    const ct::Packet out = turned_about(p);
    const Rule* const met =
        inside.family != external.family ? rules_.peek_nat64(out) : rules_.peek_snat(out);
    const Way way = way_to(external, met, out.out_port, inside.addr);
    if (way.rule == nullptr || !way.rule->behaviour.endpoint_independent())
        return ct::Injected::Done;
    const bool from_inside = !over && is_translated(p, source_field(p.reply.proto));
    const std::optional<Mappings::Mapping> known = mappings_->find(external);
    const bool from_there = !from_inside && p.in_port != ct::kNoPort;
    const ct::PortId outside = known        ? known->out_port
                               : from_there ? p.in_port
                                            : port_of(*way.rule, external);
    if (outside == ct::kNoPort) return ct::Injected::NoWay;
    if (const ct::Injected refused = hold(w, inside, external, way, outside, now);
        refused != ct::Injected::Done)
        return refused;
    p.lease |= lease::kDestination;
    if (uses_own_address(*way.rule)) p.masquerade_port = outside;
    p.mapping_port = from_inside ? outside : ct::kNoPort;
    const Behaviour& behaviour = way.rule->behaviour;
    follow_rule(p, behaviour, ct::Dir::Reply);
    if (from_inside || behaviour.filtering != Filtering::AddressDependent)
        return ct::Injected::Done;
    if (!mappings_->permit(w, external, o.src)) return ct::Injected::NoRoom;
    p.lease |= lease::kPermitIn;
    return ct::Injected::Done;
}

ct::Injected Setup::adopt_source(ct::WorkerId w, ct::Packet& p, ct::Nanos now) noexcept {
    const ct::Tuple& o = p.original;
    const PortField field = source_field(p.reply.proto);
    const bool over = crosses(p);
    const bool entered = (p.lease & lease::kDestination) != 0;
    const bool turned = entered && p.mapping_port != ct::kNoPort;
    if (over && entered && !turned) return ct::Injected::Done;  // his address is behind the prefix
    const std::optional<Hairpin> hairpin =
        turned || !rules_.has_hairpin() ? std::nullopt : hairpin_of(p);
    const ct::PortId leaves_by = turned ? p.mapping_port : hairpin ? hairpin->as_from : p.out_port;
    const Rule* met = over || turned ? rules_.peek_nat64(p) : nullptr;
    if (met == nullptr && !over)
        met = turned ? rules_.peek_turned(p, leaves_by) : rules_.peek_snat(p, leaves_by);
    const Endpoint external = turned ? meant_by(p.reply) : destination_of(p.reply);
    const Way way = way_to(external, met, leaves_by, o.src);
    const bool translated = is_translated(p, field);
    // Who keeps his own endpoint has it from a rule only if that says so.
    if (!translated && (way.rule == nullptr || way.rule != met)) return ct::Injected::Done;
    if (way.rule != nullptr) {
        if (p.out_port == ct::kNoPort) p.out_port = port_of(*way.rule, external);
        if (uses_own_address(*way.rule))
            p.masquerade_port = leaves_by != ct::kNoPort ? leaves_by : p.out_port;
        follow_rule(p, way.rule->behaviour, ct::Dir::Original);
    }
    if (way.rule != nullptr && way.rule->behaviour.endpoint_independent() && field != nullptr) {
        const ct::PortId outside = turned ? p.mapping_port : p.out_port;
        if (outside == ct::kNoPort) return ct::Injected::NoWay;
        if (const ct::Injected refused = hold(w, source_of(o), external, way, outside, now);
            refused != ct::Injected::Done)
            return refused;
        p.lease |= lease::kSource;
        if (way.rule->behaviour.filtering != Filtering::AddressDependent) return ct::Injected::Done;
        if (!mappings_->permit(w, external, remote_of(p.lease, o, p.reply)))
            return ct::Injected::NoRoom;
        p.lease |= lease::kPermit;
        return ct::Injected::Done;
    }
    // Of a rule that masquerades, only those that it would have met.
    const auto is_his = [&](const Carrier& carrier) noexcept {
        return !carrier.settings().own_address || carrier.masquerades(o);
    };
    if (way.rule != nullptr && knows_subscribers(*way.rule) &&
        is_his(carriers_->at(way.rule->carrier))) {
        Carrier& carrier = carriers_->at(way.rule->carrier);
        const ct::Injected booked =
            refusal_of(carrier.adopt(w, o, p.reply, Carrier::Use::Shared, now));
        if (booked != ct::Injected::Done) return booked;
        p.lease |= booking_with(carrier);
        if (carrier.gives_ports()) return ct::Injected::Done;
    }
    if (field != nullptr) p.lease |= lease::kPort;
    if (pools_.any() && !share(w, p, field, now)) return ct::Injected::PortTaken;
    return ct::Injected::Done;
}

/// external_endpoint(), whether or not anybody has it yet.
Endpoint Setup::meant_by(const ct::Tuple& t) const noexcept {
    const Endpoint known = external_endpoint(t);
    if (t.family != ct::Family::Ipv6 || known.family != ct::Family::Ipv6) return known;
    if (pools_.space_of(known.family, known.addr, known.proto) != Ports::kNoSpace) return known;
    for (const Prefix& prefix : prefixes_) {
        const std::optional<ct::Addr> four = extract(prefix, t.dst);
        if (four && pools_.space_of(ct::Family::Ipv4, *four, t.proto) != Ports::kNoSpace)
            return {*four, known.port, 0, t.proto, ct::Family::Ipv4};
    }
    return known;
}

/// Has one connection more use the mapping between the two endpoints, which is made if there is
/// none. A source has one mapping only in a rule's range.
ct::Injected Setup::hold(ct::WorkerId w, const Endpoint& inside, const Endpoint& external,
                         const Way& way, ct::PortId out_port, ct::Nanos now) noexcept {
    bool elsewhere = false;
    const auto fits = [&](const Endpoint& e) noexcept {
        if (e == external) return true;
        const PortRange& ports = way.range.ports;
        elsewhere = elsewhere ||
                    (way.range.contains(e.addr) && (ports.any() || ports.contains(e.port.host())));
        return false;
    };
    ct::Injected refused = ct::Injected::NoRoom;
    const auto choose = [&](Endpoint& e) noexcept {
        refused = ct::Injected::PortTaken;
        const std::uint16_t port = external.port.host();
        const Ports::Space space = pools_.space_of(external.family, external.addr, external.proto);
        if (elsewhere || space == Ports::kNoSpace) return false;
        if (!pools_.claim(space, port, now) &&
            !pools_.claim_back(space, port, owner_of(inside), now))
            return false;
        if (knows_subscribers(*way.rule)) {
            const auto [original, reply] = flow_of(inside, external);
            refused = refusal_of(carriers_->at(way.rule->carrier)
                                     .adopt(w, original, reply, Carrier::Use::Alone, now));
            if (refused != ct::Injected::Done) {
                pools_.give_back(space, port, Ports::After::AtOnce, now);
                return false;
            }
        }
        e = external;
        return true;
    };
    const Mappings::Making making{out_port,
                                  static_cast<std::uint16_t>(way.rule - rules_.rules().data())};
    Endpoint held;
    return mappings_->enter(w, inside, making, fits, choose, held) ? ct::Injected::Done : refused;
}

std::uint32_t Setup::owner_of(const Endpoint& inside) const noexcept {
    ct::Tuple t;
    t.src = inside.addr;
    t.sport = inside.port;
    t.zone = inside.zone;
    t.proto = inside.proto;
    t.family = inside.family;
    return static_cast<std::uint32_t>(source_tag(t) >> 32U) | 1U;
}

/// The rule that maps to `external` for who has the address `original`: `met`, if that does.
Setup::Way Setup::way_to(const Endpoint& external, const Rule* met, ct::PortId leaves_by,
                         const ct::Addr& original) const noexcept {
    const auto range_to = [&](const Rule& rule, ct::PortId by) noexcept -> std::optional<Range> {
        if (rule.target.family != ct::Family::None && rule.target.family != external.family)
            return std::nullopt;
        Range made;
        const Range* range = range_of(made, rule, external.family, by, original);
        const bool has_port = source_field(external.proto) != nullptr;
        if (range == nullptr || !range->contains(external.addr) ||
            (has_port && !range->ports.any() && !range->ports.contains(external.port.host())))
            return std::nullopt;
        return *range;
    };
    if (met != nullptr)
        if (const auto range = range_to(*met, leaves_by)) return {met, *range};
    for (const Rule& rule : rules_.rules()) {
        if (rule.chain != Chain::Nat || !maps_sources(rule)) continue;
        if (!rule.behaviour.endpoint_independent() && !knows_subscribers(rule)) continue;
        if (const auto range = range_to(rule, port_of(rule, external))) return {&rule, *range};
    }
    return {};
}

/// The port by which the rule's connections leave, as far as rule and external endpoint tell.
ct::PortId Setup::port_of(const Rule& rule, const Endpoint& external) const noexcept {
    if (rule.match.out_port != ct::kNoPort) return rule.match.out_port;
    const std::vector<PortAddresses>& ports = ports_.get();
    for (std::size_t id = 0; id < ports.size(); ++id)
        if (ports[id].ipv4 == external.addr || ports[id].ipv6 == external.addr)
            return static_cast<ct::PortId>(id);
    if (routes_.port_towards == nullptr) return ct::kNoPort;
    return routes_.port_towards(routes_.self, external.family, external.addr);
}

}  // namespace nat
