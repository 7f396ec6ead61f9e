// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/control/notation.hpp"

#include "dataplane/control/units.hpp"

#include <algorithm>
#include <arpa/inet.h>
#include <array>
#include <cctype>
#include <numeric>
#include <utility>

namespace dp {
namespace {

struct Protocol {
    std::string_view name;
    std::uint8_t number;
};

// IANA protocol-numbers; the names are those of conntrack(8) and iptables. Of two names of one
// number the first is printed.
constexpr std::array<Protocol, 15> kProtocols{{
    {"tcp", ct::ipproto::kTcp},
    {"udp", ct::ipproto::kUdp},
    {"icmp", ct::ipproto::kIcmp},
    {"icmpv6", ct::ipproto::kIcmpv6},
    {"ipv6-icmp", ct::ipproto::kIcmpv6},
    {"sctp", ct::ipproto::kSctp},
    {"dccp", ct::ipproto::kDccp},
    {"udplite", ct::ipproto::kUdplite},
    {"gre", ct::ipproto::kGre},
    {"igmp", 2},
    {"ipip", 4},
    {"esp", 50},
    {"ah", 51},
    {"ospf", 89},
    {"vrrp", 112},
}};

/// `n` with `count` hexadecimal digits that are all of `text`.
std::optional<std::uint32_t> hex_field(std::string_view text, std::size_t count) {
    if (text.size() != count) return std::nullopt;
    std::uint32_t value = 0;
    for (const char c : text) {
        if (std::isxdigit(static_cast<unsigned char>(c)) == 0) return std::nullopt;
        const int digit = std::isdigit(static_cast<unsigned char>(c)) != 0
                              ? c - '0'
                              : std::tolower(static_cast<unsigned char>(c)) - 'a' + 10;
        value = value << 4 | static_cast<std::uint32_t>(digit);
    }
    return value;
}

std::optional<std::uint16_t> parse_port(std::string_view text) {
    if (text.empty() || std::isdigit(static_cast<unsigned char>(text.front())) == 0)
        return std::nullopt;
    const auto port = parse_number(text);
    if (!port || *port > 0xffff || text.starts_with("0x")) return std::nullopt;
    return static_cast<std::uint16_t>(*port);
}

/// Takes one address off the front of a translation: up to a `-`, `:` or `/` that is not part of
/// it, or what stands in brackets.
std::optional<Address> take_address(std::string_view& text) {
    if (text.starts_with('[')) {
        const auto end = text.find(']');
        if (end == std::string_view::npos) return std::nullopt;
        const auto inside = parse_address(text.substr(1, end - 1));
        text.remove_prefix(end + 1);
        return inside && inside->family == ct::Family::Ipv6 ? inside : std::nullopt;
    }
    const bool dotted = text.find('.') < text.find(':');
    const auto end = std::min(text.find_first_of(dotted ? "-:/" : "-/"), text.size());
    const auto address = parse_address(text.substr(0, end));
    text.remove_prefix(end);
    return address;
}

/// Takes the addresses of a translation into `target`, and leaves what follows them.
bool take_addresses(std::string_view& text, nat::Target& target) {
    const auto first = take_address(text);
    if (!first) return false;
    target.family = first->family;
    target.first_addr = target.last_addr = first->addr;
    if (text.starts_with('-')) {
        text.remove_prefix(1);
        const auto last = take_address(text);
        if (!last || last->family != first->family) return false;
        target.last_addr = last->addr;
    } else if (text.starts_with('/')) {
        text.remove_prefix(1);
        const auto end = std::min(text.find(':'), text.size());
        const auto length = parse_number(text.substr(0, end));
        if (!length || *length > address_bits(first->family)) return false;
        const nat::Prefix prefix{first->addr, static_cast<std::uint8_t>(*length), first->family};
        if (masked(prefix).addr != first->addr) return false;
        target.last_addr = target_of(prefix).last_addr;
        text.remove_prefix(end);
    }
    return true;
}

constexpr std::size_t kLongestWord = 64;  // characters of a word that is compared with others

char lower(char c) {
    return 'A' <= c && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

/// Edits (insert, remove, replace, swap neighbours) that turn `a` into `b`, case put aside; `most`
/// if there are as many or more. Neither has more than kLongestWord characters.
std::size_t edit_distance(std::string_view a, std::string_view b, std::size_t most) {
    const std::size_t apart = a.size() < b.size() ? b.size() - a.size() : a.size() - b.size();
    if (apart >= most) return most;  // each character that one has more is an edit
    const auto same = [](char x, char y) { return lower(x) == lower(y); };
    using Row = std::array<std::size_t, kLongestWord + 1>;
    // Row i has the distances of the first i characters of `a` from each beginning of `b`; of all
    // rows three are needed: two before this one for a swap.
    std::array<Row, 3> rows;
    Row* before = &rows[0];
    Row* above = &rows[1];
    Row* row = &rows[2];
    std::iota(above->begin(), above->end(), std::size_t{0});
    for (std::size_t i = 1; i <= a.size(); ++i) {
        (*row)[0] = i;
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const std::size_t cost = same(a[i - 1], b[j - 1]) ? 0 : 1;
            std::size_t least =
                std::min({(*above)[j] + 1, (*row)[j - 1] + 1, (*above)[j - 1] + cost});
            if (i > 1 && j > 1 && same(a[i - 1], b[j - 2]) && same(a[i - 2], b[j - 1]))
                least = std::min(least, (*before)[j - 2] + 1);
            (*row)[j] = least;
        }
        std::swap(before, above);
        std::swap(above, row);
    }
    return std::min((*above)[b.size()], most);
}

}  // namespace

std::optional<Address> parse_address(std::string_view text) {
    // inet_pton stops at a zero byte, which text out of a file may hold.
    if (text.find('\0') != std::string_view::npos) return std::nullopt;
    const std::string terminated{text};
    Address out;
    if (::inet_pton(AF_INET, terminated.c_str(), out.addr.bytes.data()) == 1) {
        out.family = ct::Family::Ipv4;
        return out;
    }
    out.addr = {};
    if (::inet_pton(AF_INET6, terminated.c_str(), out.addr.bytes.data()) != 1) return std::nullopt;
    out.family = ct::Family::Ipv6;
    return out;
}

std::optional<nat::Prefix> parse_prefix(std::string_view text) {
    const auto slash = text.find('/');
    const auto address = parse_address(text.substr(0, slash));
    if (!address) return std::nullopt;
    nat::Prefix prefix = host_prefix(*address);
    if (slash == std::string_view::npos) return prefix;
    const std::string_view digits = text.substr(slash + 1);
    const auto length = parse_number(digits);
    if (!length || *length > prefix.length || digits.starts_with("0x")) return std::nullopt;
    prefix.length = static_cast<std::uint8_t>(*length);
    return prefix;
}

nat::Prefix masked(const nat::Prefix& prefix) noexcept {
    nat::Prefix out = prefix;
    for (std::size_t i = 0; i < out.addr.bytes.size(); ++i) {
        const int kept = std::clamp(prefix.length - static_cast<int>(8 * i), 0, 8);
        out.addr.bytes[i] &= static_cast<std::uint8_t>(0xff00 >> kept);
    }
    return out;
}

bool overlap(const nat::Prefix& a, const nat::Prefix& b) noexcept {
    if (a.family != b.family) return false;
    const std::uint8_t length = std::min(a.length, b.length);
    return masked({a.addr, length, a.family}) == masked({b.addr, length, b.family});
}

nat::Prefix host_prefix(const Address& address) noexcept {
    return {address.addr, address_bits(address.family), address.family};
}

bool is_link_local(const Address& address) noexcept {
    const auto& b = address.addr.bytes;
    return address.family == ct::Family::Ipv6 && b[0] == 0xfe && (b[1] & 0xc0) == 0x80;
}

bool is_special(const Address& address) noexcept {
    const auto& b = address.addr.bytes;
    if (address.family == ct::Family::Ipv4) return b[0] == 0 || b[0] == 127 || b[0] >= 224;
    const bool zero_but_last = std::all_of(b.begin(), b.end() - 1, [](auto v) { return v == 0; });
    return b[0] == 0xff || (zero_but_last && b[15] <= 1);
}

std::optional<MacAddress> parse_mac(std::string_view text) {
    MacAddress mac{};
    if (text.size() != 17) return std::nullopt;
    for (std::size_t i = 0; i < mac.size(); ++i) {
        const auto byte = hex_field(text.substr(3 * i, 2), 2);
        if (!byte || (i > 0 && text[3 * i - 1] != ':')) return std::nullopt;
        mac[i] = static_cast<std::uint8_t>(*byte);
    }
    return mac;
}

std::optional<nat::PortRange> parse_ports(std::string_view text) {
    const auto dash = text.find('-');
    const auto first = parse_port(text.substr(0, dash));
    if (!first) return std::nullopt;
    if (dash == std::string_view::npos) return nat::PortRange{*first, *first};
    const auto last = parse_port(text.substr(dash + 1));
    if (!last) return std::nullopt;
    return nat::PortRange{*first, *last};
}

std::optional<nat::Target> parse_target(std::string_view text) {
    nat::Target target;
    if (!take_addresses(text, target)) return std::nullopt;
    if (text.empty()) return target;
    if (!text.starts_with(':')) return std::nullopt;
    const auto ports = parse_ports(text.substr(1));
    if (!ports) return std::nullopt;
    target.ports = *ports;
    return target;
}

nat::Target target_of(const nat::Prefix& prefix) noexcept {
    nat::Target target;
    target.family = prefix.family;
    target.first_addr = target.last_addr = prefix.addr;
    for (std::size_t bit = prefix.length; bit < address_bits(prefix.family); ++bit)
        target.last_addr.bytes[bit / 8] |= static_cast<std::uint8_t>(0x80 >> bit % 8);
    return target;
}

std::optional<nat::Prefix> prefix_of(const nat::Target& target) noexcept {
    for (std::uint8_t length = 0; length <= address_bits(target.family); ++length) {
        const nat::Prefix prefix{target.first_addr, length, target.family};
        if (masked(prefix) == prefix && target_of(prefix).last_addr == target.last_addr)
            return prefix;
    }
    return std::nullopt;
}

std::optional<MarkMatch> parse_mark(std::string_view text) {
    const auto slash = text.find('/');
    const auto value = parse_number(text.substr(0, slash));
    const auto mask = slash == std::string_view::npos ? std::optional<std::uint64_t>{0xffff'ffff}
                                                      : parse_number(text.substr(slash + 1));
    if (!value || !mask || *value > 0xffff'ffff || *mask > 0xffff'ffff) return std::nullopt;
    return MarkMatch{static_cast<std::uint32_t>(*value), static_cast<std::uint32_t>(*mask)};
}

std::optional<std::uint8_t> parse_protocol(std::string_view text) {
    for (const Protocol& p : kProtocols)
        if (p.name == text) return p.number;
    const auto number = parse_number(text);
    if (!number || *number > 255) return std::nullopt;
    return static_cast<std::uint8_t>(*number);
}

std::string protocol_name(std::uint8_t protocol) {
    for (const Protocol& p : kProtocols)
        if (p.number == protocol) return std::string{p.name};
    return std::to_string(protocol);
}

std::optional<std::string> parse_pci(std::string_view text) {
    std::string full = text.size() == 7 ? "0000:" : "";  // bb:dd.f
    for (const char c : text)
        full += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    if (full.size() != 12 || full[4] != ':' || full[7] != ':' || full[10] != '.')
        return std::nullopt;
    const std::string_view f = full;
    const auto device = hex_field(f.substr(8, 2), 2);
    const auto function = hex_field(f.substr(11, 1), 1);
    if (!hex_field(f.substr(0, 4), 4) || !hex_field(f.substr(5, 2), 2)) return std::nullopt;
    if (!device || *device > 31 || !function || *function > 7) return std::nullopt;
    return full;
}

std::string_view nearest(std::string_view word, std::span<const std::string_view> known) {
    // One slip in three letters still reads as the same word; more is another word.
    std::size_t best = std::max<std::size_t>(1, word.size() / 3) + 1;
    std::string_view found;
    if (word.size() > kLongestWord) return found;
    for (const std::string_view candidate : known) {
        if (candidate.size() > kLongestWord) continue;
        const std::size_t distance = edit_distance(word, candidate, best);
        if (distance >= best) continue;
        best = distance;
        found = candidate;
    }
    return found;
}

std::string in_quotes(std::string_view text) {
    constexpr std::size_t kShown = 60;  // characters
    std::size_t shown = std::min(text.size(), kShown);
    // Not in the middle of a character: its later bytes are 10xxxxxx (RFC 3629 3).
    while (shown > 0 && shown < text.size() && (text[shown] & 0xc0) == 0x80) --shown;
    std::string out = "'";
    for (const char c : text.substr(0, shown)) {
        const auto byte = static_cast<unsigned char>(c);
        out += byte < 0x20 || byte == 0x7f ? '?' : c;
    }
    return out + (text.size() > shown ? "...'" : "'");
}

}  // namespace dp
