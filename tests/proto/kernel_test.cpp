// SPDX-License-Identifier: BSD-3-Clause
//
// Some thousands of random segments, replayed against what a Linux kernel made of the same
// (kernel_tcp.txt): ctstate, and state, time-out, SEEN_REPLY and ASSURED of the entry after each.
#include "tests/proto/frame.hpp"
#include "tests/proto/mini_tracker.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

namespace {

using namespace ct;
using test::Frame;
using test::PacketBuilder;

/// A line of the recording.
struct Line {
    int flow = 0;
    char dir = '>';
    double at = 0;
    std::string flags;
    std::uint32_t first = 0, next = 0, ack = 0, window = 0;
    std::string options;
    std::string ctstate;
    std::string entry;  ///< "-" or "STATE SECONDS replied|unreplied [assured]"
};

bool read(std::istream& in, Line& l) {
    std::string text, arrow;
    while (std::getline(in, text))
        if (!text.empty() && text[0] != '#') break;
    if (!in) return false;
    std::istringstream s{text};
    char colon = 0;
    s >> l.flow >> l.dir >> l.at >> l.flags >> l.first >> colon >> l.next >> l.ack >> l.window >>
        l.options >> arrow >> l.ctstate >> std::ws;
    std::getline(s, l.entry);
    if (!s || arrow != "=>") throw std::runtime_error("kernel_tcp.txt: " + text);
    return true;
}

Frame frame_of(const Line& l) {
    PacketBuilder b;
    const auto client_port = static_cast<std::uint16_t>(1024 + l.flow);
    if (l.dir == '>') b.ipv4("192.168.1.10", "203.0.113.10").tcp(client_port, 80);
    if (l.dir == '<') b.ipv4("203.0.113.10", "192.168.1.10").tcp(80, client_port);
    std::uint32_t payload = l.next - l.first;
    for (const char c : l.flags) payload -= c == 'S' || c == 'F' ? 1U : 0U;
    b.flags(l.flags).seq(l.first).ack(l.ack).window(static_cast<std::uint16_t>(l.window));
    if (l.options != "-") b.tcp_options(test::from_hex(l.options));
    return Frame{b.payload_bytes(payload).build()};
}

std::string ctstate_name(CtState s) {
    switch (s) {
        case CtState::New:
            return "new";
        case CtState::Established:
            return "established";
        case CtState::Invalid:
            return "invalid";
        default:
            return "?";
    }
}

/// The entry as the recording writes it; with the recording's seconds if they differ by one at
/// most, since both round down what a real clock measured.
std::string entry_of(const test::MiniConn* c, Nanos now, const std::string& recorded) {
    if (c == nullptr) return "-";
    std::istringstream in{recorded};
    std::string state;
    long seconds = -1;
    in >> state >> seconds;
    long left = static_cast<long>(c->remaining_s(now));
    if (std::labs(left - seconds) <= 1) left = seconds;
    std::string out = proto::state_name(ipproto::kTcp, c->state);
    out += " " + std::to_string(left) + (c->seen_reply ? " replied" : " unreplied");
    return out + (c->assured ? " assured" : "");
}

TEST(Kernel, JudgesTheseSegmentsAlike) {
    std::ifstream in{SLUICE_SOURCE_DIR "/tests/proto/kernel_tcp.txt"};
    ASSERT_TRUE(in.is_open());
    test::MiniTracker tracker;
    int flow = -1;
    int lines = 0;

    for (Line l; read(in, l); ++lines) {
        if (l.flow != flow) tracker.clear();
        flow = l.flow;
        const Nanos now = 1000 * kNanosPerSecond + static_cast<Nanos>(l.at * 1e9);
        Frame f = frame_of(l);
        ASSERT_EQ(f.packet.drop, Drop::None);

        const auto r = tracker.process(f.packet, now);

        const auto* conn = tracker.find(f.packet.tuple);
        ASSERT_EQ(ctstate_name(r.state) + " " + entry_of(conn, now, l.entry),
                  l.ctstate + " " + l.entry)
            << "flow " << l.flow << " at " << l.at;
    }
    EXPECT_GT(lines, 2000);
}

}  // namespace
