//! The whole life of ten thousand tenants on one host: start, `status`, a hundred killed at random, a reload of one
//! line, the supervisor killed and the next one that adopts, an upgrade, and the stop. At the end nothing is left.
//!
//! `cargo bench --bench ten_thousand` measures 10,000 tenants, `-- -n 1000` fewer. Each is a small static server. It
//! needs root and about 8 GB of memory, takes some minutes, and makes its own test host. `-- --as-built` measures the
//! program as cargo has built it for benchmarks, instead of building it once more as it is installed.
//!
//! A stretch is the processor time of the loop's thread between two checks for new events; the supervisor logs each
//! of more than 2 ms, so a figure of 2 ms means that none was longer. With `TENANTD_TIMELINE=FILE`, the supervisors
//! write their timeline there.

#![allow(unreachable_pub, reason = "the shared modules are private here")]

#[path = "../cold_start/crew.rs"]
#[allow(dead_code, reason = "the cold start uses all of it")]
mod crew;
mod process;
#[path = "../cold_start/sheet.rs"]
mod sheet;
mod steps;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::time::Duration;

use crew::{Crew, as_divisor, count, median, ms};
use process::Processes;
use sheet::Sheet;
use support::daemon::PROGRAM;

/// How many tenants the small run has, with which the large one is compared.
const FEW: usize = 100;

/// How often each short step is measured.
const ROUNDS: usize = 5;

/// How long the idle supervisor is observed.
const WATCHED: Duration = Duration::from_secs(5);

/// Shorter stretches are not logged.
const LONG: Duration = Duration::from_millis(2);

fn main() {
    let count = count().unwrap_or(10_000);
    support::place::host();
    support::place::folder("/srv/data");
    crew::program();
    let mut sheet = Sheet::default();
    let each = median((0..3).map(|_| few()).collect());
    sheet.figure("cold start of 100, ms per tenant", vec![each]);
    let log = ("TENANTD_LOG", "info,tenantd::stretch=debug");
    let mut crew = Crew::start_with(PROGRAM, count, &[log]);
    let grown = crew.cold / as_divisor(count);
    let name = format!("cold start of {count}, ms per tenant");
    sheet
        .figure(&name, vec![grown])
        .floor(each)
        .goal(1.2 * each);
    size(&crew, &mut sheet, "");
    status(&crew, &mut sheet);
    let woken = crew.woken(WATCHED);
    sheet
        .figure("wake-ups in 5 s when idle", vec![woken])
        .goal(0.0);
    let taken = steps::kill(&crew, 100.min(count));
    sheet.figure(
        "100 killed at once until all run again, ms",
        vec![ms(taken)],
    );
    reload(&crew, &mut sheet);
    let floor = crew.found();
    let adopted = (0..3).map(|_| crew.adopt()).collect();
    let goal = if count > 1000 { 800.0 } else { 100.0 };
    let name = "adoption until status answers, ms";
    sheet
        .figure(name, vec![median(adopted)])
        .floor(floor)
        .goal(goal);
    size(&crew, &mut sheet, ", adopted");
    let taken = steps::upgrade(&crew);
    sheet.figure(
        "upgrade until the next program answers, ms",
        vec![ms(taken)],
    );
    let stopped = crew.stop();
    let goal = 8.0 * as_divisor(count) / 10_000.0;
    sheet
        .figure("stop and release of all, s", vec![stopped])
        .goal(goal);
    sheet.print();
}

/// The cold start of a few, in ms per tenant.
fn few() -> f64 {
    let crew = Crew::start(PROGRAM, FEW);
    let cold = crew.cold;
    crew.stop();
    cold / as_divisor(FEW)
}

/// What the supervisor and its log collectors use.
fn size(crew: &Crew, sheet: &mut Sheet, when: &str) {
    let found = Processes::of(crew.pid(), crew.app());
    sheet
        .figure(&format!("supervisor: memory{when}, MB"), vec![found.memory])
        .goal(64.0);
    sheet
        .figure(&format!("supervisor: threads{when}"), vec![found.threads])
        .goal(8.0);
    let name = format!("most descriptors of its {} processes{when}", found.count);
    sheet.figure(&name, vec![found.descriptors]).goal(12_000.0);
    sheet.figure(
        &format!("log collectors: memory{when}, MB"),
        vec![found.collectors],
    );
}

/// `status` of all, as a client gets it and as the command prints it.
fn status(crew: &Crew, sheet: &mut Sheet) {
    let logged = crew.log().len();
    let (mut asked, mut printed, mut waited) = (Vec::new(), Vec::new(), Duration::ZERO);
    let mut completed = Vec::new();
    for _ in 0..ROUNDS {
        let (taken, wait) = steps::status(crew);
        asked.push(ms(taken));
        waited = waited.max(wait);
        printed.push(ms(steps::printed(crew)));
        completed.push(ms(steps::completed(crew)));
    }
    let long = steps::longest(&crew.log()[logged..]).max(LONG);
    sheet.figure(
        "status of all, until a client has it, ms",
        vec![median(asked)],
    );
    sheet
        .figure("status --json of all, ms", vec![median(printed)])
        .goal(250.0);
    sheet.figure(
        "completion of a name, until a shell has it, ms",
        vec![median(completed)],
    );
    sheet
        .figure("longest stretch of the loop meanwhile, ms", vec![ms(long)])
        .goal(5.0);
    sheet.figure("longest answer to another client, ms", vec![ms(waited)]);
}

/// A reload that changes one line, until the change is applied.
fn reload(crew: &Crew, sheet: &mut Sheet) {
    let logged = crew.log().len();
    let taken = (0..ROUNDS)
        .map(|round| ms(steps::reload(crew, round)))
        .collect();
    let long = steps::longest(&crew.log()[logged..]).max(LONG);
    sheet
        .figure("reload that changes one line, ms", vec![median(taken)])
        .goal(60.0);
    sheet.figure("longest stretch of the loop meanwhile, ms", vec![ms(long)]);
}
