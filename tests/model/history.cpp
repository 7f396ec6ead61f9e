// SPDX-License-Identifier: BSD-3-Clause
#include "tests/model/history.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

namespace model {

namespace {

using What = Answer::What;

bool holds(const Expected& e, const ct::Tuple& t) noexcept {
    return e.original == t || e.reply == t;
}

/// A table that does one thing after the other.
struct Plain {
    std::vector<Expected> conns;

    [[nodiscard]] Expected* holder(const ct::Tuple& t, ct::Nanos now) noexcept {
        for (Expected& e : conns)
            if (holds(e, t) && e.deadline > now) return &e;
        return nullptr;
    }
    [[nodiscard]] Expected* find(ct::ConnHandle h) noexcept {
        for (Expected& e : conns)
            if (e.conn == h) return &e;
        return nullptr;
    }
    void remove(const Expected* e) noexcept { conns.erase(conns.begin() + (e - conns.data())); }

    /// A packet of `op` belongs to `e`.
    static void pass(Expected& e, const Op& op) noexcept {
        e.packets += 1;
        e.assured = e.assured || op.assures;
        if (op.timeout_s != 0) e.deadline = op.at + op.timeout_s * ct::kNanosPerSecond;
    }

    /// Does `op`; false if the answer would be another.
    bool does(const Op& op, const Answer& a) {
        switch (op.call) {
            case Call::Look:
            case Call::Send: {
                Expected* e = holder(op.tuple, op.at);
                if (a.what == What::None) return e == nullptr;
                if (e == nullptr || e->conn != a.conn) return false;
                if (op.call == Call::Send) pass(*e, op);
                return true;
            }
            case Call::Erase: {
                const Expected* e = find(op.target);
                if (a.what == What::None) return e == nullptr;
                if (e == nullptr) return false;
                remove(e);
                return true;
            }
            case Call::Expire:
                return true;
            case Call::Open:
                return opens(op, a);
        }
        return false;
    }
    /// True if `op` may end `e` on its way.
    static bool may_end(const Op& op, const Expected& e) noexcept {
        const bool expired = e.deadline <= op.at;
        if (op.call == Call::Expire) return expired;
        if (op.call != Call::Open) return false;
        const bool in_the_way = holds(e, op.tuple) || holds(e, op.reply);
        return (expired && in_the_way) || (op.evicts && !e.assured);
    }
    bool opens(const Op& op, const Answer& a) {
        Expected* first = holder(op.tuple, op.at);
        if (a.what == What::Conn) {
            if (first == nullptr || first->conn != a.conn) return false;
            pass(*first, op);
            return true;
        }
        if (a.what == What::Refused) return op.may_refuse;
        if (first != nullptr) return false;
        const bool taken = holder(op.reply, op.at) != nullptr;
        if (a.what == What::ReplyTaken) return taken;
        if (a.what != What::Linked || taken || find(a.conn) != nullptr) return false;
        for (const Expected& e : conns)
            if (e.conn.index == a.conn.index || holds(e, op.tuple) || holds(e, op.reply))
                return false;
        Expected e{.conn = a.conn, .original = op.tuple, .reply = op.reply};
        pass(e, op);
        conns.push_back(e);
        return true;
    }
    [[nodiscard]] bool is(const std::vector<Found>& found, ct::Nanos end) const {
        std::size_t matched = 0;
        for (const Expected& e : conns) {
            const auto same = [&e](const Found& f) { return f.conn == e.conn; };
            const auto f = std::find_if(found.begin(), found.end(), same);
            if (f == found.end()) {
                if (e.deadline > end) return false;
                continue;  // expired, and swept or not
            }
            ++matched;
            if (f->assured != e.assured || (f->packets != 0 && f->packets != e.packets))
                return false;
        }
        return matched == found.size();
    }
};

/// Tries every order, depth first, and no state twice.
class Orders {
public:
    Orders(std::span<const ThreadHistory> threads, const std::vector<Found>& found, ct::Nanos end)
        : threads_{threads}, found_{found}, end_{end} {}

