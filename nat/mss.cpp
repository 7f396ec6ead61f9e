// SPDX-License-Identifier: BSD-3-Clause
#include "nat/mss.hpp"

#include "ct/wire/checksum.hpp"
#include "ct/wire/headers.hpp"
#include "ct/wire/tcp_options.hpp"
#include "nat/family.hpp"

#include <algorithm>
#include <cstddef>
#include <limits>

namespace nat {
namespace {

using ct::Be16;
using ct::Packet;

/// Headers that the MTU counts and the MSS does not, options aside (RFC 6691 2).
[[nodiscard]] constexpr std::uint16_t overhead(ct::Family family) noexcept {
    const std::size_t ip =
        family == ct::Family::Ipv6 ? sizeof(ct::Ipv6Header) : sizeof(ct::Ipv4Header);
    return static_cast<std::uint16_t>(ip + sizeof(ct::TcpHeader));
}

/// The largest segment that goes over the link in one packet.
[[nodiscard]] std::uint16_t room(const MssLink& link) noexcept {
    const std::uint16_t headers = overhead(link.family);
    return static_cast<std::uint16_t>(link.limit.mtu > headers ? link.limit.mtu - headers : 1);
}

void lower(Packet& p, std::uint16_t most) noexcept {
    std::uint8_t* l4 = p.data + p.l4_offset;
    ct::for_each_tcp_option(ct::tcp_options(p), [&](const ct::TcpOption& option) {
        if (option.kind != ct::tcpoption::kMss || option.body.size() != sizeof(Be16)) return;
        const auto at = static_cast<std::size_t>(option.body.data() - l4);
        const auto from = ct::load<Be16>(l4 + at);
        if (from.host() <= most) return;
        const Be16 to = Be16::from_host(most);
        ct::store(l4 + at, to);
        // At an odd place the bytes count in the other half of the words that are summed.
        const auto counted = [at](Be16 n) {
            const unsigned raw = n.raw();
            return at % 2 == 0 ? n
                               : Be16::from_raw(static_cast<std::uint16_t>(raw << 8U | raw >> 8U));
        };
        ct::ChecksumDelta delta;
        delta.replace(counted(from), counted(to));
        std::uint8_t* checksum = l4 + offsetof(ct::TcpHeader, checksum);
        ct::store(checksum, delta.apply(ct::load<Be16>(checksum)));
    });
}

}  // namespace

std::uint16_t mss_between(const MssLink& in, const MssLink& out) noexcept {
    std::uint16_t most = std::numeric_limits<std::uint16_t>::max();
    const std::uint16_t fits = std::min(room(in), room(out));
    for (const MssLink* link : {&in, &out})
        if (link->limit.clamp)
            most = std::min(most, link->limit.fixed != 0 ? link->limit.fixed : fits);
    return in.limit.clamp || out.limit.clamp ? most : std::uint16_t{0};
}

void clamp_mss(std::span<Packet> packets, std::span<const MssLimit> limits) noexcept {
    for (Packet& p : packets) {
        if (p.tuple.proto != ct::ipproto::kTcp || (p.tcp_flags & ct::tcpflag::kSyn) == 0) continue;
        if (!p.alive() || p.fragment == ct::Fragment::Later || p.icmp_error) continue;
        if (p.in_port >= limits.size() || p.out_port >= limits.size()) continue;
        const std::uint16_t most =
            mss_between({limits[p.in_port], p.tuple.family}, {limits[p.out_port], family_after(p)});
        if (most != 0) lower(p, most);
    }
}

}  // namespace nat
