#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""configs/nptv6.toml and configs/nat64.toml at work: hosts of one prefix that two providers know by
two others, and hosts of IPv6 alone that reach a server of IPv4 alone."""

import json
import re

import bench_net
from bench_net import SluiceRouter, Station
from case import LabCase, main


def curl(host, url, *options):
    return host.run("curl", "-sS", "--fail", "--max-time", 10, *options, url).stdout


class Nptv6(LabCase):
    """The example's numbers: subnet 1 is subnet d550 to provider one (RFC 6296 3.6)."""

    INSIDE, SEEN_BY_ONE, SEEN_BY_TWO = ("fd01:203:405:1::1234", "2001:db8:1:d550::1234",
                                        "2001:db8:2:d54f::1234")
    WEB, WEB_SEEN_BY_ONE = "fd01:203:405:1::80", "2001:db8:1:d550::80"
    ONE, TWO = "2001:db8:f1::1", "2001:db8:8000::1"

    @classmethod
    def lay_out(cls):
        config = (bench_net.ROOT / "configs" / "nptv6.toml").read_text()
        # No provider has a route to the inside prefix: what is not translated is not answered.
        cls.router = SluiceRouter(cls.lab, config, [
            Station("lan", "inside", [f"{cls.INSIDE}/64", f"{cls.WEB}/64"],
                    [("default", "fd01:203:405:1::1")]),
            Station("one", "one", [f"{cls.ONE}/64"], [("2001:db8:1::/48", "2001:db8:f1::2")]),
            Station("two", "two", ["2001:db8:f2::1/64", f"{cls.TWO}/128"],
                    [("2001:db8:2::/48", "2001:db8:f2::2")])])
        cls.inside, cls.one, cls.two = (cls.router.hosts[n] for n in ("inside", "one", "two"))
        for host in (cls.inside, cls.one, cls.two):
            host.spawn_peer("serve-http", "--port", 80)

    def fetch(self, host, url, source=None):
        return curl(host, url, *(["--interface", source] if source else []))

    def test_each_provider_sees_its_own_prefix(self):
        self.assertEqual(self.fetch(self.inside, f"http://[{self.ONE}]/", self.INSIDE),
                         f"hello {self.SEEN_BY_ONE}\n")
        self.assertEqual(self.fetch(self.inside, f"http://[{self.TWO}]/", self.INSIDE),
                         f"hello {self.SEEN_BY_TWO}\n")

    def test_connections_show_inside_addresses_and_no_mapping(self):
        self.router.control("-F")
        self.fetch(self.inside, f"http://[{self.ONE}]/", self.INSIDE)

        entry = self.entry("-f", "ipv6", "-p", "tcp", "-d", self.ONE)
        self.assertEqual(entry["original"]["src"], self.INSIDE)
        self.assertEqual(entry["reply"]["dst"], self.INSIDE)
        self.assertIn("ASSURED", entry["flags"])

    def test_the_world_reaches_what_the_rules_let_it_reach(self):
        self.assertEqual(self.fetch(self.one, f"http://[{self.WEB_SEEN_BY_ONE}]/"),
                         f"hello {self.ONE}\n")
        refused = self.one.run("curl", "-sS", "--max-time", 1, f"http://[{self.SEEN_BY_ONE}]/",
                               check=False)
        self.assertNotEqual(refused.returncode, 0)

    def test_ping_passes_both_ways_with_large_packets_in_fragments(self):
        self.inside.run("ping", "-6", "-n", "-c", 2, "-i", 0.2, "-W", 2, "-s", 4000, self.ONE)
        self.one.run("ping", "-6", "-n", "-c", 2, "-i", 0.2, "-W", 2, "-s", 4000, self.SEEN_BY_ONE)

    def test_an_error_from_outside_finds_the_socket_inside(self):
        said = json.loads(self.inside.peer("udp-refused", "--address", self.ONE,
                                           "--port", 9).stdout)
        self.assertTrue(said["refused"], said)

    def test_the_gateways_own_errors_reach_both_sides(self):
        for host, target in ((self.inside, self.ONE), (self.one, self.SEEN_BY_ONE)):
            said = host.run("ping", "-6", "-n", "-c", 1, "-W", 2, "-t", 1, target,
                            check=False).stdout
            self.assertRegex(said, r"(?i)hop limit")

    def test_an_inside_host_reaches_another_by_its_outside_address(self):
        # RFC 6296 4.3
        self.assertEqual(self.fetch(self.inside, f"http://[{self.WEB_SEEN_BY_ONE}]/", self.INSIDE),
                         f"hello {self.SEEN_BY_ONE}\n")

    def test_a_stream_passes(self):
        server = self.one.spawn("iperf3", "-s", "-1", "-p", 5201, "--forceflush")
        bench_net.wait_for("iperf3", lambda: server.alive_with("listening"))
        said = self.inside.run("iperf3", "-J", "-c", self.ONE, "-p", 5201, "-t", 1, timeout=30)
        self.assertGreater(json.loads(said.stdout)["end"]["sum_received"]["bits_per_second"], 10e6)


