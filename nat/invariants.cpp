// SPDX-License-Identifier: BSD-3-Clause
#include "nat/invariants.hpp"

#include <cstring>
#include <string_view>
#include <unordered_map>

namespace nat {
namespace {

/// The endpoint as bytes, for sets.
[[nodiscard]] std::string name_of(const Endpoint& e) {
    std::string out(sizeof e.addr + sizeof e.port + 2, '\0');
    std::memcpy(out.data(), &e.addr, sizeof e.addr);
    std::memcpy(out.data() + sizeof e.addr, &e.port, sizeof e.port);
    out[sizeof e.addr + sizeof e.port] = static_cast<char>(e.proto);
    out[sizeof e.addr + sizeof e.port + 1] = static_cast<char>(e.family);
    return out;
}

[[nodiscard]] Endpoint source_of(const ct::Tuple& t) noexcept {
    return {t.src, t.sport, t.zone, t.proto, t.family};
}

struct Owner {
    Endpoint inside;
    std::uint32_t users = 0;  ///< as the mapping counts them
    std::uint32_t seen = 0;   ///< connections of the table
};
using Owners = std::unordered_map<std::string, Owner>;

void count_user(const Setup& setup, Owners& owners, const ct::Tuple& from, const ct::Tuple& to) {
    const auto found = owners.find(name_of(setup.external_endpoint(to)));
    if (found != owners.end() && found->second.inside == source_of(from)) ++found->second.seen;
}

}  // namespace

std::string check_mappings(const ct::Conntrack& table, const Setup& setup, ct::Nanos now) {
    Mappings* const mappings = setup.mappings();
    if (mappings == nullptr) return {};
    std::string wrong;
    Owners owners;
    std::unordered_map<std::string, Owner> shared;
    mappings->visit(
        [&](const Mappings::Mapping& m) {
            if (!owners.emplace(name_of(m.external), Owner{m.inside, m.users, 0}).second)
                wrong = "I4: two mappings have the same external endpoint";
        },
        [&](const Endpoint& e, std::uint32_t users) {
            shared.emplace(name_of(e), Owner{{}, users, 0});
        });
    for (const auto& [each, users] : shared)
        if (owners.contains(each)) wrong = "I4: an endpoint-independent mapping shares its port";

    std::uint64_t taken = 0;
    setup.ports().visit_used([&](ct::Family, const ct::Addr&, std::uint8_t, Ports::Space space) {
        const Ports::Usage usage = setup.ports().usage(space);
        taken += usage.taken - usage.resting;
    });
    if (taken != owners.size() + shared.size())
        wrong = std::to_string(taken) + " ports are taken, for " + std::to_string(owners.size()) +
                " mappings and " + std::to_string(shared.size()) + " shared ports";

    for (std::uint32_t i = 0; i < table.indices(); ++i) {
        ct::Snapshot s;
        if (!table.snapshot(i, now, s)) continue;
        count_user(setup, owners, s.original, s.reply);
        count_user(setup, owners, s.reply, s.original);
        const auto found = shared.find(name_of(setup.external_endpoint(s.reply)));
        if (found != shared.end()) ++found->second.seen;
    }
    // A connection without a rule of its own may stand on such a port beside those that share it.
    for (const auto& [name, owner] : shared)
        if (owner.users > owner.seen)
            wrong = "a port counts " + std::to_string(owner.users) + " that share it and has " +
                    std::to_string(owner.seen);
    for (const auto& [name, owner] : owners)
        if (owner.users != owner.seen)
            wrong = "a mapping counts " + std::to_string(owner.users) + " users and has " +
                    std::to_string(owner.seen);
    return wrong;
}

}  // namespace nat
