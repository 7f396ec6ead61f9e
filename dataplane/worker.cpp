// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/worker.hpp"

#include "dataplane/mbuf.hpp"

#include <rte_ethdev.h>

#include <algorithm>
#include <cassert>
#include <cstring>

namespace dp {
namespace {

using ct::Drop;
using ct::HwCheck;
using ct::Packet;

[[nodiscard]] HwCheck ip_check_of(std::uint64_t flags) noexcept {
    switch (flags & RTE_MBUF_F_RX_IP_CKSUM_MASK) {
        case RTE_MBUF_F_RX_IP_CKSUM_GOOD:
            return HwCheck::Good;
        case RTE_MBUF_F_RX_IP_CKSUM_BAD:
            return HwCheck::Bad;
        default:
            return HwCheck::Unknown;
    }
}

[[nodiscard]] HwCheck l4_check_of(std::uint64_t flags) noexcept {
    switch (flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) {
        case RTE_MBUF_F_RX_L4_CKSUM_GOOD:
            return HwCheck::Good;
        case RTE_MBUF_F_RX_L4_CKSUM_BAD:
            return HwCheck::Bad;
        default:
            return HwCheck::Unknown;
    }
}

/// Whether the frame is this station's business.
[[nodiscard]] Drop admit(const RxQueue& q, const rte_mbuf* m) noexcept {
    if (m->nb_segs != 1) return Drop::MultiSegment;
    const auto* dst = rte_pktmbuf_mtod(m, const std::uint8_t*);
    if (q.accepts_all || m->data_len < q.mac.size() || (dst[0] & 1U) != 0) return Drop::None;
    return std::memcmp(dst, q.mac.data(), q.mac.size()) == 0 ? Drop::None : Drop::NotForUs;
}

}  // namespace

Worker::Worker(ct::WorkerId id, std::vector<RxQueue> rx, std::vector<TxQueue> tx,
               std::uint16_t burst, WorkerTools tools)
    : id_{id},
      rx_{std::move(rx)},
      tx_{std::move(tx)},
      burst_{std::clamp<std::uint16_t>(burst, 1, kMaxBurst)},
      tools_{tools},
      batches_(tx_.size()),
      port_counters_(tx_.size()) {}

bool Worker::turn(ct::Nanos now) noexcept {
    bool busy = false;
    for (const RxQueue& q : rx_) busy |= receive(q, now);
    busy |= run_local(now);
    tools_.pipeline.tick(id_, now);
    if (id_ == 0) tools_.forward.tick(id_, now);
    send_ready();
    for (ct::PortId port = 0; port < batches_.size(); ++port) flush(port);
    tools_.counters.turns.add();
    if (busy) tools_.counters.busy_turns.add(1);
    return busy;
}

bool Worker::receive(const RxQueue& q, ct::Nanos now) noexcept {
    std::array<rte_mbuf*, kMaxBurst> mbufs;
    const std::uint16_t count = rte_eth_rx_burst(q.device, q.queue, mbufs.data(), burst_);
    if (count == 0) return false;
    // Ethernet, IPv6 and TCP with options fit into two lines; most headers fit into one.
    for (std::uint16_t i = 0; i < count; ++i) {
        const auto* frame = rte_pktmbuf_mtod(mbufs[i], const std::uint8_t*);
        ct::prefetch(frame);
        if (mbufs[i]->data_len > 2 * ct::kCacheLine) ct::prefetch(frame + ct::kCacheLine);
    }

    std::uint64_t bytes = 0;
    std::size_t taken = 0;
    const bool up = tools_.forward.is_up(q.port);
    for (std::uint16_t i = 0; i < count; ++i) {
        rte_mbuf* m = mbufs[i];
        bytes += m->pkt_len;
        if (const Drop reason = up ? admit(q, m) : Drop::NoRoute; reason != Drop::None) {
            drop(m, reason);
            continue;
        }
        Packet& p = packets_[taken++];
        fill_packet(p, m, q.port);
        p.ip_check = ip_check_of(m->ol_flags);
        p.l4_check = l4_check_of(m->ol_flags);
    }
    tools_.counters.rx_packets.add(count);
    tools_.counters.rx_bytes.add(bytes);
    port_counters_[q.port].rx_packets.add(count);
    port_counters_[q.port].rx_bytes.add(bytes);
    process({packets_.data(), taken}, now);
    return true;
}

/// What was made in the last turn. What that gives rise to has to wait for the next.
bool Worker::run_local(ct::Nanos now) noexcept {
    Outbox& outbox = tools_.forward.outbox(id_);
    if (outbox.packets.empty()) return false;
    const auto made = outbox.packets;
    outbox.packets.clear();
    for (auto rest = made.items(); !rest.empty();) {
        const std::size_t count = std::min<std::size_t>(rest.size(), kMaxBurst);
        for (std::size_t i = 0; i < count; ++i) fill_local(packets_[i], rest[i]);
        process({packets_.data(), count}, now);
        rest = rest.subspan(count);
    }
    return true;
}

void Worker::process(std::span<Packet> packets, ct::Nanos now) noexcept {
    tools_.pipeline.run(id_, packets, now);
    for (Packet& p : packets) {
        if (p.owner == nullptr) continue;  // it waits; who has it has counted it
        if (p.alive()) {
            assert(p.out_port < tx_.size());
            send(take_mbuf(p), p.out_port);
        } else {
            drop(mbuf_of(p), p.drop);
        }
    }
}

/// After the burst: fragments follow their first, and who waited follows who brought the answer.
void Worker::send_ready() noexcept {
    Outbox& outbox = tools_.forward.outbox(id_);
    for (const ReadyFrame& f : outbox.frames.items()) send(f.mbuf, f.port);
    outbox.frames.clear();
}

void Worker::send(rte_mbuf* m, ct::PortId port) noexcept {
    TxBatch& batch = batches_[port];
    batch.frames[batch.count++] = m;
    if (batch.count == kMaxBurst) flush(port);
}

void Worker::flush(ct::PortId port) noexcept {
    TxBatch& batch = batches_[port];
    if (batch.count == 0) return;
    // The driver may free a frame before it returns, so its size is taken first.
    std::array<std::uint32_t, kMaxBurst> sizes;
    for (std::uint16_t i = 0; i < batch.count; ++i) sizes[i] = batch.frames[i]->pkt_len;
    const TxQueue& q = tx_[port];
    if (q.lock != nullptr) q.lock->lock();
    const std::uint16_t sent =
        rte_eth_tx_burst(q.device, q.queue, batch.frames.data(), batch.count);
    if (q.lock != nullptr) q.lock->unlock();

    std::uint64_t bytes = 0;
    for (std::uint16_t i = 0; i < sent; ++i) bytes += sizes[i];
    PortCounters& counters = port_counters_[port];
    tools_.counters.tx_packets.add(sent);
    tools_.counters.tx_bytes.add(bytes);
    counters.tx_packets.add(sent);
    counters.tx_bytes.add(bytes);
    counters.tx_full.add(static_cast<std::uint64_t>(batch.count - sent));
    for (std::uint16_t i = sent; i < batch.count; ++i) drop(batch.frames[i], Drop::TxFull);
    batch.count = 0;
}

void Worker::drop(rte_mbuf* m, Drop reason) noexcept {
    tools_.counters.drop(reason);
    rte_pktmbuf_free(m);
}

PortTotals Worker::port_totals(ct::PortId port) const noexcept {
    const PortCounters& c = port_counters_[port];
    return {.rx_packets = c.rx_packets.get(),
            .rx_bytes = c.rx_bytes.get(),
            .tx_packets = c.tx_packets.get(),
            .tx_bytes = c.tx_bytes.get(),
            .tx_full = c.tx_full.get()};
}

}  // namespace dp