CLIENT, SERVER, SERVER6 = "2001:db8:1::10", "198.51.100.7", "2001:db8:64::198.51.100.7"
OTHER, OTHER6 = "198.51.100.8", "2001:db8:64::198.51.100.8"
POOL = re.compile(r"203\.0\.113\.(6[4-9]|7[01])")


class Nat64Case(LabCase):
    wan_mtu = 1500

    @classmethod
    def change(cls, config):
        """What a class of tests wants otherwise than the example has it."""
        return config

    @classmethod
    def lay_out(cls):
        config = (bench_net.ROOT / "configs" / "nat64.toml").read_text()
        config = config.replace('name = "wan"\n', f'name = "wan"\nmtu = {cls.wan_mtu}\n', 1)
        config = cls.change(config)
        # The client has no IPv4, the server no IPv6.
        cls.router = SluiceRouter(cls.lab, config, [
            Station("lan", "client", [f"{CLIENT}/64"], [("default", "2001:db8:1::1")]),
            Station("wan", "server", ["203.0.113.254/24", f"{SERVER}/32", f"{OTHER}/32"],
                    [("203.0.113.64/29", "203.0.113.1")])])
        cls.client, cls.server = cls.router.hosts["client"], cls.router.hosts["server"]
        cls.server.sysctl(ipv6__conf__eth0__disable_ipv6=1)

    def iperf(self, *options):
        server = self.server.spawn("iperf3", "-s", "-1", "-p", 5201, "--forceflush")
        bench_net.wait_for("iperf3", lambda: server.alive_with("listening"))
        said = self.client.run("iperf3", "-J", "-c", SERVER6, "-p", 5201, "-t", 1, *options,
                               timeout=30)
        server.wait(10)
        return json.loads(said.stdout)["end"]

    def echo(self, *sizes):
        """The sizes of datagrams that came back from the server as they were."""
        return json.loads(self.client.peer("send-echo", "--address", SERVER6, "--sizes",
                                           ",".join(map(str, sizes))).stdout)["intact"]


class Nat64(Nat64Case):
    def test_a_web_server_of_ipv4_answers_a_client_of_ipv6(self):
        self.server.spawn_peer("serve-http", "--port", 80)

        said = curl(self.client, f"http://[{SERVER6}]/")

        self.assertRegex(said, rf"^hello {POOL.pattern}\n$")
        entry = self.entry("-f", "ipv6", "-p", "tcp", "-s", CLIENT, "--dport", "80")
        self.assertEqual(entry["original"]["dst"], "2001:db8:64::c633:6407")
        self.assertEqual(entry["reply"]["src"], SERVER)
        self.assertRegex(entry["reply"]["dst"], POOL)
        self.assertEqual(entry["state"], "TIME_WAIT")
        self.assertIn("ASSURED", entry["flags"])

    def test_a_name_server_of_ipv4_answers_over_udp_and_tcp(self):
        # By the address as it is written, without DNS64.
        self.server.spawn_peer("serve-dns", "--address", f"::ffff:{SERVER}")
        for proto, option in (("udp", "+notcp"), ("tcp", "+tcp")):
            said = self.client.run("dig", "+short", "+time=2", "+tries=2", option, f"@{SERVER6}",
                                   "TXT", "who.am.i").stdout
            self.assertRegex(said, rf'^"{POOL.pattern}"\n$', proto)
            entry = self.entry("-f", "ipv6", "-p", proto, "-s", CLIENT, "--dport", "53")
            self.assertEqual(entry["reply"]["src"], SERVER)

    def test_ping_passes(self):
        self.client.run("ping", "-6", "-n", "-c", 3, "-i", 0.2, "-W", 2, SERVER6)
        self.router.control("-F")
        self.client.run("ping", "-6", "-n", "-c", 1, "-W", 2, "-s", 1400, SERVER6)

        entry = self.entry("-f", "ipv6", "-p", "icmpv6", "-s", CLIENT)
        self.assertEqual((entry["original"]["type"], entry["reply"]["type"]), ("128", "0"))

    def test_traceroute_shows_the_gateway_and_the_server(self):
        said = self.client.run("traceroute", "-6", "-n", "-q", 1, "-w", 2, "-m", 4, SERVER6).stdout
        hops = [line.split()[1] for line in said.splitlines()[1:]]
        self.assertEqual(hops, ["2001:db8:1::1", "2001:db8:64::c633:6407"], said)

    def test_an_error_of_ipv4_finds_the_socket(self):
        said = json.loads(self.client.peer("udp-refused", "--address", SERVER6,
                                           "--port", 9).stdout)
        self.assertTrue(said["refused"], said)

    def test_datagrams_of_all_sizes_pass_in_fragments_too(self):
        echo = self.server.spawn_peer("serve-echo", "--address", SERVER)
        sizes = [0, 1, 1231, 1232, 1233, 1400, 1452, 1453, 1472, 1473, 3000, 9000]

        self.assertEqual(self.echo(*sizes), sizes)
        echo.stop()

    def test_datagrams_without_checksum_get_one(self):
        echo = self.server.spawn_peer("serve-echo", "--address", SERVER, "--unchecked", 1)

        self.assertEqual(self.echo(1, 500, 1200), [1, 500, 1200])
        echo.stop()

    def test_streams_pass_in_both_directions(self):
        for options in ([], ["-R"]):
            end = self.iperf(*options)
            self.assertGreater(end["sum_received"]["bits_per_second"], 5e6)

    def test_what_cannot_be_translated_is_told_apart(self):
        before = self.router.drops().get("nat_untranslatable", 0)
        self.client.run("ping", "-6", "-n", "-c", 1, "-W", 1, "-s", 4000, SERVER6, check=False)

        self.assertGreater(self.router.drops()["nat_untranslatable"], before)


