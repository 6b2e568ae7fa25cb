#!/bin/bash
# The unit: notifications to systemd, what systemd does when the supervisor hangs or cannot start,
# delegation and limits.
# shellcheck disable=SC1091,SC2317 # Both as they are in the machine: the path, and calls by name.
. /in/checks/lib.sh
UNIT=tenantd@shop

verified() {
    systemd-analyze verify tenantd@shop.service 2>&1 | tee /run/verify
    same "" "$(cat /run/verify)"
}

# The unit's comments name everything that systemd-analyze reports as exposed, with the reason; this
# check compares them. No restriction affects what tenants need.
sandbox_is_as_written() {
    systemd-analyze security --no-pager $UNIT | tee /run/security
    grep '^ *#' /usr/lib/systemd/system/tenantd@.service >/run/comments
    opens=$(awk '$1 == "✗" {print $2}' /run/security | sed 's/=.*//' | sort -u)
    [ "$(wc -l <<<"$opens")" -ge 25 ]
    for open in $opens; do
        holds "$(cat /run/comments)" "\b$open\b"
    done
    same no "$(systemctl show -p NoNewPrivileges --value $UNIT)"
    saw "$(wc -l <<<"$opens") settings are open; $(tail -n 1 /run/security)"
}

ready_with_a_text() {
    redis_manifest shop 10.77.0
    same notify "$(systemctl show -p Type --value $UNIT)"
    systemctl start $UNIT
    wait_for up shop
    text() { systemctl show -p StatusText --value "$UNIT" | grep -x "3 tenants: 3 up"; }
    wait_for text
    tenantd stop acme
    text() { systemctl show -p StatusText --value "$UNIT" | grep -x "3 tenants: 1 down, 2 up"; }
    wait_for text
    saw "$(systemctl show -p StatusText $UNIT)"
    tenantd start acme
}

delegated() {
    same yes "$(systemctl show -p Delegate --value $UNIT)"
    same cgroup "$(tenantd status --json | jq -r .tracking)"
    for tenant in acme bolt cato; do
        cgroup=$(sed -n 's/^0:://p' "/proc/$(pid_of shop $tenant)/cgroup")
        holds "$cgroup" "^$(systemctl show -p ControlGroup --value $UNIT)/.*/$tenant/program$"
    done
    saw "$cgroup"
    cgroup=$(sed -n 's/^0:://p' "/proc/$(main_pid shop)/cgroup")
    holds "$cgroup" "^$(systemctl show -p ControlGroup --value $UNIT)/."
    systemd-cgls --no-pager -u $UNIT.service
}

# Checked with a program that sets no limits itself, as redis does.
limits() {
    printf '[app]\nname = "idle"\ncommand = ["/bin/sleep", "infinity"]\nuser = "root"\ndatastore = { path = "/mnt" }\n' >/etc/tenantd/idle.toml
    printf '[network]\nsubnet = "10.79.0.0/24"\n[tenants]\nacme = { ip = "10.79.0.11" }\n' >>/etc/tenantd/idle.toml
    systemctl start tenantd@idle
    wait_for up idle
    grep "Max open files" "/proc/$(pid_of idle acme)/limits" "/proc/$(main_pid idle)/limits"
    same "1024 524288" "$(awk '/Max open files/ {print $4, $5}' "/proc/$(pid_of idle acme)/limits")"
    same "524288 524288" "$(awk '/Max open files/ {print $4, $5}' "/proc/$(main_pid idle)/limits")"
    same 0 "$(cat "/proc/$(pid_of idle acme)/oom_score_adj")"
    systemctl stop tenantd@idle
    same infinity "$(systemctl show -p TasksMax --value $UNIT)"
    same continue "$(systemctl show -p OOMPolicy --value $UNIT)"
}

# The OOM killer kills a tenant: it is restarted, and the unit continues.
memory_runs_out() {
    before=$(pid_of shop acme)
    other=$(pid_of shop bolt)
    echo 1000 >"/proc/$before/oom_score_adj"
    # Makes the kernel choose now: the process with the highest score.
    echo f >/proc/sysrq-trigger
    again() { [ "$(pid_of shop acme)" != "$before" ] && up shop; }
    wait_for again
    same "$other" "$(pid_of shop bolt)"
    same active "$(systemctl is-active $UNIT)"
    journalctl -q -k -o cat | grep -i "killed process" | tail -n 1
}

