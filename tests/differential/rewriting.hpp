// SPDX-License-Identifier: BSD-3-Clause
//
// Other addresses and ports for packets as they stand on the wire, with every checksum as right or
// as wrong as it was. An IPv4 header has no options here, an IPv6 header at most a fragment header.
#pragma once

#include "ct/wire/checksum.hpp"
#include "tests/differential/trace.hpp"

#include <cstddef>
#include <cstdint>

namespace differential::rewriting {

enum class Field : std::uint8_t { Src, Dst };

/// True of the IP header at `at`, which must be there.
[[nodiscard]] inline bool is_six(const Bytes& ip, std::size_t at) {
    return ip[at] >> 4U == 6;
}
/// Bytes of the IP header at `at`, as its version has it; IPv4's if nothing is there.
[[nodiscard]] std::size_t header_size(const Bytes& ip, std::size_t at = 0);
/// What the header at `at` names as next.
[[nodiscard]] std::uint8_t protocol(const Bytes& ip, std::size_t at = 0);
[[nodiscard]] bool is_icmp_error(const Bytes& ip);

/// Where the transport header behind an IP header begins, and of which protocol it is.
struct Transport {
    std::size_t at = 0;
    std::uint8_t proto = 0;
    bool there = true;  ///< not in a later fragment
};
/// Of the whole IP header at `at`.
[[nodiscard]] Transport transport_of(const Bytes& ip, std::size_t at = 0);

[[nodiscard]] ct::Addr address(const Bytes& ip, std::size_t at, Field field);
/// Puts `to` into the IP header at `at`; IPv4's own checksum follows. Returns what the others that
/// cover the address change by.
ct::ChecksumDelta put_address(Bytes& ip, std::size_t at, Field field, const ct::Addr& to);
/// Applies `delta` to the checksum at `at`, if that is there.
void apply(Bytes& ip, std::size_t at, const ct::ChecksumDelta& delta);
/// Applies `delta` to the checksum of the transport header at `l4`.
void fix_transport(Bytes& ip, std::uint8_t proto, std::size_t l4, const ct::ChecksumDelta& delta);
/// What a checksum over everything from `at` on changes by, now that `before` has become `ip`.
[[nodiscard]] ct::ChecksumDelta difference(const Bytes& before, const Bytes& ip, std::size_t at);

/// One endpoint in the place of another.
struct Swap {
    ct::Addr from;
    ct::Addr to;
    std::uint16_t from_port = 0;
    std::uint16_t to_port = 0;
};

/// Where `src` stands as the sender and `dst` as the receiver of the packet, puts the others there;
/// in a packet that an ICMP error quotes, the other way round. A port changes only beside its
/// address; an ICMP query's identifier is both its ports.
void exchange(Bytes& ip, const Swap& src, const Swap& dst);

}  // namespace differential::rewriting
