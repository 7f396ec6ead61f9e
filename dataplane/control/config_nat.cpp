// SPDX-License-Identifier: BSD-3-Clause
//
// The keys of [[rule]] that say how the mappings of an snat, masquerade or nat64 rule behave.
#include "ct/base/time.hpp"
#include "dataplane/control/config_parts.hpp"
#include "dataplane/control/notation.hpp"

#include <fmt/format.h>

#include <array>

namespace dp {
namespace {

using nat::Filtering;
using nat::Mapping;
using nat::NoPort;
using nat::Pooling;
using nat::Refresh;

constexpr std::array<Word<Mapping>, 2> kMappings{
    {{"endpoint-dependent", Mapping::EndpointDependent},
     {"endpoint-independent", Mapping::EndpointIndependent}}};
constexpr std::array<Word<Filtering>, 3> kFilterings{
    {{"address-and-port-dependent", Filtering::AddressAndPortDependent},
     {"address-dependent", Filtering::AddressDependent},
     {"endpoint-independent", Filtering::EndpointIndependent}}};
constexpr std::array<Word<Pooling>, 2> kPoolings{
    {{"paired", Pooling::Paired}, {"arbitrary", Pooling::Arbitrary}}};
constexpr std::array<Word<Refresh>, 3> kRefreshes{
    {{"both", Refresh::Both}, {"outbound", Refresh::Outbound}, {"inbound", Refresh::Inbound}}};
constexpr std::array<Word<NoPort>, 2> kNoPorts{{{"drop", NoPort::Drop}, {"icmp", NoPort::Icmp}}};
constexpr std::array<Word<bool>, 2> kTimers{{{"linux", false}, {"rfc", true}}};

/// Seconds of RFC 6888 REQ-8, and the most that can be asked for: an hour.
constexpr std::uint32_t kRfcQuarantine_s = 120;
constexpr std::uint64_t kMaxQuarantine_s = 3600;

constexpr std::array<std::string_view, 8> kKeys{"mapping", "filtering", "pooling",   "parity",
                                                "refresh", "timers",    "exhausted", "quarantine"};

}  // namespace

void read_behaviour(Section& section, const Config& config, nat::Rule& rule) {
    nat::Behaviour& b = rule.behaviour;
    bool rfc = false;
    // There is no NAT64 of Linux's to be like; RFC 6146 3.1 and 1.2.3 say how it maps and filters.
    if (rule.action == nat::Action::Nat64) b.mapping = Mapping::EndpointIndependent;
    section.choice("mapping", b.mapping, kMappings);
    if (rule.action == nat::Action::Nat64 && b.endpoint_independent())
        b.filtering = Filtering::AddressDependent;
    section.choice("filtering", b.filtering, kFilterings);
    section.choice("pooling", b.pooling, kPoolings);
    section.choice("refresh", b.refresh, kRefreshes);
    section.choice("exhausted", b.exhausted, kNoPorts);
    section.choice("timers", rfc, kTimers);
    section.flag("parity", b.parity);
    if (rfc) b.variant = rfc_timers_variant(config);
    if (rfc && b.endpoint_independent()) b.quarantine_s = kRfcQuarantine_s;
    if (const auto seconds = section.duration("quarantine", {0, kMaxQuarantine_s}))
        b.quarantine_s = static_cast<std::uint32_t>(*seconds);
}

void check_behaviour(Section& section, const nat::Rule& rule) {
    const bool of_source = rule.action == nat::Action::Snat ||
                           rule.action == nat::Action::Masquerade ||
                           rule.action == nat::Action::Nat64;
    if (!of_source) {
        for (const std::string_view key : kKeys)
            if (section.has(key))
                section.problem(key, fmt::format("this action takes no '{}'", key),
                                "leave it out; it belongs to snat, masquerade and nat64");
        return;
    }
    const nat::Behaviour& b = rule.behaviour;
    if (b.endpoint_independent()) {
        if (b.pooling == Pooling::Arbitrary && rule.target.persistent)
            section.problem("pooling", "pooling is \"arbitrary\" and persistent is true",
                            "leave one out: they contradict each other");
        if (rule.target.port_base != 0)
            section.problem("mapping", "endpoint-independent mappings do not shift ports",
                            "leave 'mapping' or 'port_base' out");
        return;
    }
    if (b.filtering != Filtering::AddressAndPortDependent)
        section.problem("filtering",
                        "nobody outside can open a connection to an endpoint-dependent mapping",
                        "write mapping = \"endpoint-independent\", or leave 'filtering' out");
    if (b.quarantine_s != 0)
        section.problem("quarantine",
                        "the ports of endpoint-dependent mappings are used by several connections "
                        "at a time and do not rest",
                        "write mapping = \"endpoint-independent\", or leave 'quarantine' out");
}

std::uint8_t rfc_timers_variant(const Config& config) {
    return ct::variant::of_policy(config.policies.size() + 1);
}

}  // namespace dp
