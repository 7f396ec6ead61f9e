# SPDX-License-Identifier: BSD-3-Clause
"""End to end: what the program makes of what sluice-flood counts."""

import contextlib
import io
import subprocess
import sys
import unittest
from pathlib import Path

BENCH = Path(__file__).resolve().parent.parent.parent / "bench"
sys.path.insert(0, str(BENCH))
import io_bench  # noqa: E402


class IoBenchTest(unittest.TestCase):

    @staticmethod
    def counted(mpps, lost=0):
        return {"mpps": mpps, "mpps_samples": [mpps] * 3, "workers": 1, "flood_sent": 1000,
                "established_lost": lost, "assured_evicted": 0}

    def case(self, whole, without):
        return io_bench.Case("io/x", "title", {"driver": "net_null"},
                             {"sluice": lambda: whole, "sluice, notrack": lambda: without})

    def measured(self, *cases, rounds=1):
        result = {"cases": [], "notes": []}
        with contextlib.redirect_stdout(io.StringIO()):
            io_bench.measure(cases, rounds, result)
        return result

    def test_share_of_the_tracker_is_what_notrack_saves(self):
        result = self.measured(self.case(self.counted(2.0), self.counted(8.0)))

        self.assertIn("25% of the time a packet takes is input", result["notes"][0])
        by_key = {(c["id"], c["contestant"]): c for c in result["cases"]}
        self.assertEqual(by_key["io/x", "sluice"]["median"], 2)
        self.assertEqual(by_key["io/x/ns", "sluice"]["median"], 500)
        self.assertEqual(by_key["io/x/ns", "sluice, notrack"]["median"], 125)

    def test_rounds_add_up(self):
        result = self.measured(self.case(self.counted(2.0), self.counted(8.0)), rounds=3)

        self.assertEqual(result["cases"][0]["slices"], 9)
        self.assertIn("6,000 SYNs", result["cases"][-1]["title"])

    def test_a_lost_connection_fails_the_benchmark(self):
        with self.assertRaisesRegex(io_bench.Wrong, "2 established connections were lost"):
            self.measured(self.case(self.counted(2.0, lost=2), self.counted(8.0)))

    def test_every_case_has_a_name_of_its_own(self):
        listed = subprocess.run([sys.executable, BENCH / "io_bench.py", "--list"],
                                capture_output=True, text=True, timeout=60,
                                check=True).stdout.split()

        self.assertEqual(len(listed), len(set(listed)))
        self.assertIn("io/af_packet/flood/workers1", listed)

    def test_once_runs_one_case_of_each_driver(self):
        listed = subprocess.run([sys.executable, BENCH / "io_bench.py", "--list", "--once"],
                                capture_output=True, text=True, timeout=60,
                                check=True).stdout.split()

        self.assertEqual(sorted(id.split("/")[1] for id in listed),
                         ["af_packet", "net_null", "net_ring", "tap"])


if __name__ == "__main__":
    unittest.main()
