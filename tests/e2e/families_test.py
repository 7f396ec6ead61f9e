#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""configs/nptv6.toml at work: hosts of one prefix that two providers know by two others."""

import json

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


if __name__ == "__main__":
    main()
