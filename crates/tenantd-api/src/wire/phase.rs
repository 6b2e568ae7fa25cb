//! The commands that run before a tenant's program.

use serde::{Deserialize, Serialize};
use zlink::introspect::CustomType;

use super::{StateWord, TenantStatus};
use tenantd_core::supervisor::view;

/// A command that runs before a tenant's program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, CustomType)]
#[serde(rename_all = "kebab-case")]
#[zlink(rename_all = "lowercase")]
pub enum Phase {
    /// `init`, which initializes a new datastore.
    Init,
    /// `before`, which runs before each start.
    Before,
}

impl Phase {
    /// The phase of a tenant in this state.
    #[must_use]
    pub fn of(state: view::StateWord) -> Option<Self> {
        match state {
            view::StateWord::Initializing => Some(Self::Init),
            view::StateWord::Preparing => Some(Self::Before),
            view::StateWord::Down
            | view::StateWord::Provisioning
            | view::StateWord::Launching
            | view::StateWord::Up
            | view::StateWord::Offline
            | view::StateWord::Stopping
            | view::StateWord::Waiting
            | view::StateWord::Failed
            | view::StateWord::Exited
            | view::StateWord::Releasing
            | view::StateWord::Stuck => None,
        }
    }
}

impl TenantStatus {
    /// The state in one word, for people: `initializing` and `preparing` while a command runs
    /// before the program, `offline` while one of `exec --offline` does.
    #[must_use]
    pub fn state_word(&self) -> &'static str {
        if self.state == StateWord::Launching && self.offline.is_some() {
            return "offline";
        }
        match (self.state, self.phase) {
            (StateWord::Launching, Some(Phase::Init)) => "initializing",
            (StateWord::Launching, Some(Phase::Before)) => "preparing",
            (state, _) => state.word(),
        }
    }
}
