// SPDX-License-Identifier: BSD-3-Clause
//
// Which connection has its sequence numbers shifted, and how (ct/conn/seqadj.hpp). An entry has the
// index of its adjustment in the trackers' line, under the side lock.
#include "ct/conntrack.hpp"
#include "ct/conntrack_impl.hpp"

namespace ct {

bool Conntrack::shift_sequence(Packet& p, std::uint32_t offset, std::int32_t by) noexcept {
    Impl& d = *impl_;
    if (p.tuple.proto != ipproto::kTcp || !p.conn.valid() || !d.lock_side(p.conn)) return false;
    std::array<TcpWindow, 2>& window = d.pool.side(p.conn.index).window;
    std::uint16_t& index = window[0].adjust;
    if (index == SeqAdjustments::kNone) index = d.adjustments.take();
    bool noted = false;
    if (index != SeqAdjustments::kNone) {
        p.status |= status::kSeqAdjust;
        const std::uint32_t acked = window[index_of(opposite(p.dir))].max_ack;
        noted = d.adjustments.at(index).of(p.dir).lengthen(p.tcp_seq + offset, by, acked);
    }
    d.unlock_side(p.conn.index);
    return noted;
}

bool Conntrack::sequence_shift(const Packet& p, SeqAdjust& out) const noexcept {
    const Impl& d = *impl_;
    if (p.tuple.proto != ipproto::kTcp || !p.conn.valid() || !d.lock_side(p.conn)) return false;
    const std::uint16_t index = d.pool.side(p.conn.index).window[0].adjust;
    if (index != SeqAdjustments::kNone) out = d.adjustments.at(index);
    d.unlock_side(p.conn.index);
    return index != SeqAdjustments::kNone;
}

std::uint32_t Conntrack::sequence_shifts() const noexcept {
    return impl_->adjustments.in_use();
}

/// To be called by whoever has claimed the entry.
void Conntrack::Impl::release_shift(ConnHandle h) noexcept {
    if (protocol_of(pool.hot(h.index)) != ipproto::kTcp || !lock_side(h, life::kDying)) return;
    std::uint16_t& shift = pool.side(h.index).window[0].adjust;
    if (shift != SeqAdjustments::kNone) adjustments.give(shift);
    shift = SeqAdjustments::kNone;
    unlock_side(h.index);
}

}  // namespace ct
