// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/control/config_reader.hpp"

#include "dataplane/control/notation.hpp"
#include "dataplane/control/units.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace dp {
namespace {

int line_of_node(const toml::node& node) {
    return static_cast<int>(node.source().begin.line);
}

std::string_view kind_of(const toml::node& node) {
    switch (node.type()) {
        case toml::node_type::table:
            return "a table";
        case toml::node_type::array:
            return "an array";
        case toml::node_type::string:
            return "a string";
        case toml::node_type::integer:
            return "an integer";
        case toml::node_type::floating_point:
            return "a fraction";
        case toml::node_type::boolean:
            return "a boolean";
        case toml::node_type::none:
            return "nothing";
        default:
            return "a date or time";
    }
}

/// `a number from 1 to 64`, without the bounds that say nothing.
std::string expectation(Bounds b) {
    if (b.most == Bounds{}.most) return fmt::format("a number of at least {}", b.least);
    return fmt::format("a number from {} to {}", b.least, b.most);
}

}  // namespace

void Problems::add(int line, std::string problem, std::string remedy) {
    ConfigProblem p{line, std::move(problem), std::move(remedy)};
    // A rule that stands for several (a list of ports) is read once for each.
    if (std::find(problems_.begin(), problems_.end(), p) == problems_.end())
        problems_.push_back(std::move(p));
    if (problems_.size() >= kMost) throw Full{};
}

std::vector<ConfigProblem> Problems::sorted() && {
    std::stable_sort(problems_.begin(), problems_.end(),
                     [](const auto& a, const auto& b) { return a.line < b.line; });
    return std::move(problems_);
}

Section::Section(const toml::table& table, std::string title, Problems& problems)
    : table_{&table},
      title_{std::move(title)},
      problems_{&problems},
      line_{std::max(line_of_node(table), 1)} {}

const toml::node* Section::find(std::string_view key) {
    known_.push_back(key);
    return table_->get(key);
}

bool Section::has(std::string_view key) const {
    return table_->contains(key);
}

int Section::line_of(std::string_view key) const {
    const auto it = table_->find(key);
    return it == table_->end() ? line_ : static_cast<int>(it->first.source().begin.line);
}

std::string Section::child_title(std::string_view key) const {
    if (title_.empty()) return std::string{key};
    const std::size_t first = title_.find_first_not_of('[');
    const std::size_t last = title_.find_last_not_of(']');
    return fmt::format("{}.{}", std::string_view{title_}.substr(first, last + 1 - first), key);
}

void Section::problem_at(int line, std::string problem, std::string remedy) {
    problems_->add(line, std::move(problem), std::move(remedy));
}

void Section::problem(std::string_view key, std::string problem, std::string remedy) {
    problem_at(line_of(key), std::move(problem), std::move(remedy));
}

void Section::wrong_kind(std::string_view key, const toml::node& node, std::string remedy) {
    const int line = std::max(line_of_node(node), line_of(key));
    problem_at(line, fmt::format("'{}' is {}", key, kind_of(node)), std::move(remedy));
}

std::optional<Text> Section::text(std::string_view key) {
    const toml::node* node = find(key);
    if (node == nullptr) return std::nullopt;
    if (const auto* string = node->as_string()) return Text{string->get(), line_of_node(*node)};
    wrong_kind(key, *node, "write a string in double quotes");
    return std::nullopt;
}

std::optional<Text> Section::as_scalar(std::string_view key, const toml::node& node) {
    if (const auto* string = node.as_string()) return Text{string->get(), line_of_node(node)};
    if (const auto* integer = node.as_integer())
        return Text{std::to_string(integer->get()), line_of_node(node)};
    wrong_kind(key, node, "write a string in double quotes or a whole number");
    return std::nullopt;
}

std::optional<Text> Section::scalar(std::string_view key) {
    const toml::node* node = find(key);
    return node == nullptr ? std::nullopt : as_scalar(key, *node);
}

std::vector<Text> Section::scalars(std::string_view key) {
    std::vector<Text> out;
    const toml::node* node = find(key);
    if (node == nullptr) return out;
    const toml::array* array = node->as_array();
    if (array == nullptr) {
        if (auto one = as_scalar(key, *node)) out.push_back(std::move(*one));
        return out;
    }
    if (array->empty())
        problem(key, fmt::format("'{}' is an empty list", key),
                "name at least one, or leave it out");
    for (const toml::node& element : *array)
        if (auto one = as_scalar(key, element)) out.push_back(std::move(*one));
    return out;
}

void Section::flag(std::string_view key, bool& out) {
    const toml::node* node = find(key);
    if (node == nullptr) return;
    if (const auto* boolean = node->as_boolean()) {
        out = boolean->get();
    } else if (const auto* integer = node->as_integer();
               integer != nullptr && (integer->get() == 0 || integer->get() == 1)) {
        out = integer->get() == 1;
    } else {
        problem(key, fmt::format("'{}' is neither true nor false", key), "write true or false");
    }
}

