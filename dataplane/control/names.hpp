// SPDX-License-Identifier: BSD-3-Clause
//
// The words of conntrack(8): protocols, families, status bits.
#pragma once

#include "ct/conn/status.hpp"
#include "ct/wire/tuple.hpp"

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace dp {

/// What the two port fields of a protocol's tuple mean.
enum class PortKind : std::uint8_t { None, Ports, Icmp, Keys };

[[nodiscard]] constexpr PortKind port_kind(std::uint8_t protocol) noexcept {
    switch (protocol) {
        case ct::ipproto::kTcp:
        case ct::ipproto::kUdp:
        case ct::ipproto::kUdplite:
        case ct::ipproto::kSctp:
        case ct::ipproto::kDccp:
            return PortKind::Ports;
        case ct::ipproto::kIcmp:
        case ct::ipproto::kIcmpv6:
            return PortKind::Icmp;
        case ct::ipproto::kGre:
            return PortKind::Keys;
        default:
            return PortKind::None;
    }
}

/// conntrack(8)'s name of a protocol, "unknown" for those that it knows by number only.
[[nodiscard]] std::string_view listed_protocol_name(std::uint8_t protocol) noexcept;

/// A protocol as `-p` takes it: by conntrack(8)'s or IANA's name in any case, or by number.
[[nodiscard]] std::optional<std::uint8_t> find_protocol(std::string_view text);

/// "ipv4", "ipv6", "unknown".
[[nodiscard]] std::string_view family_name(ct::Family family) noexcept;
/// "ipv4" and "ipv6", in lower case only, as `-f` takes them.
[[nodiscard]] std::optional<ct::Family> find_family(std::string_view text) noexcept;

/// The state of `protocol` that is called `name`; nothing if there is none.
[[nodiscard]] std::optional<std::uint8_t> find_state(std::uint8_t protocol, std::string_view name);

struct StatusName {
    std::uint16_t bit;
    std::string_view name;
};
/// The status bits that are shown by name, in ascending order.
// clang-format off
inline constexpr std::array kStatusNames{
    StatusName{ct::status::kExpected,     "EXPECTED"},
    StatusName{ct::status::kSeenReply,    "SEEN_REPLY"},
    StatusName{ct::status::kAssured,      "ASSURED"},
    StatusName{ct::status::kConfirmed,    "CONFIRMED"},
    StatusName{ct::status::kSrcNat,       "SRC_NAT"},
    StatusName{ct::status::kDstNat,       "DST_NAT"},
    StatusName{ct::status::kSeqAdjust,    "SEQ_ADJUST"},
    StatusName{ct::status::kSrcNatDone,   "SRC_NAT_DONE"},
    StatusName{ct::status::kDstNatDone,   "DST_NAT_DONE"},
    StatusName{ct::status::kDying,        "DYING"},
    StatusName{ct::status::kFixedTimeout, "FIXED_TIMEOUT"},
    StatusName{ct::status::kNatClash,     "NAT_CLASH"},
    StatusName{ct::status::kHelper,       "HELPER"},
    StatusName{ct::status::kOffload,      "OFFLOAD"},
    StatusName{ct::status::kHwOffload,    "HW_OFFLOAD"},
};
// clang-format on

/// The bit that is called `name`, in any case; 0 if there is none.
[[nodiscard]] std::uint16_t find_status(std::string_view name) noexcept;

/// True if `name` can be a label's: what every format shows as it is.
[[nodiscard]] bool is_label_name(std::string_view name) noexcept;

/// True if the two are the same but for the case of ASCII letters.
[[nodiscard]] bool same_word(std::string_view a, std::string_view b) noexcept;

/// True if the connection's source, or destination, address or port is translated.
[[nodiscard]] bool has_src_nat(const ct::Tuple& original, const ct::Tuple& reply) noexcept;
[[nodiscard]] bool has_dst_nat(const ct::Tuple& original, const ct::Tuple& reply) noexcept;

}  // namespace dp
