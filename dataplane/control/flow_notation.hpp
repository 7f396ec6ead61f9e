// SPDX-License-Identifier: BSD-3-Clause
//
// Flows in one line, as tcpdump shows them: `tcp 10.0.0.1:1234 > 192.0.2.1:80`.
#pragma once

#include "ct/wire/prefix.hpp"
#include "ct/wire/tuple.hpp"
#include "dataplane/control/filter.hpp"

#include <cstdint>
#include <optional>
#include <string_view>

namespace dp {

/// Packets for which everything that is set holds.
struct FlowPattern {
    std::optional<std::uint8_t> proto;
    ct::Prefix src;  ///< family None: any
    ct::Prefix dst;
    std::optional<std::uint16_t> sport;  ///< only of protocols with ports
    std::optional<std::uint16_t> dport;
    std::optional<std::uint8_t> icmp_type;
    std::optional<std::uint8_t> icmp_code;
    std::optional<std::uint16_t> icmp_id;

    /// True if `t` is of the flow, in the direction in which it is written.
    [[nodiscard]] bool matches(const ct::Tuple& t) const noexcept;
    /// True if `t` is of the flow, in either direction.
    [[nodiscard]] bool matches_either_way(const ct::Tuple& t) const noexcept;
};

/// `[PROTOCOL] [ENDPOINT] [> ENDPOINT] [type N] [code N] [id N]`; an endpoint is ADDRESS,
/// ADDRESS/LENGTH, ADDRESS:PORT, [IPV6]:PORT, :PORT or `*`. Throws BadParameter, which says what is
/// wrong and what would be right.
[[nodiscard]] FlowPattern parse_flow_pattern(std::string_view text);

/// The tuple that the pattern names: of ICMP that of an echo request with id 0, unless it says
/// otherwise. Throws BadParameter if something is missing.
[[nodiscard]] ct::Tuple whole_tuple(const FlowPattern& pattern);

/// The filter that names the tuple and no other, as request `explain` has it.
[[nodiscard]] Filter filter_of(const ct::Tuple& t);

}  // namespace dp
