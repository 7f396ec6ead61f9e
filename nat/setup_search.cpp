// SPDX-License-Identifier: BSD-3-Clause
//
// Which port: the search for one that is free, or whose connection has closed; see nat/setup.hpp.
#include "nat/setup.hpp"
#include "nat/setup_parts.hpp"
#include "nat/wide.hpp"

#include <algorithm>
#include <numeric>

namespace nat {
namespace {

/// True if the field belongs to the reply's source: the connection's destination.
[[nodiscard]] bool changes_destination(std::uint8_t proto, PortField field) noexcept {
    return field == &ct::Tuple::sport && has_ports(proto);
}

/// A walk over 0 .. count - 1 that comes to each number once, in an order that `random` decides.
class Walk {
public:
    Walk(std::uint32_t count, std::uint64_t random) noexcept
        : count_{count},
          at_{static_cast<std::uint32_t>((random & 0xffff'ffffU) * count >> 32U)},
          random_{static_cast<std::uint32_t>(random >> 32U)} {}

    [[nodiscard]] std::uint32_t next() noexcept {
        if (!begun_) {
            begun_ = true;
            return at_;
        }
        if (step_ == 0) choose_step();
        at_ += step_;
        if (at_ >= count_) at_ -= count_;
        return at_;
    }

private:
    /// Not before it is needed: many a walk ends where it begins, and this takes longer than a
    /// probe.
    void choose_step() noexcept {
        step_ = 1 + static_cast<std::uint32_t>(std::uint64_t{random_} * (count_ - 1) >> 32U);
        while (std::gcd(step_, count_) != 1) step_ = step_ + 1 < count_ ? step_ + 1 : 1;
    }

    std::uint32_t count_;
    std::uint32_t at_;
    std::uint32_t random_;
    std::uint32_t step_ = 0;  ///< 0: not chosen yet
    bool begun_ = false;
};

}  // namespace

/// The ports of `wanted`, by number: with a parity every second one, from the first that has it.
class Setup::Candidates {
public:
    explicit Candidates(const Wanted& wanted) noexcept
        : step_{wanted.parity < 0 ? 1U : 2U},
          first_{wanted.range.first +
                 (wanted.parity >= 0 && wanted.range.first % 2 != wanted.parity ? 1U : 0U)},
          count_{(wanted.range.last + 1U - first_ + step_ - 1) / step_} {}

    [[nodiscard]] std::uint32_t count() const noexcept { return count_; }
    [[nodiscard]] ct::Be16 at(std::uint32_t n) const noexcept {
        return ct::Be16::from_host(static_cast<std::uint16_t>(first_ + n * step_));
    }

private:
    std::uint32_t step_;
    std::uint32_t first_;
    std::uint32_t count_;
};

std::uint64_t Setup::hash_towards(const ct::Tuple& reply, PortField field) const noexcept {
    if (reply.family == ct::Family::Ipv4) [[likely]] {
        const bool is_source = field == &ct::Tuple::sport;
        const std::uint64_t addresses =
            std::uint64_t{reply.src.as_v4().raw()} | std::uint64_t{reply.dst.as_v4().raw()} << 32;
        const std::uint64_t other =
            is_source ? std::uint64_t{reply.dport.raw()} << 16 : std::uint64_t{reply.sport.raw()};
        return scramble(ct::hash_block(
            key_, addresses,
            other | std::uint64_t{reply.zone} << 32 | std::uint64_t{reply.proto} << 48));
    }
    ct::Tuple scope = reply;
    scope.*field = {};
    return scramble(ct::hash(key_, scope));
}

std::uint64_t Setup::draw(Worker& own, const ct::Tuple& original) const noexcept {
    return scramble(ct::hash(key_, original) + ++own.draws * 0x9e37'79b9'7f4a'7c15U);
}

void Setup::grow_allowance(Worker& own, ct::Nanos now) noexcept {
    const ct::Nanos elapsed = now > own.allowance_at ? now - own.allowance_at : 0;
    const std::uint64_t grown = elapsed / kAllowancePerProbe;
    own.allowance = std::min<std::uint64_t>(own.allowance + grown, kMaxAllowance);
    own.allowance_at += grown * kAllowancePerProbe;
}

bool Setup::search(ct::WorkerId w, ct::Packet& p, PortField field, const Wanted& wanted,
                   ct::Nanos now) noexcept {
    const Candidates candidates{wanted};
    if (candidates.count() == 0) return false;
    const std::uint64_t towards = hash_towards(p.reply, field);
    const PortRange& ports = wanted.range;
    const std::uint64_t key = scramble(towards + (std::uint64_t{ports.first} << 16U | ports.last));
    Worker& own = workers_[w];
    Exhausted& memo = own.exhausted[key % own.exhausted.size()];
    Exhausted known = memo.key == key ? memo : Exhausted{.key = key};
    const bool found = search_free(w, p, field, wanted, towards, known, now) ||
                       search_closed(w, p, field, candidates, known, now);
    if (known.until != 0 || known.none_closed_until != 0) memo = known;
    return found;
}

/// search() among ports whose connections have closed, so that none is kept from a newcomer for the
/// two minutes of TIME_WAIT. kQuickProbes of them are looked at; where none will do, the worker
/// does not look again for kHoldPerProbe times as many.
bool Setup::search_closed(ct::WorkerId w, ct::Packet& p, PortField field,
                          const Candidates& candidates, Exhausted& memo, ct::Nanos now) noexcept {
    const bool opens = p.reply.proto == ct::ipproto::kTcp && field == &ct::Tuple::dport &&
                       (p.tcp_flags & ct::tcpflag::kSyn) != 0;
    if (!opens || now < memo.none_closed_until) return false;
    const std::uint32_t seq_end = p.tcp_seq + 1 + (p.end - p.payload_offset);
    Walk walk{candidates.count(), draw(workers_[w], p.original)};
    const std::uint32_t probes = std::min(candidates.count(), kQuickProbes);
    for (std::uint32_t i = 0; i < probes; ++i) {
        p.reply.*field = candidates.at(walk.next());
        if (table_.end_closed(w, p.reply, seq_end, now) && suits(w, p, field, now)) return true;
    }
    memo.none_closed_until = now + probes * kHoldPerProbe;
    return false;
}

/// search() among ports that nobody has.
bool Setup::search_free(ct::WorkerId w, ct::Packet& p, PortField field, const Wanted& wanted,
                        std::uint64_t towards, Exhausted& memo, ct::Nanos now) noexcept {
    Worker& own = workers_[w];
    const Candidates candidates{wanted};
    const std::uint32_t count = candidates.count();
    const bool is_source = !changes_destination(p.reply.proto, field);
    const auto is_exhausted = [&]() noexcept { return now < memo.until; };
    const std::uint64_t crowd_key = Crowds::key_of(towards);
    Crowds::Crowd crowd =
        is_source && crowds_ != nullptr ? crowds_->find(crowd_key) : Crowds::Crowd{};
    const bool is_crowded = crowd.ports != nullptr;
    if (is_crowded) {
        if (search_crowd(w, p, field, wanted, crowd, now)) return true;
        if (is_exhausted()) return false;
    }
    Walk walk{count, draw(own, p.original)};
    const auto find_within = [&](std::uint32_t probes) noexcept {
        for (std::uint32_t i = 0; i < probes; ++i) {
            p.reply.*field = candidates.at(walk.next());
            if (suits(w, p, field, now)) return i + 1;
        }
        return 0U;
    };
    const std::uint32_t glance = std::min(count, kGlanceProbes);
    if (!is_crowded) {
        if (field == &ct::Tuple::dport && steering_ != nullptr &&
            steering_->depends_on_ports(p.out_port, p.reply)) {
            Walk ahead = walk;
            std::uint32_t probes = 0;
            for (std::uint32_t i = 0; i < std::min(count, kSteeredCandidates); ++i) {
                p.reply.*field = candidates.at(ahead.next());
                if (!comes_back(w, p)) continue;
                if (suits(w, p, field, now)) return true;
                if (++probes == kGlanceProbes) break;
            }
        }
        if (find_within(glance) != 0) return true;
        if (glance == count) return false;
        if (is_source && crowds_ != nullptr) {
            // From here on conntrack tells of every end: nothing that is noted stays for ever.
            if ((wanted_.load(std::memory_order_relaxed) & lease::kPort) == 0)
                wanted_.fetch_or(lease::kPort);
            crowd = crowds_->open(crowd_key, now);
            if (crowd.ports != nullptr && search_crowd(w, p, field, wanted, crowd, now))
                return true;
        }
        if (is_exhausted()) return false;
    }

    const std::uint32_t quick = std::min(count, kQuickProbes);
    if (find_within(quick - std::min(quick, glance)) != 0) return true;
    grow_allowance(own, now);
    const auto rest =
        static_cast<std::uint32_t>(std::min<std::uint64_t>(count - quick, own.allowance));
    const std::uint32_t found_after = find_within(rest);
    own.allowance -= found_after != 0 ? found_after : rest;
    if (found_after != 0) return true;
    if (rest == count - quick) memo.until = now + count * kHoldPerProbe;
    return false;
}

/// search() among the ports of a crowd that are not known to be taken.
bool Setup::search_crowd(ct::WorkerId w, ct::Packet& p, PortField field, const Wanted& wanted,
                         const Crowds::Crowd& crowd, ct::Nanos now) noexcept {
    if (crowd.ports->is_full(wanted.range)) return false;
    Worker& own = workers_[w];
    // Ports whose holders will not give them back: they are not to stay noted.
    std::array<std::uint16_t, kOthers> others{};
    std::size_t count = 0;
    grow_allowance(own, now);
    const std::uint64_t limit = kQuickProbes + own.allowance;
    std::uint64_t probes = 0;
    bool found = false;
    while (!found && probes < limit && count < others.size()) {
        const auto port = crowd.ports->claim_any(w, wanted, draw(own, p.original));
        if (!port) break;
        if (!crowds_->still(crowd)) {
            crowd.ports->free(*port);
            break;
        }
        ++probes;
        p.reply.*field = ct::Be16::from_host(*port);
        const std::optional<std::uint8_t> held = table_.lease_on(w, p.reply, p.conn, now);
        found = !held && may_have(w, p, field, now);
        if (!found && (!held || (*held & lease::kPort) == 0)) others[count++] = *port;
    }
    for (std::size_t i = 0; i < count; ++i) crowd.ports->free(others[i]);
    if (probes > kQuickProbes) own.allowance -= std::min(own.allowance, probes - kQuickProbes);
    return found;
}

}  // namespace nat
