#!/bin/bash
# Limits of cgroups, with all controllers, under the unit.
# shellcheck disable=SC1091,SC2016,SC2317 # The path and calls by name are as in the machine; tenants expand orders.
. /in/checks/lib.sh
APP=bounds
UNIT=tenantd@$APP

# The programs wait for an order in a FIFO of their datastore, and carry it out.
manifest() {
    cat >/etc/tenantd/$APP.toml <<'TOML'
[app]
name = "bounds"
command = ["/bin/sh", "-c", "rm -f /mnt/order; mkfifo /mnt/order; while :; do read -r order </mnt/order && eval \"$order\"; done"]
user = "root"
datastore = { path = "/mnt" }
# Less than the emulated machine can write.
log_rate = "64 KiB"
[app.restart]
delay = "200ms"
strikes = 0
[app.total]
memory.max = "1 GiB"
[network]
subnet = "10.80.0.0/24"
[defaults.limits]
pids.max = 40
[tenants]
# A comment that stays.
acme = { ip = "10.80.0.11", limits = { memory.max = "64 MiB", memory.swap = 0, cpu.quota = "20 %", io.weight = 50 } }
bolt = { ip = "10.80.0.12" }
TOML
}

# order TENANT COMMAND
order() {
    wait_for given "/var/lib/tenantd/$APP/$1/order" "$2"
}

# A program that was just started again replaces the FIFO: nobody ever reads the one before.
given() {
    # shellcheck disable=SC2016 # The inner shell expands it.
    [ -p "$1" ] && timeout 5 sh -c 'echo "$2" >"$1"' sh "$1" "$2"
}

leaf() {
    echo "/sys/fs/cgroup$(systemctl show -p ControlGroup --value $UNIT)/tenants/$1"
}

set_before_the_program() {
    manifest
    systemctl start $UNIT
    wait_for up $APP
    same 67108864 "$(cat "$(leaf acme)/memory.max")"
    same 0 "$(cat "$(leaf acme)/memory.swap.max")"
    same "20000 100000" "$(cat "$(leaf acme)/cpu.max")"
    same 40 "$(cat "$(leaf acme)/pids.max")"
    same 40 "$(cat "$(leaf bolt)/pids.max")"
    same max "$(cat "$(leaf bolt)/memory.max")"
    same 1073741824 "$(cat "$(leaf acme)/../memory.max")"
    [ ! -e "$(leaf acme)/program/memory.max" ]
    tenantd check --config /etc/tenantd/$APP.toml | tee /run/said
    not grep -q "lacks the controller" /run/said
}

changed_live() {
    before=$(pid_of $APP acme)
    sed -i 's/"64 MiB"/"96 MiB"/; s/pids.max = 40/pids.max = 30/' /etc/tenantd/$APP.toml
    tenantd diff --app $APP | tee /run/said || true
    holds "$(cat /run/said)" "^live acme"
    tenantd reload --app $APP
    same 100663296 "$(cat "$(leaf acme)/memory.max")"
    same 30 "$(cat "$(leaf bolt)/pids.max")"
    same "$before" "$(pid_of $APP acme)"
}

set_by_a_command() {
    before=$(pid_of $APP acme)
    tenantd set --app $APP acme memory.max=100MiB cpu.quota="30 %" --permanent
    same 104857600 "$(cat "$(leaf acme)/memory.max")"
    same "30000 100000" "$(cat "$(leaf acme)/cpu.max")"
    grep -q "A comment that stays" /etc/tenantd/$APP.toml
    not tenantd set --app $APP acme memory.max=lots --permanent
    tenantd set --app $APP acme "memory.max=96 MiB" cpu.quota="20 %" --permanent
    same 100663296 "$(cat "$(leaf acme)/memory.max")"
    same "$before" "$(pid_of $APP acme)"
}

