// SPDX-License-Identifier: BSD-3-Clause
//
// What of [conntrack] says who gets room when it is scarce: overflow, min_life, adaptive, reserve,
// per_source.
#include "dataplane/control/config_parts.hpp"
#include "dataplane/control/notation.hpp"
#include "dataplane/control/units.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>

namespace dp {
namespace {

constexpr std::array<Word<ct::Overflow>, 6> kOverflows{
    {{"embryonic-oldest", ct::Overflow::EmbryonicOldest},
     {"linux", ct::Overflow::Linux},
     {"closing-first", ct::Overflow::ClosingFirst},
     {"drop", ct::Overflow::Drop},
     {"untracked", ct::Overflow::Untracked},
     {"reject", ct::Overflow::Reject}}};

// pf's own (pf.conf(5)): 60 % and 120 % of the limit.
constexpr std::uint32_t kAdaptiveStart = 60;
constexpr std::uint32_t kAdaptiveEnd = 120;
constexpr std::uint64_t kMostAdaptiveEnd = 1000;
// An hour: what is not assured after that is no handshake under way.
constexpr std::uint64_t kLongestMinLife = 3600;

/// Entries as a number, or as a percentage of `max`; at least one.
std::optional<std::uint32_t> read_share(Section& section, std::string_view key, std::uint32_t max) {
    const auto text = section.scalar(key);
    if (!text) return std::nullopt;
    std::optional<std::uint64_t> entries;
    if (const auto percent = parse_percent(text->value))
        entries = std::max<std::uint64_t>(*percent * max / 100, 1);
    else
        entries = parse_count(text->value);
    if (entries && *entries >= 1 && *entries <= max) return static_cast<std::uint32_t>(*entries);
    section.problem(key,
                    fmt::format("'{}' is {}, which is no share of {} entries", key,
                                in_quotes(text->value), max),
                    fmt::format("write a number from 1 to {}, or a percentage like \"5%\"", max));
    return std::nullopt;
}

void read_adaptive(Section& conntrack, ct::Adaptive& out) {
    auto section = conntrack.section("adaptive");
    if (!section) return;
    const std::size_t before = section->mistakes();
    ct::Adaptive a{kAdaptiveStart, kAdaptiveEnd};
    if (const auto start = read_percent(*section, "start", {0, 99})) a.start_percent = *start;
    if (const auto end = read_percent(*section, "end", {1, kMostAdaptiveEnd})) a.end_percent = *end;
    section->finish();
    if (section->mistakes() != before) return;
    if (a.end_percent > a.start_percent)
        out = a;
    else
        section->problem("end",
                         fmt::format("time-outs shrink from {}% to {}%, which is no way down",
                                     a.start_percent, a.end_percent),
                         "write an 'end' above the 'start'");
}

void read_reserve(Section& conntrack, ct::Settings& out) {
    std::uint64_t sum = 0;
    auto sections = conntrack.sections("reserve");
    if (sections.size() > ct::kMaxReservations) {
        conntrack.problem("reserve", fmt::format("there are {} reservations", sections.size()),
                          fmt::format("write {} at most", ct::kMaxReservations));
        sections.erase(sections.begin() + ct::kMaxReservations, sections.end());
    }
    for (Section& section : sections) {
        std::optional<ct::Prefix> prefix;
        if (const auto text = section.text("prefix"))
            prefix = read_prefix(section, "prefix", *text);
        else if (!section.has("prefix"))
            section.problem_at(section.line(), "a reservation has no 'prefix'",
                               "say for whom, like prefix = \"192.0.2.0/24\"");
        const auto entries = read_share(section, "entries", out.max);
        if (!section.has("entries"))
            section.problem_at(section.line(), "a reservation has no 'entries'",
                               "say how many, like entries = \"5%\"");
        section.finish();
        if (!prefix || !entries) continue;
        for (const ct::Reservation& other : out.room.reserve)
            if (overlap(other.prefix, *prefix))
                section.problem("prefix",
                                fmt::format("{} overlaps {}, which has a reservation",
                                            to_string(*prefix), to_string(other.prefix)),
                                "leave one out");
        sum += *entries;
        out.room.reserve.push_back({*prefix, *entries});
    }
    if (sum > out.max)
        conntrack.problem("reserve",
                          fmt::format("{} of {} entries are reserved", sum, out.max.get()),
                          "reserve less, or write a larger 'max'");
}

void read_per_source(Section& conntrack, ct::Settings& out) {
    auto section = conntrack.section_or("off", "per_source");
    if (!section) return;
    const std::size_t before = section->mistakes();
    ct::PerSource q;
    if (const auto most = read_share(*section, "max_entries", out.max)) q.max_entries = *most;
    section->count("new_per_second", q.new_per_second, {1, ct::kMaxSourceRate});
    section->count("burst", q.burst, {1, std::uint64_t{ct::kMaxSourceRate} * ct::kMaxBurstSeconds});
    section->count("ipv4_prefix", q.ipv4_prefix, {1, 32});
    section->count("ipv6_prefix", q.ipv6_prefix, {1, 128});
    section->finish();
    if (section->mistakes() != before) return;
    if (section->has("burst") && q.new_per_second == 0)
        section->problem("burst", "'burst' stands without 'new_per_second'",
                         "say at which rate, like new_per_second = 100");
    else if (std::uint64_t{q.new_per_second} * ct::kMaxBurstSeconds < q.burst)
        section->problem("burst", fmt::format("a burst of {} takes over an hour to earn", q.burst),
                         fmt::format("write {} at most",
                                     std::uint64_t{q.new_per_second} * ct::kMaxBurstSeconds));
    if (!q.on())
        section->problem_at(
            section->line(), "[conntrack.per_source] limits nothing",
            "write 'max_entries', 'new_per_second' or both, or per_source = \"off\"");
    out.room.per_source = q;
}

std::string_view name_of(ct::Overflow o) {
    for (const auto& [name, value] : kOverflows)
        if (value == o) return name;
    return "?";
}

}  // namespace

std::optional<std::uint32_t> read_percent(Section& section, std::string_view key, Bounds bounds) {
    const auto text = section.scalar(key);
    if (!text) return std::nullopt;
    const auto percent = parse_percent(text->value);
    if (percent && bounds.least <= *percent && *percent <= bounds.most)
        return static_cast<std::uint32_t>(*percent);
    section.problem(
        key,
        fmt::format("'{}' is {}, which is no percentage that fits", key, in_quotes(text->value)),
        fmt::format("write one from \"{}%\" to \"{}%\"", bounds.least, bounds.most));
    return std::nullopt;
}

void read_overflow(Section& conntrack, ct::Settings& out) {
    ct::Overflow overflow = out.overflow;
    conntrack.choice("overflow", overflow, kOverflows);
    out.overflow = overflow;
    conntrack.flag("never_delete_mappings", out.room.never_delete_mappings);
    if (const auto seconds = conntrack.duration("min_life", {0, kLongestMinLife}))
        out.room.min_life = static_cast<std::uint32_t>(*seconds);
    read_adaptive(conntrack, out.room.adaptive);
    read_reserve(conntrack, out);
    read_per_source(conntrack, out);
}

std::string describe_overflow(const ct::Settings& c) {
    const ct::Overflow overflow = c.overflow;
    std::string out = fmt::format("overflow {}", name_of(overflow));
    auto to = std::back_inserter(out);
    if (overflow == ct::Overflow::EmbryonicOldest || overflow == ct::Overflow::ClosingFirst)
        fmt::format_to(to, ", embryonic up to {} %", c.embryonic_percent.get());
    if (c.room.never_delete_mappings) out += ", mappings are never deleted";
    if (c.room.min_life != 0) fmt::format_to(to, ", min life {} s", c.room.min_life);
    if (c.room.adaptive.on())
        fmt::format_to(to, ", time-outs shrink from {} % to {} %", c.room.adaptive.start_percent,
                       c.room.adaptive.end_percent);
    for (const ct::Reservation& r : c.room.reserve)
        fmt::format_to(to, ", {} reserved for {}", r.entries, to_string(r.prefix));
    if (const ct::PerSource& q = c.room.per_source; q.on()) {
        fmt::format_to(to, ", each /{} or IPv6 /{}", q.ipv4_prefix, q.ipv6_prefix);
        if (q.max_entries != 0) fmt::format_to(to, " up to {} entries", q.max_entries);
        if (q.new_per_second != 0)
            fmt::format_to(to, " opens up to {} a second and {} at once", q.new_per_second,
                           q.burst != 0 ? q.burst : q.new_per_second);
    }
    return out;
}

}  // namespace dp
