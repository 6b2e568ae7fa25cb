//! `run --tenant`: has the supervisor run one tenant, and stays until that is down. Its exit codes are for
//! the program that started it.

pub(super) mod held;

use std::io::Write;
use std::time::Duration;

use anyhow::Context;

use super::act::{OWNED, is_owned};
use super::events::Line;
use super::interrupts::Interrupts;
use super::{End, outcome};
use tenantd_api::client::watch::{Became, Subscription, Until, Waiting, Watched};
use tenantd_api::client::{ClientError, Connection};
use tenantd_api::wire::watch::{EndReason, EventKind};
use tenantd_api::wire::{Answer, StateWord, TenantStatus, Verb, Want};
use tenantd_core::manifest::engine::Engine;
use tenantd_core::name::{AppName, TenantName};

/// The exit code of a tenant that was given up.
const GAVE_UP: u8 = 10;

/// The exit code if something of the tenant may be left.
const NOT_STOPPED: u8 = 11;

/// How often the next supervisor is looked for. Nothing tells that a socket listens.
const PAUSE: Duration = Duration::from_millis(100);

/// Runs a tenant until it is down.
///
/// # Errors
/// If it cannot be started, for another reason than one that has an exit code.
pub(super) fn run(app: &AppName, tenant: &TenantName, takeover: bool) -> anyhow::Result<End> {
    let _held = match held::hold(app, tenant).context("cannot hold the tenant")? {
        Ok(held) => held,
        Err(other) => {
            eprintln!("{tenant}: another `run --tenant` has it ({other}): end that first");
            return Ok(End::Exited(OWNED));
        }
    };
    super::converse(async {
        let interrupts = Interrupts::catch().context("cannot catch signals")?;
        let mut connection = Connection::open(app).await?;
        if takeover {
            let tenants = std::slice::from_ref(tenant);
            connection.allow_takeover(tenants).await?;
        }
        start(&mut connection, tenant).await?;
        let run = Run {
            app,
            tenant,
            interrupts,
        };
        run.run().await
    })
}

async fn start(connection: &mut Connection, tenant: &TenantName) -> anyhow::Result<()> {
    let tenants = std::slice::from_ref(tenant);
    let status = connection.status(tenants).await?;
    let engine = status.tenants.first().and_then(|it| it.engine.as_deref());
    // The program that runs this command is the engine. Pacemaker has its agent instead.
    let answers = match engine.and_then(Engine::of_word) {
        Some(Engine::Other) => connection.start_by(Engine::Other, tenants).await?,
        Some(Engine::Pacemaker | Engine::Tenantd) | None => {
            connection.act(Verb::Start, tenants, false).await?
        }
    };
    for answered in answers {
        match answered.answer {
            Answer::Accepted | Answer::AlreadySo => {}
            Answer::Refused { reason } => anyhow::bail!("{tenant}: not started: {reason}"),
        }
    }
    Ok(())
}

/// Whether no supervisor runs, or it ended while it was asked.
fn is_away(error: &ClientError) -> bool {
    let has_ended = matches!(
        error,
        ClientError::Lost { .. } | ClientError::Died { .. } | ClientError::Closed { .. }
    );
    has_ended || error.is_gone()
}

struct Run<'a> {
    app: &'a AppName,
    tenant: &'a TenantName,
    interrupts: Interrupts,
}

/// What is seen of the tenant.
enum Seen {
    /// It is like this now.
    Status(Box<TenantStatus>),
    /// It was removed from the manifest, after it was stopped.
    Removed,
    /// The supervisor has ended with all its tenants.
    Ended,
    /// The supervisor has gone, but not the tenant.
    Alone,
    /// A signal.
    Interrupted,
}

