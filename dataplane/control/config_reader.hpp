// SPDX-License-Identifier: BSD-3-Clause
//
// Reading TOML with every mistake reported. A Section is a table of the file; each getter takes a
// key, checks kind and bounds of its value, and remembers the key as known; finish() then reports
// the keys that nobody asked for. A getter that finds a mistake adds it to the Problems and leaves
// its output as it was, so that reading goes on and the operator sees all mistakes at once.
#pragma once

#include "dataplane/control/config.hpp"

#include <toml++/toml.h>

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace dp {

/// The mistakes found so far.
class Problems {
public:
    /// So many end the reading: nobody corrects more at once, and a large file of nothing else
    /// would take hours and gigabytes.
    static constexpr std::size_t kMost = 1000;
    /// Thrown by add() when there are kMost.
    struct Full {};

    void add(int line, std::string problem, std::string remedy);
    [[nodiscard]] std::size_t count() const noexcept { return problems_.size(); }
    /// All of them by line; those of one line in the order in which they were found.
    [[nodiscard]] std::vector<ConfigProblem> sorted() &&;

private:
    std::vector<ConfigProblem> problems_;
};

/// A value of the file as text, and where it stands.
struct Text {
    std::string value;
    int line = 0;
};

/// A word of the file and what it stands for.
template <class T>
using Word = std::pair<std::string_view, T>;

/// Bounds of a number, both included.
struct Bounds {
    std::uint64_t least = 0;
    std::uint64_t most = std::numeric_limits<std::uint64_t>::max();
};

class Section {
public:
    /// `title` is how messages name it: `[conntrack]`. Both references outlive the section.
    Section(const toml::table& table, std::string title, Problems& problems);

    [[nodiscard]] const std::string& title() const noexcept { return title_; }
    /// The line where the table begins.
    [[nodiscard]] int line() const noexcept { return line_; }
    /// The line of `key`, or of the table if the key is absent.
    [[nodiscard]] int line_of(std::string_view key) const;
    [[nodiscard]] bool has(std::string_view key) const;

    /// A string.
    [[nodiscard]] std::optional<Text> text(std::string_view key);
    /// A string, or an integer as its digits.
    [[nodiscard]] std::optional<Text> scalar(std::string_view key);
    /// Scalars: one, or an array of them. Empty if the key is absent.
    [[nodiscard]] std::vector<Text> scalars(std::string_view key);
    /// true or false, or 1 or 0 as sysctls have it.
    void flag(std::string_view key, bool& out);
    /// A whole number within bounds, or a string of one with a unit (units.hpp).
    [[nodiscard]] std::optional<std::uint64_t> count(std::string_view key, Bounds bounds);
    /// Seconds within bounds: a whole number, or a string with units.
    [[nodiscard]] std::optional<std::uint64_t> duration(std::string_view key, Bounds bounds);

    template <std::unsigned_integral T>
    void count(std::string_view key, T& out, Bounds bounds) {
        if (const auto value = count(key, bounds)) out = static_cast<T>(*value);
    }
    /// As count(); the string "auto" leaves `out` as it is.
    template <std::unsigned_integral T>
    void count_or_auto(std::string_view key, T& out, Bounds bounds) {
        if (!is_auto(key)) count(key, out, bounds);
    }
    /// One of several words.
    template <class T, std::size_t N>
    void choice(std::string_view key, T& out, const std::array<Word<T>, N>& words) {
        std::array<std::string_view, N> names;
        for (std::size_t i = 0; i < N; ++i) names[i] = words[i].first;
        if (const auto index = choice_index(key, names)) out = words[*index].second;
    }
    /// True if the value is an array.
    [[nodiscard]] bool is_array(std::string_view key) const;
    /// True if the value is the string "auto"; the key is then done with.
    [[nodiscard]] bool is_auto(std::string_view key);

    /// The table `[key]` in this one, if it is there.
    [[nodiscard]] std::optional<Section> section(std::string_view key);
    /// The same where the string `none` may stand in its place, and says that there is none.
    [[nodiscard]] std::optional<Section> section_or(std::string_view none, std::string_view key);
    /// The tables `[[key]]`, in order.
    [[nodiscard]] std::vector<Section> sections(std::string_view key);

    /// Reports the keys that no getter was asked for.
    void finish();

    /// Mistakes found so far, in all of the file.
    [[nodiscard]] std::size_t mistakes() const noexcept { return problems_->count(); }
    /// Adds a mistake at the line of `key`.
    void problem(std::string_view key, std::string problem, std::string remedy);
    void problem_at(int line, std::string problem, std::string remedy);

private:
    [[nodiscard]] const toml::node* find(std::string_view key);
    [[nodiscard]] std::optional<std::size_t> choice_index(std::string_view key,
                                                          std::span<const std::string_view> names);
    [[nodiscard]] std::optional<std::uint64_t> number(
        std::string_view key, Bounds bounds, std::string_view example,
        std::optional<std::uint64_t> (*from_text)(std::string_view));
    [[nodiscard]] std::optional<Text> as_scalar(std::string_view key, const toml::node& node);
    void wrong_kind(std::string_view key, const toml::node& node, std::string remedy);
    [[nodiscard]] std::string child_title(std::string_view key) const;

    const toml::table* table_;
    std::string title_;  ///< empty for the file itself
    Problems* problems_;
    int line_;
    std::vector<std::string_view> known_;
};

/// `a, b, c` of the items.
[[nodiscard]] std::string join(std::span<const std::string_view> items);

/// A remedy, `did you mean 'x'?`: names what is spelled most like `word`, else all of `known`.
[[nodiscard]] std::string suggestion(std::string_view word, std::span<const std::string_view> known,
                                     std::string_view known_are);

}  // namespace dp
