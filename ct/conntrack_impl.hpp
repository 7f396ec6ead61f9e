// SPDX-License-Identifier: BSD-3-Clause
//
// The inside of Conntrack, shared by the files that implement it:
//
//   lookup.cpp     which connection a packet belongs to
//   update.cpp     what a packet does to its connection
//   conntrack.cpp  new connections: open, confirm, abandon
//   clash.cpp      two entries for one flow
//   overflow.cpp   where room comes from: allocation, expiry, policy
//   eviction.cpp   who has to go for a newcomer
//   admission.cpp  who gets room: how full the table is, reservations, limits on sources
//   control.cpp    dumps, deletion, events, settings
//   inject.cpp     entries made and changed from outside
//   inspect.cpp    what explanations want to know
//   invariants.cpp what must hold of a table at rest
//
// Lock order: at most two bucket locks, the lower number first; then an entry's side lock, under
// which none is taken, and which only tell_linked() takes with a bucket lock held; the control
// mutex before any of them.
#pragma once

#include "ct/conntrack.hpp"
#include "ct/proto/proto.hpp"
#include "ct/quota.hpp"
#include "ct/table/hash.hpp"
#include "ct/table/index.hpp"
#include "ct/table/pool.hpp"
#include "ct/table/young.hpp"

#include <algorithm>
#include <mutex>
#include <vector>

namespace ct {

/// What the index keeps of an entry's age: a quarter of a second, modulo 256.
[[nodiscard]] constexpr std::uint8_t age_of(Ticks t) noexcept {
    return static_cast<std::uint8_t>(t / (kTicksPerSecond / 4));
}

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
        clash_resolve, chaintoolong, opened, expired, deleted, assured_evicted, table_full_log,
        untracked, limited;
};

/// Why an entry ends.
enum class End : std::uint8_t { Expired, Evicted, Deleted };

/// The connection that asks for room.
struct Newcomer {
    static constexpr int kNoReservation = -1;

    std::uint64_t source = 0;          ///< SourceQuota's name of it, if there are limits
    int reservation = kNoReservation;  ///< index of the one that its source has
    Drop refusal = Drop::CtTableFull;  ///< why, if it comes to that
};

/// What is kept of the room that is reserved. One worker's.
struct Reservations {
    /// Entries of each reservation's sources that this worker linked, less those that it ended.
    std::array<std::atomic<std::int64_t>, kMaxReservations> own{};
    /// The sums over all workers, as of the last recount.
    std::array<std::int64_t, kMaxReservations> in_use{};
    std::int64_t unclaimed = 0;  ///< entries that are reserved and not in use; likewise
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

/// An entry that holds the tuple which was looked for.
struct Match {
    ConnHandle conn;
    Dir dir = Dir::Original;
    std::uint8_t fixed_bits = 0;
    std::uint16_t status = 0;  ///< ct::status bits
    std::uint32_t mark = 0;
};

/// The status bits (ct::status) of an entry with these words.
[[nodiscard]] constexpr std::uint16_t status_of(Meta m, std::uint8_t fixed_bits) noexcept {
    return static_cast<std::uint16_t>(m.status() | (fixed_bits & fixed::kStatusMask));
}

/// fixed::kSrcNat and kDstNat, where the reply is not what an answer to `original` would be. An
/// ICMP identifier is its sender's, as a source port is.
[[nodiscard]] inline std::uint8_t nat_bits(const Tuple& original, const Tuple& reply) noexcept {
    if (original.family != reply.family) return fixed::kMapped;  // no address is what it was
    const bool icmp = is_icmp(original.proto);
    std::uint8_t bits = 0;
    if (reply.dst != original.src ||
        (icmp ? reply.sport != original.sport : reply.dport != original.sport))
        bits |= fixed::kSrcNat;
    if (reply.src != original.dst || (!icmp && reply.sport != original.dport))
        bits |= fixed::kDstNat;
    return bits;
}

/// The protocol of an entry.
[[nodiscard]] inline std::uint8_t protocol_of(const HotLine& hot) noexcept {
    return TupleKey{0, hot.original_rest.load(std::memory_order_acquire)}.tuple().proto;
}

/// Who has a tuple.
struct Holder {
    ConnHandle conn;
    bool expired = false;  ///< its time is up: it has to go before the tuple is used again
};

/// Where in the index an entry stands: under its original (1) and its reply tuple (2).
struct Places {
    std::uint32_t b1 = 0;  ///< buckets
    std::uint32_t b2 = 0;
    std::uint16_t t1 = 0;  ///< tags
    std::uint16_t t2 = 0;
};

/// What came of an attempt to link an entry.
struct Attempt {
    enum class Outcome : std::uint8_t {
        Linked,
        Lost,        ///< `holder` has the original tuple
        ReplyTaken,  ///< `holder` has the reply tuple
        Expired,     ///< `holder` has one of them, and its time is up
        Full,        ///< no room in `full_bucket`
    };
    Outcome outcome = Outcome::Full;
    ConnHandle holder;
    std::uint32_t full_bucket = 0;
};

struct Conntrack::Impl {
    static constexpr std::size_t kMaxBurst = 64;
    static constexpr std::size_t kInvalidNotes = 64;  ///< of a worker that wait to be logged
    /// Victims at hand: at least what one burst can need. A power of two.
    static constexpr std::uint32_t kVictims = 64;
    /// How many connections before it a victim's lines, and a free entry's, start to be loaded:
    /// four or five lines each, so that the fill buffers of a core suffice for them. Several are
    /// loaded at once, and then none for as many turns: an address that has to be translated first
    /// keeps a core from retiring what follows, and translations that begin together take little
    /// more than one (a tenth of an insert: bench/table_floods).
    static constexpr std::uint32_t kVictimsAhead = 4;
    static constexpr std::uint32_t kVictimsAtOnce = 2;
    static constexpr std::uint32_t kEntriesAtOnce = 4;
    static constexpr std::uint32_t kEntriesAhead = Pool::kAhead - kEntriesAtOnce;
    /// Tables of fewer entries are counted at each opening and each turn: there the limits are
    /// exact. In others a worker counts again after so many openings, or a millisecond.
    static constexpr std::uint32_t kExactBelow = 4096;
    static constexpr std::uint32_t kRecountEvery = 32;
    static constexpr Nanos kRecountPeriod = 1'000'000;
    /// Worker::time_scale where time-outs are what the settings say.
    static constexpr std::uint32_t kFullTime = 1U << 16;

