// SPDX-License-Identifier: BSD-3-Clause
//
// Why a packet did not go on. One table feeds the counters, `sluicectl drops`, the verdicts of
// sluice-replay and the metrics; every dropped packet has exactly one reason out of it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace ct {

/// The reason why a packet was dropped. The order is that of kDrops and may change; names may not.
enum class Drop : std::uint8_t {
    None,
    // Wire: ct/wire/parse.cpp
    Truncated,
    BadEtherType,
    BadIpHeader,
    BadIpLength,
    BadIpChecksum,
    BadIpAddress,
    BadExtension,
    BadNeighbour,
    // Wire too, but the packet is INVALID (Packet::fault), and dropped only if a policy says so.
    BadTcpHeader,
    BadTcpFlags,
    BadTcpChecksum,
    BadUdpLength,
    BadUdpChecksum,
    BadUdpliteHeader,
    BadUdpliteChecksum,
    BadIcmpHeader,
    BadIcmpChecksum,
    BadSctpHeader,
    BadSctpChecksum,
    BadGreHeader,
    // Wire again.
    BadArp,
    MultiSegment,
    // Fragments: ct/wire/fragments.cpp
    BadFragment,
    FragmentOverlap,
    FragmentTimeout,
    FragmentTableFull,
    // Conntrack: ct/conntrack.cpp
    CtInvalid,
    CtTableFull,
    CtTableReject,
    CtMinLife,
    CtMappingKept,
    CtReserved,
    CtSourceEntries,
    CtSourceRate,
    CtBucketFull,
    CtClash,
    // NAT: nat/
    NatNoPort,
    NatPortReject,
    NatFiltered,
    NatNoAddress,
    NatInvalid,
    NatUntracked,
    NatRedirect,
    NatFragment,
    NptUnmappable,
    NatNoBlock,
    NatBlockLimit,
    NatBlockLog,
    NatPortLimit,
    NatConnectionLimit,
    NatRateLimit,
    NatSubscriberLimit,
    NatUntranslatable,
    NatZeroChecksum,
    // Rules: nat/rule.cpp
    RuleDrop,
    RuleReject,
    // Forwarding: dataplane/forward.cpp
    NotForUs,
    NoRoute,
    TtlExceeded,
    TooBig,
    NeighbourQueueFull,
    NeighbourUnreachable,
    NoListener,
    LocalConsumed,
    NoPeerPort,
    TxFull,
    Stopped,
};

struct DropInfo {
    Drop id;
    std::string_view name;  ///< metric label and CLI column; frozen once released
    std::string_view help;  ///< one clause, in the operator's words
};

