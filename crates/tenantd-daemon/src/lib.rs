//! The daemon: the one loop between the two wings. It waits for something to happen, lets the
//! supervisor decide, and has the decision carried out.
//!
//! ```text
//!   signals, notices, reports, asks, the deadline
//!        │                                  ▲
//!        ▼                                  │ reports
//!   supervisor.handle(now, event) ──▶ actions ──▶ site: provision, launch, release
//! ```
//!
//! The loop's thread never enters another namespace and never waits for anything but the next
//! thing to happen. With nothing to do it sleeps, and no timer wakes it.

#![forbid(unsafe_code)]

mod adoption;
mod answer;
pub mod clock;
pub mod control;
pub mod desk;
mod evidence;
pub mod gc;
mod launch;
mod leave;
mod ledger;
pub mod logs;
pub mod manifest;
pub mod notify;
mod outflow;
mod perform;
mod programs;
pub mod ready;
mod record;
mod reload;
mod remember;
mod report;
pub mod signals;
mod site;
mod store;
mod strays;
mod survivors;
mod tally;
pub mod tell;
pub mod trial;
mod turn;
mod under_way;
pub mod upgrade;
mod wants;
pub mod way_back;

use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

use anyhow::{Context, bail};
use rustix::process::Rlimit;
use tokio::sync::mpsc;
use tokio::task::LocalSet;

use tenantd_api::wire::LogPlace;
use tenantd_core::name::{AppName, TenantName};
use tenantd_core::plan::model::Plan;
use tenantd_core::supervisor::Limits;
use tenantd_core::supervisor::Supervisor;
use tenantd_core::supervisor::action::Action;
use tenantd_host::cgroup::{Tree, Watch};
use tenantd_host::crash;
use tenantd_host::heritage::Heritage;
use tenantd_host::netns::name;
use tenantd_host::network::Network;
use tenantd_host::runtime::Runtime;

use self::answer::Waiter;
use self::control::{Listener, Served};
use self::desk::{Ask, Desk};
use self::leave::{Going, Whither};
use self::ledger::Ledger;
use self::ledger::file::{LedgerFile, Legacy};
use self::logs::Logs;
use self::manifest::ManifestFile;
use self::ready::notice::Notify;
use self::reload::Reloads;
use self::report::{Report, Reporter};
use self::signals::Signals;
use self::site::{Cgroups, Site};
use self::tally::Tally;
use self::tell::LastWords;
use self::under_way::UnderWay;
use self::upgrade::Upgrade;

/// Threads that may be blocked by a filesystem at the same time. A launch keeps one for about a
/// millisecond; a filesystem that hangs keeps one per tenant on it, and the others go on.
const BLOCKING_MAX: usize = 4;

/// What the loop holds.
struct Daemon {
    supervisor: Supervisor,
    ledger: Ledger,
    /// The ledger's part that outlives this process.
    file: LedgerFile,
    site: Rc<Site>,
    logs_go_to: LogPlace,
    reports: mpsc::UnboundedReceiver<Report>,
    asks: mpsc::Receiver<Ask>,
    signals: Signals,
    notices: Notify,
    waiters: Vec<Waiter>,
    reloads: Reloads,
    /// Tenants whose provision has not begun.
    to_provision: VecDeque<TenantName>,
    /// Provisions under way.
    provisioning: usize,
    tally: Tally,
    stopping: bool,
    /// What comes after the loop, once it is about to end with all tenants going on.
    going: Option<Going>,
    /// What is not begun since then.
    put_off: Vec<Action>,
    upgrade: Upgrade,
    control: Served,
    /// The control socket's way to the loop.
    desk: Desk,
    last_words: LastWords,
}

/// What a supervisor begins with, beside its plan.
pub struct Start {
    /// The file that the plan was read from, and that a reload reads again.
    pub manifest: ManifestFile,
    /// Where the tenants' output goes.
    pub logs_go_to: LogPlace,
    /// Sees to it that our own words are written.
    pub last_words: LastWords,
    /// What was handed down.
    pub heritage: Heritage,
    /// The limit on descriptors that this process was started with: the tenants'.
    pub descriptors: Rlimit,
}

