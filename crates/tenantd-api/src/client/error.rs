//! The errors of the client: no supervisor, no answer, or a request that was refused.

use std::io;
use std::time::Duration;

use crate::wire;
use crate::wire::varlink::Refusal;
use crate::wire::watch::EndReason;
use tenantd_core::layout;
use tenantd_core::name::AppName;

/// Why a request has no result. The text of each error says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No supervisor runs for the application.
    #[error(
        "{app}: supervisor not running: start it with `tenantd run --config FILE` or \
         `systemctl start tenantd@{app}` ({})", running(.others)
    )]
    NotRunning {
        /// The application.
        app: AppName,
        /// The applications that do have a control socket.
        others: Vec<AppName>,
    },
    /// The supervisor has detached; the tenants keep running without one.
    #[error(
        "{app}: supervisor detached, its tenants keep running: start a supervisor with \
         `tenantd run --config FILE` or `systemctl start tenantd@{app}` to adopt them"
    )]
    Detached {
        /// The application.
        app: AppName,
    },
    /// The control socket exists, but no process listens on it: the supervisor was killed.
    #[error(
        "{app}: supervisor not running (stale socket {}): start it with \
         `tenantd run --config FILE` or `systemctl start tenantd@{app}`",
        wire::control_socket(.app).display()
    )]
    Dead {
        /// The application.
        app: AppName,
    },
    /// The caller is neither root nor the supervisor's user, and in no group that may read.
    #[error(
        "{app}: permission denied: try again with sudo, or as a member of a group that `[control]` of the \
         manifest allows this"
    )]
    NotAllowed {
        /// The application.
        app: AppName,
    },
    /// The request is for root.
    #[error("{app}: permission denied: this needs root: try again with sudo")]
    ReadOnly {
        /// The application.
        app: AppName,
    },
    /// The connection failed for another reason.
    #[error("{app}: cannot connect to the supervisor")]
    Connect {
        /// The application.
        app: AppName,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The supervisor did not answer in time.
    #[error(
        "{app}: supervisor did not answer within {} s: see its log ({})",
        .limit.as_secs(), log_of(.app)
    )]
    Silent {
        /// The application.
        app: AppName,
        /// How long the client waited.
        limit: Duration,
    },
    /// The connection closed before the answer was complete.
    #[error("{app}: supervisor exited before it answered: see its log ({})", log_of(.app))]
    Died {
        /// The application.
        app: AppName,
    },
    /// The supervisor closed the connection before the answer was complete, and still runs.
    #[error(
        "{app}: the supervisor closed the connection before it answered, and may have done what it was \
         asked for: see `tenantd status --app {app}`, and its log ({})",
        log_of(.app)
    )]
    Closed {
        /// The application.
        app: AppName,
    },
    /// The request cannot be sent, or the answer not received.
    #[error("{app}: lost the connection to the supervisor: see `tenantd status --app {app}`")]
    Broken {
        /// The application.
        app: AppName,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The connection of a subscription closed without a reason, as when the supervisor is killed.
    #[error(
        "{app}: lost the connection to the supervisor, which may have been killed: its tenants keep running, and \
         are adopted when it is started again: see its log ({})",
        log_of(.app)
    )]
    Lost {
        /// The application.
        app: AppName,
    },
    /// The supervisor ended a subscription.
    #[error("{app}: {}", ended(*.reason))]
    SubscriptionEnded {
        /// The application.
        app: AppName,
        /// The reason that the supervisor gave.
        reason: EndReason,
    },
    /// The application has no tenant with this name. Nothing was done to any tenant.
    #[error("{tenant}: no such tenant in {app}: see `tenantd status --app {app}`")]
    UnknownTenant {
        /// The application.
        app: AppName,
        /// The unknown name.
        tenant: String,
    },
    /// The supervisor refused the request.
    #[error("{subject}: {reason}")]
    Refused {
        /// The name of the application or tenant that the refusal is about.
        subject: String,
        /// Why it was refused, and where possible what to do.
        reason: String,
    },
    /// The manifest has mistakes, so it was not reloaded.
    #[error("{problems}")]
    BadManifest {
        /// All mistakes, formatted as `tenantd check` prints them.
        problems: String,
    },
    /// The supervisor is of an older version that does not compare the changes of a reload with a
    /// hash. It was not asked to reload.
    #[error(
        "{app}: the supervisor is of an older version and cannot compare the hash, nothing was \
         changed: upgrade it with `tenantd upgrade --app {app}`, or reload without --expect"
    )]
    NoHashes {
        /// The application.
        app: AppName,
    },
    /// The answer cannot be decoded. Client and supervisor may be of different versions.
    #[error("{app}: cannot decode the supervisor's answer (it may be of another version)")]
    Protocol {
        /// The application.
        app: AppName,
        /// The error of the protocol library.
        source: zlink::Error,
    },
}

