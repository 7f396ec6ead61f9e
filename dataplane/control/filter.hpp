// SPDX-License-Identifier: BSD-3-Clause
//
// Which connections a command is about: conntrack(8)'s filters as one struct. The command line is
// parsed into it, it travels as JSON, and the daemon matches snapshots against it.
#pragma once

#include "ct/events.hpp"

#include <nlohmann/json_fwd.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

namespace dp {

/// A request or a parameter that makes no sense: the caller's mistake, exit code 2.
class BadParameter : public std::invalid_argument {
public:
    using std::invalid_argument::invalid_argument;
};

/// Addresses that agree with `addr` in the bits of `mask`.
struct AddressMatch {
    ct::Family family = ct::Family::None;
    ct::Addr addr;
    ct::Addr mask;

    [[nodiscard]] bool contains(ct::Family f, const ct::Addr& a) const noexcept;
    friend bool operator==(const AddressMatch&, const AddressMatch&) noexcept = default;
};

/// `-n`, `-g`, `-j`: translated at all, or to this address, or to this address and port.
struct NatMatch {
    ct::Family family = ct::Family::None;  ///< None: to any address
    ct::Addr addr;
    std::optional<std::uint16_t> port;

    friend bool operator==(const NatMatch&, const NatMatch&) noexcept = default;
};

/// Connections for which every condition that is set holds.
struct Filter {
    ct::Family family = ct::Family::None;  ///< None: both
    std::optional<std::uint8_t> protocol;
    std::optional<AddressMatch> orig_src;
    std::optional<AddressMatch> orig_dst;
    std::optional<AddressMatch> reply_src;
    std::optional<AddressMatch> reply_dst;
    // Ports in host order; of GRE the keys. Only with a protocol that has them.
    std::optional<std::uint16_t> orig_sport;
    std::optional<std::uint16_t> orig_dport;
    std::optional<std::uint16_t> reply_sport;
    std::optional<std::uint16_t> reply_dport;
    // Of the original direction, for ICMP and ICMPv6.
    std::optional<std::uint8_t> icmp_type;
    std::optional<std::uint8_t> icmp_code;
    std::optional<std::uint16_t> icmp_id;
    std::optional<std::uint8_t> state;  ///< TcpState or SctpState, as `protocol` says
    std::uint32_t mark = 0;             ///< matches if (mark & mark_mask) == mark
    std::uint32_t mark_mask = 0;
    std::uint16_t status_set = 0;             ///< status bits that must be set
    std::uint16_t status_clear = 0;           ///< status bits that must not
    std::optional<std::uint16_t> zone;        ///< of both directions; 0: those that share none
    std::optional<std::uint16_t> orig_zone;   ///< of the original direction alone
    std::optional<std::uint16_t> reply_zone;  ///< of the reply direction alone
    std::optional<NatMatch> src_nat;
    std::optional<NatMatch> dst_nat;
    std::optional<NatMatch> any_nat;  ///< source or destination
    std::optional<std::uint32_t> timeout_s;
    std::optional<std::uint32_t> id;
    std::array<std::uint64_t, 2> labels{};  ///< labels that must be set

    [[nodiscard]] bool matches(const ct::Snapshot& conn) const noexcept;
    friend bool operator==(const Filter&, const Filter&) noexcept = default;
};

/// `ADDRESS`, `ADDRESS/LENGTH` or `ADDRESS/MASK`. Throws BadParameter.
[[nodiscard]] AddressMatch parse_address_match(std::string_view text);
/// The form that parse_address_match() reads.
[[nodiscard]] std::string to_string(const AddressMatch& match);

/// `ADDRESS`, `ADDRESS:PORT`, for IPv6 `[ADDRESS]:PORT`. Throws BadParameter.
[[nodiscard]] NatMatch parse_nat_match(std::string_view text);
[[nodiscard]] std::string to_string(const NatMatch& match);

/// `VALUE` or `VALUE/MASK`, into mark and mark_mask. Throws BadParameter.
void parse_mark_match(std::string_view text, Filter& out);

/// Names of `-u`, separated by commas: a status bit, UNREPLIED for the lack of SEEN_REPLY, each
/// with
/// `!` before it for the contrary. Throws BadParameter.
void parse_status_match(std::string_view text, Filter& out);

/// The filter as a JSON object: only what is set, under the names of the members (`protocol` and
/// `state` by number, addresses and marks as text, `src_nat` and its like true or text).
[[nodiscard]] nlohmann::json to_json(const Filter& filter);
/// The contrary; a key that is not known is an error. Throws BadParameter.
[[nodiscard]] Filter filter_from_json(const nlohmann::json& object);

}  // namespace dp
