// SPDX-License-Identifier: BSD-3-Clause
#include "tests/model/scenario.hpp"

#include "ct/conntrack.hpp"
#include "ct/conntrack_impl.hpp"
#include "tests/ct/packets.hpp"
#include "tests/model/arena.hpp"
#include "tests/model/steps.hpp"

#include <fmt/format.h>

#include <array>
#include <memory>

namespace model {

namespace {

using What = Answer::What;
using ct::test::packet;

constexpr std::size_t kMaxOps = 4;  // of a thread

/// What explored threads share: all of it is in the arena, and so part of each state.
struct Shared {
    explicit Shared(const ct::Settings& s, ct::WorkerId workers) : table{s, workers, kSeed} {}

    ct::Conntrack table;
    std::array<std::array<Done, kMaxOps>, kMaxThreads> done{};
    std::array<std::uint8_t, kMaxThreads> returned{};  ///< calls
};

class World {
public:
    explicit World(const Scenario& s) : scenario_{s} {}

    void set_up() {
        clear_arena();
        const auto workers = static_cast<ct::WorkerId>(scenario_.threads.size());
        {
            const UseArena arena;
            shared_ = new Shared{scenario_.settings, workers};  // the arena's
        }
        for (ct::WorkerId w = 0; w < workers; ++w) shared_->table.expire(w, kStart);
        at_first_.clear();
        for (const Op& op : scenario_.first) do_first(op);
        ops_ = scenario_.threads;
        for (std::vector<Op>& ops : ops_)
            for (Op& op : ops)
                if (op.call == Call::Erase)
                    if (const auto s = shared_->table.find(op.tuple, kStart)) op.target = s->handle;
    }

    /// What thread `t` does.
    void run(std::size_t t) {
        for (std::size_t k = 0; k < ops_[t].size(); ++k) {
            Done& d = shared_->done[t][k];
            std::copy(shared_->returned.begin(), shared_->returned.end(), d.before.begin());
            d.answer = call(ops_[t][k], static_cast<ct::WorkerId>(t));
            drain();
            ++shared_->returned[t];
        }
    }

    /// I3, in the middle of everything.
    [[nodiscard]] std::string check_state() const {
        // To read counters one waits for the side lock, which a stopped thread may hold.
        if (scenario_.settings.acct) return {};
        std::array<ct::Snapshot, 24> all;
        std::size_t n = 0;
        for (std::uint32_t i = 0; i < shared_->table.indices() && n < all.size(); ++i)
            if (shared_->table.snapshot(i, kStart, all[n])) ++n;
        for (std::size_t a = 0; a < n; ++a)
            for (std::size_t b = a + 1; b < n; ++b)
                if (all[a].original == all[b].original || all[a].original == all[b].reply ||
                    all[a].reply == all[b].original || all[a].reply == all[b].reply)
                    return fmt::format("I3: entries {} and {} share a tuple", all[a].handle.index,
                                       all[b].handle.index);
        return {};
    }

    [[nodiscard]] std::string check_end() const {
        if (std::string wrong = shared_->table.check_invariants(); !wrong.empty()) return wrong;
        std::vector<Found> found;
        ct::Nanos end = kStart;
        std::vector<ThreadHistory> threads;
        for (std::size_t t = 0; t < ops_.size(); ++t) {
            threads.push_back({ops_[t], {shared_->done[t].data(), ops_[t].size()}});
            for (const Op& op : ops_[t]) end = std::max(end, op.at);
        }
        ct::Snapshot s;
        for (std::uint32_t i = 0; i < shared_->table.indices(); ++i)
            if (shared_->table.snapshot(i, end, s))
                found.push_back({s.handle, (s.status & ct::status::kAssured) != 0,
                                 static_cast<std::uint32_t>(s.packets[0] + s.packets[1])});
        return explain(threads, at_first_, found, end);
    }

private:
    void do_first(const Op& op) {
        const Answer a = call(op, 0);
        const bool opens = op.call == Call::Open && a.what == What::Linked;
        if (!opens && (op.call != Call::Send || a.what != What::Conn))
            fail("the scenario cannot be set up: a first call did not do what it should");
        if (opens) at_first_.push_back({.conn = a.conn, .original = op.tuple, .reply = op.reply});
        for (Expected& e : at_first_) {
            if (e.conn != a.conn) continue;
            e.packets += 1;
            e.assured = e.assured || op.assures;
            e.deadline = op.at + op.timeout_s * ct::kNanosPerSecond;
        }
    }

