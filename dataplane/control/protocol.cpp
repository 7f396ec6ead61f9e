// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/control/protocol.hpp"

#include "dataplane/control/entry_json.hpp"
#include "dataplane/control/names.hpp"

#include <nlohmann/json.hpp>

#include <array>
#include <utility>

namespace dp {

namespace {

using nlohmann::json;

// clang-format off
constexpr std::array kCommands{
    std::pair{Command::List,     std::string_view{"list"}},
    std::pair{Command::Get,      std::string_view{"get"}},
    std::pair{Command::Delete,   std::string_view{"delete"}},
    std::pair{Command::Create,   std::string_view{"create"}},
    std::pair{Command::Update,   std::string_view{"update"}},
    std::pair{Command::Flush,    std::string_view{"flush"}},
    std::pair{Command::Count,    std::string_view{"count"}},
    std::pair{Command::Counters, std::string_view{"counters"}},
    std::pair{Command::Events,   std::string_view{"events"}},
    std::pair{Command::Sysctl,   std::string_view{"sysctl"}},
    std::pair{Command::Port,     std::string_view{"port"}},
    std::pair{Command::Address,  std::string_view{"address"}},
    std::pair{Command::Drops,    std::string_view{"drops"}},
    std::pair{Command::Explain,  std::string_view{"explain"}},
    std::pair{Command::Stats,    std::string_view{"stats"}},
    std::pair{Command::Version,  std::string_view{"version"}},
    std::pair{Command::Ping,     std::string_view{"ping"}},
};
constexpr std::array kTables{
    std::pair{Table::Conntrack,   std::string_view{"conntrack"}},
    std::pair{Table::Expect,      std::string_view{"expect"}},
    std::pair{Table::Dying,       std::string_view{"dying"}},
    std::pair{Table::Unconfirmed, std::string_view{"unconfirmed"}},
};
constexpr std::array kFormats{
    std::pair{Format::Line, std::string_view{"line"}},
    std::pair{Format::Xml,  std::string_view{"xml"}},
    std::pair{Format::Save, std::string_view{"save"}},
    std::pair{Format::Json, std::string_view{"json"}},
};
// clang-format on

template <class Pairs, class Id>
std::string_view name_in(const Pairs& pairs, Id id) noexcept {
    for (const auto& [value, name] : pairs)
        if (value == id) return name;
    return {};
}

/// Reads `value` as one of the names in `pairs`; `what` is the key's name.
template <class Pairs>
auto named(const Pairs& pairs, const json& value, std::string_view what) {
    if (value.is_string())
        for (const auto& [id, name] : pairs)
            if (value.get_ref<const std::string&>() == name) return id;
    throw BadParameter{"unknown " + std::string{what}};
}

RenderOptions output_from_json(const json& object) {
    if (!object.is_object()) throw BadParameter{"output: must be an object"};
    RenderOptions out;
    for (const auto& [key, value] : object.items()) {
        if (key == "format") {
            out.format = named(kFormats, value, "format");
            continue;
        }
        if (key == "label_names") {
            out.label_names = label_names_from_json(value);
            continue;
        }
        if (!value.is_boolean()) throw BadParameter{"output: flags must be true or false"};
        const bool on = value.get<bool>();
        if (key == "extended")
            out.extended = on;
        else if (key == "id")
            out.id = on;
        else if (key == "timestamp")
            out.timestamp = on;
        else if (key == "ktimestamp")
            out.ktimestamp = on;
        else if (key == "labels")
            out.labels = on;
        else
            throw BadParameter{"output: unknown flag"};
    }
    return out;
}

json output_json(const RenderOptions& o) {
    json out = {{"format", name_in(kFormats, o.format)}};
    if (o.extended) out["extended"] = true;
    if (o.id) out["id"] = true;
    if (o.timestamp) out["timestamp"] = true;
    if (o.ktimestamp) out["ktimestamp"] = true;
    if (o.labels) out["labels"] = true;
    if (o.label_names) out["label_names"] = to_json(*o.label_names);
    return out;
}

/// `text` as the inside of a JSON string. What is rendered is ASCII; a byte beyond that would be
/// passed on as it is.
void append_escaped(std::string& out, std::string_view text) {
    constexpr std::string_view kHex = "0123456789abcdef";
    const auto plain = [](char c) {
        return c != '"' && c != '\\' && static_cast<unsigned char>(c) >= 0x20;
    };
    std::size_t from = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (plain(c)) continue;
        out.append(text, from, i - from);
        from = i + 1;
        if (c == '\n') {
            out.append("\\n");
        } else if (c == '"' || c == '\\') {
            out.push_back('\\');
            out.push_back(c);
        } else {
            out.append("\\u00");
            out.push_back(kHex[static_cast<unsigned char>(c) >> 4]);
            out.push_back(kHex[static_cast<unsigned char>(c) & 0xf]);
        }
    }
    out.append(text, from);
}

json parse_object(std::string_view line) {
    json object = json::parse(line, nullptr, false);
    if (object.is_discarded()) throw BadParameter{"the request is not JSON"};
    if (!object.is_object()) throw BadParameter{"the request is not a JSON object"};
    return object;
}

}  // namespace

