// SPDX-License-Identifier: BSD-3-Clause
//
// Any bytes as a configuration: they either compile into one that the rest can rely on, or are
// refused with at least one mistake that names a line of the file and a remedy. Nothing else may
// happen: no other exception, no overread, no endless reading. The corpus is configs/.
#include "dataplane/control/config.hpp"
#include "nat/check.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

namespace {

void require(bool holds) {
    if (!holds) std::abort();
}

bool resolves(const dp::Config& config, ct::PortId id) {
    return id == ct::kNoPort || id == ct::kLocalPort || id < config.ports.size();
}

void check_accepted(const dp::Config& config) {
    require(!config.ports.empty());
    for (const dp::PortConfig& port : config.ports) {
        require(!port.name.empty() && !port.device.empty());
        require(config.find_port(port.name) < config.ports.size());
        if (config.dataplane.mode == dp::Mode::Wire)
            require(&config.ports[config.ports.at(port.peer).peer] == &port);
    }
    for (const nat::Rule& rule : config.rules) {
        require(nat::malformed(rule).empty());
        require(resolves(config, rule.match.in_port) && resolves(config, rule.match.out_port));
    }
    for (const dp::RouteConfig& route : config.routes)
        require(route.port < config.ports.size() || (route.port == ct::kNoPort && !route.via));
    for (const dp::NeighbourConfig& n : config.neighbours) require(n.port < config.ports.size());
    require(!dp::describe(config).empty());
}

void check_refused(const dp::ConfigError& error, std::string_view text) {
    const auto lines = 1 + std::count(text.begin(), text.end(), '\n');
    require(!error.problems().empty());
    for (const dp::ConfigProblem& p : error.problems()) {
        require(!p.problem.empty() && !p.remedy.empty());
        require(0 <= p.line && p.line <= lines);
    }
    for (const char* c = error.what(); *c != '\0'; ++c)
        require(*c == '\n' || static_cast<unsigned char>(*c) >= 0x20);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text{reinterpret_cast<const char*>(data), size};
    constexpr dp::Machine kMachine{1ULL << 33};
    try {
        check_accepted(dp::parse_config(text, "fuzz.toml", kMachine));
    } catch (const dp::ConfigError& error) {
        check_refused(error, text);
    }
    return 0;
}
