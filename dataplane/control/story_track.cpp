// SPDX-License-Identifier: BSD-3-Clause
//
// The tracker's part of a story.
#include "ct/proto/tcp_states.hpp"
#include "dataplane/control/names.hpp"
#include "dataplane/control/render.hpp"
#include "dataplane/control/story.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace dp {

namespace {

using ct::proto::Outcome;
using ct::proto::Segment;
using nlohmann::ordered_json;

[[nodiscard]] std::string_view name_of(Outcome outcome) noexcept {
    switch (outcome) {
        case Outcome::Accept:
            return "accept";
        case Outcome::Ignore:
            return "ignore";
        case Outcome::Invalid:
            return "invalid";
        case Outcome::Reopen:
            return "reopen";
        case Outcome::Kill:
            return "kill";
    }
    return "?";
}

[[nodiscard]] std::string_view name_of(Segment segment) noexcept {
    switch (segment) {
        case Segment::Syn:
            return "a SYN";
        case Segment::SynAck:
            return "a SYN+ACK";
        case Segment::Fin:
            return "a FIN";
        case Segment::Ack:
            return "an ACK";
        case Segment::Rst:
            return "a RST";
        case Segment::None:
            break;
    }
    return "a segment with flags that no stack sends";
}

[[nodiscard]] std::string status_text(std::uint16_t status) {
    std::string out;
    for (const StatusName& name : kStatusNames)
        if ((status & name.bit) != 0) out += (out.empty() ? "" : " ") + std::string{name.name};
    return out.empty() ? "no status" : out;
}

/// The side that sends packets of `dir`, as the tuple shows it.
[[nodiscard]] std::string side_text(const ct::Snapshot& conn, ct::Dir dir) {
    const ct::Tuple& t = dir == ct::Dir::Original ? conn.original : conn.reply;
    return endpoint_text(t, t.src, t.sport);
}

/// One inequality of the window: `name left OP right - less`, modulo 2^32.
struct Bound {
    std::string_view name;
    std::string_view left_name;
    std::uint32_t left;
    std::string_view op;
    std::uint32_t right;
    std::uint32_t less;
    std::string_view what;  ///< `right` and `less` are
    bool holds;
};

void add_bound(Step& step, const Bound& b) {
    const std::string right =
        b.less == 0 ? std::to_string(b.right) : fmt::format("{} - {}", b.right, b.less);
    step.details.push_back(fmt::format("{:<3} {} {} {} {}: {}: {}", b.name, b.left_name, b.left,
                                       b.op, right, b.holds ? "holds" : "FAILS", b.what));
    step.facts["window"].push_back(
        {{"bound", b.name},
         {"left", b.left},
         {"op", b.op},
         {"right", b.right - b.less},
         {"holds", b.holds},
         {"text", fmt::format("{} {} {}; {}", b.left_name, b.op, right, b.what)}});
}

/// Inequalities I to IV with the numbers that were compared (ct/proto/tcp.cpp).
void add_window(Step& step, const ct::proto::tcp::WindowCheck& w) {
    const auto& n = w.segment;
    const std::uint32_t ack_window = std::max(w.sender.max_window, ct::proto::tcp::kMinAckWindow);
    step.facts["window"] = ordered_json::array();
    add_bound(step, {"I", "seq", n.seq, "<=", w.sender.max_end, 0,
                     "the right edge that the other side has offered", w.fitting.not_ahead});
    if (w.receiver.max_window == 0)
        step.details.emplace_back("II  is not asked: the other side has offered no window yet");
    else
        add_bound(step, {"II", "end", n.end, ">=", w.sender.end, w.receiver.max_window,
                         "the end of its data so far, less the other side's largest window",
                         w.fitting.not_stale});
    add_bound(step, {"III", "ack", n.sack, "<=", w.receiver.end, 0,
                     "the end of the other side's data so far", w.fitting.ack_seen});
    add_bound(step, {"IV", "ack", n.sack, ">=", w.receiver.end, ack_window,
                     "the same, less its own largest window or 66000", w.fitting.ack_recent});
}

[[nodiscard]] std::string timeout_text(const ct::Judgement& j) {
    const auto& v = j.verdict;
    const std::string_view sysctl = ct::proto::sysctl_of(v.timeout);
    return fmt::format(
        "{} s, {} of {}", v.timeout_s, sysctl,
        j.own_timeouts ? "the connection's time-out policy" : "the table's settings");
}

void add_timeout(Step& step, const ct::Judgement& j, std::string_view lead) {
    step.details.push_back(fmt::format("{}{}", lead, timeout_text(j)));
    step.facts["timeout"] = {{"seconds", j.verdict.timeout_s},
                             {"setting", ct::proto::sysctl_of(j.verdict.timeout)},
                             {"policy", j.own_timeouts}};
}

}  // namespace

