"""Sends one frame by eth0: frame.py KIND SOURCE_MAC DESTINATION_MAC SOURCE DESTINATION"""
import socket
import struct
import sys

kind, source_mac, destination_mac, source, destination = sys.argv[1:]
ether = bytes.fromhex(destination_mac.replace(":", "")) + bytes.fromhex(source_mac.replace(":", ""))


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def ipv4():
    datagram = struct.pack("!HHHH", 4444, 5000, 8 + 6, 0) + b"forged"
    addresses = socket.inet_aton(source) + socket.inet_aton(destination)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(datagram), 0, 0, 64, 17, 0) + addresses
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + datagram


def arp():
    claims = bytes.fromhex(source_mac.replace(":", "")) + socket.inet_aton(source)
    return struct.pack("!HHBBH", 1, 0x0800, 6, 4, 2) + claims + ether[:6] + socket.inet_aton(destination)


def ipv6():
    addresses = socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, destination)
    length = 8 + 6
    ports = struct.pack("!HHH", 4444, 5000, length)
    check = checksum(addresses + struct.pack("!II", length, 17) + ports + b"\0\0forged")
    return struct.pack("!IHBB", 6 << 28, length, 17, 64) + addresses + ports + struct.pack("!H", check) + b"forged"


def redirect():
    ends = socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, destination)
    body = struct.pack("!I", 0) + ends
    check = checksum(ends + struct.pack("!II", 4 + len(body), 58) + struct.pack("!BBH", 137, 0, 0) + body)
    message = struct.pack("!BBH", 137, 0, check) + body
    return struct.pack("!IHBB", 6 << 28, len(message), 58, 255) + ends + message


def claim():
    """An advertisement that replaces what the receiver knows of the source's address."""
    ends = socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, destination)
    own = bytes.fromhex(source_mac.replace(":", ""))
    body = struct.pack("!I", 1 << 29) + ends[:16] + b"\2\1" + own
    check = checksum(ends + struct.pack("!II", 4 + len(body), 58) + struct.pack("!BBH", 136, 0, 0) + body)
    message = struct.pack("!BBH", 136, 0, check) + body
    return struct.pack("!IHBB", 6 << 28, len(message), 58, 255) + ends + message


frame = {
    "ipv4": lambda: ether + struct.pack("!H", 0x0800) + ipv4(),
    "ipv6": lambda: ether + struct.pack("!H", 0x86DD) + ipv6(),
    "redirect": lambda: ether + struct.pack("!H", 0x86DD) + redirect(),
    "claim": lambda: ether + struct.pack("!H", 0x86DD) + claim(),
    "vlan": lambda: ether + struct.pack("!HHH", 0x8100, 5, 0x0800) + ipv4(),
    "arp": lambda: ether + struct.pack("!H", 0x0806) + arp(),
}[kind]()
link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
link.bind(("eth0", 0))
link.send(frame)
