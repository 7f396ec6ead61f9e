# SPDX-License-Identifier: BSD-3-Clause
"""The figures that Sluice promises to reach, and what was measured of each.

Each figure is a ratio of two times out of the same run (but for OVS, whose times are of another
machine and say so). Every one is always in the list: what was not measured says why, and what was
missed says so in the same place as what was met.
"""

import statistics
from dataclasses import dataclass

from report_results import CUT_OFF, FAILED, mpps

AIM, MET, MISSED, UNKNOWN = "aim met", "met", "missed", "not measured"

# Where the cases are, best first, as globs of their ids; and the names of the contestants. Sluice
# net is without the cost of making the test's packets; the peers of the same process are compared
# with all of it, as their own keys are made in their time.
NET = ("sluice net", "sluice")
WHOLE = ("sluice",)
KERNEL = ("linux nf_conntrack",)
RTE_HASH = ("rte_hash lock-free*",)
HIT = ("hit/1000000/uniform", "hit/1048576/uniform")
INSERT = ("insert/1048576/aged", "insert/262144/aged")
FULL = ("full/1048576/aged", "full/262144/aged")
TURNOVER = ("turnover/1048576", "turnover/*")
PEER_HIT = ("peers/hit/1000000", "peers/hit/1048576", "peers/hit/*")
PEER_INSERT = ("peers/insert/1048576", "peers/insert/1000000", "peers/insert/*")
PEER_FULL = ("peers/full/1048576", "peers/full/1000000", "peers/full/*")
WORKERS_INSERT = ("workers/insert/1048576", "workers/insert/*")
TWO = "sluice, 2 workers"
PEER_INSERT_TWO = ("peers/insert2/1048576", "peers/insert2/1000000", "peers/insert2/*")

# A listing beside a worker at full load.
DUMP = ("sluicectl -L",)
DUMP_SECONDS, DUMP_MPPS, DUMP_KEPT = (("dump/1000000/seconds",), ("dump/1000000/mpps",),
                                      ("dump/1000000/ratio",))

# The same work in a table that the caches hold: what it costs there is not the memory's. By the
# bytes of an entry, rounded up, whether they do is told by the machine's caches.
HIT_IN_CACHE = ("hit/65536/uniform",)
INSERT_IN_CACHE = ("insert/16384/aged",)
ENTRY_BYTES = 256

# ns a packet of OVS's userspace tracker, batch 32, on an Intel server of the Sapphire Rapids kind
# at 2.6 GHz: established at random over 1M flows, SYN insert, SYN insert of each of two threads.
OVS_HIT, OVS_INSERT, OVS_INSERT_TWO = 484, 447, 1217

# ns a packet of a plain prototype of Sluice's table, without trackers, on another machine, by
# entries: hit, insert, insert with eviction; a single worker, batch 32, pages of 2 MiB.
PROTOTYPE = {1_048_576: (42, 61, 94), 262_144: (31, 55, 76)}
NOT_HERE = "another machine: indicative"


@dataclass
class Figure:
    """One line of the table of figures."""

    key: str
    label: str
    at_least: float
    aim: float
    unit: str = "times"
    low_is_good: bool = False
    ratio: float = None  # None: not measured
    measured: str = ""   # what the ratio is made of
    note: str = ""
    explanation: str = ""  # of a miss, as far as this run tells

    @property
    def verdict(self):
        if self.ratio is None:
            return UNKNOWN
        sign = -1 if self.low_is_good else 1
        if self.aim is not None and sign * self.ratio >= sign * self.aim:
            return AIM
        return MET if sign * self.ratio >= sign * self.at_least else MISSED

    def limit(self, value):
        if value is None:
            return "–"
        return f"{'≤' if self.low_is_good else '≥'} {value:g}"


def ns(value):
    return f"{value:,.0f} ns" if value >= 100 else f"{value:.1f} ns"


def pace(value):
    """Time a packet, and the rate that it is."""
    return f"{ns(value)} ({mpps(value):.3g} Mpps)"


