# SPDX-License-Identifier: BSD-3-Clause
"""The frame of the benchmark programs in Python: flags, signals, statistics, result, exit codes.

A program names its cases, measures those that were chosen into the result, and raises Wrong or
Impossible. What it has measured until then is written all the same. Exit codes: 0 measured,
1 something did not do its work, 77 not possible here (the reason is the last line), 130
interrupted.
"""

import argparse
import fnmatch
import json
import os
import signal
import statistics
import subprocess
import sys
from pathlib import Path

SKIP = 77
INTERRUPTED = 130
ROOT = Path(__file__).resolve().parent.parent


class Wrong(Exception):
    """What was measured did not do what the case is about, so that its time means nothing."""


class Impossible(Exception):
    """This machine cannot run the benchmark."""


# How work that fails shows itself: checks, programs, devices, and answers that are not as expected.
FAILURES = (Wrong, OSError, AssertionError, ValueError, KeyError, subprocess.SubprocessError)


def parser(about, quick):
    """Flags that every program has; `quick`: what --quick does."""
    made = argparse.ArgumentParser(description=about.splitlines()[0])
    made.add_argument("--json", metavar="FILE", help="write the result there too")
    made.add_argument("--quick", action="store_true", help=quick)
    made.add_argument("--once", action="store_true", help="tiny: only show that it works")
    made.add_argument("--list", action="store_true", help="name the cases and end")
    made.add_argument("--only", metavar="GLOB", default="*", help="the cases to run")
    return made


def parse(made):
    args = made.parse_args()
    args.once = args.once or bool(os.environ.get("SLUICE_BENCH_ONCE"))
    return args


def choose(cases, args):
    """The cases that --only names: a case has an `id`."""
    return [c for c in cases if fnmatch.fnmatchcase(c.id, args.only)]


def spread(values):
    """Median, quartiles and extremes as the report's format has them."""
    values = sorted(values)
    q1, median, q3 = (statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1
                      else values * 3)
    return {"median": median, "q1": q1, "q3": q3, "min": values[0], "max": values[-1],
            "slices": len(values)}


def interrupted(number, _frame):
    raise KeyboardInterrupt(signal.Signals(number).name)


def run(name, args, chosen, measure, **facts):
    """Names the chosen cases, or lets `measure(result)` fill the result; returns the exit code."""
    if args.list:
        print("\n".join(c.id for c in chosen))
        return 0
    result = {"program": name, **facts, "cases": [], "series": [], "notes": [], "failed": []}
    signal.signal(signal.SIGTERM, interrupted)
    code = 0
    try:
        measure(result)
    except Impossible as reason:
        print(f"{name}: skipped: {reason}", file=sys.stderr)
        result["skipped"] = str(reason)
        code = SKIP
    except FAILURES as error:
        print(f"{name}: {error}", file=sys.stderr)
        result["failed"].append(str(error) or type(error).__name__)
        code = 1
    except KeyboardInterrupt as signalled:
        print(f"{name}: ended by {signalled or 'SIGINT'}", file=sys.stderr)
        result["failed"].append("interrupted")
        code = INTERRUPTED
    if args.json:
        Path(args.json).write_text(json.dumps(result, indent=1) + "\n")
    return code