// clang-format off
inline constexpr std::array kDrops{
    DropInfo{Drop::None,                 "none",                  "the packet goes on"},
    DropInfo{Drop::Truncated,            "truncated",             "the packet ends inside a header"},
    DropInfo{Drop::BadEtherType,         "bad_ether_type",        "neither IPv4, IPv6 nor ARP, or more than two VLAN tags"},
    DropInfo{Drop::BadIpHeader,          "bad_ip_header",         "version or IHL contradicts RFC 791 3.1 or RFC 8200 3"},
    DropInfo{Drop::BadIpLength,          "bad_ip_length",         "the IP length exceeds the frame or undercuts the header"},
    DropInfo{Drop::BadIpChecksum,        "bad_ip_checksum",       "the IPv4 header checksum is wrong"},
    DropInfo{Drop::BadIpAddress,         "bad_ip_address",        "a source or destination that no packet may carry (RFC 1122 3.2.1.3)"},
    DropInfo{Drop::BadExtension,         "bad_extension",         "an IPv6 extension header is malformed, misplaced or one too many"},
    DropInfo{Drop::BadNeighbour,         "bad_neighbour",         "neighbour discovery from another link or in fragments (RFC 4861 7.1, RFC 6980 5)"},
    DropInfo{Drop::BadTcpHeader,         "bad_tcp_header",        "the TCP data offset is below 5 or past the packet"},
    DropInfo{Drop::BadTcpFlags,          "bad_tcp_flags",         "a combination of TCP flags that no stack sends"},
    DropInfo{Drop::BadTcpChecksum,       "bad_tcp_checksum",      "the TCP checksum is wrong"},
    DropInfo{Drop::BadUdpLength,         "bad_udp_length",        "the UDP length exceeds the packet or undercuts 8"},
    DropInfo{Drop::BadUdpChecksum,       "bad_udp_checksum",      "the UDP checksum is wrong"},
    DropInfo{Drop::BadUdpliteHeader,     "bad_udplite_header",    "the UDP-Lite coverage is 1 to 7 or past the packet (RFC 3828 3.1)"},
    DropInfo{Drop::BadUdpliteChecksum,   "bad_udplite_checksum",  "the UDP-Lite checksum is wrong or zero"},
    DropInfo{Drop::BadIcmpHeader,        "bad_icmp_header",       "an ICMP type that does not exist, or an error without its packet"},
    DropInfo{Drop::BadIcmpChecksum,      "bad_icmp_checksum",     "the ICMP checksum is wrong"},
    DropInfo{Drop::BadSctpHeader,        "bad_sctp_header",       "the SCTP packet is shorter than its common header or a chunk is malformed"},
    DropInfo{Drop::BadSctpChecksum,      "bad_sctp_checksum",     "the SCTP CRC32c is wrong"},
    DropInfo{Drop::BadGreHeader,         "bad_gre_header",        "GRE of version 1 that does not carry PPP (RFC 2637 4.1)"},
    DropInfo{Drop::BadArp,               "bad_arp",               "an ARP packet that is not Ethernet and IPv4, or lies"},
    DropInfo{Drop::MultiSegment,         "multi_segment",         "a frame larger than a buffer of the port's pool"},
    DropInfo{Drop::BadFragment,          "bad_fragment",          "a fragment whose offset or length is impossible"},
    DropInfo{Drop::FragmentOverlap,      "fragment_overlap",      "a fragment overlaps another of its packet (RFC 5722)"},
    DropInfo{Drop::FragmentTimeout,      "fragment_timeout",      "a held fragment whose first fragment did not come in time"},
    DropInfo{Drop::FragmentTableFull,    "fragment_table_full",   "no room to hold or to learn another fragmented packet"},
    DropInfo{Drop::CtInvalid,            "ct_invalid",            "the packet fits no connection and may not open one"},
    DropInfo{Drop::CtTableFull,          "ct_table_full",         "the table is full and nothing may be evicted"},
    DropInfo{Drop::CtTableReject,        "ct_table_reject",       "the table is full and conntrack.overflow says reject"},
    DropInfo{Drop::CtMinLife,            "ct_min_life",           "the table is full and all that may be evicted is younger than min_life"},
    DropInfo{Drop::CtMappingKept,        "ct_mapping_kept",       "the table is full and only connections with a mapping could give way"},
    DropInfo{Drop::CtReserved,           "ct_reserved",           "what is left of the table is reserved for other sources"},
    DropInfo{Drop::CtSourceEntries,      "ct_source_entries",     "the source has as many connections as per_source.max_entries allows"},
    DropInfo{Drop::CtSourceRate,         "ct_source_rate",        "the source opens connections faster than per_source.new_per_second"},
    DropInfo{Drop::CtBucketFull,         "ct_bucket_full",        "every slot of the hash bucket's chain holds an entry that may not give way"},
    DropInfo{Drop::CtClash,              "ct_clash",              "another packet took the same tuple in the meantime"},
    DropInfo{Drop::NatNoPort,            "nat_no_port",           "every port of the mapping's range is in use"},
    DropInfo{Drop::NatPortReject,        "nat_port_reject",       "every port of the mapping's range is in use and the rule says exhausted = icmp"},
    DropInfo{Drop::NatFiltered,          "nat_filtered",          "no mapping lets it in: none has this port, or its filtering keeps the sender out"},
    DropInfo{Drop::NatNoAddress,         "nat_no_address",        "the port to masquerade or redirect to has no address of the family"},
    DropInfo{Drop::NatInvalid,           "nat_invalid",           "an invalid packet that may not leave untranslated"},
    DropInfo{Drop::NatUntracked,         "nat_untracked",         "no room to track a packet that may not leave untranslated"},
    DropInfo{Drop::NatRedirect,          "nat_redirect",          "an ICMP redirect about a translated connection"},
    DropInfo{Drop::NatFragment,          "nat_fragment",          "a fragment of SCTP whose CRC would have to cover the whole packet"},
    DropInfo{Drop::NptUnmappable,        "npt_unmappable",        "an address with no counterpart in the other prefix (RFC 6296 3.4, 3.5)"},
    DropInfo{Drop::NatNoBlock,           "nat_no_block",          "no block of external ports is left for the subscriber"},
    DropInfo{Drop::NatBlockLimit,        "nat_block_limit",       "every port of the subscriber is in use, and blocks.max allows no further block"},
    DropInfo{Drop::NatBlockLog,          "nat_block_log",         "a block is not given out because its log record has no room yet"},
    DropInfo{Drop::NatPortLimit,         "nat_port_limit",        "the subscriber uses as many external ports as limits.ports allows"},
    DropInfo{Drop::NatConnectionLimit,   "nat_connection_limit",  "the subscriber has as many connections as limits.connections allows"},
    DropInfo{Drop::NatRateLimit,         "nat_rate_limit",        "the subscriber opens connections faster than limits.new_per_second"},
    DropInfo{Drop::NatSubscriberLimit,   "nat_subscriber_limit",  "there is no room to remember another subscriber"},
    DropInfo{Drop::NatUntranslatable,    "nat_untranslatable",    "a packet that has no counterpart in the other family (RFC 7915)"},
    DropInfo{Drop::NatZeroChecksum,      "nat_zero_checksum",     "UDP of IPv4 without the checksum that IPv6 needs"},
    DropInfo{Drop::RuleDrop,             "rule_drop",             "a filter rule or the filter policy says drop"},
    DropInfo{Drop::RuleReject,           "rule_reject",           "a filter rule says reject"},
    DropInfo{Drop::NotForUs,             "not_for_us",            "the frame's destination MAC is another station's"},
    DropInfo{Drop::NoRoute,              "no_route",              "no route to the destination"},
    DropInfo{Drop::TtlExceeded,          "ttl_exceeded",          "the TTL or hop limit ended here"},
    DropInfo{Drop::TooBig,               "too_big",               "larger than the next link's MTU and not to be fragmented"},
    DropInfo{Drop::NeighbourQueueFull,   "neighbour_queue_full",  "too many packets wait for a neighbour's MAC"},
    DropInfo{Drop::NeighbourUnreachable, "neighbour_unreachable", "the neighbour did not answer ARP or neighbour discovery"},
    DropInfo{Drop::NoListener,           "no_listener",           "addressed to Sluice itself, which serves nothing there"},
    DropInfo{Drop::LocalConsumed,        "local_consumed",        "addressed to Sluice itself and handled (ARP, ND, echo)"},
    DropInfo{Drop::NoPeerPort,           "no_peer_port",          "the port has no peer in wire mode"},
    DropInfo{Drop::TxFull,               "tx_full",               "the transmit queue took no more"},
    DropInfo{Drop::Stopped,              "stopped",               "still held inside when the dataplane stopped"},
};
// clang-format on

inline constexpr std::size_t kDropCount = kDrops.size();

[[nodiscard]] constexpr std::size_t index_of(Drop d) noexcept {
    return static_cast<std::size_t>(d);
}
[[nodiscard]] constexpr std::string_view name_of(Drop d) noexcept {
    return kDrops[index_of(d)].name;
}

/// True if every row of kDrops stands at the index of its id.
consteval bool drops_indexed_by_id() {
    for (std::size_t i = 0; i < kDropCount; ++i)
        if (index_of(kDrops[i].id) != i) return false;
    return true;
}
static_assert(drops_indexed_by_id(), "kDrops[index_of(d)] must describe d");

}  // namespace ct
