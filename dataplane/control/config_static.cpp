// SPDX-License-Identifier: BSD-3-Clause
//
// Action "static": one section that gives an inside address, or a prefix of them, an outside one of
// its own, in both directions. It is a snat rule for what leaves and a dnat rule for what comes,
// which map prefix to prefix and, where the section names ports, range to range.
#include "dataplane/control/config_parts.hpp"
#include "dataplane/control/notation.hpp"

#include <fmt/format.h>

#include <array>

namespace dp {
namespace {

using nat::Action;

void check_keys(Section& section) {
    static constexpr std::array<std::string_view, 9> kOthers{
        "in",      "dst",    "dport",        "netmap",    "port_base",
        "hairpin", "random", "random_fully", "persistent"};
    for (const std::string_view key : kOthers)
        if (section.has(key))
            section.problem(key, fmt::format("action \"static\" takes no '{}'", key),
                            "leave it out: 'src' and 'sport' are inside, 'to', 'ports' and 'out' "
                            "outside");
}

void check_addresses(Section& section, const nat::Rule& rule) {
    if (rule.match.not_out_port != ct::kNoPort)
        section.problem("out", "action \"static\" excludes a port by 'out'",
                        "name the one port that 'to' is outside of, or leave 'out' out");
    const nat::Prefix& inside = rule.match.src;
    if (inside.family == ct::Family::None || rule.match.not_src) {
        section.problem("src", "action \"static\" has no one inside address or prefix",
                        "write it, like src = \"10.0.0.5\" or src = \"10.0.0.0/24\"");
        return;
    }
    if (!section.has("to")) {
        section.problem("action", "action \"static\" has no 'to'",
                        "say to which address or prefix, like to = \"192.0.2.5\"");
        return;
    }
    if (rule.target.family == ct::Family::None || rule.target.family != inside.family) return;
    const auto outside = prefix_of(rule.target);
    if (!outside)
        section.problem("to", "'to' is a range, but not a prefix",
                        "write a prefix as long as that of 'src'");
    else if (outside->length != inside.length)
        section.problem("to",
                        fmt::format("'to' has a prefix of length {}, 'src' one of length {}",
                                    outside->length, inside.length),
                        "write prefixes of the same length: each address has its own");
}

void check_ports(Section& section, const nat::Rule& rule) {
    const nat::PortRange inside = rule.match.sport;
    const nat::PortRange outside = rule.target.ports;
    const std::string_view ports_key = section.has("ports") ? "ports" : "to";
    if (inside.any() && outside.any()) return;
    if (inside.any())
        section.problem(ports_key, "ports outside stand without the ports inside",
                        "write those of the inside address as 'sport'");
    else if (outside.any())
        section.problem("sport", "ports inside stand without the ports outside",
                        "write those of the outside address as 'ports'");
    else if (inside.first == 0)
        section.problem("sport", "port 0 cannot be translated to", "begin with port 1 or above");
    else if (inside.count() != outside.count())
        section.problem(
            ports_key,
            fmt::format("{} ports inside stand for {} outside", inside.count(), outside.count()),
            "write two ranges of the same size");
}

/// The rule for what comes: the one for what leaves, turned round.
nat::Rule answering(const nat::Rule& leaving) {
    nat::Rule out = leaving;
    out.action = Action::Dnat;
    out.hairpin = true;
    out.match.in_port = leaving.match.out_port;
    out.match.out_port = ct::kNoPort;
    out.match.src = {};
    out.match.dst = *prefix_of(leaving.target);
    out.match.sport = {};
    out.match.dport = leaving.target.ports;
    out.target = target_of(leaving.match.src);
    out.target.netmap = true;
    out.target.ports = leaving.match.sport;
    out.target.port_base =
        leaving.target.ports.any() ? std::uint16_t{0} : leaving.target.ports.first;
    return out;
}

}  // namespace

std::vector<nat::Rule> static_rules(Section& section, const Config& config,
                                    const std::vector<nat::Rule>& read) {
    const std::size_t before = section.mistakes();
    if (read.front().chain != nat::Chain::Nat)
        section.problem("action", "action \"static\" belongs to chain \"nat\"",
                        "write chain = \"nat\"");
    check_keys(section);
    if (section.scalars("src").size() > 1)
        section.problem("src", "action \"static\" maps one prefix",
                        "write a rule for each of them");
    if (section.scalars("sport").size() > 1)
        section.problem("sport", "action \"static\" maps one range of ports",
                        "write a rule for each of them");
    if (section.mistakes() != before) return {};

    std::vector<nat::Rule> rules;
    for (nat::Rule rule : read) {
        check_addresses(section, rule);
        check_ports(section, rule);
        if (section.mistakes() != before) return {};
        rule.target.netmap = true;
        if (!rule.match.sport.any()) rule.target.port_base = rule.match.sport.first;
        check_rules(section, config, {&rule, 1});
        if (section.mistakes() != before) return {};
        rules.push_back(answering(rule));
        rules.push_back(std::move(rule));
    }
    return rules;
}

}  // namespace dp
