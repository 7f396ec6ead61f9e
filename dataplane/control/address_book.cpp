// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/control/address_book.hpp"

#include "dataplane/control/config_parts.hpp"
#include "dataplane/control/filter.hpp"
#include "dataplane/control/notation.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace dp {
namespace {

constexpr std::uint16_t kIpv6LeastMtu = 1280;  // RFC 8200 5

/// Throws if the address of `address` is somebody else's, as the configuration says.
void check_not_elsewhere(const Config& config, const nat::Prefix& address) {
    const auto is_it = [&](ct::Family family, const ct::Addr& a) {
        return family == address.family && a == address.addr;
    };
    for (const RouteConfig& route : config.routes) {
        if (route.via && is_it(route.to.family, *route.via))
            throw BadParameter{fmt::format("{} is the gateway of the route to {}",
                                           to_string(address.family, address.addr),
                                           to_string(route.to))};
        if (route.to == masked(address))
            throw BadParameter{fmt::format("{} is what a [[route]] of the configuration leads to",
                                           to_string(route.to))};
    }
    for (const NeighbourConfig& n : config.neighbours)
        if (is_it(n.family, n.address))
            throw BadParameter{fmt::format("{} is the address of a [[neighbour]]",
                                           to_string(address.family, address.addr))};
}

}  // namespace

AddressBook::AddressBook(const Config& config) {
    for (const PortConfig& port : config.ports) ports_.push_back(port.addresses);
}

const InterfaceAddress* AddressBook::primary(ct::PortId port, ct::Family family) const noexcept {
    for (const InterfaceAddress& a : ports_[port])
        if (a.prefix.family == family) return &a;
    return nullptr;
}

bool AddressBook::is_own(ct::PortId port, ct::Family family,
                         const ct::Addr& address) const noexcept {
    const auto& own = ports_[port];
    return std::any_of(own.begin(), own.end(), [&](const InterfaceAddress& a) {
        return a.prefix.family == family && a.prefix.addr == address;
    });
}

std::optional<ct::Addr> AddressBook::source_for(ct::PortId port, ct::Family family,
                                                const ct::Addr& towards) const noexcept {
    for (const InterfaceAddress& a : ports_[port])
        if (a.prefix.family == family && a.subnet().contains(family, towards)) return a.prefix.addr;
    if (const InterfaceAddress* a = primary(port, family); a != nullptr) return a->prefix.addr;
    for (ct::PortId other = 0; other < ports_.size(); ++other)
        if (const InterfaceAddress* a = primary(other, family); a != nullptr) return a->prefix.addr;
    return std::nullopt;
}

std::vector<ct::Addr> AddressBook::all(ct::Family family) const {
    std::vector<ct::Addr> out;
    for (const auto& port : ports_)
        for (const InterfaceAddress& a : port)
            if (a.prefix.family == family) out.push_back(a.prefix.addr);
    return out;
}

std::vector<nat::PortAddresses> AddressBook::for_nat() const {
    std::vector<nat::PortAddresses> out;
    for (const auto& port : ports_) {
        std::vector<nat::Prefix> own;
        for (const InterfaceAddress& a : port) own.push_back(a.prefix);
        out.push_back(nat::PortAddresses::primary_of(own));
    }
    return out;
}

AddressBook AddressBook::with(const Config& config, ct::PortId port,
                              const nat::Prefix& address) const {
    const PortConfig& to = config.ports[port];
    if (config.dataplane.mode == Mode::Wire)
        throw BadParameter{"a port has no addresses in mode \"wire\""};
    if (const std::string why = unusable(address); !why.empty())
        throw BadParameter{fmt::format("{} {}", to_string(address), why)};
    if (ports_[port].size() >= kMaxAddresses)
        throw BadParameter{fmt::format("port '{}' has {} addresses, the most there can be", to.name,
                                       ports_[port].size())};
    if (address.family == ct::Family::Ipv6 && to.mtu < kIpv6LeastMtu)
        throw BadParameter{fmt::format("port '{}' has an MTU of {}, and IPv6 needs {}", to.name,
                                       to.mtu, kIpv6LeastMtu)};
    if (is_own(port, address.family, address.addr))
        throw BadParameter{fmt::format("port '{}' has {} already", to.name,
                                       to_string(address.family, address.addr))};
    for (ct::PortId other = 0; other < ports_.size(); ++other)
        for (const InterfaceAddress& a : ports_[other]) {
            const bool apart = other == port || is_link_local({address.family, address.addr}) ||
                               !overlap(a.prefix, address);
            if (!apart)
                throw BadParameter{fmt::format("{} overlaps {} of port '{}'", to_string(address),
                                               to_string(a.prefix), config.ports[other].name)};
        }
    check_not_elsewhere(config, address);
    check_address(config, port, address);
    AddressBook out = *this;
    out.ports_[port].push_back({address});
    return out;
}

AddressBook AddressBook::without(const Config& config, ct::PortId port,
                                 const nat::Prefix& address) const {
    AddressBook out = *this;
    if (std::erase(out.ports_[port], InterfaceAddress{address}) != 0) return out;
    std::string has;
    for (const InterfaceAddress& a : ports_[port])
        has += (has.empty() ? "" : ", ") + to_string(a.prefix);
    throw BadParameter{fmt::format("port '{}' does not have {}; it has {}", config.ports[port].name,
                                   to_string(address), has.empty() ? "no address" : has)};
}

}  // namespace dp