void describe_entry(Step& step, const ct::Snapshot& conn) {
    std::string line;
    RenderOptions options;
    options.format = Format::Json;
    append_line(line, conn, options);
    step.facts["entry"] = ordered_json::parse(line, nullptr, false);
    const std::string_view state = ct::proto::state_name(conn.original.proto, conn.state);
    step.details.push_back(fmt::format("{}{}{} s left, {}", state, state.empty() ? "" : ", ",
                                       conn.timeout_s, status_text(conn.status)));
    step.details.push_back("original " + flow_text(conn.original));
    step.details.push_back("reply    " + flow_text(conn.reply));
    if (conn.mark != 0) step.details.push_back(fmt::format("mark {}", conn.mark));
}

void describe_variant(Step& step, std::uint8_t variant) {
    if (ct::variant::policy_of(variant) != 0) step.details.emplace_back("time-outs of a policy");
    const unsigned liberal = variant & ct::variant::kLiberal;
    if (liberal == 0) return;
    const bool original = (liberal >> ct::index_of(ct::Dir::Original) & 1U) != 0;
    step.details.push_back(fmt::format("segments of {} are not held to windows",
                                       liberal == ct::variant::kLiberal ? "both directions"
                                       : original                       ? "the original direction"
                                                                        : "the reply direction"));
}

void describe_windows(Step& step, const ct::Inspection& entry) {
    if (entry.conn.original.proto != ct::ipproto::kTcp) return;
    step.facts["windows"] = ordered_json::object();
    for (const ct::Dir dir : {ct::Dir::Original, ct::Dir::Reply}) {
        const ct::TcpWindow& w = entry.window[ct::index_of(dir)];
        const bool original = dir == ct::Dir::Original;
        if (w.max_window == 0) {
            step.details.push_back(
                fmt::format("{} has sent nothing yet", side_text(entry.conn, dir)));
            continue;
        }
        step.details.push_back(fmt::format(
            "{} has sent up to {}, may send up to {}, has acknowledged {}, offered at most {} "
            "bytes{}{}",
            side_text(entry.conn, dir), w.end, w.max_end, w.max_ack, w.max_window,
            w.scale != 0 ? fmt::format(" (scale {})", w.scale) : "",
            (w.flags & ct::proto::tcp::flag::kLiberal) != 0 ? "; not held to windows" : ""));
        step.facts["windows"][original ? "original" : "reply"] = {
            {"end", w.end},
            {"max_end", w.max_end},
            {"max_window", w.max_window},
            {"max_ack", w.max_ack},
            {"scale", w.scale},
            {"liberal", (w.flags & ct::proto::tcp::flag::kLiberal) != 0}};
    }
}

