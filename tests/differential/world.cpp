// SPDX-License-Identifier: BSD-3-Clause
#include "tests/differential/world.hpp"

#include "ct/wire/headers.hpp"
#include "ct/wire/parse.hpp"
#include "tests/differential/port_rules.hpp"
#include "tests/differential/rewriting.hpp"
#include "tests/support/packet_builder.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace differential {
namespace {

using namespace rewriting;

// The generator's hosts (generator.cpp).
constexpr int kFirstHost = 10;
constexpr int kLastClient = 13;
constexpr int kLastServer = 12;
constexpr int kHidden = 100;      ///< what SNAT adds to a client's number
constexpr int kMasqueraded = 12;  ///< the first client that is masqueraded under Nat::Ports
/// A host whose flows are in a zone, and one of whose flows only the way from it is.
constexpr int kZoned = 11;
constexpr std::uint16_t kZone = 5;
constexpr int kHalfZoned = 12;
constexpr std::uint16_t kHalfZone = 7;

/// One address that stands for another.
struct Alias {
    std::string real;
    std::string known_as;
    bool six = false;
};

std::vector<Alias> aliases(Nat nat) {
    std::vector<Alias> all;
    if (nat == Nat::Destination)
        for (int n = kFirstHost; n <= kLastServer; ++n) {
            all.push_back({fmt::format("198.51.100.{}", n), fmt::format("203.0.113.{}", n), false});
            all.push_back(
                {fmt::format("2001:db8:2::{}", n), fmt::format("2001:db8:3::{}", n), true});
        }
    if (nat != Nat::None && nat != Nat::Destination && nat != Nat::Redirect)
        for (int n = kFirstHost; n <= kLastClient; ++n) {
            const bool own = nat == Nat::Masquerade || (nat == Nat::Ports && n >= kMasqueraded);
            const bool shared = nat == Nat::Crowded;
            const int outside = shared ? kHidden : kHidden + n;
            all.push_back({fmt::format("192.0.2.{}", n),
                           own || shared ? kPortAddress[1] : fmt::format("203.0.113.{}", outside),
                           false});
            all.push_back({fmt::format("2001:db8:1::{}", n),
                           own ? kPortAddress6[1] : fmt::format("2001:db8:3::{}", outside), true});
        }
    return all;
}

std::string nft_nat(Nat nat) {
    std::string pre;
    std::string post;
    for (const Alias& a : aliases(nat)) {
        const char* const ip = a.six ? "ip6" : "ip";
        if (nat == Nat::Destination)
            pre += fmt::format("    {} daddr {} dnat {} to {}\n", ip, a.known_as, ip, a.real);
        if (nat == Nat::Source)
            post += fmt::format("    oifname tun1 {} saddr {} snat {} to {}\n", ip, a.real, ip,
                                a.known_as);
    }
    if (nat == Nat::Masquerade) post = "    oifname tun1 masquerade\n";
    if (chooses_ports(nat)) {
        const NftChains chains = nft_port_rules(nat);
        pre = chains.before;
        post = chains.behind;
    }
    return fmt::format(
        "  chain before {{\n    type nat hook prerouting priority dstnat;\n{}  }}\n"
        "  chain behind {{\n    type nat hook postrouting priority srcnat;\n{}  }}\n"
        "  chain forward {{\n    type filter hook forward priority filter;\n"
        "    iifname tun1 ct state new drop\n  }}\n"
        "  chain input {{\n    type filter hook input priority filter;\n"
        "    iifname tun1 drop\n  }}\n",
        pre, post);
}

constexpr const char* kNftZones = R"(  chain zones {
    type filter hook prerouting priority raw;
    ip saddr 192.0.2.11 ct zone set 5
    ip daddr 192.0.2.11 ct zone set 5
    ip6 saddr 2001:db8:1::11 ct zone set 5
    ip6 daddr 2001:db8:1::11 ct zone set 5
    ip saddr 192.0.2.12 ct original zone set 7
    ip6 saddr 2001:db8:1::12 ct original zone set 7
  }
)";

