// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/control/sysctl.hpp"

#include "ct/base/time.hpp"
#include "dataplane/control/filter.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>

namespace dp {

namespace {

using Kind = Sysctl::Kind;
using ct::SctpState;
using ct::Settings;
using ct::TcpState;

constexpr std::uint64_t kMost32 = std::numeric_limits<std::uint32_t>::max();

/// A setting whose place `Field` names: a stateless callable from Settings to a Live value.
template <class Field>
constexpr Sysctl setting(std::string_view name, std::string_view key, Kind kind,
                         std::uint64_t least, std::uint64_t most, Field) {
    Sysctl s;
    s.name = name;
    s.key = key;
    s.kind = kind;
    s.least = least;
    s.most = most;
    s.read = [](const ct::Conntrack& table) {
        return static_cast<std::uint64_t>(Field{}(table.settings()).get());
    };
    s.write = [](Settings& settings, std::uint64_t value) {
        auto& field = Field{}(settings);
        field = static_cast<decltype(field.get())>(value);
    };
    return s;
}

template <class Field>
constexpr Sysctl flag(std::string_view name, std::string_view key, Field field) {
    return setting(name, key, Kind::Flag, 0, 1, field);
}

template <class Field>
constexpr Sysctl seconds(std::string_view name, std::string_view key, std::string_view timeout,
                         Field field) {
    // 0 as in Linux: entries expire at once, and every packet opens a connection of its own.
    Sysctl s = setting(name, key, Kind::Seconds, 0, ct::kMaxTimeoutSeconds, field);
    s.timeout = timeout;
    return s;
}

/// A time-out of fragments, which have to wait for one another.
template <class Field>
constexpr Sysctl fragment_seconds(std::string_view name, std::string_view key,
                                  std::string_view timeout, Field field) {
    Sysctl s = seconds(name, key, timeout, field);
    s.least = 1;
    return s;
}

template <TcpState S>
constexpr auto tcp = [](auto& s) -> auto& {
    return s.timeouts.tcp[ct::index_of(S)];
};
template <SctpState S>
constexpr auto sctp = [](auto& s) -> auto& {
    return s.timeouts.sctp[ct::index_of(S)];
};

constexpr Sysctl read_only(std::string_view name, std::string_view why,
                           std::uint64_t (*read)(const ct::Conntrack&)) {
    Sysctl s;
    s.name = name;
    s.read_only = why;
    s.read = read;
    return s;
}

#define SLUICE_FIELD(member) \
    [](auto& s) -> auto& {   \
        return s.member;     \
    }

// clang-format off
constexpr std::array kSysctls{
    fragment_seconds("ipfrag_time", "", "", SLUICE_FIELD(timeouts.fragment)),
    flag("nf_conntrack_acct", "acct", SLUICE_FIELD(acct)),
    read_only("nf_conntrack_buckets", "the index is made for it when the daemon starts",
        [](const ct::Conntrack& t) -> std::uint64_t {
            const std::uint32_t buckets = t.settings().buckets;
            return buckets != 0 ? buckets : t.settings().entries();
        }),
    flag("nf_conntrack_checksum", "checksum", SLUICE_FIELD(checksum)),
    read_only("nf_conntrack_count", "it counts the entries",
        [](const ct::Conntrack& t) -> std::uint64_t { return t.count(); }),
    setting("nf_conntrack_events", "events", Kind::Number, 0, 2, SLUICE_FIELD(events)),
    setting("nf_conntrack_expect_max", "expect_max", Kind::Number, 1, kMost32, SLUICE_FIELD(expect_max)),
    fragment_seconds("nf_conntrack_frag6_timeout", "frag6_timeout", "fragment6", SLUICE_FIELD(timeouts.fragment6)),
    seconds("nf_conntrack_generic_timeout", "generic_timeout", "generic", SLUICE_FIELD(timeouts.generic)),
    seconds("nf_conntrack_gre_timeout", "gre_timeout", "gre", SLUICE_FIELD(timeouts.gre)),
    seconds("nf_conntrack_gre_timeout_stream", "gre_timeout_stream", "gre_stream", SLUICE_FIELD(timeouts.gre_stream)),
    seconds("nf_conntrack_icmp_timeout", "icmp_timeout", "icmp", SLUICE_FIELD(timeouts.icmp)),
    seconds("nf_conntrack_icmpv6_timeout", "icmpv6_timeout", "icmpv6", SLUICE_FIELD(timeouts.icmpv6)),
    setting("nf_conntrack_log_invalid", "log_invalid", Kind::Protocol, 0, 255, SLUICE_FIELD(log_invalid)),
    setting("nf_conntrack_max", "", Kind::Number, 1, kMost32, SLUICE_FIELD(max)),
    seconds("nf_conntrack_sctp_timeout_closed", "sctp_timeout_closed", "sctp_closed", sctp<SctpState::Closed>),
    seconds("nf_conntrack_sctp_timeout_cookie_echoed", "sctp_timeout_cookie_echoed", "sctp_cookie_echoed", sctp<SctpState::CookieEchoed>),
    seconds("nf_conntrack_sctp_timeout_cookie_wait", "sctp_timeout_cookie_wait", "sctp_cookie_wait", sctp<SctpState::CookieWait>),
    seconds("nf_conntrack_sctp_timeout_established", "sctp_timeout_established", "sctp_established", sctp<SctpState::Established>),
    seconds("nf_conntrack_sctp_timeout_heartbeat_sent", "sctp_timeout_heartbeat_sent", "sctp_heartbeat_sent", sctp<SctpState::HeartbeatSent>),
    seconds("nf_conntrack_sctp_timeout_shutdown_ack_sent", "sctp_timeout_shutdown_ack_sent", "sctp_shutdown_ack_sent", sctp<SctpState::ShutdownAckSent>),
    seconds("nf_conntrack_sctp_timeout_shutdown_recd", "sctp_timeout_shutdown_recd", "sctp_shutdown_recd", sctp<SctpState::ShutdownRecd>),
    seconds("nf_conntrack_sctp_timeout_shutdown_sent", "sctp_timeout_shutdown_sent", "sctp_shutdown_sent", sctp<SctpState::ShutdownSent>),
    flag("nf_conntrack_tcp_be_liberal", "tcp_be_liberal", SLUICE_FIELD(tcp_be_liberal)),
    flag("nf_conntrack_tcp_ignore_invalid_rst", "tcp_ignore_invalid_rst", SLUICE_FIELD(tcp_ignore_invalid_rst)),
    flag("nf_conntrack_tcp_loose", "tcp_loose", SLUICE_FIELD(tcp_loose)),
    setting("nf_conntrack_tcp_max_retrans", "tcp_max_retrans", Kind::Number, 0, 255, SLUICE_FIELD(tcp_max_retrans)),
    seconds("nf_conntrack_tcp_timeout_close", "tcp_timeout_close", "tcp_close", tcp<TcpState::Close>),
    seconds("nf_conntrack_tcp_timeout_close_wait", "tcp_timeout_close_wait", "tcp_close_wait", tcp<TcpState::CloseWait>),
    seconds("nf_conntrack_tcp_timeout_established", "tcp_timeout_established", "tcp_established", tcp<TcpState::Established>),
    seconds("nf_conntrack_tcp_timeout_fin_wait", "tcp_timeout_fin_wait", "tcp_fin_wait", tcp<TcpState::FinWait>),
    seconds("nf_conntrack_tcp_timeout_last_ack", "tcp_timeout_last_ack", "tcp_last_ack", tcp<TcpState::LastAck>),
    seconds("nf_conntrack_tcp_timeout_max_retrans", "tcp_timeout_max_retrans", "tcp_max_retrans", SLUICE_FIELD(timeouts.tcp_max_retrans)),
    seconds("nf_conntrack_tcp_timeout_syn_recv", "tcp_timeout_syn_recv", "tcp_syn_recv", tcp<TcpState::SynRecv>),
    seconds("nf_conntrack_tcp_timeout_syn_sent", "tcp_timeout_syn_sent", "tcp_syn_sent", tcp<TcpState::SynSent>),
    seconds("nf_conntrack_tcp_timeout_syn_sent2", "tcp_timeout_syn_sent2", "tcp_syn_sent2", tcp<TcpState::SynSent2>),
    seconds("nf_conntrack_tcp_timeout_time_wait", "tcp_timeout_time_wait", "tcp_time_wait", tcp<TcpState::TimeWait>),
    seconds("nf_conntrack_tcp_timeout_unacknowledged", "tcp_timeout_unacknowledged", "tcp_unacknowledged", SLUICE_FIELD(timeouts.tcp_unacknowledged)),
    flag("nf_conntrack_timestamp", "timestamp", SLUICE_FIELD(timestamp)),
    seconds("nf_conntrack_udp_timeout", "udp_timeout", "udp", SLUICE_FIELD(timeouts.udp)),
    seconds("nf_conntrack_udp_timeout_stream", "udp_timeout_stream", "udp_stream", SLUICE_FIELD(timeouts.udp_stream)),
};

#undef SLUICE_FIELD

/// What Linux has and Sluice has no use for.
struct Absent {
    std::string_view name;
    std::string_view why;
};
constexpr std::array kAbsent{
    Absent{"bridge-nf-call-iptables", "there are no bridges; mode \"wire\" of [dataplane] tracks all that it passes on"},
    Absent{"nf_conntrack_frag6_high_thresh", "fragments are bounded in number, by fragment_queue of [dataplane]"},
    Absent{"nf_conntrack_frag6_low_thresh", "fragments are bounded in number, by fragment_queue of [dataplane]"},
    Absent{"nf_conntrack_helper", "helpers are assigned by rule, as in Linux since 6.0"},
    Absent{"nf_flowtable_tcp_timeout", "there is no flow table: every packet takes the fast way"},
    Absent{"nf_flowtable_udp_timeout", "there is no flow table: every packet takes the fast way"},
    Absent{"nf_hooks_lwtunnel", "there are no lightweight tunnels"},
};
// clang-format on

constexpr std::string_view kPrefix = "nf_conntrack_";
constexpr std::string_view kTree = "net.netfilter.";
constexpr std::string_view kTreeOfFragments = "net.ipv4.";
constexpr std::string_view kTreeOfBridges = "net.bridge.";
constexpr std::string_view kMax = "nf_conntrack_max";
constexpr std::string_view kAliasOfMax = "net.nf_conntrack_max";

}  // namespace

std::span<const Sysctl> sysctls() noexcept {
    return kSysctls;
}

std::string path_of(std::string_view name) {
    return fmt::format("{}{}", name.starts_with("nf_") ? kTree : kTreeOfFragments, name);
}

const Sysctl& find_sysctl(std::string_view name) {
    std::string dotted{name};
    std::replace(dotted.begin(), dotted.end(), '/', '.');
    std::string_view wanted = dotted;
    for (const std::string_view tree : {kTree, kTreeOfFragments, kTreeOfBridges})
        if (wanted.starts_with(tree)) wanted.remove_prefix(tree.size());
    if (wanted == kAliasOfMax) wanted = kMax;
    const auto is = [wanted](std::string_view full) {
        return full == wanted ||
               (full.starts_with(kPrefix) && full.substr(kPrefix.size()) == wanted);
    };
    for (const Sysctl& s : kSysctls)
        if (is(s.name)) return s;
    for (const Absent& a : kAbsent)
        if (is(a.name)) throw BadParameter{fmt::format("{} means nothing here: {}", a.name, a.why)};
    throw BadParameter{
        fmt::format("no setting is called `{}'; `sluicectl get' lists them all", name)};
}

void set_sysctl(ct::Conntrack& table, const Sysctl& s, std::uint64_t value) {
    if (!s.read_only.empty())
        throw BadParameter{fmt::format("{} cannot be set: {}", s.name, s.read_only)};
    const bool is_max = s.name == kMax;
    const std::uint64_t most = is_max ? table.capacity() : s.most;
    if (value < s.least || value > most)
        throw BadParameter{fmt::format("{} cannot be {}; write {} to {}{}", s.name, value, s.least,
                                       most,
                                       is_max ? " (memory is taken for so many: to go beyond, "
                                                "give `capacity' in [conntrack] and start again)"
                                              : "")};
    table.change_settings([&](ct::Settings& settings) { s.write(settings, value); });
}

}  // namespace dp