std::optional<std::uint64_t> Section::number(
    std::string_view key, Bounds bounds, std::string_view example,
    std::optional<std::uint64_t> (*from_text)(std::string_view)) {
    const toml::node* node = find(key);
    if (node == nullptr) return std::nullopt;

    std::optional<std::uint64_t> value;
    std::string written;
    if (const auto* integer = node->as_integer()) {
        written = std::to_string(integer->get());
        if (integer->get() >= 0) value = static_cast<std::uint64_t>(integer->get());
    } else if (const auto* string = node->as_string()) {
        written = in_quotes(string->get());
        value = from_text(string->get());
        if (!value) {
            problem(key, fmt::format("'{}' is {}, which is no number with a unit", key, written),
                    fmt::format("write {}", example));
            return std::nullopt;
        }
    } else {
        wrong_kind(key, *node, fmt::format("write {}", example));
        return std::nullopt;
    }
    if (value && bounds.least <= *value && *value <= bounds.most) return value;
    problem(key, fmt::format("'{}' is {}, which is out of bounds", key, written),
            fmt::format("write {}", expectation(bounds)));
    return std::nullopt;
}

std::optional<std::uint64_t> Section::count(std::string_view key, Bounds bounds) {
    return number(key, bounds, "a whole number, or one with a unit like \"256Ki\"", parse_count);
}

std::optional<std::uint64_t> Section::duration(std::string_view key, Bounds bounds) {
    return number(key, bounds, "seconds, or a duration like \"120s\", \"2m\" or \"5d\"",
                  parse_duration);
}

bool Section::is_array(std::string_view key) const {
    const toml::node* node = table_->get(key);
    return node != nullptr && node->is_array();
}

bool Section::is_auto(std::string_view key) {
    const toml::node* node = table_->get(key);
    if (node == nullptr || !node->is_string() || node->as_string()->get() != "auto") return false;
    known_.push_back(key);
    return true;
}

std::optional<std::size_t> Section::choice_index(std::string_view key,
                                                 std::span<const std::string_view> names) {
    const auto word = text(key);
    if (!word) return std::nullopt;
    const auto it = std::find(names.begin(), names.end(), word->value);
    if (it != names.end()) return static_cast<std::size_t>(it - names.begin());
    problem(key, fmt::format("'{}' is {}", key, in_quotes(word->value)),
            suggestion(word->value, names, "choose one of"));
    return std::nullopt;
}

std::optional<Section> Section::section(std::string_view key) {
    const toml::node* node = find(key);
    if (node == nullptr) return std::nullopt;
    const std::string title = fmt::format("[{}]", child_title(key));
    if (const toml::table* table = node->as_table()) return Section{*table, title, *problems_};
    wrong_kind(key, *node, fmt::format("write a table, {}, once", title));
    return std::nullopt;
}

std::optional<Section> Section::section_or(std::string_view none, std::string_view key) {
    const toml::node* node = find(key);
    if (node == nullptr || node->is_table()) return section(key);
    const std::string remedy =
        fmt::format("write a table, [{}], or \"{}\"", child_title(key), none);
    if (const auto* word = node->as_string(); word == nullptr)
        wrong_kind(key, *node, remedy);
    else if (word->get() != none)
        problem(key, fmt::format("'{}' is {}", key, in_quotes(word->get())), remedy);
    return std::nullopt;
}

std::vector<Section> Section::sections(std::string_view key) {
    std::vector<Section> out;
    const toml::node* node = find(key);
    if (node == nullptr) return out;
    const std::string title = fmt::format("[[{}]]", child_title(key));
    const toml::array* array = node->as_array();
    if (array == nullptr) {
        wrong_kind(key, *node, fmt::format("write {} with double brackets", title));
        return out;
    }
    for (const toml::node& element : *array) {
        if (const toml::table* table = element.as_table())
            out.emplace_back(*table, title, *problems_);
        else
            wrong_kind(key, element, fmt::format("write a table, {}", title));
    }
    return out;
}

void Section::finish() {
    std::sort(known_.begin(), known_.end());
    known_.erase(std::unique(known_.begin(), known_.end()), known_.end());
    for (const auto& [key, value] : *table_) {
        const std::string_view name = key.str();
        if (std::find(known_.begin(), known_.end(), name) != known_.end()) continue;
        const std::string where = title_.empty() ? "" : fmt::format(" in {}", title_);
        const bool is_table = value.is_table() || value.is_array_of_tables();
        problem_at(static_cast<int>(key.source().begin.line),
                   fmt::format("unknown {} {}{}", title_.empty() && is_table ? "section" : "key",
                               in_quotes(name), where),
                   suggestion(name, known_, "known are"));
    }
}

std::string join(std::span<const std::string_view> items) {
    return fmt::format("{}", fmt::join(items, ", "));
}

std::string suggestion(std::string_view word, std::span<const std::string_view> known,
                       std::string_view known_are) {
    const std::string_view near = nearest(word, known);
    if (!near.empty()) return fmt::format("did you mean '{}'?", near);
    return fmt::format("{} {}", known_are, join(known));
}

}  // namespace dp
