# shellcheck shell=bash
case $1 in
prepare) ;;
write)
    cat >>"$STORE/etc/haproxy/haproxy.cfg" <<END
frontend web
    bind *:80
    http-request return status 200 content-type text/plain string "$MARKER"
END
    "$TENANTD" restart "$TENANT"
    ;;
read) curl -s "http://$IP/" || [ $? = 7 ] ;;
esac