class Nat64Callable(Nat64Case):
    """What the world and the neighbours see of the client's bindings (RFC 6146, RFC 4787)."""

    SECOND = "2001:db8:1::20"

    @classmethod
    def lay_out(cls):
        super().lay_out()
        cls.second = bench_net.neighbour_of(cls.client, "second", f"{cls.SECOND}/64",
                                            [("default", "2001:db8:1::1")])
        for address in (SERVER, OTHER):
            cls.server.spawn_peer("serve-mirror", "--address", address, "--port", 3478)

    def call(self, sport):
        """The endpoint that both servers see of the client's socket, which answers from now on."""
        socket = self.client.spawn_peer("serve-mirror-behind", "--source", CLIENT, "--sport", sport,
                                        "--addresses", f"{SERVER6},{OTHER6}", "--port", 3478)
        self.addCleanup(socket.stop)
        seen = json.loads(socket.output.splitlines()[0])["seen"]
        self.assertEqual(seen[SERVER6], seen[OTHER6])
        return seen[SERVER6]

    def ask(self, host, source, address, port):
        """Which endpoint the client's socket sees of a socket of `source`, if it hears of it."""
        said = json.loads(host.peer("ask-mirror", "--source", source, "--address", address,
                                    "--port", port).stdout)
        return said["endpoints"][0][0] if said["endpoints"] else None

    def test_every_server_sees_the_same_port(self):
        self.router.control("-F")
        outside = self.call(5000)

        self.assertRegex(outside[0], POOL)
        entries = self.router.entries("-f", "ipv6", "-p", "udp", "-s", CLIENT, "--sport", "5000")
        self.assertEqual(len(entries), 2, entries)

    def test_whom_the_client_calls_may_call_it(self):
        address, port = self.call(5001)
        before = self.router.drops().get("nat_filtered", 0)

        self.assertEqual(self.ask(self.server, SERVER, address, port), "2001:db8:64::c633:6407")
        self.assertIsNone(self.ask(self.server, "203.0.113.254", address, port))
        self.assertGreater(self.router.drops()["nat_filtered"], before)
        entry = self.entry("-p", "udp", "-s", SERVER, "-d", address)
        self.assertEqual(entry["reply"]["src"], CLIENT)

    def test_whom_the_client_pings_may_ping_it(self):
        # RFC 6146 3.5.3: by the identifier that it has outside
        ping = ("ping", "-n", "-c", 1, "-W", 2, "-e")
        self.client.run(*ping, 777, "-6", SERVER6)
        seen = self.entry("-f", "ipv6", "-p", "icmpv6", "-s", CLIENT, "--icmpv6-id", "777")["reply"]

        self.server.run(*ping, seen["id"], "-I", SERVER, seen["dst"])

        entry = self.entry("-p", "icmp", "-s", SERVER, "-d", seen["dst"])
        self.assertEqual((entry["reply"]["src"], entry["reply"]["id"]), (CLIENT, "777"))

    def test_hosts_inside_meet_by_their_outside_endpoints(self):
        # RFC 6146 3.8
        address, port = self.call(5002)
        seen = self.ask(self.second, self.SECOND, f"2001:db8:64::{address}", port)

        self.assertRegex(seen, r"2001:db8:64::cb00:714[0-7]")
        entry = self.entry("-f", "ipv6", "-p", "udp", "-s", self.SECOND)
        self.assertEqual((entry["reply"]["src"], entry["reply"]["dst"]), (CLIENT, seen))


