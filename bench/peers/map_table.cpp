// SPDX-License-Identifier: BSD-3-Clause
#include "bench/peers/map_table.hpp"

#include <atomic>
#include <bit>
#include <cstdlib>
#include <stdexcept>
#include <unistd.h>

namespace bench {

namespace {

/// The lowest number that no other thread has, for as long as the thread lives.
class ThreadNumber {
public:
    ThreadNumber() {
        std::uint32_t taken = taken_.load();
        do {
            value_ = static_cast<std::uint32_t>(std::countr_one(taken));
            if (value_ >= ObjectPool::kThreads)
                throw std::runtime_error{"more threads than an object pool has caches for"};
        } while (!taken_.compare_exchange_weak(taken, taken | 1U << value_));
    }
    ~ThreadNumber() { taken_.fetch_and(~(1U << value_)); }
    ThreadNumber(const ThreadNumber&) = delete;
    ThreadNumber& operator=(const ThreadNumber&) = delete;

    [[nodiscard]] std::uint32_t value() const noexcept { return value_; }

private:
    static inline std::atomic<std::uint32_t> taken_{0};  ///< a bit a number
    std::uint32_t value_ = 0;
};

std::uint32_t thread_number() {
    thread_local const ThreadNumber number;
    return number.value();
}

}  // namespace

ObjectPool::ObjectPool(std::uint32_t count, std::size_t object_bytes)
    : memory_{(count + kThreads * 2 * kBatch) * object_bytes, ct::Region::Touch::Now},
      object_bytes_{object_bytes},
      order_{shuffled(count + kThreads * 2 * kBatch, 19)} {
    reset();
}

PeerEntry* ObjectPool::take() {
    Cache& mine = caches_[thread_number()];
    if (mine.count == 0) {
        const std::lock_guard lock{lock_};
        for (; mine.count < kBatch && !free_.empty(); ++mine.count) {
            mine.objects[mine.count] = free_.back();
            free_.pop_back();
        }
        if (mine.count == 0) return nullptr;
    }
    return mine.objects[--mine.count];
}

void ObjectPool::give(PeerEntry* e) {
    Cache& mine = caches_[thread_number()];
    if (mine.count == mine.objects.size()) {
        const std::lock_guard lock{lock_};
        while (mine.count > kBatch) free_.push_back(mine.objects[--mine.count]);
    }
    mine.objects[mine.count++] = e;
}

void ObjectPool::reset() {
    for (Cache& c : caches_) c.count = 0;
    free_.clear();
    for (const std::uint32_t i : order_)
        free_.push_back(reinterpret_cast<PeerEntry*>(memory_.as<std::byte>() + i * object_bytes_));
}

void use_large_heap_pages(char** argv) {
    constexpr const char* kTunables = "GLIBC_TUNABLES";
    if (std::getenv(kTunables) != nullptr) return;
    if (setenv(kTunables, "glibc.malloc.hugetlb=1", 1) != 0) return;
    execv("/proc/self/exe", argv);
    // Still here: then with the pages that malloc() has.
}

}  // namespace bench
