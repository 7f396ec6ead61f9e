#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""sluice-replay --explain: what it tells is what was decided, and telling changes nothing.

usage: explain.py SLUICE_REPLAY [unittest arguments]
"""

import json
import os
import random
import sys
import unittest
from pathlib import Path

import program
import run
from pcapfile import pcap_bytes
from program import CONFIG, SECOND, START, Program, answer, checksum, ipv4, syn, udp

NAT = """
[[rule]]
name = "out"
chain = "nat"
action = "masquerade"
out = "wan"
"""

FIREWALL = """
[filter]
policy = "drop"

[[rule]]
name = "known"
chain = "filter"
action = "accept"
ctstate = ["ESTABLISHED", "RELATED"]

[[rule]]
name = "count"
chain = "filter"
action = "mark"
value = 7
proto = "udp"

[[rule]]
name = "dns"
chain = "filter"
action = "accept"
proto = "udp"
dport = 53
"""


def segment(sport, dport, seq, ack, flags, src="192.168.1.10", dst="203.0.113.10", data=b""):
    body = program.struct.pack(">HHIIBBHHH", sport, dport, seq, ack, 0x50, flags, 1000, 0, 0) + data
    addresses = bytes(int(x) for a in (src, dst) for x in a.split("."))
    right = checksum(addresses + program.struct.pack(">HH", 6, len(body)) + body)
    return ipv4(src, dst, 6, body[:16] + program.struct.pack(">H", right) + body[18:])


def client(seq, ack, flags, data=b""):
    return segment(40000, 80, seq, ack, flags, data=data)


def server(seq, ack, flags, data=b""):
    return segment(80, 40000, seq, ack, flags, "203.0.113.10", "192.168.1.10", data)


SYN, ACK, FIN, RST = 2, 16, 1, 4
HANDSHAKE = [(client(1000, 0, SYN)), (server(5000, 1001, SYN | ACK)), (client(1001, 5001, ACK))]


class Explain(Program):
    def stories(self, packets, *arguments, config=CONFIG):
        """The stories of packets a second apart that lan receives, as JSON."""
        self.write("c.toml", config.encode())
        self.write("a.pcap", pcap_bytes([(START + i * SECOND, p) for i, p in enumerate(packets)]))
        out = self.run_it("--in", "lan=a.pcap", "--explain", *arguments, "-o", "json").stdout
        return [json.loads(line) for line in out.splitlines()]

    def words(self, packets, *arguments, config=CONFIG):
        self.write("c.toml", config.encode())
        self.write("a.pcap", pcap_bytes([(START + i * SECOND, p) for i, p in enumerate(packets)]))
        return self.run_it("--in", "lan=a.pcap", "--explain", *arguments).stdout

    @staticmethod
    def step(story, stage):
        found = [s for s in story["steps"] if s["stage"] == stage]
        assert len(found) == 1, (stage, story)
        return found[0]

    # ---- One packet.

    def test_a_new_connection(self):
        story, = self.stories([syn(1000)])
        self.assertEqual(
            [s["stage"] for s in story["steps"]],
            ["parse", "lookup", "track", "route", "filter", "room", "entry", "forward"],
        )
        self.assertEqual((story["verdict"], story["ctstate"], story["dir"], story["reason"]),
                         ("accept", "NEW", "original", None))
        self.assertEqual(story["tuple"]["sport"], 1000)
        self.assertEqual(self.step(story, "track")["state"], {"before": "NONE", "after": "SYN_SENT"})
        self.assertEqual(self.step(story, "track")["timeout"],
                         {"seconds": 120, "setting": "nf_conntrack_tcp_timeout_syn_sent",
                          "policy": False})
        self.assertEqual(self.step(story, "entry")["entry"]["state"], "SYN_SENT")
        self.assertEqual(self.step(story, "route")["out"], "wan")

    def test_the_bounds_of_the_window_with_the_numbers_that_were_compared(self):
        *_, story = self.stories([*HANDSHAKE, client(900_000, 5001, ACK)])
        self.assertEqual((story["verdict"], story["ctstate"]), ("accept", "INVALID"))
        track = self.step(story, "track")
        self.assertEqual((track["result"], track["why"]), ("invalid", "ahead_of_window"))
        first = track["window"][0]
        self.assertEqual((first["bound"], first["left"], first["op"], first["right"], first["holds"]),
                         ("I", 900_000, "<=", 2001, False))
        self.assertEqual([b["holds"] for b in track["window"][1:]], [True, True, True])
        self.assertRegex(self.words([*HANDSHAKE, client(900_000, 5001, ACK)], "4"),
                         r"I +seq 900000 <= 2001: FAILS: the right edge")

    def test_what_a_reset_comes_to(self):
        reset = self.stories([*HANDSHAKE, server(4000, 0, RST), server(5001, 0, RST)])
        forged, exact = (self.step(s, "track") for s in reset[3:])
        self.assertEqual((forged["result"], forged["why"]), ("invalid", "rst_forged"))
        self.assertEqual(exact["state"], {"before": "ESTABLISHED", "after": "CLOSE"})
        self.assertEqual(exact["timeout"]["setting"], "nf_conntrack_tcp_timeout_close")

    def test_a_connection_that_ends_with_the_packet(self):
        story = self.stories([syn(40000), server(0, 1001, RST | ACK)])[1]
        self.assertEqual(self.step(story, "track")["why"], "rst_unanswered")
        self.assertEqual(self.step(story, "entry")["result"], "gone")

    def test_the_time_out_of_a_stream_and_its_setting(self):
        stories = self.stories([udp(), answer(), udp(), answer(), udp()])
        settings = [self.step(s, "track")["timeout"]["setting"] for s in stories]
        self.assertEqual(settings[0], "nf_conntrack_udp_timeout")
        self.assertEqual(settings[-1], "nf_conntrack_udp_timeout_stream")

    def test_rules_by_name_and_line(self):
        known, unknown, reply = (self.stories([p], config=CONFIG + FIREWALL)[0]
                                 for p in (udp(), udp(dport=99), answer()))
        rules = self.step(known, "filter")["rules"]
        self.assertEqual([(r["name"], r["action"]) for r in rules],
                         [("count", "mark"), ("dns", "accept")])
        line = 1 + (CONFIG + FIREWALL).splitlines().index('name = "dns"')
        self.assertIn(rules[1]["line"], (line, line - 1))
        self.assertEqual(self.step(unknown, "filter")["rules"][-1], {"policy": "drop"})
        self.assertEqual((unknown["verdict"], unknown["reason"]), ("drop", "rule_drop"))
        self.assertEqual(self.step(unknown, "entry")["result"], "none")
        self.assertEqual(self.step(reply, "filter")["result"], "drop")

    def test_established_packets_skip_a_chain_that_accepts_them_all(self):
        story = self.stories([udp(), answer()], config=CONFIG + FIREWALL)[1]
        filter_step = self.step(story, "filter")
        self.assertEqual(filter_step["rules"][0]["name"], "known")
        self.assertIn("not searched", " ".join(filter_step["details"]))

    def test_a_translation_and_why_that_port(self):
        # The first takes port 5000 towards the server; the second, from another host, cannot.
        first, second = self.stories([udp(), udp(src="192.168.1.11")], config=CONFIG + NAT)
        kept, moved = (self.step(s, "snat") for s in (first, second))
        self.assertEqual(kept["rule"]["name"], "out")
        self.assertEqual(kept["source"], {"address": "203.0.113.1", "port": 5000})
        self.assertIn("5000 is kept", kept["details"][0])
        self.assertEqual(moved["source"]["address"], "203.0.113.1")
        self.assertNotEqual(moved["source"]["port"], 5000)
        self.assertGreater(moved["candidates_taken"], 0)
        self.assertEqual(self.step(first, "forward")["tuple"]["src"], "203.0.113.1")

    def test_a_destination(self):
        dnat = """
