//! Which log collector has which tenant: a handle of all collectors of an application.
//!
//! A collector has three descriptors per tenant, and one more for each folder with log files, and the kernel limits
//! those of one process. So each has a share of the tenants:
//!
//! * A tenant stays with the collector that has it, until it is released. Which one that is, the collectors say to
//!   the next supervisor.
//! * Another tenant belongs to the first one that has room for it. If none has, another collector is started.
//!
//! The first collector is there as long as the supervisor. A further one stays until the supervisor ends, also if
//! all of its tenants are released. See `docs/decisions/0095-shares-of-log-collectors.md`.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::rc::Rc;
use std::time::SystemTime;

use rustix::process::{Resource, getrlimit};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::spawn_local;

use crate::collect::client::{self, Asked, Told, add};
use crate::collect::{Answer, Ask, Files};
use crate::logs::{BOTH, Ends};
use tenantd_core::layout;
use tenantd_core::name::{AppName, TenantName};
use tenantd_core::plan::model::TenantPlan;
use tenantd_core::stage::{Failure, Stage};
use tenantd_host::doctor;

/// The most descriptors of tenants that one collector is reckoned to have. Much fewer than a usual limit allows,
/// so that it is replaced before many tenants wait.
const ROOM_MAX: u64 = 10_500;

/// The variable with another room, in builds with debug assertions.
const ROOM: &str = "TENANTD_COLLECTOR_ROOM";

type Reply = oneshot::Receiver<io::Result<Answer>>;

/// A handle of the collectors.
#[derive(Clone)]
pub(crate) struct Collector(Rc<Shares>);

struct Shares {
    app: AppName,
    ends: Ends,
    /// How many descriptors of tenants each collector may have.
    room: u64,
    /// The collectors, by their numbers.
    collectors: RefCell<Vec<mpsc::UnboundedSender<Asked>>>,
    assigned: RefCell<Assigned>,
    /// How many tenants are being adopted.
    adopting: Cell<usize>,
    adopted: Notify,
}

/// Which collector has which tenant.
#[derive(Debug, Default)]
struct Assigned {
    /// The number of its collector, and its descriptors.
    of: BTreeMap<TenantName, (u16, u64)>,
    /// The descriptors of each collector.
    used: BTreeMap<u16, u64>,
}

impl Assigned {
    /// The collector of a tenant that has this many descriptors: the one that has it, or the first with room.
    fn place(&mut self, tenant: &TenantName, descriptors: u64, room: u64) -> u16 {
        let has_room = |number: &u16| {
            let used = self.used.get(number).copied().unwrap_or_default();
            used == 0 || used + descriptors <= room
        };
        let number = match self.of.get(tenant) {
            Some(&(number, _)) => number,
            // The last one may get more than it has room for.
            None => (0..layout::COLLECTORS_MAX)
                .find(has_room)
                .unwrap_or(layout::COLLECTORS_MAX - 1),
        };
        self.set(tenant, number, descriptors);
        number
    }

    fn set(&mut self, tenant: &TenantName, number: u16, descriptors: u64) {
        self.remove(tenant);
        self.of.insert(tenant.clone(), (number, descriptors));
        *self.used.entry(number).or_default() += descriptors;
    }

    /// Returns the number of the collector that had it.
    fn remove(&mut self, tenant: &TenantName) -> Option<u16> {
        let (number, descriptors) = self.of.remove(tenant)?;
        if let Some(used) = self.used.get_mut(&number) {
            *used -= descriptors;
        }
        Some(number)
    }
}

/// The descriptors of a tenant with log files in so many folders: its pipes, the socket at `/dev/log`, and the
/// folders.
fn needed(folders: usize) -> u64 {
    (BOTH + 1 + folders) as u64
}

/// The room that a test has chosen.
fn chosen() -> Option<u64> {
    let chosen = std::env::var_os(ROOM).filter(|_| cfg!(debug_assertions))?;
    chosen.to_str()?.parse().ok()
}

