// SPDX-License-Identifier: BSD-3-Clause
#include "nat/seqadj.hpp"

#include "ct/conn/status.hpp"
#include "ct/wire/checksum.hpp"
#include "ct/wire/headers.hpp"
#include "ct/wire/tcp_options.hpp"

#include <cstddef>

namespace nat {
namespace {

using ct::Be16;
using ct::Be32;
using ct::Packet;

/// Replaces four bytes of a segment at an even or odd distance `at` from its first, and gathers the
/// change. An option may begin anywhere: at an odd place its bytes count in the other half of the
/// words that are summed.
void replace(std::uint8_t* l4, std::size_t at, Be32 to, ct::ChecksumDelta& delta) noexcept {
    const auto from = ct::load<Be32>(l4 + at);
    ct::store(l4 + at, to);
    if (at % 2 == 0) {
        delta.replace(from, to);
        return;
    }
    const auto swapped = [](Be32 n) {
        const std::uint32_t raw = n.raw();
        return Be32::from_raw((raw & 0x00ff'00ffU) << 8U | (raw >> 8U & 0x00ff'00ffU));
    };
    delta.replace(swapped(from), swapped(to));
}

}  // namespace

bool lengthened(ct::Conntrack& table, std::span<Packet> burst, std::size_t which,
                std::uint32_t offset, std::int32_t by) noexcept {
    if (by == 0) return true;
    Packet& changed = burst[which];
    if (!table.shift_sequence(changed, offset, by)) return false;
    for (Packet& p : burst.subspan(which))
        if (p.conn == changed.conn) p.status |= ct::status::kSeqAdjust;
    return true;
}

void adjust_sequence(Packet& p, const ct::SeqAdjust& numbers) noexcept {
    const ct::SeqShift& own = numbers.of(p.dir);
    const ct::SeqShift& peers = numbers.of(opposite(p.dir));
    std::uint8_t* l4 = p.data + p.l4_offset;
    ct::ChecksumDelta delta;
    const auto change = [&](std::size_t at, auto to) {
        const std::uint32_t from = ct::load<Be32>(l4 + at).host();
        const std::uint32_t next = to(from);
        if (next != from) replace(l4, at, Be32::from_host(next), delta);
    };
    const auto named = [&](std::uint32_t n) { return peers.own(n); };
    change(offsetof(ct::TcpHeader, seq), [&](std::uint32_t n) { return own.seen(n); });
    if ((p.tcp_flags & ct::tcpflag::kAck) != 0) change(offsetof(ct::TcpHeader, ack), named);
    ct::for_each_tcp_option(ct::tcp_options(p), [&](const ct::TcpOption& option) {
        if (option.kind != ct::tcpoption::kSack || option.body.size() % 8 != 0) return;
        const auto at = static_cast<std::size_t>(option.body.data() - l4);
        for (std::size_t edge = 0; edge < option.body.size(); edge += 4) change(at + edge, named);
    });
    std::uint8_t* checksum = l4 + offsetof(ct::TcpHeader, checksum);
    ct::store(checksum, delta.apply(ct::load<Be16>(checksum)));
}

void adjust_sequences(const ct::Conntrack& table, std::span<Packet> packets) noexcept {
    for (Packet& p : packets) {
        if ((p.status & ct::status::kSeqAdjust) == 0 || !p.alive() || p.icmp_error) continue;
        if (p.tuple.proto != ct::ipproto::kTcp || p.fragment == ct::Fragment::Later) continue;
        ct::SeqAdjust numbers;
        if (table.sequence_shift(p, numbers)) adjust_sequence(p, numbers);
    }
}

}  // namespace nat
