// SPDX-License-Identifier: BSD-3-Clause
//
// Every prefix of every valid packet, and every byte of it changed, each in a heap buffer of
// exactly its size: with the AddressSanitizer, a read past the end of any of them ends the test.
#include "ct/wire/parse.hpp"
#include "tests/support/golden_packets.hpp"
#include "tests/support/packet_builder.hpp"
#include "tests/support/packet_invariants.hpp"
#include "tests/support/wire_corpus.hpp"

#include <gtest/gtest.h>

namespace {

using ct::Drop;
using ct::HwCheck;
using test::Bytes;
using test::NamedFrame;

std::vector<NamedFrame> corpus() {
    std::vector<NamedFrame> out = test::wire_corpus();
    for (auto& golden : test::golden_packets()) out.push_back({golden.where, golden.frame});
    return out;
}

/// Parses as if the port vouched for the checksums, so that broken bytes are read as headers.
Drop parse_trusting(ct::Packet& p) {
    p.ip_check = HwCheck::Good;
    p.l4_check = HwCheck::Good;
    return ct::parse(p, {});
}

/// Offset of the network header of a valid frame, and of the end of its packet.
std::pair<std::size_t, std::size_t> bounds_of(const Bytes& frame) {
    auto owned = test::receive(frame);
    static_cast<void>(parse_trusting(owned.packet));
    return {owned.packet.l3_offset, owned.packet.end};
}

TEST(Truncation, EveryPrefixThatCutsThePacketIsDropped) {
    for (const auto& [name, frame] : corpus()) {
        auto whole = test::receive(frame);
        if (ct::parse(whole.packet, {}) != Drop::None) continue;
        for (std::size_t size = 0; size <= frame.size(); ++size) {
            auto owned = test::receive(std::span{frame}.first(size));

            const Drop reason = ct::parse(owned.packet, {});

            if (size >= whole.packet.end) {
                ASSERT_EQ(reason, Drop::None) << name << ", padding cut to " << size;
                ASSERT_EQ(owned.packet.tuple, whole.packet.tuple) << name << " " << size;
            } else {
                ASSERT_TRUE(reason == Drop::Truncated || reason == Drop::BadIpLength)
                    << name << " cut to " << size << ": " << ct::name_of(reason);
            }
        }
    }
}

/// `frame` with its packet ending at `end`, and the IP length saying so.
Bytes cut_and_relabel(const Bytes& frame, std::size_t l3, std::size_t end) {
    Bytes out(frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(end));
    const bool six = out.at(l3) >> 4U == 6;
    const std::size_t length = six ? end - l3 - 40 : end - l3;
    const auto field = static_cast<std::ptrdiff_t>(l3 + (six ? 4 : 2));
    ct::store(out.data() + field, ct::Be16::from_host(static_cast<std::uint16_t>(length)));
    return out;
}

// The cut hides behind an IP length that agrees with it, so the layers above must notice.
TEST(Truncation, EveryShorterPacketIsDroppedOrSound) {
    for (const auto& [name, frame] : corpus()) {
        const auto [l3, end] = bounds_of(frame);
        if (l3 == 0 || end == 0 || frame[l3] < 0x40) continue;  // malformed from the start, or ARP
        const std::size_t header = frame[l3] >> 4U == 6 ? 40 : 20;
        for (std::size_t size = l3 + header; size <= end; ++size) {
            auto owned = test::receive(cut_and_relabel(frame, l3, size));

            static_cast<void>(parse_trusting(owned.packet));

            ASSERT_EQ(test::fault_in(owned.packet), "") << name << " cut to " << size;
        }
    }
}

TEST(Mutation, EveryByteWithEveryOtherValueIsDroppedOrSound) {
    for (const auto& [name, frame] : test::wire_corpus()) {
        auto owned = test::receive(frame);
        for (std::size_t at = 0; at < frame.size(); ++at) {
            for (unsigned value = 0; value < 256; ++value) {
                owned.bytes[at] = static_cast<std::uint8_t>(value);
                static_cast<void>(parse_trusting(owned.packet));
                ASSERT_EQ(test::fault_in(owned.packet), "")
                    << name << " byte " << at << "=" << value;
            }
            owned.bytes[at] = frame[at];
        }
    }
}

TEST(Mutation, EveryFlippedBitOfAGoldenPacketIsDroppedOrSound) {
    for (const auto& golden : test::golden_packets()) {
        auto owned = test::receive(golden.frame);
        for (std::size_t bit = 0; bit < golden.frame.size() * 8; ++bit) {
            owned.bytes[bit / 8] ^= static_cast<std::uint8_t>(1U << bit % 8);
            static_cast<void>(parse_trusting(owned.packet));
            ASSERT_EQ(test::fault_in(owned.packet), "") << golden.where << " bit " << bit;
            owned.bytes[bit / 8] ^= static_cast<std::uint8_t>(1U << bit % 8);
        }
    }
}

// A checksum that is verified lets no single flipped bit of what it covers pass.
TEST(Mutation, NoFlippedBitPassesTheChecksums) {
    for (const char* kind : {"ipv4_tcp_data", "ipv4_udp", "ipv4_sctp_data", "ipv4_echo",
                             "ipv6_tcp_data", "ipv6_udp", "ipv6_echo", "ipv4_udplite_all"}) {
        const auto all = test::wire_corpus();
        const auto found =
            std::find_if(all.begin(), all.end(), [&](const auto& f) { return f.name == kind; });
        ASSERT_NE(found, all.end()) << kind;
        auto owned = test::receive(found->bytes);
        ASSERT_EQ(ct::parse(owned.packet, {}), Drop::None);
        const std::size_t from = owned.packet.l4_offset;
        for (std::size_t bit = from * 8; bit < found->bytes.size() * 8; ++bit) {
            owned.bytes[bit / 8] ^= static_cast<std::uint8_t>(1U << bit % 8);
            ASSERT_NE(ct::parse(owned.packet, {}), Drop::None) << kind << " bit " << bit;
            owned.bytes[bit / 8] ^= static_cast<std::uint8_t>(1U << bit % 8);
        }
    }
}

}  // namespace
