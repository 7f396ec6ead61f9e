// SPDX-License-Identifier: BSD-3-Clause
#include "bench/load/snat.hpp"

#include <vector>

namespace bench {

namespace {

/// Mappings tried where another worker took the one chosen; as in the pipeline.
constexpr int kTries = 8;

std::vector<nat::Rule> rules_for(std::uint8_t addresses, const nat::Behaviour& behaviour) {
    constexpr std::uint32_t kFirst = 0xc000'0201;  // 192.0.2.1
    nat::Rule r;
    r.chain = nat::Chain::Nat;
    r.action = nat::Action::Snat;
    r.match.out_port = Snat::kOutside;
    r.target.family = ct::Family::Ipv4;
    r.target.first_addr = ct::Addr::v4(ct::Be32::from_host(kFirst));
    r.target.last_addr = ct::Addr::v4(ct::Be32::from_host(kFirst + addresses - 1));
    r.behaviour = behaviour;
    return {r};
}

}  // namespace

Snat::Snat(ct::Conntrack& table, std::uint8_t addresses, ct::WorkerId workers,
           const nat::Behaviour& behaviour)
    : table_{table},
      rules_{rules_for(addresses, behaviour), workers},
      setup_{rules_, table, {{}, {}}, 1} {}

bool Snat::bind(ct::WorkerId w, ct::Packet& p, ct::Nanos now) noexcept {
    p.out_port = kOutside;
    p.drop = setup_.destination(w, p, now);
    if (p.alive()) p.drop = setup_.source(w, p, now);
    for (int tries = 0; p.alive() && tries < kTries; ++tries) {
        switch (table_.confirm(w, p, now)) {
            case ct::Conntrack::Confirmation::Linked:
            case ct::Conntrack::Confirmation::Joined:
                return true;
            case ct::Conntrack::Confirmation::Refused:
                return false;
            case ct::Conntrack::Confirmation::ReplyTaken:
                p.drop = setup_.next_mapping(w, p, now);
                break;
        }
    }
    table_.abandon(w, p, now);
    return false;
}

}  // namespace bench