# Until it is taken back or the manifest changes it. Below what the tenant uses it is refused: nothing is killed.
set_by_hand() {
    before=$(pid_of $APP acme)
    tenantd set --app $APP acme memory.max=128MiB cpu.quota="40 %" | tee /run/said
    holds "$(cat /run/said)" "^  memory.max 128 MiB; the manifest has 96 MiB$"
    same 134217728 "$(cat "$(leaf acme)/memory.max")"
    same "40000 100000" "$(cat "$(leaf acme)/cpu.max")"
    holds "$(tenantd status --app $APP acme)" "BY HAND cpu.quota 40 %; the manifest has 20 %"
    holds "$(tenantd diff --app $APP)" "^by hand acme: memory.max 128 MiB; the manifest has 96 MiB$"
    holds "$(tenantd verify --app $APP)" "all is as planned"
    systemctl restart $UNIT
    wait_for up $APP
    wait_for eval "[ \$(cat $(leaf acme)/memory.max) = 134217728 ]"
    order acme 'x=$(head -c 25165824 /dev/zero | tr "\\0" x)'
    wait_for eval "[ \$(cat $(leaf acme)/memory.current) -gt 25165824 ]"
    not tenantd set --app $APP acme cpu.quota="50 %" memory.max=1MiB | tee /run/said
    holds "$(cat /run/said)" "memory.max: it uses .* after the kernel took .* the OOM killer would end its processes"
    same "40000 100000" "$(cat "$(leaf acme)/cpu.max")"
    tenantd set --app $APP acme --reset
    same 100663296 "$(cat "$(leaf acme)/memory.max")"
    same "20000 100000" "$(cat "$(leaf acme)/cpu.max")"
    same "$before" "$(pid_of $APP acme)"
    saw "$(cat /run/said)"
}

# A limit outlives the supervisor, and what another program writes does not.
kept_by_the_next_supervisor() {
    before=$(pid_of $APP acme)
    echo max >"$(leaf acme)/memory.max"
    systemctl restart $UNIT
    wait_for up $APP
    wait_for eval "[ \$(cat $(leaf acme)/memory.max) = 100663296 ]"
    same "$before" "$(pid_of $APP acme)"
}

# systemd cannot put a process into a cgroup that has controllers enabled for those below it.
killed_and_started_again() {
    before=$(pid_of $APP acme)
    hung=$(main_pid $APP)
    kill -KILL "$hung"
    again() { [ "$(main_pid "$APP")" != "$hung" ] && [ "$(main_pid "$APP")" != 0 ] && up "$APP"; }
    wait_for again
    wait_for eval "[ \$(cat $(leaf acme)/memory.max) = 100663296 ]"
    wait_for eval "[ \$(cat $(leaf acme)/../memory.max) = 1073741824 ]"
    same "$before" "$(pid_of $APP acme)"
    not grep -q 219/CGROUP <<<"$(journalctl -q -o cat -u $UNIT)"
}

no_more_processes() {
    other=$(pid_of $APP acme)
    order bolt 'i=0; while [ $i -lt 60 ]; do sleep 1000 & i=$((i+1)); done; :'
    wait_for eval "grep -q '^max [1-9]' $(leaf bolt)/pids.events"
    [ "$(cat "$(leaf bolt)/pids.current")" -le 30 ]
    same "$other" "$(pid_of $APP acme)"
    # Its shell may have ended when it could not fork: then `status` counts from the next launch on.
    wait_for eval "journalctl -q -o cat -u $UNIT | grep -q 'bolt: a new process or thread was refused .*: pids.max is 30'"
    holds "$(tenantd status --app $APP bolt)" "PIDS [0-9]+; pids.max 30"
}

throttled() {
    order acme 'timeout 5 sh -c "while :; do :; done"'
    wait_for eval "awk '/nr_throttled/ && \$2 > 5 {found = 1} END {exit !found}' $(leaf acme)/cpu.stat"
    tenantd status --app $APP acme | tee /run/said
    holds "$(cat /run/said)" "CPU [0-9.]+ s used; cpu.quota 20 %; throttled [0-9]+ times"
    holds "$(cat /run/said)" "MEMORY [0-9.]+ (KiB|MiB), at most .*; memory.max 96 MiB, memory.swap 0"
    saw "$(grep throttled "$(leaf acme)/cpu.stat" | tr '\n' ' ')"
}

# Without a notification that came in time, the reason is there all the same.
ended_by_the_oom_killer() {
    # With a fifth of a processor the shell would take minutes to fill its memory.
    sed -i 's/cpu.quota = "20 %"/cpu.quota = "100 %"/' /etc/tenantd/$APP.toml
    tenantd reload --app $APP
    tenantd restart --app $APP acme
    before=$(pid_of $APP acme)
    order acme 'x=$(head -c 1073741824 /dev/zero | tr "\\0" x)'
    again() { now=$(pid_of "$APP" acme) && [ "$now" != "$before" ] && [ "$now" != null ]; }
    wait_for again
    tenantd status --app $APP acme | tee /run/said || true
    journalctl -q -o cat -u $UNIT | grep "acme: the OOM killer ended 1 process: memory.max is 96 MiB"
    saw "$(journalctl -q -o cat -u $UNIT | grep 'OOM killer' | tail -1)"
}

