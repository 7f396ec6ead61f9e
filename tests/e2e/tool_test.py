#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""sluicectl beside the real conntrack(8): the same command lines, given to Sluice and to the kernel
of this machine, must print the same on both streams and exit alike.

What differs by nature is made equal before: the program's name, ids, ports of netlink sockets, the
order of entries, the time of day, and a second more or less.
"""

import math
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

import bench_net

CONFIG = """
[dataplane]
workers = 1
huge_pages = "none"
mempool = 1024
[conntrack]
max = 4096
labels = true
[[port]]
name = "a"
device = "net_null0"
addresses = ["192.0.2.1/24"]
[control]
socket = "{socket}"
"""
B = "-s 10.0.0.1 -d 10.0.0.2"
TCP = f"-p tcp {B} --sport 1000 --dport 80"
UDP = f"-p udp {B} --sport 2000 --dport 53"

# In order; each is run on both, and what is in the tables carries over.
LINES = [
    "-L", "-C", "-F",
    f"-I {TCP} -t 100 --state ESTABLISHED",
    f"-I {TCP} -t 100 --state ESTABLISHED",
    f"-A {TCP} -t 100 --state ESTABLISHED",
    f"-I {TCP} -t 100",
    f"-I {TCP} --state SYN_SENT",
    f"-I {UDP} -t 50 -u SEEN_REPLY,ASSURED -m 0x10/0xff",
    f"-A -p udp {B} --sport 2001 --dport 53 -t 50 -w 5",
    f"-I -p udp {B} --sport 2002 --dport 53 -t 50 --orig-zone 5",
    f"-I -p udp {B} --sport 2003 --dport 53 -t 50 --reply-zone 5",
    f"-I -p udp {B} --sport 2004 --dport 53 -t 50 -w 5 --orig-zone 6",
    f"-I -p udp {B} --sport 2005 --dport 53 -t 50 -n 10.9.9.9:5555",
    f"-I -p udp {B} --sport 2006 --dport 53 -t 50 -g 10.9.9.8",
    f"-I -p udp {B} --sport 2007 --dport 53 -t 50 -n 10.9.9.9:1-2",
    f"-I -p udp {B} --sport 2008 --dport 53 -t 50 -u EXPECTED",
    f"-I -p udp {B} --sport 2009 --dport 53 -t 50 -u FIXED_TIMEOUT",
    f"-I -p icmp {B} --icmp-type 8 --icmp-code 0 --icmp-id 77 -t 50",
    f"-I -p icmp {B} --icmp-type 3 --icmp-code 0 -t 50",
    "-I -p icmpv6 -s fd00::1 -d fd00::2 --icmpv6-type 128 --icmpv6-code 0 --icmpv6-id 7 -t 50",
    f"-I -p gre {B} --srckey 5 --dstkey 6 -t 50",
    f"-I -p sctp {B} --sport 5 --dport 6 -t 50 --state ESTABLISHED --orig-vtag 1 --reply-vtag 2",
    f"-I -p sctp {B} --sport 5 --dport 6 -t 50 --state ESTABLISHED",
    f"-I -p udplite {B} --sport 5 --dport 6 -t 50",
    f"-I -p 99 {B} -t 50",
    "-L", "-L -o extended,id", "-L -o xml", "-L -o save", "-L -f ipv6", "-L -p tcp", "-C",
    "-L -p udp --sport 2000", "-L -m 0x10", "-L -m 16/0xff", "-L -u ASSURED", "-L -u UNREPLIED",
    "-L -u !ASSURED", "-L --src-nat", "-L -n 10.9.9.9", "-L -g", "-L -j", "-L -w 5",
    "-L --orig-zone 5", "-L --reply-zone 5", "-L -s 10.0.0.0/24", "-L -d 10.0.0.2 -p gre",
    "-L -r 10.0.0.2", "-L -q 10.9.9.9", "-L -p tcp --state ESTABLISHED", "-L -c 0", "-L -c 5",
    "-L -z", "-L -z -p udp", "-L dying", "-L unconfirmed", "-L expect", "-L foo", "-C expect",
    f"-G {UDP}", f"-G -p udp {B} --sport 1 --dport 2", "-G -p udp",
    f"-U {UDP} -t 40", f"-U {UDP} -m 0x102/0xf0f", f"-U {TCP} -u SEEN_REPLY",
    f"-U {TCP} --state CLOSE", f"-U {TCP}", f"-U -p udp {B} --sport 9 -m 5", "-U -w 5 -t 3",
    "-U expect -t 3",
    "-L", "-D -p udp --sport 2000", "-D -p udp --sport 2000", f"-D {TCP} -o save", "-D -i 5",
    "-D -z", "-D dying", "-D -m 77", "-S foo", "-L -p foo", "-L -s foo", "-L -u FOO", "-X",
    "-L -D", "-L --src", "-I expect", "-D -w 5", "-F", "-L", "-F expect",
]

# What is printed of entries, by every command that prints some and in every form. Both have
# accounting and timestamps on.
SCTP = f"-p sctp {B} --sport 5 --dport 6"
PRINTING_LINES = [
    "-F", f"-I {TCP} -t 100 --state ESTABLISHED", f"-I {UDP} -t 50 -m 7",
    "-L -o ktimestamp", "-L -o xml,ktimestamp", "-L -o extended,id,timestamp,ktimestamp,userspace",
    "-L -p icmp -o xml", "-L dying -o xml", "-L -o labels", "-L -o xml,labels", "-L -o foo",
    f"-G {TCP} -o xml", f"-G {TCP} -o xml,ktimestamp", f"-G {TCP} -o save",
    f"-G {TCP} -o save,id", f"-G {TCP} -o extended,id,ktimestamp",
    f"-G -p udp {B} --sport 1 --dport 2 -o xml",
    f"-U {UDP} -t 60 -o xml", f"-U {UDP} -t 61 -o save", f"-U {UDP} -t 62 -o xml,ktimestamp",
    f"-U {UDP} -t 63 -o ktimestamp", f"-U {UDP} -t 64 -o id", f"-U {UDP} -t 65 -o save,xml",
    f"-U -p udp {B} --sport 9 -t 5 -o xml",
    f"-D {TCP} -o xml,ktimestamp", f"-D {TCP} -o xml", f"-D {UDP} -o extended,ktimestamp",
    f"-I {TCP} -t 100 --state ESTABLISHED", f"-I {UDP} -t 50", "-D -o xml", "-D -o xml",
]

# Who takes which option: those that only some protocols have, status bits, labels.
EXPECT = (f"{B} --tuple-src 10.0.0.3 --tuple-dst 10.0.0.4 "
          "--mask-src 255.255.255.255 --mask-dst 255.255.255.255 -t 50")
PORTS = "--sport 1 --dport 2"
MASKS = "--mask-port-src 65535 --mask-port-dst 65535"
OPTION_LINES = [
    "-F", f"-I {SCTP} -t 50 --state ESTABLISHED --orig-vtag 1 --reply-vtag 2",
    "-L -p sctp --orig-vtag 1", "-L -p sctp --reply-vtag 1", "-D -p sctp --orig-vtag 1",
    "-E -p sctp --orig-vtag 1", f"-G {SCTP} --orig-vtag 7", "-L -p udp --orig-vtag 1",
    "-L -p sctp --state ESTABLISHED", "-L -p sctp --state CLOSED", "-D -p sctp",
    "-I -p icmp -r 10.0.0.2 -q 10.0.0.1 --icmp-type 8 --icmp-code 0 --icmp-id 5 -t 50",
    "-I -p icmpv6 -r fd00::2 -q fd00::1 --icmpv6-type 128 --icmpv6-code 0 -t 50",
    "-I -p icmp -r 10.0.0.2 -q 10.0.0.1 -t 50", f"-I -p icmp {B} -t 50", "-I -p icmp -t 50",
    "-G -p icmp -r 10.0.0.2 -q 10.0.0.1 --icmp-type 8 --icmp-code 0",
    "-L -p icmpv6 --icmp-type 128", "-L -p icmp --icmpv6-type 8", "-L -p icmp --icmp-type 8",
    "-I -p tcp -t 5", f"-I -p tcp {B} -t 5", "-I -p tcp -r 10.0.0.2 -q 10.0.0.1 -t 5",
    "-I -p gre -r 10.0.0.2 -q 10.0.0.1 --reply-key-src 7 --reply-key-dst 8 -t 50",
    f"-I {UDP} -t 50 -u HW_OFFLOAD", "-L -u HW_OFFLOAD", "-L -u OFFLOAD", "-L -u !HW_OFFLOAD",
    "-L -u !UNREPLIED", "-D -u !UNREPLIED", "-L -u UNREPLIED", "-L -u !FOO", "-L -u !",
    "-L -u !!ASSURED", "-L -u ASSURED,UNREPLIED", "-L -u !UNSET", "-L -u !SRC_NAT",
    f"-U {UDP} --label-del", f"-U {UDP} --label-del foo", f"-U {UDP} --label-add foo", "-L -l foo",
    "-F",
    # Of DCCP Linux tracks the addresses only.
    f"-I -p dccp {B} {PORTS} -t 50 --state OPEN --role client",
    f"-I -p dccp {B} --sport 3 --dport 4 -t 50 --state OPEN --role server",
    f"-I -p dccp {B} {PORTS} -t 50 --state FOO --role server",
    f"-I -p dccp {B} {PORTS} -t 50 --state OPEN --role foo",
    "-L -p dccp", "-L -o save", "-L -o xml", "-L -p dccp --sport 1", "-L -p dccp --state OPEN",
    "-L -p dccp --state open", "-L -p dccp --role client", "-L -p tcp --role client",
    f"-G -p dccp {B} {PORTS}", f"-U -p dccp {B} -t 20", "-D -p dccp --sport 1", "-D -p dccp",
    f"-I {UDP} -t 50", "-D -t 77 -p tcp", "-D -t 77", "-D -t 77",
    # There are no expectations, but there is the grammar.
    f"-D expect -p tcp {B}", f"-D expect -p tcp {B} {PORTS}",
    f"-D expect -p tcp {B} {PORTS} --reply-port-src 2",
    f"-D expect -p tcp {B} {PORTS} --reply-port-src 2 --reply-port-dst 1",
    f"-D expect -p tcp {B} {PORTS} --tuple-port-src 1", f"-D expect -p 99 {B}",
    f"-D expect -p icmp {B}", f"-D expect -p gre {B} --srckey 1 --dstkey 2",
    f"-G expect -p tcp {B} {PORTS}", f"-G expect -p icmp {B} --icmp-type 8",
    f"-G expect -p tcp {B} {PORTS} --reply-port-src 2 --reply-port-dst 1",
    f"-I expect -p tcp {EXPECT}", f"-I expect -p tcp {EXPECT} {PORTS}",
    f"-I expect -p tcp {EXPECT} {PORTS} --tuple-port-src 5 --tuple-port-dst 6",
    f"-I expect -p tcp {EXPECT} {PORTS} {MASKS}",
    f"-I expect -p tcp {EXPECT} {PORTS} {MASKS} --tuple-port-src 5 --tuple-port-dst 6",
    f"-I expect -p sctp {EXPECT} {PORTS} {MASKS} --tuple-port-src 5 --tuple-port-dst 6",
    f"-I expect -p dccp {EXPECT} {PORTS} {MASKS} --tuple-port-src 5 --tuple-port-dst 6",
    f"-I expect -p udp {EXPECT} {PORTS} {MASKS} --tuple-port-src 5 --tuple-port-dst 6",
    f"-I expect -p gre {EXPECT} --srckey 1 --dstkey 2 --tuple-port-src 5",
    f"-I expect -p gre {EXPECT} --srckey 1 --dstkey 2 --reply-key-src 1 --reply-key-dst 2 "
    "--mask-key-src 1 --mask-key-dst 1 --tuple-key-src 1 --tuple-key-dst 2",
    f"-I expect -p icmp {EXPECT}", "-L -p tcp --tuple-port-src 1", "-L -p tcp --mask-port-dst 1",
    "-E -p tcp --mask-port-src 1", f"-I {UDP} -t 5 --tuple-port-src 2",
]

# What -E is asked for; each of these listens to the same changes.
LISTENERS = [
    "", "-o xml", "-o save", "-o extended,id", "-o timestamp", "-o ktimestamp", "-o labels",
    "-o xml,timestamp", "-o xml,ktimestamp", "-o userspace", "-e NEW", "-e UPDATES -o save",
    "-e NEW,DESTROY -o xml", "-p udp -o save", "-p icmp -o xml", "-m 9", "-o save,id",
]


class Tool:
    """A program that takes conntrack(8)'s command lines."""

    def __init__(self, *command):
        self.command = [str(word) for word in command]

    def run(self, line):
        done = subprocess.run([*self.command, *line.split()], capture_output=True, text=True,
                              timeout=60, check=False, stdin=subprocess.DEVNULL)
        return done.returncode, self.plain(done.stdout), self.plain(done.stderr)

    @staticmethod
    def plain(text):
        """The lines, in an order of their own, without what differs by nature."""
        lines = []
        for line in text.splitlines():
            line = re.sub(r"^(conntrack|sluicectl) v\S+ \(\S+\): ", "TOOL: ", line)
            line = re.sub(r"`(conntrack|sluicectl) -h' or '(conntrack|sluicectl) --help'", "HELP",
                          line)
            line = re.sub(r"\bid=\d{4,}|<id>\d+</id>", "ID", line)
            line = re.sub(r"portid=\d+( progname=\S+)?", "PORT", line)
            line = re.sub(r"^\[\d{10}\.\d{6}\]\t", "[TIME]\t", line)
            line = re.sub(r"=\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}\]", "=TIME]", line)
            line = re.sub(r"<(start|stop)>\d{19}</", r"<\1>TIME</", line)
            line = re.sub(r"<hour>\d{1,2}</hour><min>\d\d</min><sec>\d\d</sec>", "TIME", line)
            lines.append(line)
        # By everything but the time that is left.
        return sorted(lines, key=lambda line: re.sub(
            r"^(\D*(?:ipv\d +\d+ )?\S+ +\d+) \d+ |-t \d+|<timeout>\d+|time[=>]\d+", r"\1 ", line))


