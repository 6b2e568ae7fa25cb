#!/bin/bash
# The operator's first day: redis for three tenants, from the manifest to the end.
# shellcheck disable=SC1091,SC2317 # Both as they are in the machine: the path, and calls by name.
. /in/checks/lib.sh
TENANTS=(acme bolt cato)

manifest_is_checked() {
    redis_manifest shop 10.77.0
    # cato is not started automatically.
    sed -i 's/^cato = .*/cato = { ip = "10.77.0.13", autostart = false }/' /etc/tenantd/shop.toml
    tenantd check --config /etc/tenantd/shop.toml
    said=$(tenantd check --config /etc/tenantd/shop.toml 2>&1)
    holds "$said" "good: shop with 3 tenants"
    not grep -E "weak|bad" <<<"$said"
}

enabled_and_up() {
    systemctl enable --now tenantd@shop
    same active "$(systemctl is-active tenantd@shop)"
    wait_for tenantd status acme bolt
    tenantd start cato
    wait_for up shop
    saw "$(systemctl show -p StatusText tenantd@shop)"
    tenantd status
}

status_says_it() {
    said=$(tenantd status)
    echo "$said"
    holds "$said" "^shop: supervisor pid $(main_pid shop), tenants tracked by cgroup, logs in the journal$"
    for i in 1 2 3; do
        holds "$said" "^${TENANTS[i - 1]} +up +up +[0-9]+ +10.77.0.1$i +0 .* yes +current$"
    done
}

data_in_and_out() {
    for i in 1 2 3; do
        same OK "$(redis 10.77.0.1$i set who "${TENANTS[i - 1]}")"
    done
    for i in 1 2 3; do
        same "${TENANTS[i - 1]}" "$(redis 10.77.0.1$i get who)"
        same 1 "$(redis 10.77.0.1$i dbsize)"
        ls /var/lib/tenantd/shop/"${TENANTS[i - 1]}"/appendonlydir/
    done
    # The host's own files at that path are not changed.
    same "" "$(ls -A /var/lib/redis)"
}

journal_by_tenant() {
    wait_for eval 'journalctl -q -o cat TENANTD_TENANT=bolt | grep -q "Ready to accept connections"'
    same bolt "$(journalctl -q -o json TENANTD_TENANT=bolt | jq -r .TENANTD_TENANT | sort -u)"
    same shop "$(journalctl -q -o json TENANTD_TENANT=bolt | jq -r .TENANTD_APP | sort -u)"
    lines=$(journalctl -q -o cat TENANTD_TENANT=acme | grep -c "Ready to accept")
    same 1 "$lines"
    # Messages about a tenant have the same field as its output, so that one filter shows both.
    journalctl -q -o json TENANTD_TENANT=acme | jq -r .SYSLOG_IDENTIFIER | sort | uniq -c
    holds "$(tenantd logs acme)" "Ready to accept connections"
    holds "$(tenantd logs acme)" "tenantd program started, pid $(pid_of shop acme)"
    for tenant in "${TENANTS[@]}"; do
        holds "$(tenantd logs --all --since 1h)" "^$tenant .* Ready to accept connections"
    done
}

a_crash_is_repaired() {
    before=$(pid_of shop acme)
    link=$(ip -o link show | grep -E "tenantd:shop/acme" || ip -o link | grep -E " td[0-9a-f]+@")
    kill -9 "$before"
    again() { [ "$(pid_of shop acme)" != "$before" ] && up shop; }
    wait_for again
    same acme "$(redis 10.77.0.11 get who)"
    same 1 "$(tenantd status --json acme | jq '.tenants[0].restarts')"
    same 0 "$(tenantd status --json bolt | jq '.tenants[0].restarts')"
    same "$link" "$(ip -o link show | grep -E "tenantd:shop/acme" || ip -o link | grep -E " td[0-9a-f]+@")"
    holds "$(tenantd logs acme)" "tenantd program was killed by SIGKILL"
}

one_is_stopped() {
    pid=$(pid_of shop bolt)
    tenantd stop bolt
    not test -e "/proc/$pid"
    said=$(tenantd status)
    echo "$said"
    holds "$said" "^bolt +down +down "
    not timeout 5 redis-cli -h 10.77.0.12 ping
    same acme "$(redis 10.77.0.11 get who)"
    same PONG "$(redis 10.77.0.13 ping)"
}

up_again_after_the_boot() {
    same active "$(systemctl is-active tenantd@shop)"
    first_two() { tenantd status acme bolt | grep -Ec ' yes +current$' | grep -qx 2; }
    wait_for first_two
    said=$(tenantd status)
    echo "$said"
    holds "$said" "^cato +down +down "
    for i in 1 2; do
        same "${TENANTS[i - 1]}" "$(redis 10.77.0.1$i get who)"
    done
    tenantd start cato
    same cato "$(redis 10.77.0.13 get who)"
    saw "$(systemd-analyze time | head -n 1)"
}

leaves_nothing() {
    systemctl stop tenantd@shop
    same inactive "$(systemctl is-active tenantd@shop || true)"
    same success "$(systemctl show -p Result --value tenantd@shop)"
    nothing_left shop
    same 3 "$(find /var/lib/tenantd/shop -mindepth 1 -maxdepth 1 -type d | wc -l)"
    said=$(tenantd status 2>&1) && return 1
    holds "$said" "no supervisor is running"
}

data_is_still_there() {
    systemctl start tenantd@shop
    wait_for tenantd status acme
    wait_for redis 10.77.0.11 ping
    same acme "$(redis 10.77.0.11 get who)"
    systemctl disable --now tenantd@shop
    nothing_left shop
}

case $VM_BOOT in
1)
    install_package
    check "a manifest for redis with three tenants is valid" manifest_is_checked
    check "systemctl enable --now starts them" enabled_and_up
    check "status shows which tenants are up and how they are tracked" status_says_it
    check "each tenant stores and returns its own data" data_in_and_out
    check "the journal shows one tenant's lines" journal_by_tenant
    check "a killed tenant is restarted with its data" a_crash_is_repaired
    check "a stopped tenant does not affect the others" one_is_stopped
    systemctl reboot
    ;;
*)
    check "after a reboot, all is as wanted again" up_again_after_the_boot
    check "systemctl stop leaves nothing" leaves_nothing
    check "the data is there for the next start" data_is_still_there
    done_here
    ;;
esac
