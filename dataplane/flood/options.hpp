// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "dataplane/flood/generator.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace dp::flood {

/// The command line of sluice-flood; defaults are those of `make run`.
struct Options {
    Plan plan{.flood_pps = kMaxRate,
              .established = 80'000,
              .established_pps = 100'000,
              .legit_cps = 1000,
              .rtt = 20'000'000};
    std::uint32_t table = 262'144;
    std::uint32_t seconds = 10;
    std::uint32_t workers = 1;
    std::string policy = "embryonic-oldest";
    std::vector<std::string> conntrack;  ///< in-process: further lines of [conntrack]
    bool masquerade = false;             ///< in-process: the server side's port translates
    bool notrack = false;             ///< in-process: a raw rule exempts every packet from tracking
    std::string driver = "net_null";  ///< in-process: of both ports; or net_ring
    bool acct = false;                ///< in-process: count packets and bytes of connections
    std::string control;              ///< in-process: path of a control socket; empty: none
    std::string json;                 ///< file; empty: none
    bool plain = false;               ///< no live view, even on a terminal
    std::string client_device;        ///< empty: in-process
    std::string server_device;
    std::string client_gateway = "198.18.255.254";
    std::string server_gateway = "198.19.255.254";
    std::vector<std::string> eal;  ///< after `--`
};

}  // namespace dp::flood
