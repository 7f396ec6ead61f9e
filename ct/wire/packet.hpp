// SPDX-License-Identifier: BSD-3-Clause
//
// One packet on its way through the pipeline: where its bytes are, what parse() found in them, and
// what each stage decided. A stage skips a packet that has a drop reason.
#pragma once

#include "ct/base/drop.hpp"
#include "ct/base/handle.hpp"
#include "ct/wire/tuple.hpp"

#include <cstdint>
#include <span>

namespace ct {

/// Index of a port of the configuration.
using PortId = std::uint16_t;
inline constexpr PortId kNoPort = 0xffff;
/// `in_port` of a packet that Sluice itself made (echo reply, ICMP error, RST).
inline constexpr PortId kLocalPort = 0xfffe;

/// What the receiving port says of a checksum.
enum class HwCheck : std::uint8_t {
    Unknown,  ///< not looked at: verify in software
    Good,     ///< verified, or vouched for by the sender's host (net_tap with partial checksums)
    Bad,
};

enum class Fragment : std::uint8_t { Whole, First, Later };

/// ctstate as in iptables' conntrack match.
enum class CtState : std::uint8_t { None, New, Established, Related, Invalid, Untracked };

/// TCP flag bits as in the header's 14th byte (RFC 9293 3.1).
namespace tcpflag {
inline constexpr std::uint8_t kFin = 0x01;
inline constexpr std::uint8_t kSyn = 0x02;
inline constexpr std::uint8_t kRst = 0x04;
inline constexpr std::uint8_t kPsh = 0x08;
inline constexpr std::uint8_t kAck = 0x10;
inline constexpr std::uint8_t kUrg = 0x20;
}  // namespace tcpflag

/// What TrackOptions::variant is made of: the number of a time-out policy, 0 being the table's own
/// time-outs, and a bit index_of(Dir) for each direction whose segments are not held to windows.
namespace variant {
inline constexpr std::uint8_t kLiberal = 0b11;  ///< either direction
[[nodiscard]] constexpr std::uint8_t of_policy(std::size_t number) noexcept {
    return static_cast<std::uint8_t>(number << 2U);
}
[[nodiscard]] constexpr std::size_t policy_of(std::size_t v) noexcept {
    return v >> 2U;
}
}  // namespace variant

/// What a raw rule says of the connection that a packet opens (iptables' CT target). Ends up in the
/// entry; means nothing to a packet that finds its connection, but for the zones.
struct TrackOptions {
    /// Zone of the reply tuple where it differs from that of the original, which is tuple.zone.
    std::uint16_t reply_zone = 0;
    bool split_zone = false;   ///< reply_zone counts
    std::uint8_t variant = 0;  ///< of the settings: see above
    std::uint8_t helper = 0;   ///< number of its name (ct/conn/helpers.hpp); 0: none
    /// Bit index_of(Dir): packets of that direction do not refresh the time-out.
    std::uint8_t still = 0;
    std::uint16_t event_mask = 0xffff;  ///< causes (ct/events.hpp) of which events are made

    /// True if something is to be written down with the entry.
    [[nodiscard]] constexpr bool any() const noexcept {
        return variant != 0 || still != 0 || helper != 0 || event_mask != 0xffff;
    }
};

struct Packet {
    // ---- Set by the receiver.
    std::uint8_t* data = nullptr;  ///< first byte of the Ethernet header
    std::uint32_t length = 0;      ///< bytes at `data`, contiguous; any link padding included
    PortId in_port = kNoPort;
    HwCheck ip_check = HwCheck::Unknown;
    HwCheck l4_check = HwCheck::Unknown;
    std::uint16_t headroom = 0;  ///< bytes of the buffer before `data`, for headers that grow
    void* owner = nullptr;       ///< the mbuf, or null; opaque to ct/ and nat/

    // ---- Set by parse(). Offsets count from `data`.
    Tuple tuple;                       ///< as on the wire; zone set by the pipeline
    std::uint16_t l3_offset = 0;       ///< of the IP header
    std::uint16_t l4_offset = 0;       ///< of the transport header, past every extension header
    std::uint32_t end = 0;             ///< one past the last byte of the IP packet; <= length
    std::uint16_t ethertype = 0;       ///< host order; of the innermost tag: 0x0800, 0x86dd, 0x0806
    std::uint16_t payload_offset = 0;  ///< of the transport payload
    std::uint16_t inner_l3_offset = 0;  ///< of the IP header inside an ICMP error; 0 if it is none
    std::uint16_t inner_l4_offset = 0;  ///< of the transport header inside; 0 if none
    Fragment fragment = Fragment::Whole;
    std::uint8_t tcp_flags = 0;     ///< tcpflag bits, ECE and CWR included
    std::uint8_t message_type = 0;  ///< type and code of ICMP and ICMPv6
    std::uint8_t message_code = 0;
    std::uint16_t tcp_window = 0;  ///< host order, unscaled
    std::uint32_t tcp_seq = 0;     ///< host order
    std::uint32_t tcp_ack = 0;     ///< host order
    /// Of an ICMP error: the tuple of the packet inside, as it stands there. It is the direction
    /// opposite to the one in which the error travels.
    Tuple inner;
    bool icmp_error = false;     ///< an ICMP or ICMPv6 error message with a usable `inner`
    bool never_tracked = false;  ///< ND and MLD (semantics.md 2.8): UNTRACKED, no entry
    /// Of a UDP datagram of IPv4 whose sender computed no checksum; valid of later fragments.
    bool without_checksum = false;
    /// What is wrong with its transport header, behind a network header that is sound: then `state`
    /// is Invalid, and the ports may be unknown. The reason for the drop, if the INVALID policy
    /// or an own address makes it one.
    Drop fault = Drop::None;

