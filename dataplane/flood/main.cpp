// SPDX-License-Identifier: BSD-3-Clause
//
// The program sluice-flood: command line, signals, report. See sluice-flood(1).
#include "dataplane/control/config.hpp"
#include "dataplane/flood/external.hpp"
#include "dataplane/flood/inprocess.hpp"
#include "dataplane/flood/options.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <csignal>
#include <cstdio>
#include <fstream>
#include <stdexcept>
#include <stop_token>
#include <thread>

namespace {

using namespace dp::flood;

constexpr int kDone = 0;
constexpr int kFailed = 1;
constexpr int kUsage = 2;

/// "max" or a number.
std::uint64_t rate_of(const std::string& text) {
    if (text == "max") return kMaxRate;
    std::size_t used = 0;
    const unsigned long long n = std::stoull(text, &used);
    if (used != text.size() || text.front() == '-') throw std::invalid_argument{text};
    return n;
}

std::string check_rate(const std::string& text) {
    try {
        static_cast<void>(rate_of(text));
        return {};
    } catch (const std::exception&) {
        return "'" + text + "' is no rate; say max or a number of packets a second";
    }
}

/// Takes SIGINT and SIGTERM in a thread of its own, and turns the first into a request to stop.
class Signals {
public:
    Signals() {
        sigemptyset(&set_);
        sigaddset(&set_, SIGINT);
        sigaddset(&set_, SIGTERM);
        pthread_sigmask(SIG_BLOCK, &set_, nullptr);  // threads made later inherit it
        waiter_ = std::jthread{[this](const std::stop_token& end) {
            const timespec tick{.tv_sec = 0, .tv_nsec = 100'000'000};
            while (!end.stop_requested())
                if (sigtimedwait(&set_, nullptr, &tick) > 0) source_.request_stop();
        }};
    }
    [[nodiscard]] std::stop_token token() const { return source_.get_token(); }

private:
    sigset_t set_{};
    std::stop_source source_;
    std::jthread waiter_;
};

void add_options(CLI::App& app, Options& o, std::string& flood, std::string& established,
                 double& rtt_ms) {
    app.add_option("--flood-pps", flood, "SYNs a second from random sources, or max")
        ->check(check_rate)
        ->capture_default_str();
    app.add_option("--established", o.plan.established, "connections opened before the flood")
        ->check(CLI::Range(0U, 1'600'000U))
        ->capture_default_str();
    app.add_option("--established-pps", established, "packets a second that they send, or max")
        ->check(check_rate)
        ->capture_default_str();
    app.add_option("--legit-cps", o.plan.legit_cps, "legitimate connections begun a second")
        ->check(CLI::Range(0U, 10'000'000U))
        ->capture_default_str();
    app.add_option("--rtt", rtt_ms, "round trip between clients and servers, in milliseconds")
        ->check(CLI::Range(0.0, 10'000.0))
        ->capture_default_str();
    app.add_option("--table", o.table, "most entries of the table")
        ->check(CLI::Range(1U, 1U << 28))
        ->capture_default_str();
    app.add_option("--seconds", o.seconds, "how long the flood lasts")
        ->check(CLI::Range(1U, 86'400U))
        ->capture_default_str();
    app.add_option("--workers", o.workers, "threads that run the dataplane")
        ->check(CLI::Range(1U, 62U))
        ->capture_default_str();
    app.add_option("--seed", o.plan.seed, "of everything random")->capture_default_str();
    app.add_option("--policy", o.policy, "conntrack.overflow, see sluice.toml(5)")
        ->capture_default_str();
    app.add_option("--conntrack", o.conntrack,
                   "a line of [conntrack], like 'min_life = 2'; may be given several times");
    app.add_flag("--masquerade", o.masquerade, "translate the clients' addresses");
    app.add_flag("--notrack", o.notrack, "forward without tracking, for comparison");
    app.add_option("--driver", o.driver, "of the ports in this process: net_null or net_ring")
        ->check(CLI::IsMember({"net_null", "net_ring"}))
        ->capture_default_str();
    app.add_flag("--acct", o.acct, "count packets and bytes of each connection");
    app.add_option("--control", o.control,
                   "in this process: a control socket here, for sluicectl --socket");
    app.add_option("--json", o.json, "write the result to this file as well");
    app.add_flag("--plain", o.plain, "no live view, plain lines");
    app.add_option("--client-device", o.client_device,
                   "DPDK device (PCI address or vdev) on the clients' side of a gateway elsewhere");
    app.add_option("--server-device", o.server_device, "and the one on the servers' side");
    app.add_option("--client-gateway", o.client_gateway, "the gateway's address there")
        ->check(CLI::ValidIPV4)
        ->capture_default_str();
    app.add_option("--server-gateway", o.server_gateway, "the gateway's address there")
        ->check(CLI::ValidIPV4)
        ->capture_default_str();
    app.set_version_flag("--version", "sluice-flood " SLUICE_VERSION);
}

/// Splits off what follows `--`: EAL's.
std::vector<std::string> take_eal_arguments(int& argc, char** argv) {
    for (int i = 1; i < argc; ++i) {
        if (std::string_view{argv[i]} != "--") continue;
        std::vector<std::string> eal{argv + i + 1, argv + argc};
        argc = i;
        return eal;
    }
    return {};
}

void write_json(const std::string& path, const Result& r) {
    std::ofstream out{path, std::ios::trunc};
    out << json(r);
    out.close();
    if (!out) throw std::runtime_error{path + ": cannot be written"};
}

}  // namespace

int main(int argc, char** argv) {
    Options o;
    std::string flood = "max";
    std::string established = std::to_string(o.plan.established_pps);
    double rtt_ms = static_cast<double>(o.plan.rtt) / 1e6;
    CLI::App app{
        "Floods a connection-tracking gateway and counts what survives. Without devices, "
        "runs Sluice's own dataplane in this process."};
    app.footer("EAL arguments may follow after --.");
    add_options(app, o, flood, established, rtt_ms);
    o.eal = take_eal_arguments(argc, argv);
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& e) {
        return app.exit(e) == 0 ? kDone : kUsage;
    }
    o.plan.flood_pps = rate_of(flood);
    o.plan.established_pps = rate_of(established);
    o.plan.rtt = static_cast<ct::Nanos>(rtt_ms * 1e6);
    const bool external = !o.client_device.empty() || !o.server_device.empty();
    if (external && (o.client_device.empty() || o.server_device.empty())) {
        fmt::print(stderr, "sluice-flood: --client-device and --server-device go together\n");
        return kUsage;
    }
    if (external && !o.control.empty()) {
        fmt::print(
            stderr,
            "sluice-flood: --control shows the dataplane in this process; with devices there "
            "is none, ask the gateway itself\n");
        return kUsage;
    }

    try {
        const Signals signals;
        const Result r =
            external ? run_external(o, signals.token()) : run_in_process(o, signals.token());
        fmt::print("{}", summary(r));
        if (!o.json.empty()) write_json(o.json, r);
        return sound(r) ? kDone : kFailed;
    } catch (const dp::ConfigError& e) {
        fmt::print(stderr, "{}", e.report("sluice-flood"));
        return kUsage;
    } catch (const std::exception& e) {
        fmt::print(stderr, "sluice-flood: {}\n", e.what());
        return kFailed;
    }
}