# Without pressure stall information there is nothing to tell, and `doctor` says so.
starved() {
    tenantd doctor | tee /run/said || true
    if ! [ -e /proc/pressure/cpu ]; then
        holds "$(cat /run/said)" "^pressure: weak: "
        return
    fi
    holds "$(cat /run/said)" "^pressure: good: "
    tenantd set --app $APP acme cpu.quota=unlimited
    order acme 'for i in 1 2 3 4 5 6; do timeout 20 sh -c "while :; do :; done" & done; wait'
    order bolt 'timeout 20 sh -c "while :; do :; done"'
    wait_for eval "tenantd status --app $APP --json | jq -e '.tenants[] | select(.starved.resource == \"cpu\")'"
    tenantd status --app $APP | tee /run/said || true
    holds "$(cat /run/said)" "STARVED .* wait for a processor .* acme uses most|STARVED .* it uses most itself"
    tenantd set --app $APP acme --reset
    saw "$(grep STARVED /run/said)"
}

# Neither the journal nor tenantd drops a line of another tenant, and the flood does not take a whole processor.
floods_its_log() {
    order acme 'yes "a line that somebody has to read and to keep, again and again and again" & sleep 20; kill $!'
    wait_for eval "tenantd status --app $APP acme | grep -q 'its program waited .* until its output was read: log_rate is 64 KiB a second'"
    order bolt 'for n in $(seq 300); do echo "marker $n"; done'
    wait_for eval "journalctl -q -o cat TENANTD_TENANT=bolt | grep -q '^marker 300$'"
    same 300 "$(journalctl -q -o cat TENANTD_TENANT=bolt | grep -c '^marker ')"
    saw "$(journalctl -q -o cat TENANTD_TENANT=acme | grep -c 'again and again') lines of the other; $(tenantd status --app $APP acme | grep 'until its output')"
    # journald(8) says it with the next message that it accepts, at the end of its interval.
    not grep -q "Suppressed .* messages from tenantd" <<<"$(journalctl -q -o cat)"
}

# 24 MiB that the shell holds in a variable. There may be no swap: then little is taken.
hibernated() {
    # Its shell may have ended when it could not fork.
    tenantd restart --app $APP bolt
    order bolt 'x=$(head -c 25165824 /dev/zero | tr "\\0" x)'
    wait_for eval "[ \$(cat $(leaf bolt)/memory.current) -gt 25165824 ]"
    tenantd hibernate --app $APP bolt | tee /run/said
    holds "$(cat /run/said)" "^bolt: paused, its memory shrank by [0-9]+ (KiB|MiB)$"
    same 1 "$(cat "$(leaf bolt)/cgroup.freeze")"
    same true "$(tenantd status --app $APP --json bolt | jq '.tenants[0].paused')"
    systemctl restart $UNIT
    wait_for up $APP
    same true "$(tenantd status --app $APP --json bolt | jq '.tenants[0].paused')"
    tenantd resume --app $APP bolt
    same 0 "$(cat "$(leaf bolt)/cgroup.freeze")"
    saw "$(cat /run/said)"
}

install_package
check "limits are in the cgroup before the program runs" set_before_the_program
check "a reload changes limits without a restart" changed_live
check "a command sets limits of a running tenant, and writes them to the manifest" set_by_a_command
check "a command sets limits until they are taken back" set_by_hand
check "limits are kept by the next supervisor" kept_by_the_next_supervisor
check "a supervisor that is killed is started again, and sets the limits" killed_and_started_again
check "a tenant cannot make more processes than its limit" no_more_processes
check "a tenant gets no more processor time than its quota" throttled
check "a tenant that floods its log takes no line of another" floods_its_log
check "the tenant that waits and the one that uses most are told" starved
check "the OOM killer is the reason of an end" ended_by_the_oom_killer
check "a tenant hibernates, and stays so under the next supervisor" hibernated
done_here
