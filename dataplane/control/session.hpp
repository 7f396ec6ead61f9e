// SPDX-License-Identifier: BSD-3-Clause
//
// One client of the server: what it sent, what waits to be sent to it, and the work under way.
#pragma once

#include "dataplane/control/server.hpp"
#include "dataplane/control/socket.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

namespace dp {

/// What sessions share.
struct ServerContext {
    const ServerOptions& options;
    ct::Conntrack& ct;
    const ControlHooks& hooks;
};

class Session {
public:
    using Clock = std::chrono::steady_clock;

    Session(FileDescriptor fd, Clock::time_point now) noexcept;

    [[nodiscard]] int fd() const noexcept { return fd_.get(); }
    /// True if nothing more is to be done for this client: close it.
    [[nodiscard]] bool over() const noexcept;
    /// True if the client is to be heard, or has output that waits for it.
    [[nodiscard]] bool wants_input() const noexcept;
    [[nodiscard]] bool wants_output() const noexcept { return sent_ < out_.size(); }
    /// True if the client listens to events of connections.
    [[nodiscard]] bool subscribed() const noexcept;
    /// True if it has been silent, or deaf, for too long.
    [[nodiscard]] bool timed_out(const ServerOptions& options,
                                 Clock::time_point now) const noexcept;

    /// Takes in what the client has sent.
    void receive(Clock::time_point now);
    /// Does a bounded piece of work, if there is any and the buffer has room. True if more may be
    /// done at once.
    bool work(const ServerContext& context);
    /// Sends what can be sent without waiting.
    void send(Clock::time_point now);
    /// The client has hung up.
    void hang_up() noexcept { dead_ = true; }

    // For a subscribed session.

    /// True if the client is behind with reading, but not yet for so long that others should not
    /// wait for it.
    [[nodiscard]] bool holds_up(const ServerContext& context, Clock::time_point now);
    /// Tells that `lost` events were lost before the next that is offered.
    void lose(std::uint64_t lost) noexcept;
    /// Shows the client an event if it asked for its like; if the buffer has no room, counts it
    /// lost.
    void offer(const ct::Event& event, const ServerContext& context);
    /// Ends a batch of offers.
    void seal(const ServerContext& context);

private:
    /// A walk over the table: a listing, a deletion, a change or a flush.
    struct Walk {
        Request request;
        std::uint32_t next = 0;   ///< index to look at
        std::uint64_t count = 0;  ///< entries shown or deleted
    };
    struct Subscription {
        Request request;
        std::string text;                             ///< rendered, not yet in the output
        std::uint64_t next = 0;                       ///< number of the next event
        std::uint64_t lost = 0;                       ///< not yet told
        std::optional<Clock::time_point> full_since;  ///< when there was no room for more text
        // The listing after a gap.
        bool stale = false;                 ///< something was lost since it began: once more
        std::optional<std::uint32_t> sync;  ///< index to look at; none: no listing under way
        std::uint64_t shown = 0;            ///< entries of it
    };

    [[nodiscard]] bool room(const ServerContext& context) const noexcept;
    void answer(std::string_view line, const ServerContext& context);
    void start(Request&& request, const ServerContext& context);
    void get(const Request& request, const ServerContext& context);
    void create(const Request& request, const ServerContext& context);
    void advance(Walk& walk, const ServerContext& context);
    /// Does to an entry what the walk is for. False if it is not to be counted.
    [[nodiscard]] bool act(const Walk& walk, ct::Snapshot& conn, const RenderOptions& output,
                           const ServerContext& context);
    [[nodiscard]] bool change(const Request& request, ct::Snapshot& conn,
                              const RenderOptions& output, const ServerContext& context);
    bool sync(Subscription& subscription, const ServerContext& context);

    FileDescriptor fd_;
    std::uint32_t peer_ = 0;        ///< process at the other end; never 0 once known
    std::size_t buffer_bytes_ = 0;  ///< of output that may wait; 0: as the options say
    std::string in_;
    std::string out_;
    std::size_t sent_ = 0;  ///< bytes of out_ that are gone
    std::variant<std::monostate, Walk, Subscription> job_;
    std::string scratch_;  ///< rendered text of one step
    Clock::time_point last_progress_;
    bool no_more_input_ = false;  ///< the client has closed its sending side
    bool closing_ = false;        ///< close as soon as the output is sent
    bool dead_ = false;
};

}  // namespace dp
