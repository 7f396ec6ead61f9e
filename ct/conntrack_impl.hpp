// SPDX-License-Identifier: BSD-3-Clause
//
// The inside of Conntrack, shared by the files that implement it:
//
//   conntrack.cpp  the packet path: lookup, update, open, confirm
//   overflow.cpp   where room comes from: allocation, eviction, expiry
//   control.cpp    dumps, deletion, events, invariants
//
// Lock order: at most two bucket locks, the lower number first; an entry's side lock is taken with
// no bucket lock held and none is taken under it; the control mutex before any of them.
#pragma once

#include "ct/conntrack.hpp"
#include "ct/proto/proto.hpp"
#include "ct/table/hash.hpp"
#include "ct/table/index.hpp"
#include "ct/table/pool.hpp"
#include "ct/table/young.hpp"

#include <mutex>
#include <vector>

namespace ct {

/// A count with one writer.
class Counter {
public:
    void add(std::uint64_t n = 1) noexcept {
        value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
    }
    [[nodiscard]] std::uint64_t get() const noexcept {
        return value_.load(std::memory_order_relaxed);
    }

private:
    std::atomic<std::uint64_t> value_{0};
};

struct CounterBlock {
    Counter found, invalid, insert, insert_failed, drop, early_drop, error, search_restart,
        clash_resolve, chaintoolong, opened, expired, deleted, assured_evicted, table_full_log;
};

/// Why an entry ends.
enum class End : std::uint8_t { Expired, Evicted, Deleted };

/// The key of a tuple as an entry stores it.
struct Key {
    std::uint64_t addrs = 0;  ///< IPv4
    std::array<std::uint64_t, 4> addrs6{};
    std::uint32_t ports = 0;
    std::uint32_t kind = 0;  ///< zone, protocol and the kIpv6 bit of HotLine::kind
};

/// Everything of an entry that a reader wants, read consistently.
struct EntryCopy {
    Meta meta;
    Tuple original;
    Tuple reply;
    std::uint8_t fixed_bits = 0;
    std::uint32_t mark = 0;
    Ticks born = 0;
};

/// The status bits (ct::status) of an entry with these words.
[[nodiscard]] constexpr std::uint16_t status_of(const Meta& m, std::uint8_t fixed_bits) noexcept {
    const auto bit = [](bool set, std::uint16_t mask) {
        return static_cast<std::uint16_t>(set ? mask : 0);
    };
    const int s = bit(m.life == life::kLinked || m.life == life::kDying, status::kConfirmed) |
                  bit(m.seen_reply, status::kSeenReply) | bit(m.assured, status::kAssured) |
                  bit(m.life == life::kDying, status::kDying) |
                  bit(m.fixed_timeout, status::kFixedTimeout) |
                  bit(m.nat_clash, status::kNatClash) |
                  bit((fixed_bits & fixed::kExpected) != 0, status::kExpected) |
                  bit((fixed_bits & fixed::kSrcNat) != 0, status::kSrcNat) |
                  bit((fixed_bits & fixed::kDstNat) != 0, status::kDstNat);
    return static_cast<std::uint16_t>(s);
}

/// Who has a tuple.
struct Holder {
    ConnHandle conn;
    bool expired = false;  ///< its time is up: it has to go before the tuple is used again

    [[nodiscard]] bool live() const noexcept { return conn.valid() && !expired; }
};

struct Conntrack::Impl {
    static constexpr std::size_t kMaxBurst = 64;
    /// Victims at hand, two bursts of them: those of the next burst are being loaded while those of
    /// this one are used. A power of two.
    static constexpr std::uint32_t kStash = 128;
    static constexpr std::uint32_t kStashAhead = 64;
    /// A deadline is moved only when it changes by this much: a flow's packets then mostly leave
    /// the entry's first line unwritten and shared. A quarter of a second.
    static constexpr std::int32_t kRefreshTicks = kTicksPerSecond / 4;

