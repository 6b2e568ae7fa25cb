//! Limits that tenants have reached: logged, counted since the last launch, and shown.
//!
//! The kernel counts and notifies, see [`tenantd_host::cgroup::LimitWatch`]. The counts are read when a launch begins,
//! after a notification, and when a program has ended, so that its end has that reason. A tenant that keeps reaching a
//! limit is looked at once a second at most; without that there is no timer.
//!
//! Which tenant waits for what others use is a part of it, see [`pressure`](self::pressure).
//!
//! They are not recorded: the next supervisor counts what happens from then on.

mod held_back;
mod pressure;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use tenantd_api::wire::watch::ProgramExit;
use tenantd_api::wire::{ReachedLimit, Starved};
use tenantd_core::cgroup::{GroupKey, GroupLimits, shown};
use tenantd_core::name::TenantName;
use tenantd_core::supervisor::view::StateWord;
use tenantd_core::supervisor::{Cause, Find, Transition};
use tenantd_host::cgroup::{LimitWatch, reached};

use self::held_back::Counts;
use self::pressure::Pressure;
use crate::executor::inventory::{Entry, Inventory};
use crate::history;
use crate::input::Input;
use crate::logs::Logs;

/// How long a tenant is not looked at after a notification.
const REST: Duration = Duration::from_secs(1);

/// The limits that tenants have reached.
pub(crate) struct Reached {
    /// None until a tenant runs, or if the kernel refused it.
    watch: Option<LimitWatch>,
    is_refused: bool,
    of: BTreeMap<TenantName, Of>,
    /// When to look at tenants again, in this order.
    rests: VecDeque<(Instant, TenantName)>,
    /// The same tenants.
    resting: BTreeSet<TenantName>,
    changed: BTreeSet<TenantName>,
    pressure: Pressure,
    held_back: Counts,
}

/// The limits that one tenant has reached.
#[derive(Default)]
struct Of {
    /// The counts when its launch began.
    before: BTreeMap<String, u64>,
    /// How often each was reached since then, and how often when it was logged last.
    since: BTreeMap<String, (u64, u64)>,
    /// The same as text, with the limits.
    texts: BTreeMap<String, String>,
    /// Why its last program may have ended.
    reason: Option<String>,
}

impl Reached {
    /// Nothing is watched yet but the output in these logs.
    pub(crate) fn of(logs: &Logs) -> Self {
        Self {
            watch: None,
            is_refused: false,
            of: BTreeMap::new(),
            rests: VecDeque::new(),
            resting: BTreeSet::new(),
            changed: BTreeSet::new(),
            pressure: Pressure::new(),
            held_back: Counts::of(logs),
        }
    }

    /// What a tenant has reached since its last launch.
    pub(crate) fn of_tenant(&self, tenant: &TenantName) -> Vec<ReachedLimit> {
        let Some(of) = self.of.get(tenant) else {
            return Vec::new();
        };
        let reached = of.since.iter().map(|(limit, (count, _))| ReachedLimit {
            limit: limit.clone(),
            count: *count,
            text: of.texts.get(limit).cloned().unwrap_or_default(),
        });
        reached.collect()
    }

    /// What a tenant waited for.
    pub(crate) fn starved(&self, tenant: &TenantName) -> Option<Starved> {
        self.pressure.of_tenant(tenant).cloned()
    }

    /// What may have ended the last program of a tenant.
    pub(crate) fn reason(&self, tenant: &TenantName) -> Option<&str> {
        self.of.get(tenant)?.reason.as_deref()
    }

