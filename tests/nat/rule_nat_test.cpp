// SPDX-License-Identifier: BSD-3-Clause
//
// Rules of connections with NAT.
#include "ct/conn/status.hpp"
#include "nat/rule_set.hpp"
#include "tests/nat/rule_packets.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace {

using ct::CtState;
using ct::Dir;
using nat::Action;
using nat::Chain;
using nat::Rule;
using nat::RuleSet;
using test::bit;
using test::packet;
using test::prefix;
using test::rule;

// ---- What the chains see of a connection with NAT: filter stands between DNAT and SNAT.

/// 192.168.1.10:40000 > 203.0.113.1:8080, in truth 10.0.0.5:80, which sees 10.0.0.1:5000.
ct::Packet translated(Dir dir) {
    ct::Packet p = packet();
    p.conn = {0, 1};
    p.original = p.tuple;
    p.original.src = test::addr("192.168.1.10");
    p.original.dst = test::addr("203.0.113.1");
    p.original.sport = ct::Be16::from_host(40000);
    p.original.dport = ct::Be16::from_host(8080);
    p.reply = ct::reply_of(p.original);
    p.reply.src = test::addr("10.0.0.5");
    p.reply.dst = test::addr("10.0.0.1");
    p.reply.sport = ct::Be16::from_host(80);
    p.reply.dport = ct::Be16::from_host(5000);
    p.dir = dir;
    p.tuple = dir == Dir::Original ? p.original : p.reply;
    p.status = ct::status::kNatMask;
    p.state = CtState::Established;
    return p;
}

TEST(ForwardView, ShowsTheTrueEndpointsInBothDirections) {
    const nat::PacketView original = nat::forward_view(translated(Dir::Original));
    const nat::PacketView reply = nat::forward_view(translated(Dir::Reply));

    EXPECT_EQ(original.src, test::addr("192.168.1.10"));
    EXPECT_EQ(original.sport, 40000);
    EXPECT_EQ(original.dst, test::addr("10.0.0.5"));
    EXPECT_EQ(original.dport, 80);
    EXPECT_EQ(reply.src, original.dst);
    EXPECT_EQ(reply.sport, original.dport);
    EXPECT_EQ(reply.dst, original.src);
    EXPECT_EQ(reply.dport, original.sport);
}

TEST(ForwardView, ShowsAnErrorsSenderAsItIs) {
    ct::Packet p = translated(Dir::Reply);
    p.icmp_error = true;
    p.tuple.proto = ct::ipproto::kIcmp;
    p.tuple.src = test::addr("10.0.0.254");

    const nat::PacketView v = nat::forward_view(p);

    EXPECT_EQ(v.src, test::addr("10.0.0.254"));
    EXPECT_EQ(v.dst, test::addr("192.168.1.10"));
    EXPECT_EQ(v.proto, ct::ipproto::kIcmp);
    EXPECT_EQ(v.sport, 0);
}

TEST(ForwardView, ShowsWhatIsOnTheWireWithoutAConnection) {
    const nat::PacketView v = nat::forward_view(packet());

    EXPECT_EQ(v.src, test::addr("192.0.2.1"));
    EXPECT_EQ(v.dport, 80);
}

TEST(ForwardView, ShowsAnIcmpQueryWithoutPorts) {
    ct::Packet p = translated(Dir::Original);
    p.tuple.proto = p.original.proto = p.reply.proto = ct::ipproto::kIcmp;

    EXPECT_EQ(nat::forward_view(p).dport, 0);
}

// iptables -m conntrack --ctstate DNAT matches the first packet too.
TEST(ForwardView, ShowsTheTranslationThatTheFirstPacketWasGiven) {
    ct::Packet p = translated(Dir::Original);
    p.opened = true;
    p.status = 0;
    p.reply = ct::reply_of(p.original);
    EXPECT_EQ(nat::forward_view(p).status, 0);

    p.reply.sport = ct::Be16::from_host(80);
    EXPECT_EQ(nat::forward_view(p).status, ct::status::kDstNat);

    p.reply = ct::reply_of(p.original);
    p.reply.dport = ct::Be16::from_host(80);
    EXPECT_EQ(nat::forward_view(p).status, ct::status::kSrcNat);
}

// ---- NAT rules.

TEST(RuleSet, AcceptInTheNatChainExemptsFromBothKinds) {
    Rule exempt = rule(Chain::Nat, Action::Accept);
    exempt.match.src = prefix("192.0.2.0/24");
    const RuleSet rules{{exempt, test::masquerade(),
                         test::dnat("198.51.100.7", 6, {80, 80}, test::target("10.0.0.1"))},
                        1};
    ct::Packet inside = packet();
    inside.in_port = 1;
    ct::Packet outside = inside;
    outside.tuple.src = test::addr("203.0.113.200");

    EXPECT_EQ(rules.match_snat(0, inside), nullptr);
    EXPECT_EQ(rules.match_dnat(0, inside), nullptr);
    EXPECT_EQ(rules.match_snat(0, outside), &rules.rules()[1]);
    EXPECT_EQ(rules.match_dnat(0, outside), &rules.rules()[2]);
    EXPECT_EQ(rules.hits(0).packets, 2U);
}

TEST(RuleSet, ATargetOfTheOtherFamilyDoesNotMatch) {
    Rule six = test::snat(test::target("2001:db8::1"));
    Rule four = test::snat(test::target("203.0.113.1"));
    const RuleSet rules{{six, four}, 1};

    EXPECT_EQ(rules.match_snat(0, packet()), &rules.rules()[1]);
}

TEST(RuleSet, PeekingCountsNothing) {
    const RuleSet rules{{test::masquerade()}, 1};

    EXPECT_EQ(rules.peek_snat(packet()), &rules.rules()[0]);
    EXPECT_EQ(rules.hits(0).packets, 0U);
}