/// How many descriptors of tenants a collector may have under this limit.
fn room(limit: Option<u64>) -> u64 {
    let room = limit.map_or(ROOM_MAX, |limit| {
        limit.saturating_sub(doctor::OWN_DESCRIPTORS)
    });
    room.clamp(needed(0), ROOM_MAX)
}

impl Collector {
    /// Starts the first collector of an application, or takes over those of an earlier supervisor. Those of another
    /// program are replaced, and no message is lost meanwhile.
    ///
    /// # Errors
    /// If one cannot be started, or its FIFO cannot be read.
    pub(crate) async fn start(app: &AppName, ends: Ends) -> io::Result<Self> {
        let shares = Shares {
            app: app.clone(),
            ends,
            room: chosen().unwrap_or_else(|| room(getrlimit(Resource::Nofile).current)),
            collectors: RefCell::default(),
            assigned: RefCell::default(),
            adopting: Cell::new(0),
            adopted: Notify::new(),
        };
        let last = numbers(app)?.last().copied().unwrap_or(0);
        for number in 0..=last {
            shares.ends.collect(app, number)?;
            let (asks, tenants) = client::take_over(app, number, shares.ends.clone()).await?;
            shares.collectors.borrow_mut().push(asks);
            let mut assigned = shares.assigned.borrow_mut();
            for tenant in tenants {
                assigned.set(&tenant, number, needed(0));
            }
        }
        Ok(Self(Rc::new(shares)))
    }

    /// Makes a tenant's socket, and follows its log files.
    ///
    /// # Errors
    /// The stage [`Stage::Log`].
    pub(crate) async fn add(&self, plan: &TenantPlan) -> Result<(), Failure> {
        let added = answered(self.post_add(plan)).await;
        added.map_err(|error| failed(&error))
    }

    /// Whether a collector of an earlier supervisor has this tenant, or it was added.
    pub(crate) fn has(&self, tenant: &TenantName) -> bool {
        self.0.assigned.borrow().of.contains_key(tenant)
    }

    /// Does the same for a tenant that runs already, and does not wait for it. What exists stays.
    pub(crate) fn adopt(&self, plan: &TenantPlan) {
        let tenant = plan.name.clone();
        // In the order of the calls.
        let answer = self.post_add(plan);
        let shares = Rc::clone(&self.0);
        shares.adopting.set(shares.adopting.get() + 1);
        spawn_local(async move {
            if let Err(failure) = answered(answer).await {
                tracing::error!(%tenant, "{tenant}: cannot make the socket at its /dev/log: {failure}");
            }
            shares.adopting.set(shares.adopting.get() - 1);
            shares.adopted.notify_waiters();
        });
    }

    /// Closes a tenant's socket. What was sent to it is in the FIFO then.
    ///
    /// # Errors
    /// The stage [`Stage::Log`]. Without a descriptor to read the last output, nothing is closed.
    pub(crate) async fn remove(&self, tenant: &TenantName) -> Result<(), Failure> {
        let number = self
            .0
            .assigned
            .borrow()
            .of
            .get(tenant)
            .map(|(number, _)| *number);
        let ask = Ask::Remove {
            tenant: tenant.clone(),
        };
        let removed = answered(self.0.post(number.unwrap_or(0), ask)).await;
        removed.map_err(|error| failed(&error))?;
        self.0.assigned.borrow_mut().remove(tenant);
        Ok(())
    }

    /// Waits until the collectors have all tenants that were adopted before, except so many.
    pub(crate) async fn settle(&self, except: usize) {
        loop {
            let next = self.0.adopted.notified();
            if self.0.adopting.get() <= except {
                return;
            }
            next.await;
        }
    }

    /// Ends all collectors. What was sent to all sockets is in the FIFOs then.
    ///
    /// # Errors
    /// That of the first one that does not end.
    pub(crate) async fn end(&self) -> io::Result<()> {
        let count = self.0.collectors.borrow().len();
        let mut ended = Ok(());
        for number in (0..count).filter_map(|number| u16::try_from(number).ok()) {
            ended = ended.and(answered(self.0.post(number, Ask::End)).await);
        }
        ended
    }

