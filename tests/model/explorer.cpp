// SPDX-License-Identifier: BSD-3-Clause
#include "tests/model/explorer.hpp"

#include "tests/model/arena.hpp"
#include "tests/model/seen.hpp"
#include "tests/model/steps.hpp"

#include <fmt/format.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ucontext.h>
#include <wmmintrin.h>

namespace model {

namespace {

constexpr std::size_t kStackBytes = std::size_t{64} << 10;
/// Below a stack's end: what one step may leave there, which is not part of a state.
constexpr std::size_t kDeadBytes = 8192;
constexpr std::size_t kMaxBuffered = 6;  ///< stores; fewer than a core has, enough to pass a lock
constexpr std::size_t kMaxDepth = 20'000;

enum class Access : std::uint8_t { Begin, Load, Store, Modify, Pause, Drain, End };
constexpr std::array kAccessNames{"begin", "load", "store", "modify", "pause", "drain", "end"};

struct Buffered {
    void* at;
    std::uint64_t value;
    std::size_t size;
};

/// What there is of a thread beside its stack.
struct Thread {
    ucontext_t context;
    // The step that it is about to make.
    Access next;
    const void* at;
    std::size_t size;
    // Its spinning: how often it has come to the same pause since anything changed.
    unsigned idle;
    const void* pause_site;
    std::uintptr_t pause_stack;
    std::size_t buffered;
    std::array<Buffered, kMaxBuffered> buffer;
};

struct Choice {
    std::uint8_t thread;
    bool flush;  ///< lets a buffered store out, rather than the thread run
};

/// What was done to get from one state to the next.
struct Step {
    Choice choice;
    Access access;
    const void* at;
    std::size_t size;
    std::uint64_t before;  ///< what was there
    std::uint64_t after;
};

struct Frame {
    std::size_t saved;  ///< offset into `copies`
    std::uint64_t key;
    std::array<Choice, 2 * kMaxThreads> choices;
    std::size_t count;
    std::size_t next;
    long double schedules;
    Step step;  ///< the one under way
};

alignas(4096) std::byte stacks[kMaxThreads][kStackBytes];
Thread threads[kMaxThreads];
std::size_t thread_count = 0;
Thread* current = nullptr;
ucontext_t scheduler;
Memory memory_model = Memory::Sequential;
const Program* running = nullptr;
std::string failure;

std::uint64_t peek(const void* at, std::size_t size) noexcept {
    std::uint64_t v = 0;
    std::memcpy(&v, at, size);
    return v;
}

void poke(void* at, std::size_t size, std::uint64_t value) noexcept {
    if (peek(at, size) == value) return;
    std::memcpy(at, &value, size);
    for (Thread& t : threads) t.idle = 0;
}

/// Stops before an access, until the explorer lets this thread go on.
void stop(Access next, const void* at, std::size_t size) noexcept {
    Thread& me = *current;
    me.next = next;
    me.at = at;
    me.size = size;
    swapcontext(&me.context, &scheduler);
}

void enter(unsigned thread) noexcept {
    running->run(thread);
    stop(Access::End, nullptr, 0);
}

std::byte* stack_top(std::size_t t) noexcept {
    return stacks[t] + kStackBytes;
}

std::byte* stack_end(std::size_t t) noexcept {
    return reinterpret_cast<std::byte*>(threads[t].context.uc_mcontext.gregs[REG_RSP]);
}

void start_threads() noexcept {
    for (std::size_t t = 0; t < thread_count; ++t) {
        Thread& thread = threads[t];
        std::memset(&thread, 0, sizeof thread);
        std::memset(stacks[t], 0, kStackBytes);
        getcontext(&thread.context);
        thread.context.uc_stack.ss_sp = stacks[t];
        thread.context.uc_stack.ss_size = kStackBytes;
        thread.context.uc_link = nullptr;
        makecontext(&thread.context, reinterpret_cast<void (*)()>(enter), 1,
                    static_cast<unsigned>(t));
        thread.next = Access::Begin;
    }
}

bool can_run(const Thread& t) noexcept {
    switch (t.next) {
        case Access::End:
            return false;
        case Access::Modify:
        case Access::Drain:
            return t.buffered == 0;
        case Access::Store:
            return t.buffered < kMaxBuffered;
        case Access::Pause:
            return t.idle < 2;
        default:
            return true;
    }
}

void flush(Thread& t) noexcept {
    const Buffered oldest = t.buffer[0];
    std::memmove(&t.buffer[0], &t.buffer[1], (t.buffered - 1) * sizeof(Buffered));
    t.buffer[--t.buffered] = {};
    poke(oldest.at, oldest.size, oldest.value);
}

Step take(Choice c) noexcept {
    Thread& t = threads[c.thread];
    Step s{.choice = c, .access = t.next, .at = t.at, .size = t.size, .before = 0, .after = 0};
    if (c.flush) {
        s.access = Access::Store;
        s.at = t.buffer[0].at;
        s.size = t.buffer[0].size;
    }
    s.before = s.at != nullptr ? peek(s.at, s.size) : 0;
    if (c.flush) {
        flush(t);
    } else {
        // What earlier steps left below the stack's end must not find its way into a state.
        std::byte* end = stack_end(c.thread);
        const std::size_t room = static_cast<std::size_t>(end - stacks[c.thread]);
        const std::size_t dead = room < kDeadBytes ? room : kDeadBytes;
        std::memset(end - dead, 0, dead);
        current = &t;
        swapcontext(&scheduler, &t.context);
        current = nullptr;
        if (stack_end(c.thread) < stacks[c.thread] + kDeadBytes) {
            std::fputs("lock_model: a thread's stack is too small: raise kStackBytes\n", stderr);
            std::abort();
        }
    }
    s.after = s.at != nullptr ? peek(s.at, s.size) : 0;
    return s;
}

// ---- States

/// 64 bits of everything that is fed to it: four lanes of AES rounds.
class StateHash {
public:
    void add(const void* data, std::size_t bytes) noexcept {
        const auto* p = static_cast<const std::byte*>(data);
        for (; bytes >= 64; p += 64, bytes -= 64) block(p);
        alignas(16) std::byte rest[64] = {};
        std::memcpy(rest, p, bytes);
        rest[63] = static_cast<std::byte>(bytes + 1);  // lengths tell apart
        block(rest);
    }
    template <class T>
    void add(const T& value) noexcept {
        add(&value, sizeof value);
    }
    [[nodiscard]] std::uint64_t value() const noexcept {
        __m128i v = lanes_[0];
        for (std::size_t i = 1; i < 4; ++i) v = _mm_aesenc_si128(v, lanes_[i]);
        for (std::size_t i = 0; i < 4; ++i) v = _mm_aesenc_si128(v, lanes_[0]);
        return static_cast<std::uint64_t>(_mm_cvtsi128_si64(v));
    }

private:
    void block(const std::byte* p) noexcept {
        for (std::size_t i = 0; i < 4; ++i) {
            const __m128i data = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 16 * i));
            lanes_[i] = _mm_aesenc_si128(_mm_aesenc_si128(lanes_[i], data),
                                         _mm_set1_epi64x(0x9e37'79b9'7f4a'7c15));
        }
    }
    __m128i lanes_[4] = {_mm_set1_epi64x(1), _mm_set1_epi64x(2), _mm_set1_epi64x(3),
                         _mm_set1_epi64x(4)};
};

std::uint64_t state_key() noexcept {
    constexpr std::array kKept{REG_RBX, REG_RBP, REG_R12, REG_R13,
                               REG_R14, REG_R15, REG_RSP, REG_RIP};
    StateHash h;
    h.add(arena().data(), arena().size());
    for (std::size_t t = 0; t < thread_count; ++t) {
        const Thread& thread = threads[t];
        h.add(thread.next);
        h.add(thread.buffered);
        for (std::size_t i = 0; i < thread.buffered; ++i) {
            h.add(thread.buffer[i].at);
            h.add(thread.buffer[i].value);
        }
        if (thread.next == Access::End) continue;
        h.add(thread.at);
        h.add(thread.idle);
        if (thread.idle != 0) {
            h.add(thread.pause_site);
            h.add(thread.pause_stack);
        }
        std::array<greg_t, kKept.size()> registers;
        for (std::size_t r = 0; r < kKept.size(); ++r)
            registers[r] = thread.context.uc_mcontext.gregs[kKept[r]];
        h.add(registers);
        h.add(stack_end(t), static_cast<std::size_t>(stack_top(t) - stack_end(t)));
    }
    return h.value();
}

/// Copies of states, the last on top.
class Copies {
public:
    /// Returns where the copy of the state of now begins.
    std::size_t save() {
        const std::size_t begin = bytes_.size();
        append(arena().data(), arena().size());
        append(threads, thread_count * sizeof(Thread));
        for (std::size_t t = 0; t < thread_count; ++t)
            append(stack_end(t), static_cast<std::size_t>(stack_top(t) - stack_end(t)));
        return begin;
    }
    void restore(std::size_t begin) noexcept {
        const std::byte* from = bytes_.data() + begin;
        const auto copy = [&](void* to, std::size_t n) {
            std::memcpy(to, from, n);
            from += n;
        };
        copy(arena().data(), arena().size());
        copy(threads, thread_count * sizeof(Thread));
        for (std::size_t t = 0; t < thread_count; ++t)
            copy(stack_end(t), static_cast<std::size_t>(stack_top(t) - stack_end(t)));
    }
    void drop(std::size_t begin) noexcept { bytes_.resize(begin); }

private:
    void append(const void* data, std::size_t n) {
        const auto* p = static_cast<const std::byte*>(data);
        bytes_.insert(bytes_.end(), p, p + n);
    }
    std::vector<std::byte> bytes_;
};

std::size_t choices(std::array<Choice, 2 * kMaxThreads>& out) noexcept {
    std::size_t n = 0;
    for (std::size_t t = 0; t < thread_count; ++t) {
        const auto number = static_cast<std::uint8_t>(t);
        if (can_run(threads[t])) out[n++] = {number, false};
        if (threads[t].buffered != 0) out[n++] = {number, true};
    }
    return n;
}

bool all_finished() noexcept {
    for (std::size_t t = 0; t < thread_count; ++t)
        if (threads[t].next != Access::End) return false;
    return true;
}

std::string deadlock() {
    std::string text = "deadlock:";
    for (std::size_t t = 0; t < thread_count; ++t)
        if (threads[t].next != Access::End) text += fmt::format(" thread {} waits;", t);
    text.pop_back();
    return text;
}

std::vector<std::string> trace_of(const std::vector<Frame>& frames, const Program& program) {
    std::vector<std::string> lines;
    for (const Frame& f : frames) {
        const Step& s = f.step;
        std::string line = fmt::format(
            "thread {}  {:6}", s.choice.thread,
            s.choice.flush ? "flush" : kAccessNames[static_cast<std::size_t>(s.access)]);
        if (s.at != nullptr) {
            line += ' ' + program.name_of(s.at);
            line += s.before == s.after ? fmt::format(" = {:#x}", s.before)
                                        : fmt::format(": {:#x} -> {:#x}", s.before, s.after);
        }
        lines.push_back(std::move(line));
    }
    return lines;
}

class Search {
public:
    Search(const Program& program, std::uint64_t max_states)
        : program_{program}, max_states_{max_states} {}

