#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Runs every benchmark program and writes the report: index.html, to be read, and report.json.

The programs are those that meson knows as benchmarks; each takes --json FILE, and --quick for a
shorter run. One that fails, or does not end in its time, is shown as failed in the report, and the
exit code is then 1. Figures that were missed change nothing in the exit code: they are told.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import report_figures
import report_page
from report_results import CUT_OFF, DONE, FAILED, LEFT_OUT, SKIPPED, Program, Results

ROOT = Path(__file__).resolve().parent.parent
SKIP_CODE = 77
# What the figures at the top of the report come from runs first, should time be short.
FIRST = ("table_hits", "table_floods", "kernel_peer", "table_peers", "table_scaling", "legit_flood",
         "io_bench", "dump_bench")
# Seconds that all programs together may take with --quick: five minutes less the rest of `make`.
QUICK_TOTAL = 270
QUICK_EACH = 100
USED_UP = f"the {QUICK_TOTAL} s of a quick run were used up; make bench without QUICK=1 runs it"
WORTH_STARTING = 5  # seconds that must be left for a program to be started
GRACE = 15  # seconds that a program has to put things back after it was told to end


def discover(build):
    """Meson's benchmarks, in the order in which they are to run."""
    listed = json.loads(subprocess.check_output(
        ["meson", "introspect", str(build), "--benchmarks"], text=True))
    place = {name: number for number, name in enumerate(FIRST)}
    return sorted(listed, key=lambda b: place.get(b["name"], len(FIRST)))


def end(process):
    """Ends a program and all that it started: asks first, so that it can put things back."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(GRACE)
        except ProcessLookupError:
            return  # nobody is left
        except subprocess.TimeoutExpired:
            continue


def tail(path, lines=4, letters=600):
    """The last words of a program's output, for a reader who asks what went wrong."""
    said = [s for s in path.read_text(errors="replace").splitlines() if s.strip()]
    return " | ".join(said[-lines:])[-letters:]


def read_json(path):
    """(What the program wrote, why it cannot be used)."""
    try:
        result = json.loads(path.read_text())
    except FileNotFoundError:
        return {}, "it wrote no result"
    except (OSError, ValueError) as error:
        return {}, f"its result cannot be read: {error}"
    return (result, "") if isinstance(result, dict) else ({}, "its result is no JSON object")


def judge(name, code, seconds, result, unreadable, last_words):
    """The outcome of a program that ended by itself."""
    reasons = result.get("failed") or []
    reasons = [reasons] if isinstance(reasons, str) else [str(r) for r in reasons]
    if code == SKIP_CODE:
        return Program(name, SKIPPED, seconds, str(result.get("skipped") or last_words), result)
    if code != 0 or reasons:
        ended = f"exit code {code}" if code >= 0 else f"ended by {signal.Signals(-code).name}"
        return Program(name, FAILED, seconds, "; ".join(reasons) or f"{ended}: {last_words}",
                       result)
    if unreadable:
        return Program(name, FAILED, seconds, unreadable)
    return Program(name, DONE, seconds, "", result)


def execute(benchmark, folder, quick, limit):
    """Runs one program, its output going to the terminal and to a file beside the report."""
    name = benchmark["name"]
    stem = "".join(c if c.isalnum() else "_" for c in name)
    out, log = folder / f"{stem}.json", folder / f"{stem}.log"
    out.unlink(missing_ok=True)
    command = [*benchmark["cmd"], "--json", str(out), *(["--quick"] if quick else [])]
    print(f"\n== {name} (at most {limit:.0f} s)", flush=True)
    started = time.monotonic()
    with log.open("wb") as sink:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sink,
                                   stderr=subprocess.STDOUT, start_new_session=True,
                                   cwd=benchmark.get("workdir") or ROOT,
                                   env={**os.environ, **benchmark.get("env", {})})
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            code = None
            end(process)
        except BaseException:  # an interrupt: leave nothing behind
            end(process)
            raise
    seconds = time.monotonic() - started
    sys.stdout.write(log.read_text(errors="replace"))
    result, unreadable = read_json(out)
    if code is None:
        return Program(name, CUT_OFF, seconds, f"it did not end within {limit:.0f} s", result)
    return judge(name, code, seconds, result, unreadable, tail(log))


