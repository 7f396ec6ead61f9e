#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Carrier-grade NAT with real subscribers: what they get, what is on record, and who had what."""

import json
import os
import socket
from pathlib import Path

from bench_net import SluiceRouter, Station, wait_for
from case import LabCase, main

SERVER = "203.0.113.2"
MIRROR = 4000
SUBSCRIBERS = [f"100.64.0.{n}" for n in range(2, 82)]

STATIONS = [
    Station("lan", "client", [f"{address}/24" for address in SUBSCRIBERS],
            [("default", "100.64.0.1")]),
    # The addresses that subscribers are given are routed to the carrier, as a provider would do.
    Station("wan", "server", [f"{SERVER}/24"], [("192.0.2.0/24", "203.0.113.1")]),
]

PORTS = """
[dataplane]
workers = 1

[[port]]
name = "lan"
device = "net_tap0,iface=lan"
addresses = ["100.64.0.1/24"]

[[port]]
name = "wan"
device = "net_tap1,iface=wan"
addresses = ["203.0.113.1/24"]

[conntrack.timeouts]
udp = 6
udp_stream = 6
"""

BLOCKS = PORTS + """
[[rule]]
name = "subscribers"
chain = "nat"
src = "100.64.0.0/24"
out = "wan"
action = "snat"
to = "192.0.2.0-192.0.2.3"
blocks = { size = 16, max = 3, idle = "2s" }
"""

DETERMINISTIC = PORTS + """
[[rule]]
name = "fixed"
chain = "nat"
src = "100.64.0.0/24"
out = "wan"
action = "snat"
to = "192.0.2.0-192.0.2.3"
ports = "10000-11199"
deterministic = { ports_each = 16, reserve = 160 }
blocks = { size = 16, max = 1, idle = "2s" }
"""


class CarrierCase(LabCase):
    config = BLOCKS
    nat_log = ""

    @classmethod
    def lay_out(cls):
        cls.blocks_log = cls.lab.folder / "blocks.log"
        cls.prepare()
        log = cls.nat_log or f'[nat_log]\nfile = "{cls.blocks_log}"\n'
        cls.router = SluiceRouter(cls.lab, cls.config + log, STATIONS, ipv6=False)
        cls.client, cls.server = cls.router.hosts["client"], cls.router.hosts["server"]
        cls.server.spawn_peer("serve-mirror", "--port", MIRROR)

    @classmethod
    def prepare(cls):
        """What is to be there before Sluice starts."""

    def ask(self, source, count=1, patience=0.5):
        """External endpoints of `count` connections from `source`, and how many had no answer."""
        said = json.loads(self.client.peer("ask-mirror", "--source", source, "--address", SERVER,
                                           "--port", MIRROR, "--count", count,
                                           "--patience", patience, timeout=60).stdout)
        return [tuple(e) for e in said["endpoints"]], said["silent"]

    def records(self, **wanted):
        """The log's records that have these values."""
        lines = self.blocks_log.read_text().splitlines() if self.blocks_log.exists() else []
        records = [json.loads(line) for line in lines]
        return [r for r in records if all(r.get(k) == v for k, v in wanted.items())]

    def query(self, *words, check=True):
        result = self.router.gateway.run(self.router.ctl, *words, "--config", self.router.config,
                                         "-o", "json", check=check)
        return json.loads(result.stdout)["answers"]


