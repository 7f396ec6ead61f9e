// SPDX-License-Identifier: BSD-3-Clause
//
// The first stage of the pipeline: bytes to tuple, or the one reason why not.
//
// What is checked here is checked nowhere else. A packet that leaves with Drop::None has an IP
// header, every extension header and a transport header that lie whole within its `length`; its
// offsets are in order (l3_offset < l4_offset <= payload_offset <= end <= length); its checksums
// are right as far as they were to be looked at. Later stages index the packet by those offsets
// without asking again. A later fragment is the exception: it has no transport header, and its
// payload begins at l4_offset.
//
// Where Linux's conntrack calls a malformed packet INVALID and leaves it to the rules, Sluice drops
// it here with a reason of its own; in neither case does it make an entry.
#pragma once

#include "ct/wire/packet.hpp"

#include <span>

namespace ct {

struct ParseOptions {
    /// Verify TCP, UDP, UDP-Lite, ICMP and SCTP checksums where the port has not
    /// (nf_conntrack_checksum). The IPv4 header's is verified in any case.
    bool checksum = true;
};

/// Fills the fields of `p` that parse() sets, and p.drop; or p.fault and p.state, if there is
/// nothing wrong but the transport header. The result is what is wrong: p.drop, p.fault or None.
/// For ARP only ethertype, l3_offset, l4_offset, payload_offset and end are set; tuple.family stays
/// None. The zone of the tuples stays as it was. Reads nothing beyond p.length.
///
/// May be called again on the same Packet after its bytes have changed.
[[nodiscard]] Drop parse(Packet& p, const ParseOptions& options) noexcept;

/// parse() of each packet that has no drop reason from its receiver, who has fetched the headers.
void parse(std::span<Packet> packets, const ParseOptions& options) noexcept;

}  // namespace ct
