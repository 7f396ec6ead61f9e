// SPDX-License-Identifier: BSD-3-Clause
//
// Every key of the sections that stand once, with its default and another value.
#include "ct/base/time.hpp"
#include "tests/config/support.hpp"

#include <gtest/gtest.h>

#include <functional>

namespace dp::test {
namespace {

using Words = std::vector<std::uint32_t>;

TEST(Defaults, AreThoseOfLinux) {
    const Config c = with_ports("");

    EXPECT_EQ(c.conntrack.max, 262'144U);
    EXPECT_EQ(c.conntrack.timeouts.tcp[ct::index_of(ct::TcpState::Established)], 432'000U);
    EXPECT_TRUE(c.conntrack.tcp_loose);
    EXPECT_EQ(c.filter_policy, nat::Action::Accept);
    EXPECT_EQ(c.control.socket, "/run/sluice.sock");
    EXPECT_EQ(c.control.mode, 0600U);
    EXPECT_EQ(c.file, "test.toml");
}

TEST(Dataplane, TakesEveryKey) {
    const DataplaneConfig d = with_ports(R"(
[dataplane]
mode = "router"
workers = 3
control_cores = [0, 1]
burst = 64
huge_pages = "2M"
mempool = "16Ki"
eal = ["--log-level=lib.eal:8", "--no-telemetry"]
symmetric_rss = false
numa = 1
neighbour_queue = 8
neighbour_queue_total = 256
neighbours = 100
fragment_queue = 77
)")
                                  .dataplane;

    EXPECT_EQ(d.mode, Mode::Router);
    EXPECT_EQ(d.workers, 3U);
    EXPECT_TRUE(d.worker_cores.empty());
    EXPECT_EQ(d.control_cores, (Words{0, 1}));
    EXPECT_EQ(d.burst, 64);
    EXPECT_EQ(d.huge_pages, HugePages::Size2M);
    EXPECT_EQ(d.mempool, 16'384U);
    EXPECT_EQ(d.eal, (std::vector<std::string>{"--log-level=lib.eal:8", "--no-telemetry"}));
    EXPECT_FALSE(d.symmetric_rss);
    EXPECT_EQ(d.numa, 1);
    EXPECT_EQ(d.neighbour_queue, 8U);
    EXPECT_EQ(d.neighbour_queue_total, 256U);
    EXPECT_EQ(d.neighbours, 100U);
    EXPECT_EQ(d.fragment_queue, 77U);
}

TEST(Dataplane, ChoosesForItselfWhereItIsToldAuto) {
    const DataplaneConfig d = with_ports(
                                  "[dataplane]\nworkers = \"auto\"\ncontrol_cores = \"auto\"\n"
                                  "huge_pages = \"auto\"\nmempool = \"auto\"\nnuma = \"auto\"\n")
                                  .dataplane;

    EXPECT_EQ(d.workers, 0U);
    EXPECT_TRUE(d.control_cores.empty());
    EXPECT_EQ(d.huge_pages, HugePages::Auto);
    EXPECT_EQ(d.mempool, 0U);
    EXPECT_EQ(d.numa, -1);
}

TEST(Dataplane, TakesACoreForEachWorker) {
    const DataplaneConfig d = with_ports("[dataplane]\nworkers = [2, 5]\n").dataplane;

    EXPECT_EQ(d.workers, 2U);
    EXPECT_EQ(d.worker_cores, (Words{2, 5}));
}

TEST(Dataplane, KnowsEverySizeOfPages) {
    const auto pages = [](const std::string& text) {
        return with_ports("[dataplane]\nhuge_pages = \"" + text + "\"\n").dataplane.huge_pages;
    };
    EXPECT_EQ(pages("1G"), HugePages::Size1G);
    EXPECT_EQ(pages("none"), HugePages::None);
}

TEST(Conntrack, TakesEverySysctl) {
    const ct::Settings s = with_ports(R"(
[conntrack]
max = "1Mi"
buckets = 65536
overflow = "linux"
embryonic_percent = 50
checksum = false
acct = true
timestamp = 1
events = 1
log_invalid = 255
tcp_loose = 0
tcp_be_liberal = true
tcp_ignore_invalid_rst = true
tcp_max_retrans = 5
)")
                               .conntrack;

    EXPECT_EQ(s.max, 1'048'576U);
    EXPECT_EQ(s.buckets, 65'536U);
    EXPECT_EQ(s.overflow, ct::Overflow::Linux);
    EXPECT_EQ(s.embryonic_percent, 50U);
    EXPECT_FALSE(s.checksum);
    EXPECT_TRUE(s.acct);
    EXPECT_TRUE(s.timestamp);
    EXPECT_EQ(s.events, 1);
    EXPECT_EQ(s.log_invalid, 255);
    EXPECT_FALSE(s.tcp_loose);
    EXPECT_TRUE(s.tcp_be_liberal);
    EXPECT_TRUE(s.tcp_ignore_invalid_rst);
    EXPECT_EQ(s.tcp_max_retrans, 5);
}

TEST(Conntrack, KnowsEveryOverflowPolicy) {
    const auto policy = [](const std::string& text) {
        return with_ports("[conntrack]\noverflow = \"" + text + "\"\n").conntrack.overflow;
    };
    EXPECT_EQ(policy("embryonic-oldest"), ct::Overflow::EmbryonicOldest);
    EXPECT_EQ(policy("linux"), ct::Overflow::Linux);
    EXPECT_EQ(policy("drop"), ct::Overflow::Drop);
}

TEST(Conntrack, LogsInvalidPacketsOfAProtocolByName) {
    EXPECT_EQ(with_ports("[conntrack]\nlog_invalid = \"tcp\"\n").conntrack.log_invalid, 6);
}

TEST(Conntrack, FitsAMachineWithExactlyEnoughMemory) {
    const std::string text = kTwoPorts + "[conntrack]\nmax = 1048576\n";

    EXPECT_TRUE(mistakes(text, Machine{1'048'576 * kBytesPerEntry}).empty());
    EXPECT_EQ(mistakes(text, Machine{1'048'576 * kBytesPerEntry - 1}).size(), 1U);
    EXPECT_TRUE(mistakes(text, Machine{0}).empty());  // unknown: not checked
}

struct TimeoutCase {
    const char* key;
    std::function<std::uint32_t(const ct::Timeouts&)> get;
};

// The table of defaults is semantics 2.3; here each key must reach its own field and no other.
TEST(Timeouts, EveryKeySetsItsField) {
    using Tcp = ct::TcpState;
    using Sctp = ct::SctpState;
    const auto tcp = [](Tcp s) { return [s](const auto& t) { return t.tcp[ct::index_of(s)]; }; };
    const auto sctp = [](Sctp s) { return [s](const auto& t) { return t.sctp[ct::index_of(s)]; }; };
    const std::vector<TimeoutCase> cases{
        {"tcp_syn_sent", tcp(Tcp::SynSent)},
        {"tcp_syn_recv", tcp(Tcp::SynRecv)},
        {"tcp_established", tcp(Tcp::Established)},
        {"tcp_fin_wait", tcp(Tcp::FinWait)},
        {"tcp_close_wait", tcp(Tcp::CloseWait)},
        {"tcp_last_ack", tcp(Tcp::LastAck)},
        {"tcp_time_wait", tcp(Tcp::TimeWait)},
        {"tcp_close", tcp(Tcp::Close)},
        {"tcp_syn_sent2", tcp(Tcp::SynSent2)},
        {"tcp_max_retrans", [](const auto& t) { return t.tcp_max_retrans; }},
        {"tcp_unacknowledged", [](const auto& t) { return t.tcp_unacknowledged; }},
        {"udp", [](const auto& t) { return t.udp; }},
        {"udp_stream", [](const auto& t) { return t.udp_stream; }},
        {"icmp", [](const auto& t) { return t.icmp; }},
        {"icmpv6", [](const auto& t) { return t.icmpv6; }},
        {"gre", [](const auto& t) { return t.gre; }},
        {"gre_stream", [](const auto& t) { return t.gre_stream; }},
        {"sctp_closed", sctp(Sctp::Closed)},
        {"sctp_cookie_wait", sctp(Sctp::CookieWait)},
        {"sctp_cookie_echoed", sctp(Sctp::CookieEchoed)},
        {"sctp_established", sctp(Sctp::Established)},
        {"sctp_shutdown_sent", sctp(Sctp::ShutdownSent)},
        {"sctp_shutdown_recd", sctp(Sctp::ShutdownRecd)},
        {"sctp_shutdown_ack_sent", sctp(Sctp::ShutdownAckSent)},
        {"sctp_heartbeat_sent", sctp(Sctp::HeartbeatSent)},
        {"generic", [](const auto& t) { return t.generic; }},
        {"fragment", [](const auto& t) { return t.fragment; }},
        {"fragment6", [](const auto& t) { return t.fragment6; }},
    };
    const ct::Timeouts defaults;
    for (const TimeoutCase& set : cases) {
        const std::string text = std::string{"[conntrack.timeouts]\n"} + set.key + " = \"7777s\"\n";
        const ct::Timeouts t = with_ports(text).conntrack.timeouts;
        for (const TimeoutCase& c : cases)
            EXPECT_EQ(c.get(t), &c == &set ? 7777U : c.get(defaults))
                << c.key << " after setting " << set.key;
    }
}

TEST(Timeouts, MayBeAsLongAsTicksCanTell) {
    const std::string most = std::to_string(ct::kMaxTimeoutSeconds);

    EXPECT_EQ(with_ports("[conntrack.timeouts]\nudp = " + most + "\n").conntrack.timeouts.udp,
              ct::kMaxTimeoutSeconds);
}

TEST(Timeouts, TakeUnits) {
    const ct::Timeouts t =
        with_ports("[conntrack.timeouts]\ntcp_established = \"5d\"\nudp = \"2m\"\nicmp = 45\n")
            .conntrack.timeouts;

    EXPECT_EQ(t.tcp[ct::index_of(ct::TcpState::Established)], 432'000U);
    EXPECT_EQ(t.udp, 120U);
    EXPECT_EQ(t.icmp, 45U);
}

TEST(Services, TakeEveryKey) {
    const Config c = with_ports(R"(
[filter]
policy = "drop"
[forward]
icmp_rate = 0
icmp_burst = 5
[log]
level = "debug"
file = "/tmp/x.log"
[control]
socket = "/tmp/x.sock"
mode = "0660"
)");

    EXPECT_EQ(c.filter_policy, nat::Action::Drop);
    EXPECT_EQ(c.forward.icmp_rate, 0U);
    EXPECT_EQ(c.forward.icmp_burst, 5U);
    EXPECT_EQ(c.log.level, LogLevel::Debug);
    EXPECT_EQ(c.log.file, "/tmp/x.log");
    EXPECT_EQ(c.control.socket, "/tmp/x.sock");
    EXPECT_EQ(c.control.mode, 0660U);
}

TEST(ThisMachine, HasMemory) {
    EXPECT_GT(Machine::here().available_bytes, 1ULL << 20);
}

}  // namespace
}  // namespace dp::test
