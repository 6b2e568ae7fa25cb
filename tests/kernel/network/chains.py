"""Prints the chains of a table of frames with their devices, those that stand for all with a prefix as `PREFIX*`: chains.py TABLE"""
# nft(8) before 1.1.6 does not show such a chain.
import socket
import struct
import sys


def attributes(data):
    while len(data) >= 4:
        length, kind = struct.unpack("=HH", data[:4])
        yield kind & 0x3FFF, data[4:length]
        data = data[(length + 3) & ~3 :]


def text(data):
    return data.rstrip(b"\0").decode()


nftables = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
body = struct.pack("!BBH", 5, 0, 0)
nftables.send(struct.pack("=IHHII", 16 + len(body), 10 << 8 | 4, 1 | 0x300, 1, 0) + body)
done = False
while not done:
    data = nftables.recv(1 << 16)
    while len(data) >= 16:
        length, kind = struct.unpack("=IH", data[:6])
        done |= kind in (2, 3)
        parts = dict(attributes(data[20:length])) if not done else {}
        if text(parts.get(1, b"")) == sys.argv[1]:
            hook = dict(attributes(parts.get(4, b"")))
            devices = attributes(hook.get(4, b""))
            print(text(parts[3]), *[text(name) + "*" * (kind == 2) for kind, name in devices])
        data = data[(length + 3) & ~3 :]