impl ClientError {
    /// The error for a refusal that the supervisor sent.
    pub(super) fn refused(app: AppName, refusal: Refusal) -> Self {
        let (subject, reason) = match refusal {
            Refusal::UnknownTenant { tenant } => return Self::UnknownTenant { app, tenant },
            Refusal::BadManifest { problems } => return Self::BadManifest { problems },
            Refusal::NotReloaded { reason } => (app.to_string(), reason),
            Refusal::NotAllowed { .. } => return Self::NotAllowed { app },
            Refusal::ReadOnly { .. } => return Self::ReadOnly { app },
            Refusal::NoRight { right, tenant } => {
                let whom = tenant.as_ref().map_or("all tenants", String::as_str);
                let what = match &*right {
                    "status" => "see",
                    "logs" => "read the log of",
                    "exec" => "run commands in",
                    right => right,
                };
                let reason = format!(
                    "permission denied: none of your groups may {what} {whom} \
                     (`control.operators` of the manifest): try again with sudo"
                );
                (app.to_string(), reason)
            }
            Refusal::WrongPlace { reason } => {
                (app.to_string(), format!("permission denied: {reason}"))
            }
            Refusal::TenantDown { tenant, state } => {
                let hint = format!("start it with `tenantd start --app {app} {tenant}`");
                let state = state.word();
                let reason = format!("not running (state: {state}): {hint}");
                (tenant, reason)
            }
            Refusal::NoExecTarget { tenant, reason } => (tenant, reason),
            Refusal::NoDeputy { reason } => (app.to_string(), reason),
            Refusal::NotCollected { reason } => (app.to_string(), reason),
            Refusal::NotUpgraded { reason } => {
                (app.to_string(), format!("upgrade refused: {reason}"))
            }
            Refusal::OnlyMore => (app.to_string(), "the method needs `more`".to_owned()),
            Refusal::ShuttingDown => {
                let reason = "the supervisor is shutting down and accepts no more requests";
                (app.to_string(), reason.into())
            }
            Refusal::TooManyConnections { limit } => {
                let reason =
                    format!("too many connections, {limit} are the maximum: try again later");
                (app.to_string(), reason)
            }
            Refusal::TooManySubscriptions { limit } => {
                let reason = format!(
                    "{limit} clients watch the tenants, the maximum: try again later, or use \
                     --no-wait for a command that waits"
                );
                (app.to_string(), reason)
            }
        };
        Self::Refused { subject, reason }
    }

    /// Whether the error means that no supervisor runs.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(
            self,
            Self::NotRunning { .. } | Self::Detached { .. } | Self::Dead { .. }
        )
    }
}

/// Where the log of a supervisor is. It has a file if it was started without a journal.
fn log_of(app: &AppName) -> String {
    let file = layout::own_log(app);
    let journal = format!("`journalctl -u tenantd@{app}`");
    match file.exists() {
        true => format!("{journal}, or {}", file.display()),
        false => journal,
    }
}

fn ended(reason: EndReason) -> &'static str {
    match reason {
        EndReason::Ended => "the supervisor has exited and stopped its tenants",
        EndReason::Detached => "the supervisor has detached; its tenants keep running",
        EndReason::Upgrading => "the supervisor is being upgraded: try again",
        EndReason::TooSlow => {
            "the supervisor closed the subscription: events came faster than they were read"
        }
    }
}

fn running(others: &[AppName]) -> String {
    if others.is_empty() {
        return "no supervisor is running".into();
    }
    let names: Vec<&str> = others.iter().map(AppName::as_str).collect();
    format!("running: {}", names.join(", "))
}
