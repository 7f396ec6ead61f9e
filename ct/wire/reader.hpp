// SPDX-License-Identifier: BSD-3-Clause
//
// Reads a packet from front to back and cannot overrun it: every length is checked here, once, and
// nowhere else.
#pragma once

#include "ct/wire/headers.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace ct {

/// A cursor over bytes that it neither owns nor changes.
class Reader {
public:
    explicit Reader(std::span<const std::uint8_t> bytes) noexcept
        : begin_{bytes.data()}, rest_{bytes} {}

    /// Copies the next header into `out`. False, with nothing taken, if fewer bytes are left.
    template <WireFormat Header>
    [[nodiscard]] bool take(Header& out) noexcept {
        if (!peek(out)) return false;
        rest_ = rest_.subspan(sizeof out);
        return true;
    }

    /// As take(), but the cursor stays where it is.
    template <WireFormat Header>
    [[nodiscard]] bool peek(Header& out) const noexcept {
        if (rest_.size() < sizeof out) return false;
        std::memcpy(&out, rest_.data(), sizeof out);
        return true;
    }

    /// Passes over `count` bytes. False, with nothing passed, if fewer are left.
    [[nodiscard]] bool skip(std::size_t count) noexcept {
        if (rest_.size() < count) return false;
        rest_ = rest_.subspan(count);
        return true;
    }

    /// Forgets what lies more than `count` bytes ahead (link padding, for one).
    void limit(std::size_t count) noexcept { rest_ = rest_.first(std::min(count, rest_.size())); }

    /// Bytes read or passed since the beginning.
    [[nodiscard]] std::size_t offset() const noexcept {
        return static_cast<std::size_t>(rest_.data() - begin_);
    }
    [[nodiscard]] std::size_t left() const noexcept { return rest_.size(); }
    [[nodiscard]] std::span<const std::uint8_t> rest() const noexcept { return rest_; }

private:
    const std::uint8_t* begin_;
    std::span<const std::uint8_t> rest_;
};

}  // namespace ct
