# SPDX-License-Identifier: BSD-3-Clause
"""The kernel made ready for kernel_peer.py: a namespace, its devices and rules, and who sends.

    kernel_send -> tracked, plain, stopped (tun) -> netfilter, routing -> sink (drops everything)

The size of the connection table is global in the kernel and put back by global_table().
"""

import contextlib
import ctypes
import json
import os
import re
import socket
import struct
import subprocess
import time
from pathlib import Path

from bench_program import Wrong

PROC = Path("/proc/sys/net/netfilter")
PREFIX = "sluice-bench"
TRACKED, PLAIN, STOPPED, SINK = "tracked", "plain", "stopped", "sink"

# `stopped` is untracked too and dropped where the tracker itself drops: what it is compared with
# when the table is full of what may not be evicted.
RULES = f"""
table inet bench {{
    counter new {{ }}
    counter established {{ }}
    counter untracked {{ }}
    counter invalid {{ }}
    chain raw {{
        type filter hook prerouting priority raw
        iif {{ {PLAIN}, {STOPPED} }} notrack
    }}
    chain stop {{
        type filter hook prerouting priority mangle
        iif {STOPPED} drop
    }}
    chain forward {{
        type filter hook forward priority filter
        counter name ct state map {{ new : "new", established : "established",
                                     untracked : "untracked", invalid : "invalid" }}
    }}
}}
"""
MASQUERADE = f"""
table ip translate {{
    chain post {{
        type nat hook postrouting priority srcnat
        oif {SINK} ip saddr 198.18.0.0/16 masquerade
    }}
}}
"""


def run(*command, **options):
    result = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=60,
                            check=False, **options)
    if result.returncode != 0:
        raise Wrong(f"{' '.join(map(str, command))}: {result.stderr.strip()}")
    return result.stdout


@contextlib.contextmanager
def global_table():
    """Yields a function that resizes the kernel's table; puts the old size back at the end."""
    limit, buckets = PROC / "nf_conntrack_max", PROC / "nf_conntrack_buckets"
    before = [(path, path.read_text().strip()) for path in (buckets, limit)]

    def resize(size):
        for path in (buckets, limit):
            if int(path.read_text()) != size:
                path.write_text(str(size))

    try:
        yield resize
    finally:
        for path, value in before:
            if path.read_text().strip() != value:
                path.write_text(value)


class Kernel:
    """A namespace with the devices and rules, and the program that sends into it."""

    def __init__(self, sender, core, resize):
        self.netns = f"{PREFIX}-{os.getpid()}"
        self.resize = resize
        self.size = 0
        self.process = None
        run("ip", "netns", "add", self.netns)
        try:
            self.set_up(sender, core)
        except BaseException:
            self.close()
            raise

    def inside(self, *command, **options):
        return run("ip", "netns", "exec", self.netns, *command, **options)

    def set_up(self, sender, core):
        self.sysctl(**{"ipv6.conf.default.disable_ipv6": 1, "ipv4.conf.all.rp_filter": 0,
                       "ipv4.conf.default.rp_filter": 0, "ipv4.ip_forward": 1,
                       "ipv4.ip_early_demux": 0})
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", self.netns, str(sender), "--core", str(core), TRACKED, PLAIN,
             STOPPED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.answer()
        self.inside("ip", "tuntap", "add", SINK, "mode", "tun")
        for device in (TRACKED, PLAIN, STOPPED, SINK):
            self.inside("ip", "link", "set", device, "up")
        self.inside("ip", "address", "add", "203.0.113.1/32", "dev", SINK)
        self.inside("ip", "route", "add", "default", "dev", SINK)
        self.inside("nft", "-f", "-", input=RULES)
        # As a network card would have verified them; and nobody is told of events.
        self.sysctl(**{"netfilter.nf_conntrack_checksum": 0, "netfilter.nf_conntrack_events": 0,
                       "netfilter.nf_conntrack_acct": 1})

    def sysctl(self, **settings):
        for name, value in settings.items():
            self.inside("sh", "-c", f"echo {value} > /proc/sys/net/{name.replace('.', '/')}")

    def answer(self):
        line = self.process.stdout.readline().strip()
        if not line:
            raise Wrong(f"kernel_send ended with {self.process.wait()}")
        return line

    def send(self, device, kind, first, count, flows=1):
        """Sends `count` packets; returns nanoseconds a packet."""
        self.process.stdin.write(f"send {device} {kind} {first} {count} {flows}\n")
        self.process.stdin.flush()
        return int(self.answer()) / count

    def use(self, size):
        """Empties the table and gives it `size` entries and as many buckets."""
        self.flush()
        if size != self.size:
            self.resize(size)
            self.size = size

    def flush(self):
        """What `conntrack -F` does: IPCTNL_MSG_CT_DELETE without a tuple."""
        here = os.open("/proc/self/ns/net", os.O_RDONLY)
        there = os.open(f"/run/netns/{self.netns}", os.O_RDONLY)
        try:
            set_namespace(there)
            netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)  # NETLINK_NETFILTER
        finally:
            set_namespace(here)
            os.close(here)
            os.close(there)
        with netlink:
            netlink.settimeout(60)
            # nlmsghdr (length, type CTNETLINK|DELETE, REQUEST|ACK, sequence, pid), nfgenmsg (IPv4)
            netlink.send(struct.pack("=IHHIIBBH", 20, 1 << 8 | 2, 5, 1, 0, socket.AF_INET, 0, 0))
            error = struct.unpack_from("=i", netlink.recv(4096), 16)[0]
        if error != 0:
            raise Wrong(f"flush of the table: {os.strerror(-error)}")
        # Entries are freed by a worker of the kernel.
        deadline = time.monotonic() + 20
        while self.count() != 0:
            if time.monotonic() > deadline:
                raise Wrong(f"{self.count()} entries outlive a flush of the table")
            time.sleep(0.02)

    def count(self):
        return int(self.inside("cat", PROC / "nf_conntrack_count"))

    def counters(self):
        """Packets that reached the forward hook by ct state, and what the tracker counts."""
        listed = json.loads(self.inside("nft", "-j", "list", "counters"))
        found = {c["counter"]["name"]: c["counter"]["packets"]
                 for c in listed["nftables"] if "counter" in c}
        head, *rows = self.inside("cat", "/proc/net/stat/nf_conntrack").splitlines()
        for column, name in enumerate(head.split()):
            if name in ("early_drop", "drop", "insert_failed"):
                found[name] = sum(int(row.split()[column], 16) for row in rows)
        found["entries"] = self.count()
        return found

    @contextlib.contextmanager
    def masquerade(self):
        self.inside("nft", "-f", "-", input=MASQUERADE)
        try:
            yield
        finally:
            self.inside("nft", "delete", "table", "ip", "translate")

    def close(self):
        if self.process:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
            self.process.kill()
        subprocess.run(["ip", "netns", "del", self.netns], check=False)


def remove_leftovers():
    """Removes namespaces of runs that were killed: their names hold the pid of a dead process."""
    for netns in re.findall(rf"^{PREFIX}-(\d+)\b", run("ip", "netns", "list"), re.M):
        if not Path(f"/proc/{netns}").exists():
            run("ip", "netns", "del", f"{PREFIX}-{netns}")


def set_namespace(fd):
    """What os.setns does, which came with Python 3.12."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(fd, 0x40000000) != 0:  # CLONE_NEWNET
        raise OSError(ctypes.get_errno(), "setns")
