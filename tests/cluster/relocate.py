"""Moves by `tenantd move` between the lab's hosts, which are interrupted: the command, the other host's end of it, and both
hosts are killed at each step. Then the commands are typed that the output names. At no moment may two copies run,
and no acknowledged write may be lost.

The application `shelf` has tenants with data on one host (m1, m2), and one whose data all hosts reach (m3).
"""
import os, re, subprocess, time
from manifest import manifest
from remote import until

TENANTS = {"m1": "10.88.0.111", "m2": "10.88.0.112", "m3": "10.88.0.113"}
MANIFEST = manifest("shelf", defaults="autostart = false")
# The crash points of both ends, see tests/whole/moves.rs, and whether the datastore is handed over at each.
HERE = {"move: noted": False, "move: copied while up": False, "move: stopped": False, "move: copied": False, "move: sealed": False,
        "move: handed over": True, "move: taken": True, "move: stub in place": True}
THERE = ["move: record taken", "move: copy in place"]
# What of the other end is killed as soon as it begins.
ENDS = ["receive --app shelf check", "receive --app shelf stage", "rsync --server", "receive --app shelf seal", "receive --app shelf take"]
# How long a tenant may be away, in milliseconds: a whole move; one that is interrupted and typed again.
MOVED, INTERRUPTED = 1_500, 10_000


def entry(name):
    shared = ', storage = "shared", datastore = "/srv/shared/m3"' if name == "m3" else ""
    return f'{name} = {{ ip = "{TENANTS[name]}"{shared} }}\n'


def doubles(folders):
    """How often two copies whose files are in one of these folders ran at the same moment."""
    copies = {}
    for folder in folders:
        for file in os.listdir(folder):
            # A copy that was ended before it wrote its times kept nothing either.
            if file.startswith("copy-") and (times := open(f"{folder}/{file}").read().split()):
                begun, ended = (int(it) for it in times)
                # That in a copy of the data is older.
                copies[file] = (begun, max(ended, copies.get(file, (0, 0))[1]))
    ordered = sorted(copies.values())
    return sum(sooner[1] >= later[0] for sooner, later in zip(ordered, ordered[1:]))


def prepare(host, lab_folder):
    """Writes the manifest of a host before it starts: one host has the tenants."""
    tenants = "".join(map(entry, TENANTS)) if host.name == "a" else entry("m3")
    with open(f"{host.own}/shelf.toml", "w") as file:
        file.write(MANIFEST + tenants)
    os.makedirs(f"{lab_folder}/shared/m3", exist_ok=True)


