// SPDX-License-Identifier: BSD-3-Clause
//
// Frames of the generator, stamped into buffers millions of times a second: a template a kind of
// packet, whose checksums are known but for the fields that vary.
#pragma once

#include "ct/wire/tuple.hpp"
#include "dataplane/control/config.hpp"

#include <array>
#include <cstdint>

namespace dp::flood {

/// What varies from packet to packet. Host byte order.
struct TcpFields {
    std::uint32_t src = 0;
    std::uint32_t dst = 0;
    std::uint16_t sport = 0;
    std::uint16_t dport = 0;
    std::uint32_t seq = 0;
    std::uint32_t ack = 0;
    std::uint16_t window = 0;
    std::uint8_t flags = 0;
    std::uint16_t payload = 0;  ///< bytes, all zero
};

/// Ethernet + IPv4 + TCP without options.
inline constexpr std::size_t kHeaderBytes = 14 + 20 + 20;
/// Largest payload that a frame gets.
inline constexpr std::uint16_t kMaxPayload = 512;

class FrameMaker {
public:
    FrameMaker(const MacAddress& src, const MacAddress& dst) noexcept;

    /// Writes the frame to `out`, which has room for kHeaderBytes + f.payload and at least 60 bytes
    /// (the smallest Ethernet frame without its CRC). Returns its length in bytes.
    std::uint16_t write(std::uint8_t* out, const TcpFields& f) const noexcept;

private:
    std::array<std::uint8_t, kHeaderBytes> head_{};
    std::uint32_t ip_sum_ = 0;   ///< of the template's IPv4 header
    std::uint32_t tcp_sum_ = 0;  ///< of the template's TCP header and pseudo header
};

/// Reads a frame that the dataplane sent. False if it is not IPv4 and TCP, or too short.
[[nodiscard]] bool read_frame(const std::uint8_t* data, std::uint32_t length,
                              TcpFields& out) noexcept;

}  // namespace dp::flood
