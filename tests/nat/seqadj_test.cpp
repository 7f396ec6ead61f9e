// SPDX-License-Identifier: BSD-3-Clause
//
// Sequence numbers behind payloads that change their length: the arithmetic, the header, and whole
// connections over a lossy network, with a box in the middle that writes other addresses into what
// passes by.
#include "nat/seqadj.hpp"

#include "ct/base/byteorder.hpp"
#include "ct/conn/seqadj.hpp"
#include "ct/wire/headers.hpp"
#include "nat/payload.hpp"
#include "tests/nat/nat_box.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <map>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

using ct::Dir;
using ct::SeqShift;
using test::addr;
using test::Bytes;
using test::kLan;
using test::kWan;
using test::masquerade;
using test::NatBox;
using test::Outcome;
using test::PacketBuilder;

// ---- Arithmetic.

TEST(SeqShift, NumbersBehindTheChangeAreShiftedAndThoseBeforeAreNot) {
    SeqShift s;
    EXPECT_TRUE(s.none());
    ASSERT_TRUE(s.lengthen(1000, 3, 0));

    EXPECT_EQ(s.seen(999), 999U);
    EXPECT_EQ(s.seen(1000), 1000U) << "what is changed itself begins where it did";
    EXPECT_EQ(s.seen(1020), 1023U);
    EXPECT_EQ(s.own(1000), 1000U);
    EXPECT_EQ(s.own(1023), 1020U);
}

TEST(SeqShift, ChangesAddUpAndEachIsRemembered) {
    SeqShift s;
    ASSERT_TRUE(s.lengthen(1000, 3, 0));
    ASSERT_TRUE(s.lengthen(2000, -7, 0));
    ASSERT_TRUE(s.lengthen(3000, 100, 0));

    const std::pair<std::uint32_t, std::uint32_t> pairs[] = {
        {990, 990}, {1500, 1503}, {2000, 2003}, {2500, 2496}, {3000, 2996}, {3500, 3596}};
    for (const auto& [own, seen] : pairs) {
        EXPECT_EQ(s.seen(own), seen);
        EXPECT_EQ(s.own(seen), own);
    }
}

TEST(SeqShift, WhatIsSentAgainIsNotCountedTwice) {
    SeqShift s;
    ASSERT_TRUE(s.lengthen(1000, 3, 0));
    ASSERT_TRUE(s.lengthen(1000, 3, 0));
    ASSERT_TRUE(s.lengthen(900, 3, 0));

    EXPECT_EQ(s.seen(950), 950U);
    EXPECT_EQ(s.seen(2000), 2003U);
}

TEST(SeqShift, APartOfWhatWasChangedCountsAsNone) {
    SeqShift longer;
    ASSERT_TRUE(longer.lengthen(1000, 5, 0));
    SeqShift shorter;
    ASSERT_TRUE(shorter.lengthen(1000, -5, 0));

    for (std::uint32_t named = 1001; named <= 1005; ++named) EXPECT_EQ(longer.own(named), 1000U);
    EXPECT_EQ(longer.own(1006), 1001U);
    EXPECT_EQ(shorter.own(1000), 1000U) << "nothing of what is changed is there yet";
    EXPECT_EQ(shorter.own(1001), 1006U);
}

