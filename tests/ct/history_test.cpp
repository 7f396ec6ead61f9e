// SPDX-License-Identifier: BSD-3-Clause
//
// Many threads do at random what they like to one table, and everything that it answers is written
// down, with what had returned when each call began. Then a plain table, which does one thing after
// the other, must be able to answer the same in some order of the calls (tests/model/history.hpp):
// that is, the table is linearizable. tests/model tries every schedule of two or three calls; this
// is about the real machine and about many.
#include "tests/model/history.hpp"

#include "tests/ct/packets.hpp"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <random>
#include <thread>
#include <vector>

namespace ct::test {
namespace {

using model::Answer;
using model::Call;
using model::Done;
using model::Expected;
using model::Found;
using model::Op;
using model::ThreadHistory;

constexpr std::size_t kThreads = 6;  // more than most cores that tests run on
constexpr std::uint32_t kUdpTimeout = 30;
constexpr Nanos kNow = 1000 * kNanosPerSecond;
constexpr std::uint32_t kOutside = 0xcb007101;  // 203.0.113.1

std::uint32_t rounds() {
    const char* set = std::getenv("SLUICE_STRESS_ROUNDS");
    return set == nullptr ? 400
                          : static_cast<std::uint32_t>(std::strtoul(set, nullptr, 10)) / 64 + 1;
}

Tuple udp(std::uint16_t port) {
    return tuple4(ipproto::kUdp, kClient, port, kServer, 53);
}
Op op_of(Call call, const Tuple& t, Nanos at = kNow) {
    Op op;
    op.call = call;
    op.tuple = t;
    op.reply = reply_of(t);
    op.at = at;
    op.timeout_s = kUdpTimeout;
    return op;
}
/// Flow `n` of eight: the odd ones are mapped, two to one external port.
Op open_flow(std::uint16_t n, Nanos at = kNow) {
    Op op = op_of(Call::Open, udp(n), at);
    if (n % 2 == 0) return op;
    op.reply.dst = v4(kOutside);
    op.reply.dport = Be16::from_host(static_cast<std::uint16_t>(1024 + n / 4));
    return op;
}

/// Lets others run in the middle of a call now and then, as a clock interrupt would.
void stumble(std::mt19937& random) {
    if (random() % 4 == 0) std::this_thread::yield();
}

Answer open(Conntrack& table, WorkerId w, const Op& op, std::mt19937& random) {
    Packet p = packet(op.tuple);
    const std::span<Packet> one{&p, 1};
    table.lookup(w, one, op.at);
    stumble(random);
    table.update(w, one, op.at);
    if (p.conn.valid()) return {Answer::What::Conn, p.conn};
    stumble(random);
    const Conntrack::Opening opening = table.open(w, p, op.at);
    if (opening == Conntrack::Opening::Found) return {Answer::What::Conn, p.conn};
    if (opening != Conntrack::Opening::Opened) return {Answer::What::Refused, {}};
    stumble(random);
    p.reply = op.reply;
    switch (table.confirm(w, p, op.at)) {
        case Conntrack::Confirmation::Linked:
            return {Answer::What::Linked, p.conn};
        case Conntrack::Confirmation::Joined:
            return {Answer::What::Conn, p.conn};
        case Conntrack::Confirmation::ReplyTaken:
            table.abandon(w, p, op.at);
            return {Answer::What::ReplyTaken, {}};
        case Conntrack::Confirmation::Refused:
            break;
    }
    return {Answer::What::Refused, {}};
}

Answer call(Conntrack& table, WorkerId w, const Op& op, std::mt19937& random) {
    if (op.call == Call::Open) return open(table, w, op, random);
    if (op.call == Call::Erase)
        return {table.erase(op.target, op.at) ? Answer::What::Conn : Answer::What::None, {}};
    if (op.call == Call::Expire) {
        table.expire(w, op.at);
        return {};
    }
    Packet p = packet(op.tuple);
    const std::span<Packet> one{&p, 1};
    table.lookup(w, one, op.at);
    stumble(random);
    if (op.call == Call::Send) table.update(w, one, op.at);
    if (!p.conn.valid()) return {};
    return {Answer::What::Conn, p.conn};
}

/// What one thread did, in the order in which it did so.
struct Recorder {
    std::vector<Op> ops;
    std::vector<Done> done;
    std::vector<std::uint64_t> began;
    std::vector<std::uint64_t> ended;
};

/// What a history must hold for the test to have been one.
struct Tally {
    std::size_t linked = 0, found = 0, taken = 0, refused = 0, erased = 0, overlapping = 0;
};

class Rounds {
public:
    /// `calls`: of a thread in a round. If the table may be `full`, each newcomer may have evicted
    /// anybody, and there are many more orders to try.
    Rounds(const Settings& s, std::size_t calls, bool full)
        : table_{s, kThreads, 1}, calls_{calls}, full_{full} {}

