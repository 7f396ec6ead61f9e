// SPDX-License-Identifier: BSD-3-Clause
//
// The control path: everything that is not a packet. Control acts as one worker more, under a
// mutex; what it does to an entry it does as any worker would.
#include "ct/conntrack_impl.hpp"

#include <algorithm>
#include <bit>
#include <stdexcept>

namespace ct {

namespace {

constexpr unsigned kMinLog2Buckets = 10;
constexpr std::size_t kEventCapacity = 8192;  // events a worker

/// Half a bucket an entry at most: two entries a bucket on average where nothing is NATed, four
/// where everything is.
unsigned log2_buckets_for(std::uint32_t max) {
    const std::uint32_t buckets = std::bit_ceil(std::max(max, 2U)) / 2;
    const unsigned log2 = std::bit_width(buckets) - 1;
    return std::max(kMinLog2Buckets, log2);
}

const Settings& checked(const Settings& s, WorkerId workers) {
    if (s.max == 0 || s.entries() > Ref::kIndexMask)
        throw std::invalid_argument("conntrack max must be 1 to 2^30 - 1");
    if (s.max > s.entries()) throw std::invalid_argument("conntrack capacity is below max");
    if (workers == 0 || workers >= kMaxWorkers)
        throw std::invalid_argument("conntrack serves 1 to 63 workers");
    if (s.embryonic_percent == 0 || s.embryonic_percent > 100)
        throw std::invalid_argument("embryonic_percent must be 1 to 100");
    std::uint64_t reserved = 0;
    for (const Reservation& r : s.room.reserve) reserved += r.entries;
    if (s.room.reserve.size() > kMaxReservations || reserved > s.max)
        throw std::invalid_argument("16 reservations at most, and together at most max entries");
    if (s.room.adaptive.on() && s.room.adaptive.end_percent <= s.room.adaptive.start_percent)
        throw std::invalid_argument("adaptive time-outs must end above their start");
    const PerSource& q = s.room.per_source;
    if (q.new_per_second > kMaxSourceRate || q.burst / kMaxBurstSeconds > q.new_per_second ||
        q.ipv4_prefix > 32 || q.ipv6_prefix > 128)
        throw std::invalid_argument("per_source is out of bounds");
    return s;
}

/// A mix that is not invertible by eye: ids say nothing about the order of entries.
std::uint32_t id_of(ConnHandle h) noexcept {
    // The first life of the first entry has an id like any other, too: not 0.
    std::uint64_t x = (h.index | std::uint64_t{h.generation} << 32) + 1;
    x = (x ^ x >> 33) * 0xff51afd7ed558ccd;
    return static_cast<std::uint32_t>(x >> 32 ^ x);
}

Counters plain(const CounterBlock& c) noexcept {
    Counters o;
    o.found = c.found.get();
    o.invalid = c.invalid.get();
    o.insert = c.insert.get();
    o.insert_failed = c.insert_failed.get();
    o.drop = c.drop.get();
    o.early_drop = c.early_drop.get();
    o.error = c.error.get();
    o.search_restart = c.search_restart.get();
    o.clash_resolve = c.clash_resolve.get();
    o.chaintoolong = c.chaintoolong.get();
    o.opened = c.opened.get();
    o.expired = c.expired.get();
    o.deleted = c.deleted.get();
    o.assured_evicted = c.assured_evicted.get();
    o.table_full_log = c.table_full_log.get();
    o.untracked = c.untracked.get();
    o.limited = c.limited.get();
    return o;
}

/// Every variant (TrackOptions::variant) of the settings: policies, each with either direction,
/// both or none held to windows.
std::vector<Settings> variants_of(const Settings& s, const std::vector<Timeouts>& policies) {
    if (policies.size() > kMaxPolicies)
        throw std::invalid_argument("there are too many time-out policies");
    std::vector<Settings> out(variant::of_policy(policies.size()) + variant::kLiberal + 1U, s);
    for (std::size_t v = 0; v < out.size(); ++v) {
        const std::size_t policy = variant::policy_of(v);
        if (policy != 0) out[v].timeouts = policies[policy - 1];
        out[v].tcp_liberal = static_cast<std::uint8_t>(v & variant::kLiberal);
    }
    return out;
}

}  // namespace

Counters& Counters::operator+=(const Counters& o) noexcept {
    found += o.found;
    invalid += o.invalid;
    insert += o.insert;
    insert_failed += o.insert_failed;
    drop += o.drop;
    early_drop += o.early_drop;
    error += o.error;
    search_restart += o.search_restart;
    clash_resolve += o.clash_resolve;
    chaintoolong += o.chaintoolong;
    opened += o.opened;
    expired += o.expired;
    deleted += o.deleted;
    assured_evicted += o.assured_evicted;
    table_full_log += o.table_full_log;
    untracked += o.untracked;
    limited += o.limited;
    return *this;
}

Conntrack::Impl::Impl(const Settings& s, WorkerId packet_workers, std::uint64_t seed,
                      const Features& features)
    : settings{checked(s, packet_workers)},
      room{s.room},
      victims_at_once{s.entries() < kExactBelow ? 1 : kVictims / 2},
      variants{variants_of(s, features.policies)},
      labels_used{features.labels},
      key{seed == 0 ? HashKey::random() : HashKey::from_seed(seed)},
      pool{s.entries(), packet_workers + 1, Pages::Huge1G},
      adjustments{s.entries()},
      index{log2_buckets_for(s.entries()), Pages::Huge1G},
      worker_count{packet_workers},
      quota{s.room.per_source.on()
                ? std::make_unique<SourceQuota>(s.room.per_source, s.entries(), key)
                : nullptr},
      keeps_accounts{quota != nullptr || !s.room.reserve.empty()},
      spares_some{s.room.min_life != 0 || s.room.never_delete_mappings || !s.room.reserve.empty()},
      has_exceptions{keeps_accounts || spares_some || s.room.adaptive.on()} {
    // One more for control, which makes entries too (inject.cpp).
    // Room for every entry there can be, and half as much for stale records: see turn_over().
    const std::size_t young = std::size_t{s.entries()} + s.entries() / 2 + Pool::kBatch;
    const std::size_t closing = s.overflow == Overflow::ClosingFirst ? young : 1;
    for (WorkerId w = 0; w <= packet_workers; ++w) {
        workers.push_back(std::make_unique<Worker>(young, closing, kEventCapacity));
        workers.back()->spare = pool.spare(w);
        if (!s.room.reserve.empty()) workers.back()->reserved = std::make_unique<Reservations>();
    }
    for (const auto& w : workers) recount(*w);
}

Conntrack::Conntrack(const Settings& settings, WorkerId workers, std::uint64_t hash_seed,
                     const Features& features)
    : impl_{std::make_unique<Impl>(settings, workers, hash_seed, features)} {}

Conntrack::~Conntrack() = default;

const Settings& Conntrack::settings() const noexcept {
    return impl_->settings;
}
void Conntrack::change_settings(const std::function<void(Settings&)>& change) {
    const std::lock_guard guard{impl_->control_mutex};
    const auto apply = [&change](Settings& live, std::size_t v) {
        Settings next = live;
        change(next);
        // A policy's time-outs are its own from the day it was made, as in Linux.
        if (variant::policy_of(v) != 0) next.timeouts = live.timeouts;
        live = next;  // value by value
    };
    apply(impl_->settings, 0);
    for (std::size_t v = 1; v < impl_->variants.size(); ++v) apply(impl_->variants[v], v);
}
std::uint32_t Conntrack::capacity() const noexcept {
    return impl_->pool.capacity();
}
std::uint32_t Conntrack::indices() const noexcept {
    return impl_->pool.indices();
}
std::uint32_t Conntrack::count() const noexcept {
    return impl_->pool.in_use();
}
WorkerId Conntrack::workers() const noexcept {
    return impl_->worker_count;
}

Counters Conntrack::counters(WorkerId w) const noexcept {
    return plain(impl_->workers[w]->counters);
}

Counters Conntrack::counters() const noexcept {
    Counters sum;
    for (const auto& w : impl_->workers) sum += plain(w->counters);
    return sum;
}

MemoryReport Conntrack::memory() const {
    const Impl& d = *impl_;
    std::size_t rings = 0;
    for (const auto& w : d.workers) rings += w->young.bytes() + w->closing.bytes();
    const std::size_t quota = d.quota != nullptr ? d.quota->bytes() : 0;
    const std::size_t index_and_entries = d.pool.bytes() + d.index.bytes();
    return {.pages = name_of(std::max(d.pool.pages(), d.index.pages())),
            .total_bytes = index_and_entries + rings + quota,
            .index_and_entries_bytes = index_and_entries,
            .ipv6_bytes = d.pool.ipv6_bytes()};
}

bool Conntrack::Impl::fill_snapshot(std::uint32_t i, const EntryCopy& e, Ticks now, Snapshot& out,
                                    Side side) const noexcept {
    out = Snapshot{};
    out.original = e.original;
    out.reply = e.reply;
    out.state = e.meta.state();
    out.handle = {i, e.meta.generation()};
    out.id = id_of(out.handle);
    out.mark = e.mark;
    const std::int32_t left = ticks_between(now, e.meta.deadline());
    out.timeout_s = left > 0 ? static_cast<std::uint32_t>(left) / kTicksPerSecond : 0;
    out.status = status_of(e.meta, e.fixed_bits);

    const bool sctp = e.original.proto == ipproto::kSctp;
    const bool books = (e.fixed_bits & fixed::kBooks) != 0;
    if ((!books && !sctp) || side == Side::Skip) return true;
    if (!lock_life(out.handle)) return false;
    SideLines& s = pool.side(i);
    if (sctp) out.vtags = {s.peer[0].tag, s.peer[1].tag};
    if (books) {
        out.has_counters = (e.fixed_bits & fixed::kCounts) != 0;
        out.has_timestamp = s.timestamp;
        if (out.has_counters) {
            out.packets = s.packets;
            out.bytes = s.bytes;
        }
        if (side == Side::Zero) s.packets = s.bytes = {};
        out.start = s.start_ns;
        out.labels = s.labels;
        out.helper = s.helper;
    }
    unlock_side(i);
    if (out.helper != 0) out.status |= status::kHelper;
    return true;
}

bool Conntrack::snapshot(std::uint32_t i, Nanos now, Snapshot& out) const noexcept {
    const Impl& d = *impl_;
    const Ticks ticks = to_ticks(now);
    EntryCopy e;
    const auto live = [&](const Meta& m) {
        return m.life() == life::kLinked && ticks_between(ticks, m.deadline()) > 0;
    };
    if (!d.read(i, e, live)) return false;
    return d.fill_snapshot(i, e, ticks, out);
}

bool Conntrack::snapshot_and_zero(std::uint32_t i, Nanos now, Snapshot& out) noexcept {
    const Ticks ticks = to_ticks(now);
    EntryCopy e;
    const auto live = [&](const Meta& m) {
        return m.life() == life::kLinked && ticks_between(ticks, m.deadline()) > 0;
    };
    if (!impl_->read(i, e, live)) return false;
    return impl_->fill_snapshot(i, e, ticks, out, Impl::Side::Zero);
}

bool Conntrack::snapshot_in(Stage stage, std::uint32_t i, Nanos now, Snapshot& out) const noexcept {
    if (stage == Stage::Linked) return snapshot(i, now, out);
    const std::uint8_t wanted = stage == Stage::Dying ? life::kDying : life::kUnconfirmed;
    EntryCopy e;
    if (!impl_->read(i, e, [&](const Meta& m) { return m.life() == wanted; })) return false;
    static_cast<void>(impl_->fill_snapshot(i, e, to_ticks(now), out, Impl::Side::Skip));
    if (stage == Stage::Unconfirmed) out.reply = reply_of(out.original);
    return true;
}

void Conntrack::Impl::emit(WorkerId w, EventType type, std::uint16_t causes, ConnHandle h,
                           Nanos now) noexcept {
    EntryCopy e;
    if (!read(h.index, e, [&h](Meta m) { return m.generation() == h.generation; })) return;
    if ((e.fixed_bits & fixed::kMasked) != 0) {
        if (!lock_life(h)) return;
        const std::uint16_t mask = pool.side(h.index).event_mask;
        unlock_side(h.index);
        if ((causes & mask) == 0) return;
    }
    Event event;
    event.type = type;
    event.causes = causes;
    event.by = workers[w]->by;
    event.when = now;
    if (!fill_snapshot(h.index, e, to_ticks(now), event.conn)) return;
    if (type == EventType::Destroy) event.conn.stop = now;
    if (type == EventType::Update && (causes & cause::kProtoinfo) == 0) event.conn.state = 0;
    workers[w]->events.push(event);
}

std::optional<Snapshot> Conntrack::find(const Tuple& t, Nanos now) {
    const Impl& d = *impl_;
    Match m;
    std::uint64_t restarts = 0;
    Snapshot out;
    if (!d.find(t, hash(d.key, t), to_ticks(now), m, restarts)) return {};
    if (!snapshot(m.conn.index, now, out) || out.handle != m.conn) return {};
    return out;
}

bool Conntrack::Impl::end_as_control(ConnHandle h, Nanos now, std::uint32_t by) noexcept {
    const std::lock_guard guard{control_mutex};
    workers[worker_count]->by = by;
    return end(worker_count, h, End::Deleted, true, now);
}

void Conntrack::Impl::give_back_as_control() noexcept {
    const std::lock_guard guard{control_mutex};
    pool.give_back(worker_count);
}

bool Conntrack::erase(ConnHandle h, Nanos now, std::uint32_t by) {
    const bool ended = impl_->end_as_control(h, now, by);
    impl_->give_back_as_control();
    return ended;
}

std::uint32_t Conntrack::flush(Nanos now) {
    Impl& d = *impl_;
    std::vector<std::size_t> ends;  // by worker: of its young and of its closing entries' records
    for (const auto& w : d.workers) {
        ends.push_back(w->young.end());
        ends.push_back(w->closing.end());
    }
    std::uint32_t ended = 0;
    for (std::uint32_t i = 0; i < indices(); ++i) {
        const Meta m{d.pool.hot(i).meta.load(std::memory_order_acquire)};
        if (m.life() == life::kLinked && d.end_as_control({i, m.generation()}, now, 0)) ++ended;
    }
    d.give_back_as_control();
    // An entry is linked before its record stands in a ring, so each of those that stood there at
    // the start has ended: nobody needs to step over a table's worth of stale records.
    for (std::size_t w = 0; w < d.workers.size(); ++w) {
        d.workers[w]->young.drop_before(ends[2 * w]);
        d.workers[w]->closing.drop_before(ends[2 * w + 1]);
    }
    return ended;
}

std::uint32_t Conntrack::flush_port(PortId out_port, Nanos now,
                                    const std::function<bool(const Tuple&, const Tuple&)>& which) {
    Impl& d = *impl_;
    std::uint32_t ended = 0;
    for (std::uint32_t i = 0; i < indices(); ++i) {
        const HotLine& h = d.pool.hot(i);
        const Meta m{h.meta.load(std::memory_order_acquire)};
        if (m.life() != life::kLinked) continue;
        if (h.out_port.load(std::memory_order_acquire) != out_port) continue;
        const ConnHandle handle{i, m.generation()};
        Snapshot s;
        if (which && (!snapshot(i, now, s) || s.handle != handle || !which(s.original, s.reply)))
            continue;
        if (d.end_as_control(handle, now, 0)) ++ended;
    }
    d.give_back_as_control();
    return ended;
}

void Conntrack::add_listener() noexcept {
    impl_->listeners.fetch_add(1, std::memory_order_relaxed);
}
void Conntrack::remove_listener() noexcept {
    impl_->listeners.fetch_sub(1, std::memory_order_relaxed);
}

bool Conntrack::next_event(WorkerId w, Event& out) noexcept {
    return impl_->workers[w]->events.pop(out);
}

bool Conntrack::next_invalid(WorkerId w, InvalidNote& out) noexcept {
    return impl_->workers[w]->invalid.pop(out);
}

std::uint64_t Conntrack::lost_events(WorkerId w) const noexcept {
    return impl_->workers[w]->events.lost();
}

std::uint64_t Conntrack::lost_events() const noexcept {
    std::uint64_t lost = 0;
    for (const auto& w : impl_->workers) lost += w->events.lost();
    return lost;
}

}  // namespace ct
