// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/flood/inprocess.hpp"

#include "dataplane/dataplane.hpp"
#include "dataplane/eal.hpp"
#include "dataplane/flood/control.hpp"

#include <fmt/format.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <thread>
#include <unistd.h>

namespace dp::flood {

namespace {

using namespace std::chrono_literals;

constexpr ct::PortId kClientPort = 0;
constexpr ct::PortId kServerPort = 1;
constexpr auto kSetupLimit = 60s;
constexpr auto kSampleEvery = 500ms;
constexpr auto kEmptying = 50ms;  // for the workers to take what rings still hold

/// The configuration that the daemon would have: clients behind one port, servers behind the other.
std::string config_text(const Options& o) {
    std::string text = fmt::format(R"(
[dataplane]
workers = {}
[conntrack]
max = {}
overflow = "{}"
acct = {}
{}
[[port]]
name = "clients"
device = "{}0"
addresses = ["198.18.255.254/16"]
promiscuous = true
[[port]]
name = "servers"
device = "{}1"
addresses = ["198.19.255.254/16"]
promiscuous = true
[[route]]
to = "10.0.0.0/8"
via = "198.18.255.253"
port = "clients"
)",
                                   o.workers, o.table, o.policy, o.acct,
                                   fmt::join(o.conntrack, "\n"), o.driver, o.driver);
    if (o.masquerade)
        text += "[[rule]]\nchain = \"nat\"\nout = \"servers\"\naction = \"masquerade\"\n";
    if (o.notrack) text += "[[rule]]\nchain = \"raw\"\naction = \"notrack\"\n";
    return text;
}

/// What a callback needs: one queue of one port.
struct Tap {
    Generator* generator = nullptr;
    Side side = Side::Client;
    const Clock* clock = nullptr;
    ct::Nanos* now = nullptr;  ///< of the worker's last reception: its thread's own
    const std::atomic<bool>* closed = nullptr;  ///< nothing is to arrive any more
    rte_mempool* refill = nullptr;  ///< where a driver that makes no buffers gets them; else null
};

/// A ring gives back what was sent into it, as it was sent: cleans that, and adds buffers until the
/// burst is full, as net_null would have it.
std::uint16_t fill_up(rte_mempool* pool, std::span<rte_mbuf*> burst, std::uint16_t count) {
    for (rte_mbuf* m : burst.first(count)) rte_pktmbuf_reset(m);
    const auto room = burst.subspan(count);
    const bool got =
        rte_pktmbuf_alloc_bulk(pool, room.data(), static_cast<unsigned>(room.size())) == 0;
    return got ? static_cast<std::uint16_t>(burst.size()) : count;
}

/// Turns the driver's empty buffers into what arrives; those left over go back.
std::uint16_t stamp(std::uint16_t, std::uint16_t, rte_mbuf** pkts, std::uint16_t count,
                    std::uint16_t max, void* user) {
    const Tap& tap = *static_cast<Tap*>(user);
    if (tap.closed->load(std::memory_order_relaxed)) {
        rte_pktmbuf_free_bulk(pkts, count);
        return 0;
    }
    if (tap.refill != nullptr) count = fill_up(tap.refill, {pkts, max}, count);
    std::uint16_t n = 0;
    *tap.now = tap.clock->now();
    tap.generator->fill(
        tap.side, count, *tap.now, [&](const TcpFields& f, const FrameMaker& maker) {
            rte_mbuf* m = pkts[n++];
            const std::uint16_t length = maker.write(rte_pktmbuf_mtod(m, std::uint8_t*), f);
            m->data_len = length;
            m->pkt_len = length;
            // As a NIC would have it: checksums are its work, in and out.
            m->ol_flags |= RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_GOOD;
        });
    if (n < count) rte_pktmbuf_free_bulk(pkts + n, count - n);
    return n;
}

std::uint16_t observe(std::uint16_t, std::uint16_t, rte_mbuf** pkts, std::uint16_t count,
                      void* user) {
    const Tap& tap = *static_cast<Tap*>(user);
    for (std::uint16_t i = 0; i < count; ++i)
        tap.generator->seen(tap.side, rte_pktmbuf_mtod(pkts[i], const std::uint8_t*),
                            pkts[i]->data_len, *tap.now);
    return count;
}

class Run {
public:
    Run(const Options& o, const Config& config, const Placement& placement)
        : options_{o},
          dataplane_{config, placement, {.neighbours = Neighbours::Assume, .seed = o.plan.seed}} {
        const MacAddress world{0x02, 0, 0, 0, 0, 1};
        const FrameMaker client{world, dataplane_.port(kClientPort).link().mac};
        const FrameMaker server{world, dataplane_.port(kServerPort).link().mac};
        for (std::uint32_t w = 0; w < o.workers; ++w) {
            Plan plan = o.plan;
            plan.part = w;
            plan.parts = o.workers;
            if (plan.flood_pps != kMaxRate) plan.flood_pps /= o.workers;
            if (plan.established_pps != kMaxRate) plan.established_pps /= o.workers;
            plan.legit_cps = (plan.legit_cps + o.workers - 1 - w) / o.workers;
            generators_.push_back(std::make_unique<Generator>(plan, client, server));
        }
        times_.resize(o.workers);
        taps_.resize(2 * o.workers);
        for (std::uint16_t w = 0; w < o.workers; ++w)
            for (const ct::PortId port : {kClientPort, kServerPort}) tap(port, w);
        if (!o.control.empty()) control_.emplace(o.control, dataplane_);
    }

