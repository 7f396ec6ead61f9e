#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""NAT as real programs meet it: configs/nat-modes.toml with curl, ping, traceroute, dig and iperf3;
STUN clients that say what kind of NAT they are behind; two peers that punch a hole through two.
"""

import json
import re

import bench_net
from bench_net import SluiceRouter, Station, neighbour_of
from case import LabCase, main

CLIENT, OTHER, MAIL, LAB = "192.168.1.2", "192.168.1.3", "192.168.1.25", "192.168.7.3"
SERVER, SERVER_TOO = "203.0.113.2", "203.0.113.3"
OUTSIDE, MAIL_OUTSIDE, LAB_OUTSIDE = "203.0.113.1", "198.51.100.25", "198.51.100.67"
INSIDE = "192.168.1.1"


def stations(client=CLIENT):
    return [Station("lan", "client", [f"{client}/24", "fd00:1::2/64"],
                    [("default", INSIDE), ("default", "fd00:1::1")]),
            Station("wan", "server", [f"{SERVER}/24", f"{SERVER_TOO}/24", "2001:db8:2::2/64"],
                    [("198.51.100.0/24", OUTSIDE), ("2001:db8:7::/64", "2001:db8:2::1")])]


class Modes(LabCase):
    """One host inside has three addresses, another stands beside it."""

    @classmethod
    def lay_out(cls):
        config = (bench_net.ROOT / "configs" / "nat-modes.toml").read_text()
        cls.router = SluiceRouter(cls.lab, config, stations())
        cls.client, cls.server = cls.router.hosts["client"], cls.router.hosts["server"]
        cls.client.ip("addr", "add", f"{MAIL}/24", "dev", "eth0")
        cls.client.ip("addr", "add", f"{LAB}/32", "dev", "eth0")
        cls.other = neighbour_of(cls.client, "other", f"{OTHER}/24", [("default", INSIDE)])
        for port in (80, 22):
            cls.client.spawn_peer("serve-http", "--port", port)
        cls.server.spawn_peer("serve-http", "--port", 80)
        cls.server.spawn_peer("serve-dns", "--port", 53)
        cls.client.spawn_peer("serve-dns", "--port", 6053)

    def curl(self, host, url, *options):
        return host.run("curl", "-sS", "--fail", "--max-time", 10, *options, url).stdout

    def ping(self, host, address, *options):
        host.run("ping", "-n", "-c", 2, "-i", 0.2, "-W", 2, *options, address)

    def hops(self, host, address, *options):
        """The addresses that traceroute finds, in order."""
        said = host.run("traceroute", "-n", "-q", 1, "-w", 2, "-m", 5, *options, address).stdout
        return re.findall(r"^ *\d+ +(\S+)", said, re.M)

    def dig(self, host, server, port=53):
        return host.run("dig", "+short", "+time=2", "+tries=2", "-p", port, f"@{server}", "TXT",
                        "who.am.i").stdout.strip()

    def iperf(self, source, sink, address, port, inner):
        server = sink.spawn("iperf3", "-s", "-1", "-p", inner, "--forceflush")
        bench_net.wait_for("iperf3", lambda: server.alive_with("listening"))
        client = source.spawn("iperf3", "-J", "-c", address, "-p", port, "-t", 1)
        self.assertEqual(client.wait(30), 0, client.output)
        server.wait(10)
        return json.loads(client.output)["end"]["sum_received"]["bits_per_second"]

    def test_a_static_address_serves_both_ways(self):
        self.assertEqual(self.curl(self.server, f"http://{MAIL_OUTSIDE}/"), f"hello {SERVER}\n")
        self.assertEqual(self.curl(self.client, f"http://{SERVER}/", "--interface", MAIL),
                         f"hello {MAIL_OUTSIDE}\n")
        self.ping(self.server, MAIL_OUTSIDE)
        self.ping(self.client, SERVER, "-I", MAIL)
        entry = self.entry("-p", "icmp", "-s", SERVER, "-d", MAIL_OUTSIDE)
        self.assertEqual(entry["reply"]["src"], MAIL)

    def test_a_static_prefix_keeps_the_hosts_part(self):
        self.assertEqual(self.curl(self.server, f"http://{LAB_OUTSIDE}/"), f"hello {SERVER}\n")
        self.assertEqual(self.curl(self.client, f"http://{SERVER}/", "--interface", LAB),
                         f"hello {LAB_OUTSIDE}\n")

    def test_a_prefix_of_ipv6_is_another_outside(self):
        self.assertEqual(self.curl(self.client, "http://[2001:db8:2::2]/"), "hello 2001:db8:7::2\n")
        self.ping(self.client, "2001:db8:2::2")

    def test_static_ports_reach_the_server_inside(self):
        self.assertEqual(self.curl(self.server, f"http://{OUTSIDE}:8080/"), f"hello {SERVER}\n")
        self.assertGreater(self.iperf(self.server, self.client, OUTSIDE, 8081, 81), 10e6)

    def test_both_ends_are_translated_at_once(self):
        self.assertEqual(self.curl(self.server, f"http://{OUTSIDE}:2222/"), f"hello {INSIDE}\n")
        entry = self.entry("-p", "tcp", "--dport", "2222")
        self.assertEqual((entry["reply"]["src"], entry["reply"]["dst"]), (CLIENT, INSIDE))

    def test_questions_and_answers_of_the_name_service(self):
        self.assertEqual(self.dig(self.client, SERVER), f'"{OUTSIDE}"')
        self.assertEqual(self.dig(self.server, OUTSIDE, 5053), f'"{SERVER}"')
        self.assertEqual(self.dig(self.other, OUTSIDE, 5053), f'"{OUTSIDE}"', "by the hairpin")

    def test_traceroute_shows_the_way_in_and_out(self):
        for options in ([], ["-I"], ["-T", "-p", 80]):
            self.assertEqual(self.hops(self.client, SERVER, *options), [INSIDE, SERVER], options)
            self.assertEqual(self.hops(self.server, MAIL_OUTSIDE, *options),
                             [OUTSIDE, MAIL_OUTSIDE], options)

    # RFC 4787 REQ-9, RFC 5382 REQ-8, RFC 5508 REQ-7
    def test_hairpins_for_every_program(self):
        self.assertEqual(self.curl(self.other, f"http://{OUTSIDE}:8080/"), f"hello {OUTSIDE}\n")
        entry = self.entry("-p", "tcp", "-s", OTHER, "--dport", "8080")
        self.assertEqual((entry["reply"]["src"], entry["reply"]["dst"]), (CLIENT, OUTSIDE))
        self.assertEqual(self.curl(self.other, f"http://{MAIL_OUTSIDE}/"), f"hello {MAIL_OUTSIDE}\n")
        self.assertGreater(self.iperf(self.other, self.client, OUTSIDE, 8081, 81), 10e6)
        self.ping(self.other, MAIL_OUTSIDE)
        for options in ([], ["-I"]):
            self.assertEqual(self.hops(self.other, MAIL_OUTSIDE, *options), [INSIDE, MAIL_OUTSIDE])

    def test_a_host_reaches_itself_by_its_outside_address(self):
        self.assertEqual(self.curl(self.client, f"http://{OUTSIDE}:8080/"), f"hello {OUTSIDE}\n")


class PortDown(LabCase):
    """What Linux does with a masquerade whose device goes down."""

    @classmethod
    def lay_out(cls):
        config = (bench_net.ROOT / "configs" / "nat-modes.toml").read_text()
        cls.router = SluiceRouter(cls.lab, config, stations())
        cls.client, cls.server = cls.router.hosts["client"], cls.router.hosts["server"]
        cls.client.ip("addr", "add", f"{MAIL}/24", "dev", "eth0")

    def test_masqueraded_connections_end_with_their_port(self):
        for source in (CLIENT, MAIL):
            self.client.run("ping", "-n", "-c", 1, "-W", 2, "-I", source, SERVER)
        self.assertEqual(len(self.router.entries("-p", "icmp", "-s", CLIENT)), 1)

        said = self.router.control("port", "wan", "down").stdout

        self.assertEqual(said, "port wan is down; 1 connections have ended\n")
        self.assertEqual(self.router.entries("-p", "icmp", "-s", CLIENT), [])
        self.assertEqual(len(self.router.entries("-p", "icmp", "-s", MAIL)), 1, "snat stays")
        lost = self.client.run("ping", "-n", "-c", 1, "-W", 1, SERVER, check=False)
        self.assertIn("Unreachable", lost.stdout)
        self.server.run("ping", "-n", "-c", 1, "-W", 1, OUTSIDE, check=False)
        self.assertEqual(self.router.entries("-p", "icmp", "-d", OUTSIDE), [], "nothing comes in")

        self.assertEqual(self.router.control("port", "wan", "up").stdout, "port wan is up\n")
        self.client.run("ping", "-n", "-c", 1, "-W", 2, SERVER)

    def test_a_port_that_is_none_is_refused(self):
        said = self.router.control("port", "dmz", "down", check=False)
        self.assertEqual(said.returncode, 2)
        self.assertIn("there is no port 'dmz'", said.stderr)


class Addresses(LabCase):
    """What Linux does with a masquerade whose address changes, while the router runs."""

    SECOND = "203.0.113.77"

    @classmethod
    def lay_out(cls):
        config = (bench_net.ROOT / "configs" / "nat-gateway.toml").read_text()
        cls.router = SluiceRouter(cls.lab, config, stations())
        cls.client, cls.server = cls.router.hosts["client"], cls.router.hosts["server"]
        cls.server.spawn_peer("serve-http", "--port", 80)

    def addresses(self):
        return self.router.control("address", "wan").stdout.splitlines()

    def change(self, verb, address, **options):
        return self.router.control("address", "wan", verb, f"{address}/24", **options)

    def answers(self, address):
        """Whether the router answers ARP and echo for an address on its far side."""
        self.server.ip("neigh", "flush", "dev", "eth0")
        said = self.server.run("ping", "-n", "-c", 1, "-W", 1, address, check=False)
        return said.returncode == 0

    def seen_by_the_server(self):
        return self.client.run("curl", "-sS", "--fail", "--max-time", 10,
                               f"http://{SERVER}/").stdout

    def test_an_address_comes_and_another_goes(self):
        self.assertEqual(self.addresses()[0], f"wan {OUTSIDE}/24 primary")
        self.assertFalse(self.answers(self.SECOND))
        self.assertEqual(self.seen_by_the_server(), f"hello {OUTSIDE}\n")
        self.client.run("ping", "-n", "-c", 1, "-W", 2, SERVER)

        self.change("add", self.SECOND)
        self.assertIn(f"wan {self.SECOND}/24", self.addresses())
        self.assertTrue(self.answers(self.SECOND))
        self.assertEqual(self.seen_by_the_server(), f"hello {OUTSIDE}\n", "still the primary one")

        masqueraded = self.router.entries("-s", CLIENT, "-q", OUTSIDE)
        self.assertGreaterEqual(len(masqueraded), 1)
        said = self.change("del", OUTSIDE).stdout
        self.assertIn(f"wan {self.SECOND}/24 primary\n", said)
        self.assertIn(f"{len(masqueraded)} connections have ended\n", said)
        self.assertEqual(self.router.entries("-s", CLIENT, "-q", OUTSIDE), [])
        self.assertFalse(self.answers(OUTSIDE))
        self.assertEqual(self.seen_by_the_server(), f"hello {self.SECOND}\n")

        self.change("del", self.SECOND)
        before = self.router.drops().get("nat_no_address", 0)
        lost = self.client.run("ping", "-n", "-c", 1, "-W", 1, SERVER, check=False)
        self.assertNotEqual(lost.returncode, 0)
        self.assertGreater(self.router.drops().get("nat_no_address", 0), before)

        self.change("add", OUTSIDE)
        self.assertEqual(self.seen_by_the_server(), f"hello {OUTSIDE}\n")

    def test_what_cannot_be_is_refused_and_nothing_changes(self):
        before = self.addresses()
        for arguments, why in (
                (("wan", "add", "192.168.1.9/24"), "overlaps 192.168.1.1/24 of port 'lan'"),
                (("wan", "add", "203.0.113.0/24"), "is the address of the subnet itself"),
                (("wan", "add", "nonsense"), "is no address with a prefix length"),
                (("wan", "del", "203.0.113.99/24"), "does not have 203.0.113.99/24; it has"),
                (("dmz", "add", "192.0.2.1/24"), "there is no port 'dmz'; there are lan, wan"),
                (("wan", "add"), "like `address wan add 192.0.2.1/24'"),
                (("wan", "give", "192.0.2.1/24"), "like `address wan add 192.0.2.1/24'")):
            said = self.router.control("address", *arguments, check=False)
            self.assertEqual(said.returncode, 2, arguments)
            self.assertIn(why, said.stderr)
        self.assertEqual(self.addresses(), before)

    def test_everything_goes_on_while_addresses_change(self):
        ping = self.client.spawn("ping", "-n", "-q", "-c", 40, "-i", 0.05, "-W", 2, SERVER)
        for _ in range(8):
            self.change("add", self.SECOND)
            self.change("del", self.SECOND)
        self.assertEqual(ping.wait(30), 0, ping.output)
        self.assertIn(" 0% packet loss", ping.output)


PORTS = """
[[port]]
name = "lan"
device = "net_tap0,iface=lan"
addresses = ["192.168.1.1/24", "fd00:1::1/64"]

