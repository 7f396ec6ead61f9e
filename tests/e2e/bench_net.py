# SPDX-License-Identifier: BSD-3-Clause
"""A small network on one machine: hosts are network namespaces, the router between them is Sluice.

A Lab owns namespaces, processes and a folder; leaving it ends and removes all of them, whatever
happened inside. Sluice runs in a namespace of its own with net_tap ports; each tap's kernel side
is moved into the namespace of the host that stands at that port:

    [client] eth0 ~~ tap ~~ lan [sluice] wan ~~ tap ~~ eth0 [server]

KernelRouter puts Linux itself in Sluice's place, with veth pairs and nftables. The same tests run
against both: what the kernel cannot pass is a fault of the test.
"""

import atexit
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PEERS = Path(__file__).resolve().parent / "peers.py"
PYTHON = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable
SKIP = 77  # meson's exit code for a test that cannot run here
PREFIX = "sluice-e2e"


def build_folder():
    return Path(os.environ.get("SLUICE_BUILD", ROOT / "build")).resolve()


def program(name):
    """The built program `name`, wherever its folder is."""
    found = sorted((build_folder() / "dataplane").glob(f"**/{name}"))
    if not found:
        raise FileNotFoundError(f"no {name} under {build_folder()}: make build")
    return found[0]


def why_not(*tools):
    """Why there can be no test network here, or one without programs `tools`; or None."""
    if os.geteuid() != 0:
        return "needs root: network namespaces and tap devices"
    if not Path("/dev/net/tun").exists():
        return "the kernel has no tun device (/dev/net/tun)"
    try:
        os.close(os.open("/dev/net/tun", os.O_RDWR))
    except OSError as error:
        return f"/dev/net/tun: {error.strerror}"
    for tool in ("ip", "ping", "curl", "iperf3", "ethtool", *tools):
        if shutil.which(tool) is None:
            return f"no program '{tool}': make deps installs it"
    probe = f"{PREFIX}-{os.getpid()}-probe"
    made = subprocess.run(["ip", "netns", "add", probe], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        return f"no network namespaces: {made.stderr.strip()}"
    subprocess.run(["ip", "netns", "del", probe], check=False)
    return None


def wait_for(what, condition, timeout=10.0, every=0.05):
    """Calls `condition` until it returns something true, and returns that."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"no {what} within {timeout:g} s")
        time.sleep(every)


class CommandFailed(AssertionError):
    """A command that had to succeed did not; says all that it said."""

    def __init__(self, command, result):
        super().__init__(f"{' '.join(command)}: exit {result.returncode}\n"
                         f"{result.stdout}{result.stderr}")


class Host:
    """One network namespace."""

    def __init__(self, lab, name):
        self.lab = lab
        self.name = name
        self.netns = f"{PREFIX}-{os.getpid()}-{name}"
        lab.ip("netns", "add", self.netns)
        lab.namespaces.append(self.netns)
        self.ip("link", "set", "lo", "up")

    def inside(self, *command):
        return ["ip", "netns", "exec", self.netns, *map(str, command)]

    def run(self, *command, timeout=20, check=True, env=None):
        command = self.inside(*command)
        result = subprocess.run(command, capture_output=True, text=True, timeout=timeout,
                                stdin=subprocess.DEVNULL, check=False,
                                env={**os.environ, **(env or {})})
        if check and result.returncode != 0:
            raise CommandFailed(command, result)
        return result

    def ip(self, *arguments, check=True):
        return self.lab.ip("-n", self.netns, *arguments, check=check)

    def spawn(self, *command, log=None):
        """Starts a process that ends with the lab; its output goes to a file, see Process."""
        return self.lab.spawn(self.inside(*command), log or Path(str(command[0])).name)

    def peer(self, *arguments, timeout=20, check=True):
        """Runs one of peers.py's roles to its end."""
        return self.run(PYTHON, PEERS, *arguments, timeout=timeout, check=check)

    def spawn_peer(self, *arguments, ready="ready"):
        """Starts one of peers.py's roles and waits until it says that it is ready."""
        process = self.spawn(PYTHON, PEERS, *arguments, log=f"{self.name}-{arguments[0]}")
        if ready:
            wait_for(f"'{ready}' from {arguments[0]}", lambda: process.alive_with(ready))
        return process

    def sysctl(self, **settings):
        for key, value in settings.items():
            path = "/proc/sys/net/" + key.replace("__", "/")
            self.run("sh", "-c", f"echo {value} > {path}")

    def attach(self, device, mac, addresses, routes=(), ipv6=True, source=None):
        """Takes the netdev `device` out of the host `source` and makes it this host's eth0."""
        source.ip("link", "set", device, "netns", self.netns, "name", "eth0")
        self.ip("link", "set", "eth0", "address", mac)
        # Each host hands over whole packets with finished checksums, as a wire would.
        self.run("ethtool", "-K", "eth0", "tx", "off", "tso", "off", "gso", "off", check=False)
        self.sysctl(ipv6__conf__eth0__disable_ipv6=0 if ipv6 else 1)
        if ipv6:
            self.sysctl(ipv6__conf__eth0__accept_dad=0, ipv6__conf__eth0__router_solicitations=0,
                        ipv6__conf__eth0__accept_ra=0)
        self.ip("link", "set", "eth0", "up")
        for address in addresses:
            self.ip("addr", "add", address, "dev", "eth0", *(["nodad"] if ":" in address else []))
        for to, via in routes:
            self.ip("-6" if ":" in via else "-4", "route", "add", to, "via", via)


def neighbour_of(host, name, address, routes=()):
    """A second host at the router's port that `host` stands at."""
    other = host.lab.host(name)
    host.ip("link", "add", "link", "eth0", "name", name, "type", "macvlan", "mode", "bridge")
    host.ip("link", "set", name, "netns", other.netns, "name", "eth0")
    other.run("ethtool", "-K", "eth0", "tx", "off", "tso", "off", "gso", "off", check=False)
    other.ip("link", "set", "eth0", "up")
    other.ip("addr", "add", address, "dev", "eth0", *(["nodad"] if ":" in address else []))
    for to, via in routes:
        other.ip("route", "add", to, "via", via)
    return other


class Process:
    """A process in the background whose output is kept in a file."""

    def __init__(self, command, path):
        self.path = path
        self.out = open(path, "wb")
        self.popen = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.out,
                                      stderr=subprocess.STDOUT)

    @property
    def output(self):
        return self.path.read_text(errors="replace")

    def alive_with(self, text):
        if text in self.output:
            return True
        if self.popen.poll() is not None:
            raise AssertionError(f"ended with {self.popen.returncode} before saying '{text}':\n"
                                 f"{self.output}")
        return False

    def wait(self, timeout):
        return self.popen.wait(timeout)

    def stop(self, sig=signal.SIGTERM, timeout=10):
        """Ends it, with SIGKILL if it must; returns its exit code, negative for a signal."""
        if self.popen.poll() is None:
            self.popen.send_signal(sig)
            try:
                self.popen.wait(timeout)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait(5)
        self.out.close()
        return self.popen.returncode


