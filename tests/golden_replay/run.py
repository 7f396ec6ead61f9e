#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Replays the golden captures through sluice-replay and compares with what the kernel made of them.

usage: run.py SLUICE_REPLAY [-v] [--record-known] [CASE ...]

Every case of tests/golden is a router with two interfaces, and packets that were given to it one by
one. Here each interface's packets become a capture, and the outcome is judged by aspect:

  list, ext, ipv6   the final table as `conntrack -L`, `-L -o extended,id` and `-L -f ipv6` show it
  xml               the same as `conntrack -L -o xml` does, document and all
  events            the sequence of `conntrack -E`
  states            ctstate and direction of each packet
  emitted           the packets that leave, byte for byte, and by which interface
  counters          what `conntrack -S` counts of packets: invalid, insert_failed, drop, early_drop,
                    error and clash_resolve; a packet that Sluice drops for want of a port counts as
                    the kernel counts it

once as the kernel's defaults are and once with accounting and timestamps on (acct-list, ...).
Time-outs may differ by one second, ids by anything, entries stand in any order; ports and addresses
that the kernel chose at random are compared by their kind (RANDOM_NAT).

KNOWN names what does not agree and why. The test fails if anything else differs, and also if
something that is listed agrees: then its line has to go. For a case that has a file in known/, the
very lines that differ stand there, and these and no others have to: --record-known writes them
anew.
"""

import difflib
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pcapfile import ETHERNET, pcap_bytes, read_pcap

HERE = Path(__file__).resolve().parent
GOLDEN = HERE.parent / "golden"
KNOWN_LINES = HERE / "known"
EPOCH = 1_700_000_000  # seconds; when the replayed captures begin
PORTS = ("tun0", "tun1")
OWN = {bytes((192, 168, 1, 1)), bytes((203, 0, 113, 1))}  # the router's addresses

# The configuration of a case, if it is not plain.toml.
CONFIGS = {
    "dnat-port-forward": "dnat-port-forward",
    "ftp-active-masquerade": "masquerade",
    "mark-zone-label-notrack": "mark-zone-label-notrack",
    "pptp-gre": "masquerade",
    "redirect-local": "redirect-local",
    "snat-addr-range-lowport": "snat-addr-range-lowport",
    "snat-masquerade": "masquerade",
    "snat-range-exhausted": "snat-range-exhausted",
    "tcp-pickup-loose0": "tcp-pickup-loose0",
    "tcp-table-full-max3": "tcp-table-full-max3",
    "tftp": "masquerade",
    "udp-timeouts": "udp-timeouts",
}

# Cases where the kernel chose addresses and ports at random.
RANDOM_NAT = {"snat-addr-range-lowport"}

# Cases where the kernel chose one of very few ports at random, and the packets that follow go to
# what it chose: of this many seeds one makes sluice-replay choose likewise.
SEEDS = {"snat-range-exhausted": 32}

# Cases that are not about packets.
NOT_PACKETS = {"conntrack-tool-ops": "operations of conntrack(8), which sluicectl's tests repeat"}

COUNTERS = ("invalid", "insert_failed", "drop", "early_drop", "error", "clash_resolve")

NO_HELPERS = "there are no helpers, so no expectations and no RELATED data connections"
FRAGMENTS = "Sluice lets fragments travel one by one; the kernel puts them together first"
UDPLITE = "the kernel checks UDP-Lite with the pseudo-header of UDP, Sluice as RFC 3828 says"
NO_SYNPROXY = "there is no SYN proxy"


def each(reason, *aspects):
    return dict.fromkeys(aspects, reason)


# case -> {aspect: reason}. A plain aspect stands for its "acct-" twin, too.
KNOWN = {
    "ftp-active": each(NO_HELPERS, "list", "ext", "xml", "events", "states"),
    "ftp-active-masquerade": each(
        NO_HELPERS, "list", "ext", "xml", "events", "states", "emitted", "counters"
    ),
    "ftp-passive": each(NO_HELPERS, "list", "ext", "xml", "events", "states"),
    "icmpv6-echo-ndp": each(
        "the kernel's interface has no link address to put into the advertisement", "emitted"
    ),
    "ipv6-tcp-udp": each(
        FRAGMENTS, "states", "emitted", "acct-list", "acct-ext", "acct-xml", "acct-ipv6"
    ),
    "pptp-gre": each(NO_HELPERS, "list", "ext", "xml", "events", "states", "emitted"),
    "sip": each(NO_HELPERS, "list", "ext", "xml", "events", "states"),
    "synproxy": each(NO_SYNPROXY, "list", "ext", "xml", "events", "states", "emitted", "counters"),
    "tftp": each(NO_HELPERS, "list", "ext", "xml", "events", "states", "emitted"),
    "udp-fragments": each(FRAGMENTS, "states", "emitted", "acct-list", "acct-ext", "acct-xml"),
    "udplite": each(UDPLITE, "list", "ext", "xml", "events", "states"),
}


# ---- Text.

ID = re.compile(r" id=\d+$")
SUMMARY = re.compile(r"^\S+ v\S+ \(\S+\): ")
EVENT = re.compile(r"^ *\[(NEW|UPDATE|DESTROY)\] ")
# The time-out stands behind the protocol's number, with an L3 prefix in front or without.
TIMEOUT = re.compile(r"^((?: *\[\w+\] )?(?:ipv\d +\d+ )?\w+ +\d+ )(\d+) ")
RANGE = re.compile(r"(src=203\.0\.113\.\d+ dst=203\.0\.113\.)[5-8]( sport=\d+ dport=)(\d+)")
XML_RANGE = re.compile(
    r"(<src>203\.0\.113\.\d+</src><dst>203\.0\.113\.)[5-8]"
    r"(</dst></layer3><layer4 [^>]*><sport>\d+</sport><dport>)(\d+)"
)
XML_TIMEOUT = re.compile(r"<timeout>(\d+)</timeout>")


def port_kind(port):
    """The class that port selection keeps a port in."""
    return "low" if port < 512 else "privileged" if port < 1024 else "high"


def normalized(line, random_nat):
    """(line without what may differ, time-out or None)"""
    line = re.sub(r" id=\d+(?=$| \[)", "", line) if " use=" in line else line
    if EVENT.match(line):
        line = re.sub(r" (id|portid)=\d+$", "", line)
    line = re.sub(r"delta-time=\d+", "delta-time=N", line)
    if random_nat:
        line = RANGE.sub(lambda m: m[1] + "*" + m[2] + port_kind(int(m[3])), line)
    found = TIMEOUT.match(line)
    if not found:
        return line, None
    return found[1] + "T " + line[found.end() :], int(found[2])


def normalized_xml(line, random_nat):
    """The same of a line of `-o xml`."""
    line = re.sub(r"<(id|deltatime)>\d+</", r"<\1>N</", line)
    if random_nat:
        line = XML_RANGE.sub(lambda m: m[1] + "*" + m[2] + port_kind(int(m[3])), line)
    found = XML_TIMEOUT.search(line)
    if not found:
        return line, None
    return XML_TIMEOUT.sub("<timeout>T</timeout>", line, count=1), int(found[1])


def agree(ours, kernel):
    """True if two lists of (line, time-out) are alike but for a second."""
    return len(ours) == len(kernel) and all(
        a == b and (s is None) == (t is None) and (s is None or abs(s - t) <= 1)
        for (a, s), (b, t) in zip(ours, kernel)
    )


def ends_sorted(events):
    """Events with each run of DESTROY in order: what expires together ends in any order."""
    runs = itertools.groupby(events, key=lambda e: "[DESTROY]" in e[0])
    return [e for ends, run in runs for e in (sorted(run, key=str) if ends else run)]


def difference(name, ours, kernel):
    """A readable account of two sequences that differ."""
    text = lambda lines: [f"{a}   (T={t})" if t is not None else str(a) for a, t in lines]
    return "\n".join(
        ["  --- " + name]
        + ["  " + l for l in difflib.ndiff(text(kernel), text(ours)) if not l.startswith("?")]
    )


def lines_of(difference_text):
    """The lines that differ in an account: `-` the kernel's, `+` Sluice's. Of what is too long for
    the eye, a packet most likely, the beginning, the length and a checksum."""
    lines = [l[2:] for l in difference_text.splitlines() if re.match(r"  [-+] ", l)]
    return [
        l
        if len(l) <= 400
        else f"{l[:150]}... {len(l)} characters, CRC {zlib.crc32(l.encode()):08x}"
        for l in lines
    ]


def known_lines(name):
    """aspect -> the lines that are to differ; None if the case does not say."""
    path = KNOWN_LINES / f"{name}.txt"
    if not path.exists():
        return None
    sections = re.split(r"^\[(.*)\]\n", path.read_text(), flags=re.MULTILINE)
    return {a: text.splitlines() for a, text in zip(sections[1::2], sections[2::2])}


def otherwise(exact, aspect, how):
    """How a difference is not what known_lines() says; empty if it is, or if they say nothing."""
    if exact is None:
        return []
    known = exact.get(aspect, [])
    return list(difflib.unified_diff(known, lines_of(how), "known", "now", lineterm="", n=0))


def kernel_counters(path):
    """The counters of `conntrack -S`, summed over the processors."""
    text = path.read_text()
    return {name: sum(map(int, re.findall(rf"\b{name}=(\d+)", text))) for name in COUNTERS}


def our_counters(lines):
    """The same out of what `sluice-replay --stats` prints."""
    rows = {l.split()[0]: int(l.split()[1]) for l in lines if re.match(r"\w+ +\d+ ", l)}
    rows["early_drop"] = rows["evicted"]
    for name, n in rows.copy().items():
        if name == "nat_no_port":  # the kernel notices when it confirms the entry
            rows["insert_failed"] += n
            rows["drop"] += n
    return {name: rows[name] for name in COUNTERS}


def read_lines(path):
    return [l for l in path.read_text().splitlines() if l.strip() and not SUMMARY.match(l)]


# ---- One case.


class Case:
    def __init__(self, name, acct, program, scratch):
        self.name, self.acct, self.program, self.scratch = name, acct, program, scratch
        self.directory = GOLDEN / name / "acct" if acct else GOLDEN / name
        self.random_nat = name in RANDOM_NAT
        with open(self.directory / "steps.jsonl") as f:
            steps = [json.loads(line) for line in f]
        self.steps = [s for s in steps if s.get("hex")]
        # How much later than the last packet the table was listed.
        self.at_end = max(s["t"] for s in steps) - self.steps[-1]["t"] + 0.02

    def when(self, step):
        return EPOCH * 10**9 + round(step["t"] * 10**4) * 10**5

    def config(self):
        text = (HERE / "configs" / (CONFIGS.get(self.name, "plain") + ".toml")).read_text()
        if self.acct:
            text = text.replace("[conntrack]\n", "[conntrack]\nacct = true\ntimestamp = true\n")
        path = self.scratch / "config.toml"
        path.write_text(text)
        return path

    def run(self, *options):
        command = [self.program, "-c", self.config(), "--at-end", f"{self.at_end:.4f}"]
        for port in PORTS:
            packets = [
                (self.when(s), bytes.fromhex(s["hex"])) for s in self.steps if s["iface"] == port
            ]
            # A port without packets still gets a capture, so that its output is raw, too.
            (self.scratch / f"{port}.pcap").write_bytes(pcap_bytes(packets))
            command += ["--in", f"{port}={self.scratch / port}.pcap"]
            command += ["--out", f"{port}={self.scratch / port}.out.pcap"]
        done = subprocess.run(
            [str(c) for c in command + list(options)],
            capture_output=True, text=True, timeout=120, check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"exit code {done.returncode}: {done.stderr.strip()}")
        return done.stdout.splitlines()

    def seed(self):
        """A seed with which the table has the kernel's mappings, where there is one."""
        tuples = lambda lines: sorted(re.sub(r".*?(src=)", r"\1", l, count=1) for l in lines)
        wanted = tuples(read_lines(self.directory / "conntrack-L.txt"))
        for seed in range(1, SEEDS.get(self.name, 0) + 1):
            if tuples(self.run("--list", "--seed", seed)) == wanted:
                return seed
        return 1

    def ours(self):
        """aspect -> what sluice-replay says."""
        verdicts = self.scratch / "verdicts"
        seed = self.seed()
        lines = self.run("--list", "--events", "--verdicts", verdicts, "--seed", seed)
        extended = self.run("--list", "-o", "extended,id", "--seed", seed)
        events = [l for l in lines if EVENT.match(l)]
        table = [l for l in lines if not EVENT.match(l)]
        emitted = {s["n"]: [] for s in self.steps}
        by_time = {self.when(s): s["n"] for s in self.steps}
        for port in PORTS:
            link, packets = read_pcap(self.scratch / f"{port}.out.pcap")
            assert link != ETHERNET, "the output of a port whose input is raw is raw"
            for when, packet in packets:
                emitted[by_time[when]].append((port, packet.hex()))
        return {
            "list": table,
            "ext": extended,
            "ipv6": [l for l, e in zip(table, extended) if e.startswith("ipv6")],
            "xml": self.run("--list", "-o", "xml", "--seed", seed),
            "events": events,
            "states": [" ".join(l.split()[3:5]) for l in verdicts.read_text().splitlines()],
            "emitted": emitted,
            "counters": our_counters(self.run("--stats", "--seed", seed)),
        }

    def kernel(self):
        """aspect -> what the kernel said, for those that the case has."""
        said = {
            "list": read_lines(self.directory / "conntrack-L.txt"),
            "ext": read_lines(self.directory / "conntrack-L-ext.txt"),
            "xml": read_lines(self.directory / "conntrack-L.xml"),
            "events": read_lines(self.directory / "conntrack-E.txt"),
            "states": [self.state(s["ct_state"]) for s in self.steps],
            "emitted": {s["n"]: [(e["iface"], e["hex"]) for e in s["emitted"]] for s in self.steps},
            "counters": kernel_counters(self.directory / "conntrack-S.txt"),
        }
        ipv6 = self.directory / "conntrack-L-ipv6.txt"
        if ipv6.exists():
            said["ipv6"] = read_lines(ipv6)
        return said

    @staticmethod
    def state(seen):
        """`new/original` as sluice-replay writes it; a packet that no rule saw has `-`."""
        if not seen:
            return "- -"
        state, _, direction = seen[-1].partition("/")
        return f"{state.upper()} {direction or '-'}"

    def mask(self, packet):
        """A packet without what was chosen at random: the IPv4 id where the router is the source,
        the source that NAT gave it, and the checksums over these."""
        data = bytearray.fromhex(packet)
        if data[0] >> 4 == 4 and bytes(data[12:16]) in OWN:
            data[4:6] = data[10:12] = bytes(2)
        if self.random_nat and data[9] == 17 and data[12:15] == bytes((203, 0, 113)):
            data[15] = data[10] = data[11] = 0
            data[20:22] = data[26:28] = bytes(2)
        return data.hex()

    def compare(self):
        """aspect -> None if it agrees, else how it differs."""
        ours, kernel = self.ours(), self.kernel()
        outcome = {}
        for aspect, theirs in kernel.items():
            mine = ours[aspect]
            if aspect == "emitted":
                as_lines = lambda by_step: [
                    (f"{n} {port} {self.mask(packet)}", None)
                    for n in sorted(by_step)
                    for port, packet in by_step[n]
                ]
            elif aspect == "counters":
                as_lines = lambda counts: [(f"{name} {n}", None) for name, n in counts.items()]
            elif aspect == "states":
                as_lines = lambda states: [(f"{n} {s}", None) for n, s in enumerate(states, 1)]
            elif aspect == "xml":
                as_lines = lambda lines: [normalized_xml(l, self.random_nat) for l in lines]
            else:
                as_lines = lambda lines: [normalized(l, self.random_nat) for l in lines]
            a, b = as_lines(mine), as_lines(theirs)
            if aspect == "events":
                a, b = ends_sorted(a), ends_sorted(b)
            if aspect in ("list", "ext", "ipv6", "xml"):
                a, b = sorted(a, key=str), sorted(b, key=str)
            outcome[aspect] = None if agree(a, b) else difference(aspect, a, b)
        return outcome