    /// What belongs to one worker. Nobody else writes it; counters and the ring are read by others.
    struct alignas(kCacheLine) Worker {
        Worker(std::size_t young_capacity, std::size_t closing_capacity, std::size_t event_capacity)
            : young{young_capacity}, closing{closing_capacity}, events{event_capacity} {}

        CounterBlock counters;
        /// Embryonic entries that this worker confirmed, less those that it promoted or ended.
        alignas(kCacheLine) std::atomic<std::int64_t> embryonic{0};
        /// Entries that are closing and is_kept(): those that this worker saw begin to close, less
        /// those of which it saw or made the end.
        std::atomic<std::int64_t> closing_kept{0};
        std::uint32_t opens_until_recount = 0;
        // As of the last recount.
        std::uint32_t in_use = 0;         ///< entries of the table
        std::int64_t embryonic_sum = 0;   ///< those of them that are not assured
        std::int64_t kept_sum = 0;        ///< of closing_kept
        std::uint32_t fill_permille = 0;  ///< in_use in parts of a thousand of `max`
        std::uint32_t time_scale = kFullTime;
        bool over_budget = false;                     ///< of embryonic entries
        Nanos recounted = 0;                          ///< when expire() did it
        std::unique_ptr<Reservations> reserved;       ///< if there are any
        std::array<YoungRecord, kVictims> victims{};  ///< at positions modulo kVictims
        std::uint32_t victim_next = 0;                ///< position of the oldest
        std::uint32_t victim_loaded = 0;              ///< up to here their lines are on their way
        std::uint32_t victim_end = 0;
        std::uint32_t sweep_at = 0;  ///< next index of the sweep
        Nanos sweep_time = 0;        ///< when the sweep got there
        std::uint32_t by = 0;        ///< Event::by of what it does; control's only
        std::uint32_t spare = 0;     ///< entry for the next connection; see table/pool.hpp
        YoungRing young;
        YoungRing closing;  ///< the same for entries that are closing; only closing-first fills it
        EventRing events;
        Ring<InvalidNote> invalid{kInvalidNotes};
    };

    Impl(const Settings& s, WorkerId worker_count, std::uint64_t seed, const Features& features);

