"""What others read of a pcapng file: frames and times by scapy, and, as scapy 2.5 reads no comment
without a line break, the options by the letter of draft-ietf-opsawg-pcapng. One object a line.
"""

import json
import logging
import struct
import sys

logging.getLogger("scapy").setLevel(logging.CRITICAL)

from scapy.utils import RawPcapNgReader  # noqa: E402

INTERFACE, PACKET = 1, 6
COMMENT, NAME, FLAGS = 1, 2, 2


def blocks(data):
    """Types and bodies of the blocks; little endian, as the machines are that run this."""
    assert data[8:12] == b"\x4d\x3c\x2b\x1a"
    while data:
        kind, length = struct.unpack("<II", data[:8])
        assert length % 4 == 0 and data[length - 4 : length] == data[4:8]
        yield kind, data[8 : length - 4]
        data = data[length:]


def options(data):
    """The options at the end of a block by their codes."""
    found = {}
    while data:
        code, length = struct.unpack("<HH", data[:4])
        if code == 0:
            break
        found[code] = data[4 : 4 + length]
        data = data[4 + length + -length % 4 :]
    return found


def about_packets(path):
    """Comment, direction and interface of each packet."""
    names = []
    with open(path, "rb") as file:
        for kind, body in blocks(file.read()):
            if kind == INTERFACE:
                names.append(options(body[8:])[NAME].decode())
            if kind == PACKET:
                interface, captured = struct.unpack("<I8xI", body[:16])
                of_packet = options(body[20 + captured + -captured % 4 :])
                (flags,) = struct.unpack("<I", of_packet[FLAGS])
                yield {
                    "comment": of_packet[COMMENT].decode(),
                    "direction": {1: "in", 2: "out"}[flags & 3],
                    "port": names[interface],
                }


path = sys.argv[1]
for (data, read), about in zip(RawPcapNgReader(path), about_packets(path)):
    ticks = read.tshigh << 32 | read.tslow
    about["bytes"] = data.hex()
    about["length"] = read.wirelen
    about["seconds"] = ticks / read.tsresol
    print(json.dumps(about))