def told(row):
    """pace() of a row, and what it is of the roofline where it has one."""
    of_roof = f", {row.roof / row.median:.2f} of the roofline" if row.roof > 0 else ""
    return f"{pace(row.median)[:-1]}{of_roof})"


class Judge:
    """Fills figures in from the results."""

    def __init__(self, results):
        self.results = results
        self.figures = []
        self.failed = {p.name for p in results.programs if p.state in (FAILED, CUT_OFF)}

    def row(self, ids, contestants):
        """The first case that has one of the contestants; of several rows, the fastest."""
        for glob in ids:
            for contestant in contestants:
                found = self.results.find_all(glob, contestant)
                if found:
                    return min(found, key=lambda r: r.median)
        return None

    def add(self, figure, ratio=None, measured="", missing=()):
        gone = [what for what, row in missing if row is None]
        if gone:
            figure.measured = "no result of " + " and of ".join(gone)
        else:
            figure.ratio, figure.measured = ratio(), measured()
            failed = sorted({row.program for _, row in missing
                             if getattr(row, "program", None) in self.failed})
            if failed:
                figure.note = "; ".join(filter(None, [
                    figure.note, f"of {' and '.join(failed)}, which failed in this run"]))
        self.figures.append(figure)

    def explain(self, figure, row, small):
        """Where the time goes, if the run tells: what is left of it in a small table."""
        cached = self.row(small, NET)
        if figure.verdict != MISSED or cached is None or cached.id == row.id:
            return
        size = cached.params.get("flows") or cached.params.get("max") or 0
        if not 0 < size * ENTRY_BYTES < self.results.last_level_cache():
            return
        part = min(cached.median / row.median, 1)
        figure.explanation = (f"With {size:,} entries, which the last-level cache holds, the same "
                              f"packet takes {ns(cached.median)}: {part:.0%} of Sluice's time is "
                              "not for want of memory's speed.")

    def roof(self, key, label, ids, at_least, aim):
        row = self.row(ids, NET)
        roof = row if row and row.roof > 0 else None
        self.add(Figure(key, label, at_least, aim, unit="of the roofline"),
                 lambda: row.roof / row.median,
                 lambda: f"roofline {row.roof_id} {pace(row.roof)}, Sluice {pace(row.median)}",
                 [(f"Sluice, {ids[0]}", row), (f"a roofline beside {ids[0]}", roof)])

    def against(self, key, label, sluice, peer, at_least, aim, low_is_good=False):
        """`sluice` and `peer`: (globs of ids, names of contestants)."""
        row, other = self.row(*sluice), self.row(*peer)
        self.add(Figure(key, label, at_least, aim, low_is_good=low_is_good),
                 lambda: other.median / row.median,
                 lambda: f"{other.contestant} {told(other)}, "
                         f"{row.contestant.replace('sluice', 'Sluice')} {told(row)}",
                 [(f"{sluice[1][0]}, {sluice[0][0]}", row),
                  (f"{peer[1][0].rstrip('*')}, {peer[0][0]}", other)])

    def scaling(self, key, label, ids):
        """What two workers gain over one, of what the roofline gains in the same slices; where the
        flows are split between them in several ways, by the worst."""
        one = self.row(ids, ("sluice, 1 worker",))
        splits = next(filter(None, (self.results.find_all(glob, f"{TWO}*") for glob in ids)), [])
        both = max(splits, key=lambda r: r.median, default=None)
        pair = one if one and both else None
        roofs = pair if pair and one.roof > 0 and both.roof > 0 else None

        def measured():
            name = both.contestant.removeprefix(TWO).lstrip(", ")
            worst = f"; {name}: the worst of {len(splits)} splits" if len(splits) > 1 else ""
            return (f"Sluice {one.median / both.median:.2f} times one worker, from "
                    f"{told(one)} to {told(both)}, roofline {one.roof / both.roof:.2f}{worst}")

        self.add(Figure(key, label, 0.9, 1.0, unit="of the roofline's scaling"),
                 lambda: (one.median / both.median) / (one.roof / both.roof), measured,
                 [(f"Sluice with one and with two workers, {ids[0]}", pair),
                  ("a roofline beside them", roofs)])

    def limit(self, key, label, unit, ids, contestants, most, beside=()):
        """An amount that must not be more than so much; `beside`: what is told and not judged."""
        row = self.row(ids, contestants)
        others = [r for r in (self.row(ids, (name,)) for name in beside) if r]
        self.add(Figure(key, label, most, None, unit=unit, low_is_good=True), lambda: row.median,
                 lambda: f"{row.title}: {row.contestant}"
                         + "".join(f"; {r.contestant} {r.median:.1f}" for r in others),
                 [(f"{contestants[0]}, {ids[0]}", row)])

    def constant(self, key, label, ids, known, at_least, aim, contestants=NET):
        """`known`: (whose time, ns a packet), of another machine."""
        row, (whose, value) = self.row(ids, contestants), known
        self.add(Figure(key, label, at_least, aim, note=NOT_HERE), lambda: value / row.median,
                 lambda: f"{whose} {pace(value)}, Sluice {told(row)}",
                 [(f"Sluice, {ids[0]}", row)])


