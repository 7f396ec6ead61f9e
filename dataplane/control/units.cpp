// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/control/units.hpp"

#include <array>
#include <charconv>
#include <utility>

namespace dp {
namespace {

using Unit = std::pair<std::string_view, std::uint64_t>;

// In falling order: parse_duration() lets each unit come once, after the larger ones.
constexpr std::array<Unit, 5> kDurationUnits{
    {{"w", 604'800}, {"d", 86'400}, {"h", 3'600}, {"m", 60}, {"s", 1}}};

constexpr std::array<Unit, 7> kCountUnits{{{"", 1},
                                           {"k", 1'000},
                                           {"M", 1'000'000},
                                           {"G", 1'000'000'000},
                                           {"Ki", 1ULL << 10},
                                           {"Mi", 1ULL << 20},
                                           {"Gi", 1ULL << 30}}};

/// a * b + c, or nothing if that does not fit.
std::optional<std::uint64_t> multiply_add(std::uint64_t a, std::uint64_t b, std::uint64_t c) {
    std::uint64_t product = 0;
    std::uint64_t sum = 0;
    if (__builtin_mul_overflow(a, b, &product) || __builtin_add_overflow(product, c, &sum))
        return std::nullopt;
    return sum;
}

/// Takes the decimal digits at the front of `text`, of which there must be at least one.
std::optional<std::uint64_t> take_digits(std::string_view& text) {
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{}) return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    return value;
}

}  // namespace

std::optional<std::uint64_t> parse_duration(std::string_view text) {
    auto number = take_digits(text);
    if (number && text.empty()) return number;

    std::uint64_t seconds = 0;
    for (const auto& [name, factor] : kDurationUnits) {
        if (!number || !text.starts_with(name)) continue;
        text.remove_prefix(name.size());
        const auto sum = multiply_add(*number, factor, seconds);
        if (!sum) return std::nullopt;
        seconds = *sum;
        if (text.empty()) return seconds;
        number = take_digits(text);
    }
    return std::nullopt;
}

std::optional<std::uint64_t> parse_count(std::string_view text) {
    const auto number = take_digits(text);
    if (!number) return std::nullopt;
    for (const auto& [name, factor] : kCountUnits)
        if (text == name) return multiply_add(*number, factor, 0);
    return std::nullopt;
}

std::optional<std::uint64_t> parse_percent(std::string_view text) {
    const auto number = take_digits(text);
    return text == "%" && number && *number <= 1'000'000 ? number : std::nullopt;
}

std::optional<std::uint64_t> parse_number(std::string_view text) {
    const int base = text.starts_with("0x") || text.starts_with("0X") ? 16 : 10;
    if (base == 16) text.remove_prefix(2);
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
    if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return value;
}

}  // namespace dp
