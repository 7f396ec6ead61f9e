// SPDX-License-Identifier: BSD-3-Clause
//
// The profiles under which ports change:
//
//   redirect  what clients send to server .10 ends in the router itself, on the first port of a
//             range, and what they send to .11 on any of one; server .12 listens on any of one
//   ports     client .10 gets a random port of a range, .11 a fully random one, .12 one that
//             masquerade chooses, .13 one of a range that has not its own
//   crowded   all clients have the same ports, talk to the same server and are behind one address:
//             the first keeps its port, the others cannot
//
// Where a rule lets a router choose, each chooses otherwise; port_book.hpp says what is compared.
#pragma once

#include "tests/differential/trace.hpp"

#include <cstdint>
#include <optional>
#include <string>

namespace differential {

/// The rules of chain nat, of Nat::Redirect, Nat::Ports and Nat::Crowded.
struct NftChains {
    std::string before;  ///< routing
    std::string behind;
};
[[nodiscard]] NftChains nft_port_rules(Nat nat);
[[nodiscard]] std::string config_port_rules(Nat nat);

/// What a rule leaves to the router.
struct Choice {
    std::uint16_t first = 0;  ///< of the ports that it may choose from
    std::uint16_t last = 0xffff;
    bool always = true;  ///< even if the connection's own is free
    bool source = true;  ///< the client's port, else the server's
};
/// The choice that a router has for a connection; none if its ports are as the rules say.
[[nodiscard]] std::optional<Choice> choice_of(Nat nat, const ct::Tuple& original);

}  // namespace differential
