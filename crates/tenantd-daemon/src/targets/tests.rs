//! What a check, its end and a wait of the loop cost, and when watches end.

use std::path::{Path, PathBuf};

use rustix::time::{ClockId, clock_gettime};
use tenantd_core::supervisor::event::LaunchId;
use tenantd_host::launch::{LaunchView, Lid};

use super::check::{Checked, Found};
use super::group::{Group, Guarded};
use super::*;

const FEW: u64 = 100;
const MANY: u64 = 3_000;
const ROUNDS: usize = 5;

/// How much more a check, or a wait of the loop, may cost with thirty times as many tenants.
const GROWTH_MAX: f64 = 6.0;

fn name(number: u64) -> TenantName {
    format!("t{number}").parse().unwrap()
}

fn guarded(number: u64, view: Option<LaunchView>) -> Guarded {
    Guarded::new(LaunchId(number), view)
}

/// The processor time of this thread in seconds, which other programs do not change.
fn processor_time() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap()).as_secs_f64()
}

/// The least cost of this work with many over that with few, measured in turn.
fn growth(mut cost: impl FnMut(u64) -> f64) -> f64 {
    let (mut few, mut many) = (f64::MAX, f64::MAX);
    for _ in 0..ROUNDS {
        few = few.min(cost(FEW));
        many = many.min(cost(MANY));
    }
    many / few
}

fn checked(paths: &Paths, watched: &[(&str, i32)], found: Vec<Found>, is_back: bool) -> Checked {
    let watched = watched.iter();
    Checked {
        paths: Arc::clone(paths),
        targets: paths.to_vec(),
        watched: watched
            .map(|(path, at)| (PathBuf::from(path), *at))
            .collect(),
        unwatched: None,
        found,
        is_back,
        was_run: true,
    }
}

/// Targets with a group for each tenant, all of which were checked.
struct Many {
    targets: Targets,
    runtime: tokio::runtime::Runtime,
}

impl Many {
    fn new(count: u64) -> Self {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_io().build().unwrap();
        let entered = runtime.enter();
        let targets = Targets::new();
        drop(entered);
        let mut many = Self { targets, runtime };
        for number in 0..count {
            let paths = many.paths(number);
            let targets = &mut many.targets;
            let mut group = Group::default();
            group.add(&name(number), guarded(number, Some(LaunchView::BEGUN)));
            targets.groups.insert(Arc::clone(&paths), group);
            targets.of.insert(name(number), paths);
            many.check(number, Vec::new(), true);
        }
        many
    }

    fn paths(&self, number: u64) -> Paths {
        vec![PathBuf::from(format!("/srv/t{number}/data"))].into()
    }

    fn check(&mut self, number: u64, unmounted: Vec<PathBuf>, is_back: bool) {
        let paths = self.paths(number);
        self.targets.to_check.remove(&paths);
        if let Some(group) = self.targets.groups.get_mut(&paths) {
            group.begin_check();
        }
        self.targets.under_way += 1;
        let found = Found {
            tenant: name(number),
            launch: LaunchId(number),
            unmounted,
        };
        let own = format!("/srv/t{number}");
        let at = i32::try_from(number).unwrap() + 10;
        let watched = [("/", 1), ("/srv", 2), (own.as_str(), at)];
        let checked = checked(&paths, &watched, vec![found], is_back);
        self.targets.on_checked(checked);
    }
}

#[test]
fn a_check_of_new_tenants_looks_at_no_others() {
    let growth = growth(|count| {
        let mut group = Group::default();
        for number in 0..count {
            group.add(&name(number), guarded(number, None));
        }
        assert_eq!(group.begin_check().len(), usize::try_from(count).unwrap());
        let begun = processor_time();
        for number in 0..100 {
            let new = count + number;
            group.add(&name(new), guarded(new, None));
            let checked = group.begin_check();
            assert_eq!(checked, [(name(new), guarded(new, None))]);
        }
        processor_time() - begun
    });
    assert!(growth < GROWTH_MAX, "{growth:.1} times as much");
}

#[test]
fn the_end_of_a_check_and_a_wait_look_at_no_other_group() {
    let growth = growth(|count| {
        let mut many = Many::new(count);
        let begun = processor_time();
        for number in 0..100 {
            many.check(number, Vec::new(), true);
            assert_eq!(many.targets.deadline(), None);
        }
        processor_time() - begun
    });
    assert!(growth < GROWTH_MAX, "{growth:.1} times as much");
}

#[test]
fn a_loss_that_settles_is_the_deadline_until_it_is_reported_or_the_tenant_ends() {
    let mut many = Many::new(3);
    let lost = || vec![PathBuf::from("/srv/t1/data")];
    many.check(1, lost(), false);
    let due = many.targets.deadline().expect("the loss settles");
    assert!(due > clock::now());
    many.check(0, Vec::new(), true);
    assert_eq!(many.targets.deadline(), Some(due));
    let inventory = Inventory::default();
    many.targets.on_due(due, &inventory);
    // It is checked now, and the end of that comes first.
    assert_eq!(many.targets.deadline(), None);
    many.targets.release(&name(1));
    assert_eq!(many.targets.deadline(), None);
    assert!(many.targets.settling.is_empty());
}

#[test]
fn a_watch_ends_with_the_last_group_that_needs_it() {
    let mut many = Many::new(2);
    let is_watched = |many: &Many, path: &str| {
        let numbers = 1..20;
        let mut all = numbers.flat_map(|it| many.targets.watched.paths(it, None, How::Removed));
        all.any(|(it, _)| it == Path::new(path))
    };
    many.targets.release(&name(0));
    assert!(!is_watched(&many, "/srv/t0"));
    assert!(is_watched(&many, "/srv/t1") && is_watched(&many, "/srv"));
    // Its group is gone when the check ends.
    many.check(0, Vec::new(), true);
    assert!(!is_watched(&many, "/srv/t0"));
    many.targets.release(&name(1));
    assert!(!is_watched(&many, "/srv/t1") && !is_watched(&many, "/srv"));
}

#[test]
fn the_mount_table_is_watched_while_a_tenant_runs_without_landlock() {
    let mut many = Many::new(1);
    let seal = LaunchView {
        lid: Some(Lid::MountWatch),
        ..LaunchView::BEGUN
    };
    assert!(guarded(1, Some(seal)).seal);
    let _entered = many.runtime.enter();
    let targets = &mut many.targets;
    for number in [7, 8] {
        let paths: Paths = vec![PathBuf::from("/srv")].into();
        let group = targets.groups.entry(Arc::clone(&paths)).or_default();
        group.add(&name(number), guarded(number, Some(seal)));
        targets.of.insert(name(number), paths);
        targets.sealing += 1;
        targets.watch_mounts();
    }
    targets.release(&name(7));
    assert!(targets.mounts.is_some());
    targets.release(&name(8));
    assert!(targets.mounts.is_none());
}
