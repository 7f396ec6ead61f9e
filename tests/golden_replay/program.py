#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""sluice-replay as a program: its files, its errors, its exit codes, its time.

usage: program.py SLUICE_REPLAY [unittest arguments]
"""

import os
import pwd
import random
import re
import struct
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from pcapfile import (
    COOKED, COOKED2, ETHERNET, IPV4, MICROSECONDS, RAW, pcap_bytes, pcapng_bytes, read_pcap,
)

PROGRAM = Path()
SECOND = 10**9
START = 1_700_000_000 * SECOND

CONFIG = """
[conntrack]
max = 1024

[[port]]
name = "lan"
device = "net_null0"
addresses = ["192.168.1.1/24"]

[[port]]
name = "wan"
device = "net_null1"
addresses = ["203.0.113.1/24"]
"""


def checksum(data):
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def ipv4(src, dst, proto, payload, fragment=0):
    address = lambda a: bytes(int(x) for x in a.split("."))
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(payload), 7, fragment, 64, proto, 0)
    head += address(src) + address(dst)
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + payload


def udp(sport=5000, dport=53, src="192.168.1.10", dst="203.0.113.10", data=b"hello!"):
    """A datagram without a checksum, which RFC 768 allows."""
    return ipv4(src, dst, 17, struct.pack(">HHHH", sport, dport, 8 + len(data), 0) + data)


def syn(sport, dport=80, src="192.168.1.10", dst="203.0.113.10"):
    segment = struct.pack(">HHIIBBHHH", sport, dport, 1000, 0, 0x50, 2, 64240, 0, 0)
    address = bytes(int(x) for a in (src, dst) for x in a.split("."))
    right = checksum(address + struct.pack(">HH", 6, len(segment)) + segment)
    return ipv4(src, dst, 6, segment[:16] + struct.pack(">H", right) + segment[18:])


def answer(sport=5000, dport=53):
    return udp(dport, sport, "203.0.113.10", "192.168.1.10")


def ethernet(packet):
    return bytes.fromhex("020000000100" "020000000001" "0800") + packet


class Program(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.dir = Path(directory.name)
        self.write("c.toml", CONFIG.encode())

    def write(self, name, data):
        path = self.dir / name
        path.write_bytes(data)
        return path

    def run_it(self, *arguments, code=0, config=True):
        command = [PROGRAM] + (["-c", "c.toml"] if config else []) + list(arguments)
        done = subprocess.run(
            command, cwd=self.dir, capture_output=True, text=True, timeout=120, check=False
        )
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done

    def verdicts(self, *arguments, code=0):
        return self.run_it(*arguments, "--verdicts", "-", code=code).stdout.splitlines()

    def refused(self, *arguments, code, says, config=True):
        """The program ends with `code`, and its one line on standard error matches `says`."""
        done = self.run_it(*arguments, code=code, config=config)
        self.assertRegex(done.stderr, r"\Asluice-replay: .*" + says)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        self.assertEqual(done.stdout, "")

    # ---- What it reads.

    def test_every_link_type_gives_the_same_verdicts(self):
        packets = [(START, udp()), (START + 1000, answer())]
        ends = bytes(2)
        cooked = struct.pack(">HHH", 0, 1, 6) + bytes.fromhex("020000000001") + ends + b"\x08\x00"
        cooked2 = struct.pack(">HHIHBB", 0x0800, 0, 2, 1, 4, 6) + cooked[6:14]
        fronts = {ETHERNET: ethernet(b""), RAW: b"", IPV4: b"", COOKED: cooked, COOKED2: cooked2}
        for link, front in fronts.items():
            with self.subTest(link=link):
                self.write("a.pcap", pcap_bytes([(t, front + p) for t, p in packets], link))
                self.assertEqual(
                    self.verdicts("--in", "lan=a.pcap"),
                    ["1 lan accept NEW original -", "2 lan accept ESTABLISHED reply -"],
                )

    def test_every_file_format_gives_the_same_events(self):
        packets = [(START + 123_456_000, udp())]
        formats = {
            "nanoseconds": pcap_bytes(packets),
            "microseconds": pcap_bytes(packets, magic=MICROSECONDS),
            "big-endian": pcap_bytes(packets, order=">"),
            "pcapng": pcapng_bytes(packets),
        }
        for name, data in formats.items():
            with self.subTest(format=name):
                self.write("a.pcap", data)
                out = self.run_it("--in", "lan=a.pcap", "--events", "-o", "timestamp").stdout
                self.assertTrue(out.startswith("[1700000000.123456]\t    [NEW] udp "), out)

    def test_captures_are_merged_by_time_and_ties_go_by_the_order_of_in(self):
        self.write("lan.pcap", pcap_bytes([(START, udp(1)), (START + 20, udp(3))]))
        self.write("wan.pcap", pcap_bytes([(START + 10, answer(1)), (START + 20, answer(3))]))

        def ports(*order):
            inputs = [a for port in order for a in ("--in", f"{port}={port}.pcap")]
            return [line.split()[1] for line in self.verdicts(*inputs)]

        self.assertEqual(ports("lan", "wan"), ["lan", "wan", "lan", "wan"])
        self.assertEqual(ports("wan", "lan"), ["lan", "wan", "wan", "lan"])

    def test_a_packet_from_the_past_is_taken_at_the_time_of_the_one_before_it(self):
        self.write("a.pcap", pcap_bytes([(START, udp(1)), (START - SECOND, udp(2))]))
        done = self.run_it("--in", "lan=a.pcap", "--events", "-o", "timestamp")
        times = [l.split("]")[0] for l in done.stdout.splitlines()]
        self.assertEqual(times, ["[1700000000.000000"] * 2)
        self.assertIn("sluice-replay: a.pcap: 1 of 2 packets are older", done.stderr)

    def test_the_standard_input_is_a_capture_too(self):
        done = subprocess.run(
            [PROGRAM, "-c", self.dir / "c.toml", "--in", "lan=-", "--verdicts", "-"],
            input=pcap_bytes([(START, udp())]), capture_output=True, timeout=120, check=False,
        )
        self.assertEqual(done.stdout, b"1 lan accept NEW original -\n", done.stderr)

    def test_a_capture_without_packets_is_no_error(self):
        self.write("a.pcap", pcap_bytes([]))
        self.assertEqual(self.verdicts("--in", "lan=a.pcap", "--list"), [])

    def test_packets_cut_by_the_snapshot_length_are_counted(self):
        self.write("a.pcap", pcap_bytes([(START, udp()[:24], 34)]))
        done = self.run_it("--in", "lan=a.pcap", "--verdicts", "-")
        self.assertEqual(done.stdout, "1 lan drop - - bad_ip_length\n")
        self.assertIn("1 of 1 packets are cut short", done.stderr)

    def test_a_cooked_packet_without_its_header_is_truncated(self):
        for link in (COOKED, COOKED2):
            self.write("a.pcap", pcap_bytes([(START, b"\x00" * 9)], link))
            self.assertEqual(self.verdicts("--in", "lan=a.pcap"), ["1 lan drop - - truncated"])

    def test_a_frame_larger_than_any_buffer_is_dropped_for_that(self):
        sizes = {9_000: "too_big", 65_000: "too_big", 70_000: "multi_segment"}
        for size, reason in sizes.items():
            packet = bytearray(udp(data=bytes(min(size, 65_000))))
            packet[6] = 0x40  # do not fragment
            packet[10:12] = bytes(2)
            packet[10:12] = struct.pack(">H", checksum(bytes(packet[:20])))
            frame = bytes(packet) + bytes(size - min(size, 65_000))
            self.write("a.pcap", pcap_bytes([(START, frame)]))
            seen = "NEW original" if reason == "too_big" else "- -"
            self.assertEqual(self.verdicts("--in", "lan=a.pcap"), [f"1 lan drop {seen} {reason}"])

    # ---- What is wrong with it.

    def test_a_capture_that_ends_inside_a_packet_is_replayed_up_to_there(self):
        data = pcap_bytes([(START, udp(1)), (START, udp(2)), (START, udp(3))])
        self.write("a.pcap", data[:-5])
        done = self.run_it("--in", "lan=a.pcap", "--list", code=1)
        self.assertEqual(len(done.stdout.splitlines()), 2)
        self.assertRegex(done.stderr, "sluice-replay: a.pcap: damaged behind packet 2: ")

    def test_a_file_that_is_no_capture_is_refused(self):
        self.write("garbage", b"this is no capture, and never was one")
        self.write("empty", b"")
        self.write("radio", pcap_bytes([], link=127))
        os.mkdir(self.dir / "folder")
        for name in ("garbage", "empty", "folder", "missing"):
            with self.subTest(name=name):
                self.refused("--in", f"lan={name}", code=1, says=f"{name}: .*; give a pcap")
        self.refused("--in", "lan=radio", code=1, says="radio: .*IEEE802_11_RADIO; give a capture")

    def test_a_second_missing_capture_stops_it_before_anything_is_written(self):
        self.write("a.pcap", pcap_bytes([(START, udp())]))
        self.refused("--in", "lan=a.pcap", "--in", "wan=none", "--out", "wan=o.pcap", code=1,
                     says="none: No such file")
        self.assertFalse((self.dir / "o.pcap").exists())

    def test_the_command_line_is_checked(self):
        self.write("a.pcap", pcap_bytes([]))
        ok = ("--in", "lan=a.pcap")
        for arguments, says in {
            (): "no capture",
            ("--in", "lan"): "PORT=FILE",
            ("--in", "=x"): "PORT=FILE",
            ("--in", "dmz=a.pcap"): "no port 'dmz'; it has lan, wan",
            ok + ("--out", "dmz=o"): "no port 'dmz'; it has lan, wan",
            ok + ("--out", "wan=o", "--out", "wan=p"): "two outputs",
            ok + ("--out", "wan=o", "--out", "lan=o"): "two ports write",
            ok + ("--at-end", "soon"): "number",
            ok + ("--at-end", "-1"): "number",
            ok + ("--at-end", "nan"): "number",
            ok + ("--seed", "0"): "number",
            ok + ("-o", "extended,colour"): "'colour'",
            ok + ("--lists",): "unknown option",
            ok + ("--list=yes",): "takes no value",
            ok + ("--verdicts",): "needs a value",
            ok + ("more",): "unexpected argument",
            ("--in", "lan=-", "--in", "wan=-"): "standard input",
        }.items():
            with self.subTest(arguments=arguments):
                self.refused(*arguments, code=2, says=says)
        self.refused(*ok, code=2, says="no configuration", config=False)

    def test_a_wrong_configuration_is_a_usage_error_with_its_line(self):
        self.write("c.toml", CONFIG.encode() + b"\nmagic = 1\n")
        self.write("a.pcap", pcap_bytes([]))
        self.refused("--in", "lan=a.pcap", code=2, says=r"c\.toml:15: .*magic")

    def test_what_is_read_is_not_written_over(self):
        data = pcap_bytes([(START, udp())])
        path = self.write("a.pcap", data)
        os.link(path, self.dir / "same.pcap")
        for option, target in (
            ("--out", "wan=a.pcap"), ("--out", "lan=same.pcap"), ("--verdicts", "c.toml")
        ):
            self.refused("--in", "lan=a.pcap", option, target, code=2, says="written over")
        self.assertEqual(path.read_bytes(), data)

    def test_a_full_disk_is_a_failure(self):
        self.write("a.pcap", pcap_bytes([(START, udp())]))
        self.refused("--in", "lan=a.pcap", "--verdicts", "/dev/full", code=1, says="/dev/full: ")
        self.refused("--in", "lan=a.pcap", "--out", "wan=/dev/full", code=1, says="/dev/full: ")

    def test_help_and_version_need_nothing_else(self):
        self.assertIn("--at-end SECONDS", self.run_it("--help", config=False).stdout)
        self.assertRegex(self.run_it("--version", config=False).stdout, r"^sluice-replay \d")

    # ---- What it writes.

    def test_an_output_is_raw_if_the_input_of_its_port_is(self):
        self.write("lan.pcap", pcap_bytes([(START + 5, udp())]))
        self.write("wan.pcap", pcap_bytes([], ETHERNET))
        arguments = ("--in", "lan=lan.pcap", "--out", "wan=o.pcap")
        for more, expected in (
            ((), ETHERNET), (("--in", "wan=wan.pcap"), ETHERNET), (("--in", "wan=lan.pcap"), RAW)
        ):
            self.run_it(*arguments, *more)
            link, packets = read_pcap(self.dir / "o.pcap")
            self.assertEqual(link, expected)
            when, packet = packets[0]
            self.assertEqual(when, START + 5)
            ip = packet if link == RAW else packet[14:]
            self.assertEqual(ip[8], 63)  # one hop less
            self.assertEqual(ip[12:], udp()[12:])

    def test_packets_in_are_packets_out_and_drops(self):
        broken = bytearray(udp())
        broken[10] ^= 1
        packets = [udp(), answer(), bytes(broken), b"", udp(dst="192.0.2.1"),
                   ipv4("192.168.1.10", "192.168.1.1", 1, bytes.fromhex("0800f7ff00000000"))]
        self.write("a.pcap", pcap_bytes([(START + i, p) for i, p in enumerate(packets)]))
        out = self.run_it("--in", "lan=a.pcap", "--stats").stdout
        n = {l.split()[0]: int(l.split()[1]) for l in out.splitlines()}
        self.assertEqual(n["in"], len(packets))
        self.assertEqual(n["in"] + n["made"], n["out"] + n["dropped"])
        reasons = {"bad_ip_checksum": 1, "truncated": 0, "no_route": 1, "local_consumed": 1}
        for reason, times in reasons.items():
            self.assertGreaterEqual(n[reason], times, reason)
        first, last = list(n).index("dropped") + 1, list(n).index("opened")
        self.assertEqual(sum(list(n.values())[first:last]), n["dropped"])

    def test_the_echo_to_an_own_address_is_answered_and_tracked(self):
        echo = bytes.fromhex("0800f7fd00010001")
        echo = echo[:2] + struct.pack(">H", checksum(echo[:2] + bytes(2) + echo[4:])) + echo[4:]
        self.write("a.pcap", pcap_bytes([(START, ipv4("192.168.1.10", "192.168.1.1", 1, echo))]))
        out = self.run_it("--in", "lan=a.pcap", "--out", "lan=o.pcap", "--list", "--verdicts", "v")
        self.assertEqual((self.dir / "v").read_text(), "1 lan drop NEW original local_consumed\n")
        self.assertEqual(read_pcap(self.dir / "o.pcap")[1][0][1][20], 0)  # type: echo reply
        self.assertNotIn("UNREPLIED", out.stdout)

    def test_a_fragment_that_waits_for_its_first_is_decided_later_and_told_in_order(self):
        whole = udp(data=bytes(32))[20:]
        first = ipv4("192.168.1.10", "203.0.113.10", 17, whole[:24], 0x2000)
        last = ipv4("192.168.1.10", "203.0.113.10", 17, whole[24:], 3)
        self.write("a.pcap", pcap_bytes([(START, last), (START + 1, udp(9)), (START + 2, first)]))
        self.assertEqual(
            self.verdicts("--in", "lan=a.pcap"),
            [f"{n} lan accept NEW original -" for n in (1, 2, 3)],
        )
        self.write("a.pcap", pcap_bytes([(START, last), (START + 40 * SECOND, udp(9))]))
        self.assertEqual(
            self.verdicts("--in", "lan=a.pcap"),
            ["1 lan drop - - fragment_timeout", "2 lan accept NEW original -"],
        )
        self.write("a.pcap", pcap_bytes([(START, last)]))
        self.assertEqual(self.verdicts("--in", "lan=a.pcap"), ["1 lan drop - - stopped"])

    def test_a_fragment_that_came_too_early_is_translated_like_its_first(self):
        """Datagrams are named by what is on the wire, whatever rules make of zone and addresses."""
        whole = udp(data=bytes(32))[20:]
        first = ipv4("192.168.1.10", "203.0.113.10", 17, whole[:24], 0x2000)
        last = ipv4("192.168.1.10", "203.0.113.10", 17, whole[24:], 3)
        self.write("a.pcap", pcap_bytes([(START, last), (START + 1, first)]))
        self.write("c.toml", (CONFIG + """