/// Runs an application until it is told to stop, and leaves nothing behind. The manifest is the
/// one that the plan was read from, and is read again by a reload.
///
/// # Errors
/// When the supervisor cannot begin (then nothing was started), or cannot take away everything at
/// its end.
pub fn run(plan: Plan, start: Start) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_MAX)
        .build()
        .context("cannot start the loop")?;
    let ended = LocalSet::new().block_on(&runtime, supervise(plan, start));
    // Only a filesystem that hangs can still keep a blocking thread, and it is not waited for.
    runtime.shutdown_background();
    ended
}

async fn supervise(plan: Plan, mut start: Start) -> anyhow::Result<()> {
    // First of all, so that no signal from now on ends us halfway.
    let signals = Signals::new().context("cannot listen to signals")?;
    let runtime = Runtime::take(&plan.app, &mut start.heritage)?;
    crash::point("begin: folder taken", "");
    // Before anything is touched: it may be of a later form than this supervisor knows.
    let ledger = LedgerFile::open(&plan.app)?;
    let begun_before = ledger.1.knows_anything();
    crash::point("begin: ledger opened", "");
    let daemon = match open(plan, ledger, start, signals).await {
        Ok(opened) => opened,
        // The next one goes on from what the last one wrote down.
        Err(error) if begun_before => return Err(error),
        Err(error) => return Err(also(error, runtime.remove().err())),
    };
    let Some(mut left) = daemon.live(&runtime).await else {
        return Ok(());
    };
    left.extend(runtime.remove().err().map(anyhow::Error::from));
    if left.is_empty() {
        return Ok(());
    }
    let left: Vec<String> = left.iter().map(|error| format!("{error:#}")).collect();
    bail!("something is left on the host: {}", left.join("; "))
}

/// Opens everything that the loop needs. What cannot go on leaves nothing behind.
async fn open(
    plan: Plan,
    (file, legacy): (LedgerFile, Legacy),
    start: Start,
    signals: Signals,
) -> anyhow::Result<Daemon> {
    let Start {
        manifest,
        logs_go_to,
        last_words,
        mut heritage,
        descriptors,
    } = start;
    let app = &plan.app;
    let upgrade = Upgrade::new(heritage.word.take()).context("cannot tell where our file is")?;
    let notices = Notify::bind(app).context("cannot make the notify socket")?;
    let control = Listener::inherit(app, &mut heritage)?;
    crash::point("begin: sockets bound", "");
    let logs = Logs::start(app, logs_go_to).context("cannot read the tenants' output")?;
    let (cgroups, network) = open_host(&plan).await?;
    crash::point("begin: hub there", "");
    way_back::test();
    let wants = wants::all(app)?;
    let (desk, asks) = desk::open();
    let (reporter, reports) = mpsc::unbounded_channel();
    let mut daemon = Daemon {
        supervisor: Supervisor::new(Limits::default()),
        ledger: Ledger::default(),
        file,
        site: Rc::new(Site {
            app: app.clone(),
            network,
            cgroups,
            logs,
            reporter: Reporter::new(reporter),
            under_way: UnderWay::default(),
            heritage: RefCell::new(heritage),
            descriptors,
        }),
        logs_go_to,
        reports,
        asks,
        signals,
        notices,
        waiters: Vec::new(),
        reloads: Reloads::new(manifest, plan.network.clone()),
        to_provision: VecDeque::new(),
        provisioning: 0,
        tally: Tally::default(),
        stopping: false,
        going: None,
        put_off: Vec::new(),
        upgrade,
        control: Served::start(control, desk.clone()),
        desk,
        last_words,
    };
    take_unplanned(&daemon.site, &plan, &legacy).await;
    daemon.plan(plan, legacy, wants).await;
    daemon.site.settle_heritage();
    crash::point("begin: heritage settled", "");
    Ok(daemon)
}

