#!/bin/bash
# The commands of the operator's guide: each block of docs/guide.md whose info string has `sh` and
# `machine` is a check. They run in order, on a bare machine, in a folder with the package.
# shellcheck disable=SC1091,SC2317 # Both as they are in the machine: the path, and calls by name.
. /in/checks/lib.sh
BLOCK_LIMIT=180
WORK=/root/guide
mkdir -p $WORK/.blocks && cp /in/tenantd.deb "$WORK/$(cat /in/deb.name)"

# One file per block, named by its line in the guide.
[ ! -e /in/docs/guide.md ] || awk -v to=$WORK/.blocks '
    /^```/ && out { close(out); out = ""; next }
    /^```sh( .*)? machine( |$)/ { out = sprintf("%s/%05d", to, NR); printf "" > out; next }
    out { print > out }' /in/docs/guide.md

block() {
    cd $WORK || return
    cat "$1"
    echo "--"
    timeout $BLOCK_LIMIT bash -eu "$1"
}

for file in "$WORK"/.blocks/*; do
    [ -e "$file" ] || break
    line=$((10#$(basename "$file")))
    check "line $line: $(grep -v '^ *\(#\|$\)' "$file" | head -n 1)" block "$file"
done
done_here