[[rule]]
chain = "raw"
src = "192.168.1.0/24"
action = "zone"
value = 7
zone_scope = "original"
[[rule]]
chain = "nat"
out = "wan"
action = "masquerade"
""").encode())
        self.assertEqual(
            self.verdicts("--in", "lan=a.pcap", "--out", "wan=wan.pcap"),
            ["1 lan accept NEW original -", "2 lan accept NEW original -"],
        )
        sources = [p[12:16] for p in self.frames("wan")]
        self.assertEqual(sources, [bytes([203, 0, 113, 1])] * 2)

    def test_what_is_malformed_is_invalid_and_the_policy_decides(self):
        cut = ipv4("192.168.1.10", "203.0.113.10", 17, b"\x13\x88\x00")
        odd = syn(2000)
        odd = odd[:33] + bytes([3]) + odd[34:]  # SYN and FIN; and the checksum is wrong
        self.write("a.pcap", pcap_bytes([(START, cut), (START + 1, odd)]))
        self.assertEqual(
            self.verdicts("--in", "lan=a.pcap"),
            ["1 lan accept INVALID - -", "2 lan accept INVALID - -"],
        )
        self.write("c.toml", (CONFIG + '[[zone]]\nid = 0\ninvalid = "drop"\n').encode())
        self.assertEqual(
            self.verdicts("--in", "lan=a.pcap"),
            ["1 lan drop INVALID - truncated", "2 lan drop INVALID - bad_tcp_checksum"],
        )
        nat = '[[rule]]\nchain = "nat"\nout = "wan"\naction = "masquerade"\n'
        self.write("c.toml", (CONFIG + nat).encode())
        self.assertEqual(
            self.verdicts("--in", "lan=a.pcap"),
            ["1 lan drop INVALID - nat_invalid", "2 lan drop INVALID - nat_invalid"],
        )

    def test_nobody_is_told_of_what_is_malformed(self):
        """Neither by an own address nor by a rule that rejects."""
        wrong = bytearray(udp(dst="192.168.1.1"))
        wrong[26:28] = b"\x12\x34"
        far = bytearray(udp())
        far[26:28] = b"\x12\x34"
        self.write("a.pcap", pcap_bytes([(START, bytes(wrong)), (START + 1, bytes(far))]))
        reject = '[[rule]]\nchain = "filter"\nout = "wan"\naction = "reject"\n'
        self.write("c.toml", (CONFIG + reject).encode())
        self.assertEqual(
            self.verdicts("--in", "lan=a.pcap", "--out", "lan=lan.pcap"),
            ["1 lan drop INVALID - bad_udp_checksum", "2 lan drop INVALID - rule_reject"],
        )
        self.assertEqual(self.frames("lan"), [])

    def test_two_runs_say_the_same(self):
        rng = random.Random(1)
        packets = [(START + i * 10**7, udp(rng.randrange(1, 65536))) for i in range(300)]
        self.write("a.pcap", pcap_bytes(packets))
        nat = '[[rule]]\nchain = "nat"\nout = "wan"\naction = "masquerade"\nrandom = true\n'
        self.write("c.toml", (CONFIG + nat).encode())
        run = lambda *more: self.run_it(
            "--in", "lan=a.pcap", "--list", "--events", "-o", "id,timestamp", "--stats", *more
        ).stdout
        self.assertEqual(run(), run())
        self.assertNotEqual(run(), run("--seed", "2"))

    # ---- Time.

    def test_connections_end_at_their_own_time(self):
        self.write("a.pcap", pcap_bytes([(START, udp(1)), (START + 10 * SECOND, udp(2)),
                                         (START + 3600 * SECOND, udp(3))]))
        lines = self.run_it("--in", "lan=a.pcap", "--events", "-o", "timestamp").stdout.splitlines()
        seen = [re.match(r"\[(\d+)\.\d+\]\t *\[(\w+)\].*? sport=(\d)", l).groups() for l in lines]
        self.assertEqual(
            [(int(t) - 1_700_000_000, what, port) for t, what, port in seen],
            [(0, "NEW", "1"), (10, "NEW", "2"), (30, "DESTROY", "1"), (40, "DESTROY", "2"),
             (3600, "NEW", "3")],
        )

    def test_time_goes_on_after_the_last_packet(self):
        self.write("a.pcap", pcap_bytes([(START, udp())]))
        listed = lambda *at_end: self.run_it("--in", "lan=a.pcap", "--list", *at_end).stdout
        self.assertRegex(listed(), r"^udp +17 30 ")
        self.assertRegex(listed("--at-end", "9.5"), r"^udp +17 20 ")
        self.assertEqual(listed("--at-end", "31"), "")

    def test_a_gap_of_years_costs_no_time(self):
        years = 100 * 365 * 86400 * SECOND
        self.write("a.pcap", pcap_bytes([(0, udp(1)), (years, udp(2))]))
        lines = self.run_it("--in", "lan=a.pcap", "--events").stdout.splitlines()
        self.assertEqual([l.split()[0] for l in lines], ["[NEW]", "[DESTROY]", "[NEW]"])

    def test_more_connections_expire_at_once_than_a_ring_of_events_holds(self):
        self.write("c.toml", CONFIG.replace("1024", "32768").encode())
        packets = [(START + i, udp(1 + i % 60000, 1 + i // 60000)) for i in range(20_000)]
        self.write("a.pcap", pcap_bytes(packets))
        out = self.run_it("--in", "lan=a.pcap", "--events", "--at-end", "40").stdout
        self.assertEqual(out.count("[DESTROY]"), 20_000)

    # ---- A full table.

    def full_table(self, settings, packets, rules=""):
        """What becomes of `packets` when three connections are all there may be."""
        config = CONFIG.replace("max = 1024", f"max = 3\n{settings}")
        self.write("c.toml", (config + rules).encode())
        first = [(START + i, udp(1000 + i)) for i in range(3)]
        rest = [(START + SECOND + i, p) for i, p in enumerate(packets)]
        self.write("a.pcap", pcap_bytes(first + rest))
        lines = self.verdicts("--in", "lan=a.pcap", "--out", "lan=lan.pcap", "--out", "wan=wan.pcap")
        self.assertEqual([l.split()[2] for l in lines[:3]], ["accept"] * 3)
        return [l.split(maxsplit=2)[2] for l in lines[3:]]

    def frames(self, port):
        """The IP packets that left by `port`."""
        link, packets = read_pcap(self.dir / f"{port}.pcap")
        return [data[14 if link == ETHERNET else 0 :] for _, data in packets]

    def test_policy_reject_tells_the_sender(self):
        got = self.full_table('overflow = "reject"', [udp(2000), syn(2001), udp(1001)])
        self.assertEqual(got, ["drop - - ct_table_reject"] * 2 + ["accept NEW original -"])
        icmp, reset = self.frames("lan")
        self.assertEqual((icmp[9], icmp[20], icmp[21]), (1, 3, 13), "administratively prohibited")
        self.assertEqual(icmp[16:20], bytes([192, 168, 1, 10]))
        self.assertEqual((reset[9], reset[33] & 4), (6, 4), "RST")
        self.assertEqual(reset[22:24], struct.pack(">H", 2001))

    def test_rejections_keep_to_the_rate_of_icmp_errors(self):
        got = self.full_table('overflow = "reject"', [udp(2000 + i) for i in range(20)],
                              "[forward]\nicmp_rate = 1\nicmp_burst = 4\n")
        self.assertEqual(got, ["drop - - ct_table_reject"] * 20)
        self.assertLessEqual(len(self.frames("lan")), 4)
        self.assertGreater(len(self.frames("lan")), 0)

    def test_policy_untracked_lets_packets_pass_without_a_connection(self):
        got = self.full_table('overflow = "untracked"', [udp(2000), syn(2001), udp(2000)])
        self.assertEqual([g.split()[:2] for g in got], [["accept", "UNTRACKED"]] * 3)
        self.assertEqual(len(self.frames("wan")), 6)

    def test_policy_untracked_lets_nothing_leave_untranslated(self):
        nat = """
