//! `ocf`: the actions of the resource agent `ocf:tenantd:tenant`, which Pacemaker calls.
//!
//! The agent starts a tenant on one host only after it was proved stopped on, or fenced away from, the host
//! that had it. So a stop must never be said to be done while a process of the tenant may be left: then it
//! fails, and Pacemaker has this host fenced.

mod asked;
mod judge;
pub(super) mod left;
mod metadata;
mod validate;

use std::time::Duration;

use clap::ValueEnum;
use tokio::time::{sleep, timeout};

use self::asked::Asked;
use self::left::Left;
use super::End;
use tenantd_api::client::watch::{self, Became, Until, Waiting};
use tenantd_api::client::{ClientError, Connection};
use tenantd_api::wire::{Answer, StateWord, TenantStatus, Verb};
use tenantd_core::manifest::engine::Engine;

/// How often it is looked for a supervisor, or for what is left of a tenant. Nothing tells of either.
const PAUSE: Duration = Duration::from_millis(20);

/// How long `monitor` waits for the answer of a supervisor. One that is stopped never answers.
const ANSWER: Duration = Duration::from_secs(3);

/// What Pacemaker asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Action {
    /// Start the tenant on this host, and wait until it is ready
    Start,
    /// Stop the tenant, and prove that no process of it is left
    Stop,
    /// Tell whether the tenant runs here
    Monitor,
    /// Stop the tenant here, since it is to start on another host
    #[value(name = "migrate_to")]
    MigrateTo,
    /// Start the tenant here, since it was stopped on another host
    #[value(name = "migrate_from")]
    MigrateFrom,
    /// Describe the agent, as XML
    MetaData,
    /// Check parameters, manifest and fencing
    ValidateAll,
}

/// The exit codes of resource agents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Code {
    Success = 0,
    Failed = 1,
    BadArguments = 2,
    NotInstalled = 5,
    BadConfiguration = 6,
    NotRunning = 7,
    /// It runs, and something is wrong with it: Pacemaker shows that, and changes nothing.
    Degraded = 190,
}

/// Why an action failed, for Pacemaker to show.
#[derive(Debug)]
struct Bad {
    code: Code,
    why: String,
}

type Done = Result<Code, Bad>;

fn failed(why: &impl ToString) -> Bad {
    let (code, why) = (Code::Failed, why.to_string());
    Bad { code, why }
}

/// Carries out an action. All that fails is an exit code, with a line that Pacemaker shows.
pub(super) fn ocf(action: Action) -> End {
    let done = match action {
        Action::MetaData => metadata::print(),
        _ => {
            Asked::read(|name| std::env::var(name).ok()).and_then(|asked| carry_out(action, &asked))
        }
    };
    let code = match done {
        Ok(code) => code,
        Err(Bad { code, why }) => {
            // Of several lines, Pacemaker shows the first.
            let why = why.replace('\n', "; ");
            anstream::eprintln!("ocf-exit-reason:{why}");
            code
        }
    };
    End::Exited(code as u8)
}

fn carry_out(action: Action, asked: &Asked) -> Done {
    if action == Action::ValidateAll {
        return validate::all(asked);
    }
    let answered = super::converse(async {
        let limited = timeout(asked.limit, async {
            match action {
                Action::Start | Action::MigrateFrom => start(asked).await,
                Action::Stop => stop(asked).await,
                Action::MigrateTo => leave(asked).await,
                Action::Monitor => monitor(asked).await,
                Action::MetaData | Action::ValidateAll => Ok(Code::Success),
            }
        });
        Ok(limited.await.unwrap_or_else(|_| Err(too_late(asked))))
    });
    answered.unwrap_or_else(|error| Err(failed(&format!("{error:#}"))))
}

fn too_late(asked: &Asked) -> Bad {
    let (tenant, limit) = (&asked.tenant, asked.limit.as_secs());
    let left = match left::of(&asked.app, &asked.tenant) {
        Left::Nothing => String::new(),
        Left::Some(what) => format!("; on this host there is {what}"),
        Left::Unknown(why) => format!("; what is left of it is unknown: {why}"),
    };
    failed(&format!(
        "{tenant}: not done within {limit} s by the supervisor{left}"
    ))
}

/// Starts the tenant, and waits until it is ready. A supervisor that is starting is waited for.
async fn start(asked: &Asked) -> Done {
    let tenants = [asked.tenant.clone()];
    let mut connection = loop {
        match Connection::open(&asked.app).await {
            Err(error) if error.is_gone() => sleep(PAUSE).await,
            connected => break connected.map_err(|error| failed(&error))?,
        }
    };
    let allowed = allow_takeover(&mut connection, asked).await;
    allowed.map_err(|error| failed(&error))?;
    let answers = connection.start_by(Engine::Pacemaker, &tenants).await;
    for answer in answers.map_err(|error| failed(&error))? {
        if let Answer::Refused { reason } = answer.answer {
            return Err(failed(&format!("{}: {reason}", asked.tenant)));
        }
    }
    let mut waiting = Waiting::new(&asked.app, &tenants, Until::Tried);
    match waiting.next().await.map_err(|error| failed(&error))? {
        Some(Became::Reached(status)) if status.state == StateWord::Up => Ok(Code::Success),
        Some(Became::Reached(status)) => Err(failed(&judge::why(&status))),
        Some(Became::Gone(..)) | None => {
            let tenant = &asked.tenant;
            Err(failed(&format!("{tenant}: a reload removed it")))
        }
    }
}

