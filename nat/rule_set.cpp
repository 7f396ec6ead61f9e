// SPDX-License-Identifier: BSD-3-Clause
#include "nat/rule_set.hpp"

#include "ct/wire/headers.hpp"
#include "nat/check.hpp"
#include "nat/family.hpp"
#include "nat/pref64.hpp"

#include <stdexcept>
#include <string>
#include <utility>

namespace nat {
namespace {

/// Bits of RuleSet::Compiled::conditions.
constexpr std::uint32_t kInPort = 1U << 0;
constexpr std::uint32_t kOutPort = 1U << 1;
constexpr std::uint32_t kFamily = 1U << 2;
constexpr std::uint32_t kProto = 1U << 3;
constexpr std::uint32_t kState = 1U << 4;
constexpr std::uint32_t kZone = 1U << 5;
constexpr std::uint32_t kStatus = 1U << 6;
constexpr std::uint32_t kMark = 1U << 7;
constexpr std::uint32_t kSport = 1U << 8;
constexpr std::uint32_t kDport = 1U << 9;
constexpr std::uint32_t kSrc = 1U << 10;
constexpr std::uint32_t kDst = 1U << 11;
constexpr std::uint32_t kNotSrc = 1U << 12;
constexpr std::uint32_t kNotDst = 1U << 13;
constexpr std::uint32_t kNever = 1U << 14;  ///< the families contradict one another
constexpr std::uint32_t kRest = 1U << 15;   ///< what matches_rest() compares
constexpr std::uint32_t kConn = 1U << 16;   ///< Match::conn; implies kRest
constexpr std::uint32_t kAbove = 1U << 31;  ///< the table is fuller than ...
/// What is seen of a packet before a view is made of it.
constexpr std::uint32_t kAtAGlance = kInPort | kOutPort | kFamily | kProto | kState | kNever;

/// What confirm() will say of a mapping that is still being made.
[[nodiscard]] std::uint16_t status_of(const ct::Tuple& original, const ct::Tuple& reply) noexcept {
    // Field by field: a tuple that was just written so cannot yet be read in whole words.
    const ct::Tuple mirror = ct::reply_of(original);
    unsigned status = 0;
    const bool icmp = ct::is_icmp(original.proto);
    if (reply.src != mirror.src || (!icmp && reply.sport != mirror.sport))
        status |= ct::status::kDstNat;
    if (reply.dst != mirror.dst || reply.dport != mirror.dport ||
        (icmp && reply.sport != mirror.sport))
        status |= ct::status::kSrcNat;
    return static_cast<std::uint16_t>(status);
}

[[nodiscard]] bool is_source_action(Action a) noexcept {
    return a == Action::Snat || a == Action::Masquerade;
}

/// Between the families, rules see what the IPv6 side sees, in either direction.
void show_ipv6_side(const ct::Packet& p, PacketView& v) noexcept {
    const ct::Tuple six = ipv6_side(p);
    const bool from_four = p.tuple.family == ct::Family::Ipv4;
    v.family = ct::Family::Ipv6;
    v.dst = six.dst;
    if (p.icmp_error) {
        v.proto = ct::ipproto::kIcmpv6;
        // Its sender may be any router on the way; one of IPv4 is known behind the prefix.
        const auto prefix = prefix_between(six.src, p.inner.dst);
        if (from_four && prefix) v.src = embed(*prefix, p.tuple.src);
        return;
    }
    v.proto = six.proto;
    v.src = six.src;
    if (has_ports(six.proto)) {
        v.sport = six.sport.host();
        v.dport = six.dport.host();
    }
}

/// Both views are made in place and where they are searched, so that of what no rule asks for
/// nothing is written.
[[gnu::always_inline]] inline void show_wire(const ct::Packet& p, PacketView& v) noexcept {
    v.in_port = p.in_port;
    v.out_port = p.out_port;
    v.family = p.tuple.family;
    v.proto = p.tuple.proto;
    v.state = p.state;
    v.dir = p.dir;
    if (has_ports(p.tuple.proto)) {
        v.sport = p.tuple.sport.host();
        v.dport = p.tuple.dport.host();
    }
    v.status = p.status;
    v.zone = p.tuple.zone;
    v.mark = p.mark;
    v.packet_mark = p.packet_mark;
    v.packet = &p;
    v.src = p.tuple.src;
    v.dst = p.tuple.dst;
}

/// Without `nat_status`, the status lacks the translation that a connection's first packet gets.
[[gnu::always_inline]] inline void show_forward(const ct::Packet& p, PacketView& v,
                                                bool nat_status) noexcept {
    show_wire(p, v);
    if (!p.conn.valid() || p.mirrored) return;

    // The endpoints that take part are the two tuples' sources: each is its own endpoint's true
    // address, whichever side of the NAT the packet is on.
    const bool original = p.dir == ct::Dir::Original;
    const ct::Tuple& from = original ? p.original : p.reply;
    const ct::Tuple& to = original ? p.reply : p.original;
    if (nat_status && p.opened) v.status |= status_of(p.original, p.reply);
    if (crosses(p)) [[unlikely]] {
        PacketView six = v;  // as `v` itself is not to be written to memory
        show_ipv6_side(p, six);
        v = six;
        return;
    }
    if (p.icmp_error) {
        if (v.dst == from.dst) v.dst = to.src;
        return;
    }
    v.src = from.src;
    v.dst = to.src;
    if (has_ports(from.proto)) {
        v.sport = from.sport.host();
        v.dport = to.sport.host();
    }
}

}  // namespace

PacketView wire_view(const ct::Packet& p) noexcept {
    PacketView v;
    show_wire(p, v);
    return v;
}

PacketView forward_view(const ct::Packet& p) noexcept {
    PacketView v;
    show_forward(p, v, true);
    return v;
}

RuleSet::RuleSet(std::vector<Rule> rules, ct::WorkerId workers, Action filter_policy,
                 std::span<const ZonePolicy> zones)
    : rules_{std::move(rules)},
      policy_{filter_policy},
      workers_{workers},
      lines_{(rules_.size() + 1 + 3) / 4},
      hits_{std::make_unique<HitLine[]>(lines_ * workers)},
      fills_{std::make_unique<Fill[]>(workers)} {
    if (policy_ != Action::Accept && policy_ != Action::Drop && policy_ != Action::Reject)
        throw std::invalid_argument("the filter policy must be accept, drop or reject");
    for (std::uint32_t i = 0; i < rules_.size(); ++i) {
        const Rule& rule = rules_[i];
        if (const std::string why = malformed(rule); !why.empty())
            throw std::invalid_argument("line " + std::to_string(rule.line) + ": rule '" +
                                        rule.name + "': " + why);
        const Compiled c = compile(rule, i);
        asks_status_ = asks_status_ || rule.match.asks_status();
        asks_how_full_ = asks_how_full_ || rule.match.table_above != 0;
        if (rule.chain == Chain::Raw) raw_.push_back(c);
        if (rule.chain == Chain::Filter) filter_.push_back(c);
        wants_facts_ = wants_facts_ || rule.match.conn.needs_facts();
        if (rule.chain != Chain::Nat) continue;
        // Accept exempts from both kinds of translation.
        if (!is_source_action(rule.action)) dnat_.push_back(c);
        if (rule.hairpin) {
            has_hairpin_ = true;
            dnat_.back().conditions &= ~kInPort;
            dnat_.back().glance = Glance::of(dnat_.back());
        }
        if (is_source_action(rule.action) || rule.action == Action::Accept) snat_.push_back(c);
    }
    if (!zones.empty()) zones_.resize(std::size_t{0xffff} + 1, InvalidPolicy::Pass);
    for (const ZonePolicy& z : zones) zones_[z.zone] = z.invalid;
    find_established_shortcut();
}

RuleSet::Words RuleSet::words_of(const Prefix& prefix) noexcept {
    std::array<std::uint8_t, 16> mask{};
    for (unsigned bit = 0; bit < prefix.length; ++bit)
        mask[bit / 8] |= static_cast<std::uint8_t>(0x80U >> bit % 8);
    Words w;
    for (std::size_t i = 0; i < 2; ++i) {
        w.mask[i] = ct::load<std::uint64_t>(mask.data() + 8 * i);
        w.value[i] = ct::load<std::uint64_t>(prefix.addr.bytes.data() + 8 * i) & w.mask[i];
    }
    return w;
}

RuleSet::Compiled RuleSet::compile(const Rule& rule, std::uint32_t index) noexcept {
    const Match& m = rule.match;
    Compiled c;
    c.index = index;
    c.action = rule.action;
    c.value = rule.value & rule.mask;
    c.mask = rule.mask;
    c.match = &m;
    const auto require = [&c](bool wanted, std::uint32_t bit) {
        if (wanted) c.conditions |= bit;
    };
    // An address of a family, in a condition or as the target, asks for that family.
    const ct::Family target = rule.action == Action::Nat64 ? ct::Family::None : rule.target.family;
    for (const ct::Family f :
         {m.family, m.src.family, m.dst.family, target, m.conn.orig_src.family,
          m.conn.orig_dst.family, m.conn.reply_src.family, m.conn.reply_dst.family}) {
        if (f == ct::Family::None) continue;
        require((c.conditions & kFamily) != 0 && c.family != f, kNever);
        require(true, kFamily);
        c.family = f;
    }
    require(m.in_port != ct::kNoPort, kInPort);
    require(m.out_port != ct::kNoPort, kOutPort);
    require(m.proto >= 0, kProto);
    c.states = m.possible_states();
    require(c.states != kAllStates, kState);
    require(m.zone >= 0, kZone);
    require(m.status_any != 0, kStatus);
    require(m.mark_mask != 0 || m.mark != 0, kMark);
    require(!m.sport.any(), kSport);
    require(!m.dport.any(), kDport);
    require(m.src.family != ct::Family::None, kSrc);
    require(m.dst.family != ct::Family::None, kDst);
    require(m.not_src, kNotSrc);
    require(m.not_dst, kNotDst);
    const bool asks_conn = !(m.conn == ConnMatch{});
    require(asks_conn, kConn);
    require(asks_conn || m.state_nat != 0 || m.not_states || m.status_none != 0 ||
                m.not_in_port != ct::kNoPort || m.not_out_port != ct::kNoPort || m.not_proto >= 0 ||
                m.not_mark_mask != 0,
            kRest);
    require(m.table_above != 0, kAbove);
    c.above_permille = m.table_above * 10U;
    // "Not any address" is no address.
    require((m.not_src && (c.conditions & kSrc) == 0) || (m.not_dst && (c.conditions & kDst) == 0),
            kNever);
    c.in_port = m.in_port;
    c.out_port = m.out_port;
    c.proto = static_cast<std::uint8_t>(m.proto);
    c.zone = static_cast<std::uint16_t>(m.zone);
    c.status = m.status_any;
    c.sport = m.sport;
    c.dport = m.dport;
    c.mark = m.mark;
    c.mark_mask = m.mark_mask;
    c.glance = Glance::of(c);
    c.src = words_of(m.src);
    c.dst = words_of(m.dst);
    return c;
}

[[gnu::always_inline]] inline bool RuleSet::matches(const Compiled& c,
                                                    const PacketView& v) noexcept {
    const std::uint32_t has = c.conditions;
    const auto inside = [](const Words& w, const ct::Addr& a) noexcept {
        const auto low = ct::load<std::uint64_t>(a.bytes.data());
        const auto high = ct::load<std::uint64_t>(a.bytes.data() + 8);
        return (((low & w.mask[0]) ^ w.value[0]) | ((high & w.mask[1]) ^ w.value[1])) == 0;
    };
    if (!c.glance.allows(Seen::of(v.in_port, v.out_port, v.family, v.proto, v.state))) return false;
    if ((has & ~kAtAGlance) == 0) return true;
    if ((has & kZone) != 0 && c.zone != v.zone) return false;
    if ((has & kStatus) != 0 && (v.status & c.status) == 0) return false;
    if ((has & kMark) != 0 && (v.mark & c.mark_mask) != c.mark) return false;
    if ((has & (kSport | kDport)) != 0 &&
        !(has_ports(v.proto) && c.sport.contains(v.sport) && c.dport.contains(v.dport)))
        return false;
    if ((has & kSrc) != 0 && inside(c.src, v.src) == ((has & kNotSrc) != 0)) return false;
    if ((has & kDst) != 0 && inside(c.dst, v.dst) == ((has & kNotDst) != 0)) return false;
    if ((has & kAbove) != 0 && v.fill_permille <= c.above_permille) return false;
    if ((has & kRest) == 0) [[likely]]
        return true;
    const PacketView copy = v;  // as `v` itself is not to be written to memory
    return matches_rest(c, copy);
}

RuleSet::Glance RuleSet::Glance::of(const Compiled& c) noexcept {
    const auto has = [&c](std::uint32_t bit) { return (c.conditions & bit) != 0; };
    const Seen needed =
        Seen::of(has(kInPort) ? 0xffff : 0, has(kOutPort) ? 0xffff : 0,
                 has(kFamily) ? ct::Family{0xff} : ct::Family::None,
                 static_cast<std::uint8_t>(has(kProto) ? 0xff : 0), ct::CtState::None);
    const Seen want = Seen::of(c.in_port, c.out_port, c.family, c.proto, ct::CtState::None);
    return {.want = want.word & needed.word,
            .care = needed.word,
            .states = static_cast<std::uint8_t>(has(kNever)   ? 0
                                                : has(kState) ? c.states
                                                              : 0xff)};
}

/// What is left of a rule's conditions, which few rules have.
[[gnu::noinline]] bool RuleSet::matches_rest(const Compiled& c, const PacketView& v) noexcept {
    const Match& m = *c.match;
    if (m.not_states || m.state_nat != 0) {
        const unsigned state = Seen::bit_of(v.state);
        const bool translated = (state & kTracked) != 0 && (v.status & m.state_nat) != 0;
        if (((m.states & state) != 0 || translated) == m.not_states) return false;
    }
    if ((v.status & m.status_none) != 0) return false;
    if (m.not_in_port != ct::kNoPort && m.not_in_port == v.in_port) return false;
    if (m.not_out_port != ct::kNoPort &&
        (m.not_out_port == v.out_port || v.out_port == ct::kNoPort))
        return false;
    if (m.not_proto == v.proto) return false;
    if (m.not_mark_mask != 0 && (v.mark & m.not_mark_mask) == m.not_mark) return false;
    return (c.conditions & kConn) == 0 || matches(m.conn, v);
}

bool RuleSet::matches(const ConnMatch& m, const PacketView& v) noexcept {
    if (((v.packet_mark & m.packet_mark_mask) == m.packet_mark) == m.not_packet_mark) return false;
    if (!m.needs_connection()) return true;
    if (v.packet == nullptr || !v.packet->conn.valid()) return false;
    const ct::Packet& p = *v.packet;
    if (m.dir >= 0 && m.dir != static_cast<int>(ct::index_of(p.dir))) return false;
    // Of a connection without NAT, the packet's own tuple says both.
    const bool original = p.dir == ct::Dir::Original;
    const ct::Tuple orig = !p.mirrored ? p.original : original ? p.tuple : ct::reply_of(p.tuple);
    const ct::Tuple reply = !p.mirrored ? p.reply : original ? ct::reply_of(p.tuple) : p.tuple;
    if (m.proto >= 0 && (m.proto == orig.proto) == m.not_proto) return false;
    const auto in = [](const Prefix& prefix, bool excluded, const ct::Tuple& t, const ct::Addr& a) {
        return prefix.family == ct::Family::None || prefix.contains(t.family, a) != excluded;
    };
    const auto port = [](PortRange r, bool excluded, const ct::Tuple& t, ct::Be16 number) {
        return r.any() || (has_ports(t.proto) && r.contains(number.host()) != excluded);
    };
    if (!in(m.orig_src, m.not_orig_src, orig, orig.src) ||
        !in(m.orig_dst, m.not_orig_dst, orig, orig.dst) ||
        !in(m.reply_src, m.not_reply_src, reply, reply.src) ||
        !in(m.reply_dst, m.not_reply_dst, reply, reply.dst) ||
        !port(m.orig_sport, m.not_orig_sport, orig, orig.sport) ||
        !port(m.orig_dport, m.not_orig_dport, orig, orig.dport) ||
        !port(m.reply_sport, m.not_reply_sport, reply, reply.sport) ||
        !port(m.reply_dport, m.not_reply_dport, reply, reply.dport))
        return false;
    if (!m.needs_facts()) return true;
    if (v.facts == nullptr) return false;
    const ct::ConnFacts& facts = *v.facts;
    const bool expires = m.expires_first <= facts.expires_s && facts.expires_s <= m.expires_last;
    if (expires == m.not_expires) return false;
    if (m.helper != 0 && (m.helper == facts.helper) == m.not_helper) return false;
    const auto label = static_cast<std::size_t>(m.label);
    return m.label < 0 || ((facts.labels[label / 64 % 2] >> label % 64 & 1) != 0) != m.not_label;
}

[[gnu::always_inline]] inline const RuleSet::Compiled* RuleSet::first_match(
    std::span<const Compiled> chain, const PacketView& v) noexcept {
    for (const Compiled& c : chain)
        if (matches(c, v)) return &c;
    return nullptr;
}

/// What a rule that ends the raw chain says.
void RuleSet::follow(const Rule& rule, RawVerdict& out) const noexcept {
    switch (rule.action) {
        case Action::Notrack:
            out.notrack = true;
            break;
        case Action::Drop:
            out.drop = ct::Drop::RuleDrop;
            break;
        case Action::Track:
            out.track = rule.track;
            [[fallthrough]];
        case Action::Zone: {
            const auto zone = static_cast<std::uint16_t>(rule.value);
            out.zone = rule.scope == ZoneScope::Reply ? std::uint16_t{0} : zone;
            out.track.split_zone = rule.scope != ZoneScope::Both;
            out.track.reply_zone = rule.scope == ZoneScope::Original ? std::uint16_t{0} : zone;
            break;
        }
        default:
            break;
    }
}

template <class OnHit>
[[gnu::always_inline]] inline RawVerdict RuleSet::search_raw(PacketView& v, OnHit on_hit) const {
    RawVerdict out;
    out.packet_mark = v.packet_mark;
    for (const Compiled& c : raw_) {
        if (!matches(c, v)) continue;
        on_hit(c.index);
        if (c.action != Action::PacketMark) {
            follow(rules_[c.index], out);
            break;
        }
        out.packet_mark = v.packet_mark = (v.packet_mark & ~c.mask) | c.value;
    }
    if (invalid_policy(out.zone) == InvalidPolicy::Liberal)
        out.track.variant |= ct::variant::kLiberal;
    return out;
}

RawVerdict RuleSet::raw(ct::WorkerId w, const ct::Packet& p) const noexcept {
    PacketView v = wire_view(p);
    v.fill_permille = fills_[w].permille;
    return search_raw(v, [&](std::size_t i) { count(w, i, 1, p.end - p.l3_offset); });
}

RawVerdict RuleSet::peek_raw(const ct::Packet& p, std::vector<std::size_t>& matched) const {
    PacketView v = wire_view(p);
    return search_raw(v, [&](std::size_t i) { matched.push_back(i); });
}

template <class OnHit>
[[gnu::always_inline]] inline FilterVerdict RuleSet::search_filter(ct::Packet& p, PacketView& v,
                                                                   ct::ConnFacts* facts,
                                                                   OnHit on_hit) const {
    FilterVerdict out;
    const auto merge = [](std::uint32_t old, std::uint32_t fresh, std::uint32_t mask) {
        return (old & ~mask) | (fresh & mask);
    };
    for (const Compiled& c : filter_) {
        if (!matches(c, v)) continue;
        on_hit(c.index);
        switch (c.action) {
            case Action::Mark:
                p.mark = v.mark = merge(v.mark, c.value, c.mask);
                out.marked = true;
                break;
            case Action::SaveMark:
                p.mark = v.mark = merge(v.mark, v.packet_mark, c.mask);
                out.marked = true;
                break;
            case Action::PacketMark:
                p.packet_mark = v.packet_mark = merge(v.packet_mark, c.value, c.mask);
                break;
            case Action::RestoreMark:
                p.packet_mark = v.packet_mark = merge(v.packet_mark, v.mark, c.mask);
                break;
            case Action::Label:
                out.labels[c.value / 64 % 2] |= std::uint64_t{1} << c.value % 64;
                if (facts != nullptr && p.conn.valid())
                    facts->labels[c.value / 64 % 2] |= std::uint64_t{1} << c.value % 64;
                break;
            default:
                out.action = c.action;
                return out;
        }
    }
    on_hit(rules_.size());
    out.action = policy_;
    return out;
}

FilterVerdict RuleSet::filter(ct::WorkerId w, ct::Packet& p, ct::ConnFacts* facts) const noexcept {
    PacketView v;
    show_forward(p, v, asks_status_);
    v.facts = facts;
    v.fill_permille = fills_[w].permille;
    const std::uint32_t bytes = p.end - p.l3_offset;
    return search_filter(p, v, facts, [&](std::size_t i) { count(w, i, 1, bytes); });
}

FilterVerdict RuleSet::peek_filter(ct::Packet& p, ct::ConnFacts& facts, std::uint32_t fill_permille,
                                   std::vector<std::size_t>& matched) const {
    PacketView v;
    show_forward(p, v, asks_status_);
    v.facts = &facts;
    v.fill_permille = fill_permille;
    return search_filter(p, v, &facts, [&](std::size_t i) { matched.push_back(i); });
}

/// nat_match() among `rules`, which do not all decide at a glance.
[[gnu::noinline]] const RuleSet::Compiled* RuleSet::nat_match_by_view(
    std::span<const Compiled> rules, const ct::Packet& p, ct::PortId out_port) const noexcept {
    PacketView v;
    show_forward(p, v, asks_status_);
    v.out_port = out_port;
    return first_match(rules, v);
}

/// The rule of a nat chain that p meets, were it to leave by `out_port`.
[[gnu::always_inline]] inline const RuleSet::Compiled* RuleSet::nat_match(
    const CompiledChain& chain, const ct::Packet& p, ct::PortId out_port) const noexcept {
    const std::span<const Compiled> rules{chain};
    if (crosses(p)) [[unlikely]]
        return nat_match_by_view(rules, p, out_port);
    const Seen seen = Seen::of(p.in_port, out_port, p.tuple.family, p.tuple.proto, p.state);
    for (const Compiled& c : rules) {
        if (!c.glance.allows(seen)) continue;
        if ((c.conditions & ~kAtAGlance) == 0) return &c;
        return nat_match_by_view({&c, rules.data() + rules.size()}, p, out_port);
    }
    return nullptr;
}

const Rule* RuleSet::match_dnat(ct::WorkerId w, const ct::Packet& p) const noexcept {
    if (dnat_.empty()) return nullptr;
    return nat_rule(nat_match(dnat_, p, p.out_port), w, p);
}

const Rule* RuleSet::match_snat(ct::WorkerId w, const ct::Packet& p,
                                ct::PortId out_port) const noexcept {
    if (snat_.empty()) return nullptr;
    return nat_rule(nat_match(snat_, p, out_port), w, p);
}

[[gnu::always_inline]] inline bool RuleSet::is_hit(const Compiled* c, const Rule& rule,
                                                   ct::WorkerId w,
                                                   const ct::Packet& p) const noexcept {
    if (c == nullptr || &rules_[c->index] != &rule) return false;
    count(w, c->index, 1, p.end - p.l3_offset);
    return true;
}

/// meets_snat() of what `rules` has, which do not all decide at a glance.
[[gnu::noinline]] bool RuleSet::meets_by_view(std::span<const Compiled> rules, const ct::Packet& p,
                                              const Rule& rule, ct::WorkerId w) const noexcept {
    return is_hit(nat_match_by_view(rules, p, p.out_port), rule, w, p);
}

bool RuleSet::meets_snat(ct::WorkerId w, const ct::Packet& p, const Rule& rule) const noexcept {
    const Seen seen = Seen::of(p.in_port, p.out_port, p.tuple.family, p.tuple.proto, p.state);
    const std::span<const Compiled> rules{snat_};
    for (const Compiled& c : rules) {
        if (!c.glance.allows(seen)) continue;
        if ((c.conditions & ~kAtAGlance) == 0) return is_hit(&c, rule, w, p);
        return meets_by_view({&c, rules.data() + rules.size()}, p, rule, w);
    }
    return false;
}

[[gnu::always_inline]] inline const Rule* RuleSet::nat_rule(const Compiled* c, ct::WorkerId w,
                                                            const ct::Packet& p) const noexcept {
    if (c == nullptr) return nullptr;
    count(w, c->index, 1, p.end - p.l3_offset);
    return c->action == Action::Accept ? nullptr : &rules_[c->index];
}

const RuleSet::Compiled* RuleSet::turned(const ct::Packet& p, ct::PortId out_port) const noexcept {
    PacketView v = wire_view(p);
    v.out_port = out_port;
    v.state = ct::CtState::New;
    return first_match(snat_, v);
}

const Rule* RuleSet::match_turned(ct::WorkerId w, const ct::Packet& p,
                                  ct::PortId out_port) const noexcept {
    return nat_rule(turned(p, out_port), w, p);
}

const Rule* RuleSet::peek_turned(const ct::Packet& p, ct::PortId out_port) const noexcept {
    const Compiled* c = turned(p, out_port);
    return c == nullptr || c->action == Action::Accept ? nullptr : &rules_[c->index];
}

const Rule* RuleSet::peek_snat(const ct::Packet& p, ct::PortId out_port) const noexcept {
    const Compiled* c = nat_match(snat_, p, out_port);
    return c == nullptr || c->action == Action::Accept ? nullptr : &rules_[c->index];
}

const Rule* RuleSet::peek_nat64(const ct::Packet& p) const noexcept {
    PacketView v = wire_view(p);
    v.mark = 0;  // as match_dnat() saw it, before a filter rule gave the connection a mark
    const Compiled* c = first_match(dnat_, v);
    return c == nullptr || c->action != Action::Nat64 ? nullptr : &rules_[c->index];
}

const Rule* RuleSet::peek_dnat(const ct::Packet& p) const noexcept {
    if (dnat_.empty()) return nullptr;
    PacketView v;
    show_forward(p, v, asks_status_);
    v.state = ct::CtState::New;  // as match_dnat() would have seen it
    const Compiled* c = first_match(dnat_, v);
    return c == nullptr || c->action == Action::Accept ? nullptr : &rules_[c->index];
}

const Rule* RuleSet::hairpin_rule(const ct::Packet& p) const noexcept {
    // The header still shows what the rule saw: it is rewritten once everything is decided.
    const Compiled* c = first_match(dnat_, wire_view(p));
    return c == nullptr || !rules_[c->index].hairpin ? nullptr : &rules_[c->index];
}

bool RuleSet::must_not_leave(const ct::Packet& p) const noexcept {
    if ((p.state != ct::CtState::Invalid && !p.no_room) || p.out_port == ct::kNoPort) return false;
    if ((p.status & ct::status::kNatMask) != 0) return true;
    if (!has_nat()) return false;
    // Too short to have ports: nobody can tell what the rules would have done.
    if (p.fault == ct::Drop::Truncated) return true;

    PacketView v;
    show_forward(p, v, asks_status_);
    v.state = ct::CtState::New;  // as the rules would have seen it
    const Compiled* c = first_match(snat_, v);
    if (c != nullptr && c->action != Action::Accept) return true;
    // What would have become IPv4 has no business among IPv6.
    const Compiled* d = first_match(dnat_, v);
    if (d != nullptr && d->action == Action::Nat64) return true;
    return is_answer_of_dnat(v);
}

bool RuleSet::is_answer_of_dnat(const PacketView& v) const noexcept {
    for (const Compiled& c : dnat_) {
        if (c.action != Action::Dnat || (c.conditions & kNever) != 0) continue;
        const Rule& rule = rules_[c.index];
        const Match& m = rule.match;
        if ((c.conditions & kInPort) != 0 && c.in_port != v.out_port) continue;
        if (m.not_in_port != ct::kNoPort && m.not_in_port == v.out_port) continue;
        if (c.family != v.family || ((c.conditions & kProto) != 0 && c.proto != v.proto)) continue;
        if (v.src.bytes < rule.target.first_addr.bytes || rule.target.last_addr.bytes < v.src.bytes)
            continue;
        if ((c.conditions & kSrc) != 0 && m.src.contains(v.family, v.dst) == m.not_src) continue;
        const PortRange& served = rule.target.ports.any() ? m.dport : rule.target.ports;
        if (has_ports(v.proto) && !served.contains(v.sport)) continue;
        return true;
    }
    return false;
}

void RuleSet::find_established_shortcut() noexcept {
    for (const Compiled& c : filter_) {
        if ((c.conditions & kNever) != 0) continue;
        if ((c.states & Seen::bit_of(ct::CtState::Established)) == 0) continue;
        // The first rule that an established packet can match decides about all of them, or not.
        skips_established_ = c.action == Action::Accept && (c.conditions & ~kState) == 0;
        established_index_ = c.index;
        return;
    }
    skips_established_ = policy_ == Action::Accept;
    established_index_ = rules_.size();
}

void RuleSet::count_skipped(ct::WorkerId w, std::uint64_t packets,
                            std::uint64_t bytes) const noexcept {
    count(w, established_index_, packets, bytes);
}

Hits RuleSet::hits(std::size_t index) const noexcept {
    Hits out;
    for (ct::WorkerId w = 0; w < workers_; ++w) {
        const HitLine& line = hits_[w * lines_ + index / 4];
        out.packets += line.cells[index % 4 * 2].load(std::memory_order_relaxed);
        out.bytes += line.cells[index % 4 * 2 + 1].load(std::memory_order_relaxed);
    }
    return out;
}

}  // namespace nat