/// Ends and takes away what belongs to no tenant of the plan, before anything is started.
async fn take_unplanned(site: &Site, plan: &Plan, legacy: &Legacy) {
    let names = plan.tenants.iter().map(|tenant| tenant.name.clone());
    let planned: BTreeSet<TenantName> = names.collect();
    site.end_strays(legacy, plan).await;
    crash::point("begin: strays ended", "");
    site.take_leftovers(|tenant| planned.contains(tenant)).await;
    crash::point("begin: leftovers taken", "");
}

/// What went wrong first, and what else could not be tidied up after it.
fn also(first: anyhow::Error, left: Option<impl Into<anyhow::Error>>) -> anyhow::Error {
    match left.map(Into::into) {
        None => first,
        Some(left) => anyhow::anyhow!("{first:#}; and then something is left: {left:#}"),
    }
}

/// What tenants are tracked by, and the network that they share.
async fn open_host(plan: &Plan) -> anyhow::Result<(Option<Cgroups>, Network)> {
    let cgroups = find_cgroups(&plan.app)?;
    match Network::open(plan.network.clone()).await {
        Ok(network) => Ok((cgroups, network)),
        Err(why) => {
            let tidied = cgroups.map_or(Ok(()), |Cgroups { tree, .. }| tree.remove());
            Err(also(why.into(), tidied.err()))
        }
    }
}

fn find_cgroups(app: &AppName) -> anyhow::Result<Option<Cgroups>> {
    let Some(tree) = Tree::find(app)? else {
        tracing::warn!(
            "no cgroup v2 tree can be written to: tenants' processes are tracked by their \
             network namespace, and stopping one walks over all of /proc"
        );
        return Ok(None);
    };
    match Watch::new() {
        Ok(watch) => Ok(Some(Cgroups { tree, watch })),
        Err(why) => Err(also(why.into(), tree.remove().err())),
    }
}

impl Daemon {
    /// Goes round until the supervisor has finished; then takes away what all tenants shared, and
    /// gives back what could not be taken. None if it was told to leave: then all stands on.
    async fn live(mut self, runtime: &Runtime) -> Option<Vec<anyhow::Error>> {
        let mut left = Vec::new();
        way_back::close();
        self.upgrade.say();
        if let Err(error) = notify::ready() {
            tracing::warn!(%error, "cannot tell the service manager that all is ready");
        }
        crash::point("begin: ready", "");
        loop {
            self.go_round().await;
            match self.going.as_ref().map(|going| going.whither) {
                None => break,
                Some(Whither::Leave) => {
                    self.leave().await;
                    return None;
                }
                Some(Whither::Upgrade) => {
                    self.change_over(runtime).await;
                    self.carry_on();
                }
            }
        }
        left.extend(self.stuck());
        for plan in self.ledger.fallen() {
            if let Err(why) = self.site.take_leftover(plan).await {
                left.push(anyhow::anyhow!("{}: {why}", plan.name));
            }
        }
        // Whoever waits hears the end of it before the socket goes.
        drop(self.waiters);
        drop(self.asks);
        self.control.end().await;
        drop(self.notices);
        crash::point("finish: sockets closed", "");
        let site = self.site;
        if !site.under_way.is_none() {
            left.push(anyhow::anyhow!("a task on the host has not ended"));
            return Some(left);
        }
        // Whoever lives on reaches the host by way of the hub, which then stays.
        if left.is_empty()
            && let Err(failures) = site.network.close().await
        {
            left.extend(failures.into_iter().map(anyhow::Error::from));
        }
        crash::point("finish: hub gone", "");
        if let Some(Cgroups { tree, .. }) = &site.cgroups {
            left.extend(tree.remove().err().map(anyhow::Error::from));
        }
        crash::point("finish: cgroups gone", "");
        left.extend(name::leave().err().map(anyhow::Error::from));
        site.logs.end().await;
        Some(left)
    }
}
