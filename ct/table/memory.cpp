// SPDX-License-Identifier: BSD-3-Clause
#include "ct/table/memory.hpp"

#include <new>
#include <sys/mman.h>
#include <utility>

namespace ct {

namespace {

constexpr std::size_t kMiB = std::size_t{1} << 20;
constexpr std::size_t kGiB = std::size_t{1} << 30;
constexpr int kHuge2M = 21 << MAP_HUGE_SHIFT;
constexpr int kHuge1G = 30 << MAP_HUGE_SHIFT;

constexpr std::size_t round_up(std::size_t n, std::size_t to) {
    return (n + to - 1) / to * to;
}

void* map(std::size_t size, int flags) noexcept {
    void* p =
        mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
    return p == MAP_FAILED ? nullptr : p;
}

}  // namespace

const char* name_of(Pages p) noexcept {
    switch (p) {
        case Pages::Huge1G:
            return "1 GiB";
        case Pages::Huge2M:
            return "2 MiB";
        case Pages::Transparent:
            return "transparent 2 MiB";
        case Pages::Normal:
            return "4 KiB";
    }
    return "";
}

Region::Region(std::size_t bytes, Touch touch, Pages largest) {
    // A mapping on reserved pages is backed as soon as it exists: the reservation is made then.
    if (largest == Pages::Huge1G && bytes >= kGiB) {
        size_ = round_up(bytes, kGiB);
        data_ = map(size_, MAP_HUGETLB | kHuge1G);
        pages_ = Pages::Huge1G;
    }
    if (data_ == nullptr && largest <= Pages::Huge2M && bytes >= kMiB) {
        size_ = round_up(bytes, 2 * kMiB);
        data_ = map(size_, MAP_HUGETLB | kHuge2M);
        pages_ = Pages::Huge2M;
    }
    if (data_ == nullptr) {
        size_ = round_up(bytes, bytes >= kMiB ? 2 * kMiB : 4096);
        data_ = map(size_, MAP_NORESERVE);
        if (data_ == nullptr) throw std::bad_alloc();
        const bool advised = largest <= Pages::Transparent && bytes >= kMiB &&
                             madvise(data_, size_, MADV_HUGEPAGE) == 0;
        pages_ = advised ? Pages::Transparent : Pages::Normal;
    }
    if (touch == Touch::Now && madvise(data_, size_, MADV_POPULATE_WRITE) != 0) {
        // Before Linux 5.14, or not enough memory: the latter shows at the first touch of a page.
        auto* bytes_of = as<volatile unsigned char>();
        for (std::size_t i = 0; i < size_; i += 4096) bytes_of[i] = 0;
    }
}

Region::~Region() {
    if (data_ != nullptr) munmap(data_, size_);
}

Region::Region(Region&& o) noexcept
    : data_{std::exchange(o.data_, nullptr)}, size_{std::exchange(o.size_, 0)}, pages_{o.pages_} {}

Region& Region::operator=(Region&& o) noexcept {
    std::swap(data_, o.data_);
    std::swap(size_, o.size_);
    std::swap(pages_, o.pages_);
    return *this;
}

}  // namespace ct
