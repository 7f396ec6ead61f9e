// SPDX-License-Identifier: BSD-3-Clause
//
// sluicectl: conntrack(8) for a Sluice daemon. What it prints where, and how it exits, is
// conntrack(8)'s own: entries to stdout, the summary to stderr, 0 done, 1 failed, 2 bad parameter.
#include "dataplane/cli/arguments.hpp"
#include "dataplane/cli/nat_query.hpp"
#include "dataplane/cli/show.hpp"
#include "dataplane/control/client.hpp"
#include "dataplane/control/story.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <iostream>

namespace {

using dp::Command;
using dp::Response;
using dp::Table;

volatile std::sig_atomic_t interrupted = 0;

void on_signal(int) {
    interrupted = 1;
}

/// Signals are noticed this late at worst while nothing happens.
constexpr std::chrono::milliseconds kPatience{100};

void tell(std::string_view message) {
    fmt::print(stderr, "sluicectl v{} (sluice): {}\n", dp::version(), message);
}

void print(std::string_view text) {
    if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size())
        throw std::runtime_error{"cannot write to stdout"};
}

/// Entries as they come, in their document if the format has one.
class Printer {
public:
    explicit Printer(const dp::Arguments& arguments) noexcept : arguments_{arguments} {}

    void text(std::string_view text) {
        begin();
        print(text);
        if (arguments_.request.command != Command::Events) return;
        count_events(text);
        std::fflush(stdout);
    }
    void note(std::string_view text) const {
        std::fflush(stdout);
        fmt::print(stderr, "{}\n", text);
    }
    /// Events are missing here: told where the events are, and on stderr.
    void gap(const Response& r) {
        record(fmt::format("    [GAP] lost={} seq={}", r.count, r.first),
               fmt::format("{{\"type\":\"gap\",\"lost\":{},\"seq\":{}}}", r.count, r.first));
        note(
            fmt::format("WARNING: {} events are lost here; a larger --buffer-size may help. What "
                        "the table holds follows.",
                        r.count));
    }
    void synced(const Response& r) {
        record(fmt::format(" [SYNCED] entries={}", r.count),
               fmt::format("{{\"type\":\"synced\",\"entries\":{}}}", r.count));
    }
    void data(const std::string& json) const {
        switch (arguments_.request.command) {
            case Command::Count:
                print(fmt::format("{}\n", nlohmann::json::parse(json).at("count").dump()));
                break;
            case Command::Sysctl:
                print(arguments_.json ? json + "\n" : dp::show_sysctls(json));
                break;
            case Command::Port:
                print(arguments_.json ? json + "\n" : dp::show_port(json));
                break;
            case Command::Address:
                print(arguments_.json ? json + "\n" : dp::show_addresses(json));
                break;
            case Command::Drops:
                print(arguments_.json ? json + "\n" : dp::show_drops(json, arguments_.all));
                break;
            case Command::Explain:
                print(arguments_.json ? json + "\n" : dp::text_of(json));
                break;
            default:
                print(arguments_.json ? json + "\n" : dp::show_stats(json));
                break;
        }
    }
    void end() const {
        const Command c = arguments_.request.command;
        if (xml() && begun_ && (c == Command::List || c == Command::Events)) print(dp::kXmlTail);
        if (std::fflush(stdout) != 0) throw std::runtime_error{"cannot write to stdout"};
    }
    [[nodiscard]] std::uint64_t events() const noexcept { return events_; }

private:
    [[nodiscard]] bool xml() const noexcept { return format() == dp::Format::Xml; }
    [[nodiscard]] dp::Format format() const noexcept { return arguments_.request.output.format; }
    /// Lines, but for those that only show again what there is.
    void count_events(std::string_view text) {
        const std::string_view again = format() == dp::Format::Json  ? R"({"type":"sync")"
                                       : format() == dp::Format::Xml ? R"(<flow type="sync")"
                                                                     : "   [SYNC] ";
        while (!text.empty()) {
            if (!text.starts_with(again)) ++events_;
            text.remove_prefix(std::min(text.find('\n'), text.size() - 1) + 1);
        }
    }
    /// The head of a document: -D and -U print their <flow> lines without one, and -G leaves its
    /// own open, as conntrack(8) does.
    void begin() {
        const Command c = arguments_.request.command;
        const bool has_head = c == Command::List || c == Command::Get || c == Command::Events;
        if (xml() && !begun_ && has_head) print(dp::kXmlHead);
        begun_ = true;
    }
    /// A line that is no entry, in the way of the format.
    void record(const std::string& line, const std::string& json) {
        begin();
        switch (format()) {
            case dp::Format::Json:
                print(json + "\n");
                break;
            case dp::Format::Xml:
                print("<!-- " + line.substr(line.find('[')) + " -->\n");
                break;
            case dp::Format::Save:
                print("# " + line.substr(line.find('[')) + "\n");
                break;
            case dp::Format::Line:
                print(line + "\n");
                break;
        }
    }

    const dp::Arguments& arguments_;
    std::uint64_t events_ = 0;
    bool begun_ = false;
};

