// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/control/filter.hpp"

#include "dataplane/control/notation.hpp"
#include "tests/control/snapshots.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace dp::test {
namespace {

TEST(Filter, EmptyMatchesEverything) {
    EXPECT_TRUE(Filter{}.matches(tcp_established()));
    EXPECT_TRUE(Filter{}.matches(icmp_echo()));
}

TEST(Filter, AddressMatchesItselfAndItsPrefix) {
    const auto source = [](const char* text) {
        Filter f;
        f.orig_src = parse_address_match(text);
        return f.matches(tcp_established());
    };

    EXPECT_TRUE(source("192.168.1.10"));
    EXPECT_TRUE(source("192.168.1.0/24"));
    EXPECT_TRUE(source("192.168.1.0/255.255.255.0"));
    EXPECT_TRUE(source("198.51.100.1/0"));
    EXPECT_FALSE(source("192.168.1.11"));
    EXPECT_FALSE(source("192.168.1.8/31"));
    EXPECT_FALSE(source("::/0"));
}

TEST(Filter, EachDirectionHasItsOwnAddressesAndPorts) {
    Filter f;
    f.reply_src = parse_address_match("203.0.113.10");
    f.reply_sport = 80;
    f.orig_sport = 1111;

    EXPECT_TRUE(f.matches(tcp_established()));

    f.reply_dport = 80;

    EXPECT_FALSE(f.matches(tcp_established()));
}

TEST(Filter, ReadsIpv6Prefixes) {
    const AddressMatch m = parse_address_match("2001:db8::/33");

    EXPECT_TRUE(m.contains(ct::Family::Ipv6, parse_address("2001:db8:7fff::1")->addr));
    EXPECT_FALSE(m.contains(ct::Family::Ipv6, parse_address("2001:db8:8000::1")->addr));
}

TEST(Filter, RefusesAddressesThatAreNone) {
    for (const char* text : {"", "foo", "192.168.1.10/33", "2001:db8::/129", "192.168.1.0/",
                             "192.168.1.0/abc", "192.168.1.0/ffff::", "/24"})
        EXPECT_THROW(static_cast<void>(parse_address_match(text)), BadParameter) << text;
}

// conntrack(8): the mask is applied to the entry's mark only, so 5/1 never matches.
TEST(Filter, MarkIsComparedUnderItsMask) {
    ct::Snapshot conn = tcp_established();
    conn.mark = 0x15;
    const auto mark = [&](const char* text) {
        Filter f;
        parse_mark_match(text, f);
        return f.matches(conn);
    };

    EXPECT_TRUE(mark("0x15"));
    EXPECT_TRUE(mark("0x5/0xf"));
    EXPECT_FALSE(mark("5"));
    EXPECT_FALSE(mark("5/1"));
    EXPECT_THROW(mark("foo"), BadParameter);
    EXPECT_THROW(mark("5/"), BadParameter);
}

TEST(Filter, StatusIsASetOfDemands) {
    const auto status = [](const char* text, const ct::Snapshot& conn) {
        Filter f;
        parse_status_match(text, f);
        return f.matches(conn);
    };

    EXPECT_TRUE(status("ASSURED", tcp_established()));
    EXPECT_TRUE(status("assured,SEEN_REPLY", tcp_established()));
    EXPECT_FALSE(status("UNREPLIED", tcp_established()));
    EXPECT_FALSE(status("!ASSURED", tcp_established()));
    EXPECT_TRUE(status("UNREPLIED,!ASSURED", udp_unreplied()));
    EXPECT_FALSE(status("!UNREPLIED", udp_unreplied()));
    EXPECT_FALSE(status("UNREPLIED,ASSURED", udp_unreplied()));
    for (const char* text : {"", "FOO", "ASSURED,", ",ASSURED", "!", "!!ASSURED"})
        EXPECT_THROW(status(text, udp_unreplied()), BadParameter) << text;
}

TEST(Filter, ZoneMeansBothDirectionsAndTheOthersOne) {
    ct::Snapshot both = udp_unreplied();
    both.original.zone = both.reply.zone = 7;
    ct::Snapshot original = udp_unreplied();
    original.original.zone = 7;
    Filter zone;
    zone.zone = 7;
    Filter orig_zone;
    orig_zone.orig_zone = 7;

    EXPECT_TRUE(zone.matches(both));
    EXPECT_FALSE(zone.matches(original));
    EXPECT_FALSE(orig_zone.matches(both));
    EXPECT_TRUE(orig_zone.matches(original));
}

TEST(Filter, FindsTranslationsByAddressAndPort) {
    ct::Snapshot conn = udp_unreplied();
    conn.reply.dst = parse_address("198.51.100.7")->addr;
    conn.reply.dport = ct::Be16::from_host(99);
    Filter src;
    Filter dst;
    dst.dst_nat = NatMatch{};

    for (const char* text : {"198.51.100.7", "198.51.100.7:99"}) {
        src.src_nat = parse_nat_match(text);
        EXPECT_TRUE(src.matches(conn)) << text;
    }
    for (const char* text : {"198.51.100.8", "198.51.100.7:98"}) {
        src.src_nat = parse_nat_match(text);
        EXPECT_FALSE(src.matches(conn)) << text;
    }
    EXPECT_FALSE(dst.matches(conn));
    EXPECT_FALSE(dst.matches(udp_unreplied()));
}

TEST(Filter, ATranslatedPortAloneIsATranslation) {
    ct::Snapshot conn = udp_unreplied();
    conn.reply.sport = ct::Be16::from_host(5353);
    Filter dst;
    dst.dst_nat = NatMatch{};
    Filter any;
    any.any_nat = NatMatch{};

    EXPECT_TRUE(dst.matches(conn));
    EXPECT_TRUE(any.matches(conn));
    EXPECT_FALSE(any.matches(udp_unreplied()));
}

TEST(Filter, AnEchoWithoutTranslationHasNone) {
    Filter any;
    any.any_nat = NatMatch{};
    ct::Snapshot translated = icmp_echo();
    translated.reply.sport = ct::Be16::from_host(77);

    EXPECT_FALSE(any.matches(icmp_echo()));
    EXPECT_TRUE(any.matches(translated));
}

TEST(Filter, IcmpFieldsMatchIcmpOnly) {
    Filter f;
    f.icmp_type = 8;
    f.icmp_id = 9;

    EXPECT_TRUE(f.matches(icmp_echo()));
    EXPECT_FALSE(f.matches(udp_unreplied()));
    f.icmp_id = 10;
    EXPECT_FALSE(f.matches(icmp_echo()));
}

TEST(NatMatch, ReadsPortsOfBothFamilies) {
    EXPECT_EQ(parse_nat_match("192.0.2.1:80").port, 80);
    EXPECT_FALSE(parse_nat_match("2001:db8::1").port);
    EXPECT_EQ(parse_nat_match("[2001:db8::1]:80").port, 80);
    EXPECT_EQ(to_string(parse_nat_match("[2001:db8::1]:80")), "[2001:db8::1]:80");
    for (const char* text : {"", "foo", "192.0.2.1:", "192.0.2.1:65536", "[2001:db8::1",
                             "192.0.2.1:x", "[2001:db8::1]80", ":80"})
        EXPECT_THROW(static_cast<void>(parse_nat_match(text)), BadParameter) << text;
}

Filter full_filter() {
    Filter f;
    f.family = ct::Family::Ipv4;
    f.protocol = 6;
    f.orig_src = parse_address_match("192.168.1.0/24");
    f.orig_dst = parse_address_match("203.0.113.10");
    f.reply_src = parse_address_match("203.0.113.10");
    f.reply_dst = parse_address_match("192.0.2.1");
    f.orig_sport = 1;
    f.orig_dport = 2;
    f.reply_sport = 3;
    f.reply_dport = 65535;
    f.icmp_type = 8;
    f.icmp_code = 0;
    f.icmp_id = 5;
    f.state = 3;
    parse_mark_match("0x10/0xf0", f);
    parse_status_match("ASSURED,!EXPECTED", f);
    f.zone = 1;
    f.orig_zone = 2;
    f.reply_zone = 3;
    f.src_nat = parse_nat_match("192.0.2.1:80");
    f.dst_nat = NatMatch{};
    f.any_nat = parse_nat_match("2001:db8::1");
    f.timeout_s = 9;
    f.id = 0xffff'ffff;
    return f;
}

TEST(FilterJson, ComesBackAsItWent) {
    EXPECT_EQ(filter_from_json(to_json(full_filter())), full_filter());
    EXPECT_EQ(filter_from_json(to_json(Filter{})), Filter{});
}

TEST(FilterJson, RefusesWhatItDoesNotKnow) {
    for (const char* text :
         {R"([])", R"(null)", R"({"foo":1})", R"({"protocol":256})", R"({"protocol":-1})",
          R"({"protocol":"tcp"})", R"({"orig_src":5})", R"({"orig_src":"x"})", R"({"zone":65536})",
          R"({"family":"ipv5"})", R"({"mark":5})", R"({"src_nat":false})", R"({"id":1.5})",
          R"({"orig_sport":65536})", R"({"status_set":65536})"})
        EXPECT_THROW(static_cast<void>(filter_from_json(nlohmann::json::parse(text))), BadParameter)
            << text;
}

}  // namespace
}  // namespace dp::test
