#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""The ends of the test network: one small role each, run inside a host's namespace.

Roles that stay say `ready` once they can be used; roles that end print one JSON object.
"""

import argparse
import errno
import hashlib
import http.server
import json
import os
import select
import signal
import socket
import struct
import sys
import threading
import time

ETH_ARP, ETH_IPV4 = 0x0806, 0x0800
SYN, ACK = 0x02, 0x10
BLOCK = 1 << 20  # bytes


def say(**facts):
    print(json.dumps(facts), flush=True)


# --- HTTP ----------------------------------------------------------------------------------------
class Hello(http.server.BaseHTTPRequestHandler):
    """Answers with the address that the client seems to have."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):  # noqa: N802, the base class's name
        address = self.client_address[0].removeprefix("::ffff:")
        body = f"hello {address}\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class DualStackServer(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
    request_queue_size = 128


def serve_http(args):
    server = DualStackServer(("::", args.port), Hello)
    print("ready", flush=True)
    server.serve_forever()


# --- one long stream -----------------------------------------------------------------------------
def blocks(size):
    """`size` bytes, each block unlike every other."""
    noise = os.urandom(BLOCK)
    for number in range(-(-size // BLOCK)):
        rest = min(BLOCK, size - number * BLOCK)
        yield (struct.pack("!Q", number) + noise)[:rest]


def serve_stream(args):
    """Sends a stream to the first client; prints its length and SHA-256."""
    listener = socket.create_server(("::", args.port), family=socket.AF_INET6, dualstack_ipv6=True)
    print("ready", flush=True)
    connection, _ = listener.accept()
    digest, sent = hashlib.sha256(), 0
    with connection:
        for block in blocks(args.size):
            digest.update(block)
            connection.sendall(block)
            sent += len(block)
    say(bytes=sent, sha256=digest.hexdigest())


def fetch_stream(args):
    digest, received = hashlib.sha256(), 0
    started = time.monotonic()
    with socket.create_connection((args.address, args.port), timeout=30) as connection:
        while chunk := connection.recv(BLOCK):
            digest.update(chunk)
            received += len(chunk)
    say(bytes=received, sha256=digest.hexdigest(), seconds=time.monotonic() - started)


# --- TCP and UDP sockets -------------------------------------------------------------------------
def listen(args):
    """Accepts nothing, but lets the kernel answer every SYN."""
    family = socket.AF_INET6 if ":" in args.address else socket.AF_INET
    listener = socket.create_server((args.address, args.port), family=family, backlog=128)
    print("ready", flush=True)
    time.sleep(args.seconds)
    listener.close()


def udp_refused(args):
    """Sends to a closed port: the ICMP error must find its way back to the socket."""
    family = socket.AF_INET6 if ":" in args.address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as s:
        s.settimeout(3)
        s.connect((args.address, args.port))
        s.send(b"anyone?")
        try:
            s.recv(64)
            say(refused=False, heard="data")
        except ConnectionRefusedError:
            say(refused=True)
        except TimeoutError:
            say(refused=False, heard="nothing")


def open_many(args):
    """Opens TCP connections one after the other, keeps all of them, and says what became of each:
    None, or the name of the error that the kernel had for it."""
    results, kept = [], []
    for _ in range(args.count):
        try:
            kept.append(socket.create_connection((args.address, args.port), timeout=5))
            results.append(None)
        except TimeoutError:
            results.append("timeout")
        except OSError as e:
            results.append(errno.errorcode[e.errno])
    say(results=results)


def serve_echo(args):
    """Sends every datagram back to where it came from."""
    family = socket.AF_INET6 if ":" in args.address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as s:
        if args.unchecked:
            s.setsockopt(socket.SOL_SOCKET, 11, 1)  # SO_NO_CHECK: IPv4 answers without checksum
        s.bind((args.address, args.port))
        print("ready", flush=True)
        while True:
            data, sender = s.recvfrom(65535)
            s.sendto(data, sender)


def send_echo(args):
    """Sends a datagram of each size, thrice if need be, and says which came back as they were. The
    first that is too large for the path only tells its sender so."""
    family = socket.AF_INET6 if ":" in args.address else socket.AF_INET
    intact = []
    with socket.socket(family, socket.SOCK_DGRAM) as s:
        s.settimeout(1)
        s.connect((args.address, args.port))
        for size in map(int, args.sizes.split(",")):
            data = os.urandom(size)
            for _ in range(3):
                s.send(data)
                try:
                    if s.recv(65535) == data:
                        intact.append(size)
                        break
                except TimeoutError:
                    pass
    say(intact=intact)


# --- names ---------------------------------------------------------------------------------------
def dns_answer(query, client):
    end = query.index(b"\0", 12) + 5  # the name, its type and its class
    text = client[0].removeprefix("::ffff:").encode()
    answer = struct.pack("!HHHIHB", 0xC00C, 16, 1, 0, len(text) + 1, len(text)) + text
    return query[:2] + struct.pack("!HHHHH", 0x8180, 1, 1, 0, 0) + query[12:end] + answer


def dns_over_tcp(listener):
    """A question a connection, each behind its length (RFC 1035 4.2.2)."""
    while True:
        connection, client = listener.accept()
        with connection, connection.makefile("rb") as stream:
            size = struct.unpack("!H", stream.read(2))[0]
            answer = dns_answer(stream.read(size), client)
            connection.sendall(struct.pack("!H", len(answer)) + answer)


def serve_dns(args):
    """Answers every question for TXT with the address that the client seems to have (RFC 1035 4),
    over UDP and TCP."""
    place = (args.address, args.port)
    listener = socket.create_server(place, family=socket.AF_INET6, dualstack_ipv6=True)
    threading.Thread(target=dns_over_tcp, args=[listener], daemon=True).start()
    s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    s.bind(place)
    print("ready", flush=True)
    while True:
        query, client = s.recvfrom(512)
        s.sendto(dns_answer(query, client), client)


# --- a hole for UDP between two NATs (RFC 5128 3.3) ----------------------------------------------
def serve_rendezvous(args):
    """Tells each of two peers the endpoint that the other seems to have."""
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("0.0.0.0", args.port))
    print("ready", flush=True)
    seen = {}
    while True:
        name, endpoint = s.recvfrom(64)
        seen[name] = endpoint
        for one, other in ((a, b) for a in seen for b in seen if a != b):
            s.sendto(f"{seen[other][0]} {seen[other][1]}".encode(), seen[one])


def punch(args):
    """Asks the rendezvous for the peer's endpoint, and talks to it until it answers."""
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("0.0.0.0", args.port))
    s.settimeout(0.2)
    rendezvous, peer, heard = (args.address, args.rendezvous), None, None
    deadline = time.monotonic() + args.seconds
    while time.monotonic() < deadline and heard != "both":
        s.sendto(args.name.encode(), rendezvous)
        if peer:
            s.sendto(b"heard" if heard else b"hello", peer)
        try:
            while True:
                said, sender = s.recvfrom(64)
                if sender == rendezvous:
                    address, port = said.decode().split()
                    peer = (address, int(port))
                elif peer and sender == peer:
                    heard = "both" if said == b"heard" else heard or "one"
        except TimeoutError:
            pass
    for _ in range(5):  # the last word may be lost
        if peer:
            s.sendto(b"heard", peer)
    say(peer=peer, heard=heard)


