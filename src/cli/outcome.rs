//! What became of each tenant of a request: one line for people, and the JSON that `start`, `stop`,
//! `restart`, `reload`, `add` and `remove` print.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::Serialize;

use tenantd_api::wire::{Killed, Stage, StateWord, TenantStatus, Verb};
use tenantd_core::name::{AppName, TenantName};

/// What the summary says of a tenant for which nothing was changed.
const UNCHANGED: &str = "unchanged";

/// How many names a line lists.
const NAMES_MAX: usize = 10;

/// What became of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Became {
    /// It is as requested.
    Done,
    /// It did not become so.
    Failed,
    /// The supervisor refused the request.
    Refused,
    /// It was so already.
    NoChange,
    /// It was not waited for.
    Pending,
    /// It is in the manifest no longer, and is stopped and released.
    Removed,
}

impl Became {
    /// Whether it makes the command fail.
    pub(super) fn is_failure(self) -> bool {
        match self {
            Self::Failed | Self::Refused => true,
            Self::Done | Self::NoChange | Self::Pending | Self::Removed => false,
        }
    }
}

/// What became of one tenant. An unknown value is null in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Outcome {
    pub(super) tenant: TenantName,
    #[serde(rename = "outcome")]
    pub(super) became: Became,
    state: Option<StateWord>,
    ready: Option<bool>,
    pid: Option<u32>,
    addresses: Option<Vec<IpAddr>>,
    reason: Option<String>,
    /// What was killed after its grace.
    killed: Option<Killed>,
    /// The line for people, without the name.
    #[serde(skip)]
    pub(super) text: String,
    /// What the summary says of a pending or an unchanged one.
    #[serde(skip)]
    pub(super) word: &'static str,
    /// Whether its program was executed before it failed.
    #[serde(skip)]
    pub(super) has_run: bool,
    /// Whether it is a failure about which neither its state nor its output says more.
    #[serde(skip)]
    pub(super) is_told: bool,
}

impl Outcome {
    /// An outcome without the tenant's state.
    pub(super) fn without_state(tenant: &TenantName, became: Became, text: String) -> Self {
        Self {
            tenant: tenant.clone(),
            became,
            state: None,
            ready: None,
            pid: None,
            addresses: None,
            reason: None,
            killed: None,
            text,
            word: UNCHANGED,
            has_run: false,
            is_told: false,
        }
    }

    /// The outcome for a tenant in this state. The line is the state, and why the tenant is in it.
    pub(super) fn of(tenant: &TenantStatus, became: Became) -> Self {
        Self {
            tenant: tenant.name.clone(),
            became,
            state: Some(tenant.state),
            ready: tenant.ready,
            pid: tenant.pid,
            addresses: Some(tenant.addresses.iter().collect()),
            reason: tenant.why.clone(),
            killed: None,
            text: state(tenant),
            word: UNCHANGED,
            has_run: has_run(tenant),
            is_told: false,
        }
    }

    /// Names the process that it is about.
    pub(super) fn with_pid(self, pid: Option<u32>) -> Self {
        Self { pid, ..self }
    }

    /// The supervisor refused the request.
    pub(super) fn refused(tenant: &TenantName, reason: &str) -> Self {
        Self {
            reason: Some(reason.to_owned()),
            ..Self::without_state(tenant, Became::Refused, format!("refused: {reason}"))
        }
    }

    /// The tenant is not waited for. `what` is its word in the summary.
    pub(super) fn pending(tenant: &TenantName, what: &'static str, text: String) -> Self {
        Self {
            word: what,
            ..Self::without_state(tenant, Became::Pending, text)
        }
    }

    /// Nothing is done for the tenant, and the line says why.
    pub(super) fn skipped(tenant: &TenantStatus, why: &str) -> Self {
        Self {
            text: format!("skipped: {why}"),
            word: "skipped",
            ..Self::of(tenant, Became::NoChange)
        }
    }

    /// The tenant was removed from the manifest, and has been stopped and released. Says what was
    /// killed since that time.
    pub(super) fn removed(tenant: &TenantName, killed: Option<&Killed>, since: Timestamp) -> Self {
        let killed = killed.filter(|killed| killed.time >= since);
        let mut text = "stopped and removed, datastore kept".to_owned();
        if let Some(killed) = killed {
            text += &format!(", {killed}");
        }
        Self {
            killed: killed.cloned(),
            ..Self::without_state(tenant, Became::Removed, text)
        }
    }

