// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/control/protocol.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace dp::test {
namespace {

TEST(Protocol, RequestsComeBackAsTheyWent) {
    Request r;
    r.command = Command::Events;
    r.table = Table::Expect;
    r.filter.orig_dport = 443;
    r.output.format = Format::Xml;
    r.output.extended = r.output.id = r.output.timestamp = true;
    r.output.ktimestamp = r.output.labels = true;
    r.events = kEventDestroy;

    const Request back = parse_request(to_line(r));

    EXPECT_EQ(back.command, r.command);
    EXPECT_EQ(back.table, r.table);
    EXPECT_EQ(back.filter, r.filter);
    EXPECT_EQ(to_line(back), to_line(r));
}

TEST(Protocol, RefusesRequestsThatMakeNoSense) {
    for (const char* text : {"",
                             " ",
                             "{",
                             "[]",
                             "5",
                             "\"list\"",
                             "{}",
                             R"({"v":1})",
                             R"({"cmd":"list"})",
                             R"({"v":2,"cmd":"list"})",
                             R"({"v":"1","cmd":"list"})",
                             R"({"v":1,"cmd":"LIST"})",
                             R"({"v":1,"cmd":5})",
                             R"({"v":1,"cmd":"list","table":"foo"})",
                             R"({"v":1,"cmd":"list","foo":1})",
                             R"({"v":1,"cmd":"list","filter":[]})",
                             R"({"v":1,"cmd":"list","output":{"format":"pdf"}})",
                             R"({"v":1,"cmd":"list","output":{"id":1}})",
                             R"({"v":1,"cmd":"list","output":{"foo":true}})",
                             R"({"v":1,"cmd":"events","events":8})",
                             R"({"v":1,"cmd":"events","events":-1})",
                             "{\"v\":1,\"cmd\":\"list\"} x",
                             "{\"v\":1,\"cmd\":\"l\xff\"}"})
        EXPECT_THROW(static_cast<void>(parse_request(text)), BadParameter) << text;
}

TEST(Protocol, SurvivesBracketsWithoutEnd) {
    EXPECT_THROW(static_cast<void>(parse_request(std::string(60'000, '['))), BadParameter);
    std::string nested = R"({"v":1,"cmd":"list","filter":)";
    for (int i = 0; i < 10'000; ++i) nested += R"({"a":)";
    nested += "1" + std::string(10'001, '}');

    EXPECT_THROW(static_cast<void>(parse_request(nested)), BadParameter);
}

Response through(void (*append)(std::string&, std::string_view), std::string_view text) {
    std::string line;
    append(line, text);
    EXPECT_TRUE(line.ends_with('\n'));
    EXPECT_EQ(line.find('\n'), line.size() - 1) << "one line, whatever the text";
    line.pop_back();
    EXPECT_TRUE(nlohmann::json::accept(line));
    return parse_response(line);
}

TEST(Protocol, TextComesBackAsItWent) {
    for (const char* text : {"", "a line\n", "<flow type=\"new\">\n", "[1.000001]\t    [NEW] tcp\n",
                             "back\\slash\\n\n", "\x01\x1f bell\n", "\"\"\"\"\n"})
        EXPECT_EQ(through(append_text, text).text, text);
}

TEST(Protocol, DataComesBackAsJson) {
    const Response r = through(append_data, R"({"count":5})");

    EXPECT_EQ(r.kind, Response::Kind::Data);
    EXPECT_EQ(r.text, R"({"count":5})");
}

TEST(Protocol, ErrorsCarryTheirExitCode) {
    std::string line;
    append_error(line, "such `conntrack' \"is not\"", 2);
    line.pop_back();

    const Response r = parse_response(line);

    EXPECT_EQ(r.kind, Response::Kind::Error);
    EXPECT_EQ(r.code, 2);
    EXPECT_EQ(r.text, "such `conntrack' \"is not\"");
}

TEST(Protocol, LongErrorsAreCutBetweenCharacters) {
    std::string message(399, 'x');
    message += "\xc3\xa4 and more";
    std::string line;
    append_error(line, message, 2);
    line.pop_back();

    EXPECT_EQ(parse_response(line).text, std::string(399, 'x'));
}

TEST(Protocol, AResponseThatIsNoneIsSaidToBe) {
    for (const char* text : {"", "x", "[]", "{}", R"({"text":5})", R"({"done":true})",
                             R"({"error":"x"})", R"({"gap":-1})"})
        EXPECT_THROW(static_cast<void>(parse_response(text)), std::runtime_error) << text;
}

TEST(Protocol, GetNeedsAWholeTuple) {
    Filter f;
    f.protocol = 6;
    f.orig_src = parse_address_match("192.168.1.10");
    f.orig_sport = 1111;
    f.orig_dport = 80;

    EXPECT_THROW(static_cast<void>(tuple_of(f)), BadParameter);

    f.orig_dst = parse_address_match("203.0.113.0/24");

    EXPECT_THROW(static_cast<void>(tuple_of(f)), BadParameter);

    f.orig_dst = parse_address_match("203.0.113.10");
    const ct::Tuple t = tuple_of(f);

    EXPECT_EQ(t.sport.host(), 1111);
    EXPECT_EQ(t.dport.host(), 80);
    EXPECT_EQ(t.family, ct::Family::Ipv4);
}

}  // namespace
}  // namespace dp::test