    // ---- Set by conntrack.
    std::uint64_t hash = 0;  ///< of the tuple that was looked up (ct/table/hash.hpp)
    ConnHandle conn;         ///< the connection, or none
    CtState state = CtState::None;
    Dir dir = Dir::Original;
    Drop drop = Drop::None;
    std::uint16_t status = 0;  ///< ct::status bits of the connection as last seen
    bool opened = false;       ///< this packet made `conn`
    bool no_room = false;      ///< Untracked because the table had no room for its connection
    /// The connection's reply tuple is the mirror image of its original one, and `tuple` is one of
    /// the two: `original` and `reply` are not filled in.
    bool mirrored = false;
    /// No slot had the hash's tag when the bucket's sequence word was `absent_seq`: as long as it
    /// still is, no entry has this tuple or its mirror image.
    bool absent = false;
    std::uint32_t absent_seq = 0;
    std::uint32_t mark = 0;
    /// The key of the reply tuple that the connection may get, and its hash:
    /// Conntrack::expect_replies().
    TupleKey expected_reply;
    std::uint64_t expected_hash = 0;
    /// The connection's two tuples as last seen; what NAT needs, copied so that no stage after
    /// lookup has to read the entry again. Valid where `conn` is, unless `mirrored`.
    Tuple original;
    Tuple reply;

    // ---- Set by rules.
    TrackOptions track;
    std::uint32_t packet_mark = 0;  ///< of this packet alone (nfmark); not the connection's

    // ---- Set by NAT.
    /// Of what was worked out before it was needed (nat/setup.hpp): the hash of the source
    /// endpoint, 0 if not yet; and the number of the rule that led to `expected_reply`, 0 if there
    /// is none.
    std::uint64_t source_tag = 0;
    std::uint32_t guess = 0;
    /// Mapped to an address of this port: ends when that goes away; kNoPort: not so.
    PortId masquerade_port = kNoPort;
    /// Between two hosts of one inside prefix, by the outside one: number of the pair
    /// (nat/nptv6.hpp) plus one; 0: is not.
    std::uint8_t turned_round = 0;
    /// What NAT gave the connection and takes back when it ends (ct::Release); 0: nothing. The
    /// entry's once it is linked.
    std::uint8_t lease = 0;
    bool tell_sender =
        false;  ///< dropped by NAT for a reason that its sender is to be told by ICMP
    /// Port by which the mapping that is the packet's destination reaches the outside; valid where
    /// `lease` says that it has such a destination (nat/setup.hpp).
    PortId mapping_port = kNoPort;

    /// Was IPv4 that may be fragmented, and is IPv6 with a fragment header: to be split if it is
    /// larger than so many bytes (nat/family.hpp); 0: as any other packet.
    std::uint16_t split_above = 0;

    // ---- Set by forwarding.
    PortId out_port = kNoPort;
    std::uint32_t next_hop = 0;  ///< index of the next hop; meaning is forwarding's own

    /// Makes this, whatever it was before, a packet that came in by `port` and was not looked at
    /// yet. What parse() sets, and what is valid only where another field says so, stays as it is.
    void begin(std::uint8_t* bytes, std::uint32_t size, PortId port, void* buffer) noexcept {
        data = bytes;
        length = size;
        in_port = port;
        ip_check = HwCheck::Unknown;
        l4_check = HwCheck::Unknown;
        headroom = 0;
        owner = buffer;
        tuple.zone = 0;
        conn = {};
        state = CtState::None;
        dir = Dir::Original;
        drop = Drop::None;
        status = 0;
        opened = false;
        mirrored = false;
        absent = false;
        mark = 0;
        source_tag = 0;
        guess = 0;
        masquerade_port = kNoPort;
        lease = 0;
        tell_sender = false;
        split_above = 0;
        out_port = kNoPort;
        next_hop = 0;
    }

    [[nodiscard]] bool alive() const noexcept { return drop == Drop::None; }
    [[nodiscard]] std::span<std::uint8_t> bytes() noexcept { return {data, length}; }
    [[nodiscard]] std::span<const std::uint8_t> bytes() const noexcept { return {data, length}; }
};

}  // namespace ct
