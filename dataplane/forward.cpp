// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/forward.hpp"

#include "ct/wire/checksum.hpp"
#include "ct/wire/headers.hpp"
#include "dataplane/mbuf.hpp"
#include "nat/family.hpp"

#include <algorithm>
#include <array>
#include <cstring>

namespace dp {
namespace {

using answer::Complaint;
using ct::Be16;
using ct::Drop;
using ct::Family;
using ct::Packet;

inline constexpr std::size_t kEthernet = sizeof(ct::EthernetHeader);
/// Every neighbour's MAC under Neighbours::Assume: 02:00:00:00:00:01, as NeighbourTable gives it.
inline constexpr std::uint64_t kAssumedMac = 0x0100'0000'0002;
/// The neighbour table is swept in slices, so that no turn is held up: all of it in some 16 calls.
inline constexpr std::size_t kSweepSlices = 16;
inline constexpr ct::Nanos kSweepPeriod = ct::kNanosPerSecond / 160;
/// The headroom that DPDK gives every buffer (RTE_PKTMBUF_HEADROOM) holds a rebuilt header.
static_assert(RTE_PKTMBUF_HEADROOM >= kEthernet);

/// The part of an IPv4 or IPv6 packet from p's IP header on, in bytes.
[[nodiscard]] std::uint32_t ip_size(const Packet& p) noexcept {
    return p.end - p.l3_offset;
}

[[nodiscard]] Family family_of(const Packet& p) noexcept {
    return p.ethertype == ct::ethertype::kIpv6 ? Family::Ipv6 : Family::Ipv4;
}

/// TTL or hop limit.
[[nodiscard]] std::uint8_t hops_left(const Packet& p) noexcept {
    const std::uint8_t* ip = p.data + p.l3_offset;
    return p.ethertype == ct::ethertype::kIpv6 ? ip[offsetof(ct::Ipv6Header, hop_limit)]
                                               : ip[offsetof(ct::Ipv4Header, ttl)];
}

/// True if the source is of IPv6 link-local scope.
[[nodiscard]] bool is_link_local(const ct::Tuple& t) noexcept {
    return t.family == Family::Ipv6 && t.src.bytes[0] == 0xfe && (t.src.bytes[1] & 0xc0U) == 0x80;
}

/// One hop less; the IPv4 checksum by RFC 1624.
void count_hop(Packet& p) noexcept {
    std::uint8_t* at = p.data + p.l3_offset;
    if (p.ethertype == ct::ethertype::kIpv6) {
        --at[offsetof(ct::Ipv6Header, hop_limit)];
        return;
    }
    constexpr std::size_t kTtl = offsetof(ct::Ipv4Header, ttl);  // and the protocol behind it
    constexpr std::size_t kChecksum = offsetof(ct::Ipv4Header, checksum);
    const auto before = ct::load<Be16>(at + kTtl);
    const auto after = Be16::from_host(static_cast<std::uint16_t>(before.host() - 0x100U));
    ct::ChecksumDelta delta;
    delta.replace(before, after);
    ct::store(at + kTtl, after);
    ct::store(at + kChecksum, delta.apply(ct::load<Be16>(at + kChecksum)));
}

[[nodiscard]] bool may_be_split(const Packet& p) noexcept {
    if (p.ethertype != ct::ethertype::kIpv4) return false;
    const auto ip = ct::load<ct::Ipv4Header>(p.data + p.l3_offset);
    return (ip.flags_offset.host() & ct::Ipv4Header::kDontFragment) == 0;
}

/// Replaces whatever stands before p's IP header by an Ethernet header without tags, and cuts off
/// what stands behind the IP packet. A frame came in with at least that header, or was made so.
void frame(Packet& p, std::uint64_t dst, const MacAddress& src) noexcept {
    const auto shift = static_cast<std::uint16_t>(p.l3_offset - kEthernet);
    if (shift != 0) {
        p.data += shift;
        p.l3_offset = kEthernet;
        p.l4_offset = static_cast<std::uint16_t>(p.l4_offset - shift);
        p.payload_offset = static_cast<std::uint16_t>(p.payload_offset - shift);
        p.end -= shift;
    }
    p.length = p.end;
    // Straight to where it belongs: a header put together elsewhere would be read back in other
    // pieces than it was written in, which a core's store buffer cannot forward.
    std::memcpy(p.data, &dst, sizeof(MacAddress));
    std::memcpy(p.data + offsetof(ct::EthernetHeader, src), src.data(), sizeof src);
    ct::store(p.data + offsetof(ct::EthernetHeader, type), Be16::from_host(p.ethertype));
}

/// The options that belong into later fragments, padded to whole words (RFC 791 3.1: those whose
/// copied flag is set); returns their size.
[[nodiscard]] std::size_t copied_options(std::span<const std::uint8_t> options,
                                         std::array<std::uint8_t, 40>& out) noexcept {
    static constexpr std::uint8_t kEndOfList = 0;
    static constexpr std::uint8_t kNoOperation = 1;
    std::size_t size = 0;
    for (std::size_t at = 0; at < options.size() && options[at] != kEndOfList;) {
        const bool single = options[at] == kNoOperation;
        if (!single && at + 1 == options.size()) break;
        const std::size_t length = single ? 1 : options[at + 1];
        if (length == 0 || (!single && length < 2) || at + length > options.size()) break;
        if ((options[at] & 0x80U) != 0) {
            std::copy_n(options.begin() + static_cast<std::ptrdiff_t>(at), length,
                        out.begin() + static_cast<std::ptrdiff_t>(size));
            size += length;
        }
        at += length;
    }
    while (size % 4 != 0) out[size++] = kEndOfList;
    return size;
}

[[nodiscard]] bool is_multicast(Family family, const ct::Addr& a) noexcept {
    return family == Family::Ipv6 ? a.bytes[0] == 0xff : a.bytes[0] >> 4U == 0xe;
}

/// Writes `ip` with its checksum at `at`; options stand behind it already.
void put_header(std::uint8_t* at, ct::Ipv4Header ip) noexcept {
    ip.checksum = {};
    ct::store(at, ip);
    ip.checksum = ct::internet_checksum({at, ip.header_bytes()});
    ct::store(at, ip);
}

}  // namespace

Forward::Forward(const Config& config, std::vector<PortLink> links, std::vector<rte_mempool*> pools,
                 std::span<WorkerCounters> counters, Neighbours policy)
    : config_{config},
      policy_{policy},
      links_{std::move(links)},
      network_{make_network(AddressBook{config})},
      neighbours_{
          config.dataplane.neighbours, config.dataplane.neighbour_queue,
          config.dataplane.neighbour_queue_total * static_cast<std::uint32_t>(pools.size())},
      lanes_(pools.size()) {
    for (std::size_t w = 0; w < lanes_.size(); ++w) {
        lanes_[w].pool = pools[w];
        lanes_[w].counters = &counters[w];
        lanes_[w].bucket.tokens = config.forward.icmp_burst;
    }
    for (const NeighbourConfig& n : config.neighbours)
        neighbours_.add_static({.address = n.address, .port = n.port, .family = n.family}, n.mac);
    duties_.reserve(neighbours_.capacity() / kSweepSlices + 1);
}

std::unique_ptr<const Forward::Network> Forward::make_network(AddressBook addresses) const {
    RouteTable routes{config_, addresses, config_.dataplane.numa};
    return std::make_unique<const Network>(Network{std::move(addresses), std::move(routes)});
}

Forward::~Forward() {
    drain();
}

void Forward::set_up(ct::PortId port, bool up) noexcept {
    const std::uint32_t bit = 1U << port % 32;
    if (up)
        down_.fetch_and(~bit, std::memory_order_relaxed);
    else
        down_.fetch_or(bit, std::memory_order_relaxed);
}

void Forward::route_wire(Packet& p) const noexcept {
    if (p.in_port >= config_.ports.size()) {
        p.drop = Drop::NoRoute;
        return;
    }
    const ct::PortId peer = config_.ports[p.in_port].peer;
    if (peer == ct::kNoPort) {
        p.drop = Drop::NoPeerPort;
    } else if (!is_up(peer)) {
        p.drop = Drop::NoRoute;
    } else if (p.length - kEthernet > std::size_t{links_[peer].mtu} + 2 * sizeof(ct::VlanTag)) {
        p.drop = Drop::TooBig;
    } else {
        p.out_port = peer;
    }
}

void Forward::route(ct::WorkerId w, Packet& p, const ct::Addr& dst, ct::Nanos now) noexcept {
    if (config_.dataplane.mode == Mode::Wire) return route_wire(p);
    Lane& lane = lanes_[w];
    const bool local = p.in_port == ct::kLocalPort;
    const Family family = nat::family_after(p);
    const RouteTable& routes = network_.get().routes;
    p.next_hop = routes.lookup(family, dst);
    const NextHop* hop = &routes.hop(p.next_hop);
    // A link-local destination is one of the port that the answer is meant for.
    if (hop->kind == HopKind::Discard && local && p.out_port < links_.size()) {
        p.next_hop = routes.on_link(family, p.out_port);
        hop = &routes.hop(p.next_hop);
    }
    if (hop->kind == HopKind::Link || hop->kind == HopKind::Gateway) [[likely]] {
        if (!is_up(hop->port)) [[unlikely]] {  // as without the routes that lead there
            complain(lane, p, Complaint::NoRoute, 0, Tracking::Untracked, now);
            p.drop = Drop::NoRoute;
            return;
        }
        p.out_port = hop->port;
        if (!may_pass(lane, p, now)) p.out_port = ct::kNoPort;
        return;
    }
    switch (hop->kind) {
        case HopKind::Group:
            // Of what is multicast only ICMP is listened to. Dropped here, as in Linux's input
            // routing, so that the packet leaves no connection behind.
            if (is_multicast(family, dst) && !ct::is_icmp(p.tuple.proto)) {
                p.drop = Drop::NoListener;
                return;
            }
            [[fallthrough]];
        case HopKind::Local:
            p.out_port = ct::kLocalPort;
            return;
        case HopKind::Unreachable:
            complain(lane, p, Complaint::NoRoute, 0, Tracking::Untracked, now);
            [[fallthrough]];
        default:
            p.drop = Drop::NoRoute;
            return;
    }
}

/// What Linux's ip_forward asks before the FORWARD rules.
bool Forward::may_pass(Lane& lane, Packet& p, ct::Nanos now) noexcept {
    const std::uint16_t mtu = links_[p.out_port].mtu;
    const bool local = p.in_port == ct::kLocalPort;
    if (!local &&
        (p.data[0] & 1U) != 0) {  // RFC 1812 5.3.4: a link-layer broadcast stays on its link
        p.drop = Drop::NotForUs;
    } else if (!local && is_link_local(p.tuple)) {  // RFC 4291 2.5.6
        p.drop = Drop::NoRoute;
    } else if (!local && hops_left(p) <= 1) {
        complain(lane, p, Complaint::TimeExceeded, 0, Tracking::Untracked, now);
        p.drop = Drop::TtlExceeded;
    } else if (nat::crosses(p)) {
        const nat::Fit fit = nat::fit_of(p, mtu);
        if (fit.size > mtu && !fit.may_be_split) {
            complain(lane, p, Complaint::TooBig, fit.sender_mtu, Tracking::Untracked, now);
            p.drop = Drop::TooBig;
        }
    } else if (ip_size(p) > mtu && !may_be_split(p)) {
        complain(lane, p, Complaint::TooBig, mtu, Tracking::Untracked, now);
        p.drop = Drop::TooBig;
    }
    return p.alive();
}

void Forward::reject(ct::WorkerId w, Packet& p, Drop reason, ct::Nanos now) noexcept {
    p.drop = reason;
    // What is malformed may come from anybody.
    if (p.fault != Drop::None) return;
    // RFC 5508 REQ-8 and RFC 6888 REQ-11 ask for ICMP, whatever the protocol.
    const bool wants_reset =
        p.tuple.proto == ct::ipproto::kTcp && !p.tell_sender && reason != Drop::NatPortReject;
    if (wants_reset && p.fragment != ct::Fragment::Later)
        reset(lanes_[w], p, Tracking::Untracked, now);
    else
        complain(lanes_[w], p,
                 reason == Drop::RuleReject ? Complaint::PortUnreachable : Complaint::Prohibited, 0,
                 Tracking::Untracked, now);
}

void Forward::resolve(ct::WorkerId w, std::span<Packet> packets, ct::Nanos now) noexcept {
    Lane& lane = lanes_[w];
    const bool wire = config_.dataplane.mode == Mode::Wire;
    LastHop last;
    for (Packet& p : packets) {
        if (!p.alive() || p.owner == nullptr) continue;
        if (wire) {
            if (p.out_port == ct::kNoPort) route_wire(p);  // ARP, which nobody routed
        } else if (p.ethertype == ct::ethertype::kArp) {
            take_arp(lane, p, now);
        } else if (p.out_port == ct::kLocalPort) {
            take_in(lane, p, now);
        } else {
            pass_on(lane, p, last, now);
        }
    }
}

NeighbourKey Forward::neighbour_of(const Packet& p) const noexcept {
    const NextHop& hop = network_.get().routes.hop(p.next_hop);
    NeighbourKey key{.address = hop.gateway, .port = p.out_port, .family = family_of(p)};
    if (hop.kind == HopKind::Gateway) return key;
    const std::uint8_t* ip = p.data + p.l3_offset;
    if (key.family == Family::Ipv6)
        std::memcpy(key.address.bytes.data(), ip + offsetof(ct::Ipv6Header, dst), 16);
    else
        std::memcpy(key.address.bytes.data(), ip + offsetof(ct::Ipv4Header, dst), 4);
    return key;
}

void Forward::pass_on(Lane& lane, Packet& p, LastHop& last, ct::Nanos now) noexcept {
    if (p.in_port != ct::kLocalPort) count_hop(p);
    const MacAddress& src = links_[p.out_port].mac;
    if (policy_ == Neighbours::Assume) {
        last.mac = kAssumedMac;
    } else {
        const NeighbourKey key = neighbour_of(p);
        if (key != last.key) {
            const auto mac = neighbours_.find(key);
            if (!mac.has_value()) {
                frame(p, 0, src);
                return await_neighbour(lane, p, key, now);
            }
            last = {key, *mac};
        }
    }
    frame(p, last.mac, src);
    split_if_large(lane, p);
}

void Forward::await_neighbour(Lane& lane, Packet& p, const NeighbourKey& key,
                              ct::Nanos now) noexcept {
    const std::uint32_t note = waiting_note(p);
    rte_mbuf* m = take_mbuf(p);
    m->hash.usr = note;
    switch (neighbours_.wait(key, m, now)) {
        case NeighbourTable::Waiting::Ask:
            ask(lane, key, nullptr);
            [[fallthrough]];
        case NeighbourTable::Waiting::Queued:
            lane.counters->held_taken.add(1);
            return;
        case NeighbourTable::Waiting::Known:
            // It answered just now. If it has gone again since, this packet is the price.
            p.owner = m;
            if (const auto mac = neighbours_.find(key); mac.has_value())
                std::memcpy(p.data, &*mac, sizeof(MacAddress));
            else
                p.drop = Drop::NeighbourUnreachable;
            if (p.alive()) split_if_large(lane, p);
            return;
        case NeighbourTable::Waiting::Full:
            p.owner = m;
            p.drop = Drop::NeighbourQueueFull;
            return;
    }
}

/// Splits p, a framed packet, if it is too large for its link, or for the paths behind it.
void Forward::split_if_large(Lane& lane, Packet& p) noexcept {
    std::size_t limit = links_[p.out_port].mtu;
    if (p.split_above != 0) limit = std::min<std::size_t>(limit, p.split_above);
    if (ip_size(p) <= limit) return;
    if (p.split_above != 0)
        split_ipv6(lane, p, limit);
    else if (may_be_split(p))
        split_ipv4(lane, p, limit);
    else  // may_pass() has refused it, unless a rewrite made it longer since
        p.drop = Drop::TooBig;
}

/// A further fragment of p for the outbox: `head`, and `part` behind it, of which `head` says what
/// it is. False if there is no buffer: the receiver gives up on the packet, the sender repeats it.
bool Forward::send_fragment(Lane& lane, const Packet& p, std::span<const std::uint8_t> head,
                            std::span<const std::uint8_t> part) noexcept {
    rte_mbuf* m = rte_pktmbuf_alloc(lane.pool);
    if (m == nullptr) return false;
    const auto room = room_of(m);
    const std::size_t size = kEthernet + head.size() + part.size();
    if (room.size() < size) {
        rte_pktmbuf_free(m);
        return false;
    }
    std::memcpy(room.data(), p.data, kEthernet);
    std::memcpy(room.data() + kEthernet, head.data(), head.size());
    std::memcpy(room.data() + kEthernet + head.size(), part.data(), part.size());
    send_frame(lane, m, size, p.out_port);
    return true;
}

/// RFC 791 3.2: p becomes its first fragment; the others leave by the outbox.
void Forward::split_ipv4(Lane& lane, Packet& p, std::size_t limit) noexcept {
    std::uint8_t* const at = p.data + kEthernet;
    const auto whole = ct::load<ct::Ipv4Header>(at);
    const std::size_t head = whole.header_bytes();
    const std::span<const std::uint8_t> payload{at + head, ip_size(p) - head};
    std::array<std::uint8_t, 40> options{};
    const std::size_t options_size =
        copied_options({at + sizeof whole, head - sizeof whole}, options);
    const std::size_t first_size = (limit - head) & ~std::size_t{7};
    const std::size_t fragment_head = sizeof whole + options_size;
    const std::size_t step = (limit - fragment_head) & ~std::size_t{7};
    std::array<std::uint8_t, sizeof whole + 40> header{};
    std::memcpy(header.data() + sizeof whole, options.data(), options_size);

    for (std::size_t done = first_size; done < payload.size(); done += step) {
        const std::size_t size = std::min(step, payload.size() - done);
        ct::Ipv4Header ip = whole;
        ip.version_ihl = static_cast<std::uint8_t>(0x40U | fragment_head / 4);
        ip.total_length = Be16::from_host(static_cast<std::uint16_t>(fragment_head + size));
        const bool more = done + size < payload.size() || whole.more_fragments();
        const std::size_t offset = whole.fragment_offset() + done;
        ip.flags_offset = Be16::from_host(static_cast<std::uint16_t>(
            offset / 8 | (more ? std::size_t{ct::Ipv4Header::kMoreFragments} : 0)));
        put_header(header.data(), ip);
        if (!send_fragment(lane, p, {header.data(), fragment_head}, payload.subspan(done, size)))
            break;
    }

    ct::Ipv4Header ip = whole;
    ip.total_length = Be16::from_host(static_cast<std::uint16_t>(head + first_size));
    ip.flags_offset = Be16::from_host(
        static_cast<std::uint16_t>(whole.flags_offset.host() | ct::Ipv4Header::kMoreFragments));
    put_header(at, ip);
    p.end = static_cast<std::uint32_t>(kEthernet + head + first_size);
    p.length = p.end;
}

/// RFC 7915 4, RFC 8200 4.5: the same for a packet that was IPv4 and has a fragment header.
void Forward::split_ipv6(Lane& lane, Packet& p, std::size_t limit) noexcept {
    constexpr std::size_t kHead = sizeof(ct::Ipv6Header) + sizeof(ct::Ipv6Fragment);
    std::uint8_t* const at = p.data + kEthernet;
    const auto whole = ct::load<ct::Ipv6Header>(at);
    const auto fragment = ct::load<ct::Ipv6Fragment>(at + sizeof whole);
    const std::span<const std::uint8_t> payload{at + kHead, ip_size(p) - kHead};
    const std::size_t step = (limit - kHead) & ~std::size_t{7};
    const auto put = [&](std::uint8_t* to, std::size_t done, std::size_t size) {
        ct::Ipv6Header ip = whole;
        ip.payload_length =
            Be16::from_host(static_cast<std::uint16_t>(sizeof(ct::Ipv6Fragment) + size));
        ct::Ipv6Fragment part = fragment;
        const bool more = done + size < payload.size() || fragment.more_fragments();
        const std::size_t offset = fragment.fragment_offset() + done;
        part.offset_flags = Be16::from_host(static_cast<std::uint16_t>(offset | (more ? 1U : 0U)));
        ct::store(to, ip);
        ct::store(to + sizeof ip, part);
    };
    for (std::size_t done = step; done < payload.size(); done += step) {
        const std::size_t size = std::min(step, payload.size() - done);
        std::array<std::uint8_t, kHead> header{};
        put(header.data(), done, size);
        if (!send_fragment(lane, p, header, payload.subspan(done, size))) break;
    }
    put(at, 0, step);
    p.end = static_cast<std::uint32_t>(kEthernet + kHead + step);
    p.length = p.end;
}

void Forward::tick(ct::WorkerId w, ct::Nanos now) noexcept {
    if (now < next_tick_) return;
    next_tick_ = now + kSweepPeriod;
    Lane& lane = lanes_[w];
    duties_.clear();
    static_cast<void>(neighbours_.sweep(now, duties_.capacity(), duties_));
    for (const NeighbourDuty& duty : duties_) {
        switch (duty.what) {
            case NeighbourDuty::What::Ask:
                ask(lane, duty.key, nullptr);
                break;
            case NeighbourDuty::What::Verify:
                ask(lane, duty.key, &duty.mac);
                break;
            case NeighbourDuty::What::GiveUp:
                give_up(lane, duty.waiting, now);
                break;
        }
    }
}

}  // namespace dp
