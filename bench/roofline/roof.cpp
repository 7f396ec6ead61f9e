// SPDX-License-Identifier: BSD-3-Clause
#include "bench/roofline/roof.hpp"

#include "bench/load/packets.hpp"
#include "ct/base/cache.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <string>
#include <utility>

namespace bench {

namespace {

constexpr std::size_t kWords = ct::kCacheLine / sizeof(std::uint64_t);

std::uint32_t lines_of(const ct::Region& r) {
    return static_cast<std::uint32_t>(r.size() / ct::kCacheLine);
}

}  // namespace

RoofMemory::RoofMemory(std::uint32_t bucket_count, std::uint32_t entry_count,
                       std::uint32_t side_line_count)
    : index{std::size_t{bucket_count} * ct::kCacheLine, ct::Region::Touch::Now},
      hot{std::size_t{entry_count} * ct::kCacheLine, ct::Region::Touch::Now},
      side{std::size_t{entry_count} * std::max(side_line_count, 1U) * ct::kCacheLine,
           ct::Region::Touch::Now},
      buckets{bucket_count},
      entries{entry_count},
      side_lines{side_line_count},
      order{shuffled(entry_count, 11)} {
    for (std::uint32_t b = 0; b < buckets; ++b) index.as<std::uint64_t>()[b * kWords] = mix(b + 1);
    for (std::uint32_t e = 0; e < entries; ++e)
        hot.as<std::uint64_t>()[e * kWords] = mix(e + 0x1'0000'0000);
}

std::string RoofShape::id() const {
    switch (graph) {
        case Graph::Established:
            return "EST" + std::to_string(index_lines + 1 + side_lines);
        case Graph::Insert:
            return "INS" + std::to_string(index_lines + 1 + side_lines);
        case Graph::Evict:
            return "EVI" + std::to_string(2 * index_lines + 1 + side_lines);
    }
    return "";
}

/// The addresses of a burst, as far as they are known.
struct Roof::Group {
    std::array<std::uint64_t*, kMaxBurst> bucket;
    std::array<std::uint64_t*, kMaxBurst> second;  ///< the NATed tuple's, or the victim's
    std::array<std::uint64_t*, kMaxBurst> third;   ///< the victim's NATed tuple's
    std::array<std::uint32_t, kMaxBurst> entry;
    std::array<std::uint64_t, kMaxBurst> random;
};

Roof::Roof(std::shared_ptr<RoofMemory> memory, RoofShape shape, Draw draw, std::uint32_t burst,
           Schedule schedule, std::uint32_t part, std::uint32_t parts)
    : memory_{std::move(memory)},
      shape_{shape},
      draw_{std::move(draw)},
      burst_{burst},
      schedule_{schedule},
      shift_{64U - std::bit_width(memory_->buckets - 1)},
      first_{static_cast<std::uint32_t>(std::uint64_t{memory_->entries} * part / parts)},
      last_{static_cast<std::uint32_t>(std::uint64_t{memory_->entries} * (part + 1) / parts)},
      at_{first_},
      counter_{std::uint64_t{part} << 48} {}

std::uint64_t* Roof::bucket(std::uint64_t random) const noexcept {
    return memory_->index.as<std::uint64_t>() + (random >> shift_) * kWords;
}
std::uint64_t* Roof::hot(std::uint32_t entry) const noexcept {
    return memory_->hot.as<std::uint64_t>() + entry * kWords;
}
std::uint64_t* Roof::side(std::uint32_t entry) const noexcept {
    return memory_->side.as<std::uint64_t>() + std::size_t{entry} * memory_->side_lines * kWords;
}

void Roof::write_side(std::uint32_t entry) noexcept {
    std::uint64_t* line = side(entry);
    for (std::uint32_t l = 0; l < shape_.side_lines; ++l, line += kWords) *line += 1;
}

// A flow always meets the same bucket and the same entry, so that a popular one is in the caches.
// The entry's number is known only when the bucket's line is there.

void Roof::begin_established(Group& g) noexcept {
    for (std::uint32_t i = 0; i < burst_; ++i) {
        g.random[i] = mix(draw_.next().flow + 0x5000'0000'0000);
        g.bucket[i] = bucket(g.random[i]);
        ct::prefetch(g.bucket[i]);
    }
}

void Roof::middle_established(Group& g) const noexcept {
    for (std::uint32_t i = 0; i < burst_; ++i) {
        const std::uint64_t content = *g.bucket[i];
        g.entry[i] = below((content ^ g.random[i]) * 0x9e37'79b9'7f4a'7c15, memory_->entries);
        ct::prefetch(hot(g.entry[i]));
        const std::uint64_t* line = side(g.entry[i]);
        for (std::uint32_t l = 0; l < shape_.side_lines; ++l) ct::prefetch_write(line + l * kWords);
    }
}

void Roof::end_established(const Group& g) noexcept {
    for (std::uint32_t i = 0; i < burst_; ++i) {
        sum_ += *hot(g.entry[i]);
        write_side(g.entry[i]);
    }
}

// The free entries are known long before they are needed, and the bucket's line is not read before
// it is written to.

void Roof::begin_insert(Group& g) noexcept {
    for (std::uint32_t i = 0; i < burst_; ++i) {
        g.random[i] = mix(++counter_);
        g.bucket[i] = bucket(g.random[i]);
        ct::prefetch_write(g.bucket[i]);
        if (shape_.index_lines > 1) {
            g.second[i] = bucket(mix(g.random[i]));
            ct::prefetch_write(g.second[i]);
        }
        g.entry[i] = memory_->order[at_];
        if (++at_ == last_) at_ = first_;
        ct::prefetch_write(hot(g.entry[i]));
        const std::uint64_t* line = side(g.entry[i]);
        for (std::uint32_t l = 0; l < shape_.side_lines; ++l) ct::prefetch_write(line + l * kWords);
    }
}

void Roof::end_insert(const Group& g) noexcept {
    for (std::uint32_t i = 0; i < burst_; ++i) {
        *hot(g.entry[i]) = g.random[i];
        write_side(g.entry[i]);
        *g.bucket[i] += 1;
        if (shape_.index_lines > 1) *g.second[i] += 1;
    }
}

// The entry goes from the victim to the newcomer; it says where the victim stands in the index.

void Roof::begin_evict(Group& g) noexcept {
    begin_insert(g);
}

void Roof::middle_evict(Group& g) const noexcept {
    for (std::uint32_t i = 0; i < burst_; ++i) {
        const std::uint64_t was = *hot(g.entry[i]);
        g.third[i] = bucket(was);
        ct::prefetch_write(g.third[i]);
        if (shape_.index_lines > 1) ct::prefetch_write(bucket(mix(was)));
    }
}

void Roof::end_evict(const Group& g) noexcept {
    for (std::uint32_t i = 0; i < burst_; ++i) {
        std::uint64_t& entry = *hot(g.entry[i]);
        if (shape_.index_lines > 1) *bucket(mix(entry)) -= 1;
        *g.third[i] -= 1;
        entry = g.random[i];
        write_side(g.entry[i]);
        *g.bucket[i] += 1;
        if (shape_.index_lines > 1) *g.second[i] += 1;
    }
}

template <class Begin, class Middle, class End>
void Roof::schedule(std::uint32_t bursts, Begin begin, Middle middle, End end) noexcept {
    std::array<Group, 2> groups;
    if (schedule_ == Schedule::Grouped) {
        for (std::uint32_t b = 0; b < bursts; ++b) {
            begin(groups[0]);
            middle(groups[0]);
            end(groups[0]);
        }
        return;
    }
    begin(groups[0]);
    for (std::uint32_t b = 0; b < bursts; ++b) {
        Group& now = groups[b % 2];
        middle(now);
        if (b + 1 < bursts) begin(groups[(b + 1) % 2]);
        end(now);
    }
}

std::uint64_t Roof::step(std::uint32_t packets) noexcept {
    const std::uint32_t bursts = packets / burst_;
    switch (shape_.graph) {
        case RoofShape::Graph::Established:
            schedule(
                bursts, [this](Group& g) { begin_established(g); },
                [this](Group& g) { middle_established(g); },
                [this](Group& g) { end_established(g); });
            break;
        case RoofShape::Graph::Insert:
            schedule(
                bursts, [this](Group& g) { begin_insert(g); }, [](Group&) {},
                [this](Group& g) { end_insert(g); });
            break;
        case RoofShape::Graph::Evict:
            schedule(
                bursts, [this](Group& g) { begin_evict(g); }, [this](Group& g) { middle_evict(g); },
                [this](Group& g) { end_evict(g); });
            break;
    }
    return std::uint64_t{bursts} * burst_;
}

std::uint64_t random_reads(const ct::Region& region, std::uint32_t packets, std::uint64_t& counter,
                           std::uint64_t& sum) noexcept {
    // The core looks far enough ahead by itself: nothing here depends on what was read.
    const auto* words = region.as<std::uint64_t>();
    const std::uint32_t lines = lines_of(region);
    for (std::uint32_t i = 0; i < packets; ++i) sum += words[below(mix(++counter), lines) * kWords];
    return packets;
}

Chase::Chase(const ct::Region& region) : at_{region.as<std::uint64_t>()} {
    auto* words = region.as<std::uint64_t>();
    const std::vector<std::uint32_t> order = shuffled(lines_of(region), 13);
    for (std::size_t i = 0; i < order.size(); ++i) {
        const std::uint32_t next = order[(i + 1) % order.size()];
        words[order[i] * kWords] = reinterpret_cast<std::uintptr_t>(words + next * kWords);
    }
}

std::uint64_t Chase::step(std::uint32_t steps) noexcept {
    for (std::uint32_t i = 0; i < steps; ++i)
        at_ = reinterpret_cast<const std::uint64_t*>(static_cast<std::uintptr_t>(*at_));
    // Keeps the chain alive.
    asm volatile("" : "+r"(at_));
    return steps;
}

}  // namespace bench
