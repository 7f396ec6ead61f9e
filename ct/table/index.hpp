// SPDX-License-Identifier: BSD-3-Clause
//
// The index: from the hash of a tuple to the entries that may hold it.
//
//   bucket, one cache line, eight slots
//     seq   4   bit 0: locked; the rest counts changes
//     link  4   assured bits, one a slot | overflow bucket + 1, 24 bits
//     tags 16   16 hash bits a slot, 0: empty
//     ages  8   when the slot was filled, in units of 1/4 s, modulo 256
//     refs 32   entry index, 30 bits | two low bits of the entry's generation
//
// The bucket's number is the top bits of the hash and the tag is the next sixteen: tag and number
// together are the hash's leading bits, in order.
//
// Readers take no lock and write nothing. They load tags and references with acquire, verify what
// they find in the entry itself, and look at `seq` again only if they found nothing: a change can
// hide an entry from a reader by making a chain longer, or by moving the entry to a place that the
// reader has passed. Writers lock the bucket (two buckets: the lower number first, never more than
// two), look again, store with release, unlock.
//
// A full bucket gets an overflow bucket, at most kMaxChain of them; those are found and changed
// under the lock of the bucket that they hang on. A slot that is emptied is filled with what stands
// at the end of its chain, so that only buckets which are full have one.
#pragma once

#include "ct/base/atomic.hpp"
#include "ct/base/cache.hpp"
#include "ct/table/memory.hpp"

#include <array>
#include <bit>
#include <cstdint>
#include <emmintrin.h>
#include <vector>

namespace ct {

/// A reference as it stands in a slot.
struct Ref {
    std::uint32_t word = 0;

    static constexpr std::uint32_t kIndexBits = 30;
    static constexpr std::uint32_t kIndexMask = (1U << kIndexBits) - 1;

    [[nodiscard]] static constexpr Ref make(std::uint32_t index,
                                            std::uint16_t generation) noexcept {
        return Ref{index | static_cast<std::uint32_t>(generation) << kIndexBits};
    }
    [[nodiscard]] constexpr std::uint32_t index() const noexcept { return word & kIndexMask; }
    /// True if `generation` may be the one that was referred to.
    [[nodiscard]] constexpr bool may_be(std::uint16_t generation) const noexcept {
        return word >> kIndexBits == (generation & 3U);
    }
    friend constexpr bool operator==(Ref, Ref) noexcept = default;
};

struct alignas(kCacheLine) Bucket {
    static constexpr unsigned kSlots = 8;

    Atomic<std::uint32_t> seq{0};
    Atomic<std::uint32_t> link{0};
    std::array<Atomic<std::uint64_t>, 2> tags{};
    std::array<Atomic<std::uint8_t>, kSlots> ages{};
    std::array<Atomic<std::uint32_t>, kSlots> refs{};

    /// Bit i is set if slot i has `tag`.
    [[nodiscard]] unsigned match(std::uint16_t tag) const noexcept {
        const __m128i have =
            _mm_set_epi64x(static_cast<long long>(tags[1].load(std::memory_order_acquire)),
                           static_cast<long long>(tags[0].load(std::memory_order_acquire)));
        const __m128i want = _mm_set1_epi16(static_cast<short>(tag));
        const __m128i equal = _mm_cmpeq_epi16(have, want);
        return static_cast<unsigned>(
            _mm_movemask_epi8(_mm_packs_epi16(equal, _mm_setzero_si128())));
    }
    [[nodiscard]] std::uint16_t tag(unsigned slot) const noexcept {
        return static_cast<std::uint16_t>(tags[slot / 4].load(std::memory_order_acquire) >>
                                          (slot % 4 * 16));
    }
    /// Under the bucket's lock.
    void put_tag(unsigned slot, std::uint16_t tag) noexcept {
        const unsigned shift = slot % 4 * 16;
        Atomic<std::uint64_t>& word = tags[slot / 4];
        const std::uint64_t rest =
            word.load(std::memory_order_relaxed) & ~(std::uint64_t{0xffff} << shift);
        word.store(rest | std::uint64_t{tag} << shift, std::memory_order_release);
    }
    [[nodiscard]] Ref ref(unsigned slot) const noexcept {
        return Ref{refs[slot].load(std::memory_order_acquire)};
    }
    [[nodiscard]] bool assured(unsigned slot) const noexcept {
        return (link.load(std::memory_order_relaxed) >> slot & 1U) != 0;
    }
    [[nodiscard]] std::uint32_t next() const noexcept {
        return link.load(std::memory_order_acquire) >> kSlots;
    }
};
static_assert(sizeof(Bucket) == kCacheLine);

/// Where in the index an entry stands or will stand.
struct Slot {
    Bucket* bucket = nullptr;
    unsigned number = 0;
    [[nodiscard]] bool valid() const noexcept { return bucket != nullptr; }
};

class Index {
public:
    /// Overflow buckets that may hang on one bucket: 40 entries in a chain, close to the 50 to 79
    /// at which Linux refuses (semantics.md 2.4). A bound, or collisions would cost without limit.
    static constexpr unsigned kMaxChain = 4;

