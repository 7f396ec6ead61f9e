// SPDX-License-Identifier: BSD-3-Clause
#include "tests/control/daemon.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <fstream>
#include <set>
#include <sstream>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace dp::test {
namespace {

using namespace std::chrono_literals;
using ct::ipproto::kTcp;
using ct::ipproto::kUdp;
using testing::HasSubstr;
using testing::StartsWith;

constexpr const char* kPing = "{\"v\":1,\"cmd\":\"ping\"}\n";
constexpr const char* kPong = "{\"done\":true,\"count\":0}";
constexpr const char* kList = "{\"v\":1,\"cmd\":\"list\"}\n";

TEST(Server, ListsWhatTheTableHolds) {
    Daemon daemon;
    daemon.open(kTcp, 0, 1);

    const Answer answer = ask(daemon.path(), request(Command::List));

    EXPECT_EQ(answer.text,
              "tcp      6 120 SYN_SENT src=198.51.100.1 dst=192.0.2.1 sport=1000 dport=80 "
              "[UNREPLIED] src=192.0.2.1 dst=198.51.100.1 sport=80 dport=1000 mark=0 use=1\n");
    EXPECT_EQ(answer.count, 1U);
}

TEST(Server, ListsOnlyWhatTheFilterWants) {
    Daemon daemon;
    daemon.open(kTcp, 0, 10);
    daemon.open(kUdp, 0, 7);
    Request r = request(Command::List);
    r.filter.protocol = kUdp;

    EXPECT_EQ(ask(daemon.path(), r).count, 7U);

    r.filter.orig_sport = 1003;

    EXPECT_EQ(ask(daemon.path(), r).count, 1U);
}

TEST(Server, ListsMoreThanABufferInChunksOfALine) {
    Daemon daemon{{}, 20'000};
    daemon.open(kTcp, 0, 20'000);
    RawClient client{daemon.path()};
    ASSERT_TRUE(client.send(kList));

    std::size_t lines = 0;
    std::string line = client.line();
    for (; line.starts_with("{\"text\""); line = client.line()) {
        EXPECT_LE(line.size(), kMaxResponseBytes);
        lines += count_lines(parse_response(line).text);
    }

    EXPECT_EQ(lines, 20'000U);
    EXPECT_EQ(line, "{\"done\":true,\"count\":20000}");
}

TEST(Server, OtherTablesAreEmpty) {
    Daemon daemon;
    daemon.open(kTcp, 0, 3);
    for (const Table table : {Table::Expect, Table::Dying, Table::Unconfirmed}) {
        Request r = request(Command::List);
        r.table = table;
        EXPECT_EQ(ask(daemon.path(), r).count, 0U);
        r.command = Command::Flush;
        EXPECT_EQ(ask(daemon.path(), r).code, table == Table::Expect ? 0 : 2);
    }
    EXPECT_EQ(daemon.table().count(), 3U);
}

Request get_request(std::uint16_t sport) {
    Request r = request(Command::Get);
    r.filter.protocol = kTcp;
    r.filter.orig_src = parse_address_match("198.51.100.1");
    r.filter.orig_dst = parse_address_match("192.0.2.1");
    r.filter.orig_sport = sport;
    r.filter.orig_dport = 80;
    return r;
}

TEST(Server, GetsOneConnectionByItsTuple) {
    Daemon daemon;
    daemon.open(kTcp, 0, 3);

    const Answer found = ask(daemon.path(), get_request(1001));
    const Answer missing = ask(daemon.path(), get_request(999));

    EXPECT_EQ(found.count, 1U);
    EXPECT_THAT(found.text, HasSubstr(" sport=1001 "));
    EXPECT_TRUE(found.text.ends_with(" use=2\n"));
    EXPECT_EQ(missing.error, "such conntrack doesn't exist");
    EXPECT_EQ(missing.code, 1);
}

// As conntrack -G: the tuple must be the original one.
TEST(Server, GetDoesNotShowAConnectionByItsReplyTuple) {
    Daemon daemon;
    daemon.open(kTcp, 0, 1);
    Request r = get_request(0);
    std::swap(r.filter.orig_src, r.filter.orig_dst);
    r.filter.orig_sport = 80;
    r.filter.orig_dport = 1000;

    const Answer answer = ask(daemon.path(), r);

    EXPECT_EQ(answer.count, 0U);
    EXPECT_EQ(answer.error, "");
    EXPECT_EQ(answer.text, "");
}

TEST(Server, DeletesWhatMatchesAndShowsIt) {
    Daemon daemon;
    daemon.open(kTcp, 0, 10);
    daemon.open(kUdp, 0, 5);
    Request r = request(Command::Delete);
    r.filter.protocol = kTcp;

    const Answer answer = ask(daemon.path(), r);

    EXPECT_EQ(answer.count, 10U);
    EXPECT_EQ(count_lines(answer.text), 10U);
    EXPECT_EQ(daemon.table().count(), 5U);
    EXPECT_EQ(ask(daemon.path(), r).count, 0U);
}

TEST(Server, FlushesWithoutShowing) {
    Daemon daemon;
    daemon.open(kTcp, 0, 500);

    const Answer answer = ask(daemon.path(), request(Command::Flush));

    EXPECT_EQ(answer.text, "");
    EXPECT_EQ(answer.count, 500U);
    EXPECT_EQ(daemon.table().count(), 0U);
}

TEST(Server, CountsAndTellsOfItself) {
    Daemon daemon;
    daemon.open(kTcp, 0, 4);

    EXPECT_EQ(ask(daemon.path(), request(Command::Count)).data, R"({"count":4})");
    EXPECT_THAT(ask(daemon.path(), request(Command::Counters)).text,
                StartsWith("cpu=0   \tfound=0 invalid=0 insert=0 "));
    EXPECT_EQ(count_lines(ask(daemon.path(), request(Command::Counters)).text), 2U);
    const auto drops = nlohmann::json::parse(ask(daemon.path(), request(Command::Drops)).data);
    EXPECT_EQ(drops.size(), ct::kDropCount - 1);
    EXPECT_EQ(drops.at("rule_drop"), 42);
    const auto stats = nlohmann::json::parse(ask(daemon.path(), request(Command::Stats)).data);
    EXPECT_EQ(stats.at("conntrack").at("opened"), 4);
    EXPECT_EQ(stats.at("daemon").at("ports").at(0).at("name"), "lan");
}

TEST(Server, TakesAPortOutOfServiceAndPutsItBack) {
    Daemon daemon;
    Request r = request(Command::Port);
    r.name = "wan";
    r.value = 0;
    EXPECT_EQ(ask(daemon.path(), r).data, R"({"ended":3,"port":"wan","up":false})");
    r.value = 1;
    EXPECT_EQ(ask(daemon.path(), r).data, R"({"ended":0,"port":"wan","up":true})");

    r.name = "dmz";
    EXPECT_EQ(ask(daemon.path(), r).error, "there is no port 'dmz'");
    EXPECT_EQ(ask(daemon.path(), r).code, 2);
    r.value = 2;
    EXPECT_EQ(ask(daemon.path(), r).error, "port: value must be 0, down, or 1, up");
    r.value.reset();
    EXPECT_EQ(ask(daemon.path(), r).error, "port: value must be 0, down, or 1, up");
}

TEST(Server, TellsAndChangesTheAddressesOfAPort) {
    constexpr const char* kTwo = R"([{"address":"192.0.2.1/24","port":"wan","primary":true},)"
                                 R"({"address":"192.0.2.2/24","port":"wan","primary":false}])";
    const auto answer = [&](int ended) {
        return fmt::format(R"({{"addresses":{},"ended":{}}})", kTwo, ended);
    };
    Daemon daemon;
    Request r = request(Command::Address);
    EXPECT_EQ(ask(daemon.path(), r).data, answer(0));

    r.name = "wan";
    r.address = "192.0.2.9/27";
    r.value = 1;
    EXPECT_EQ(ask(daemon.path(), r).data, answer(0));
    r.value = 0;
    EXPECT_EQ(ask(daemon.path(), r).data, answer(27)) << "what the hook says";

    r.value = 2;
    EXPECT_EQ(ask(daemon.path(), r).error, "address: value must be 0, del, or 1, add");
    r.value = 1;
    for (const char* wrong : {"192.0.2.9", "192.0.2.9/33", "x", "2001:db8::1/129"}) {
        r.address = wrong;
        EXPECT_EQ(ask(daemon.path(), r).error,
                  fmt::format("'{}' is no address with a prefix length, like 192.0.2.1/24", wrong));
    }
    r.address.clear();
    EXPECT_EQ(ask(daemon.path(), r).error, "address: which port, and which address?");
    r.value.reset();
    r.name = "dmz";
    EXPECT_EQ(ask(daemon.path(), r).error, "there is no port 'dmz'");
    EXPECT_EQ(ask(daemon.path(), r).code, 2);
}

TEST(Server, AnswersRequestsInTheirOrder) {
    Daemon daemon;
    daemon.open(kTcp, 0, 1);
    RawClient client{daemon.path()};

    ASSERT_TRUE(client.send(std::string{kPing} + kList + "nonsense\n" + kPing));

    EXPECT_EQ(client.line(), kPong);
    EXPECT_THAT(client.line(), StartsWith("{\"text\":\"tcp "));
    EXPECT_EQ(client.line(), "{\"done\":true,\"count\":1}");
    EXPECT_EQ(client.line(), R"({"error":"the request is not JSON","code":2})");
    EXPECT_EQ(client.line(), kPong);
}

TEST(Server, TakesARequestByteByByte) {
    Daemon daemon;
    RawClient client{daemon.path()};

    for (const char c : std::string_view{kPing}) ASSERT_TRUE(client.send({&c, 1}));

    EXPECT_EQ(client.line(), kPong);
}

TEST(Server, AnswersAClientThatHasFinishedSpeaking) {
    Daemon daemon;
    RawClient client{daemon.path()};
    ASSERT_TRUE(client.send(std::string{kList} + kPing));
    client.shut_down_sending();

    EXPECT_EQ(client.line(), kPong);
    EXPECT_EQ(client.line(), kPong);
    EXPECT_TRUE(client.hung_up());
}

TEST(Server, SendsAwayWhoSpeaksWithoutEnd) {
    Daemon daemon;
    RawClient client{daemon.path()};

    client.send(std::string(kMaxRequestBytes + 20'000, ' '));

    EXPECT_THAT(client.line(), HasSubstr("longer than 64 KiB"));
    EXPECT_TRUE(client.hung_up());
    EXPECT_EQ(ask(daemon.path(), request(Command::Ping)).error, "");
}

TEST(Server, SurvivesGarbage) {
    Daemon daemon;
    for (const char* garbage : {"\n\n\n\n", "\xff\xfe\n", "{}\n", "[[[[[[\n",
                                "GET / HTTP/1.1\r\n\r\n", "{\"v\":1,\"cmd\":\"get\"}\n"}) {
        RawClient client{daemon.path()};
        ASSERT_TRUE(client.send(garbage));
        EXPECT_THAT(client.line(), HasSubstr("\"code\":2")) << garbage;
        ASSERT_TRUE(client.send(kPing));
        std::string line = client.line();
        while (line.find("error") != std::string::npos) line = client.line();
        EXPECT_EQ(line, kPong) << garbage;
    }
}

TEST(Server, ASlowClientHoldsUpNobody) {
    Daemon daemon{{}, 50'000};
    daemon.open(kTcp, 0, 50'000);
    RawClient slow{daemon.path()};
    ASSERT_TRUE(slow.send(kList));

    for (int i = 0; i < 3; ++i)
        EXPECT_EQ(ask(daemon.path(), request(Command::List)).count, 50'000U);

    // It took nothing so far, and still gets the whole.
    std::size_t lines = 0;
    std::string line = slow.line();
    for (; line.starts_with("{\"text\""); line = slow.line())
        lines += count_lines(parse_response(line).text);
    EXPECT_EQ(lines, 50'000U);
    EXPECT_EQ(line, "{\"done\":true,\"count\":50000}");
}

TEST(Server, ADeadClientHoldsUpNobody) {
    Daemon daemon{{}, 50'000};
    daemon.open(kTcp, 0, 50'000);
    for (int i = 0; i < 50; ++i) {
        RawClient client{daemon.path()};
        ASSERT_TRUE(client.send(kList));
        if (i % 2 == 0) client.line();
    }

    EXPECT_EQ(ask(daemon.path(), request(Command::List)).count, 50'000U);
}

TEST(Server, AClientThatTakesNothingIsSentAway) {
    ServerOptions options;
    options.stall_timeout = 50ms;
    Daemon daemon{options, 50'000};
    daemon.open(kTcp, 0, 50'000);
    RawClient stalled{daemon.path()};
    ASSERT_TRUE(stalled.send(kList));

    std::this_thread::sleep_for(1500ms);

    std::size_t lines = 0;
    std::string line = stalled.line();
    for (; line.starts_with("{\"text\""); line = stalled.line())
        lines += count_lines(parse_response(line).text);
    EXPECT_EQ(line, "") << "no end: the listing was cut short";
    EXPECT_LT(lines, 50'000U);
}

TEST(Server, ASilentClientIsSentAway) {
    ServerOptions options;
    options.idle_timeout = 50ms;
    Daemon daemon{options};
    RawClient silent{daemon.path()};

    EXPECT_TRUE(silent.hung_up());
}

TEST(Server, ServesAsManyClientsAsItMayAndTellsTheNext) {
    ServerOptions options;
    options.max_clients = 8;
    Daemon daemon{options};
    std::vector<std::unique_ptr<RawClient>> clients;
    for (int i = 0; i < 8; ++i) {
        clients.push_back(std::make_unique<RawClient>(daemon.path()));
        ASSERT_TRUE(clients.back()->send(kPing));
        EXPECT_EQ(clients.back()->line(), kPong);
    }

    RawClient ninth{daemon.path()};
    EXPECT_THAT(ninth.line(), HasSubstr("as many clients as it may"));
    EXPECT_TRUE(ninth.hung_up());

    clients.pop_back();
    std::string line;
    for (int i = 0; i < 100 && line != kPong; ++i) {  // until the server has noticed
        RawClient again{daemon.path()};
        again.send(kPing);
        line = again.line();
    }
    EXPECT_EQ(line, kPong);
}

TEST(ServerSocket, IsForItsOwnerOnlyUnlessToldOtherwise) {
    const auto mode = [](ServerOptions options) {
        Daemon daemon{options};
        struct stat st {};
        EXPECT_EQ(::lstat(daemon.path().c_str(), &st), 0);
        EXPECT_TRUE(S_ISSOCK(st.st_mode));
        return st.st_mode & 0777;
    };
    const mode_t old_mask = ::umask(0);

    EXPECT_EQ(mode({}), 0600U);
    ServerOptions group;
    group.mode = 0660;
    EXPECT_EQ(mode(group), 0660U);
    ::umask(old_mask);
}

std::string failure_of(const std::string& path) {
    try {
        const ListeningSocket socket{path, 0600};
    } catch (const std::runtime_error& e) {
        return e.what();
    }
    return {};
}

TEST(ServerSocket, IsNotTakenFromALivingDaemon) {
    Daemon daemon;

    EXPECT_THAT(failure_of(daemon.path()), HasSubstr("another daemon answers there"));
    EXPECT_EQ(ask(daemon.path(), request(Command::Ping)).error, "");
}

TEST(ServerSocket, IsTakenFromADeadDaemon) {
    const TemporaryDirectory directory;
    const std::string path = directory / "s";
    {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        path.copy(address.sun_path, sizeof address.sun_path - 1);
        const FileDescriptor dead{::socket(AF_UNIX, SOCK_STREAM, 0)};
        ASSERT_EQ(::bind(dead.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address),
                  0);
    }
    ASSERT_TRUE(std::filesystem::exists(path));

    EXPECT_EQ(failure_of(path), "");
}

TEST(ServerSocket, DoesNotReplaceAFileThatIsNoSocket) {
    const TemporaryDirectory directory;
    std::ofstream{directory / "s"} << "precious";

    EXPECT_THAT(failure_of(directory / "s"), HasSubstr("not a socket"));
    EXPECT_EQ(std::filesystem::file_size(directory / "s"), 8U);
}

TEST(ServerSocket, SaysWhyAPathIsNotUsable) {
    const TemporaryDirectory directory;

    EXPECT_THAT(failure_of(""), HasSubstr("not usable"));
    EXPECT_THAT(failure_of(directory / std::string(200, 'x').c_str()), HasSubstr("not usable"));
    EXPECT_THAT(failure_of(directory / "missing/s"), HasSubstr("cannot open its directory"));
}

TEST(ServerSocket, GoesAwayWithTheServer) {
    const TemporaryDirectory directory;
    const std::string path = directory / "s";
    {
        const ListeningSocket socket{path, 0600};
        EXPECT_TRUE(std::filesystem::exists(path));
    }
    EXPECT_FALSE(std::filesystem::exists(path));
}

Request creation(const ct::Tuple& original) {
    Request r = request(Command::Create);
    r.entry.original = original;
    r.entry.reply = ct::reply_of(original);
    r.entry.timeout_s = 100;
    return r;
}

TEST(Server, MakesEntries) {
    Daemon daemon;
    Request r = creation(daemon.flow(kTcp, 7));
    r.entry.state = static_cast<std::uint8_t>(ct::TcpState::Established);
    r.entry.status = ct::status::kSeenReply | ct::status::kAssured;
    r.entry.mark = 5;

    EXPECT_EQ(ask(daemon.path(), r).count, 1U);

    EXPECT_EQ(ask(daemon.path(), request(Command::List)).text,
              "tcp      6 100 ESTABLISHED src=198.51.100.1 dst=192.0.2.1 sport=1007 dport=80 "
              "src=192.0.2.1 dst=198.51.100.1 sport=80 dport=1007 [ASSURED] mark=5 use=1\n");
    EXPECT_THAT(ask(daemon.path(), request(Command::Counters)).text, HasSubstr("insert=1 "));
}

TEST(Server, RefusesAnEntryThatIsThereUnlessToldToKeepIt) {
    Daemon daemon;
    daemon.open(kTcp, 0, 1);
    Request r = creation(daemon.flow(kTcp, 0));

    Answer answer = ask(daemon.path(), r);
    EXPECT_EQ(answer.error, "Such conntrack exists, try -U to update");
    EXPECT_EQ(answer.code, 1);

    r.keep_existing = true;
    answer = ask(daemon.path(), r);
    EXPECT_EQ(answer.error, "");
    EXPECT_EQ(answer.count, 0U);
    EXPECT_EQ(daemon.table().count(), 1U);
}

TEST(Server, ChangesWhatTheFilterWants) {
    Daemon daemon;
    daemon.open(kUdp, 0, 3);
    Request r = request(Command::Update);
    r.filter.orig_sport = 1001;
    r.change.timeout_s = 77;
    r.change.mark = 0x12;
    r.change.mark_mask = 0xff;
    r.change.status = ct::status::kSeenReply | ct::status::kAssured;

    Answer answer = ask(daemon.path(), r);
    EXPECT_EQ(answer.count, 1U);
    EXPECT_EQ(answer.text,
              "udp      17 77 src=198.51.100.1 dst=192.0.2.1 sport=1001 dport=80 "
              "src=192.0.2.1 dst=198.51.100.1 sport=80 dport=1001 [ASSURED] mark=18 use=2\n");

    answer = ask(daemon.path(), r);
    EXPECT_EQ(answer.count, 0U) << "it is as wanted already";
}

TEST(Server, SaysWhichEntriesCannotBeChanged) {
    Daemon daemon;
    Request r = creation(daemon.flow(kUdp, 0));
    r.entry.status = ct::status::kFixedTimeout;
    ask(daemon.path(), r);
    Request change = request(Command::Update);
    change.change.timeout_s = 5;

    Answer answer = ask(daemon.path(), change);
    EXPECT_THAT(answer.notes, HasSubstr("is fixed"));
    EXPECT_THAT(answer.text, StartsWith("udp      17 100 "));

    change.change = {};
    change.change.labels = change.change.label_mask = {1, 0};
    EXPECT_THAT(ask(daemon.path(), change).notes, HasSubstr("no room for labels"));
}

TEST(Server, ChangesLabelsAndFindsByThem) {
    Daemon daemon{{}, 1000, false, true};
    daemon.open(kUdp, 0, 3);
    Request r = request(Command::Update);
    r.filter.orig_sport = 1002;
    r.change.labels = r.change.label_mask = {1U << 3, 1};
    r.output.labels = true;

    EXPECT_THAT(ask(daemon.path(), r).text, HasSubstr(" use=2 labels=3,64\n"));

    Request list = request(Command::List);
    list.filter.labels = {1U << 3, 0};
    EXPECT_EQ(ask(daemon.path(), list).count, 1U);
    list.filter.labels = {1U << 3 | 1, 0};
    EXPECT_EQ(ask(daemon.path(), list).count, 0U);
}

TEST(Server, ZeroesTheCountersThatItShows) {
    Daemon daemon{{}, 1000, true};
    daemon.open(kUdp, 0, 2);
    Request r = request(Command::List);
    r.zero = true;

    EXPECT_THAT(ask(daemon.path(), r).text, HasSubstr("dport=80 packets=1 bytes="));
    EXPECT_THAT(ask(daemon.path(), r).text, HasSubstr("dport=80 packets=0 bytes=0 "));
}

TEST(Server, ReadsAndChangesSettingsWhileItRuns) {
    Daemon daemon;
    Request r = request(Command::Sysctl);

    const auto all = nlohmann::json::parse(ask(daemon.path(), r).data);
    EXPECT_EQ(all.at("nf_conntrack_max"), 1000);
    EXPECT_EQ(all.at("nf_conntrack_tcp_timeout_established"), 432'000);

    r.name = "net.netfilter.nf_conntrack_acct";
    r.value = 1;
    EXPECT_EQ(ask(daemon.path(), r).data, R"({"nf_conntrack_acct":1})");
    EXPECT_EQ(daemon.settings_changed(), 1);
    daemon.open(kUdp, 0, 1);
    EXPECT_THAT(ask(daemon.path(), request(Command::List)).text, HasSubstr("packets=1 "));
}

TEST(Server, RefusesSettingsThatCannotBe) {
    Daemon daemon;
    Request r = request(Command::Sysctl);
    const auto refusal = [&](const char* name, std::uint64_t value) {
        r.name = name;
        r.value = value;
        return ask(daemon.path(), r).error;
    };

    EXPECT_THAT(refusal("nf_conntrack_max", 1001), HasSubstr("write 1 to 1000"));
    EXPECT_THAT(refusal("nf_conntrack_buckets", 1), HasSubstr("cannot be set"));
    EXPECT_THAT(refusal("nf_conntrack_count", 1), HasSubstr("cannot be set"));
    EXPECT_THAT(refusal("nf_conntrack_events", 3), HasSubstr("write 0 to 2"));
    EXPECT_THAT(refusal("nf_hooks_lwtunnel", 1), HasSubstr("no lightweight tunnels"));
    EXPECT_THAT(refusal("nonsense", 1), HasSubstr("no setting is called"));
    EXPECT_EQ(daemon.settings_changed(), 0);
}

/// Waits until the daemon's workers record events: a request behind the subscription is answered
/// by another client after it took effect.
void subscribe(Client& client, const std::string& path, const Request& r) {
    client.send(r);
    for (int i = 0; i < 3; ++i) ask(path, request(Command::Ping));
}

/// Lines of `text` that are events, and not shown again after a gap.
std::size_t count_events(const std::string& text) {
    std::size_t again = 0;
    for (std::size_t at = text.find("   [SYNC] "); at != std::string::npos;
         at = text.find("   [SYNC] ", at + 1))
        ++again;
    return count_lines(text) - again;
}

std::string take_lines(Client& client, std::size_t lines, std::uint64_t* gaps = nullptr) {
    std::string out;
    std::uint64_t lost = 0;
    for (int i = 0; i < 200 && count_events(out) + lost < lines; ++i) {
        const auto response = client.receive(50ms);
        if (!response) continue;
        if (response->kind == Response::Kind::Text) out += response->text;
        if (response->kind == Response::Kind::Gap) lost += response->count;
    }
    if (gaps != nullptr) *gaps = lost;
    return out;
}

TEST(ServerEvents, TellWhatHappens) {
    Daemon daemon;
    Client client{daemon.path()};
    subscribe(client, daemon.path(), request(Command::Events));

    daemon.open(kTcp, 0, 1);
    ask(daemon.path(), request(Command::Flush));

    const std::string text = take_lines(client, 2);
    EXPECT_THAT(text, StartsWith("    [NEW] tcp      6 120 SYN_SENT src=198.51.100.1 "));
    EXPECT_THAT(text, HasSubstr("\n[DESTROY] tcp "));
    EXPECT_EQ(text.find("use="), std::string::npos);
}

TEST(ServerEvents, ComeByMaskAndFilter) {
    Daemon daemon;
    Client client{daemon.path()};
    Request r = request(Command::Events);
    r.events = kEventDestroy;
    r.filter.protocol = kUdp;
    subscribe(client, daemon.path(), r);

    daemon.open(kTcp, 0, 5);
    daemon.open(kUdp, 0, 3);
    ask(daemon.path(), request(Command::Flush));

    const std::string text = take_lines(client, 3);
    EXPECT_EQ(count_lines(text), 3U);
    EXPECT_FALSE(client.receive(100ms)) << "no more than these";
    EXPECT_EQ(text.find("[NEW]"), std::string::npos);
    EXPECT_EQ(text.find("tcp "), std::string::npos);
}

TEST(ServerEvents, OfBeforeTheSubscriptionAreNotTold) {
    Daemon daemon;
    {
        Client first{daemon.path()};
        subscribe(first, daemon.path(), request(Command::Events));
        daemon.open(kTcp, 0, 5);
    }
    for (int i = 0; i < 3; ++i) ask(daemon.path(), request(Command::Ping));
    daemon.open(kTcp, 5, 5);
    Client second{daemon.path()};
    subscribe(second, daemon.path(), request(Command::Events));
    daemon.open(kUdp, 0, 1);

    EXPECT_THAT(take_lines(second, 1), StartsWith("    [NEW] udp "));
}

// What the client did not take is lost to it and to nobody else, and it is told how much.
TEST(ServerEvents, ThatAreLostAreCounted) {
    constexpr std::uint32_t kEvents = 20'000;
    Daemon daemon{{}, kEvents};
    Client deaf{daemon.path()};
    Client keen{daemon.path()};
    subscribe(deaf, daemon.path(), request(Command::Events));
    subscribe(keen, daemon.path(), request(Command::Events));

    std::size_t kept = 0;
    for (std::uint32_t i = 0; i < kEvents; i += 2000) {
        daemon.open(kTcp, i, 2000);
        kept += count_lines(take_lines(keen, 2000));
    }
    EXPECT_EQ(kept, kEvents);

    std::uint64_t gaps = 0;
    const std::size_t heard = count_events(take_lines(deaf, kEvents, &gaps));
    EXPECT_GT(gaps, 0U);
    EXPECT_EQ(heard + gaps, kEvents);
}

/// Takes what a subscriber is sent until the listing after a gap has ended.
std::vector<Response> take_until_synced(Client& client) {
    std::vector<Response> out;
    for (int i = 0; i < 400; ++i) {
        auto response = client.receive(50ms);
        if (!response) continue;
        out.push_back(*std::move(response));
        if (out.back().kind == Response::Kind::Synced) return out;
    }
    ADD_FAILURE() << "no listing after the gap";
    return out;
}

// No silent loss: the numbers of events run on without a hole but for those of a gap, and after it
// comes everything that the table holds.
TEST(ServerEvents, AGapIsFollowedByWhatTheTableHolds) {
    constexpr std::uint32_t kEntries = 20'000;
    Daemon daemon{{}, kEntries};
    Client deaf{daemon.path()};
    Client keen{daemon.path()};
    Request json = request(Command::Events);
    json.output.format = Format::Json;
    subscribe(deaf, daemon.path(), json);
    subscribe(keen, daemon.path(), request(Command::Events));
    for (std::uint32_t i = 0; i < kEntries; i += 2000) {
        daemon.open(kTcp, i, 2000);
        static_cast<void>(take_lines(keen, 2000));  // the rings are empty then
    }

    std::uint64_t next = 0;
    std::uint64_t lost = 0;
    std::set<std::uint64_t> shown;
    std::uint64_t said = 0;
    for (const Response& r : take_until_synced(deaf)) {
        if (r.kind == Response::Kind::Gap) {
            EXPECT_EQ(r.first, next);
            lost += r.count;
            next += r.count;
        }
        if (r.kind == Response::Kind::Synced) said = r.count;
        if (r.kind != Response::Kind::Text) continue;
        std::istringstream lines{r.text};
        for (std::string line; std::getline(lines, line);) {
            const auto object = nlohmann::json::parse(line);
            if (object.at("type") == "sync")
                shown.insert(object.at("id").get<std::uint64_t>());
            else
                EXPECT_EQ(object.at("seq"), next++);
        }
    }

    EXPECT_GT(lost, 0U);
    EXPECT_EQ(next, kEntries);
    EXPECT_EQ(shown.size(), kEntries);
    EXPECT_EQ(said, kEntries);
}

TEST(ServerEvents, KeepMoreForWhoAsksForALargerBuffer) {
    constexpr std::uint32_t kEntries = 20'000;
    Daemon daemon{{}, kEntries};
    Client slow{daemon.path()};
    Client keen{daemon.path()};
    Request large = request(Command::Events);
    large.buffer = kMaxEventBuffer;
    subscribe(slow, daemon.path(), large);
    subscribe(keen, daemon.path(), request(Command::Events));
    for (std::uint32_t i = 0; i < kEntries; i += 2000) {
        daemon.open(kTcp, i, 2000);
        static_cast<void>(take_lines(keen, 2000));
    }

    std::uint64_t gaps = 0;
    EXPECT_EQ(count_lines(take_lines(slow, kEntries, &gaps)), kEntries);
    EXPECT_EQ(gaps, 0U);
}

TEST(ServerEvents, NameTheProcessThatAskedForThem) {
    Daemon daemon;
    Client client{daemon.path()};
    subscribe(client, daemon.path(), request(Command::Events));

    ask(daemon.path(), creation(daemon.flow(kUdp, 1)));

    EXPECT_THAT(take_lines(client, 1),
                testing::EndsWith(fmt::format(" mark=0 [USERSPACE] portid={}\n", ::getpid())));
}

TEST(Client, SaysWhatToDoIfThereIsNoDaemon) {
    const TemporaryDirectory directory;
    try {
        const Client client{directory / "nobody"};
        FAIL();
    } catch (const ClientError& e) {
        EXPECT_THAT(e.what(), HasSubstr("is sluice running?"));
    }
}

}  // namespace
}  // namespace dp::test
