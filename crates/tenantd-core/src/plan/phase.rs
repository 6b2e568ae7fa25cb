//! The phases of a start: a command that initializes a new datastore, a command before each start,
//! and the program itself.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::alive::Probe;
use super::model::{Identity, LaunchPlan, Policy};
use super::reload::AppReload;

/// A phase of a start. Each runs in a process of its own, after the one before has succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// The command of `[app.init]`, while the datastore is new.
    Init,
    /// The command of `[app.before]`.
    Before,
    /// The program.
    Main,
    /// A command of an operator while the tenant is not up, see [`offline`](crate::supervisor::offline). It is
    /// no part of a start.
    Offline,
}

impl Phase {
    /// The name of the phase, as messages have it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Phase::Init => "init",
            Phase::Before => "before",
            Phase::Main => "program",
            Phase::Offline => "offline",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// The commands that run before the program.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Commands {
    /// What initializes a new datastore.
    pub init: Option<CommandPlan>,
    /// What runs before each start.
    pub before: Option<CommandPlan>,
}

impl Commands {
    /// The command of a phase; none for the program.
    #[must_use]
    pub fn of(&self, phase: Phase) -> Option<&CommandPlan> {
        match phase {
            Phase::Init => self.init.as_ref(),
            Phase::Before => self.before.as_ref(),
            Phase::Main | Phase::Offline => None,
        }
    }
}

/// A command that runs before the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandPlan {
    /// Its file, absolute.
    pub program: PathBuf,
    /// Its arguments, beginning with `argv[0]`.
    pub argv: Vec<String>,
    /// Its complete environment.
    pub environment: Arc<BTreeMap<String, String>>,
    /// Who it runs as.
    pub identity: Arc<Identity>,
}

/// The time limits of the commands, by which the supervisor decides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PhasePolicies {
    /// What initializes a new datastore.
    pub init: Option<PhasePolicy>,
    /// What runs before each start.
    pub before: Option<PhasePolicy>,
}

/// What the supervisor knows of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhasePolicy {
    /// Its file, for messages.
    pub program: PathBuf,
    /// Its time limit.
    pub within: Duration,
}

impl PhasePolicies {
    /// The policy of a phase; none for the program.
    #[must_use]
    pub fn of(&self, phase: Phase) -> Option<&PhasePolicy> {
        match phase {
            Phase::Init => self.init.as_ref(),
            Phase::Before => self.before.as_ref(),
            Phase::Main | Phase::Offline => None,
        }
    }

    /// Whether there is a command.
    #[must_use]
    pub fn any(&self) -> bool {
        self.init.is_some() || self.before.is_some()
    }

    /// The first phase of a start.
    #[must_use]
    pub fn first(&self) -> Phase {
        match self.init {
            Some(_) => Phase::Init,
            None => self.after(Phase::Init),
        }
    }

    /// The phase after this one.
    #[must_use]
    pub fn after(&self, phase: Phase) -> Phase {
        match (phase, &self.before) {
            (Phase::Init, Some(_)) => Phase::Before,
            (Phase::Init, None) | (Phase::Before | Phase::Main | Phase::Offline, _) => Phase::Main,
        }
    }
}

impl Policy {
    /// The words of the commands that run in a tenant beside its program.
    pub(super) fn visits(&self) -> Vec<String> {
        let alive = self.alive.as_ref().map(|alive| &alive.probe);
        let alive = match alive {
            Some(Probe::Command(argv)) => argv.as_slice(),
            Some(Probe::Tcp(_) | Probe::Http { .. }) | None => &[],
        };
        let reload = match &self.reload {
            Some(AppReload::Command { argv, .. }) => argv.as_slice(),
            Some(AppReload::Signal(_)) | None => &[],
        };
        [alive, reload].concat()
    }
}

/// What a phase executes.
#[derive(Debug, Clone, Copy)]
pub struct Executed<'a> {
    /// The file, absolute.
    pub program: &'a PathBuf,
    /// The arguments, beginning with `argv[0]`.
    pub argv: &'a [String],
    /// The complete environment.
    pub environment: &'a BTreeMap<String, String>,
    /// Who it runs as.
    pub identity: &'a Identity,
}

impl LaunchPlan {
    /// What a phase executes; `None` if the plan has no such command. For phase `offline`, the plan is
    /// one with the process that waits in place of the program.
    #[must_use]
    pub fn executed(&self, phase: Phase) -> Option<Executed<'_>> {
        if matches!(phase, Phase::Main | Phase::Offline) {
            return Some(Executed {
                program: &self.program,
                argv: &self.argv,
                environment: &self.environment,
                identity: &self.identity,
            });
        }
        self.commands.of(phase).map(|command| Executed {
            program: &command.program,
            argv: &command.argv,
            environment: &command.environment,
            identity: &command.identity,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_follow_each_other() {
        let policy = PhasePolicy {
            program: "/bin/true".into(),
            within: Duration::from_secs(1),
        };
        let some = |is| Option::<PhasePolicy>::from(policy.clone()).filter(|_| is);
        for (init, before) in [(true, true), (true, false), (false, true), (false, false)] {
            let policies = PhasePolicies {
                init: some(init),
                before: some(before),
            };
            let mut phases = vec![policies.first()];
            while phases.last() != Some(&Phase::Main) {
                phases.push(policies.after(phases[phases.len() - 1]));
            }
            let expected = [
                (init, Phase::Init),
                (before, Phase::Before),
                (true, Phase::Main),
            ];
            let expected = expected
                .iter()
                .filter(|(is, _)| *is)
                .map(|(_, phase)| *phase);
            assert_eq!(phases, expected.collect::<Vec<_>>());
        }
    }
}
