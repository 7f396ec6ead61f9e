// SPDX-License-Identifier: BSD-3-Clause
//
// Source NAT as the pipeline composes it with the tracker: one rule, a range of external addresses.
#pragma once

#include "ct/conntrack.hpp"
#include "nat/rule_set.hpp"
#include "nat/setup.hpp"

#include <cstdint>
#include <span>

namespace bench {

/// The rules and mappings of one table. Each worker passes its own WorkerId.
class Snat {
public:
    /// The port by which everything leaves.
    static constexpr ct::PortId kOutside = 1;

    /// Maps all that is tracked in `table` to `addresses` addresses from 192.0.2.1 on.
    Snat(ct::Conntrack& table, std::uint8_t addresses, ct::WorkerId workers = 1,
         const nat::Behaviour& behaviour = {});

    /// See nat::Setup.
    void foresee(ct::WorkerId w, std::span<ct::Packet> burst, std::size_t k) const noexcept {
        setup_.foresee(w, burst, k);
    }

    /// Takes a packet whose connection was just opened to one in the table. False if it was dropped
    /// on the way; then nothing is left of the connection.
    bool bind(ct::WorkerId w, ct::Packet& p, ct::Nanos now) noexcept;

private:
    ct::Conntrack& table_;
    nat::RuleSet rules_;
    nat::Setup setup_;
};

}  // namespace bench