    // ---- lookup.cpp
    [[nodiscard]] bool same_addrs6(std::uint32_t index, const Tuple& t, Dir dir) const noexcept;
    /// Whether `t`, whose key is `k`, is one of entry `index`'s tuples, and which.
    [[nodiscard]] bool match(std::uint32_t index, const Tuple& t, TupleKey k,
                             Dir& dir) const noexcept;
    /// Whether entry `index` is linked, not expired and holds `t`, whose key is `k`.
    [[nodiscard]] bool examine(std::uint32_t index, const Tuple& t, TupleKey k, Ticks now,
                               Match& out) const noexcept;
    /// Reads both tuples of an entry, which may be ending meanwhile.
    void read_tuples(std::uint32_t index, Tuple& original, Tuple& reply) const noexcept;
    /// Reads an entry of the life that `accept(Meta)` approves. False if it is not or no longer so.
    template <class Accept>
    bool read(std::uint32_t index, EntryCopy& out, Accept&& accept) const noexcept;
    /// Finds the linked, unexpired entry that holds `t`, whose hash is `h`.
    [[nodiscard]] bool find(const Tuple& t, std::uint64_t h, Ticks now, Match& out,
                            std::uint64_t& restarts) const noexcept;
    /// Makes `m` the packet's connection. False if it has ended since.
    bool adopt(Worker& w, Packet& p, const Match& m) const noexcept;
    void lookup_burst(WorkerId w, std::span<Packet> packets, Nanos now) noexcept;
    const Bucket* seek_bucket(Packet& p) noexcept;
    std::uint32_t seek_entry(const Bucket& b, Packet& p) const noexcept;
    void seek_connection(Worker& me, Packet& p, std::uint32_t candidate, Ticks ticks) noexcept;
    void judge_faulty(Worker& me, Packet& p, Ticks ticks) noexcept;
    bool lookup_one(Worker& w, Packet& p, Ticks now) noexcept;
    bool lookup_as_reply(Worker& w, Packet& p, Ticks now) noexcept;
    void note_invalid(Worker& w, const Packet& p, std::uint8_t state) const noexcept;
    /// The settings as variant `v` of them has it (TrackOptions::variant).
    [[nodiscard]] const Settings& settings_of(std::uint8_t v) const noexcept {
        return v == 0 ? settings : variants[v];
    }
    /// The settings for an entry that exists; if it has a variant, its side is locked.
    [[nodiscard]] const Settings& settings_of(std::uint8_t fixed_bits,
                                              const SideLines& side) const noexcept {
        return (fixed_bits & fixed::kVariant) == 0 ? settings : variants[side.variant];
    }
    /// True if what lookup() saw still stands: no entry has p's tuple, nor the mirror image.
    [[nodiscard]] bool still_absent(const Packet& p) const noexcept {
        return p.absent &&
               index.bucket(index.bucket_of(p.hash)).seq.load(std::memory_order_acquire) ==
                   p.absent_seq;
    }

    // ---- update.cpp
    bool update_data(const Worker& me, Packet& p, Ticks ticks) noexcept;
    void update_one(WorkerId w, Packet& p, Nanos now) noexcept;
    [[nodiscard]] static proto::View view_of(const HotLine& hot, Meta m, Ticks ticks,
                                             SideLines* side) noexcept;
    void disown(Worker& me, Packet& p, std::uint8_t state) const noexcept;
    /// Brings a deadline later than `limit` down to it.
    void cut_deadline(ConnHandle h, Ticks limit) noexcept;
    void promote(ConnHandle h, std::uint8_t fixed_bits) noexcept;