Step track_step(const ct::Judgement& j, const ct::Inspection& before, const ct::Packet& p) {
    const auto& v = j.verdict;
    const auto& why = ct::proto::info_of(v.why);
    const std::uint8_t proto = p.tuple.proto;
    const bool moves = v.state_changed && v.outcome != Outcome::Reopen;
    Step step;
    step.stage = "track";
    step.result = name_of(v.outcome);
    step.facts["why"] = why.name;

    std::string what = proto == ct::ipproto::kTcp && p.fragment != ct::Fragment::Later
                           ? std::string{name_of(ct::proto::classify(p.tcp_flags))}
                           : std::string{"a packet"};
    what += p.dir == ct::Dir::Original ? " of the original direction" : " of the reply direction";
    const std::string_view from = ct::proto::state_name(proto, before.conn.state);
    const std::string_view to = ct::proto::state_name(proto, moves ? v.state : before.conn.state);
    if (!from.empty()) {
        step.facts["state"] = {{"before", from}, {"after", to}};
        what +=
            moves ? fmt::format(" takes it from {} to {}", from, to) : fmt::format(" in {}", from);
    }
    constexpr std::array<std::string_view, 5> kWords{"accepted", "let through without effect",
                                                     "INVALID", "the connection is over",
                                                     "accepted, and the connection ends"};
    step.text =
        fmt::format("{}: {}: {}", kWords[static_cast<std::size_t>(v.outcome)], what, why.help);
    if (v.assured && (before.conn.status & ct::status::kAssured) == 0)
        step.details.emplace_back("ASSURED from here on: it will not be evicted");
    if (p.dir == ct::Dir::Reply && (before.conn.status & ct::status::kSeenReply) == 0 &&
        (v.outcome == Outcome::Accept || v.outcome == Outcome::Ignore))
        step.details.emplace_back("SEEN_REPLY from here on: the first packet of this direction");
    if (j.window.made) add_window(step, j.window);
    if (v.outcome == Outcome::Accept && v.refresh) {
        if ((before.conn.status & ct::status::kFixedTimeout) != 0)
            step.details.push_back(
                fmt::format("time-out stays at {} s: it is fixed", before.conn.timeout_s));
        else
            add_timeout(step, j, "time-out ");
    } else if (v.cut) {
        add_timeout(step, j, "both sides end out of window: time-out cut to ");
    } else if (v.outcome == Outcome::Accept || v.outcome == Outcome::Ignore) {
        step.details.push_back(
            fmt::format("time-out stays at {} s: it is not refreshed", before.conn.timeout_s));
    }
    return step;
}

Step opening_step(const ct::Judgement& j, const ct::Packet& p) {
    const auto& v = j.verdict;
    const auto& why = ct::proto::info_of(v.why);
    Step step;
    step.stage = "track";
    step.facts["why"] = why.name;
    if (v.outcome == Outcome::Invalid) {
        step.result = "invalid";
        step.text = fmt::format("INVALID: it has no connection and may not open one: {}", why.help);
        return step;
    }
    step.result = "open";
    const std::string_view state = ct::proto::state_name(p.tuple.proto, v.state);
    if (!state.empty()) step.facts["state"] = {{"before", "NONE"}, {"after", state}};
    step.text = fmt::format("NEW: opens a connection{}: {}",
                            state.empty() ? "" : fmt::format(" in {}", state), why.help);
    add_timeout(step, j, "time-out ");
    return step;
}

namespace {

[[nodiscard]] std::string ports_text(nat::PortRange r) {
    return r.first == r.last ? std::to_string(r.first) : fmt::format("{}-{}", r.first, r.last);
}

/// Why a source translation came to this port or ICMP id, as far as the outcome tells.
[[nodiscard]] std::string port_reason(std::uint16_t original, std::uint16_t mapped,
                                      const nat::Rule* rule, std::uint64_t taken) {
    const bool limited = rule != nullptr && !rule->target.ports.any();
    const std::string tried = taken == 0   ? std::string{}
                              : taken == 1 ? std::string{"; one candidate was taken"}
                                           : fmt::format("; {} candidates were taken", taken);
    if (mapped == original) return fmt::format("{} is kept, as it is free", original) + tried;
    std::string out = fmt::format("{} becomes {}: ", original, mapped);
    if (rule != nullptr && rule->target.random)
        out += "the rule wants a random one";
    else if (limited && !rule->target.ports.contains(original))
        out += fmt::format("the rule allows {}", ports_text(rule->target.ports));
    else if (rule != nullptr && rule->behaviour.endpoint_independent())
        out += "its mapping, which is its own and the same for all remotes";
    else if (taken != 0)
        out += "another connection to that remote holds it";
    else
        out += "it is what this source endpoint was given before";
    return out + tried;
}

}  // namespace

