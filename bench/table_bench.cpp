// SPDX-License-Identifier: BSD-3-Clause
//
// What the tracker costs a packet, without ports and rules: lookup, update, open and confirm of
// bursts of 32, as the pipeline calls them. One worker; time is virtual and moves a microsecond a
// burst. Set SLUICE_BENCH_ONCE for a tiny size that only shows that it runs.
#include "ct/conntrack.hpp"

#include <benchmark/benchmark.h>

#include <array>
#include <cstdlib>
#include <memory>

namespace {

using namespace ct;

constexpr std::size_t kBurst = 32;
constexpr Nanos kStart = 1000 * kNanosPerSecond;

bool tiny() {
    return std::getenv("SLUICE_BENCH_ONCE") != nullptr;
}

/// A mix of a counter: flows at random, the same ones in the same order each time.
std::uint32_t mix(std::uint64_t n) {
    n = (n ^ n >> 30) * 0xbf58476d1ce4e5b9;
    n = (n ^ n >> 27) * 0x94d049bb133111eb;
    return static_cast<std::uint32_t>(n >> 32);
}

/// The tuple of flow `n`: 198.18.0.0/15, the benchmark range of RFC 2544.
Tuple flow(std::uint32_t n) {
    Tuple t;
    t.family = Family::Ipv4;
    t.proto = ipproto::kTcp;
    t.src = Addr::v4(Be32::from_host(0xc612'0000 + n / 60'000));
    t.dst = Addr::v4(Be32::from_host(0xc613'0001));
    t.sport = Be16::from_host(static_cast<std::uint16_t>(1024 + n % 60'000));
    t.dport = Be16::from_host(80);
    return t;
}

class Bench {
public:
    Bench(std::uint32_t max, Overflow policy) {
        Settings s;
        s.max = max;
        s.acct = true;
        s.overflow = policy;
        s.embryonic_percent = 100;
        table = std::make_unique<Conntrack>(s, 1, 1);
    }

    Packet packet(const Tuple& t, std::uint8_t flags, std::uint32_t seq, std::uint32_t ack) {
        Packet p;
        p.data = bytes_.data();
        p.owner = bytes_.data();
        p.tuple = t;
        p.l3_offset = 14;
        p.l4_offset = 34;
        p.payload_offset = 54;
        p.end = 54;
        p.length = 54;
        p.tcp_flags = flags;
        p.tcp_seq = seq;
        p.tcp_ack = ack;
        p.tcp_window = static_cast<std::uint16_t>(64'000 + (sent_++ & 0xff));
        return p;
    }

    Packet syn(std::uint32_t n) { return packet(flow(n), tcpflag::kSyn, 1000, 0); }
    Packet data(std::uint32_t n, bool reply) {
        return reply ? packet(reply_of(flow(n)), tcpflag::kAck, 5001, 1001)
                     : packet(flow(n), tcpflag::kAck, 1001, 5001);
    }

    void run(std::span<Packet> burst) {
        now += 1000;
        table->lookup(0, burst, now);
        table->update(0, burst, now);
        for (Packet& p : burst)
            if (!p.conn.valid() && p.state == CtState::None &&
                table->open(0, p, now) == Conntrack::Opening::Opened)
                static_cast<void>(table->confirm(0, p, now));
        table->expire(0, now);
    }

    void establish(std::uint32_t flows) {
        for (std::uint32_t n = 0; n < flows; ++n) {
            std::array<Packet, 3> handshake{
                syn(n), packet(reply_of(flow(n)), tcpflag::kSyn | tcpflag::kAck, 5000, 1001),
                data(n, false)};
            for (Packet& p : handshake) run({&p, 1});
        }
    }

    std::unique_ptr<Conntrack> table;
    Nanos now = kStart;

private:
    std::array<std::uint8_t, 128> bytes_{};
    std::uint32_t sent_ = 0;
};

void finish(benchmark::State& state, const Bench& b) {
    state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kBurst));
    state.counters["ns/packet"] =
        benchmark::Counter(static_cast<double>(state.iterations()) * kBurst / 1e9,
                           benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
    state.SetLabel(b.table->memory().pages + " pages");
}

void established_hit(benchmark::State& state) {
    const auto flows = tiny() ? 1024U : static_cast<std::uint32_t>(state.range(0));
    Bench b{flows, Overflow::Drop};
    b.establish(flows);
    std::uint64_t n = 0;
    std::array<Packet, kBurst> burst;
    for (auto _ : state) {
        for (Packet& p : burst) {
            const std::uint32_t r = mix(++n);
            p = b.data(r % flows, (r >> 31) != 0);
        }
        b.run(burst);
        if (burst[0].state != CtState::Established) state.SkipWithError("a flow is not there");
    }
    finish(state, b);
}

void syn_insert(benchmark::State& state) {
    const auto max = tiny() ? 1U << 16 : static_cast<std::uint32_t>(state.range(0));
    Bench b{max, Overflow::Drop};
    std::uint32_t n = 0;
    std::array<Packet, kBurst> burst;
    for (auto _ : state) {
        if (n + kBurst > max / 10 * 9) {  // start over before it is full
            state.PauseTiming();
            b.table->flush(b.now);
            n = 0;
            state.ResumeTiming();
        }
        for (Packet& p : burst) p = b.syn(n++);
        b.run(burst);
    }
    finish(state, b);
}

void syn_on_full(benchmark::State& state) {
    const auto max = tiny() ? 1U << 12 : static_cast<std::uint32_t>(state.range(0));
    Bench b{max, Overflow::EmbryonicOldest};
    std::uint32_t n = 0;
    std::array<Packet, kBurst> burst;
    const auto flood = [&] {
        for (Packet& p : burst) p = b.syn(n++);
        b.run(burst);
    };
    while (n < max) flood();
    for (auto _ : state) flood();
    if (b.table->counters().early_drop == 0) state.SkipWithError("nothing was evicted");
    finish(state, b);
}

BENCHMARK(established_hit)->Arg(200'000)->Arg(1'000'000);
BENCHMARK(syn_insert)->Arg(262'144)->Arg(1'048'576);
BENCHMARK(syn_on_full)->Arg(262'144)->Arg(1'048'576);

}  // namespace

BENCHMARK_MAIN();
