// SPDX-License-Identifier: BSD-3-Clause
//
// Rules: ordered, the first that matches wins, in three chains as in iptables.
//
//   raw      every packet before the lookup: notrack, zone, and how a connection that the packet
//            opens is to be tracked (iptables' CT target)
//   filter   every packet to be forwarded or taken in, after DNAT and before SNAT: what iptables'
//            FORWARD and INPUT see; a packet of a NATed connection shows its real endpoints
//   nat      the first packet of a connection: dnat and redirect before routing, snat and
//            masquerade after it; the mapping holds for the connection's life
//
// Here is what a rule says; nat/rule_set.hpp applies them, nat/check.hpp finds those that can never
// match.
#pragma once

#include "ct/wire/packet.hpp"
#include "ct/wire/prefix.hpp"
#include "ct/wire/tuple.hpp"

#include <cstdint>
#include <string>

namespace nat {

using ct::Prefix;

/// Ports from `first` to `last`, both included, in host order.
struct PortRange {
    std::uint16_t first = 0;
    std::uint16_t last = 0xffff;

    [[nodiscard]] constexpr bool contains(std::uint16_t port) const noexcept {
        return first <= port && port <= last;
    }
    [[nodiscard]] constexpr bool any() const noexcept { return first == 0 && last == 0xffff; }
    /// How many ports there are; `first` must not lie behind `last`.
    [[nodiscard]] constexpr std::uint32_t count() const noexcept {
        return std::uint32_t{last} - first + 1;
    }
    friend constexpr bool operator==(PortRange, PortRange) noexcept = default;
};

enum class Chain : std::uint8_t { Raw, Filter, Nat };

enum class Action : std::uint8_t {
    Accept,
    Drop,
    Reject,   ///< drop and answer: TCP RST, else ICMP port unreachable
    Notrack,  ///< raw: UNTRACKED, no entry
    Zone,     ///< raw: track in zone `value`
    Track,    ///< raw: track as `track` says
    Mark,     ///< filter: set the connection's mark to `value` and go on with the next rule
    // Those below go on with the next rule, too.
    PacketMark,   ///< raw, filter: set the packet's mark to `value`
    SaveMark,     ///< filter: copy the packet's mark to the connection's
    RestoreMark,  ///< filter: copy the connection's mark to the packet's
    Label,        ///< filter: set label `value` of the connection
    Snat,
    Masquerade,  ///< snat to the primary address of the port it leaves by
    Dnat,
    Redirect,  ///< dnat to the primary address of the port it came in by
    Nat64,  ///< dnat from `match.dst` to the IPv4 address inside (RFC 6052), and snat to `target`
};

/// True for the actions after which the next rule is asked.
[[nodiscard]] constexpr bool goes_on(Action a) noexcept {
    return a == Action::Mark || a == Action::PacketMark || a == Action::SaveMark ||
           a == Action::RestoreMark || a == Action::Label;
}

/// What a rule asks beyond the packet and the connection's state: its tuples, whatever direction
/// the packet has (iptables' ctorigsrc and the like), and what else there is to know of it. A
/// `not_` flag inverts its condition, but neither the family nor that there are ports at all.
struct ConnMatch {
    Prefix orig_src;
    Prefix orig_dst;
    Prefix reply_src;
    Prefix reply_dst;
    PortRange orig_sport;
    PortRange orig_dport;
    PortRange reply_sport;
    PortRange reply_dport;
    std::uint32_t expires_first = 0;  ///< seconds until it expires, both included
    std::uint32_t expires_last = 0xffff'ffff;
    int dir = -1;    ///< index_of(ct::Dir) of the packet; -1: any
    int proto = -1;  ///< IP protocol number of the connection; -1: any
    int label = -1;  ///< label that must be set; -1: none
    std::uint32_t packet_mark =
        0;  ///< matches if (mark of packet & packet_mark_mask) == packet_mark
    std::uint32_t packet_mark_mask = 0;
    std::uint8_t helper = 0;  ///< number of the helper (ct/conn/helpers.hpp); 0: any
    bool not_orig_src = false;
    bool not_orig_dst = false;
    bool not_reply_src = false;
    bool not_reply_dst = false;
    bool not_orig_sport = false;
    bool not_orig_dport = false;
    bool not_reply_sport = false;
    bool not_reply_dport = false;
    bool not_expires = false;
    bool not_proto = false;
    bool not_label = false;
    bool not_packet_mark = false;
    bool not_helper = false;

