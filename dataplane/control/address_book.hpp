// SPDX-License-Identifier: BSD-3-Clause
//
// The addresses that the ports have now. They begin as the configuration's and change at run time
// (sluicectl address). A book never changes: workers read the present one while control makes the
// next (ct/base/published.hpp).
#pragma once

#include "ct/wire/packet.hpp"
#include "dataplane/control/config.hpp"
#include "nat/setup.hpp"

#include <optional>
#include <span>
#include <vector>

namespace dp {

class AddressBook {
public:
    /// As the configuration has it.
    explicit AddressBook(const Config& config);

    /// The addresses of a port, in the order in which they came: the first of a family is the
    /// primary one.
    [[nodiscard]] std::span<const InterfaceAddress> of(ct::PortId port) const noexcept {
        return ports_[port];
    }
    /// The primary address of a family; null if the port has none.
    [[nodiscard]] const InterfaceAddress* primary(ct::PortId port,
                                                  ct::Family family) const noexcept;
    [[nodiscard]] bool is_own(ct::PortId port, ct::Family family,
                              const ct::Addr& address) const noexcept;
    /// The address of `port` to speak to `towards` from: one in its subnet, else the primary one,
    /// else that of any port.
    [[nodiscard]] std::optional<ct::Addr> source_for(ct::PortId port, ct::Family family,
                                                     const ct::Addr& towards) const noexcept;
    /// The addresses of a family that the ports have.
    [[nodiscard]] std::vector<ct::Addr> all(ct::Family family) const;
    /// What masquerade and redirect use, by PortId.
    [[nodiscard]] std::vector<nat::PortAddresses> for_nat() const;

    /// The book with one address more: the last of `port`. Throws BadParameter, with what is in its
    /// way, if a configuration could not have it either.
    [[nodiscard]] AddressBook with(const Config& config, ct::PortId port,
                                   const nat::Prefix& address) const;
    /// The book without an address of `port`; the length of `address` must be right as well. Throws
    /// BadParameter if the port does not have it.
    [[nodiscard]] AddressBook without(const Config& config, ct::PortId port,
                                      const nat::Prefix& address) const;

private:
    std::vector<std::vector<InterfaceAddress>> ports_;  ///< by PortId
};

}  // namespace dp
