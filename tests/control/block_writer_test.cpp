// SPDX-License-Identifier: BSD-3-Clause
//
// The log of port blocks where it is written: no record is lost to a full disk, a moved file or a
// collector that comes and goes.
#include "dataplane/control/block_logger.hpp"

#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <netinet/in.h>
#include <string>
#include <sys/socket.h>
#include <sys/un.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace dp {
namespace {

namespace fs = std::filesystem;
using Clock = BlockWriter::Clock;

/// A folder that is gone afterwards.
class Folder {
public:
    Folder() {
        std::string name = (fs::temp_directory_path() / "sluice-blocks-XXXXXX").string();
        path_ = ::mkdtemp(name.data());
    }
    ~Folder() { fs::remove_all(path_); }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    [[nodiscard]] std::string operator/(const std::string& name) const {
        return (path_ / name).string();
    }

private:
    fs::path path_;
};

/// Receives datagrams, at a UNIX path or a UDP port of 127.0.0.1.
class Collector {
public:
    explicit Collector(const std::string& path) : fd_{::socket(AF_UNIX, SOCK_DGRAM, 0)} {
        sockaddr_un at{};
        at.sun_family = AF_UNIX;
        path.copy(at.sun_path, sizeof at.sun_path - 1);
        EXPECT_EQ(::bind(fd_, reinterpret_cast<sockaddr*>(&at), sizeof at), 0);
    }
    explicit Collector(std::uint16_t port) : fd_{::socket(AF_INET, SOCK_DGRAM, 0)} {
        sockaddr_in at{};
        at.sin_family = AF_INET;
        at.sin_port = htons(port);
        at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        EXPECT_EQ(::bind(fd_, reinterpret_cast<sockaddr*>(&at), sizeof at), 0);
        socklen_t size = sizeof at;
        EXPECT_EQ(::getsockname(fd_, reinterpret_cast<sockaddr*>(&at), &size), 0);
        port_ = ntohs(at.sin_port);
    }
    ~Collector() { ::close(fd_); }
    Collector(const Collector&) = delete;
    Collector& operator=(const Collector&) = delete;

