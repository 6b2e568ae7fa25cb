//! How long a tenant is away whose program was killed: until the next one is executed, and until that
//! answers. Each tenant is killed once per round, one after the other, with everything at its default.
//!
//! The floor is the same program in a network namespace that is kept: killed, reaped, and executed again by
//! a new process with a mount namespace of its own, without a supervisor, in the same run.
//!
//! `cargo bench --bench restart` measures 100 tenants, `-- -n 20` fewer; more than 100 exceed the budget of restarts.
//! It needs root, and makes its own test host. `TENANTD_BENCH_AGAINST=FILE` measures another tenantd in turn with
//! this one. With `TENANTD_TIMELINE=FILE`, the last supervisor writes its timeline there.

#![allow(unreachable_pub, reason = "the shared modules are private here")]

#[path = "../cold_start/begun.rs"]
mod begun;
#[path = "../cold_start/crew.rs"]
#[allow(dead_code, reason = "the cold start uses all of it")]
mod crew;
mod floor;
#[path = "../cold_start/samples.rs"]
#[allow(dead_code, reason = "the cold start uses all of it")]
mod samples;
#[path = "../cold_start/sheet.rs"]
mod sheet;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use nix::sys::signal::Signal;

use begun::{answer, milliseconds, now};
use crew::{IDLE, count};
use samples::in_turn;
use sheet::Sheet;
use support::daemon::{Daemon, LIMIT, PROGRAM, ends, pidfd, signal};
use support::place::SRV;

/// The number of rounds, in turn.
const ROUNDS: usize = 3;

/// The pause before a kill: the budget of restarts permits 50 per second in the long run, and the supervisor has
/// completed what it does after the launch before.
const PAUSE: Duration = Duration::from_millis(30);

/// Milliseconds from the kill to the execution of the next program, and to its answer.
pub type Away = [f64; 2];

fn main() {
    let count = count().unwrap_or(100);
    let mut sheet = Sheet::default();
    support::place::host();
    support::place::folder("/srv/data");
    crew::program();
    let against = std::env::var("TENANTD_BENCH_AGAINST").ok();
    let programs: Vec<_> = [PROGRAM.to_owned()].into_iter().chain(against).collect();
    let mut floors: Vec<Away> = Vec::new();
    let mut times: Vec<Vec<Away>> = vec![Vec::new(); programs.len()];
    for (which, program, _) in in_turn(&programs, ROUNDS) {
        floors.extend(floor::measure(count));
        times[which].extend(measure(program, count));
    }
    for (column, name, goal) in [
        (0, "killed to exec, ms", 1.0),
        (1, "killed to answer, ms", 1.5),
    ] {
        let of_one = |times: &Vec<Away>| times.iter().map(|row| row[column]).collect();
        sheet
            .sampled(name, times.iter().map(of_one).collect())
            .floors(of_one(&floors))
            .goal(goal);
    }
    sheet.print();
}

/// Kills each tenant of a supervisor once.
fn measure(program: &str, count: usize) -> Vec<Away> {
    let address = |number: usize| {
        let first = u32::from(Ipv4Addr::new(10, 77, 0, 10));
        SocketAddr::from((Ipv4Addr::from(first + u32::try_from(number).unwrap()), 80))
    };
    let mut manifest = format!(
        "[app]\nname = \"APP\"\nuser = \"root\"\ncommand = [\"{IDLE}\", \"80\", \"begun\"]\n\
         datastore.path = \"{SRV}/data\"\nready.tcp = 80\n[network]\nsubnet = \"10.77.0.0/16\"\n[tenants]\n"
    );
    for number in 0..count {
        manifest += &format!("t{number} = {{ ip = \"{}\" }}\n", address(number).ip());
    }
    let daemon = Daemon::start_with(program, &manifest);
    daemon.tell(&["start", "--all"]).expect(0);
    let status = daemon.settles();
    let pid_of = |number: usize| {
        let name = format!("t{number}");
        let mut tenants = status.tenants.iter();
        tenants
            .find(|it| it.name.as_str() == name)
            .unwrap()
            .pid
            .unwrap()
    };
    let pids: Vec<u32> = (0..count).map(pid_of).collect();
    let each = pids.into_iter().enumerate();
    let times = each.map(|(number, pid)| {
        std::thread::sleep(PAUSE);
        let process = pidfd(pid);
        let begun = now();
        signal(pid, Signal::SIGKILL);
        assert!(ends(&process, LIMIT));
        away(begun, address(number))
    });
    let times = times.collect();
    daemon.end();
    times
}

/// Waits until the next program answers.
pub fn away(killed: i64, address: SocketAddr) -> Away {
    let (begun, answered) = answer(address);
    [begun - killed, answered - killed].map(milliseconds)
}
