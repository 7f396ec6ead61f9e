// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/control/block_record.hpp"

#include "dataplane/control/notation.hpp"
#include "dataplane/control/units.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <array>
#include <utility>

namespace dp {
namespace {

using nlohmann::json;

constexpr unsigned kNotice = 5;  // severity: normal but significant (RFC 5424 6.2.1)
constexpr std::uint64_t kMostSequenceIds = 2'147'483'647;
constexpr std::string_view kMessageId = "nat-block";

constexpr std::array<std::pair<std::string_view, BlockRecord::Kind>, 3> kKinds{
    {{"started", BlockRecord::Kind::Started},
     {"assigned", BlockRecord::Kind::Assigned},
     {"released", BlockRecord::Kind::Released}}};

std::string_view name_of(BlockRecord::Kind kind) noexcept {
    return kKinds[static_cast<std::size_t>(kind)].first;
}

std::optional<BlockRecord::Kind> kind_of(std::string_view name) noexcept {
    for (const auto& [word, kind] : kKinds)
        if (word == name) return kind;
    return std::nullopt;
}

/// A subscriber: an address where the prefix is one.
std::string inside_text(const ct::Prefix& p) {
    return p.length == address_bits(p.family) ? to_string(p.family, p.addr) : to_string(p);
}

std::string ports_text(nat::PortRange r) {
    return fmt::format("{}-{}", r.first, r.last);
}

/// A name between quotes, as a value of RFC 5424 6.3.3 is escaped; control characters become `?`.
std::string in_double_quotes(std::string_view name) {
    std::string out = "\"";
    for (const char c : name) {
        const auto byte = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\' || c == ']') out += '\\';
        out += byte < 0x20 || byte == 0x7f ? '?' : c;
    }
    return out + '"';
}

/// What a record says, as text, whatever form it stood in.
struct Fields {
    std::string_view time;
    std::optional<std::uint64_t> number;
    std::string_view kind;
    std::optional<std::string> rule;
    std::string_view inside;
    std::string_view outside;
    std::string_view ports;
    std::optional<std::uint64_t> zone = 0;
};

std::optional<BlockRecord> record_of(Fields&& f) {
    const auto time = parse_time(f.time, 0);
    const auto kind = kind_of(f.kind);
    if (!time || f.time == "now" || !kind || !f.number) return std::nullopt;
    BlockRecord r;
    r.time = time->first;
    r.number = *f.number;
    r.kind = *kind;
    if (*kind == BlockRecord::Kind::Started) return r;
    const auto inside = parse_prefix(f.inside);
    const auto outside = parse_address(f.outside);
    const auto ports = parse_ports(f.ports);
    if (!f.rule || !inside || masked(*inside) != *inside || !outside || !ports ||
        ports->first > ports->last || !f.zone || *f.zone > 0xffff)
        return std::nullopt;
    r.rule = *std::move(f.rule);
    r.inside = *inside;
    r.zone = static_cast<std::uint16_t>(*f.zone);
    r.outside_family = outside->family;
    r.outside = outside->addr;
    r.ports = *ports;
    return r;
}

std::string_view text_in(const json& object, const char* key) {
    const auto it = object.find(key);
    return it == object.end() || !it->is_string()
               ? std::string_view{}
               : std::string_view{it->get_ref<const std::string&>()};
}

std::optional<std::uint64_t> number_in(const json& object, const char* key) {
    const auto it = object.find(key);
    if (it == object.end() || !it->is_number_unsigned()) return std::nullopt;
    return it->get<std::uint64_t>();
}

std::optional<BlockRecord> parse_json(std::string_view line) {
    const json object = json::parse(line, nullptr, false);
    if (!object.is_object()) return std::nullopt;
    Fields f;
    f.time = text_in(object, "time");
    f.number = number_in(object, "seq");
    f.kind = text_in(object, "event");
    if (object.contains("rule") && object["rule"].is_string()) f.rule = text_in(object, "rule");
    f.inside = text_in(object, "inside");
    f.outside = text_in(object, "outside");
    f.ports = text_in(object, "ports");
    if (object.contains("zone")) f.zone = number_in(object, "zone");
    return record_of(std::move(f));
}

/// Takes the text up to the next blank, and the blank.
std::string_view next_word(std::string_view& rest) noexcept {
    const std::size_t end = std::min(rest.find(' '), rest.size());
    const std::string_view word = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    return word;
}

/// Takes what in_double_quotes() wrote, and the blank behind it. False if it is not that.
bool next_quoted(std::string_view& rest, std::string& out) {
    if (!rest.starts_with('"')) return false;
    for (std::size_t i = 1; i < rest.size(); ++i) {
        if (rest[i] == '"') {
            rest.remove_prefix(i + 1);
            return rest.empty() || std::exchange(rest, rest.substr(1)).starts_with(' ');
        }
        if (rest[i] == '\\' && ++i == rest.size()) return false;
        out += rest[i];
    }
    return false;
}

/// The words `key=value` behind the kind.
bool read_pairs(std::string_view rest, Fields& f) {
    while (!rest.empty()) {
        const std::size_t equals = rest.find('=');
        if (equals == std::string_view::npos) return false;
        const std::string_view key = rest.substr(0, equals);
        rest.remove_prefix(equals + 1);
        if (key == "rule") {
            if (f.rule || !next_quoted(rest, f.rule.emplace())) return false;
            continue;
        }
        const std::string_view value = next_word(rest);
        if (key == "inside")
            f.inside = value;
        else if (key == "outside")
            f.outside = value;
        else if (key == "ports")
            f.ports = value;
        else if (key == "zone")
            f.zone = parse_number(value);
        else
            return false;
    }
    return true;
}

std::optional<BlockRecord> parse_syslog(std::string_view line) {
    if (line.starts_with('<')) {
        const std::size_t end = line.find(">1 ");
        if (end == std::string_view::npos || end > 4) return std::nullopt;
        line.remove_prefix(end + 3);
    } else if (line.starts_with("1 ")) {
        line.remove_prefix(2);
    }
    Fields f;
    f.time = next_word(line);
    next_word(line);  // host
    next_word(line);  // program
    next_word(line);  // process
    if (next_word(line) != kMessageId) return std::nullopt;
    constexpr std::string_view kMeta = "[meta sequenceId=\"";
    if (!line.starts_with(kMeta)) return std::nullopt;
    line.remove_prefix(kMeta.size());
    const std::size_t end = line.find("\"] ");
    if (end == std::string_view::npos) return std::nullopt;
    f.number = parse_number(line.substr(0, end));
    line.remove_prefix(end + 3);
    f.kind = next_word(line);
    if (!read_pairs(line, f)) return std::nullopt;
    return record_of(std::move(f));
}

}  // namespace

