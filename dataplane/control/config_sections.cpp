// SPDX-License-Identifier: BSD-3-Clause
//
// The sections that stand once in a file: [dataplane], [conntrack], [forward], [log], [control].
#include "ct/base/time.hpp"
#include "dataplane/control/config_parts.hpp"
#include "dataplane/control/notation.hpp"
#include "dataplane/control/units.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <sys/un.h>

namespace dp {
namespace {

// One of the 64 worker ids of a table is control's own (ct::kMaxWorkers).
constexpr std::uint64_t kMostWorkers = 63;
constexpr std::uint64_t kMostCores = 1024;
// An entry's index, its direction and bits of its generation share 32 bits of an index slot.
constexpr std::uint64_t kMostEntries = 1ULL << 27;
constexpr std::uint64_t kMostBuffers = 1ULL << 24;
constexpr std::uint64_t kBytesPerBuffer = 2304;  // data room 2176 and the mbuf's own 128
constexpr std::size_t kShownOctal = 0777;

constexpr std::array<Word<Mode>, 2> kModes{{{"router", Mode::Router}, {"wire", Mode::Wire}}};
constexpr std::array<Word<HugePages>, 4> kHugePages{{{"auto", HugePages::Auto},
                                                     {"1G", HugePages::Size1G},
                                                     {"2M", HugePages::Size2M},
                                                     {"none", HugePages::None}}};
constexpr std::array<Word<LogLevel>, 4> kLogLevels{{{"debug", LogLevel::Debug},
                                                    {"info", LogLevel::Info},
                                                    {"warning", LogLevel::Warning},
                                                    {"error", LogLevel::Error}}};
constexpr std::array<Word<ct::Overflow>, 3> kOverflows{
    {{"embryonic-oldest", ct::Overflow::EmbryonicOldest},
     {"linux", ct::Overflow::Linux},
     {"drop", ct::Overflow::Drop}}};

/// `key` as a list of distinct core numbers.
std::vector<std::uint32_t> read_cores(Section& section, std::string_view key) {
    std::vector<std::uint32_t> cores;
    for (const Text& text : section.scalars(key)) {
        const auto core = parse_number(text.value);
        if (!core || *core >= kMostCores) {
            section.problem_at(text.line,
                               fmt::format("{} is no core number", in_quotes(text.value)),
                               "write numbers as lscpu shows them, like [2, 3]");
            continue;
        }
        const auto number = static_cast<std::uint32_t>(*core);
        if (std::find(cores.begin(), cores.end(), number) != cores.end())
            section.problem_at(text.line, fmt::format("core {} stands twice in '{}'", number, key),
                               "name each core once");
        else
            cores.push_back(number);
    }
    return cores;
}

/// `workers`: "auto", a number of workers, or the list of their cores.
void read_workers(Section& section, DataplaneConfig& out) {
    if (section.is_auto("workers")) return;
    if (!section.is_array("workers")) {
        section.count("workers", out.workers, {1, kMostWorkers});
        return;
    }
    out.worker_cores = read_cores(section, "workers");
    out.workers = static_cast<std::uint32_t>(out.worker_cores.size());
    if (out.workers > kMostWorkers)
        section.problem("workers",
                        fmt::format("{} workers are more than there can be", out.workers),
                        fmt::format("name at most {} cores", kMostWorkers));
    for (const std::uint32_t core : out.worker_cores) {
        const auto& control = out.control_cores;
        if (std::find(control.begin(), control.end(), core) == control.end()) continue;
        section.problem("workers", fmt::format("core {} is in 'control_cores' too", core),
                        "a worker polls and leaves no time to others: give each a core of its own");
    }
}

void check_memory(Section& section, std::string_view key, std::uint64_t needed,
                  const Machine& machine, std::string_view each) {
    if (machine.available_bytes == 0 || needed <= machine.available_bytes) return;
    constexpr std::uint64_t kMiB = 1ULL << 20;
    section.problem(key,
                    fmt::format("'{}' needs {} MiB of memory ({}), but {} MiB are available", key,
                                (needed + kMiB - 1) / kMiB, each, machine.available_bytes / kMiB),
                    "write a smaller number, or add memory");
}

struct TimeoutKey {
    std::string_view name;
    std::uint32_t* seconds;
};

/// Every key of [conntrack.timeouts]: the sysctl without `nf_conntrack_` and `_timeout`.
std::vector<TimeoutKey> timeout_keys(ct::Timeouts& t) {
    using enum ct::TcpState;
    using Sctp = ct::SctpState;
    const auto tcp = [&](ct::TcpState s) { return &t.tcp[ct::index_of(s)]; };
    const auto sctp = [&](Sctp s) { return &t.sctp[ct::index_of(s)]; };
    return {
        {"tcp_syn_sent", tcp(SynSent)},
        {"tcp_syn_recv", tcp(SynRecv)},
        {"tcp_established", tcp(Established)},
        {"tcp_fin_wait", tcp(FinWait)},
        {"tcp_close_wait", tcp(CloseWait)},
        {"tcp_last_ack", tcp(LastAck)},
        {"tcp_time_wait", tcp(TimeWait)},
        {"tcp_close", tcp(Close)},
        {"tcp_syn_sent2", tcp(SynSent2)},
        {"tcp_max_retrans", &t.tcp_max_retrans},
        {"tcp_unacknowledged", &t.tcp_unacknowledged},
        {"udp", &t.udp},
        {"udp_stream", &t.udp_stream},
        {"icmp", &t.icmp},
        {"icmpv6", &t.icmpv6},
        {"gre", &t.gre},
        {"gre_stream", &t.gre_stream},
        {"sctp_closed", sctp(Sctp::Closed)},
        {"sctp_cookie_wait", sctp(Sctp::CookieWait)},
        {"sctp_cookie_echoed", sctp(Sctp::CookieEchoed)},
        {"sctp_established", sctp(Sctp::Established)},
        {"sctp_shutdown_sent", sctp(Sctp::ShutdownSent)},
        {"sctp_shutdown_recd", sctp(Sctp::ShutdownRecd)},
        {"sctp_shutdown_ack_sent", sctp(Sctp::ShutdownAckSent)},
        {"sctp_heartbeat_sent", sctp(Sctp::HeartbeatSent)},
        {"generic", &t.generic},
        {"fragment", &t.fragment},
        {"fragment6", &t.fragment6},
    };
}

void read_timeouts(Section& conntrack, ct::Timeouts& timeouts) {
    auto section = conntrack.section("timeouts");
    if (!section) return;
    for (const TimeoutKey& key : timeout_keys(timeouts)) {
        const auto seconds = section->duration(key.name, {1, ct::kMaxTimeoutSeconds});
        if (seconds) *key.seconds = static_cast<std::uint32_t>(*seconds);
    }
    section->finish();
}

/// `log_invalid`: 0 for none, 255 for all, else a protocol by number or name.
void read_log_invalid(Section& section, ct::Settings& out) {
    const auto text = section.scalar("log_invalid");
    if (!text) return;
    const auto protocol = parse_protocol(text->value);
    if (protocol)
        out.log_invalid = *protocol;
    else
        section.problem("log_invalid", fmt::format("'log_invalid' is {}", in_quotes(text->value)),
                        "write a protocol's name or number, 0 for none or 255 for all");
}

void read_control(Section& root, ControlConfig& out) {
    auto section = root.section("control");
    if (!section) return;
    constexpr std::size_t kLongestPath = sizeof(sockaddr_un::sun_path) - 1;
    if (auto path = section->text("socket")) {
        if (path->value.empty() || path->value.size() > kLongestPath ||
            path->value.find('\0') != std::string::npos)
            section->problem(
                "socket", fmt::format("{} is no path for a socket", in_quotes(path->value)),
                fmt::format("write a path of 1 to {} characters (unix(7))", kLongestPath));
        else
            out.socket = std::move(path->value);
    }
    if (const auto mode = section->text("mode")) {
        const auto& digits = mode->value;
        const bool octal = !digits.empty() && digits.size() <= 4 &&
                           digits.find_first_not_of("01234567") == std::string::npos;
        const auto bits = octal ? std::stoul(digits, nullptr, 8) : kShownOctal + 1;
        if (bits > kShownOctal)
            section->problem("mode", fmt::format("'mode' is {}", in_quotes(digits)),
                             "write octal permissions as chmod takes them, like \"0600\"");
        else
            out.mode = static_cast<std::uint32_t>(bits);
    }
    section->finish();
}

}  // namespace

void read_dataplane(Section& root, const Machine& machine, Config& config) {
    auto section = root.section("dataplane");
    if (!section) return;
    DataplaneConfig& out = config.dataplane;
    section->choice("mode", out.mode, kModes);
    out.control_cores = section->is_auto("control_cores") ? std::vector<std::uint32_t>{}
                                                          : read_cores(*section, "control_cores");
    read_workers(*section, out);
    section->count("burst", out.burst, {1, 64});
    section->choice("huge_pages", out.huge_pages, kHugePages);
    section->count_or_auto("mempool", out.mempool, {512, kMostBuffers});
    check_memory(*section, "mempool", out.mempool * kBytesPerBuffer, machine,
                 fmt::format("{} bytes a buffer, for each port", kBytesPerBuffer));
    for (Text& argument : section->scalars("eal")) out.eal.push_back(std::move(argument.value));
    section->flag("symmetric_rss", out.symmetric_rss);
    if (!section->is_auto("numa")) {
        if (const auto node = section->count("numa", {0, 63})) out.numa = static_cast<int>(*node);
    }
    section->count("neighbour_queue", out.neighbour_queue, {1, 4096});
    section->count("neighbour_queue_total", out.neighbour_queue_total, {1, 1U << 20});
    section->count("neighbours", out.neighbours, {16, 1U << 20});
    section->count("fragment_queue", out.fragment_queue, {1, 1U << 20});
    if (out.neighbour_queue > out.neighbour_queue_total)
        section->problem(
            "neighbour_queue",
            fmt::format("'neighbour_queue' ({}) is larger than 'neighbour_queue_total' "
                        "({})",
                        out.neighbour_queue, out.neighbour_queue_total),
            "write a smaller 'neighbour_queue' or a larger 'neighbour_queue_total'");
    section->finish();
}

void read_conntrack(Section& root, const Machine& machine, Config& config) {
    auto section = root.section("conntrack");
    ct::Settings& out = config.conntrack;
    if (!section) {
        check_memory(root, "conntrack", out.max * kBytesPerEntry, machine,
                     "the default 'max' of [conntrack]");
        return;
    }
    section->count("max", out.max, {1, kMostEntries});
    check_memory(*section, "max", out.max * kBytesPerEntry, machine,
                 fmt::format("{} bytes an entry", kBytesPerEntry));
    section->count_or_auto("buckets", out.buckets, {1, 1ULL << 31});
    section->choice("overflow", out.overflow, kOverflows);
    section->count("embryonic_percent", out.embryonic_percent, {1, 100});
    section->flag("checksum", out.checksum);
    section->flag("acct", out.acct);
    section->flag("timestamp", out.timestamp);
    section->count("events", out.events, {0, 2});
    read_log_invalid(*section, out);
    section->flag("tcp_loose", out.tcp_loose);
    section->flag("tcp_be_liberal", out.tcp_be_liberal);
    section->flag("tcp_ignore_invalid_rst", out.tcp_ignore_invalid_rst);
    section->count("tcp_max_retrans", out.tcp_max_retrans, {0, 255});
    read_timeouts(*section, out.timeouts);
    section->finish();
}

void read_services(Section& root, Config& config) {
    if (auto forward = root.section("forward")) {
        forward->count("icmp_rate", config.forward.icmp_rate, {0, 1'000'000});
        forward->count("icmp_burst", config.forward.icmp_burst, {1, 1'000'000});
        forward->finish();
    }
    if (auto log = root.section("log")) {
        log->choice("level", config.log.level, kLogLevels);
        if (auto file = log->text("file")) config.log.file = std::move(file->value);
        log->finish();
    }
    read_control(root, config.control);
}

}  // namespace dp
