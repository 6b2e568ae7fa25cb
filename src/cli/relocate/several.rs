//! Several tenants to one host: as many at a time as asked for, and none after the first failure.

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, bail};
use rustix::io::Errno;

use super::super::args::Move;
use super::super::{End, bundle, edit, plan};
use super::signals::Signals;
use super::source::{self, Order};
use super::{room, states};
use tenantd_api::client::app::Selector;
use tenantd_api::client::pattern::resolve;
use tenantd_core::name::TenantName;
use tenantd_core::plan::model::{Plan, TenantPlan};
use tenantd_host::{datastore, relocation};

/// The exit code if tenants run here that only their engine moves.
const STAY: u8 = 4;

/// Moves tenants, or says what would be done, or undoes moves.
pub(in super::super) fn relocate(selector: &Selector, what: &Move) -> anyhow::Result<End> {
    bundle::root()?;
    let (typed, host) = what.typed()?;
    let config = edit::manifest(selector)?;
    let (plan, _) = plan::read(&config)?;
    let names: Vec<TenantName> = plan.tenants.iter().map(|it| it.name.clone()).collect();
    let meant = match what.all {
        true => names,
        false => resolve(&names, &typed)
            .map_err(|unmatched| super::super::unmatched(&plan.app, &unmatched))?,
    };
    let signals = Signals::catch().context("cannot catch signals")?;
    let order = |tenant, later| Order {
        tenant,
        host: &host,
        rsh: &what.remote.rsh,
        dry_run: what.dry_run,
        undo: what.undo,
        transport: what.transport,
        later,
        is_alone: meant.len() == 1 || what.parallel == 1,
        signals: signals.clone(),
    };
    if let ([tenant], false) = (meant.as_slice(), what.all) {
        return source::relocate(selector, &order(tenant, 0));
    }
    let (names, stay) = match what.undo {
        true => (meant.iter().collect(), Vec::new()),
        false => these(&plan, &meant, what.all)?,
    };
    let later = match what.undo {
        true => vec![0; names.len()],
        false => room::later(&plan, &names)?,
    };
    let moves = Moves {
        names,
        next: AtomicUsize::new(0),
        is_halted: AtomicBool::new(false),
        ends: Mutex::new(Vec::new()),
    };
    std::thread::scope(|scope| {
        for _ in 0..usize::from(what.parallel).min(moves.names.len()) {
            scope.spawn(|| {
                moves.drive(|number, tenant| {
                    // One that came too late for the move before.
                    signals.check()?;
                    source::relocate(selector, &order(tenant, later[number]))
                });
            });
        }
    });
    moves.sum_up(what, &host, &stay)
}

/// Those of the tenants that have data here, and are to be moved; and those that run here and stay. Says why others are not
/// moved.
fn these<'a>(
    plan: &Plan,
    meant: &'a [TenantName],
    is_all: bool,
) -> anyhow::Result<(Vec<&'a TenantName>, Vec<&'a TenantName>)> {
    let (mut these, mut stay) = (Vec::new(), Vec::new());
    for name in meant {
        let tenant = plan.tenants.iter().find(|it| it.name == *name);
        let Some(why) = tenant.map(|it| stays(it, is_all)).transpose()?.flatten() else {
            these.push(name);
            continue;
        };
        writeln!(std::io::stdout(), "{name}: not moved: {why}")?;
        let is_ours = tenant.is_none_or(|it| source::is_movable(it).is_ok());
        if !is_ours && states::status(&plan.app, name)?.pid.is_some() {
            stay.push(name);
        }
    }
    Ok((these, stay))
}

/// Why a tenant is left out, if it is.
fn stays(tenant: &TenantPlan, is_all: bool) -> anyhow::Result<Option<String>> {
    let place = tenant.datastore.source.as_path();
    if is_all && let Err(error) = source::is_movable(tenant) {
        return Ok(Some(format!("{error:#}")));
    }
    if is_all && matches!(datastore::open(place), Err(Errno::NOENT)) {
        return Ok(Some("it has no data here".to_owned()));
    }
    Ok(relocation::gone(place)?.map(|other| format!("{other} has it")))
}

/// Moves that are under way.
struct Moves<'a> {
    names: Vec<&'a TenantName>,
    /// The number of the next one.
    next: AtomicUsize,
    /// Whether no further one begins.
    is_halted: AtomicBool,
    /// Which have ended, and whether they were done.
    ends: Mutex<Vec<(&'a TenantName, bool)>>,
}

impl<'a> Moves<'a> {
    /// Does one after another, beside others that do.
    fn drive(&self, one: impl Fn(usize, &'a TenantName) -> anyhow::Result<End>) {
        while !self.is_halted.load(Ordering::SeqCst) {
            let number = self.next.fetch_add(1, Ordering::SeqCst);
            let Some(&name) = self.names.get(number) else {
                break;
            };
            let done = one(number, name);
            if let Err(error) = &done {
                self.is_halted.store(true, Ordering::SeqCst);
                let text = format!("{error:#}");
                let named = format!("{name}: ");
                let text = text.strip_prefix(&named).unwrap_or(&text);
                eprintln!("{named}{text}");
            }
            let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
            ends.push((name, done.is_ok()));
        }
    }

    /// Says what was done, and what was not.
    fn sum_up(self, what: &Move, host: &str, stay: &[&TenantName]) -> anyhow::Result<End> {
        let ends = self
            .ends
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        let list = |names: Vec<&str>| match names.is_empty() {
            true => "none".to_owned(),
            false => names.join(", "),
        };
        // In the order in which they began.
        let of = |wanted: bool| {
            let is_meant = |name: &&&TenantName| ends.contains(&(**name, wanted));
            let found = self.names.iter().filter(is_meant);
            list(found.map(|name| name.as_str()).collect())
        };
        let done = match (what.dry_run, what.undo) {
            (true, _) => format!("would be moved to {host}"),
            (_, true) => "undone".to_owned(),
            _ => format!("moved to {host}"),
        };
        writeln!(std::io::stdout(), "{done}: {}", of(true))?;
        if ends.iter().all(|(_, is_done)| *is_done) {
            if stay.is_empty() {
                return Ok(End::Done);
            }
            let names = list(stay.iter().map(|name| name.as_str()).collect());
            writeln!(std::io::stdout(), "still here: {names}")?;
            return Ok(End::Exited(STAY));
        }
        let rest = self.names.iter().map(|name| name.as_str());
        let rest = rest.filter(|name| ends.iter().all(|(ended, _)| ended.as_str() != *name));
        bail!(
            "failed: {}; not begun: {}: correct the cause, then type the same command again",
            of(false),
            list(rest.collect())
        )
    }
}
