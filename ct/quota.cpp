// SPDX-License-Identifier: BSD-3-Clause
#include "ct/quota.hpp"

#include "ct/base/cache.hpp"

#include <algorithm>
#include <bit>

namespace ct {

namespace {

constexpr unsigned kMinLog2Width = 10;
constexpr unsigned kMinLog2Lines = 6;
constexpr unsigned kMaxLog2Lines = 16;  // 4 MiB: half a million sources that press at a time
constexpr int kTokenTries = 3;

constexpr unsigned kUnitShift = 6;  // nanoseconds to units of 64
constexpr unsigned kTimeBits = 40;
constexpr std::uint64_t kTimeMask = (std::uint64_t{1} << kTimeBits) - 1;
constexpr std::uint64_t kUnitsPerSecond = kNanosPerSecond >> kUnitShift;

/// Odd numbers without a pattern, a row each (digits of the square roots of 2, 3, 5 and 7): the
/// upper bits of their products with a uniform number are as good as independent.
constexpr std::array<std::uint64_t, SourceQuota::kRows> kRowFactors{
    0x6a09'e667'f3bc'c909, 0xbb67'ae85'84ca'a73b, 0x3c6e'f372'fe94'f82b, 0xa54f'f53a'5f1d'36f1};

unsigned log2_up(std::uint32_t n) noexcept {
    return std::bit_width(std::max(n, 2U) - 1);
}

}  // namespace

SourceQuota::SourceQuota(const PerSource& limits, std::uint32_t entries, const HashKey& key)
    : limits_{limits},
      key_{key},
      log2_width_{std::max(kMinLog2Width, log2_up(entries) - std::min(2U, log2_up(entries)))},
      log2_lines_{std::clamp(log2_up(entries) - std::min(6U, log2_up(entries)), kMinLog2Lines,
                             kMaxLog2Lines)},
      interval_{limits.new_per_second == 0 ? 0 : kUnitsPerSecond / limits.new_per_second},
      depth_{(limits.burst != 0 ? limits.burst - 1 : std::max(limits.new_per_second, 1U) - 1) *
             interval_},
      cells_{(sizeof(Cell) << log2_width_) * kRows, Region::Touch::Lazily},
      slots_{sizeof(Slot) * kSlots << log2_lines_, Region::Touch::Lazily} {}

std::uint64_t SourceQuota::key_of(Family family, const Addr& source,
                                  std::uint16_t zone) const noexcept {
    Tuple t;
    t.family = family;
    t.zone = zone;
    t.src = first_bits(source, family == Family::Ipv6 ? limits_.ipv6_prefix : limits_.ipv4_prefix);
    return hash(key_, t);
}

SourceQuota::Cell& SourceQuota::cell(std::uint64_t source, unsigned row) const noexcept {
    const std::uint64_t at = source * kRowFactors[row] >> (64 - log2_width_);
    return cells_.as<Cell>()[(std::uint64_t{row} << log2_width_) + at];
}

SourceQuota::Slot* SourceQuota::line(std::uint64_t source) const noexcept {
    return slots_.as<Slot>() + (source >> (64 - log2_lines_)) * kSlots;
}

void SourceQuota::prefetch(std::uint64_t source) const noexcept {
    if (limits_.max_entries != 0)
        for (unsigned row = 0; row < kRows; ++row) prefetch_write(&cell(source, row));
    if (limits_.new_per_second != 0) prefetch_write(line(source));
}

std::uint32_t SourceQuota::entries(std::uint64_t source) const noexcept {
    std::uint32_t least = ~std::uint32_t{0};
    for (unsigned row = 0; row < kRows; ++row)
        least = std::min(least, cell(source, row).load(std::memory_order_relaxed));
    return least;
}

void SourceQuota::opened(std::uint64_t source) noexcept {
    if (limits_.max_entries == 0) return;
    for (unsigned row = 0; row < kRows; ++row)
        cell(source, row).fetch_add(1, std::memory_order_relaxed);
}

void SourceQuota::ended(std::uint64_t source) noexcept {
    if (limits_.max_entries == 0) return;
    for (unsigned row = 0; row < kRows; ++row)
        cell(source, row).fetch_sub(1, std::memory_order_relaxed);
}

bool SourceQuota::accounts_for(std::uint64_t entries) const noexcept {
    if (limits_.max_entries == 0) return true;
    for (unsigned row = 0; row < kRows; ++row) {
        std::uint64_t sum = 0;
        for (std::uint64_t c = 0; c < std::uint64_t{1} << log2_width_; ++c)
            sum += cells_.as<Cell>()[(std::uint64_t{row} << log2_width_) + c].load();
        if (sum != entries) return false;
    }
    return true;
}

/// Units until the bucket of `slot` is full.
std::uint64_t SourceQuota::debt(std::uint64_t slot, std::uint64_t now) const noexcept {
    const std::uint64_t ahead = (slot - now) & kTimeMask;
    return ahead > depth_ + interval_ ? 0 : ahead;
}

bool SourceQuota::take_token(std::uint64_t source, Nanos now) noexcept {
    Slot* const slots = line(source);
    const std::uint64_t tag = source << kTimeBits | std::uint64_t{1} << kTimeBits;  // never zero
    const std::uint64_t time = now >> kUnitShift & kTimeMask;
    for (int tries = 0; tries < kTokenTries; ++tries) {
        unsigned at = 0;
        std::uint64_t word = 0;
        std::uint64_t least = ~std::uint64_t{0};
        bool own = false;
        for (unsigned s = 0; s < kSlots && !own; ++s) {
            const std::uint64_t seen = slots[s].load(std::memory_order_relaxed);
            own = ((seen ^ tag) & ~kTimeMask) == 0;
            const std::uint64_t owed = debt(seen, time);
            if (!own && owed >= least) continue;
            at = s;
            word = seen;
            least = owed;
        }
        const std::uint64_t owed = own ? least : 0;
        if (owed > depth_) return false;
        const std::uint64_t next = (tag & ~kTimeMask) | ((time + owed + interval_) & kTimeMask);
        if (slots[at].compare_exchange_strong(word, next, std::memory_order_relaxed)) return true;
    }
    return true;
}

Drop SourceQuota::admit(std::uint64_t source, Nanos now) noexcept {
    if (limits_.max_entries != 0 && entries(source) >= limits_.max_entries)
        return Drop::CtSourceEntries;
    if (limits_.new_per_second != 0 && !take_token(source, now)) return Drop::CtSourceRate;
    return Drop::None;
}

Drop SourceQuota::foresee(std::uint64_t source, Nanos now) const noexcept {
    if (limits_.max_entries != 0 && entries(source) >= limits_.max_entries)
        return Drop::CtSourceEntries;
    if (limits_.new_per_second == 0) return Drop::None;
    const std::uint64_t tag = source << kTimeBits | std::uint64_t{1} << kTimeBits;
    const Slot* const slots = line(source);
    for (unsigned s = 0; s < kSlots; ++s) {
        const std::uint64_t seen = slots[s].load(std::memory_order_relaxed);
        if (((seen ^ tag) & ~kTimeMask) != 0) continue;
        return debt(seen, now >> kUnitShift & kTimeMask) > depth_ ? Drop::CtSourceRate : Drop::None;
    }
    return Drop::None;
}

}  // namespace ct