    fn post_add(&self, plan: &TenantPlan) -> Reply {
        let shares = &self.0;
        let files = Files::of(plan);
        let mut assigned = shares.assigned.borrow_mut();
        let number = assigned.place(&plan.name, needed(files.len()), shares.room);
        drop(assigned);
        let rate = plan.log_rate;
        let told = Told { files, rate };
        shares.post(number, add(&plan.name, Some(told), Some(SystemTime::now())))
    }
}

impl Shares {
    /// Sends a request. Those after it to the same collector are sent later.
    fn post(&self, number: u16, ask: Ask) -> Reply {
        let (reply, answer) = oneshot::channel();
        match self.collector(number) {
            // If it is not used any more, this drops the sender of the answer.
            Ok(asks) => drop(asks.send((ask, reply))),
            Err(error) => drop(reply.send(Err(error))),
        }
        answer
    }

    /// The collector with this number. One that is not there yet is started with the first request.
    fn collector(&self, number: u16) -> io::Result<mpsc::UnboundedSender<Asked>> {
        let mut collectors = self.collectors.borrow_mut();
        while collectors.len() <= usize::from(number) {
            let next = u16::try_from(collectors.len()).unwrap_or(number);
            self.ends.collect(&self.app, next)?;
            collectors.push(client::begin(&self.app, next, self.ends.clone()));
        }
        Ok(collectors[usize::from(number)].clone())
    }
}

/// Ends the collectors that a supervisor left, if there are any. The lines that nobody reads any more are lost.
pub(crate) async fn end_left(app: &AppName) {
    for number in numbers(app).unwrap_or_else(|_| BTreeSet::from([0])) {
        client::end_left(app, number).await;
    }
}

/// The numbers of the collectors whose sockets or FIFOs are there.
fn numbers(app: &AppName) -> io::Result<BTreeSet<u16>> {
    let mut numbers = BTreeSet::new();
    for entry in fs::read_dir(layout::folder(app))? {
        let name = entry?.file_name();
        numbers.extend(name.to_str().and_then(layout::of_collector));
    }
    Ok(numbers)
}

async fn answered(answer: Reply) -> io::Result<()> {
    let gone = |_| io::Error::other("the log collector is not used any more");
    match answer.await.map_err(gone)??.error {
        None => Ok(()),
        Some(why) => Err(io::Error::other(why)),
    }
}

fn failed(error: &io::Error) -> Failure {
    let what = "of the log collector";
    match error.raw_os_error() {
        Some(errno) => Failure::errno(Stage::Log, what, errno),
        None => Failure::detail(Stage::Log, what, error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> TenantName {
        text.parse().unwrap()
    }

    #[test]
    fn a_tenant_belongs_to_the_first_collector_with_room_and_stays_there() {
        let mut assigned = Assigned::default();
        let mut place = |tenant: &str, descriptors| assigned.place(&name(tenant), descriptors, 7);
        assert_eq!([place("a", 3), place("b", 3), place("c", 3)], [0, 0, 1]);
        assert_eq!(
            place("large", 20),
            2,
            "one that needs more than the room has one alone"
        );
        assert_eq!(place("a", 9), 0, "it needs more since a reload");
        assert_eq!(place("d", 3), 1);
        assert_eq!(assigned.remove(&name("b")), Some(0));
        assert_eq!(assigned.remove(&name("a")), Some(0));
        assert_eq!(assigned.place(&name("e"), 3, 7), 0);
        assert_eq!(assigned.remove(&name("b")), None);
    }

    #[test]
    fn the_room_is_what_the_limit_leaves() {
        assert_eq!(room(None), ROOM_MAX);
        assert_eq!(room(Some(1 << 20)), ROOM_MAX);
        assert_eq!(room(Some(doctor::OWN_DESCRIPTORS + 30)), 30);
        assert_eq!(room(Some(1)), 3);
    }
}
