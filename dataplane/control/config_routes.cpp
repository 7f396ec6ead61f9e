// SPDX-License-Identifier: BSD-3-Clause
//
// [[route]] and [[neighbour]]: what lies behind the ports.
#include "dataplane/control/config_parts.hpp"
#include "dataplane/control/notation.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <tuple>

namespace dp {
namespace {

/// `key` of `section` as an address that one station can have, or a report.
std::optional<Address> read_station(Section& section, std::string_view key) {
    const auto text = section.text(key);
    if (!text) return std::nullopt;
    const auto address = parse_address(text->value);
    if (address && !is_special(*address)) return address;
    section.problem(key,
                    fmt::format("'{}' is {}, which is not an address of one station", key,
                                in_quotes(text->value)),
                    "write one like \"192.0.2.254\" or \"2001:db8::1\"");
    return std::nullopt;
}

/// True if a station with `address` can stand on the link of `port`.
bool on_link(const PortConfig& port, const Address& address) {
    if (is_link_local(address)) return true;
    return std::any_of(
        port.addresses.begin(), port.addresses.end(),
        [&](const InterfaceAddress& own) { return overlap(own.prefix, host_prefix(address)); });
}

/// Reports an address on the link of `port` that is not there, or is Sluice's own.
void check_on_link(Section& section, std::string_view key, const Config& config, ct::PortId id,
                   const Address& address) {
    const std::string text = to_string(address.family, address.addr);
    for (const PortConfig& port : config.ports)
        for (const InterfaceAddress& own : port.addresses)
            if (own.prefix.family == address.family && own.prefix.addr == address.addr) {
                section.problem(
                    key, fmt::format("{} is the address of port '{}' itself", text, port.name),
                    "write the address of another station");
                return;
            }
    if (id == ct::kNoPort || on_link(config.ports[id], address)) return;
    std::string subnets;
    for (const InterfaceAddress& own : config.ports[id].addresses)
        subnets += (subnets.empty() ? "" : ", ") + to_string(own.subnet());
    section.problem(
        key, fmt::format("{} cannot be reached by port '{}'", text, config.ports[id].name),
        subnets.empty()
            ? fmt::format("give port '{}' an address in its subnet", config.ports[id].name)
            : fmt::format("write an address in {}", subnets));
}

/// The port of a route: as named, else the one whose subnet holds the gateway.
ct::PortId read_route_port(Section& section, const Config& config,
                           const std::optional<Address>& via) {
    if (section.has("port")) return read_port_name(section, "port", config);
    if (!via) {
        if (!section.has("via"))
            section.problem_at(section.line(), "[[route]] has neither 'via' nor 'port'",
                               "name the gateway, like via = \"192.0.2.254\"");
        return ct::kNoPort;
    }
    const ct::PortId id = port_with_subnet_of(config, via->family, via->addr);
    if (id == ct::kNoPort)
        section.problem(
            "via", fmt::format("{} is in no subnet of a port", to_string(via->family, via->addr)),
            is_link_local(*via) ? "name the 'port' too"
                                : "write a gateway that is, or add an address to a port");
    return id;
}

/// Reports what a route that leads nowhere does not have.
void check_blackhole(Section& section) {
    for (const std::string_view key : {"via", "port"})
        if (section.has(key))
            section.problem(key, fmt::format("a route with 'blackhole' has a '{}'", key),
                            "leave one of the two out");
}

void check_without_gateway(Section& section, const Config& config, const RouteConfig& route) {
    if (section.has("via")) return;
    if (route.to.length == 0) {
        section.problem("to", fmt::format("default route {} has no 'via'", to_string(route.to)),
                        "name the gateway, like via = \"192.0.2.254\"");
        return;
    }
    if (route.port == ct::kNoPort) return;
    const PortConfig& port = config.ports[route.port];
    if (port.primary(route.to.family) != nullptr) return;
    section.problem(
        "port",
        fmt::format("port '{}' has no address of the family of {}", port.name, to_string(route.to)),
        "give it one to ask its neighbours from, or name a gateway with 'via'");
}

/// Where in the file a thing is defined, by what names it. A file may have 100,000 routes.
template <class Key>
using Lines = std::map<Key, int>;
using RouteKey = std::tuple<ct::Family, std::uint8_t, decltype(ct::Addr::bytes)>;
using NeighbourKey = std::tuple<ct::Family, decltype(ct::Addr::bytes), ct::PortId>;

void check_duplicate(Section& section, const Config& config, const RouteConfig& route,
                     Lines<RouteKey>& defined) {
    const auto [other, is_new] =
        defined.try_emplace({route.to.family, route.to.length, route.to.addr.bytes}, route.line);
    if (!is_new) {
        section.problem("to",
                        fmt::format("route to {} is already defined on line {}",
                                    to_string(route.to), other->second),
                        "leave one out");
        return;
    }
    for (const PortConfig& port : config.ports)
        for (const InterfaceAddress& own : port.addresses) {
            if (own.subnet() != route.to) continue;
            section.problem("to",
                            fmt::format("{} is the subnet of port '{}', to which the route is "
                                        "implied",
                                        to_string(route.to), port.name),
                            "leave this route out");
            return;
        }
}

void read_route(Section& section, Config& config, Lines<RouteKey>& defined) {
    RouteConfig route;
    route.line = section.line();
    const auto to = section.text("to");
    if (!to && !section.has("to"))
        section.problem_at(section.line(), "[[route]] has no 'to'",
                           "write a prefix, like to = \"0.0.0.0/0\"");
    const auto prefix = to ? read_prefix(section, "to", *to) : std::nullopt;
    bool blackhole = false;
    section.flag("blackhole", blackhole);
    const auto via = read_station(section, "via");
    if (blackhole)
        check_blackhole(section);
    else
        route.port = read_route_port(section, config, via);
    if (via) check_on_link(section, "via", config, route.port, *via);
    section.finish();
    if (!prefix) return;
    route.to = *prefix;
    if (!blackhole) check_without_gateway(section, config, route);
    check_duplicate(section, config, route, defined);
    if (via && via->family != route.to.family)
        section.problem("via", fmt::format("'via' is not of the family of {}", to_string(route.to)),
                        "write a gateway of the same family");
    if (via) route.via = via->addr;
    config.routes.push_back(route);
}

void read_neighbour(Section& section, Config& config, Lines<NeighbourKey>& defined) {
    NeighbourConfig neighbour;
    neighbour.line = section.line();
    for (const std::string_view key : {"address", "mac", "port"})
        if (!section.has(key))
            section.problem_at(section.line(), fmt::format("[[neighbour]] has no '{}'", key),
                               "write 'address', 'mac' and 'port'");
    const auto address = read_station(section, "address");
    neighbour.port = read_port_name(section, "port", config);
    if (const auto text = section.text("mac")) {
        const auto mac = parse_mac(text->value);
        if (mac && ((*mac)[0] & 1) == 0)
            neighbour.mac = *mac;
        else
            section.problem(
                "mac", fmt::format("{} is no MAC address of one station", in_quotes(text->value)),
                "write one like \"02:00:00:00:00:01\" (the first byte even)");
    }
    section.finish();
    if (!address) return;
    neighbour.family = address->family;
    neighbour.address = address->addr;
    check_on_link(section, "address", config, neighbour.port, *address);
    const auto [other, is_new] = defined.try_emplace(
        {neighbour.family, neighbour.address.bytes, neighbour.port}, neighbour.line);
    if (!is_new)
        section.problem("address",
                        fmt::format("neighbour {} is already defined on line {}",
                                    to_string(neighbour.family, neighbour.address), other->second),
                        "leave one out");
    config.neighbours.push_back(neighbour);
}

/// The sections `[[key]]`, which only a router has; in mode "wire" a report instead.
std::vector<Section> router_sections(Section& root, std::string_view key, const Config& config) {
    auto sections = root.sections(key);
    if (config.dataplane.mode == Mode::Router || sections.empty()) return sections;
    root.problem_at(sections.front().line(), fmt::format("mode \"wire\" has no [[{}]]", key),
                    "leave it out, or set mode = \"router\" in [dataplane]");
    return {};
}

}  // namespace

void read_routes(Section& root, Config& config) {
    Lines<RouteKey> defined;
    for (Section& section : router_sections(root, "route", config))
        read_route(section, config, defined);
}

void read_neighbours(Section& root, Config& config) {
    Lines<NeighbourKey> defined;
    for (Section& section : router_sections(root, "neighbour", config))
        read_neighbour(section, config, defined);
}

}  // namespace dp
