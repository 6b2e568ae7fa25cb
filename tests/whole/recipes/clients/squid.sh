# shellcheck shell=bash
# Nothing answers there, so that squid does, and logs it.
case $1 in
prepare) ;;
write) curl -s -x "http://$IP:3128" "http://127.0.0.1:9/$MARKER" ;;
read) cat "$STORE/var/log/squid/access.log" 2>/dev/null || true ;;
esac