    [[nodiscard]] std::uint16_t port() const { return port_; }
    /// What has come.
    std::vector<BlockRecord> take() {
        std::vector<BlockRecord> out;
        std::array<char, 2048> buffer{};
        for (;;) {
            const ssize_t n = ::recv(fd_, buffer.data(), buffer.size(), MSG_DONTWAIT);
            if (n < 0) return out;
            const auto r = parse_block_record({buffer.data(), static_cast<std::size_t>(n)});
            EXPECT_TRUE(r) << std::string(buffer.data(), static_cast<std::size_t>(n));
            if (r) out.push_back(*r);
        }
    }

private:
    int fd_;
    std::uint16_t port_ = 0;
};

BlockRecord record(std::uint16_t n) {
    BlockRecord r;
    r.kind = BlockRecord::Kind::Assigned;
    r.time = 1'795'702'801'000'000'000;
    r.rule = "subscribers";
    r.inside = {ct::Addr::v4(ct::Be32::from_host(0x6440'0000U + n)), 32, ct::Family::Ipv4};
    r.outside_family = ct::Family::Ipv4;
    r.outside = ct::Addr::v4(ct::Be32::from_host(0xc000'0201U));
    r.ports = {n, n};
    return r;
}

std::vector<std::uint64_t> numbers_of(const std::vector<BlockRecord>& records) {
    std::vector<std::uint64_t> out;
    for (const BlockRecord& r : records) out.push_back(r.number);
    return out;
}

std::vector<std::uint64_t> numbers_in(const std::string& file) {
    std::vector<std::uint64_t> out;
    std::ifstream in{file};
    for (std::string line; std::getline(in, line);) {
        const auto r = parse_block_record(line);
        EXPECT_TRUE(r) << line;
        if (r) out.push_back(r->number);
    }
    return out;
}

/// A writer, its time, and what it told the daemon's log.
struct Bench {
    explicit Bench(BlockLogConfig config)
        : writer{config, [this](std::string_view m) { notices.emplace_back(m); }} {}

    void add(int count) {
        for (int i = 0; i < count; ++i) writer.add(record(static_cast<std::uint16_t>(++added)));
    }
    void turn() { writer.turn(now += std::chrono::seconds{1}); }

    std::vector<std::string> notices;
    Clock::time_point now = Clock::now();
    int added = 0;
    BlockWriter writer;
};

using Numbers = std::vector<std::uint64_t>;

TEST(BlockWriter, AppendsToAFileInEitherForm) {
    for (const BlockLogFormat format : {BlockLogFormat::Json, BlockLogFormat::Syslog}) {
        const Folder folder;
        const std::string file = folder / "blocks.log";
        Bench b{{.file = file, .format = format, .syslog = {}}};

        b.add(3);
        EXPECT_FALSE(b.writer.ready());
        b.turn();

        EXPECT_TRUE(b.writer.ready());
        EXPECT_EQ(numbers_in(file), (Numbers{1, 2, 3}));
        EXPECT_EQ(b.writer.totals()[0].written, 3U);
        EXPECT_EQ(fs::status(file).permissions() & fs::perms::others_all, fs::perms::none);
    }
}

TEST(BlockWriter, FollowsAFileThatWasRotated) {
    const Folder folder;
    const std::string file = folder / "blocks.log";
    Bench b{{.file = file, .syslog = {}}};
    b.add(2);
    b.turn();

    fs::rename(file, folder / "blocks.log.1");
    b.add(1);
    b.turn();

    EXPECT_EQ(numbers_in(folder / "blocks.log.1"), (Numbers{1, 2}));
    EXPECT_EQ(numbers_in(file), (Numbers{3}));
}

TEST(BlockWriter, AFullDiskHoldsRecordsUpAndLosesNone) {
    const Folder folder;
    const std::string file = folder / "blocks.log";
    fs::create_symlink("/dev/full", file);
    Bench b{{.file = file, .syslog = {}}};

    b.add(2);
    for (int i = 0; i < 3; ++i) b.turn();
    EXPECT_FALSE(b.writer.ready());
    EXPECT_EQ(b.writer.totals()[0].failures, 3U);
    EXPECT_EQ(b.writer.totals()[0].error, "No space left on device");
    ASSERT_EQ(b.notices.size(), 1U);
    EXPECT_EQ(b.notices[0], "nat_log: " + file +
                                ": No space left on device; when the queues are full no block is "
                                "given out until it works again");

    fs::remove(file);
    b.turn();
    EXPECT_TRUE(b.writer.ready());
    EXPECT_EQ(numbers_in(file), (Numbers{1, 2}));
    EXPECT_EQ(b.writer.totals()[0].lost, 0U);
    ASSERT_EQ(b.notices.size(), 2U);
    EXPECT_EQ(b.notices[1], "nat_log: " + file + " takes records again");
}

TEST(BlockWriter, WithContinueAFullDiskLosesRecordsAndCountsThem) {
    const Folder folder;
    const std::string file = folder / "blocks.log";
    fs::create_symlink("/dev/full", file);
    Bench b{{.file = file, .syslog = {}, .keep_going = true}};

    b.add(2);
    b.turn();
    EXPECT_TRUE(b.writer.ready());
    EXPECT_EQ(b.writer.totals()[0].lost, 2U);

    fs::remove(file);
    b.add(1);
    b.turn();
    EXPECT_EQ(numbers_in(file), (Numbers{3}));
}

TEST(BlockWriter, AFileThatCannotBeOpenedIsAFailureToo) {
    const Folder folder;
    Bench b{{.file = folder / "no/such/folder", .syslog = {}}};
    b.add(1);
    b.turn();

    EXPECT_EQ(b.writer.totals()[0].error, "No such file or directory");
    b.writer.give_up();
    EXPECT_EQ(b.writer.totals()[0].lost, 1U);
    EXPECT_TRUE(b.writer.ready());
}

TEST(BlockWriter, SendsToAUnixSocketThatComesAndGoes) {
    const Folder folder;
    const std::string path = folder / "log.sock";
    Bench b{{.file = {}, .syslog = "unix:" + path}};
    b.add(1);
    b.turn();
    EXPECT_EQ(b.writer.totals()[0].error, "No such file or directory");
    {
        Collector first{path};
        b.turn();
        EXPECT_EQ(numbers_of(first.take()), (Numbers{1}));
    }
    b.add(2);
    b.turn();
    EXPECT_FALSE(b.writer.ready());
    fs::remove(path);
    Collector second{path};
    b.turn();

    EXPECT_EQ(numbers_of(second.take()), (Numbers{2, 3}));
    EXPECT_EQ(b.writer.totals()[0].written, 3U);
    EXPECT_EQ(b.writer.totals()[0].lost, 0U);
}

TEST(BlockWriter, WaitsForACollectorThatIsBehind) {
    const Folder folder;
    const std::string path = folder / "log.sock";
    Collector collector{path};
    Bench b{{.file = {}, .syslog = "unix:" + path}};

    b.add(5000);
    Numbers got;
    for (int i = 0; i < 5000 && got.size() < 5000; ++i) {
        b.turn();
        for (const std::uint64_t n : numbers_of(collector.take())) got.push_back(n);
    }

    ASSERT_EQ(got.size(), 5000U);
    for (std::uint64_t n = 1; n <= 5000; ++n) EXPECT_EQ(got[n - 1], n);
    EXPECT_EQ(b.writer.totals()[0].failures, 0U);
}

// The answer "port unreachable" to one datagram comes with the next.
TEST(BlockWriter, SendsAgainWhatFoundNoUdpCollector) {
    std::uint16_t port = 0;
    {
        const Collector taken{std::uint16_t{0}};
        port = taken.port();
    }
    Bench b{{.file = {}, .syslog = "udp:127.0.0.1:" + std::to_string(port)}};
    b.add(3);
    for (int i = 0; i < 4; ++i) b.turn();
    EXPECT_GT(b.writer.totals()[0].failures, 0U);
    EXPECT_EQ(b.writer.totals()[0].error, "Connection refused");

    Collector collector{port};
    for (int i = 0; i < 4 && !b.writer.ready(); ++i) b.turn();

    EXPECT_TRUE(b.writer.ready());
    EXPECT_EQ(numbers_of(collector.take()), (Numbers{1, 2, 3}));
}

TEST(BlockWriter, OneDestinationThatFailsHoldsBothUp) {
    const Folder folder;
    Bench b{{.file = folder / "blocks.log", .syslog = "unix:" + (folder / "log.sock")}};
    b.add(1);
    b.turn();
    EXPECT_FALSE(b.writer.ready());
    EXPECT_EQ(numbers_in(folder / "blocks.log"), (Numbers{1}));

    Collector collector{folder / "log.sock"};
    b.turn();
    EXPECT_TRUE(b.writer.ready());
    EXPECT_EQ(numbers_of(collector.take()), (Numbers{1}));
    EXPECT_EQ(numbers_in(folder / "blocks.log"), (Numbers{1}));
}

/// A configuration with one carrier rule and its log in `file`.
Config logged_to(const std::string& file) {
    Config config;
    config.carriers.emplace_back().name = "subscribers";
    config.nat_log.file = file;
    return config;
}

nat::BlockEvent event(std::uint16_t port, ct::Nanos when, std::uint16_t zone = 0) {
    nat::BlockEvent e;
    e.when = when;
    e.zone = zone;
    e.inside = record(port).inside;
    e.outside_family = ct::Family::Ipv4;
    e.outside = record(port).outside;
    e.ports = {port, port};
    return e;
}

// Workers that wait where the ring is full, as blocks do, lose nothing.
TEST(BlockLogger, BringsEveryRecordOfEveryWorkerToTheFile) {
    constexpr ct::WorkerId kWorkers = 3;
    constexpr std::uint16_t kEach = 20'000;
    const Folder folder;
    const Config config = logged_to(folder / "blocks.log");
    nat::BlockLog log{kWorkers, 64};
    {
        BlockLogger logger{config,
                           log,
                           {.now = [] { return ct::Nanos{5}; },
                            .wall_offset_ns = [] { return std::int64_t{1'000'000'000}; },
                            .notify = {}}};
        std::vector<std::thread> workers;
        for (ct::WorkerId w = 0; w < kWorkers; ++w)
            workers.emplace_back([&log, w] {
                for (std::uint16_t n = 1; n <= kEach; ++n)
                    while (!log.push(w, event(n, n, static_cast<std::uint16_t>(w))))
                        std::this_thread::yield();
            });
        for (std::thread& t : workers) t.join();
        const nat::BlockEvent last = event(7, 9);
        logger.finish({&last, 1});
        EXPECT_NE(logger.json().find("\"written\":60002,\"failures\":0,\"lost\":0"),
                  std::string::npos)
            << logger.json();
    }

    std::ifstream in{folder / "blocks.log"};
    std::array<std::uint16_t, kWorkers> last_of{};
    std::uint64_t number = 0;
    BlockRecord r;
    for (std::string line; std::getline(in, line);) {
        r = parse_block_record(line).value();
        EXPECT_EQ(r.number, ++number);
        if (r.kind == BlockRecord::Kind::Started || number == 60'002) continue;
        EXPECT_EQ(r.rule, "subscribers");
        EXPECT_EQ(r.ports.first, ++last_of.at(r.zone));
    }
    EXPECT_EQ(number, 60'002U);
    EXPECT_EQ(r.ports.first, 7);
}

TEST(BlockLogger, SaysHowManyRecordsAreLostAtTheEnd) {
    const Folder folder;
    const Config config = logged_to(folder / "no/such/folder");
    nat::BlockLog log{1, 64};
    std::vector<std::string> notices;
    BlockLogger logger{config,
                       log,
                       {.now = [] { return ct::Nanos{5}; },
                        .wall_offset_ns = [] { return std::int64_t{0}; },
                        .notify = [&](std::string_view m) { notices.emplace_back(m); }}};
    ASSERT_TRUE(log.push(0, event(1, 1)));
    logger.finish({}, std::chrono::milliseconds{50});

    ASSERT_EQ(notices.size(), 2U);
    EXPECT_EQ(notices[1],
              "nat_log: " + config.nat_log.file + " has not taken 2 records, which are lost");
}

TEST(SyslogTarget, IsReadInEveryForm) {
    EXPECT_EQ(parse_syslog_target("udp:192.0.2.9")->port, 514);
    EXPECT_EQ(parse_syslog_target("udp:192.0.2.9:5514")->port, 5514);
    EXPECT_EQ(parse_syslog_target("udp:2001:db8::9")->family, ct::Family::Ipv6);
    EXPECT_EQ(parse_syslog_target("udp:[2001:db8::9]:5514")->port, 5514);
    EXPECT_EQ(parse_syslog_target("unix:/dev/log")->path, "/dev/log");
    for (const std::string_view text :
         {"", "udp:", "unix:", "tcp:192.0.2.9", "udp:192.0.2.9:", "udp:192.0.2.9:0",
          "udp:192.0.2.9:65536", "udp:[2001:db8::9]", "udp:[2001:db8::9]:", "udp:collector",
          "192.0.2.9"})
        EXPECT_FALSE(parse_syslog_target(text)) << text;
    EXPECT_FALSE(parse_syslog_target("unix:/" + std::string(200, 'x')));
}

}  // namespace
}  // namespace dp
