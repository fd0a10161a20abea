#!/usr/bin/python3
"""Makes the captures beside it, as root: `make.py` in this directory.

`kernel.pcap` and `answers.pcap` are what two kernels said to each other, in two namespaces: HTTP, TLS,
datagrams in fragments, pings, refusals, over both families. The first is what clients sent to VIPs,
the second what a backend behind NAT answered. `crafted.pcap` is what scapy makes of the rest: routing,
tunnels, tags, options, extension headers. Addresses are those of `network.rs`.
"""

import ctypes
import os
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

from scapy.all import (
    AH, ARP, BOOTP, DHCP, DNS, DNSQR, DNSRR, ESP, GRE, ICMP, IP, TCP, UDP, Dot1AD, Dot1Q, Ether,
    ICMPv6DestUnreach, ICMPv6EchoRequest, ICMPv6MLReport2, ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6ND_RA,
    ICMPv6ND_RS, ICMPv6NDOptDstLLAddr, ICMPv6NDOptSrcLLAddr, ICMPv6PacketTooBig, ICMPv6TimeExceeded,
    IPOption_LSRR, IPOption_RR, IPOption_Router_Alert, IPOption_SSRR, IPOption_Timestamp, IPv6,
    IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop, IPv6ExtHdrRouting, Raw, SCTP,
    SCTPChunkInit, fragment, fragment6, rdpcap, wrpcap,
)
from scapy.contrib.igmp import IGMP
from scapy.contrib.mpls import MPLS
from scapy.contrib.ospf import OSPF_Hdr, OSPF_Hello
from scapy.layers.l2 import LLC, STP, Dot3
from scapy.layers.vrrp import VRRP
from scapy.layers.vxlan import VXLAN

HERE = os.path.dirname(os.path.abspath(__file__))
OUTSIDE, INSIDE, ROUTER = "02:00:00:00:00:99", "02:00:00:00:00:88", "02:00:00:00:00:11"
LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
CLIENT4, CLIENT6 = "198.51.100.1", "2001:db8:7::1"


def run(*command, **options):
    return subprocess.run(command, check=True, **options)


def inside(namespace, *command, **options):
    return run("ip", "netns", "exec", namespace, *command, **options)


class Link:
    """Two namespaces and a wire: stations with their MAC addresses, and IP addresses."""

    def __init__(self, near, far):
        self.names = [f"captures-{os.getpid()}-{end}" for end in "ab"]
        for name in self.names:
            run("ip", "netns", "add", name)
        a, b = self.names
        run("ip", "link", "add", "w", "netns", a, "type", "veth", "peer", "name", "w", "netns", b)
        for name, (mac, addresses) in zip(self.names, (near, far)):
            inside(name, "ethtool", "-K", "w", "tx", "off", "tso", "off", "gso", "off", "gro", "off",
                   stdout=subprocess.DEVNULL)
            inside(name, "sysctl", "-qw", "net.ipv6.conf.all.accept_dad=0",
                   "net.ipv6.conf.w.accept_dad=0")
            inside(name, "ip", "link", "set", "w", "address", mac, "mtu", "1500", "up")
            inside(name, "ip", "link", "set", "lo", "up")
            for address in addresses:
                inside(name, "ip", "address", "add", address, "dev", "w")
            for family in ("-4", "-6"):
                inside(name, "ip", family, "route", "add", "default", "dev", "w")

    def close(self):
        for name in self.names:
            run("ip", "netns", "delete", name)


def enter(namespace):
    with open(f"/run/netns/{namespace}", encoding="ascii") as file:
        if LIBC.setns(file.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"cannot enter {namespace}")


class Recorder(threading.Thread):
    """Records what a station sends."""

    def __init__(self, namespace):
        super().__init__()
        self.namespace, self.frames, self.is_over = namespace, [], threading.Event()
        self.ready = threading.Event()

    def run(self):
        enter(self.namespace)
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as wire:
            wire.bind(("w", 0))
            wire.settimeout(0.1)
            self.ready.set()
            while not self.is_over.is_set():
                try:
                    frame, (_, _, kind, *_) = wire.recvfrom(65535)
                except TimeoutError:
                    continue
                if kind == socket.PACKET_OUTGOING:
                    self.frames.append(frame)


def serve_stream(namespace, address, port, context, ready):
    """Answers each of two connections with what looks like HTTP."""
    enter(namespace)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen()
        ready.set()
        for _ in range(2):
            stream, _ = listener.accept()
            try:
                if context:
                    stream = context.wrap_socket(stream, server_side=True)
                stream.recv(4096)
                stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n" + b"x" * 4000)
            except (OSError, ssl.SSLError):
                pass
            stream.close()


