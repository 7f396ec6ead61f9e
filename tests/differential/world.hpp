// SPDX-License-Identifier: BSD-3-Clause
//
// The rules of a profile, as nftables and as Sluice's configuration say them, and how the world
// looks to those who stand behind them. The generator speaks of hosts by their own addresses; here
// the packets get those by which the sender knows the receiver:
//
//   snat        the WAN knows client 192.0.2.N as 203.0.113.(100 + N), to which there is no route
//   masquerade  the WAN knows every client by the router's own address
//   dnat        clients know server 198.51.100.N as 203.0.113.N, to which there is no route
//
// So every port is kept, but under the profiles of port_rules.hpp: no two flows of a seed have the
// same (but for the protocols without ports, whose clients masquerade does not tell apart). The WAN
// opens nothing where there is NAT, or the kernel would choose a port at random for the client who
// comes second.
#pragma once

#include "tests/differential/trace.hpp"

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace differential {

/// What is given to `nft -f`; empty if the profile has no rules.
[[nodiscard]] std::string nft_rules(const Profile& profile);
/// The same in Sluice's configuration.
[[nodiscard]] std::string config_rules(const Profile& profile);

/// Makes of the generator's packets and keys what stands on the wire and in the table.
[[nodiscard]] std::vector<Step> dressed(const Profile& profile, std::vector<Step> steps);

/// Hosts that are known by another address than their own, and that address.
[[nodiscard]] std::vector<std::pair<ct::Addr, ct::Addr>> known_by(Nat nat);

/// The tuple by which the packet itself says that it is known, if it says so clearly.
[[nodiscard]] std::optional<ct::Tuple> tuple_in(const Bytes& ip);

}  // namespace differential
