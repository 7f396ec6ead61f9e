// SPDX-License-Identifier: BSD-3-Clause
//
// Packets that a real kernel was given. What its conntrack called INVALID for its form, parse()
// must drop; all the rest must pass.
#include "ct/wire/parse.hpp"
#include "tests/support/golden_packets.hpp"
#include "tests/support/packet_invariants.hpp"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <utility>

namespace {

using ct::Drop;

/// The malformed ones, by case and step, with our reason.
const std::map<std::pair<std::string, int>, Drop> kMalformed{
    {{"tcp-bad-packets", 1}, Drop::BadTcpChecksum},
    {{"tcp-bad-packets", 2}, Drop::BadTcpHeader},
    {{"tcp-bad-packets", 3}, Drop::Truncated},
    {{"udp-bad-packets", 1}, Drop::BadUdpChecksum},
    {{"udp-bad-packets", 3}, Drop::BadUdpLength},
    {{"udp-bad-packets", 6}, Drop::Truncated},
    // Linux sums UDP-Lite with UDP's protocol number; we follow RFC 3828, so 1 and 2 pass here.
    {{"udplite", 3}, Drop::BadUdpliteChecksum},
    {{"udplite", 4}, Drop::BadUdpliteChecksum},
    {{"udplite", 5}, Drop::BadUdpliteChecksum},
};

TEST(GoldenPackets, AreThere) {
    EXPECT_GT(test::golden_packets().size(), 200U);
}

TEST(GoldenPackets, PassOrDropAsTheKernelJudgedTheirForm) {
    std::set<std::pair<std::string, int>> seen;
    for (const auto& golden : test::golden_packets()) {
        auto owned = test::receive(golden.frame);
        const std::string base = golden.case_name.substr(0, golden.case_name.find('/'));
        const auto expected = kMalformed.find({base, golden.step});
        if (expected != kMalformed.end()) seen.insert(expected->first);

        const Drop reason = ct::parse(owned.packet, {});

        EXPECT_EQ(ct::name_of(reason),
                  ct::name_of(expected == kMalformed.end() ? Drop::None : expected->second))
            << golden.where;
        EXPECT_EQ(test::fault_in(owned.packet), "") << golden.where;
    }
    EXPECT_EQ(seen.size(), kMalformed.size());
}

// What we drop and Linux does not is the UDP-Lite of the wrong pseudo-header, and nothing else.
TEST(GoldenPackets, ThatLinuxTracksAreNotDropped) {
    for (const auto& golden : test::golden_packets()) {
        if (golden.invalid || golden.case_name.starts_with("udplite")) continue;
        auto owned = test::receive(golden.frame);
        EXPECT_EQ(ct::parse(owned.packet, {}), Drop::None) << golden.where;
    }
}

}  // namespace
