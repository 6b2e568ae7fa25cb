//! `nft flush ruleset`, again and again, under traffic that must not pass and under traffic that may.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use nix::sched::{CloneFlags, setns};
use rustix::net::sockopt;

use crate::support::daemon::{Daemon, LIMIT, PROGRAM, in_time, run};
use crate::support::place::{self, example};

const MANIFEST: &str = r#"
[app]
name = "APP"
user = "root"
command = ["/srv/idle"]
datastore.path = "/srv/data"
ready.tcp = 80
[tenants]
acme = { ip = "10.77.0.11" }
beta = { ip = "10.77.0.12", publish = ["9107 -> 7"] }
"#;

/// Chains as Docker and firewalld make them, with the lines that `doctor` prints.
const OTHERS: &str = "
table ip filter {
 chain FORWARD { type filter hook forward priority filter; policy drop; jump DOCKER-USER; }
 chain DOCKER-USER { iifgroup & 0xffff0000 == 0x7e4a0000 accept; oifgroup & 0xffff0000 == 0x7e4a0000 accept; }
}
table inet firewalld {
 chain filter_FORWARD { type filter hook forward priority filter + 10; policy accept;
  ct state { established, related } accept; ct status dnat accept; reject with icmpx admin-prohibited; }
}
";

/// Calls a closure on a thread in a network namespace.
fn within<T: Send>(netns: &OwnedFd, act: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let visit = scope.spawn(|| {
            let home = File::open("/proc/thread-self/ns/net").unwrap();
            setns(netns.as_fd(), CloneFlags::CLONE_NEWNET).unwrap();
            let done = act();
            setns(home, CloneFlags::CLONE_NEWNET).unwrap();
            done
        });
        visit.join().unwrap()
    })
}

fn netns(path: &str) -> OwnedFd {
    File::open(path).unwrap().into()
}

/// A machine beside the host, which has 192.0.2.1 there.
fn outside() -> OwnedFd {
    for words in [
        "netns add outside",
        "link add up0 type veth peer name eth0 netns outside",
        "address add 192.0.2.1/24 dev up0",
        // It would have an address of its own a moment later.
        "link set up0 addrgenmode none",
        "link set up0 up",
        "-n outside address add 192.0.2.2/24 dev eth0",
        "-n outside link set eth0 up",
        "-n outside route add 10.77.0.0/24 via 192.0.2.1",
    ] {
        run(in_time("ip").args(words.split(' '))).expect(0);
    }
    fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
    netns("/run/netns/outside")
}

/// Datagrams to beta that may not pass, from a neighbour and from outside.
struct Floods {
    receiver: UdpSocket,
    sent: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
    senders: Vec<JoinHandle<()>>,
}

/// The most datagrams that are read in one look.
const MOST: usize = 100_000;

const TARGET: &str = "10.77.0.12:5000";

impl Floods {
    fn new(beta: &OwnedFd, from: &[&OwnedFd]) -> Self {
        let receiver = within(beta, || UdpSocket::bind(TARGET).unwrap());
        receiver.set_nonblocking(true).unwrap();
        // Room for all that passes between two looks.
        sockopt::set_socket_recv_buffer_size_force(&receiver, 256 << 20).unwrap();
        let (sent, is_over) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let sender = |netns: &&OwnedFd| {
            let socket = within(netns, || UdpSocket::bind("0.0.0.0:0").unwrap());
            let (sent, is_over) = (Arc::clone(&sent), Arc::clone(&is_over));
            std::thread::spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    // A refusal is an error.
                    let _refused = socket.send_to(b"x", TARGET);
                    sent.fetch_add(1, Ordering::Relaxed);
                }
            })
        };
        let senders = from.iter().map(sender).collect();
        Self {
            receiver,
            sent,
            is_over,
            senders,
        }
    }

    fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// How many have passed since the last call.
    fn passed(&self) -> usize {
        // They may come faster than they are read.
        let received = (0..MOST).take_while(|_| self.receiver.recv_from(&mut [0; 8]).is_ok());
        received.count()
    }

    fn end(self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.senders.into_iter().for_each(|it| it.join().unwrap());
    }
}

