// SPDX-License-Identifier: BSD-3-Clause
#include "tests/differential/generator.hpp"

#include "tests/differential/script.hpp"

#include <fmt/format.h>

#include <stdexcept>
#include <string_view>

namespace differential {
namespace {

/// How often a kind of flow stands in a seed, in relation to the others.
struct Share {
    std::string_view kind;
    std::uint32_t weight;
};
constexpr Share kShares[] = {{"tcp", 40},    {"udp", 12},       {"udplite", 3},
                             {"icmp", 9},    {"sctp", 14},      {"gre", 6},
                             {"generic", 4}, {"icmp-error", 8}, {"fragments", 4}};

constexpr std::uint32_t kFirstHost = 10;
constexpr std::uint32_t kClients = 4;
constexpr std::uint32_t kServers = 3;

Pair pair_of(bool six, std::uint32_t client, std::uint32_t server) {
    Pair p;
    p.family = six ? ct::Family::Ipv6 : ct::Family::Ipv4;
    p.client = fmt::format("{}{}", six ? "2001:db8:1::" : "192.0.2.", client);
    p.server = fmt::format("{}{}", six ? "2001:db8:2::" : "198.51.100.", server);
    return p;
}

Pair make_pair(Random& r) {
    const std::uint32_t client = kFirstHost + r.below(kClients);
    const std::uint32_t server = kFirstHost + r.below(kServers);
    return pair_of(!r.percent(70), client, server);
}

std::string_view pick(Random& r) {
    std::uint32_t sum = 0;
    for (const Share& s : kShares) sum += s.weight;
    std::uint32_t at = r.below(sum);
    for (const Share& s : kShares) {
        if (at < s.weight) return s.kind;
        at -= s.weight;
    }
    throw std::logic_error("weights");
}

std::unique_ptr<Flow> make_flow(Script& s, std::string_view kind, const Pair& pair,
                                std::uint16_t number) {
    if (kind == "tcp") return make_tcp(s, pair, number);
    if (kind == "udp") return make_udp(s, pair, number, ct::ipproto::kUdp);
    if (kind == "udplite") return make_udp(s, pair, number, ct::ipproto::kUdplite);
    if (kind == "icmp") return make_icmp(s, pair, number);
    if (kind == "icmp-error") return make_icmp_errors(s, pair);
    if (kind == "sctp") return make_sctp(s, pair, number);
    if (kind == "gre") return make_gre(s, pair, number);
    if (kind == "generic") return make_generic(s, pair);
    if (kind == "fragments") return make_fragments(s, pair, number);
    throw std::invalid_argument(fmt::format("no kind of flow: {}", kind));
}

using Flows = std::vector<std::unique_ptr<Flow>>;

Flows flows_of(Script& s, const Menu& menu, std::uint32_t count) {
    Flows flows;
    for (std::uint32_t i = 0; i < count; ++i) {
        const std::string_view kind = menu.only.empty() ? pick(s.random) : menu.only;
        const Pair pair = make_pair(s.random);
        flows.push_back(make_flow(s, kind, pair, static_cast<std::uint16_t>(i)));
    }
    return flows;
}

/// Two and two of one kind, each of another client, otherwise alike: the same ports at both ends.
/// Sources differ from seed to seed, because Sluice may remember which port it gave them.
Flows crowd_of(Script& s, const Menu& menu, std::uint32_t count, std::uint64_t seed) {
    const bool six = s.random.percent(30);
    Flows flows;
    std::string_view kind;
    for (std::uint32_t i = 0; i < count; ++i) {
        if (i % 2 == 0) kind = menu.only.empty() ? pick(s.random) : menu.only;
        Pair pair = pair_of(six, kFirstHost + i % kClients, kFirstHost);
        pair.service = 443;
        const auto number = static_cast<std::uint16_t>(seed % 1000 * 4 + i / kClients);
        flows.push_back(make_flow(s, kind, pair, number));
    }
    return flows;
}

/// A wait: a few seconds, or as long as some time-out, give or take a second.
std::uint32_t gap(Random& r) {
    if (r.percent(40)) return r.any<std::uint32_t>({1, 2, 3, 4, 5, 9, 20});
    const std::uint32_t timeout =
        r.any<std::uint32_t>({3, 10, 30, 60, 120, 120, 180, 210, 300, 300, 600, 432'000, 86'400});
    return timeout - 1 + r.below(3);
}

}  // namespace

Menu menu_for(const Profile& profile, Menu menu) {
    menu.crowded = profile.nat == Nat::Crowded;
    menu.wan_opens = profile.nat == Nat::None;
    return menu;
}

std::vector<Step> generate(std::uint64_t seed, const Menu& menu) {
    Script s{seed, menu.wan_opens};
    Random& r = s.random;
    const std::uint32_t count = r.between(2, 7);
    const Flows flows = menu.crowded ? crowd_of(s, menu, count, seed) : flows_of(s, menu, count);

    // Half of the seeds see time pass on the kernel's own clock, once.
    const std::size_t age_at = r.percent(50) ? menu.packets * r.between(20, 60) / 100 : 0;
    bool aged = age_at == 0;
    while (s.packets() < menu.packets) {
        // Some flows are busier than others.
        const std::uint32_t at = r.percent(50) ? r.below(count) : r.below((count + 1) / 2);
        flows[at]->act(s);
        if (!aged && s.packets() >= age_at) {
            s.flush();
            s.age();
            aged = true;
        } else if (r.percent(4)) {
            if (r.percent(80)) s.flush();
            s.wait(gap(r));
        }
    }
    s.flush();
    return s.take();
}

}  // namespace differential
