//! The time that the kernel alone needs: a killed program is reaped, and a new process executes it in the
//! network namespace that is kept and in a mount namespace of its own.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::thread::scope;

use nix::sched::{CloneFlags, setns, unshare};

use crate::begun::now;
use crate::crew::IDLE;
use crate::support::daemon::{in_time, run};
use crate::{Away, away};

/// As often as this.
pub fn measure(count: usize) -> Vec<Away> {
    // This thread stays in the namespace, and ends.
    scope(|scope| scope.spawn(|| in_namespace(count)).join().unwrap())
}

fn in_namespace(count: usize) -> Vec<Away> {
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    let netns = File::open("/proc/thread-self/ns/net").unwrap();
    run(in_time("ip").args(["link", "set", "lo", "up"])).expect(0);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 80));
    let begun = now();
    let mut child = start(&netns);
    away(begun, address);
    let times = (0..count).map(|_| {
        let begun = now();
        child.kill().unwrap();
        child.wait().unwrap();
        child = start(&netns);
        away(begun, address)
    });
    let times = times.collect();
    child.kill().unwrap();
    child.wait().unwrap();
    times
}

/// Returns when the program has been executed.
fn start(netns: &File) -> Child {
    scope(|scope| {
        let thread = scope.spawn(|| {
            setns(netns, CloneFlags::CLONE_NEWNET).unwrap();
            unshare(CloneFlags::CLONE_NEWNS).unwrap();
            let mut program = Command::new(IDLE);
            program.args(["80", "begun"]).stdin(Stdio::null());
            program.spawn().unwrap()
        });
        thread.join().unwrap()
    })
}
