// SPDX-License-Identifier: BSD-3-Clause
//
// Setup where a rule knows subscribers (carrier.hpp): a connection's external address and port come
// from what its subscriber has.
//
// Order of choice, each step only if the one before found nothing:
//   1. the source port as it is, if it is one of his (not with `random`)
//   2. the port that the same source endpoint has towards another destination (not with `random`)
//   3. a port of his that no connection uses, from a random place on
//   4. the same in another block, which he is given
//   5. a port that another connection of his uses towards another remote endpoint (RFC 7857 3)
// Whether a port is unused is known from the carrier's counts, so that 3 and 4 ask the table
// nothing: confirm() is the judge, and where it says no, the next choice asks first. The search of
// step 5 asks the table for every port; it is bounded as that of setup.hpp is.
//
// An endpoint-independent mapping takes 1, 3 or 4, has the port alone, and counts as one connection
// however many use it.
#include "ct/wire/headers.hpp"
#include "nat/setup.hpp"
#include "nat/setup_parts.hpp"

#include <algorithm>

namespace nat {
namespace {

using Held = Carrier::Grant::Range;
using Taken = Carrier::Taken;

/// Calls `tried(port)` for the ports of `range` from a place that `random` decides, until it says
/// true.
template <class Tried>
void any_port(const PortRange& range, std::uint64_t random, Tried tried) noexcept {
    const std::uint32_t count = range.count();
    auto at = static_cast<std::uint32_t>((random & 0xffff'ffffU) * count >> 32U);
    for (std::uint32_t i = 0; i < count; ++i, at = at + 1 < count ? at + 1 : 0)
        if (tried(static_cast<std::uint16_t>(range.first + at))) return;
}

}  // namespace

/// Tries to have a port of one grant: for p's connection, or alone, for a mapping.
class Setup::Subscriber {
public:
    struct Wish {
        bool random = false;  ///< not the original port
        bool parity = false;  ///< odd or even as the original port is
        bool look = false;    ///< ask the table even if no connection of the subscriber is there
        Endpoint* mapping = nullptr;  ///< where the port goes that is to be a mapping's
    };
    Subscriber(Setup& setup, ct::WorkerId w, ct::Packet& p, Carrier& carrier, Carrier::Grant& grant,
               ct::Nanos now) noexcept
        : setup_{setup}, w_{w}, p_{p}, carrier_{carrier}, grant_{grant}, now_{now} {}

    /// For a protocol without ports.
    [[nodiscard]] ct::Drop address_only() noexcept {
        p_.reply.dst = carrier_.address_of(grant_.ranges[0]);
        if (!setup_.is_free(w_, p_, now_)) return ct::Drop::NatNoPort;
        return take(grant_.ranges[0], 0, Carrier::Use::Alone) ? ct::Drop::None
                                                              : ct::Drop::NatNoBlock;
    }
    /// A port; of a connection it stands in `field` of the reply tuple.
    [[nodiscard]] ct::Drop any(PortField field, const Wish& wish) noexcept {
        field_ = field;
        wish_ = wish;
        if (!wish.random && original_port()) return ct::Drop::None;
        if (!wish.random && wish.mapping == nullptr && hinted_port()) return ct::Drop::None;
        for (std::size_t i = 0; i < grant_.count; ++i)
            if (unused_port(grant_.ranges[i])) return ct::Drop::None;
        const std::size_t before = grant_.count;
        const ct::Drop refused =
            limited_ ? ct::Drop::NatPortLimit : carrier_.extend(w_, grant_, now_);
        for (std::size_t i = before; i < grant_.count; ++i)
            if (unused_port(grant_.ranges[i])) return ct::Drop::None;
        if (wish.mapping == nullptr && shared_port()) return ct::Drop::None;
        return refused != ct::Drop::None ? refused : ct::Drop::NatNoPort;
    }

private:
    [[nodiscard]] bool take(const Held& range, std::uint16_t port, Carrier::Use use) noexcept {
        const Taken taken = carrier_.take(grant_, range, p_.reply.proto, port, use);
        limited_ = limited_ || taken == Taken::PortLimit;
        if (taken != Taken::Done) return false;
        if (wish_.mapping == nullptr) p_.lease |= lease::kSubscriber;
        return true;
    }
    [[nodiscard]] std::uint32_t uses(const Held& range, std::uint16_t port) const noexcept {
        return carrier_.uses(range, p_.reply.proto, port);
    }
    [[nodiscard]] bool has_parity(std::uint16_t port) const noexcept {
        return !wish_.parity || (port ^ p_.original.sport.host()) % 2 == 0;
    }
    [[nodiscard]] bool attempt(const Held& range, std::uint16_t port) noexcept {
        if (wish_.mapping != nullptr) return attempt_alone(range, port);
        p_.reply.dst = carrier_.address_of(range);
        p_.reply.*field_ = ct::Be16::from_host(port);
        const bool used = uses(range, port) != 0;
        if ((used || wish_.look) && !setup_.is_free(w_, p_, now_)) return false;
        return take(range, port, used ? Carrier::Use::Shared : Carrier::Use::Alone);
    }
    [[nodiscard]] bool attempt_alone(const Held& range, std::uint16_t port) noexcept {
        if (uses(range, port) != 0) return false;
        const ct::Addr addr = carrier_.address_of(range);
        const std::uint8_t proto = p_.reply.proto;
        const Ports::Space space = setup_.pools_.space_of(p_.reply.family, addr, proto);
        if (space == Ports::kNoSpace || !setup_.pools_.claim(space, port, now_)) return false;
        if (!take(range, port, Carrier::Use::Alone)) {
            setup_.pools_.give_back(space, port, Ports::After::AtOnce, now_);
            return false;
        }
        *wish_.mapping = {addr, ct::Be16::from_host(port), 0, proto, p_.reply.family};
        return true;
    }
    [[nodiscard]] bool original_port() noexcept {
        const std::uint16_t port = p_.original.sport.host();
        for (std::size_t i = 0; i < grant_.count; ++i)
            if (grant_.ranges[i].ports.contains(port) && attempt(grant_.ranges[i], port))
                return true;
        return false;
    }
    [[nodiscard]] bool hinted_port() noexcept {
        const std::optional<Hinted> hint = setup_.hint_for(setup_.source_tag(p_.original));
        if (!hint) return false;
        for (std::size_t i = 0; i < grant_.count; ++i) {
            const Held& r = grant_.ranges[i];
            if (r.ports.contains(hint->port.host()) && carrier_.address_of(r) == hint->addr &&
                attempt(r, hint->port.host()))
                return true;
        }
        return false;
    }
    [[nodiscard]] bool unused_port(const Held& range) noexcept {
        if (limited_) return false;
        bool found = false;
        any_port(range.ports, setup_.draw(setup_.workers_[w_], p_.original),
                 [&](std::uint16_t port) noexcept {
                     if (!has_parity(port) || uses(range, port) != 0) return false;
                     found = attempt(range, port);
                     return found || limited_;
                 });
        return found;
    }
    [[nodiscard]] bool shared_port() noexcept {
        Worker& own = setup_.workers_[w_];
        grow_allowance(own, now_);
        const std::uint64_t most = kQuickProbes + own.allowance;
        std::uint64_t probes = 0;
        bool found = false;
        for (std::size_t i = 0; i < grant_.count && !found && probes < most; ++i) {
            const Held& range = grant_.ranges[i];
            any_port(range.ports, setup_.draw(own, p_.original), [&](std::uint16_t port) noexcept {
                if (!has_parity(port) || uses(range, port) == 0) return false;
                ++probes;
                found = attempt(range, port);
                return found || probes >= most;
            });
        }
        own.allowance -= probes > kQuickProbes ? probes - kQuickProbes : 0;
        return found;
    }

    Setup& setup_;
    ct::WorkerId w_;
    ct::Packet& p_;
    Carrier& carrier_;
    Carrier::Grant& grant_;
    ct::Nanos now_;
    PortField field_ = nullptr;
    Wish wish_;
    bool limited_ = false;  ///< the subscriber has as many ports as he may have
};

ct::Drop Setup::map_for_subscriber(ct::WorkerId w, ct::Packet& p, const Rule& rule,
                                   const Range& range, PortField field, ct::Nanos now) noexcept {
    Carrier& carrier = carriers_->at(rule.carrier);
    Carrier::Grant grant;
    if (const ct::Drop refused = carrier.admit(w, p.original, now, grant);
        refused != ct::Drop::None)
        return refused;
    if (!carrier.gives_ports()) {
        const ct::Drop drop = map_dependently(w, p, rule.behaviour, range, field, Ask::No, now);
        if (drop == ct::Drop::None &&
            carrier.take(grant, {}, p.reply.proto, 0, Carrier::Use::Alone) == Taken::Done)
            p.lease |= booking_with(carrier);
        return drop;
    }
    Subscriber subscriber{*this, w, p, carrier, grant, now};
    if (field == nullptr) return subscriber.address_only();
    const ct::Drop drop =
        subscriber.any(field, {.random = rule.target.random, .parity = rule.behaviour.parity});
    if (drop == ct::Drop::None && !rule.target.random) leave_hint(p, field, source_tag(p.original));
    return drop;
}

/// After confirm() said ReplyTaken: another of the subscriber's ports, which the table has none of.
ct::Drop Setup::next_for_subscriber(ct::WorkerId w, ct::Packet& p, const Rule& rule,
                                    PortField field, ct::Nanos now) noexcept {
    Carrier& carrier = carriers_->at(rule.carrier);
    give_back(w, lease::kSubscriber, p.original, p.reply, now);
    p.lease = static_cast<std::uint8_t>(p.lease & ~lease::kSubscriber);
    Carrier::Grant grant;
    if (!carrier.look_up(p.original, grant)) return ct::Drop::NatNoPort;
    Subscriber subscriber{*this, w, p, carrier, grant, now};
    return subscriber.any(field, {.random = true, .parity = rule.behaviour.parity, .look = true});
}

/// The external endpoint of a mapping that is made, which counts as a connection.
ct::Drop Setup::choose_for_subscriber(ct::WorkerId w, ct::Packet& p, const Rule& rule,
                                      const Range& range, Endpoint& external,
                                      ct::Nanos now) noexcept {
    Carrier& carrier = carriers_->at(rule.carrier);
    Carrier::Grant grant;
    if (const ct::Drop refused = carrier.admit(w, p.original, now, grant);
        refused != ct::Drop::None)
        return refused;
    if (carrier.gives_ports()) {
        Subscriber subscriber{*this, w, p, carrier, grant, now};
        return subscriber.any(
            nullptr,
            {.random = rule.target.random, .parity = rule.behaviour.parity, .mapping = &external});
    }
    if (!choose_external(w, p, rule, range, external, now)) return ct::Drop::NatNoPort;
    static_cast<void>(carrier.take(grant, {}, external.proto, 0, Carrier::Use::Alone));
    return ct::Drop::None;
}

std::vector<PortRange> Setup::room_at(ct::Family family, const ct::Addr& addr,
                                      std::uint8_t proto) const {
    const auto maps_to_it = [&](const Rule& rule, const Range& range) noexcept {
        const int p = rule.match.proto;
        const bool echo = rule.action == Action::Nat64 && p == ct::ipproto::kIcmpv6;
        if (!maps_sources(rule) || (p >= 0 && (echo ? ct::ipproto::kIcmp : p) != proto))
            return false;
        if (!uses_own_address(rule)) return range.family == family && range.contains(addr);
        const std::vector<PortAddresses>& ports = ports_.get();
        for (std::size_t id = 0; id < ports.size(); ++id) {
            const auto& own = family == ct::Family::Ipv4 ? ports[id].ipv4 : ports[id].ipv6;
            const bool by_it = (rule.match.out_port == ct::kNoPort || rule.match.out_port == id) &&
                               rule.match.not_out_port != id;
            if (by_it && own && *own == addr) return true;
        }
        return false;
    };
    std::vector<PortRange> all;
    for (std::size_t i = 0; i < ranges_.size(); ++i) {
        const Rule& rule = rules_.rules()[i];
        if (!maps_to_it(rule, ranges_[i])) continue;
        if (knows_subscribers(rule) && carriers_->at(rule.carrier).gives_ports())
            all.push_back(carriers_->at(rule.carrier).settings().ports);
        else
            all.push_back(rule.target.ports.any() ? port_class(proto, 0xffff) : rule.target.ports);
    }
    std::sort(all.begin(), all.end(), [](PortRange a, PortRange b) { return a.first < b.first; });
    std::vector<PortRange> out;
    for (const PortRange r : all) {
        if (out.empty() || r.first > std::uint32_t{out.back().last} + 1)
            out.push_back(r);
        else
            out.back().last = std::max(out.back().last, r.last);
    }
    return out;
}

/// Gives back what choose_for_subscriber() took.
void Setup::mapping_ended(const Mappings::Mapping& m, ct::Nanos now) noexcept {
    const Rule& rule = rules_.rules()[m.rule];
    if (!knows_subscribers(rule)) return;
    const auto [original, reply] = flow_of(m.inside, m.external);
    carriers_->at(rule.carrier).release(original, reply, now);
}

}  // namespace nat
