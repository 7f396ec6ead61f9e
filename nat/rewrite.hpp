// SPDX-License-Identifier: BSD-3-Clause
//
// Translates headers: what NAT does to every packet after the first.
//
// The connection's two tuples say all. A packet of the original direction leaves as the answer to
// reply's mirror image: source reply.dst, destination reply.src. A packet of the reply direction
// leaves as the answer to the original: source original.dst, destination original.src. Where a
// tuple is the plain mirror of the other nothing changes, so one body serves SNAT, DNAT and both.
//
// Checksums are updated, not computed anew (RFC 1624): a packet that was wrong stays wrong, and the
// receiver notices (RFC 3022 4.1). The exception is SCTP, whose CRC is computed over the whole
// packet when a port changes; the addresses are not part of it.
#pragma once

#include "ct/wire/packet.hpp"

#include <span>

namespace nat {

/// Translates every living packet whose connection has NAT (p.status). The packet must have passed
/// parse(), and lookup() or confirm(). p.tuple stays what it was on the wire. Sets p.drop
/// (NatFragment) where a header cannot be made right.
///
/// An ICMP error is translated outside and inside (RFC 5508 REQ-4, REQ-5): the packet inside
/// becomes what its sender had sent, checksums included, as far as it is there.
///
/// A packet that crosses() between the families is left to FamilyTranslator (family.hpp). Returns
/// true if there is one.
bool rewrite(std::span<ct::Packet> packets) noexcept;

}  // namespace nat
