// SPDX-License-Identifier: BSD-3-Clause
//
// What a worker owes the world besides the burst in hand: frames to be sent as they are, and IP
// packets of Sluice's own that have the pipeline still before them. Bounded; one thread.
#pragma once

#include "ct/wire/packet.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

struct rte_mbuf;

namespace dp {

/// A finished frame and the port it leaves by.
struct ReadyFrame {
    rte_mbuf* mbuf = nullptr;
    ct::PortId port = ct::kNoPort;
};

/// An IP packet that Sluice made, behind an Ethernet header that has yet to be filled in. Its
/// checksums are right.
struct LocalPacket {
    enum class Tracking : std::uint8_t { Tracked, Untracked };

    rte_mbuf* mbuf = nullptr;
    ct::PortId port = ct::kNoPort;  ///< where a link-local destination lies
    Tracking tracking = Tracking::Tracked;
};

/// A list of at most N things, filled and emptied by one thread.
template <class T, std::size_t N>
class BoundedList {
public:
    /// False, with nothing added, if it is full.
    [[nodiscard]] bool push(const T& item) noexcept {
        if (count_ == N) return false;
        items_[count_++] = item;
        return true;
    }
    [[nodiscard]] std::span<const T> items() const noexcept { return {items_.data(), count_}; }
    [[nodiscard]] bool empty() const noexcept { return count_ == 0; }
    void clear() noexcept { count_ = 0; }

private:
    std::array<T, N> items_{};
    std::size_t count_ = 0;
};

/// Frames: enough for every waiting packet of some neighbours that answer in one burst.
inline constexpr std::size_t kOutboxFrames = 4096;
/// Packets: what one burst can cause.
inline constexpr std::size_t kOutboxPackets = 128;

struct Outbox {
    BoundedList<ReadyFrame, kOutboxFrames> frames;
    BoundedList<LocalPacket, kOutboxPackets> packets;
};

}  // namespace dp
