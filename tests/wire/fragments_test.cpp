// SPDX-License-Identifier: BSD-3-Clause
#include "ct/wire/fragments.hpp"

#include "ct/wire/parse.hpp"
#include "tests/support/packet_builder.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <random>
#include <thread>
#include <vector>

namespace {

using ct::Disposition;
using ct::Drop;
using ct::FragmentSettings;
using ct::FragmentTable;
using ct::HeldFragment;
using ct::kNanosPerSecond;
using ct::Packet;
using test::Bytes;
using test::OwnedPacket;
using test::PacketBuilder;

PacketBuilder four() {
    return PacketBuilder{}.ipv4("192.0.2.1", "198.51.100.1");
}
PacketBuilder six() {
    return PacketBuilder{}.ipv6("2001:db8::1", "2001:db8::2");
}

/// A table, and buffers whose life the test need not think of: what the table holds at the end is
/// drained, and every buffer that was lent is counted back.
class Fragments : public testing::Test {
protected:
    ~Fragments() override {
        std::array<HeldFragment, 64> out;
        while (const std::size_t n = table_->drain(out)) drained_ += n;
        EXPECT_EQ(table_->counts().held, 0U);
        EXPECT_EQ(table_->counts().datagrams, 0U);
    }

    void make(const FragmentSettings& settings) {
        table_ = std::make_unique<FragmentTable>(settings);
    }

    /// Parses `frame` and gives it to the table. The packet stays valid for the test's life.
    Disposition send(const Bytes& frame, ct::Nanos now = 0, std::uint16_t zone = 0) {
        packets_.push_back(test::receive(frame));
        Packet& p = packets_.back().packet;
        p.tuple.zone = zone;
        p.owner = p.data;
        EXPECT_EQ(ct::parse(p, {}), Drop::None) << ct::name_of(p.drop);
        return table_->track(p, now);
    }
    Packet& last() { return packets_.back().packet; }

    std::vector<HeldFragment> released(const Packet& first, std::size_t room = 64) {
        std::vector<HeldFragment> out(room);
        out.resize(table_->release(FragmentTable::key_of(first), out));
        return out;
    }
    std::vector<HeldFragment> expired(ct::Nanos now, std::size_t room = 64) {
        std::vector<HeldFragment> out(room);
        out.resize(table_->expire(now, out));
        return out;
    }