class Lab:
    """Namespaces, processes and files that vanish together."""

    def __init__(self):
        self.namespaces = []
        self.processes = []
        self.folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}-"))
        remove_leftovers()
        atexit.register(self.close)
        # meson ends a test that takes too long with SIGTERM: leave through the clean-up.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def ip(self, *arguments, check=True):
        command = ["ip", *map(str, arguments)]
        result = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        if check and result.returncode != 0:
            raise CommandFailed(command, result)
        return result

    def host(self, name):
        return Host(self, name)

    def spawn(self, command, name):
        process = Process(list(map(str, command)), self.folder / f"{len(self.processes)}-{name}.log")
        self.processes.append(process)
        return process

    def close(self):
        for process in reversed(self.processes):
            try:
                process.stop(timeout=5)
            except Exception as error:  # the rest must still be cleaned up
                print(f"clean-up: {error}", file=sys.stderr)
        self.processes.clear()
        for netns in reversed(self.namespaces):
            self.ip("netns", "del", netns, check=False)
        self.namespaces.clear()
        shutil.rmtree(self.folder, ignore_errors=True)
        atexit.unregister(self.close)


def remove_leftovers():
    """Removes namespaces of runs that were killed: their names hold the pid of a dead process."""
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=False)
    for netns in re.findall(rf"^({PREFIX}-\d+-\S+)", listed.stdout, re.M):
        if not Path(f"/proc/{netns.split('-')[2]}").exists():
            subprocess.run(["ip", "netns", "del", netns], capture_output=True, check=False)


@dataclass
class Station:
    """A host and the router's port that it is attached to."""

    port: str  # the tap's or veth's name on the router's side
    host: str
    addresses: list
    routes: list = field(default_factory=list)
    mac: str = ""
    mtu: int = 1500  # of the router's port; the host's is 1500


class Router:
    """What the tests ask of a router, whoever it is."""

    def attach(self, lab, stations, ipv6):
        self.hosts = {}
        for number, station in enumerate(stations):
            host = lab.host(station.host)
            self.hosts[station.host] = host
            self.plug(host, station, station.mac or f"02:00:5e:10:00:{number + 1:02x}", ipv6)

    def entries(self, *filters):
        """The lines of the connection table that pass conntrack(8)'s filters."""
        return [line for line in self.list(*filters).stdout.splitlines() if line]


