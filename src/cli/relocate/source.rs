//! The source's side of a move, which decides.

use std::io::Write;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use jiff::Timestamp;

use super::super::args::{Asked, Step};
use super::super::plain::plain;
use super::super::{End, run_tenant};
use super::carrier::Carrier;
use super::copy;
use super::earlier::{elsewhere, since};
use super::peer::{self, Peer};
use super::signals::Signals;
use super::transport::{self, Chosen, Transport};
use super::{Offer, Reply, known, rounds, states};
use tenantd_api::client::app::Selector;
use tenantd_core::manifest::edit::keys;
use tenantd_core::manifest::engine::Engine;
use tenantd_core::manifest::storage::Storage;
use tenantd_core::name::{AppName, TenantName};
use tenantd_core::plan::model::TenantPlan;
use tenantd_host::claim::Claim;
use tenantd_host::owner::{self, Host, Record};
use tenantd_host::relocation::{self, Mark, Snapshots};
use tenantd_host::{crash, datastore};

/// What is to be done with one tenant.
pub(super) struct Order<'a> {
    pub(super) tenant: &'a TenantName,
    pub(super) host: &'a str,
    pub(super) rsh: &'a str,
    pub(super) dry_run: bool,
    pub(super) undo: bool,
    /// How the data is to be copied.
    pub(super) transport: Asked,
    /// The size of what is moved to the same folder after it.
    pub(super) later: u64,
    /// Whether no other tenant is moved meanwhile.
    pub(super) is_alone: bool,
    pub(super) signals: Signals,
}

/// Moves a tenant, or says what would be done, or undoes a move.
pub(super) fn relocate(selector: &Selector, what: &Order<'_>) -> anyhow::Result<End> {
    let (config, plan, tenant) = known(selector, what.tenant)?;
    is_movable(&tenant)?;
    let held = run_tenant::held::hold(&plan.app, what.tenant).context("cannot hold the tenant")?;
    let _held = held.map_err(|other| {
        anyhow::anyhow!(
            "{}: another `move` or `run --tenant` has it: {other}",
            what.tenant
        )
    })?;
    let source = tenant.datastore.source.as_path();
    let store = datastore::open(source).with_context(|| {
        let name = &what.tenant;
        format!(
            "{name}: its datastore {} cannot be opened, so there is nothing to move",
            source.display()
        )
    })?;
    let record = owner::read(store.as_fd(), source).map_err(said)?;
    let here = owner::this_host(source).map_err(said)?;
    let text = std::fs::read_to_string(&config).with_context(|| config.display().to_string())?;
    let noted = relocation::mark_of(source)?;
    let mut source = Source {
        app: &plan.app,
        tenant: &tenant,
        peer: Peer {
            rsh: peer::rsh(what.rsh),
            host: what.host,
            app: &plan.app,
            tenant: what.tenant,
            bytes: 0,
            is_alone: what.is_alone,
        },
        offer: Offer {
            entry: keys(&text, what.tenant)?,
            later: what.later,
            generation: record.as_ref().map_or(1, |record| record.generation + 1),
            ..Offer::begin(here.clone(), &tenant)
        },
        signals: what.signals.clone(),
    };
    match record.filter(|record| record.live && record.machine != here.machine) {
        Some(record) if what.undo || what.dry_run => {
            bail!(
                "{}: handed over: {record} has it: `tenantd move {0} {1}` finishes the move",
                what.tenant,
                what.host
            )
        }
        Some(record) => source.finish(record, noted.as_ref()),
        None if what.undo => source.undo(noted.as_ref()),
        None => source.begin(what, noted.as_ref()),
    }
}