class Nat64Open(Nat64Callable):
    @classmethod
    def change(cls, config):
        return config.replace('filtering = "address-dependent" ',
                              'filtering = "endpoint-independent" ')

    def test_whom_the_client_calls_may_call_it(self):
        address, port = self.call(5001)

        self.assertEqual(self.ask(self.server, "203.0.113.254", address, port),
                         "2001:db8:64::cb00:71fe")


class Nat64PathMtu(Nat64Case):
    """The link outside takes 1400 bytes: inside, that is what fits into 1420."""

    wan_mtu = 1400

    def test_the_client_is_told_what_fits_behind_the_gateway(self):
        said = self.client.run("ping", "-6", "-n", "-c", 2, "-i", 0.2, "-W", 2, "-M", "do", "-s",
                               1452, SERVER6, check=False)
        self.assertRegex(said.stdout + said.stderr, r"mtu[ =]+1420")

    def test_streams_find_their_size_in_both_directions(self):
        for options in ([], ["-R"]):
            self.assertGreater(self.iperf(*options)["sum_received"]["bits_per_second"], 5e6)


class Nat64NarrowPaths(Nat64Case):
    """A router of each family stands behind the first hop, and a host behind a link of 1300 bytes
    behind that: [deep]~~client~~sluice~~server~~[far]."""

    FAR, FAR6 = "198.51.100.130", "2001:db8:64::198.51.100.130"
    DEEP = "2001:db8:1:1::20"
    INNER_ROUTE = f'[[route]]\nto = "2001:db8:1:1::/64"\nvia = "{CLIENT}"\n\n[nat64]\n'

    @classmethod
    def change(cls, config):
        return (config.replace("[nat64]\n", cls.INNER_ROUTE, 1)
                .replace('src = "2001:db8:1::/64"', 'src = "2001:db8:1::/48"', 1))

    @classmethod
    def lay_out(cls):
        super().lay_out()
        cls.deep = cls.behind(cls.client, "deep", ("2001:db8:1:1::1/64", f"{cls.DEEP}/64"))
        cls.far = cls.behind(cls.server, "far", ("198.51.100.129/25", f"{cls.FAR}/25"))
        cls.client.sysctl(ipv6__conf__all__forwarding=1)
        cls.client.ip("-6", "route", "replace", "default", "via", "2001:db8:1::1")
        cls.server.sysctl(ipv4__ip_forward=1)

    @classmethod
    def behind(cls, router, name, addresses):
        """A host behind `router`, on a link of 1300 bytes; `addresses`: the router's, the host's."""
        host = cls.lab.host(name)
        router.ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", host.netns)
        for place, device, address in zip((router, host), (name, "eth0"), addresses):
            place.ip("link", "set", device, "mtu", 1300, "up")
            place.ip("addr", "add", address, "dev", device, *(["nodad"] if ":" in address else []))
        host.ip("-6" if ":" in addresses[0] else "-4", "route", "add", "default", "via",
                addresses[0].split("/", maxsplit=1)[0])
        return host

    def test_a_router_of_ipv4_tells_the_client_what_fits(self):
        said = self.client.run("ping", "-6", "-n", "-c", 2, "-i", 0.2, "-W", 2, "-M", "do", "-s",
                               1400, self.FAR6, check=False)
        self.assertRegex(said.stdout + said.stderr, r"mtu[ =]+1320")

    def test_a_router_of_ipv6_tells_the_server_what_fits(self):
        # What the server sends must not be fragmented on its way until it has heard of the link.
        echo = self.server.spawn_peer("serve-echo", "--address", SERVER)
        said = json.loads(self.deep.peer("send-echo", "--address", SERVER6, "--sizes",
                                         "1400").stdout)
        echo.stop()

        self.assertEqual(said["intact"], [1400])
        self.assertRegex(self.server.run("ip", "route", "show", "cache").stdout, r"mtu 1280")


if __name__ == "__main__":
    main("dig", "traceroute")
