#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""What the kernel's own nf_conntrack costs a packet on this machine, as a peer for Sluice.

In a network namespace of its own, one core puts packets into the kernel through two tun devices
(kernel_send.cpp): `tracked` and `plain`, of which the second is exempt by `notrack` in nft's raw
hook. Both take the same way: receive, netfilter, routing, forwarding, and a device that drops what
it is given. Slices of the same packets alternate between the two, and the difference of each pair
of neighbours is one sample of what the tracking costs.

What is global in the kernel (the size of its table) is put back at the end, whatever happened.
Exit codes: 0 measured, 1 a packet did not do what it should, 77 not possible here (the reason is
the last line).
"""

import contextlib
import os
import re
import shutil
import statistics
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import bench_program
import kernel_lab
from bench_program import ROOT, Impossible, Wrong
from kernel_lab import PLAIN, PROC, STOPPED, TRACKED

CONTESTANT = "linux nf_conntrack"


@dataclass
class Run:
    """How much is measured."""

    slices: int
    packets: int  # a slice
    small: int    # entries of the smaller table
    big: int      # and of the larger one

    @staticmethod
    def of(args):
        if args.once:
            return Run(slices=2, packets=500, small=8192, big=16_384)
        if args.quick:
            return Run(slices=15, packets=20_000, small=262_144, big=1_048_576)
        return Run(slices=31, packets=100_000, small=262_144, big=1_048_576)


@dataclass
class Samples:
    """Nanoseconds a packet of neighbouring slices, with the tracker and without."""

    tracked: list = field(default_factory=list)
    plain: list = field(default_factory=list)

    @property
    def cost(self):
        return [t - p for t, p in zip(self.tracked, self.plain)]


def alternate(kernel, kind, first, run, flows=1, without=PLAIN, packets=None):
    """Slices A, B, A, B of the same packets; returns the samples and the next packet's number."""
    samples = Samples()
    packets = packets or run.packets
    for _ in range(run.slices):
        samples.tracked.append(kernel.send(TRACKED, kind, first, packets, flows))
        samples.plain.append(kernel.send(without, kind, first, packets, flows))
        first += packets
    return samples, first


def expect(kernel, before, **wanted):
    """Throws unless each counter went up by just so much since `before`."""
    after = kernel.counters()
    for name, number in wanted.items():
        if after[name] - before[name] != number:
            raise Wrong(f"{name} went up by {after[name] - before[name]}, not by {number}: "
                        f"before {before}, after {after}")


def established(kernel, run, flows, protocol):
    """Packets of open connections, flow and direction at random."""
    opening = ["syn", "syn-ack", "ack"] if protocol == "tcp" else ["udp", "udp-reply", "udp"]
    # A UDP flow is not assured until two seconds have passed; it need not be.
    for kind in opening:
        kernel.send(TRACKED, kind, 0, flows)
    kind = "traffic" if protocol == "tcp" else "udp-traffic"
    kernel.send(TRACKED, kind, 0, run.packets, flows)
    kernel.send(PLAIN, kind, 0, run.packets, flows)
    before = kernel.counters()
    samples, _ = alternate(kernel, kind, run.packets, run, flows)
    sent = run.slices * run.packets
    expect(kernel, before, established=sent, untracked=sent, new=0, entries=0)
    if before["entries"] != flows:
        raise Wrong(f"{before['entries']} entries of {flows} flows")
    return samples, []


