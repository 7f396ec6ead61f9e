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
      pool{std::size_t{entry_count} * (1 + side_line_count) * ct::kCacheLine,
           ct::Region::Touch::Now},
      buckets{bucket_count},
      entries{entry_count},
      side_lines{side_line_count},
      ring(entry_count) {
    for (std::uint32_t b = 0; b < buckets; ++b) index.as<std::uint64_t>()[b * kWords] = mix(b + 1);
    const std::vector<std::uint32_t> order = shuffled(entry_count, 11);
    for (std::uint32_t k = 0; k < entries; ++k) ring[k] = {mix(k + 0x1'0000'0000), order[k]};
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

std::string RoofSchedule::name() const {
    switch (kind) {
        case Kind::Grouped:
            return "grouped";
        case Kind::Ahead:
            return "a burst ahead";
        case Kind::Rolling:
            return std::to_string(distance) + " packets ahead";
    }
    return "";
}

Roof::Roof(std::shared_ptr<RoofMemory> memory, RoofShape shape, Draw draw, std::uint32_t burst,
           RoofSchedule schedule, std::uint32_t part, std::uint32_t parts)
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
std::uint64_t* Roof::entry(std::uint32_t number) const noexcept {
    return memory_->pool.as<std::uint64_t>() +
           std::size_t{number} * (1 + memory_->side_lines) * kWords;
}

/// The buckets of the flow with these random bits: one, or with NAT two.
template <class Visit>
void Roof::each_bucket(std::uint64_t random, Visit&& visit) const noexcept {
    visit(bucket(random));
    if (shape_.index_lines > 1) visit(bucket(mix(random)));
}

// A flow always meets the same bucket and the same entry, so that a popular one is in the caches.
// The entry's number is known only when the bucket's line is there.

void Roof::begin_established(Flight& f) noexcept {
    f.random = mix(draw_.next().flow + 0x5000'0000'0000);
    ct::prefetch(bucket(f.random));
}

void Roof::middle_established(Flight& f) const noexcept {
    const std::uint64_t content = *bucket(f.random);
    f.entry = entry(below((content ^ f.random) * 0x9e37'79b9'7f4a'7c15, memory_->entries));
    ct::prefetch(f.entry);
    for (std::uint32_t l = 1; l <= shape_.side_lines; ++l) ct::prefetch_write(f.entry + l * kWords);
}

void Roof::end_established(const Flight& f) noexcept {
    sum_ += *f.entry;
    for (std::uint32_t l = 1; l <= shape_.side_lines; ++l) f.entry[l * kWords] += 1;
}

// Free entries and victims are known long before they are needed, and no line is read before it is
// written to.

void Roof::begin_insert(Flight& f) noexcept {
    RoofMemory::Record& record = memory_->ring[at_];
    if (++at_ == last_) at_ = first_;
    f.random = mix(++counter_);
    f.victim = record.random;
    f.entry = entry(record.entry);
    record.random = f.random;
    each_bucket(f.random, [](std::uint64_t* b) { ct::prefetch_write(b); });
    if (shape_.graph == RoofShape::Graph::Evict)
        each_bucket(f.victim, [](std::uint64_t* b) { ct::prefetch_write(b); });
    for (std::uint32_t l = 0; l <= shape_.side_lines; ++l) ct::prefetch_write(f.entry + l * kWords);
}

void Roof::end_insert(const Flight& f) noexcept {
    if (shape_.graph == RoofShape::Graph::Evict)
        each_bucket(f.victim, [](std::uint64_t* b) { *b -= 1; });
    *f.entry = f.random;
    for (std::uint32_t l = 1; l <= shape_.side_lines; ++l) f.entry[l * kWords] += 1;
    each_bucket(f.random, [](std::uint64_t* b) { *b += 1; });
}

template <class Begin, class Middle, class End>
void Roof::run(std::uint32_t packets, Begin begin, Middle middle, End end) noexcept {
    const auto each = [&](std::uint32_t from, auto&& what) {
        for (std::uint32_t i = from; i < from + burst_; ++i) what(flights_[i % kFlights]);
    };
    switch (schedule_.kind) {
        case RoofSchedule::Kind::Grouped:
            for (std::uint32_t at = 0; at < packets; at += burst_) {
                each(at, begin);
                each(at, middle);
                each(at, end);
            }
            break;
        case RoofSchedule::Kind::Ahead:
            each(0, begin);
            for (std::uint32_t at = 0; at < packets; at += burst_) {
                each(at, middle);
                if (at + burst_ < packets) each(at + burst_, begin);
                each(at, end);
            }
            break;
        case RoofSchedule::Kind::Rolling:
            for (std::uint32_t at = 0; at < packets; at += burst_) {
                const std::uint32_t d = schedule_.distance;
                for (std::uint32_t k = 0; k < burst_ + 2 * d; ++k) {
                    if (k < burst_) begin(flights_[(at + k) % kFlights]);
                    if (k - d < burst_) middle(flights_[(at + k - d) % kFlights]);
                    if (k - 2 * d < burst_) end(flights_[(at + k - 2 * d) % kFlights]);
                }
            }
            break;
    }
}

std::uint64_t Roof::step(std::uint32_t packets) noexcept {
    packets = packets / burst_ * burst_;
    if (shape_.graph == RoofShape::Graph::Established)
        run(
            packets, [this](Flight& f) { begin_established(f); },
            [this](Flight& f) { middle_established(f); },
            [this](Flight& f) { end_established(f); });
    else
        run(
            packets, [this](Flight& f) { begin_insert(f); }, [](Flight&) {},
            [this](Flight& f) { end_insert(f); });
    return packets;
}

std::uint64_t random_reads(const ct::Region& region, std::uint32_t packets, std::uint64_t& counter,
                           std::uint64_t& sum) noexcept {
    // Prefetches, since plain loads hold a place each among the instructions under way, and those
    // run out before the line fill buffers do.
    constexpr std::uint32_t kAhead = 16;
    const auto* words = region.as<std::uint64_t>();
    const std::uint32_t lines = lines_of(region);
    const auto line = [&](std::uint64_t n) { return words + below(mix(n), lines) * kWords; };
    for (std::uint32_t i = 0; i < packets; ++i) {
        ++counter;
        ct::prefetch(line(counter + kAhead));
        sum += *line(counter);
    }
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
