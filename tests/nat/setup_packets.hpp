// SPDX-License-Identifier: BSD-3-Clause
//
// What the tests of mappings send.
#pragma once

#include "tests/nat/nat_box.hpp"

#include <string>
#include <string_view>
#include <utility>

namespace test {

inline constexpr const char* kRemote = "198.51.100.7";

using Endpoint = std::pair<ct::Addr, std::uint16_t>;
[[nodiscard]] inline Endpoint endpoint(std::string_view ip, std::uint16_t port) {
    return {addr(ip), port};
}

[[nodiscard]] inline PacketBuilder udp(const std::string& src, std::uint16_t sport,
                                       const std::string& dst = kRemote, std::uint16_t dport = 53) {
    PacketBuilder b;
    if (src.find(':') == std::string::npos)
        b.ipv4(src, dst);
    else
        b.ipv6(src, dst);
    return b.udp(sport, dport).payload("x");
}

/// The n-th host of 10.0.0.0/8.
[[nodiscard]] inline std::string host(unsigned n) {
    return "10." + std::to_string(n >> 16) + "." + std::to_string(n >> 8 & 255) + "." +
           std::to_string(n & 255);
}

}  // namespace test