def talk_stream(source, address, port, is_tls):
    """One request, and one that is broken off."""
    for is_rude in (False, True):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        stream = socket.socket(family)
        stream.bind((source, 0))
        stream.settimeout(5)
        stream.connect((address, port))
        if is_tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            stream = context.wrap_socket(stream, server_hostname="shop.example")
        stream.sendall(b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n" + b"y" * 1500)
        if is_rude:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        else:
            while stream.recv(4096):
                pass
        stream.close()


def serve_datagrams(namespace, address, port, ready):
    """Echoes three datagrams, one of which comes in fragments."""
    enter(namespace)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as socket_:
        socket_.bind((address, port))
        ready.set()
        for _ in range(3):
            datagram, peer = socket_.recvfrom(65535)
            socket_.sendto(datagram, peer)


def talk_datagrams(source, address, port):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as socket_:
        socket_.bind((source, 0))
        socket_.settimeout(5)
        for size in (40, 1200, 4000):
            socket_.sendto(b"q" * size, (address, port))
            socket_.recv(65535)


def certificate(directory):
    key, cert = os.path.join(directory, "key"), os.path.join(directory, "cert")
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
        "-subj", "/CN=shop.example", "-keyout", key, "-out", cert, stderr=subprocess.DEVNULL)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context


def conversations(link, services, context):
    """All that the stations of a link say: returns the frames of each."""
    near, far = link.names
    recorders = [Recorder(name) for name in link.names]
    for recorder in recorders:
        recorder.start()
        recorder.ready.wait()
    servers = []
    for kind, address, port in services:
        ready = threading.Event()
        if kind == "udp":
            server = threading.Thread(target=serve_datagrams, args=(far, address, port, ready))
        else:
            tls = context if kind == "tls" else None
            server = threading.Thread(target=serve_stream, args=(far, address, port, tls, ready))
        server.start()
        ready.wait()
        servers.append(server)

    def clients():
        enter(near)
        for kind, address, port in services:
            source = CLIENT6 if ":" in address else CLIENT4
            if kind == "udp":
                talk_datagrams(source, address, port)
            else:
                talk_stream(source, address, port, kind == "tls")
            for size in ("56", "3000"):
                subprocess.run(["ping", "-c1", "-W1", "-s", size, "-I", source, address],
                               stdout=subprocess.DEVNULL, check=False)
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):  # nobody listens
                family = socket.AF_INET6 if ":" in address else socket.AF_INET
                with socket.socket(family, kind) as refused:
                    refused.settimeout(0.2)
                    try:
                        refused.connect((address, 9))
                        refused.send(b"anybody?")
                        refused.recv(1)
                    except OSError:
                        pass

    client = threading.Thread(target=clients)
    client.start()
    client.join()
    for server in servers:
        server.join()
    time.sleep(0.3)
    for recorder in recorders:
        recorder.is_over.set()
        recorder.join()
    return [recorder.frames for recorder in recorders]


def kernel():
    """What clients send to VIPs, and what backends behind NAT answer."""
    with tempfile.TemporaryDirectory() as directory:
        context = certificate(directory)
        clients = (ROUTER, [f"{CLIENT4}/24", f"{CLIENT6}/64"])
        vips = [f"203.0.113.{it}/32" for it in range(80, 86)] + \
            [f"2001:db8:80::{it}/128" for it in range(80, 85)]
        services = [("http", "203.0.113.80", 80), ("http", "2001:db8:80::80", 80),
                    ("udp", "203.0.113.80", 53), ("tls", "203.0.113.83", 443),
                    ("udp", "203.0.113.83", 443), ("http", "203.0.113.84", 80),
                    ("http", "2001:db8:80::84", 80), ("udp", "2001:db8:80::82", 443)]
        link = Link(clients, (OUTSIDE, vips))
        try:
            asked, _ = conversations(link, services, context)
        finally:
            link.close()
        clients = (INSIDE, [f"{CLIENT4}/24", f"{CLIENT6}/64"])
        backends = ("02:00:00:00:01:13", ["10.0.0.19/32", "10.0.0.23/32", "fd00::15/128", "fd00::19/128"])
        services = [("http", "10.0.0.19", 8080), ("udp", "10.0.0.23", 53),
                    ("http", "fd00::15", 8080), ("udp", "fd00::19", 5353)]
        link = Link(clients, backends)
        try:
            _, answered = conversations(link, services, context)
        finally:
            link.close()
    wrpcap(os.path.join(HERE, "kernel.pcap"), [Ether(it) for it in asked])
    wrpcap(os.path.join(HERE, "answers.pcap"), [Ether(it) for it in answered])