def drift(trace):
    """(What the trend changes over the series, interquartile range about the trend), shares of the
    median. Theil and Sen's slope: an outlier does not move it."""
    points = list(zip(trace.x, trace.y))
    if len(points) > 300:
        points = points[:: len(points) // 300 + 1]
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for i, a in enumerate(points) for b in points[i + 1:]
              if b[0] != a[0]]
    if not slopes:
        return None
    slope, median = statistics.median(slopes), statistics.median(trace.y)
    q1, _, q3 = statistics.quantiles([y - slope * x for x, y in points], n=4, method="inclusive")
    return slope * (points[-1][0] - points[0][0]) / median, (q3 - q1) / median


def add_prototype(j):
    """The floor that Sluice's table was to beat: one that finds, writes and evicts, and no more."""
    for entries, times in PROTOTYPE.items():
        size = "1M" if entries > 1_000_000 else f"{entries:,}"
        for kind, label, ids, value in zip(
                ("hit", "insert", "full"), ("hits", "SYN inserts", "SYN on a full table"),
                (HIT if entries > 1_000_000 else (f"hit/{entries}/uniform",),
                 (f"insert/{entries}/aged",), (f"full/{entries}/aged",)), times):
            j.constant(f"prototype/{kind}/{entries}",
                       f"a plain prototype without trackers: {label}, {size} entries", ids,
                       ("the prototype", value), 1, None)


def add_nat(j):
    """What translation costs, and what the kernel's own costs."""
    plain, snat = (j.row((f"{kind}/hit/*",), NET) for kind in ("plain", "snat"))
    j.add(Figure("nat/hit", "source NAT of an established flow's packets, 1M flows", 15, None,
                 unit="ns more", low_is_good=True), lambda: snat.median - plain.median,
          lambda: f"with NAT {told(snat)}, without {told(plain)}",
          [("Sluice, snat/hit/*", snat), ("Sluice, plain/hit/*", plain)])
    before, insert = (j.row((f"{kind}/insert/*",), NET) for kind in ("plain", "snat"))
    j.add(Figure("nat/insert", "a SYN insert with source NAT against one without", 1.7, None,
                 low_is_good=True), lambda: insert.median / before.median,
          lambda: f"with NAT {told(insert)}, without {told(before)}; their rooflines "
                  f"{ns(insert.roof)} and {ns(before.roof)}",
          [("Sluice, snat/insert/*", insert), ("Sluice, plain/insert/*", before)])
    half, last = (j.row((f"snat/ports/{share}",), WHOLE) for share in ("50", "99.9"))
    j.add(Figure("nat/ports", "a port for one remote, 99.9 % of them in use, against 50 %", 3, None,
                 low_is_good=True), lambda: last.median / half.median,
          lambda: f"99.9 % {told(last)}, 50 % {told(half)}",
          [("Sluice, snat/ports/50", half), ("Sluice, snat/ports/99.9", last)])
    j.against("nat/kernel/insert", "the kernel's masquerade: SYN inserts",
              (("snat/insert/*",), NET), (("kernel/masquerade/insert/*",), KERNEL), 20, None)
    j.against("nat/kernel/used-up", "the kernel's masquerade: refusals for want of a port",
              (("snat/used-up",), NET), (("kernel/masquerade/used-up/*",), KERNEL), 300, None)


