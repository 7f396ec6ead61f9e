// SPDX-License-Identifier: BSD-3-Clause
#include "bench/load/tracker.hpp"

#include "ct/conn/status.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace bench {

namespace {

/// A datagram later than two seconds after the first makes a stream of a UDP connection that was
/// answered, and the connection assured (semantics.md 2.5).
constexpr ct::Nanos kStreamAge = 3 * ct::kNanosPerSecond;

}  // namespace

ct::Settings table_settings(std::uint32_t max) {
    ct::Settings s;
    s.max = max;
    s.acct = true;
    s.embryonic_percent = 100;
    return s;
}

const char* name_of(ct::Overflow policy) noexcept {
    switch (policy) {
        case ct::Overflow::EmbryonicOldest:
            return "embryonic-oldest";
        case ct::Overflow::ClosingFirst:
            return "closing-first";
        case ct::Overflow::Linux:
            return "linux";
        case ct::Overflow::Drop:
            return "drop";
        case ct::Overflow::Untracked:
            return "untracked";
        case ct::Overflow::Reject:
            return "reject";
    }
    return "";
}

void Tracker::open(std::uint32_t first, std::uint32_t count) noexcept {
    std::array<ct::Packet, kBurst> burst;
    for (std::uint32_t done = 0; done < count;) {
        const std::uint32_t n = std::min<std::uint32_t>(kBurst, count - done);
        for (std::uint32_t i = 0; i < n; ++i) maker.open(burst[i], first + done + i);
        run({burst.data(), n});
        done += n;
    }
}

void Tracker::establish(std::uint32_t first, std::uint32_t count) noexcept {
    const bool tcp = maker.kind().proto == ct::ipproto::kTcp;
    std::array<ct::Packet, kBurst> burst;
    const auto all = [&](std::uint32_t done, auto&& make) {
        const std::uint32_t n = std::min<std::uint32_t>(kBurst, count - done);
        for (std::uint32_t i = 0; i < n; ++i) make(burst[i], first + done + i);
        run({burst.data(), n});
    };
    const auto finish = [&](ct::Packet& p, std::uint32_t f) { maker.data(p, f, false); };
    for (std::uint32_t done = 0; done < count; done += kBurst) {
        all(done, [&](ct::Packet& p, std::uint32_t f) { maker.open(p, f); });
        // The answer goes to where the first packet came from as it left: NAT may have mapped it.
        all(done, [&](ct::Packet& p, std::uint32_t) {
            const ct::Tuple reply = p.reply;
            maker.put_tuple(p, reply, ct::tcpflag::kSyn | ct::tcpflag::kAck, segment::kReplyIsn,
                            segment::kOriginalIsn + 1);
        });
        if (tcp) all(done, finish);
    }
    if (tcp) return;
    now += kStreamAge;
    for (std::uint32_t done = 0; done < count; done += kBurst) all(done, finish);
}

std::uint64_t counted_packets(const ct::Conntrack& table, ct::Nanos now) {
    std::uint64_t sum = 0;
    ct::Snapshot s;
    for (std::uint32_t i = 0; i < table.indices(); ++i)
        if (table.snapshot(i, now, s)) sum += s.packets[0] + s.packets[1];
    return sum;
}

std::string missing_flows(ct::Conntrack& table, FlowKind kind, std::uint32_t flows, bool assured,
                          ct::Nanos now, std::uint32_t stride) {
    if (table.count() != flows) return fmt::format("{} entries for {} flows", table.count(), flows);
    for (std::uint32_t n = 0; n < flows; n += stride) {
        const ct::Tuple t = flow(n, kind);
        const std::optional<ct::Snapshot> original = table.find(t, now);
        if (!original) return fmt::format("flow {} is not found", n);
        const std::optional<ct::Snapshot> reply = table.find(ct::reply_of(t), now);
        if (!reply || reply->handle != original->handle)
            return fmt::format("flow {} is not found by its reply", n);
        if (assured && (original->status & ct::status::kAssured) == 0)
            return fmt::format("flow {} is not assured", n);
    }
    return "";
}

std::string bad_mappings(const ct::Conntrack& table, ct::Nanos now) {
    using Mapping = std::array<std::uint32_t, 3>;
    std::vector<Mapping> mappings;
    ct::Snapshot s;
    for (std::uint32_t i = 0; i < table.indices(); ++i) {
        if (!table.snapshot(i, now, s)) continue;
        if ((s.status & ct::status::kSrcNat) == 0)
            return fmt::format("entry {} is not mapped", s.handle.index);
        const ct::Tuple& r = s.reply;
        mappings.push_back({r.dst.as_v4().raw(), r.src.as_v4().raw(),
                            r.dport.raw() | std::uint32_t{r.sport.raw()} << 16});
    }
    std::sort(mappings.begin(), mappings.end());
    const bool twice = std::adjacent_find(mappings.begin(), mappings.end()) != mappings.end();
    return twice ? "two entries share a mapping towards one remote" : "";
}

Ageing::Ageing(ct::Conntrack& table) : table_{table}, order_{shuffled(table.indices(), 7)} {}

void Ageing::clear(ct::Nanos now) {
    ct::Snapshot s;
    for (const std::uint32_t i : order_)
        if (table_.snapshot(i, now, s)) table_.erase(s.handle, now);
    // The workers' records of them go too, as in any idle moment: a turn drops up to 128.
    for (ct::WorkerId w = 0; w < table_.workers(); ++w)
        for (std::uint32_t turn = 0; turn <= table_.indices() / 64; ++turn) table_.expire(w, now);
}

}  // namespace bench