std::string_view version() noexcept {
    return SLUICE_VERSION;
}

std::string_view name_of(Command command) noexcept {
    return name_in(kCommands, command);
}
std::string_view name_of(Table table) noexcept {
    return name_in(kTables, table);
}

std::optional<Table> find_table(std::string_view name) noexcept {
    for (const auto& [table, known] : kTables)
        if (known == name) return table;
    return {};
}

namespace {

/// `value` as a number from 0 to `most`.
std::uint64_t number_up_to(const std::string& key, const json& value, std::uint64_t most) {
    if (!value.is_number_unsigned() || value.get<std::uint64_t>() > most)
        throw BadParameter{key + ": must be 0 to " + std::to_string(most)};
    return value.get<std::uint64_t>();
}

void read_scalar(const std::string& key, const json& value, Request& out) {
    constexpr std::size_t kLongestName = 64;
    if (key == "events") {
        out.events = static_cast<std::uint8_t>(number_up_to(key, value, kEventAll));
    } else if (key == "buffer") {
        out.buffer = static_cast<std::uint32_t>(number_up_to(key, value, kMaxEventBuffer));
    } else if (key == "value") {
        out.value = number_up_to(key, value, ~std::uint64_t{0});
    } else if (key == "name" || key == "address") {
        if (!value.is_string() || value.get_ref<const std::string&>().size() > kLongestName)
            throw BadParameter{key + ": must be a short string"};
        (key == "name" ? out.name : out.address) = value.get<std::string>();
    } else if (key == "zero") {
        if (!value.is_boolean()) throw BadParameter{"zero: must be true or false"};
        out.zero = value.get<bool>();
    } else if (key == "existing") {
        if (value != "keep" && value != "refuse")
            throw BadParameter{"existing: must be \"keep\" or \"refuse\""};
        out.keep_existing = value == "keep";
    } else {
        throw BadParameter{"the request has an unknown key"};
    }
}

}  // namespace

Request parse_request(std::string_view line) {
    const json object = parse_object(line);
    Request out;
    bool has_version = false;
    bool has_command = false;
    for (const auto& [key, value] : object.items()) {
        if (key == "v") {
            has_version = value == kProtocolVersion;
        } else if (key == "cmd") {
            out.command = named(kCommands, value, "cmd");
            has_command = true;
        } else if (key == "table") {
            out.table = named(kTables, value, "table");
        } else if (key == "filter") {
            out.filter = filter_from_json(value);
        } else if (key == "output") {
            out.output = output_from_json(value);
        } else if (key == "entry") {
            out.entry = injection_from_json(value);
        } else if (key == "change") {
            out.change = change_from_json(value);
        } else {
            read_scalar(key, value, out);
        }
    }
    if (!has_version) throw BadParameter{"the request is not of protocol version 1"};
    if (!has_command) throw BadParameter{"the request has no cmd"};
    return out;
}

std::string to_line(const Request& r) {
    json object = {{"v", kProtocolVersion},           {"cmd", name_of(r.command)},
                   {"table", name_of(r.table)},       {"filter", to_json(r.filter)},
                   {"output", output_json(r.output)}, {"events", r.events}};
    if (r.buffer != 0) object["buffer"] = r.buffer;
    if (r.zero) object["zero"] = true;
    if (r.command == Command::Create) object["entry"] = to_json(r.entry);
    if (r.keep_existing) object["existing"] = "keep";
    if (r.command == Command::Update) object["change"] = to_json(r.change);
    if (!r.name.empty()) object["name"] = r.name;
    if (!r.address.empty()) object["address"] = r.address;
    if (r.value) object["value"] = *r.value;
    return object.dump();
}

ct::Tuple tuple_of(const Filter& f) {
    const auto whole = [](const std::optional<AddressMatch>& m) {
        if (!m) return false;
        const std::size_t bytes = m->family == ct::Family::Ipv4 ? 4 : 16;
        for (std::size_t i = 0; i < bytes; ++i)
            if (m->mask.bytes[i] != 0xff) return false;
        return true;
    };
    if (!f.protocol || !whole(f.orig_src) || !whole(f.orig_dst) ||
        f.orig_src->family != f.orig_dst->family)
        throw BadParameter{"get: protocol, source and destination must be given"};
    ct::Tuple t;
    t.family = f.orig_src->family;
    t.proto = *f.protocol;
    t.src = f.orig_src->addr;
    t.dst = f.orig_dst->addr;
    if (port_kind(t.proto) == PortKind::Icmp) {
        t.sport = ct::Be16::from_host(f.icmp_id.value_or(0));
        t.dport = ct::icmp_type_code(f.icmp_type.value_or(0), f.icmp_code.value_or(0));
    } else if (port_kind(t.proto) != PortKind::None && t.proto != ct::ipproto::kDccp) {
        t.sport = ct::Be16::from_host(f.orig_sport.value_or(0));
        t.dport = ct::Be16::from_host(f.orig_dport.value_or(0));
    }
    if (f.zone) t.zone = *f.zone;
    return t;
}

