// SPDX-License-Identifier: BSD-3-Clause
//
// Whether a rule makes sense by itself: whether its action belongs to its chain and has what it
// needs, and whether any packet could meet all its conditions at the moment its chain is asked.
// nat/check.hpp knows the same facts; here each is tied to the key that is wrong and to a remedy.
#include "dataplane/control/config_parts.hpp"
#include "dataplane/control/notation.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace dp {
namespace {

using nat::Action;
using nat::Chain;

constexpr std::array<std::string_view, 3> kChainNames{"raw", "filter", "nat"};
constexpr std::array<std::string_view, 16> kActionNames{
    "accept",     "drop",        "reject",    "notrack",      "zone",  "track",
    "mark",       "packet-mark", "save-mark", "restore-mark", "label", "snat",
    "masquerade", "dnat",        "redirect",  "nat64"};

std::string_view name_of(Chain c) {
    return kChainNames[static_cast<std::size_t>(c)];
}
std::string_view name_of(Action a) {
    return kActionNames[static_cast<std::size_t>(a)];
}

/// The chains that have the action.
std::vector<Chain> chains_of(Action action) {
    switch (action) {
        case Action::Accept:
            return {Chain::Raw, Chain::Filter, Chain::Nat};
        case Action::Drop:
            return {Chain::Raw, Chain::Filter};
        case Action::PacketMark:
            return {Chain::Raw, Chain::Filter};
        case Action::Reject:
        case Action::Mark:
        case Action::SaveMark:
        case Action::RestoreMark:
        case Action::Label:
            return {Chain::Filter};
        case Action::Notrack:
        case Action::Zone:
        case Action::Track:
            return {Chain::Raw};
        default:
            return {Chain::Nat};
    }
}

bool is_nat(Action a) {
    return a == Action::Snat || a == Action::Masquerade || a == Action::Dnat ||
           a == Action::Redirect || a == Action::Nat64;
}
bool needs_address(Action a) {
    return a == Action::Snat || a == Action::Dnat;
}
bool takes_address(Action a) {
    return needs_address(a) || a == Action::Nat64;
}

bool takes_value(Action a) {
    return a == Action::Mark || a == Action::PacketMark || a == Action::Label || a == Action::Zone;
}

void never_matches(Section& section, std::string_view key, std::string why, std::string remedy) {
    section.problem(key, fmt::format("this rule can never match: {}", why), std::move(remedy));
}

/// False if the action is not one of the chain; the rest of the rule then says little.
bool check_chain(Section& section, const nat::Rule& rule) {
    const auto chains = chains_of(rule.action);
    if (std::find(chains.begin(), chains.end(), rule.chain) != chains.end()) return true;
    section.problem(
        "action",
        fmt::format("chain \"{}\" has no action \"{}\"", name_of(rule.chain), name_of(rule.action)),
        fmt::format("write chain = \"{}\", or another action", name_of(chains.back())));
    return false;
}

/// Conditions that have no meaning yet, or none any more, when the chain is asked.
void check_moment(Section& section, const nat::Rule& rule) {
    if (rule.chain == Chain::Raw) {
        for (const std::string_view key :
             {"ctstate", "ctstatus", "zone", "mark", "ctdir", "ctproto", "ctorigsrc", "ctorigdst",
              "ctreplsrc", "ctrepldst", "ctorigsrcport", "ctorigdstport", "ctreplsrcport",
              "ctrepldstport", "ctexpire", "cthelper", "label"})
            if (section.has(key))
                never_matches(
                    section, key,
                    fmt::format("the raw chain is asked before connection tracking, where "
                                "no packet has a '{}'",
                                key),
                    "write chain = \"filter\"");
        if (section.has("out"))
            never_matches(section, "out",
                          "the raw chain is asked before routing, where no packet has an 'out'",
                          "match by 'in' or 'dst', or write chain = \"filter\"");
    }
    if (rule.chain == Chain::Nat && section.has("table_above"))
        section.problem("table_above",
                        "a connection's mapping must not depend on how full the table is",
                        "leave 'table_above' out, or refuse connections in chain \"filter\"");
    if (rule.action == Action::Dnat || rule.action == Action::Redirect ||
        rule.action == Action::Nat64)
        if (section.has("out"))
            never_matches(section, "out",
                          "a destination is translated before routing, where no packet has an "
                          "'out'",
                          "match by 'in' or 'dst'");
    const auto bit = [](ct::CtState s) { return 1U << static_cast<unsigned>(s); };
    const unsigned opening = bit(ct::CtState::New) | bit(ct::CtState::Related);
    if (rule.chain == Chain::Nat && (rule.match.possible_states() & opening) == 0)
        never_matches(section, "ctstate",
                      "the nat chain sees only the packet that opens a connection",
                      "leave 'ctstate' out: the mapping holds for the connection's life");
}

std::string_view family_name(ct::Family f) {
    return f == ct::Family::Ipv4 ? "IPv4" : "IPv6";
}

/// The family that conditions and target agree on; None if they leave it open.
ct::Family check_family(Section& section, const nat::Rule& rule) {
    struct Claim {
        std::string_view key;
        ct::Family family;
    };
    const nat::Match& m = rule.match;
    const ct::Family by_proto = m.proto == ct::ipproto::kIcmp     ? ct::Family::Ipv4
                                : m.proto == ct::ipproto::kIcmpv6 ? ct::Family::Ipv6
                                                                  : ct::Family::None;
    const bool over = rule.action == Action::Nat64;  // its target is of the other family
    const ct::Family target = over ? ct::Family::None : rule.target.family;
    const std::array<Claim, 9> claims{{{"family", m.family},
                                       {"src", m.src.family},
                                       {over ? "prefix" : "dst", m.dst.family},
                                       {"proto", by_proto},
                                       {"ctorigsrc", m.conn.orig_src.family},
                                       {"ctorigdst", m.conn.orig_dst.family},
                                       {"ctreplsrc", m.conn.reply_src.family},
                                       {"ctrepldst", m.conn.reply_dst.family},
                                       {"to", target}}};
    const Claim* first = nullptr;
    for (const Claim& claim : claims) {
        if (claim.family == ct::Family::None) continue;
        if (first == nullptr) first = &claim;
        if (claim.family == first->family) continue;
        never_matches(section, claim.key,
                      fmt::format("'{}' is {}, but '{}' is {}", first->key,
                                  family_name(first->family), claim.key, family_name(claim.family)),
                      "write a rule for each family");
    }
    return first == nullptr ? ct::Family::None : first->family;
}

void check_conditions(Section& section, const nat::Match& m) {
    const bool has_ports = m.proto >= 0 && nat::has_ports(static_cast<std::uint8_t>(m.proto));
    const bool conn_has_ports = m.conn.proto >= 0 && !m.conn.not_proto &&
                                nat::has_ports(static_cast<std::uint8_t>(m.conn.proto));
    for (const std::string_view key : {"sport", "dport"}) {
        if (!section.has(key) || has_ports) continue;
        if (m.proto < 0)
            section.problem(key, fmt::format("'{}' stands without 'proto'", key),
                            "name the protocols, like proto = [\"tcp\", \"udp\"]");
        else
            never_matches(section, key,
                          fmt::format("protocol {} has no ports",
                                      protocol_name(static_cast<std::uint8_t>(m.proto))),
                          fmt::format("leave '{}' out, or name a protocol with ports", key));
    }
    if ((m.conn.packet_mark & ~m.conn.packet_mark_mask) != 0 && !m.conn.not_packet_mark)
        never_matches(
            section, "packet_mark", "the mark has bits outside of its mask",
            fmt::format("write \"{:#x}/{:#x}\" or a wider mask",
                        m.conn.packet_mark & m.conn.packet_mark_mask, m.conn.packet_mark_mask));
    for (const std::string_view key :
         {"ctorigsrcport", "ctorigdstport", "ctreplsrcport", "ctrepldstport"})
        if (section.has(key) && !has_ports && !conn_has_ports)
            section.problem(key, fmt::format("'{}' stands without a protocol that has ports", key),
                            "name the protocols, like proto = [\"tcp\", \"udp\"]");
    if ((m.mark & ~m.mark_mask) != 0)
        never_matches(section, "mark", "the mark has bits outside of its mask",
                      fmt::format("write \"{:#x}/{:#x}\" or a wider mask", m.mark & m.mark_mask,
                                  m.mark_mask));
    const auto excludes = [&](std::string_view key, std::uint32_t mark, std::uint32_t mask) {
        if ((mark & ~mask) != 0)
            section.problem(
                key,
                fmt::format("'{}' excludes nothing: it has bits outside of its "
                            "mask",
                            key),
                fmt::format("write \"!{:#x}/{:#x}\" or a wider mask", mark & mask, mask));
    };
    excludes("mark", m.not_mark, m.not_mark_mask);
    if (m.conn.not_packet_mark)
        excludes("packet_mark", m.conn.packet_mark, m.conn.packet_mark_mask);
    if (m.not_src && m.src.length == 0 && m.src.family != ct::Family::None)
        never_matches(section, "src", "it excludes every source", "leave 'src' out");
    if (m.not_dst && m.dst.length == 0 && m.dst.family != ct::Family::None)
        never_matches(section, "dst", "it excludes every destination", "leave 'dst' out");
}

/// Keys that only some actions take.
void check_keys(Section& section, Action action) {
    const auto only_with = [&](std::string_view key, bool meant, std::string_view actions) {
        if (section.has(key) && !meant)
            section.problem(key, fmt::format("action \"{}\" takes no '{}'", name_of(action), key),
                            fmt::format("leave it out; it belongs to {}", actions));
    };
    only_with("to", takes_address(action), "snat, dnat and nat64");
    only_with("ports", is_nat(action), "snat, masquerade, dnat, redirect and nat64");
    only_with("random", is_nat(action), "snat, masquerade, dnat, redirect and nat64");
    only_with("random_fully", is_nat(action), "snat, masquerade, dnat, redirect and nat64");
    only_with("port_base", is_nat(action) && action != Action::Nat64,
              "snat, masquerade, dnat and redirect");
    only_with("persistent", needs_address(action), "snat and dnat");
    only_with("netmap", needs_address(action), "snat and dnat");
    only_with("hairpin", action == Action::Dnat, "dnat");
    only_with("value", takes_value(action), "mark, packet-mark, label and zone");
    only_with("mask", nat::goes_on(action) && action != Action::Label,
              "mark, packet-mark, save-mark and restore-mark");
    const bool zones = action == Action::Zone || action == Action::Track;
    only_with("zone_scope", zones, "zone and track");
    for (const std::string_view key : {"set_zone", "timeout", "liberal", "helper", "ctevents"})
        only_with(key, action == Action::Track, "track");
}

void check_value(Section& section, const nat::Rule& rule) {
    if (rule.action == Action::Label && rule.value > 127)
        section.problem("value", fmt::format("label {} is out of bounds", rule.value),
                        "write a number from 0 to 127");
    if (!takes_value(rule.action)) return;
    if (!section.has("value"))
        section.problem("action", fmt::format("action \"{}\" has no 'value'", name_of(rule.action)),
                        "say which, like value = 1");
    if (rule.action == Action::Zone && rule.value > 0xffff)
        section.problem("value", fmt::format("zone {} is out of bounds", rule.value),
                        "write a number from 0 to 65535");
}

/// A prefix is mapped to one of the same size, so that no two addresses become one.
void check_netmap(Section& section, const nat::Rule& rule) {
    const nat::Target& t = rule.target;
    if (!t.netmap || t.family == ct::Family::None || !needs_address(rule.action)) return;
    const bool source = rule.action == Action::Snat;
    const nat::Prefix& from = source ? rule.match.src : rule.match.dst;
    const bool excludes = source ? rule.match.not_src : rule.match.not_dst;
    const std::string_view key = source ? "src" : "dst";
    if (from.family != ct::Family::None && from.family != t.family) return;
    const auto to = prefix_of(t);
    if (!to)
        section.problem("to", "'netmap' maps to a prefix, and 'to' is none",
                        "write one like \"192.0.2.0/24\"");
    else if (from.family == ct::Family::None || excludes || from.length < to->length)
        section.problem("netmap",
                        fmt::format("'netmap' to a prefix of length {} stands without such a '{}'",
                                    to->length, key),
                        fmt::format("write '{}' with a prefix as long or longer, so that no two "
                                    "addresses become one",
                                    key));
}

void check_shift(Section& section, const nat::Rule& rule) {
    const nat::Target& t = rule.target;
    if (t.port_base == 0) return;
    if (t.ports.any())
        section.problem("port_base", "'port_base' stands without ports to translate to",
                        "write the range as 'ports', or behind 'to'");
    else if (t.random)
        section.problem("port_base", "ports are shifted by 'port_base' and random at once",
                        "leave one of the two out");
}

void check_target(Section& section, const nat::Rule& rule) {
    if (!is_nat(rule.action)) return;
    const nat::Target& t = rule.target;
    const std::string_view ports_key = section.has("ports") ? "ports" : "to";
    if (needs_address(rule.action) && !section.has("to"))
        section.problem("action", fmt::format("action \"{}\" has no 'to'", name_of(rule.action)),
                        "say to which address, like to = \"192.0.2.1\"");
    if (t.family != ct::Family::None) {
        if (t.last_addr.bytes < t.first_addr.bytes)
            section.problem(
                "to",
                fmt::format("address range {}-{} ends before it begins",
                            to_string(t.family, t.first_addr), to_string(t.family, t.last_addr)),
                "write the lower address first");
        if (is_special({t.family, t.first_addr}) || is_special({t.family, t.last_addr}))
            section.problem("to",
                            fmt::format("{} is not an address of one station",
                                        to_string(t.family, t.first_addr)),
                            "write the address that packets are to have");
    }
    if (rule.action == Action::Nat64 && t.family == ct::Family::Ipv6)
        section.problem("to", "action \"nat64\" translates to IPv4, and 'to' is IPv6",
                        "write IPv4 addresses, or leave 'to' out for that of the port");
    check_netmap(section, rule);
    check_shift(section, rule);
    if (rule.hairpin && rule.match.not_in_port != ct::kNoPort)
        section.problem("in", "'hairpin' stands with a port excluded by 'in'",
                        "name the port that the outside address is of, or leave 'in' out");
    if (rule.hairpin && rule.action == Action::Dnat && (!section.has("dst") || rule.match.not_dst))
        section.problem("hairpin", "'hairpin' stands without the address that it is for",
                        "write the outside address as 'dst'");
    if (t.ports.any()) return;
    if (t.ports.first > t.ports.last)
        section.problem(
            ports_key,
            fmt::format("port range '{}-{}' ends before it begins", t.ports.first, t.ports.last),
            fmt::format("write \"{}-{}\"", t.ports.last, t.ports.first));
    else if (t.ports.first == 0)
        section.problem(ports_key, "port 0 cannot be translated to", "begin with port 1 or above");
    const bool has_ports =
        rule.match.proto >= 0 && nat::has_ports(static_cast<std::uint8_t>(rule.match.proto));
    // Identifiers of ICMP are taken from the range as well.
    const bool for_all =
        section.has("blocks") || section.has("deterministic") || rule.action == Action::Nat64;
    if (!has_ports && !for_all)
        section.problem(ports_key, "ports to translate to stand without a protocol that has ports",
                        "name the protocols, like proto = [\"tcp\", \"udp\"]");
}

/// What nat64 needs of the rest of the configuration.
void check_nat64(Section& section, const Config& config, const nat::Rule& rule) {
    if (rule.action != Action::Nat64) return;
    const int proto = rule.match.proto;
    if (proto >= 0 && !ct::is_icmp(static_cast<std::uint8_t>(proto)) &&
        !nat::has_ports(static_cast<std::uint8_t>(proto)))
        section.problem("proto",
                        fmt::format("action \"nat64\" does not translate protocol {}",
                                    protocol_name(static_cast<std::uint8_t>(proto))),
                        "name some of tcp, udp, udplite, sctp and icmpv6");
    if (config.dataplane.mode == Mode::Wire) {
        section.problem(
            "action", "action \"nat64\" needs routes of both families, and mode \"wire\" has none",
            "set mode = \"router\" in [dataplane]");
        return;
    }
    const bool has_ipv4 = std::any_of(
        config.ports.begin(), config.ports.end(),
        [](const PortConfig& port) { return port.primary(ct::Family::Ipv4) != nullptr; });
    if (!has_ipv4)
        section.problem("action", "action \"nat64\" needs a port with an IPv4 address to leave by",
                        "add one to 'addresses' of a port");
}

/// Masquerade and redirect take the address of a port: it must have one.
void check_own_address(Section& section, const Config& config, const nat::Rule& rule,
                       ct::Family family) {
    if (rule.action != Action::Masquerade && rule.action != Action::Redirect) return;
    if (config.dataplane.mode == Mode::Wire) {
        section.problem(
            "action",
            fmt::format("action \"{}\" needs the address of a port, and in mode \"wire\" "
                        "there is none",
                        name_of(rule.action)),
            rule.action == Action::Masquerade ? "use \"snat\" with 'to'"
                                              : "use \"dnat\" with 'to'");
        return;
    }
    const ct::PortId id =
        rule.action == Action::Masquerade ? rule.match.out_port : rule.match.in_port;
    if (id >= config.ports.size()) return;
    const PortConfig& port = config.ports[id];
    const bool found =
        family == ct::Family::None ? !port.addresses.empty() : port.primary(family) != nullptr;
    if (found) return;
    section.problem("action",
                    fmt::format("action \"{}\" needs {} address of port '{}', which has none",
                                name_of(rule.action),
                                family == ct::Family::None   ? "an"
                                : family == ct::Family::Ipv4 ? "an IPv4"
                                                             : "an IPv6",
                                port.name),
                    fmt::format("add one to 'addresses' of port '{}'", port.name));
}

}  // namespace

void check_rules(Section& section, const Config& config, std::span<const nat::Rule> rules) {
    if (rules.empty() || !check_chain(section, rules.front())) return;
    for (const nat::Rule& rule : rules) {
        const bool first = &rule == &rules.front();
        if (first) check_keys(section, rule.action);
        if (first) check_moment(section, rule);
        const ct::Family family = check_family(section, rule);
        check_conditions(section, rule.match);
        if (first) check_value(section, rule);
        check_target(section, rule);
        if (first) check_behaviour(section, rule);
        check_nat64(section, config, rule);
        check_own_address(section, config, rule, family);
    }
}

}  // namespace dp
