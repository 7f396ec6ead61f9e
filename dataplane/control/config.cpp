// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/control/config.hpp"

#include "dataplane/control/config_parts.hpp"
#include "dataplane/control/config_reader.hpp"
#include "dataplane/control/notation.hpp"
#include "dataplane/control/units.hpp"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <system_error>
#include <utility>

namespace dp {
namespace {

constexpr std::size_t kMostProblems = 20;           // shown; the rest are counted
constexpr std::size_t kLargestFile = 4UL << 20;     // bytes
constexpr std::size_t kLongestSyntaxMessage = 160;  // characters
constexpr std::size_t kDeepestKey = 16;             // parts

std::string line_of(const std::string& file, const ConfigProblem& p) {
    const std::string where = p.line > 0 ? fmt::format("{}:{}", file, p.line) : file;
    return fmt::format("{}: {}; {}", where, p.problem, p.remedy);
}

std::string text_of(const std::string& file, const std::vector<ConfigProblem>& problems) {
    std::string out;
    for (std::size_t i = 0; i < problems.size() && i < kMostProblems; ++i)
        out += (i == 0 ? "" : "\n") + line_of(file, problems[i]);
    if (problems.size() > kMostProblems)
        out += fmt::format("\n{}: {}{} more mistakes; correct these first", file,
                           problems.size() < Problems::kMost ? "" : "at least ",
                           problems.size() - kMostProblems);
    return out;
}

/// What toml++ says, on one line.
ConfigProblem syntax_problem(const toml::parse_error& error) {
    std::string said{error.description().substr(0, kLongestSyntaxMessage)};
    std::replace_if(
        said.begin(), said.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, ' ');
    const bool twice = said.find("redefine") != std::string::npos;
    return {std::max(static_cast<int>(error.source().begin.line), 1),
            fmt::format("no valid TOML: {}", said),
            twice ? "define it once" : "see https://toml.io for the syntax"};
}

/// Takes the string that begins at text[at], and adds the lines that it ends to `line`. Gives where
/// its last quote stands, or the end of `text`.
std::size_t end_of_string(std::string_view text, std::size_t at, int& line) {
    const char quote = text[at];
    const std::string mark(text.substr(at).starts_with(std::string(3, quote)) ? 3 : 1, quote);
    for (std::size_t i = at + mark.size(); i < text.size(); ++i) {
        if (text[i] == '\n') {
            ++line;
            if (mark.size() == 1) return i;  // no TOML: toml++ says so
        } else if (text[i] == '\\' && quote == '"') {
            if (++i < text.size() && text[i] == '\n') ++line;
        } else if (text[i] == quote && text.substr(i).starts_with(mark)) {
            i += mark.size() - 1;
            // Two quotes may stand before the three that end it.
            for (int more = 0; mark.size() == 3 && more < 2; ++more)
                if (i + 1 < text.size() && text[i + 1] == quote) ++i;
            return i;
        }
    }
    return text.size();
}

/// The line of the first key of more than kDeepestKey parts, like `a.b.c`; 0 if there is none.
/// toml++ 3.3 makes a table in a table of each part, and frees them by recursion, for which the
/// stack is too small if a file has a hundred thousand of them.
int line_of_deep_key(std::string_view text) {
    int line = 1;
    std::size_t parts = 1;
    for (std::size_t i = 0; i < text.size(); ++i) {
        switch (text[i]) {
            case '\n':
                ++line;
                [[fallthrough]];
            case '=':
            case ',':
            case '[':
            case '{':
                parts = 1;
                break;
            case '.':
                if (++parts > kDeepestKey) return line;
                break;
            case '#':
                i = std::min(text.find('\n', i), text.size()) - 1;
                break;
            case '"':
            case '\'':
                i = end_of_string(text, i, line);
                break;
            default:
                break;
        }
    }
    return 0;
}

toml::table parse_toml(std::string_view text, const std::string& file) {
    if (text.size() > kLargestFile)
        throw ConfigError(file, {{0, fmt::format("the file has {} bytes", text.size()),
                                  fmt::format("at most {} are read", kLargestFile)}});
    if (const int line = line_of_deep_key(text); line != 0)
        throw ConfigError(file, {{line, fmt::format("a key has more than {} parts", kDeepestKey),
                                  "no key has more than three, like conntrack.timeouts.udp"}});
    try {
        return toml::parse(text);
    } catch (const toml::parse_error& error) {
        throw ConfigError(file, {syntax_problem(error)});
    }
}

/// `kB` of a line `NAME: N kB` in /proc/meminfo, else 0.
std::uint64_t meminfo_bytes(std::string_view wanted) {
    std::ifstream in{"/proc/meminfo"};
    std::string name;
    std::string rest;
    while (in >> name && std::getline(in, rest)) {
        if (name != wanted) continue;
        const auto begin = rest.find_first_not_of(' ');
        if (begin == std::string::npos) return 0;
        const std::string_view digits =
            std::string_view{rest}.substr(begin, rest.find(' ', begin) - begin);
        return parse_number(digits).value_or(0) * 1024;
    }
    return 0;
}

/// Bytes of all huge pages that nobody uses yet.
std::uint64_t free_huge_bytes() {
    namespace fs = std::filesystem;
    constexpr std::string_view kPrefix = "hugepages-";  // hugepages-2048kB
    std::uint64_t sum = 0;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator{"/sys/kernel/mm/hugepages", error}) {
        const std::string name = entry.path().filename().string();
        if (!name.starts_with(kPrefix) || !name.ends_with("kB")) continue;
        const auto kib = parse_number(
            std::string_view{name}.substr(kPrefix.size(), name.size() - kPrefix.size() - 2));
        std::uint64_t free = 0;
        std::ifstream{entry.path() / "free_hugepages"} >> free;
        sum += kib.value_or(0) * 1024 * free;
    }
    return sum;
}

}  // namespace

