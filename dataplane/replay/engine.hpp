// SPDX-License-Identifier: BSD-3-Clause
//
// The daemon's pipeline in virtual time: packets are given with the time at which they came, and
// what happens between two packets (connections expire, fragments give up) happens at its own time
// too, be it years later.
//
// One worker, fixed keys, no devices, neighbours assumed: the same packets always give the same
// answers.
//
// Time moves from one thing that is due to the next. When a packet is through, nothing that it
// touched can expire within the shortest time-out there is, a second; so a sweep of the table is
// due a second after a packet at the earliest, and a sweep finds out exactly when the next one is.
#pragma once

#include "ct/conntrack.hpp"
#include "ct/wire/fragments.hpp"
#include "dataplane/control/config.hpp"
#include "dataplane/eal.hpp"
#include "dataplane/forward.hpp"
#include "dataplane/pipeline.hpp"
#include "dataplane/replay/capture.hpp"
#include "dataplane/replay/narrator.hpp"
#include "dataplane/replay/verdicts.hpp"
#include "dataplane/stats.hpp"
#include "nat/carriers.hpp"
#include "nat/rule_set.hpp"
#include "nat/setup.hpp"

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

struct rte_mbuf;
struct rte_mempool;

namespace dp::replay {

/// Who hears what the pipeline does. Bytes and references are valid during the call only.
struct Listeners {
    /// A frame leaves by a port.
    std::function<void(ct::PortId, ct::Nanos, std::span<const std::uint8_t>)> frame;
    std::function<void(const ct::Event&)> event;
    /// The packet with that number has been decided; each is, once.
    std::function<void(std::uint64_t, const Verdict&)> verdict;
    /// What became of the packet with that number, and why. One that waits for its first fragment
    /// is told of twice.
    std::function<void(std::uint64_t, const Story&)> story;
};

/// The MAC of `port`: the configured one, else one made from its id.
[[nodiscard]] MacAddress mac_of(const Config& config, ct::PortId port) noexcept;

/// One in a process, ever, because it starts EAL. One thread.
class Engine {
public:
    /// `config` outlives it. `seed` is not 0. Throws std::runtime_error if EAL does not start, and
    /// std::bad_alloc.
    Engine(const Config& config, std::uint64_t seed, Listeners listeners);
    ~Engine();
    Engine(const Engine&) = delete;
    Engine& operator=(const Engine&) = delete;

    /// Lets time pass until `frame.when`, which is not before now(), and runs the frame through the
    /// pipeline as received by `port`, with all that follows from it. `number` is for the verdict.
    void receive(ct::PortId port, const Frame& frame, std::uint64_t number);

    /// Lets time pass: everything that is due until then happens, each at its time.
    void pass_time(ct::Nanos until);

    /// Ends what is due at this moment, and what is still held, as Drop::Stopped.
    void stop();

    [[nodiscard]] ct::Nanos now() const noexcept { return now_; }
    [[nodiscard]] const ct::Conntrack& conntrack() const noexcept { return conntrack_; }
    [[nodiscard]] Totals totals() const noexcept { return counters_[0].totals(); }

private:
    struct FreePool {
        void operator()(rte_mempool* pool) const noexcept;
    };
    using PoolPtr = std::unique_ptr<rte_mempool, FreePool>;

    /// A packet that the fragment table owns. Here it has a second reference to its buffer, so that
    /// it can be seen what became of it.
    struct Held {
        rte_mbuf* mbuf = nullptr;
        std::uint64_t number = 0;
    };

    [[nodiscard]] static EalPlan plan(const Config& config);
    [[nodiscard]] static PoolPtr make_pool(const char* name, std::uint32_t count,
                                           std::uint16_t room);
    [[nodiscard]] rte_mbuf* buffer_for(std::size_t size) noexcept;
    void finish(ct::Packet& p);
    void run_local();
    void send_outbox();
    void settle_held(const Verdict& current, const Totals& before);
    void sweep();
    void report_events();
    [[nodiscard]] std::uint64_t number_of(const void* owner) const noexcept;

    const Config& config_;
    Listeners listeners_;
    Eal eal_;
    PoolPtr small_;
    PoolPtr large_;
    std::array<WorkerCounters, 1> counters_;
    ct::Conntrack conntrack_;
    nat::RuleSet rules_;
    nat::Carriers carriers_;
    nat::Setup nat_;
    nat::PrefixTranslator prefixes_;
    nat::FamilyTranslator families_;
    ct::FragmentTable fragments_;
    Forward forward_;
    Pipeline pipeline_;
    std::unique_ptr<Narrator> narrator_;  ///< if somebody listens

    ct::Nanos now_ = 0;
    ct::Nanos sweep_due_;  ///< no connection expires before this
    ct::Nanos carriers_due_ = 0;
    ct::Nanos fragments_due_;
    std::vector<Held> held_;
    std::uint64_t number_ = 0;        ///< of the packet that was received last
    const rte_mbuf* mbuf_ = nullptr;  ///< its buffer while it is under way
};

}  // namespace dp::replay
