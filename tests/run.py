#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Runs every test there is and ends with one line: `N passed, N failed, N skipped`.

Four passes, each a build folder and a selection of its meson tests:

    release  what users run: every suite, end to end included
    bench    every benchmark once, for a moment, so that none rots
    asan     AddressSanitizer and UBSan with all assertions, on everything but timing
    tsan     ThreadSanitizer on what threads share: ct/ and nat/

The count is of single test cases: what GoogleTest and unittest say of themselves on the output of
one meson test; a test that says nothing of the kind counts as one.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Seconds on a machine with two cores; a sanitizer's slowdown stretches the tests' own limits.
SANITIZER_STRETCH = 8

SANITIZERS = {
    "ASAN_OPTIONS": "abort_on_error=1:detect_stack_use_after_return=1:strict_string_checks=1",
    "UBSAN_OPTIONS": "halt_on_error=1:abort_on_error=1:print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1",
}


class Pass:
    """One build folder and which of its tests run."""

    def __init__(self, name, setup, suites=(), names=(), stretch=1, env=None, benchmark=False):
        self.name = name
        self.setup = setup  # options of `meson setup`
        self.suites = suites
        self.names = names  # of single tests, on top of the suites
        self.stretch = stretch
        self.env = env or {}
        self.benchmark = benchmark

    def wants(self, test):
        suites = {s.split(":")[-1] for s in test["suite"]}
        return test["name"] in self.names or bool(suites & set(self.suites))


PASSES = [
    Pass("release", ["-Dtests=enabled", "-Dbench=enabled"],
         suites=["unit", "scenario", "property", "conformance", "fuzz-corpus", "lint", "e2e"]),
    Pass("bench", ["-Dtests=enabled", "-Dbench=enabled"], benchmark=True,
         env={"SLUICE_BENCH_ONCE": "1"}),
    Pass("asan", ["-Dtests=enabled", "-Dbench=disabled", "-Dbuildtype=debugoptimized",
                  "-Doptimization=1", "-Dchecks=full", "-Db_sanitize=address,undefined"],
         suites=["unit", "scenario", "property", "conformance", "fuzz-corpus", "e2e-short"],
         stretch=SANITIZER_STRETCH, env=SANITIZERS),
    Pass("tsan", ["-Dtests=enabled", "-Dbench=disabled", "-Dbuildtype=debugoptimized",
                  "-Doptimization=1", "-Dchecks=cheap", "-Db_sanitize=thread"],
         suites=["stress"], names=["ct", "nat"], stretch=SANITIZER_STRETCH, env=SANITIZERS),
]

# What a test program says of itself: passed, failed, skipped.
GTEST_PASSED = re.compile(r"^\[  PASSED  \] (\d+) tests?\.", re.M)
GTEST_FAILED = re.compile(r"^\[  FAILED  \] (\d+) tests?, listed below", re.M)
GTEST_SKIPPED = re.compile(r"^\[  SKIPPED \] (\d+) tests?, listed below", re.M)
UNITTEST_RAN = re.compile(r"^Ran (\d+) tests? in ", re.M)
UNITTEST_END = re.compile(r"^(?:OK|FAILED)(?: \((.*)\))?$", re.M)


def count(record):
    """(passed, failed, skipped) of one line of meson's testlog.json."""
    result = record["result"]
    output = "\n".join((record.get("stdout") or "", record.get("stderr") or ""))

    def number(pattern):
        found = pattern.search(output)
        return int(found.group(1)) if found else 0

    if GTEST_PASSED.search(output):
        passed, failed, skipped = (number(p) for p in (GTEST_PASSED, GTEST_FAILED, GTEST_SKIPPED))
    elif UNITTEST_RAN.search(output):
        words = UNITTEST_END.search(output)
        said = dict(re.findall(r"(\w+)=(\d+)", (words and words.group(1)) or ""))
        failed = int(said.get("failures", 0)) + int(said.get("errors", 0))
        skipped = int(said.get("skipped", 0))
        passed = max(number(UNITTEST_RAN) - failed - skipped, 0)
    else:
        passed = failed = skipped = 0
        if result == "SKIP":
            skipped = 1
        elif result in ("OK", "EXPECTEDFAIL"):
            passed = 1
    if result not in ("OK", "EXPECTEDFAIL", "SKIP"):
        failed = max(failed, 1)  # it may have died before or after its own last word
    return passed, failed, skipped


