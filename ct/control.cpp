// SPDX-License-Identifier: BSD-3-Clause
//
// The control path: everything that is not a packet. Control acts as one worker more, under a
// mutex; what it does to an entry it does as any worker would.
#include "ct/conntrack_impl.hpp"

#include <algorithm>
#include <bit>
#include <stdexcept>
#include <unordered_map>

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
    if (s.max == 0 || s.max > Ref::kIndexMask)
        throw std::invalid_argument("conntrack max must be 1 to 2^30 - 1");
    if (workers == 0 || workers >= kMaxWorkers)
        throw std::invalid_argument("conntrack serves 1 to 63 workers");
    if (s.embryonic_percent == 0 || s.embryonic_percent > 100)
        throw std::invalid_argument("embryonic_percent must be 1 to 100");
    return s;
}

/// A mix that is not invertible by eye: ids say nothing about the order of entries.
std::uint32_t id_of(ConnHandle h) noexcept {
    std::uint64_t x = h.index | std::uint64_t{h.generation} << 32;
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
    return o;
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
    return *this;
}

Conntrack::Impl::Impl(const Settings& s, WorkerId packet_workers, std::uint64_t seed)
    : settings{checked(s, packet_workers)},
      key{seed == 0 ? HashKey::random() : HashKey::from_seed(seed)},
      pool{s.max, packet_workers + 1, Pages::Huge1G},
      index{log2_buckets_for(s.max), Pages::Huge1G},
      worker_count{packet_workers} {
    // One more for control. It opens nothing, so its ring of young entries stays empty.
    // Room for every entry there can be, and half as much for stale records: see push_young().
    const std::size_t young = std::size_t{s.max} + s.max / 2 + Pool::kBatch;
    for (WorkerId w = 0; w <= packet_workers; ++w)
        workers.push_back(std::make_unique<Worker>(w < packet_workers ? young : 1, kEventCapacity));
}

Conntrack::Conntrack(const Settings& settings, WorkerId workers, std::uint64_t hash_seed)
    : impl_{std::make_unique<Impl>(settings, workers, hash_seed)} {}

Conntrack::~Conntrack() = default;

const Settings& Conntrack::settings() const noexcept {
    return impl_->settings;
}
std::uint32_t Conntrack::capacity() const noexcept {
    return impl_->pool.capacity();
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
    for (const auto& w : d.workers) rings += w->young.bytes();
    return {name_of(std::max(d.pool.pages(), d.index.pages())),
            d.pool.bytes() + d.index.bytes() + rings};
}

void Conntrack::Impl::fill_snapshot(std::uint32_t i, const EntryCopy& e, Ticks now, Snapshot& out,
                                    std::uint8_t at) const noexcept {
    out.original = e.original;
    out.reply = e.reply;
    out.state = e.meta.state();
    out.handle = {i, e.meta.generation()};
    out.id = id_of(out.handle);
    out.mark = e.mark;
    const std::int32_t left = ticks_between(now, e.meta.deadline());
    out.timeout_s = left > 0 ? static_cast<std::uint32_t>(left) / kTicksPerSecond : 0;
    out.status = status_of(e.meta, e.fixed_bits);

    const bool books = (e.fixed_bits & fixed::kBooks) != 0;
    out.has_counters = settings.acct && books;
    out.has_timestamp = settings.timestamp && books;
    out.start = 0;
    out.stop = 0;
    if (!books) return;
    if (!lock_side(out.handle, at)) return;
    const SideLines& s = pool.side(i);
    out.packets = s.packets;
    out.bytes = s.bytes;
    out.start = s.start_ns;
    unlock_side(i);
}

bool Conntrack::snapshot(std::uint32_t i, Nanos now, Snapshot& out) const noexcept {
    const Impl& d = *impl_;
    const Ticks ticks = to_ticks(now);
    EntryCopy e;
    const auto live = [&](const Meta& m) {
        return m.life() == life::kLinked && ticks_between(ticks, m.deadline()) > 0;
    };
    if (!d.read(i, e, live)) return false;
    d.fill_snapshot(i, e, ticks, out);
    return true;
}

