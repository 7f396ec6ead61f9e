// SPDX-License-Identifier: BSD-3-Clause
//
// A filter on its way from sluicectl to the daemon. What comes in is read as if from an enemy:
// every key, type and range is checked.
#include "dataplane/control/filter.hpp"
#include "dataplane/control/names.hpp"

#include <nlohmann/json.hpp>

#include <limits>

namespace dp {

namespace {

using nlohmann::json;

[[noreturn]] void bad(std::string_view key, std::string_view what) {
    throw BadParameter{"filter: `" + std::string{key} + "' " + std::string{what}};
}

template <class T>
T number_of(std::string_view key, const json& value) {
    if (!value.is_number_unsigned()) bad(key, "must be a number that is not negative");
    const auto number = value.get<std::uint64_t>();
    if (number > std::numeric_limits<T>::max()) bad(key, "is too large");
    return static_cast<T>(number);
}

const std::string& text_of(std::string_view key, const json& value) {
    if (!value.is_string()) bad(key, "must be a string");
    return value.get_ref<const std::string&>();
}

template <class T>
void read(std::string_view key, const json& value, std::optional<T>& out) {
    out = number_of<T>(key, value);
}

void read(std::string_view key, const json& value, std::optional<AddressMatch>& out) {
    out = parse_address_match(text_of(key, value));
}

void read(std::string_view key, const json& value, std::optional<NatMatch>& out) {
    if (value.is_boolean() && value.get<bool>())
        out = NatMatch{};
    else
        out = parse_nat_match(text_of(key, value));
}

template <class T>
void write(json& out, const char* key, const std::optional<T>& value) {
    if (value) out[key] = *value;
}

void write(json& out, const char* key, const std::optional<AddressMatch>& value) {
    if (value) out[key] = to_string(*value);
}

void write(json& out, const char* key, const std::optional<NatMatch>& value) {
    if (!value) return;
    if (value->family == ct::Family::None)
        out[key] = true;
    else
        out[key] = to_string(*value);
}

/// Calls `f(key, member)` for every optional member; the one list that reading and writing share.
template <class AnyFilter, class F>
void for_each_optional(AnyFilter& filter, F f) {
    f("protocol", filter.protocol);
    f("orig_src", filter.orig_src);
    f("orig_dst", filter.orig_dst);
    f("reply_src", filter.reply_src);
    f("reply_dst", filter.reply_dst);
    f("orig_sport", filter.orig_sport);
    f("orig_dport", filter.orig_dport);
    f("reply_sport", filter.reply_sport);
    f("reply_dport", filter.reply_dport);
    f("icmp_type", filter.icmp_type);
    f("icmp_code", filter.icmp_code);
    f("icmp_id", filter.icmp_id);
    f("state", filter.state);
    f("zone", filter.zone);
    f("orig_zone", filter.orig_zone);
    f("reply_zone", filter.reply_zone);
    f("src_nat", filter.src_nat);
    f("dst_nat", filter.dst_nat);
    f("any_nat", filter.any_nat);
    f("timeout_s", filter.timeout_s);
    f("id", filter.id);
}

/// Reads one of the keys that are no optional members. False if `key` is none of them.
bool read_special(const std::string& key, const json& value, Filter& out) {
    if (key == "family") {
        const auto family = find_family(text_of(key, value));
        if (!family) bad(key, "must be ipv4 or ipv6");
        out.family = *family;
    } else if (key == "mark") {
        parse_mark_match(text_of(key, value), out);
    } else if (key == "status_set") {
        out.status_set = number_of<std::uint16_t>(key, value);
    } else if (key == "status_clear") {
        out.status_clear = number_of<std::uint16_t>(key, value);
    } else if (key == "labels") {
        if (!value.is_array() || value.size() != out.labels.size())
            bad(key, "must be a list of two numbers");
        for (std::size_t i = 0; i < out.labels.size(); ++i)
            out.labels[i] = number_of<std::uint64_t>(key, value[i]);
    } else {
        return false;
    }
    return true;
}

}  // namespace

json to_json(const Filter& filter) {
    json out = json::object();
    if (filter.family != ct::Family::None) out["family"] = family_name(filter.family);
    if (filter.mark_mask != 0)
        out["mark"] = std::to_string(filter.mark) + "/" + std::to_string(filter.mark_mask);
    if (filter.status_set != 0) out["status_set"] = filter.status_set;
    if (filter.status_clear != 0) out["status_clear"] = filter.status_clear;
    if ((filter.labels[0] | filter.labels[1]) != 0) out["labels"] = filter.labels;
    for_each_optional(filter, [&](const char* key, const auto& value) { write(out, key, value); });
    return out;
}

Filter filter_from_json(const json& object) {
    if (!object.is_object()) throw BadParameter{"filter: must be an object"};
    Filter out;
    for (const auto& [key, value] : object.items()) {
        bool known = read_special(key, value, out);
        for_each_optional(out, [&, &k = key, &v = value](const char* name, auto& member) {
            if (k != name) return;
            read(name, v, member);
            known = true;
        });
        if (!known) bad(key, "is not known");
    }
    return out;
}

}  // namespace dp