[[rule]]
name = "dns"
chain = "nat"
action = "dnat"
in = "lan"
proto = "udp"
dport = 53
to = "203.0.113.77:5353"
"""
        story, = self.stories([udp()], config=CONFIG + dnat)
        self.assertEqual(self.step(story, "dnat")["destination"],
                         {"address": "203.0.113.77", "port": 5353})
        self.assertEqual(self.step(story, "forward")["tuple"]["dport"], 5353)

    def test_who_calls_a_mapping_that_is_for_everybody(self):
        stranger = udp(4000, 5000, "203.0.113.99", "203.0.113.1")
        self.write("wan.pcap", pcap_bytes([(START + SECOND, stranger)]))
        self.write("a.pcap", pcap_bytes([(START, udp())]))
        for filtering, verdict in {"endpoint-independent": "accept", "address-dependent": "drop"}.items():
            behaviour = f'mapping = "endpoint-independent"\nfiltering = "{filtering}"\n'
            self.write("c.toml", (CONFIG + NAT + behaviour).encode())
            out = self.run_it("--in", "lan=a.pcap", "--in", "wan=wan.pcap", "--explain", "-o",
                              "json").stdout
            story = json.loads(out.splitlines()[1])
            dnat = self.step(story, "dnat")
            self.assertEqual(story["verdict"], verdict)
            self.assertEqual(dnat["result"], "mapped" if verdict == "accept" else "drop")
            self.assertEqual((dnat["rule"]["name"], dnat["mapping"], dnat["destination"]),
                             ("out", {"address": "203.0.113.1", "port": 5000},
                              {"address": "192.168.1.10", "port": 5000}))

    def test_the_directions_that_are_liberal(self):
        raw = '[[rule]]\nchain = "raw"\naction = "track"\nliberal = "{}"\n'
        far = [client(900_000, 5001, ACK), server(1_900_000, 1001, ACK)]
        for word, states in {"original": ["ESTABLISHED", "INVALID"],
                             "reply": ["INVALID", "ESTABLISHED"],
                             "both": ["ESTABLISHED", "ESTABLISHED"]}.items():
            stories = self.stories([*HANDSHAKE, *far], config=CONFIG + raw.format(word))
            self.assertEqual([s["ctstate"] for s in stories[3:]], states)
            self.assertIn(word, self.step(stories[0], "raw")["details"][0])

    def test_want_of_room(self):
        config = CONFIG.replace("max = 1024", 'max = 2\noverflow = "drop"')
        story = self.stories([udp(1), udp(2), udp(3)], config=config)[2]
        room = self.step(story, "room")
        self.assertEqual((story["reason"], room["result"]), ("ct_table_full", "refused"))
        self.assertEqual((room["entries"], room["max"]), (2, 2))

        config = CONFIG.replace("max = 1024", "max = 2\nembryonic_percent = 100")
        story = self.stories([udp(1), udp(2), udp(3)], config=config)[2]
        self.assertEqual((self.step(story, "room")["result"], self.step(story, "room")["evicted"]),
                         ("taken", 1))

    def test_raw_rules_and_what_is_not_tracked(self):
        raw = '[[rule]]\nname = "fast"\nchain = "raw"\naction = "notrack"\nproto = "udp"\n'
        story, = self.stories([udp()], config=CONFIG + raw)
        self.assertEqual(self.step(story, "raw")["rules"][0]["name"], "fast")
        self.assertEqual(self.step(story, "lookup")["result"], "untracked")
        self.assertEqual(story["ctstate"], "UNTRACKED")

        raw = '[[rule]]\nname = "no"\nchain = "raw"\naction = "drop"\n'
        story, = self.stories([udp()], config=CONFIG + raw)
        self.assertEqual([s["stage"] for s in story["steps"]], ["parse", "raw"])
        self.assertEqual(story["reason"], "rule_drop")

    def test_what_goes_nowhere(self):
        nowhere, own, broken = self.stories(
            [udp(dst="192.0.2.1"), udp(dst="192.168.1.1"), udp()[:24]])
        self.assertEqual(self.step(nowhere, "route")["result"], "drop")
        self.assertEqual(self.step(own, "route")["result"], "local")
        self.assertEqual(own["reason"], "no_listener")
        self.assertEqual([s["stage"] for s in broken["steps"]], ["parse"])
        self.assertIn(broken["reason"], ("truncated", "bad_ip_length"))

    def test_an_error_is_about_the_packet_inside(self):
        icmp = bytes.fromhex("0303000000000000") + udp()[:28]
        icmp = icmp[:2] + program.struct.pack(">H", checksum(icmp)) + icmp[4:]
        unknown, _, known = self.stories(
            [ipv4("203.0.113.10", "192.168.1.10", 1, icmp), udp(),
             ipv4("203.0.113.10", "192.168.1.10", 1, icmp)])
        self.assertEqual((unknown["ctstate"], known["ctstate"]), ("INVALID", "RELATED"))
        self.assertEqual(self.step(known, "track")["result"], "related")
        self.assertEqual(self.step(known, "lookup")["entry"]["original"]["sport"], 5000)

    def test_a_fragment_that_waits_is_told_of_twice(self):
        whole = udp(data=bytes(32))[20:]
        first = ipv4("192.168.1.10", "203.0.113.10", 17, whole[:24], 0x2000)
        last = ipv4("192.168.1.10", "203.0.113.10", 17, whole[24:], 3)
        stories = self.stories([last, first])
        self.assertEqual([(s["packet"], s["verdict"]) for s in stories],
                         [(1, "wait"), (2, "accept"), (1, "accept")])

    # ---- Which packets.

    def test_filters(self):
        packets = [udp(), answer(), udp(6000), syn(7000), udp(8000, dst="203.0.113.99")]
        chosen = lambda f, **k: [s["packet"] for s in self.stories(packets, f, **k)]
        self.assertEqual(chosen("2"), [2])
        self.assertEqual(chosen("2-3"), [2, 3])
        self.assertEqual(chosen("udp 192.168.1.10:5000 > 203.0.113.10:53"), [1, 2])
        self.assertEqual(chosen("udp 203.0.113.10:53>192.168.1.10:5000"), [1, 2])
        self.assertEqual(chosen("tcp"), [4])
        self.assertEqual(chosen("203.0.113.99"), [5])
        self.assertEqual(chosen("udp * > 203.0.113.0/24:53"), [1, 2, 3, 5])
        # A reply to a translated source is of the flow.
        packets = [udp(), udp(53, 5000, "203.0.113.10", "203.0.113.1")]
        self.write("wan.pcap", pcap_bytes([(START + SECOND, packets[1])]))
        self.write("c.toml", (CONFIG + NAT).encode())
        self.write("a.pcap", pcap_bytes([(START, packets[0])]))
        out = self.run_it("--in", "lan=a.pcap", "--in", "wan=wan.pcap", "-o", "json",
                          "--explain=udp 192.168.1.10:5000 > 203.0.113.10:53").stdout
        self.assertEqual([json.loads(l)["packet"] for l in out.splitlines()], [1, 2])

    def test_filters_that_make_no_sense(self):
        self.write("a.pcap", pcap_bytes([]))
        for wrong, says in {
            "0": "number", "7-3": "number", "3-x": "neither a protocol",
            "quic": "neither a protocol", "tcp 10.0.0.1:99999": "a port",
            "tcp 10.0.0.1:80 >": "no destination", "10.0.0.1:80": "ports need a protocol",
            "tcp 10.0.0.1 > 2001:db8::1": "different families", "udp type 8": "icmp",
            "tcp 10.0.0.1 203.0.113.1": "no meaning", "icmp type 300": "ICMP type",
            "tcp 2001:db8::1:x": "no endpoint",
        }.items():
            with self.subTest(wrong=wrong):
                self.refused("--in", "lan=a.pcap", "--explain", wrong, code=2, says=says)
        self.refused("--in", "lan=a.pcap", "--explain", "-o", "xml", code=2, says="-o json")

    # ---- All of them.

    def test_every_golden_capture_is_told_as_it_was_decided(self):
        for name in sorted(p.name for p in run.GOLDEN.iterdir() if (p / "steps.jsonl").exists()):
            if name in run.NOT_PACKETS:
                continue
            with self.subTest(case=name):
                self.compare_case(name)

    def compare_case(self, name):
        case = run.Case(name, False, program.PROGRAM, self.dir)
        quiet = self.dir / "quiet"
        plain = case.run("--list", "--events", "--verdicts", quiet, "--stats")
        told = self.dir / "told"
        lines = case.run("--list", "--events", "--verdicts", told, "--stats", "--explain", "-o", "json")
        self.assertEqual(quiet.read_text(), told.read_text(), "telling changes nothing")
        stories = [json.loads(l) for l in lines if l.startswith('{"packet":')]
        self.assertGreater(len(plain), 0)

        last = {s["packet"]: s for s in stories if s["verdict"] != "wait"}
        for line in told.read_text().splitlines():
            n, port, verdict, state, direction, reason = line.split()
            story = last[int(n)]
            self.assertEqual(
                (story["port"], story["verdict"], story["ctstate"], story["dir"], story["reason"] or "-"),
                (port, verdict, state, direction, reason), story)
            self.check_story(story)

    def check_story(self, story):
        """What the tracker is said to have decided is what became of the entry."""
        steps = {}
        for step in story["steps"]:
            steps.setdefault(step["stage"], []).append(step)
        for track in steps.get("track", []):
            if track["result"] == "invalid" and "reopen" not in {t["result"] for t in steps["track"]}:
                self.assertEqual(story["ctstate"], "INVALID", story)
        if "entry" not in steps or "entry" not in steps["entry"][0]:
            return
        entry = steps["entry"][0]["entry"]
        track = steps["track"][-1]
        if "state" in track:
            self.assertEqual(entry["state"], track["state"]["after"], story)
        if "timeout" in track and track["result"] in ("accept", "open"):
            self.assertAlmostEqual(entry["timeout"], track["timeout"]["seconds"], delta=1, msg=story)
        window = track.get("window", [])
        fails = {b["bound"] for b in window if not b["holds"]}
        expected = {"ahead_of_window": "I", "overshoots": "I", "old_data": "II",
                    "ack_of_unsent": "III", "old_ack": "IV"}.get(track.get("why"))
        if expected:
            self.assertIn(expected, fails, story)
        if track.get("why") == "belongs":
            self.assertEqual(fails, set(), story)

    def test_any_packets_are_told_as_they_were_decided(self):
        seed = random.SystemRandom().randrange(2**32)
        rng = random.Random(seed)
        packets = []
        for _ in range(400):
            number = lambda base: base + rng.randrange(1500)
            flags = rng.choice([SYN, SYN | ACK, ACK, ACK | 8, FIN | ACK, RST, RST | ACK])
            packets.append(rng.choice([
                client(number(1000), number(5000), flags, bytes(rng.randrange(20))),
                server(number(5000), number(1000), flags, bytes(rng.randrange(20))),
                udp(5000 + rng.randrange(3)), answer(), udp()[: rng.randrange(60)],
            ]))
        config = CONFIG.replace("max = 1024", "max = 3") + rng.choice(["", FIREWALL, NAT])
        with self.subTest(seed=seed):
            self.write("c.toml", config.encode())
            self.write("a.pcap", pcap_bytes(
                [(START + i * SECOND // 3, p) for i, p in enumerate(packets)]))
            quiet = self.verdicts("--in", "lan=a.pcap")
            told = self.run_it("--in", "lan=a.pcap", "--verdicts", "v", "--explain", "-o", "json")
            self.assertEqual((self.dir / "v").read_text().splitlines(), quiet)
            stories = [json.loads(l) for l in told.stdout.splitlines()]
            self.assertEqual([s["packet"] for s in stories], list(range(1, len(packets) + 1)))
            for story, line in zip(stories, quiet):
                self.assertEqual((story["verdict"], story["ctstate"], story["reason"] or "-"),
                                 tuple(line.split()[i] for i in (2, 3, 5)), story)
                self.check_story(story)


# What program.py tests is not tested again.
for inherited in [name for name in dir(Program) if name.startswith("test_")]:
    setattr(Explain, inherited, None)
del Program

if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: explain.py SLUICE_REPLAY [unittest arguments]")
    program.PROGRAM = Path(sys.argv.pop(1)).resolve()
    os.environ["TZ"] = "UTC"
    unittest.main()
