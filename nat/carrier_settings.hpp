// SPDX-License-Identifier: BSD-3-Clause
//
// What a source rule says of subscribers; nat/carrier.hpp does it.
#pragma once

#include "nat/address_range.hpp"
#include "nat/deterministic.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace nat {

/// Blocks of ports that are given out as they are needed.
struct BlockSettings {
    std::uint16_t size = 512;    ///< ports
    std::uint8_t most = 4;       ///< for each subscriber, up to kMostBlocks
    std::uint32_t idle_s = 120;  ///< without a connection before it is taken back

    friend bool operator==(const BlockSettings&, const BlockSettings&) noexcept = default;
};

/// What a subscriber may have at most; 0: no limit.
struct SubscriberLimits {
    std::uint32_t ports = 0;           ///< external ports, or ids of ICMP, of each protocol
    std::uint32_t connections = 0;     ///< at a time
    std::uint32_t new_per_second = 0;  ///< connections
    std::uint32_t burst = 0;           ///< connections at once; 0: new_per_second

    friend bool operator==(const SubscriberLimits&, const SubscriberLimits&) noexcept = default;
};

/// What a source rule says of subscribers.
struct CarrierSettings {
    std::string name;  ///< the rule's
    int line = 0;      ///< of the rule, in the configuration file
    AddressRange outside;
    /// Of masquerade: the external addresses are the port's own, which come and go, so there are
    /// limits only. `outside` is empty; whose a connection is follows from its source.
    bool own_address = false;
    std::vector<Prefix> inside;  ///< with own_address, the sources that it is for; empty: all
    PortRange ports = kSubscriberPorts;  ///< of each external address
    std::uint8_t ipv6_prefix = 64;       ///< bits of an IPv6 address that name a subscriber
    std::optional<DeterministicPlan> deterministic;
    std::optional<BlockSettings> blocks;  ///< with `deterministic`: of what no share takes
    SubscriberLimits limits;
    bool paired = true;  ///< blocks come from the subscriber's first address only (RFC 7857 5)

    friend bool operator==(const CarrierSettings&, const CarrierSettings&) noexcept = default;
};

}  // namespace nat
