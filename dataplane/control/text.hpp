// SPDX-License-Identifier: BSD-3-Clause
//
// A piece of text of bounded length, built on the stack: what rendering a million entries a second
// needs and nothing more. Whoever fills one knows its bound (kMaxEntryBytes).
#pragma once

#include "ct/wire/tuple.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace dp {

/// Text of at most `Capacity` bytes. Going beyond is a bug, and is cut off.
template <std::size_t Capacity>
class Text {
public:
    [[nodiscard]] std::string_view view() const noexcept { return {bytes_.data(), size_}; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }

    void put(std::string_view s) noexcept {
        assert(s.size() <= Capacity - size_);
        const std::size_t n = std::min(s.size(), Capacity - size_);
        std::memcpy(bytes_.data() + size_, s.data(), n);
        size_ += n;
    }
    void put(char c) noexcept { put(std::string_view{&c, 1}); }

    /// `s`, filled up with blanks to `width`.
    void padded(std::string_view s, std::size_t width) noexcept {
        put(s);
        for (std::size_t n = s.size(); n < width; ++n) put(' ');
    }
    /// `v` in decimal.
    void number(std::uint64_t v) noexcept { digits(v, 10); }
    /// `v` in hexadecimal, lower case, without a prefix.
    void hex(std::uint64_t v) noexcept { digits(v, 16); }

    /// Takes back the last character, if there is one.
    void drop_last() noexcept {
        if (size_ > 0) --size_;
    }
    /// Takes back a blank at the end.
    void trim() noexcept {
        if (size_ > 0 && bytes_[size_ - 1] == ' ') --size_;
    }

private:
    void digits(std::uint64_t v, int base) noexcept {
        const auto end = std::to_chars(bytes_.data() + size_, bytes_.data() + Capacity, v, base);
        assert(end.ec == std::errc{});
        if (end.ec == std::errc{}) size_ = static_cast<std::size_t>(end.ptr - bytes_.data());
    }

    std::array<char, Capacity> bytes_;
    std::size_t size_ = 0;
};

/// The longest address as text: eight groups of an IPv6 address, the last two as IPv4.
inline constexpr std::size_t kMaxAddressLength = 46;
using AddressText = Text<kMaxAddressLength>;

/// `a` as inet_ntop(3) writes it: dotted IPv4; IPv6 in lower case with the first of the longest
/// runs of two or more zero groups as `::` (RFC 5952 4), and the last four bytes dotted in mapped
/// and compatible addresses (RFC 4291 2.5.5).
[[nodiscard]] AddressText address_text(ct::Family family, const ct::Addr& a) noexcept;

}  // namespace dp
