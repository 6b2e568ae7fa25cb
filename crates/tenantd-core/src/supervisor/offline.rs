//! Commands that an operator runs in a tenant that is not up, for repairs: `tenantd exec --offline`.
//!
//! Such a command gets what a launch of the program would have, and so it is a visitor of a launch:
//! [`Phase::Offline`](crate::plan::phase::Phase::Offline), whose process only waits for the end of the client. So
//! the claim of the datastore, the proof that nothing is left and the adoption by the next supervisor are
//! those that every launch has, and nothing else is launched meanwhile.

use std::fmt;

use crate::name::TenantName;

use super::Supervisor;
use super::action::Answer;
use super::step::{Cause, Step};
use super::tenant::RestartScope;
use super::time::Moment;
use super::view::Why;

/// A command that an operator runs in a tenant that is not up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offline {
    /// The process of the client, `tenantd exec`. It ends with its command.
    pub client: u32,
    /// The command, for messages.
    pub command: String,
}

impl fmt::Display for Offline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client, command } = self;
        write!(f, "pid {client}: {command}")
    }
}

/// What is kept of a tenant in which such a command runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repair {
    /// The command.
    pub offline: Offline,
    /// Why the tenant had failed, which it has again afterwards. `None` if it was down.
    pub failed: Option<Why>,
    /// Whether it is to end: the tenant was stopped.
    pub stopped: bool,
    /// How much of the next start a change of the plan repeats.
    pub outdated: Option<RestartScope>,
}

impl Supervisor {
    /// Begins a command in a tenant that is not up, or refuses it. `now` must not decrease, as for
    /// [`Supervisor::handle`].
    pub fn exec_offline(
        &mut self,
        now: Moment,
        tenant: &TenantName,
        offline: Offline,
    ) -> (Answer, Step) {
        let mut step = Step::default();
        let refused = |reason: String| Answer::Refused { reason };
        let answer = match self.names.get(tenant) {
            None => refused(format!("no such tenant {tenant}: see `tenantd status`")),
            Some(_) if self.shutdown => refused("the supervisor is shutting down".to_owned()),
            Some(&index) => {
                let mut answer = Answer::AlreadySo;
                let cause = Cause::Offline(offline.clone());
                self.transition(now, index, cause, &mut step, |tenant, context| {
                    answer = tenant.exec_offline(offline, context);
                });
                answer
            }
        };
        self.spend(now, &mut step);
        (answer, step)
    }
}
