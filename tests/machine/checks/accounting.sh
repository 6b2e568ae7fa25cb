#!/bin/bash
# By hand: takes minutes. Known work is metered within 3 %, whatever is killed meanwhile, with all controllers.
# shellcheck disable=SC1091,SC2016,SC2317 # The path and calls by name are as in the machine; tenants expand orders.
. /in/checks/lib.sh
APP=count
METER=tenantd-meter

# The programs wait for an order in a FIFO of their datastore, and carry it out. A crash follows an order, so it is no strike.
manifest() {
    cat >/etc/tenantd/$APP.toml <<'TOML'
[app]
name = "count"
command = ["/bin/sh", "-c", "rm -f /mnt/order; mkfifo /mnt/order; while :; do read -r order </mnt/order && eval \"$order\"; done"]
user = "root"
datastore = { path = "/mnt" }
[app.restart]
delay = "200ms"
strikes = 0
[network]
subnet = "10.81.0.0/24"
[tenants]
acme = { ip = "10.81.0.11" }
bolt = { ip = "10.81.0.12", autostart = false }
TOML
    # work KIND AMOUNT: uses seconds of the processor, or writes or serves MiB, or holds MiB for a time.
    cat >/usr/local/bin/work <<'PYTHON'
import os, socket, sys, time
kind, amount = sys.argv[1], int(sys.argv[2])
MIB = bytes(1 << 20)
if kind == "cpu":
    while time.process_time() < amount:
        pass
elif kind == "write":
    # The kernel charges what is written to a file to the cgroup that has its inode. After a crash of the supervisor that is
    # the unit's, until some seconds of writing show the kernel who writes, see decision 0074.
    if os.path.exists("/mnt/written"):
        os.unlink("/mnt/written")
    with open("/mnt/written", "wb") as file:
        for _ in range(amount):
            file.write(os.urandom(1 << 20))
        file.flush()
        os.fsync(file.fileno())
elif kind == "serve":
    server = socket.create_server(("0.0.0.0", 80))
    open("/mnt/serves", "w").close()
    client, _ = server.accept()
    for _ in range(amount):
        client.sendall(MIB)
elif kind == "hold":
    held = bytearray(os.urandom(1 << 20) * amount)
    time.sleep(int(sys.argv[3]))
with open("/mnt/done.new", "w") as file:
    file.write(str(int(time.process_time() * 1e6)))
os.rename("/mnt/done.new", "/mnt/done")
PYTHON
    mkdir -p /etc/systemd/system/$METER.service.d
    # Memory is averaged over two readings: with the default of 10 s, a minute's end would be 8 % off.
    printf '[Service]\nExecStart=\nExecStart=/usr/bin/tenantd meter --interval 1s\n' >/etc/systemd/system/$METER.service.d/often.conf
    systemctl daemon-reload
}

# work TENANT KIND AMOUNT...: gives the order.
work() {
    local store=/var/lib/tenantd/$APP/$1
    wait_for test -p "$store/order"
    rm -f "$store/done" "$store/serves"
    echo "python3 /usr/local/bin/work ${*:2}" >"$store/order"
}

# done_by TENANT: waits for the end of its work, and adds up the time of the processor that it took.
done_by() {
    wait_for test -e "/var/lib/tenantd/$APP/$1/done"
    echo $(($(cpu "$1") + $(cat "/var/lib/tenantd/$APP/$1/done"))) >/var/tmp/cpu."$1"
}

# cpu TENANT: the µs that all its work took.
cpu() { cat /var/tmp/cpu."$1" 2>/dev/null || echo 0; }

worked() {
    work "$@"
    done_by "$1"
}

# received TENANT ADDRESS MIB: receives what it serves.
received() {
    work "$1" serve "$3"
    wait_for test -e "/var/lib/tenantd/$APP/$1/serves"
    python3 -c '
import socket, sys
stream = socket.create_connection((sys.argv[1], 80))
got = 0
while data := stream.recv(1 << 20):
    got += len(data)
assert got == int(sys.argv[2]) << 20, got' "$2" "$3"
    done_by "$1"
}

# metered TENANT NAME: what the meter says of this month.
metered() {
    tenantd usage --app $APP "$1" --by month --json | jq "[.. | objects | select(.tenant? == \"$1\") | .$2 // 0] | add // 0"
}

# near WANTED FOUND: within 3 %.
near() {
    awk -v wanted="$1" -v found="$2" 'BEGIN { exit !(found > wanted * 0.97 && found < wanted * 1.03) }'
}

# metered_near TENANT NAME WANTED: waits for the round that counts it; an amount that is too large does not pass away.
metered_near() {
    near_now() { near "$3" "$(metered "$1" "$2")"; }
    wait_for near_now "$@" || fail "$1 $2: wanted $3, found $(metered "$1" "$2")"
    saw "$1 $2: $(metered "$1" "$2") of $3"
}

