#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""configs/stateful-firewall.toml at work, and `sluice --check` on every configuration that ships."""

import json
import subprocess
import time
import unittest

import bench_net
from bench_net import SluiceRouter, Station
from case import LabCase, main

WEB, DNS, ANYBODY, OFFICE = "198.51.100.80", "198.51.100.53", "203.0.113.2", "203.0.113.66"


class Firewall(LabCase):
    @classmethod
    def lay_out(cls):
        config = (bench_net.ROOT / "configs" / "stateful-firewall.toml").read_text()
        cls.router = SluiceRouter(cls.lab, config, [
            Station("outside", "world", [f"{ANYBODY}/24", f"{OFFICE}/24", "2001:db8:2::2/64"],
                    [("default", "203.0.113.1"), ("default", "2001:db8:2::1")]),
            Station("servers", "servers", [f"{WEB}/24", f"{DNS}/24", "2001:db8:1::80/64"],
                    [("default", "198.51.100.1"), ("default", "2001:db8:1::1")]),
        ])
        cls.world, cls.servers = cls.router.hosts["world"], cls.router.hosts["servers"]
        for port in (80, 22, 8081):
            cls.servers.spawn_peer("serve-http", "--port", port)
        cls.world.spawn_peer("serve-http", "--port", 25)

    def fetch(self, host, url, *options):
        return host.run("curl", "-sS", "--fail", "--max-time", 2, *options, url, check=False)

    def test_the_web_is_open_to_all(self):
        self.assertEqual(self.fetch(self.world, f"http://{WEB}/", "--local-port", 40_000).stdout,
                         f"hello {ANYBODY}\n")
        self.assertEqual(self.fetch(self.world, "http://[2001:db8:1::80]/").stdout,
                         "hello 2001:db8:2::2\n")
        entry = self.entry("-p", "tcp", "-d", WEB, "--sport", 40_000, "-s", ANYBODY)
        self.assertEqual(entry["reply"]["dst"], ANYBODY)
        self.assertGreater(int(entry["packets"]), 4)  # acct = true

    def test_ssh_is_open_to_the_office_alone(self):
        office = self.fetch(self.world, f"http://{WEB}:22/", "--http0.9", "--interface", OFFICE)
        self.assertEqual(office.stdout, f"hello {OFFICE}\n")

        other = self.fetch(self.world, f"http://{WEB}:22/", "--interface", ANYBODY)

        self.assertEqual(other.returncode, 28, other.stderr)  # curl: timed out
        self.assertEqual(self.router.entries("-p", "tcp", "-s", ANYBODY, "--dport", "22"), [])

    def test_what_no_rule_opens_stays_shut(self):
        self.assertEqual(self.fetch(self.world, f"http://{WEB}:8081/").returncode, 28)

    def test_mail_from_servers_is_refused_at_once(self):
        started = time.monotonic()

        refused = self.fetch(self.servers, f"http://{ANYBODY}:25/")

        self.assertEqual(refused.returncode, 7, refused.stderr)  # curl: could not connect
        self.assertLess(time.monotonic() - started, 1.5)

    def test_what_servers_open_is_marked(self):
        self.servers.run("ping", "-n", "-c", 1, "-W", 2, ANYBODY)
        said = json.loads(self.servers.peer("udp-refused", "--address", ANYBODY,
                                            "--port", 9).stdout)
        self.assertTrue(said["refused"], said)

        entry = self.entry("-p", "udp", "--dport", "9")
        self.assertEqual(entry["mark"], "1")
        found = self.entry("-m", "0x1", "-p", "udp", "--dport", "9")
        self.assertEqual(found["original"], entry["original"])  # not its line: the timeout counts down

    def explain(self, flow, *options):
        story = json.loads(self.router.control("explain", flow, *options, "-o", "json").stdout)
        rules = [s["rules"][-1].get("name") for s in story["steps"] if s["stage"] == "filter"]
        return story, rules

    def test_an_explanation_foretells_what_happens_and_tells_what_did(self):
        for sport, (port, source, verdict, rule, code) in enumerate((
            (80, ANYBODY, "accept", "web", 0),
            (22, OFFICE, "accept", "ssh from the office", 0),
            (22, ANYBODY, "drop", None, 28),
            (8081, ANYBODY, "drop", None, 28),
        ), 50_000):
            with self.subTest(port=port, source=source):
                story, rules = self.explain(f"tcp {source}:{sport} > {WEB}:{port}")
                self.assertEqual((story["exists"], story["verdict"], rules[0]), (False, verdict, rule))
                said = self.fetch(self.world, f"http://{WEB}:{port}/", "--interface", source,
                                  "--local-port", sport)
                self.assertEqual(said.returncode, code, said.stderr)
                story, rules = self.explain(f"tcp {source}:{sport} > {WEB}:{port}")
                self.assertEqual(story["exists"], verdict == "accept")
                if story["exists"]:
                    lookup = story["steps"][0]
                    self.assertEqual(lookup["entry"]["original"]["sport"], sport)
                    listed = self.entry("-p", "tcp", "-s", source, "--sport", sport)
                    self.assertEqual(str(lookup["entry"]["reply"]["sport"]), listed["reply"]["sport"])
                    self.assertEqual(rules, ["what belongs to a connection"] * 2)
        words = self.router.control("explain", f"tcp {ANYBODY}:1 > {WEB}:8081").stdout
        self.assertRegex(words, r"(?m)^  filter    no rule decides: policy drop$")
        story, _ = self.explain(f"udp {ANYBODY}:1 > {DNS}:53")
        raw = next(s for s in story["steps"] if s["stage"] == "raw")
        self.assertEqual(raw["rules"][0]["name"], "DNS questions need no state")
        wrong = self.router.control("explain", f"tcp {ANYBODY}:1 > {WEB}:80", "--in", "dmz", check=False)
        self.assertEqual(wrong.returncode, 2)
        self.assertIn("outside, servers", wrong.stderr)

    def test_questions_to_the_name_server_leave_no_entry(self):
        said = json.loads(self.world.peer("udp-refused", "--address", DNS, "--port", 53).stdout)

        self.assertFalse(said.get("heard") == "data", said)
        self.assertEqual(self.router.entries("-p", "udp", "--dport", "53"), [])


class Configurations(unittest.TestCase):
    def test_pass_the_check(self):
        files = sorted((bench_net.ROOT / "configs").glob("**/*.toml"))
        self.assertGreater(len(files), 5)
        for file in files:
            with self.subTest(file.name):
                said = subprocess.run([bench_net.program("sluice"), "--check", "-c", file],
                                      capture_output=True, text=True, timeout=30, check=False)
                self.assertEqual((said.returncode, said.stderr), (0, ""))


if __name__ == "__main__":
    main()
