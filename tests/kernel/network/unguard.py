# Takes a device out of the chain `guard` of a table of frames: `unguard.py TABLE DEVICE`.
import socket
import struct
import sys


def attribute(kind, value):
    length = 4 + len(value)
    return struct.pack("=HH", length, kind) + value + bytes(-length % 4)


def nested(kind, *parts):
    return attribute(kind | 0x8000, b"".join(parts))


def message(kind, flags, family, subsystem, body=b""):
    body = struct.pack("!BBH", family, 0, subsystem) + body
    return struct.pack("=IHHII", 16 + len(body), kind, flags, 0, 0) + body


table, device = (word.encode() + b"\0" for word in sys.argv[1:])
place = [attribute(1, struct.pack("!I", 0)), attribute(2, struct.pack("!i", -500))]
hook = nested(4, *place, nested(4, attribute(1, device)))
chain = attribute(1, table) + attribute(3, b"guard\0") + hook
nftables = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
nftables.send(
    message(16, 1, 0, 10) + message(10 << 8 | 5, 5, 5, 0, chain) + message(17, 1, 0, 10)
)
(code,) = struct.unpack("=i", nftables.recv(4096)[16:20])
sys.exit(-code)
