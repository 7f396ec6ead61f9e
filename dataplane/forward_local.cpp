// SPDX-License-Identifier: BSD-3-Clause
//
// Forward's other half: packets to Sluice itself, and those that it makes.
#include "ct/wire/headers.hpp"
#include "ct/wire/parse.hpp"
#include "dataplane/forward.hpp"
#include "dataplane/mbuf.hpp"

#include <algorithm>
#include <array>
#include <optional>

namespace dp {
namespace {

using answer::Complaint;
using ct::Drop;
using ct::Family;
using ct::Packet;

/// p's bytes read anew: NAT has rewritten them since its tuple was read. Owns nothing.
[[nodiscard]] Packet reread(const Packet& p) noexcept {
    Packet now;
    now.data = p.data;
    now.length = p.length;
    now.in_port = p.in_port;
    now.ip_check = ct::HwCheck::Good;
    now.l4_check = ct::HwCheck::Good;
    static_cast<void>(ct::parse(now, {.checksum = false}));
    return now;
}

[[nodiscard]] bool is_nd(const Packet& p) noexcept {
    return p.tuple.proto == ct::ipproto::kIcmpv6 &&
           (p.message_type == ct::icmpv6::kNeighbourSolicitation ||
            p.message_type == ct::icmpv6::kNeighbourAdvertisement);
}

[[nodiscard]] bool is_echo(const Packet& p) noexcept {
    return p.tuple.proto == ct::ipproto::kIcmp ? p.message_type == ct::icmp::kEcho
                                               : p.message_type == ct::icmpv6::kEcho;
}

[[nodiscard]] ct::Addr ipv4_of(const std::array<std::uint8_t, 4>& bytes) noexcept {
    ct::Addr a;
    std::copy(bytes.begin(), bytes.end(), a.bytes.begin());
    return a;
}

}  // namespace

// ---- To Sluice itself.

void Forward::take_in(Lane& lane, Packet& p, ct::Nanos now) noexcept {
    if (p.fault != Drop::None) {  // nobody is told of what nobody can have sent
        p.drop = p.fault;
        return;
    }
    const HopKind kind = network_.get().routes.hop(p.next_hop).kind;
    const Packet fresh = reread(p);
    p.drop = fresh.alive() ? answer_ip(lane, fresh, kind, now) : fresh.drop;
}

/// Answers what can be answered; returns what becomes of p.
Drop Forward::answer_ip(Lane& lane, const Packet& p, HopKind kind, ct::Nanos now) noexcept {
    // There is no reassembly here: fragments are for forwarding.
    if (p.fragment != ct::Fragment::Whole) return Drop::NoListener;
    if (ct::is_icmp(p.tuple.proto)) return answer_icmp(lane, p, kind, now);
    if (kind == HopKind::Group) return Drop::NoListener;
    switch (p.tuple.proto) {
        case ct::ipproto::kTcp:
            reset(lane, p, Tracking::Tracked, now);
            break;
        case ct::ipproto::kUdp:
        case ct::ipproto::kUdplite:
            complain(lane, p, Complaint::PortUnreachable, 0, Tracking::Tracked, now);
            break;
        default:
            complain(lane, p, Complaint::ProtocolUnreachable, 0, Tracking::Tracked, now);
            break;
    }
    return Drop::NoListener;
}

Drop Forward::answer_icmp(Lane& lane, const Packet& p, HopKind kind, ct::Nanos now) noexcept {
    if (is_nd(p)) {
        take_nd(lane, p, now);
        return Drop::LocalConsumed;
    }
    if (!is_echo(p)) return p.icmp_error ? Drop::LocalConsumed : Drop::NoListener;
    // RFC 1122 3.2.2.6 lets a request to a broadcast go unanswered; RFC 4443 4.2 wants one to a
    // multicast answered from a unicast address.
    std::optional<ct::Addr> self = p.tuple.dst;
    if (kind == HopKind::Group) {
        if (p.tuple.family == Family::Ipv4) return Drop::NoListener;
        self = addresses().source_for(p.in_port, p.tuple.family, p.tuple.src);
    }
    if (!self.has_value()) return Drop::NoListener;
    rte_mbuf* m = rte_pktmbuf_alloc(lane.pool);
    if (m == nullptr) return Drop::LocalConsumed;
    send_packet(lane, m, answer::echo_reply(room_of(m), p, *self, ++lane.ip_id), p.in_port,
                Tracking::Tracked);
    return Drop::LocalConsumed;
}

/// RFC 826, with RFC 5227 2.1.1 (a probe has no sender address and teaches nothing).
void Forward::take_arp(Lane& lane, Packet& p, ct::Nanos now) noexcept {
    p.drop = Drop::LocalConsumed;
    if (p.in_port >= links_.size()) return;
    const auto arp = ct::load<ct::ArpHeader>(p.data + p.l3_offset);
    const answer::Endpoint sender{arp.sender_mac, ipv4_of(arp.sender_ip)};
    const ct::Addr target = ipv4_of(arp.target_ip);
    const bool asks = arp.operation.host() == ct::ArpHeader::kRequest;
    const bool for_us = addresses().is_own(p.in_port, Family::Ipv4, target);
    if (sender.address != ct::Addr{} &&
        !addresses().is_own(p.in_port, Family::Ipv4, sender.address)) {
        const NeighbourNews news = !for_us ? NeighbourNews::Gossip
                                   : asks  ? NeighbourNews::Mention
                                           : NeighbourNews::Answer;
        learn(lane, {.address = sender.address, .port = p.in_port, .family = Family::Ipv4},
              sender.mac, news, now);
    }
    if (!asks || !for_us) return;
    rte_mbuf* m = rte_pktmbuf_alloc(lane.pool);
    if (m == nullptr) return;
    const answer::Endpoint self{links_[p.in_port].mac, target};
    send_frame(lane, m, answer::arp_reply(room_of(m), self, sender), p.in_port);
}

/// RFC 4861 7.2.3 to 7.2.5.
void Forward::take_nd(Lane& lane, const Packet& p, ct::Nanos now) noexcept {
    const auto nd = answer::read_nd(p);
    if (!nd.has_value() || p.in_port >= links_.size()) return;
    if (p.message_type == ct::icmpv6::kNeighbourAdvertisement) {
        if (!nd->mac.has_value()) return;
        learn(lane, {.address = nd->target, .port = p.in_port, .family = Family::Ipv6}, *nd->mac,
              nd->solicited ? NeighbourNews::Answer : NeighbourNews::Gossip, now);
        return;
    }
    if (!addresses().is_own(p.in_port, Family::Ipv6, nd->target)) return;
    const auto ethernet = ct::load<ct::EthernetHeader>(p.data);
    const answer::Endpoint asker{nd->mac.value_or(ethernet.src), p.tuple.src};
    if (nd->mac.has_value())
        learn(lane, {.address = p.tuple.src, .port = p.in_port, .family = Family::Ipv6}, *nd->mac,
              NeighbourNews::Mention, now);
    rte_mbuf* m = rte_pktmbuf_alloc(lane.pool);
    if (m == nullptr) return;
    const answer::Endpoint self{links_[p.in_port].mac, nd->target};
    send_frame(lane, m, answer::neighbour_advertisement(room_of(m), self, asker), p.in_port);
}

// ---- Neighbours.

/// Notes a MAC, and sends what waited for it.
void Forward::learn(Lane& lane, const NeighbourKey& key, const MacAddress& mac, NeighbourNews news,
                    ct::Nanos now) noexcept {
    if ((mac[0] & 1U) != 0) return;  // no station has a group address
    const WaitingList waiting = neighbours_.learn(key, mac, news, now);
    for (rte_mbuf* m = waiting.first; m != nullptr;) {
        rte_mbuf* const next = m->next;
        m->next = nullptr;
        Packet p;
        fill_packet(p, m, ct::kLocalPort);
        std::copy(mac.begin(), mac.end(), p.data);
        static_cast<void>(ct::parse(p, {.checksum = false}));
        p.out_port = key.port;
        p.split_above = noted_split(m);
        if (p.alive()) split_if_large(lane, p);
        finish_held(*lane.counters, lane.outbox, p);
        m = next;
    }
}

/// Asks for a neighbour; `known` is its MAC if it is only to be verified.
void Forward::ask(Lane& lane, const NeighbourKey& key, const MacAddress* known) noexcept {
    static constexpr MacAddress kBroadcast{0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    const auto source = addresses().source_for(key.port, key.family, key.address);
    if (!source.has_value()) return;
    rte_mbuf* m = rte_pktmbuf_alloc(lane.pool);
    if (m == nullptr) return;
    const answer::Endpoint self{links_[key.port].mac, *source};
    const std::size_t size =
        key.family == Family::Ipv4
            ? answer::arp_request(room_of(m), self, key.address, known ? *known : kBroadcast)
            : answer::neighbour_solicitation(room_of(m), self, key.address, known);
    send_frame(lane, m, size, key.port);
}

/// Tells the senders of what waited in vain (RFC 1122 2.3.2.2, RFC 4861 7.2.2). The packets have
/// been through NAT, so the errors have to go back through it.
void Forward::give_up(Lane& lane, const WaitingList& waiting, ct::Nanos now) noexcept {
    for (rte_mbuf* m = waiting.first; m != nullptr;) {
        rte_mbuf* const next = m->next;
        m->next = nullptr;
        Packet p;
        fill_packet(p, m, noted_port(m));
        static_cast<void>(ct::parse(p, {.checksum = false}));
        if (p.alive()) complain(lane, p, Complaint::HostUnreachable, 0, Tracking::Tracked, now);
        p.drop = Drop::NeighbourUnreachable;
        finish_held(*lane.counters, lane.outbox, p);
        m = next;
    }
}

// ---- Errors and resets.

/// Takes a token. Whole tokens are added, so the remainder of the time counts later.
bool Forward::may_answer(Lane& lane, ct::Nanos now) noexcept {
    const std::uint64_t rate = config_.forward.icmp_rate;
    if (rate == 0) return false;
    TokenBucket& bucket = lane.bucket;
    const ct::Nanos period = ct::kNanosPerSecond / rate;
    const ct::Nanos since = now > bucket.refilled ? now - bucket.refilled : 0;
    if (const std::uint64_t fresh = since / std::max<ct::Nanos>(period, 1); fresh > 0) {
        bucket.tokens = static_cast<std::uint32_t>(
            std::min<std::uint64_t>(bucket.tokens + fresh, config_.forward.icmp_burst));
        bucket.refilled = now - since % std::max<ct::Nanos>(period, 1);
    }
    if (bucket.tokens == 0) return false;
    --bucket.tokens;
    return true;
}

void Forward::complain(Lane& lane, const Packet& p, Complaint why, std::uint32_t mtu,
                       Tracking tracking, ct::Nanos now) noexcept {
    if (p.in_port >= links_.size() || !answer::may_complain_about(p)) return;
    const auto self = addresses().source_for(p.in_port, p.tuple.family, p.tuple.src);
    if (!self.has_value() || !may_answer(lane, now)) return;
    rte_mbuf* m = rte_pktmbuf_alloc(lane.pool);
    if (m == nullptr) return;
    const std::size_t size = answer::icmp_error(room_of(m), p, why, mtu, *self, ++lane.ip_id);
    send_packet(lane, m, size, p.in_port, tracking);
}

void Forward::reset(Lane& lane, const Packet& p, Tracking tracking, ct::Nanos now) noexcept {
    if (p.in_port >= links_.size() || (p.data[0] & 1U) != 0 || !may_answer(lane, now)) return;
    rte_mbuf* m = rte_pktmbuf_alloc(lane.pool);
    if (m == nullptr) return;
    send_packet(lane, m, answer::tcp_reset(room_of(m), p), p.in_port, tracking);
}

// ---- Out.

/// `size` 0: there is nothing to be sent after all.
void Forward::send_packet(Lane& lane, rte_mbuf* m, std::size_t size, ct::PortId port,
                          Tracking tracking) noexcept {
    set_size(m, size);
    if (size == 0 || !lane.outbox.packets.push({m, port, tracking}))
        rte_pktmbuf_free(m);
    else
        lane.counters->local_made.add(1);
}

void Forward::send_frame(Lane& lane, rte_mbuf* m, std::size_t size, ct::PortId port) noexcept {
    set_size(m, size);
    if (size == 0 || !lane.outbox.frames.push({m, port}))
        rte_pktmbuf_free(m);
    else
        lane.counters->local_made.add(1);
}

void Forward::finish_held(WorkerCounters& counters, Outbox& outbox, Packet& p) noexcept {
    counters.held_given.add(1);
    if (p.owner == nullptr) return;  // it waits again, and has been counted for that
    if (p.alive()) {
        rte_mbuf* m = take_mbuf(p);
        if (outbox.frames.push({m, p.out_port})) return;
        p.owner = m;
        p.drop = Drop::TxFull;
    }
    counters.drop(p.drop);
    rte_pktmbuf_free(mbuf_of(p));
    p.owner = nullptr;
}

void Forward::finish_held(ct::WorkerId w, Packet& p) noexcept {
    finish_held(*lanes_[w].counters, lanes_[w].outbox, p);
}

void Forward::drain() noexcept {
    if (lanes_.empty()) return;
    const WaitingList waiting = neighbours_.take_all();
    for (rte_mbuf* m = waiting.first; m != nullptr;) {
        rte_mbuf* const next = m->next;
        m->next = nullptr;
        lanes_.front().counters->held_given.add(1);
        lanes_.front().counters->drop(Drop::Stopped);
        rte_pktmbuf_free(m);
        m = next;
    }
    for (Lane& lane : lanes_) {
        const auto stop = [&lane](rte_mbuf* m) {
            lane.counters->drop(Drop::Stopped);
            rte_pktmbuf_free(m);
        };
        for (const ReadyFrame& f : lane.outbox.frames.items()) stop(f.mbuf);
        for (const LocalPacket& f : lane.outbox.packets.items()) stop(f.mbuf);
        lane.outbox.frames.clear();
        lane.outbox.packets.clear();
    }
}

}  // namespace dp
