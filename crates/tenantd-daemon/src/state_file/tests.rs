//! The state files of the program of commit 2157092, with tenants in each state: every record is
//! read, no tenant counts as changed, and no running program is ended or started.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::state_file::StateFile;
use crate::state_file::record::Record;
use crate::state_file::slots::{Previous, SlotFile};
use tenantd_core::manifest::Source;
use tenantd_core::name::TenantName;
use tenantd_core::plan::effect::Effect;
use tenantd_core::plan::facts::{ProgramFact, Table, User};
use tenantd_core::plan::holders::Holders;
use tenantd_core::plan::model::{Plan, TenantPlan};
use tenantd_core::supervisor::action::Action;
use tenantd_core::supervisor::checkpoint::{Fate, Found, Resources};
use tenantd_core::supervisor::event::{Event, Exit, LaunchId};
use tenantd_core::supervisor::time::Moment;
use tenantd_core::supervisor::{Limits, Supervisor};

fn path(file: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/state-2157092");
    folder.join(file)
}

/// A state file, and what is in it.
fn opened(file: &str) -> (StateFile, Previous) {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("ledger");
    fs::copy(path(file), &copy).unwrap();
    let text = fs::read_to_string(&copy).unwrap();
    let head = text.lines().next().unwrap().split_once(' ').unwrap().1;
    let head: serde_json::Value = serde_json::from_str(head).unwrap();
    let boot = head["boot"].as_str().unwrap().to_owned();
    let (file, previous) = SlotFile::open_at(&copy, boot).unwrap();
    (StateFile::new(file), previous)
}

#[test]
fn the_table_of_earlier_records_is_freed_with_the_last_one() {
    let (mut state_file, previous) = opened("ledger");
    assert!(previous.records.len() > 1);
    for (slot, record) in &previous.records {
        state_file.take_over(*slot, record);
    }
    for (_, record) in &previous.records {
        assert!(state_file.before.capacity() > 0);
        assert!(state_file.before(&record.tenant).is_some());
    }
    assert_eq!(state_file.before.capacity(), 0);
}

/// The plan of a manifest on the host on which the files were made.
pub(super) fn plan(manifest: &str) -> Plan {
    let program = PathBuf::from("/srv/program");
    let host = Table {
        users: vec![User {
            name: "root".to_owned(),
            uid: 0,
            gid: 0,
            home: "/root".to_owned(),
        }],
        programs: [(program.clone(), ProgramFact::Executable(program))].into(),
        ..Table::default()
    };
    let source = Source {
        name: manifest.to_owned(),
        folder: "/srv".into(),
        text: fs::read_to_string(path(manifest)).unwrap(),
    };
    match tenantd_core::plan::read(&source, &host) {
        Ok(plan) => plan,
        Err(problems) => panic!("{}", problems.render(false)),
    }
}

/// The records of a file by tenant, and the version of its head after it was opened.
fn records(file: &str) -> (BTreeMap<TenantName, Record>, u64) {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("ledger");
    fs::copy(path(file), &copy).unwrap();
    let head = || -> serde_json::Value {
        let text = fs::read_to_string(&copy).unwrap();
        let line = text.lines().next().unwrap();
        serde_json::from_str(line.split_once(' ').unwrap().1).unwrap()
    };
    let boot = head()["boot"].as_str().unwrap().to_owned();
    let (_file, previous) = SlotFile::open_at(&copy, boot).unwrap();
    assert!(previous.damaged.is_empty() && !previous.head_damaged);
    let records = previous.records.into_iter().map(|(_, record)| record);
    let records = records.map(|record| (record.tenant.clone(), record));
    (records.collect(), head()["version"].as_u64().unwrap())
}

/// The actions of the next supervisor for a tenant, and the state after them.
fn adopted(supervisor: &mut Supervisor, now: Moment, plan: &TenantPlan, record: &Record) -> String {
    let lives = record.checkpoint.launch().is_some();
    let (fate, resources) = match (lives, record.netns) {
        (true, _) => (Fate::Lives, Resources::Full),
        (false, 0) => (Fate::Over(Exit::Unknown), Resources::None),
        (false, _) => (Fate::Over(Exit::Unknown), Resources::Partial),
    };
    let found = Found {
        checkpoint: record.checkpoint.clone(),
        fate,
        resources,
        outdated: record.outdated(plan).map(|(effect, _)| effect),
        applied: true,
    };
    let step = supervisor.handle(
        now,
        Event::Planned {
            tenant: plan.name.clone(),
            policy: Arc::clone(&plan.policy),
            found: Some(Box::new(found)),
        },
    );
    let done = step.actions.iter().map(|action| match action {
        Action::Provision { .. } => "provision",
        Action::Launch { .. } => "launch",
        Action::Abandon { .. } => "abandon",
        Action::Conclude { .. } => "conclude",
        Action::Apply { .. } => "apply",
        Action::Terminate { .. } => "terminate",
        Action::Kill { .. } => "kill",
        Action::Release { .. } => "release",
        Action::Remove { .. } => "forget",
    });
    let done: Vec<&str> = done.collect();
    let is = supervisor.tenant(&plan.name).unwrap();
    let done = match done.is_empty() {
        true => "-".to_owned(),
        false => done.join("+"),
    };
    format!(
        "{} | {} wanted {} | {done} | {}",
        plan.name,
        record.checkpoint.state(),
        record.checkpoint.want,
        is.state
    )
}

