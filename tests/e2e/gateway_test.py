#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""configs/nat-gateway.toml at work: real clients behind it, a real server before it.

With `--router kernel`, Linux stands in Sluice's place and the same tests must pass.
"""

import json
import os
import re
import sys
import time
from dataclasses import replace

import bench_net
from bench_net import KernelRouter, SluiceRouter, Station
from case import LabCase, main

CLIENT, CLIENT6 = "192.168.1.2", "fd00:1::2"
SERVER, SERVER6 = "203.0.113.2", "2001:db8:2::2"
OUTSIDE, OUTSIDE6 = "203.0.113.1", "2001:db8:2::1"
STREAM_SIZE = int(os.environ.get("SLUICE_E2E_STREAM", 1 << 30))  # bytes
ROUTER = "sluice"

# The server has no route but to its own links: what is not translated is not answered.
STATIONS = [
    Station("lan", "client", [f"{CLIENT}/24", f"{CLIENT6}/64"],
            [("default", "192.168.1.1"), ("default", "fd00:1::1")]),
    Station("wan", "server", [f"{SERVER}/24", f"{SERVER6}/64"]),
]

NFT = """
table inet gateway {
    chain pre {
        type nat hook prerouting priority dstnat;
        iifname wan ip daddr 203.0.113.1 tcp dport 8080 dnat ip to 192.168.1.2:80
        iifname wan ip6 daddr 2001:db8:2::1 tcp dport 8080 dnat ip6 to [fd00:1::2]:80
    }
    chain post {
        type nat hook postrouting priority srcnat;
        oifname wan ip saddr 192.168.1.0/24 masquerade
        oifname wan ip6 saddr fd00:1::/64 masquerade
    }
}
"""


def gateway(lab, wan_mtu):
    stations = [STATIONS[0], replace(STATIONS[1], mtu=wan_mtu)]
    if ROUTER == "kernel":
        return KernelRouter(lab, NFT, stations, {"lan": ["192.168.1.1/24", "fd00:1::1/64"],
                                                 "wan": [f"{OUTSIDE}/24", f"{OUTSIDE6}/64"]})
    config = (bench_net.ROOT / "configs" / "nat-gateway.toml").read_text()
    if wan_mtu != 1500:
        config = config.replace('name = "wan"\n', f'name = "wan"\nmtu = {wan_mtu}\n', 1)
    return SluiceRouter(lab, config, stations)


class GatewayCase(LabCase):
    wan_mtu = 1500

    @classmethod
    def lay_out(cls):
        cls.router = gateway(cls.lab, cls.wan_mtu)
        cls.client, cls.server = cls.router.hosts["client"], cls.router.hosts["server"]

    def curl(self, host, url, **options):
        return host.run("curl", "-sS", "--fail", "--max-time", 10, url, **options).stdout


class Ping(GatewayCase):
    def test_echo_reaches_the_server_under_the_gateways_address(self):
        self.client.run("ping", "-n", "-c", 3, "-i", 0.2, "-W", 2, SERVER)

        entry = self.entry("-p", "icmp", "-s", CLIENT)
        self.assertEqual(entry["original"]["dst"], SERVER)
        self.assertEqual(entry["reply"], {"src": SERVER, "dst": OUTSIDE, "type": "0", "code": "0",
                                          "id": entry["original"]["id"]})
        self.assertLessEqual(entry["timeout"], 30)
        self.assertNotIn("UNREPLIED", entry["flags"])

    def test_echo_over_ipv6(self):
        self.client.run("ping", "-6", "-n", "-c", 3, "-i", 0.2, "-W", 2, SERVER6)

        entry = self.entry("-f", "ipv6", "-p", "icmpv6", "-s", CLIENT6)
        self.assertEqual(entry["reply"]["dst"], OUTSIDE6)
        self.assertEqual((entry["original"]["type"], entry["reply"]["type"]), ("128", "129"))

    def test_the_gateway_answers_echo_itself_on_both_sides(self):
        self.client.run("ping", "-n", "-c", 1, "-W", 2, "192.168.1.1")
        self.client.run("ping", "-6", "-n", "-c", 1, "-W", 2, "fd00:1::1")
        self.server.run("ping", "-n", "-c", 1, "-W", 2, OUTSIDE)
        self.server.run("ping", "-6", "-n", "-c", 1, "-W", 2, OUTSIDE6)

    def test_a_hop_limit_of_one_ends_at_the_gateway(self):
        for options, target, hop in (([], SERVER, "192.168.1.1"), (["-6"], SERVER6, "fd00:1::1")):
            said = self.client.run("ping", *options, "-n", "-c", 1, "-W", 2, "-t", 1, target,
                                   check=False).stdout
            self.assertRegex(said, rf"(?i)from {hop}.*(time to live exceeded|hop limit)")

    def test_packets_of_a_whole_mtu_pass(self):
        self.client.run("ping", "-n", "-c", 1, "-W", 2, "-M", "do", "-s", 1472, SERVER)
        self.client.run("ping", "-6", "-n", "-c", 1, "-W", 2, "-M", "do", "-s", 1452, SERVER6)

    def test_fragments_pass(self):
        self.client.run("ping", "-n", "-c", 2, "-i", 0.2, "-W", 2, "-s", 4000, SERVER)

    def test_an_icmp_error_finds_the_socket_behind_the_gateway(self):
        for address in (SERVER, SERVER6):
            said = json.loads(self.client.peer("udp-refused", "--address", address,
                                               "--port", 9).stdout)
            self.assertTrue(said["refused"], said)


class Web(GatewayCase):
    def test_the_server_sees_the_gateways_address(self):
        self.server.spawn_peer("serve-http", "--port", 80)

        self.assertEqual(self.curl(self.client, f"http://{SERVER}/"), f"hello {OUTSIDE}\n")
        self.assertEqual(self.curl(self.client, f"http://[{SERVER6}]/"), f"hello {OUTSIDE6}\n")

        entry = self.entry("-p", "tcp", "-s", CLIENT, "--dport", "80")
        self.assertEqual(entry["reply"], {"src": SERVER, "dst": OUTSIDE, "sport": "80",
                                          "dport": entry["original"]["sport"]})
        self.assertEqual(entry["state"], "TIME_WAIT")
        self.assertIn("ASSURED", entry["flags"])
        entry = self.entry("-f", "ipv6", "-p", "tcp", "-s", CLIENT6, "--dport", "80")
        self.assertEqual(entry["reply"]["dst"], OUTSIDE6)

    def test_the_world_reaches_the_server_inside(self):
        self.client.spawn_peer("serve-http", "--port", 80)

        self.assertEqual(self.curl(self.server, f"http://{OUTSIDE}:8080/"), f"hello {SERVER}\n")
        self.assertEqual(self.curl(self.server, f"http://[{OUTSIDE6}]:8080/"), f"hello {SERVER6}\n")

        entry = self.entry("-p", "tcp", "-s", SERVER, "--dport", "8080")
        self.assertEqual(entry["original"]["dst"], OUTSIDE)
        self.assertEqual((entry["reply"]["src"], entry["reply"]["sport"]), (CLIENT, "80"))
        self.assertEqual(entry["reply"]["dst"], SERVER)

    def test_two_hundred_connections_take_two_hundred_ports(self):
        # However slow the machine, the first connection has not expired when the last one is made.
        for state, usual in (("close", 10), ("last_ack", 30), ("close_wait", 60),
                             ("fin_wait", 120), ("time_wait", 120)):
            self.router.set_tcp_timeout(state, 600)
            self.addCleanup(self.router.set_tcp_timeout, state, usual)
        self.server.spawn_peer("serve-http", "--port", 81)
        urls = " ".join(f"http://{SERVER}:81/{n}" for n in range(200))

        said = self.client.run("sh", "-c", f"curl -sS --fail --max-time 30 --no-keepalive -Z "
                               f"--parallel-max 20 -H 'Connection: close' {urls}", timeout=60).stdout

        self.assertEqual(said.count(f"hello {OUTSIDE}\n"), 200)
        lines = self.router.entries("-p", "tcp", "-s", CLIENT, "--dport", "81")
        self.assertEqual(len(lines), 200)
        ports = {re.findall(r"dport=(\d+)", line)[1] for line in lines}
        self.assertEqual(len(ports), 200)


class Throughput(GatewayCase):
    def iperf(self, *options, address=SERVER):
        """Runs iperf3 from client to server; returns its report and the table's lines meanwhile."""
        self.router.control("-F")
        server = self.server.spawn("iperf3", "-s", "-1", "-p", 5201, "--forceflush")
        bench_net.wait_for("iperf3", lambda: server.alive_with("listening"))
        client = self.client.spawn("iperf3", "-J", "-c", address, "-p", 5201, "-t", 2, *options)
        family = ["-f", "ipv6"] if ":" in address else []
        proto = "udp" if "-u" in options else "tcp"
        time.sleep(1)
        entries = self.router.entries(*family, "-p", proto, "--dport", "5201")
        self.assertEqual(client.wait(30), 0, client.output)
        server.wait(10)
        return json.loads(client.output)["end"], entries

    def test_tcp_both_ways_over_both_families(self):
        for address, outside in ((SERVER, OUTSIDE), (SERVER6, OUTSIDE6)):
            for options in ([], ["-R"]):
                end, entries = self.iperf(*options, address=address)
                self.assertGreater(end["sum_received"]["bits_per_second"], 10e6)
                self.assertEqual(len(entries), 2, entries)  # control and data
                for line in entries:
                    self.assertIn(f"dst={outside} ", line)
                    self.assertIn("ESTABLISHED", line)
                    self.assertIn("[ASSURED]", line)

    def test_udp_over_both_families(self):
        for address, outside in ((SERVER, OUTSIDE), (SERVER6, OUTSIDE6)):
            end, entries = self.iperf("-u", "-b", "20M", "-l", "1200", address=address)
            self.assertLess(end["sum"]["lost_percent"], 5)
            self.assertEqual(len(entries), 1, entries)
            self.assertIn(f"dst={outside} ", entries[0])

    def test_a_gigabyte_arrives_intact(self):
        server = self.server.spawn_peer("serve-stream", "--port", 9000, "--size", STREAM_SIZE)

        got = json.loads(self.client.peer("fetch-stream", "--address", SERVER, "--port", 9000,
                                          timeout=180).stdout)

        server.wait(30)
        sent = json.loads(server.output.splitlines()[-1])
        self.assertEqual(got["bytes"], STREAM_SIZE)
        self.assertEqual(got["sha256"], sent["sha256"])
        print(f"{STREAM_SIZE / got['seconds'] / 1e6:.0f} MB/s", end=" ", flush=True)


