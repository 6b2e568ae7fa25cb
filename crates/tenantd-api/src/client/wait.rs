//! Waits until tenants have reached a state: what `start`, `stop` and `restart` do after their request.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::ClientError;
use super::watch::{Subscription, Watched};
use crate::wire::watch::{EventKind, TenantEvent};
use crate::wire::{Killed, LogPlace, StateWord, TenantStatus};
use tenantd_core::name::{AppName, TenantName};

/// What [`Waiting`] and [`wait`] wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// The tenant is settled, see [`TenantStatus::is_settled`].
    Settled,
    /// The tenant is settled, or an attempt to start it has failed and the next one is scheduled or
    /// has begun. The tenant is returned as [`StateWord::Waiting`] then, with the reason in `why`.
    Tried,
}

/// The result of [`wait`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The tenants that reached the state, each as it was at that moment, in the order of the
    /// request.
    pub reached: Vec<TenantStatus>,
    /// The tenants that a reload removed meanwhile.
    pub gone: Vec<TenantName>,
}

/// What became of one tenant of a [`Waiting`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Became {
    /// It reached the state, and was like this at that moment.
    Reached(Box<TenantStatus>),
    /// A reload removed it. What was killed at the end of its last launch, if that was seen.
    Gone(TenantName, Option<Box<Killed>>),
}

/// Waits until each of some tenants has reached a state or was removed, and returns them one by one
/// in the order in which that happens. There is no time limit. Dropping it ends the wait.
///
/// ```no_run
/// # async fn example() -> Result<(), tenantd_api::client::ClientError> {
/// use tenantd_api::client::watch::{Became, Until, Waiting};
///
/// let tenants = ["acme".parse().unwrap()];
/// let mut waiting = Waiting::new(&"wiki".parse().unwrap(), &tenants, Until::Settled);
/// while let Some(became) = waiting.next().await? {
///     match became {
///         Became::Reached(tenant) => println!("{}: {}", tenant.name, tenant.state.word()),
///         Became::Gone(tenant, _) => println!("{tenant}: removed"),
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Waiting {
    app: AppName,
    until: Until,
    left: BTreeSet<TenantName>,
    logs: Option<LogPlace>,
    subscription: Option<Subscription>,
    became: VecDeque<Became>,
    attempts: Attempts,
}

impl Waiting {
    /// Begins to wait. Nothing is sent before the first call of [`Waiting::next`].
    #[must_use]
    pub fn new(app: &AppName, tenants: &[TenantName], until: Until) -> Self {
        Self {
            app: app.clone(),
            until,
            left: tenants.iter().cloned().collect(),
            logs: None,
            subscription: None,
            became: VecDeque::new(),
            attempts: Attempts::default(),
        }
    }

    /// Where the tenants' output goes; `None` before the supervisor has answered.
    #[must_use]
    pub fn logs(&self) -> Option<LogPlace> {
        self.logs
    }

    /// The tenants that have not been returned yet.
    pub fn left(&self) -> impl Iterator<Item = &TenantName> {
        let became = self.became.iter().map(|became| match became {
            Became::Reached(tenant) => &tenant.name,
            Became::Gone(tenant, _) => tenant,
        });
        self.left.iter().chain(became)
    }

