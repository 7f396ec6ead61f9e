// SPDX-License-Identifier: BSD-3-Clause
//
// Forwarding on its own: parse(), route() and resolve(), with neither conntrack nor ports.
#include "dataplane/forward.hpp"

#include "ct/wire/parse.hpp"
#include "eal.hpp"
#include "topology.hpp"

#include <gtest/gtest.h>

namespace {

using ct::Drop;
using test::addr;
using test::Bytes;
using test::kLan;
using test::kWan;
using test::PacketBuilder;

constexpr ct::Nanos kSecond = ct::kNanosPerSecond;
constexpr const char* kLanMac = "02:aa:00:00:00:01";
constexpr const char* kWanMac = "02:aa:00:00:00:02";
constexpr const char* kHostMac = "02:bb:00:00:00:07";
constexpr const char* kGatewayMac = "02:bb:00:00:00:fe";

/// What became of a packet.
struct Fate {
    Drop drop = Drop::None;
    ct::PortId port = ct::kNoPort;
    Bytes frame;  ///< as it leaves; empty if it does not
    bool waits = false;
};

/// A frame out of the outbox, parsed.
struct Sent {
    explicit Sent(Bytes b, ct::PortId out) : frame{std::move(b)}, port{out} {
        packet.data = frame.data();
        packet.length = static_cast<std::uint32_t>(frame.size());
        static_cast<void>(ct::parse(packet, {}));
    }
    Sent(Sent&&) = default;
    Sent& operator=(Sent&&) = delete;

    Bytes frame;
    ct::PortId port;
    ct::Packet packet;
};

class Forwarding : public testing::Test {
protected:
    Forwarding() { config_.forward = {.icmp_rate = 10, .icmp_burst = 4}; }

    ~Forwarding() override {
        if (!forward_) return;
        forward_->drain();
        // I6, with what went in by hand and what came out of send() and the outbox.
        const dp::Totals t = counters_[0].totals();
        EXPECT_EQ(received_ + t.local_made, sent_ + dropped_ + t.dropped() + t.held());
        EXPECT_EQ(t.held(), 0U);
    }

    dp::Forward& forward() {
        if (!forward_)
            forward_ = std::make_unique<dp::Forward>(
                config_,
                std::vector<dp::PortLink>{{test::mac(kLanMac), config_.ports[kLan].mtu},
                                          {test::mac(kWanMac), config_.ports[kWan].mtu}},
                std::vector<rte_mempool*>{pool_.get()}, std::span{counters_}, policy_);
        return *forward_;
    }

    /// Neighbours that everybody knows: a host on lan, the gateway on wan.
    void know_neighbours() {
        const auto known = [](const char* address, const char* mac, ct::PortId port) {
            const auto family = std::string_view{address}.find(':') == std::string_view::npos
                                    ? ct::Family::Ipv4
                                    : ct::Family::Ipv6;
            return dp::NeighbourConfig{
                .family = family, .address = addr(address), .mac = test::mac(mac), .port = port};
        };
        config_.neighbours = {
            known("192.0.2.7", kHostMac, kLan), known("2001:db8:1::7", kHostMac, kLan),
            known("198.51.100.254", kGatewayMac, kWan), known("2001:db8:2::7", kGatewayMac, kWan)};
    }

    Fate send(const Bytes& frame, ct::PortId in) {
        ct::Packet p;
        dp::fill_packet(p, pool_.with(frame), in);
        ++received_;
        return finish(p);
    }
    Fate send(const PacketBuilder& b, ct::PortId in) { return send(b.build(), in); }

    Fate finish(ct::Packet& p) {
        if (ct::parse(p, {}) == Drop::None && p.tuple.family != ct::Family::None)
            forward().route(0, p, p.tuple.dst, now_);
        if (p.alive()) forward().resolve(0, {&p, 1}, now_);
        Fate fate{.drop = p.drop, .port = p.out_port, .frame = {}, .waits = p.owner == nullptr};
        if (p.owner == nullptr) return fate;
        ++(p.alive() ? sent_ : dropped_);
        const bool leaves = p.alive();
        Bytes bytes = test::take_bytes(dp::take_mbuf(p));
        if (leaves) fate.frame = std::move(bytes);
        return fate;
    }