ConfigError::ConfigError(std::string file, std::vector<ConfigProblem> problems)
    : std::runtime_error{text_of(file, problems)},
      file_{std::move(file)},
      problems_{std::move(problems)} {}

std::string ConfigError::report(std::string_view program) const {
    std::string out;
    std::string_view rest = what();
    while (!rest.empty()) {
        const auto end = std::min(rest.find('\n'), rest.size());
        out += fmt::format("{}: {}\n", program, rest.substr(0, end));
        rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    return out;
}

Machine Machine::here() {
    Machine machine;
    const std::uint64_t ordinary = meminfo_bytes("MemAvailable:");
    if (ordinary != 0) machine.available_bytes = ordinary + free_huge_bytes();
    return machine;
}

nat::Prefix InterfaceAddress::subnet() const noexcept {
    return masked(prefix);
}

const InterfaceAddress* PortConfig::primary(ct::Family family) const noexcept {
    const auto it = std::find_if(addresses.begin(), addresses.end(),
                                 [&](const auto& a) { return a.prefix.family == family; });
    return it == addresses.end() ? nullptr : &*it;
}

std::vector<std::uint16_t> mtus(const Config& config) {
    std::vector<std::uint16_t> out;
    for (const PortConfig& port : config.ports) out.push_back(port.mtu);
    return out;
}

ct::PortId Config::find_port(std::string_view name) const noexcept {
    if (name.empty()) return ct::kNoPort;
    for (std::size_t i = 0; i < ports.size(); ++i)
        if (ports[i].name == name) return static_cast<ct::PortId>(i);
    return ct::kNoPort;
}

namespace {

void read_all(Section& root, const Machine& machine, Config& config) {
    read_dataplane(root, machine, config);
    read_ports(root, config);
    read_conntrack(root, machine, config);
    read_tracking(root, config);
    read_nat64(root, config);
    read_rules(root, config);
    read_nptv6(root, config);
    read_routes(root, config);
    read_neighbours(root, config);
    read_services(root, config);
    read_nat_log(root, config);
    root.finish();
}

}  // namespace

Config parse_config(std::string_view text, std::string_view file, const Machine& machine) {
    Config config;
    config.file = file;
    const toml::table table = parse_toml(text, config.file);
    Problems problems;
    try {
        Section root{table, "", problems};
        read_all(root, machine, config);
    } catch (const Problems::Full&) {
        // They are reported like fewer.
    }
    if (problems.count() > 0) throw ConfigError(config.file, std::move(problems).sorted());
    return config;
}

Config load(const std::string& path, const Machine& machine) {
    const auto cannot_read = [&](int error) {
        return ConfigError(path, {{0, fmt::format("cannot be read: {}", std::strerror(error)),
                                   "name a file that exists and may be read"}});
    };
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> in{std::fopen(path.c_str(), "rb"),
                                                             &std::fclose};
    if (in == nullptr) throw cannot_read(errno);
    std::string text(kLargestFile + 1, '\0');
    text.resize(std::fread(text.data(), 1, text.size(), in.get()));
    if (std::ferror(in.get()) != 0) throw cannot_read(errno);
    return parse_config(text, path, machine);
}

}  // namespace dp