/// Whether a move of it is for tenantd.
pub(super) fn is_movable(tenant: &TenantPlan) -> anyhow::Result<()> {
    let name = &tenant.name;
    match tenant.policy.engine {
        Engine::Tenantd => {}
        Engine::Pacemaker => bail!(
            "{name}: Pacemaker decides on which host it runs (`engine` in the manifest): `crm resource move`"
        ),
        Engine::Other => bail!(
            "{name}: another program starts it (`engine = \"other\"` in the manifest): move it there"
        ),
    }
    match tenant.policy.storage {
        Storage::Local | Storage::Shared => Ok(()),
        Storage::Replicated => bail!(
            "{name}: storage = \"replicated\": stop it, promote its device on the other host, and start it there"
        ),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is for map_err")]
fn said(failure: tenantd_core::stage::Failure) -> anyhow::Error {
    anyhow::anyhow!("{failure}")
}

struct Source<'a> {
    app: &'a AppName,
    tenant: &'a TenantPlan,
    peer: Peer<'a>,
    offer: Offer,
    signals: Signals,
}

impl Source<'_> {
    fn say(&self, text: &str) -> anyhow::Result<()> {
        writeln!(std::io::stdout(), "{}: {text}", self.tenant.name)?;
        Ok(())
    }

    fn label(&self) -> String {
        relocation::label(self.app, &self.tenant.name)
    }

    fn is_shared(&self) -> bool {
        self.tenant.policy.storage == Storage::Shared
    }

    /// A move up to the hand-over, and what follows.
    fn begin(&mut self, what: &Order<'_>, noted: Option<&Mark>) -> anyhow::Result<End> {
        let (name, source) = (&self.tenant.name, &self.tenant.datastore.source);
        let status = states::status(self.app, name)?;
        let earlier = noted.filter(|noted| noted.label == self.label());
        // One that was interrupted may have stopped it.
        self.offer.was_up = states::is_wanted(&status) || earlier.is_some_and(|it| it.was_up);
        let mut inner = None;
        if !self.is_shared() {
            let found = copy::survey(source, u64::MAX)?;
            (self.offer.bytes, inner) = (found.bytes, found.inner);
            self.peer.bytes = self.offer.bytes;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        // The clock of a file's times is a tick behind.
        self.offer.since = now.as_secs().saturating_sub(2);
        let reply = self.peer.ask(Step::Check, &self.offer)?;
        let asked = match self.is_shared() {
            // Nothing is copied.
            true => Asked::Rsync,
            false => what.transport,
        };
        let store = (source.as_path(), inner.as_deref());
        let chosen = transport::choose(asked, store, (what.host, &reply))?;
        if what.dry_run {
            return self.told(&reply, &chosen);
        }
        self.offer.transport = chosen.transport;
        let mut carrier = Carrier::Rsync;
        if !self.is_shared() {
            let reply = self.peer.ask(Step::Stage, &self.offer)?;
            self.offer.since = since(self.offer.since, &reply, earlier);
            carrier = Carrier::begin(chosen.transport, source, earlier, &reply)?;
        }
        let to = reply.here.clone();
        if let Some(other) = elsewhere(&to, earlier).filter(|_| !self.is_shared()) {
            self.say(&format!(
                "the copy of a move to {other} that was not finished stays there: `tenantd move {name} {other} --undo` removes it"
            ))?;
        }
        relocation::mark(source, &self.note(&to, carrier.sent()))?;
        let point = name.as_str();
        crash::point("move: noted", point);
        if !self.is_shared() && status.pid.is_some() {
            let (peer, offer) = (&self.peer, &mut self.offer);
            let folders = (source.as_path(), reply.staging.as_path());
            rounds::all(peer, |round| carrier.round(peer, offer, folders, round))?;
        }
        self.signals.check()?;
        crash::point("move: copied while up", point);
        let generation = self.hand_over(&reply, &mut carrier);
        let generation = generation.map_err(|error| self.again(error))?;
        self.offer.generation = generation;
        self.after(&to)
    }

    fn note(&self, to: &Host, sent: Option<u64>) -> Mark {
        Mark {
            other: to.clone(),
            label: self.label(),
            sealed: None,
            left: None,
            since: self.offer.since,
            was_up: self.offer.was_up,
            sent,
        }
    }

    /// Stops the tenant, copies what is left, and hands the datastore over. Returns its generation.
    fn hand_over(&mut self, reply: &Reply, carrier: &mut Carrier) -> anyhow::Result<u64> {
        let (name, datastore) = (&self.tenant.name, &self.tenant.datastore);
        states::stop(self.app, name, false)?;
        self.say("stopped")?;
        crash::point("move: stopped", name.as_str());
        let (label, source) = (self.label(), datastore.source.as_path());
        let store = datastore::open(source).with_context(|| source.display().to_string())?;
        // Until the hand-over nothing else starts it here.
        let claim = Claim::hold(store.as_fd(), source, &label).map_err(said)?;
        let done = self.last(reply, carrier).and_then(|generation| {
            self.signals.check()?;
            relocation::hand_over(datastore, (&reply.here, &label, generation))?;
            Ok(generation)
        });
        let given_up = claim.give_up();
        if let (Err(_), Err(failure)) = (&done, &given_up) {
            eprintln!("{name}: {failure}");
        }
        done
    }

    /// The last round, with the tenant stopped. Returns the generation to hand over.
    fn last(&mut self, reply: &Reply, carrier: &mut Carrier) -> anyhow::Result<u64> {
        let (name, source) = (&self.tenant.name, &self.tenant.datastore.source);
        let store = datastore::open(source).with_context(|| source.display().to_string())?;
        let record = owner::read(store.as_fd(), source).map_err(said)?;
        self.offer.generation = record.as_ref().map_or(1, |record| record.generation + 1);
        self.offer.left = record.filter(|it| !it.live).and_then(|it| it.left);
        if !self.is_shared() {
            let folders = (source.as_path(), reply.staging.as_path());
            carrier.last(&self.peer, &mut self.offer, folders, &self.signals)?;
            crash::point("move: copied", name.as_str());
            self.offer.to = Some(reply.here.clone());
            self.offer.snapshot = carrier.last_snapshot();
            self.peer.ask(Step::Seal, &self.offer)?;
        }
        crash::point("move: sealed", name.as_str());
        Ok(self.offer.generation)
    }

    /// After a failure before the hand-over: starts the tenant here again, if it ran.
    fn again(&self, error: anyhow::Error) -> anyhow::Error {
        let name = &self.tenant.name;
        let now = match self.offer.was_up {
            false => "it is down here, as before".to_owned(),
            true => match states::start(self.app, name, false) {
                Ok(state) => format!("it runs here again: {state}"),
                Err(error) => format!("it could not be started here again: {error:#}"),
            },
        };
        error.context(format!("{name}: not moved; {now}"))
    }

    /// Finishes a move that was interrupted after the hand-over.
    fn finish(&mut self, record: Record, noted: Option<&Mark>) -> anyhow::Result<End> {
        self.say("handed over by an earlier `move`")?;
        self.offer.generation = record.generation;
        self.offer.was_up = noted.is_none_or(|noted| noted.was_up);
        let to = Host {
            machine: record.machine,
            host: record.host,
        };
        self.after(&to)
    }

    /// What follows the hand-over: only the target may start it.
    fn after(&mut self, to: &Host) -> anyhow::Result<End> {
        let (name, peer) = (&self.tenant.name, &self.peer);
        crash::point("move: handed over", name.as_str());
        self.offer.to = Some(to.clone());
        let reply = peer.ask(Step::Take, &self.offer).with_context(|| {
            let host = peer.host;
            format!(
                "{name}: handed over to {host}, and not ready there: correct the cause, then `tenantd move {name} {host}` \
                 again; this host does not start it. If {host} is switched off and will never use the data again: `tenantd start \
                 {name} --app {} --takeover` here",
                self.app
            )
        })?;
        crash::point("move: taken", name.as_str());
        let kept = match self.is_shared() {
            true => None,
            false => {
                let source = &self.tenant.datastore;
                let kept = relocation::retire(source, &self.label(), &self.kept())?;
                Snapshots::sent(&source.source).sweep()?;
                kept
            }
        };
        relocation::unmark(&self.tenant.datastore.source)?;
        // The next supervisor does not try to start it.
        states::stop(self.app, name, true)?;
        let kept = kept.map_or(String::new(), |kept| {
            format!("; its data until now stays in {}", kept.display())
        });
        let state = plain(&reply.state, usize::MAX);
        self.say(&format!("moved to {}: {state}{kept}", peer.host))?;
        Ok(End::Done)
    }

    /// Where the datastore is kept here.
    fn kept(&self) -> PathBuf {
        let source = &self.tenant.datastore.source;
        let mut name = source.file_name().unwrap_or_default().to_owned();
        name.push(
            Timestamp::now()
                .strftime(".moved-%Y%m%dT%H%M%S")
                .to_string(),
        );
        source.with_file_name(name)
    }

    /// Removes the copy of a move that did not come to the hand-over.
    fn undo(&self, noted: Option<&Mark>) -> anyhow::Result<End> {
        let source = &self.tenant.datastore.source;
        if !self.is_shared() {
            let here = self.peer.ask(Step::Abandon, &self.offer)?.here;
            if let Some(other) = elsewhere(&here, noted) {
                let (name, host) = (&self.tenant.name, self.peer.host);
                self.say(&format!(
                    "no copy is on {host}; the move to {other} is not undone: `tenantd move {name} {other} --undo`"
                ))?;
                return Ok(End::Done);
            }
        }
        Snapshots::sent(source).sweep()?;
        relocation::unmark(source)?;
        let state = match noted.is_some_and(|noted| noted.was_up) {
            true => states::start(self.app, &self.tenant.name, false)?,
            false => "as before".to_owned(),
        };
        self.say(&format!("not moved: {state}"))?;
        Ok(End::Done)
    }

    /// What a move would do.
    fn told(&self, reply: &Reply, chosen: &Chosen) -> anyhow::Result<End> {
        let (host, source) = (self.peer.host, self.tenant.datastore.source.display());
        let how = match self.is_shared() {
            true => format!("its datastore {source} is shared, so nothing is copied"),
            false => {
                let what = match chosen.transport {
                    Transport::Rsync => "rsync",
                    Transport::Btrfs => "btrfs send",
                };
                format!(
                    "{what} over `{}` copies {} MB from {source} to {} ({})",
                    self.peer.rsh,
                    self.offer.bytes / 1_000_000,
                    plain(&reply.place.to_string_lossy(), usize::MAX),
                    chosen.why
                )
            }
        };
        let up = match self.offer.was_up {
            true => "is stopped here, and started there",
            false => "is down, and stays so",
        };
        self.say(&format!("would be moved to {host}: {how}; it {up}"))?;
        Ok(End::Done)
    }
}
