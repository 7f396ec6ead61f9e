// SPDX-License-Identifier: BSD-3-Clause
#include "ct/proto/why.hpp"

namespace ct::proto {
namespace {

constexpr std::size_t kNames = static_cast<std::size_t>(TimeoutName::FirstSctp) + kSctpStates;

// clang-format off
constexpr std::array<std::string_view, kNames> kSysctls{
    "",
    "nf_conntrack_tcp_timeout_max_retrans",
    "nf_conntrack_tcp_timeout_unacknowledged",
    "nf_conntrack_udp_timeout",
    "nf_conntrack_udp_timeout_stream",
    "nf_conntrack_icmp_timeout",
    "nf_conntrack_icmpv6_timeout",
    "nf_conntrack_gre_timeout",
    "nf_conntrack_gre_timeout_stream",
    "nf_conntrack_generic_timeout",
    "",
    "nf_conntrack_tcp_timeout_syn_sent",
    "nf_conntrack_tcp_timeout_syn_recv",
    "nf_conntrack_tcp_timeout_established",
    "nf_conntrack_tcp_timeout_fin_wait",
    "nf_conntrack_tcp_timeout_close_wait",
    "nf_conntrack_tcp_timeout_last_ack",
    "nf_conntrack_tcp_timeout_time_wait",
    "nf_conntrack_tcp_timeout_close",
    "nf_conntrack_tcp_timeout_syn_sent2",
    "",
    "nf_conntrack_sctp_timeout_closed",
    "nf_conntrack_sctp_timeout_cookie_wait",
    "nf_conntrack_sctp_timeout_cookie_echoed",
    "nf_conntrack_sctp_timeout_established",
    "nf_conntrack_sctp_timeout_shutdown_sent",
    "nf_conntrack_sctp_timeout_shutdown_recd",
    "nf_conntrack_sctp_timeout_shutdown_ack_sent",
    "nf_conntrack_sctp_timeout_heartbeat_sent",
};
// clang-format on

}  // namespace

std::string_view sysctl_of(TimeoutName name) noexcept {
    const auto i = static_cast<std::size_t>(name);
    return i < kNames ? kSysctls[i] : std::string_view{};
}

}  // namespace ct::proto