/// The sentence on stderr after a command, and the exit code.
int conclude(const dp::Request& request, std::uint64_t count) {
    const bool expect = request.table == Table::Expect;
    switch (request.command) {
        case Command::List:
        case Command::Get:
            tell(fmt::format("{} {} have been shown.", count,
                             expect ? "expectations" : "flow entries"));
            return request.command == Command::Get && count == 0 ? 1 : 0;
        case Command::Create:
            tell(fmt::format("{} flow entries have been {}.", count,
                             request.keep_existing ? "added" : "created"));
            return 0;
        case Command::Update:
            tell(fmt::format("{} flow entries have been updated.", count));
            return count == 0 ? 1 : 0;
        case Command::Delete:
            tell(fmt::format("{} flow entries have been deleted.", count));
            return count == 0 ? 1 : 0;
        case Command::Flush:
            tell(expect ? "expectation table has been emptied."
                        : "connection tracking table has been emptied.");
            return 0;
        case Command::Events:
            tell(fmt::format("{} {} events have been shown.", count,
                             expect ? "expectation" : "flow"));
            return 0;
        default:
            return 0;
    }
}

/// Puts the request to the daemon and prints what it answers.
int serve(const dp::Arguments& arguments) {
    dp::Client client{arguments.socket};
    client.send(arguments.request);
    if (arguments.request.buffer != 0)
        fmt::print(stderr, "NOTICE: Event buffer size has been set to {} bytes.\n",
                   arguments.request.buffer);
    Printer printer{arguments};
    while (interrupted == 0) {
        const auto response = client.receive(kPatience);
        if (!response) continue;
        switch (response->kind) {
            case Response::Kind::Text:
                printer.text(response->text);
                break;
            case Response::Kind::Note:
                printer.note(response->text);
                break;
            case Response::Kind::Gap:
                printer.gap(*response);
                break;
            case Response::Kind::Synced:
                printer.synced(*response);
                break;
            case Response::Kind::Data:
                printer.data(response->text);
                break;
            case Response::Kind::Done:
                printer.end();
                return conclude(arguments.request, response->count);
            case Response::Kind::Error:
                printer.end();
                tell("Operation failed: " + response->text);
                return response->code;
        }
    }
    printer.end();
    if (arguments.request.command == Command::Events)
        return conclude(arguments.request, printer.events());
    return 1;
}

/// -R: puts the requests of a file to the daemon, some ahead of the answers. The first that fails
/// ends it, as in conntrack -R.
int load(const dp::Arguments& arguments, const std::vector<dp::LoadLine>& lines) {
    constexpr std::size_t kAhead = 64;
    dp::Client client{arguments.socket};
    std::size_t sent = 0;
    for (std::size_t done = 0; done < lines.size();) {
        for (; sent < lines.size() && sent < done + kAhead; ++sent)
            client.send(lines[sent].request);
        const auto response = client.receive(kPatience);
        if (interrupted != 0) return 1;
        if (!response) continue;
        switch (response->kind) {
            case Response::Kind::Text:
                print(response->text);
                break;
            case Response::Kind::Note:
                fmt::print(stderr, "{}\n", response->text);
                break;
            case Response::Kind::Error:
                tell(fmt::format("{}:{}: Operation failed: {}", arguments.load_file,
                                 lines[done].line, response->text));
                return response->code;
            case Response::Kind::Done:
                if (lines[done].request.command == Command::Flush)
                    static_cast<void>(conclude(lines[done].request, response->count));
                ++done;
                break;
            default:
                break;
        }
    }
    return 0;
}

int load_file(const dp::Arguments& arguments, std::vector<std::string>& warnings) {
    if (arguments.load_file == "-") return load(arguments, dp::parse_load(std::cin, "-", warnings));
    std::ifstream in{arguments.load_file};
    if (!in) throw dp::BadParameter{"Failed to open file " + arguments.load_file + " for reading"};
    return load(arguments, dp::parse_load(in, arguments.load_file, warnings));
}

void catch_signals() {
    struct sigaction action {};
    action.sa_handler = on_signal;  // without SA_RESTART: poll() is to return
    sigaction(SIGINT, &action, nullptr);
    sigaction(SIGTERM, &action, nullptr);
}

int run(int argc, char** argv) {
    if (dp::is_nat_query(argc, argv)) {
        const auto now = std::chrono::system_clock::now().time_since_epoch();
        return dp::run_nat_query(
            dp::parse_nat_query(argc, argv, std::chrono::nanoseconds{now}.count()));
    }
    std::vector<std::string> warnings;
    const auto warn = [&] {
        for (const std::string& warning : warnings) fmt::print(stderr, "{}\n", warning);
    };
    dp::Arguments arguments;
    try {
        arguments = dp::parse_arguments(argc, argv, warnings);
    } catch (...) {
        warn();
        throw;
    }
    warn();
    switch (arguments.local) {
        case dp::Arguments::Local::Help:
            print(dp::usage());
            return 0;
        case dp::Arguments::Local::Version:
            print(fmt::format("sluicectl v{} (sluice)\n", dp::version()));
            return 0;
        case dp::Arguments::Local::None:
            break;
    }
    catch_signals();
    if (!arguments.load_file.empty()) return load_file(arguments, warnings);
    return serve(arguments);
}

}  // namespace

int main(int argc, char** argv) {
    try {
        return run(argc, argv);
    } catch (const dp::BadParameter& e) {
        tell(e.what());
        fmt::print(stderr, "Try `sluicectl -h' or 'sluicectl --help' for more information.\n");
        return 2;
    } catch (const dp::ConfigError& e) {
        fmt::print(stderr, "{}", e.report("sluicectl"));
        return 2;
    } catch (const std::exception& e) {
        tell(e.what());
        return 1;
    }
}
