//! How long it takes until a new supervisor answers `status`, after one was killed whose tenants run.
//!
//! The floor is what the kernel alone needs to open each tenant's process and to read its network
//! namespace. `cargo bench --bench adoption` measures 1,000 tenants, `-- -n 100` fewer. It needs root, and makes its own test host.
//! `TENANTD_BENCH_AGAINST=FILE` measures another tenantd in turn with this one. With `TENANTD_TIMELINE=FILE`, all
//! supervisors write their timeline there.

#![allow(unreachable_pub, reason = "the shared modules are private here")]

#[path = "../cold_start/crew.rs"]
#[allow(dead_code, reason = "the cold start uses all of it")]
mod crew;
#[path = "../cold_start/samples.rs"]
#[allow(dead_code, reason = "the cold start uses all of it")]
mod samples;
#[path = "../cold_start/sheet.rs"]
mod sheet;
#[path = "../../tests/support/mod.rs"]
mod support;

use crew::{Crew, count};
use samples::{Samples, in_turn};
use sheet::Sheet;
use support::daemon::PROGRAM;

/// How often each supervisor is killed, of which the median counts.
const ROUNDS: usize = 5;

fn main() {
    let count = count().unwrap_or(1000);
    let mut sheet = Sheet::default();
    support::place::host();
    support::place::folder("/srv/data");
    crew::program();
    let against = std::env::var("TENANTD_BENCH_AGAINST").ok();
    let programs: Vec<_> = [PROGRAM.to_owned()].into_iter().chain(against).collect();
    let mut samples = Samples::new(programs.len());
    let mut floors = Samples::new(1);
    for (which, program, _) in in_turn(&programs, 1) {
        let mut crew = Crew::start(program, count);
        for _ in 0..ROUNDS {
            floors.add(0, "found", crew.found());
            samples.add(which, "adopt", crew.adopt());
        }
        crew.stop();
    }
    sheet
        .sampled(
            &format!("adoption of {count} until status answers, ms"),
            samples.all("adopt"),
        )
        .floors(floors.all("found").remove(0))
        .goal(100.0);
    sheet.print();
}
