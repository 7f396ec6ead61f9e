// SPDX-License-Identifier: BSD-3-Clause
//
// sluice -c FILE.toml [--check] [-- EAL ARGUMENTS]
//
// Exit codes: 0 done; 1 failed while running; 2 usage or configuration error.
#include "dataplane/control/config.hpp"
#include "dataplane/control/protocol.hpp"
#include "dataplane/daemon.hpp"
#include "dataplane/log.hpp"

#include <CLI/CLI.hpp>
#include <spdlog/spdlog.h>

#include <cstdio>
#include <exception>
#include <string>
#include <vector>

namespace {

inline constexpr int kFailed = 1;
inline constexpr int kUsage = 2;

struct Arguments {
    std::string file;
    bool check = false;
    std::vector<std::string> eal;
};

/// Everything behind `--` is EAL's and none of the command line parser's.
[[nodiscard]] std::vector<std::string> split_off_eal(int argc, char** argv, Arguments& out) {
    std::vector<std::string> own;
    bool eal = false;
    for (int i = 1; i < argc; ++i) {
        const std::string argument{argv[i]};
        if (!eal && argument == "--") {
            eal = true;
        } else {
            (eal ? out.eal : own).push_back(argument);
        }
    }
    return own;
}

[[nodiscard]] int run(const Arguments& arguments) {
    try {
        const dp::Config config = dp::load(arguments.file);
        if (arguments.check) {
            std::puts(dp::describe(config).c_str());
            return 0;
        }
        dp::start_log(config.log);
        return dp::run_daemon(config, "sluice", arguments.eal);
    } catch (const dp::ConfigError& e) {
        std::fputs(e.report("sluice").c_str(), stderr);
        return kUsage;
    } catch (const std::exception& e) {
        std::fprintf(stderr, "sluice: %s\n", e.what());
        return kFailed;
    }
}

}  // namespace

int main(int argc, char** argv) {
    Arguments arguments;
    CLI::App app{"Sluice: connection tracking and NAT in user space", "sluice"};
    app.add_option("-c,--config", arguments.file, "configuration file (TOML)")->required();
    app.add_flag("--check", arguments.check, "validate the configuration, show it, and exit");
    app.set_version_flag("--version", std::string{dp::version()});
    app.footer("Arguments behind -- go to DPDK's EAL.");
    try {
        std::vector<std::string> own = split_off_eal(argc, argv, arguments);
        app.parse(std::vector<std::string>{own.rbegin(), own.rend()});
    } catch (const CLI::Success& e) {
        return app.exit(e);
    } catch (const CLI::ParseError& e) {
        std::fprintf(stderr, "sluice: %s; try sluice --help\n", e.what());
        return kUsage;
    }
    return run(arguments);
}