void Conntrack::Impl::emit(WorkerId w, EventType type, std::uint32_t i, Nanos now,
                           Tells tells) noexcept {
    EntryCopy e;
    if (!read(i, e, [](const Meta& m) { return m.life() != life::kFree; })) return;
    Event event;
    event.type = type;
    event.when = now;
    const bool ends = type == EventType::Destroy;
    fill_snapshot(i, e, to_ticks(now), event.conn, ends ? life::kDying : life::kLinked);
    if (ends) event.conn.stop = now;
    if (tells == Tells::Rest) event.conn.state = 0;
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

bool Conntrack::erase(ConnHandle h, Nanos now) {
    const std::lock_guard guard{impl_->control_mutex};
    return impl_->end(impl_->worker_count, h, End::Deleted, true, now);
}

bool Conntrack::set_mark(ConnHandle h, std::uint32_t mark, Nanos now) {
    const std::lock_guard guard{impl_->control_mutex};
    HotLine& hot = impl_->pool.hot(h.index);
    const Meta m{hot.meta.load(std::memory_order_acquire)};
    if (m.generation() != h.generation || m.life() != life::kLinked) return false;
    hot.mark.store(mark, std::memory_order_release);
    if (impl_->listening())
        impl_->emit(impl_->worker_count, EventType::Update, h.index, now, Impl::Tells::Rest);
    return true;
}

std::uint32_t Conntrack::flush(Nanos now) {
    std::uint32_t ended = 0;
    for (std::uint32_t i = 0; i < capacity(); ++i) {
        const Meta m{impl_->pool.hot(i).meta.load(std::memory_order_acquire)};
        if (m.life() == life::kLinked && erase({i, m.generation()}, now)) ++ended;
    }
    return ended;
}

std::uint32_t Conntrack::flush_port(PortId out_port, Nanos now) {
    std::uint32_t ended = 0;
    for (std::uint32_t i = 0; i < capacity(); ++i) {
        const HotLine& h = impl_->pool.hot(i);
        const Meta m{h.meta.load(std::memory_order_acquire)};
        if (m.life() != life::kLinked) continue;
        if (h.out_port.load(std::memory_order_acquire) != out_port) continue;
        if (erase({i, m.generation()}, now)) ++ended;
    }
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

std::uint64_t Conntrack::lost_events() const noexcept {
    std::uint64_t lost = 0;
    for (const auto& w : impl_->workers) lost += w->events.lost();
    return lost;
}

std::string Conntrack::check_invariants() const {
    const Impl& d = *impl_;
    const auto at = [](std::uint32_t i) { return " (entry " + std::to_string(i) + ")"; };
    std::uint32_t linked = 0;
    std::uint64_t slots_due = 0;
    std::int64_t embryonic = 0;
    std::unordered_map<std::uint64_t, std::vector<Tuple>> seen;
    const auto unique = [&](const Tuple& t) {
        std::vector<Tuple>& same_hash = seen[hash(d.key, t)];
        const bool fresh = std::find(same_hash.begin(), same_hash.end(), t) == same_hash.end();
        same_hash.push_back(t);
        return fresh;
    };
    const auto slots_of = [&](std::uint32_t i, const Meta& m, std::uint32_t bucket) {
        unsigned n = 0;
        d.index.visit(bucket, [&](std::uint16_t, Ref r, bool, std::uint8_t) {
            if (r == Ref::make(i, m.generation())) ++n;
        });
        return n;
    };

    for (std::uint32_t i = 0; i < d.pool.capacity(); ++i) {
        EntryCopy e;
        if (!d.read(i, e, [](const Meta& m) { return m.life() != life::kFree; })) continue;
        if (e.meta.life() != life::kLinked) return "I1: neither free nor linked at rest" + at(i);
        ++linked;
        if (!e.meta.assured()) ++embryonic;
        const bool mirror = (e.fixed_bits & fixed::kMirror) != 0;
        const HotLine& h = d.pool.hot(i);
        const std::uint32_t b1 = h.original_bucket.load();
        const std::uint32_t b2 = h.reply_bucket.load();
        slots_due += mirror ? 1 : 2;
        const unsigned expected = !mirror && b1 == b2 ? 2 : 1;
        if (slots_of(i, e.meta, b1) != expected)
            return "I2: not one slot under the original tuple" + at(i);
        if (!mirror && slots_of(i, e.meta, b2) != expected)
            return "I2: not one slot under the reply tuple" + at(i);
        if (mirror != (e.reply == reply_of(e.original)))
            return "I2: mirror bit contradicts the tuples" + at(i);
        if (!unique(e.original) || !unique(e.reply)) return "I3: a tuple is held twice" + at(i);
    }
    std::uint64_t slots = 0;
    for (std::uint32_t b = 0; b < 1U << d.index.log2_buckets(); ++b)
        d.index.visit(b, [&](std::uint16_t, Ref, bool, std::uint8_t) { ++slots; });
    if (slots != slots_due)
        return "I1: " + std::to_string(slots) + " slots for " + std::to_string(slots_due) + " due";
    if (linked != d.pool.in_use())
        return "I8: " + std::to_string(linked) + " linked, " + std::to_string(d.pool.in_use()) +
               " in use";
    std::int64_t counted = 0;
    for (const auto& w : d.workers) counted += w->embryonic.load();
    if (counted != embryonic)
        return "I8: embryonic count " + std::to_string(counted) + ", are " +
               std::to_string(embryonic);
    if (counters().assured_evicted != 0) return "I5: an assured entry was evicted";
    return {};
}

}  // namespace ct
