// SPDX-License-Identifier: BSD-3-Clause
#include "bench/load/packets.hpp"

namespace bench {

PacketMaker::PacketMaker(FlowKind kind) : kind_{kind} {
    constexpr std::uint16_t kEthernet = 14;
    const bool ipv4 = kind.family == ct::Family::Ipv4;
    const bool tcp = kind.proto == ct::ipproto::kTcp;
    ct::Packet& p = template_;
    p.data = bytes_.data();
    p.owner = bytes_.data();
    p.ethertype = ipv4 ? 0x0800 : 0x86dd;
    p.l3_offset = kEthernet;
    p.l4_offset = static_cast<std::uint16_t>(kEthernet + (ipv4 ? 20 : 40));
    p.payload_offset = static_cast<std::uint16_t>(p.l4_offset + (tcp ? 20 : 8));
    p.end = p.payload_offset;
    p.length = p.end;
    p.tcp_window = 64'000;
    p.tuple = flow(0, kind);
}

}  // namespace bench
