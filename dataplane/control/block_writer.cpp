// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/control/block_writer.hpp"

#include "dataplane/control/notation.hpp"
#include "dataplane/control/socket.hpp"
#include "dataplane/control/units.hpp"

#include <climits>
#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <utility>
#include <variant>

namespace dp {
namespace {

/// Between attempts at a destination that failed, and between looks for a file that was moved.
constexpr std::chrono::milliseconds kPause{200};
constexpr mode_t kFileMode = 0640;

enum class Sent : std::uint8_t {
    Done,
    Busy,    ///< takes no more just now
    Failed,  ///< errno says why
};

SyslogOrigin origin_of(unsigned facility) {
    std::array<char, HOST_NAME_MAX + 1> name{};
    SyslogOrigin origin;
    origin.facility = facility;
    origin.process = static_cast<std::uint32_t>(::getpid());
    if (::gethostname(name.data(), name.size() - 1) == 0 && name[0] != '\0')
        origin.host = name.data();
    return origin;
}

/// A log file, opened when there is something to write.
class LogFile {
public:
    explicit LogFile(std::string path) : path_{std::move(path)} {}

    /// Appends `line` and a newline. What was left of it when the disk was full is gone on with.
    Sent write(const std::string& line) {
        if (!fd_.valid() && !open()) return Sent::Failed;
        if (rest_.empty()) rest_ = line + '\n';
        while (!rest_.empty()) {
            const ssize_t n = ::write(fd_.get(), rest_.data(), rest_.size());
            if (n < 0 && errno == EINTR) continue;
            if (n < 0) return errno == EAGAIN ? Sent::Busy : Sent::Failed;
            rest_.erase(0, static_cast<std::size_t>(n));
            begun_ = !rest_.empty();
        }
        return Sent::Done;
    }
    /// The line that was refused is not to be written any more. What was begun is ended.
    void forget() { rest_ = begun_ ? "\n" : ""; }
    /// Looks whether the file still is where it was.
    void refresh() {
        struct stat there {};
        if (fd_.valid() && (::stat(path_.c_str(), &there) != 0 || there.st_dev != device_ ||
                            there.st_ino != inode_))
            fd_.close();
    }

private:
    bool open() {
        FileDescriptor fd{
            ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, kFileMode)};
        struct stat own {};
        if (!fd.valid() || ::fstat(fd.get(), &own) != 0) return false;
        fd_ = std::move(fd);
        device_ = own.st_dev;
        inode_ = own.st_ino;
        return true;
    }

    std::string path_;
    FileDescriptor fd_;
    std::string rest_;    ///< of the line that is being written
    bool begun_ = false;  ///< a part of it is in the file
    dev_t device_ = 0;
    ino_t inode_ = 0;
};

/// A datagram socket towards a collector.
class LogSocket {
public:
    explicit LogSocket(SyslogTarget target) : target_{std::move(target)} {}

    Sent write(const std::string& line) {
        if (!fd_.valid() && !connect()) return Sent::Failed;
        if (again_) {
            if (const Sent sent = send(last_); sent != Sent::Done) return sent;
            again_ = false;
        }
        const Sent sent = send(line);
        if (sent == Sent::Done && target_.udp) last_ = line;
        return sent;
    }
    void forget() {}
    void refresh() {}

private:
    Sent send(const std::string& line) {
        for (;;) {
            if (::send(fd_.get(), line.data(), line.size(), MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
                return Sent::Done;
            const int error = errno;
            if (error == EINTR) continue;
            if (error == EAGAIN || error == ENOBUFS) return Sent::Busy;
            // An ICMP error says that the datagram before this one came to nothing.
            if (target_.udp && error == ECONNREFUSED) again_ = !last_.empty();
            if (!target_.udp) fd_.close();
            errno = error;
            return Sent::Failed;
        }
    }
    bool connect() {
        sockaddr_storage address{};
        socklen_t size = 0;
        if (!target_.udp) {
            auto* un = reinterpret_cast<sockaddr_un*>(&address);
            un->sun_family = AF_UNIX;
            std::memcpy(un->sun_path, target_.path.data(), target_.path.size());
            size = sizeof *un;
        } else if (target_.family == ct::Family::Ipv4) {
            auto* in = reinterpret_cast<sockaddr_in*>(&address);
            in->sin_family = AF_INET;
            in->sin_port = htons(target_.port);
            std::memcpy(&in->sin_addr, target_.address.bytes.data(), sizeof in->sin_addr);
            size = sizeof *in;
        } else {
            auto* in6 = reinterpret_cast<sockaddr_in6*>(&address);
            in6->sin6_family = AF_INET6;
            in6->sin6_port = htons(target_.port);
            std::memcpy(&in6->sin6_addr, target_.address.bytes.data(), sizeof in6->sin6_addr);
            size = sizeof *in6;
        }
        FileDescriptor fd{::socket(address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
        if (!fd.valid() || ::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), size) != 0)
            return false;
        fd_ = std::move(fd);
        return true;
    }

    SyslogTarget target_;
    FileDescriptor fd_;
    std::string last_;    ///< sent last; of UDP
    bool again_ = false;  ///< which was lost
};

}  // namespace

std::optional<SyslogTarget> parse_syslog_target(std::string_view text) {
    constexpr std::string_view kUnix = "unix:";
    constexpr std::string_view kUdp = "udp:";
    SyslogTarget out;
    if (text.starts_with(kUnix)) {
        out.path = text.substr(kUnix.size());
        const bool fits = !out.path.empty() && out.path.size() < sizeof(sockaddr_un::sun_path) &&
                          out.path.find('\0') == std::string::npos;
        return fits ? std::optional{out} : std::nullopt;
    }
    if (!text.starts_with(kUdp)) return std::nullopt;
    text.remove_prefix(kUdp.size());
    out.udp = true;
    std::string_view port;
    if (const std::size_t end = text.find("]:"); text.starts_with('[')) {
        if (end == std::string_view::npos) return std::nullopt;
        port = text.substr(end + 2);
        text = text.substr(1, end - 1);
        if (port.empty()) return std::nullopt;
    } else if (const std::size_t colon = text.find(':');
               colon != std::string_view::npos && text.find(':', colon + 1) == text.npos) {
        port = text.substr(colon + 1);
        text = text.substr(0, colon);
        if (port.empty()) return std::nullopt;
    }
    const auto address = parse_address(text);
    if (!address) return std::nullopt;
    out.family = address->family;
    out.address = address->addr;
    if (port.empty()) return out;
    const auto number = parse_number(port);
    if (!number || *number == 0 || *number > 0xffff) return std::nullopt;
    out.port = static_cast<std::uint16_t>(*number);
    return out;
}

/// A destination and how far it has come.
struct BlockWriter::Output {
    std::variant<LogFile, LogSocket> to;
    BlockLogFormat format;
    SyslogOrigin origin;
    std::size_t next = 0;  ///< record of the batch
    DestinationTotals totals;
    Clock::time_point retry_at{};
    Clock::time_point refresh_at{};
    Clock::time_point busy_since{};  ///< 0: it is not

