// SPDX-License-Identifier: BSD-3-Clause
//
// Transport headers: ports, states, lengths, checksums. parse() calls in here with the cursor at
// the transport header of a packet whose IP layer is sound.
#pragma once

#include "ct/base/drop.hpp"
#include "ct/wire/network.hpp"
#include "ct/wire/packet.hpp"
#include "ct/wire/reader.hpp"

#include <cstdint>

namespace ct {

/// What to do about the transport checksum of a packet.
enum class Check : std::uint8_t {
    Skip,    ///< it is right, or it cannot or need not be known
    Verify,  ///< compute it
    Bad,     ///< the port has found it wrong
};

/// Reads the transport header of `p`, whose tuple has its addresses and protocol, and fills ports,
/// TCP and ICMP fields, payload_offset and, for an ICMP error, `inner`. `in` is at the transport
/// header and ends with the IP packet; it began at p.data. `p` is whole or a first fragment.
[[nodiscard]] Drop parse_transport(Packet& p, Reader in, const IpInfo& ip, Check check) noexcept;

}  // namespace ct
