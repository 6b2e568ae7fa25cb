# shellcheck shell=bash
case $1 in
prepare) ;;
write)
    printf 'server:\n    local-data: "greeting.test. TXT %s"\n' "$MARKER" \
        >"$STORE/etc/unbound/unbound.conf.d/zone.conf"
    "$TENANTD" restart "$TENANT"
    ;;
read) dig +short +tries=1 +time=5 "@$IP" greeting.test TXT ;;
esac
