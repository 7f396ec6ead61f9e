// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/explain.hpp"

#include "ct/inspect.hpp"
#include "dataplane/control/names.hpp"
#include "nat/family.hpp"
#include "nat/pref64.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

namespace dp {
namespace {

using nlohmann::ordered_json;

/// A packet without bytes that stands for the next of a flow.
[[nodiscard]] ct::Packet packet_of(const ct::Tuple& t, ct::PortId in_port) {
    ct::Packet p;
    p.tuple = t;
    p.in_port = in_port;
    p.l4_offset = 0;
    p.payload_offset = t.proto == ct::ipproto::kTcp ? 20 : 8;
    p.end = p.payload_offset;
    return p;
}

[[nodiscard]] std::string_view policy_name(ct::Overflow policy) noexcept {
    switch (policy) {
        case ct::Overflow::EmbryonicOldest:
            return "embryonic-oldest";
        case ct::Overflow::ClosingFirst:
            return "closing-first";
        case ct::Overflow::Linux:
            return "linux";
        case ct::Overflow::Drop:
            return "drop";
        case ct::Overflow::Untracked:
            return "untracked";
        case ct::Overflow::Reject:
            return "reject";
    }
    return "?";
}

[[nodiscard]] std::string_view neighbour_name(NeighbourState state) noexcept {
    switch (state) {
        case NeighbourState::Free:
            return "unknown";
        case NeighbourState::Incomplete:
            return "incomplete";
        case NeighbourState::Reachable:
            return "reachable";
        case NeighbourState::Stale:
            return "stale";
        case NeighbourState::Static:
            return "static";
    }
    return "?";
}

class Teller {
public:
    Teller(const Outlook& at, ct::Nanos now) : at_{at}, now_{now} {}

    [[nodiscard]] Story tell(const ct::Tuple& t, ct::PortId in_port);

private:
    void existing(const ct::Inspection& entry);
    void next_packet(const ct::Inspection& entry, ct::Dir dir);
    void newcomer(const ct::Tuple& t, ct::PortId in_port);
    [[nodiscard]] ct::PortId entrance(const ct::Tuple& t, ct::PortId said);
    [[nodiscard]] bool raw(ct::Packet& p);
    [[nodiscard]] bool route(ct::Packet& p, const ct::Addr& dst);
    void neighbour(const ct::Packet& p, const ct::Addr& dst);
    [[nodiscard]] bool filter(ct::Packet& p);
    [[nodiscard]] bool destination(ct::Packet& p);
    [[nodiscard]] bool cross(ct::Packet& p, const nat::Rule& rule);
    [[nodiscard]] bool enter(ct::Packet& p, const nat::Setup::WayIn& way);
    [[nodiscard]] bool leads_nowhere(const ct::Packet& p);
    void source(ct::Packet& p);
    [[nodiscard]] bool room(const ct::Packet& p);
    /// Where masquerade or redirect on a port maps to, or where the rule says.
    [[nodiscard]] std::optional<nat::Target> target_of(const nat::Rule& rule, ct::PortId port,
                                                       ct::Family family) const;