    /// The next tenants to look at. Cancelling this loses nothing.
    pub(crate) async fn next(&mut self) -> io::Result<Vec<TenantName>> {
        let rest = self.rests.front().map(|(until, _)| *until);
        let rested = async {
            match rest {
                Some(until) => sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        let notified = async {
            match &self.watch {
                Some(watch) => watch.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            tenant = self.held_back.next() => Ok(vec![tenant]),
            tenants = notified => tenants.inspect(|tenants| self.rest(tenants)),
            starved = self.pressure.next() => {
                self.changed.extend(starved);
                Ok(Vec::new())
            }
            () = rested => Ok(self.rested().into_iter().collect()),
        }
    }

    fn rest(&mut self, tenants: &[TenantName]) {
        let until = Instant::now() + REST;
        for tenant in tenants {
            if self.resting.insert(tenant.clone()) {
                self.rests.push_back((until, tenant.clone()));
            }
        }
    }

    fn rested(&mut self) -> Option<TenantName> {
        let (_, tenant) = self.rests.pop_front()?;
        self.resting.remove(&tenant);
        Some(tenant)
    }

    /// Looks at tenants that have reached a limit.
    pub(crate) fn on_notice(
        &mut self,
        tenants: io::Result<Vec<TenantName>>,
        inventory: &Inventory,
    ) {
        let tenants = match tenants {
            Ok(tenants) => tenants,
            Err(error) => {
                self.watch = None;
                return self.refused(&error);
            }
        };
        self.pressure.look(inventory);
        for tenant in tenants {
            if inventory.get(&tenant).is_none() {
                // A notice that was on its way when the tenant was removed.
                self.forget(&tenant);
                continue;
            }
            if !self.resting.contains(&tenant) {
                // First, so that nothing is missed between both.
                self.watch(&tenant, inventory);
            }
            self.look(&tenant, inventory);
        }
    }

    /// Begins to count for a launch, and looks at the end of one.
    pub(crate) fn on_transition(&mut self, transition: &Transition, inventory: &Inventory) {
        let tenant = &transition.tenant;
        let is_found = matches!(
            transition.cause,
            Cause::Found(Find::Lives | Find::AsItWas(_))
        );
        match transition.to {
            StateWord::Launching | StateWord::Initializing | StateWord::Preparing
                if transition.from != transition.to =>
            {
                self.begin(tenant, inventory);
            }
            StateWord::Up if is_found => self.begin(tenant, inventory),
            StateWord::Down if transition.from != transition.to => {
                self.forget(tenant);
            }
            _ => {}
        }
        if ProgramExit::of(&transition.cause).is_some() {
            self.look(tenant, inventory);
            let of = self.of.entry(tenant.clone()).or_default();
            let texts = of.since.keys().filter_map(|limit| of.texts.get(limit));
            let texts: Vec<&str> = texts.map(String::as_str).collect();
            of.reason = (!texts.is_empty()).then(|| texts.join("; "));
        }
        // Only now a launch has its limits, and a live change may have brought the files of a controller.
        if transition.to == StateWord::Up {
            self.watch(tenant, inventory);
        }
    }

    fn begin(&mut self, tenant: &TenantName, inventory: &Inventory) {
        let before = counts(inventory.get(tenant)).unwrap_or_default();
        let before = before.into_iter().chain(self.held_back.count(tenant));
        let of = self.of.entry(tenant.clone()).or_default();
        of.before = before.collect();
        of.since.clear();
    }

    fn watch(&mut self, tenant: &TenantName, inventory: &Inventory) {
        let Some((cgroup, limits)) = inventory.get(tenant).and_then(place) else {
            return;
        };
        self.pressure.begin(cgroup);
        if self.watch.is_none() && !self.is_refused {
            match LimitWatch::new() {
                Ok(watch) => self.watch = Some(watch),
                Err(error) => self.refused(&error),
            }
        }
        let watched = self
            .watch
            .as_ref()
            .map(|it| it.watch(tenant, cgroup, limits));
        if let Some(Err(error)) = watched {
            self.refused(&error);
        }
    }

    /// Says once that nothing is noticed before a program ends.
    fn refused(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.is_refused, true) {
            tracing::warn!("cannot watch for limits that tenants reach: {error}");
        }
    }

    /// Reads the counts of a tenant, and logs those that have grown: each time they have doubled.
    fn look(&mut self, tenant: &TenantName, inventory: &Inventory) {
        let entry = inventory.get(tenant);
        let counts = counts(entry).unwrap_or_default().into_iter();
        let counts = counts.chain(self.held_back.count(tenant));
        let none = GroupLimits::default();
        let limits = entry.map_or(&none, |entry| &entry.plan.launch.group);
        let of = self.of.entry(tenant.clone()).or_default();
        let mut has_changed = false;
        for (limit, count) in counts {
            let before = of.before.get(&limit).copied().unwrap_or_default();
            let count = count.saturating_sub(before);
            let (known, logged) = of.since.get(&limit).copied().unwrap_or_default();
            if count <= known {
                continue;
            }
            has_changed = true;
            let text = match limit.as_str() {
                held_back::LIMIT => held_back::text(count, entry),
                limit => text(limit, count, limits),
            };
            let is_logged = count >= logged.saturating_mul(2);
            if is_logged {
                history::limit(tenant, &text);
                tracing::warn!(%tenant, "{tenant}: {text}");
            }
            of.texts.insert(limit.clone(), text);
            let logged = if is_logged { count } else { logged };
            of.since.insert(limit, (count, logged));
        }
        if has_changed {
            self.changed.insert(tenant.clone());
        }
    }

    /// Forgets a tenant that was removed from the manifest.
    pub(crate) fn on_removed(&mut self, tenant: &TenantName) {
        self.forget(tenant);
        if self.resting.remove(tenant) {
            self.rests.retain(|(_, resting)| resting != tenant);
        }
    }

    fn forget(&mut self, tenant: &TenantName) {
        self.of.remove(tenant);
        self.pressure.forget(tenant);
        self.held_back.forget(tenant);
    }

    /// The next input for the loop.
    pub(crate) fn poll(&mut self) -> Option<Input> {
        self.changed.pop_first().map(Input::Changed)
    }
}

const MEMORY: &str = "memory.max";

/// The cgroup of a tenant, and its limits.
fn place(entry: &Entry) -> Option<(&Path, &GroupLimits)> {
    let leaf = entry.provisioned.as_ref()?.leaf.as_ref()?;
    Some((leaf.path(), &entry.plan.launch.group))
}

/// The counts of a tenant. What cannot be read is logged, and counts as nothing.
fn counts(entry: Option<&Entry>) -> Option<Vec<(String, u64)>> {
    let (cgroup, limits) = place(entry?)?;
    match reached(cgroup, limits) {
        Ok(counts) => Some(counts),
        Err(error) => {
            let cgroup = cgroup.display();
            tracing::warn!("cannot read how often limits were reached in {cgroup}: {error}");
            None
        }
    }
}

/// A count, as text.
fn times(count: u64) -> String {
    match count {
        1 => "once".to_owned(),
        several => format!("{several} times"),
    }
}

/// What happened at a limit, as text.
fn text(limit: &str, count: u64, limits: &GroupLimits) -> String {
    let times = times(count);
    let mut all = limits.each();
    let set = all.find(|(key, item, _)| match *item {
        "" => key.name == limit,
        item => limit
            .strip_prefix(key.name)
            .is_some_and(|it| it.trim_start() == item),
    });
    let is =
        set.map(|(key, _, value): (&GroupKey, _, _)| format!("{limit} is {}", shown(key, value)));
    match limit {
        MEMORY => {
            let processes = match count {
                1 => "1 process".to_owned(),
                several => format!("{several} processes"),
            };
            let why = is.unwrap_or_else(|| {
                "memory of all tenants together or of the host was used up".to_owned()
            });
            format!("the OOM killer ended {processes}: {why}")
        }
        "pids.max" => {
            let why = is.unwrap_or_else(|| "the limit is that of all tenants together".to_owned());
            format!("a new process or thread was refused {times}: {why}")
        }
        _ => {
            let why = is.unwrap_or_else(|| "the limit is another one now".to_owned());
            format!("a huge page was refused {times}: {why}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenantd_core::cgroup::GroupValue;

    #[test]
    fn what_happened_names_the_limit() {
        let mut limits = GroupLimits::default();
        limits.set("memory.max", &GroupValue::one("536870912"));
        let size = [("2MB".to_owned(), "0".to_owned())];
        limits.set("hugetlb", &GroupValue(size.into()));
        assert_eq!(
            text("memory.max", 1, &limits),
            "the OOM killer ended 1 process: memory.max is 512 MiB"
        );
        assert_eq!(
            text("hugetlb 2MB", 2, &limits),
            "a huge page was refused 2 times: hugetlb 2MB is 0"
        );
        assert_eq!(
            text("pids.max", 1, &limits),
            "a new process or thread was refused once: the limit is that of all tenants together"
        );
    }
}