# ---- The two table-exhaustion tests.


def seed_case(name, program, scratch):
    """As Case.compare(), for a directory of seed-tests. What the host sent is in the capture as
    well as what it received; both are taken in by the one port."""
    directory = GOLDEN / "seed-tests" / name
    config = HERE / "configs" / ("seed-max7.toml" if "max7" in name else "seed-default.toml")
    done = subprocess.run(
        [program, "-c", config, "--in", f"tun0={directory / 'packets.pcap'}",
         "--at-end", "0.5", "--list", "--events", "--stats"],
        capture_output=True, text=True, timeout=120, check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"exit code {done.returncode}: {done.stderr.strip()}")
    lines = done.stdout.splitlines()
    transcript = (directory / "transcript.txt").read_text()
    table = transcript.split("flow entries have been shown.\n")[1].split("\n\n")[0].split("\n[")[0]
    kernel = {
        "list": sorted(normalized(l, False) for l in table.splitlines()),
        "events": [normalized(l, False) for l in read_lines(directory / "conntrack-E.txt")],
        "full": [(f"{transcript.count('table full')} refused", None)],
    }
    refused = sum(int(l.split()[1]) for l in lines if l.startswith("ct_table_full "))
    ours = {
        "list": sorted(normalized(l, False) for l in lines if l.startswith("tcp ")),
        "events": [normalized(l, False) for l in lines if EVENT.match(l)],
        "full": [(f"{refused} refused", None)],
    }
    return {
        aspect: None if agree(ours[aspect], kernel[aspect])
        else difference(aspect, ours[aspect], kernel[aspect])
        for aspect in kernel
    }


