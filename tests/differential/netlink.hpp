// SPDX-License-Identifier: BSD-3-Clause
//
// The kernel's connection table by ctnetlink, and what its rules log by nfnetlink_log.
#pragma once

#include "tests/differential/trace.hpp"

#include <cstdint>
#include <functional>
#include <libmnl/libmnl.h>
#include <memory>
#include <optional>
#include <vector>

namespace differential {

struct CloseSocket {
    void operator()(mnl_socket* s) const noexcept { mnl_socket_close(s); }
};
using Socket = std::unique_ptr<mnl_socket, CloseSocket>;

/// The connection table of the network namespace in which the object was made. Every call throws
/// std::system_error if the kernel refuses it.
class Ctnetlink {
public:
    Ctnetlink();

    /// The entry that holds `t` as its original or reply tuple.
    [[nodiscard]] std::optional<Entry> find(const ct::Tuple& t);
    [[nodiscard]] std::vector<Entry> dump();
    /// Makes the entry with that original tuple expire in `seconds`, at once if that is 0. An entry
    /// that is gone, or whose time-out is fixed, is left alone.
    void set_timeout(const ct::Tuple& original, std::uint32_t seconds);
    /// Ends the entry with that original tuple, if there is one.
    void erase(const ct::Tuple& original);
    [[nodiscard]] Counts counts();
    /// The name of this socket: the kernel tells it with what its requests have caused.
    [[nodiscard]] std::uint32_t portid() const noexcept { return portid_; }

private:
    /// Sends the request in `buffer_` and hands every answer to `take`. Returns the error number
    /// with which the kernel ended, 0 if none.
    int exchange(const std::function<void(const nlmsghdr*)>& take);
    nlmsghdr* request(std::uint8_t subsystem, std::uint8_t type, std::uint16_t flags,
                      std::uint8_t family);

    Socket socket_;
    std::uint32_t portid_ = 0;
    std::uint32_t sequence_ = 0;
    std::vector<char> buffer_;
    std::vector<char> answer_;
};

/// The events of the connection table.
class EventLog {
public:
    EventLog();

    /// Hands each event since the last call to `take`, without waiting: what happened to which
    /// entry, and which socket asked for it (0: none, a packet or time). Throws std::system_error
    /// if some were lost.
    void read(const std::function<void(Happening::Kind, const Entry&, std::uint32_t by)>& take);

private:
    Socket socket_;
    std::vector<char> buffer_;
};

/// What the namespace's log rule says: one mark for each packet that passes it.
class RuleLog {
public:
    /// Listens to log group `group`.
    explicit RuleLog(std::uint16_t group);

    /// Hands each mark logged since the last call to `take`, without waiting.
    void read(const std::function<void(std::uint32_t mark)>& take);

private:
    Socket socket_;
    std::vector<char> buffer_;
};

}  // namespace differential