    Result run(std::stop_token stop) {
        dataplane_.start();
        set_up(stop);
        Result r;
        const auto before = established_handles();
        r.established_before = before.size();
        set_phase(Generator::Phase::Run);
        flood(r, stop);
        set_phase(Generator::Phase::Drain);
        const auto drain = std::chrono::nanoseconds{4 * options_.plan.rtt} + 200ms;
        std::this_thread::sleep_for(stop.stop_requested() ? 0ns : drain);
        r.established_lost = static_cast<std::uint64_t>(
            std::count_if(before.begin(), before.end(), [&](const auto& b) {
                const auto now = dataplane_.conntrack().find(b.first, dataplane_.clock().now());
                return !now || now->handle != b.second;
            }));
        r.rss_bytes = resident_bytes();
        closed_.store(true, std::memory_order_relaxed);
        std::this_thread::sleep_for(kEmptying);
        dataplane_.stop();
        finish(r);
        return r;
    }

private:
    void tap(ct::PortId port, std::uint16_t queue) {
        Tap& t = taps_[std::size_t{2} * queue + port];
        t = {generators_[queue].get(),
             port == kClientPort ? Side::Client : Side::Server,
             &dataplane_.clock(),
             &times_[queue].value,
             &closed_,
             options_.driver == "net_ring" ? dataplane_.buffers() : nullptr};
        const std::uint16_t device = dataplane_.port(port).device();
        if (rte_eth_add_rx_callback(device, queue, stamp, &t) == nullptr ||
            rte_eth_add_tx_callback(device, queue, observe, &t) == nullptr)
            throw std::runtime_error{options_.driver + " takes no callback on its queue"};
    }

    void set_phase(Generator::Phase p) {
        for (const auto& g : generators_) g->set_phase(p);
    }

    void set_up(std::stop_token stop) {
        const auto limit = std::chrono::steady_clock::now() + kSetupLimit;
        const auto ready = [](const auto& g) { return g->set_up(); };
        while (!std::all_of(generators_.begin(), generators_.end(), ready)) {
            if (stop.stop_requested()) return;
            if (std::chrono::steady_clock::now() > limit)
                throw std::runtime_error{
                    "the established connections could not be opened within "
                    "60 s; is --table large enough for --established?"};
            std::this_thread::sleep_for(10ms);
        }
    }

    /// The established connections that the table holds as assured, with their entries.
    [[nodiscard]] std::vector<std::pair<ct::Tuple, ct::ConnHandle>> established_handles() {
        std::vector<std::pair<ct::Tuple, ct::ConnHandle>> all;
        all.reserve(options_.plan.established);
        for (std::uint32_t n = 0; n < options_.plan.established; ++n) {
            const ct::Tuple t = established_tuple(n);
            const auto s = dataplane_.conntrack().find(t, dataplane_.clock().now());
            if (s && (s->status & ct::status::kAssured) != 0) all.emplace_back(t, s->handle);
        }
        return all;
    }

    [[nodiscard]] Sample sample(std::chrono::steady_clock::time_point since) {
        Sample s;
        s.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - since).count();
        s.packets = dataplane_.totals();
        s.generators = totals_of(generators_);
        s.conntrack = dataplane_.conntrack().counters();
        s.table_entries = dataplane_.conntrack().count();
        return s;
    }

    void flood(Result& r, std::stop_token stop) {
        LiveView view{isatty(STDOUT_FILENO) != 0 && !options_.plain};
        const auto start = std::chrono::steady_clock::now();
        r.begin = r.end = sample(start);
        const auto end = start + std::chrono::seconds{options_.seconds};
        for (auto next = start + kSampleEvery; !stop.stop_requested(); next += kSampleEvery) {
            std::this_thread::sleep_until(std::min(next, end));
            const Sample now = sample(start);
            view.show(r.end, now, options_.table);
            r.mpps.push_back(mpps(r.end, now));
            r.table_peak = std::max(r.table_peak, now.table_entries);
            r.end = now;
            if (std::chrono::steady_clock::now() >= end) break;
        }
    }

    void finish(Result& r) {
        r.total = dataplane_.totals();
        r.generators = totals_of(generators_);
        r.table_max = options_.table;
        r.workers = options_.workers;
        const double turns = static_cast<double>(r.end.packets.turns - r.begin.packets.turns);
        const double busy =
            static_cast<double>(r.end.packets.busy_turns - r.begin.packets.busy_turns);
        r.worker_busy = turns > 0 ? busy / turns : 0;
        const ct::MemoryReport memory = dataplane_.conntrack().memory();
        r.table_bytes = memory.total_bytes;
        r.pages = memory.pages;
        r.policy = options_.policy;
        r.cpu = cpu_name();
        r.mode = "in-process on " + options_.driver;
        r.in_process = true;
        r.buffers_returned = dataplane_.buffers_in_use() == 0;
    }

    const Options& options_;
    std::vector<std::unique_ptr<Generator>> generators_;  ///< by WorkerId
    std::vector<Tap> taps_;
    struct alignas(ct::kCacheLine) Time {
        ct::Nanos value = 0;
    };
    std::vector<Time> times_;          ///< by WorkerId
    std::atomic<bool> closed_{false};  ///< set by run(), read by the workers
    Dataplane dataplane_;
    std::optional<Control> control_;
};

}  // namespace

Result run_in_process(const Options& o, std::stop_token stop) {
    const Config config = parse_config(config_text(o), "sluice-flood");
    const Placement placement = place(config.dataplane, Topology::here(), {-1, -1});
    const EalPlan plan = plan_eal(
        config, placement, HugePageStock::here(),
        BufferPools::bytes_for(config, static_cast<unsigned>(placement.workers.size())), o.eal);
    const Eal eal{"sluice-flood", plan};
    for (const auto* notes : {&placement.notes, &plan.notes, &eal.notes()})
        for (const std::string& note : *notes) fmt::print("  {}\n", note);
    return Run{o, config, placement}.run(stop);
}

}  // namespace dp::flood
