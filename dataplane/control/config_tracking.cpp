// SPDX-License-Identifier: BSD-3-Clause
//
// [[zone]], [[timeout_policy]], and the keys of [[rule]] that are about connection tracking: what a
// raw rule says of the connections to come, and what a rule may ask of a connection.
#include "ct/base/time.hpp"
#include "ct/conn/helpers.hpp"
#include "dataplane/control/config_parts.hpp"
#include "dataplane/control/notation.hpp"
#include "dataplane/control/sysctl.hpp"
#include "dataplane/control/units.hpp"
#include "nat/timers.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <limits>
#include <set>

namespace dp {
namespace {

using nat::Action;
using nat::InvalidPolicy;
using nat::ZoneScope;

constexpr std::array<Word<InvalidPolicy>, 3> kInvalidPolicies{
    {{"pass", InvalidPolicy::Pass},
     {"drop", InvalidPolicy::Drop},
     {"liberal", InvalidPolicy::Liberal}}};
constexpr std::array<Word<ZoneScope>, 3> kScopes{
    {{"both", ZoneScope::Both}, {"original", ZoneScope::Original}, {"reply", ZoneScope::Reply}}};
constexpr std::array<Word<std::uint8_t>, 3> kLiberals{
    {{"both", ct::variant::kLiberal}, {"original", 1}, {"reply", 2}}};
constexpr std::array<Word<int>, 2> kDirections{{{"original", 0}, {"reply", 1}}};
// iptables' names (CT target, --ctevents).
constexpr std::array<Word<std::uint16_t>, 12> kCauses{{{"new", ct::cause::kNew},
                                                       {"related", ct::cause::kRelated},
                                                       {"destroy", ct::cause::kDestroy},
                                                       {"reply", ct::cause::kReply},
                                                       {"assured", ct::cause::kAssured},
                                                       {"protoinfo", ct::cause::kProtoinfo},
                                                       {"helper", ct::cause::kHelper},
                                                       {"mark", ct::cause::kMark},
                                                       {"natseqinfo", ct::cause::kSeqadj},
                                                       {"secmark", ct::cause::kSecmark},
                                                       {"label", ct::cause::kLabel},
                                                       {"synproxy", ct::cause::kSynproxy}}};

void read_zones(Section& root, Config& config) {
    std::set<std::uint16_t> described;
    for (Section& section : root.sections("zone")) {
        nat::ZonePolicy zone;
        const auto id = section.count("id", {0, 0xffff});
        if (id) zone.zone = static_cast<std::uint16_t>(*id);
        if (!section.has("id"))
            section.problem_at(section.line(), "[[zone]] has no 'id'",
                               "write its number, like id = 1");
        section.choice("invalid", zone.invalid, kInvalidPolicies);
        section.finish();
        if (id && !described.insert(zone.zone).second)
            section.problem("id", fmt::format("zone {} is described twice", zone.zone),
                            "describe each zone once");
        config.zones.push_back(zone);
    }
}

void read_policies(Section& root, Config& config) {
    auto sections = root.sections("timeout_policy");
    constexpr std::size_t kMost = ct::kMaxPolicies - 1;  // timers = "rfc" is one, too
    if (sections.size() > kMost) {
        root.problem("timeout_policy",
                     fmt::format("there are {} time-out policies", sections.size()),
                     fmt::format("at most {} can be told apart", kMost));
        sections.erase(sections.begin() + kMost, sections.end());
    }
    for (Section& section : sections) {
        TimeoutPolicy policy;
        if (auto name = section.text("name")) policy.name = std::move(name->value);
        if (policy.name.empty())
            section.problem_at(section.line(), "[[timeout_policy]] has no 'name'",
                               "write the name by which rules know it");
        const auto same = [&](const TimeoutPolicy& p) { return p.name == policy.name; };
        if (std::any_of(config.policies.begin(), config.policies.end(), same))
            section.problem("name",
                            fmt::format("policy {} is described twice", in_quotes(policy.name)),
                            "describe each policy once");
        ct::Settings settings = config.conntrack;  // what is not given is as in [conntrack]
        for (const Sysctl& s : sysctls()) {
            if (s.timeout.empty() || s.timeout.starts_with("fragment")) continue;
            if (const auto seconds = section.duration(s.timeout, {s.least, s.most}))
                s.write(settings, *seconds);
        }
        section.finish();
        policy.timeouts = settings.timeouts;
        config.policies.push_back(std::move(policy));
    }
}

void read_policy_name(Section& section, const Config& config, nat::Rule& rule) {
    const auto name = section.text("timeout");
    if (!name) return;
    for (std::size_t i = 0; i < config.policies.size(); ++i) {
        if (config.policies[i].name != name->value) continue;
        rule.track.variant |= ct::variant::of_policy(i + 1);
        return;
    }
    section.problem("timeout",
                    fmt::format("no [[timeout_policy]] is called {}", in_quotes(name->value)),
                    "describe it, or name one that is described");
}

/// `helper`, or `cthelper`, which may be excluded.
std::uint8_t read_helper(Section& section, std::string_view key, bool* excluded = nullptr) {
    auto name = section.text(key);
    if (!name) return 0;
    if (excluded != nullptr) *excluded = take_not(*name);
    const std::uint8_t helper = ct::find_helper(name->value);
    if (helper == 0)
        section.problem(
            key, fmt::format("no helper is called {}", in_quotes(name->value)),
            suggestion(name->value, std::span{ct::kHelperNames}.subspan(1), "choose among"));
    return helper;
}

void read_events(Section& section, nat::Rule& rule) {
    if (!section.has("ctevents")) return;
    std::array<std::string_view, kCauses.size()> names;
    std::transform(kCauses.begin(), kCauses.end(), names.begin(),
                   [](const auto& word) { return word.first; });
    rule.track.event_mask = 0;
    for (const Text& text : section.scalars("ctevents")) {
        const auto at = std::find(names.begin(), names.end(), text.value);
        if (at == names.end())
            section.problem_at(text.line, fmt::format("'ctevents' names {}", in_quotes(text.value)),
                               suggestion(text.value, names, "choose among"));
        else
            rule.track.event_mask |= kCauses[static_cast<std::size_t>(at - names.begin())].second;
    }
}

/// `ctdir`. Of two directions, one excluded is the other.
void read_direction(Section& section, int& out) {
    const auto text = section.text("ctdir");
    if (!text) return;
    std::string word = text->value;
    std::transform(word.begin(), word.end(), word.begin(), [](char c) {
        return static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    });
    for (const auto& [name, value] : kDirections)
        if (name == word) out = value;
    if (out < 0)
        section.problem("ctdir", fmt::format("'ctdir' is {}", in_quotes(text->value)),
                        "write \"original\" or \"reply\"; each is what the other excludes");
}

void read_conn_prefix(Section& section, std::string_view key, nat::Prefix& out, bool& excluded) {
    auto text = section.text(key);
    if (!text) return;
    excluded = take_not(*text);
    if (const auto prefix = read_prefix(section, key, *text)) out = *prefix;
}

void read_conn_ports(Section& section, std::string_view key, nat::PortRange& out, bool& excluded) {
    auto text = section.scalar(key);
    if (!text) return;
    excluded = take_not(*text);
    const auto range = parse_ports(text->value);
    if (range && range->first <= range->last)
        out = *range;
    else
        section.problem(
            key, fmt::format("'{}' is {}, which is no range of ports", key, in_quotes(text->value)),
            "write one like 80 or \"8000-8080\"");
}

/// `ctproto`: the connection's protocol, which is not that of an ICMP error about it.
void read_conn_protocol(Section& section, nat::ConnMatch& out) {
    auto text = section.scalar("ctproto");
    if (!text) return;
    out.not_proto = take_not(*text);
    if (const auto protocol = parse_protocol(text->value))
        out.proto = *protocol;
    else
        section.problem("ctproto", fmt::format("{} is no IP protocol", in_quotes(text->value)),
                        "write a name like \"tcp\" or \"udp\", or a number from 0 to 255");
}

/// `label`: one that the connection has, or, excluded, has not.
void read_label(Section& section, nat::ConnMatch& out) {
    auto text = section.scalar("label");
    if (!text) return;
    out.not_label = take_not(*text);
    const auto label = parse_number(text->value);
    if (label && *label <= 127)
        out.label = static_cast<int>(*label);
    else
        section.problem("label", fmt::format("{} is no label", in_quotes(text->value)),
                        "write a number from 0 to 127");
}

/// `ctexpire`: seconds, or a range of them.
void read_expiry(Section& section, nat::ConnMatch& out) {
    auto text = section.scalar("ctexpire");
    if (!text) return;
    out.not_expires = take_not(*text);
    const std::string_view range = text->value;
    const std::size_t dash = range.find('-');
    const auto first = parse_duration(range.substr(0, dash));
    const auto last =
        dash == std::string_view::npos ? first : parse_duration(range.substr(dash + 1));
    constexpr std::uint64_t kMost = std::numeric_limits<std::uint32_t>::max();
    if (!first || !last || *first > *last || *last > kMost) {
        section.problem("ctexpire", fmt::format("'ctexpire' is {}", in_quotes(range)),
                        "write seconds or a range, like \"0-30\" or \"1h-5d\"");
        return;
    }
    out.expires_first = static_cast<std::uint32_t>(*first);
    out.expires_last = static_cast<std::uint32_t>(*last);
}

}  // namespace

void read_tracking(Section& root, Config& config) {
    read_zones(root, config);
    read_policies(root, config);
}

void read_track_options(Section& section, const Config& config, nat::Rule& rule) {
    if (const auto zone = section.count("set_zone", {0, 0xffff}))
        rule.value = static_cast<std::uint32_t>(*zone);
    section.choice("zone_scope", rule.scope, kScopes);
    section.choice("liberal", rule.track.variant, kLiberals);
    read_policy_name(section, config, rule);
    rule.track.helper = read_helper(section, "helper");
    read_events(section, rule);
    if (const auto mask = section.scalar("mask")) {
        const auto bits = parse_number(mask->value);
        if (bits && *bits <= 0xffff'ffff)
            rule.mask = static_cast<std::uint32_t>(*bits);
        else
            section.problem("mask", fmt::format("{} is no mask", in_quotes(mask->value)),
                            "write a number of 32 bits, like \"0xff\"");
    }
}

void read_conn_match(Section& section, nat::ConnMatch& out) {
    read_direction(section, out.dir);
    read_conn_protocol(section, out);
    read_conn_prefix(section, "ctorigsrc", out.orig_src, out.not_orig_src);
    read_conn_prefix(section, "ctorigdst", out.orig_dst, out.not_orig_dst);
    read_conn_prefix(section, "ctreplsrc", out.reply_src, out.not_reply_src);
    read_conn_prefix(section, "ctrepldst", out.reply_dst, out.not_reply_dst);
    read_conn_ports(section, "ctorigsrcport", out.orig_sport, out.not_orig_sport);
    read_conn_ports(section, "ctorigdstport", out.orig_dport, out.not_orig_dport);
    read_conn_ports(section, "ctreplsrcport", out.reply_sport, out.not_reply_sport);
    read_conn_ports(section, "ctrepldstport", out.reply_dport, out.not_reply_dport);
    read_expiry(section, out);
    out.helper = read_helper(section, "cthelper", &out.not_helper);
    read_label(section, out);
    if (const auto mark = read_mark(section, "packet_mark", out.not_packet_mark)) {
        out.packet_mark = mark->value;
        out.packet_mark_mask = mark->mask;
    }
}

ct::Features features_of(const Config& config) {
    ct::Features out;
    for (const TimeoutPolicy& p : config.policies) out.policies.push_back(p.timeouts);
    const std::uint8_t rfc = rfc_timers_variant(config);
    if (std::any_of(config.rules.begin(), config.rules.end(),
                    [rfc](const nat::Rule& r) { return r.behaviour.variant == rfc; }))
        out.policies.push_back(nat::rfc_timeouts(config.conntrack.timeouts));
    out.labels = config.labels ||
                 std::any_of(config.rules.begin(), config.rules.end(), [](const nat::Rule& r) {
                     return r.action == Action::Label || r.match.conn.label >= 0;
                 });
    return out;
}

}  // namespace dp
