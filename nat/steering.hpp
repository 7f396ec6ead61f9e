// SPDX-License-Identifier: BSD-3-Clause
//
// What NAT asks of whoever knows how packets come to workers.
#pragma once

#include "ct/conntrack.hpp"

#include <optional>

namespace nat {

/// Any thread; what it says does not change.
class Steering {
public:
    Steering() = default;
    Steering(const Steering&) = delete;
    Steering& operator=(const Steering&) = delete;
    virtual ~Steering() = default;

    /// The worker that will receive a packet with tuple `t` that comes in by `port`. Nothing if
    /// that is not known.
    [[nodiscard]] virtual std::optional<ct::WorkerId> receiver(
        ct::PortId port, const ct::Tuple& t) const noexcept = 0;
    /// True if the answer would be another for some other ports of `t`.
    [[nodiscard]] virtual bool depends_on_ports(ct::PortId port,
                                                const ct::Tuple& t) const noexcept = 0;
};

}  // namespace nat
