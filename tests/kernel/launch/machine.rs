//! What a tenant reads about the machine that it is on.

use std::fs::read_to_string;
use std::path::Path;

use tenantd_core::machine_id;
use tenantd_core::plan::model::{DEVICES, HostAccess, MACHINE_IDS};

use crate::launch::bench::Bench;
use crate::support::place;

const MACHINE: &str = MACHINE_IDS[0];
const DBUS: &str = MACHINE_IDS[1];

/// Gives the test host ids of its own: a file, and a second one that is a copy or a link, as the distribution has it.
fn ids(bench: &Bench, is_link: bool) {
    place::fresh("/var/lib", "mode=755");
    std::fs::create_dir_all("/var/lib/tenantd/wiki").unwrap();
    std::fs::create_dir_all("/var/lib/dbus").unwrap();
    tenantd_host::datastore::ensure(&bench.datastore).unwrap();
    match is_link {
        true => std::os::unix::fs::symlink(MACHINE, DBUS).unwrap(),
        false => std::fs::write(DBUS, read_to_string(MACHINE).unwrap()).unwrap(),
    }
}

#[test]
fn the_id_of_the_machine_is_one_of_the_tenant() {
    let host = read_to_string(MACHINE).unwrap();
    let id = machine_id::parse(&host).expect("the tests need /etc/machine-id");
    let own = machine_id::plain(machine_id::derived(id, "tenantd:wiki/acme"));
    for is_link in [true, false] {
        for access in [HostAccess::ReadOnly, HostAccess::Writable] {
            let look = "cat /etc/machine-id /var/lib/dbus/machine-id; stat -c %a /etc/machine-id; \
                        echo x >/etc/machine-id || true";
            let mut bench = Bench::script(look).for_root();
            ids(&bench, is_link);
            bench.view().host = access;
            let said = bench.output();
            let begin = format!("{own}\n{own}\n444\n");
            assert!(said.starts_with(&begin), "{access:?} {said}");
            assert!(said.contains("Read-only file system"), "{access:?} {said}");
            // The next launch has the same.
            assert!(bench.output().starts_with(&begin));
            bench.set_script("cat /etc/machine-id");
            bench.view().visible = vec![MACHINE.into()];
            assert_eq!(bench.output(), host, "without the guard it is the host's");
        }
    }
}

#[test]
fn a_tenant_has_one_id_also_if_the_host_has_two() {
    const SECOND: &str = "0123456789abcdef0123456789abcdef";
    let own = |host: &str| {
        let id = machine_id::derived(machine_id::parse(host).unwrap(), "tenantd:wiki/acme");
        machine_id::plain(id)
    };
    let host = read_to_string(MACHINE).unwrap();
    let first = own(&host);
    let mut bench = Bench::script("cat /etc/machine-id /var/lib/dbus/machine-id");
    ids(&bench, false);
    std::fs::write(DBUS, format!("{SECOND}\n")).unwrap();
    for _ in 0..2 {
        assert_eq!(bench.output(), format!("{first}\n{first}\n"));
    }
    bench.view().visible = vec![MACHINE.into()];
    assert_eq!(bench.output(), format!("{host}{}\n", own(SECOND)));
    bench.view().visible = vec![DBUS.into()];
    assert_eq!(bench.output(), format!("{first}\n{SECOND}\n"));
}

#[test]
fn an_id_in_a_folder_of_the_tenant_is_left_alone() {
    let mut bench = Bench::script("ls -A /var/lib/dbus; cat /etc/machine-id");
    ids(&bench, false);
    bench.launch.private = ["/var/lib/dbus".into()].into();
    assert_eq!(bench.output().lines().count(), 1);
}

#[test]
fn proc_does_not_name_the_machine() {
    let boot_id = "/proc/sys/kernel/random/boot_id";
    let look = format!("cat /proc/cmdline /proc/partitions /proc/diskstats {boot_id}");
    let host = read_to_string(boot_id).unwrap();
    assert_ne!(read_to_string("/proc/cmdline").unwrap().trim(), "");
    let mut seen = Vec::new();
    for (hidepid, access) in [
        (true, HostAccess::ReadOnly),
        (false, HostAccess::ReadOnly),
        (true, HostAccess::Writable),
        (false, HostAccess::Writable),
    ] {
        let mut bench = Bench::script(&look).for_root();
        bench.launch.wall.hidepid = hidepid;
        bench.view().host = access;
        let said = bench.output();
        let id = said.trim_start_matches('\n').to_owned();
        assert_eq!(said.len(), 3 + id.len(), "{said}");
        assert!(machine_id::parse(&id).is_some(), "{said}");
        assert_eq!(id.len(), host.len());
        assert_ne!(id, host);
        seen.push(id);
    }
    seen.dedup();
    assert_eq!(seen.len(), 1, "{seen:?}");
}

/// The devices of this machine that have a serial number or the like, by the files of `/sys`.
const LOOK: &str = "ls -A /sys/devices/pci* /sys/devices/platform /sys/devices/LNX* /sys/devices/virtual/block \
                    /sys/fs/ext4 /sys/fs/xfs /sys/fs/btrfs 2>/dev/null | grep -v : | grep -c .; \
                    cat /sys/devices/system/cpu/online /sys/class/net/lo/mtu";

#[test]
fn sys_has_the_processors_and_no_other_device_of_the_machine() {
    let on_host = std::process::Command::new("sh").args(["-c", LOOK]).output();
    let on_host = String::from_utf8(on_host.unwrap().stdout).unwrap();
    let (count, rest) = on_host.split_once('\n').unwrap();
    assert_ne!(count, "0", "the machine has devices");
    for access in [HostAccess::ReadOnly, HostAccess::Writable] {
        let mut bench = Bench::script(LOOK).for_root();
        bench.view().host = access;
        assert_eq!(bench.output(), format!("0\n{rest}"), "{access:?}");
        bench.view().visible = vec![DEVICES.into()];
        let shown = bench.output();
        assert_ne!(shown.lines().next(), Some("0"), "{access:?} {shown}");
        assert!(Path::new(DEVICES).exists());
        assert_eq!(bench.rehearse(), Ok(()));
    }
}
