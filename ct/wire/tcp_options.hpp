// SPDX-License-Identifier: BSD-3-Clause
//
// The options of a TCP header (RFC 9293 3.1).
#pragma once

#include "ct/wire/packet.hpp"

#include <cstddef>
#include <cstdint>
#include <span>

namespace ct {

/// Kinds that Sluice knows by name (IANA tcp-parameters).
namespace tcpoption {
inline constexpr std::uint8_t kEnd = 0;
inline constexpr std::uint8_t kNop = 1;
inline constexpr std::uint8_t kMss = 2;            ///< RFC 9293 3.7.1
inline constexpr std::uint8_t kWindowScale = 3;    ///< RFC 7323 2.2
inline constexpr std::uint8_t kSackPermitted = 4;  ///< RFC 2018 2
inline constexpr std::uint8_t kSack = 5;           ///< RFC 2018 3
}  // namespace tcpoption

/// The options of a parsed segment, all their bytes.
[[nodiscard]] inline std::span<const std::uint8_t> tcp_options(const Packet& p) noexcept {
    constexpr std::uint32_t kHeaderBytes = 20;
    const std::uint32_t begin = p.l4_offset + kHeaderBytes;
    if (p.payload_offset <= begin || p.payload_offset > p.end) return {};
    return {p.data + begin, p.payload_offset - begin};
}

struct TcpOption {
    std::uint8_t kind = 0;
    std::span<const std::uint8_t> body;  ///< without kind and length
};

/// Calls `visit` for each option with a body, until the list ends or lies: an option's length
/// counts its first two bytes.
template <class Visitor>
void for_each_tcp_option(std::span<const std::uint8_t> rest, Visitor visit) noexcept {
    while (!rest.empty() && rest[0] != tcpoption::kEnd) {
        if (rest[0] == tcpoption::kNop) {
            rest = rest.subspan(1);
            continue;
        }
        if (rest.size() < 2 || rest[1] < 2 || rest[1] > rest.size()) return;
        visit(TcpOption{rest[0], rest.subspan(2, rest[1] - 2U)});
        rest = rest.subspan(rest[1]);
    }
}

}  // namespace ct