class PathMtu(GatewayCase):
    """The link outside takes 1400 bytes: who sends more is told, and a stream goes on."""

    wan_mtu = 1400

    def test_who_must_not_fragment_is_told_the_mtu(self):
        # RFC 1191 4, RFC 8201 3
        for options, target, size in (([], SERVER, 1472), (["-6"], SERVER6, 1452)):
            said = self.client.run("ping", *options, "-n", "-c", 2, "-i", 0.2, "-W", 2, "-M", "do",
                                   "-s", size, target, check=False)
            self.assertRegex(said.stdout + said.stderr, r"mtu[ =]+1400")

    def test_a_stream_from_inside_finds_its_size(self):
        server = self.client.spawn_peer("serve-stream", "--port", 80, "--size", 4 << 20)

        got = json.loads(self.server.peer("fetch-stream", "--address", OUTSIDE, "--port", 8080,
                                          timeout=60).stdout)

        server.wait(10)
        self.assertEqual(got["sha256"], json.loads(server.output.splitlines()[-1])["sha256"])


class Operator(GatewayCase):
    """sluicectl against a gateway with traffic; what conntrack(8) does with the kernel's."""

    def setUp(self):
        self.router.control("-F")

    def ping(self):
        self.client.run("ping", "-n", "-c", 1, "-W", 2, SERVER)

    def test_flush_empties_the_table_and_says_so(self):
        self.ping()
        self.assertEqual(len(self.router.entries("-p", "icmp", "-s", CLIENT)), 1)

        said = self.router.control("-F")

        self.assertRegex(said.stderr, r"^\S+ v\S+ \(\S+\): connection tracking table has been emptied")
        self.assertEqual(self.router.entries("-p", "icmp", "-s", CLIENT), [])

    def test_delete_removes_what_the_filter_names(self):
        self.ping()

        said = self.router.control("-D", "-p", "icmp", "-s", CLIENT)

        self.assertRegex(said.stdout, r"^icmp +1 \d+ src=192\.168\.1\.2 ")
        self.assertRegex(said.stderr, r": 1 flow entries have been deleted\.\n$")
        self.assertEqual(self.router.entries("-p", "icmp", "-s", CLIENT), [])

    def test_delete_of_nothing_fails(self):
        said = self.router.control("-D", "-s", "198.51.100.99", check=False)

        self.assertEqual(said.returncode, 1)
        self.assertRegex(said.stderr, r": 0 flow entries have been deleted\.\n$")

    def test_count_is_a_number(self):
        self.ping()

        self.assertGreaterEqual(int(self.router.control("-C").stdout), 1)

    def test_a_wrong_flag_exits_with_two(self):
        self.assertEqual(self.router.control("-L", "--no-such-flag", check=False).returncode, 2)

    def test_events_tell_a_connections_life(self):
        self.server.spawn_peer("serve-http", "--port", 82)
        events = self.router.watch("-p", "tcp")
        time.sleep(0.5)

        self.curl(self.client, f"http://{SERVER}:82/")
        bench_net.wait_for("TIME_WAIT event", lambda: events.alive_with("TIME_WAIT"))
        self.router.control("-D", "-p", "tcp", "--dport", "82")
        bench_net.wait_for("DESTROY event", lambda: events.alive_with("[DESTROY]"))

        told = [re.match(r" *\[(\w+)\] tcp +6 (?:\d+ )?([A-Z_]*)", line)
                for line in events.output.splitlines() if f"dst={SERVER}" in line]
        self.assertTrue(all(told), events.output)
        story = [(found.group(1), found.group(2)) for found in told]
        self.assertEqual(story[:3], [("NEW", "SYN_SENT"), ("UPDATE", "SYN_RECV"),
                                     ("UPDATE", "ESTABLISHED")])
        self.assertEqual(story[-1][0], "DESTROY")

    def test_stats_and_drops_have_something_to_say(self):
        if ROUTER == "kernel":
            self.skipTest("Linux has no such commands")
        self.ping()

        self.assertTrue(self.router.control("stats").stdout.strip())
        self.router.control("drops")


class Stop(GatewayCase):
    def test_sigterm_ends_it_cleanly_with_every_packet_and_buffer_accounted_for(self):
        if ROUTER == "kernel":
            self.skipTest("Linux does not stop")
        self.client.run("ping", "-n", "-c", 2, "-i", 0.2, "-W", 2, SERVER)

        code = self.router.stop()

        self.assertEqual(code, 0, self.router.log)
        told = re.search(r"packets in (\d+) \+ made (\d+) = out (\d+) \+ drops (\d+)",
                         self.router.log)
        self.assertTrue(told, self.router.log)
        came, made, went, dropped = map(int, told.groups())
        self.assertGreaterEqual(came, 4)
        self.assertEqual(came + made, went + dropped)
        self.assertNotIn("buffers were lost", self.router.log)
        self.assertFalse(self.router.socket.exists())


if __name__ == "__main__":
    if "--router" in sys.argv:
        at = sys.argv.index("--router")
        ROUTER = sys.argv[at + 1]
        del sys.argv[at:at + 2]
    main()
