// SPDX-License-Identifier: BSD-3-Clause
#include "bench/load/packets.hpp"

#include "ct/wire/headers.hpp"

namespace bench {

namespace {

constexpr std::uint16_t kEthernet = 14;
constexpr std::size_t kIpv4Source = 12;
constexpr std::size_t kIpv4Destination = 16;

}  // namespace

PacketMaker::PacketMaker(FlowKind kind, Frames frames) : kind_{kind}, frames_{frames} {
    const bool ipv4 = kind.family == ct::Family::Ipv4;
    const bool tcp = kind.proto == ct::ipproto::kTcp;
    ct::Packet& p = template_;
    p.data = bytes_[0].data();
    p.owner = bytes_[0].data();
    p.ethertype = ipv4 ? 0x0800 : 0x86dd;
    p.l3_offset = kEthernet;
    p.l4_offset = static_cast<std::uint16_t>(kEthernet + (ipv4 ? 20 : 40));
    p.payload_offset = static_cast<std::uint16_t>(p.l4_offset + (tcp ? 20 : 8));
    p.end = p.payload_offset;
    p.length = p.end;
    p.tcp_window = 64'000;
    p.tuple = flow(0, kind);
    for (auto& bytes : bytes_) {
        bytes[kEthernet] = 0x45;    // version 4, five words
        bytes[kEthernet + 3] = 40;  // total length
        bytes[kEthernet + 8] = 64;  // time to live
        bytes[kEthernet + 9] = kind.proto;
        bytes[kEthernet + 20 + 12] = 0x50;  // TCP: five words
    }
}

void PacketMaker::write_frame(ct::Packet& p) noexcept {
    std::uint8_t* bytes = bytes_[next_frame_++ % bytes_.size()].data();
    p.data = bytes;
    p.owner = bytes;
    const std::uint32_t src = p.tuple.src.as_v4().raw();
    const std::uint32_t dst = p.tuple.dst.as_v4().raw();
    std::memcpy(bytes + p.l3_offset + kIpv4Source, &src, sizeof src);
    std::memcpy(bytes + p.l3_offset + kIpv4Destination, &dst, sizeof dst);
    ct::store(bytes + p.l4_offset, p.tuple.sport);
    ct::store(bytes + p.l4_offset + 2, p.tuple.dport);
}

}  // namespace bench
