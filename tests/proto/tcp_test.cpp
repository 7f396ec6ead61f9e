// SPDX-License-Identifier: BSD-3-Clause
//
// What tests/scenario cannot say: malformed options, fragments, packets that parse() would not let
// through, and what open() and update() leave alone.
#include "ct/proto/tcp.hpp"

#include "ct/proto/tcp_states.hpp"
#include "tests/proto/frame.hpp"
#include "tests/proto/mini_tracker.hpp"

#include <gtest/gtest.h>

namespace {

using namespace ct;
using proto::Outcome;
using test::Bytes;
using test::Frame;
using test::PacketBuilder;

constexpr Nanos kStart = 1000 * kNanosPerSecond;

PacketBuilder out() {
    return PacketBuilder{}.ipv4("192.168.1.10", "203.0.113.10").tcp(40000, 80);
}
PacketBuilder in() {
    return PacketBuilder{}.ipv4("203.0.113.10", "192.168.1.10").tcp(80, 40000);
}

/// A connection in the hands of a tracker.
struct Box {
    test::MiniTracker tracker;

    test::MiniTracker::Result send(const PacketBuilder& b) {
        Frame f{b.build()};
        EXPECT_EQ(f.packet.drop, Drop::None) << name_of(f.packet.drop);
        return tracker.process(f.packet, kStart);
    }
    /// The handshake of client number 1000 and server number 5000.
    test::MiniTracker::Result establish() {
        send(out().flags("S").seq(1000).window(1000));
        send(in().flags("SA").seq(5000).ack(1001).window(1000));
        return send(out().flags("A").seq(1001).ack(5001).window(1000));
    }
};

/// The window that the tracker learns from a SYN with these options.
TcpWindow after_syn(const Bytes& options) {
    Frame f{out().flags("S").seq(1000).window(1000).tcp_options(options).build()};
    EXPECT_EQ(f.packet.drop, Drop::None);
    SideLines side;
    EXPECT_EQ(proto::tcp::open(f.packet, side, Settings{}).outcome, Outcome::Accept);
    return side.window[0];
}

TEST(TcpOptions, OfASynAreRead) {
    const TcpWindow w = after_syn({2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7});

    EXPECT_EQ(w.scale, 7);
    EXPECT_EQ(w.flags, proto::tcp::flag::kScaled | proto::tcp::flag::kSackPermitted);
}

TEST(TcpOptions, BehindTheEndOfListAreNotRead) {
    EXPECT_EQ(after_syn({1, 0, 3, 3, 7, 4, 2, 0}).flags, 0);
}

TEST(TcpOptions, ThatLieAboutTheirLengthEndTheList) {
    EXPECT_EQ(after_syn({3, 0, 3, 3, 7, 0, 0, 0}).flags, 0);  // no progress
    EXPECT_EQ(after_syn({3, 1, 3, 3, 7, 0, 0, 0}).flags, 0);  // shorter than its own head
    EXPECT_EQ(after_syn({1, 1, 3, 200}).flags, 0);            // past the header
    EXPECT_EQ(after_syn({1, 1, 1, 3}).flags, 0);              // no room for a length
    EXPECT_EQ(after_syn({3, 4, 7, 7}).flags, 0);              // not the size of a window scale
    EXPECT_EQ(after_syn({4, 3, 7, 1}).flags, 0);              // nor of SACK-permitted
}

// Any 40 bytes may stand where options do; the sanitizer watches.
TEST(TcpOptions, AnyBytesAreSafe) {
    std::uint32_t random = 1;
    for (int round = 0; round < 20'000; ++round) {
        Bytes options(4 * (1 + static_cast<std::size_t>(round) % 10));
        for (auto& byte : options) {
            random = random * 1'664'525 + 1'013'904'223;
            byte = static_cast<std::uint8_t>((random >> 24) % (round % 2 == 0 ? 12 : 256));
        }
        Frame syn{out().flags("S").seq(1000).tcp_options(options).build()};
        Frame ack{out().flags("A").seq(1001).ack(5001).tcp_options(options).build()};
        SideLines side;
        static_cast<void>(proto::open(syn.packet, side, Settings{}));
        side.window[1].flags = proto::tcp::flag::kSackPermitted;
        side.window[1].max_window = 1;
        const proto::View view{.state = index_of(TcpState::Established), .side = &side};
        static_cast<void>(proto::update(ack.packet, view, Settings{}));
    }
}

TEST(TcpSack, OfAnOddSizeIsNotRead) {
    Box box;
    box.send(out().flags("S").seq(1000).window(1000).tcp_options({4, 2}));
    box.send(in().flags("SA").seq(5000).ack(1001).window(1000).tcp_options({4, 2}));

    const auto r = box.send(out().flags("A").seq(1001).ack(5001).window(1000).tcp_options(
        {5, 8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}));

    EXPECT_EQ(r.verdict.outcome, Outcome::Accept);
}

TEST(Tcp, FlagsThatNoStackSendsAreInvalidInEveryState) {
    for (unsigned flags = 0; flags < 256; ++flags) {
        if (proto::classify(static_cast<std::uint8_t>(flags)) != proto::Segment::None) continue;
        Box box;
        const auto established = box.establish();
        Frame f{out().flags("A").seq(1001).ack(5001).window(1000).build()};
        f.packet.tcp_flags = static_cast<std::uint8_t>(flags);
        const proto::View view{.state = established.conn->state,
                               .had_reply = true,
                               .assured = true,
                               .remaining_s = 1000,
                               .side = &established.conn->side};

        const auto v = proto::update(f.packet, view, Settings{});

        EXPECT_EQ(v.outcome, Outcome::Invalid) << flags;
        EXPECT_FALSE(v.refresh);
        EXPECT_FALSE(v.cut);
    }
}

TEST(Tcp, AnInvalidSegmentLeavesTheWindowsAlone) {
    Box box;
    const auto before = box.establish();
    const TcpWindow original = before.conn->side.window[0];
    const TcpWindow reply = before.conn->side.window[1];

    const auto r = box.send(out().flags("PA").seq(500'000).ack(5001).window(1000).payload("x"));

    EXPECT_EQ(r.verdict.outcome, Outcome::Invalid);
    EXPECT_EQ(std::memcmp(&original, &r.conn->side.window[0], sizeof original), 0);
    EXPECT_EQ(std::memcmp(&reply, &r.conn->side.window[1], sizeof reply), 0);
}

TEST(Tcp, ALaterFragmentRefreshesAnEstablishedConnectionOnly) {
    SideLines side;
    side.last.window = 1000;
    Frame f{out().flags("A").seq(1).ack(1).build()};
    f.packet.fragment = Fragment::Later;

    for (std::uint8_t state = 1; state < kTcpStates; ++state) {
        const proto::View view{.state = state, .had_reply = true, .assured = true, .side = &side};

        const auto v = proto::update(f.packet, view, Settings{});

        const bool established = TcpState{state} == TcpState::Established;
        EXPECT_EQ(v.outcome, Outcome::Accept);
        EXPECT_EQ(v.state, state);
        EXPECT_EQ(v.refresh, established);
        EXPECT_TRUE(v.assured);
        EXPECT_FALSE(v.state_changed);
        if (established) {
            EXPECT_EQ(v.timeout_s, 432'000U);
        }
    }
}

// Nobody knows how long a segment is of which only the first fragment was seen.
TEST(Tcp, TheAcknowledgementOfAFragmentedSegmentIsBelieved) {
    Box box;
    box.establish();
    Frame first{out().flags("PA").seq(1001).ack(5001).window(1000).payload_bytes(100).build()};
    first.packet.fragment = Fragment::First;
    EXPECT_EQ(box.tracker.process(first.packet, kStart).state, CtState::Established);

    const auto r = box.send(in().flags("A").seq(5001).ack(9001).window(1000));

    EXPECT_EQ(r.verdict.outcome, Outcome::Accept);
}

TEST(Tcp, AFirstFragmentOutOfWindowDoesNotEndWindowTracking) {
    Box box;
    box.establish();
    Frame first{out().flags("PA").seq(900'001).ack(5001).window(1000).payload_bytes(100).build()};
    first.packet.fragment = Fragment::First;
    EXPECT_EQ(box.tracker.process(first.packet, kStart).state, CtState::Invalid);

    const auto r = box.send(in().flags("A").seq(5001).ack(9001).window(1000));

    EXPECT_EQ(r.verdict.outcome, Outcome::Invalid);
}

TEST(Tcp, LinkPaddingIsNotPayload) {
    Box box;
    box.establish();

    box.send(out().flags("A").seq(1001).ack(5001).window(1000).pad_to(60));
    const auto r = box.send(in().flags("A").seq(5001).ack(1002).window(1000));

    EXPECT_EQ(r.verdict.outcome, Outcome::Invalid);  // 1002 was never sent
}

TEST(Tcp, WorksOverIpv6) {
    test::MiniTracker tracker;
    const auto feed = [&](const char* from, const char* to, PacketBuilder b) {
        Frame f{b.ipv6(from, to).build()};
        return tracker.process(f.packet, kStart).state;
    };
    const char* client = "2001:db8::1";
    const char* server = "2001:db8::2";

    EXPECT_EQ(feed(client, server, PacketBuilder{}.tcp(9, 80).flags("S").seq(7)), CtState::New);
    EXPECT_EQ(feed(server, client, PacketBuilder{}.tcp(80, 9).flags("SA").seq(4).ack(8)),
              CtState::Established);
    EXPECT_EQ(feed(client, server, PacketBuilder{}.tcp(9, 80).flags("A").seq(8).ack(9)),
              CtState::Invalid);
}

TEST(Tcp, TimeoutsAreTheSettings) {
    Box box;
    Timeouts& t = box.tracker.settings.timeouts;
    t.tcp[index_of(TcpState::SynSent)] = 11;
    t.tcp[index_of(TcpState::SynRecv)] = 12;
    t.tcp[index_of(TcpState::Established)] = 500;
    t.tcp_unacknowledged = 13;

    EXPECT_EQ(box.send(out().flags("S").seq(1000)).verdict.timeout_s, 11U);
    EXPECT_EQ(box.send(in().flags("SA").seq(5000).ack(1001)).verdict.timeout_s, 12U);
    EXPECT_EQ(box.send(out().flags("A").seq(1001).ack(5001).window(9)).verdict.timeout_s, 500U);
    EXPECT_EQ(
        box.send(out().flags("PA").seq(1001).ack(5001).window(9).payload("x")).verdict.timeout_s,
        13U);
}

// ---- RFC 7857 2.2: a connection outlives a RST (Timeouts::tcp_rst_waits).

/// A tracker as `timers = "rfc"` has it, in this regard.
struct WaitingBox : Box {
    WaitingBox() {
        Timeouts& t = tracker.settings.timeouts;
        t.tcp_rst_waits = true;
        t.tcp[index_of(TcpState::Close)] = 240;
    }
};

TcpState state_of(const test::MiniTracker::Result& r) {
    return r.conn == nullptr ? TcpState::None : TcpState{r.conn->state};
}

TEST(TcpRst, OfNobodyWhoWasAnsweredEndsItsConnectionAtOnceAsInLinux) {
    Box box;
    box.send(out().flags("S").seq(1000));

    const auto r = box.send(in().flags("RA").seq(0).ack(1001));

    EXPECT_EQ(r.verdict.outcome, Outcome::Kill);
    EXPECT_EQ(r.conn, nullptr);
}

TEST(TcpRst, LeavesItsConnectionForFourMinutesWhateverWasSeenBefore) {
    WaitingBox refused;
    refused.send(out().flags("S").seq(1000));
    const auto no = refused.send(in().flags("RA").seq(0).ack(1001));
    EXPECT_EQ(state_of(no), TcpState::Close);
    EXPECT_EQ(no.verdict.timeout_s, 240U);
    EXPECT_EQ(no.state, CtState::Established) << "it is passed on, as an answer";

    WaitingBox given_up;
    given_up.send(out().flags("S").seq(1000));
    const auto gone = given_up.send(out().flags("R").seq(1001));
    EXPECT_EQ(state_of(gone), TcpState::Close);
    EXPECT_EQ(gone.verdict.timeout_s, 240U);

    WaitingBox cut;
    cut.establish();
    const auto end = cut.send(in().flags("R").seq(5001));
    EXPECT_EQ(state_of(end), TcpState::Close);
    EXPECT_EQ(end.verdict.timeout_s, 240U);
}

// "... if no packets are received during that 4-minute timeout."
TEST(TcpRst, IsFollowedByPacketsThatKeepTheConnectionWithoutOpeningIt) {
    WaitingBox box;
    box.establish();
    box.send(in().flags("R").seq(5001));

    // The other side has sent this before it learned of the RST, or did not get it.
    const auto r = box.send(out().flags("PA").seq(1001).ack(5001).window(1000).payload("x"));

    EXPECT_EQ(state_of(r), TcpState::Close);
    EXPECT_TRUE(r.verdict.refresh);
    EXPECT_EQ(r.verdict.timeout_s, 240U);
}

TEST(TcpRst, IsUndoneWhereItsSenderGoesOn) {
    WaitingBox box;
    box.establish();
    box.send(in().flags("R").seq(5001));

    const auto r = box.send(in().flags("PA").seq(5001).ack(1001).window(1000).payload("x"));
    EXPECT_EQ(state_of(r), TcpState::Established);
    EXPECT_TRUE(r.verdict.state_changed);
    EXPECT_TRUE(r.conn->assured);
    const auto ack = box.send(out().flags("A").seq(1001).ack(5002).window(1000));
    EXPECT_EQ(ack.verdict.timeout_s, 432'000U);

    // One that is meant ends it again, and the other side's data no longer bring it back.
    EXPECT_EQ(state_of(box.send(in().flags("R").seq(5002))), TcpState::Close);
    EXPECT_EQ(state_of(box.send(out().flags("A").seq(1001).ack(5002).window(1000))),
              TcpState::Close);
}

TEST(TcpRst, IsUndoneByAFinLikewise) {
    WaitingBox box;
    box.establish();
    box.send(out().flags("R").seq(1001));

    EXPECT_EQ(state_of(box.send(out().flags("FA").seq(1001).ack(5001).window(1000))),
              TcpState::FinWait);
}

TEST(TcpRst, IsNotUndoneByWhatDoesNotFitTheWindow) {
    WaitingBox box;
    box.establish();
    box.send(in().flags("R").seq(5001));

    const auto r = box.send(in().flags("A").seq(900'000).ack(1001).window(1000));

    EXPECT_EQ(r.verdict.outcome, Outcome::Invalid);
    EXPECT_EQ(state_of(box.send(out().flags("A").seq(1001).ack(5001).window(1000))),
              TcpState::Close);
}

TEST(TcpRst, IsBelievedForGoodAsInLinuxUnlessToldOtherwise) {
    Box box;
    box.establish();
    box.send(in().flags("R").seq(5001));

    const auto r = box.send(in().flags("PA").seq(5001).ack(1001).window(1000).payload("x"));

    EXPECT_EQ(state_of(r), TcpState::Close);
    EXPECT_EQ(r.verdict.timeout_s, 10U);
}

}  // namespace
