// SPDX-License-Identifier: BSD-3-Clause
#include "ct/wire/reader.hpp"

#include "tests/support/packet_builder.hpp"

#include <gtest/gtest.h>

namespace {

using ct::Reader;

TEST(Reader, TakesHeadersInOrderAndKeepsTheOffset) {
    const test::Bytes bytes = test::from_hex("0050c35000100000ff");
    Reader in{bytes};
    ct::UdpHeader udp;

    ASSERT_TRUE(in.take(udp));

    EXPECT_EQ(udp.sport.host(), 80);
    EXPECT_EQ(udp.dport.host(), 50000);
    EXPECT_EQ(udp.length.host(), 16);
    EXPECT_EQ(in.offset(), 8U);
    EXPECT_EQ(in.left(), 1U);
}

TEST(Reader, TakesNothingWhereTooLittleIsLeft) {
    const test::Bytes bytes(7);
    Reader in{bytes};
    ct::UdpHeader udp;

    EXPECT_FALSE(in.take(udp));
    EXPECT_FALSE(in.peek(udp));
    EXPECT_FALSE(in.skip(8));

    EXPECT_EQ(in.offset(), 0U);
    EXPECT_EQ(in.left(), 7U);
}

TEST(Reader, PeeksWithoutMoving) {
    const test::Bytes bytes = test::from_hex("3c01");
    Reader in{bytes};
    ct::Ipv6Extension extension;

    ASSERT_TRUE(in.peek(extension));

    EXPECT_EQ(extension.next_header, 0x3c);
    EXPECT_EQ(in.offset(), 0U);
}

TEST(Reader, ForgetsWhatLiesBehindItsLimit) {
    const test::Bytes bytes(20);
    Reader in{bytes};
    ASSERT_TRUE(in.skip(4));

    in.limit(6);
    EXPECT_EQ(in.left(), 6U);
    EXPECT_FALSE(in.skip(7));
    in.limit(100);
    EXPECT_EQ(in.left(), 6U);
    EXPECT_TRUE(in.skip(6));
    EXPECT_EQ(in.offset(), 10U);
}

TEST(Reader, OfNothingHasNothing) {
    Reader in{{}};
    std::uint8_t byte = 0;

    EXPECT_FALSE(in.take(byte));
    EXPECT_TRUE(in.skip(0));
    EXPECT_EQ(in.offset(), 0U);
}

}  // namespace
