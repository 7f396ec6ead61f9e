// SPDX-License-Identifier: BSD-3-Clause
#include "nat/setup.hpp"

#include "ct/wire/headers.hpp"
#include "nat/family.hpp"
#include "nat/setup_parts.hpp"
#include "nat/wide.hpp"

#include <algorithm>
#include <utility>

namespace nat {
namespace {

/// `original` with the network part of the prefix from `first` to `last`.
[[nodiscard]] ct::Addr in_prefix(const ct::Addr& original, const ct::Addr& first,
                                 const ct::Addr& last) noexcept {
    ct::Addr out = first;
    for (std::size_t i = 0; i < out.bytes.size(); ++i) {
        const int host = original.bytes[i] & (first.bytes[i] ^ last.bytes[i]);
        out.bytes[i] = static_cast<std::uint8_t>(out.bytes[i] | host);
    }
    return out;
}

/// How far behind the range's first port a shifted port is.
[[nodiscard]] std::uint32_t shifted(std::uint16_t original, std::uint16_t base,
                                    PortRange ports) noexcept {
    return static_cast<std::uint16_t>(original - base) % ports.count();
}

/// `hash` modulo `span` + 1.
[[nodiscard]] constexpr std::uint64_t reduce(std::uint64_t hash, std::uint64_t span) noexcept {
    return span == ~std::uint64_t{0} ? hash : hash % (span + 1);
}

}  // namespace

PortAddresses PortAddresses::primary_of(std::span<const Prefix> addresses) noexcept {
    PortAddresses out;
    bool global = false;
    for (const Prefix& p : addresses) {
        if (p.family == ct::Family::Ipv4 && !out.ipv4) out.ipv4 = p.addr;
        if (p.family != ct::Family::Ipv6) continue;
        const bool link_local = p.addr.bytes[0] == 0xfe && (p.addr.bytes[1] & 0xc0U) == 0x80;
        if (!out.ipv6 || (!global && !link_local)) out.ipv6 = p.addr;
        global = global || !link_local;
    }
    return out;
}

PortRange port_class(std::uint8_t proto, std::uint16_t original) noexcept {
    if (ct::is_icmp(proto)) return {0, 65535};
    if (original < 512) return {1, 511};
    if (original < 1024) return {600, 1023};
    return {1024, 65535};
}

Setup::Setup(const RuleSet& rules, ct::Conntrack& table, std::vector<PortAddresses> ports,
             std::uint64_t seed, Carriers* carriers)
    : rules_{rules},
      table_{table},
      ports_{std::make_unique<const std::vector<PortAddresses>>(std::move(ports))},
      carriers_{carriers != nullptr && carriers->size() > 0 ? carriers : nullptr},
      key_{seed == 0 ? ct::HashKey::random() : ct::HashKey::from_seed(seed)},
      address_key_{ct::HashKey::from_seed(1)},
      pools_{pools_of(rules, ports_.get()), quarantine_of(rules), spare_for(rules)},
      prefixes_{prefixes_of(rules)},
      workers_{std::make_unique<Worker[]>(table.workers())},
      hints_{std::make_unique<Hint[]>(kHints)} {
    for (const Rule& rule : rules.rules()) ranges_.push_back(range_told_by(rule));
    if (!rules.has_snat() && !pools_.any()) return;
    crowds_ = std::make_unique<Crowds>();
    table_.set_release(
        {.call =
             [](void* self, ct::WorkerId w, std::uint8_t lease, const ct::Tuple& original,
                const ct::Tuple& reply, ct::Nanos now) noexcept {
                 static_cast<Setup*>(self)->give_back(w, lease, original, reply, now);
             },
         .lend = [](void* self, ct::WorkerId w, ct::Packet& p,
                    ct::Nanos now) noexcept { return static_cast<Setup*>(self)->adopt(w, p, now); },
         .self = this,
         .wanted = &wanted_});
    if (!pools_.any()) return;
    // One more user than there are workers: control ends connections, too.
    mappings_ = std::make_unique<Mappings>(
        table.indices(), table.workers() + 1,
        seed == 0 ? ct::HashKey::random() : ct::HashKey::from_seed(seed + 1));
}

Setup::~Setup() {
    if (crowds_ != nullptr) table_.set_release({});
}

ct::Drop Setup::choose_destination(ct::WorkerId w, ct::Packet& p, ct::Nanos now) noexcept {
    if (p.in_port == ct::kLocalPort) return ct::Drop::None;
    const Rule* rule = rules_.match_dnat(w, p);
    if (rule == nullptr) return pools_.any() ? enter_from_outside(w, p, now) : ct::Drop::None;
    if (rule->action == Action::Nat64) return cross(w, p, *rule, now);
    const Range* range =
        range_of(workers_[w].made, *rule, p.original.family, p.in_port, p.original.dst);
    if (range == nullptr) return ct::Drop::NatNoAddress;

    ct::Tuple& reply = p.reply;
    reply.src = pick_address(*range, p.original);
    if (range->ports.any() || !has_ports(reply.proto)) return ct::Drop::None;
    const std::uint16_t port = reply.sport.host();
    const bool shifts = range->port_base != 0;
    const bool fits = !range->random && !shifts && range->ports.contains(port);
    if (fits && is_free(w, p, now)) return ct::Drop::None;

    // The first that is free, from the start of the range or where the base puts it. Only the same
    // client's port towards the same server can be in the way, so there is hardly ever a second
    // probe; where the whole range is taken, confirm() will say so and the client's port changes
    // instead.
    const std::uint32_t start = shifts ? shifted(port, range->port_base, range->ports) : 0;
    if (!range->random && step_through(w, p, &ct::Tuple::sport, range->ports, start, now))
        return ct::Drop::None;
    if (!search(w, p, &ct::Tuple::sport, {.range = range->ports}, now))
        reply.sport = ct::Be16::from_host(static_cast<std::uint16_t>(range->ports.first + start));
    return ct::Drop::None;
}

/// source() where nothing is left to be decided: the rule is the one that was guessed, it says no
/// more than where to map to, and the source was given nothing else before. False: nothing has been
/// done.
[[gnu::always_inline]] inline bool Setup::take_guess(ct::WorkerId w, ct::Packet& p) noexcept {
    const Recent& recent = workers_[w].recent;
    if (p.guess == 0 || p.guess != recent.number || recent.out_port != p.out_port || p.lease != 0 ||
        p.track.still != 0 || p.reply.family != ct::Family::Ipv4 ||
        p.reply.dport != p.original.sport)
        return false;
    // It may have been replaced since.
    if (recent.own_address && ports_.get()[p.out_port].ipv4 != recent.range.first) return false;
    if (recent.leaves_hint || any_hint_.load(std::memory_order_relaxed)) {
        if (p.source_tag == 0 || has_hint(p.source_tag)) return false;
    }
    if (rules_.has_hairpin() && hairpin_of(p)) return false;
    if (!rules_.meets_snat(w, p, *recent.rule)) return false;
    if (recent.own_address) p.masquerade_port = p.out_port;
    p.lease = lease::kPort;
    p.reply.dst = p.expected_reply.dst_v4();
    if (recent.leaves_hint) leave_hint(p, &ct::Tuple::dport, p.source_tag);
    return true;
}

ct::Drop Setup::source(ct::WorkerId w, ct::Packet& p, ct::Nanos now) noexcept {
    return take_guess(w, p) ? ct::Drop::None : choose_source(w, p, now);
}

ct::Drop Setup::choose_source(ct::WorkerId w, ct::Packet& p, ct::Nanos now) noexcept {
    const bool over = crosses(p);
    if (p.out_port == ct::kNoPort || p.out_port == ct::kLocalPort)
        return over ? ct::Drop::NatUntranslatable : ct::Drop::None;
    // Who came in by a mapping, from inside, meets the rules as if he had left.
    const bool entered = (p.lease & lease::kDestination) != 0;
    const bool turned = entered && p.mapping_port != ct::kNoPort;
    if (over && entered && !turned) return ct::Drop::None;  // lead_to() has given him an address
    const std::optional<Hairpin> hairpin =
        turned || !rules_.has_hairpin() ? std::nullopt : hairpin_of(p);
    const ct::PortId leaves_by = turned ? p.mapping_port : hairpin ? hairpin->as_from : p.out_port;
    const Rule* rule = over || turned ? rules_.peek_nat64(p) : nullptr;
    const ct::Family outside = rule != nullptr ? ct::Family::Ipv4 : p.reply.family;
    if (rule == nullptr && !over)
        rule = turned ? rules_.match_turned(w, p, leaves_by) : rules_.match_snat(w, p, leaves_by);
    Worker& own = workers_[w];
    const Range* range = nullptr;
    if (rule != nullptr) {
        range = range_of(own.made, *rule, outside, leaves_by, p.original.src);
    } else if (over) {
        return ct::Drop::NatNoAddress;
    } else if (hairpin && hairpin->turns_back) {
        own.made = {.first = p.original.dst,
                    .last = p.original.dst,
                    .ports = {},
                    .family = p.original.family};
        range = &own.made;
    } else {
        return ct::Drop::None;
    }
    if (range == nullptr) return ct::Drop::NatNoAddress;
    if (rule != nullptr && uses_own_address(*rule)) p.masquerade_port = leaves_by;
    const Behaviour behaviour = rule != nullptr ? rule->behaviour : Behaviour{};
    track_as(w, p, behaviour, ct::Dir::Original, now);

    const PortField field = source_field(p.reply.proto);
    const auto map = [&](Ask ask) noexcept {
        if (behaviour.endpoint_independent() && field != nullptr)
            return map_independently(w, p, *rule, *range, field, now);
        if (rule != nullptr && knows_subscribers(*rule))
            return map_for_subscriber(w, p, *rule, *range, field, now);
        return map_dependently(w, p, behaviour, *range, field, ask, now);
    };
    const ct::Addr dst = p.reply.dst;
    const ct::Be16 port = field != nullptr ? p.reply.*field : ct::Be16{};
    ct::Drop drop = map(Ask::No);
    // Who has to go for this connection in a full table may have the port that it needs.
    if (drop == ct::Drop::NatNoPort && table_.make_room(w, p, now)) {
        p.reply.dst = dst;
        if (field != nullptr) p.reply.*field = port;
        drop = map(Ask::Yes);
    }
    if (!p.alive()) return p.drop;
    remember(own, rule, leaves_by, *range, over ? ct::Family::None : p.original.family);
    return told_of(p, drop, behaviour);
}

/// Where the next packets' mappings are likely to lie.
void Setup::remember(Worker& own, const Rule* rule, ct::PortId out_port, const Range& range,
                     ct::Family family) const noexcept {
    const Recent& r = own.recent;
    if (r.rule == rule && r.out_port == out_port && !range.netmap && r.range.first == range.first)
        return;
    const bool foreseeable = rule != nullptr && !range.random && !range.netmap &&
                             range.port_base == 0 && !rule->behaviour.endpoint_independent();
    const bool is_plain = foreseeable && range.ports.any() && !pools_.any() &&
                          !knows_subscribers(*rule) && rule->behaviour.variant == 0 &&
                          rule->behaviour.refresh == Refresh::Both;
    own.recent = {.rule = rule,
                  .out_port = out_port,
                  .family = foreseeable ? family : ct::Family::None,
                  .number = std::max(r.number + 1, 1U),
                  .is_plain = is_plain,
                  .own_address = rule != nullptr && uses_own_address(*rule),
                  .leaves_hint = !always_same(range),
                  .range = range};
}

/// pick_address() of IPv4 for IPv4.
[[gnu::always_inline]] inline ct::Be32 Setup::pick_ipv4(const Range& r, const ct::Tuple& original,
                                                        std::uint64_t nth) const noexcept {
    if (r.first.as_v4() == r.last.as_v4()) return r.first.as_v4();
    const std::uint64_t hash = ct::hash_block(address_key_, original.src.as_v4().raw(),
                                              r.persistent ? 0 : original.dst.as_v4().raw());
    return nth_ipv4(r, hash, nth);
}

/// The address of an IPv4 range that `hash` leads to, and the `nth` after it.
[[gnu::always_inline]] inline ct::Be32 Setup::nth_ipv4(const Range& r, std::uint64_t hash,
                                                       std::uint64_t nth) noexcept {
    const std::uint32_t lowest = r.first.as_v4().host();
    const std::uint64_t count = std::uint64_t{r.last.as_v4().host()} - lowest + 1;
    std::uint64_t at = (hash >> 32) * count >> 32;
    if (nth != 0) at = (at + nth) % count;
    return ct::Be32::from_host(static_cast<std::uint32_t>(lowest + at));
}

/// The address of a source, and the `nth` after it where there are several to be tried.
ct::Addr Setup::pick_address(const Range& r, const ct::Tuple& original,
                             std::uint64_t nth) const noexcept {
    if (r.first == r.last) return r.first;
    if (original.family == ct::Family::Ipv4) return ct::Addr::v4(pick_ipv4(r, original, nth));
    ct::Tuple key;
    key.family = original.family;
    key.src = original.src;
    if (!r.persistent) key.dst = original.dst;
    const std::uint64_t hash = ct::hash(address_key_, key);
    if (r.family == ct::Family::Ipv4) return ct::Addr::v4(nth_ipv4(r, hash, nth));
    const Wide first = Wide::of(r.first, r.family);
    const Wide span = Wide::of(r.last, r.family) - first;
    Wide offset{reduce(scramble(hash), span.high), hash};
    if (offset.high == span.high) offset.low = reduce(hash, span.low);
    if (nth != 0) {
        offset = offset + Wide{0, nth};
        if (span < offset) offset = offset - span - Wide{0, 1};
    }
    return (first + offset).addr(r.family);
}

/// Works out the mappings that packets get if it is the recent rule that they meet, and starts to
/// load what has to be looked at for them.
void Setup::guess(const Recent& recent, std::span<ct::Packet> packets) const noexcept {
    const Range& range = recent.range;
    const ct::Family family = recent.family;
    const bool hints = recent.leaves_hint || any_hint_.load(std::memory_order_relaxed);
    // Of a longer address the key does not tell which it is.
    const bool ipv4 = family == ct::Family::Ipv4;
    const std::uint32_t number = ipv4 && recent.is_plain ? recent.number : 0;
    std::array<ct::Packet*, kAhead + kAtOnce> expecting;
    std::size_t n = 0;
    for (ct::Packet& p : packets) {
        if (family != p.tuple.family || !p.absent || p.conn.valid()) continue;
        if (ipv4) {
            if (range.contains(p.tuple.src.as_v4())) continue;
            p.expected_reply = ct::reply_key_ipv4(p.tuple, pick_ipv4(range, p.tuple));
            p.guess = has_ports(p.tuple.proto) ? number : 0;
            expecting[n++] = &p;
        } else {
            if (range.contains(p.tuple.src)) continue;
            ct::Tuple reply = ct::reply_of(p.tuple);
            reply.dst = pick_address(range, p.tuple);
            table_.load_reply(reply);
        }
        if (!hints) continue;
        p.source_tag = source_tag(p.tuple);
        ct::prefetch_write(&hints_[hint_at(p.source_tag)]);
    }
    table_.expect_replies(std::span{expecting}.first(n));
}

/// What a packet is dropped for, as the rule has it, and whether its sender is told.
ct::Drop Setup::told_of(ct::Packet& p, ct::Drop drop, const Behaviour& behaviour) noexcept {
    if (drop == ct::Drop::None || behaviour.exhausted != NoPort::Icmp) return drop;
    p.tell_sender = true;
    return drop == ct::Drop::NatNoPort ? ct::Drop::NatPortReject : drop;
}

/// NatNoPort, of a packet that has none then to give back: what was tried last is somebody else's.
ct::Drop Setup::no_port(ct::Packet& p) noexcept {
    p.lease = static_cast<std::uint8_t>(p.lease & ~lease::kPort);
    return ct::Drop::NatNoPort;
}

ct::Drop Setup::map_dependently(ct::WorkerId w, ct::Packet& p, const Behaviour& behaviour,
                                const Range& range, PortField field, Ask ask,
                                ct::Nanos now) noexcept {
    ct::Tuple& reply = p.reply;
    if (field != nullptr) p.lease |= lease::kPort;
    // What is most likely free is not asked for: confirm() finds out, and next_mapping() asks.
    const auto likely = [&]() noexcept {
        return ask == Ask::Yes ? suits(w, p, field, now) : may_have(w, p, field, now);
    };
    const auto tag = [&]() noexcept {
        if (p.source_tag == 0) p.source_tag = source_tag(p.original);
        return p.source_tag;
    };
    const std::uint16_t port = p.original.sport.host();
    const Wanted wanted{range.ports.any() ? port_class(reply.proto, port) : range.ports,
                        behaviour.parity ? port % 2 : -1};
    if (range.port_base != 0 && field == &ct::Tuple::dport) {
        reply.dst = pick_address(range, p.original);
        const std::uint32_t start = shifted(port, range.port_base, range.ports);
        const bool found =
            step_through(w, p, field, range.ports, start, now) || search(w, p, field, wanted, now);
        return found ? ct::Drop::None : no_port(p);
    }
    const bool port_fits = field == nullptr || range.ports.any() || range.ports.contains(port);
    if (!range.random && ask != Ask::Taken) {
        if (port_fits && range.contains(reply.dst) && likely()) return ct::Drop::None;
        const bool hinted = field != nullptr && any_hint_.load(std::memory_order_relaxed);
        if (hinted && take_hint(w, p, field, range, tag(), now)) return ct::Drop::None;
    }
    const std::uint64_t addresses =
        behaviour.pooling == Pooling::Arbitrary ? addresses_of(range, reply.family) : 1;
    for (std::uint64_t n = 0; n < addresses; ++n) {
        reply.dst = pick_address(range, p.original, n);
        // Only if need be: a tuple of which a part was just written cannot yet be read in words.
        if (field != nullptr && reply.*field != p.original.sport) reply.*field = p.original.sport;
        const bool known_taken = n == 0 && ask == Ask::Taken;
        const bool kept = port_fits && !known_taken && (!range.random || field == nullptr);
        if (kept && (n == 0 ? likely() : suits(w, p, field, now))) {
            // With one address for the source, another destination finds the same mapping unaided.
            if (!always_same(range) && field != nullptr) leave_hint(p, field, tag());
            return ct::Drop::None;
        }
        if (field == nullptr || !search(w, p, field, wanted, now)) continue;
        if (!range.random) leave_hint(p, field, tag());
        return ct::Drop::None;
    }
    return no_port(p);
}

ct::Drop Setup::next_mapping(ct::WorkerId w, ct::Packet& p, ct::Nanos now) noexcept {
    if (!rules_.has_nat()) return ct::Drop::CtClash;
    const PortField field = source_field(p.reply.proto);
    // A mapping is the same towards everybody: there is no other.
    if (field == nullptr || (p.lease & lease::kSource) != 0) return ct::Drop::NatNoPort;
    const bool kept_port = p.reply.*field == p.original.sport;
    let_go(w, p, kept_port, now);
    // The rule is found as source() found it.
    const bool leaves = p.out_port != ct::kNoPort && p.out_port != ct::kLocalPort;
    const bool turned =
        leaves && (p.lease & lease::kDestination) != 0 && p.mapping_port != ct::kNoPort;
    const std::optional<Hairpin> hairpin =
        leaves && !turned && rules_.has_hairpin() ? hairpin_of(p) : std::nullopt;
    const ct::PortId leaves_by = turned ? p.mapping_port : hairpin ? hairpin->as_from : p.out_port;
    const Rule* rule = nullptr;
    if (crosses(p))
        rule = rules_.peek_nat64(p);
    else if (turned)
        rule = rules_.peek_turned(p, leaves_by);
    else if (leaves)
        rule = rules_.peek_snat(p, leaves_by);
    if (rule != nullptr && (p.lease & lease::kSubscriber) != 0 && knows_subscribers(*rule) &&
        carriers_->at(rule->carrier).gives_ports())
        return told_of(p, next_for_subscriber(w, p, *rule, field, now), rule->behaviour);
    const Range* range = rule != nullptr ? range_of(workers_[w].made, *rule, p.reply.family,
                                                    leaves_by, p.original.src)
                                         : nullptr;
    if (range != nullptr) {
        // Choose anew, and ask: a port that was not asked for is taken, or somebody was faster.
        const bool was_first =
            kept_port && !range->random && p.reply.dst == pick_address(*range, p.original);
        p.reply.dst = crosses(p) ? ct::Addr{} : p.original.src;
        p.reply.*field = p.original.sport;
        const Ask ask = was_first ? Ask::Taken : Ask::Yes;
        return told_of(p, map_dependently(w, p, rule->behaviour, *range, field, ask, now),
                       rule->behaviour);
    }
    p.lease |= lease::kPort;
    const Wanted any{port_class(p.reply.proto, p.original.sport.host()), -1};
    return search(w, p, field, any, now) ? ct::Drop::None : no_port(p);
}

ct::Drop Setup::follow(ct::WorkerId w, ct::Packet& p, const Master& master,
                       ct::Nanos now) noexcept {
    // A tuple's source is its endpoint as it is, its destination the one that this endpoint
    // believes to be talking to.
    const ct::Tuple& announcer = master.dir == ct::Dir::Original ? master.original : master.reply;
    ct::Tuple& reply = p.reply;
    reply.src = announcer.src;
    if (has_ports(reply.proto)) reply.sport = master.announced_port;
    reply.dst = announcer.dst;
    const PortField field = source_field(reply.proto);
    if (suits(w, p, field, now)) return ct::Drop::None;
    if (field == nullptr) return ct::Drop::NatNoPort;
    const PortRange ports = port_class(reply.proto, p.original.sport.host());
    return search(w, p, field, {.range = ports}, now) ? ct::Drop::None : ct::Drop::NatNoPort;
}

std::optional<Setup::Hairpin> Setup::hairpin_of(const ct::Packet& p) const noexcept {
    if (p.reply.src == p.original.dst) return std::nullopt;
    const Rule* rule = rules_.hairpin_rule(p);
    if (rule == nullptr || p.in_port == rule->match.in_port) return std::nullopt;
    const bool turns_back = p.out_port == p.in_port;
    if (rule->match.in_port != ct::kNoPort) return Hairpin{rule->match.in_port, turns_back};
    if (!turns_back) return std::nullopt;
    return Hairpin{p.out_port, turns_back};
}

bool Setup::step_through(ct::WorkerId w, ct::Packet& p, PortField field, PortRange ports,
                         std::uint32_t start, ct::Nanos now) noexcept {
    const std::uint32_t count = ports.count();
    const std::uint32_t probes = std::min(count, kQuickProbes);
    for (std::uint32_t i = 0; i < probes; ++i) {
        const auto port = static_cast<std::uint16_t>(ports.first + (start + i) % count);
        p.reply.*field = ct::Be16::from_host(port);
        // A single port is not asked for: confirm() finds out.
        if (count == 1 && !pools_.any()) return true;
        if (suits(w, p, field, now)) return true;
    }
    return false;
}

Setup::Range Setup::range_told_by(const Rule& rule) noexcept {
    const Target& t = rule.target;
    const bool paired =
        rule.action == Action::Nat64 || rule.behaviour.pooling == Pooling::Paired ||
        (rule.behaviour.pooling == Pooling::Linux && rule.behaviour.endpoint_independent());
    return {.first = t.first_addr,
            .last = t.last_addr,
            .ports = t.ports,
            .random = t.random,
            .persistent = t.persistent || paired,
            .port_base = t.port_base,
            .family = t.family,
            .netmap = t.netmap};
}

const Setup::Range* Setup::range_of(Range& made, const Rule& rule, ct::Family family,
                                    ct::PortId port, const ct::Addr& original) const noexcept {
    const Range& told = ranges_[static_cast<std::size_t>(&rule - rules_.rules().data())];
    const bool own_address = rule.action == Action::Redirect || uses_own_address(rule);
    if (!own_address && !told.netmap && told.family == family) return &told;
    made = told;
    made.family = family;
    if (told.netmap) made.first = made.last = in_prefix(original, told.first, told.last);
    if (!own_address) return &made;
    const std::vector<PortAddresses>& ports = ports_.get();
    if (port >= ports.size()) return nullptr;
    const PortAddresses& a = ports[port];
    const std::optional<ct::Addr>& addr = family == ct::Family::Ipv4 ? a.ipv4 : a.ipv6;
    if (!addr) return nullptr;
    made.first = made.last = *addr;
    return &made;
}

std::uint64_t Setup::addresses_of(const Range& r, ct::Family family) noexcept {
    const Wide span = Wide::of(r.last, family) - Wide::of(r.first, family);
    return span.high != 0 ? kMaxAddressesTried : std::min(span.low, kMaxAddressesTried - 1) + 1;
}

bool Setup::is_free(ct::WorkerId w, const ct::Packet& p, ct::Nanos now) noexcept {
    return !table_.tuple_taken(w, p.reply, p.conn, now);
}

std::uint64_t Setup::source_tag_ipv6(const ct::Tuple& original) const noexcept {
    ct::Tuple key;
    key.src = original.src;
    key.sport = original.sport;
    key.zone = original.zone;
    key.proto = original.proto;
    key.family = original.family;
    return ct::hash(key_, key) | 1;
}

std::optional<Setup::Hinted> Setup::hint_for(std::uint64_t tag) noexcept {
    if (!has_hint(tag)) return std::nullopt;
    const Hint& hint = hints_[hint_at(tag)];
    Hinted out;
    for (std::size_t i = 0; i < 2; ++i)
        ct::store(out.addr.bytes.data() + 8 * i, hint.addr[i].load(std::memory_order_relaxed));
    out.port =
        ct::Be16::from_raw(static_cast<std::uint16_t>(hint.port.load(std::memory_order_relaxed)));
    return out;
}

bool Setup::take_hint(ct::WorkerId w, ct::Packet& p, PortField field, const Range& r,
                      std::uint64_t tag, ct::Nanos now) noexcept {
    const std::optional<Hinted> hint = hint_for(tag);
    if (!hint) return false;
    const ct::Tuple before = p.reply;
    p.reply.dst = hint->addr;
    p.reply.*field = hint->port;
    // What the same source was mapped to in the other family may look like an address of the range.
    const bool of_family =
        r.family != ct::Family::Ipv4 || p.reply.dst == ct::Addr::v4(p.reply.dst.as_v4());
    const bool in_range = of_family && r.contains(p.reply.dst) &&
                          (r.ports.any() || r.ports.contains((p.reply.*field).host()));
    if (in_range && suits(w, p, field, now)) return true;
    p.reply = before;
    return false;
}

}  // namespace nat