class Blocks(CarrierCase):
    def test_a_subscribers_ports_are_of_his_blocks_and_on_record(self):
        source = SUBSCRIBERS[0]

        endpoints, silent = self.ask(source, 20)

        self.assertEqual((len(endpoints), silent), (20, 0))
        self.assertEqual(len(set(endpoints)), 20)
        self.assertEqual(len({address for address, _ in endpoints}), 1)
        assigned = wait_for("two records", lambda: self.records(event="assigned", inside=source)[1:]
                            and self.records(event="assigned", inside=source))
        ranges = [tuple(map(int, r["ports"].split("-"))) for r in assigned]
        self.assertEqual(len(ranges), 2)
        for address, port in endpoints:
            self.assertTrue(any(first <= port <= last for first, last in ranges), port)
            self.assertIn(address, {r["outside"] for r in assigned})
        for address, port in endpoints:
            answers = self.query("nat-who", f"{address}:{port}", "udp", "now")
            self.assertEqual([a["inside"] for a in answers], [source])
        where = self.query("nat-where", source)
        self.assertEqual({(a["first_port"], a["last_port"]) for a in where}, set(ranges))

    def test_the_last_port_of_the_last_block_is_given_and_no_more(self):
        before = self.router.drops().get("nat_block_limit", 0)

        endpoints, silent = self.ask(SUBSCRIBERS[1], 51, patience=0.2)

        self.assertEqual((len(set(endpoints)), silent), (48, 3))
        self.assertGreaterEqual(self.router.drops()["nat_block_limit"] - before, 3)

    def test_web_and_ping_work_for_a_subscriber(self):
        self.server.spawn_peer("serve-http", "--port", 80)

        said = self.client.run("curl", "-sS", "--fail", "--max-time", 10, "--interface",
                               SUBSCRIBERS[2], f"http://{SERVER}/").stdout
        self.client.run("ping", "-n", "-c", 2, "-i", 0.2, "-W", 2, "-I", SUBSCRIBERS[2], SERVER)

        address = said.removeprefix("hello ").strip()
        self.assertTrue(address.startswith("192.0.2."), said)
        self.assertEqual(len(self.records(event="assigned", inside=SUBSCRIBERS[2])), 1)
        entry = self.entry("-p", "icmp", "-s", SUBSCRIBERS[2])
        self.assertEqual(entry["reply"]["dst"], address)

    def test_a_block_comes_back_after_its_idle_time(self):
        source = SUBSCRIBERS[3]
        (endpoint,), _ = self.ask(source)

        released = wait_for("release", lambda: self.records(event="released", inside=source),
                            timeout=30)

        first, last = map(int, released[0]["ports"].split("-"))
        self.assertTrue(first <= endpoint[1] <= last)
        self.assertEqual(self.query("nat-where", source, "now", check=False), [])
        answers = self.query("nat-who", f"{endpoint[0]}:{endpoint[1]}",
                             self.records(event="assigned", inside=source)[0]["time"])
        self.assertEqual([a["inside"] for a in answers], [source])
        self.assertEqual(answers[0]["until"], released[0]["time"])

    def test_a_table_is_put_back_with_all_bookings(self):
        source = SUBSCRIBERS[6]
        endpoints, _ = self.ask(source, 3)
        saved = self.lab.folder / "saved"
        saved.write_text(self.router.control("-L", "-s", source, "-o", "save").stdout)
        self.router.control("-D", "-s", source)
        self.assertEqual(self.booked(source), 0)

        self.router.control("-R", saved)

        self.assertEqual(self.booked(source), 3)
        address, port = endpoints[0]
        stolen = self.router.control(
            "-I", "-p", "udp", "-s", SUBSCRIBERS[7], "-d", SERVER, "--sport", 1, "--dport", 2,
            "-r", SERVER, "-q", address, "--reply-port-src", 2, "--reply-port-dst", port,
            "-t", 60, check=False)
        self.assertEqual(stolen.returncode, 1)
        self.assertIn("its external port is another connection's or subscriber's", stolen.stderr)
        self.assertEqual(self.booked(SUBSCRIBERS[7]), 0)

    def booked(self, source):
        """Connections that the carrier's books show for a subscriber."""
        stats = json.loads(self.router.control("stats", "-o", "json").stdout)["daemon"]
        return sum(row["connections"] for row in stats["carriers"]["0"]["top"]
                   if row["subscriber"] == f"{source}/32")

    def test_records_are_numbered_without_a_gap(self):
        self.ask(SUBSCRIBERS[4])
        wait_for("record", lambda: self.records(inside=SUBSCRIBERS[4]))

        records = self.records()

        self.assertEqual([r["seq"] for r in records], list(range(1, len(records) + 1)))
        self.assertEqual(records[0]["event"], "started")

    def test_stats_show_blocks_and_log(self):
        self.ask(SUBSCRIBERS[5])

        stats = json.loads(self.router.control("stats", "-o", "json").stdout)["daemon"]

        carrier = stats["carriers"]["0"]
        self.assertEqual(carrier["rule"], "subscribers")
        self.assertEqual(carrier["blocks"], 4 * (64512 // 16))
        self.assertGreaterEqual(carrier["blocks_in_use"], 1)
        self.assertIn(f"{SUBSCRIBERS[5]}/32", [row["subscriber"] for row in carrier["top"]])
        self.assertEqual(stats["nat_log"]["destinations"][0]["lost"], 0)


class Deterministic(CarrierCase):
    config = DETERMINISTIC

    def test_a_share_is_where_the_arithmetic_says(self):
        for source in SUBSCRIBERS[:3]:
            (share,) = self.query("nat-where", source)
            endpoints, silent = self.ask(source, 16)

            self.assertEqual(silent, 0)
            self.assertEqual(share["kind"], "share")
            self.assertEqual({address for address, _ in endpoints}, {share["outside"]})
            self.assertEqual(sorted(port for _, port in endpoints),
                             list(range(share["first_port"], share["last_port"] + 1)))
            who = self.query("nat-who", f"{endpoints[0][0]}:{endpoints[0][1]}", "now")
            self.assertEqual([a["inside"] for a in who], [source])
            self.assertEqual(self.records(inside=source), [])

    def test_who_needs_more_gets_a_block_that_is_on_record(self):
        source = SUBSCRIBERS[10]

        endpoints, silent = self.ask(source, 34, patience=0.2)

        self.assertEqual((len(set(endpoints)), silent), (32, 2))
        (record,) = self.records(event="assigned", inside=source)
        first, last = map(int, record["ports"].split("-"))
        self.assertGreaterEqual(first, 11040)
        self.assertEqual(sum(first <= port <= last for _, port in endpoints), 16)


class FullDisk(CarrierCase):
    """The log's disk is full; then it has room again."""

    config = BLOCKS.replace('idle = "2s"', 'idle = "10m"')  # no block comes back meanwhile

    @classmethod
    def prepare(cls):
        os.symlink("/dev/full", cls.blocks_log)
        cls.nat_log = f'[nat_log]\nfile = "{cls.blocks_log}"\nqueue = 64\n'

    def test_no_block_is_given_out_that_is_not_on_record(self):
        given, refused = [], []
        for source in SUBSCRIBERS[:70]:
            endpoints, _ = self.ask(source)
            (given if endpoints else refused).append(source)
        self.assertEqual((len(given), len(refused)), (64, 6))
        self.assertGreaterEqual(self.router.drops()["nat_block_log"], 6)
        self.assertIn("No space left on device", self.router.log)

        os.unlink(self.blocks_log)
        wait_for("records", lambda: len(self.records(event="assigned")) >= 64)
        endpoints, _ = self.ask(refused[0])

        self.assertEqual(len(endpoints), 1)
        inside = [r["inside"] for r in self.records(event="assigned")]
        self.assertEqual(sorted(inside[:64]), sorted(given))
        self.assertIn("takes records again", self.router.log)


class Collector(CarrierCase):
    @classmethod
    def prepare(cls):
        path = cls.lab.folder / "syslog.sock"
        cls.collector = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        cls.collector.bind(str(path))
        cls.collector.settimeout(10)
        cls.nat_log = f'[nat_log]\nsyslog = "unix:{path}"\nfacility = "local3"\n'

    @classmethod
    def tearDownClass(cls):
        cls.collector.close()
        super().tearDownClass()

    def test_a_collector_gets_rfc_5424_and_at_the_end_every_block_comes_back(self):
        (endpoint,), _ = self.ask(SUBSCRIBERS[0])
        started, assigned = (self.collector.recv(2048).decode() for _ in range(2))

        self.assertRegex(started, r"^<157>1 \S+Z \S+ sluice \d+ nat-block "
                                  r'\[meta sequenceId="1"\] started$')
        self.assertRegex(assigned, rf'sequenceId="2"\] assigned inside={SUBSCRIBERS[0]} '
                                   rf'outside={endpoint[0]} ports=\d+-\d+ rule="subscribers"$')
        self.assertEqual(self.router.stop(), 0, self.router.log)
        released = self.collector.recv(2048).decode()
        self.assertIn(f"released inside={SUBSCRIBERS[0]} ", released)
        saved = Path(self.lab.folder / "collected.log")
        saved.write_text("\n".join([started, assigned, released]) + "\n")
        answers = self.query("nat-who", f"{endpoint[0]}:{endpoint[1]}", assigned.split()[1],
                             "--log", saved)
        self.assertEqual([a["inside"] for a in answers], [SUBSCRIBERS[0]])


if __name__ == "__main__":
    main()
