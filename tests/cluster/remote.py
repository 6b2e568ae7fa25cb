"""In place of sshd on the lab's hosts: a command that `remote` passes runs there with its standard input, output and
error output. A pid namespace cannot be entered from another host, so the lab does that. A command ends with its host.
"""
import os, signal, socket, threading, time


def below(pid):
    """The processes below a process."""
    try:
        found = [int(kid) for kid in open(f"/proc/{pid}/task/{pid}/children").read().split()]
    except OSError:
        return []
    return found + [it for kid in found for it in below(kid)]


def state(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0]
    except OSError:
        return ""


def until(what, is_so, limit=60):
    end = time.monotonic() + limit
    while not (found := is_so()):
        if time.monotonic() > end:
            raise SystemExit(f"still not so after {limit} s: {what}")
        time.sleep(0.02)
    return found


class Remote(threading.Thread):
    """Serves one host."""

    def __init__(self, host, folder):
        super().__init__(daemon=True)
        self.host, self.kill, self.is_lost, self.environment = host, None, False, []
        os.makedirs(folder, exist_ok=True)
        self.server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.server.bind(f"{folder}/{host.name}")
        self.server.listen()
        self.start()

    def arm(self, kill=None, lose=False, crash=""):
        """Kills the next command with these words in it at once, or the whole host, or arms a crash point for all."""
        self.kill, self.is_lost = kill, lose
        self.environment = [f"TENANTD_CRASH_AT={crash}"] if crash else []

    def run(self):
        while True:
            client, _ = self.server.accept()
            threading.Thread(target=self.serve, args=[client], daemon=True).start()

    def serve(self, client):
        with client:
            words, fds, _, _ = socket.recv_fds(client, 1 << 17, 3)
            while not words.endswith(b"\0"):
                words += client.recv(1 << 17)
            try:
                if self.host.dead_at is not None:
                    return
                command, is_killed = words[:-1].decode(), False
                if self.kill and self.kill in command:
                    # It waits to be killed.
                    self.kill, is_killed, command = None, True, f"kill -STOP $$; exec {command}"
                child = self.host.start("sh", "-c", command, stdin=fds[0], stdout=fds[1], stderr=fds[2], env=self.environment)
            finally:
                for fd in fds:
                    os.close(fd)
            if is_killed:
                until("it waits", lambda: any(state(pid) == "T" for pid in below(child.pid)))
                dying = threading.Thread(target=self.host.die if self.is_lost else lambda: None)
                dying.start()
                for pid in below(child.pid):
                    os.kill(pid, signal.SIGKILL)
                # nsenter stops with its child, and a host is dead once all of its processes are waited for.
                os.kill(child.pid, signal.SIGCONT)
                dying.join()
            status = child.wait()
            if self.host.dead_at is None:
                client.sendall(b"%d" % (status if status >= 0 else 128 - status))