    /// 2^`log2_buckets` buckets. Throws std::bad_alloc.
    Index(unsigned log2_buckets, Pages largest);

    [[nodiscard]] unsigned log2_buckets() const noexcept { return log2_; }
    [[nodiscard]] std::uint32_t bucket_of(std::uint64_t hash) const noexcept {
        return static_cast<std::uint32_t>(hash >> shift_);
    }
    [[nodiscard]] std::uint16_t tag_of(std::uint64_t hash) const noexcept {
        const auto tag = static_cast<std::uint16_t>(hash << log2_ >> 48);
        return tag == 0 ? std::uint16_t{1} : tag;
    }
    [[nodiscard]] Bucket& bucket(std::uint32_t b) const noexcept {
        return buckets_.as<Bucket>()[b];
    }

    /// Lock-free. Calls `accept(Ref)` for every slot of the chain with the tag until it returns
    /// true. False if it never did. Counts in `restarts` how often a writer made it start again.
    template <class Accept>
    bool find(std::uint32_t b, std::uint16_t tag, std::uint64_t& restarts,
              Accept&& accept) const noexcept {
        const Bucket& primary = bucket(b);
        for (;;) {
            const std::uint32_t seq = primary.seq.load(std::memory_order_acquire);
            if (scan(primary, tag, accept)) return true;
            // Nothing was found: certain only if no writer changed the chain meanwhile.
            if ((seq & 1) == 0 && primary.seq.load(std::memory_order_acquire) == seq) return false;
            ++restarts;
            while ((primary.seq.load(std::memory_order_relaxed) & 1) != 0) spin_pause();
        }
    }

    /// Calls `accept(Ref)` for every slot with the tag, once, without regard to writers; for those
    /// who hold the lock, and for a first try.
    template <class Accept>
    bool scan(const Bucket& primary, std::uint16_t tag, Accept&& accept) const noexcept {
        const Bucket* in = &primary;
        for (unsigned links = 0;; ++links) {
            for (unsigned hits = in->match(tag); hits != 0; hits &= hits - 1) {
                const auto slot = static_cast<unsigned>(std::countr_zero(hits));
                if (accept(in->ref(slot))) return true;
            }
            const std::uint32_t next = in->next();
            if (next == 0 || links == kMaxChain) return false;
            in = &overflow_.as<Bucket>()[next - 1];
        }
    }

    /// Calls `visit(tag, Ref, assured, age)` for every filled slot of the chain.
    template <class Visit>
    void visit(std::uint32_t b, Visit&& visit_slot) const noexcept {
        const Bucket* in = &bucket(b);
        for (unsigned links = 0;; ++links) {
            for (unsigned slot = 0; slot < Bucket::kSlots; ++slot)
                if (const std::uint16_t tag = in->tag(slot); tag != 0)
                    visit_slot(tag, in->ref(slot), in->assured(slot),
                               in->ages[slot].load(std::memory_order_relaxed));
            const std::uint32_t next = in->next();
            if (next == 0 || links == kMaxChain) return;
            in = &overflow_.as<Bucket>()[next - 1];
        }
    }

    /// With the bucket locked: false if no slot of its chain has the tag.
    [[nodiscard]] bool may_hold(std::uint32_t b, std::uint16_t tag) const noexcept {
        return bucket(b).match(tag) != 0 || bucket(b).next() != 0;
    }