    [[nodiscard]] Answer call(const Op& op, ct::WorkerId w) {
        ct::Conntrack& table = shared_->table;
        if (op.call == Call::Erase)
            return {table.erase(op.target, op.at) ? What::Conn : What::None, {}};
        if (op.call == Call::Expire) {
            table.expire(w, op.at);
            return {};
        }
        ct::Packet p = packet(op.tuple);
        p.tcp_flags = op.tcp_flags;
        p.tcp_seq = op.seq;
        p.tcp_ack = op.ack;
        p.tcp_window = 64240;
        const std::span<ct::Packet> one{&p, 1};
        table.lookup(w, one, op.at);
        if (p.conn.valid() && !p.mirrored && p.original != p.tuple && p.reply != p.tuple)
            fail("a lookup gives a packet a connection that is not its own");
        if (op.call != Call::Look) table.update(w, one, op.at);
        if (p.conn.valid()) return {What::Conn, p.conn};
        if (op.call != Call::Open) return {};
        return open(op, w, p);
    }

    [[nodiscard]] Answer open(const Op& op, ct::WorkerId w, ct::Packet& p) {
        ct::Conntrack& table = shared_->table;
        switch (table.open(w, p, op.at)) {
            case ct::Conntrack::Opening::Found:
                return {What::Conn, p.conn};
            case ct::Conntrack::Opening::Opened:
                break;
            default:
                return {What::Refused, {}};
        }
        p.reply = op.reply;
        switch (table.confirm(w, p, op.at)) {
            case ct::Conntrack::Confirmation::Linked:
                return {What::Linked, p.conn};
            case ct::Conntrack::Confirmation::Joined:
                return {What::Conn, p.conn};
            case ct::Conntrack::Confirmation::ReplyTaken:
                table.abandon(w, p, op.at);
                return {What::ReplyTaken, {}};
            case ct::Conntrack::Confirmation::Refused:
                break;
        }
        return {What::Refused, {}};
    }

    const Scenario& scenario_;
    std::vector<std::vector<Op>> ops_;
    std::vector<Expected> at_first_;
    Shared* shared_ = nullptr;
};

struct Field {
    std::size_t offset;
    const char* name;
};

std::string field_of(std::span<const Field> fields, std::size_t offset) {
    const char* name = "";
    for (const Field& f : fields)
        if (f.offset <= offset) name = f.name;
    return name;
}

/// Where `at` is: the regions in the order in which the table makes them.
std::string name_of(const void* at) {
    static constexpr Field kEntry[] = {
        {0, "meta"},          {8, "original_addrs"}, {16, "original_rest"},
        {24, "reply_addrs"},  {32, "reply_rest"},    {40, "original_bucket"},
        {44, "reply_bucket"}, {48, "original_tag"},  {50, "reply_tag"},
        {52, "mark"},         {56, "born"},          {60, "out_port"},
        {62, "fixed"},        {64, "side lock"}};
    static constexpr Field kBucket[] = {{0, "seq"},       {4, "link"},  {8, "tags 0-3"},
                                        {16, "tags 4-7"}, {24, "ages"}, {32, "refs"}};
    static_assert(offsetof(ct::HotLine, fixed) == 62 && offsetof(ct::Bucket, refs) == 32);
    const auto offset_in = [at](std::size_t n) -> std::size_t {
        const std::span<const std::byte> r = region(n);
        const auto* p = static_cast<const std::byte*>(at);
        return p >= r.data() && p < r.data() + r.size() ? static_cast<std::size_t>(p - r.data())
                                                        : SIZE_MAX;
    };
    if (const std::size_t o = offset_in(0); o != SIZE_MAX)
        return fmt::format("entry {} {}", o / sizeof(ct::Entry),
                           field_of(kEntry, o % sizeof(ct::Entry)));
    if (const std::size_t o = offset_in(1); o != SIZE_MAX)
        return fmt::format("entry {} addrs6", o / sizeof(ct::Addrs6));
    for (const std::size_t n : {2U, 3U})
        if (const std::size_t o = offset_in(n); o != SIZE_MAX)
            return fmt::format("{} {} {}", n == 2 ? "bucket" : "overflow bucket",
                               o / sizeof(ct::Bucket), field_of(kBucket, o % sizeof(ct::Bucket)));
    return fmt::format("pool or ring +{:#x}", static_cast<const std::byte*>(at) - arena().data());
}

}  // namespace

ct::Settings table_of(std::uint32_t max) {
    ct::Settings s;
    s.max = max;
    s.embryonic_percent = 100;
    s.events = std::uint8_t{0};
    return s;
}

Report explore(const Scenario& s, Memory memory, std::uint64_t max_states) {
    World world{s};
    const Program program{.threads = s.threads.size(),
                          .setup = [&] { world.set_up(); },
                          .run = [&](std::size_t t) { world.run(t); },
                          .check_state = [&] { return world.check_state(); },
                          .check_end = [&] { return world.check_end(); },
                          .name_of = name_of};
    return explore(program, memory, max_states);
}

}  // namespace model
