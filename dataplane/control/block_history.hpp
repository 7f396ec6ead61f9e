// SPDX-License-Identifier: BSD-3-Clause
//
// Who had which external ports when, out of the log files of port blocks.
#pragma once

#include "dataplane/control/block_record.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <iosfwd>
#include <optional>
#include <string>
#include <vector>

namespace dp {

/// A block in one subscriber's hands, and how that is known.
struct BlockTenure {
    BlockRecord block;               ///< of its assignment, or else of its release
    std::optional<WallNanos> since;  ///< none: before the log begins
    std::optional<WallNanos> until;  ///< none: as far as the log goes
    bool restarted = false;          ///< `until` is when Sluice was started again
    std::string where;               ///< FILE:LINE of `block`

    [[nodiscard]] bool covers(const TimeSpan& t) const noexcept {
        return (!since || *since <= t.last) && (!until || t.first <= *until);
    }
};

class BlockHistory {
public:
    /// Takes note only of blocks for which `wanted` is true: a log has many.
    explicit BlockHistory(std::function<bool(const BlockRecord&)> wanted);

    /// Reads a log; files may come in any order. `name` is the file's, for `where`.
    void read(std::istream& in, const std::string& name);

    /// The wanted blocks' tenures, in order of their beginning.
    [[nodiscard]] std::vector<BlockTenure> tenures() const;

    [[nodiscard]] std::size_t records() const noexcept { return records_; }
    /// The earliest time of any record; there is one.
    [[nodiscard]] WallNanos begins() const noexcept { return begins_; }
    /// Lines that are no record of a block, and the first of them as FILE:LINE.
    [[nodiscard]] std::size_t strange_lines() const noexcept { return strange_; }
    [[nodiscard]] const std::string& first_strange() const noexcept { return first_strange_; }

private:
    struct Noted {
        BlockRecord record;
        std::string where;
    };

    std::function<bool(const BlockRecord&)> wanted_;
    std::vector<Noted> noted_;
    std::size_t records_ = 0;
    std::size_t strange_ = 0;
    WallNanos begins_ = 0;
    std::string first_strange_;
};

}  // namespace dp
