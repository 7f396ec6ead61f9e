// SPDX-License-Identifier: BSD-3-Clause
//
// What stands around an entry: zones by direction, time-out policies, event masks, helpers, labels,
// settings that change, and entries that control makes and changes.
#include "ct/conn/helpers.hpp"
#include "tests/ct/packets.hpp"

#include <gtest/gtest.h>

namespace ct::test {
namespace {

constexpr Nanos kStart = 1000 * kNanosPerSecond;

Settings settings(std::uint32_t max) {
    Settings s;
    s.max = max;
    s.embryonic_percent = 100;
    return s;
}

Tuple flow(std::uint16_t port, std::uint8_t proto = ipproto::kUdp) {
    return tuple4(proto, kClient, port, kServer, 53);
}

Packet in_zone(Tuple t, std::uint16_t original, std::uint16_t reply) {
    t.zone = original;
    Packet p = packet(t);
    p.track.split_zone = original != reply;
    p.track.reply_zone = reply;
    return p;
}

Injection injection(const Tuple& t) {
    Injection e;
    e.original = t;
    e.reply = reply_of(t);
    e.timeout_s = 100;
    return e;
}

std::vector<Event> events_of(Conntrack& ct, WorkerId w) {
    std::vector<Event> out;
    for (Event e; ct.next_event(w, e);) out.push_back(e);
    return out;
}

// iptables' CT --zone-orig: clients with the same addresses in zones 5 and 6 share an uplink, from
// which answers come without a zone.
TEST(Zones, OfTheOriginalDirectionOnlyKeepClientsApartAndFindTheirAnswers) {
    Conntrack ct{settings(100), 1, 1};
    Packet five = in_zone(flow(1), 5, 0);
    Packet again = in_zone(flow(1), 5, 0);
    ASSERT_TRUE(track(ct, 0, five, kStart));

    Packet answer = packet(reply_of(flow(1)));
    ASSERT_TRUE(track(ct, 0, answer, kStart));
    EXPECT_EQ(answer.conn, five.conn);
    EXPECT_EQ(answer.dir, Dir::Reply);
    ASSERT_TRUE(track(ct, 0, again, kStart));
    EXPECT_EQ(again.conn, five.conn);
    EXPECT_EQ(again.dir, Dir::Original);

    // The same in zone 6 cannot be told apart where the answer comes in: its reply tuple is taken.
    Packet six = in_zone(flow(1), 6, 0);
    EXPECT_FALSE(track(ct, 0, six, kStart));
    Packet other = in_zone(flow(2), 6, 0);
    EXPECT_TRUE(track(ct, 0, other, kStart));
    EXPECT_EQ(ct.count(), 2U);

    Snapshot s;
    ASSERT_TRUE(ct.snapshot(five.conn.index, kStart, s));
    EXPECT_EQ(s.original.zone, 5);
    EXPECT_EQ(s.reply.zone, 0);
    EXPECT_EQ(ct.check_invariants(), "");
}

// The SYN was found to be an answer in no zone; what it opens instead is in the zone of its sender.
TEST(Zones, AConnectionOpenedAnewIsInTheZoneOfItsOwnDirection) {
    using namespace tcpflag;
    Conntrack ct{settings(100), 1, 1};
    const Tuple from_client = flow(4000, ipproto::kTcp);
    const auto client = [&](std::uint8_t flags, std::uint32_t seq, std::uint32_t ack) {
        Packet p = tcp(from_client, flags, seq, ack);
        p.tuple.zone = 7;
        p.track.split_zone = true;
        EXPECT_TRUE(track(ct, 0, p, kStart));
        return p;
    };
    const auto server = [&](std::uint8_t flags, std::uint32_t seq, std::uint32_t ack) {
        Packet p = tcp(reply_of(from_client), flags, seq, ack);
        EXPECT_TRUE(track(ct, 0, p, kStart));
        return p;
    };
    server(kAck, 5000, 1000);
    client(kAck, 1000, 5000);
    server(kFin | kAck, 5000, 1000);
    client(kFin | kAck, 1000, 5001);
    ASSERT_EQ(server(kAck, 5001, 1001).dir, Dir::Original);
    ASSERT_EQ(ct.find(from_client, kStart)->state, static_cast<std::uint8_t>(TcpState::TimeWait));

    const Packet anew = client(kSyn, 900'000, 0);

    EXPECT_EQ(anew.dir, Dir::Original);
    EXPECT_EQ(anew.original.zone, 7);
    EXPECT_EQ(ct.count(), 1U);
    Tuple in_seven = from_client;
    in_seven.zone = 7;
    EXPECT_TRUE(ct.find(in_seven, kStart));
    EXPECT_FALSE(ct.find(from_client, kStart));
    EXPECT_EQ(ct.check_invariants(), "");
}

TEST(Zones, OfTheReplyDirectionOnlyAreThoseOfTheAnswer) {
    Conntrack ct{settings(100), 1, 1};
    Packet p = in_zone(flow(1), 0, 7);
    ASSERT_TRUE(track(ct, 0, p, kStart));

    Packet in_no_zone = packet(reply_of(flow(1)));
    EXPECT_FALSE(track(ct, 0, in_no_zone, kStart)) << "a new one, whose answers p's tuple takes";

    Tuple t = reply_of(flow(1));
    t.zone = 7;
    Packet answer = packet(t);
    ASSERT_TRUE(track(ct, 0, answer, kStart));
    EXPECT_EQ(answer.conn, p.conn);
    EXPECT_EQ(answer.dir, Dir::Reply);
}

// A packet whose zone counts in one direction only may be the answer to one in the other zone.
TEST(Zones, AreLookedUpAsTheReplyToo) {
    Conntrack ct{settings(100), 1, 1};
    Packet p = packet(flow(1));
    ASSERT_TRUE(track(ct, 0, p, kStart));

    Packet answer = in_zone(reply_of(flow(1)), 5, 0);
    ASSERT_TRUE(track(ct, 0, answer, kStart));

    EXPECT_EQ(answer.conn, p.conn);
    EXPECT_EQ(answer.dir, Dir::Reply);
    // ... but not as another packet of the original direction.
    Packet other = in_zone(flow(1), 5, 0);
    EXPECT_FALSE(track(ct, 0, other, kStart)) << "its reply tuple is the first one's";
}

TEST(Policies, GiveTheirTimeoutsAndLeaveOthersAlone) {
    Timeouts quick;
    quick.udp = 7;
    quick.udp_stream = 9;
    quick.tcp[index_of(TcpState::SynSent)] = 11;
    quick.tcp[index_of(TcpState::Established)] = 13;
    Conntrack ct{settings(100), 1, 1, {.policies = {quick}, .labels = false}};
    Packet p = packet(flow(1));
    p.track.variant = variant::of_policy(1);
    Packet plain = packet(flow(2));
    ASSERT_TRUE(track(ct, 0, p, kStart));
    ASSERT_TRUE(track(ct, 0, plain, kStart));
    EXPECT_EQ(ct.find(flow(1), kStart)->timeout_s, 7U);
    EXPECT_EQ(ct.find(flow(2), kStart)->timeout_s, 30U);

    const Nanos later = kStart + 3 * kNanosPerSecond;
    Packet answer = packet(reply_of(flow(1)));
    ASSERT_TRUE(track(ct, 0, answer, later));
    Packet second = packet(flow(1));
    ASSERT_TRUE(track(ct, 0, second, later));
    EXPECT_EQ(ct.find(flow(1), later)->timeout_s, 9U);

    const Tuple t = flow(3, ipproto::kTcp);
    Packet a = syn(t);
    a.track.variant = variant::of_policy(1);
    Packet b = syn_ack(t);
    Packet c = ack(t);
    ASSERT_TRUE(track(ct, 0, a, kStart));
    EXPECT_EQ(ct.find(t, kStart)->timeout_s, 11U);
    ASSERT_TRUE(track(ct, 0, b, kStart));
    ASSERT_TRUE(track(ct, 0, c, kStart));
    EXPECT_EQ(ct.find(t, kStart)->timeout_s, 13U);
    Packet d = ack(t);  // the fast way of established segments
    ASSERT_TRUE(track(ct, 0, d, later));
    EXPECT_EQ(ct.find(t, later)->timeout_s, 13U);
}

TEST(Policies, KeepTheirTimeoutsWhenTheSettingsChange) {
    Timeouts quick;
    quick.udp = 7;
    Conntrack ct{settings(100), 1, 1, {.policies = {quick}, .labels = false}};

    ct.change_settings([](Settings& s) { s.timeouts.udp = 77; });

    Packet p = packet(flow(1));
    p.track.variant = variant::of_policy(1);
    Packet plain = packet(flow(2));
    ASSERT_TRUE(track(ct, 0, p, kStart));
    ASSERT_TRUE(track(ct, 0, plain, kStart));
    EXPECT_EQ(ct.find(flow(1), kStart)->timeout_s, 7U);
    EXPECT_EQ(ct.find(flow(2), kStart)->timeout_s, 77U);
}

// INVALID policy `liberal`, or `liberal` of a track rule: what is far out of the window passes,
// from whom it is to pass; and tcp_be_liberal lets both pass.
TEST(Policies, LiberalConnectionsAreNotHeldToTheirWindow) {
    for (const bool all : {false, true}) {
        for (std::uint8_t liberal = 0; liberal <= variant::kLiberal; ++liberal) {
            Settings s = settings(100);
            s.tcp_be_liberal = all;
            Conntrack ct{s, 1, 1};
            const Tuple t = flow(1, ipproto::kTcp);
            Packet a = syn(t);
            a.track.variant = liberal;
            Packet b = syn_ack(t);
            Packet c = ack(t);
            ASSERT_TRUE(track(ct, 0, a, kStart));
            ASSERT_TRUE(track(ct, 0, b, kStart));
            ASSERT_TRUE(track(ct, 0, c, kStart));
            // What one side says so far off moves no window of the other's.
            for (const Dir dir : {Dir::Original, Dir::Reply}) {
                Packet far = dir == Dir::Original
                                 ? tcp(t, tcpflag::kAck, 900'000'000, 5001)
                                 : tcp(reply_of(t), tcpflag::kAck, 1'900'000'000, 1001);
                ASSERT_TRUE(track(ct, 0, far, kStart));

                const bool passes = all || (liberal >> index_of(dir) & 1) != 0;
                EXPECT_EQ(far.state, passes ? CtState::Established : CtState::Invalid)
                    << int{liberal} << ' ' << index_of(dir);
            }
        }
    }
}

TEST(Events, AreMaskedByFlow) {
    Conntrack ct{settings(100), 1, 1};
    ct.add_listener();
    Packet p = packet(flow(1));
    p.track.event_mask = cause::kDestroy;
    Packet plain = packet(flow(2));
    Packet answer = packet(reply_of(flow(1)));
    ASSERT_TRUE(track(ct, 0, p, kStart));
    ASSERT_TRUE(track(ct, 0, plain, kStart));
    ASSERT_TRUE(track(ct, 0, answer, kStart));

    const std::vector<Event> made = events_of(ct, 0);
    ASSERT_EQ(made.size(), 1U);
    EXPECT_EQ(made[0].conn.original, flow(2));

    ASSERT_TRUE(ct.erase(p.conn, kStart));
    EXPECT_EQ(events_of(ct, 1).size(), 1U);
}

TEST(Events, TellTheirCauses) {
    Conntrack ct{settings(100), 1, 1};
    ct.add_listener();
    const Tuple t = flow(1, ipproto::kTcp);
    Packet a = syn(t);
    Packet b = syn_ack(t);
    Packet c = ack(t);
    ASSERT_TRUE(track(ct, 0, a, kStart));
    ASSERT_TRUE(track(ct, 0, b, kStart));
    ASSERT_TRUE(track(ct, 0, c, kStart));
    ct.set_mark(0, c, 5, kStart);
    ct.set_mark(0, c, 5, kStart);  // no news

    const std::vector<Event> e = events_of(ct, 0);
    ASSERT_EQ(e.size(), 4U);
    EXPECT_EQ(e[0].causes, cause::kNew);
    EXPECT_EQ(e[1].causes, cause::kReply | cause::kProtoinfo);
    EXPECT_EQ(e[2].causes, cause::kAssured | cause::kProtoinfo);
    EXPECT_EQ(e[3].causes, cause::kMark);
    EXPECT_EQ(e[3].conn.state, 0) << "the state is no news";
}

TEST(Events, HaveNumbersThatShowWhereOthersAreMissing) {
    Conntrack ct{settings(20'000), 1, 1};
    ct.add_listener();
    const auto open = [&](std::uint16_t from, std::uint16_t count) {
        for (std::uint16_t i = 0; i < count; ++i) {
            Packet p = packet(flow(static_cast<std::uint16_t>(from + i)));
            ASSERT_TRUE(track(ct, 0, p, kStart));
        }
    };
    open(1, 10'000);
    const std::vector<Event> first = events_of(ct, 0);
    for (std::size_t i = 0; i < first.size(); ++i) ASSERT_EQ(first[i].number, i);
    open(20'000, 1);

    const std::vector<Event> next = events_of(ct, 0);

    ASSERT_EQ(next.size(), 1U);
    EXPECT_EQ(next[0].number, 10'000U);
    EXPECT_EQ(ct.lost_events(0), 10'000U - first.size());
}

TEST(Surroundings, AHelperIsAFieldAndAStatusBit) {
    Conntrack ct{settings(100), 1, 1};
    Packet p = packet(flow(1));
    p.track.helper = find_helper("tftp");
    ASSERT_TRUE(track(ct, 0, p, kStart));

    const Snapshot s = *ct.find(flow(1), kStart);
    EXPECT_EQ(helper_name(s.helper), "tftp");
    EXPECT_TRUE(s.status & status::kHelper);
    EXPECT_EQ(ct.facts(p, kStart).helper, p.track.helper);
}

TEST(Surroundings, LabelsAreKeptWhereThereIsRoomForThem) {
    Conntrack with{settings(100), 1, 1, {.policies = {}, .labels = true}};
    Conntrack without{settings(100), 1, 1};
    for (Conntrack* ct : {&with, &without}) {
        ct->add_listener();
        Packet p = packet(flow(1));
        ASSERT_TRUE(track(*ct, 0, p, kStart));
        ct->set_labels(0, p, {1U << 3, std::uint64_t{1} << 63}, kStart);
        ct->set_labels(0, p, {1U << 3, 0}, kStart);  // no news

        const bool room = ct == &with;
        EXPECT_EQ(ct->find(flow(1), kStart)->has_labels(), room);
        const std::vector<Event> e = events_of(*ct, 0);
        ASSERT_EQ(e.size(), room ? 2U : 1U);
        EXPECT_EQ(e.back().causes, room ? cause::kLabel : cause::kNew);
        EXPECT_EQ(ct->facts(p, kStart).labels[1], room ? std::uint64_t{1} << 63 : 0);
        EXPECT_EQ(ct->facts(p, kStart).expires_s, 30U);
    }
}

// As in Linux, what is switched on counts for the connections that are made from then on.
TEST(Settings, AccountingAppliesToNewConnections) {
    Conntrack ct{settings(100), 1, 1};
    Packet old = packet(flow(1));
    ASSERT_TRUE(track(ct, 0, old, kStart));
    const Tuple tcp_flow = flow(9, ipproto::kTcp);
    Packet old_tcp = syn(tcp_flow);
    ASSERT_TRUE(track(ct, 0, old_tcp, kStart));

    ct.change_settings([](Settings& s) {
        s.acct = true;
        s.timestamp = true;
    });
    Packet again = packet(flow(1));
    Packet answer = syn_ack(tcp_flow);
    Packet fresh = packet(flow(2));
    ASSERT_TRUE(track(ct, 0, again, kStart));
    ASSERT_TRUE(track(ct, 0, answer, kStart));
    ASSERT_TRUE(track(ct, 0, fresh, kStart));

    EXPECT_FALSE(ct.find(flow(1), kStart)->has_counters);
    EXPECT_FALSE(ct.find(tcp_flow, kStart)->has_counters);
    EXPECT_TRUE(ct.find(flow(2), kStart)->has_counters);
    EXPECT_TRUE(ct.find(flow(2), kStart)->has_timestamp);

    ct.change_settings([](Settings& s) { s.acct = false; });
    Packet more = packet(flow(2));
    ASSERT_TRUE(track(ct, 0, more, kStart));
    EXPECT_EQ(ct.find(flow(2), kStart)->packets[0], 2U) << "what counts goes on counting";
    EXPECT_EQ(ct.count(), 3U);
    EXPECT_EQ(ct.check_invariants(), "");
}

TEST(Settings, MaxIsExactBelowTheCapacity) {
    Settings s = settings(5);
    s.capacity = 20;
    s.overflow = Overflow::Drop;
    Conntrack ct{s, 1, 1};
    EXPECT_EQ(ct.capacity(), 20U);
    const auto open = [&](std::uint16_t port) {
        Packet p = packet(flow(port));
        return track(ct, 0, p, kStart);
    };
    for (std::uint16_t i = 1; i <= 5; ++i) EXPECT_TRUE(open(i));
    EXPECT_FALSE(open(6));

    ct.change_settings([](Settings& live) { live.max = 7; });
    EXPECT_TRUE(open(6));
    EXPECT_TRUE(open(7));
    EXPECT_FALSE(open(8));

    ct.change_settings([](Settings& live) { live.max = 2; });
    EXPECT_FALSE(open(9));
    EXPECT_EQ(ct.count(), 7U) << "nobody is thrown out";
    EXPECT_THROW((Conntrack{[] {
                                Settings bad = settings(10);
                                bad.capacity = 9;
                                return bad;
                            }(),
                            1, 1}),
                 std::invalid_argument);
}

TEST(Settings, InvalidPacketsAreNotedIfTheLogWantsThem) {
    Conntrack ct{settings(100), 1, 1};
    const auto invalid = [&] {
        Packet p = tcp(flow(1, ipproto::kTcp), tcpflag::kSyn | tcpflag::kAck);
        static_cast<void>(track(ct, 0, p, kStart));
        EXPECT_EQ(p.state, CtState::Invalid);
    };
    InvalidNote note;
    invalid();
    EXPECT_FALSE(ct.next_invalid(0, note));

    ct.change_settings([](Settings& s) { s.log_invalid = ipproto::kUdp; });
    invalid();
    EXPECT_FALSE(ct.next_invalid(0, note));

    ct.change_settings([](Settings& s) { s.log_invalid = 255; });
    invalid();
    ASSERT_TRUE(ct.next_invalid(0, note));
    EXPECT_EQ(note.tuple, flow(1, ipproto::kTcp));
    EXPECT_EQ(note.tcp_flags, tcpflag::kSyn | tcpflag::kAck);
    EXPECT_FALSE(ct.next_invalid(0, note));
}

TEST(Injection, IsAnEntryLikeAnyOther) {
    Conntrack ct{settings(100), 1, 1};
    ct.add_listener();
    Injection e = injection(flow(1, ipproto::kTcp));
    e.state = static_cast<std::uint8_t>(TcpState::Established);
    e.status = status::kSeenReply | status::kAssured;
    e.mark = 9;

    ASSERT_EQ(ct.insert(e, kStart, 4711), Injected::Done);

    EXPECT_EQ(ct.counters().insert, 1U);
    EXPECT_EQ(ct.counters().opened, 0U);
    const std::vector<Event> made = events_of(ct, 1);
    ASSERT_EQ(made.size(), 1U);
    EXPECT_EQ(made[0].type, EventType::New);
    EXPECT_EQ(made[0].by, 4711U);
    EXPECT_NE(made[0].causes & cause::kMark, 0);

    // Golden case conntrack-tool-ops, step 11: the first segment is taken up whatever its numbers.
    Packet p = tcp(flow(1, ipproto::kTcp), tcpflag::kAck, 123'456, 654'321);
    ASSERT_TRUE(track(ct, 0, p, kStart));
    EXPECT_EQ(p.state, CtState::Established);
    EXPECT_EQ(p.mark, 9U);
    EXPECT_EQ(ct.find(flow(1, ipproto::kTcp), kStart)->timeout_s, 432'000U);
    EXPECT_EQ(ct.check_invariants(), "");
}

TEST(Injection, OfATranslatedConnectionHasItsNatStatus) {
    Conntrack ct{settings(100), 1, 1};
    Injection e = injection(flow(1));
    e.reply.dst = v4(0xcb007101);
    e.reply.dport = Be16::from_host(5555);
    ASSERT_EQ(ct.insert(e, kStart), Injected::Done);

    Packet answer = packet(e.reply);
    ASSERT_TRUE(track(ct, 0, answer, kStart));

    EXPECT_EQ(answer.dir, Dir::Reply);
    EXPECT_EQ(answer.status & status::kNatMask, status::kSrcNat);
    EXPECT_EQ(answer.original, e.original);
    EXPECT_EQ(ct.check_invariants(), "");
}

TEST(Injection, IsRefusedWhereATupleIsTakenOrNoneIsOne) {
    Conntrack ct{settings(100), 1, 1};
    Packet p = packet(flow(1));
    ASSERT_TRUE(track(ct, 0, p, kStart));

    EXPECT_EQ(ct.insert(injection(flow(1)), kStart), Injected::Exists);
    EXPECT_EQ(ct.insert(injection(reply_of(flow(1))), kStart), Injected::Exists);
    Injection mixed = injection(flow(2));
    mixed.reply.proto = ipproto::kTcp;
    EXPECT_EQ(ct.insert(mixed, kStart), Injected::Invalid);
    Tuple error = flow(2, ipproto::kIcmp);
    error.dport = icmp_type_code(3, 0);
    EXPECT_EQ(ct.insert(injection(error), kStart), Injected::Invalid);
    Injection zones = injection(flow(2));
    zones.original.zone = 5;
    zones.reply.zone = 6;
    EXPECT_EQ(ct.insert(zones, kStart), Injected::Invalid);
    EXPECT_EQ(ct.count(), 1U);
    EXPECT_EQ(ct.counters().insert, 0U);
}

TEST(Injection, ObeysTheOverflowPolicy) {
    Settings s = settings(3);
    s.overflow = Overflow::Drop;
    Conntrack full{s, 1, 1};
    for (std::uint16_t i = 1; i <= 3; ++i)
        ASSERT_EQ(full.insert(injection(flow(i)), kStart), Injected::Done);
    EXPECT_EQ(full.insert(injection(flow(4)), kStart), Injected::NoRoom);

    s.overflow = Overflow::EmbryonicOldest;
    Conntrack yielding{s, 1, 1};
    for (std::uint16_t i = 1; i <= 3; ++i)
        ASSERT_EQ(yielding.insert(injection(flow(i)), kStart), Injected::Done);
    Packet p = packet(flow(9));
    EXPECT_TRUE(track(yielding, 0, p, kStart)) << "what nobody answers gives way";
    EXPECT_EQ(yielding.count(), 3U);
    EXPECT_EQ(yielding.check_invariants(), "");
}

TEST(Change, SetsAndNeverClears) {
    Conntrack ct{settings(100), 1, 1};
    ct.add_listener();
    const Tuple t = flow(1, ipproto::kTcp);
    Packet p = syn(t);
    ASSERT_TRUE(track(ct, 0, p, kStart));
    Change c;
    c.timeout_s = 55;
    c.status = status::kSeenReply | status::kAssured;
    c.state = static_cast<std::uint8_t>(TcpState::Established);
    c.mark = 0x12;
    c.mark_mask = 0xff;

    ASSERT_EQ(ct.change(p.conn, c, kStart, 4711), Changed::Done);

    Snapshot s = *ct.find(t, kStart);
    EXPECT_EQ(s.timeout_s, 55U);
    EXPECT_EQ(s.state, static_cast<std::uint8_t>(TcpState::Established));
    EXPECT_EQ(s.status & (status::kSeenReply | status::kAssured),
              status::kSeenReply | status::kAssured);
    EXPECT_EQ(s.mark, 0x12U);
    const std::vector<Event> told = events_of(ct, 1);
    ASSERT_EQ(told.size(), 1U);
    EXPECT_EQ(told[0].type, EventType::Update);
    EXPECT_EQ(told[0].by, 4711U);
    EXPECT_EQ(ct.check_invariants(), "");

    Change mark;
    mark.mark = 0x100;
    mark.mark_mask = 0xf00;
    ASSERT_EQ(ct.change(p.conn, mark, kStart), Changed::Done);
    s = *ct.find(t, kStart);
    EXPECT_EQ(s.mark, 0x112U);
    EXPECT_EQ(s.timeout_s, 55U);
}

TEST(Change, IsRefusedWhole) {
    Conntrack ct{settings(100), 1, 1};
    Injection e = injection(flow(1));
    e.status = status::kFixedTimeout;
    ASSERT_EQ(ct.insert(e, kStart), Injected::Done);
    const ConnHandle h = ct.find(flow(1), kStart)->handle;
    Change c;
    c.timeout_s = 5;
    c.mark = c.mark_mask = 1;

    EXPECT_EQ(ct.change(h, c, kStart), Changed::FixedTimeout);
    EXPECT_EQ(ct.find(flow(1), kStart)->mark, 0U);

    c.timeout_s.reset();
    c.labels = c.label_mask = {1, 0};
    EXPECT_EQ(ct.change(h, c, kStart), Changed::NoLabels);
    EXPECT_EQ(ct.find(flow(1), kStart)->mark, 0U);

    ASSERT_TRUE(ct.erase(h, kStart));
    EXPECT_EQ(ct.change(h, {}, kStart), Changed::Gone);
}

// A packet that is on its way holds its entry unconfirmed; the dump of that table shows it.
TEST(Stages, ShowWhatIsNotInTheTableYet) {
    Conntrack ct{settings(10), 1, 1};
    Packet p = packet(flow(1));
    ct.lookup(0, {&p, 1}, kStart);
    ct.update(0, {&p, 1}, kStart);
    ASSERT_EQ(ct.open(0, p, kStart), Conntrack::Opening::Opened);
    Snapshot s;

    EXPECT_FALSE(ct.snapshot_in(Stage::Linked, p.conn.index, kStart, s));
    EXPECT_FALSE(ct.snapshot_in(Stage::Dying, p.conn.index, kStart, s));
    ASSERT_TRUE(ct.snapshot_in(Stage::Unconfirmed, p.conn.index, kStart, s));
    EXPECT_EQ(s.original, flow(1));
    EXPECT_EQ(s.reply, reply_of(flow(1)));

    ASSERT_EQ(ct.confirm(0, p, kStart), Conntrack::Confirmation::Linked);
    EXPECT_FALSE(ct.snapshot_in(Stage::Unconfirmed, p.conn.index, kStart, s));
    EXPECT_TRUE(ct.snapshot_in(Stage::Linked, p.conn.index, kStart, s));
}

TEST(Counters, AreShownAndZeroedAtOnce) {
    Settings s = settings(10);
    s.acct = true;
    Conntrack ct{s, 1, 1};
    Packet p = packet(flow(1));
    ASSERT_TRUE(track(ct, 0, p, kStart));
    Snapshot shown;

    ASSERT_TRUE(ct.snapshot_and_zero(p.conn.index, kStart, shown));
    EXPECT_EQ(shown.packets[0], 1U);
    ASSERT_TRUE(ct.snapshot(p.conn.index, kStart, shown));
    EXPECT_EQ(shown.packets[0], 0U);
    EXPECT_EQ(shown.bytes[0], 0U);
}

}  // namespace
}  // namespace ct::test
