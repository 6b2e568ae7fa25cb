#!/bin/bash
# Quotas of datastores on ext4: its own kernel has them.
# shellcheck disable=SC1091,SC2317 # The path and calls by name are as in the machine.
. /in/checks/lib.sh
APP=full
UNIT=tenantd@$APP
STORES=/var/lib/tenantd
DATA=/var/lib/full

manifest() {
    mkdir -p $DATA $STORES
    cat >/etc/tenantd/$APP.toml <<TOML
[app]
name = "full"
command = ["/bin/sleep", "infinity"]
user = "nobody"
datastore.path = "$DATA"
[network]
subnet = "10.81.0.0/24"
[tenants]
acme = { ip = "10.81.0.11", limits = { disk.max = "20 MiB", disk.files = 100 } }
bolt = { ip = "10.81.0.12" }
TOML
}

# inside TENANT COMMAND
inside() { tenantd --app $APP exec "$1" -- sh -c "cd $DATA && $2"; }

refused_until_the_filesystem_counts() {
    manifest
    truncate -s 512M /stores
    mkfs.ext4 -q /stores
    mount -o loop /stores $STORES
    tenantd check --config /etc/tenantd/$APP.toml | tee /run/said || true
    grep -q "the ext4 filesystem of $STORES does not limit projects" /run/said
    umount $STORES
    tune2fs -O project,quota -Q prjquota /stores
    mount -o loop,prjquota /stores $STORES
    tenantd check --config /etc/tenantd/$APP.toml | tee /run/said || true
    not grep -q "does not limit projects" /run/said
}

holds_for_what_was_there_before() {
    mkdir -p $STORES/$APP/acme/deep
    dd if=/dev/zero of=$STORES/$APP/acme/deep/old bs=1M count=5 status=none
    for i in $(seq 15); do
        mkdir -p "$STORES/$APP/acme/deep/$i/in"
        : >"$STORES/$APP/acme/deep/$i/in/file"
        : >"$STORES/$APP/acme/deep/$i-beside"
    done
    chown -R nobody $STORES/$APP/acme
    systemctl start $UNIT
    wait_for up $APP
    same "$(lsattr -pd $STORES/$APP/acme | awk '{print $1}')" "$(lsattr -p $STORES/$APP/acme/deep/old | awk '{print $1}')"
    # Each of the 15 folders, of those in them, and of the files has the same project.
    same 1 "$(lsattr -Rp $STORES/$APP/acme | awk 'NF == 3 { print $1 }' | sort -u | wc -l)"
    same 62 "$(lsattr -Rp $STORES/$APP/acme | awk 'NF == 3' | wc -l)"
    not inside acme "dd if=/dev/zero of=data bs=1M count=18 conv=fsync"
    inside bolt "dd if=/dev/zero of=data bs=1M count=30 conv=fsync"
    not inside acme "rm data; for i in \$(seq 120); do : >f\$i || exit 1; done"
    inside acme "rm -f f*"
}

changed_live() {
    tenantd --app $APP set acme disk.max=60MiB
    inside acme "dd if=/dev/zero of=data bs=1M count=40 conv=fsync"
    tenantd --app $APP verify
    tenantd --app $APP status acme | grep -q "DISK 4"
}

no_tenant_leaves_it() {
    not inside acme "chattr -p 0 data"
    not inside acme "chattr -P ."
    # Without the filter, the owner of a file does.
    chmod 755 $STORES $STORES/$APP
    setpriv --reuid nobody --clear-groups chattr -p 0 $STORES/$APP/acme/data
    chattr -P -p 0 $STORES/$APP/acme
    not tenantd --app $APP verify
    tenantd --app $APP verify --repair
    tenantd --app $APP verify
}

taken_back() {
    sed -i 's/, limits = .*}/ }/' /etc/tenantd/$APP.toml
    tenantd --app $APP reload
    inside acme "dd if=/dev/zero of=data bs=1M count=90 conv=fsync"
}

install_package
check "a quota is refused until the filesystem has quotas of projects" refused_until_the_filesystem_counts
check "a quota holds for one tenant, and for what was there before" holds_for_what_was_there_before
check "a quota is changed while the tenant runs" changed_live
check "no tenant takes its files out of its quota" no_tenant_leaves_it
check "a quota is taken back by a reload" taken_back
done_here