    /// What belongs to one worker. Nobody else writes it; counters and the ring are read by others.
    struct alignas(kCacheLine) Worker {
        Worker(std::size_t young_capacity, std::size_t event_capacity)
            : young{young_capacity}, events{event_capacity} {}

        CounterBlock counters;
        /// Embryonic entries that this worker confirmed, less those that it promoted or ended.
        alignas(kCacheLine) std::atomic<std::int64_t> embryonic{0};
        std::uint32_t opens_until_recount = 0;     ///< of the embryonic sum
        bool over_budget = false;                  ///< as of the last recount
        std::array<ConnHandle, kStash> victims{};  ///< at positions modulo kStash
        std::uint32_t victim_next = 0;             ///< position of the oldest
        std::uint32_t victim_end = 0;
        std::uint32_t victim_loaded = 0;  ///< up to here the buckets are being loaded as well
        std::uint32_t sweep_at = 0;       ///< next index of the sweep
        Nanos sweep_time = 0;             ///< when the sweep got there
        YoungRing young;
        EventRing events;
    };

    Impl(const Settings& s, WorkerId worker_count, std::uint64_t seed);

    // ---- conntrack.cpp
    [[nodiscard]] static Key key_of(const Tuple& t) noexcept;
    [[nodiscard]] std::optional<Dir> match(std::uint32_t index, const Key& k) const noexcept;
    /// Reads an entry of the life that `accept(Meta)` approves. False if it is not or no longer so.
    template <class Accept>
    bool read(std::uint32_t index, EntryCopy& out, Accept&& accept) const noexcept;
    /// Finds the linked, unexpired entry that holds `t`. Fills `out`, `dir` and returns its handle.
    ConnHandle find(const Tuple& t, std::uint64_t h, Ticks now, EntryCopy& out, Dir& dir,
                    std::uint64_t& restarts) const noexcept;
    /// Makes connection `h` the packet's.
    static void adopt(Packet& p, ConnHandle h, std::uint16_t status, Dir dir) noexcept;
    bool lookup_one(Worker& w, Packet& p, Ticks now) noexcept;
    void update_one(WorkerId w, Packet& p, Nanos now) noexcept;
    /// Brings a deadline later than `limit` down to it.
    void cut_deadline(ConnHandle h, Ticks limit) noexcept;
    void promote(const EntryCopy& e, ConnHandle h) noexcept;
    void write_entry(std::uint32_t index, const Packet& p, const proto::Verdict& v, Nanos now,
                     const SideLines& side) noexcept;
    void store_reply(std::uint32_t index, const Packet& p) noexcept;
    /// Under the bucket's lock: the linked entry other than `self` that holds `t`, or none.
    [[nodiscard]] Holder holder(std::uint32_t bucket, std::uint16_t tag, const Tuple& t, Ticks now,
                                std::uint32_t self) const noexcept;
    [[nodiscard]] bool lock_side(std::uint32_t index, std::uint16_t generation) const noexcept;
    void unlock_side(std::uint32_t index) const noexcept;

    // ---- overflow.cpp
    /// An entry to fill, or Pool::kNone: there is no room and p.drop says so.
    std::uint32_t allocate(WorkerId w, Packet& p, Nanos now) noexcept;
    [[nodiscard]] bool over_embryonic_budget(Worker& w) noexcept;
    bool evict_oldest(WorkerId w, Nanos now) noexcept;
    bool evict_as_linux(WorkerId w, std::uint64_t h, Nanos now) noexcept;
    bool evict_in_bucket(WorkerId w, std::uint32_t bucket, Nanos now) noexcept;
    /// Fills up the victims at hand from the oldest records of a ring, and starts to load their
    /// entries.
    void stash_victims(Worker& me, YoungRing& from) noexcept;
    /// Starts to load the buckets of victims whose entries have come.
    void load_victim_buckets(Worker& me) noexcept;
    /// Drops records at hand that are stale, so that an eviction finds a victim first.
    void trim_young(WorkerId w) noexcept;
    void push_young(Worker& w, ConnHandle h, Ticks now) noexcept;
    /// Claims an entry for its end: linked to dying, if it is still the life of `h` and, unless
    /// `assured_too`, not assured.
    bool claim(ConnHandle h, bool assured_too) noexcept;
    /// Unlinks, reports and frees a claimed entry.
    void finish(WorkerId w, ConnHandle h, End why, Nanos now) noexcept;
    /// Both of the above.
    bool end(WorkerId w, ConnHandle h, End why, bool assured_too, Nanos now) noexcept;
    /// Looks at `n` entries from the worker's sweep position and ends the expired.
    void sweep(WorkerId w, std::uint32_t n, Nanos now) noexcept;