    /// Frames that wait in the outbox.
    std::vector<Sent> frames() {
        std::vector<Sent> out;
        for (const dp::ReadyFrame& f : forward().outbox(0).frames.items())
            out.emplace_back(test::take_bytes(f.mbuf), f.port);
        forward().outbox(0).frames.clear();
        sent_ += out.size();
        return out;
    }
    /// IP packets that Sluice made.
    std::vector<Sent> packets() {
        std::vector<Sent> out;
        for (const dp::LocalPacket& f : forward().outbox(0).packets.items()) {
            tracking_ = f.tracking;
            out.emplace_back(test::take_bytes(f.mbuf), f.port);
        }
        forward().outbox(0).packets.clear();
        sent_ += out.size();
        return out;
    }

    /// From a host on lan to somewhere beyond the gateway.
    [[nodiscard]] static PacketBuilder outward() {
        return PacketBuilder{}.eth(kHostMac, kLanMac).ipv4("192.0.2.7", "203.0.113.5");
    }

    test::Pool pool_;
    dp::Config config_ = test::two_ports();
    dp::Neighbours policy_ = dp::Neighbours::Resolve;
    std::vector<dp::WorkerCounters> counters_{1};
    std::unique_ptr<dp::Forward> forward_;
    ct::Nanos now_ = kSecond;
    dp::LocalPacket::Tracking tracking_ = dp::LocalPacket::Tracking::Tracked;
    std::uint64_t received_ = 0;
    std::uint64_t sent_ = 0;
    std::uint64_t dropped_ = 0;
};

// ---- The way through.

TEST_F(Forwarding, PacketLeavesByTheGatewayWithOneHopLess) {
    know_neighbours();

    const Fate fate = send(outward().ttl(64).udp(1, 2).payload("hello"), kLan);

    EXPECT_EQ(fate.port, kWan);
    EXPECT_EQ(fate.frame, PacketBuilder{}
                              .eth(kWanMac, kGatewayMac)
                              .ipv4("192.0.2.7", "203.0.113.5")
                              .ttl(63)
                              .udp(1, 2)
                              .payload("hello")
                              .build());
}

TEST_F(Forwarding, Ipv6GoesToItsNeighbourWithOneHopLess) {
    know_neighbours();
    const auto packet = [] {
        return PacketBuilder{}.ipv6("2001:db8:1::7", "2001:db8:2::7").udp(1, 2).payload("hello");
    };

    const Fate fate = send(packet().eth(kHostMac, kLanMac).ttl(2), kLan);

    EXPECT_EQ(fate.frame, packet().eth(kWanMac, kGatewayMac).ttl(1).build());
}

// The checksum of every TTL, by RFC 1624, as if made anew.
TEST_F(Forwarding, HeaderChecksumStaysRightForEveryTtl) {
    know_neighbours();
    for (unsigned ttl = 2; ttl < 256; ++ttl) {
        const auto packet = outward().id(ttl * 251).udp(1, 2);
        const Fate fate = send(PacketBuilder{packet}.ttl(static_cast<std::uint8_t>(ttl)), kLan);
        ASSERT_EQ(fate.frame, PacketBuilder{packet}
                                  .eth(kWanMac, kGatewayMac)
                                  .ttl(static_cast<std::uint8_t>(ttl - 1))
                                  .build());
    }
}

TEST_F(Forwarding, TagsAndPaddingStayBehind) {
    know_neighbours();

    const Fate fate = send(outward().qinq(5).vlan(7).ttl(9).udp(1, 2).pad_to(80), kLan);

    EXPECT_EQ(fate.frame, outward().eth(kWanMac, kGatewayMac).ttl(8).udp(1, 2).build());
}

TEST_F(Forwarding, AssumedNeighboursNeedNoAnswer) {
    policy_ = dp::Neighbours::Assume;

    const Fate fate = send(outward().ttl(9).udp(1, 2), kLan);

    EXPECT_EQ(fate.frame, outward().eth(kWanMac, "02:00:00:00:00:01").ttl(8).udp(1, 2).build());
    EXPECT_TRUE(frames().empty());
}

// RFC 1812 5.3.4.
TEST_F(Forwarding, LinkLayerBroadcastIsNotForwarded) {
    know_neighbours();

    EXPECT_EQ(send(outward().eth(kHostMac, "ff:ff:ff:ff:ff:ff").udp(1, 2), kLan).drop,
              Drop::NotForUs);
}

// RFC 4291 2.5.6.
TEST_F(Forwarding, LinkLocalSourceIsNotForwarded) {
    know_neighbours();

    EXPECT_EQ(
        send(PacketBuilder{}.eth(kHostMac, kLanMac).ipv6("fe80::7", "2001:db8:2::7").udp(1, 2),
             kLan)
            .drop,
        Drop::NoRoute);
}

// ---- What goes no further.

TEST_F(Forwarding, NoRouteTellsTheSender) {
    config_.routes.clear();
    const Bytes packet = outward().udp(1, 2).payload("x").build();

    EXPECT_EQ(send(packet, kLan).drop, Drop::NoRoute);

    const auto errors = packets();
    ASSERT_EQ(errors.size(), 1U);
    EXPECT_EQ(errors[0].packet.drop, Drop::None);
    EXPECT_EQ(errors[0].packet.message_type, 3);
    EXPECT_EQ(errors[0].packet.message_code, 0);
    EXPECT_EQ(errors[0].packet.tuple.src, addr("192.0.2.1"));
    EXPECT_EQ(errors[0].packet.tuple.dst, addr("192.0.2.7"));
    EXPECT_EQ((Bytes{errors[0].frame.begin() + 42, errors[0].frame.end()}),
              (Bytes{packet.begin() + 14, packet.end()}))
        << "the packet as it was received";
    EXPECT_EQ(tracking_, dp::LocalPacket::Tracking::Untracked);
}

TEST_F(Forwarding, ABlackholeTellsNobody) {
    config_.routes = {{.to = test::prefix("0.0.0.0/0"), .via = std::nullopt}};

    EXPECT_EQ(send(outward().udp(1, 2).payload("x").build(), kLan).drop, Drop::NoRoute);

    EXPECT_TRUE(packets().empty());
}

TEST_F(Forwarding, APortThatIsDownIsNotRoutedTo) {
    know_neighbours();
    const Bytes packet = outward().udp(1, 2).payload("x").build();
    ASSERT_EQ(send(packet, kLan).drop, Drop::None);

    forward().set_up(kWan, false);
    EXPECT_EQ(send(packet, kLan).drop, Drop::NoRoute);
    const auto errors = packets();
    ASSERT_EQ(errors.size(), 1U);
    EXPECT_EQ(errors[0].packet.message_type, 3);

    forward().set_up(kWan, true);
    EXPECT_EQ(send(packet, kLan).drop, Drop::None);
}

TEST_F(Forwarding, LastHopEndsHereAndTellsTheSender) {
    know_neighbours();
    for (const std::uint8_t ttl : {std::uint8_t{0}, std::uint8_t{1}})
        EXPECT_EQ(send(outward().ttl(ttl).udp(1, 2), kLan).drop, Drop::TtlExceeded);
    EXPECT_EQ(send(PacketBuilder{}
                       .eth(kHostMac, kLanMac)
                       .ipv6("2001:db8:1::7", "2001:db8:2::7")
                       .ttl(1)
                       .udp(1, 2),
                   kLan)
                  .drop,
              Drop::TtlExceeded);

    const auto errors = packets();
    ASSERT_EQ(errors.size(), 3U);
    EXPECT_EQ(errors[0].packet.message_type, 11);
    EXPECT_EQ(errors[2].packet.message_type, 3);
    EXPECT_EQ(errors[2].packet.tuple.src, addr("2001:db8:1::1"));
}

TEST_F(Forwarding, TooBigNamesTheMtuOfTheNextLink) {
    know_neighbours();
    config_.ports[kWan].mtu = 1400;

    EXPECT_EQ(send(outward().dont_fragment().udp(1, 2).payload_bytes(1400 - 27), kLan).drop,
              Drop::TooBig);
    EXPECT_EQ(send(outward().dont_fragment().udp(1, 2).payload_bytes(1400 - 28), kLan).drop,
              Drop::None);
    EXPECT_EQ(send(PacketBuilder{}
                       .eth(kHostMac, kLanMac)
                       .ipv6("2001:db8:1::7", "2001:db8:2::7")
                       .udp(1, 2)
                       .payload_bytes(1400 - 47),
                   kLan)
                  .drop,
              Drop::TooBig);

    const auto errors = packets();
    ASSERT_EQ(errors.size(), 2U);
    EXPECT_EQ(errors[0].frame[34], 3);
    EXPECT_EQ(errors[0].frame[35], 4);
    EXPECT_EQ(errors[0].frame[40] << 8 | errors[0].frame[41], 1400);
    EXPECT_EQ(errors[1].frame[54], 2);
    EXPECT_EQ(errors[1].frame[60] << 8 | errors[1].frame[61], 1400);
}

TEST_F(Forwarding, ErrorsComeAtTheConfiguredRate) {
    config_.routes.clear();
    for (int i = 0; i < 10; ++i) EXPECT_EQ(send(outward().udp(1, 2), kLan).drop, Drop::NoRoute);
    EXPECT_EQ(packets().size(), 4U) << "the burst";

    now_ += kSecond / 2;
    for (int i = 0; i < 10; ++i) static_cast<void>(send(outward().udp(1, 2), kLan));
    EXPECT_EQ(packets().size(), 4U) << "five earned, four kept";

    now_ += kSecond / 10;
    for (int i = 0; i < 10; ++i) static_cast<void>(send(outward().udp(1, 2), kLan));
    EXPECT_EQ(packets().size(), 1U);
}

TEST_F(Forwarding, RejectAnswersWithAResetOrPortUnreachable) {
    for (const bool tcp : {true, false}) {
        const Bytes frame = tcp ? outward().tcp(1, 2).build() : outward().udp(1, 2).build();
        ct::Packet p;
        dp::fill_packet(p, pool_.with(frame), kLan);
        ++received_;
        ASSERT_EQ(ct::parse(p, {}), Drop::None);

        forward().reject(0, p, Drop::RuleReject, now_);

        EXPECT_EQ(p.drop, Drop::RuleReject);
        ++dropped_;
        rte_pktmbuf_free(dp::mbuf_of(p));
        const auto answers = packets();
        ASSERT_EQ(answers.size(), 1U);
        EXPECT_EQ(answers[0].packet.tuple.dst, addr("192.0.2.7"));
        if (tcp)
            EXPECT_EQ(answers[0].packet.tuple.src, addr("203.0.113.5")) << "in the server's name";
        else
            EXPECT_EQ(answers[0].packet.message_code, 3);
    }
}

// RFC 5508 REQ-8: for want of resources the sender is told "administratively prohibited".
TEST_F(Forwarding, RejectForWantOfRoomSaysProhibited) {
    const Bytes frame = outward().udp(1, 2).build();
    ct::Packet p;
    dp::fill_packet(p, pool_.with(frame), kLan);
    ++received_;
    ASSERT_EQ(ct::parse(p, {}), Drop::None);

    forward().reject(0, p, Drop::CtTableReject, now_);

    EXPECT_EQ(p.drop, Drop::CtTableReject);
    ++dropped_;
    rte_pktmbuf_free(dp::mbuf_of(p));
    const auto answers = packets();
    ASSERT_EQ(answers.size(), 1U);
    EXPECT_EQ(answers[0].packet.message_type, 3);
    EXPECT_EQ(answers[0].packet.message_code, 13);
}

// ---- Fragments.

/// The payload of IPv4 fragments put together, by offset.
[[nodiscard]] Bytes reassembled(const std::vector<Bytes>& fragments, bool& last_seen) {
    Bytes out;
    last_seen = false;
    for (const Bytes& frame : fragments) {
        const auto ip = ct::load<ct::Ipv4Header>(frame.data() + 14);
        const std::size_t size = ip.total_length.host() - ip.header_bytes();
        out.resize(std::max(out.size(), ip.fragment_offset() + size));
        std::copy_n(frame.begin() + 14 + static_cast<std::ptrdiff_t>(ip.header_bytes()), size,
                    out.begin() + ip.fragment_offset());
        last_seen |= !ip.more_fragments();
    }
    return out;
}

// RFC 791 3.2.
TEST_F(Forwarding, PacketWithoutDfIsSplit) {
    know_neighbours();
    config_.ports[kWan].mtu = 600;
    const Bytes packet = outward().id(77).udp(1, 2).payload_bytes(1400).build();

    const Fate fate = send(packet, kLan);

    std::vector<Bytes> fragments{fate.frame};
    for (Sent& s : frames()) {
        EXPECT_EQ(s.packet.drop, Drop::None);
        EXPECT_EQ(s.port, kWan);
        fragments.push_back(s.frame);
    }
    ASSERT_EQ(fragments.size(), 3U);
    bool last = false;
    EXPECT_EQ(reassembled(fragments, last), (Bytes{packet.begin() + 34, packet.end()}));
    EXPECT_TRUE(last);
    for (const Bytes& f : fragments) {
        EXPECT_LE(f.size(), 614U);
        EXPECT_EQ(ct::load<ct::Ipv4Header>(f.data() + 14).ttl, 63);
        EXPECT_EQ(ct::load<ct::Ipv4Header>(f.data() + 14).id.host(), 77);
        EXPECT_EQ(ct::internet_checksum({f.data() + 14, 20}).raw(), 0);
    }
}

// RFC 7915 4: what was IPv4 that may be fragmented is split to the size that it is marked with.
TEST_F(Forwarding, PacketThatWasIpv4IsSplitBehindItsFragmentHeader) {
    know_neighbours();
    for (const bool is_last : {true, false}) {
        const std::uint16_t begin = is_last ? 64 : 0;
        const Bytes frame = PacketBuilder{}
                                .eth(kHostMac, kLanMac)
                                .ipv6("2001:db8:1::7", "2001:db8:2::7")
                                .id(77)
                                .fragment(begin, !is_last)
                                .l4(17, Bytes(1400, 3))
                                .build();
        ct::Packet p;
        dp::fill_packet(p, pool_.with(frame), kLan);
        p.split_above = 1280;
        ++received_;

        const Fate fate = finish(p);

        const auto rest = frames();
        ASSERT_EQ(rest.size(), 1U);
        EXPECT_EQ(rest[0].packet.drop, Drop::None);
        constexpr std::size_t kFragment = 14 + sizeof(ct::Ipv6Header);
        const auto first = ct::load<ct::Ipv6Fragment>(fate.frame.data() + kFragment);
        const auto second = ct::load<ct::Ipv6Fragment>(rest[0].frame.data() + kFragment);
        const std::size_t first_size = fate.frame.size() - kFragment - sizeof first;
        EXPECT_EQ(fate.frame.size(), 14U + 1280);
        EXPECT_EQ(first_size + rest[0].frame.size() - kFragment - sizeof second, 1400U);
        EXPECT_EQ(first.fragment_offset(), begin);
        EXPECT_EQ(second.fragment_offset(), begin + first_size);
        EXPECT_TRUE(first.more_fragments());
        EXPECT_EQ(second.more_fragments(), !is_last);
        EXPECT_EQ(first.id.host(), 77U);
        EXPECT_EQ(second.id.host(), 77U);
    }
}

// A fragment of a packet is split again: offsets go on from its own, and "more" stays.
TEST_F(Forwarding, FragmentIsSplitAgain) {
    know_neighbours();
    config_.ports[kWan].mtu = 600;

    const Fate fate = send(outward().fragment(800, true).l4(17, Bytes(1000, 5)), kLan);

    const auto rest = frames();
    ASSERT_EQ(rest.size(), 1U);
    const auto first = ct::load<ct::Ipv4Header>(fate.frame.data() + 14);
    const auto second = ct::load<ct::Ipv4Header>(rest[0].frame.data() + 14);
    EXPECT_EQ(first.fragment_offset(), 800U);
    EXPECT_EQ(second.fragment_offset(), 800U + first.total_length.host() - 20);
    EXPECT_TRUE(first.more_fragments());
    EXPECT_TRUE(second.more_fragments());
}

// RFC 791 3.1: only options with the copied flag go into later fragments.
TEST_F(Forwarding, OnlyCopiedOptionsGoIntoLaterFragments) {
    know_neighbours();
    config_.ports[kWan].mtu = 600;
    const Bytes options{0x44, 8, 5, 0, 0, 0, 0, 0,  // timestamp: not copied
                        0x94, 4, 0, 0};             // router alert: copied

    const Fate fate = send(outward().ip_options(options).udp(1, 2).payload_bytes(900), kLan);

    const auto rest = frames();
    ASSERT_EQ(rest.size(), 1U);
    EXPECT_EQ(ct::load<ct::Ipv4Header>(fate.frame.data() + 14).header_bytes(), 32U);
    EXPECT_EQ(ct::load<ct::Ipv4Header>(rest[0].frame.data() + 14).header_bytes(), 24U);
    EXPECT_EQ((Bytes{rest[0].frame.begin() + 34, rest[0].frame.begin() + 38}),
              (Bytes{0x94, 4, 0, 0}));
    EXPECT_EQ(rest[0].packet.drop, Drop::None);
}

TEST_F(Forwarding, PacketThatHasToBeSplitWaitsWholeForItsNeighbour) {
    config_.ports[kWan].mtu = 600;
    EXPECT_TRUE(send(outward().udp(1, 2).payload_bytes(1000), kLan).waits);
    EXPECT_EQ(frames().size(), 1U) << "the question";

    static_cast<void>(send(
        PacketBuilder{}.eth(kGatewayMac, kWanMac).arp(2, "198.51.100.254", "198.51.100.1"), kWan));

    EXPECT_EQ(frames().size(), 2U) << "two fragments";
}

// ---- Neighbours.

TEST_F(Forwarding, UnknownNeighbourIsAskedForAndThePacketWaits) {
    EXPECT_TRUE(send(outward().ttl(9).udp(1, 2), kLan).waits);
    EXPECT_TRUE(send(outward().ttl(9).udp(3, 4), kLan).waits);

    const auto questions = frames();
    ASSERT_EQ(questions.size(), 1U) << "once for both";
    EXPECT_EQ(questions[0].port, kWan);
    EXPECT_EQ(questions[0].frame, PacketBuilder{}
                                      .eth(kWanMac, "ff:ff:ff:ff:ff:ff")
                                      .arp(1, "198.51.100.1", "198.51.100.254")
                                      .build());

    const Fate answer = send(
        PacketBuilder{}.eth(kGatewayMac, kWanMac).arp(2, "198.51.100.254", "198.51.100.1"), kWan);
    EXPECT_EQ(answer.drop, Drop::LocalConsumed);

    const auto released = frames();
    ASSERT_EQ(released.size(), 2U);
    EXPECT_EQ(released[0].frame, outward().eth(kWanMac, kGatewayMac).ttl(8).udp(1, 2).build());
    EXPECT_EQ(released[1].packet.tuple.sport.host(), 3);
    EXPECT_FALSE(send(outward().udp(5, 6), kLan).waits) << "known by now";
}

TEST_F(Forwarding, Ipv6NeighbourIsSolicited) {
    EXPECT_TRUE(
        send(
            PacketBuilder{}.eth(kHostMac, kLanMac).ipv6("2001:db8:1::7", "2001:db8:2::9").udp(1, 2),
            kLan)
            .waits);

    const auto questions = frames();
    ASSERT_EQ(questions.size(), 1U);
    EXPECT_EQ(questions[0].packet.message_type, ct::icmpv6::kNeighbourSolicitation);
    EXPECT_EQ(questions[0].packet.tuple.src, addr("2001:db8:2::1"));

    Bytes advert(1514);
    advert.resize(
        dp::answer::neighbour_advertisement(advert, {test::mac(kGatewayMac), addr("2001:db8:2::9")},
                                            {test::mac(kWanMac), addr("2001:db8:2::1")}));
    static_cast<void>(send(advert, kWan));
    const auto released = frames();
    ASSERT_EQ(released.size(), 1U);
    EXPECT_EQ((Bytes{released[0].frame.begin(), released[0].frame.begin() + 6}),
              (Bytes{0x02, 0xbb, 0, 0, 0, 0xfe}));
}

TEST_F(Forwarding, SilentNeighbourIsGivenUpAndTheSenderTold) {
    EXPECT_TRUE(send(outward().udp(1, 2), kLan).waits);
    std::size_t questions = frames().size();
    for (int ms = 0; ms < 3500; ms += 5) {
        now_ += 5'000'000;
        forward().tick(0, now_);
        questions += frames().size();
    }

    EXPECT_EQ(questions, 3U);
    const auto errors = packets();
    ASSERT_EQ(errors.size(), 1U);
    EXPECT_EQ(errors[0].packet.message_type, 3);
    EXPECT_EQ(errors[0].packet.message_code, 1);
    EXPECT_EQ(tracking_, dp::LocalPacket::Tracking::Tracked) << "NAT has rewritten what it quotes";
    EXPECT_EQ(counters_[0].totals().drops[ct::index_of(Drop::NeighbourUnreachable)], 1U);
    EXPECT_EQ(counters_[0].totals().held(), 0U);
}

TEST_F(Forwarding, QueueOfANeighbourIsBounded) {
    config_.dataplane.neighbour_queue = 3;
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(send(outward().udp(1, 2), kLan).waits);

    EXPECT_EQ(send(outward().udp(1, 2), kLan).drop, Drop::NeighbourQueueFull);
    EXPECT_EQ(counters_[0].totals().held(), 3U);

    forward().drain();
    EXPECT_EQ(counters_[0].totals().drops[ct::index_of(Drop::Stopped)], 4U) << "and the question";
}

TEST_F(Forwarding, ArpForAnOwnAddressIsAnsweredToTheAsker) {
    const Fate fate = send(
        PacketBuilder{}.eth(kHostMac, "ff:ff:ff:ff:ff:ff").arp(1, "192.0.2.7", "192.0.2.1"), kLan);

    EXPECT_EQ(fate.drop, Drop::LocalConsumed);
    const auto answers = frames();
    ASSERT_EQ(answers.size(), 1U);
    EXPECT_EQ(answers[0].port, kLan);
    const auto arp = ct::load<ct::ArpHeader>(answers[0].frame.data() + 14);
    EXPECT_EQ(arp.operation.host(), ct::ArpHeader::kReply);
    EXPECT_EQ(arp.sender_mac, test::mac(kLanMac));
    EXPECT_EQ(arp.target_mac, test::mac(kHostMac));
    EXPECT_FALSE(
        send(PacketBuilder{}.eth(kGatewayMac, kWanMac).ipv4("203.0.113.5", "192.0.2.7").udp(1, 2),
             kWan)
            .waits)
        << "the asker's MAC is known from its question";
}

TEST_F(Forwarding, ArpForAnothersAddressIsNeitherAnsweredNorLearnt) {
    static_cast<void>(send(
        PacketBuilder{}.eth(kHostMac, "ff:ff:ff:ff:ff:ff").arp(1, "192.0.2.7", "192.0.2.8"), kLan));
    static_cast<void>(
        send(PacketBuilder{}.eth(kHostMac, "ff:ff:ff:ff:ff:ff").arp(1, "192.0.2.7", "198.51.100.1"),
             kLan));

    EXPECT_TRUE(frames().empty());
    EXPECT_TRUE(forward().neighbours().list().empty());
}

// RFC 4861 7.2.4 and 7.2.3.
TEST_F(Forwarding, SolicitationForAnOwnAddressIsAnswered) {
    Bytes question(1514);
    question.resize(dp::answer::neighbour_solicitation(
        question, {test::mac(kHostMac), addr("fe80::7")}, addr("2001:db8:1::1"), nullptr));

    EXPECT_EQ(send(question, kLan).drop, Drop::LocalConsumed);

    const auto answers = frames();
    ASSERT_EQ(answers.size(), 1U);
    EXPECT_EQ(answers[0].packet.message_type, ct::icmpv6::kNeighbourAdvertisement);
    EXPECT_EQ(answers[0].packet.tuple.dst, addr("fe80::7"));
    EXPECT_EQ(answers[0].frame[0], 0x02);
    EXPECT_EQ(forward().neighbours().list().size(), 1U);
}

// ---- To Sluice itself.

TEST_F(Forwarding, OwnAddressAnswersEcho) {
    EXPECT_EQ(
        send(PacketBuilder{}.eth(kHostMac, kLanMac).ipv4("192.0.2.7", "198.51.100.1").echo(5), kLan)
            .drop,
        Drop::LocalConsumed);
    EXPECT_EQ(
        send(PacketBuilder{}.eth(kHostMac, kLanMac).ipv6("fe80::7", "fe80::1").echo(6), kLan).drop,
        Drop::LocalConsumed);

    const auto replies = packets();
    ASSERT_EQ(replies.size(), 2U);
    EXPECT_EQ(replies[0].packet.tuple.src, addr("198.51.100.1"));
    EXPECT_EQ(replies[0].packet.message_type, 0);
    EXPECT_EQ(replies[1].packet.message_type, 129);
    EXPECT_EQ(replies[1].port, kLan);
    EXPECT_EQ(tracking_, dp::LocalPacket::Tracking::Tracked);
}

// RFC 1122 3.2.2.6 and RFC 4443 4.2.
TEST_F(Forwarding, EchoToAGroupIsAnsweredOnIpv6Only) {
    EXPECT_EQ(send(PacketBuilder{}
                       .eth(kHostMac, "ff:ff:ff:ff:ff:ff")
                       .ipv4("192.0.2.7", "192.0.2.255")
                       .echo(5),
                   kLan)
                  .drop,
              Drop::NoListener);
    EXPECT_TRUE(packets().empty());
    static_cast<void>(send(
        PacketBuilder{}.eth(kHostMac, "33:33:00:00:00:01").ipv6("2001:db8:1::7", "ff02::1").echo(5),
        kLan));
    const auto replies = packets();
    ASSERT_EQ(replies.size(), 1U);
    EXPECT_EQ(replies[0].packet.tuple.src, addr("2001:db8:1::1"));
}

// A reply to a link-local address leaves by the port that the request came in by.
TEST_F(Forwarding, AnswerToALinkLocalAddressFindsItsPort) {
    static_cast<void>(
        send(PacketBuilder{}.eth(kHostMac, kLanMac).ipv6("fe80::7", "fe80::1").echo(6), kLan));
    const auto& made = forward().outbox(0).packets.items()[0];
    ct::Packet p;
    dp::fill_local(p, made);
    forward().outbox(0).packets.clear();

    const Fate fate = finish(p);

    EXPECT_TRUE(fate.waits);
    const auto questions = frames();
    ASSERT_EQ(questions.size(), 1U);
    EXPECT_EQ(questions[0].port, kLan);
    EXPECT_EQ(questions[0].packet.tuple.src, addr("fe80::1"));
}

TEST_F(Forwarding, ClosedPortsAnswerAsHostsDo) {
    EXPECT_EQ(
        send(PacketBuilder{}.eth(kHostMac, kLanMac).ipv4("192.0.2.7", "192.0.2.1").tcp(1, 22), kLan)
            .drop,
        Drop::NoListener);
    EXPECT_EQ(
        send(PacketBuilder{}.eth(kHostMac, kLanMac).ipv4("192.0.2.7", "192.0.2.1").udp(1, 53), kLan)
            .drop,
        Drop::NoListener);
    EXPECT_EQ(
        send(
            PacketBuilder{}.eth(kHostMac, kLanMac).ipv4("192.0.2.7", "192.0.2.1").l4(89, Bytes(20)),
            kLan)
            .drop,
        Drop::NoListener);

    const auto answers = packets();
    ASSERT_EQ(answers.size(), 3U);
    EXPECT_EQ(answers[0].packet.tcp_flags, ct::tcpflag::kRst | ct::tcpflag::kAck);
    EXPECT_EQ(answers[1].packet.message_code, 3);
    EXPECT_EQ(answers[2].packet.message_code, 2);
}

TEST_F(Forwarding, BroadcastToAClosedPortIsNotAnswered) {
    EXPECT_EQ(send(PacketBuilder{}
                       .eth(kHostMac, "ff:ff:ff:ff:ff:ff")
                       .ipv4("192.0.2.7", "255.255.255.255")
                       .udp(68, 67),
                   kLan)
                  .drop,
              Drop::NoListener);

    EXPECT_TRUE(packets().empty());
}

TEST_F(Forwarding, OwnPacketsKeepTheirTtl) {
    know_neighbours();
    ct::Packet p;
    dp::fill_local(p, {.mbuf = pool_.with(outward().ttl(1).udp(1, 2).build()), .port = kLan});
    ++received_;

    EXPECT_EQ(finish(p).frame, outward().eth(kWanMac, kGatewayMac).ttl(1).udp(1, 2).build());
}

// ---- Wire mode.

TEST_F(Forwarding, WireModePassesFramesAsTheyAre) {
    config_.dataplane.mode = dp::Mode::Wire;
    config_.ports[kLan].peer = kWan;
    const Bytes tagged = outward().vlan(7).ttl(1).udp(1, 2).pad_to(80).build();
    const Bytes arp =
        PacketBuilder{}.eth(kHostMac, "ff:ff:ff:ff:ff:ff").arp(1, "192.0.2.7", "192.0.2.1").build();

    EXPECT_EQ(send(tagged, kLan).frame, tagged);
    const Fate fate = send(arp, kLan);
    EXPECT_EQ(fate.frame, arp);
    EXPECT_EQ(fate.port, kWan);
    EXPECT_EQ(send(tagged, kWan).drop, Drop::NoPeerPort);
}

TEST_F(Forwarding, WireModeDropsWhatThePeerCannotTake) {
    config_.dataplane.mode = dp::Mode::Wire;
    config_.ports[kLan].peer = kWan;
    config_.ports[kWan].mtu = 1000;

    EXPECT_EQ(send(outward().udp(1, 2).payload_bytes(1200), kLan).drop, Drop::TooBig);
    EXPECT_TRUE(packets().empty());
}

}  // namespace