    // ---- conntrack.cpp
    /// Fills a free entry for p, whose packet opens the connection; unconfirmed from here on. With
    /// a verdict `given`, no tracker is asked, and the trackers' line is left as it is.
    void write_entry(std::uint32_t index, Packet& p, Nanos now,
                     const proto::Verdict* given = nullptr) noexcept;
    void store_tuple(std::uint32_t index, const Tuple& t, Dir dir) noexcept;
    void complete_entry(const Packet& p, const Places& at, std::uint8_t fixed_bits) noexcept;
    /// Hash of p.reply.
    [[nodiscard]] std::uint64_t reply_hash(const Packet& p) const noexcept;
    template <bool kMirror>
    bool link_absent(WorkerId w, Packet& p, Nanos now) noexcept;
    void enlist_unless_kept(Worker& me, const Packet& p, const Places& at, std::uint8_t fixed_bits,
                            Ticks ticks) noexcept;
    void check_linked(const Packet& p, const Places& at, Ticks ticks) const noexcept;
    [[nodiscard]] Confirmation link(WorkerId w, Packet& p, Nanos now) noexcept;
    /// `causes`: of the event that tells of the new entry.
    [[nodiscard]] Attempt try_link(WorkerId w, Packet& p, const Places& at, bool mirror,
                                   std::uint16_t causes, Nanos now) noexcept;
    void abandon(WorkerId w, Packet& p, Nanos now) noexcept;
    /// True if whoever gave `lease` wants to be told of its end.
    [[nodiscard]] bool wants_back(std::uint8_t lease) const noexcept {
        return lease != 0 && release.call != nullptr &&
               (lease & release.wanted->load(std::memory_order_seq_cst)) != 0;
    }
    /// Tells who gave the entry something, which the caller is about to free, that it has ended.
    [[gnu::cold]] void give_back(WorkerId w, std::uint32_t index, std::uint8_t lease,
                                 Nanos now) const noexcept;
    [[nodiscard]] Places places_of(std::uint64_t original, std::uint64_t reply) const noexcept {
        return {index.bucket_of(original), index.bucket_of(reply), index.tag_of(original),
                index.tag_of(reply)};
    }
    /// What a worker does once an entry of its making is linked.
    static void count_in(Worker& me) noexcept {
        me.counters.opened.add();
        me.embryonic.store(me.embryonic.load(std::memory_order_relaxed) + 1,
                           std::memory_order_relaxed);
    }
    /// And once one of them is embryonic no more.
    static void count_out(Worker& me) noexcept {
        me.embryonic.store(me.embryonic.load(std::memory_order_relaxed) - 1,
                           std::memory_order_relaxed);
    }
    void enlist(Worker& me, const Packet& p, const Places& at, Ticks ticks) noexcept;
    /// How long an entry lives that is refreshed now, in ticks; adaptive time-outs included.
    [[nodiscard]] Ticks lifetime(const Worker& me, std::uint32_t timeout_s) const noexcept {
        if (me.time_scale != kFullTime) [[unlikely]]
            return scaled_lifetime(me, timeout_s);
        return timeout_s * kTicksPerSecond;
    }
    /// Under the bucket's lock: finds the linked entry other than `self` that holds `t`.
    [[nodiscard]] bool find_holder(std::uint32_t bucket, std::uint16_t tag, const Tuple& t,
                                   Ticks now, std::uint32_t self, Holder& found) const noexcept;
    /// True if every entry that is made now has books.
    [[nodiscard]] bool keeps_books() const noexcept {
        return settings.acct || settings.timestamp || labels_used;
    }
    /// Those of fixed::kFirst that an entry has which `p` opens now.
    [[nodiscard]] std::uint8_t first_bits(const Packet& p) const noexcept;
    /// Starts to load the lines that a newcomer in entry `index` will write.
    void prefetch_entry(std::uint32_t index) const noexcept;
    /// Starts to load the lines behind the first that update() will write for p's connection.
    void prefetch_side(const Packet& p) const noexcept;
    void take_side(std::uint32_t index) const noexcept;
    [[nodiscard]] bool lock_side(ConnHandle h, std::uint8_t at = life::kLinked) const noexcept;
    [[nodiscard]] bool lock_life(ConnHandle h) const noexcept;
    void unlock_side(std::uint32_t index) const noexcept;

    // ---- clash.cpp
    /// What becomes of p, whose own entry finds its original tuple with `winner`; none: that one
    /// has gone, or something was in the way, and it is worth another attempt.
    std::optional<Confirmation> resolve_clash(WorkerId w, Packet& p, const Places& at,
                                              ConnHandle winner, Nanos now) noexcept;
    std::optional<Confirmation> link_reply(WorkerId w, Packet& p, const Places& at,
                                           Nanos now) noexcept;
    bool join(WorkerId w, Packet& p, Nanos now) noexcept;

