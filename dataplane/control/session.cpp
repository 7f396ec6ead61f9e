// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/control/session.hpp"

#include "dataplane/control/answers.hpp"

#include <algorithm>
#include <cerrno>
#include <sys/socket.h>
#include <utility>

namespace dp {

namespace {

constexpr std::size_t kReceiveBytes = 16 * 1024;  // at a time
constexpr std::uint32_t kIndicesPerStep = 8192;   // some 0.3 ms of table
/// So long a listener may be behind before it loses events instead of making others wait.
constexpr std::chrono::milliseconds kPatience{100};
/// Text of one response before escaping, which at worst doubles it: every byte a quote.
constexpr std::size_t kTextBytes = kMaxResponseBytes / 2 - 1024;
static_assert(kTextBytes > 2 * kMaxEntryBytes);

RenderOptions dated(RenderOptions o, const ServerContext& context) {
    o.now = context.hooks.now();
    o.wall_offset_ns = context.hooks.wall_offset_ns ? context.hooks.wall_offset_ns() : 0;
    return o;
}

/// True if one more entry fits `text`, which is to become one response.
bool has_space(const std::string& text) noexcept {
    return text.size() + kMaxEntryBytes <= kTextBytes;
}

std::uint8_t bit_of(ct::EventType type) noexcept {
    return static_cast<std::uint8_t>(1U << static_cast<unsigned>(type));
}

}  // namespace

Session::Session(FileDescriptor fd, Clock::time_point now) noexcept
    : fd_{std::move(fd)}, last_progress_{now} {
    ucred peer{};
    socklen_t size = sizeof peer;
    if (::getsockopt(fd_.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0)
        peer_ = static_cast<std::uint32_t>(peer.pid);
}

bool Session::over() const noexcept {
    if (dead_) return true;
    if (wants_output()) return false;
    if (closing_) return true;
    if (!no_more_input_ || std::holds_alternative<Walk>(job_)) return false;
    return in_.find('\n') == std::string::npos || std::holds_alternative<Subscription>(job_);
}

bool Session::wants_input() const noexcept {
    return !no_more_input_ && !closing_ && in_.size() <= kMaxRequestBytes;
}

bool Session::subscribed() const noexcept {
    const Subscription* s = std::get_if<Subscription>(&job_);
    return s != nullptr && s->request.table == Table::Conntrack;
}

bool Session::timed_out(const ServerOptions& options, Clock::time_point now) const noexcept {
    if (std::holds_alternative<Subscription>(job_)) return false;
    const bool busy = wants_output() || std::holds_alternative<Walk>(job_);
    return now - last_progress_ > (busy ? options.stall_timeout : options.idle_timeout);
}

void Session::receive(Clock::time_point now) {
    if (!wants_input()) return;
    const std::size_t old_size = in_.size();
    in_.resize(old_size + kReceiveBytes);
    const ssize_t n = ::recv(fd_.get(), in_.data() + old_size, kReceiveBytes, MSG_DONTWAIT);
    in_.resize(old_size + (n > 0 ? static_cast<std::size_t>(n) : 0));
    if (n > 0) {
        last_progress_ = now;
    } else if (n == 0) {
        no_more_input_ = true;
    } else if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
        dead_ = true;
    }
}

void Session::send(Clock::time_point now) {
    while (!dead_ && wants_output()) {
        const ssize_t n = ::send(fd_.get(), out_.data() + sent_, out_.size() - sent_,
                                 MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0) {
            if (errno == EINTR) continue;
            if (errno != EAGAIN && errno != EWOULDBLOCK) dead_ = true;
            break;
        }
        sent_ += static_cast<std::size_t>(n);
        last_progress_ = now;
    }
    if (wants_output() && sent_ < kMaxResponseBytes) return;  // not worth moving the rest
    out_.erase(0, sent_);
    sent_ = 0;
}

bool Session::room(const ServerContext& context) const noexcept {
    return out_.size() - sent_ + kMaxResponseBytes <=
           std::max(buffer_bytes_, context.options.buffer_bytes);
}

bool Session::work(const ServerContext& context) {
    if (dead_ || closing_ || !room(context)) return false;
    if (Walk* walk = std::get_if<Walk>(&job_)) {
        advance(*walk, context);
        return true;
    }
    if (Subscription* s = std::get_if<Subscription>(&job_)) return sync(*s, context);

    const std::size_t end = in_.find('\n');
    const bool too_long =
        end == std::string::npos ? in_.size() > kMaxRequestBytes : end > kMaxRequestBytes;
    if (too_long) {
        append_error(out_, "the request is longer than 64 KiB", 2);
        closing_ = true;
        return false;
    }
    if (end == std::string::npos) return false;
    const std::string line = in_.substr(0, end);
    in_.erase(0, end + 1);
    answer(line, context);
    return true;
}

void Session::answer(std::string_view line, const ServerContext& context) {
    try {
        start(parse_request(line), context);
    } catch (const BadParameter& e) {
        append_error(out_, e.what(), 2);
    } catch (const std::exception& e) {
        append_error(out_, e.what(), 1);
    }
}

void Session::start(Request&& request, const ServerContext& context) {
    switch (request.command) {
        case Command::List:
        case Command::Delete:
        case Command::Update:
        case Command::Flush:
            // There are no expectations yet.
            if (request.table == Table::Expect) return append_done(out_, 0);
            if (request.table != Table::Conntrack && request.command != Command::List)
                throw BadParameter{"nothing can be done to an entry that is not in the table"};
            job_ = Walk{std::move(request)};
            return;
        case Command::Events:
            buffer_bytes_ = request.buffer;
            job_.emplace<Subscription>().request = std::move(request);
            return;
        case Command::Get:
            return get(request, context);
        case Command::Create:
            return create(request, context);
        case Command::Count:
            append_data(out_, count_json(context, request.table));
            break;
        case Command::Counters:
            append_text(out_, counters_text(context, request.table));
            break;
        case Command::Sysctl:
            append_data(out_, sysctl_json(context, request.name, request.value));
            break;
        case Command::Port:
            append_data(out_, port_json(context, request.name, request.value));
            break;
        case Command::Address:
            append_data(out_, address_json(context, request));
            break;
        case Command::Drops:
            append_data(out_, drops_json(context));
            break;
        case Command::Explain:
            append_data(out_, explain_json(context, request));
            break;
        case Command::Stats:
            append_data(out_, stats_json(context));
            break;
        case Command::Version:
            append_data(out_, version_json());
            break;
        case Command::Ping:
            break;
    }
    append_done(out_, 0);
}

void Session::create(const Request& request, const ServerContext& context) {
    ct::Injection entry = request.entry;
    if (context.hooks.port_towards) {
        entry.in_port = context.hooks.port_towards(entry.original.family, entry.original.src);
        entry.out_port = context.hooks.port_towards(entry.reply.family, entry.reply.src);
    }
    switch (context.ct.insert(entry, context.hooks.now(), peer_)) {
        case ct::Injected::Done:
            return append_done(out_, 1);
        case ct::Injected::Exists:
            if (request.keep_existing) return append_done(out_, 0);
            return append_error(out_, "Such conntrack exists, try -U to update", 1);
        case ct::Injected::NoRoom:
            return append_error(out_, "the table is full", 1);
        case ct::Injected::Invalid:
            return append_error(out_, "invalid parameters", 1);
        case ct::Injected::PortTaken:
            return append_error(out_,
                                "its external port is another connection's or subscriber's, or "
                                "rests, or its source has another mapping; delete what has it "
                                "first (-D -q), or choose another (-n)",
                                1);
        case ct::Injected::Limited:
            return append_error(out_,
                                "its subscriber has all the ports, blocks or connections that the "
                                "rule allows (see carriers in `sluicectl stats'), or the log of "
                                "blocks is full",
                                1);
        case ct::Injected::NoWay:
            return append_error(out_,
                                "no route and no rule tells by which port its mapping leaves; add "
                                "a route to its destination",
                                1);
    }
}

void Session::get(const Request& request, const ServerContext& context) {
    RenderOptions output = dated(request.output, context);
    output.use = 2;  // one reference is the answer's, as in conntrack -G
    const auto conn = context.ct.find(tuple_of(request.filter), output.now);
    if (!conn) return append_error(out_, "such conntrack doesn't exist", 1);
    if (!request.filter.matches(*conn)) return append_done(out_, 0);
    scratch_.clear();
    append_line(scratch_, *conn, output);
    append_text(out_, scratch_);
    append_done(out_, 1);
}

void Session::advance(Walk& walk, const ServerContext& context) {
    RenderOptions output = dated(walk.request.output, context);
    const Command command = walk.request.command;
    // As in conntrack -U and -D.
    if (command == Command::Update) output.use = 2;
    if (command == Command::Delete) output.save_verb = 'D';
    if (command != Command::List) output.ktimestamp = false;
    const ct::Stage stage = walk.request.table == Table::Dying         ? ct::Stage::Dying
                            : walk.request.table == Table::Unconfirmed ? ct::Stage::Unconfirmed
                                                                       : ct::Stage::Linked;
    const std::uint32_t indices = context.ct.indices();
    const std::uint32_t end = walk.next + std::min(kIndicesPerStep, indices - walk.next);
    scratch_.clear();
    ct::Snapshot conn;
    while (walk.next < end && has_space(scratch_)) {
        const std::uint32_t index = walk.next++;
        const bool there = walk.request.zero
                               ? context.ct.snapshot_and_zero(index, output.now, conn)
                               : context.ct.snapshot_in(stage, index, output.now, conn);
        if (!there || !walk.request.filter.matches(conn)) continue;
        if (!act(walk, conn, output, context)) continue;
        ++walk.count;
        if (command != Command::Flush) append_line(scratch_, conn, output);
    }
    if (!scratch_.empty()) append_text(out_, scratch_);
    if (walk.next < indices) return;
    append_done(out_, walk.count);
    job_ = std::monostate{};
}

bool Session::act(const Walk& walk, ct::Snapshot& conn, const RenderOptions& output,
                  const ServerContext& context) {
    switch (walk.request.command) {
        case Command::Delete:
        case Command::Flush:
            return context.ct.erase(conn.handle, output.now, peer_);
        case Command::Update:
            return change(walk.request, conn, output, context);
        default:
            return true;
    }
}

/// `conn` becomes what the entry is afterwards. One that is all of it already is left alone.
bool Session::change(const Request& request, ct::Snapshot& conn, const RenderOptions& output,
                     const ServerContext& context) {
    const ct::Change& c = request.change;
    const bool is_so = (!c.timeout_s || *c.timeout_s == conn.timeout_s) &&
                       (conn.status & c.status) == c.status &&
                       (!c.state || *c.state == conn.state) &&
                       (conn.mark & c.mark_mask) == (c.mark & c.mark_mask) &&
                       (conn.labels[0] & c.label_mask[0]) == (c.labels[0] & c.label_mask[0]) &&
                       (conn.labels[1] & c.label_mask[1]) == (c.labels[1] & c.label_mask[1]);
    if (is_so) return false;
    switch (context.ct.change(conn.handle, c, output.now, peer_)) {
        case ct::Changed::Done: {
            // Read again unless it has expired by this, as one with a time-out of 0 does, or has
            // ended otherwise: what is in its place then is another connection.
            ct::Snapshot changed;
            if (context.ct.snapshot(conn.handle.index, output.now, changed) &&
                changed.handle == conn.handle)
                conn = changed;
            else if (c.timeout_s)
                conn.timeout_s = *c.timeout_s;
            return true;
        }
        case ct::Changed::Gone:
            return false;
        case ct::Changed::FixedTimeout:
            append_note(out_, "Operation failed: the timeout of this connection is fixed");
            return true;
        case ct::Changed::NoLabels:
            append_note(out_,
                        "Operation failed: this connection has no room for labels; set "
                        "`labels' in [conntrack]");
            return true;
    }
    return false;
}

/// A step of the listing that follows a gap. It leaves half of the buffer to events, so that it
/// does not make for the next gap itself. True if there is more of it.
bool Session::sync(Subscription& s, const ServerContext& context) {
    const std::size_t buffer = std::max(buffer_bytes_, context.options.buffer_bytes);
    if (!s.sync || out_.size() - sent_ > buffer / 2) return false;
    const RenderOptions output = dated(s.request.output, context);
    const std::uint32_t indices = context.ct.indices();
    const std::uint32_t end = *s.sync + std::min(kIndicesPerStep, indices - *s.sync);
    seal(context);  // what has happened comes before what is found now
    if (!room(context)) return false;
    scratch_.clear();
    ct::Snapshot conn;
    while (*s.sync < end && has_space(scratch_)) {
        if (!context.ct.snapshot((*s.sync)++, output.now, conn)) continue;
        if (!s.request.filter.matches(conn)) continue;
        ++s.shown;
        append_sync(scratch_, conn, output);
    }
    if (!scratch_.empty()) append_text(out_, scratch_);
    if (*s.sync < indices) return true;
    append_synced(out_, s.shown);
    s.shown = 0;
    s.sync.reset();
    if (std::exchange(s.stale, false)) s.sync = 0;
    return s.sync.has_value();
}

bool Session::holds_up(const ServerContext& context, Clock::time_point now) {
    Subscription* s = std::get_if<Subscription>(&job_);
    if (s == nullptr) return false;
    if (!has_space(s->text)) seal(context);
    if (has_space(s->text)) {
        s->full_since.reset();
        return false;
    }
    if (!s->full_since) s->full_since = now;
    return now - *s->full_since < kPatience;
}

void Session::lose(std::uint64_t lost) noexcept {
    if (subscribed()) std::get<Subscription>(job_).lost += lost;
}

void Session::offer(const ct::Event& event, const ServerContext& context) {
    Subscription* s = std::get_if<Subscription>(&job_);
    if (!subscribed() || (s->request.events & bit_of(event.type)) == 0) return;
    if (!s->request.filter.matches(event.conn)) return;
    if (!has_space(s->text) || s->lost > 0) seal(context);
    if (s->lost > 0 || !has_space(s->text)) {
        ++s->lost;
        return;
    }
    RenderOptions output = s->request.output;
    output.wall_offset_ns = context.hooks.wall_offset_ns ? context.hooks.wall_offset_ns() : 0;
    output.now = event.when;
    ct::Event numbered = event;
    numbered.number = s->next++;
    append_event(s->text, numbered, output);
}

void Session::seal(const ServerContext& context) {
    Subscription* s = std::get_if<Subscription>(&job_);
    if (s == nullptr || !room(context)) return;
    if (!s->text.empty()) append_text(out_, s->text);
    s->text.clear();
    if (s->lost == 0) return;
    append_gap(out_, s->lost, s->next);
    s->next += std::exchange(s->lost, 0);
    if (s->sync)
        s->stale = true;
    else
        s->sync = 0;
}

}  // namespace dp