class SluiceRouter(Router):
    """The daemon, with a configuration whose ports are net_tap devices."""

    name = "sluice"

    def __init__(self, lab, config, stations, ipv6=True, eal=(), host="sluice"):
        self.lab = lab
        self.gateway = lab.host(host)
        self.socket = lab.folder / f"{host}.sock"
        self.config = lab.folder / f"{host}.toml"
        self.config.write_text(with_socket(config, self.socket))
        self.ctl = program("sluicectl")
        self.daemon = self.gateway.spawn(
            program("sluice"), "-c", self.config, *(["--", *eal] if eal else []), log="sluice")
        # The driver speaks to its interfaces by name until every port runs: only then may they move.
        wait_for("control socket", lambda: self.alive() and self.socket.exists(), timeout=30)
        wait_for("answer", lambda: self.control("ping", check=False).returncode == 0)
        self.attach(lab, stations, ipv6)

    def alive(self):
        if self.daemon.popen.poll() is not None:
            raise AssertionError(f"sluice ended with {self.daemon.popen.returncode}:\n{self.log}")
        return True

    def plug(self, host, station, mac, ipv6):
        host.attach(station.port, mac, station.addresses, station.routes, ipv6, self.gateway)

    @property
    def log(self):
        return self.daemon.output

    def command(self, *arguments):
        return [self.ctl, "--socket", self.socket, *arguments]

    def control(self, *arguments, check=True, timeout=20):
        return self.gateway.run(*self.command(*arguments), check=check, timeout=timeout)

    def list(self, *filters):
        return self.control("-L", *filters)

    def set_tcp_timeout(self, state, seconds):
        self.control("set", f"nf_conntrack_tcp_timeout_{state}", seconds)

    def drops(self):
        """Reason to count, of `sluicectl drops`."""
        found = {}
        for line in self.control("drops").stdout.splitlines():
            name = re.search(r"\b([a-z][a-z0-9_]+)\b", line)
            number = re.search(r"\b(\d+)\b", line)
            if name and number:
                found[name.group(1)] = int(number.group(1))
        return found

    def watch(self, *arguments):
        """Events in the background."""
        return self.gateway.spawn(*self.command("-E", *arguments), log="events")

    def stop(self):
        return self.daemon.stop(timeout=20)


class KernelRouter(Router):
    """Linux as NAT gateway: the oracle that the tests are tested with."""

    name = "kernel"

    def __init__(self, lab, nft, stations, addresses, ipv6=True):
        self.lab = lab
        self.gateway = lab.host("kernel")
        self.addresses = addresses  # of the router's own ports
        self.gateway.sysctl(ipv4__ip_forward=1, ipv6__conf__all__forwarding=1)
        for station in stations:
            self.lab.ip("-n", self.gateway.netns, "link", "add", station.port, "type", "veth",
                        "peer", "name", f"{station.port}-peer")
        self.attach(lab, stations, ipv6)
        rules = lab.folder / "rules.nft"
        rules.write_text(nft)
        self.gateway.run("nft", "-f", rules)

    def plug(self, host, station, mac, ipv6):
        host.attach(f"{station.port}-peer", mac, station.addresses, station.routes, ipv6,
                    self.gateway)
        self.gateway.sysctl(**{f"ipv6__conf__{station.port}__accept_dad": 0})
        self.gateway.ip("link", "set", station.port, "up", "mtu", station.mtu)
        for address in self.addresses[station.port]:
            self.gateway.ip("addr", "add", address, "dev", station.port,
                            *(["nodad"] if ":" in address else []))

    def command(self, *arguments):
        return ["conntrack", *arguments]

    def control(self, *arguments, check=True, timeout=20):
        return self.gateway.run(*self.command(*arguments), check=check, timeout=timeout)

    def list(self, *filters):
        return self.control("-L", *filters)

    def set_tcp_timeout(self, state, seconds):
        self.gateway.sysctl(**{f"netfilter__nf_conntrack_tcp_timeout_{state}": seconds})

    def watch(self, *arguments):
        return self.gateway.spawn("conntrack", "-E", *arguments, log="events")


def with_socket(config, socket):
    """The configuration's text with its control socket at another path."""
    line = f'socket = "{socket}"'
    if re.search(r"^socket\s*=", config, re.M):
        return re.sub(r"^socket\s*=.*$", line, config, flags=re.M)
    if re.search(r"^\[control\]", config, re.M):
        return re.sub(r"^\[control\]", f"[control]\n{line}", config, count=1, flags=re.M)
    return f"{config}\n[control]\n{line}\n"
