// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/steering.hpp"

#include "ct/wire/headers.hpp"

#include <rte_ethdev.h>
#include <rte_thash.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <stdexcept>

namespace dp {
namespace {

/// Toeplitz looks at 32 bits of the key from each bit of the input on.
constexpr std::size_t kKeyBytes = 36 + 4;

/// The fields of packets of `t`'s kind whose ports are hashed too.
[[nodiscard]] std::uint64_t fields_with_ports(const ct::Tuple& t) noexcept {
    const bool six = t.family == ct::Family::Ipv6;
    switch (t.proto) {
        case ct::ipproto::kTcp:
            return six ? RTE_ETH_RSS_NONFRAG_IPV6_TCP : RTE_ETH_RSS_NONFRAG_IPV4_TCP;
        case ct::ipproto::kUdp:
            return six ? RTE_ETH_RSS_NONFRAG_IPV6_UDP : RTE_ETH_RSS_NONFRAG_IPV4_UDP;
        case ct::ipproto::kSctp:
            return six ? RTE_ETH_RSS_NONFRAG_IPV6_SCTP : RTE_ETH_RSS_NONFRAG_IPV4_SCTP;
        default:
            return 0;
    }
}

/// The fields of packets of `t`'s kind that are hashed at all.
[[nodiscard]] std::uint64_t fields_of(const ct::Tuple& t) noexcept {
    const bool six = t.family == ct::Family::Ipv6;
    return fields_with_ports(t) | (six ? RTE_ETH_RSS_IPV6 | RTE_ETH_RSS_NONFRAG_IPV6_OTHER
                                       : RTE_ETH_RSS_IPV4 | RTE_ETH_RSS_NONFRAG_IPV4_OTHER);
}

}  // namespace

std::optional<RssState> rss_state_of(std::uint16_t device) {
    rte_eth_dev_info info{};
    if (rte_eth_dev_info_get(device, &info) != 0 || info.nb_rx_queues < 2) return {};
    if (info.hash_key_size < kKeyBytes || !std::has_single_bit(info.reta_size)) return {};

    RssState out;
    out.key.resize(info.hash_key_size);
    rte_eth_rss_conf rss{};
    rss.rss_key = out.key.data();
    rss.rss_key_len = info.hash_key_size;
    if (rte_eth_dev_rss_hash_conf_get(device, &rss) != 0) return {};
    out.fields = rss.rss_hf;

    std::vector<rte_eth_rss_reta_entry64> table((info.reta_size + RTE_ETH_RETA_GROUP_SIZE - 1U) /
                                                RTE_ETH_RETA_GROUP_SIZE);
    for (rte_eth_rss_reta_entry64& group : table) group.mask = ~std::uint64_t{0};
    if (rte_eth_dev_rss_reta_query(device, table.data(), info.reta_size) != 0) return {};
    for (std::uint16_t i = 0; i < info.reta_size; ++i) {
        const std::uint16_t queue =
            table[i / RTE_ETH_RETA_GROUP_SIZE].reta[i % RTE_ETH_RETA_GROUP_SIZE];
        if (queue >= info.nb_rx_queues) return {};
        out.queue_of.push_back(queue);
    }
    return out;
}

ToeplitzHash::ToeplitzHash(const std::vector<std::uint8_t>& key) : share_(kBytes) {
    if (key.size() < kKeyBytes) throw std::invalid_argument{"the key of a Toeplitz hash is short"};
    // DPDK's reads the key by words of its own.
    std::array<std::uint32_t, kKeyBytes / 4> words{};
    std::memcpy(words.data(), key.data(), kKeyBytes);
    for (std::size_t at = 0; at < kBytes; ++at)
        for (std::uint32_t value = 0; value < 256; ++value) {
            std::array<std::uint32_t, kBytes / 4> input{};
            input[at / 4] = value << (24 - 8 * (at % 4));
            share_[at][value] = rte_softrss(input.data(), kBytes / 4,
                                            reinterpret_cast<const std::uint8_t*>(words.data()));
        }
}

std::uint32_t ToeplitzHash::operator()(const ct::Tuple& t, bool with_ports) const noexcept {
    std::uint32_t hash = 0;
    std::size_t at = 0;
    const auto add = [&](const void* field, std::size_t size) {
        const auto* bytes = static_cast<const std::uint8_t*>(field);
        for (std::size_t i = 0; i < size; ++i) hash ^= share_[at++][bytes[i]];
    };
    const std::size_t size = t.family == ct::Family::Ipv6 ? 16 : 4;
    add(t.src.bytes.data(), size);
    add(t.dst.bytes.data(), size);
    if (with_ports) {
        add(&t.sport, 2);  // both are in the order of the wire
        add(&t.dport, 2);
    }
    return hash;
}

Steering::Steering(const std::vector<std::optional<RssState>>& ports,
                   std::vector<std::vector<ct::WorkerId>> workers)
    : ports_(ports.size()) {
    for (std::size_t p = 0; p < ports.size(); ++p) {
        if (!ports[p]) continue;
        if (!std::has_single_bit(ports[p]->queue_of.size()))
            throw std::invalid_argument{"an indirection table is not a power of two in size"};
        std::vector<ct::WorkerId> worker_of;
        for (const std::uint16_t queue : ports[p]->queue_of) {
            if (queue >= workers[p].size())
                throw std::invalid_argument{"an indirection table names a queue that there is not"};
            worker_of.push_back(workers[p][queue]);
        }
        ports_[p].emplace(
            Known{ToeplitzHash{ports[p]->key}, std::move(worker_of), ports[p]->fields});
    }
}

bool Steering::knows_any() const noexcept {
    return std::any_of(ports_.begin(), ports_.end(), [](const auto& p) { return p.has_value(); });
}

std::optional<ct::WorkerId> Steering::receiver(ct::PortId port, const ct::Tuple& t) const noexcept {
    const Known* k = known(port);
    if (k == nullptr || (k->fields & fields_of(t)) == 0) return {};
    const std::uint32_t hash = k->hash(t, (k->fields & fields_with_ports(t)) != 0);
    return k->worker_of[hash & (k->worker_of.size() - 1)];
}

bool Steering::depends_on_ports(ct::PortId port, const ct::Tuple& t) const noexcept {
    const Known* k = known(port);
    return k != nullptr && (k->fields & fields_with_ports(t)) != 0;
}

}  // namespace dp
