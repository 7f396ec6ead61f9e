// SPDX-License-Identifier: BSD-3-Clause
//
// sluicectl: conntrack(8) for a Sluice daemon. What it prints where, and how it exits, is
// conntrack(8)'s own: entries to stdout, the summary to stderr, 0 done, 1 failed, 2 bad parameter.
#include "dataplane/cli/arguments.hpp"
#include "dataplane/cli/show.hpp"
#include "dataplane/control/client.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <csignal>
#include <cstdio>

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
        if (xml() && !begun_) print(dp::kXmlHead);
        begun_ = true;
        print(text);
        lines_ += static_cast<std::uint64_t>(std::count(text.begin(), text.end(), '\n'));
        if (arguments_.request.command == Command::Events) std::fflush(stdout);
    }
    void gap(std::uint64_t lost) const {
        if (arguments_.json) print(fmt::format("{{\"type\":\"gap\",\"lost\":{}}}\n", lost));
        std::fflush(stdout);
        fmt::print(stderr, "WARNING: {} events are lost here\n", lost);
    }
    void data(const std::string& json) const {
        switch (arguments_.request.command) {
            case Command::Count:
                print(fmt::format("{}\n", nlohmann::json::parse(json).at("count").dump()));
                break;
            case Command::Drops:
                print(arguments_.json ? json + "\n" : dp::show_drops(json, arguments_.all));
                break;
            default:
                print(arguments_.json ? json + "\n" : dp::show_stats(json));
                break;
        }
    }
    void end() const {
        if (xml() && begun_) print(dp::kXmlTail);
        if (std::fflush(stdout) != 0) throw std::runtime_error{"cannot write to stdout"};
    }
    [[nodiscard]] std::uint64_t lines() const noexcept { return lines_; }

private:
    [[nodiscard]] bool xml() const noexcept {
        return arguments_.request.output.format == dp::Format::Xml;
    }

    const dp::Arguments& arguments_;
    std::uint64_t lines_ = 0;
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
    Printer printer{arguments};
    while (interrupted == 0) {
        const auto response = client.receive(kPatience);
        if (!response) continue;
        switch (response->kind) {
            case Response::Kind::Text:
                printer.text(response->text);
                break;
            case Response::Kind::Gap:
                printer.gap(response->count);
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
        return conclude(arguments.request, printer.lines());
    return 1;
}

void catch_signals() {
    struct sigaction action {};
    action.sa_handler = on_signal;  // without SA_RESTART: poll() is to return
    sigaction(SIGINT, &action, nullptr);
    sigaction(SIGTERM, &action, nullptr);
}

int run(int argc, char** argv) {
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
    } catch (const std::exception& e) {
        tell(e.what());
        return 1;
    }
}
