"""What scapy makes of packets that Tether wraps, answers or changes.

Reads cases, one a line: a word for what is wanted, then key=value pairs. Writes for each the frame
that scapy makes, in hexadecimal. Checksums and lengths are all scapy's own.
"""

import struct
import sys

from scapy.config import conf

conf.ipv6_enabled = True

from scapy.layers.inet import ICMP, IP, TCP, UDP  # noqa: E402
from scapy.layers.inet6 import ICMPv6PacketTooBig, IPv6  # noqa: E402
from scapy.layers.l2 import GRE, Dot1Q, Ether  # noqa: E402
from scapy.packet import Raw  # noqa: E402


def network(data):
    """A packet, taken apart."""
    return IP(data) if data[0] >> 4 == 4 else IPv6(data)


def traffic_class(packet):
    return packet.tos if isinstance(packet, IP) else packet.tc


def link(case):
    frame = Ether(dst=case["to"], src=case["from"])
    return frame / Dot1Q(vlan=int(case["vlan"])) if "vlan" in case else frame


def wrapped(case):
    """The frame to a backend: `packet` within the tunnel `mode` from `source` to `backend`."""
    inner = network(bytes.fromhex(case["packet"]))
    if ":" in case["backend"]:
        outer = IPv6(src=case["source"], dst=case["backend"], hlim=64)
        outer.tc, outer.fl = traffic_class(inner), int(case["label"])
    else:
        outer = IP(src=case["source"], dst=case["backend"], ttl=64, id=0, flags="DF")
        outer.tos = traffic_class(inner)
    if case["mode"] == "gre":
        outer /= GRE()
    elif case["mode"].startswith("gue"):
        # In the IPv4 of RFC 768 no checksum is 0, as in IPv6 for tunnels (RFC 6935).
        outer /= UDP(sport=int(case["sport"]), dport=int(case["dport"]), chksum=0)
        if case["mode"] == "gue0":
            outer /= Raw(struct.pack("!BBH", 0, 4 if isinstance(inner, IP) else 41, 0))
        return link(case) / outer / Raw(bytes(inner))
    return link(case) / outer / inner


def too_big(case):
    """The ICMP error about `packet` from its destination to its source."""
    data = bytes.fromhex(case["packet"])
    packet, mtu = network(data), int(case["mtu"])
    if isinstance(packet, IP):
        error = IP(src=packet.dst, dst=packet.src, tos=0xC0, ttl=64, id=0, flags="DF")
        error /= ICMP(type=3, code=4, nexthopmtu=mtu) / Raw(data[: 576 - 28])
    else:
        error = IPv6(src=packet.dst, dst=packet.src, hlim=64)
        error /= ICMPv6PacketTooBig(mtu=mtu) / Raw(data[: 1280 - 48])
    return link(case) / error


def offering(case):
    """`packet`, a SYN, that offers segments of `mss` bytes."""
    packet = network(bytes.fromhex(case["packet"]))
    tcp = packet[TCP]
    mss = int(case["mss"])
    tcp.options = [(name, mss if name == "MSS" else value) for name, value in tcp.options]
    del tcp.chksum
    return packet


KINDS = {"wrapped": wrapped, "too_big": too_big, "offering": offering}

for line in sys.stdin:
    kind, *pairs = line.split()
    made = KINDS[kind](dict(pair.split("=", 1) for pair in pairs))
    print(bytes(made).hex())
