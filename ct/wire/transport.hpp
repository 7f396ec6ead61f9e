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

/// True for the sets of flags that a stack sends, PSH, ECE and CWR aside (semantics.md 2.1).
[[nodiscard]] constexpr bool tcp_flags_are_legal(std::uint8_t flags) noexcept {
    using namespace tcpflag;
    constexpr unsigned kJudged = kFin | kSyn | kRst | kAck | kUrg;
    constexpr std::uint64_t kLegal = [] {
        std::uint64_t sets = 0;
        for (const unsigned set :
             {unsigned{kSyn}, kSyn | unsigned{kUrg}, kSyn | unsigned{kAck}, unsigned{kRst},
              kRst | unsigned{kAck}, kFin | unsigned{kAck}, kFin | unsigned{kAck} | kUrg,
              unsigned{kAck}, kAck | unsigned{kUrg}})
            sets |= std::uint64_t{1} << set;
        return sets;
    }();
    return (kLegal >> (flags & kJudged) & 1U) != 0;
}

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
