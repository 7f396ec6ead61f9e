// SPDX-License-Identifier: BSD-3-Clause
//
// Connection tracking: the table, the trackers and the overflow policy behind one interface.
//
// Life of an entry:  free -> unconfirmed (open) -> linked (confirm) -> dying (kill, expire, evict)
// -> free. Between open() and confirm() nobody but the worker that opened it sees it; a packet that
// is dropped on the way abandons it and leaves no trace. Nor does it displace anybody: where the
// overflow policy makes room by ending the oldest entry, it does so at confirm(), after the rules.
// The other policies act at open(), as Linux does.
//
// Threads. Each worker passes its own WorkerId to the packet path's calls and is the only one that
// uses it. Control calls may come from any thread; they share one WorkerId of their own under a
// mutex, which the packet path never takes.
#pragma once

#include "ct/conn/entry.hpp"
#include "ct/conn/seqadj.hpp"
#include "ct/conn/settings.hpp"
#include "ct/events.hpp"
#include "ct/wire/packet.hpp"

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace ct {

using WorkerId = std::uint32_t;

/// The most workers that a table is made for, control's own included.
inline constexpr WorkerId kMaxWorkers = 64;

/// Counters, by worker or summed. Names and meanings of the first ten are those of `conntrack -S`
/// (semantics.md 2.12); the others are Sluice's own.
struct Counters {
    std::uint64_t found = 0;            ///< NAT collision checks that hit
    std::uint64_t invalid = 0;          ///< packets that fit no connection and may open none
    std::uint64_t insert = 0;           ///< entries injected by control
    std::uint64_t insert_failed = 0;    ///< a clash, or no room in the bucket
    std::uint64_t drop = 0;             ///< packets refused for want of room
    std::uint64_t early_drop = 0;       ///< entries evicted to make room
    std::uint64_t error = 0;            ///< ICMP errors that concern no connection
    std::uint64_t search_restart = 0;   ///< lookups that a writer made start again
    std::uint64_t clash_resolve = 0;    ///< packets that joined the entry which won a race
    std::uint64_t chaintoolong = 0;     ///< refused because the bucket's chain was at its limit
    std::uint64_t opened = 0;           ///< entries confirmed
    std::uint64_t expired = 0;          ///< entries reclaimed after their time-out
    std::uint64_t deleted = 0;          ///< entries ended by control, RST or reopening
    std::uint64_t assured_evicted = 0;  ///< assured entries evicted; only by a policy that says so
    std::uint64_t table_full_log = 0;   ///< times that "table full, dropping packet" was due
    std::uint64_t untracked = 0;        ///< newcomers that passed untracked for want of room
    std::uint64_t limited = 0;          ///< newcomers refused by a limit on their source

    Counters& operator+=(const Counters& o) noexcept;
};

/// Where the memory of the table came from; for the log.
struct MemoryReport {
    std::string pages;  ///< "1 GiB", "2 MiB", "transparent 2 MiB" or "4 KiB"
    std::size_t total_bytes = 0;
    /// Of these: index, entries and the list of free ones.
    std::size_t index_and_entries_bytes = 0;
    /// Not among these: what IPv6 takes beside them once every entry is of IPv6.
    std::size_t ipv6_bytes = 0;
};

/// What a table is made for beside its settings.
struct Features {
    /// Time-outs of policies that rules name; a policy's number is its place here, plus one.
    std::vector<Timeouts> policies;
    /// Every entry has room for labels. Without, those of TCP and SCTP have, and those that keep
    /// counters or times.
    bool labels = false;
};

/// The most time-out policies that a table has.
inline constexpr std::size_t kMaxPolicies = 63;

/// An entry that control makes.
struct Injection {
    Tuple original;
    Tuple reply;
    /// By which packets of the original direction come in and leave; kNoPort: nobody knows.
    PortId in_port = kNoPort;
    PortId out_port = kNoPort;
    std::uint32_t timeout_s = 0;
    std::uint16_t status = 0;  ///< of SEEN_REPLY, ASSURED, FIXED_TIMEOUT
    std::uint8_t state = 0;    ///< TcpState, SctpState
    std::uint32_t mark = 0;
    std::array<std::uint32_t, 2> vtags{};  ///< of SCTP, by Dir
};

enum class Injected : std::uint8_t {
    Done,
    Exists,   ///< another entry holds one of the tuples
    NoRoom,   ///< the table is full and the overflow policy gives nothing up
    Invalid,  ///< the tuples do not belong to one connection, or of a kind that opens none
    // What whoever gives mappings says (Release::lend):
    PortTaken,  ///< its external port is another's, or rests, or its source has another mapping
    Limited,    ///< its subscriber has all that he may have
    NoWay,      ///< nobody knows where its mapping's outside is
};

/// What control changes of an entry; what is not set stays.
struct Change {
    std::optional<std::uint32_t> timeout_s;
    std::uint16_t status = 0;  ///< bits to be set: of SEEN_REPLY, ASSURED, FIXED_TIMEOUT
    std::optional<std::uint8_t> state;
    std::uint32_t mark = 0;  ///< the bits of mark_mask get these values
    std::uint32_t mark_mask = 0;
    std::array<std::uint64_t, 2> labels{};  ///< the bits of label_mask get these values
    std::array<std::uint64_t, 2> label_mask{};
};

enum class Changed : std::uint8_t {
    Done,
    Gone,          ///< the entry has ended
    FixedTimeout,  ///< its time-out is not to be changed
    NoLabels,      ///< it has no room for labels
};

/// What is kept of an invalid packet for the log.
struct InvalidNote {
    Tuple tuple;
    PortId in_port = kNoPort;
    std::uint8_t tcp_flags = 0;
    std::uint8_t state = 0;  ///< of the connection that it does not fit; 0: it has none
};

/// What some rules want to know of a packet's connection, and few packets need.
struct ConnFacts {
    std::array<std::uint64_t, 2> labels{};
    std::uint32_t expires_s = 0;  ///< seconds until it expires
    std::uint8_t helper = 0;
};

// For explanations; see ct/inspect.hpp.
struct Inspection;
struct Judgement;
struct Prospect;

/// Who is told that a connection which was given something (Packet::lease) has ended, or has come
/// to nothing. Called by the thread that ended it, once, after the last of its tuples has left the
/// index: what was given may be given again at once.
struct Release {
    void (*call)(void* self, WorkerId w, std::uint8_t lease, const Tuple& original,
                 const Tuple& reply, Nanos now) noexcept = nullptr;
    /// Asked before an entry that control makes is linked: takes what its mapping needs and notes
    /// that in p.lease; sets p.masquerade_port. `p` stands for the entry, has no bytes, and knows
    /// its ports as the Injection does. Done, or why the entry cannot have its mapping.
    Injected (*lend)(void* self, WorkerId w, Packet& p, Nanos now) noexcept = nullptr;
    void* self = nullptr;
    /// Bits of leases that are to be told of now; may change at any time.
    const std::atomic<std::uint8_t>* wanted = nullptr;
};

/// Which entries a walk over the table is about.
enum class Stage : std::uint8_t { Unconfirmed, Linked, Dying };

class Conntrack {
public:
    /// Makes the table for `settings.entries()` entries and `workers` packet threads and touches
    /// its memory. `hash_seed` 0 draws a random key; anything else is for reproducible tests.
    /// Throws std::bad_alloc, or std::invalid_argument if the settings contradict one another.
    Conntrack(const Settings& settings, WorkerId workers, std::uint64_t hash_seed = 0,
              const Features& features = {});
    ~Conntrack();
    Conntrack(const Conntrack&) = delete;
    Conntrack& operator=(const Conntrack&) = delete;

    /// Who is told from now on. Before the first packet, and, with none, after the last.
    void set_release(Release release) noexcept;

    // ---- Packet path. `w` is the calling worker's own.

    /// Hashes every living packet that has a tuple and no connection yet, finds its connection and
    /// sets conn, dir, original, reply, status, mark. An ICMP error is looked up by its inner
    /// tuple. A packet with state Untracked is skipped. What finds nothing has conn invalid.
    void lookup(WorkerId w, std::span<Packet> packets, Nanos now) noexcept;

    /// Runs the protocol tracker on every packet with a connection, and sets `state`. A packet
    /// whose connection went away or is to be reopened has its `conn` taken and must be opened.
    void update(WorkerId w, std::span<Packet> packets, Nanos now) noexcept;

    enum class Opening : std::uint8_t {
        Opened,     ///< p.conn is a new unconfirmed entry, p.state New: confirm() or abandon() it
        Found,      ///< another packet made the connection; p is updated and belongs to it
        Invalid,    ///< may not open one: p.state is Invalid, and p goes on to the rules
        Refused,    ///< no room, or its source has had its share: p.drop is set
        Rejected,   ///< the same, and policy reject wants the sender told
        Untracked,  ///< no room: p.state is Untracked, p.no_room set; policy untracked lets p go on
    };
    /// For a packet that lookup() and update() left without a connection: looks again, else makes
    /// an unconfirmed entry whose reply tuple, p.reply, is the mirror image for NAT to change. A
    /// worker has one at a time: confirm() or abandon() comes before the next open().
    [[nodiscard]] Opening open(WorkerId w, Packet& p, Nanos now) noexcept;

    enum class Confirmation : std::uint8_t {
        Linked,      ///< the entry is in the table
        Joined,      ///< another worker was first with the same tuple: p now belongs to that one
        ReplyTaken,  ///< another entry holds p.reply; still unconfirmed: choose another mapping
        Refused,     ///< no room, or its source has had its share: p.drop is set, the entry is gone
    };
    /// Publishes p's unconfirmed entry under p.original and p.reply, both or neither, unless
    /// another worker was faster and chose another mapping (ct/clash.cpp). Sets the SRC_NAT and
    /// DST_NAT status where the reply is not the mirror image. The time-out runs from here.
    /// `p.mark` and `p.out_port` are stored with it.
    [[nodiscard]] Confirmation confirm(WorkerId w, Packet& p, Nanos now) noexcept;

    /// Applies p.track, which has changed, to p's unconfirmed entry: its time-out is that of the
    /// settings that it names.
    void retrack(WorkerId w, Packet& p, Nanos now) noexcept;

    /// Makes room for p's unconfirmed entry now, and not only at confirm(). True if it has room and
    /// somebody was ended for it; p.drop is set if there is none.
    [[nodiscard]] bool make_room(WorkerId w, Packet& p, Nanos now) noexcept;

    /// Gives back p's unconfirmed entry, if it has one, and its lease.
    void abandon(WorkerId w, Packet& p, Nanos now) noexcept;

    /// True if an entry other than `except` holds `reply` as one of its tuples; counted as `found`.
    [[nodiscard]] bool tuple_taken(WorkerId w, const Tuple& reply, ConnHandle except,
                                   Nanos now) noexcept;

    /// As tuple_taken(), and the lease of the entry that holds it.
    [[nodiscard]] std::optional<std::uint8_t> lease_on(WorkerId w, const Tuple& reply,
                                                       ConnHandle except, Nanos now) noexcept;
    /// Ends the connection that holds `reply`, if it is of TCP, has its source translated and is in
    /// TIME_WAIT or CLOSE, and if `seq_end`, the sequence number after a newcomer's SYN, is beyond
    /// what its own client sent: then the server can tell the two apart (RFC 6191 2). Not with a
    /// fixed time-out, nor with never_delete_mappings. False if it has to stay. As
    /// nf_nat_used_tuple_harder.
    bool end_closed(WorkerId w, const Tuple& reply, std::uint32_t seq_end, Nanos now) noexcept;
    /// The `expected_reply` of these IPv4 packets is likely to become their reply tuple's key:
    /// works out the hash for confirm(), and starts to load what it will look at.
    void expect_replies(std::span<Packet* const> packets) const noexcept;
    /// Starts to load what tuple_taken() and confirm() will look at for that reply tuple.
    void load_reply(const Tuple& reply) const noexcept;

    /// Sets the mark of p's connection.
    void set_mark(WorkerId w, Packet& p, std::uint32_t mark, Nanos now) noexcept;

    /// Sets labels of p's connection, if it has room for labels.
    void set_labels(WorkerId w, const Packet& p, const std::array<std::uint64_t, 2>& labels,
                    Nanos now) noexcept;

    /// Notes that what began `offset` bytes behind the start of p's payload, a TCP segment as its
    /// sender made it, has become longer by `by` bytes (shorter, if negative): from now on
    /// status::kSeqAdjust is set for the connection's packets. False if the connection has ended,
    /// too many of its changes are on their way (SeqShift::kChanges), or 65,535 connections have
    /// some already: then p must not go on.
    [[nodiscard]] bool shift_sequence(Packet& p, std::uint32_t offset, std::int32_t by) noexcept;
    /// How the sequence numbers of p's connection are shifted. False if they are not.
    [[nodiscard]] bool sequence_shift(const Packet& p, SeqAdjust& out) const noexcept;

    /// What rules that ask for it see of p's connection; nothing of it if there is none.
    [[nodiscard]] ConnFacts facts(const Packet& p, Nanos now) const noexcept;

    /// Once a turn: reclaims expired entries, a bounded slice of the table.
    void expire(WorkerId w, Nanos now) noexcept;

    /// For a replay, which jumps from one event to the next: ends every expired entry among the
    /// `count` from index `first` on, and returns when the first of the others there will expire,
    /// or the last Nanos there is if none will.
    [[nodiscard]] Nanos expire_among(WorkerId w, std::uint32_t first, std::uint32_t count,
                                     Nanos now) noexcept;

    /// How full the table is, in parts of a thousand of `max`, as worker `w` counted last: at most
    /// a millisecond ago.
    [[nodiscard]] std::uint32_t fill_permille(WorkerId w, Nanos now) noexcept;

    // ---- Control path: any thread.

    /// As they are now; the object stays the same.
    [[nodiscard]] const Settings& settings() const noexcept;
    /// Applies `change`, which must not touch `capacity` and must keep `max` within it, to the
    /// settings and to what is derived from them. Workers see each value soon after.
    void change_settings(const std::function<void(Settings&)>& change);
    [[nodiscard]] std::uint32_t capacity() const noexcept;  ///< entries that can be in use
    /// Indices are 0 .. indices() - 1: of the capacity, and of one more for each worker.
    [[nodiscard]] std::uint32_t indices() const noexcept;
    [[nodiscard]] std::uint32_t count() const noexcept;  ///< entries in use
    [[nodiscard]] WorkerId workers() const noexcept;
    [[nodiscard]] Counters counters(WorkerId w) const noexcept;
    [[nodiscard]] Counters counters() const noexcept;
    [[nodiscard]] MemoryReport memory() const;
    /// Connections whose sequence numbers are shifted.
    [[nodiscard]] std::uint32_t sequence_shifts() const noexcept;

    /// Copies the entry at `index` if it is linked and not expired. Takes no lock that a worker
    /// waits for, except for the counters, which it takes for some tens of nanoseconds.
    [[nodiscard]] bool snapshot(std::uint32_t index, Nanos now, Snapshot& out) const noexcept;
    /// As snapshot(), and sets the counters that it has read to 0.
    [[nodiscard]] bool snapshot_and_zero(std::uint32_t index, Nanos now, Snapshot& out) noexcept;
    /// Copies the entry at `index` if it is in `stage` just now. Unconfirmed and dying entries are
    /// in one worker's hands for a microsecond or so. What is unconfirmed has no mapping yet.
    [[nodiscard]] bool snapshot_in(Stage stage, std::uint32_t index, Nanos now,
                                   Snapshot& out) const noexcept;
    /// The entry that holds `t` as its original or reply tuple.
    [[nodiscard]] std::optional<Snapshot> find(const Tuple& t, Nanos now);
    /// The entry that holds `t` as its original or reply tuple.
    [[nodiscard]] std::optional<ConnHandle> holder_of(const Tuple& t, Nanos now) const noexcept;
    /// Copies all that the entry which `h` names knows. False if it has ended.
    [[nodiscard]] bool inspect(ConnHandle h, Nanos now, Inspection& out) const noexcept;
    /// What update() makes of `p`, whose connection is as `before` says; p.dir is set.
    [[nodiscard]] Judgement judge(const Inspection& before, const Packet& p) const noexcept;
    /// What open() makes of `p` if there is room: Accept or Invalid.
    [[nodiscard]] Judgement judge_opening(const Packet& p) const noexcept;
    /// Whether a packet with tuple `t` would find room for its connection now.
    [[nodiscard]] Prospect prospect(const Tuple& t, Nanos now) const noexcept;
    /// Ends the entry if it still is the one that `h` names. False if it was gone. `by`, here and
    /// below, is told with the event: the process that asked for it.
    bool erase(ConnHandle h, Nanos now, std::uint32_t by = 0);
    /// Makes an entry as if its first packet had passed, but for the counters. Its NAT status
    /// follows from its tuples.
    [[nodiscard]] Injected insert(const Injection& entry, Nanos now, std::uint32_t by = 0);
    /// Changes the entry that `h` names, all of it or nothing.
    [[nodiscard]] Changed change(ConnHandle h, const Change& change, Nanos now,
                                 std::uint32_t by = 0);
    /// Ends every entry; returns how many.
    std::uint32_t flush(Nanos now);
    /// Ends every entry that is masqueraded by port `out_port`, as its address went away: of those
    /// that live on, the ones that `which(original, reply)` picks, if it is there. How many.
    std::uint32_t flush_port(
        PortId out_port, Nanos now,
        const std::function<bool(const Tuple& original, const Tuple& reply)>& which = {});

    /// Counts listeners: workers record events while at least one is there (settings.events 2).
    void add_listener() noexcept;
    void remove_listener() noexcept;
    /// Takes the next event of worker `w`'s ring (w == workers(): control's own). One thread.
    bool next_event(WorkerId w, Event& out) noexcept;
    [[nodiscard]] std::uint64_t lost_events() const noexcept;
    [[nodiscard]] std::uint64_t lost_events(WorkerId w) const noexcept;  ///< of this ring
    /// Takes the next packet that worker `w` found invalid and settings.log_invalid wants logged.
    /// One thread.
    bool next_invalid(WorkerId w, InvalidNote& out) noexcept;

    /// Checks the invariants I1, I2, I3, I5 and I8 of a table at rest (no call under way). Empty if
    /// they hold, else what is wrong. Slow.
    [[nodiscard]] std::string check_invariants() const;

private:
    struct Impl;
    class Invariants;  // ct/invariants.cpp
    std::unique_ptr<Impl> impl_;
};

}  // namespace ct
