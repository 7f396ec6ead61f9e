// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/route.hpp"

#include <rte_errno.h>
#include <rte_fib.h>
#include <rte_fib6.h>
#include <rte_memory.h>

#include <algorithm>
#include <atomic>
#include <stdexcept>
#include <string>

namespace dp {
namespace {

/// Next hops are stored in 16 bits, one of which rte_fib needs for itself.
inline constexpr std::size_t kMaxHops = (1U << 15) - 1;
/// Second-level tables: at most as many as 15 bits can name.
inline constexpr std::uint32_t kMaxTbl8 = (1U << 15) - 1;
/// Levels of eight bits that a /128 needs below the first 24.
inline constexpr std::uint32_t kTrieLevels = 13;

/// Tables of DPDK have names, and each name serves once in a process.
[[nodiscard]] std::string unique_name(const char* what) {
    static std::atomic<unsigned> next{0};
    return std::string{"sluice_"} + what + std::to_string(next.fetch_add(1));
}

inline constexpr NextHop kDiscard{
    .kind = HopKind::Discard, .family = ct::Family::None, .gateway = {}};
inline constexpr NextHop kGroup{.kind = HopKind::Group, .family = ct::Family::None, .gateway = {}};
inline constexpr NextHop kLocal{.kind = HopKind::Local, .family = ct::Family::None, .gateway = {}};

[[nodiscard]] NextHop hop_of(const RouteConfig& route) noexcept {
    if (route.port == ct::kNoPort)
        return {.kind = HopKind::Blackhole, .family = route.to.family, .gateway = {}};
    return {.kind = route.via.has_value() ? HopKind::Gateway : HopKind::Link,
            .family = route.to.family,
            .port = route.port,
            .gateway = route.via.value_or(ct::Addr{})};
}

/// Prefixes of `family` that there are: routes, and three for every address (itself, its subnet,
/// its broadcast).
[[nodiscard]] std::uint32_t prefixes(const Config& config, const AddressBook& addresses,
                                     ct::Family family) {
    std::size_t count = 3 * addresses.all(family).size();
    for (const RouteConfig& route : config.routes)
        if (route.to.family == family) ++count;
    return static_cast<std::uint32_t>(count);
}

[[nodiscard]] ct::Addr v4(std::uint32_t host_order) noexcept {
    return ct::Addr::v4(ct::Be32::from_host(host_order));
}

[[nodiscard]] bool is_link_local(const nat::Prefix& p) noexcept {
    return p.family == ct::Family::Ipv6 && p.addr.bytes[0] == 0xfe &&
           (p.addr.bytes[1] & 0xc0U) == 0x80;
}

/// The highest address of an IPv4 subnet.
[[nodiscard]] ct::Addr broadcast_of(const nat::Prefix& subnet) noexcept {
    return v4(subnet.addr.as_v4().host() | (0xffff'ffffU >> subnet.length));
}

}  // namespace

void RouteTable::FreeFib::operator()(rte_fib* fib) const noexcept {
    rte_fib_free(fib);
}
void RouteTable::FreeFib::operator()(rte_fib6* fib) const noexcept {
    rte_fib6_free(fib);
}

RouteTable::RouteTable(const Config& config, const AddressBook& addresses, int numa) {
    list_hops(config);
    create(config, addresses, numa);
    // A default route comes first: DPDK 22.11 lets it overwrite every route that is there already.
    for (const RouteConfig& route : config.routes)
        if (route.to.length == 0) add_route(route);
    // What is added later replaces an equal prefix: own addresses come last.
    add_scopes();
    for (ct::PortId id = 0; id < config.ports.size(); ++id) add_subnets(id, addresses.of(id));
    for (const RouteConfig& route : config.routes)
        if (route.to.length != 0) add_route(route);
    for (ct::PortId id = 0; id < config.ports.size(); ++id) add_own(addresses.of(id));
}

/// Every hop that there may be, whatever the addresses of the ports.
void RouteTable::list_hops(const Config& config) {
    hops_.emplace_back();
    for (ct::PortId id = 0; id < config.ports.size(); ++id)
        for (const ct::Family family : {ct::Family::Ipv4, ct::Family::Ipv6})
            hops_.push_back({.kind = HopKind::Link, .family = family, .port = id, .gateway = {}});
    for (const NextHop& hop : {kDiscard, kGroup, kLocal}) hops_.push_back(hop);
    for (const RouteConfig& route : config.routes) static_cast<void>(hop_index(hop_of(route)));
}

void RouteTable::create(const Config& config, const AddressBook& addresses, int numa) {
    const int socket = numa < 0 ? SOCKET_ID_ANY : numa;
    // Room for the scopes of add_scopes(), and for what rte_rib splits.
    static constexpr std::uint32_t kExtra = 64;
    if (const std::uint32_t count = prefixes(config, addresses, ct::Family::Ipv4); count > 0) {
        rte_fib_conf conf{};
        conf.type = RTE_FIB_DIR24_8;
        conf.default_nh = kNoRoute;
        conf.max_routes = static_cast<int>(count + kExtra);
        conf.dir24_8.nh_sz = RTE_FIB_DIR24_8_2B;
        conf.dir24_8.num_tbl8 = std::min(count + kExtra, kMaxTbl8);
        fib4_.reset(rte_fib_create(unique_name("fib").c_str(), socket, &conf));
        if (fib4_ == nullptr)
            throw std::runtime_error{std::string{"no memory for the IPv4 routes: "} +
                                     rte_strerror(rte_errno)};
    }
    if (const std::uint32_t count = prefixes(config, addresses, ct::Family::Ipv6); count > 0) {
        rte_fib6_conf conf{};
        conf.type = RTE_FIB6_TRIE;
        conf.default_nh = kNoRoute;
        conf.max_routes = static_cast<int>(count + kExtra);
        conf.trie.nh_sz = RTE_FIB6_TRIE_2B;
        conf.trie.num_tbl8 = std::min((count + kExtra) * kTrieLevels, kMaxTbl8);
        fib6_.reset(rte_fib6_create(unique_name("fib6_").c_str(), socket, &conf));
        if (fib6_ == nullptr)
            throw std::runtime_error{std::string{"no memory for the IPv6 routes: "} +
                                     rte_strerror(rte_errno)};
    }
}

std::uint32_t RouteTable::hop_index(const NextHop& hop) {
    const auto found = std::find(hops_.begin(), hops_.end(), hop);
    if (found != hops_.end()) return static_cast<std::uint32_t>(found - hops_.begin());
    if (hops_.size() == kMaxHops) throw std::runtime_error{"more than 32767 different next hops"};
    hops_.push_back(hop);
    return static_cast<std::uint32_t>(hops_.size() - 1);
}

void RouteTable::add(const nat::Prefix& prefix, const NextHop& hop) {
    const std::uint32_t index = hop_index(hop);
    int error = 0;
    if (prefix.family == ct::Family::Ipv4 && fib4_ != nullptr)
        error = rte_fib_add(fib4_.get(), prefix.addr.as_v4().host(), prefix.length, index);
    if (prefix.family == ct::Family::Ipv6 && fib6_ != nullptr)
        error = rte_fib6_add(fib6_.get(), prefix.addr.bytes.data(), prefix.length, index);
    if (error != 0)
        throw std::runtime_error{"route to " + to_string(prefix) + ": " + rte_strerror(-error)};
}

/// Addresses that are never forwarded to (RFC 6890), and those that every router listens to.
void RouteTable::add_scopes() {
    using ct::Family;
    add({v4(0x0000'0000), 8, Family::Ipv4}, kDiscard);  // "this network"
    add({v4(0xe000'0000), 4, Family::Ipv4}, kDiscard);  // multicast: there is no multicast routing
    add({v4(0xf000'0000), 4, Family::Ipv4}, kDiscard);  // reserved
    add({v4(0xe000'0000), 24, Family::Ipv4}, kGroup);   // multicast on the link (RFC 5771 4)
    add({v4(0xffff'ffff), 32, Family::Ipv4}, kGroup);   // limited broadcast
    add({{{0xff}}, 8, Family::Ipv6}, kDiscard);         // multicast
    add({{{0xff, 0x02}}, 16, Family::Ipv6}, kGroup);    // multicast on the link (RFC 4291 2.7)
    add({{{0xfe, 0x80}}, 10, Family::Ipv6}, kDiscard);  // link-local (RFC 4291 2.5.6)
}

void RouteTable::add_subnets(ct::PortId id, std::span<const InterfaceAddress> addresses) {
    for (const InterfaceAddress& address : addresses) {
        const nat::Prefix subnet = address.subnet();
        if (is_link_local(subnet)) continue;  // the same on every port: on_link() serves
        add(subnet, {.kind = HopKind::Link, .family = subnet.family, .port = id, .gateway = {}});
        if (subnet.family == ct::Family::Ipv4 && subnet.length <= 30)
            add({broadcast_of(subnet), 32, ct::Family::Ipv4}, kGroup);
    }
}

void RouteTable::add_route(const RouteConfig& route) {
    add(route.to, hop_of(route));
}

void RouteTable::add_own(std::span<const InterfaceAddress> addresses) {
    for (const InterfaceAddress& address : addresses) {
        const std::uint8_t whole = address.prefix.family == ct::Family::Ipv4 ? 32 : 128;
        add({address.prefix.addr, whole, address.prefix.family}, kLocal);
    }
}

std::uint32_t RouteTable::lookup(ct::Family family, const ct::Addr& dst) const noexcept {
    std::uint64_t hop = kNoRoute;
    if (family == ct::Family::Ipv4 && fib4_ != nullptr) {
        std::uint32_t ip = dst.as_v4().host();
        rte_fib_lookup_bulk(fib4_.get(), &ip, &hop, 1);
    } else if (family == ct::Family::Ipv6 && fib6_ != nullptr) {
        std::uint8_t ip[1][RTE_FIB6_IPV6_ADDR_SIZE];
        std::copy(dst.bytes.begin(), dst.bytes.end(), ip[0]);
        rte_fib6_lookup_bulk(fib6_.get(), ip, &hop, 1);
    }
    return static_cast<std::uint32_t>(hop);
}

std::uint32_t RouteTable::on_link(ct::Family family, ct::PortId port) const noexcept {
    return 1U + 2U * port + (family == ct::Family::Ipv6 ? 1U : 0U);
}

}  // namespace dp