    Report run() {
        const auto begin = std::chrono::steady_clock::now();
        arrive();
        while (!frames_.empty() && report_.failure.empty() && report_.states < max_states_)
            advance();
        report_.exhausted = frames_.empty() && report_.failure.empty();
        if (!report_.failure.empty()) report_.trace = trace_of(frames_, program_);
        const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
        report_.seconds = time.count();
        return report_;
    }

private:
    /// Makes the next step of the state on top, or goes back.
    void advance() {
        Frame& f = frames_.back();
        if (f.next == f.count) {
            seen_.at(f.key) = f.schedules;
            const long double done = f.schedules;
            copies_.drop(f.saved);
            frames_.pop_back();
            count(done);
            return;
        }
        if (f.next != 0) copies_.restore(f.saved);
        f.step = take(f.choices[f.next++]);
        ++report_.steps;
        arrive();
    }

    /// What to make of the state that has been reached.
    void arrive() {
        if (!failure.empty()) return give_up(failure);
        const std::uint64_t key = state_key();
        const auto [schedules, is_new] = seen_.insert(key);
        if (!is_new) return count(*schedules);
        ++report_.states;
        if (const std::string wrong = program_.check_state(); !wrong.empty()) return give_up(wrong);
        Frame f{};
        f.count = choices(f.choices);
        if (f.count == 0) {
            if (!all_finished()) return give_up(deadlock());
            ++report_.ends;
            if (const std::string wrong = program_.check_end(); !wrong.empty())
                return give_up(wrong);
            *schedules = 1;
            return count(1);
        }
        f.key = key;
        f.saved = copies_.save();
        frames_.push_back(f);
        report_.longest = std::max(report_.longest, frames_.size());
        if (frames_.size() > kMaxDepth) give_up("a schedule that does not end");
    }

