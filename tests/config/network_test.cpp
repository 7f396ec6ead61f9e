// SPDX-License-Identifier: BSD-3-Clause
//
// [[port]], [[route]] and [[neighbour]] that are right.
#include "tests/config/support.hpp"

#include <gtest/gtest.h>

namespace dp::test {
namespace {

TEST(Port, TakesEveryKey) {
    const Config c = parse(R"(
[[port]]
name = "wan"
device = "net_tap0,iface=wan"
addresses = ["192.0.2.1/24", "2001:db8::1/64", "198.51.100.1/24"]
mac = "02:00:00:00:00:01"
queues = 4
rx_descriptors = 512
tx_descriptors = 256
mtu = 9000
promiscuous = true
)");

    ASSERT_EQ(c.ports.size(), 1U);
    const PortConfig& p = c.ports[0];
    EXPECT_EQ(p.name, "wan");
    EXPECT_EQ(p.device, "net_tap0,iface=wan");
    EXPECT_FALSE(p.pci);
    EXPECT_EQ(p.addresses.size(), 3U);
    EXPECT_EQ(p.mac, (MacAddress{2, 0, 0, 0, 0, 1}));
    EXPECT_EQ(p.queues, 4);
    EXPECT_EQ(p.rx_descriptors, 512);
    EXPECT_EQ(p.tx_descriptors, 256);
    EXPECT_EQ(p.mtu, 9000);
    EXPECT_TRUE(p.promiscuous);
    EXPECT_EQ(p.peer, ct::kNoPort);
    EXPECT_EQ(p.line, 2);
}

TEST(Port, KeepsHostBitsAndKnowsItsSubnet) {
    const Config c = with_ports("");

    EXPECT_EQ(to_string(c.ports[0].addresses[0].prefix), "192.168.1.1/24");
    EXPECT_EQ(to_string(c.ports[0].addresses[0].subnet()), "192.168.1.0/24");
}

TEST(Port, HasAPrimaryAddressForEachFamily) {
    const Config c = parse(
        "[[port]]\nname = \"a\"\ndevice = \"net_null0\"\n"
        "addresses = [\"192.0.2.1/24\", \"192.0.2.2/24\"]\n");

    ASSERT_NE(c.ports[0].primary(ct::Family::Ipv4), nullptr);
    EXPECT_EQ(to_string(c.ports[0].primary(ct::Family::Ipv4)->prefix), "192.0.2.1/24");
    EXPECT_EQ(c.ports[0].primary(ct::Family::Ipv6), nullptr);
}

TEST(Port, IsFoundByItsName) {
    const Config c = with_ports("");

    EXPECT_EQ(c.find_port("lan"), 0);
    EXPECT_EQ(c.find_port("wan"), 1);
    EXPECT_EQ(c.find_port("dmz"), ct::kNoPort);
    EXPECT_EQ(c.find_port(""), ct::kNoPort);
}

TEST(Port, MayBeAnyDeviceOfDpdk) {
    for (const char* device : {"net_null0", "net_pcap0,rx_pcap=a.pcap,tx_pcap=b.pcap", "net_ring1",
                               "net_af_packet0,iface=eth0", "virtio_user0,path=/dev/vhost-net"}) {
        const Config c =
            parse(std::string{"[[port]]\nname = \"a\"\ndevice = \""} + device + "\"\n");
        EXPECT_EQ(c.ports[0].device, device);
        EXPECT_FALSE(c.ports[0].pci);
    }
    const Config c = parse("[[port]]\nname = \"a\"\ndevice = \"01:00.0\"\n");
    EXPECT_EQ(c.ports[0].device, "0000:01:00.0");
    EXPECT_TRUE(c.ports[0].pci);
}

TEST(Port, MayShareTheLinkLocalSubnet) {
    EXPECT_TRUE(mistakes(R"(
[[port]]
name = "a"
device = "net_null0"
addresses = ["fe80::1/64"]
[[port]]
name = "b"
device = "net_null1"
addresses = ["fe80::1/64"]
)")
                    .empty());
}

TEST(Port, MayHaveBothEndsOfAPointToPointSubnet) {  // RFC 3021
    EXPECT_TRUE(mistakes("[[port]]\nname = \"a\"\ndevice = \"net_null0\"\n"
                         "addresses = [\"192.0.2.0/31\", \"192.0.2.255/32\"]\n")
                    .empty());
}

TEST(Wire, PairsPortsThatNameOneAnother) {
    const Config c = parse(R"(
[dataplane]
mode = "wire"
[[port]]
name = "a"
device = "net_null0"
peer = "b"
[[port]]
name = "b"
device = "net_null1"
peer = "a"
)");

    EXPECT_EQ(c.dataplane.mode, Mode::Wire);
    EXPECT_EQ(c.ports[0].peer, 1);
    EXPECT_EQ(c.ports[1].peer, 0);
}

TEST(Route, FindsItsPortByItsGateway) {
    const Config c = with_ports("[[route]]\nto = \"0.0.0.0/0\"\nvia = \"203.0.113.254\"\n");

    ASSERT_EQ(c.routes.size(), 1U);
    EXPECT_EQ(c.routes[0].port, 1);
    EXPECT_EQ(to_string(c.routes[0].to), "0.0.0.0/0");
    EXPECT_EQ(c.routes[0].via, addr("203.0.113.254"));
    EXPECT_EQ(c.routes[0].line, 3);
}

TEST(Route, MayLieOnTheLink) {
    const Config c = with_ports("[[route]]\nto = \"198.51.100.0/24\"\nport = \"lan\"\n");

    EXPECT_EQ(c.routes[0].port, 0);
    EXPECT_FALSE(c.routes[0].via);
}

TEST(Route, MayLeadNowhere) {
    const Config c = with_ports("[[route]]\nto = \"192.0.2.0/26\"\nblackhole = true\n");

    EXPECT_EQ(c.routes.at(0).port, ct::kNoPort);
    EXPECT_NE(describe(c).find("\nroute 192.0.2.0/26 is a blackhole\n"), std::string::npos);
}

TEST(Route, MayHaveALinkLocalGatewayWhereThePortIsNamed) {
    const Config c = with_ports("[[route]]\nto = \"::/0\"\nvia = \"fe80::1\"\nport = \"wan\"\n");

    EXPECT_EQ(c.routes[0].port, 1);
    EXPECT_EQ(c.routes[0].via, addr("fe80::1"));
}

TEST(Neighbour, HasAnAddressAMacAndAPort) {
    const Config c = with_ports(
        "[[neighbour]]\naddress = \"203.0.113.9\"\nmac = \"02:00:00:00:00:09\"\nport = \"wan\"\n");

    ASSERT_EQ(c.neighbours.size(), 1U);
    EXPECT_EQ(c.neighbours[0].family, ct::Family::Ipv4);
    EXPECT_EQ(c.neighbours[0].address, addr("203.0.113.9"));
    EXPECT_EQ(c.neighbours[0].mac, (MacAddress{2, 0, 0, 0, 0, 9}));
    EXPECT_EQ(c.neighbours[0].port, 1);
}

TEST(Description, SaysWhatWasUnderstood) {
    const std::string text = describe(with_ports(R"(
[dataplane]
workers = [2, 3]
[[route]]
to = "0.0.0.0/0"
via = "203.0.113.254"
[[neighbour]]
address = "203.0.113.254"
mac = "02:00:00:00:00:09"
port = "wan"
[[rule]]
chain = "nat"
out = "wan"
action = "masquerade"
)"));

    EXPECT_EQ(text,
              "configuration test.toml: mode router, workers 2 on cores 2,3, burst 32, huge pages "
              "auto\n"
              "port lan: device net_null0, mtu 1500, queues auto, 192.168.1.1/24, fd00:1::1/64\n"
              "port wan: device net_null1, mtu 1500, queues auto, 203.0.113.1/24, "
              "2001:db8:2::1/64\n"
              "conntrack: max 262144, buckets auto, overflow embryonic-oldest, embryonic up to 75 "
              "%\n"
              "rules: 1, filter policy accept\n"
              "route 0.0.0.0/0 via 203.0.113.254 port wan\n"
              "neighbour 203.0.113.254 is 02:00:00:00:00:09 on port wan\n"
              "control: /run/sluice.sock, mode 0600\n");
}

}  // namespace
}  // namespace dp::test
