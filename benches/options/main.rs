//! What each option costs a tenant at a cold start: the same start with the option and without it, in turn, with
//! everything else at its default. The last row has everything optional off.
//!
//! `cargo bench --bench options` measures 100 tenants, `-- -n 20` fewer. It needs root, and makes its own test host.
//! The limits of a cgroup need the controllers of cgroup v2: where the host has none, the row is left out, and that is said.

#![allow(unreachable_pub, reason = "the shared modules are private here")]

#[path = "../cold_start/crew.rs"]
#[allow(dead_code, reason = "the cold start uses all of it")]
mod crew;
#[path = "../cold_start/floor.rs"]
#[allow(dead_code, reason = "the cold start uses all of it")]
mod floor;
#[path = "../cold_start/sheet.rs"]
mod sheet;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::fs;

use crew::{Crew, Lines, as_divisor, count};
use floor::Floor;
use sheet::Sheet;
use support::daemon::PROGRAM;

/// How often each is measured, in turn.
const ROUNDS: usize = 5;

/// Ten folders, three private ones and three files, with a read-only host.
const FOLDERS: Lines<'_> = Lines {
    datastore: "datastore.folders = [\"/srv/f0\", \"/srv/f1\", \"/srv/f2\", \"/srv/f3\", \"/srv/f4\", \"/srv/f5\", \
         \"/srv/f6\", \"/srv/f7\", \"/srv/f8\", \"/srv/f9\"]",
    app: "private = [\"/run/a\", \"/run/b\", \"/run/c\"]\n\
          files = [{ path = \"/run/1\", text = \"a\" }, { path = \"/run/2\", text = \"b\" }, \
          { path = \"/srv/f0/3\", text = \"c\" }]",
    ..Lines::DEFAULT
};

/// Limits of each kind that need no controller of a cgroup.
const OF_PROCESSES: Lines<'_> = Lines {
    app: "limits = { open_files = 4096, core = \"1 MiB\", locked_memory = \"1 MiB\" }",
    ..Lines::DEFAULT
};

/// Limits that need the controllers of cgroup v2.
const OF_CGROUPS: Lines<'_> = Lines {
    app: "limits = { memory = { max = \"256 MiB\", high = \"192 MiB\" }, cpu = { quota = \"100 %\", weight = 50 }, \
          pids = { max = 100 } }",
    ..Lines::DEFAULT
};

const NO_FIREWALL: Lines<'_> = Lines {
    network: "firewall = \"off\"",
    ..Lines::DEFAULT
};

const NO_WALL: Lines<'_> = Lines {
    app: "wall = { landlock = false, hidepid = false, system_calls = \"none\", set_id_programs = true }",
    ..Lines::DEFAULT
};

const WRITABLE: Lines<'_> = Lines {
    app: "host = \"writable\"",
    ..Lines::DEFAULT
};

const ALL_OFF: Lines<'_> = Lines {
    app: "host = \"writable\"\nwall = { landlock = false, hidepid = false, system_calls = \"none\", set_id_programs = true }",
    network: "firewall = \"off\"",
    ..Lines::DEFAULT
};

/// A row: the name of the option, the manifest, and whether it is the one without the option.
type Row = (&'static str, Lines<'static>, bool);

const ROWS: [Row; 7] = [
    (
        "ten folders, three private ones, three files",
        FOLDERS,
        false,
    ),
    ("limits of each process", OF_PROCESSES, false),
    (
        "limits of memory, processor and processes",
        OF_CGROUPS,
        false,
    ),
    ("the firewall", NO_FIREWALL, true),
    ("the wall", NO_WALL, true),
    ("the read-only host", WRITABLE, true),
    ("everything optional", ALL_OFF, true),
];

fn main() {
    let count = count().unwrap_or(100);
    let mut sheet = Sheet::default();
    support::place::host();
    support::place::folder("/srv/data");
    for number in 0..10 {
        fs::create_dir_all(format!("/srv/f{number}")).unwrap();
    }
    crew::program();
    let rows: Vec<&Row> = ROWS.iter().filter(|row| is_possible(row)).collect();
    let mut plain = Vec::new();
    let mut floors = Vec::new();
    let mut others = vec![Vec::new(); rows.len()];
    for _ in 0..ROUNDS {
        floors.push(Floor::measure(count).sum());
        plain.push(cold(count, Lines::DEFAULT));
        for ((_, lines, _), found) in rows.iter().zip(&mut others) {
            found.push(cold(count, *lines));
        }
    }
    let name = format!("cold start of {count}, ms per tenant");
    let figure = sheet.sampled(&name, vec![plain.clone()]);
    figure.floors(floors.clone()).goal_over_floor(1.5);
    for ((name, _, is_without), found) in rows.iter().zip(&others) {
        let each = plain.iter().zip(found);
        let costs = each.map(|(plain, found)| match is_without {
            true => plain - found,
            false => found - plain,
        });
        sheet.sampled(&format!("{name}, ms"), vec![costs.collect()]);
    }
    if let Some(without) = others.pop() {
        let figure = sheet.sampled(&format!("{name}, everything optional off"), vec![without]);
        figure.floors(floors).goal_over_floor(1.2);
    }
    sheet.print();
}

/// Whether the host has what the row needs.
fn is_possible((name, lines, _): &Row) -> bool {
    if lines.app != OF_CGROUPS.app {
        return true;
    }
    let trees = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
    let listed = trees.map(|tree| fs::read_to_string(format!("{tree}/cgroup.controllers")));
    let controllers = listed.into_iter().find_map(Result::ok).unwrap_or_default();
    let has = |name: &&str| controllers.split_whitespace().any(|it| it == *name);
    let lacks = ["memory", "cpu", "pids"].iter().find(|name| !has(name));
    if let Some(controller) = lacks {
        eprintln!(
            "{name}: not measured, since this host's cgroup v2 has no controller {controller}"
        );
    }
    lacks.is_none()
}

/// The cold start of tenants, in ms each.
fn cold(count: usize, lines: Lines<'_>) -> f64 {
    let crew = Crew::start_as(PROGRAM, count, lines, &[]);
    let cold = crew.cold / as_divisor(count);
    crew.stop();
    cold
}
