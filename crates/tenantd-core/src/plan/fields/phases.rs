//! The fields of the commands that run before the program. Only a later start runs them, so a change
//! interrupts nothing.

use super::Later;
use super::field::{See, decides};
use super::words::{Groups, Span};
use crate::plan::model::Identity;
use crate::plan::phase::{CommandPlan, Commands, PhasePolicies, PhasePolicy};

/// The label of the command that initializes a datastore.
pub(in crate::plan) const LABEL_INIT: &str = "init";

/// Visits the commands.
pub(super) fn commands(commands: &Commands, tenant: &Identity, see: See<'_>) {
    let Commands { init, before } = commands;
    for (name, user, command) in [
        (LABEL_INIT, "init user", init),
        ("before", "before user", before),
    ] {
        let Some(command) = command else {
            continue;
        };
        let CommandPlan {
            program: _,
            argv,
            // As that of the program, except for the user.
            environment: _,
            identity,
        } = command;
        let quoted: Vec<String> = argv.iter().map(|text| format!("{text:?}")).collect();
        see(decides(Later(name), name, &quoted.join(" "), false));
        if (identity.uid, identity.gid) != (tenant.uid, tenant.gid) {
            let Identity {
                user: account,
                uid,
                gid,
                groups,
                own: _,
            } = &**identity;
            let groups = Groups(groups);
            let account = format_args!("{account} ({uid}:{gid}, groups {groups})").to_string();
            see(decides(Later(user), "user", &account, false).nested());
        }
    }
}

/// Visits the time limits.
pub(super) fn limits(phases: &PhasePolicies, see: See<'_>) {
    let PhasePolicies { init, before } = phases;
    for (name, phase) in [("init within", init), ("before within", before)] {
        if let Some(PhasePolicy { program: _, within }) = phase {
            see(decides(Later(name), name, &Span(*within), false));
        }
    }
}
