"""The program of the lab's tenants: keeps numbers. TCP port 80: a line "N" is appended to the file `numbers`,
written to the disk, and then answered. UDP port 80: each datagram is answered, with the number of the copy.

Each copy has a file `copy-NUMBER` with two times of CLOCK_BOOTTIME in nanoseconds: when its process started, and when
it lived last, to some milliseconds. Two copies whose times overlap ran at the same moment. The clock is that of the
machine, and so of all hosts of the lab.
"""
import os, select, socket, time

BEAT = 0.002
DATA = "/srv/data"

def now():
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)

def started():
    fields = open("/proc/self/stat").read().rsplit(")", 1)[1].split()
    return int(fields[19]) * (10**9 // os.sysconf("SC_CLK_TCK"))

copy = str(now())
beats = os.open(f"{DATA}/copy-{copy}", os.O_WRONLY | os.O_CREAT, 0o644)
os.pwrite(beats, b"%020d %020d\n" % (started(), now()), 0)
numbers = os.open(f"{DATA}/numbers", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(("0.0.0.0", 80))
tcp = socket.create_server(("0.0.0.0", 80))
tcp.setblocking(False)
clients, unread = set(), {}
while True:
    readable, _, _ = select.select([udp, tcp, *clients], [], [], BEAT)
    os.pwrite(beats, b"%020d" % now(), 21)
    for one in readable:
        try:
            if one is udp:
                _, peer = udp.recvfrom(64)
                udp.sendto(copy.encode(), peer)
            elif one is tcp:
                clients.add(tcp.accept()[0])
            else:
                got = one.recv(4096)
                if not got:
                    raise OSError("closed")
                lines = (unread.pop(one, b"") + got).split(b"\n")
                unread[one] = lines.pop()
                for line in lines:
                    os.write(numbers, line + b" " + copy.encode() + b"\n")
                    os.fsync(numbers)
                    one.sendall(line + b"\n")
        except OSError:
            if one in clients:
                clients.discard(one)
                unread.pop(one, None)
                one.close()
