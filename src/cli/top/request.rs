//! The requests that keys send.

use tokio::time::timeout;

use super::live::with_cause;
use tenantd_api::client::survey::PATIENCE;
use tenantd_api::client::{ClientError, Connection};
use tenantd_api::wire::{Answer, Verb};
use tenantd_core::name::{AppName, TenantName};

/// A request for one tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Request {
    Act(Verb),
    Pause,
    Resume,
}

impl Request {
    /// Its word, as that of the command.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Act(verb) => verb.word(),
            Self::Pause => "pause",
            Self::Resume => "resume",
        }
    }

    /// Sends it, and returns what became of it and whether that is bad. The events that follow show what
    /// becomes of the tenant.
    pub(super) async fn carry_out(self, app: &AppName, tenant: &TenantName) -> (String, bool) {
        match timeout(PATIENCE, self.answer(app, tenant)).await {
            Ok(Ok(answer)) => self.said(tenant, answer),
            Ok(Err(error)) => (with_cause(error), true),
            Err(_) => (format!("{tenant}: the supervisor does not answer"), true),
        }
    }

    async fn answer(
        self,
        app: &AppName,
        tenant: &TenantName,
    ) -> Result<Option<Answer>, ClientError> {
        let names = std::slice::from_ref(tenant);
        let mut connection = Connection::open(app).await?;
        if let Self::Act(verb) = self {
            let answers = connection.act(verb, names, false).await?;
            return Ok(answers.into_iter().next().map(|it| it.answer));
        }
        let frozen = connection.freeze(names, self == Self::Pause, false).await?;
        let answers = frozen
            .into_iter()
            .map(|it| match (it.refused, it.unchanged) {
                (Some(reason), _) => Answer::Refused { reason },
                (None, true) => Answer::AlreadySo,
                (None, false) => Answer::Accepted,
            });
        Ok(answers.into_iter().next())
    }

    fn said(self, tenant: &TenantName, answer: Option<Answer>) -> (String, bool) {
        let word = self.word();
        match answer {
            Some(Answer::Accepted) => (format!("{tenant}: {word} requested"), false),
            Some(Answer::AlreadySo) => (format!("{tenant}: nothing to {word}"), false),
            Some(Answer::Refused { reason }) => (format!("{tenant}: refused: {reason}"), true),
            None => (format!("{tenant}: no answer"), true),
        }
    }
}
