// SPDX-License-Identifier: BSD-3-Clause
//
// A configuration as text for the log, and addresses as text for everybody.
#include "dataplane/control/config_parts.hpp"
#include "dataplane/control/notation.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <arpa/inet.h>
#include <array>
#include <iterator>

namespace dp {
namespace {

std::string_view name_of(HugePages h) {
    switch (h) {
        case HugePages::Auto:
            return "auto";
        case HugePages::Size1G:
            return "1G";
        case HugePages::Size2M:
            return "2M";
        case HugePages::None:
            return "none";
    }
    return "?";
}

std::string number_or_auto(std::uint32_t n) {
    return n == 0 ? "auto" : std::to_string(n);
}

std::string workers_text(const DataplaneConfig& d) {
    if (d.worker_cores.empty()) return number_or_auto(d.workers);
    return fmt::format("{} on cores {}", d.workers, fmt::join(d.worker_cores, ","));
}

void describe_port(std::string& out, const Config& config, const PortConfig& port) {
    auto to = std::back_inserter(out);
    fmt::format_to(to, "port {}: device {}, mtu {}, queues {}", port.name, port.device, port.mtu,
                   number_or_auto(port.queues));
    if (port.mac) fmt::format_to(to, ", mac {}", to_string(*port.mac));
    for (const InterfaceAddress& a : port.addresses)
        fmt::format_to(to, ", {}", to_string(a.prefix));
    if (port.peer != ct::kNoPort) fmt::format_to(to, ", peer {}", config.ports[port.peer].name);
    out += '\n';
}

}  // namespace

std::string to_string(ct::Family family, const ct::Addr& address) {
    std::array<char, INET6_ADDRSTRLEN> text{};
    const int af = family == ct::Family::Ipv6 ? AF_INET6 : AF_INET;
    ::inet_ntop(af, address.bytes.data(), text.data(), text.size());
    return text.data();
}

std::string to_string(const nat::Prefix& prefix) {
    if (prefix.family == ct::Family::None) return "any";
    return fmt::format("{}/{}", to_string(prefix.family, prefix.addr), prefix.length);
}

std::string to_string(const MacAddress& mac) {
    return fmt::format("{:02x}", fmt::join(mac, ":"));
}

std::string describe(const Config& config) {
    std::string out;
    auto to = std::back_inserter(out);
    const DataplaneConfig& d = config.dataplane;
    const ct::Settings& c = config.conntrack;
    fmt::format_to(to, "configuration {}: mode {}, workers {}, burst {}, huge pages {}\n",
                   config.file, d.mode == Mode::Wire ? "wire" : "router", workers_text(d), d.burst,
                   name_of(d.huge_pages));
    for (const PortConfig& port : config.ports) describe_port(out, config, port);
    fmt::format_to(to, "conntrack: max {}, buckets {}, {}\n", c.max.get(),
                   number_or_auto(c.buckets), describe_overflow(c));
    fmt::format_to(to, "rules: {}, filter policy {}\n", config.rules.size(),
                   config.filter_policy == nat::Action::Drop ? "drop" : "accept");
    for (const nat::PrefixPair& n : config.nptv6)
        fmt::format_to(to, "nptv6: {} inside is {} outside by port {}\n", to_string(n.internal),
                       to_string(n.external),
                       n.port < config.ports.size() ? config.ports[n.port].name : "?");
    for (const nat::CarrierSettings& s : config.carriers) out += describe_carrier(s) + '\n';
    if (std::any_of(config.carriers.begin(), config.carriers.end(),
                    [](const nat::CarrierSettings& s) { return s.blocks.has_value(); }))
        out += describe_nat_log(config.nat_log) + '\n';
    for (const RouteConfig& r : config.routes) {
        fmt::format_to(to, "route {}", to_string(r.to));
        if (r.via) fmt::format_to(to, " via {}", to_string(r.to.family, *r.via));
        if (r.port == ct::kNoPort)
            out += " is a blackhole\n";
        else
            fmt::format_to(to, " port {}\n", config.ports[r.port].name);
    }
    for (const NeighbourConfig& n : config.neighbours)
        fmt::format_to(to, "neighbour {} is {} on port {}\n", to_string(n.family, n.address),
                       to_string(n.mac), config.ports[n.port].name);
    fmt::format_to(to, "control: {}, mode {:04o}\n", config.control.socket, config.control.mode);
    return out;
}

}  // namespace dp
