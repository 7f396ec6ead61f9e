// SPDX-License-Identifier: BSD-3-Clause
//
// A flow table as it is made of DPDK's parts: rte_hash with both tuples, an object of a mempool.
#pragma once

#include "bench/peers/key.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

struct rte_hash;
struct rte_mempool;
struct rte_rcu_qsbr;

namespace bench {

class RteTable {
public:
    enum class Kind : std::uint8_t {
        LockFree,  ///< readers take no lock, several writers (RW_CONCURRENCY_LF, MULTI_WRITER_ADD)
        Extendable,  ///< the same, and a full bucket gets more room (EXT_TABLE)
        PerCore,     ///< no concurrency: each core has a table of its own, for flows of its own
    };

    /// Room for `flows` flows with objects of `object_bytes`, and a quarter more of keys than that:
    /// a cuckoo table is not filled to the brim.
    RteTable(Kind kind, std::uint32_t flows, std::size_t object_bytes, int socket);
    ~RteTable();
    RteTable(const RteTable&) = delete;
    RteTable& operator=(const RteTable&) = delete;

    [[nodiscard]] static const char* name_of(Kind k) noexcept;

    /// Adds flow `n`. False if there was no room; then nothing of it is there.
    bool insert(std::uint32_t n, std::uint64_t now) noexcept;
    /// The flow inserted longest ago goes, `n` comes. For use from one thread.
    bool replace_oldest(std::uint32_t n, std::uint64_t now) noexcept;
    /// Counts a packet for each key of a burst, all looked up together; returns how many are there.
    std::uint32_t hit_bulk(std::span<const PeerKey> keys, std::uint64_t replies,
                           std::uint64_t now) noexcept;
    /// The same, one by one.
    std::uint32_t hit_single(std::span<const PeerKey> keys, std::uint64_t replies,
                             std::uint64_t now) noexcept;
    /// Removes everything. Objects are taken in random order afterwards.
    void clear();
    /// Nothing found before is in use any more by the calling thread.
    void quiescent() noexcept;

    /// Keys, counted one by one: two a flow.
    [[nodiscard]] std::uint32_t keys() const;
    [[nodiscard]] std::uint32_t flows() const noexcept { return flows_; }

private:
    bool add(std::uint32_t n, PeerEntry* e) noexcept;
    template <class Visit>
    void each_key(Visit&& visit) const;

    std::uint32_t flows_;
    rte_hash* hash_ = nullptr;
    rte_mempool* pool_ = nullptr;
    std::unique_ptr<std::byte[]> qsbr_memory_;
    rte_rcu_qsbr* qsbr_ = nullptr;
    std::vector<PeerEntry*> fifo_;  ///< of replace_oldest(): at the flow's number modulo its size
    std::vector<std::uint32_t> order_;
    std::uint32_t oldest_ = 0;
};

}  // namespace bench
