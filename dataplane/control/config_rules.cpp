// SPDX-License-Identifier: BSD-3-Clause
//
// [[rule]] and [filter]. A section may list several prefixes, protocols or ports for a condition;
// nat::Match has one of each, so such a section becomes one rule for each combination, which is
// the same thing as long as they stand together and do the same. rule_check.cpp judges the outcome.
// Action "static" is a snat and a dnat rule in one section (config_static.cpp).
#include "dataplane/control/config_parts.hpp"
#include "dataplane/control/notation.hpp"
#include "dataplane/control/units.hpp"
#include "nat/check.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <set>
#include <utility>

namespace dp {
namespace {

using nat::Action;

constexpr std::array<Word<nat::Chain>, 3> kChains{
    {{"raw", nat::Chain::Raw}, {"filter", nat::Chain::Filter}, {"nat", nat::Chain::Nat}}};
constexpr std::array<Word<Action>, 17> kActions{{{"accept", Action::Accept},
                                                 {"drop", Action::Drop},
                                                 {"reject", Action::Reject},
                                                 {"notrack", Action::Notrack},
                                                 {"zone", Action::Zone},
                                                 {"track", Action::Track},
                                                 {"mark", Action::Mark},
                                                 {"packet-mark", Action::PacketMark},
                                                 {"save-mark", Action::SaveMark},
                                                 {"restore-mark", Action::RestoreMark},
                                                 {"label", Action::Label},
                                                 {"snat", Action::Snat},
                                                 {"masquerade", Action::Masquerade},
                                                 {"dnat", Action::Dnat},
                                                 {"redirect", Action::Redirect},
                                                 {"nat64", Action::Nat64},
                                                 {"static", Action::Snat}}};
constexpr std::array<Word<Action>, 2> kPolicies{
    {{"accept", Action::Accept}, {"drop", Action::Drop}}};
constexpr std::array<Word<ct::Family>, 2> kFamilies{
    {{"ipv4", ct::Family::Ipv4}, {"ipv6", ct::Family::Ipv6}}};

/// What one section lists for the conditions that may be lists; {any} where it lists nothing.
struct Alternatives {
    std::vector<nat::Prefix> src{{}};
    std::vector<nat::Prefix> dst{{}};
    std::vector<int> proto{-1};
    std::vector<nat::PortRange> sport{{}};
    std::vector<nat::PortRange> dport{{}};

