//! The processor's time for bytes and connections from the host to a tenant, beside a bare veth pair.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Instant;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use tenantd_core::plan::model::Mode;
use tenantd_host::netns::Netns;
use tenantd_host::network::Network;

use crate::host::{block_on, inside, ip, link, plan};
use crate::median;
use crate::sheet::Sheet;

/// Rounds of each way.
const ROUNDS: usize = 40;

/// What one round sends: bytes in writes of this size, or connections.
const BYTES: usize = 256 << 20;
const WRITE: usize = 64 << 10;
const CONNECTIONS: u32 = 2000;

const BARE: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 2);

/// A namespace behind a bare pair.
fn bare() -> Netns {
    for words in [
        "netns add bare",
        "link add bare0 mtu 1400 numtxqueues 1 numrxqueues 1 type veth peer name eth0 mtu 1400 numtxqueues 1 numrxqueues \
         1 netns bare",
        "address add 10.78.0.1/24 dev bare0",
        "link set bare0 up",
        "-n bare link set lo up",
        "-n bare address add 10.78.0.2/24 dev eth0",
        "-n bare link set eth0 up",
    ] {
        ip(words);
    }
    let netns = File::open("/run/netns/bare").unwrap();
    Netns::from_fd(netns.into()).unwrap()
}

/// On one processor, the time that passes is the time that it takes.
fn pin() {
    let mut one = CpuSet::new();
    one.set(0).unwrap();
    sched_setaffinity(Pid::from_raw(0), &one).unwrap();
}

fn listener(netns: &Netns, address: IpAddr) -> TcpListener {
    inside(netns, || TcpListener::bind((address, 80)).unwrap())
}

/// The time for one byte, in ns.
fn bytes(listener: &TcpListener, to: SocketAddr) -> f64 {
    let begun = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut stream, _) = listener.accept().unwrap();
            let mut buffer = vec![0; WRITE];
            while stream.read(&mut buffer).unwrap() > 0 {}
        });
        let mut stream = TcpStream::connect(to).unwrap();
        let block = vec![0; WRITE];
        for _ in 0..BYTES / WRITE {
            stream.write_all(&block).unwrap();
        }
    });
    begun.elapsed().as_secs_f64() * 1e9 / BYTES as f64
}

/// The time for one connection with a byte each way, in µs.
fn connections(listener: &TcpListener, to: SocketAddr) -> f64 {
    let begun = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..CONNECTIONS {
                let (mut stream, _) = listener.accept().unwrap();
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                stream.write_all(&byte).unwrap();
            }
        });
        for _ in 0..CONNECTIONS {
            let mut stream = TcpStream::connect(to).unwrap();
            stream.write_all(b"x").unwrap();
            stream.read_exact(&mut [0]).unwrap();
        }
    });
    begun.elapsed().as_secs_f64() * 1e6 / f64::from(CONNECTIONS)
}

/// Measures both ways in turn.
pub fn measure(sheet: &mut Sheet) {
    // The threads of the network are started by one that is not pinned.
    block_on(async {
        let bare = bare();
        let network = Network::open(plan(Mode::Routed)).await.unwrap();
        let tenant = link(Mode::Routed, 2);
        let netns = network.provision(tenant.clone()).await.unwrap();
        let address = tenant.addresses.first();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                pin();
                let ways = [(&bare, BARE.into()), (&netns, address)];
                let ways = ways.map(|(netns, address)| {
                    (listener(netns, address), SocketAddr::new(address, 80))
                });
                in_turn(&ways, sheet);
            });
        });
        network.release(tenant, netns.close()).await.unwrap();
        network.close().await.unwrap();
    });
}

fn in_turn(ways: &[(TcpListener, SocketAddr); 2], sheet: &mut Sheet) {
    let mut found: [[Vec<f64>; 2]; 2] = Default::default();
    for _ in 0..ROUNDS {
        for (which, (listener, to)) in ways.iter().enumerate() {
            found[which][0].push(bytes(listener, *to));
            found[which][1].push(connections(listener, *to));
        }
    }
    let [[bare_bytes, bare_connections], [bytes, connections]] = found;
    let goal = median(bare_connections.clone()) + 9.0;
    sheet
        .sampled("host to tenant, processor per byte, ns", vec![bytes])
        .floors(bare_bytes)
        .goal_over_floor(1.05);
    sheet
        .sampled(
            "host to tenant, processor per connection, µs",
            vec![connections],
        )
        .floors(bare_connections)
        .goal(goal);
}
