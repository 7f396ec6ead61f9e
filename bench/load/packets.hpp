// SPDX-License-Identifier: BSD-3-Clause
//
// Packets as parse() would leave them, made as cheaply as that can be: a copy of a template and the
// few fields that differ. What it costs is a contestant of its own in each benchmark.
#pragma once

#include "bench/load/flows.hpp"
#include "ct/wire/packet.hpp"

#include <array>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace bench {

/// The most packets of a burst.
inline constexpr std::size_t kMaxBurst = 64;
/// The burst that is measured where nothing else is said.
inline constexpr std::size_t kBurst = 32;

/// Flags and numbers of the segments of a connection; both sides open with a window of 64,000.
namespace segment {
inline constexpr std::uint32_t kOriginalIsn = 1000;
inline constexpr std::uint32_t kReplyIsn = 5000;
}  // namespace segment

/// Whether packets have bytes of their own to be rewritten: NAT needs them, the tracker does not.
enum class Frames : std::uint8_t { No, Yes };

/// Makes packets of one kind of flow. One thread.
class PacketMaker {
public:
    /// With frames, IPv4 and TCP only, a packet's bytes last for kMaxBurst packets more.
    explicit PacketMaker(FlowKind kind, Frames frames = Frames::No);
    PacketMaker(const PacketMaker&) = delete;
    PacketMaker& operator=(const PacketMaker&) = delete;

    [[nodiscard]] FlowKind kind() const noexcept { return kind_; }

    /// The first packet of flow `n`.
    void open(ct::Packet& p, std::uint32_t n) noexcept {
        put(p, n, false, ct::tcpflag::kSyn, segment::kOriginalIsn, 0);
    }
    /// The SYN-ACK that answers it.
    void accept(ct::Packet& p, std::uint32_t n) noexcept {
        put(p, n, true, ct::tcpflag::kSyn | ct::tcpflag::kAck, segment::kReplyIsn,
            segment::kOriginalIsn + 1);
    }
    /// An acknowledgement without data. Its window changes from one to the next, as a segment that
    /// equals the one before counts as retransmitted.
    void data(ct::Packet& p, std::uint32_t n, bool reply) noexcept {
        constexpr std::uint32_t kOriginal = segment::kOriginalIsn + 1;
        constexpr std::uint32_t kReply = segment::kReplyIsn + 1;
        const std::uint32_t swap = (kOriginal ^ kReply) & (0U - static_cast<std::uint32_t>(reply));
        put(p, n, reply, ct::tcpflag::kAck, kOriginal ^ swap, kReply ^ swap);
        p.tcp_window = static_cast<std::uint16_t>(64'000 + (++made_ & 0xff));
    }
    /// A packet of flow `n` with flags and numbers as given; of UDP they mean nothing.
    void put(ct::Packet& p, std::uint32_t n, bool reply, std::uint8_t flags, std::uint32_t seq,
             std::uint32_t ack) noexcept {
        copy_template(p);
        write_tuple(p.tuple, n, reply);
        p.tcp_flags = flags;
        p.tcp_seq = seq;
        p.tcp_ack = ack;
        if (frames_ == Frames::Yes) write_frame(p);
    }
    /// put() with a tuple that is none of flow(): what NAT made of it.
    void put_tuple(ct::Packet& p, const ct::Tuple& t, std::uint8_t flags, std::uint32_t seq,
                   std::uint32_t ack) noexcept {
        put(p, 0, false, flags, seq, ack);
        p.tuple = t;
        if (frames_ == Frames::Yes) write_frame(p);
    }

private:
    /// Bytes of a packet: Ethernet, IP and transport header.
    static constexpr std::size_t kFrameBytes = 128;

    /// By vectors: for a structure of this size g++ takes `rep movs`, which costs three times that.
    void copy_template(ct::Packet& p) const noexcept {
        static_assert(std::is_trivially_copyable_v<ct::Packet> && sizeof(ct::Packet) % 8 == 0);
        constexpr std::size_t kVector = 32;
        constexpr std::size_t kWhole = sizeof(ct::Packet) / kVector * kVector;
        auto* to = reinterpret_cast<std::uint8_t*>(&p);
        const auto* from = reinterpret_cast<const std::uint8_t*>(&template_);
        for (std::size_t at = 0; at < kWhole; at += kVector)
            std::memcpy(to + at, from + at, kVector);
        std::memcpy(to + kWhole, from + kWhole, sizeof(ct::Packet) - kWhole);
    }
    /// flow(n), or the answer to it, over the template's tuple. Its fields go from registers to
    /// their places: to assemble a tuple and copy it would wait for each store to come back.
    void write_tuple(ct::Tuple& t, std::uint32_t n, bool reply) const noexcept {
        const auto [src, sport, dst, dport] = FlowNumbers{n}.ends(reply);
        const std::size_t at = kind_.family == ct::Family::Ipv4 ? 0 : 12;
        const std::uint32_t src_raw = ct::Be32::from_host(src).raw();
        const std::uint32_t dst_raw = ct::Be32::from_host(dst).raw();
        std::memcpy(t.src.bytes.data() + at, &src_raw, sizeof src_raw);
        std::memcpy(t.dst.bytes.data() + at, &dst_raw, sizeof dst_raw);
        t.sport = ct::Be16::from_host(sport);
        t.dport = ct::Be16::from_host(dport);
    }

    /// Gives the packet the next frame, with headers that say what its tuple does.
    void write_frame(ct::Packet& p) noexcept;

    FlowKind kind_;
    Frames frames_;
    /// Without frames the first is behind every packet, and nobody looks at it.
    std::array<std::array<std::uint8_t, kFrameBytes>, kMaxBurst> bytes_{};
    ct::Packet template_;
    std::uint32_t made_ = 0;
    std::uint32_t next_frame_ = 0;
};

}  // namespace bench
