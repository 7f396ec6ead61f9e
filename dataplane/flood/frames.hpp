// SPDX-License-Identifier: BSD-3-Clause
//
// Frames of the generator, stamped into buffers millions of times a second: a template a kind of
// packet, whose checksums are known but for the fields that vary.
#pragma once

#include "ct/wire/headers.hpp"
#include "ct/wire/packet.hpp"
#include "ct/wire/tuple.hpp"
#include "dataplane/control/config.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

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

/// How a frame is put together.
namespace frame {

// Offsets of what varies, from the start of the frame.
inline constexpr std::size_t kIpLength = 16;
inline constexpr std::size_t kIpChecksum = 24;
inline constexpr std::size_t kIpAddrs = 26;
inline constexpr std::size_t kPorts = 34;
inline constexpr std::size_t kSeqAck = 38;
inline constexpr std::size_t kFlags = 47;
inline constexpr std::size_t kWindow = 48;
inline constexpr std::size_t kTcpChecksum = 50;
inline constexpr std::uint16_t kMinFrame = 60;
inline constexpr std::uint16_t kIpTcpBytes = 40;

template <class T>
void put(std::uint8_t* out, std::size_t at, T host) noexcept {
    const T raw = ct::Be<T>::from_host(host).raw();
    std::memcpy(out + at, &raw, sizeof raw);
}

[[nodiscard]] inline std::uint32_t halves(std::uint32_t v) noexcept {
    return (v >> 16) + (v & 0xffff);
}

[[nodiscard]] inline std::uint16_t complement(std::uint32_t sum) noexcept {
    sum = halves(sum);
    sum = halves(sum);
    return static_cast<std::uint16_t>(~sum);
}

}  // namespace frame

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

inline std::uint16_t FrameMaker::write(std::uint8_t* out, const TcpFields& f) const noexcept {
    using namespace frame;
    std::memcpy(out, head_.data(), head_.size());
    const auto ip_length = static_cast<std::uint16_t>(kIpTcpBytes + f.payload);
    const std::uint32_t addrs = halves(f.src) + halves(f.dst);
    put(out, kIpLength, ip_length);
    put(out, kIpAddrs, f.src);
    put(out, kIpAddrs + 4, f.dst);
    put(out, kIpChecksum, complement(ip_sum_ + ip_length + addrs));
    put(out, kPorts, f.sport);
    put(out, kPorts + 2, f.dport);
    put(out, kSeqAck, f.seq);
    put(out, kSeqAck + 4, f.ack);
    out[kFlags] = f.flags;
    put(out, kWindow, f.window);
    // The payload is zero and adds nothing but its length.
    put(out, kTcpChecksum,
        complement(tcp_sum_ + addrs + f.sport + f.dport + halves(f.seq) + halves(f.ack) + f.flags +
                   f.window + f.payload));
    const auto length = std::max(static_cast<std::uint16_t>(kHeaderBytes + f.payload), kMinFrame);
    if (length == kMinFrame)
        std::memset(out + kHeaderBytes, 0, kMinFrame - kHeaderBytes);  // a store or two
    else
        std::memset(out + kHeaderBytes, 0, length - kHeaderBytes);
    return length;
}

/// The server's port of a frame, or 0 if it is not IPv4 and TCP, or too short.
[[nodiscard]] inline std::uint16_t server_port(bool to_server, const std::uint8_t* data,
                                               std::uint32_t length) noexcept {
    using namespace frame;
    constexpr std::size_t kType = 12, kVersion = 14, kProtocol = 23;
    if (length < kHeaderBytes || data[kType] != 0x08 || data[kType + 1] != 0 ||
        data[kVersion] != 0x45 || data[kProtocol] != ct::ipproto::kTcp)
        return 0;
    return ct::load<ct::Be16>(data + kPorts + (to_server ? 2 : 0)).host();
}

/// Whether a frame for which server_port() is not 0 has the SYN flag.
[[nodiscard]] inline bool is_syn(const std::uint8_t* data) noexcept {
    return (data[frame::kFlags] & ct::tcpflag::kSyn) != 0;
}

/// Reads a frame that the dataplane sent. False if it is not IPv4 and TCP, or too short.
[[nodiscard]] bool read_frame(const std::uint8_t* data, std::uint32_t length,
                              TcpFields& out) noexcept;

}  // namespace dp::flood