# ---- All of them.


def jobs(wanted):
    """(case, prefix of its aspects, function that compares)"""
    for path in sorted(p for p in GOLDEN.iterdir() if p.is_dir()):
        name = path.name
        if name in NOT_PACKETS or name == "seed-tests" or (wanted and name not in wanted):
            continue
        for acct in (False, True):
            if acct and not (path / "acct").is_dir():
                continue
            compare = lambda p, s, n=name, a=acct: Case(n, a, p, s).compare()
            yield name, "acct-" if acct else "", compare
    for path in sorted(p for p in (GOLDEN / "seed-tests").iterdir() if p.is_dir()):
        name = path.name
        if not wanted or name in wanted or "seed-tests" in wanted:
            yield name, "", lambda p, s, n=name: seed_case(n, p, s)


def attempt(program, compare):
    """The outcome of one job: aspect -> how it differs; or why it could not be run."""
    with tempfile.TemporaryDirectory() as scratch:
        try:
            return compare(program, Path(scratch))
        except (RuntimeError, subprocess.TimeoutExpired) as e:
            return str(e)


def judge(name, prefix, outcome, verbose):
    """Prints what there is to be said of a job; returns (agreed, listed, failures)."""
    if isinstance(outcome, str):
        print(f"FAIL  {name} {prefix or 'plain'}: {outcome}")
        return 0, 0, 1
    known = KNOWN.get(name, {})
    exact = known_lines(name)
    agreed, listed, bad = 0, 0, 0
    for aspect, how in outcome.items():
        reason = known.get(prefix + aspect, known.get(aspect))
        if how is None and reason is None:
            agreed += 1
        elif how is None:
            bad += 1
            print(f"FAIL  {name} {prefix}{aspect}: agrees now; take it off KNOWN ({reason})")
        elif reason is not None and (unlike := otherwise(exact, prefix + aspect, how)):
            bad += 1
            print(f"FAIL  {name} {prefix}{aspect}: differs otherwise than known/{name}.txt says")
            print("\n".join(unlike))
        elif reason is not None:
            listed += 1
            print(f"known {name} {prefix}{aspect}: {reason}")
            if verbose:
                print(how)
        else:
            bad += 1
            print(f"FAIL  {name} {prefix}{aspect}: differs from the kernel")
            print(how)
    sys.stdout.flush()
    return agreed, listed, bad


