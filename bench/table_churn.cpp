// SPDX-License-Identifier: BSD-3-Clause
//
// Whole lives of connections: TCP from SYN to the last acknowledgement in six packets, UDP request
// and reply. A life is spread over time, as it is on a network: each stage is a burst of flows.
#include "bench/harness/program.hpp"
#include "bench/load/table_roof.hpp"
#include "bench/load/tracker.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <vector>

namespace {

using namespace bench;
using namespace ct::tcpflag;

/// A packet of a life.
struct Stage {
    bool reply;
    std::uint8_t flags;
    std::uint32_t seq;
    std::uint32_t ack;
};

constexpr std::uint32_t kOriginal = segment::kOriginalIsn + 1;
constexpr std::uint32_t kReply = segment::kReplyIsn + 1;

/// SYN, SYN-ACK, ACK, FIN, FIN, ACK.
constexpr std::array kTcpLife{
    Stage{false, kSyn, segment::kOriginalIsn, 0},
    Stage{true, kSyn | kAck, segment::kReplyIsn, kOriginal},
    Stage{false, kAck, kOriginal, kReply},
    Stage{false, kFin | kAck, kOriginal, kReply},
    Stage{true, kFin | kAck, kReply, kOriginal + 1},
    Stage{false, kAck, kOriginal + 1, kReply + 1},
};
constexpr std::array kUdpLife{Stage{false, 0, 0, 0}, Stage{true, 0, 0, 0}};

/// Lives one after the other, `apart` bursts between a flow's packets: 32 flows begin, 32 others
/// go on to their second packet, and so on. What is over stays in the table until it expires or,
/// the table being full, makes room.
class Churn {
public:
    static constexpr std::uint32_t kApart = 64;  // bursts: some thousand flows are under way
    /// A million packets a second of virtual time: what is over lasts for a second at least, and
    /// at ten million the table would hold nothing else.
    static constexpr ct::Nanos kSlow = 1000;

    Churn(std::uint32_t max, std::span<const Stage> life, FlowKind kind)
        : life_{life}, table_{settings(max), 1, kHashSeed}, tracker_{table_, 0, kind} {
        tracker_.nanos_per_packet = kSlow;
    }

    std::uint64_t step() noexcept {
        std::uint64_t packets = 0;
        for (std::size_t s = 0; s < life_.size(); ++s) {
            if (round_ < s * kApart) break;
            const std::uint32_t first = static_cast<std::uint32_t>(round_ - s * kApart) * kBurst;
            std::array<ct::Packet, kBurst> burst;
            for (std::uint32_t i = 0; i < kBurst; ++i)
                tracker_.maker.put(burst[i], first + i, life_[s].reply, life_[s].flags,
                                   life_[s].seq, life_[s].ack);
            tracker_.run(burst);
            packets += kBurst;
            const bool is_last = s + 1 == life_.size();
            for (const ct::Packet& p : burst) {
                const bool good = s == 0 ? p.opened : p.state == ct::CtState::Established;
                wrong_ += static_cast<std::uint64_t>(!good || !p.alive());
                lives_ += static_cast<std::uint64_t>(is_last && good);
            }
        }
        ++round_;
        return packets;
    }

    [[nodiscard]] std::uint64_t wrong() const noexcept { return wrong_; }
    [[nodiscard]] std::uint64_t lives() const noexcept { return lives_; }
    [[nodiscard]] ct::Conntrack& table() noexcept { return table_; }
    [[nodiscard]] ct::Nanos now() const noexcept { return tracker_.now; }

private:
    static ct::Settings settings(std::uint32_t max) {
        ct::Settings s = table_settings(max);
        // Lives are short here, and so is what follows them: the table turns over many times while
        // it is measured instead of filling up with connections in TIME_WAIT.
        s.timeouts.tcp.fill(1);
        s.timeouts.udp = 1;
        s.timeouts.udp_stream = 1;
        return s;
    }

    std::span<const Stage> life_;
    ct::Conntrack table_;
    Tracker tracker_;
    std::uint64_t round_ = 0;
    std::uint64_t wrong_ = 0;
    std::uint64_t lives_ = 0;
};

void churn(Program& program, const char* name, std::span<const Stage> life, FlowKind kind) {
    // Over for a second, and found by the sweep, which takes a second a million entries: room for
    // four times the flows of a second.
    const std::uint32_t in_a_second =
        static_cast<std::uint32_t>(ct::kNanosPerSecond / Churn::kSlow / life.size());
    const auto max = program.options().pick(1U << 16, 4 * in_a_second, 4 * in_a_second);
    const std::string id = fmt::format("churn/{}", name);
    if (!program.wants(id, table_and_roof_bytes(max))) return;
    Churn c{max, life, kind};
    const auto step = [&] {
        std::uint64_t packets = 0;
        for (int k = 0; k < 8; ++k) packets += c.step();
        return packets;
    };
    // Until as many go as come: a life's length, a second, and two sweeps over the table.
    const double sweep_s = std::max(1.0, static_cast<double>(max) / (1U << 20));
    const auto steady = kStart + static_cast<ct::Nanos>((2 + 2 * sweep_s) * 1e9);
    while (!program.options().once() && c.now() < steady) step();
    const std::array all{Contestant{.name = "sluice", .step = step, .prepare = {}}};
    const auto slices = run_slices(all, program.options());
    const auto packets_a_life = static_cast<double>(life.size());
    std::vector<double> rate;
    for (const double ns : slices[0]) rate.push_back(1e3 / (ns * packets_a_life));
    const CaseInfo info{
        .id = id,
        .group = "churn",
        .title = fmt::format("{} lives of {} packets, each to its end", name, life.size()),
        .params = {{"packets_a_life", life.size()}, {"max", max}}};
    program.add({Result{.info = info, .contestant = "sluice", .value = summarize(slices[0])},
                 Result{.info = info,
                        .contestant = "sluice, connections",
                        .unit = "M/s",
                        .value = summarize(rate)}});
    const ct::Counters n = c.table().counters();
    program.gate(c.wrong() == 0, fmt::format("{}: {} packets were not as expected", id, c.wrong()));
    program.gate(
        n.drop == 0 && n.early_drop == 0 && n.assured_evicted == 0 && n.invalid == 0,
        fmt::format("{}: {} refused, {} evicted, {} invalid", id, n.drop, n.early_drop, n.invalid));
    program.gate(n.opened == n.expired + n.deleted + c.table().count(),
                 fmt::format("{}: {} opened, {} expired, {} deleted, {} there", id, n.opened,
                             n.expired, n.deleted, c.table().count()));
}

void body(Program& program) {
    churn(program, "tcp", kTcpLife, {});
    churn(program, "udp", kUdpLife, {.family = ct::Family::Ipv4, .proto = ct::ipproto::kUdp});
}

}  // namespace

int main(int argc, char** argv) {
    Program program{"table_churn", "Whole lives of connections.", argc, argv};
    return program.run(body);
}
