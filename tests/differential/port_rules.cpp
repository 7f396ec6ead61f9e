// SPDX-License-Identifier: BSD-3-Clause
#include "tests/differential/port_rules.hpp"

#include "ct/wire/headers.hpp"
#include "tests/support/packet_builder.hpp"

#include <fmt/format.h>

#include <array>
#include <vector>

namespace differential {
namespace {

/// One rule, of which each family gets its own. `host`, the last part of an address: the server's
/// of what happens before routing, the client's behind it; 0: all.
struct PortRule {
    Nat nat;
    bool before;
    int host;
    const char* action;
    const char* to;     ///< the last part of an address; "": none
    const char* ports;  ///< "": any
    bool random;
    bool with_ports;  ///< of TCP and UDP only
};

constexpr std::array kRules{
    PortRule{Nat::Redirect, true, 10, "redirect", "", "3128-3135", false, true},
    PortRule{Nat::Redirect, true, 11, "redirect", "", "4000-4999", true, true},
    PortRule{Nat::Redirect, true, 12, "dnat", "12", "5000-5999", true, true},
    PortRule{Nat::Ports, false, 10, "snat", "110", "2000-9999", true, true},
    PortRule{Nat::Ports, false, 10, "snat", "110", "", false, false},
    PortRule{Nat::Ports, false, 11, "snat", "111", "", true, false},
    PortRule{Nat::Ports, false, 12, "masquerade", "", "", true, false},
    PortRule{Nat::Ports, false, 13, "masquerade", "", "20000-29999", false, true},
    PortRule{Nat::Ports, false, 13, "masquerade", "", "", false, false},
};

constexpr std::uint16_t kFirstUserPort = 1024;

struct Net {
    const char* nft;
    const char* clients;
    const char* servers;
    const char* outside;
    bool six;
};
constexpr std::array kNets{Net{"ip", "192.0.2.", "198.51.100.", "203.0.113.", false},
                           Net{"ip6", "2001:db8:1::", "2001:db8:2::", "2001:db8:3::", true}};

std::string target(const PortRule& r, const Net& net) {
    if (*r.to == '\0') return "";
    const std::string address = (r.before ? net.servers : net.outside) + std::string{r.to};
    return net.six && *r.ports != '\0' ? "[" + address + "]" : address;
}

std::string nft_rule(const PortRule& r, const Net& net) {
    std::string out =
        r.before ? fmt::format("    iifname tun0 {} daddr {}{}", net.nft, net.servers, r.host)
                 : fmt::format("    oifname tun1 {} saddr {}{}", net.nft, net.clients, r.host);
    if (r.with_ports) out += " meta l4proto { tcp, udp }";
    out += fmt::format(" {}", r.action);
    const std::string to = target(r, net);
    if (!to.empty()) out += fmt::format(" {} to {}", net.nft, to);
    if (*r.ports != '\0') out += fmt::format("{}:{}", to.empty() ? " to " : "", r.ports);
    if (r.random) out += r.host == 11 ? " fully-random" : " random";
    return out + "\n";
}

std::string config_rule(const PortRule& r, const Net& net) {
    std::string out = "[[rule]]\nchain = \"nat\"\n";
    out += r.before ? fmt::format("in = \"tun0\"\ndst = \"{}{}\"\n", net.servers, r.host)
                    : fmt::format("out = \"tun1\"\nsrc = \"{}{}\"\n", net.clients, r.host);
    if (r.with_ports) out += "proto = [\"tcp\", \"udp\"]\n";
    out += fmt::format("action = \"{}\"\n", r.action);
    const std::string to = target(r, net);
    const bool ports = *r.ports != '\0';
    if (!to.empty()) out += fmt::format("to = \"{}{}{}\"\n", to, ports ? ":" : "", r.ports);
    if (to.empty() && ports) out += fmt::format("ports = \"{}\"\n", r.ports);
    if (r.random) out += r.host == 11 ? "random_fully = true\n" : "random = true\n";
    return out;
}

bool has_ports(std::uint8_t proto) {
    return proto == ct::ipproto::kTcp || proto == ct::ipproto::kUdp ||
           proto == ct::ipproto::kUdplite || proto == ct::ipproto::kSctp;
}

bool is_of(const PortRule& r, const Net& net, const ct::Tuple& original) {
    if (r.with_ports && original.proto != ct::ipproto::kTcp && original.proto != ct::ipproto::kUdp)
        return false;
    const std::string host = (r.before ? net.servers : net.clients) + std::to_string(r.host);
    return (r.before ? original.dst : original.src) == test::addr(host);
}

/// semantics.md 2.7: where no range is told, ports stay in their class.
Choice any_port(const ct::Tuple& original, bool always) {
    Choice c{.always = always};
    if (has_ports(original.proto)) c.first = kFirstUserPort;
    return c;
}

Choice range_of(const PortRule& r) {
    const std::string text{r.ports};
    const std::size_t dash = text.find('-');
    return {.first = static_cast<std::uint16_t>(std::stoul(text.substr(0, dash))),
            .last = static_cast<std::uint16_t>(std::stoul(text.substr(dash + 1))),
            .always = true,
            .source = !r.before};
}

}  // namespace

NftChains nft_port_rules(Nat nat) {
    NftChains out;
    for (const PortRule& r : kRules)
        for (const Net& net : kNets)
            if (r.nat == nat) (r.before ? out.before : out.behind) += nft_rule(r, net);
    if (nat == Nat::Crowded)
        out.behind +=
            "    oifname tun1 meta nfproto ipv4 masquerade\n"
            "    oifname tun1 meta nfproto ipv6 snat ip6 to 2001:db8:3::100\n";
    return out;
}

std::string config_port_rules(Nat nat) {
    std::string out;
    for (const PortRule& r : kRules)
        for (const Net& net : kNets)
            if (r.nat == nat) out += config_rule(r, net);
    if (nat == Nat::Crowded)
        out +=
            "[[rule]]\nchain = \"nat\"\nout = \"tun1\"\nfamily = \"ipv4\"\n"
            "action = \"masquerade\"\n"
            "[[rule]]\nchain = \"nat\"\nout = \"tun1\"\nfamily = \"ipv6\"\n"
            "action = \"snat\"\nto = \"2001:db8:3::100\"\n";
    return out;
}

std::optional<Choice> choice_of(Nat nat, const ct::Tuple& original) {
    if (!has_ports(original.proto) && !ct::is_icmp(original.proto)) return {};
    const bool six = original.family == ct::Family::Ipv6;
    const Net& net = kNets[six ? 1 : 0];
    if (nat == Nat::Crowded) return any_port(original, false);
    for (const PortRule& r : kRules) {
        if (r.nat != nat || !is_of(r, net, original)) continue;
        if (*r.ports != '\0' && (r.random || !r.before)) return range_of(r);
        if (*r.ports == '\0' && r.random) return any_port(original, true);
        return {};  // its own, or the first of the range
    }
    return {};
}

}  // namespace differential
