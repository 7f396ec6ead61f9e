// SPDX-License-Identifier: BSD-3-Clause
//
// Flow tables made of general maps: oneTBB's concurrent one, and the standard library's with a lock
// for each of a number of shards. Both tuples of a flow stand in the map and name an object of a
// pool.
#pragma once

#include "bench/load/packets.hpp"
#include "bench/peers/key.hpp"
#include "ct/table/memory.hpp"

#include <tbb/concurrent_hash_map.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

namespace bench {

/// Objects of a fixed size, given out in random order. Any thread; each has a cache of its own, so
/// that the lock is taken once in kBatch objects, as in a mempool.
class ObjectPool {
public:
    static constexpr std::uint32_t kThreads = 8;  ///< the most at a time
    static constexpr std::uint32_t kBatch = 128;

    /// Room for `count` objects in use, whatever the caches of other threads hold.
    ObjectPool(std::uint32_t count, std::size_t object_bytes);
    /// Null if there is none left. Throws std::runtime_error in one thread more than kThreads.
    [[nodiscard]] PeerEntry* take();
    /// Takes back what take() gave, in whatever thread; throws as it does.
    void give(PeerEntry* e);
    /// All are free again. No other thread may use the pool meanwhile.
    void reset();

private:
    /// Touched by one thread: a line is not shared with the next one's.
    struct alignas(ct::kCacheLine) Cache {
        std::uint32_t count = 0;
        std::array<PeerEntry*, 2 * std::size_t{kBatch}> objects{};
    };

    ct::Region memory_;
    std::size_t object_bytes_;
    std::vector<std::uint32_t> order_;
    std::array<Cache, kThreads> caches_;
    std::mutex lock_;
    std::vector<PeerEntry*> free_;  ///< under lock_
};

/// tbb::concurrent_hash_map.
class TbbMap {
public:
    static constexpr const char* kName = "oneTBB concurrent_hash_map";

    explicit TbbMap(std::uint32_t keys) : map_{keys} {}
    bool insert(const PeerKey& k, PeerEntry* e) { return map_.insert({k, e}); }
    std::optional<PeerEntry*> erase(const PeerKey& k) {
        Map::accessor a;
        if (!map_.find(a, k)) return {};
        PeerEntry* e = a->second;
        map_.erase(a);
        return e;
    }
    template <class Use>
    bool find(const PeerKey& k, Use&& use) const {
        Map::const_accessor a;
        if (!map_.find(a, k)) return false;
        use(*a->second);
        return true;
    }
    void clear() { map_.clear(); }
    [[nodiscard]] std::size_t size() const { return map_.size(); }

private:
    struct Compare {
        static std::size_t hash(const PeerKey& k) noexcept { return crc_of(k); }
        static bool equal(const PeerKey& a, const PeerKey& b) noexcept { return a == b; }
    };
    // The standard allocator: its pages are as large as everybody else's (see
    // use_large_heap_pages).
    using Map = tbb::concurrent_hash_map<PeerKey, PeerEntry*, Compare,
                                         std::allocator<std::pair<const PeerKey, PeerEntry*>>>;
    Map map_;
};

/// std::unordered_map in shards, a mutex each.
class ShardedMap {
public:
    static constexpr const char* kName = "std::unordered_map, 64 shards";

    explicit ShardedMap(std::uint32_t keys) {
        for (Shard& s : shards_) s.map.reserve(keys / kShards);
    }
    bool insert(const PeerKey& k, PeerEntry* e) {
        Shard& s = shard(k);
        const std::lock_guard lock{s.mutex};
        return s.map.emplace(k, e).second;
    }
    std::optional<PeerEntry*> erase(const PeerKey& k) {
        Shard& s = shard(k);
        const std::lock_guard lock{s.mutex};
        const auto it = s.map.find(k);
        if (it == s.map.end()) return {};
        PeerEntry* e = it->second;
        s.map.erase(it);
        return e;
    }
    template <class Use>
    bool find(const PeerKey& k, Use&& use) {
        Shard& s = shard(k);
        const std::lock_guard lock{s.mutex};
        const auto it = s.map.find(k);
        if (it == s.map.end()) return false;
        use(*it->second);
        return true;
    }
    void clear() {
        for (Shard& s : shards_) s.map.clear();
    }
    [[nodiscard]] std::size_t size() const {
        std::size_t n = 0;
        for (const Shard& s : shards_) n += s.map.size();
        return n;
    }

private:
    static constexpr std::size_t kShards = 64;
    struct Hash {
        std::size_t operator()(const PeerKey& k) const noexcept { return crc_of(k); }
    };
    struct alignas(ct::kCacheLine) Shard {
        std::mutex mutex;
        std::unordered_map<PeerKey, PeerEntry*, Hash> map;
    };
    Shard& shard(const PeerKey& k) noexcept {
        return shards_[crc_of(k) * 0x9e37'79b9'7f4a'7c15 >> 58];
    }

    std::array<Shard, kShards> shards_;
};

/// A flow table over one of them; the interface is RteTable's.
template <class Map>
class MapTable {
public:
    MapTable(std::uint32_t flows, std::size_t object_bytes)
        : flows_{flows}, map_{2 * flows}, pool_{flows, object_bytes} {}

    bool insert(std::uint32_t n, std::uint64_t now) {
        PeerEntry* e = pool_.take();
        if (e == nullptr) return false;
        begin_entry(*e, n, now);
        return map_.insert(e->original, e) && map_.insert(e->reply, e);
    }
    bool replace_oldest(std::uint32_t n, std::uint64_t now) {
        const auto e = map_.erase(peer_key(oldest_, false));
        if (!e || !map_.erase(peer_key(oldest_, true))) return false;
        ++oldest_;
        pool_.give(*e);
        return insert(n, now);
    }
    std::uint32_t hit_single(std::span<const PeerKey> keys, std::uint64_t replies,
                             std::uint64_t now) {
        std::uint32_t hits = 0;
        for (std::size_t i = 0; i < keys.size(); ++i)
            hits += static_cast<std::uint32_t>(
                map_.find(keys[i], [&](PeerEntry& e) { touch(e, (replies >> i & 1) != 0, now); }));
        return hits;
    }
    void clear() {
        map_.clear();
        pool_.reset();
        oldest_ = 0;
    }
    void quiescent() noexcept {}
    [[nodiscard]] std::uint32_t keys() const { return static_cast<std::uint32_t>(map_.size()); }
    [[nodiscard]] std::uint32_t flows() const noexcept { return flows_; }

private:
    std::uint32_t flows_;
    Map map_;
    ObjectPool pool_;
    std::uint32_t oldest_ = 0;
};

/// Has malloc() ask for huge pages, as everybody else's memory does, which it must be told before
/// the process starts: starts it again if it was not. With pages of 4 KiB it is left alone.
void use_large_heap_pages(char** argv);

}  // namespace bench
