// SPDX-License-Identifier: BSD-3-Clause
#include "nat/carrier.hpp"

#include "ct/wire/headers.hpp"
#include "nat/spin_guard.hpp"
#include "nat/wide.hpp"

#include <algorithm>
#include <bit>
#include <stdexcept>

namespace nat {
namespace {

/// Limits alone say nothing of how many subscribers there are.
constexpr std::uint32_t kSubscribersOfLimits = 1U << 20;
/// Idle subscribers without blocks are forgotten after so many seconds: their budget is full then.
constexpr std::uint32_t kForgetAfter = 120;
/// The whole table is looked over in so many parts of the idle time, or a second.
constexpr std::uint32_t kSweepsPerIdle = 8;
/// Buckets looked at in one go at most.
constexpr std::uint32_t kMostBucketsAtOnce = 4096;
/// A port is counted on up to here; further connections find another.
constexpr std::uint16_t kMostUses = 0xffff;

/// TCP, UDP (and UDP-Lite), ICMP, others.
[[nodiscard]] std::size_t kind_of(std::uint8_t proto) noexcept {
    if (proto == ct::ipproto::kTcp) return 0;
    if (proto == ct::ipproto::kUdp || proto == ct::ipproto::kUdplite) return 1;
    return ct::is_icmp(proto) ? 2 : 3;
}

[[nodiscard]] bool counts_ports(std::uint8_t proto) noexcept {
    return has_ports(proto) || ct::is_icmp(proto);
}

/// The external port, or id, of a connection.
[[nodiscard]] std::uint16_t port_of(const ct::Tuple& reply) noexcept {
    return (ct::is_icmp(reply.proto) ? reply.sport : reply.dport).host();
}

[[nodiscard]] std::uint32_t second_of(ct::Nanos now) noexcept {
    return static_cast<std::uint32_t>(now / ct::kNanosPerSecond);
}

[[nodiscard]] std::optional<Deterministic> plan_of(const CarrierSettings& s) {
    if (const std::string why = Carrier::fault(s); !why.empty()) throw std::invalid_argument{why};
    if (!s.deterministic) return std::nullopt;
    return Deterministic{*s.deterministic};
}

[[nodiscard]] std::unique_ptr<BlockPool> pool_of(const CarrierSettings& s,
                                                 const std::optional<Deterministic>& d) {
    if (!s.blocks) return nullptr;
    return std::make_unique<BlockPool>(s.outside, d ? *d->overflow() : s.ports, s.blocks->size);
}

[[nodiscard]] std::uint32_t record_count(const std::optional<Deterministic>& d,
                                         const BlockPool* pool) noexcept {
    if (d) return d->subscribers();
    if (pool == nullptr) return kSubscribersOfLimits;
    // Each has a block, but for those who have had one lately, or who use protocols without ports.
    return std::min(pool->total() + pool->total() / 4 + 16, Carrier::kMostSubscribers);
}

}  // namespace

std::string Carrier::fault(const CarrierSettings& s) {
    if (s.own_address)
        return s.blocks || s.deterministic || s.limits.ports != 0
                   ? "the addresses of a port may change, so there are no ports to be given"
                   : "";
    const std::uint32_t addresses = s.outside.count();
    if (addresses == 0 || addresses > kMostAddresses)
        return "it has no external addresses, or more than " + std::to_string(kMostAddresses);
    if (s.ports.first > s.ports.last) return "it has no external ports";
    PortRange for_blocks = s.ports;
    if (s.deterministic) {
        if (s.deterministic->outside != s.outside || s.deterministic->ports != s.ports)
            return "its shares are of other addresses or ports";
        if (std::string why = Deterministic::fault(*s.deterministic); !why.empty()) return why;
        const auto overflow = Deterministic{*s.deterministic}.overflow();
        if (s.blocks && !overflow) return "the shares leave no ports for blocks";
        if (overflow) for_blocks = *overflow;
    }
    if (!s.blocks)
        return s.limits.ports != 0 && !s.deterministic ? "a limit of ports needs blocks or shares"
                                                       : "";
    const BlockSettings& b = *s.blocks;
    if (b.size == 0 || b.size > for_blocks.count())
        return "a block has " + std::to_string(b.size) + " ports, and an address has " +
               std::to_string(for_blocks.count()) + " for blocks";
    if (b.most == 0 || b.most > kMostBlocks) return "a subscriber has 1 to 15 blocks";
    return "";
}

Carrier::Carrier(const CarrierSettings& settings, std::uint16_t index, BlockLog* log,
                 std::uint64_t seed)
    : settings_{settings},
      index_{index},
      log_{log},
      deterministic_{plan_of(settings)},
      pool_{pool_of(settings, deterministic_)},
      key_{seed == 0 ? ct::HashKey::random() : ct::HashKey::from_seed(seed)},
      address_key_{ct::HashKey::from_seed(1)},
      most_records_{record_count(deterministic_, pool_.get())},
      bucket_count_{std::bit_ceil(std::max(most_records_, 2U))},
      buckets_{sizeof(Bucket) * bucket_count_, ct::Region::Touch::Lazily, ct::Pages::Normal},
      records_{sizeof(Record) * most_records_, ct::Region::Touch::Lazily, ct::Pages::Normal},
      counts_{gives_ports() ? sizeof(std::uint16_t) * kKinds * settings.outside.count() *
                                  settings.ports.count()
                            : sizeof(std::uint16_t),
              ct::Region::Touch::Lazily, ct::Pages::Normal},
      draws_{seed == 0 ? ct::hash(key_, {}) : seed} {}

bool Carrier::masquerades(const ct::Tuple& original) const noexcept {
    const auto& inside = settings_.inside;
    return settings_.own_address &&
           (inside.empty() || std::any_of(inside.begin(), inside.end(), [&](const Prefix& p) {
                return p.contains(original.family, original.src);
            }));
}

std::uint64_t Carrier::draw() noexcept {
    const std::uint64_t n = draws_.fetch_add(0x9e37'79b9'7f4a'7c15U, std::memory_order_relaxed);
    ct::Tuple t;
    t.family = ct::Family::Ipv4;
    t.sport = ct::Be16::from_raw(static_cast<std::uint16_t>(n));
    t.src = ct::Addr::v4(ct::Be32::from_raw(static_cast<std::uint32_t>(n >> 32U)));
    return scramble(ct::hash(key_, t) + n);
}

/// The counts from `port` on.
std::atomic<std::uint16_t>* Carrier::counts_row(std::uint32_t address, std::size_t kind,
                                                std::uint16_t port) const noexcept {
    const std::uint64_t row = std::uint64_t{address} * kKinds + kind;
    const std::uint64_t at = row * settings_.ports.count() + port - settings_.ports.first;
    return counts_.as<std::atomic<std::uint16_t>>() + at;
}

std::atomic<std::uint16_t>& Carrier::count_of(std::uint32_t address, std::uint8_t proto,
                                              std::uint16_t port) const noexcept {
    return *counts_row(address, kind_of(proto), port);
}

void Carrier::identify(const ct::Tuple& original, Grant& out) const noexcept {
    const bool six = original.family == ct::Family::Ipv6;
    out.source = ct::first_bits(original.src, six ? settings_.ipv6_prefix : std::uint8_t{32});
    out.family = original.family;
    out.zone = original.zone;
    ct::Tuple t;
    t.src = out.source;
    t.family = out.family;
    t.zone = out.zone;
    out.bucket = static_cast<std::uint32_t>(ct::hash(key_, t)) & (bucket_count_ - 1);
}

Carrier::Record* Carrier::find(const Grant& who) const noexcept {
    std::uint32_t link = bucket(who.bucket).head.load(std::memory_order_relaxed);
    for (; link != 0; link = record(link).next) {
        Record& r = record(link);
        if (r.source == who.source && r.family == who.family && r.zone == who.zone) return &r;
    }
    return nullptr;
}

/// Links a new record. Null if there is none left.
Carrier::Record* Carrier::make_record(const Grant& who, ct::Nanos now) noexcept {
    std::uint32_t link = 0;
    {
        const SpinGuard guard{free_lock_};
        if (free_ != 0) {
            link = free_;
            free_ = record(link).next;
        } else if (unused_ < most_records_) {
            link = ++unused_;
        }
    }
    if (link == 0) return nullptr;
    subscribers_.fetch_add(1, std::memory_order_relaxed);
    Record& r = record(link);
    r = Record{};
    r.source = who.source;
    r.family = who.family;
    r.zone = who.zone;
    r.idle_second = second_of(now);
    if (deterministic_) {
        if (const auto share = deterministic_->share_of(who.family, who.source))
            r.address = share->address;
    } else if (!settings_.own_address) {
        ct::Tuple t;
        t.src = who.source;
        t.family = who.family;
        t.zone = who.zone;
        r.address = static_cast<std::uint32_t>(ct::hash(address_key_, t) >> 32U) %
                    settings_.outside.count();
    }
    std::atomic<std::uint32_t>& head = bucket(who.bucket).head;
    r.next = head.load(std::memory_order_relaxed);
    head.store(link, std::memory_order_relaxed);
    return &r;
}

void Carrier::drop_record(std::uint32_t b, Record& r) noexcept {
    const auto own = static_cast<std::uint32_t>(&r - records_.as<Record>()) + 1;
    std::atomic<std::uint32_t>& head = bucket(b).head;
    if (head.load(std::memory_order_relaxed) == own) {
        head.store(r.next, std::memory_order_relaxed);
    } else {
        std::uint32_t link = head.load(std::memory_order_relaxed);
        while (record(link).next != own) link = record(link).next;
        record(link).next = r.next;
    }
    const SpinGuard guard{free_lock_};
    r.next = free_;
    free_ = own;
    subscribers_.fetch_sub(1, std::memory_order_relaxed);
}

/// A budget that grows by one connection each interval, up to the burst; what is kept is when it
/// will be full.
bool Carrier::may_open_now(Record& r, ct::Nanos now) const noexcept {
    const SubscriberLimits& limits = settings_.limits;
    if (limits.new_per_second == 0) return true;
    const ct::Nanos interval = ct::kNanosPerSecond / limits.new_per_second;
    const std::uint32_t burst = limits.burst != 0 ? limits.burst : limits.new_per_second;
    const ct::Nanos full_at = std::max(r.full_at, now);
    if (full_at - now > (burst - 1) * interval) return false;
    r.full_at = full_at + interval;
    return true;
}

BlockEvent Carrier::event_of(const Record& r, std::uint32_t block, BlockEvent::Kind kind,
                             ct::Nanos now) const noexcept {
    BlockEvent e;
    e.when = now;
    e.inside = subscriber_of(r);
    e.zone = r.zone;
    e.outside_family = settings_.outside.family;
    e.outside = settings_.outside.at(pool_->address_of(block));
    e.ports = pool_->ports_of(block);
    e.kind = kind;
    e.carrier = index_;
    return e;
}

ct::Drop Carrier::assign_block(ct::WorkerId w, Record& r, ct::Nanos now) noexcept {
    if (pool_ == nullptr || r.slots >= settings_.blocks->most) return ct::Drop::NatBlockLimit;
    const auto block = has_address(r) && settings_.paired ? pool_->take(r.address, draw())
                                                          : pool_->take_from(r.address, draw());
    return block ? hand_over(w, r, *block, now) : ct::Drop::NatNoBlock;
}

/// Gives the subscriber a block that was taken for him.
ct::Drop Carrier::hand_over(ct::WorkerId w, Record& r, std::uint32_t block,
                            ct::Nanos now) noexcept {
    if (log_ != nullptr && !log_->push(w, event_of(r, block, BlockEvent::Kind::Assigned, now))) {
        pool_->give_back(block);
        return ct::Drop::NatBlockLog;
    }
    // A subscriber's first block says where he is, if nothing did before.
    if (!has_address(r)) r.address = pool_->address_of(block);
    r.slot[r.slots++] = {block, 0, second_of(now)};
    return ct::Drop::None;
}

void Carrier::list_ranges(const Record& r, Grant& out) const noexcept {
    out.count = 0;
    if (deterministic_)
        if (const auto share = deterministic_->share_of(r.family, r.source))
            out.ranges[out.count++] = {Grant::kShare, share->address, share->ports};
    for (std::size_t i = 0; i < r.slots; ++i) {
        const std::uint32_t block = r.slot[i].block;
        out.ranges[out.count++] = {block, pool_->address_of(block), pool_->ports_of(block)};
    }
}

ct::Drop Carrier::admit(ct::WorkerId w, const ct::Tuple& original, ct::Nanos now,
                        Grant& out) noexcept {
    identify(original, out);
    const SpinGuard guard{bucket(out.bucket).lock};
    Record* r = find(out);
    const bool is_new = r == nullptr;
    if (is_new) r = make_record(out, now);
    if (r == nullptr) return ct::Drop::NatSubscriberLimit;
    const SubscriberLimits& limits = settings_.limits;
    if (limits.connections != 0 && r->connections >= limits.connections)
        return ct::Drop::NatConnectionLimit;
    if (!may_open_now(*r, now)) return ct::Drop::NatRateLimit;
    if (!deterministic_ && pool_ != nullptr && r->slots == 0)
        if (const ct::Drop refused = assign_block(w, *r, now); refused != ct::Drop::None) {
            if (is_new) drop_record(out.bucket, *r);
            return refused;
        }
    list_ranges(*r, out);
    return ct::Drop::None;
}

bool Carrier::look_up(const ct::Tuple& original, Grant& out) const noexcept {
    identify(original, out);
    const SpinGuard guard{bucket(out.bucket).lock};
    const Record* r = find(out);
    if (r != nullptr) list_ranges(*r, out);
    return r != nullptr;
}

ct::Drop Carrier::extend(ct::WorkerId w, Grant& grant, ct::Nanos now) noexcept {
    const SpinGuard guard{bucket(grant.bucket).lock};
    Record* r = find(grant);
    if (r == nullptr) return ct::Drop::NatNoBlock;
    const ct::Drop refused = assign_block(w, *r, now);
    list_ranges(*r, grant);
    return refused;
}

std::uint32_t Carrier::uses(const Grant::Range& range, std::uint8_t proto,
                            std::uint16_t port) const noexcept {
    return count_of(range.address, proto, port).load(std::memory_order_relaxed);
}

Carrier::Slot* Carrier::slot_of(Record& r, std::uint32_t block) const noexcept {
    for (std::size_t i = 0; i < r.slots; ++i)
        if (r.slot[i].block == block) return &r.slot[i];
    return nullptr;
}

Carrier::Taken Carrier::take(const Grant& grant, const Grant::Range& range, std::uint8_t proto,
                             std::uint16_t port, Use use) noexcept {
    const SpinGuard guard{bucket(grant.bucket).lock};
    Record* r = find(grant);
    if (r == nullptr) return Taken::Gone;
    Slot* slot = nullptr;
    if (grant.count != 0 && range.block != Grant::kShare) {
        slot = slot_of(*r, range.block);
        if (slot == nullptr) return Taken::Gone;
    }
    if (grant.count != 0 && counts_ports(proto))
        if (const Taken refused =
                count_port(*r, slot, count_of(range.address, proto, port), proto, use);
            refused != Taken::Done)
            return refused;
    ++r->connections;
    return Taken::Done;
}

/// Counts one more connection on a port. `slot`: of the block that it is in, if it is in one.
Carrier::Taken Carrier::count_port(Record& r, Slot* slot, std::atomic<std::uint16_t>& count,
                                   std::uint8_t proto, Use use) noexcept {
    const std::uint16_t used = count.load(std::memory_order_relaxed);
    if ((used != 0 && use == Use::Alone) || used == kMostUses) return Taken::Used;
    std::uint32_t& ports = r.ports[kind_of(proto)];
    if (used == 0) {
        if (settings_.limits.ports != 0 && ports >= settings_.limits.ports) return Taken::PortLimit;
        ++ports;
    }
    count.store(static_cast<std::uint16_t>(used + 1), std::memory_order_relaxed);
    if (slot != nullptr) ++slot->users;
    return Taken::Done;
}

ct::Drop Carrier::adopt(ct::WorkerId w, const ct::Tuple& original, const ct::Tuple& reply, Use use,
                        ct::Nanos now) noexcept {
    Grant who;
    identify(original, who);
    const SpinGuard guard{bucket(who.bucket).lock};
    Record* r = find(who);
    const bool is_new = r == nullptr;
    if (is_new) r = make_record(who, now);
    if (r == nullptr) return ct::Drop::NatSubscriberLimit;
    const ct::Drop refused = adopt_for(w, *r, reply, use, now);
    if (refused != ct::Drop::None && is_new) drop_record(who.bucket, *r);
    return refused;
}

/// adopt() for the subscriber with this record. One who is refused is given no block.
ct::Drop Carrier::adopt_for(ct::WorkerId w, Record& r, const ct::Tuple& reply, Use use,
                            ct::Nanos now) noexcept {
    const SubscriberLimits& limits = settings_.limits;
    if (limits.connections != 0 && r.connections >= limits.connections)
        return ct::Drop::NatConnectionLimit;
    const auto address = settings_.outside.index_of(reply.family, reply.dst);
    if (!address && !settings_.own_address) return ct::Drop::NatNoPort;
    if (!gives_ports()) {
        ++r.connections;
        return ct::Drop::None;
    }
    if (!counts_ports(reply.proto)) {
        if (!has_address(r)) {
            const auto block = pool_->take(*address, draw());
            if (!block) return ct::Drop::NatNoPort;
            if (const ct::Drop refused = hand_over(w, r, *block, now); refused != ct::Drop::None)
                return refused;
        }
        if (!is_at(r, *address)) return ct::Drop::NatNoPort;
        ++r.connections;
        return ct::Drop::None;
    }
    const std::uint16_t port = port_of(reply);
    if (!settings_.ports.contains(port)) return ct::Drop::NatNoPort;
    std::atomic<std::uint16_t>& count = count_of(*address, reply.proto, port);
    const std::optional<Share> share =
        deterministic_ ? deterministic_->share_of(r.family, r.source) : std::nullopt;
    if (share && share->address == *address && share->ports.contains(port)) {
        const Taken taken = count_port(r, nullptr, count, reply.proto, use);
        if (taken == Taken::Done) ++r.connections;
        return taken == Taken::Done        ? ct::Drop::None
               : taken == Taken::PortLimit ? ct::Drop::NatPortLimit
                                           : ct::Drop::NatNoPort;
    }
    const auto block = pool_ != nullptr ? pool_->block_at(*address, port) : std::nullopt;
    if (!block) return ct::Drop::NatNoPort;
    Slot* slot = slot_of(r, *block);
    const bool unused = count.load(std::memory_order_relaxed) == 0;
    if (unused && limits.ports != 0 && r.ports[kind_of(reply.proto)] >= limits.ports)
        return ct::Drop::NatPortLimit;
    if (slot == nullptr) {
        if (has_address(r) && settings_.paired && *address != r.address) return ct::Drop::NatNoPort;
        if (r.slots >= settings_.blocks->most) return ct::Drop::NatBlockLimit;
        if (!pool_->take_block(*block)) return ct::Drop::NatNoPort;
        if (const ct::Drop refused = hand_over(w, r, *block, now); refused != ct::Drop::None)
            return refused;
        slot = slot_of(r, *block);
    }
    if (count_port(r, slot, count, reply.proto, use) != Taken::Done) return ct::Drop::NatNoPort;
    ++r.connections;
    return ct::Drop::None;
}

/// True if the subscriber has something of external address number `address`.
bool Carrier::is_at(const Record& r, std::uint32_t address) const noexcept {
    Grant grant;
    list_ranges(r, grant);
    return std::any_of(grant.ranges.begin(),
                       grant.ranges.begin() + static_cast<std::ptrdiff_t>(grant.count),
                       [&](const Grant::Range& range) { return range.address == address; });
}

void Carrier::release(const ct::Tuple& original, const ct::Tuple& reply, ct::Nanos now) noexcept {
    Grant who;
    identify(original, who);
    const SpinGuard guard{bucket(who.bucket).lock};
    Record* r = find(who);
    if (r == nullptr || r->connections == 0) return;
    --r->connections;
    r->idle_second = second_of(now);
    const std::uint16_t port = port_of(reply);
    const auto address = settings_.outside.index_of(reply.family, reply.dst);
    const bool tells_port = gives_ports() && counts_ports(reply.proto);
    if (!tells_port || !address || !settings_.ports.contains(port)) return;
    std::atomic<std::uint16_t>& count = count_of(*address, reply.proto, port);
    const std::uint16_t used = count.load(std::memory_order_relaxed);
    if (used == 0) return;
    count.store(static_cast<std::uint16_t>(used - 1), std::memory_order_relaxed);
    if (used == 1) --r->ports[kind_of(reply.proto)];
    for (std::size_t i = 0; i < r->slots; ++i) {
        Slot& slot = r->slot[i];
        if (pool_->address_of(slot.block) != *address ||
            !pool_->ports_of(slot.block).contains(port))
            continue;
        if (--slot.users == 0) slot.idle_second = second_of(now);
    }
}

bool Carrier::idle_for_long(std::uint32_t since, std::uint32_t second) const noexcept {
    const std::uint32_t idle_s = settings_.blocks ? settings_.blocks->idle_s : kForgetAfter;
    return second - since >= idle_s && second >= since;
}

void Carrier::expire_bucket(ct::WorkerId w, std::uint32_t b, std::uint32_t second,
                            ct::Nanos now) noexcept {
    if (bucket(b).head.load(std::memory_order_relaxed) == 0) return;
    const SpinGuard guard{bucket(b).lock};
    std::uint32_t link = bucket(b).head.load(std::memory_order_relaxed);
    while (link != 0) {
        Record& r = record(link);
        link = r.next;
        for (std::size_t i = 0; i < r.slots;) {
            const Slot slot = r.slot[i];
            const bool due = slot.users == 0 && idle_for_long(slot.idle_second, second);
            if (!due ||
                (log_ != nullptr &&
                 !log_->push(w, event_of(r, slot.block, BlockEvent::Kind::Released, now)))) {
                ++i;
                continue;
            }
            r.slot[i] = r.slot[--r.slots];
            pool_->give_back(slot.block);
        }
        if (r.slots == 0 && r.connections == 0 && idle_for_long(r.idle_second, second))
            drop_record(b, r);
    }
}

void Carrier::expire(ct::WorkerId w, ct::Nanos now) noexcept {
    if (swept_ == 0 || now < swept_) swept_ = now;
    const std::uint32_t idle_s = settings_.blocks ? settings_.blocks->idle_s : kForgetAfter;
    const std::uint64_t period_us =
        std::max<std::uint64_t>(idle_s * std::uint64_t{1'000'000} / kSweepsPerIdle, 1'000'000);
    const std::uint64_t due = bucket_count_ * ((now - swept_) / 1000) / period_us;
    if (due == 0) return;
    swept_ = now;
    const auto count = static_cast<std::uint32_t>(std::min<std::uint64_t>(due, kMostBucketsAtOnce));
    const std::uint32_t second = second_of(now);
    for (std::uint32_t i = 0; i < count; ++i) {
        expire_bucket(w, sweep_at_, second, now);
        sweep_at_ = sweep_at_ + 1 < bucket_count_ ? sweep_at_ + 1 : 0;
    }
}

void Carrier::expire_all(ct::WorkerId w, ct::Nanos now) noexcept {
    for (std::uint32_t b = 0; b < bucket_count_; ++b) expire_bucket(w, b, second_of(now), now);
}

}  // namespace nat
