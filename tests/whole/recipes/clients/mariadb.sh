# shellcheck shell=bash
sql() { "$TENANTD" exec "$TENANT" mariadb -N -e "$1"; }
case $1 in
prepare) ;;
write) sql "create database shop; create table shop.notes (text text);
    insert into shop.notes values ('$MARKER')" ;;
read) sql "select text from shop.notes" 2>&1 || true ;;
esac