    /// The request is carried out, but could not be made permanent.
    pub(super) fn not_permanent(self, why: &str) -> Self {
        let reason = format!("not permanent, since it could not be written: {why}");
        Self {
            became: Became::Failed,
            text: format!("{}, but {reason}", self.text),
            reason: Some(reason),
            is_told: true,
            ..self
        }
    }

    /// Makes it a failure with this reason.
    pub(super) fn failed(self, reason: &str) -> Self {
        Self {
            became: Became::Failed,
            reason: Some(reason.to_owned()),
            text: format!("{}: {reason}", self.text),
            ..self
        }
    }

    /// Says what was killed since that time, if anything was.
    pub(super) fn with_killed(self, tenant: &TenantStatus, since: Timestamp) -> Self {
        let killed = tenant.killed.as_ref().filter(|it| it.time >= since);
        let Some(killed) = killed else {
            return self;
        };
        let when = match tenant.state {
            StateWord::Up => "; before, it was ",
            StateWord::Down
            | StateWord::Provisioning
            | StateWord::Launching
            | StateWord::Stopping
            | StateWord::Waiting
            | StateWord::Failed
            | StateWord::Releasing
            | StateWord::Stuck
            | StateWord::Exited
            | StateWord::Unknown => ", ",
        };
        Self {
            text: format!("{}{when}{killed}", self.text),
            killed: Some(killed.clone()),
            ..self
        }
    }

    /// Gives it another line.
    pub(super) fn saying(self, text: String) -> Self {
        Self { text, ..self }
    }

    /// One line, with the tenant's name.
    pub(super) fn line(&self) -> String {
        format!("{}: {}", self.tenant, self.text)
    }
}

/// Whether the tenant is in the state that was asked for. A stop is done once the tenant is proved
/// down.
pub(super) fn reached(verb: Verb, tenant: &TenantStatus) -> bool {
    match verb {
        Verb::Start | Verb::Restart => tenant.state == StateWord::Up && tenant.ready == Some(true),
        Verb::Stop => tenant.state == StateWord::Down,
    }
}

/// Whether its program was executed before it failed, so that its output may say why.
pub(super) fn has_run(tenant: &TenantStatus) -> bool {
    let failure = tenant.failure.as_ref();
    failure.is_none_or(|failure| {
        matches!(
            failure.stage,
            Stage::Ready | Stage::Alive | Stage::Background
        )
    })
}

/// The state of the tenant, and why it is in it.
pub(super) fn state(tenant: &TenantStatus) -> String {
    let mut line = tenant.state_word().to_owned();
    if tenant.state == StateWord::Up {
        line += match tenant.ready {
            Some(true) => ", ready",
            Some(false) | None => ", not ready",
        };
        if let Some(pid) = tenant.pid {
            line += &format!(", pid {pid}");
        }
        line += &format!(", {}", tenant.addresses);
    }
    if let Some(why) = &tenant.why {
        line += &format!(": {why}");
    }
    line
}

/// What `--json` prints: the outcome of one command.
#[derive(Debug, Serialize)]
pub(super) struct Outcomes<'a> {
    pub(super) app: &'a AppName,
    pub(super) verb: &'static str,
    /// Whether the exit code is 0.
    pub(super) ok: bool,
    pub(super) tenants: &'a [Outcome],
}

/// A number of tenants with its noun.
pub(super) fn tenants(count: usize) -> String {
    match count {
        1 => "1 tenant".to_owned(),
        _ => format!("{count} tenants"),
    }
}

/// The first names, and how many more there are.
pub(super) fn list<'a>(names: impl IntoIterator<Item = &'a TenantName>) -> String {
    let names: Vec<&str> = names.into_iter().map(TenantName::as_str).collect();
    match names.len().checked_sub(NAMES_MAX) {
        None | Some(0) => names.join(", "),
        Some(more) => format!("{} and {more} more", names[..NAMES_MAX].join(", ")),
    }
}

#[cfg(test)]
pub(super) mod tests;
