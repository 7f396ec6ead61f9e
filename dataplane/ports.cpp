// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/ports.hpp"

#include <fmt/format.h>
#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_mbuf_pool_ops.h>
#include <rte_mempool.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <stdexcept>

namespace dp {
namespace {

inline constexpr std::size_t kMegabyte = std::size_t{1} << 20U;
inline constexpr unsigned kPoolCache = 256;  // buffers that a worker keeps without asking the pool
/// Frame around the IP packet: Ethernet header, two VLAN tags, CRC.
inline constexpr std::uint32_t kFraming = 14 + 2 * 4 + 4;
inline constexpr const char* kTap = "net_tap";

/// Buffers that can be away from the pool at once.
[[nodiscard]] std::size_t buffers_for(const Config& config, unsigned workers) {
    const DataplaneConfig& d = config.dataplane;
    std::size_t count = 0;
    for (const PortConfig& port : config.ports) {
        const std::size_t queues = port.queues == 0 ? workers : port.queues;
        const std::size_t own =
            queues * (std::size_t{port.rx_descriptors} + std::size_t{port.tx_descriptors});
        count += d.mempool == 0 ? own : d.mempool;
    }
    const std::size_t waiting = std::size_t{d.neighbour_queue_total} + d.fragment_queue;
    const std::size_t in_hand =
        kPoolCache * 3 / 2 + std::size_t{d.burst} * config.ports.size() + kOutboxPackets + d.burst;
    return count + workers * (waiting + in_hand) + 512;
}

/// Bytes of a buffer's data: a whole frame of the largest MTU behind the headroom.
[[nodiscard]] std::uint16_t data_room_for(const Config& config) {
    std::uint32_t mtu = 0;
    for (const PortConfig& port : config.ports) mtu = std::max<std::uint32_t>(mtu, port.mtu);
    const std::uint32_t room = RTE_PKTMBUF_HEADROOM + mtu + kFraming;
    const std::uint32_t whole_lines = (room + 63U) & ~63U;
    return static_cast<std::uint16_t>(
        std::clamp<std::uint32_t>(whole_lines, RTE_MBUF_DEFAULT_BUF_SIZE, 0xffc0));
}

/// True if the port's device finds a buffer by its page: a PCI device by its physical address,
/// AF_XDP because its rings refuse a buffer on two pages.
[[nodiscard]] bool needs_whole_pages(const PortConfig& port) {
    return port.pci || port.device.starts_with("net_af_xdp");
}

/// A pool whose buffers lie one behind the other, on ordinary pages. rte_pktmbuf_pool_create()
/// lets none cross a page there, which leaves one a page: the headers of all of them then share a
/// few sets of the first-level cache, at a tenth of the speed. Null, with rte_errno, on failure.
[[nodiscard]] rte_mempool* make_dense_pool(const std::string& name, unsigned count,
                                           std::uint16_t room, int socket) {
    rte_mempool* pool = rte_mempool_create_empty(
        name.c_str(), count, static_cast<unsigned>(sizeof(rte_mbuf)) + room, kPoolCache,
        sizeof(rte_pktmbuf_pool_private), socket, RTE_MEMPOOL_F_NO_IOVA_CONTIG);
    if (pool == nullptr) return nullptr;
    rte_pktmbuf_pool_private sizes{};
    sizes.mbuf_data_room_size = room;
    rte_pktmbuf_pool_init(pool, &sizes);
    int made = rte_mempool_set_ops_byname(pool, rte_mbuf_best_mempool_ops(), nullptr);
    if (made == 0) made = rte_mempool_populate_default(pool);
    if (made < 0) {
        rte_mempool_free(pool);
        rte_errno = -made;
        return nullptr;
    }
    rte_mempool_obj_iter(pool, rte_pktmbuf_init, nullptr);
    return pool;
}

/// Toeplitz with this key gives both directions of a flow one hash (Woo and Park, 2012).
[[nodiscard]] std::vector<std::uint8_t> symmetric_key(std::size_t size) {
    std::vector<std::uint8_t> key(size);
    for (std::size_t i = 0; i < size; ++i) key[i] = i % 2 == 0 ? 0x6d : 0x5a;
    return key;
}

/// What an operation that a device may lack came to.
[[nodiscard]] bool succeeded(int error) {
    return error == 0 || error == -ENOTSUP || error == -ENODEV;
}

}  // namespace

// ---- Buffers.

void BufferPools::FreePool::operator()(rte_mempool* pool) const noexcept {
    rte_mempool_free(pool);
}

BufferPools::BufferPools(const Config& config, unsigned workers, const std::vector<int>& nodes) {
    static std::atomic<unsigned> next{0};
    const auto count = static_cast<unsigned>(buffers_for(config, workers));
    const std::uint16_t room = data_room_for(config);
    const bool any_page_will_do =
        rte_eal_has_hugepages() == 0 &&
        std::none_of(config.ports.begin(), config.ports.end(), needs_whole_pages);
    for (const int node : nodes.empty() ? std::vector<int>{-1} : nodes) {
        if (pools_.count(node) != 0) continue;
        const std::string name = fmt::format("sluice_packets{}", next.fetch_add(1));
        const int socket = node < 0 ? SOCKET_ID_ANY : node;
        rte_mempool* pool = any_page_will_do ? make_dense_pool(name, count, room, socket)
                                             : rte_pktmbuf_pool_create(name.c_str(), count,
                                                                       kPoolCache, 0, room, socket);
        if (pool == nullptr)
            throw std::runtime_error{
                fmt::format("no memory for {} packet buffers of {} bytes ({}); lower descriptors "
                            "or the mempool, "
                            "or give EAL more memory (-m)",
                            count, room, rte_strerror(rte_errno))};
        pools_[node].reset(pool);
    }
}

rte_mempool* BufferPools::at(int node) const {
    const auto found = pools_.find(node);
    return found != pools_.end() ? found->second.get() : pools_.begin()->second.get();
}

std::uint64_t BufferPools::in_use() const {
    std::uint64_t count = 0;
    for (const auto& [node, pool] : pools_) count += rte_mempool_in_use_count(pool.get());
    return count;
}

std::size_t BufferPools::bytes_for(const Config& config, unsigned workers) {
    // A second table of routes, made while the first is in use; EAL and drivers are modest.
    static constexpr std::size_t kRoutes = 2 * RouteTable::kBytes;
    static constexpr std::size_t kOther = 32 * kMegabyte;
    const std::size_t buffer = data_room_for(config) + sizeof(rte_mbuf) + 2 * RTE_CACHE_LINE_SIZE;
    // Each port may be on a node of its own, with a pool of its own.
    std::size_t nodes = 0;
    for (const PortConfig& port : config.ports) nodes += port.pci ? 1 : 0;
    return buffers_for(config, workers) * buffer * std::clamp<std::size_t>(nodes, 1, 2) + kRoutes +
           kOther;
}

// ---- Ports.

Port::Port(ct::PortId id, const PortConfig& config, const DataplaneConfig& dataplane,
           unsigned workers, rte_mempool* pool)
    : id_{id}, name_{config.name} {
    probe(config);
    try {
        configure(config, dataplane, workers);
        set_up_queues(config, pool);
        set_mac(config);
    } catch (...) {
        rte_eth_dev_close(device_);
        throw;
    }
    set_reception(config, dataplane.mode == Mode::Wire);
}

Port::~Port() {
    stop();
    rte_eth_dev_info info{};
    rte_device* parent = rte_eth_dev_info_get(device_, &info) == 0 ? info.device : nullptr;
    rte_eth_dev_close(device_);
    if (made_here_ && parent != nullptr) rte_dev_remove(parent);
}

void Port::fail(const std::string& what, int error) const {
    throw std::runtime_error{
        fmt::format("port {}: {}: {}", name_, what, rte_strerror(std::abs(error)))};
}

void Port::probe(const PortConfig& config) {
    const std::string name = config.device.substr(0, config.device.find(','));
    if (rte_eth_dev_get_port_by_name(name.c_str(), &device_) == 0) return;
    if (const int error = rte_dev_probe(config.device.c_str()); error != 0)
        fail(fmt::format("device \"{}\" cannot be opened (is the driver bound, its name right, and "
                         "may this user open it?)",
                         config.device),
             error);
    if (rte_eth_dev_get_port_by_name(name.c_str(), &device_) != 0)
        fail(fmt::format("device \"{}\" has no Ethernet port", config.device), ENODEV);
    made_here_ = true;
}

void Port::configure(const PortConfig& config, const DataplaneConfig& dataplane, unsigned workers) {
    rte_eth_dev_info info{};
    if (const int error = rte_eth_dev_info_get(device_, &info); error != 0)
        fail("device info", error);
    driver_ = info.driver_name;
    if (config.mtu > info.max_mtu || config.mtu < info.min_mtu)
        fail(fmt::format("mtu {} is outside of the device's {} to {}", config.mtu, info.min_mtu,
                         info.max_mtu),
             EINVAL);
    const unsigned wanted = config.queues == 0 ? workers : config.queues;
    queues_ = static_cast<std::uint16_t>(
        std::min({wanted, unsigned{info.max_rx_queues}, unsigned{info.max_tx_queues}}));
    if (queues_ == 0) fail("the device has no queues", ENOTSUP);
    if (queues_ < workers) {
        tx_locks_ = std::make_unique<SpinLock[]>(queues_);
        notes_.push_back(fmt::format(
            "port {}: {} queue{} for {} workers: not every worker receives from it, and they take "
            "turns to send",
            name_, queues_, queues_ == 1 ? "" : "s", workers));
    }

    rte_eth_conf conf{};
    conf.rxmode.mtu = config.mtu;
    // A virtual device would verify checksums in software, as parse() does.
    if (config.pci) conf.rxmode.offloads = info.rx_offload_capa & RTE_ETH_RX_OFFLOAD_CHECKSUM;
    std::vector<std::uint8_t> key;
    const std::uint64_t rss = info.flow_type_rss_offloads & (RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP |
                                                             RTE_ETH_RSS_UDP | RTE_ETH_RSS_SCTP);
    spreads_ = queues_ > 1 && rss != 0;
    if (spreads_) {
        conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
        conf.rx_adv_conf.rss_conf.rss_hf = rss;
        if (dataplane.symmetric_rss && info.hash_key_size > 0) {
            key = symmetric_key(info.hash_key_size);
            conf.rx_adv_conf.rss_conf.rss_key = key.data();
            conf.rx_adv_conf.rss_conf.rss_key_len = info.hash_key_size;
        }
    }
    const int error = rte_eth_dev_configure(device_, queues_, queues_, &conf);
    if (error != 0) fail(fmt::format("{} queues cannot be configured", queues_), error);
}

void Port::set_up_queues(const PortConfig& config, rte_mempool* pool) {
    std::uint16_t rx = config.rx_descriptors;
    std::uint16_t tx = config.tx_descriptors;
    if (const int error = rte_eth_dev_adjust_nb_rx_tx_desc(device_, &rx, &tx); error != 0)
        fail("number of descriptors", error);
    if (rx != config.rx_descriptors || tx != config.tx_descriptors)
        notes_.push_back(fmt::format(
            "port {}: the device wants {} receive and {} transmit descriptors", name_, rx, tx));
    const int node = rte_eth_dev_socket_id(device_);
    const auto socket = static_cast<unsigned>(node < 0 ? SOCKET_ID_ANY : node);
    for (std::uint16_t q = 0; q < queues_; ++q) {
        if (const int error = rte_eth_rx_queue_setup(device_, q, rx, socket, nullptr, pool);
            error != 0)
            fail(fmt::format("receive queue {}", q), error);
        if (const int error = rte_eth_tx_queue_setup(device_, q, tx, socket, nullptr); error != 0)
            fail(fmt::format("transmit queue {}", q), error);
    }
}

// net_tap gives its own MAC to the kernel's end of the wire as well, and keeps the two alike. A
// host there would answer its own questions. So the port takes a MAC next to the device's and does
// not tell the driver, which hands up every frame anyway.
void Port::set_mac(const PortConfig& config) {
    rte_ether_addr own{};
    if (const int error = rte_eth_macaddr_get(device_, &own); error != 0)
        fail("MAC address", error);
    std::copy(std::begin(own.addr_bytes), std::end(own.addr_bytes), link_.mac.begin());
    link_.mtu = config.mtu;
    const bool tap = driver_ == kTap;
    if (config.mac.has_value()) {
        link_.mac = *config.mac;
        std::copy(link_.mac.begin(), link_.mac.end(), std::begin(own.addr_bytes));
        if (!tap && rte_eth_dev_default_mac_addr_set(device_, &own) != 0) {
            accepts_all_ = true;
            notes_.push_back(fmt::format(
                "port {}: the device's MAC cannot be changed; listening to all instead", name_));
        }
    } else if (tap) {
        link_.mac[0] = static_cast<std::uint8_t>((link_.mac[0] | 2U) & 0xfeU);
        link_.mac[5] ^= 1U;
    } else if (rte_is_zero_ether_addr(&own)) {
        link_.mac = {0x02,
                     0x53,
                     0x4c,
                     0x00,
                     static_cast<std::uint8_t>(id_ >> 8U),
                     static_cast<std::uint8_t>(id_)};
    }
    notes_.push_back(fmt::format("port {}: {} ({}), MAC {}, {} queue{}", name_, config.device,
                                 driver_, to_string(link_.mac), queues_, queues_ == 1 ? "" : "s"));
}

/// Devices that cannot filter (virtual ones) take everything as it is, so a refusal is no failure.
void Port::set_reception(const PortConfig& config, bool wire) {
    const bool everything = accepts_all_ || wire || config.promiscuous;
    accepts_all_ = wire || config.promiscuous;
    if (everything) {
        if (!succeeded(rte_eth_promiscuous_enable(device_)))
            notes_.push_back(fmt::format("port {}: the device refuses promiscuous mode", name_));
        return;
    }
    // Neighbour solicitations come to multicast groups (RFC 4291 2.7.1).
    if (!succeeded(rte_eth_allmulticast_enable(device_)))
        notes_.push_back(
            fmt::format("port {}: the device refuses multicast; IPv6 neighbours may "
                        "not find it",
                        name_));
}

void Port::start() {
    if (const int error = rte_eth_dev_start(device_); error != 0) fail("start", error);
    started_ = true;
    static_cast<void>(rte_eth_dev_set_link_up(device_));  // most devices are up by now
    // The MTU given at configuration is enough for most; net_tap sets its interface's only here.
    if (const int error = rte_eth_dev_set_mtu(device_, link_.mtu);
        !succeeded(error) && error != -EBUSY)
        notes_.push_back(fmt::format("port {}: the device does not take mtu {}", name_, link_.mtu));
}

void Port::stop() noexcept {
    if (!started_) return;
    rte_eth_dev_stop(device_);
    started_ = false;
}

}  // namespace dp
