// SPDX-License-Identifier: BSD-3-Clause
//
// What became of each packet of a replay: `N PORT VERDICT CTSTATE DIR REASON`, in the order of N.
//
// A fragment that waits for its first is decided later than packets that came after it, so lines
// wait until all before them are complete.
#pragma once

#include "ct/wire/packet.hpp"

#include <cstdint>
#include <cstdio>
#include <deque>
#include <string>
#include <string_view>

namespace dp::replay {

/// How one packet fared.
struct Verdict {
    ct::Drop drop = ct::Drop::None;
    ct::CtState state = ct::CtState::None;
    ct::Dir dir = ct::Dir::Original;
    bool has_connection = false;  ///< else it has no direction
};

/// The verdict on a packet that the pipeline is done with.
[[nodiscard]] Verdict verdict_of(const ct::Packet& p) noexcept;

/// A verdict as its line, without a newline.
[[nodiscard]] std::string line_of(std::uint64_t n, std::string_view port, const Verdict& verdict);

/// Writes the lines to a file. Numbers count from 1.
class VerdictLog {
public:
    /// Creates or replaces `path`; `-` is the standard output, empty writes nothing. Throws
    /// std::runtime_error that begins with the path.
    explicit VerdictLog(const std::string& path);
    ~VerdictLog();
    VerdictLog(const VerdictLog&) = delete;
    VerdictLog& operator=(const VerdictLog&) = delete;

    /// A packet came in by `port`; returns its number. Each must be decided in the end.
    [[nodiscard]] std::uint64_t add(std::string_view port);
    void decide(std::uint64_t n, const Verdict& verdict);
    /// Writes out what is buffered. Throws std::runtime_error if any of the writes failed.
    void close();

private:
    struct Line {
        std::string_view port;
        std::string text;  ///< empty until decided
    };

    std::string path_;
    std::FILE* file_ = nullptr;
    std::uint64_t first_ = 1;  ///< number of the first line that waits
    std::deque<Line> waiting_;
};

}  // namespace dp::replay
