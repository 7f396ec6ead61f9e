#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""A listing of a million connections, and what it costs those whose packets go on meanwhile.

sluice-flood runs the dataplane with one worker at full load, packets of connections that are open,
and serves a control socket. `sluicectl -L` reads the whole table through it, on the CPU that the
worker has left to control. Slices take turns: nothing beside the worker, a busy loop on control's
CPU for as long as a listing takes, and the listings. The loop says what anything costs a worker
whose CPU shares a core with control's; what a listing costs beyond it, it costs by what it does:
memory traffic, and cache lines that the worker wants as well.

Exit codes: 0 measured, 1 a listing is not whole or a run failed, 77 not possible here.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import bench_program
from bench_program import ROOT, Impossible, Wrong, spread

sys.path.insert(0, str(ROOT / "tests" / "e2e"))
import bench_net  # noqa: E402  where the programs are

SETUP_LIMIT = 120  # seconds until every connection is open
SHORTEST = 0.1  # seconds of a slice that may have any length
ALONE, BESIDE_LOOP = "nothing beside it", "a busy loop beside it"
DEFAULT = "sluicectl -L"  # what has to be whole in time, and not in the worker's way
ANYWHERE = "sluicectl -L, on any CPU"  # where the scheduler puts it
LISTINGS = {DEFAULT: [], ANYWHERE: [], "sluicectl -L -o save": ["-o", "save"],
            "sluicectl -L -o xml": ["-o", "xml"]}


class Flood:
    """sluice-flood with its worker at full load, and a connection to its control socket."""

    def __init__(self, folder, entries, acct):
        self.path = Path(folder) / "control.sock"
        self.result = Path(folder) / "result.json"
        self.log = open(Path(folder) / "flood.log", "w+b")
        table = entries + entries // 20 + 100
        self.process = subprocess.Popen(
            [bench_net.program("sluice-flood"), "--plain", "--workers", "1", "--flood-pps", "0",
             "--legit-cps", "0", "--established", str(entries), "--established-pps", "max",
             "--rtt", "1", "--table", str(table), "--seconds", "3600", "--control",
             str(self.path), "--json", str(self.result), *(["--acct"] if acct else [])],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT)
        self.entries = entries
        self.link = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.log.close()

    def said(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def alive(self):
        if self.process.poll() is not None:
            raise Wrong(f"sluice-flood ended with {self.process.returncode}: {self.said()[-300:]}")
        return True

    def wait_for_load(self):
        """Returns when every connection is open and sends."""
        bench_net.wait_for("control socket", lambda: self.alive() and self.path.exists(),
                           timeout=SETUP_LIMIT)
        self.link = socket.socket(socket.AF_UNIX)
        self.link.connect(str(self.path))
        self.link.settimeout(60)
        self.lines = self.link.makefile("rb")
        # Opening takes two or three packets a connection: with twice as many they all send.
        bench_net.wait_for("worker under load", lambda: self.alive()
                           and self.counted()[1] > 6 * self.entries, timeout=SETUP_LIMIT, every=0.1)

    def counted(self):
        """(now, packets that the worker has forwarded)."""
        self.link.sendall(b'{"v":1,"cmd":"stats"}\n')
        answer = json.loads(self.lines.readline())
        now = time.monotonic()
        if "data" not in answer or "done" not in json.loads(self.lines.readline()):
            raise Wrong(f"stats: {answer}")
        return now, answer["data"]["daemon"]["total"]["tx_packets"]

    def cpus(self):
        """(The worker's CPUs, control's), as the kernel knows them."""
        worker = set()
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            if "worker" in (task / "comm").read_text():
                worker |= os.sched_getaffinity(int(task.name))
        return worker, os.sched_getaffinity(self.process.pid)

    def end(self):
        """Lets it end and checks its books."""
        self.link.close()
        self.process.send_signal(signal.SIGTERM)
        if self.process.wait(60) != 0:
            raise Wrong(f"sluice-flood ended with {self.process.returncode}: {self.said()[-300:]}")
        counted = json.loads(self.result.read_text())
        if counted["established_lost"] or counted["established_before"] != self.entries:
            raise Wrong(f"{counted['established_before']} of {self.entries} connections were open, "
                        f"{counted['established_lost']} of them were lost")
        return counted


def whole_cores(worker, control):
    """True if no CPU of `worker` shares a core with one of `control`'s; None if that is unknown."""
    for cpu in worker:
        path = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        try:
            siblings = path.read_text().strip()
        except OSError:
            return None
        for part in siblings.split(","):
            low, _, high = part.partition("-")
            if control & set(range(int(low), int(high or low) + 1)):
                return False
    return True


def listing(flood, name, everywhere):
    """One whole listing; returns how long it took."""
    command = [str(bench_net.program("sluicectl")), "--socket", str(flood.path), "-L",
               *LISTINGS[name]]
    if name == ANYWHERE:
        command = ["taskset", "-c", ",".join(map(str, everywhere)), *command]
    started = time.monotonic()
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, text=True, timeout=SETUP_LIMIT, check=False)
    seconds = time.monotonic() - started
    if done.returncode != 0 or f"): {flood.entries} flow entries have been shown." not in done.stderr:
        raise Wrong(f"{' '.join(command)}: exit code {done.returncode}: {done.stderr.strip()}")
    return seconds