[[port]]
name = "wan"
device = "net_tap1,iface=wan"
addresses = ["{wan}/24", "2001:db8:2::1/64"]

"""

EXHAUSTED = PORTS.format(wan="203.0.113.1") + """[[rule]]
chain = "nat"
src = "192.168.1.0/24"
out = "wan"
proto = "tcp"
action = "snat"
to = "203.0.113.1:6000-6001"
exhausted = "icmp"

[[rule]]
chain = "nat"
src = "fd00:1::/64"
out = "wan"
proto = "tcp"
action = "snat"
to = "[2001:db8:2::1]:6000-6001"
exhausted = "icmp"
"""


class Exhausted(LabCase):
    """Two ports for more connections than that (RFC 5508 REQ-8, RFC 6888 REQ-11)."""

    @classmethod
    def lay_out(cls):
        cls.router = SluiceRouter(cls.lab, EXHAUSTED, stations())
        cls.client, cls.server = cls.router.hosts["client"], cls.router.hosts["server"]
        for address in (SERVER, "2001:db8:2::2"):
            cls.server.spawn_peer("listen", "--address", address, "--port", 80)

    def test_who_finds_no_port_is_told_at_once(self):
        # What Linux makes of ICMP 3/13, and of ICMPv6 1/1.
        for address, error in ((SERVER, "EHOSTUNREACH"), ("2001:db8:2::2", "EACCES")):
            before = self.router.drops().get("nat_port_reject", 0)

            said = json.loads(self.client.peer("open-many", "--address", address, "--port", 80,
                                               "--count", 4).stdout)

            self.assertEqual(said["results"], [None, None, error, error])
            self.assertEqual(self.router.drops()["nat_port_reject"] - before, 2)

        # The connections are closing, so their ports are still theirs.
        curl = self.client.run("curl", "-sS", "--max-time", 10, f"http://{SERVER}/", check=False)
        self.assertEqual(curl.returncode, 7, "told, not out of time, which were 28")


NAT = PORTS + """[[rule]]
chain = "nat"
src = "192.168.1.0/24"
out = "wan"
action = "masquerade"
{behaviour}
"""


class Stun(LabCase):
    """A STUN server with two addresses outside (RFC 5780 6)."""

    behaviour = ""

    @classmethod
    def lay_out(cls):
        config = NAT.format(wan=OUTSIDE, behaviour=cls.behaviour)
        cls.router = SluiceRouter(cls.lab, config, stations())
        cls.client, cls.server = cls.router.hosts["client"], cls.router.hosts["server"]
        turn = cls.server.spawn("turnserver", "-n", "--stun-only", "-L", SERVER, "-L", SERVER_TOO,
                                "-p", 3478, "--alt-listening-port", 3479, "--no-tls", "--no-dtls",
                                "--no-cli", "--log-file", "stdout", "--pidfile",
                                cls.lab.folder / "turn.pid", "--userdb", cls.lab.folder / "turn.db")
        bench_net.wait_for("STUN server", lambda: cls.listens(turn))

    @classmethod
    def listens(cls, turn):
        turn.alive_with("")
        said = cls.server.run("ss", "-Hlun").stdout
        return all(f"{a}:{p}" in said for a in (SERVER, SERVER_TOO) for p in (3478, 3479))

    def discover(self, port):
        """What turnutils_natdiscovery says of mapping and of filtering."""
        said = self.client.run("turnutils_natdiscovery", "-m", "-f", "-L", CLIENT, "-l", port,
                               "-p", 3478, SERVER, timeout=60).stdout
        found = re.findall(r"NAT with (.*?) (Mapping|Filtering)!", said)
        self.assertEqual(len(found), 2, said)
        return {kind.lower(): what for what, kind in found}

    def classic(self):
        """What stun(1) calls it (RFC 3489)."""
        said = self.client.run("stun", SERVER, check=False, timeout=60).stdout
        return re.search(r"^Primary: (.*)$", said, re.M).group(1)


class StunAsLinux(Stun):
    """Linux's way: a port that is free is kept whatever it talks to, so the mapping seems to be
    endpoint-independent as long as no two hosts want the same; filtering never is."""

    def test_ports_are_kept_and_strangers_are_not_let_in(self):
        self.assertEqual(self.discover(6000), {"mapping": "Endpoint Independent",
                                               "filtering": "Address and Port Dependent"})

    def test_the_old_client_calls_it_port_restricted(self):
        self.assertIn("Independent Mapping, Port Dependent Filter, preserves ports", self.classic())


class StunRandom(Stun):
    """A port of its own for each remote: what is called a symmetric NAT."""

    behaviour = "random = true"

    def test_each_remote_sees_another_port(self):
        self.assertEqual(self.discover(6000), {"mapping": "Address and Port Dependent",
                                               "filtering": "Address and Port Dependent"})

    def test_the_old_client_calls_it_symmetric(self):
        self.assertIn("Dependent Mapping, random port", self.classic())


class StunIndependent(Stun):
    """RFC 4787 REQ-1 and REQ-8. The ports are random, so that nothing is left to chance."""

    behaviour = """random = true