TEST(SeqShift, NumbersGoRoundTheCircle) {
    SeqShift s;
    ASSERT_TRUE(s.lengthen(0xffff'fff0, 32, 0xffff'ff00));

    EXPECT_EQ(s.seen(0xffff'fff8), 0x18U);
    EXPECT_EQ(s.own(0x18), 0xffff'fff8U);
    EXPECT_EQ(s.seen(5), 37U);
}

TEST(SeqShift, WhatIsAcknowledgedMakesRoomAndNothingElseDoes) {
    SeqShift s;
    const auto position = [](std::size_t n) { return static_cast<std::uint32_t>(1000 + 100 * n); };
    for (std::size_t n = 0; n < SeqShift::kChanges; ++n)
        ASSERT_TRUE(s.lengthen(position(n), 1, 1000));

    EXPECT_FALSE(s.lengthen(position(SeqShift::kChanges), 1, 1000));
    EXPECT_TRUE(s.lengthen(position(3), 1, 1000)) << "sent again: no room is needed";
    EXPECT_EQ(s.seen(position(20)), position(20) + SeqShift::kChanges) << "refused: not counted";

    EXPECT_TRUE(s.lengthen(position(SeqShift::kChanges), 1, 1001));
    EXPECT_EQ(s.seen(position(20)), position(20) + SeqShift::kChanges + 1);
    EXPECT_EQ(s.seen(1050), 1051U);
    EXPECT_EQ(s.seen(1150), 1152U);
}

TEST(StreamEdge, LetsNothingPassBehindAGap) {
    nat::StreamEdge edge{0xffff'fff0};

    EXPECT_TRUE(edge.admit(0xffff'fff0, 16));
    EXPECT_FALSE(edge.admit(10, 5));
    EXPECT_TRUE(edge.admit(0, 10)) << "the gap is closed";
    EXPECT_TRUE(edge.admit(10, 5));
    EXPECT_TRUE(edge.admit(0, 10)) << "sent again";
    EXPECT_TRUE(edge.admit(5, 20)) << "sent again, and more";
    EXPECT_TRUE(edge.admit(25, 1));
}

TEST(SeqAdjustments, AreHandedOutOnceAndComeBackFresh) {
    ct::SeqAdjustments all{2};
    const std::uint16_t a = all.take();
    const std::uint16_t b = all.take();
    ASSERT_NE(a, b);
    EXPECT_EQ(all.take(), ct::SeqAdjustments::kNone);
    ASSERT_TRUE(all.at(a).of(Dir::Original).lengthen(1, 1, 0));

    all.give(a);

    EXPECT_EQ(all.in_use(), 1U);
    EXPECT_EQ(all.take(), a);
    EXPECT_TRUE(all.at(a).of(Dir::Original).none());
}

// ---- The header.

Bytes sack(const std::vector<std::pair<std::uint32_t, std::uint32_t>>& blocks, std::size_t nops) {
    Bytes out(nops, 1);
    out.push_back(5);
    out.push_back(static_cast<std::uint8_t>(2 + 8 * blocks.size()));
    for (const auto& [left, right] : blocks)
        for (const std::uint32_t edge : {left, right})
            for (int shift = 24; shift >= 0; shift -= 8)
                out.push_back(static_cast<std::uint8_t>(edge >> shift));
    while (out.size() % 4 != 0) out.push_back(0);
    return out;
}

TEST(AdjustSequence, ChangesSequenceAcknowledgementAndSackBlocksWithTheChecksum) {
    ct::SeqAdjust numbers;
    ASSERT_TRUE(numbers.of(Dir::Original).lengthen(1000, 3, 0));
    ASSERT_TRUE(numbers.of(Dir::Reply).lengthen(5000, -10, 0));
    const auto segment = [](std::uint32_t seq, std::uint32_t ack, const Bytes& options) {
        return PacketBuilder{}
            .ipv4("192.0.2.1", "198.51.100.2")
            .tcp(4000, 80)
            .flags("PA")
            .seq(seq)
            .ack(ack)
            .tcp_options(options)
            .payload("data");
    };
    for (const std::size_t nops : {std::size_t{0}, std::size_t{1}, std::size_t{2}}) {
        test::OwnedPacket o =
            test::receive(segment(1100, 5100, sack({{5200, 5300}, {4000, 4500}}, nops)));
        ASSERT_EQ(ct::parse(o.packet, {}), ct::Drop::None);
        o.packet.dir = Dir::Original;

        nat::adjust_sequence(o.packet, numbers);

        EXPECT_EQ(Bytes(o.packet.data, o.packet.data + o.packet.length),
                  segment(1103, 5110, sack({{5210, 5310}, {4000, 4500}}, nops)).build())
            << nops;
    }
}

TEST(AdjustSequence, WithoutTheFlagTheAcknowledgementIsNoNumber) {
    ct::SeqAdjust numbers;
    ASSERT_TRUE(numbers.of(Dir::Original).lengthen(5000, 3, 0));
    const auto reset = [](std::uint32_t ack) {
        return PacketBuilder{}
            .ipv4("192.0.2.1", "198.51.100.2")
            .tcp(4000, 80)
            .flags("R")
            .seq(1100)
            .ack(ack);
    };
    test::OwnedPacket o = test::receive(reset(6000));
    ASSERT_EQ(ct::parse(o.packet, {}), ct::Drop::None);
    o.packet.dir = Dir::Reply;

    nat::adjust_sequence(o.packet, numbers);

    EXPECT_EQ(Bytes(o.packet.data, o.packet.data + o.packet.length), reset(6000).build());
}

// ---- Connections.

/// Replaces every `from` in the payload of a segment, as a helper would, and tells the table.
class Translator {
public:
    /// `first`: number of the first byte that passes.
    Translator(std::string from, std::string to, std::uint32_t first)
        : from_{std::move(from)}, to_{std::move(to)}, edge_{first} {}

    /// True if the packet may go on.
    bool operator()(NatBox& box, ct::Packet& p, std::uint32_t room) {
        if (!edge_.admit(p.tcp_seq, p.end - p.payload_offset)) return false;
        std::int32_t grown = 0;
        for (std::size_t at = 0;;) {
            const std::string_view text{reinterpret_cast<const char*>(p.data + p.payload_offset),
                                        p.end - p.payload_offset};
            at = text.find(from_, at);
            if (at == std::string_view::npos) return true;
            const Bytes with{to_.begin(), to_.end()};
            const nat::Edit edit{.offset = static_cast<std::uint32_t>(at),
                                 .length = static_cast<std::uint32_t>(from_.size()),
                                 .with = with};
            EXPECT_EQ(nat::edit_payload(p, room, edit), nat::Edited::Done);
            const auto by = static_cast<std::int32_t>(to_.size() - from_.size());
            const auto offset = static_cast<std::uint32_t>(static_cast<std::int32_t>(at) - grown);
            if (!nat::lengthened(box.table(), {&p, 1}, 0, offset, by)) return false;
            grown += by;
            at += to_.size();
        }
    }

private:
    std::string from_;
    std::string to_;
    nat::StreamEdge edge_;
};

std::string replaced(std::string text, std::string_view from, std::string_view to) {
    for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
        text.replace(at, from.size(), to);
    return text;
}

/// One end of a TCP connection: sends `lines`, a segment each, retransmits what is not
/// acknowledged, and puts together what it is sent. Just enough of RFC 9293 to depend on every
/// number that the box adjusts.
class End {
public:
    End(std::vector<std::string> lines, std::uint32_t first)
        : lines_{std::move(lines)}, una_{first} {
        std::uint32_t seq = first + 1;
        for (const std::string& line : lines_) {
            begins_.push_back(seq);
            seq += static_cast<std::uint32_t>(line.size());
        }
        begins_.push_back(seq);
        una_ = first + 1;
    }

    struct Segment {
        std::uint32_t seq = 0;
        std::string text;
    };
    /// The next segments within a window of `window` lines that have not been SACKed.
    [[nodiscard]] std::vector<Segment> due(std::size_t window) const {
        std::vector<Segment> out;
        const auto first = std::lower_bound(begins_.begin(), begins_.end(), una_) - begins_.begin();
        for (auto i = static_cast<std::size_t>(first); i < lines_.size() && out.size() < window;
             ++i)
            if (!sacked_.contains(begins_[i])) out.push_back({begins_[i], lines_[i]});
        return out;
    }
    /// An acknowledgement and the SACK blocks with it. False if it names what cannot be.
    [[nodiscard]] bool acknowledged(
        std::uint32_t ack, const std::vector<std::pair<std::uint32_t, std::uint32_t>>& sacks) {
        if (std::find(begins_.begin(), begins_.end(), ack) == begins_.end()) return false;
        una_ = std::max(una_, ack);
        for (const auto& [left, right] : sacks) {
            if (left >= right || right > begins_.back()) return false;
            for (std::size_t i = 0; i < lines_.size(); ++i)
                if (left <= begins_[i] && begins_[i + 1] <= right) sacked_[begins_[i]] = true;
        }
        return true;
    }
    void expect_from(std::uint32_t first) { next_ = first + 1; }
    /// Takes in a segment of the peer.
    void receive(std::uint32_t seq, const std::string& text) {
        if (text.empty() || seq < next_) return;
        waiting_[seq] = text;
        while (waiting_.contains(next_)) {
            const std::string& line = waiting_[next_];
            received_ += line;
            const auto size = static_cast<std::uint32_t>(line.size());
            waiting_.erase(next_);
            next_ += size;
        }
    }
    [[nodiscard]] std::vector<std::pair<std::uint32_t, std::uint32_t>> blocks() const {
        std::vector<std::pair<std::uint32_t, std::uint32_t>> out;
        for (const auto& [seq, text] : waiting_) {
            const auto right = seq + static_cast<std::uint32_t>(text.size());
            if (!out.empty() && out.back().second == seq)
                out.back().second = right;
            else if (out.size() < 3)
                out.emplace_back(seq, right);
        }
        return out;
    }
    [[nodiscard]] bool done() const { return una_ == begins_.back(); }
    [[nodiscard]] std::uint32_t una() const { return una_; }
    [[nodiscard]] std::uint32_t next() const { return next_; }
    [[nodiscard]] const std::string& received() const { return received_; }

private:
    std::vector<std::string> lines_;
    std::vector<std::uint32_t> begins_;
    std::uint32_t una_;
    std::map<std::uint32_t, bool> sacked_;
    std::uint32_t next_ = 0;
    std::map<std::uint32_t, std::string> waiting_;
    std::string received_;
};

std::vector<std::pair<std::uint32_t, std::uint32_t>> sacks_of(const ct::Packet& p) {
    std::vector<std::pair<std::uint32_t, std::uint32_t>> out;
    const std::uint8_t* at = p.data + p.l4_offset + 20;
    const std::uint8_t* end = p.data + p.payload_offset;
    while (at + 2 <= end && *at != 0) {
        if (*at == 1) {
            ++at;
            continue;
        }
        if (*at == 5)
            for (const std::uint8_t* b = at + 2; b + 8 <= at + at[1]; b += 8)
                out.emplace_back(ct::load<ct::Be32>(b).host(), ct::load<ct::Be32>(b + 4).host());
        at += at[1];
    }
    return out;
}

struct Case {
    std::string name;
    std::string there_from, there_to;  ///< what the box writes into the client's lines
    std::string back_from, back_to;    ///< and into the server's
    unsigned loss_percent;
};

void PrintTo(const Case& c, std::ostream* out) {
    *out << c.name;
}

class Stream : public testing::TestWithParam<Case> {};

std::vector<std::string> lines(const std::string& with, unsigned count, std::mt19937& random) {
    std::vector<std::string> out;
    for (unsigned i = 0; i < count; ++i) {
        std::string line = "line " + std::to_string(i) + " ";
        line.append(random() % 60, static_cast<char>('a' + random() % 26));
        for (std::size_t n = random() % 3; n > 0; --n) line += with + " ";
        out.push_back(line + "\n");
    }
    return out;
}

std::string joined(const std::vector<std::string>& all) {
    std::string out;
    for (const std::string& line : all) out += line;
    return out;
}

TEST_P(Stream, ArrivesChangedAndWholeInBothDirections) {
    const Case& c = GetParam();
    for (unsigned seed = 1; seed <= 20; ++seed) {
        SCOPED_TRACE("seed " + std::to_string(seed));
        std::mt19937 random{seed};
        NatBox box{{masquerade()}};
        // Numbers that go round the circle would need their own comparison in End; the arithmetic
        // of SeqShift has its test above.
        const auto isn_client = static_cast<std::uint32_t>(random() % 1'000'000);
        const auto isn_server = static_cast<std::uint32_t>(random() % 1'000'000);
        Translator there{c.there_from, c.there_to, isn_client + 1};
        Translator back{c.back_from, c.back_to, isn_server + 1};
        box.inspect = [&](ct::Packet& p, std::uint32_t room) {
            if (p.tuple.proto != ct::ipproto::kTcp || p.end == p.payload_offset) return true;
            return p.dir == Dir::Original ? there(box, p, room) : back(box, p, room);
        };
        const auto client_lines = lines(c.there_from, 60, random);
        const auto server_lines = lines(c.back_from, 60, random);
        End client{client_lines, isn_client};
        End server{server_lines, isn_server};

        // The handshake, which nothing happens to.
        const Bytes syn_options{2, 4, 5, 0xb4, 4, 2, 3, 3, 7, 0, 0, 0};
        const auto from_client = [&] {
            return PacketBuilder{}.ipv4("10.0.0.1", "198.51.100.7").tcp(4000, 21);
        };
        const auto from_server = [&] {
            return PacketBuilder{}.ipv4("198.51.100.7", "203.0.113.1").tcp(21, 4000);
        };
        ASSERT_EQ(box.send(from_client().flags("S").seq(isn_client).tcp_options(syn_options), kLan)
                      .drop(),
                  ct::Drop::None);
        ASSERT_EQ(box.send(from_server()
                               .flags("SA")
                               .seq(isn_server)
                               .ack(isn_client + 1)
                               .tcp_options(syn_options),
                           kWan)
                      .drop(),
                  ct::Drop::None);
        ASSERT_EQ(
            box.send(from_client().flags("A").seq(isn_client + 1).ack(isn_server + 1), kLan).drop(),
            ct::Drop::None);
        client.expect_from(isn_server);
        server.expect_from(isn_client);

        const auto deliver = [&](const Outcome& o, End& to) {
            ASSERT_EQ(o.packet.state, ct::CtState::Established) << "no segment is INVALID";
            if (o.drop() == ct::Drop::RuleDrop) return;  // behind a gap: the translator's word
            ASSERT_EQ(o.drop(), ct::Drop::None);
            test::OwnedPacket arrived = test::receive(o.frame);
            ASSERT_EQ(ct::parse(arrived.packet, {}), ct::Drop::None) << "checksums are right";
            const ct::Packet& p = arrived.packet;
            ASSERT_TRUE(to.acknowledged(p.tcp_ack, sacks_of(p)))
                << "ack " << p.tcp_ack << " is no edge of what was sent";
            to.receive(p.tcp_seq, {reinterpret_cast<const char*>(p.data + p.payload_offset),
                                   reinterpret_cast<const char*>(p.data + p.end)});
        };
        const auto talk = [&](End& own, End& peer, const PacketBuilder& base, ct::PortId in) {
            auto segments = own.due(4);
            if (random() % 4 == 0) std::reverse(segments.begin(), segments.end());
            if (segments.empty()) segments.push_back({own.una(), ""});
            for (const End::Segment& s : segments) {
                PacketBuilder b = base;
                b.flags(s.text.empty() ? "A" : "PA").seq(s.seq).ack(own.next());
                if (const auto blocks = own.blocks(); !blocks.empty())
                    b.tcp_options(sack(blocks, 2));
                if (!s.text.empty()) b.payload(s.text);
                const bool lost_before = random() % 100 < c.loss_percent;
                const bool lost_behind = random() % 100 < c.loss_percent;
                if (lost_before) continue;
                const Outcome o = box.send(b, in);
                if (lost_behind) continue;
                deliver(o, peer);
                if (testing::Test::HasFatalFailure()) return;
            }
        };
        for (int round = 0; round < 2000 && !(client.done() && server.done()); ++round) {
            talk(client, server, from_client(), kLan);
            if (HasFatalFailure()) return;
            talk(server, client, from_server(), kWan);
            if (HasFatalFailure()) return;
        }

        ASSERT_TRUE(client.done() && server.done());
        EXPECT_EQ(server.received(), replaced(joined(client_lines), c.there_from, c.there_to));
        EXPECT_EQ(client.received(), replaced(joined(server_lines), c.back_from, c.back_to));
        EXPECT_EQ(box.table().check_invariants(), "");
    }
}

INSTANTIATE_TEST_SUITE_P(
    Lines, Stream,
    testing::Values(Case{"Longer", "10.0.0.1", "203.0.113.1", "|", "|", 0},
                    Case{"Shorter", "192.168.100.200", "10.0.0.1", "|", "|", 0},
                    Case{"BothDirections", "10.0.0.1", "203.0.113.1", "203.0.113.1", "10.0.0.1", 0},
                    Case{"LongerWithLoss", "10.0.0.1", "203.0.113.1", "|", "|", 20},
                    Case{"ShorterWithLoss", "192.168.100.200", "10.0.0.1", "|", "|", 20},
                    Case{"BothWithLoss", "10.0.0.1", "203.0.113.1", "203.0.113.1", "10.0.0.1", 20},
                    Case{"OfTheSameLength", "10.0.0.1", "10.9.8.7", "|", "|", 20}),
    [](const auto& c) { return c.param.name; });

// ---- The table's part.

Outcome open_tcp(NatBox& box, std::uint16_t sport) {
    const auto client = [&] {
        return PacketBuilder{}.ipv4("10.0.0.1", "198.51.100.7").tcp(sport, 21);
    };
    (void)box.send(client().flags("S").seq(999), kLan);
    (void)box.send(PacketBuilder{}
                       .ipv4("198.51.100.7", "203.0.113.1")
                       .tcp(21, sport)
                       .flags("SA")
                       .seq(4999)
                       .ack(1000),
                   kWan);
    return box.send(client().flags("A").seq(1000).ack(5000), kLan);
}

TEST(SeqAdjustOfAnEntry, GoesWithIt) {
    NatBox box{{masquerade()}};
    Outcome o = open_tcp(box, 4000);
    ct::SeqAdjust numbers;
    EXPECT_FALSE(box.table().sequence_shift(o.packet, numbers)) << "nothing has changed yet";
    ASSERT_TRUE(nat::lengthened(box.table(), {&o.packet, 1}, 0, 0, 5));
    ASSERT_TRUE(box.table().sequence_shift(o.packet, numbers));
    EXPECT_EQ(numbers.of(Dir::Original).seen(1001), 1006U);
    EXPECT_TRUE(numbers.of(Dir::Reply).none());
    EXPECT_NE(o.packet.status & ct::status::kSeqAdjust, 0);
    EXPECT_EQ(box.table().sequence_shifts(), 1U);

    ASSERT_TRUE(box.table().erase(o.packet.conn, box.now));

    EXPECT_EQ(box.table().sequence_shifts(), 0U);
    EXPECT_FALSE(box.table().sequence_shift(o.packet, numbers));
    EXPECT_FALSE(nat::lengthened(box.table(), {&o.packet, 1}, 0, 0, 5));
    const Outcome next = open_tcp(box, 4001);
    EXPECT_FALSE(box.table().sequence_shift(next.packet, numbers)) << "a new life has none";
}

TEST(SeqAdjustOfAnEntry, IsThereForEachOfAFullTableAndEndsWithThemAll) {
    constexpr std::uint16_t kCount = 200;
    NatBox box{{masquerade()}, kCount};
    for (std::uint16_t n = 0; n < kCount; ++n) {
        Outcome o = open_tcp(box, static_cast<std::uint16_t>(4000 + n));
        ASSERT_TRUE(nat::lengthened(box.table(), {&o.packet, 1}, 0, 0, 1)) << n;
    }
    EXPECT_EQ(box.table().sequence_shifts(), kCount);

    EXPECT_EQ(box.table().flush(box.now), kCount);

    EXPECT_EQ(box.table().sequence_shifts(), 0U);
}

TEST(SeqAdjustOfAnEntry, IsForTcpOnly) {
    NatBox box{{masquerade()}};
    Outcome o =
        box.send(PacketBuilder{}.ipv4("10.0.0.1", "198.51.100.7").udp(4000, 53).payload("x"), kLan);

    EXPECT_FALSE(nat::lengthened(box.table(), {&o.packet, 1}, 0, 0, 5));
    EXPECT_TRUE(nat::lengthened(box.table(), {&o.packet, 1}, 0, 0, 0))
        << "what kept its length needs no room";
}

TEST(SeqAdjustOfAnEntry, LaterPacketsOfTheBurstAreAdjustedToo) {
    NatBox box{{masquerade()}};
    const Outcome o = open_tcp(box, 4000);
    std::array<ct::Packet, 3> burst{o.packet, o.packet, o.packet};
    burst[2].conn = {};

    ASSERT_TRUE(nat::lengthened(box.table(), burst, 0, 0, 5));

    EXPECT_NE(burst[1].status & ct::status::kSeqAdjust, 0);
    EXPECT_EQ(burst[2].status & ct::status::kSeqAdjust, 0) << "another connection's";
}

// The same tuple used again while the entry stands: the old numbers mean nothing.
TEST(SeqAdjustOfAnEntry, IsForgottenWhenTheEntryFollowsItsEndpointsToANewConnection) {
    NatBox box{{masquerade()}};
    Outcome o = open_tcp(box, 4000);
    ASSERT_TRUE(nat::lengthened(box.table(), {&o.packet, 1}, 0, 0, 5));
    (void)box.send(
        PacketBuilder{}.ipv4("10.0.0.1", "198.51.100.7").tcp(4000, 21).flags("S").seq(700'000),
        kLan);

    const Outcome answer = box.send(PacketBuilder{}
                                        .ipv4("198.51.100.7", "203.0.113.1")
                                        .tcp(21, 4000)
                                        .flags("SA")
                                        .seq(900'000)
                                        .ack(700'001),
                                    kWan);

    ASSERT_EQ(answer.drop(), ct::Drop::None);
    ct::SeqAdjust numbers;
    ASSERT_TRUE(box.table().sequence_shift(answer.packet, numbers));
    EXPECT_TRUE(numbers.of(Dir::Original).none());
    ct::Packet wire = answer.packet;
    ASSERT_EQ(ct::parse(wire, {}), ct::Drop::None);
    EXPECT_EQ(wire.tcp_ack, 700'001U);
}

}  // namespace
