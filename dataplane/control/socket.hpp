// SPDX-License-Identifier: BSD-3-Clause
//
// File descriptors that close themselves, and the socket file that the daemon listens on.
#pragma once

#include <string>
#include <sys/types.h>
#include <utility>

namespace dp {

/// Owns a file descriptor, or none (-1).
class FileDescriptor {
public:
    FileDescriptor() noexcept = default;
    explicit FileDescriptor(int fd) noexcept : fd_{fd} {}
    ~FileDescriptor() { close(); }
    FileDescriptor(FileDescriptor&& o) noexcept : fd_{std::exchange(o.fd_, -1)} {}
    FileDescriptor& operator=(FileDescriptor&& o) noexcept {
        if (this != &o) {
            close();
            fd_ = std::exchange(o.fd_, -1);
        }
        return *this;
    }
    FileDescriptor(const FileDescriptor&) = delete;
    FileDescriptor& operator=(const FileDescriptor&) = delete;

    [[nodiscard]] int get() const noexcept { return fd_; }
    [[nodiscard]] bool valid() const noexcept { return fd_ >= 0; }
    void close() noexcept;

private:
    int fd_ = -1;
};

/// A listening UNIX stream socket and its file.
///
/// The file has its final mode from the first moment. A file that is left over from a daemon that
/// died is replaced; one behind which somebody answers is not. While it looks and binds it holds a
/// lock on the directory, so of two daemons that start at once one is refused.
class ListeningSocket {
public:
    /// Throws std::runtime_error, with what to do about it.
    ListeningSocket(const std::string& path, mode_t mode);
    /// Removes the file, if it still is this socket's.
    ~ListeningSocket();
    ListeningSocket(const ListeningSocket&) = delete;
    ListeningSocket& operator=(const ListeningSocket&) = delete;

    /// Non-blocking.
    [[nodiscard]] int fd() const noexcept { return fd_.get(); }
    [[nodiscard]] const std::string& path() const noexcept { return path_; }

private:
    std::string path_;
    FileDescriptor fd_;
    dev_t device_ = 0;  ///< of the file, to know it again
    ino_t inode_ = 0;
};

/// Connects to the socket at `path`, blocking. The descriptor is invalid if that failed; errno says
/// why.
[[nodiscard]] FileDescriptor connect_to(const std::string& path) noexcept;

}  // namespace dp
