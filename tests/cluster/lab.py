"""The lab of tests/cluster/run: three hosts on this machine, with Pacemaker, corosync and tenantd, and what happens
to their tenants. Runs in network and mount namespaces of its own, as the first process of a pid namespace.

Usage: lab.py LAB PROGRAM SCENARIO...
"""
import os, re, select, shutil, signal, socket, subprocess, sys, threading, time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import partitions, relocate
from manifest import manifest
from remote import Remote, until
LAB, PROGRAM, SCENARIOS = sys.argv[1], sys.argv[2], sys.argv[3:]
HOSTS = ["a", "b", "c"]
TENANTS = {"t1": "10.88.0.101", "t2": "10.88.0.102"}
TOKEN = int(os.environ.get("LAB_TOKEN", "3000"))
TIMEOUT_STOP = 10
PERIOD = 0.002
# Whether a time beyond its goal is a failure: the machine may be busy, and the program a debug build.
STRICT = os.environ.get("LAB_STRICT") == "yes"
# Whether a host that was lost need not return.
SHORT = os.environ.get("LAB_SHORT") == "yes"


def run(*words, check=True, **more):
    done = subprocess.run(words, capture_output=True, text=True, **more)
    if check and done.returncode:
        raise SystemExit(f"{' '.join(words)}: {done.returncode}: {done.stderr}{done.stdout}")
    return done.stdout


def write(path, text, mode=0o644):
    with open(path, "w") as file:
        file.write(text)
    os.chmod(path, mode)


COROSYNC = f"""totem {{
 version: 2
 cluster_name: lab
 transport: udpu
 token: {TOKEN}
 token_coefficient: 0
}}
logging {{
 to_logfile: yes
 logfile: LOG
 to_stderr: no
 to_syslog: no
}}
system {{
 sched_rr: no
}}
quorum {{
 provider: corosync_votequorum
}}
nodelist {{
""" + "".join(f" node {{\n  name: {h}\n  nodeid: {i}\n  ring0_addr: 10.88.0.{10 + i}\n }}\n" for i, h in enumerate(HOSTS, 1)) + "}\n"

MANIFEST = manifest("store", datastore='root = "/srv/shared"', defaults='engine = "pacemaker"\nstorage = "shared"') + "".join(
    f'{name} = {{ ip = "{ip}" }}\n' for name, ip in TENANTS.items())


def pairs(element, of, **values):
    return f'<{element} id="{of}">' + "".join(
        f'<nvpair id="{of}-{key}" name="{key.replace("_", "-")}" value="{value}"/>' for key, value in values.items()) + f"</{element}>"


def tenant(name):
    operations = "".join(
        f'<op id="{name}-{it}" name="{it}" interval="{every}" timeout="{within}s"/>'
        for it, every, within in [("start", "0s", 20), ("stop", "0s", TIMEOUT_STOP), ("monitor", "2s", 10)])
    return (f'<primitive id="{name}" class="ocf" provider="tenantd" type="tenant">'
            + pairs("instance_attributes", f"{name}-i", app="store", name=name, config=f"{LAB}/store.toml", storage="shared")
            + f"<operations>{operations}</operations>" + pairs("meta_attributes", f"{name}-m", migration_threshold=1) + "</primitive>")


# What the cluster is to do, by the part of its configuration.
CONFIGURATION = {
    "crm_config": "<crm_config>" + pairs("cluster_property_set", "cib-bootstrap-options", stonith_enabled="true", no_quorum_policy="stop") + "</crm_config>",
    "rsc_defaults": "<rsc_defaults>" + pairs("meta_attributes", "rsc-options", resource_stickiness=100) + "</rsc_defaults>",
    "resources": '<resources><primitive id="power" class="stonith" type="fence_lab"><instance_attributes id="power-i">'
                 + f'<nvpair id="power-dir" name="dir" value="{LAB}/fence"/><nvpair id="power-list" name="pcmk_host_list" value="a b c"/>'
                 + '</instance_attributes><operations><op id="power-o" name="monitor" interval="600s"/></operations></primitive>'
                 + "".join(map(tenant, TENANTS)) + "</resources>",
    "constraints": "<constraints>" + "".join(
        f'<rsc_location id="p-{name}" rsc="{name}" score="10" node="{host}"/>' for name, host in [("t1", "a"), ("t2", "b")]) + "</constraints>",
}


