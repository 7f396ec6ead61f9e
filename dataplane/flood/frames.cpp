// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/flood/frames.hpp"

#include "ct/wire/headers.hpp"

#include <algorithm>
#include <cstring>

namespace dp::flood {

namespace {

using namespace frame;

template <class T>
T get(const std::uint8_t* in, std::size_t at) noexcept {
    T raw;
    std::memcpy(&raw, in + at, sizeof raw);
    return ct::Be<T>::from_raw(raw).host();
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
