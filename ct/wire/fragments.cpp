// SPDX-License-Identifier: BSD-3-Clause
#include "ct/wire/fragments.hpp"

#include "ct/base/atomic.hpp"
#include "ct/base/cache.hpp"
#include "ct/wire/headers.hpp"
#include "ct/wire/network.hpp"
#include "ct/wire/parse.hpp"
#include "ct/wire/reader.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <cstring>
#include <immintrin.h>
#include <mutex>
#include <stdexcept>
#include <utility>
#include <vector>

namespace ct {
namespace {

using Index = std::uint32_t;
inline constexpr Index kNil = 0xffff'ffff;
inline constexpr std::size_t kShards = 8;
/// How far from the oldest a datagram that holds nothing is looked for when all are taken.
inline constexpr std::size_t kEvictionReach = 8;

class SpinLock {
public:
    void lock() noexcept {
        while (flag_.test_and_set(std::memory_order_acquire))
            while (flag_.test(std::memory_order_relaxed)) spin_pause();
    }
    void unlock() noexcept { flag_.clear(std::memory_order_release); }

private:
    std::atomic_flag flag_;
};

using Key = FragmentKey;
static_assert(sizeof(Key) == 48, "no padding: a key is hashed as bytes");

/// The two halves of a 128-bit product, folded together.
[[nodiscard]] std::uint64_t multiply_fold(std::uint64_t a, std::uint64_t b) noexcept {
    unsigned long long high = 0;
    const std::uint64_t low = _mulx_u64(a, b, &high);
    return low ^ high;
}

/// A keyed hash that is not linear, so that who does not know the seed cannot fill one shard on
/// purpose. The odd constants are the fractional digits of pi; a factor of zero, which would
/// swallow a block, then takes the seed to guess.
[[nodiscard]] std::uint64_t hash_of(const Key& key, std::uint64_t seed) noexcept {
    std::array<std::uint64_t, sizeof(Key) / 8> words;
    std::memcpy(words.data(), &key, sizeof key);
    std::uint64_t state = multiply_fold(seed ^ 0x243f'6a88'85a3'08d3, 0x1319'8a2e'0370'7345);
    for (std::size_t i = 0; i < words.size(); i += 2)
        state = multiply_fold(words[i] ^ state, words[i + 1] ^ seed ^ 0xa409'3822'299f'31d1);
    return multiply_fold(state ^ seed, 0x082e'fa98'ec4e'6c89);
}

/// A doubly linked list through the `prev` and `next` of a vector's elements.
struct List {
    Index head = kNil;
    Index tail = kNil;

    template <class Node>
    void push_back(std::vector<Node>& nodes, Index i) noexcept {
        nodes[i].prev = tail;
        nodes[i].next = kNil;
        (tail == kNil ? head : nodes[tail].next) = i;
        tail = i;
    }
    template <class Node>
    void unlink(std::vector<Node>& nodes, Index i) noexcept {
        const Node& n = nodes[i];
        (n.prev == kNil ? head : nodes[n.prev].next) = n.next;
        (n.next == kNil ? tail : nodes[n.next].prev) = n.prev;
    }
    /// Takes the head off; kNil if there is none.
    template <class Node>
    [[nodiscard]] Index pop_front(std::vector<Node>& nodes) noexcept {
        const Index i = head;
        if (i != kNil) unlink(nodes, i);
        return i;
    }
};

/// A held fragment's place. In one list at a time: free, a datagram's, or the condemned.
struct HeldNode {
    HeldFragment fragment;
    Index prev = kNil;
    Index next = kNil;
};

/// The bytes [begin, end) of a datagram, in units of 8; the last may be counted full when it is
/// not.
struct Range {
    std::uint16_t begin;
    std::uint16_t end;
    friend bool operator==(Range, Range) noexcept = default;
};

struct Datagram {
    Key key;
    std::uint64_t hash = 0;
    Nanos deadline = 0;
    Index prev = kNil;  ///< in the list of its family, oldest first; or in the free list
    Index next = kNil;
    Index chain = kNil;  ///< the next of the same bucket
    List held;
    std::uint16_t part_count = 0;
    std::uint16_t covered = 0;  ///< sum of the parts, in units of 8
    std::uint16_t total = 0;    ///< where the last fragment ends, in units of 8; 0: not seen yet
    bool first_seen = false;
    FirstFragment first;          ///< once it was seen
    Drop condemned = Drop::None;  ///< why every further fragment is dropped
    std::array<Range, FragmentTable::kMaxParts> parts;

    [[nodiscard]] bool complete() const noexcept { return total != 0 && covered == total; }
    [[nodiscard]] std::size_t family_index() const noexcept { return key.family == Family::Ipv6; }
};

/// Gives a later fragment what its first one has said.
void complete(Packet& p, const FirstFragment& first) noexcept {
    p.tuple.proto = first.proto;
    p.tuple.sport = first.sport;
    p.tuple.dport = first.dport;
    p.never_tracked = first.never_tracked;
    p.without_checksum = first.without_checksum;
    if (is_icmp(first.proto)) {
        p.message_type = icmp_type(first.dport);
        p.message_code = icmp_code(first.dport);
    }
}

/// True of a UDP header that holds no checksum (RFC 768).
[[nodiscard]] bool is_without_checksum(const Packet& p) noexcept {
    if (p.tuple.proto != ipproto::kUdp || p.l4_offset + sizeof(UdpHeader) > p.end) return false;
    return load<UdpHeader>(p.data + p.l4_offset).checksum.raw() == 0;
}

}  // namespace

/// A fragment's place in its datagram.
struct FragmentTable::Part {
    Key key;
    Range range{};
    bool last = false;

    /// Reads the IP header of a parsed packet once more: fragments are too rare to have fields of
    /// their own in Packet.
    explicit Part(const Packet& p) noexcept {
        Reader in{p.bytes()};
        Tuple tuple;
        IpInfo info;
        [[maybe_unused]] const bool skipped = in.skip(p.l3_offset);
        [[maybe_unused]] const Drop drop = p.tuple.family == Family::Ipv4
                                               ? read_ipv4(in, Extent::Whole, tuple, info)
                                               : read_ipv6(in, Extent::Whole, tuple, info);
        assert(skipped && drop == Drop::None);
        key.src = tuple.src;
        key.dst = tuple.dst;
        key.id = info.fragment_id;
        key.zone = p.tuple.zone;
        key.family = tuple.family;
        key.proto = tuple.family == Family::Ipv4 ? tuple.proto : std::uint8_t{0};
        const std::uint32_t end = info.fragment_offset + p.end - info.part_begin;
        range = {static_cast<std::uint16_t>(info.fragment_offset / 8),
                 static_cast<std::uint16_t>((end + 7) / 8)};
        last = !info.more_fragments;
    }
};

/// A share of the table with a lock of its own. Every function is called with the lock held.
class alignas(kCacheLine) FragmentTable::Shard {
public:
    SpinLock lock;

    void allocate(std::uint32_t datagrams, std::uint32_t held, std::atomic<std::uint32_t>* live) {
        live_ = live;
        datagrams_.resize(datagrams);
        held_.resize(held);
        buckets_.assign(datagrams, kNil);
        for (Index i = 0; i < datagrams; ++i) free_datagrams_.push_back(datagrams_, i);
        for (Index i = 0; i < held; ++i) free_held_.push_back(held_, i);
    }

    [[nodiscard]] Disposition track(Packet& p, const Part& part, std::uint64_t hash, Nanos now,
                                    Nanos timeout) noexcept {
        Index at = find(part.key, hash);
        if (at != kNil && starts_anew(datagrams_[at], p, now)) {
            forget(at, Drop::FragmentTimeout);
            at = kNil;
        }
        const bool is_new = at == kNil;
        // A fragment that would have to be held and cannot must not cost a datagram its place.
        if (is_new && p.fragment == Fragment::Later && free_held_.head == kNil)
            return drop(p, Drop::FragmentTableFull);
        if (is_new) at = make(part.key, hash, now + timeout);
        if (at == kNil) return drop(p, Drop::FragmentTableFull);
        return add(at, p, part);
    }

    [[nodiscard]] std::size_t release(const Key& key, std::uint64_t hash,
                                      std::span<HeldFragment> out) noexcept {
        const Index at = find(key, hash);
        if (at == kNil || !datagrams_[at].first_seen) return 0;
        Datagram& d = datagrams_[at];
        std::size_t count = 0;
        while (count < out.size() && d.held.head != kNil) {
            HeldFragment& f = out[count++] = take(d.held);
            f.first = d.first;
        }
        if (d.held.head == kNil && d.complete()) forget(at, Drop::None);
        return count;
    }

    [[nodiscard]] std::size_t expire(Nanos now, std::span<HeldFragment> out) noexcept {
        for (const List& family : by_age_) {
            while (family.head != kNil && datagrams_[family.head].deadline <= now)
                forget(family.head, Drop::FragmentTimeout);
        }
        return hand_out(out);
    }

    [[nodiscard]] std::size_t drain(std::span<HeldFragment> out) noexcept {
        for (const List& family : by_age_)
            while (family.head != kNil) forget(family.head, Drop::Stopped);
        return hand_out(out);
    }

    [[nodiscard]] FragmentCounts counts() const noexcept { return {datagram_count_, held_count_}; }

private:
    [[nodiscard]] static Disposition drop(Packet& p, Drop reason) noexcept {
        p.drop = reason;
        return Disposition::Dropped;
    }

    /// True if a fragment of this key belongs to another datagram than `d`: d's time is up, or it
    /// has its first fragment already and here is another. The latter only in IPv4, where 16 bits
    /// of id come round while fragments that were lost still keep the old datagram open.
    [[nodiscard]] static bool starts_anew(const Datagram& d, const Packet& p, Nanos now) noexcept {
        if (d.deadline <= now) return true;
        return p.fragment == Fragment::First && d.first_seen && d.condemned == Drop::None &&
               d.key.family == Family::Ipv4;
    }

    [[nodiscard]] Index& bucket(std::uint64_t hash) noexcept {
        return buckets_[static_cast<std::uint32_t>(hash >> 32U) % buckets_.size()];
    }

    [[nodiscard]] Index find(const Key& key, std::uint64_t hash) noexcept {
        Index at = bucket(hash);
        while (at != kNil && !(datagrams_[at].key == key)) at = datagrams_[at].chain;
        return at;
    }

    /// A new datagram, or kNil if there is no room.
    [[nodiscard]] Index make(const Key& key, std::uint64_t hash, Nanos deadline) noexcept {
        if (free_datagrams_.head == kNil) evict();
        const Index at = free_datagrams_.pop_front(datagrams_);
        if (at == kNil) return kNil;
        Datagram& d = datagrams_[at];
        d.key = key;
        d.hash = hash;
        d.deadline = deadline;
        d.held = {};
        d.part_count = d.covered = d.total = 0;
        d.first_seen = false;
        d.first = {};
        d.condemned = Drop::None;
        d.chain = std::exchange(bucket(hash), at);
        by_age_[d.family_index()].push_back(datagrams_, at);
        ++datagram_count_;
        live_->fetch_add(1, std::memory_order_relaxed);
        return at;
    }

    /// Gives back a datagram; what it holds is condemned for `reason`.
    void forget(Index at, Drop reason) noexcept {
        Datagram& d = datagrams_[at];
        condemn_held(d, reason);
        Index* link = &bucket(d.hash);
        while (*link != at) link = &datagrams_[*link].chain;
        *link = d.chain;
        by_age_[d.family_index()].unlink(datagrams_, at);
        free_datagrams_.push_back(datagrams_, at);
        --datagram_count_;
        live_->fetch_sub(1, std::memory_order_relaxed);
    }

    /// Forgets one of the oldest datagrams that hold nothing, if there is one within reach.
    void evict() noexcept {
        for (const List& family : by_age_) {
            Index at = family.head;
            for (std::size_t i = 0; i < kEvictionReach && at != kNil; ++i) {
                if (datagrams_[at].held.head == kNil) return forget(at, Drop::None);
                at = datagrams_[at].next;
            }
        }
    }

    [[nodiscard]] Disposition add(Index at, Packet& p, const Part& part) noexcept {
        Datagram& d = datagrams_[at];
        if (d.condemned != Drop::None) return drop(p, d.condemned);
        if (d.part_count == kMaxParts) return drop(p, Drop::FragmentTableFull);
        const auto parts = std::span{d.parts}.first(d.part_count);
        // RFC 8200 4.5: an exact duplicate is dropped alone.
        if (std::find(parts.begin(), parts.end(), part.range) != parts.end())
            return drop(p, Drop::FragmentOverlap);
        const Drop fault = fault_of(d, part);
        if (fault != Drop::None) {
            d.condemned = fault;
            condemn_held(d, fault);
            return drop(p, fault);
        }
        const bool waits = p.fragment == Fragment::Later && !d.first_seen;
        if (waits && free_held_.head == kNil) return drop(p, Drop::FragmentTableFull);
        record(d, part);
        if (waits) return hold(d, p);
        if (p.fragment == Fragment::First)
            learn(d, p);
        else
            ct::complete(p, d.first);
        if (d.complete() && d.held.head == kNil) forget(at, Drop::None);
        return Disposition::Go;
    }

    /// Why the datagram cannot be a packet with this part in it: RFC 5722, RFC 8200 4.5.
    [[nodiscard]] static Drop fault_of(const Datagram& d, const Part& part) noexcept {
        const auto parts = std::span{d.parts}.first(d.part_count);
        for (const Range r : parts)
            if (part.range.begin < r.end && r.begin < part.range.end) return Drop::FragmentOverlap;
        if (d.total != 0 && (part.last || part.range.end > d.total)) return Drop::BadFragment;
        if (!part.last) return Drop::None;
        for (const Range r : parts)
            if (r.end > part.range.end) return Drop::BadFragment;
        return Drop::None;
    }

    static void record(Datagram& d, const Part& part) noexcept {
        d.parts[d.part_count++] = part.range;
        d.covered = static_cast<std::uint16_t>(d.covered + part.range.end - part.range.begin);
        if (part.last) d.total = part.range.end;
    }

    static void learn(Datagram& d, const Packet& p) noexcept {
        d.first_seen = true;
        d.first = {.sport = p.tuple.sport,
                   .dport = p.tuple.dport,
                   .proto = p.tuple.proto,
                   .never_tracked = p.never_tracked,
                   .without_checksum = is_without_checksum(p)};
    }

    [[nodiscard]] Disposition hold(Datagram& d, Packet& p) noexcept {
        const Index at = free_held_.pop_front(held_);
        assert(at != kNil);
        HeldFragment f;
        f.data = p.data;
        f.owner = p.owner;
        f.length = p.length;
        f.headroom = p.headroom;
        f.in_port = p.in_port;
        f.ip_check = p.ip_check;
        f.zone = p.tuple.zone;
        held_[at].fragment = f;
        d.held.push_back(held_, at);
        ++held_count_;
        return Disposition::Held;
    }

    /// Takes the front fragment off a list that is not empty, and frees its place.
    [[nodiscard]] HeldFragment take(List& from) noexcept {
        const Index at = from.pop_front(held_);
        assert(at != kNil);
        free_held_.push_back(held_, at);
        --held_count_;
        return held_[at].fragment;
    }

    /// Moves what a datagram holds to the condemned, for expire() to hand out.
    void condemn_held(Datagram& d, Drop reason) noexcept {
        for (Index at = d.held.pop_front(held_); at != kNil; at = d.held.pop_front(held_)) {
            held_[at].fragment.drop = reason;
            condemned_.push_back(held_, at);
            live_->fetch_add(1, std::memory_order_relaxed);
        }
    }

    [[nodiscard]] std::size_t hand_out(std::span<HeldFragment> out) noexcept {
        std::size_t count = 0;
        while (count < out.size() && condemned_.head != kNil) {
            out[count++] = take(condemned_);
            live_->fetch_sub(1, std::memory_order_relaxed);
        }
        return count;
    }

    std::vector<Datagram> datagrams_;
    std::vector<HeldNode> held_;
    std::vector<Index> buckets_;  ///< heads of chains of datagrams
    List free_datagrams_;
    List free_held_;
    List condemned_;
    std::array<List, 2> by_age_;  ///< IPv4 and IPv6, whose time-outs differ; oldest first
    std::uint32_t datagram_count_ = 0;
    std::uint32_t held_count_ = 0;
    std::atomic<std::uint32_t>* live_ = nullptr;
};

FragmentTable::FragmentTable(const FragmentSettings& settings)
    : timeout_{settings.timeout_s * kNanosPerSecond},
      timeout6_{settings.timeout6_s * kNanosPerSecond},
      seed_{settings.seed} {
    if (settings.datagrams == 0 || settings.held == 0)
        throw std::invalid_argument(
            "the fragment table needs room for one packet and one fragment");
    if (settings.held > settings.datagrams / 2)
        throw std::invalid_argument("no more fragments may be held than half the packets known");
    const auto share = [](std::uint32_t total) {
        return static_cast<std::uint32_t>((total + kShards - 1) / kShards);
    };
    shards_ = std::make_unique<Shard[]>(kShards);
    for (std::size_t i = 0; i < kShards; ++i)
        shards_[i].allocate(share(settings.datagrams), share(settings.held), &live_);
}

FragmentTable::~FragmentTable() {
    assert(counts().held == 0);
}

FragmentTable::Shard& FragmentTable::shard_of(std::uint64_t hash) const noexcept {
    return shards_[hash % kShards];
}

Disposition FragmentTable::track(Packet& p, Nanos now) noexcept {
    assert(p.fragment != Fragment::Whole && p.drop == Drop::None);
    const Part part{p};
    const std::uint64_t hash = hash_of(part.key, seed_);
    const Nanos timeout = part.key.family == Family::Ipv4 ? timeout_ : timeout6_;
    Shard& shard = shard_of(hash);
    const std::scoped_lock guard{shard.lock};
    return shard.track(p, part, hash, now, timeout);
}

FragmentKey FragmentTable::key_of(const Packet& p) noexcept {
    return Part{p}.key;
}

std::size_t FragmentTable::release(const FragmentKey& first, std::span<HeldFragment> out) noexcept {
    const std::uint64_t hash = hash_of(first, seed_);
    Shard& shard = shard_of(hash);
    const std::scoped_lock guard{shard.lock};
    return shard.release(first, hash, out);
}

std::size_t FragmentTable::expire(Nanos now, std::span<HeldFragment> out) noexcept {
    if (live_.load(std::memory_order_relaxed) == 0) return 0;
    std::size_t count = 0;
    for (std::size_t i = 0; i < kShards; ++i) {
        const std::scoped_lock guard{shards_[i].lock};
        count += shards_[i].expire(now, out.subspan(count));
    }
    return count;
}

std::size_t FragmentTable::drain(std::span<HeldFragment> out) noexcept {
    std::size_t count = 0;
    for (std::size_t i = 0; i < kShards; ++i) {
        const std::scoped_lock guard{shards_[i].lock};
        count += shards_[i].drain(out.subspan(count));
    }
    return count;
}

FragmentCounts FragmentTable::counts() const noexcept {
    FragmentCounts sum;
    for (std::size_t i = 0; i < kShards; ++i) {
        const std::scoped_lock guard{shards_[i].lock};
        const FragmentCounts one = shards_[i].counts();
        sum.datagrams += one.datagrams;
        sum.held += one.held;
    }
    return sum;
}

void resume(const HeldFragment& held, Packet& p) noexcept {
    p = {};
    p.data = held.data;
    p.owner = held.owner;
    p.length = held.length;
    p.headroom = held.headroom;
    p.in_port = held.in_port;
    p.ip_check = held.ip_check;
    p.tuple.zone = held.zone;
    if (parse(p, {.checksum = false}) != Drop::None) return;
    complete(p, held.first);
}

}  // namespace ct
