// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/stats.hpp"

#include <numeric>

namespace dp {

std::uint64_t Totals::dropped() const noexcept {
    return std::accumulate(drops.begin(), drops.end(), std::uint64_t{0});
}

bool Totals::balanced() const noexcept {
    return rx_packets + local_made == tx_packets + dropped() + held();
}

Totals& Totals::operator+=(const Totals& o) noexcept {
    rx_packets += o.rx_packets;
    rx_bytes += o.rx_bytes;
    tx_packets += o.tx_packets;
    tx_bytes += o.tx_bytes;
    local_made += o.local_made;
    held_taken += o.held_taken;
    held_given += o.held_given;
    turns += o.turns;
    busy_turns += o.busy_turns;
    for (std::size_t i = 0; i < drops.size(); ++i) drops[i] += o.drops[i];
    return *this;
}

Totals WorkerCounters::totals() const noexcept {
    Totals t;
    t.rx_packets = rx_packets.get();
    t.rx_bytes = rx_bytes.get();
    t.tx_packets = tx_packets.get();
    t.tx_bytes = tx_bytes.get();
    t.local_made = local_made.get();
    t.held_taken = held_taken.get();
    t.held_given = held_given.get();
    t.turns = turns.get();
    t.busy_turns = busy_turns.get();
    for (std::size_t i = 0; i < drops.size(); ++i) t.drops[i] = drops[i].get();
    return t;
}

PortTotals& PortTotals::operator+=(const PortTotals& o) noexcept {
    rx_packets += o.rx_packets;
    rx_bytes += o.rx_bytes;
    tx_packets += o.tx_packets;
    tx_bytes += o.tx_bytes;
    tx_full += o.tx_full;
    return *this;
}

}  // namespace dp