    void run(std::uint32_t count) {
        std::atomic<std::uint32_t> arrived{0};
        std::atomic<std::uint32_t> round{0};
        std::vector<std::jthread> threads;
        for (std::size_t t = 0; t < kThreads; ++t)
            threads.emplace_back([&, t] {
                std::mt19937 random{static_cast<std::uint32_t>(t + 1)};
                for (std::uint32_t r = 1; r <= count; ++r) {
                    while (round.load() < r) std::this_thread::yield();
                    act(t, random);
                    arrived.fetch_add(1);
                }
            });
        for (std::uint32_t r = 1; r <= count; ++r) {
            prepare();
            round.store(r);
            while (arrived.load() < r * kThreads) std::this_thread::yield();
            if (!testing::Test::HasFailure()) check(r);
        }
    }
    [[nodiscard]] const Tally& tally() const noexcept { return tally_; }

private:
    /// An assured flow, which nothing but Erase may end, some that have expired and one that will.
    void prepare() {
        now_ += 100 * kNanosPerSecond;  // so that each turn sweeps
        table_.flush(now_);
        first_.clear();
        std::mt19937 random{7};
        for (const std::uint16_t n : {std::uint16_t{4}, std::uint16_t{5}})
            note(open_flow(n, now_ - 40 * kNanosPerSecond));
        note(open_flow(0, now_));
        const Tuple t = tuple4(ipproto::kTcp, kClient, 9, kServer, 80);
        for (Packet p : {syn(t), syn_ack(t), ack(t)}) ASSERT_TRUE(track(table_, 0, p, now_));
        const auto found = table_.find(t, now_);
        ASSERT_TRUE(found.has_value());
        first_.push_back({.conn = found->handle,
                          .original = t,
                          .reply = reply_of(t),
                          .deadline = now_ + 432'000 * kNanosPerSecond,
                          .assured = true,
                          .packets = 3});
        for (Recorder& r : recorders_) r = {};
        ticket_ = 1;
    }
    void note(const Op& op) {
        std::mt19937 random{7};
        const Answer a = open(table_, 0, op, random);
        ASSERT_EQ(a.what, Answer::What::Linked);
        first_.push_back({.conn = a.conn,
                          .original = op.tuple,
                          .reply = op.reply,
                          .deadline = op.at + kUdpTimeout * kNanosPerSecond,
                          .assured = false,
                          .packets = 1});
    }

