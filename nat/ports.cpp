// SPDX-License-Identifier: BSD-3-Clause
#include "nat/ports.hpp"

#include "ct/wire/headers.hpp"

#include <algorithm>
#include <bit>
#include <emmintrin.h>

namespace nat {
namespace {

/// The lowest member of a set of blocks from `from` on, around its end.
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

}  // namespace

Ports::Ports(std::vector<AddressRange> ranges, std::uint32_t quarantine_s)
    : period_{quarantine_s * ct::kNanosPerSecond / 2} {
    std::sort(ranges.begin(), ranges.end(), [](const AddressRange& a, const AddressRange& b) {
        return a.family != b.family ? a.family < b.family
                                    : Wide::of(a.first, a.family) < Wide::of(b.first, b.family);
    });
    std::uint64_t base = 0;
    for (const AddressRange& r : ranges) {
        Wide first = Wide::of(r.first, r.family);
        const Wide last = Wide::of(r.last, r.family);
        if (!ranges_.empty() && ranges_.back().family == r.family) {
            const Wide after = ranges_.back().first + Wide{0, ranges_.back().addresses};
            if (last < after) continue;
            first = std::max(first, after);
        }
        const Wide span = last - first;
        const std::uint64_t left = kMaxAddresses - base;
        if (left == 0) break;
        const std::uint64_t count = span.high != 0 || span.low >= left ? left : span.low + 1;
        ranges_.push_back({r.family, first, count, base});
        base += count;
    }
    if (base == 0) return;
    // Not on large pages: a space is two small ones, and a few ports should not cost 2 MiB.
    bits_ =
        ct::Region{base * kClasses * sizeof(Bits), ct::Region::Touch::Lazily, ct::Pages::Normal};
    if (period_ != 0)
        resting_ = ct::Region{base * kClasses * sizeof(Resting), ct::Region::Touch::Lazily,
                              ct::Pages::Normal};
}

std::uint8_t Ports::proto_of(unsigned klass, ct::Family family) noexcept {
    constexpr std::array<std::uint8_t, kClasses> kProtos{ct::ipproto::kTcp, ct::ipproto::kUdp,
                                                         ct::ipproto::kIcmp, ct::ipproto::kUdplite,
                                                         ct::ipproto::kSctp};
    const bool six = family == ct::Family::Ipv6 && kProtos[klass] == ct::ipproto::kIcmp;
    return six ? ct::ipproto::kIcmpv6 : kProtos[klass];
}

const Ports::Range* Ports::range_of(ct::Family family, Wide addr) const noexcept {
    for (const Range& r : ranges_) {
        if (r.family != family || addr < r.first) continue;
        const Wide offset = addr - r.first;
        if (offset.high == 0 && offset.low < r.addresses) return &r;
    }
    return nullptr;
}

Ports::Space Ports::space_of(ct::Family family, const ct::Addr& addr,
                             std::uint8_t proto) const noexcept {
    const Wide wide = Wide::of(addr, family);
    const Range* r = range_of(family, wide);
    if (r == nullptr) return kNoSpace;
    const std::uint64_t at = (r->base + (wide - r->first).low) * kClasses;
    for (unsigned c = 0; c < kClasses; ++c)
        if (proto_of(c, family) == proto) return static_cast<Space>(at + c);
    return kNoSpace;
}

std::uint64_t Ports::addresses_from(ct::Family family, const ct::Addr& first) const noexcept {
    Wide at = Wide::of(first, family);
    std::uint64_t count = 0;
    // Ranges that overlapped are neighbours now.
    while (const Range* r = range_of(family, at)) {
        const std::uint64_t here = r->addresses - (at - r->first).low;
        count += here;
        at = at + Wide{0, here};
    }
    return count;
}

bool Ports::is_taken(Space space, std::uint16_t port) const noexcept {
    return (bits(space).taken[port / 64].load(std::memory_order_acquire) >> port % 64 & 1) != 0;
}

bool Ports::claim(Space space, std::uint16_t port, ct::Nanos now) noexcept {
    enter_period(space, now);
    Bits& b = bits(space);
    const std::uint64_t bit = std::uint64_t{1} << port % 64;
    if ((b.taken[port / 64].fetch_or(bit) & bit) != 0) return false;
    if (b.used.load(std::memory_order_relaxed) == 0) b.used.store(1, std::memory_order_relaxed);
    return true;
}

Ports::BlockSet Ports::blocks_of(const Bits& b, std::uint8_t owner) noexcept {
    const __m128i want = _mm_set1_epi8(static_cast<char>(owner));
    BlockSet set{};
    for (unsigned k = 0; k < kBlocks / 16; ++k) {
        const std::uint64_t low = b.owners[2 * k].load(std::memory_order_relaxed);
        const std::uint64_t high = b.owners[2 * k + 1].load(std::memory_order_relaxed);
        const __m128i have =
            _mm_set_epi64x(static_cast<long long>(high), static_cast<long long>(low));
        const auto equal = static_cast<unsigned>(_mm_movemask_epi8(_mm_cmpeq_epi8(have, want)));
        set[k / 4] |= std::uint64_t{equal} << k % 4 * 16;
    }
    return set;
}

bool Ports::lease(Bits& b, unsigned block, std::uint8_t owner) noexcept {
    std::atomic<std::uint64_t>& word = b.owners[block / 8];
    const unsigned shift = block % 8 * 8;
    std::uint64_t was = word.load(std::memory_order_relaxed);
    do {
        if ((was >> shift & 0xff) != 0) return false;
    } while (!word.compare_exchange_weak(was, was | std::uint64_t{owner} << shift,
                                         std::memory_order_relaxed));
    return true;
}

void Ports::end_lease(Bits& b, unsigned block) noexcept {
    const std::uint64_t mask = std::uint64_t{0xff} << block % 8 * 8;
    std::atomic<std::uint64_t>& word = b.owners[block / 8];
    if ((word.load(std::memory_order_relaxed) & mask) != 0)
        word.fetch_and(~mask, std::memory_order_relaxed);
}

void Ports::note_full(Bits& b, unsigned block) noexcept {
    const std::uint64_t bit = std::uint64_t{1} << block % 64;
    b.full[block / 64].fetch_or(bit);
    // Who gave a port back before it saw the bit did so before this.
    for (unsigned k = 0; k < kBlockWords; ++k)
        if (~b.taken[block * kBlockWords + k].load() != 0) {
            b.full[block / 64].fetch_and(~bit);
            return;
        }
}

std::optional<std::uint16_t> Ports::claim_in(Bits& b, unsigned block, const Wanted& wanted,
                                             std::uint64_t random) noexcept {
    std::uint64_t all = ~std::uint64_t{0};
    const auto turn = static_cast<int>(random & 63);
    for (unsigned k = 0; k < kBlockWords; ++k) {
        const auto at =
            static_cast<unsigned>(block * kBlockWords + (k + (random >> 6)) % kBlockWords);
        const std::uint64_t bits = wanted_bits(at, wanted);
        std::uint64_t taken = b.taken[at].load(std::memory_order_relaxed);
        while (const std::uint64_t free = ~taken & bits) {
            const int from_turn = std::countr_zero(std::rotr(free, turn));
            const std::uint64_t bit = std::rotl(std::uint64_t{1}, from_turn + turn);
            const std::uint64_t was = b.taken[at].fetch_or(bit);
            if ((was & bit) == 0)
                return static_cast<std::uint16_t>(at * 64U +
                                                  static_cast<unsigned>(std::countr_zero(bit)));
            taken = was;
        }
        all &= taken;
    }
    if (~all == 0) note_full(b, block);
    return std::nullopt;
}

std::optional<std::uint16_t> Ports::claim_among(Bits& b, BlockSet blocks, const Wanted& wanted,
                                                std::uint64_t random) noexcept {
    for (unsigned w = 0; w < blocks.size(); ++w)
        blocks[w] &= ~b.full[w].load(std::memory_order_relaxed);
    const auto start = static_cast<unsigned>(random >> 57);  // of 128 blocks
    for (int at = next_block(blocks, start); at >= 0; at = next_block(blocks, start)) {
        const auto block = static_cast<unsigned>(at);
        if (const auto port = claim_in(b, block, wanted, random >> 8)) return port;
        blocks[block / 64] &= ~(std::uint64_t{1} << block % 64);
    }
    return std::nullopt;
}

std::optional<std::uint16_t> Ports::claim_any(ct::WorkerId w, Space space, const Wanted& wanted,
                                              std::uint64_t random, ct::Nanos now) noexcept {
    enter_period(space, now);
    Bits& b = bits(space);
    if (b.used.load(std::memory_order_relaxed) == 0) b.used.store(1, std::memory_order_relaxed);
    BlockSet within{};
    for (unsigned block = wanted.range.first / kBlockPorts;
         block <= wanted.range.last / kBlockPorts; ++block)
        within[block / 64] |= std::uint64_t{1} << block % 64;
    const auto owner = static_cast<std::uint8_t>(w + 1);
    BlockSet own = blocks_of(b, owner);
    BlockSet nobodys = blocks_of(b, 0);
    unsigned leased = 0;
    for (unsigned k = 0; k < within.size(); ++k) {
        own[k] &= within[k];
        nobodys[k] &= within[k];
        leased += static_cast<unsigned>(std::popcount(own[k]));
    }
    const auto from_new_lease = [&]() noexcept -> std::optional<std::uint16_t> {
        const auto start = static_cast<unsigned>(random >> 57);
        for (int at = next_block(nobodys, start); at >= 0; at = next_block(nobodys, start)) {
            const auto block = static_cast<unsigned>(at);
            nobodys[block / 64] &= ~(std::uint64_t{1} << block % 64);
            if (!lease(b, block, owner)) continue;
            if (const auto port = claim_in(b, block, wanted, random >> 8)) return port;
        }
        return std::nullopt;
    };
    if (leased < kLeases)
        if (const auto port = from_new_lease()) return port;
    if (const auto port = claim_among(b, own, wanted, random)) return port;
    if (leased >= kLeases)
        if (const auto port = from_new_lease()) return port;
    return claim_among(b, within, wanted, random);
}

void Ports::free_bits(Bits& b, unsigned word, std::uint64_t mask) noexcept {
    const unsigned block = word / kBlockWords;
    const std::uint64_t left = b.taken[word].fetch_and(~mask) & ~mask;
    const std::uint64_t full = std::uint64_t{1} << block % 64;
    if ((b.full[block / 64].load() & full) != 0) b.full[block / 64].fetch_and(~full);
    if (left != 0) return;
    for (unsigned k = 0; k < kBlockWords; ++k)
        if (b.taken[block * kBlockWords + k].load(std::memory_order_relaxed) != 0) return;
    end_lease(b, block);
}

void Ports::give_back(Space space, std::uint16_t port, After after, ct::Nanos now) noexcept {
    const unsigned word = port / 64U;
    const std::uint64_t bit = std::uint64_t{1} << port % 64;
    if (after == After::AtOnce || period_ == 0) {
        free_bits(bits(space), word, bit);
        return;
    }
    enter_period(space, now);
    resting(space).bits[now / period_ % kPeriods][word].fetch_or(bit);
}

void Ports::enter_period(Space space, ct::Nanos now) noexcept {
    if (period_ == 0) return;
    Bits& b = bits(space);
    const std::uint64_t period = now / period_;
    std::uint64_t entered = b.period.load(std::memory_order_acquire);
    if (entered >= period + 1) return;
    if (!b.period.compare_exchange_strong(entered, period + 1, std::memory_order_acq_rel)) return;
    // What came to rest in period q is freed on entering q + 3. Nothing rests in a new space.
    if (entered == 0) return;
    const std::uint64_t passed = std::min<std::uint64_t>(period + 1 - entered, kPeriods);
    for (std::uint64_t k = 0; k < passed; ++k) {
        auto& rested = resting(space).bits[(period - k + 1) % kPeriods];
        for (unsigned word = 0; word < kWords; ++word) {
            if (rested[word].load(std::memory_order_relaxed) == 0) continue;
            free_bits(b, word, rested[word].exchange(0));
        }
    }
}

Ports::Usage Ports::usage(Space space) const noexcept {
    Usage u;
    for (const auto& word : bits(space).taken)
        u.taken += static_cast<std::uint32_t>(std::popcount(word.load(std::memory_order_relaxed)));
    if (period_ == 0) return u;
    for (const auto& period : resting(space).bits)
        for (const auto& word : period)
            u.resting +=
                static_cast<std::uint32_t>(std::popcount(word.load(std::memory_order_relaxed)));
    return u;
}

unsigned Ports::leased_blocks(Space space) const noexcept {
    const BlockSet nobodys = blocks_of(bits(space), 0);
    return kBlocks - static_cast<unsigned>(std::popcount(nobodys[0]) + std::popcount(nobodys[1]));
}

}  // namespace nat