    /// True if it asks for what only the entry knows (ct::ConnFacts).
    [[nodiscard]] bool needs_facts() const noexcept {
        return expires_first != 0 || expires_last != 0xffff'ffff || label >= 0 || helper != 0;
    }
    /// True if it asks for a connection at all.
    [[nodiscard]] bool needs_connection() const noexcept {
        ConnMatch rest = *this;
        rest.packet_mark = rest.packet_mark_mask = 0;
        rest.not_packet_mark = false;
        return !(rest == ConnMatch{});
    }
    friend bool operator==(const ConnMatch&, const ConnMatch&) noexcept = default;
};

/// What a rule asks of a packet; every condition must hold. A `not_` flag inverts its condition,
/// but for the family: "not in 192.0.2.0/24" asks for IPv4 as much as "in 192.0.2.0/24" does. What
/// is asked of a connection holds for no packet that has none, INVALID or UNTRACKED, inverted or
/// not, as in iptables.
struct Match {
    ct::PortId in_port = ct::kNoPort;   ///< kNoPort: any
    ct::PortId out_port = ct::kNoPort;  ///< kNoPort: any; a packet to Sluice itself has none
    Prefix src;
    Prefix dst;
    PortRange sport;  ///< other than any() only with a protocol that has ports
    PortRange dport;
    int proto = -1;                        ///< IP protocol number; -1: any
    ct::Family family = ct::Family::None;  ///< None: any
    std::uint8_t states = 0;               ///< set of 1 << CtState; 0, and no state_nat: any
    std::uint16_t state_nat = 0;    ///< kSrcNat, kDstNat: such a connection's packets as well
    bool not_states = false;        ///< inverts `states` and `state_nat` together
    std::uint16_t status_any = 0;   ///< ct::status bits of which one must be set; 0: any
    std::uint16_t status_none = 0;  ///< ct::status bits of which none may be set
    int zone = -1;                  ///< -1: any
    std::uint32_t mark = 0;         ///< matches if (mark of connection & mark_mask) == mark
    std::uint32_t mark_mask = 0;
    /// Matches while more than so many percent of the table's entries are in use; 0: any. Not in
    /// the nat chain, where a connection's mapping must not depend on it.
    std::uint8_t table_above = 0;
    bool not_src = false;
    bool not_dst = false;
    // What few rules exclude: a port, a protocol, a mark.
    ct::PortId not_in_port = ct::kNoPort;   ///< kNoPort: none
    ct::PortId not_out_port = ct::kNoPort;  ///< kNoPort: none; a packet to Sluice fails it as well
    int not_proto = -1;                     ///< -1: none
    std::uint32_t not_mark = 0;             ///< compared as `mark` is
    std::uint32_t not_mark_mask = 0;        ///< 0: none
    ConnMatch conn;

    /// True if it looks at the connection's status bits.
    [[nodiscard]] bool asks_status() const noexcept {
        return state_nat != 0 || status_any != 0 || status_none != 0;
    }
    /// True if it holds only for a packet that has a connection.
    [[nodiscard]] bool asks_connection() const noexcept {
        return status_any != 0 || status_none != 0 || mark_mask != 0 || not_mark_mask != 0 ||
               conn.needs_connection();
    }
    /// The states, as a set of 1 << CtState, outside of which it holds for no packet.
    [[nodiscard]] std::uint8_t possible_states() const noexcept;

