#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""The whole dataplane end to end, over drivers that need no network card.

sluice-flood does the work: in one process with the dataplane over net_null (which moves no bytes)
and net_ring (which moves pointers), and from a namespace of its own against a running sluice over
net_tap and over af_packet on veth. Contestants take turns: the same run without tracking (`notrack`
in the raw chain) says what receiving, parsing, routing, sending and making the packets cost, and so
which share of the whole is the tracker's.

Exit codes: 0 measured, 1 a packet or buffer is missing or a run failed, 77 not possible here.
"""

import json
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field

import bench_program
from bench_program import ROOT, Wrong

sys.path.insert(0, str(ROOT / "tests" / "e2e"))
import bench_net  # noqa: E402  namespaces and processes that end with the lab

RUN_LIMIT = 120  # seconds for one run of sluice-flood

MIXES = {
    "established": ("packets of 200,000 open connections, none new",
                    ["--flood-pps", "0", "--established-pps", "max", "--legit-cps", "0",
                     "--established", "200000"]),
    "flood": ("SYNs on a full table, each evicts one",
              ["--flood-pps", "max", "--established-pps", "0", "--legit-cps", "0",
               "--established", "0"]),
    "mixed": ("SYNs on a full table, 100,000 packets a second of 80,000 open connections, 1,000 "
              "connections a second begun", []),
}
# The kernel's devices lose packets when their queues are full, so the connections are few; whether
# one was thrown out of the table is asked of sluice itself.
EXTERNAL = ["--flood-pps", "max", "--established", "50", "--established-pps", "100",
            "--legit-cps", "0"]

CONFIG = """
[dataplane]
workers = 1
[conntrack]
max = 262144
acct = true
[[port]]
name = "clients"
device = "{clients}"
addresses = ["198.18.255.254/16"]
promiscuous = true
[[port]]
name = "servers"
device = "{servers}"
addresses = ["198.19.255.254/16"]
promiscuous = true
[[route]]
to = "10.0.0.0/8"
via = "198.18.255.253"
port = "clients"
[control]
socket = "{socket}"
"""
NOTRACK = '[[rule]]\nchain = "raw"\naction = "notrack"\n'


def flood(*arguments, inside=()):
    """Runs sluice-flood to its end; returns what it counted."""
    with tempfile.NamedTemporaryFile(suffix=".json") as out:
        command = [*inside, str(bench_net.program("sluice-flood")), "--plain", "--json", out.name,
                   *map(str, arguments)]
        ended = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, timeout=RUN_LIMIT, check=False)
        if ended.returncode != 0:
            raise Wrong(f"{' '.join(command)}: exit code {ended.returncode}: "
                        f"{ended.stdout.strip().splitlines()[-1:]}")
        return json.loads(out.read())


def rates(counted):
    """Mpps by half second; a run too short for one has its own."""
    return [r for r in counted["mpps_samples"] if r > 0] or [counted["mpps"]]


@dataclass
class Samples:
    """Mpps of one contestant, over all of its runs, and what went with them."""

    values: list = field(default_factory=list)
    workers: int = 1
    assured_lost: int = 0
    note: str = ""

    def add(self, counted):
        self.values += rates(counted)
        self.workers = counted["workers"]
        self.assured_lost += max(counted["established_lost"], counted["assured_evicted"])

    def summary(self, scale=lambda v: v):
        return bench_program.spread(map(scale, self.values))


@dataclass
class Case:
    id: str
    title: str
    params: dict
    contestants: dict  # name to a function that makes one run and returns its counts
    quick: bool = True
    once: bool = False


def in_process(driver, mix, workers, seconds, table, extra=()):
    return lambda: flood("--driver", driver, "--workers", workers, "--seconds", seconds, "--table",
                         table, "--acct", *MIXES[mix][1], *extra)


class Gateway:
    """A running sluice between two devices whose other ends are in the generator's namespace."""

    def __init__(self, kind, tracked):
        self.kind, self.tracked = kind, tracked

    def run(self, seconds):
        with bench_net.Lab() as lab:
            gateway, generator = lab.host("gateway"), lab.host("generator")
            if self.kind == "af_packet":
                for name in ("clients", "servers"):
                    gateway.ip("link", "add", name, "type", "veth", "peer", "name", f"to-{name}")
                    self.up(gateway, name)
            devices = {name: f"net_tap{i},iface={name}" if self.kind == "tap" else
                       f"net_af_packet{i},iface={name},qdisc_bypass=1"
                       for i, name in enumerate(("clients", "servers"))}
            config, control = lab.folder / "sluice.toml", lab.folder / "sluice.sock"
            config.write_text(CONFIG.format(socket=control, **devices)
                              + ("" if self.tracked else NOTRACK))
            daemon = gateway.spawn(bench_net.program("sluice"), "-c", config, log="sluice")
            ctl = [bench_net.program("sluicectl"), "--socket", control]
            bench_net.wait_for("control socket", control.exists, timeout=30)
            bench_net.wait_for("answer of sluice", lambda: gateway.run(
                *ctl, "ping", check=False).returncode == 0)
            far = {}
            for name in ("clients", "servers"):
                far[name] = name if self.kind == "tap" else f"to-{name}"
                gateway.ip("link", "set", far[name], "netns", generator.netns)
                self.up(generator, far[name])
            counted = flood("--seconds", seconds, *EXTERNAL, "--client-device",
                            f"net_af_packet0,iface={far['clients']},qdisc_bypass=1",
                            "--server-device",
                            f"net_af_packet1,iface={far['servers']},qdisc_bypass=1", "--",
                            "--no-telemetry", inside=generator.inside())
            if daemon.popen.poll() is not None:
                raise Wrong(f"sluice ended with {daemon.popen.returncode}: {daemon.output[-300:]}")
            stats = gateway.run(*ctl, "stats").stdout
            evicted = re.search(r"^assured_evicted\s+(\d+)$", stats, re.M)
            if evicted is None:
                raise Wrong(f"sluicectl stats does not name assured_evicted: {stats[:300]}")
            # Unanswered probes may be the devices' loss.
            return {**counted, "established_lost": 0, "assured_evicted": int(evicted.group(1))}

    @staticmethod
    def up(host, device):
        host.sysctl(**{f"ipv6__conf__{device}__disable_ipv6": 1})
        host.ip("link", "set", device, "up")


