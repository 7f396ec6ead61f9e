// SPDX-License-Identifier: BSD-3-Clause
//
// The trackers that are a rule or two, and what proto.hpp says of all.
#include "ct/proto/proto.hpp"

#include "tests/proto/frame.hpp"
#include "tests/proto/mini_tracker.hpp"

#include <gtest/gtest.h>

namespace {

using namespace ct;
using proto::Outcome;
using test::Frame;
using test::PacketBuilder;

constexpr Nanos seconds(double s) {
    return static_cast<Nanos>(s * 1e9);
}
constexpr Nanos kStart = 1000 * kNanosPerSecond;

/// A tracker fed with packets between one client and one server.
struct Box {
    test::MiniTracker tracker;

    static PacketBuilder out() { return PacketBuilder{}.ipv4("192.168.1.10", "198.51.100.1"); }
    static PacketBuilder in() { return PacketBuilder{}.ipv4("198.51.100.1", "192.168.1.10"); }

    test::MiniTracker::Result at(double t, const PacketBuilder& b) {
        Frame f{b.build()};
        EXPECT_EQ(f.packet.drop, Drop::None) << name_of(f.packet.drop);
        return tracker.process(f.packet, kStart + seconds(t));
    }
};

std::uint32_t left(const test::MiniTracker::Result& r, double t) {
    return r.conn->remaining_s(kStart + seconds(t));
}

TEST(Udp, UnrepliedLivesThirtySeconds) {
    Box box;

    const auto r = box.at(0, Box::out().udp(4000, 53));

    EXPECT_EQ(r.state, CtState::New);
    EXPECT_EQ(left(r, 0), 30U);
}

TEST(Udp, AnAnswerWithinTwoSecondsMakesNoStream) {
    Box box;
    box.at(0, Box::out().udp(4000, 53));
    box.at(0.1, Box::in().udp(53, 4000));

    const auto r = box.at(1.9, Box::out().udp(4000, 53));

    EXPECT_EQ(r.state, CtState::Established);
    EXPECT_FALSE(r.conn->assured);
    EXPECT_EQ(left(r, 1.9), 30U);
}

TEST(Udp, TrafficBothWaysAfterTwoSecondsIsAStreamAndAssured) {
    Box box;
    box.at(0, Box::out().udp(4000, 53));
    box.at(0.1, Box::in().udp(53, 4000));

    const auto r = box.at(2.1, Box::out().udp(4000, 53));

    EXPECT_TRUE(r.conn->assured);
    EXPECT_TRUE(r.event);
    EXPECT_EQ(left(r, 2.1), 120U);
}

TEST(Udp, TheFirstAnswerItselfMakesNoStreamHoweverLate) {
    Box box;
    box.at(0, Box::out().udp(4000, 53));

    const auto r = box.at(10, Box::in().udp(53, 4000));

    EXPECT_FALSE(r.conn->assured);
    EXPECT_EQ(left(r, 10), 30U);
}

TEST(Udp, OneWayTrafficIsNeverAStream) {
    Box box;
    box.at(0, Box::out().udp(4000, 53));

    const auto r = box.at(20, Box::out().udp(4000, 53));

    EXPECT_EQ(r.state, CtState::New);
    EXPECT_FALSE(r.conn->assured);
    EXPECT_EQ(left(r, 20), 30U);
}

// semantics 2.5: the loser of a NAT clash times out soon.
TEST(Udp, ANatClashIsNeverAssured) {
    Frame f{Box::out().udp(4000, 53).build()};
    const proto::View view{.had_reply = true, .nat_clash = true, .age = 10 * kNanosPerSecond};

    const auto v = proto::update(f.packet, view, Settings{});

    EXPECT_FALSE(v.assured);
}

TEST(Udplite, HasTheTimeoutsOfUdp) {
    Box box;
    EXPECT_EQ(left(box.at(0, Box::out().udplite(4000, 53)), 0), 30U);
    EXPECT_EQ(left(box.at(0.1, Box::in().udplite(53, 4000)), 0.1), 30U);

    const auto r = box.at(3, Box::out().udplite(4000, 53));

    EXPECT_TRUE(r.conn->assured);
    EXPECT_EQ(left(r, 3), 120U);
}

// Unlike UDP: Linux does not wait for two seconds (tests/differential).
TEST(Udplite, IsAStreamWithThePacketAfterTheFirstAnswer) {
    Box box;
    box.at(0, Box::out().udplite(4000, 53));
    box.at(0.1, Box::in().udplite(53, 4000));

    EXPECT_TRUE(box.at(0.2, Box::out().udplite(4000, 53)).conn->assured);
}

TEST(Icmp, AnEchoRequestOpensAndItsReplyBelongs) {
    Box box;
    const auto request = box.at(0, Box::out().echo(7));

    const auto reply = box.at(5, Box::in().echo_reply(7));

    EXPECT_EQ(request.state, CtState::New);
    EXPECT_EQ(reply.state, CtState::Established);
    EXPECT_EQ(reply.dir, Dir::Reply);
    EXPECT_EQ(left(reply, 5), 30U);
    EXPECT_FALSE(reply.conn->assured);
}

TEST(Icmp, OnlyQueriesOpen) {
    for (std::uint8_t type = 0; type <= 18; ++type) {
        Frame f{Box::out().echo(7).build()};
        f.packet.tuple.dport = icmp_type_code(type, 0);
        SideLines side;

        const auto v = proto::open(f.packet, side, Settings{});

        const bool query = type == 8 || type == 13 || type == 15 || type == 17;
        EXPECT_EQ(v.outcome, query ? Outcome::Accept : Outcome::Invalid) << int{type};
    }
}

TEST(Icmpv6, OnlyEchoAndNodeInformationQueriesOpen) {
    for (int type = 0; type <= 255; ++type) {
        Frame f{PacketBuilder{}.ipv6("2001:db8::1", "2001:db8::2").echo(7).build()};
        f.packet.tuple.dport = icmp_type_code(static_cast<std::uint8_t>(type), 0);
        SideLines side;

        const auto v = proto::open(f.packet, side, Settings{});

        EXPECT_EQ(v.outcome == Outcome::Accept, type == 128 || type == 139) << type;
    }
}

TEST(Gre, ThePacketAfterTheFirstReplyMakesAStream) {
    Box box;
    const auto first = box.at(0, Box::out().gre(0x0800));
    EXPECT_EQ(left(first, 0), 30U);

    const auto reply = box.at(0.1, Box::in().gre(0x0800));
    EXPECT_FALSE(reply.conn->assured);
    EXPECT_EQ(left(reply, 0.1), 30U);

    const auto next = box.at(0.2, Box::out().gre(0x0800));
    EXPECT_TRUE(next.conn->assured);
    EXPECT_EQ(left(next, 0.2), 180U);
}

TEST(Gre, ANatClashIsNeverAssured) {
    Frame f{Box::out().gre(0x0800).build()};
    const proto::View view{.had_reply = true, .nat_clash = true};

    EXPECT_FALSE(proto::update(f.packet, view, Settings{}).assured);
}

TEST(Generic, LivesTenMinutesAndIsNeverAssured) {
    Box box;
    box.at(0, Box::out().l4(89, {1, 2, 3, 4}));
    box.at(1, Box::in().l4(89, {1, 2, 3, 4}));

    const auto r = box.at(2, Box::out().l4(89, {1, 2, 3, 4}));

    EXPECT_EQ(r.state, CtState::Established);
    EXPECT_FALSE(r.conn->assured);
    EXPECT_EQ(left(r, 2), 600U);
}

TEST(Timeouts, AreTheSettings) {
    Box box;
    box.tracker.settings.timeouts.udp = 7;
    box.tracker.settings.timeouts.icmp = 8;
    box.tracker.settings.timeouts.gre = 9;
    box.tracker.settings.timeouts.generic = 11;

    EXPECT_EQ(left(box.at(0, Box::out().udp(1, 2)), 0), 7U);
    EXPECT_EQ(left(box.at(0, Box::out().echo(1)), 0), 8U);
    EXPECT_EQ(left(box.at(0, Box::out().gre(0x0800)), 0), 9U);
    EXPECT_EQ(left(box.at(0, Box::out().l4(89, {1, 2, 3, 4})), 0), 11U);
}

TEST(StateName, IsWhatConntrackPrints) {
    EXPECT_STREQ(proto::state_name(ipproto::kTcp, 1), "SYN_SENT");
    EXPECT_STREQ(proto::state_name(ipproto::kTcp, 9), "SYN_SENT2");
    EXPECT_STREQ(proto::state_name(ipproto::kSctp, 7), "SHUTDOWN_ACK_SENT");
    EXPECT_STREQ(proto::state_name(ipproto::kUdp, 0), "");
    EXPECT_STREQ(proto::state_name(ipproto::kTcp, 15), "");
    EXPECT_STREQ(proto::state_name(ipproto::kSctp, 15), "");
}

// semantics 2.4: what gc may evict although it is assured.
TEST(IsClosing, NamesTheStatesThatMayBeEvicted) {
    for (std::uint8_t s = 0; s < 16; ++s) {
        EXPECT_EQ(proto::is_closing(ipproto::kTcp, s), s >= 4 && s <= 8) << int{s};
        EXPECT_EQ(proto::is_closing(ipproto::kSctp, s), s >= 5 && s <= 7) << int{s};
        EXPECT_FALSE(proto::is_closing(ipproto::kUdp, s));
    }
}

}  // namespace