def explain_more(j, of):
    """Misses of which the run, or what is compared, tells the reason."""
    def say(key, text):
        if of[key].verdict == MISSED:
            of[key].explanation = text

    tracking = j.row(("tracking/hit/*",), ("cost of windows and counters",))
    say("rte_hash/hit", "rte_hash finds an entry and reads it; Sluice's time is that of a tracker, "
        "which checks the entry's life, judges the segment by its windows, and writes state, "
        "windows and counters under the entry's lock"
        + (f" ({ns(tracking.median)} of it windows and counters)." if tracking else "."))
    for key in (key for key in of if key.startswith("prototype/")):
        say(key, "The prototype finds, writes and evicts entries, and tracks nothing: it judges no "
            "segment, and keeps no state, window, counter or time-out.")
    for key in ("hit", "insert", "full"):
        alone, both = (j.row((f"workers/{key}/*",), (f"arithmetic alone, {n}",))
                       for n in ("1 worker", "2 workers"))
        say(f"scaling/{key}", "The roofline's threads share nothing but memory's bandwidth. Sluice's "
            "two workers write buckets, and entries, that the other one wrote last."
            + (f" Two threads that only compute are {alone.median / both.median:.2f} times one."
               if alone and both else ""))
    plain, snat = (j.row((f"{kind}/insert/*",), NET) for kind in ("plain", "snat"))
    if plain and snat and plain.roof > 0:
        say("nat/insert", f"A second bucket alone makes the accesses {snat.roof / plain.roof:.1f} "
            "times as dear; the rest is a rule to be found, a hint of what the source had before, "
            "and a frame's addresses and checksums to be rewritten.")


