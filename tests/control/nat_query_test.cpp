// SPDX-License-Identifier: BSD-3-Clause
//
// sluicectl nat-who and nat-where: what they understand, what they find, and how they say it.
#include "dataplane/cli/nat_query.hpp"

#include "dataplane/control/protocol.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <sstream>
#include <string>
#include <vector>

namespace dp {
namespace {

constexpr WallNanos kSecond = 1'000'000'000;
constexpr WallNanos kAfternoon = 1'795'702'801 * kSecond;  // 2026-11-26T14:20:01Z

NatQuery parse(std::vector<std::string> words) {
    words.insert(words.begin(), "sluicectl");
    std::vector<char*> argv;
    for (std::string& w : words) argv.push_back(w.data());
    argv.push_back(nullptr);
    const int argc = static_cast<int>(words.size());
    EXPECT_TRUE(is_nat_query(argc, argv.data()));
    return parse_nat_query(argc, argv.data(), kAfternoon);
}

std::string complaint(const std::vector<std::string>& words) {
    try {
        static_cast<void>(parse(words));
    } catch (const BadParameter& e) {
        return e.what();
    }
    return {};
}

/// 100.64.0.0/22 on eight addresses for TCP and UDP; 2001:db8:40::/56 likewise for everything.
Config configuration() {
    return parse_config(R"(
port = [ { name = "lan", device = "net_null0", addresses = ["100.64.0.1/22"] },
         { name = "wan", device = "net_null1", addresses = ["203.0.113.1/24"] } ]
[[rule]]
name = "subscribers"
chain = "nat"
src = "100.64.0.0/22"
proto = ["tcp", "udp"]
out = "wan"
action = "snat"
to = "192.0.2.0-192.0.2.7"
deterministic = { reserve = 4096 }
blocks = { size = 256, max = 2 }
[[rule]]
name = "six"
chain = "nat"
src = "2001:db8:40::/56"
out = "wan"
action = "snat"
to = "2001:db8:2::1-2001:db8:2::8"
deterministic = {}
)",
                        "gw.toml", Machine{1ULL << 44});
}

TEST(NatQuery, ReadsTheCommandLine) {
    const NatQuery who = parse({"nat-who", "192.0.2.1:2000", "tcp", "2026-11-26T14:20:01Z", "-c",
                                "gw.toml", "--log", "a", "-l", "b", "-o", "json"});
    EXPECT_TRUE(who.who);
    EXPECT_EQ(who.address, parse_address("192.0.2.1"));
    EXPECT_EQ(who.port, 2000);
    EXPECT_EQ(who.protocol, 6);
    EXPECT_EQ(who.time, (TimeSpan{kAfternoon, kAfternoon + kSecond - 1}));
    EXPECT_EQ(who.config, "gw.toml");
    EXPECT_EQ(who.logs, (std::vector<std::string>{"a", "b"}));
    EXPECT_TRUE(who.json);

    const NatQuery six = parse({"nat-who", "--log", "a", "[2001:db8::1]:2000", "now"});
    EXPECT_EQ(six.address, parse_address("2001:db8::1"));
    EXPECT_EQ(six.time, (TimeSpan{kAfternoon, kAfternoon}));

    const NatQuery where = parse({"nat-where", "100.64.0.7", "--config", "gw.toml"});
    EXPECT_FALSE(where.who);
    EXPECT_EQ(where.time, (TimeSpan{kAfternoon, kAfternoon}));
    EXPECT_TRUE(parse({"nat-where", "--help"}).help);
}

TEST(NatQuery, SaysWhatIsWrongWithTheCommandLine) {
    EXPECT_EQ(complaint({"nat-who"}), "`nat-who' needs an external ADDRESS:PORT and a TIME");
    EXPECT_THAT(complaint({"nat-who", "192.0.2.1:2000", "-l", "a"}),
                testing::StartsWith("`nat-who' needs a TIME"));
    for (const char* endpoint :
         {"192.0.2.1", "192.0.2.1:", "192.0.2.1:65536", "2001:db8::1:2000", "[192.0.2.1]:2000"})
        EXPECT_THAT(complaint({"nat-who", endpoint, "now", "-l", "a"}),
                    testing::HasSubstr("is no address with a port"))
            << endpoint;
    EXPECT_EQ(complaint({"nat-who", "192.0.2.1:2000", "tpc", "now", "-l", "a"}),
              "`tpc' is no protocol");
    EXPECT_THAT(complaint({"nat-who", "192.0.2.1:2000", "yesterday", "-l", "a"}),
                testing::StartsWith("`yesterday' is no time"));
    EXPECT_EQ(complaint({"nat-who", "192.0.2.1:2000", "tcp", "now", "then", "-l", "a"}),
              "`then': nothing is to follow the time");
    EXPECT_EQ(complaint({"nat-where", "100.64.0.300", "-l", "a"}), "`100.64.0.300' is no address");
    EXPECT_EQ(complaint({"nat-where", "100.64.0.7"}),
              "name the daemon's configuration with --config, or a log with --log");
    EXPECT_EQ(complaint({"nat-where", "100.64.0.7", "--port", "5"}),
              "`--port' is no option of this command");
    EXPECT_EQ(complaint({"nat-where", "100.64.0.7", "--log"}), "`--log' needs a value");
    EXPECT_EQ(complaint({"nat-where", "100.64.0.7", "-l", "a", "-o", "xml"}),
              "`xml' is no output of this command");
}

TEST(NatQuery, ASharesEndpointsLeadToItsSubscriberAndBack) {
    const Config config = configuration();
    NatQuery where = parse({"nat-where", "100.64.2.9", "-c", "gw.toml"});

    const auto has = ask_config(where, config);
    ASSERT_EQ(has.size(), 1U);
    EXPECT_TRUE(has[0].share);
    EXPECT_EQ(has[0].outside, parse_address("192.0.2.4"));
    NatQuery who = where;
    who.who = true;
    who.address = has[0].outside;
    for (const std::uint16_t port : {has[0].ports.first, has[0].ports.last}) {
        who.port = port;
        const auto had = ask_config(who, config);
        ASSERT_EQ(had.size(), 1U);
        EXPECT_EQ(had[0].inside, parse_prefix("100.64.2.9"));
        EXPECT_EQ(had[0].ports, has[0].ports);
    }
    EXPECT_EQ(show(where, has),
              "100.64.2.9  share 192.0.2.4 ports 5272-5743  rule 'subscribers' "
              "(gw.toml:4)\n");
}

TEST(NatQuery, AShareIsOfTheProtocolsOfItsRule) {
    const Config config = configuration();
    NatQuery who = parse({"nat-who", "192.0.2.4:5300", "udp", "now", "-c", "gw.toml"});
    EXPECT_EQ(ask_config(who, config).size(), 1U);
    who.protocol = 1;
    EXPECT_TRUE(ask_config(who, config).empty());
}

TEST(NatQuery, AnIpv6SubscriberIsAPrefix) {
    const Config config = configuration();
    const auto has = ask_config(parse({"nat-where", "2001:db8:40:7::99", "-c", "gw.toml"}), config);

    ASSERT_EQ(has.size(), 1U);
    EXPECT_EQ(has[0].inside, parse_prefix("2001:db8:40:7::/64"));
    EXPECT_EQ(has[0].rule, "six");
}

TEST(NatQuery, NobodyHasWhatNoShareHas) {
    const Config config = configuration();
    for (const char* endpoint : {"192.0.2.4:1023", "192.0.2.4:65535", "192.0.2.8:5300"})
        EXPECT_TRUE(
            ask_config(parse({"nat-who", endpoint, "now", "-c", "gw.toml"}), config).empty())
            << endpoint;
}

BlockRecord record(BlockRecord::Kind kind, std::string_view inside, nat::PortRange ports,
                   WallNanos time) {
    BlockRecord r;
    r.kind = kind;
    r.time = time;
    r.rule = "subscribers";
    r.inside = parse_prefix(inside).value();
    r.outside_family = ct::Family::Ipv4;
    r.outside = parse_address("192.0.2.1")->addr;
    r.ports = ports;
    return r;
}

/// 100.64.0.7 has 2000-2255 for a minute, then 100.64.0.8 has them; 100.64.0.7 has 3000-3255, too.
BlockHistory history(const NatQuery& query) {
    using enum BlockRecord::Kind;
    std::string log;
    for (const BlockRecord& r :
         {record(Assigned, "100.64.0.7", {2000, 2255}, kAfternoon),
          record(Assigned, "100.64.0.7", {3000, 3255}, kAfternoon + 1),
          record(Released, "100.64.0.7", {2000, 2255}, kAfternoon + 60 * kSecond),
          record(Assigned, "100.64.0.8", {2000, 2255}, kAfternoon + 90 * kSecond)})
        log += to_json(r) + '\n';
    std::istringstream in{log};
    BlockHistory h{[query](const BlockRecord& r) { return is_wanted(query, r); }};
    h.read(in, "blocks.log");
    return h;
}

TEST(NatQuery, ABlocksHolderDependsOnTheTime) {
    const auto holder = [](const char* time) {
        const NatQuery q = parse({"nat-who", "192.0.2.1:2100", time, "-l", "blocks.log"});
        const auto answers = ask_log(q, history(q));
        return answers.size() == 1 ? to_string(answers[0].inside) : std::string{"-"};
    };

    EXPECT_EQ(holder("2026-11-26T14:20:00Z"), "-");
    EXPECT_EQ(holder("2026-11-26T14:20:01Z"), "100.64.0.7/32");
    EXPECT_EQ(holder("2026-11-26T14:20:30.5Z"), "100.64.0.7/32");
    EXPECT_EQ(holder("2026-11-26T14:21:15Z"), "-");
    EXPECT_EQ(holder("2026-11-26T14:30:00Z"), "100.64.0.8/32");
}

TEST(NatQuery, ShowsBlocksInWordsAndJson) {
    NatQuery q = parse({"nat-where", "100.64.0.7", "2026-11-26T14:20:30Z", "-l", "blocks.log"});
    const auto answers = ask_log(q, history(q));

    EXPECT_EQ(show(q, answers),
              "100.64.0.7  block 192.0.2.1 ports 2000-2255  since 2026-11-26T14:20:01.000000Z "
              "until 2026-11-26T14:21:01.000000Z  rule 'subscribers' (blocks.log:1)\n"
              "100.64.0.7  block 192.0.2.1 ports 3000-3255  since 2026-11-26T14:20:01.000000Z  "
              "rule 'subscribers' (blocks.log:2)\n");
    q.json = true;
    const auto json = nlohmann::json::parse(show(q, answers));
    EXPECT_EQ(json["inside"], "100.64.0.7");
    ASSERT_EQ(json["answers"].size(), 2U);
    EXPECT_EQ(json["answers"][0]["kind"], "block");
    EXPECT_EQ(json["answers"][0]["first_port"], 2000);
    EXPECT_EQ(json["answers"][0]["until"], "2026-11-26T14:21:01.000000Z");
    EXPECT_TRUE(json["answers"][1]["until"].is_null());
}

TEST(NatQuery, ASubscribersBlocksAreFoundByAnyOfHisAddresses) {
    NatQuery q = parse({"nat-where", "2001:db8:40:7::99", "-l", "blocks.log"});
    const BlockRecord r =
        record(BlockRecord::Kind::Assigned, "2001:db8:40:7::/64", {2000, 2255}, kAfternoon);

    EXPECT_TRUE(is_wanted(q, r));
    q.address = *parse_address("2001:db8:40:8::99");
    EXPECT_FALSE(is_wanted(q, r));
}

}  // namespace
}  // namespace dp