constexpr const char* kNftMarks = R"(  chain marks {
    type filter hook forward priority filter;
    ct state new meta l4proto tcp ct mark set 0x11
    ct state new meta l4proto udp ct mark set 0x22
    ct direction reply meta l4proto { udp, sctp } ct mark set 0x33
  }
)";

constexpr const char* kConfigMarks = R"([[rule]]
chain = "filter"
ctstate = ["NEW"]
proto = "tcp"
action = "mark"
value = 0x11
[[rule]]
chain = "filter"
ctstate = ["NEW"]
proto = "udp"
action = "mark"
value = 0x22
[[rule]]
chain = "filter"
ctdir = "reply"
proto = ["udp", "sctp"]
action = "mark"
value = 0x33
)";

std::string config_nat(Nat nat) {
    std::string out =
        "[[rule]]\nchain = \"filter\"\nin = \"tun1\"\nctstate = [\"NEW\"]\naction = \"drop\"\n";
    // Who speaks to the router itself gets no answer.
    for (const char* own : {kPortAddress[1], kPortAddress6[1]})
        out += fmt::format(
            "[[rule]]\nchain = \"filter\"\nin = \"tun1\"\ndst = \"{}\"\naction = \"drop\"\n", own);
    if (chooses_ports(nat)) return out + config_port_rules(nat);
    if (nat == Nat::Masquerade)
        out += "[[rule]]\nchain = \"nat\"\nout = \"tun1\"\naction = \"masquerade\"\n";
    for (const Alias& a : aliases(nat)) {
        if (nat == Nat::Destination)
            out += fmt::format(
                "[[rule]]\nchain = \"nat\"\ndst = \"{}\"\naction = \"dnat\"\nto = \"{}\"\n",
                a.known_as, a.six ? "[" + a.real + "]" : a.real);
        if (nat == Nat::Source)
            out += fmt::format(
                "[[rule]]\nchain = \"nat\"\nout = \"tun1\"\nsrc = \"{}\"\naction = \"snat\"\n"
                "to = \"{}\"\n",
                a.real, a.six ? "[" + a.known_as + "]" : a.known_as);
    }
    return out;
}

std::string config_zones() {
    std::string out;
    const auto rule = [&](const char* side, const std::string& host, int zone, const char* scope) {
        out += fmt::format(
            "[[rule]]\nchain = \"raw\"\n{} = \"{}\"\naction = \"zone\"\nvalue = {}\n"
            "zone_scope = \"{}\"\n",
            side, host, zone, scope);
    };
    for (const char* net : {"192.0.2.", "2001:db8:1::"}) {
        rule("src", net + std::to_string(kZoned), kZone, "both");
        rule("dst", net + std::to_string(kZoned), kZone, "both");
        rule("src", net + std::to_string(kHalfZoned), kHalfZone, "original");
    }
    return out;
}

bool is_host(const ct::Addr& a, int n) {
    return a == test::addr("192.0.2." + std::to_string(n)) ||
           a == test::addr("2001:db8:1::" + std::to_string(n));
}

/// In whose zones a connection of these two may be.
std::vector<std::uint16_t> zones_of(const ct::Tuple& t) {
    if (is_host(t.src, kZoned) || is_host(t.dst, kZoned)) return {kZone};
    if (is_host(t.src, kHalfZoned) || is_host(t.dst, kHalfZoned)) return {kHalfZone, 0};
    return {0};
}

/// Puts other addresses into packets, with every checksum as right or as wrong as it was.
class Translator {
public:
    explicit Translator(Nat nat) : nat_{nat}, table_{known_by(nat)} {}

    /// The address by which those on the other side know `a`.
    [[nodiscard]] ct::Addr known_as(const ct::Addr& a) const {
        for (const auto& [real, other] : table_)
            if (real == a) return other;
        return a;
    }