def figures(results):
    """All figures, in the order of the table."""
    j = Judge(results)
    j.roof("hit/roof", "established hit, 1M flows, both directions at random", HIT, 0.55, 0.8)
    j.roof("insert/roof", "SYN insert into a table not full", INSERT, 0.5, 0.75)

    full, insert = j.row(FULL, NET), j.row(INSERT, NET)
    j.add(Figure("full/insert", "SYN on a full table, oldest embryonic evicted, against the insert",
                 1.5, 1.2, low_is_good=True), lambda: full.median / insert.median,
          lambda: f"full {told(full)}, insert {told(insert)}",
          [(f"Sluice, {FULL[0]}", full), (f"Sluice, {INSERT[0]}", insert)])
    trace = next(filter(None, (results.trace(t, "sluice*") for t in TURNOVER)), None)
    moved = drift(trace) if trace else None
    j.add(Figure("full/slope", "its trend over 20 turnovers, in units of the noise", 1, 1,
                 unit="times the interquartile range", low_is_good=True),
          lambda: abs(moved[0]) / moved[1] if moved[1] else (0 if moved[0] == 0 else 99),
          lambda: f"trend {moved[0]:+.1%}, noise {moved[1]:.1%} over "
                  f"{trace.x[-1] - trace.x[0]:.0f} turnovers",
          [("a series of Sluice on a full table", moved)])

    name = "rte_hash, lock-free: "
    for key, label, ids, at_least, aim in (
            ("hit", "hits", PEER_HIT, 1, 1.5), ("insert", "inserts", PEER_INSERT, 2.5, 4),
            ("full", "full (delete and add)", PEER_FULL, 4, 8),
            ("two", "two workers inserting", PEER_INSERT_TWO, 4, None)):
        j.against(f"rte_hash/{key}", name + label, (ids, WHOLE), (ids, RTE_HASH), at_least, aim)

    name = "the kernel's conntrack: "
    j.against("kernel/hit", name + "TCP hits at 1M", (HIT, NET),
              (("kernel/hit/tcp/1000000",), KERNEL), 14, 22)
    j.against("kernel/insert", name + "SYN inserts", (INSERT, NET),
              (("kernel/insert/1048576",), KERNEL), 12, 18)
    j.against("kernel/full", name + "SYN on a full table", (FULL, NET),
              (("kernel/full/1048576", "kernel/full/262144"), KERNEL), 15, 22)

    j.constant("ovs/hit", "OVS's tracker: hits", HIT, ("OVS", OVS_HIT), 7, 12)
    j.constant("ovs/insert", "OVS's tracker: inserts", INSERT, ("OVS", OVS_INSERT), 6, 8)
    # Two threads, each of which takes so long: half of it from one packet to the next.
    j.constant("ovs/two", "OVS's tracker: inserts of two workers", WORKERS_INSERT,
               ("OVS", OVS_INSERT_TWO / 2), 12, 20, (TWO,))
    add_prototype(j)

    for key, label, ids in (("hit", "hits", ("workers/hit/*",)),
                            ("insert", "SYN inserts", WORKERS_INSERT),
                            ("full", "SYN on a full table", ("workers/full/*",))):
        j.scaling(f"scaling/{key}", f"two workers against one: {label}", ids)

    j.limit("memory", "memory of an IPv4 entry: index, entry, window, counters", "bytes",
            ("memory/ipv4/*",), ("index and entries",), 256,
            ("with all rings of victims", "growth of the process"))
    for key, label in (("hit", "hits"), ("insert", "inserts"), ("full", "on a full table")):
        j.against(f"ipv6/{key}", f"IPv6 against IPv4: {label}",
                  ((f"family/{key}/*",), ("sluice, IPv4",)),
                  ((f"family/{key}/*",), ("sluice, IPv6",)), 2, None, low_is_good=True)
    j.limit("tracking", "window tracking and accounting, 1M flows", "ns", ("tracking/hit/*",),
            ("cost of windows and counters",), 15)

    add_nat(j)

    j.limit("dump/seconds", "sluicectl -L of a million entries", "s", DUMP_SECONDS, DUMP, 3)
    beside, alone, loop = (j.row(DUMP_MPPS, (name,)) for name in
                           (DUMP[0], "nothing beside it", "a busy loop beside it"))
    kept = j.row(DUMP_KEPT, DUMP)
    j.add(Figure("dump/worker", "what a worker at full load keeps of its rate meanwhile", 0.95,
                 None), lambda: kept.median,
          lambda: f"{beside.median:.2f} Mpps, without the listing {alone.median:.2f}, with a busy "
                  f"loop in its place {loop.median:.2f}",
          [(f"{DUMP[0]}, {DUMP_KEPT[0]}", kept), (f"the worker's rate, {DUMP_MPPS[0]}",
                                                  beside and alone and loop)])

    of = {f.key: f for f in j.figures}
    for key in ("hit/roof", "kernel/hit", "ovs/hit"):
        j.explain(of[key], j.row(HIT, NET), HIT_IN_CACHE)
    for key in ("insert/roof", "kernel/insert", "ovs/insert"):
        j.explain(of[key], j.row(INSERT, NET), INSERT_IN_CACHE)
    explain_more(j, of)

    lost = [(r.title, r.median) for r in results.rows if r.unit == "entries" and "lost" in r.id]
    experiment = [r.params["established_lost"] for r in results.rows
                  if isinstance(r.params.get("established_lost"), (int, float))]
    if experiment:
        lost.append(("in the experiment with legitimate clients", sum(experiment)))
    j.add(Figure("lost", "assured entries lost to a flood", 0, 0, unit="entries", low_is_good=True),
          lambda: sum(number for _, number in lost),
          lambda: "; ".join(f"{number:.0f} {what}" for what, number in lost),
          [("a flood with established flows", lost or None)])
    return j.figures