class Shelf:
    def __init__(self, lab, client, writer):
        self.lab, self.hosts, self.at = lab, lab.hosts, {}
        self.client = client(TENANTS)
        self.writers = {name: writer(ip) for name, ip in TENANTS.items()}
        self.client.start()
        for name in TENANTS:
            self.type("a", f"tenantd start {name} --app shelf --permanent")
            self.at[name] = "a"
            self.answers(name)
            self.writers[name].start()

    def start(self, host, command, crash=""):
        env = ["TENANTD_RSH=remote", f"TENANTD_CRASH_AT={crash}"]
        return self.hosts[host].start("sh", "-c", command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def type(self, host, command, expected=0, crash=""):
        """Types a command on a host, and returns what it says."""
        child = self.start(host, command, crash)
        try:
            # Longer than the other host may be silent.
            said = child.communicate(timeout=90)[0]
        except subprocess.TimeoutExpired as error:
            raise SystemExit(f"{host}: {command}: not done within 90 s: {error.output}")
        self.check(host, command, child.returncode, said, expected)
        return said

    def check(self, host, command, code, said, expected):
        is_so = code != 0 if expected is None else code == expected
        if not is_so:
            logs = "".join(open(f"{it.own}/shelf.log").read()[-1500:] for it in self.hosts.values())
            raise SystemExit(f"{host}: {command}: code {code}, not {expected}:\n{said}\n{logs}")

    def move(self, name, to, expected=0, crash="", words=""):
        said = self.type(self.at[name], f"tenantd move {name} {to} --app shelf {words}", expected, crash)
        if expected == 0 and not words:
            self.at[name] = to
        return said

    def advice(self, said, words):
        """The command with these words that a text names."""
        text = " ".join(said.split())
        found = [it for it in re.findall(r"`(tenantd [^`]*)`", text) if words in it]
        if not found:
            raise SystemExit(f"no command with {words!r} is named: {text}")
        return found[0]

    def answers(self, name):
        begun = time.monotonic()
        until(f"{name} answers", lambda: (it := self.client.answers[name]) and it[-1] > begun)

    def silent(self, name):
        times = self.client.answers[name]
        return not times or time.monotonic() - times[-1] > 0.3

    def folders(self, name):
        if name == "m3":
            return [f"{self.lab.folder}/shared/m3"]
        places = [f"{host.own}/disk/shelf" for host in self.hosts.values()]
        found = [f"{place}/{it}" for place in places if os.path.isdir(place) for it in os.listdir(place)]
        return [it for it in found if os.path.basename(it).lstrip(".").split(".")[0] == name and os.path.isdir(it)]

    def judge(self, what, since, goals):
        for name, goal in goals.items():
            self.answers(name)
            acknowledged = list(self.writers[name].acknowledged)
            data = f"{self.lab.folder}/shared/m3" if name == "m3" else f"{self.hosts[self.at[name]].own}/disk/shelf/{name}"
            kept = {int(line.split()[0]) for line in open(f"{data}/numbers")}
            lost, twice = len(set(acknowledged) - kept), doubles(self.folders(name))
            away, _ = self.client.away(name, since)
            verdict = "ok" if goal is None or away <= goal else f"more than {goal} ms"
            if lost or twice or verdict != "ok" and self.lab.strict:
                self.lab.bad.append(what)
            print(f"{what:46} {name} away {away:6} ms, {twice} doubles, {lost} of {len(acknowledged)} writes lost: {verdict}", flush=True)

    def boot(self, host):
        """Starts a host that was killed."""
        if not self.lab.is_alone:
            # Pacemaker ends it too, and must have seen that.
            files = [f"{self.lab.fence.dir}/{host}.{end}" for end in ("done", "wanted")]
            until(f"{host} is fenced", lambda: [os.path.exists(it) for it in files] == [True, False])
        self.lab.boot(host)
        until(f"the supervisor of {host} answers", lambda: self.start(host, "tenantd status --app shelf >/dev/null").wait() < 2)


def other(host):
    return "b" if host == "a" else "a"


def killed_here(shelf, point, name="m1", undo=True):
    """Kills `move` at a crash point. Then --undo brings the tenant back, or the same command finishes."""
    since, here = time.monotonic(), shelf.at[name]
    to = other(here)
    if undo and not HERE[point]:
        shelf.move(name, to, None, point)
        shelf.move(name, to, words="--undo")
        shelf.judge(f"killed at {point[6:]!r}, undone", since, {name: INTERRUPTED})
        since = time.monotonic()
    shelf.move(name, to, None, point)
    if HERE[point]:
        # This host does not start it.
        shelf.type(here, f"tenantd start {name} --app shelf", 12)
    shelf.move(name, to)
    shelf.judge(f"killed at {point[6:]!r}, typed again", since, {name: INTERRUPTED})


def killed_there(shelf, name="m1"):
    """Kills what the target runs for a step."""
    for words in ENDS:
        since, here = time.monotonic(), shelf.at[name]
        to = other(here)
        shelf.lab.remotes[to].arm(kill=words)
        said = shelf.move(name, to, 1)
        if "take" in words:
            assert shelf.advice(said, "move") == f"tenantd move {name} {to}", said
        else:
            shelf.answers(name)
        shelf.move(name, to)
        shelf.judge(f"other end killed at {words.split()[-1]!r}", since, {name: INTERRUPTED})
    for point in THERE:
        since, to = time.monotonic(), other(shelf.at[name])
        shelf.lab.remotes[to].arm(crash=point)
        shelf.move(name, to, 1)
        shelf.lab.remotes[to].arm()
        shelf.move(name, to)
        shelf.judge(f"other end killed at {point[6:]!r}", since, {name: INTERRUPTED})


def source_lost(shelf, point, name="m1"):
    """The host that the tenant is moved from is lost, and comes back."""
    since, here = time.monotonic(), shelf.at[name]
    to = other(here)
    shelf.move(name, to, None, point)
    shelf.hosts[here].die()
    if point == "move: copied while up":
        # Only the lost host has all of its data.
        said = shelf.type(to, f"tenantd add {name} ip={TENANTS[name]} --app shelf", None)
        said = shelf.type(to, f"tenantd start {name} --app shelf --takeover", None)
        assert "not complete" in said or "an empty folder" in said, said
        shelf.type(to, f"tenantd remove {name} --app shelf")
        shelf.boot(here)
        # It wants it up, and starts it again.
        shelf.answers(name)
        shelf.move(name, to)
    else:
        said = shelf.type(to, f"tenantd start {name} --app shelf", None)
        if "start" not in said or "add" in said:
            shelf.type(to, f"tenantd add {name} ip={TENANTS[name]} --app shelf", None)
            said = shelf.type(to, f"tenantd start {name} --app shelf", None)
        shelf.type(to, shelf.advice(said, "--takeover"))
        shelf.at[name] = to
        shelf.answers(name)
        shelf.boot(here)
        if HERE[point]:
            shelf.type(here, f"tenantd start {name} --app shelf", 12)
            shelf.type(here, f"tenantd move {name} {to} --app shelf")
        else:
            # It was not to come back. It wants the tenant up, and finds its address in use.
            said = shelf.type(here, f"tenantd start {name} --app shelf", None)
            assert TENANTS[name] in said, said
            shelf.type(here, f"tenantd stop {name} --app shelf --permanent")
            shelf.type(here, f"mv /var/lib/tenantd/shelf/{name} /var/lib/tenantd/shelf/{name}.lost")
    shelf.judge(f"source lost at {point[6:]!r}", since, {name: None})


def target_lost(shelf, words, name="m1"):
    """The host that the tenant is moved to is lost, and comes back."""
    since, here = time.monotonic(), shelf.at[name]
    to = other(here)
    remote = shelf.lab.remotes[to]
    remote.arm(kill=words, lose=True)
    said = shelf.move(name, to, 1)
    if "take" in words:
        shelf.type(here, shelf.advice(said, "--takeover"))
    shelf.answers(name)
    shelf.boot(to)
    shelf.move(name, to)
    shelf.judge(f"target lost at {words.split()[-1]!r}", since, {name: INTERRUPTED})


def together(shelf, orders):
    """Types commands on hosts at the same moment."""
    children = [(host, command, shelf.start(host, command)) for host, command in orders]
    for host, command, child in children:
        said = child.communicate(timeout=120)[0]
        shelf.check(host, command, child.returncode, said, 0)


def swap(shelf):
    if shelf.at["m1"] == shelf.at["m2"]:
        shelf.move("m2", other(shelf.at["m1"]))
    since, (one, two) = time.monotonic(), (shelf.at["m1"], shelf.at["m2"])
    together(shelf, [(one, f"tenantd move m1 {two} --app shelf"), (two, f"tenantd move m2 {one} --app shelf")])
    shelf.at.update(m1=two, m2=one)
    shelf.judge("two tenants swap hosts", since, {"m1": 2 * MOVED, "m2": 2 * MOVED})


def shared(shelf):
    """The tenant whose data all hosts reach is handed over without a copy."""
    since = time.monotonic()
    said = shelf.move("m3", other(shelf.at["m3"]))
    assert "round" not in said, said
    shelf.judge("shared: moved", since, {"m3": MOVED})
    for point in ["move: noted", "move: stopped", "move: sealed", "move: handed over", "move: taken"]:
        killed_here(shelf, point, "m3")


def drain(shelf):
    host = shelf.at["m1"]
    for name in TENANTS:
        if shelf.at[name] != host:
            shelf.move(name, host)
    since = time.monotonic()
    shelf.type(host, "tenantd move --all c --parallel 2 --app shelf")
    shelf.at = {name: "c" for name in TENANTS}
    shelf.judge("move --all", since, {name: 2 * MOVED for name in TENANTS})
    shelf.type(host, "tenantd move --all c --app shelf")


def all(lab, client, writer):
    shelf = Shelf(lab, client, writer)
    parts = os.environ.get("LAB_PARTS", "points ends shared swap source target").split()
    since = time.monotonic()
    shelf.move("m1", "b")
    shelf.judge("moved", since, {"m1": MOVED, "m2": 100})
    if "points" in parts:
        for point in HERE:
            killed_here(shelf, point)
    if "ends" in parts:
        killed_there(shelf)
    if "shared" in parts:
        shared(shelf)
    if "swap" in parts:
        swap(shelf)
        drain(shelf)
    if "source" in parts:
        for point in ["move: copied while up", "move: sealed", "move: handed over"]:
            source_lost(shelf, point)
    if "target" in parts:
        for words in ["rsync --server", "receive --app shelf take"]:
            target_lost(shelf, words)


def short(lab, client, writer):
    shelf = Shelf(lab, client, writer)
    for point in ["move: stopped", "move: handed over"]:
        killed_here(shelf, point, undo=False)
