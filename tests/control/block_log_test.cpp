// SPDX-License-Identifier: BSD-3-Clause
//
// The log of port blocks: its lines, both ways; who had what, out of them; and the times in them.
#include "dataplane/control/block_history.hpp"
#include "dataplane/control/block_record.hpp"
#include "dataplane/control/notation.hpp"

#include <gtest/gtest.h>

#include <sstream>
#include <string>

namespace dp {
namespace {

constexpr WallNanos kSecond = 1'000'000'000;
constexpr WallNanos kAfternoon = 1'795'702'801 * kSecond;  // 2026-11-26T14:20:01Z

BlockRecord assigned(std::string_view inside, WallNanos time = kAfternoon) {
    BlockRecord r;
    r.time = time;
    r.number = 17;
    r.kind = BlockRecord::Kind::Assigned;
    r.rule = "subscribers";
    r.inside = parse_prefix(inside).value();
    r.outside_family = ct::Family::Ipv4;
    r.outside = parse_address("192.0.2.1")->addr;
    r.ports = {1024, 1535};
    return r;
}

BlockRecord released(std::string_view inside, WallNanos time) {
    BlockRecord r = assigned(inside, time);
    r.kind = BlockRecord::Kind::Released;
    return r;
}

BlockRecord started(WallNanos time) {
    BlockRecord r;
    r.time = time;
    r.number = 1;
    return r;
}

TEST(Timestamp, IsRfc3339InUtc) {
    EXPECT_EQ(timestamp(kAfternoon + 123'456'789), "2026-11-26T14:20:01.123456Z");
    EXPECT_EQ(timestamp(0), "1970-01-01T00:00:00.000000Z");
}

TEST(Timestamp, IsReadInEveryFormThatPeopleWrite) {
    const TimeSpan second{kAfternoon, kAfternoon + kSecond - 1};
    const TimeSpan exact{kAfternoon + kSecond / 2, kAfternoon + kSecond / 2};

    EXPECT_EQ(parse_time("2026-11-26T14:20:01Z", 0), second);
    EXPECT_EQ(parse_time("2026-11-26 14:20:01z", 0), second);
    EXPECT_EQ(parse_time("2026-11-26T15:50:01+01:30", 0), second);
    EXPECT_EQ(parse_time("2026-11-26T09:20:01-05:00", 0), second);
    EXPECT_EQ(parse_time("2026-11-26T14:20:01.5Z", 0), exact);
    EXPECT_EQ(parse_time("2026-11-26T14:20:01.500000000Z", 0), exact);
    EXPECT_EQ(parse_time("@1795702801", 0), second);
    EXPECT_EQ(parse_time("now", 42), (TimeSpan{42, 42}));
    EXPECT_EQ(parse_time("2016-12-31T23:59:60Z", 0), parse_time("2016-12-31T23:59:59Z", 0));
    EXPECT_EQ(parse_time(timestamp(kAfternoon), 0), (TimeSpan{kAfternoon, kAfternoon}));
}

TEST(Timestamp, NothingElseIsATime) {
    for (const std::string_view text :
         {"", "2026-11-26", "2026-11-26T14:20Z", "2026-11-26T14:20:01", "2026-02-30T14:20:01Z",
          "2026-11-26T24:20:01Z", "2026-11-26T14:20:01.Z", "2026-11-26T14:20:01Zx", "@", "@-5",
          "@99999999999999", "1969-12-31T23:59:59Z", "2262-01-01T00:00:00Z",
          "1970-01-01T00:00:00+00:01", "20-6-11-26T14:20:01Z", "then", "+026-11-26T14:20:01Z"})
        EXPECT_FALSE(parse_time(text, 0)) << text;
}

TEST(BlockRecord, AsJson) {
    const std::string line = to_json(assigned("100.64.0.7"));

    EXPECT_EQ(line, R"({"time":"2026-11-26T14:20:01.000000Z","seq":17,"event":"assigned",)"
                    R"("rule":"subscribers","inside":"100.64.0.7","outside":"192.0.2.1",)"
                    R"("ports":"1024-1535"})");
    EXPECT_EQ(parse_block_record(line), assigned("100.64.0.7"));
}

TEST(BlockRecord, AsSyslog) {
    SyslogOrigin origin;
    origin.host = "gw";
    origin.process = 4711;
    const std::string line = to_syslog(assigned("100.64.0.7"), origin);

    EXPECT_EQ(line,
              "<133>1 2026-11-26T14:20:01.000000Z gw sluice 4711 nat-block [meta "
              "sequenceId=\"17\"] assigned inside=100.64.0.7 outside=192.0.2.1 "
              "ports=1024-1535 rule=\"subscribers\"");
    EXPECT_EQ(parse_block_record(line), assigned("100.64.0.7"));
    EXPECT_EQ(parse_block_record(line.substr(5)), assigned("100.64.0.7"));
    EXPECT_EQ(parse_block_record(line.substr(7) + "\r"), assigned("100.64.0.7"));
}

TEST(BlockRecord, StandsForAPrefixAndAZoneInBothForms) {
    BlockRecord r = assigned("2001:db8:0:1100::/56");
    r.zone = 5;
    r.kind = BlockRecord::Kind::Released;
    r.outside_family = ct::Family::Ipv6;
    r.outside = parse_address("2001:db8:2::1")->addr;

    EXPECT_EQ(parse_block_record(to_json(r)), r);
    EXPECT_EQ(parse_block_record(to_syslog(r, {})), r);
    EXPECT_NE(to_json(r).find(R"("inside":"2001:db8:0:1100::/56","zone":5)"), std::string::npos);
}

TEST(BlockRecord, TheBeginningOfARunIsARecord) {
    EXPECT_EQ(to_json(started(kAfternoon)),
              R"({"time":"2026-11-26T14:20:01.000000Z","seq":1,"event":"started"})");
    EXPECT_EQ(parse_block_record(to_json(started(kAfternoon))), started(kAfternoon));
    EXPECT_EQ(parse_block_record(to_syslog(started(kAfternoon), {})), started(kAfternoon));
}

TEST(BlockRecord, ANameMayHaveQuotesAndBlanks) {
    BlockRecord r = assigned("100.64.0.7");
    r.rule = R"(the "best" of [all] \ rules, ports=1-2)";

    EXPECT_EQ(parse_block_record(to_json(r)), r);
    EXPECT_EQ(parse_block_record(to_syslog(r, {})), r);
}

TEST(BlockRecord, ANewlineInANameCannotForgeARecord) {
    BlockRecord r = assigned("100.64.0.7");
    r.rule = "a\n<133>1 forged";

    EXPECT_EQ(to_json(r).find('\n'), std::string::npos);
    EXPECT_EQ(to_syslog(r, {}).find('\n'), std::string::npos);
}

// RFC 5424 7.3.1.
TEST(BlockRecord, SequenceIdsStayWithinTheirBoundsAndGoOnWithOne) {
    BlockRecord r = started(kAfternoon);
    r.number = 2'147'483'647;
    EXPECT_NE(to_syslog(r, {}).find("sequenceId=\"2147483647\""), std::string::npos);
    ++r.number;
    EXPECT_NE(to_syslog(r, {}).find("sequenceId=\"1\""), std::string::npos);
}

TEST(BlockRecord, WhatIsIncompleteIsNone) {
    const std::string json = to_json(assigned("100.64.0.7"));
    const std::string syslog = to_syslog(assigned("100.64.0.7"), {});

    for (std::size_t n = 0; n < json.size(); ++n)
        EXPECT_FALSE(parse_block_record(json.substr(0, n))) << n;
    for (std::size_t n = 0; n < syslog.size(); ++n)
        EXPECT_FALSE(parse_block_record(syslog.substr(0, n))) << n;
    for (const std::string_view line :
         {R"({"time":"now","seq":1,"event":"started"})",
          R"({"time":"2026-11-26T14:20:01Z","seq":"1","event":"started"})",
          R"({"time":"2026-11-26T14:20:01Z","seq":1,"event":"assigned","rule":"x",)"
          R"("inside":"100.64.0.7","outside":"192.0.2.1","ports":"1535-1024"})",
          R"({"time":"2026-11-26T14:20:01Z","seq":1,"event":"assigned","rule":"x",)"
          R"("inside":"100.64.0.7/8","outside":"192.0.2.1","ports":"1024-1535"})",
          R"({"time":"2026-11-26T14:20:01Z","seq":1,"event":"assigned","rule":"x","zone":70000,)"
          R"("inside":"100.64.0.7","outside":"192.0.2.1","ports":"1024-1535"})",
          "<133>1 2026-11-26T14:20:01Z gw sshd 12 - - Accepted publickey for root", "[]", "{}"})
        EXPECT_FALSE(parse_block_record(line)) << line;
}

BlockHistory history_of(const std::vector<BlockRecord>& records) {
    std::string text;
    for (const BlockRecord& r : records) text += to_json(r) + '\n';
    std::istringstream in{text};
    BlockHistory h{[](const BlockRecord&) { return true; }};
    h.read(in, "blocks.log");
    return h;
}

TEST(BlockHistory, PutsAssignmentAndReleaseTogether) {
    const auto h = history_of({started(kAfternoon - kSecond), assigned("100.64.0.7", kAfternoon),
                               released("100.64.0.7", kAfternoon + 300 * kSecond),
                               assigned("100.64.0.8", kAfternoon + 500 * kSecond)});

    const auto tenures = h.tenures();
    ASSERT_EQ(tenures.size(), 2U);
    EXPECT_EQ(tenures[0].since, kAfternoon);
    EXPECT_EQ(tenures[0].until, kAfternoon + 300 * kSecond);
    EXPECT_EQ(tenures[0].where, "blocks.log:2");
    EXPECT_FALSE(tenures[1].until);
    EXPECT_TRUE(tenures[0].covers({kAfternoon, kAfternoon}));
    EXPECT_FALSE(tenures[0].covers({kAfternoon - 1, kAfternoon - 1}));
    EXPECT_TRUE(tenures[0].covers({kAfternoon - 1, kAfternoon + 5}));
    EXPECT_FALSE(tenures[0].covers({kAfternoon + 301 * kSecond, kAfternoon + 302 * kSecond}));
    EXPECT_TRUE(tenures[1].covers({kAfternoon + 9000 * kSecond, kAfternoon + 9000 * kSecond}));
}

TEST(BlockHistory, FilesMayComeInAnyOrder) {
    BlockHistory h{[](const BlockRecord&) { return true; }};
    std::istringstream later{to_json(released("100.64.0.7", kAfternoon + kSecond)) + '\n'};
    std::istringstream earlier{to_json(assigned("100.64.0.7")) + '\n'};
    h.read(later, "blocks.log");
    h.read(earlier, "blocks.log.1");

    const auto tenures = h.tenures();
    ASSERT_EQ(tenures.size(), 1U);
    EXPECT_EQ(tenures[0].until, kAfternoon + kSecond);
    EXPECT_EQ(tenures[0].where, "blocks.log.1:1");
    EXPECT_EQ(h.begins(), kAfternoon);
}

TEST(BlockHistory, ANewRunEndsWhatTheLastOneLeft) {
    const auto tenures = history_of({assigned("100.64.0.7"), started(kAfternoon + 60 * kSecond),
                                     assigned("100.64.0.9", kAfternoon + 90 * kSecond)})
                             .tenures();

    ASSERT_EQ(tenures.size(), 2U);
    EXPECT_EQ(tenures[0].until, kAfternoon + 60 * kSecond);
    EXPECT_TRUE(tenures[0].restarted);
    EXPECT_FALSE(tenures[1].until);
}

TEST(BlockHistory, ABlockThatWasAssignedBeforeTheLogHasNoBeginning) {
    const auto tenures = history_of({released("100.64.0.7", kAfternoon)}).tenures();

    ASSERT_EQ(tenures.size(), 1U);
    EXPECT_FALSE(tenures[0].since);
    EXPECT_TRUE(tenures[0].covers({0, 0}));
}

// One worker takes the block back, another gives it out, and their clocks are a turn apart.
TEST(BlockHistory, AReleaseThatComesAfterTheNextAssignmentIsNoOnesElse) {
    const auto tenures =
        history_of({assigned("100.64.0.7"), assigned("100.64.0.8", kAfternoon + 10 * kSecond),
                    released("100.64.0.7", kAfternoon + 10 * kSecond + 5)})
            .tenures();

    ASSERT_EQ(tenures.size(), 2U);
    EXPECT_EQ(tenures[0].until, kAfternoon + 10 * kSecond);
    EXPECT_FALSE(tenures[1].until);
}

TEST(BlockHistory, CountsLinesThatAreNoRecords) {
    BlockHistory h{[](const BlockRecord&) { return true; }};
    std::istringstream in{to_json(assigned("100.64.0.7")) + "\n\nhello\n{\"time\":\"2026-\n"};
    h.read(in, "blocks.log");

    EXPECT_EQ(h.records(), 1U);
    EXPECT_EQ(h.strange_lines(), 2U);
    EXPECT_EQ(h.first_strange(), "blocks.log:3");
}

}  // namespace
}  // namespace dp
