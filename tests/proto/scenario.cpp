// SPDX-License-Identifier: BSD-3-Clause
//
// Runs tests/scenario/*.ct: TCP segments as text, one a line, with what the tracker must make of
// each. A file holds several scenarios, each under a title and on a fresh connection:
//
//     == A SYN opens
//     set tcp_loose 0
//     0.000  >  S   1000:1001  win 64240  <wscale 7, sackOK>   => new  SYN_SENT  unreplied  120s
//
// Left of the arrow: seconds, direction, flags ("." is ACK), first:next sequence number, then
// `ack N`, `win N`, and TCP options in angle brackets: `wscale N`, `sackOK`, `ts`, `sack A:B`,
// `hex BYTES`. Right of it: the verdict, the state, and any of `unreplied`, `assured`, `Ns`
// (seconds left), `event`, `silent`. Without `unreplied` the connection must have seen a reply,
// without `assured` it must not be assured. Verdicts: new, established, ignored (belongs, changes
// nothing), invalid, killed, reopened. State `-` means that no connection is left.
#include "tests/proto/frame.hpp"
#include "tests/proto/mini_tracker.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using namespace ct;
using proto::Outcome;
using test::Bytes;
using test::PacketBuilder;

/// A line of a scenario.
struct Line {
    int number = 0;
    std::string text;
};

struct Scenario {
    std::string file;
    std::string title;
    std::vector<Line> lines;
};

std::uint32_t number(const std::string& text) {
    std::size_t used = 0;
    const unsigned long n = std::stoul(text, &used);
    if (used != text.size()) throw std::invalid_argument("no number: " + text);
    return static_cast<std::uint32_t>(n);
}

void append_be32(Bytes& out, std::uint32_t n) {
    for (int shift = 24; shift >= 0; shift -= 8)
        out.push_back(static_cast<std::uint8_t>(n >> shift));
}

/// "wscale 7, sackOK" as bytes.
Bytes options_of(const std::string& text) {
    Bytes out;
    std::istringstream list{text};
    for (std::string item; std::getline(list, item, ',');) {
        std::istringstream in{item};
        std::string name, value;
        in >> name >> value;
        if (name == "wscale") {
            out.insert(out.end(), {3, 3, static_cast<std::uint8_t>(number(value)), 1});
        } else if (name == "sackOK") {
            out.insert(out.end(), {4, 2, 1, 1});
        } else if (name == "ts") {
            out.insert(out.end(), {1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0});
        } else if (name == "sack") {
            const auto colon = value.find(':');
            out.insert(out.end(), {1, 1, 5, 10});
            append_be32(out, number(value.substr(0, colon)));
            append_be32(out, number(value.substr(colon + 1)));
        } else if (name == "hex") {
            const Bytes raw = test::from_hex(value);
            out.insert(out.end(), raw.begin(), raw.end());
        } else {
            throw std::invalid_argument("no option: " + item);
        }
    }
    return out;
}

struct Step {
    Nanos at = 0;
    Bytes frame;
};

/// The left side of the arrow.
Step read_segment(std::string text) {
    PacketBuilder b;
    std::string options;
    if (const auto open = text.find('<', text.find_first_of("<>") + 1); open != std::string::npos) {
        const auto close = text.find('>', open);
        b.tcp_options(options_of(text.substr(open + 1, close - open - 1)));
        text.erase(open);
    }
    std::istringstream in{text};
    double seconds = 0;
    std::string dir, flags, range, word, value;
    in >> seconds >> dir >> flags >> range;
    if (dir == ">")
        b.ipv4("192.168.1.10", "203.0.113.10").tcp(40000, 80);
    else if (dir == "<")
        b.ipv4("203.0.113.10", "192.168.1.10").tcp(80, 40000);
    else
        throw std::invalid_argument("no direction: " + dir);
    const auto colon = range.find(':');
    const std::uint32_t first = number(range.substr(0, colon));
    std::uint32_t payload = number(range.substr(colon + 1)) - first;
    for (const char c : flags) payload -= c == 'S' || c == 'F' ? 1U : 0U;
    if (payload > 9000) throw std::invalid_argument("a segment of " + std::to_string(payload));
    b.flags(flags).seq(first).payload_bytes(payload);
    while (in >> word >> value) {
        if (word == "ack")
            b.ack(number(value));
        else if (word == "win")
            b.window(static_cast<std::uint16_t>(number(value)));
        else
            throw std::invalid_argument("no word: " + word);
    }
    return {1000 * kNanosPerSecond + static_cast<Nanos>(seconds * 1e9 + 0.5), b.build()};
}

