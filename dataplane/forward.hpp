// SPDX-License-Identifier: BSD-3-Clause
//
// Forwarding: from a destination to a port, and from a packet to a frame that its next hop takes.
//
// A packet comes by twice. route() stands where Linux's ip_forward does, after DNAT and before the
// filter rules: it finds the next hop, and refuses what can go no further (no route, TTL, MTU)
// while the packet is still as its sender made it, so that the ICMP error shows the sender his own
// packet. resolve() is the last stage, after every rewrite: TTL, fragments, the neighbour's MAC;
// or, if the packet is addressed to Sluice itself, the answer to it.
//
// What Sluice makes itself goes into the worker's Outbox: finished frames (ARP, ND, packets whose
// neighbour has answered, further fragments), which the worker sends after the burst, and IP
// packets (echo replies, ICMP errors, RST), which it runs through the pipeline in its next turn
// with in_port kLocalPort, so that conntrack and NAT see them as Linux's OUTPUT does.
//
// Threads: each worker passes its own WorkerId. Workers share addresses and routes, which control
// replaces as a whole when the addresses change, and the neighbour table, which has its own rules.
#pragma once

#include "ct/base/published.hpp"
#include "ct/base/time.hpp"
#include "ct/conntrack.hpp"
#include "ct/wire/packet.hpp"
#include "dataplane/answer.hpp"
#include "dataplane/control/address_book.hpp"
#include "dataplane/control/config.hpp"
#include "dataplane/neighbour.hpp"
#include "dataplane/outbox.hpp"
#include "dataplane/route.hpp"
#include "dataplane/stats.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

struct rte_mbuf;
struct rte_mempool;

namespace dp {

/// What forwarding has to know of a port once it is open.
struct PortLink {
    MacAddress mac{};          ///< source of what leaves by the port
    std::uint16_t mtu = 1500;  ///< bytes of the IP packet
};

/// How Forward is used.
enum class Neighbours : std::uint8_t {
    Resolve,  ///< by ARP and neighbour discovery
    Assume,   ///< each has 02:00:00:00:00:01; for replays and generators, where nobody answers
};

class Forward {
public:
    /// `links` by PortId; `pools` and `counters` by WorkerId: where a worker takes the buffers of
    /// what it makes from, and where it counts. `config` and `counters` outlive the object. EAL
    /// runs. Throws std::runtime_error if there is no memory for the tables.
    Forward(const Config& config, std::vector<PortLink> links, std::vector<rte_mempool*> pools,
            std::span<WorkerCounters> counters, Neighbours policy = Neighbours::Resolve);
    /// As drain().
    ~Forward();
    Forward(const Forward&) = delete;
    Forward& operator=(const Forward&) = delete;

    // ---- Packet path.

    /// Finds where `dst`, p's destination after DNAT, lies: sets out_port (kLocalPort if it is
    /// Sluice itself) and next_hop, or drop: NoRoute, TtlExceeded, TooBig, NoPeerPort; ICMP errors
    /// are made from p's bytes, which must be as received. Wire mode: out_port is the peer.
    void route(ct::WorkerId w, ct::Packet& p, const ct::Addr& dst, ct::Nanos now) noexcept;

    /// Drops p for `reason` and answers with a TCP RST, or else with an ICMP error: port
    /// unreachable if a rule says so, administratively prohibited if the table has no room
    /// (RFC 5508 REQ-8). p's bytes are as received.
    void reject(ct::WorkerId w, ct::Packet& p, ct::Drop reason, ct::Nanos now) noexcept;

    /// Makes frames out of what is alive: afterwards each packet has out_port and its Ethernet
    /// header, or a drop reason, or no owner because it waits for its neighbour. A packet whose
    /// out_port is kLocalPort is answered. ARP packets (ethertype 0x0806) need only parse() before;
    /// they skip every other stage, rules too.
    void resolve(ct::WorkerId w, std::span<ct::Packet> packets, ct::Nanos now) noexcept;

    /// For a stage that held a packet (its owner was taken) and now has it finished and resolved,
    /// or dropped, outside of a burst: sends or frees it, and counts. Takes p.owner.
    void finish_held(ct::WorkerId w, ct::Packet& p) noexcept;

    /// What the worker has to send or to run through the pipeline.
    [[nodiscard]] Outbox& outbox(ct::WorkerId w) noexcept { return lanes_[w].outbox; }

    /// Once a turn, by one worker: asks again for neighbours that did not answer, gives up on
    /// them, lets old ones go. Looks at the clock first: most calls cost a comparison.
    void tick(ct::WorkerId w, ct::Nanos now) noexcept;

    // ---- Control path.

    /// A port that is not up is not routed to, and nothing that comes in by it is taken. Any
    /// thread; workers see it in the packets after the one at hand.
    void set_up(ct::PortId port, bool up) noexcept;
    [[nodiscard]] bool is_up(ct::PortId port) const noexcept {
        return (down_.load(std::memory_order_relaxed) >> port % 32 & 1U) == 0;
    }

