#!/bin/bash
# Two applications side by side, with tenants of the same names.
# shellcheck disable=SC1091,SC2317 # Both as they are in the machine: the path, and calls by name.
. /in/checks/lib.sh

both_run() {
    redis_manifest shop 10.77.0
    redis_manifest wiki 10.78.0
    systemctl start tenantd@shop tenantd@wiki
    wait_for up shop
    wait_for up wiki
}

nothing_clashes() {
    same 6 "$(pgrep -c redis-server)"
    for tenant in acme bolt cato; do
        for app in shop wiki; do
            pid=$(pid_of $app $tenant)
            holds "$(cat "/proc/$pid/cgroup")" "tenantd@$app\.service/.*/$tenant/program$"
            readlink "/proc/$pid/ns/net"
            test -p "/run/tenantd/$app/tenants/$tenant/stdout"
        done
    done | tee /run/two
    same 6 "$(grep '^net:' /run/two | sort -u | wc -l)"
    same 6 "$(ip -o link | grep -c ' td[0-9a-f]*@')"
    same "" "$(ip -o link | awk '{print $2}' | sort | uniq -d)"
    test -S /run/tenantd/shop/control
    test -S /run/tenantd/wiki/control
    same OK "$(redis 10.77.0.11 set who shop-acme)"
    same OK "$(redis 10.78.0.11 set who wiki-acme)"
    same shop-acme "$(redis 10.77.0.11 get who)"
    same wiki-acme "$(redis 10.78.0.11 get who)"
    same wiki "$(journalctl -q -o json TENANTD_TENANT=acme TENANTD_APP=wiki | jq -r .TENANTD_APP | sort -u)"
}

list_shows_both() {
    said=$(tenantd list)
    echo "$said"
    holds "$said" "^shop\b"
    holds "$said" "^wiki\b"
    while read -r line; do saw "$line"; done <<<"$said"
}

commands_find_theirs() {
    not tenantd status 2>/run/said
    holds "$(cat /run/said)" "several applications are running \(shop, wiki\)"
    holds "$(tenantd status --app wiki)" "^wiki: "
    holds "$(tenantd status --config /etc/tenantd/wiki.toml)" "^wiki: "
    holds "$(TENANTD_APP=wiki tenantd status)" "^wiki: "
    holds "$(TENANTD_CONFIG=/etc/tenantd/wiki.toml tenantd status)" "^wiki: "
    holds "$(TENANTD_APP=wiki tenantd status --app shop)" "^shop: "
    tenantd stop --app wiki acme
    same down "$(tenantd status --app wiki --json acme | jq -r '.tenants[0].state')"
    same up "$(tenantd status --app shop --json acme | jq -r '.tenants[0].state')"
    tenantd start --app wiki acme
}

one_ends_without_the_other() {
    pids=$(for tenant in acme bolt cato; do pid_of wiki $tenant; done)
    systemctl stop tenantd@shop
    left=$(ip -o -d link | grep -E "tenantd:shop\b" || true)
    same "" "$left"
    not test -e /run/tenantd/shop
    not test -e /sys/fs/cgroup/system.slice/system-tenantd.slice/tenantd@shop.service
    same "$pids" "$(for tenant in acme bolt cato; do pid_of wiki $tenant; done)"
    same wiki-acme "$(redis 10.78.0.11 get who)"
    # Only one application runs now, so --app is not needed.
    holds "$(tenantd status)" "^wiki: "
    systemctl stop tenantd@wiki
    nothing_left wiki
}

# A second supervisor of the same application is refused because of the lock, and `check` refuses a
# network that is in use.
a_third_is_refused() {
    systemctl start tenantd@wiki
    wait_for up wiki
    not tenantd run --config /etc/tenantd/wiki.toml
    sed 's/^name = .*/name = "thief"/' /etc/tenantd/wiki.toml >/etc/tenantd/thief.toml
    not tenantd check --config /etc/tenantd/thief.toml
    not systemctl start tenantd@thief
    wait_for up wiki
    systemctl stop tenantd@wiki
    nothing_left wiki
}

install_package
check "shop and wiki run side by side" both_run
check "their resources do not conflict" nothing_clashes
check "tenantd list shows both" list_shows_both
check "commands select the right application" commands_find_theirs
check "one ends and the other continues" one_ends_without_the_other
check "a second supervisor, or one for a taken network, is refused" a_third_is_refused
done_here
