// SPDX-License-Identifier: BSD-3-Clause
//
// sluicectl as a program: its grammar, what it prints where, and how it exits. The table of command
// lines was recorded from conntrack(8) 1.4.7.
#include "tests/control/daemon.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <fcntl.h>
#include <fstream>
#include <signal.h>
#include <spawn.h>
#include <sstream>
#include <sys/wait.h>
#include <unistd.h>

extern char** environ;

namespace dp::test {
namespace {

using ct::ipproto::kTcp;
using ct::ipproto::kUdp;
using testing::HasSubstr;
using testing::StartsWith;

std::string contents(const std::string& path) {
    std::ostringstream out;
    out << std::ifstream{path}.rdbuf();
    return out.str();
}

struct Outcome {
    int code = -1;
    std::string out;
    std::string err;
};

/// A running sluicectl.
class Program {
public:
    explicit Program(std::vector<std::string> arguments) {
        const char* path = std::getenv("SLUICECTL");
        arguments.insert(arguments.begin(), path != nullptr ? path : "sluicectl");
        std::vector<char*> argv;
        for (std::string& a : arguments) argv.push_back(a.data());
        argv.push_back(nullptr);
        posix_spawn_file_actions_t actions;
        posix_spawn_file_actions_init(&actions);
        constexpr int kFlags = O_WRONLY | O_CREAT | O_TRUNC;
        posix_spawn_file_actions_addopen(&actions, 1, (directory_ / "out").c_str(), kFlags, 0600);
        posix_spawn_file_actions_addopen(&actions, 2, (directory_ / "err").c_str(), kFlags, 0600);
        if (::posix_spawnp(&pid_, argv[0], &actions, nullptr, argv.data(), environ) != 0) pid_ = -1;
        posix_spawn_file_actions_destroy(&actions);
        EXPECT_GT(pid_, 0) << "cannot run " << argv[0];
    }
    void interrupt() const {
        if (pid_ > 0) ::kill(pid_, SIGINT);
    }
    [[nodiscard]] std::string out_so_far() const { return contents(directory_ / "out"); }
    Outcome wait() {
        int status = 0;
        if (pid_ > 0) ::waitpid(pid_, &status, 0);
        return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, contents(directory_ / "out"),
                contents(directory_ / "err")};
    }

private:
    TemporaryDirectory directory_;
    pid_t pid_ = -1;
};

/// Runs `sluicectl --socket PATH LINE`; the words of `line` are separated by blanks.
Outcome run(const std::string& socket, const std::string& line) {
    std::vector<std::string> arguments{"--socket", socket};
    std::istringstream words{line};
    for (std::string word; words >> word;) arguments.push_back(word == "''" ? "" : word);
    return Program{arguments}.wait();
}

struct GrammarCase {
    const char* line;
    int code;
    const char* err;  ///< stands in stderr
};

// clang-format off
constexpr GrammarCase kGrammar[] = {
    {"-L",                          0, "0 flow entries have been shown."},
    {"--dump",                      0, "0 flow entries have been shown."},
    {"--du",                        0, "0 flow entries have been shown."},
    {"-L conntrack",                0, "0 flow entries have been shown."},
    {"-L expect",                   0, "0 expectations have been shown."},
    {"-L expect -o xml",            0, "0 expectations have been shown."},
    {"-L dying",                    0, "0 flow entries have been shown."},
    {"-L unconfirmed -o xml",       0, "0 flow entries have been shown."},
    {"-L dying -p tcp",             0, "0 flow entries have been shown."},
    {"-L foo",                      2, "unknown type `foo'"},
    {"-C foo",                      2, "unknown type `foo'"},
    {"-C dying",                    2, "Can't do that command with tables `dying' and `unconfirmed'"},
    {"-F dying",                    2, "Can't do that command"},
    {"-E dying",                    2, "Can't do that command"},
    {"-G dying",                    2, "Can't do that command"},
    {"-S extra",                    2, "unknown type `extra'"},
    {"-F",                          0, "connection tracking table has been emptied."},
    {"-F expect",                   0, "expectation table has been emptied."},
    {"-X",                          2, "unknown option `-X'"},
    {"--nope",                      2, "unknown option `--nope'"},
    {"-L -L",                       2, "Invalid commands combination"},
    {"-L -D",                       2, "Invalid commands combination"},
    {"-V -L",                       2, "Invalid commands combination"},
    {"-L -h",                       2, "Invalid commands combination"},
    {"-L --dum",                    2, "Invalid commands combination"},
    {"-D -z",                       2, "Illegal option `--zero' with this command"},
    {"-L -e NEW",                   2, "Illegal option `--event-mask' with this command"},
    {"-L -t 5",                     2, "Illegal option `--timeout' with this command"},
    {"-L -b 5",                     2, "Illegal option `--buffer-size' with this command"},
    {"-L --tuple-src 1.2.3.4",      2, "Illegal option `--tuple-src' with this command"},
    {"-L expect -s 1.2.3.4",        2, "Illegal option `--src' with this command"},
    {"-F -p tcp",                   2, "Illegal option `--protonum' with this command"},
    {"-F -o xml",                   2, "Illegal option `--output' with this command"},
    {"-C -p tcp",                   2, "Illegal option `--protonum' with this command"},
    {"-S -o xml",                   2, "Illegal option `--output' with this command"},
    {"-E -t 5",                     2, "Illegal option `--timeout' with this command"},
    {"-E -u ASSURED",               2, "Illegal option `--status' with this command"},
    {"-E expect -p tcp",            2, "Illegal option `--protonum' with this command"},
    {"-D -j",                       2, "Illegal option `--any-nat' with this command"},
    {"-p tcp",                      2, "Illegal option `--protonum' with this command"},
    {"-o xml",                      2, "Illegal option `--output' with this command"},
    {"-L -s",                       2, "option `-s' requires an argument"},
    {"-L -o",                       2, "option `-o' requires an argument"},
    {"-L -f",                       2, "option `-f' requires an argument"},
    {"-R",                          2, ""},
    {"-L -s foo",                   2, "Invalid IP address `foo'"},
    {"-L -s 1.2.3.4/33",            2, "Invalid netmask"},
    {"-L -s 2001:db8::/129",        2, "Invalid netmask"},
    {"-L -s 1.2.3.4/abc",           2, "Invalid netmask"},
    {"-L -s 1.2.3.4/0",             0, "0 flow entries"},
    {"-L -s 192.168.1.0/24",        0, "0 flow entries"},
    {"-L -s 1.2.3.0 --mask-src 255.255.255.0", 0, "0 flow entries"},
    {"-L --mask-src 255.255.255.0", 2, "Can't use --mask-src without --src"},
    {"-L -s 2001:db8::1 -d 1.2.3.4", 2, "mismatched address family"},
    {"-L -f ipv6 -s 1.2.3.4",       2, "mismatched address family"},
    {"-L -f ipv6",                  0, "0 flow entries"},
    {"-L -f ipv5",                  2, "`ipv5' unsupported protocol"},
    {"-L -f IPv4",                  2, "`IPv4' unsupported protocol"},
    {"-L -p foo",                   2, "`foo' unsupported protocol"},
    {"-L -p 300",                   2, "`300' unsupported protocol"},
    {"-L -p ''",                    2, "`' unsupported protocol"},
    {"-L -p TCP",                   0, "0 flow entries"},
    {"-L -p 6",                     0, "0 flow entries"},
    {"-L -p esp",                   0, "0 flow entries"},
    {"-L -p ipv6-icmp",             0, "0 flow entries"},
    {"-L --dport 53",               2, "unknown option `--dport'"},
    {"-L --dport 53 -p udp",        2, "unknown option `--dport'"},
    {"-L -p udp --dport 53",        0, "0 flow entries"},
    {"-L -p tcp --icmp-type 3",     2, "unknown option `--icmp-type'"},
    {"-L -p icmp --icmp-type 8",    0, "0 flow entries"},
    {"-L -p gre --srckey 0x1",      0, "0 flow entries"},
    {"-L -p tcp --state FOO",       2, "unknown TCP state `FOO'"},
    {"-L -p tcp --state established", 2, "unknown TCP state `established'"},
    {"-L -p tcp --state ESTABLISHED", 0, "0 flow entries"},
    {"-L -p sctp --state ESTABLISHED", 0, "0 flow entries"},
    {"-L -p udp --state ESTABLISHED", 2, "unknown option `--state'"},
    {"-L -m 5",                     0, "0 flow entries"},
    {"-L -m 0x5/0xff",              0, "0 flow entries"},
    {"-L -u ASSURED,SEEN_REPLY",    0, "0 flow entries"},
    {"-L -u assured",               0, "0 flow entries"},
    {"-L -u !ASSURED",              0, "0 flow entries"},
    {"-L -u UNREPLIED",             0, "0 flow entries"},
    {"-L -u FOO",                   2, "Bad parameter `FOO'"},
    {"-L -u DYING",                 2, "Bad parameter `DYING'"},
    {"-L -u UNSET",                 1, "Operation failed: invalid parameters"},
    {"-L -u SRC_NAT",               1, "WARNING: ignoring SRC_NAT, use --src-nat instead"},
    {"-L -u SRC_NAT,ASSURED",       0, "WARNING: ignoring SRC_NAT, use --src-nat instead"},
    {"-L -w 7",                     0, "0 flow entries"},
    {"-L --orig-zone 7",            0, "0 flow entries"},
    {"-L -n",                       0, "0 flow entries"},
    {"-L -n 198.51.100.7",          0, "0 flow entries"},
    {"-L --src-nat=198.51.100.7",   0, "0 flow entries"},
    {"-L -g 198.51.100.7:5353",     0, "0 flow entries"},
    {"-L -n -g",                    0, "0 flow entries"},
    {"-L -j -n",                    2, "cannot specify `--src-nat' or `--dst-nat' with `--any-nat'"},
    {"-L -n foo",                   2, "Invalid IP address `foo'"},
    {"-L -n 198.51.100.0/24",       2, "CIDR notation unavailable for `--src-nat'"},
    {"-L -l foo",                   2, "unknown label 'foo'"},
    {"-L -o foo",                   2, "Bad parameter `foo'"},
    {"-L -o =xml",                  2, "Bad parameter `=xml'"},
    {"-L -o xml,",                  2, "Bad parameter `'"},
    {"-L -o XML",                   0, "0 flow entries"},
    {"-L -o extended,id,timestamp,ktimestamp,labels,userspace", 0, "0 flow entries"},
    {"-L -o save",                  0, "0 flow entries"},
    {"-L -o save,id",               1, "cannot combine save output with any other output type"},
    {"-L -o json",                  0, "0 flow entries"},
    {"-E -e FOO",                   2, "Bad parameter `FOO'"},
    {"-E -e NEW,FOO",               2, "Bad parameter `FOO'"},
    {"-G",                          2, "You need to supply the `--protonum' option for this command"},
    {"-G -p tcp",                   2, "you have to specify `--src' and `--dst'"},
    {"-G -p tcp -s 192.0.2.1 -d 192.0.2.2 --sport 1", 2, "you have to specify `--sport' and `--dport'"},
    {"-G -p tcp -s 192.0.2.1 -d 192.0.2.2 --sport 1 --dport 2", 1, "Operation failed: such conntrack doesn't exist"},
    {"-G -p 99 -s 192.0.2.1 -d 192.0.2.2", 1, "Operation failed: such conntrack doesn't exist"},
    {"-G -p icmp -s 192.0.2.1 -d 192.0.2.2", 2, "You need to supply the `--icmp-type' option"},
    {"-G -p gre -s 192.0.2.1 -d 192.0.2.2", 2, "you have to specify `--srckey' and `--dstkey'"},
    {"-G -p tcp -r 192.0.2.1 -q 192.0.2.2", 1, "Operation failed: invalid parameters"},
    {"-G -p tcp -s 192.0.2.0/24 -d 192.0.2.2 --sport 1 --dport 2", 2, "Illegal option `--mask-src' with this command"},
    {"-G -p tcp -m 5",              2, "Illegal option `--mark' with this command"},
    {"-D",                          1, "0 flow entries have been deleted."},
    {"-D -p udp --dport 53",        1, "0 flow entries have been deleted."},
    {"-D -i 5",                     1, "0 flow entries have been deleted."},
    // Sluice's own, where conntrack(8) takes nonsense for 0 or crashes, or has no such command.
    {"-L -p udp --dport foo",       2, "Bad parameter `foo'"},
    {"-L -p udp --dport 99999",     2, "Bad parameter `99999'"},
    {"-L -m foo",                   2, "Bad parameter `foo'"},
    {"-L -w foo",                   2, "Bad parameter `foo'"},
    {"-L -p sctp --state FOO",      2, "unknown SCTP state `FOO'"},
    {"-L conntrack extra",          2, "unknown command `extra'"},
    {"-L -o xml,json",              2, "cannot combine xml and json output"},
    {"-L -z",                       1, "counters cannot be zeroed"},
    {"-Lo xml",                     2, "unknown type `o'"},
    {"foo",                         2, "unknown command `foo'"},
    {"stats -p tcp",                2, "this command takes no filter"},
    {"ping",                        0, ""},
    {"stats",                       0, ""},
    {"drops",                       0, ""},
};
// clang-format on

TEST(SluicectlGrammar, IsThatOfConntrack) {
    Daemon daemon;
    for (const GrammarCase& c : kGrammar) {
        const Outcome outcome = run(daemon.path(), c.line);
        EXPECT_EQ(outcome.code, c.code) << c.line << "\n" << outcome.err;
        EXPECT_THAT(outcome.err, HasSubstr(c.err)) << c.line;
        if (outcome.code == 2) {
            EXPECT_THAT(outcome.err,
                        HasSubstr("\nTry `sluicectl -h' or 'sluicectl --help' for more"))
                << c.line;
        }
        EXPECT_TRUE(c.code != 2 || outcome.out.empty()) << c.line;
    }
}

TEST(Sluicectl, HelpsAndTellsItsVersionWithoutADaemon) {
    for (const char* line : {"", "-h", "--help"}) {
        const Outcome help = run("/nonexistent", line);
        EXPECT_EQ(help.code, 0);
        EXPECT_THAT(help.out, StartsWith("Usage: sluicectl "));
    }
    const Outcome version = run("/nonexistent", "-V");
    EXPECT_EQ(version.code, 0);
    EXPECT_THAT(version.out, StartsWith("sluicectl v"));
}

TEST(Sluicectl, Exits1WithoutADaemon) {
    const Outcome outcome = run("/nonexistent", "-L");

    EXPECT_EQ(outcome.code, 1);
    EXPECT_THAT(outcome.err, HasSubstr("cannot connect to /nonexistent"));
}

TEST(Sluicectl, ListsToStdoutAndSumsUpOnStderr) {
    Daemon daemon;
    daemon.open(kUdp, 0, 2);

    const Outcome outcome = run(daemon.path(), "-L -p udp -o extended");

    EXPECT_EQ(outcome.code, 0);
    EXPECT_THAT(outcome.out, StartsWith("ipv4     2 udp      17 30 src=198.51.100.1 "));
    EXPECT_EQ(count_lines(outcome.out), 2U);
    EXPECT_EQ(outcome.err, "sluicectl v" + std::string{version()} +
                               " (sluice): 2 flow entries have been shown.\n");
}

TEST(Sluicectl, WrapsXmlOnlyIfThereIsSomething) {
    Daemon daemon;

    EXPECT_EQ(run(daemon.path(), "-L -o xml").out, "");

    daemon.open(kUdp, 0, 1);
    const std::string xml = run(daemon.path(), "-L -o xml").out;

    EXPECT_TRUE(xml.starts_with(kXmlHead));
    EXPECT_TRUE(xml.ends_with(std::string{"</flow>\n"} + std::string{kXmlTail}));
}

TEST(Sluicectl, GetsDeletesAndCounts) {
    Daemon daemon;
    daemon.open(kTcp, 0, 3);
    const std::string tuple = " -p tcp -s 198.51.100.1 -d 192.0.2.1 --sport 1001 --dport 80";

    EXPECT_EQ(run(daemon.path(), "-C").out, "3\n");
    EXPECT_THAT(run(daemon.path(), "-G" + tuple).out, HasSubstr("sport=1001"));
    const Outcome deleted = run(daemon.path(), "-D" + tuple);
    EXPECT_EQ(deleted.code, 0);
    EXPECT_EQ(count_lines(deleted.out), 1U);
    EXPECT_THAT(deleted.err, HasSubstr(": 1 flow entries have been deleted."));
    EXPECT_EQ(run(daemon.path(), "-D" + tuple).code, 1);
    EXPECT_EQ(run(daemon.path(), "-C").out, "2\n");
    EXPECT_EQ(run(daemon.path(), "-C expect").out, "0\n");
}

TEST(Sluicectl, ShowsCountersOfEachWorker) {
    Daemon daemon;

    const Outcome outcome = run(daemon.path(), "-S");

    EXPECT_EQ(outcome.code, 0);
    EXPECT_EQ(count_lines(outcome.out), 2U);
    EXPECT_THAT(outcome.out, HasSubstr("\ncpu=1   \tfound=0 "));
    EXPECT_THAT(run(daemon.path(), "-S expect").out,
                StartsWith("cpu=0   \texpect_new=0 expect_create=0 expect_delete=0 \n"));
}

TEST(Sluicectl, ShowsDropsAndStatsForPeopleAndForPrograms) {
    Daemon daemon;

    const std::string drops = run(daemon.path(), "drops").out;
    EXPECT_THAT(drops, StartsWith("rule_drop "));
    EXPECT_THAT(drops, HasSubstr("total                              42\n"));
    EXPECT_EQ(count_lines(drops), 2U);
    EXPECT_EQ(count_lines(run(daemon.path(), "drops --all").out), ct::kDropCount);
    EXPECT_EQ(nlohmann::json::parse(run(daemon.path(), "drops -o json").out).at("rule_drop"), 42);
    const std::string stats = run(daemon.path(), "stats").out;
    EXPECT_THAT(stats, HasSubstr("daemon.ports\nname  rx\n lan   5\n"));
    EXPECT_TRUE(nlohmann::json::accept(run(daemon.path(), "stats -o json").out));
}

TEST(Sluicectl, ShowsEventsUntilInterrupted) {
    Daemon daemon;
    Program program{{"--socket", daemon.path(), "-E", "-e", "NEW", "-o", "timestamp"}};
    for (int i = 0; i < 200 && program.out_so_far().empty(); ++i) {
        daemon.open(kTcp, static_cast<std::uint32_t>(i), 1);
        std::this_thread::sleep_for(std::chrono::milliseconds{20});
    }
    std::this_thread::sleep_for(std::chrono::milliseconds{50});
    program.interrupt();

    const Outcome outcome = program.wait();

    EXPECT_EQ(outcome.code, 0);
    EXPECT_THAT(outcome.out, StartsWith("[1000.000000]\t    [NEW] tcp "));
    EXPECT_THAT(outcome.err, HasSubstr(fmt::format(": {} flow events have been shown.",
                                                   count_lines(outcome.out))));
}

}  // namespace
}  // namespace dp::test
