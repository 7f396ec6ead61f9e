// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/cli/show.hpp"

#include "ct/base/drop.hpp"
#include "dataplane/control/sysctl.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <stdexcept>
#include <vector>

namespace dp {

namespace {

using nlohmann::ordered_json;

ordered_json parse_object(std::string_view text) {
    ordered_json out = ordered_json::parse(text, nullptr, false);
    if (!out.is_object()) throw std::runtime_error{"the daemon's answer is no JSON object"};
    return out;
}

std::string plain(const ordered_json& value) {
    return value.is_string() ? value.get<std::string>() : value.dump();
}

bool is_table(const ordered_json& value) {
    return value.is_array() && !value.empty() &&
           std::all_of(value.begin(), value.end(), [](const auto& row) { return row.is_object(); });
}

/// The columns of a table: every key of any row, in the order in which they first come.
std::vector<std::string> columns_of(const ordered_json& rows) {
    std::vector<std::string> out;
    for (const auto& row : rows)
        for (const auto& [key, value] : row.items())
            if (!value.is_structured() && std::find(out.begin(), out.end(), key) == out.end())
                out.push_back(key);
    return out;
}

void append_table(std::string& out, const std::string& title, const ordered_json& rows) {
    const std::vector<std::string> columns = columns_of(rows);
    const auto cell = [](const ordered_json& row, const std::string& column) {
        return row.contains(column) ? plain(row.at(column)) : std::string{"-"};
    };
    std::vector<std::size_t> widths;
    for (const std::string& column : columns) {
        std::size_t width = column.size();
        for (const auto& row : rows) width = std::max(width, cell(row, column).size());
        widths.push_back(width);
    }
    fmt::format_to(std::back_inserter(out), "\n{}\n", title);
    for (std::size_t i = 0; i < columns.size(); ++i)
        fmt::format_to(std::back_inserter(out), "{}{:>{}}", i > 0 ? "  " : "", columns[i],
                       widths[i]);
    out.push_back('\n');
    for (const auto& row : rows) {
        for (std::size_t i = 0; i < columns.size(); ++i)
            fmt::format_to(std::back_inserter(out), "{}{:>{}}", i > 0 ? "  " : "",
                           cell(row, columns[i]), widths[i]);
        out.push_back('\n');
    }
}

/// Values first, then what is inside.
void append_object(std::string& out, const std::string& title, const ordered_json& object) {
    if (!title.empty()) fmt::format_to(std::back_inserter(out), "\n{}\n", title);
    for (const auto& [key, value] : object.items())
        if (!value.is_structured())
            fmt::format_to(std::back_inserter(out), "{:<24} {}\n", key, plain(value));
    for (const auto& [key, value] : object.items()) {
        const std::string name = title.empty() ? key : title + "." + key;
        if (is_table(value))
            append_table(out, name, value);
        else if (value.is_object() && !value.empty())
            append_object(out, name, value);
    }
}

}  // namespace

std::string show_drops(std::string_view json, bool all) {
    const ordered_json drops = parse_object(json);
    std::string out;
    std::uint64_t total = 0;
    for (const auto& [name, count] : drops.items()) {
        if (!count.is_number_unsigned())
            throw std::runtime_error{"the daemon's answer has no count"};
        const auto packets = count.get<std::uint64_t>();
        total += packets;
        if (packets == 0 && !all) continue;
        std::string_view help;
        for (const ct::DropInfo& info : ct::kDrops)
            if (info.name == name) help = info.help;
        fmt::format_to(std::back_inserter(out), "{:<22} {:>14}  {}\n", name, packets, help);
    }
    fmt::format_to(std::back_inserter(out), "{:<22} {:>14}\n", "total", total);
    return out;
}

std::string show_port(std::string_view json) {
    const ordered_json port = parse_object(json);
    const bool up = port.at("up").get<bool>();
    const auto ended = port.at("ended").get<std::uint64_t>();
    return fmt::format("port {} is {}{}\n", port.at("port").get<std::string>(), up ? "up" : "down",
                       ended == 0 ? "" : fmt::format("; {} connections have ended", ended));
}

std::string show_addresses(std::string_view json) {
    const ordered_json answer = parse_object(json);
    std::string out;
    for (const auto& a : answer.at("addresses"))
        fmt::format_to(std::back_inserter(out), "{} {}{}\n", a.at("port").get<std::string>(),
                       a.at("address").get<std::string>(),
                       a.at("primary").get<bool>() ? " primary" : "");
    if (const auto ended = answer.at("ended").get<std::uint64_t>(); ended != 0)
        fmt::format_to(std::back_inserter(out), "{} connections have ended\n", ended);
    return out;
}

std::string show_sysctls(std::string_view json) {
    const ordered_json settings = parse_object(json);
    std::string out;
    for (const auto& [name, value] : settings.items())
        fmt::format_to(std::back_inserter(out), "{} = {}\n", path_of(name), plain(value));
    return out;
}

std::string show_stats(std::string_view json) {
    std::string out;
    append_object(out, "", parse_object(json));
    if (out.starts_with('\n')) out.erase(0, 1);
    return out;
}

}  // namespace dp
