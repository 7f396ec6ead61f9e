// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/control/socket.hpp"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <stdexcept>
#include <string_view>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace dp {

namespace {

constexpr int kBacklog = 64;  // connections that may wait to be accepted

[[noreturn]] void fail(const std::string& path, std::string_view what) {
    throw std::runtime_error{"control socket " + path + ": " + std::string{what}};
}

[[noreturn]] void fail_errno(const std::string& path, std::string_view doing) {
    fail(path, std::string{doing} + ": " + std::strerror(errno));
}

/// False, with errno set, if the path is too long for a socket's address.
bool make_address(const std::string& path, sockaddr_un& out) noexcept {
    out = {};
    out.sun_family = AF_UNIX;
    if (path.empty() || path.size() >= sizeof out.sun_path) {
        errno = ENAMETOOLONG;
        return false;
    }
    std::memcpy(out.sun_path, path.data(), path.size());
    return true;
}

const sockaddr* generic(const sockaddr_un& a) noexcept {
    return reinterpret_cast<const sockaddr*>(&a);
}

std::string directory_of(const std::string& path) {
    const std::size_t slash = path.rfind('/');
    if (slash == std::string::npos) return ".";
    return slash == 0 ? "/" : path.substr(0, slash);
}

/// Removes a socket file that nobody listens behind.
void remove_stale(const std::string& path) {
    struct stat st {};
    if (::lstat(path.c_str(), &st) != 0) {
        if (errno == ENOENT) return;
        fail_errno(path, "cannot look at it");
    }
    if (!S_ISSOCK(st.st_mode)) fail(path, "exists and is not a socket; choose another path");
    if (connect_to(path).valid())
        fail(path, "another daemon answers there; stop it, or choose another path");
    if (errno != ECONNREFUSED) fail_errno(path, "exists, and asking who is behind it failed");
    if (::unlink(path.c_str()) != 0) fail_errno(path, "cannot remove the file of a dead daemon");
}

}  // namespace

void FileDescriptor::close() noexcept {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
}

FileDescriptor connect_to(const std::string& path) noexcept {
    sockaddr_un address;
    if (!make_address(path, address)) return {};
    FileDescriptor fd{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    if (!fd.valid()) return {};
    if (::connect(fd.get(), generic(address), sizeof address) == 0) return fd;
    const int why = errno;
    fd.close();
    errno = why;
    return {};
}

ListeningSocket::ListeningSocket(const std::string& path, mode_t mode) : path_{path} {
    sockaddr_un address;
    if (!make_address(path, address)) fail_errno(path, "not usable as a socket's path");

    const std::string directory = directory_of(path);
    const FileDescriptor lock{::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    if (!lock.valid()) fail_errno(path, "cannot open its directory");
    if (::flock(lock.get(), LOCK_EX) != 0) fail_errno(path, "cannot lock its directory");

    remove_stale(path);
    fd_ = FileDescriptor{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    if (!fd_.valid()) fail_errno(path, "cannot make a socket");
    // bind() makes the file with the modes that the mask leaves: no chmod afterwards, hence no
    // moment in which it is open to all.
    const mode_t old_mask = ::umask(~mode & 0777);
    const bool bound = ::bind(fd_.get(), generic(address), sizeof address) == 0;
    const int why = errno;
    ::umask(old_mask);
    errno = why;
    if (!bound) fail_errno(path, "cannot bind");
    struct stat st {};
    if (::lstat(path.c_str(), &st) == 0) {
        device_ = st.st_dev;
        inode_ = st.st_ino;
    }
    if (::listen(fd_.get(), kBacklog) != 0) fail_errno(path, "cannot listen");
}

ListeningSocket::~ListeningSocket() {
    struct stat st {};
    if (::lstat(path_.c_str(), &st) == 0 && st.st_dev == device_ && st.st_ino == inode_)
        ::unlink(path_.c_str());
}

}  // namespace dp
