// SPDX-License-Identifier: BSD-3-Clause
//
// The tracker as the pipeline drives it, without ports, routes and rules: lookup, update, open,
// confirm, expire. Time is virtual and moves with the packets.
#pragma once

#include "bench/load/packets.hpp"
#include "bench/load/snat.hpp"
#include "ct/conntrack.hpp"
#include "nat/rewrite.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace bench {

/// How fast virtual time goes: ten million packets a second.
inline constexpr ct::Nanos kNanosPerPacket = 100;
inline constexpr ct::Nanos kStart = 1000 * ct::kNanosPerSecond;
/// The hash key of every table that is not to be attacked: the same buckets in every run.
inline constexpr std::uint64_t kHashSeed = 1;

/// The settings of a table that is measured: counters on, the default policy where it is full, and
/// a budget of embryonic entries as large as the table, so that `max` alone decides when it is.
[[nodiscard]] ct::Settings table_settings(std::uint32_t max);

/// What a table does when it is full, by the name that a configuration has for it.
[[nodiscard]] const char* name_of(ct::Overflow policy) noexcept;

/// One worker's use of a table. The table may have several; each has its own Tracker.
class alignas(ct::kCacheLine) Tracker {
public:
    /// With `snat`, new flows get a mapping and packets are rewritten.
    Tracker(ct::Conntrack& table, ct::WorkerId worker, FlowKind kind = {}, Snat* snat = nullptr)
        : maker{kind, snat == nullptr ? Frames::No : Frames::Yes},
          table_{table},
          worker_{worker},
          snat_{snat} {}

    /// Takes a burst through the tracker, and virtual time on.
    void run(std::span<ct::Packet> burst) noexcept {
        now += nanos_per_packet * burst.size();
        run_now(burst);
    }
    /// Takes a burst through the tracker at the time that `now` says.
    void run_now(std::span<ct::Packet> burst) noexcept {
        table_.lookup(worker_, burst, now);
        table_.update(worker_, burst, now);
        for (std::size_t k = 0; k < burst.size(); ++k) {
            if (snat_ != nullptr) snat_->foresee(worker_, burst, k);
            ct::Packet& p = burst[k];
            if (!p.conn.valid() && p.state == ct::CtState::None) open_new(p);
        }
        if (snat_ != nullptr) nat::rewrite(burst);
        if (sweeping) table_.expire(worker_, now);
    }

    /// Opens flows `first` .. `first + count - 1`, without an answer.
    void open(std::uint32_t first, std::uint32_t count) noexcept;
    /// Makes these flows assured: by their handshake (TCP), or by a request, a reply and, three
    /// seconds later, another request (UDP).
    void establish(std::uint32_t first, std::uint32_t count) noexcept;

    [[nodiscard]] ct::Conntrack& table() noexcept { return table_; }

    PacketMaker maker;
    ct::Nanos now = kStart;
    ct::Nanos nanos_per_packet = kNanosPerPacket;
    bool sweeping = true;  ///< whether expire() is called once a burst

private:
    void open_new(ct::Packet& p) noexcept {
        if (table_.open(worker_, p, now) != ct::Conntrack::Opening::Opened) return;
        if (snat_ != nullptr)
            static_cast<void>(snat_->bind(worker_, p, now));
        else
            static_cast<void>(table_.confirm(worker_, p, now));
    }

    ct::Conntrack& table_;
    ct::WorkerId worker_;
    Snat* snat_;
};

/// Packets counted in the entries of a table, both directions, with accounting on.
[[nodiscard]] std::uint64_t counted_packets(const ct::Conntrack& table, ct::Nanos now);

/// Why the table does not hold just `flows` entries, each found under both of its tuples and
/// `assured` if that is asked for; empty if it does. Looks at every `stride`-th.
[[nodiscard]] std::string missing_flows(ct::Conntrack& table, FlowKind kind, std::uint32_t flows,
                                        bool assured, ct::Nanos now, std::uint32_t stride = 1);

/// What is wrong with the mappings of a table in which every entry is source-NATed; empty if each
/// is, and no two share external address, port and remote endpoint.
[[nodiscard]] std::string bad_mappings(const ct::Conntrack& table, ct::Nanos now);

/// Ends every entry of the table in random order, so that the entries taken next lie at random in
/// memory as in a table that has been in use for long, and not one beside the other.
class Ageing {
public:
    explicit Ageing(ct::Conntrack& table);
    void clear(ct::Nanos now);

private:
    ct::Conntrack& table_;
    std::vector<std::uint32_t> order_;
};

}  // namespace bench
