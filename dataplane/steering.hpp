// SPDX-License-Identifier: BSD-3-Clause
//
// Which worker receives a packet. Where a port spreads packets over queues by a Toeplitz hash with
// a known key and table, the worker that will get the answers of a connection follows from their
// tuple; NAT chooses the external port so that it is the worker which opened the connection, and
// both directions stay on one core. Nothing depends on it being right: the table is shared.
#pragma once

#include "nat/steering.hpp"

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

namespace dp {

/// How a port's device spreads packets over its queues.
struct RssState {
    std::vector<std::uint8_t> key;        ///< of the Toeplitz hash; at least 40 bytes
    std::vector<std::uint16_t> queue_of;  ///< by the hash's low bits; the size is a power of two
    std::uint64_t fields = 0;             ///< RTE_ETH_RSS_*: what of which packets is hashed
};

/// Asks a device of DPDK that was told to spread by a hash. Nothing if it has one queue only, or
/// will not say how it spreads.
[[nodiscard]] std::optional<RssState> rss_state_of(std::uint16_t device);

/// The Toeplitz hash of a packet's addresses and ports, as devices compute it (DPDK's rte_thash.h),
/// a byte at a time: the hash is linear, so what each byte contributes can be looked up.
class ToeplitzHash {
public:
    /// `key` as in RssState. Throws std::invalid_argument if it is too short.
    explicit ToeplitzHash(const std::vector<std::uint8_t>& key);

    /// Of `t` as it stands on the wire; without its ports if `with_ports` is false.
    [[nodiscard]] std::uint32_t operator()(const ct::Tuple& t, bool with_ports) const noexcept;

private:
    static constexpr std::size_t kBytes = 36;            // IPv6: two addresses and two ports
    std::vector<std::array<std::uint32_t, 256>> share_;  ///< by position and value of a byte
};

class Steering final : public nat::Steering {
public:
    /// `ports` by PortId; nothing for one that is not known. `workers[port][queue]` receives from
    /// that queue. Throws std::invalid_argument if a state is not as described.
    Steering(const std::vector<std::optional<RssState>>& ports,
             std::vector<std::vector<ct::WorkerId>> workers);

    /// True if some port's spreading is known.
    [[nodiscard]] bool knows_any() const noexcept;

    [[nodiscard]] std::optional<ct::WorkerId> receiver(ct::PortId port,
                                                       const ct::Tuple& t) const noexcept override;
    [[nodiscard]] bool depends_on_ports(ct::PortId port,
                                        const ct::Tuple& t) const noexcept override;

private:
    struct Known {
        ToeplitzHash hash;
        std::vector<ct::WorkerId> worker_of;  ///< by the hash's low bits
        std::uint64_t fields = 0;
    };
    [[nodiscard]] const Known* known(ct::PortId port) const noexcept {
        return port < ports_.size() && ports_[port] ? &*ports_[port] : nullptr;
    }
    std::vector<std::optional<Known>> ports_;
};

}  // namespace dp
