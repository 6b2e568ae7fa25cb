# shellcheck shell=bash
# The page is put there as a customer does; the request for a page that does not exist is logged.
case $1 in
prepare) ;;
write)
    echo "the page of $MARKER" >"$STORE/var/www/html/index.html"
    curl -s "http://$IP/no-$MARKER"
    ;;
read) curl -fs "http://$IP/" ;;
esac
