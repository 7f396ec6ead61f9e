// SPDX-License-Identifier: BSD-3-Clause
//
// Traces: what was sent and what the kernel made of it, as text. A trace can be replayed through
// Sluice where no kernel may be asked; those of divergences that were found and mended stand in
// traces/.
//
//     profile default
//     # tcp > S 1000:0 ack 0 win 512
//     packet tun0 whole 45000028...
//     key 2 6 c000020a c633640a 40000 80
//     kernel out NEW original
//     entry original 1 0x8 120 packets 1 0 bytes 40 0
//     out 450000283...
//     wait 119
//
// A packet has any number of keys (family, protocol, source, destination, and what the tuple holds
// of ports), each followed by what the kernel had under it: a line `entry` with direction, state,
// status, seconds, packets and bytes; or none. An entry whose reply is not the mirror image has
// both tuples in lines `original` and `reply` behind it; where the profile translates, a line `out`
// has each packet that left by the other port.
#pragma once

#include "tests/differential/trace.hpp"

#include <string>
#include <vector>

namespace differential {

struct Trace {
    Profile profile;
    std::vector<Step> steps;
    Record kernel;  ///< without table and counts
};

/// Throws std::runtime_error that begins with the path.
void write_trace(const std::string& path, const Trace& trace, const std::string& heading);
/// Throws std::runtime_error that begins with path and line.
[[nodiscard]] Trace read_trace(const std::string& path);

}  // namespace differential
