// SPDX-License-Identifier: BSD-3-Clause
#include "tests/model/arena.hpp"

#include "ct/table/memory.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

namespace model {

namespace {

constexpr std::size_t kArenaBytes = std::size_t{1} << 18;
constexpr std::size_t kMaxRegions = 32;

alignas(4096) std::byte memory[kArenaBytes];
std::size_t used = 0;  // bytes
bool in_use = false;
std::array<std::span<const std::byte>, kMaxRegions> regions;
std::size_t region_count = 0;

void* take(std::size_t bytes, std::size_t alignment) noexcept {
    const std::size_t at = (used + alignment - 1) / alignment * alignment;
    if (at + bytes > kArenaBytes) {
        std::fputs("lock_model: the arena is too small: raise kArenaBytes in arena.cpp\n", stderr);
        std::abort();
    }
    used = at + bytes;
    return memory + at;
}

bool holds(const void* p) noexcept {
    return p >= memory && p < memory + kArenaBytes;
}

void* allocate(std::size_t bytes, std::size_t alignment) {
    if (in_use) return take(bytes, alignment);
    void* p = alignment <= alignof(std::max_align_t)
                  ? std::malloc(bytes)
                  : std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
    if (p == nullptr) throw std::bad_alloc();
    return p;
}

void release(void* p) noexcept {
    if (!holds(p)) std::free(p);
}

}  // namespace

UseArena::UseArena() noexcept {
    in_use = true;
}
UseArena::~UseArena() {
    in_use = false;
}

void clear_arena() noexcept {
    std::memset(memory, 0, used);
    used = 0;
    region_count = 0;
}

std::span<std::byte> arena() noexcept {
    return {memory, used};
}

std::span<const std::byte> region(std::size_t n) noexcept {
    return n < region_count ? regions[n] : std::span<const std::byte>{};
}

}  // namespace model

void* operator new(std::size_t bytes) {
    return model::allocate(bytes, alignof(std::max_align_t));
}
void* operator new(std::size_t bytes, std::align_val_t alignment) {
    return model::allocate(bytes, static_cast<std::size_t>(alignment));
}
void operator delete(void* p) noexcept {
    model::release(p);
}
void operator delete(void* p, std::size_t) noexcept {
    model::release(p);
}
void operator delete(void* p, std::align_val_t) noexcept {
    model::release(p);
}
void operator delete(void* p, std::size_t, std::align_val_t) noexcept {
    model::release(p);
}

namespace ct {

// The table's memory, from the arena in the place of the kernel's pages.

const char* name_of(Pages) noexcept {
    return "arena";
}

Region::Region(std::size_t bytes, Touch, Pages) : data_{model::take(bytes, 64)}, size_{bytes} {
    if (model::region_count < model::kMaxRegions)
        model::regions[model::region_count++] = {as<const std::byte>(), bytes};
}

Region::~Region() = default;

Region::Region(Region&& o) noexcept
    : data_{std::exchange(o.data_, nullptr)}, size_{std::exchange(o.size_, 0)}, pages_{o.pages_} {}

Region& Region::operator=(Region&& o) noexcept {
    std::swap(data_, o.data_);
    std::swap(size_, o.size_);
    std::swap(pages_, o.pages_);
    return *this;
}

}  // namespace ct