    bool explain(const Plain& table) {
        if (!seen_.insert(key_of(table)).second) return false;
        bool any_left = false;
        for (std::size_t t = 0; t < threads_.size(); ++t) {
            const ThreadHistory& thread = threads_[t];
            if (at_[t] == thread.ops.size()) continue;
            any_left = true;
            if (may_be_next(thread.done[at_[t]]) && next(t, table)) return true;
        }
        return !any_left && table.is(found_, end_);
    }

private:
    /// How many others a newcomer may evict: of what it frees, others may be faster to take some.
    static constexpr std::size_t kMostEnded = 3;

    /// True if no call that had returned when this one began is still to come.
    [[nodiscard]] bool may_be_next(const Done& d) const noexcept {
        for (std::size_t u = 0; u < threads_.size(); ++u)
            if (at_[u] < d.before[u]) return false;
        return true;
    }
    bool next(std::size_t t, const Plain& table) {
        const Op& op = threads_[t].ops[at_[t]];
        Plain after = table;
        if (after.does(op, threads_[t].done[at_[t]].answer)) {
            const std::size_t ended = std::exchange(ended_[t], 0);
            ++at_[t];
            const bool good = explain(after);
            --at_[t];
            ended_[t] = ended;
            if (good) return true;
        }
        // To end somebody on the way is a step of its own.
        if (ended_[t] == kMostEnded) return false;
        ++ended_[t];
        bool good = false;
        for (std::size_t k = 0; k < table.conns.size() && !good; ++k) {
            if (!Plain::may_end(op, table.conns[k])) continue;
            Plain without = table;
            without.remove(&without.conns[k]);
            good = explain(without);
        }
        --ended_[t];
        return good;
    }
    /// Where the threads are, and what the table holds: the tuples follow from the handles.
    [[nodiscard]] std::vector<std::uint64_t> key_of(const Plain& table) const {
        std::vector<std::uint64_t> key;
        for (std::size_t t = 0; t < threads_.size(); ++t) key.push_back(at_[t] << 8 | ended_[t]);
        std::vector<std::array<std::uint64_t, 3>> conns;
        for (const Expected& e : table.conns)
            conns.push_back({std::uint64_t{e.conn.index} << 16 | e.conn.generation, e.deadline,
                             std::uint64_t{e.packets} << 1 | (e.assured ? 1U : 0U)});
        std::sort(conns.begin(), conns.end());
        for (const auto& c : conns) key.insert(key.end(), c.begin(), c.end());
        return key;
    }

    std::span<const ThreadHistory> threads_;
    const std::vector<Found>& found_;
    ct::Nanos end_;
    std::array<std::size_t, kMostThreads> at_{};
    std::array<std::size_t, kMostThreads> ended_{};
    std::set<std::vector<std::uint64_t>> seen_;
};

std::string text(const Answer& a) {
    const auto conn = fmt::format("entry {} life {}", a.conn.index, a.conn.generation);
    switch (a.what) {
        case What::None:
            return "none";
        case What::Conn:
            return conn;
        case What::Linked:
            return "new, " + conn;
        case What::ReplyTaken:
            return "reply taken";
        case What::Refused:
            return "refused";
    }
    return "";
}

std::string text(const Op& op) {
    constexpr std::array kNames{"open", "send", "look", "erase", "expire"};
    return fmt::format("{} port {}", kNames[static_cast<std::size_t>(op.call)],
                       op.tuple.sport.host());
}

}  // namespace

std::string explain(std::span<const ThreadHistory> threads, const std::vector<Expected>& at_first,
                    const std::vector<Found>& found, ct::Nanos end) {
    if (Orders{threads, found, end}.explain(Plain{at_first})) return {};
    std::string what = "no order of the calls explains their answers:";
    for (std::size_t t = 0; t < threads.size(); ++t)
        for (std::size_t k = 0; k < threads[t].ops.size(); ++k) {
            const Done& d = threads[t].done[k];
            what +=
                fmt::format("\n  thread {}: {} -> {}", t, text(threads[t].ops[k]), text(d.answer));
            for (std::size_t u = 0; u < threads.size(); ++u)
                if (u != t && d.before[u] != 0)
                    what += fmt::format(" (after {} of thread {})", d.before[u], u);
        }
    for (const Found& f : found)
        what += fmt::format("\n  at the end: entry {} life {}{}, {} packets", f.conn.index,
                            f.conn.generation, f.assured ? ", assured" : "", f.packets);
    return what;
}

}  // namespace model
