// SPDX-License-Identifier: BSD-3-Clause
//
// One worker: its queues, and the loop's body. Everything in here belongs to one thread, but for
// the counters, which others read.
#pragma once

#include "ct/base/cache.hpp"
#include "ct/wire/packet.hpp"
#include "dataplane/forward.hpp"
#include "dataplane/pipeline.hpp"
#include "dataplane/spinlock.hpp"
#include "dataplane/stats.hpp"

#include <array>
#include <cstdint>
#include <span>
#include <vector>

struct rte_mbuf;

namespace dp {

/// Most packets taken from a queue at once.
inline constexpr std::uint16_t kMaxBurst = 64;

/// A receive queue that one worker polls.
struct RxQueue {
    std::uint16_t device = 0;  ///< DPDK's port id
    std::uint16_t queue = 0;
    ct::PortId port = 0;
    bool accepts_all = false;  ///< frames for other stations too
    MacAddress mac{};
};

/// Where a worker sends what leaves by a port.
struct TxQueue {
    std::uint16_t device = 0;
    std::uint16_t queue = 0;
    SpinLock* lock = nullptr;  ///< not null if other workers send by it too
};

/// What a worker works with; all of it outlives the worker.
struct WorkerTools {
    Pipeline& pipeline;
    Forward& forward;
    WorkerCounters& counters;
};

class Worker {
public:
    /// Polls `rx`, sends by `tx`, indexed by PortId, and takes at most `burst` packets at once
    /// (1 to kMaxBurst).
    Worker(ct::WorkerId id, std::vector<RxQueue> rx, std::vector<TxQueue> tx, std::uint16_t burst,
           WorkerTools tools);

    /// Takes a burst from every queue, and what Sluice itself has made, through the pipeline and
    /// sends what comes out; then a slice of housekeeping. True if there was a packet.
    bool turn(ct::Nanos now) noexcept;

    [[nodiscard]] ct::WorkerId id() const noexcept { return id_; }
    /// What this worker received from and sent by a port. Any thread.
    [[nodiscard]] PortTotals port_totals(ct::PortId port) const noexcept;

private:
    struct alignas(ct::kCacheLine) PortCounters {
        Counter rx_packets;
        Counter rx_bytes;
        Counter tx_packets;
        Counter tx_bytes;
        Counter tx_full;
    };
    /// Frames on their way to one port.
    struct TxBatch {
        std::array<rte_mbuf*, kMaxBurst> frames{};
        std::uint16_t count = 0;
    };

    [[nodiscard]] bool receive(const RxQueue& q, ct::Nanos now) noexcept;
    [[nodiscard]] bool run_local(ct::Nanos now) noexcept;
    void process(std::span<ct::Packet> packets, ct::Nanos now) noexcept;
    void send_ready() noexcept;
    void send(rte_mbuf* m, ct::PortId port) noexcept;
    void flush(ct::PortId port) noexcept;
    void drop(rte_mbuf* m, ct::Drop reason) noexcept;

    const ct::WorkerId id_;
    const std::vector<RxQueue> rx_;
    const std::vector<TxQueue> tx_;
    const std::uint16_t burst_;
    WorkerTools tools_;
    std::array<ct::Packet, kMaxBurst> packets_;
    std::vector<TxBatch> batches_;             ///< by PortId
    std::vector<PortCounters> port_counters_;  ///< by PortId
};

}  // namespace dp
