// SPDX-License-Identifier: BSD-3-Clause
//
// The client's side of the control protocol: one connection, one request at a time.
#pragma once

#include "dataplane/control/protocol.hpp"
#include "dataplane/control/socket.hpp"

#include <chrono>
#include <optional>
#include <stdexcept>
#include <string>

namespace dp {

/// The daemon is not there, went away, or does not speak the protocol.
class ClientError : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

class Client {
public:
    /// Connects to the daemon that listens at `path`. Throws ClientError.
    explicit Client(const std::string& path);

    /// Sends a request. Its responses are taken by receive() before the next is sent; the last is
    /// of kind Done or Error. Throws ClientError.
    void send(const Request& request);

    /// The next response; nothing if none came in `patience`, or a signal did. Throws ClientError.
    [[nodiscard]] std::optional<Response> receive(std::chrono::milliseconds patience);
    /// The next response, however long it takes. Throws ClientError.
    [[nodiscard]] Response receive();

private:
    std::string path_;
    FileDescriptor fd_;
    std::string in_;
    std::size_t taken_ = 0;     ///< bytes of in_ that were given out
    std::size_t searched_ = 0;  ///< bytes of in_ known to hold no end of line, from taken_ on
};

}  // namespace dp