class Host:
    def __init__(self, name):
        self.name, self.number, self.own = name, HOSTS.index(name) + 1, f"{LAB}/{name}"
        for folder in ["corosync", "lib-corosync", "sbin", "work", "etc", "etc-work", "disk"]:
            os.makedirs(f"{self.own}/{folder}")
        shutil.copytree("/usr/lib/ocf/resource.d", f"{self.own}/ocf", symlinks=True)
        os.mkdir(f"{self.own}/ocf/tenantd")
        shutil.copy(f"{HERE}/../../packaging/ocf/tenant", f"{self.own}/ocf/tenantd/tenant")
        shutil.copy(f"{HERE}/fence_lab", f"{self.own}/sbin/fence_lab")
        shutil.copy(f"{HERE}/remote", f"{self.own}/sbin/remote")
        os.symlink(PROGRAM, f"{self.own}/sbin/tenantd")
        run("cp", "-a", "/var/lib/pacemaker", f"{self.own}/pacemaker")
        # Without it, Pacemaker waits for 20 s before the first election.
        run("sh", "-ec", """export CIB_file=$1/cib/cib.xml; rm -f $1/cib/*; cibadmin --empty >$CIB_file
            crm_attribute --type crm_config --name dc-deadtime --update 2s; chown -R hacluster:haclient $1""", "sh", f"{self.own}/pacemaker")
        write(f"{self.own}/corosync/corosync.conf", COROSYNC.replace("LOG", f"{self.own}/corosync.log"))
        write(f"{self.own}/etc/machine-id", f"{self.number:032x}\n")
        self.cgroup = f"/sys/fs/cgroup/tenantd-lab-{os.environ['LAB_ID']}/{name}"

    def boot(self):
        """Starts the host, with nothing in /run."""
        self.is_booting = True
        if os.path.exists(f"{self.own}/ready"):
            os.remove(f"{self.own}/ready")
        os.makedirs(self.cgroup, exist_ok=True)
        enter = f"echo 0 >{self.cgroup}/cgroup.procs && exec unshare -C -n -m -p -u -f --kill-child --mount-proc --propagation private {HERE}/host {LAB} {self.name}"
        self.child = subprocess.Popen(["sh", "-c", enter], stdin=subprocess.DEVNULL)
        until(f"host {self.name} is there", lambda: os.path.exists(f"{self.own}/ready"))
        children = open(f"/proc/{self.child.pid}/task/{self.child.pid}/children").read().split()
        self.pid = int(children[0])
        # The kernel removes the links of a dead host some time later.
        run("ip", "link", "del", f"p-{self.name}", check=False)
        run("ip", "link", "add", f"p-{self.name}", "type", "veth", "peer", "name", "eth0", "netns", str(self.pid))
        run("ip", "link", "set", f"p-{self.name}", "master", "br0", "up")
        self.sh("ip", "link", "set", "eth0", "up")
        self.sh("ip", "address", "add", f"10.88.0.{10 + self.number}/24", "dev", "eth0")
        self.dead_at, self.is_booting = None, False

    def within(self, *words, env=()):
        """The words that run a command on this host."""
        path = f"PATH={self.own}/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
        return ["nsenter", "-t", str(self.pid), "-n", "-m", "-p", "-u", "-C", "env", path, f"LAB_REMOTE={LAB}/remote", *env, *words]

    def start(self, *words, env=(), **more):
        return subprocess.Popen(self.within(*words, env=env), **more)

    def sh(self, *words, **more):
        return run(*self.within(*words), **more)

    def die(self):
        """Ends all processes of the host at once."""
        if self.dead_at is None:
            os.kill(self.pid, signal.SIGKILL)
            self.child.wait()
            self.dead_at = now()

    def supervisor(self):
        """The process of tenantd on this host, as this machine counts."""
        def kids(pid):
            found = [int(kid) for kid in open(f"/proc/{pid}/task/{pid}/children").read().split()]
            return found + [below for kid in found for below in kids(kid)]
        for pid in kids(self.pid):
            words = open(f"/proc/{pid}/cmdline", "rb").read().split(b"\0")
            if words[:2] == [b"tenantd", b"run"] and words[3].endswith(b"/store.toml"):
                return pid
        return None


