//! What a change of each field of a plan takes.
//!
//! A tenant's plan is taken apart in one place, without a rest pattern: a new field does not
//! compile until somebody has said what a change of it takes. The fingerprints by which a launch
//! is known after its supervisor's death are made of the same parts, so that both agree on what
//! is outdated.

use std::fmt::{self, Display, Write};

use serde::{Deserialize, Serialize};

use super::derive;
use super::model::{
    DatastorePlan, EndPlan, Identity, LaunchPlan, LinkPlan, NetworkPlan, Policy, RestartPolicy,
    StopSignal, TenantPlan,
};
use super::render::{self, Span};
use crate::name::AppName;

/// What a changed field takes, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// It holds from now on, and nothing of the tenant is interrupted.
    Live,
    /// The program is ended and started again, on the network that stands.
    Relaunch,
    /// All that a provision made is released and made again, and with it the program.
    Renew,
}

/// Numbers that stay the same for as long as a launch need not be made anew: see [`fingerprints`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprints {
    /// Of all that is [`Effect::Renew`].
    pub renew: u64,
    /// Of all that is [`Effect::Relaunch`].
    pub relaunch: u64,
}

impl Fingerprints {
    /// Of no plan: whatever is planned, all of it is to be made anew.
    pub const NONE: Self = Self {
        renew: u64::MAX,
        relaunch: u64::MAX,
    };

    /// What it takes to get from a launch of these to one of those; nothing if they are the same.
    #[must_use]
    pub fn effect(self, new: Fingerprints) -> Option<Effect> {
        if self.renew != new.renew {
            return Some(Effect::Renew);
        }
        (self.relaunch != new.relaunch).then_some(Effect::Relaunch)
    }
}

/// The fingerprints of a tenant's plan: two plans between which [`diff`] finds no more than live
/// changes have the same, but for folders that need no hiding any more.
#[must_use]
pub fn fingerprints(tenant: &TenantPlan) -> Fingerprints {
    let (mut renew, mut relaunch) = (String::new(), String::new());
    each_part(tenant, &mut |effect, name, value| {
        let text = match effect {
            Effect::Renew => &mut renew,
            Effect::Relaunch => &mut relaunch,
            Effect::Live => return,
        };
        let _ = write!(text, "{name}={value}\0");
    });
    Fingerprints {
        renew: derive::hash(&renew),
        relaunch: derive::hash(&relaunch),
    }
}

/// A field as text.
pub(super) struct Part {
    pub(super) effect: Effect,
    pub(super) name: String,
    pub(super) value: String,
}

/// A tenant's plan as text, field by field.
pub(super) fn parts(tenant: &TenantPlan) -> Vec<Part> {
    let mut parts = Vec::new();
    each_part(tenant, &mut |effect, name, value| {
        parts.push(Part {
            effect,
            name: name.to_string(),
            value: value.to_string(),
        });
    });
    parts
}

/// What it takes that a field is there no more. A folder that holds no datastore any more may
/// stay covered until the next launch: that harms nobody.
pub(super) fn without(part: &Part) -> Effect {
    if part.name.starts_with(HIDDEN) {
        Effect::Live
    } else {
        part.effect
    }
}

pub(super) const HIDDEN: &str = "hidden ";

/// What all tenants share, and no running supervisor can exchange.
pub(super) fn shared(app: &AppName, network: &NetworkPlan) -> Vec<Part> {
    let NetworkPlan {
        mode,
        subnet,
        gateway,
        hub,
        mark,
        mtu,
    } = network;
    let parts: [(&str, &dyn Display); 7] = [
        ("name", app),
        ("mode", &render::mode(*mode)),
        ("subnet", subnet),
        ("gateway", gateway),
        ("hub", &End(hub)),
        ("mark", mark),
        ("mtu", mtu),
    ];
    let part = |(name, value): (&str, &dyn Display)| Part {
        effect: Effect::Renew,
        name: name.to_owned(),
        value: value.to_string(),
    };
    parts.map(part).into()
}