std::string verdict_of(const test::MiniTracker::Result& r) {
    switch (r.verdict.outcome) {
        case Outcome::Ignore:
            return "ignored";
        case Outcome::Invalid:
            return "invalid";
        case Outcome::Kill:
            return "killed";
        case Outcome::Reopen:
            return "reopened";
        case Outcome::Accept:
            return r.opened ? (r.reopened ? "reopened" : "new") : "established";
    }
    return "?";
}

/// Compares with the right side of the arrow.
void expect(const std::string& text, const test::MiniTracker::Result& r, const test::MiniConn* conn,
            Nanos now) {
    std::istringstream in{text};
    std::string verdict, state, word;
    in >> verdict >> state;
    EXPECT_EQ(verdict_of(r), verdict);
    EXPECT_EQ(conn == nullptr ? "-" : proto::state_name(ipproto::kTcp, conn->state), state);
    if (conn == nullptr) return;
    bool unreplied = false;
    bool assured = false;
    while (in >> word) {
        if (word == "unreplied")
            unreplied = true;
        else if (word == "assured")
            assured = true;
        else if (word == "event" || word == "silent")
            EXPECT_EQ(r.event, word == "event");
        else if (word.back() == 's')
            EXPECT_EQ(conn->remaining_s(now), number(word.substr(0, word.size() - 1)));
        else
            throw std::invalid_argument("no word: " + word);
    }
    EXPECT_EQ(conn->seen_reply, !unreplied);
    EXPECT_EQ(conn->assured, assured);
}

/// "set NAME N".
void configure(Settings& s, const std::string& text) {
    std::istringstream in{text};
    std::string set, name;
    std::uint32_t n = 0;
    in >> set >> name >> n;
    if (name == "tcp_loose")
        s.tcp_loose = n != 0;
    else if (name == "tcp_be_liberal")
        s.tcp_be_liberal = n != 0;
    else if (name == "tcp_ignore_invalid_rst")
        s.tcp_ignore_invalid_rst = n != 0;
    else if (name == "tcp_max_retrans")
        s.tcp_max_retrans = static_cast<std::uint8_t>(n);
    else
        throw std::invalid_argument("no setting: " + name);
}

void run(const Scenario& scenario) {
    test::MiniTracker tracker;
    for (const Line& line : scenario.lines) {
        SCOPED_TRACE(scenario.file + ":" + std::to_string(line.number) + ": " + line.text);
        if (line.text.starts_with("set ")) {
            configure(tracker.settings, line.text);
            continue;
        }
        const auto arrow = line.text.find("=>");
        if (arrow == std::string::npos) throw std::invalid_argument("no arrow: " + line.text);
        const Step step = read_segment(line.text.substr(0, arrow));
        test::Frame f{step.frame};
        ASSERT_EQ(f.packet.drop, Drop::None) << name_of(f.packet.drop);

        const auto result = tracker.process(f.packet, step.at);

        expect(line.text.substr(arrow + 2), result, tracker.find(f.packet.tuple), step.at);
    }
}

std::vector<Scenario> read_file(const std::filesystem::path& path) {
    std::ifstream in{path};
    std::vector<Scenario> out;
    int number = 0;
    for (std::string text; std::getline(in, text);) {
        ++number;
        if (const auto hash = text.find('#'); hash != std::string::npos) text.erase(hash);
        while (!text.empty() && text.back() == ' ') text.pop_back();
        if (text.empty()) continue;
        if (text.starts_with("== ")) {
            out.push_back({path.filename().string(), text.substr(3), {}});
        } else {
            if (out.empty()) throw std::invalid_argument(path.string() + ": no title");
            out.back().lines.push_back({number, text});
        }
    }
    return out;
}

class ScenarioTest : public testing::Test {
public:
    explicit ScenarioTest(Scenario s) : scenario_{std::move(s)} {}
    void TestBody() override { run(scenario_); }

private:
    Scenario scenario_;
};

}  // namespace

int main(int argc, char** argv) {
    testing::InitGoogleTest(&argc, argv);
    std::size_t count = 0;
    for (const auto& entry :
         std::filesystem::directory_iterator{SLUICE_SOURCE_DIR "/tests/scenario"}) {
        if (entry.path().extension() != ".ct") continue;
        for (Scenario& s : read_file(entry.path())) {
            ++count;
            const std::string suite = entry.path().stem().string();
            const std::string title = s.title;
            testing::RegisterTest(suite.c_str(), title.c_str(), nullptr, nullptr, s.file.c_str(), 1,
                                  [s]() -> testing::Test* { return new ScenarioTest{s}; });
        }
    }
    if (count == 0) {
        std::fprintf(stderr, "no scenarios in " SLUICE_SOURCE_DIR "/tests/scenario\n");
        return 1;
    }
    return RUN_ALL_TESTS();
}
