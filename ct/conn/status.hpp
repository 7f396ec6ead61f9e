// SPDX-License-Identifier: BSD-3-Clause
//
// The status bits of a connection, with Linux's numbers (semantics.md 2.10).
#pragma once

#include <cstdint>

namespace ct {

namespace status {
inline constexpr std::uint16_t kExpected = 1U << 0;
inline constexpr std::uint16_t kSeenReply = 1U << 1;
inline constexpr std::uint16_t kAssured = 1U << 2;
inline constexpr std::uint16_t kConfirmed = 1U << 3;
inline constexpr std::uint16_t kSrcNat = 1U << 4;
inline constexpr std::uint16_t kDstNat = 1U << 5;
inline constexpr std::uint16_t kSeqAdjust = 1U << 6;
inline constexpr std::uint16_t kSrcNatDone = 1U << 7;
inline constexpr std::uint16_t kDstNatDone = 1U << 8;
inline constexpr std::uint16_t kDying = 1U << 9;
inline constexpr std::uint16_t kFixedTimeout = 1U << 10;
inline constexpr std::uint16_t kTemplate = 1U << 11;
inline constexpr std::uint16_t kNatClash = 1U << 12;
inline constexpr std::uint16_t kHelper = 1U << 13;
inline constexpr std::uint16_t kOffload = 1U << 14;
inline constexpr std::uint16_t kHwOffload = 1U << 15;
inline constexpr std::uint16_t kNatMask = kSrcNat | kDstNat;
}  // namespace status

/// TCP states, in the order in which the kernel numbers them.
enum class TcpState : std::uint8_t {
    None,
    SynSent,
    SynRecv,
    Established,
    FinWait,
    CloseWait,
    LastAck,
    TimeWait,
    Close,
    SynSent2,
};
inline constexpr std::size_t kTcpStates = 10;

/// SCTP states, in the kernel's order.
enum class SctpState : std::uint8_t {
    None,
    Closed,
    CookieWait,
    CookieEchoed,
    Established,
    ShutdownSent,
    ShutdownRecd,
    ShutdownAckSent,
    HeartbeatSent,
};
inline constexpr std::size_t kSctpStates = 9;

}  // namespace ct
