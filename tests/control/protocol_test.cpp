// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/control/protocol.hpp"

#include "dataplane/control/notation.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <sstream>

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

ct::Injection some_entry() {
    ct::Injection e;
    e.original.family = ct::Family::Ipv6;
    e.original.proto = ct::ipproto::kSctp;
    e.original.src = parse_address("2001:db8::1")->addr;
    e.original.dst = parse_address("2001:db8::2")->addr;
    e.original.sport = ct::Be16::from_host(7);
    e.original.dport = ct::Be16::from_host(9);
    e.original.zone = 5;
    e.reply = ct::reply_of(e.original);
    e.timeout_s = 100;
    e.status = ct::status::kAssured;
    e.state = 4;
    e.mark = 0xffff'ffff;
    e.vtags = {0xffff'ffff, 1};
    return e;
}

TEST(Request, CarriesAnEntryWhole) {
    Request r;
    r.command = Command::Create;
    r.keep_existing = true;
    r.entry = some_entry();

    const Request again = parse_request(to_line(r));

    EXPECT_EQ(again.command, Command::Create);
    EXPECT_TRUE(again.keep_existing);
    EXPECT_EQ(again.entry.original, r.entry.original);
    EXPECT_EQ(again.entry.reply, r.entry.reply);
    EXPECT_EQ(again.entry.timeout_s, 100U);
    EXPECT_EQ(again.entry.status, ct::status::kAssured);
    EXPECT_EQ(again.entry.state, 4);
    EXPECT_EQ(again.entry.mark, 0xffff'ffffU);
    EXPECT_EQ(again.entry.vtags, r.entry.vtags);
}

TEST(Request, CarriesAChangeWhole) {
    Request r;
    r.command = Command::Update;
    r.change.timeout_s = 0;
    r.change.status = ct::status::kSeenReply;
    r.change.state = 3;
    r.change.mark = 0x12;
    r.change.mark_mask = 0xff;
    r.change.labels = {1, ~std::uint64_t{0}};
    r.change.label_mask = {3, ~std::uint64_t{0}};

    const ct::Change again = parse_request(to_line(r)).change;

    EXPECT_EQ(again.timeout_s, 0U);
    EXPECT_EQ(again.status, ct::status::kSeenReply);
    EXPECT_EQ(again.state, 3);
    EXPECT_EQ(again.mark, 0x12U);
    EXPECT_EQ(again.mark_mask, 0xffU);
    EXPECT_EQ(again.labels, r.change.labels);
    EXPECT_EQ(again.label_mask, r.change.label_mask);
}

TEST(Request, CarriesSettingsAndNamesOfLabels) {
    Request r;
    r.command = Command::Sysctl;
    r.name = "nf_conntrack_max";
    r.value = ~std::uint64_t{0};
    auto names = std::make_shared<LabelNames>();
    (*names)[127] = "last";
    r.output.label_names = names;

    const Request again = parse_request(to_line(r));

    EXPECT_EQ(again.name, r.name);
    EXPECT_EQ(again.value, r.value);
    ASSERT_TRUE(again.output.label_names);
    EXPECT_EQ(*again.output.label_names, *names);
}

TEST(Request, RefusesEntriesThatAreNone) {
    for (const char* entry :
         {"5", "{}", R"({"original":{}})", R"({"original":{},"reply":{}})",
          R"({"original":{"family":"ipv4","protocol":6,"src":"::1","dst":"10.0.0.2","sport":1,)"
          R"("dport":2,"zone":0},"reply":{}})"}) {
        const std::string text = R"({"v":1,"cmd":"create","entry":)" + std::string{entry} + "}";
        EXPECT_THROW(static_cast<void>(parse_request(text)), BadParameter) << text;
    }
    nlohmann::json request = nlohmann::json::parse(to_line([] {
        Request r;
        r.command = Command::Create;
        r.entry = some_entry();
        return r;
    }()));
    const auto with = [&](const char* key, nlohmann::json value) {
        nlohmann::json changed = request;
        changed["entry"][key] = std::move(value);
        return changed.dump();
    };
    EXPECT_NO_THROW(static_cast<void>(parse_request(with("mark", 1))));
    for (const std::string& text :
         {with("status", ct::status::kExpected), with("state", 200), with("mark", -1),
          with("timeout_s", std::uint64_t{1} << 40), with("vtags", {1}), with("color", 1)})
        EXPECT_THROW(static_cast<void>(parse_request(text)), BadParameter) << text;

    // Linux and Sluice track DCCP by its addresses alone: no packet would find such an entry.
    nlohmann::json dccp = request;
    for (const char* tuple : {"original", "reply"}) {
        dccp["entry"][tuple]["protocol"] = ct::ipproto::kDccp;
        dccp["entry"][tuple]["sport"] = dccp["entry"][tuple]["dport"] = 0;
    }
    EXPECT_NO_THROW(static_cast<void>(parse_request(dccp.dump())));
    dccp["entry"]["original"]["sport"] = 5;
    EXPECT_THROW(static_cast<void>(parse_request(dccp.dump())), BadParameter);
}

TEST(Response, TellsNotesGapsAndTheEndOfAListingAfterOne) {
    std::string out;
    append_note(out, "a \"note\"");
    append_gap(out, 17, 99);
    append_synced(out, 3);
    std::istringstream lines{out};
    std::string line;
    std::getline(lines, line);
    EXPECT_EQ(parse_response(line).text, "a \"note\"");
    std::getline(lines, line);
    const Response gap = parse_response(line);
    EXPECT_EQ(gap.kind, Response::Kind::Gap);
    EXPECT_EQ(gap.count, 17U);
    EXPECT_EQ(gap.first, 99U);
    std::getline(lines, line);
    EXPECT_EQ(parse_response(line).kind, Response::Kind::Synced);
}

}  // namespace
}  // namespace dp::test
