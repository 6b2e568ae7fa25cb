//! A test host with a network to provision in, and functions to inspect it.

use std::future::Future;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use serde_json::Value;
use tenantd_core::plan::address::Addresses;
use tenantd_core::plan::model::{EndPlan, Firewall, LinkPlan, MacAddr, Mode, NetworkPlan, Subnet6};
use tenantd_core::plan::names::NamesPlan;
use tenantd_host::netns::Netns;

pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
pub const GATEWAY6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x77, 0, 0, 0, 0, 0, 1);
pub const LIMIT: Duration = Duration::from_secs(10);

pub fn plan(mode: Mode) -> NetworkPlan {
    NetworkPlan {
        mode,
        parent: None,
        subnet: "10.77.0.0/24".parse().unwrap(),
        gateway: GATEWAY,
        ipv6: None,
        uplink: None,
        hub: EndPlan {
            name: "td-wiki".parse().unwrap(),
            mac: MacAddr([2, 0, 0, 0, 0, 1]),
        },
        mark: "tenantd:wiki".into(),
        mtu: 1400,
        mtu_given: true,
        firewall: Firewall::On,
    }
}

/// The link plan of tenant number `n`, from 2 on.
pub fn link(mode: Mode, n: u16) -> LinkPlan {
    let [high, low] = n.to_be_bytes();
    LinkPlan {
        addresses: Ipv4Addr::new(10, 77, high, low).into(),
        prefix: if mode == Mode::Routed { 32 } else { 24 },
        parent: None,
        host: EndPlan {
            name: format!("vt-{n}").parse().unwrap(),
            mac: MacAddr([2, 0, 0, 1, high, low]),
        },
        tenant: EndPlan {
            name: "eth0".parse().unwrap(),
            mac: MacAddr([2, 0, 0, 2, high, low]),
        },
        mark: format!("tenantd:wiki/t{n}"),
        sysctls: std::sync::Arc::default(),
        traffic: Arc::default(),
        rate: Default::default(),
        names: NamesPlan::usual(GATEWAY, "10.77.0.0/24".parse().unwrap(), true).into(),
    }
}

/// The same with an IPv6 subnet.
pub fn plan6(mode: Mode) -> NetworkPlan {
    NetworkPlan {
        ipv6: Some(Subnet6 {
            network: "fd00:77::/64".parse().unwrap(),
            gateway: GATEWAY6,
        }),
        ..plan(mode)
    }
}

/// The same with an address of each family.
pub fn link6(mode: Mode, n: u16) -> LinkPlan {
    let link = link(mode, n);
    let other = Ipv6Addr::new(0xfd00, 0x77, 0, 0, 0, 0, 0, n);
    LinkPlan {
        addresses: Addresses::new(link.addresses.first(), vec![other.into()]),
        ..link
    }
}

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap().block_on(future)
}

/// Runs a closure on a thread in the tenant's network namespace.
pub fn inside<T: Send>(netns: &Netns, act: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let visit = scope.spawn(|| {
            setns(netns.as_fd(), CloneFlags::CLONE_NEWNET).unwrap();
            let result = act();
            // Leaves the namespace before it ends: a joined thread may still be exiting.
            let home = std::fs::File::open("/proc/self/ns/net").unwrap();
            setns(home, CloneFlags::CLONE_NEWNET).unwrap();
            result
        });
        visit.join().unwrap()
    })
}

/// Runs `ip` with these arguments, which must succeed.
pub fn ip(words: &str) -> String {
    let output = Command::new("ip").args(words.split(' ')).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {words}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// The list that `ip -j -d` prints with these arguments.
pub fn ip_json(words: &str) -> Vec<Value> {
    let text = ip(&format!("-j -d {words}"));
    let list = if text.trim().is_empty() { "[]" } else { &text };
    serde_json::from_str(list).unwrap()
}

/// The only link with this name.
pub fn show(name: &str) -> Value {
    ip_json(&format!("link show {name}")).remove(0)
}

/// Everything that a provision could leave behind, one line each. Leaves out what a bridge's first
/// port changes: a route for IPv6 multicast, and a carrier, which is reported a moment later.
pub fn everything() -> Vec<String> {
    crate::support::settled::settled();
    let mut lines = Vec::new();
    for link in ip_json("address show") {
        for field in [
            "ifindex",
            "ifname",
            "ifalias",
            "address",
            "mtu",
            "addr_info",
        ] {
            lines.push(format!("{}: {field} {}", link["ifname"], link[field]));
        }
    }
    for words in ["route show table all", "neigh show nud all"] {
        for mut entry in ip_json(words) {
            if entry["type"] != "multicast" {
                entry["flags"] = Value::Null;
                lines.push(entry.to_string());
            }
        }
    }
    lines
}

/// Connects to a listener and sends a byte in each direction.
pub fn echo(listener: TcpListener, connect: impl FnOnce(SocketAddr) -> TcpStream) {
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        stream.write_all(&byte).unwrap();
    });
    let mut stream = connect(address);
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.write_all(b"x").unwrap();
    let mut byte = [0];
    stream.read_exact(&mut byte).unwrap();
    server.join().unwrap();
    assert_eq!(&byte, b"x");
}

pub fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect_timeout(&address, LIMIT).unwrap()
}

/// The network namespaces of this process's threads, by inode.
pub fn namespaces_of_threads() -> Vec<u64> {
    use std::os::unix::fs::MetadataExt;
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    tasks
        .filter_map(|task| std::fs::metadata(task.unwrap().path().join("ns/net")).ok())
        .map(|link| link.ino())
        .collect()
}

/// The network namespace of the calling thread.
pub fn own_namespace() -> u64 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/thread-self/ns/net").unwrap().ino()
}