# --- external endpoints -----------------------------------------------------------------------------
def mirror(server):
    while True:
        _, (address, port, *scope) = server.recvfrom(64)
        server.sendto(f"{address} {port}".encode(), (address, port, *scope))


def serve_mirror(args):
    """Tells the sender of each datagram which endpoint it came from."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((args.address, args.port))
    print("ready", flush=True)
    mirror(server)


def serve_mirror_behind(args):
    """Asks mirrors from one socket of IPv6 which endpoint it has outside, prints what each of them
    saw, and is a mirror then itself."""
    server = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    server.settimeout(1)
    server.bind((args.source, args.sport))
    seen = {}
    for address in args.addresses.split(","):
        for _ in range(3):  # the first datagram may wait for a neighbour
            server.sendto(b"who am I?", (address, args.port))
            try:
                outside, port = server.recv(64).decode().split()
                seen[address] = [outside, int(port)]
                break
            except TimeoutError:
                pass
    say(seen=seen)
    print("ready", flush=True)
    server.settimeout(None)
    mirror(server)


def ask_mirror(args):
    """Opens sockets of `source` one after the other; prints the endpoints that the mirror saw."""
    endpoints, silent, kept = [], 0, []
    family = socket.AF_INET6 if ":" in args.address else socket.AF_INET
    for _ in range(args.count):
        sender = socket.socket(family, socket.SOCK_DGRAM)
        sender.settimeout(args.patience)
        sender.bind((args.source, 0))
        sender.connect((args.address, args.port))
        try:
            for attempt in range(3):  # the first datagram may wait for ARP, or be lost
                sender.send(b"who am I?")
                try:
                    address, port = sender.recv(64).decode().split()
                    endpoints.append([address, int(port)])
                    break
                except TimeoutError:
                    silent += attempt == 2
        except OSError:  # told by ICMP
            silent += 1
        kept.append(sender)
    say(endpoints=endpoints, silent=silent)


# --- frames by hand ------------------------------------------------------------------------------
def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def syn_packet(src, dst, sport, dport, seq=0):
    """IPv4 and TCP headers of a SYN, 40 bytes."""
    source, target = socket.inet_aton(src), socket.inet_aton(dst)
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40, 1, 0x4000, 64, socket.IPPROTO_TCP, 0, source,
                     target)
    ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
    tcp = struct.pack("!HHIIBBHHH", sport, dport, seq, 0, 5 << 4, SYN, 8192, 0, 0)
    pseudo = source + target + struct.pack("!BBH", 0, socket.IPPROTO_TCP, len(tcp))
    return ip + tcp[:16] + struct.pack("!H", checksum(pseudo + tcp)) + tcp[18:]


class FakeHost:
    """A host made of one packet socket: answers ARP for its address, and nothing else.

    The kernel beside it has no such address, so it resets no connection that it did not open.
    """

    def __init__(self, device, address, gateway):
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self.socket.bind((device, 0))
        self.mac = self.socket.getsockname()[4]
        self.address = socket.inet_aton(address)
        self.gateway = socket.inet_aton(gateway)
        self.gateway_mac = None
        self.syn_acks = []  # destination ports, in order of arrival

    def arp(self, operation, target_mac, target):
        frame = struct.pack("!6s6sHHHBBH6s4s6s4s", target_mac, self.mac, ETH_ARP, 1, ETH_IPV4, 6, 4,
                            operation, self.mac, self.address, target_mac, target)
        self.socket.send(frame.ljust(60, b"\0"))

    def resolve(self, seconds=5):
        """Asks for the gateway's MAC until it answers."""
        deadline = time.monotonic() + seconds
        while self.gateway_mac is None and time.monotonic() < deadline:
            self.arp(1, b"\xff" * 6, self.gateway)
            self.serve(0.25, until=lambda: self.gateway_mac)
        if self.gateway_mac is None:
            sys.exit(f"no ARP answer from {socket.inet_ntoa(self.gateway)}")

    def serve(self, seconds, until=lambda: False):
        deadline = time.monotonic() + seconds
        while not until() and (left := deadline - time.monotonic()) > 0:
            if select.select([self.socket], [], [], left)[0]:
                self.take(self.socket.recv(2048))

    def take(self, frame):
        kind = struct.unpack("!H", frame[12:14])[0]
        if kind == ETH_ARP and len(frame) >= 42:
            operation, mac, sender, target = (
                struct.unpack("!H", frame[20:22])[0], frame[22:28], frame[28:32], frame[38:42])
            if operation == 1 and target == self.address:
                self.arp(2, mac, sender)
            elif operation == 2 and sender == self.gateway:
                self.gateway_mac = mac
        elif kind == ETH_IPV4 and frame[23] == socket.IPPROTO_TCP and frame[30:34] == self.address:
            tcp = frame[14 + (frame[14] & 15) * 4:]
            if tcp[13] & (SYN | ACK) == SYN | ACK:
                self.syn_acks.append(struct.unpack("!H", tcp[2:4])[0])

    def send(self, packet):
        self.socket.send((self.gateway_mac + self.mac + struct.pack("!H", ETH_IPV4)
                          + packet).ljust(60, b"\0"))


