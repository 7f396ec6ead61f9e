// SPDX-License-Identifier: BSD-3-Clause
//
// [[port]]: reading one port, then what holds between ports: names, devices, subnets, peers.
#include "dataplane/control/config_parts.hpp"
#include "dataplane/control/notation.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

namespace dp {
namespace {

constexpr std::size_t kLongestName = 31;  // characters
constexpr std::uint64_t kMostQueues = 64;
constexpr std::uint64_t kMostDescriptors = 32'768;
// RFC 791 3.2: every module must forward 68 bytes; 9702 is the largest jumbo frame that the
// common NICs take.
constexpr Bounds kMtu{68, 9702};
constexpr Bounds kMss{28, 9662};               // what is left of the MTU with IPv4 (RFC 6691 2)
constexpr std::uint16_t kIpv6LeastMtu = 1280;  // RFC 8200 5

bool is_name(std::string_view text) {
    return !text.empty() && text.size() <= kLongestName &&
           std::all_of(text.begin(), text.end(), [](char c) {
               return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-' ||
                      c == '.';
           });
}

void read_name(Section& section, const Config& config, PortConfig& port) {
    auto name = section.text("name");
    if (!name) {
        if (!section.has("name"))
            section.problem_at(section.line(), "[[port]] has no 'name'", "write name = \"wan\"");
        return;
    }
    if (!is_name(name->value) || name->value == kLocalPortName) {
        section.problem("name", fmt::format("{} is no name for a port", in_quotes(name->value)),
                        fmt::format("use 1 to {} letters, digits, '_', '-' or '.', and not '{}', "
                                    "which means Sluice itself",
                                    kLongestName, kLocalPortName));
        return;
    }
    const ct::PortId other = config.find_port(name->value);
    if (other != ct::kNoPort)
        section.problem("name",
                        fmt::format("port {} is already defined on line {}", in_quotes(name->value),
                                    config.ports[other].line),
                        "give each port a name of its own");
    else
        port.name = std::move(name->value);
}

/// The part of a vdev string that names the device: `net_tap0` of `net_tap0,iface=lan`.
std::string_view vdev_name(std::string_view device) {
    return device.substr(0, device.find(','));
}

/// The value of `iface=` in a vdev string, or empty.
std::string_view vdev_interface(std::string_view device) {
    constexpr std::string_view kKey = ",iface=";
    const auto at = device.find(kKey);
    if (at == std::string_view::npos) return {};
    const auto value = device.substr(at + kKey.size());
    return value.substr(0, value.find(','));
}

/// True if `device` is what EAL takes for a virtual device: `net_DRIVER...` or `virtio_user...`.
bool is_vdev(std::string_view device) {
    const std::string_view name = vdev_name(device);
    const bool known = (name.starts_with("net_") && name.size() > 4) ||
                       name.starts_with("virtio_user") || name.starts_with("eth_");
    return known && std::all_of(name.begin(), name.end(), [](char c) {
               return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-';
           });
}

void check_device_unique(Section& section, const Config& config, const PortConfig& port) {
    for (const PortConfig& other : config.ports) {
        const bool same_device = port.pci ? other.device == port.device
                                          : vdev_name(other.device) == vdev_name(port.device);
        const auto interface = vdev_interface(port.device);
        const bool same_interface = !interface.empty() && vdev_interface(other.device) == interface;
        if (!same_device && !same_interface) continue;
        section.problem("device",
                        fmt::format("{} is already the {} of port '{}'",
                                    in_quotes(same_device ? vdev_name(port.device) : interface),
                                    same_device ? "device" : "interface", other.name),
                        "give each port a device of its own");
        return;
    }
}

void read_device(Section& section, const Config& config, PortConfig& port) {
    const auto device = section.text("device");
    if (!device) {
        if (!section.has("device"))
            section.problem_at(section.line(), "[[port]] has no 'device'",
                               "write a PCI address like \"0000:01:00.0\" or a virtual device like "
                               "\"net_tap0,iface=wan\"");
        return;
    }
    if (const auto pci = parse_pci(device->value)) {
        port.device = *pci;
        port.pci = true;
    } else if (is_vdev(device->value) && device->value.find('\0') == std::string::npos) {
        port.device = device->value;
    } else {
        const std::string remedy =
            device->value.find_first_of(":,") == std::string::npos && is_name(device->value)
                ? fmt::format("for an interface of the kernel write \"net_af_packet0,iface={}\"",
                              device->value)
                : std::string{"write one like \"0000:01:00.0\" or \"net_tap0,iface=wan\""};
        section.problem("device",
                        fmt::format("{} is neither a PCI address nor a virtual device",
                                    in_quotes(device->value)),
                        remedy);
        return;
    }
    check_device_unique(section, config, port);
}

/// Reports a subnet that two ports have, or an address that one has twice. The link-local subnet is
/// on every IPv6 link.
void check_overlap(Section& section, int line, const Config& config, const PortConfig& port,
                   const nat::Prefix& prefix) {
    for (const InterfaceAddress& own : port.addresses) {
        if (own.prefix.family != prefix.family || own.prefix.addr != prefix.addr) continue;
        section.problem_at(line, fmt::format("address {} stands twice", to_string(prefix)),
                           "leave one of the two out");
        return;
    }
    if (is_link_local({prefix.family, prefix.addr})) return;
    for (const PortConfig& other : config.ports) {
        for (const InterfaceAddress& address : other.addresses) {
            if (!overlap(address.prefix, prefix)) continue;
            section.problem_at(line,
                               fmt::format("{} overlaps {} of port '{}'", to_string(prefix),
                                           to_string(address.prefix), other.name),
                               "give each port a subnet of its own");
            return;
        }
    }
}

void read_addresses(Section& section, const Config& config, PortConfig& port) {
    const auto addresses = section.scalars("addresses");
    if (config.dataplane.mode == Mode::Wire && !addresses.empty()) {
        section.problem("addresses", "a port has no addresses in mode \"wire\"",
                        "leave 'addresses' out, or set mode = \"router\" in [dataplane]");
        return;
    }
    if (addresses.size() > kMaxAddresses) {
        section.problem("addresses", fmt::format("a port has {} addresses", addresses.size()),
                        fmt::format("give it {} at most", kMaxAddresses));
        return;
    }
    for (const Text& text : addresses) {
        const auto prefix = parse_prefix(text.value);
        if (!prefix || text.value.find('/') == std::string::npos) {
            section.problem_at(
                text.line,
                fmt::format("{} is no address with a prefix length", in_quotes(text.value)),
                prefix ? fmt::format("write \"{}/{}\" or what the subnet is", text.value,
                                     prefix->family == ct::Family::Ipv4 ? 24 : 64)
                       : std::string{"write one like \"192.0.2.1/24\" or "
                                     "\"2001:db8::1/64\""});
            continue;
        }
        if (const std::string why = unusable(*prefix); !why.empty()) {
            section.problem_at(text.line, fmt::format("{} {}", to_string(*prefix), why),
                               "write the address that this port is to have");
            continue;
        }
        check_overlap(section, text.line, config, port, *prefix);
        port.addresses.push_back({*prefix});
    }
}

void read_mac(Section& section, PortConfig& port) {
    const auto text = section.text("mac");
    if (!text) return;
    const auto mac = parse_mac(text->value);
    constexpr std::uint8_t kGroup = 1;  // IEEE 802: the I/G bit
    if (mac && ((*mac)[0] & kGroup) == 0 && *mac != MacAddress{}) {
        port.mac = mac;
        return;
    }
    section.problem("mac",
                    fmt::format("{} is no MAC address of one station", in_quotes(text->value)),
                    "write one like \"02:00:00:00:00:01\" (the first byte even)");
}

PortConfig read_port(Section& section, const Config& config) {
    PortConfig port;
    port.line = section.line();
    read_name(section, config, port);
    read_device(section, config, port);
    section.count("mtu", port.mtu, kMtu);
    port.clamp_mss = section.has("mss");
    section.count_or_auto("mss", port.mss, kMss);
    read_addresses(section, config, port);
    read_mac(section, port);
    section.count_or_auto("queues", port.queues, {1, kMostQueues});
    section.count("rx_descriptors", port.rx_descriptors, {32, kMostDescriptors});
    section.count("tx_descriptors", port.tx_descriptors, {32, kMostDescriptors});
    section.flag("promiscuous", port.promiscuous);
    if (port.mtu < kIpv6LeastMtu && port.primary(ct::Family::Ipv6) != nullptr)
        section.problem("mtu", fmt::format("'mtu' is {} on a port with IPv6", port.mtu),
                        fmt::format("write at least {} (RFC 8200 5)", kIpv6LeastMtu));
    return port;
}

/// Resolves `peer`, which may name a port further down.
void read_peer(Section& section, Config& config, ct::PortId id) {
    PortConfig& port = config.ports[id];
    const bool wire = config.dataplane.mode == Mode::Wire;
    const auto name = section.text("peer");
    if (!name) {
        if (wire && !section.has("peer"))
            section.problem_at(
                port.line, fmt::format("port '{}' has no 'peer'", port.name),
                "in mode \"wire\" every port names the one that its frames leave by");
        return;
    }
    if (!wire) {
        section.problem("peer", "a port has a peer only in mode \"wire\"",
                        "leave 'peer' out, or set mode = \"wire\" in [dataplane]");
        return;
    }
    port.peer = resolve_port(section, config, *name);
    if (port.peer != id) return;
    section.problem("peer", fmt::format("port '{}' is its own peer", port.name),
                    "name another port");
    port.peer = ct::kNoPort;
}

void check_peer(Section& section, const Config& config, const PortConfig& port, ct::PortId id) {
    if (port.peer == ct::kNoPort || port.name.empty()) return;
    const PortConfig& peer = config.ports[port.peer];
    if (peer.peer == id || peer.peer == ct::kNoPort) return;  // none: reported as missing
    section.problem("peer",
                    fmt::format("'{}' names '{}' as its peer, which names '{}'", port.name,
                                peer.name, config.ports[peer.peer].name),
                    fmt::format("let the two ports of a pair name one another: peer = \"{}\" in "
                                "port '{}'",
                                port.name, peer.name));
}

}  // namespace

std::string unusable(const nat::Prefix& prefix) {
    if (is_special({prefix.family, prefix.addr})) return "is not an address of one station";
    if (prefix.length == 0) return "has a subnet that is everything";
    if (prefix.family != ct::Family::Ipv4 || prefix.length >= 31) return {};  // RFC 3021
    if (masked(prefix).addr == prefix.addr) return "is the address of the subnet itself";
    const std::uint32_t hosts = 0xffff'ffffU >> prefix.length;
    if ((prefix.addr.as_v4().host() & hosts) == hosts) return "is the subnet's broadcast address";
    return {};
}

void read_ports(Section& root, Config& config) {
    const std::size_t before = root.mistakes();
    auto sections = root.sections("port");
    if (sections.empty() && root.mistakes() == before)
        root.problem("port", "there is no [[port]]",
                     "define at least one, with a 'name' and a 'device'");
    if (sections.size() > kMaxPorts) {
        root.problem_at(sections[kMaxPorts].line(),
                        fmt::format("{} ports are more than there can be", sections.size()),
                        fmt::format("define at most {}", kMaxPorts));
        sections.erase(sections.begin() + kMaxPorts, sections.end());
    }
    for (Section& section : sections) config.ports.push_back(read_port(section, config));
    for (std::size_t i = 0; i < sections.size(); ++i)
        read_peer(sections[i], config, static_cast<ct::PortId>(i));
    for (std::size_t i = 0; i < sections.size(); ++i) {
        check_peer(sections[i], config, config.ports[i], static_cast<ct::PortId>(i));
        sections[i].finish();
    }
}

ct::PortId resolve_port(Section& section, const Config& config, const Text& name) {
    const ct::PortId id = config.find_port(name.value);
    if (id != ct::kNoPort) return id;
    std::vector<std::string_view> names;
    for (const PortConfig& port : config.ports)
        if (!port.name.empty()) names.push_back(port.name);
    std::string remedy = "define it with [[port]]";
    if (const auto near = nearest(name.value, names); !near.empty())
        remedy = fmt::format("did you mean '{}'? the ports are {}", near, join(names));
    else if (!names.empty())
        remedy = fmt::format("the ports are {}", join(names));
    section.problem_at(name.line, fmt::format("port {} does not exist", in_quotes(name.value)),
                       std::move(remedy));
    return ct::kNoPort;
}

ct::PortId read_port_name(Section& section, std::string_view key, const Config& config) {
    const auto name = section.text(key);
    return name ? resolve_port(section, config, *name) : ct::kNoPort;
}

ct::PortId port_with_subnet_of(const Config& config, ct::Family family, const ct::Addr& address) {
    const nat::Prefix host = host_prefix({family, address});
    for (std::size_t i = 0; i < config.ports.size(); ++i)
        for (const InterfaceAddress& own : config.ports[i].addresses)
            if (overlap(own.prefix, host)) return static_cast<ct::PortId>(i);
    return ct::kNoPort;
}

std::vector<nat::MssLimit> mss_limits(const Config& config) {
    std::vector<nat::MssLimit> out;
    for (const PortConfig& port : config.ports)
        out.push_back({.mtu = port.mtu, .fixed = port.mss, .clamp = port.clamp_mss});
    if (std::none_of(out.begin(), out.end(), [](const auto& limit) { return limit.clamp; }))
        out.clear();
    return out;
}

}  // namespace dp