/// Allows the start to take the datastore from the host that had it, see the owner record: Pacemaker has fenced
/// that host, or has proved the tenant stopped there. Not without fencing, nor for data of one host, which no other
/// host can use, unless it is a copy. Nor for a tenant whose start is refused, where an operator could use it.
async fn allow_takeover(connection: &mut Connection, asked: &Asked) -> Result<(), ClientError> {
    if !asked.is_shared || asked.is_unsafe {
        return Ok(());
    }
    let tenants = std::slice::from_ref(&asked.tenant);
    let status = connection.status(tenants).await?;
    let ours = Some(Engine::Pacemaker.word());
    match status.tenants.first() {
        Some(tenant) if tenant.engine.as_deref() == ours => {
            connection.allow_takeover(tenants).await
        }
        Some(_) | None => Ok(()),
    }
}

/// Stops the tenant before it starts on another host with the same data.
async fn leave(asked: &Asked) -> Done {
    if !asked.is_shared {
        return Err(failed(&format!(
            "{}: its data is on this host alone: copy it first, then let Pacemaker start the tenant there",
            asked.tenant
        )));
    }
    stop(asked).await
}

/// Stops the tenant, and proves that no process of it is left.
async fn stop(asked: &Asked) -> Done {
    loop {
        match asked_to_stop(asked).await {
            Ok(()) => break,
            // The unit starts the next supervisor, which adopts the tenant and can stop it.
            Err(error) if error.is_gone() => match left::of(&asked.app, &asked.tenant) {
                Left::Nothing => return Ok(Code::Success),
                Left::Some(_) | Left::Unknown(_) => sleep(PAUSE).await,
            },
            Err(ClientError::UnknownTenant { .. }) => break,
            Err(ClientError::Died { .. } | ClientError::Closed { .. }) => sleep(PAUSE).await,
            Err(error) => return Err(failed(&error)),
        }
    }
    match left::of(&asked.app, &asked.tenant) {
        Left::Nothing => Ok(Code::Success),
        Left::Some(what) => Err(failed(&format!(
            "{}: not stopped: on this host there is {what}",
            asked.tenant
        ))),
        Left::Unknown(why) => Err(failed(&format!(
            "{}: whether it is stopped is unknown: {why}",
            asked.tenant
        ))),
    }
}

async fn asked_to_stop(asked: &Asked) -> Result<(), ClientError> {
    let tenants = [asked.tenant.clone()];
    let mut connection = Connection::open(&asked.app).await?;
    connection.act(Verb::Stop, &tenants, false).await?;
    let outcome = watch::wait(&asked.app, &tenants, Until::Settled).await?;
    match outcome.reached.first() {
        Some(status) if status.state != StateWord::Down => Err(ClientError::Refused {
            subject: asked.tenant.to_string(),
            reason: judge::why(status),
        }),
        // Removed by a reload: then what is left decides.
        Some(_) | None => Ok(()),
    }
}

/// Tells whether the tenant runs here.
async fn monitor(asked: &Asked) -> Done {
    let mut found = timeout(ANSWER.min(asked.limit / 2), status(asked)).await;
    if let Ok(Ok(Some(status))) = &found
        && asked.is_deep
        && judge::is_becoming_ready(status)
    {
        // It may have been started again a moment ago.
        found = Ok(tried(asked).await);
    }
    let silent = match found {
        Ok(Ok(Some(status))) => return judge::judge(&status, asked.is_deep),
        Ok(Ok(None) | Err(ClientError::UnknownTenant { .. })) => {
            "it does not know the tenant".to_owned()
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => "it does not answer".to_owned(),
    };
    match left::of(&asked.app, &asked.tenant) {
        Left::Nothing => Ok(Code::NotRunning),
        Left::Some(what) => Err(Bad {
            code: Code::Degraded,
            why: format!("{}: {what}, without its supervisor: {silent}", asked.tenant),
        }),
        Left::Unknown(why) => Err(failed(&format!("{}: {why}; {silent}", asked.tenant))),
    }
}

/// The tenant, once it is ready, or an attempt to start it has failed.
async fn tried(asked: &Asked) -> Result<Option<TenantStatus>, ClientError> {
    let tenants = std::slice::from_ref(&asked.tenant);
    let outcome = watch::wait(&asked.app, tenants, Until::Tried).await?;
    Ok(outcome.reached.into_iter().next())
}

async fn status(asked: &Asked) -> Result<Option<TenantStatus>, ClientError> {
    let mut connection = Connection::open(&asked.app).await?;
    let status = connection
        .status(std::slice::from_ref(&asked.tenant))
        .await?;
    Ok(status.tenants.into_iter().next())
}
