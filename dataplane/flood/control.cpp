// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/flood/control.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <chrono>
#include <cstdio>
#include <exception>

namespace dp::flood {

namespace {

std::int64_t wall_offset_ns(const Dataplane& dataplane) {
    const auto wall = std::chrono::system_clock::now().time_since_epoch();
    return std::chrono::nanoseconds{wall}.count() -
           static_cast<std::int64_t>(dataplane.clock().now());
}

/// What `stats` tells of the workers, all together.
std::string stats_json(const Dataplane& dataplane) {
    const Totals t = dataplane.totals();
    return nlohmann::ordered_json{{"total",
                                   {{"rx_packets", t.rx_packets},
                                    {"rx_bytes", t.rx_bytes},
                                    {"tx_packets", t.tx_packets},
                                    {"tx_bytes", t.tx_bytes},
                                    {"local_made", t.local_made},
                                    {"dropped", t.dropped()},
                                    {"held", t.held()},
                                    {"turns", t.turns},
                                    {"busy_turns", t.busy_turns}}}}
        .dump();
}

ControlHooks hooks_for(Dataplane& dataplane) {
    ControlHooks hooks;
    hooks.now = [&dataplane] { return dataplane.clock().now(); };
    hooks.wall_offset_ns = [&dataplane] { return wall_offset_ns(dataplane); };
    hooks.drops = [&dataplane] { return dataplane.totals().drops; };
    hooks.stats_json = [&dataplane] { return stats_json(dataplane); };
    hooks.settings_changed = [&dataplane] { dataplane.settings_changed(); };
    return hooks;
}

}  // namespace

Control::Control(const std::string& path, Dataplane& dataplane)
    : server_{{.path = path}, dataplane.conntrack(), hooks_for(dataplane)},
      thread_{[this](std::stop_token stop) {
          try {
              server_.run(std::move(stop));
          } catch (const std::exception& e) {
              // The flood goes on: nobody can look at it any more.
              fmt::print(stderr, "sluice-flood: {}\n", e.what());
          }
      }} {}

}  // namespace dp::flood
