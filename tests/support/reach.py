"""Tries, one by one, what a process can do to another one of its user, and says what it can.

The other process may not be hurt by it: the signal is SIGCONT, and what is written is what is there.
"""
import ctypes, os, signal, sys

pid = int(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
PTRACE_SEIZE, PTRACE_DETACH = 0x4206, 17
PIDFD_SEND_SIGNAL, PIDFD_GETFD, KCMP, GET_ROBUST_LIST, MOVE_PAGES = 424, 438, 312, 274, 279
if os.uname().machine == "aarch64":
    KCMP, GET_ROBUST_LIST, MOVE_PAGES = 272, 100, 239


def called(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "")
    return result


def syscall(*arguments):
    return called(libc.syscall(*(ctypes.c_long(it) for it in arguments)))


def proc(name):
    return f"/proc/{pid}/{name}"


def read(name):
    return lambda: open(proc(name), "rb").read(1)


def write(name):
    def attempt():
        now = open(f"/proc/self/{name}").read()
        open(proc(name), "w").write(now)

    return attempt


class Iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]




def read_memory():
    buffer = ctypes.create_string_buffer(1)
    here = Iovec(ctypes.addressof(buffer), 1)
    # The kernel checks the rights before the address: EFAULT means that it was permitted.
    there = Iovec(4096, 1)
    result = libc.process_vm_readv(pid, ctypes.byref(here), 1, ctypes.byref(there), 1, 0)
    if result < 0 and ctypes.get_errno() != 14:
        raise OSError(ctypes.get_errno(), "")


def trace():
    called(libc.ptrace(PTRACE_SEIZE, pid, None, None))
    # It need not stop for that if it ends with this process.


def robust_list():
    head, length = ctypes.c_void_p(), ctypes.c_size_t()
    syscall(GET_ROBUST_LIST, pid, ctypes.addressof(head), ctypes.addressof(length))


def pages():
    syscall(MOVE_PAGES, pid, 0, 0, 0, 0, 0)


def listed():
    if str(pid) not in os.listdir("/proc"):
        raise OSError(2, "")


ways = {
    "kill": lambda: os.kill(pid, signal.SIGCONT),
    "pidfd_send_signal": lambda: syscall(PIDFD_SEND_SIGNAL, os.pidfd_open(pid), signal.SIGCONT, 0, 0),
    "sigqueue": lambda: called(libc.sigqueue(pid, signal.SIGCONT, ctypes.c_void_p(0))),
    "killpg": lambda: os.killpg(os.getpgid(pid), signal.SIGCONT),
    "process_vm_readv": read_memory,
    "pidfd_getfd": lambda: syscall(PIDFD_GETFD, os.pidfd_open(pid), 1, 0),
    "kcmp": lambda: syscall(KCMP, os.getpid(), pid, 2, 0, 0),
    "get_robust_list": robust_list,
    "move_pages": pages,
    "root": lambda: os.listdir(proc("root")),
    "cwd": lambda: os.listdir(proc("cwd")),
    "fd": lambda: os.readlink(proc("fd/1")),
    "exe": lambda: os.readlink(proc("exe")),
    "ns": lambda: os.readlink(proc("ns/net")),
    "environ": read("environ"),
    "maps": read("maps"),
    "auxv": read("auxv"),
    "mem": lambda: open(proc("mem"), "rb"),
    "io": read("io"),
    "syscall": read("syscall"),
    "listed": listed,
    "cmdline": read("cmdline"),
    "status": read("status"),
    "mountinfo": read("mountinfo"),
    "net/tcp": read("net/tcp"),
    "oom_score_adj": write("oom_score_adj"),
    "coredump_filter": write("coredump_filter"),
    # The last one: it stays attached.
    "ptrace": trace,
}
for name, attempt in ways.items():
    try:
        attempt()
        print(name)
    except OSError:
        pass
