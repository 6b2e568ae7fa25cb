//! What the view of the host, several folders and files cost a launch, from its begin to execve(2),
//! beside a launch with one folder on a writable host in the same run; the same for capabilities and
//! filters of system calls; and what rehearsals cost.
//!
//! `cargo bench --bench launch` needs root, and makes its own test hosts. `cargo bench --bench launch -- ten` measures only
//! the first row and those whose names contain `ten`.

#![allow(unreachable_pub, reason = "the shared modules are private here")]

#[allow(dead_code, reason = "the tests of launches use the rest")]
#[path = "../../tests/kernel/launch/bench.rs"]
mod bench;
mod floor;
#[path = "../cold_start/sheet.rs"]
#[allow(dead_code, reason = "the cold start uses all of it")]
mod sheet;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::fs::create_dir_all;
use std::time::Instant;

use rustix::process::{Resource, getrlimit};
use tenantd_core::capability::Capabilities;
use tenantd_core::manifest::Source;
use tenantd_core::plan;
use tenantd_core::plan::model::{FilePlan, FolderPlan, IdMap, Seed, Swap};
use tenantd_core::system_calls::Preset;
use tenantd_host::facts::Live;
use tenantd_host::launch::{MountTemplates, rehearse_all};

use bench::Bench;
use sheet::Sheet;

/// How many launches are measured per row.
const LAUNCHES: usize = 300;

/// How many tenants are rehearsed.
const TENANTS: usize = 100;

/// A row: its name, the change to the launch, what the kernel does for it, and the goal in ms above the
/// first row.
type Row = (&'static str, fn(&mut Bench), floor::Row, Option<f64>);

const fn mounts(plain: usize, overlays: usize, read_only: bool) -> floor::Row {
    floor::Row {
        plain,
        overlays,
        read_only,
    }
}

const ROWS: [Row; 10] = [
    (
        "one folder, writable host",
        |it| {
            it.view().host = tenantd_core::plan::model::HostAccess::Writable;
        },
        mounts(1, 0, false),
        None,
    ),
    ("one folder", |_| (), mounts(1, 0, true), None),
    (
        "ten folders, three private ones, three files",
        |it| {
            several(it, 10, 0);
        },
        mounts(10, 0, true),
        Some(0.3),
    ),
    (
        "eight folders, two overlays, three private, three files",
        |it| {
            several(it, 8, 2);
        },
        mounts(8, 2, true),
        Some(0.5),
    ),
    (
        "one folder, without a filter of system calls",
        |it| it.launch.wall.privileges.system_calls = Preset::None,
        mounts(1, 0, true),
        None,
    ),
    (
        "one folder, strict system calls",
        |it| it.launch.wall.privileges.system_calls = Preset::Strict,
        mounts(1, 0, true),
        None,
    ),
    (
        "one folder, ambient capabilities",
        |it| it.launch.wall.privileges.capabilities = Some(Capabilities::SERVICE),
        mounts(1, 0, true),
        None,
    ),
    (
        "one folder, set-id programs",
        |it| it.launch.wall.privileges.set_id_programs = true,
        mounts(1, 0, true),
        None,
    ),
    (
        "one folder, without the wall",
        |it| {
            let wall = &mut it.launch.wall;
            (wall.landlock, wall.hidepid) = (false, false);
            wall.privileges.system_calls = Preset::None;
        },
        mounts(1, 0, true),
        None,
    ),
    (
        "one folder of another owner",
        |it| {
            let swap = Swap {
                disk: it.datastore.uid,
                seen: 2000,
            };
            it.datastore.map = Some(IdMap {
                uid: swap,
                gid: swap,
                of_host: true,
                own: None,
            });
        },
        mounts(1, 0, true),
        None,
    ),
];

/// The rows with and without the wall, and the goal in ms for their difference.
const WALL: ([usize; 2], f64) = ([1, 8], 0.4);

fn main() {
    let mut sheet = Sheet::default();
    // One thread per row, because a thread stays in its test host; in turn, so that a busy moment
    // concerns all rows.
    let asked: Vec<String> = std::env::args()
        .skip(1)
        .filter(|it| it != "--bench")
        .collect();
    let is_asked = |number: usize, name: &str| {
        number == 0 || asked.is_empty() || asked.iter().any(|word| name.contains(word.as_str()))
    };
    let chosen: Vec<&Row> = ROWS
        .iter()
        .enumerate()
        .filter(|(number, row)| is_asked(*number, row.0))
        .map(|(_, row)| row)
        .collect();
    let mut rows: Vec<_> = chosen
        .iter()
        .map(|(_, change, floor, _)| (measurer(*change), floor_measurer(*floor)))
        .collect();
    let mut times: Vec<[Vec<f64>; 2]> = vec![Default::default(); rows.len()];
    for _ in 0..LAUNCHES {
        for ((launch, floor), [launches, floors]) in rows.iter_mut().zip(&mut times) {
            launches.push(launch());
            floors.push(floor());
        }
    }
    for (row, both) in chosen.iter().zip(&times) {
        show(row, both, &times[0], &mut sheet);
    }
    if asked.is_empty() {
        let ([with, without], goal) = WALL;
        let of_wall = above(&times[with][0], &times[without][0]);
        sheet
            .sampled(
                "the whole wall, ms above the launch without it",
                vec![of_wall],
            )
            .goal(goal);
        sheet
            .figure("rehearsal of 100 tenants, ms", vec![rehearsed()])
            .goal(200.0);
    }
    sheet.print();
}

/// Adds what a row took above the first one, round by round; the first row adds itself.
fn show(row: &Row, both: &[Vec<f64>; 2], first: &[Vec<f64>; 2], sheet: &mut Sheet) {
    let (name, _, _, goal) = row;
    if std::ptr::eq(both, first) {
        let [launches, floors] = both.clone();
        let figure = sheet.sampled(&format!("{name}, ms to exec"), vec![launches]);
        figure.floors(floors);
        return;
    }
    let [launches, floors] = [0, 1].map(|column| above(&both[column], &first[column]));
    let figure = sheet.sampled(&format!("{name}, ms above that"), vec![launches]);
    figure.floors(floors);
    if let Some(goal) = goal {
        figure.goal(*goal);
    }
}

/// By how much each of the one is above the other of its round.
fn above(these: &[f64], those: &[f64]) -> Vec<f64> {
    let both = these.iter().zip(those);
    both.map(|(this, that)| this - that).collect()
}

/// Gives the program `plain` folders of its own, `overlays` over the host's, and private ones.
fn several(bench: &mut Bench, plain: usize, overlays: usize) {
    let folders = (0..plain + overlays).map(|number| {
        let target = format!("/var/log/tenantd/f{number}");
        create_dir_all(&target).unwrap();
        FolderPlan {
            target: target.into(),
            seed: if number < plain {
                Seed::Empty
            } else {
                Seed::Overlay
            },
            uid: Some(1000),
            gid: Some(1000),
            mode: None,
        }
    });
    bench.datastore.folders = folders.collect();
    bench.datastore.target = None;
    bench.datastore.source = "/var/lib/tenantd/wiki/tree".into();
    tenantd_host::datastore::ensure(&bench.datastore).unwrap();
    let private = ["/run/a", "/run/b", "/run/c"].map(Into::into);
    bench.launch.private = private.into();
    create_dir_all("/var/log/tenantd/conf").unwrap();
    let paths = [
        "/var/log/tenantd/f0/conf",
        "/run/conf",
        "/var/log/tenantd/conf/conf",
    ];
    let files = paths.map(|path| FilePlan {
        path: path.into(),
        contents: "key = value\n".into(),
        template: None,
        uid: None,
        gid: None,
        mode: None,
        secret: false,
    });
    bench.launch.files = Vec::from(files).into();
}

/// Returns what launches once in a test host of its own, and returns the time in ms.
fn measurer(change: fn(&mut Bench)) -> impl FnMut() -> f64 {
    let (ask, asked) = std::sync::mpsc::channel::<()>();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut bench = Bench::new();
        bench.launch.program = "/bin/true".into();
        bench.launch.argv = vec!["true".into()];
        change(&mut bench);
        // The first launch makes the folders.
        let mut first = bench.run().unwrap();
        first.end();
        bench.replenish(&mut first);
        for () in asked {
            let begun = Instant::now();
            let mut running = bench.run().unwrap();
            let took = begun.elapsed().as_secs_f64() * 1000.0;
            running.end();
            bench.replenish(&mut running);
            tell.send(took).unwrap();
        }
    });
    move || {
        ask.send(()).unwrap();
        told.recv().unwrap()
    }
}

