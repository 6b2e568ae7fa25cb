# shellcheck shell=bash

# named accepts connections before it has loaded its zones.
loaded() {
    for _ in {1..100}; do
        "$TENANTD" logs "$TENANT" |
            awk '/ tenantd .*started/ { ok = 0 } /all zones loaded/ { ok = 1 } END { exit !ok }' && return
        sleep 0.1
    done
    echo "named has not loaded its zones" >&2
    return 1
}

case $1 in
prepare) ;;
write)
    cat >>"$STORE/etc/bind/named.conf.local" <<'END'
zone "shop.test" { type master; file "/var/lib/bind/shop"; update-policy local; };
END
    cat >"$STORE/var/lib/bind/shop" <<'END'
$TTL 60
@ SOA ns admin 1 3600 600 86400 60
@ NS ns
ns A 127.0.0.1
END
    chown bind: "$STORE/var/lib/bind/shop"
    "$TENANTD" restart "$TENANT" && loaded || exit
    "$TENANTD" exec "$TENANT" sh -c "echo 'update add greeting.shop.test 60 TXT $MARKER
send' | nsupdate -l"
    ;;
read) loaded && dig +short +tries=1 +time=5 "@$IP" greeting.shop.test TXT ;;
esac