    void record(std::size_t t, const Op& op, std::mt19937& random) {
        Recorder& r = recorders_[t];
        r.ops.push_back(op);
        r.began.push_back(ticket_.fetch_add(1));
        r.done.push_back({call(table_, static_cast<WorkerId>(t), op, random), {}});
        r.ended.push_back(ticket_.fetch_add(1));
    }
    void act(std::size_t t, std::mt19937& random) {
        while (recorders_[t].ops.size() < calls_) {
            const auto n = static_cast<std::uint16_t>(random() % 8);
            const Op opening = open_flow(n, now_);
            const Tuple& either = random() % 2 == 0 ? opening.tuple : opening.reply;
            switch (random() % 8) {
                case 0:
                case 1:
                case 2:
                    record(t, opening_op(opening), random);
                    break;
                case 3:
                    record(t, op_of(Call::Send, either, now_), random);
                    break;
                case 4:
                    record(t, op_of(Call::Expire, either, now_), random);
                    break;
                case 5:
                    record(t, op_of(Call::Look, either, now_), random);
                    if (const Answer& a = recorders_[t].done.back().answer; a.conn.valid()) {
                        Op erase = op_of(Call::Erase, either, now_);
                        erase.target = a.conn;
                        record(t, erase, random);
                    }
                    break;
                default:
                    record(t, op_of(Call::Look, either, now_), random);
            }
        }
    }
    [[nodiscard]] Op opening_op(Op op) const {
        op.evicts = op.may_refuse = full_;
        return op;
    }

    void check(std::uint32_t r) {
        ASSERT_EQ(table_.check_invariants(), "") << "round " << r;
        std::vector<ThreadHistory> threads;
        for (Recorder& mine : recorders_) {
            for (std::size_t k = 0; k < mine.ops.size(); ++k) {
                for (std::size_t u = 0; u < kThreads; ++u) {
                    const auto& ended = recorders_[u].ended;
                    const auto returned =
                        std::lower_bound(ended.begin(), ended.end(), mine.began[k]);
                    mine.done[k].before[u] = static_cast<std::uint8_t>(returned - ended.begin());
                }
                count(mine.ops[k], mine.done[k].answer);
                tally_.overlapping += mine.ended[k] - mine.began[k] > 1 ? 1 : 0;
            }
            threads.push_back({mine.ops, mine.done});
        }
        std::vector<Found> found;
        Snapshot s;
        for (std::uint32_t i = 0; i < table_.indices(); ++i)
            if (table_.snapshot(i, now_, s))
                found.push_back({s.handle, (s.status & status::kAssured) != 0,
                                 static_cast<std::uint32_t>(s.packets[0] + s.packets[1])});
        EXPECT_EQ(model::explain(threads, first_, found, now_), "") << "round " << r;
    }
    void count(const Op& op, const Answer& a) {
        tally_.linked += a.what == Answer::What::Linked ? 1 : 0;
        tally_.taken += a.what == Answer::What::ReplyTaken ? 1 : 0;
        tally_.refused += a.what == Answer::What::Refused ? 1 : 0;
        const bool conn = a.what == Answer::What::Conn;
        tally_.erased += conn && op.call == Call::Erase ? 1 : 0;
        tally_.found += conn && op.call != Call::Erase ? 1 : 0;
    }

    Conntrack table_;
    Nanos now_ = kNow;
    std::size_t calls_;
    bool full_;
    std::vector<Expected> first_;
    std::array<Recorder, kThreads> recorders_;
    std::atomic<std::uint64_t> ticket_{1};
    Tally tally_;
};

Settings table_of(std::uint32_t max) {
    Settings s;
    s.max = max;
    s.embryonic_percent = 100;
    s.acct = true;
    s.timeouts.udp_stream = kUdpTimeout;
    return s;
}

TEST(History, OfManyThreadsIsThatOfSomeOrderOfTheirCalls) {
    Rounds rounds_of{table_of(64), 24, false};
    rounds_of.run(rounds());

    const Tally& t = rounds_of.tally();
    EXPECT_EQ(t.refused, 0U);
    for (const std::size_t some : {t.linked, t.found, t.taken, t.erased, t.overlapping})
        EXPECT_GT(some, rounds());
}

TEST(History, OfManyThreadsOnAFullTableIsThatOfSomeOrderOfTheirCalls) {
    // Fewer: to try every order costs most of the time.
    const std::uint32_t count = rounds() / 4 + 1;
    Rounds rounds_of{table_of(5), 6, true};
    rounds_of.run(count);

    const Tally& t = rounds_of.tally();
    for (const std::size_t some : {t.linked, t.found, t.taken, t.erased, t.overlapping})
        EXPECT_GT(some, count);
    // Refusals are for want of anybody who may go, and so the exception.
    EXPECT_LT(t.refused, t.linked / 10);
}

// ---- The judge itself.

class Judge : public testing::Test {
protected:
    using What = Answer::What;

