// SPDX-License-Identifier: BSD-3-Clause
//
// Flows in one line, stories as text and JSON, and the request that asks for one.
#include "dataplane/control/flow_notation.hpp"
#include "dataplane/control/story.hpp"
#include "tests/control/daemon.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>

namespace dp::test {
namespace {

using ::testing::HasSubstr;

TEST(FlowNotation, ReadsWhatItShows) {
    for (const char* flow :
         {"tcp 10.0.0.1:1234 > 192.0.2.1:80", "udp [2001:db8::1]:53 > [2001:db8::2]:5353",
          "icmp 192.0.2.1 > 192.0.2.2 type 8 code 0 id 7", "sctp 192.0.2.1:1 > 192.0.2.2:2",
          "gre 192.0.2.1 > 192.0.2.2", "icmpv6 2001:db8::1 > 2001:db8::2 type 128 code 0 id 0"})
        EXPECT_EQ(flow_text(whole_tuple(parse_flow_pattern(flow))), flow);
}

TEST(FlowNotation, TakesAnEchoRequestForGranted) {
    EXPECT_EQ(flow_text(whole_tuple(parse_flow_pattern("icmp 192.0.2.1>192.0.2.2"))),
              "icmp 192.0.2.1 > 192.0.2.2 type 8 code 0 id 0");
}

TEST(FlowNotation, MatchesByPartsInEitherDirection) {
    const ct::Tuple t = whole_tuple(parse_flow_pattern("tcp 10.0.0.1:1234 > 192.0.2.1:80"));
    const auto matches = [&](const char* pattern) {
        return parse_flow_pattern(pattern).matches_either_way(t);
    };

    for (const char* pattern : {"tcp", "6", "10.0.0.1", "10.0.0.0/8", "> 192.0.2.1", "tcp :1234",
                                "tcp > *:80", "tcp 192.0.2.1:80 > 10.0.0.1:1234", "* > 10.0.0.1"})
        EXPECT_TRUE(matches(pattern)) << pattern;
    for (const char* pattern : {"udp", "10.0.0.2", "tcp :81", "tcp 10.0.0.1:80", "2001:db8::1"})
        EXPECT_FALSE(matches(pattern)) << pattern;
    EXPECT_FALSE(parse_flow_pattern("192.0.2.1 > *").matches(t)) << "in its own direction only";
}

TEST(FlowNotation, SaysWhatIsWrong) {
    const auto problem = [](const char* flow) -> std::string {
        try {
            static_cast<void>(whole_tuple(parse_flow_pattern(flow)));
        } catch (const BadParameter& e) {
            return e.what();
        }
        return "";
    };
    const std::pair<const char*, const char*> cases[] = {
        {"", "which flow"},
        {"tcp", "must be given"},
        {"tcp 10.0.0.1:1 > 192.0.2.1", "both ports"},
        {"tcp 10.0.0.0/8:1 > 192.0.2.1:2", "must be given"},
        {"quic 10.0.0.1:1 > 192.0.2.1:2", "neither a protocol"},
        {"tcp 10.0.0.1:65536 > 192.0.2.1:2", "a port"},
        {"tcp 10.0.0.1:x > 192.0.2.1:2", "a port"},
        {"tcp 10.0.0.1: > 192.0.2.1:2", "a port"},
        {"tcp 10.0.0.1:1 >", "no destination"},
        {"tcp 10.0.0.1:1 > 192.0.2.1:2 more", "no meaning"},
        {"tcp 10.0.0.1:1 > [2001:db8::1]:2", "different families"},
        {"10.0.0.1:1 > 192.0.2.1:2", "ports need a protocol"},
        {"tcp 10.0.0.1:1 > 192.0.2.1:2 type 3", "icmp"},
        {"icmp 10.0.0.1 > 192.0.2.1 type 256", "ICMP type"},
        {"icmp 10.0.0.1 > 192.0.2.1 type", "no meaning"},
        {"tcp 10.0.0.300:1 > 192.0.2.1:2", "no endpoint"},
        {"tcp 2001:db8::1:99999 > [2001:db8::2]:2", "no endpoint"},
    };
    for (const auto& [flow, says] : cases) EXPECT_THAT(problem(flow), HasSubstr(says)) << flow;
}

TEST(FlowNotation, MakesAFilterThatNamesTheTuple) {
    for (const char* flow :
         {"tcp 10.0.0.1:1234 > 192.0.2.1:80",
          "icmpv6 2001:db8::1 > 2001:db8::2 type 128 code 0 id 9", "gre 1.2.3.4 > 1.2.3.5"}) {
        const ct::Tuple t = whole_tuple(parse_flow_pattern(flow));
        EXPECT_EQ(tuple_of(filter_of(t)), t) << flow;
    }
}

Story example() {
    Story s;
    s.title = "a \"story\"";
    s.head = {{"exists", true}};
    s.add("lookup", "found", "an entry").details = {"one", "two"};
    s.add("route", "drop", "nowhere").facts["out"] = "lan";
    return s;
}

TEST(Story, IsTheSameInWordsByWayOfJson) {
    EXPECT_EQ(to_text(example()),
              "a \"story\"\n"
              "  lookup    an entry\n"
              "              one\n"
              "              two\n"
              "  route     nowhere\n");
    EXPECT_EQ(text_of(to_json(example())), to_text(example()));
}

TEST(Story, HasItsFactsInJson) {
    const auto object = nlohmann::json::parse(to_json(example()));

    EXPECT_EQ(object.at("exists"), true);
    EXPECT_EQ(object.at("steps").at(1).at("out"), "lan");
    EXPECT_EQ(object.at("steps").at(0).at("details").at(1), "two");
}

TEST(Story, IsRefusedIfItIsSomethingElse) {
    EXPECT_THROW(static_cast<void>(text_of("{}")), std::runtime_error);
    EXPECT_THROW(static_cast<void>(text_of("nonsense")), std::runtime_error);
    EXPECT_THROW(static_cast<void>(text_of(R"({"title":"x","steps":[{}]})")), std::runtime_error);
}

TEST(Story, NamesEveryActionOfARule) {
    for (int a = 0; a <= static_cast<int>(nat::Action::Redirect); ++a)
        EXPECT_NE(name_of(static_cast<nat::Action>(a)), "?") << a;
}

TEST(Explain, AsksTheDaemonForTheFlowAndThePort) {
    Daemon daemon;
    Request r = request(Command::Explain);
    r.filter = filter_of(whole_tuple(parse_flow_pattern("tcp 10.0.0.1:1234 > 192.0.2.1:80")));
    r.name = "lan";

    const Answer answer = ask(daemon.path(), r);

    EXPECT_EQ(answer.error, "");
    EXPECT_EQ(nlohmann::json::parse(answer.data).at("title"),
              "tcp 10.0.0.1:1234 > 192.0.2.1:80 by lan");
}

TEST(Explain, NeedsAWholeTuple) {
    Daemon daemon;

    const Answer answer = ask(daemon.path(), request(Command::Explain));

    EXPECT_EQ(answer.code, 2);
    EXPECT_THAT(answer.error, HasSubstr("must be given"));
}

TEST(Explain, ThePortsThatThereAreNotAreTheCallersMistake) {
    Daemon daemon;
    Request r = request(Command::Explain);
    r.filter = filter_of(whole_tuple(parse_flow_pattern("tcp 10.0.0.1:1234 > 192.0.2.1:80")));
    r.name = "dmz";

    EXPECT_EQ(ask(daemon.path(), r).code, 2);
}

}  // namespace
}  // namespace dp::test
