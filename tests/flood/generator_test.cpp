// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/flood/generator.hpp"

#include "ct/wire/packet.hpp"
#include "ct/wire/parse.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <utility>
#include <vector>

namespace dp::flood {
namespace {

constexpr MacAddress kMac{2, 0, 0, 0, 0, 1};
constexpr ct::Nanos kMillisecond = 1'000'000;

using Frame = std::vector<std::uint8_t>;

/// A wire in place of the dataplane: whatever arrives on one side leaves on the other, unless
/// `loses` says so.
class Wire {
public:
    explicit Wire(const Plan& plan)
        : generator{plan, FrameMaker{kMac, kMac}, FrameMaker{kMac, kMac}} {}

    void run(ct::Nanos length) {
        for (const ct::Nanos end = now + length; now < end; now += kMillisecond / 10) {
            carry(Side::Client, Side::Server);
            carry(Side::Server, Side::Client);
        }
    }

    Generator generator;
    ct::Nanos now = 1'000'000'000'000;
    std::function<bool(const TcpFields&)> loses = [](const TcpFields&) { return false; };

private:
    void carry(Side from, Side to) {
        std::vector<Frame> frames;
        generator.fill(from, 32, now, [&](const TcpFields& f, const FrameMaker& maker) {
            Frame frame(kHeaderBytes + kMaxPayload);
            frame.resize(maker.write(frame.data(), f));
            if (!loses(f)) frames.push_back(frame);
        });
        for (const Frame& f : frames)
            generator.seen(to, f.data(), static_cast<std::uint32_t>(f.size()), now);
    }
};

TEST(FrameMaker, WritesFramesThatParseAndReadBack) {
    const FrameMaker maker{kMac, kMac};
    std::uint32_t seed = 1;
    for (const int bytes : {0, 1, 5, 6, 7, 100, 512}) {
        const auto payload = static_cast<std::uint16_t>(bytes);
        for (int i = 0; i < 200; ++i) {
            seed = seed * 1'664'525 + 1'013'904'223;
            const TcpFields f{.src = 0x0a00'0001 + (seed & 0xffff),
                              .dst = kServer,
                              .sport = static_cast<std::uint16_t>(seed >> 16),
                              .dport = 80,
                              .seq = seed,
                              .ack = ~seed,
                              .window = static_cast<std::uint16_t>(seed >> 8),
                              .flags = ct::tcpflag::kAck,
                              .payload = payload};
            Frame frame(kHeaderBytes + kMaxPayload);
            frame.resize(maker.write(frame.data(), f));
            ct::Packet p;
            p.data = frame.data();
            p.length = static_cast<std::uint32_t>(frame.size());
            TcpFields back;

            EXPECT_EQ(ct::parse(p, {}), ct::Drop::None);  // both checksums are right
            EXPECT_EQ(p.end - p.payload_offset, payload);
            ASSERT_TRUE(read_frame(frame.data(), p.length, back));
            EXPECT_EQ(back.src, f.src);
            EXPECT_EQ(back.seq, f.seq);
            EXPECT_EQ(back.ack, f.ack);
            EXPECT_EQ(back.payload, f.payload);
            EXPECT_EQ(back.flags, f.flags);
        }
    }
}

TEST(FrameMaker, DoesNotReadShortOrForeignFrames) {
    TcpFields f;
    Frame frame(60);
    EXPECT_FALSE(read_frame(frame.data(), 60, f));
    EXPECT_FALSE(read_frame(frame.data(), 10, f));
}

TEST(Generator, EveryLegitimateConnectionCompletesOverAWireThatLosesNothing) {
    Wire wire{{.flood_pps = 0, .established_pps = 0, .legit_cps = 1000, .rtt = 10 * kMillisecond}};
    wire.generator.set_phase(Generator::Phase::Run);
    wire.run(200 * kMillisecond);
    wire.generator.set_phase(Generator::Phase::Drain);
    wire.run(100 * kMillisecond);

    EXPECT_NEAR(static_cast<double>(wire.generator.legit_attempts.get()), 200, 2);
    EXPECT_EQ(wire.generator.legit_completed.get(), wire.generator.legit_attempts.get());
    EXPECT_EQ(wire.generator.legit_established.get(), wire.generator.legit_attempts.get());
}

TEST(Generator, OneLostPacketOfAConnectionIsAConnectionNotCompleted) {
    Wire wire{{.flood_pps = 0, .established_pps = 0, .legit_cps = 1000, .rtt = kMillisecond}};
    int fins = 0;
    wire.loses = [&](const TcpFields& f) {
        const bool servers_fin = f.sport == kLegitPort && (f.flags & ct::tcpflag::kFin) != 0;
        return servers_fin && fins++ % 4 == 0;
    };
    wire.generator.set_phase(Generator::Phase::Run);
    wire.run(100 * kMillisecond);
    wire.generator.set_phase(Generator::Phase::Drain);
    wire.run(50 * kMillisecond);

    const auto attempts = wire.generator.legit_attempts.get();
    EXPECT_GT(attempts, 90U);
    EXPECT_EQ(wire.generator.legit_completed.get(), attempts - (attempts + 3) / 4);
}

TEST(Generator, OpensItsShareOfTheEstablishedConnectionsBeforeItFloods) {
    Wire wire{{.flood_pps = kMaxRate, .established = 1001, .part = 1, .parts = 2}};
    wire.run(20 * kMillisecond);

    EXPECT_TRUE(wire.generator.set_up());
    EXPECT_EQ(wire.generator.flood_sent.get(), 0U);
    wire.generator.set_phase(Generator::Phase::Run);
    wire.run(kMillisecond);
    EXPECT_GT(wire.generator.flood_sent.get(), 0U);
    EXPECT_EQ(wire.generator.flood_sent.get(), wire.generator.flood_passed.get());
}

TEST(Generator, FloodsAtTheRateThatItWasGiven) {
    Wire wire{{.flood_pps = 50'000, .established_pps = 0}};
    wire.generator.set_phase(Generator::Phase::Run);
    wire.run(100 * kMillisecond);

    EXPECT_NEAR(static_cast<double>(wire.generator.flood_sent.get()), 5000, 100);
}

TEST(Generator, ProbesFindTheConnectionsThatAreCut) {
    Wire wire{{.flood_pps = 0, .established = 500, .established_pps = 0}};
    wire.run(20 * kMillisecond);
    ASSERT_TRUE(wire.generator.set_up());
    const std::uint16_t cut = established_tuple(7).sport.host();
    wire.loses = [&](const TcpFields& f) { return f.dport == cut; };  // one direction only
    wire.generator.set_phase(Generator::Phase::Probe);
    wire.run(20 * kMillisecond);

    EXPECT_TRUE(wire.generator.probed());
    EXPECT_EQ(wire.generator.unanswered_probes(), 1U);
}

}  // namespace
}  // namespace dp::flood
