// SPDX-License-Identifier: BSD-3-Clause
//
// What the trackers say of their verdicts: the right reason, the setting that the time-out is of,
// and never a verdict that is not the one of update().
#include "ct/proto/why.hpp"

#include "ct/proto/tcp_states.hpp"
#include "ct/proto/tcp_window.hpp"
#include "tests/proto/frame.hpp"
#include "tests/proto/mini_tracker.hpp"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>
#include <vector>

namespace {

using namespace ct;
using proto::Outcome;
using proto::TimeoutName;
using proto::Why;
using test::Frame;
using test::PacketBuilder;

constexpr Nanos kStart = 1000 * kNanosPerSecond;

PacketBuilder out() {
    return PacketBuilder{}.ipv4("192.0.2.10", "203.0.113.10").tcp(40000, 80).window(1000);
}
PacketBuilder in() {
    return PacketBuilder{}.ipv4("203.0.113.10", "192.0.2.10").tcp(80, 40000).window(1000);
}

/// A connection whose next packet is explained before it is judged.
struct Box {
    test::MiniTracker tracker;
    Nanos now = kStart;
    proto::tcp::WindowCheck window;

    /// The reasons for the packet's verdict. Fails if judging it comes to another verdict.
    proto::Verdict send(const PacketBuilder& b) {
        Frame f{b.build()};
        EXPECT_EQ(f.packet.drop, Drop::None) << name_of(f.packet.drop);
        return judge(f.packet);
    }
    proto::Verdict judge(Packet& p) {
        window = {};
        test::MiniConn* conn = tracker.find(p.tuple);
        if (conn == nullptr) {
            SideLines scratch;
            const proto::Verdict told = proto::open(p, scratch, tracker.settings);
            static_cast<void>(tracker.process(p, now));
            return told;
        }
        p.dir = p.tuple == conn->original ? Dir::Original : Dir::Reply;
        SideLines copy;
        copy.last = conn->side.last;
        copy.window = conn->side.window;
        const proto::View view{.state = conn->state,
                               .had_reply = conn->seen_reply,
                               .assured = conn->assured,
                               .remaining_s = conn->remaining_s(now),
                               .age = now - conn->born,
                               .side = &copy};
        const proto::Verdict told = proto::explain(p, view, tracker.settings, window);
        const proto::Verdict done = tracker.process(p, now).verdict;
        // The mini tracker answers a reopening with the verdict on the connection that follows.
        if (told.outcome == Outcome::Reopen) return told;
        EXPECT_EQ(told.outcome, done.outcome);
        EXPECT_EQ(told.state, done.state);
        EXPECT_EQ(told.assured, done.assured);
        EXPECT_EQ(told.refresh, done.refresh);
        EXPECT_EQ(told.state_changed, done.state_changed);
        EXPECT_EQ(told.timeout_s, done.timeout_s);
        EXPECT_EQ(told.cut, done.cut);
        return told;
    }
    Why why(const PacketBuilder& b) { return send(b).why; }

