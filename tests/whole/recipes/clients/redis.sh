# shellcheck shell=bash
case $1 in
prepare) ;;
write) redis-cli -h "$IP" set greeting "$MARKER" ;;
read) redis-cli -h "$IP" get greeting ;;
esac
