"""Injected partitions, one after the other, from a seed: a host of a tenant, or any, is cut off by a random way for a random
time, which lies around the token of corosync. After each one the cluster must come to rest by itself: hosts that
were fenced are started again, and each tenant answers. Then no two copies may have run, and no acknowledged write be lost.
"""
import os, random, time

# How long a cluster of three hosts may take to come to rest, in seconds.
LIMIT = 180
# How often the writes are compared: reading them takes longer the more there are.
COMPARED = 10


def down(sh, host):
    sh("ip", "link", "set", f"p-{host.name}", "down")


def up(sh, host):
    sh("ip", "link", "set", f"p-{host.name}", "up", check=False)


# Both drop what comes in: at the host's own link, or at the end of it that the others have.
RULES = "table netdev lab { chain lab { type filter hook ingress device %s priority -500; policy drop; }; }"


def deafen(_, host):
    host.sh("nft", RULES % "eth0")


def hear(_, host):
    host.sh("nft", "delete table netdev lab", check=False)


def mute(sh, host):
    sh("nft", RULES % f"p-{host.name}")


def speak(sh, _):
    sh("nft", "delete table netdev lab", check=False)


WAYS = {"is cut off": (down, up), "hears nothing": (deafen, hear), "is not heard": (mute, speak)}


def rest(lab):
    """Starts hosts that were fenced, until all are in the cluster and each tenant answers for a second."""
    end, calm = time.monotonic() + LIMIT, None
    while calm is None or time.monotonic() - calm < 1:
        if time.monotonic() > end:
            raise SystemExit(f"the cluster is not at rest after {LIMIT} s:\n{lab.crm('crm_mon', '-1', '-r', check=False)}")
        # The agent must have seen that the host is dead, unless Pacemaker has ended it: else it waits for its limit of 60 s.
        seen = lambda name: not os.path.exists(f"{lab.fence.dir}/{name}.wanted")
        dead = [name for name, host in lab.hosts.items()
                if host.dead_at is not None and (seen(name) or lab.now() - host.dead_at > 5 * 10**9)]
        for name in dead:
            lab.hosts[name].is_booting = True
            lab.fence.reset(name)
            lab.hosts[name].boot()
        now = time.monotonic()
        answers = all(times and now - times[-1] < 0.2 for times in lab.client.answers.values())
        asked = any(name.endswith(".wanted") for name in os.listdir(lab.fence.dir))
        if dead or asked or not answers or "Online: [ a b c ]" not in lab.crm("crm_mon", "-1", check=False):
            calm = None
            # What failed while its host was alone is tried again, as an operator would.
            for name in lab.client.answers:
                if not answers and now > end - LIMIT / 2:
                    lab.crm("crm_resource", "-r", name, "--cleanup", check=False)
            time.sleep(0.2)
        elif calm is None:
            calm = now


def partition(lab, dice, sh):
    """Injects one, and says what."""
    name = dice.choice([lab.where("t1"), lab.where("t2"), *lab.hosts]) or "a"
    way = dice.choice(list(WAYS))
    names = list(lab.hosts) if way == "is cut off" and dice.random() < 0.1 else [name]
    # Around the token, or for as long as it takes until the host is fenced.
    lasts = dice.choice([dice.uniform(0.5, 3), dice.uniform(3, 6), dice.uniform(6, 12), None])
    if len(names) > 1:
        lasts = lasts or 8
    cut, heal = WAYS[way]
    hosts = [lab.hosts[it] for it in names]
    for host in hosts:
        cut(sh, host)
        host.cut = True
    begun = time.monotonic()
    while time.monotonic() - begun < (lasts or 30):
        if all(host.dead_at is not None for host in hosts):
            break
        time.sleep(0.02)
    for host in hosts:
        heal(sh, host)
        host.cut = False
    fenced = sum(host.dead_at is not None for host in lab.hosts.values())
    lasted = time.monotonic() - begun
    return f"{' '.join(names)} {way} for {lasted:.1f} s, {fenced} fenced"


def many(lab, rounds, sh):
    seed = int(os.environ.get("LAB_SEED", "1"))
    dice, passed, aways = random.Random(seed), 0, []
    for number in range(1, rounds + 1):
        rest(lab)
        for times in lab.client.answers.values():
            del times[:-1000]
        since = time.monotonic()
        what = partition(lab, dice, sh)
        rest(lab)
        away = max(lab.client.away(name, since)[0] for name in lab.client.answers)
        aways.append(away)
        doubles = lab.doubles()
        lost = 0
        if number % COMPARED == 0 or number == rounds:
            _, lost, _ = lab.proof()
        print(f"partition {number}: {what}, away {away} ms, {doubles} doubles, {lost} lost", flush=True)
        if doubles or lost:
            raise SystemExit(f"seed {seed}: not as it must be after partition {number}")
        passed += 1
    aways.sort()
    acknowledged = sum(len(it.acknowledged) for it in lab.writers.values())
    print(f"{passed} partitions of seed {seed} passed: longest away {aways[-1]} ms, half at most {aways[len(aways) // 2]} ms, "
          f"none of {acknowledged} writes lost", flush=True)