    void translate(Step& step) const {
        // Clients speak to servers whom DNAT hides, and servers to clients whom SNAT hides.
        const std::uint8_t speaks_to_hidden = nat_ == Nat::Destination ? 0 : 1;
        if (step.port != speaks_to_hidden || step.ip.size() < header_size(step.ip)) return;
        Bytes& ip = step.ip;
        ct::ChecksumDelta outer = replace(ip, 0, Field::Dst);
        const Transport l4 = transport_of(ip);
        if (!l4.there) return;
        if (is_icmp_error(ip)) {
            const Bytes before = ip;
            translate_quoted(ip, l4.at + sizeof(ct::IcmpHeader));
            if (protocol(ip) == ct::ipproto::kIcmp) outer = {};
            // The error's checksum covers all of what it quotes.
            outer.add(difference(before, ip, l4.at + sizeof(ct::IcmpHeader)));
            apply(ip, l4.at + 2, outer);
            return;
        }
        fix_transport(ip, l4.proto, l4.at, outer);
    }

private:
    ct::ChecksumDelta replace(Bytes& ip, std::size_t at, Field field) const {
        return put_address(ip, at, field, known_as(address(ip, at, field)));
    }
    /// The packet inside an error is one that the speaker has got: from whom is hidden.
    void translate_quoted(Bytes& ip, std::size_t at) const {
        const bool v6 = is_six(ip, 0);
        if (ip.size() < at + (v6 ? 40 : 20) || is_six(ip, at) != v6) return;
        const ct::ChecksumDelta delta = replace(ip, at, Field::Src);
        fix_transport(ip, protocol(ip, at), at + (v6 ? 40 : 20), delta);
    }

    Nat nat_;
    std::vector<std::pair<ct::Addr, ct::Addr>> table_;
};

/// True for packets that the kernel drops or leaves half done where it translates them, and Sluice
/// does not: GRE of another version than 0 and 1 or of less than eight bytes; what quotes less than
/// eight bytes of a transport header, or TCP's checksum and not the two bytes behind it, or
/// SCTP's CRC. `at`: where the IP header is.
bool is_translated_otherwise(const Bytes& ip, std::size_t at = 0) {
    if (ip.size() <= at) return false;
    const bool six = ip[at] >> 4U == 6;
    const std::size_t l4 = at + (six ? 40 : 20);
    if (ip.size() < l4) return false;
    const std::uint8_t proto = six ? ip[at + 6] : ip[at + 9];
    const std::size_t left = ip.size() - l4;
    const bool quoted = at != 0;
    if (proto == ct::ipproto::kGre) return left < 8 || (ip[l4 + 1] & 7) > 1;
    if (quoted && proto == ct::ipproto::kSctp) return left < 8 || left >= 12;
    if (quoted) return left < 8 || (proto == ct::ipproto::kTcp && (left == 18 || left == 19));
    return is_icmp_error(ip) && is_translated_otherwise(ip, l4 + sizeof(ct::IcmpHeader));
}

/// True of ICMPv6 node information (RFC 4620), whose identifier the kernel chooses for the entry
/// and leaves as it is in the packet; and of errors about it.
bool is_node_information(const Bytes& ip, std::size_t at = 0) {
    if (ip.size() <= at + 40 || !is_six(ip, at) || ip[at + 6] != ct::ipproto::kIcmpv6) return false;
    const std::uint8_t type = ip[at + 40];
    if (type == 139 || type == 140) return true;
    return at == 0 && is_icmp_error(ip) && is_node_information(ip, 40 + sizeof(ct::IcmpHeader));
}

/// True of a TCP segment whose options do not add up: the kernel's own TCP does not answer it.
bool has_odd_options(const Bytes& ip) {
    const std::size_t l4 = header_size(ip);
    if (ip.size() < l4 + 20 || protocol(ip) != ct::ipproto::kTcp) return false;
    const std::size_t end = std::min(ip.size(), l4 + std::size_t{ip[l4 + 12]} / 16 * 4);
    for (std::size_t at = l4 + 20; at < end && ip[at] != 0;) {
        if (ip[at] == 1) {
            ++at;
            continue;
        }
        if (at + 1 >= end || ip[at + 1] < 2 || ip[at + 1] > end - at) return true;
        at += ip[at + 1];
    }
    return false;
}

