# shellcheck shell=bash
sql() { "$TENANTD" exec "$TENANT" psql -At -c "$1"; }
case $1 in
prepare) ;;
write) sql "create table notes (text text); insert into notes values ('$MARKER')" ;;
read) sql "select text from notes" 2>&1 || true ;;
esac
