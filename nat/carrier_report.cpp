// SPDX-License-Identifier: BSD-3-Clause
//
// What control asks of carrier NAT: who has what, its end, and whether its counts agree.
#include "nat/carrier.hpp"
#include "nat/spin_guard.hpp"

namespace nat {

Prefix Carrier::subscriber_of(const Record& r) const noexcept {
    const bool six = r.family == ct::Family::Ipv6;
    return {r.source, six ? settings_.ipv6_prefix : std::uint8_t{32}, r.family};
}

CarrierTotals Carrier::totals() const noexcept {
    CarrierTotals t;
    t.subscribers = subscribers_.load(std::memory_order_relaxed);
    if (pool_ == nullptr) return t;
    t.blocks = pool_->total();
    t.blocks_in_use = pool_->in_use();
    return t;
}

void Carrier::end(ct::Nanos now, const std::function<void(const BlockEvent&)>& told) {
    for (std::uint32_t b = 0; b < bucket_count_; ++b) {
        if (bucket(b).head.load(std::memory_order_relaxed) == 0) continue;
        const SpinGuard guard{bucket(b).lock};
        std::uint32_t link = bucket(b).head.load(std::memory_order_relaxed);
        for (; link != 0; link = record(link).next) {
            Record& r = record(link);
            for (; r.slots > 0; --r.slots) {
                const std::uint32_t block = r.slot[r.slots - 1U].block;
                told(event_of(r, block, BlockEvent::Kind::Released, now));
                pool_->give_back(block);
            }
        }
    }
}

void Carrier::for_each(const std::function<void(const Holding&)>& told) const {
    for (std::uint32_t b = 0; b < bucket_count_; ++b) {
        if (bucket(b).head.load(std::memory_order_relaxed) == 0) continue;
        const SpinGuard guard{bucket(b).lock};
        std::uint32_t link = bucket(b).head.load(std::memory_order_relaxed);
        for (; link != 0; link = record(link).next) {
            const Record& r = record(link);
            Holding h;
            h.subscriber = subscriber_of(r);
            h.zone = r.zone;
            if (!settings_.own_address) h.outside = settings_.outside.at(r.address);
            h.connections = r.connections;
            h.ports = r.ports;
            Grant grant;
            list_ranges(r, grant);
            for (std::size_t i = 0; i < grant.count; ++i) h.ranges[i] = grant.ranges[i].ports;
            h.range_count = grant.count;
            told(h);
        }
    }
}

/// What is wrong with one subscriber's counts; empty if nothing is.
std::string Carrier::check_record(const Record& r) const {
    Grant grant;
    list_ranges(r, grant);
    std::array<std::uint32_t, kKinds> in_use{};
    std::uint64_t connections = 0;
    for (std::size_t i = 0; i < grant.count; ++i) {
        const Grant::Range& range = grant.ranges[i];
        std::uint32_t users = 0;
        for (std::size_t kind = 0; kind < kKinds; ++kind)
            for (std::uint32_t n = 0; n < range.ports.count(); ++n) {
                const std::uint32_t uses = counts_row(range.address, kind, range.ports.first)[n];
                users += uses;
                if (uses != 0) ++in_use[kind];
            }
        connections += users;
        if (range.block == Grant::kShare) continue;
        for (std::size_t s = 0; s < r.slots; ++s)
            if (r.slot[s].block == range.block && r.slot[s].users != users)
                return "a block's count of connections is not that of its ports";
    }
    if (in_use != r.ports) return "a subscriber's count of ports is not that of his ranges";
    if (connections > r.connections) return "a subscriber has more ports than connections";
    return {};
}

std::string Carrier::check() const {
    std::uint64_t records = 0;
    std::uint64_t blocks = 0;
    for (std::uint32_t b = 0; b < bucket_count_; ++b) {
        std::uint32_t link = bucket(b).head.load(std::memory_order_acquire);
        for (; link != 0; link = record(link).next) {
            ++records;
            blocks += record(link).slots;
            if (std::string wrong = check_record(record(link)); !wrong.empty()) return wrong;
        }
    }
    if (records != subscribers_.load()) return "the number of subscribers is wrong";
    if (pool_ != nullptr && blocks != pool_->in_use()) return "the number of blocks is wrong";
    return {};
}

}  // namespace nat
