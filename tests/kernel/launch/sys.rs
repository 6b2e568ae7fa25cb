//! What a tenant sees of the host besides its files: `/sys`, the folders of tenantd, and control sockets.

use std::collections::BTreeSet;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;
use std::process::Command;

use tenantd_core::plan::model::HostAccess;

use crate::launch::bench::{Bench, write_file};
use crate::support::place;
use crate::support::reach::printed;

/// A link of another tenant, as the host has it.
fn add_link() {
    for arguments in [
        "link add customer type veth peer name other",
        "link set customer alias tenantd:wiki/globex",
    ] {
        let done = Command::new("ip").args(arguments.split(' ')).status();
        assert!(done.unwrap().success());
    }
}

#[test]
fn a_tenant_sees_its_own_interfaces_and_not_the_machine() {
    for host in [HostAccess::ReadOnly, HostAccess::Writable] {
        let mut bench = Bench::script(
            "cat /sys/class/net/*/ifalias; ls /sys/class/net; ls -A /sys/firmware /sys/block /sys/class/block; \
             echo 0 >/sys/fs/cgroup/cgroup.procs; touch /sys/kernel/new; head -c1 /sys/devices/system/cpu/online",
        );
        bench.view().host = host;
        let bench = bench.for_root();
        add_link();
        let on_host = std::fs::read_to_string("/sys/class/net/customer/ifalias").unwrap();
        assert_eq!(on_host, "tenantd:wiki/globex\n");
        let said = bench.output();
        for word in ["customer", "globex"] {
            assert!(!said.contains(word), "{host:?} {said}");
        }
        assert!(said.lines().any(|line| line == "lo"), "{host:?} {said}");
        let empty = "/sys/block:\n\n/sys/class/block:\n\n/sys/firmware:\n";
        assert!(said.contains(empty), "{host:?} {said}");
        assert_eq!(
            said.matches("Read-only file system").count(),
            2,
            "{host:?} {said}"
        );
        assert!(said.ends_with('0'), "{host:?} {said}");
        assert_eq!(bench.rehearse(), Ok(()));
    }
}

#[test]
fn the_folders_of_tenantd_are_hidden() {
    for host in [HostAccess::ReadOnly, HostAccess::Writable] {
        let mut bench = Bench::script("ls -A /var/log/tenantd /var/lib/tenantd").for_root();
        bench.view().host = host;
        // The datastores of this application are elsewhere.
        bench.launch.hidden = [].into();
        write_file("/var/log/tenantd/crm.log", "of all tenants\n", 0o644);
        assert_eq!(
            bench.output(),
            "/var/lib/tenantd:\n\n/var/log/tenantd:\n",
            "{host:?}"
        );
        // Where the manifest refers to a file in one, the program needs it.
        bench.set_script("cat /var/log/tenantd/crm.log; ls -A /var/lib/tenantd");
        assert_eq!(bench.output(), "of all tenants\n", "{host:?}");
    }
}

/// Sockets by which a process orders the host about, or its services, in folders that are a tenant's own.
const SOCKETS: [&str; 17] = [
    "/run/dbus/system_bus_socket",
    "/run/docker.sock",
    "/run/podman/podman.sock",
    "/run/containerd/containerd.sock",
    "/run/systemd/private",
    "/run/systemd/io.systemd.Hostname",
    "/run/systemd/notify",
    "/run/varlink/registry",
    "/run/udev/control",
    "/run/user/1000/bus",
    "/run/systemd/journal/socket",
    "/run/snapd.socket",
    "/run/libvirt/libvirt-sock",
    "/var/tmp/session.sock",
    "/run/cups/cups.sock",
    "/run/tenantd/wiki/control",
    "/tmp/.X11-unix/X0",
];

/// The same in folders elsewhere, which are covered.
const COVERED: [&str; 5] = [
    "/var/lib/incus/unix.socket",
    "/var/lib/kubelet/pod-resources/kubelet.sock",
    "/var/lib/libvirt/qemu/monitor.sock",
    "/var/lib/lxd/unix.socket",
    "/var/snap/lxd/common/lxd/unix.socket",
];

/// One of a folder of which nothing is known.
const ELSEWHERE: &str = "/var/lib/other/socket";

/// Tries to connect to each of its arguments, and prints those that accept.
const CONNECT: &str = r#"
import socket, sys
for path in sys.argv[1:]:
    try:
        socket.socket(socket.AF_UNIX).connect(path.replace("@", "\0"))
        print(path)
    except OSError:
        pass
"#;