def close(mine, theirs, seconds=1):
    """Whether two lines agree but for `seconds` in the time that is left."""
    if mine == theirs:
        return True
    words, other = re.split(r"([ <>=])", mine), re.split(r"([ <>=])", theirs)
    if len(words) != len(other):
        return False
    differing = [(a, b) for a, b in zip(words, other) if a != b]
    return all(a.isdigit() and b.isdigit() and abs(int(a) - int(b)) <= seconds
               for a, b in differing)


class SideBySide(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.folder = Path(tempfile.mkdtemp(prefix="sluice-tool-"))
        cls.namespace = f"sluice-tool-{os.getpid()}"
        socket = cls.folder / "control"
        config = cls.folder / "config.toml"
        config.write_text(CONFIG.format(socket=socket))
        cls.log = (cls.folder / "log").open("w+")
        subprocess.run(["ip", "netns", "add", cls.namespace], check=True)
        cls.daemon = subprocess.Popen([bench_net.program("sluice"), "-c", config],
                                      stdout=cls.log, stderr=cls.log)
        cls.sluice = Tool(bench_net.program("sluicectl"), "--socket", socket)
        cls.kernel = Tool("ip", "netns", "exec", cls.namespace, "conntrack")
        for _ in range(300):
            if cls.sluice.run("ping")[0] == 0:
                return
            if cls.daemon.poll() is not None:
                break
            time.sleep(0.1)
        cls.log.seek(0)
        said = cls.log.read()
        cls.tearDownClass()
        raise RuntimeError(f"sluice does not answer:\n{said}")

    @classmethod
    def tearDownClass(cls):
        if cls.daemon.poll() is None:
            cls.daemon.send_signal(signal.SIGTERM)
            cls.daemon.wait(timeout=20)
        cls.log.close()
        subprocess.run(["ip", "netns", "del", cls.namespace], check=False)
        shutil.rmtree(cls.folder)

    def compare(self, line, mine, theirs, seconds=1):
        self.assertEqual(mine[0], theirs[0], f"{line}: exit codes\n{mine}\n{theirs}")
        for what, a, b in zip(("stdout", "stderr"), mine[1:], theirs[1:]):
            same = len(a) == len(b) and all(close(x, y, seconds) for x, y in zip(a, b))
            if not same:  # whole, for the reader
                self.assertEqual(a, b, f"{line}: {what}")

    def compare_all(self, lines):
        """Runs each line on both. An entry is as much older on one as the lines took that made it
        and that show it: a second, unless the machine is very busy."""
        slowest = 0
        for line in lines:
            with self.subTest(line):
                begin = time.monotonic()
                mine, theirs = self.sluice.run(line), self.kernel.run(line)
                slowest = max(slowest, time.monotonic() - begin)
                self.compare(line, mine, theirs, 1 + math.floor(2 * slowest))

    def keep_times(self, value):
        """Switches accounting and timestamps on both on or off, for what is made from now on."""
        for name in ("nf_conntrack_acct", "nf_conntrack_timestamp"):
            self.assertEqual(self.sluice.run(f"set {name} {value}")[0], 0)
            subprocess.run(["ip", "netns", "exec", self.namespace, "sysctl", "-qw",
                            f"net.netfilter.{name}={value}"], check=True)

    def test_both_say_the_same(self):
        self.compare_all(LINES)

    def test_both_print_entries_alike(self):
        self.keep_times(1)
        self.addCleanup(self.keep_times, 0)
        self.compare_all(PRINTING_LINES)

    def test_both_take_the_same_options(self):
        self.compare_all(OPTION_LINES)

    def test_both_tell_the_same_events(self):
        self.sluice.run("-F")
        self.kernel.run("-F")
        self.keep_times(1)
        self.addCleanup(self.keep_times, 0)
        listeners = {(tool, line): subprocess.Popen(
            [*tool.command, "-E", *line.split()], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True) for line in LISTENERS for tool in (self.sluice, self.kernel)}
        time.sleep(1)
        slowest = 0
        for line in (f"-I {TCP} -t 100 --state SYN_SENT", f"-U {TCP} --state ESTABLISHED -t 300",
                     f"-U {TCP} -u SEEN_REPLY,ASSURED", f"-I {UDP} -t 50 -m 9", f"-U {UDP} -m 0x10",
                     f"-D {TCP}", "-D -p udp --sport 2000"):
            if line.startswith("-D"):
                time.sleep(1.2)  # an age to be told
            begin = time.monotonic()
            for tool in (self.sluice, self.kernel):
                code, _, said = tool.run(line)
                self.assertEqual(code, 0, f"{line}: {said}")
            slowest = max(slowest, time.monotonic() - begin)
        time.sleep(0.5)
        told = {}
        for key, process in listeners.items():
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=10)
            told[key] = process.returncode, Tool.plain(out), Tool.plain(err)
        self.assertEqual(len(told[self.kernel, ""][1]), 7, told[self.kernel, ""])
        for line in LISTENERS:
            with self.subTest(line):
                self.compare(f"-E {line}", told[self.sluice, line], told[self.kernel, line],
                             1 + math.floor(2 * slowest))

    def test_what_one_saves_the_other_loads(self):
        for saver, loader in ((self.sluice, self.kernel), (self.kernel, self.sluice)):
            for tool in (saver, loader):
                tool.run("-F")
            for line in (f"-I {TCP} -t 100 --state ESTABLISHED -u SEEN_REPLY,ASSURED",
                         f"-I {UDP} -t 50", f"-I -p icmp {B} --icmp-type 8 --icmp-code 0 -t 50",
                         f"-I -p udp {B} --sport 9 --dport 53 -t 50 --orig-zone 5",
                         f"-I -p gre {B} --srckey 5 --dstkey 6 -t 50"):
                self.assertEqual(saver.run(line)[0], 0, line)
            saved = subprocess.run([*saver.command, "-L", "-o", "save"], capture_output=True,
                                   text=True, check=True).stdout
            file = self.folder / "saved"
            file.write_text(saved)

            self.assertEqual(loader.run(f"-R {file}"), (0, [], []))

            self.compare("after -R", loader.run("-L"), saver.run("-L"))


def main():
    reason = None
    if os.geteuid() != 0:
        reason = "needs root: a network namespace of its own"
    elif shutil.which("conntrack") is None:
        reason = "no program 'conntrack': make deps installs it"
    else:
        probe = subprocess.run(["conntrack", "-C"], capture_output=True, check=False)
        if probe.returncode != 0:
            reason = "this kernel has no connection tracking"
    if reason:
        print(f"comparison with conntrack(8) skipped: {reason}")
        sys.exit(bench_net.SKIP)
    unittest.main(verbosity=2)


if __name__ == "__main__":
    main()
