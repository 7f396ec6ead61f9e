// SPDX-License-Identifier: BSD-3-Clause
//
// What an operator can set: Linux's sysctls without their `nf_conntrack_` prefix
// (semantics.md 2.3 and 2.13), with Linux's defaults, and Sluice's own overflow policy.
//
// A table's settings change while workers read them (Conntrack::change_settings), so each is a
// Live value.
#pragma once

#include "ct/base/live.hpp"
#include "ct/conn/status.hpp"

#include <array>
#include <cstdint>

namespace ct {

/// Time-outs in seconds. Index the arrays with index_of(TcpState) and index_of(SctpState).
struct Timeouts {
    /// By TcpState; None is never used.
    std::array<Live<std::uint32_t>, kTcpStates> tcp{120, 120, 60,  432'000, 120,
                                                    60,  30,  120, 10,      120};
    Live<std::uint32_t> tcp_max_retrans = 300;
    Live<std::uint32_t> tcp_unacknowledged = 300;
    Live<std::uint32_t> udp = 30;
    Live<std::uint32_t> udp_stream = 120;
    Live<std::uint32_t> icmp = 30;
    Live<std::uint32_t> icmpv6 = 30;
    Live<std::uint32_t> gre = 30;
    Live<std::uint32_t> gre_stream = 180;
    /// By SctpState; None is never used.
    std::array<Live<std::uint32_t>, kSctpStates> sctp{10, 10, 3, 3, 210, 3, 3, 3, 30};
    Live<std::uint32_t> generic = 600;
    Live<std::uint32_t> fragment = 30;   ///< IPv4 (net.ipv4.ipfrag_time)
    Live<std::uint32_t> fragment6 = 60;  ///< nf_conntrack_frag6_timeout
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
    Live<std::uint32_t> max = 262'144;  ///< most entries
    /// Entries that there is memory for, which `max` may be raised to; 0: as `max`.
    std::uint32_t capacity = 0;
    Live<std::uint32_t> buckets = 0;  ///< Linux's hash size, for policy `linux`; 0: as max
    Live<Overflow> overflow = Overflow::EmbryonicOldest;
    /// Share of `max` that not-assured entries may fill, in percent (policy embryonic-oldest).
    Live<std::uint32_t> embryonic_percent = 75;
    Timeouts timeouts;
    Live<std::uint32_t> expect_max = 4096;  ///< most expectations
    Live<bool> checksum = true;             ///< verify transport checksums
    Live<bool> acct = false;                ///< new entries count packets and bytes
    Live<bool> timestamp = false;           ///< new entries show start and stop times
    Live<std::uint8_t> events = 2;          ///< 0 never, 1 always, 2 while somebody listens
    Live<std::uint8_t> log_invalid = 0;     ///< protocol whose invalid packets are logged; 255: all
    Live<bool> tcp_loose = true;
    Live<bool> tcp_be_liberal = false;
    Live<bool> tcp_ignore_invalid_rst = false;
    Live<std::uint8_t> tcp_max_retrans = 3;

    /// Entries that the table is made for.
    [[nodiscard]] std::uint32_t entries() const noexcept {
        return capacity != 0 ? capacity : max.get();
    }
};

}  // namespace ct
