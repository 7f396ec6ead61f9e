// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/replay/narrator.hpp"

#include "ct/wire/parse.hpp"
#include "dataplane/replay/verdicts.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <utility>

namespace dp::replay {
namespace {

using ct::Drop;

/// Reasons for which open() turns a newcomer away.
[[nodiscard]] bool is_want_of_room(Drop d) noexcept {
    return d >= Drop::CtTableFull && d <= Drop::CtSourceRate;
}

/// Reasons of Forward::route().
[[nodiscard]] bool is_of_route(Drop d) noexcept {
    return d == Drop::NoRoute || d == Drop::TtlExceeded || d == Drop::TooBig ||
           d == Drop::NotForUs || d == Drop::NoPeerPort || d == Drop::NoListener;
}

[[nodiscard]] std::string fragment_text(ct::Fragment f) {
    return f == ct::Fragment::First   ? ", the first fragment of a larger packet"
           : f == ct::Fragment::Later ? ", a later fragment: ports as learnt from the first"
                                      : "";
}

/// The tuple of the frame as it leaves.
[[nodiscard]] ct::Tuple tuple_of_frame(const ct::Packet& p) {
    std::vector<std::uint8_t> bytes(p.bytes().begin(), p.bytes().end());
    ct::Packet copy;
    copy.begin(bytes.data(), static_cast<std::uint32_t>(bytes.size()), p.in_port, nullptr);
    static_cast<void>(ct::parse(copy, ct::ParseOptions{.checksum = false}));
    return copy.tuple;
}

}  // namespace

Narrator::Narrator(const Scene& scene, NumberOf number_of, Listener listener)
    : scene_{scene},
      number_of_{std::move(number_of)},
      listener_{std::move(listener)},
      counted_(scene.rules.rules().size() + 1) {}

/// The rules, by index, that have been hit since the last call.
std::vector<std::size_t> Narrator::fresh_hits() {
    std::vector<std::size_t> out;
    for (std::size_t i = 0; i < counted_.size(); ++i) {
        const std::uint64_t packets = scene_.rules.hits(i).packets;
        if (packets != std::exchange(counted_[i], packets)) out.push_back(i);
    }
    return out;
}

void Narrator::after(Stage stage, std::span<const ct::Packet> packets, ct::Nanos now) {
    assert(packets.size() == 1);
    const ct::Packet& p = packets.front();
    // What waited for its first fragment comes back at Raw.
    const bool comes_back = stage == Stage::Raw && draft_.number == 0 && p.owner != nullptr;
    if (stage == Stage::Parse || comes_back) {
        static_cast<void>(fresh_hits());  // of what nobody wants to hear of
        draft_ = Draft{};
        draft_.parsed = p;
        draft_.number = number_of_(p.owner);
        if (p.owner == nullptr) {
            tell_held(p, now);
            draft_.number = 0;
        }
    }
    if (draft_.number == 0) return;
    switch (stage) {
        case Stage::Parse:
            break;
        case Stage::Raw:
            draft_.raw_hits = fresh_hits();
            break;
        case Stage::Lookup:
            look_up(p, now);
            break;
        case Stage::Update:
            draft_.tracked = p;
            draft_.may_open = p.alive() && !p.conn.valid() && p.state == ct::CtState::None &&
                              p.tuple.family != ct::Family::None && !p.icmp_error &&
                              p.fragment != ct::Fragment::Later;
            if (draft_.may_open) draft_.opening = scene_.conntrack.judge_opening(p);
            draft_.counters = scene_.conntrack.counters();
            static_cast<void>(fresh_hits());
            break;
        case Stage::Decide:
            draft_.decided = p;
            draft_.hits = fresh_hits();
            // Its rule may have given it time-outs of its own.
            if (draft_.may_open && p.opened) draft_.opening = scene_.conntrack.judge_opening(p);
            break;
        case Stage::Resolve:
            tell(p, now);
            draft_.number = 0;
            break;
    }
}

void Narrator::look_up(const ct::Packet& p, ct::Nanos now) {
    draft_.found =
        p.alive() && p.conn.valid() && scene_.conntrack.inspect(p.conn, now, draft_.before);
    if (draft_.found && !p.icmp_error) draft_.judgement = scene_.conntrack.judge(draft_.before, p);
}

void Narrator::tell_held(const ct::Packet& p, ct::Nanos now) {
    Story s;
    parse(s);
    s.add("fragment", "wait", "held until the first fragment, which has the ports, has come");
    conclude(s, p, now);
    if (draft_.number != 0) waiting_[draft_.number] = p;
    publish(s);
}

void Narrator::settle(std::uint64_t number, ct::Drop drop, ct::Nanos now) {
    const auto waits = waiting_.find(number);
    if (waits == waiting_.end()) return;
    ct::Packet p = waits->second;
    waiting_.erase(waits);
    draft_ = Draft{};
    draft_.number = number;
    draft_.parsed = p;
    p.drop = drop;
    Story s;
    s.add("fragment", "drop", drop_text(drop));
    conclude(s, p, now);
    publish(s);
    draft_.number = 0;
}

void Narrator::publish(const Story& story) {
    if (draft_.number != 0) listener_(draft_.number, story);
}

void Narrator::tell(const ct::Packet& p, ct::Nanos now) {
    Story s;
    parse(s);
    const bool ip = draft_.parsed.tuple.family != ct::Family::None;
    if (draft_.parsed.alive() && ip) {
        if (draft_.tracked.tuple.dst != draft_.parsed.tuple.dst)
            s.add("prefix", "mapped",
                  fmt::format("the destination's prefix is translated: {}",
                              to_string(draft_.tracked.tuple.family, draft_.tracked.tuple.dst)));
        raw(s);
        if (draft_.raw_hits.empty() || draft_.tracked.alive()) {
            track(s);
            // The policies that end the oldest act last, the others first (ct/conntrack.hpp).
            const ct::Overflow policy = scene_.conntrack.settings().overflow;
            const bool late = draft_.decided.opened && (policy == ct::Overflow::EmbryonicOldest ||
                                                        policy == ct::Overflow::ClosingFirst);
            if (!late) room(s);
            translate(s);
            route(s);
            filter(s);
            nowhere(s);
            source(s);
            if (late) room(s);
            confirm(s, now);
        }
    }
    leave(s, p);
    conclude(s, p, now);
    waiting_.erase(draft_.number);
    publish(s);
}

void Narrator::parse(Story& s) const {
    const ct::Packet& p = draft_.parsed;
    if (!p.alive()) {
        s.add("parse", "drop", drop_text(p.drop));
        return;
    }
    if (p.tuple.family == ct::Family::None) {
        s.add("parse", "arp", "ARP, which goes past conntrack and rules");
        return;
    }
    const bool tcp = p.tuple.proto == ct::ipproto::kTcp && p.fragment != ct::Fragment::Later;
    Step& step =
        s.add("parse", "ok",
              fmt::format("{}{}{}", flow_text(p.tuple), tcp ? " " + segment_text(p) : std::string{},
                          fragment_text(p.fragment)));
    step.facts["bytes"] = p.end - p.l3_offset;
    if (tcp)
        step.facts["tcp"] = {{"flags", p.tcp_flags},
                             {"seq", p.tcp_seq},
                             {"ack", p.tcp_ack},
                             {"window", p.tcp_window},
                             {"length", p.end - p.payload_offset}};
    if (p.icmp_error) step.details.push_back("an ICMP error about " + flow_text(p.inner));
}

void Narrator::raw(Story& s) const {
    if (!scene_.rules.has_raw()) return;
    const ct::Packet& p = draft_.tracked;
    Step& step = s.add("raw", p.alive() ? "track" : "drop", "no rule matches");
    step.facts["rules"] = nlohmann::ordered_json::array();
    for (const std::size_t i : draft_.raw_hits) {
        const nat::Rule& rule = scene_.rules.rules()[i];
        if (step.facts["rules"].empty()) step.text.clear();
        step.text += (step.text.empty() ? "" : "; ") + rule_text(rule);
        step.facts["rules"].push_back(rule_json(rule));
    }
    if (p.state == ct::CtState::Untracked) step.result = "notrack";
    if (p.tuple.zone != 0) step.details.push_back(fmt::format("zone {}", p.tuple.zone));
    if (p.track.split_zone)
        step.details.push_back(fmt::format("replies in zone {}", p.track.reply_zone));
    describe_variant(step, p.track.variant);
}

/// The lookup, and what the tracker said.
void Narrator::track(Story& s) const {
    const ct::Packet& p = draft_.tracked;
    if (!draft_.found && p.state == ct::CtState::Untracked) {
        s.add("lookup", "untracked",
              p.never_tracked ? "UNTRACKED: neighbour discovery and MLD have no connections"
                              : "UNTRACKED: a raw rule says so");
        return;
    }
    if (!draft_.found) {
        const bool taken = draft_.decided.conn.valid() && !draft_.decided.opened;
        Step& step = s.add("lookup", taken ? "found" : "none",
                           taken          ? "it is the answer to a connection of another zone"
                           : p.icmp_error ? "no connection has the packet inside"
                                          : "no connection has this tuple");
        if (!taken && p.fragment == ct::Fragment::Later)
            step.details.emplace_back("a later fragment opens none");
    } else {
        Step& step =
            s.add("lookup", "found",
                  fmt::format("{} direction of a connection{}",
                              draft_.before.conn.original == p.tuple ? "original" : "reply",
                              p.icmp_error ? ", whose packet the error is about" : ""));
        if (p.icmp_error) step.text = "the packet inside belongs to a connection";
        describe_entry(step, draft_.before.conn);
        if (p.icmp_error) {
            const bool related = p.state == ct::CtState::Related;
            s.add("track", related ? "related" : "invalid",
                  related
                      ? "RELATED: nothing of the connection changes (RFC 5508 REQ-6)"
                      : "INVALID: the error is not addressed to the sender of the packet inside");
            return;
        }
        ct::Packet judged = p;
        judged.dir = draft_.before.conn.original == p.tuple ? ct::Dir::Original : ct::Dir::Reply;
        s.steps.push_back(track_step(draft_.judgement, draft_.before, judged));
    }
    const bool refused = draft_.decided.state == ct::CtState::Invalid;
    if (draft_.may_open && (draft_.decided.opened || refused || !draft_.decided.alive()))
        s.steps.push_back(opening_step(draft_.opening, p));
    else if (!draft_.found && refused)
        s.add("track", "invalid", "INVALID: it has no connection and may not open one");
}

/// Where the entry of a newcomer came from.
void Narrator::room(Story& s) const {
    const ct::Packet& p = draft_.decided;
    const ct::Counters c = scene_.conntrack.counters();
    const std::uint64_t evicted = c.early_drop - draft_.counters.early_drop;
    const bool refused = is_want_of_room(p.drop);
    if (!p.opened && !refused && !p.no_room) return;
    if (p.opened && !refused && !p.alive()) return;  // it did not come to that
    const std::uint32_t max = scene_.conntrack.settings().max;
    Step& step = s.add("room", refused ? "refused" : p.no_room ? "untracked" : "taken", "");
    step.facts["entries"] = scene_.conntrack.count();
    step.facts["max"] = max;
    step.facts["evicted"] = evicted;
    if (refused)
        step.text = drop_text(p.drop);
    else if (p.no_room)
        step.text =
            "UNTRACKED: the table is full, and conntrack.overflow lets packets pass without a "
            "connection";
    else if (evicted != 0)
        step.text =
            fmt::format("an entry, in whose place {} had to go",
                        evicted == 1 ? std::string{"another"} : fmt::format("{} others", evicted));
    else
        step.text = "an entry that was free";
    step.details.push_back(
        fmt::format("{} of {} entries are in use now", scene_.conntrack.count(), max));
}

/// The rule of the nat chain that was hit for the source, or for the destination.
const nat::Rule* Narrator::hit_of(bool source) const {
    for (const std::size_t i : draft_.hits) {
        if (i >= scene_.rules.rules().size()) continue;
        const nat::Rule& rule = scene_.rules.rules()[i];
        if (rule.chain != nat::Chain::Nat) continue;
        const bool of_source =
            rule.action == nat::Action::Snat || rule.action == nat::Action::Masquerade;
        if (of_source == source || rule.action == nat::Action::Accept) return &rule;
    }
    return nullptr;
}

void Narrator::translate(Story& s) const {
    const ct::Packet& p = draft_.decided;
    if (!p.opened) return;
    // It came in by the mapping of the endpoint that it called, or was not let in.
    const nat::Mappings* const mappings = scene_.nat.mappings();
    const bool led = (p.lease & nat::lease::kDestination) != 0;
    const bool refused = p.out_port == ct::kNoPort &&
                         (p.drop == Drop::NatFiltered || p.drop == Drop::NatUntranslatable);
    if (mappings != nullptr && (led || refused)) {
        const auto m = mappings->find(scene_.nat.external_endpoint(p.original));
        if (m)
            s.steps.push_back(
                entry_step(*m, scene_.rules.rules()[m->rule], refused ? p.drop : Drop::None));
        if (m) return;
    }
    if (!scene_.rules.has_dnat()) return;
    Step step = dnat_step(p.original, p.reply, hit_of(false));
    if (p.drop == Drop::NatNoAddress && hit_of(true) == nullptr && p.out_port == ct::kNoPort) {
        step.result = "drop";
        step.text += "; " + drop_text(p.drop);
    }
    s.steps.push_back(std::move(step));
}

void Narrator::route(Story& s) const {
    const ct::Packet& p = draft_.decided;
    if (is_of_route(p.drop)) {
        s.add("route", "drop", drop_text(p.drop));
        return;
    }
    if (p.out_port == ct::kNoPort || p.in_port == ct::kLocalPort) return;
    if (scene_.config.dataplane.mode == Mode::Wire) {
        s.add("route", "wire",
              fmt::format("to {}, the peer of {}", port_text(scene_.config, p.out_port),
                          port_text(scene_.config, p.in_port)))
            .facts["out"] = port_text(scene_.config, p.out_port);
        return;
    }
    const NextHop& hop = scene_.forward.routes().hop(p.next_hop);
    Step& step = s.add("route", "forward", "");
    step.facts["out"] = port_text(scene_.config, p.out_port);
    if (p.out_port == ct::kLocalPort) {
        step.result = "local";
        step.text = "to Sluice itself";
    } else if (hop.kind == HopKind::Gateway) {
        const std::string gateway = to_string(hop.family, hop.gateway);
        step.text =
            fmt::format("by {} to gateway {}", port_text(scene_.config, p.out_port), gateway);
        step.facts["gateway"] = gateway;
    } else {
        step.text = fmt::format("by {}, on whose link the destination is",
                                port_text(scene_.config, p.out_port));
    }
}

void Narrator::filter(Story& s) const {
    const ct::Packet& p = draft_.decided;
    if (p.drop == Drop::CtInvalid) {
        s.add("filter", "drop",
              p.fragment == ct::Fragment::Later
                  ? "dropped: ct_invalid: its first fragment was refused, too"
                  : "dropped: ct_invalid: INVALID packets of its zone are dropped before any rule");
        return;
    }
    if (p.drop == Drop::NatInvalid || p.drop == Drop::NatUntracked) {
        s.add("filter", "drop", drop_text(p.drop));
        return;
    }
    std::vector<std::size_t> hits;
    for (const std::size_t i : draft_.hits)
        if (i >= scene_.rules.rules().size() || scene_.rules.rules()[i].chain == nat::Chain::Filter)
            hits.push_back(i);
    if (hits.empty()) return;
    const bool dropped = p.drop == Drop::RuleDrop || p.drop == Drop::RuleReject;
    Step& step = s.add("filter",
                       p.drop == Drop::RuleReject ? "reject"
                       : dropped                  ? "drop"
                                                  : "accept",
                       "");
    step.facts["rules"] = nlohmann::ordered_json::array();
    for (const std::size_t i : hits) {
        const bool policy = i >= scene_.rules.rules().size();
        const std::string text = policy ? fmt::format("no rule decides: policy {}",
                                                      name_of(scene_.rules.filter_policy()))
                                        : rule_text(scene_.rules.rules()[i]);
        const bool goes_on = !policy && nat::goes_on(scene_.rules.rules()[i].action);
        if (goes_on)
            step.details.push_back(text);
        else
            step.text = text;
        step.facts["rules"].push_back(
            policy ? nlohmann::ordered_json{{"policy", name_of(scene_.rules.filter_policy())}}
                   : rule_json(scene_.rules.rules()[i]));
    }
    if (p.state == ct::CtState::Established && scene_.rules.filter_skips_established())
        step.details.emplace_back("as for every ESTABLISHED packet, so the chain was not searched");
    if (p.mark != 0) step.details.push_back(fmt::format("mark {}", p.mark));
}

/// It called an external address that is nobody's there; whom a mapping refused was told of that.
void Narrator::nowhere(Story& s) const {
    const Drop drop = draft_.decided.drop;
    if (drop == Drop::NatFiltered && (s.steps.empty() || s.steps.back().result != "drop"))
        s.add("nat", "drop", drop_text(drop));
}

void Narrator::source(Story& s) const {
    const ct::Packet& p = draft_.decided;
    if (!p.opened || p.out_port == ct::kNoPort || p.out_port == ct::kLocalPort) return;
    const bool nat = p.drop >= Drop::NatNoPort && p.drop <= Drop::NatNoAddress;
    const bool late = p.alive() || nat || p.drop == Drop::CtClash || p.drop == Drop::CtBucketFull ||
                      is_want_of_room(p.drop);
    const nat::Rule* rule = hit_of(true);
    if (!late || (!scene_.rules.has_nat() && p.alive())) return;
    const std::uint64_t taken = scene_.conntrack.counters().found - draft_.counters.found;
    Step step = snat_step(p.original, p.reply, rule, taken);
    if (!p.alive() && !is_want_of_room(p.drop)) {
        step.result = "drop";
        step.text = (rule != nullptr ? rule_text(*rule) + ": " : "") + drop_text(p.drop);
        step.details.clear();
        if (taken != 0)
            step.details.push_back(fmt::format("{} candidates were tried, and taken", taken));
    }
    s.steps.push_back(std::move(step));
}

void Narrator::confirm(Story& s, ct::Nanos now) const {
    const ct::Packet& p = draft_.decided;
    if (!p.opened && !draft_.found) return;
    ct::Inspection after;
    const bool there = p.conn.valid() && scene_.conntrack.inspect(p.conn, now, after);
    if (!there) {
        if (draft_.found && !p.opened &&
            draft_.judgement.verdict.outcome == ct::proto::Outcome::Kill)
            s.add("entry", "gone", "the connection has ended");
        if (p.opened && !p.alive()) s.add("entry", "none", "leaves no entry behind");
        return;
    }
    Step& step = s.add("entry", p.opened ? "new" : "kept",
                       p.opened ? "the connection is in the table" : "the connection as it is now");
    describe_entry(step, after.conn);
    describe_windows(step, after);
}

void Narrator::leave(Story& s, const ct::Packet& p) const {
    if (!p.alive()) {
        if (draft_.decided.alive() && draft_.parsed.alive())
            s.add("forward", "drop", drop_text(p.drop));
        return;
    }
    if (p.out_port >= scene_.config.ports.size()) return;
    const std::string port = port_text(scene_.config, p.out_port);
    const ct::Tuple t = tuple_of_frame(p);
    Step& step = s.add("forward", "send", fmt::format("leaves by {}", port));
    step.facts["out"] = port;
    if (t.family == ct::Family::None) return;
    step.text += fmt::format(" as {}", flow_text(t));
    step.facts["tuple"] = flow_json(t);
}

/// What it is about, and the verdict.
void Narrator::conclude(Story& s, const ct::Packet& p, ct::Nanos now) const {
    const Verdict v = verdict_of(p);
    const bool waits = p.owner == nullptr && p.alive();
    const std::string port = port_text(scene_.config, p.in_port);
    const std::string_view verdict = waits ? "wait" : p.alive() ? "accept" : "drop";
    s.head = {{"packet", draft_.number},
              {"port", port},
              {"time", static_cast<double>(now / 1000) / 1e6},
              {"verdict", verdict},
              {"reason", p.alive() ? nlohmann::ordered_json{} : ct::name_of(p.drop)},
              {"ctstate", ctstate_name(v.state)},
              {"dir", !v.has_connection            ? "-"
                      : v.dir == ct::Dir::Original ? "original"
                                                   : "reply"}};
    const ct::Packet& first = draft_.parsed;
    s.tuples.push_back(first.tuple);
    if (first.icmp_error) s.tuples.push_back(first.inner);
    if (draft_.found) {
        s.tuples.push_back(draft_.before.conn.original);
        s.tuples.push_back(draft_.before.conn.reply);
    }
    if (draft_.decided.opened) s.tuples.push_back(draft_.decided.reply);
    if (first.tuple.family != ct::Family::None) s.head["tuple"] = flow_json(first.tuple);
    s.title = fmt::format("packet {} on {} at {}.{:06}: {}{}{}", draft_.number, port,
                          now / ct::kNanosPerSecond, now % ct::kNanosPerSecond / 1000, verdict,
                          v.state == ct::CtState::None ? "" : ", ",
                          v.state == ct::CtState::None ? "" : ctstate_name(v.state));
    if (!p.alive()) s.title += fmt::format(", {}", ct::name_of(p.drop));
}

}  // namespace dp::replay