/// Starts the next supervisor for a manifest with all records. Returns a line for each tenant.
fn taken_over(manifest: &str, file: &str, others: &[(&str, &str)]) -> Vec<String> {
    let (records, version) = records(file);
    assert_eq!(version, 2);
    let plan = plan(manifest);
    let mut supervisor = Supervisor::new(Limits::default());
    let checkpoints = records.values().map(|record| &record.checkpoint);
    supervisor.resume(LaunchId(0), checkpoints.clone());
    let now = checkpoints
        .map(|checkpoint| checkpoint.since)
        .max()
        .unwrap();
    for (tenant, other) in others {
        supervisor.handle(
            now,
            Event::Awaits {
                tenant: tenant.parse().unwrap(),
                others: vec![other.parse().unwrap()],
            },
        );
    }
    let tenants = plan.tenants.iter();
    let known = tenants.filter_map(|plan| Some((plan, records.get(&plan.name)?)));
    let lines: Vec<String> = known
        .map(|(plan, record)| adopted(&mut supervisor, now, plan, record))
        .collect();
    assert_eq!(lines.len(), records.len(), "each record is a tenant's");
    lines
}

#[test]
fn tenants_of_2157092_continue_and_none_is_restarted() {
    // tenant | state and want in the file | actions | state under the next supervisor
    let expected = "\
unheard | up wanted up | - | up
held-before | failed wanted up | - | failed
held-unmade | failed wanted up | - | failed
held | failed wanted up | - | failed
ready | up wanted up | - | up
unready | up wanted up | - | up
background | up wanted up | - | up
stopped | down wanted down | - | down
stopping | stopping wanted down | terminate | stopping
restarting | stopping wanted up | terminate | stopping
waiting | waiting wanted up | - | waiting
waiting-unmade | waiting wanted up | - | waiting
moved | stopping wanted up | terminate | stopping
stuck | stuck wanted down | - | stuck
stuck-alive | stuck wanted down | - | stuck
killed | stopping wanted down | kill | stopping
launching | launching wanted up | - | up
launching-again | launching wanted up | terminate | stopping
provisioning | provisioning wanted up | provision | provisioning
releasing | releasing wanted down | release | releasing
awaiting | provisioning wanted up | - | provisioning";
    let lines = taken_over("tenants.toml", "ledger", &[("awaiting", "moved")]);
    assert_eq!(lines.join("\n"), expected);
    let lines = taken_over("lived.toml", "lived.ledger", &[]);
    assert_eq!(lines, ["lived | up wanted up | - | up"]);
}

#[test]
fn plans_of_2157092_match_unless_changed() {
    for (manifest, file) in [("tenants.toml", "ledger"), ("lived.toml", "lived.ledger")] {
        let (records, plan) = (records(file).0, plan(manifest));
        for plan in &plan.tenants {
            let Some(record) = records.get(&plan.name) else {
                assert_eq!(plan.name.as_str(), "never");
                continue;
            };
            let outdated = record.outdated(plan).map(|(effect, _)| effect);
            // Its address was changed, and it is not released yet.
            let expected = (plan.name.as_str() == "moved").then_some(Effect::Reprovision);
            assert_eq!(outdated, expected, "{}", plan.name);
        }
    }
}

#[test]
fn holders_recorded_by_2157092_are_awaited() {
    let (records, plan) = (records("ledger").0, plan("tenants.toml"));
    let of = |name: &str| plan.tenants.iter().find(|plan| plan.name.as_str() == name);
    let holds = records["moved"].made.holds.clone().unwrap();
    let has_resources = holds.instead_of(of("moved").unwrap());
    let others = Holders::new([&has_resources]).of(of("awaiting").unwrap());
    assert_eq!(others, ["moved".parse::<TenantName>().unwrap()]);
}