    /// The addresses of the ports, and the routes that they and the configuration make.
    struct Network {
        AddressBook addresses;
        RouteTable routes;
    };
    /// What set_network() takes, made while the old one is in use. Throws std::runtime_error if
    /// there is no memory for a second one.
    [[nodiscard]] std::unique_ptr<const Network> make_network(AddressBook addresses) const;
    /// From now on packets are forwarded by `next`. Returns what is to be destroyed once each
    /// worker has begun a turn since. One thread at a time, while workers run.
    [[nodiscard]] std::unique_ptr<const Network> set_network(
        std::unique_ptr<const Network> next) noexcept {
        return network_.replace(std::move(next));
    }

    [[nodiscard]] const NeighbourTable& neighbours() const noexcept { return neighbours_; }
    /// The present ones: for the thread that replaces them, or while nobody does.
    [[nodiscard]] const RouteTable& routes() const noexcept { return network_.get().routes; }
    /// The port that the route to `addr` leads by, kNoPort if none does.
    [[nodiscard]] ct::PortId port_towards(ct::Family family, const ct::Addr& addr) const noexcept {
        return routes().hop(routes().lookup(family, addr)).port;
    }
    [[nodiscard]] const AddressBook& addresses() const noexcept { return network_.get().addresses; }
    /// Frees whatever waits for a neighbour or lies in an outbox, as Drop::Stopped. The workers
    /// have stopped.
    void drain() noexcept;

private:
    /// Tokens for ICMP errors and RSTs (RFC 1812 4.3.2.8, RFC 4443 2.4 (f)).
    struct TokenBucket {
        std::uint32_t tokens = 0;
        ct::Nanos refilled = 0;
    };
    /// What one worker needs for itself.
    struct alignas(ct::kCacheLine) Lane {
        Outbox outbox;
        TokenBucket bucket;
        rte_mempool* pool = nullptr;
        WorkerCounters* counters = nullptr;
        std::uint16_t ip_id = 0;  ///< of the last IPv4 packet made here
    };
    /// The MAC that the last packet of a burst went to, for the next one.
    struct LastHop {
        NeighbourKey key;
        std::uint64_t mac = 0;
    };
    /// Whether conntrack and NAT shall see an answer: yes if it is made from a packet that NAT has
    /// rewritten, no if the packet is still as its sender made it.
    using Tracking = LocalPacket::Tracking;

    // forward.cpp: the way through.
    void route_wire(ct::Packet& p) const noexcept;
    [[nodiscard]] bool may_pass(Lane& lane, ct::Packet& p, ct::Nanos now) noexcept;
    void pass_on(Lane& lane, ct::Packet& p, LastHop& last, ct::Nanos now) noexcept;
    [[nodiscard]] NeighbourKey neighbour_of(const ct::Packet& p) const noexcept;
    void await_neighbour(Lane& lane, ct::Packet& p, const NeighbourKey& key,
                         ct::Nanos now) noexcept;
    void split_if_large(Lane& lane, ct::Packet& p) noexcept;
    void split_ipv4(Lane& lane, ct::Packet& p, std::size_t limit) noexcept;
    void split_ipv6(Lane& lane, ct::Packet& p, std::size_t limit) noexcept;
    [[nodiscard]] bool send_fragment(Lane& lane, const ct::Packet& p,
                                     std::span<const std::uint8_t> head,
                                     std::span<const std::uint8_t> part) noexcept;

    // forward_local.cpp: to Sluice itself and from it.
    void take_in(Lane& lane, ct::Packet& p, ct::Nanos now) noexcept;
    [[nodiscard]] ct::Drop answer_ip(Lane& lane, const ct::Packet& p, HopKind kind,
                                     ct::Nanos now) noexcept;
    [[nodiscard]] ct::Drop answer_icmp(Lane& lane, const ct::Packet& p, HopKind kind,
                                       ct::Nanos now) noexcept;
    void take_arp(Lane& lane, ct::Packet& p, ct::Nanos now) noexcept;
    void take_nd(Lane& lane, const ct::Packet& p, ct::Nanos now) noexcept;
    void learn(Lane& lane, const NeighbourKey& key, const MacAddress& mac, NeighbourNews news,
               ct::Nanos now) noexcept;
    void ask(Lane& lane, const NeighbourKey& key, const MacAddress* known) noexcept;
    void give_up(Lane& lane, const WaitingList& waiting, ct::Nanos now) noexcept;
    [[nodiscard]] bool may_answer(Lane& lane, ct::Nanos now) noexcept;
    void complain(Lane& lane, const ct::Packet& p, answer::Complaint why, std::uint32_t mtu,
                  Tracking tracking, ct::Nanos now) noexcept;
    void reset(Lane& lane, const ct::Packet& p, Tracking tracking, ct::Nanos now) noexcept;
    void send_packet(Lane& lane, rte_mbuf* m, std::size_t size, ct::PortId port,
                     Tracking tracking) noexcept;
    void send_frame(Lane& lane, rte_mbuf* m, std::size_t size, ct::PortId port) noexcept;
    static void finish_held(WorkerCounters& counters, Outbox& outbox, ct::Packet& p) noexcept;

    const Config& config_;
    const Neighbours policy_;
    const std::vector<PortLink> links_;
    ct::Published<Network> network_;
    NeighbourTable neighbours_;
    std::vector<Lane> lanes_;
    /// Bit PortId: the port is down. Control writes, workers read; a configuration has 32 at most.
    std::atomic<std::uint32_t> down_{0};
    // The worker that calls tick() writes these.
    std::vector<NeighbourDuty> duties_;
    ct::Nanos next_tick_ = 0;
};

}  // namespace dp