def cases(args):
    seconds = 1 if args.quick or args.once else 3
    table = 262_144
    out = []
    for driver, mixes in (("net_null", MIXES), ("net_ring", ["established", "flood"])):
        for mix in mixes:
            for workers in (1, 2):
                name = f"io/{driver}/{mix}/workers{workers}"
                both = {"sluice": in_process(driver, mix, workers, seconds, table)}
                if workers == 1 and mix != "mixed":
                    both["sluice, notrack"] = in_process(driver, mix, workers, seconds, table,
                                                         ["--notrack"])
                out.append(Case(name, f"{driver}, {workers} worker{'s' * (workers > 1)}: "
                                f"{MIXES[mix][0]}",
                                {"driver": driver, "mix": mix, "workers": workers, "max": table,
                                 "burst": 32}, both, (workers, mix) == (1, "flood") or
                                driver == "net_null" and (workers, mix) != (2, "established"),
                                name in ("io/net_null/mixed/workers1",
                                         "io/net_ring/flood/workers1")))
    for kind, title in (("tap", "net_tap"), ("af_packet", "af_packet over veth")):
        out.append(Case(f"io/{kind}/flood/workers1",
                        f"{title}, 1 worker, a generator beside it: SYNs by the kernel's devices",
                        {"driver": kind, "mix": "flood", "workers": 1, "max": table},
                        {"sluice": lambda kind=kind: Gateway(kind, True).run(seconds),
                         **({} if args.once else {"sluice, notrack": lambda kind=kind: Gateway(
                             kind, False).run(seconds)})}, once=True))
    return out


def share(samples):
    """The tracker's share of the time a packet takes, from the run without it; or None."""
    whole, without = samples.get("sluice"), samples.get("sluice, notrack")
    if not whole or not without:
        return None
    return 1 - whole.summary()["median"] / without.summary()["median"]


def rows(case, samples):
    out = []
    for name, s in samples.items():
        common = {"id": case.id, "title": case.title, "contestant": name, "params": case.params}
        out.append({**common, "group": "io", "unit": "Mpps", **s.summary()})
        # Of one worker's time, waiting included.
        out.append({**common, "group": "io", "id": f"{case.id}/ns", "unit": "ns/packet",
                    **s.summary(lambda mpps: 1000 * s.workers / mpps)})
    return out


def measure(chosen, rounds, result):
    lost = sent = 0
    for case in chosen:
        samples = {name: Samples() for name in case.contestants}
        for _ in range(rounds):
            for name, run in case.contestants.items():
                counted = run()
                samples[name].add(counted)
                sent += counted["flood_sent"]
        result["cases"] += rows(case, samples)
        lost += sum(s.assured_lost for s in samples.values())
        text = ", ".join(f"{name} {s.summary()['median']:.2f} Mpps" for name, s in samples.items())
        of_tracker = share(samples)
        if of_tracker is not None:
            io_share = 1 - max(of_tracker, 0)
            text += f"; {io_share:.0%} of the time is not the tracker's"
            result["notes"].append(f"{case.id}: {io_share:.0%} of the time a packet takes is "
                                   "input, output, parsing, routing and the making of packets; "
                                   f"{max(of_tracker, 0):.0%} is the tracker.")
        print(f"{case.id:32} {text}", flush=True)
    result["cases"].append(
        {"id": "io/assured-lost", "group": "io-lost",
         "title": f"assured entries lost in all of these runs, to {sent:,} SYNs",
         "contestant": "sluice", "unit": "entries", "median": lost,
         "q1": lost, "q3": lost, "min": lost, "max": lost, "slices": 1, "params": {}})
    if lost:
        raise Wrong(f"{lost} established connections were lost to the flood")


def main():
    args = bench_program.parse(bench_program.parser(__doc__, "one short run each"))
    chosen = [c for c in bench_program.choose(cases(args), args) if args.only != "*"
              or (c.once if args.once else c.quick if args.quick else True)]

    def measure_all(result):
        here = chosen
        if (reason := bench_net.why_not()) is not None:
            here = [c for c in chosen if c.params["driver"].startswith("net_")]
            result["notes"].append(f"net_tap and af_packet left out: {reason}")
            print(result["notes"][-1], file=sys.stderr)
        measure(here, 1 if args.quick or args.once else 3, result)

    return bench_program.run("io_bench", args, chosen, measure_all)


if __name__ == "__main__":
    sys.exit(main())