/// A connection from outside by the published port, to a server that answers each byte.
fn connection(beta: &OwnedFd, outside: &OwnedFd) -> (TcpStream, JoinHandle<()>) {
    let listener = within(beta, || TcpListener::bind("10.77.0.12:7").unwrap());
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut byte = [0];
        while let Ok(1) = stream.read(&mut byte) {
            if stream.write_all(&byte).is_err() {
                return;
            }
        }
    });
    let to = SocketAddr::from(([192, 0, 2, 1], 9107));
    let client = within(outside, || TcpStream::connect_timeout(&to, LIMIT).unwrap());
    client.set_read_timeout(Some(LIMIT)).unwrap();
    (client, server)
}

fn answers(stream: &mut TcpStream) {
    stream.write_all(b"x").unwrap();
    stream.read_exact(&mut [0]).unwrap();
}

/// The host has met the other machine, which was not there when the test began.
fn forget_outside() {
    run(in_time("ip").args(["neigh", "flush", "dev", "up0"])).expect(0);
}

fn flush() {
    run(in_time("nft").args(["flush", "ruleset"])).expect(0);
}

fn start(environment: &[(&str, &str)]) -> (Daemon, [OwnedFd; 3]) {
    place::host();
    let outside = outside();
    place::folder("/srv/data");
    example("idle");
    let daemon = Daemon::spawn_with(PROGRAM, MANIFEST, environment);
    daemon.settles();
    let of = |name: &str| {
        netns(&format!(
            "/proc/{}/ns/net",
            daemon.tenant(name).pid.unwrap()
        ))
    };
    let [acme, beta] = ["acme", "beta"].map(of);
    (daemon, [acme, beta, outside])
}

#[test]
fn nothing_passes_while_the_ruleset_is_flushed_and_what_may_pass_continues() {
    let (mut daemon, [acme, beta, outside]) = start(&[]);
    let floods = Floods::new(&beta, &[&acme, &outside]);
    let (mut stream, server) = connection(&beta, &outside);
    fs::write("/srv/others.nft", OTHERS).unwrap();
    for round in 0..50 {
        if round % 2 == 0 {
            run(in_time("nft").args(["-f", "/srv/others.nft"])).expect(0);
            answers(&mut stream);
        }
        flush();
        answers(&mut stream);
        assert_eq!(floods.passed(), 0, "round {round}");
    }
    println!(
        "none of {} datagrams has passed in 50 flushes",
        floods.sent()
    );
    // It would lose its translation, and its end would not be told.
    drop(stream);
    server.join().unwrap();
    // Without an owner, the tables go, and all pass.
    daemon.kill();
    assert_eq!(floods.passed(), 0);
    flush();
    crate::support::until("the floods pass without the tables", || floods.passed() > 0);
    floods.end();
    drop((acme, beta));
    daemon.again();
    daemon.settles();
    forget_outside();
    daemon.end();
}

#[test]
fn without_owners_datagrams_pass_only_until_the_tables_are_restored() {
    let (daemon, [acme, beta, outside]) = start(&[("TENANTD_PLAIN_TABLES", "1")]);
    let floods = Floods::new(&beta, &[&acme, &outside]);
    assert_eq!(floods.passed(), 0);
    let (mut all, rounds) = (0, 5);
    for _ in 0..rounds {
        let mended = daemon.status().network.mended;
        flush();
        crate::support::until("the tables are there again", || {
            daemon.status().network.mended > mended
        });
        all += floods.passed();
        // From here on, nothing passes.
        let sent = floods.sent();
        crate::support::until("more was sent", || floods.sent() > sent + 1000);
        assert_eq!(floods.passed(), 0);
    }
    println!(
        "{all} of {} datagrams have passed in the gaps of {rounds} flushes",
        floods.sent()
    );
    floods.end();
    drop((acme, beta));
    forget_outside();
    daemon.end();
}
