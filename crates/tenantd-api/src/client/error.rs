//! Why there is no answer: no supervisor, one that does not answer, or one that refuses.

use std::io;
use std::time::Duration;

use crate::wire;
use crate::wire::varlink::Refusal;
use crate::wire::watch::EndReason;
use tenantd_core::name::AppName;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No supervisor runs for the application.
    #[error(
        "{app}: no supervisor runs for it: start it with `tenantd run --config FILE` or \
         `systemctl start tenantd@{app}` ({})", running(.others)
    )]
    NotRunning {
        /// The application.
        app: AppName,
        /// Those which have a control socket.
        others: Vec<AppName>,
    },
    /// Its supervisor has detached, and its tenants go on.
    #[error(
        "{app}: its supervisor has detached and its tenants go on without one: start the next one with \
         `tenantd run --config FILE` or `systemctl start tenantd@{app}`, and it takes them over"
    )]
    Detached {
        /// The application.
        app: AppName,
    },
    /// There is a socket, and nobody behind it.
    #[error(
        "{app}: its supervisor is dead and left {} behind: start it again with \
         `tenantd run --config FILE` or `systemctl start tenantd@{app}`",
        wire::control_socket(.app).display()
    )]
    Dead {
        /// The application.
        app: AppName,
    },
    /// The socket belongs to somebody else.
    #[error("{app}: only root may ask its supervisor: try again with sudo")]
    NotAllowed {
        /// The application.
        app: AppName,
    },
    /// The connection cannot be made, for another reason.
    #[error("{app}: cannot connect to its supervisor")]
    Connect {
        /// The application.
        app: AppName,
        /// Why.
        source: io::Error,
    },
    /// There is somebody behind the socket, and no answer comes.
    #[error(
        "{app}: its supervisor gave no answer within {} s: see its log (`journalctl -u tenantd@{app}`)",
        .limit.as_secs()
    )]
    Silent {
        /// The application.
        app: AppName,
        /// How long it was waited for.
        limit: Duration,
    },
    /// The connection ended before the answer was there.
    #[error(
        "{app}: its supervisor ended before it answered: see its log (`journalctl -u tenantd@{app}`)"
    )]
    Died {
        /// The application.
        app: AppName,
    },
    /// A subscription broke off without a word.
    #[error(
        "{app}: the connection to its supervisor broke off, as when it was killed: its tenants go on \
         without one until it is started again; see its log (`journalctl -u tenantd@{app}`)"
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
        /// Why.
        reason: EndReason,
    },
    /// There is no such tenant.
    #[error("{tenant}: {app} has no tenant of this name: see `tenantd status --app {app}`")]
    UnknownTenant {
        /// The application.
        app: AppName,
        /// The name.
        tenant: String,
    },
    /// The supervisor did not do what it was asked, for a reason that it gave.
    #[error("{subject}: {reason}")]
    Refused {
        /// The application or the tenant.
        subject: String,
        /// Why not.
        reason: String,
    },
    /// The manifest that was to be reloaded has problems.
    #[error("{problems}")]
    BadManifest {
        /// All of them, as a person reads them.
        problems: String,
    },
    /// The answer makes no sense: the two are of different versions, perhaps.
    #[error("{app}: its supervisor gave an answer that this tenantd does not understand")]
    Protocol {
        /// The application.
        app: AppName,
        /// Why.
        source: zlink::Error,
    },
}

impl ClientError {
    /// What a refusal means to whoever asked.
    pub(super) fn refused(app: AppName, refusal: Refusal) -> Self {
        let (subject, reason) = match refusal {
            Refusal::UnknownTenant { tenant } => return Self::UnknownTenant { app, tenant },
            Refusal::BadManifest { problems } => return Self::BadManifest { problems },
            Refusal::NotReloaded { reason } => (app.to_string(), reason),
            Refusal::NotAllowed { .. } => return Self::NotAllowed { app },
            Refusal::TenantDown { tenant, state } => {
                let hint = format!("start it with `tenantd start --app {app} {tenant}`");
                let state = state.word();
                let reason = format!("no process of it runs, it is {state}: {hint}");
                (tenant, reason)
            }
            Refusal::NoExecTarget { tenant, reason } => (tenant, reason),
            Refusal::NotCollected { reason } => (app.to_string(), reason),
            Refusal::NotUpgraded { reason } => {
                (app.to_string(), format!("the upgrade is refused: {reason}"))
            }
            Refusal::OnlyMore => (app.to_string(), "it was asked without `more`".to_owned()),
            Refusal::ShuttingDown => {
                let reason = "its supervisor is shutting down: nothing more can be asked of it";
                (app.to_string(), reason.into())
            }
            Refusal::TooManyConnections { limit } => {
                let reason = format!(
                    "its supervisor serves {limit} connections, which is the most: try again later"
                );
                (app.to_string(), reason)
            }
        };
        Self::Refused { subject, reason }
    }

    /// Whether it says that there is no supervisor.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(
            self,
            Self::NotRunning { .. } | Self::Detached { .. } | Self::Dead { .. }
        )
    }
}

fn ended(reason: EndReason) -> &'static str {
    match reason {
        EndReason::Ended => "its supervisor has ended, and its tenants with it",
        EndReason::Detached => "its supervisor has detached, and its tenants go on without one",
        EndReason::Upgrading => "its supervisor is being upgraded: ask again",
        EndReason::TooSlow => {
            "its supervisor ended the subscription: events came faster than they were read"
        }
    }
}

fn running(others: &[AppName]) -> String {
    if others.is_empty() {
        return "no supervisor runs at all".into();
    }
    let names: Vec<&str> = others.iter().map(AppName::as_str).collect();
    format!("supervisors run for: {}", names.join(", "))
}