    /// Returns the next tenant, or `None` after the last one. It is cancel-safe: a call that is
    /// dropped, as by `select!`, loses nothing.
    ///
    /// # Errors
    /// See [`Subscription::next`].
    pub async fn next(&mut self) -> Result<Option<Became>, ClientError> {
        loop {
            if let Some(became) = self.became.pop_front() {
                return Ok(Some(became));
            }
            if self.left.is_empty() {
                return Ok(None);
            }
            let Some(subscription) = &mut self.subscription else {
                self.subscribe().await?;
                continue;
            };
            match subscription.next().await {
                Ok(Watched::Snapshot(snapshot)) => {
                    self.logs = Some(snapshot.logs);
                    self.on_snapshot(snapshot.tenants);
                }
                Ok(Watched::Event(event)) if event.kind == EventKind::Removed => {
                    self.is_gone(&event.tenant);
                }
                // Not asked for.
                Ok(Watched::Request(_)) => {}
                Ok(Watched::Event(event)) => {
                    if let Some((tenant, failed)) = self.attempts.event(*event) {
                        self.look_at(tenant, failed);
                    }
                }
                // The supervisor was upgraded, and one of the tenants was removed before or
                // meanwhile: the next subscription is only to those that are left.
                Err(ClientError::UnknownTenant { .. }) => self.subscription = None,
                Err(error) => return Err(error),
            }
        }
    }