def now():
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class Fence(threading.Thread):
    """Ends hosts when the agent asks for it, after a delay."""

    def __init__(self, hosts):
        super().__init__(daemon=True)
        self.hosts, self.dir, self.delay, self.asked = hosts, f"{LAB}/fence", 0.0, {}
        os.mkdir(self.dir)

    def run(self):
        while True:
            for name, host in self.hosts.items():
                if os.path.exists(f"{self.dir}/{name}.wanted") and not os.path.exists(f"{self.dir}/{name}.done"):
                    asked = self.asked.setdefault(name, time.monotonic())
                    # A host that is just being started is ended after that: else what is done now would answer a later request.
                    if time.monotonic() - asked >= self.delay and not host.is_booting:
                        host.die()
                        write(f"{self.dir}/{name}.done", "")
            time.sleep(0.01)

    def reset(self, name):
        self.asked.pop(name, None)
        for end in ["wanted", "done"]:
            if os.path.exists(f"{self.dir}/{name}.{end}"):
                os.remove(f"{self.dir}/{name}.{end}")


class Client(threading.Thread):
    """Asks each tenant every 2 ms, and notes when it was answered."""

    def __init__(self, tenants):
        super().__init__(daemon=True)
        self.tenants, self.answers = tenants, {name: [] for name in tenants}

    def run(self):
        sockets = {}
        for name, ip in self.tenants.items():
            one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            one.setblocking(False)
            sockets[one] = (name, (ip, 80))
        due = time.monotonic()
        while True:
            for one, (_, address) in sockets.items():
                try:
                    one.sendto(b"?", address)
                except OSError:
                    pass
            due = max(due + PERIOD, time.monotonic())
            while (left := due - time.monotonic()) > 0:
                for one in select.select(list(sockets), [], [], left)[0]:
                    try:
                        one.recv(64)
                        self.answers[sockets[one][0]].append(time.monotonic())
                    except OSError:
                        pass

    def away(self, name, since):
        """The longest time without an answer since then, in milliseconds, and when it ended."""
        times = [it for it in self.answers[name] if it >= since - 0.5]
        gaps = [(later - sooner, later) for sooner, later in zip(times, times[1:])]
        longest, ended = max(gaps)
        return round(longest * 1000), ended - since


class Writer(threading.Thread):
    """Writes numbers to a tenant, and notes those that were acknowledged."""

    def __init__(self, ip):
        super().__init__(daemon=True)
        self.ip, self.acknowledged = ip, []

    def run(self):
        number, one = 0, None
        while True:
            number += 1
            try:
                if one is None:
                    one = socket.create_connection((self.ip, 80), timeout=0.3)
                one.sendall(b"%d\n" % number)
                if one.recv(64) == b"%d\n" % number:
                    self.acknowledged.append(number)
                else:
                    raise OSError("another answer")
                time.sleep(0.005)
            except OSError:
                one = one and one.close()
                time.sleep(0.01)


