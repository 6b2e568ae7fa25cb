"""What benches/moves measures, in namespaces of its own. Usage: moves.py LAB PROGRAM ROUNDS MB FILES plain|programs|btrfs"""
import glob, os, random, shutil, statistics, subprocess, sys, tempfile, threading, time

LAB, PROGRAM = sys.argv[1:3]
ROUNDS, MB, FILES = map(int, sys.argv[3:6])
BTRFS = sys.argv[6] == "btrfs"
HOSTS = ["h1", "h2"]
SETS = ["redis", "postgresql"] if sys.argv[6] == "programs" else ["one-file", "small-files"]
MANIFEST = """[app]
name = "bench"
user = "root"
command = ["/bin/sleep", "1000000"]
[app.datastore]
path = "/srv"
[network]
subnet = "10.77.0.0/24"
[defaults]
autostart = false
[tenants]
""" + "".join(f'{name} = {{ ip = "10.77.0.{number}" }}\n' for number, name in enumerate(SETS, 11))
HOST = """
echo 0 >{group}/cgroup.procs
exec unshare -n -m -u -C --propagation private sh -ec '
mount -n -t sysfs sysfs /sys; mount -n -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p /var/lib/tenantd /var/log/tenantd
for folder in /run /var/log/tenantd; do mount -n -t tmpfs -o mode=755 tmpfs $folder; done
mount -n --bind {own}/lib /var/lib/tenantd
[ ! -e /etc/machine-id ] || mount -n --bind {own}/machine-id /etc/machine-id
hostname {name}; ip link set lo up; : >{own}/ready
exec {program} --config {own}/bench.toml >{own}/log 2>&1'
"""


def run(*words):
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}: {done.returncode}: {done.stderr}{done.stdout}")
    return done.stdout


def until(what, is_so):
    end = time.monotonic() + 60
    while not is_so():
        if time.monotonic() > end:
            raise SystemExit(f"still not so: {what}")
        time.sleep(0.02)


