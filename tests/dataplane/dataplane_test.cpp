// SPDX-License-Identifier: BSD-3-Clause
//
// The whole of it, over ports that need nothing: net_ring carries chosen frames, net_null any
// number of empty ones. Workers run as threads here, as they do in the daemon.
#include "dataplane/dataplane.hpp"

#include "dataplane/log.hpp"
#include "eal.hpp"
#include "topology.hpp"

#include <gtest/gtest.h>
#include <rte_eth_ring.h>
#include <rte_ethdev.h>
#include <rte_ring.h>

#include <chrono>
#include <cstring>
#include <fcntl.h>
#include <functional>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

namespace {

using ct::Drop;
using test::addr;
using test::Bytes;
using test::kLan;
using test::kWan;
using test::PacketBuilder;

/// A port made of two rings: what is put into `in` is received, what is sent comes out of `out`.
class RingPort {
public:
    explicit RingPort(const std::string& name)
        : in{rte_ring_create(("in_" + name).c_str(), 256, -1, 0)},
          out{rte_ring_create(("out_" + name).c_str(), 256, -1, 0)} {
        if (rte_eth_from_rings(name.c_str(), &in, 1, &out, 1, 0) < 0)
            throw std::runtime_error{"net_ring"};
    }
    ~RingPort() {
        rte_ring_free(in);
        rte_ring_free(out);
    }
    RingPort(const RingPort&) = delete;
    RingPort& operator=(const RingPort&) = delete;

    rte_ring* in;
    rte_ring* out;
};

/// True once `condition` holds; gives up after ten seconds.
[[nodiscard]] bool eventually(const std::function<bool()>& condition) {
    for (int i = 0; i < 10'000; ++i) {
        if (condition()) return true;
        std::this_thread::sleep_for(std::chrono::milliseconds{1});
    }
    return false;
}

[[nodiscard]] dp::Placement one_worker() {
    return {.control = {0}, .workers = {0}, .crowded = true, .node = -1, .notes = {}};
}

[[nodiscard]] std::string unique() {
    static int next = 0;
    return "t" + std::to_string(next++);
}

[[nodiscard]] dp::Config ring_config(const std::string& name) {
    dp::Config config = test::two_ports();
    for (dp::PortConfig& port : config.ports) {
        port.device = "net_ring_" + name + port.name;
        port.rx_descriptors = 64;
        port.tx_descriptors = 64;
        port.promiscuous = true;
    }
    nat::Rule masquerade;
    masquerade.chain = nat::Chain::Nat;
    masquerade.action = nat::Action::Masquerade;
    masquerade.match.out_port = kWan;
    config.rules = {masquerade};
    config.neighbours = {{.family = ct::Family::Ipv4,
                          .address = addr("198.51.100.254"),
                          .mac = test::mac("02:bb:00:00:00:fe"),
                          .port = kWan},
                         {.family = ct::Family::Ipv4,
                          .address = addr("192.0.2.7"),
                          .mac = test::mac("02:bb:00:00:00:07"),
                          .port = kLan}};
    return config;
}

class DataplaneOverRings : public testing::Test {
protected:
    DataplaneOverRings() : dataplane_{config_, one_worker()} { dataplane_.start(); }

    void put(RingPort& port, const PacketBuilder& b) {
        rte_mbuf* m = pool_.with(b.build());
        ASSERT_TRUE(eventually([&] { return rte_ring_enqueue(port.in, m) == 0; }));
    }
    /// The next frame that `port` sent, or nothing after a while.
    [[nodiscard]] static Bytes next(RingPort& port) {
        void* m = nullptr;
        if (!eventually([&] { return rte_ring_dequeue(port.out, &m) == 0; })) return {};
        return test::take_bytes(static_cast<rte_mbuf*>(m));
    }

