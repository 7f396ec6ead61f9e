// SPDX-License-Identifier: BSD-3-Clause
//
// Replays captures of what a Linux kernel saw (tests/golden) through parse() and the trackers alone
// and compares the table after every packet: state, flags, time-out within a second.
#include "tests/proto/frame.hpp"
#include "tests/proto/mini_tracker.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>
#include <string>

namespace {

using namespace ct;

std::string golden(const std::string& name) {
    return SLUICE_SOURCE_DIR "/tests/golden/" + name;
}

/// A case that the trackers alone can replay: no NAT, no helper, no fragments, no overflow.
struct Case {
    const char* name;
    void (*configure)(Settings&) = nullptr;
};

void PrintTo(const Case& c, std::ostream* os) {
    *os << c.name;
}

/// An entry without its time-out, e.g. "tcp 6 SYN_SENT src=... [UNREPLIED] src=...", to seconds
/// left.
using Table = std::map<std::string, long>;

/// Reads "ipv4 2 tcp 6 119 SYN_SENT src=... mark=0 use=1 id=1".
void add_line(Table& table, const std::string& line) {
    std::istringstream in{line};
    std::string l3, l3num, word, key;
    long seconds = 0;
    in >> l3 >> l3num >> word;
    std::string number;
    in >> number >> seconds;
    key = number;
    bool icmp_id = number != "1" && number != "58";  // only ICMP's own id= belongs to the tuple
    int ids = 0;
    while (in >> word) {
        if (word.starts_with("mark=") || word.starts_with("use=")) break;
        if (word.starts_with("id=") && (icmp_id || ++ids > 2)) break;
        key += " " + word;
    }
    table[key] = seconds;
}

std::string text_of(const Addr& a, Family family) {
    char out[INET6_ADDRSTRLEN] = "";
    inet_ntop(family == Family::Ipv6 ? AF_INET6 : AF_INET, a.bytes.data(), out, sizeof out);
    return out;
}

std::string text_of(const Tuple& t) {
    std::ostringstream out;
    out << " src=" << text_of(t.src, t.family) << " dst=" << text_of(t.dst, t.family);
    switch (t.proto) {
        case ipproto::kTcp:
        case ipproto::kUdp:
        case ipproto::kUdplite:
        case ipproto::kSctp:
        case ipproto::kDccp:
            out << " sport=" << t.sport.host() << " dport=" << t.dport.host();
            break;
        case ipproto::kIcmp:
        case ipproto::kIcmpv6:
            out << " type=" << int{icmp_type(t.dport)} << " code=" << int{icmp_code(t.dport)}
                << " id=" << t.sport.host();
            break;
        case ipproto::kGre:
            out << std::hex << " srckey=0x" << t.sport.host() << " dstkey=0x" << t.dport.host();
            break;
        default:
            break;
    }
    return out.str();
}

std::string text_of(const test::MiniConn& c) {
    const std::uint8_t proto = c.original.proto;
    std::string out = std::to_string(proto);
    const std::string state = proto::state_name(proto, c.state);
    if (!state.empty()) out += " " + state;
    out += text_of(c.original);
    if (!c.seen_reply) out += " [UNREPLIED]";
    out += text_of(reply_of(c.original));
    if (c.assured) out += " [ASSURED]";
    return out;
}

class Golden : public testing::TestWithParam<Case> {
protected:
    /// `forwarded`: false if the router dropped the packet; then it leaves no entry behind. A
    /// fragment is not forwarded either, but held until its packet is whole.
    void feed(const std::string& hex, Nanos now, bool forwarded) {
        test::Frame f = test::Frame::from_ip(test::from_hex(hex));
        state_ = CtState::Invalid;
        if (f.packet.drop != Drop::None || f.packet.fault != Drop::None) return;
        state_ = CtState::Untracked;
        if (f.packet.icmp_error || f.packet.never_tracked) return;
        if (f.packet.fragment == Fragment::Later) return;  // its ports are another layer's affair
        const auto result = tracker_.process(f.packet, now);
        state_ = result.state;
        const bool held = f.packet.fragment != Fragment::Whole;
        if (result.opened && !forwarded && !held) tracker_.erase(*result.conn);
        if (const auto* conn = tracker_.find(f.packet.tuple))
            conns_[std::to_string(conn->original.proto) + text_of(conn->original)] = conn->original;
    }

