// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/control/filter.hpp"

#include "dataplane/control/names.hpp"
#include "dataplane/control/notation.hpp"
#include "dataplane/control/text.hpp"
#include "dataplane/control/units.hpp"

namespace dp {

namespace {

template <class T>
bool agrees(const std::optional<T>& wanted, T is) noexcept {
    return !wanted || *wanted == is;
}

bool agrees(const std::optional<AddressMatch>& wanted, ct::Family family,
            const ct::Addr& a) noexcept {
    return !wanted || wanted->contains(family, a);
}

bool ports_agree(const Filter& f, const ct::Snapshot& c) noexcept {
    return agrees(f.orig_sport, c.original.sport.host()) &&
           agrees(f.orig_dport, c.original.dport.host()) &&
           agrees(f.reply_sport, c.reply.sport.host()) &&
           agrees(f.reply_dport, c.reply.dport.host());
}

bool icmp_agrees(const Filter& f, const ct::Tuple& t) noexcept {
    if (!f.icmp_type && !f.icmp_code && !f.icmp_id) return true;
    return ct::is_icmp(t.proto) && agrees(f.icmp_type, ct::icmp_type(t.dport)) &&
           agrees(f.icmp_code, ct::icmp_code(t.dport)) && agrees(f.icmp_id, t.sport.host());
}

bool zones_agree(const Filter& f, const ct::Snapshot& c) noexcept {
    const bool shared = c.original.zone == c.reply.zone;
    const std::uint16_t none = 0;
    return agrees(f.zone, shared ? c.original.zone : none) &&
           agrees(f.orig_zone, shared ? none : c.original.zone) &&
           agrees(f.reply_zone, shared ? none : c.reply.zone);
}

bool translated_to(const NatMatch& m, ct::Family family, const ct::Addr& a,
                   ct::Be16 port) noexcept {
    if (m.family == ct::Family::None) return true;
    return m.family == family && m.addr == a && (!m.port || *m.port == port.host());
}

bool src_nat_agrees(const NatMatch& m, const ct::Snapshot& c) noexcept {
    return has_src_nat(c.original, c.reply) &&
           translated_to(m, c.reply.family, c.reply.dst, c.reply.dport);
}

bool dst_nat_agrees(const NatMatch& m, const ct::Snapshot& c) noexcept {
    return has_dst_nat(c.original, c.reply) &&
           translated_to(m, c.reply.family, c.reply.src, c.reply.sport);
}

bool nat_agrees(const Filter& f, const ct::Snapshot& c) noexcept {
    if (f.src_nat && !src_nat_agrees(*f.src_nat, c)) return false;
    if (f.dst_nat && !dst_nat_agrees(*f.dst_nat, c)) return false;
    return !f.any_nat || src_nat_agrees(*f.any_nat, c) || dst_nat_agrees(*f.any_nat, c);
}

ct::Addr mask_of(unsigned bits) noexcept {
    ct::Addr mask;
    for (std::size_t i = 0; bits > 0; ++i) {
        const unsigned here = bits < 8 ? bits : 8;
        mask.bytes[i] = static_cast<std::uint8_t>(0xff00U >> here);
        bits -= here;
    }
    return mask;
}

[[noreturn]] void bad_address(std::string_view text) {
    throw BadParameter{"Invalid IP address `" + std::string{text} + "'"};
}

}  // namespace

bool AddressMatch::contains(ct::Family f, const ct::Addr& a) const noexcept {
    if (f != family) return false;
    for (std::size_t i = 0; i < a.bytes.size(); ++i)
        if (((a.bytes[i] ^ addr.bytes[i]) & mask.bytes[i]) != 0) return false;
    return true;
}

bool Filter::matches(const ct::Snapshot& c) const noexcept {
    if (family != ct::Family::None && family != c.original.family) return false;
    if ((c.status & status_set) != status_set || (c.status & status_clear) != 0) return false;
    if ((c.mark & mark_mask) != mark) return false;
    for (std::size_t i = 0; i < labels.size(); ++i)
        if ((c.labels[i] & labels[i]) != labels[i]) return false;
    return agrees(protocol, c.original.proto) && agrees(state, c.state) &&
           agrees(orig_src, c.original.family, c.original.src) &&
           agrees(orig_dst, c.original.family, c.original.dst) &&
           agrees(reply_src, c.reply.family, c.reply.src) &&
           agrees(reply_dst, c.reply.family, c.reply.dst) && ports_agree(*this, c) &&
           icmp_agrees(*this, c.original) && zones_agree(*this, c) && nat_agrees(*this, c) &&
           agrees(timeout_s, c.timeout_s) && agrees(id, c.id);
}

AddressMatch parse_address_match(std::string_view text) {
    const std::size_t slash = text.find('/');
    const auto address = parse_address(text.substr(0, slash));
    if (!address) bad_address(text.substr(0, slash));
    AddressMatch out{address->family, address->addr, mask_of(address_bits(address->family))};
    if (slash == std::string_view::npos) return out;

    const std::string_view mask = text.substr(slash + 1);
    if (const auto bits = parse_number(mask); bits && *bits <= address_bits(address->family)) {
        out.mask = mask_of(static_cast<unsigned>(*bits));
        return out;
    }
    const auto as_address = parse_address(mask);
    if (!as_address || as_address->family != out.family) throw BadParameter{"Invalid netmask"};
    out.mask = as_address->addr;
    return out;
}

std::string to_string(const AddressMatch& m) {
    std::string out{address_text(m.family, m.addr).view()};
    return out.append("/").append(address_text(m.family, m.mask).view());
}

NatMatch parse_nat_match(std::string_view text) {
    std::string_view host = text;
    std::string_view port;
    const std::size_t colon = text.find(':');
    if (text.starts_with('[') && text.find(']') != std::string_view::npos) {
        const std::size_t end = text.find(']');
        host = text.substr(1, end - 1);
        port = text.substr(end + 1);
    } else if (colon != std::string_view::npos && colon == text.rfind(':')) {
        host = text.substr(0, colon);
        port = text.substr(colon);
    }
    const auto address = parse_address(host);
    if (!address) bad_address(host);
    NatMatch out{address->family, address->addr, {}};
    if (port.empty()) return out;
    const auto number = port.starts_with(':') ? parse_number(port.substr(1)) : std::nullopt;
    if (!number || *number > 0xffff)
        throw BadParameter{"Invalid port `" + std::string{port.substr(port.starts_with(':'))} +
                           "'"};
    out.port = static_cast<std::uint16_t>(*number);
    return out;
}

std::string to_string(const NatMatch& m) {
    std::string out{address_text(m.family, m.addr).view()};
    if (!m.port) return out;
    if (m.family == ct::Family::Ipv6) out = "[" + out + "]";
    return out + ":" + std::to_string(*m.port);
}

void parse_mark_match(std::string_view text, Filter& out) {
    const auto mark = parse_mark(text);
    if (!mark) throw BadParameter{"Bad parameter `" + std::string{text} + "'"};
    out.mark = mark->value;
    out.mark_mask = mark->mask;
}

void parse_status_match(std::string_view text, Filter& out) {
    std::string_view rest = text;
    for (bool last = false; !last;) {
        const std::size_t comma = rest.find(',');
        last = comma == std::string_view::npos;
        std::string_view name = rest.substr(0, comma);
        rest = last ? std::string_view{} : rest.substr(comma + 1);

        const std::string_view shown = name;
        bool wanted = !name.starts_with('!');
        if (!wanted) name.remove_prefix(1);
        std::uint16_t bit = find_status(name);
        if (same_word(name, "UNREPLIED")) {
            bit = ct::status::kSeenReply;
            wanted = !wanted;
        }
        if (bit == 0) throw BadParameter{"Bad parameter `" + std::string{shown} + "'"};
        std::uint16_t& set = wanted ? out.status_set : out.status_clear;
        set = static_cast<std::uint16_t>(set | bit);
    }
}

}  // namespace dp
