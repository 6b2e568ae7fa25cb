//! The commands that run before the program, as JSON.

use serde_json::{Map, Value, json};

use super::said;
use crate::plan::model::{Identity, LaunchPlan, Policy};
use crate::plan::phase::{CommandPlan, Commands, PhasePolicies, PhasePolicy};

/// The commands that run before the program.
pub(super) fn members(launch: &LaunchPlan, policy: &Policy) -> Map<String, Value> {
    let Commands { init, before } = &*launch.commands;
    let PhasePolicies {
        init: init_policy,
        before: before_policy,
    } = &policy.phases;
    let command = |command: &Option<CommandPlan>, policy: &Option<PhasePolicy>| {
        let CommandPlan {
            program: _,
            argv,
            environment,
            identity,
        } = command.as_ref()?;
        let Identity {
            user,
            uid,
            gid,
            groups,
            own: _,
        } = &**identity;
        Some(json!({
            "command": argv,
            "within": policy.as_ref().map(|policy| said(policy.within)),
            "user": user,
            "uid": uid,
            "group": gid,
            "groups": groups,
            "environment": &**environment,
        }))
    };
    super::members([
        ("init", json!(command(init, init_policy))),
        ("before", json!(command(before, before_policy))),
    ])
}
