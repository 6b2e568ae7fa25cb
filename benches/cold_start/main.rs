//! What a tenant costs beyond its program, each figure beside the floor measured in the same run.
//!
//! `cargo bench` measures 100 tenants, and 1,000 for the growth; `cargo bench -- -n 20` fewer (a
//! tenth of the greater number). It needs root, and makes a test host of its own.

#![allow(unreachable_pub, reason = "the shared modules are private here")]

mod crew;
mod floor;
mod sheet;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::time::Duration;

use crew::{Crew, Size, median, spread};
use floor::Floor;
use sheet::Sheet;

/// Tenants of the greater run, for each of the smaller one.
const GROWTH: usize = 10;

/// Tenants with which the supervisor's own size is judged.
const FEW: usize = 10;

/// Cold starts of which the median counts: on a shared machine a single one takes up to a third more
/// or less than the next.
const ROUNDS: usize = 5;

/// How long the idle supervisor is watched.
const WATCHED: Duration = Duration::from_secs(5);

fn main() {
    let count = count().unwrap_or(100);
    support::place::host();
    support::place::folder("/srv/data");
    crew::program();
    let mut sheet = Sheet::default();
    let small = Crew::start(FEW);
    let size = small.size();
    sheet
        .figure("resident with 10 tenants, KB", size.resident)
        .goal(12.0 * 1024.0);
    small.stop();
    let cold = few(count, &mut sheet);
    many(count * GROWTH, &mut sheet, &size);
    let grown = sheet.last(|name| name.starts_with("cold start"));
    sheet
        .figure("growth of the cold start", grown / cold)
        .goal(1.5);
    sheet.print();
}

/// What is measured with 100 tenants. Gives the time of the cold start per tenant back.
fn few(count: usize, sheet: &mut Sheet) -> f64 {
    let rounds: Vec<_> = (1..ROUNDS)
        .map(|_| {
            let floor = Floor::measure(count);
            let crew = Crew::start(count);
            let cold = crew.cold;
            crew.stop();
            (cold, floor.sum())
        })
        .collect();
    let floor = Floor::measure(count);
    let crew = Crew::start(count);
    let (mut colds, mut floors): (Vec<_>, Vec<_>) = rounds.into_iter().unzip();
    colds.push(crew.cold);
    floors.push(floor.sum());
    let cold = median(colds) / spread(count);
    sheet
        .figure(&format!("cold start of {count}, ms per tenant"), cold)
        .floor(median(floors))
        .goal(3.0);
    sheet
        .figure(
            "restart of a killed tenant to its answer, ms",
            crew.restart(20.min(count)),
        )
        .floor(floor.answer)
        .goal(5.0);
    sheet
        .figure("wake-ups in 5 s when idle", crew.woken(WATCHED))
        .goal(0.0);
    sheet
        .figure(&format!("stop and release of {count}, s"), crew.stop())
        .floor(floor.away * spread(count) / 1000.0)
        .goal(1.0);
    floor.print(count);
    cold
}

/// What is measured with ten times as many.
fn many(count: usize, sheet: &mut Sheet, small: &Size) {
    let floor = Floor::measure(count);
    let mut crew = Crew::start(count);
    sheet
        .figure(
            &format!("cold start of {count}, ms per tenant"),
            crew.cold / spread(count),
        )
        .floor(floor.sum());
    let size = crew.size();
    let more = spread(count - FEW);
    for (name, with, without, goal) in [
        ("resident, KB", size.resident, small.resident, 6.0),
        ("heap (RssAnon), KB", size.heap, small.heap, 6.0),
        ("descriptors", size.descriptors, small.descriptors, 4.0),
    ] {
        let slope = (with - without) / more;
        sheet
            .figure(&format!("each tenant more: {name}"), slope)
            .goal(goal);
    }
    sheet
        .figure(
            &format!("wake-ups in 5 s when idle, {count}"),
            crew.woken(WATCHED),
        )
        .goal(0.0);
    let found = crew.found();
    sheet
        .figure(
            &format!("adoption of {count} until status answers, ms"),
            crew.adopt(),
        )
        .floor(found)
        .goal(1000.0);
    sheet
        .figure(&format!("stop and release of {count}, s"), crew.stop())
        .floor(floor.away * spread(count) / 1000.0);
    floor.print(count);
}

/// `-n COUNT`. Cargo adds `--bench`, which is of no use here.
fn count() -> Option<usize> {
    let mut arguments = std::env::args().skip_while(|argument| argument != "-n");
    let count = arguments.nth(1)?;
    Some(count.parse().expect("-n takes a number of tenants"))
}
