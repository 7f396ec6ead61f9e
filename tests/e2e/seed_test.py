#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Cloudflare's two table-exhaustion tests, packet by packet over net_tap.

Ten SYNs, 10 ms apart, from 198.18.0.2 to 192.0.2.1:80. In Test One the answers are lost; in Test
Two a server answers and the client does not go on. With a maximum of 7, three SYNs find no room.
What must come out stands in tests/golden/seed-tests: transcripts of Linux at the same.
"""

import json
import re
import time

import bench_net
from bench_net import SluiceRouter, Station
from case import LabCase, main

GOLDEN = bench_net.ROOT / "tests" / "golden" / "seed-tests"
ENTRY = re.compile(r"^tcp +6 (\d+) ([A-Z_]+ src=.*)$", re.M)
FULL = "table full, dropping packet"


def listing(text):
    """Time-outs and the rest of the lines of conntrack -L, in the order of the source ports."""
    found = sorted(ENTRY.findall(text), key=lambda entry: entry[1])
    return [int(timeout) for timeout, _ in found], [rest.rstrip() for _, rest in found]


class SeedCase(LabCase):
    config = golden = ""
    listening = False

    @classmethod
    def lay_out(cls):
        text = (bench_net.ROOT / "configs" / cls.config).read_text()
        cls.router = SluiceRouter(cls.lab, text, [
            # The client's address is a program's, see peers.py: its kernel must not reset anything.
            Station("client", "client", [], mac="02:00:00:00:00:02"),
            Station("server", "server", ["192.0.2.1/24"], [("default", "192.0.2.254")]),
        ], ipv6=False)
        client, server = cls.router.hosts["client"], cls.router.hosts["server"]
        if cls.listening:
            server.spawn_peer("listen", "--address", "192.0.2.1", "--port", 80)
        # The server is a neighbour already, as its own host was in the original: no SYN waits.
        server.run("ping", "-n", "-c", 1, "-W", 2, "192.0.2.254")
        cls.router.control("-F")
        sender = client.spawn_peer("send-syns", "--source", "198.18.0.2", "--gateway", "198.18.0.1",
                                   "--address", "192.0.2.1", "--seconds", 1.5, ready='{"sent"')
        time.sleep(1)
        cls.listed = cls.router.list()
        cls.count = int(cls.router.control("-C").stdout)
        cls.drops = cls.router.drops()
        sender.wait(10)
        cls.sent = json.loads(sender.output.splitlines()[-1])
        cls.router.stop()
        cls.log = cls.router.log
        cls.transcript = (GOLDEN / cls.golden / "transcript.txt").read_text()

    def check_listing(self):
        timeouts, lines = listing(self.listed.stdout)
        wanted_timeouts, wanted = listing(self.transcript)

        self.assertEqual(lines, wanted)
        for got, want in zip(timeouts, wanted_timeouts):
            self.assertAlmostEqual(got, want, delta=1)
        self.assertEqual(self.count, len(wanted))
        self.assertRegex(self.listed.stderr,
                         rf": {len(wanted)} flow entries have been shown\.\n$")


class TestOne(SeedCase):
    config, golden = "seed-test-1.toml", "test1-default-nft-root"

    def test_lists_what_linux_lists(self):
        self.check_listing()

    def test_every_syn_finds_room(self):
        self.assertEqual(self.drops.get("ct_table_full", 0), 0)
        self.assertNotIn(FULL, self.log)

    def test_no_answer_comes_back(self):
        self.assertEqual(self.sent["syn_acks"], [])


class TestOneWithRoomForSeven(SeedCase):
    config, golden = "seed-test-1-max7.toml", "test1-max7-nft-root"

    def test_lists_what_linux_lists(self):
        self.check_listing()

    def test_three_syns_are_dropped_counted_and_logged(self):
        self.assertEqual(self.drops["ct_table_full"], 3)
        self.assertEqual(self.log.count(FULL), self.transcript.count("dropping packet"))
        self.assertEqual(self.log.count(FULL), 3)


class TestTwo(SeedCase):
    config, golden, listening = "seed-test-2.toml", "test2-default-nft-root", True

    def test_lists_what_linux_lists(self):
        self.check_listing()

    def test_every_syn_is_answered(self):
        self.assertEqual(self.sent["syn_acks"], list(range(10000, 10010)))
        self.assertNotIn(FULL, self.log)


class TestTwoWithRoomForSeven(SeedCase):
    config, golden, listening = "seed-test-2-max7.toml", "test2-max7-nft-root", True

    def test_lists_what_linux_lists(self):
        self.check_listing()

    def test_seven_syns_are_answered_and_three_never_reach_the_server(self):
        self.assertEqual(self.sent["syn_acks"], list(range(10000, 10007)))
        self.assertEqual(self.drops["ct_table_full"], 3)
        self.assertEqual(self.log.count(FULL), 3)


if __name__ == "__main__":
    main()
