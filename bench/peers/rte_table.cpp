// SPDX-License-Identifier: BSD-3-Clause
#include "bench/peers/rte_table.hpp"

#include "bench/load/packets.hpp"

#include <fmt/format.h>
#include <rte_errno.h>
#include <rte_hash.h>
#include <rte_hash_crc.h>
#include <rte_mempool.h>
#include <rte_rcu_qsbr.h>

#include <array>
#include <bit>
#include <cstring>
#include <new>
#include <stdexcept>

namespace bench {

namespace {

constexpr std::uint32_t kPoolCache = 256;

/// Deleted keys that may wait for readers. They wait for a burst at most; the queue's memory, EAL
/// takes where it likes, not where the table's is.
constexpr std::uint32_t kReclaimQueue = 1U << 16;

std::string next_name(const char* what) {
    static int count = 0;
    return fmt::format("bench_{}{}", what, count++);
}

[[noreturn]] void fail(const char* what) {
    throw std::runtime_error{fmt::format("{}: {}", what, rte_strerror(rte_errno))};
}

std::uint8_t flags_of(RteTable::Kind kind) {
    constexpr std::uint8_t kShared =
        RTE_HASH_EXTRA_FLAGS_RW_CONCURRENCY_LF | RTE_HASH_EXTRA_FLAGS_MULTI_WRITER_ADD;
    switch (kind) {
        case RteTable::Kind::LockFree:
            return kShared;
        case RteTable::Kind::Extendable:
            return kShared | RTE_HASH_EXTRA_FLAGS_EXT_TABLE;
        case RteTable::Kind::PerCore:
            break;
    }
    return 0;
}

}  // namespace

const char* RteTable::name_of(Kind k) noexcept {
    switch (k) {
        case Kind::LockFree:
            return "rte_hash lock-free";
        case Kind::Extendable:
            return "rte_hash extendable";
        case Kind::PerCore:
            return "rte_hash sharded by core";
    }
    return "";
}

RteTable::RteTable(Kind kind, std::uint32_t flows, std::size_t object_bytes, int socket)
    : flows_{flows}, fifo_(flows), order_{shuffled(flows, 17)} {
    rte_hash_parameters p{};
    const std::string name = next_name("hash");
    p.name = name.c_str();
    p.entries = flows / 2 * 5;
    p.key_len = sizeof(PeerKey);
    p.hash_func = rte_hash_crc;
    p.socket_id = socket;
    p.extra_flag = flags_of(kind);
    hash_ = rte_hash_create(&p);
    if (hash_ == nullptr) fail("rte_hash_create");
    // Caches of others must not keep the last objects from the one that wants them.
    pool_ = rte_mempool_create(next_name("pool").c_str(), flows + 8 * kPoolCache,
                               static_cast<unsigned>(object_bytes), kPoolCache, 0, nullptr, nullptr,
                               nullptr, nullptr, socket, RTE_MEMPOOL_F_NO_IOVA_CONTIG);
    if (pool_ == nullptr) fail("rte_mempool_create");
    // From the first on, objects come in random order.
    std::vector<PeerEntry*> objects(flows_);
    for (PeerEntry*& e : objects) {
        void* object = nullptr;
        if (rte_mempool_get(pool_, &object) != 0) fail("rte_mempool_get");
        e = static_cast<PeerEntry*>(object);
    }
    for (const std::uint32_t i : order_) rte_mempool_put(pool_, objects[i]);
    if (kind == Kind::PerCore) return;

    // Without it a deleted key's place would be lost: readers may still compare with it.
    const std::size_t bytes = rte_rcu_qsbr_get_memsize(1);
    qsbr_memory_.reset(new (std::align_val_t{ct::kCacheLine}) std::byte[bytes]);
    qsbr_ = reinterpret_cast<rte_rcu_qsbr*>(qsbr_memory_.get());
    rte_rcu_qsbr_init(qsbr_, 1);
    rte_rcu_qsbr_thread_register(qsbr_, 0);
    rte_rcu_qsbr_thread_online(qsbr_, 0);
    rte_hash_rcu_config rcu{};
    rcu.v = qsbr_;
    rcu.mode = RTE_HASH_QSBR_MODE_DQ;
    rcu.dq_size = kReclaimQueue;
    if (rte_hash_rcu_qsbr_add(hash_, &rcu) != 0) fail("rte_hash_rcu_qsbr_add");
}

RteTable::~RteTable() {
    if (qsbr_ != nullptr) rte_rcu_qsbr_thread_offline(qsbr_, 0);
    rte_hash_free(hash_);
    rte_mempool_free(pool_);
}

bool RteTable::add(std::uint32_t n, PeerEntry* e) noexcept {
    const PeerKey original = peer_key(n, false);
    const PeerKey reply = peer_key(n, true);
    if (rte_hash_add_key_data(hash_, &original, e) != 0) return false;
    if (rte_hash_add_key_data(hash_, &reply, e) == 0) return true;
    rte_hash_del_key(hash_, &original);
    return false;
}

bool RteTable::insert(std::uint32_t n, std::uint64_t now) noexcept {
    void* object = nullptr;
    if (rte_mempool_get(pool_, &object) != 0) return false;
    auto* e = static_cast<PeerEntry*>(object);
    begin_entry(*e, n, now);
    if (add(n, e)) {
        fifo_[n % flows_] = e;
        return true;
    }
    rte_mempool_put(pool_, e);
    return false;
}

bool RteTable::replace_oldest(std::uint32_t n, std::uint64_t now) noexcept {
    PeerEntry* e = fifo_[oldest_ % flows_];
    const PeerKey original = peer_key(oldest_, false);
    const PeerKey reply = peer_key(oldest_, true);
    if (rte_hash_del_key(hash_, &original) < 0 || rte_hash_del_key(hash_, &reply) < 0) return false;
    ++oldest_;
    rte_mempool_put(pool_, e);
    return insert(n, now);
}

std::uint32_t RteTable::hit_bulk(std::span<const PeerKey> keys, std::uint64_t replies,
                                 std::uint64_t now) noexcept {
    std::array<const void*, kMaxBurst> pointers;
    std::array<void*, kMaxBurst> found;
    for (std::size_t i = 0; i < keys.size(); ++i) pointers[i] = &keys[i];
    std::uint64_t hits = 0;
    rte_hash_lookup_bulk_data(hash_, pointers.data(), static_cast<std::uint32_t>(keys.size()),
                              &hits, found.data());
    for (std::uint64_t left = hits; left != 0; left &= left - 1)
        ct::prefetch_write(found[static_cast<std::size_t>(std::countr_zero(left))]);
    for (std::uint64_t left = hits; left != 0; left &= left - 1) {
        const auto i = static_cast<std::size_t>(std::countr_zero(left));
        touch(*static_cast<PeerEntry*>(found[i]), (replies >> i & 1) != 0, now);
    }
    return static_cast<std::uint32_t>(std::popcount(hits));
}

std::uint32_t RteTable::hit_single(std::span<const PeerKey> keys, std::uint64_t replies,
                                   std::uint64_t now) noexcept {
    std::uint32_t hits = 0;
    for (std::size_t i = 0; i < keys.size(); ++i) {
        void* found = nullptr;
        if (rte_hash_lookup_data(hash_, &keys[i], &found) < 0) continue;
        touch(*static_cast<PeerEntry*>(found), (replies >> i & 1) != 0, now);
        ++hits;
    }
    return hits;
}

template <class Visit>
void RteTable::each_key(Visit&& visit) const {
    const void* key = nullptr;
    void* data = nullptr;
    std::uint32_t at = 0;
    while (rte_hash_iterate(hash_, &key, &data, &at) >= 0)
        visit(*static_cast<const PeerKey*>(key), *static_cast<PeerEntry*>(data));
}

void RteTable::clear() {
    quiescent();
    std::vector<PeerEntry*> objects(flows_);
    std::size_t live = 0;
    // Each object is found twice; it counts under its original tuple.
    each_key([&](const PeerKey& k, PeerEntry& e) {
        if (k == e.original) objects[live++] = &e;
    });
    for (const std::uint32_t i : order_)
        if (i < live) rte_mempool_put(pool_, objects[i]);
    rte_hash_reset(hash_);
    oldest_ = 0;
}

void RteTable::quiescent() noexcept {
    if (qsbr_ != nullptr) rte_rcu_qsbr_quiescent(qsbr_, 0);
}

std::uint32_t RteTable::keys() const {
    // rte_hash_count() would count what is deleted and not reclaimed yet.
    std::uint32_t n = 0;
    each_key([&](const PeerKey&, const PeerEntry&) { ++n; });
    return n;
}

}  // namespace bench
