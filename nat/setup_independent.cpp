// SPDX-License-Identifier: BSD-3-Clause
//
// Setup where rules ask for endpoint-independent mappings: how a connection gets one, how somebody
// outside comes in by one, and how it is given back.
#include "nat/family.hpp"
#include "nat/pref64.hpp"
#include "nat/setup.hpp"
#include "nat/setup_parts.hpp"
#include "nat/wide.hpp"

#include <algorithm>
#include <span>
#include <utility>

namespace nat {

std::vector<AddressRange> Setup::pools_of(const RuleSet& rules,
                                          const std::vector<PortAddresses>& ports) {
    std::vector<AddressRange> out;
    const auto add_port = [&](const PortAddresses& a) {
        if (a.ipv4) out.push_back({ct::Family::Ipv4, *a.ipv4, *a.ipv4});
        if (a.ipv6) out.push_back({ct::Family::Ipv6, *a.ipv6, *a.ipv6});
    };
    for (const Rule& rule : rules.rules()) {
        if (!rule.behaviour.endpoint_independent()) continue;
        const Target& t = rule.target;
        if (t.family != ct::Family::None) out.push_back({t.family, t.first_addr, t.last_addr});
        if (rule.action == Action::Nat64 && t.family == ct::Family::None)
            for (const PortAddresses& a : ports)
                if (a.ipv4) out.push_back({ct::Family::Ipv4, *a.ipv4, *a.ipv4});
        if (rule.action != Action::Masquerade) continue;
        const ct::PortId port = rule.match.out_port;
        if (port < ports.size())
            add_port(ports[port]);
        else if (port == ct::kNoPort)
            std::for_each(ports.begin(), ports.end(), add_port);
    }
    return out;
}

/// The longest of all rules: a space has one clock.
std::uint32_t Setup::quarantine_of(const RuleSet& rules) noexcept {
    std::uint32_t longest = 0;
    for (const Rule& rule : rules.rules()) longest = std::max(longest, rule.behaviour.quarantine_s);
    return longest;
}

std::uint32_t Setup::spare_for(const RuleSet& rules) noexcept {
    const auto& all = rules.rules();
    const bool any = std::any_of(all.begin(), all.end(), [](const Rule& rule) {
        return rule.behaviour.endpoint_independent() && uses_own_address(rule);
    });
    return any ? kSpareAddresses : 0;
}

Setup::Retired Setup::set_addresses(std::vector<PortAddresses> ports, ct::Nanos now) {
    auto next = std::make_unique<const std::vector<PortAddresses>>(std::move(ports));
    Retired out;
    // The spaces first: whoever sees an address finds its space.
    if (pools_.any()) out.spaces = pools_.change(pools_of(rules_, *next), now);
    out.ports = ports_.replace(std::move(next));
    return out;
}

bool Setup::rests_on(const ct::Tuple& original, const ct::Tuple& reply, ct::Family family,
                     const ct::Addr& addr) const noexcept {
    const auto is_there = [&](const ct::Tuple& to) noexcept {
        const Endpoint e = external_endpoint(to);
        return e.family == family && e.addr == addr;
    };
    return is_there(reply) || is_there(original);
}

bool Setup::lets_in(const Mappings::Mapping& m, const ct::Addr& remote) const noexcept {
    switch (rules_.rules()[m.rule].behaviour.filtering) {
        case Filtering::AddressAndPortDependent:
            return false;
        case Filtering::AddressDependent:
            return mappings_->permitted(m.external, remote);
        case Filtering::EndpointIndependent:
            return true;
    }
    return false;
}

std::optional<Setup::WayIn> Setup::way_in(const ct::Packet& p) const noexcept {
    const ct::Tuple& o = p.original;
    // An echo request finds the host that has its identifier, where that is behind NAT64 (RFC 6146
    // 3.5.3). Otherwise it is for the address itself.
    const bool echo = o.proto == ct::ipproto::kIcmp && ct::icmp_type(o.dport) == ct::icmp::kEcho;
    if (!pools_.any() || (!has_ports(o.proto) && !echo)) return {};
    const std::uint16_t port = (echo ? o.sport : o.dport).host();
    const Ports::Space space = pools_.space_of(o.family, o.dst, o.proto);
    if (space == Ports::kNoSpace || !pools_.is_taken(space, port)) return {};
    const std::optional<Mappings::Mapping> m = mappings_->find(external_endpoint(o));
    if (!m || (echo && m->inside.family == o.family)) return {};

    WayIn out{.mapping = *m};
    // To a host behind NAT64 all of IPv4 is outside. Otherwise: who comes in where the mapping's
    // own packets go out is outside, unless he has a mapping.
    const bool over = m->inside.family != o.family;
    const bool elsewhere = p.in_port != m->out_port ||
                           mappings_->has(source_of(o), [](const Endpoint&) { return true; });
    out.from_inside = !over && elsewhere && rules_.peek_turned(p, m->out_port) != nullptr;
    if (!out.from_inside && !lets_in(*m, o.src))
        out.refusal = ct::Drop::NatFiltered;
    else if (over && !may_cross(rules_.rules()[m->rule], o.src))
        out.refusal = ct::Drop::NatUntranslatable;
    return out;
}

std::optional<Endpoint> Setup::mapping_of(const ct::Packet& p,
                                          const Target& within) const noexcept {
    std::optional<Endpoint> out;
    if (mappings_ == nullptr) return out;
    const Range range{.first = within.first_addr,
                      .last = within.last_addr,
                      .ports = within.ports,
                      .family = within.family};
    static_cast<void>(mappings_->has(source_of(p.original), [&](const Endpoint& e) noexcept {
        if (!range.contains(e)) return false;
        out = e;
        return true;
    }));
    return out;
}

ct::Drop Setup::enter_from_outside(ct::WorkerId w, ct::Packet& p, ct::Nanos now) noexcept {
    const std::optional<WayIn> way = way_in(p);
    if (!way) return ct::Drop::None;
    if (way->refusal != ct::Drop::None) return way->refusal;
    const Mappings::Mapping& m = way->mapping;
    if (!mappings_->join(m)) return ct::Drop::None;  // it has just ended
    lead_to(m, p);
    p.mapping_port = way->from_inside ? m.out_port : ct::kNoPort;
    const Behaviour& behaviour = rules_.rules()[m.rule].behaviour;
    // As long as they talk to one another, the remote address may open further connections.
    if (!way->from_inside && behaviour.filtering == Filtering::AddressDependent &&
        mappings_->permit(w, m.external, p.original.src))
        p.lease |= lease::kPermitIn;
    track_as(w, p, behaviour, ct::Dir::Reply, now);
    return ct::Drop::None;
}

/// leads_nowhere(), of a packet for Sluice itself, or one that would go back to where it came from.
bool Setup::is_nobodys(const ct::Packet& p, bool local) const noexcept {
    const ct::Tuple& t = p.tuple;
    const bool has_been_led = (p.lease & lease::kDestination) != 0 || crosses(p) ||
                              p.reply.src != t.dst ||
                              (has_ports(t.proto) && p.reply.sport != t.dport);
    if (p.conn.valid() && has_been_led) return false;
    if (local)
        return p.conn.valid() && has_ports(t.proto) &&
               pools_.space_of(t.family, t.dst, t.proto) != Ports::kNoSpace;
    const std::span<const Rule> rules = rules_.rules();
    for (std::size_t i = 0; i < rules.size(); ++i)
        if (maps_sources(rules[i]) && ranges_[i].family == t.family && ranges_[i].contains(t.dst))
            return true;
    return false;
}

ct::Drop Setup::map_independently(ct::WorkerId w, ct::Packet& p, const Rule& rule,
                                  const Range& range, PortField field, ct::Nanos now) noexcept {
    const auto fits = [&range](const Endpoint& e) noexcept { return range.contains(e); };
    ct::Drop refused = ct::Drop::NatNoPort;
    const auto choose = [&](Endpoint& e) noexcept {
        if (!knows_subscribers(rule)) return choose_external(w, p, rule, range, e, now);
        refused = choose_for_subscriber(w, p, rule, range, e, now);
        return refused == ct::Drop::None;
    };
    const Mappings::Making making{
        (p.lease & lease::kDestination) != 0 && p.mapping_port != ct::kNoPort ? p.mapping_port
                                                                              : p.out_port,
        static_cast<std::uint16_t>(&rule - rules_.rules().data())};
    Endpoint external;
    if (!mappings_->enter(w, source_of(p.original), making, fits, choose, external))
        return refused != ct::Drop::None ? refused : ct::Drop::NatNoPort;
    p.reply.dst =
        p.reply.family == external.family ? external.addr : embed(rule.match.dst, external.addr);
    p.reply.*field = external.port;
    p.lease |= lease::kSource;
    if (rule.behaviour.filtering != Filtering::AddressDependent) return ct::Drop::None;
    if (!mappings_->permit(w, external, remote_of(p.lease, p.original, p.reply))) {
        give_back(w, lease::kSource, p.original, p.reply, now);
        p.lease = static_cast<std::uint8_t>(p.lease & ~lease::kSource);
        return ct::Drop::NatNoPort;
    }
    p.lease |= lease::kPermit;
    return ct::Drop::None;
}

bool Setup::choose_external(ct::WorkerId w, const ct::Packet& p, const Rule& rule,
                            const Range& range, Endpoint& external, ct::Nanos now) noexcept {
    const ct::Tuple& o = p.original;
    const std::uint16_t port = o.sport.host();
    const Wanted wanted{range.ports.any() ? port_class(o.proto, port) : range.ports,
                        rule.behaviour.parity ? port % 2 : -1};
    external.proto = p.reply.proto;
    external.family = range.family;
    const auto take_at = [&](const ct::Addr& addr) noexcept {
        const Ports::Space space = pools_.space_of(external.family, addr, external.proto);
        if (space == Ports::kNoSpace) return false;
        external.addr = addr;
        external.port = o.sport;
        if (!range.random && wanted.range.contains(port) && pools_.claim(space, port, now))
            return true;
        const auto free = pools_.claim_any(w, space, wanted, draw(workers_[w], o), now);
        if (free) external.port = ct::Be16::from_host(*free);
        return free.has_value();
    };
    const bool same_family = o.family == range.family;
    if (!range.random && same_family && range.contains(o.src) && take_at(o.src)) return true;
    // Of a range that is larger than there can be spaces, the addresses that have some.
    Range within = range;
    const ct::Family family = range.family;
    const Wide first = Wide::of(range.first, family);
    const std::uint64_t reach = pools_.addresses_from(family, range.first);
    if (reach == 0) return false;
    within.last = std::min(Wide::of(range.last, family), first + Wide{0, reach - 1}).addr(family);
    const std::uint64_t addresses =
        rule.behaviour.pooling == Pooling::Arbitrary ? addresses_of(within, family) : 1;
    for (std::uint64_t n = 0; n < addresses; ++n)
        if (take_at(pick_address(within, o, n))) return true;
    return false;
}

/// Counts p's connection among those that use the port which stands in p.reply, if that could
/// become a mapping's. False if it is one's.
bool Setup::share(ct::WorkerId w, ct::Packet& p, PortField field, ct::Nanos now) noexcept {
    const bool is_destination = field == &ct::Tuple::sport && has_ports(p.reply.proto);
    if (field == nullptr || is_destination) return true;
    const ct::Tuple& r = p.reply;
    const Ports::Space space = pools_.space_of(r.family, r.dst, r.proto);
    if (space == Ports::kNoSpace) return true;
    const auto claim = [&]() noexcept { return pools_.claim(space, (r.*field).host(), now); };
    if (!mappings_->share(w, external_endpoint(r), claim)) return false;
    p.lease |= lease::kShare;
    return true;
}

/// Gives up the port that stands in p.reply, which somebody else has. If it was not taken out of a
/// crowd, as one that was kept is not, a crowd that notes it does so for that somebody; and goes on
/// in any case, if he is going to give it back.
void Setup::let_go(ct::WorkerId w, ct::Packet& p, bool kept_port, ct::Nanos now) noexcept {
    constexpr std::uint8_t kHeld = lease::kShare | lease::kPort;
    auto held = static_cast<std::uint8_t>(p.lease & kHeld);
    if ((held & lease::kPort) != 0 && crowds_ != nullptr) {
        const std::optional<std::uint8_t> holder =
            kept_port ? lease::kPort : table_.lease_on(w, p.reply, p.conn, now);
        if (holder && (*holder & lease::kPort) != 0) held &= lease::kShare;
    }
    if (held != 0) give_back(w, held, p.original, p.reply, now);
    p.lease = static_cast<std::uint8_t>(p.lease & ~kHeld);
}

void Setup::give_back(ct::WorkerId w, std::uint8_t held, const ct::Tuple& original,
                      const ct::Tuple& reply, ct::Nanos now) noexcept {
    const auto free_port = [&](const Endpoint& e, Ports::After after,
                               std::uint32_t owner) noexcept {
        pools_.give_back(pools_.last_space_of(e.family, e.addr, e.proto), e.port.host(), after, now,
                         owner);
    };
    const auto ended = [&](const Mappings::Mapping& m) noexcept {
        const bool rests = rules_.rules()[m.rule].behaviour.quarantine_s != 0;
        free_port(m.external, rests ? Ports::After::Rest : Ports::After::AtOnce,
                  rests ? owner_of(m.inside) : 0);
        mapping_ended(m, now);
    };
    if ((held & lease::kPort) != 0 && crowds_ != nullptr) {
        const PortField field = ct::is_icmp(reply.proto) ? &ct::Tuple::sport : &ct::Tuple::dport;
        const std::uint64_t key = Crowds::key_of(hash_towards(reply, field));
        if (const Crowds::Crowd crowd = crowds_->find(key); crowd.ports != nullptr)
            crowd.ports->free((reply.*field).host());
    }
    if ((held & lease::kAlways) == 0) return;
    const Endpoint out = external_endpoint(reply);
    const Endpoint in = external_endpoint(original);
    if ((held & lease::kPermit) != 0) mappings_->revoke(w, out, remote_of(held, original, reply));
    if ((held & lease::kPermitIn) != 0) mappings_->revoke(w, in, original.src);
    if ((held & lease::kSource) != 0) mappings_->leave(w, source_of(original), out, ended);
    if ((held & lease::kDestination) != 0) mappings_->leave(w, source_of(reply), in, ended);
    if ((held & lease::kShare) != 0)
        mappings_->unshare(w, out, [&]() noexcept { free_port(out, Ports::After::AtOnce, 0); });
    if ((held & lease::kMasquerader) != 0)
        carriers_->release_masqueraded(original, reply, now);
    else if ((held & lease::kSubscriber) != 0)
        carriers_->release(original, reply, now);
}

/// Notes in p.track how the rule wants the connection tracked. `outbound`: the direction of what
/// goes out.
void Setup::follow_rule(ct::Packet& p, const Behaviour& b, ct::Dir outbound) noexcept {
    if (b.variant != 0)
        p.track.variant =
            static_cast<std::uint8_t>(b.variant | (p.track.variant & ct::variant::kLiberal));
    const std::size_t out = ct::index_of(outbound);
    p.track.still = 0;
    if (b.refresh == Refresh::Outbound) p.track.still = static_cast<std::uint8_t>(2U >> out);
    if (b.refresh == Refresh::Inbound) p.track.still = static_cast<std::uint8_t>(1U << out);
}

/// track_as(), if the rule has a say or another one had.
void Setup::retrack_as(ct::WorkerId w, ct::Packet& p, const Behaviour& b, ct::Dir outbound,
                       ct::Nanos now) const noexcept {
    const ct::TrackOptions before = p.track;
    follow_rule(p, b, outbound);
    if (before.variant != p.track.variant || before.still != p.track.still)
        table_.retrack(w, p, now);
}

}  // namespace nat
