// SPDX-License-Identifier: BSD-3-Clause
#include "bench/load/index_variants.hpp"

#include "bench/load/packets.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <nmmintrin.h>
#include <stdexcept>
#include <utility>
#include <vector>

namespace bench {

namespace {

/// Packets between a load's issue and its use, as in ct/conntrack.cpp.
constexpr std::uint32_t kDistance = 8;

std::uint64_t addrs_of(const ct::Tuple& t) {
    return t.src.as_v4().raw() | std::uint64_t{t.dst.as_v4().raw()} << 32;
}
std::uint32_t ports_of(const ct::Tuple& t) {
    return t.sport.raw() | std::uint32_t{t.dport.raw()} << 16;
}

unsigned log2_buckets_for(std::uint32_t flows) {
    return std::bit_width(std::max(1024U, std::bit_ceil(flows) / 2)) - 1;
}

}  // namespace

std::uint64_t crc32_of(const ct::Tuple& t) noexcept {
    std::uint64_t low = std::uint64_t{t.src.as_v4().raw()} << 16 | t.sport.raw();
    std::uint64_t high = std::uint64_t{t.dst.as_v4().raw()} << 16 | t.dport.raw();
    if (low > high) std::swap(low, high);
    const std::uint64_t first = _mm_crc32_u64(_mm_crc32_u64(0, low), high);
    const std::uint64_t second = _mm_crc32_u64(_mm_crc32_u64(~0U, high), low);
    return first << 32 | second;
}

std::uint64_t siphash(const ct::HashKey& key, std::uint64_t low, std::uint64_t high) noexcept {
    constexpr std::uint64_t kLength = std::uint64_t{16} << 56;  // the last block: no bytes are left
    std::array<std::uint64_t, 2> k;
    std::memcpy(k.data(), key.round[0].data(), sizeof k);
    std::array<std::uint64_t, 4> v{k[0] ^ 0x736f6d6570736575, k[1] ^ 0x646f72616e646f6d,
                                   k[0] ^ 0x6c7967656e657261, k[1] ^ 0x7465646279746573};
    const auto rounds = [&v](int count) {
        for (int n = 0; n < count; ++n) {
            v[0] += v[1];
            v[2] += v[3];
            v[1] = std::rotl(v[1], 13) ^ v[0];
            v[3] = std::rotl(v[3], 16) ^ v[2];
            v[0] = std::rotl(v[0], 32) + v[3];
            v[2] += v[1];
            v[1] = std::rotl(v[1], 17) ^ v[2];
            v[3] = std::rotl(v[3], 21) ^ v[0];
            v[2] = std::rotl(v[2], 32);
        }
    };
    for (const std::uint64_t block : {low, high, kLength}) {
        v[3] ^= block;
        rounds(2);
        v[0] ^= block;
    }
    v[2] ^= 0xff;
    rounds(4);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

std::uint64_t siphash_of(const ct::HashKey& key, const ct::Tuple& t) noexcept {
    std::uint64_t low = std::uint64_t{t.src.as_v4().raw()} << 16 | t.sport.raw();
    std::uint64_t high = std::uint64_t{t.dst.as_v4().raw()} << 16 | t.dport.raw();
    if (low > high) std::swap(low, high);
    return siphash(key, low | std::uint64_t{t.zone} << 48, high | std::uint64_t{t.proto} << 48);
}

IndexVariants::IndexVariants(std::uint32_t flows, HashKind kind)
    : hash_kind_{kind},
      key_{ct::HashKey::from_seed(1)},
      index_{log2_buckets_for(flows), ct::Pages::Huge1G},
      entries_{std::size_t{flows} * sizeof(Entry), ct::Region::Touch::Now},
      draw_{Draw::uniform(flows, 5)} {
    const std::vector<std::uint32_t> place = shuffled(flows, 23);
    for (std::uint32_t n = 0; n < flows; ++n) {
        const ct::Tuple original = flow(n);
        const ct::Tuple reply = ct::reply_of(original);
        entries_.as<Entry>()[place[n]] = {{addrs_of(original), addrs_of(reply)},
                                          {ports_of(original), ports_of(reply)}};
        const Wanted w = wanted(original);
        index_.lock(w.bucket);
        const ct::Slot slot = index_.reserve(w.bucket);
        if (slot.valid()) ct::Index::store(slot, w.tag, ct::Ref::make(place[n], 0), 0);
        index_.unlock(w.bucket);
        if (!slot.valid()) throw std::runtime_error{"a bucket of the index is full"};
    }
}

std::uint64_t IndexVariants::hash_of(const ct::Tuple& t) const noexcept {
    switch (hash_kind_) {
        case HashKind::Crc32:
            return crc32_of(t);
        case HashKind::Sip:
            return siphash_of(key_, t);
        case HashKind::Aes:
            break;
    }
    return ct::hash(key_, t);
}

IndexVariants::Wanted IndexVariants::wanted(const ct::Tuple& t) const noexcept {
    const std::uint64_t h = hash_of(t);
    return {addrs_of(t), ports_of(t), index_.bucket_of(h), index_.tag_of(h)};
}

bool IndexVariants::verify(const Wanted& w, bool tags, Tally& tally) const noexcept {
    const auto is_it = [&](ct::Ref r) {
        const Entry& e = entries_.as<Entry>()[r.index()];
        ++tally.examined;
        return (e.addrs[0] == w.addrs && e.ports[0] == w.ports) ||
               (e.addrs[1] == w.addrs && e.ports[1] == w.ports);
    };
    if (tags) return index_.scan(index_.bucket(w.bucket), w.tag, is_it);
    bool found = false;
    index_.visit(w.bucket, [&](std::uint16_t, ct::Ref r, bool, std::uint8_t) {
        if (!found) found = is_it(r);
    });
    return found;
}

void IndexVariants::prefetch_entry(const Wanted& w, bool tags) const noexcept {
    const auto first = [&](ct::Ref r) {
        ct::prefetch(&entries_.as<Entry>()[r.index()]);
        return true;
    };
    if (tags) {
        index_.scan(index_.bucket(w.bucket), w.tag, first);
        return;
    }
    index_.visit(w.bucket, [&](std::uint16_t, ct::Ref r, bool, std::uint8_t) {
        static_cast<void>(first(r));
    });
}

void IndexVariants::burst(LookupKind kind, Tally& tally) noexcept {
    const bool tags = kind != LookupKind::NoTags;
    const bool bucket_ahead = kind != LookupKind::NoPrefetch;
    const bool entry_ahead = bucket_ahead && kind != LookupKind::BucketOnly;
    const std::uint32_t d = bucket_ahead ? kDistance : 0;
    std::array<Wanted, kBurst> packets;
    for (std::uint32_t k = 0; k < kBurst + 2 * d; ++k) {
        if (k < kBurst) {
            const Draw::Pick pick = draw_.next();
            const ct::Tuple t = flow(pick.flow);
            packets[k] = wanted(pick.reply ? ct::reply_of(t) : t);
            if (bucket_ahead) ct::prefetch(&index_.bucket(packets[k].bucket));
        }
        if (k - d < kBurst && entry_ahead) prefetch_entry(packets[k - d], tags);
        if (k - 2 * d < kBurst)
            missed_ += static_cast<std::uint64_t>(!verify(packets[k - 2 * d], tags, tally));
    }
    tally.packets += kBurst;
}

Contestant IndexVariants::contestant(std::string name, LookupKind kind) {
    constexpr std::uint32_t kStep = 1024;
    const auto step = [this, kind] {
        for (std::uint32_t done = 0; done < kStep; done += kBurst)
            burst(kind, tallies_[static_cast<std::size_t>(kind)]);
        return std::uint64_t{kStep};
    };
    return {.name = std::move(name), .step = step, .prepare = {}};
}

double IndexVariants::examined_each(LookupKind kind) const noexcept {
    const Tally& t = tallies_[static_cast<std::size_t>(kind)];
    return t.packets == 0 ? 0 : static_cast<double>(t.examined) / static_cast<double>(t.packets);
}

}  // namespace bench