[[rule]]
chain = "nat"
action = "masquerade"
out = "wan"
[[rule]]
chain = "nat"
action = "dnat"
in = "lan"
proto = "udp"
dst = "192.168.1.1"
dport = 7777
to = "203.0.113.10:53"
"""
        got = self.full_table('overflow = "untracked"',
                              [udp(2000), udp(2001, 7777, dst="192.168.1.1"), udp(1001)], nat)
        self.assertEqual([g.split()[0] for g in got], ["drop", "drop", "accept"])
        self.assertEqual([g.split()[-1] for g in got], ["nat_untracked", "nat_untracked", "-"])
        for frame in self.frames("wan"):
            self.assertEqual(frame[12:16], bytes([203, 0, 113, 1]), "translated")

    def test_policy_untracked_is_for_the_rules_to_judge(self):
        rule = """
[[rule]]
chain = "filter"
action = "drop"
ctstate = "UNTRACKED"
"""
        got = self.full_table('overflow = "untracked"', [udp(2000)], rule)
        self.assertEqual(got[0].split()[-1], "rule_drop")

    def test_a_rule_may_ask_how_full_the_table_is(self):
        rule = """
[[rule]]
chain = "filter"
action = "drop"
ctstate = "NEW"
dport = 2222
proto = "udp"
table_above = "60%"
"""
        self.write("c.toml", (CONFIG.replace("max = 1024", "max = 10\nembryonic_percent = 100") + rule).encode())
        packets = [(START + i * SECOND // 10, udp(1000 + i, 2222)) for i in range(10)]
        self.write("a.pcap", pcap_bytes(packets))
        lines = self.verdicts("--in", "lan=a.pcap")
        self.assertEqual([l.split()[2] for l in lines], ["accept"] * 7 + ["drop"] * 3)

    def test_what_a_rule_drops_displaces_nobody(self):
        rule = """
