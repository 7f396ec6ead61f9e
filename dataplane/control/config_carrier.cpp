// SPDX-License-Identifier: BSD-3-Clause
//
// Carrier-grade NAT: the tables [rule.blocks], [rule.deterministic] and [rule.limits] of a rule of
// action snat, of which masquerade takes some limits, and [nat_log].
#include "dataplane/control/block_writer.hpp"
#include "dataplane/control/config_parts.hpp"
#include "dataplane/control/filter.hpp"
#include "dataplane/control/notation.hpp"
#include "nat/carrier.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace dp {
namespace {

constexpr std::uint64_t kLongestIdle = 30 * 86'400;  // seconds
constexpr std::uint64_t kMostLimit = 1U << 27;       // as many connections as a table may have
constexpr std::uint64_t kMostQueue = 1U << 22;       // records, for each worker

constexpr std::array<Word<BlockLogFormat>, 2> kFormats{
    {{"json", BlockLogFormat::Json}, {"syslog", BlockLogFormat::Syslog}}};
constexpr std::array<Word<bool>, 2> kOnFailure{{{"refuse", false}, {"continue", true}}};
// RFC 5424 6.2.1, table 1.
constexpr std::array<Word<unsigned>, 14> kFacilities{{{"kern", 0},
                                                      {"user", 1},
                                                      {"daemon", 3},
                                                      {"auth", 4},
                                                      {"syslog", 5},
                                                      {"authpriv", 10},
                                                      {"local0", 16},
                                                      {"local1", 17},
                                                      {"local2", 18},
                                                      {"local3", 19},
                                                      {"local4", 20},
                                                      {"local5", 21},
                                                      {"local6", 22},
                                                      {"local7", 23}}};

constexpr std::array<std::string_view, 4> kKeys{"blocks", "deterministic", "limits",
                                                "subscriber_prefix"};

std::string range_text(const nat::AddressRange& r) {
    return fmt::format("{}-{}", to_string(r.family, r.first), to_string(r.family, r.last));
}

void read_blocks(Section& rule, nat::CarrierSettings& out) {
    auto section = rule.section("blocks");
    if (!section) return;
    nat::BlockSettings b;
    section->count("size", b.size, {8, 32'768});
    section->count("max", b.most, {1, nat::Carrier::kMostBlocks});
    if (const auto idle = section->duration("idle", {1, kLongestIdle}))
        b.idle_s = static_cast<std::uint32_t>(*idle);
    section->finish();
    out.blocks = b;
}

void read_deterministic(Section& rule, std::span<const nat::Prefix> src, bool negated,
                        nat::CarrierSettings& out) {
    auto section = rule.section("deterministic");
    if (!section) return;
    nat::DeterministicPlan plan;
    section->count("ports_each", plan.ports_each, {nat::Deterministic::kLeastPortsEach, 0xffff});
    section->count("reserve", plan.reserve, {0, 0xffff});
    section->finish();
    plan.outside = out.outside;
    plan.ports = out.ports;
    if (src.size() != 1 || src[0].family == ct::Family::None || negated) {
        rule.problem("deterministic",
                     "deterministic NAT numbers the subscribers of one prefix, and 'src' is not "
                     "one prefix",
                     "write one, like src = \"100.64.0.0/22\", and a rule for each");
        return;
    }
    plan.inside = src[0];
    plan.subscriber_length = plan.inside.family == ct::Family::Ipv6 ? out.ipv6_prefix : 32;
    if (const std::string why = nat::Deterministic::fault(plan); !why.empty()) {
        rule.problem("deterministic", why,
                     "give more addresses in 'to', fewer subscribers in 'src', or smaller shares");
        return;
    }
    if (section->has("reserve") && plan.reserve > 0 && !out.blocks)
        section->problem("reserve", "the reserve is for blocks, and there are none",
                         "write a table [rule.blocks], or leave 'reserve' out");
    else
        out.deterministic = plan;
}

void read_limits(Section& rule, nat::CarrierSettings& out) {
    auto section = rule.section("limits");
    if (!section) return;
    nat::SubscriberLimits& l = out.limits;
    section->count("ports", l.ports, {1, 0xffff});
    section->count("connections", l.connections, {1, kMostLimit});
    section->count("new_per_second", l.new_per_second, {1, ct::kMaxSourceRate});
    section->count("burst", l.burst, {1, ct::kMaxSourceRate});
    if (l.burst != 0 && l.new_per_second == 0)
        section->problem("burst", "'burst' stands without 'new_per_second'",
                         "say at which rate, like new_per_second = 100");
    if (l == nat::SubscriberLimits{} && !section->has("ports") && !section->has("connections") &&
        !section->has("new_per_second"))
        rule.problem("limits", "'limits' limits nothing",
                     "write 'ports', 'connections' or 'new_per_second'");
    if (section->has("ports") && out.own_address)
        section->problem("ports", "ports are counted only where they are given to subscribers",
                         "limit 'connections', or write action = \"snat\" with 'to' and "
                         "[rule.blocks]");
    else if (section->has("ports") && !rule.has("blocks") && !rule.has("deterministic"))
        section->problem("ports", "ports are counted only where they are given to subscribers",
                         "write [rule.blocks] or [rule.deterministic], or limit 'connections'");
    section->finish();
}

/// The addresses and ports that the rule's `to` gives subscribers; false if it gives none.
bool read_outside(Section& section, const nat::Rule& rule, nat::CarrierSettings& out) {
    const nat::Target& t = rule.target;
    if (t.family == ct::Family::None) return false;  // reported with the rule
    out.outside = {t.family, t.first_addr, t.last_addr};
    if (!t.ports.any()) out.ports = t.ports;
    if (out.ports.first > out.ports.last || t.last_addr.bytes < t.first_addr.bytes) return false;
    const std::uint32_t count = out.outside.count();
    if (count != 0 && count <= nat::Carrier::kMostAddresses) return true;
    section.problem("to", "there are more external addresses than subscribers can be given",
                    fmt::format("write {} at most in one rule", nat::Carrier::kMostAddresses));
    return false;
}

/// True if a source may be in both; lists without a prefix hold all.
bool share_sources(std::span<const nat::Prefix> a, std::span<const nat::Prefix> b) {
    return a.empty() || b.empty() || std::any_of(a.begin(), a.end(), [&](const nat::Prefix& x) {
               return std::any_of(b.begin(), b.end(),
                                  [&](const nat::Prefix& y) { return overlap(x, y); });
           });
}

/// The limits of a rule of action masquerade: its connections are told by their sources, as the
/// addresses of a port may change. Rules that have the same sources and limits count together.
void read_masquerade(Section& section, Config& config, nat::Rule& rule,
                     std::span<const nat::Prefix> src, nat::CarrierSettings& out) {
    for (const std::string_view key : {"blocks", "deterministic"}) {
        if (!section.has(key)) continue;
        section.problem(
            key, fmt::format("'{}' needs addresses that stay, and those of a port may change", key),
            "write action = \"snat\" with 'to', or [rule.limits] alone");
        static_cast<void>(section.section(key));
    }
    const std::size_t before = section.mistakes();
    out.own_address = true;
    out.name = rule.name;
    out.line = rule.line;
    const bool all = rule.match.not_src ||
                     std::any_of(src.begin(), src.end(),
                                 [](const nat::Prefix& p) { return p.family == ct::Family::None; });
    if (!all) out.inside.assign(src.begin(), src.end());
    read_limits(section, out);
    if (section.mistakes() != before || out.limits == nat::SubscriberLimits{}) return;
    for (std::size_t i = 0; i < config.carriers.size(); ++i) {
        const nat::CarrierSettings& other = config.carriers[i];
        if (!other.own_address || !share_sources(other.inside, out.inside)) continue;
        if (other.limits == out.limits && other.inside == out.inside &&
            other.ipv6_prefix == out.ipv6_prefix) {
            rule.carrier = static_cast<std::uint16_t>(i);
            return;
        }
        section.problem("limits",
                        fmt::format("the rule on line {} limits some of the same sources otherwise",
                                    other.line),
                        "give each rule a 'src' of its own, or both the same 'src' and limits, "
                        "which then hold for both together");
        return;
    }
    rule.carrier = static_cast<std::uint16_t>(config.carriers.size());
    config.carriers.push_back(std::move(out));
}

/// The rule that gives subscribers ports of some of `range`, to which `rule` maps others; null if
/// none does. An snat rule has nothing in common with one that only limits subscribers either: by
/// the address it is known whose a connection is.
const nat::CarrierSettings* giver_of(const Config& config, const nat::AddressRange& range,
                                     const nat::Rule& rule) {
    for (std::size_t i = 0; i < config.carriers.size(); ++i) {
        const nat::CarrierSettings& s = config.carriers[i];
        const bool matters =
            s.blocks || s.deterministic || (!s.own_address && rule.action == nat::Action::Snat);
        if (matters && i != rule.carrier && s.line != rule.line && range.overlaps(s.outside))
            return &s;
    }
    return nullptr;
}

/// True if the rule maps sources to addresses of `family` that the port has.
bool lends_address(const nat::Rule& rule, ct::PortId port, ct::Family family) {
    if (rule.action == nat::Action::Nat64)
        return rule.target.family == ct::Family::None && family == ct::Family::Ipv4;
    const ct::PortId out = rule.match.out_port;
    const auto may_be = [family](ct::Family f) { return f == ct::Family::None || f == family; };
    return rule.action == nat::Action::Masquerade && may_be(rule.match.family) &&
           may_be(rule.match.src.family) && (out == ct::kNoPort || out == port) &&
           rule.match.not_out_port != port;
}

/// Reports a rule that maps others to addresses which another rule gives subscribers.
void check_overlap(Section& section, const Config& config, const nat::Rule& rule) {
    const nat::Target& t = rule.target;
    const bool has_target = rule.action == nat::Action::Snat || rule.action == nat::Action::Nat64;
    if (has_target && t.family != ct::Family::None) {
        if (const auto* giver = giver_of(config, {t.family, t.first_addr, t.last_addr}, rule))
            section.problem(
                "to",
                fmt::format("the rule on line {} gives subscribers addresses of {}, too",
                            giver->line, range_text(giver->outside)),
                "who had an external port could not be told: give each rule addresses "
                "of its own");
        return;
    }
    for (ct::PortId port = 0; port < config.ports.size(); ++port)
        for (const InterfaceAddress& own : config.ports[port].addresses) {
            const nat::Prefix& a = own.prefix;
            if (!lends_address(rule, port, a.family)) continue;
            const auto* giver = giver_of(config, {a.family, a.addr, a.addr}, rule);
            if (giver == nullptr) continue;
            section.problem(
                "action",
                fmt::format("{} of port '{}' is an address that the rule on line {} "
                            "gives subscribers",
                            to_string(a.family, a.addr), config.ports[port].name, giver->line),
                "who had an external port could not be told: give subscribers "
                "addresses that no port has");
            return;
        }
}

/// True if a raw rule puts connections into a zone.
bool sets_zones(const Config& config) {
    return std::any_of(config.rules.begin(), config.rules.end(), [](const nat::Rule& rule) {
        const bool sets = rule.action == nat::Action::Zone || rule.action == nat::Action::Track;
        return sets && rule.value != 0 && rule.scope != nat::ZoneScope::Reply;
    });
}

/// Reports deterministic shares of subscribers whom nothing but their zone tells apart.
void check_zones(Section& section, const Config& config, const nat::Rule& rule) {
    if (rule.carrier >= config.carriers.size() || rule.match.zone >= 0) return;
    if (!config.carriers[rule.carrier].deterministic || !sets_zones(config)) return;
    section.problem("deterministic",
                    "the raw rules make zones, and one address in two of them would have one share",
                    "say whose subscribers these are, like zone = 1, and write a rule with "
                    "addresses of its own for each other zone");
}

}  // namespace

void read_carrier(Section& section, Config& config, nat::Rule& rule,
                  std::span<const nat::Prefix> src) {
    const bool any = std::any_of(kKeys.begin(), kKeys.begin() + 3,
                                 [&](std::string_view key) { return section.has(key); });
    nat::CarrierSettings out;
    section.count("subscriber_prefix", out.ipv6_prefix, {1, 128});
    if (!any) {
        if (section.has("subscriber_prefix"))
            section.problem("subscriber_prefix", "'subscriber_prefix' stands without subscribers",
                            "write [rule.blocks], [rule.deterministic] or [rule.limits], too");
        return;
    }
    if (rule.action == nat::Action::Masquerade)
        return read_masquerade(section, config, rule, src, out);
    if (rule.action != nat::Action::Snat) {
        for (const std::string_view key : kKeys) {
            if (!section.has(key)) continue;
            const bool both = key == "limits" || key == "subscriber_prefix";
            section.problem(key,
                            fmt::format("only {} '{}'",
                                        both ? "actions \"snat\" and \"masquerade\" take"
                                             : "action \"snat\" takes",
                                        key),
                            "leave it out, or write action = \"snat\" with 'to'");
        }
        for (const std::string_view key : kKeys)
            if (key != "subscriber_prefix") static_cast<void>(section.section(key));
        return;
    }
    const std::size_t before = section.mistakes();
    const auto action = section.text("action");
    if (action && action->value == "static")
        section.problem("action", "action \"static\" gives each address one of its own",
                        "write action = \"snat\" to share addresses among subscribers");
    for (const std::string_view key : {"netmap", "port_base"})
        if (section.has(key))
            section.problem(key, fmt::format("'{}' and what subscribers are given contradict", key),
                            fmt::format("leave '{}' out, or do without subscribers", key));
    out.paired = rule.behaviour.pooling != nat::Pooling::Arbitrary;
    out.name = rule.name;
    out.line = rule.line;
    const bool has_addresses = read_outside(section, rule, out);
    read_blocks(section, out);
    if (has_addresses) read_deterministic(section, src, rule.match.not_src, out);
    read_limits(section, out);
    if (!has_addresses || section.mistakes() != before) return;
    if (const std::string why = nat::Carrier::fault(out); !why.empty()) {
        section.problem(out.blocks ? "blocks" : "limits", why,
                        "write smaller blocks, more ports in 'to', or a larger 'reserve'");
        return;
    }
    rule.carrier = static_cast<std::uint16_t>(config.carriers.size());
    config.carriers.push_back(std::move(out));
}

void check_carriers(std::span<Section> sections, const Config& config,
                    std::span<const std::size_t> origin) {
    std::size_t last = sections.size();
    for (std::size_t i = 0; i < config.rules.size(); ++i) {
        if (origin[i] == last) continue;  // the same `to`
        last = origin[i];
        check_overlap(sections[last], config, config.rules[i]);
        check_zones(sections[last], config, config.rules[i]);
    }
}

void check_address(const Config& config, ct::PortId port, const nat::Prefix& address) {
    const nat::AddressRange range{address.family, address.addr, address.addr};
    for (const nat::Rule& rule : config.rules) {
        if (!lends_address(rule, port, address.family)) continue;
        if (const auto* giver = giver_of(config, range, rule))
            throw BadParameter{
                fmt::format("{} is an address that the rule on line {} gives "
                            "subscribers, and the one on line {} would give others",
                            to_string(address.family, address.addr), giver->line, rule.line)};
    }
}

void read_nat_log(Section& root, Config& config) {
    auto section = root.section("nat_log");
    if (!section) return;
    BlockLogConfig& out = config.nat_log;
    if (auto file = section->text("file")) out.file = std::move(file->value);
    section->choice("format", out.format, kFormats);
    if (auto target = section->text("syslog")) {
        if (parse_syslog_target(target->value))
            out.syslog = std::move(target->value);
        else
            section->problem("syslog", fmt::format("{} is no collector", in_quotes(target->value)),
                             "write \"udp:ADDRESS\", \"udp:ADDRESS:PORT\" or \"unix:PATH\"");
    }
    section->choice("facility", out.facility, kFacilities);
    section->choice("on_failure", out.keep_going, kOnFailure);
    section->count("queue", out.queue, {64, kMostQueue});
    if (!section->has("file") && !section->has("syslog"))
        section->problem_at(section->line(), "[nat_log] has neither 'file' nor 'syslog'",
                            "say where records are to go");
    if (section->has("file") && out.file.empty())
        section->problem("file", "'file' is empty", "write a path, or leave it out");
    if (section->has("format") && !section->has("file"))
        section->problem("format", "'format' is the file's, and there is none",
                         "leave it out: collectors get RFC 5424");
    section->finish();
}

std::string describe_carrier(const nat::CarrierSettings& s) {
    std::string out =
        s.own_address
            ? fmt::format("carrier NAT, rule '{}': the addresses of its port", s.name)
            : fmt::format("carrier NAT, rule '{}': {} addresses {}, ports {}-{}", s.name,
                          s.outside.count(), range_text(s.outside), s.ports.first, s.ports.last);
    nat::PortRange for_blocks = s.ports;
    if (s.deterministic) {
        const nat::Deterministic d{*s.deterministic};
        out += fmt::format("; {} subscribers of {}, {} on each address, {} ports each",
                           d.subscribers(), to_string(s.deterministic->inside), d.ratio(),
                           d.ports_each());
        for_blocks = d.overflow().value_or(for_blocks);
    }
    if (s.blocks)
        out += fmt::format("; {} blocks of {} ports, at most {} each, back after {} s",
                           std::uint64_t{for_blocks.count()} / s.blocks->size * s.outside.count(),
                           s.blocks->size, s.blocks->most, s.blocks->idle_s);
    const nat::SubscriberLimits& l = s.limits;
    if (l.ports != 0) out += fmt::format("; at most {} ports of each protocol", l.ports);
    if (l.connections != 0) out += fmt::format("; at most {} connections", l.connections);
    if (l.new_per_second != 0)
        out += fmt::format("; at most {} new a second, {} at once", l.new_per_second,
                           l.burst != 0 ? l.burst : l.new_per_second);
    return out;
}

std::string describe_nat_log(const BlockLogConfig& log) {
    if (!log.on()) return "nobody is told who has which block of ports: there is no [nat_log]";
    std::string to = log.file;
    if (!log.syslog.empty()) to += (to.empty() ? "" : " and ") + log.syslog;
    return fmt::format("blocks of ports are logged to {}; while that fails, {}", to,
                       log.keep_going ? "records are lost" : "no block is given out");
}

}  // namespace dp
