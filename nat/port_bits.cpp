// SPDX-License-Identifier: BSD-3-Clause
#include "nat/port_bits.hpp"

#include <bit>
#include <emmintrin.h>

namespace nat {
namespace {

/// The lowest member of a set of blocks from `from` on, around its end; -1 if it is empty.
template <class BlockSet>
[[nodiscard]] int next_block(const BlockSet& set, unsigned from) noexcept {
    const unsigned word = from / 64;
    if (const std::uint64_t m = set[word] & ~std::uint64_t{0} << from % 64; m != 0)
        return static_cast<int>(word * 64) + std::countr_zero(m);
    if (set[1 - word] != 0)
        return static_cast<int>((1 - word) * 64) + std::countr_zero(set[1 - word]);
    return set[word] == 0 ? -1 : static_cast<int>(word * 64) + std::countr_zero(set[word]);
}

/// The ports of a word of the bitmap that are wanted.
[[nodiscard]] std::uint64_t wanted_bits(unsigned word, const Wanted& w) noexcept {
    const std::uint32_t first = word * 64;
    if (w.range.last < first || w.range.first > first + 63) return 0;
    std::uint64_t bits = ~std::uint64_t{0};
    if (w.range.first > first) bits &= ~std::uint64_t{0} << (w.range.first - first);
    if (w.range.last < first + 63) bits &= ~std::uint64_t{0} >> (first + 63 - w.range.last);
    constexpr std::uint64_t kEven = 0x5555'5555'5555'5555;
    if (w.parity >= 0) bits &= w.parity == 0 ? kEven : ~kEven;
    return bits;
}

/// The block of 128 with which a search begins.
[[nodiscard]] unsigned start_of(std::uint64_t random) noexcept {
    return static_cast<unsigned>(random >> 57);
}

}  // namespace

PortBits::BlockSet PortBits::open_blocks(PortRange range) const noexcept {
    const unsigned first = range.first / kBlockPorts;
    const unsigned last = range.last / kBlockPorts;
    BlockSet set{};
    for (unsigned k = 0; k < set.size(); ++k) {
        const unsigned lowest = k * 64;
        const unsigned highest = lowest + 63;
        if (last < lowest || first > highest) continue;
        set[k] = ~full_[k].load(std::memory_order_relaxed);
        if (first > lowest) set[k] &= ~std::uint64_t{0} << (first - lowest);
        if (last < highest) set[k] &= ~std::uint64_t{0} >> (highest - last);
    }
    return set;
}

PortBits::BlockSet PortBits::blocks_of(std::uint8_t owner) const noexcept {
    const __m128i want = _mm_set1_epi8(static_cast<char>(owner));
    BlockSet set{};
    for (unsigned k = 0; k < kBlocks / 16; ++k) {
        const std::uint64_t low = owners_[2 * k].load(std::memory_order_relaxed);
        const std::uint64_t high = owners_[2 * k + 1].load(std::memory_order_relaxed);
        const __m128i have =
            _mm_set_epi64x(static_cast<long long>(high), static_cast<long long>(low));
        const auto equal = static_cast<unsigned>(_mm_movemask_epi8(_mm_cmpeq_epi8(have, want)));
        set[k / 4] |= std::uint64_t{equal} << k % 4 * 16;
    }
    return set;
}

bool PortBits::lease(unsigned block, std::uint8_t owner) noexcept {
    std::atomic<std::uint64_t>& word = owners_[block / 8];
    const unsigned shift = block % 8 * 8;
    std::uint64_t was = word.load(std::memory_order_relaxed);
    do {
        if ((was >> shift & 0xff) != 0) return false;
    } while (!word.compare_exchange_weak(was, was | std::uint64_t{owner} << shift,
                                         std::memory_order_relaxed));
    return true;
}

void PortBits::end_lease(unsigned block) noexcept {
    const std::uint64_t mask = std::uint64_t{0xff} << block % 8 * 8;
    std::atomic<std::uint64_t>& word = owners_[block / 8];
    if ((word.load(std::memory_order_relaxed) & mask) != 0)
        word.fetch_and(~mask, std::memory_order_relaxed);
}

void PortBits::note_full(unsigned block) noexcept {
    const std::uint64_t bit = std::uint64_t{1} << block % 64;
    full_[block / 64].fetch_or(bit);
    // Who gave a port back before it saw the bit did so before this.
    for (unsigned k = 0; k < kBlockWords; ++k)
        if (~taken_[block * kBlockWords + k].load() != 0) {
            full_[block / 64].fetch_and(~bit);
            return;
        }
}

std::optional<std::uint16_t> PortBits::claim_in(unsigned block, const Wanted& wanted,
                                                std::uint64_t random) noexcept {
    std::uint64_t all = ~std::uint64_t{0};
    const auto turn = static_cast<int>(random & 63);
    for (unsigned k = 0; k < kBlockWords; ++k) {
        const auto at =
            static_cast<unsigned>(block * kBlockWords + (k + (random >> 6)) % kBlockWords);
        const std::uint64_t bits = wanted_bits(at, wanted);
        std::uint64_t taken = taken_[at].load(std::memory_order_relaxed);
        while (const std::uint64_t free = ~taken & bits) {
            const int from_turn = std::countr_zero(std::rotr(free, turn));
            const std::uint64_t bit = std::rotl(std::uint64_t{1}, from_turn + turn);
            const std::uint64_t was = taken_[at].fetch_or(bit);
            if ((was & bit) == 0)
                return static_cast<std::uint16_t>(at * 64U +
                                                  static_cast<unsigned>(std::countr_zero(bit)));
            taken = was;
        }
        all &= taken;
    }
    if (~all == 0) note_full(block);
    return std::nullopt;
}

std::optional<std::uint16_t> PortBits::claim_among(BlockSet blocks, const Wanted& wanted,
                                                   std::uint64_t random) noexcept {
    const unsigned start = start_of(random);
    for (int at = next_block(blocks, start); at >= 0; at = next_block(blocks, start)) {
        const auto block = static_cast<unsigned>(at);
        if (const auto port = claim_in(block, wanted, random >> 8)) return port;
        blocks[block / 64] &= ~(std::uint64_t{1} << block % 64);
    }
    return std::nullopt;
}

std::optional<std::uint16_t> PortBits::claim_in_new_lease(BlockSet nobodys, std::uint8_t owner,
                                                          const Wanted& wanted,
                                                          std::uint64_t random) noexcept {
    const unsigned start = start_of(random);
    for (int at = next_block(nobodys, start); at >= 0; at = next_block(nobodys, start)) {
        const auto block = static_cast<unsigned>(at);
        nobodys[block / 64] &= ~(std::uint64_t{1} << block % 64);
        if (!lease(block, owner)) continue;
        if (const auto port = claim_in(block, wanted, random >> 8)) return port;
    }
    return std::nullopt;
}

std::optional<std::uint16_t> PortBits::claim_any(std::uint32_t w, const Wanted& wanted,
                                                 std::uint64_t random) noexcept {
    const BlockSet within = open_blocks(wanted.range);
    if ((within[0] | within[1]) == 0) return std::nullopt;
    const auto owner = static_cast<std::uint8_t>(w + 1);
    BlockSet own = blocks_of(owner);
    BlockSet nobodys = blocks_of(0);
    unsigned leased = 0;
    for (unsigned k = 0; k < within.size(); ++k) {
        own[k] &= within[k];
        nobodys[k] &= within[k];
        leased += static_cast<unsigned>(std::popcount(own[k]));
    }
    if (leased < kLeases)
        if (const auto port = claim_in_new_lease(nobodys, owner, wanted, random)) return port;
    if (const auto port = claim_among(own, wanted, random)) return port;
    if (leased >= kLeases)
        if (const auto port = claim_in_new_lease(nobodys, owner, wanted, random)) return port;
    return claim_among(within, wanted, random);
}

void PortBits::free(unsigned word, std::uint64_t ports) noexcept {
    const unsigned block = word / kBlockWords;
    const std::uint64_t left = taken_[word].fetch_and(~ports) & ~ports;
    const std::uint64_t full = std::uint64_t{1} << block % 64;
    if ((full_[block / 64].load() & full) != 0) full_[block / 64].fetch_and(~full);
    if (left != 0) return;
    for (unsigned k = 0; k < kBlockWords; ++k)
        if (taken_[block * kBlockWords + k].load(std::memory_order_relaxed) != 0) return;
    end_lease(block);
}

void PortBits::clear() noexcept {
    for (auto& word : taken_) word.store(0);
    for (auto& word : owners_) word.store(0, std::memory_order_relaxed);
    for (auto& word : full_) word.store(0);
}

std::uint32_t PortBits::count() const noexcept {
    std::uint32_t n = 0;
    for (const auto& word : taken_)
        n += static_cast<std::uint32_t>(std::popcount(word.load(std::memory_order_relaxed)));
    return n;
}

unsigned PortBits::leased_blocks() const noexcept {
    const BlockSet nobodys = blocks_of(0);
    return kBlocks - static_cast<unsigned>(std::popcount(nobodys[0]) + std::popcount(nobodys[1]));
}

}  // namespace nat
