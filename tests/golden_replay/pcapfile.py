# SPDX-License-Identifier: BSD-3-Clause
"""Capture files, written and read with nothing but the standard library."""

import struct

ETHERNET, RAW, IPV4, IPV6, COOKED, COOKED2 = 1, 101, 228, 229, 113, 276
MICROSECONDS, NANOSECONDS = 0xA1B2C3D4, 0xA1B23C4D


def pcap_bytes(packets, link=RAW, magic=NANOSECONDS, order="<"):
    """A pcap file. packets: (nanoseconds, bytes) or (nanoseconds, bytes, original size)."""
    out = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 262144, link)
    for when, data, *size in packets:
        seconds, rest = divmod(when, 10**9)
        if magic == MICROSECONDS:
            rest //= 1000
        out += struct.pack(order + "IIII", seconds, rest, len(data), *(size or [len(data)])) + data
    return out


def pcapng_bytes(packets, link=RAW):
    """A pcapng file with one interface whose times are in nanoseconds."""

    def block(kind, body):
        body += bytes(-len(body) % 4)
        size = struct.pack("<I", len(body) + 12)
        return struct.pack("<I", kind) + size + body + size

    resolution = struct.pack("<HHB3xHH", 9, 1, 9, 0, 0)  # if_tsresol 10^-9, end of options
    out = block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
    out += block(1, struct.pack("<HHI", link, 0, 262144) + resolution)
    for when, data in packets:
        head = struct.pack("<IIIII", 0, when >> 32, when & 0xFFFFFFFF, len(data), len(data))
        out += block(6, head + data)
    return out


def read_pcap(path):
    """(link type, [(nanoseconds, bytes)]) of a file that sluice-replay wrote."""
    data = path.read_bytes()
    magic, _, _, _, _, _, link = struct.unpack_from("<IHHiIII", data)
    assert magic == NANOSECONDS, hex(magic)
    packets, at = [], 24
    while at < len(data):
        seconds, rest, size, _ = struct.unpack_from("<IIII", data, at)
        at += 16
        packets.append((seconds * 10**9 + rest, data[at : at + size]))
        at += size
    return link, packets
