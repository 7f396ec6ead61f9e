// SPDX-License-Identifier: BSD-3-Clause
//
// What the files that implement Setup share.
#pragma once

#include "ct/wire/headers.hpp"
#include "nat/mappings.hpp"
#include "nat/rule.hpp"
#include "nat/setup.hpp"

#include <utility>

namespace nat {

using PortField = ct::Be16 ct::Tuple::*;

/// The field of the reply tuple that a source translation may change; null if the protocol has
/// nothing but addresses.
[[nodiscard]] inline PortField source_field(std::uint8_t proto) noexcept {
    if (has_ports(proto)) return &ct::Tuple::dport;
    return ct::is_icmp(proto) ? &ct::Tuple::sport : nullptr;  // the identifier
}

/// True if sources are mapped to the address of the port that they leave by.
[[nodiscard]] inline bool uses_own_address(const Rule& rule) noexcept {
    return rule.action == Action::Masquerade ||
           (rule.action == Action::Nat64 && rule.target.family == ct::Family::None);
}

/// True if sources are mapped by the rule.
[[nodiscard]] inline bool maps_sources(const Rule& rule) noexcept {
    return rule.action == Action::Snat || rule.action == Action::Masquerade ||
           rule.action == Action::Nat64;
}

/// The source endpoint.
[[nodiscard]] inline Endpoint source_of(const ct::Tuple& t) noexcept {
    return {t.src, t.sport, t.zone, t.proto, t.family};
}

/// The tuples of a connection between the two, whoever the remote endpoint is: what a carrier goes
/// by.
[[nodiscard]] inline std::pair<ct::Tuple, ct::Tuple> flow_of(const Endpoint& inside,
                                                             const Endpoint& external) noexcept {
    std::pair<ct::Tuple, ct::Tuple> out;
    out.first.src = inside.addr;
    out.first.zone = inside.zone;
    out.first.proto = inside.proto;
    out.first.family = inside.family;
    ct::Tuple& reply = out.second;
    reply.dst = external.addr;
    reply.proto = external.proto;
    reply.family = external.family;
    (ct::is_icmp(reply.proto) ? reply.sport : reply.dport) = external.port;
    return out;
}

}  // namespace nat
