// SPDX-License-Identifier: BSD-3-Clause
//
// Deterministic NAT (RFC 7422): every subscriber has the same external address and ports for ever,
// and which they are follows from the configuration alone. So there is nothing to be logged, and
// whoever has the configuration can tell who had an external endpoint, both ways by arithmetic.
//
// Subscribers are numbered as they stand in the inside prefix: addresses of IPv4, prefixes of a
// set length of IPv6. Each external address serves `ratio` of them, in order ("sequential" in
// RFC 7422 2.2):
//
//   subscriber n:  address  n / ratio
//                  ports    first + (n mod ratio) * each  ...  of which there are `each`
//
// What is left behind the shares, at least `reserve` ports of each address, is for blocks that are
// given out when a share is used up (nat/carrier.hpp); those are logged. Ports 0-1023 are left out
// unless the rule gives ports of its own.
#pragma once

#include "ct/wire/prefix.hpp"
#include "nat/address_range.hpp"
#include "nat/rule.hpp"

#include <cstdint>
#include <optional>
#include <string>

namespace nat {

/// External ports that are given to subscribers where the rule names none.
inline constexpr PortRange kSubscriberPorts{1024, 65535};

/// A subscriber's external address and ports.
struct Share {
    std::uint32_t address = 0;  ///< its number in the range of external addresses
    PortRange ports;

    friend bool operator==(const Share&, const Share&) noexcept = default;
};

/// What the arithmetic depends on.
struct DeterministicPlan {
    Prefix inside;
    std::uint8_t subscriber_length = 32;  ///< bits of an address that name a subscriber
    AddressRange outside;
    PortRange ports = kSubscriberPorts;
    std::uint32_t ports_each = 0;  ///< 0: as many as there are
    std::uint32_t reserve = 0;     ///< ports of each address that no share takes

    friend bool operator==(const DeterministicPlan&, const DeterministicPlan&) noexcept = default;
};

class Deterministic {
public:
    /// The most bits by which an inside prefix may be shorter than what names a subscriber.
    static constexpr unsigned kMostSubscriberBits = 22;
    /// Fewer ports than this are no use to a subscriber.
    static constexpr std::uint32_t kLeastPortsEach = 16;

    /// Throws std::invalid_argument with fault().
    explicit Deterministic(const DeterministicPlan& plan);

    /// Why `plan` gives no shares, in the operator's words; empty if it does.
    [[nodiscard]] static std::string fault(const DeterministicPlan& plan);

    [[nodiscard]] const DeterministicPlan& plan() const noexcept { return plan_; }
    [[nodiscard]] std::uint32_t subscribers() const noexcept { return subscribers_; }
    /// Subscribers that share an external address.
    [[nodiscard]] std::uint32_t ratio() const noexcept { return ratio_; }
    [[nodiscard]] std::uint32_t ports_each() const noexcept { return each_; }
    /// The ports of each address that are in no share; none if there is no port left.
    [[nodiscard]] std::optional<PortRange> overflow() const noexcept;

    /// The share of the subscriber that `inside` belongs to; none if it is not in the prefix.
    [[nodiscard]] std::optional<Share> share_of(ct::Family family,
                                                const ct::Addr& inside) const noexcept;
    /// The subscriber, an address or prefix, whose share has this external endpoint; none if no
    /// share has.
    [[nodiscard]] std::optional<Prefix> subscriber_at(ct::Family family, const ct::Addr& outside,
                                                      std::uint16_t port) const noexcept;

private:
    DeterministicPlan plan_;
    std::uint32_t subscribers_ = 0;
    std::uint32_t ratio_ = 0;
    std::uint32_t each_ = 0;
};

}  // namespace nat
