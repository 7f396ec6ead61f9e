// SPDX-License-Identifier: BSD-3-Clause
#include "bench/load/legit.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <span>

namespace bench {

namespace {

constexpr std::uint32_t kLegitFrom = 1'500'000'000;
constexpr std::uint32_t kEstablishedFrom = 3'000'000'000;
/// Of a burst of 64: so many belong to the flood and to the established flows, the others to
/// handshakes that are due.
constexpr std::uint32_t kFloodShare = 32;
constexpr std::uint32_t kEstablishedShare = 4;

ct::Settings settings_of(const LegitSetup& setup) {
    ct::Settings s = table_settings(setup.embryonic + setup.established);
    s.overflow = setup.policy;
    s.embryonic_percent = static_cast<std::uint32_t>(std::uint64_t{100} * setup.embryonic /
                                                     (setup.embryonic + setup.established));
    // An acknowledgement whose entry is gone must not make a new one, and hide the loss.
    s.tcp_loose = false;
    return s;
}

class Run {
public:
    explicit Run(const LegitSetup& setup)
        : setup_{setup},
          table_{settings_of(setup), 1, kHashSeed},
          tracker_{table_, 0},
          draw_{Draw::uniform(std::max(setup.established, 1U), 9)},
          tick_{static_cast<ct::Nanos>(1e9 * kFloodShare / setup.flood_per_s)} {
        tracker_.establish(kEstablishedFrom, setup.established);
        // The budget as the table counts it, in whole percents of its size.
        const double budget = std::floor(static_cast<double>(table_.capacity()) *
                                         table_.settings().embryonic_percent / 100);
        const bool budgeted = setup.policy == ct::Overflow::EmbryonicOldest;
        const double room = budgeted ? budget : setup.embryonic;
        result_.horizon_s = room / (setup.flood_per_s + setup.legit_per_s);
        round_trip_ =
            static_cast<ct::Nanos>(1e9 * result_.horizon_s * setup.round_trip_over_horizon);
    }

    LegitResult run() {
        const auto horizon = static_cast<ct::Nanos>(1e9 * result_.horizon_s);
        const ct::Nanos begin = tracker_.now + horizon + horizon / 8;
        const ct::Nanos end =
            begin + static_cast<ct::Nanos>(static_cast<double>(horizon) * setup_.horizons);
        next_legit_ = static_cast<double>(tracker_.now);
        // The last handshake is over a round trip, and a tick for each of its steps, after `end`.
        const ct::Nanos over = end + round_trip_ + 4 * tick_;
        while (tracker_.now < over) tick(tracker_.now >= begin && tracker_.now < end);
        const ct::Counters c = table_.counters();
        result_.assured_evicted = c.assured_evicted;
        for (std::uint32_t k = 0; k < setup_.established; ++k)
            result_.established_lost += static_cast<std::uint32_t>(
                !table_.find(flow(kEstablishedFrom + k), tracker_.now).has_value());
        return result_;
    }

private:
    /// A handshake under way.
    struct Handshake {
        std::uint32_t flow;
        ct::Nanos due;  ///< of its next packet
        bool counts;    ///< begun while handshakes are counted
    };

    /// A burst's worth of time: flood, established flows, and the handshakes' packets that are due.
    void tick(bool counting) {
        tracker_.now += tick_;
        std::array<ct::Packet, kFloodShare + kEstablishedShare> burst;
        for (std::uint32_t i = 0; i < kFloodShare; ++i)
            tracker_.maker.open(burst[i], flood_next_++);
        result_.flood += kFloodShare;
        std::uint32_t n = kFloodShare;
        for (; setup_.established != 0 && n < burst.size(); ++n) {
            const Draw::Pick pick = draw_.next();
            tracker_.maker.data(burst[n], kEstablishedFrom + pick.flow, pick.reply);
        }
        tracker_.run_now({burst.data(), n});
        result_.packets += n;
        for (std::uint32_t i = kFloodShare; i < n; ++i) {
            ++result_.established_packets;
            result_.established_failed +=
                static_cast<std::uint64_t>(burst[i].state != ct::CtState::Established);
        }
        handshakes(counting);
    }

    void handshakes(bool counting) {
        // SYNs: at an even pace.
        const auto now = static_cast<double>(tracker_.now);
        for (; next_legit_ <= now; next_legit_ += 1e9 / setup_.legit_per_s) {
            ct::Packet p;
            tracker_.maker.open(p, legit_next_);
            one(p);
            result_.begun += static_cast<std::uint64_t>(counting);
            // What is refused at once is not waited for.
            if (p.alive()) open_.push_back({legit_next_, tracker_.now + round_trip_ / 2, counting});
            ++legit_next_;
        }
        for (; !open_.empty() && open_.front().due <= tracker_.now; open_.pop_front()) {
            const Handshake h = open_.front();
            ct::Packet p;
            tracker_.maker.accept(p, h.flow);
            one(p);
            if (p.state == ct::CtState::Established)
                answered_.push_back(
                    {h.flow, tracker_.now + round_trip_ - round_trip_ / 2, h.counts});
        }
        for (; !answered_.empty() && answered_.front().due <= tracker_.now; answered_.pop_front()) {
            const Handshake h = answered_.front();
            ct::Packet p;
            tracker_.maker.data(p, h.flow, false);
            one(p);
            const bool good = p.state == ct::CtState::Established && p.conn.valid();
            result_.succeeded += static_cast<std::uint64_t>(good && h.counts);
            // It has shown what it should; its place goes to the next.
            if (good) table_.erase(p.conn, tracker_.now);
        }
    }

    void one(ct::Packet& p) {
        tracker_.run_now({&p, 1});
        ++result_.packets;
    }

    LegitSetup setup_;
    ct::Conntrack table_;
    Tracker tracker_;
    Draw draw_;
    LegitResult result_;
    ct::Nanos tick_;
    ct::Nanos round_trip_ = 0;
    double next_legit_ = 0;  ///< when the next handshake begins, in nanoseconds
    std::uint32_t flood_next_ = 0;
    std::uint32_t legit_next_ = kLegitFrom;
    std::deque<Handshake> open_;      ///< SYN sent
    std::deque<Handshake> answered_;  ///< SYN-ACK seen
};

}  // namespace

LegitResult run_legit(const LegitSetup& setup) {
    return std::make_unique<Run>(setup)->run();
}

double survival(double x, unsigned candidates) {
    const double expected = candidates * x;
    double term = std::exp(-expected);
    double sum = 0;
    for (unsigned k = 0; k < candidates; ++k) {
        sum += term;
        term *= expected / (k + 1);
    }
    return std::min(sum, 1.0);
}

}  // namespace bench
