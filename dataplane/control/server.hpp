// SPDX-License-Identifier: BSD-3-Clause
//
// The daemon's side of the control protocol: one thread, epoll, and a bounded amount of memory and
// of patience for each client.
//
// A listing is a cursor over the indices of the table. It moves on only while the client's buffer
// has room, a few thousand indices a turn, so a million entries take no more memory than a hundred,
// a client that does not read stops only itself, and clients take turns. Workers are not asked for
// anything: snapshots are read past them (ct/conntrack.hpp).
//
// Events are taken from the workers' rings every few milliseconds while somebody listens. What a
// ring or a client's buffer cannot take is lost, but never in silence: the client is told how much
// and where, and is then shown the table as it stands, so that it knows as much as if it had heard
// all of it.
#pragma once

#include "ct/base/drop.hpp"
#include "ct/conntrack.hpp"
#include "dataplane/control/protocol.hpp"
#include "nat/rule.hpp"

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <sys/types.h>
#include <vector>

namespace dp {

struct ServerOptions {
    std::string path{kDefaultSocket};
    mode_t mode = 0600;                                ///< of the socket file
    std::size_t max_clients = 32;                      ///< one more is told so and sent away
    std::size_t buffer_bytes = 256 * 1024;             ///< of responses that wait for one client
    std::chrono::milliseconds idle_timeout{60'000};    ///< a client that asks for nothing
    std::chrono::milliseconds stall_timeout{300'000};  ///< a client that takes nothing of a listing
    std::chrono::milliseconds event_interval{5};       ///< between looks at the event rings
};

/// One address of a port, with the length of its subnet's prefix.
struct PortAddress {
    std::string port;
    nat::Prefix prefix;
    bool primary = false;  ///< of its family, for masquerade and redirect
};

/// What the server asks of the rest of the daemon. Called from the server's thread. Only `now` has
/// to be there.
struct ControlHooks {
    /// The tracker's time.
    std::function<ct::Nanos()> now;
    /// Wall clock minus the tracker's time, in nanoseconds.
    std::function<std::int64_t()> wall_offset_ns;
    /// Packets dropped so far, by index_of(ct::Drop).
    std::function<std::array<std::uint64_t, ct::kDropCount>()> drops;
    /// A JSON object without a newline: what the daemon tells of its workers and ports. It is
    /// answered to `stats` as member `daemon`, beside `conntrack`.
    std::function<std::string()> stats_json;
    /// The story of a flow's next packets (control/story.hpp) as a JSON object without a newline;
    /// `in_port` is the name of the port that they come in by, or empty. Throws BadParameter.
    std::function<std::string(const ct::Tuple& tuple, const std::string& in_port)> explain;
    /// The port that the routes lead to an address by, kNoPort if they do not: for connections that
    /// are made by hand.
    std::function<ct::PortId(ct::Family family, const ct::Addr& addr)> port_towards;
    /// Settings of the table have changed (`sysctl`).
    std::function<void()> settings_changed;
    /// Takes the port of this name out of service or puts it back; how many connections that ended,
    /// or nothing if no port has the name.
    std::function<std::optional<std::uint32_t>(std::string_view port, bool up)> set_port;
    /// The addresses of the port of this name, or of all ports if it is empty, by port and in their
    /// order. Throws BadParameter if no port has the name.
    std::function<std::vector<PortAddress>(std::string_view port)> addresses;
    /// Gives a port an address (`add`) or takes it away; how many connections that ended. Throws
    /// BadParameter, also if no port has the name. Is there if `addresses` is.
    std::function<std::uint32_t(std::string_view port, const nat::Prefix& address, bool add)>
        change_address;
    /// Takes a message worth the daemon's log.
    std::function<void(std::string_view)> log;
};

class Server {
public:
    /// Listens from here on. Throws std::runtime_error if it cannot. `ct` outlives the server.
    Server(ServerOptions options, ct::Conntrack& ct, ControlHooks hooks);
    ~Server();
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    /// Serves until `stop` is requested. One thread at a time.
    void run(std::stop_token stop);

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace dp
