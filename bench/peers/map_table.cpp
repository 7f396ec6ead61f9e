// SPDX-License-Identifier: BSD-3-Clause
#include "bench/peers/map_table.hpp"

#include <cstdlib>
#include <unistd.h>

namespace bench {

ObjectPool::ObjectPool(std::uint32_t count, std::size_t object_bytes)
    : memory_{count * object_bytes, ct::Region::Touch::Now},
      object_bytes_{object_bytes},
      order_{shuffled(count, 19)} {
    reset();
}

PeerEntry* ObjectPool::take() noexcept {
    const std::lock_guard lock{lock_};
    if (free_.empty()) return nullptr;
    PeerEntry* e = free_.back();
    free_.pop_back();
    return e;
}

void ObjectPool::give(PeerEntry* e) noexcept {
    const std::lock_guard lock{lock_};
    free_.push_back(e);  // there was room for it before
}

void ObjectPool::reset() {
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