def run(command, **options):
    print("+", " ".join(map(str, command)), flush=True)
    return subprocess.run([str(c) for c in command], stdin=subprocess.DEVNULL, check=False,
                          **options).returncode


def tsan_wrapper():
    """g++ 12's ThreadSanitizer cannot map its shadow where the kernel randomizes 32 bits."""
    bits = Path("/proc/sys/vm/mmap_rnd_bits")
    if not bits.exists() or int(bits.read_text()) <= 28:
        return []
    return ["--wrapper", f"setarch {os.uname().machine} -R"]


def configure(folder, options):
    if (folder / "build.ninja").exists():
        return run(["meson", "configure", folder, *options]) == 0
    return run(["meson", "setup", folder, ROOT, *options], stdout=subprocess.DEVNULL) == 0


def run_pass(one, folder, werror):
    """Builds and runs a pass; returns its (passed, failed, skipped)."""
    print(f"\n== {one.name}: {folder.name}", flush=True)
    # Instrumented code makes g++ 12 warn of uninitialised values that are none (its manual says so
    # of -fsanitize): warnings are errors where there is no sanitizer.
    strict = werror if one.env is not SANITIZERS else "false"
    if not configure(folder, [*one.setup, f"-Dwerror={strict}"]):
        return 0, 1, 0
    # A changed option is applied by ninja; introspection must see its outcome.
    if run(["ninja", "-C", folder, "build.ninja"], stdout=subprocess.DEVNULL) != 0:
        return 0, 1, 0
    kind = "--benchmarks" if one.benchmark else "--tests"
    known = json.loads(subprocess.check_output(["meson", "introspect", str(folder), kind]))
    chosen = sorted({t["name"] for t in known if one.benchmark or one.wants(t)})
    if not chosen:
        return 0, 0, 0
    if one.name == "release" and run(["ninja", "-C", folder]) != 0:
        return 0, 1, 0

    log = folder / "meson-logs" / "testlog.json"
    log.unlink(missing_ok=True)
    command = ["meson", "test", "-C", folder, "--print-errorlogs",
               "--timeout-multiplier", one.stretch, *(["--benchmark"] if one.benchmark else []),
               *chosen]
    if one.name == "tsan":
        command[5:5] = tsan_wrapper()
    status = run(command, env={**os.environ, **one.env})
    lines = log.read_text().splitlines() if log.exists() else []
    counts = [count(json.loads(line)) for line in lines]
    passed, failed, skipped = (sum(c[i] for c in counts) for i in range(3))
    if status != 0 and failed == 0:
        failed = 1  # meson itself, or the compiler
    for line in lines:
        record = json.loads(line)
        if record["result"] == "SKIP":
            said = ((record.get("stderr") or "") + (record.get("stdout") or "")).strip()
            print(f"skipped: {record['name']}: {said.splitlines()[-1] if said else 'no reason'}")
    return passed, failed, skipped


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default="build", help="release folder; others stand beside it")
    parser.add_argument("--werror", default="false", choices=["true", "false"])
    parser.add_argument("--only", action="append", choices=[p.name for p in PASSES])
    args = parser.parse_args()

    build = (ROOT / args.build).resolve()
    total, summary = [0, 0, 0], []
    for one in PASSES:
        if args.only and one.name not in args.only:
            continue
        suffix = "" if one.name in ("release", "bench") else f"-{one.name}"
        started = time.monotonic()
        counts = run_pass(one, build.with_name(build.name + suffix), args.werror)
        summary.append((one.name, counts, time.monotonic() - started))
        total = [a + b for a, b in zip(total, counts)]

    print()
    for name, (passed, failed, skipped), took in summary:
        print(f"{name:8} {passed:5} passed {failed:3} failed {skipped:3} skipped  {took:6.0f} s")
    if sum(total) == 0:
        print("no test ran", file=sys.stderr)
        total[1] = 1
    print(f"{total[0]} passed, {total[1]} failed, {total[2]} skipped", flush=True)
    return 1 if total[1] else 0


if __name__ == "__main__":
    sys.exit(main())