    /// How many there are, or as many as can be counted: four long lists come to more.
    [[nodiscard]] std::size_t combinations() const noexcept {
        std::size_t product = 1;
        for (const std::size_t n :
             {src.size(), dst.size(), proto.size(), sport.size(), dport.size()})
            if (__builtin_mul_overflow(product, n, &product))
                return std::numeric_limits<std::size_t>::max();
        return product;
    }
};

void read_prefixes(Section& section, std::string_view key, std::vector<nat::Prefix>& out,
                   bool& negated) {
    auto texts = section.scalars(key);
    if (texts.empty()) return;
    out.clear();
    for (Text& text : texts) {
        negated = take_not(text) || negated;
        if (const auto prefix = read_prefix(section, key, text)) out.push_back(*prefix);
    }
    if (negated && texts.size() > 1)
        section.problem(key, fmt::format("'{}' has a '!' in a list", key),
                        "exclude one prefix only, or accept the others in rules before this one");
    if (out.size() > kMaxRulesPerSection) return;  // too many, which read_rule() says
    for (std::size_t i = 0; i < out.size(); ++i)
        for (std::size_t j = 0; j < i; ++j)
            if (overlap(out[i], out[j]))
                section.problem(key,
                                fmt::format("'{}' lists {} and {}, which overlap", key,
                                            to_string(out[j]), to_string(out[i])),
                                "leave the smaller one out");
    if (out.empty()) out.push_back({});
}

std::string port_range_text(nat::PortRange r) {
    return r.first == r.last ? std::to_string(r.first) : fmt::format("{}-{}", r.first, r.last);
}

/// One range out of `text`, or a report.
std::optional<nat::PortRange> read_range(Section& section, const Text& text) {
    const auto range = parse_ports(text.value);
    if (!range) {
        section.problem_at(text.line,
                           fmt::format("{} is neither a port nor a range", in_quotes(text.value)),
                           "write one from 0 to 65535, like 80, or a range like \"8000-8080\"");
        return std::nullopt;
    }
    if (range->first <= range->last) return range;
    section.problem_at(text.line,
                       fmt::format("port range {} ends before it begins", in_quotes(text.value)),
                       fmt::format("write \"{}-{}\"", range->last, range->first));
    return std::nullopt;
}

/// The ports of none of the ranges, of which no two overlap.
std::vector<nat::PortRange> all_but(std::vector<nat::PortRange> ranges) {
    std::sort(ranges.begin(), ranges.end(), [](auto a, auto b) { return a.first < b.first; });
    std::vector<nat::PortRange> out;
    unsigned next = 0;
    for (const nat::PortRange r : ranges) {
        if (next < r.first)
            out.push_back(
                {static_cast<std::uint16_t>(next), static_cast<std::uint16_t>(r.first - 1)});
        next = r.last + 1U;
    }
    if (next <= 0xffff) out.push_back({static_cast<std::uint16_t>(next), 0xffff});
    return out;
}

void read_ranges(Section& section, std::string_view key, std::vector<nat::PortRange>& out) {
    auto texts = section.scalars(key);
    if (texts.empty()) return;
    const std::size_t before = section.mistakes();
    const bool excluded = take_not(section, key, texts);
    out.clear();
    for (const Text& text : texts) {
        const auto range = read_range(section, text);
        if (!range) continue;
        for (const nat::PortRange other : out) {
            if (out.size() >= kMaxRulesPerSection) break;  // too many, which read_rule() says
            if (range->last < other.first || other.last < range->first) continue;
            const nat::PortRange both{std::min(range->first, other.first),
                                      std::max(range->last, other.last)};
            section.problem_at(text.line,
                               fmt::format("'{}' lists {} and {}, which overlap", key,
                                           port_range_text(other), port_range_text(*range)),
                               fmt::format("write {}", port_range_text(both)));
        }
        out.push_back(*range);
    }
    if (excluded && section.mistakes() == before) {
        out = all_but(std::move(out));
        if (out.empty())
            section.problem(key,
                            fmt::format("this rule can never match: '{}' excludes every port", key),
                            "leave it out");
    }
    if (out.empty()) out.push_back({});
}

void read_protocols(Section& section, std::vector<int>& out, int& excluded) {
    auto texts = section.scalars("proto");
    if (texts.empty()) return;
    const bool excludes = take_not(section, "proto", texts);
    if (excludes && texts.size() > 1)
        section.problem("proto", "'proto' has a '!' in a list",
                        "exclude one protocol only, or decide about the others in rules before "
                        "this one");
    out.clear();
    for (const Text& text : texts) {
        const auto protocol = parse_protocol(text.value);
        if (!protocol)
            section.problem_at(text.line,
                               fmt::format("{} is no IP protocol", in_quotes(text.value)),
                               "write a name like \"tcp\", \"udp\" or \"icmp\", or a number from 0 "
                               "to 255");
        else if (std::find(out.begin(), out.end(), *protocol) != out.end())
            section.problem_at(text.line,
                               fmt::format("'proto' lists {} twice", protocol_name(*protocol)),
                               "leave one out");
        else
            out.push_back(*protocol);
    }
    if (excludes && !out.empty()) excluded = std::exchange(out.front(), -1);
    if (out.empty()) out.push_back(-1);
}

/// `to` and `ports`: where a nat rule maps to.
void read_target(Section& section, nat::Target& target) {
    if (const auto to = section.text("to")) {
        if (const auto parsed = parse_target(to->value))
            target = *parsed;
        else
            section.problem("to", fmt::format("{} is no translation", in_quotes(to->value)),
                            "write one like \"192.0.2.1\", \"192.0.2.1-192.0.2.9:1024-65535\" or "
                            "\"[2001:db8::1]:80\"");
    }
    if (const auto ports = section.scalar("ports")) {
        if (!target.ports.any())
            section.problem("ports", "'ports' stands beside a 'to' that has ports",
                            "give the ports once");
        if (const auto range = read_range(section, *ports)) target.ports = *range;
    }
    section.flag("random", target.random);
    bool fully = false;  // Linux has told the two apart until 5.1
    section.flag("random_fully", fully);
    target.random = target.random || fully;
    section.flag("persistent", target.persistent);
    section.flag("netmap", target.netmap);
    if (const auto base = section.count("port_base", {1, 0xffff}))
        target.port_base = static_cast<std::uint16_t>(*base);
}

/// `chain` and `action`. False if they do not tell what the rule is.
bool read_kind(Section& section, nat::Rule& rule) {
    const std::size_t before = section.mistakes();
    for (const std::string_view key : {"chain", "action"})
        if (!section.has(key))
            section.problem_at(section.line(), fmt::format("[[rule]] has no '{}'", key),
                               key == "chain" ? "write \"raw\", \"filter\" or \"nat\""
                                              : "say what is to happen, like action = \"accept\"");
    section.choice("chain", rule.chain, kChains);
    section.choice("action", rule.action, kActions);
    return section.mistakes() == before;
}

/// What else a rule has and is never a list.
void read_common(Section& section, const Config& config, nat::Rule& rule) {
    rule.line = section.line();
    rule.name = fmt::format("line {}", rule.line);
    if (auto name = section.text("name")) rule.name = std::move(name->value);
    nat::Match& match = rule.match;
    read_conditions(section, config, match);
    section.choice("family", match.family, kFamilies);
    if (const auto zone = section.count("zone", {0, 0xffff})) match.zone = static_cast<int>(*zone);
    if (const auto percent = read_percent(section, "table_above", {1, 99}))
        match.table_above = static_cast<std::uint8_t>(*percent);
    if (const auto value = section.scalar("value")) {
        const auto number = parse_number(value->value);
        if (number && *number <= 0xffff'ffff)
            rule.value = static_cast<std::uint32_t>(*number);
        else
            section.problem("value", fmt::format("{} is no value", in_quotes(value->value)),
                            "write a number of 32 bits, like 1 or \"0x1\"");
    }
    read_track_options(section, config, rule);
    read_conn_match(section, rule.match.conn);
    read_target(section, rule.target);
    section.flag("hairpin", rule.hairpin);
    read_behaviour(section, config, rule);
}

/// True if the conditions and the target can be of one family.
bool of_one_family(const nat::Rule& rule) {
    const nat::Match& m = rule.match;
    const auto by_proto = m.proto == ct::ipproto::kIcmp     ? ct::Family::Ipv4
                          : m.proto == ct::ipproto::kIcmpv6 ? ct::Family::Ipv6
                                                            : ct::Family::None;
    bool ipv4 = false;
    bool ipv6 = false;
    const auto target = rule.action == Action::Nat64 ? ct::Family::None : rule.target.family;
    for (const ct::Family f :
         {m.family, m.src.family, m.dst.family, by_proto, target, m.conn.orig_src.family,
          m.conn.orig_dst.family, m.conn.reply_src.family, m.conn.reply_dst.family}) {
        ipv4 = ipv4 || f == ct::Family::Ipv4;
        ipv6 = ipv6 || f == ct::Family::Ipv6;
    }
    return !(ipv4 && ipv6);
}

/// One rule for each combination of the alternatives; those of IPv4 and IPv6 at once are left out,
/// so that a list may hold both, unless there are no others.
std::vector<nat::Rule> expand(const nat::Rule& common, const Alternatives& a) {
    std::vector<nat::Rule> rules;
    rules.reserve(a.combinations());
    for (std::size_t i = 0; i < a.combinations(); ++i) {
        std::size_t rest = i;
        const auto pick = [&rest](const auto& list) {
            const auto& item = list[rest % list.size()];
            rest /= list.size();
            return item;
        };
        nat::Rule& rule = rules.emplace_back(common);
        rule.match.dport = pick(a.dport);
        rule.match.sport = pick(a.sport);
        rule.match.proto = pick(a.proto);
        rule.match.dst = pick(a.dst);
        rule.match.src = pick(a.src);
    }
    if (std::any_of(rules.begin(), rules.end(), of_one_family))
        std::erase_if(rules, [](const nat::Rule& rule) { return !of_one_family(rule); });
    return rules;
}

std::vector<nat::Rule> read_rule(Section& section, Config& config) {
    nat::Rule common;
    const bool understood = read_kind(section, common);
    const auto action = understood ? section.text("action") : std::nullopt;
    const bool is_static = action && action->value == "static";
    read_common(section, config, common);
    Alternatives lists;
    read_prefixes(section, "src", lists.src, common.match.not_src);
    read_prefixes(section, "dst", lists.dst, common.match.not_dst);
    read_protocols(section, lists.proto, common.match.not_proto);
    if (const auto prefix = read_pref64(section, config, common)) lists.dst = {*prefix};
    read_ranges(section, "sport", lists.sport);
    read_ranges(section, "dport", lists.dport);
    read_carrier(section, config, common, lists.src);
    section.finish();
    if (lists.combinations() > kMaxRulesPerSection) {
        section.problem_at(
            section.line(),
            fmt::format("the lists of this rule make {} combinations", lists.combinations()),
            fmt::format("write shorter lists: at most {}", kMaxRulesPerSection));
        return {};
    }
    auto rules = expand(common, lists);
    if (!understood) return {};
    if (is_static) return static_rules(section, config, rules);
    check_rules(section, config, rules);
    return rules;
}

/// Reports sections of which no rule can match, because rules before them decide all they would.
/// `origin[i]` is the section that rule i comes from.
void check_shadowed(std::span<Section> sections, const std::vector<nat::Rule>& rules,
                    const std::vector<std::size_t>& origin) {
    const auto dead = nat::dead_rules(rules);
    for (std::size_t s = 0; s < sections.size(); ++s) {
        const auto of_section = [&](std::size_t o) { return o == s; };
        const auto all = std::count_if(origin.begin(), origin.end(), of_section);
        std::set<int> by_lines;
        std::ptrdiff_t never = 0;
        std::string why;
        for (const nat::DeadRule& d : dead) {
            if (origin[d.index] != s) continue;
            ++never;
            why = d.why;
            if (d.by) by_lines.insert(rules[*d.by].line);
        }
        if (all == 0 || never < all) continue;
        if (by_lines.empty())
            sections[s].problem_at(sections[s].line(),
                                   fmt::format("this rule can never match: {}", why),
                                   "change its conditions, or leave it out");
        else
            sections[s].problem_at(
                sections[s].line(),
                fmt::format(
                    "this rule can never match: the {} about every packet it could match",
                    by_lines.size() == 1
                        ? fmt::format("rule on line {} decides", *by_lines.begin())
                        : fmt::format("rules on lines {} decide", fmt::join(by_lines, " and "))),
                "put this rule first, narrow what stands before it, or leave this one out");
    }
}

}  // namespace

std::optional<nat::Prefix> read_prefix(Section& section, std::string_view key, const Text& text) {
    const auto prefix = parse_prefix(text.value);
    if (!prefix) {
        section.problem_at(
            text.line, fmt::format("'{}' is {}, which is no prefix", key, in_quotes(text.value)),
            "write one like \"192.0.2.0/24\" or \"2001:db8::/64\", or an address");
        return std::nullopt;
    }
    if (masked(*prefix) == *prefix) return prefix;
    section.problem_at(
        text.line, fmt::format("prefix {} has bits set behind its length", in_quotes(text.value)),
        fmt::format("write \"{}\" for the subnet, or \"{}\" for the one address",
                    to_string(masked(*prefix)), to_string(prefix->family, prefix->addr)));
    return std::nullopt;
}

void read_rules(Section& root, Config& config) {
    if (auto filter = root.section("filter")) {
        filter->choice("policy", config.filter_policy, kPolicies);
        filter->finish();
    }
    auto sections = root.sections("rule");
    std::vector<std::size_t> origin;
    const std::size_t mistakes_before = root.mistakes();
    for (std::size_t s = 0; s < sections.size(); ++s) {
        for (nat::Rule& rule : read_rule(sections[s], config)) {
            config.rules.push_back(std::move(rule));
            origin.push_back(s);
        }
        if (config.rules.size() <= kMaxRules) continue;
        sections[s].problem_at(sections[s].line(),
                               fmt::format("there are more than {} rules", kMaxRules),
                               "every packet is compared with them in turn: write fewer");
        return;
    }
    // A rule that was misread may seem to shadow others, or to be shadowed.
    if (root.mistakes() != mistakes_before) return;
    check_shadowed(sections, config.rules, origin);
    check_carriers(sections, config, origin);
}

}  // namespace dp
