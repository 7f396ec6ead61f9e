# SPDX-License-Identifier: BSD-3-Clause
"""What the benchmark programs said, made uniform: one Row a contestant and case, and the curves.

A program's JSON is input like any other: what is malformed is left out and named in `problems`.
"""

import fnmatch
import math
import re
from dataclasses import dataclass, field

# "sluice, burst 8"
NUMBERED = re.compile(r"(?P<name>.+), (?P<param>burst) (?P<number>\d+)")
# How a program ended.
DONE, FAILED, CUT_OFF, SKIPPED, LEFT_OUT = "done", "failed", "cut off", "skipped", "left out"


@dataclass
class Row:
    """One contestant's result in a case; times are what `unit` says."""

    program: str
    id: str
    group: str
    title: str
    contestant: str
    unit: str
    median: float
    q1: float
    q3: float
    low: float
    high: float
    slices: int
    params: dict = field(default_factory=dict)
    roof: float = 0  # median of the roofline in the same slices; 0: there was none
    roof_id: str = ""


@dataclass
class Trace:
    """A curve, as over time or over the fill of a table."""

    program: str
    id: str
    title: str
    contestant: str
    xlabel: str
    ylabel: str
    x: list
    y: list


@dataclass
class Program:
    """A benchmark program's run."""

    name: str
    state: str
    seconds: float = 0
    reason: str = ""  # why it did not end as it should
    result: dict = field(default_factory=dict)


def real(value):
    """`value` if it is a finite number, else None."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    return None


def mpps(ns):
    """Millions of packets a second that so many nanoseconds a packet are."""
    return 1000 / ns


def size_bytes(text):
    """Bytes of a size as Linux writes that of a cache, "32768K"; 0 if it is none."""
    found = re.fullmatch(r"(\d+)([KMG]?)", str(text))
    return int(found[1]) << {"": 0, "K": 10, "M": 20, "G": 30}[found[2]] if found else 0


class Results:
    """The rows and curves of all programs, and where to find them."""

    def __init__(self, programs):
        self.programs = programs
        self.rows, self.traces, self.notes, self.problems = [], [], [], []
        self.machine = {}
        for program in programs:
            self.take(program)
        self.lay_out()
        self.tell_apart()

    def take(self, program):
        result = program.result if isinstance(program.result, dict) else {}
        for case in self.list_of(program, result, "cases"):
            self.take_case(program.name, case)
        for trace in self.list_of(program, result, "series"):
            self.take_trace(program.name, trace)
        self.notes += [(program.name, str(n)) for n in self.list_of(program, result, "notes")]
        facts = result.get("machine")
        for key, value in (facts.items() if isinstance(facts, dict) else ()):
            self.machine.setdefault(str(key), value)

    def last_level_cache(self):
        """Bytes of the machine's largest cache; 0 if the programs did not tell."""
        caches = self.machine.get("caches")
        return max((size_bytes(c.get("size")) for c in caches if isinstance(c, dict)),
                   default=0) if isinstance(caches, list) else 0

    def lay_out(self):
        """A contestant that is one of several by a number is one contestant over that number."""
        for row in self.rows:
            found = NUMBERED.fullmatch(row.contestant)
            if found:
                row.contestant = found["name"]
                row.params = {**row.params, found["param"]: int(found["number"])}

    def tell_apart(self):
        """Adds its id to a title that several cases have."""
        ids = {}
        for row in self.rows:
            ids.setdefault(row.title, set()).add((row.id, row.unit))
        for row in self.rows:
            if len({i for i, unit in ids[row.title] if unit == row.unit}) > 1:
                row.title = f"{row.title} ({row.id})"

    def list_of(self, program, result, key):
        value = result.get(key, [])
        if isinstance(value, list):
            return value
        self.problems.append(f"{program.name}: '{key}' is no list")
        return []

    def take_case(self, program, case):
        if not isinstance(case, dict) or real(case.get("median")) is None or "id" not in case:
            self.problems.append(f"{program}: a case without id or median: {str(case)[:80]}")
            return
        median = real(case["median"])
        numbers = [real(case.get(key)) for key in ("q1", "q3", "min", "max")]
        q1, q3, low, high = (median if n is None else n for n in numbers)
        params = case.get("params")
        name = str(case["id"])
        self.rows.append(Row(
            program, name, str(case.get("group", "")), str(case.get("title", name)),
            str(case.get("contestant", "sluice")), str(case.get("unit", "ns/packet")), median, q1,
            q3, low, high, int(real(case.get("slices")) or 0),
            params if isinstance(params, dict) else {}, real(case.get("roof_ns")) or 0,
            str(case.get("roof_id", ""))))

    def take_trace(self, program, trace):
        def numbers(key):
            values = trace.get(key)
            return [real(v) for v in values] if isinstance(values, list) else []

        x, y = (numbers("x"), numbers("y")) if isinstance(trace, dict) else ([], [])
        if not x or len(x) != len(y) or None in x or None in y:
            self.problems.append(f"{program}: a series without equally many x and y")
            return
        name = str(trace.get("id", ""))
        self.traces.append(Trace(program, name, str(trace.get("title", name)),
                                 str(trace.get("contestant", "sluice")),
                                 str(trace.get("xlabel", "")), str(trace.get("ylabel", "")), x, y))

    def find_all(self, glob, contestant):
        """The rows whose id matches one glob and whose contestant the other."""
        return [r for r in self.rows if fnmatch.fnmatchcase(r.id, glob)
                and fnmatch.fnmatchcase(r.contestant, contestant)]

    def trace(self, glob, contestant="*"):
        for trace in self.traces:
            if fnmatch.fnmatchcase(trace.id, glob) and fnmatch.fnmatchcase(trace.contestant,
                                                                           contestant):
                return trace
        return None


def natural(text):
    """Sorts numbers within text by their value."""
    parts, digits = [], ""
    for c in str(text) + " ":
        if c.isdigit():
            digits += c
            continue
        if digits:
            parts.append((0, int(digits), ""))
            digits = ""
        parts.append((1, 0, c))
    return parts