Step snat_step(const ct::Tuple& original, const ct::Tuple& reply, const nat::Rule* rule,
               std::uint64_t taken) {
    const bool icmp = ct::is_icmp(original.proto);
    const ct::Be16 mapped = icmp ? reply.sport : reply.dport;
    const bool same = reply.dst == original.src && mapped == original.sport;
    Step step;
    step.stage = "snat";
    step.result = same ? "kept" : "mapped";
    const std::string to = endpoint_text(reply, reply.dst, mapped);
    if (rule == nullptr && same)
        step.text = "no rule translates the source";
    else if (rule == nullptr)
        step.text =
            fmt::format("no rule, but its tuple is taken by a mapping: source becomes {}", to);
    else
        step.text = fmt::format("{}: source {} {} {}", rule_text(*rule),
                                endpoint_text(original, original.src, original.sport),
                                same ? "stays" : "becomes", to);
    if (rule != nullptr) step.facts["rule"] = rule_json(*rule);
    step.facts["source"] = {{"address", to_string(reply.family, reply.dst)}};
    const bool has_number = nat::has_ports(original.proto) || icmp;
    if (has_number) step.facts["source"][icmp ? "icmp_id" : "port"] = mapped.host();
    if (rule != nullptr && has_number)
        step.details.push_back(
            fmt::format("{} {}", icmp ? "id" : "port",
                        port_reason(original.sport.host(), mapped.host(), rule, taken)));
    step.facts["candidates_taken"] = taken;
    return step;
}

Step dnat_step(const ct::Tuple& original, const ct::Tuple& reply, const nat::Rule* rule) {
    const bool icmp = ct::is_icmp(original.proto);
    const ct::Be16 mapped = icmp ? original.dport : reply.sport;
    const bool same = reply.src == original.dst && mapped == original.dport;
    Step step;
    step.stage = "dnat";
    step.result = same ? "kept" : "mapped";
    if (rule == nullptr)
        step.text = "no rule translates the destination";
    else
        step.text =
            fmt::format("{}: destination {} {} {}", rule_text(*rule),
                        endpoint_text(original, original.dst, original.dport),
                        same ? "stays" : "becomes", endpoint_text(reply, reply.src, mapped));
    if (rule != nullptr) step.facts["rule"] = rule_json(*rule);
    step.facts["destination"] = {{"address", to_string(reply.family, reply.src)}};
    if (nat::has_ports(original.proto)) step.facts["destination"]["port"] = mapped.host();
    return step;
}

Step entry_step(const nat::Mappings::Mapping& mapping, const nat::Rule& rule, ct::Drop refusal) {
    Step step;
    step.stage = "dnat";
    step.result = refusal == ct::Drop::None ? "mapped" : "drop";
    step.text = fmt::format("{}: {} is mapped to {} for everybody", rule_text(rule),
                            endpoint_text(mapping.inside), endpoint_text(mapping.external));
    if (refusal != ct::Drop::None) step.text += "; " + drop_text(refusal);
    step.facts["rule"] = rule_json(rule);
    step.facts["mapping"] = endpoint_json(mapping.external);
    step.facts["destination"] = endpoint_json(mapping.inside);
    return step;
}

}  // namespace dp
