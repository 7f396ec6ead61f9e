// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/control/flow_notation.hpp"

#include "dataplane/control/names.hpp"
#include "dataplane/control/notation.hpp"
#include "dataplane/control/units.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

namespace dp {

namespace {

constexpr std::string_view kForm = "write it like `tcp 10.0.0.1:1234 > 192.0.2.1:80'";

std::vector<std::string_view> words_of(std::string_view text) {
    constexpr std::string_view kBlank = " \t";
    std::vector<std::string_view> out;
    while (true) {
        const std::size_t begin = text.find_first_not_of(kBlank);
        if (begin == std::string_view::npos) return out;
        text.remove_prefix(begin);
        // `>` is a word of its own, with blanks around it or not.
        std::size_t length = text.find_first_of(" \t>");
        if (length == 0) length = 1;
        out.push_back(text.substr(0, length));
        text.remove_prefix(out.back().size());
    }
}

template <class T>
T number_of(std::string_view text, std::string_view what) {
    const auto n = parse_number(text);
    if (!n || *n > std::numeric_limits<T>::max())
        throw BadParameter{fmt::format("{} cannot be {}; it is a number up to {}", what,
                                       in_quotes(text), std::numeric_limits<T>::max())};
    return static_cast<T>(*n);
}

struct Endpoint {
    ct::Prefix prefix;
    std::optional<std::uint16_t> port;
};

Endpoint endpoint_of(std::string_view text) {
    Endpoint out;
    if (text == "*") return out;
    if (const auto whole = parse_prefix(text)) {
        out.prefix = *whole;
        return out;
    }
    const std::size_t colon = text.rfind(':');
    std::string_view address = text.substr(0, std::min(colon, text.size()));
    if (address.starts_with('[') && address.ends_with(']'))
        address = address.substr(1, address.size() - 2);
    else if (address.find(':') != std::string_view::npos)
        address = {};  // IPv6 with a port needs brackets
    const auto prefix = parse_prefix(address);
    const bool any = colon == 0 || address == "*";
    if (colon == std::string_view::npos || (!any && !prefix))
        throw BadParameter{
            fmt::format("{} is no endpoint; {}, an IPv6 address in brackets if a port follows",
                        in_quotes(text), kForm)};
    if (prefix && !any) out.prefix = *prefix;
    out.port = number_of<std::uint16_t>(text.substr(colon + 1), "a port");
    return out;
}

/// True if the word can only be part of an endpoint.
bool is_endpoint(std::string_view word) {
    return word == "*" || word.find_first_of(".:/[") != std::string_view::npos;
}

void read_icmp(FlowPattern& out, std::string_view name, std::string_view value) {
    if (name == "type")
        out.icmp_type = number_of<std::uint8_t>(value, "an ICMP type");
    else if (name == "code")
        out.icmp_code = number_of<std::uint8_t>(value, "an ICMP code");
    else
        out.icmp_id = number_of<std::uint16_t>(value, "an ICMP id");
}

void check(const FlowPattern& p) {
    const bool both = p.src.family != ct::Family::None && p.dst.family != ct::Family::None;
    if (both && p.src.family != p.dst.family)
        throw BadParameter{"source and destination are of different families"};
    if ((p.sport || p.dport) && (!p.proto || port_kind(*p.proto) != PortKind::Ports))
        throw BadParameter{fmt::format("ports need a protocol that has them in front; {}", kForm)};
    const bool icmp = p.proto && port_kind(*p.proto) == PortKind::Icmp;
    if ((p.icmp_type || p.icmp_code || p.icmp_id) && !icmp)
        throw BadParameter{"type, code and id are of icmp and icmpv6; write one of them in front"};
}

}  // namespace

FlowPattern parse_flow_pattern(std::string_view text) {
    const auto words = words_of(text);
    FlowPattern out;
    std::size_t i = 0;
    const auto peek = [&] { return i < words.size() ? words[i] : std::string_view{}; };
    if (words.empty()) throw BadParameter{fmt::format("which flow? {}", kForm)};
    if (peek() != ">" && !is_endpoint(peek())) {
        out.proto = find_protocol(peek());
        if (!out.proto)
            throw BadParameter{fmt::format("{} is neither a protocol nor an endpoint; {}",
                                           in_quotes(peek()), kForm)};
        ++i;
    }
    const auto read = [&](ct::Prefix& prefix, std::optional<std::uint16_t>& port) {
        const Endpoint e = endpoint_of(words[i++]);
        prefix = e.prefix;
        port = e.port;
    };
    if (is_endpoint(peek())) read(out.src, out.sport);
    if (peek() == ">") {
        if (++i == words.size())
            throw BadParameter{fmt::format("no destination follows `>'; {}", kForm)};
        read(out.dst, out.dport);
    }
    while (i < words.size()) {
        const std::string_view name = words[i++];
        if ((name != "type" && name != "code" && name != "id") || i == words.size())
            throw BadParameter{fmt::format("{} has no meaning here; {}", in_quotes(name), kForm)};
        read_icmp(out, name, words[i++]);
    }
    check(out);
    return out;
}

bool FlowPattern::matches(const ct::Tuple& t) const noexcept {
    if (t.family == ct::Family::None) return false;
    if (proto && *proto != t.proto) return false;
    if (src.family != ct::Family::None && !src.contains(t.family, t.src)) return false;
    if (dst.family != ct::Family::None && !dst.contains(t.family, t.dst)) return false;
    if (sport && *sport != t.sport.host()) return false;
    if (dport && *dport != t.dport.host()) return false;
    if (icmp_type && *icmp_type != ct::icmp_type(t.dport)) return false;
    if (icmp_code && *icmp_code != ct::icmp_code(t.dport)) return false;
    return !icmp_id || *icmp_id == t.sport.host();
}

bool FlowPattern::matches_either_way(const ct::Tuple& t) const noexcept {
    return matches(t) || matches(ct::reply_of(t));
}

ct::Tuple whole_tuple(const FlowPattern& p) {
    const auto host = [](const ct::Prefix& prefix) {
        return prefix.family != ct::Family::None && prefix.length == address_bits(prefix.family);
    };
    if (!p.proto || !host(p.src) || !host(p.dst))
        throw BadParameter{
            fmt::format("protocol, source and destination must be given; {}", kForm)};
    const PortKind kind = port_kind(*p.proto);
    if (kind == PortKind::Ports && (!p.sport || !p.dport))
        throw BadParameter{fmt::format("both ports must be given; {}", kForm)};
    ct::Tuple t;
    t.family = p.src.family;
    t.proto = *p.proto;
    t.src = p.src.addr;
    t.dst = p.dst.addr;
    if (kind == PortKind::Ports) {
        t.sport = ct::Be16::from_host(*p.sport);
        t.dport = ct::Be16::from_host(*p.dport);
    }
    if (kind == PortKind::Icmp) {
        const std::uint8_t echo = t.proto == ct::ipproto::kIcmp ? 8 : 128;
        t.sport = ct::Be16::from_host(p.icmp_id.value_or(0));
        t.dport = ct::icmp_type_code(p.icmp_type.value_or(echo), p.icmp_code.value_or(0));
    }
    return t;
}

Filter filter_of(const ct::Tuple& t) {
    Filter f;
    f.family = t.family;
    f.protocol = t.proto;
    AddressMatch host{.family = t.family, .addr = t.src, .mask = {}};
    std::fill_n(host.mask.bytes.begin(), address_bits(t.family) / 8, std::uint8_t{0xff});
    f.orig_src = host;
    host.addr = t.dst;
    f.orig_dst = host;
    if (port_kind(t.proto) == PortKind::Icmp) {
        f.icmp_type = ct::icmp_type(t.dport);
        f.icmp_code = ct::icmp_code(t.dport);
        f.icmp_id = t.sport.host();
    } else if (port_kind(t.proto) != PortKind::None) {
        f.orig_sport = t.sport.host();
        f.orig_dport = t.dport.host();
    }
    if (t.zone != 0) f.zone = t.zone;
    return f;
}

}  // namespace dp
