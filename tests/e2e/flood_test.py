#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""A SYN flood from a third network holds the table full; the client behind the NAT goes on working.

With `--router kernel`, Linux stands in Sluice's place, with a table of its default size.
"""

import json
import re
import sys
import time

import bench_net
from bench_net import KernelRouter, SluiceRouter, Station
from case import LabCase, main

SERVER = "203.0.113.2"
TABLE = 4096  # entries
SECONDS = 8.0
ROUTER = "sluice"

CONFIG = f"""
[[port]]
name = "lan"
device = "net_tap0,iface=lan"
addresses = ["192.168.1.1/24"]

[[port]]
name = "wan"
device = "net_tap1,iface=wan"
addresses = ["203.0.113.1/24"]

[[port]]
name = "attack"
device = "net_tap2,iface=attack"
addresses = ["198.51.100.1/24"]

[[route]]
to = "198.18.0.0/15"
via = "198.51.100.2"

[conntrack]
max = {TABLE}

[[rule]]
chain = "nat"
src = "192.168.1.0/24"
out = "wan"
action = "masquerade"
"""

NFT = """
table ip gateway {
    chain post {
        type nat hook postrouting priority srcnat;
        ip saddr 192.168.1.0/24 oifname wan masquerade
    }
}
"""

# The server has no route to the flood's sources, so it answers none of it: the entries stay
# half-open, which is what a flood wants.
STATIONS = [
    Station("lan", "client", ["192.168.1.2/24"], [("default", "192.168.1.1")]),
    Station("wan", "server", [f"{SERVER}/24"]),
    Station("attack", "attacker", ["198.51.100.3/24"]),
]


class Flood(LabCase):
    @classmethod
    def lay_out(cls):
        if ROUTER == "kernel":
            cls.router = KernelRouter(cls.lab, NFT, STATIONS, {
                "lan": ["192.168.1.1/24"], "wan": ["203.0.113.1/24"],
                "attack": ["198.51.100.1/24"]}, ipv6=False)
        else:
            cls.router = SluiceRouter(cls.lab, CONFIG, STATIONS, ipv6=False)
        cls.client = cls.router.hosts["client"]
        cls.server, cls.attacker = cls.router.hosts["server"], cls.router.hosts["attacker"]

    def test_curl_never_fails_while_the_table_is_full(self):
        self.server.spawn_peer("serve-http", "--port", 80)
        stream = self.server.spawn_peer("serve-stream", "--port", 9000, "--size", 32 << 20)
        fetch = ["curl", "-sS", "--fail", "--max-time", "10", f"http://{SERVER}/"]
        self.assertEqual(self.client.run(*fetch).stdout, "hello 203.0.113.1\n")

        flood = self.attacker.spawn_peer(
            "flood", "--source", "198.51.100.2", "--gateway", "198.51.100.1", "--address", SERVER,
            "--port", 81, "--seconds", SECONDS)
        started, fetched, fullest = time.monotonic(), 0, 0
        got = None
        while flood.popen.poll() is None and time.monotonic() - started < SECONDS + 10:
            self.assertEqual(self.client.run(*fetch).stdout, "hello 203.0.113.1\n")
            fetched += 1
            fullest = max(fullest, int(self.router.control("-C").stdout))
            if got is None:
                got = json.loads(self.client.peer("fetch-stream", "--address", SERVER,
                                                  "--port", 9000, timeout=60).stdout)

        sent = json.loads(flood.output.splitlines()[-1])["sent"]
        print(f"{sent / SECONDS / 1e3:.0f} kpps of flood, {fetched} pages,", end=" ", flush=True)
        self.assertGreater(sent, 10 * TABLE)
        self.assertGreater(fetched, 3)
        stream.wait(10)
        self.assertEqual(got["sha256"], json.loads(stream.output.splitlines()[-1])["sha256"])
        if ROUTER == "sluice":
            # What is not assured has three quarters of the table (embryonic_percent).
            self.assertGreaterEqual(fullest, TABLE * 7 // 10)
            self.assertLessEqual(fullest, TABLE)
            early = [int(n) for n in re.findall(r"early_drop=(\d+)",
                                                self.router.control("-S").stdout)]
            self.assertGreater(sum(early), 0)


if __name__ == "__main__":
    if "--router" in sys.argv:
        at = sys.argv.index("--router")
        ROUTER = sys.argv[at + 1]
        del sys.argv[at:at + 2]
    main()
