// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/control/client.hpp"

#include <cerrno>
#include <cstring>
#include <poll.h>
#include <sys/socket.h>

namespace dp {

namespace {

constexpr std::size_t kReceiveBytes = 256 * 1024;  // at a time
constexpr std::size_t kMaxLineBytes = 4 << 20;     // of data; text is shorter by far

}  // namespace

Client::Client(const std::string& path) : path_{path}, fd_{connect_to(path)} {
    if (fd_.valid()) return;
    std::string why = std::strerror(errno);
    if (errno == ENOENT || errno == ECONNREFUSED)
        why += "; is sluice running? --socket PATH chooses another";
    if (errno == EACCES) why += "; only its owner may use it";
    throw ClientError{"cannot connect to " + path + ": " + why};
}

void Client::send(const Request& request) {
    const std::string line = to_line(request) + "\n";
    for (std::size_t sent = 0; sent < line.size();) {
        const ssize_t n = ::send(fd_.get(), line.data() + sent, line.size() - sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        // Whoever refuses a client says why before he hangs up: receive() will tell.
        if (n < 0 && errno == EPIPE) return;
        if (n < 0) throw ClientError{path_ + ": " + std::strerror(errno)};
        sent += static_cast<std::size_t>(n);
    }
}

std::optional<Response> Client::receive(std::chrono::milliseconds patience) {
    for (;;) {
        const std::size_t end = in_.find('\n', taken_ + searched_);
        if (end != std::string::npos) {
            Response out = parse_response(std::string_view{in_}.substr(taken_, end - taken_));
            taken_ = end + 1;
            searched_ = 0;
            return out;
        }
        in_.erase(0, taken_);
        taken_ = 0;
        searched_ = in_.size();
        if (searched_ > kMaxLineBytes) throw ClientError{path_ + ": the answer is too long"};

        pollfd waiting{fd_.get(), POLLIN, 0};
        const int ready = ::poll(&waiting, 1, static_cast<int>(patience.count()));
        if (ready == 0 || (ready < 0 && errno == EINTR)) return {};
        if (ready < 0) throw ClientError{path_ + ": " + std::strerror(errno)};
        in_.resize(searched_ + kReceiveBytes);
        const ssize_t n = ::recv(fd_.get(), in_.data() + searched_, kReceiveBytes, 0);
        const int why = errno;
        in_.resize(searched_ + (n > 0 ? static_cast<std::size_t>(n) : 0));
        if (n == 0) throw ClientError{path_ + ": the daemon closed the connection"};
        if (n < 0 && why != EINTR) throw ClientError{path_ + ": " + std::strerror(why)};
    }
}

Response Client::receive() {
    for (;;)
        if (auto response = receive(std::chrono::milliseconds{-1})) return *std::move(response);
}

}  // namespace dp