    /// Says that thread `t` did `op`, after `mine` and `other` calls of the two threads.
    void say(std::size_t t, const Op& op, const Answer& a, std::uint8_t other = 0) {
        Done d{a, {}};
        d.before[t] = static_cast<std::uint8_t>(ops_[t].size());
        d.before[1 - t] = other;
        ops_[t].push_back(op);
        done_[t].push_back(d);
    }
    [[nodiscard]] bool believes(const std::vector<Found>& found) const {
        const std::array<ThreadHistory, 2> threads{ThreadHistory{ops_[0], done_[0]},
                                                   ThreadHistory{ops_[1], done_[1]}};
        return model::explain(threads, first_, found, kNow).empty();
    }

    const ConnHandle a_{0, 0};
    const ConnHandle b_{1, 0};
    std::array<std::vector<Op>, 2> ops_;
    std::array<std::vector<Done>, 2> done_;
    std::vector<Expected> first_;
};

TEST_F(Judge, BelievesThatASecondPacketJoinsTheFirst) {
    say(0, open_flow(0), {What::Linked, a_});
    say(1, open_flow(0), {What::Conn, a_});
    EXPECT_TRUE(believes({{a_, false, 2}}));
    EXPECT_FALSE(believes({{a_, false, 1}}));
    EXPECT_FALSE(believes({}));
}

TEST_F(Judge, DoesNotBelieveThatAFlowIsOpenedTwice) {
    say(0, open_flow(0), {What::Linked, a_});
    say(1, open_flow(0), {What::Linked, b_});
    EXPECT_FALSE(believes({{a_, false, 1}, {b_, false, 1}}));
}

TEST_F(Judge, DoesNotBelieveThatTwoFlowsHaveOneMapping) {
    say(0, open_flow(1), {What::Linked, a_});
    say(1, open_flow(3), {What::Linked, b_});
    EXPECT_FALSE(believes({{a_, false, 1}, {b_, false, 1}}));
}

TEST_F(Judge, BelievesThatAReaderMissesWhatBeginsMeanwhileAndNotWhatHadBegun) {
    say(0, open_flow(0), {What::Linked, a_});
    say(1, op_of(Call::Look, udp(0)), {});
    EXPECT_TRUE(believes({{a_, false, 1}}));

    say(1, op_of(Call::Look, udp(0)), {}, 1);
    EXPECT_FALSE(believes({{a_, false, 1}}));
}

TEST_F(Judge, DoesNotBelieveThatWhatWasSeenGoesByItself) {
    say(0, open_flow(0), {What::Linked, a_});
    say(1, op_of(Call::Look, udp(0)), {What::Conn, a_});
    say(1, op_of(Call::Look, udp(0)), {});
    EXPECT_FALSE(believes({{a_, false, 1}}));
    EXPECT_FALSE(believes({}));
}

TEST_F(Judge, LetsANewcomerEvictWhoIsNotAssured) {
    first_ = {{a_, udp(0), reply_of(udp(0)), kNow + kNanosPerSecond, false, 1}};
    Op evicts = open_flow(2);
    evicts.evicts = true;
    say(0, evicts, {What::Linked, b_});
    EXPECT_TRUE(believes({{b_, false, 1}}));

    first_[0].assured = true;
    EXPECT_FALSE(believes({{b_, false, 1}}));
}

}  // namespace
}  // namespace ct::test
