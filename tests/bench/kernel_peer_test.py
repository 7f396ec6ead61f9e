# SPDX-License-Identifier: BSD-3-Clause
"""The kernel as a peer: what can be told of the program without measuring."""

import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

BENCH = Path(__file__).resolve().parent.parent.parent / "bench"
sys.path.insert(0, str(BENCH))
import bench_program  # noqa: E402
import kernel_lab  # noqa: E402
import kernel_peer  # noqa: E402


def run(program, *arguments):
    return subprocess.run([sys.executable, BENCH / program, *arguments], capture_output=True,
                          text=True, timeout=60, check=False)


class KernelPeerTest(unittest.TestCase):

    def test_cost_is_the_difference_of_neighbours(self):
        samples = kernel_peer.Samples([30, 50, 41], [10, 20, 11])
        case = kernel_peer.Case("id", "group", "title", 64, True, None, {"flows": 3})

        cost, tracked, plain = kernel_peer.record(case, samples)

        self.assertEqual(samples.cost, [20, 30, 30])
        self.assertEqual((cost["median"], cost["q1"], cost["min"], cost["slices"]), (30, 25, 20, 3))
        self.assertEqual((tracked["median"], plain["median"]), (41, 11))
        self.assertEqual(tracked["mpps"], 1000 / 41)
        self.assertEqual(cost["contestant"], "linux nf_conntrack")
        self.assertEqual(cost["params"], {"max": 64, "buckets": 64, "flows": 3})

    def test_the_report_finds_the_cases_that_it_looks_for(self):
        listed = run("kernel_peer.py", "--list", "--quick").stdout.split()

        for id in ("kernel/hit/tcp/1000000", "kernel/insert/1048576", "kernel/full/1048576"):
            self.assertIn(id, listed)

    def test_once_runs_every_case_at_tiny_size(self):
        whole = run("kernel_peer.py", "--list").stdout.split()
        tiny = run("kernel_peer.py", "--list", "--once").stdout.split()

        self.assertIn("kernel/full-of-assured/262144", whole)
        self.assertEqual(len(tiny), len(whole))
        self.assertEqual(len(set(tiny)), len(tiny))
        sizes = [int(id.split("/")[-1]) for id in tiny if id.split("/")[-1].isdigit()]
        # But for one address's ports, of which there are 64,512.
        self.assertLess(sorted(sizes)[-2], 20_000)

    def test_only_picks_cases_also_those_that_quick_leaves_out(self):
        listed = run("kernel_peer.py", "--list", "--quick", "--only", "kernel/hit/udp/*").stdout

        self.assertEqual(listed.split(), ["kernel/hit/udp/1000000"])

    def test_what_keeps_it_from_running_is_said_in_the_result(self):
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "result.json"
            ended = run("kernel_peer.py", "--quick", "--json", str(out), "--sender",
                        str(Path(folder) / "gone"))
            result = json.loads(out.read_text())

        self.assertEqual(ended.returncode, bench_program.SKIP)
        self.assertIn("skipped: ", ended.stderr)
        self.assertIn(result["skipped"], ended.stderr)
        self.assertEqual(result["cases"], [])

    def test_who_listens_to_events_is_found_by_its_command_line(self):
        with tempfile.TemporaryDirectory() as folder:
            proc = Path(folder)
            for pid, command in (("7", "/usr/sbin/conntrack\0-E\0"), ("8", "conntrack\0-L\0"),
                                 ("9", "conntrackd\0-d\0"), ("10", "vi\0conntrack\0-E\0"),
                                 ("11", "")):
                (proc / pid).mkdir()
                (proc / pid / "cmdline").write_text(command)
            with mock.patch.object(kernel_peer, "Path",
                                   lambda p: proc if p == "/proc" else Path(p)):
                self.assertEqual(kernel_peer.listeners(), ["7", "9"])

    def test_the_size_of_the_kernels_table_is_put_back_whatever_happens(self):
        with tempfile.TemporaryDirectory() as folder:
            proc = Path(folder)
            (proc / "nf_conntrack_max").write_text("70000\n")
            (proc / "nf_conntrack_buckets").write_text("65536\n")
            with mock.patch.object(kernel_lab, "PROC", proc):
                with self.assertRaises(KeyboardInterrupt), kernel_lab.global_table() as resize:
                    resize(1024)
                    self.assertEqual((proc / "nf_conntrack_max").read_text(), "1024")
                    self.assertEqual((proc / "nf_conntrack_buckets").read_text(), "1024")
                    raise KeyboardInterrupt

            self.assertEqual((proc / "nf_conntrack_max").read_text(), "70000")
            self.assertEqual((proc / "nf_conntrack_buckets").read_text(), "65536")

    def test_counters_that_do_not_add_up_end_the_case(self):
        kernel = mock.Mock(counters=lambda: {"new": 12, "drop": 1})

        kernel_peer.expect(kernel, {"new": 2, "drop": 1}, new=10, drop=0)
        with self.assertRaisesRegex(kernel_peer.Wrong, "new went up by 10, not by 9"):
            kernel_peer.expect(kernel, {"new": 2, "drop": 1}, new=9)


if __name__ == "__main__":
    unittest.main()
