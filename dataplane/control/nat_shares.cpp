// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/control/nat_shares.hpp"

#include "nat/deterministic.hpp"

#include <algorithm>

namespace dp {
namespace {

/// True if a rule that the carrier settings `index` are of is for `protocol`.
bool serves(const Config& config, std::size_t index, std::optional<std::uint8_t> protocol) {
    return std::any_of(config.rules.begin(), config.rules.end(), [&](const nat::Rule& rule) {
        return rule.carrier == index &&
               (!protocol || ((rule.match.proto < 0 || rule.match.proto == *protocol) &&
                              rule.match.not_proto != *protocol));
    });
}

/// The shares of those for whom `subscriber(Deterministic)` gives an address.
template <class Subscriber>
std::vector<NatShare> shares(const Config& config, std::optional<std::uint8_t> protocol,
                             Subscriber subscriber) {
    std::vector<NatShare> out;
    for (std::size_t i = 0; i < config.carriers.size(); ++i) {
        const nat::CarrierSettings& s = config.carriers[i];
        if (!s.deterministic || !serves(config, i, protocol)) continue;
        const nat::Deterministic plan{*s.deterministic};
        std::optional<ct::Prefix> inside = subscriber(plan);
        if (!inside) continue;
        const auto share = plan.share_of(inside->family, inside->addr);
        if (!share) continue;
        inside->length = plan.plan().subscriber_length;
        out.push_back({masked(*inside),
                       {s.outside.family, s.outside.at(share->address)},
                       share->ports,
                       s.name,
                       s.line});
    }
    return out;
}

}  // namespace

std::vector<NatShare> shares_with(const Config& config, const Address& external, std::uint16_t port,
                                  std::optional<std::uint8_t> protocol) {
    return shares(config, protocol, [&](const nat::Deterministic& plan) {
        return plan.subscriber_at(external.family, external.addr, port);
    });
}

std::vector<NatShare> shares_of(const Config& config, const Address& inside,
                                std::optional<std::uint8_t> protocol) {
    return shares(config, protocol,
                  [&](const nat::Deterministic&) { return std::optional{host_prefix(inside)}; });
}

}  // namespace dp