mapping = "endpoint-independent"
filtering = "endpoint-independent\""""

    def test_each_remote_sees_the_same_port(self):
        self.assertEqual(self.discover(6000)["mapping"], "Endpoint Independent")

    def test_anybody_may_call(self):
        self.assertEqual(self.discover(6001)["filtering"], "Endpoint Independent")

    def test_the_old_client_calls_it_independent(self):
        self.assertIn("Independent Mapping, Independent Filter, random port", self.classic())


class StunAddressDependent(Stun):
    behaviour = """mapping = "endpoint-independent"
filtering = "address-dependent\""""

    def test_whose_address_was_called_may_call(self):
        self.assertEqual(self.discover(6000), {"mapping": "Endpoint Independent",
                                               "filtering": "Address Dependent"})


# Without it the peer's first packet, if it comes before a hole is there, opens a connection to the
# gateway itself. Its tuple is then taken, and an endpoint-dependent mapping towards that peer gets
# another port, which the peer does not know: with Linux, too. Endpoint-independent mappings need no
# such firewall, as packets to ports that may become theirs open nothing.
FIREWALL = """
[filter]
policy = "drop"

[[rule]]
chain = "filter"
ctstate = ["ESTABLISHED", "RELATED"]
action = "accept"

[[rule]]
chain = "filter"
in = "lan"
action = "accept"
"""