/// Sees one part of a plan: what a change of it takes, its name and its value.
type See<'a> = &'a mut dyn FnMut(Effect, &dyn Display, &dyn Display);

fn each_part(tenant: &TenantPlan, see: See<'_>) {
    let TenantPlan {
        // By it the two were found to be the same tenant.
        name: _,
        link,
        datastore,
        launch,
        policy,
    } = tenant;
    let LinkPlan {
        address,
        prefix,
        host,
        tenant,
        mark,
    } = link;
    see(
        Effect::Renew,
        &"address",
        &format_args!("{address}/{prefix}"),
    );
    see(Effect::Renew, &"host end", &End(host));
    see(Effect::Renew, &"tenant end", &End(tenant));
    see(Effect::Renew, &"mark", mark);
    let DatastorePlan {
        source,
        root,
        target,
        uid,
        gid,
        mode,
    } = datastore;
    // A release proves that nobody uses the one, and a provision makes the other.
    see(Effect::Renew, &"datastore", &source.display());
    see(Effect::Relaunch, &"bound at", &target.display());
    // These are of a datastore that is not there yet.
    see(Effect::Live, &"made from", &root.display());
    let new = format_args!("owner {uid}:{gid}, mode {mode:04o}");
    see(Effect::Live, &"if new", &new);
    launch_parts(launch, see);
    policy_parts(policy, see);
}

fn launch_parts(launch: &LaunchPlan, see: See<'_>) {
    let LaunchPlan {
        program,
        argv,
        environment,
        working_directory,
        identity,
        private,
        hidden,
    } = launch;
    see(Effect::Relaunch, &"program", &program.display());
    for (at, text) in argv.iter().enumerate() {
        let value = format_args!("{text:?}");
        see(Effect::Relaunch, &format_args!("argument {at}"), &value);
    }
    for (name, value) in &**environment {
        let value = format_args!("{value:?}");
        see(
            Effect::Relaunch,
            &format_args!("environment {name}"),
            &value,
        );
    }
    let start = working_directory.display();
    see(Effect::Relaunch, &"starts in", &start);
    let Identity {
        user,
        uid,
        gid,
        groups,
    } = &**identity;
    // The pipes of its output, which a provision makes, are the user's.
    see(Effect::Renew, &"user number", uid);
    see(Effect::Relaunch, &"user", user);
    see(Effect::Relaunch, &"group", gid);
    see(Effect::Relaunch, &"groups", &render::groups(groups));
    for path in &**private {
        let path = path.display();
        see(Effect::Relaunch, &format_args!("private {path}"), &"empty");
    }
    for path in &**hidden {
        let path = path.display();
        see(
            Effect::Relaunch,
            &format_args!("{HIDDEN}{path}"),
            &"covered",
        );
    }
}

fn policy_parts(policy: &Policy, see: See<'_>) {
    let Policy {
        autostart,
        stop_signal: StopSignal { number, name },
        grace,
        restart,
        ready,
        ready_within,
        daemonizes,
    } = policy;
    let mut live = |name: &str, value: &dyn Display| see(Effect::Live, &name, value);
    // Whether it is wanted up is for operators to say while the supervisor runs.
    live("autostart", &render::yes(*autostart));
    live("daemonizes", &render::yes(*daemonizes));
    live("stop", &format_args!("{name} ({number})"));
    live("grace", &Span(*grace));
    let RestartPolicy {
        when,
        delay,
        delay_max,
        healthy_after,
        strikes,
        window,
    } = restart;
    live("restart", &render::when(*when));
    live("delay", &Span(*delay));
    live("longest delay", &Span(*delay_max));
    live("healthy after", &Span(*healthy_after));
    let held = format_args!("{strikes} strikes within {}", Span(*window));
    live("held after", &held);
    // The launch that runs is measured by the old one to its end.
    live("ready", &render::ready(ready));
    live("ready within", &Span(*ready_within));
}

/// One end of a link.
struct End<'a>(&'a EndPlan);

impl Display for End<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let EndPlan { name, mac } = self.0;
        write!(f, "{name} {mac}")
    }
}