watchdog_restarts() {
    mkdir -p /run/systemd/system/tenantd@.service.d
    printf '[Service]\nWatchdogSec=6s\n' >/run/systemd/system/tenantd@.service.d/short.conf
    systemctl daemon-reload
    systemctl restart $UNIT
    wait_for up shop
    same "OK" "$(redis 10.77.0.11 set before hang)"
    hung=$(main_pid shop)
    programs=$(pgrep redis-server)
    kill -STOP "$hung"
    again() { [ "$(main_pid shop)" != "$hung" ] && [ "$(main_pid shop)" != 0 ] && up shop; }
    wait_for again
    same "$programs" "$(pgrep redis-server)"
    holds "$(journalctl -q -o cat -u $UNIT)" "Watchdog timeout"
    same 1 "$(systemctl show -p NRestarts --value $UNIT)"
    same hang "$(redis 10.77.0.11 get before)"
    saw "$(journalctl -q -o cat -u $UNIT | grep 'Watchdog timeout')"
    # Idle for longer than the limit, and still running.
    pid=$(main_pid shop)
    sleep 8
    same "$pid" "$(main_pid shop)"
    rm -r /run/systemd/system/tenantd@.service.d
    systemctl daemon-reload
    systemctl stop $UNIT
    nothing_left shop
}

bad_manifest_is_not_retried() {
    redis_manifest broken 10.78.0
    sed -i 's/^user = .*/user = "nobody-at-all"\ncolour = "red"/; s/10\.78\.0\.12/10.78.0.11/' /etc/tenantd/broken.toml
    not systemctl start tenantd@broken
    same 78 "$(systemctl show -p ExecMainStatus --value tenantd@broken)"
    same failed "$(systemctl is-active tenantd@broken || true)"
    wait_for eval 'journalctl -q -o cat -u tenantd@broken | grep -q colour'
    journalctl -q -o cat -u tenantd@broken
    problems=$(journalctl -q -o cat -u tenantd@broken)
    for problem in "user .nobody-at-all. does not exist" "unknown key .colour" "two tenants have the address" "broken\.toml:5:1"; do
        holds "$problems" "$problem"
    done
    sleep 3 # RestartSec is one second
    same 0 "$(systemctl show -p NRestarts --value tenantd@broken)"
    same failed "$(systemctl is-active tenantd@broken || true)"
    # A missing manifest has the same result.
    not systemctl start tenantd@missing
    same 78 "$(systemctl show -p ExecMainStatus --value tenantd@missing)"
    nothing_left broken
}

# A tenant that waits for its next launch has no process that keeps its network namespace alive.
store_keeps_what_nobody_holds() {
    cat >/etc/tenantd/frail.toml <<'TOML'
[app]
name = "frail"
command = ["/bin/sh", "-c", "[ {tenant} = late ] || exit 1; trap 'echo last words; exit 3' TERM; while :; do sleep 0.1; done"]
user = "root"
datastore = { path = "/mnt" }
[app.restart]
delay = "10m"
delay_max = "10m"
strikes = 0
[network]
subnet = "10.81.0.0/24"
[tenants]
acme = { ip = "10.81.0.11" }
late = { ip = "10.81.0.12" }
TOML
    state() { tenantd status --app frail --json | jq -r '[.tenants[].state] | join(" ")'; }
    # Inode of a namespace, index of its link.
    stands() {
        stat -L -c %i /run/netns/frail-acme /run/netns/frail-late
        ip -o link | grep -E '^[0-9]+: td' | cut -d: -f1
    }
    waits() { same "waiting up" "$(state)"; }
    systemctl start tenantd@frail
    wait_for waits
    same 1 "$(systemctl show -P NFileDescriptorStore tenantd@frail)"
    stands >/run/stands
    test -s /run/stands
    for how in killed restarted; do
        before=$(main_pid frail)
        last=$(pid_of frail late)
        case $how in
        killed) kill -9 "$before" ;;
        restarted) systemctl restart tenantd@frail ;;
        esac
        again() { [ "$(main_pid frail)" != "$before" ] && [ "$(main_pid frail)" != 0 ] && waits; }
        wait_for again
        same "$(cat /run/stands)" "$(stands)"
        same "$last" "$(pid_of frail late)"
        same 1 "$(systemctl show -P NFileDescriptorStore tenantd@frail)"
    done
    # It ends while no supervisor runs; the next one reads its last output.
    kill -9 "$(main_pid frail)"
    kill "$last"
    words() { journalctl -q -o cat TENANTD_APP=frail TENANTD_TENANT=late | grep -x "last words"; }
    wait_for words
    # A release removes everything.
    wait_for eval 'tenantd status --app frail --json >/dev/null; true'
    tenantd stop --app frail --all
    systemctl stop tenantd@frail
    same 0 "$(systemctl show -P NFileDescriptorStore tenantd@frail)"
    nothing_left frail
}