def send_syns(args):
    """SYNs from consecutive ports, at a steady pace; then listens for what comes back."""
    host = FakeHost(args.device, args.source, args.gateway)
    host.resolve()
    for number in range(args.count):
        host.send(syn_packet(args.source, args.address, args.sport + number, args.port))
        host.serve(args.gap)
    say(sent=args.count)
    host.serve(args.seconds)
    say(sent=args.count, syn_acks=sorted(set(host.syn_acks)))


def flood(args):
    """SYNs from ever new sources out of 198.18.0.0/15 (RFC 2544), bounded in time and number."""
    host = FakeHost(args.device, args.source, args.gateway)
    host.resolve()
    print("ready", flush=True)
    head = host.gateway_mac + host.mac + struct.pack("!H", ETH_IPV4)
    # The checksums of a template follow from those two words that change (RFC 1624, equation 3).
    packet = syn_packet("198.18.0.0", args.address, 0, args.port)
    ip_sum, tcp_sum = (~struct.unpack("!H", packet[o:o + 2])[0] & 0xFFFF for o in (10, 36))

    def folded(total):
        total = (total & 0xFFFF) + (total >> 16)
        return ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF

    sent, deadline, pace = 0, time.monotonic() + args.seconds, time.monotonic()
    while sent < args.count and time.monotonic() < deadline:
        for _ in range(32):
            low, port = sent * 40503 & 0xFFFF, 1024 + (sent >> 4) % 60000
            frame = b"".join((head, packet[:10], struct.pack("!H", folded(ip_sum + low)),
                              packet[12:14], struct.pack("!H", low), packet[16:20],
                              struct.pack("!H", port), packet[22:36],
                              struct.pack("!H", folded(tcp_sum + low + port)), packet[38:]))
            try:
                host.socket.send(frame.ljust(60, b"\0"))
            except OSError:  # the device's queue is full: that packet is lost, as on a wire
                pass
            sent += 1
        pace += 32 / args.rate
        if (early := pace - time.monotonic()) > 0:
            time.sleep(early)
    say(sent=sent)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    roles = parser.add_subparsers(required=True)

    def role(function, **options):
        sub = roles.add_parser(function.__name__.replace("_", "-"))
        sub.set_defaults(function=function)
        for name, value in options.items():
            kind = {"type": value} if isinstance(value, type) else {"type": type(value),
                                                                    "default": value}
            sub.add_argument(f"--{name}", required=isinstance(value, type), **kind)

    role(serve_http, port=80)
    role(serve_stream, port=int, size=int)
    role(fetch_stream, address=str, port=int)
    role(listen, address=str, port=int, seconds=60.0)
    role(udp_refused, address=str, port=int)
    role(open_many, address=str, port=int, count=3)
    role(serve_mirror, address="", port=int)
    role(serve_mirror_behind, source=str, sport=int, addresses=str, port=int)
    role(ask_mirror, source=str, address=str, port=int, count=1, patience=0.5)
    role(serve_echo, address=str, port=7, unchecked=0)
    role(send_echo, address=str, port=7, sizes=str)
    role(serve_dns, address="::", port=53)
    role(serve_rendezvous, port=int)
    role(punch, address=str, rendezvous=int, name=str, port=5000, seconds=10.0)
    role(send_syns, device="eth0", source=str, gateway=str, address=str, port=80, sport=10000,
         count=10, gap=0.01, seconds=0.5)
    role(flood, device="eth0", source=str, gateway=str, address=str, port=80, seconds=10.0,
         count=2_000_000, rate=100_000)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    args = parser.parse_args()
    args.function(args)


if __name__ == "__main__":
    main()
