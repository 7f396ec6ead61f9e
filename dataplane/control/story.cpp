// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/control/story.hpp"

#include "dataplane/control/names.hpp"
#include "dataplane/control/render.hpp"

#include <fmt/format.h>

#include <array>
#include <stdexcept>
#include <utility>

namespace dp {

namespace {

using nlohmann::ordered_json;

// The column in which sentences begin.
constexpr std::size_t kStageWidth = 9;

}  // namespace

Step& Story::add(std::string stage, std::string result, std::string text) {
    Step& step = steps.emplace_back();
    step.stage = std::move(stage);
    step.result = std::move(result);
    step.text = std::move(text);
    return step;
}

std::string to_text(const Story& story) {
    std::string out = story.title + "\n";
    for (const Step& step : story.steps) {
        out += fmt::format("  {:<{}} {}\n", step.stage, kStageWidth, step.text);
        for (const std::string& detail : step.details)
            out += fmt::format("  {:<{}}   {}\n", "", kStageWidth, detail);
    }
    return out;
}

std::string text_of(std::string_view json) {
    const auto object = ordered_json::parse(json, nullptr, false);
    Story story;
    try {
        story.title = object.at("title").get<std::string>();
        for (const auto& one : object.at("steps")) {
            Step& step = story.add(one.at("stage"), one.at("result"), one.at("text"));
            if (one.contains("details")) step.details = one.at("details");
        }
    } catch (const ordered_json::exception&) {
        throw std::runtime_error{"the daemon's answer is no explanation"};
    }
    return to_text(story);
}

std::string to_json(const Story& story) {
    ordered_json out = story.head;
    out["title"] = story.title;
    out["steps"] = ordered_json::array();
    for (const Step& step : story.steps) {
        ordered_json one = {{"stage", step.stage}, {"result", step.result}, {"text", step.text}};
        if (!step.details.empty()) one["details"] = step.details;
        one.update(step.facts);
        out["steps"].push_back(std::move(one));
    }
    // What is not UTF-8, as a name in the configuration may be, is replaced.
    return out.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

std::string endpoint_text(const ct::Tuple& t, const ct::Addr& a, ct::Be16 port) {
    const std::string address = to_string(t.family, a);
    if (port_kind(t.proto) != PortKind::Ports) return address;
    return t.family == ct::Family::Ipv6 ? fmt::format("[{}]:{}", address, port.host())
                                        : fmt::format("{}:{}", address, port.host());
}

std::string endpoint_text(const nat::Endpoint& e) {
    ct::Tuple t;
    t.family = e.family;
    t.proto = e.proto;
    return endpoint_text(t, e.addr, e.port);
}

ordered_json endpoint_json(const nat::Endpoint& e) {
    return {{"address", to_string(e.family, e.addr)},
            {ct::is_icmp(e.proto) ? "icmp_id" : "port", e.port.host()}};
}

std::string flow_text(const ct::Tuple& t) {
    const std::string_view listed = listed_protocol_name(t.proto);
    const std::string proto =
        listed == "unknown" ? fmt::format("protocol {}", t.proto) : std::string{listed};
    std::string out = fmt::format("{} {} > {}", proto, endpoint_text(t, t.src, t.sport),
                                  endpoint_text(t, t.dst, t.dport));
    if (port_kind(t.proto) == PortKind::Icmp)
        out += fmt::format(" type {} code {} id {}", ct::icmp_type(t.dport), ct::icmp_code(t.dport),
                           t.sport.host());
    if (port_kind(t.proto) == PortKind::Keys && (t.sport.raw() | t.dport.raw()) != 0)
        out += fmt::format(" keys {:#x} {:#x}", t.sport.host(), t.dport.host());
    if (t.zone != 0) out += fmt::format(" zone {}", t.zone);
    return out;
}

ordered_json flow_json(const ct::Tuple& t) {
    ordered_json out = {{"proto", listed_protocol_name(t.proto)},
                        {"protonum", t.proto},
                        {"src", to_string(t.family, t.src)},
                        {"dst", to_string(t.family, t.dst)}};
    switch (port_kind(t.proto)) {
        case PortKind::Ports:
            out["sport"] = t.sport.host();
            out["dport"] = t.dport.host();
            break;
        case PortKind::Icmp:
            out["icmp_type"] = ct::icmp_type(t.dport);
            out["icmp_code"] = ct::icmp_code(t.dport);
            out["icmp_id"] = t.sport.host();
            break;
        case PortKind::Keys:
            out["srckey"] = t.sport.host();
            out["dstkey"] = t.dport.host();
            break;
        case PortKind::None:
            break;
    }
    if (t.zone != 0) out["zone"] = t.zone;
    return out;
}

std::string segment_text(const ct::Packet& p) {
    using namespace ct::tcpflag;
    constexpr std::array<std::pair<std::uint8_t, char>, 6> kLetters{
        {{kSyn, 'S'}, {kFin, 'F'}, {kRst, 'R'}, {kPsh, 'P'}, {kUrg, 'U'}, {kAck, '.'}}};
    std::string flags;
    for (const auto& [bit, letter] : kLetters)
        if ((p.tcp_flags & bit) != 0) flags += letter;
    std::string out = fmt::format("[{}] seq {}", flags.empty() ? "none" : flags, p.tcp_seq);
    if ((p.tcp_flags & kAck) != 0) out += fmt::format(" ack {}", p.tcp_ack);
    out += fmt::format(" win {}", p.tcp_window);
    if (p.end > p.payload_offset) out += fmt::format(", {} bytes", p.end - p.payload_offset);
    return out;
}

std::string_view ctstate_name(ct::CtState state) noexcept {
    switch (state) {
        case ct::CtState::None:
            break;
        case ct::CtState::New:
            return "NEW";
        case ct::CtState::Established:
            return "ESTABLISHED";
        case ct::CtState::Related:
            return "RELATED";
        case ct::CtState::Invalid:
            return "INVALID";
        case ct::CtState::Untracked:
            return "UNTRACKED";
    }
    return "-";
}

std::string port_text(const Config& config, ct::PortId port) {
    if (port < config.ports.size()) return config.ports[port].name;
    return port == ct::kLocalPort ? std::string{kLocalPortName} : "-";
}

std::string drop_text(ct::Drop drop) {
    const ct::DropInfo& info = ct::kDrops[ct::index_of(drop)];
    return fmt::format("dropped: {}: {}", info.name, info.help);
}

std::string_view name_of(nat::Action action) noexcept {
    using enum nat::Action;
    switch (action) {
        case Accept:
            return "accept";
        case Drop:
            return "drop";
        case Reject:
            return "reject";
        case Notrack:
            return "notrack";
        case Zone:
            return "zone";
        case Track:
            return "track";
        case Mark:
            return "mark";
        case PacketMark:
            return "packet_mark";
        case SaveMark:
            return "save_mark";
        case RestoreMark:
            return "restore_mark";
        case Label:
            return "label";
        case Snat:
            return "snat";
        case Masquerade:
            return "masquerade";
        case Dnat:
            return "dnat";
        case Redirect:
            return "redirect";
        case Nat64:
            return "nat64";
    }
    return "?";
}

namespace {

[[nodiscard]] std::string_view chain_name(nat::Chain chain) noexcept {
    switch (chain) {
        case nat::Chain::Raw:
            return "raw";
        case nat::Chain::Filter:
            return "filter";
        case nat::Chain::Nat:
            return "nat";
    }
    return "?";
}

}  // namespace

std::string rule_text(const nat::Rule& rule) {
    return fmt::format("rule {} ({}, line {}): {}",
                       rule.name.empty() ? std::string{"without a name"} : "'" + rule.name + "'",
                       chain_name(rule.chain), rule.line, name_of(rule.action));
}

ordered_json rule_json(const nat::Rule& rule) {
    return {{"chain", chain_name(rule.chain)},
            {"name", rule.name},
            {"line", rule.line},
            {"action", name_of(rule.action)}};
}

}  // namespace dp
