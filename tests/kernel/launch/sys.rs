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

/// Sockets by which a process orders the host about, or its services.
const SOCKETS: [&str; 12] = [
    "/run/dbus/system_bus_socket",
    "/run/docker.sock",
    "/run/podman/podman.sock",
    "/run/containerd/containerd.sock",
    "/run/systemd/private",
    "/run/systemd/io.systemd.Hostname",
    "/run/systemd/journal/socket",
    "/run/snapd.socket",
    "/run/libvirt/libvirt-sock",
    "/run/cups/cups.sock",
    "/run/tenantd/wiki/control",
    "/tmp/.X11-unix/X0",
];

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
fn reached(host: HostAccess, visible: &[&str]) -> BTreeSet<String> {
    let mut bench = Bench::new();
    place::fresh("/tmp", "mode=1777");
    let listening: Vec<UnixListener> = SOCKETS
        .iter()
        .map(|path| {
            std::fs::create_dir_all(Path::new(path).parent().unwrap()).unwrap();
            UnixListener::bind(path).unwrap()
        })
        .collect();
    let abstract_one = SocketAddr::from_abstract_name("/tmp/.X11-unix/X0").unwrap();
    let _abstract = UnixListener::bind_addr(&abstract_one).unwrap();
    bench.view().host = host;
    bench.view().visible = visible.iter().map(Into::into).collect();
    bench.launch.program = "/usr/bin/python3".into();
    let all = ["python3", "-I", "-c", CONNECT, "@/tmp/.X11-unix/X0"];
    let all = all.iter().chain(&SOCKETS);
    bench.launch.argv = all.map(|&word| word.to_owned()).collect();
    let reached = printed(&bench.for_root().output());
    drop(listening);
    reached
}

#[test]
fn control_sockets_of_the_host_are_out_of_reach_unless_listed() {
    assert_eq!(reached(HostAccess::ReadOnly, &[]), BTreeSet::new());
    let [bus, ..] = SOCKETS;
    assert_eq!(reached(HostAccess::ReadOnly, &[bus]), printed(bus));
    // Without a `/run` and a `/tmp` of its own it reaches all that have a path.
    let open = reached(HostAccess::Writable, &[]);
    assert_eq!(open, SOCKETS.map(str::to_owned).into());
}
