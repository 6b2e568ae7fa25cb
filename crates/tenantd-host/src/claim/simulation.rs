//! Supervisors of several applications compete for a few datastores, and die between any two steps.
//! The decision is the real one; processes and cgroups are simulated. Each variant that leaves out a
//! guard must let two programs use a datastore at the same time, so that a guard which stops working is
//! noticed.

use std::collections::BTreeMap;

use super::decide::{Cgroup, Facts, Supervisor, Verdict, decide};

const APPS: usize = 4;
const DATASTORES: usize = 3;
const STEPS: u32 = 80_000;

/// What is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Without {
    Nothing,
    /// Whether a process is in the cgroup of a record.
    Populated,
    /// The byte for which a child waits.
    Go,
    /// The first process in a record.
    Process,
    /// Whether the supervisor that wrote a record lives.
    Supervisor,
}

#[derive(Debug, Clone, Copy)]
struct Record {
    app: usize,
    supervisor: u32,
    cgroup: Option<u32>,
    process: Option<u32>,
}

/// What a supervisor does next with its tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Provision,
    Claim,
    Clone,
    Record,
    Go,
    Wait,
    Release,
}

#[derive(Debug)]
struct Daemon {
    app: usize,
    step: Step,
    datastore: usize,
    cgroup: Option<u32>,
    child: u32,
}

#[derive(Debug)]
struct Process {
    parent: u32,
    datastore: usize,
    cgroup: Option<u32>,
    runs: bool,
    may_go: bool,
}

struct World {
    /// The state of SplitMix64 (Steele, Lea and Flood, 2014).
    random: u64,
    has_cgroups: bool,
    without: Without,
    last: u32,
    records: [Option<Record>; DATASTORES],
    /// The cgroup of a tenant, if it exists.
    leaves: BTreeMap<(usize, usize), u32>,
    daemons: BTreeMap<u32, Daemon>,
    processes: BTreeMap<u32, Process>,
    launches: u32,
    double: u32,
}

impl World {
    fn new(has_cgroups: bool, without: Without) -> Self {
        Self {
            random: 4711,
            has_cgroups,
            without,
            last: 0,
            records: [None; DATASTORES],
            leaves: BTreeMap::new(),
            daemons: BTreeMap::new(),
            processes: BTreeMap::new(),
            launches: 0,
            double: 0,
        }
    }

    /// A number below `limit`.
    fn below(&mut self, limit: usize) -> usize {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % limit as u64).unwrap()
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn number(&mut self) -> u32 {
        self.last += 1;
        self.last
    }

    fn is_populated(&self, cgroup: u32) -> bool {
        let mut all = self.processes.values();
        all.any(|process| process.cgroup == Some(cgroup))
    }

    fn facts(&self, record: Record, asks: (u32, usize)) -> Facts {
        let (supervisor, app) = asks;
        let exists = |cgroup| self.leaves.values().any(|&leaf| leaf == cgroup);
        let cgroup = match record.cgroup {
            None => Cgroup::Unnamed,
            Some(cgroup) if !exists(cgroup) => Cgroup::Removed,
            Some(cgroup) if self.without != Without::Populated && self.is_populated(cgroup) => {
                Cgroup::Populated
            }
            Some(_) => Cgroup::Empty,
        };
        let is_alive = self.daemons.contains_key(&record.supervisor);
        let process = record.process.filter(|_| self.without != Without::Process);
        Facts {
            this_boot: true,
            own: record.app == app,
            cgroup,
            process: process.is_some_and(|number| self.processes.contains_key(&number)),
            supervisor: match is_alive && self.without != Without::Supervisor {
                _ if record.supervisor == supervisor => Supervisor::Asking,
                true => Supervisor::Alive,
                false => Supervisor::Ended,
            },
        }
    }

    fn is_free(&self, number: u32, daemon: &Daemon) -> bool {
        let record = self.records[daemon.datastore];
        let facts = record.map(|record| self.facts(record, (number, daemon.app)));
        decide(facts.as_ref(), false) == Verdict::Free
    }

    /// Makes an empty leaf, as a provision and a launch do.
    fn make_leaf(&mut self, daemon: &mut Daemon) -> bool {
        if !self.has_cgroups {
            return true;
        }
        let tenant = (daemon.app, daemon.datastore);
        let found = self.leaves.get(&tenant).copied();
        if found.is_some_and(|cgroup| self.is_populated(cgroup)) {
            return false;
        }
        let cgroup = self.number();
        self.leaves.insert(tenant, cgroup);
        daemon.cgroup = Some(cgroup);
        true
    }

