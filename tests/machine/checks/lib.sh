# shellcheck shell=bash
# What the checks in the machine share. Each file of checks is one run of the machine: it begins
# with the bare machine, calls check() once for each thing that must hold, and ends with done_here.

PATIENCE=60
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
FAILED=0
LOG=/run/check.log
# The report, in addition to the output of the checks.
exec 3>&1

# check NAME FUNCTION...: runs the function in a shell of its own, in which the first command that
# fails ends it, and reports the result. Its trace and output are shown if it fails. The time is
# monotonic.
check() {
    local name=$1 began status
    shift
    [ ! -e /in/only ] || grep -Eqf /in/only <<<"$name" || return 0
    began=$(uptime_ms)
    (
        set -eEuo pipefail
        trap 'echo "FAILED: line $LINENO of ${BASH_SOURCE[0]##*/}: $BASH_COMMAND"' ERR
        "$@"
    ) >$LOG 2>&1
    status=$?
    began=$(($(uptime_ms) - began))
    [ $status = 0 ] || { FAILED=1; sed 's/^/    | /' $LOG >&3; }
    printf '@%s %d.%d %s\n' "$([ $status = 0 ] && echo passed || echo FAILED)" \
        $((began / 1000)) $((began % 1000 / 100)) "$name" >&3
}

uptime_ms() {
    local up
    read -r up _ </proc/uptime
    echo $((10#${up/./} * 10))
}

# saw TEXT...: adds a line to the report with what a check found.
saw() { echo "    $*" >&3; }

# done_here: the last line of each file; without it, the file has not run to its end.
done_here() {
    echo "@end" >&3
    exit $FAILED
}

# fail TEXT...: ends the check.
fail() {
    echo "$*"
    return 1
}

# wait_for COMMAND...: repeats a command until it succeeds, with a generous limit; then prints its
# last output.
wait_for() {
    local end=$((SECONDS + PATIENCE)) said
    until said=$("$@" 2>&1); do
        if [ $SECONDS -ge $end ]; then
            echo "waited $PATIENCE s in vain for: $*"
            echo "$said"
            return 1
        fi
        sleep 0.2
    done
}

# not COMMAND...: checks that a command fails; `!` alone would not end a check.
not() {
    if "$@"; then
        echo "succeeded, and should not have: $*"
        return 1
    fi
}

# same WANTED FOUND
same() {
    [ "$1" = "$2" ] || fail "wanted: $1"$'\n'"found:  $2"
}

# holds TEXT PATTERN: an extended regular expression.
holds() {
    grep -Eq -e "$2" <<<"$1" || fail "nothing matches $2 in:"$'\n'"$1"
}

# install_package: for checks of the installed program.
install_package() {
    dpkg -i /in/tenantd.deb >$LOG 2>&1 || { cat $LOG; exit 1; }
}

# redis_manifest APP SUBNET [LINE...]: /etc/tenantd/APP.toml for the distribution's redis-server,
# with the tenants acme, bolt and cato at SUBNET.11 to 13. SUBNET is the first three numbers.
redis_manifest() {
    cat >"/etc/tenantd/$1.toml" <<TOML
[app]
name = "$1"
command = ["/usr/bin/redis-server", "--bind", "0.0.0.0", "--protected-mode", "no", "--dir", "{datastore}", "--appendonly", "yes", "--save", ""]
user = "redis"

[app.datastore]
path = "/var/lib/redis"

[app.ready]
tcp = 6379

[network]
subnet = "$2.0/24"

[tenants]
acme = { ip = "$2.11" }
bolt = { ip = "$2.12" }
cato = { ip = "$2.13" }
TOML
}

# redis IP COMMAND...: sends one request with redis-cli.
redis() {
    redis-cli -h "$1" "${@:2}"
}

# up APP: checks that all its tenants are as wanted, and ready.
up() {
    tenantd status --app "$1" --json |
        jq -e '.tenants | length > 0 and all(.state == "up" and .ready == true)' >/dev/null
}

pid_of() {
    tenantd status --app "$1" --json "$2" | jq -r '.tenants[0].pid'
}

main_pid() {
    systemctl show -p MainPID --value "tenantd@$1"
}

# nothing_left APP: checks that no process, link, cgroup, mount or runtime folder of an application exists.
nothing_left() {
    local left
    left=$(
        pgrep -a tenantd
        pgrep -a redis-server
        ip -o -d link | grep -E "tenantd:$1\b"
        find /sys/fs/cgroup -path "*tenantd@$1.service*" -o -path "*/tenantd/$1*"
        grep -E "tenantd/$1\b|/var/lib/redis" /proc/mounts
        [ ! -e "/run/tenantd/$1" ] || find "/run/tenantd/$1"
        ls -A /run/netns 2>/dev/null
    ) || true
    same "" "$left"
}

# datastores APP: prints a line per file of the tenants' data, for comparison.
datastores() {
    (cd "/var/lib/tenantd/$1" && find . -type f -exec sha256sum {} + | sort -k 2 && find . -printf '%m %u:%g %p\n' | sort -k 3)
}