    [[nodiscard]] std::string line_of(const BlockRecord& r) const {
        return format == BlockLogFormat::Json ? to_json(r) : to_syslog(r, origin);
    }
    void throw_away(std::size_t count) {
        std::visit([](auto& t) { t.forget(); }, to);
        totals.lost += count - next;
        next = count;
    }
};

BlockWriter::BlockWriter(const BlockLogConfig& config, std::function<void(std::string_view)> notify)
    : notify_{std::move(notify)}, keep_going_{config.keep_going} {
    const SyslogOrigin origin = origin_of(config.facility);
    const auto add_output = [&](auto&& to, BlockLogFormat format, const std::string& name) {
        auto out = std::make_unique<Output>(
            Output{std::forward<decltype(to)>(to), format, origin, 0, {}, {}, {}, {}});
        out->totals.name = name;
        totals_.push_back(out->totals);
        outputs_.push_back(std::move(out));
    };
    if (!config.file.empty()) add_output(LogFile{config.file}, config.format, config.file);
    if (const auto target = parse_syslog_target(config.syslog))
        add_output(LogSocket{*target}, BlockLogFormat::Syslog, config.syslog);
}

BlockWriter::~BlockWriter() = default;

void BlockWriter::add(BlockRecord record) {
    record.number = ++number_;
    batch_.push_back(std::move(record));
}

/// A line for the daemon's log where something has changed.
void BlockWriter::tell(Output& out, const std::string& error) {
    if (error == out.totals.error) return;
    out.totals.error = error;
    if (!notify_) return;
    if (error.empty())
        notify_(fmt::format("nat_log: {} takes records again", out.totals.name));
    else
        notify_(fmt::format("nat_log: {}: {}; {}", out.totals.name, error,
                            keep_going_ ? "records are lost until it works again"
                                        : "when the queues are full no block is given out until "
                                          "it works again"));
}

void BlockWriter::write_batch(Output& out, Clock::time_point now) {
    if (now >= out.refresh_at) {
        std::visit([](auto& t) { t.refresh(); }, out.to);
        out.refresh_at = now + kPause;
    }
    while (now >= out.retry_at && out.next < batch_.size()) {
        const std::string line = out.line_of(batch_[out.next]);
        const Sent sent = std::visit([&](auto& t) { return t.write(line); }, out.to);
        if (sent == Sent::Busy) {
            if (out.busy_since == Clock::time_point{}) out.busy_since = now;
            if (!keep_going_ || now - out.busy_since < kPause) return;
            errno = EAGAIN;  // who stays behind for so long has failed
        }
        out.busy_since = {};
        if (sent == Sent::Done) {
            ++out.next;
            ++out.totals.written;
            tell(out, "");
            continue;
        }
        const std::string error = std::strerror(errno);
        ++out.totals.failures;
        out.retry_at = now + kPause;
        tell(out, error);
    }
    if (now < out.retry_at && keep_going_) out.throw_away(batch_.size());
}

void BlockWriter::turn(Clock::time_point now) {
    bool all = true;
    for (const auto& out : outputs_) {
        write_batch(*out, now);
        all = all && out->next == batch_.size();
    }
    if (all) {
        batch_.clear();
        for (const auto& out : outputs_) out->next = 0;
    }
    const std::lock_guard guard{mutex_};
    for (std::size_t i = 0; i < outputs_.size(); ++i) totals_[i] = outputs_[i]->totals;
}

void BlockWriter::give_up() {
    for (const auto& out : outputs_) out->throw_away(batch_.size());
    turn(Clock::now());
}

std::vector<DestinationTotals> BlockWriter::totals() const {
    const std::lock_guard guard{mutex_};
    return totals_;
}

}  // namespace dp