std::string to_json(const BlockRecord& r) {
    std::string out = fmt::format(R"({{"time":"{}","seq":{},"event":"{}")", timestamp(r.time),
                                  r.number, name_of(r.kind));
    if (r.kind != BlockRecord::Kind::Started) {
        const std::string rule = json(r.rule).dump(-1, ' ', false, json::error_handler_t::replace);
        out += fmt::format(R"(,"rule":{},"inside":"{}")", rule, inside_text(r.inside));
        if (r.zone != 0) out += fmt::format(R"(,"zone":{})", r.zone);
        out += fmt::format(R"(,"outside":"{}","ports":"{}")",
                           to_string(r.outside_family, r.outside), ports_text(r.ports));
    }
    return out + '}';
}

std::string to_syslog(const BlockRecord& r, const SyslogOrigin& origin) {
    const std::uint64_t number = r.number == 0 ? 0 : (r.number - 1) % kMostSequenceIds + 1;
    std::string out = fmt::format("<{}>1 {} {} sluice {} {} [meta sequenceId=\"{}\"] {}",
                                  origin.facility * 8 + kNotice, timestamp(r.time), origin.host,
                                  origin.process, kMessageId, number, name_of(r.kind));
    if (r.kind == BlockRecord::Kind::Started) return out;
    out += fmt::format(" inside={}", inside_text(r.inside));
    if (r.zone != 0) out += fmt::format(" zone={}", r.zone);
    // The name is last because it ends with a quote: a message that was cut off shows it.
    return out + fmt::format(" outside={} ports={} rule={}", to_string(r.outside_family, r.outside),
                             ports_text(r.ports), in_double_quotes(r.rule));
}

std::optional<BlockRecord> parse_block_record(std::string_view line) {
    if (line.ends_with('\r')) line.remove_suffix(1);
    return line.starts_with('{') ? parse_json(line) : parse_syslog(line);
}

}  // namespace dp
