// SPDX-License-Identifier: BSD-3-Clause
//
// The network that these tests are about:
//
//   lan (port 0)  192.0.2.1/24     2001:db8:1::1/64   fe80::1
//   wan (port 1)  198.51.100.1/24  2001:db8:2::1/64             default via 198.51.100.254
#pragma once

#include "dataplane/control/config.hpp"
#include "tests/support/packet_builder.hpp"

#include <string>

namespace test {

inline constexpr ct::PortId kLan = 0;
inline constexpr ct::PortId kWan = 1;

[[nodiscard]] inline nat::Prefix prefix(const std::string& text) {
    const auto slash = text.find('/');
    return {.addr = addr(text.substr(0, slash)),
            .length = static_cast<std::uint8_t>(std::stoi(text.substr(slash + 1))),
            .family = text.find(':') == std::string::npos ? ct::Family::Ipv4 : ct::Family::Ipv6};
}

[[nodiscard]] inline dp::Config two_ports() {
    dp::Config config;
    config.dataplane.workers = 1;
    config.dataplane.neighbours = 64;
    config.ports.resize(2);
    config.ports[kLan].name = "lan";
    config.ports[kLan].addresses = {
        {prefix("192.0.2.1/24")}, {prefix("2001:db8:1::1/64")}, {prefix("fe80::1/64")}};
    config.ports[kWan].name = "wan";
    config.ports[kWan].addresses = {{prefix("198.51.100.1/24")}, {prefix("2001:db8:2::1/64")}};
    config.routes = {{.to = prefix("0.0.0.0/0"), .via = addr("198.51.100.254"), .port = kWan}};
    config.conntrack.max = 1024;
    return config;
}

}  // namespace test