def record_known(outcomes):
    """Writes the files of known/ for those cases that have one, or that are named."""
    for name, group in itertools.groupby(outcomes, key=lambda o: o[0]):
        with (KNOWN_LINES / f"{name}.txt").open("w") as out:
            for _, prefix, outcome in group:
                for aspect, how in outcome.items():
                    if how is not None:
                        out.write("\n".join([f"[{prefix}{aspect}]", *lines_of(how)]) + "\n")


def main():
    arguments = [a for a in sys.argv[1:] if a not in ("-v", "--record-known")]
    verbose = "-v" in sys.argv[1:]
    if not arguments:
        sys.exit("usage: run.py SLUICE_REPLAY [-v] [CASE ...]")
    program, wanted = Path(arguments[0]).resolve(), set(arguments[1:])
    todo = list(jobs(wanted))
    sums = [0, 0, 0]
    with ThreadPoolExecutor(os.cpu_count()) as workers:
        outcomes = workers.map(lambda job: attempt(program, job[2]), todo)
        if "--record-known" in sys.argv[1:]:
            named = wanted or {path.stem for path in KNOWN_LINES.glob("*.txt")}
            record_known([(*job[:2], o) for job, o in zip(todo, outcomes) if job[0] in named])
            return 0
        for (name, prefix, _), outcome in zip(todo, outcomes):
            sums = [a + b for a, b in zip(sums, judge(name, prefix, outcome, verbose))]
    for name in set() if wanted else set(KNOWN) - {job[0] for job in todo}:
        sums[2] += 1
        print(f"FAIL  {name}: listed in KNOWN, but there is no such case")
    print("{} aspects agree, {} differ as listed, {} failures".format(*sums))
    return 1 if sums[2] or not todo else 0


if __name__ == "__main__":
    os.environ["TZ"] = "UTC"
    sys.exit(main())