    // ---- control.cpp
    void fill_snapshot(std::uint32_t index, const EntryCopy& e, Ticks now,
                       Snapshot& out) const noexcept;
    /// Whether an event tells the protocol's state; an UPDATE does where that has changed.
    enum class Tells : std::uint8_t { State, Rest };
    void emit(WorkerId w, EventType type, std::uint32_t index, Nanos now,
              Tells tells = Tells::State) noexcept;
    [[nodiscard]] bool listening() const noexcept {
        return settings.events == 1 ||
               (settings.events == 2 && listeners.load(std::memory_order_relaxed) > 0);
    }

    Settings settings;
    HashKey key;
    Pool pool;
    Index index;
    WorkerId worker_count;  ///< without control's
    std::vector<std::unique_ptr<Worker>> workers;
    std::mutex control_mutex;  ///< who acts as worker `worker_count`
    std::atomic<int> listeners{0};
};

template <class Accept>
bool Conntrack::Impl::read(std::uint32_t i, EntryCopy& out, Accept&& accept) const noexcept {
    const HotLine& h = pool.hot(i);
    out.meta = Meta::unpack(h.meta.load(std::memory_order_acquire));
    if (!accept(out.meta)) return false;

    const std::uint32_t kind = h.kind.load(std::memory_order_acquire);
    out.fixed_bits = static_cast<std::uint8_t>(kind >> 24);
    const auto put = [&](Tuple& t, std::uint64_t addrs, std::uint32_t ports, std::size_t word6) {
        t = Tuple{};
        if ((out.fixed_bits & fixed::kIpv6) != 0) {
            const Addrs6& a = pool.addrs6(i);
            std::array<std::uint64_t, 4> w{};
            for (std::size_t k = 0; k < 4; ++k)
                w[k] = a.words[word6 + k].load(std::memory_order_acquire);
            std::memcpy(t.src.bytes.data(), &w[0], 16);
            std::memcpy(t.dst.bytes.data(), &w[2], 16);
            t.family = Family::Ipv6;
        } else {
            t.src = Addr::v4(Be32::from_raw(static_cast<std::uint32_t>(addrs)));
            t.dst = Addr::v4(Be32::from_raw(static_cast<std::uint32_t>(addrs >> 32)));
            t.family = Family::Ipv4;
        }
        t.sport = Be16::from_raw(static_cast<std::uint16_t>(ports));
        t.dport = Be16::from_raw(static_cast<std::uint16_t>(ports >> 16));
        t.zone = static_cast<std::uint16_t>(kind);
        t.proto = static_cast<std::uint8_t>(kind >> 16);
    };
    put(out.original, h.original_addrs.load(std::memory_order_acquire),
        h.original_ports.load(std::memory_order_acquire), 0);
    put(out.reply, h.reply_addrs.load(std::memory_order_acquire),
        h.reply_ports.load(std::memory_order_acquire), 4);
    out.mark = h.mark.load(std::memory_order_acquire);
    out.born = h.born.load(std::memory_order_acquire);

    const Meta after = Meta::unpack(h.meta.load(std::memory_order_acquire));
    return after.generation == out.meta.generation && accept(after);
}

}  // namespace ct