    const Outlook& at_;
    ct::Nanos now_;
    Story story_;
    std::string verdict_ = "accept";
    std::string reason_;
};

Story Teller::tell(const ct::Tuple& t, ct::PortId in_port) {
    const auto holder = at_.conntrack.holder_of(t, now_);
    ct::Inspection entry;
    const bool there = holder && at_.conntrack.inspect(*holder, now_, entry);
    if (there)
        existing(entry);
    else
        newcomer(t, in_port);
    story_.title = fmt::format("{}: {}", flow_text(t),
                               there ? "a connection" : "no connection; its first packet:");
    story_.head = {{"tuple", flow_json(t)}, {"exists", there}};
    if (there) return std::move(story_);
    story_.head["verdict"] = verdict_;
    story_.head["reason"] = reason_.empty() ? ordered_json(nullptr) : ordered_json(reason_);
    story_.title += " " + verdict_ + (reason_.empty() ? "" : ", " + reason_);
    return std::move(story_);
}

/// The port that the flow's packets come in by.
ct::PortId Teller::entrance(const ct::Tuple& t, ct::PortId said) {
    const auto& ports = at_.config.ports;
    if (said < ports.size()) {
        story_.add("in", "said", fmt::format("comes in by {}", ports[said].name));
        return said;
    }
    const NextHop& back = at_.forward.routes().hop(at_.forward.routes().lookup(t.family, t.src));
    const bool known = at_.config.dataplane.mode == Mode::Router &&
                       (back.kind == HopKind::Link || back.kind == HopKind::Gateway);
    if (!known) {
        Step& step = story_.add("in", "unknown", "the port that it comes in by cannot be told");
        step.details.emplace_back("rules that ask for it do not match here; say it with --in PORT");
        return ct::kNoPort;
    }
    Step& step = story_.add("in", "guessed",
                            fmt::format("comes in by {}, where the route back to "
                                        "its source leads",
                                        ports[back.port].name));
    step.facts["port"] = ports[back.port].name;
    return back.port;
}

bool Teller::raw(ct::Packet& p) {
    if (!at_.rules.has_raw()) return true;
    std::vector<std::size_t> matched;
    const nat::RawVerdict v = at_.rules.peek_raw(p, matched);
    Step& step = story_.add("raw", v.notrack ? "notrack" : "track", "no rule matches");
    step.facts["rules"] = ordered_json::array();
    for (const std::size_t i : matched) {
        if (step.facts["rules"].empty()) step.text.clear();
        step.text += (step.text.empty() ? "" : "; ") + rule_text(at_.rules.rules()[i]);
        step.facts["rules"].push_back(rule_json(at_.rules.rules()[i]));
    }
    p.drop = v.drop;
    p.tuple.zone = v.zone;
    p.track = v.track;
    p.packet_mark = v.packet_mark;
    if (v.notrack) p.state = ct::CtState::Untracked;
    if (v.zone != 0) step.details.push_back(fmt::format("zone {}", v.zone));
    describe_variant(step, v.track.variant);
    if (p.alive()) return true;
    step.result = verdict_ = "drop";
    reason_ = ct::name_of(p.drop);
    return false;
}

bool Teller::route(ct::Packet& p, const ct::Addr& dst) {
    const auto drop = [&](ct::Drop why) {
        story_.add("route", "drop", drop_text(why));
        verdict_ = "drop";
        reason_ = ct::name_of(why);
        return false;
    };
    if (at_.config.dataplane.mode == Mode::Wire) {
        if (p.in_port >= at_.config.ports.size()) return drop(ct::Drop::NoRoute);
        p.out_port = at_.config.ports[p.in_port].peer;
        if (p.out_port == ct::kNoPort) return drop(ct::Drop::NoPeerPort);
        story_.add("route", "wire",
                   fmt::format("to {}, the peer of {}", port_text(at_.config, p.out_port),
                               port_text(at_.config, p.in_port)));
        return true;
    }
    const ct::Family family = nat::family_after(p);
    p.next_hop = at_.forward.routes().lookup(family, dst);
    const NextHop& hop = at_.forward.routes().hop(p.next_hop);
    switch (hop.kind) {
        case HopKind::Unreachable:
        case HopKind::Discard:
        case HopKind::Blackhole:
            return drop(ct::Drop::NoRoute);
        case HopKind::Local:
        case HopKind::Group:
            p.out_port = ct::kLocalPort;
            story_.add("route", "local",
                       fmt::format("{} is Sluice's own: it is taken in", to_string(family, dst)));
            return true;
        case HopKind::Link:
        case HopKind::Gateway:
            break;
    }
    p.out_port = hop.port;
    const bool gateway = hop.kind == HopKind::Gateway;
    Step& step =
        story_.add("route", "forward",
                   gateway ? fmt::format("by {} to gateway {}", port_text(at_.config, hop.port),
                                         to_string(hop.family, hop.gateway))
                           : fmt::format("by {}, on whose link the destination is",
                                         port_text(at_.config, hop.port)));
    step.facts["out"] = port_text(at_.config, hop.port);
    if (gateway) step.facts["gateway"] = to_string(hop.family, hop.gateway);
    return true;
}

void Teller::neighbour(const ct::Packet& p, const ct::Addr& dst) {
    if (p.out_port >= at_.config.ports.size() || at_.config.dataplane.mode == Mode::Wire) return;
    const NextHop& hop = at_.forward.routes().hop(p.next_hop);
    NeighbourKey key{.address = hop.kind == HopKind::Gateway ? hop.gateway : dst,
                     .port = p.out_port,
                     .family = nat::family_after(p)};
    const auto all = at_.forward.neighbours().list();
    const auto found = std::find_if(all.begin(), all.end(),
                                    [&](const NeighbourTable::View& v) { return v.key == key; });
    const NeighbourState state = found == all.end() ? NeighbourState::Free : found->state;
    const std::string address = to_string(key.family, key.address);
    Step& step = story_.add("neighbour", std::string{neighbour_name(state)}, "");
    step.facts["address"] = address;
    switch (state) {
        case NeighbourState::Free:
            step.text =
                fmt::format("{} is not known yet: it is asked for, and packets wait", address);
            return;
        case NeighbourState::Incomplete:
            step.text =
                fmt::format("{} has not answered yet: {} packets wait", address, found->waiting);
            step.facts["waiting"] = found->waiting;
            return;
        default:
            step.text = fmt::format("{} is at {} ({})", address, to_string(found->mac),
                                    neighbour_name(state));
            step.facts["mac"] = to_string(found->mac);
    }
}

bool Teller::filter(ct::Packet& p) {
    std::vector<std::size_t> matched;
    ct::ConnFacts facts;
    if (p.conn.valid() && !p.opened) facts = at_.conntrack.facts(p, now_);
    const std::uint64_t in_use = at_.conntrack.count();
    const auto fill = static_cast<std::uint32_t>(in_use * 1000 / at_.conntrack.settings().max);
    const nat::FilterVerdict v = at_.rules.peek_filter(p, facts, fill, matched);
    const auto rules = at_.rules.rules();
    Step& step = story_.add("filter", std::string{name_of(v.action)}, "");
    step.facts["rules"] = ordered_json::array();
    for (const std::size_t i : matched) {
        const bool policy = i >= rules.size();
        const std::string text = policy
                                     ? fmt::format("no rule decides: policy {}", name_of(v.action))
                                     : rule_text(rules[i]);
        if (!policy && nat::goes_on(rules[i].action))
            step.details.push_back(text);
        else
            step.text = text;
        step.facts["rules"].push_back(policy ? ordered_json{{"policy", name_of(v.action)}}
                                             : rule_json(rules[i]));
    }
    if (v.action == nat::Action::Accept) return true;
    verdict_ = "drop";
    reason_ =
        ct::name_of(v.action == nat::Action::Reject ? ct::Drop::RuleReject : ct::Drop::RuleDrop);
    return false;
}

std::optional<nat::Target> Teller::target_of(const nat::Rule& rule, ct::PortId port,
                                             ct::Family family) const {
    if (rule.target.family != ct::Family::None) return rule.target;
    if (port >= at_.config.ports.size()) return {};
    const nat::PortAddresses port_has = at_.forward.addresses().for_nat()[port];
    const auto& own = family == ct::Family::Ipv4 ? port_has.ipv4 : port_has.ipv6;
    if (!own) return {};
    nat::Target out = rule.target;
    out.family = family;
    out.first_addr = out.last_addr = *own;
    return out;
}

[[nodiscard]] std::string target_text(const nat::Target& t) {
    std::string out = to_string(t.family, t.first_addr);
    if (t.last_addr != t.first_addr) out += "-" + to_string(t.family, t.last_addr);
    if (!t.ports.any())
        out += t.ports.first == t.ports.last
                   ? fmt::format(" port {}", t.ports.first)
                   : fmt::format(" ports {}-{}", t.ports.first, t.ports.last);
    return out;
}

/// The way to IPv4 by a nat64 rule; what else may be in its way is told with its connection.
bool Teller::cross(ct::Packet& p, const nat::Rule& rule) {
    const auto four = nat::extract(rule.match.dst, p.tuple.dst);
    const bool echo = p.tuple.proto == ct::ipproto::kIcmpv6;
    if (!four || !nat::may_cross(rule, *four) || (!echo && !nat::has_ports(p.tuple.proto))) {
        Step& step = story_.add("dnat", "drop", rule_text(rule));
        step.facts["rule"] = rule_json(rule);
        step.text += ": " + drop_text(ct::Drop::NatUntranslatable);
        verdict_ = "drop";
        reason_ = ct::name_of(ct::Drop::NatUntranslatable);
        return false;
    }
    p.reply.family = ct::Family::Ipv4;
    p.reply.src = *four;
    if (echo) p.reply.proto = ct::ipproto::kIcmp;
    story_.steps.push_back(dnat_step(p.original, p.reply, &rule));
    return true;
}

/// By the mapping of the endpoint that it calls.
bool Teller::enter(ct::Packet& p, const nat::Setup::WayIn& way) {
    story_.steps.push_back(
        entry_step(way.mapping, at_.rules.rules()[way.mapping.rule], way.refusal));
    if (way.refusal != ct::Drop::None) {
        verdict_ = "drop";
        reason_ = ct::name_of(way.refusal);
        return false;
    }
    at_.nat.lead_to(way.mapping, p);
    if (way.from_inside) p.mapping_port = way.mapping.out_port;
    return true;
}

/// False if the packet ends here.
bool Teller::destination(ct::Packet& p) {
    const nat::Rule* rule = at_.rules.has_dnat() ? at_.rules.peek_dnat(p) : nullptr;
    if (rule == nullptr)
        if (const auto way = at_.nat.way_in(p)) return enter(p, *way);
    if (!at_.rules.has_dnat()) return true;
    if (rule != nullptr && rule->action == nat::Action::Nat64) return cross(p, *rule);
    const auto target =
        rule != nullptr ? target_of(*rule, p.in_port, p.tuple.family) : std::nullopt;
    if (target) {
        p.reply.src = target->first_addr;
        if (nat::has_ports(p.tuple.proto) && !target->ports.any() &&
            !target->ports.contains(p.reply.sport.host()))
            p.reply.sport = ct::Be16::from_host(target->ports.first);
    }
    Step step = dnat_step(p.original, p.reply, rule);
    if (rule != nullptr && !target)
        step.text = fmt::format("{}: {}", rule_text(*rule), drop_text(ct::Drop::NatNoAddress));
    if (target && target->first_addr != target->last_addr)
        step.details.push_back("one of " + target_text(*target) + ", by a hash of the endpoints");
    story_.steps.push_back(std::move(step));
    return true;
}

/// True if it ends at an external address at which nobody is.
bool Teller::leads_nowhere(const ct::Packet& p) {
    if (!at_.nat.leads_nowhere(p)) return false;
    story_.add("nat", "drop", drop_text(ct::Drop::NatFiltered));
    verdict_ = "drop";
    reason_ = ct::name_of(ct::Drop::NatFiltered);
    return true;
}

void Teller::source(ct::Packet& p) {
    const bool over = nat::crosses(p);
    if (!(over || at_.rules.has_snat()) || p.out_port >= at_.config.ports.size()) return;
    // Who came in by a mapping, from inside, meets the rules as if he had left.
    const bool turned = p.mapping_port != ct::kNoPort;
    if (over && (p.lease & nat::lease::kDestination) != 0) {
        story_.add("snat", "mapped",
                   fmt::format("is seen inside as {}", to_string(p.reply.family, p.reply.dst)));
        return;
    }
    const ct::PortId leaves_by = turned ? p.mapping_port : p.out_port;
    const nat::Rule* rule = over     ? at_.rules.peek_nat64(p)
                            : turned ? at_.rules.peek_turned(p, leaves_by)
                                     : at_.rules.peek_snat(p);
    if (rule == nullptr) {
        story_.add("snat", "kept", "no rule translates the source");
        return;
    }
    const auto target = target_of(*rule, leaves_by, nat::family_after(p));
    Step& step = story_.add("snat", target ? "mapped" : "drop", rule_text(*rule));
    step.facts["rule"] = rule_json(*rule);
    if (!target) {
        step.text += ": " + drop_text(ct::Drop::NatNoAddress);
        return;
    }
    step.text += ": the source becomes " + target_text(*target);
    step.facts["target"] = {{"first", to_string(target->family, target->first_addr)},
                            {"last", to_string(target->family, target->last_addr)}};
    const bool has_endpoint = nat::has_ports(p.tuple.proto) || ct::is_icmp(p.tuple.proto);
    if (has_endpoint && rule->behaviour.endpoint_independent()) {
        if (const auto has = at_.nat.mapping_of(p, *target)) {
            step.facts["mapping"] = endpoint_json(*has);
            step.details.push_back(
                fmt::format("it is mapped to {} already, for everybody", endpoint_text(*has)));
        } else {
            step.details.emplace_back("by a mapping of its own, which is then for everybody");
        }
        return;
    }
    const bool one = target->first_addr == target->last_addr;
    if (!one) step.details.emplace_back("one of these addresses, by a hash of the endpoints");
    if (!nat::has_ports(p.tuple.proto)) return;
    const std::uint16_t port = p.tuple.sport.host();
    if (rule->target.random) {
        step.details.emplace_back("with a random port, as the rule wants");
    } else if (!target->ports.any() && !target->ports.contains(port)) {
        step.details.push_back(fmt::format("port {} is none of these: another is chosen", port));
    } else if (one) {
        ct::Tuple reply = p.reply;
        reply.dst = target->first_addr;
        const bool taken = at_.conntrack.holder_of(reply, now_).has_value();
        step.facts["port_free"] = !taken;
        step.details.push_back(
            taken ? fmt::format("port {} is taken towards this remote: another is chosen", port)
                  : fmt::format("port {} is free and kept, unless the source has a mapping already",
                                port));
    }
}

bool Teller::room(const ct::Packet& p) {
    const ct::Prospect r = at_.conntrack.prospect(p.tuple, now_);
    Step& step = story_.add("room", "", "");
    step.facts["entries"] = r.in_use;
    step.facts["max"] = r.max;
    step.facts["embryonic"] = r.embryonic;
    step.facts["overflow"] = policy_name(r.overflow);
    step.details.push_back(
        fmt::format("{} of {} entries are in use, {} of them not assured; "
                    "overflow policy {}",
                    r.in_use, r.max, r.embryonic, policy_name(r.overflow)));
    if (r.source_limit != 0)
        step.details.push_back(fmt::format("its source has {} of {} connections that it may have",
                                           r.source_entries, r.source_limit));
    if (r.reserved != 0)
        step.details.push_back(
            fmt::format("{} entries are reserved for its source's prefix", r.reserved));
    switch (r.room) {
        case ct::Prospect::Room::Free:
            step.result = "free";
            step.text = "there is room for its connection";
            return true;
        case ct::Prospect::Room::Evicted:
            step.result = "evict";
            if (r.overflow == ct::Overflow::Linux)
                step.text =
                    "the table is full: connections that are not assured go, if there are "
                    "some in eight buckets, else it is dropped";
            else if (r.closing_goes)
                step.text = "the connection that has been closing longest has to go for it";
            else
                step.text = "another connection, the oldest that is not assured, has to go for it";
            return true;
        case ct::Prospect::Room::Refused:
            break;
    }
    const bool limited =
        r.refusal == ct::Drop::CtSourceEntries || r.refusal == ct::Drop::CtSourceRate;
    if (r.overflow == ct::Overflow::Untracked && !limited) {
        step.result = "untracked";
        step.text = "the table is full: it passes without a connection";
        return true;
    }
    step.result = verdict_ = "drop";
    reason_ = ct::name_of(r.refusal);
    step.text = drop_text(r.refusal);
    return false;
}

void Teller::newcomer(const ct::Tuple& t, ct::PortId in_port) {
    ct::Packet p = packet_of(t, entrance(t, in_port));
    if (t.proto == ct::ipproto::kTcp) p.tcp_flags = ct::tcpflag::kSyn;
    if (!raw(p)) return;
    const bool tracked = p.state != ct::CtState::Untracked;
    if (tracked) {
        story_.add("lookup", "none", "no connection has this tuple");
        if (t.proto == ct::ipproto::kSctp) {
            story_.add("track", "open", "NEW, if it is an INIT");
        } else {
            Step step = opening_step(at_.conntrack.judge_opening(p), p);
            const bool opens = step.result == "open";
            story_.steps.push_back(std::move(step));
            p.state = opens ? ct::CtState::New : ct::CtState::Invalid;
        }
    }
    const bool opens = tracked && p.state != ct::CtState::Invalid;
    if (opens) {
        p.state = ct::CtState::New;
        p.opened = true;
        p.conn = {0, 0};  // it stands for the entry to be: rules look at the tuples here
        p.original = p.tuple;
        p.reply = ct::reply_of(p.tuple);
        if (!destination(p)) return;
    }
    const ct::Addr dst = opens ? p.reply.src : p.tuple.dst;
    if (!route(p, dst) || !filter(p) || leads_nowhere(p)) return;
    if (opens) {
        source(p);
        if (!room(p)) return;
    } else if (at_.rules.must_not_leave(p)) {
        story_.add("nat", "drop", drop_text(ct::Drop::NatInvalid));
        verdict_ = "drop";
        reason_ = ct::name_of(ct::Drop::NatInvalid);
        return;
    }
    neighbour(p, dst);
}

/// A packet that continues the flow in one direction.
void Teller::next_packet(const ct::Inspection& entry, ct::Dir dir) {
    const bool original = dir == ct::Dir::Original;
    const ct::Tuple& t = original ? entry.conn.original : entry.conn.reply;
    const ct::Tuple& answer = original ? entry.conn.reply : entry.conn.original;
    story_.add("next", original ? "original" : "reply",
               fmt::format("a packet of the {} direction, {}:", original ? "original" : "reply",
                           flow_text(t)));
    ct::Packet p = packet_of(t, entrance(t, ct::kNoPort));
    if (!raw(p)) return;
    p.dir = dir;
    if (t.proto == ct::ipproto::kTcp) {
        const ct::TcpWindow& own = entry.window[ct::index_of(dir)];
        const ct::TcpWindow& other = entry.window[ct::index_of(ct::opposite(dir))];
        p.tcp_flags = ct::tcpflag::kAck;
        p.tcp_seq = own.end;
        p.tcp_ack = other.end;
        // As much as it has offered so far, so that the time-out is not one for a closed window.
        const std::uint32_t offered = own.max_window == 0 ? 0xffffU : own.max_window >> own.scale;
        p.tcp_window = static_cast<std::uint16_t>(std::clamp(offered, 1U, 0xffffU));
    }
    const bool replied = (entry.conn.status & ct::status::kSeenReply) != 0;
    p.state = dir == ct::Dir::Reply || replied ? ct::CtState::Established : ct::CtState::New;
    if (t.proto != ct::ipproto::kSctp) {
        Step step = track_step(at_.conntrack.judge(entry, p), entry, p);
        if (t.proto == ct::ipproto::kTcp)
            step.details.insert(step.details.begin(), "if it is an ACK that is exactly in order");
        if (step.result == "invalid") p.state = ct::CtState::Invalid;
        story_.steps.push_back(std::move(step));
    }
    p.conn = entry.conn.handle;
    p.status = entry.conn.status;
    p.mark = entry.conn.mark;
    p.original = entry.conn.original;
    p.reply = entry.conn.reply;
    const ct::Addr& dst = answer.src;
    if (!route(p, dst) || !filter(p)) return;
    if (t.src != answer.dst || t.dst != answer.src || t.sport != answer.dport)
        story_.add("rewrite", "mapped", "leaves as " + flow_text(ct::reply_of(answer)));
    neighbour(p, dst);
}

void Teller::existing(const ct::Inspection& entry) {
    Step& step = story_.add("lookup", "found", "the entry:");
    describe_entry(step, entry.conn);
    step.details.push_back(fmt::format("made {} s ago", entry.age / ct::kNanosPerSecond));
    step.facts["age"] = entry.age / ct::kNanosPerSecond;
    describe_variant(step, entry.variant);
    if (entry.out_port < at_.config.ports.size())
        step.details.push_back(
            fmt::format("masqueraded by {}: it ends when the port's address goes",
                        at_.config.ports[entry.out_port].name));
    describe_windows(step, entry);
    next_packet(entry, ct::Dir::Original);
    next_packet(entry, ct::Dir::Reply);
}

}  // namespace

Story explain_flow(const Outlook& at, const ct::Tuple& t, ct::PortId in_port, ct::Nanos now) {
    return Teller{at, now}.tell(t, in_port);
}

}  // namespace dp
