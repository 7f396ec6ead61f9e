// SPDX-License-Identifier: BSD-3-Clause
#include "bench/load/index_writes.hpp"

#include <algorithm>
#include <bit>
#include <emmintrin.h>
#include <utility>

namespace bench {

namespace {

/// Newcomers between a load's issue and its use: a bucket's, once the hash is known, and an
/// entry's, as in ct/conntrack_impl.hpp.
constexpr std::uint32_t kBucketsAhead = 8;
constexpr std::uint32_t kEntriesAhead = 4;
constexpr std::uint32_t kStep = 1024;

unsigned log2_buckets_for(std::uint32_t flows) {
    return std::bit_width(std::max(1024U, std::bit_ceil(flows) / 2)) - 1;
}

}  // namespace

IndexWrites::IndexWrites(std::uint32_t max)
    : max_{max},
      key_{ct::HashKey::from_seed(1)},
      index_{log2_buckets_for(max), ct::Pages::Huge1G},
      entries_{max * kEntryBytes, ct::Region::Touch::Now},
      free_{shuffled(max, 29)},
      ring_(max) {}

IndexWrites::Record IndexWrites::find_place(std::uint32_t n) const noexcept {
    const std::uint64_t h = ct::hash(key_, flow(n));
    return {index_.bucket_of(h), 0, index_.tag_of(h)};
}

void IndexWrites::load_entry(std::uint32_t i) const noexcept {
    for (std::size_t l = 0; l < kLines; ++l) ct::prefetch_write(entry(i) + l * ct::kCacheLine);
}

void IndexWrites::insert(const Record& r) noexcept {
    index_.lock(r.bucket);
    const ct::Slot slot = index_.reserve(r.bucket);
    if (slot.valid()) ct::Index::store(slot, r.tag, ct::Ref::make(r.entry, 0), 0);
    index_.unlock(r.bucket);
    failed_ += static_cast<std::uint64_t>(!slot.valid());
    const __m128i value = _mm_set1_epi32(static_cast<int>(r.entry));
    for (std::size_t at = 0; at < kEntryBytes; at += sizeof value)
        _mm_store_si128(reinterpret_cast<__m128i*>(entry(r.entry) + at), value);
}

void IndexWrites::remove(const Record& r) noexcept {
    index_.lock(r.bucket);
    const bool was_there = index_.remove(r.bucket, r.tag, ct::Ref::make(r.entry, 0));
    index_.unlock(r.bucket);
    failed_ += static_cast<std::uint64_t>(!was_there);
}

void IndexWrites::burst(Ahead ahead, bool evict) noexcept {
    const bool buckets = ahead != Ahead::Nothing;
    const bool entries = ahead == Ahead::All;
    Burst newcomers;
    for (std::uint32_t k = 0; k < kBurst + kBucketsAhead; ++k) {
        if (k < kBurst) {
            Record& r = newcomers[k];
            r = find_place(next_ + k);
            // The k-th victim is the oldest but k, and its entry the newcomer's.
            const Record& victim = record(next_ - inside_ + k);
            r.entry = evict ? victim.entry : free_[inside_ + k];
            if (buckets) ct::prefetch_write(&index_.bucket(r.bucket));
            if (buckets && evict) ct::prefetch_write(&index_.bucket(victim.bucket));
        }
        // What is not yet due is beyond the burst, the numbers being unsigned.
        const std::uint32_t soon = k - (kBucketsAhead - kEntriesAhead);
        if (entries && soon < kBurst) load_entry(newcomers[soon].entry);
        const std::uint32_t due = k - kBucketsAhead;
        if (due >= kBurst) continue;
        if (evict) remove(record(next_ - inside_ + due));
        insert(newcomers[due]);
    }
    for (std::uint32_t k = 0; k < kBurst; ++k) record(next_ + k) = newcomers[k];
    next_ += kBurst;
    if (!evict) inside_ += kBurst;
}

void IndexWrites::clear() noexcept {
    for (; inside_ != 0; --inside_) remove(record(next_ - inside_));
}

void IndexWrites::fill() noexcept {
    while (inside_ + kBurst <= max_) burst(Ahead::All, false);
}

Contestant IndexWrites::inserts(std::string name, Ahead ahead) {
    const auto prepare = [this] {
        if (std::uint64_t{inside_} + kStep > std::uint64_t{max_} * 9 / 10) clear();
    };
    const auto step = [this, ahead] {
        for (std::uint32_t done = 0; done < kStep; done += kBurst) burst(ahead, false);
        return std::uint64_t{kStep};
    };
    return {.name = std::move(name), .step = step, .prepare = prepare};
}

Contestant IndexWrites::evictions(std::string name, Ahead ahead) {
    const auto step = [this, ahead] {
        for (std::uint32_t done = 0; done < kStep; done += kBurst) burst(ahead, true);
        return std::uint64_t{kStep};
    };
    return {.name = std::move(name), .step = step, .prepare = [this] { fill(); }};
}

std::uint32_t IndexWrites::missing() const {
    std::uint32_t n = 0;
    for (std::uint32_t k = next_ - inside_; k != next_; ++k) {
        const Record place = find_place(k);
        const ct::Ref ref = ct::Ref::make(ring_[k % ring_.size()].entry, 0);
        const bool found = index_.scan(index_.bucket(place.bucket), place.tag,
                                       [&](ct::Ref r) { return r == ref; });
        n += static_cast<std::uint32_t>(!found);
    }
    return n;
}

}  // namespace bench
