// SPDX-License-Identifier: BSD-3-Clause
//
// The parts that a file is read in. Later parts rely on earlier ones: ports need the mode; rules,
// routes and neighbours need the ports. Each reads its sections, checks them, and finishes them.
#pragma once

#include "dataplane/control/config.hpp"
#include "dataplane/control/config_reader.hpp"
#include "dataplane/control/notation.hpp"

#include <span>

namespace dp {

/// Limits that keep one file's mistakes from costing much: [[port]] (DPDK's RTE_MAX_ETHPORTS is
/// 32), what the lists of one [[rule]] may multiply to, and what all rules come to.
inline constexpr std::size_t kMaxPorts = 32;
inline constexpr std::size_t kMaxAddresses = 256;  ///< of one port
inline constexpr std::size_t kMaxRulesPerSection = 256;
inline constexpr std::size_t kMaxRules = 8192;
inline constexpr std::size_t kMaxPrefixPairs = 64;

void read_dataplane(Section& root, const Machine& machine, Config& config);
void read_conntrack(Section& root, const Machine& machine, Config& config);
void read_overflow(Section& conntrack, ct::Settings& out);  ///< of [conntrack]; needs its `max`
void read_services(Section& root, Config& config);          ///< [forward], [log], [control]
void read_nat_log(Section& root, Config& config);           ///< [nat_log]
void read_ports(Section& root, Config& config);
void read_tracking(Section& root, Config& config);  ///< [[zone]], [[timeout_policy]]
void read_rules(Section& root, Config& config);     ///< [[rule]], [filter]
void read_nptv6(Section& root, Config& config);     ///< [[nptv6]]
void read_nat64(Section& root, Config& config);     ///< [nat64]; before the rules
void read_routes(Section& root, Config& config);
void read_neighbours(Section& root, Config& config);

/// The keys of [[rule]] that go with actions track, zone and those that mark.
void read_track_options(Section& section, const Config& config, nat::Rule& rule);
/// The keys of [[rule]] that say how its mappings behave; needs the time-out policies.
void read_behaviour(Section& section, const Config& config, nat::Rule& rule);
/// Reports what of them contradicts the rule or one another.
void check_behaviour(Section& section, const nat::Rule& rule);
/// TrackOptions::variant of `timers = "rfc"`: the policy behind those that have names.
[[nodiscard]] std::uint8_t rfc_timers_variant(const Config& config);
/// Takes a leading '!' off. True if there was one.
[[nodiscard]] bool take_not(Text& text);
/// The same of each of a list, which excludes all of its values if one; reports a mixed one.
[[nodiscard]] bool take_not(Section& section, std::string_view key, std::vector<Text>& texts);
/// `key` of `section` as a mark, `excluded` if a '!' stands before it, or a report.
[[nodiscard]] std::optional<MarkMatch> read_mark(Section& section, std::string_view key,
                                                 bool& excluded);
/// The keys of [[rule]] that ask for ports by name, for states, status and the connection's mark.
void read_conditions(Section& section, const Config& config, nat::Match& match);
/// The keys of [[rule]] that ask for something of the connection, or for the packet's mark.
void read_conn_match(Section& section, nat::ConnMatch& out);

/// What a [[rule]] with action "static" comes to, of which `read` is what its keys say; or reports.
[[nodiscard]] std::vector<nat::Rule> static_rules(Section& section, const Config& config,
                                                  const std::vector<nat::Rule>& read);
/// The keys of [[rule]] that say what a subscriber may have: adds to config.carriers, and sets
/// rule.carrier. `src` is what the rule lists as such.
void read_carrier(Section& section, Config& config, nat::Rule& rule,
                  std::span<const nat::Prefix> src);
/// Reports rules of `sections` that give out what subscribers are given by another, and shares that
/// subscribers of two zones would have. `origin[i]` is the section that rule i comes from.
void check_carriers(std::span<Section> sections, const Config& config,
                    std::span<const std::size_t> origin);
/// Throws BadParameter if `port` may not have the address, because one rule gives it to subscribers
/// and another would give it to others.
void check_address(const Config& config, ct::PortId port, const nat::Prefix& address);
/// What read_carrier() and read_nat_log() read, for the log.
[[nodiscard]] std::string describe_carrier(const nat::CarrierSettings& settings);
[[nodiscard]] std::string describe_nat_log(const BlockLogConfig& log);

/// The prefix of a rule of action nat64, which is what its packets are addressed to.
[[nodiscard]] std::optional<nat::Prefix> read_pref64(Section& section, const Config& config,
                                                     nat::Rule& rule);

/// The id of the port that `name` names. Reports a name that no port has, and gives kNoPort.
[[nodiscard]] ct::PortId resolve_port(Section& section, const Config& config, const Text& name);

/// Reads `key` of `section` as a port's name; kNoPort if it is absent or names none.
[[nodiscard]] ct::PortId read_port_name(Section& section, std::string_view key,
                                        const Config& config);

/// `text` as a prefix without host bits, or a report.
[[nodiscard]] std::optional<nat::Prefix> read_prefix(Section& section, std::string_view key,
                                                     const Text& text);

/// `key` of `section` as a percentage within bounds, like "80%".
[[nodiscard]] std::optional<std::uint32_t> read_percent(Section& section, std::string_view key,
                                                        Bounds bounds);

/// What read_overflow() read, for the log.
[[nodiscard]] std::string describe_overflow(const ct::Settings& conntrack);

/// Why no station can have this address, or nothing.
[[nodiscard]] std::string unusable(const nat::Prefix& prefix);

/// The first port with a subnet that holds `address`; kNoPort if none has.
[[nodiscard]] ct::PortId port_with_subnet_of(const Config& config, ct::Family family,
                                             const ct::Addr& address);

/// Reports every condition that makes one of `rules` one that no packet can match, or that has no
/// meaning in its chain. All are of one `section`: they differ only in what its lists hold.
void check_rules(Section& section, const Config& config, std::span<const nat::Rule> rules);

}  // namespace dp
