// SPDX-License-Identifier: BSD-3-Clause
//
// The control protocol: JSON lines over a UNIX stream socket. A client sends one object a line and
// gets lines back, of which the last has `done` or `error`; then it may send the next.
//
//   request    {"v":1,"cmd":"list","table":"conntrack","filter":{...},"output":{"id":true}}
//   responses  {"text":"..."}               text to be printed as it is, at most 64 KiB as it
//   stands
//              {"note":"..."}               a line for standard error: something failed on the way
//              {"gap":N,"seq":S}            N events were lost here, S to S + N - 1 (events)
//              {"synced":N}                 the listing that followed a gap ends, after N entries
//              {"data":{...}}               an object to be shown (stats, drops, version, count)
//              {"done":true,"count":N}      the end; N entries were shown, made, changed or deleted
//              {"error":"...","code":N}     the end; N is the exit code that it calls for
//
//   cmd        needs                        answers
//   list       table, filter, output, zero  text, done
//   get        filter, output               text, done; the filter names a whole tuple
//   delete     filter, output               text of what was deleted, done
//   create     entry, existing              done; `existing` "keep": what is there is left, count 0
//   update     filter, change, output       text of what was changed, notes, done
//   flush      table, filter                done; of the filter the family alone counts
//   count      table                        data {"count":N}, done
//   counters   table                        text as `conntrack -S`, done
//   events     table, filter, output,       text, gap and synced until the client leaves; no done
//              events, buffer
//   sysctl     name, value                  data {name:value, ...}, done; without a name all of
//                                           them, with a value that is set before
//   port       name, value                  data {"port":"...","up":true,"ended":N}, done; value 0
//                                           takes the port out of service, 1 puts it back
//   address    name, address, value         data {"ended":N,"addresses":[{"port":"...",
//                                           "address":"A/L","primary":true}, ...]}, done: the
//                                           addresses of port `name`, or of all. With value 1 the
//                                           port is given `address` (A/L) before, with 0 it loses
//                                           it, and N connections with it
//   drops                                   data {reason:count, ...}, done
//   explain    filter, name                 data, done: what becomes of the next packets. The
//                                           filter names a whole tuple, `name` the port that they
//                                           come in by, if it is known
//   stats                                   data, done; what the daemon tells of itself
//   version                                 data {"version":"..."}, done
//   ping                                    done
//
// A client may send some requests before it has read the answers; they come in the same order. It
// must read them all the same: the daemon does not go on while it cannot send.
//
// After a gap, what the table holds is shown again, as entries that are neither new nor changed, up
// to `synced`; events go on in between. Whatever the client knew and does not see again is gone.
//
// The daemon renders the lines of a listing itself: a million entries cost neither it nor the
// client a JSON object each.
#pragma once

#include "dataplane/control/filter.hpp"
#include "dataplane/control/render.hpp"

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <string>
#include <string_view>

namespace dp {

/// The version that a request states as `v`.
inline constexpr unsigned kProtocolVersion = 1;
/// Bytes of the longest request line.
inline constexpr std::size_t kMaxRequestBytes = 64 * 1024;
/// Bytes of the longest response line.
inline constexpr std::size_t kMaxResponseBytes = 64 * 1024;
/// Where the daemon listens unless told otherwise.
inline constexpr std::string_view kDefaultSocket = "/run/sluice.sock";

/// The version of Sluice, as in meson.build.
[[nodiscard]] std::string_view version() noexcept;

enum class Command : std::uint8_t {
    List,
    Get,
    Delete,
    Create,
    Update,
    Flush,
    Count,
    Counters,
    Events,
    Sysctl,
    Port,
    Address,
    Drops,
    Explain,
    Stats,
    Version,
    Ping,
};

enum class Table : std::uint8_t { Conntrack, Expect, Dying, Unconfirmed };

/// Names as they stand in requests.
[[nodiscard]] std::string_view name_of(Command command) noexcept;
[[nodiscard]] std::string_view name_of(Table table) noexcept;
[[nodiscard]] std::optional<Table> find_table(std::string_view name) noexcept;

/// Sets of event types, for Request::events.
inline constexpr std::uint8_t kEventNew = 1U << static_cast<unsigned>(ct::EventType::New);
inline constexpr std::uint8_t kEventUpdate = 1U << static_cast<unsigned>(ct::EventType::Update);
inline constexpr std::uint8_t kEventDestroy = 1U << static_cast<unsigned>(ct::EventType::Destroy);
inline constexpr std::uint8_t kEventAll = kEventNew | kEventUpdate | kEventDestroy;

/// The largest Request::buffer, in bytes.
inline constexpr std::uint32_t kMaxEventBuffer = 64U << 20;

/// One request.
struct Request {
    Command command = Command::Ping;
    Table table = Table::Conntrack;
    Filter filter;
    RenderOptions output;             ///< `use`, `now` and the wall clock are the daemon's
    std::uint8_t events = kEventAll;  ///< set of kEvent*
    /// Bytes of events that the daemon keeps for a slow client, at most kMaxEventBuffer; 0: as it
    /// likes.
    std::uint32_t buffer = 0;
    bool zero = false;           ///< list: set the counters that are shown to 0
    ct::Injection entry;         ///< of create
    bool keep_existing = false;  ///< create: an entry that is there already is no error
    ct::Change change;           ///< of update
    std::string name;            ///< of sysctl, empty: all; of port, address and explain: a port
    std::string address;         ///< of address: with its prefix length
    std::optional<std::uint64_t> value;  ///< of sysctl, port and address: to be set
};

/// Reads a request line, without its newline. Throws BadParameter; the line may be anything.
[[nodiscard]] Request parse_request(std::string_view line);
/// The line that parse_request() reads, without a newline.
[[nodiscard]] std::string to_line(const Request& request);

/// The tuple that `get` asks for. Throws BadParameter if the filter does not name a whole one.
[[nodiscard]] ct::Tuple tuple_of(const Filter& filter);

// Responses, each appended with its newline.
void append_text(std::string& out, std::string_view text);
void append_note(std::string& out, std::string_view text);
void append_gap(std::string& out, std::uint64_t lost, std::uint64_t first);
void append_synced(std::string& out, std::uint64_t count);
/// `object` is JSON and has no newline.
void append_data(std::string& out, std::string_view object);
void append_done(std::string& out, std::uint64_t count);
void append_error(std::string& out, std::string_view message, int code);

/// A response as the client sees it.
struct Response {
    enum class Kind : std::uint8_t { Text, Note, Gap, Synced, Data, Done, Error };

    Kind kind = Kind::Done;
    std::string text;         ///< Text, Note: to be printed; Data: the JSON; Error: the message
    std::uint64_t count = 0;  ///< Done, Synced: entries; Gap: events lost
    std::uint64_t first = 0;  ///< Gap: the number of the first event that was lost
    int code = 0;             ///< Error: exit code
};

/// Reads a response line, without its newline. Throws std::runtime_error if it is none.
[[nodiscard]] Response parse_response(std::string_view line);

}  // namespace dp
