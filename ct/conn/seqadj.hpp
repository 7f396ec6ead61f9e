// SPDX-License-Identifier: BSD-3-Clause
//
// Sequence numbers of a TCP connection whose payload changes its length on the way, as an address
// in it does when NAT writes another one (semantics.md 2.9).
//
// The tracker counts in the numbers of each sender, as if nothing had been changed. What the
// receiver sees is shifted: every byte behind a change by what all changes up to it add up to.
//
//   sender    ......[ 10.0.0.1 ].......          the number shifts behind `position`,
//   receiver  ......[ 203.0.113.1 ].......       here by 3 more than before it
//                   ^ position
//
// Linux remembers the last change alone, which is enough where one side talks at a time. Here the
// last few are, so that a whole window may be on its way with a change in each segment. Only where
// the receiver has not acknowledged the oldest of them yet, and there is no room for another, has
// the segment to be dropped: its sender will send it again, by when there is.
//
// Changes are made in the order of the stream. Whoever edits payloads must not let a segment pass
// that begins behind a gap: what is missing may change its length when it comes.
#pragma once

#include "ct/wire/tuple.hpp"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

namespace ct {

/// How the numbers of one sender are shifted.
class SeqShift {
public:
    static constexpr std::size_t kChanges = 16;  ///< that may be on their way at a time

    /// What the receiver sees in the place of the sender's `seq`.
    [[nodiscard]] constexpr std::uint32_t seen(std::uint32_t seq) const noexcept {
        std::size_t i = count_;
        while (i > 0 && !is_behind(seq, changes_[i - 1].position)) --i;
        return seq + static_cast<std::uint32_t>(shift_before(i));
    }
    /// The sender's number for one that the receiver names: an acknowledgement or the edge of a
    /// SACK block. Whoever has a part of what was changed has none of it, as the sender knows no
    /// such parts.
    [[nodiscard]] constexpr std::uint32_t own(std::uint32_t named) const noexcept {
        for (std::size_t i = count_; i > 0; --i) {
            const Change& c = changes_[i - 1];
            const auto before = static_cast<std::uint32_t>(shift_before(i - 1));
            if (!is_behind(named - before, c.position)) continue;
            const std::uint32_t changed = named - static_cast<std::uint32_t>(c.after);
            return is_behind(changed, c.position) ? changed : c.position;
        }
        return named - static_cast<std::uint32_t>(shift_before(0));
    }
    /// What begins at the sender's number `position` has become longer by `by` bytes (shorter, if
    /// negative). Nothing new if it was sent before: then this was said when it came by first.
    /// `acked`: how far the receiver has acknowledged, in the sender's numbers. False if as many
    /// changes as can be remembered are still on their way.
    [[nodiscard]] constexpr bool lengthen(std::uint32_t position, std::int32_t by,
                                          std::uint32_t acked) noexcept {
        if (count_ > 0 && !is_behind(position, changes_[count_ - 1].position)) return true;
        if (count_ == kChanges) {
            if (!is_behind(acked, changes_[0].position)) return false;
            oldest_ = changes_[0].after;
            for (std::size_t i = 1; i < kChanges; ++i) changes_[i - 1] = changes_[i];
            --count_;
        }
        changes_[count_] = {position, shift_before(count_) + by};
        ++count_;
        return true;
    }
    /// True if no number is shifted.
    [[nodiscard]] constexpr bool none() const noexcept { return count_ == 0; }

private:
    struct Change {
        std::uint32_t position = 0;  ///< in the sender's numbers
        std::int32_t after = 0;      ///< shift of the numbers behind it
    };

    [[nodiscard]] static constexpr bool is_behind(std::uint32_t a, std::uint32_t b) noexcept {
        return static_cast<std::int32_t>(a - b) > 0;
    }
    /// The shift of what lies between change i - 1 and change i.
    [[nodiscard]] constexpr std::int32_t shift_before(std::size_t i) const noexcept {
        return i == 0 ? oldest_ : changes_[i - 1].after;
    }

    std::int32_t oldest_ = 0;  ///< shift of what lies before all of them
    std::uint32_t count_ = 0;
    std::array<Change, kChanges> changes_{};
};

/// Both senders' shifts, by Dir.
struct SeqAdjust {
    std::array<SeqShift, 2> by_dir{};

    [[nodiscard]] constexpr SeqShift& of(Dir d) noexcept { return by_dir[index_of(d)]; }
    [[nodiscard]] constexpr const SeqShift& of(Dir d) const noexcept { return by_dir[index_of(d)]; }
};

/// The adjustments of all connections that have one: a few, and each for a while, so they stand
/// beside the table and not in its entries. Type-stable: what an entry of a former life still
/// points to is somebody's adjustment. An adjustment itself is under its entry's side lock.
class SeqAdjustments {
public:
    static constexpr std::uint16_t kNone = 0;

    /// Room for as many as there are entries, but 65,535 at most.
    explicit SeqAdjustments(std::uint32_t entries)
        : count_{static_cast<std::uint16_t>(entries < 0xffff ? entries : 0xffff)},
          all_{std::make_unique_for_overwrite<SeqAdjust[]>(std::size_t{count_} + 1)} {
        free_.reserve(count_);
    }

    /// A fresh one, or kNone if all are in use.
    [[nodiscard]] std::uint16_t take() noexcept {
        const std::lock_guard guard{mutex_};
        std::uint16_t i = kNone;
        if (!free_.empty()) {
            i = free_.back();
            free_.pop_back();
        } else if (touched_ < count_) {
            i = ++touched_;
        } else {
            return kNone;
        }
        all_[i] = {};
        in_use_.fetch_add(1, std::memory_order_relaxed);
        return i;
    }
    void give(std::uint16_t i) noexcept {
        const std::lock_guard guard{mutex_};
        free_.push_back(i);  // there is room: each index is in it once at most
        in_use_.fetch_sub(1, std::memory_order_relaxed);
    }
    [[nodiscard]] SeqAdjust& at(std::uint16_t i) const noexcept { return all_[i]; }
    [[nodiscard]] std::uint32_t in_use() const noexcept {
        return in_use_.load(std::memory_order_relaxed);
    }

private:
    std::uint16_t count_;
    std::uint16_t touched_ = 0;  ///< under the mutex: the highest index that was ever taken
    std::unique_ptr<SeqAdjust[]> all_;
    std::mutex mutex_;
    std::vector<std::uint16_t> free_;  ///< under the mutex
    std::atomic<std::uint32_t> in_use_{0};
};

}  // namespace ct
