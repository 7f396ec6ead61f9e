// SPDX-License-Identifier: BSD-3-Clause
#include "tests/differential/rewriting.hpp"

#include "ct/wire/headers.hpp"

#include <algorithm>
#include <span>

namespace differential::rewriting {
namespace {

std::size_t address_at(bool six, Field field) {
    const std::size_t size = six ? 16 : 4;
    return (six ? 8 : 12) + (field == Field::Dst ? size : 0);
}

bool is_query(std::uint8_t proto, std::uint8_t type) {
    if (proto == ct::ipproto::kIcmpv6) return type >= 128;
    return type == 0 || type == 8 || (type >= 13 && type <= 18);
}

/// Where the port of `field` stands in a transport header; 0: nowhere.
std::size_t port_at(std::uint8_t proto, std::uint8_t first_byte, Field field) {
    switch (proto) {
        case ct::ipproto::kTcp:
        case ct::ipproto::kUdp:
        case ct::ipproto::kUdplite:
        case ct::ipproto::kSctp:
            return field == Field::Src ? 0 : 2;
        case ct::ipproto::kIcmp:
        case ct::ipproto::kIcmpv6:
            return is_query(proto, first_byte) ? 4 : ~std::size_t{0};
        default:
            return ~std::size_t{0};
    }
}

/// Puts the port of `swap` into the transport header at `l4`; true if its own was there. `delta`
/// gathers the change.
bool put_port(Bytes& ip, std::size_t l4, std::uint8_t proto, Field field, const Swap& swap,
              ct::ChecksumDelta& delta) {
    if (ip.size() <= l4) return false;
    const std::size_t offset = port_at(proto, ip[l4], field);
    if (offset == ~std::size_t{0} || ip.size() < l4 + offset + 2) return false;
    const auto was = ct::load<ct::Be16>(ip.data() + l4 + offset);
    const auto to = ct::Be16::from_host(swap.to_port);
    if (was.host() != swap.from_port || was == to) return false;
    ct::store(ip.data() + l4 + offset, to);
    delta.replace(was, to);
    return true;
}

/// True if an SCTP packet's CRC is that of its bytes.
bool has_right_crc(const Bytes& ip, std::size_t l4) {
    if (ip.size() < l4 + 12) return false;
    const std::span<const std::uint8_t> packet{ip.data() + l4, ip.size() - l4};
    return ct::load<ct::SctpHeader>(packet.data()).checksum == ct::sctp_checksum(packet);
}

/// exchange() of the packet whose IP header is at `at` and whose transport is `l4`.
void exchange_at(Bytes& ip, std::size_t at, const Transport& l4, const Swap& src, const Swap& dst,
                 bool ports) {
    const bool right_crc = at == 0 && l4.proto == ct::ipproto::kSctp && has_right_crc(ip, l4.at);
    ct::ChecksumDelta addresses;
    ct::ChecksumDelta changed_ports;
    bool any_port = false;
    for (const auto& [field, swap] : {std::pair{Field::Src, src}, std::pair{Field::Dst, dst}}) {
        if (address(ip, at, field) != swap.from) continue;
        addresses.add(put_address(ip, at, field, swap.to));
        if (ports && l4.there)
            any_port |= put_port(ip, l4.at, l4.proto, field, swap, changed_ports);
    }
    if (!l4.there) return;
    // ICMP's checksum alone does not cover the addresses (RFC 792).
    if (any_port && l4.proto == ct::ipproto::kIcmp) apply(ip, l4.at + 2, changed_ports);
    addresses.add(changed_ports);
    fix_transport(ip, l4.proto, l4.at, addresses);
    if (any_port && right_crc) {
        auto header = ct::load<ct::SctpHeader>(ip.data() + l4.at);
        header.checksum = ct::sctp_checksum(std::span<const std::uint8_t>{ip}.subspan(l4.at));
        ct::store(ip.data() + l4.at, header);
    }
}

}  // namespace

std::size_t header_size(const Bytes& ip, std::size_t at) {
    return ip.size() > at && is_six(ip, at) ? 40 : 20;
}

std::uint8_t protocol(const Bytes& ip, std::size_t at) {
    return is_six(ip, at) ? ip[at + 6] : ip[at + 9];
}

bool is_icmp_error(const Bytes& ip) {
    const bool six = !ip.empty() && is_six(ip, 0);
    const std::size_t l4 = six ? 40 : 20;
    if (ip.size() < l4 + sizeof(ct::IcmpHeader)) return false;
    const std::uint8_t type = ip[l4];
    if (six) return ip[6] == ct::ipproto::kIcmpv6 && type < 128;
    return ip[9] == ct::ipproto::kIcmp &&
           (type == 3 || type == 4 || type == 5 || type == 11 || type == 12);
}

Transport transport_of(const Bytes& ip, std::size_t at) {
    Transport t{at + header_size(ip, at), protocol(ip, at), true};
    if (!is_six(ip, at)) {
        t.there = (ip[at + 6] & 0x1f) == 0 && ip[at + 7] == 0;
    } else if (t.proto == ct::ipext::kFragment && ip.size() >= t.at + 8) {
        t.there = ((ip[t.at + 2] << 8U | ip[t.at + 3]) & 0xfff8) == 0;
        t.proto = ip[t.at];
        t.at += 8;
    }
    return t;
}

ct::Addr address(const Bytes& ip, std::size_t at, Field field) {
    const bool six = is_six(ip, at);
    const std::size_t size = six ? 16 : 4;
    const std::size_t where = at + address_at(six, field);
    ct::Addr a;
    if (ip.size() >= where + size)
        std::copy_n(ip.begin() + static_cast<std::ptrdiff_t>(where), size, a.bytes.begin());
    return a;
}

ct::ChecksumDelta put_address(Bytes& ip, std::size_t at, Field field, const ct::Addr& to) {
    const bool six = is_six(ip, at);
    const std::size_t size = six ? 16 : 4;
    const std::size_t where = at + address_at(six, field);
    ct::ChecksumDelta delta;
    if (ip.size() < where + size) return delta;
    const ct::Addr was = address(ip, at, field);
    if (was == to) return delta;
    delta.replace(was, to, six ? ct::Family::Ipv6 : ct::Family::Ipv4);
    std::copy_n(to.bytes.begin(), size, ip.begin() + static_cast<std::ptrdiff_t>(where));
    if (!six && ip.size() >= at + 12) apply(ip, at + 10, delta);
    return delta;
}

void apply(Bytes& ip, std::size_t at, const ct::ChecksumDelta& delta) {
    if (ip.size() < at + 2) return;
    ct::store(ip.data() + at, delta.apply(ct::load<ct::Be16>(ip.data() + at)));
}

void fix_transport(Bytes& ip, std::uint8_t proto, std::size_t l4, const ct::ChecksumDelta& delta) {
    switch (proto) {
        case ct::ipproto::kTcp:
            return apply(ip, l4 + 16, delta);
        case ct::ipproto::kIcmpv6:
            return apply(ip, l4 + 2, delta);
        case ct::ipproto::kUdp:
        case ct::ipproto::kUdplite: {
            if (ip.size() < l4 + 8 || (ip[l4 + 6] == 0 && ip[l4 + 7] == 0)) return;
            ct::store(ip.data() + l4 + 6, delta.apply_udp(ct::load<ct::Be16>(ip.data() + l4 + 6)));
            return;
        }
        default:
            return;
    }
}

ct::ChecksumDelta difference(const Bytes& before, const Bytes& ip, std::size_t at) {
    ct::ChecksumDelta delta;
    for (std::size_t i = at; i + 1 < ip.size(); i += 2)
        delta.replace(ct::load<ct::Be16>(before.data() + i), ct::load<ct::Be16>(ip.data() + i));
    return delta;
}

void exchange(Bytes& ip, const Swap& src, const Swap& dst) {
    if (ip.size() < header_size(ip)) return;
    const Transport l4 = transport_of(ip);
    if (!is_icmp_error(ip)) return exchange_at(ip, 0, l4, src, dst, true);
    const std::size_t quoted = l4.at + sizeof(ct::IcmpHeader);
    const Bytes before = ip;
    exchange_at(ip, 0, l4, src, dst, false);
    const std::size_t inner = quoted + (is_six(ip, 0) ? 40 : 20);
    if (ip.size() < inner || is_six(ip, quoted) != is_six(ip, 0)) return;
    exchange_at(ip, quoted, transport_of(ip, quoted), dst, src, true);
    apply(ip, l4.at + 2, difference(before, ip, quoted));
}

}  // namespace differential::rewriting
