// SPDX-License-Identifier: BSD-3-Clause
//
// Every line that conntrack(8) printed for the golden cases, read and rendered again.
#include "tests/control/golden_line.hpp"

#include <gtest/gtest.h>

namespace dp::test {
namespace {

std::string rendered(const GoldenLine& line) {
    std::string out;
    if (line.is_event)
        append_event(out, line.event, line.options);
    else
        append_line(out, line.event.conn, line.options);
    if (out.ends_with('\n')) out.pop_back();
    return out;
}

/// Renders every line of the files called `name`; returns how many there were.
template <class Parse>
std::size_t expect_round_trip(std::string_view name, Parse parse) {
    std::size_t count = 0;
    for (const std::string& path : golden_files(name)) {
        for (const std::string& text : lines_of(path)) {
            const auto line = parse(text);
            if (!line) continue;
            EXPECT_EQ(rendered(*line), line->text) << path;
            ++count;
        }
    }
    return count;
}

TEST(Golden, EveryListedLineComesBack) {
    EXPECT_GT(expect_round_trip("conntrack-L.txt", parse_golden_line), 140U);
}

TEST(Golden, EveryExtendedLineComesBack) {
    EXPECT_GT(expect_round_trip("conntrack-L-ext.txt", parse_golden_line), 140U);
}

TEST(Golden, EveryIpv6LineComesBack) {
    EXPECT_GT(expect_round_trip("conntrack-L-ipv6.txt", parse_golden_line), 3U);
}

TEST(Golden, EveryEventLineComesBack) {
    EXPECT_GT(expect_round_trip("conntrack-E.txt", parse_golden_line), 300U);
}

TEST(Golden, EveryEventLineWithTimestampComesBack) {
    EXPECT_GT(expect_round_trip("conntrack-E-ts.txt", parse_golden_line), 300U);
}

TEST(Golden, EveryXmlFlowComesBack) {
    EXPECT_GT(expect_round_trip("conntrack-L.xml", parse_golden_flow), 140U);
}

TEST(Golden, XmlDocumentsBeginAndEndAsOurs) {
    for (const std::string& path : golden_files("conntrack-L.xml")) {
        const auto lines = lines_of(path);
        if (lines.size() < 3 || !lines.front().starts_with("<?xml")) continue;

        EXPECT_EQ(lines[0] + "\n" + lines[1] + "\n", kXmlHead) << path;
        EXPECT_EQ(lines.back() + "\n", kXmlTail) << path;
    }
}

// Every number that the kernel counted stands where we put it.
TEST(Golden, EveryCounterLineComesBack) {
    std::size_t count = 0;
    for (const std::string& path : golden_files("conntrack-S.txt")) {
        for (const std::string& text : lines_of(path)) {
            unsigned cpu = 0;
            ct::Counters c;
            if (std::sscanf(text.c_str(),
                            "cpu=%u found=%lu invalid=%lu insert=%lu insert_failed=%lu drop=%lu "
                            "early_drop=%lu error=%lu search_restart=%lu clash_resolve=%lu "
                            "chaintoolong=%lu",
                            &cpu, &c.found, &c.invalid, &c.insert, &c.insert_failed, &c.drop,
                            &c.early_drop, &c.error, &c.search_restart, &c.clash_resolve,
                            &c.chaintoolong) != 11)
                continue;
            std::string out;
            append_counters(out, cpu, c);
            EXPECT_EQ(out, text + "\n") << path;
            ++count;
        }
    }
    EXPECT_GT(count, 140U);
}

}  // namespace
}  // namespace dp::test