class Lab:
    folder, strict = LAB, STRICT

    def __init__(self):
        os.makedirs(f"{LAB}/shared")
        shutil.copy(f"{HERE}/store.py", f"{LAB}/store.py")
        write(f"{LAB}/store.toml", MANIFEST)
        for part, text in CONFIGURATION.items():
            write(f"{LAB}/cib-{part}.xml", text)
        run("ip", "link", "set", "lo", "up")
        run("ip", "link", "add", "br0", "type", "bridge")
        run("ip", "link", "set", "br0", "up")
        run("ip", "address", "add", "10.88.0.1/24", "dev", "br0")
        self.hosts = {name: Host(name) for name in HOSTS}
        self.fence = Fence(self.hosts)
        self.fence.start()
        self.remotes = {name: Remote(host, f"{LAB}/remote") for name, host in self.hosts.items()}
        self.client = Client(TENANTS)
        self.writers = {name: Writer(ip) for name, ip in TENANTS.items()}
        self.bad = []
        # These need no cluster.
        self.is_alone = all(it.startswith("relocate") for it in SCENARIOS)
        if self.is_alone:
            write(f"{LAB}/alone", "")
        if any(it.startswith("relocate") for it in SCENARIOS):
            for host in self.hosts.values():
                relocate.prepare(host, LAB)

    def any(self):
        """A host that lives and is not cut off."""
        hosts = list(reversed(self.hosts.values()))
        return next((h for h in hosts if h.dead_at is None and not getattr(h, "cut", False)), hosts[0])

    @staticmethod
    def now():
        """As Host.dead_at."""
        return now()

    def crm(self, *words, **more):
        return self.any().sh(*words, **more)

    def boot(self, *names):
        for name in names:
            self.hosts[name].is_booting = True
            self.fence.reset(name)
            self.hosts[name].boot()
            self.hosts[name].cut = False
        if self.is_alone:
            return
        until("all hosts are in the cluster", lambda: "Online: [ a b c ]" in self.crm("crm_mon", "-1", check=False), 90)

    def configure(self):
        self.crm("sh", "-ec", """for part in crm_config rsc_defaults resources constraints; do
            cibadmin --modify --allow-create --scope $part --xml-file $1/cib-$part.xml; done""", "sh", LAB)

    def where(self, name):
        said = self.crm("crm_resource", "-r", name, "-W", check=False)
        found = re.findall(r"on: (\w+)", said)
        return found[0] if len(found) == 1 else None

    def settle(self, places):
        """Waits until each tenant is on this host, or on any if none is named, and answers."""
        for name, place in places.items():
            until(f"{name} is on {place or 'a host'}", lambda: self.where(name) and place in (None, self.where(name)), 90)
        begun = time.monotonic()
        for name in places:
            until(f"{name} answers", lambda: (it := self.client.answers[name]) and it[-1] > begun)

    def clear(self):
        for name in TENANTS:
            self.crm("crm_resource", "-r", name, "--clear", check=False)
            self.crm("crm_resource", "-r", name, "--cleanup", check=False)
        until("the cluster is idle", lambda: self.crm("crmadmin", "-S", "a", check=False) or True)

    def doubles(self):
        """How often two copies of a tenant ran at the same moment."""
        return sum(relocate.doubles([f"{LAB}/shared/{name}"]) for name in TENANTS)

    def proof(self):
        """How often two copies ran at the same moment, and how many acknowledged numbers are missing."""
        lost = acknowledged = 0
        for name, writer in self.writers.items():
            folder, acked = f"{LAB}/shared/{name}", list(writer.acknowledged)
            kept = {int(line.split()[0]) for line in open(f"{folder}/numbers")}
            lost += len(set(acked) - kept)
            acknowledged += len(acked)
        return self.doubles(), lost, acknowledged

    def judge(self, scenario, since, goals):
        """Prints how long each of these tenants was away, and checks that against the goal in milliseconds."""
        time.sleep(0.2)
        doubles, lost, acknowledged = self.proof()
        for name, goal in goals.items():
            away, _ = self.client.away(name, since)
            verdict = "ok" if away <= goal else f"more than {goal} ms"
            if doubles or lost or away > goal and STRICT:
                self.bad.append(scenario)
            print(f"{scenario:24} {name} away {away:6} ms, {doubles} doubles, {lost} of {acknowledged} writes lost: {verdict}", flush=True)


def move(lab, goal=500):
    lab.settle({"t1": "a"})
    since = time.monotonic()
    lab.crm("crm_resource", "-r", "t1", "-M", "-N", "b")
    lab.settle({"t1": "b"})
    lab.judge("planned move", since, {"t1": goal, "t2": 100})
    lab.clear()


def swap(lab):
    one, two = lab.where("t1"), lab.where("t2")
    if one == two:
        two = next(name for name in HOSTS if name != one)
        lab.crm("crm_resource", "-r", "t2", "-M", "-N", two)
        lab.settle({"t2": two})
        lab.clear()
    since = time.monotonic()
    lab.crm("crm_resource", "-r", "t1", "-M", "-N", two)
    lab.crm("crm_resource", "-r", "t2", "-M", "-N", one)
    lab.settle({"t1": two, "t2": one})
    lab.judge("two tenants swap hosts", since, {"t1": 1000, "t2": 1000})
    lab.clear()


def gather(lab, host):
    """Brings both tenants to one host."""
    for name in TENANTS:
        if lab.where(name) != host:
            lab.crm("crm_resource", "-r", name, "-M", "-N", host)
    lab.settle({name: host for name in TENANTS})
    lab.clear()


def drain(lab):
    gather(lab, "b")
    since = time.monotonic()
    lab.crm("crm_attribute", "-N", "b", "-n", "standby", "-v", "on")
    until("b is empty", lambda: all(lab.where(name) in ("a", "c") for name in TENANTS))
    lab.settle({name: None for name in TENANTS})
    lab.judge("drain", since, {"t1": 1000, "t2": 1000})
    lab.crm("crm_attribute", "-N", "b", "-n", "standby", "-D")


def supervisor_killed(lab):
    host = lab.hosts[lab.where("t1")]
    since, before = time.monotonic(), host.supervisor()
    os.kill(before, signal.SIGKILL)
    until("the next supervisor is there", lambda: host.supervisor() not in (None, before))
    time.sleep(3)  # Longer than the interval of monitor: it must not take this for a loss.
    assert lab.where("t1") == host.name
    lab.judge("supervisor killed", since, {"t1": 100, "t2": 100})


