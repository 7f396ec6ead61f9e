// SPDX-License-Identifier: BSD-3-Clause
//
// The explorer itself against what is known: the litmus tests of the x86-TSO model (Sewell et al.,
// 2010), a counter that loses updates, a deadlock, and spin loops that end.
#include "tests/model/litmus.hpp"

#include "ct/base/atomic.hpp"
#include "tests/model/arena.hpp"
#include "tests/model/explorer.hpp"

#include <fmt/format.h>

#include <array>
#include <functional>
#include <set>
#include <string>

namespace model {

namespace {

/// What the threads of a litmus test share; in the arena.
struct Cells {
    std::array<ct::Atomic<std::uint32_t>, 2> x{};
    std::array<std::uint32_t, 4> seen{};
};

using Body = std::function<void(Cells&)>;
using Outcomes = std::set<std::uint32_t>;

struct Explored {
    Outcomes outcomes;
    Report report;
};

/// Runs the bodies in every order; an outcome is made of the last state by `outcome_of`.
Explored outcomes_of(const std::vector<Body>& bodies, Memory memory,
                     const std::function<std::uint32_t(const Cells&)>& outcome_of) {
    constexpr std::uint64_t kPlenty = 100'000;
    Cells* cells = nullptr;
    Explored out;
    const Program program{.threads = bodies.size(),
                          .setup =
                              [&] {
                                  clear_arena();
                                  const UseArena arena;
                                  cells = new Cells;
                              },
                          .run =
                              [&](std::size_t t) {
                                  bodies[t](*cells);
                                  drain();
                              },
                          .check_state = [] { return std::string{}; },
                          .check_end =
                              [&] {
                                  out.outcomes.insert(outcome_of(*cells));
                                  return std::string{};
                              },
                          .name_of = [](const void*) { return std::string{"cell"}; }};
    out.report = explore(program, memory, kPlenty);
    return out;
}

constexpr auto kRelease = std::memory_order_release;
constexpr auto kAcquire = std::memory_order_acquire;

std::uint32_t both_seen(const Cells& c) {
    return c.seen[0] * 10 + c.seen[1];
}

class Litmus {
public:
    void expect(const char* name, const std::vector<Body>& bodies, Memory memory,
                const Outcomes& wanted,
                const std::function<std::uint32_t(const Cells&)>& outcome_of = both_seen) {
        const Explored e = outcomes_of(bodies, memory, outcome_of);
        if (e.report.exhausted && e.outcomes == wanted) return;
        wrong_ +=
            fmt::format("{}: {} outcomes, {} expected{}{}\n", name, e.outcomes.size(),
                        wanted.size(), e.report.failure.empty() ? "" : ", ", e.report.failure);
    }
    void expect_failure(const char* name, const std::vector<Body>& bodies, const char* wanted) {
        const Explored e = outcomes_of(bodies, Memory::Sequential, both_seen);
        if (e.report.failure.find(wanted) == std::string::npos)
            wrong_ += fmt::format("{}: no {}\n", name, wanted);
    }
    void expect_schedules(const char* name, const std::vector<Body>& bodies, long double wanted) {
        const Explored e = outcomes_of(bodies, Memory::Sequential, both_seen);
        if (e.report.schedules != wanted)
            wrong_ +=
                fmt::format("{}: {} schedules, {} expected\n", name,
                            static_cast<double>(e.report.schedules), static_cast<double>(wanted));
    }
    [[nodiscard]] const std::string& wrong() const noexcept { return wrong_; }

private:
    std::string wrong_;
};

void lock(ct::Atomic<std::uint32_t>& l) {
    for (std::uint32_t free = 0; !l.compare_exchange_weak(free, 1); free = 0) ct::spin_pause();
}

}  // namespace

std::string litmus_tests() {
    Litmus l;
    // SB, store buffering: each writes its cell and reads the other's.
    const std::vector<Body> buffering{[](Cells& c) {
                                          c.x[0].store(1, kRelease);
                                          c.seen[0] = c.x[1].load(kAcquire);
                                      },
                                      [](Cells& c) {
                                          c.x[1].store(1, kRelease);
                                          c.seen[1] = c.x[0].load(kAcquire);
                                      }};
    l.expect("store buffering, sequential", buffering, Memory::Sequential, {1, 10, 11});
    l.expect("store buffering, TSO", buffering, Memory::TotalStoreOrder, {0, 1, 10, 11});
    const std::vector<Body> fenced{[](Cells& c) {
                                       c.x[0].store(1);
                                       c.seen[0] = c.x[1].load();
                                   },
                                   [](Cells& c) {
                                       c.x[1].store(1);
                                       c.seen[1] = c.x[0].load();
                                   }};
    l.expect("store buffering, fenced, TSO", fenced, Memory::TotalStoreOrder, {1, 10, 11});
    // MP, message passing: who sees the flag sees what was stored before it.
    const std::vector<Body> passing{[](Cells& c) {
                                        c.x[0].store(1, kRelease);
                                        c.x[1].store(1, kRelease);
                                    },
                                    [](Cells& c) {
                                        c.seen[0] = c.x[1].load(kAcquire);
                                        c.seen[1] = c.x[0].load(kAcquire);
                                    }};
    for (const Memory m : {Memory::Sequential, Memory::TotalStoreOrder})
        l.expect("message passing", passing, m, {0, 1, 11});
    // A thread sees its own store before anybody else does.
    const std::vector<Body> forwarding{[](Cells& c) {
        c.x[0].store(1, kRelease);
        c.seen[0] = c.x[0].load(kAcquire);
    }};
    l.expect("forwarding", forwarding, Memory::TotalStoreOrder, {10});

    const Body counts{[](Cells& c) { c.x[0].store(c.x[0].load() + 1); }};
    const auto sum = [](const Cells& c) { return c.x[0].load(); };
    l.expect("lost update", {counts, counts, counts}, Memory::Sequential, {1, 2, 3}, sum);
    const Body locked{[](Cells& c) {
        lock(c.x[1]);
        c.x[0].store(c.x[0].load(kAcquire) + 1, kRelease);
        c.x[1].store(0, kRelease);
    }};
    for (const Memory m : {Memory::Sequential, Memory::TotalStoreOrder})
        l.expect("update under a lock", {locked, locked, locked}, m, {3}, sum);

    const Body there{[](Cells& c) {
        lock(c.x[0]);
        lock(c.x[1]);
        c.x[1].store(0, kRelease);
        c.x[0].store(0, kRelease);
    }};
    const Body back{[](Cells& c) {
        lock(c.x[1]);
        lock(c.x[0]);
        c.x[0].store(0, kRelease);
        c.x[1].store(0, kRelease);
    }};
    l.expect("locks in order", {there, there}, Memory::Sequential, {0});
    l.expect_failure("locks crosswise", {there, back}, "deadlock");

    // Two threads of a beginning and three accesses each: 8! / (4! 4!) orders.
    const Body three{[](Cells& c) {
        for (int n = 0; n < 3; ++n) static_cast<void>(c.x[0].load());
    }};
    l.expect_schedules("two threads of four steps", {three, three}, 70);
    return l.wrong();
}

}  // namespace model
