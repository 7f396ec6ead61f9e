// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/cli/nat_query.hpp"

#include "dataplane/control/nat_shares.hpp"
#include "dataplane/control/protocol.hpp"
#include "dataplane/control/units.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <getopt.h>
#include <sstream>
#include <stdexcept>
#include <utility>

namespace dp {
namespace {

constexpr std::string_view kWho = "nat-who";
constexpr std::string_view kWhere = "nat-where";
constexpr std::string_view kStandardInput = "-";

constexpr const char* kUsage =
    R"(Usage: sluicectl nat-who ADDRESS:PORT [PROTOCOL] TIME [OPTION...]
       sluicectl nat-where INSIDE-ADDRESS [TIME] [OPTION...]

nat-who tells which subscriber had an external address and port at a time; nat-where, which
external addresses and ports a subscriber has. Neither asks the daemon: shares of deterministic
NAT follow from the configuration, blocks of ports from their log.

ADDRESS:PORT   192.0.2.1:2000 or [2001:db8::1]:2000; of ICMP, the identifier is the port
TIME           2026-11-26T14:20:01Z, also with a fraction or an offset; @SECONDS since 1970; now.
               Without a fraction all of that second is meant.

  -c, --config FILE   the daemon's configuration, as it was at that time
  -l, --log FILE      a log of blocks, also more than once; `-': standard input. By default that
                      of the configuration's [nat_log], and what was rotated to FILE.*
  -o, --output json   one JSON object
  -h, --help          show this

Exit codes: 0 found; 1 nothing found, or failed; 2 bad parameter or configuration.
)";

constexpr option kOptions[] = {{"config", required_argument, nullptr, 'c'},
                               {"log", required_argument, nullptr, 'l'},
                               {"output", required_argument, nullptr, 'o'},
                               {"help", no_argument, nullptr, 'h'},
                               {nullptr, 0, nullptr, 0}};

/// `192.0.2.1:2000` or `[2001:db8::1]:2000`.
void read_endpoint(std::string_view text, NatQuery& out) {
    constexpr std::uint64_t kNoPort = 0x1'0000;
    const std::size_t colon = text.rfind(':');
    std::string_view address = text.substr(0, colon);
    std::uint64_t port = kNoPort;
    if (colon != std::string_view::npos)
        port = parse_number(text.substr(colon + 1)).value_or(kNoPort);
    const bool in_brackets = address.starts_with('[') && address.ends_with(']');
    if (in_brackets) address = address.substr(1, address.size() - 2);
    const auto parsed = parse_address(address);
    const bool fits = parsed && (parsed->family == ct::Family::Ipv6) == in_brackets;
    if (!fits || port >= kNoPort)
        throw BadParameter{"`" + std::string{text} +
                           "' is no address with a port, like 192.0.2.1:2000 or "
                           "[2001:db8::1]:2000"};
    out.address = *parsed;
    out.port = static_cast<std::uint16_t>(port);
}

void read_words(std::vector<std::string_view> words, NatQuery& out, WallNanos now) {
    const std::string_view command = out.who ? kWho : kWhere;
    const auto next = [&](std::string_view what) {
        if (words.empty()) throw BadParameter{fmt::format("`{}' needs {}", command, what)};
        const std::string_view word = words.front();
        words.erase(words.begin());
        return word;
    };
    if (out.who) {
        read_endpoint(next("an external ADDRESS:PORT and a TIME"), out);
        if (words.size() > 1) {
            const std::string_view word = next("a protocol");
            out.protocol = parse_protocol(word);
            if (!out.protocol) throw BadParameter{fmt::format("`{}' is no protocol", word)};
        }
    } else {
        const std::string_view word = next("a subscriber's address");
        const auto address = parse_address(word);
        if (!address) throw BadParameter{fmt::format("`{}' is no address", word)};
        out.address = *address;
    }
    const bool given = out.who || !words.empty();
    const std::string_view time =
        given ? next("a TIME, like 2026-11-26T14:20:01Z or now: ports change hands") : "now";
    const auto span = parse_time(time, now);
    if (!span)
        throw BadParameter{fmt::format(
            "`{}' is no time; write one like 2026-11-26T14:20:01Z, @1790000000 or now", time)};
    out.time = *span;
    if (!words.empty())
        throw BadParameter{fmt::format("`{}': nothing is to follow the time", words.front())};
}