    test::Pool pool_;
    const std::string tag_ = unique();  ///< net_ring keeps names for the life of the process
    RingPort lan_{tag_ + "lan"};
    RingPort wan_{tag_ + "wan"};
    dp::Config config_ = ring_config(tag_);
    dp::Dataplane dataplane_;
};

// Through NAT and back; then the account (I6, I7).
TEST_F(DataplaneOverRings, CarriesAConnectionBothWaysAndEndsClean) {
    put(lan_, PacketBuilder{}.ipv4("192.0.2.7", "203.0.113.5").ttl(9).udp(4000, 53).payload("q"));
    Bytes sent = next(wan_);
    const Bytes expected =
        PacketBuilder{}
            .eth(dp::to_string(dataplane_.port(kWan).link().mac), "02:bb:00:00:00:fe")
            .ipv4("198.51.100.1", "203.0.113.5")
            .ttl(8)
            .udp(4000, 53)
            .payload("q")
            .build();
    EXPECT_EQ(sent, expected);

    put(wan_,
        PacketBuilder{}.ipv4("203.0.113.5", "198.51.100.1").ttl(9).udp(53, 4000).payload("a"));
    EXPECT_EQ(next(lan_),
              PacketBuilder{}
                  .eth(dp::to_string(dataplane_.port(kLan).link().mac), "02:bb:00:00:00:07")
                  .ipv4("203.0.113.5", "192.0.2.7")
                  .ttl(8)
                  .udp(53, 4000)
                  .payload("a")
                  .build());

    EXPECT_EQ(dataplane_.conntrack().count(), 1U);
    dataplane_.stop();
    const dp::Totals t = dataplane_.totals();
    EXPECT_EQ(t.rx_packets, 2U);
    EXPECT_EQ(t.tx_packets, 2U);
    EXPECT_TRUE(t.balanced());
    EXPECT_EQ(dataplane_.port_totals(kLan).rx_packets, 1U);
    EXPECT_EQ(dataplane_.port_totals(kWan).tx_bytes, sent.size());
    EXPECT_EQ(dataplane_.buffers_in_use(), 0U);
}

TEST_F(DataplaneOverRings, AnswersAPing) {
    put(lan_, PacketBuilder{}.ipv4("192.0.2.7", "192.0.2.1").echo(5).payload("ping"));

    const Bytes reply = next(lan_);

    ASSERT_GT(reply.size(), 34U);
    EXPECT_EQ(reply[34], ct::icmp::kEchoReply);
    dataplane_.stop();
    const dp::Totals t = dataplane_.totals();
    EXPECT_EQ(t.local_made, 1U);
    EXPECT_EQ(t.drops[ct::index_of(Drop::LocalConsumed)], 1U);
    EXPECT_TRUE(t.balanced());
}

[[nodiscard]] PacketBuilder who_has(const char* ip) {
    return PacketBuilder{}.eth("02:bb:00:00:00:09", "ff:ff:ff:ff:ff:ff").arp(1, "198.51.100.9", ip);
}

// `sluicectl address`, while the worker runs.
TEST_F(DataplaneOverRings, AddressesOfAPortComeAndGo) {
    const auto from_lan = [&](std::uint16_t port) {
        put(lan_, PacketBuilder{}.ipv4("192.0.2.7", "203.0.113.5").udp(port, 53).payload("q"));
    };
    const auto source = [](const Bytes& frame) {
        return Bytes(frame.begin() + 26, frame.begin() + 30);
    };
    from_lan(4000);
    EXPECT_EQ(source(next(wan_)), (Bytes{198, 51, 100, 1}));

    dataplane_.add_address(kWan, test::prefix("198.51.100.77/24"));
    put(wan_, who_has("198.51.100.77"));
    EXPECT_EQ(next(wan_)[21], 2U) << "an ARP reply";
    from_lan(4001);
    EXPECT_EQ(source(next(wan_)), (Bytes{198, 51, 100, 1})) << "still the primary one";

    EXPECT_EQ(dataplane_.remove_address(kWan, test::prefix("198.51.100.1/24")), 2U);
    EXPECT_EQ(dataplane_.conntrack().count(), 0U);
    from_lan(4000);
    EXPECT_EQ(source(next(wan_)), (Bytes{198, 51, 100, 77}));
    put(wan_, who_has("198.51.100.1"));
    EXPECT_TRUE(eventually([&] { return dataplane_.totals().rx_packets == 5; }));
    from_lan(4001);
    EXPECT_EQ(source(next(wan_)), (Bytes{198, 51, 100, 77})) << "and no ARP reply before it";

    EXPECT_EQ(dataplane_.remove_address(kWan, test::prefix("198.51.100.77/24")), 2U);
    from_lan(4002);
    EXPECT_TRUE(eventually(
        [&] { return dataplane_.totals().drops[ct::index_of(Drop::NatNoAddress)] == 1; }));

    dataplane_.add_address(kWan, test::prefix("198.51.100.1/24"));
    from_lan(4003);
    EXPECT_EQ(source(next(wan_)), (Bytes{198, 51, 100, 1}));
    dataplane_.stop();
    EXPECT_TRUE(dataplane_.totals().balanced());
    EXPECT_EQ(dataplane_.buffers_in_use(), 0U);
}

// Nothing is lost, made twice or read after it was freed while routes are replaced under traffic.
TEST_F(DataplaneOverRings, AddressesChangeUnderTraffic) {
    std::uint64_t sent = 0;
    std::uint64_t came = 0;
    for (unsigned round = 0; round < 20; ++round) {
        for (unsigned n = 0; n < 8; ++n, ++sent)
            put(lan_, PacketBuilder{}
                          .ipv4("192.0.2.7", "203.0.113.5")
                          .udp(static_cast<std::uint16_t>(4000 + sent % 100), 53));
        if (round % 2 == 0)
            dataplane_.add_address(kWan, test::prefix("198.51.100.77/24"));
        else
            EXPECT_EQ(dataplane_.remove_address(kWan, test::prefix("198.51.100.77/24")), 0U);
        void* m = nullptr;
        EXPECT_TRUE(eventually([&] {
            while (rte_ring_dequeue(wan_.out, &m) == 0) {
                rte_pktmbuf_free(static_cast<rte_mbuf*>(m));
                ++came;
            }
            return came == sent;
        }));
    }
    dataplane_.stop();
    EXPECT_TRUE(dataplane_.totals().balanced());
    EXPECT_EQ(dataplane_.totals().dropped(), 0U);
    EXPECT_EQ(dataplane_.buffers_in_use(), 0U);
}

// The error about a translated packet reaches the one who sent it.
TEST_F(DataplaneOverRings, TellsTheSenderBehindNatThatTheTtlHasEnded) {
    put(lan_, PacketBuilder{}.ipv4("192.0.2.7", "203.0.113.5").ttl(1).udp(4000, 33434));

    Bytes error = next(lan_);

    ct::Packet p;
    p.data = error.data();
    p.length = static_cast<std::uint32_t>(error.size());
    ASSERT_EQ(ct::parse(p, {}), Drop::None);
    EXPECT_EQ(p.message_type, ct::icmp::kTimeExceeded);
    EXPECT_EQ(p.tuple.dst, addr("192.0.2.7"));
    EXPECT_EQ(p.inner.src, addr("192.0.2.7")) << "as the sender made it";
    EXPECT_EQ(dataplane_.conntrack().count(), 0U) << "it opened nothing";
}

TEST_F(DataplaneOverRings, WhatWaitsAtTheEndIsCountedAsStopped) {
    put(wan_, PacketBuilder{}.ipv4("203.0.113.5", "192.0.2.99").udp(1, 2));
    ASSERT_FALSE(next(lan_).empty()) << "the question for 192.0.2.99";

    dataplane_.stop();

    const dp::Totals t = dataplane_.totals();
    EXPECT_EQ(t.drops[ct::index_of(Drop::Stopped)], 1U);
    EXPECT_EQ(t.held(), 0U);
    EXPECT_TRUE(t.balanced());
    EXPECT_EQ(dataplane_.buffers_in_use(), 0U);
}

TEST_F(DataplaneOverRings, FullTransmitQueueIsADropWithAReason) {
    for (int i = 0; i < 300; ++i)
        put(lan_, PacketBuilder{}.ipv4("192.0.2.7", "203.0.113.5").udp(4000, 53));
    ASSERT_TRUE(eventually([&] {
        const dp::Totals t = dataplane_.totals();
        return t.tx_packets + t.dropped() == 300;
    }));

    // A ring of 256 holds 255.
    const dp::Totals t = dataplane_.totals();
    EXPECT_EQ(t.tx_packets, 255U);
    EXPECT_EQ(t.drops[ct::index_of(Drop::TxFull)], 45U);
    EXPECT_EQ(dataplane_.port_totals(kWan).tx_full, 45U);
    void* m = nullptr;
    while (rte_ring_dequeue(wan_.out, &m) == 0) rte_pktmbuf_free(static_cast<rte_mbuf*>(m));
}

TEST(DataplaneOverNull, CountsEveryPacketAndLosesNoBuffer) {
    dp::Config config = test::two_ports();
    config.ports[kLan].device = "net_null_tlan";
    config.ports[kWan].device = "net_null_twan";
    dp::Dataplane dataplane{config, one_worker()};

    dataplane.start();
    EXPECT_TRUE(eventually([&] { return dataplane.totals().rx_packets > 10'000; }));
    dataplane.stop();

    const dp::Totals t = dataplane.totals();
    EXPECT_TRUE(t.balanced());
    EXPECT_GT(t.dropped(), 0U) << "net_null's frames are empty";
    EXPECT_EQ(dataplane.buffers_in_use(), 0U);
}

TEST(DataplaneOverNull, TwoWorkersShareTheQueues) {
    dp::Config config = test::two_ports();
    config.ports[kLan].device = "net_null_ulan";
    config.ports[kWan].device = "net_null_uwan";
    config.ports[kWan].queues = 1;
    dp::Placement placement = one_worker();
    placement.workers = {0, 0};
    dp::Dataplane dataplane{config, placement};

    EXPECT_EQ(dataplane.port(kLan).queues(), 2);
    EXPECT_EQ(dataplane.port(kLan).tx_lock(0), nullptr);
    EXPECT_NE(dataplane.port(kWan).tx_lock(0), nullptr) << "one queue for two workers";
    dataplane.start();
    EXPECT_TRUE(eventually([&] {
        return dataplane.totals(0).rx_packets > 1000 && dataplane.totals(1).rx_packets > 1000;
    }));
    dataplane.stop();

    EXPECT_TRUE(dataplane.totals().balanced());
    EXPECT_EQ(dataplane.buffers_in_use(), 0U);
}

/// A network namespace of this thread's own while it lives, so that interfaces made by the test
/// disturb nobody.
class OwnNetwork {
public:
    OwnNetwork() : before_{open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)} {
        entered_ = before_ >= 0 && unshare(CLONE_NEWNET) == 0;
    }
    ~OwnNetwork() {
        if (entered_) static_cast<void>(setns(before_, CLONE_NEWNET));
        if (before_ >= 0) close(before_);
    }
    OwnNetwork(const OwnNetwork&) = delete;
    OwnNetwork& operator=(const OwnNetwork&) = delete;

    [[nodiscard]] bool entered() const { return entered_; }

private:
    int before_;
    bool entered_ = false;
};

/// The MAC of interface `name`.
[[nodiscard]] dp::MacAddress mac_of_interface(const char* name) {
    dp::MacAddress mac{};
    ifreq request{};
    std::strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(ioctl(fd, SIOCGIFHWADDR, &request), 0) << name;
    close(fd);
    std::memcpy(mac.data(), request.ifr_hwaddr.sa_data, mac.size());
    return mac;
}

// net_tap would give both ends of the wire one MAC, and a host there would answer itself.
TEST(DataplaneOverTap, HasAnotherMacThanTheKernelsEnd) {
    const OwnNetwork network;
    if (!network.entered()) GTEST_SKIP() << "needs the right to make a network namespace";
    if (access("/dev/net/tun", R_OK | W_OK) != 0) GTEST_SKIP() << "this kernel has no tun";
    dp::Config config = test::two_ports();
    config.ports[kLan].device = "net_tap_tlan,iface=tlan";
    config.ports[kWan].device = "net_tap_twan,iface=twan";
    config.ports[kWan].mac = test::mac("02:00:00:00:00:77");
    dp::Dataplane dataplane{config, one_worker()};

    dataplane.start();

    EXPECT_NE(dataplane.port(kLan).link().mac, mac_of_interface("tlan"));
    EXPECT_EQ(dataplane.port(kWan).link().mac, test::mac("02:00:00:00:00:77"));
    EXPECT_NE(mac_of_interface("twan"), test::mac("02:00:00:00:00:77"));
    dataplane.stop();
    EXPECT_TRUE(dataplane.totals().balanced());
    EXPECT_EQ(dataplane.buffers_in_use(), 0U);
}

TEST(DataplaneErrors, NameThePortAndTheDevice) {
    dp::Config config = test::two_ports();
    config.ports[kLan].device = "net_null_vlan";
    config.ports[kWan].device = "net_nonsense0";

    try {
        const dp::Dataplane dataplane{config, one_worker()};
        FAIL();
    } catch (const std::runtime_error& e) {
        const std::string_view what{e.what()};
        EXPECT_NE(what.find("port wan"), std::string_view::npos) << what;
        EXPECT_NE(what.find("net_nonsense0"), std::string_view::npos) << what;
    }
}

// Linux's net_ratelimit: 10 at once, then one more in each half second.
TEST(LogLimit, AdmitsABurstAndThenARate) {
    dp::LogLimit limit;
    std::uint64_t now = 1'000'000'000'000;

    EXPECT_EQ(limit.admit(3, now), 3U);
    EXPECT_EQ(limit.admit(100, now), 7U);
    EXPECT_EQ(limit.admit(1, now), 0U);
    now += 1'000'000'000;
    EXPECT_EQ(limit.admit(100, now), 2U);
    now += 3'600'000'000'000;
    EXPECT_EQ(limit.admit(100, now), 10U);
}

}  // namespace
