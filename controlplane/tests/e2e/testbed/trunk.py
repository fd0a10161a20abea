"""A switch between a trunk and a port of one of its VLANs: takes tags off, puts them on.

    trunk.py TRUNK ACCESS VLAN

What comes by the trunk without that tag goes nowhere, as on a switch.
"""

import select
import socket
import struct
import sys

SOL_PACKET = 263
PACKET_AUXDATA = 8
PACKET_OUTGOING = 4
ETH_P_ALL = 3
# struct tpacket_auxdata: status, len, snaplen, mac, net, vlan_tci, vlan_tpid
AUXDATA = struct.Struct("=IIIHHHH")
TP_STATUS_VLAN_VALID = 1 << 4


def listen(interface):
    card = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    card.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
    card.bind((interface, ETH_P_ALL))
    return card


def received(card):
    """A frame that came in, without its tag, and the VLAN that it had; None for one that went out."""
    frame, ancillary, _, address = card.recvmsg(65536, 256)
    if address[2] == PACKET_OUTGOING:
        return None
    for level, kind, data in ancillary:
        if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
            status, _, _, _, _, tci, _ = AUXDATA.unpack_from(data)
            if status & TP_STATUS_VLAN_VALID:
                return frame, tci & 0xFFF
    return frame, None


def main():
    trunk, access, vlan = listen(sys.argv[1]), listen(sys.argv[2]), int(sys.argv[3])
    while True:
        for card in select.select([trunk, access], [], [])[0]:
            came = received(card)
            if came is None:
                continue
            frame, tag = came
            if card is access and tag is None:
                trunk.send(frame[:12] + struct.pack("!HH", 0x8100, vlan) + frame[12:])
            elif card is trunk and tag == vlan:
                access.send(frame)


main()
