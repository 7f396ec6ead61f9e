// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/replay/engine.hpp"

#include "dataplane/mbuf.hpp"

#include <rte_errno.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>

#include <algorithm>
#include <limits>
#include <sched.h>
#include <stdexcept>
#include <string>

namespace dp::replay {
namespace {

constexpr ct::WorkerId kWorker = 0;
constexpr ct::Nanos kNever = std::numeric_limits<ct::Nanos>::max();

/// No time-out is shorter than a second; ticks round by one.
constexpr ct::Nanos kShortestTimeout = ct::kNanosPerSecond - ct::kNanosPerTick;
/// Sweeps of a busy table are at least so far apart: that much later than it is due may a
/// connection end that nobody asks for.
constexpr ct::Nanos kSweepPeriod = ct::kNanosPerSecond / 4;
/// Entries swept before the events are fetched; a worker's ring holds more.
constexpr std::uint32_t kSweepSlice = 4096;
/// How often held fragments are looked at.
constexpr ct::Nanos kFragmentPeriod = ct::kNanosPerSecond;

/// How often blocks of ports that may be idle are looked at.
constexpr ct::Nanos kCarrierPeriod = ct::kNanosPerSecond;

constexpr std::uint16_t kSmallRoom = RTE_PKTMBUF_HEADROOM + 2048;  // bytes
constexpr std::uint16_t kLargeRoom = 65'535;                       // bytes; what an mbuf can say
constexpr std::uint32_t kLargeBuffers = 255;
// Packet memory with what surrounds each buffer, and two route tables of 2^24 entries of two bytes.
constexpr std::size_t kSmallBytes = 2'816;
constexpr std::size_t kLargeBytes = 66'048;
constexpr std::size_t kRouteBytes = 128U << 20U;
/// Answers to answers end here: ICMP errors are never answered, echo replies and RSTs neither.
constexpr int kLocalRounds = 4;

/// Enough for every fragment that may be held and for whatever one packet can give rise to.
[[nodiscard]] std::uint32_t small_buffers(const Config& config) {
    return static_cast<std::uint32_t>(config.dataplane.fragment_queue + kOutboxFrames +
                                      kOutboxPackets);
}

[[nodiscard]] std::vector<PortLink> links_of(const Config& config) {
    std::vector<PortLink> links;
    for (std::size_t i = 0; i < config.ports.size(); ++i)
        links.push_back({mac_of(config, static_cast<ct::PortId>(i)), config.ports[i].mtu});
    return links;
}

[[nodiscard]] ct::FragmentSettings fragments_of(const Config& config, std::uint64_t seed) {
    return {.datagrams = 2 * config.dataplane.fragment_queue,
            .held = config.dataplane.fragment_queue,
            .timeout_s = config.conntrack.timeouts.fragment,
            .timeout6_s = config.conntrack.timeouts.fragment6,
            .seed = seed};
}

}  // namespace

MacAddress mac_of(const Config& config, ct::PortId port) noexcept {
    const auto low = static_cast<std::uint8_t>(port);
    return config.ports[port].mac.value_or(MacAddress{0x02, 0, 0, 0, 0x01, low});
}

void Engine::FreePool::operator()(rte_mempool* pool) const noexcept {
    rte_mempool_free(pool);
}

/// No devices, no huge pages, nothing in the file system: EAL as any user can start it.
EalPlan Engine::plan(const Config& config) {
    const int cpu = std::max(sched_getcpu(), 0);
    const std::size_t bytes =
        kRouteBytes + small_buffers(config) * kSmallBytes + kLargeBuffers * kLargeBytes;
    return {.arguments = {"--no-huge", "--no-shconf", "-m", std::to_string((bytes >> 20U) + 1),
                          "--no-pci", "--no-telemetry", "--no-hpet", "--lcores",
                          "0@" + std::to_string(cpu), "--log-level=*:error"},
            .huge_pages = false,
            .notes = {}};
}

Engine::PoolPtr Engine::make_pool(const char* name, std::uint32_t count, std::uint16_t room) {
    PoolPtr pool{rte_pktmbuf_pool_create(name, count, 0, 0, room, SOCKET_ID_ANY)};
    if (!pool)
        throw std::runtime_error(std::string{"no memory for packets: "} + rte_strerror(rte_errno));
    return pool;
}

Engine::Engine(const Config& config, std::uint64_t seed, Listeners listeners)
    : config_{config},
      listeners_{std::move(listeners)},
      eal_{"sluice-replay", plan(config)},
      small_{make_pool("small", small_buffers(config), kSmallRoom)},
      large_{make_pool("large", kLargeBuffers, kLargeRoom)},
      conntrack_{config.conntrack, 1, seed, features_of(config)},
      rules_{config.rules, 1, config.filter_policy, config.zones},
      carriers_{config.carriers, nullptr, seed},
      nat_{rules_, conntrack_, AddressBook{config}.for_nat(), seed, &carriers_},
      prefixes_{config.nptv6, AddressBook{config}.all(ct::Family::Ipv6)},
      families_{config.nat64, mtus(config), 1},
      fragments_{fragments_of(config, seed)},
      forward_{config, links_of(config), {small_.get()}, counters_, Neighbours::Assume},
      pipeline_{conntrack_, rules_,   nat_,      prefixes_,         families_,
                fragments_, forward_, counters_, mss_limits(config)},
      sweep_due_{kNever},
      fragments_due_{kNever} {
    if (listeners_.event) conntrack_.add_listener();
    if (!listeners_.story) return;
    narrator_ = std::make_unique<Narrator>(
        Scene{config_, conntrack_, rules_, forward_, nat_},
        [this](const void* owner) { return number_of(owner); }, listeners_.story);
    pipeline_.watch(narrator_.get());
}

/// A packet that waits for its first fragment has been taken from its owner just now.
std::uint64_t Engine::number_of(const void* owner) const noexcept {
    if (owner == nullptr || owner == mbuf_) return mbuf_ == nullptr ? 0 : number_;
    const auto held =
        std::find_if(held_.begin(), held_.end(), [&](const Held& h) { return h.mbuf == owner; });
    return held == held_.end() ? 0 : held->number;
}

Engine::~Engine() {
    pipeline_.drain(kWorker);
    for (const Held& h : held_) rte_pktmbuf_free(h.mbuf);
}

rte_mbuf* Engine::buffer_for(std::size_t size) noexcept {
    if (size <= kSmallRoom - RTE_PKTMBUF_HEADROOM) return rte_pktmbuf_alloc(small_.get());
    if (size <= kLargeRoom - RTE_PKTMBUF_HEADROOM) return rte_pktmbuf_alloc(large_.get());
    return nullptr;
}

void Engine::receive(ct::PortId port, const Frame& frame, std::uint64_t number) {
    pass_time(frame.when);
    WorkerCounters& counters = counters_[kWorker];
    counters.rx_packets.add(1);
    counters.rx_bytes.add(frame.bytes.size());

    ct::Packet p;
    rte_mbuf* m = buffer_for(frame.bytes.size());
    if (m == nullptr) {
        p.drop = ct::Drop::MultiSegment;
        counters.drop(p.drop);
        return listeners_.verdict(number, verdict_of(p));
    }
    std::copy(frame.bytes.begin(), frame.bytes.end(), room_of(m).begin());
    set_size(m, frame.bytes.size());
    fill_packet(p, m, port);

    const Totals before = totals();
    number_ = number;
    mbuf_ = m;
    pipeline_.run(kWorker, {&p, 1}, now_);
    mbuf_ = nullptr;
    const Verdict verdict = verdict_of(p);
    settle_held(verdict, before);
    if (p.owner == nullptr) {
        rte_mbuf_refcnt_update(m, 1);
        held_.push_back({m, number});
        fragments_due_ = std::min(fragments_due_, now_ + kFragmentPeriod);
    } else {
        finish(p);
        listeners_.verdict(number, verdict);
    }
    send_outbox();
    run_local();
    report_events();
    sweep_due_ = std::min(sweep_due_, now_ + kShortestTimeout);
}

/// A packet whose way has ended goes out or is freed, and is counted.
void Engine::finish(ct::Packet& p) {
    WorkerCounters& counters = counters_[kWorker];
    if (p.alive()) {
        counters.tx_packets.add(1);
        counters.tx_bytes.add(p.length);
        listeners_.frame(p.out_port, now_, p.bytes());
    } else {
        counters.drop(p.drop);
    }
    rte_pktmbuf_free(mbuf_of(p));
    p.owner = nullptr;
}

/// What Sluice itself says goes through the pipeline as the daemon's worker does it in its next
/// turn, and so does what follows from it.
void Engine::run_local() {
    for (int round = 0; round < kLocalRounds; ++round) {
        const auto items = forward_.outbox(kWorker).packets.items();
        const std::vector<LocalPacket> packets(items.begin(), items.end());
        if (packets.empty()) return;
        forward_.outbox(kWorker).packets.clear();
        for (const LocalPacket& local : packets) {
            ct::Packet p;
            fill_local(p, local);
            pipeline_.run(kWorker, {&p, 1}, now_);
            if (p.owner != nullptr) finish(p);
            send_outbox();
        }
    }
}

void Engine::send_outbox() {
    auto& frames = forward_.outbox(kWorker).frames;
    WorkerCounters& counters = counters_[kWorker];
    for (const ReadyFrame& f : frames.items()) {
        counters.tx_packets.add(1);
        counters.tx_bytes.add(f.mbuf->data_len);
        listeners_.frame(f.port, now_,
                         {rte_pktmbuf_mtod(f.mbuf, const std::uint8_t*), f.mbuf->data_len});
        rte_pktmbuf_free(f.mbuf);
    }
    frames.clear();
}

/// Finds out what became of held fragments since `before`: one that is in the outbox goes out; one
/// of which only the reference here is left was dropped for the reason that was counted meanwhile.
/// `current` is the first fragment that let them go, of the same connection.
void Engine::settle_held(const Verdict& current, const Totals& before) {
    const Totals after = totals();
    if (after.held_given == before.held_given) return;
    Totals fresh = after;
    for (std::size_t i = 0; i < fresh.drops.size(); ++i) fresh.drops[i] -= before.drops[i];

    const auto frames = forward_.outbox(kWorker).frames.items();
    const auto settled = [&](const Held& h) {
        Verdict v = current;
        const bool leaves = std::any_of(frames.begin(), frames.end(),
                                        [&](const ReadyFrame& f) { return f.mbuf == h.mbuf; });
        if (!leaves && rte_mbuf_refcnt_read(h.mbuf) > 1) return false;
        v.drop = ct::Drop::None;
        if (!leaves) {
            const auto reason = std::find_if(fresh.drops.begin(), fresh.drops.end(),
                                             [](std::uint64_t n) { return n > 0; });
            if (reason != fresh.drops.end()) {
                --*reason;
                v.drop = static_cast<ct::Drop>(reason - fresh.drops.begin());
            }
        }
        rte_pktmbuf_free(h.mbuf);
        if (narrator_) narrator_->settle(h.number, v.drop, now_);
        listeners_.verdict(h.number, v);
        return true;
    };
    held_.erase(std::remove_if(held_.begin(), held_.end(), settled), held_.end());
    if (held_.empty()) fragments_due_ = kNever;
}

void Engine::pass_time(ct::Nanos until) {
    for (;;) {
        const ct::Nanos due = std::min(sweep_due_, fragments_due_);
        if (due > until) break;
        now_ = std::max(now_, due);
        if (fragments_due_ <= now_) {
            fragments_due_ = now_ + kFragmentPeriod;
            const Totals before = totals();
            pipeline_.tick(kWorker, now_);
            settle_held({}, before);
        }
        if (sweep_due_ <= now_) sweep();
        report_events();
    }
    now_ = until;
    if (carriers_.size() == 0 || now_ < carriers_due_) return;
    carriers_.expire_all(kWorker, now_);
    carriers_due_ = now_ + kCarrierPeriod;
}

void Engine::sweep() {
    ct::Nanos next = kNever;
    for (std::uint32_t first = 0; first < conntrack_.indices(); first += kSweepSlice) {
        next = std::min(next, conntrack_.expire_among(kWorker, first, kSweepSlice, now_));
        report_events();
    }
    sweep_due_ = next == kNever ? kNever : std::max(next, now_ + kSweepPeriod);
}

void Engine::report_events() {
    if (!listeners_.event) return;
    ct::Event event;
    while (conntrack_.next_event(kWorker, event)) listeners_.event(event);
}

void Engine::stop() {
    sweep();
    const Totals before = totals();
    pipeline_.drain(kWorker);
    settle_held({}, before);
    forward_.drain();
}

}  // namespace dp::replay