    friend bool operator==(const Match&, const Match&) noexcept = default;
};

/// The set of all states, that of a packet not yet looked up included.
inline constexpr std::uint8_t kAllStates = 0x3f;
/// The set of those in which a packet has a connection.
inline constexpr std::uint8_t kTracked = 1U << static_cast<unsigned>(ct::CtState::New) |
                                         1U << static_cast<unsigned>(ct::CtState::Established) |
                                         1U << static_cast<unsigned>(ct::CtState::Related);

inline std::uint8_t Match::possible_states() const noexcept {
    unsigned possible = kAllStates;
    if (not_states)
        possible &= ~unsigned{states};
    else if (states != 0 || state_nat != 0)
        possible = states | (state_nat != 0 ? unsigned{kTracked} : 0U);
    if (asks_connection()) possible &= kTracked;
    return static_cast<std::uint8_t>(possible);
}

/// True if the protocol's tuple holds ports, so that rules may ask for them and NAT may change
/// them.
[[nodiscard]] constexpr bool has_ports(std::uint8_t proto) noexcept {
    return proto == ct::ipproto::kTcp || proto == ct::ipproto::kUdp ||
           proto == ct::ipproto::kUdplite || proto == ct::ipproto::kSctp;
}

/// Whether a source endpoint has one external endpoint for all whom it talks to (RFC 4787 4.1).
enum class Mapping : std::uint8_t {
    EndpointDependent,    ///< Linux's: a port is taken towards one remote endpoint at a time
    EndpointIndependent,  ///< one for all, its own as long as a connection uses it
};

/// Who outside may open connections to an endpoint-independent mapping (RFC 4787 5).
enum class Filtering : std::uint8_t {
    AddressAndPortDependent,  ///< nobody: only answers come in
    AddressDependent,         ///< addresses that the inside endpoint talks to
    EndpointIndependent,      ///< everybody
};

/// Which of a rule's external addresses a source gets (RFC 4787 4.1).
enum class Pooling : std::uint8_t {
    Linux,      ///< by source and destination; with `persistent`, by source
    Paired,     ///< always the same for a source address
    Arbitrary,  ///< any that has a port left
};

/// Whose packets refresh the time-out of a mapping (RFC 4787 REQ-6).
enum class Refresh : std::uint8_t { Both, Outbound, Inbound };

/// What becomes of a connection for which there is no port left.
enum class NoPort : std::uint8_t {
    Drop,
    Icmp,  ///< the sender is told: communication administratively prohibited (RFC 5508 REQ-8)
};

/// How a source rule's mappings behave; by default as Linux's.
struct Behaviour {
    Mapping mapping = Mapping::EndpointDependent;
    Filtering filtering = Filtering::AddressAndPortDependent;
    Pooling pooling = Pooling::Linux;
    Refresh refresh = Refresh::Both;
    NoPort exhausted = NoPort::Drop;
    bool parity = false;  ///< an even port is mapped to an even one, an odd to an odd (REQ-4)
    /// TrackOptions::variant of the connections; 0: as the raw chain has it.
    std::uint8_t variant = 0;
    /// Seconds for which a port rests after its mapping ended (RFC 6888 REQ-8).
    std::uint32_t quarantine_s = 0;

    [[nodiscard]] bool endpoint_independent() const noexcept {
        return mapping == Mapping::EndpointIndependent;
    }
    friend bool operator==(const Behaviour&, const Behaviour&) noexcept = default;
};

/// Where a nat rule maps to. Without addresses: the port's own (masquerade, redirect).
struct Target {
    ct::Addr first_addr;
    ct::Addr last_addr;
    ct::Family family = ct::Family::None;  ///< None: no addresses
    PortRange ports;                       ///< any(): the port is kept if free
    bool random = false;      ///< choose the port at random even if the original is free
    bool persistent = false;  ///< the address depends on the source alone
    /// The addresses are a prefix: each original is mapped to the one with its own host bits.
    bool netmap = false;
    /// The original port that becomes the first of `ports`, the next becoming the second, and so
    /// on; 0: none.
    std::uint16_t port_base = 0;

    friend bool operator==(const Target&, const Target&) noexcept = default;
};

/// The directions of a connection that a zone counts in.
enum class ZoneScope : std::uint8_t { Both, Original, Reply };

/// What happens to INVALID packets of a zone.
enum class InvalidPolicy : std::uint8_t {
    Pass,     ///< the rules decide, as in Linux; none of a NATed flow leaves untranslated
    Drop,     ///< dropped before any rule
    Liberal,  ///< as Pass, and no TCP segment is INVALID for being out of its window
};

/// A zone with a policy of its own.
struct ZonePolicy {
    std::uint16_t zone = 0;
    InvalidPolicy invalid = InvalidPolicy::Pass;
};

/// A rule that knows no subscribers.
inline constexpr std::uint16_t kNoCarrier = 0xffff;

struct Rule {
    Chain chain = Chain::Filter;
    Match match;
    Action action = Action::Accept;
    std::uint32_t value = 0;            ///< of Zone, Mark, PacketMark and Label
    std::uint32_t mask = 0xffff'ffff;   ///< bits that Mark, PacketMark, SaveMark, RestoreMark touch
    ZoneScope scope = ZoneScope::Both;  ///< of Zone and Track
    ct::TrackOptions track;             ///< of Track, but for the zones; `value` is the zone
    Target target;                      ///< of nat actions
    Behaviour behaviour;                ///< of snat and masquerade
    /// Of Snat and Masquerade: index of its CarrierSettings.
    std::uint16_t carrier = kNoCarrier;
    /// Of Dnat: packets from other ports than match.in_port, or that would go back to
    /// where they came from, are translated too, their source as if they left by match.in_port
    /// (RFC 4787 REQ-9).
    bool hairpin = false;
    /// Of Nat64: only to addresses that hosts of the Internet have (RFC 6052 3.1).
    bool global_only = false;
    std::string name;  ///< for counters and messages
    int line = 0;      ///< in the configuration file
};

}  // namespace nat
