//! One tenant among many: how long its start takes while a thousand others run, from the request to the execution of its
//! program; and how long its requests wait while a thousand others start, over the same when nothing else happens.
//!
//! A start is asked for by a client of the library that is connected already, of a tenant that was stopped and released: its
//! network namespace, its link and its rules are made too. The floor is that of a cold start.
//!
//! The client of the second part is a process of its own with a priority above all others (chrt(1)), so that the figures are what the
//! tenant's server waits, not what the client waits.
//!
//! `cargo bench --bench among` measures with 1,000 others, `-- -n 100` with fewer. It needs root, and makes its own test host.

#![allow(unreachable_pub, reason = "the shared modules are private here")]

#[path = "../cold_start/begun.rs"]
mod begun;
#[path = "../cold_start/crew.rs"]
#[allow(dead_code, reason = "the cold start uses all of it")]
mod crew;
#[path = "../cold_start/floor.rs"]
#[allow(dead_code, reason = "the cold start uses all of it")]
mod floor;
mod requests;
#[path = "../cold_start/sheet.rs"]
mod sheet;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::time::Duration;

use tenantd_api::client::Connection;
use tenantd_api::client::watch::{Until, wait};
use tenantd_api::wire::Verb;
use tenantd_core::name::{AppName, TenantName};

use begun::{answer, milliseconds, now};
use crew::{Crew, Lines, count, median};
use floor::Floor;
use requests::Client;
use sheet::{Sheet, part};
use support::daemon::PROGRAM;

/// How many tenants are stopped and started, one after the other.
const STARTS: usize = 200;

/// How often all others are stopped and started.
const ROUNDS: usize = 3;

/// How long the requests are watched while nothing else happens.
const QUIET: Duration = Duration::from_secs(5);

/// The tenants' program says when it began.
const TELLS: Lines<'_> = Lines {
    arguments: ", \"80\", \"begun\"",
    ..Lines::DEFAULT
};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|it| it == requests::OPTION) {
        return requests::send(&arguments[at + 1]);
    }
    let count = count().unwrap_or(1000);
    let mut sheet = Sheet::default();
    support::place::host();
    support::place::folder("/srv/data");
    crew::program();
    let floor = Floor::measure(100).sum();
    let crew = Crew::start_as(PROGRAM, count, TELLS, &[]);
    let times = starts(&crew, STARTS.min(count));
    sheet
        .sampled("start of one, request to exec, ms", vec![times.clone()])
        .floor(floor)
        .goal(1.5);
    sheet
        .figure("the same, p99, ms", vec![part(&times, 99).unwrap()])
        .goal(4.0);
    beside(&crew, &mut sheet);
    crew.stop();
    sheet.print();
}

/// Stops and starts some tenants, and returns the milliseconds from each request to the execution.
fn starts(crew: &Crew, count: usize) -> Vec<f64> {
    let app: AppName = crew.app().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut client = runtime.block_on(Connection::open(&app)).unwrap();
    let addresses = crew.addresses().iter().enumerate().take(count);
    addresses
        .map(|(number, address)| {
            let tenant: TenantName = format!("t{number}").parse().unwrap();
            let tenants = std::slice::from_ref(&tenant);
            let begun = runtime.block_on(async {
                client.act(Verb::Stop, tenants, false).await.unwrap();
                wait(&app, tenants, Until::Settled).await.unwrap();
                let begun = now();
                client.act(Verb::Start, tenants, false).await.unwrap();
                begun
            });
            // A connection that comes before the program listens would be tried again a second later.
            runtime
                .block_on(wait(&app, tenants, Until::Settled))
                .unwrap();
            let (executed, _) = answer(*address);
            milliseconds(executed - begun)
        })
        .collect()
}

/// The requests of the first tenant, while nothing else happens and while all others start.
fn beside(crew: &Crew, sheet: &mut Sheet) {
    let others: Vec<String> = (1..crew.addresses().len())
        .map(|it| format!("t{it}"))
        .collect();
    let (mut quiet, mut busy) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        tell(crew, "stop", &others);
        let client = Client::start(crew.addresses()[0]);
        std::thread::sleep(QUIET);
        quiet.push(part(&client.end(), 99).unwrap());
        let client = Client::start(crew.addresses()[0]);
        tell(crew, "start", &others);
        busy.push(part(&client.end(), 99).unwrap());
    }
    let ratio = median(busy.clone()) / median(quiet.clone());
    sheet
        .sampled("p99 of requests while all others start, ms", vec![busy])
        .floors(quiet);
    sheet
        .figure("the same, over the quiet run", vec![ratio])
        .goal(1.3);
}

fn tell(crew: &Crew, verb: &str, tenants: &[String]) {
    let mut arguments = vec![verb];
    arguments.extend(tenants.iter().map(String::as_str));
    crew.tell(&arguments).expect(0);
}