void append_text(std::string& out, std::string_view text) {
    out.append("{\"text\":\"");
    append_escaped(out, text);
    out.append("\"}\n");
}

void append_note(std::string& out, std::string_view text) {
    out.append("{\"note\":\"");
    append_escaped(out, text);
    out.append("\"}\n");
}

void append_gap(std::string& out, std::uint64_t lost, std::uint64_t first) {
    out.append("{\"gap\":").append(std::to_string(lost));
    out.append(",\"seq\":").append(std::to_string(first)).append("}\n");
}

void append_synced(std::string& out, std::uint64_t count) {
    out.append("{\"synced\":").append(std::to_string(count)).append("}\n");
}

void append_data(std::string& out, std::string_view object) {
    out.append("{\"data\":").append(object).append("}\n");
}

void append_done(std::string& out, std::uint64_t count) {
    out.append("{\"done\":true,\"count\":").append(std::to_string(count)).append("}\n");
}

void append_error(std::string& out, std::string_view message, int code) {
    constexpr std::size_t kMaxMessage = 400;  // bytes; it may quote a request of 64 KiB
    if (message.size() > kMaxMessage) {
        std::size_t end = kMaxMessage;
        while (end > 0 && (static_cast<unsigned char>(message[end]) & 0xc0) == 0x80) --end;
        message = message.substr(0, end);  // not inside a character of UTF-8
    }
    out.append("{\"error\":\"");
    append_escaped(out, message);
    out.append("\",\"code\":").append(std::to_string(code)).append("}\n");
}

namespace {

/// The fast way for what most of a listing is made of. False if `line` is no text as append_text()
/// writes it, or has an escape that is rare.
bool parse_text(std::string_view line, std::string& out) {
    constexpr std::string_view kHead = "{\"text\":\"";
    constexpr std::string_view kTail = "\"}";
    if (line.size() < kHead.size() + kTail.size()) return false;  // they must not overlap
    if (!line.starts_with(kHead) || !line.ends_with(kTail)) return false;
    line.remove_prefix(kHead.size());
    line.remove_suffix(kTail.size());
    out.clear();
    out.reserve(line.size());
    for (std::size_t from = 0; from < line.size();) {
        const std::size_t escape = line.find('\\', from);
        out.append(line, from, escape == std::string_view::npos ? escape : escape - from);
        if (escape == std::string_view::npos) break;
        const char c = escape + 1 < line.size() ? line[escape + 1] : '\0';
        if (c != 'n' && c != '"' && c != '\\') return false;
        out.push_back(c == 'n' ? '\n' : c);
        from = escape + 2;
    }
    return true;
}

std::uint64_t count_of(const json& value) {
    if (!value.is_number_unsigned()) throw std::runtime_error{"the daemon's answer has no count"};
    return value.get<std::uint64_t>();
}

}  // namespace

Response parse_response(std::string_view line) {
    Response out;
    out.kind = Response::Kind::Text;
    if (parse_text(line, out.text)) return out;

    const json object = json::parse(line, nullptr, false);
    try {
        if (!object.is_object()) throw std::runtime_error{"the daemon's answer is not JSON"};
        if (object.contains("text")) {
            out.text = object.at("text").get<std::string>();
        } else if (object.contains("note")) {
            out.kind = Response::Kind::Note;
            out.text = object.at("note").get<std::string>();
        } else if (object.contains("gap")) {
            out.kind = Response::Kind::Gap;
            out.count = count_of(object.at("gap"));
            out.first = count_of(object.at("seq"));
        } else if (object.contains("synced")) {
            out.kind = Response::Kind::Synced;
            out.count = count_of(object.at("synced"));
        } else if (object.contains("data")) {
            out.kind = Response::Kind::Data;
            out.text = object.at("data").dump();
        } else if (object.contains("error")) {
            out.kind = Response::Kind::Error;
            out.text = object.at("error").get<std::string>();
            out.code = object.at("code").get<int>();
        } else {
            out.kind = Response::Kind::Done;
            out.count = count_of(object.at("count"));
        }
    } catch (const json::exception&) {
        throw std::runtime_error{"the daemon's answer is not of this protocol"};
    }
    return out;
}

}  // namespace dp