class Punch(LabCase):
    """Two peers behind two gateways, and a rendezvous between them (RFC 5128 3.3)."""

    behaviour = ""
    firewall = FIREWALL

    @classmethod
    def lay_out(cls):
        cls.internet = cls.lab.host("internet")
        cls.internet.ip("link", "add", "br0", "type", "bridge")
        cls.internet.ip("link", "set", "br0", "up")
        cls.internet.ip("addr", "add", "203.0.113.9/24", "dev", "br0")
        cls.peers = []
        for number, wan in ((1, "203.0.113.101"), (2, "203.0.113.102")):
            config = NAT.format(wan=wan, behaviour=cls.behaviour) + cls.firewall
            station = Station("lan", f"peer{number}", [f"{CLIENT}/24"], [("default", INSIDE)])
            router = SluiceRouter(cls.lab, config, [station], ipv6=False, host=f"sluice{number}")
            router.gateway.ip("link", "set", "wan", "netns", cls.internet.netns, "name",
                              f"wan{number}")
            cls.internet.run("ethtool", "-K", f"wan{number}", "tx", "off", check=False)
            cls.internet.ip("link", "set", f"wan{number}", "master", "br0", "up")
            cls.peers.append(router.hosts[f"peer{number}"])
        cls.internet.spawn_peer("serve-rendezvous", "--port", 7000)

    def punch(self):
        """What each peer says of the other, both started at once."""
        running = [host.spawn_peer("punch", "--address", "203.0.113.9", "--rendezvous", 7000,
                                   "--name", host.name, ready="") for host in self.peers]
        for process in running:
            self.assertEqual(process.wait(40), 0, process.output)
        return [json.loads(process.output) for process in running]


class PunchAsLinux(Punch):
    def test_a_hole_is_punched_through_both(self):
        one, two = self.punch()

        self.assertEqual((one["heard"], two["heard"]), ("both", "both"))
        self.assertEqual((one["peer"][0], two["peer"][0]), ("203.0.113.102", "203.0.113.101"))


class PunchRandom(Punch):
    """With a port for each remote there is nothing to tell the other: no hole. The test above is
    worth something because this one fails to punch."""

    behaviour = "random = true"

    def test_no_hole_without_a_mapping_that_holds_for_others(self):
        self.assertEqual([said["heard"] for said in self.punch()], [None, None])


class PunchIndependent(Punch):
    """Random ports again, but each the same for everybody: now there is something to tell."""

    behaviour = """random = true
mapping = "endpoint-independent\""""
    firewall = ""

    def test_a_hole_is_punched_through_both(self):
        self.assertEqual([said["heard"] for said in self.punch()], ["both", "both"])


if __name__ == "__main__":
    main("traceroute", "dig", "ss", "turnserver", "turnutils_natdiscovery", "stun")