def crafted():
    """What no client of ours sends by itself."""
    link, tell = Ether(src=ROUTER, dst=OUTSIDE), Ether(src=ROUTER, dst="ff:ff:ff:ff:ff:ff")
    v4 = IP(src=CLIENT4, dst="203.0.113.80")
    v6 = IPv6(src=CLIENT6, dst="2001:db8:80::80")
    syn, query = TCP(sport=4000, dport=80, flags="S"), UDP(sport=4000, dport=53)
    options = [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (1, 0)), ("NOP", None), ("WScale", 7)]
    full = TCP(sport=4001, dport=80, flags="S", options=options)
    dns = DNS(rd=1, qd=DNSQR(qname="shop.example"))
    said = IP(src="203.0.113.80", dst=CLIENT4) / TCP(sport=80, dport=4000, flags="A") / (b"x" * 600)
    said6 = IPv6(src="2001:db8:80::80", dst=CLIENT6) / TCP(sport=80, dport=4000, flags="A") / (b"x" * 600)
    routes = ["192.0.2.7", "192.0.2.8"]
    frames = [
        link / v4 / full,
        link / v4 / TCP(sport=4000, dport=80, flags="SA"),
        link / v4 / TCP(sport=4000, dport=80, flags="FPU"),
        link / v4 / TCP(sport=4000, dport=80, flags=0),
        link / v4 / TCP(sport=4000, dport=80, flags="SF"),
        link / v4 / query / dns,
        link / v4 / UDP(sport=4000, dport=53, chksum=0) / dns,
        link / v6 / UDP(sport=4000, dport=53, chksum=0) / dns,
        link / IP(src=CLIENT4, dst="203.0.113.80") / UDP(sport=53, dport=53) / DNS(
            qr=1, qd=DNSQR(qname="shop.example"), an=DNSRR(rrname="shop.example", rdata="192.0.2.1")),
        tell / IP(src="0.0.0.0", dst="255.255.255.255") / UDP(sport=68, dport=67) / BOOTP(
            chaddr=b"\2\0\0\0\0\x11") / DHCP(options=[("message-type", "discover"), "end"]),
        Ether(src=ROUTER, dst="01:00:5e:00:00:05") / IP(src="192.0.2.1", dst="224.0.0.5", ttl=1) /
        OSPF_Hdr(src="192.0.2.1") / OSPF_Hello(),
        Ether(src="00:00:5e:00:01:01", dst="01:00:5e:00:00:12") / IP(
            src="192.0.2.1", dst="224.0.0.18", ttl=255, proto=112) / VRRP(vrid=1, addrlist=["192.0.2.1"]),
        Ether(src=ROUTER, dst="01:00:5e:00:00:16") / IP(src="192.0.2.1", dst="224.0.0.22", ttl=1) /
        IGMP(type=0x16, gaddr="224.0.0.251"),
        Dot3(src=ROUTER, dst="01:80:c2:00:00:00") / LLC() / STP(),
        Ether(src=ROUTER, dst="01:80:c2:00:00:0e", type=0x88CC) / Raw(b"\2\7\4\2\0\0\0\0\x11\0\0"),
        link / Dot1Q(vlan=100, prio=5) / v4 / syn,
        link / Dot1Q(vlan=0, prio=5) / v4 / syn,
        link / Dot1AD(vlan=7) / Dot1Q(vlan=100) / v4 / syn,
        link / Dot1Q(vlan=7) / Dot1Q(vlan=100) / v4 / syn,
        Ether(src=ROUTER, dst=OUTSIDE, type=0x8847) / MPLS(label=77, s=1, ttl=9) / v4 / syn,
        link / v4 / GRE() / IP(src=CLIENT4, dst="203.0.113.80") / syn,
        link / IP(src=CLIENT4, dst="192.0.2.2") / GRE() / v4 / syn,
        link / IP(src=CLIENT4, dst="192.0.2.2", proto=4) / v4 / syn,
        link / IP(src=CLIENT4, dst="192.0.2.2") / v6 / syn,
        link / IPv6(src=CLIENT6, dst="2001:db8::2") / v4 / syn,
        link / IP(src=CLIENT4, dst="203.0.113.82") / UDP(sport=4000, dport=4789) / VXLAN(vni=9) /
        Ether(src=ROUTER, dst=OUTSIDE) / v4 / syn,
        link / v4 / SCTP(sport=4000, dport=80) / SCTPChunkInit(init_tag=7),
        link / v4 / ESP(spi=7, seq=1) / Raw(b"z" * 40),
        link / v4 / AH(spi=7, seq=1, icv=b"i" * 12) / syn,
        link / v6 / AH(spi=7, seq=1, icv=b"i" * 12) / syn,
        link / IP(src=CLIENT4, dst="203.0.113.80", options=[IPOption_RR(routers=routes)]) / syn,
        link / IP(src=CLIENT4, dst="203.0.113.80", options=[IPOption_LSRR(routers=routes)]) / syn,
        link / IP(src=CLIENT4, dst="203.0.113.80", options=[IPOption_SSRR(routers=routes)]) / syn,
        link / IP(src=CLIENT4, dst="203.0.113.84", options=[IPOption_LSRR(routers=routes)]) / syn,
        link / IP(src=CLIENT4, dst="203.0.113.80", options=[IPOption_Timestamp(timestamp=1)]) / syn,
        link / IP(src=CLIENT4, dst="203.0.113.84", options=[IPOption_Router_Alert()]) / syn,
        link / IP(src=CLIENT4, dst="203.0.113.84", ttl=1) / syn,
        link / IP(src=CLIENT4, dst="203.0.113.84", ttl=0) / syn,
        link / IP(src=CLIENT4, dst="203.0.113.80", ttl=0) / syn,
        link / IP(src=CLIENT4, dst="203.0.113.80", tos=0xB9) / syn,
        link / IP(src=CLIENT4, dst="203.0.113.81", tos=0xBB) / full,
        link / IP(src="203.0.113.80", dst="203.0.113.80") / TCP(sport=80, dport=80, flags="S"),
        link / IP(src="203.0.113.84", dst="203.0.113.80") / UDP(sport=53, dport=53) / dns,
        link / IP(src="192.0.2.255", dst="203.0.113.80") / syn,
        link / v6 / IPv6ExtHdrHopByHop() / syn,
        link / v6 / IPv6ExtHdrDestOpt() / IPv6ExtHdrHopByHop() / syn,
        link / v6 / IPv6ExtHdrRouting(type=0, addresses=["fd00::9"], segleft=1) / syn,
        link / v6 / IPv6ExtHdrRouting(type=0, addresses=["fd00::9"], segleft=0) / syn,
        link / IPv6(src=CLIENT6, dst="2001:db8:80::84") / IPv6ExtHdrDestOpt() / syn,
        link / v6 / IPv6ExtHdrFragment(offset=0, m=0, id=9) / syn,
        link / v4 / ICMP(type=8) / Raw(b"abcd"),
        link / IP(src=CLIENT4, dst="203.0.113.255") / ICMP(type=8) / Raw(b"abcd"),
        link / IP(src="224.0.0.1", dst="203.0.113.80") / ICMP(type=8) / Raw(b"abcd"),
        link / v4 / ICMP(type=13) / Raw(b"t" * 12),
        link / v4 / ICMP(type=5, code=1, gw="192.0.2.9") / said,
        link / IP(src="192.0.2.99", dst="203.0.113.80") / ICMP(type=3, code=4, nexthopmtu=1280) / bytes(said)[:28],
        link / IP(src="192.0.2.99", dst="203.0.113.80") / ICMP(type=3, code=4, nexthopmtu=1280) / said,
        link / IP(src="192.0.2.99", dst="203.0.113.80") / ICMP(type=11) / bytes(said)[:128],
        link / v6 / ICMPv6EchoRequest(data=b"abcd"),
        link / IPv6(src="2001:db8::99", dst="2001:db8:80::80") / ICMPv6PacketTooBig(mtu=1280) / said6,
        link / IPv6(src="2001:db8::99", dst="2001:db8:80::80") / ICMPv6TimeExceeded() / said6,
        link / IPv6(src="2001:db8::99", dst="2001:db8:80::80") / ICMPv6DestUnreach(code=4) / said6,
        tell / ARP(op=1, hwsrc=ROUTER, psrc="192.0.2.1", pdst="203.0.113.80"),
        tell / ARP(op=1, hwsrc=ROUTER, psrc="0.0.0.0", pdst="192.0.2.2"),
        tell / ARP(op=2, hwsrc=ROUTER, psrc="192.0.2.1", pdst="192.0.2.1"),
        link / ARP(op=2, hwsrc=ROUTER, psrc="192.0.2.1", pdst="192.0.2.2", hwdst=OUTSIDE),
        link / ARP(op=2, hwsrc=OUTSIDE, psrc="192.0.2.1", pdst="192.0.2.2", hwdst=OUTSIDE),
        Ether(src=ROUTER, dst="33:33:ff:00:00:80") / IPv6(src="2001:db8::1", dst="ff02::1:ff00:80", hlim=255) /
        ICMPv6ND_NS(tgt="2001:db8:80::80") / ICMPv6NDOptSrcLLAddr(lladdr=ROUTER),
        Ether(src=ROUTER, dst="33:33:ff:00:00:80") / IPv6(src="::", dst="ff02::1:ff00:80", hlim=255) /
        ICMPv6ND_NS(tgt="2001:db8:80::80"),
        link / IPv6(src="2001:db8::1", dst="2001:db8::2", hlim=255) / ICMPv6ND_NA(
            tgt="2001:db8::1", S=1, O=1) / ICMPv6NDOptDstLLAddr(lladdr=ROUTER),
        link / IPv6(src="2001:db8::1", dst="2001:db8::2", hlim=64) / ICMPv6ND_NA(
            tgt="2001:db8::1", S=1, O=1) / ICMPv6NDOptDstLLAddr(lladdr=ROUTER),
        Ether(src=ROUTER, dst="33:33:00:00:00:01") / IPv6(src="fe80::1", dst="ff02::1", hlim=255) / ICMPv6ND_RA(),
        Ether(src=ROUTER, dst="33:33:00:00:00:02") / IPv6(src="fe80::1", dst="ff02::2", hlim=255) / ICMPv6ND_RS(),
        Ether(src=ROUTER, dst="33:33:00:00:00:16") / IPv6(src="fe80::1", dst="ff02::16", hlim=1) /
        IPv6ExtHdrHopByHop() / ICMPv6MLReport2(),
        link / IP(src=CLIENT4, dst="203.0.113.82") / UDP(sport=4000, dport=9999) / Raw(b"j" * 1472),
        link / IP(src=CLIENT4, dst="203.0.113.82") / UDP(sport=4000, dport=9999) / Raw(b"j" * 1990),
        link / IP(src=CLIENT4, dst="203.0.113.84") / TCP(sport=4000, dport=80, flags="A") / Raw(b"j" * 1990),
        link / IP(src=CLIENT4, dst="203.0.113.82") / UDP(sport=4000, dport=9999) / Raw(b"j" * 8900),
        link / IPv6(src=CLIENT6, dst="2001:db8:80::82") / UDP(sport=4000, dport=9999) / Raw(b"j" * 8900),
        link / v4 / TCP(sport=4000, dport=80, flags="A") / Raw(b"j" * 4000),
        link / v4 / TCP(sport=4000, dport=80, flags="A", dataofs=3),
        link / v4 / TCP(sport=4000, dport=80, flags="A", dataofs=15),
        link / IP(src=CLIENT4, dst="10.9.1.3") / syn,
        link / IP(src=CLIENT4, dst="203.0.113.83") / UDP(sport=4000, dport=443) / Raw(
            bytes.fromhex("c30000000108") + b"q" * 1200),
    ]
    for vip, port in (("203.0.113.80", 53), ("203.0.113.83", 443), ("203.0.113.84", 53)):
        datagram = IP(src=CLIENT4, dst=vip, id=7) / UDP(sport=4000, dport=port) / Raw(b"f" * 900)
        parts = [link / it for it in fragment(datagram, fragsize=304)]
        frames += parts + parts[::-1]
    for vip, port in (("2001:db8:80::82", 9), ("2001:db8:80::84", 53)):
        datagram = IPv6(src=CLIENT6, dst=vip) / IPv6ExtHdrFragment(id=7) / UDP(sport=4000, dport=port) / Raw(b"f" * 2600)
        parts = [link / it for it in fragment6(datagram, 1280)]
        frames += parts + parts[::-1]
    tiny = IP(src=CLIENT4, dst="203.0.113.80", id=8, flags="MF") / bytes(syn)[:8]
    tiny[IP].proto = 6
    frames.append(link / tiny)
    over = IP(src=CLIENT4, dst="203.0.113.80", id=8, frag=1, proto=6) / Raw(b"\0" * 16)
    frames.append(link / over)
    death = IP(src=CLIENT4, dst="203.0.113.80", id=9, frag=8190, proto=17) / Raw(b"\0" * 600)
    frames.append(link / death)
    wrpcap(os.path.join(HERE, "crafted.pcap"), frames)


def main():
    if os.geteuid() != 0:
        sys.exit("make.py: run it as root, it makes network namespaces")
    kernel()
    crafted()
    for name in ("kernel", "answers", "crafted"):
        path = os.path.join(HERE, f"{name}.pcap")
        print(f"{name}.pcap: {len(rdpcap(path))} frames, {os.path.getsize(path)} bytes")


main()