def run_all(benchmarks, folder, quick):
    """Runs the programs one after the other, with --quick within a time for all."""
    programs = []
    total_end = time.monotonic() + QUICK_TOTAL
    for benchmark in benchmarks:
        limit = float(benchmark.get("timeout") or 600)
        if quick:
            left = total_end - time.monotonic()
            limit = min(limit, QUICK_EACH, left)
            if left < WORTH_STARTING:
                programs.append(Program(benchmark["name"], LEFT_OUT, 0, USED_UP))
                continue
        try:
            programs.append(execute(benchmark, folder, quick, limit))
        except OSError as error:
            programs.append(Program(benchmark["name"], FAILED, 0, str(error)))
        last = programs[-1]
        # For want of time, not because of itself.
        if last.state == CUT_OFF and quick and limit < QUICK_EACH:
            last.state, last.reason = LEFT_OUT, USED_UP
        print(f"-- {last.name}: {last.state}, {last.seconds:.0f} s"
              f"{': ' + last.reason if last.reason else ''}", flush=True)
    return programs


def as_json(programs, figures, results, about):
    """report.json: all that the page shows."""
    return {
        "about": about, "machine": results.machine,
        "figures": [{"key": f.key, "label": f.label, "ratio": f.ratio, "unit": f.unit,
                     "at_least": f.at_least, "aim": f.aim, "low_is_good": f.low_is_good,
                     "verdict": f.verdict, "measured": f.measured, "note": f.note,
                     "explanation": f.explanation}
                    for f in figures],
        "programs": [{"name": p.name, "state": p.state, "seconds": round(p.seconds, 1),
                      "reason": p.reason, "result": p.result} for p in programs],
        "problems": results.problems,
    }


def load(path):
    """The programs of an earlier report.json, to make the page again from them."""
    known = json.loads(Path(path).read_text())
    return ([Program(str(p["name"]), str(p["state"]), float(p["seconds"]), str(p["reason"]),
                     p["result"]) for p in known["programs"]], known["about"])


def write(programs, about, folder):
    """Writes both files; returns the figures."""
    results = Results(programs)
    figures = report_figures.figures(results)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(
        json.dumps(as_json(programs, figures, results, about), indent=1) + "\n")
    (folder / "index.html").write_text(report_page.page(results, figures, about), encoding="utf-8")
    return figures


def commit():
    """The commit that is measured, and whether the tree differs from it."""
    found = subprocess.run(["git", "-C", str(ROOT), "describe", "--always", "--dirty",
                            "--abbrev=12"], capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=Path, default=ROOT / "build", help="the build folder")
    parser.add_argument("--out", type=Path, help="where the report goes (BUILD/report)")
    parser.add_argument("--quick", action="store_true", help="shorter, at most five minutes")
    parser.add_argument("--only", action="append", metavar="NAME", help="run this program alone")
    parser.add_argument("--from", dest="earlier", metavar="FILE",
                        help="measure nothing: make the page again from this report.json")
    return parser.parse_args()


def main():
    args = arguments()
    folder = (args.out or args.build / "report").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if args.earlier:
        programs, about = load(args.earlier)
    else:
        benchmarks = discover(args.build)
        unknown = set(args.only or ()) - {b["name"] for b in benchmarks}
        if unknown:
            print(f"report: no benchmark named {', '.join(sorted(unknown))}; there are: "
                  f"{', '.join(b['name'] for b in benchmarks)}", file=sys.stderr)
            return 2
        chosen = [b for b in benchmarks if not args.only or b["name"] in args.only]
        about = (f"Measured on {time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime())}, commit "
                 f"{commit()}{', quick run: few and short slices' if args.quick else ''}.")
        programs = run_all(chosen, folder, args.quick)
    figures = write(programs, about, folder)

    print()
    for f in figures:
        print(f"{report_page.ratio(f):>7} {f.verdict:13} at least {f.limit(f.at_least):8} "
              f"aim {f.limit(f.aim):8} {f.label}")
    bad = [p.name for p in programs if p.state in (FAILED, CUT_OFF)]
    print(f"\nreport: {folder / 'index.html'}")
    if bad:
        print(f"report: failed: {', '.join(bad)}", file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