    // ---- overflow.cpp
    /// Starts to load free entries that will be taken soon, for connections of `family`.
    void load_entries(WorkerId w, Family family) noexcept;
    /// An entry for p's connection to fill, or Pool::kNone: p.drop says why there is none.
    std::uint32_t allocate(WorkerId w, Packet& p, Nanos now) noexcept;
    /// Takes an entry that is free, if `max` allows; it is usually the capacity. Exact as long as
    /// workers do not allocate at the same moment.
    std::uint32_t take(WorkerId w) noexcept {
        const std::uint32_t max = settings.max;
        return max < pool.capacity() && pool.in_use() >= max ? Pool::kNone : pool.take(w);
    }
    /// allocate() for the connection that p has been written to the spare entry for. False if it
    /// may not be: p.drop says why.
    bool allocate_for_spare(WorkerId w, Packet& p, Nanos now) noexcept;
    /// allocate() where it takes more than to take one that is free.
    std::uint32_t allocate_scarce(WorkerId w, Packet& p, Nanos now) noexcept;
    /// Evicts somebody, as the policy has it. `h`: hash of the newcomer's tuple.
    bool make_room(WorkerId w, std::uint64_t h, Newcomer& who, Nanos now) noexcept;
    /// What becomes of p, which finds no room for the reason in p.drop.
    [[nodiscard]] Opening turn_away(Worker& me, Packet& p) noexcept;
    /// Claims an entry for its end: linked to dying, if it is still the life of `h` and, unless
    /// `assured_too`, not assured.
    bool claim(ConnHandle h, bool assured_too) noexcept;
    /// Unlinks, reports and frees a claimed entry.
    void finish(WorkerId w, ConnHandle h, End why, Nanos now) noexcept;
    /// Both of the above.
    bool end(WorkerId w, ConnHandle h, End why, bool assured_too, Nanos now) noexcept;
    /// Looks at `n` entries from the worker's sweep position and ends the expired.
    void sweep(WorkerId w, std::uint32_t n, Nanos now) noexcept;

    // ---- eviction.cpp
    /// True if an entry that is not assured may have to go for a newcomer.
    [[nodiscard]] bool oldest_goes() const noexcept {
        return settings.overflow == Overflow::EmbryonicOldest ||
               settings.overflow == Overflow::ClosingFirst;
    }
    // Each ends an entry of its kind to make room; false if there is none that may go.
    bool evict_oldest(WorkerId w, Nanos now) noexcept;
    bool evict_oldest_but_spared(WorkerId w, Newcomer& who, Nanos now) noexcept;
    bool evict_elsewhere(WorkerId w, Newcomer& who, Nanos now) noexcept;
    bool evict_closing(WorkerId w, Newcomer& who, Nanos now) noexcept;
    bool evict_as_linux(WorkerId w, std::uint64_t h, Newcomer& who, Nanos now) noexcept;
    bool evict_in_bucket(WorkerId w, std::uint32_t bucket, Nanos now) noexcept;
    bool evict_embryonic(WorkerId w, Newcomer& who, Nanos now) noexcept {
        return spares_some ? evict_oldest_but_spared(w, who, now) : evict_oldest(w, now);
    }
    enum class Judgement : std::uint8_t {
        Yes,
        Gone,    ///< it has ended
        Young,   ///< it has not had its min_life yet
        Spared,  ///< it is within somebody's reservation
        Mapped,  ///< it has a mapping, and mappings are never deleted
    };
    /// Whether `victim` may be evicted for `who`; if not, `who.refusal` says why. `kept`: what is
    /// in use of the reservations, if there are any.
    [[nodiscard]] Judgement judge(const Reservations* kept, ConnHandle victim, Newcomer& who,
                                  Nanos now) const noexcept;
    [[nodiscard]] Judgement judge(const Worker& me, ConnHandle victim, Newcomer& who,
                                  Nanos now) const noexcept {
        return judge(me.reserved.get(), victim, who, now);
    }
    /// Whom a ring of victims is for.
    enum class Prey : std::uint8_t { Embryonic, Closing };
    /// True if the record's entry still is what its ring is for.
    [[nodiscard]] bool is_candidate(const YoungRecord& r, Prey kind) const noexcept;
    /// claim(), if its protocol says that it is closing.
    bool claim_closing(ConnHandle h) noexcept;
    /// Notes an entry that has begun to close, for evict_closing().
    void note_closing(Worker& me, ConnHandle h, Meta before, Meta after, Ticks now) noexcept;
    /// True if a victim is at hand.
    bool any_victim(WorkerId w) noexcept {
        return workers[w]->victim_next != workers[w]->victim_end || fetch_victims(w);
    }
    bool fetch_victims(WorkerId w) noexcept;
    /// Takes victims at hand from the oldest records of a ring. False if there is none.
    bool stash_victims(Worker& me, YoungRing& from) noexcept;
    /// Starts to load every line that the eviction of victims some evictions ahead, and the
    /// newcomers that take over their entries, will write; unless it has done so.
    void load_victim(Worker& me) noexcept;
    /// Drops records at hand that are stale, so that an eviction finds a victim first.
    void trim_young(WorkerId w) noexcept;
    /// True if an entry with these bits of HotLine::fixed never gives way.
    [[nodiscard]] bool is_kept(std::uint8_t fixed_bits) const noexcept {
        return room.never_delete_mappings && (fixed_bits & fixed::kMapped) != 0;
    }
    /// Counts an entry in or out of those that are closing and kept, as its state changes.
    void count_kept(Worker& me, std::uint8_t fixed_bits, std::uint8_t protocol, Meta before,
                    Meta after) const noexcept;
    /// True if somebody would have given way but for his mapping; as of the last recount.
    [[nodiscard]] bool kept_any(const Worker& me) const noexcept;
    /// Makes room in a ring that stale records crowd.
    void turn_over(YoungRing& ring, Prey kind, Ticks now) noexcept;
    /// Whose place `who` would be given where the oldest goes, or, with `closing_too`, what has
    /// been closing longest; if nobody's, `who.refusal` says why. Looks at entry after entry, and
    /// further than an eviction, which gives up after some that are spared. For explanations:
    /// inspect.cpp.
    [[nodiscard]] std::optional<Prey> foresee_victim(const Reservations* kept, bool closing_too,
                                                     Newcomer& who, Nanos now) const noexcept;

