// SPDX-License-Identifier: BSD-3-Clause
//
// Shares of deterministic NAT (RFC 7422), computed from a configuration both ways.
#pragma once

#include "dataplane/control/config.hpp"
#include "dataplane/control/notation.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace dp {

/// What a subscriber has by a rule, for as long as the configuration says so.
struct NatShare {
    ct::Prefix inside;  ///< the subscriber
    Address outside;
    nat::PortRange ports;
    std::string rule;
    int line = 0;  ///< of the rule
};

/// The shares that the external endpoint is in, by rules for `protocol` if there is one.
[[nodiscard]] std::vector<NatShare> shares_with(const Config& config, const Address& external,
                                                std::uint16_t port,
                                                std::optional<std::uint8_t> protocol);

/// The shares of the subscriber that `inside` belongs to.
[[nodiscard]] std::vector<NatShare> shares_of(const Config& config, const Address& inside,
                                              std::optional<std::uint8_t> protocol);

}  // namespace dp
