// SPDX-License-Identifier: BSD-3-Clause
//
// Where a destination lies. Longest-prefix match by rte_fib (DIR-24-8: one memory access for
// prefixes up to 24 bits) and rte_fib6 (the trie variant of the same), from a table of next hops
// that the configuration implies: own addresses, subnets of the ports, routes.
//
// A table never changes, so readers need no lock. Another one is built when the addresses of a port
// change; what is the same in both is the list of next hops, which routes and ports make, so that a
// packet may be routed by one table and sent by the next.
#pragma once

#include "ct/wire/packet.hpp"
#include "ct/wire/tuple.hpp"
#include "dataplane/control/address_book.hpp"
#include "dataplane/control/config.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

struct rte_fib;
struct rte_fib6;

namespace dp {

/// What is to be done with a packet for a destination.
enum class HopKind : std::uint8_t {
    Unreachable,  ///< no route
    Discard,      ///< must not be forwarded: foreign multicast, link-local scope
    Blackhole,    ///< a route says that it ends here
    Local,        ///< one of Sluice's own addresses
    Group,        ///< broadcast of a subnet, or a multicast group of the link: taken in, no errors
    Link,         ///< the destination is a neighbour on `port`
    Gateway,      ///< the neighbour `gateway` on `port` forwards it
};

struct NextHop {
    HopKind kind = HopKind::Unreachable;
    ct::Family family = ct::Family::None;
    ct::PortId port = ct::kNoPort;  ///< of Link and Gateway
    ct::Addr gateway;               ///< of Gateway

    friend bool operator==(const NextHop&, const NextHop&) noexcept = default;
};

/// Any thread may look up; nobody changes it.
class RouteTable {
public:
    /// Index of the hop that stands for "no route".
    static constexpr std::uint32_t kNoRoute = 0;

    /// Bytes that a table takes, about: 32 MiB for each family, and second levels.
    static constexpr std::size_t kBytes = std::size_t{2} * 40 << 20U;

    /// Makes the table of `config`'s routes and of `addresses`; memory comes from NUMA node `numa`
    /// (-1: any). EAL runs. Throws std::runtime_error if DPDK has no memory for it.
    RouteTable(const Config& config, const AddressBook& addresses, int numa = -1);

    /// Index of the next hop for `dst`, an address of `family`.
    [[nodiscard]] std::uint32_t lookup(ct::Family family, const ct::Addr& dst) const noexcept;
    /// The next hop with that index.
    [[nodiscard]] const NextHop& hop(std::uint32_t index) const noexcept { return hops_[index]; }
    /// The hop for neighbours on `port`, whatever their address: for link-local destinations.
    [[nodiscard]] std::uint32_t on_link(ct::Family family, ct::PortId port) const noexcept;

private:
    struct FreeFib {
        void operator()(rte_fib* fib) const noexcept;
        void operator()(rte_fib6* fib) const noexcept;
    };

    void list_hops(const Config& config);
    void create(const Config& config, const AddressBook& addresses, int numa);
    [[nodiscard]] std::uint32_t hop_index(const NextHop& hop);
    void add(const nat::Prefix& prefix, const NextHop& hop);
    void add_scopes();
    void add_subnets(ct::PortId id, std::span<const InterfaceAddress> addresses);
    void add_route(const RouteConfig& route);
    void add_own(std::span<const InterfaceAddress> addresses);

    /// No two alike; kNoRoute first, then on_link() by port and family; see list_hops().
    std::vector<NextHop> hops_;
    /// Null if there is nothing of the family: then all of it is unreachable.
    std::unique_ptr<rte_fib, FreeFib> fib4_;
    std::unique_ptr<rte_fib6, FreeFib> fib6_;
};

}  // namespace dp
