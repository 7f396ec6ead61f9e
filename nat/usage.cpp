// SPDX-License-Identifier: BSD-3-Clause
#include "nat/usage.hpp"

#include "nat/rule.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <unordered_set>

namespace nat {
namespace {

/// An address with what else is to be told apart.
struct Key {
    ct::Addr addr;
    std::uint16_t port = 0;
    std::uint8_t proto = 0;
    ct::Family family = ct::Family::None;

    friend bool operator==(const Key&, const Key&) noexcept = default;
};
struct Hash {
    std::size_t operator()(const Key& k) const noexcept {
        static_assert(sizeof(Key) == 20, "no padding: hashed as bytes");
        std::array<char, sizeof(Key)> bytes;
        std::memcpy(bytes.data(), &k, sizeof k);
        return std::hash<std::string_view>{}({bytes.data(), bytes.size()});
    }
};

/// What is counted of an address, and which of its ports the rules may give away.
struct Counted {
    AddressUsage usage;
    std::vector<PortRange> room;
};

[[nodiscard]] Counted begin(const Setup& setup, const Endpoint& e) {
    Counted out;
    out.usage.family = e.family;
    out.usage.addr = e.addr;
    out.usage.proto = e.proto;
    out.room = setup.room_at(e.family, e.addr, e.proto);
    // Of an address that no rule maps to, as that of a hairpin or one that has gone, what any
    // might.
    if (out.room.empty()) out.room.push_back(port_class(e.proto, 0xffff));
    for (const PortRange r : out.room) out.usage.available += r.count();
    return out;
}

[[nodiscard]] bool is_in(const std::vector<PortRange>& room, std::uint16_t port) noexcept {
    return std::any_of(room.begin(), room.end(), [port](PortRange r) { return r.contains(port); });
}

template <class Row>
void keep_fullest(std::vector<Row>& rows, std::size_t most) {
    const auto fuller = [](const Row& a, const Row& b) {
        return std::tie(b.ports, b.connections, a.addr.bytes) <
               std::tie(a.ports, a.connections, b.addr.bytes);
    };
    const auto kept = std::min(most, rows.size());
    std::partial_sort(rows.begin(), rows.begin() + static_cast<std::ptrdiff_t>(kept), rows.end(),
                      fuller);
    rows.resize(kept);
}

}  // namespace

Usage usage_of(const ct::Conntrack& table, const Setup& setup, ct::Nanos now, std::size_t most) {
    Usage out;
    std::unordered_set<Key, Hash> ports;
    std::unordered_map<Key, Counted, Hash> addresses;
    std::unordered_map<Key, SourceUsage, Hash> sources;
    for (std::uint32_t i = 0; i < table.indices(); ++i) {
        ct::Snapshot s;
        if (!table.snapshot(i, now, s) || (s.status & ct::status::kSrcNat) == 0) continue;
        const ct::Tuple& r = s.reply;
        if (!ct::is_icmp(r.proto) && !has_ports(r.proto)) continue;
        if (s.original.family == ct::Family::Ipv4 && r.family == ct::Family::Ipv6) continue;
        ++out.connections;
        const Endpoint e = setup.external_endpoint(r);
        const bool first = ports.insert({e.addr, e.port.raw(), e.proto, e.family}).second;
        const auto [at, is_new] = addresses.try_emplace({e.addr, 0, e.proto, e.family});
        if (is_new) at->second = begin(setup, e);
        auto& [a, room] = at->second;
        ++a.connections;
        if (first) ++a.ports;
        if (first && is_in(room, e.port.host())) ++a.in_use;
        SourceUsage& source = sources[{s.original.src, 0, 0, s.original.family}];
        source.family = s.original.family;
        source.addr = s.original.src;
        ++source.connections;
        // A port that several sources share, each towards another remote, counts to the first seen.
        if (first) ++source.ports;
    }
    for (const auto& [key, counted] : addresses) out.addresses.push_back(counted.usage);
    for (const auto& [key, usage] : sources) out.sources.push_back(usage);
    keep_fullest(out.addresses, most);
    keep_fullest(out.sources, most);
    return out;
}

}  // namespace nat