    fn act(&mut self, number: u32, mut daemon: Daemon) {
        daemon.step = match daemon.step {
            Step::Provision => {
                daemon.datastore = self.below(DATASTORES);
                match self.make_leaf(&mut daemon) {
                    true => Step::Claim,
                    false => Step::Provision,
                }
            }
            Step::Claim if self.is_free(number, &daemon) => {
                self.write(number, &daemon, None);
                Step::Clone
            }
            Step::Claim => Step::Provision,
            Step::Clone => {
                daemon.child = self.clone_child(number, &daemon);
                Step::Record
            }
            Step::Record => {
                self.write(number, &daemon, Some(daemon.child));
                Step::Go
            }
            Step::Go => {
                if let Some(child) = self.processes.get_mut(&daemon.child) {
                    child.may_go = true;
                }
                Step::Wait
            }
            Step::Wait if self.is_over(&daemon) => match self.chance(50) {
                true if self.make_leaf(&mut daemon) => Step::Claim,
                _ => Step::Release,
            },
            Step::Wait => Step::Wait,
            Step::Release => {
                if self.is_free(number, &daemon) {
                    self.records[daemon.datastore] = None;
                }
                self.leaves.remove(&(daemon.app, daemon.datastore));
                Step::Provision
            }
        };
        self.daemons.insert(number, daemon);
    }

    fn write(&mut self, supervisor: u32, daemon: &Daemon, process: Option<u32>) {
        self.records[daemon.datastore] = Some(Record {
            app: daemon.app,
            supervisor,
            cgroup: daemon.cgroup,
            process,
        });
    }

    fn is_over(&self, daemon: &Daemon) -> bool {
        let is_empty = daemon
            .cgroup
            .is_none_or(|cgroup| !self.is_populated(cgroup));
        is_empty && !self.processes.contains_key(&daemon.child)
    }

    fn clone_child(&mut self, parent: u32, daemon: &Daemon) -> u32 {
        let number = self.number();
        let child = Process {
            parent,
            datastore: daemon.datastore,
            cgroup: daemon.cgroup,
            runs: false,
            may_go: self.without == Without::Go,
        };
        self.processes.insert(number, child);
        number
    }

    fn run(&mut self, number: u32, mut process: Process) {
        if !process.runs {
            if process.may_go {
                self.launches += 1;
                process.runs = true;
                let mut others = self.processes.values();
                let is_used =
                    others.any(|other| other.runs && other.datastore == process.datastore);
                self.double += u32::from(is_used);
            } else if !self.daemons.contains_key(&process.parent) {
                return;
            }
        } else if self.has_cgroups && self.chance(20) {
            // It daemonises: only the cgroup knows what is left.
            let child = self.number();
            self.processes.insert(child, process);
            return;
        } else if self.chance(20) {
            return;
        }
        self.processes.insert(number, process);
    }

    fn step(&mut self) {
        if self.daemons.len() < APPS && self.chance(30) {
            let app = self.below(APPS);
            // The lock of the application.
            if self.daemons.values().all(|other| other.app != app) {
                let number = self.number();
                let daemon = Daemon {
                    app,
                    step: Step::Provision,
                    datastore: 0,
                    cgroup: None,
                    child: 0,
                };
                self.daemons.insert(number, daemon);
            }
        }
        let actors = self.daemons.len() + self.processes.len();
        if actors == 0 {
            return;
        }
        let index = self.below(actors);
        if let Some(&number) = self.daemons.keys().nth(index) {
            let daemon = self.daemons.remove(&number).unwrap();
            if !self.chance(4) {
                self.act(number, daemon);
            }
        } else {
            let index = index - self.daemons.len();
            let &number = self.processes.keys().nth(index).unwrap();
            let process = self.processes.remove(&number).unwrap();
            self.run(number, process);
        }
    }
}

/// How many launches met a program that used the same datastore.
fn double(has_cgroups: bool, without: Without) -> u32 {
    let mut world = World::new(has_cgroups, without);
    for _ in 0..STEPS {
        world.step();
    }
    let World {
        launches, double, ..
    } = world;
    assert!(launches > 1000, "{launches}");
    eprintln!("cgroups {has_cgroups}, without {without:?}: {double} of {launches}");
    double
}

#[test]
fn no_two_programs_use_a_datastore() {
    assert_eq!(double(true, Without::Nothing), 0);
    assert_eq!(double(false, Without::Nothing), 0);
}

#[test]
fn without_a_guard_two_programs_would() {
    assert!(double(true, Without::Populated) > 0);
    assert!(double(true, Without::Supervisor) > 0);
    assert!(double(false, Without::Go) > 0);
    assert!(double(false, Without::Process) > 0);
    assert!(double(false, Without::Supervisor) > 0);
}
