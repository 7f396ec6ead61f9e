// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/control/names.hpp"

#include "ct/proto/proto.hpp"
#include "dataplane/control/units.hpp"

#include <algorithm>

namespace dp {

namespace {

struct ProtocolName {
    std::uint8_t number;
    std::string_view name;
};

/// The protocols that conntrack(8) lists by name.
constexpr std::array kListed{
    ProtocolName{ct::ipproto::kTcp, "tcp"},         ProtocolName{ct::ipproto::kUdp, "udp"},
    ProtocolName{ct::ipproto::kIcmp, "icmp"},       ProtocolName{ct::ipproto::kIcmpv6, "icmpv6"},
    ProtocolName{ct::ipproto::kSctp, "sctp"},       ProtocolName{ct::ipproto::kGre, "gre"},
    ProtocolName{ct::ipproto::kUdplite, "udplite"}, ProtocolName{ct::ipproto::kDccp, "dccp"},
};

/// More that operators name (IANA protocol-numbers); listed as `unknown N` all the same.
constexpr std::array kMore{
    ProtocolName{0, "ip"},           ProtocolName{2, "igmp"},   ProtocolName{4, "ipencap"},
    ProtocolName{8, "egp"},          ProtocolName{41, "ipv6"},  ProtocolName{46, "rsvp"},
    ProtocolName{50, "esp"},         ProtocolName{51, "ah"},    ProtocolName{58, "ipv6-icmp"},
    ProtocolName{88, "eigrp"},       ProtocolName{89, "ospf"},  ProtocolName{94, "ipip"},
    ProtocolName{97, "etherip"},     ProtocolName{103, "pim"},  ProtocolName{108, "ipcomp"},
    ProtocolName{112, "vrrp"},       ProtocolName{115, "l2tp"}, ProtocolName{124, "isis"},
    ProtocolName{137, "mpls-in-ip"},
};

constexpr char lower(char c) noexcept {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

/// Of DCCP, which conntrack(8) still takes; no entry has one.
constexpr std::array<std::string_view, 10> kDccpStates{"NONE",   "REQUEST",  "RESPOND", "PARTOPEN",
                                                       "OPEN",   "CLOSEREQ", "CLOSING", "TIMEWAIT",
                                                       "IGNORE", "INVALID"};

}  // namespace

bool same_word(std::string_view a, std::string_view b) noexcept {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                      [](char x, char y) { return lower(x) == lower(y); });
}

bool is_label_name(std::string_view name) noexcept {
    return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
        return c > ' ' && c < 0x7f &&
               std::string_view{"<>&,\"\\"}.find(c) == std::string_view::npos;
    });
}

std::string_view listed_protocol_name(std::uint8_t protocol) noexcept {
    for (const ProtocolName& p : kListed)
        if (p.number == protocol) return p.name;
    return "unknown";
}

std::optional<std::uint8_t> find_protocol(std::string_view text) {
    for (const ProtocolName& p : kListed)
        if (same_word(p.name, text)) return p.number;
    for (const ProtocolName& p : kMore)
        if (same_word(p.name, text)) return p.number;
    const auto number = parse_number(text);
    if (!number || *number > 0xff) return {};
    return static_cast<std::uint8_t>(*number);
}

std::string_view family_name(ct::Family family) noexcept {
    switch (family) {
        case ct::Family::Ipv4:
            return "ipv4";
        case ct::Family::Ipv6:
            return "ipv6";
        case ct::Family::None:
            break;
    }
    return "unknown";
}

std::optional<ct::Family> find_family(std::string_view text) noexcept {
    if (text == "ipv4") return ct::Family::Ipv4;
    if (text == "ipv6") return ct::Family::Ipv6;
    return {};
}

std::optional<std::uint8_t> find_state(std::uint8_t protocol, std::string_view name) {
    const std::size_t count = protocol == ct::ipproto::kTcp    ? ct::kTcpStates
                              : protocol == ct::ipproto::kSctp ? ct::kSctpStates
                                                               : 0;
    // The slot was LISTEN's once, and conntrack(8) still takes that for its name.
    if (protocol == ct::ipproto::kTcp && name == "LISTEN")
        return static_cast<std::uint8_t>(ct::TcpState::SynSent2);
    if (protocol == ct::ipproto::kDccp) {
        const auto at = std::find(kDccpStates.begin(), kDccpStates.end(), name);
        if (at == kDccpStates.end()) return {};
        return static_cast<std::uint8_t>(at - kDccpStates.begin());
    }
    for (std::size_t i = 0; i < count; ++i) {
        const auto state = static_cast<std::uint8_t>(i);
        if (ct::proto::state_name(protocol, state) == name) return state;
    }
    return {};
}

std::uint16_t find_status(std::string_view name) noexcept {
    for (const StatusName& s : kStatusNames)
        if (same_word(s.name, name)) return s.bit;
    return 0;
}

bool has_src_nat(const ct::Tuple& original, const ct::Tuple& reply) noexcept {
    const ct::Tuple mirror = ct::reply_of(original);
    if (!(mirror.dst == reply.dst)) return true;
    return ct::is_icmp(original.proto) ? mirror.sport != reply.sport : mirror.dport != reply.dport;
}

bool has_dst_nat(const ct::Tuple& original, const ct::Tuple& reply) noexcept {
    const ct::Tuple mirror = ct::reply_of(original);
    if (!(mirror.src == reply.src)) return true;
    return !ct::is_icmp(original.proto) && mirror.sport != reply.sport;
}

}  // namespace dp
