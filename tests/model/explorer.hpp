// SPDX-License-Identifier: BSD-3-Clause
//
// Runs a few threads of a program in every order that there is.
//
// A thread is a context of its own within this one. Before each access to a ct::Atomic it stops,
// and the explorer decides who goes on. It searches depth first; a state is a copy of everything
// that the threads share (the arena), of their stacks and their registers, so that the search can
// go back to it and let somebody else go on. States that have been seen before are not searched
// again, which makes the search cover, with some 10^5 states, some 10^30 schedules: every one
// there is, without a bound on preemptions, as long as `exhausted` says so.
//
// A spin loop that went round once and found nothing changed waits until something does. If every
// thread waits, that is a deadlock.
//
// Memory is sequentially consistent or, if wanted, ordered as x86-64 orders it (total store order):
// a store waits in its thread's buffer until the explorer lets it out, and only the thread itself
// sees it there; what locks the bus waits for an empty buffer.
//
// Not covered: orders that a compiler, or a machine weaker than x86-64, could make of relaxed and
// acquire/release accesses (ThreadSanitizer and the argument in the comments are for those);
// accesses that are not to a ct::Atomic as steps of their own: they happen together with the access
// before them, which is right where a lock or an owner protects them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace model {

inline constexpr std::size_t kMaxThreads = 3;

enum class Memory : std::uint8_t { Sequential, TotalStoreOrder };

/// What is explored. What run() changes, and another thread or check_end() reads, is in the arena.
struct Program {
    std::size_t threads = 0;
    std::function<void()> setup;                  ///< clears the arena and makes what is shared
    std::function<void(std::size_t thread)> run;  ///< what a thread does
    /// What is wrong with a state, or with the last one; empty: nothing.
    std::function<std::string()> check_state;
    std::function<std::string()> check_end;
    /// A name for an address, for the trace of a failure.
    std::function<std::string(const void* at)> name_of;
};

struct Report {
    bool exhausted = false;  ///< every schedule has been covered
    std::string failure;     ///< empty: none
    std::vector<std::string> trace;
    std::uint64_t states = 0;
    std::uint64_t steps = 0;
    std::uint64_t ends = 0;     ///< states in which all threads have finished
    long double schedules = 0;  ///< orders of steps that the states stand for
    std::size_t longest = 0;    ///< steps
    double seconds = 0;
};

/// Explores `program`, or so many of its states.
[[nodiscard]] Report explore(const Program& program, Memory memory, std::uint64_t max_states);

/// By an explored thread: waits until its stores are seen by all, as at the end of a call whose
/// result somebody else may learn of.
void drain() noexcept;

}  // namespace model
