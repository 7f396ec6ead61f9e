// SPDX-License-Identifier: BSD-3-Clause
//
// DPDK's ports and packet buffers, each owned by an object: what a constructor opened, the
// destructor closes.
#pragma once

#include "dataplane/control/config.hpp"
#include "dataplane/forward.hpp"
#include "dataplane/spinlock.hpp"

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

struct rte_mempool;

namespace dp {

/// Packet buffers, a pool for each NUMA node that has a port. Sized so that every descriptor of
/// every queue can hold a buffer and every bound on waiting packets be reached at the same time.
class BufferPools {
public:
    /// `nodes` by PortId, -1 where a port's node does not matter. EAL runs. Throws
    /// std::runtime_error if there is no memory.
    BufferPools(const Config& config, unsigned workers, const std::vector<int>& nodes);

    [[nodiscard]] rte_mempool* at(int node) const;
    /// Buffers that are not in a pool: in queues, waiting or lost.
    [[nodiscard]] std::uint64_t in_use() const;
    /// Bytes of packet memory that `config` needs, routes included; to be known before EAL starts.
    [[nodiscard]] static std::size_t bytes_for(const Config& config, unsigned workers);

private:
    struct FreePool {
        void operator()(rte_mempool* pool) const noexcept;
    };
    std::map<int, std::unique_ptr<rte_mempool, FreePool>> pools_;  ///< by node
};

/// One port: probed, configured, its queues set up. Control path; one thread.
class Port {
public:
    /// Opens `config.device`, with a queue of each kind for every worker where the device has so
    /// many. Throws std::runtime_error.
    Port(ct::PortId id, const PortConfig& config, const DataplaneConfig& dataplane,
         unsigned workers, rte_mempool* pool);
    /// Stops and closes it; a virtual device that the constructor made goes away.
    ~Port();
    Port(const Port&) = delete;
    Port& operator=(const Port&) = delete;

    /// Lets packets in. Throws std::runtime_error.
    void start();
    /// No packets come in any more, and the queues' buffers are given back.
    void stop() noexcept;

    [[nodiscard]] ct::PortId id() const noexcept { return id_; }
    [[nodiscard]] std::uint16_t device() const noexcept { return device_; }  ///< DPDK's port id
    [[nodiscard]] std::uint16_t queues() const noexcept { return queues_; }
    [[nodiscard]] const PortLink& link() const noexcept { return link_; }
    /// True if frames for other stations are to be taken as well.
    [[nodiscard]] bool accepts_all() const noexcept { return accepts_all_; }
    /// True if its device was told to spread packets over the queues by their addresses and ports.
    [[nodiscard]] bool spreads() const noexcept { return spreads_; }
    /// The lock of transmit queue `queue`; null if one worker has it for itself.
    [[nodiscard]] SpinLock* tx_lock(std::uint16_t queue) const noexcept {
        return tx_locks_ == nullptr ? nullptr : &tx_locks_[queue];
    }
    /// What was chosen for it, for the log.
    [[nodiscard]] const std::vector<std::string>& notes() const noexcept { return notes_; }

private:
    void probe(const PortConfig& config);
    void configure(const PortConfig& config, const DataplaneConfig& dataplane, unsigned workers);
    void set_up_queues(const PortConfig& config, rte_mempool* pool);
    void set_mac(const PortConfig& config);
    void set_reception(const PortConfig& config, bool wire);
    [[noreturn]] void fail(const std::string& what, int error) const;

    const ct::PortId id_;
    const std::string name_;
    std::string driver_;
    std::uint16_t device_ = 0;
    std::uint16_t queues_ = 0;
    bool made_here_ = false;  ///< probed by the constructor, so removed by the destructor
    bool started_ = false;
    bool accepts_all_ = false;
    bool spreads_ = false;
    PortLink link_;
    std::unique_ptr<SpinLock[]> tx_locks_;
    std::vector<std::string> notes_;
};

}  // namespace dp