def lost(lab, scenario, lose, goal):
    """Loses the host of t1, and brings it back."""
    name = lab.where("t1")
    host, others = lab.hosts[name], [it for it in HOSTS if it != name]
    for tenant in TENANTS:
        if tenant != "t1" and lab.where(tenant) == name:
            lab.crm("crm_resource", "-r", tenant, "-M", "-N", others[0])
            lab.settle({tenant: others[0]})
            lab.clear()
    since = time.monotonic()
    lose(host)
    until("t1 is on another host", lambda: lab.where("t1") in others, 90)
    lab.settle({"t1": None})
    lab.judge(scenario, since, {"t1": goal, "t2": 100})
    if SHORT:
        return
    host.die()
    lab.boot(name)
    lab.clear()


def killed(lab):
    lost(lab, "host killed", lambda host: host.die(), 10_000)


def cut(host):
    host.cut = True
    run("ip", "link", "set", f"p-{host.name}", "down")


def cut_off(lab):
    lost(lab, "host cut off", cut, 10_000)


def stop_fails(lab):
    def stopped(host):
        os.kill(host.supervisor(), signal.SIGSTOP)
        lab.crm("crm_resource", "-r", "t1", "--ban", "-N", host.name)
    # If the host leads the cluster, the others miss it first.
    lost(lab, "agent's stop fails", stopped, 2 * TOKEN + 4_000)


def fence_delayed(lab):
    lab.fence.delay = 5
    lost(lab, "fence delayed by 5 s", cut, 16_000)
    lab.fence.delay = 0


def tester(lab):
    """Has the tool of the distribution try the agent, in a cluster that does not know the tenant yet."""
    parameters = ["-o", "app=store", "-o", "name=t1", "-o", f"config={LAB}/store.toml", "-o", "storage=shared"]
    said = lab.hosts["a"].sh("ocf-tester", "-n", "t1", *parameters, "/usr/lib/ocf/resource.d/tenantd/tenant")
    print(f"{'ocf-tester':24} {said.strip().splitlines()[-1]}", flush=True)


def plan(lab):
    """Has crm take twice what `tenantd cluster plan` prints, in a copy of this cluster's configuration, and Pacemaker check it."""
    copy, options = f"{LAB}/plan.xml", "--local b=t2 --size a=4GiB,2 --size b=4GiB,2 --size c=4GiB,2"
    lab.hosts["a"].sh("sh", "-ec", f"""cibadmin --query >{copy}; export CIB_file={copy}
        sed 's/^t2 = {{/& storage = "local",/' {LAB}/store.toml >{LAB}/plan.toml
        for time in first second; do tenantd cluster plan --config {LAB}/plan.toml {options} | sh; done
        crm_verify -x {copy}""")
    text = open(copy).read()
    wanted = ['id="store.t1"', 'id="store.t2"', 'rsc="store.t2" resource-discovery="exclusive"', 'value="balanced"']
    if missing := [it for it in wanted if it not in text]:
        raise SystemExit(f"crm did not take {missing} of the plan")
    print(f"{'cluster plan':24} crm takes it, and crm_verify finds no fault", flush=True)


def moves(lab):
    relocate.all(lab, Client, Writer)


def moves_short(lab):
    relocate.short(lab, Client, Writer)


ALL = {"plan": plan, "move": move, "swap": swap, "drain": drain, "supervisor": supervisor_killed, "killed": killed, "cut": cut_off,
       "stop": stop_fails, "fence": fence_delayed, "relocate": moves, "relocate-short": moves_short}


def main():
    lab, begun = Lab(), time.monotonic()
    for host in lab.hosts.values():
        host.dead_at, host.cut, host.is_booting = 0, False, False
    lab.boot(*HOSTS)
    if "tester" in SCENARIOS:
        tester(lab)
    if not lab.is_alone:
        lab.configure()
        lab.client.start()
        lab.settle({"t1": "a", "t2": "b"})
        for writer in lab.writers.values():
            writer.start()
    print(f"three hosts and two tenants after {time.monotonic() - begun:.1f} s", flush=True)
    for scenario in filter(ALL.get, SCENARIOS):
        ALL[scenario](lab)
    if "partitions" in SCENARIOS:
        partitions.many(lab, int(SCENARIOS[SCENARIOS.index("partitions") + 1]), run)
    print(f"all after {time.monotonic() - begun:.1f} s", flush=True)
    if lab.bad:
        raise SystemExit(f"not as it must be: {', '.join(dict.fromkeys(lab.bad))}")


main()
