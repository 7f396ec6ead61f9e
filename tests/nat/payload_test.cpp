// SPDX-License-Identifier: BSD-3-Clause
//
// Payloads that change: what comes out is, byte for byte, the packet that would have been sent with
// the other payload in the first place.
#include "nat/payload.hpp"

#include "ct/wire/parse.hpp"
#include "tests/support/packet_builder.hpp"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <string_view>

namespace {

using nat::Edited;
using test::Bytes;
using test::PacketBuilder;

constexpr std::uint32_t kRoom = 2048;

Bytes bytes_of(std::string_view text) {
    return {text.begin(), text.end()};
}

/// The frame after the edit, in a buffer with room for `room` bytes.
struct Result {
    Edited edited;
    Bytes frame;
    ct::Packet packet;
};

Result edit(const Bytes& frame, std::uint32_t offset, std::uint32_t length, std::string_view with,
            std::uint32_t room = kRoom) {
    Bytes buffer = frame;
    buffer.resize(std::max<std::size_t>(room, frame.size()), 0xee);
    Result out;
    ct::Packet& p = out.packet;
    p.data = buffer.data();
    p.length = static_cast<std::uint32_t>(frame.size());
    EXPECT_EQ(ct::parse(p, {}), ct::Drop::None);
    const Bytes fresh = bytes_of(with);
    out.edited = nat::edit_payload(p, room, {.offset = offset, .length = length, .with = fresh});
    out.frame.assign(buffer.begin(), buffer.begin() + p.length);
    return out;
}

enum class Kind { Tcp4, Tcp6, Udp4, Udp6, TcpWithOptions, Udp6WithExtension };

PacketBuilder packet(Kind kind, std::string_view payload) {
    PacketBuilder b;
    const bool six = kind == Kind::Tcp6 || kind == Kind::Udp6 || kind == Kind::Udp6WithExtension;
    six ? b.ipv6("2001:db8::1", "2001:db8::2") : b.ipv4("192.0.2.1", "198.51.100.2");
    if (kind == Kind::Udp6WithExtension) b.destination();
    if (kind == Kind::Tcp4 || kind == Kind::Tcp6 || kind == Kind::TcpWithOptions)
        b.tcp(4000, 21).flags("PA").seq(1000).ack(2000);
    else
        b.udp(4000, 5060);
    if (kind == Kind::TcpWithOptions) b.tcp_options({1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2});
    return b.payload(payload);
}

constexpr Kind kKinds[] = {Kind::Tcp4, Kind::Tcp6,           Kind::Udp4,
                           Kind::Udp6, Kind::TcpWithOptions, Kind::Udp6WithExtension};

TEST(EditPayload, IsAsIfTheOtherPayloadHadBeenSent) {
    const std::string before = "PORT 10,0,0,1,7,208 and more";
    for (const Kind kind : kKinds)
        for (const std::string_view with : {"", "1", "203,0,113,1", "198,51,100,200,254,255,255"})
            for (const std::uint32_t offset : {0U, 5U, 6U, 27U, 28U})
                for (const std::uint32_t length : {0U, 1U, 8U}) {
                    if (offset + length > before.size()) continue;
                    std::string after = before;
                    after.replace(offset, length, with);

                    const Result r = edit(packet(kind, before).build(), offset, length, with);

                    ASSERT_EQ(r.edited, Edited::Done);
                    EXPECT_EQ(r.frame, packet(kind, after).build())
                        << int(kind) << " at " << offset << " for " << length;
                }
}

TEST(EditPayload, AnySeriesOfEditsIsAsGoodAsOne) {
    std::mt19937 random{7};
    for (int round = 0; round < 200; ++round) {
        const Kind kind = kKinds[random() % 6];
        std::string text(1 + random() % 300, 'a');
        for (char& c : text) c = static_cast<char>(random());
        Bytes frame = packet(kind, text).build();
        for (int step = 0; step < 5; ++step) {
            const auto offset = static_cast<std::uint32_t>(random() % (text.size() + 1));
            const auto length = static_cast<std::uint32_t>(random() % (text.size() - offset + 1));
            std::string with(random() % 40, 'x');
            for (char& c : with) c = static_cast<char>(random());
            text.replace(offset, length, with);
            const Result r = edit(frame, offset, length, with);
            ASSERT_EQ(r.edited, Edited::Done);
            frame = r.frame;
        }
        ASSERT_EQ(frame, packet(kind, text).build()) << "round " << round;
    }
}

TEST(EditPayload, AWrongChecksumStaysWrong) {
    const Bytes good = packet(Kind::Tcp4, "10.0.0.1").build();
    Bytes buffer = good;
    buffer.resize(kRoom);
    ct::Packet p;
    p.data = buffer.data();
    p.length = static_cast<std::uint32_t>(good.size());
    ASSERT_EQ(ct::parse(p, {}), ct::Drop::None);
    buffer[14 + 20 + 16] ^= 0x10;  // the checksum's first byte
    const Bytes with = bytes_of("203.0.113.1");

    ASSERT_EQ(nat::edit_payload(p, kRoom, {.offset = 0, .length = 8, .with = with}), Edited::Done);

    ct::Packet received;
    received.data = buffer.data();
    received.length = p.length;
    EXPECT_NE(ct::parse(received, {}), ct::Drop::None);
}

TEST(EditPayload, UdpWithoutAChecksumStaysWithout) {
    const Result r =
        edit(packet(Kind::Udp4, "10.0.0.1").with_l4_checksum(0).build(), 0, 8, "203.0.113.1");

    EXPECT_EQ(r.frame, packet(Kind::Udp4, "203.0.113.1").with_l4_checksum(0).build());
}

TEST(EditPayload, LinkPaddingIsCutOff) {
    const Bytes padded = packet(Kind::Udp4, "ab").pad_to(60).build();
    ASSERT_EQ(padded.size(), 60U);

    const Result r = edit(padded, 1, 1, "cd");

    EXPECT_EQ(r.frame, packet(Kind::Udp4, "acd").build());
}

/// True if the packet was left alone.
bool untouched(const Bytes& frame, const Result& r) {
    return r.frame == frame;
}

TEST(EditPayload, WhatCannotBeDoneLeavesThePacketAlone) {
    const Bytes tcp = packet(Kind::Tcp4, "0123456789").build();
    const auto size = static_cast<std::uint32_t>(tcp.size());
    struct Case {
        Bytes frame;
        std::uint32_t offset, length;
        std::string with;
        std::uint32_t room;
        Edited why;
    };
    const Case cases[] = {
        {tcp, 11, 0, "x", kRoom, Edited::Outside},
        {tcp, 5, 6, "x", kRoom, Edited::Outside},
        {tcp, 0xffff'ffff, 1, "x", kRoom, Edited::Outside},
        {tcp, 1, 0xffff'ffff, "x", kRoom, Edited::Outside},
        {tcp, 0, 1, "xy", size, Edited::NoRoom},
        {tcp, 0, 10, std::string(65'530, 'x'), 70'000, Edited::TooLong},
        {packet(Kind::Udp4, "01234567").fragment(0, true).build(), 0, 1, "xy", kRoom,
         Edited::Fragment},
        {PacketBuilder{}.ipv4("192.0.2.1", "192.0.2.2").udplite(1, 2).payload("0123").build(), 0, 1,
         "xy", kRoom, Edited::Unsupported},
        {PacketBuilder{}.ipv4("192.0.2.1", "192.0.2.2").echo(1).payload("0123").build(), 0, 1, "xy",
         kRoom, Edited::Unsupported},
    };
    for (const Case& c : cases) {
        const Result r = edit(c.frame, c.offset, c.length, c.with, c.room);
        EXPECT_EQ(r.edited, c.why);
        EXPECT_TRUE(untouched(c.frame, r)) << int(c.why);
    }
    EXPECT_EQ(edit(tcp, 0, 1, "xy", size + 1).edited, Edited::Done) << "exactly enough room";
}

}  // namespace