// ---- INVALID packets must not show inner addresses (kubernetes#74839).

ct::Packet invalid_packet(const char* src, std::uint16_t sport, ct::PortId in, ct::PortId out) {
    ct::Packet p = packet();
    p.state = CtState::Invalid;
    p.tuple.src = test::addr(src);
    p.tuple.sport = ct::Be16::from_host(sport);
    p.in_port = in;
    p.out_port = out;
    return p;
}

TEST(RuleSet, AnInvalidPacketThatWouldBeTranslatedMustNotLeave) {
    Rule exempt = rule(Chain::Nat, Action::Accept);
    exempt.match.src = prefix("192.168.9.0/24");
    Rule new_ones = test::masquerade();
    new_ones.match.states = bit(CtState::New);
    const RuleSet rules{{exempt, new_ones}, 1};

    EXPECT_TRUE(rules.must_not_leave(invalid_packet("192.168.1.10", 1, 0, 1)));
    EXPECT_FALSE(rules.must_not_leave(invalid_packet("192.168.9.10", 1, 0, 1)));  // exempt
    EXPECT_FALSE(rules.must_not_leave(invalid_packet("198.51.100.7", 1, 1, 0)));  // comes in
    EXPECT_FALSE(rules.must_not_leave(invalid_packet("192.168.1.10", 1, 0, ct::kNoPort)));
    ct::Packet valid = invalid_packet("192.168.1.10", 1, 0, 1);
    valid.state = CtState::Established;
    EXPECT_FALSE(rules.must_not_leave(valid));
    valid.state = CtState::Untracked;
    EXPECT_FALSE(rules.must_not_leave(valid));
}

// Policy untracked lets a packet go on without a connection: the same holds for it, and before
// routing for what comes in.
TEST(RuleSet, APacketUntrackedForWantOfRoomMustNotLeaveUntranslated) {
    const RuleSet rules{{test::masquerade(), test::dnat("203.0.113.1", 6, {8080, 8080},
                                                        test::target("192.168.1.10", {80, 80}))},
                        1};
    ct::Packet out = invalid_packet("192.168.1.10", 1, 0, 1);
    out.state = CtState::Untracked;
    EXPECT_FALSE(rules.must_not_leave(out)) << "untracked by a rule";
    out.no_room = true;
    EXPECT_TRUE(rules.must_not_leave(out));
    out.out_port = 2;
    EXPECT_FALSE(rules.must_not_leave(out));

    ct::Packet in = packet();
    in.in_port = 1;
    in.state = CtState::Untracked;
    in.tuple.dst = test::addr("203.0.113.1");
    in.tuple.dport = ct::Be16::from_host(8080);
    EXPECT_EQ(rules.peek_dnat(in), &rules.rules()[1]);
    in.tuple.dport = ct::Be16::from_host(8081);
    EXPECT_EQ(rules.peek_dnat(in), nullptr);
    EXPECT_EQ(rules.hits(0).packets + rules.hits(1).packets, 0U);
}

TEST(RuleSet, AnInvalidAnswerOfAForwardedServiceMustNotLeave) {
    const RuleSet rules{{test::dnat("203.0.113.1", 6, {8080, 8080},
                                    test::target("192.168.1.10-192.168.1.12", {80, 80}))},
                        1};

    EXPECT_TRUE(rules.must_not_leave(invalid_packet("192.168.1.10", 80, 0, 1)));
    EXPECT_TRUE(rules.must_not_leave(invalid_packet("192.168.1.12", 80, 0, 1)));
    EXPECT_FALSE(rules.must_not_leave(invalid_packet("192.168.1.13", 80, 0, 1)));
    EXPECT_FALSE(rules.must_not_leave(invalid_packet("192.168.1.10", 81, 0, 1)));
    EXPECT_FALSE(rules.must_not_leave(invalid_packet("192.168.1.10", 80, 0, 2)));
}

TEST(RuleSet, AnInvalidPacketOfATranslatedConnectionMustNotLeave) {
    ct::Packet p = invalid_packet("192.168.1.10", 80, 0, 1);
    p.status = ct::status::kSrcNat;

    EXPECT_TRUE(RuleSet({}, 1).must_not_leave(p));
}

TEST(RuleSet, PeeksAtItsChainsWithoutCounting) {
    Rule skip = rule(Chain::Raw, Action::Notrack);
    skip.match.dport = {53, 53};
    skip.match.proto = ct::ipproto::kUdp;
    Rule mark = rule(Chain::Filter, Action::Mark);
    mark.value = 7;
    Rule web = rule(Chain::Filter, Action::Reject);
    web.match.mark = 7;
    web.match.mark_mask = 0xff;
    const RuleSet rules{{skip, mark, web}, 1};
    ct::Packet p = packet();
    ct::ConnFacts facts;
    std::vector<std::size_t> raw_hits;
    std::vector<std::size_t> hits;

    EXPECT_FALSE(rules.peek_raw(p, raw_hits).notrack);
    EXPECT_EQ(rules.peek_filter(p, facts, 0, hits).action, Action::Reject);

    EXPECT_TRUE(raw_hits.empty());
    EXPECT_EQ(hits, (std::vector<std::size_t>{1, 2}));
    for (std::size_t i = 0; i <= rules.rules().size(); ++i) EXPECT_EQ(rules.hits(i).packets, 0U);
    ct::Packet counted = packet();
    EXPECT_EQ(rules.filter(0, counted, &facts).action, Action::Reject) << "the same, and counted";
    EXPECT_EQ(rules.hits(2).packets, 1U);
}

}  // namespace