    // ---- admission.cpp
    /// Counts what the table holds, and what follows from it for this worker.
    void recount(Worker& me) noexcept;
    /// recount(), if the last one was a while ago.
    void recount_if_old(Worker& me, Nanos now) noexcept;
    /// recount(), if this worker has opened enough since the last one.
    void recount_if_due(Worker& me) noexcept;
    [[nodiscard, gnu::cold]] Ticks scaled_lifetime(const Worker& me,
                                                   std::uint32_t timeout_s) const noexcept;
    /// Scales the time-out of an unconfirmed entry.
    void shorten(const Worker& me, std::uint32_t index, Ticks now) noexcept;
    /// Index of the reservation that a source has.
    [[nodiscard]] int reservation_of(Family family, const Addr& source) const noexcept;
    /// Original source, family and zone of an entry that does not change meanwhile, or whose
    /// generation the caller checks.
    [[nodiscard]] Tuple source_of(std::uint32_t index) const noexcept;
    /// True if `who` may have an entry that is free.
    [[nodiscard]] bool may_take_free(const Worker& me, const Newcomer& who) const noexcept;
    /// Finds out who p's source is. None, or why it may not open a connection now.
    [[nodiscard]] Drop introduce(const Packet& p, Newcomer& who, Nanos now) noexcept;
    /// Books an entry to its source, and out again when it becomes free.
    void book_in(Worker& me, const Newcomer& who) noexcept;
    void book_out(Worker& me, std::uint32_t index) noexcept;

    // ---- control.cpp
    /// What becomes of the side lines: read, read and the counters zeroed, or left alone because
    /// somebody else is still filling them.
    enum class Side : std::uint8_t { Read, Zero, Skip };
    /// False if the life that `e` was read from has ended since, before the side lines were read.
    [[nodiscard]] bool fill_snapshot(std::uint32_t index, const EntryCopy& e, Ticks now,
                                     Snapshot& out, Side side = Side::Read) const noexcept;
    /// Records an event of a life that has been linked, unless its mask excludes all of the causes.
    /// Nothing if it is over already: that it ended has been told, with all that it came to.
    void emit(WorkerId w, EventType type, std::uint16_t causes, ConnHandle h, Nanos now) noexcept;
    /// Tells of p's entry, which the caller has just linked and one of whose buckets he still has
    /// locked: nobody can have ended it and begun another life in its place.
    void tell_linked(WorkerId w, const Packet& p, std::uint16_t causes, Nanos now) noexcept {
        if (listening()) [[unlikely]]
            emit(w, EventType::New, causes, p.conn, now);
    }
    [[nodiscard]] bool listening() const noexcept {
        return settings.events == 1 ||
               (settings.events == 2 && listeners.load(std::memory_order_relaxed) > 0);
    }

