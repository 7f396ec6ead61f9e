// SPDX-License-Identifier: BSD-3-Clause
//
// Sequence numbers of TCP connections whose payload NAT has lengthened or shortened: writes into
// each segment what its receiver is to see (ct/conn/seqadj.hpp tells of the numbers themselves).
//
// Of the stages, whoever edits payloads comes after update() and before rewrite(), and says so with
// lengthened(); adjust_sequences() comes behind rewrite().
#pragma once

#include "ct/conntrack.hpp"

#include <cstddef>
#include <cstdint>
#include <span>

namespace nat {

/// Notes that in packet `which` of a burst, a TCP segment, what began `offset` bytes behind the
/// start of the payload, as its sender made it, has become longer by `by` bytes (shorter, if
/// negative), so that its connection's later segments, those of the burst included, are adjusted.
/// False if there is no room to remember it: the packet must not go on, or the two ends lose step.
[[nodiscard]] bool lengthened(ct::Conntrack& table, std::span<ct::Packet> burst, std::size_t which,
                              std::uint32_t offset, std::int32_t by) noexcept;

/// How far a stream has passed without a gap. Who edits payloads asks it of each direction.
class StreamEdge {
public:
    /// `first`: number of the stream's first byte, one behind its SYN's.
    explicit StreamEdge(std::uint32_t first) noexcept : next_{first} {}

    /// True if the segment may be edited and go on. False if something before it is still missing:
    /// then it must be dropped, as what is missing may change its length.
    [[nodiscard]] bool admit(std::uint32_t seq, std::uint32_t length) noexcept {
        if (static_cast<std::int32_t>(seq - next_) > 0) return false;
        if (static_cast<std::int32_t>(seq + length - next_) > 0) next_ = seq + length;
        return true;
    }

private:
    std::uint32_t next_;
};

/// Adjusts sequence number, acknowledgement and SACK blocks of every living packet whose connection
/// has adjustments (p.status), and the TCP checksum.
void adjust_sequences(const ct::Conntrack& table, std::span<ct::Packet> packets) noexcept;

/// Adjusts the segment p as `numbers` says.
void adjust_sequence(ct::Packet& p, const ct::SeqAdjust& numbers) noexcept;

}  // namespace nat