def busy_loop(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    return seconds


def idle(seconds):
    time.sleep(seconds)
    return seconds


@dataclass
class Samples:
    """Of one contestant: seconds of its slices, the worker's Mpps in them, and how that compares
    with the slices of nothing before and after."""

    seconds: list = field(default_factory=list)
    mpps: list = field(default_factory=list)
    ratios: list = field(default_factory=list)


def ratio(part, whole):
    """None where the machine gave the worker no time at all to be held against."""
    return part / whole if part is not None and whole else None


def take_turns(flood, rounds, shown, everywhere):
    """Slices of every contestant, each between two of nothing. `everywhere`: all CPUs there are."""
    samples = {name: Samples() for name in (ALONE, BESIDE_LOOP, *shown)}

    def slice_of(name, work):
        begun, before = flood.counted()
        seconds = work()
        ended, after = flood.counted()
        samples[name].seconds.append(seconds)
        samples[name].mpps.append((after - before) / (ended - begun) / 1e6)

    length = max(listing(flood, DEFAULT, everywhere), SHORTEST)
    slice_of(ALONE, lambda: idle(length))
    for _ in range(rounds):
        work = {BESIDE_LOOP: lambda: busy_loop(length),
                **{name: lambda name=name: listing(flood, name, everywhere) for name in shown}}
        for name, run in work.items():
            slice_of(name, run)
            length = max(samples[name].seconds[-1], SHORTEST) if name == DEFAULT else length
            slice_of(ALONE, lambda: idle(length))
            alone = samples[ALONE].mpps
            samples[name].ratios.append(ratio(2 * samples[name].mpps[-1], alone[-2] + alone[-1]))
    return samples


def rows(case, samples):
    params = {"entries": case.entries, "acct": case.acct}
    title = f"{case.entries:,} connections{', counted' if case.acct else ''}"
    out = []

    def row(suffix, what, contestant, unit, values):
        values = [v for v in values if v is not None]
        if not values:
            return
        out.append({"id": f"{case.id}/{suffix}", "group": "dump", "title": f"{title}: {what}",
                    "contestant": contestant, "unit": unit, "params": params, **spread(values)})

    for name, s in samples.items():
        if name in LISTINGS:
            row("seconds", "a whole listing", name, "s", s.seconds)
    for name, s in samples.items():
        if name in LISTINGS:
            row("rate", "entries listed", name, "M entries/s",
                [case.entries / seconds / 1e6 for seconds in s.seconds])
    for name, s in samples.items():
        row("mpps", "the worker meanwhile", name, "Mpps", s.mpps)
    for name, s in samples.items():
        if name != ALONE:
            row("ratio", "the worker's rate, of that with nothing beside it", name, "times",
                s.ratios)
    if DEFAULT in samples:
        row("own", "the same, of that with the busy loop beside it", DEFAULT, "times",
            list(map(ratio, samples[DEFAULT].ratios, samples[BESIDE_LOOP].ratios)))
    return out


@dataclass
class Case:
    id: str
    entries: int
    acct: bool
    shown: list


def cases(args):
    entries = 20_000 if args.once else 1_000_000
    every = [DEFAULT, ANYWHERE] if args.quick else list(LISTINGS)
    counted = [] if args.quick else [Case(f"dump/{entries}/acct", entries, True, [DEFAULT])]
    return [Case(f"dump/{entries}", entries, False, every), *counted]


def measure(case, rounds, result):
    with tempfile.TemporaryDirectory() as folder, Flood(folder, case.entries, case.acct) as flood:
        flood.wait_for_load()
        worker, control = flood.cpus()
        if not worker or worker & control:
            raise Impossible("the worker has no CPU of its own here")
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, control)  # this program's loop, and sluicectl
        try:
            samples = take_turns(flood, rounds, case.shown, before)
        finally:
            os.sched_setaffinity(0, before)
        flood.end()
    made = rows(case, samples)
    result["cases"] += made
    print(f"{case.id}: worker on CPU {sorted(worker)}, control and sluicectl on {sorted(control)}")
    for r in made:
        print(f"  {r['title']:73} {r['contestant']:24} {r['median']:8.3f} {r['unit']} "
              f"({r['q1']:.3f} to {r['q3']:.3f})", flush=True)
    apart = whole_cores(worker, control)
    note = (f"{case.id}: the CPUs of the worker and of control are "
            + ("hyperthreads of one core, as the kernel sees it" if apart is False else
               "cores of their own, as the kernel sees it; under a hypervisor they may still be "
               "hyperthreads of one" if apart else "of unknown relation")
            + ": the busy loop beside the worker tells.")
    result["notes"].append(note)


def main():
    args = bench_program.parse(bench_program.parser(__doc__,
                                                    "the default listing alone, fewer times"))
    chosen = bench_program.choose(cases(args), args)

    def measure_all(result):
        for case in chosen:
            measure(case, 1 if args.once else 5 if args.quick else 15, result)

    return bench_program.run("dump_bench", args, chosen, measure_all)


if __name__ == "__main__":
    sys.exit(main())