def inserts(kernel, run):
    """New connections from an empty table to nine tenths of it."""
    samples, series = Samples(), []
    room = kernel.size * 9 // 10
    packets = min(run.packets, 20_000, room // run.slices)
    kernel.send(TRACKED, "syn", 0, room)  # the allocator's first pages are not the tracker's cost
    for _ in range(max(1, run.slices * run.packets // room)):
        kernel.flush()
        before = kernel.counters()
        rounds = room // packets if run.slices > 2 else run.slices
        one, last = alternate(kernel, "syn", 0, replace(run, slices=rounds, packets=packets))
        expect(kernel, before, new=last, untracked=last, entries=last, early_drop=0,
               insert_failed=0)
        samples.tracked += one.tracked
        samples.plain += one.plain
        series.append(one.cost)
    fill = [100 * (i + 0.5) * packets / kernel.size for i in range(len(series[0]))]
    return samples, [("by fill", "per cent of the table in use", fill,
                      [statistics.median(costs) for costs in zip(*series)])]


def full(kernel, run):
    """Each SYN evicts an embryonic entry: nothing else is in the table."""
    kernel.send(TRACKED, "syn", 0, kernel.size)
    first = kernel.size
    kernel.send(TRACKED, "syn", first, run.packets)
    first += run.packets
    before = kernel.counters()
    samples, last = alternate(kernel, "syn", first, run)
    sent = last - first
    after = kernel.counters()
    # Whatever is let in throws another out; where eight buckets hold no victim it is refused.
    evicted, refused = after["early_drop"] - before["early_drop"], after["drop"] - before["drop"]
    if after["entries"] < kernel.size * 0.99 or evicted + refused < sent * 0.99:
        raise Wrong(f"the table did not stay full: {before}, {after}")
    turnovers = [(i + 0.5) * run.packets / kernel.size for i in range(run.slices)]
    if turnovers[-1] < 1:  # too short to show a trend
        return samples, []
    return samples, [("over time", "turnovers of the table", turnovers, samples.cost)]


def full_of_assured(kernel, run):
    """Each SYN is refused: every entry is an open connection."""
    for kind in ("syn", "syn-ack", "ack"):
        kernel.send(TRACKED, kind, 0, kernel.size)
    first = kernel.size
    kernel.send(TRACKED, "syn", first, run.packets)
    before = kernel.counters()
    samples, last = alternate(kernel, "syn", first + run.packets, run, without=STOPPED)
    expect(kernel, before, drop=last - first - run.packets, new=0)
    return samples, []


def masquerade(kernel, run):
    with kernel.masquerade():
        return inserts(kernel, run)


def masquerade_used_up(kernel, run):
    """One address, one destination: of 64,512 ports none is left, and each SYN is refused."""
    with kernel.masquerade():
        # The kernel tries some ports at random: until the last is taken, 17,000 are refused.
        first = 82_000
        kernel.send(TRACKED, "syn-to-one", 0, first)
        packets = max(run.packets // 50, 100)
        before = kernel.counters()
        samples, _ = alternate(kernel, "syn-to-one", first, run, packets=packets)
        after = kernel.counters()
        if after["entries"] - before["entries"] > run.slices * packets // 20:
            raise Wrong(f"there were ports left: {before}, {after}")
        return samples, []


@dataclass
class Case:
    id: str
    group: str
    title: str
    size: int  # entries and buckets
    quick: bool  # also with --quick
    measure: object
    params: dict = field(default_factory=dict)


def cases(run):
    def hit(protocol, flows, size, quick=False, **sysctl):
        acct = sysctl.get("nf_conntrack_acct", 1)
        return Case(f"kernel/hit/{protocol}/{flows}" + ("" if acct else "/no-acct"), "established",
                    f"{protocol.upper()} packet of one of {flows:,} open connections"
                    + ("" if acct else ", counters off"), size, quick,
                    lambda kernel: established(kernel, run, flows, protocol),
                    {"flows": flows, "distribution": "uniform", "family": "ipv4",
                     "proto": protocol, "acct": bool(acct)})

    small, big = run.small, run.big
    million = min(1_000_000, big)
    ports = max(small, 131_072)  # room for all ports of an address, and for more
    return [
        hit("tcp", 1, small),
        hit("tcp", small // 4, small),
        hit("tcp", small, small),
        hit("tcp", million, big, quick=True),
        hit("tcp", million, big, nf_conntrack_acct=0),
        hit("udp", million, big),
        Case(f"kernel/insert/{big}", "insert", f"SYN into a table of {big:,} that is not full", big,
             True, lambda kernel: inserts(kernel, run)),
        Case(f"kernel/insert/{small}", "insert", f"SYN into a table of {small:,} that is not full",
             small, False, lambda kernel: inserts(kernel, run)),
        Case(f"kernel/full/{small}", "full", f"SYN on a full table of {small:,}, one evicted",
             small, False, lambda kernel: full(kernel, run)),
        Case(f"kernel/full/{big}", "full", f"SYN on a full table of {big:,}, one evicted", big,
             True, lambda kernel: full(kernel, run)),
        Case(f"kernel/full-of-assured/{small}", "full", f"SYN refused: {small:,} open connections",
             small, False, lambda kernel: full_of_assured(kernel, run)),
        Case(f"kernel/masquerade/insert/{small}", "snat", "SYN, masquerade, table not full", small,
             True, lambda kernel: masquerade(kernel, run)),
        Case(f"kernel/masquerade/used-up/{ports}", "snat ports",
             "SYN, masquerade, ports to the destination used up", ports, True,
             lambda kernel: masquerade_used_up(kernel, run)),
    ]


def statistics_of(values):
    """Those of the report, and the rate that the median is."""
    found = bench_program.spread(values)
    return {**found, "mpps": 1000 / found["median"]} if found["median"] > 0 else found


def record(case, samples):
    common = {"id": case.id, "group": case.group, "title": case.title, "unit": "ns/packet",
              "params": {"max": case.size, "buckets": case.size, **case.params}}
    return [{**common, "contestant": contestant, **statistics_of(values)}
            for contestant, values in ((CONTESTANT, samples.cost),
                                       ("linux, whole path tracked", samples.tracked),
                                       ("linux, whole path notrack", samples.plain))]


def machine(core):
    info = Path("/proc/cpuinfo").read_text()
    name = re.search(r"^model name\s*:\s*(.*)$", info, re.M)
    uname = os.uname()
    return {"cpu": name.group(1) if name else uname.machine, "kernel": uname.release, "core": core}


def why_not(sender):
    """Raises Impossible where this cannot run."""
    if os.geteuid() != 0:
        raise Impossible("needs root: network namespaces and tun devices")
    for tool in ("ip", "nft"):
        if shutil.which(tool) is None:
            raise Impossible(f"no program '{tool}': make deps installs it")
    if not sender.exists():
        raise Impossible(f"no {sender}: make build with -Dbench=enabled makes it")
    if not Path("/dev/net/tun").exists():
        raise Impossible("the kernel has no tun device (/dev/net/tun)")
    if not (PROC / "nf_conntrack_max").exists():
        raise Impossible("the kernel has no nf_conntrack (modprobe nf_conntrack)")
    for name in ("nf_conntrack_max", "nf_conntrack_buckets"):
        if not os.access(PROC / name, os.W_OK):
            raise Impossible(f"{PROC / name} cannot be written: run it in the machine's first network "
                       "namespace")
    pids = listeners()
    if pids:
        raise Impossible(f"process {', '.join(pids)} listens to conntrack events, which makes every new "
                   "entry dearer wherever it is; end it first")


def listeners():
    """Processes that are told of every new entry: `conntrack -E`, conntrackd."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            program, *arguments = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue  # it has ended meanwhile
        name = Path(program).name
        if name == "conntrackd" or name == "conntrack" and {"-E", "--event"} & set(arguments):
            found.append(path.parent.name)
    return sorted(found)


def arguments():
    parser = bench_program.parser(__doc__, "the main cases, shorter")
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)),
                        help="the CPU that sends")
    parser.add_argument("--sender", type=Path, help="the program kernel_send",
                        default=Path(os.environ.get("SLUICE_BUILD", ROOT / "build"))
                        / "bench" / "kernel_send")
    return bench_program.parse(parser)


def measure(args, chosen, result):
    kernel_lab.remove_leftovers()
    with kernel_lab.global_table() as resize:
        kernel = kernel_lab.Kernel(args.sender.resolve(), args.core, resize)
        with contextlib.closing(kernel):
            for case in chosen:
                kernel.use(case.size)
                kernel.sysctl(**{"netfilter.nf_conntrack_acct": int(case.params.get("acct", True))})
                try:
                    samples, series = case.measure(kernel)
                except Wrong as wrong:
                    raise Wrong(f"{case.id}: {wrong}") from wrong
                rows = record(case, samples)
                result["cases"] += rows
                result["series"] += [
                    {"id": f"{case.id}/series", "title": f"{case.title}: {title}",
                     "contestant": CONTESTANT, "xlabel": xlabel, "ylabel": "ns/packet",
                     "x": x, "y": y}
                    for title, xlabel, x, y in series]
                cost, tracked, plain = rows
                print(f"{case.id:36} {cost['median']:8.0f} ns "
                      f"[{cost['q1']:.0f} .. {cost['q3']:.0f}]   path {tracked['median']:.0f}, "
                      f"notrack {plain['median']:.0f}", flush=True)


def main():
    args = arguments()
    run = Run.of(args)
    chosen = [c for c in bench_program.choose(cases(run), args)
              if c.quick or not args.quick or args.only != "*"]

    def measure_all(result):
        result["notes"].append(
            "Cost a packet: a path with tracking less the same path with notrack, same packets, "
            "slices in turn; nf_conntrack_acct=1, nf_conntrack_checksum=0 (as verified by a "
            "network card), no listener to events, buckets = entries.")
        why_not(args.sender)
        measure(args, chosen, result)

    return bench_program.run("kernel_peer", args, chosen, measure_all, machine=machine(args.core))


if __name__ == "__main__":
    sys.exit(main())