[[rule]]
chain = "filter"
action = "drop"
proto = "udp"
dport = 9
"""
        # The policies that Linux does not have wait for the rules; its own acts first, as it does.
        for policy, displaced in [("embryonic-oldest", False), ("closing-first", False),
                                  ("linux", True)]:
            config = CONFIG.replace("max = 1024", f'max = 3\nembryonic_percent = 100\noverflow = "{policy}"')
            self.write("c.toml", (config + rule).encode())
            packets = [udp(1000 + i) for i in range(3)] + [udp(2000 + i, 9) for i in range(3)]
            self.write("a.pcap", pcap_bytes([(START + i, p) for i, p in enumerate(packets)]))
            out = self.run_it("--in", "lan=a.pcap", "--events").stdout
            with self.subTest(policy):
                self.assertEqual(out.count("[NEW]"), 3)
                self.assertEqual("[DESTROY]" in out, displaced)

    # ---- Who may run it, and on what.

    @unittest.skipUnless(os.geteuid() == 0, "only root can become another user")
    def test_it_needs_no_privileges_and_no_environment(self):
        nobody = pwd.getpwnam("nobody")
        self.write("a.pcap", pcap_bytes([(START, udp())]))
        os.chmod(self.dir, 0o755)
        program = self.dir / "sluice-replay"
        program.write_bytes(PROGRAM.read_bytes())
        program.chmod(0o755)
        done = subprocess.run(
            [program, "-c", "c.toml", "--in", "lan=a.pcap", "--list"], cwd=self.dir, env={},
            user=nobody.pw_uid, group=nobody.pw_gid, extra_groups=[],
            capture_output=True, text=True, timeout=120, check=False,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"^udp +17 30 ")
        self.assertNotIn("EAL", done.stderr)

    def test_damaged_captures_never_break_it(self):
        seed = random.SystemRandom().randrange(2**32)
        rng = random.Random(seed)
        packets = [udp(), answer(), b"", bytes(40), udp(data=bytes(3000))]
        whole = pcap_bytes([(START + i, ethernet(p)) for i, p in enumerate(packets * 5)], ETHERNET)
        for attempt in range(12):
            data = bytearray(whole)
            for _ in range(rng.randrange(1, 40)):
                # The file's head is spared at first, so that the packets are looked at.
                data[rng.randrange(24 if attempt < 9 else 0, len(data))] = rng.randrange(256)
            self.write("a.pcap", bytes(data))
            done = subprocess.run(
                [PROGRAM, "-c", "c.toml", "--in", "lan=a.pcap", "--verdicts", "v", "--stats"],
                cwd=self.dir, capture_output=True, text=True, timeout=120, check=False,
            )
            with self.subTest(seed=seed, attempt=attempt):
                self.assertIn(done.returncode, (0, 1), done.stderr)
                if done.stdout:
                    n = {l.split()[0]: int(l.split()[1]) for l in done.stdout.splitlines()}
                    self.assertEqual(n["in"] + n["made"], n["out"] + n["dropped"])
                    self.assertEqual(n["in"], len((self.dir / "v").read_text().splitlines()))


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: program.py SLUICE_REPLAY [unittest arguments]")
    PROGRAM = Path(sys.argv.pop(1)).resolve()
    os.environ["TZ"] = "UTC"
    unittest.main()
