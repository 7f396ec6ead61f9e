// SPDX-License-Identifier: BSD-3-Clause
#include "nat/check.hpp"

#include "nat/pref64.hpp"

#include <utility>

namespace nat {
namespace {

/// The family that a rule's target asks for; nat64's is another than that of its packets.
[[nodiscard]] ct::Family family_of_target(const Rule& rule) noexcept {
    return rule.action == Action::Nat64 ? ct::Family::None : rule.target.family;
}

/// The family that a rule's match and target ask for; None: any, Contradiction aside.
[[nodiscard]] ct::Family family_of(const Rule& rule) noexcept {
    const Match& m = rule.match;
    for (const ct::Family f :
         {m.family, m.src.family, m.dst.family, family_of_target(rule), m.conn.orig_src.family,
          m.conn.orig_dst.family, m.conn.reply_src.family, m.conn.reply_dst.family})
        if (f != ct::Family::None) return f;
    return ct::Family::None;
}

[[nodiscard]] bool has_address_target(Action a) noexcept {
    return a == Action::Snat || a == Action::Dnat;
}
[[nodiscard]] bool is_destination_action(Action a) noexcept {
    return a == Action::Dnat || a == Action::Redirect || a == Action::Nat64;
}
[[nodiscard]] bool is_source_action(Action a) noexcept {
    return a == Action::Snat || a == Action::Masquerade;
}

[[nodiscard]] bool belongs_to(Chain chain, Action a) noexcept {
    switch (a) {
        case Action::Accept:
            return true;
        case Action::Drop:
            return chain != Chain::Nat;
        case Action::Reject:
        case Action::Mark:
        case Action::SaveMark:
        case Action::RestoreMark:
        case Action::Label:
            return chain == Chain::Filter;
        case Action::PacketMark:
            return chain != Chain::Nat;
        case Action::Notrack:
        case Action::Zone:
        case Action::Track:
            return chain == Chain::Raw;
        case Action::Snat:
        case Action::Masquerade:
        case Action::Dnat:
        case Action::Redirect:
        case Action::Nat64:
            return chain == Chain::Nat;
    }
    return false;
}

[[nodiscard]] constexpr std::uint8_t bit_of(ct::CtState s) noexcept {
    return static_cast<std::uint8_t>(1U << static_cast<unsigned>(s));
}

/// True if the target's addresses are all those of a prefix: past the first bit in which the first
/// and the last differ, the first is all zeros and the last all ones.
[[nodiscard]] bool is_prefix_of(const Target& t) noexcept {
    const std::size_t bits = t.family == ct::Family::Ipv4 ? 32 : 128;
    bool host = false;
    for (std::size_t bit = 0; bit < bits; ++bit) {
        const unsigned mask = 0x80U >> bit % 8;
        const bool first = (t.first_addr.bytes[bit / 8] & mask) != 0;
        const bool last = (t.last_addr.bytes[bit / 8] & mask) != 0;
        host = host || first != last;
        if (host && (first || !last)) return false;
    }
    return true;
}

/// What contradicts itself in the conditions alone, whatever the chain.
[[nodiscard]] std::string contradiction_in(const Match& m) {
    if ((m.not_src && m.src.family == ct::Family::None) ||
        (m.not_dst && m.dst.family == ct::Family::None))
        return "it excludes every address";
    if (m.not_src && m.src.length == 0) return "it excludes every source";
    if (m.not_dst && m.dst.length == 0) return "it excludes every destination";
    if (m.sport.first > m.sport.last) return "its range of source ports is empty";
    if (m.dport.first > m.dport.last) return "its range of destination ports is empty";
    const bool asks_ports = !m.sport.any() || !m.dport.any();
    if (asks_ports && m.proto >= 0 && !has_ports(static_cast<std::uint8_t>(m.proto)))
        return "it asks for ports of a protocol that has none";
    if (m.proto > 255) return "there is no such IP protocol";
    if ((m.mark & ~m.mark_mask) != 0) return "its mark has bits outside of its mask";
    if (m.zone > 0xffff) return "there is no such zone";
    const ConnMatch& c = m.conn;
    if (c.not_packet_mark && c.packet_mark_mask == 0) return "it excludes every packet mark";
    if ((c.packet_mark & ~c.packet_mark_mask) != 0 && !c.not_packet_mark)
        return "its packet mark has bits outside of its mask";
    if (c.expires_first > c.expires_last) return "its range of expiry times is empty";
    if (c.not_expires && c.expires_first == 0 && c.expires_last == 0xffff'ffff)
        return "it excludes every expiry time";
    if ((c.not_orig_src && c.orig_src.length == 0) || (c.not_orig_dst && c.orig_dst.length == 0) ||
        (c.not_reply_src && c.reply_src.length == 0) ||
        (c.not_reply_dst && c.reply_dst.length == 0))
        return "it excludes every address of the connection";
    if (c.label > 127) return "there is no such label";
    for (const PortRange& r : {c.orig_sport, c.orig_dport, c.reply_sport, c.reply_dport}) {
        if (r.first > r.last) return "a range of the connection's ports is empty";
        if (!r.any() && m.proto >= 0 && !has_ports(static_cast<std::uint8_t>(m.proto)))
            return "it asks for ports of a protocol that has none";
    }
    if ((c.not_orig_sport && c.orig_sport.any()) || (c.not_orig_dport && c.orig_dport.any()) ||
        (c.not_reply_sport && c.reply_sport.any()) || (c.not_reply_dport && c.reply_dport.any()))
        return "it excludes every port of the connection";
    if ((m.possible_states() & ~bit_of(ct::CtState::None)) == 0) {
        if (m.asks_connection() && m.states != 0 && !m.not_states)
            return "it asks for a connection, which no such packet has";
        return "it excludes every state";
    }
    return {};
}

/// What contradicts the moment at which the chain is asked.
[[nodiscard]] std::string contradiction_with_chain(const Rule& rule) {
    const Match& m = rule.match;
    if (rule.chain == Chain::Raw) {
        if (m.out_port != ct::kNoPort) return "the raw chain is asked before routing";
        if (m.states != 0 || m.not_states || m.asks_status() || m.asks_connection() ||
            m.mark != 0 || m.zone > 0)
            return "the raw chain is asked before the packet has a connection";
    }
    if (rule.chain == Chain::Nat) {
        if (m.conn.needs_facts()) return "the nat chain does not know labels, expiry and helpers";
        constexpr auto kFirst =
            static_cast<std::uint8_t>(bit_of(ct::CtState::New) | bit_of(ct::CtState::Related));
        if ((m.possible_states() & kFirst) == 0)
            return "the nat chain sees only the first packet of a connection";
        if (is_destination_action(rule.action) && m.out_port != ct::kNoPort)
            return "the destination is translated before routing";
    }
    return {};
}

[[nodiscard]] std::string contradiction(const Rule& rule) {
    const Match& m = rule.match;
    const ct::Family family = family_of(rule);
    for (const ct::Family f :
         {m.family, m.src.family, m.dst.family, m.conn.orig_src.family, m.conn.orig_dst.family,
          m.conn.reply_src.family, m.conn.reply_dst.family})
        if (f != ct::Family::None && f != family) return "it asks for IPv4 and IPv6 at once";
    if (family_of_target(rule) != ct::Family::None && family_of_target(rule) != family)
        return "its target is of another family than its match";
    if (std::string why = contradiction_in(m); !why.empty()) return why;
    return contradiction_with_chain(rule);
}

/// True if every address of `inner` lies in `outer`, of the same family.
[[nodiscard]] bool inside(const Prefix& inner, const Prefix& outer) noexcept {
    return inner.length >= outer.length && outer.contains(inner.family, inner.addr);
}

/// True if every address that the condition (b, not_b) admits is admitted by (a, not_a). Families
/// are compared elsewhere.
[[nodiscard]] bool covers(const Prefix& a, bool not_a, const Prefix& b, bool not_b) noexcept {
    if (a.family == ct::Family::None || (a.length == 0 && !not_a)) return true;
    if (b.family == ct::Family::None) return false;
    if (!not_a && !not_b) return inside(b, a);
    if (not_a && not_b) return inside(a, b);
    if (not_a) return !inside(b, a) && !inside(a, b);
    return false;  // all but b lies in a only if a is everything
}

[[nodiscard]] bool covers(PortRange a, PortRange b) noexcept {
    return a.contains(b.first) && a.contains(b.last);
}

/// The same of a condition that asks for one value, or excludes one; `any` asks for none.
template <class T>
[[nodiscard]] bool covers(T any, T a, T not_a, T b, T not_b) noexcept {
    if (a != any && a != b) return false;
    return not_a == any || not_a == not_b || (b != any && b != not_a);
}

/// The same of the conditions on state and status.
[[nodiscard]] bool covers_state(const Match& x, const Match& y) noexcept {
    const auto within = [](unsigned inner, unsigned outer) { return (inner & ~outer) == 0; };
    const bool plain = x.state_nat == 0 && !x.not_states;
    const bool asks = x.states != 0 || !plain;
    const bool wider =
        plain ? within(y.possible_states(), x.states)
              : (y.states != 0 || y.state_nat != 0) && x.not_states == y.not_states &&
                    (x.not_states ? within(x.states, y.states) && within(x.state_nat, y.state_nat)
                                  : within(y.states, x.states) && within(y.state_nat, x.state_nat));
    const bool any = x.status_any == 0 || (y.status_any != 0 && within(y.status_any, x.status_any));
    return (!asks || wider) && any && within(x.status_none, y.status_none);
}

/// True if whatever matches `b` matches `a`, its mark aside.
[[nodiscard]] bool covers_but_for_mark(const Rule& a, const Rule& b) noexcept {
    const Match& x = a.match;
    const Match& y = b.match;
    const ct::Family family = family_of(a);
    return covers(ct::kNoPort, x.in_port, x.not_in_port, y.in_port, y.not_in_port) &&
           covers(ct::kNoPort, x.out_port, x.not_out_port, y.out_port, y.not_out_port) &&
           (family == ct::Family::None || family == family_of(b)) &&
           covers(-1, x.proto, x.not_proto, y.proto, y.not_proto) && covers(x.sport, y.sport) &&
           covers(x.dport, y.dport) && (x.zone < 0 || x.zone == y.zone) && covers_state(x, y) &&
           x.table_above <= y.table_above && covers(x.src, x.not_src, y.src, y.not_src) &&
           covers(x.dst, x.not_dst, y.dst, y.not_dst) &&
           (x.conn == ConnMatch{} || x.conn == y.conn);
}

[[nodiscard]] bool covers_mark(const Match& x, const Match& y) noexcept {
    const bool excludes_the_same =
        x.not_mark_mask == 0 || (x.not_mark_mask == y.not_mark_mask && x.not_mark == y.not_mark);
    return (y.mark_mask & x.mark_mask) == x.mark_mask && (y.mark & x.mark_mask) == x.mark &&
           excludes_the_same;
}

/// True if a packet that `a` decides about never comes to `b`.
[[nodiscard]] bool ends_before(const Rule& a, const Rule& b) noexcept {
    if (a.chain != b.chain || goes_on(a.action)) return false;
    if (a.chain != Chain::Nat || a.action == Action::Accept) return true;
    return is_source_action(a.action) == is_source_action(b.action) && b.action != Action::Accept;
}

}  // namespace

std::string malformed(const Rule& rule) {
    if (!belongs_to(rule.chain, rule.action)) return "the action has no meaning in this chain";
    for (const Prefix* p : {&rule.match.src, &rule.match.dst}) {
        const unsigned most = p->family == ct::Family::Ipv4   ? 32
                              : p->family == ct::Family::Ipv6 ? 128
                                                              : 0;
        if (p->length > most) return "a prefix is longer than its address";
    }
    if ((rule.action == Action::Zone || rule.action == Action::Track) && rule.value > 0xffff)
        return "there is no such zone";
    if (rule.action == Action::Label && rule.value > 127) return "there is no such label";
    if (rule.match.table_above >= 100) return "the table is never fuller than 100 percent";
    if (rule.match.table_above != 0 && rule.chain == Chain::Nat)
        return "a mapping must not depend on how full the table is";

    if (rule.carrier != kNoCarrier && rule.action != Action::Snat &&
        rule.action != Action::Masquerade)
        return "only a source rule knows subscribers";
    const Target& t = rule.target;
    if (has_address_target(rule.action) && t.family == ct::Family::None)
        return "it has no address to translate to";
    if (rule.action == Action::Nat64) {
        const Prefix& prefix = rule.match.dst;
        if (prefix.family != ct::Family::Ipv6 || !is_pref64_length(prefix.length) ||
            rule.match.not_dst)
            return "it has no prefix behind which IPv4 addresses can stand";
        if (t.family == ct::Family::Ipv6) return "it translates to IPv4 addresses";
    } else if (!has_address_target(rule.action) && t.family != ct::Family::None) {
        return "the action takes no address";
    }
    if (t.last_addr.bytes < t.first_addr.bytes) return "its range of addresses is empty";
    if (t.ports.first > t.ports.last) return "its range of ports is empty";
    if (t.ports.first == 0 && !t.ports.any()) return "port 0 cannot be translated to";
    if (t.netmap && !has_address_target(rule.action)) return "only snat and dnat map prefixes";
    if (t.netmap && !is_prefix_of(t)) return "its addresses are no prefix";
    if (t.port_base != 0 && t.ports.any()) return "it has no ports to shift to";
    if (t.port_base != 0 && t.random) return "its ports are shifted and random at once";
    if (rule.hairpin && rule.action != Action::Dnat) return "only dnat can be a hairpin";
    if (rule.hairpin && (rule.match.dst.family == ct::Family::None || rule.match.not_dst))
        return "a hairpin needs the destination that it stands for";
    if (rule.hairpin && rule.match.not_in_port != ct::kNoPort)
        return "a hairpin excludes no port to come in by";

    const Behaviour& b = rule.behaviour;
    const bool over = rule.action == Action::Nat64;
    if (!is_source_action(rule.action) && !over && !(b == Behaviour{}))
        return "only mappings of a source have a behaviour";
    if (!b.endpoint_independent() && b.filtering != Filtering::AddressAndPortDependent)
        return "nobody outside can open a connection to an endpoint-dependent mapping";
    if (!b.endpoint_independent() && b.quarantine_s != 0)
        return "the ports of endpoint-dependent mappings do not rest";
    if (b.endpoint_independent() && t.port_base != 0)
        return "endpoint-independent mappings do not shift ports";
    return {};
}

std::vector<DeadRule> dead_rules(std::span<const Rule> rules) {
    std::vector<DeadRule> dead;
    std::vector<bool> possible(rules.size(), false);
    for (std::size_t i = 0; i < rules.size(); ++i) {
        if (std::string why = contradiction(rules[i]); !why.empty()) {
            dead.push_back({i, std::nullopt, std::move(why)});
            continue;
        }
        possible[i] = true;
        // From the nearest rule backwards: once a rule was passed that changes a mark or a label,
        // an earlier rule's condition on those says nothing, as they were others then.
        bool marked = false;
        std::optional<std::size_t> by;
        for (std::size_t j = i; j-- > 0;) {
            const Rule& earlier = rules[j];
            if (!possible[j]) continue;
            marked = marked || (earlier.chain == rules[i].chain && goes_on(earlier.action));
            const bool asks_marks = earlier.match.mark_mask != 0 ||
                                    earlier.match.not_mark_mask != 0 ||
                                    !(earlier.match.conn == ConnMatch{});
            const bool mark_covered =
                !asks_marks || (!marked && covers_mark(earlier.match, rules[i].match));
            if (mark_covered && ends_before(earlier, rules[i]) &&
                covers_but_for_mark(earlier, rules[i]))
                by = j;
        }
        if (by)
            dead.push_back({i, by, "an earlier rule decides about every packet it could match"});
    }
    return dead;
}

}  // namespace nat