    /// Ends an entry on behalf of control; `by` as in erase().
    bool end_as_control(ConnHandle h, Nanos now, std::uint32_t by) noexcept;
    /// Lets workers have what control's allocation cache holds: control may not act for long.
    void give_back_as_control() noexcept;

    // ---- seqadj.cpp
    /// Gives back the adjustment of a claimed entry, if it has one.
    void release_shift(ConnHandle h) noexcept;

    // ---- inject.cpp
    /// Publishes the unconfirmed entry of control's that `p` stands for, under both of its tuples.
    Injected link_injected(Packet& p, std::uint16_t status, Nanos now) noexcept;
    /// Fills a free entry as write_entry() does, with what `e` says.
    void write_injected(std::uint32_t index, Packet& p, const Injection& e, Nanos now) noexcept;
    /// Gives the bits of `mask` the values of `value`. False if the life has no labels. `changed`:
    /// some bit had another value.
    bool change_labels(ConnHandle h, const std::array<std::uint64_t, 2>& value,
                       const std::array<std::uint64_t, 2>& mask, bool& changed) noexcept;

    Settings settings;  ///< live, but for `settings.room`, which nobody reads
    const Room room;
    /// How many victims a worker takes from a ring at once. In a small table it takes one when it
    /// needs it: of those that a worker has at hand others cannot take any, and would have to
    /// refuse newcomers.
    const std::uint32_t victims_at_once;
    /// By TrackOptions::variant; the first stands for `settings` and is not used.
    std::vector<Settings> variants;
    bool labels_used;  ///< every entry has room for labels
    HashKey key;
    Pool pool;
    SeqAdjustments adjustments;
    Index index;
    WorkerId worker_count;  ///< without control's
    std::vector<std::unique_ptr<Worker>> workers;
    std::unique_ptr<SourceQuota> quota;  ///< if there are limits on sources
    const bool keeps_accounts;           ///< entries are booked: there are limits or reservations
    const bool spares_some;              ///< judge() has something to say
    const bool has_exceptions;           ///< either of them, or adaptive time-outs
    Release release;                     ///< set before the first packet
    std::mutex control_mutex;            ///< who acts as worker `worker_count`
    std::atomic<int> listeners{0};
};

[[nodiscard]] inline std::uint32_t ip_bytes(const Packet& p) noexcept {
    return p.end - p.l3_offset;
}

/// Takes the side lock of an entry.
///
/// An entry ends without this lock, so a holder may be left over from a former life: it looks at
/// `meta`, sequentially consistent, after it has the lock, and touches nothing if the entry has
/// ended. Whoever fills the entry for its next life looks at the lock, likewise, after the entry
/// was claimed. So either the holder sees the claim, or the other sees the lock, and waits.
[[gnu::always_inline]] inline void Conntrack::Impl::take_side(std::uint32_t i) const noexcept {
    Atomic<std::uint32_t>& lock = pool.side(i).lock;
    for (std::uint32_t free = 0;
         !lock.compare_exchange_weak(free, 1, std::memory_order_seq_cst, std::memory_order_relaxed);
         free = 0)
        spin_pause();
}

/// take_side() of the entry that `h` names, if it is at that point of its life: linked, or dying if
/// the caller is the one who claimed it. False if it is not.
[[gnu::always_inline]] inline bool Conntrack::Impl::lock_side(ConnHandle h,
                                                              std::uint8_t at) const noexcept {
    take_side(h.index);
    const Meta m{pool.hot(h.index).meta.load(std::memory_order_seq_cst)};
    if (m.generation() == h.generation && m.life() == at) [[likely]]
        return true;
    unlock_side(h.index);
    return false;
}

/// take_side() of the entry that `h` names, wherever in that life it is. False if it is over.
inline bool Conntrack::Impl::lock_life(ConnHandle h) const noexcept {
    take_side(h.index);
    if (Meta{pool.hot(h.index).meta.load(std::memory_order_seq_cst)}.generation() == h.generation)
        return true;
    unlock_side(h.index);
    return false;
}

[[gnu::always_inline]] inline void Conntrack::Impl::unlock_side(std::uint32_t i) const noexcept {
    pool.side(i).lock.store(0, std::memory_order_release);
}

[[gnu::always_inline]] inline void Conntrack::Impl::store_tuple(std::uint32_t i, const Tuple& t,
                                                                Dir dir) noexcept {
    HotLine& h = pool.hot(i);
    const TupleKey k = TupleKey::of(t);
    const bool original = dir == Dir::Original;
    (original ? h.original_addrs : h.reply_addrs).store(k.addrs, std::memory_order_release);
    (original ? h.original_rest : h.reply_rest).store(k.rest, std::memory_order_release);
    if (t.family != Family::Ipv6) [[likely]]
        return;
    std::array<std::uint64_t, 4> words;
    std::memcpy(words.data(), &t, sizeof words);  // source and destination
    for (std::size_t w = 0; w < words.size(); ++w)
        pool.addrs6(i).words[(original ? 0 : 4) + w].store(words[w], std::memory_order_release);
}

inline void Conntrack::Impl::read_tuples(std::uint32_t i, Tuple& original,
                                         Tuple& reply) const noexcept {
    const HotLine& h = pool.hot(i);
    const auto put = [&](Tuple& t, const auto& addrs, const auto& rest, std::size_t from) {
        const TupleKey k{addrs.load(std::memory_order_acquire),
                         rest.load(std::memory_order_acquire)};
        k.write_to(t);
        if (k.family() != Family::Ipv6) return;
        std::array<std::uint64_t, 4> w;
        for (std::size_t n = 0; n < w.size(); ++n)
            w[n] = pool.addrs6(i).words[from + n].load(std::memory_order_acquire);
        std::memcpy(reinterpret_cast<std::uint8_t*>(&t), w.data(), sizeof w);  // they come first
    };
    // A connection may have a tuple of each family (NAT64).
    put(original, h.original_addrs, h.original_rest, 0);
    put(reply, h.reply_addrs, h.reply_rest, 4);
}

template <class Accept>
bool Conntrack::Impl::read(std::uint32_t i, EntryCopy& out, Accept&& accept) const noexcept {
    const HotLine& h = pool.hot(i);
    out.meta = Meta{h.meta.load(std::memory_order_acquire)};
    if (!accept(out.meta)) return false;

    read_tuples(i, out.original, out.reply);
    out.fixed_bits = h.fixed.load(std::memory_order_acquire);
    out.mark = h.mark.load(std::memory_order_acquire);
    out.born = h.born.load(std::memory_order_acquire);

    const Meta after{h.meta.load(std::memory_order_acquire)};
    return after.generation() == out.meta.generation() && accept(after);
}

[[gnu::always_inline]] inline bool Conntrack::Impl::match(std::uint32_t i, const Tuple& t,
                                                          TupleKey k, Dir& dir) const noexcept {
    const HotLine& h = pool.hot(i);
    // Which direction it is nobody can predict, so it must not be a branch.
    const std::uint64_t original = (h.original_addrs.load(std::memory_order_acquire) ^ k.addrs) |
                                   (h.original_rest.load(std::memory_order_acquire) ^ k.rest);
    const std::uint64_t reply = (h.reply_addrs.load(std::memory_order_acquire) ^ k.addrs) |
                                (h.reply_rest.load(std::memory_order_acquire) ^ k.rest);
    if (std::min(original, reply) != 0) return false;
    dir = static_cast<Dir>(original != 0);
    if (t.family != Family::Ipv6) [[likely]]
        return true;
    if (same_addrs6(i, t, dir)) return true;
    dir = Dir::Reply;
    return reply == 0 && same_addrs6(i, t, dir);
}

[[gnu::always_inline]] inline bool Conntrack::Impl::examine(std::uint32_t i, const Tuple& t,
                                                            TupleKey k, Ticks now,
                                                            Match& out) const noexcept {
    const HotLine& h = pool.hot(i);
    const Meta m{h.meta.load(std::memory_order_acquire)};
    if (m.life() != life::kLinked || m.expired(now)) return false;
    if (!match(i, t, k, out.dir)) return false;
    out.fixed_bits = h.fixed.load(std::memory_order_acquire);
    out.mark = h.mark.load(std::memory_order_acquire);
    // What was read in between is of this life only if it still goes on.
    if (!m.same_life(Meta{h.meta.load(std::memory_order_acquire)})) return false;
    out.conn = {i, m.generation()};
    out.status = status_of(m, out.fixed_bits);
    return true;
}

}  // namespace ct