# The supervisor is replaced and the tenants continue: the same processes, and no request of a client fails.
restart_leaves_tenants_serving() {
    systemctl start $UNIT
    wait_for up shop
    before=$(main_pid shop)
    programs=$(pgrep redis-server)
    (
        until [ -e /run/enough ]; do
            redis 10.77.0.11 ping || echo "no answer"
        done
    ) >/run/answers 2>&1 &
    systemctl restart $UNIT
    wait_for up shop
    touch /run/enough
    wait $!
    same PONG "$(sort -u /run/answers)"
    saw "$(wc -l </run/answers) requests were answered over a restart"
    not same "$before" "$(main_pid shop)"
    same "$programs" "$(pgrep redis-server)"
    # A reload of the unit executes the program on disk in the same process.
    pid=$(main_pid shop)
    cp /usr/bin/tenantd /usr/bin/tenantd.new
    mv /usr/bin/tenantd.new /usr/bin/tenantd
    not test "/proc/$pid/exe" -ef /usr/bin/tenantd
    systemctl reload $UNIT
    test "/proc/$pid/exe" -ef /usr/bin/tenantd
    same "$pid active" "$(main_pid shop) $(systemctl is-active $UNIT)"
    same "$programs" "$(pgrep redis-server)"
    # A program that fails its preflight is refused.
    echo "colour = " >>/etc/tenantd/shop.toml
    not systemctl reload $UNIT
    same "$pid active" "$(main_pid shop) $(systemctl is-active $UNIT)"
    sed -i '$d' /etc/tenantd/shop.toml
    # With a mistake in the manifest the next supervisor cannot start; the tenants continue.
    echo "colour = " >>/etc/tenantd/shop.toml
    not systemctl restart $UNIT
    same "$programs" "$(pgrep redis-server)"
    sed -i '$d' /etc/tenantd/shop.toml
    systemctl reset-failed $UNIT
    systemctl start $UNIT
    wait_for up shop
    same "$programs" "$(pgrep redis-server)"
    systemctl stop $UNIT
    same success "$(systemctl show -p Result --value $UNIT)"
    nothing_left shop
}

a_crash_of_the_supervisor_is_repaired() {
    systemctl start $UNIT
    wait_for up shop
    before=$(main_pid shop)
    programs=$(pgrep redis-server)
    kill -9 "$before"
    again() { [ "$(main_pid shop)" != "$before" ] && [ "$(main_pid shop)" != 0 ] && up shop; }
    wait_for again
    # The same processes: they were not interrupted.
    same "$programs" "$(pgrep redis-server)"
    same hang "$(redis 10.77.0.11 get before)"
    systemctl stop $UNIT
    nothing_left shop
}

install_package
check "systemd-analyze verify reports nothing" verified
check "the sandbox is as its comments say" sandbox_is_as_written
check "Type=notify: ready, with a text of how many are up" ready_with_a_text
check "each tenant has a leaf below the unit's cgroup" delegated
check "limits: descriptors, tasks, memory" limits
check "out of memory: the tenant is restarted, the others continue" memory_runs_out
check "the watchdog restarts a supervisor that hangs" watchdog_restarts
check "a killed supervisor is restarted, and its tenants are not interrupted" a_crash_of_the_supervisor_is_repaired
check "the store keeps a namespace without processes, and the last output" store_keeps_what_nobody_holds
check "systemctl restart leaves tenants serving, systemctl stop leaves nothing" restart_leaves_tenants_serving
check "a bad manifest fails with 78, says why and is not retried" bad_manifest_is_not_retried
done_here
