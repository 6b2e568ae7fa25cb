#!/bin/bash
# By hand: takes minutes. What a tenant notices of neighbours that use all they can get, with limits and all controllers.
# shellcheck disable=SC1091,SC2016,SC2317 # The path and calls by name are as in the machine; tenants expand orders.
. /in/checks/lib.sh
APP=yard
UNIT=tenantd@$APP

# One program for all: what it does follows from the tenant's name.
manifest() {
    local disk
    disk=$(findmnt -no SOURCE -T /var/lib)
    cat >/usr/local/bin/behave <<'SHELL'
#!/bin/sh
case $1 in
good) exec redis-server --bind 0.0.0.0 --protected-mode no --dir /mnt --save "" ;;
hoarder) exec python3 -c 'held = []
while True: held.append(bytearray(b"x" * (1 << 20)))' ;;
forker) bomb() { bomb | bomb & }; while :; do bomb; sleep 1; done ;;
burner) for _ in 1 2 3 4 5 6 7 8; do while :; do :; done & done; wait ;;
writer) while :; do dd if=/dev/zero of=/mnt/file bs=1M count=200 conv=fsync 2>/dev/null; done ;;
talker) exec yes "a line that somebody has to read and to keep, again and again and again" ;;
esac
SHELL
    chmod 755 /usr/local/bin/behave
    cat >/etc/tenantd/$APP.toml <<TOML
[app]
name = "$APP"
command = ["/usr/local/bin/behave", "{tenant}"]
user = "root"
datastore = { path = "/mnt" }
# Less than the emulated machine can write.
log_rate = "64 KiB"
[app.restart]
delay = "1s"
strikes = 0
[network]
subnet = "10.82.0.0/24"
[defaults.limits]
memory.max = "64 MiB"
memory.swap = 0
pids.max = 50
cpu.quota = "15 %"
cpu.weight = 50
io.max = { "$disk" = { wbps = "5 MiB" } }
[tenants]
good = { ip = "10.82.0.11", limits = { cpu.quota = "100 %", cpu.weight = 1000 } }
hoarder = { ip = "10.82.0.12", autostart = false }
forker = { ip = "10.82.0.13", autostart = false }
burner = { ip = "10.82.0.14", autostart = false }
writer = { ip = "10.82.0.15", autostart = false }
talker = { ip = "10.82.0.16", autostart = false }
TOML
    # 100 requests a second for some seconds; prints the 99th percentile, in µs.
    cat >/usr/local/bin/ask <<'PYTHON'
import socket, sys, time
stream = socket.create_connection(("10.82.0.11", 6379))
stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
took, due = [], time.monotonic()
for n in range(100 * int(sys.argv[1])):
    due += 0.01
    time.sleep(max(0, due - time.monotonic()))
    began = time.monotonic()
    stream.sendall(b"INCR asked\r\n")
    answer = stream.recv(100)
    assert answer.startswith(b":"), answer
    took.append(time.monotonic() - began)
took.sort()
print(int(took[len(took) * 99 // 100] * 1e6), int(took[len(took) // 2] * 1e6))
PYTHON
}

leaf() {
    echo "/sys/fs/cgroup$(systemctl show -p ControlGroup --value $UNIT)/tenants/$1"
}

OFFENDERS="hoarder forker burner writer talker"
ROUNDS=5

# The client stands for another machine: it waits for no processor of this one. Prints p99 and p50 in µs.
client() {
    chrt -f 1 python3 /usr/local/bin/ask "$1"
}

serves() {
    manifest
    tenantd check --config /etc/tenantd/$APP.toml
    systemctl start $UNIT
    wait_for redis 10.82.0.11 ping
    same 1000 "$(cat /sys/fs/cgroup/system.slice/system-tenantd.slice/cpu.weight)"
    client 5
}

at_work() {
    # shellcheck disable=SC2086 # Several words.
    tenantd start --app $APP --no-wait $OFFENDERS
    wait_for eval "grep -q '^oom_kill [1-9]' $(leaf hoarder)/memory.events || journalctl -q -o cat -u $UNIT | grep -q 'hoarder: the OOM killer'"
    wait_for eval "grep -q '^max [1-9]' $(leaf forker)/pids.events"
}

# median FILE COLUMN
median() {
    cut -d ' ' -f "$2" "$1" | sort -n | sed -n "$(((ROUNDS + 1) / 2))p"
}

# The machine is as fast as its own host lets it be: quiet and busy rounds in turn.
rounds() {
    local round
    for round in $(seq $ROUNDS); do
        client 10 >>/run/quiet
        at_work
        client 10 >>/run/busy
        # Those of the last round are looked at.
        # shellcheck disable=SC2086 # Several words.
        [ "$round" = $ROUNDS ] || tenantd stop --app $APP $OFFENDERS
    done
    saw "quiet: $(median /run/quiet 1) µs, p50 $(median /run/quiet 2) µs; rounds: $(cut -d ' ' -f 1 /run/quiet | xargs)"
    saw "beside five offenders: $(median /run/busy 1) µs, p50 $(median /run/busy 2) µs; rounds: $(cut -d ' ' -f 1 /run/busy | xargs)"
    [ "$(median /run/busy 1)" -lt "$(($(median /run/quiet 1) * 3 / 2))" ]
}

# reason TENANT PATTERN: `status` shows why.
reason() {
    tenantd status --app $APP "$1" >/run/said 2>&1 || true
    cat /run/said
    holds "$(cat /run/said)" "$2"
}

reasons_are_shown() {
    reason hoarder "OOM|memory.max is 64 MiB"
    reason forker "pids.max"
    reason burner "cpu.quota 15 %, .*throttled [0-9]+ times"
    reason writer "io.max|throttled"
    reason talker "its program waited [0-9]+ times until its output was read: log_rate is 64 KiB a second"
    same 0 "$(tenantd status --app $APP --json good | jq '.tenants[0].restarts')"
}

ended() {
    time tenantd stop --app $APP --all
    systemctl stop $UNIT
}

install_package
check "a tenant serves its client" serves
check "its 99th percentile stays within 1.5 times of the quiet one beside neighbours that use all they can get" rounds
check "the limit that each of them meets is shown" reasons_are_shown
check "all of them end" ended
done_here