/// How long a block was the subscriber's.
std::string tenure_text(const NatAnswer& a) {
    const std::string since = a.since ? timestamp(*a.since) : "before the log begins";
    if (!a.until) return fmt::format("since {}", since);
    return fmt::format("since {} until {}{}", since, a.restarted ? "at most " : "",
                       timestamp(*a.until));
}

std::string inside_text(const ct::Prefix& p) {
    return p.length == address_bits(p.family) ? to_string(p.family, p.addr) : to_string(p);
}

/// Logs to be read: those named, or the configuration's with what was rotated.
std::vector<std::string> logs_of(const NatQuery& query, const Config* config) {
    namespace fs = std::filesystem;
    if (!query.logs.empty()) return query.logs;
    if (config == nullptr || config->nat_log.file.empty()) return {};
    const fs::path file{config->nat_log.file};
    std::vector<std::string> out;
    std::error_code error;
    const std::string rotated = file.filename().string() + ".";
    const fs::path folder = file.has_parent_path() ? file.parent_path() : fs::path{"."};
    for (const auto& entry : fs::directory_iterator{folder, error})
        if (entry.path().filename().string().starts_with(rotated))
            out.push_back(entry.path().string());
    std::sort(out.begin(), out.end());
    if (fs::exists(file, error)) out.push_back(file.string());
    return out;
}

bool is_compressed(const std::string& name) {
    for (const char* end : {".gz", ".xz", ".bz2", ".zst"})
        if (name.ends_with(end)) return true;
    return false;
}

void read_log(const std::string& name, BlockHistory& history) {
    if (is_compressed(name))
        return fmt::print(stderr,
                          "sluicectl: {}: is compressed, and not read; unpack it and name "
                          "it with --log\n",
                          name);
    std::ifstream file;
    if (name != kStandardInput) {
        file.open(name);
        if (!file)
            throw std::runtime_error{
                fmt::format("{}: cannot be read: {}", name, std::strerror(errno))};
        return history.read(file, name);
    }
    std::string all;
    std::array<char, 65'536> part{};
    while (const std::size_t n = std::fread(part.data(), 1, part.size(), stdin))
        all.append(part.data(), n);
    std::istringstream in{std::move(all)};
    history.read(in, name);
}

/// What one should know of the log beside the answers.
void warn(const NatQuery& query, const BlockHistory& history) {
    if (history.strange_lines() > 0)
        fmt::print(stderr, "sluicectl: {} lines are no records of blocks, the first is {}\n",
                   history.strange_lines(), history.first_strange());
    if (history.records() > 0 && history.begins() > query.time.last)
        fmt::print(stderr,
                   "sluicectl: the log begins at {}, later than what is asked for; name earlier "
                   "ones with --log\n",
                   timestamp(history.begins()));
}

std::string asked_text(const NatQuery& q) {
    const std::string address = to_string(q.address.family, q.address.addr);
    if (!q.who) return address;
    return q.address.family == ct::Family::Ipv6 ? fmt::format("[{}]:{}", address, q.port)
                                                : fmt::format("{}:{}", address, q.port);
}

}  // namespace

bool is_nat_query(int argc, char** argv) {
    return argc > 1 && (argv[1] == kWho || argv[1] == kWhere);
}

NatQuery parse_nat_query(int argc, char** argv, WallNanos now) {
    NatQuery out;
    out.who = argv[1] == kWho;
    opterr = 0;
    optind = 0;
    std::vector<char*> arguments(argv + 1, argv + argc);
    const int count = argc - 1;
    arguments.push_back(nullptr);
    for (;;) {
        const int c = getopt_long(count, arguments.data(), ":c:l:o:h", kOptions, nullptr);
        if (c == -1) break;
        switch (c) {
            case 'c':
                out.config = optarg;
                break;
            case 'l':
                out.logs.emplace_back(optarg);
                break;
            case 'o':
                if (std::string_view{optarg} != "json")
                    throw BadParameter{fmt::format("`{}' is no output of this command", optarg)};
                out.json = true;
                break;
            case 'h':
                out.help = true;
                return out;
            default:
                throw BadParameter{
                    fmt::format("`{}' {}", arguments[static_cast<std::size_t>(optind - 1)],
                                c == ':' ? "needs a value" : "is no option of this command")};
        }
    }
    read_words({arguments.data() + optind, arguments.data() + count}, out, now);
    if (out.config.empty() && out.logs.empty())
        throw BadParameter{"name the daemon's configuration with --config, or a log with --log"};
    return out;
}