    /// Compares the table with the kernel's lines.
    void expect_table(const nlohmann::json& entries, Nanos now) {
        Table want;
        for (const auto& line : entries) add_line(want, line.get<std::string>());
        Table got;
        tracker_.expire(now);
        for (const auto& [name, tuple] : conns_)
            if (auto* conn = tracker_.find(tuple); conn && conn->original == tuple)
                got[text_of(*conn)] = conn->remaining_s(now);
        for (const auto& [line, seconds] : want) {
            ASSERT_TRUE(got.contains(line)) << "missing: " << line;
            EXPECT_LE(std::labs(got[line] - seconds), 1) << line << " " << got[line];
        }
        for (const auto& [line, seconds] : got)
            EXPECT_TRUE(want.contains(line)) << "too many: " << line;
    }

    static std::string name_of(CtState s) {
        switch (s) {
            case CtState::New:
                return "new";
            case CtState::Established:
                return "established";
            case CtState::Invalid:
                return "invalid";
            default:
                return "untracked";
        }
    }

    test::MiniTracker tracker_;
    std::map<std::string, Tuple> conns_;
    CtState state_ = CtState::None;
};

TEST_P(Golden, GivesTheKernelsTableAfterEveryStep) {
    std::ifstream in{golden(GetParam().name) + "/steps.jsonl"};
    ASSERT_TRUE(in.is_open()) << GetParam().name;
    if (GetParam().configure != nullptr) GetParam().configure(tracker_.settings);

    int steps = 0;
    for (std::string line; std::getline(in, line); ++steps) {
        const auto step = nlohmann::json::parse(line);
        SCOPED_TRACE("step " + step["n"].dump());
        const Nanos now =
            1000 * kNanosPerSecond + static_cast<Nanos>(step["t"].get<double>() * 1e9);
        if (step.contains("hex") && step["hex"].is_string()) {
            feed(step["hex"], now, !step["emitted"].empty());
            const std::string seen = step["ct_state"].empty() ? "" : step["ct_state"][0];
            if (state_ != CtState::Untracked && !seen.empty()) {
                EXPECT_EQ(name_of(state_), seen.substr(0, seen.find('/')));
            }
            // What the router itself answers leaves by the interface that the question came in by.
            if (seen.empty()) continue;  // a fragment that the kernel holds until the next
            for (const auto& out : step["emitted"])
                if (out["iface"] == step["iface"]) feed(out["hex"], now, true);
        }
        expect_table(step["entries"], now);
    }
    EXPECT_GT(steps, 0);
}

constexpr Case kCases[] = {
    {"tcp-handshake-data-close"},
    {"tcp-simultaneous-open"},
    {"tcp-out-of-window"},
    {"tcp-rst-established"},
    {"tcp-timewait-reuse"},
    {"tcp-bad-packets"},
    {"tcp-pickup-loose1"},
    {"tcp-pickup-loose0", [](Settings& s) { s.tcp_loose = false; }},
    {"udp-dns"},
    {"udp-bad-packets"},
    {"udp-timeouts",
     [](Settings& s) {
         s.timeouts.udp = 2;
         s.timeouts.udp_stream = 4;
     }},
    {"icmp-echo"},
    {"icmpv6-echo-ndp"},
    {"gre"},
    {"sctp"},
    {"unknown-protocols"},
    {"ipv6-tcp-udp"},
};
INSTANTIATE_TEST_SUITE_P(Cases, Golden, testing::ValuesIn(kCases), [](const auto& test_info) {
    std::string name = test_info.param.name;
    std::replace(name.begin(), name.end(), '-', '_');
    return name;
});

}  // namespace
