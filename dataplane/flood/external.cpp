// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/flood/external.hpp"

#include "ct/wire/headers.hpp"
#include "dataplane/clock.hpp"
#include "dataplane/control/notation.hpp"
#include "dataplane/eal.hpp"
#include "dataplane/ports.hpp"

#include <fmt/format.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include <algorithm>
#include <arpa/inet.h>
#include <array>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <unistd.h>

namespace dp::flood {

namespace {

constexpr std::uint16_t kBurst = 32;
constexpr ct::Nanos kArpEvery = 200'000'000;     // 0.2 s
constexpr ct::Nanos kArpLimit = 10'000'000'000;  // 10 s
constexpr ct::Nanos kSetupLimit = 60'000'000'000;
constexpr ct::Nanos kSampleEvery = 500'000'000;
constexpr ct::Nanos kSettle = 500'000'000;  // for what is still under way at the end

// An ARP packet for Ethernet and IPv4 (RFC 826), behind its Ethernet header.
constexpr std::size_t kArpFrame = 42;
constexpr std::size_t kArpOperation = 20;
constexpr std::size_t kArpSender = 22;  // MAC, then IPv4 address
constexpr std::size_t kArpTarget = 32;
constexpr std::uint16_t kMinFrame = 60;
constexpr std::uint8_t kRequest = 1;
constexpr std::uint8_t kReply = 2;

/// As config_text() of the in-process run, for opening two devices.
std::string config_text(const Options& o) {
    return fmt::format(R"(
[dataplane]
workers = 1
[[port]]
name = "clients"
device = "{}"
addresses = ["198.18.255.253/16"]
promiscuous = true
[[port]]
name = "servers"
device = "{}"
addresses = ["198.19.255.253/16"]
promiscuous = true
)",
                       o.client_device, o.server_device);
}

std::uint32_t ipv4(const std::string& text) {
    in_addr a{};
    if (inet_pton(AF_INET, text.c_str(), &a) != 1)
        throw std::runtime_error{"'" + text + "' is no IPv4 address"};
    return ntohl(a.s_addr);
}

/// One device and what is behind it.
struct End {
    Side side = Side::Client;
    std::uint16_t device = 0;
    MacAddress mac{};
    std::uint32_t own = 0;
    std::uint32_t gateway = 0;
    std::optional<MacAddress> gateway_mac;
};

class External {
public:
    External(const Options& o, const Config& config, rte_mempool* pool)
        : options_{o},
          pool_{pool},
          client_port_{0, config.ports[0], config.dataplane, 1, pool},
          server_port_{1, config.ports[1], config.dataplane, 1, pool} {
        client_port_.start();
        server_port_.start();
        ends_[0] = {Side::Client, client_port_.device(),  client_port_.link().mac,
                    0xc612'fffd,  ipv4(o.client_gateway), {}};
        ends_[1] = {Side::Server, server_port_.device(),  server_port_.link().mac,
                    0xc613'fffd,  ipv4(o.server_gateway), {}};
        find_gateways();
        generators_.push_back(
            std::make_unique<Generator>(o.plan, FrameMaker{ends_[0].mac, *ends_[0].gateway_mac},
                                        FrameMaker{ends_[1].mac, *ends_[1].gateway_mac}));
    }

    Result run(std::stop_token stop) {
        Generator& g = *generators_.front();
        const auto spin_until = [&](ct::Nanos limit, auto&& done) {
            while (!done() && clock_.now() < limit && !stop.stop_requested()) turn();
            return done();
        };
        const auto never = [] { return false; };
        Result r;
        if (!spin_until(clock_.now() + kSetupLimit, [&] { return g.set_up(); }) &&
            !stop.stop_requested())
            throw std::runtime_error{"the gateway did not let the established connections through"};
        r.established_before = options_.plan.established;
        g.set_phase(Generator::Phase::Run);
        flood(r, stop);
        g.set_phase(Generator::Phase::Drain);
        spin_until(clock_.now() + 4 * options_.plan.rtt + kSettle, never);
        g.set_phase(Generator::Phase::Probe);
        spin_until(clock_.now() + kSetupLimit, [&] { return g.probed(); });
        spin_until(clock_.now() + kSettle, never);
        r.established_lost = g.unanswered_probes();
        r.total = totals_;
        // A frame counts here as in if the gateway sent it, as out if it went to the gateway; what
        // the gateway kept is the difference and its own counters say why.
        r.generators = totals_of(generators_);
        return r;
    }

private:
    void flood(Result& r, std::stop_token stop) {
        LiveView view{isatty(STDOUT_FILENO) != 0 && !options_.plain};
        const ct::Nanos start = clock_.now();
        const ct::Nanos end = start + options_.seconds * ct::kNanosPerSecond;
        const auto sample = [&] {
            Sample s;
            s.seconds = static_cast<double>(clock_.now() - start) / 1e9;
            s.packets = totals_;
            s.generators = totals_of(generators_);
            return s;
        };
        r.begin = r.end = sample();
        for (ct::Nanos next = start + kSampleEvery; !stop.stop_requested(); next += kSampleEvery) {
            while (clock_.now() < std::min(next, end) && !stop.stop_requested()) turn();
            const Sample now = sample();
            view.show(r.end, now, 0);
            r.mpps.push_back(mpps(r.end, now));
            r.end = now;
            if (clock_.now() >= end) break;
        }
    }

    void find_gateways() {
        const ct::Nanos limit = clock_.now() + kArpLimit;
        ct::Nanos next = 0;
        while (!ends_[0].gateway_mac || !ends_[1].gateway_mac) {
            const ct::Nanos now = clock_.now();
            if (now > limit)
                throw std::runtime_error{
                    fmt::format("no answer to ARP from {} or {}; is the gateway up?",
                                options_.client_gateway, options_.server_gateway)};
            if (now >= next) {
                next = now + kArpEvery;
                for (const End& e : ends_)
                    if (!e.gateway_mac)
                        send_arp(e, kRequest, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, e.own,
                                 e.gateway);
            }
            for (End& e : ends_) receive(e, now);
        }
    }

    void turn() {
        const ct::Nanos now = clock_.now();
        for (End& e : ends_) {
            receive(e, now);
            transmit(e, now);
        }
    }

    void transmit(const End& e, ct::Nanos now) {
        std::array<rte_mbuf*, kBurst> pkts{};
        if (rte_pktmbuf_alloc_bulk(pool_, pkts.data(), kBurst) != 0) return;
        std::uint16_t n = 0;
        generators_.front()->fill(
            e.side, kBurst, now, [&](const TcpFields& f, const FrameMaker& maker) {
                rte_mbuf* m = pkts[n++];
                m->data_len = maker.write(rte_pktmbuf_mtod(m, std::uint8_t*), f);
                m->pkt_len = m->data_len;
            });
        send(e, {pkts.data(), n});
        rte_pktmbuf_free_bulk(pkts.data() + n, kBurst - n);
    }

    void send(const End& e, std::span<rte_mbuf*> pkts) {
        for (const rte_mbuf* m : pkts) totals_.tx_bytes += m->pkt_len;
        std::size_t sent = 0;
        // A flood waits for the device; a packet of a connection must not be lost here.
        while (sent < pkts.size())
            sent += rte_eth_tx_burst(e.device, 0, pkts.data() + sent,
                                     static_cast<std::uint16_t>(pkts.size() - sent));
        totals_.tx_packets += sent;
    }

    void receive(End& e, ct::Nanos now) {
        std::array<rte_mbuf*, kBurst> pkts{};
        const std::uint16_t n = rte_eth_rx_burst(e.device, 0, pkts.data(), kBurst);
        for (std::uint16_t i = 0; i < n; ++i) {
            const rte_mbuf* m = pkts[i];
            const auto* data = rte_pktmbuf_mtod(m, const std::uint8_t*);
            totals_.rx_packets += 1;
            totals_.rx_bytes += m->pkt_len;
            const bool arp = m->data_len >= kArpFrame && data[12] == 0x08 && data[13] == 0x06;
            if (arp) take_arp(e, data);
            // What the gateway sends towards the servers is seen on the servers' side.
            else if (!generators_.empty())
                generators_.front()->seen(e.side, data, m->data_len, now);
        }
        rte_pktmbuf_free_bulk(pkts.data(), n);
    }

    void take_arp(End& e, const std::uint8_t* data) {
        std::uint32_t sender = 0;
        std::uint32_t target = 0;
        std::memcpy(&sender, data + kArpSender + 6, 4);
        std::memcpy(&target, data + kArpTarget + 6, 4);
        sender = ntohl(sender);
        target = ntohl(target);
        MacAddress mac{};
        std::copy_n(data + kArpSender, mac.size(), mac.begin());
        if (sender == e.gateway) e.gateway_mac = mac;
        if (data[kArpOperation + 1] == kRequest && target != e.gateway && sender != target)
            send_arp(e, kReply, mac, target, sender);
    }

    void send_arp(const End& e, std::uint8_t operation, const MacAddress& to, std::uint32_t sender,
                  std::uint32_t target) {
        rte_mbuf* m = rte_pktmbuf_alloc(pool_);
        if (m == nullptr) return;
        m->data_len = kMinFrame;
        m->pkt_len = kMinFrame;
        auto* out = rte_pktmbuf_mtod(m, std::uint8_t*);
        std::memset(out, 0, kMinFrame);
        std::copy(to.begin(), to.end(), out);
        std::copy(e.mac.begin(), e.mac.end(), out + 6);
        constexpr std::array<std::uint8_t, 9> kHead{0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0};
        std::copy(kHead.begin(), kHead.end(), out + 12);
        out[kArpOperation + 1] = operation;
        std::copy(e.mac.begin(), e.mac.end(), out + kArpSender);
        const std::uint32_t from = htonl(sender);
        const std::uint32_t about = htonl(target);
        std::memcpy(out + kArpSender + 6, &from, 4);
        if (operation == kReply) std::copy(to.begin(), to.end(), out + kArpTarget);
        std::memcpy(out + kArpTarget + 6, &about, 4);
        send(e, {&m, 1});
    }

    const Options& options_;
    rte_mempool* pool_;
    Clock clock_;
    Port client_port_;
    Port server_port_;
    std::array<End, 2> ends_;
    std::vector<std::unique_ptr<Generator>> generators_;  ///< one, once the gateways are known
    Totals totals_;
};

}  // namespace

Result run_external(const Options& o, std::stop_token stop) {
    const Config config = parse_config(config_text(o), "sluice-flood");
    const Placement placement = place(config.dataplane, Topology::here(), {-1, -1});
    const EalPlan plan = plan_eal(config, placement, HugePageStock::here(),
                                  BufferPools::bytes_for(config, 1), o.eal);
    const Eal eal{"sluice-flood", plan};
    const BufferPools pools{config, 1, {-1, -1}};
    Result r = [&] {
        External external{o, config, pools.at(-1)};
        return external.run(stop);
    }();
    r.workers = 1;
    r.worker_busy = 1;
    r.cpu = cpu_name();
    r.mode = o.client_device + " and " + o.server_device;
    r.policy = "the gateway's own";
    r.rss_bytes = resident_bytes();
    r.buffers_returned = pools.in_use() == 0;
    return r;
}

}  // namespace dp::flood
