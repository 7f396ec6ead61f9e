// SPDX-License-Identifier: BSD-3-Clause
#include "tests/control/golden_line.hpp"

#include "dataplane/control/names.hpp"
#include "dataplane/control/notation.hpp"

#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>

namespace dp::test {

namespace {

std::uint64_t number(std::string_view text) {
    const bool hex = text.starts_with("0x");
    if (hex) text.remove_prefix(2);
    std::uint64_t out = 0;
    std::from_chars(text.data(), text.data() + text.size(), out, hex ? 16 : 10);
    return out;
}

ct::Be16 port(std::string_view text) {
    return ct::Be16::from_host(static_cast<std::uint16_t>(number(text)));
}

bool all_digits(std::string_view text) {
    return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

/// What the kernel adds and Sluice has nothing of: the helper's name and the process behind an
/// event, with the `mark=0` that such events carry.
std::string without_foreign_fields(std::string_view line) {
    std::string out{line};
    const bool process = out.find("[USERSPACE]") != std::string::npos;
    out = std::regex_replace(out, std::regex{" helper=[^ ]+"}, "");
    out = std::regex_replace(out, std::regex{" \\[USERSPACE\\].*"}, "");
    if (process) out = std::regex_replace(out, std::regex{" mark=0"}, "");
    return out;
}

/// Applies `key=value` to the snapshot. `dir` is the direction that is being read.
void apply(std::string_view key, std::string_view value, std::size_t dir, ct::Snapshot& conn) {
    ct::Tuple& t = dir == 0 ? conn.original : conn.reply;
    const auto address = [&] { return parse_address(value)->addr; };
    if (key == "src") t.src = address();
    if (key == "dst") t.dst = address();
    if (key == "sport" || key == "srckey") t.sport = port(value);
    if (key == "dport" || key == "dstkey") t.dport = port(value);
    const auto byte = static_cast<std::uint8_t>(number(value));
    if (key == "type") t.dport = ct::icmp_type_code(byte, ct::icmp_code(t.dport));
    if (key == "code") t.dport = ct::icmp_type_code(ct::icmp_type(t.dport), byte);
    if (key == "packets") conn.packets[dir] = number(value);
    if (key == "bytes") conn.bytes[dir] = number(value);
    if (key == "packets") conn.has_counters = true;
    if (key == "mark") conn.mark = static_cast<std::uint32_t>(number(value));
    const auto zone = static_cast<std::uint16_t>(number(value));
    if (key == "zone") conn.original.zone = conn.reply.zone = zone;
    if (key == "zone-orig") conn.original.zone = zone;
    if (key == "zone-reply") conn.reply.zone = zone;
}

/// `id` is the ICMP identifier inside the tuples and the entry's own after them.
class Reader {
public:
    explicit Reader(std::string_view line) : words_{std::string{line}} {}

    std::optional<GoldenLine> read(std::string_view whole) {
        GoldenLine out;
        out.text = whole;
        if (!read_head(out)) return {};
        out.event.conn.status = ct::status::kSeenReply;
        std::string word;
        while (words_ >> word) take(word, out);
        return out;
    }

private:
    bool read_head(GoldenLine& out) {
        std::string word;
        if (!(words_ >> word)) return false;
        if (word == "ipv4" || word == "ipv6") {
            out.options.extended = true;
            if (!(words_ >> word >> word)) return false;  // its number, then the protocol
        }
        std::string protocol;
        if (all_digits(word) || !(words_ >> protocol) || !all_digits(protocol)) return false;
        ct::Snapshot& conn = out.event.conn;
        conn.original.proto = conn.reply.proto = static_cast<std::uint8_t>(number(protocol));
        return true;
    }

    void take(const std::string& word, GoldenLine& out) {
        ct::Snapshot& conn = out.event.conn;
        const std::size_t equals = word.find('=');
        if (word == "[UNREPLIED]") {
            conn.status &= static_cast<std::uint16_t>(~ct::status::kSeenReply);
        } else if (word == "[ASSURED]") {
            conn.status |= ct::status::kAssured;
        } else if (equals == std::string::npos) {
            if (all_digits(word))
                conn.timeout_s = static_cast<std::uint32_t>(number(word));
            else
                conn.state = find_state(conn.original.proto, word).value_or(0);
        } else {
            take_field(word.substr(0, equals), word.substr(equals + 1), out);
        }
    }

    void take_field(const std::string& key, const std::string& value, GoldenLine& out) {
        ct::Snapshot& conn = out.event.conn;
        if (key == "src") {
            if (seen_src_) dir_ = 1;
            seen_src_ = true;
            const auto family = parse_address(value)->family;
            conn.original.family = conn.reply.family = family;
        }
        if (key == "use") out.options.use = static_cast<std::uint32_t>(number(value));
        if (key == "code") in_icmp_ = true;
        if (key == "id" && in_icmp_) {
            (dir_ == 0 ? conn.original : conn.reply).sport = port(value);
            in_icmp_ = false;
            return;
        }
        if (key == "id") {
            conn.id = static_cast<std::uint32_t>(number(value));
            out.options.id = true;
        }
        if (key == "delta-time") {
            conn.has_timestamp = true;
            conn.start = ct::kNanosPerSecond;
            out.options.now = conn.start + number(value) * ct::kNanosPerSecond;
            conn.stop = out.is_event ? out.options.now : 0;
        }
        apply(key, value, dir_, conn);
    }

    std::istringstream words_;
    std::size_t dir_ = 0;
    bool seen_src_ = false;
    bool in_icmp_ = false;
};

void read_event_head(std::string_view& rest, GoldenLine& out) {
    if (rest.starts_with('[') && rest.find("]\t") != std::string_view::npos) {
        const std::size_t dot = rest.find('.');
        const std::size_t end = rest.find("]\t");
        out.options.timestamp = true;
        out.event.when = number(rest.substr(1, dot - 1)) * ct::kNanosPerSecond +
                         number(rest.substr(dot + 1, end - dot - 1)) * 1000;
        rest.remove_prefix(end + 2);
    }
    using enum ct::EventType;
    for (const auto& [name, type] : {std::pair{"    [NEW] ", New}, std::pair{" [UPDATE] ", Update},
                                     std::pair{"[DESTROY] ", Destroy}}) {
        if (!rest.starts_with(name)) continue;
        rest.remove_prefix(std::string_view{name}.size());
        out.is_event = true;
        out.event.type = type;
    }
}

std::string element(std::string_view text, const std::string& name) {
    const std::string open = "<" + name + ">";
    const std::size_t begin = text.find(open);
    if (begin == std::string_view::npos) return {};
    const std::size_t end = text.find("</" + name + ">", begin);
    return std::string{text.substr(begin + open.size(), end - begin - open.size())};
}

std::string meta(std::string_view text, const std::string& direction) {
    const std::string open = "<meta direction=\"" + direction + "\">";
    const std::size_t begin = text.find(open);
    return std::string{text.substr(begin, text.find("</meta>", begin) - begin)};
}

void read_direction(const std::string& text, std::size_t dir, ct::Snapshot& conn) {
    ct::Tuple& t = dir == 0 ? conn.original : conn.reply;
    const std::size_t l4 = text.find("<layer4 protonum=\"") + 18;
    t.proto = static_cast<std::uint8_t>(number(text.substr(l4, text.find('"', l4) - l4)));
    t.family = parse_address(element(text, "src"))->family;
    for (const char* key : {"src", "dst", "sport", "dport", "srckey", "dstkey", "packets", "bytes"})
        if (const std::string value = element(text, key); !value.empty())
            apply(key, value, dir, conn);
    if (const std::string zone = element(text, "zone"); !zone.empty())
        apply(dir == 0 ? "zone-orig" : "zone-reply", zone, dir, conn);
}

}  // namespace

std::optional<GoldenLine> parse_golden_line(std::string_view line) {
    const std::string text = without_foreign_fields(line);
    GoldenLine head;
    std::string_view rest = text;
    read_event_head(rest, head);
    if (rest.find("src=") == std::string_view::npos ||
        rest.find("mask-src=") != std::string_view::npos)
        return {};
    auto out = Reader{rest}.read(text);
    if (!out) return {};
    out->is_event = head.is_event;
    out->event.type = head.event.type;
    out->event.when = head.event.when;
    out->options.timestamp = head.options.timestamp;
    if (out->is_event && out->event.conn.has_timestamp) out->event.conn.stop = out->options.now;
    return out;
}

std::optional<GoldenLine> parse_golden_flow(std::string_view line) {
    if (!line.starts_with("<flow")) return {};
    GoldenLine out;
    out.text = std::regex_replace(std::string{line}, std::regex{"<helper>[^<]*</helper>"}, "");
    out.options.format = Format::Xml;
    ct::Snapshot& conn = out.event.conn;
    read_direction(meta(line, "original"), 0, conn);
    read_direction(meta(line, "reply"), 1, conn);
    const std::string rest = meta(line, "independent");
    // SCTP's states go by the names that TCP has for their numbers, both ways.
    conn.state = find_state(ct::ipproto::kTcp, element(rest, "state")).value_or(0);
    conn.timeout_s = static_cast<std::uint32_t>(number(element(rest, "timeout")));
    conn.id = static_cast<std::uint32_t>(number(element(rest, "id")));
    out.options.use = static_cast<std::uint32_t>(number(element(rest, "use")));
    if (rest.find("<assured/>") != std::string::npos) conn.status |= ct::status::kAssured;
    if (rest.find("<unreplied/>") == std::string::npos) conn.status |= ct::status::kSeenReply;
    for (const char* key : {"mark", "zone"})
        if (const std::string value = element(rest, key); !value.empty())
            apply(key, value, 0, conn);
    if (const std::string age = element(rest, "deltatime"); !age.empty()) {
        conn.has_timestamp = true;
        out.options.now = number(age) * ct::kNanosPerSecond;
    }
    return out;
}

std::vector<std::string> golden_files(std::string_view name) {
    std::vector<std::string> out;
    for (const auto& entry :
         std::filesystem::recursive_directory_iterator{SLUICE_SOURCE_DIR "/tests/golden"})
        if (entry.is_regular_file() && entry.path().filename() == name) out.push_back(entry.path());
    return out;
}

std::vector<std::string> lines_of(const std::string& path) {
    std::ifstream in{path};
    std::vector<std::string> out;
    for (std::string line; std::getline(in, line);) out.push_back(line);
    return out;
}

}  // namespace dp::test
