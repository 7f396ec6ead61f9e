// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "ct/conn/settings.hpp"

namespace nat {

/// `base` with every time-out that the RFCs on NAT set a minimum for raised to it, where it is
/// lower, or brought down to the RFCs' own value, where Linux's is far above:
///
///   UDP               300 s  RFC 4787 REQ-5 (the default; two minutes at least)
///   TCP established  7440 s  RFC 5382 REQ-5, 2 h 4 min
///   TCP otherwise     240 s  RFC 5382 REQ-5, RFC 7857 2.1
///   after a RST       240 s  RFC 7857 2.2: whatever was seen before (tcp_rst_waits)
///   ICMP queries       60 s  RFC 5508 REQ-2
[[nodiscard]] ct::Timeouts rfc_timeouts(ct::Timeouts base) noexcept;

}  // namespace nat
