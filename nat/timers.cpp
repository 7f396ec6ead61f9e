// SPDX-License-Identifier: BSD-3-Clause
#include "nat/timers.hpp"

#include <algorithm>

namespace nat {

ct::Timeouts rfc_timeouts(ct::Timeouts t) noexcept {
    constexpr std::uint32_t kUdp = 300;
    constexpr std::uint32_t kEstablished = 7440;
    constexpr std::uint32_t kTransitory = 240;
    constexpr std::uint32_t kIcmp = 60;
    const auto raise = [](ct::Live<std::uint32_t>& value, std::uint32_t least) {
        value = std::max(value.get(), least);
    };
    raise(t.udp, kUdp);
    raise(t.udp_stream, kUdp);
    for (ct::Live<std::uint32_t>& each : t.tcp) raise(each, kTransitory);
    t.tcp[ct::index_of(ct::TcpState::Established)] = kEstablished;
    raise(t.tcp_max_retrans, kTransitory);
    raise(t.tcp_unacknowledged, kTransitory);
    t.tcp_rst_waits = true;
    raise(t.icmp, kIcmp);
    raise(t.icmpv6, kIcmp);
    return t;
}

}  // namespace nat
