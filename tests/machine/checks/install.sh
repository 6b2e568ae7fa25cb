#!/bin/bash
# The package: installed, upgraded, removed and purged on the bare machine.
# shellcheck disable=SC1091,SC2317 # Both as they are in the machine: the path, and calls by name.
. /in/checks/lib.sh
# Another folder in which an operator may keep datastores.
ELSEWHERE=/srv/bolt

apt_installs() {
    cp /in/tenantd.deb "/tmp/$(cat /in/deb.name)"
    cd /tmp || return
    apt-get -y install "./$(cat /in/deb.name)"
    same "install ok installed" "$(dpkg-query -Wf '${Status}' tenantd)"
    saw "$(dpkg-query -Wf '${Package} ${Version}, needs ${Depends}' tenantd)"
}

verbs() {
    tenantd --help | sed -n '/^Commands:/,/^$/s/^  \([a-z-]*\) .*/\1/p' | grep -vx help
}

files_are_where_they_belong() {
    for file in /usr/bin/tenantd /usr/lib/systemd/system/tenantd@.service \
        /usr/lib/systemd/system/tenantd-userdb.service /usr/lib/systemd/system/tenantd-meter.service \
        /usr/lib/systemd/system/tenantd-metrics.service /usr/share/doc/tenantd/contrib/grafana/tenantd.json \
        /usr/lib/systemd/system/tenantd-resolve-hook.service /usr/lib/tenantd/tenantd-meter \
        /usr/lib/systemd/system/system-tenantd.slice \
        /usr/share/doc/tenantd/SECURITY.md \
        /usr/share/man/man8/tenantd.8.gz /usr/share/man/man5/tenantd.toml.5.gz \
        /usr/share/bash-completion/completions/tenantd /usr/share/zsh/vendor-completions/_tenantd \
        /usr/share/fish/vendor_completions.d/tenantd.fish \
        /usr/share/doc/tenantd/tenants.example.toml /usr/share/doc/tenantd/copyright \
        /usr/share/doc/tenantd/recipes/squid.toml \
        /usr/share/doc/tenantd/recipes/squid.d/tenant.conf \
        /usr/lib/systemd/network/10-tenantd.network /usr/lib/systemd/network/10-tenantd.link \
        /usr/lib/NetworkManager/conf.d/10-tenantd.conf; do
        dpkg -S "$file"
        same "root:root" "$(stat -c %U:%G "$file")"
        case $file in
        /usr/bin/* | /usr/lib/tenantd/*) same 755 "$(stat -c %a "$file")" ;;
        *) same 644 "$(stat -c %a "$file")" ;;
        esac
    done
    same "" "$(dpkg --verify tenantd)"
    holds "$(tenantd --version)" "^tenantd [0-9]"
}

manifests_are_closed() {
    same "700 root:root directory" "$(stat -c '%a %U:%G %F' /etc/tenantd)"
    same "" "$(ls -A /etc/tenantd)"
    not setpriv --reuid nobody --clear-groups ls /etc/tenantd
}

nothing_is_started() {
    same "" "$(systemctl list-units --all --plain --no-legend 'tenantd*')"
    same "" "$(find /etc/systemd /run/systemd -name 'tenantd*')"
    not pgrep -a tenantd
    not test -e /run/tenantd
    not test -e /var/lib/tenantd
    same "" "$(systemctl --failed --plain --no-legend)"
    # systemd has loaded the template without a manual daemon-reload.
    holds "$(systemctl cat tenantd@shop)" "ExecStart=/usr/bin/tenantd run"
}

# Rendered without a warning, found by name, and complete: each verb and each key.
man_pages_tell_all() {
    local page keys count=0
    mkdir -p /run/man
    while read -r page; do
        echo "$page"
        lexgrog "$page"
        man --warnings -E UTF-8 -l "$page" 2>/run/man/warnings | col -b >"/run/man/$(basename "$page" .gz)"
        same "" "$(cat /run/man/warnings)"
        count=$((count + 1))
    done < <(dpkg -L tenantd | grep '/man/.*\.gz$')
    man -w 5 tenantd.toml
    [ "$(verbs | wc -l)" -ge 9 ]
    for verb in $(verbs); do
        holds "$(cat /run/man/tenantd.8)" "\b$verb\b"
        holds "$(cat "/run/man/tenantd-$verb.8")" "tenantd[ -]$verb"
    done
    keys=$(tenantd schema | jq -r '[.. | .properties? // empty | keys[]] | unique[]')
    [ "$(wc -l <<<"$keys")" -ge 25 ]
    for key in $keys; do
        holds "$(cat /run/man/tenantd.toml.5)" "\b$key\b"
    done
    saw "$count pages; $(verbs | wc -l) verbs, $(wc -l <<<"$keys") keys"
}

completions_are_sound() {
    bash -n /usr/share/bash-completion/completions/tenantd
    zsh -n /usr/share/zsh/vendor-completions/_tenantd
    fish -n /usr/share/fish/vendor_completions.d/tenantd.fish
    # As a shell requests them.
    offered=$(fish -c 'complete -C "tenantd sta"')
    echo "$offered"
    holds "$offered" "^status\b"
    # shellcheck disable=SC2016 # Expanded by the shell that is started.
    offered=$(bash -c '. /usr/share/bash-completion/bash_completion
        . /usr/share/bash-completion/completions/tenantd
        set -- $(complete -p tenantd); while [ "$1" != -F ]; do shift; done
        COMP_WORDS=(tenantd sta) COMP_CWORD=1 COMP_LINE="tenantd sta" COMP_POINT=11 COMP_TYPE=9
        "$2" tenantd sta tenantd; printf "%s\n" "${COMPREPLY[@]}"')
    echo "$offered"
    holds "$offered" "^status"
    # shellcheck disable=SC2016
    zsh -c 'autoload -U compinit && compinit -u -d /run/zcompdump && [[ -n ${_comps[tenantd]} ]]'
}

# The host's networkd is configured to manage all links, as in an operator's own file.
networkd_leaves_links_alone() {
    printf '[Match]\nName=*\n\n[Network]\nDHCP=yes\nLinkLocalAddressing=yes\n' >/etc/systemd/network/50-everything.network
    networkctl reload
    redis_manifest shop 10.77.0
    sed -i "s|^bolt = .*|bolt = { ip = \"10.77.0.12\", datastore = \"$ELSEWHERE\" }|" /etc/tenantd/shop.toml
    planned=$(tenantd plan --config /etc/tenantd/shop.toml | awk '$1 == "host" && $2 == "end" {print $3, $4}' | sort)
    systemctl enable --now tenantd@shop
    wait_for up shop
    udevadm settle
    networkctl list --no-pager --all
    same 3 "$(networkctl list --no-pager --no-legend 'td*' | grep -c unmanaged)"
    same "" "$(networkctl list --no-pager --no-legend 'tg*' | grep -v unmanaged || true)"
    # Names and MAC addresses are as planned: udev has not changed them either.
    same "$planned" "$(ip -j link | jq -r '.[] | select(.ifname | startswith("td")) | "\(.ifname) \(.address)"' | sort)"
    rm /etc/systemd/network/50-everything.network
    networkctl reload
}

upgrade_keeps_all() {
    for i in 1 2 3; do same OK "$(redis 10.77.0.1$i set number $i)"; done
    tenantd stop cato
    chmod 0750 /etc/tenantd
    mkdir -p /etc/systemd/system/tenantd@shop.service.d
    printf '[Service]\nTimeoutStopSec=90s\n' >/etc/systemd/system/tenantd@shop.service.d/own.conf
    manifest=$(sha256sum /etc/tenantd/shop.toml)
    supervisor=$(main_pid shop)
    programs=$(pgrep redis-server)
    apt-get -y install /in/tenantd-next.deb
    # The new program runs in the same process, and the tenants were not interrupted.
    same "$supervisor" "$(main_pid shop)"
    test "/proc/$supervisor/exe" -ef /usr/bin/tenantd
    same "$programs" "$(pgrep redis-server)"
    holds "$(dpkg-query -Wf '${Version}' tenantd)" '\+next$'
    same "$manifest" "$(sha256sum /etc/tenantd/shop.toml)"
    same 750 "$(stat -c %a /etc/tenantd)"
    test -e /etc/systemd/system/tenantd@shop.service.d/own.conf
    same enabled "$(systemctl is-enabled tenantd@shop)"
    same active "$(systemctl is-active tenantd@shop)"
    wait_for tenantd status acme bolt
    same "up up down" "$(tenantd status --json | jq -r '[.tenants[].want] | join(" ")')"
    for i in 1 2; do same $i "$(redis 10.77.0.1$i get number)"; done
    # The new program continues with the same tenants.
    programs=$(pgrep redis-server)
    systemctl restart tenantd@shop
    wait_for tenantd status acme bolt
    for pid in $programs; do test -e "/proc/$pid"; done
    tenantd start cato
    wait_for up shop
    for i in 1 2 3; do same $i "$(redis 10.77.0.1$i get number)"; done
}

# forsake APP: kills its supervisor so that no other can start; its tenants continue without one.
forsake() {
    kill -9 "$(main_pid "$1")"
    wait_for systemctl is-failed --quiet "tenantd@$1"
    systemctl reset-failed "tenantd@$1"
}

removal_keeps_data() {
    redis_manifest lone 10.79.0
    systemctl start tenantd@lone
    wait_for up lone
    echo 'nonsense = "from now on"' >>/etc/tenantd/lone.toml
    forsake lone
    # Stopping its unit does nothing, because it does not run.
    systemctl stop tenantd@lone
    same PONG "$(redis 10.79.0.11 ping)"
    systemctl stop tenantd@shop
    datastores shop >/run/before
    find $ELSEWHERE -type f -exec sha256sum {} + >/run/before-elsewhere
    systemctl start tenantd@shop
    wait_for up shop
    apt-get -y remove tenantd
    nothing_left shop
    nothing_left lone
    not command -v tenantd
    not test -e /usr/lib/systemd/system/tenantd@.service
    test -e /etc/tenantd/shop.toml
    kept
}

purge_keeps_data() {
    apt-get -y purge tenantd
    not dpkg-query -s tenantd
    kept
    same "" "$(systemctl --failed --plain --no-legend)"
    same "" "$(find /etc/systemd/system -xtype l -name 'tenantd@*')"
}

# Redis as in redis_manifest writes nothing when it starts and stops with unchanged data.
kept() {
    datastores shop | diff /run/before -
    find $ELSEWHERE -type f -exec sha256sum {} + | diff /run/before-elsewhere -
    wc -l /run/before /run/before-elsewhere
    test -s /run/before
    test -s /run/before-elsewhere
}

comes_back() {
    apt-get -y install /in/tenantd.deb
    test -e /etc/tenantd/shop.toml
    systemctl start tenantd@shop
    wait_for up shop
    for i in 1 2 3; do same $i "$(redis 10.77.0.1$i get number)"; done
    systemctl stop tenantd@shop
    nothing_left shop
}

check "apt installs the package on the bare machine, without a network" apt_installs
check "files have the right paths and belong to root" files_are_where_they_belong
check "/etc/tenantd is closed to others" manifests_are_closed
check "nothing is started automatically" nothing_is_started
check "man pages render, and name every verb and key" man_pages_tell_all
check "completions for bash, zsh and fish" completions_are_sound
check "networkd and udev do not change the links" networkd_leaves_links_alone
check "an upgrade keeps configuration, data and wants" upgrade_keeps_all
check "removal stops all and keeps manifests and datastores" removal_keeps_data
check "purge keeps the datastores" purge_keeps_data
check "installed again, it finds manifest and data" comes_back
done_here
