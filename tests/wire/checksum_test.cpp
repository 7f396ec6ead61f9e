// SPDX-License-Identifier: BSD-3-Clause
#include "ct/wire/checksum.hpp"

#include "ct/wire/headers.hpp"
#include "tests/support/packet_builder.hpp"

#include <gtest/gtest.h>

#include <random>

namespace {

using ct::Be16;
using ct::Be32;
using ct::ChecksumDelta;
using test::addr;
using test::Bytes;

constexpr std::uint32_t kSeed = 20251107;

/// RFC 1071 4.1, word by word with the bytes spelt out.
std::uint16_t naive_checksum(std::span<const std::uint8_t> bytes) {
    std::uint32_t sum = 0;
    for (std::size_t i = 0; i < bytes.size(); i += 2) {
        sum += std::uint32_t{bytes[i]} << 8U;
        if (i + 1 < bytes.size()) sum += bytes[i + 1];
        sum = (sum & 0xffffU) + (sum >> 16U);
    }
    return static_cast<std::uint16_t>(~sum);
}

/// RFC 3385's polynomial, a bit at a time.
std::uint32_t naive_crc32c(std::span<const std::uint8_t> bytes) {
    std::uint32_t crc = ~std::uint32_t{0};
    for (const std::uint8_t b : bytes) {
        crc ^= b;
        for (int i = 0; i < 8; ++i) crc = (crc >> 1U) ^ ((crc & 1U) != 0 ? 0x82f6'3b78U : 0U);
    }
    return ~crc;
}

Bytes random_bytes(std::mt19937& random, std::size_t size) {
    Bytes out(size);
    for (auto& b : out) b = static_cast<std::uint8_t>(random());
    return out;
}

TEST(Checksum, AgreesWithAWordByWordSumAtEveryLengthAndAlignment) {
    std::mt19937 random{kSeed};
    for (std::size_t size = 0; size < 300; ++size) {
        for (std::size_t shift = 0; shift < 8; ++shift) {
            const Bytes bytes = random_bytes(random, size + shift);
            const auto view = std::span{bytes}.subspan(shift);
            ASSERT_EQ(ct::internet_checksum(view).host(), naive_checksum(view))
                << "size " << size << " shift " << shift << " seed " << kSeed;
        }
    }
}

TEST(Checksum, CarriesAllTheWayWhenEveryBitIsSet) {
    for (std::size_t size = 1; size < 70; ++size) {
        const Bytes bytes(size, 0xff);
        ASSERT_EQ(ct::internet_checksum(bytes).host(), naive_checksum(bytes)) << size;
    }
    const Bytes largest(65'535, 0xff);
    EXPECT_EQ(ct::internet_checksum(largest).host(), naive_checksum(largest));
}

// RFC 1071 3: the example of the text.
TEST(Checksum, GivesTheSumOfRfc1071) {
    const Bytes bytes = test::from_hex("0001f203f4f5f6f7");

    EXPECT_EQ(ct::internet_checksum(bytes).host(), 0xffff - 0xddf2);
}

TEST(Checksum, OfAHeaderWithItsChecksumInPlaceIsValid) {
    // From a capture of Linux (tests/golden/tcp-bad-packets step 4).
    Bytes header = test::from_hex("450000280001000040067d12c0a8010acb00710a");

    EXPECT_TRUE(ct::sum_is_valid(ct::sum_bytes(header)));
    header[8] ^= 1U;
    EXPECT_FALSE(ct::sum_is_valid(ct::sum_bytes(header)));
}

TEST(Checksum, OfATcpSegmentIsWhatLinuxSent) {
    Bytes segment = test::from_hex("00000050000003e8000000005002faf0b2fc0000");
    segment[16] = segment[17] = 0;

    const Be16 sum = ct::transport_checksum(addr("192.168.1.10"), addr("203.0.113.10"),
                                            ct::Family::Ipv4, ct::ipproto::kTcp, segment);

    EXPECT_EQ(sum.host(), 0xb2fc);
}

TEST(Checksum, OfAnIpv6SegmentCoversItsPseudoHeader) {
    std::mt19937 random{kSeed};
    const Bytes segment = random_bytes(random, 99);
    const ct::Addr src = addr("2001:db8::1");
    const ct::Addr dst = addr("2001:db8:ffff::2");
    Bytes flat(src.bytes.begin(), src.bytes.end());
    flat.insert(flat.end(), dst.bytes.begin(), dst.bytes.end());
    flat.insert(flat.end(), {0, 0, 0, 99, 0, 0, 0, 58});
    flat.insert(flat.end(), segment.begin(), segment.end());

    const Be16 sum = ct::transport_checksum(src, dst, ct::Family::Ipv6, 58, segment);

    EXPECT_EQ(sum.host(), naive_checksum(flat));
}

// RFC 768: a computed zero goes out as all ones.
TEST(Checksum, OfUdpIsNeverZero) {
    EXPECT_EQ(ct::finish(0xffff).raw(), 0);
    EXPECT_EQ(ct::finish_udp(0xffff).raw(), 0xffff);
    EXPECT_EQ(ct::finish_udp(0x1234), ct::finish(0x1234));
}

TEST(SctpChecksum, AgreesWithABitwiseCrcAtEveryLength) {
    std::mt19937 random{kSeed};
    for (std::size_t size = 12; size < 120; ++size) {
        const Bytes packet = random_bytes(random, size);
        Bytes zeroed = packet;
        std::fill_n(zeroed.begin() + 8, 4, std::uint8_t{0});
        ASSERT_EQ(ct::sctp_checksum(packet), naive_crc32c(zeroed)) << size << " seed " << kSeed;
    }
}

// RFC 1624 3: with the values of its section 4.
TEST(ChecksumDelta, GivesTheExampleOfRfc1624) {
    ChecksumDelta delta;
    delta.replace(Be16::from_host(0x5555), Be16::from_host(0x3285));

    EXPECT_EQ(delta.apply(Be16::from_host(0xdd2f)).host(), 0x0000);
}

TEST(ChecksumDelta, AgreesWithSummingAgainAfterRandomChanges) {
    std::mt19937 random{kSeed};
    for (int round = 0; round < 20'000; ++round) {
        Bytes bytes = random_bytes(random, 40);
        const Be16 before = ct::internet_checksum(bytes);
        ChecksumDelta delta;
        for (unsigned changes = random() % 4; changes > 0; --changes) {
            const std::size_t at = random() % 19 * 2;
            const auto from = ct::load<std::uint32_t>(bytes.data() + at);
            const auto to = static_cast<std::uint32_t>(random());
            delta.replace(Be32::from_raw(from), Be32::from_raw(to));
            ct::store(bytes.data() + at, to);
        }
        const auto from = ct::load<std::uint16_t>(bytes.data());
        const auto to = static_cast<std::uint16_t>(random());
        delta.replace(Be16::from_raw(from), Be16::from_raw(to));
        ct::store(bytes.data(), to);

        ASSERT_EQ(delta.apply(before), ct::internet_checksum(bytes))
            << "round " << round << " seed " << kSeed;
    }
}

TEST(ChecksumDelta, OfAddressesAgreesWithSummingAgain) {
    std::mt19937 random{kSeed};
    for (int round = 0; round < 5'000; ++round) {
        const ct::Family family = round % 2 == 0 ? ct::Family::Ipv4 : ct::Family::Ipv6;
        const std::size_t size = family == ct::Family::Ipv4 ? 4 : 16;
        ct::Addr from;
        ct::Addr to;
        for (std::size_t i = 0; i < size; ++i) {
            from.bytes[i] = static_cast<std::uint8_t>(random());
            to.bytes[i] = static_cast<std::uint8_t>(random());
        }
        const ct::Addr peer = addr("192.0.2.1");
        const Bytes segment = random_bytes(random, 21);
        const Be16 before = ct::transport_checksum(from, peer, family, 6, segment);
        ChecksumDelta delta;
        delta.replace(from, to, family);

        ASSERT_EQ(delta.apply(before), ct::transport_checksum(to, peer, family, 6, segment))
            << "round " << round << " seed " << kSeed;
    }
}

TEST(ChecksumDelta, AddsWhatAnotherHasGathered) {
    ChecksumDelta addresses;
    addresses.replace(addr("10.0.0.5"), addr("203.0.113.1"), ct::Family::Ipv4);
    ChecksumDelta both;
    both.replace(Be16::from_host(40000), Be16::from_host(1024));
    both.add(addresses);
    ChecksumDelta at_once = addresses;
    at_once.replace(Be16::from_host(40000), Be16::from_host(1024));

    EXPECT_EQ(both.apply(Be16::from_host(0x1234)), at_once.apply(Be16::from_host(0x1234)));
}

TEST(ChecksumDelta, ThatReplacesNothingChangesNothing) {
    const ChecksumDelta delta;

    for (std::uint32_t sum = 0; sum <= 0xffff; ++sum) {
        const Be16 checksum = Be16::from_raw(static_cast<std::uint16_t>(sum));
        ASSERT_EQ(delta.apply(checksum), checksum);
        ASSERT_EQ(delta.apply_udp(checksum), checksum);
    }
}

// RFC 768, RFC 3022 4.1: a NAT leaves an absent checksum absent.
TEST(ChecksumDelta, LeavesAnAbsentUdpChecksumAbsent) {
    ChecksumDelta delta;
    delta.replace(Be16::from_host(1), Be16::from_host(2));

    EXPECT_EQ(delta.apply_udp(Be16{}), Be16{});
    EXPECT_NE(delta.apply(Be16{}), Be16{});
}

TEST(ChecksumDelta, NeverMakesAPresentUdpChecksumAbsent) {
    ChecksumDelta delta;
    delta.replace(Be16::from_host(0x5555), Be16::from_host(0x3285));

    EXPECT_EQ(delta.apply_udp(Be16::from_host(0xdd2f)).host(), 0xffff);
}

TEST(ChecksumDelta, OfUdpAgreesWithSummingAgainForEveryNewPort) {
    const ct::Addr src = addr("192.0.2.1");
    const ct::Addr dst = addr("198.51.100.1");
    Bytes segment = test::from_hex("00010002000c00001234abcd");
    const Be16 before = ct::transport_checksum(src, dst, ct::Family::Ipv4, 17, segment);

    for (std::uint32_t port = 0; port <= 0xffff; ++port) {
        const Be16 to = Be16::from_host(static_cast<std::uint16_t>(port));
        ChecksumDelta delta;
        delta.replace(Be16::from_host(1), to);
        ct::store(segment.data(), to);
        ASSERT_EQ(delta.apply_udp(before),
                  ct::transport_checksum(src, dst, ct::Family::Ipv4, 17, segment))
            << port;
    }
}

}  // namespace
