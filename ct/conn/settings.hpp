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
#include "ct/wire/prefix.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace ct {

/// Time-outs in seconds. Index the arrays with index_of(TcpState) and index_of(SctpState).
struct Timeouts {
    /// By TcpState; None is never used.
    std::array<Live<std::uint32_t>, kTcpStates> tcp{120, 120, 60,  432'000, 120,
                                                    60,  30,  120, 10,      120};
    Live<std::uint32_t> tcp_max_retrans = 300;
    Live<std::uint32_t> tcp_unacknowledged = 300;
    /// A RST ends no connection at once: it stays for `tcp[Close]` whatever was seen before, and
    /// goes on if the sender of the RST does, who then has not sent it (RFC 7857 2.2).
    Live<bool> tcp_rst_waits = false;
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
    ClosingFirst,     ///< the one that has been closing longest goes; else as EmbryonicOldest
    Linux,            ///< the first of eight buckets with victims loses all of them, else drop
    Drop,             ///< the newcomer is dropped
    Untracked,        ///< the newcomer passes without a connection, unless NAT is its business
    Reject,           ///< the newcomer is dropped and its sender told so
};

/// Time-outs that shrink while the table fills, as pf's adaptive.start and adaptive.end have it.
struct Adaptive {
    std::uint32_t start_percent = 0;  ///< of `max`: above, time-outs are scaled; 0 with end 0: off
    std::uint32_t end_percent = 0;    ///< of `max`: here they would be zero; above the start

    [[nodiscard]] constexpr bool on() const noexcept { return end_percent != 0; }
};

/// Room that is kept for connections from `prefix`.
struct Reservation {
    Prefix prefix;
    std::uint32_t entries = 0;
};

/// The most reservations: each newcomer's source is compared with all of them.
inline constexpr std::size_t kMaxReservations = 16;

/// Limits on what one source may have (ct/quota.hpp). A source is an address, or all of a prefix.
struct PerSource {
    std::uint32_t max_entries = 0;     ///< connections at a time; 0: no limit
    std::uint32_t new_per_second = 0;  ///< connections opened a second; 0: no limit
    std::uint32_t burst = 0;           ///< of them at once; 0: as new_per_second
    std::uint8_t ipv4_prefix = 32;     ///< bits
    std::uint8_t ipv6_prefix = 64;     ///< bits

    [[nodiscard]] constexpr bool on() const noexcept {
        return max_entries != 0 || new_per_second != 0;
    }
};

/// Bounds of PerSource: what the clock of its rates resolves and how far it reaches.
inline constexpr std::uint32_t kMaxSourceRate = 100'000;
inline constexpr std::uint32_t kMaxBurstSeconds = 3600;

/// Who gets room when it is scarce, and who keeps it, beside what Overflow says. For the life of a
/// table: changes do not reach it.
struct Room {
    bool never_delete_mappings = false;  ///< no entry with a mapping is evicted (RFC 6888 REQ-11)
    std::uint32_t min_life = 0;  ///< seconds for which an entry that is not assured is not evicted
    Adaptive adaptive;
    std::vector<Reservation> reserve;
    PerSource per_source;
};

struct Settings {
    Live<std::uint32_t> max = 262'144;  ///< most entries
    /// Entries that there is memory for, which `max` may be raised to; 0: as `max`.
    std::uint32_t capacity = 0;
    Live<std::uint32_t> buckets = 0;  ///< Linux's hash size, for policy `linux`; 0: as max
    Live<Overflow> overflow = Overflow::EmbryonicOldest;
    /// Share of `max` that not-assured entries may fill, in percent, where the oldest of them goes
    /// to make room (embryonic-oldest, closing-first).
    Live<std::uint32_t> embryonic_percent = 75;
    Room room;
    Timeouts timeouts;
    Live<std::uint32_t> expect_max = 4096;  ///< most expectations
    Live<bool> checksum = true;             ///< verify transport checksums
    Live<bool> acct = false;                ///< new entries count packets and bytes
    Live<bool> timestamp = false;           ///< new entries show start and stop times
    Live<std::uint8_t> events = 2;          ///< 0 never, 1 always, 2 while somebody listens
    Live<std::uint8_t> log_invalid = 0;     ///< protocol whose invalid packets are logged; 255: all
    Live<bool> tcp_loose = true;
    Live<bool> tcp_be_liberal = false;
    Live<std::uint8_t> tcp_liberal = 0;  ///< as tcp_be_liberal, by bit index_of(Dir) of the sender
    Live<bool> tcp_ignore_invalid_rst = false;
    Live<std::uint8_t> tcp_max_retrans = 3;

    /// Entries that the table is made for.
    [[nodiscard]] std::uint32_t entries() const noexcept {
        return capacity != 0 ? capacity : max.get();
    }
};

}  // namespace ct
