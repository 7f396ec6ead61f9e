// SPDX-License-Identifier: BSD-3-Clause
//
// What a running daemon would make of the next packets of a flow: `sluicectl explain`. It looks and
// changes nothing: no rule is counted, no port taken, no neighbour asked.
//
// Of a flow that has a connection it shows the entry and what the next packet of either direction
// would meet; of one that has none, what its first packet would. Packets are taken to be
// well-formed, in order and not too large; where the port that one comes in by is not said, the
// route back to its source tells.
#pragma once

#include "ct/conntrack.hpp"
#include "dataplane/control/config.hpp"
#include "dataplane/control/story.hpp"
#include "dataplane/forward.hpp"
#include "nat/rule_set.hpp"
#include "nat/setup.hpp"

namespace dp {

/// What an explanation looks at.
struct Outlook {
    const Config& config;
    const ct::Conntrack& conntrack;
    const nat::RuleSet& rules;
    const Forward& forward;
    const nat::Setup& nat;
};

/// The story of the flow with tuple `t`, whose packets come in by `in_port`; kNoPort: not said. Any
/// thread.
[[nodiscard]] Story explain_flow(const Outlook& at, const ct::Tuple& t, ct::PortId in_port,
                                 ct::Nanos now);

}  // namespace dp