std::vector<NatAnswer> ask_config(const NatQuery& query, const Config& config) {
    std::vector<NatAnswer> out;
    for (NatShare& share : query.who
                               ? shares_with(config, query.address, query.port, query.protocol)
                               : shares_of(config, query.address, query.protocol)) {
        NatAnswer& a = out.emplace_back();
        a.share = true;
        a.inside = share.inside;
        a.outside = share.outside;
        a.ports = share.ports;
        a.rule = std::move(share.rule);
        a.where = fmt::format("{}:{}", config.file, share.line);
    }
    return out;
}

bool is_wanted(const NatQuery& query, const BlockRecord& r) {
    if (!query.who) return r.inside.contains(query.address.family, query.address.addr);
    return r.outside_family == query.address.family && r.outside == query.address.addr &&
           r.ports.contains(query.port);
}

std::vector<NatAnswer> ask_log(const NatQuery& query, const BlockHistory& history) {
    std::vector<NatAnswer> out;
    for (const BlockTenure& t : history.tenures()) {
        if (!t.covers(query.time)) continue;
        NatAnswer a;
        a.inside = t.block.inside;
        a.zone = t.block.zone;
        a.outside = {t.block.outside_family, t.block.outside};
        a.ports = t.block.ports;
        a.rule = t.block.rule;
        a.since = t.since;
        a.until = t.until;
        a.restarted = t.restarted;
        a.where = t.where;
        out.push_back(std::move(a));
    }
    return out;
}

std::string show(const NatQuery& query, const std::vector<NatAnswer>& answers) {
    if (!query.json) {
        std::string out;
        for (const NatAnswer& a : answers) {
            out += inside_text(a.inside);
            if (a.zone != 0) out += fmt::format(" in zone {}", a.zone);
            out += fmt::format("  {} {} ports {}-{}", a.share ? "share" : "block",
                               to_string(a.outside.family, a.outside.addr), a.ports.first,
                               a.ports.last);
            if (!a.share) out += "  " + tenure_text(a);
            out += fmt::format("  rule '{}' ({})\n", a.rule, a.where);
        }
        return out;
    }
    nlohmann::ordered_json out{{query.who ? "outside" : "inside", asked_text(query)},
                               {"first", timestamp(query.time.first)},
                               {"last", timestamp(query.time.last)},
                               {"answers", nlohmann::ordered_json::array()}};
    for (const NatAnswer& a : answers) {
        nlohmann::ordered_json row{{"kind", a.share ? "share" : "block"},
                                   {"inside", inside_text(a.inside)},
                                   {"zone", a.zone},
                                   {"outside", to_string(a.outside.family, a.outside.addr)},
                                   {"first_port", a.ports.first},
                                   {"last_port", a.ports.last},
                                   {"rule", a.rule},
                                   {"where", a.where}};
        if (!a.share) {
            row["since"] = a.since ? nlohmann::ordered_json(timestamp(*a.since)) : nullptr;
            row["until"] = a.until ? nlohmann::ordered_json(timestamp(*a.until)) : nullptr;
            row["restarted"] = a.restarted;
        }
        out["answers"].push_back(std::move(row));
    }
    return out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + '\n';
}

int run_nat_query(const NatQuery& query) {
    if (query.help) return std::fputs(kUsage, stdout) < 0 ? 1 : 0;
    std::optional<Config> config;
    // What memory this machine has does not matter to the arithmetic.
    if (!query.config.empty()) config = load(query.config, Machine{});
    const Config* const given = config ? &*config : nullptr;
    BlockHistory history{[&](const BlockRecord& r) { return is_wanted(query, r); }};
    const std::vector<std::string> logs = logs_of(query, given);
    if (given != nullptr && logs.empty() && !given->nat_log.file.empty())
        fmt::print(stderr, "sluicectl: {}: there is no such log; name one with --log\n",
                   given->nat_log.file);
    for (const std::string& log : logs) read_log(log, history);

    std::vector<NatAnswer> answers;
    if (given != nullptr) answers = ask_config(query, *given);
    for (NatAnswer& a : ask_log(query, history)) answers.push_back(std::move(a));
    if (!answers.empty() || query.json) fmt::print("{}", show(query, answers));
    warn(query, history);
    if (std::fflush(stdout) != 0) throw std::runtime_error{"cannot write to stdout"};
    if (answers.empty()) {
        std::vector<std::string> searched = logs;
        if (given != nullptr) searched.push_back(query.config);
        fmt::print(stderr, "sluicectl: nothing is known of {} at {} in {}\n", asked_text(query),
                   timestamp(query.time.first), fmt::join(searched, ", "));
    }
    return answers.empty() ? 1 : 0;
}

}  // namespace dp
