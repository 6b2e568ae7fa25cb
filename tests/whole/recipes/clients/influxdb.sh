# shellcheck shell=bash
case $1 in
prepare) ;;
write)
    curl -fs "http://$IP:8086/query" -d 'q=create database shop'
    curl -fs "http://$IP:8086/write?db=shop" -d "notes text=\"$MARKER\""
    ;;
read) curl -fs "http://$IP:8086/query?db=shop&q=select+text+from+notes" ;;
esac
