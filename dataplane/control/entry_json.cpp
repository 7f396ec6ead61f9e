// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/control/entry_json.hpp"

#include "ct/base/time.hpp"
#include "dataplane/control/filter.hpp"
#include "dataplane/control/names.hpp"
#include "dataplane/control/notation.hpp"
#include "dataplane/control/text.hpp"
#include "dataplane/control/units.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <limits>

namespace dp {

namespace {

using nlohmann::json;

/// Status bits that may be set from outside.
constexpr std::uint16_t kSettable =
    ct::status::kSeenReply | ct::status::kAssured | ct::status::kFixedTimeout;

[[noreturn]] void bad(std::string_view key, std::string_view what) {
    throw BadParameter{"entry: `" + std::string{key} + "' " + std::string{what}};
}

template <class T>
T number_of(std::string_view key, const json& value,
            std::uint64_t most = std::numeric_limits<T>::max()) {
    if (!value.is_number_unsigned() || value.get<std::uint64_t>() > most)
        bad(key, "must be a number from 0 to " + std::to_string(most));
    return value.get<T>();
}

ct::Addr address_of(std::string_view key, const json& value, ct::Family family) {
    if (!value.is_string()) bad(key, "must be an address");
    const auto address = parse_address(value.get_ref<const std::string&>());
    if (!address || address->family != family) bad(key, "must be an address of the family");
    return address->addr;
}

template <class T, std::size_t N>
std::array<T, N> numbers_of(std::string_view key, const json& value) {
    if (!value.is_array() || value.size() != N)
        bad(key, "must be a list of " + std::to_string(N) + " numbers");
    std::array<T, N> out{};
    for (std::size_t i = 0; i < N; ++i) out[i] = number_of<T>(key, value[i]);
    return out;
}

std::uint8_t state_of(std::string_view key, const json& value) {
    return number_of<std::uint8_t>(key, value, std::max(ct::kTcpStates, ct::kSctpStates) - 1);
}

std::uint16_t status_of(std::string_view key, const json& value) {
    const auto status = number_of<std::uint16_t>(key, value);
    if ((status & ~kSettable) != 0) bad(key, "has bits that cannot be set");
    return status;
}

json tuple_json(const ct::Tuple& t) {
    return {{"family", family_name(t.family)},
            {"protocol", t.proto},
            {"src", std::string{address_text(t.family, t.src).view()}},
            {"dst", std::string{address_text(t.family, t.dst).view()}},
            {"sport", t.sport.host()},
            {"dport", t.dport.host()},
            {"zone", t.zone}};
}

ct::Tuple tuple_from_json(std::string_view key, const json& object) {
    if (!object.is_object() || object.size() != 7 || !object.contains("family"))
        bad(key, "must name a whole tuple");
    ct::Tuple t;
    const json& family = object.at("family");
    const auto known =
        family.is_string() ? find_family(family.get_ref<const std::string&>()) : std::nullopt;
    if (!known) bad("family", "must be ipv4 or ipv6");
    t.family = *known;
    for (const auto& [name, value] : object.items()) {
        if (name == "protocol")
            t.proto = number_of<std::uint8_t>(name, value);
        else if (name == "src")
            t.src = address_of(name, value, t.family);
        else if (name == "dst")
            t.dst = address_of(name, value, t.family);
        else if (name == "sport")
            t.sport = ct::Be16::from_host(number_of<std::uint16_t>(name, value));
        else if (name == "dport")
            t.dport = ct::Be16::from_host(number_of<std::uint16_t>(name, value));
        else if (name == "zone")
            t.zone = number_of<std::uint16_t>(name, value);
        else if (name != "family")
            bad(name, "is not known");
    }
    // Nor has DCCP, which is tracked by its addresses alone.
    const bool has_ports = port_kind(t.proto) != PortKind::None && t.proto != ct::ipproto::kDccp;
    if (!has_ports && (t.sport.raw() != 0 || t.dport.raw() != 0))
        bad(key, "has ports, which the tracker does not know of its protocol");
    return t;
}

}  // namespace

json to_json(const ct::Injection& e) {
    json out = {{"original", tuple_json(e.original)},
                {"reply", tuple_json(e.reply)},
                {"timeout_s", e.timeout_s}};
    if (e.status != 0) out["status"] = e.status;
    if (e.state != 0) out["state"] = e.state;
    if (e.mark != 0) out["mark"] = e.mark;
    if (e.vtags[0] != 0 || e.vtags[1] != 0) out["vtags"] = e.vtags;
    return out;
}

ct::Injection injection_from_json(const json& object) {
    if (!object.is_object() || !object.contains("original") || !object.contains("reply"))
        throw BadParameter{"entry: must have both tuples"};
    ct::Injection out;
    for (const auto& [key, value] : object.items()) {
        if (key == "original")
            out.original = tuple_from_json(key, value);
        else if (key == "reply")
            out.reply = tuple_from_json(key, value);
        else if (key == "timeout_s")
            out.timeout_s = number_of<std::uint32_t>(key, value, ct::kMaxTimeoutSeconds);
        else if (key == "status")
            out.status = status_of(key, value);
        else if (key == "state")
            out.state = state_of(key, value);
        else if (key == "mark")
            out.mark = number_of<std::uint32_t>(key, value);
        else if (key == "vtags")
            out.vtags = numbers_of<std::uint32_t, 2>(key, value);
        else
            bad(key, "is not known");
    }
    if (out.original.proto == ct::ipproto::kSctp && out.state >= ct::kSctpStates)
        bad("state", "is none of SCTP");
    return out;
}

json to_json(const ct::Change& c) {
    json out = json::object();
    if (c.timeout_s) out["timeout_s"] = *c.timeout_s;
    if (c.status != 0) out["status"] = c.status;
    if (c.state) out["state"] = *c.state;
    if (c.mark_mask != 0) out["mark"] = {c.mark, c.mark_mask};
    if ((c.label_mask[0] | c.label_mask[1]) != 0)
        out["labels"] = {c.labels[0], c.labels[1], c.label_mask[0], c.label_mask[1]};
    return out;
}

ct::Change change_from_json(const json& object) {
    if (!object.is_object()) throw BadParameter{"change: must be an object"};
    ct::Change out;
    for (const auto& [key, value] : object.items()) {
        if (key == "timeout_s") {
            out.timeout_s = number_of<std::uint32_t>(key, value, ct::kMaxTimeoutSeconds);
        } else if (key == "status") {
            out.status = status_of(key, value);
        } else if (key == "state") {
            out.state = state_of(key, value);
        } else if (key == "mark") {
            const auto mark = numbers_of<std::uint32_t, 2>(key, value);
            out.mark = mark[0];
            out.mark_mask = mark[1];
        } else if (key == "labels") {
            const auto words = numbers_of<std::uint64_t, 4>(key, value);
            out.labels = {words[0], words[1]};
            out.label_mask = {words[2], words[3]};
        } else {
            bad(key, "is not known");
        }
    }
    return out;
}

json to_json(const LabelNames& names) {
    json out = json::object();
    for (std::size_t i = 0; i < names.size(); ++i)
        if (!names[i].empty()) out[std::to_string(i)] = names[i];
    return out;
}

std::shared_ptr<const LabelNames> label_names_from_json(const json& object) {
    if (!object.is_object()) throw BadParameter{"label_names: must be an object"};
    auto out = std::make_shared<LabelNames>();
    std::size_t bytes = 0;
    for (const auto& [key, value] : object.items()) {
        const auto number = parse_number(key);
        if (!number || *number >= out->size() || !value.is_string())
            throw BadParameter{"label_names: must map 0 to 127 to names"};
        std::string name = value.get<std::string>();
        if (!is_label_name(name))
            throw BadParameter{"label_names: a name must be a printable word"};
        bytes += name.size();
        (*out)[*number] = std::move(name);
    }
    if (bytes > kMaxLabelNameBytes) throw BadParameter{"label_names: they are too long"};
    return out;
}

}  // namespace dp
