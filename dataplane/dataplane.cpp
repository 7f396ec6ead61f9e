// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/dataplane.hpp"

#include <fmt/format.h>
#include <rte_launch.h>
#include <rte_lcore.h>

#include <algorithm>
#include <stdexcept>
#include <thread>

namespace dp {
namespace {

inline constexpr std::uint32_t kIdleTurns =
    64;  ///< without a packet, before a crowded worker yields

[[nodiscard]] std::vector<int> port_nodes(const Config& config) {
    std::vector<int> nodes;
    for (const PortConfig& port : config.ports)
        nodes.push_back(port.pci ? node_of_pci(port.device) : -1);
    return nodes;
}

/// Room for the records of port blocks, if there are any and somebody is to have them.
[[nodiscard]] std::unique_ptr<nat::BlockLog> block_log_of(const Config& config,
                                                          ct::WorkerId workers, bool wanted) {
    if (!wanted || config.carriers.empty() || !config.nat_log.on()) return nullptr;
    // Control assigns blocks as well, when a table is put back.
    return std::make_unique<nat::BlockLog>(workers + 1, config.nat_log.queue);
}

[[nodiscard]] ct::FragmentSettings fragment_settings(const Config& config, ct::WorkerId workers,
                                                     std::uint64_t seed) {
    const std::uint32_t held =
        std::max<std::uint32_t>(config.dataplane.fragment_queue, 1) * workers;
    return {.datagrams = 2 * held,
            .held = held,
            .timeout_s = config.conntrack.timeouts.fragment,
            .timeout6_s = config.conntrack.timeouts.fragment6,
            .seed = seed};
}

}  // namespace

Dataplane::Dataplane(const Config& config, const Placement& placement,
                     const DataplaneOptions& options)
    : config_{config},
      worker_count_{static_cast<ct::WorkerId>(placement.workers.size())},
      crowded_{placement.crowded},
      conntrack_{config.conntrack, worker_count_, options.seed, features_of(config)},
      rules_{config.rules, worker_count_, config.filter_policy, config.zones},
      block_log_{block_log_of(config, worker_count_, options.log_blocks)},
      carriers_{config.carriers, block_log_.get(), options.seed},
      nat_{rules_, conntrack_, AddressBook{config}.for_nat(), options.seed, &carriers_},
      prefixes_{config.nptv6, AddressBook{config}.all(ct::Family::Ipv6)},
      families_{config.nat64, mtus(config), worker_count_},
      fragments_{fragment_settings(config, worker_count_,
                                   options.seed != 0 ? options.seed : clock_.now())},
      counters_(worker_count_),
      pools_{config, worker_count_, port_nodes(config)},
      ports_{open_ports(port_nodes(config))},
      forward_{config, links(), std::vector<rte_mempool*>(worker_count_, pools_.at(placement.node)),
               counters_, options.neighbours},
      pipeline_{conntrack_, rules_,   nat_,      prefixes_,         families_,
                fragments_, forward_, counters_, mss_limits(config)} {
    nat_.ask({.port_towards =
                  [](const void* self, ct::Family family, const ct::Addr& addr) noexcept {
                      return static_cast<const Forward*>(self)->port_towards(family, addr);
                  },
              .self = &forward_});
    make_workers();
}

Dataplane::~Dataplane() {
    stop();
}

std::vector<std::unique_ptr<Port>> Dataplane::open_ports(const std::vector<int>& nodes) const {
    std::vector<std::unique_ptr<Port>> ports;
    for (ct::PortId id = 0; id < config_.ports.size(); ++id)
        ports.push_back(std::make_unique<Port>(id, config_.ports[id], config_.dataplane,
                                               worker_count_, pools_.at(nodes[id])));
    return ports;
}

std::vector<PortLink> Dataplane::links() const {
    std::vector<PortLink> out;
    for (const auto& port : ports_) out.push_back(port->link());
    return out;
}

/// Queue q of every port goes to worker q, so that a symmetric hash brings both directions of a
/// flow to one worker. A port with fewer queues than workers starts at another worker than the last
/// such port did, so that the work is spread.
void Dataplane::make_workers() {
    std::vector<std::vector<RxQueue>> rx(worker_count_);
    std::vector<std::vector<TxQueue>> tx(worker_count_);
    std::size_t offset = 0;
    for (const auto& port : ports_) {
        const bool few = port->queues() < worker_count_;
        std::vector<ct::WorkerId>& receivers = receivers_.emplace_back();
        for (std::uint16_t q = 0; q < port->queues(); ++q) {
            receivers.push_back(
                static_cast<ct::WorkerId>((q + (few ? offset : 0)) % worker_count_));
            rx[receivers.back()].push_back({.device = port->device(),
                                            .queue = q,
                                            .port = port->id(),
                                            .accepts_all = port->accepts_all(),
                                            .mac = port->link().mac});
        }
        if (few) offset += port->queues();
        for (ct::WorkerId w = 0; w < worker_count_; ++w) {
            const auto q = static_cast<std::uint16_t>(w % port->queues());
            tx[w].push_back({port->device(), q, port->tx_lock(q)});
        }
    }
    for (ct::WorkerId w = 0; w < worker_count_; ++w)
        lanes_.push_back({.worker = std::make_unique<Worker>(
                              w, std::move(rx[w]), std::move(tx[w]), config_.dataplane.burst,
                              WorkerTools{pipeline_, forward_, counters_[w]}),
                          .owner = this});
}

/// Lets NAT choose ports that bring the answers back to the worker that opened the connection,
/// where it is known how a port spreads packets.
void Dataplane::steer_answers() {
    if (worker_count_ < 2) return;
    std::vector<std::optional<RssState>> states;
    for (const auto& port : ports_)
        states.push_back(port->spreads() ? rss_state_of(port->device()) : std::nullopt);
    auto steering = std::make_unique<Steering>(states, receivers_);
    if (!steering->knows_any()) return;
    steering_ = std::move(steering);
    nat_.steer_by(steering_.get());
}

int Dataplane::run_worker(void* lane) noexcept {
    auto& [worker, owner, lcore] = *static_cast<Lane*>(lane);
    std::uint32_t idle = 0;
    while (!owner->stopping_.load(std::memory_order_acquire)) {
        const bool busy = worker->turn(owner->clock_.now());
        idle = busy ? 0 : idle + 1;
        if (idle < kIdleTurns) continue;
        idle = 0;
        if (owner->crowded_) std::this_thread::yield();
    }
    return 0;
}

void Dataplane::start() {
    if (rte_lcore_count() <= worker_count_)
        throw std::runtime_error{
            fmt::format("EAL has {} lcores, {} workers and control need {}; leave "
                        "--lcores, -l and -c to Sluice",
                        rte_lcore_count(), worker_count_, worker_count_ + 1)};
    for (const auto& port : ports_) port->start();
    running_ = true;
    steer_answers();
    unsigned lcore = rte_get_next_lcore(-1U, 1, 0);
    for (Lane& lane : lanes_) {
        lane.lcore = lcore;
        if (rte_eal_remote_launch(run_worker, &lane, lcore) != 0)
            throw std::runtime_error{fmt::format("lcore {} is busy", lcore)};
        lcore = rte_get_next_lcore(lcore, 1, 0);
    }
}

void Dataplane::stop() noexcept {
    if (!running_) return;
    stopping_.store(true, std::memory_order_release);
    for (const Lane& lane : lanes_)
        if (lane.lcore != 0) rte_eal_wait_lcore(lane.lcore);
    for (ct::WorkerId w = 0; w < worker_count_; ++w) pipeline_.drain(w);
    forward_.drain();
    for (const auto& port : ports_) port->stop();
    ports_.clear();
    running_ = false;
}

/// Until what workers have read or routed before is done with: a turn that has begun by now.
void Dataplane::await_turns() const noexcept {
    for (ct::WorkerId w = 0; running_ && w < worker_count_; ++w) {
        const std::uint64_t turn = counters_[w].turns.get();
        while (counters_[w].turns.get() < turn + 2 && !stopping_.load(std::memory_order_acquire))
            std::this_thread::yield();
    }
}

std::uint32_t Dataplane::set_up(ct::PortId port, bool up) {
    forward_.set_up(port, up);
    if (up) return 0;
    // A worker that has routed a packet there may still confirm its connection: in this turn.
    await_turns();
    return conntrack_.flush_port(port, clock_.now());
}

void Dataplane::set_addresses(AddressBook addresses) {
    auto network = forward_.make_network(std::move(addresses));
    const AddressBook& book = network->addresses;
    const auto nat = nat_.set_addresses(book.for_nat(), clock_.now());
    const auto own = prefixes_.set_own(book.all(ct::Family::Ipv6));
    const auto old = forward_.set_network(std::move(network));
    await_turns();
}

void Dataplane::add_address(ct::PortId port, const nat::Prefix& address) {
    set_addresses(forward_.addresses().with(config_, port, address));
}

std::uint32_t Dataplane::remove_address(ct::PortId port, const nat::Prefix& address) {
    set_addresses(forward_.addresses().without(config_, port, address));
    return conntrack_.flush_port(
        port, clock_.now(), [&](const ct::Tuple& original, const ct::Tuple& reply) {
            return nat_.rests_on(original, reply, address.family, address.addr);
        });
}

void Dataplane::settings_changed() noexcept {
    const ct::Timeouts& t = conntrack_.settings().timeouts;
    fragments_.set_timeouts(t.fragment, t.fragment6);
}

Totals Dataplane::totals() const noexcept {
    Totals all;
    for (const WorkerCounters& c : counters_) all += c.totals();
    return all;
}

PortTotals Dataplane::port_totals(ct::PortId port) const noexcept {
    PortTotals all;
    for (const Lane& lane : lanes_) all += lane.worker->port_totals(port);
    return all;
}

std::vector<std::string> Dataplane::notes() const {
    std::vector<std::string> out;
    const ct::MemoryReport memory = conntrack_.memory();
    out.push_back(fmt::format("conntrack: {} entries, {} MiB on pages of {}", conntrack_.capacity(),
                              memory.total_bytes >> 20U, memory.pages));
    for (const auto& port : ports_)
        out.insert(out.end(), port->notes().begin(), port->notes().end());
    return out;
}

}  // namespace dp
