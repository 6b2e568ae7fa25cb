//! The target's side of a move: one step per call, asked for on standard input as JSON.

use std::io::{self, BufRead, Read, Write};
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::fs::statvfs;
use serde_json::Value;

use super::super::args::{Receive, Show, Step, Wait};
use super::super::{End, edit};
use super::heard::beating;
use super::transport::{self, Transport};
use super::{Offer, Reply, Snapshot, states, stream};
use tenantd_api::client::app::Selector;
use tenantd_core::name::TenantName;
use tenantd_core::plan::data;
use tenantd_core::plan::model::{Plan, TenantPlan};
use tenantd_host::owner::{self, Host};
use tenantd_host::quota;
use tenantd_host::relocation::incoming::{Incoming, seal_snapshot};
use tenantd_host::relocation::{self, Mark, Snapshots};

/// An offer is much smaller.
const OFFER_MAX: u64 = 16 << 20;

/// What is left free of a filesystem.
const SPARE: u64 = 64 << 20;

/// How long a step may take that starts no tenant: the copy is written to the disk, or removed.
const FILES: Duration = Duration::from_secs(600);

/// The keys of a plan that may differ between hosts: where its data is, and by which link it is reached.
const OF_THE_HOST: [&str; 5] = ["datastore", "link", "hidden", "autostart", "resolv"];

/// Does a step.
pub(in super::super) fn receive(selector: &Selector, what: &Receive) -> anyhow::Result<End> {
    super::super::bundle::root()?;
    let mut text = Vec::new();
    let mut stdin = io::stdin().lock();
    let mut line = stdin.by_ref().take(OFFER_MAX);
    line.read_until(b'\n', &mut text)
        .context("standard input")?;
    let offer: Offer = serde_json::from_slice(&text)
        .context("the other host has sent what this tenantd does not know: use the same version")?;
    let here = Received::find(selector, &what.tenant, offer)?;
    let touched = Mutex::new(Instant::now());
    let reply = beating(here.limit(what.step), &touched, || match what.step {
        Step::Snapshot => here.receive(stdin, &touched),
        step => here.step(selector, step),
    })?;
    writeln!(io::stdout(), "{}", serde_json::to_string(&reply)?)?;
    Ok(End::Done)
}

struct Received {
    offer: Offer,
    plan: Plan,
    tenant: TenantPlan,
    /// Whether the manifest has it.
    is_known: bool,
    here: Host,
    label: String,
}

impl Received {
    fn find(selector: &Selector, name: &TenantName, offer: Offer) -> anyhow::Result<Self> {
        let config = edit::manifest(selector)?;
        let (plan, is_known) = edit::planned(&config, name, &offer.entry)?;
        let tenant = plan.tenants.iter().find(|it| it.name == *name).cloned();
        let tenant = tenant.with_context(|| format!("{name}: not in the manifest"))?;
        let here = owner::this_host(&tenant.datastore.source).map_err(said)?;
        if offer
            .to
            .as_ref()
            .is_some_and(|to| to.machine != here.machine)
        {
            bail!("this is another host than that which the datastore was handed over to");
        }
        if offer.from.machine == here.machine {
            bail!(
                "both hosts have the same machine id, so owner records cannot tell them apart: see machine-id(5)"
            );
        }
        let label = relocation::label(&plan.app, name);
        Ok(Self {
            offer,
            plan,
            tenant,
            is_known,
            here,
            label,
        })
    }

    fn is_shared(&self) -> bool {
        self.offer.storage == "shared"
    }

    fn mark(&self, sealed: Option<u64>) -> Mark {
        Mark {
            other: self.offer.from.clone(),
            label: self.label.clone(),
            sealed,
            left: self.offer.left.filter(|_| sealed.is_some()),
            since: self.offer.since,
            was_up: self.offer.was_up,
            sent: None,
        }
    }

    /// How long a step may take. Of a start, the program says that.
    fn limit(&self, step: Step) -> Duration {
        let policy = &self.tenant.policy;
        match step {
            Step::Check | Step::Stage | Step::Snapshot | Step::Seal | Step::Abandon => FILES,
            Step::Take => {
                let phases = [&policy.phases.init, &policy.phases.before].into_iter();
                let phases = phases.flatten().map(|phase| phase.within);
                phases.fold(
                    policy.ready_within.saturating_add(FILES),
                    Duration::saturating_add,
                )
            }
        }
    }

    fn step(&self, selector: &Selector, step: Step) -> anyhow::Result<Reply> {
        let (offer, datastore) = (&self.offer, &self.tenant.datastore);
        let mut reply = self.reply();
        match step {
            Step::Check => {
                self.check()?;
                if !self.is_shared() {
                    reply.no_snapshots = transport::cannot_receive(&datastore.source)?;
                }
            }
            Step::Stage => {
                self.check()?;
                reply.is_new = relocation::stage(datastore, &self.mark(None))?;
                let snapshots = Snapshots::received(&datastore.source);
                match offer.transport {
                    Transport::Rsync => snapshots.sweep()?,
                    Transport::Btrfs => reply.received = snapshots.complete()?,
                }
            }
            Step::Snapshot => bail!("a snapshot is received by itself"),
            Step::Seal => {
                let sealed = self.mark(Some(offer.generation));
                match offer.snapshot {
                    None => relocation::seal(datastore, &sealed)?,
                    Some(Snapshot { number, .. }) => {
                        seal_snapshot(datastore, &sealed, number)?;
                    }
                }
            }
            Step::Take => {
                if !self.is_shared() {
                    relocation::take(datastore, &offer.from, &self.label, offer.generation)?;
                }
                reply.state = self.start(selector)?;
                if !self.is_shared() {
                    Snapshots::received(&datastore.source).sweep()?;
                }
            }
            Step::Abandon => relocation::abandon(datastore, &offer.from, &self.label)?,
        }
        Ok(reply)
    }

