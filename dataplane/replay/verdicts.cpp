// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/replay/verdicts.hpp"

#include "dataplane/control/story.hpp"

#include <cerrno>
#include <cstring>
#include <stdexcept>

namespace dp::replay {

Verdict verdict_of(const ct::Packet& p) noexcept {
    Verdict v{.drop = p.drop, .state = p.state, .dir = p.dir, .has_connection = false};
    // An abandoned entry takes its handle with it, but the packet's state still tells.
    v.has_connection = v.state == ct::CtState::New || v.state == ct::CtState::Established ||
                       v.state == ct::CtState::Related;
    return v;
}

std::string line_of(std::uint64_t n, std::string_view port, const Verdict& v) {
    std::string line = std::to_string(n);
    line += ' ';
    line += port;
    line += v.drop == ct::Drop::None ? " accept " : " drop ";
    line += ctstate_name(v.state);
    line += !v.has_connection ? " - " : v.dir == ct::Dir::Original ? " original " : " reply ";
    line += v.drop == ct::Drop::None ? "-" : ct::name_of(v.drop);
    return line;
}

VerdictLog::VerdictLog(const std::string& path) : path_{path} {
    if (path.empty()) return;
    file_ = path == "-" ? stdout : std::fopen(path.c_str(), "w");
    if (file_ == nullptr) throw std::runtime_error(path + ": " + std::strerror(errno));
}

VerdictLog::~VerdictLog() {
    if (file_ != nullptr && file_ != stdout) static_cast<void>(std::fclose(file_));
}

std::uint64_t VerdictLog::add(std::string_view port) {
    waiting_.push_back({port, {}});
    return first_ + waiting_.size() - 1;
}

void VerdictLog::decide(std::uint64_t n, const Verdict& verdict) {
    Line& line = waiting_[n - first_];
    line.text = line_of(n, line.port, verdict);
    for (; !waiting_.empty() && !waiting_.front().text.empty(); ++first_) {
        if (file_ != nullptr) {
            waiting_.front().text += '\n';
            std::fputs(waiting_.front().text.c_str(), file_);
        }
        waiting_.pop_front();
    }
}

void VerdictLog::close() {
    if (file_ == nullptr) return;
    const bool failed = std::fflush(file_) != 0 || std::ferror(file_) != 0;
    if (failed) throw std::runtime_error(path_ + ": cannot be written: " + std::strerror(errno));
}

}  // namespace dp::replay
