// SPDX-License-Identifier: BSD-3-Clause
//
// Between rte_mbuf, which is DPDK's, and ct::Packet, which knows nothing of DPDK.
#pragma once

#include "ct/wire/packet.hpp"
#include "dataplane/outbox.hpp"

#include <rte_mbuf.h>

#include <cstddef>
#include <cstdint>
#include <span>

// Whatever shares inline code with DPDK has to be compiled for the same CPU as the rest.
#ifndef __AES__
#error "compile with the project's -march: libdpdk.pc's own must not win"
#endif

namespace dp {

/// p's buffer, or null.
[[nodiscard]] inline rte_mbuf* mbuf_of(const ct::Packet& p) noexcept {
    return static_cast<rte_mbuf*>(p.owner);
}

/// Writes where p's bytes begin and end back into its buffer, and takes the buffer from p.
[[nodiscard]] inline rte_mbuf* take_mbuf(ct::Packet& p) noexcept {
    rte_mbuf* m = mbuf_of(p);
    m->data_off = static_cast<std::uint16_t>(p.data - static_cast<std::uint8_t*>(m->buf_addr));
    m->data_len = static_cast<std::uint16_t>(p.length);
    m->pkt_len = p.length;
    p.owner = nullptr;
    return m;
}

/// A packet of `m`, which has one segment, that came in by `port`. p owns m.
inline void fill_packet(ct::Packet& p, rte_mbuf* m, ct::PortId port) noexcept {
    p.begin(rte_pktmbuf_mtod(m, std::uint8_t*), m->data_len, port, m);
    p.headroom = m->data_off;
}

/// What is to be remembered of p, in mbuf::hash.usr, while its buffer waits for a neighbour: where
/// it came in, for the ICMP error, should it come to that, and how it is to be split.
[[nodiscard]] inline std::uint32_t waiting_note(const ct::Packet& p) noexcept {
    return p.in_port | std::uint32_t{p.split_above} << 16U;
}
[[nodiscard]] inline ct::PortId noted_port(const rte_mbuf* m) noexcept {
    return static_cast<ct::PortId>(m->hash.usr);
}
[[nodiscard]] inline std::uint16_t noted_split(const rte_mbuf* m) noexcept {
    return static_cast<std::uint16_t>(m->hash.usr >> 16U);
}

/// The packet of the pipeline's that `made` becomes. p owns the buffer.
inline void fill_local(ct::Packet& p, const LocalPacket& made) noexcept {
    fill_packet(p, made.mbuf, ct::kLocalPort);
    p.ip_check = ct::HwCheck::Good;
    p.l4_check = ct::HwCheck::Good;
    p.out_port = made.port;
    if (made.tracking == LocalPacket::Tracking::Untracked) p.state = ct::CtState::Untracked;
}

/// The bytes of an empty buffer from where its frame is to begin.
[[nodiscard]] inline std::span<std::uint8_t> room_of(rte_mbuf* m) noexcept {
    return {rte_pktmbuf_mtod(m, std::uint8_t*), rte_pktmbuf_tailroom(m)};
}

/// Says that the first `size` bytes of room_of(m) are its frame.
inline void set_size(rte_mbuf* m, std::size_t size) noexcept {
    m->data_len = static_cast<std::uint16_t>(size);
    m->pkt_len = static_cast<std::uint32_t>(size);
}

}  // namespace dp
