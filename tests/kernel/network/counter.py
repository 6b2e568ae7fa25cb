"""Prints how many packets a counter of nftables has counted: counter.py FAMILY TABLE NAME"""
# nft(8) before 1.1.6 does not read a counter where a chain has a prefix of names of devices.
import socket
import struct
import sys

FAMILIES = {"inet": 1, "netdev": 5}


def attribute(kind, value):
    length = 4 + len(value)
    return struct.pack("=HH", length, kind) + value + bytes(-length % 4)


def attributes(data):
    found = {}
    while len(data) >= 4:
        length, kind = struct.unpack("=HH", data[:4])
        found[kind & 0x3FFF] = data[4:length]
        data = data[(length + 3) & ~3 :]
    return found


family, table, name = sys.argv[1:]
text = [attribute(kind, word.encode() + b"\0") for kind, word in [(1, table), (2, name)]]
body = struct.pack("!BBH", FAMILIES[family], 0, 0) + b"".join(text) + attribute(3, struct.pack("!I", 1))
nftables = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
nftables.send(struct.pack("=IHHII", 16 + len(body), 10 << 8 | 19, 1, 1, 0) + body)
answer = nftables.recv(4096)
length, kind = struct.unpack("=IH", answer[:6])
if kind == 2:
    sys.exit(f"{sys.argv[1:]}: errno {-struct.unpack('=i', answer[16:20])[0]}")
(packets,) = struct.unpack("!Q", attributes(attributes(answer[20:length])[4])[2])
print(packets)
