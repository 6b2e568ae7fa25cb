//! What a tenant costs in addition to its program, each figure with the floor measured in the same
//! run.
//!
//! `cargo bench` measures with 100 tenants, and with 1,000 for the growth; `cargo bench -- -n 20`
//! with fewer (20 and 200). It needs root, and makes its own test host.
//!
//! `TENANTD_BENCH_AGAINST=FILE cargo bench` also measures another tenantd, in turn with this one
//! and as often, and prints the ratios: below 1, this one takes less.

#![allow(unreachable_pub, reason = "the shared modules are private here")]

#[allow(dead_code, reason = "the control socket's benchmark uses the rest")]
mod crew;
mod floor;
mod samples;
mod sheet;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::time::Duration;

use crew::{Crew, as_divisor, count};
use floor::Floor;
use samples::{Samples, in_turn};
use sheet::Sheet;
use support::daemon::PROGRAM;

/// How many times as many tenants the large run has.
const GROWTH: usize = 10;

/// The number of tenants for the supervisor's own size.
const FEW: usize = 10;

/// The number of cold starts, of which the median counts: on a shared machine, single ones differ
/// by up to a third.
const ROUNDS: usize = 5;

/// The number of runs with many tenants when two programs are compared.
const ROUNDS_AGAINST: usize = 3;

/// How long the idle supervisor is observed.
const WATCHED: Duration = Duration::from_secs(5);

fn main() {
    let count = count().unwrap_or(100);
    let mut sheet = Sheet::default();
    support::place::host();
    support::place::folder("/srv/data");
    crew::program();
    let against = std::env::var("TENANTD_BENCH_AGAINST").ok();
    let programs: Vec<_> = [PROGRAM.to_owned()].into_iter().chain(against).collect();
    let rounds = match programs.len() {
        1 => 1,
        _ => ROUNDS_AGAINST,
    };
    let mut samples = Samples::new(programs.len());
    small(&programs, rounds, &mut samples);
    sheet
        .sampled(
            "resident with 10 tenants, KB",
            samples.all("small: resident"),
        )
        .goal(12.0 * 1024.0);
    few(&programs, count, &mut samples, &mut sheet);
    many(&programs, count * GROWTH, rounds, &mut samples, &mut sheet);
    let [few, many] = ["few: cold", "many: cold"].map(|name| samples.of(name));
    let grown = many.iter().zip(few).map(|(many, few)| many / few).collect();
    sheet.figure("growth of the cold start", grown).goal(1.1);
    sheet.print();
}

/// Measures the supervisor's own size.
fn small(programs: &[String], rounds: usize, samples: &mut Samples) {
    for (which, program, _) in in_turn(programs, rounds) {
        let crew = Crew::start(program, FEW);
        let size = crew.size();
        samples.add(which, "small: resident", size.resident);
        samples.add(which, "small: heap", size.heap);
        samples.add(which, "small: descriptors", size.descriptors);
        crew.stop();
    }
}

/// Measures with 100 tenants.
fn few(programs: &[String], count: usize, samples: &mut Samples, sheet: &mut Sheet) {
    let mut floors = Samples::new(1);
    for (which, program, round) in in_turn(programs, ROUNDS) {
        let floor = Floor::measure(count);
        for (name, value) in [
            ("all", floor.sum()),
            ("answer", floor.answer),
            ("away", floor.away),
        ] {
            floors.add(0, name, value);
        }
        if round == ROUNDS - 1 {
            floor.print(count);
        }
        let crew = Crew::start(program, count);
        samples.add(which, "few: cold", crew.cold / as_divisor(count));
        samples.add(which, "few: restart", crew.restart(20.min(count)));
        if round == ROUNDS - 1 {
            samples.add(which, "few: woken", crew.woken(WATCHED));
        }
        samples.add(which, "few: stop", crew.stop());
    }
    let floor_of = |name| floors.all(name).remove(0);
    let all_away = |away: f64| away * as_divisor(count) / 1000.0;
    sheet
        .sampled(
            &format!("cold start of {count}, ms per tenant"),
            samples.all("few: cold"),
        )
        .floors(floor_of("all"))
        .goal_over_floor(1.5);
    sheet
        .sampled(
            "restart of a killed tenant to its answer, ms",
            samples.all("few: restart"),
        )
        .floors(floor_of("answer"))
        .goal(1.5);
    sheet
        .sampled("wake-ups in 5 s when idle", samples.all("few: woken"))
        .goal(0.0);
    sheet
        .sampled(
            &format!("stop and release of {count}, s"),
            samples.all("few: stop"),
        )
        .floors(floor_of("away").into_iter().map(all_away).collect())
        .goal(1.0);
}

/// Measures with ten times as many.
fn many(
    programs: &[String],
    count: usize,
    rounds: usize,
    samples: &mut Samples,
    sheet: &mut Sheet,
) {
    let floor = Floor::measure(count);
    let mut found = 0.0;
    for (which, program, round) in in_turn(programs, rounds) {
        let mut crew = Crew::start(program, count);
        samples.add(which, "many: cold", crew.cold / as_divisor(count));
        let size = crew.size();
        samples.add(which, "many: resident", size.resident);
        samples.add(which, "many: heap", size.heap);
        samples.add(which, "many: descriptors", size.descriptors);
        if round == rounds - 1 {
            samples.add(which, "many: woken", crew.woken(WATCHED));
        }
        found = crew.found();
        samples.add(which, "many: adopt", crew.adopt());
        samples.add(which, "many: stop", crew.stop());
    }
    sheet
        .sampled(
            &format!("cold start of {count}, ms per tenant"),
            samples.all("many: cold"),
        )
        .floor(floor.sum());
    for (name, key, goal) in [
        ("resident, KB", "resident", 6.0),
        ("heap (RssAnon), KB", "heap", 6.0),
        ("descriptors", "descriptors", 4.0),
    ] {
        let [with, without] = ["many", "small"].map(|size| samples.of(&format!("{size}: {key}")));
        let slope = |(with, without)| (with - without) / as_divisor(count - FEW);
        let slopes = with.into_iter().zip(without).map(slope).collect();
        sheet
            .figure(&format!("each further tenant: {name}"), slopes)
            .goal(goal);
    }
    sheet
        .sampled(
            &format!("wake-ups in 5 s when idle, {count}"),
            samples.all("many: woken"),
        )
        .goal(0.0);
    sheet
        .sampled(
            &format!("adoption of {count} until status answers, ms"),
            samples.all("many: adopt"),
        )
        .floor(found)
        .goal(100.0);
    sheet
        .sampled(
            &format!("stop and release of {count}, s"),
            samples.all("many: stop"),
        )
        .floor(floor.away * as_divisor(count) / 1000.0);
    floor.print(count);
}
