// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/control/render.hpp"

#include "ct/conn/helpers.hpp"
#include "dataplane/control/notation.hpp"
#include "dataplane/control/text.hpp"
#include "tests/control/snapshots.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <arpa/inet.h>
#include <cstdlib>
#include <ctime>
#include <random>

namespace dp::test {
namespace {

constexpr ct::Nanos kSecond = ct::kNanosPerSecond;

std::string line(const ct::Snapshot& conn, const RenderOptions& options = {}) {
    std::string out;
    append_line(out, conn, options);
    return out;
}

std::string event(ct::EventType type, const ct::Snapshot& conn, const RenderOptions& options = {}) {
    ct::Event e;
    e.type = type;
    e.when = 1'700'000'000 * kSecond + 42'000;
    e.conn = conn;
    std::string out;
    append_event(out, e, options);
    return out;
}

TEST(Render, SaysUse2ForAnAnswerToGet) {
    RenderOptions options;
    options.use = 2;

    EXPECT_TRUE(line(tcp_established(), options).ends_with(" mark=0 use=2\n"));
}

TEST(Render, KeepsZonesOfOneDirectionWithThatDirection) {
    ct::Snapshot conn = udp_unreplied();
    conn.original.zone = 7;

    EXPECT_EQ(line(conn),
              "udp      17 30 src=192.168.1.10 dst=203.0.113.10 sport=1111 dport=53 zone-orig=7 "
              "[UNREPLIED] src=203.0.113.10 dst=192.168.1.10 sport=53 dport=1111 mark=0 use=1\n");

    conn.original.zone = 0;
    conn.reply.zone = 9;

    EXPECT_NE(line(conn).find("dport=1111 zone-reply=9 mark=0"), std::string::npos);
}

TEST(Render, ShowsTheSharedZoneAfterTheMark) {
    ct::Snapshot conn = udp_unreplied();
    conn.original.zone = conn.reply.zone = 5;

    EXPECT_TRUE(line(conn).ends_with(" mark=0 zone=5 use=1\n"));
}

TEST(Render, CallsAnUnknownProtocolByNumberOnly) {
    ct::Snapshot conn = udp_unreplied();
    conn.original.proto = conn.reply.proto = 99;

    EXPECT_TRUE(line(conn).starts_with("unknown  99 30 src=192.168.1.10 dst=203.0.113.10 [UNREP"));
}

TEST(Render, ShowsGreKeysInHexadecimal) {
    ct::Snapshot conn = udp_unreplied();
    conn.original.proto = conn.reply.proto = ct::ipproto::kGre;
    conn.original.sport = ct::Be16::from_host(0xbeef);

    EXPECT_NE(line(conn).find("srckey=0xbeef dstkey=0x35 "), std::string::npos);
}

TEST(Render, LeavesTheTimeoutOutOfADestroyEventWhereItIsZero) {
    ct::Snapshot conn = tcp_established();
    conn.timeout_s = 0;

    EXPECT_TRUE(
        event(ct::EventType::Destroy, conn).starts_with("[DESTROY] tcp      6 ESTABLISHED src="));
    EXPECT_TRUE(event(ct::EventType::Update, conn).starts_with(" [UPDATE] tcp      6 0 ESTAB"));
}

TEST(Render, LeavesAStateOfZeroOutOfEvents) {
    ct::Snapshot conn = tcp_established();
    conn.state = 0;

    EXPECT_TRUE(event(ct::EventType::Update, conn).starts_with(" [UPDATE] tcp      6 300 src="));
    EXPECT_TRUE(line(conn).starts_with("tcp      6 300 NONE src="));
}

TEST(Render, TellsTheMarkInEventsOnlyIfThereIsOne) {
    ct::Snapshot conn = tcp_established();

    EXPECT_EQ(event(ct::EventType::New, conn).find("mark="), std::string::npos);

    conn.mark = 7;

    EXPECT_TRUE(event(ct::EventType::New, conn).ends_with("[ASSURED] mark=7\n"));
}

TEST(Render, TellsCountersOfEventsOnlyInTheLast) {
    ct::Snapshot conn = tcp_established();
    conn.has_counters = true;
    conn.packets = {3, 2};

    EXPECT_EQ(event(ct::EventType::Update, conn).find("packets="), std::string::npos);
    EXPECT_NE(event(ct::EventType::Destroy, conn).find("packets=3"), std::string::npos);
}

TEST(Render, PrefixesEventsWithTheWallClock) {
    RenderOptions options;
    options.timestamp = true;
    options.wall_offset_ns = 5 * ct::kNanosPerSecond;

    EXPECT_TRUE(event(ct::EventType::New, tcp_established(), options)
                    .starts_with("[1700000005.000042]\t    [NEW] tcp "));
}

// The difference of two clocks that show whole seconds: 0.4 s may be one second.
TEST(Render, CountsTheAgeInSecondsOfTheWallClock) {
    ct::Snapshot conn = tcp_established();
    conn.has_timestamp = true;
    conn.start = 10 * kSecond;
    RenderOptions options;
    options.now = conn.start + kSecond * 4 / 10;

    EXPECT_NE(line(conn, options).find(" delta-time=0 use="), std::string::npos);

    options.wall_offset_ns = kSecond * 7 / 10;

    EXPECT_NE(line(conn, options).find(" delta-time=1 use="), std::string::npos);
}

TEST(Render, ShowsKernelTimestampsAsAsctimeDoes) {
    ASSERT_EQ(::setenv("TZ", "UTC", 1), 0);
    ::tzset();
    ct::Snapshot conn = tcp_established();
    conn.has_timestamp = true;
    conn.start = 1'795'216'514 * kSecond;
    conn.stop = conn.start + 3600 * kSecond;
    RenderOptions options;
    options.ktimestamp = true;

    EXPECT_TRUE(event(ct::EventType::Destroy, conn, options)
                    .ends_with(" delta-time=3600 [start=Fri Nov 20 23:15:14 2026] "
                               "[stop=Sat Nov 21 00:15:14 2026]\n"));
}

TEST(Render, WritesSaveLinesThatNameBothDirections) {
    RenderOptions options;
    options.format = Format::Save;

    EXPECT_EQ(line(tcp_established(), options),
              "-A -t 300 -u SEEN_REPLY,ASSURED -s 192.168.1.10 -d 203.0.113.10 -r 203.0.113.10 "
              "-q 192.168.1.10 -p tcp --sport 1111 --dport 80 --reply-port-src 80 "
              "--reply-port-dst 1111 --state ESTABLISHED\n");
}

TEST(Render, WritesSaveLinesThatNameTheTranslation) {
    ct::Snapshot conn = udp_unreplied();
    conn.reply.src = parse_address("198.51.100.7")->addr;
    conn.reply.dst = parse_address("192.0.2.1")->addr;
    RenderOptions options;
    options.format = Format::Save;

    EXPECT_EQ(line(conn, options),
              "-A -t 30 -u UNSET -s 192.168.1.10 -d 203.0.113.10 -g 198.51.100.7 -n 192.0.2.1 "
              "-p udp --sport 1111 --dport 53 --reply-port-src 53 --reply-port-dst 1111\n");
    EXPECT_TRUE(event(ct::EventType::Destroy, conn, options).starts_with("-D -t 30 "));
    EXPECT_TRUE(event(ct::EventType::Update, conn, options).starts_with("-U -t 30 "));
}

TEST(Render, WritesSaveLinesOfIcmpAndGre) {
    RenderOptions options;
    options.format = Format::Save;
    ct::Snapshot gre = udp_unreplied();
    gre.original.proto = gre.reply.proto = ct::ipproto::kGre;

    EXPECT_NE(line(icmp_echo(), options).find("-p icmp --icmp-type 8 --icmp-code 0 --icmp-id 9\n"),
              std::string::npos);
    EXPECT_NE(line(gre, options)
                  .find("-p gre --srckey 1111 --dstkey 53 --reply-key-src 53 "
                        "--reply-key-dst 1111\n"),
              std::string::npos);
}

TEST(Render, WritesTheTypeOfAnEventIntoItsXml) {
    ASSERT_EQ(::setenv("TZ", "UTC", 1), 0);
    ::tzset();
    RenderOptions options;
    options.format = Format::Xml;
    options.timestamp = true;

    const std::string text = event(ct::EventType::Destroy, tcp_established(), options);

    EXPECT_TRUE(text.starts_with("<flow type=\"destroy\"><meta direction=\"original\">"));
    EXPECT_TRUE(
        text.ends_with("<assured/></meta><when><hour>22</hour><min>13</min><sec>20</sec>"
                       "<wday>3</wday><day>14</day><month>11</month><year>2023</year>"
                       "</when></flow>\n"));
}

// conntrack -E -o xml,timestamp at four minutes past midnight: <hour>0</hour><min>04</min>.
TEST(Render, WritesMinutesAndSecondsWithTwoDigitsIntoXml) {
    ASSERT_EQ(::setenv("TZ", "UTC", 1), 0);
    ::tzset();
    constexpr std::int64_t kMidnight = 1'700'006'400;  // 2023-11-15
    RenderOptions options;
    options.format = Format::Xml;
    options.timestamp = true;
    options.wall_offset_ns = (kMidnight + 4 * 60 + 9) * std::int64_t{ct::kNanosPerSecond};
    ct::Event e;
    e.conn = udp_unreplied();
    std::string text;

    append_event(text, e, options);

    EXPECT_NE(text.find("<when><hour>0</hour><min>04</min><sec>09</sec><wday>4</wday>"),
              std::string::npos)
        << text;
}

TEST(Render, WritesJsonThatParses) {
    ct::Snapshot conn = icmp_echo();
    conn.has_counters = conn.has_timestamp = true;
    conn.packets = {1, 2};
    RenderOptions options;
    options.format = Format::Json;

    const auto listed = nlohmann::json::parse(line(conn, options));
    const auto told = nlohmann::json::parse(event(ct::EventType::New, tcp_established(), options));

    EXPECT_EQ(listed["original"]["icmp_type"], 8);
    EXPECT_EQ(listed["reply"]["icmp_type"], 0);
    EXPECT_EQ(listed["reply"]["packets"], 2);
    EXPECT_EQ(told["type"], "new");
    EXPECT_EQ(told["state"], "ESTABLISHED");
    EXPECT_EQ(told["status"], nlohmann::json::parse(R"(["SEEN_REPLY","ASSURED"])"));
    EXPECT_EQ(told["original"]["dport"], 80);
}

std::shared_ptr<const LabelNames> longest_names() {
    auto names = std::make_shared<LabelNames>();
    for (std::string& name : *names) name.assign(kMaxLabelNameBytes / names->size(), 'x');
    return names;
}

/// Labels 1, 3 and 9, of which the last has no name.
RenderOptions with_labels() {
    auto names = std::make_shared<LabelNames>();
    (*names)[1] = "one";
    (*names)[3] = "three";
    RenderOptions options;
    options.labels = true;
    options.label_names = names;
    return options;
}

// Recorded from conntrack 1.4.7 with a connlabel.conf that names labels 0, 1, 3 and 127.
TEST(Render, ShowsLabelsByNameAfterTheId) {
    ct::Snapshot conn = udp_unreplied();
    conn.labels[0] = 1U << 1 | 1U << 3;

    EXPECT_TRUE(line(conn, with_labels()).ends_with(" mark=0 use=1 labels=one,three\n"));
    EXPECT_TRUE(line(conn).ends_with(" mark=0 use=1\n"));

    conn.labels[0] = 1U << 9;

    EXPECT_TRUE(line(conn, with_labels()).ends_with(" mark=0 use=1 labels\n"));
}

TEST(Render, ShowsLabelsByNumberWhereNothingIsNamed) {
    ct::Snapshot conn = udp_unreplied();
    conn.labels = {1U << 3, std::uint64_t{1} << 63};
    RenderOptions options;
    options.labels = true;

    EXPECT_TRUE(line(conn, options).ends_with(" use=1 labels=3,127\n"));
}

TEST(Render, ShowsLabelsInXmlBetweenMarkAndUse) {
    ct::Snapshot conn = udp_unreplied();
    conn.labels[0] = 1U << 3;
    RenderOptions options = with_labels();
    options.format = Format::Xml;

    EXPECT_NE(
        line(conn, options).find("<mark>0</mark><labels><label>three</label></labels><use>1</use>"),
        std::string::npos);
}

// conntrack -E: the first event tells labels, a later one only if they changed, the last never.
TEST(Render, TellsLabelsInEventsOnlyWhereTheyAreNews) {
    ct::Event e;
    e.conn = udp_unreplied();
    e.conn.labels[0] = 1U << 3;
    const auto tells = [&](ct::EventType type, std::uint16_t causes) {
        e.type = type;
        e.causes = causes;
        std::string out;
        append_event(out, e, with_labels());
        return out.find("labels=three") != std::string::npos;
    };

    EXPECT_TRUE(tells(ct::EventType::New, ct::cause::kNew));
    EXPECT_FALSE(tells(ct::EventType::Update, ct::cause::kReply));
    EXPECT_TRUE(tells(ct::EventType::Update, ct::cause::kLabel));
    EXPECT_FALSE(tells(ct::EventType::Destroy, ct::cause::kDestroy));
}

TEST(Render, NamesTheHelperBeforeUseAndNotInTheLastEvent) {
    ct::Snapshot conn = udp_unreplied();
    conn.helper = ct::find_helper("tftp");

    EXPECT_TRUE(line(conn).ends_with(" mark=0 helper=tftp use=1\n"));
    EXPECT_NE(event(ct::EventType::New, conn).find(" helper=tftp\n"), std::string::npos);
    EXPECT_EQ(event(ct::EventType::Destroy, conn).find("helper"), std::string::npos);

    RenderOptions xml;
    xml.format = Format::Xml;
    EXPECT_TRUE(line(conn, xml).ends_with("</meta><helper>tftp</helper></flow>\n"));
}

// conntrack -E of an entry that conntrack -I made: `mark=0 [USERSPACE] portid=16971`.
TEST(Render, SaysWhichProcessAskedForAnEvent) {
    ct::Event e;
    e.causes = ct::cause::kNew | ct::cause::kFromOutside;
    e.by = 16971;
    e.conn = udp_unreplied();
    std::string out;
    append_event(out, e, {});

    EXPECT_TRUE(out.ends_with(" sport=53 dport=1111 mark=0 [USERSPACE] portid=16971\n"));

    e.type = ct::EventType::Destroy;
    e.causes = ct::cause::kDestroy;
    out.clear();
    append_event(out, e, {});

    EXPECT_TRUE(out.ends_with(" sport=53 dport=1111 [USERSPACE] portid=16971\n"));

    RenderOptions save;
    save.format = Format::Save;
    out.clear();
    append_event(out, e, save);

    EXPECT_TRUE(out.ends_with(" --reply-port-dst 1111 [USERSPACE] portid=16971\n")) << out;
}

TEST(Render, SavesTheVerificationTagsOfSctp) {
    ct::Snapshot conn = between(ct::ipproto::kSctp, 5, 6);
    conn.state = static_cast<std::uint8_t>(ct::SctpState::Established);
    conn.timeout_s = 49;
    conn.vtags = {1, 2};
    RenderOptions save;
    save.format = Format::Save;

    EXPECT_EQ(line(conn, save),
              "-A -t 49 -u UNSET -s 192.168.1.10 -d 203.0.113.10 -r 203.0.113.10 -q 192.168.1.10 "
              "-p sctp --sport 5 --dport 6 --reply-port-src 6 --reply-port-dst 5 "
              "--state ESTABLISHED --orig-vtag 1 --reply-vtag 2\n");
}

TEST(Render, MarksWhatIsListedAgainAfterAGap) {
    std::string out;
    append_sync(out, udp_unreplied(), {});

    EXPECT_TRUE(out.starts_with("   [SYNC] udp      17 30 src=192.168.1.10 "));
    EXPECT_TRUE(out.ends_with(" mark=0 use=1\n"));

    RenderOptions options;
    options.format = Format::Json;
    out.clear();
    append_sync(out, udp_unreplied(), options);

    EXPECT_EQ(nlohmann::json::parse(out).at("type"), "sync");
}

// The longest that any format can be fits the buffer: an entry with every field at its maximum.
TEST(Render, NoEntryIsLongerThanItsBuffer) {
    ct::Snapshot conn = tcp_established();
    conn.original.family = conn.reply.family = ct::Family::Ipv6;
    for (ct::Tuple* t : {&conn.original, &conn.reply}) {
        t->src.bytes.fill(0xff);
        t->dst.bytes.fill(0xff);
        t->sport = t->dport = ct::Be16::from_host(0xffff);
    }
    conn.original.zone = 0xffff;
    conn.status = 0xffff & ~ct::status::kSeenReply;
    conn.state = 8;
    conn.original.proto = conn.reply.proto = ct::ipproto::kSctp;
    conn.has_counters = conn.has_timestamp = true;
    conn.timeout_s = conn.mark = conn.id = 0xffff'ffff;
    conn.packets.fill(~std::uint64_t{0});
    conn.bytes.fill(~std::uint64_t{0});
    conn.start = 1;
    conn.stop = ~std::uint64_t{0} >> 1;
    conn.labels.fill(~std::uint64_t{0});
    conn.helper = ct::find_helper("netbios-ns");

    for (const Format format : {Format::Line, Format::Xml, Format::Save, Format::Json}) {
        RenderOptions options;
        options.format = format;
        options.extended = options.id = options.timestamp = options.ktimestamp = true;
        options.labels = true;
        options.label_names = longest_names();
        options.use = 0xffff'ffff;
        EXPECT_LT(line(conn, options).size(), kMaxEntryBytes);
        EXPECT_LT(event(ct::EventType::Destroy, conn, options).size(), kMaxEntryBytes);
    }
}

std::string by_libc(const ct::Addr& a) {
    char text[INET6_ADDRSTRLEN] = "";
    inet_ntop(AF_INET6, a.bytes.data(), text, sizeof text);
    return text;
}

TEST(AddressText, WritesIpv6AsInetNtopDoes) {
    for (const char* text : {"::", "::1", "2001:db8::1", "2001:db8:0:0:1:0:0:1", "fe80::", "1::8",
                             "0:0:1::", "::ffff:192.0.2.1", "::192.0.2.1", "::2:3:4:5:6:7:8",
                             "1:2:3:4:5:6:7::", "1:0:3:4:5:6:7:8", "::1:2", "::ffff:0:1"}) {
        ct::Addr a;
        ASSERT_EQ(inet_pton(AF_INET6, text, a.bytes.data()), 1) << text;
        EXPECT_EQ(address_text(ct::Family::Ipv6, a).view(), by_libc(a));
    }
}

// Groups that are often zero, so that runs of every length and place come up.
TEST(AddressText, AgreesWithInetNtopOnRandomAddresses) {
    constexpr unsigned kSeed = 20'261'120;
    SCOPED_TRACE(kSeed);
    std::mt19937 random{kSeed};
    for (int i = 0; i < 20'000; ++i) {
        ct::Addr a;
        for (std::size_t group = 0; group < 8; ++group) {
            if (random() % 2 == 0) continue;
            a.bytes[2 * group] = static_cast<std::uint8_t>(random() % 3 == 0 ? random() : 0);
            a.bytes[2 * group + 1] = static_cast<std::uint8_t>(random());
        }
        ASSERT_EQ(address_text(ct::Family::Ipv6, a).view(), by_libc(a));
    }
}

}  // namespace
}  // namespace dp::test
