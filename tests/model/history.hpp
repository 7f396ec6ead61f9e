// SPDX-License-Identifier: BSD-3-Clause
//
// What was asked of a table by several threads and what it answered, and whether a table that does
// one thing after the other could have answered so (linearizability, Herlihy and Wing): there must
// be an order of the calls, in which none stands before one that had returned when it began, that
// explains each answer and what is in the table at the end.
#pragma once

#include "ct/base/handle.hpp"
#include "ct/base/time.hpp"
#include "ct/wire/tuple.hpp"

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace model {

enum class Call : std::uint8_t {
    Open,    ///< a packet that opens a connection if it has none: lookup, update, open, confirm
    Send,    ///< a packet that does not: lookup, update
    Look,    ///< lookup alone
    Erase,   ///< as control does, by the handle that the connection had at first
    Expire,  ///< a worker's turn, long enough after the last for a sweep of the table
};

/// The most threads of a history.
inline constexpr std::size_t kMostThreads = 8;

/// One call.
struct Op {
    Call call = Call::Look;
    ct::Tuple tuple;              ///< of the packet; of Erase: of the connection
    ct::Tuple reply;              ///< Open: what NAT chooses
    std::uint8_t tcp_flags = 0;   ///< of the packet
    std::uint32_t seq = 0;        ///< likewise
    std::uint32_t ack = 0;        ///< likewise
    ct::Nanos at = 0;             ///< `now` of the call
    std::uint32_t timeout_s = 0;  ///< that the packet gives its connection
    bool assures = false;         ///< the packet makes its connection assured
    bool evicts = false;          ///< Open: the table may be full, so that somebody has to go
    bool may_refuse = false;      ///< Open: there may be nobody who has to go
    ct::ConnHandle target{};      ///< Erase: filled in when the threads begin
};

/// What came of it.
struct Answer {
    enum class What : std::uint8_t {
        None,    ///< Look, Send: no connection. Erase: it had ended
        Conn,    ///< Look, Send, Open: the packet belongs to `conn`, which was there. Erase: done
        Linked,  ///< Open: `conn` is new
        ReplyTaken,  ///< Open
        Refused,     ///< Open: no room
    };
    What what = What::None;
    ct::ConnHandle conn{};
};

/// A call of the history; `before` tells how many calls of each thread had returned when it began.
struct Done {
    Answer answer;
    std::array<std::uint8_t, kMostThreads> before{};
};

/// A connection as it should be.
struct Expected {
    ct::ConnHandle conn;
    ct::Tuple original;
    ct::Tuple reply;
    ct::Nanos deadline = 0;
    bool assured = false;
    std::uint32_t packets = 0;
};

/// What is in the table at the end.
struct Found {
    ct::ConnHandle conn;
    bool assured = false;
    std::uint32_t packets = 0;  ///< 0 if they are not counted
};

/// The calls of one thread.
struct ThreadHistory {
    std::vector<Op> ops;
    std::span<const Done> done;
};

/// Empty if some order explains everything, else what happened. `at_first` is in the table when the
/// threads begin; `found` when they have ended, at time `end`.
[[nodiscard]] std::string explain(std::span<const ThreadHistory> threads,
                                  const std::vector<Expected>& at_first,
                                  const std::vector<Found>& found, ct::Nanos end);

}  // namespace model
