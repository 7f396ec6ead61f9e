// SPDX-License-Identifier: BSD-3-Clause
//
// How much of the external addresses' ports is in use, and by whom: counted out of the table when
// somebody asks, so that no packet pays for it.
#pragma once

#include "ct/conntrack.hpp"
#include "nat/setup.hpp"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace nat {

/// What is in use of one external address and protocol.
struct AddressUsage {
    ct::Family family = ct::Family::None;
    ct::Addr addr;
    std::uint8_t proto = 0;
    std::uint32_t ports = 0;      ///< ports, or ICMP identifiers, with a connection at least
    std::uint32_t available = 0;  ///< those that the rules may give away, in use or not
    std::uint32_t in_use = 0;     ///< of these, those with a connection
    std::uint32_t connections = 0;

    /// How much of what is available is in use, in percent.
    [[nodiscard]] double percent() const noexcept {
        return available == 0 ? 0 : 100.0 * in_use / available;
    }
};

/// What one inside address has of it.
struct SourceUsage {
    ct::Family family = ct::Family::None;
    ct::Addr addr;
    std::uint32_t ports = 0;  ///< external ones, of all addresses and protocols
    std::uint32_t connections = 0;
};

struct Usage {
    std::uint64_t connections = 0;        ///< with a translated source
    std::vector<AddressUsage> addresses;  ///< those with the most ports in use first
    std::vector<SourceUsage> sources;     ///< likewise
};

/// Counts the connections of `table` that have a source translated by `setup`, those of protocols
/// with ports or identifiers. Of addresses and of sources, the first `most`. A caller from IPv4
/// whom NAT64 lets in has none of ours, though his address changes. Looks at every entry, as a dump
/// does; any thread.
[[nodiscard]] Usage usage_of(const ct::Conntrack& table, const Setup& setup, ct::Nanos now,
                             std::size_t most);

}  // namespace nat