    async fn subscribe(&mut self) -> Result<(), ClientError> {
        let names: Vec<TenantName> = self.left.iter().cloned().collect();
        match Subscription::open(&self.app, &names).await {
            Ok(subscription) => self.subscription = Some(subscription),
            // The tenant was removed before the subscription began.
            Err(ClientError::UnknownTenant { app, tenant }) => {
                match names.iter().find(|name| name.as_str() == tenant) {
                    Some(name) => self.is_gone(name),
                    None => return Err(ClientError::UnknownTenant { app, tenant }),
                }
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn on_snapshot(&mut self, tenants: Vec<TenantStatus>) {
        let there: BTreeSet<&TenantName> = tenants.iter().map(|tenant| &tenant.name).collect();
        // Removed after the subscription began and before its part of the snapshot was taken: no
        // event follows. Or the subscription has ended since. The next subscription tells.
        let again = self.left.iter().any(|name| !there.contains(name));
        for tenant in tenants {
            let (tenant, failed) = self.attempts.seen(tenant);
            self.look_at(tenant, failed);
        }
        if again {
            self.subscription = None;
        }
    }

    fn is_gone(&mut self, tenant: &TenantName) {
        if self.left.remove(tenant) {
            let killed = self.attempts.killed.remove(tenant);
            let killed = killed.map(Box::new);
            self.became.push_back(Became::Gone(tenant.clone(), killed));
        }
    }

    fn look_at(&mut self, tenant: TenantStatus, failed: bool) {
        let is_reached = tenant.is_settled() || (failed && self.until == Until::Tried);
        if is_reached && self.left.remove(&tenant.name) {
            self.became.push_back(Became::Reached(Box::new(tenant)));
        }
    }
}

/// Waits until each of these tenants has reached the state or was removed. There is no time limit;
/// wrap it in `tokio::time::timeout` for one. An empty list returns at once.
///
/// # Errors
/// See [`Subscription::next`].
pub async fn wait(
    app: &AppName,
    tenants: &[TenantName],
    until: Until,
) -> Result<Outcome, ClientError> {
    let mut waiting = Waiting::new(app, tenants, until);
    let mut reached = BTreeMap::new();
    let mut gone = Vec::new();
    while let Some(became) = waiting.next().await? {
        match became {
            Became::Reached(tenant) => {
                reached.insert(tenant.name.clone(), *tenant);
            }
            Became::Gone(tenant, _) => gone.push(tenant),
        }
    }
    let reached = tenants.iter().filter_map(|name| reached.remove(name));
    let reached = reached.collect();
    Ok(Outcome { reached, gone })
}

/// The attempts to start the tenants, and how they ended.
///
/// If a program fails after more than its restart delay, the next attempt begins at once: no event
/// has a status with the state `waiting` then. The state of the event itself has it, and the number
/// of restarts grows.
#[derive(Debug, Default)]
struct Attempts {
    /// Why the present attempt of a tenant is ending.
    why: BTreeMap<TenantName, String>,
    /// The number of restarts of each tenant when it was seen first.
    restarts: BTreeMap<TenantName, u32>,
    /// What was killed at the end of the last launch of each tenant.
    killed: BTreeMap<TenantName, Killed>,
}

impl Attempts {
    /// A tenant as it is, and whether an attempt to start it has failed.
    fn seen(&mut self, mut tenant: TenantStatus) -> (TenantStatus, bool) {
        let before = *self
            .restarts
            .entry(tenant.name.clone())
            .or_insert(tenant.restarts);
        if let Some(killed) = &tenant.killed {
            self.killed.insert(tenant.name.clone(), killed.clone());
        }
        if let Some(why) = &tenant.why {
            self.why.insert(tenant.name.clone(), why.clone());
        }
        let failed = tenant.state == StateWord::Waiting || tenant.restarts > before;
        if failed && !tenant.is_settled() {
            tenant.state = StateWord::Waiting;
            tenant.why = tenant.why.or_else(|| self.why.remove(&tenant.name));
        }
        (tenant, failed)
    }

    /// A tenant as it is after an event, and whether an attempt to start it has failed.
    fn event(&mut self, event: TenantEvent) -> Option<(TenantStatus, bool)> {
        let mut tenant = event.status?;
        if event.state == StateWord::Waiting && tenant.state != StateWord::Waiting {
            tenant.state = StateWord::Waiting;
            tenant.ready = None;
            // While it is being started again, the status has its last failure.
            let known = self.why.remove(&tenant.name);
            tenant.why = tenant.why.or(known).or(event.reason);
        }
        Some(self.seen(tenant))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(state: StateWord, restarts: u32, why: Option<&str>) -> TenantStatus {
        TenantStatus {
            restarts,
            ready: Some(false),
            why: why.map(Into::into),
            ..TenantStatus::bare(
                "acme".parse().unwrap(),
                std::net::Ipv4Addr::new(10, 77, 0, 11).into(),
                state,
            )
        }
    }

    fn event(state: StateWord, reason: &str, status: TenantStatus) -> TenantEvent {
        TenantEvent {
            tenant: status.name.clone(),
            kind: EventKind::Transition,
            from: None,
            state,
            reason: Some(reason.to_owned()),
            exit: None,
            time: jiff::Timestamp::UNIX_EPOCH,
            status: Some(status),
        }
    }

    #[test]
    fn a_failure_shows_in_the_event_even_if_the_next_attempt_has_begun() {
        let mut attempts = Attempts::default();
        assert!(!attempts.seen(tenant(StateWord::Up, 3, None)).1);
        let stopping = tenant(StateWord::Stopping, 3, Some("never ready"));
        let stopping = event(StateWord::Stopping, "never ready", stopping);
        assert!(!attempts.event(stopping).unwrap().1);
        let next = tenant(StateWord::Launching, 4, None);
        let waiting = event(StateWord::Waiting, "all have exited", next);
        let (tenant, failed) = attempts.event(waiting).unwrap();
        assert!(failed);
        assert_eq!(tenant.state, StateWord::Waiting);
        assert_eq!(tenant.why.as_deref(), Some("never ready"));
    }

    #[test]
    fn a_launch_that_failed_says_why_in_its_event() {
        let mut attempts = Attempts::default();
        attempts.seen(tenant(StateWord::Launching, 0, None));
        let next = tenant(StateWord::Launching, 1, None);
        let failed = attempts.event(event(StateWord::Waiting, "exec: not found", next));
        let (tenant, failed) = failed.unwrap();
        assert!(failed);
        assert_eq!(tenant.why.as_deref(), Some("exec: not found"));
    }

    /// As after an upgrade of the supervisor, which loses the events in between.
    #[test]
    fn a_failure_shows_in_a_later_snapshot_by_the_number_of_restarts() {
        let mut attempts = Attempts::default();
        assert!(!attempts.seen(tenant(StateWord::Launching, 7, None)).1);
        assert!(!attempts.seen(tenant(StateWord::Up, 7, None)).1);
        assert!(attempts.seen(tenant(StateWord::Up, 8, None)).1);
    }
}
