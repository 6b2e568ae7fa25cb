# shellcheck shell=bash
case $1 in
prepare) ;;
write) "$TENANTD" exec "$TENANT" prosodyctl register "$MARKER" localhost secret ;;
read) "$TENANTD" exec "$TENANT" prosodyctl shell user list localhost ;;
esac
