// SPDX-License-Identifier: BSD-3-Clause
#include "nat/payload.hpp"

#include "ct/wire/checksum.hpp"
#include "ct/wire/headers.hpp"

#include <cstddef>
#include <cstring>

namespace nat {
namespace {

using ct::Be16;
using ct::Packet;

constexpr std::uint32_t kMaxLength = 0xffff;  // of an IP packet, and of what IPv6 counts

[[nodiscard]] Be16 be16(std::uint32_t host) noexcept {
    return Be16::from_host(static_cast<std::uint16_t>(host));
}

/// The sum of the transport packet's bytes from `from` on, at an even distance from its start.
[[nodiscard]] Be16 sum_from(const Packet& p, std::uint32_t from) noexcept {
    return Be16::from_raw(ct::fold(ct::sum_bytes({p.data + from, p.end - from})));
}

/// Writes the IP packet's length, which has changed, with IPv4's checksum.
void set_ip_length(Packet& p) noexcept {
    std::uint8_t* l3 = p.data + p.l3_offset;
    if (p.ethertype == ct::ethertype::kIpv6) {
        auto ip = ct::load<ct::Ipv6Header>(l3);
        ip.payload_length =
            be16(p.end - p.l3_offset - static_cast<std::uint32_t>(sizeof(ct::Ipv6Header)));
        ct::store(l3, ip);
        return;
    }
    auto ip = ct::load<ct::Ipv4Header>(l3);
    const Be16 length = be16(p.end - p.l3_offset);
    ct::ChecksumDelta delta;
    delta.replace(ip.total_length, length);
    ip.total_length = length;
    ip.checksum = delta.apply(ip.checksum);
    ct::store(l3, ip);
}

}  // namespace

Edited edit_payload(Packet& p, std::uint32_t room, const Edit& edit) noexcept {
    const bool tcp = p.tuple.proto == ct::ipproto::kTcp;
    if (!tcp && p.tuple.proto != ct::ipproto::kUdp) return Edited::Unsupported;
    if (p.fragment != ct::Fragment::Whole) return Edited::Fragment;
    const std::uint32_t size = p.end - p.payload_offset;
    if (edit.offset > size || edit.length > size - edit.offset) return Edited::Outside;
    const std::size_t kept = p.end - edit.length;
    if (kept + edit.with.size() > room) return Edited::NoRoom;
    const auto end = static_cast<std::uint32_t>(kept + edit.with.size());
    if (end - p.l3_offset > kMaxLength) return Edited::TooLong;

    const std::uint32_t from = p.payload_offset + edit.offset;
    const std::uint32_t even = from - (from - p.l4_offset) % 2;
    ct::ChecksumDelta delta;
    const Be16 sum_before = sum_from(p, even);
    const std::uint32_t behind = from + edit.length;
    std::memmove(p.data + from + edit.with.size(), p.data + behind, p.end - behind);
    if (!edit.with.empty()) std::memcpy(p.data + from, edit.with.data(), edit.with.size());

    const Be16 length_before = be16(p.end - p.l4_offset);
    p.end = end;
    p.length = end;
    delta.replace(sum_before, sum_from(p, even));
    const Be16 length = be16(p.end - p.l4_offset);
    delta.replace(length_before, length);  // the pseudo-header's
    set_ip_length(p);

    std::uint8_t* l4 = p.data + p.l4_offset;
    if (!tcp) {
        delta.replace(length_before, length);  // the header's own
        auto udp = ct::load<ct::UdpHeader>(l4);
        udp.length = length;
        udp.checksum = delta.apply_udp(udp.checksum);
        ct::store(l4, udp);
        return Edited::Done;
    }
    std::uint8_t* checksum = l4 + offsetof(ct::TcpHeader, checksum);
    ct::store(checksum, delta.apply(ct::load<Be16>(checksum)));
    return Edited::Done;
}

}  // namespace nat
