// SPDX-License-Identifier: BSD-3-Clause
//
// [[nptv6]]: prefixes of IPv6 that stand for one another. [nat64] and the prefix of its rules: how
// IPv6 and IPv4 talk to each other.
#include "dataplane/control/config_parts.hpp"
#include "dataplane/control/notation.hpp"
#include "nat/pref64.hpp"

#include <fmt/format.h>

#include <array>

namespace dp {
namespace {

constexpr std::array<Word<nat::ZeroChecksum>, 2> kZeroChecksums{
    {{"compute", nat::ZeroChecksum::Compute}, {"drop", nat::ZeroChecksum::Drop}}};
/// What the well-known prefix may stand for: addresses of the Internet only?
constexpr std::array<Word<bool>, 2> kWellKnown{{{"global", true}, {"any", false}}};

/// `key` of [[nptv6]] as a prefix that hosts outside of one link can have, or a report.
std::optional<nat::Prefix> read_host_prefix(Section& section, std::string_view key) {
    const auto text = section.text(key);
    if (!text) return std::nullopt;
    const auto prefix = read_prefix(section, key, *text);
    if (!prefix) return std::nullopt;
    if (prefix->family != ct::Family::Ipv6) {
        section.problem(key, fmt::format("'{}' is {}, which is not IPv6", key, to_string(*prefix)),
                        "write a prefix like \"2001:db8:1::/48\"");
        return std::nullopt;
    }
    const Address first{prefix->family, prefix->addr};
    if (is_link_local(first) || prefix->addr.bytes[0] == 0xff || prefix->length == 0) {
        section.problem(key,
                        fmt::format("'{}' is {}, whose addresses are not of hosts alone", key,
                                    to_string(*prefix)),
                        "write a prefix like \"fd00:1::/48\" or \"2001:db8:1::/48\"");
        return std::nullopt;
    }
    if (prefix->length > nat::PrefixPair::kLongest) {
        section.problem(key,
                        fmt::format("'{}' has {} bits, which leaves no word of the address to keep "
                                    "checksums right",
                                    key, prefix->length),
                        fmt::format("write a prefix of at most {} bits (RFC 6296 3.5)",
                                    nat::PrefixPair::kLongest));
        return std::nullopt;
    }
    return prefix;
}

void check_pair(Section& section, const Config& config, const nat::PrefixPair& pair) {
    if (pair.internal.length != pair.external.length) {
        const bool widen = pair.internal.length < pair.external.length;
        nat::Prefix shorter = widen ? pair.internal : pair.external;
        const nat::Prefix& longer = widen ? pair.external : pair.internal;
        const std::string_view key = widen ? "internal" : "external";
        shorter.length = longer.length;
        section.problem(key,
                        fmt::format("the prefixes have {} and {} bits", pair.internal.length,
                                    pair.external.length),
                        fmt::format("write {} = \"{}\": only as many addresses can be mapped", key,
                                    to_string(shorter)));
        return;
    }
    if (overlap(pair.internal, pair.external))
        section.problem("external", "'internal' and 'external' are the same prefix",
                        "leave this section out, or write another 'external'");
    for (const nat::PrefixPair& other : config.nptv6) {
        if (overlap(other.external, pair.external))
            section.problem("external",
                            fmt::format("{} overlaps 'external' of the [[nptv6]] on line {}",
                                        to_string(pair.external), other.line),
                            "an outside address can stand for one inside address only");
        if (other.port == pair.port && overlap(other.internal, pair.internal))
            section.problem(
                "internal",
                fmt::format("{} overlaps 'internal' of the [[nptv6]] on line {} for the "
                            "same port",
                            to_string(pair.internal), other.line),
                "by one port an inside address can leave as one outside address only");
    }
}

void read_pair(Section& section, Config& config) {
    nat::PrefixPair pair;
    pair.line = section.line();
    for (const std::string_view key : {"internal", "external", "port"})
        if (!section.has(key))
            section.problem_at(section.line(), fmt::format("[[nptv6]] has no '{}'", key),
                               key == "port" ? "name the port that faces outside"
                                             : "write a prefix, like \"2001:db8:1::/48\"");
    const auto internal = read_host_prefix(section, "internal");
    const auto external = read_host_prefix(section, "external");
    pair.port = read_port_name(section, "port", config);
    section.finish();
    if (!internal || !external) return;
    pair.internal = *internal;
    pair.external = *external;
    check_pair(section, config, pair);
    config.nptv6.push_back(pair);
}

}  // namespace

void read_nptv6(Section& root, Config& config) {
    auto sections = root.sections("nptv6");
    if (sections.size() > kMaxPrefixPairs) {
        sections[kMaxPrefixPairs].problem_at(
            sections[kMaxPrefixPairs].line(),
            fmt::format("there are more than {} [[nptv6]]", kMaxPrefixPairs),
            "every IPv6 packet is compared with them in turn: write fewer");
        sections.erase(sections.begin() + kMaxPrefixPairs, sections.end());
    }
    for (Section& section : sections) read_pair(section, config);
}

void read_nat64(Section& root, Config& config) {
    auto section = root.section("nat64");
    if (!section) return;
    section->choice("zero_udp_checksum", config.nat64.zero_checksum, kZeroChecksums);
    // RFC 8200 5: every IPv6 link takes 1280 bytes.
    section->count("lowest_ipv6_mtu", config.nat64.lowest_ipv6_mtu, {1280, 9000});
    section->choice("well_known_prefix", config.nat64.well_known_is_global, kWellKnown);
    section->finish();
}

std::optional<nat::Prefix> read_pref64(Section& section, const Config& config, nat::Rule& rule) {
    const auto text = section.text("prefix");
    if (rule.action != nat::Action::Nat64) {
        if (section.has("prefix"))
            section.problem("prefix", "only action \"nat64\" takes a 'prefix'",
                            "match destinations by 'dst'");
        return std::nullopt;
    }
    constexpr const char* kExample =
        "write the prefix behind which IPv4 addresses stand, like prefix = \"64:ff9b::/96\"";
    if (section.has("dst"))
        section.problem("dst", "action \"nat64\" takes its destinations from 'prefix'",
                        "leave 'dst' out; a rule before this one may accept what is to stay IPv6");
    if (!section.has("prefix"))
        section.problem_at(section.line(), "action \"nat64\" has no 'prefix'", kExample);
    if (!text) return std::nullopt;
    const auto prefix = read_prefix(section, "prefix", *text);
    if (!prefix) return std::nullopt;
    if (prefix->family != ct::Family::Ipv6) {
        section.problem("prefix",
                        fmt::format("'prefix' is {}, which is not IPv6", to_string(*prefix)),
                        kExample);
        return std::nullopt;
    }
    if (!nat::is_pref64_length(prefix->length)) {
        section.problem("prefix", fmt::format("'prefix' has {} bits", prefix->length),
                        "write one of 32, 40, 48, 56, 64 or 96 bits (RFC 6052 2.2)");
        return std::nullopt;
    }
    constexpr std::size_t kReserved = 8;  // RFC 6052 2.2: bits 64 to 71
    if (prefix->addr.bytes[kReserved] != 0) {
        section.problem("prefix",
                        fmt::format("bits 64 to 71 of {} are not zero", to_string(*prefix)),
                        "choose a prefix in which they are (RFC 6052 2.2)");
        return std::nullopt;
    }
    rule.global_only = config.nat64.well_known_is_global && *prefix == nat::kWellKnownPrefix;
    return prefix;
}

}  // namespace dp
