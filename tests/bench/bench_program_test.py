# SPDX-License-Identifier: BSD-3-Clause
"""The frame of the benchmark programs in Python: what becomes of what a program measures."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "bench"))
import bench_program  # noqa: E402
from bench_program import Impossible, Wrong  # noqa: E402


def parsed(*flags, **environment):
    clean = {k: v for k, v in os.environ.items() if k != "SLUICE_BENCH_ONCE"}
    with mock.patch.object(sys, "argv", ["program", *flags]), \
            mock.patch.dict(os.environ, {**clean, **environment}, clear=True):
        return bench_program.parse(bench_program.parser("About.\nMore.", "less"))


class BenchProgramTest(unittest.TestCase):

    def setUp(self):
        before = signal.getsignal(signal.SIGTERM)
        self.addCleanup(signal.signal, signal.SIGTERM, before)

    def outcome(self, measure, *flags):
        """(Exit code, result as written, what went to stderr)."""
        with tempfile.TemporaryDirectory() as folder, \
                contextlib.redirect_stderr(io.StringIO()) as said:
            out = Path(folder) / "result.json"
            code = bench_program.run("program", parsed("--json", str(out), *flags), [], measure)
            return code, json.loads(out.read_text()), said.getvalue()

    def test_what_was_measured_before_a_failure_is_written(self):
        for error in (Wrong("lost"), OSError("lost"), AssertionError("lost"), ValueError("lost"),
                      subprocess.CalledProcessError(1, "lost")):
            def measure(result, error=error):
                result["cases"].append({"id": "a"})
                raise error

            code, result, said = self.outcome(measure)

            self.assertEqual((code, result["cases"]), (1, [{"id": "a"}]))
            self.assertIn("lost", result["failed"][0])
            self.assertIn("program: ", said)

    def test_what_this_machine_cannot_do_is_no_failure(self):
        def measure(_):
            raise Impossible("no root")

        code, result, said = self.outcome(measure)

        self.assertEqual((code, result["skipped"], result["failed"]),
                         (bench_program.SKIP, "no root", []))
        self.assertEqual(said.splitlines()[-1], "program: skipped: no root")

    def test_a_signal_ends_it_in_order(self):
        def measure(_):
            os.kill(os.getpid(), signal.SIGTERM)
            signal.pause()

        code, result, said = self.outcome(measure)

        self.assertEqual((code, result["failed"]), (bench_program.INTERRUPTED, ["interrupted"]))
        self.assertIn("ended by SIGTERM", said)

    def test_a_mistake_of_the_program_is_not_hidden(self):
        def measure(_):
            raise AttributeError("a typo")

        with self.assertRaises(AttributeError):
            bench_program.run("program", parsed(), [], measure)

    def test_list_names_cases_and_measures_nothing(self):
        measure = mock.Mock()
        with contextlib.redirect_stdout(io.StringIO()) as said:
            code = bench_program.run("program", parsed("--list"),
                                     [SimpleNamespace(id="a/1"), SimpleNamespace(id="b")], measure)

        self.assertEqual((code, said.getvalue()), (0, "a/1\nb\n"))
        measure.assert_not_called()

    def test_only_is_a_glob_and_once_may_come_from_the_environment(self):
        cases = [SimpleNamespace(id=id) for id in ("io/a/1", "io/b/1", "dump/1")]

        self.assertEqual([c.id for c in bench_program.choose(cases, parsed("--only", "io/*"))],
                         ["io/a/1", "io/b/1"])
        self.assertEqual([parsed().once, parsed("--once").once,
                          parsed(SLUICE_BENCH_ONCE="1").once], [False, True, True])

    def test_spread_of_one_value_and_of_many(self):
        self.assertEqual(bench_program.spread([7]), {"median": 7, "q1": 7, "q3": 7, "min": 7,
                                                     "max": 7, "slices": 1})
        self.assertEqual(bench_program.spread([5, 1, 3, 2, 4]),
                         {"median": 3, "q1": 2, "q3": 4, "min": 1, "max": 5, "slices": 5})


if __name__ == "__main__":
    unittest.main()