impl Run<'_> {
    async fn run(mut self) -> anyhow::Result<End> {
        loop {
            let Some(mut subscription) = self.subscribe().await? else {
                // One may have come since it was looked for last.
                return match self.opened().await {
                    Ok(_) => self.stop(End::Done).await,
                    Err(error) if is_away(&error) => {
                        self.not_stopped("no supervisor runs that could stop it")
                    }
                    Err(error) => Err(error.into()),
                };
            };
            loop {
                match self.next(&mut subscription).await? {
                    Seen::Status(status) => {
                        if let Some(end) = self.judge(&status).await? {
                            return Ok(end);
                        }
                    }
                    Seen::Interrupted => return self.stop(End::Done).await,
                    Seen::Removed => return self.say("removed from the manifest", End::Done),
                    Seen::Ended => {
                        return self.say("stopped, as its supervisor has ended", End::Done);
                    }
                    Seen::Alone => break,
                }
            }
            self.say("its supervisor has gone: waiting for the next one", ())?;
        }
    }

    async fn opened(&self) -> Result<Subscription, ClientError> {
        Subscription::open(self.app, std::slice::from_ref(self.tenant)).await
    }

    /// Watches the tenant, once a supervisor runs; `None` if a signal came before.
    async fn subscribe(&mut self) -> anyhow::Result<Option<Subscription>> {
        loop {
            match self.opened().await {
                Ok(subscription) => return Ok(Some(subscription)),
                Err(error) if is_away(&error) => {}
                Err(error) => return Err(error.into()),
            }
            tokio::select! {
                interrupted = self.interrupts.next() => {
                    interrupted.context("cannot receive signals")?;
                    return Ok(None);
                }
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    async fn next(&mut self, subscription: &mut Subscription) -> anyhow::Result<Seen> {
        loop {
            let watched = tokio::select! {
                biased;
                interrupted = self.interrupts.next() => {
                    interrupted.context("cannot receive signals")?;
                    return Ok(Seen::Interrupted);
                }
                watched = subscription.next() => watched,
            };
            match watched {
                Ok(Watched::Snapshot(snapshot)) => {
                    let mut tenants = snapshot.tenants.into_iter();
                    return Ok(tenants
                        .next()
                        .map_or(Seen::Removed, |status| Seen::Status(Box::new(status))));
                }
                Ok(Watched::Event(event)) if event.kind == EventKind::Removed => {
                    return Ok(Seen::Removed);
                }
                Ok(Watched::Event(event)) => {
                    let status = event.status.clone();
                    writeln!(std::io::stdout(), "{}", Line::of_event(*event).text())?;
                    if let Some(status) = status {
                        return Ok(Seen::Status(Box::new(status)));
                    }
                }
                Ok(Watched::Request(_)) => {}
                Err(ClientError::SubscriptionEnded { reason, .. }) => match reason {
                    EndReason::Ended => return Ok(Seen::Ended),
                    EndReason::Detached | EndReason::Upgrading | EndReason::TooSlow => {
                        return Ok(Seen::Alone);
                    }
                },
                Err(error) if is_away(&error) => return Ok(Seen::Alone),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The end, if the tenant is at rest.
    async fn judge(&mut self, status: &TenantStatus) -> anyhow::Result<Option<End>> {
        Ok(Some(match status.state {
            StateWord::Failed if is_owned(status) => {
                let why = status
                    .why
                    .as_deref()
                    .unwrap_or("another host has its datastore");
                eprintln!("{}: refused: {why}", self.tenant);
                self.stop(End::Exited(OWNED)).await?
            }
            StateWord::Failed => {
                eprintln!("{}: given up: {}", self.tenant, outcome::state(status));
                self.stop(End::Exited(GAVE_UP)).await?
            }
            StateWord::Exited => self.stop(End::Done).await?,
            StateWord::Down if status.want == Want::Down => End::Done,
            StateWord::Stuck => self.not_stopped(&outcome::state(status))?,
            StateWord::Down
            | StateWord::Provisioning
            | StateWord::Launching
            | StateWord::Up
            | StateWord::Stopping
            | StateWord::Waiting
            | StateWord::Releasing
            | StateWord::Unknown => return Ok(None),
        }))
    }

    /// Stops the tenant, and returns `end` once that is proved.
    async fn stop(&mut self, end: End) -> anyhow::Result<End> {
        let stopped = self.stopped().await;
        match stopped {
            Ok(None) => Ok(end),
            Ok(Some(left)) => self.not_stopped(&left),
            Err(error) => self.not_stopped(&format!("{error:#}")),
        }
    }

    /// Stops the tenant. Returns how it is, if it is not down.
    async fn stopped(&self) -> anyhow::Result<Option<String>> {
        let tenants = std::slice::from_ref(self.tenant);
        let mut connection = Connection::open(self.app).await?;
        for answered in connection.act(Verb::Stop, tenants, false).await? {
            if let Answer::Refused { reason } = answered.answer {
                return Ok(Some(reason));
            }
        }
        let mut waiting = Waiting::new(self.app, tenants, Until::Settled);
        while let Some(became) = waiting.next().await? {
            match became {
                Became::Reached(status) if status.state == StateWord::Down => {}
                Became::Reached(status) => return Ok(Some(outcome::state(&status))),
                Became::Gone(..) => {}
            }
        }
        Ok(None)
    }

    fn not_stopped(&self, why: &str) -> anyhow::Result<End> {
        let (tenant, app) = (self.tenant, self.app);
        eprintln!(
            "{tenant}: not stopped: {why}: see `tenantd status --app {app} {tenant}`, and end what is left"
        );
        Ok(End::Exited(NOT_STOPPED))
    }

    fn say<T>(&self, text: &str, value: T) -> anyhow::Result<T> {
        writeln!(std::io::stdout(), "{}: {text}", self.tenant)?;
        Ok(value)
    }
}