    fn reply(&self) -> Reply {
        let source = &self.tenant.datastore.source;
        Reply {
            here: self.here.clone(),
            staging: relocation::staging(source),
            place: source.clone(),
            is_new: false,
            state: String::new(),
            no_snapshots: None,
            received: Vec::new(),
        }
    }

    /// Receives a snapshot.
    fn receive(&self, stdin: impl Read, touched: &Mutex<Instant>) -> anyhow::Result<Reply> {
        let Snapshot { number, parent } = self.offer.snapshot.context("no snapshot is named")?;
        let (datastore, name) = (&self.tenant.datastore, self.tenant.name.as_str());
        let incoming = Incoming::begin(datastore, &self.label, number, parent)?;
        stream::receive(stdin, incoming.folder(), touched)?;
        incoming.end(name)?;
        Ok(self.reply())
    }

    /// Whether the tenant can come.
    fn check(&self) -> anyhow::Result<()> {
        let (offer, datastore) = (&self.offer, &self.tenant.datastore);
        let version = env!("CARGO_PKG_VERSION");
        if offer.program != version {
            bail!(
                "tenantd has version {version} here and {} there: upgrade one of them first",
                offer.program
            );
        }
        self.is_same()?;
        if self.is_known {
            let status = states::status(&self.plan.app, &self.tenant.name)?;
            if status.pid.is_some() || states::is_wanted(&status) {
                bail!(
                    "{0} is wanted up here: `tenantd stop {0} --permanent`, and see where its data is",
                    status.name
                );
            }
        }
        // A launch would refuse it, after the hand-over.
        let can_limit = match self.is_shared() {
            true => quota::can_limit(&self.tenant),
            false => quota::can_limit_new(&self.tenant),
        };
        can_limit.map_err(said)?;
        if self.is_shared() {
            return match tenantd_host::datastore::open(&datastore.source) {
                Ok(_) => Ok(()),
                Err(errno) => Err(errno).with_context(|| {
                    format!("the shared datastore {}", datastore.source.display())
                }),
            };
        }
        if datastore.mounted {
            bail!(
                "{}: a mount of its own cannot be put in place by a rename: use storage = \"shared\"",
                datastore.source.display()
            );
        }
        relocation::check_free(datastore, &offer.from, &self.label)?;
        has_room(&datastore.source, offer.bytes, offer.later)
    }

    /// Whether both hosts would run the same program in the same way.
    fn is_same(&self) -> anyhow::Result<()> {
        let here = data::tenant(&self.tenant);
        let nothing = serde_json::Map::new();
        let of = |value: &Value| value.as_object().unwrap_or(&nothing).clone();
        let (here, there) = (of(&here), of(&self.offer.plan));
        let mut keys: Vec<&String> = here.keys().chain(there.keys()).collect();
        keys.sort();
        keys.dedup();
        keys.retain(|key| {
            !OF_THE_HOST.contains(&key.as_str()) && here.get(*key) != there.get(*key)
        });
        let inner = |value: &serde_json::Map<String, Value>, key: &str| {
            value.get("datastore").and_then(|it| it.get(key)).cloned()
        };
        let mut keys: Vec<String> = keys.into_iter().cloned().collect();
        for key in ["path", "uid", "gid", "folders"] {
            if inner(&here, key) != inner(&there, key) {
                keys.push(format!("datastore.{key}"));
            }
        }
        match keys.is_empty() {
            true => Ok(()),
            false => bail!(
                "{} would not be the same here: the plans of both hosts differ in {}: see `tenantd plan {} --json` on both",
                self.tenant.name,
                keys.join(", "),
                self.tenant.name
            ),
        }
    }

    /// Starts the tenant, which gets its entry of the manifest, if it was up.
    fn start(&self, selector: &Selector) -> anyhow::Result<String> {
        let name = &self.tenant.name;
        if !self.is_known {
            let show = Show {
                quiet: true,
                json: false,
            };
            let wait = Wait {
                no_wait: false,
                show,
            };
            edit::add(selector, name, &self.offer.entry, wait)?;
        }
        match self.offer.was_up {
            true => states::start(&self.plan.app, name, true),
            false => Ok("down, as before".to_owned()),
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is for map_err")]
fn said(failure: tenantd_core::stage::Failure) -> anyhow::Error {
    anyhow::anyhow!("{failure}")
}

/// Whether the filesystem of a place has room for this much, and for what follows.
fn has_room(place: &Path, bytes: u64, later: u64) -> anyhow::Result<()> {
    let there = place.ancestors().find(|folder| folder.exists());
    let there = there.unwrap_or(Path::new("/"));
    let found = statvfs(there).with_context(|| there.display().to_string())?;
    let free = found.f_bavail * found.f_frsize;
    let needed = bytes.saturating_add(later).saturating_add(SPARE);
    let with = match later {
        0 => String::new(),
        later => format!(", {} MiB of them for the tenants that follow", later >> 20),
    };
    match free >= needed {
        true => Ok(()),
        false => bail!(
            "{}: {} MiB are free, and {} MiB are needed{with}",
            there.display(),
            free >> 20,
            needed >> 20
        ),
    }
}