    void count(long double schedules) noexcept {
        (frames_.empty() ? report_.schedules : frames_.back().schedules) += schedules;
    }
    void give_up(const std::string& why) { report_.failure = why; }

    const Program& program_;
    const std::uint64_t max_states_;
    Report report_;
    std::vector<Frame> frames_;
    Copies copies_;
    Seen seen_;
};

}  // namespace

Report explore(const Program& program, Memory memory, std::uint64_t max_states) {
    memory_model = memory;
    running = &program;
    failure.clear();
    thread_count = program.threads;
    program.setup();
    start_threads();
    return Search{program, max_states}.run();
}

void drain() noexcept {
    if (current != nullptr && memory_model == Memory::TotalStoreOrder)
        stop(Access::Drain, nullptr, 0);
}

// ---- The accesses of explored threads

std::uint64_t load(const void* at, std::size_t size) noexcept {
    if (current == nullptr) return peek(at, size);
    stop(Access::Load, at, size);
    for (std::size_t i = current->buffered; i > 0; --i)
        if (current->buffer[i - 1].at == at) return current->buffer[i - 1].value;
    return peek(at, size);
}

void store(void* at, std::size_t size, std::uint64_t value) noexcept {
    if (current == nullptr) return poke(at, size, value);
    stop(Access::Store, at, size);
    if (memory_model == Memory::Sequential)
        poke(at, size, value);
    else
        current->buffer[current->buffered++] = {at, value, size};
}

std::uint64_t exchange(void* at, std::size_t size, std::uint64_t value) noexcept {
    if (current != nullptr) stop(Access::Modify, at, size);
    const std::uint64_t was = peek(at, size);
    poke(at, size, value);
    return was;
}

bool compare_exchange(void* at, std::size_t size, std::uint64_t& expected,
                      std::uint64_t desired) noexcept {
    if (current != nullptr) stop(Access::Modify, at, size);
    const std::uint64_t was = peek(at, size);
    const bool same = was == expected;
    expected = was;
    if (same) poke(at, size, desired);
    return same;
}

void pause() noexcept {
    if (current == nullptr) return fail("a wait that nobody can end");
    Thread& me = *current;
    const void* site = __builtin_return_address(0);
    const auto stack = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
    const bool again = me.idle != 0 && me.pause_site == site && me.pause_stack == stack;
    me.idle = again ? 2 : 1;
    me.pause_site = site;
    me.pause_stack = stack;
    stop(Access::Pause, nullptr, 0);
}

void fail(const char* what) noexcept {
    if (failure.empty()) failure = what;
    if (current != nullptr) {
        stop(Access::End, nullptr, 0);
        return;
    }
    std::fprintf(stderr, "lock_model: outside of any schedule: %s\n", what);
    std::abort();
}

}  // namespace model
