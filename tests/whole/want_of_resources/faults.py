#!/usr/bin/python3
"""Runs a program whose system calls can be made to fail, one at a time or all of a kind.

faults.py PROGRAM CONTROL NUMBER:ERRNO[:FLAG]... -- ARGUMENT...

The process is under a seccomp filter of the kind that notifies, see seccomp_unotify(2), and executes the
program. Another process answers: it continues each call, or lets it fail with its errno, as the file CONTROL
says. That holds the number of an order, and what is to fail: `none`, `all`, or a count (1 is the next call). What
failed is appended to CONTROL.hit. Only the supervisor's own processes are meant: those that run PROGRAM.

FLAG: `file` means a descriptor of a regular file in its first argument; `make` that openat(2) makes a file.
"""

import array
import ctypes
import fcntl
import os
import socket
import struct
import sys

LIBC = ctypes.CDLL(None, use_errno=True)
SECCOMP = {"x86_64": 317, "aarch64": 277, "riscv64": 277}[os.uname().machine]
RECEIVE, ANSWER = 0xC0502100, 0xC0182101
NOTIFY, ALLOW = 0x7FC00000, 0x7FFF0000
NEW_LISTENER = 8
CONTINUE = 1


def filtered(numbers):
    """Puts this process under the filter. Returns the descriptor of the notifications."""
    steps = [(0x20, 0, 0, 0)]
    for index, number in enumerate(numbers):
        steps.append((0x15, len(numbers) - index, 0, number))
    steps += [(0x06, 0, 0, ALLOW), (0x06, 0, 0, NOTIFY)]
    code = b"".join(struct.pack("=HBBI", *step) for step in steps)
    held = ctypes.create_string_buffer(code)
    program = struct.pack("HxxxxxxQ", len(steps), ctypes.addressof(held))
    listener = LIBC.syscall(SECCOMP, 1, NEW_LISTENER, program)
    if listener < 0:
        raise OSError(ctypes.get_errno(), "seccomp")
    return listener


class Judge:
    """Decides which call fails."""

    def __init__(self, control, program, rules):
        self.control, self.program, self.rules = control, os.stat(program).st_ino, rules
        self.order, self.left = "", 0

    def is_meant(self, pid, number, arguments):
        flag = self.rules[number][1]
        try:
            if os.stat(f"/proc/{pid}/exe").st_ino != self.program:
                return False
            if flag == "file":
                path = os.readlink(f"/proc/{pid}/fd/{arguments[0]}")
                return path.startswith(("/run/", "/var/"))
        except OSError:
            return False
        return flag != "make" or bool(arguments[2] & os.O_CREAT)

    def fails(self, pid, number, arguments):
        with open(self.control) as file:
            order = file.read().split()
        if len(order) < 2 or order[1] == "none" or not self.is_meant(pid, number, arguments):
            return 0
        if order[1] != "all":
            if order[0] != self.order:
                self.order, self.left = order[0], int(order[1])
            self.left -= 1
            if self.left != 0:
                return 0
        with open(self.control + ".hit", "a") as file:
            name = open(f"/proc/{pid}/comm").read().strip()
            file.write(f"{order[0]} {number} {name} {arguments}\n")
        return self.rules[number][0]

    def serve(self, listener):
        while True:
            call = bytearray(80)
            try:
                fcntl.ioctl(listener, RECEIVE, call)
            except FileNotFoundError:
                if gone(listener):
                    return
                continue
            identifier, pid, _, number = struct.unpack_from("=QIIi", call)
            arguments = struct.unpack_from("=6Q", call, 32)
            errno = self.fails(pid, number, arguments)
            answer = struct.pack("=QqiI", identifier, 0, -errno, 0 if errno else CONTINUE)
            try:
                fcntl.ioctl(listener, ANSWER, answer)
            except FileNotFoundError:
                pass


def gone(listener):
    """Whether no process is under the filter any more."""
    import select

    poll = select.poll()
    poll.register(listener, select.POLLIN)
    return any(event & select.POLLHUP for _, event in poll.poll(0))


def main():
    program, control = sys.argv[1:3]
    end = sys.argv.index("--")
    rules = {}
    for rule in sys.argv[3:end]:
        number, errno, *flag = rule.split(":")
        rules[int(number)] = (int(errno), "".join(flag))
    here, there = socket.socketpair()
    if os.fork() == 0:
        os.setsid()
        there.close()
        _, rights, _, _ = here.recvmsg(1, 64)
        listener = array.array("i", rights[0][2])[0]
        null = os.open("/dev/null", os.O_RDWR)
        for descriptor in range(3):
            os.dup2(null, descriptor)
        here.close()
        Judge(control, program, rules).serve(listener)
        os._exit(0)
    here.close()
    listener = filtered(list(rules))
    there.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [listener]))])
    os.close(listener)
    there.close()
    os.execv(program, [program] + sys.argv[end + 1 :])


main()
