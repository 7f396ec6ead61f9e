// SPDX-License-Identifier: BSD-3-Clause
//
// TCP tracking: states (tcp_states.hpp) and windows. The essay is in tcp.cpp.
#pragma once

#include "ct/proto/proto.hpp"

#include <cstdint>

namespace ct::proto::tcp {

/// Bits of TcpWindow::flags; kScaled, kSackPermitted and those from kChallengeAck on also of
/// TcpLast::flags, unless a word says otherwise.
namespace flag {
inline constexpr std::uint8_t kScaled = 1U << 0;          ///< its SYN had a window scale option
inline constexpr std::uint8_t kSackPermitted = 1U << 1;   ///< its SYN had SACK-permitted
inline constexpr std::uint8_t kLiberal = 1U << 2;         ///< its segments are not held to windows
inline constexpr std::uint8_t kMaxAckSet = 1U << 3;       ///< TcpWindow::max_ack is known
inline constexpr std::uint8_t kUnacknowledged = 1U << 4;  ///< it sent what its peer has not acked
inline constexpr std::uint8_t kCloseInit = 1U << 5;       ///< its FIN was the first
inline constexpr std::uint8_t kChallengeAck = 1U << 6;    ///< the next ACK answers a stray SYN
inline constexpr std::uint8_t kSimultaneousOpen = 1U << 7;  ///< of TcpLast alone
inline constexpr std::uint8_t kReset = 1U << 7;             ///< of TcpWindow: its RST was believed
}  // namespace flag

/// True if open() would accept the segment.
[[nodiscard]] bool admits(const Packet& p, const Settings& s) noexcept;

/// Judges a segment that opens a connection: a SYN, or with `s.tcp_loose` an ACK.
[[nodiscard]] Verdict open(const Packet& p, SideLines& side, const Settings& s) noexcept;

/// Judges a segment of an existing connection.
[[nodiscard]] Verdict update(const Packet& p, const View& view, const Settings& s) noexcept;

}  // namespace ct::proto::tcp