def disk(image, at):
    """A btrfs in a file. The device goes with the mount."""
    with open(image, "wb") as out:
        out.truncate((3 * MB + FILES // 50) * 1_000_000 + (1 << 30))
    run("mkfs.btrfs", "-q", "-m", "single", image)
    device = run("losetup", "--find", "--show", image).strip()
    try:
        run("mount", "-n", "-t", "btrfs", device, at)
    finally:
        run("losetup", "-d", device)


class Writer(threading.Thread):
    """Writes to a page or a file of 100 in each second, until it is told to stop."""
    def __init__(self, folder, name):
        super().__init__(daemon=True)
        self.folder, self.name, self.stopped = folder, name, threading.Event()

    def run(self):
        parts, size = (MB * 1_000_000 // 8192, 8192) if self.name == SETS[0] else (FILES, 1000)
        while not self.stopped.wait(0.1):
            for _ in range(max(1, parts // 1000)):
                part = random.randrange(parts)
                path, at = (f"{self.folder}/file", part * size) if self.name == SETS[0] else (f"{self.folder}/{part // 1000}/{part}", 0)
                with open(path, "r+b") as out:
                    out.seek(at)
                    out.write(os.urandom(size))


class Host:
    def __init__(self, number, name):
        self.own, self.data = f"{LAB}/{name}", f"{LAB}/{name}/lib/bench"
        os.makedirs(f"{self.own}/lib")
        if BTRFS:
            disk(f"{self.own}/disk", f"{self.own}/lib")
        os.makedirs(self.data)
        for file, text in [("machine-id", f"{number:032x}\n"), ("bench.toml", MANIFEST)]:
            with open(f"{self.own}/{file}", "w") as out:
                out.write(text)
        group = f"{os.environ['LAB_GROUP']}/{name}"
        os.mkdir(group)
        text = HOST.format(group=group, own=self.own, name=name, program=PROGRAM)
        self.child = subprocess.Popen(["sh", "-c", text], stdin=subprocess.DEVNULL)
        until(f"{name} is there", lambda: os.path.exists(f"{self.own}/ready"))
        self.enter = ["nsenter", "-t", str(self.child.pid), "-n", "-m", "-u", "-C"]
        until(f"{name} answers", lambda: subprocess.run([*self.enter, PROGRAM, "status"], capture_output=True).returncode == 0)

    def tenantd(self, *words):
        return run(*self.enter, PROGRAM, *words)


def fill_redis(folder):
    """Has Redis write its dump."""
    socket = f"{LAB}/redis.sock"
    words = ["redis-server", "--port", "0", "--unixsocket", socket, "--dir", folder, "--save", "", "--rdbcompression", "no"]
    with subprocess.Popen([*words, "--enable-debug-command", "yes"], stdout=subprocess.DEVNULL) as server:
        until("Redis answers", lambda: subprocess.run(["redis-cli", "-s", socket, "ping"], capture_output=True).returncode == 0)
        run("redis-cli", "-s", socket, "debug", "populate", str(MB * 1000), "key", "950")
        run("redis-cli", "-s", socket, "save")
        server.terminate()


def fill_postgresql(folder):
    """Has PostgreSQL make a database, as its user, who must reach the folder."""
    made = tempfile.mkdtemp(dir=os.path.dirname(os.path.dirname(LAB)))
    os.chmod(made, 0o700)
    shutil.chown(made, "postgres", "postgres")
    server = ["runuser", "-u", "postgres", "--"]
    programs = sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1]
    try:
        run(*server, f"{programs}/initdb", "--no-sync", "-D", f"{made}/data")
        control = [*server, f"{programs}/pg_ctl", "-w", "-D", f"{made}/data", "-l", f"{made}/log"]
        run(*control, "-o", f"-k {made} -c listen_addresses= -c fsync=off", "start")
        run(*server, f"{programs}/pgbench", "-q", "-h", made, "-i", "-s", str(max(1, MB // 15)), "postgres")
        run(*control, "stop")
        os.rename(f"{made}/data", f"{folder}/data")
    finally:
        shutil.rmtree(made)


def fill(folder, name):
    if name in PROGRAMS:
        return PROGRAMS[name](folder)
    if name == SETS[0]:
        with open(f"{folder}/file", "wb") as out:
            for _ in range(MB):
                out.write(os.urandom(1_000_000))
        return
    for number in range(FILES):
        if number % 1000 == 0:
            os.mkdir(f"{folder}/{number // 1000}")
        with open(f"{folder}/{number // 1000}/{number}", "wb") as out:
            out.write(os.urandom(1000))


def timed(act):
    os.sync()
    begun = time.monotonic()
    act()
    return time.monotonic() - begun


class Bench:
    def __init__(self):
        self.one, self.two = (Host(number, name) for number, name in enumerate(HOSTS, 1))
        self.rsh = f"{LAB}/rsh"
        with open(self.rsh, "w") as out:
            words = " ".join(self.two.enter)
            out.write(f'#!/bin/sh\nshift\nexec {words} env PATH={os.path.dirname(PROGRAM)}:$PATH sh -c "$*"\n')
        os.chmod(self.rsh, 0o755)

    def rsync(self, name):
        to = f"{self.two.data}/copy"
        def copy():
            run("rsync", "-aHAXS", "--numeric-ids", "-e", self.rsh, f"{self.one.data}/{name}/", f"h2:{to}/")
            run("sync", "-f", to)
        took = timed(copy)
        shutil.rmtree(to)
        return took

    def bundle(self, name):
        file = f"{LAB}/bundle"
        out = timed(lambda: self.one.tenantd("export", name, "--to", file))
        into = timed(lambda: self.two.tenantd("import", file))
        os.remove(file)
        shutil.rmtree(f"{self.two.data}/{name}")
        return out, into

    def move(self, name, how="rsync", is_written=False):
        """The whole time, and that from the stop to the start on the other host."""
        self.one.tenantd("start", name)
        os.sync()
        writer = Writer(f"{self.one.data}/{name}", name)
        if is_written:
            writer.start()
        begun = time.monotonic()
        words = [*self.one.enter, PROGRAM, "move", "--transport", how, "--rsh", self.rsh, name, "h2"]
        child = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        stopped = None
        for line in child.stdout:
            if line == f"{name}: stopped\n":
                stopped = time.monotonic()
                writer.stopped.set()
        if child.wait():
            raise SystemExit(f"{name}: not moved")
        ended = time.monotonic()
        self.back(name)
        return ended - begun, ended - stopped

    def back(self, name):
        """Both hosts are as before."""
        self.two.tenantd("stop", name)
        shutil.rmtree(f"{self.two.data}/{name}")
        # What is removed must not be at work during the next move.
        run("sync", "-f", self.two.data)
        os.rmdir(f"{self.one.data}/{name}")
        kept, = glob.glob(f"{self.one.data}/{name}.moved-*")
        os.removexattr(kept, "trusted.tenantd.owner")
        os.rename(kept, f"{self.one.data}/{name}")
        self.one.tenantd("stop", name)


    def rows(self, name):
        if not BTRFS:
            out, into = self.bundle(name)
            whole, away = self.move(name)
            return {"rsync": self.rsync(name), "export": out, "import": into, "export and import": out + into, "move": whole, "move: away": away}
        found = {"rsync": self.rsync(name)}
        for how in ["rsync", "btrfs"]:
            found[f"move: {how}"], found[f"move: {how}: away"] = self.move(name, how, True)
        return found


PROGRAMS = {"redis": fill_redis, "postgresql": fill_postgresql}
bench = Bench()
for name in SETS:
    if BTRFS:
        run("btrfs", "subvolume", "create", f"{bench.one.data}/{name}")
    bench.one.tenantd("start", name)
    bench.one.tenantd("stop", name)
    fill(f"{bench.one.data}/{name}", name)
    found = {}
    for _ in range(ROUNDS):
        for what, took in bench.rows(name).items():
            found.setdefault(what, []).append(took)
    base = statistics.median(found["rsync"])
    for what, times in found.items():
        median = statistics.median(times)
        on = "btrfs " if BTRFS else ""
        print(f"{on + name:18} {what:18} {median:8.2f} s {median / base:6.2f} x rsync   ({min(times):.2f} to {max(times):.2f})", flush=True)
for host in [bench.two, bench.one]:
    host.child.terminate()
    host.child.wait()
