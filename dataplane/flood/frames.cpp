// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/flood/frames.hpp"

#include "ct/wire/headers.hpp"

#include <algorithm>
#include <cstring>

namespace dp::flood {

namespace {

// Offsets of what varies, from the start of the frame.
constexpr std::size_t kIpLength = 16;
constexpr std::size_t kIpChecksum = 24;
constexpr std::size_t kIpAddrs = 26;
constexpr std::size_t kPorts = 34;
constexpr std::size_t kSeqAck = 38;
constexpr std::size_t kFlags = 47;
constexpr std::size_t kWindow = 48;
constexpr std::size_t kTcpChecksum = 50;
constexpr std::uint16_t kMinFrame = 60;
constexpr std::uint16_t kIpTcpBytes = 40;

template <class T>
void put(std::uint8_t* out, std::size_t at, T host) noexcept {
    const T raw = ct::Be<T>::from_host(host).raw();
    std::memcpy(out + at, &raw, sizeof raw);
}

template <class T>
T get(const std::uint8_t* in, std::size_t at) noexcept {
    T raw;
    std::memcpy(&raw, in + at, sizeof raw);
    return ct::Be<T>::from_raw(raw).host();
}

std::uint32_t halves(std::uint32_t v) noexcept {
    return (v >> 16) + (v & 0xffff);
}

std::uint16_t complement(std::uint32_t sum) noexcept {
    sum = halves(sum);
    sum = halves(sum);
    return static_cast<std::uint16_t>(~sum);
}

}  // namespace

FrameMaker::FrameMaker(const MacAddress& src, const MacAddress& dst) noexcept {
    std::copy(dst.begin(), dst.end(), head_.begin());
    std::copy(src.begin(), src.end(), head_.begin() + 6);
    put<std::uint16_t>(head_.data(), 12, 0x0800);
    head_[14] = 0x45;                              // IPv4, five words
    put<std::uint16_t>(head_.data(), 20, 0x4000);  // DF
    head_[22] = 64;                                // TTL
    head_[23] = ct::ipproto::kTcp;
    head_[46] = 0x50;  // five words of TCP header
    for (std::size_t i = 14; i < 34; i += 2) ip_sum_ += get<std::uint16_t>(head_.data(), i);
    tcp_sum_ = 0x5000 + std::uint32_t{ct::ipproto::kTcp} + 20;
}

std::uint16_t FrameMaker::write(std::uint8_t* out, const TcpFields& f) const noexcept {
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
    std::memset(out + kHeaderBytes, 0, length - kHeaderBytes);
    return length;
}

bool read_frame(const std::uint8_t* data, std::uint32_t length, TcpFields& out) noexcept {
    if (length < kHeaderBytes || get<std::uint16_t>(data, 12) != 0x0800 || data[14] != 0x45 ||
        data[23] != ct::ipproto::kTcp)
        return false;
    out.src = get<std::uint32_t>(data, kIpAddrs);
    out.dst = get<std::uint32_t>(data, kIpAddrs + 4);
    out.sport = get<std::uint16_t>(data, kPorts);
    out.dport = get<std::uint16_t>(data, kPorts + 2);
    out.seq = get<std::uint32_t>(data, kSeqAck);
    out.ack = get<std::uint32_t>(data, kSeqAck + 4);
    out.flags = data[kFlags] & 0x3f;
    out.window = get<std::uint16_t>(data, kWindow);
    const std::uint16_t ip_length = get<std::uint16_t>(data, kIpLength);
    out.payload = ip_length > kIpTcpBytes ? static_cast<std::uint16_t>(ip_length - kIpTcpBytes)
                                          : std::uint16_t{0};
    return true;
}

}  // namespace dp::flood
