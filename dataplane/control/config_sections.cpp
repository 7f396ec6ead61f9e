// SPDX-License-Identifier: BSD-3-Clause
//
// The sections that stand once in a file: [dataplane], [conntrack], [forward], [log], [control].
#include "ct/base/time.hpp"
#include "dataplane/control/config_parts.hpp"
#include "dataplane/control/notation.hpp"
#include "dataplane/control/sysctl.hpp"
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

/// A sysctl of seconds, from [conntrack] or [conntrack.timeouts].
void read_seconds(Section& section, std::string_view key, const Sysctl& sysctl, ct::Settings& out) {
    if (const auto seconds = section.duration(key, {sysctl.least, sysctl.most}))
        sysctl.write(out, *seconds);
}

/// The keys of [conntrack.timeouts]: the sysctl without `nf_conntrack_` and `_timeout`. What
/// [conntrack] has given under its full name is not to be given again.
void read_timeouts(Section& conntrack, ct::Settings& out) {
    auto section = conntrack.section("timeouts");
    if (!section) return;
    for (const Sysctl& sysctl : sysctls()) {
        if (sysctl.timeout.empty()) continue;
        if (section->has(sysctl.timeout) && conntrack.has(sysctl.key))
            section->problem(
                sysctl.timeout,
                fmt::format("'{}' is set as '{}' in [conntrack], too", sysctl.timeout, sysctl.key),
                "set it once");
        read_seconds(*section, sysctl.timeout, sysctl, out);
    }
    if (const auto seconds = section->duration("fragment", {1, ct::kMaxTimeoutSeconds}))
        out.timeouts.fragment = static_cast<std::uint32_t>(*seconds);
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

/// Every sysctl that is a key of [conntrack].
void read_sysctls(Section& section, ct::Settings& out) {
    for (const Sysctl& sysctl : sysctls()) {
        if (sysctl.key.empty()) continue;
        switch (sysctl.kind) {
            case Sysctl::Kind::Flag: {
                bool on = false;
                if (!section.has(sysctl.key)) break;
                section.flag(sysctl.key, on);
                sysctl.write(out, on ? 1 : 0);
                break;
            }
            case Sysctl::Kind::Number:
                if (const auto n = section.count(sysctl.key, {sysctl.least, sysctl.most}))
                    sysctl.write(out, *n);
                break;
            case Sysctl::Kind::Protocol:
                read_log_invalid(section, out);
                break;
            case Sysctl::Kind::Seconds:
                read_seconds(section, sysctl.key, sysctl, out);
                break;
        }
    }
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
    if (const auto max = section->count("max", {1, kMostEntries}))
        out.max = static_cast<std::uint32_t>(*max);
    section->count("capacity", out.capacity, {1, kMostEntries});
    if (out.capacity != 0 && out.capacity < out.max)
        section->problem(
            "capacity",
            fmt::format("'capacity' ({}) is smaller than 'max' ({})", out.capacity, out.max.get()),
            "write what 'max' may be raised to while the daemon runs, or leave it out");
    check_memory(*section, out.capacity != 0 ? "capacity" : "max", out.entries() * kBytesPerEntry,
                 machine, fmt::format("{} bytes an entry", kBytesPerEntry));
    std::uint32_t buckets = 0;
    section->count_or_auto("buckets", buckets, {1, 1ULL << 31});
    out.buckets = buckets;
    read_overflow(*section, out);
    if (const auto percent = section->count("embryonic_percent", {1, 100}))
        out.embryonic_percent = static_cast<std::uint32_t>(*percent);
    read_sysctls(*section, out);
    section->flag("labels", config.labels);
    read_timeouts(*section, out);
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
