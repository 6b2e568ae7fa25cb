//! The commands that run before the program.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use toml::Spanned;

use super::Parts;
use crate::manifest::problem::Problems;
use crate::manifest::raw::{App, Known, Manifest, Optional, Tenant};
use crate::manifest::reference::Table;
use crate::manifest::text::Command;
use crate::manifest::value::Account;
use crate::plan::facts::HostFacts;
use crate::plan::identity::{People, Person};
use crate::plan::notify;
use crate::plan::paths;
use crate::plan::phase::{CommandPlan, Commands, PhasePolicies, PhasePolicy};

/// The commands, as far as they are the same for all tenants.
pub(super) struct Phases<'a> {
    init: Option<Shared<'a>>,
    before: Option<Shared<'a>>,
}

/// A command, as far as it is the same for all tenants.
struct Shared<'a> {
    command: &'a Command,
    program: PathBuf,
    /// `None`: the tenant's user.
    person: Option<Person>,
    within: Duration,
}

/// The settings of `[app.init]` or `[app.before]`.
struct Settings<'a> {
    table: Table,
    command: &'a Optional<Command>,
    user: &'a Known<Account>,
    within: &'a Known<Duration>,
}

/// Reads and checks the commands. Returns `None` if a problem was reported.
pub(super) fn read<'a>(
    manifest: &'a Manifest,
    folder: &str,
    host: &dyn HostFacts,
    people: &mut People<'_>,
    problems: &mut Problems,
) -> Option<Phases<'a>> {
    let App { init, before, .. } = &manifest.app;
    let init = Settings {
        table: Table::Init,
        command: &init.command,
        user: &init.user,
        within: &init.within,
    };
    let before = Settings {
        table: Table::Before,
        command: &before.command,
        user: &before.user,
        within: &before.within,
    };
    let mut read = |settings: &Settings<'a>| {
        if settings.command.is_set {
            return shared(settings, manifest, folder, host, people, problems).map(Some);
        }
        if let Some(user) = settings.user {
            let header = settings.table.header();
            problems
                .report(&user.span(), format!("{header} has no `command`"))
                .help("add `command`, or remove the table");
            return None;
        }
        Some(None)
    };
    let (init, before) = (read(&init), read(&before));
    Some(Phases {
        init: init?,
        before: before?,
    })
}

fn shared<'a>(
    settings: &Settings<'a>,
    manifest: &Manifest,
    folder: &str,
    host: &dyn HostFacts,
    people: &mut People<'_>,
    problems: &mut Problems,
) -> Option<Shared<'a>> {
    let command = settings.command.value.as_ref().map(Spanned::get_ref);
    let program = command.and_then(|command| {
        let path = paths::filled(&command.program, manifest, folder, None, problems)?;
        paths::program_fact(&path, host, problems)?;
        Some(path.into_inner())
    });
    let person = match settings.user {
        Some(user) => Some(people.resolve(user, None, problems)?),
        None => None,
    };
    Some(Shared {
        command: command?,
        program: program?,
        person,
        within: *settings.within.as_ref()?.get_ref(),
    })
}

impl Phases<'_> {
    /// What the supervisor decides by.
    pub(super) fn policies(&self) -> PhasePolicies {
        let policy = |shared: &Shared<'_>| PhasePolicy {
            program: shared.program.clone(),
            within: shared.within,
        };
        PhasePolicies {
            init: self.init.as_ref().map(policy),
            before: self.before.as_ref().map(policy),
        }
    }
}

impl Parts<'_> {
    /// The commands of a tenant.
    pub(super) fn commands(&self, tenant: &Tenant, person: &Person) -> Option<Commands> {
        let of = |shared: &Option<Shared<'_>>| match shared {
            Some(shared) => self.command(shared, tenant, person).map(Some),
            None => Some(None),
        };
        Some(Commands {
            init: of(&self.phases.init)?,
            before: of(&self.phases.before)?,
        })
    }

    fn command(
        &self,
        shared: &Shared<'_>,
        tenant: &Tenant,
        person: &Person,
    ) -> Option<CommandPlan> {
        // Placeholders stand for the tenant's user also if the command runs as another one.
        let identity = &person.identity;
        let person = shared.person.as_ref().unwrap_or(person);
        let mut argv = vec![shared.program.display().to_string()];
        for text in &shared.command.arguments {
            argv.push(self.fill(text.get_ref(), tenant, identity)?);
        }
        // It is the program that reports when it is ready.
        let environment = notify::without(&self.environment(tenant, person, identity)?);
        Some(CommandPlan {
            program: shared.program.clone(),
            argv,
            environment: Arc::new(environment),
            identity: Arc::new(person.identity.clone()),
        })
    }
}