killed() {
    local before
    before=$(pid_of $APP acme)
    kill -KILL "$(main_pid $APP)"
    kill -KILL "$(systemctl show -p MainPID --value $METER)"
    kill -KILL "$before"
    again() { now=$(pid_of "$APP" acme) && [ "$now" != "$before" ] && [ "$now" != null ]; }
    wait_for again
    wait_for systemctl -q is-active $METER
}

while_all_are_killed() {
    manifest
    systemctl start $METER tenantd@$APP
    wait_for up_acme
    worked acme cpu 20
    received acme 10.81.0.11 50
    worked acme write 25
    killed
    worked acme cpu 20
    received acme 10.81.0.11 50
    killed
    worked acme write 25
    metered_near acme cpu_usec "$(cpu acme)"
    metered_near acme out_bytes $((100 << 20))
    metered_near acme io_written $((50 << 20))
}

up_acme() { [ "$(tenantd status --app $APP --json acme | jq -r '.tenants[0].state')" = up ]; }

while_no_meter_runs() {
    systemctl stop $METER
    local began=$SECONDS
    tenantd start --app $APP bolt
    worked bolt cpu 20
    received bolt 10.81.0.12 50
    worked bolt write 25
    tenantd stop --app $APP bolt
    wait_for eval "[ $((SECONDS - began)) -ge 0 ] && [ \$SECONDS -ge $((began + 30)) ]"
    systemctl start $METER
    metered_near bolt cpu_usec "$(cpu bolt)"
    metered_near bolt out_bytes $((50 << 20))
    metered_near bolt io_written $((25 << 20))
}

# What the kernel says of the memory each quarter of a second, summed up.
memory_for_a_minute() {
    export PATIENCE=100
    local leaf before wanted
    leaf=/sys/fs/cgroup$(systemctl show -p ControlGroup --value tenantd@$APP)/tenants/acme
    before=$(metered acme memory_byte_seconds)
    python3 -c '
import sys, time, os
total, last, done = 0, time.monotonic(), sys.argv[2]
while not os.path.exists(done):
    time.sleep(0.25)
    now = time.monotonic()
    total += int(open(sys.argv[1]).read()) * (now - last)
    last = now
print(int(total))' "$leaf/memory.current" "/var/lib/tenantd/$APP/acme/done" >/run/held &
    work acme hold 64 60
    # The supervisor is not killed: the memory of tenants is charged to the unit from then on, see decision 0074.
    wait_for eval "[ \$(cat $leaf/memory.current) -gt 67108864 ]"
    kill -KILL "$(systemctl show -p MainPID --value $METER)"
    wait $!
    done_by acme
    wanted=$(cat /run/held)
    [ "$wanted" -gt $((64 * 60 << 20)) ]
    # Until the round that has the end.
    wait_for eval "[ \$(metered acme memory_byte_seconds) -gt $before ]"
    near_now() { near "$wanted" $(($(metered acme memory_byte_seconds) - before)); }
    wait_for near_now || fail "wanted $wanted, found $(($(metered acme memory_byte_seconds) - before))"
    saw "byte_seconds: $(($(metered acme memory_byte_seconds) - before)) of $wanted"
}

ready_for_the_reboot() {
    systemctl -q enable $METER tenantd@$APP
    for name in out_bytes io_written; do metered acme $name >/var/tmp/before.$name; done
    worked acme cpu 20
    received acme 10.81.0.11 20
    worked acme write 20
}

after_the_reboot() {
    wait_for up_acme
    wait_for systemctl -q is-active $METER
    more() { echo $(($(cat /var/tmp/before."$1") + $2)); }
    metered_near acme cpu_usec "$(cpu acme)"
    metered_near acme out_bytes "$(more out_bytes $((20 << 20)))"
    metered_near acme io_written "$(more io_written $((20 << 20)))"
    worked acme cpu 20
    metered_near acme cpu_usec "$(cpu acme)"
    tenantd usage --app $APP --by month
    saw "$(tenantd usage --app $APP --by month | tail -n +2 | tr '\n' ';')"
}

case $VM_BOOT in
1)
    install_package
    check "known work is metered, though tenant, supervisor and meter are killed" while_all_are_killed
    check "work of a tenant that comes and goes while no meter runs is metered" while_no_meter_runs
    check "memory for a minute is metered" memory_for_a_minute
    check "work before a reboot" ready_for_the_reboot
    systemctl reboot
    ;;
*)
    check "a reboot loses nothing and counts nothing twice" after_the_reboot
    done_here
    ;;
esac
