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
    std::unordered_map<Key, AddressUsage, Hash> addresses;
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
        AddressUsage& a = addresses[{e.addr, 0, e.proto, e.family}];
        a.family = e.family;
        a.addr = e.addr;
        a.proto = e.proto;
        ++a.connections;
        if (first) ++a.ports;
        SourceUsage& source = sources[{s.original.src, 0, 0, s.original.family}];
        source.family = s.original.family;
        source.addr = s.original.src;
        ++source.connections;
        // A port that several sources share, each towards another remote, counts to the first seen.
        if (first) ++source.ports;
    }
    for (const auto& [key, usage] : addresses) out.addresses.push_back(usage);
    for (const auto& [key, usage] : sources) out.sources.push_back(usage);
    keep_fullest(out.addresses, most);
    keep_fullest(out.sources, most);
    return out;
}

}  // namespace nat
