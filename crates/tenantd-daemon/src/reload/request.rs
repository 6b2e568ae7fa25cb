//! Requests for a reading of the manifest, and their answers.

use tokio::sync::oneshot;

use tenantd_core::plan::changes;
use tenantd_core::plan::diff::Changes;

use crate::requests::queue::NoReload;

/// A request for a reading of the manifest.
pub(crate) enum ReloadRequest {
    /// Apply the changes and return them.
    Apply {
        /// The hash of the changes that the operator has seen: apply no others.
        expect: Option<String>,
        /// Receives the answer.
        reply: oneshot::Sender<Result<Changes, NoReload>>,
    },
    /// Return the changes.
    Show(oneshot::Sender<Result<Changes, NoReload>>),
    /// Apply the changes and log them.
    Signal,
}

impl ReloadRequest {
    pub(super) fn answer(self, answer: Result<Changes, NoReload>) {
        match self {
            // The client may have disconnected.
            ReloadRequest::Apply { reply, .. } | ReloadRequest::Show(reply) => {
                drop(reply.send(answer));
            }
            ReloadRequest::Signal => log_answer(&answer),
        }
    }

    /// Whether it only wants to see the changes.
    pub(super) fn is_show(&self) -> bool {
        match self {
            ReloadRequest::Show(_) => true,
            ReloadRequest::Apply { .. } | ReloadRequest::Signal => false,
        }
    }

    /// Why these changes are not applied for this request although they could be: they are not the
    /// ones that it expects.
    pub(super) fn unexpected(&self, changes: &Changes) -> Option<NoReload> {
        match (self, &changes.hash) {
            (
                ReloadRequest::Apply {
                    expect: Some(expected),
                    ..
                },
                Some(found),
            ) if expected != found => Some(NoReload::OtherChanges {
                expected: expected.clone(),
                found: (!changes.is_empty()).then(|| found.clone()),
            }),
            _ => None,
        }
    }
}

/// Logs the result of a reload by a signal.
fn log_answer(answer: &Result<Changes, NoReload>) {
    match answer {
        Ok(changes) => {
            tracing::info!("reloaded: {}", changes::summary(changes));
            for field in &changes.shared {
                tracing::info!("changed live: {}", field.field);
            }
            for change in &changes.tenants {
                let tenant = &change.tenant;
                tracing::info!(%tenant, "{}", changes::line(change));
            }
            for tenant in &changes.retried {
                tracing::info!(%tenant, "{}", changes::retry_line(tenant));
            }
        }
        Err(refused) => {
            tracing::error!("reload refused, nothing was changed");
            for line in refused.to_string().lines().filter(|line| !line.is_empty()) {
                tracing::error!("{line}");
            }
        }
    }
}