    /// The handshake of client number 1000 and server number 5000.
    void establish() {
        send(out().flags("S").seq(1000));
        send(in().flags("SA").seq(5000).ack(1001));
        send(out().flags("A").seq(1001).ack(5001));
    }
    /// The state and both FINs, up to TIME_WAIT.
    void close() {
        send(out().flags("FA").seq(1001).ack(5001));
        send(in().flags("FA").seq(5001).ack(1002));
        send(out().flags("A").seq(1002).ack(5002));
    }
};

/// A time-out of its own for every setting, and what they are called.
std::map<std::uint32_t, std::string> distinct(Timeouts& t) {
    std::map<std::uint32_t, std::string> names;
    std::uint32_t next = 1000;
    const auto take = [&](Live<std::uint32_t>& setting, std::string name) {
        setting = ++next;
        names[next] = "nf_conntrack_" + name;
    };
    const std::array<std::string, kTcpStates> states{
        "",           "syn_sent", "syn_recv",  "established", "fin_wait",
        "close_wait", "last_ack", "time_wait", "close",       "syn_sent2"};
    take(t.tcp_max_retrans, "tcp_timeout_max_retrans");
    take(t.tcp_unacknowledged, "tcp_timeout_unacknowledged");
    for (std::size_t i = 1; i < kTcpStates; ++i) take(t.tcp[i], "tcp_timeout_" + states[i]);
    take(t.udp, "udp_timeout");
    take(t.udp_stream, "udp_timeout_stream");
    take(t.icmp, "icmp_timeout");
    take(t.icmpv6, "icmpv6_timeout");
    take(t.gre, "gre_timeout");
    take(t.gre_stream, "gre_timeout_stream");
    take(t.generic, "generic_timeout");
    return names;
}

TEST(Why, AHandshakeOpensAndBelongs) {
    Box box;

    EXPECT_EQ(box.why(out().flags("S").seq(1000)), Why::Opens);
    EXPECT_EQ(box.why(in().flags("SA").seq(5000).ack(1001)), Why::Belongs);
    EXPECT_EQ(box.why(out().flags("A").seq(1001).ack(5001)), Why::Belongs);
}

TEST(Why, WhatCannotOpenIsToldApart) {
    Box box;
    EXPECT_EQ(box.why(out().flags("SA").seq(1000).ack(1)), Why::CannotBegin);

    box.tracker.settings.tcp_loose = false;
    EXPECT_EQ(box.why(out().flags("A").seq(1000).ack(1)), Why::NotLoose);

    box.tracker.settings.tcp_loose = true;
    EXPECT_EQ(box.why(out().flags("A").seq(1000).ack(1)), Why::PickedUp);
}

// semantics: inequality I, and what overshoots by less than a window.
TEST(Why, ASegmentAheadOfItsWindow) {
    Box box;
    box.establish();

    EXPECT_EQ(box.why(out().flags("PA").seq(500'000).ack(5001).payload("x")), Why::AheadOfWindow);
    EXPECT_TRUE(box.window.made);
    EXPECT_FALSE(box.window.fitting.not_ahead);
    EXPECT_EQ(box.window.segment.seq, 500'000U);
    EXPECT_EQ(box.window.sender.max_end, 2001U);
    EXPECT_EQ(box.why(out().flags("PA").seq(2002).ack(5001).payload("x")), Why::Overshoots);
}

TEST(Why, OldDataAndOldAcknowledgements) {
    Box box;
    box.establish();
    for (std::uint32_t n = 0; n < 200; ++n) {
        box.send(out()
                     .flags("PA")
                     .seq(1001 + n * 500)
                     .ack(5001 + n * 500)
                     .payload(std::string(500, 'x')));
        box.send(in().flags("PA")
                     .seq(5001 + n * 500)
                     .ack(1501 + n * 500)
                     .payload(std::string(500, 'y')));
    }

    EXPECT_EQ(box.why(out().flags("PA").seq(1001).ack(105'001).payload("x")), Why::OldData);
    EXPECT_EQ(box.why(out().flags("A").seq(101'001).ack(5001)), Why::OldAck);
}

TEST(Why, AnAcknowledgementOfWhatWasNeverSent) {
    Box box;
    box.establish();

    EXPECT_EQ(box.why(out().flags("A").seq(1001).ack(9001)), Why::AckOfUnsent);
    EXPECT_FALSE(box.window.fitting.ack_seen);
}

TEST(Why, LiberalTrackingLetsPassWhatIsOutOfWindow) {
    Box box;
    box.establish();
    box.tracker.settings.tcp_be_liberal = true;

    EXPECT_EQ(box.why(out().flags("PA").seq(500'000).ack(5001).payload("x")), Why::Liberal);
}

TEST(Why, ResetsByWhatMakesThemCredible) {
    Box box;
    box.establish();
    EXPECT_EQ(box.why(in().flags("R").seq(4000)), Why::RstForged);
    EXPECT_EQ(box.why(in().flags("R").seq(5100)), Why::RstChallenged);
    EXPECT_EQ(box.why(in().flags("RA").seq(5001).ack(1001)), Why::Belongs);
    EXPECT_EQ(box.why(in().flags("R").seq(1)), Why::RstUnquestioned) << "closing";

    Box refused;
    refused.send(out().flags("S").seq(1000));
    EXPECT_EQ(refused.why(in().flags("RA").seq(0).ack(1001)), Why::RstUnanswered);

    Box waiting;
    waiting.tracker.settings.timeouts.tcp_rst_waits = true;
    waiting.establish();
    EXPECT_EQ(waiting.why(in().flags("R").seq(5001)), Why::Belongs);
    EXPECT_EQ(waiting.why(in().flags("A").seq(5001).ack(1001)), Why::RstUndone);
}

TEST(Why, SynsThatDoNotOpen) {
    Box box;
    box.send(out().flags("S").seq(1000));
    EXPECT_EQ(box.why(out().flags("S").seq(1000)), Why::SynRepeated);

    box.send(in().flags("SA").seq(5000).ack(1001));
    box.send(out().flags("A").seq(1001).ack(5001));
    EXPECT_EQ(box.why(out().flags("S").seq(70'000)), Why::StateIgnores);
    EXPECT_EQ(box.why(in().flags("SA").seq(90'000).ack(70'001)), Why::Resynchronises);
}

TEST(Why, ATupleThatIsUsedAgain) {
    Box box;
    box.establish();
    box.close();

    EXPECT_EQ(box.why(out().flags("S").seq(900'000)), Why::Reopens);
}

TEST(Why, AChallengeAckIsNotTheLastAck) {
    Box box;
    box.establish();
    box.send(out().flags("FA").seq(1001).ack(5001));
    box.send(in().flags("FA").seq(5001).ack(1002));
    EXPECT_EQ(box.why(out().flags("S").seq(70'000)), Why::StateIgnores);

    EXPECT_EQ(box.why(in().flags("A").seq(5002).ack(1002)), Why::AnswersStraySyn);
}

TEST(Why, ASimultaneousOpen) {
    Box box;
    box.send(out().flags("S").seq(1000));

    EXPECT_EQ(box.why(in().flags("S").seq(5000)), Why::SimultaneousOpen);
    EXPECT_EQ(box.why(in().flags("SA").seq(5000).ack(1001)), Why::Belongs);
    EXPECT_EQ(box.why(in().flags("A").seq(5001).ack(1001)), Why::SimultaneousOpen);
}

TEST(Why, AStateThatAdmitsNoSuchSegment) {
    Box box;
    box.send(out().flags("S").seq(1000));

    EXPECT_EQ(box.why(out().flags("SA").seq(1000).ack(1)), Why::NoTransition);
}

TEST(Why, AnEchoReplyOpensNothing) {
    Frame f{PacketBuilder{}.ipv4("192.0.2.10", "203.0.113.10").icmp(0, 0).build()};
    SideLines side;

    EXPECT_EQ(proto::open(f.packet, side, Settings{}).why, Why::NoQuery);
}

TEST(TimeoutName, IsTheSettingThatTheVerdictTook) {
    Settings settings;
    const auto names = distinct(settings.timeouts);
    const auto check = [&](const proto::Verdict& v) {
        if (v.outcome != Outcome::Accept) return;
        EXPECT_EQ(names.at(v.timeout_s), sysctl_of(v.timeout));
    };
    for (const std::uint8_t protocol :
         {ipproto::kUdp, ipproto::kUdplite, ipproto::kIcmp, ipproto::kIcmpv6, ipproto::kGre,
          std::uint8_t{2}, ipproto::kDccp}) {
        Packet p;
        p.tuple.proto = protocol;
        p.tuple.dport = icmp_type_code(protocol == ipproto::kIcmpv6 ? 128 : 8, 0);
        SideLines side;
        check(proto::open(p, side, settings));
        for (const bool replied : {false, true})
            for (const Nanos age : {Nanos{0}, 10 * kNanosPerSecond}) {
                proto::tcp::WindowCheck seen;
                check(proto::explain(p, {.had_reply = replied, .age = age}, settings, seen));
            }
    }
}

// Any segments in any order: what is explained is what is decided, and the time-out has its name.
TEST(TimeoutName, OfAnySegmentIsTheSettingThatTheVerdictTook) {
    constexpr std::array<std::string_view, 7> kFlags{"S", "SA", "A", "PA", "FA", "R", "RA"};
    for (std::uint32_t seed = 1; seed <= 300; ++seed) {
        SCOPED_TRACE("seed " + std::to_string(seed));
        std::mt19937 engine{seed};
        const auto random = [&engine] { return static_cast<std::uint32_t>(engine()); };
        Box box;
        box.tracker.settings.tcp_be_liberal = seed % 5 == 0;
        const auto names = distinct(box.tracker.settings.timeouts);
        if (seed % 2 == 0) box.establish();
        for (int i = 0; i < 40; ++i) {
            const bool reply = random() % 2 != 0;
            PacketBuilder b = reply ? in() : out();
            const std::uint32_t seq = (reply ? 5000 : 1000) + random() % 1200;
            const std::uint32_t ack = (reply ? 1000 : 5000) + random() % 1200;
            b.flags(kFlags[random() % kFlags.size()]).seq(seq).ack(ack);
            b.window(static_cast<std::uint16_t>(random() % 4 == 0 ? 0 : 1000));
            const proto::Verdict v = box.send(b);
            if (v.outcome == Outcome::Accept || v.cut) {
                EXPECT_EQ(names.at(v.timeout_s), sysctl_of(v.timeout));
            }
            if (v.outcome == Outcome::Invalid || v.outcome == Outcome::Ignore) {
                EXPECT_NE(v.why, Why::Belongs);
            }
        }
    }
}

TEST(Whys, HaveNamesOfTheirOwnAndSayWhatTheyMean) {
    std::map<std::string_view, int> seen;
    for (const proto::WhyInfo& info : proto::kWhys) {
        EXPECT_EQ(++seen[info.name], 1) << info.name;
        EXPECT_GT(info.help.size(), 15U) << info.name;
    }
}

}  // namespace