    void lock(std::uint32_t b) noexcept {
        Atomic<std::uint32_t>& seq = bucket(b).seq;
        for (;;) {
            std::uint32_t s = seq.load(std::memory_order_relaxed);
            if ((s & 1) == 0 && seq.compare_exchange_weak(s, s + 1, std::memory_order_acquire,
                                                          std::memory_order_relaxed)) [[likely]]
                return;
            spin_pause();
        }
    }
    /// Locks the bucket if its sequence word still is `seq`, an even number.
    bool try_lock(std::uint32_t b, std::uint32_t seq) noexcept {
        return bucket(b).seq.compare_exchange_strong(seq, seq + 1, std::memory_order_acquire,
                                                     std::memory_order_relaxed);
    }
    void unlock(std::uint32_t b) noexcept {
        Atomic<std::uint32_t>& seq = bucket(b).seq;
        seq.store(seq.load(std::memory_order_relaxed) + 1, std::memory_order_release);
    }
    /// Locks both, the lower number first; once if they are the same.
    void lock_pair(std::uint32_t a, std::uint32_t b) noexcept {
        lock(a < b ? a : b);
        if (a != b) lock(a < b ? b : a);
    }
    /// lock_pair(), if the sequence word of `a` still is `seq`, an even number.
    bool try_lock_pair(std::uint32_t a, std::uint32_t seq, std::uint32_t b) noexcept {
        if (b < a) lock(b);
        const bool locked = try_lock(a, seq);
        if (locked && a < b) lock(b);
        if (!locked && b < a) unlock(b);
        return locked;
    }
    void unlock_pair(std::uint32_t a, std::uint32_t b) noexcept {
        unlock(a);
        if (a != b) unlock(b);
    }

    // ---- With bucket `b` locked by the caller.

    /// An empty slot of the chain other than `taken`, in a fresh overflow bucket if need be;
    /// invalid if the chain is at its limit or there is no overflow bucket left.
    [[nodiscard]] Slot reserve(std::uint32_t b, Slot taken = {}) noexcept {
        Bucket& in = bucket(b);
        unsigned empty = in.match(0);
        if (taken.bucket == &in) empty &= ~(1U << taken.number);
        if (empty == 0) [[unlikely]]
            return reserve_in_chain(b, taken);
        return {&in, static_cast<unsigned>(std::countr_zero(empty))};
    }
    /// Fills a reserved slot.
    static void store(Slot s, std::uint16_t tag, Ref ref, std::uint8_t age,
                      bool assured = false) noexcept {
        Bucket& b = *s.bucket;
        b.refs[s.number].store(ref.word, std::memory_order_release);
        b.ages[s.number].store(age, std::memory_order_relaxed);
        const std::uint32_t link = b.link.load(std::memory_order_relaxed) & ~(1U << s.number);
        b.link.store(link | std::uint32_t{assured} << s.number, std::memory_order_relaxed);
        b.put_tag(s.number, tag);
    }
    /// Empties the slot that holds `ref`; false if there is none.
    bool remove(std::uint32_t b, std::uint16_t tag, Ref ref) noexcept {
        Bucket& in = bucket(b);
        for (unsigned hits = in.match(tag); hits != 0; hits &= hits - 1) {
            const auto slot = static_cast<unsigned>(std::countr_zero(hits));
            if (in.ref(slot) != ref) continue;
            in.put_tag(slot, 0);
            if (in.next() != 0) [[unlikely]]
                shorten_chain(b, {&in, slot});
            return true;
        }
        return in.next() != 0 && remove_from_chain(b, tag, ref);
    }
    /// Marks the slot that holds `ref` as assured; false if there is none.
    bool set_assured(std::uint32_t b, std::uint16_t tag, Ref ref) noexcept;

    [[nodiscard]] Pages pages() const noexcept { return buckets_.pages(); }
    [[nodiscard]] std::size_t bytes() const noexcept {
        return buckets_.size() + overflow_.size() + overflow_total_ * sizeof(std::uint32_t);
    }
    [[nodiscard]] std::uint32_t overflow_in_use() const noexcept;

private:
    [[nodiscard]] Slot reserve_in_chain(std::uint32_t b, Slot taken) noexcept;
    bool remove_from_chain(std::uint32_t b, std::uint16_t tag, Ref ref) noexcept;
    [[nodiscard]] Slot find_ref(std::uint32_t b, std::uint16_t tag, Ref ref) const noexcept;
    [[nodiscard]] std::uint32_t take_overflow() noexcept;
    void give_overflow(std::uint32_t number) noexcept;
    static void move(Slot from, Slot to) noexcept;
    void shorten_chain(std::uint32_t b, Slot hole) noexcept;

    unsigned log2_;
    unsigned shift_;  ///< of a hash, to the number of its bucket
    Region buckets_;
    Region overflow_;

    alignas(kCacheLine) mutable Atomic<bool> overflow_locked_{false};
    std::vector<std::uint32_t> overflow_free_;  ///< numbers from 1; under overflow_locked_
    std::size_t overflow_total_ = 0;
};

}  // namespace ct
