// SPDX-License-Identifier: BSD-3-Clause
//
// Everything that packets go through, put together: tables, ports, pipeline and the workers that
// run it. The daemon drives one from the control plane; sluice-flood drives one in its own process.
#pragma once

#include "ct/conntrack.hpp"
#include "ct/wire/fragments.hpp"
#include "dataplane/clock.hpp"
#include "dataplane/control/config.hpp"
#include "dataplane/forward.hpp"
#include "dataplane/pipeline.hpp"
#include "dataplane/placement.hpp"
#include "dataplane/ports.hpp"
#include "dataplane/stats.hpp"
#include "dataplane/steering.hpp"
#include "dataplane/worker.hpp"
#include "nat/carriers.hpp"
#include "nat/rule_set.hpp"
#include "nat/setup.hpp"

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace dp {

/// What only tests and generators choose otherwise.
struct DataplaneOptions {
    Neighbours neighbours = Neighbours::Resolve;
    std::uint64_t seed = 0;   ///< of all hashes; 0: random
    bool log_blocks = false;  ///< somebody will read block_log(), if the configuration has one
};

/// Life: made (ports open, nothing moves) -> start() -> stop() -> destroyed. EAL runs all the
/// while. Calls come from one thread, but for the reading ones, which any thread may make.
class Dataplane {
public:
    /// Makes the tables and opens the ports of `config`, which outlives the object, for a worker on
    /// each of `placement.workers`. Throws std::runtime_error or std::bad_alloc.
    Dataplane(const Config& config, const Placement& placement,
              const DataplaneOptions& options = {});
    /// As stop().
    ~Dataplane();
    Dataplane(const Dataplane&) = delete;
    Dataplane& operator=(const Dataplane&) = delete;

    /// Starts the ports and a worker on each lcore but the main one. Once. Throws
    /// std::runtime_error if EAL has fewer lcores than there are workers.
    void start();
    /// Ends the workers after their turn, frees what waits (Drop::Stopped), stops the ports.
    /// Afterwards the totals are final and buffers_in_use() counts what was lost.
    void stop() noexcept;

    /// To be called after the tracker's settings have changed: what keeps copies takes them anew.
    void settings_changed() noexcept;

    /// Takes a port out of service or puts it back, while the workers run. Who was masqueraded by a
    /// port that goes down loses its mapping, as its address has gone (Linux's masquerade); returns
    /// how many connections that ended. One thread at a time.
    std::uint32_t set_up(ct::PortId port, bool up);

    /// Gives a port an address more, while the workers run. Throws BadParameter if the
    /// configuration could not say so either, std::runtime_error or std::length_error if there is
    /// no room; nothing has changed then. One thread at a time, here and below.
    void add_address(ct::PortId port, const nat::Prefix& address);
    /// Takes an address of a port away, likewise. Who was masqueraded by it loses its mapping, as
    /// in Linux; returns how many connections that ended.
    std::uint32_t remove_address(ct::PortId port, const nat::Prefix& address);

    // ---- Reading; any thread, but for addresses and routes: the one that changes them.

    [[nodiscard]] const Config& config() const noexcept { return config_; }
    [[nodiscard]] const Clock& clock() const noexcept { return clock_; }
    [[nodiscard]] ct::Conntrack& conntrack() noexcept { return conntrack_; }
    [[nodiscard]] const ct::Conntrack& conntrack() const noexcept { return conntrack_; }
    [[nodiscard]] const nat::Setup& nat() const noexcept { return nat_; }
    [[nodiscard]] const nat::RuleSet& rules() const noexcept { return rules_; }
    [[nodiscard]] nat::Carriers& carriers() noexcept { return carriers_; }
    [[nodiscard]] const nat::Carriers& carriers() const noexcept { return carriers_; }
    /// Where the records of port blocks are to be taken out, by one thread; null: there are none.
    [[nodiscard]] nat::BlockLog* block_log() const noexcept { return block_log_.get(); }
    [[nodiscard]] const Forward& forward() const noexcept { return forward_; }
    [[nodiscard]] ct::FragmentCounts fragments() const noexcept { return fragments_.counts(); }
    [[nodiscard]] ct::WorkerId workers() const noexcept { return worker_count_; }
    [[nodiscard]] Totals totals(ct::WorkerId w) const noexcept { return counters_[w].totals(); }
    [[nodiscard]] Totals totals() const noexcept;
    [[nodiscard]] PortTotals port_totals(ct::PortId port) const noexcept;
    [[nodiscard]] std::uint64_t buffers_in_use() const { return pools_.in_use(); }
    /// The packet buffers of ports whose NUMA node does not matter, as of virtual ones.
    [[nodiscard]] rte_mempool* buffers() const { return pools_.at(-1); }
    /// The DPDK port behind a port of the configuration.
    [[nodiscard]] const Port& port(ct::PortId id) const noexcept { return *ports_[id]; }
    /// What was chosen and what was fallen back to, a line each; for the log.
    [[nodiscard]] std::vector<std::string> notes() const;

private:
    [[nodiscard]] std::vector<std::unique_ptr<Port>> open_ports(
        const std::vector<int>& nodes) const;
    [[nodiscard]] std::vector<PortLink> links() const;
    void make_workers();
    void steer_answers();
    void await_turns() const noexcept;
    void set_addresses(AddressBook addresses);
    static int run_worker(void* worker) noexcept;

    /// A worker and what its thread needs besides.
    struct Lane {
        std::unique_ptr<Worker> worker;
        const Dataplane* owner = nullptr;
        unsigned lcore = 0;
    };

    const Config& config_;
    const ct::WorkerId worker_count_;
    const bool crowded_;
    Clock clock_;
    ct::Conntrack conntrack_;
    nat::RuleSet rules_;
    std::unique_ptr<nat::BlockLog> block_log_;  ///< null: blocks of ports are not logged
    nat::Carriers carriers_;
    nat::Setup nat_;
    nat::PrefixTranslator prefixes_;
    nat::FamilyTranslator families_;
    ct::FragmentTable fragments_;
    std::vector<WorkerCounters> counters_;  ///< by WorkerId
    BufferPools pools_;
    std::vector<std::unique_ptr<Port>> ports_;  ///< by PortId
    Forward forward_;
    Pipeline pipeline_;
    std::vector<std::vector<ct::WorkerId>> receivers_;  ///< by PortId and queue
    std::unique_ptr<Steering> steering_;                ///< if anything is known
    std::vector<Lane> lanes_;                           ///< by WorkerId
    std::atomic<bool> stopping_{false};  ///< the controlling thread sets it, workers read it
    bool running_ = false;
};

}  // namespace dp
