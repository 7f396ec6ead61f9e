// SPDX-License-Identifier: BSD-3-Clause
//
// Translates packets between IPv6 and IPv4 (RFC 7915), for connections whose two tuples are of
// different families (NAT64, RFC 6146). What becomes of addresses, ports and identifiers is the
// connection's business, as with any mapping (rewrite.hpp); here is what else changes: the header,
// fragments, ICMP's types, and the checksums that cover a pseudo-header.
//
//   to IPv4   Extension headers go. A fragment header becomes id, offset and flags. Without one, a
//             packet of up to 1260 bytes may be fragmented on its way and gets an id of its own; a
//             larger one must not be (RFC 7915 5.1).
//   to IPv6   Options go, but a source route that is not at its end ends the packet. A fragment
//   gets
//             a fragment header. A packet that may be fragmented, and would be larger than the
//             smallest MTU that IPv6 paths are known to have, gets one too and is split by
//             forwarding (RFC 7915 4): who may be split hears of no MTU.
//   ICMP      Echo becomes echo, errors become the error that means the same, the packet inside is
//             translated like one outside, and MTUs become those that the other family sees. Types
//             without a counterpart end here (RFC 7915 4.2, 5.2). The sender of an error that goes
//             to IPv6 is known by its own address behind the connection's prefix.
//
// An error that has been translated loses RFC 4884's extensions, whose place would move.
//
// What cannot be done without the whole packet is not done: fragments of ICMP, as ICMPv6's checksum
// covers the length of the whole message, which its first fragment does not tell and no later one
// can put right (RFC 7915 1.2 leaves them out); and fragments of a UDP packet without a checksum,
// as the one that it would need covers all of them (RFC 7915 4.5, and RFC 6146 3.4 where there is
// no memory to put them together): every one of them is dropped, so that nobody waits for what
// cannot be whole. Neither is put together here: memory for packets of which others decide how many
// there are is what a translator is attacked by.
#pragma once

#include "ct/base/cache.hpp"
#include "ct/conntrack.hpp"
#include "ct/wire/packet.hpp"

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace nat {

/// What becomes of a UDP packet of IPv4 that has no checksum; over IPv6 it needs one (RFC
/// 8200 8.1).
enum class ZeroChecksum : std::uint8_t { Compute, Drop };

/// [nat64]
struct FamilySettings {
    ZeroChecksum zero_checksum = ZeroChecksum::Compute;
    /// Bytes of the largest packet that every IPv6 path takes: IPv4 packets that may be fragmented
    /// are split to this size.
    std::uint16_t lowest_ipv6_mtu = 1280;
    /// The well-known prefix stands for addresses of the Internet only (RFC 6052 3.1).
    bool well_known_is_global = true;
};

/// True if p's connection has an IPv6 and an IPv4 side, so that p changes its family on its way.
[[nodiscard]] inline bool crosses(const ct::Packet& p) noexcept {
    return p.conn.valid() && !p.mirrored && p.original.family != p.reply.family;
}

/// The family that p will leave in.
[[nodiscard]] inline ct::Family family_after(const ct::Packet& p) noexcept {
    if (!crosses(p)) return p.tuple.family;
    return p.tuple.family == ct::Family::Ipv6 ? ct::Family::Ipv4 : ct::Family::Ipv6;
}

/// How p, which crosses(), fits into a link on the other side.
struct Fit {
    std::uint32_t size = 0;  ///< bytes of the IP packet that it becomes, before it is split
    bool may_be_split = false;
    /// The largest packet of p's own family that fits into `mtu` after translation; what its sender
    /// is to be told.
    std::uint32_t sender_mtu = 0;
};
[[nodiscard]] Fit fit_of(const ct::Packet& p, std::uint32_t mtu) noexcept;

/// The tuple of the packet in IPv6, whatever side p is on, in p's direction: what rules see of a
/// connection that crosses.
[[nodiscard]] ct::Tuple ipv6_side(const ct::Packet& p) noexcept;

class FamilyTranslator {
public:
    /// `mtus` by PortId, bytes of the IP packet.
    FamilyTranslator(const FamilySettings& settings, std::vector<std::uint16_t> mtus,
                     ct::WorkerId workers);

    /// Translates every living packet that crosses(); afterwards its offsets and its ethertype are
    /// those of the new headers, before which stands an Ethernet header, and p.tuple is still what
    /// came in. It needs Packet::headroom. Sets p.split_above, or p.drop: NatUntranslatable,
    /// NatZeroChecksum, NatFragment.
    void translate(ct::WorkerId w, std::span<ct::Packet> packets) noexcept;

private:
    /// A worker's own.
    struct alignas(ct::kCacheLine) Worker {
        std::uint32_t packets = 0;  ///< that were given an id
    };

    void to_ipv4(ct::WorkerId w, ct::Packet& p) noexcept;
    void to_ipv6(ct::Packet& p) const noexcept;
    void error_to_ipv4(ct::WorkerId w, ct::Packet& p) noexcept;
    void error_to_ipv6(ct::Packet& p) const noexcept;
    [[nodiscard]] std::uint16_t next_id(ct::WorkerId w) noexcept;
    [[nodiscard]] std::uint32_t mtu_of(ct::PortId port) const noexcept;

    FamilySettings settings_;
    std::vector<std::uint16_t> mtus_;
    ct::WorkerId worker_count_;
    std::unique_ptr<Worker[]> workers_;
};

}  // namespace nat
