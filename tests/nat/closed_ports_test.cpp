// SPDX-License-Identifier: BSD-3-Clause
//
// Where every port is taken, a newcomer gets that of a TCP connection that has closed (semantics.md
// 2.7, nf_nat_used_tuple_harder).
#include "tests/nat/nat_box.hpp"

#include <gtest/gtest.h>

#include <string>

namespace {

using nat::PortRange;
using test::addr;
using test::kLan;
using test::kWan;
using test::NatBox;
using test::Outcome;
using test::PacketBuilder;
using test::snat;
using test::target;

constexpr const char* kServer = "198.51.100.7";
constexpr const char* kOutside = "203.0.113.9";
constexpr std::uint16_t kFirst = 5000;
constexpr unsigned kPorts = 10;
constexpr std::uint32_t kClientSeq = 1'000'000;
constexpr std::uint32_t kServerSeq = 2'000'000;

/// How a connection ends.
enum class Close { Fin, Rst, No };

struct Ten : testing::Test {
    explicit Ten(const ct::Room& room = {})
        : box{{snat(target(kOutside, PortRange{kFirst, kFirst + kPorts - 1}))},
              4096,
              nat::Action::Accept,
              {},
              {},
              room} {}

    static std::string host(unsigned n) { return "10.0.0." + std::to_string(n + 1); }

    PacketBuilder client(unsigned n, const char* flags, std::uint32_t seq, std::uint32_t ack = 0) {
        return PacketBuilder{}.ipv4(host(n), kServer).tcp(4000, 80).flags(flags).seq(seq).ack(ack);
    }
    PacketBuilder server(std::uint16_t port, const char* flags, std::uint32_t seq,
                         std::uint32_t ack) {
        return PacketBuilder{}.ipv4(kServer, kOutside).tcp(80, port).flags(flags).seq(seq).ack(ack);
    }
    Outcome open(unsigned n, std::uint32_t seq = kClientSeq) {
        return box.send(client(n, "S", seq), kLan);
    }
    /// One connection of host n, from beginning to end. Returns its external port.
    std::uint16_t live(unsigned n, Close how) {
        const Outcome first = open(n);
        EXPECT_EQ(first.drop(), ct::Drop::None);
        const std::uint16_t port = first.source().second;
        const std::uint32_t c = kClientSeq + 1;
        const std::uint32_t s = kServerSeq + 1;
        EXPECT_EQ(box.send(server(port, "SA", kServerSeq, c), kWan).drop(), ct::Drop::None);
        box.send(client(n, "A", c, s), kLan);
        if (how == Close::Rst) box.send(client(n, "RA", c, s), kLan);
        if (how != Close::Fin) return port;
        box.send(client(n, "FA", c, s), kLan);
        box.send(server(port, "FA", s, c + 1), kWan);
        box.send(client(n, "A", c + 1, s + 1), kLan);
        return port;
    }
    void live_all(Close how) {
        for (unsigned n = 0; n < kPorts; ++n) live(n, how);
        ASSERT_EQ(box.table().count(), kPorts);
    }

    NatBox box;
};

struct ClosedPorts : Ten {};

TEST_F(ClosedPorts, PassFromTimeWaitToNewcomers) {
    live_all(Close::Fin);

    for (unsigned n = 0; n < 3 * kPorts; ++n) {
        const Outcome o = open(100 + n, kClientSeq + 100 + n);
        if (n < kPorts) {
            EXPECT_EQ(o.drop(), ct::Drop::None) << n;
            EXPECT_EQ(o.source().first, addr(kOutside));
        } else {  // those that hold the ports now are no older than a SYN
            EXPECT_EQ(o.drop(), ct::Drop::NatNoPort) << n;
        }
        EXPECT_EQ(box.table().count(), kPorts);
    }
    EXPECT_EQ(box.table().counters().deleted, kPorts);
    EXPECT_TRUE(box.table().check_invariants().empty());
}

TEST_F(ClosedPorts, PassFromConnectionsThatWereReset) {
    live_all(Close::Rst);

    EXPECT_EQ(open(100, kClientSeq + 100).drop(), ct::Drop::None);
    EXPECT_EQ(box.table().count(), kPorts);
}

TEST_F(ClosedPorts, StayWithWhomIsStillTalking) {
    live_all(Close::No);

    EXPECT_EQ(open(100, kClientSeq + 100).drop(), ct::Drop::NatNoPort);
    EXPECT_EQ(box.table().count(), kPorts);
}

// RFC 6191 2: the server takes for a new connection what lies beyond the old one.
TEST_F(ClosedPorts, StayWhereTheServerCouldNotTellTheTwoApart) {
    live_all(Close::Fin);

    EXPECT_EQ(open(100, kClientSeq - 100).drop(), ct::Drop::NatNoPort);
    EXPECT_EQ(box.table().counters().deleted, 0U);
    // A worker that found none looks again after a moment.
    EXPECT_EQ(open(101, kClientSeq + 100).drop(), ct::Drop::NatNoPort);
    box.now += ct::kNanosPerSecond / 100;
    EXPECT_EQ(open(102, kClientSeq + 100).drop(), ct::Drop::None);
}

TEST_F(ClosedPorts, AreNotForOtherProtocols) {
    live_all(Close::Fin);
    for (unsigned n = 0; n < kPorts; ++n) {
        const PacketBuilder b = PacketBuilder{}.ipv4(host(n), kServer).udp(4000, 80).payload("x");
        EXPECT_EQ(box.send(b, kLan).drop(), ct::Drop::None) << "they have ports of their own";
    }
    const PacketBuilder b = PacketBuilder{}.ipv4(host(99), kServer).udp(4000, 80).payload("x");
    EXPECT_EQ(box.send(b, kLan).drop(), ct::Drop::NatNoPort);
    EXPECT_EQ(box.table().count(), 2 * kPorts);
}

// No SYN, no word on where the sequence numbers begin: a connection that is picked up.
TEST_F(ClosedPorts, AreNotForConnectionsInTheirMiddle) {
    live_all(Close::Fin);

    EXPECT_EQ(box.send(client(100, "A", kClientSeq + 100, 5), kLan).drop(), ct::Drop::NatNoPort);
}

struct KeptMappings : Ten {
    static ct::Room kept() {
        ct::Room room;
        room.never_delete_mappings = true;
        return room;
    }
    KeptMappings() : Ten{kept()} {}
};

// RFC 6888 REQ-11.
TEST_F(KeptMappings, StayAfterTheirConnectionsHaveClosed) {
    live_all(Close::Fin);

    EXPECT_EQ(open(100, kClientSeq + 100).drop(), ct::Drop::NatNoPort);
    EXPECT_EQ(box.table().count(), kPorts);
}

}  // namespace
