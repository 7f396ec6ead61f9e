// SPDX-License-Identifier: BSD-3-Clause
#include "ct/proto/tcp_states.hpp"

#include <gtest/gtest.h>

#include <set>
#include <sstream>
#include <string>

namespace {

using namespace ct;
using namespace ct::proto;

/// The table as the semantics give it, typed independently of tcp_states.hpp.
/// Columns: NO SS SR ES FW CW LA TW CL S2. IV: invalid, IG: ignore.
struct Row {
    Dir dir;
    Segment segment;
    const char* to;
};
// clang-format off
constexpr Row kTable[] = {
    {Dir::Original, Segment::Syn,    "SS SS IG IG IG IG IG SS SS S2"},
    {Dir::Original, Segment::SynAck, "IV IV SR IV IV IV IV IV IV SR"},
    {Dir::Original, Segment::Fin,    "IV IV FW FW LA LA LA TW CL IV"},
    {Dir::Original, Segment::Ack,    "ES IV ES ES CW CW TW TW CL IV"},
    {Dir::Original, Segment::Rst,    "IV CL CL CL CL CL CL CL CL CL"},
    {Dir::Original, Segment::None,   "IV IV IV IV IV IV IV IV IV IV"},
    {Dir::Reply,    Segment::Syn,    "IV S2 IV IV IV IV IV SS IV S2"},
    {Dir::Reply,    Segment::SynAck, "IV SR IG IG IG IG IG IG IG SR"},
    {Dir::Reply,    Segment::Fin,    "IV IV FW FW LA LA LA TW CL IV"},
    {Dir::Reply,    Segment::Ack,    "IV IG SR ES CW CW TW TW CL IG"},
    {Dir::Reply,    Segment::Rst,    "IV CL CL CL CL CL CL CL CL CL"},
    {Dir::Reply,    Segment::None,   "IV IV IV IV IV IV IV IV IV IV"},
};
// clang-format on

constexpr const char* kStates[] = {"NO", "SS", "SR", "ES", "FW", "CW", "LA", "TW", "CL", "S2"};

std::string abbreviation(TcpState s) {
    if (s == kTcpInvalid) return "IV";
    if (s == kTcpIgnore) return "IG";
    return index_of(s) < kTcpStates ? kStates[index_of(s)] : "?";
}

TEST(TcpStates, EveryCellIsThatOfTheSemantics) {
    std::set<std::pair<std::size_t, std::size_t>> rows;
    for (const Row& row : kTable) {
        rows.insert({index_of(row.dir), index_of(row.segment)});
        std::istringstream cells{row.to};
        for (std::size_t from = 0; from < kTcpStates; ++from) {
            std::string want;
            ASSERT_TRUE(cells >> want);

            const auto got = next_state(static_cast<TcpState>(from), row.dir, row.segment);

            EXPECT_EQ(want, abbreviation(got))
                << "dir " << index_of(row.dir) << " segment " << index_of(row.segment) << " from "
                << kStates[from];
        }
    }
    EXPECT_EQ(rows.size(), 2 * kSegments);
}

TEST(TcpStates, AStateThatDoesNotExistAdmitsNothing) {
    for (std::size_t from = kTcpStates; from < 16; ++from)
        EXPECT_EQ(next_state(static_cast<TcpState>(from), Dir::Original, Segment::Ack),
                  kTcpInvalid);
}

// RFC 9293 3.1, 3.10: what a stack sends. Independent of the table in tcp_states.hpp.
Segment expected_class(unsigned flags) {
    const unsigned f = flags & ~0xc8U;  // ECE, CWR, PSH say nothing
    switch (f) {
        case 0x02:
        case 0x22:
            return Segment::Syn;
        case 0x12:
            return Segment::SynAck;
        case 0x04:
        case 0x14:
            return Segment::Rst;
        case 0x11:
        case 0x31:
            return Segment::Fin;
        case 0x10:
        case 0x30:
            return Segment::Ack;
        default:
            return Segment::None;
    }
}

TEST(TcpStates, EveryCombinationOfFlagsHasItsClass) {
    for (unsigned flags = 0; flags < 256; ++flags)
        EXPECT_EQ(classify(static_cast<std::uint8_t>(flags)), expected_class(flags))
            << "flags " << flags;
}

}  // namespace
