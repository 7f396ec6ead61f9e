// SPDX-License-Identifier: BSD-3-Clause
//
// What an operator can set: Linux's sysctls without their `nf_conntrack_` prefix
// (semantics.md 2.3 and 2.13), with Linux's defaults, and Sluice's own overflow policy.
#pragma once

#include "ct/conn/status.hpp"

#include <array>
#include <cstdint>

namespace ct {

/// Time-outs in seconds. Index the arrays with index_of(TcpState) and index_of(SctpState).
struct Timeouts {
    /// By TcpState; None is never used.
    std::array<std::uint32_t, kTcpStates> tcp{120, 120, 60, 432'000, 120, 60, 30, 120, 10, 120};
    std::uint32_t tcp_max_retrans = 300;
    std::uint32_t tcp_unacknowledged = 300;
    std::uint32_t udp = 30;
    std::uint32_t udp_stream = 120;
    std::uint32_t icmp = 30;
    std::uint32_t icmpv6 = 30;
    std::uint32_t gre = 30;
    std::uint32_t gre_stream = 180;
    /// By SctpState; None is never used.
    std::array<std::uint32_t, kSctpStates> sctp{10, 10, 3, 3, 210, 3, 3, 3, 30};
    std::uint32_t generic = 600;
    std::uint32_t fragment = 30;   ///< IPv4 (net.ipv4.ipfrag_time)
    std::uint32_t fragment6 = 60;  ///< nf_conntrack_frag6_timeout
};

[[nodiscard]] constexpr std::size_t index_of(TcpState s) noexcept {
    return static_cast<std::size_t>(s);
}
[[nodiscard]] constexpr std::size_t index_of(SctpState s) noexcept {
    return static_cast<std::size_t>(s);
}

/// What happens to a packet that would open a connection when there is no room.
enum class Overflow : std::uint8_t {
    EmbryonicOldest,  ///< the oldest connection that is not assured goes
    Linux,            ///< the first of eight buckets with victims loses all of them, else drop
    Drop,             ///< the newcomer is dropped
};

struct Settings {
    std::uint32_t max = 262'144;  ///< most entries; the pool is made for it
    std::uint32_t buckets = 0;    ///< Linux's hash size, for policy `linux`; 0: as max
    Overflow overflow = Overflow::EmbryonicOldest;
    /// Share of `max` that not-assured entries may fill, in percent (policy embryonic-oldest).
    std::uint32_t embryonic_percent = 75;
    Timeouts timeouts;
    bool checksum = true;          ///< verify transport checksums
    bool acct = false;             ///< count packets and bytes of each direction
    bool timestamp = false;        ///< show start and stop times
    std::uint8_t events = 2;       ///< 0 never, 1 always, 2 while somebody listens
    std::uint8_t log_invalid = 0;  ///< protocol whose invalid packets are logged; 255: all
    bool tcp_loose = true;
    bool tcp_be_liberal = false;
    bool tcp_ignore_invalid_rst = false;
    std::uint8_t tcp_max_retrans = 3;
};

}  // namespace ct
