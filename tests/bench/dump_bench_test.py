# SPDX-License-Identifier: BSD-3-Clause
"""A listing beside a worker: what the program makes of its slices."""

import subprocess
import sys
import unittest
from pathlib import Path
from unittest import mock

BENCH = Path(__file__).resolve().parent.parent.parent / "bench"
sys.path.insert(0, str(BENCH))
import dump_bench  # noqa: E402


class FakeFlood:
    """A worker whose clock and packets move on by what each slice is said to cost it."""

    path = Path("/nowhere.sock")

    def __init__(self, entries=1000):
        self.entries, self.now, self.packets = entries, 0.0, 0

    def counted(self):
        return self.now, self.packets

    def spend(self, seconds, pps):
        self.now += seconds
        self.packets += int(seconds * pps)
        return seconds


class DumpBenchTest(unittest.TestCase):

    def turns(self, pps, rounds=3):
        """Slices of a worker that makes `pps` packets a second, by contestant."""
        flood = FakeFlood()
        with mock.patch.multiple(
                dump_bench, idle=lambda s: flood.spend(s, pps[dump_bench.ALONE]),
                busy_loop=lambda s: flood.spend(s, pps[dump_bench.BESIDE_LOOP]),
                listing=lambda _, name, __: flood.spend(0.5, pps[name])):
            samples = dump_bench.take_turns(flood, rounds, [dump_bench.DEFAULT], {0, 1})
        case = dump_bench.Case("dump/1000", 1000, False, [dump_bench.DEFAULT])
        return {(r["id"].rsplit("/", 1)[1], r["contestant"]): r
                for r in dump_bench.rows(case, samples)}

    def test_a_slice_is_held_against_those_of_nothing_around_it(self):
        by_key = self.turns({dump_bench.ALONE: 8e6, dump_bench.BESIDE_LOOP: 6e6,
                             dump_bench.DEFAULT: 4e6})

        self.assertAlmostEqual(by_key["mpps", dump_bench.ALONE]["median"], 8)
        self.assertAlmostEqual(by_key["ratio", dump_bench.BESIDE_LOOP]["median"], 0.75)
        self.assertAlmostEqual(by_key["ratio", dump_bench.DEFAULT]["median"], 0.5)
        self.assertAlmostEqual(by_key["own", dump_bench.DEFAULT]["median"], 2 / 3)

    def test_seconds_and_entries_a_second_are_of_whole_listings(self):
        by_key = self.turns({dump_bench.ALONE: 8e6, dump_bench.BESIDE_LOOP: 8e6,
                             dump_bench.DEFAULT: 8e6}, rounds=4)

        self.assertAlmostEqual(by_key["seconds", dump_bench.DEFAULT]["median"], 0.5)
        self.assertAlmostEqual(by_key["rate", dump_bench.DEFAULT]["median"], 0.002)
        self.assertEqual(by_key["seconds", dump_bench.DEFAULT]["slices"], 4)

    def test_slices_in_which_the_worker_got_no_time_are_held_against_nothing(self):
        by_key = self.turns({dump_bench.ALONE: 0, dump_bench.BESIDE_LOOP: 0,
                             dump_bench.DEFAULT: 4e6})

        self.assertAlmostEqual(by_key["mpps", dump_bench.DEFAULT]["median"], 4)
        self.assertNotIn(("ratio", dump_bench.DEFAULT), by_key)
        self.assertNotIn(("own", dump_bench.DEFAULT), by_key)

    def listed(self, code, said):
        done = subprocess.CompletedProcess([], code, stderr=said)
        with mock.patch.object(dump_bench.subprocess, "run", return_value=done), \
                mock.patch.object(dump_bench.bench_net, "program", return_value="sluicectl"):
            return dump_bench.listing(FakeFlood(), dump_bench.DEFAULT, {0})

    def test_a_listing_that_is_not_whole_fails_the_benchmark(self):
        self.assertGreaterEqual(
            self.listed(0, "sluicectl v1 (sluice): 1000 flow entries have been shown.\n"), 0)
        for code, said in ((0, "sluicectl v1 (sluice): 999 flow entries have been shown.\n"),
                           (0, "sluicectl v1 (sluice): 11000 flow entries have been shown.\n"),
                           (1, "sluicectl v1 (sluice): 1000 flow entries have been shown.\n")):
            with self.assertRaises(dump_bench.Wrong):
                self.listed(code, said)

    def test_siblings_are_no_cores_of_their_own(self):
        def lists(text):
            return mock.patch.object(dump_bench.Path, "read_text", return_value=text)

        with lists("0-1\n"):
            self.assertIs(dump_bench.whole_cores({1}, {0}), False)
        with lists("1,5\n"):
            self.assertIs(dump_bench.whole_cores({1}, {0, 2}), True)
        with mock.patch.object(dump_bench.Path, "read_text", side_effect=OSError):
            self.assertIsNone(dump_bench.whole_cores({1}, {0}))

    def test_every_case_has_a_name_of_its_own(self):
        listed = subprocess.run([sys.executable, BENCH / "dump_bench.py", "--list"],
                                capture_output=True, text=True, timeout=60,
                                check=True).stdout.split()

        self.assertEqual(len(listed), len(set(listed)))
        self.assertIn("dump/1000000", listed)


if __name__ == "__main__":
    unittest.main()