    std::unique_ptr<FragmentTable> table_ = std::make_unique<FragmentTable>(FragmentSettings{});
    std::vector<OwnedPacket> packets_;
    std::size_t drained_ = 0;
};

/// A UDP datagram from port 50000 to 9999 with `size` bytes of payload, in fragments of 64 bytes.
std::vector<Bytes> udp_fragments(std::size_t size, std::uint32_t id = 1, bool ipv6 = false) {
    PacketBuilder b = ipv6 ? six() : four();
    return test::fragments_of(b.udp(50000, 9999).payload_bytes(size).build_ip(), 64, id);
}

// ---- Learning and lending.

TEST_F(Fragments, LaterOnesGetThePortsOfTheFirst) {
    const auto parts = udp_fragments(150);
    ASSERT_EQ(parts.size(), 3U);

    ASSERT_EQ(send(parts[0]), Disposition::Go);
    for (const std::size_t i : {1U, 2U}) {
        ASSERT_EQ(send(parts[i]), Disposition::Go);
        EXPECT_EQ(last().tuple.sport.host(), 50000);
        EXPECT_EQ(last().tuple.dport.host(), 9999);
    }
}

// NAT64 has no use for the rest where the first has no checksum (RFC 7915 4.5).
TEST_F(Fragments, LaterOnesKnowWhetherTheirDatagramHasAChecksum) {
    for (const bool without : {false, true}) {
        PacketBuilder b = four().udp(50000, 9999).payload_bytes(150);
        if (without) b.with_l4_checksum(0);
        const auto parts = test::fragments_of(b.build_ip(), 64, without ? 7 : 8);
        EXPECT_EQ(send(parts[1]), Disposition::Held);
        ASSERT_EQ(send(parts[0]), Disposition::Go);
        Packet before;
        for (const HeldFragment& held : released(last())) ct::resume(held, before);
        ASSERT_EQ(send(parts[2]), Disposition::Go);

        EXPECT_EQ(before.without_checksum, without) << "it waited";
        EXPECT_EQ(last().without_checksum, without);
    }
}

TEST_F(Fragments, ForgetsADatagramOnceAllOfItWasSeen) {
    const auto parts = udp_fragments(150);

    for (const std::size_t i : {0U, 2U, 1U}) EXPECT_EQ(send(parts[i]), Disposition::Go);

    EXPECT_EQ(table_->counts().datagrams, 0U);
}

// RFC 6864: ids come round; a table that remembered would call the next datagram a duplicate.
TEST_F(Fragments, LetsAnIdBeUsedAgainAtOnce) {
    const auto parts = udp_fragments(150);

    for (int round = 0; round < 3; ++round)
        for (const Bytes& part : parts) ASSERT_EQ(send(part), Disposition::Go) << round;
}

TEST_F(Fragments, LetAnIpv4IdComeRoundBeforeALostFragmentTimesOut) {
    const auto parts = udp_fragments(150);
    ASSERT_EQ(send(parts[0]), Disposition::Go);
    ASSERT_EQ(send(parts[1]), Disposition::Go);  // parts[2] is lost

    for (const Bytes& part : parts) EXPECT_EQ(send(part), Disposition::Go);

    EXPECT_EQ(table_->counts().datagrams, 0U);
}

// RFC 8200 4.5: the header behind the fragment header may be an option header, so that a later
// fragment does not even know its protocol.
TEST_F(Fragments, LaterOnesOfIpv6GetTheProtocolToo) {
    Bytes chain = test::from_hex("1100010400000000");  // destination options, then UDP
    const Bytes udp = six().udp(50000, 9999).payload_bytes(100).build_ip();
    chain.insert(chain.end(), udp.begin() + 40, udp.end());
    const auto slice = [&](std::size_t from, std::size_t to) {
        return Bytes(chain.begin() + static_cast<std::ptrdiff_t>(from),
                     chain.begin() + static_cast<std::ptrdiff_t>(to));
    };
    ASSERT_EQ(send(six().fragment(0, true).l4(60, slice(0, 64)).build()), Disposition::Go);

    ASSERT_EQ(send(six().fragment(64, false).l4(60, slice(64, chain.size())).build()),
              Disposition::Go);

    EXPECT_EQ(last().tuple.proto, 17);
    EXPECT_EQ(last().tuple.dport.host(), 9999);
    EXPECT_EQ(table_->counts().datagrams, 0U);
}

TEST_F(Fragments, OfAnEchoGetIdentifierAndType) {
    const auto parts = test::fragments_of(four().echo(77).payload_bytes(100).build_ip(), 64);

    ASSERT_EQ(send(parts[0]), Disposition::Go);
    const ct::Tuple first = last().tuple;
    ASSERT_EQ(send(parts[1]), Disposition::Go);

    EXPECT_EQ(last().tuple, first);
    EXPECT_EQ(last().message_type, 8);
}

TEST_F(Fragments, OfOtherIdsProtocolsAddressesAndZonesAreOthers) {
    const auto frame = [](const char* src, std::uint32_t id, std::uint8_t proto) {
        return PacketBuilder{}
            .ipv4(src, "198.51.100.1")
            .id(id)
            .fragment(64, false)
            .l4(proto, Bytes(8))
            .build();
    };
    ASSERT_EQ(send(udp_fragments(150)[0]), Disposition::Go);

    EXPECT_EQ(send(frame("192.0.2.1", 2, 17)), Disposition::Held);
    EXPECT_EQ(send(frame("192.0.2.2", 1, 17)), Disposition::Held);
    EXPECT_EQ(send(frame("192.0.2.1", 1, 6)), Disposition::Held);
    EXPECT_EQ(send(frame("192.0.2.1", 1, 17), 0, 9), Disposition::Held);
    EXPECT_EQ(send(frame("192.0.2.1", 1, 17)), Disposition::Go);
}

// ---- Holding.

TEST_F(Fragments, ThatOvertakeTheFirstAreHeldAndReleasedBehindIt) {
    const auto parts = udp_fragments(150);
    ASSERT_EQ(send(parts[2], 0, 5), Disposition::Held);
    const auto* const third = last().data;
    ASSERT_EQ(send(parts[1], 0, 5), Disposition::Held);
    const auto* const second = last().data;
    EXPECT_EQ(table_->counts().held, 2U);

    ASSERT_EQ(send(parts[0], 0, 5), Disposition::Go);
    const auto out = released(last());

    ASSERT_EQ(out.size(), 2U);
    EXPECT_EQ(out[0].data, third);
    EXPECT_EQ(out[0].owner, third);
    EXPECT_EQ(out[1].data, second);
    EXPECT_EQ(out[0].drop, Drop::None);
    EXPECT_EQ(table_->counts().held, 0U);
    EXPECT_EQ(table_->counts().datagrams, 0U);
}

TEST_F(Fragments, ResumeAsPacketsWithACompleteTuple) {
    const auto parts = udp_fragments(100);
    ASSERT_EQ(send(parts[1], 0, 5), Disposition::Held);
    ASSERT_EQ(send(parts[0], 0, 5), Disposition::Go);
    const auto out = released(last());
    ASSERT_EQ(out.size(), 1U);
    Packet p;

    ct::resume(out[0], p);

    EXPECT_EQ(p.drop, Drop::None);
    EXPECT_EQ(p.tuple, last().tuple);
    EXPECT_EQ(p.tuple.zone, 5);
    EXPECT_EQ(p.fragment, ct::Fragment::Later);
    EXPECT_EQ(p.in_port, 0);
    EXPECT_EQ(p.length, parts[1].size());
}

TEST_F(Fragments, AreReleasedInPiecesIfTheCallerHasLittleRoom) {
    const auto parts = udp_fragments(300);
    for (std::size_t i = 1; i < parts.size(); ++i) ASSERT_EQ(send(parts[i]), Disposition::Held);
    ASSERT_EQ(send(parts[0]), Disposition::Go);

    EXPECT_EQ(released(last(), 3).size(), 3U);
    EXPECT_EQ(released(last(), 3).size(), 1U);
    EXPECT_EQ(released(last(), 3).size(), 0U);
}

TEST_F(Fragments, NothingIsReleasedWhereNothingWaited) {
    ASSERT_EQ(send(udp_fragments(150)[0]), Disposition::Go);

    EXPECT_TRUE(released(last()).empty());
    EXPECT_EQ(table_->counts().datagrams, 1U);
}

TEST_F(Fragments, ArriveInAnyOrderAndAllComeOut) {
    std::mt19937 random{7};
    for (int round = 0; round < 200; ++round) {
        auto parts = udp_fragments(64U * 20, static_cast<std::uint32_t>(round + 1), round % 2 == 1);
        std::shuffle(parts.begin(), parts.end(), random);
        std::size_t gone = 0;
        for (const Bytes& part : parts) {
            const Disposition d = send(part);
            ASSERT_NE(d, Disposition::Dropped) << "round " << round;
            if (d == Disposition::Go) ++gone;
            if (last().fragment == ct::Fragment::First) gone += released(last()).size();
        }
        ASSERT_EQ(gone, parts.size()) << "round " << round;
        ASSERT_EQ(table_->counts().datagrams, 0U) << "round " << round;
    }
}

// ---- Overlaps: RFC 5722, RFC 8200 4.5.

TEST_F(Fragments, ThatOverlapCondemnTheDatagram) {
    const auto parts = udp_fragments(300);
    ASSERT_EQ(send(parts[2]), Disposition::Held);  // 128 to 192

    EXPECT_EQ(send(four().fragment(120, true).l4(17, Bytes(16)).build()), Disposition::Dropped);
    EXPECT_EQ(last().drop, Drop::FragmentOverlap);
    const auto out = expired(0);
    ASSERT_EQ(out.size(), 1U);
    EXPECT_EQ(out[0].drop, Drop::FragmentOverlap);
    // "... including those not yet received"
    EXPECT_EQ(send(parts[0]), Disposition::Dropped);
    EXPECT_EQ(last().drop, Drop::FragmentOverlap);
    EXPECT_EQ(send(parts[1]), Disposition::Dropped);
}

TEST_F(Fragments, ThatLieInsideAnotherOrAroundItOverlap) {
    ASSERT_EQ(send(four().id(1).fragment(64, true).l4(17, Bytes(64)).build()), Disposition::Held);
    ASSERT_EQ(send(four().id(2).fragment(64, true).l4(17, Bytes(64)).build()), Disposition::Held);

    EXPECT_EQ(send(four().id(1).fragment(72, true).l4(17, Bytes(8)).build()), Disposition::Dropped);
    EXPECT_EQ(last().drop, Drop::FragmentOverlap);
    EXPECT_EQ(send(four().id(2).fragment(56, true).l4(17, Bytes(128)).build()),
              Disposition::Dropped);
    EXPECT_EQ(last().drop, Drop::FragmentOverlap);
}

TEST_F(Fragments, ThatOverlapTheFirstAreDroppedAfterIt) {
    ASSERT_EQ(send(udp_fragments(150)[0]), Disposition::Go);  // 0 to 64

    EXPECT_EQ(send(four().fragment(56, false).l4(17, Bytes(8)).build()), Disposition::Dropped);
    EXPECT_EQ(last().drop, Drop::FragmentOverlap);
}

TEST_F(Fragments, DroppedAsExactDuplicatesCondemnNothing) {
    const auto parts = udp_fragments(150, 1, true);
    ASSERT_EQ(send(parts[0]), Disposition::Go);
    ASSERT_EQ(send(parts[1]), Disposition::Go);

    EXPECT_EQ(send(parts[0]), Disposition::Dropped);
    EXPECT_EQ(last().drop, Drop::FragmentOverlap);
    EXPECT_EQ(send(parts[1]), Disposition::Dropped);
    EXPECT_EQ(send(parts[2]), Disposition::Go);
}

// The first one again, longer: in IPv6, whose ids do not come round, nobody but an attacker does
// it.
TEST_F(Fragments, OfIpv6WithTwoDifferentFirstsAreCondemned) {
    ASSERT_EQ(send(udp_fragments(150, 1, true)[0]), Disposition::Go);

    EXPECT_EQ(send(six().fragment(0, true).l4(17, Bytes(72, 8)).build()), Disposition::Dropped);
    EXPECT_EQ(last().drop, Drop::FragmentOverlap);
}

TEST_F(Fragments, BehindTheLastCondemnTheDatagram) {
    ASSERT_EQ(send(four().fragment(64, false).l4(17, Bytes(8)).build()), Disposition::Held);

    EXPECT_EQ(send(four().fragment(128, true).l4(17, Bytes(8)).build()), Disposition::Dropped);
    EXPECT_EQ(last().drop, Drop::BadFragment);
    EXPECT_EQ(send(four().fragment(0, true).l4(17, Bytes(64, 8)).build()), Disposition::Dropped);
}

TEST_F(Fragments, WithTwoDifferentEndsCondemnTheDatagram) {
    ASSERT_EQ(send(four().fragment(128, false).l4(17, Bytes(8)).build()), Disposition::Held);

    EXPECT_EQ(send(four().fragment(64, false).l4(17, Bytes(8)).build()), Disposition::Dropped);
    EXPECT_EQ(last().drop, Drop::BadFragment);
}

// ---- Time.

TEST_F(Fragments, HeldTooLongAreGivenBack) {
    ASSERT_EQ(send(udp_fragments(150)[1], kNanosPerSecond), Disposition::Held);
    const auto* const data = last().data;

    EXPECT_TRUE(expired(31 * kNanosPerSecond - 1).empty());
    const auto out = expired(31 * kNanosPerSecond);

    ASSERT_EQ(out.size(), 1U);
    EXPECT_EQ(out[0].owner, data);
    EXPECT_EQ(out[0].drop, Drop::FragmentTimeout);
    EXPECT_EQ(table_->counts().datagrams, 0U);
}

TEST_F(Fragments, OfIpv6MayTakeTwiceAsLong) {
    ASSERT_EQ(send(udp_fragments(150, 1, true)[1]), Disposition::Held);
    ASSERT_EQ(send(udp_fragments(150, 1, false)[1]), Disposition::Held);

    EXPECT_EQ(expired(30 * kNanosPerSecond).size(), 1U);
    EXPECT_TRUE(expired(60 * kNanosPerSecond - 1).empty());
    EXPECT_EQ(expired(60 * kNanosPerSecond).size(), 1U);
}

TEST_F(Fragments, AfterTheTimeOfTheirFirstFindNoPorts) {
    const auto parts = udp_fragments(150);
    ASSERT_EQ(send(parts[0]), Disposition::Go);

    EXPECT_EQ(send(parts[1], 30 * kNanosPerSecond), Disposition::Held);
}

TEST_F(Fragments, HeldByADatagramThatStartsAnewAreGivenBackToo) {
    const auto parts = udp_fragments(150);
    ASSERT_EQ(send(parts[1]), Disposition::Held);

    ASSERT_EQ(send(parts[1], 40 * kNanosPerSecond), Disposition::Held);

    const auto out = expired(40 * kNanosPerSecond);
    ASSERT_EQ(out.size(), 1U);
    EXPECT_EQ(out[0].drop, Drop::FragmentTimeout);
    EXPECT_EQ(table_->counts().held, 1U);
}

TEST_F(Fragments, ExpireInPiecesIfTheCallerHasLittleRoom) {
    for (std::uint32_t id = 1; id <= 10; ++id)
        ASSERT_EQ(send(udp_fragments(150, id)[1]), Disposition::Held);

    EXPECT_EQ(expired(kNanosPerSecond * 30, 4).size(), 4U);
    EXPECT_EQ(expired(kNanosPerSecond * 30, 4).size(), 4U);
    EXPECT_EQ(expired(kNanosPerSecond * 30, 4).size(), 2U);
    EXPECT_EQ(table_->counts().held, 0U);
}

TEST_F(Fragments, DrainGivesEverythingBackAsStopped) {
    for (std::uint32_t id = 1; id <= 10; ++id)
        ASSERT_EQ(send(udp_fragments(150, id)[1]), Disposition::Held);
    std::array<HeldFragment, 16> out;

    EXPECT_EQ(table_->drain(out), 10U);

    EXPECT_EQ(out[0].drop, Drop::Stopped);
    EXPECT_EQ(table_->counts().datagrams, 0U);
}

// ---- Bounds.

TEST_F(Fragments, FloodOfLaterOnesIsRefusedAndLeavesRoomForOrderlyTraffic) {
    make({.datagrams = 64, .held = 32});
    std::size_t held = 0;
    for (std::uint32_t id = 1; id <= 1000; ++id) {
        if (send(udp_fragments(150, id)[1]) == Disposition::Held)
            ++held;
        else
            ASSERT_EQ(last().drop, Drop::FragmentTableFull);
    }
    EXPECT_EQ(held, 32U);
    EXPECT_EQ(table_->counts().held, 32U);

    for (std::uint32_t id = 2000; id < 3000; ++id)
        for (const Bytes& part : udp_fragments(150, id))
            ASSERT_EQ(send(part), Disposition::Go) << id;
}

TEST_F(Fragments, FloodOfFirstOnesPushesOutTheOldestOnly) {
    make({.datagrams = 64, .held = 8});
    for (std::uint32_t id = 1; id <= 1000; ++id)
        ASSERT_EQ(send(udp_fragments(150, id)[0]), Disposition::Go);
    EXPECT_EQ(table_->counts().datagrams, 64U);

    EXPECT_EQ(send(udp_fragments(150, 1000)[1]), Disposition::Go);
    EXPECT_EQ(send(udp_fragments(150, 1)[1]), Disposition::Held);
}

TEST_F(Fragments, OfOneDatagramAreBounded) {
    std::size_t accepted = 0;
    ASSERT_EQ(send(four().fragment(0, true).l4(17, Bytes(8, 8)).build()), Disposition::Go);
    for (std::uint16_t i = 2; i < 400; i = static_cast<std::uint16_t>(i + 2))
        if (send(four()
                     .fragment(static_cast<std::uint16_t>(i * 8), true)
                     .l4(17, Bytes(8))
                     .build()) == Disposition::Go)
            ++accepted;

    EXPECT_EQ(accepted, FragmentTable::kMaxParts - 1);
    EXPECT_EQ(last().drop, Drop::FragmentTableFull);
}

// RFC 791 3.2: every link carries 576 bytes, which makes 552 of payload, in 119 fragments.
TEST_F(Fragments, OfTheLargestPacketOverTheSmallestUsualLinkFit) {
    const auto parts = test::fragments_of(four().udp(1, 2).payload_bytes(65'507).build_ip(), 552);
    ASSERT_EQ(parts.size(), 119U);

    for (auto part = parts.rbegin(); part != parts.rend(); ++part)
        ASSERT_NE(send(*part), Disposition::Dropped);

    EXPECT_EQ(released(last(), 200).size(), 118U);
    EXPECT_EQ(table_->counts().datagrams, 0U);
}

TEST(FragmentTable, RefusesBoundsThatItCannotKeep) {
    EXPECT_THROW(FragmentTable({.datagrams = 0}), std::invalid_argument);
    EXPECT_THROW(FragmentTable({.held = 0}), std::invalid_argument);
    EXPECT_THROW(FragmentTable({.datagrams = 100, .held = 51}), std::invalid_argument);
}

// ---- Threads.

// Four threads, each with the firsts of its own datagrams and the laters of its neighbour's.
TEST(FragmentTable, LosesNoBufferBetweenThreads) {
    constexpr std::uint32_t kRounds = 2000;
    constexpr std::size_t kThreads = 4;
    FragmentTable table{{.datagrams = 512, .held = 128}};
    std::array<std::vector<OwnedPacket>, kThreads> packets;
    for (std::size_t t = 0; t < kThreads; ++t) {
        for (std::uint32_t i = 0; i < kRounds; ++i) {
            const auto id = [&](std::size_t owner) {
                return static_cast<std::uint32_t>(owner * kRounds + i);
            };
            packets[t].push_back(test::receive(udp_fragments(80, id(t))[0]));
            packets[t].push_back(test::receive(udp_fragments(80, id((t + 1) % kThreads))[1]));
        }
    }
    std::atomic<std::size_t> gone{0};
    std::atomic<std::size_t> given_back{0};
    std::atomic<std::size_t> dropped{0};
    const auto work = [&](std::size_t t) {
        std::array<HeldFragment, 8> out;
        for (OwnedPacket& owned : packets[t]) {
            if (ct::parse(owned.packet, {}) != Drop::None) continue;
            switch (table.track(owned.packet, 0)) {
                case Disposition::Go:
                    ++gone;
                    if (owned.packet.fragment == ct::Fragment::First)
                        gone += table.release(FragmentTable::key_of(owned.packet), out);
                    break;
                case Disposition::Dropped:
                    ++dropped;
                    break;
                case Disposition::Held:
                    break;
            }
            given_back += table.expire(0, out);
        }
    };
    {
        std::vector<std::jthread> threads;
        for (std::size_t t = 0; t < kThreads; ++t) threads.emplace_back(work, t);
    }
    std::array<HeldFragment, 8> out;
    while (const std::size_t n = table.drain(out)) given_back += n;

    EXPECT_EQ(gone + given_back + dropped, kThreads * kRounds * 2);
    EXPECT_EQ(table.counts().held, 0U);
}

}  // namespace
