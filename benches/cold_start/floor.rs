//! The time that the kernel alone needs for the same work: a namespace, a link into it, and the
//! program executed in it, one after the other and without a supervisor.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns, unshare};
use rtnetlink::packet_route::link::{InfoData, InfoVeth, LinkAttribute, LinkFlags};
use rtnetlink::{Handle, LinkUnspec, LinkVeth};
use tokio::runtime::Runtime;

use crate::crew::{IDLE, answered, as_divisor, median, ms};
use crate::support::daemon::{in_time, run, until};

/// Milliseconds per tenant.
#[derive(Debug)]
pub struct Floor {
    pub namespace: f64,
    pub link: f64,
    pub launch: f64,
    /// The process killed and reaped, its namespace and link destroyed.
    pub away: f64,
    /// From spawn to the first answer, in the host's own namespaces.
    pub answer: f64,
}

impl Floor {
    pub fn measure(count: usize) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .unwrap();
        let guard = runtime.enter();
        let (connection, handle, _) = rtnetlink::new_connection().unwrap();
        drop(guard);
        runtime.spawn(connection);
        let mut spent = [Duration::ZERO; 3];
        let mut bare: Vec<_> = (0..count)
            .map(|number| Bare::make(number, &runtime, &handle, &mut spent))
            .collect();
        let begun = Instant::now();
        for each in &mut bare {
            each.child.kill().unwrap();
        }
        for each in &mut bare {
            each.child.wait().unwrap();
        }
        // This closes the last descriptors of the namespaces, which destroys the links.
        drop(bare);
        for number in 0..count {
            let link = format!("/sys/class/net/{}", name(number));
            while Path::new(&link).exists() {
                std::thread::yield_now();
            }
        }
        let away = ms(begun.elapsed()) / as_divisor(count);
        until("their namespaces are gone", || {
            let left = run(in_time("ip").args(["-j", "netns", "list-id"])).expect(0);
            (left.trim() == "[]").then_some(())
        });
        let [namespace, link, launch] = spent.map(|time| ms(time) / as_divisor(count));
        Self {
            namespace,
            link,
            launch,
            away,
            answer: answer(),
        }
    }

    /// Its parts.
    pub fn print(&self, count: usize) {
        eprintln!(
            "floor of each of {count}: namespace {:.2} ms, link {:.2} ms, launch {:.2} ms, end {:.2} ms",
            self.namespace, self.link, self.launch, self.away
        );
    }

    /// Everything that a cold start must do.
    pub fn sum(&self) -> f64 {
        self.namespace + self.link + self.launch
    }
}

/// A tenant without a supervisor.
struct Bare {
    child: Child,
    _netns: File,
}

impl Bare {
    fn make(number: usize, runtime: &Runtime, handle: &Handle, spent: &mut [Duration; 3]) -> Self {
        let begun = Instant::now();
        let netns = on_a_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            File::open("/proc/thread-self/ns/net").unwrap()
        });
        let namespace = Instant::now();
        runtime.block_on(link(handle, number, &netns));
        let linked = Instant::now();
        let child = on_a_thread(|| {
            setns(&netns, CloneFlags::CLONE_NEWNET).unwrap();
            unshare(CloneFlags::CLONE_NEWNS).unwrap();
            // Returns when the program has been executed.
            spawn(80)
        });
        spent[0] += namespace - begun;
        spent[1] += linked - namespace;
        spent[2] += linked.elapsed();
        Self {
            child,
            _netns: netns,
        }
    }
}

fn name(number: usize) -> String {
    format!("bare{number}")
}

/// Makes a pair of links, with the far end in the namespace and the near end up. Each has one
/// queue; with more, the kernel waits for RCU twice.
async fn link(handle: &Handle, number: usize, netns: &File) {
    let [tx, rx] = [LinkAttribute::NumTxQueues(1), LinkAttribute::NumRxQueues(1)];
    let peer = LinkUnspec::new_with_name("eth0")
        .append_extra_attribute(tx.clone())
        .append_extra_attribute(rx.clone())
        .setns_by_fd(netns.as_raw_fd())
        .build();
    let mut pair = LinkVeth::new(&name(number), "")
        .append_extra_attribute(tx)
        .append_extra_attribute(rx)
        .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
        .build();
    pair.header.flags |= LinkFlags::Up;
    pair.header.change_mask |= LinkFlags::Up;
    handle.link().add(pair).execute().await.unwrap();
}

/// Enters a namespace on a temporary thread.
fn on_a_thread<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| scope.spawn(act).join().unwrap())
}

fn spawn(port: u16) -> Child {
    let mut program = Command::new(IDLE);
    program.arg(port.to_string()).stdin(Stdio::null());
    program.spawn().unwrap()
}

/// The median of several launches of the program, each until it answers.
fn answer() -> f64 {
    let times = (7001..7021)
        .map(|port| {
            let begun = Instant::now();
            let mut child = spawn(port);
            answered(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
            let time = ms(begun.elapsed());
            child.kill().unwrap();
            child.wait().unwrap();
            time
        })
        .collect();
    median(times)
}
