// SPDX-License-Identifier: BSD-3-Clause
#include "nat/mappings.hpp"

#include <algorithm>
#include <bit>

namespace nat {
namespace {

constexpr unsigned kMinLog2Chains = 8;
/// Records of a connection, at most: the mappings of its two ends, and what each permits.
constexpr std::uint32_t kRecordsEach = 4;

}  // namespace

Mappings::Mappings(std::uint32_t connections, ct::WorkerId users, const ct::HashKey& key)
    : key_{key},
      log2_chains_{
          std::max<unsigned>(kMinLog2Chains, std::bit_width(std::max(connections, 2U) - 1))},
      // What stands free with one user is not to be had by another.
      capacity_{1 + std::min(connections, (kLocked - 1) / (2 * kRecordsEach)) * kRecordsEach +
                users * 2 * kBatch},
      inside_{sizeof(std::atomic<std::uint32_t>) << log2_chains_, ct::Region::Touch::Lazily,
              ct::Pages::Transparent},
      external_{sizeof(std::atomic<std::uint32_t>) << log2_chains_, ct::Region::Touch::Lazily,
                ct::Pages::Transparent},
      records_{capacity_ * sizeof(Record), ct::Region::Touch::Lazily, ct::Pages::Transparent},
      users_(users) {}

Mappings::Chain::Chain(std::atomic<std::uint32_t>& head) noexcept : head_{head} {
    for (;;) {
        std::uint32_t seen = head_.load(std::memory_order_relaxed);
        if ((seen & kLocked) == 0 &&
            head_.compare_exchange_weak(seen, seen | kLocked, std::memory_order_acquire,
                                        std::memory_order_relaxed)) {
            first = seen;
            return;
        }
        ct::spin_pause();
    }
}

std::atomic<std::uint32_t>& Mappings::by_inside(const Endpoint& e) const noexcept {
    ct::Tuple t;
    t.src = e.addr;
    t.sport = e.port;
    t.zone = e.zone;
    t.proto = e.proto;
    t.family = e.family;
    return inside_.as<std::atomic<std::uint32_t>>()[ct::hash(key_, t) >> (64 - log2_chains_)];
}

std::atomic<std::uint32_t>& Mappings::by_permit(const Endpoint& e,
                                                const ct::Addr& remote) const noexcept {
    ct::Tuple t;
    t.src = e.addr;
    t.dst = remote;
    t.sport = e.port;
    t.proto = e.proto;
    t.family = e.family;
    return external_.as<std::atomic<std::uint32_t>>()[ct::hash(key_, t) >> (64 - log2_chains_)];
}

std::atomic<std::uint32_t>& Mappings::by_external(const Endpoint& e) const noexcept {
    return by_permit(e, {});
}

std::uint32_t Mappings::take(ct::WorkerId w) noexcept {
    User& u = users_[w];
    if (u.count == 0) {
        while (stack_locked_.exchange(true, std::memory_order_acquire)) ct::spin_pause();
        while (u.count < kBatch && free_ != kNone) {
            u.free[u.count++] = free_;
            free_ = record(free_).next_inside;
        }
        while (u.count < kBatch && fresh_ < capacity_) u.free[u.count++] = fresh_++;
        stack_locked_.store(false, std::memory_order_release);
        if (u.count == 0) return kNone;
    }
    return u.free[--u.count];
}

void Mappings::give(ct::WorkerId w, std::uint32_t i) noexcept {
    User& u = users_[w];
    if (u.count == u.free.size()) {
        while (stack_locked_.exchange(true, std::memory_order_acquire)) ct::spin_pause();
        while (u.count > kBatch) {
            const std::uint32_t freed = u.free[--u.count];
            record(freed).next_inside = free_;
            free_ = freed;
        }
        stack_locked_.store(false, std::memory_order_release);
    }
    u.free[u.count++] = i;
}

void Mappings::count_in(ct::WorkerId w, Kind kind, std::int64_t by) noexcept {
    const auto add = [by](std::atomic<std::int64_t>& n) noexcept {
        n.store(n.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
    };
    add(users_[w].records);
    if (kind == Kind::Mapping) add(users_[w].mappings);
}

Endpoint Mappings::external_of(const Record& r) noexcept {
    return {r.external, r.port, 0, r.external_proto, r.external_family};
}

Mappings::Mapping Mappings::copy_of(const Record& r) noexcept {
    return {r.inside, external_of(r), r.out_port, r.rule, r.users.load(std::memory_order_relaxed)};
}

bool Mappings::is(const Record& r, Kind kind, const Endpoint& external) const noexcept {
    return r.kind == kind && r.port == external.port && r.external == external.addr &&
           r.external_proto == external.proto && r.external_family == external.family;
}

/// Of a share there is no inside endpoint, and of a permit it has no more than the remote address.
void Mappings::write(std::uint32_t i, Kind kind, const Endpoint& inside, const Endpoint& external,
                     const Making& making) noexcept {
    Record& r = record(i);
    r.inside = inside;
    r.external = external.addr;
    r.port = external.port;
    r.external_proto = external.proto;
    r.external_family = external.family;
    r.users.store(1, std::memory_order_relaxed);
    r.next_inside = kNone;
    r.out_port = making.out_port;
    r.rule = making.rule;
    r.kind = kind;
}

void Mappings::unlink(std::uint32_t& first, std::uint32_t i, std::uint32_t Record::*next,
                      Record* records) noexcept {
    std::uint32_t* link = &first;
    while (*link != i) link = &(records[*link].*next);
    *link = records[i].*next;
}

std::uint32_t Mappings::in_external(std::uint32_t first, Kind kind,
                                    const Endpoint& external) const noexcept {
    std::uint32_t i = first;
    while (i != kNone && !is(record(i), kind, external)) i = record(i).next_external;
    return i;
}

std::optional<Mappings::Mapping> Mappings::find(const Endpoint& external) const noexcept {
    const Chain chain{by_external(external)};
    const std::uint32_t i = in_external(chain.first, Kind::Mapping, external);
    if (i == kNone) return std::nullopt;
    return copy_of(record(i));
}

bool Mappings::join(const Mapping& mapping) noexcept {
    const Chain chain{by_external(mapping.external)};
    const std::uint32_t i = in_external(chain.first, Kind::Mapping, mapping.external);
    if (i == kNone || !(record(i).inside == mapping.inside)) return false;
    record(i).users.fetch_add(1, std::memory_order_relaxed);
    return true;
}

bool Mappings::permit(ct::WorkerId w, const Endpoint& external, const ct::Addr& remote) noexcept {
    Chain chain{by_permit(external, remote)};
    for (std::uint32_t i = chain.first; i != kNone; i = record(i).next_external)
        if (is(record(i), Kind::Permit, external) && record(i).inside.addr == remote) {
            record(i).users.fetch_add(1, std::memory_order_relaxed);
            return true;
        }
    const std::uint32_t i = take(w);
    if (i == kNone) return false;
    Endpoint address;
    address.addr = remote;
    write(i, Kind::Permit, address, external, {});
    record(i).next_external = chain.first;
    chain.first = i;
    count_in(w, Kind::Permit, 1);
    return true;
}

void Mappings::revoke(ct::WorkerId w, const Endpoint& external, const ct::Addr& remote) noexcept {
    Chain chain{by_permit(external, remote)};
    std::uint32_t i = chain.first;
    while (i != kNone &&
           !(is(record(i), Kind::Permit, external) && record(i).inside.addr == remote))
        i = record(i).next_external;
    if (i == kNone || record(i).users.fetch_sub(1, std::memory_order_relaxed) != 1) return;
    unlink(chain.first, i, &Record::next_external, records_.as<Record>());
    count_in(w, Kind::Permit, -1);
    give(w, i);
}

bool Mappings::permitted(const Endpoint& external, const ct::Addr& remote) const noexcept {
    const Chain chain{by_permit(external, remote)};
    for (std::uint32_t i = chain.first; i != kNone; i = record(i).next_external)
        if (is(record(i), Kind::Permit, external) && record(i).inside.addr == remote) return true;
    return false;
}

std::uint64_t Mappings::count() const noexcept {
    std::int64_t sum = 0;
    for (const User& u : users_) sum += u.mappings.load(std::memory_order_relaxed);
    return static_cast<std::uint64_t>(std::max<std::int64_t>(sum, 0));
}

std::uint64_t Mappings::records() const noexcept {
    std::int64_t sum = 0;
    for (const User& u : users_) sum += u.records.load(std::memory_order_relaxed);
    return static_cast<std::uint64_t>(std::max<std::int64_t>(sum, 0));
}

}  // namespace nat
