// SPDX-License-Identifier: BSD-3-Clause
//
// A connection table for tests of ct/proto alone: a std::map keyed by tuple that treats verdicts as
// semantics.md says a tracker must. No NAT, no overflow, no threads.
#pragma once

#include "ct/proto/proto.hpp"

#include <cstring>
#include <map>
#include <memory>

namespace test {

/// One connection as the table sees it.
struct MiniConn {
    ct::Tuple original;
    std::uint8_t state = 0;
    bool seen_reply = false;
    bool assured = false;
    ct::Nanos born = 0;
    ct::Nanos deadline = 0;
    ct::SideLines side;

    /// Seconds left, rounded down as conntrack(8) shows them.
    [[nodiscard]] std::uint32_t remaining_s(ct::Nanos now) const {
        return deadline <= now ? 0
                               : static_cast<std::uint32_t>((deadline - now) / ct::kNanosPerSecond);
    }
};

class MiniTracker {
public:
    /// What a packet met.
    struct Result {
        ct::CtState state = ct::CtState::None;
        ct::Dir dir = ct::Dir::Original;
        ct::proto::Verdict verdict;
        MiniConn* conn = nullptr;  ///< null if it has none, or none any more
        bool opened = false;
        bool reopened = false;  ///< `opened` on the tuple of a connection that was over
        /// What conntrack -E would say: NEW, or UPDATE (state, first reply or assured changed).
        bool event = false;
    };

    ct::Settings settings;

    /// Judges a parsed packet at `now` and applies the verdict.
    Result process(ct::Packet& p, ct::Nanos now) {
        expire(now);
        const auto found = by_tuple_.find(key(p.tuple));
        if (found == by_tuple_.end()) return open(p, now);

        const std::shared_ptr<MiniConn> conn = found->second;
        p.dir = p.tuple == conn->original ? ct::Dir::Original : ct::Dir::Reply;
        const ct::proto::View view{.state = conn->state,
                                   .had_reply = conn->seen_reply,
                                   .assured = conn->assured,
                                   .remaining_s = conn->remaining_s(now),
                                   .age = now - conn->born,
                                   .side = &conn->side};
        const ct::proto::Verdict v = ct::proto::update(p, view, settings);
        return apply(p, v, *conn, now);
    }

    /// The connection with this tuple, or null.
    [[nodiscard]] MiniConn* find(const ct::Tuple& t) {
        const auto found = by_tuple_.find(key(t));
        return found == by_tuple_.end() ? nullptr : found->second.get();
    }
    [[nodiscard]] std::size_t size() const { return by_tuple_.size() / 2; }
    /// Forgets one connection.
    void erase(const MiniConn& conn) {
        const ct::Tuple original = conn.original;
        by_tuple_.erase(key(original));
        by_tuple_.erase(key(reply_of(original)));
    }
    void clear() { by_tuple_.clear(); }

    /// Forgets what is past its deadline.
    void expire(ct::Nanos now) {
        std::erase_if(by_tuple_, [&](const auto& e) { return e.second->deadline <= now; });
    }

private:
    using Key = std::array<std::uint8_t, sizeof(ct::Tuple)>;
    static Key key(const ct::Tuple& t) {
        Key k;
        std::memcpy(k.data(), &t, sizeof t);
        return k;
    }

    Result open(ct::Packet& p, ct::Nanos now) {
        using enum ct::CtState;
        auto conn = std::make_shared<MiniConn>();
        Result r;
        p.dir = ct::Dir::Original;
        r.verdict = ct::proto::open(p, conn->side, settings);
        if (r.verdict.outcome == ct::proto::Outcome::Invalid) {
            r.state = Invalid;
            return r;
        }
        conn->original = p.tuple;
        conn->born = now;
        conn->state = r.verdict.state;
        conn->deadline = now + r.verdict.timeout_s * ct::kNanosPerSecond;
        by_tuple_[key(p.tuple)] = conn;
        by_tuple_[key(reply_of(p.tuple))] = conn;
        r.state = New;
        r.opened = r.event = true;
        r.conn = conn.get();
        return r;
    }

    Result apply(ct::Packet& p, const ct::proto::Verdict& v, MiniConn& conn, ct::Nanos now) {
        using ct::proto::Outcome;
        Result r{.dir = p.dir, .verdict = v, .conn = &conn};
        const ct::Nanos deadline = now + v.timeout_s * ct::kNanosPerSecond;
        if (v.outcome == Outcome::Reopen) {
            erase(conn);
            r = open(p, now);
            r.reopened = r.opened;
            return r;
        }
        if (v.cut && deadline < conn.deadline) conn.deadline = deadline;
        if (v.state_changed && v.outcome != Outcome::Kill) conn.state = v.state;
        if (v.outcome == Outcome::Invalid) {
            r.state = ct::CtState::Invalid;
            return r;
        }
        if (p.dir == ct::Dir::Reply && !conn.seen_reply) conn.seen_reply = r.event = true;
        r.state = conn.seen_reply ? ct::CtState::Established : ct::CtState::New;
        if (v.outcome == Outcome::Kill) {
            erase(conn);
            r.conn = nullptr;
            return r;
        }
        if (v.outcome == Outcome::Ignore) return r;
        r.event = r.event || v.state_changed || v.assured != conn.assured;
        conn.state = v.state;
        conn.assured = v.assured;
        if (v.refresh) conn.deadline = deadline;
        return r;
    }

    std::map<Key, std::shared_ptr<MiniConn>> by_tuple_;
};

}  // namespace test
