// SPDX-License-Identifier: BSD-3-Clause
#include "nat/transport.hpp"

#include "ct/wire/headers.hpp"
#include "nat/rule.hpp"

#include <span>

namespace nat {

using ct::Be16;

Be16 updated(std::uint8_t proto, Be16 old, const ct::ChecksumDelta& delta) noexcept {
    const bool zero_is_none = proto == ct::ipproto::kUdp || proto == ct::ipproto::kUdplite;
    return zero_is_none ? delta.apply_udp(old) : delta.apply(old);
}

void replace(std::uint8_t* at, Be16 to, ct::ChecksumDelta& delta) noexcept {
    delta.replace(ct::load<Be16>(at), to);
    ct::store(at, to);
}

ct::ChecksumDelta set_ports(std::uint8_t* l4, const ct::Tuple& to) noexcept {
    ct::ChecksumDelta ports;
    if (has_ports(to.proto)) {
        replace(l4, to.sport, ports);
        replace(l4 + 2, to.dport, ports);
    } else if (ct::is_icmp(to.proto)) {
        replace(l4 + offsetof(ct::IcmpHeader, id), to.sport, ports);
    }
    return ports;
}

void set_sctp_ports(ct::Packet& p, const ct::Tuple& to) noexcept {
    std::uint8_t* l4 = p.data + p.l4_offset;
    auto sctp = ct::load<ct::SctpHeader>(l4);
    if (sctp.sport == to.sport && sctp.dport == to.dport) return;
    if (p.fragment != ct::Fragment::Whole) {
        p.drop = ct::Drop::NatFragment;
        return;
    }
    const std::span<const std::uint8_t> packet{l4, p.end - p.l4_offset};
    const std::uint32_t before = ct::sctp_checksum(packet);
    sctp.sport = to.sport;
    sctp.dport = to.dport;
    ct::store(l4, sctp);
    sctp.checksum ^= before ^ ct::sctp_checksum(packet);
    ct::store(l4, sctp);
}

}  // namespace nat
