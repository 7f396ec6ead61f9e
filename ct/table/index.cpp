// SPDX-License-Identifier: BSD-3-Clause
#include "ct/table/index.hpp"

#include <algorithm>

namespace ct {

namespace {

// Overflow buckets, as a share of the buckets. At a load of four slots a bucket (every entry NATed,
// table full), 2.1 % of the buckets hold more than eight by the Poisson distribution, and as holes
// are filled from the end of a chain, no others have one. Memory is taken when they are first used.
constexpr std::size_t kOverflowShare = 4;
constexpr std::size_t kMinOverflow = 64;

constexpr std::uint32_t kAllSlots = (1U << Bucket::kSlots) - 1;
constexpr std::uint32_t kAssuredMask = kAllSlots;

std::size_t overflow_count(unsigned log2_buckets) {
    return std::max((std::size_t{1} << log2_buckets) / kOverflowShare, kMinOverflow);
}

}  // namespace

Index::Index(unsigned log2_buckets, Pages largest)
    : log2_{log2_buckets},
      shift_{64 - log2_buckets},
      buckets_{(std::size_t{1} << log2_buckets) * sizeof(Bucket), Region::Touch::Now, largest},
      overflow_{overflow_count(log2_buckets) * sizeof(Bucket), Region::Touch::Lazily,
                std::max(largest, Pages::Transparent)},
      overflow_total_{overflow_count(log2_buckets)} {
    overflow_free_.reserve(overflow_total_);
    for (std::size_t n = overflow_total_; n > 0; --n)
        overflow_free_.push_back(static_cast<std::uint32_t>(n));
}

Slot Index::reserve_in_chain(std::uint32_t b, Slot taken) noexcept {
    Bucket* in = &bucket(b);
    for (unsigned links = 0;; ++links) {
        for (unsigned empty = in->match(0); empty != 0; empty &= empty - 1) {
            const auto slot = static_cast<unsigned>(std::countr_zero(empty));
            if (in != taken.bucket || slot != taken.number) return {in, slot};
        }
        if (links == kMaxChain) return {};
        const std::uint32_t next = in->next();
        if (next != 0) {
            in = &overflow_.as<Bucket>()[next - 1];
            continue;
        }
        const std::uint32_t fresh = take_overflow();
        if (fresh == 0) return {};
        const std::uint32_t assured = in->link.load(std::memory_order_relaxed) & kAssuredMask;
        in->link.store(assured | fresh << Bucket::kSlots, std::memory_order_release);
        in = &overflow_.as<Bucket>()[fresh - 1];
    }
}

Slot Index::find_ref(std::uint32_t b, std::uint16_t tag, Ref ref) const noexcept {
    Bucket* in = &bucket(b);
    for (unsigned links = 0;; ++links) {
        for (unsigned hits = in->match(tag); hits != 0; hits &= hits - 1) {
            const auto slot = static_cast<unsigned>(std::countr_zero(hits));
            if (in->ref(slot) == ref) return {in, slot};
        }
        const std::uint32_t next = in->next();
        if (next == 0 || links == kMaxChain) return {};
        in = &overflow_.as<Bucket>()[next - 1];
    }
}

bool Index::remove_from_chain(std::uint32_t b, std::uint16_t tag, Ref ref) noexcept {
    const Slot s = find_ref(b, tag, ref);
    if (!s.valid()) return false;
    s.bucket->put_tag(s.number, 0);
    shorten_chain(b, s);
    return true;
}

bool Index::set_assured(std::uint32_t b, std::uint16_t tag, Ref ref) noexcept {
    const Slot s = find_ref(b, tag, ref);
    if (!s.valid()) return false;
    Atomic<std::uint32_t>& link = s.bucket->link;
    link.store(link.load(std::memory_order_relaxed) | 1U << s.number, std::memory_order_release);
    return true;
}

void Index::move(Slot from, Slot to) noexcept {
    store(to, from.bucket->tag(from.number), from.bucket->ref(from.number),
          from.bucket->ages[from.number].load(std::memory_order_relaxed),
          from.bucket->assured(from.number));
    from.bucket->put_tag(from.number, 0);
}

/// `hole` is a slot of bucket `b`'s chain that was emptied: what stands at the end of the chain
/// goes there, and an end that is empty goes.
void Index::shorten_chain(std::uint32_t b, Slot hole) noexcept {
    for (;;) {
        Bucket* before = &bucket(b);
        if (before->next() == 0) return;
        Bucket* last = &overflow_.as<Bucket>()[before->next() - 1];
        while (last->next() != 0) {
            before = last;
            last = &overflow_.as<Bucket>()[last->next() - 1];
        }
        const unsigned filled = ~last->match(0) & kAllSlots;
        if (filled != 0 && (!hole.valid() || hole.bucket == last)) return;
        if (filled != 0) move({last, static_cast<unsigned>(std::countr_zero(filled))}, hole);
        hole = {};
        if (last->match(0) != kAllSlots) return;
        const std::uint32_t number = before->next();
        const std::uint32_t assured = before->link.load(std::memory_order_relaxed) & kAssuredMask;
        before->link.store(assured, std::memory_order_release);
        give_overflow(number);
    }
}

std::uint32_t Index::take_overflow() noexcept {
    while (overflow_locked_.exchange(true, std::memory_order_acquire)) spin_pause();
    std::uint32_t number = 0;
    if (!overflow_free_.empty()) {
        number = overflow_free_.back();
        overflow_free_.pop_back();
    }
    overflow_locked_.store(false, std::memory_order_release);
    return number;
}

void Index::give_overflow(std::uint32_t number) noexcept {
    while (overflow_locked_.exchange(true, std::memory_order_acquire)) spin_pause();
    overflow_free_.push_back(number);  // never beyond what the constructor reserved
    overflow_locked_.store(false, std::memory_order_release);
}

std::uint32_t Index::overflow_in_use() const noexcept {
    while (overflow_locked_.exchange(true, std::memory_order_acquire)) spin_pause();
    const auto used = static_cast<std::uint32_t>(overflow_total_ - overflow_free_.size());
    overflow_locked_.store(false, std::memory_order_release);
    return used;
}

}  // namespace ct