/// The sockets of the host that a tenant of root reaches.
fn reached(host: HostAccess, visible: &[&str], shared: &[&str]) -> BTreeSet<String> {
    let mut bench = Bench::new();
    place::fresh("/tmp", "mode=1777");
    own_var(&bench);
    let sockets = || SOCKETS.iter().chain(&COVERED).chain([&ELSEWHERE]);
    let listening: Vec<UnixListener> = sockets()
        .map(|path| {
            std::fs::create_dir_all(Path::new(path).parent().unwrap()).unwrap();
            UnixListener::bind(path).unwrap()
        })
        .collect();
    let abstract_one = SocketAddr::from_abstract_name("/tmp/.X11-unix/X0").unwrap();
    let _abstract = UnixListener::bind_addr(&abstract_one).unwrap();
    bench.view().host = host;
    bench.view().visible = visible.iter().map(Into::into).collect();
    bench.view().shared = shared.iter().map(Into::into).collect();
    bench.launch.program = "/usr/bin/python3".into();
    let all = ["python3", "-I", "-c", CONNECT, "@/tmp/.X11-unix/X0"];
    let all = all.iter().chain(sockets()).chain(&["/var/run/docker.sock"]);
    bench.launch.argv = all.map(|&word| word.to_owned()).collect();
    let reached = printed(&bench.for_root().output());
    drop(listening);
    reached
}

/// Makes a `/var` for the folders of services, with the datastore of the bench.
fn own_var(bench: &Bench) {
    place::fresh("/var", "mode=755");
    for folder in ["/var/tmp", "/var/log/tenantd", "/var/lib/tenantd/wiki"] {
        std::fs::create_dir_all(folder).unwrap();
    }
    std::os::unix::fs::symlink("/run", "/var/run").unwrap();
    tenantd_host::datastore::ensure(&bench.datastore).unwrap();
}

fn set(paths: &[&[&str]]) -> BTreeSet<String> {
    paths.concat().iter().map(ToString::to_string).collect()
}

#[test]
fn control_sockets_of_the_host_are_out_of_reach_unless_listed() {
    // `open by design` in SECURITY.md.
    let elsewhere: &[&str] = &[ELSEWHERE];
    assert_eq!(reached(HostAccess::ReadOnly, &[], &[]), set(&[elsewhere]));
    for socket in SOCKETS.iter().chain(&COVERED) {
        let listed = reached(HostAccess::ReadOnly, &[socket], &[]);
        let mut expected = set(&[&[socket], elsewhere]);
        if *socket == "/run/docker.sock" {
            expected.insert("/var/run/docker.sock".to_owned());
        }
        assert_eq!(listed, expected);
    }
}

#[test]
fn a_folder_of_control_sockets_can_be_listed_or_shared() {
    let [_, kubelet, ..] = COVERED;
    let folders = ["/var/lib/kubelet", "/var/lib/kubelet/pod-resources"];
    for folder in folders {
        let reached_one = set(&[&[kubelet, ELSEWHERE]]);
        assert_eq!(reached(HostAccess::ReadOnly, &[folder], &[]), reached_one);
        assert_eq!(reached(HostAccess::ReadOnly, &[], &[folder]), reached_one);
    }
}

#[test]
fn on_a_writable_host_only_those_elsewhere_are_covered() {
    // Without a `/run` and a `/tmp` of its own it reaches all that are there.
    let open: &[&str] = &[ELSEWHERE, "/var/run/docker.sock"];
    let found = reached(HostAccess::Writable, &[], &[]);
    assert_eq!(found, set(&[&SOCKETS, open]));
    let [incus, ..] = COVERED;
    let found = reached(HostAccess::Writable, &[incus], &[]);
    assert_eq!(found, set(&[&SOCKETS, open, &[incus]]));
}

/// A program that is there itself needs its folder, and in a private folder nothing of the host is.
#[test]
fn a_folder_of_control_sockets_that_is_the_tenants_is_left_alone() {
    let mut bench = Bench::script("ls -A /var/lib/libvirt");
    own_var(&bench);
    std::fs::create_dir_all("/var/lib/libvirt/images").unwrap();
    assert_eq!(bench.output(), "");
    bench.launch.working_directory = "/var/lib/libvirt/images".into();
    assert_eq!(bench.output(), "images\n");
    bench.launch.working_directory = "/".into();
    bench.launch.hidden = [].into();
    bench.launch.private = ["/var/lib".into()].into();
    bench.set_script("ls -A /var/lib");
    assert_eq!(bench.output(), "");
    assert_eq!(bench.rehearse(), Ok(()));
}