/// The same for the floor of a row.
fn floor_measurer(row: floor::Row) -> impl FnMut() -> f64 {
    let (ask, asked) = std::sync::mpsc::channel::<()>();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        support::enter();
        floor::prepare(row);
        for () in asked {
            tell.send(floor::measure(row)).unwrap();
        }
    });
    move || {
        ask.send(()).unwrap();
        told.recv().unwrap()
    }
}

/// The time in ms to rehearse the launches of tenants that differ in address, name and datastore.
fn rehearsed() -> f64 {
    support::enter();
    create_dir_all("/var/log/tenantd/data").unwrap();
    let tenants: String = (0..TENANTS)
        .map(|number| format!("t{number} = {{ ip = \"10.77.1.{}\" }}\n", number + 1))
        .collect();
    let text = format!(
        "[app]\nname = \"bench\"\nuser = \"root\"\ncommand = [\"/bin/true\", \"{{ip}}\"]\n\
         datastore.path = \"/var/log/tenantd/data\"\n[network]\nsubnet = \"10.77.0.0/16\"\n\
         [tenants]\n{tenants}"
    );
    let source = Source {
        name: "bench.toml".to_owned(),
        folder: "/".into(),
        text,
    };
    let plan = plan::read(&source, &Live).unwrap();
    let begun = Instant::now();
    let failed = rehearse_all(
        &MountTemplates::default(),
        &plan.app,
        &plan.tenants,
        getrlimit(Resource::Nofile),
    );
    let took = begun.elapsed().as_secs_f64() * 1000.0;
    assert!(failed.is_empty(), "{failed:?}");
    took
}
