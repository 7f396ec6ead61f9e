// SPDX-License-Identifier: BSD-3-Clause
//
// The flood against a gateway elsewhere, over two DPDK devices: net_tap, net_af_packet, a NIC. The
// gateway lies between them, with addresses in 198.18.0.0/16 on the clients' side and in
// 198.19.0.0/16 on the servers'; every other address there answers ARP with the device's MAC.
#pragma once

#include "dataplane/flood/options.hpp"
#include "dataplane/flood/report.hpp"

#include <stop_token>

namespace dp::flood {

/// Runs it on the calling thread. What the report says of the table is unknown and zero; a
/// connection counts as lost if after the flood a packet of it does not come through, in either
/// direction. Throws ConfigError, std::runtime_error.
[[nodiscard]] Result run_external(const Options& options, std::stop_token stop);

}  // namespace dp::flood