/// True of an ICMP query.
bool is_query(const Step& s) {
    if (s.ip.empty() || s.ip.size() < header_size(s.ip)) return false;
    const Transport l4 = transport_of(s.ip);
    if (!l4.there || s.ip.size() <= l4.at) return false;
    const std::uint8_t type = s.ip[l4.at];
    if (l4.proto == ct::ipproto::kIcmpv6) return type == 128 || type == 139;
    return l4.proto == ct::ipproto::kIcmp && (type == 8 || type == 13 || type == 15 || type == 17);
}

/// Of a full table: each fragment asks for room by itself, and a query comes into the bucket of
/// others between the same two with the same identifier, as Sluice's hash knows no more of it.
bool is_no_newcomer(const Profile& p, const Step& s) {
    if (s.kind != Step::Kind::Packet) return false;
    return p.max != 0 && (s.part != Part::Whole || is_query(s));
}

bool is_left_out(const Profile& p, const Step& s) {
    if (is_no_newcomer(p, s)) return true;
    if (s.kind != Step::Kind::Packet || p.nat == Nat::None) return false;
    if (p.nat == Nat::Redirect && has_odd_options(s.ip)) return true;
    return is_translated_otherwise(s.ip) || (chooses_ports(p.nat) && is_node_information(s.ip));
}

}  // namespace

std::vector<std::pair<ct::Addr, ct::Addr>> known_by(Nat nat) {
    std::vector<std::pair<ct::Addr, ct::Addr>> all;
    for (const Alias& a : aliases(nat))
        all.emplace_back(test::addr(a.real), test::addr(a.known_as));
    return all;
}

std::string nft_rules(const Profile& p) {
    std::string rules;
    if (p.nat != Nat::None) rules += nft_nat(p.nat);
    if (p.zones) rules += kNftZones;
    if (p.marks) rules += kNftMarks;
    return rules.empty() ? rules : "table inet world {\n" + rules + "}\n";
}

std::string config_rules(const Profile& p) {
    std::string rules;
    if (p.nat != Nat::None) rules += config_nat(p.nat);
    if (p.zones) rules += config_zones();
    if (p.marks) rules += kConfigMarks;
    return rules;
}

std::vector<Step> dressed(const Profile& p, std::vector<Step> steps) {
    if (p.nat == Nat::None && !p.zones && p.max == 0) return steps;
    const Translator translator{p.nat};
    std::erase_if(steps, [&p](const Step& s) { return is_left_out(p, s); });
    for (Step& step : steps) {
        if (step.kind != Step::Kind::Packet) continue;
        if (chooses_ports(p.nat) && step.port != 0) {
            step.keys.resize(1);  // the rest is found where the packet gets its ports
        } else if (p.nat != Nat::None) {
            if (!chooses_ports(p.nat)) translator.translate(step);
            step.keys.resize(1);
            if (p.nat == Nat::Destination) step.keys[0].dst = translator.known_as(step.keys[0].dst);
            if (const auto own = tuple_in(step.ip);
                own && *own != step.keys[0] && reply_of(*own) != step.keys[0])
                step.keys.push_back(*own);
        }
        if (!p.zones) continue;
        std::vector<ct::Tuple> keys;
        for (const ct::Tuple& t : step.keys)
            for (const std::uint16_t zone : zones_of(t)) {
                keys.push_back(t);
                keys.back().zone = zone;
            }
        step.keys = std::move(keys);
    }
    return steps;
}

std::optional<ct::Tuple> tuple_in(const Bytes& ip) {
    Bytes frame(14, 0);
    const bool six = !ip.empty() && ip[0] >> 4U == 6;
    frame[12] = six ? 0x86 : 0x08;
    frame[13] = six ? 0xdd : 0x00;
    frame.insert(frame.end(), ip.begin(), ip.end());
    ct::Packet p;
    p.data = frame.data();
    p.length = static_cast<std::uint32_t>(frame.size());
    if (ct::parse(p, {.checksum = false}) != ct::Drop::None) return {};
    if (p.fragment == ct::Fragment::Later) return {};
    return p.icmp_error ? p.inner : p.tuple;
}

}  // namespace differential
