//! The file of a run: what was measured of one program, where, and with every sample, for `benches/compare`.
//!
//! It is `target/bench/NAME.json`, or the file that `TENANTD_BENCH_JSON` names; of the program of
//! `TENANTD_BENCH_AGAINST` it is `NAME.against.json` beside that. docs/performance.md lists the members.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

/// The number of the format.
const SCHEMA: u32 = 1;

/// Of fewer samples, the 99th percentile is the greatest and says nothing.
const TAIL: usize = 50;

/// What was so before anything was measured.
#[derive(Debug)]
pub struct Begin {
    date: String,
    load: Value,
}

impl Begin {
    pub fn now() -> Self {
        Self {
            date: jiff::Timestamp::now().to_string(),
            load: load(),
        }
    }
}

/// Whose figures they are.
#[derive(Clone, Copy, Debug)]
pub enum Subject {
    This,
    Against,
}

/// A figure of one program.
#[derive(Debug)]
pub struct Stated<'a> {
    pub name: &'a str,
    pub measured: f64,
    pub samples: &'a [f64],
    pub floors: &'a [f64],
    pub goal: Option<f64>,
    pub is_ratio: bool,
    pub is_judged: bool,
}

impl Stated<'_> {
    /// The median of its floors.
    pub fn floor(&self) -> Option<f64> {
        part(self.floors, 50)
    }

    pub fn ratio(&self) -> Option<f64> {
        let floor = self.floor().filter(|floor| *floor > 0.0);
        floor.map(|floor| self.measured / floor)
    }

    /// What the goal is for.
    pub fn aimed(&self) -> Option<f64> {
        match self.is_ratio {
            true => self.ratio(),
            false => Some(self.measured),
        }
    }

    fn json(&self) -> Value {
        let spread = |samples: &[f64]| {
            json!({
                "p50": part(samples, 50),
                "p99": part(samples, 99),
                "samples": samples,
            })
        };
        let goal = self.goal.map(|goal| {
            let of = if self.is_ratio { "ratio" } else { "measured" };
            let met = self.aimed().map(|aimed| aimed <= goal);
            json!({ "value": goal, "of": of, "met": met })
        });
        json!({
            "name": self.name,
            "judged": self.is_judged,
            "measured": self.measured,
            "rounds": self.samples.len(),
            "found": spread(self.samples),
            "floor": (!self.floors.is_empty()).then(|| spread(self.floors)),
            "ratio": self.ratio(),
            "goal": goal,
        })
    }
}

/// The sample below which, or at which, so many of 100 are.
pub fn part(samples: &[f64], share: usize) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = (sorted.len() * share / 100).min(sorted.len().checked_sub(1)?);
    Some(sorted[place])
}

/// The 99th percentile, if there are enough samples for one.
pub fn tail(samples: &[f64]) -> Option<f64> {
    part(samples, 99).filter(|_| samples.len() >= TAIL)
}

/// Writes the file of a program, and says where.
pub fn write(begin: &Begin, subject: Subject, figures: &[Stated<'_>]) {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let processors = std::thread::available_parallelism().unwrap();
    let (program, revision) = match subject {
        Subject::This => (crate::support::daemon::PROGRAM.to_owned(), revision()),
        Subject::Against => (
            std::env::var("TENANTD_BENCH_AGAINST").unwrap(),
            std::env::var("TENANTD_BENCH_AGAINST_REVISION").ok(),
        ),
    };
    let result = json!({
        "schema": SCHEMA,
        "bench": env!("CARGO_CRATE_NAME"),
        "program": program,
        "revision": revision,
        "date": begin.date,
        "kernel": kernel.trim(),
        "processors": processors,
        "load": { "begin": begin.load, "end": load() },
        "figures": figures.iter().map(Stated::json).collect::<Vec<_>>(),
    });
    let path = path(subject);
    // A test host has folders of its own where the machine's may not be seen.
    let written = fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))
        .and_then(|()| fs::write(&path, format!("{result:#}\n")));
    match written {
        Ok(()) => println!("written: {}", path.display()),
        Err(error) => panic!("{} could not be written: {error}", path.display()),
    }
}

fn path(subject: Subject) -> PathBuf {
    let target = Path::new(crate::support::daemon::PROGRAM)
        .ancestors()
        .nth(2);
    let default = || {
        let folder = target.unwrap().join("bench");
        folder.join(concat!(env!("CARGO_CRATE_NAME"), ".json"))
    };
    let path = std::env::var_os("TENANTD_BENCH_JSON").map_or_else(default, PathBuf::from);
    match subject {
        Subject::This => path,
        Subject::Against => path.with_extension("against.json"),
    }
}

/// The commit of the checkout, with `+` if something in it differs.
fn revision() -> Option<String> {
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        git.current_dir(env!("CARGO_MANIFEST_DIR")).args(arguments);
        let done = git.output().ok().filter(|done| done.status.success())?;
        Some(String::from_utf8(done.stdout).unwrap().trim().to_owned())
    };
    let changed = !git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty();
    let commit = git(&["rev-parse", "HEAD"])?;
    Some(format!("{commit}{}", if changed { "+" } else { "" }))
}

/// The load of the last 1, 5 and 15 minutes.
fn load() -> Value {
    let line = fs::read_to_string("/proc/loadavg").unwrap();
    let load = line.split_whitespace().take(3);
    load.map(|it| it.parse::<f64>().unwrap()).collect()
}
